"""Rows of the tables beside the estimates that a release before forbids, and that it told already.

Belongs here: how much of a row's contributors changed since each release before, and protecting a
table again and again until no row that it shows tells of 1-9. Does not belong here: what is read
(`beside.py`), how a table hides what is held (its own module), the gate's judgement
(`row_differences.py`), the estimates (`earlier.py`), whose two rules these are:

- Contributors of a row changed, fewer than ten, and it would say something else than it did, or was
  hidden then: it is hidden (policy.md: keep the old value or suppress both).
- A row was not shown then, (nearly) nothing of it changed but something of its line did: it stays
  hidden, since it would be a figure of then and tell what was hidden beside it.

What was shown and has not changed is known to every reader. Of a sum of money contributors are
those who hold it: what changed is judged as if it were a sum itself (policy.md, Table A, row
spend), and open money needs no protection. Of a release that kept no counts the least is feared:
any figure that moved was moved by few, unless shown numbers of pupils prove ten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.beside import (
    BESIDE,
    POUNDS,
    PUBLIC,
    change_rules,
    counts_sql,
    proven_from,
    read_then,
    said_sql,
)
from rcs_assets.disclosure.policy import Policy

_ROW = ("audience", "line_key", "row_key")
_KNOWN_SCHEMA = pa.schema([(name, pa.string()) for name in _ROW])
_HELD_SCHEMA = _KNOWN_SCHEMA.append(pa.field("closed_gbp", pa.float64()))
NONE, FEW, MANY = 0, 1, 2
_KEY = "table_name, line_key, row_key"

# How much of each row changed since each release that kept its counts. Bodies are those of
# `spend.py`: open money of one type is one body's.
_CHANGED = f"""
create or replace temp table sdc_row_changed as
with now as (
    select sdc_count_now.*, release
    from sdc_count_now cross join (select distinct release from sdc_count_then)
),
pairs as (
    select
        release, {_KEY}, unit, part, coalesce(now.n, 0) - coalesce(then_.n, 0) as change,
        split_part(part, '|', 2) as kind,
        not list_contains($open::varchar[], kind) as is_closed_provider,
        is_closed_provider or split_part(part, '|', 3) = 'true' as is_closed,
        if(is_closed_provider, split_part(part, '|', 1), kind) as body,
    from now
    full join sdc_count_then as then_ using (release, {_KEY}, unit, part)
),
people as (
    select release, {_KEY}, max(ceil(abs(change) - 1e-6)) as changed_n,
    from pairs where unit <> '{POUNDS}' group by all
),
holdings as (
    select
        release, {_KEY}, body, is_closed, bool_or(is_closed_provider) as is_closed_provider,
        abs(sum(change)) as gbp,
    from pairs where unit = '{POUNDS}' group by all having abs(sum(change)) > 0.005
),
money as (
    select
        release, {_KEY}, sum(gbp) as gbp, count(distinct body) as holdings_n,
        bool_or(is_closed_provider) as has_closed_provider,
        coalesce(list(gbp order by gbp desc) filter (is_closed), []) as largest,
        coalesce(largest[1], 0) as first_gbp, coalesce(largest[2], 0) as second_gbp,
    from holdings group by all
),
each as (
    select
        release, {_KEY}, first_gbp,
        case
            when changed_n between 1 and $least - 1
                or (has_closed_provider and holdings_n < $holdings)
                or gbp - first_gbp - second_gbp < $p_pct / 100 * first_gbp
                or list_sum(largest[:$top_n]) > $top_pct / 100 * gbp
                then {FEW}
            when changed_n >= $least or gbp is not null then {MANY}
            else {NONE}
        end as own,
        max(own) over (partition by release, table_name, line_key) as of_line,
    from people full join money using (release, {_KEY})
)
select
    release, {_KEY}, if(adds_up, own, of_line) as changed, of_line > {NONE} as is_astir,
    coalesce(first_gbp, 0) as closed_gbp,
from each inner join sdc_beside using (table_name)
"""
_KNOWN = f"""
create or replace temp table sdc_row_known as
select distinct audience, {_KEY}
from sdc_row_then
semi join (from sdc_row_changed where changed = {NONE}) using (release, {_KEY})
where is_shown
"""
# What is shown now and one of the two rules forbids.
_TOLD = f"""
with pairs as (
    select
        now.audience, {_KEY}, adds_up, changed, is_astir, coalesce(closed_gbp, 0) as closed_gbp,
        coalesce(has_counts, false) as has_counts,
        coalesce(then_.is_shown, false) as was_shown,
        coalesce(then_.is_hidden, false) and not is_derived as was_hidden,
        was_shown and now.figures is distinct from then_.figures as is_moved,
        known.row_key is not null as is_known,
        list_max(list_transform(list_zip(now.people, then_.people), lambda n: abs(n[1] - n[2])))
        >= $proven_from and table_name <> 'spend' as is_proven,
    from (select * exclude (release) from sdc_row_now) as now
    inner join sdc_beside using (table_name)
    cross join (select unnest($releases::varchar[]) as release) as releases
    left join sdc_row_then as then_ using (release, audience, {_KEY})
    left join sdc_row_changed using (release, {_KEY})
    left join sdc_row_known as known using (audience, {_KEY})
    left join (select distinct release, true as has_counts from sdc_count_then) using (release)
    where now.is_shown
)
select audience, {_KEY}, max(closed_gbp) as closed_gbp
from pairs
where case
    when not has_counts then was_hidden or (is_moved and not coalesce(is_proven, false))
    else
        ((was_hidden or is_moved) and changed = {FEW})
        or (is_moved and not adds_up and coalesce(changed, {NONE}) = {NONE})
        or (adds_up and not was_shown and changed <> {MANY} and is_astir and not is_known)
end
group by all
"""


@dataclass(frozen=True)
class Holds:
    """Rows of a table (audience, line_key, row_key) that may not be shown, or are known already.

    `held` has `closed_gbp` too, the largest protected holding that changed (0 where none did).
    """

    held: pa.Table = field(default_factory=_HELD_SCHEMA.empty_table)
    known: pa.Table = field(default_factory=_KNOWN_SCHEMA.empty_table)

    def register(self, con: duckdb.DuckDBPyConnection) -> None:
        """Make the temporary tables `sdc_held` and `sdc_known`."""
        for name, rows in (("sdc_held", self.held), ("sdc_known", self.known)):
            con.register("hold_rows", rows)
            con.execute(f"create or replace temp table {name} as from hold_rows")
            con.unregister("hold_rows")


NO_HOLDS = Holds()


def is_held(name: str, audience: str = "audience") -> str:
    """SQL whether a row of a table is held, where `Holds.register` was called.

    Args:
        name: of the table, whose naming columns are in reach.
        audience: SQL of the package.
    """
    return _is_among("sdc_held", name, audience)


def is_known(name: str, audience: str = "audience") -> str:
    """SQL whether a row of a table is known from releases before (as `is_held`)."""
    return _is_among("sdc_known", name, audience)


def _is_among(rows: str, name: str, audience: str) -> str:
    keys = ", ".join(BESIDE[name].keys)
    return f"(({audience}, {keys}) in (select ({', '.join(_ROW)}) from {rows}))"


Protect = Callable[[Mapping[str, Holds]], Mapping[str, pa.Table]]


def protect_beside(
    con: duckdb.DuckDBPyConnection,
    names: Sequence[str],
    protect: Protect,
    earlier: Sequence[Path],
    policy: Policy,
) -> Mapping[str, pa.Table]:
    """Protect tables so that no row of theirs tells what changed since a release before.

    Each round hides what the rows of the last one tell and, by the tables' own rules, what would
    give it back; a row that is held is never shown again, so that it ends.

    Args:
        con: a connection that sees the unprotected tables; temporary tables `sdc_row_*`,
            `sdc_count_*` are made.
        names: of the tables (`beside.TABLES`).
        protect: protects them, given what may not be shown of each and what is known.
        earlier: folders of all releases before.
        policy: contributors that a change needs; the rule for few providers.

    Returns:
        The tables by name.

    Raises:
        StorageError: a release before cannot be read.
    """
    if not earlier:
        return protect({name: Holds() for name in names})
    compare_rows(con, names, earlier, policy)
    while True:
        made = protect({name: _holds(con, name) for name in names})
        if not _hold_more(con, made, earlier, policy):
            return made


def compare_rows(
    con: duckdb.DuckDBPyConnection, names: Sequence[str], earlier: Sequence[Path], policy: Policy
) -> dict[str, Holds]:
    """What is known of some tables from releases before; nothing is held yet.

    Makes `sdc_row_changed`, `sdc_row_known` and, empty, `sdc_row_held`. As `protect_beside`.
    """
    tables = [BESIDE[name] for name in names]
    read_then(con, earlier, tables)
    con.execute(f"create or replace temp table sdc_count_now as {counts_sql(tables)}")
    flags = ", ".join(f"('{t.name}', {t.adds_up}, {t.is_derived})" for t in tables)
    con.execute(
        "create or replace temp table sdc_beside as "
        f"from (values {flags}) as t(table_name, adds_up, is_derived)"
    )
    con.execute(_CHANGED, change_rules(policy))
    con.execute(_KNOWN)
    con.execute(
        "create or replace temp table sdc_row_held as "
        "select *, 0::double as closed_gbp from sdc_row_known limit 0"
    )
    return {name: _holds(con, name) for name in names}


def _holds(con: duckdb.DuckDBPyConnection, name: str) -> Holds:
    held, known = (
        con.execute(
            f"select * exclude (table_name) from {rows} where table_name = ? order by all", [name]
        ).to_arrow_table()
        for rows in ("sdc_row_held", "sdc_row_known")
    )
    return Holds(held, known)


def _hold_more(
    con: duckdb.DuckDBPyConnection,
    made: Mapping[str, pa.Table],
    earlier: Sequence[Path],
    policy: Policy,
) -> int:
    """Note the rows that tell too much and are not held yet; how many."""
    con.execute("create or replace temp table sdc_row_now as from sdc_row_then limit 0")
    for name, rows in made.items():
        table = BESIDE[name]
        con.register("made_rows", rows)
        own = "made_rows"
        audience = "audience" if table.is_per_audience else f"'{PUBLIC}'"
        if not table.is_per_audience and "audience" in rows.column_names:
            own += f" where audience = '{PUBLIC}'"
        said = said_sql(table, own, release="''", audience=audience)
        con.execute(f"insert into sdc_row_now by name {said}")
        con.unregister("made_rows")
    inserted = con.execute(
        f"insert into sdc_row_held by name from ({_TOLD}) "
        f"anti join sdc_row_held using (audience, {_KEY})",
        {
            "releases": [folder.name for folder in earlier],
            "proven_from": proven_from(policy),
        },
    ).fetchall()
    return int(inserted[0][0])
