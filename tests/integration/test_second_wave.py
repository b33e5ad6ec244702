"""A CPP takes part a second time: what changed is compared, protected and released.

Belongs here: one real run over two waves of one CPP, the second made of the first one's
deliveries. Does not belong here: arithmetic (`tests/unit/wellbeing/test_changes.py`).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from rcs_assets.simulate import simulate
from rcs_assets.storage import Home
from tests.conftest import run_rcs
from tests.integration.installation import ENGAGEMENT, edit_csv, edit_sav, sign_and_deliver

LATER = "t4-clackmannanshire"
_OVERLAY = {
    "tranches.csv": (
        "key,number,label,starts_on,ends_on,source\n"
        "t4,4,A second wave,2015-09-01,2016-08-31,made for this test\n"
    ),
    "engagements.csv": f"key,tranche,cpp,source\n{LATER},t4,clackmannanshire,made for this test\n",
    "waves.csv": (
        "engagement,survey,contractor,stages,fieldwork_start,fieldwork_end,design,mode,target_n,"
        "is_held,source\n"
        f"{LATER},primary,scotcen,P5;P6;P7,2016-01-05,2016-03-31,census,online_in_class,,yes,test\n"
        f"{LATER},secondary,ipsos,S1;S2;S3;S4,2015-09-01,2015-12-31,census,online_in_class,,yes,"
        "test\n"
    ),
    "questionnaires.csv": (
        "name,tranche,survey,contractor,wave,uid_name,completed_on_name,wave_name,take_part_name,"
        "take_part_yes,naming,coding,source\n"
        "t4-primary,t4,primary,scotcen,4,serial,intdate,wave,takepart,1,scotcen,scotcen,test\n"
        "t4-secondary,t4,secondary,ipsos,4,UID,END_DATE,WAVE,Q1,1,ipsos,ipsos,test\n"
    ),
    "forms.csv": (
        "questionnaire,form,supplier_name,supplier_code,title,stages,left_out,source\n"
        "t4-secondary,main,FORM,1,Main questionnaire,S1;S2;S3;S4,substances;substance_use,test\n"
        "t4-secondary,combined,FORM,2,Combined with SALSUS,S2;S4,,test\n"
    ),
    "readiness.csv": (
        "engagement,assessed_on,assessor,governance_ok,education_signed,social_work_signed,"
        "health_signed,elected_members_signed,project_manager_named,outcome,source\n"
        f"{LATER},2015-07-01,development adviser,yes,yes,yes,yes,yes,yes,ready,made for this test\n"
    ),
    "complex_asn.yaml": (
        "conditions: [{types: ['1']}, {least_needs: 2}]\nsource: made for this test\n"
        "dated: 2026-11-28\nreason: a plan, or two needs\n"
    ),
    "version_changes.csv": (
        "questionnaire,variable,change,breaks_comparability,note,source\n"
        "t4-secondary,happy_at_school,reworded,yes,made for this test,test\n"
    ),
    "privacy.csv": (
        "engagement,controller,processors,contract_expires_on,iso27001_expires_on,dpia_reference,"
        "dpia_review_on,sharing_agreement,ethics,panel,notice_version,lawful_basis,valid_from,"
        "expires_on,retention_until,source\n"
        f"{LATER},Scottish Government,ScotCen,2035-12-31,2035-12-31,D,2035-12-31,D,D,D,D,D,"
        "2015-08-01,2035-12-31,2035-12-31,made for this test\n"
    ),
}


def _another_child(sample: pd.DataFrame) -> pd.DataFrame:
    """Every second pupil is another child: born a day later, so that nobody links them."""
    born = pd.to_datetime(sample["date_of_birth"]) + pd.to_timedelta(
        [number % 2 for number in range(len(sample))], unit="D"
    )
    return sample.assign(date_of_birth=born.dt.strftime("%Y-%m-%d"))


def _answered_anew(frame: pd.DataFrame) -> pd.DataFrame:
    """Two of three pupils answer as somebody else with the same form did; who they are stays."""
    own = ("serial", "uid", "intdate", "end_date", "wave", "form")
    answers = [name for name in frame.columns if name.lower() not in own]
    drawn = np.random.default_rng(4)
    forms = frame["FORM"] if "FORM" in frame.columns else pd.Series(1, index=frame.index)
    for form in sorted(forms.unique()):
        moved = np.flatnonzero((np.arange(len(frame)) % 3 > 0) & (forms == form))
        order = drawn.permutation(moved)
        frame.loc[frame.index[moved], answers] = frame.loc[frame.index[order], answers].to_numpy()
    number = next(name for name in frame.columns if name.lower() == "wave")
    return frame.assign(**{number: 4.0})


def _later_files(first: Path, folder: Path) -> list[Path]:
    """The second wave's deliveries, made of the first wave's."""
    made = []
    folder.mkdir()
    for source in sorted(first.glob(f"{ENGAGEMENT}_*")):
        target = folder / source.name.replace(ENGAGEMENT, LATER)
        if "sample-file" in source.name:
            shutil.move(edit_csv(source, folder / "edited", _another_child), target)
        elif "parent-survey" in source.name:
            continue
        elif "-survey" in source.name:
            shutil.move(edit_sav(source, folder / "edited", _answered_anew), target)
        else:
            shutil.copyfile(source, target)
        made.append(target)
    return made


_PUPILS = """
    select linked.project_id, weights.weight, pupils.{indicator} as y
    from wellbeing.indicator_values as pupils
    inner join wellbeing.weights as weights using (engagement, record_id)
    inner join linkage.linked as linked using (engagement, record_id)
    where pupils.engagement = ? and pupils.survey = ? and pupils.{indicator} is not null
"""
_CHANGES = """
    select
        changes.indicator, changes.survey, changes.statistic, changes.difference, changes.se,
        changes.shared_n, changes.changed_n,
        list([estimates.sd, estimates.design_effect] order by estimates.engagement = ?) as parts
    from wellbeing.changes as changes
    inner join wellbeing.estimates as estimates
        on
            estimates.engagement in (changes.engagement, changes.earlier_engagement)
            and estimates.geography_level = 'cpp' and estimates.breakdown = 'total'
            and estimates.survey = changes.survey and estimates.indicator = changes.indicator
    where changes.engagement = ? and changes.breakdown = 'total' and changes.reason = ''
    group by all
    order by all
"""


_SHOWN_CHANGES = """
    select
        count(changes.change),
        count_if(changes.change <> later.estimate - earlier.estimate),
        count_if(not changes.change between changes.ci_low and changes.ci_high)
    from changes
    left join estimates as later
        on
            later.engagement = changes.engagement and later.geography_level = 'cpp'
            and later.indicator = changes.indicator
            and later.breakdown = changes.breakdown and later."group" = changes."group"
    left join estimates as earlier
        on
            earlier.engagement = changes.earlier_engagement
            and earlier.geography_level = 'cpp'
            and earlier.indicator = changes.indicator
            and earlier.breakdown = changes.breakdown
            and earlier."group" = changes."group"
"""


def _changes_again(con: duckdb.DuckDBPyConnection) -> int:
    """Every total's change, error and shared pupils, counted here from the pupils.

    Three secondaries and few primaries: the variance is that of Wilson's interval (Table B).
    """
    columns = ("indicator", "survey", "statistic", "difference", "se", "shared_n", "changed_n")
    compared = 0
    for *values, parts in con.execute(_CHANGES, [LATER, LATER]).fetchall():
        told = dict(zip(columns, values, strict=True))
        waves = [
            con.execute(_PUPILS.format(indicator=told["indicator"]), [key, told["survey"]]).df()
            for key in (ENGAGEMENT, LATER)
        ]
        means = [float(np.average(wave["y"], weights=wave["weight"])) for wave in waves]
        scores = [
            wave.assign(z=wave["weight"] * (wave["y"] - mean)).set_index("project_id")["z"]
            for wave, mean in zip(waves, means, strict=True)
        ]
        shared = scores[0].index.intersection(scores[1].index)
        together = float((scores[0][shared] * scores[1][shared]).sum())
        spread = [float((z**2).sum()) for z in scores]
        r = together / np.sqrt(spread[0] * spread[1]) if min(spread) > 0 else 0.0
        is_mean = told["statistic"] == "mean"
        variances = [
            (sd**2 if is_mean else 1e4 * mean * (1 - mean)) * effect / len(wave)
            for mean, wave, (sd, effect) in zip(means, waves, parts, strict=True)
        ]
        variance = sum(variances) - 2 * r * np.sqrt(variances[0] * variances[1])
        factor = 1 if is_mean else 100
        assert told["difference"] == pytest.approx(factor * (means[1] - means[0]), abs=1e-9), told
        assert told["se"] == pytest.approx(np.sqrt(max(variance, 0)), rel=1e-6), told
        assert told["shared_n"] == len(shared)
        assert told["changed_n"] == len(scores[0]) + len(scores[1]) - 2 * len(shared)
        compared += 1
    return compared


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that released both waves."""
    folder = tmp_path_factory.mktemp("second-wave")
    home, first = Home.open(folder / "home", profile="demo").path, folder / "first"
    simulate(first, truth=folder / "truth", scale="small", defects="none")
    for name, text in _OVERLAY.items():
        (home / "config" / name).write_text(text, encoding="utf-8")
    told = run_rcs("deliver", "--home", home, first)
    assert told.status == 0, told.output
    told = sign_and_deliver(home, *_later_files(first, folder / "later"))
    assert told.status == 0, told.output
    done = run_rcs(
        "materialise", "--home", home, "--publish", "--as-of", "2020-06-30", timeout=2400
    )
    assert done.status == 0, done.output
    return home


def _read(database: Path, sql: str, *values: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as con:
        return con.execute(sql, list(values)).fetchall()


@pytest.mark.slow
def test_two_waves_are_compared_inside(home: Path) -> None:
    warehouse = home / "warehouse.duckdb"
    reasons = {
        row[0]: row[1:]
        for row in _read(
            warehouse,
            "select reason, count(*), min(shared_n), min(changed_n), bool_and(se > 0) "
            "from wellbeing.changes where engagement = ? and breakdown = 'total' group by all",
            LATER,
        )
    }
    compared, shared_n, changed_n, has_error = reasons[""]
    assert compared > 60
    assert shared_n > 10
    assert changed_n > 10
    assert has_error
    why = "select distinct reason from wellbeing.changes where "
    assert _read(warehouse, why + "indicator = 'secondary_happy_at_school' and engagement = ?",
                 LATER) == [("not_comparable",)]  # fmt: skip
    assert _read(warehouse, why + "engagement <> ?", LATER) == [("one_wave",)]
    with duckdb.connect(str(warehouse), read_only=True) as con:
        assert _changes_again(con) == compared


@pytest.mark.slow
def test_a_release_shows_the_changes_to_whom_they_concern(home: Path) -> None:
    unsafe = _read(
        home / "warehouse.duckdb", "select sum(unsafe_n), count(*) from disclosure.audit"
    )
    assert unsafe[0][0] == 0 and unsafe[0][1] > 0
    release = (home / "releases" / "current").resolve()
    seen = {
        package: _read(
            release / package / "rcs.duckdb",
            "select * from changes where engagement = ? order by all",
            LATER,
        )
        for package in ("public", f"cpp/{LATER}", f"cpp/{ENGAGEMENT}", "cpp/t2-falkirk")
    }
    # A CPP reads its own changes in the package of either wave, and no other CPP's.
    assert seen["public"] == seen[f"cpp/{LATER}"] == seen[f"cpp/{ENGAGEMENT}"]
    assert seen["cpp/t2-falkirk"] == []
    public = release / "public" / "rcs.duckdb"
    shown, wrong, outside = _read(public, _SHOWN_CHANGES)[0]
    assert shown > 50
    assert (wrong, outside) == (0, 0)
    assert _read(
        public, "select distinct note, status from changes where note is not null order by all"
    ) == [("not_comparable", "x"), ("one_wave", "x")]
    checks = json.loads((release / "manifest.json").read_text(encoding="utf-8"))["checks"]
    assert any("changes_tell_nothing_new" in str(check) for check in checks)


@pytest.mark.slow
def test_a_question_that_changed_is_not_pooled(home: Path) -> None:
    asked = "geography_level = 'all' and indicator = 'secondary_happy_at_school'"
    assert _read(
        home / "warehouse.duckdb",
        f"select distinct reason from wellbeing.estimates where {asked} and base_n > 0",
    ) == [("not_comparable",)]
    public = home / "releases" / "current" / "public" / "rcs.duckdb"
    assert _read(
        public,
        f"select distinct status, n, estimate from estimates where {asked} and breakdown = 'total'",
    ) == [("x", None, None)]
    # Each wave's own figure stands.
    assert _read(
        public,
        "select count(*) from estimates where geography_level = 'cpp' and breakdown = 'total' "
        "and indicator = 'secondary_happy_at_school' and status = 'published'",
    ) == [(3,)]


@pytest.mark.slow
def test_the_profile_that_the_installation_defined_is_in_the_safe_haven(home: Path) -> None:
    release = home / "releases" / "current"
    rows = _read(
        release / "safe_haven" / "rcs.duckdb",
        'select part, "group", count(*), sum(n), count(estimate) from complex_asn_profile '
        "where engagement is null group by all order by all",
    )
    assert {row[0] for row in rows} == {"answers", "response", "support", "who"}
    assert {row[1] for row in rows} == {"complex", "no_asn", "other_asn"}
    assert all(n > 0 and figures_n > 0 for *_, n, figures_n in rows)
    names = _read(
        release / "public" / "rcs.duckdb", "select table_name from information_schema.tables"
    )
    assert ("estimates",) in names
    assert ("complex_asn_profile",) not in names
