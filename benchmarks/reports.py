"""What the reports and explorers of a release cost: time, bytes, and how soon a chart is there.

Belongs here: measuring the rendering of an installation's current release, and its explorers in
a browser. Does not belong here: making a release (`spine.py`).

Run: python benchmarks/reports.py HOME [SCHOOLS]. Where the release has fewer than SCHOOLS (650),
some are rendered twice. Bounds are those of docs/outputs.md for two cores that do nothing else;
on a shared machine the wall clock tells of the others' work too, so processor time stands beside
it: of all processes, divided by two it is what two free cores would take. Ends with 1 if the
processor time, or a size, is above its bound.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rcs_assets.release.fingerprint import figures_hash, technical_hash
from rcs_assets.reporting import render_package
from rcs_assets.reporting.many import render_packages
from rcs_assets.reporting.pages import packages_of

CORES = 2
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
failed: list[str] = []


def say(what: str, found: float, bound: float, unit: str, more: str = "") -> None:
    """One line of the table."""
    verdict = "ok" if found <= bound else "TOO MUCH"
    if found > bound:
        failed.append(what)
    print(f"{verdict:9}{what:52}{found:9.2f} {unit:3} of {bound:g} {unit}  {more}", flush=True)


@contextmanager
def timed(what: str, bound: float) -> Iterator[list[str]]:
    """Time a block: processor time of this process and its children, over two cores."""
    more: list[str] = []
    wall, before = time.monotonic(), os.times()
    yield more
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    wall = time.monotonic() - wall
    say(
        what,
        used / CORES,
        bound,
        "s",
        f"processor {used:.1f} s, wall {wall:.1f} s {' '.join(more)}",
    )


def screen(package: tuple[str, Path]) -> int:
    """One package as pages alone; bytes."""
    name, folder = package
    return sum(map(len, render_package(folder, name, screen_only=True).values()))


def measure_schools(release: Path, wanted: int) -> None:
    """School reports as PDF with page, and as page alone."""
    folders = [(f"school/{s.name}", s) for s in sorted((release / "school").iterdir())]
    sizes: list[int] = []
    with timed(f"{wanted} school reports, page and PDF", 30) as more:
        left = wanted
        while left > 0:
            part = dict(folders[:left])
            for _, files in render_packages(part):
                sizes += [len(content) for name, content in files.items() if name.endswith(".pdf")]
            left -= len(part)
        more.append(f"{len(sizes)} PDFs")
    say("the largest school PDF", max(sizes) / 1000, 250, "KB")
    repeated = (folders * (wanted // len(folders) + 1))[:wanted]
    with timed(f"{wanted} school reports, page alone", 3) as more:
        with get_context("spawn").Pool(CORES) as pool:
            bytes_n = pool.map(screen, repeated, chunksize=25)
            pool.close()
            pool.join()
        more.append(f"{statistics.mean(bytes_n) / 1000:.0f} KB each")


def measure_all(release: Path) -> None:
    """Every package as a release has it, twice: the bytes must be the same."""
    kinds = ("public", "cpp/*", "school/*")
    found = [folder for kind in kinds for folder in sorted(release.glob(kind))]
    folders = {folder.relative_to(release).as_posix(): folder for folder in found}
    with timed(f"all {len(folders)} packages", 60):
        first = {name: dict(files) for name, files in render_packages(folders)}
    areas = [name for name in folders if not name.startswith("school/")]
    again = {name: dict(f) for name, f in render_packages({n: folders[n] for n in areas})}
    same = all(first[name] == again[name] for name in areas)
    say("areas and public made again, packages that differ", 0 if same else 1, 0, "")
    size = sum(
        len(content)
        for name in areas
        for path, content in first[name].items()
        if path.startswith("explorer/")
    )
    say(f"explorers of {len(areas)} packages", size / 1e6, 3, "MB")


def measure_one_changed(release: Path) -> None:
    """What is drawn again where the figures of the first engagement alone changed."""
    found = [f for kind in ("public", "cpp/*", "school/*") for f in sorted(release.glob(kind))]
    names = {folder.relative_to(release).as_posix(): folder for folder in found}
    areas = [name for name in names if name.startswith("cpp/")]
    own = packages_of(release, list(names), areas[0].removeprefix("cpp/"))
    with timed("one engagement changed", 10) as more:
        for folder in found:
            figures_hash(folder)
            technical_hash(folder)
        due = {name: names[name] for name in [*own, "public"]}
        told_anew = {name: names[name] for name in areas[1:]}
        drawn = [*render_packages(due), *render_packages(told_anew, technical_only=True)]
        more.append(f"{len(due)} packages, {len(drawn) - len(due)} technical reports")


def measure_explorer(release: Path, tries: int = 7) -> None:
    """The first chart and the slowest filter of the largest council, in chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium: the explorer was not opened")
        return
    largest = max(
        release.glob("cpp/*/explorer/index.html"),
        key=lambda page: sum(f.stat().st_size for f in (page.parent / "data").iterdir()),
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        page = browser.new_context(offline=True).new_page()
        first = [opened(page, largest) for _ in range(tries + 1)][1:]
        filters = filtered(page, tries)
        browser.close()
    name = largest.parent.parent.name
    wall = f"wall, best {min(first):.0f}"
    say(f"first chart, {name}", statistics.median(first), 500, "ms", wall)
    for control, found in filters.items():
        used, waited = map(statistics.median, zip(*found, strict=True))
        say(f"filter {control}, {name}", used, 100, "ms", f"processor; wall {waited:.0f} ms")


def opened(page: Any, file: Path) -> float:
    """Milliseconds from the start of the navigation to the first chart."""
    page.goto("about:blank")
    page.goto(f"{file.as_uri()}#view=compare&level=school")
    page.wait_for_selector("body[data-ready=yes]")
    return float(page.evaluate("performance.getEntriesByName('first-chart')[0].startTime"))


def filtered(page: Any, tries: int) -> dict[str, list[tuple[float, float]]]:
    """Control → processor and wall milliseconds from a choice to the laid out chart."""
    script = """
    (() => { const s = document.getElementById('%s'), t = performance.now();
      s.selectedIndex = %d %% s.options.length;
      s.dispatchEvent(new Event('change')); document.body.getBoundingClientRect();
      return performance.now() - t })()
    """
    chrome = page.context.new_cdp_session(page)
    # Ticks of the page's thread: what others do on the machine is not in them.
    chrome.send("Performance.enable", {"timeDomain": "threadTicks"})

    def used() -> float:
        metrics = chrome.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(m["value"]) for m in metrics if m["name"] == "TaskDuration")

    found: dict[str, list[tuple[float, float]]] = {}
    for control in ("f-survey", "f-domain", "f-measure", "f-group", "f-level"):
        for at in range(tries):
            before = used()
            wall = float(page.evaluate(script % (control, at)))
            found.setdefault(control, []).append((used() - before, wall))
    return found


def main() -> int:
    """Measure and say what is above its bound."""
    release = Path(sys.argv[1]) / "releases" / "current"
    measure_explorer(release)
    measure_schools(release, int(sys.argv[2]) if len(sys.argv) > 2 else 650)
    measure_all(release)
    measure_one_changed(release)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
