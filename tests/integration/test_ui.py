"""Runs that people start in the UI: a backfill, and what happens beside the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from rcs_assets.intake.freshness import stale_parts, wanted_fingerprints
from rcs_assets.programme import load_programme
from rcs_assets.storage import Home, write_lock
from tests.conftest import DEMO_DAY, QUIET, REPO_ROOT, ReleasedHome, run_rcs
from tests.integration.installation import ENGAGEMENT, OTHER, publish

Query = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.slow


def _environment(home: Path) -> dict[str, str]:
    own = {"RCS_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "RCS_AS_OF": DEMO_DAY}
    return {**os.environ, **QUIET, **own}


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


@pytest.fixture
def ui(released_home: ReleasedHome, tmp_path: Path) -> Iterator[tuple[Path, Query]]:
    """`make ui` on a copy of the released home: web server, daemon and code location."""
    home, port = released_home.copy(tmp_path / "home"), _free_port()
    with (tmp_path / "ui.log").open("w") as log:
        served = subprocess.Popen(
            [
                Path(sys.executable).with_name("dagster"), "dev", "--host", "127.0.0.1",
                "--port", str(port), "--workspace", "workspace.yaml",
            ],
            cwd=REPO_ROOT, env=_environment(home), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        nodes = "{ assetNodes { id } }"
        _wait(lambda: _ask(port, nodes)["assetNodes"], 180)
        yield home, lambda query, **variables: _ask(port, query, **variables)
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        try:
            served.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(served.pid, signal.SIGKILL)


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
