"""Changes between waves against arithmetic by hand: pairs, covariance, verdicts, reasons."""

from __future__ import annotations

import math
from dataclasses import replace

import duckdb
import numpy as np
import pytest
from scipy import stats

from rcs_assets.codebook.model import VersionChange
from rcs_assets.wellbeing.changes import write_changes
from rcs_assets.wellbeing.estimates import write_estimates
from tests.unit.wellbeing.made import FEW, MANY, RULES, fill, people

LATER = {MANY: "t3-many", FEW: "t3-few"}
SCOPE = [MANY, FEW, *LATER.values()]
LOOSE = replace(RULES, headlines=("primary_lonely", "primary_mood_mean"))
MEASURES = ("primary_lonely", "primary_mood_mean", "primary_young_carer")


def _second_wave(con: duckdb.DuckDBPyConnection) -> None:
    """A later wave of both CPPs: two of three pupils again, half of these answer as before."""
    con.execute("""
        create table programme.tranches as
        select * from (values ('t1', 1), ('t2', 2), ('t3', 3)) as t(key, number);
        insert into programme.engagements values ('t3-many', 't3', 'S12000001'),
            ('t3-few', 't3', 'S12000002');
        insert into programme.waves
        select 't3-' || split_part(engagement, '-', 2), survey, stages
        from programme.waves where engagement in ('t1-many', 't2-few') and survey <> 'parent';
        alter table linkage.linked add column project_id varchar;
        update linkage.linked set project_id = record_id;
        create temp table again as
        select
            'again-' || record_id as record_id, 't3-' || split_part(engagement, '-', 2)
            as engagement, record_id as before, hash(record_id) % 3 > 0 as is_shared,
            hash(record_id) % 2 = 0 as answers_alike, engagement as earlier
        from people where engagement in ('t1-many', 't2-few');
        insert into people
        select
            again.record_id, again.engagement, seed_code, stage, sex, simd_quintile,
            if(answers_alike, primary_lonely, coalesce((hash(before) % 5 < 3)::double, 0)),
            if(answers_alike, primary_mood_mean, (hash(before) % 7)::double / 2),
            if(stage = 'P7', primary_lonely, null), weight
        from again inner join people on again.before = people.record_id;
        insert into linkage.linked by name
        select linked.* replace (again.record_id as record_id, again.engagement as engagement,
            if(is_shared, before, again.record_id) as project_id)
        from again inner join linkage.linked as linked on again.before = linked.record_id;
        insert into intake.roll_counts
        select engagement, seed_code, stage, sex, count(*) + 5
        from people where engagement like 't3%' group by all;
        insert into intake.clusters by name
        select distinct 't3-' || split_part(engagement, '-', 2) as engagement, seed_code,
            is_sdc_cluster, cluster_code
        from intake.clusters where engagement in ('t1-many', 't2-few');
        insert into wellbeing.indicator_values by name
        select people.* exclude (weight), engagements.tranche, engagements.council_code,
            'primary' as survey
        from people inner join programme.engagements as engagements using (engagement)
        where engagement like 't3%';
        insert into wellbeing.weights
        select record_id, engagement, 'primary', stage, sex, weight
        from people where engagement like 't3%'
    """)


@pytest.fixture(scope="module")
def made(codebook):
    with duckdb.connect() as connection:
        fill(connection)
        _second_wave(connection)
        write_estimates(connection, codebook, SCOPE, LOOSE)
        write_changes(connection, codebook, SCOPE, LOOSE)
        yield connection


@pytest.fixture(scope="module")
def rows(made):
    found = made.execute("from wellbeing.changes").to_arrow_table().to_pylist()
    return {
        (r["engagement"], r["survey"], r["indicator"], r["breakdown"], r["group"]): r for r in found
    }


@pytest.fixture(scope="module")
def pupils(made):
    ids = dict(made.execute("select record_id, project_id from linkage.linked").fetchall())
    return [p | {"project_id": ids[p["record_id"]]} for p in people(made, *SCOPE)]


def _wave(pupils, engagement, indicator, breakdown, group):
    own = [p for p in pupils if p["engagement"] == engagement and p[indicator] is not None]
    return [p for p in own if breakdown == "total" or p[breakdown] == group]


def _scores(wave, indicator, unit):
    weight = sum(p["weight"] for p in wave)
    mean = sum(p["weight"] * p[indicator] for p in wave) / weight
    sums: dict[str, float] = {}
    for p in wave:
        z = p["weight"] * (p[indicator] - mean) / weight
        sums[p[unit]] = sums.get(p[unit], 0.0) + z
    return mean, sums


CELLS = [("total", "all"), ("sex", "F"), ("stage", "P6")]


@pytest.mark.parametrize("indicator", ["primary_lonely", "primary_mood_mean"])
@pytest.mark.parametrize(("breakdown", "group"), CELLS)
def test_schools_of_both_waves_are_one_cluster(rows, pupils, indicator, breakdown, group):
    row = rows[LATER[MANY], "primary", indicator, breakdown, group]
    waves = [_wave(pupils, key, indicator, breakdown, group) for key in (MANY, LATER[MANY])]
    (before, first), (after, second) = (_scores(w, indicator, "seed_code") for w in waves)
    factor = 100 if row["statistic"] == "pct" else 1
    schools = sorted({p["seed_code"] for p in pupils if p["engagement"] == MANY})
    spread = np.array([second.get(s, 0.0) - first.get(s, 0.0) for s in schools])
    n = len(schools)
    se = math.sqrt(n / (n - 1) * float((spread**2).sum()))
    assert row["reason"] == ""
    assert row["difference"] == pytest.approx(factor * (after - before), rel=1e-9)
    assert row["se"] == pytest.approx(factor * se, rel=1e-7)
    # As R svyttest: one more for the difference itself.
    assert row["df"] == n - 2
    assert row["ci_low"] < row["difference"] < row["ci_high"]


@pytest.mark.parametrize("indicator", ["primary_lonely", "primary_mood_mean"])
@pytest.mark.parametrize(("breakdown", "group"), CELLS)
def test_with_few_schools_shared_pupils_lower_the_variance(
    made, rows, pupils, indicator, breakdown, group
):
    row = rows[LATER[FEW], "primary", indicator, breakdown, group]
    waves = [_wave(pupils, key, indicator, breakdown, group) for key in (FEW, LATER[FEW])]
    (_, first), (_, second) = (_scores(w, indicator, "project_id") for w in waves)
    shared = first.keys() & second.keys()
    together = sum(first[p] * second[p] for p in shared)
    r = together / math.sqrt(sum(z**2 for z in first.values()) * sum(z**2 for z in second.values()))
    parts = made.execute(
        "select estimate, base_n, design_effect, sd from wellbeing.estimates where engagement in "
        "(?, ?) and geography_level = 'cpp' and indicator = ? and breakdown = ? and \"group\" = ? "
        "order by engagement",
        [FEW, LATER[FEW], indicator, breakdown, group],
    ).fetchall()
    variances = [
        (p * (100 - p) if row["statistic"] == "pct" else sd**2) * deff / n
        for p, n, deff, sd in parts
    ]
    wanted = sum(variances) - 2 * r * math.sqrt(variances[0] * variances[1])
    assert (row["shared_n"], row["df"]) == (len(shared), None)
    assert row["changed_n"] == len(waves[0]) + len(waves[1]) - 2 * len(shared)
    assert row["correlation"] == pytest.approx(r, rel=1e-6)
    assert 0.1 < r < 1
    assert row["se"] == pytest.approx(math.sqrt(wanted), rel=1e-6)
    assert row["se"] < math.sqrt(sum(variances))


def test_headlines_are_tested_and_marked_by_holm(rows):
    for key in LATER.values():
        tested = {
            name: row
            for (engagement, _, name, breakdown, _), row in rows.items()
            if engagement == key and breakdown == "total" and row["p_value"] is not None
        }
        assert set(tested) == {"primary_lonely", "primary_mood_mean"}
        low, high = sorted(tested, key=lambda name: tested[name]["p_value"])
        corrected = {low: 2 * tested[low]["p_value"]}
        corrected[high] = max(corrected[low], tested[high]["p_value"])
        for name, row in tested.items():
            least = 5 if row["statistic"] == "pct" else 0.2
            is_marked = corrected[name] < 0.05 and abs(row["difference"]) >= least
            assert row["is_marked"] == is_marked
            better = "worse" if name == "primary_lonely" else "better"
            worse = "better" if name == "primary_lonely" else "worse"
            sign = better if row["difference"] > 0 else worse
            assert row["verdict"] == (sign if is_marked else "similar")
    assert {r["verdict"] for r in rows.values() if r["p_value"] is None} == {None}
    assert any(r["is_marked"] for r in rows.values())


def test_a_school_of_two_waves_is_one_cluster_of_all_areas(made, pupils):
    """Table B: clusters within CPPs; two waves of a school are not two schools drawn apart."""
    asked = [p for p in pupils if p["primary_lonely"] is not None]
    mean, _ = _scores(asked, "primary_lonely", "seed_code")
    total = sum(p["weight"] for p in asked)
    schools: dict[str, dict[str, float]] = {}
    for p in asked:
        of_council = schools.setdefault(p["engagement"].partition("-")[2], {})
        z = p["weight"] * (p["primary_lonely"] - mean) / total
        of_council[p["seed_code"]] = of_council.get(p["seed_code"], 0.0) + z
    variance = sum(len(z) * np.var(list(z.values()), ddof=1) for z in schools.values())
    df = sum(len(z) - 1 for z in schools.values())
    half = stats.t.ppf(0.975, df) * math.sqrt(variance) / (mean * (1 - mean))
    row = made.execute(
        "select method, ci_low, ci_high from wellbeing.estimates where geography_level = 'all' "
        "and indicator = 'primary_lonely' and breakdown = 'total'"
    ).fetchall()
    logit = math.log(mean / (1 - mean))
    wanted = [100 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1)]
    assert row == [("logit", pytest.approx(wanted[0]), pytest.approx(wanted[1]))]
    assert df < len({(p["engagement"], p["seed_code"]) for p in asked}) - 4


def test_a_first_wave_has_its_totals_and_the_reason(rows):
    first = [k for k, r in rows.items() if r["earlier_engagement"] is None]
    assert {k[0] for k in first} == {MANY, FEW}
    assert {k[3] for k in first} == {"total"}
    assert {rows[k]["reason"] for k in first} == {"one_wave"}
    assert all(rows[k]["difference"] is None for k in first)
    # The made roll has no secondary stages in either wave.
    assert rows[LATER[MANY], "secondary", "secondary_lonely", "total", "all"]["reason"] == "no_roll"
    assert rows[LATER[MANY], "primary", "primary_young_carer", "stage", "P5"]["reason"] == (
        "not_asked"
    )


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (None, "primary_lonely", "not_comparable"),
        ("P7", "primary_mood_mean", "stages_differ"),
    ],
)
def test_only_the_same_question_of_the_same_stages_is_compared(
    made, codebook, damage, name, reason
):
    """A flagged question, and a later wave that leaves a stage out."""
    changed = codebook
    if damage is None:
        change = VersionChange(
            questionnaire="t3-primary",
            variable=codebook.indicators[name].rule.variables[0],
            change="reworded",
            breaks_comparability=True,
            note="made for this test",
            source="test",
        )
        changed = replace(codebook, version_changes=(change,))
    con = made.cursor()
    con.execute("begin")
    try:
        if damage:
            con.execute(
                "update programme.waves set stages = ['P5', 'P6'] where engagement = 't3-many' "
                "and survey = 'primary'"
            )
        write_changes(con, changed, SCOPE, LOOSE)
        found = con.execute(
            "select indicator, breakdown, reason, difference is null, se is null "
            "from wellbeing.changes where engagement = 't3-many' and survey = 'primary'"
        ).fetchall()
    finally:
        con.execute("rollback")
    total = {r[0]: r[2:] for r in found if r[1] == "total"}
    assert total[name] == (reason, True, True)
    if damage is None:
        assert total["primary_mood_mean"] == ("", False, False)
        assert {r[2] for r in found if r[0] == name} == {"not_comparable"}
    else:
        # The group of a stage is the same pupils in both waves.
        assert {r[2] for r in found if r[0] == name and r[1] == "stage"} == {""}
