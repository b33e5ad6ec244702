"""Recipients who did not respond, as the aggregate that policy.md (Table B, reach) allows.

Belongs here: protecting `services.recipients`, and the rule that judges the result. Does not
belong here: the counts (`services`), need × reach (`reach.py`), Dagster.

Recipients and the others, each by whether they responded, are the four parts of one table; all
reach the row's numerator or nothing of it is shown. Of the two supports apart, one says with the
other and with either how many have both: their six parts by response must pass too, also where a
release before told one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.beside import PUBLIC
from rcs_assets.disclosure.held import NO_HOLDS, Holds, is_held, is_known
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.storage import sql_literal

# One row an engagement and survey; the parts that are shown or can be worked out, by response.
_PARTS = """
with sides as (
    select
        engagement, survey, has_responded, pupils_n, asn_support_n, social_work_n, any_service_n,
        least(any_service_n, pupils_n - any_service_n) as any_part_n,
        least(both_n, asn_support_n - both_n, social_work_n - both_n) as apart_n
    from services.recipients
    where engagement in ({engagements})
),
parts as (
    select
        engagement, survey,
        count(*) = 2 and min(any_part_n) >= {k} as passes_any,
        count(*) = 2 and min(any_part_n) >= {k} and min(apart_n) >= {k} as passes_apart
    from sides
    group by all
),
rows as (
    select engagement, survey, service, has_responded, served_n
    from (
        unpivot sides
        on asn_support_n as 'asn_support', social_work_n as 'social_work',
            any_service_n as 'any_service'
        into name service value served_n
    )
),
counted as (
    select
        engagement, survey, service,
        sum(served_n) as recipients_n,
        coalesce(sum(served_n) filter (not has_responded), 0) as silent_n,
    from rows
    group by all
),
before as (
    select *, {is_held} as is_held, {is_known} as is_known from counted
),
judged as (
    select
        *,
        -- What releases before told of the supports apart stands beside what is shown now.
        bool_or(service <> 'any_service' and is_known) over of_survey as knows_apart,
        bool_or(is_held) over of_survey as holds_one
    from before
    window of_survey as (partition by engagement, survey)
)
"""

_SHOWN = """
select
    engagement, survey, service,
    if(is_shown, rcs_round(recipients_n, {n_step}), null)::decimal(9, 0) as n,
    if(is_shown, rcs_round(100.0 * silent_n / recipients_n, {pct_step}), null)::decimal(7, 1)
        as not_responded_pct,
    if(is_shown, 'published', 'c') as status
from (
    select
        judged.*,
        recipients_n >= {base} and if(
            service = 'any_service',
            passes_any and not is_held and (passes_apart or not knows_apart),
            passes_apart and not holds_one
        ) as is_shown
    from judged
    inner join parts using (engagement, survey)
)
order by all
"""


def protect_recipients(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    engagements: Sequence[str],
    holds: Holds = NO_HOLDS,
) -> pa.Table:
    """How many recipients of support did not respond, as everybody may see it.

    Args:
        con: a connection that sees `services.recipients`.
        policy: Table A, row need × reach.
        engagements: those that are released.
        holds: rows that releases before forbid, or told.

    Returns:
        `engagement, survey, service` (asn_support, social_work, any_service), `n` (recipients
        invited to the survey, rounded), `not_responded_pct` and `status` (published or c), ordered
        by all.
    """
    register_rounding(con)
    holds.register(con)
    sql = _parts(policy, engagements) + _SHOWN.format(
        n_step=policy.reach.n_step, pct_step=policy.reach.pct_step, base=policy.reach.base
    )
    return con.execute(sql).to_arrow_table()


def _parts(policy: Policy, engagements: Sequence[str]) -> str:
    listed = ", ".join(map(sql_literal, engagements)) or "null"
    return _PARTS.format(
        engagements=listed,
        k=max(policy.reach.numerator, policy.reach.complement),
        is_held=is_held("recipients", f"'{PUBLIC}'"),
        is_known=is_known("recipients", f"'{PUBLIC}'"),
    )


def wrong_recipients(con: duckdb.DuckDBPyConnection, policy: Policy) -> list[str]:
    """Rows of `disclosure.recipients` that tell a small part, or are not what was counted.

    Every part that the shown rows of a survey give by sums and differences is counted again.
    """
    rule = policy.reach
    k = max(rule.numerator, rule.complement)
    rows = con.execute(
        f"""
        with shown as (
            select *, count(*) filter (service <> 'any_service' and n is not null)
                over (partition by engagement, survey) > 0 as shows_apart
            from disclosure.recipients
        ),
        truth as (
            select
                engagement, survey,
                sum(asn_support_n) as asn_support, sum(social_work_n) as social_work,
                sum(any_service_n) as any_service,
                sum(asn_support_n) filter (not has_responded) as silent_asn_support,
                sum(social_work_n) filter (not has_responded) as silent_social_work,
                sum(any_service_n) filter (not has_responded) as silent_any_service,
                min(any_service_n) as with_n, min(pupils_n - any_service_n) as without_n,
                min(asn_support_n + social_work_n - any_service_n) as both_n,
                min(any_service_n - social_work_n) as only_asn_n,
                min(any_service_n - asn_support_n) as only_social_n,
                count(distinct has_responded) as sides_n
            from services.recipients
            group by all
        ),
        judged as (
            select
                engagement || ' ' || survey || ' ' || service as place, shown.*, truth.*,
                case service when 'asn_support' then asn_support when 'social_work'
                    then social_work else any_service end as true_n,
                case service when 'asn_support' then silent_asn_support when 'social_work'
                    then silent_social_work else silent_any_service end as true_silent_n
            from shown
            left join truth using (engagement, survey)
        )
        select place
        from judged
        where not coalesce(
            case
                when status = 'c' then n is null and not_responded_pct is null
                else
                    status = 'published' and sides_n = 2 and true_n >= {rule.base}
                    and least(with_n, without_n) >= {k}
                    and (not shows_apart or least(both_n, only_asn_n, only_social_n) >= {k})
                    and n % {rule.n_step:.0f} = 0 and abs(n - true_n) <= {rule.n_step / 2}
                    and abs(not_responded_pct - 100 * true_silent_n / true_n)
                    <= {rule.pct_step / 2} + 1e-6
            end,
            false
        )
        order by all
        """
    ).fetchall()
    return [row[0] for row in rows]
