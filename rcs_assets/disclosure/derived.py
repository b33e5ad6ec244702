"""What is said beside estimates: verdicts of comparisons, and who took part.

Belongs here: derived statistics that inherit the worst status of their parts, and response
rates (policy.md, Table A). Does not belong here: the estimates themselves (`rules.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.held import NO_HOLDS, Holds, is_held
from rcs_assets.disclosure.policy import Policy
from rcs_assets.storage import sql_literal

# A verdict is shown where the place's own figure and the figure shown beside it are, and
# where the rest is more than a few schools. `u`: one of the two is unreliable.
_COMPARISONS = """
with figures as (
    select audience, survey, engagement, tranche, geography_level, geography_code, indicator,
        status,
    from disclosure.estimates
    where breakdown = 'total'
),
places as (
    select distinct audience, survey, engagement, tranche, geography_level, geography_code
    from figures
    where geography_level in ('school', 'cluster', 'cpp')
),
joined as (
    select
        p.audience, c.engagement, c.survey, c.geography_level, c.geography_code, c.indicator,
        c.statistic, c.comparator, c.verdict, own.status as own_status,
        beside.status as beside_status,
        c.geography_level = 'cpp' or c.rest_schools_n >= {least_schools} as has_many,
    from wellbeing.comparisons as c
    inner join places as p using (engagement, survey, geography_level, geography_code)
    inner join figures as own
        on own.audience = p.audience and own.survey = c.survey
        and own.engagement = c.engagement and own.geography_level = c.geography_level
        and own.geography_code = c.geography_code and own.indicator = c.indicator
    left join figures as beside
        on beside.audience = 'public' and beside.survey = c.survey
        and beside.indicator = c.indicator
        and case
            when c.geography_level = 'cpp'
                then beside.geography_level = 'tranche' and beside.tranche = p.tranche
            else beside.geography_level = 'cpp' and beside.engagement = c.engagement
        end
    where p.audience in ({audiences})
),
judged as (
    select
        *,
        case
            when own_status in ('x', 'z') then own_status
            when own_status = 'c' or coalesce(beside_status, 'c') not in ('published', 'u') then 'c'
            when not has_many then 'c'
            when {is_held} then 'c'
            when verdict is null then 'x'
            when 'u' in (own_status, beside_status) then 'u'
            else 'published'
        end as status,
    from joined
)
select
    audience, engagement, survey, geography_level, geography_code, indicator, statistic,
    comparator, if(status in ('published', 'u'), verdict, null) as verdict, status,
from judged
order by all
"""

# Rates in bands, and only where refusals are not few; below, n is not said either. The row of
# response rates has no step for n: that of the package's own row holds (Table A, how to read it).
_PARTICIPATION = """
with places as (
    select
        r.*,
        respondents_n >= {base} and roll_n - respondents_n >= {refusals} as is_shown,
        floor(100.0 * respondents_n / roll_n / {band}) * {band} as band,
    from wellbeing.respondents as r
    where r.geography_level = 'cpp'
        or (r.geography_level = 'school' and r.respondents_n >= {smallest_school})
),
seen as (
    select 'cpp/' || engagement as audience, *,
        if(geography_level = 'school', {school_n_step}, {cpp_n_step}) as n_step
    from places
    union all
    select 'public', *, {public_n_step} from places where geography_level = 'cpp'
),
judged as (
    select * replace (is_shown and not {is_held} as is_shown) from seen
)
select
    audience, engagement, survey, geography_level, geography_code,
    if(is_shown, rcs_round(respondents_n, n_step), null)::integer as respondents_n,
    if(is_shown, rcs_round(roll_n, n_step), null)::integer as roll_n,
    if(is_shown, band::integer || ' to ' || (band + {band} - 1)::integer || ' %', null)
        as response_band,
    if(is_shown and geography_level = 'cpp', schools_n, null)::integer as schools_n,
    if(is_shown, 'published', 'c') as status,
from judged
where audience in ({audiences})
order by all
"""


def protect_comparisons(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    audiences: Sequence[str],
    holds: Holds = NO_HOLDS,
) -> pa.Table:
    """Verdicts as each audience may see them.

    Args:
        con: a connection that sees `wellbeing.comparisons` and `disclosure.estimates`.
        policy: Table A, row funnel, shrunken, standardised.
        audiences: `public`, then `cpp/<engagement>`.
        holds: rows that releases before forbid.

    Returns:
        The columns of `comparisons` in interfaces.md after `audience`, ordered by all.
    """
    holds.register(con)
    sql = _COMPARISONS.format(
        is_held=is_held("comparisons"),
        least_schools=policy.least_other_schools,
        audiences=", ".join(map(sql_literal, audiences)),
    )
    return con.execute(sql).to_arrow_table()


def protect_participation(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    audiences: Sequence[str],
    holds: Holds = NO_HOLDS,
) -> pa.Table:
    """Who took part: pupils, roll, response band; schools that took part at the CPP.

    Args:
        con: a connection that sees `wellbeing.respondents` and has the rounding macros.
        policy: Table A, rows response rate and participating schools.
        audiences: `public`, then `cpp/<engagement>`. A school's row goes to its own package
            alone (release).
        holds: rows that releases before forbid.

    Returns:
        `audience, engagement, survey, geography_level, geography_code, respondents_n, roll_n,
        response_band, schools_n, status`, ordered by all.
    """
    rule = policy.output_classes["response_rate"]
    holds.register(con)
    sql = _PARTICIPATION.format(
        is_held=is_held("participation"),
        base=rule.base,
        refusals=rule.complement,
        band=int(rule.pct_step),
        public_n_step=_n_step(policy, policy.audiences["public"].output_classes["cpp"]),
        cpp_n_step=_n_step(policy, policy.audiences["cpp"].output_classes["cpp"]),
        school_n_step=_n_step(policy, policy.audiences["cpp"].output_classes["school"]),
        smallest_school=policy.smallest_school.respondents,
        audiences=", ".join(map(sql_literal, audiences)),
    )
    return con.execute(sql).to_arrow_table()


def _n_step(policy: Policy, output_class: str) -> float:
    """The strictest step of a package's row of Table A and of the row of response rates."""
    rows = (policy.output_classes[output_class], policy.output_classes["response_rate"])
    return max(row.n_step for row in rows)
