"""Protects estimates for each audience by Table A of policy.md.

Belongs here: which cells are small, which breakdowns are hidden with them, in which
tables, and what a hidden cell may say. Does not belong here: the numbers of the policy
(`data/policy.yaml`), rounding of what is shown (`rounding.py`), Dagster.

Until secondary suppression follows, a breakdown with one hidden group is hidden whole, in
every table that holds it. A *block* is one breakdown of one indicator in one geography.
The hidden set is closed under four rules, so that no sum of shown cells gives a hidden one:

1. a block with a small cell is hidden; so is the same block of every linked indicator;
2. what a CPP's own package hides, the public package hides;
3. a hidden total hides every breakdown of its geography;
4. a hidden block of a CPP is hidden for its tranche and for all, of a tranche for all.

Two quantities are no cells, yet can be subtracted. The pupils whose group is not known
(total less groups) must be as uncertain as a hidden cell: `_RESIDUAL` shows two tables that
would be released alike, one with nobody there, one with `k`. Hidden groups have the public
roll as their upper limit: `_BOUND_CHECK` finds those for which total less rolls says too
much; it takes shown cells as known exactly, so it errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.policy import CellRule, Policy
from rcs_assets.disclosure.rounding import SHOWN_SQL, register_rounding
from rcs_assets.errors import InputError

UNKNOWN_LIMIT = 1e12  # stands for "no public roll"; sums of it stay exact in a DOUBLE

_CELL_KEY = 'survey, indicator, unit, breakdown, "group"'

_INPUT = """
create or replace temp table sdc_input as
select
    -- Who was not asked, or is not on the roll, has no base.
    e.* replace (if(r.status in ('x', 'z'), coalesce(e.base_n, 0), e.base_n) as base_n),
    case e.geography_level
        when 'cpp' then e.engagement when 'tranche' then e.tranche else 'all'
    end as unit,
    coalesce(e.numerator_n, 0) as y_n,
    if(e.statistic = 'pct', coalesce(e.base_n, 0) - y_n, 0) as c_n,
    i.is_sensitive,
    -- A group that has answers is never "not asked" or "not on the roll".
    if(r.status in ('x', 'z') and coalesce(e.base_n, 0) = 0, r.status, null) as empty_status,
from {estimates} as e
left join {indicators} as i on i.indicator = e.indicator
left join sdc_reason as r on r.reason = e.reason
"""

_PROBLEMS = (
    (
        "An indicator has no disclosure class",
        "the codebook says whether it is sensitive",
        "select indicator as place from sdc_input where is_sensitive is null",
    ),
    (
        "A breakdown is not in the policy",
        "policy.yaml, breakdowns: what is not listed has no rule",
        "select breakdown as place from sdc_input "
        "where breakdown not in (select breakdown from sdc_breakdown)",
    ),
    (
        "A reason for an empty cell is not in the policy",
        "policy.yaml, empty_reasons",
        "select indicator || ' ' || unit as place from sdc_input "
        "where reason <> '' and reason not in (select reason from sdc_reason)",
    ),
    (
        "A count is missing or impossible",
        "0 <= numerator <= base, and a percentage with a base has a numerator",
        "select indicator || ' ' || unit || ' ' || breakdown as place from sdc_input "
        "where base_n is null or base_n < 0 or y_n < 0 or c_n < 0 "
        "or (statistic = 'pct' and base_n > 0 and (numerator_n is null or estimate is null)) "
        "or (statistic = 'mean' and numerator_n is not null)",
    ),
    (
        "A cell stands twice",
        "one row a survey, geography, breakdown, group and indicator",
        "select any_value(indicator || ' ' || unit || ' ' || breakdown) as place from sdc_input "
        f"group by {_CELL_KEY} having count(*) > 1",
    ),
    (
        "A breakdown has no total, or its groups are more than its total",
        "protection needs the total that the groups are subtracted from",
        "select indicator || ' ' || unit || ' ' || breakdown as place from sdc_block "
        "where residual_n is null or residual_n < 0 or residual_y < 0 or residual_c < 0",
    ),
    (
        "The CPPs do not add up to their tranche or to all",
        "protection follows who is counted where",
        """
        select u.indicator || ' ' || u.unit || ' ' || u.breakdown as place
        from sdc_input as u
        inner join sdc_input as c
            on c.geography_level = 'cpp' and c.survey = u.survey
            and c.indicator = u.indicator and c.breakdown = u.breakdown and c."group" = u."group"
            and (u.unit = 'all' or c.tranche = u.tranche)
        where u.geography_level <> 'cpp'
        group by u.indicator, u.unit, u.breakdown, u."group", u.survey, u.base_n, u.y_n
        having sum(c.base_n) <> u.base_n or sum(c.y_n) <> u.y_n
        """,
    ),
)

_BLOCK = """
create or replace temp table sdc_block as
with sums as (
    select
        survey, indicator, geography_level, tranche, unit, breakdown,
        sum(base_n) as n, sum(y_n) as y, sum(c_n) as c,
    from sdc_input
    group by all
)
select
    s.survey, s.indicator, s.geography_level, s.tranche, s.unit, s.breakdown,
    t.n - s.n as residual_n, t.y - s.y as residual_y, t.c - s.c as residual_c,
from sums as s
left join sums as t
    on t.survey = s.survey and t.indicator = s.indicator and t.unit = s.unit
    and t.breakdown = 'total'
"""

_UNIT = """
create or replace temp table sdc_parent as
select distinct unit as child, tranche as parent from sdc_input where geography_level = 'cpp'
union
select distinct unit, 'all' from sdc_input where geography_level <> 'all'
"""

_CELL = """
create or replace temp table sdc_cell as
select
    r.audience,
    r.k_base, r.k_numerator, r.k_complement,
    r.pct_step, r.mean_step, r.interval_step, r.n_step,
    e.*,
    e.base_n < r.k_base as is_small_base,
    e.statistic = 'pct' and e.y_n < r.k_numerator as is_small_numerator,
    e.statistic = 'pct' and e.c_n < r.k_complement as is_small_complement,
    e.empty_status is null
    and (is_small_base or is_small_numerator or is_small_complement) as is_primary,
from sdc_input as e
inner join sdc_rule as r
    on r.is_sensitive = e.is_sensitive
    and list_contains(r.geography_levels, e.geography_level)
    and (r.engagement is null or r.engagement = e.unit)
"""

_PRIMARY = """
create or replace temp table sdc_hidden as
select audience, survey, indicator, unit, breakdown from sdc_cell where is_primary
union
-- What a linked sum leaves over, itself shown nowhere, is got by subtraction: it is a cell too.
select p.audience, p.survey, p.indicator, p.unit, p.breakdown
from sdc_cell as p
inner join sdc_sum as s on s.parent = p.indicator
inner join sdc_cell as c
    on c.indicator = s.part and c.audience = p.audience and c.survey = p.survey
    and c.unit = p.unit and c.breakdown = p.breakdown and c."group" = p."group"
where p.statistic = 'pct' and p.empty_status is null
group by
    p.audience, p.survey, p.indicator, p.unit, p.breakdown, p."group", p.y_n, p.k_numerator
having p.y_n - sum(c.y_n) < p.k_numerator
"""

_CLOSURE = """
create or replace temp table sdc_hidden as
with linked as (
    select h.audience, h.survey, coalesce(l.other, h.indicator) as indicator, h.unit, h.breakdown
    from sdc_hidden as h
    left join sdc_linked as l on l.indicator = h.indicator
),
to_public as (
    select * from linked
    union
    select 'public', survey, indicator, unit, breakdown from linked
),
totals as (
    select * from to_public where breakdown = 'total'
    union
    select h.audience, h.survey, h.indicator, p.parent, h.breakdown
    from to_public as h inner join sdc_parent as p on p.child = h.unit
    where h.breakdown = 'total'
),
own as (
    select * from to_public
    union
    select t.audience, t.survey, t.indicator, t.unit, b.breakdown
    from totals as t cross join sdc_breakdown as b
),
everywhere as (
    select * from own
    union
    select h.audience, h.survey, h.indicator, p.parent, h.breakdown
    from own as h inner join sdc_parent as p on p.child = h.unit
)
select e.* from everywhere as e
semi join sdc_cell as c
    on c.audience = e.audience and c.survey = e.survey and c.indicator = e.indicator
    and c.unit = e.unit and c.breakdown = e.breakdown
"""

# How far a group's numerator may move, with its base fixed, while its shown percentage stays
# and the cell stays above its k: in every geography that holds the pupils and shows the block.
_ROOM = """
create or replace temp table sdc_room as
with shown as (
    select
        c.audience, c.survey, c.indicator, c.unit, c.breakdown, c."group",
        c.base_n, c.y_n, c.c_n, c.k_numerator, c.k_complement,
        rcs_round(c.estimate, c.pct_step) + c.pct_step / 2 - c.estimate as above_pct,
        c.estimate - rcs_round(c.estimate, c.pct_step) + c.pct_step / 2 as below_pct,
    from sdc_cell as c
    anti join sdc_hidden as h
        on h.audience = c.audience and h.survey = c.survey and h.indicator = c.indicator
        and h.unit = c.unit and h.breakdown = c.breakdown
    where c.statistic = 'pct' and c.empty_status is null
),
room as (
    select
        *,
        least(greatest(above_pct, 0) / 100 * base_n, c_n - k_complement) as up_room,
        least(greatest(below_pct, 0) / 100 * base_n, y_n - k_numerator) as down_room,
    from shown
),
family as (
    select child as unit, parent as relative from sdc_parent
    union all
    select distinct unit, unit from sdc_input
)
select
    c.audience, c.survey, c.indicator, c.unit, c.breakdown, c."group",
    min(r.up_room) as up_room, min(r.down_room) as down_room,
from sdc_cell as c
inner join family as f on f.unit = c.unit
inner join room as r
    on r.survey = c.survey and r.indicator = c.indicator and r.breakdown = c.breakdown
    and r."group" = c."group" and r.unit = f.relative
    and r.audience in (c.audience, 'public')
where c.empty_status is null
group by all
"""

_RESIDUAL = """
insert into sdc_hidden
with room as (
    select
        audience, survey, indicator, unit, breakdown,
        sum(up_room) as up_room, sum(down_room) as down_room,
    from sdc_room
    group by all
),
block as (
    select distinct
        c.audience, c.k_base, c.k_numerator, c.k_complement, c.statistic, b.*,
        coalesce(r.up_room, 0) as up_room, coalesce(r.down_room, 0) as down_room,
    from sdc_block as b
    inner join sdc_cell as c
        on c.survey = b.survey and c.indicator = b.indicator and c.unit = b.unit
        and c.breakdown = b.breakdown
    left join room as r
        on r.audience = c.audience and r.survey = b.survey and r.indicator = b.indicator
        and r.unit = b.unit and r.breakdown = b.breakdown
    where b.residual_n > 0
)
select audience, survey, indicator, unit, breakdown
from block
where
    residual_n < k_base
    or (statistic = 'pct' and residual_y < k_numerator and (
        geography_level <> 'cpp'
        or up_room < residual_y or residual_y + down_room < k_numerator
    ))
    or (statistic = 'pct' and residual_c < k_complement and (
        geography_level <> 'cpp'
        or down_room < residual_c or residual_c + up_room < k_complement
    ))
"""

# What an attacker knows of each hidden cell before he adds and subtracts: the public roll
# (a group without one has at most the roll of its total), and what the notes say (those of
# the audience and the public ones).
_BOUND = """
create or replace temp table sdc_bound as
with note as (
    select
        c.audience, c.survey, c.indicator, c.unit, c.breakdown, c."group",
        max(n.k_base) as low_n,
        min(n.k_numerator - 1) filter (where n.note = 'low') as high_y,
        min(n.k_complement - 1) filter (where n.note = 'high') as high_c,
        max(n.k_base - n.k_complement + 1) filter (where n.note = 'high') as low_y,
        max(n.k_base - n.k_numerator + 1) filter (where n.note = 'low') as low_c,
    from sdc_cell as c
    inner join sdc_note as n
        on n.survey = c.survey and n.indicator = c.indicator and n.unit = c.unit
        and n.breakdown = c.breakdown and n."group" = c."group"
        and n.audience in (c.audience, 'public')
    group by all
)
select
    c.audience, c.survey, c.indicator, c.unit, c.breakdown, c."group", c.statistic,
    c.k_base, c.k_numerator, c.k_complement, c.base_n, c.y_n, c.c_n, c.empty_status,
    case
        when c.empty_status is not null then 0
        else coalesce(c.roll_n, t.roll_n, {unknown})
    end as high_n,
    coalesce(n.low_n, 0) as low_n,
    coalesce(n.low_y, 0) as low_y, coalesce(n.low_c, 0) as low_c,
    least(high_n, coalesce(n.high_y, {unknown})) as high_y,
    least(high_n, coalesce(n.high_c, {unknown})) as high_c,
    n.high_y is not null as is_low, n.high_c is not null as is_high,
from sdc_cell as c
semi join sdc_hidden as h
    on h.audience = c.audience and h.survey = c.survey and h.indicator = c.indicator
    and h.unit = c.unit and h.breakdown = c.breakdown
inner join sdc_input as t
    on t.survey = c.survey and t.indicator = c.indicator and t.unit = c.unit
    and t.breakdown = 'total'
left join note as n
    on n.audience = c.audience and n.survey = c.survey and n.indicator = c.indicator
    and n.unit = c.unit and n.breakdown = c.breakdown and n."group" = c."group"
"""

# What he knows of the total of a geography: all, if it is shown; else what its own note and
# the notes of its groups add up to (from above only where nobody's group is unknown).
_TOTAL_BOUND = """
create or replace temp table sdc_total as
with summed as (
    select
        b.audience, b.survey, b.indicator, b.unit, b.breakdown,
        sum(b.low_n) as low_n, sum(b.low_y) as low_y, sum(b.low_c) as low_c,
        if(any_value(r.residual_n) = 0, sum(b.high_n), {unknown}) as high_n,
        if(any_value(r.residual_n) = 0, sum(b.high_y), {unknown}) as high_y,
        if(any_value(r.residual_n) = 0, sum(b.high_c), {unknown}) as high_c,
    from sdc_bound as b
    inner join sdc_block as r
        on r.survey = b.survey and r.indicator = b.indicator and r.unit = b.unit
        and r.breakdown = b.breakdown
    group by all
),
hidden as (
    select
        audience, survey, indicator, unit,
        max(low_n) as low_n, max(low_y) as low_y, max(low_c) as low_c,
        min(high_n) as high_n, min(high_y) as high_y, min(high_c) as high_c,
    from summed
    group by all
)
select
    c.audience, c.survey, c.indicator, c.unit, h.unit is null as is_shown,
    coalesce(t.low_n, c.base_n) as low_n, coalesce(t.low_y, c.y_n) as low_y,
    coalesce(t.low_c, c.c_n) as low_c, coalesce(t.high_n, c.base_n) as high_n,
    coalesce(t.high_y, c.y_n) as high_y, coalesce(t.high_c, c.c_n) as high_c,
from sdc_cell as c
left join sdc_hidden as h
    on h.audience = c.audience and h.survey = c.survey and h.indicator = c.indicator
    and h.unit = c.unit and h.breakdown = 'total'
left join hidden as t
    on h.unit is not null
    and t.audience = c.audience and t.survey = c.survey and t.indicator = c.indicator
    and t.unit = c.unit
where c.breakdown = 'total'
"""

# Blocks in which the total, less what the other groups can be at most (at least), says more
# of a small cell than policy.md, "Safe", allows.
_BOUND_CHECK = """
create or replace temp table sdc_unsafe as
with derived as (
    select
        b.*,
        t.is_shown,
        t.low_n - r.residual_n - sum(b.high_n) over block + b.high_n as from_n,
        t.low_y - r.residual_y - sum(b.high_y) over block + b.high_y as from_y,
        t.low_c - r.residual_c - sum(b.high_c) over block + b.high_c as from_c,
        t.high_n - sum(b.low_n) over block + b.low_n as to_n,
        t.high_y - sum(b.low_y) over block + b.low_y as to_y,
        t.high_c - sum(b.low_c) over block + b.low_c as to_c,
    from sdc_bound as b
    inner join sdc_total as t
        on t.audience = b.audience and t.survey = b.survey and t.indicator = b.indicator
        and t.unit = b.unit
    inner join sdc_block as r
        on r.survey = b.survey and r.indicator = b.indicator and r.unit = b.unit
        and r.breakdown = b.breakdown
    window block as (
        partition by b.audience, b.survey, b.indicator, b.unit, b.breakdown
    )
)
select distinct audience, survey, indicator, unit, breakdown, is_shown
from derived
where empty_status is null and (
    (base_n < k_base and (from_n > 1 or to_n < least(k_base, high_n)))
    or (statistic = 'pct' and y_n < k_numerator and (
        from_y > if(is_low, 0, 1)
        or to_y < least(k_numerator - if(is_low, 1, 0), high_n)
        or (is_low and low_n - to_c > 0)
    ))
    or (statistic = 'pct' and c_n < k_complement and (
        from_c > if(is_high, 0, 1)
        or to_c < least(k_complement - if(is_high, 1, 0), high_n)
        or (is_high and low_n - to_y > 0)
    ))
)
"""

_HIDE_UNSAFE_TOTALS = """
insert into sdc_hidden
select distinct audience, survey, indicator, unit, 'total' from sdc_unsafe
"""

_NO_NOTES = """
create or replace temp table sdc_note as
select *, '' as note from sdc_cell limit 0
"""

# Only a cell that is small in its own right, whose base passes, carries a note; in a linked
# set none does, since `low` of one indicator would bound the others.
_NOTES = """
insert into sdc_note
select c.*, if(c.is_small_numerator, 'low', 'high')
from sdc_cell as c
where
    c.is_primary and not c.is_small_base
    and c.indicator not in (select indicator from sdc_linked)
    and (c.audience = 'public') = {is_public}
"""

_DROP_UNSAFE_NOTES = """
delete from sdc_note as n
using sdc_unsafe as u
where
    n.audience = u.audience and n.survey = u.survey and n.indicator = u.indicator
    and n.unit = u.unit and (n.breakdown = u.breakdown or not u.is_shown)
"""

# `low` on a cell says `below k` of all that it holds: a hidden part without the note would
# then be known below its k; and who sees his own part, or its total, in his own package
# would know the rest.
_DROP_OUTER_NOTES = """
delete from sdc_note as n
using (
    select distinct o.audience, o.survey, o.indicator, o.unit, o.breakdown, o."group"
    from sdc_note as o
    inner join sdc_cell as p
        on p.survey = o.survey and p.indicator = o.indicator
        and (o.breakdown = 'total' or (p.breakdown = o.breakdown and p."group" = o."group"))
    left join sdc_parent as u on u.child = p.unit and u.parent = o.unit
    left join sdc_note as q
        on q.audience = p.audience and q.survey = p.survey and q.indicator = p.indicator
        and q.unit = p.unit and q.breakdown = p.breakdown and q."group" = p."group"
    left join sdc_hidden as h
        on h.audience = p.audience and h.survey = p.survey and h.indicator = p.indicator
        and h.unit = p.unit and h.breakdown = 'total'
    where p.empty_status is null and (
        (p.audience = o.audience and q.unit is null and (p.unit = o.unit or u.parent is not null))
        or (
            p.audience <> 'public' and h.unit is null and u.parent is not null
            and p.breakdown = o.breakdown and p."group" = o."group" and p.base_n < o.base_n
        )
    )
) as d
where
    n.audience = d.audience and n.survey = d.survey and n.indicator = d.indicator
    and n.unit = d.unit and n.breakdown = d.breakdown and n."group" = d."group"
"""


def protect_estimates(
    con: duckdb.DuckDBPyConnection,
    estimates: str,
    indicators: str,
    policy: Policy,
    audiences: Sequence[str],
    *,
    geographies: str,
) -> pa.Table:
    """Protect estimates for each audience.

    Args:
        con: a connection that sees the three relations; temporary tables `sdc_*` are made.
        estimates: relation in the columns of `wellbeing.estimates`: one row a survey,
            geography, breakdown, group and indicator; counts of pupils, `estimate` in per
            cent or score points, unrounded.
        indicators: relation `indicator, is_sensitive`.
        policy: thresholds and steps (Table A of policy.md).
        audiences: `public` first, then `cpp/<engagement>`.
        geographies: relation `geography_level, geography_code, geography_name`.

    Returns:
        `audience`, the columns of `estimates` in interfaces.md (`release` null until it is
        packaged) and `status_inside` (published, primary, secondary, not_applicable or
        not_available), which never leaves the warehouse; ordered by audience and cell.

    Raises:
        InputError: cells missing, twice, impossible or not adding up; nothing is protected
            then, since protection follows who is counted where.
        ConfigurationError: an audience that the policy does not know.
    """
    register_rounding(con)
    _register_policy(con, policy, audiences)
    con.execute(_INPUT.format(estimates=estimates, indicators=indicators))
    con.execute(_BLOCK)
    _refuse_bad_input(con)
    con.execute(_UNIT)
    con.execute(_CELL)
    _hide(con)
    _note(con)
    con.execute(
        "create or replace temp table sdc_setting as select ?::int as n_below, ?::double as wide",
        [policy.unreliable_n_below, policy.unreliable_interval_wider_than],
    )
    protected = con.execute(SHOWN_SQL.format(geographies=geographies)).to_arrow_table()
    for name in _TEMPORARY:
        con.execute(f"drop table if exists {name}")
    return protected


_TEMPORARY = tuple(
    f"temp.sdc_{name}"
    for name in (
        "rule",
        "reason",
        "breakdown",
        "linked",
        "sum",
        "input",
        "block",
        "parent",
        "cell",
        "hidden",
        "room",
        "bound",
        "total",
        "unsafe",
        "note",
        "setting",
    )
)


def _hide(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `sdc_hidden`. More hidden blocks never make a passed test fail, so one round does."""
    con.execute(_PRIMARY)
    con.execute(_CLOSURE)
    con.execute(_ROOM)
    con.execute(_RESIDUAL)
    con.execute(_CLOSURE)
    con.execute(_NO_NOTES)
    _find_unsafe(con)
    con.execute(_HIDE_UNSAFE_TOTALS)
    con.execute(_CLOSURE)


def _note(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `sdc_note`: the public notes first, since the holder of a package reads both."""
    for is_public in (True, False):
        con.execute(_NOTES.format(is_public=is_public))
        _find_unsafe(con)
        con.execute(_DROP_UNSAFE_NOTES)
        con.execute(_DROP_OUTER_NOTES)


def _find_unsafe(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(_BOUND.format(unknown=UNKNOWN_LIMIT))
    con.execute(_TOTAL_BOUND.format(unknown=UNKNOWN_LIMIT))
    con.execute(_BOUND_CHECK)


def _register_policy(
    con: duckdb.DuckDBPyConnection, policy: Policy, audiences: Sequence[str]
) -> None:
    """The policy as temporary tables, so that the rules are joins."""
    _table(
        con,
        "sdc_rule",
        "audience varchar, engagement varchar, geography_levels varchar[], is_sensitive boolean, "
        "k_base int, k_numerator int, k_complement int, "
        "pct_step double, mean_step double, interval_step double, n_step double",
        [row for audience in audiences for row in _rule_rows(policy, audience, (False, True))],
    )
    _table(con, "sdc_reason", "reason varchar, status varchar", policy.empty_reasons.items())
    _table(con, "sdc_breakdown", "breakdown varchar", [(name,) for name in policy.breakdowns])
    pairs = [
        (one, other)
        for linked in policy.linked_indicators
        for one in linked.indicators
        for other in linked.indicators
    ]
    _table(con, "sdc_linked", "indicator varchar, other varchar", pairs)
    sums = [
        (linked.indicators[0], part)
        for linked in policy.linked_indicators
        if linked.kind == "sum"
        for part in linked.indicators[1:]
    ]
    _table(con, "sdc_sum", "parent varchar, part varchar", sums)


def _rule_rows(
    policy: Policy, audience: str, kinds: Iterable[bool]
) -> Iterable[tuple[object, ...]]:
    entry = policy.audience(audience)
    engagement = audience.partition("/")[2] or None
    for is_sensitive in kinds:
        rule: CellRule = policy.rule_for(entry.output_class, is_sensitive=is_sensitive)
        yield (
            audience,
            engagement,
            list(entry.geography_levels),
            is_sensitive,
            rule.base,
            rule.numerator,
            rule.complement,
            rule.pct_step,
            rule.mean_step,
            rule.interval_step,
            rule.n_step,
        )


def _table(
    con: duckdb.DuckDBPyConnection,
    name: str,
    columns: str,
    rows: Iterable[Sequence[object]],
) -> None:
    con.execute(f"create or replace temp table {name} ({columns})")
    values = [list(row) for row in rows]
    if values:
        marks = ", ".join("?" for _ in values[0])
        con.executemany(f"insert into {name} values ({marks})", values)


def _refuse_bad_input(con: duckdb.DuckDBPyConnection) -> None:
    for what, why, sql in _PROBLEMS:
        found = con.execute(f"select min(place), count(*) from ({sql})").fetchall()[0]
        if found[1]:
            raise InputError(
                what,
                where=f"estimates, {found[0]} (and {found[1] - 1} more)",
                why=why,
                fix="correct the estimates or the policy; nothing is protected until then",
            )
