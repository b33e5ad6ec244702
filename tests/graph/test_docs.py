"""Documentation that cannot rot: links resolve, generated pages are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def _pages(repo_root: Path) -> list[Path]:
    top = [repo_root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((repo_root / "docs").rglob("*.md"))]


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}


def _local_links(page: Path) -> list[tuple[Path, str]]:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    local = [t for t in targets if not re.match(r"[a-z]+:", t)]
    found = []
    for target in local:
        name, _, anchor = target.partition("#")
        found.append(((page.parent / name).resolve() if name else page, anchor))
    return found


def test_links_resolve(repo_root: Path) -> None:
    broken = [
        f"{page.relative_to(repo_root)} → {target.name}#{anchor}"
        for page in _pages(repo_root)
        for target, anchor in _local_links(page)
        if not target.exists() or (anchor and anchor not in _anchors(target))
    ]
    assert not broken


def test_no_page_cites_a_file_that_readers_do_not_have(repo_root: Path) -> None:
    """Sources are cited by title: the notes that they were read into are in no installation."""
    citing = [page.name for page in _pages(repo_root) if "domain.md" in page.read_text("utf-8")]
    assert citing == []


def test_every_page_is_reached_from_the_index(repo_root: Path) -> None:
    seen: set[Path] = set()
    queue = [repo_root / "docs" / "index.md"]
    while queue:
        page = queue.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        queue += [target for target, _ in _local_links(page) if target.exists()]
    pages = set((repo_root / "docs").rglob("*.md"))
    assert pages - seen == set()


def test_generated_pages_are_current(repo_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, repo_root / "docs" / "build_reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "bench", "ui", "lint", "docs"])
def test_make_has_the_commands_of_the_interfaces(repo_root: Path, target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (repo_root / "Makefile").read_text(), re.MULTILINE)
