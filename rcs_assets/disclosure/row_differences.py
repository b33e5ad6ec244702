"""Finished packages beside those of each release before: whose change do their rows tell?

Belongs here: the gate's own comparison of a candidate with every earlier release, of the tables
beside the estimates, row by row, from the files that readers get; what the gate's attack on spend
may use of them. Does not belong here: holding rows back (`held.py`, of which nothing is used; both
read by `beside.py`), the estimates (`differences.py`).

policy.md, How protection is judged, Change between releases; Table A, row spend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.beside import (
    BESIDE,
    POUNDS,
    PUBLIC,
    TABLES,
    change_rules,
    counts_sql,
    proven_from,
    read_then,
)
from rcs_assets.disclosure.policy import Policy

# No release has this name: the warehouse as it stands.
_NOW = "now"
_ADDS_UP = tuple(table.name for table in TABLES if table.adds_up)
_DERIVED = tuple(table.name for table in TABLES if table.is_derived)
_CELL = "table_name, line_key, row_key"
_COUNTS = """
create or replace temp table sdc_pair as
with before as (select * exclude (n), n as old_n from sdc_count_then where release <> $now),
now as (
    select kept.release, c.* exclude (release)
    from sdc_count_then as c
    cross join (select distinct release from before) as kept
    where c.release = $now
)
select release, table_name, line_key, row_key, unit, part,
    coalesce(n, 0) as now_n, coalesce(old_n, 0) as then_n,
from before full join now using (release, table_name, line_key, row_key, unit, part)
"""
# Pupils and children: at least so many have changed. Money: who holds what changed, largest first.
_CHANGES = f"""
create or replace temp table sdc_changes_of_rows as
with heads as (
    select release, {_CELL}, ceil(max(abs(now_n - then_n)) - 1e-6)::integer as heads_n,
    from sdc_pair where unit <> '{POUNDS}' group by all
),
owners as (
    select
        release, {_CELL},
        -- One provider, whether or not a part of its money is confidential.
        if(list_contains($open::varchar[], named[2]), '', named[1]) as closed_owner,
        closed_owner <> '' or named[3] = 'true' as is_secret,
        if(closed_owner <> '', closed_owner, named[2]) as owner,
        sum(now_n - then_n) as gbp,
    from (select *, string_split(part, '|') as named from sdc_pair where unit = '{POUNDS}')
    group by all
),
ranked as (
    select
        *, abs(gbp) as moved,
        row_number() over (partition by release, {_CELL}, is_secret order by moved desc) as place,
    from owners where abs(gbp) > 0.005
),
money as (
    select
        release, {_CELL}, count(distinct owner) as owners_n, sum(moved) as all_gbp,
        bool_or(closed_owner <> '') as has_closed,
        coalesce(max(moved) filter (is_secret and place = 1), 0) as largest,
        coalesce(sum(moved) filter (is_secret and place <= 2), 0) as two_largest,
        coalesce(sum(moved) filter (is_secret and place <= $top_n), 0) as top_gbp,
        largest > 0 and (
            (has_closed and owners_n < $holdings)
            or all_gbp - two_largest < $p_pct / 100 * largest
            or top_gbp > $top_pct / 100 * all_gbp
        ) as is_one_owners,
    from ranked group by all
)
select
    release, {_CELL},
    coalesce(heads_n, 0) = 0 and all_gbp is null as is_same,
    coalesce(heads_n between 1 and $least - 1, false) or coalesce(is_one_owners, false)
        as is_little,
from heads full join money using (release, {_CELL})
"""
# In a line of which the rows are figures of the same pupils the largest change is that of each row.
_JUDGED = f"""
create or replace temp table sdc_judged_rows as
with lines as (
    select
        release, table_name, line_key, bool_or(not is_same) as is_stirred,
        bool_or(not is_same and not is_little) as has_much,
    from sdc_changes_of_rows group by all
),
kept as (select distinct release from sdc_changes_of_rows),
shown as (
    select * exclude (release) from sdc_row_then where release = $now and is_shown
),
told as (
    select distinct audience, {_CELL}, true as is_told
    from sdc_row_then inner join sdc_changes_of_rows using (release, {_CELL})
    where is_shown and is_same
)
select
    release, audience, {_CELL},
    list_contains($adds_up::varchar[], table_name) as adds_up,
    not list_contains($derived::varchar[], table_name) and coalesce(t.is_hidden, false)
        as was_hidden,
    coalesce(t.is_shown, false) as was_shown,
    was_shown and t.figures is distinct from shown.figures as says_other,
    coalesce(has_counts, false) as has_counts,
    case
        when adds_up then coalesce(c.is_little, false)
        else not coalesce(lines.has_much, false)
    end as is_little,
    adds_up or coalesce(lines.is_stirred, false) as is_changed,
    adds_up and coalesce(c.is_same or c.is_little, false) and coalesce(lines.is_stirred, false)
    and not coalesce(is_told, false) as is_of_then,
    list_max(list_transform(
        generate_series(1, len(shown.people)), lambda i: abs(shown.people[i] - t.people[i])
    )) as people_n,
from shown
cross join (select unnest($before::varchar[]) as release) as releases
left join sdc_row_then as t using (release, audience, {_CELL})
left join (select release, true as has_counts from kept) using (release)
left join sdc_changes_of_rows as c using (release, {_CELL})
left join lines using (release, table_name, line_key)
left join told using (audience, {_CELL})
"""
# Sums of money that a reader still knows.
_MONEY_KNOWN = f"""
select line_key, row_key, max(figures[1]::double) as told_gbp
from sdc_row_then
inner join sdc_changes_of_rows using (release, {_CELL})
where is_shown and is_same and audience = '{PUBLIC}'
group by all
order by all
"""
_UNSAFE = f"""
select release, audience, {_CELL} from sdc_judged_rows
where case
    when not has_counts
        then was_hidden
        or says_other
        and (table_name = 'spend' or coalesce(people_n, 0) < $proven_from)
    else
        (is_little and (says_other or (was_hidden and is_changed)))
        or (is_of_then and not was_shown)
end
union
-- Nobody knows whose figures these are. A sum of money without any is 0.
select 'no counts' as release, audience, {_CELL}
from sdc_row_then
anti join (from sdc_count_then where release = $now) using ({_CELL})
where release = $now and is_shown and table_name <> 'spend'
order by all
"""


@dataclass(frozen=True)
class RowDifferences:
    """How many rows were compared, and those that tell too much: they stay with the operator."""

    compared_n: int
    places: tuple[str, ...]


def money_known(
    con: duckdb.DuckDBPyConnection, earlier: Sequence[Path], policy: Policy
) -> pa.Table:
    """Sums of money that releases before told, and of which nothing has changed since.

    Args:
        con: a connection that sees the warehouse as it is now; temporary tables `sdc_*` are made.
        earlier: folders of all releases before; of those without counts nothing is known.
        policy: contributors that a change needs; the rule for few providers.

    Returns:
        `line_key`, `row_key` (as `beside.py` names rows) and `told_gbp`.

    Raises:
        StorageError: a release before cannot be read.
    """
    tables = [BESIDE["spend"]]
    read_then(con, earlier, tables)
    con.execute(
        "insert into sdc_count_then by name "
        f"select '{_NOW}' as release, * from ({counts_sql(tables)})"
    )
    con.execute(_COUNTS, {"now": _NOW})
    con.execute(_CHANGES, change_rules(policy))
    found = con.execute(_MONEY_KNOWN).to_arrow_table()
    _drop(con, "changes_of_rows", "pair", "row_then", "count_then")
    return found


def find_row_differences(
    con: duckdb.DuckDBPyConnection, candidate: Path, earlier: Sequence[Path], policy: Policy
) -> RowDifferences:
    """Compare the tables beside the estimates of a candidate with each release before.

    Args:
        con: any connection; temporary tables `sdc_*` are made.
        candidate: folder of the packages that are to be published.
        earlier: folders of all releases before.
        policy: contributors that a change needs; the rule for few providers.

    Raises:
        StorageError: a table that a package or a release says it has cannot be read.
    """
    read_then(con, [candidate, *earlier])
    now = candidate.name
    con.execute(_COUNTS, {"now": now})
    con.execute(_CHANGES, change_rules(policy))
    con.execute(
        _JUDGED,
        {
            "now": now,
            "before": [folder.name for folder in earlier],
            "adds_up": list(_ADDS_UP),
            "derived": list(_DERIVED),
        },
    )
    compared = con.execute("select count(*) from sdc_judged_rows").fetchall()[0][0]
    found = con.execute(_UNSAFE, {"now": now, "proven_from": proven_from(policy)}).fetchall()
    _drop(con, "judged_rows", "changes_of_rows", "pair", "row_then", "count_then")
    return RowDifferences(int(compared), tuple(" ".join(row) for row in found))


def _drop(con: duckdb.DuckDBPyConnection, *names: str) -> None:
    for name in names:
        con.execute(f"drop table sdc_{name}")
