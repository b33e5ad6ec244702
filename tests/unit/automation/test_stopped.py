"""Ctrl-C at any moment: one line that says so, whatever was at work takes it for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rcs_assets import entry, stopping
from rcs_assets.commands import releases, running
from rcs_assets.errors import StorageError
from rcs_assets.runs import RunOutcome
from rcs_assets.storage import Home


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def _handled_by_another() -> Iterator[None]:
    """As where Dagster or DuckDB takes the signal for itself."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


def _dagster_takes_it(options: object) -> int:
    with _handled_by_another():
        _stop()
    outcome = RunOutcome("1", "publish", "linkage: RuntimeError: Query interrupted")
    return running._report_runs([outcome])


def _a_worker_takes_it(options: object) -> int:
    with _handled_by_another():
        _stop()
    raise StorageError("A process that worked beside this one ended")


def _an_engine_takes_it(options: object) -> int:
    with _handled_by_another():
        _stop()
    raise RuntimeError("Query interrupted")


def _nobody_takes_it(options: object) -> int:
    # As from a terminal: a process that is started in the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _stop()
        time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


@pytest.mark.parametrize(
    "command", [_dagster_takes_it, _a_worker_takes_it, _an_engine_takes_it, _nobody_takes_it]
)
def test_a_stop_is_said_in_one_line(
    command: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = Home.open(tmp_path / "home")
    monkeypatch.setattr(releases, "release_list", command)
    monkeypatch.setattr(sys, "argv", ["rcs", "release", "list", "--home", str(home.path)])
    assert entry.main() == 1
    assert capsys.readouterr().err == f"{entry.STOPPED}\n"
    # What the next command does is its own.
    assert not stopping.was_stopped()


def test_a_run_that_fails_of_itself_is_no_stop(capsys: pytest.CaptureFixture[str]) -> None:
    assert running._report_runs([RunOutcome("1", "publish", "linkage: ValueError: x")]) == 1
    assert capsys.readouterr().err == "rcs: linkage: ValueError: x\n"


@pytest.mark.parametrize("seconds", [0.15, 0.6])
def test_a_stop_while_the_command_line_is_imported_leaves_no_trace(seconds: float) -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from rcs_assets.entry import main\n"
        "sys.argv = ['rcs', 'codebook', 'differences']\n"
        "print('begun', flush=True)\n"
        "sys.exit(main())\n"
    )
    begun = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert begun.stdout is not None and begun.stdout.readline() == "begun\n"
    time.sleep(seconds)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=60)
    assert (begun.returncode, said) == (1, f"{entry.STOPPED}\n")
