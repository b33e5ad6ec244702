"""Replicate weights: jackknife and bootstrap variances of the same estimates.

Belongs here: which units each replicate keeps, with which multiplier, and the variance of
the estimates over the replicates, as R survey's `as.svrepdesign`. Does not belong here:
estimates (`variance`). All replicates come from the sums of the units: no row is read
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Final

import numpy as np

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Cells, Floats, Integers
from rcs_assets.estimation.design import Design
from rcs_assets.estimation.variance import design_stages

KINDS: Final = ("JK1", "JKn", "bootstrap")


@dataclass(frozen=True)
class Replicates:
    """How replicates are made.

    Args:
        kind: "JK1" leaves out one unit at a time (no strata); "JKn" one unit at a time of
            each stratum; "bootstrap" draws n - 1 of a stratum's n units with replacement
            (Rao and Wu, R "subbootstrap").
        replicates_n: how many bootstrap draws.
        seed: of the bootstrap.
        mse: squares about the estimate instead of about the mean of the replicates (R
            `mse`).
    """

    kind: str = "JKn"
    replicates_n: int = 500
    seed: int = 20150401
    mse: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"Replicates '{self.kind}' are not known",
                where="Replicates.kind",
                fix=f"choose one of {', '.join(KINDS)}",
            )
        for name, least in (("replicates_n", 2), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise InputError(
                    f"{name} is no whole number from {least} on",
                    where=f"Replicates.{name}",
                    why="a bootstrap needs two draws at least, and a seed to repeat them",
                    fix="give a whole number",
                )


@dataclass(frozen=True)
class Multipliers:
    """`weights` (units x replicates) times the sampling weight; `scales` of the squares.

    Units are those of the first stage, in the order of their codes; `is_lonely` marks the
    ones that are alone in their stratum.
    """

    weights: Floats
    scales: Floats
    is_lonely: np.typing.NDArray[np.bool_]


def multipliers(cells: Cells, design: Design, replicates: Replicates) -> Multipliers:
    """Multipliers of every unit of the first stage in every replicate.

    Raises:
        InputError: JK1 of a design with strata; a stratum with one unit under
            `lonely_psu` "fail" or "adjust" (replicates have no such rule).
    """
    stage = design_stages(cells, design)[0]
    units_n = int(cells.units[0].max()) + 1 if len(cells.units[0]) else 0
    stratum = np.zeros(units_n, dtype=np.int64)
    stratum[cells.units[0]] = cells.strata[0]
    n = stage.units_n[stratum]
    left = 1.0 - stage.fraction[stratum]
    is_lonely = (n < 2) & (left > 0)
    if is_lonely.any() and design.lonely_psu in ("fail", "adjust"):
        raise InputError(
            "A stratum has only one unit",
            where=f"Design.strata, lonely_psu '{design.lonely_psu}'",
            why="a replicate that leaves out the only unit of a stratum says nothing",
            fix="join strata, or choose lonely_psu 'missing' or 'certainty'",
        )
    if replicates.kind == "JK1" and len(stage.units_n) > 1:
        raise InputError(
            "JK1 is for a design without strata", where="Replicates.kind", fix="choose 'JKn'"
        )
    if replicates.kind == "bootstrap":
        return _bootstrap(stratum, left, replicates, is_lonely)
    kept = np.where(n > 1, n / np.maximum(n - 1.0, 1.0), 1.0)
    same = stratum[:, None] == stratum[None, :]
    weights = np.where(same, kept[:, None], 1.0)
    np.fill_diagonal(weights, np.where(n > 1, 0.0, 1.0))
    return Multipliers(weights, left * (n - 1.0) / np.maximum(n, 1.0), is_lonely)


def _bootstrap(
    stratum: Integers,
    left: Floats,
    replicates: Replicates,
    is_lonely: np.typing.NDArray[np.bool_],
) -> Multipliers:
    """Rao-Wu draws; a finite population shrinks the multipliers towards 1."""
    rng = np.random.default_rng(replicates.seed)
    weights = np.ones((len(stratum), replicates.replicates_n))
    for code in range(int(stratum.max()) + 1 if len(stratum) else 0):
        units = np.flatnonzero(stratum == code)
        if len(units) < 2:
            continue
        m = len(units) - 1
        drawn = rng.multinomial(m, [1.0 / len(units)] * len(units), replicates.replicates_n).T
        change = drawn * len(units) / m - 1.0
        weights[units] = 1.0 + np.sqrt(left[units])[:, None] * change
    scales = np.full(replicates.replicates_n, 1.0 / (replicates.replicates_n - 1.0))
    return Multipliers(weights, scales, is_lonely)


def replicate_variance(
    cells: Cells,
    design: Design,
    statistic: str,
    replicates: Replicates,
    estimates: Floats,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> tuple[Floats, np.typing.NDArray[np.bool_]]:
    """Variances over the replicates (as `estimates`), and which a lonely unit touches.

    Args:
        cells: the whole design.
        design: its declaration.
        statistic: "mean" (ratios too) or "total".
        replicates: how they are made.
        estimates: the estimates without the middle of a mean's range, as the cells give.
        pairs: domains whose difference is asked (second less first).
    """
    made = multipliers(cells, design, replicates)
    domains_n = cells.domains.num_rows if cells.domains.num_columns else 1
    values = [_one_domain(cells, made, statistic, domain) for domain in range(domains_n)]
    touched = np.array([_is_touched(cells, made, domain) for domain in range(domains_n)])
    if pairs is not None:
        values = [values[second] - values[first] for first, second in pairs]
        touched = np.array([touched[second] | touched[first] for first, second in pairs])
    variance = np.empty_like(estimates)
    used = made.scales > 0
    for row, found in enumerate(values):
        centre = estimates[row] if replicates.mse else found[used].mean(axis=0)
        squares = (found - centre) ** 2
        variance[row] = np.einsum("r,rm->m", made.scales[used], squares[used])
    lonely = np.broadcast_to(touched[:, None], estimates.shape)
    if design.lonely_psu == "missing":
        variance = np.where(lonely, np.nan, variance)
    return variance, lonely


def _one_domain(cells: Cells, made: Multipliers, statistic: str, domain: int) -> Floats:
    """The estimates of one domain in every replicate (R x M)."""
    rows = np.flatnonzero(cells.domain == domain)
    weights = made.weights[cells.units[0][rows]]
    y = np.einsum("cr,cm->rm", weights, cells.moments.wy[rows])
    if statistic == "total":
        return np.asarray(y, dtype=np.float64)
    x = np.einsum("cr,cm->rm", weights, cells.moments.wx[rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(x != 0, y / x, np.nan), dtype=np.float64)


def _is_touched(cells: Cells, made: Multipliers, domain: int) -> bool:
    rows = np.flatnonzero(cells.domain == domain)
    return bool(made.is_lonely[cells.units[0][rows]].any())
