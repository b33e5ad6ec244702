"""Other ways to protect counts: controlled rounding, midpoint rounding, cell keys.

Belongs here: methods that change every count a little instead of hiding some. Does not
belong here: hiding (`tabular.py`), the rounding of this programme's releases (`rounding.py`).

Which one a table is given is for the data owner to say: rounding keeps totals equal to their
parts (controlled) or is the same for equal counts wherever they stand (midpoint, cell key).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import highspy
import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array, hstack

from rcs_assets.disclosure.given import as_tables, numbers
from rcs_assets.disclosure.lp import System, load
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.disclosure.structure import (
    Cells,
    Structure,
    as_structures,
    read_cells,
)
from rcs_assets.disclosure.tabular import check_whole
from rcs_assets.errors import InputError
from rcs_assets.given import as_arrow

ROUNDED = "rounded"
# ONS's table of perturbations repeats its last 250 rows for counts above its end (3.1.0).
CYCLE, CYCLE_END = 250, 750
CYCLE_FROM = CYCLE_END - CYCLE + 1


def midpoint_rounding(table: Any, *, value: str = "n", base: int = 6) -> pa.Table:
    """Counts as the middle of their group of `base` neighbours; zero stays zero.

    `ceil(x / base) * base - base / 2` (whole part), 0 for 0: OpenSAFELY's midpoint 6,
    unbiased over evenly spread counts. Totals are rounded like parts and need not add up.

    Returns:
        The table with a column `rounded`.

    Raises:
        InputError: base no whole number from 2 on, or a value null, below 0 or not whole.
    """
    _check_base(base)
    given = as_arrow(table, "argument table")
    counts = _counts(given, value)
    rounded = np.where(counts > 0, np.ceil(counts / base) * base - base // 2, 0)
    return _with_rounded(given, rounded)


def controlled_rounding(
    table: Any, structure: Structure | Sequence[Structure], *, base: int = 5
) -> Any:
    """Multiples of `base` that add up, as near to the counts as can be.

    Every cell becomes one of the two multiples around it, a multiple stays; where no such
    table adds up (three dimensions and more), some cells go one multiple further. The sum of
    the distances is the least (integer program, HiGHS).

    Args:
        table: a long table with its totals, or a list of linked tables.
        structure: its structure, or a list of them.
        base: what the published counts are multiples of.

    Returns:
        pyarrow table with a column `rounded`, or a list of them.

    Raises:
        InputError: base is no whole number from 2 on, the table breaks its structure, or nothing
            so near adds up.
    """
    _check_base(base)
    tables = as_tables(table)
    structures = as_structures(structure, len(tables))
    for given, one in zip(tables, structures, strict=True):
        _counts(given, one.value)
    cells = read_cells(tables, structures)
    rounded = _round_together(cells, base, reach=0)
    if rounded is None:
        rounded = _round_together(cells, base, reach=1)
    if rounded is None:
        raise InputError(
            f"No multiples of {base} near the counts add up",
            where="table",
            why="each cell may become one of the four multiples nearest to it",
            fix="round to a smaller base, or round fewer tables together",
        )
    marked = [_with_rounded(t, rounded[r]) for t, r in zip(tables, cells.rows, strict=True)]
    return marked if isinstance(table, (list, tuple)) else marked[0]


def cell_key_table(
    records: Any,
    by: str | Sequence[str],
    perturbations: Any,
    *,
    record_key: str = "record_key",
    threshold: int = 10,
) -> pa.Table:
    """Counts of records with noise that is the same for the same records everywhere.

    The rule of ONS's package cell-key-perturbation 3.1.0: the record keys of a cell, added
    up, modulo the number of keys, give its cell key; `perturbations` says for each count
    (`pcv`, 1 … 750; above that its last 250 rows repeat) and key (`ckey`) what is added
    (`pvalue`). Below the threshold the result is null. An empty combination counts as 0.

    Args:
        records: one row a record (pyarrow, pandas, DuckDB relation) with whole record keys.
        by: columns to count by.
        perturbations: table with the columns `pcv`, `ckey`, `pvalue`.
        record_key: column of the keys.
        threshold: noisy counts below it are null.

    Returns:
        The columns of `by` and `count`, ordered by `by`.

    Raises:
        InputError: a column is missing, one of `by` or the key holds nulls, the keys are no whole
            numbers, or the perturbations lack a count and key that is there.
    """
    names = [by] if isinstance(by, str) else list(by)
    given = as_arrow(records, "argument records")
    noise = as_arrow(perturbations, "argument perturbations")
    _check_records(given, names, record_key)
    _check_noise(noise)
    if threshold != 0:
        check_whole("threshold", threshold)
    with duckdb.connect() as con:
        con.register("records", given)
        con.register("noise", noise)
        con.execute(f"create temp table noisy as {_cell_key_sql(names, record_key)}")
        _refuse_unperturbed(con)
        listed = ", ".join(map(_quoted, names))
        return con.execute(
            f"select {listed}, if(rcs_noisy < ?, null, rcs_noisy)::bigint as count "
            f"from noisy order by {listed}",
            [threshold],
        ).to_arrow_table()


def _check_records(records: pa.Table, by: Sequence[str], record_key: str) -> None:
    if not by or len(set(by)) < len(by) or "count" in by:
        raise InputError(
            "The columns to count by are none, twice the same, or called 'count'",
            where="argument by",
            why="the result has a column for each of them, and 'count'",
            fix="name each column once, under another name",
        )
    for name in [*by, record_key]:
        if name not in records.column_names or records.column(name).null_count:
            raise InputError(
                f"No column '{name}' in the records, or nulls in it",
                where="argument records",
                why="a record without a group or key could not be counted alike everywhere",
                fix="give it a code of its own, or leave the record out",
            )
    keys = numbers(records, record_key)
    if not ((keys >= 0) & (keys % 1 == 0)).all():
        raise InputError(
            f"Column '{record_key}' holds keys that are no whole numbers from 0 on",
            where="argument records",
            why="the keys of a cell, added up, are a row of the table of perturbations",
            fix="give each record a whole number below the number of keys",
        )


def _check_noise(noise: pa.Table) -> None:
    columns = [numbers(noise, name) for name in ("pcv", "ckey", "pvalue")]
    is_whole = all(bool((column % 1 == 0).all()) for column in columns)
    pairs = columns[0] * (columns[1].max(initial=0) + 1) + columns[1]
    if not len(pairs) or not is_whole or len(np.unique(pairs)) < len(pairs):
        raise InputError(
            "The table of perturbations is empty, or says none or several for a count and key",
            where="argument perturbations",
            why="pcv, ckey and pvalue are whole numbers, one row a count and key",
            fix="take the table as it was made, with a row for each count and key",
        )


def _refuse_unperturbed(con: duckdb.DuckDBPyConnection) -> None:
    """Counts without a perturbation would be shown as they are."""
    bare = con.execute("select count(*) from noisy where rcs_noisy is null").fetchall()[0][0]
    if bare:
        raise InputError(
            f"The table of perturbations has no row for {bare} cells",
            where="argument perturbations",
            why="a count without noise would be shown as it is",
            fix=f"give every key of every count up to {CYCLE_END}",
        )


def _cell_key_sql(by: Sequence[str], record_key: str) -> str:
    """Noisy counts, null without a perturbation; every combination of codes has a row."""
    names = [_quoted(name) for name in by]
    codes = [f"(select distinct {name} from records)" for name in names]
    grid = " cross join ".join(codes)
    listed = ", ".join(names)
    return f"""
    with counted as (
        select {listed}, count(*) as rcs_n, sum({_quoted(record_key)}) as rcs_keys
        from records
        group by {listed}
    ),
    whole as (
        select
            {listed},
            coalesce(rcs_n, 0) as rcs_n,
            coalesce(rcs_keys, 0) % (select max(ckey) + 1 from noise) as rcs_key,
        from (select {listed} from {grid})
        left join counted using ({listed})
    )
    select
        {", ".join(f"whole.{name}" for name in names)},
        rcs_n + if(rcs_n = 0, coalesce(noise.pvalue, 0), noise.pvalue) as rcs_noisy,
    from whole
    left join noise
        on noise.ckey = whole.rcs_key
        and noise.pcv = if(rcs_n <= {CYCLE_END}, rcs_n, (rcs_n - 1) % {CYCLE} + {CYCLE_FROM})
    """


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_base(base: int) -> None:
    if isinstance(base, bool) or not isinstance(base, (int, np.integer)) or base < 2:
        raise InputError(
            "A base is a whole number, and below 2 it rounds nothing",
            where="argument base",
            why=f"it is {base!r}",
            fix="give a whole number such as 5",
        )


def _counts(table: pa.Table, name: str) -> FloatArray:
    """Whole numbers of 0 and more."""
    counts = numbers(table, name)
    if not ((counts >= 0) & (counts % 1 == 0)).all():
        raise InputError(
            f"Column '{name}' holds nulls, parts or values below 0",
            where="table",
            why="only counts are rounded in this way",
        )
    return counts


def _with_rounded(table: pa.Table, rounded: FloatArray) -> pa.Table:
    kept = table.drop_columns([ROUNDED]) if ROUNDED in table.column_names else table
    return kept.append_column(ROUNDED, pa.array(rounded.astype(np.int64)))


def _round_together(cells: Cells, base: int, *, reach: int) -> FloatArray | None:
    """The nearest multiples that add up; None if there are none.

    Unknowns: steps up from the multiple below (0 or 1; 0 for a multiple), then, for what
    `reach` allows, further steps down and up.
    """
    floor, rest = np.divmod(cells.value, base)
    n = len(floor)
    none = np.zeros(n)
    matrix, cost = [cells.equations], [base - 2 * rest]
    lower, upper = [none], [(rest > 0).astype(np.float64)]
    if reach:
        far = np.full(n, float(reach))
        matrix += [-cells.equations, cells.equations]
        cost += [np.full(n, 2.0 * base)] * 2
        lower += [none, none]
        upper += [np.minimum(far, floor), far]
    a = csr_array(hstack(matrix))
    need = -np.asarray(cells.equations @ floor)
    highs = load(
        System(
            lower=np.concatenate(lower),
            upper=np.concatenate(upper),
            starts=a.indptr.astype(np.int32),
            index=a.indices.astype(np.int32),
            value=a.data,
            row_lower=need,
            row_upper=need,
        )
    )
    return _whole_steps(highs, np.concatenate(cost), floor, base)


def _whole_steps(
    highs: highspy.Highs, cost: FloatArray, floor: FloatArray, base: int
) -> FloatArray | None:
    """The rounded counts of the cheapest whole steps."""
    columns = np.arange(len(cost), dtype=np.int32)
    highs.setOptionValue("presolve", "choose")
    highs.setOptionValue("solver", "choose")
    highs.changeColsCost(len(cost), columns, cost)
    highs.changeColsIntegrality(
        len(cost), columns, np.full(len(cost), int(highspy.HighsVarType.kInteger), dtype=np.uint8)
    )
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    steps = np.round(np.asarray(highs.getSolution().col_value)).reshape(-1, len(floor))
    moved = steps[0] - (steps[1] - steps[2] if len(steps) > 1 else 0.0)
    return np.asarray(base * (floor + moved))
