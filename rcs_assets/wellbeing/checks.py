"""Checks of wellbeing: scores in range, weights sum to the roll, the grid of estimates is whole.

Belongs here: rules in Python on `wellbeing.*`, and the expectations of the boundary
linked that judge answers and scores. Does not belong here: profile queries
(`profile.py`), limits (`data_quality`), and the dbt tests of the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from data_quality import linked_suite, load_thresholds
from rcs_assets.codebook import load_codebook
from rcs_assets.programme.model import Engagement
from rcs_assets.storage import home_path
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks
from rcs_assets.wellbeing.profile import PUPIL_SURVEYS, wellbeing_profiles

if TYPE_CHECKING:
    import pandas as pd

ITEM_ANSWERS = ("wellbeing", "item_answers")
SCORES = ("wellbeing", "scores")
WEIGHTS = ("wellbeing", "weights")
ESTIMATES = ("wellbeing", "estimates")
# A weight is a ratio of counts: sums differ from the roll by rounding of doubles only.
WEIGHT_TOLERANCE = 0.01

Cell = tuple[str, str, str, str, str]


def scores_in_range(bench: Bench) -> Verdict:
    """Every score lies between the lowest and the highest of its scale."""
    limits = {
        scale.name: (scale.low, scale.high)
        for instrument in bench.codebook.instruments.values()
        for scale in instrument.scales
    }
    ends = ", ".join(f"min({name}), max({name})" for name in limits)
    row = bench.con.execute(f"select {ends} from wellbeing.scores").fetchall()[0]
    found = [
        name
        for position, (name, (low, high)) in enumerate(limits.items())
        if row[2 * position] is not None
        and not (low <= row[2 * position] and row[2 * position + 1] <= high)
    ]
    is_scored = any(value is not None for value in row)
    return Verdict(is_scored and not found, places(found, f"{len(limits)} scales"))


_WEIGHT_SUMS = """
with rolls as (
    select engagement, survey, sum(roll_n) as roll_n,
    from programme.waves
    inner join intake.roll_counts using (engagement)
    where list_contains(stages, stage)
    group by all
),
sums as (
    select engagement, survey, sum(weight) as weighted_n, min(weight) as least,
    from wellbeing.weights
    group by all
)
select
    coalesce(sums.engagement, answered.engagement) || ' '
    || coalesce(sums.survey, answered.survey) as place,
    coalesce(
        abs(weighted_n - roll_n) <= ? * greatest(roll_n, 1) / 100 and least > 0, false
    ) as is_right,
from (
    select distinct engagement, survey from wellbeing.indicator_values
) as answered
full join sums using (engagement, survey)
left join rolls using (engagement, survey)
order by all
"""


def weights_sum_to_the_roll(bench: Bench) -> Verdict:
    """In each survey of each engagement the weights are positive and sum to the roll."""
    rows = bench.con.execute(_WEIGHT_SUMS, [WEIGHT_TOLERANCE]).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict(bool(rows) and not wrong, places(wrong, f"{len(rows)} surveys"))


def estimates_grid_is_complete(bench: Bench) -> Verdict:
    """Every engagement, tranche and all have each cell of each of their surveys exactly once."""
    rows = bench.con.execute(
        "select case geography_level when 'cpp' then engagement else geography_code end, "
        'survey, indicator, breakdown, "group" from wellbeing.estimates'
    ).fetchall()
    taken_in = bench.con.execute("select distinct engagement from intake.sample").fetchall()
    engagements = {row[0] for row in taken_in} - bench.left_out
    wanted = {
        cell
        for key in sorted(engagements)
        for cell in _cells(bench, bench.programme.engagements[key])
    }
    missing = wanted - set(rows)
    twice = len(rows) - len(set(rows))
    problems = [f"{unit} {survey} {indicator}" for unit, survey, indicator, _, _ in missing]
    if twice:
        problems.append(f"{twice} cells stand twice")
    return Verdict(
        bool(wanted) and not problems, places(sorted(set(problems)), f"{len(rows)} cells")
    )


def _cells(bench: Bench, engagement: Engagement) -> Iterator[Cell]:
    for wave in engagement.waves:
        groups = [("total", "all")]
        units = [engagement.key]
        if wave.survey in PUPIL_SURVEYS:
            units += [engagement.tranche, "all"]
            groups += [("sex", sex) for sex in "FM"]
            groups += [("stage", stage) for stage in wave.stages]
            groups += [("simd_quintile", str(quintile)) for quintile in range(1, 6)]
        for indicator in bench.codebook.indicators.values():
            if indicator.survey == wave.survey:
                for unit in units:
                    for breakdown, group in groups:
                        yield unit, wave.survey, indicator.name, breakdown, group


def estimates_count_the_pupils(bench: Bench) -> Verdict:
    """Bases of CPP totals, counted again: weighted pupils with a value of the indicator."""
    counts = " union all ".join(_bases_sql(bench, survey) for survey in PUPIL_SURVEYS)
    rows = bench.con.execute(
        f"""
        with counted as ({counts})
        select engagement || ' ' || indicator as place, coalesce(base_n, 0) = counted_n
        from wellbeing.estimates
        inner join counted using (engagement, survey, indicator)
        where geography_level = 'cpp' and breakdown = 'total'
        order by all
        """
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict(bool(rows) and not wrong, places(wrong, f"{len(rows)} bases"))


def _bases_sql(bench: Bench, survey: str) -> str:
    names = ", ".join(i.name for i in bench.codebook.indicators.values() if i.survey == survey)
    return f"""
        select engagement, '{survey}' as survey, indicator, count(*) as counted_n
        from (
            unpivot (
                select pupils.engagement, {names}
                from wellbeing.indicator_values as pupils
                semi join wellbeing.weights as weights using (engagement, record_id)
                where pupils.survey = '{survey}'
            )
            on {names} into name indicator value answer
        )
        group by all
    """


def estimates_lie_in_their_interval(bench: Bench) -> Verdict:
    """Percentages lie between 0 and 100, and every estimate in its own interval."""
    rows = bench.con.execute(
        "select distinct geography_code || ' ' || indicator from wellbeing.estimates "
        "where (statistic = 'pct' and estimate not between 0 and 100) "
        "or estimate < ci_low - 1e-9 or estimate > ci_high + 1e-9 or numerator_n > base_n "
        "order by all"
    ).fetchall()
    total = bench.con.execute(
        "select count(*) from wellbeing.estimates where estimate is not null"
    ).fetchall()[0][0]
    return Verdict(total > 0 and not rows, places([r[0] for r in rows], f"{total} estimates"))


PUPIL_CHECKS = (
    PythonCheck(
        SCORES,
        "scores_lie_on_their_scale",
        "Every score lies between the lowest and the highest of its scale",
        "codebook, scales.csv",
        "do not publish; compare items and scoring with the codebook",
        scores_in_range,
    ),
    PythonCheck(
        WEIGHTS,
        "weights_sum_to_the_roll",
        "In each survey of each engagement the weights are positive and sum to the roll",
        "policy.md, Table B (raked to the roll)",
        "compare the stages of the sample file with those of the wave (waves.csv)",
        weights_sum_to_the_roll,
    ),
)
ESTIMATE_CHECKS = (
    PythonCheck(
        ESTIMATES,
        "estimates_grid_is_complete",
        "Every engagement, tranche and all have each cell of each of their surveys once",
        "contract of wellbeing.estimates; codebook, indicators.csv; programme, waves.csv",
        "do not publish; run: rcs materialise; if it stays, report a defect of wellbeing",
        estimates_grid_is_complete,
    ),
    PythonCheck(
        ESTIMATES,
        "estimates_count_the_pupils",
        "The base of each CPP total is the number of pupils with a value of the indicator",
        "contract of wellbeing.estimates",
        "run: rcs materialise (estimates are older than the pupils' values)",
        estimates_count_the_pupils,
    ),
    PythonCheck(
        ESTIMATES,
        "estimates_lie_in_their_interval",
        "Percentages lie between 0 and 100, and every estimate in its own interval",
        "policy.md, Table B",
        "do not publish; report a defect of wellbeing",
        estimates_lie_in_their_interval,
    ),
)


def profiles(bench: Bench) -> Mapping[str, pd.DataFrame]:
    """The frames of answers and scores at the boundary linked."""
    return wellbeing_profiles(bench.con, bench.codebook)


SUITE = linked_suite(load_codebook(home_path() / "config"), load_thresholds(home_path() / "config"))

wellbeing_checks = room_checks(
    "wellbeing_checks", PUPIL_CHECKS, SUITE, profiles, assets=(ITEM_ANSWERS, SCORES)
)
# The estimates are made in another run than the pupils' tables: a definition of their own.
estimates_checks = room_checks("estimates_checks", ESTIMATE_CHECKS)
