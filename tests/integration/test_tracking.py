"""Programme tracking in the graph: a real run, its warnings, and what depends on nothing of it.

Belongs here: the asset [programme, tracking] with its checks, and which parts an entered day
makes stale. Does not belong here: the rules (`unit/programme`).
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from rcs_assets.intake.freshness import OUTPUTS, TRACKING, stale_inputs, wanted_fingerprints
from rcs_assets.programme.assets import tracking
from rcs_assets.programme.checks import PYTHON_CHECKS, programme_checks
from rcs_assets.programme.tracking import COLUMNS
from rcs_assets.storage import Home, open_warehouse
from rcs_assets.storage.resources import HomeResource

DAY = "2020-01-15"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home", profile="demo", seed=1)


def write(home: Home, file: str, row: str) -> None:
    (home.config / file).write_text(f"{','.join(COLUMNS[file])}\n{row}\n", encoding="utf-8")


def test_a_run_writes_table_and_page_and_warns(home: Home) -> None:
    write(home, "milestones.csv", "t3-moray,reports,,,a test")
    defs = dg.Definitions(
        assets=[tracking],
        asset_checks=[programme_checks],
        jobs=[dg.define_asset_job("all", selection="*")],
        resources={"home": HomeResource(path=str(home.path), as_of=DAY)},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("all").execute_in_process(instance=instance)
    told = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(told) == {check.name for check in PYTHON_CHECKS}
    assert {name for name, check in told.items() if not check.passed} == {
        "reports_come_within_six_months"
    }
    late = told["reports_come_within_six_months"]
    assert late.severity == dg.AssetCheckSeverity.WARN
    assert "t3-moray: due on 2019-12-28, 18 days ago" in str(late.metadata["observed"].value)
    assert "config/milestones.csv" in str(late.metadata["next_command"].value)
    page = home.path / "status" / "programme.html"
    assert "INTERNAL" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o077 == page.parent.stat().st_mode & 0o077 == 0
    with open_warehouse(home, read_only=True) as con:
        rows = con.execute(
            "select engagement, milestone from programme.tracking where state = 'overdue'"
        ).fetchall()
        n = con.execute("select count(*) from programme.tracking").fetchall()[0][0]
    assert rows == [("t3-moray", "reports")] and n == 80


def test_an_entered_day_computes_no_figure_again(home: Home) -> None:
    before = wanted_fingerprints(home)
    write(home, "milestones.csv", "t3-moray,reports,,2019-12-01,a test")
    after = wanted_fingerprints(home)
    assert before[OUTPUTS] == after[OUTPUTS] and before[TRACKING] != after[TRACKING]
    assert TRACKING not in stale_inputs(home)
    (home.config / "policy.yaml").write_text("x: 1\n", encoding="utf-8")
    assert wanted_fingerprints(home)[OUTPUTS] != after[OUTPUTS]
