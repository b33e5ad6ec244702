"""Files, written whole or not at all, and erased for good.

Belongs here: the one way to replace a small text file, a large one that was written beside, and to
destroy a secret one. Does
not belong here: what stands in a file.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(file: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a small text file so that a reader sees the old or the new one, never a part.

    On a full disk the part that was written goes again; a process that is killed leaves it.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        aside.replace(file)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def replace_durably(fresh: Path, file: Path) -> None:
    """Let a file that was written beside take another's place; a power cut finds the one or other.

    Returns when the disk has both the bytes and the name.
    """
    sync(fresh)
    fresh.replace(file)
    sync(file.parent)


def sync(path: Path) -> None:
    """Force one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def overwrite(file: Path) -> None:
    """Random bytes in the place of a file's own: what is only unlinked stays in free blocks."""
    with file.open("r+b") as stream:
        stream.write(secrets.token_bytes(file.stat().st_size))
        stream.flush()
        os.fsync(stream.fileno())
