"""Reads what the documentation tells people to do, so that tests do exactly that."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from textwrap import dedent

BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.M | re.S)


def pages(repo_root: Path) -> list[Path]:
    """Every page that a person reads; generated ones are made from the code itself."""
    written = [
        page for page in (repo_root / "docs").rglob("*.md") if page.parent.name != "reference"
    ]
    return [repo_root / "README.md", repo_root / "CONTRIBUTING.md", *sorted(written)]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, without their indentation."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [dedent(match["text"]) for match in found if match["language"] == language]


def commands(page: Path, program: str) -> list[list[str]]:
    """The words of each command line of a page that starts with a program, comments dropped."""
    lines = "\n".join(blocks(page, "console")).splitlines()
    return [
        shlex.split(line, comments=True)
        for line in lines
        if line.split()[:1] and Path(line.split()[0]).name == program
    ]
