"""Runs that people start in the UI: a backfill, and what happens beside the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from rcs_assets.intake.freshness import stale_parts, wanted_fingerprints
from rcs_assets.programme import load_programme
from rcs_assets.storage import Home, write_lock
from tests.conftest import DEMO_DAY, QUIET, REPO_ROOT, ReleasedHome, run_rcs
from tests.integration.installation import ENGAGEMENT, OTHER, publish

Query = Callable[..., dict[str, Any]]
NODES = "{ assetNodes { id } }"

pytestmark = pytest.mark.slow


def _environment(home: Path) -> dict[str, str]:
    own = {"RCS_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "RCS_AS_OF": DEMO_DAY}
    return {**os.environ, **QUIET, **own}


def _ask(port: int, query: str, **variables: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    assert "errors" not in found, found["errors"]
    return dict(found["data"])


def _wait(look: Callable[[], Any], seconds: float) -> Any:
    """What `look` finds, as soon as it finds something; OSError means: not yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = look()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(1)
    pytest.fail(f"nothing came within {seconds} s")


@contextmanager
def _served(home: Path, log: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`rcs ui` on a home, and its port; whatever comes, nothing goes on after the test."""
    # Short, since sockets lie in it: their names have at most 107 letters.
    place = Path(tempfile.mkdtemp())
    with log.open("w") as said:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("rcs"), "ui", "--home", home, "--port", "0"],
            cwd=place, env={**_environment(home), "TMPDIR": str(place)}, stdout=subprocess.PIPE,
            stderr=said, text=True, stdin=subprocess.DEVNULL,
            # Tests that a shell put in the background ignore Ctrl-C, and hand that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        yield process, int(address.rpartition(":")[2])
        if process.returncode == 0:
            assert list(place.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        for left in _processes_of(home):
            left.kill()
        shutil.rmtree(place)


def _end(process: subprocess.Popen[str], home: Path) -> None:
    """Told to end, it leaves no process behind."""
    assert process.poll() is None
    process.terminate()
    assert process.wait(40) == 0
    assert _processes_of(home) == []


def _processes_of(home: Path) -> list[psutil.Process]:
    """What works on a home, whoever started it: each has it in its environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            named = process.environ().get("DAGSTER_HOME") == str(home / "dagster")
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture
def ui(released_home: ReleasedHome, tmp_path: Path) -> Iterator[tuple[Path, Query]]:
    """`make ui` on a copy of the released home: web server, daemon and code location."""
    home = released_home.copy(tmp_path / "home")
    with _served(home, tmp_path / "ui.log") as (process, port):
        _wait(lambda: _ask(port, NODES)["assetNodes"], 180)
        yield home, lambda query, **variables: _ask(port, query, **variables)
        _end(process, home)


BACKFILL = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATE = """query($i: String!) { partitionBackfillOrError(backfillId: $i) {
  ... on PartitionBackfill { status runs(limit: 10) {
    runId status tags { key value } } } } }"""
ASSETS = "{ assetNodes { assetKey { path } isPartitioned metadataEntries { label } } }"


def _parts(home: Path) -> frozenset[str]:
    place = Home.open(home)
    return stale_parts(place, wanted_fingerprints(place, (), None))


def test_a_tranche_is_back_filled_and_is_fresh_then(
    ui: tuple[Path, Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/how-to/backfill-a-tranche.md, as the UI's dialogue asks for it."""
    home, query = ui
    monkeypatch.setenv("RCS_AS_OF", DEMO_DAY)
    tranche = [k for k in load_programme().engagement_keys if k.startswith("t1-")]
    assets = query(ASSETS)["assetNodes"]
    assert all("docs" in {m["label"] for m in a["metadataEntries"]} for a in assets)
    chosen = [{"path": a["assetKey"]["path"]} for a in assets if a["isPartitioned"]]
    told = query(BACKFILL, p={"assetSelection": chosen, "partitionNames": tranche})
    number = told["launchPartitionBackfill"]["backfillId"]

    def ended() -> Any:
        state = query(STATE, i=number)["partitionBackfillOrError"]
        return state if state["status"].startswith(("COMPLETED", "FAILED")) else None

    state = _wait(ended, 400)
    assert state["status"] == "COMPLETED_SUCCESS"
    (run,) = state["runs"]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["dagster/asset_partition_range_start"] == tranche[0]
    assert tags["dagster/asset_partition_range_end"] == tranche[-1]
    # What was computed is fresh, what sees all engagements is behind it.
    assert _parts(home) == {"outputs"}
    done = publish(home, "--as-of", DEMO_DAY)
    assert done.status == 0, done.output
    assert _parts(home) == frozenset()


LAUNCH = """mutation($s: JobOrPipelineSelector!) { launchRun(executionParams: {
  selector: $s, mode: "default" }) { __typename ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message } } }"""
STARTED = "query($i: ID!) { runOrError(runId: $i) { ... on Run { status } } }"


def test_a_run_ends_with_the_ui(released_home: ReleasedHome, tmp_path: Path) -> None:
    """The whole command, to its own pages only; then no process of it is left, runs included."""
    home = released_home.copy(tmp_path / "home")
    with _served(home, tmp_path / "ui.log") as (process, port):
        assert len(_ask(port, NODES)["assetNodes"]) > 20
        for named in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(
                    urllib.request.Request(f"http://127.0.0.1:{port}/", headers=named)
                )
        selector = {
            "repositoryLocationName": "rcs", "repositoryName": "__repository__",
            "jobName": "reference",
        }  # fmt: skip
        launched = _ask(port, LAUNCH, s=selector)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = launched["run"]["runId"]
        _wait(lambda: _ask(port, STARTED, i=run)["runOrError"]["status"] == "STARTED", 120)
        _wait(lambda: _is_locked(home), 60)
        _end(process, home)
    assert not _is_locked(home)
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        ended = instance.get_run_by_id(run)
    assert ended is not None and ended.status == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_nothing_outlives_the_command(
    released_home: ReleasedHome, tmp_path: Path, number: signal.Signals
) -> None:
    """Killed without a word, left by its terminal, stopped while the graph is being loaded."""
    home = released_home.copy(tmp_path / "home")
    with _served(home, tmp_path / "ui.log") as (process, port):
        if number != signal.SIGINT:
            _wait(lambda: _ask(port, NODES)["assetNodes"], 180)
        _wait(lambda: len(_processes_of(home)) > 1, 60)
        process.send_signal(number)
        assert process.wait(40) == (-number if number == signal.SIGKILL else 0)
        _wait(lambda: not _processes_of(home), 60 if number == signal.SIGKILL else 1)


def test_a_command_and_a_run_never_work_at_once(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    """Each names the other, after it has waited, and has changed nothing."""
    home = released_home.copy(tmp_path / "home")
    before = (home / "warehouse.duckdb").read_bytes()
    job: list[str | Path] = [
        Path(sys.executable).with_name("dagster"), "job", "execute",
        "-m", "rcs_assets.definitions", "-j", "reference",
    ]  # fmt: skip

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            job, cwd=REPO_ROOT, env=_environment(home), capture_output=True, text=True, check=False
        )

    with write_lock(Home.open(home), "rcs materialise"), ThreadPoolExecutor() as both:
        started = both.submit(run)
        typed = both.submit(run_rcs, "deliver", REPO_ROOT / "README.md", "--home", home)
        done, refused = started.result(timeout=300), typed.result(timeout=300)
    assert done.returncode != 0
    assert refused.status == 1
    for said in (done.stdout + done.stderr, refused.stderr):
        assert f"process {os.getpid()} (rcs materialise, since" in said
        assert "wait until it has ended" in said
    assert (home / "warehouse.duckdb").read_bytes() == before


def test_a_run_of_the_ui_holds_the_lock_from_its_first_step_to_its_last(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = released_home.copy(tmp_path / "home")
    job: list[str | Path] = [
        Path(sys.executable).with_name("dagster"), "asset", "materialize",
        "-m", "rcs_assets.definitions", "--select", "key:wellbeing/weights",
        "--partition", OTHER,
    ]  # fmt: skip
    with subprocess.Popen(
        job, cwd=REPO_ROOT, env=_environment(home), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:  # fmt: skip
        seen = set()
        while run.poll() is None:
            holder = home / ".lock-holder.json"
            if holder.exists():
                seen.add((json.loads(holder.read_text())["purpose"], _is_locked(home)))
            time.sleep(0.05)
    assert run.returncode == 0
    assert any(purpose.startswith("Dagster run ") and held for purpose, held in seen)
    # One asset of an engagement was made: the engagement is not whole, and what follows waits.
    known = _parts(home)
    assert {OTHER, "outputs"} <= known and ENGAGEMENT not in known
    done = run_rcs("release", "publish", "--home", home, "--as-of", DEMO_DAY)
    assert done.status == 1
    assert f"{OTHER} is not computed from" in done.stderr


def _is_locked(home: Path) -> bool:
    probe = "import fcntl,sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run(
        [sys.executable, "-c", probe, home / ".lock"], capture_output=True, check=False
    )
    return done.returncode != 0


def test_paths_that_the_ui_shows_after_publishing_are_there(released_home: ReleasedHome) -> None:
    """The candidate's own path is gone then: its asset says so in the name."""
    with dg.DagsterInstance.from_config(str(released_home.path / "dagster")) as instance:
        shown = {
            f"{asset} {name}": value.value
            for asset in ("release/published", "reporting/pages", "release/candidate")
            for record in instance.fetch_materializations(
                dg.AssetKey(asset.split("/")), limit=1
            ).records
            if record.asset_materialization
            for name, value in record.asset_materialization.metadata.items()
            if isinstance(value, dg.PathMetadataValue) and not name.endswith("_until_published")
        }
    assert set(shown) == {"release/published public_report", "release/published evidence"}
    for name, path in shown.items():
        assert Path(str(path)).is_file(), name
