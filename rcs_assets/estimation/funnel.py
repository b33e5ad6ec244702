"""Funnel limits: which areas lie further from a target than chance lets them.

Belongs here: exact binomial limits and overdispersion by Spiegelhalter (2005). Does not
belong here: which areas are drawn, and whether a reader may see them (rooms wellbeing,
disclosure).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.intervals import check_level, floats_or_null, normal_quantile

OVERDISPERSION: Final = ("none", "multiplicative", "additive")


def binomial_limits(n: Floats, target: float, level: float) -> tuple[Floats, Floats]:
    """Limits of a share of n at a target, interpolated between whole counts.

    Spiegelhalter (2005), appendix A.1.1: r is the least count whose distribution function
    reaches the tail p; the limit is (r - a) / n, with a = (F(r) - p) / (F(r) - F(r - 1)).
    """
    from scipy import stats

    check_level(level)
    tail = (1.0 - level) / 2.0
    return tuple(  # type: ignore[return-value]
        _quantile(stats.binom, np.asarray(n, dtype=np.float64), target, p)
        for p in (tail, 1.0 - tail)
    )


def _quantile(binomial: Any, n: Floats, target: float, p: float) -> Floats:
    r = binomial.ppf(p, n, target)
    reached, before = binomial.cdf(r, n, target), binomial.cdf(r - 1, n, target)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (reached - p) / (reached - before)
        return np.asarray(np.clip((r - part) / n, 0.0, 1.0), dtype=np.float64)


def dispersion(z: Floats, winsorised: float = 0.1) -> float:
    """Mean square of z scores, of which the outer tenth at each end is pulled in.

    Divided by what that leaves of the mean square of normal scores (0.68 at a tenth): else
    areas that differ by chance alone would look less than they do.
    """
    known = np.sort(z[np.isfinite(z)])
    if not len(known):
        return 1.0
    held = int(np.floor(winsorised * len(known)))
    pulled = np.clip(known, known[held], known[len(known) - 1 - held])
    return float(np.mean(pulled**2)) / _normal_mean_square(held / len(known))


def _normal_mean_square(pulled: float) -> float:
    """Mean square of standard normal scores with this share pulled in at each end."""
    if pulled == 0.0:
        return 1.0
    end = normal_quantile(1.0 - 2.0 * pulled)
    density = math.exp(-end * end / 2.0) / math.sqrt(2.0 * math.pi)
    return 1.0 - 2.0 * pulled - 2.0 * end * density + 2.0 * pulled * end * end


def funnel(
    table: Any,
    *,
    n: str = "n",
    count: str = "count",
    target: float | None = None,
    overdispersion: str = "additive",
    levels: tuple[float, float] = (0.95, 0.998),
    winsorised: float = 0.1,
) -> pa.Table:
    """Limits and z scores of areas against a target.

    Args:
        table: a row an area: pyarrow.Table, pandas.DataFrame or DuckDB relation.
        n: column of observations.
        count: column of those with the outcome.
        target: the share to hold against; the share of all areas where None.
        overdispersion: "none" (exact binomial), "multiplicative" (standard errors times
            the root of the dispersion) or "additive" (areas differ by a variance of their
            own, by moments). Neither ever narrows the limits: a dispersion below 1 is 1.
        levels: of the inner and the outer limits.
        winsorised: share of z scores pulled in at each end, so that the areas that stand
            out do not excuse themselves.

    Returns:
        The table with `share`, `target`, `dispersion`, `between_variance`, `z`, `low_inner`,
        `high_inner`, `low_outer`, `high_outer`, `outside` ("", "inner", "outer"). Null
        where n is 0 or the target is 0 or 1 (nothing can differ by chance).

    Raises:
        InputError: unknown columns or choices; counts outside 0 to n.
    """
    areas = as_table(table)
    for name in (n, count):
        if name not in areas.column_names:
            raise InputError(f"Unknown column: {name}", where="funnel, argument table")
    if overdispersion not in OVERDISPERSION:
        raise InputError(
            f"overdispersion '{overdispersion}' is not available",
            where="argument overdispersion",
            fix=f"choose one of {', '.join(OVERDISPERSION)}",
        )
    size, held = _floats(areas, n), _floats(areas, count)
    if ((held < 0) | (held > size)).any():
        raise InputError("Counts lie outside 0 to n", where=f"funnel, columns {count}, {n}")
    known = size > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(known, held / size, np.nan)
        goal = float(held[known].sum() / size[known].sum()) if target is None else target
        se = np.sqrt(goal * (1.0 - goal) / size)
        naive = np.where(known & (se > 0), (share - goal) / se, np.nan)
    phi = max(1.0, dispersion(naive, winsorised))
    between = _between(phi, se[np.isfinite(naive)]) if overdispersion == "additive" else 0.0
    factor = np.sqrt(phi) if overdispersion == "multiplicative" else 1.0
    wide = np.sqrt(se**2 + between) * factor
    z = np.where(np.isfinite(naive), (share - goal) / wide, np.nan)
    limits = [
        [np.where(np.isfinite(z), side, np.nan) for side in pair]
        for pair in (_limits(size, goal, wide, level, overdispersion) for level in levels)
    ]
    outside = [np.where((share < low) | (share > high), 1, 0) for low, high in limits]
    made = {
        "share": share,
        "target": np.full(len(size), goal),
        "dispersion": np.full(len(size), phi),
        "between_variance": np.full(len(size), between),
        "z": z,
        "low_inner": limits[0][0],
        "high_inner": limits[0][1],
        "low_outer": limits[1][0],
        "high_outer": limits[1][1],
    }
    for name, values in made.items():
        areas = areas.append_column(name, floats_or_null(values))
    marks = np.array(["", "inner", "outer"])[outside[0] + outside[1]]
    return areas.append_column("outside", pa.array(marks.tolist(), pa.string()))


def _between(phi: float, se: Floats) -> float:
    """Variance between areas by moments: (I phi - (I - 1)) / (sum w - sum w² / sum w)."""
    areas_n, w = len(se), 1.0 / se**2
    if areas_n < 2 or areas_n * phi < areas_n - 1.0:
        return 0.0
    return float((areas_n * phi - (areas_n - 1.0)) / (w.sum() - (w**2).sum() / w.sum()))


def _limits(
    n: Floats, goal: float, wide: Floats, level: float, overdispersion: str
) -> tuple[Floats, Floats]:
    if overdispersion == "none":
        return binomial_limits(n, goal, level)
    half = normal_quantile(level) * wide
    return np.maximum(goal - half, 0.0), np.minimum(goal + half, 1.0)


def as_table(table: Any) -> pa.Table:
    """A pyarrow.Table of any of the three kinds that are taken."""
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "to_arrow_table"):
        return table.to_arrow_table()
    return pa.Table.from_pandas(table, preserve_index=False)


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)
