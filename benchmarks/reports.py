"""What the reports of a release cost: time, bytes, and whether they are the same each time.

Belongs here: measuring the rendering of an installation's current release. Does not belong
here: making a release (`spine.py`), and bounds (the tests hold those that a test can hold).

Run: python benchmarks/reports.py HOME [SCHOOLS]. School packages are rendered again and again
until SCHOOLS of them were, so that a small release stands for a large one.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from rcs_assets.reporting import render_package
from rcs_assets.reporting.many import render_packages


def measure(what: str, folders: dict[str, Path]) -> None:
    """Render packages in the pool and say what it took."""
    started = time.monotonic()
    sizes = [
        (name, len(content))
        for _, files in render_packages(folders)
        for name, content in files.items()
    ]
    seconds = time.monotonic() - started
    pdfs = [size for name, size in sizes if name.endswith(".pdf")]
    print(
        f"{what}: {len(folders)} packages, {len(sizes)} files in {seconds:.1f} s; "
        f"{len(pdfs)} PDFs, largest {max(pdfs) / 1000:.0f} KB, "
        f"mean {sum(pdfs) / len(pdfs) / 1000:.0f} KB"
    )


def main() -> None:
    """Measure schools as pages and PDFs, pages alone, and all packages."""
    release = Path(sys.argv[1]) / "releases" / "current"
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 650
    schools = sorted((release / "school").iterdir())
    measure("schools", {f"school/{s.name}": s for s in schools})
    started, processor = time.monotonic(), time.process_time()
    for _, school in zip(range(wanted), itertools.cycle(schools), strict=False):
        render_package(school, f"school/{school.name}", screen_only=True)
    print(
        f"{wanted} school pages in one process: {time.monotonic() - started:.1f} s, "
        f"{time.process_time() - processor:.1f} s of processor"
    )
    started, processor = time.monotonic(), time.process_time()
    for _, school in zip(range(wanted), itertools.cycle(schools), strict=False):
        render_package(school, f"school/{school.name}")
    print(
        f"{wanted} school pages and PDFs in one process: {time.monotonic() - started:.1f} s, "
        f"{time.process_time() - processor:.1f} s of processor"
    )
    areas = {f"cpp/{p.name}": p for p in sorted((release / "cpp").iterdir())}
    measure("areas and public, with explorers", areas | {"public": release / "public"})
    for page in sorted(release.glob("*/**/explorer")):
        size = sum(f.stat().st_size for f in page.rglob("*") if f.is_file())
        print(f"explorer {page.relative_to(release)}: {size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
