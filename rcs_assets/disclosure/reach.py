"""Protects need × reach: of pupils in need, how many have support recorded.

Belongs here: which rows and services are shown, and what a shown row says. Does not belong
here: the numbers of the rule (`data/policy.yaml`, block reach), the rates (`services`).

A *block* is one need of one CPP in one breakdown: its rows are need levels × groups. Services
overlap: `any_service` = `asn_support` + `social_work` - `both`, and `none` = n - `any_service`.
So each pupil is in one of four parts (both, the one only, the other only, neither), and what
is shown of a row must not add up to a small part. Rules, which hold for a block as a whole, so
that no sum over levels or groups tells what is hidden:

1. a block is hidden unless every row has its base (policy.md, Table A); so is one of which an
   indicator that counts the same pupils is hidden in `disclosure.estimates`;
2. the total shows the first set of services below for which every part that the set tells
   reaches numerator and complement in every row (`_SETS`); nothing, if there is none;
3. a breakdown is shown only whole, with the services of the total: every row of it passes;
4. `any_asn` is shown if it reaches them itself, what it has more than `asn_support` does where
   that is shown, and the indicators' breakdown by ASN is shown (its numerators are the same).

Shown values come from the rounded n and percentage alone: the interval (Wilson, design effect
rounded), the corrected rate and the bounds would else tell what rounding hides. Fewer pupils
of unknown receipt than the numerator's threshold are taken as so many in the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.errors import InputError

# What may be shown of a row's supports, best first, with the parts that it tells: those must
# not be small. The parts that it does not tell are then only known to be no more than one
# that is not small, and may be none.
_SETS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("asn_support", "social_work", "any_service", "both", "none"),
        "least(both_n, asn_n - both_n, social_n - both_n, none_n)",
    ),
    (("asn_support", "any_service", "none"), "least(asn_n, social_n - both_n, none_n)"),
    (("social_work", "any_service", "none"), "least(social_n, asn_n - both_n, none_n)"),
    (("any_service", "none"), "least(need_n - none_n, none_n)"),
    (("asn_support",), "least(asn_n, need_n - asn_n)"),
    (("social_work",), "least(social_n, need_n - social_n)"),
)
# Sets that do without the records of the one or the other support.
_WITHOUT_SOCIAL, _WITHOUT_ASN = 5, 6

_PROBLEM = """
select count(*) from (
    select
        count(*) as rows_n, count(distinct service) as services_n,
        count(distinct need_n) as bases_n,
        min(served_n) as least_n, max(served_n - need_n) as more_n,
        max(served_n) filter (service = 'asn_support')
        + max(served_n) filter (service = 'social_work')
        - max(served_n) filter (service = 'both')
        - max(served_n) filter (service = 'any_service') as any_error,
        max(need_n) - max(served_n) filter (service = 'any_service')
        - max(served_n) filter (service = 'none') as none_error,
    from {reach}
    group by engagement, need, need_level, breakdown, "group"
)
where rows_n <> 6 or services_n <> 6 or bases_n <> 1 or least_n < 0 or more_n > 0
or any_error <> 0 or none_error <> 0
"""

_ROW = """
create or replace temp table sdc_reach_row as
select
    engagement, survey, need, breakdown, "group", need_level,
    any_value(need_n) as need_n,
    max(served_n) filter (service = 'asn_support') as asn_n,
    max(served_n) filter (service = 'social_work') as social_n,
    max(served_n) filter (service = 'both') as both_n,
    max(served_n) filter (service = 'none') as none_n,
    max(served_n) filter (service = 'any_asn') as any_asn_n,
    bool_or(service = 'asn_support' and observed_pct is not null) as has_asn,
    bool_or(service = 'social_work' and observed_pct is not null) as has_social,
from {reach}
group by all
"""

# Which sets of services a block passes, and the best of them; 0 if none.
_BLOCK = """
create or replace temp table sdc_reach_block as
with judged as (
    select
        engagement, survey, need, breakdown,
        bool_or(has_asn) as has_asn,
        bool_or(has_social) as has_social,
        [{passes}] as judgements,
        bool_and(need_n >= {base} and any_asn_n >= {k} and need_n - any_asn_n >= {k})
            as passes_any_asn,
        bool_and(any_asn_n - asn_n >= {k}) as passes_rest_of_asn,
    from sdc_reach_row
    group by all
)
select
    * exclude (judgements, has_asn, has_social, passes_any_asn),
    list_transform(
        judgements, lambda passes, number: passes
        and (has_asn or number = {without_asn}) and (has_social or number = {without_social})
    ) as passing,
    coalesce(list_position(passing, true), 0) as best_set,
    has_asn and passes_any_asn as passes_any_asn,
from judged
"""

# Where an indicator that counts the same pupils is hidden, or is not there to be looked at.
_LINKED = """
create or replace temp table sdc_reach_linked as
with wanted as (
    select
        audiences.audience, blocks.engagement, blocks.survey, blocks.need, needs.indicator,
        unnest([blocks.breakdown, 'asn']) as breakdown,
        blocks.breakdown as of_breakdown,
    from sdc_reach_block as blocks
    inner join sdc_reach_need as needs using (need)
    inner join (select unnest(?::varchar[]) as audience) as audiences
        on audiences.audience = 'public' or audiences.audience = 'cpp/' || blocks.engagement
),
found as (
    select wanted.*, count(cells.status) as cells_n, count_if(cells.status = 'c') as hidden_n,
    from wanted
    left join {estimates} as cells
        -- What a CPP does not see of itself, the public does not see.
        on
            cells.audience in (wanted.audience, 'cpp/' || wanted.engagement)
            and cells.geography_level = 'cpp'
            and cells.engagement = wanted.engagement
            and cells.survey = wanted.survey
            and cells.indicator = wanted.indicator
            and cells.breakdown = wanted.breakdown
    group by all
)
select
    audience, engagement, need, of_breakdown as breakdown,
    bool_and(cells_n > 0 and hidden_n = 0) filter (breakdown = of_breakdown) as is_open,
    bool_and(cells_n > 0 and hidden_n = 0) filter (breakdown = 'asn') as is_asn_open,
from found
group by all
"""

# Groups add up to the total: they show what it shows, or nothing.
_STATUS = """
create or replace temp table sdc_reach_shown as
with own as (
    select blocks.*, linked.audience, linked.is_open, linked.is_asn_open,
    from sdc_reach_block as blocks
    inner join sdc_reach_linked as linked using (engagement, need, breakdown)
),
chosen as (
    select
        own.*,
        if(
            own.is_open and total.is_open and coalesce(own.passing[total.best_set], false),
            total.best_set,
            0
        ) as shown_set,
    from own
    inner join own as total
        on total.audience = own.audience and total.engagement = own.engagement
        and total.need = own.need and total.breakdown = 'total'
),
beside as (
    select
        *,
        is_open and is_asn_open and passes_any_asn
        and (passes_rest_of_asn or shown_set not in ({sets_with_asn})) as shows_any_asn,
    from chosen
)
select
    beside.audience, beside.engagement, beside.need, beside.breakdown, beside.shown_set,
    beside.shows_any_asn and total.shows_any_asn as shows_any_asn,
from beside
inner join beside as total
    on total.audience = beside.audience and total.engagement = beside.engagement
    and total.need = beside.need and total.breakdown = 'total'
"""

_SHOWN = """
with sets as (select unnest({sets}, max_depth := 2)),
judged as (
    select
        shown.audience,
        reach.*,
        if(
            reach.service = 'any_asn',
            shown.shows_any_asn,
            sets.service is not null
        ) as is_shown,
        rcs_round(reach.need_n, {n_step}) as n,
        rcs_round(reach.observed_pct, {pct_step}) as pct,
        n / greatest(rcs_round(reach.design_effect, 0.1), 0.1) as effective_n,
        -- Of those with support: what the row itself says, or for `none` all others.
        if(reach.service = 'none', 100 - pct, pct) as supported_pct,
        least(100, supported_pct / nullif(reach.sensitivity, 0)) as true_pct,
        least(
            100,
            supported_pct + greatest(
                100 * (1 - coalesce(reach.sensitivity, 0)),
                case
                    when reach.service = 'social_work' then 0
                    when reach.unknown_n < {k} then 100 * {k} / reach.need_n
                    else reach.unknown_pct
                end
            )
        ) as most_pct,
    from {reach} as reach
    inner join sdc_reach_shown as shown using (engagement, need, breakdown)
    left join sets on sets.shown_set = shown.shown_set and sets.service = reach.service
),
ranged as (
    select
        *,
        rcs_round(rcs_wilson(pct, effective_n, -1), {interval_step}) as low,
        rcs_round(rcs_wilson(pct, effective_n, 1), {interval_step}) as high,
        rcs_round(if(service = 'none', 100 - true_pct, true_pct), {pct_step}) as corrected,
        if(service = 'none', rcs_round_down(100 - most_pct, {pct_step}), pct) as least_true,
        if(service = 'none', pct, rcs_round_up(most_pct, {pct_step})) as most_true,
        case
            when observed_pct is null and need_n > 0 then 'x'
            when not is_shown or need_n = 0 then 'c'
            when not has_headline or n < {n_below} or high - low > {wide} then 'u'
            else 'published'
        end as status,
        status in ('published', 'u') as is_open,
    from judged
)
select
    audience,
    engagement,
    breakdown,
    "group",
    need,
    need_level,
    service,
    if(is_open, n, null)::decimal(9, 0) as n,
    if(is_open, pct, null)::decimal(7, 1) as observed_pct,
    if(is_open, low, null)::decimal(7, 1) as ci_low,
    if(is_open, high, null)::decimal(7, 1) as ci_high,
    if(is_open, corrected, null)::decimal(7, 1) as corrected_pct,
    if(is_open, least_true, null)::decimal(7, 1) as bound_low,
    if(is_open, most_true, null)::decimal(7, 1) as bound_high,
    status,
from ranged
order by all
"""


def protect_reach(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    audiences: Sequence[str],
    needs: Mapping[str, Sequence[str]],
    *,
    reach: str = "services.reach",
    estimates: str = "disclosure.estimates",
) -> pa.Table:
    """Protect need × reach for each audience.

    Args:
        con: a connection that sees the relations; temporary tables `sdc_reach_*` are made.
        policy: its block reach (policy.md, Table A) and what is unreliable.
        audiences: `public` (all engagements) and `cpp/<engagement>` (its own).
        needs: need → indicators that count the same pupils.
        reach: relation in the columns of services.reach, unrounded.
        estimates: the protected estimates: an indicator that is hidden there hides its need.

    Returns:
        `audience` and the columns of `reach` in interfaces.md, every row of `reach` for each
        audience that may know its engagement. `status` is `u` also where links are too poor
        for a sentence on unmet need. Ordered by audience and row.

    Raises:
        InputError: counts that do not fit one another; nothing is protected then.
    """
    register_rounding(con)
    if con.execute(_PROBLEM.format(reach=reach)).fetchall()[0][0]:
        raise InputError(
            "A row of need × reach has counts that do not fit one another",
            where=reach,
            why="any = one + other - both, none = n - any: protection follows these sums",
            fix="correct room services; nothing is protected until then",
        )
    pairs = [(need, name) for need, names in needs.items() for name in names]
    con.register(
        "reach_needs",
        pa.table(
            {
                "need": pa.array([need for need, _ in pairs], pa.string()),
                "indicator": pa.array([name for _, name in pairs], pa.string()),
            }
        ),
    )
    con.execute("create or replace temp table sdc_reach_need as from reach_needs")
    con.unregister("reach_needs")
    con.execute(_ROW.format(reach=reach))
    con.execute(_block_sql(policy))
    con.execute(_LINKED.format(estimates=estimates), [list(audiences)])
    con.execute(_status_sql())
    shown = con.execute(_shown_sql(policy, reach)).to_arrow_table()
    for name in ("need", "row", "block", "linked", "shown"):
        con.execute(f"drop table if exists temp.sdc_reach_{name}")
    return shown


def _k(policy: Policy) -> int:
    """Least pupils in a part: each is numerator of one service and complement of another."""
    return max(policy.reach.numerator, policy.reach.complement)


def _block_sql(policy: Policy) -> str:
    k, base = _k(policy), policy.reach.base
    passes = (f"bool_and(need_n >= {base} and {least} >= {k})" for _, least in _SETS)
    return _BLOCK.format(
        base=base,
        k=k,
        passes=", ".join(passes),
        without_asn=_WITHOUT_ASN,
        without_social=_WITHOUT_SOCIAL,
    )


def _status_sql() -> str:
    with_asn = [number for number, (set_, _) in enumerate(_SETS, start=1) if "asn_support" in set_]
    return _STATUS.format(sets_with_asn=", ".join(map(str, with_asn)))


def _shown_sql(policy: Policy, reach: str) -> str:
    rule = policy.reach
    sets = [
        {"shown_set": number, "service": service}
        for number, (services, _) in enumerate(_SETS, start=1)
        for service in services
    ]
    return _SHOWN.format(
        reach=reach,
        sets=sets,
        k=_k(policy),
        n_step=rule.n_step,
        pct_step=rule.pct_step,
        interval_step=rule.interval_step,
        n_below=policy.unreliable_n_below,
        wide=policy.unreliable_interval_wider_than,
    )
