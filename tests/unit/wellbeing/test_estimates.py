"""Estimates against figures computed here by hand, and the shape of the grid."""

from __future__ import annotations

import math
from dataclasses import replace

import duckdb
import numpy as np
import pytest
from scipy import stats

from rcs_assets.codebook.model import VersionChange
from rcs_assets.wellbeing.estimates import write_estimates
from tests.unit.wellbeing.made import FEW, MANY, NO_P7, OUT, RULES, STAGES, fill


def row(con, **where):
    condition = " and ".join(f'"{name}" = ?' for name in where)
    found = (
        con.execute(f"select * from wellbeing.estimates where {condition}", list(where.values()))
        .to_arrow_table()
        .to_pylist()
    )
    assert len(found) == 1
    return found[0]


def answers(con, name, where="true"):
    """Values, weights and schools of the pupils in the base."""
    table = con.execute(
        f"select {name}, weight, seed_code, engagement from people "
        f"where {name} is not null and engagement <> '{OUT}' and {where}"
    ).to_arrow_table()
    return [column.to_numpy(zero_copy_only=False) for column in table.columns]


def by_hand(con, name, where="true", design="true"):
    """Weighted mean, linearised standard error, df and design effect, written out."""
    y, w, school, _ = answers(con, name, where)
    mean = float((w * y).sum() / w.sum())
    u = w * (y - mean) / w.sum()
    clusters = con.execute(
        "select distinct engagement, seed_code from people "
        f"where engagement <> '{OUT}' and {design}"
    ).fetchall()
    variance = 0.0
    for stratum in {engagement for engagement, _ in clusters}:
        names = [seed for engagement, seed in clusters if engagement == stratum]
        totals = np.array([u[school == seed].sum() for seed in names])
        variance += len(names) / (len(names) - 1) * ((totals - totals.mean()) ** 2).sum()
    df = len(clusters) - len({engagement for engagement, _ in clusters})
    spread = (w * (y - mean) ** 2).sum() / w.sum() * len(y) / (len(y) - 1)
    return mean, math.sqrt(variance), df, variance / (spread / len(y)), len(y)


def test_a_cpp_with_many_schools_gets_a_logit_interval_of_school_clusters(con):
    found = row(
        con, engagement=MANY, indicator="primary_lonely", geography_level="cpp", breakdown="total"
    )
    p, se, df, _, n = by_hand(
        con, "primary_lonely", f"engagement = '{MANY}'", f"engagement = '{MANY}'"
    )
    half = stats.t.ppf(0.975, df) * se / (p * (1 - p))
    centre = math.log(p / (1 - p))
    assert df == 15
    assert found["estimate"] == pytest.approx(100 * p, rel=1e-9)
    assert found["ci_low"] == pytest.approx(100 / (1 + math.exp(half - centre)), rel=1e-9)
    assert found["ci_high"] == pytest.approx(100 / (1 + math.exp(-half - centre)), rel=1e-9)
    assert (found["method"], found["base_n"], found["schools_n"]) == ("logit", n, 16)
    assert found["design_effect"] is None
    assert found["geography_code"] == "S12000001"


def pooled_by_hand(con, name):
    parts = [
        by_hand(con, name, f"engagement = '{key}'", f"engagement = '{key}'") for key in (MANY, FEW)
    ]
    top = sum(df * n * se**2 for _, se, df, _, n in parts)
    bottom = sum(df * n * se**2 / deff for _, se, df, deff, n in parts)
    return round(max(1.0, top / bottom) * 10) / 10


def test_a_cpp_with_few_schools_gets_wilson_on_n_over_the_pooled_design_effect(con):
    found = row(
        con, engagement=FEW, indicator="primary_lonely", geography_level="cpp", breakdown="total"
    )
    y, w, *_ = answers(con, "primary_lonely", f"engagement = '{FEW}'")
    p = float((w * y).sum() / w.sum())
    effect = pooled_by_hand(con, "primary_lonely")
    n, z = len(y) / effect, stats.norm.ppf(0.975)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert found["method"] == "wilson"
    assert found["design_effect"] == pytest.approx(effect)
    assert found["design_effect"] > 1
    assert found["numerator_n"] == int(y.sum())
    assert found["estimate"] == pytest.approx(100 * p, rel=1e-9)
    assert found["ci_low"] == pytest.approx(100 * (centre - half), rel=1e-9)
    assert found["ci_high"] == pytest.approx(100 * (centre + half), rel=1e-9)


def test_a_mean_gets_t_from_clusters_or_from_pupils_and_the_pooled_design_effect(con):
    many = row(
        con,
        engagement=MANY,
        indicator="primary_mood_mean",
        geography_level="cpp",
        breakdown="total",
    )
    mean, se, df, *_ = by_hand(
        con, "primary_mood_mean", f"engagement = '{MANY}'", f"engagement = '{MANY}'"
    )
    assert many["estimate"] == pytest.approx(mean, rel=1e-9)
    assert many["ci_low"] == pytest.approx(mean - stats.t.ppf(0.975, df) * se, rel=1e-9)
    assert many["numerator_n"] is None
    few = row(
        con, engagement=FEW, indicator="primary_mood_mean", geography_level="cpp", breakdown="total"
    )
    y, w, *_ = answers(con, "primary_mood_mean", f"engagement = '{FEW}'")
    size = len(y) / pooled_by_hand(con, "primary_mood_mean")
    half = stats.t.ppf(0.975, size - 1) * y.std(ddof=1) / math.sqrt(size)
    assert few["ci_high"] - few["estimate"] == pytest.approx(half, rel=1e-9)
    assert few["estimate"] == pytest.approx((w * y).sum() / w.sum(), rel=1e-9)
    assert {many["method"], few["method"]} == {"t"}


def test_all_has_school_clusters_within_cpp_strata(con):
    found = row(con, indicator="primary_lonely", geography_level="all", breakdown="total")
    p, se, df, _, n = by_hand(con, "primary_lonely")
    half = stats.t.ppf(0.975, df) * se / (p * (1 - p))
    centre = math.log(p / (1 - p))
    assert df == 16 - 1 + 3 - 1
    assert found["ci_low"] == pytest.approx(100 / (1 + math.exp(half - centre)), rel=1e-9)
    assert (found["base_n"], found["geography_code"]) == (n, "all")
    assert found["engagement"] is found["tranche"] is None


def test_a_tranche_holds_only_the_engagements_in_scope(con):
    tranche = row(
        con,
        tranche="t2",
        indicator="primary_lonely",
        geography_level="tranche",
        breakdown="total",
    )
    cpp = row(
        con, engagement=FEW, indicator="primary_lonely", geography_level="cpp", breakdown="total"
    )
    for column in ("base_n", "numerator_n", "roll_n", "schools_n"):
        assert tranche[column] == cpp[column]
    assert tranche["estimate"] == pytest.approx(cpp["estimate"], rel=1e-12)
    assert not con.execute(
        f"select * from wellbeing.estimates where engagement = '{OUT}'"
    ).fetchall()


def test_groups_add_up_to_the_total(con):
    for column in ("base_n", "numerator_n", "roll_n"):
        sums = dict(
            con.execute(f"""
                select breakdown, sum({column}) from wellbeing.estimates
                where indicator = 'primary_lonely' and engagement = '{MANY}'
                group by all
            """).fetchall()
        )
        assert sums["total"] == sums["stage"] == sums["sex"]


def test_the_roll_of_a_cell_is_of_the_stages_that_were_asked(con):
    carers = row(
        con,
        engagement=MANY,
        indicator="primary_young_carer",
        geography_level="cpp",
        breakdown="total",
    )
    rolls = dict(
        con.execute(
            "select stage, sum(roll_n) from intake.roll_counts "
            f"where engagement = '{MANY}' group by 1"
        ).fetchall()
    )
    assert carers["roll_n"] == rolls["P7"]
    lonely = row(
        con, engagement=MANY, indicator="primary_lonely", geography_level="cpp", breakdown="total"
    )
    assert lonely["roll_n"] == sum(rolls.values())


def test_the_grid_is_complete_and_says_why_a_figure_is_missing(con):
    cells = con.execute("""
        select survey, indicator, geography_level, geography_code, breakdown, count(*) as groups_n
        from wellbeing.estimates where survey <> 'parent' group by all
    """).fetchall()
    sizes = {"total": 1, "sex": 2, "simd_quintile": 5, "looked_after": 2, "asn": 2}
    for survey, _, level, code, breakdown, groups_n in cells:
        stages_n = len(STAGES[survey]) - (code == NO_P7)
        by_stage = {"stage": stages_n, "stage:sex": 2 * stages_n}
        ethnicities_n = len(RULES.ethnicity_groups)
        assert groups_n == (sizes | by_stage | {"ethnicity": ethnicities_n})[breakdown]
        assert breakdown in RULES.breakdowns[level]
    # 4 pupil indicators × breakdowns × areas; 3 of the indicators are asked in primaries
    schools_n, clusters_n = 16 + 3, 3 + 1
    assert len(cells) == 4 * (8 * 2 + 5 * 3) + 3 * 4 * (schools_n + clusters_n)
    reasons = {
        ("primary_young_carer", "P5"): "not_asked",
        ("primary_young_carer", "P7"): "",
        ("secondary_lonely", "S1"): "no_roll",
        ("secondary_lonely", "1"): "no_data",
        ("primary_lonely", "5"): "no_data",
        ("primary_lonely", "1"): "",
    }
    for (indicator, group), reason in reasons.items():
        found = row(con, engagement=MANY, indicator=indicator, group=group, geography_level="cpp")
        assert found["reason"] == reason
        assert (found["estimate"] is None) == bool(reason)
        assert (found["method"] == "none") == bool(reason)


def test_simd_rows_have_no_roll_and_leave_out_unknown_areas(con):
    found = con.execute(f"""
        select sum(base_n), max(roll_n) from wellbeing.estimates
        where indicator = 'primary_lonely' and engagement = '{MANY}'
        and breakdown = 'simd_quintile'
    """).fetchall()[0]
    y, *_ = answers(con, "primary_lonely", f"engagement = '{MANY}' and simd_quintile is not null")
    assert found == (len(y), None)


def test_parents_are_indicative_only(con):
    found = row(con, survey="parent")
    assert found["estimate"] == 25
    assert (found["base_n"], found["numerator_n"]) == (40, 10)
    assert found["method"] == "indicative"
    assert found["ci_low"] is found["ci_high"] is found["roll_n"] is None


def test_intervals_hold_their_estimate_and_stay_in_range(con):
    assert con.execute("""
        select count(*) from wellbeing.estimates
        where ci_low > estimate or ci_high < estimate
            or (statistic = 'pct' and (ci_low < 0 or ci_high > 100))
            or (reason = '' and survey <> 'parent' and ci_low is null)
    """).fetchall() == [(0,)]


def test_the_same_data_give_the_same_table(con, codebook):
    """Again and again: the order of threads shows only now and then."""
    before = con.execute("from wellbeing.estimates").to_arrow_table()
    for _ in range(3):
        write_estimates(con, codebook, [FEW, MANY], RULES)
        assert con.execute("from wellbeing.estimates").to_arrow_table().equals(before)


def test_tranches_that_asked_another_question_are_counted_but_not_pooled(con, codebook):
    """The question behind loneliness changed from the first tranche to the second."""
    change = VersionChange(
        questionnaire="t2-primary",
        variable=codebook.indicators["primary_lonely"].rule.variables[0],
        change="reworded",
        breaks_comparability=True,
        note="made for this test",
        source="test",
    )
    changed = replace(codebook, version_changes=(change,))
    own = con.cursor()
    own.execute("begin")
    own.execute("create temp table before as from wellbeing.estimates")
    own.execute("commit")
    write_estimates(own, changed, [MANY, FEW], RULES)
    after = own.execute("from wellbeing.estimates").to_arrow_table()
    own.execute("create or replace table wellbeing.estimates as from before")
    before = own.execute("from before order by all").to_arrow_table().to_pylist()
    own.execute("drop table before")

    def is_pooled(cell):
        return cell["geography_level"] == "all" and cell["indicator"] == "primary_lonely"

    key = ("survey", "geography_level", "geography_code", "breakdown", "group", "indicator")
    found = {tuple(cell[name] for name in key): cell for cell in after.to_pylist()}
    assert len(found) == len(before)
    barred = 0
    for old in before:
        new = found[tuple(old[name] for name in key)]
        if not is_pooled(old) or old["reason"]:
            assert new == old
            continue
        barred += 1
        assert (new["reason"], new["method"]) == ("not_comparable", "none")
        assert new["estimate"] is new["ci_low"] is new["ci_high"] is new["design_effect"] is None
        # Its parts are shown, so disclosure needs the counts.
        assert (new["base_n"], new["numerator_n"]) == (old["base_n"], old["numerator_n"])
    assert barred == sum(is_pooled(old) and not old["reason"] for old in before) > 5


def test_a_mark_says_that_somebody_answered_something_else_where_all_counts_stay(codebook):
    """Two pupils of one school, stage and sex change places in an answer and in a score."""
    cells = 'geography_level, engagement, geography_code, breakdown, "group"'
    with duckdb.connect() as con:
        fill(con)
        write_estimates(con, codebook, [MANY, FEW], RULES)
        con.execute("create table before as from wellbeing.estimates")
        con.execute("""
            create table two as
            select seed_code, stage, sex, max(record_id) filter (primary_lonely = 1) as yes,
                max(record_id) filter (primary_lonely = 0) as no
            from wellbeing.indicator_values
            where primary_lonely is not null and primary_mood_mean is not null
            group by all having yes is not null and no is not null
            order by all limit 1
        """)
        school = con.execute("select seed_code from two").fetchone()[0]
        con.execute("""
            update wellbeing.indicator_values as pupils
            set primary_lonely = other.primary_lonely, primary_mood_mean = other.primary_mood_mean
            from (
                select yes as record_id, v.primary_lonely, v.primary_mood_mean
                from two inner join wellbeing.indicator_values as v on v.record_id = no
                union all
                select no, v.primary_lonely, v.primary_mood_mean
                from two inner join wellbeing.indicator_values as v on v.record_id = yes
            ) as other
            where other.record_id = pupils.record_id
        """)
        write_estimates(con, codebook, [MANY, FEW], RULES)
        for indicator in ("primary_lonely", "primary_mood_mean"):
            rows = con.execute(
                f"""
                select geography_level, geography_code, breakdown,
                    now.answers_mark <> before.answers_mark as is_other,
                    (now.base_n, now.numerator_n, now.sum_x)
                    is not distinct from (before.base_n, before.numerator_n, before.sum_x) as same
                from wellbeing.estimates as now
                inner join before using (tranche, survey, indicator, statistic, {cells})
                where indicator = ? and geography_level = 'school' and now.base_n > 0
                """,
                [indicator],
            ).fetchall()
            moved = {(code, breakdown) for _, code, breakdown, other, _ in rows if other}
            assert moved == {(school, b) for b in ("total", "stage", "sex", "stage:sex")}
            assert all(same for *_, same in rows)
