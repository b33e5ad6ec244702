"""Empirical-Bayes shrinkage: areas drawn towards what all have in common.

Belongs here: the random-intercept model by REML from sums of areas, and its predictions,
as lme4's `lmer(y ~ 1 + (1 | area))`. Does not belong here: who may see them (disclosure).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.intervals import check_level, floats_or_null, normal_quantile
from rcs_assets.estimation.small_tables import number_column, small_table

_FIGURES: Final = ("shrunken", "shrunken_se", "shrunken_low", "shrunken_high", "reliability")


@dataclass(frozen=True)
class Shrunken:
    """`table` with predictions, and the model they come from."""

    table: pa.Table
    mean: float
    between_variance: float
    within_variance: float


def shrink(
    table: Any, *, n: str = "n", mean: str = "mean", sd: str | None = "sd", level: float = 0.95
) -> Shrunken:
    """Predicted means of areas: little of its own counts where an area is small.

    Args:
        table: a row an area: pyarrow.Table, pandas.DataFrame or DuckDB relation.
        n: column of observations; areas without any are predicted by the overall mean.
        mean: column of means (shares 0..1 of a 0/1 outcome).
        sd: column of standard deviations inside the area (n - 1); None for shares, whose
            spread follows from them.
        level: of the prediction interval.

    Returns:
        The table with `shrunken`, `shrunken_se` (of prediction, variances taken as known),
        `shrunken_low`, `shrunken_high`, `reliability` (what of the area's own mean counts).

    Raises:
        InputError: no table; unknown columns, or without numbers; columns named as those that
            are added; an area with observations and no mean or spread; fewer than two areas,
            or nothing inside them to measure the spread by.
    """
    check_level(level)
    areas = small_table(table, "shrink, argument table", _FIGURES)
    size, own, spread = _sums_of_areas(areas, n, mean, sd)
    known = size > 0
    # Summed in an order of their own: that of the rows does not show.
    ordered = np.lexsort((spread, own, size))
    within = _within_squares(size[ordered], own[ordered], spread[ordered], sd)
    if known.sum() < 2 or size.sum() <= known.sum() or within <= 0:
        raise InputError(
            "Areas cannot be shrunken",
            where="shrink, argument table",
            why="two areas, and some with two observations that differ, are needed",
            fix="leave this outcome out, or pool it over more areas",
        )
    ordered = ordered[known[ordered]]
    n_sorted, own_sorted = size[ordered], own[ordered]
    ratio = _variance_ratio(n_sorted, own_sorted, within)
    weight = n_sorted / (1.0 + ratio * n_sorted)
    overall = float((weight * own_sorted).sum() / weight.sum())
    squares = float((weight * (own_sorted - overall) ** 2).sum())
    sigma2 = (within + squares) / (float(n_sorted.sum()) - 1.0)
    reliability = ratio * size / (1.0 + ratio * size)
    predicted = overall + reliability * (own - overall)
    variance = sigma2 * ratio * (1.0 - reliability)
    variance = variance + (1.0 - reliability) ** 2 * sigma2 / weight.sum()
    se = np.sqrt(variance)
    half = normal_quantile(level) * se
    made = (predicted, se, predicted - half, predicted + half, reliability)
    for name, values in zip(_FIGURES, made, strict=True):
        areas = areas.append_column(name, floats_or_null(values))
    return Shrunken(areas, overall, sigma2 * ratio, sigma2)


def _sums_of_areas(
    areas: pa.Table, n: str, mean: str, sd: str | None
) -> tuple[Floats, Floats, Floats]:
    """Observations, means and standard deviations, 0 where there is nothing to have one of."""
    where = "shrink, argument table"
    size, own = (number_column(areas, name, where) for name in (n, mean))
    size = np.where(np.isnan(size), 0.0, size)
    if not np.isfinite(size).all() or (size < 0).any():
        raise _unusable(n, "numbers of observations are finite and 0 or more")
    if not np.isfinite(own[size > 0]).all():
        raise _unusable(mean, "an area with observations has a finite mean")
    own = np.where(size > 0, own, 0.0)
    if sd is None:
        if ((own < 0) | (own > 1)).any():
            raise _unusable(mean, "without sd, the means are shares from 0 to 1")
        return size, own, np.zeros_like(own)
    spread = number_column(areas, sd, where)
    if not (np.isfinite(spread[size > 1]) & (spread[size > 1] >= 0)).all():
        raise _unusable(sd, "an area with two observations has a spread of 0 or more")
    return size, own, np.where(size > 1, spread, 0.0)


def _unusable(column: str, rule: str) -> InputError:
    return InputError(
        f"Column {column} cannot be used",
        where="shrink, argument table",
        why=rule,
        fix="correct the column, or leave the area out",
    )


def _within_squares(size: Floats, own: Floats, spread: Floats, sd: str | None) -> float:
    """Sum of squares inside areas."""
    if sd is None:
        return float((size * own * (1.0 - own)).sum())
    return float((np.maximum(size - 1.0, 0.0) * spread**2).sum())


def _variance_ratio(size: Floats, own: Floats, within: float) -> float:
    """Between over within variance at the top of the restricted likelihood; 0 at its edge.

    The top is where the slope is 0: found by its root, since a minimum itself is known to
    half of the digits only.
    """
    from scipy import optimize

    total_n = float(size.sum())

    def slope(ratio: float) -> float:
        weight = size / (1.0 + ratio * size)
        about = (own - (weight * own).sum() / weight.sum()) ** 2
        squares = within + (weight * about).sum()
        fitted = (total_n - 1.0) * (weight**2 * about).sum() / squares
        return float(weight.sum() - (weight**2).sum() / weight.sum() - fitted)

    if slope(0.0) >= 0.0:
        return 0.0
    high = 1.0 / size.max()
    while slope(high) < 0.0:
        high *= 2.0
    return float(optimize.brentq(slope, 0.0, high, xtol=1e-16, rtol=1e-14))
