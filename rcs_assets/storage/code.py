"""Which code made a result.

Belongs here: one hash over the product's code and data files, and where a library decides what
comes out (pages, programs of disclosure) over its version too. Does not belong here: what follows
from a change (`rcs_assets.runs`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

CODE_FOLDERS = ("rcs_assets", "data_quality", "dbt_project")
CODE_ENDINGS = {
    ".py", ".sql", ".yml", ".yaml", ".csv", ".html", ".css", ".js", ".typ", ".md", ".ttf",
}  # fmt: skip
# Another version of these can give other bytes from the same code and figures.
PAGE_MAKERS = ("jinja2", "markdown-it-py", "markupsafe", "pikepdf", "typst")
# Another version of these can answer the same programs otherwise.
SOLVERS = ("highspy", "numpy", "scipy")
NOT_CODE = {"simulate", "target", "logs", "__pycache__"}


@cache
def code_version() -> str:
    """sha256 over the product's code and data files, without the simulator."""
    return _hash_folders(CODE_FOLDERS)


@cache
def room_version(room: str) -> str:
    """sha256 over the code and data files of one room; a room that is not there has no files."""
    return _hash_folders((f"rcs_assets/{room}",))


@cache
def pages_version() -> str:
    """sha256 over the room reporting with its fonts, and the versions of what sets pages."""
    return _with_versions("reporting", PAGE_MAKERS)


@cache
def programs_version() -> str:
    """sha256 over the room disclosure, and the versions of what solves its programs."""
    return _with_versions("disclosure", SOLVERS)


def _with_versions(room: str, libraries: Iterable[str]) -> str:
    made_with = [f"{name}=={version(name)}" for name in libraries]
    return hashlib.sha256("\n".join([room_version(room), *made_with]).encode()).hexdigest()


def _hash_folders(folders: Iterable[str]) -> str:
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted((root / folder).rglob("*")):
            relative = file.relative_to(root)
            if file.suffix in CODE_ENDINGS and not NOT_CODE & set(relative.parts):
                digest.update(str(relative).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
