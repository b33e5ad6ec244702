"""What is left of a run whose process was killed: nothing that later runs wait for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from rcs_assets import sessions
from rcs_assets.automation import look_for_killed_runs
from rcs_assets.runs import dagster_instance
from rcs_assets.storage import Home
from rcs_assets.storage.resources import HomeResource
from tests.conftest import DEMO_DAY, QUIET, REPO_ROOT

STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dagster_instance(Home.open(tmp_path / "home", profile="demo")) as made:
        yield made


def start_reference_run(home: Path) -> subprocess.Popen[bytes]:
    """The job `reference` as a run of the UI: in a process of its own, until it has the lock."""
    own = {"RCS_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "RCS_AS_OF": DEMO_DAY}
    job: list[str | Path] = [
        Path(sys.executable).with_name("dagster"), "job", "execute",
        "-m", "rcs_assets.definitions", "-j", "reference",
    ]  # fmt: skip
    run = subprocess.Popen(
        job, cwd=REPO_ROOT, env={**os.environ, **QUIET, **own},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    holder = home / ".lock-holder.json"
    end = time.monotonic() + 120
    while time.monotonic() < end and run.poll() is None:
        if holder.exists() and "Dagster run" in json.loads(holder.read_text())["purpose"]:
            return run
        time.sleep(0.02)
    pytest.fail("the run never held the lock")


def look(instance: dg.DagsterInstance, home: Path) -> str:
    """What the sensor says."""
    context = dg.build_sensor_context(instance=instance)
    (said,) = look_for_killed_runs(context, HomeResource(path=str(home)))
    return said.skip_message or ""


def test_a_killed_run_is_failed_and_one_that_works_is_not(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SILENT_SECONDS", 1)
    home = tmp_path / "home"
    run = start_reference_run(home)
    os.killpg(run.pid, signal.SIGSTOP)
    time.sleep(2)
    # It has said nothing for longer than the limit, but it holds the lock.
    assert "nothing was looked at" in look(instance, home)
    (known,) = instance.get_runs()
    assert known.status == STARTED
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(30)
    assert known.run_id[:8] in look(instance, home)
    (known,) = instance.get_runs()
    assert known.status == FAILURE
    assert "No run" in look(instance, home)


def test_a_run_that_waits_for_the_lock_is_not_failed(instance: dg.DagsterInstance) -> None:
    """It is STARTED, and does not hold the lock yet."""
    run = instance.create_run_for_job(_job.to_job())
    start = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_START.value, run.job_name)
    instance.report_dagster_event(start, run.run_id)
    (known,) = instance.get_runs()
    assert known.status == STARTED
    assert sessions.fail_ended(instance) == []


@dg.graph
def _job() -> None:
    """A job that does nothing."""
