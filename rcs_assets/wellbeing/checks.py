"""Checks of wellbeing: scores in range, weights sum to the roll, estimates as published.

Belongs here: rules in Python on the pupils' tables of the room, the expectations of the
boundaries linked and estimates, and the definitions that Dagster reads. Does not belong
here: rules on aggregated tables (`audit.py`), profile queries (`profile.py`),
limits (`data_quality`), and the dbt tests of the models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from data_quality import estimates_suite, linked_suite, load_benchmarks, load_thresholds
from rcs_assets.codebook import load_codebook
from rcs_assets.storage import home_path
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks
from rcs_assets.wellbeing import audit
from rcs_assets.wellbeing.estimators import load_estimators
from rcs_assets.wellbeing.ladder_profile import ladder_profiles
from rcs_assets.wellbeing.profile import estimates_profile, wellbeing_profiles

if TYPE_CHECKING:
    import pandas as pd

ITEM_ANSWERS = ("wellbeing", "item_answers")
SCORES = ("wellbeing", "scores")
WEIGHTS = ("wellbeing", "weights")
ESTIMATES = ("wellbeing", "estimates")
RESPONDENTS = ("wellbeing", "respondents")
COMPARISONS = ("wellbeing", "comparisons")
CHANGES = ("wellbeing", "changes")
NONRESPONSE = ("wellbeing", "nonresponse")
SALSUS = ("wellbeing", "salsus_contrasts")
DEFINITION_SETS = ("wellbeing", "definition_sets")
# A weight is a ratio of counts: sums differ from the roll by rounding of doubles only.
WEIGHT_TOLERANCE = 0.01


def scores_in_range(bench: Bench) -> Verdict:
    """Every score lies between the lowest and the highest of its scale."""
    limits = {
        scale.name: (scale.low, scale.high)
        for instrument in bench.codebook.instruments.values()
        if instrument.surveys
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


def current_set_is_right(bench: Bench) -> Verdict:
    """Each CPP's total by the current definition set is its estimate, to a billionth."""
    rows = bench.con.execute(
        """
        select
            engagement || '/' || indicator,
            coalesce(sets.n, 0) = coalesce(estimates.base_n, 0)
            and coalesce(
                abs(sets.estimate - estimates.estimate) <= 1e-7, estimates.estimate is null
            ),
        from wellbeing.estimates as estimates
        left join (from wellbeing.definition_sets where definition_set = 'current') as sets
            using (engagement, survey, indicator)
        where
            estimates.geography_level = 'cpp' and estimates.breakdown = 'total'
            and estimates.survey <> 'parent'
        order by all
        """
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "totals")


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
    return Verdict.of(wrong, len(rows), "surveys")


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


def _judged(rule: Callable[[audit.Look], audit.Found]) -> Callable[[Bench], Verdict]:
    """A rule on aggregated tables as a check; without anything to look at it fails."""

    def judge(bench: Bench) -> Verdict:
        rules = load_estimators(bench.home.config)
        look = audit.Look(bench.con, bench.programme, bench.codebook, rules, bench.left_out)
        found = rule(look)
        return Verdict.of(found.wrong, found.looked_n, found.unit)

    return judge


ESTIMATE_CHECKS = (
    PythonCheck(
        ESTIMATES,
        "estimates_grid_is_complete",
        "Every school, cluster, engagement, tranche and all have each cell of their surveys once",
        "contract of wellbeing.estimates; codebook, indicators.csv; programme, waves.csv",
        "do not publish; run: rcs materialise; if it stays, report a defect of wellbeing",
        _judged(audit.estimates_grid_is_complete),
    ),
    PythonCheck(
        ESTIMATES,
        "estimates_count_the_pupils",
        "The base of each CPP total is the number of pupils with a value of the indicator",
        "contract of wellbeing.estimates",
        "run: rcs materialise (estimates are older than the pupils' values)",
        _judged(audit.estimates_count_the_pupils),
    ),
    PythonCheck(
        ESTIMATES,
        "schools_add_up",
        "Bases, numerators and sums of schools add up to those of their CPP and cluster",
        "contract of wellbeing.estimates",
        "run: rcs materialise (estimates are older than the cluster map); if it stays, report "
        "a defect of wellbeing",
        _judged(audit.schools_add_up),
    ),
    PythonCheck(
        ESTIMATES,
        "estimates_lie_in_their_interval",
        "Percentages lie between 0 and 100, and every estimate in its own interval",
        "policy.md, Table B",
        "do not publish; report a defect of wellbeing",
        _judged(audit.estimates_lie_in_their_interval),
    ),
    PythonCheck(
        RESPONDENTS,
        "respondents_are_counted",
        "Respondents of each area are its linked pupils, within the roll and above every base",
        "contract of wellbeing.respondents",
        "run: rcs materialise (respondents are older than the pupils' values)",
        _judged(audit.respondents_are_counted),
    ),
    PythonCheck(
        DEFINITION_SETS,
        "current_definitions_give_the_estimates",
        "Counted again by the current definition set, each CPP's total is its estimate",
        "codebook, definition_sets.csv; contract of wellbeing.definition_sets",
        "run: rcs materialise (the table is older than the estimates)",
        current_set_is_right,
    ),
    PythonCheck(
        COMPARISONS,
        "comparisons_cover_the_estimates",
        "Each total of a school, cluster and CPP is compared once, with no more pupils than it has",
        "contract of wellbeing.comparisons",
        "run: rcs materialise (comparisons are older than the estimates)",
        _judged(audit.comparisons_cover_the_estimates),
    ),
    PythonCheck(
        COMPARISONS,
        "verdicts_follow_the_rule",
        "Marked is what the correction rejects and is large enough; the verdict fits its sign",
        "policy.md, Table B",
        "do not publish; report a defect of wellbeing",
        _judged(audit.verdicts_follow_the_rule),
    ),
    PythonCheck(
        CHANGES,
        "changes_cover_the_waves",
        "Each total of a CPP is compared once with the wave before it, or says why not; a question "
        "that was changed is never compared",
        "policy.md, Table A, change between waves; codebook, version_changes.csv",
        "run: rcs materialise (changes are older than the estimates)",
        _judged(audit.changes_cover_the_waves),
    ),
    PythonCheck(
        CHANGES,
        "changes_follow_the_rule",
        "A change is called better or worse where Holm's correction over the headlines of its CPP "
        "rejects it and it is large enough",
        "policy.md, Table B",
        "do not publish; report a defect of wellbeing",
        _judged(audit.changes_follow_the_rule),
    ),
    PythonCheck(
        NONRESPONSE,
        "nonresponse_adds_up",
        "Respondents are the weighted pupils, groups add up, and each question's answers and "
        "reasons are those who were asked",
        "contract of wellbeing.unit_nonresponse and wellbeing.item_nonresponse",
        "run: rcs materialise (the tables are older than the answers)",
        _judged(audit.nonresponse_adds_up),
    ),
    PythonCheck(
        SALSUS,
        "salsus_contrasts_cancel_out",
        "Contrasts sum to 0 over the councils in both surveys, SALSUS's figures are as published",
        "domain.md 12; contract of wellbeing.salsus_contrasts",
        "run: rcs materialise (contrasts are older than the scores or the reference file)",
        _judged(audit.salsus_contrasts_cancel_out),
    ),
)


def profiles(bench: Bench) -> Mapping[str, pd.DataFrame]:
    """The frames of answers and scores at the boundary linked."""
    return wellbeing_profiles(bench.con, bench.codebook)


def estimate_profiles(bench: Bench) -> Mapping[str, pd.DataFrame]:
    """The frames of the quality ladder; published figures are held against `estimates`."""
    ladder = ladder_profiles(bench.con, bench.codebook, bench.home.releases)
    return {**ladder, **estimates_profile(bench.con)}


CONFIG = home_path() / "config"
SUITE = linked_suite(load_codebook(CONFIG), load_thresholds(CONFIG))
ESTIMATES_SUITE = estimates_suite(load_benchmarks(CONFIG), load_thresholds(CONFIG))

wellbeing_checks = room_checks(
    "wellbeing_checks", PUPIL_CHECKS, SUITE, profiles, assets=(ITEM_ANSWERS, SCORES)
)
# The estimates are made in another run than the pupils' tables: a definition of their own.
estimates_checks = room_checks(
    "estimates_checks", ESTIMATE_CHECKS, ESTIMATES_SUITE, estimate_profiles, assets=(ESTIMATES,)
)
