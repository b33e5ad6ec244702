"""How well the records were linked, in figures: frames that the linked suite judges.

Belongs here: aggregate queries over `linkage.*` and the roll. Does not belong here:
limits (`data_quality`), Dagster (`checks.py`), and anything a row a child.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    import pandas as pd

_LINKS = """
with by_sex as (
    select engagement, survey, sex, 100.0 * avg(has_education::integer) as education_pct,
    from linkage.linked
    where is_linked
    group by all
),
gaps as (
    select engagement, survey, max(education_pct) - min(education_pct) as education_sex_gap_pct,
    from by_sex
    group by all
)
select
    engagement,
    survey,
    100.0 * avg(is_linked::integer) as linked_pct,
    100.0 * avg(has_education::integer) filter (where is_linked) as education_pct,
    100.0 * avg((simd_quintile is not null)::integer) filter (where has_education)
    as zone_known_pct,
    any_value(education_sex_gap_pct) as education_sex_gap_pct,
from linkage.linked
left join gaps using (engagement, survey)
group by all
order by all
"""

_ANSWERING = """
with invited as (
    select engagement, survey, seed_code, stage, sex, roll_n,
    from intake.roll_counts
    inner join programme.waves using (engagement)
    where list_contains(stages, stage)
),
answered as (
    select engagement, survey, seed_code, stage, sex, count(*) as answers_n,
    from linkage.linked
    where is_linked
    group by all
),
cells as (
    select *, coalesce(answers_n, 0) as answered_n,
    from invited
    left join answered using (engagement, survey, seed_code, stage, sex)
),
stages as (
    select engagement, survey, min(pct) as smallest_stage_response_pct,
    from (
        select engagement, survey, stage, 100.0 * sum(answered_n) / sum(roll_n) as pct,
        from cells
        group by all
    )
    group by all
),
schools as (
    select engagement, survey, 100.0 * avg((n > 0)::integer) as schools_answering_pct,
    from (
        select engagement, survey, seed_code, sum(answered_n) as n,
        from cells
        group by all
        having sum(roll_n) >= 10
    )
    group by all
),
sexes as (
    select
        engagement,
        survey,
        abs(
            100.0 * sum(answered_n) filter (where sex = 'F') / sum(roll_n) filter (where sex = 'F')
            - 100.0 * sum(answered_n) filter (where sex = 'M')
            / sum(roll_n) filter (where sex = 'M')
        ) as response_sex_gap_pct,
    from cells
    group by all
)
select
    engagement,
    survey,
    smallest_stage_response_pct,
    schools_answering_pct,
    response_sex_gap_pct,
from stages
left join schools using (engagement, survey)
left join sexes using (engagement, survey)
order by all
"""

_RATES = """
select
    engagement,
    dataset,
    100.0 * ambiguous_n / records_n as ambiguous_pct,
from linkage.link_rates
where records_n > 0
order by all
"""

_SOCIAL_WORK = """
select
    engagement,
    100.0 * linked_n / records_n as linked_pct,
    100.0 * clerical_n / records_n as clerical_pct,
    100.0 * estimated_precision as precision_pct,
from linkage.link_rates
where dataset = 'social_work' and records_n > 0
order by all
"""


def linkage_profiles(con: duckdb.DuckDBPyConnection) -> dict[str, pd.DataFrame]:
    """The profile frames of linkage.

    Args:
        con: a warehouse connection; read only.

    Returns:
        `links` and `answering` (engagement × pupil survey), `link_rates` (engagement ×
        dataset), `social_work_links` (engagement). Shares in per cent, gaps in points.
    """
    return {
        "links": con.execute(_LINKS).df(),
        "answering": con.execute(_ANSWERING).df(),
        "link_rates": con.execute(_RATES).df(),
        "social_work_links": con.execute(_SOCIAL_WORK).df(),
    }
