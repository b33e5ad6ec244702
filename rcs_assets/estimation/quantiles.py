"""Weighted quantiles with Woodruff intervals, by domain.

Belongs here: the inverse of the weighted distribution function and its interval, as R
survey 4.1 `svyquantile(qrule="math", interval.type="mean")`. Does not belong here: the
variance of the distribution function, which is a share like any other (`variance`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats, Measure, fetch_cells, power_of_two
from rcs_assets.estimation.intervals import t_interval, t_quantile
from rcs_assets.estimation.relation import Bounds, Relation, literal, profile, quote
from rcs_assets.estimation.request import Request
from rcs_assets.estimation.result import assemble, reasons
from rcs_assets.estimation.variance import Estimates, estimate_cells
from rcs_assets.given import need_kind

_TARGETS: Final = "rcs_quantile_targets"
_POINTS: Final = "rcs_quantile_points"
# A cumulative weight that misses its target by rounding alone has reached it.
_TIE: Final = 1e-12


def estimate_quantiles(
    con: duckdb.DuckDBPyConnection, request: Request, quantiles: Sequence[float]
) -> pa.Table:
    """A row a domain, variable and probability; `level` holds the probability.

    The quantile is the smallest value at which the weighted distribution function
    reaches the probability. Its interval inverts the t interval of the share at or below
    it; `se` is the interval's width over two t quantiles. A limit whose share leaves
    0..1 is null, and `se` with it.

    Raises:
        InputError: a probability outside 0..1, or an interval other than t.
    """
    need_kind(quantiles, Iterable, "argument quantiles", "give a list of shares such as [0.5]")
    quantiles = tuple(quantiles)
    if not quantiles or not all(isinstance(p, Real) and 0.0 < p < 1.0 for p in quantiles):
        raise InputError(
            "Quantiles need probabilities between 0 and 1",
            where="argument quantiles",
            fix="give shares such as 0.5",
        )
    if request.ci != "t":
        raise InputError(
            f"ci '{request.ci}' is for shares",
            where="argument ci",
            why="the interval of a quantile inverts the t interval of a share",
            fix="use ci='t'",
        )
    parts = [_one_variable(con, request, str(v), quantiles) for v in request.variables]
    table = pa.concat_tables(parts)
    return table.sort_by([(name, "ascending") for name in request.by]) if request.by else table


def _one_variable(
    con: duckdb.DuckDBPyConnection, request: Request, variable: str, quantiles: Sequence[float]
) -> pa.Table:
    found = profile(con, request.relation, request.design, [variable])
    domains = con.execute(_domains_sql(request)).to_arrow_table()
    targets = [np.full(domains.num_rows, p) for p in quantiles]
    top = found.weight.high
    points = _invert(con, request, variable, domains, targets, top)
    shares = _shares(con, request, variable, domains, points)
    se_share = np.sqrt(shares.variance)
    df = np.broadcast_to(shares.df[:, None], se_share.shape)
    limits = t_interval(shares.estimate, se_share, df, request.level)
    inside = [np.where((limit >= 0) & (limit <= 1), limit, np.nan) for limit in limits]
    low, high = (
        np.column_stack(_invert(con, request, variable, domains, list(limit.T), top))
        for limit in inside
    )
    estimate = np.column_stack(points)
    se = (high - low) / (2.0 * t_quantile(df, request.level))
    values = replace(shares, estimate=estimate, variance=se**2, deff=np.full_like(estimate, np.nan))
    labels = [(variable, repr(float(p))) for p in quantiles]
    return assemble(
        domains.select(request.by), labels, values, se, (low, high), reasons(values, se_share)
    )


def _domains_sql(request: Request) -> str:
    if not request.by:
        return "select 0 as rcs_all"
    names = ", ".join(quote(name) for name in request.by)
    present = " and ".join(f"{quote(name)} is not null" for name in request.by)
    return f"select {names} from {request.relation.sql} where {present} group by all order by all"


def _invert(
    con: duckdb.DuckDBPyConnection,
    request: Request,
    variable: str,
    domains: pa.Table,
    targets: Sequence[Floats],
    top_weight: float,
) -> list[Floats]:
    """Smallest value whose cumulative share reaches each target, by domain (NaN: none)."""
    keys = [quote(name) for name in request.by]
    table = domains.append_column("rcs_row", pa.array(np.arange(domains.num_rows)))
    for number, target in enumerate(targets):
        table = table.append_column(f"rcs_p{number}", pa.array(target, from_pandas=True))
    con.register(_TARGETS, table)
    scale = literal(power_of_two(top_weight))
    weight = f"{quote(request.design.weight)}::double" if request.design.weight else "1::double"
    chosen = [
        f"min(v) filter (c >= rcs_p{n} * t - {literal(_TIE)} * t) as q{n}"
        for n in range(len(targets))
    ]
    over = f"partition by {', '.join(keys)}" if keys else ""
    joined = " and ".join(f"cumulated.{key} = targets.{key}" for key in keys) or "true"
    try:
        found = con.execute(
            f"""
            with
            summed as (
                select
                    {", ".join([*keys, f"{quote(variable)}::double as v"])},
                    sum(({weight} * {scale})::bigint) as w,
                from {request.relation.sql}
                where {quote(variable)} is not null and {weight} > 0
                group by all
            ),
            cumulated as (
                select
                    {", ".join([*keys, "v"])},
                    (sum(w) over ({over} order by v))::double as c,
                    (sum(w) over ({over}))::double as t,
                from summed
            )
            select rcs_row, {", ".join(chosen)}
            from {_TARGETS} as targets
            left join cumulated on {joined}
            group by rcs_row
            order by rcs_row
            """
        ).to_arrow_table()
    finally:
        con.unregister(_TARGETS)
    return [
        np.asarray(found.column(f"q{n}").to_numpy(), dtype=np.float64) for n in range(len(targets))
    ]


def _shares(
    con: duckdb.DuckDBPyConnection,
    request: Request,
    variable: str,
    domains: pa.Table,
    points: Sequence[Floats],
) -> Estimates:
    """Share of each domain at or below its own quantile, with its variance."""
    table = domains
    for number, point in enumerate(points):
        table = table.append_column(f"rcs_q{number}", pa.array(point, from_pandas=True))
    con.register(_POINTS, table)
    joined = " and ".join(f"rows.{quote(name)} = points.{quote(name)}" for name in request.by)
    below = [
        f"({quote(variable)}::double <= rcs_q{n})::int::double as rcs_below{n}"
        for n in range(len(points))
    ]
    derived = Relation(
        f"(select rows.*, {', '.join(below)} from {request.relation.sql} as rows "
        f"left join {_POINTS} as points on {joined or 'true'})",
        request.relation.types | {f"rcs_below{n}": "DOUBLE" for n in range(len(points))},
    )
    measures = [
        Measure(variable, None, f"rcs_below{n}", f"rcs_below{n}", Bounds(0.0, 1.0, is_binary=True))
        for n in range(len(points))
    ]
    try:
        found = profile(con, derived, request.design, [])
        cells = fetch_cells(con, derived, request.design, found, measures, request.by)
    finally:
        con.unregister(_POINTS)
    return estimate_cells(cells, request.design, measures, "mean")
