"""Does a fitted model hold? Figures that say so without showing a row.

Belongs here: fit, discrimination and collinearity of a model, as single figures. Does not
belong here: fitting (`glm`), residual plots (policy.md, Table A: none leave).
"""

from __future__ import annotations

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.glm import Model, row_covariance
from rcs_assets.estimation.intervals import floats_or_null

_TENTHS: Final = 10


def model_checks(con: duckdb.DuckDBPyConnection, design: Design, model: Model) -> pa.Table:
    """Figures of a model: `check`, `value`, `p_value`, `note`.

    - fit (Archer and Lemeshow 2006): mean residuals of tenths of the fitted values, tested
      together by a design-based F; a small p value says that the model misses something.
    - discrimination: the chance that of two pupils the one with the outcome has the higher
      fitted value (weighted; 0.5 says nothing, 1 all); 0/1 outcomes only.
    - collinearity: the largest variance inflation of a column by the others.

    Null where the model has no estimates, or its tenths are fewer than three.
    """
    if not model.estimated.all():
        fit: tuple[float, float] = (np.nan, np.nan)
        ranked, inflated = np.nan, np.nan
    else:
        fit = _fit_test(con, design, model)
        ranked = _discrimination(model)
        inflated = _largest_inflation(model)
    return pa.table(
        {
            "check": pa.array(["fit", "discrimination", "collinearity"], pa.string()),
            "value": floats_or_null(np.array([fit[0], ranked, inflated])),
            "p_value": floats_or_null(np.array([fit[1], np.nan, np.nan])),
            "note": pa.array(
                [
                    "Archer-Lemeshow F of mean residuals by tenths of the fitted value",
                    "area under the ROC curve, weighted",
                    "largest variance inflation factor",
                ],
                pa.string(),
            ),
        }
    )


def _tenths(fitted: Floats, weight: Floats) -> np.typing.NDArray[np.int64]:
    """Tenths of the weighted distribution; equal values stay together."""
    values, where = np.unique(fitted, return_inverse=True)
    held = np.bincount(where, weights=weight, minlength=len(values))
    before = np.cumsum(held) - held / 2.0
    tenth = np.minimum((before / held.sum() * _TENTHS).astype(np.int64), _TENTHS - 1)
    return np.unique(tenth[where], return_inverse=True)[1].astype(np.int64)


def _fit_test(con: duckdb.DuckDBPyConnection, design: Design, model: Model) -> tuple[float, float]:
    from scipy import stats

    fitted, weight = model.fitted(), model.data.weight
    group = _tenths(fitted, weight)
    groups_n = int(group.max()) + 1
    if groups_n < 3:
        return np.nan, np.nan
    residual = model.data.outcome - fitted
    inside = (group[:, None] == np.arange(groups_n)[None, :]).astype(np.float64)
    held = np.einsum("i,ij->j", weight, inside)
    means = np.einsum("i,ij->j", weight * residual, inside) / held
    # A mean residual moves with its rows and, through the fitted values, with the model.
    slope = model.family.slope(fitted)
    drift = np.einsum("ij,ik->jk", inside * (weight * slope)[:, None], model.data.matrix)
    influence = inside * (residual[:, None] - means) / held
    influence -= np.einsum("ik,jk->ij", model.influence, drift / held[:, None])
    covariance, values = row_covariance(con, design, model.data, influence)
    # The mean residuals of all groups but one: with an intercept they sum to zero.
    size, df = groups_n - 1, float(values.df[0])
    if df - size + 1 < 1 or not np.isfinite(covariance).all():
        return np.nan, np.nan
    inverse = np.linalg.pinv(covariance[1:, 1:], hermitian=True)
    wald = float(means[1:] @ inverse @ means[1:])
    value = wald * (df - size + 1) / (df * size)
    return value, float(stats.f.sf(value, size, df - size + 1))


def _discrimination(model: Model) -> float:
    outcome, weight = model.data.outcome, model.data.weight
    if set(np.unique(outcome)) != {0.0, 1.0}:
        return np.nan
    values, where = np.unique(model.fitted(), return_inverse=True)
    with_it = np.bincount(where, weights=weight * outcome, minlength=len(values))
    without = np.bincount(where, weights=weight * (1.0 - outcome), minlength=len(values))
    below = np.cumsum(without) - without
    return float((with_it * (below + without / 2.0)).sum() / (with_it.sum() * without.sum()))


def _largest_inflation(model: Model) -> float:
    matrix, weight = model.data.matrix, model.data.weight
    varied = matrix[:, np.ptp(matrix, axis=0) > 0]
    if varied.shape[1] < 2:
        return 1.0 if varied.shape[1] else np.nan
    centred = varied - np.einsum("i,ij->j", weight, varied) / weight.sum()
    cross = np.einsum("ij,ik->jk", centred * weight[:, None], centred)
    spread = np.sqrt(np.diag(cross))
    return float(np.max(np.diag(np.linalg.inv(cross / np.outer(spread, spread)))))
