"""Are two categories of a survey independent? Rao and Scott (1984) and Wald tests.

Belongs here: tests of a two-way table under the whole design, as R `svychisq`. Does not
belong here: the estimates of its cells (`engine`), covariances (`covariance`).
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats, Measure, fetch_cells
from rcs_assets.estimation.covariance import covariance_of
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.relation import Bounds, open_relation, profile, quote, with_row_units

TESTS: Final = ("F", "Chisq", "Wald")
_MAX_CELLS: Final = 100


def independence_test(
    con: duckdb.DuckDBPyConnection,
    table: str,
    design: Design,
    row: str,
    column: str,
    statistic: str = "F",
) -> pa.Table:
    """Test that the row category says nothing of the column category.

    Args:
        con: any DuckDB connection that can read the table.
        table: name of a table or view, one row a respondent.
        design: how the rows were drawn.
        row: a category.
        column: another; rows with a null in either stay in the design alone.
        statistic: "F" (Rao-Scott, second order), "Chisq" (Pearson's with the first-order
            correction of its p value) or "Wald" (Koch, Freeman and Freeman).

    Returns:
        One row: `statistic`, `value`, `ndf`, `ddf` (null for Chisq), `p_value`, `n`,
        `reason` (empty, "no_data", or "one_level" where a category has one value).

    Raises:
        InputError: unknown columns or statistic; more than 100 cells.
    """
    if statistic not in TESTS:
        raise InputError(
            f"statistic '{statistic}' is not available",
            where="argument statistic",
            fix=f"choose one of {', '.join(TESTS)}",
        )
    relation = open_relation(con, table)
    relation.need(design.columns, "design")
    relation.need([row, column], "categories")
    r, c = quote(row), quote(column)
    levels = [
        [
            str(value[0])
            for value in con.execute(
                f"select distinct {name}::varchar from {relation.sql} "
                f"where {r} is not null and {c} is not null order by all"
            ).fetchall()
        ]
        for name in (r, c)
    ]
    sizes = (len(levels[0]), len(levels[1]))
    if min(sizes) < 2:
        return _result(statistic, None, 0, "no_data" if not min(sizes) else "one_level")
    if sizes[0] * sizes[1] > _MAX_CELLS:
        raise InputError(
            f"The table of {row} and {column} has more than {_MAX_CELLS} cells",
            where=f"table {relation.sql}",
            fix="group the values first",
        )
    base = f"case when {r} is not null and {c} is not null then 1 end"
    # Cells column by column, as R's `interaction`.
    conditions = [
        f"({r}::varchar = {_text(a)} and {c}::varchar = {_text(b)})"
        for b in levels[1]
        for a in levels[0]
    ]
    share = Bounds(0.0, 1.0, is_binary=True)
    measures = [Measure(row, None, base, f"({sql})::int", share) for sql in conditions]
    relation, design = with_row_units(relation, design)
    known = profile(con, relation, design, [])
    cells = fetch_cells(con, relation, design, known, measures, [])
    kind = "total" if statistic == "Wald" else "mean"
    values, covariance = covariance_of(cells, design, measures, kind)
    n, df = int(values.n[0, 0]), float(values.df[0])
    found = values.estimate[0]
    if statistic == "Wald":
        return _result(statistic, _wald(found, covariance, sizes, df), n, "")
    return _result(statistic, _rao_scott(found, covariance, sizes, n, df, statistic), n, "")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


_Test = tuple[float, float, float | None, float]


def _result(statistic: str, test: _Test | None, n: int, reason: str) -> pa.Table:
    value, ndf, ddf, p_value = test or (None, None, None, None)
    return pa.table(
        {
            "statistic": pa.array([statistic], pa.string()),
            "value": pa.array([value], pa.float64()),
            "ndf": pa.array([ndf], pa.float64()),
            "ddf": pa.array([ddf], pa.float64()),
            "p_value": pa.array([p_value], pa.float64()),
            "n": pa.array([n], pa.int64()),
            "reason": pa.array([reason], pa.string()),
        }
    )


def _rao_scott(
    shares: Floats, covariance: Floats, sizes: tuple[int, int], n: int, df: float, statistic: str
) -> _Test:
    from scipy import stats

    rows_n, columns_n = sizes
    table = shares.reshape(columns_n, rows_n).T
    expected = np.outer(table.sum(axis=1), table.sum(axis=0))
    pearson = float(n * ((table - expected) ** 2 / expected).sum())
    contrasts = _contrasts(sizes)
    inverse = np.diag(np.where(shares > 0, 1.0 / np.where(shares > 0, shares, 1.0), 0.0))
    simple = contrasts.T @ (inverse / n) @ contrasts
    actual = contrasts.T @ inverse @ covariance @ inverse @ contrasts
    delta = np.linalg.solve(simple, actual)
    trace = float(np.trace(delta))
    if statistic == "Chisq":
        cells_n = delta.shape[0]
        p_value = float(stats.chi2.sf(pearson * cells_n / trace, cells_n))
        return pearson, float(cells_n), None, p_value
    ndf = trace**2 / float(np.trace(delta @ delta))
    value = pearson / trace
    return value, ndf, ndf * df, float(stats.f.sf(value, ndf, ndf * df))


def _contrasts(sizes: tuple[int, int]) -> Floats:
    """Interaction columns less what the main effects explain of them."""
    rows_n, columns_n = sizes
    a = np.tile(np.eye(rows_n), (columns_n, 1))[:, 1:]
    b = np.repeat(np.eye(columns_n), rows_n, axis=0)[:, 1:]
    main = np.column_stack([np.ones(rows_n * columns_n), a, b])
    products = np.column_stack(
        [a[:, i] * b[:, j] for j in range(columns_n - 1) for i in range(rows_n - 1)]
    )
    return np.asarray(products - main @ np.linalg.lstsq(main, products, rcond=None)[0])


def _wald(totals: Floats, covariance: Floats, sizes: tuple[int, int], df: float) -> _Test:
    """Totals of cells less what their margins give, linearised in all totals."""
    from scipy import stats

    rows_n, columns_n = sizes
    row_of = np.tile(np.arange(rows_n), columns_n)
    column_of = np.repeat(np.arange(columns_n), rows_n)
    in_row = (row_of[:, None] == row_of[None, :]).astype(np.float64)
    in_column = (column_of[:, None] == column_of[None, :]).astype(np.float64)
    row_total, column_total, whole = in_row @ totals, in_column @ totals, float(totals.sum())
    expected = row_total * column_total / whole
    slope = (
        np.eye(len(totals))
        - in_row * column_total[:, None] / whole
        - in_column * row_total[:, None] / whole
        + expected[:, None] / whole
    )
    variance = slope @ covariance @ slope.T
    used = (row_of > 0) & (column_of > 0)
    excess, size = (totals - expected)[used], float(used.sum())
    value = float(excess @ np.linalg.solve(variance[np.ix_(used, used)], excess) / size)
    return value, size, df, float(stats.f.sf(value, size, df))
