"""Many packages at once, each in a process beside this one, which never runs Typst itself.

Belongs here: which task is whose. Does not belong here: what is made (`pages.py`), where it is
put (`assets.py`), the processes (`side_by_side.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rcs_assets.reporting.pages import render_package
from rcs_assets.side_by_side import each_as_done

# Far more than one package needs on a slow machine.
_SECONDS = 300


def render_packages(
    folders: Mapping[str, Path], *, technical_only: bool = False
) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Package and its files, as each is done.

    Args:
        folders: package → folder.
        technical_only: the technical report alone.

    Raises:
        InputError: a package cannot be read, or its authored summary is refused.
        StorageError: the workers do not answer, or were ended from outside.
    """
    yield from each_as_done(_render, technical_only, list(folders.items()), seconds=_SECONDS)


def _render(technical_only: bool, package: tuple[str, Path]) -> tuple[str, Mapping[str, bytes]]:
    name, folder = package
    return name, render_package(folder, name, technical_only=technical_only)
