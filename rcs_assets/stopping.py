"""Whether somebody told this command to stop.

Belongs here: noting the signals that a command gets. Does not belong here: what is said of it
(`entry.py`); nothing of the platform is imported.

Dagster, DuckDB and the processes beside this one each take a stop for a failure of their own work.
So the numbers of signals go to a pipe as well, whoever handles them: a failure after one of them
is no failure, but the stop that was asked for.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Dagster makes the one of the other while it runs.
_STOPS = frozenset({int(signal.SIGINT), int(signal.SIGTERM)})
_pipes: list[int] = []
_received: set[int] = set()


@contextmanager
def signals_noted() -> Iterator[None]:
    """From here on `was_stopped` knows; of the main thread only."""
    reads, writes = os.pipe()
    for end in (reads, writes):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    _pipes.append(reads)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _pipes.remove(reads)
        _received.clear()
        os.close(reads)
        os.close(writes)


def was_stopped() -> bool:
    """Whether a signal to stop came, by Ctrl-C or from outside."""
    for reads in _pipes:
        with suppress(BlockingIOError):
            _received.update(os.read(reads, 1024))
    return not _STOPS.isdisjoint(_received)
