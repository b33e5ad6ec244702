"""Funnel limits: which areas lie further from a target than chance lets them.

Belongs here: exact binomial limits and overdispersion by Spiegelhalter (2005). Does not
belong here: which areas are drawn, and whether a reader may see them (rooms wellbeing,
disclosure).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.intervals import check_level, floats_or_null, normal_quantile
from rcs_assets.estimation.small_tables import number_column, small_table
from rcs_assets.given import need_kind

OVERDISPERSION: Final = ("none", "multiplicative", "additive")
_FIGURES: Final = (
    "share",
    "target",
    "dispersion",
    "between_variance",
    "z",
    "low_inner",
    "high_inner",
    "low_outer",
    "high_outer",
)


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
        `high_inner`, `low_outer`, `high_outer`, `outside` ("", "inner", "outer"). An area's
        figures are null where n is 0, or n or the count is null (the area counts in no
        target then), or the target is 0 or 1 (nothing can differ by chance).

    Raises:
        InputError: no table; unknown columns, or without numbers; columns named as those that
            are added; unknown choices; n that is no whole number; counts outside 0 to n.
    """
    _check_choices(target, overdispersion, levels, winsorised)
    areas = small_table(table, "funnel, argument table", (*_FIGURES, "outside"))
    size, held = _counts(areas, n, count)
    known = (size > 0) & np.isfinite(held)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(known, held / size, np.nan)
        goal = _overall(size[known], held[known]) if target is None else float(target)
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
    made = (
        share,
        np.full(len(size), goal),
        np.full(len(size), phi),
        np.full(len(size), between),
        z,
        *limits[0],
        *limits[1],
    )
    for name, values in zip(_FIGURES, made, strict=True):
        areas = areas.append_column(name, floats_or_null(values))
    marks = np.array(["", "inner", "outer"])[outside[0] + outside[1]]
    return areas.append_column("outside", pa.array(marks.tolist(), pa.string()))


def _check_choices(
    target: float | None, overdispersion: str, levels: tuple[float, float], winsorised: float
) -> None:
    if overdispersion not in OVERDISPERSION:
        raise InputError(
            f"overdispersion '{overdispersion}' is not available",
            where="argument overdispersion",
            fix=f"choose one of {', '.join(OVERDISPERSION)}",
        )
    if target is not None:
        need_kind(target, Real, "argument target", "give a share such as 0.2, or None")
        if not 0.0 <= target <= 1.0:
            raise InputError(
                "The target is no share",
                where="argument target",
                why="areas are held against a share from 0 to 1",
                fix="give a share such as 0.2, or None for that of all areas",
            )
    need_kind(levels, Sequence, "argument levels", "give a pair such as (0.95, 0.998)")
    if len(levels) != 2:
        raise InputError(
            f"{len(levels)} levels for two pairs of limits",
            where="argument levels",
            fix="give a pair such as (0.95, 0.998)",
        )
    for level in levels:
        check_level(level)
    if levels[0] > levels[1]:
        raise InputError(
            "The inner limits would be wider than the outer",
            where="argument levels",
            fix="give the smaller level first, such as (0.95, 0.998)",
        )
    need_kind(winsorised, Real, "argument winsorised", "give a share such as 0.1")
    if not 0.0 <= winsorised < 0.5:
        raise InputError(
            "winsorised is no share below a half",
            where="argument winsorised",
            why="it is the share of z scores that is pulled in at each end",
            fix="give a share such as 0.1",
        )


def _counts(areas: pa.Table, n: str, count: str) -> tuple[Floats, Floats]:
    """Observations and those with the outcome, NaN where one is null."""
    where = f"funnel, columns {count}, {n}"
    size, held = (number_column(areas, name, where) for name in (n, count))
    given = size[~np.isnan(size)]
    if not np.isfinite(given).all() or (given != np.floor(given)).any():
        raise InputError(
            "Observations are not counted in whole numbers",
            where=f"funnel, column {n}",
            why="the limits are those of a share of n observations",
            fix="give whole numbers, null where an area has none",
        )
    if (size < 0).any() or ((held < 0) | (held > size)).any():
        raise InputError("Counts lie outside 0 to n", where=where)
    return size, held


def _overall(size: Floats, held: Floats) -> float:
    """The share of all areas, whatever their order."""
    return math.fsum(held) / math.fsum(size) if len(size) else math.nan


def _between(phi: float, se: Floats) -> float:
    """Variance between areas by moments: (I phi - (I - 1)) / (sum w - sum w² / sum w)."""
    # Summed without rounding: the order of areas does not show. Each weight times those of the
    # others is never 0, as the difference of the two sums is beside one huge area.
    areas_n, w = len(se), 1.0 / se**2
    if areas_n < 2 or areas_n * phi < areas_n - 1.0:
        return 0.0
    total = math.fsum(w)
    return (areas_n * phi - (areas_n - 1.0)) / (math.fsum(w * (total - w)) / total)


def _limits(
    n: Floats, goal: float, wide: Floats, level: float, overdispersion: str
) -> tuple[Floats, Floats]:
    if overdispersion == "none":
        return binomial_limits(n, goal, level)
    half = normal_quantile(level) * wide
    return np.maximum(goal - half, 0.0), np.minimum(goal + half, 1.0)
