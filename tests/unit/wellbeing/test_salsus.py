"""Contrasts with SALSUS against arithmetic by hand."""

from __future__ import annotations

import math
import statistics

import duckdb
import numpy as np
import pytest

from rcs_assets.errors import ConfigurationError
from rcs_assets.wellbeing.estimators import load_estimators
from rcs_assets.wellbeing.salsus import load_measures, write_salsus_contrasts

CPPS = {"t1-a": ("S1", "t1"), "t2-b": ("S2", "t2"), "t2-c": ("S3", "t2"), "t3-a": ("S1", "t3")}
SCOPE = [*CPPS]
MEASURES = {name: load_measures()[name] for name in ("sdq_total", "wemwbs")}
PUBLISHED = {"S1": 30.0, "S2": 24.0, "S3": 21.0}


def make(con, *, delivered=True, seed=2):
    rng = np.random.default_rng(seed)
    for schema in ("programme", "intake", "wellbeing"):
        con.execute(f"create schema {schema}")
    con.execute("""
        create table programme.tranches as
        select * from (values ('t1', 1), ('t2', 2), ('t3', 3)) as t(key, number);
        create table programme.engagements (engagement varchar, council_code varchar,
            tranche varchar);
        create table programme.waves (engagement varchar, survey varchar, stages varchar[]);
        create table wellbeing.indicator_values (record_id varchar, engagement varchar,
            survey varchar, seed_code varchar, stage varchar, sex varchar);
        create table wellbeing.weights (record_id varchar, engagement varchar, weight double);
        create table wellbeing.scores (record_id varchar, engagement varchar,
            sdq_total_band3 integer, wemwbs_total double);
        create table intake.salsus (council_code varchar, stage varchar, indicator varchar,
            period varchar, measure double, ci_low double, ci_high double)
    """)
    people = []
    for key, (code, tranche) in CPPS.items():
        con.execute("insert into programme.engagements values (?, ?, ?)", [key, code, tranche])
        con.execute(
            "insert into programme.waves values (?, 'secondary', ['S1', 'S2', 'S4'])", [key]
        )
        for number in range(240):
            pupil = {
                "id": f"{key}-{number}", "engagement": key, "school": f"{key}-{number % 6}",
                "stage": ("S2", "S4")[number % 2], "sex": "FM"[number // 2 % 2],
                "weight": float(rng.uniform(1, 2)),
                "band": None if key == "t2-c" else int(rng.choice([1, 2, 3], p=[0.7, 0.15, 0.15])),
                "wemwbs": float(rng.integers(14, 71)),
            }  # fmt: skip
            people.append(pupil)
    con.executemany(
        "insert into wellbeing.indicator_values values (?, ?, 'secondary', ?, ?, ?)",
        [[p["id"], p["engagement"], p["school"], p["stage"], p["sex"]] for p in people],
    )
    con.executemany(
        "insert into wellbeing.weights values (?, ?, ?)",
        [[p["id"], p["engagement"], p["weight"]] for p in people],
    )
    con.executemany(
        "insert into wellbeing.scores values (?, ?, ?, ?)",
        [[p["id"], p["engagement"], p["band"], p["wemwbs"]] for p in people],
    )
    if delivered:
        for code, figure in PUBLISHED.items():
            for measure in MEASURES.values():
                con.execute(
                    "insert into intake.salsus values (?, 'S2', ?, '2010-2013', ?, ?, ?)",
                    [code, f"S2 girls {measure.published}", figure, figure - 5, figure + 5],
                )
    return people


@pytest.fixture(scope="module")
def made():
    with duckdb.connect() as con:
        people = make(con)
        write_salsus_contrasts(con, SCOPE, MEASURES, load_estimators())
        rows = con.execute("from wellbeing.salsus_contrasts").to_arrow_table().to_pylist()
        yield people, {(r["engagement"], r["stage"], r["sex"], r["measure"]): r for r in rows}


def figure(people, key):
    """Weighted mean of WEMWBS of S2 girls and the standard error of school clusters."""
    own = [p for p in people if p["engagement"] == key]
    cell = [p for p in own if (p["stage"], p["sex"]) == ("S2", "F")]
    weight = sum(p["weight"] for p in cell)
    mean = sum(p["weight"] * p["wemwbs"] for p in cell) / weight
    schools = {p["school"]: 0.0 for p in own}
    for p in cell:
        schools[p["school"]] += p["weight"] * (p["wemwbs"] - mean) / weight
    n = len(schools)
    return mean, math.sqrt(n / (n - 1) * sum(z * z for z in schools.values()))


def test_contrasts_and_their_change_by_hand(made):
    people, rows = made
    keys = {"S1": "t3-a", "S2": "t2-b", "S3": "t2-c"}  # the latest wave of each council
    own = {code: figure(people, key) for code, key in keys.items()}
    average = statistics.fmean(mean for mean, _ in own.values())
    theirs = 5 / 1.959963984540054
    for code, key in keys.items():
        row = rows[key, "S2", "F", "wemwbs"]
        contrast = own[code][0] - average
        published = PUBLISHED[code] - 25.0
        mine = own[code][1] ** 2 * 4 / 9 + sum(se**2 for c, (_, se) in own.items() if c != code) / 9
        other = theirs**2 * (4 / 9 + 2 / 9)
        assert (row["reason"], row["councils_n"], row["period"]) == ("", 3, "2010-2013")
        assert row["rcs_contrast"] == pytest.approx(contrast, rel=1e-9)
        assert row["salsus_contrast"] == pytest.approx(published)
        assert row["change"] == pytest.approx(contrast - published)
        assert row["se"] == pytest.approx(math.sqrt(mine + other), rel=1e-9)
        assert row["ci_low"] == pytest.approx(row["change"] - 1.959963984540054 * row["se"])


def test_what_cannot_be_compared_says_why(made):
    _, rows = made
    assert {key[0] for key in rows} == {"t3-a", "t2-b", "t2-c"}
    # A council without the score leaves the mean of the others.
    assert rows["t2-c", "S2", "F", "sdq_total"]["reason"] == "no_data"
    assert rows["t2-b", "S2", "F", "sdq_total"]["councils_n"] == 2
    assert rows["t2-b", "S4", "F", "wemwbs"]["reason"] == "no_salsus"
    assert rows["t2-b", "S2", "M", "wemwbs"]["change"] is None
    assert not any(r["is_marked"] for r in rows.values() if r["reason"])


@pytest.mark.parametrize(
    ("scope", "delivered", "reasons"),
    [(["t2-b"], True, {"one_council", "no_salsus"}), (SCOPE, False, {"no_salsus", "no_data"})],
)
def test_one_council_or_no_reference_gives_no_contrast(scope, delivered, reasons):
    with duckdb.connect() as con:
        make(con, delivered=delivered)
        write_salsus_contrasts(con, scope, MEASURES, load_estimators())
        rows = con.execute("select reason, change from wellbeing.salsus_contrasts").fetchall()
    assert {row[0] for row in rows} == reasons
    assert {row[1] for row in rows} == {None}


def test_a_measure_of_another_statistic_is_refused(tmp_path):
    (tmp_path / "salsus.yaml").write_text(
        "measures: {sdq_total: {statistic: median, score: sdq_total, published: x}}",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError) as refused:
        load_measures(tmp_path)
    assert "sdq_total" in str(refused.value)
