"""Many tasks at once, each in one of a few processes that hold what all tasks need.

Belongs here: the pool of processes. Does not belong here: the tasks (`repair.py`,
`estimates_audit.py`).

Processes, not threads: an attack is thousands of programs of less than a millisecond with a
little Python between them, and two threads that take turns at Python's lock take as long as one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from rcs_assets.errors import StorageError

State = TypeVar("State")
Task = TypeVar("Task")
Result = TypeVar("Result")
WORKERS = 2
# So few cells (indicators × places) are protected, or attacked, before a worker has begun.
LITTLE = 10_000
# In a worker: what it does with a task, and what it does it with.
_here: dict[str, Any] = {}


def each(
    work: Callable[[State, Task], Result], state: State, tasks: Sequence[Task], *, is_little: bool
) -> list[Result]:
    """`work(state, task)` of every task, in the order of the tasks.

    Args:
        work: a function of a module; a worker goes on with its own copy of `state`.
        state: what all tasks need.
        tasks: those that take longest come first, lest one of them be left alone at the end.
        is_little: all is done sooner here than workers have begun (about 2 s).

    Raises:
        StorageError: a worker was ended from outside.
    """
    if is_little or len(tasks) < WORKERS:
        return [work(state, task) for task in tasks]
    context = get_context("spawn")
    # Nothing is ever sent: workers end when the other end is closed, or its owner is no more.
    waits, holds = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(WORKERS, context, initializer=_begin, initargs=(waits, work, state))
    with waits, holds, pool:
        try:
            return list(pool.map(_do, tasks))
        except BrokenProcessPool as error:
            raise StorageError(
                "A process of disclosure ended before its work was done",
                where=f"one of {WORKERS} workers",
                why="something outside ended it, most often a lack of memory, or it did not begin: "
                "a script that asks for this must do so under `if __name__ == '__main__':`",
                fix="see that 4 GB are free, then run the asset again",
            ) from error
        except BaseException:
            # Whoever waits no longer, by Ctrl-C, does not wait for what has begun either.
            holds.close()
            raise


def _begin(waits: Connection, work: Callable[[Any, Any], Any], state: Any) -> None:
    _here.update(work=work, state=state)
    # Who waits for the work decides whether it is broken off.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(waits,), daemon=True).start()


def _end_with(waits: Connection) -> None:
    """A worker that nobody waits for would go on, or wait for tasks for ever."""
    with suppress(EOFError, OSError):
        waits.recv()
    os._exit(1)


def _do(task: Any) -> Any:
    return _here["work"](_here["state"], task)
