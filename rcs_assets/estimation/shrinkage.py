"""Empirical-Bayes shrinkage: areas drawn towards what all have in common.

Belongs here: the random-intercept model by REML from sums of areas, and its predictions,
as lme4's `lmer(y ~ 1 + (1 | area))`. Does not belong here: who may see them (disclosure).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.funnel import as_table
from rcs_assets.estimation.intervals import floats_or_null, normal_quantile


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
        InputError: unknown columns; fewer than two areas, or nothing inside them to
            measure the spread by.
    """
    areas = as_table(table)
    for name in (n, mean, *((sd,) if sd else ())):
        if name not in areas.column_names:
            raise InputError(f"Unknown column: {name}", where="shrink, argument table")
    size = np.nan_to_num(_floats(areas, n))
    known = size > 0
    own = np.where(known, _floats(areas, mean), 0.0)
    within = _within_squares(areas, size, own, sd)
    if known.sum() < 2 or size.sum() <= known.sum() or within <= 0:
        raise InputError(
            "Areas cannot be shrunken",
            where="shrink, argument table",
            why="two areas, and some with two observations that differ, are needed",
            fix="leave this outcome out, or pool it over more areas",
        )
    ratio = _variance_ratio(size[known], own[known], within)
    weight = size / (1.0 + ratio * size)
    overall = float((weight * own).sum() / weight.sum())
    total_n = float(size.sum())
    sigma2 = float((within + (weight * (own - overall) ** 2).sum()) / (total_n - 1.0))
    reliability = ratio * size / (1.0 + ratio * size)
    predicted = overall + reliability * (own - overall)
    variance = sigma2 * ratio * (1.0 - reliability)
    variance = variance + (1.0 - reliability) ** 2 * sigma2 / weight.sum()
    se = np.sqrt(variance)
    half = normal_quantile(level) * se
    made = {
        "shrunken": predicted,
        "shrunken_se": se,
        "shrunken_low": predicted - half,
        "shrunken_high": predicted + half,
        "reliability": reliability,
    }
    for name, values in made.items():
        areas = areas.append_column(name, floats_or_null(values))
    return Shrunken(areas, overall, sigma2 * ratio, sigma2)


def _within_squares(areas: pa.Table, size: Floats, own: Floats, sd: str | None) -> float:
    """Sum of squares inside areas."""
    if sd is None:
        return float((size * own * (1.0 - own)).sum())
    spread = np.nan_to_num(_floats(areas, sd))
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


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(), dtype=np.float64)
