"""Survey-weighted generalised linear models: pseudo-likelihood, design-based variance.

Belongs here: fitting to the end (no early stop), the linearised covariance of coefficients
over the whole design, and what a model cannot say. Does not belong here: formulas
(`formula`), effects on the scale of the outcome (`margins`).

The variance is that of a total: each row has an influence on every coefficient
(inverse information times its score), and the engine's variance of totals does the rest:
strata, all stages, finite populations, lonely units, rows outside the model as zeros. The
fitting is our own since it must not depend on threads: sums are made by einsum, in row
order, on standardised columns; packages hand that to a threaded BLAS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats, Measure, fetch_cells
from rcs_assets.estimation.covariance import covariance_of
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.formula import ModelData, read_model
from rcs_assets.estimation.intervals import check_level, floats_or_null, t_quantile
from rcs_assets.estimation.relation import (
    Bounds,
    open_relation,
    profile,
    unused,
    with_row_units,
)
from rcs_assets.estimation.variance import Estimates
from rcs_assets.given import need_kind

_COLLINEAR: Final = 1e-7  # R's tolerance: less of a column is left by those before it
_FLAT: Final = 1e-11  # R's tolerance in glm: a smaller spread, of a column's size, is rounding
_STEPS: Final = 100
_CONVERGED: Final = 1e-14
_SEPARATED: Final = 15.0  # a fitted logit beyond it: a share within 3e-7 of 0 or 1
_MODEL_ROWS: Final = "rcs_model_rows"


@dataclass(frozen=True)
class Family:
    """A mean as a function of the linear predictor (canonical link) and its slope."""

    name: str
    inverse_link: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    low: float
    high: float


def _logistic(eta: Floats) -> Floats:
    from scipy import special

    return np.asarray(special.expit(eta), dtype=np.float64)


_GAUSSIAN = Family("gaussian", lambda eta: eta, np.ones_like, -np.inf, np.inf)
_BINOMIAL = Family("binomial", _logistic, lambda mean: mean * (1.0 - mean), 0.0, 1.0)
_POISSON = Family("poisson", np.exp, lambda mean: mean, 0.0, np.inf)
FAMILIES: Final = {
    "gaussian": _GAUSSIAN,
    "binomial": _BINOMIAL,
    "quasibinomial": _BINOMIAL,
    "poisson": _POISSON,
    "quasipoisson": _POISSON,
}


@dataclass(frozen=True)
class Model:
    """A fitted model.

    `coefficients` are NaN where `reasons` says why; `covariance` is theirs; `df` are the
    units less the strata that hold the model's rows, less the coefficients but one (R
    `svyglm`); `n` counts rows. `influence` (rows x coefficients, not weighted) is what a
    row moves each coefficient by.
    """

    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    reasons: tuple[str, ...]
    df: float
    n: int
    steps_n: int
    family: Family
    data: ModelData
    influence: Floats

    @property
    def se(self) -> Floats:
        """Standard errors."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def estimated(self) -> np.typing.NDArray[np.bool_]:
        """Which coefficients could be estimated."""
        return np.isfinite(self.coefficients)

    def fitted(self, matrix: Floats | None = None) -> Floats:
        """Means of the model's rows, or of the rows of another matrix."""
        rows = self.data.matrix if matrix is None else matrix
        return self.family.inverse_link(_product(rows, np.nan_to_num(self.coefficients)))


def glm(
    con: duckdb.DuckDBPyConnection,
    table: str,
    design: Design,
    formula: str,
    family: str = "gaussian",
    level: float = 0.95,
) -> pa.Table:
    """Coefficients of a survey-weighted model, as R `svyglm` fitted to the end.

    Args:
        con: any DuckDB connection that can read the table.
        table: name of a table or view, one row a respondent.
        design: how the rows were drawn.
        formula: `outcome ~ terms` in R's manner: `+`, `:`, `*`, `/`, `^`, `- 1`; text columns
            are categories, `C(x)` makes one of a number, the first level is the reference.
            `I(…)` holds arithmetic and comparisons; `log`, `log2`, `log10`, `exp`, `np.sqrt`,
            `np.abs`, `center`, `scale`, `poly(x, 2)` and `bs(x, df=4)` are known, nothing
            else. Names that are no words stand in backticks. A row with a null in any of the
            columns is outside the model and inside the design; a NaN is refused.
        family: "gaussian", "binomial", "poisson" ("quasibinomial" and "quasipoisson" are
            the same here), each with its canonical link.
        level: confidence level.

    Returns:
        A row a coefficient: `variable` (R's name of it), `estimate`, `se`, `ci_low`,
        `ci_high` (t, on `df`), `statistic` (t), `p_value`, `n`, `df`, `reason`: empty or
        "no_data" (no complete row), "all_equal" (one value of the outcome; no model but a
        constant), "collinear" (says what others before it say: null, others stand),
        "separated" (a share of 0 or 1 in a group: no finite estimate), "lonely_psu" or
        "no_df" (no interval).

    Raises:
        InputError: an unusable formula, an unknown family, an outcome outside the family.
    """
    return coefficient_table(fit_glm(con, table, design, formula, family), level)


def fit_glm(
    con: duckdb.DuckDBPyConnection, table: str, design: Design, formula: str, family: str
) -> Model:
    """The model itself, for what goes on from it. Arguments and errors as `glm`."""
    if family not in FAMILIES:
        raise InputError(
            f"family '{family}' is not available",
            where="argument family",
            fix=f"choose one of {', '.join(FAMILIES)}",
        )
    need_kind(design, Design, "argument design", "give Design(…); Design() is a simple sample")
    need_kind(formula, str, "argument formula", "write outcome ~ terms, such as y ~ age + C(sex)")
    relation = open_relation(con, table)
    relation.need(design.columns, "design")
    relation.need_numbers([n for n in (design.weight, *design.fpc_names) if n], "design")
    data = read_model(con, relation, design, formula)
    chosen = FAMILIES[family]
    _check_outcome(data.outcome, chosen, formula)
    reasons = _refusals(data, chosen)
    kept = np.array([not reason for reason in reasons])
    if not kept.any():
        return _without_estimates(data, chosen, reasons)
    beta, influence, steps_n, is_separated = _fit(data, chosen, kept)
    if is_separated:
        return _without_estimates(data, chosen, [r or "separated" for r in reasons])
    covariance, values = row_covariance(con, design, data, influence)
    p = len(data.names)
    coefficients, full = np.full(p, np.nan), np.full((p, p), np.nan)
    coefficients[kept] = beta
    full[np.ix_(kept, kept)] = covariance
    whole = np.zeros((len(data.outcome), p))
    whole[:, kept] = influence
    if values.is_lonely.any():
        reasons = [reason or "lonely_psu" for reason in reasons]
    df = float(values.df[0]) + 1.0 - float(kept.sum()) if len(values.df) else 0.0
    return Model(
        names=data.names,
        coefficients=coefficients,
        covariance=full,
        reasons=tuple(reasons if df >= 1 else [reason or "no_df" for reason in reasons]),
        df=df,
        n=len(data.outcome),
        steps_n=steps_n,
        family=chosen,
        data=data,
        influence=whole,
    )


def coefficient_table(model: Model, level: float = 0.95) -> pa.Table:
    """A model as the table that `glm` returns."""
    from scipy import special

    check_level(level)
    df = np.full(len(model.names), model.df)
    half = t_quantile(df, level) * model.se
    with np.errstate(divide="ignore", invalid="ignore"):
        t = model.coefficients / model.se
        p_value = np.where(df >= 1, 2.0 * special.stdtr(np.maximum(df, 1.0), -np.abs(t)), np.nan)
    p = len(model.names)
    return pa.table(
        {
            "variable": pa.array(model.names, pa.string()),
            "estimate": floats_or_null(model.coefficients),
            "se": floats_or_null(model.se),
            "ci_low": floats_or_null(model.coefficients - half),
            "ci_high": floats_or_null(model.coefficients + half),
            "statistic": floats_or_null(t),
            "p_value": floats_or_null(p_value),
            "n": pa.array([model.n] * p, pa.int64()),
            "df": pa.array([int(max(model.df, 0.0))] * p, pa.int64()),
            "reason": pa.array(model.reasons, pa.string()),
        }
    )


def _check_outcome(outcome: Floats, family: Family, formula: str) -> None:
    if len(outcome) and not (
        np.isfinite(outcome).all() and outcome.min() >= family.low and outcome.max() <= family.high
    ):
        raise InputError(
            f"The outcome lies outside the family {family.name}",
            where=f"formula {formula}",
            why=f"it must be finite, from {family.low:g} to {family.high:g}",
            fix="make a 0/1 column for binomial, counts for poisson",
        )


def _refusals(data: ModelData, family: Family) -> list[str]:
    """Why each coefficient cannot be estimated, before any fitting (empty: it can)."""
    names = data.names
    if not len(data.outcome):
        return ["no_data"] * len(names)
    if np.ptp(data.outcome) == 0:
        is_bound = family is _BINOMIAL or (family is _POISSON and data.outcome[0] == 0)
        if is_bound or family is _GAUSSIAN:
            return ["all_equal"] * len(names)
    left = collinear(data.matrix, data.weight)
    return ["collinear" if lost else "" for lost in left]


def collinear(matrix: Floats, weight: Floats) -> list[bool]:
    """Columns of which the columns before them leave (almost) nothing.

    Columns are taken about their means, as they are fitted: a small spread far from zero
    loses nothing. What is left of it all the same is R's tolerance in `glm`.
    """
    total = weight.sum()
    size = np.sqrt(_sums(weight, matrix**2) / total)
    z, transform = _standardised(matrix, weight)
    is_flat = 1.0 / np.diag(transform) <= _FLAT * size
    gram = _gram(z, weight / total)
    kept: list[int] = []
    lost: list[bool] = []
    for column in range(matrix.shape[1]):
        left = gram[column, column]
        if kept:
            cross = gram[kept, column]
            left = left - cross @ np.linalg.solve(gram[np.ix_(kept, kept)], cross)
        lost.append(bool(is_flat[column] or left <= _COLLINEAR**1.5))
        kept += [] if lost[-1] else [column]
    return lost


def _without_estimates(data: ModelData, family: Family, reasons: Sequence[str]) -> Model:
    p = len(data.names)
    return Model(
        names=data.names,
        coefficients=np.full(p, np.nan),
        covariance=np.full((p, p), np.nan),
        reasons=tuple(reasons),
        df=0.0,
        n=len(data.outcome),
        steps_n=0,
        family=family,
        data=data,
        influence=np.zeros((len(data.outcome), p)),
    )


def _gram(matrix: Floats, weight: Floats) -> Floats:
    """X' W X in row order, whatever the number of threads."""
    return np.asarray(np.einsum("ij,ik->jk", matrix * weight[:, None], matrix), dtype=np.float64)


def _sums(weight: Floats, matrix: Floats) -> Floats:
    return np.asarray(np.einsum("i,ij->j", weight, matrix), dtype=np.float64)


def _product(matrix: Floats, vector: Floats) -> Floats:
    return np.asarray(np.einsum("ij,j->i", matrix, vector), dtype=np.float64)


def _standardised(matrix: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Columns about their mean and over their spread, and the way back: Z = X T."""
    p = matrix.shape[1]
    total = weight.sum()
    is_constant = np.ptp(matrix, axis=0) == 0
    shift = np.zeros(p)
    constants = np.flatnonzero(is_constant)
    if len(constants):
        shift = np.where(is_constant, 0.0, _sums(weight, matrix) / total)
    spread = np.sqrt(_sums(weight, (matrix - shift) ** 2) / total)
    transform = np.diag(1.0 / np.where(spread > 0, spread, 1.0))
    if len(constants):
        first = constants[0]
        transform[first, :] -= (
            shift / np.where(spread > 0, spread, 1.0) / matrix[0, first] * (~is_constant)
        )
    return (matrix - shift) * np.diag(transform)[None, :], transform


def _fit(
    data: ModelData, family: Family, kept: np.typing.NDArray[np.bool_]
) -> tuple[Floats, Floats, int, bool]:
    """Coefficients, influences of the rows, Newton steps, and whether none are finite."""
    weight = data.weight / data.weight.mean()
    z, transform = _standardised(data.matrix[:, kept], weight)
    gamma = _start(z, data.outcome, weight, family)
    best = np.inf
    information = np.eye(z.shape[1])
    step = 0
    for step in range(1, _STEPS + 1):
        mean = family.inverse_link(_product(z, gamma))
        information = _gram(z, weight * family.slope(mean))
        if family is _BINOMIAL and np.linalg.cond(information) > 1e12:
            return gamma, z, step, True
        change = np.linalg.solve(information, _sums(weight * (data.outcome - mean), z))
        gamma = gamma + change
        size = float(np.max(np.abs(change) / np.maximum(np.abs(gamma), 1.0)))
        # Newton stops at the noise of its own sums: then steps grow no smaller.
        if size <= _CONVERGED or (size < 1e-9 and size >= best):
            break
        best = size
    else:
        return gamma, z, step, True
    eta = _product(z, gamma)
    if family is _BINOMIAL and np.max(np.abs(eta)) > _SEPARATED and best > 1e-3:
        return gamma, z, step, True
    mean = family.inverse_link(eta)
    scores = z * (data.outcome - mean)[:, None]
    inverse = np.linalg.inv(_gram(z, weight * family.slope(mean)))
    # Weights were divided by their mean: so is the information, and back again.
    influence = np.einsum("ij,jk->ik", scores, inverse @ transform.T) / data.weight.mean()
    return transform @ gamma, np.asarray(influence, dtype=np.float64), step, False


def _start(z: Floats, outcome: Floats, weight: Floats, family: Family) -> Floats:
    """R's start: one step from means near the outcome."""
    if family is _GAUSSIAN:
        return np.zeros(z.shape[1])
    near = (outcome + 0.5) / 2.0 if family is _BINOMIAL else outcome + 0.1
    eta = np.log(near / (1.0 - near)) if family is _BINOMIAL else np.log(near)
    slope = family.slope(near)
    working = eta + (outcome - near) / slope
    gram = _gram(z, weight * slope)
    return np.asarray(np.linalg.solve(gram, _sums(weight * slope * working, z)), dtype=np.float64)


def row_covariance(
    con: duckdb.DuckDBPyConnection, design: Design, data: ModelData, influence: Floats
) -> tuple[Floats, Estimates]:
    """Covariance of the weighted totals of the rows' influences, over the whole design."""
    # Columns of the design may be called as ours are.
    names = [unused(f"rcs_u{k}", design.columns) for k in range(influence.shape[1])]
    inside_name = unused("rcs_inside", design.columns)
    held = {
        name: _spread(influence[:, k], data.is_complete, np.nan) for k, name in enumerate(names)
    }
    inside = _spread(np.ones(len(influence)), data.is_complete, np.nan)
    table = data.rows if design.columns else pa.table({"rcs_row": np.arange(len(inside))})
    for name, column in (held | {inside_name: inside}).items():
        table = table.append_column(name, pa.array(column, from_pandas=True))
    measures = [_influence_measure(name, held[name]) for name in held]
    con.register(_MODEL_ROWS, table)
    try:
        rows, units = with_row_units(open_relation(con, _MODEL_ROWS), design)
        found = profile(con, rows, units, [])
        cells = fetch_cells(con, rows, units, found, measures, [inside_name])
    finally:
        con.unregister(_MODEL_ROWS)
    values, covariance = covariance_of(cells, units, measures, "total")
    return covariance, values


def _spread(values: Floats, places: np.typing.NDArray[np.bool_], empty: float) -> Floats:
    whole = np.full(len(places), empty)
    whole[places] = values
    return whole


def _influence_measure(name: str, values: Floats) -> Measure:
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    return Measure(name, None, name, name, Bounds(-largest, largest, is_binary=False))
