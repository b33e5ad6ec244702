"""Weights that make a sample agree with known counts: raking and post-stratification.

Belongs here: iterative proportional fitting on cells of the margins, with bounds and
trimming, and a report of how it went. Does not belong here: which margins the programme
rakes to (room wellbeing, policy.md Table B) and variances (`variance`).

Rows that share all margin columns and the initial weight share their factor, so the
table is aggregated once, fitted as a small array, and joined back: the work does not
grow with iterations times rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats, Integers
from rcs_assets.estimation.design import Design, as_names
from rcs_assets.estimation.relation import (
    Relation,
    open_relation,
    profile,
    quote,
    quote_table,
    unused,
)
from rcs_assets.given import as_arrow, need_kind

_TOTALS_AGREE: Final = 1e-8  # relative; totals of margins that differ more never converge
_FACTORS: Final = "rcs_rake_factors"
_SHOWN: Final = 5


class NotConvergedError(InputError):
    """Weights that cannot agree with their margins; none are given.

    `reason` is what a table that must hold a row all the same puts in its reason column.
    """

    reason: Final = "not_converged"


@dataclass(frozen=True)
class Margin:
    """Known counts of the population by some columns.

    Args:
        columns: columns of the table to weigh, and of the target.
        target: counts by those columns: a pyarrow.Table, pandas.DataFrame, DuckDB
            relation, the name of a table, or a mapping from a value (or a tuple of
            values) to a count. Finer rows are summed.
        count: column of the counts; where None, the only other column of the target.
    """

    columns: str | Iterable[str]
    target: Any
    count: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns as a tuple."""
        return as_names(self.columns)


@dataclass(frozen=True)
class WeightReport:
    """How the fit went and what it costs.

    `largest_gap` is the largest relative difference of a margin from its target;
    `at_bounds_n` the rows whose weight a bound holds; `effective_n` and `design_effect`
    are Kish's (sum w)² / sum w² and n over it.
    """

    rows_n: int
    iterations_n: int
    largest_gap: float
    at_bounds_n: int
    smallest: float
    largest: float
    mean: float
    effective_n: float
    design_effect: float


@dataclass(frozen=True)
class Weights:
    """`table`: the key columns and `weight`, sorted by key; `report`: how it went."""

    table: pa.Table
    report: WeightReport


@dataclass(frozen=True)
class _Cells:
    """Cells of all margin columns and the initial weight, and their place in each margin."""

    table: pa.Table
    rows_n: Floats
    weight: Floats
    codes: list[Integers]
    targets: list[Floats]


def rake(
    con: duckdb.DuckDBPyConnection,
    table: str,
    margins: Iterable[Margin | tuple[Any, Any]] | Mapping[Any, Any],
    *,
    key: str | Iterable[str] = "record_id",
    weight: str | None = None,
    bounds: tuple[float, float] | None = None,
    trim: tuple[float, float] | None = None,
    tolerance: float = 1e-12,
    max_iterations: int = 2000,
) -> Weights:
    """Weights whose sums agree with every margin (Deming and Stephan 1940).

    Args:
        con: any DuckDB connection.
        table: name of a table or view, one row a respondent.
        margins: `Margin`s, pairs (columns, target), or a mapping from columns to target.
        key: columns that name a row in the result.
        weight: column of initial weights; none = 1.
        bounds: smallest and largest final over initial weight, relative to their overall
            ratio (population over sum of initial weights).
        trim: smallest and largest final weight, relative to the mean final weight.
        tolerance: largest relative gap of a margin that counts as converged.
        max_iterations: cycles over all margins before giving up.

    Raises:
        InputError: unknown or null columns; a key that stands twice; a margin cell without
            respondents, or respondents without a margin cell; margins with different totals.
        NotConvergedError: weights that cannot converge (which margin, how far off).
    """
    known = _margins(margins)
    need_kind(tolerance, Real, "argument tolerance", "give a number such as 1e-12")
    need_kind(max_iterations, Integral, "argument max_iterations", "give a whole number")
    relation = open_relation(con, table)
    _check_key(as_names(key))
    _check_table(con, relation, known, as_names(key), weight)
    _check_range(bounds, "bounds")
    _check_range(trim, "trim")
    cells = _fetch(con, relation, known, weight)
    limits = _limits(cells, bounds, trim)
    factors, iterations_n, gap = _fit(cells, known, limits, tolerance, max_iterations)
    report = _report(cells, factors, limits, iterations_n, gap)
    return Weights(_join_back(con, relation, known, as_names(key), weight, cells, factors), report)


def post_stratify(
    con: duckdb.DuckDBPyConnection,
    table: str,
    columns: str | Iterable[str],
    target: Any,
    *,
    count: str | None = None,
    key: str | Iterable[str] = "record_id",
    weight: str | None = None,
) -> Weights:
    """Weights that agree with the counts of one full cross of columns: N over sum of weights.

    Args:
        con: any DuckDB connection.
        table: name of a table or view, one row a respondent.
        columns: the post-strata.
        target: their counts, as in `Margin`.
        count: column of the counts, as in `Margin`.
        key: columns that name a row in the result.
        weight: column of initial weights; none = 1.

    Raises:
        InputError: as `rake`.
    """
    return rake(con, table, [Margin(columns, target, count)], key=key, weight=weight)


def _margins(given: Iterable[Margin | tuple[Any, Any]] | Mapping[Any, Any]) -> list[Margin]:
    need_kind(given, Iterable, "argument margins", "map columns to their known counts")
    items = given.items() if isinstance(given, Mapping) else given
    known = [_margin(item) for item in items]
    if not known or not all(margin.names for margin in known):
        raise InputError(
            "No margins to agree with",
            where="argument margins",
            fix="give at least one margin with at least one column",
        )
    return known


def _margin(item: Any) -> Margin:
    if isinstance(item, Margin):
        return item
    need_kind(item, tuple, "argument margins", "give pairs of columns and their known counts")
    if len(item) != 2:
        raise InputError(
            f"A margin of {len(item)} parts",
            where="argument margins",
            why="a margin is a pair: columns, and the known counts by them",
            fix="give a pair, or a Margin",
        )
    return Margin(*item)


def _check_range(pair: tuple[float, float] | None, argument: str) -> None:
    if pair is None:
        return
    need_kind(pair, tuple, f"argument {argument}", "give a pair such as (0.3, 3.0)")
    is_pair = len(pair) == 2 and all(isinstance(limit, Real) for limit in pair)
    if not is_pair or not 0.0 <= pair[0] < 1.0 < pair[1]:
        raise InputError(
            f"{argument} {pair} do not enclose 1",
            where=f"argument {argument}",
            why="they are multiples of the overall ratio or mean",
            fix="give a pair such as (0.3, 3.0)",
        )


def _check_key(key: Sequence[str]) -> None:
    if not key or any(name.lower() == "weight" for name in key):
        raise InputError(
            "The key has no columns, or one that is called weight",
            where="argument key",
            why="the result is the key and a column weight, and is joined by the key",
            fix="name with key= the columns that name a row; rename one called weight in a view",
        )


def _check_table(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    margins: Sequence[Margin],
    key: Sequence[str],
    weight: str | None,
) -> None:
    columns = list(dict.fromkeys(name for margin in margins for name in margin.names))
    relation.need(columns, "margins")
    relation.need(key, "key")
    if weight:
        relation.need([weight], "weight")
        relation.need_numbers([weight], "weight")
    # The columns of a margin must be complete like those of a design.
    profile(con, relation, Design(clusters=columns, weight=weight), [])
    _refuse_shared_keys(con, relation, key)


def _refuse_shared_keys(
    con: duckdb.DuckDBPyConnection, relation: Relation, key: Sequence[str]
) -> None:
    """Two rows of one key would get two weights, and a join by it would double them."""
    names = ", ".join(map(quote, key))
    blank = " or ".join(f"{quote(name)} is null" for name in key)
    rows_n, keys_n, blank_n = con.execute(
        f"select count(*), count(distinct row({names})), count_if({blank}) from {relation.sql}"
    ).fetchall()[0]
    if not rows_n:
        raise InputError(
            "The table has no rows to weigh",
            where=f"table {relation.sql}",
            fix="give the table of the respondents",
        )
    if blank_n or keys_n < rows_n:
        raise InputError(
            "The key is null, or stands twice",
            where=f"column {', '.join(key)}",
            why=f"{rows_n} rows have {keys_n} different keys, {blank_n} of them with a null",
            fix="name with key= the columns that name a row",
        )


def margin_table(con: duckdb.DuckDBPyConnection, margin: Margin) -> tuple[pa.Table, str]:
    """The target of a margin as a table, and its column of counts.

    Raises:
        InputError: the target has not the columns of the margin.
    """
    target = _target_table(con, margin)
    return target, _count_column(margin, target)


def _target_table(con: duckdb.DuckDBPyConnection, margin: Margin) -> pa.Table:
    """The target as a table, whatever it was given as."""
    target = margin.target
    where = f"margin {', '.join(margin.names)}"
    if isinstance(target, Mapping):
        return _mapped_table(margin.names, target, where)
    if isinstance(target, str):
        open_relation(con, target)
        return con.execute(f"select * from {quote_table(target)}").to_arrow_table()
    return as_arrow(target, where)


def _mapped_table(names: Sequence[str], target: Mapping[Any, Any], where: str) -> pa.Table:
    """A mapping from a value, or a tuple of values, to its count."""
    rows = [value if isinstance(value, tuple) else (value,) for value in target]
    counts = list(target.values())
    is_counted = all(isinstance(n, Real | Decimal) and not isinstance(n, bool) for n in counts)
    if not is_counted or any(len(row) != len(names) for row in rows):
        raise InputError(
            "The target of a margin maps something else than its columns' values to counts",
            where=where,
            why=f"each key holds {len(names)} values, each count is a number",
            fix="give a mapping such as {('F', 'S1'): 1204}, in the order of the columns",
        )
    with suppress(pa.ArrowException, OverflowError):
        columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        # A column of the margin may itself be called n.
        return pa.table(columns | {unused("n", names): [float(count) for count in counts]})
    raise InputError(
        "The values of a margin are of several kinds",
        where=where,
        why="a column holds texts, or numbers",
        fix="write them as they stand in the table",
    )


def _count_column(margin: Margin, target: pa.Table) -> str:
    missing = [name for name in margin.names if name not in target.column_names]
    others = [name for name in target.column_names if name not in margin.names]
    count = margin.count or (others[0] if len(others) == 1 else None)
    if missing or count not in target.column_names:
        raise InputError(
            "The target of a margin has not the columns it needs",
            where=f"margin {', '.join(margin.names)}",
            why=f"missing: {', '.join(missing) or 'one column of counts'}",
            fix="give the margin's columns and one column of counts, or name it with count=",
        )
    return str(count)


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> Iterator[None]:
    for name, table in tables.items():
        con.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            con.unregister(name)


def _fetch(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    margins: Sequence[Margin],
    weight: str | None,
) -> _Cells:
    """Aggregate the table to cells and find each cell's place in every margin."""
    targets = [_target_table(con, margin) for margin in margins]
    counts = [_count_column(margin, t) for margin, t in zip(margins, targets, strict=True)]
    named = {f"rcs_margin_{i}": target for i, target in enumerate(targets)}
    with _registered(con, named):
        summed = [
            _asked(con, _margin_sql(margin, i, counts[i]), [margin])
            for i, margin in enumerate(margins)
        ]
    coded = {f"rcs_margin_{i}": table for i, table in enumerate(summed)}
    with _registered(con, coded):
        cells = _asked(con, _cells_sql(relation, margins, weight), margins)
    wanted = [_numbers(table, "rcs_target") for table in summed]
    codes = [_codes(cells, i) for i in range(len(margins))]
    found = _Cells(cells, _numbers(cells, "rcs_n"), _numbers(cells, "rcs_w"), codes, wanted)
    _check_cells(margins, summed, found)
    return found


def _asked(con: duckdb.DuckDBPyConnection, sql: str, margins: Sequence[Margin]) -> pa.Table:
    """The answer of a query over margins.

    Raises:
        InputError: counts that are no numbers, or values of another kind than the table's.
    """
    with suppress(duckdb.ConversionException, duckdb.BinderException):
        return con.execute(sql).to_arrow_table()
    # Raised outside the handler: DuckDB's message, which holds values, stays behind.
    raise InputError(
        "A margin does not fit the table",
        where="; ".join(f"margin {', '.join(margin.names)}" for margin in margins),
        why="its values must be of the same kind as the columns of the table, its counts numbers",
        fix="cast them: texts where the table holds texts, numbers where it holds numbers",
    )


def _margin_sql(margin: Margin, number: int, count: str) -> str:
    names, n = ", ".join(quote(name) for name in margin.names), f"{quote(count)}::double"
    # In their own order: fractional counts of finer rows show no order of rows.
    return (
        f"select {names}, fsum({n} order by {n}) as rcs_target, "
        f"row_number() over (order by {names}) - 1 as rcs_code "
        f"from rcs_margin_{number} group by {names} order by rcs_code"
    )


def _cells_sql(relation: Relation, margins: Sequence[Margin], weight: str | None) -> str:
    columns = list(dict.fromkeys(quote(name) for margin in margins for name in margin.names))
    initial = f"{quote(weight)}::double" if weight else "1::double"
    codes = [f"rcs_margin_{i}.rcs_code as rcs_code_{i}" for i in range(len(margins))]
    joins = [
        f"left join rcs_margin_{i} on "
        + " and ".join(f"cells.{quote(n)} = rcs_margin_{i}.{quote(n)}" for n in margin.names)
        for i, margin in enumerate(margins)
    ]
    return f"""
        with cells as (
            select {", ".join(columns)}, {initial} as rcs_w, count(*)::double as rcs_n,
            from {relation.sql}
            group by all
        )
        select {", ".join([f"cells.{name}" for name in columns])}, rcs_w, rcs_n, {", ".join(codes)}
        from cells
        {" ".join(joins)}
        order by {", ".join([f"cells.{name}" for name in columns])}, rcs_w
    """


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _codes(cells: pa.Table, number: int) -> Integers:
    """Place of each cell in a margin, -1 where the margin has none."""
    column = cells.column(f"rcs_code_{number}").to_numpy()
    return np.nan_to_num(np.asarray(column, dtype=np.float64), nan=-1.0).astype(np.int64)


def _check_cells(margins: Sequence[Margin], summed: Sequence[pa.Table], cells: _Cells) -> None:
    for number, margin in enumerate(margins):
        codes, target = cells.codes[number], cells.targets[number]
        where = f"margin {', '.join(margin.names)}"
        if (codes < 0).any():
            names = _values(cells.table.select(margin.names), np.flatnonzero(codes < 0))
            raise _cell_error("Respondents stand outside a margin", where, names, "add the cell")
        if not np.isfinite(target).all() or (target < 0).any():
            raise InputError(
                "A margin holds null or negative counts",
                where=where,
                why="known counts of a population are 0 or more",
                fix="correct the counts",
            )
        held = _held(codes, cells.weight * cells.rows_n, target)
        empty = np.flatnonzero((held <= 0) & (target > 0))
        if len(empty):
            names = _values(summed[number].select(margin.names), empty)
            fix = "join the cell with a neighbour, or leave the margin out"
            raise _cell_error("A margin cell has no respondents", where, names, fix)
        excess = np.flatnonzero((held > 0) & (target == 0))
        if len(excess):
            names = _values(summed[number].select(margin.names), excess)
            raise _cell_error("A margin cell with respondents has count 0", where, names, "")
    _check_totals(margins, cells)


def _values(table: pa.Table, rows: Integers) -> list[str]:
    """Groups by name, each once, the first few."""
    chosen = table.take(pa.array(rows)).to_pylist()
    names = dict.fromkeys("/".join(str(value) for value in row.values()) for row in chosen)
    shown = list(names)[:_SHOWN]
    return [*shown, f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else shown


def _cell_error(what: str, where: str, names: Sequence[str], fix: str) -> InputError:
    return InputError(what, where=f"{where}: {', '.join(names)}", fix=fix or "correct the margin")


def _check_totals(margins: Sequence[Margin], cells: _Cells) -> None:
    with np.errstate(over="ignore"):
        totals = [float(target.sum()) for target in cells.targets]
    if not 0 < max(totals) < np.inf:
        raise InputError(
            "The margins count nobody, or more than a number holds",
            where="argument margins",
            why="weights share out a total that is above 0 and finite",
            fix="correct the counts",
        )
    if max(totals) - min(totals) > _TOTALS_AGREE * max(totals):
        raise InputError(
            "Margins have different totals",
            where="; ".join(
                f"{', '.join(m.names)}: {t:g}" for m, t in zip(margins, totals, strict=True)
            ),
            why="no set of weights can agree with both",
            fix="scale the margins to one population",
        )


def _limits(
    cells: _Cells, bounds: tuple[float, float] | None, trim: tuple[float, float] | None
) -> tuple[Floats, Floats]:
    """Smallest and largest factor of each cell."""
    total = cells.targets[0].sum()
    low, high = np.zeros(len(cells.weight)), np.full(len(cells.weight), np.inf)
    if bounds:
        ratio = total / (cells.weight * cells.rows_n).sum()
        low, high = np.full_like(low, bounds[0] * ratio), np.full_like(high, bounds[1] * ratio)
    if trim:
        mean = total / cells.rows_n.sum()
        with np.errstate(divide="ignore"):
            low = np.maximum(low, trim[0] * mean / cells.weight)
            high = np.minimum(high, trim[1] * mean / cells.weight)
    return np.where(cells.weight > 0, low, 0.0), high


def _fit(
    cells: _Cells,
    margins: Sequence[Margin],
    limits: tuple[Floats, Floats],
    tolerance: float,
    max_iterations: int,
) -> tuple[Floats, int, float]:
    """Factors of the cells, cycles needed and the gap left."""
    initial = cells.weight * cells.rows_n
    factors = np.ones(len(initial))
    gaps = [np.inf]
    for iteration in range(1, max_iterations + 1):
        for codes, target in zip(cells.codes, cells.targets, strict=True):
            held = _held(codes, initial * factors, target)
            factors = factors * _ratio(target, held)[codes]
        factors = np.clip(factors, *limits)
        gaps = [
            _gap(target, _held(codes, initial * factors, target))
            for codes, target in zip(cells.codes, cells.targets, strict=True)
        ]
        if max(gaps) <= tolerance:
            return factors, iteration, max(gaps)
    worst = int(np.argmax(gaps))
    raise NotConvergedError(
        f"The weights do not converge in {max_iterations} cycles",
        where=f"margin {', '.join(margins[worst].names)}, {gaps[worst]:.2g} off (relative)",
        why="the margins contradict each other in the cells that have respondents, or the "
        "bounds leave no room",
        fix="join small cells of that margin, or widen bounds or trim",
    )


def _held(codes: Integers, weights: Floats, target: Floats) -> Floats:
    """Sum of weights in each cell of a margin."""
    found = np.bincount(codes, weights=weights, minlength=len(target))
    return np.asarray(found, dtype=np.float64)


def _ratio(target: Floats, held: Floats) -> Floats:
    return np.divide(target, held, out=np.ones_like(target), where=held > 0)


def _gap(target: Floats, held: Floats) -> float:
    return float(np.max(np.abs(_ratio(held, target) - 1.0), initial=0.0, where=target > 0))


def _report(
    cells: _Cells,
    factors: Floats,
    limits: tuple[Floats, Floats],
    iterations_n: int,
    gap: float,
) -> WeightReport:
    final, rows_n = cells.weight * factors, cells.rows_n
    # By an exact power of two near 1: squares of any weights stay inside a DOUBLE.
    near = np.ldexp(final, -int(np.frexp(final.max())[1]))
    total, squares = float((near * rows_n).sum()), float((near**2 * rows_n).sum())
    held = (factors <= limits[0]) | (factors >= limits[1])
    n = float(rows_n.sum())
    return WeightReport(
        rows_n=int(n),
        iterations_n=iterations_n,
        largest_gap=gap,
        at_bounds_n=int(rows_n[held & (cells.weight > 0)].sum()),
        smallest=float(final.min()),
        largest=float(final.max()),
        mean=float((final * rows_n).sum()) / n,
        effective_n=total**2 / squares,
        design_effect=n * squares / total**2,
    )


def _join_back(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    margins: Sequence[Margin],
    key: Sequence[str],
    weight: str | None,
    cells: _Cells,
    factors: Floats,
) -> pa.Table:
    """Final weights of the rows: initial weight times the factor of the row's cell."""
    columns = list(dict.fromkeys(name for margin in margins for name in margin.names))
    table = cells.table.select([*columns, "rcs_w"]).append_column("rcs_g", pa.array(factors))
    initial = f"rows.{quote(weight)}::double" if weight else "1::double"
    matches = [f"rows.{quote(name)} = factors.{quote(name)}" for name in columns]
    keys = ", ".join(f"rows.{quote(name)}" for name in key)
    with _registered(con, {_FACTORS: table}):
        return con.execute(
            f"select {keys}, rcs_w * rcs_g as weight from {relation.sql} as rows "
            f"inner join {_FACTORS} as factors "
            f"on {' and '.join([*matches, f'{initial} = rcs_w'])} order by {keys}"
        ).to_arrow_table()
