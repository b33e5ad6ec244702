"""Every figure of a run against Table B of the policy, read here a second time, row by row.

Belongs here: which weight, interval and comparison each indicator has at each level, from the
tables of one real run. Does not belong here: what may be shown (Table A: `tests/disclosure`), the
arithmetic of an interval (`tests/unit/estimation`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import duckdb
import pandas as pd
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.wellbeing.estimators import load_estimators

CODEBOOK = load_codebook()
RULES = load_estimators()
Z = 1.959963984540054
# Levels without weights: Wilson on the pupils, or on the pupils by a design effect.
COUNTED = ("school", "cluster")
# Fewer schools give no variance between schools (policy.md says so of CPPs), and in a tranche of
# two secondaries their distance from each other.
CLUSTERS_LEAST = 15
# Which figure a comparison is with: nothing is compared with tranche, all and parents.
COMPARATOR = {"school": "rest_of_cpp", "cluster": "rest_of_cpp", "cpp": "tranche"}
HEADLINES = {
    "primary_low_mood", "primary_high_life_satisfaction", "secondary_sdq_very_high_emotional",
    "secondary_sdq_very_high_conduct", "secondary_positive_wellbeing",
}  # fmt: skip


@pytest.fixture(scope="module")
def con(released_home) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(released_home.path / "warehouse.duckdb"), read_only=True) as made:
        yield made


@pytest.fixture(scope="module")
def figures(con) -> pd.DataFrame:
    """Cells with a figure, with the schools of their area that have a pupil on the roll."""
    return con.execute("""
        with schools as (
            select distinct engagement, areas.tranche, waves.survey, seed_code
            from wellbeing.indicator_values as pupils
            inner join programme.waves as waves using (engagement, survey)
            inner join programme.engagements as areas using (engagement)
            inner join (select distinct engagement, seed_code from intake.roll_counts) as roll
                using (engagement, seed_code)
        ),
        areas as (
            select 'cpp' as geography_level, engagement as area, survey, seed_code from schools
            union all
            select 'tranche', tranche, survey, seed_code from schools
            union all
            select 'all', 'all', survey, seed_code from schools
        ),
        sizes as (
            select geography_level, area, survey, count(distinct seed_code) as area_schools_n
            from areas
            group by all
        )
        select estimates.*, sizes.area_schools_n
        from wellbeing.estimates as estimates
        left join sizes
            on
                sizes.survey = estimates.survey
                and sizes.geography_level = estimates.geography_level
                and sizes.area
                = coalesce(estimates.engagement, estimates.tranche, estimates.geography_level)
        where estimates.reason = ''
    """).df()


@pytest.mark.parametrize("indicator", CODEBOOK.indicators)
def test_each_indicator_has_the_interval_of_its_level(figures, indicator: str) -> None:
    own = figures[figures["indicator"] == indicator]
    asked = CODEBOOK.indicators[indicator]
    assert set(own["survey"]) == {asked.survey}
    assert set(own["statistic"]) == {asked.statistic}
    if asked.survey == "parent":
        # A quota sample: indicative, CPP total only, no interval, no significance.
        assert set(own["geography_level"]) == {"cpp"}
        assert set(own["breakdown"]) == {"total"}
        assert set(own["method"]) == {"indicative"}
        assert own["ci_low"].isna().all() and own["ci_high"].isna().all()
        return
    levels = {"school", "cpp", "tranche", "all"}
    assert set(own["geography_level"]) == levels | ({"cluster"} & set(own["geography_level"]))
    # A cluster's secondary figure is the school's: none is made.
    assert ("cluster" in set(own["geography_level"])) == (asked.survey == "primary")
    for cell in own.itertuples():
        _has_its_interval(cell)


def _has_its_interval(cell) -> None:
    is_counted = cell.geography_level in COUNTED
    few = not is_counted and cell.area_schools_n < CLUSTERS_LEAST
    effect = None if math.isnan(cell.design_effect) else cell.design_effect
    if cell.statistic == "mean":
        assert cell.method == "t"
    elif is_counted:
        assert cell.method == "wilson"
    else:
        # Where schools do not differ at all, the pooled design effect stands in.
        assert cell.method == ("wilson" if few else "logit") or (not few and effect is not None)
    if cell.geography_level == "school":
        # One cluster: pupils are units, and there is no design effect.
        assert effect is None
    elif is_counted or few:
        assert effect is None or (effect >= 1 and abs(effect * 10 - round(effect * 10)) < 1e-9)
        assert effect is not None or cell.base_n <= 1 or cell.geography_level == "cluster"
    if cell.method == "wilson":
        low, high = _wilson(cell.estimate / 100, cell.base_n / (effect or 1))
        assert (cell.ci_low, cell.ci_high) == pytest.approx((low, high), abs=1e-6)
    if cell.method == "logit":
        assert effect is None
        # Symmetric about the estimate on the scale of log odds.
        p, low, high = (math.log(v / (100 - v)) for v in (cell.estimate, cell.ci_low, cell.ci_high))
        assert p - low == pytest.approx(high - p, abs=1e-6)
    if is_counted and cell.statistic == "pct":
        assert cell.estimate == pytest.approx(100 * cell.numerator_n / cell.base_n)


def _wilson(p: float, n: float) -> tuple[float, float]:
    centre = p + Z * Z / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    low, high = (100 * (centre + sign * half) / (1 + Z * Z / n) for sign in (-1, 1))
    return low, high


def test_areas_are_raked_to_the_roll_by_stage_and_sex(con) -> None:
    """Weights of each CPP, stage and sex sum to its roll, or its joined class does."""
    rows = con.execute("""
        with weighted as (
            select engagement, survey, sum(weight) as weights
            from wellbeing.weights group by all
        ),
        rolls as (
            select waves.engagement, waves.survey, sum(roll.roll_n) as roll_n
            from programme.waves as waves
            inner join intake.roll_counts as roll
                on waves.engagement = roll.engagement and list_contains(waves.stages, roll.stage)
            group by all
        )
        select weights / roll_n from weighted inner join rolls using (engagement, survey)
    """).fetchall()
    assert rows
    assert [row[0] for row in rows] == pytest.approx([1.0] * len(rows), abs=1e-9)


@pytest.mark.parametrize("survey", ["primary", "secondary"])
def test_figures_above_the_school_are_weighted(con, figures, survey: str) -> None:
    names = [name for name, i in CODEBOOK.indicators.items() if i.survey == survey]
    means = ", ".join(
        f"sum(weight * {name}) / sum(weight) filter ({name} is not null) as {name}"
        for name in names
    )
    weighted = con.execute(f"""
        select engagement, {means}
        from wellbeing.indicator_values inner join wellbeing.weights using (engagement, record_id)
        where indicator_values.survey = '{survey}'
        group by engagement
    """).df()
    totals = figures[
        (figures["survey"] == survey)
        & (figures["geography_level"] == "cpp")
        & (figures["breakdown"] == "total")
    ]
    told = totals.pivot_table(index="engagement", columns="indicator", values="estimate")
    for name in names:
        factor = 1 if CODEBOOK.indicators[name].statistic == "mean" else 100
        mine = (factor * weighted.set_index("engagement")[name]).dropna()
        assert told[name].dropna().to_dict() == pytest.approx(mine.to_dict(), abs=1e-9)


@pytest.mark.parametrize("indicator", CODEBOOK.indicators)
def test_each_indicator_is_compared_as_its_level_says(con, indicator: str) -> None:
    rows = con.execute(
        "select geography_level, comparator, p_value, is_marked, difference, statistic, verdict "
        "from wellbeing.comparisons where indicator = ?",
        [indicator],
    ).fetchall()
    asked = CODEBOOK.indicators[indicator]
    assert bool(rows) == (asked.survey != "parent")
    for level, comparator, p_value, is_marked, difference, statistic, verdict in rows:
        assert comparator == COMPARATOR[level]
        # At the CPP only headlines are tested (Holm); the rest is described.
        assert p_value is None or level != "cpp" or indicator in HEADLINES
        assert not is_marked or p_value is not None
        assert not (is_marked and statistic == "pct") or abs(difference) >= 5
        assert (verdict is None) == (p_value is None or asked.direction == "context")


def test_no_indicator_is_missing_and_headlines_are_those_of_the_report(figures) -> None:
    assert set(figures["indicator"]) == set(CODEBOOK.indicators)
    assert len([i for i in CODEBOOK.indicators.values() if i.survey != "parent"]) >= 60
    assert set(RULES.headlines) == HEADLINES
