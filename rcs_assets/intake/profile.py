"""What was taken in, in figures: the frames that the intake suite judges.

Belongs here: aggregate queries over the tables of schema `intake`. Does not belong
here: limits (`data_quality`), Dagster (`checks.py`), and anything a row a child: the
finest row is an engagement's delivered file or one of its school types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from rcs_assets.codebook import Codebook
from rcs_assets.intake.adapted import OPT_INS, SURVEY
from rcs_assets.storage import sql_list

if TYPE_CHECKING:
    import pandas as pd

# Fewer answers than this say nothing about a pattern of answering.
LEAST_ANSWERED_N = 10

_DELIVERIES = """
select
    coalesce(engagement, 'reference') as engagement,
    dataset,
    received_n,
    100.0 * quarantined_n / received_n as quarantined_pct,
    100.0 * withdrawn_n / received_n as withdrawn_pct,
from intake.receipts
where status = 'accepted' and received_n > 0
    -- Of a handful of pupils one who withdraws is a large part, and is no fault of a file.
    and dataset not in ({adapted})
order by all
"""

_ROLLS = """
with published as (
    unpivot (
        select seed_code, columns('^(p|s)[1-7]_n$') from intake.school_roll
        where school_type in ('Primary', 'Secondary')
    )
    on columns('^(p|s)[1-7]_n$') into name column_name value published_n
),
school_stages as (
    select seed_code, upper(left(column_name, 2)) as stage, sum(published_n) as published_n,
    from published
    group by all
),
invited as (
    select engagement, seed_code, stage, sum(roll_n) as roll_n,
    from intake.roll_counts
    group by all
),
compared as (
    select
        invited.engagement,
        sum(invited.roll_n) as roll_n,
        100.0 * sum(invited.roll_n) filter (where school_stages.published_n is not null)
        / nullif(sum(school_stages.published_n), 0) as roll_of_published_pct,
        100.0 * sum(if(known_schools.seed_code is null, invited.roll_n, 0)) / sum(invited.roll_n)
        as unlisted_school_pct,
    from invited
    left join school_stages using (seed_code, stage)
    left join (select distinct seed_code from intake.school_list) as known_schools
        using (seed_code)
    group by all
),
sexes as (
    select engagement, 100.0 * sum(roll_n) filter (where sex = 'F') / sum(roll_n) as female_pct,
    from intake.roll_counts
    group by all
),
wave_stages as (
    select engagement, survey, unnest(stages) as stage,
    from programme.waves
    where survey <> 'parent'
),
stage_rolls as (
    select engagement, survey, stage, coalesce(sum(invited.roll_n), 0) as roll_n,
    from wave_stages
    left join invited using (engagement, stage)
    where engagement in (select engagement from invited)
    group by all
),
stages as (
    select engagement, min(share_pct) as smallest_stage_pct,
    from (
        select
            engagement,
            100.0 * roll_n * count(*) over survey_of / nullif(sum(roll_n) over survey_of, 0)
            as share_pct,
        from stage_rolls
        window survey_of as (partition by engagement, survey)
    )
    group by all
)
select
    engagement,
    roll_n,
    roll_of_published_pct,
    unlisted_school_pct,
    female_pct,
    smallest_stage_pct,
from compared
inner join sexes using (engagement)
left join stages using (engagement)
order by all
"""

_EDUCATION = """
with records as (
    select
        education.*,
        simd.datazone is not null as is_current_zone,
        datazones.council_code = engagements.council_code as is_own_council,
    from intake.education
    inner join programme.engagements using (engagement)
    left join intake.datazones using (datazone)
    left join intake.simd using (datazone)
),
measures as (
    select
        engagement,
        100.0 * avg(free_school_meal::integer) as free_school_meal_pct,
        -- By types alone: categories without any type are an extract that lost a column.
        100.0 * avg((asn_types is not null)::integer) as asn_pct,
        100.0 * avg(looked_after::integer) as looked_after_pct,
        avg(attendance_pct) as attendance_pct,
        1000.0 * avg(exclusions_n) as exclusions_per_1000,
        100.0 * avg((coalesce(ethnic_background, '98') in ('10', '98'))::integer)
        as ethnicity_unknown_pct,
        100.0 * avg((datazone is null)::integer) as zone_blank_pct,
        100.0 * avg((not is_current_zone)::integer) filter (where datazone is not null)
        as zone_unknown_pct,
        100.0 * avg((not coalesce(is_own_council, true))::integer) as zone_elsewhere_pct,
        count(*) as records_n,
    from records
    group by all
),
rolls as (
    select engagement, sum(roll_n) as roll_n,
    from intake.roll_counts
    group by all
)
select measures.* exclude (records_n), 100.0 * records_n / roll_n as roll_covered_pct,
from measures
inner join rolls using (engagement)
order by all
"""

_SOCIAL_WORK = """
with rolls as (
    select engagement, sum(roll_n) as roll_n,
    from intake.roll_counts
    group by all
),
records as (
    select
        engagement,
        count(*) as records_n,
        count(*) filter (where starts_with(looked_after_status, 'currently')) as looked_after_n,
    from intake.social_work
    group by all
)
select
    engagement,
    100.0 * coalesce(records_n, 0) / roll_n as known_pct,
    100.0 * coalesce(looked_after_n, 0) / roll_n as looked_after_pct,
from rolls
left join records using (engagement)
order by all
"""

_SERVICES = """
with rolls as (
    select engagement, sum(roll_n) as roll_n,
    from intake.roll_counts
    group by all
)
select
    engagement,
    sum(annual_cost_gbp) / any_value(roll_n) as cost_per_pupil_gbp,
    count(distinct domain) as domains_named,
from intake.service_map
inner join rolls using (engagement)
group by all
order by all
"""

# A sector with costs and no budget has used it beyond any limit.
_BUDGETS = """
with budgets as (
    select engagement, sector, sum(budget_gbp * share) as budget_gbp,
    from intake.budgets
    group by all
),
costs as (
    select engagement, sector, sum(annual_cost_gbp) as cost_gbp,
    from intake.service_map
    group by all
),
used as (
    select engagement, max(coalesce(100 * cost_gbp / nullif(budget_gbp, 0), 'inf')) as used_pct,
    from costs
    left join budgets using (engagement, sector)
    group by all
),
board_lines as (
    select
        health_board_code,
        council_code,
        sector,
        funding_origin,
        method,
        max(share) as share,
        list(distinct engagement) as engagements,
    from intake.budgets
    inner join programme.engagements using (engagement)
    where method <> 'direct'
    group by all
),
boards as (
    select unnest(engagements) as engagement, sum(share) over board_line as shared,
    from board_lines
    window board_line as (partition by health_board_code, sector, funding_origin, method)
)
select engagement, any_value(used_pct) as used_pct, 100 * max(shared) as board_shared_pct,
from used
left join boards using (engagement)
group by all
order by all
"""

_PARENTS = """
with ages as (
    select engagement, child_age, count(*) as n,
    from intake.parent_survey
    group by all
),
quintiles as (
    select engagement, simd_quintile, count(*) as n,
    from intake.parent_survey
    where simd_quintile > 0
    group by all
),
quintile_shares as (
    select engagement, 100.0 * max(n) / sum(n) as largest_quintile_pct,
    from quintiles
    group by all
)
select
    engagement,
    sum(ages.n) as interviews_n,
    count(*) filter (where child_age between 0 and 8) as ages_asked,
    any_value(largest_quintile_pct) as largest_quintile_pct,
from ages
inner join quintile_shares using (engagement)
group by all
order by all
"""


def intake_profiles(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> dict[str, pd.DataFrame]:
    """The profile frames of the boundary intake.

    Args:
        con: a warehouse connection; read only.
        codebook: names the answer columns of each survey.

    Returns:
        `deliveries` (engagement × dataset), `responses` (engagement × pupil survey),
        `rolls`, `education`, `social_work`, `services`, `budgets`, `parents` (engagement
        each). Shares in per cent.
    """
    return {
        "deliveries": con.execute(_DELIVERIES.format(adapted=sql_list((OPT_INS, SURVEY)))).df(),
        "responses": con.execute(_responses_sql(codebook)).df(),
        "rolls": con.execute(_ROLLS).df(),
        "education": con.execute(_EDUCATION).df(),
        "social_work": con.execute(_SOCIAL_WORK).df(),
        "services": con.execute(_SERVICES).df(),
        "budgets": con.execute(_BUDGETS).df(),
        "parents": con.execute(_PARENTS).df(),
    }


def _responses_sql(codebook: Codebook) -> str:
    answers = " union all ".join(_answers_sql(codebook, s) for s in ("primary", "secondary"))
    return f"""
        with answers as ({answers}),
        rolls as (
            select engagement, survey, sum(roll_n) as roll_n,
            from programme.waves
            inner join intake.roll_counts using (engagement)
            where list_contains(stages, stage)
            group by all
        ),
        counted as (
            select
                engagement,
                survey,
                count(*) as answers_n,
                100.0 * avg((completed_on not between fieldwork_start and fieldwork_end)::integer)
                as outside_fieldwork_pct,
                100.0 * avg((answered_n < {LEAST_ANSWERED_N})::integer) as hardly_answered_pct,
                100.0 * avg(is_straight::integer) as straight_lining_pct,
            from answers
            inner join programme.waves using (engagement, survey)
            group by all
        )
        select
            engagement,
            survey,
            100.0 * coalesce(answers_n, 0) / roll_n as response_pct,
            outside_fieldwork_pct,
            hardly_answered_pct,
            straight_lining_pct,
        from rolls
        left join counted using (engagement, survey)
        order by all
    """


def _answers_sql(codebook: Codebook, survey: str) -> str:
    columns = ", ".join(variable.name for variable in codebook.variables_of(survey))
    return f"""
        select
            engagement,
            '{survey}' as survey,
            completed_on,
            len(list_filter([{columns}], lambda code: code >= 0)) as answered_n,
            {_straight_sql(codebook, survey)} as is_straight,
        from intake.{survey}_survey
    """


def _straight_sql(codebook: Codebook, survey: str) -> str:
    """The same option everywhere in a scale that has reversed items contradicts itself."""
    cases = []
    for instrument in codebook.instruments.values():
        items = [item for scale in instrument.scales for item in scale.items]
        names = sorted({item.variable for item in items})
        if survey not in instrument.surveys or len(names) < LEAST_ANSWERED_N:
            continue
        if any(item.is_reversed for item in items):
            given = f"list_filter([{', '.join(names)}], lambda code: code >= 0)"
            cases.append(
                f"(len({given}) >= {LEAST_ANSWERED_N} and list_min({given}) = list_max({given}))"
            )
    return f"({' or '.join(cases)})" if cases else "null::boolean"
