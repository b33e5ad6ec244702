"""`estimate`: from a declared design and variables to a table of estimates.

Belongs here: the two public functions, the choice of measures, and which interval goes
with them. Does not belong here: refusals (`request`), SQL (`compilation`), variances
(`variance`), intervals (`intervals`), the shape of the result (`result`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Cells, Floats, Measure, fetch_cells, with_domains
from rcs_assets.estimation.design import Design, as_names
from rcs_assets.estimation.intervals import (
    asin_interval,
    beta_interval,
    clopper_pearson,
    logit_interval,
    t_interval,
    wilson_interval,
)
from rcs_assets.estimation.likelihood import likelihood_interval, likelihood_starts
from rcs_assets.estimation.quantiles import estimate_quantiles
from rcs_assets.estimation.relation import Bounds, Profile, literal, profile, quote
from rcs_assets.estimation.replicates import Replicates, replicate_variance
from rcs_assets.estimation.request import Request, Variable, check_request, columns_of
from rcs_assets.estimation.result import assemble, reasons
from rcs_assets.estimation.variance import Estimates, estimate_cells, estimate_differences
from rcs_assets.given import need_kind

_MAX_LEVELS: Final = 1000


def estimate(
    con: duckdb.DuckDBPyConnection,
    table: str,
    design: Design,
    variables: str | Iterable[Variable],
    statistic: str = "mean",
    by: str | Iterable[str] | None = None,
    ci: str = "t",
    level: float = 0.95,
    *,
    quantiles: Sequence[float] = (0.5,),
    replicates: Replicates | None = None,
) -> pa.Table:
    """Survey estimates with design-based standard errors and intervals.

    Args:
        con: any DuckDB connection that can read the table.
        table: name of a table or view, one row a respondent.
        design: how the rows were drawn.
        variables: numeric or 0/1 columns; categories too for "proportion"; pairs
            (numerator, denominator), or "numerator/denominator", for "ratio". Null means
            outside the variable's domain: the row stays in the design (R `na.rm=TRUE`).
        statistic: "mean"; "total"; "proportion" (a row a level); "ratio"; "quantile" (a
            row a probability, R `qrule="math"`, Woodruff intervals); "difference" of
            means between the values of the last `by` column (a row a pair, the by-column
            holds the second, `level` says "second - first").
        by: columns that define domains; a null in one is outside every domain.
        ci: "t"; for shares also "logit", "beta" (Korn-Graubard), "asin", "likelihood" (as
            R profiles it) and "wilson" (on n / deff; on n itself in a simple sample).
        level: confidence level.
        quantiles: probabilities for "quantile".
        replicates: jackknife or bootstrap variances instead of linearised ones.

    Returns:
        The by-columns, then `variable`, `level` (category, probability or pair; else
        null), `estimate`, `se`, `ci_low`, `ci_high`, `n` (rows with a value and a
        weight), `df` (units less strata that hold the domain), `deff` (against drawing
        with replacement, R `deff="replace"`), `reason`. Domains in sorted order,
        variables in the given one. Shares are 0..1. `reason` is empty or
        "no_data" (no value: all null), "lonely_psu" (a stratum with one unit: se null,
        or as `design.lonely_psu` says), "no_df" (no degrees of freedom: interval null),
        "all_equal" (se 0: a share gets the exact binomial interval on n).

    Raises:
        InputError: an unknown column, statistic, interval or level; a variable that is
            not numeric; null, negative or non-numeric weights; a design that
            contradicts the data.
    """
    request = check_request(
        con, table, design, variables, statistic, as_names(by), ci, level, replicates
    )
    if statistic == "quantile":
        return estimate_quantiles(con, request, quantiles)
    return _estimate_sets(con, request, [request.by])[0]


def estimate_each(
    con: duckdb.DuckDBPyConnection,
    table: str,
    design: Design,
    variables: str | Iterable[Variable],
    statistic: str = "mean",
    *,
    by_sets: Sequence[str | Iterable[str]],
    ci: str = "t",
    level: float = 0.95,
) -> list[pa.Table]:
    """`estimate` for several sets of by-columns, from one pass over the table.

    Arguments are those of `estimate`; `statistic` is any but "quantile"; `by_sets` is a
    set of by-columns a result, an empty one for the whole table.

    Returns:
        A table a set, what `estimate` gives for it but for rounding in the last digit.

    Raises:
        InputError: as `estimate`.
    """
    need_kind(by_sets, Iterable, "argument by_sets", "give a list: a set of columns a result")
    sets = [as_names(names) for names in by_sets]
    every = tuple(dict.fromkeys(name for names in sets for name in names))
    request = check_request(con, table, design, variables, statistic, every, ci, level)
    if statistic == "quantile" or (statistic == "difference" and not all(sets)):
        raise InputError(
            f"estimate_each cannot make this {statistic}",
            where="argument by_sets",
            fix="call estimate for quantiles; name a by-column for every difference",
        )
    return _estimate_sets(con, request, sets)


def _estimate_sets(
    con: duckdb.DuckDBPyConnection, request: Request, sets: Sequence[tuple[str, ...]]
) -> list[pa.Table]:
    names = columns_of(request.variables)
    found = profile(con, request.relation, request.design, _profiled(request, names))
    measures = _measures(con, request, found)
    _check_interval(request, measures)
    cells = fetch_cells(con, request.relation, request.design, found, measures, request.by)
    tables = []
    for by in sets:
        within, domains = replace(request, by=by), with_domains(cells, by)
        starts = None
        if request.ci == "likelihood":
            starts = likelihood_starts(
                con, request.relation, request.design, measures, domains.domains, found.weight.high
            )
        tables.append(_from_cells(within, measures, domains, starts))
    return tables


def _from_cells(
    request: Request, measures: Sequence[Measure], cells: Cells, starts: Floats | None
) -> pa.Table:
    if request.statistic == "difference":
        return _differences(request, measures, cells)
    kind = request.statistic if request.statistic in ("total", "ratio") else "mean"
    values = estimate_cells(cells, request.design, measures, kind)
    if request.replicates is not None:
        values = _replicated(request, measures, cells, values, kind)
    return _result(request, measures, values, cells.domains, starts=starts)


def _replicated(
    request: Request,
    measures: Sequence[Measure],
    cells: Cells,
    values: Estimates,
    kind: str,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Estimates:
    """The same estimates with the variance of their replicates."""
    assert request.replicates is not None
    shift = np.zeros(len(measures)) if pairs else np.array([m.shift for m in measures])
    centre = values.estimate - shift
    variance, is_lonely = replicate_variance(
        cells, request.design, kind, request.replicates, centre, pairs
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        deff = values.deff * variance / values.variance
    return replace(values, variance=variance, is_lonely=is_lonely, deff=deff)


def _profiled(request: Request, names: Sequence[str]) -> list[str]:
    """Columns with a smallest and largest number: categories have none."""
    return [name for name in names if request.relation.is_number(name)]


def _measures(con: duckdb.DuckDBPyConnection, request: Request, found: Profile) -> list[Measure]:
    measures: list[Measure] = []
    for item in request.variables:
        if isinstance(item, tuple):
            measures.append(_ratio_measure(item, found))
        elif request.statistic == "proportion":
            measures += _level_measures(con, request, found, item)
        else:
            measures.append(_number_measure(item, found, request.statistic))
    return measures


def _number_measure(name: str, found: Profile, statistic: str) -> Measure:
    """A mean around the middle of the range, where the range does not span zero."""
    bounds = found.variables[name]
    sql = f"{quote(name)}::double"
    if statistic == "total" or bounds.is_binary or bounds.low * bounds.high <= 0:
        return Measure(name, None, sql, sql, bounds)
    shift = (bounds.low + bounds.high) / 2.0
    moved = Bounds(bounds.low - shift, bounds.high - shift, is_binary=False)
    return Measure(name, None, sql, f"({sql} - {literal(shift)})", moved, shift=shift)


def _ratio_measure(pair: tuple[str, str], found: Profile) -> Measure:
    y, x = pair
    return Measure(
        variable=f"{y}/{x}",
        level=None,
        base=f"{quote(y)}::double",
        y=f"{quote(y)}::double",
        y_bounds=found.variables[y],
        x=f"{quote(x)}::double",
        x_bounds=found.variables[x],
    )


def _level_measures(
    con: duckdb.DuckDBPyConnection, request: Request, found: Profile, name: str
) -> list[Measure]:
    """One 0/1 measure a level of the variable, in sorted order of the levels."""
    column = quote(name)
    share = Bounds(0.0, 1.0, is_binary=True)
    if name in found.variables and found.variables[name].is_binary:
        value = f"{column}::double"
        return [
            Measure(name, "0", value, f"1 - {value}", share),
            Measure(name, "1", value, value, share),
        ]
    rows = con.execute(
        f"select distinct {column}, {column}::varchar from {request.relation.sql} "
        f"where {column} is not null order by {column} limit {_MAX_LEVELS + 1}"
    ).fetchall()
    if len(rows) > _MAX_LEVELS:
        raise InputError(
            f"Variable {name} has more than {_MAX_LEVELS} levels",
            where=f"table {request.relation.sql}",
            fix="use statistic='mean', or group its values first",
        )
    if not rows:
        return [Measure(name, None, column, "null::double", share)]
    is_floating = request.relation.is_floating(name)
    return [
        Measure(
            name,
            _label(label) if is_floating else label,
            column,
            f"({column}::varchar = {_text(label)})::int",
            share,
        )
        for _, label in rows
    ]


def _label(text: str) -> str:
    """A whole number stored as DOUBLE reads as a whole number."""
    return text.removesuffix(".0")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _is_share(request: Request, measures: Sequence[Measure]) -> bool:
    return request.statistic == "proportion" or (
        request.statistic == "mean" and all(measure.y_bounds.is_binary for measure in measures)
    )


def _check_interval(request: Request, measures: Sequence[Measure]) -> None:
    if request.ci != "t" and not _is_share(request, measures):
        wrong = [m.variable for m in measures if not m.y_bounds.is_binary]
        raise InputError(
            f"ci '{request.ci}' is for shares",
            where="argument ci" + (f"; not 0/1: {', '.join(wrong[:5])}" if wrong else ""),
            why=f"{request.statistic} of these variables is not a share between 0 and 1",
            fix="use ci='t', or statistic='proportion' or 'mean' of 0/1 columns",
        )


def _differences(request: Request, measures: Sequence[Measure], cells: Cells) -> pa.Table:
    """Differences of means of every pair of values of the last by-column."""
    domains = cells.domains
    pairs = _pairs(domains, request.by)
    values = estimate_differences(cells, request.design, pairs)
    if request.replicates is not None:
        values = _replicated(request, measures, cells, values, "mean", pairs)
    last = domains.column(request.by[-1]).cast(pa.string()).to_pylist()
    if request.relation.is_floating(request.by[-1]):
        last = [_label(text) for text in last]
    labels = [f"{last[second]} - {last[first]}" for first, second in pairs]
    groups = domains.take(pa.array([second for _, second in pairs], type=pa.int64()))
    return _result(request, measures, values, groups, labels)


def _pairs(domains: pa.Table, by: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of domains that differ in the last by-column alone, in sorted order."""
    rest = list(zip(*(domains.column(name).to_pylist() for name in by[:-1]), strict=True))
    groups: dict[Any, list[int]] = {}
    for position in range(domains.num_rows):
        groups.setdefault(rest[position] if rest else (), []).append(position)
    return [pair for members in groups.values() for pair in combinations(members, 2)]


def _result(
    request: Request,
    measures: Sequence[Measure],
    values: Estimates,
    domains: pa.Table,
    levels: Sequence[str] | None = None,
    starts: Floats | None = None,
) -> pa.Table:
    """Intervals and reasons, then the long table; `levels` by domain, else by measure."""
    se = np.sqrt(values.variance)
    labels = [(measure.variable, measure.level) for measure in measures]
    table = assemble(
        domains.select(request.by),
        labels,
        values,
        se,
        _interval(request, values, se, starts),
        reasons(values, se),
    )
    if levels is None:
        return table
    column = pa.array([level for level in levels for _ in measures], type=pa.string())
    return table.set_column(table.column_names.index("level"), "level", column)


def _interval(
    request: Request, values: Estimates, se: Floats, starts: Floats | None
) -> tuple[Floats, Floats]:
    """The interval of the request, D x M; an exact one where a share has no variance."""
    share, level = values.estimate, request.level
    df = np.broadcast_to(values.df[:, None], share.shape)
    if request.ci == "t":
        return t_interval(share, se, df, level)
    if request.ci == "wilson":
        # A domain of a simple sample has a design effect a little off 1, by n / (n - 1) of
        # the whole against that of the domain: Wilson counts its rows as they are.
        known_effect = np.isfinite(values.deff) & (not request.design.is_simple)
        effect = np.where(known_effect, values.deff, 1.0)
        low, high = wilson_interval(share, values.n, level, effect)
        known = np.isfinite(se)
        return np.where(known, low, np.nan), np.where(known, high, np.nan)
    if request.ci == "logit":
        low, high = logit_interval(share, se, df, level)
    elif request.ci == "asin":
        low, high = asin_interval(share, se, df, level)
    elif starts is not None:
        low, high = likelihood_interval(share, se, df, values.n, starts, level)
    else:
        rows_n = np.broadcast_to(values.rows_n[:, None], share.shape)
        low, high = beta_interval(share, se, df, rows_n, level)
    exact_low, exact_high = clopper_pearson(share, values.n, level)
    return np.where(se == 0, exact_low, low), np.where(se == 0, exact_high, high)
