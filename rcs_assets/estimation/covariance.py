"""Covariances of several estimates of one domain, from the engine's variances.

Belongs here: the covariance matrix of measures that share a design. Does not belong here:
variances themselves (`variance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rcs_assets.estimation.compilation import Cells, Floats, Integers, Measure, Moments
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.variance import Estimates, estimate_cells

_AT_ONCE = 64  # pairs: their influences are as many columns of the units
_SUMS = ("n", "w", "wx", "wy", "wxx", "wxy", "wyy")


def covariance_of(
    cells: Cells, design: Design, measures: Sequence[Measure], statistic: str
) -> tuple[Estimates, Floats]:
    """Estimates of the first domain and their covariance matrix.

    The covariance is half of what the variance of a sum is more than those of its parts.
    A sum of measures has the sum of their `y`: it needs no other pass over the table. Units
    must be clusters (`with_row_units`).
    """
    columns = len(measures)
    alone = estimate_cells(cells, design, measures, statistic)
    covariance = np.diag(alone.variance[0])
    first, second = np.triu_indices(columns, k=1)
    for start in range(0, len(first), _AT_ONCE):
        a, b = first[start : start + _AT_ONCE], second[start : start + _AT_ONCE]
        shifts = [measures[i].shift + measures[j].shift for i, j in zip(a, b, strict=True)]
        pairs = [replace(measures[i], shift=s) for i, s in zip(a, shifts, strict=True)]
        together = replace(cells, moments=_pair_moments(cells.moments, a, b))
        both = estimate_cells(together, design, pairs, statistic).variance[0]
        half = (both - alone.variance[0][a] - alone.variance[0][b]) / 2.0
        covariance[a, b] = covariance[b, a] = half
    return alone, covariance


def _pair_moments(sums: Moments, first: Integers, second: Integers) -> Moments:
    """Moments of sums of two measures, as far as variances of clusters need them."""

    def added(matrix: Floats) -> Floats:
        return np.asarray(matrix[:, first] + matrix[:, second])

    kept = {name: getattr(sums, name)[:, first] for name in _SUMS}
    plain = (
        {}
        if sums.uy is None or sums.ux is None
        else {
            "uy": added(sums.uy),
            "ux": sums.ux[:, first],
        }
    )
    return Moments(**(kept | {"wy": added(sums.wy)} | plain))
