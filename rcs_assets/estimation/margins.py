"""Average marginal effects: a model in the units of its outcome.

Belongs here: what the outcome's mean would change by if a variable changed for everybody,
all else as it is, with its standard error. Does not belong here: fitting (`glm`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from rcs_assets.estimation.compilation import Floats
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.glm import Model, row_covariance
from rcs_assets.estimation.intervals import floats_or_null, t_quantile


def marginal_effects(
    con: duckdb.DuckDBPyConnection, design: Design, model: Model, level: float = 0.95
) -> pa.Table:
    """The average change of the outcome's mean, a row a variable and level.

    A category: from its first level to each other one. A 0/1 number: from 0 to 1. Any other
    number: up by 1. The average is weighted over the rows of the model; its standard error
    is linearised over the whole design and counts both that coefficients are estimated and
    that the rows are a sample.

    Args:
        con: any DuckDB connection.
        design: the design that the model was fitted with.
        model: of `fit_glm`.
        level: confidence level.

    Returns:
        `variable`, `level` (of a category; else null), `estimate`, `se`, `ci_low`,
        `ci_high`, `reason` (empty, or why the model has no estimates).
    """
    changes = list(_changes(model))
    names = [(variable, label) for variable, labels, _ in changes for label in labels]
    if not model.estimated.any() or not len(model.data.outcome):
        why = next((reason for reason in model.reasons if reason), "no_data")
        return _table(names, np.full((3, len(names)), np.nan), 0.0, level, why)
    found = [effect for _, _, frames in changes for effect in _effects(model, frames)]
    influence = np.column_stack([rows for _, rows in found])
    covariance, _ = row_covariance(con, design, model.data, influence)
    figures = np.array([[value for value, _ in found], np.sqrt(np.diag(covariance))])
    return _table(names, figures, model.df, level, "")


def _changes(model: Model) -> Iterator[tuple[str, list[str | None], list[pd.DataFrame]]]:
    """Each variable's changes, by label, and the frames: the one before, then those after."""
    frame = model.data.frame
    used = " ".join(str(term) for term in model.data.spec.terms)
    for name, alias in model.data.aliases.items():
        if alias not in used:
            continue
        values = frame[alias]
        if isinstance(values.dtype, pd.CategoricalDtype) or f"C({alias})" in used:
            levels = _levels(values)
            labels: list[str | None] = [_label(after) for after in levels[1:]]
            yield name, labels, [_with(frame, alias, level) for level in levels]
        elif set(values.unique()) <= {0.0, 1.0}:
            yield name, [None], [_with(frame, alias, value) for value in (0.0, 1.0)]
        else:
            yield name, [None], [frame, frame.assign(**{alias: values + 1.0})]


def _levels(values: pd.Series[Any]) -> list[Any]:
    return sorted(values.unique().tolist())


def _label(value: Any) -> str:
    return str(value).removesuffix(".0")


def _with(frame: pd.DataFrame, alias: str, value: Any) -> pd.DataFrame:
    """The frame with one value for everybody, of the same kind as before."""
    column = frame[alias]
    if isinstance(column.dtype, pd.CategoricalDtype):
        code = column.cat.categories.get_loc(value)
        same: Any = pd.Categorical.from_codes(np.full(len(frame), code), dtype=column.dtype)
    else:
        same = np.full(len(frame), value)
    return frame.assign(**{alias: same})


def _effects(model: Model, frames: list[pd.DataFrame]) -> Iterator[tuple[float, Floats]]:
    """From the first frame to each other: the average change, and each row's influence on it."""
    weight, total = model.data.weight, model.data.weight.sum()
    matrices = model.data.matrices_of(frames)
    fitted = [model.fitted(rows) for rows in matrices]
    slopes = [
        np.einsum("i,ij->j", weight * model.family.slope(of_frame), rows) / total
        for of_frame, rows in zip(fitted, matrices, strict=True)
    ]
    for after, slope in zip(fitted[1:], slopes[1:], strict=True):
        change = after - fitted[0]
        average = float((weight * change).sum() / total)
        # Of the sample of rows, and of the coefficients through the outcome's slope.
        rows = (change - average) / total
        yield average, rows + np.einsum("ij,j->i", model.influence, slope - slopes[0])


def _table(
    names: list[tuple[str, str | None]], figures: Floats, df: float, level: float, reason: str
) -> pa.Table:
    estimate, se = figures[0], figures[1]
    half = t_quantile(np.full(len(names), df), level) * se
    return pa.table(
        {
            "variable": pa.array([name for name, _ in names], pa.string()),
            "level": pa.array([label for _, label in names], pa.string()),
            "estimate": floats_or_null(estimate),
            "se": floats_or_null(se),
            "ci_low": floats_or_null(estimate - half),
            "ci_high": floats_or_null(estimate + half),
            "reason": pa.array([reason] * len(names), pa.string()),
        }
    )
