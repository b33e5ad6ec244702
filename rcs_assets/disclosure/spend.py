"""Protects spend on children: the rule for few providers.

Belongs here: which cells of spend tell too much of one provider, and which others are hidden
so that they cannot be worked out. Does not belong here: the numbers of the rule
(`data/policy.yaml`, block spend), the linear programs of an attacker (`spend_audit.py`).

A *holding* is one provider's money in a cell; departments of one public body are one. What is
protected are *closed* holdings: of a provider whose accounts are not public, or of a service
that is commercial in confidence. Other money is open: it needs no protection of its own, but
blurs what is beside it. A cell without closed holdings is shown. Those with one are judged by
policy.md, Table A: at least 3 holdings (where a closed provider is among them), p per cent and
(n, k) dominance. Hidden with the unsafe cells are, until no attacker learns too much:

1. in a sum of which one cell with money is hidden, one more;
2. cells near one that an attacker could still work out too closely, by linear programs over
   all sums at once.

Hidden first is what costs least: a part rather than a total, few pounds rather than many. What
releases before forbid (`held.py`) is hidden like an unsafe cell, of which nobody may work out what
changed; to hide what they told and nobody has changed since would keep it from nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.beside import BESIDE, PUBLIC
from rcs_assets.disclosure.held import NO_HOLDS, Holds, is_known
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.service_rules import SPEND_COLUMNS, SpendRule
from rcs_assets.disclosure.spend_audit import SUMS_SQL, unsafe_spend
from rcs_assets.errors import InputError

TOTAL = "all"
_KEY = ", ".join(SPEND_COLUMNS)

_HOLDING = """
create or replace temp table sdc_spend_part as
select
    engagement, {key}, provider_name as provider,
    gbp::decimal(18, 6) as gbp,
    children_n::decimal(18, 6) as children_n,
    not list_contains(?::varchar[], provider_type) as is_closed_provider,
    is_closed_provider or is_confidential as is_closed,
    -- Who acts as one; and which part of its money is protected.
    if(is_closed_provider, provider, provider_type) as body,
from {spend}
"""

_PROBLEM = """
select count(*) from sdc_spend_part
where gbp is null or gbp < 0 or children_n < 0 or provider is null or is_closed is null
or sector = 'all' or tier = 'all' or age_band = 'all' or funding_origin = 'all' or domain = 'all'
"""

_HOLDINGS = """
create or replace temp table sdc_spend_holding as
with spread as ({subsets})
select engagement, {key}, body, is_closed, is_closed_provider, sum(gbp) as gbp
from spread
where gbp > 0
group by all
"""

_CELL = """
create or replace temp table sdc_spend_cell as
with grid as ({grid}),
spread as ({subsets}),
sums as (
    select
        engagement, {key},
        sum(gbp) as gbp,
        if(count(children_n) = count(*), sum(children_n), null) as children_n,
    from spread
    group by all
),
holdings as (
    select
        engagement, {key},
        count(distinct body) as holdings_n,
        bool_or(is_closed_provider) as has_closed_provider,
        coalesce(list(gbp order by gbp desc) filter (is_closed), []) as largest,
    from sdc_spend_holding
    group by all
)
select
    row_number() over (order by engagement, {key}) as cell_id,
    grid.*,
    {totals_n} as totals_n,
    coalesce(sums.gbp, 0) as gbp,
    if(sums.gbp is null, 0, sums.children_n) as children_n,
    coalesce(holdings.largest[1], 0) as first_gbp,
    coalesce(holdings.largest[2], 0) as second_gbp,
    coalesce(list_sum(holdings.largest[:{dominance_holdings}]), 0) as top_gbp,
    coalesce(
        (has_closed_provider and holdings_n < {least_holdings})
        or sums.gbp - first_gbp - second_gbp < {p_pct} / 100 * first_gbp
        or top_gbp > {dominance_pct} / 100 * sums.gbp,
        false
    ) as is_primary,
    held.row_key is not null as is_held,
    coalesce(held.closed_gbp, 0) as moved_gbp,
    {is_known} as is_known,
from grid
left join sums using (engagement, {key})
left join holdings using (engagement, {key})
left join sdc_held as held
    on held.audience = '{public}' and held.line_key = {line_key} and held.row_key = {row_key}
"""

# One more cell an engagement: of the sums with just one hidden cell, the cell that stands in
# most of them, is a part, holds as much as what is protected, and costs few pounds.
_HIDE_PARTNER = """
insert into sdc_spend_hidden
with members as (
    select sums.sum_id, cells.*, hidden.cell_id is not null and not is_known as is_hidden,
    from sdc_spend_sum as sums
    inner join sdc_spend_cell as cells using (cell_id)
    left join sdc_spend_hidden as hidden using (cell_id)
    where cells.gbp > 0
),
lonely as (
    select sum_id, max(greatest(first_gbp, moved_gbp)) filter (is_hidden) as need_gbp,
    from members
    group by sum_id
    having count_if(is_hidden) = 1
),
candidates as (
    select
        engagement, cell_id, totals_n, -count(*) as lonely_n, any_value(gbp) as gbp,
        any_value(gbp) < max(need_gbp) as is_little,
    from members
    inner join lonely using (sum_id)
    where not is_hidden and not is_known
    group by all
)
select arg_min(cell_id, (lonely_n, totals_n, is_little, gbp, cell_id))
from candidates
group by engagement
"""

# One more cell an engagement: the cheapest that shares a sum with a cell that is not safe;
# if all of those are hidden, with any hidden cell.
_HIDE_NEAR = """
insert into sdc_spend_hidden
with places as (
    select cell_id, 0 as distance from sdc_spend_unsafe
    union all
    select hidden.cell_id, 1
    from sdc_spend_hidden as hidden
    inner join sdc_spend_cell as cells using (cell_id)
    where cells.engagement in (
        select engagement from sdc_spend_unsafe inner join sdc_spend_cell using (cell_id)
    )
),
near as (
    select cells.*, places.distance
    from places
    inner join sdc_spend_sum as own using (cell_id)
    inner join sdc_spend_sum as others using (sum_id)
    inner join sdc_spend_cell as cells on others.cell_id = cells.cell_id
    anti join sdc_spend_hidden as hidden on others.cell_id = hidden.cell_id
    where cells.gbp > 0 and not cells.is_known
)
select arg_min(cell_id, (distance, totals_n, gbp < need_gbp, gbp, cell_id))
from near
inner join (
    select engagement, max(greatest(first_gbp, moved_gbp)) as need_gbp
    from sdc_spend_unsafe
    inner join sdc_spend_cell using (cell_id)
    group by engagement
) as needs using (engagement)
group by engagement
"""

_TOTALS_N = " + ".join(f"(grid.{column} = '{TOTAL}')::int" for column in SPEND_COLUMNS)

# Parts of a service's money have six decimals: their sum must not fall short of a half, which is
# rounded up.
_WHOLE = "round({}, 4)::double"
_SHOWN = f"""
select
    audiences.audience,
    cells.engagement,
    {_KEY},
    if(hidden.cell_id is null, rcs_round({_WHOLE.format("cells.gbp")}, {{gbp_step}}), null)
        ::decimal(15, 0) as gbp,
    if(hidden.cell_id is null, rcs_round({_WHOLE.format("cells.children_n")}, {{n_step}}), null)
        ::decimal(9, 0) as children_n,
    if(hidden.cell_id is null, 'published', 'c') as status,
from sdc_spend_cell as cells
left join sdc_spend_hidden as hidden using (cell_id)
inner join (select unnest(?::varchar[]) as audience) as audiences
    on audiences.audience = 'public' or audiences.audience = 'cpp/' || cells.engagement
order by all
"""


def protect_spend(
    con: duckdb.DuckDBPyConnection,
    policy: Policy,
    audiences: Sequence[str],
    holds: Holds = NO_HOLDS,
    *,
    spend: str = "services.spend",
) -> pa.Table:
    """Protect spend for each audience; what is hidden is the same in all of them.

    Args:
        con: a connection that sees `spend`; temporary tables `sdc_spend_*` are made.
        policy: its block spend (policy.md, Table A).
        audiences: `public` (all engagements) and `cpp/<engagement>` (its own).
        holds: rows that releases before forbid, or told.
        spend: relation in the columns of services.spend, pounds unrounded.

    Returns:
        `audience` and the columns of `spend` in interfaces.md, one row a cell of the policy's
        tables; `all` stands for a column's total; a sum without any service is 0. Ordered by
        audience and cell.

    Raises:
        InputError: a cost is missing or negative, or a column holds the word for its total.
    """
    rule = policy.spend
    register_rounding(con)
    holds.register(con)
    con.execute(_HOLDING.format(key=_KEY, spend=spend), [list(rule.open_provider_types)])
    if con.execute(_PROBLEM).fetchall()[0][0]:
        raise InputError(
            "A row of spend has no usable cost, provider or group",
            where=spend,
            why="protection follows who spends how much, and `all` names totals",
            fix="correct the service map; nothing is protected until then",
        )
    _make_cells(con, rule)
    _hide(con, rule)
    shown = con.execute(
        _SHOWN.format(gbp_step=rule.gbp_step, n_step=rule.n_step), [list(audiences)]
    ).to_arrow_table()
    for name in ("part", "holding", "cell", "sum", "hidden", "open", "unsafe"):
        con.execute(f"drop table if exists temp.sdc_spend_{name}")
    return shown


def _make_cells(con: duckdb.DuckDBPyConnection, rule: SpendRule) -> None:
    """The cells of the policy's tables with their closed holdings, and the sums among them."""
    subsets = " union all ".join(_subset_sql(columns) for columns in _subsets(rule))
    grid = " union ".join(_grid_sql(columns) for columns in _subsets(rule))
    line_key, row_key = BESIDE["spend"].keys
    con.execute(_HOLDINGS.format(key=_KEY, subsets=subsets))
    con.execute(
        _CELL.format(
            key=_KEY,
            subsets=subsets,
            grid=grid,
            totals_n=_TOTALS_N,
            dominance_holdings=rule.dominance_holdings,
            least_holdings=rule.least_holdings,
            p_pct=rule.p_pct,
            dominance_pct=rule.dominance_pct,
            public=PUBLIC,
            line_key=line_key,
            row_key=row_key,
            is_known=is_known("spend", f"'{PUBLIC}'"),
        )
    )
    con.execute(
        "create or replace temp table sdc_spend_sum as " + SUMS_SQL.format(cells="sdc_spend_cell")
    )


def _subsets(rule: SpendRule) -> list[tuple[str, ...]]:
    """Every set of columns that some table is broken down by, each once, smallest first."""
    found = {
        tuple(c for c in SPEND_COLUMNS if c in chosen)
        for table in rule.tables
        for size in range(len(table) + 1)
        for chosen in combinations(table, size)
    }
    return sorted(found, key=lambda columns: (len(columns), columns))


def _subset_sql(columns: Sequence[str]) -> str:
    named = ", ".join(c if c in columns else f"'{TOTAL}' as {c}" for c in SPEND_COLUMNS)
    measures = "body, gbp, children_n, is_closed, is_closed_provider"
    return f"select engagement, {named}, {measures} from sdc_spend_part"


def _grid_sql(columns: Sequence[str]) -> str:
    """Every combination of the groups of an engagement, also those without a service."""
    named = ", ".join(c if c in columns else f"'{TOTAL}' as {c}" for c in SPEND_COLUMNS)
    groups = " ".join(
        f"inner join (select distinct engagement, {c} from sdc_spend_part) using (engagement)"
        for c in columns
    )
    engagements = "(select distinct engagement from sdc_spend_part) as engagements"
    return f"select engagement, {named} from {engagements} {groups}"


def _hide(con: duckdb.DuckDBPyConnection, rule: SpendRule) -> None:
    """Fill `sdc_spend_hidden`; each round hides at least one more cell, so it ends."""
    con.execute(
        "create or replace temp table sdc_spend_hidden as "
        "select cell_id from sdc_spend_cell where is_primary or is_held"
    )
    # An outsider's programs are few: what he works out, providers would too.
    for outsider_only in (True, False):
        con.execute(
            "create or replace temp table sdc_spend_open as "
            "select distinct engagement from sdc_spend_cell where is_primary or is_held"
        )
        while _hide_more(con, rule, outsider_only=outsider_only):
            pass


def _hide_more(con: duckdb.DuckDBPyConnection, rule: SpendRule, *, outsider_only: bool) -> int:
    """One round: partners, the audit, then a cell near each engagement's unsafe ones."""
    while _inserted(con, _HIDE_PARTNER):
        pass
    found = unsafe_spend(
        con, _released(rule), "sdc_spend_holding", rule, outsider_only=outsider_only
    )
    con.register("unsafe_spend", found)
    con.execute("create or replace temp table sdc_spend_unsafe as from unsafe_spend")
    con.unregister("unsafe_spend")
    # Engagements share no sum: what is safe stays safe.
    con.execute(
        "create or replace temp table sdc_spend_open as select distinct engagement "
        "from sdc_spend_unsafe inner join sdc_spend_cell using (cell_id)"
    )
    return _inserted(con, _HIDE_NEAR)


def _released(rule: SpendRule) -> str:
    """The cells as they would be released, with the truth beside them."""
    return f"""(
        select
            cells.*,
            if(
                hidden.cell_id is null or cells.is_known,
                rcs_round({_WHOLE.format("cells.gbp")}, {rule.gbp_step}),
                null
            ) as shown_gbp,
            cells.is_known as is_told,
        from sdc_spend_cell as cells
        left join sdc_spend_hidden as hidden using (cell_id)
        where cells.engagement in (from sdc_spend_open)
    )"""


def _inserted(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int(con.execute(sql).fetchall()[0][0])
