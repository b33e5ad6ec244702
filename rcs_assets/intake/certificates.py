"""Certificates of destruction, in `drop/certificates/`.

Belongs here: where they lie, writing one as begun before the first key ends, and giving it its name
after the last. Does not belong here: what is destroyed, why, and what a certificate says
(`retention.py`, `extras.py`, `other_kind.py`).

A certificate holds numbers, days and checksums, no value of a record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcs_assets.storage import Home, write_atomically

FOLDER = "certificates"


def begin(home: Home, stem: str, ending: str, content: Mapping[str, Any]) -> Path:
    """Write a certificate of what is to be destroyed, numbered after those of its stem.

    Args:
        home: the installation.
        stem: what its name begins with.
        ending: marks it as begun, after `.json`.
        content: what it says.
    """
    folder = home.drop / FOLDER
    folder.mkdir(exist_ok=True, mode=0o700)
    number = len(list(folder.glob(f"{stem}-*.json"))) + 1
    file = folder / f"{stem}-{number}.json{ending}"
    write(file, content)
    return file


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Write what a certificate says."""
    write_atomically(file, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read(file: Path) -> Any:
    """What a certificate says."""
    return json.loads(file.read_text(encoding="utf-8"))


def listed(home: Home, stem: str, ending: str = "") -> list[Path]:
    """Certificates that hold, or with an ending those that were begun, by name."""
    return sorted((home.drop / FOLDER).glob(f"{stem}*.json{ending}"))


def finish(file: Path) -> Path:
    """Let a certificate that was begun hold; returns it."""
    certificate = file.with_suffix("")
    file.replace(certificate)
    return certificate
