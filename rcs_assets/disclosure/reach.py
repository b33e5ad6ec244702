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

from rcs_assets.disclosure.beside import PUBLIC
from rcs_assets.disclosure.held import NO_HOLDS, Holds, is_held, is_known
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
        max(served_n) filter (service = 'any_asn')
        - max(served_n) filter (service = 'asn_support') as without_support_n,
    from {reach}
    group by engagement, need, need_level, breakdown, "group"
)
where rows_n <> 6 or services_n <> 6 or bases_n <> 1 or least_n < 0 or more_n > 0
or any_error <> 0 or none_error <> 0 or without_support_n < 0
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

# Which sets of services a block passes.
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

# What releases before forbid of a block, and told. What a CPP may not see, the public may not; what
# the public knows, a CPP knows.
_BEFORE = """
create or replace temp table sdc_reach_before as
with cells as (
    select
        linked.audience, reach.*, 'cpp/' || reach.engagement as own,
        {is_held} or (linked.audience = '{public}' and {is_held_inside}) as is_held,
        {is_known} or {is_known_to_all} as is_known,
    from {reach} as reach
    inner join sdc_reach_linked as linked using (engagement, need, breakdown)
)
select
    audience, engagement, need, breakdown,
    coalesce(list(distinct service) filter (is_held), []) as held,
    coalesce(list(distinct service) filter (is_known), []) as known,
from cells
group by all
"""

# Of each block and set of services: whether it tells no small part, with what is known of the
# block already, and whether nothing of it is held.
_OPEN = """
create or replace temp table sdc_reach_open as
with sets as (from (values {sets}) as t(number, services)),
own as (
    select
        *,
        list_filter(known, lambda service: service <> 'any_asn') as known_parts,
        list_contains(known, 'any_asn') as knows_any_asn,
    from sdc_reach_block
    inner join sdc_reach_linked using (engagement, need, breakdown)
    inner join sdc_reach_before using (audience, engagement, need, breakdown)
)
select
    own.*, sets.number,
    -- All is told that the smallest set holds which has both.
    bool_or(
        passing[wider.number]
        and list_has_all(wider.services, list_concat(sets.services, known_parts))
        and (
            passes_rest_of_asn
            or not (knows_any_asn and list_contains(sets.services, 'asn_support'))
        )
    ) as tells_no_small_part,
    not list_has_any(sets.services, held) as is_free,
from own
cross join sets
cross join sets as wider
group by all
"""

# Groups add up to the total: they show what it shows, or nothing. Groups that are known are taken
# off it: it shows nothing of which they leave a small part.
_STATUS = """
create or replace temp table sdc_reach_shown as
with best as (
    select audience, engagement, need, min(number) as best_set,
    from (
        select
            audience, engagement, need, number,
            bool_and(tells_no_small_part)
                filter (breakdown = 'total' or len(known_parts) > 0 or knows_any_asn)
            and bool_and(is_free and is_open) filter (breakdown = 'total') as is_safe,
        from sdc_reach_open
        group by all
    )
    where is_safe
    group by all
),
chosen as (
    select
        own.* exclude (number, tells_no_small_part, is_free),
        coalesce(max(best_set) filter (
            number = best_set and is_open and is_free and tells_no_small_part
        ), 0) as shown_set,
    from sdc_reach_open as own
    left join best using (audience, engagement, need)
    group by all
),
beside as (
    select
        *,
        passes_rest_of_asn
        or not (shown_set in ({sets_with_asn}) or list_contains(known, 'asn_support'))
            as passes_asn_beside,
        is_open and is_asn_open and passes_any_asn and passes_asn_beside
        and not list_contains(held, 'any_asn') as shows_any_asn,
    from chosen
),
totals as (
    select
        audience, engagement, need,
        bool_and(shows_any_asn) filter (breakdown = 'total')
        and bool_and(passes_any_asn and passes_asn_beside) filter (
            breakdown = 'total' or knows_any_asn
        ) as shows_any_asn,
    from beside
    group by all
)
select
    beside.audience, beside.engagement, beside.need, beside.breakdown, beside.shown_set,
    beside.shows_any_asn and totals.shows_any_asn as shows_any_asn,
from beside
inner join totals using (audience, engagement, need)
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
    holds: Holds = NO_HOLDS,
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
        holds: rows that releases before forbid, or told.
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
    holds.register(con)
    if con.execute(_PROBLEM.format(reach=reach)).fetchall()[0][0]:
        raise InputError(
            "A row of need × reach has counts that do not fit one another",
            where=reach,
            why="any = one + other - both, none = n - any, and whoever has a support for learning "
            "on record has a need on record: protection follows these sums",
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
    for sql in _shown_sets(reach):
        con.execute(sql)
    shown = con.execute(_shown_sql(policy, reach)).to_arrow_table()
    for name in ("need", "row", "block", "linked", "before", "open", "shown"):
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


def _shown_sets(reach: str) -> tuple[str, ...]:
    """Which set of services each block shows to whom, in steps."""
    before = _BEFORE.format(
        reach=reach,
        public=PUBLIC,
        is_held=is_held("reach", "linked.audience"),
        is_held_inside=is_held("reach", "'cpp/' || reach.engagement"),
        is_known=is_known("reach", "linked.audience"),
        is_known_to_all=is_known("reach", f"'{PUBLIC}'"),
    )
    sets = ", ".join(f"({number}, {list(set_)})" for number, (set_, _) in enumerate(_SETS, start=1))
    with_asn = [number for number, (set_, _) in enumerate(_SETS, start=1) if "asn_support" in set_]
    status = _STATUS.format(sets_with_asn=", ".join(map(str, with_asn)))
    return before, _OPEN.format(sets=sets), status


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
