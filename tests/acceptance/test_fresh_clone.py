"""The two commands of README.md in a fresh clone, as a newcomer types them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def _make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RCS_", "VIRTUAL_ENV"))}
    return subprocess.run(
        ["make", *words],
        cwd=folder,
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.fixture(scope="module")
def clone(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is committed, set up."""
    if not (repo_root / ".git").exists():
        pytest.skip("not a git clone: there is nothing to clone from")
    folder = tmp_path_factory.mktemp("clone") / "rcs"
    subprocess.run(["git", "clone", "--quiet", repo_root, folder], check=True)
    done = _make(folder, "setup")
    if done.returncode != 0 and "resolve" in done.stderr.lower():
        pytest.skip("no package index is reachable, so nothing can be set up")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_demo_publishes_and_a_second_one_computes_nothing(clone: Path) -> None:
    first = _make(clone, "demo", "SCALE=small")
    assert first.returncode == 0, (first.stdout + first.stderr)[-4000:]
    release = (clone / ".rcs" / "releases" / "current").resolve().name
    second = _make(clone, "demo", "SCALE=small")
    assert second.returncode == 0, (second.stdout + second.stderr)[-4000:]
    assert "Nothing has changed" in second.stdout
    assert (clone / ".rcs" / "releases" / "current").resolve().name == release


def test_nothing_that_was_made_is_left_for_git(clone: Path) -> None:
    done = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
