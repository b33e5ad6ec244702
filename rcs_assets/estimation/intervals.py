"""Confidence intervals from small tables of estimates.

Belongs here: t, logit, beta (Korn and Graubard, as R `svyciprop`), Wilson (1927), and
the two helpers that publishing by policy.md Table B needs: Wilson from a rounded n and
percentage, and the pooled design effect. Does not belong here: R's likelihood interval,
which needs a profile (`likelihood`); rounding or suppression (room disclosure).

Everything is vectorised over arrays. Nothing here knows where the numbers came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.design import as_names
from rcs_assets.estimation.relation import literal, quote
from rcs_assets.estimation.small_tables import need_columns, number_column, small_table
from rcs_assets.given import need_kind

INTERVALS: Final = ("t", "logit", "beta", "wilson", "asin", "likelihood")
_TINY_DF: Final = 1.0  # smallest df for which a t quantile exists


def check_level(level: float) -> None:
    """Raise InputError unless 0 < level < 1."""
    need_kind(level, Real, "argument level", "give a share such as 0.95")
    if not 0.0 < level < 1.0:
        raise InputError(
            f"Confidence level {level} is not between 0 and 1",
            where="argument level",
            fix="give a share such as 0.95",
        )


def normal_quantile(level: float) -> float:
    """Two-sided quantile of the normal distribution: 1.96 for 0.95."""
    # scipy takes a fifth of a second to import: only those who estimate pay.
    from scipy import special

    check_level(level)
    return float(special.ndtri(0.5 + level / 2.0))


def t_quantile(df: Floats, level: float) -> Floats:
    """Two-sided quantiles of Student's t; null (NaN) where df < 1."""
    from scipy import special

    check_level(level)
    valid = np.maximum(df, _TINY_DF)
    return np.where(df >= _TINY_DF, special.stdtrit(valid, 0.5 + level / 2.0), np.nan)


def t_interval(estimate: Floats, se: Floats, df: Floats, level: float) -> tuple[Floats, Floats]:
    """Estimate ± t quantile x standard error."""
    half = t_quantile(df, level) * se
    return estimate - half, estimate + half


def logit_interval(share: Floats, se: Floats, df: Floats, level: float) -> tuple[Floats, Floats]:
    """A t interval of log(p / (1 - p)), transformed back (R `svyciprop`, "xlogit")."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.log(share / (1.0 - share))
        half = t_quantile(df, level) * se / (share * (1.0 - share))
        return 1.0 / (1.0 + np.exp(half - centre)), 1.0 / (1.0 + np.exp(-half - centre))


def asin_interval(share: Floats, se: Floats, df: Floats, level: float) -> tuple[Floats, Floats]:
    """A t interval of the arcsine of the root of p, transformed back (R `svyciprop`, "asin")."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.arcsin(np.sqrt(share))
        half = t_quantile(df, level) * se / (2.0 * np.sqrt(share * (1.0 - share)))
    # Beyond 0 and 1 the sine turns back: there the bound is 0 or 1 itself.
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, np.pi / 2.0)
    return np.sin(low) ** 2, np.sin(high) ** 2


def beta_interval(
    share: Floats, se: Floats, df: Floats, rows_n: Floats, level: float
) -> tuple[Floats, Floats]:
    """Korn and Graubard (1998) as R's `svyciprop(method="beta")`.

    Clopper-Pearson on p (1 - p) / se², times the squared ratio of t quantiles with
    `rows_n` - 1 and `df` degrees of freedom (rows of the domain, with or without a value).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = t_quantile(rows_n - 1.0, level) / t_quantile(df, level)
        return clopper_pearson(share, share * (1.0 - share) / se**2 * ratio**2, level)


def clopper_pearson(share: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    """The exact binomial interval for a share of `n`, which need not be whole."""
    from scipy import special

    check_level(level)
    tail = (1.0 - level) / 2.0
    low = special.betaincinv(n * share, n * (1.0 - share) + 1.0, tail)
    high = special.betaincinv(n * share + 1.0, n * (1.0 - share), 1.0 - tail)
    return np.where(share == 0.0, 0.0, low), np.where(share == 1.0, 1.0, high)


def wilson_interval(
    share: Floats, n: Floats, level: float, design_effect: Floats | float = 1.0
) -> tuple[Floats, Floats]:
    """Wilson's score interval of a share (0..1) on n / design effect observations.

    Bounds stay inside 0..1; null (NaN) where n is not positive.
    """
    z = normal_quantile(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(np.asarray(n) > 0, np.asarray(n, dtype=np.float64) / design_effect, np.nan)
        share = np.asarray(share, dtype=np.float64)
        centre = (share + z * z / (2.0 * size)) / (1.0 + z * z / size)
        inside = share * (1.0 - share) / size + z * z / (4.0 * size * size)
        half = z * np.sqrt(inside) / (1.0 + z * z / size)
    # At 0 and 1 a bound is the share itself; subtraction would leave a rounding error.
    low = np.where(share == 0.0, 0.0, np.maximum(0.0, centre - half))
    return low, np.where(share == 1.0, 1.0, np.minimum(1.0, centre + half))


def wilson_sql(n: str, pct: str, design_effect: str = "1.0", level: float = 0.95) -> str:
    """Wilson's interval as a DuckDB expression: `struct(low, high)` in percent.

    Args:
        n: SQL expression of the number of observations (rounded, where it is published).
        pct: SQL expression of the percentage 0..100 (rounded likewise).
        design_effect: SQL expression; n is divided by it (policy.md Table B).
        level: confidence level.

    Example: `select wilson.* from (select {wilson_sql("n", "estimate")} as wilson …)`.
    """
    z = literal(normal_quantile(level))
    size = f"nullif(({n})::double, 0) / ({design_effect})::double"
    # `greatest` skips nulls: an unknown n or percentage must be caught before.
    return (
        f"list_transform([{{'n': {size}, 'p': ({pct})::double / 100}}], lambda r: "
        "case when r.n is not null and r.p is not null then {"
        f"'low': case when r.p = 0 then 0.0 else greatest(0, {_bound('-', z)}) end, "
        f"'high': case when r.p = 1 then 100.0 else least(100, {_bound('+', z)}) end}} end)[1]"
    )


def _bound(sign: str, z: str) -> str:
    inside = f"r.p * (1 - r.p) / r.n + {z} * {z} / (4 * r.n * r.n)"
    centre = f"r.p + {z} * {z} / (2 * r.n)"
    return f"100 * ({centre} {sign} {z} * sqrt({inside})) / (1 + {z} * {z} / r.n)"


def add_wilson(
    table: Any,
    *,
    n: str = "n",
    pct: str = "estimate",
    design_effect: str | None = None,
    level: float = 0.95,
) -> pa.Table:
    """The table with `ci_low` and `ci_high` (percent) by Wilson, from its own columns.

    Columns of these names are replaced. Null where n or pct is null or n is 0. The table is a
    pyarrow.Table, a pandas.DataFrame or a DuckDB relation.

    Raises:
        InputError: it is no table; a named column is missing or holds no numbers; a percentage
            is outside 0..100.
    """
    where = "add_wilson, argument table"
    held = small_table(table, where)
    share = number_column(held, pct, where) / 100.0
    size = number_column(held, n, where)
    effect = 1.0 if design_effect is None else number_column(held, design_effect, where)
    if ((share < 0) | (share > 1)).any():
        raise InputError(
            f"Column {pct} holds percentages outside 0 to 100",
            where=where,
            fix="give percentages, not shares or means",
        )
    low, high = wilson_interval(share, size, level, effect)
    kept = held.drop_columns([c for c in ("ci_low", "ci_high") if c in held.column_names])
    kept = kept.append_column("ci_low", floats_or_null(100.0 * low))
    return kept.append_column("ci_high", floats_or_null(100.0 * high))


def floats_or_null(values: Floats) -> pa.Array:
    """A DOUBLE column, NaN and infinity as null."""
    return pa.array(values, type=pa.float64(), mask=~np.isfinite(values))


def pooled_design_effect(
    con: duckdb.DuckDBPyConnection,
    estimates: Any,
    *,
    by: str | Iterable[str] = ("variable",),
    floor: float = 1.0,
) -> pa.Table:
    """One design effect a group of estimates: columns `by` and `design_effect`, `df`.

    The ratio of the pooled variance to the pooled variance of simple random samples of
    the same n, both weighted by degrees of freedom and n: sum(df · n · se²) over
    sum(df · n · se² / deff). An area with few schools or a share near 0 says little and
    counts little. At least `floor`: policy.md Table B never narrows an interval by it.
    Null where no estimate of the group has a variance.

    Args:
        con: any DuckDB connection.
        estimates: a result of `estimate` by area, statistic mean or proportion.
        by: columns that make a group.
        floor: smallest design effect.

    Raises:
        InputError: no table; a column of `by`, or one of n, se, df and deff, is missing or
            holds no numbers; a floor that is no finite number.
    """
    where, groups = "pooled_design_effect, argument estimates", as_names(by)
    need_kind(floor, Real, "argument floor", "give a number such as 1.0")
    if not groups or not math.isfinite(floor):
        raise InputError(
            "Nothing to pool by, or a floor that is not finite",
            where="arguments by and floor",
            fix='name at least one column, such as "variable", and a floor such as 1.0',
        )
    held = small_table(estimates, where)
    need_columns(held, groups, where)
    for name in ("n", "se", "df", "deff"):
        number_column(held, name, where)
    keys = ", ".join(quote(name) for name in groups)
    con.register("rcs_pooled_estimates", held)
    try:
        return con.execute(
            f"""
            with usable as (
                select
                    *,
                    se is not null and deff > 0 and df > 0 as is_usable,
                from rcs_pooled_estimates
            ),
            pooled as (
                select
                    {keys},
                    sum(df * n * se * se order by df, n, se) filter (is_usable)
                    / sum(df * n * se * se / deff order by df, n, se, deff) filter (is_usable)
                        as ratio,
                    coalesce(sum(df) filter (is_usable), 0) as df,
                from usable
                group by {keys}
            )
            select
                {keys},
                case when ratio is not null then greatest({literal(floor)}, ratio) end
                    as design_effect,
                df,
            from pooled
            order by {keys}
            """
        ).to_arrow_table()
    finally:
        con.unregister("rcs_pooled_estimates")
