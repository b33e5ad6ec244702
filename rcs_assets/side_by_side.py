"""Many tasks at once, each in one of a few processes that hold what all tasks need.

Belongs here: the pool of processes. Does not belong here: the tasks (`disclosure/repair.py`,
`disclosure/estimates_audit.py`, `reporting/many.py`).

Processes, not threads: an attack is thousands of programs of less than a millisecond with a
little Python between them, and two threads that take turns at Python's lock take as long as one.
They are spawned: Typst runs threads of its own, and a process that is forked after that hangs.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from typing import Any, TypeVar

from rcs_assets.errors import StorageError

State = TypeVar("State")
Task = TypeVar("Task")
Result = TypeVar("Result")
WORKERS = 2
# How long who breaks off waits for tasks that have begun, and for workers that were told to end.
_TASK_SECONDS, _END_SECONDS = 60.0, 5.0
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
    with _pool(work, state, WORKERS) as (pool, _):
        return list(pool.map(_do, tasks))


def each_as_done(
    work: Callable[[State, Task], Result], state: State, tasks: Sequence[Task], *, seconds: float
) -> Iterator[Result]:
    """`work(state, task)` of every task, whichever is done first; on all processors.

    Args:
        work: as in `each`.
        state: what all tasks need.
        tasks: in the order in which they are begun.
        seconds: far more than one of them takes on a slow machine: a hang becomes an error.

    Raises:
        StorageError: a worker was ended from outside, or none has answered for so long.
    """
    if not tasks:
        return
    with _pool(work, state, min(os.cpu_count() or 1, len(tasks))) as (pool, break_off):
        waiting = {pool.submit(_do, task) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, timeout=seconds, return_when=FIRST_COMPLETED)
            if not done:
                break_off()
                raise StorageError(
                    "The work was not done in time",
                    where="processes that work beside this one",
                    why=f"none may take longer than {seconds:g} s for a task",
                    fix="see whether the machine is busy, then run the command again",
                )
            yield from (future.result() for future in done)


@contextmanager
def _pool(
    work: Callable[[Any, Any], Any], state: Any, workers: int
) -> Iterator[tuple[ProcessPoolExecutor, Callable[[], None]]]:
    """Workers that begin with their first task, and what ends them; none is left afterwards."""
    context = get_context("spawn")
    others = {process.pid for process in active_children()}
    # Nothing is ever sent: workers end when the other end is closed, or its owner is no more.
    ends, holds = context.Pipe(duplex=False)
    # The state goes by a pipe of its own: handed over with the process, a large one would be
    # written to a worker that may have ended before it reads, and that is waited for, for ever.
    takes, gives = context.Pipe(duplex=False)
    begin = (ends, takes, context.Lock(), work)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=begin)
    given = threading.Thread(
        target=_give, args=(gives, pickle.dumps(state), workers), name="state", daemon=True
    )
    with ends, holds, takes, pool:
        given.start()
        try:
            yield pool, holds.close
        except BrokenProcessPool as error:
            raise StorageError(
                "A process that worked beside this one ended before its work was done",
                where=f"one of {workers} workers",
                why="something outside ended it, most often a lack of memory, or it did not begin: "
                "a script that asks for this must be a file, and do so under "
                "`if __name__ == '__main__':`",
                fix="see that 4 GB are free, then run the asset again",
            ) from error
        except Exception:
            # A task has failed: those that have begun are few, and come to their end.
            pool.shutdown(wait=False, cancel_futures=True)
            _see_end(others, _TASK_SECONDS)
            raise
        except BaseException:
            # Whoever waits no longer, by Ctrl-C, does not wait for what has begun either.
            holds.close()
            _see_end(others, _END_SECONDS)
            raise


def _see_end(others: Set[int | None], seconds: float) -> None:
    """Wait so long for workers to end; those that do not, as in a program that hangs, are killed.

    Args:
        others: processes of before, which are nobody's workers here.
        seconds: for all of them together.
    """
    until = time.monotonic() + seconds
    for process in active_children():
        if process.pid not in others:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()


def _give(gives: Connection, state: bytes, workers: int) -> None:
    """Hand the state to each worker; nobody takes it any more once the pool is closed."""
    with gives, suppress(OSError):
        for _ in range(workers):
            gives.send_bytes(state)


def _begin(
    ends: Connection, takes: Connection, turn: Lock, work: Callable[[Any, Any], Any]
) -> None:
    # Who waits for the work decides whether it is broken off.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(ends,), daemon=True).start()
    with turn, takes:
        state = pickle.loads(takes.recv_bytes())
    _here.update(work=work, state=state)


def _end_with(ends: Connection) -> None:
    """A worker that nobody waits for would go on, or wait for tasks for ever."""
    with suppress(EOFError, OSError):
        ends.recv()
    os._exit(1)


def _do(task: Any) -> Any:
    return _here["work"](_here["state"], task)
