"""Estimates, respondents and comparisons counted again: whole, adding up, and by Table B.

Belongs here: rules on the aggregated tables of the room, each judged from what lies before
it. Does not belong here: the estimates themselves, whose code is not used; sentences,
sources and the definitions that Dagster reads (`checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from rcs_assets.codebook.model import Codebook
from rcs_assets.codebook.versions import not_comparable
from rcs_assets.programme.model import Engagement, Programme
from rcs_assets.wellbeing.breakdowns import PUPIL_SURVEYS
from rcs_assets.wellbeing.estimators import Estimators

Cell = tuple[str, str, str, str, str, str]


@dataclass(frozen=True)
class Look:
    """What a rule may look at: the warehouse, the registers and Table B.

    `left_out` names the engagements that the operator left out; rules skip them.
    """

    con: duckdb.DuckDBPyConnection
    programme: Programme
    codebook: Codebook
    rules: Estimators
    left_out: frozenset[str]


@dataclass(frozen=True)
class Found:
    """Places that break a rule, and how many `unit` were looked at."""

    wrong: list[str]
    looked_n: int
    unit: str


def estimates_grid_is_complete(look: Look) -> Found:
    """Every area has each cell of each of its surveys exactly once."""
    missing = sorted(
        {
            f"{unit} {survey} {indicator}"
            for _, unit, survey, indicator, _, _ in _wanted_cells(look) - _held(look)
        }
    )
    small = [str(row[0]) for row in look.con.execute(_small_areas_sql(look)).fetchall()]
    total, different = look.con.execute(
        "select count(*), count(distinct (engagement, survey, geography_level, geography_code, "
        'indicator, breakdown, "group")) from wellbeing.estimates'
    ).fetchall()[0]
    twice = [f"{total - different} cells stand twice"] if total > different else []
    return Found([*missing, *small, *twice], total, "cells")


def _held(look: Look) -> set[Cell]:
    rows = look.con.execute(
        "select geography_level, if(geography_level = 'cpp', engagement, geography_code), "
        'survey, indicator, breakdown, "group" from wellbeing.estimates '
        "where geography_level in ('cpp', 'tranche', 'all')"
    ).fetchall()
    return set(rows)


def _wanted_cells(look: Look) -> set[Cell]:
    return {cell for key in _kept(look) for cell in _cells(look, look.programme.engagements[key])}


def _kept(look: Look) -> list[str]:
    """Engagements that were taken in and are not left out."""
    rows = look.con.execute("select distinct engagement from intake.sample").fetchall()
    return sorted({row[0] for row in rows} - look.left_out)


def _cells(look: Look, engagement: Engagement) -> Iterator[Cell]:
    units = (("cpp", engagement.key), ("tranche", engagement.tranche), ("all", "all"))
    for wave in engagement.waves:
        is_pupils = wave.survey in PUPIL_SURVEYS
        for level, unit in units if is_pupils else units[:1]:
            breakdowns = look.rules.breakdowns[level] if is_pupils else ("total",)
            for indicator in look.codebook.indicators.values():
                if indicator.survey == wave.survey:
                    for breakdown in breakdowns:
                        for group in _groups(look.rules, breakdown, wave.stages):
                            yield level, unit, wave.survey, indicator.name, breakdown, group


def _groups(rules: Estimators, breakdown: str, stages: Sequence[str]) -> Sequence[str]:
    return {
        "total": ("all",),
        "sex": ("F", "M"),
        "stage": tuple(stages),
        "stage:sex": tuple(f"{stage}:{sex}" for stage in stages for sex in "FM"),
        "simd_quintile": ("1", "2", "3", "4", "5"),
        "looked_after": ("Y", "N"),
        "ethnicity": rules.ethnicity_groups,
        "asn": ("Y", "N"),
    }[breakdown]


# A school or cluster has its total, both sexes, and for each stage itself and its two sexes.
_SMALL_AREAS = """
    with rolls as (
        select
            roll.engagement, waves.survey, roll.seed_code, roll.stage,
            case when waves.survey in ({clustered}) then clusters.cluster_code end as cluster_code
        from programme.waves as waves
        inner join intake.roll_counts as roll
            on waves.engagement = roll.engagement and list_contains(waves.stages, roll.stage)
        left join intake.clusters as clusters
            on
                roll.engagement = clusters.engagement
                and roll.seed_code = clusters.seed_code
                and clusters.is_sdc_cluster
        where waves.survey in ({surveys}) and roll.roll_n > 0
            and waves.engagement in ({engagements})
    ),
    areas as (
        select engagement, survey, 'school' as geography_level, seed_code as geography_code, stage
        from rolls
        union all
        select engagement, survey, 'cluster', cluster_code, stage
        from rolls
        where cluster_code is not null
    ),
    sizes as (
        select
            engagement, survey, geography_level, geography_code,
            3 + 3 * count(distinct stage) as cells_n
        from areas
        group by all
    ),
    wanted as (
        select sizes.*, indicators.name as indicator
        from sizes
        inner join codebook.indicators as indicators using (survey)
    ),
    held as (
        select
            engagement, survey, geography_level, geography_code, indicator,
            count(*) as cells_n
        from wellbeing.estimates
        where geography_level in ('school', 'cluster')
        group by all
    )
    select distinct geography_level || ' ' || geography_code || ' ' || survey as place
    from wanted
    full join held
        using (engagement, survey, geography_level, geography_code, indicator)
    where wanted.cells_n is distinct from held.cells_n
    order by all
"""


def _small_areas_sql(look: Look) -> str:
    return _SMALL_AREAS.format(
        surveys=_listed(PUPIL_SURVEYS),
        clustered=_listed(look.rules.cluster_surveys),
        engagements=_listed(_kept(look)),
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "null"


def estimates_count_the_pupils(look: Look) -> Found:
    """Bases of CPP totals, counted again: weighted pupils with a value of the indicator."""
    counts = " union all ".join(_bases_sql(look, survey) for survey in PUPIL_SURVEYS)
    rows = look.con.execute(
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
    return Found(wrong, len(rows), "bases")


def _bases_sql(look: Look, survey: str) -> str:
    names = ", ".join(i.name for i in look.codebook.indicators.values() if i.survey == survey)
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


# Schools of an area against the area: CPPs from the sample's schools, clusters from the map.
_PARTS = """
    with schools as (
        select *
        from wellbeing.estimates
        where geography_level = 'school'
    ),
    areas as (
        select schools.*, 'cpp' as area_level, engagements.council_code as area
        from schools
        inner join programme.engagements as engagements using (engagement)
        union all
        select schools.*, 'cluster' as area_level, clusters.cluster_code as area
        from schools
        inner join intake.clusters as clusters
            on
                schools.engagement = clusters.engagement
                and schools.geography_code = clusters.seed_code
                and clusters.is_sdc_cluster
        where schools.survey in ({clustered})
    ),
    summed as (
        select
            engagement, survey, area_level as geography_level, area as geography_code,
            indicator, breakdown, "group",
            sum(base_n) as base_n, sum(numerator_n) as numerator_n, sum(sum_x) as sum_x,
            sum(schools_n) as schools_n
        from areas
        group by all
    ),
    whole as (
        select estimates.*
        from wellbeing.estimates as estimates
        where
            geography_level in ('cpp', 'cluster')
            and survey in ({surveys})
            and breakdown in (select distinct breakdown from schools)
    )
    select
        geography_level || ' ' || geography_code || ' ' || indicator as place,
        coalesce(whole.base_n, 0) = coalesce(summed.base_n, 0)
        and coalesce(whole.numerator_n, 0) = coalesce(summed.numerator_n, 0)
        and coalesce(whole.schools_n, 0) = coalesce(summed.schools_n, 0)
        and abs(coalesce(whole.sum_x, 0) - coalesce(summed.sum_x, 0)) < 1e-6 as is_right
    from whole
    full join summed
        using (engagement, survey, geography_level, geography_code, indicator, breakdown, "group")
    order by all
"""


def schools_add_up(look: Look) -> Found:
    """Bases, numerators and sums of schools add up to those of their CPP and cluster."""
    rows = look.con.execute(
        _PARTS.format(
            clustered=_listed(look.rules.cluster_surveys),
            surveys=_listed(PUPIL_SURVEYS),
        )
    ).fetchall()
    wrong = sorted({place for place, is_right in rows if not is_right})
    return Found(wrong, len(rows), "cells")


def estimates_lie_in_their_interval(look: Look) -> Found:
    """Percentages lie between 0 and 100, and every estimate in its own interval."""
    rows = look.con.execute(
        "select distinct geography_code || ' ' || indicator from wellbeing.estimates "
        "where (statistic = 'pct' and estimate not between 0 and 100) "
        "or estimate < ci_low - 1e-9 or estimate > ci_high + 1e-9 or numerator_n > base_n "
        "order by all"
    ).fetchall()
    total = look.con.execute(
        "select count(*) from wellbeing.estimates where estimate is not null"
    ).fetchall()[0][0]
    return Found([row[0] for row in rows], total, "estimates")


# Each row of respondents, counted again from the pupils through the cluster map.
_RESPONDENTS = """
    with pupils as (
        select
            pupils.engagement, pupils.survey, pupils.seed_code, engagements.council_code,
            case when pupils.survey in ({clustered}) then clusters.cluster_code end as cluster_code,
            count(*) as pupils_n
        from wellbeing.indicator_values as pupils
        inner join programme.engagements as engagements using (engagement)
        left join intake.clusters as clusters
            on
                pupils.engagement = clusters.engagement
                and pupils.seed_code = clusters.seed_code
                and clusters.is_sdc_cluster
        where pupils.engagement in ({engagements})
        group by all
    ),
    counted as ({levels}),
    bases as (
        select engagement, survey, geography_level, geography_code, max(base_n) as base_n
        from wellbeing.estimates
        where breakdown = 'total' and geography_level in ('school', 'cluster', 'cpp')
            and survey in ({surveys})
        group by all
    )
    select
        geography_level || ' ' || geography_code || ' ' || survey as place,
        coalesce(
            held.respondents_n = coalesce(counted.pupils_n, 0)
            and held.schools_n = coalesce(counted.schools_n, 0)
            and held.respondents_n <= held.roll_n
            and held.respondents_n >= coalesce(bases.base_n, 0),
            false
        ) as is_right
    from wellbeing.respondents as held
    full join counted using (engagement, survey, geography_level, geography_code)
    full join bases using (engagement, survey, geography_level, geography_code)
    order by all
"""


def respondents_are_counted(look: Look) -> Found:
    """Respondents counted again; never more than the roll, nor fewer than a base."""
    codes = {"school": "seed_code", "cluster": "cluster_code", "cpp": "council_code"}
    levels = " union all ".join(
        f"""
        select
            engagement, survey, '{level}' as geography_level, {code} as geography_code,
            sum(pupils_n) as pupils_n, count(*) as schools_n
        from pupils
        where {code} is not null
        group by all
        """
        for level, code in codes.items()
    )
    rows = look.con.execute(
        _RESPONDENTS.format(
            levels=levels,
            clustered=_listed(look.rules.cluster_surveys),
            surveys=_listed(PUPIL_SURVEYS),
            engagements=_listed(_kept(look)),
        )
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Found(wrong, len(rows), "areas")


# Each total has one comparison, of no more pupils than there are.
_COVERED = """
    with totals as (
        select engagement, survey, geography_level, geography_code, indicator, base_n, estimate
        from wellbeing.estimates
        where breakdown = 'total' and reason = '' and survey in ({surveys})
            and geography_level in ('school', 'cluster', 'cpp')
    ),
    held as (
        select
            engagement, survey, geography_level, geography_code, indicator,
            count(*) as rows_n, max(base_n) as base_n, max(rest_n) as rest_n
        from wellbeing.comparisons
        group by all
    )
    select
        geography_level || ' ' || geography_code || ' ' || indicator as place,
        coalesce(
            held.rows_n = 1
            and held.base_n <= totals.base_n
            and (totals.geography_level = 'cpp' or held.base_n + held.rest_n <= cpp.base_n),
            false
        ) as is_right
    from totals
    full join held using (engagement, survey, geography_level, geography_code, indicator)
    left join totals as cpp
        on
            totals.engagement = cpp.engagement
            and totals.survey = cpp.survey
            and totals.indicator = cpp.indicator
            and cpp.geography_level = 'cpp'
    order by all
"""


def comparisons_cover_the_estimates(look: Look) -> Found:
    """Each total of a school, cluster and CPP is compared once, with no more pupils than it has."""
    rows = look.con.execute(_COVERED.format(surveys=_listed(PUPIL_SURVEYS))).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Found(wrong, len(rows), "comparisons")


# What one report tests is a family, of all surveys together: of a school or cluster its measures,
# of a CPP its headlines, and these again between waves.
_COMPARED = """
    select
        *, geography_level || ' ' || geography_code || ' ' || indicator as place,
        engagement || ' ' || geography_level || ' ' || geography_code as family,
        geography_level = 'cpp' as is_holm
    from wellbeing.comparisons
"""
_CHANGED = """
    select
        *, engagement || ' ' || indicator || ' ' || breakdown || ' ' || "group" as place,
        engagement as family, true as is_holm
    from wellbeing.changes
"""
# Corrections as sets: what Benjamini-Hochberg and Holm reject, found without adjusted values.
_RULED = """
    with ranked as (
        select
            judged.*, directions.direction,
            count(p_value) over (partition by family) as tests_n,
            row_number() over (
                partition by family order by p_value nulls last, indicator
            ) as rank_no
        from ({judged}) as judged
        inner join (
            select name as indicator, direction from codebook.indicators
        ) as directions using (indicator)
    ),
    limits as (
        select
            family,
            max(p_value) filter (p_value * tests_n / rank_no < {alpha}) as last_rejected,
            min(p_value) filter (p_value * (tests_n - rank_no + 1) >= {alpha}) as first_kept
        from ranked
        group by all
    ),
    ruled as (
        select
            ranked.*,
            p_value is not null
            and if(
                is_holm,
                p_value < coalesce(first_kept, 2),
                p_value <= coalesce(last_rejected, -1)
            ) as is_rejected
        from ranked
        inner join limits using (family)
    )
    select
        place,
        coalesce(
            case
                when statistic = 'pct'
                then is_marked = (is_rejected and abs(difference) >= {points})
                else is_rejected or not is_marked
            end
            -- What has no good side is no test: it would make the others' harder to pass.
            and (direction <> 'context' or p_value is null)
            and verdict is not distinct from case
                when p_value is null then null
                when not is_marked then 'similar'
                when direction = 'higher_better' then if(difference > 0, 'better', 'worse')
                else if(difference < 0, 'better', 'worse')
            end,
            false
        ) as is_right
    from ruled
    order by all
"""


def verdicts_follow_the_rule(look: Look) -> Found:
    """Marked is what the correction rejects and is large enough; the verdict fits its sign."""
    return _ruled(look, _COMPARED, "comparisons")


def _ruled(look: Look, judged: str, what: str) -> Found:
    rules = look.rules
    rows = look.con.execute(
        _RULED.format(
            judged=judged, alpha=rules.comparison_alpha, points=rules.comparison_least_points
        )
    ).fetchall()
    return Found([place for place, is_right in rows if not is_right], len(rows), what)


# Each total of a CPP once; what is compared is the two figures' difference, and nothing else is.
_CHANGES = """
    with totals as (
        select * exclude (tranche), tranche as later_tranche
        from wellbeing.estimates
        where geography_level = 'cpp' and breakdown = 'total'
            and survey in ({surveys}) and engagement in ({engagements})
    )
    select
        totals.engagement || ' ' || totals.indicator as place,
        count(changes.indicator) = 1 and coalesce(bool_and(
            case
                when changes.reason = '' then
                    abs(changes.difference - (totals.estimate - earlier.estimate)) < 1e-9
                    and changes.se >= 0
                else changes.difference is null and changes.se is null and changes.verdict is null
            end
        ), false) as is_right,
        any_value(totals.indicator) as indicator,
        any_value(earlier.tranche) filter (changes.reason = '') as earlier_tranche,
        any_value(totals.later_tranche) as later_tranche
    from totals
    left join wellbeing.changes as changes using (engagement, survey, indicator, breakdown)
    left join wellbeing.estimates as earlier
        on
            changes.earlier_engagement = earlier.engagement
            and changes.survey = earlier.survey
            and changes.indicator = earlier.indicator
            and earlier.geography_level = 'cpp'
            and earlier.breakdown = 'total'
    group by totals.engagement, totals.survey, totals.indicator
    order by all
"""


def changes_cover_the_waves(look: Look) -> Found:
    """Each total is compared with the wave before it, or has a reason; a broken question never."""
    rows = look.con.execute(
        _CHANGES.format(
            surveys=", ".join(f"'{survey}'" for survey in PUPIL_SURVEYS),
            engagements=", ".join(f"'{key}'" for key in _kept(look)) or "null",
        )
    ).fetchall()
    pairs = {(earlier, later) for *_, earlier, later in rows if earlier}
    unlike = {pair: not_comparable(look.codebook, pair) for pair in pairs}
    wrong = [
        place
        for place, is_right, indicator, earlier, later in rows
        if not is_right or (earlier and indicator in unlike[earlier, later])
    ]
    return Found(wrong, len(rows), "totals")


def changes_follow_the_rule(look: Look) -> Found:
    """A marked change is what the correction rejects and is large enough; its verdict fits."""
    return _ruled(look, _CHANGED, "changes")


_NONRESPONSE = """
    with weighted as (
        select engagement, survey, count(*) as n, sum(weight) as weights
        from wellbeing.weights
        where engagement in ({engagements})
        group by all
    ),
    sums as (
        select
            engagement, survey, breakdown, sum(roll_n) as roll_n,
            sum(respondents_n) as respondents_n, sum(mean_weight * respondents_n) as weights
        from wellbeing.unit_nonresponse
        group by all
    )
    select
        concat_ws(' ', engagement, survey, sums.breakdown),
        coalesce(
            sums.respondents_n = weighted.n and sums.roll_n = total.roll_n
            and abs(sums.weights - weighted.weights) < 1e-6 * weighted.weights,
            false
        )
    from weighted
    full join sums using (engagement, survey)
    left join (from sums where breakdown = 'total') as total using (engagement, survey)
    where weighted.n is not null or sums.respondents_n > 0
    union all
    select
        engagement || ' ' || survey || ' ' || variable,
        bool_and(
            asked_n = valid_n + prefer_not_to_say_n + dont_know_n + does_not_apply_n
            + not_answered_n
        )
        and coalesce(
            sum(asked_n) filter (breakdown = 'total') = sum(asked_n) filter (breakdown = 'sex'),
            false
        )
    from wellbeing.item_nonresponse
    group by engagement, survey, variable
    order by all
"""


def nonresponse_adds_up(look: Look) -> Found:
    """Pupils of both tables are those who answered, each counted once in every breakdown."""
    engagements = ", ".join(f"'{key}'" for key in _kept(look)) or "null"
    rows = look.con.execute(_NONRESPONSE.format(engagements=engagements)).fetchall()
    return Found([place for place, is_right in rows if not is_right], len(rows), "sums")


# Where the reference file was not delivered, every row has that reason.
_SALSUS = """
    select
        stage || ' ' || sex || ' ' || measure,
        coalesce(abs(sum(rcs_contrast)) < 1e-6 and abs(sum(salsus_contrast)) < 1e-6, true)
        and bool_and(
            if(
                reason = '',
                abs(change - (rcs_contrast - salsus_contrast)) < 1e-9 and se >= 0
                and exists (
                    from intake.salsus as known
                    where
                        known.council_code = contrasts.council_code
                        and known.stage = contrasts.stage
                        and known.measure = contrasts.salsus_estimate
                ),
                change is null and not is_marked
            )
        )
    from wellbeing.salsus_contrasts as contrasts
    group by stage, sex, measure
    order by all
"""


def salsus_contrasts_cancel_out(look: Look) -> Found:
    """A contrast is what a council has more than the mean of all: together they are nothing."""
    rows = look.con.execute(_SALSUS).fetchall()
    asked = look.con.execute("select 1 from linkage.linked where survey = 'secondary' limit 1")
    if not asked.fetchall():
        return Found([f"{place} of a survey that was not held" for place, _ in rows], 1, "surveys")
    return Found([place for place, is_right in rows if not is_right], len(rows), "measures")
