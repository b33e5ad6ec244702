"""One lock for every write to a home, so that no two processes write at once.

Belongs here: the operating system's file lock and the name of its holder. Does
not belong here: the Dagster pool, which only queues runs of one daemon: a run
from the command line does not wait for it (stack.md, Dagster).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO

from rcs_assets.errors import StorageError
from rcs_assets.storage.files import write_atomically
from rcs_assets.storage.home import Home

WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.1

_thread_lock = threading.RLock()
_held: dict[str, tuple[IO[str], int]] = {}


@contextmanager
def write_lock(home: Home, purpose: str, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the home's write lock; re-entrant inside one process.

    Args:
        home: the installation.
        purpose: what the holder does, shown to whoever has to wait.
        wait_seconds: how long to wait before giving up.

    Raises:
        StorageError: another process holds the lock; the message names it.
    """
    name = str(home.path)
    with _thread_lock:
        handle, depth = _held.get(name, (None, 0))
        if handle is None:
            handle = _acquire(home, purpose, wait_seconds)
        _held[name] = (handle, depth + 1)
        try:
            yield
        finally:
            handle, depth = _held[name]
            if depth == 1:
                del _held[name]
                handle.close()
            else:
                _held[name] = (handle, depth - 1)


def _acquire(home: Home, purpose: str, wait_seconds: float) -> IO[str]:
    handle = (home.path / ".lock").open("a", encoding="utf-8")
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                handle.close()
                raise _busy(home) from None
            time.sleep(_POLL_SECONDS)
        else:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "purpose": purpose, "since": since}
            write_atomically(home.path / ".lock-holder.json", json.dumps(holder) + "\n")
            return handle


def _busy(home: Home) -> StorageError:
    try:
        holder = json.loads((home.path / ".lock-holder.json").read_text(encoding="utf-8"))
        who = f"process {holder['pid']} ({holder['purpose']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):
        who = "another process"
    return StorageError(
        f"The installation is being written by {who}",
        where=str(home.path),
        why="one process writes at a time",
        fix="wait until it has ended, then run the command again",
    )
