"""Many packages at once, each made in a process of its own kind.

Belongs here: the pool of processes. Does not belong here: what is made (`pages.py`) and where
it is put (`assets.py`).

Typst runs threads of its own, and a process that is forked after that hangs for ever: workers
are spawned, and this process never runs Typst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from multiprocessing import TimeoutError as NotInTimeError
from multiprocessing import get_context
from pathlib import Path

from rcs_assets.errors import StorageError
from rcs_assets.reporting.pages import render_package

# Far more than one package needs on a slow machine: a hang becomes an error.
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
        StorageError: the workers do not answer.
    """
    if not folders:
        return
    workers = min(os.cpu_count() or 1, len(folders))
    with get_context("spawn").Pool(workers) as pool:
        made = pool.imap_unordered(partial(_render, technical_only), folders.items())
        for _ in folders:
            try:
                yield made.next(timeout=_SECONDS)
            except NotInTimeError as error:
                raise StorageError(
                    "The pages were not made in time",
                    where="the workers of reporting",
                    why=f"no package may take longer than {_SECONDS} s",
                    fix="see whether the machine is busy, then run: rcs materialise",
                ) from error
        # Workers that have nothing left to do end by themselves: one that is ended while it waits
        # for work can leave the lock of the queue held, and its successor waits for ever.
        pool.close()
        pool.join()


def _render(technical_only: bool, package: tuple[str, Path]) -> tuple[str, Mapping[str, bytes]]:
    name, folder = package
    return name, render_package(folder, name, technical_only=technical_only)
