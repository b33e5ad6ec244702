"""Who answered, of how many: respondents, roll and schools of every school, cluster and CPP.

Belongs here: counts of pupils whatever they answered. Does not belong here: bases of
indicators (`counts.py`), classes of schools and response bands (`disclosure`).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from rcs_assets.wellbeing.estimators import Estimators
from rcs_assets.wellbeing.grid import make_rolls

# Code of the area of each level, as columns of `schools`.
_CODES = {"school": "seed_code", "cluster": "cluster_code", "cpp": "council_code"}


def write_respondents(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str], rules: Estimators
) -> int:
    """Make wellbeing.respondents anew, a row a school, cluster and CPP of each pupil survey.

    Columns: tranche, engagement, survey, geography_level, geography_code, respondents_n
    (usable respondents: linked pupils, whatever they answered), roll_n (pupils of the
    survey's stages) and schools_n (schools with a respondent). Schools that nobody answered
    from are there, with 0.

    Args:
        con: a writing connection to the warehouse.
        engagements: the engagements that enter.
        rules: policy.md, Table B; says which surveys have clusters.

    Returns:
        Number of rows written.
    """
    make_rolls(con, engagements, rules)
    levels = " union all ".join(
        f"""
        select
            tranche, engagement, survey, '{level}' as geography_level,
            {code} as geography_code, sum(respondents_n)::integer as respondents_n,
            sum(roll_n)::integer as roll_n,
            count(*) filter (respondents_n > 0)::integer as schools_n
        from schools
        where {code} is not null
        group by all
        """
        for level, code in _CODES.items()
    )
    con.execute(f"""
        create or replace table wellbeing.respondents as
        with answered as (
            select engagement, survey, seed_code, count(*) as respondents_n
            from wellbeing.indicator_values
            where engagement in (from scope)
            group by all
        ),
        schools as (
            select
                rolls.tranche, rolls.engagement, rolls.survey, rolls.council_code,
                rolls.seed_code, rolls.cluster_code,
                coalesce(sum(rolls.roll_n), 0) as roll_n,
                coalesce(any_value(answered.respondents_n), 0) as respondents_n
            from rolls
            left join answered using (engagement, survey, seed_code)
            group by all
        )
        {levels}
        order by all
    """)
    return int(con.execute("select count(*) from wellbeing.respondents").fetchall()[0][0])
