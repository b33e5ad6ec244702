"""What must not stand in any file of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

# Written in two parts, so that this file passes its own test.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(work/|root/|home/[a-z]|Users/|tmp/h_)"),
    "a registry's host": re.compile(
        "|".join(
            [
                "pypi" + r"\.org",
                "python" + r"hosted\.org",
                "npm" + r"js\.org",
                "debian" + r"\.org/debian",
            ]
        )
    ),
    "a note to oneself": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    "a left-over of a merge": re.compile(r"^(<{7}|>{7}) ", re.MULTILINE),
}
LARGEST_BYTES = 1_000_000


def _tracked(repo_root: Path) -> list[Path]:
    """Files that are committed or about to be; the test is skipped outside a clone."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("not a git clone: nothing says which files belong to it")
    files = [repo_root / name for name in done.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def test_nothing_forbidden_stands_in_a_file(repo_root: Path) -> None:
    found = []
    for file in _tracked(repo_root):
        text = file.read_text(encoding="utf-8", errors="ignore")
        found += [
            f"{file.relative_to(repo_root)}: {what}"
            for what, pattern in FORBIDDEN.items()
            if pattern.search(text)
        ]
    assert not found


def test_no_large_file_and_no_data_file(repo_root: Path) -> None:
    files = _tracked(repo_root)
    large = [str(f.relative_to(repo_root)) for f in files if f.stat().st_size > LARGEST_BYTES]
    data = [
        str(f.relative_to(repo_root))
        for f in files
        if f.suffix in {".duckdb", ".sav", ".xlsx", ".parquet", ".key", ".db", ".log"}
    ]
    assert (large, data) == ([], [])


def test_the_locks_of_uv_are_not_committed(repo_root: Path) -> None:
    """They write registry hosts into the repository; constraints.txt is the lock."""
    names = {file.name for file in _tracked(repo_root)}
    assert "constraints.txt" in names
    assert not names & {"uv.lock", "pylock.toml"}


def test_constraints_pin_every_dependency_exactly(repo_root: Path) -> None:
    lines = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[^ @]+", line)] == []
