"""What an attacker learns of a provider's money from released spend, by linear programs.

Belongs here: the sums that hold among cells, what each attacker knows, and which hidden cells
he could work out too closely. Does not belong here: choosing what to hide (`spend.py`), of
which this knows nothing, and the programs themselves (`lp.py`).

Attackers are an outsider and each closed provider, who knows his own holding in each cell and
where nobody else has any. (Public bodies draw up the service map: nothing is kept from them.)
Unknown is the money in each cell: what is shown fixes it to within half a rounding step, what
is hidden may be anything from the attacker's own holding upwards, and cells add up to their
totals; who works in which cell is known, so a cell without money is known too.

A hidden cell that holds closed money is safe from an attacker if its range reaches p per cent
of the largest closed holding that is not his below and above the true sum and, from an
outsider, as far above as the dominance rule asks (policy.md, Table A). Where it may not be told
what changed since a release before, so must the range for the largest holding that did. What an
attacker knew without the release (his own money, sums that a release before told) is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.lp import Reached, System, Targets, reach, reach_each
from rcs_assets.disclosure.rows import BoolArray, FloatArray
from rcs_assets.disclosure.service_rules import SPEND_COLUMNS, SpendRule

# Pounds in a unit of the programs: solvers like numbers near 1.
UNIT = 1000.0

_SAME = {
    column: " and ".join(
        f"total.{other} = part.{other}" for other in SPEND_COLUMNS if other != column
    )
    for column in SPEND_COLUMNS
}

# One sum a total and column that it is broken down by: the total with its parts.
SUMS_SQL = (
    "with parts as ("
    + " union all ".join(
        f"select total.cell_id as total_id, '{column}' as part_column, part.cell_id "
        "from {cells} as total inner join {cells} as part "
        f"on total.engagement = part.engagement and {_SAME[column]} "
        f"and total.{column} = 'all' and part.{column} <> 'all'"
        for column in SPEND_COLUMNS
    )
    + """),
numbered as (
    select *, dense_rank() over (order by total_id, part_column) as sum_id from parts
)
select sum_id, cell_id, 1 as sign from numbered
union all
select distinct sum_id, total_id, -1 from numbered
"""
)

# What each attacker has in each cell, the largest closed holding that is not his, and
# whether all that is there is his.
_KNOWLEDGE = """
with attackers as (
    select distinct engagement, body from spend_holding where is_closed_provider
    union all
    select distinct engagement, null from spend_holding
)
select
    attackers.engagement,
    coalesce(attackers.body, '') as attacker,
    cells.cell_id,
    coalesce(sum(h.gbp) filter (h.body = attackers.body), 0)::double as own,
    coalesce(
        max(h.gbp) filter (h.is_closed and h.body is distinct from attackers.body), 0
    )::double as largest,
    coalesce(bool_and(h.body = attackers.body), false) as is_sole,
from attackers
inner join spend_cell as cells using (engagement)
inner join spend_holding as h using (cell_id)
where {attackers}
group by all
order by attackers.engagement, attacker, cells.cell_id
"""


def unsafe_spend(
    con: duckdb.DuckDBPyConnection,
    cells: str,
    holdings: str,
    rule: SpendRule,
    *,
    outsider_only: bool = False,
) -> pa.Table:
    """The hidden cells that some attacker works out too closely.

    Args:
        con: a connection that sees the relations; temporary tables `spend_*` are made.
        cells: `cell_id`, `engagement`, the five columns of spend, `gbp`, `top_gbp` (the
            largest few closed holdings together), `moved_gbp` (the largest closed holding that
            changed since a release before, where that is to be hidden, else 0), `shown_gbp` (the
            released figure, null where hidden) and `is_told` (it is from a release before: known
            without this one); pounds.
        holdings: `engagement`, the five columns, `body`, `is_closed`, `is_closed_provider`,
            `gbp`: who has how much in each cell.
        rule: p per cent, dominance and the step of what is shown.
        outsider_only: leave out what providers know of themselves.

    Returns:
        `cell_id` of each unsafe cell, ascending.
    """
    _register(con, cells, holdings)
    attackers = "attackers.body is null" if outsider_only else "true"
    known = con.execute(_KNOWLEDGE.format(attackers=attackers)).to_arrow_table()
    figures = con.execute(
        "select cell_id, engagement, gbp::double as gbp, top_gbp::double as top, "
        "moved_gbp::double as moved, shown_gbp::double as shown, is_told from spend_cell "
        "where gbp > 0 order by engagement, cell_id"
    ).to_arrow_table()
    sums = con.execute(
        "select engagement, sum_id, cell_id, sign from spend_sum inner join spend_cell "
        "using (cell_id) where gbp > 0 order by engagement, sum_id, cell_id"
    ).to_arrow_table()
    jobs = list(_jobs(figures, known, sums, rule))
    found = reach_each([(job.system, job.targets) for job in jobs])
    unsafe = [job.cells[_told_now(job, reached)] for job, reached in zip(jobs, found, strict=True)]
    ids = np.unique(np.concatenate(unsafe)) if unsafe else np.array([], dtype=np.int64)
    return pa.table({"cell_id": pa.array(ids, pa.int64())})


def _register(con: duckdb.DuckDBPyConnection, cells: str, holdings: str) -> None:
    same = " and ".join(f"c.{name} = h.{name}" for name in ("engagement", *SPEND_COLUMNS))
    con.execute(f"create or replace temp table spend_cell as select * from {cells}")
    con.execute(
        "create or replace temp table spend_holding as "
        "select h.engagement, c.cell_id, h.body, h.is_closed, h.is_closed_provider, h.gbp "
        f"from {holdings} as h "
        f"inner join spend_cell as c on {same}"
    )
    con.execute("create or replace temp table spend_sum as " + SUMS_SQL.format(cells="spend_cell"))


@dataclass(frozen=True)
class _Job:
    """One attacker's view of one engagement: the system, and the cells that are asked.

    `before`: the system of who has all but this release.
    """

    system: System
    before: System
    targets: Targets
    cells: FloatArray


def _told_now(job: _Job, found: Reached) -> BoolArray:
    """Targets that are not safe, and of which the attacker knew less without this release."""
    is_unsafe = found.unsafe(job.targets)
    if not is_unsafe.any():
        return is_unsafe
    known = reach(job.before, job.targets)
    least = np.maximum(job.targets.low_ok, known.low)
    most = np.minimum(job.targets.high_ok, known.high)
    adds = (found.low > least + found.slack) | (found.high < most - found.slack)
    return np.asarray(is_unsafe & adds, dtype=bool)


def _jobs(figures: pa.Table, known: pa.Table, sums: pa.Table, rule: SpendRule) -> Iterator[_Job]:
    """A job an engagement and attacker for whom some hidden cell has to be uncertain."""
    where = {name: figures.column(name).to_numpy() for name in figures.column_names}
    knows = {name: known.column(name).to_numpy(zero_copy_only=False) for name in known.column_names}
    adds = {name: sums.column(name).to_numpy(zero_copy_only=False) for name in sums.column_names}
    engagements = np.asarray(where["engagement"].astype(str))
    for engagement in np.unique(engagements):
        own_cells = engagements == engagement
        cells = {name: column[own_cells] for name, column in where.items()}
        own_sums = adds["engagement"].astype(str) == engagement
        matrix = {name: column[own_sums] for name, column in adds.items()}
        here = knows["engagement"].astype(str) == engagement
        for attacker in np.unique(knows["attacker"][here].astype(str)):
            rows = here & (knows["attacker"].astype(str) == attacker)
            mine = {name: column[rows] for name, column in knows.items()}
            job = _job(cells, matrix, mine, rule, is_outsider=not attacker)
            if job is not None:
                yield job


def _job(
    cells: dict[str, FloatArray],
    matrix: dict[str, FloatArray],
    mine: dict[str, FloatArray],
    rule: SpendRule,
    *,
    is_outsider: bool,
) -> _Job | None:
    gbp, shown, own = cells["gbp"], cells["shown"], mine["own"]
    is_hidden = np.isnan(shown)
    need = rule.p_pct / 100 * np.maximum(mine["largest"], cells["moved"])
    if is_outsider:
        need = np.maximum(need, 100 / rule.dominance_pct * cells["top"] - gbp)
    asked = np.flatnonzero(is_hidden & (need > 0))
    if not asked.size:
        return None
    half = rule.gbp_step / 2
    is_sole, is_told = mine["is_sole"].astype(bool), cells["is_told"].astype(bool)

    def known(is_open: BoolArray) -> System:
        lower = np.where(is_open, own, np.maximum(own, shown - half))
        upper = np.where(is_sole, own, np.where(is_open, np.inf, shown + half))
        return _system(cells["cell_id"], matrix, lower, upper)

    return _Job(
        known(is_hidden),
        known(is_hidden | ~is_told),
        Targets(
            starts=np.arange(asked.size + 1, dtype=np.int32),
            index=asked.astype(np.int32),
            value=np.ones(asked.size),
            # Nobody can be asked to think that a sum is below what he has in it himself.
            low_ok=np.maximum(gbp - need, own)[asked] / UNIT,
            high_ok=(gbp + need)[asked] / UNIT,
        ),
        cells["cell_id"][asked],
    )


def _system(
    cell_ids: FloatArray, matrix: dict[str, FloatArray], lower: FloatArray, upper: FloatArray
) -> System:
    """Parts less total is zero, row by row of the ordered list of sums."""
    starts = np.append(np.flatnonzero(np.diff(matrix["sum_id"], prepend=-1)), matrix["sum_id"].size)
    rows_n = starts.size - 1
    return System(
        lower=np.minimum(lower, upper) / UNIT,
        upper=upper / UNIT,
        starts=starts.astype(np.int32),
        index=np.searchsorted(cell_ids, matrix["cell_id"]).astype(np.int32),
        value=matrix["sign"].astype(np.float64),
        row_lower=np.zeros(rows_n),
        row_upper=np.zeros(rows_n),
    )
