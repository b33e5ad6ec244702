"""Tasks in processes of their own: the order, the end of a worker, the end of who waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rcs_assets import side_by_side
from rcs_assets.errors import InputError, StorageError
from rcs_assets.side_by_side import each, each_as_done

# Of a worker's own: `exec` is a function that a worker finds by its name.
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
REFUSES = """
import time
if is_slow:
    time.sleep(2)
from rcs_assets import side_by_side
from rcs_assets.errors import InputError
raise InputError("The column is missing", where="estimates", fix="deliver it")
"""
HANGS = "import time; time.sleep(120)"
# A native program that hangs and does not let go of Python's lock; of two, one fails.
HANGS_HARD = """
import ctypes
if is_slow:
    ctypes.PyDLL(None).sleep(120)
raise ValueError("the other one")
"""
BEGINS_NEVER = """
from rcs_assets.side_by_side import each
each(str.__add__, "x" * {much}, ["a", "b"], is_little=False)
"""
SLEEPS = """
import signal
from rcs_assets.side_by_side import each
WORK = "import os, time; print(os.getpid(), flush=True); time.sleep(120)"
if __name__ == "__main__":
    # Whoever runs the tests may have told all that he starts to pay no heed to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    each(exec, WORK, [{}, {}], is_little=False)
"""


@pytest.mark.parametrize("is_little", [True, False])
def test_results_come_in_the_order_of_the_tasks(is_little):
    tasks = ["three", "one", "two", "four"]
    assert each(str.__add__, "after ", tasks, is_little=is_little) == [
        "after three", "after one", "after two", "after four",
    ]  # fmt: skip


def test_little_work_is_done_here_and_much_elsewhere():
    ask = "pids.append(__import__('os').getpid())"
    here: list[int] = []
    each(exec, ask, [{"pids": here}, {"pids": here}], is_little=True)
    assert here == [os.getpid()] * 2
    each(exec, ask, [{"pids": here}, {"pids": here}], is_little=False)
    assert len(here) == 2, "a worker has a copy of its task"


@pytest.mark.filterwarnings("error")
def test_an_error_of_a_task_is_the_callers_and_nothing_else_is_said(capfd):
    """Of many tasks, some of which have not begun when the first one fails."""
    with pytest.raises(InputError, match=r"column is missing.*What to do: deliver it"):
        each(exec, REFUSES, [{"is_slow": number > 0} for number in range(20)], is_little=False)
    assert capfd.readouterr().err == ""


def test_a_worker_that_is_ended_from_outside_is_an_error_and_no_wait():
    with pytest.raises(StorageError, match="ended before its work was done"):
        each(exec, DIES, [{}, {}], is_little=False)


def test_tasks_come_as_they_are_done_and_each_once():
    tasks = ["three", "one", "two", "four"]
    found = list(each_as_done(str.__add__, "after ", tasks, seconds=60))
    assert sorted(found) == sorted("after " + task for task in tasks)
    assert list(each_as_done(str.__add__, "after ", [], seconds=60)) == []


def test_a_task_that_hangs_and_a_worker_that_dies_are_errors_and_no_wait():
    with pytest.raises(StorageError, match="not done in time"):
        list(each_as_done(exec, HANGS, [{}, {}], seconds=1))
    with pytest.raises(StorageError, match="ended before its work was done"):
        list(each_as_done(exec, DIES, [{}, {}], seconds=60))


def test_a_hang_beside_a_task_that_failed_is_ended(monkeypatch):
    monkeypatch.setattr(side_by_side, "_TASK_SECONDS", 3.0)
    begun = time.monotonic()
    with pytest.raises(ValueError, match="the other one"):
        each(exec, HANGS_HARD, [{"is_slow": False}, {"is_slow": True}], is_little=False)
    assert time.monotonic() - begun < 60


def test_a_worker_that_never_began_is_an_error_however_much_it_was_to_be_given():
    """A script that is no file has no workers: they end before they read anything."""
    script = BEGINS_NEVER.format(much=10_000_000)
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert "StorageError: A process that worked beside this one ended" in done.stderr


def is_running(pid: int) -> bool:
    """Whether a process does something; one that has ended may still be in the list."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc to see processes in")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_at_once_with_who_waits_for_them(tmp_path, sent):
    """A parent that is killed, and Ctrl-C, which a terminal sends to all of them."""
    script = tmp_path / "waits.py"
    script.write_text(SLEEPS, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(map(is_running, workers))
        if sent == signal.SIGINT:
            os.killpg(parent.pid, sent)
        else:
            parent.send_signal(sent)
        end = time.monotonic() + 20
        while any(map(is_running, [parent.pid, *workers])) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(map(is_running, [parent.pid, *workers]))
        said = parent.stderr.read()
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == (sent == signal.SIGINT)
