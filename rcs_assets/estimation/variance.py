"""Estimates and linearised variances from the cells of the one aggregating query.

Belongs here: Taylor linearisation (Woodruff 1971) over the whole design, any number of
stages, as R survey 4.1 does it (`svyrecvar`): a domain's variance keeps every unit of
the design, those without the domain count as zeros. Does not belong here: SQL
(`compilation`), intervals (`intervals`).

Shapes: C cells, D domains, M measures. All sums run over cells in their sorted order,
so that results do not depend on threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Cells, Floats, Integers, Measure, Moments
from rcs_assets.estimation.design import Design

_CENSUS: Final = 1e-7  # R: a stratum with less than this left unsampled adds no variance
_RAKED_ROUNDS: Final = 10  # of R survey
_NOISE: Final = 8 * np.finfo(np.float64).eps  # what S2 - S1²/n may leave where it is 0


@dataclass(frozen=True)
class Estimates:
    """Point estimates and variances, each D x M.

    `rows_n` counts rows of the domain with or without a value (D); `df` is units minus
    strata that hold the domain, with a positive weight (D); `is_lonely` marks variances
    that a stratum with one unit touches.
    """

    estimate: Floats
    variance: Floats
    n: Floats
    deff: Floats
    rows_n: Floats
    df: Floats
    is_lonely: np.typing.NDArray[np.bool_]


@dataclass(frozen=True)
class Influence:
    """Weighted influence values summed to cells, with the domain of each cell.

    `z` (C x M) are sums; `z2` (C x M) sums of squares of the rows, only where rows are
    the units; `present` says whether a cell holds rows of the measure.
    """

    domain: Integers
    cell: Integers
    z: Floats
    z2: Floats | None
    present: np.typing.NDArray[np.bool_]


@dataclass(frozen=True)
class Stage:
    """One stage of the whole design: what its strata hold, whatever the domain.

    `units_n` and `fraction` are by stratum code; `above` is the product of the sampling
    fractions of the stages above, by stratum code.
    """

    units_n: Floats
    fraction: Floats
    above: Floats


def estimate_cells(
    cells: Cells, design: Design, measures: Sequence[Measure], statistic: str
) -> Estimates:
    """Means, totals or ratios of every measure in every domain.

    Raises:
        InputError: the design contradicts its data (nesting, fpc, lonely strata under
            "fail").
    """
    domains_n = cells.domains.num_rows if cells.domains.num_columns else 1
    sums = _domain_sums(cells, domains_n)
    y_factor, x_factor, values = _linear_form(sums, statistic)
    shift = np.array([measure.shift for measure in measures])
    inside = np.flatnonzero(cells.domain >= 0)
    influence = _influence(cells, inside, y_factor, x_factor, domains_n)
    stages = design_stages(cells, design)
    variance, is_lonely = total_variance(cells, design, stages, influence, domains_n)
    variance = np.where(np.isnan(values), np.nan, variance)
    return Estimates(
        estimate=values + shift,
        variance=variance,
        n=sums.n,
        deff=variance / _simple_variance(sums, y_factor, x_factor),
        rows_n=_group(cells.rows_n[inside], cells.domain[inside], domains_n),
        df=degrees_of_freedom(cells, inside, cells.domain[inside], domains_n),
        is_lonely=is_lonely,
    )


def estimate_differences(
    cells: Cells, design: Design, pairs: Sequence[tuple[int, int]]
) -> Estimates:
    """Differences of means between pairs of domains (second minus first), rows = pairs.

    Domains of one unit covary: the variance is that of the difference of their influence
    values, unit by unit. Degrees of freedom are those of both domains together less one,
    as R's `svyttest`.
    """
    domains_n = cells.domains.num_rows
    sums = _domain_sums(cells, domains_n)
    y_factor, x_factor, values = _linear_form(sums, "mean")
    inside = np.flatnonzero(cells.domain >= 0)
    single = _influence(cells, inside, y_factor, x_factor, domains_n)
    paired = _pair_up(single, pairs)
    first, second = (np.array([pair[i] for pair in pairs], dtype=np.int64) for i in (0, 1))
    variance, is_lonely = total_variance(
        cells, design, design_stages(cells, design), paired, len(pairs)
    )
    difference = values[second] - values[first]
    units_n = degrees_of_freedom(cells, paired.cell, paired.domain, len(pairs))
    return Estimates(
        estimate=difference,
        variance=np.where(np.isnan(difference), np.nan, variance),
        n=sums.n[first] + sums.n[second],
        deff=np.full_like(difference, np.nan),
        rows_n=_group(cells.rows_n[paired.cell], paired.domain, len(pairs)),
        df=np.maximum(units_n - 1.0, 0.0),
        is_lonely=is_lonely,
    )


def _domain_sums(cells: Cells, domains_n: int) -> Moments:
    """The moments of the cells, summed by domain (D x M)."""
    inside = cells.domain >= 0
    codes = cells.domain[inside]
    names = ("n", "w", "wx", "wy", "wxx", "wxy", "wyy")
    # Moments of 0/1 measures share matrices: each is summed once.
    different = {id(matrix): matrix for matrix in (getattr(cells.moments, n) for n in names)}
    summed = {key: _group(matrix[inside], codes, domains_n) for key, matrix in different.items()}
    return Moments(**{name: summed[id(getattr(cells.moments, name))] for name in names})


def _linear_form(sums: Moments, statistic: str) -> tuple[Floats, Floats, Floats]:
    """Coefficients of y and x in the influence of a row, and the estimates, D x M."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if statistic == "total":
            values = np.where(sums.n > 0, sums.wy, np.nan)
            return np.ones_like(values), np.zeros_like(values), values
        values = np.where((sums.n > 0) & (sums.wx != 0), sums.wy / sums.wx, np.nan)
        y_factor = np.nan_to_num(1.0 / sums.wx, nan=0.0, posinf=0.0, neginf=0.0)
    return y_factor, -np.nan_to_num(values) * y_factor, values


def _influence(
    cells: Cells, inside: Integers, y_factor: Floats, x_factor: Floats, domains_n: int
) -> Influence:
    domain = cells.domain[inside]
    a, b = y_factor[domain], x_factor[domain]
    sums = cells.moments
    z = a * sums.wy[inside] + b * sums.wx[inside]
    z2 = None
    if sums.vyy is not None and sums.vxy is not None and sums.vxx is not None:
        parts = (a * a * sums.vyy[inside], b * b * sums.vxx[inside])
        z2 = parts[0] + 2.0 * a * b * sums.vxy[inside] + parts[1]
        # The quadratic form cannot be below zero; what is smaller than its rounding is 0.
        z2 = np.where(z2 <= _NOISE * (parts[0] + parts[1]), 0.0, z2)
    found = Influence(domain, inside, z, z2, sums.n[inside] > 0)
    if not cells.margins or sums.uy is None or sums.ux is None:
        return found
    return _calibrated(cells, found, a * sums.uy[inside] + b * sums.ux[inside], domains_n)


def _calibrated(cells: Cells, found: Influence, plain: Floats, domains_n: int) -> Influence:
    """Influence less what the calibration margins explain of it, in every cell.

    R's `svyrecvar`: the mean of a row's influence in its post-stratum is taken out, ten
    rounds over all margins after raking. Rows outside the domain have influence 0 and lose
    that mean too, so that each domain reaches every cell.
    """
    cells_n, measures_n = len(cells.rows_n), found.z.shape[1]
    shape = (domains_n, cells_n, measures_n)
    z, u = np.zeros(shape), np.zeros(shape)
    np.add.at(z, (found.domain, found.cell), found.z)
    np.add.at(u, (found.domain, found.cell), plain)
    rows_n = cells.weighted_n
    for _ in range(_RAKED_ROUNDS if len(cells.margins) > 1 else 1):
        for codes in cells.margins:
            held = np.bincount(codes, weights=rows_n)
            for domain in range(domains_n):
                mean = _group(u[domain], codes, len(held)) / np.maximum(held, 1.0)[:, None]
                u[domain] -= rows_n[:, None] * mean[codes]
                z[domain] -= cells.weights[:, None] * mean[codes]
    return Influence(
        domain=np.repeat(np.arange(domains_n), cells_n),
        cell=np.tile(np.arange(cells_n), domains_n),
        z=z.reshape(-1, measures_n),
        z2=None,
        present=np.ones((domains_n * cells_n, measures_n), dtype=bool),
    )


def _pair_up(single: Influence, pairs: Sequence[tuple[int, int]]) -> Influence:
    """Each pair as a domain of its own: first with a minus sign, second with a plus."""
    by_domain = [np.flatnonzero(single.domain == code) for code in range(_top(single.domain))]
    rows = [by_domain[side] for pair in pairs for side in pair]
    sizes = np.array([len(part) for part in rows], dtype=np.int64)
    take = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    side = np.repeat(np.arange(len(rows)), sizes)
    sign = np.where(side % 2 == 0, -1.0, 1.0)[:, None]
    return Influence(
        domain=side // 2,
        cell=single.cell[take],
        z=single.z[take] * sign,
        z2=None if single.z2 is None else single.z2[take],
        present=single.present[take],
    )


def _top(codes: Integers) -> int:
    return int(codes.max()) + 1 if len(codes) else 0


def _simple_variance(sums: Moments, y_factor: Floats, x_factor: Floats) -> Floats:
    """Variance of the estimate if its rows had been drawn singly, with replacement.

    R's `deff="replace"`: svyvar of the influence, n / (n - 1), over n. Null for n < 2.
    """
    a, b = y_factor, x_factor
    with np.errstate(divide="ignore", invalid="ignore"):
        square = (a * a * sums.wyy + 2.0 * a * b * sums.wxy + b * b * sums.wxx) / sums.w
        mean = (a * sums.wy + b * sums.wx) / sums.w
        simple = sums.w**2 * (square - mean**2) / (sums.n - 1.0)
        floor = sums.w**2 * _NOISE * (a * a * sums.wyy + b * b * sums.wxx) / sums.w / sums.n
    return np.where((sums.n > 1) & (simple > floor), simple, np.nan)


def degrees_of_freedom(cells: Cells, rows: Integers, domain: Integers, domains_n: int) -> Floats:
    """Units minus strata that hold the domain with a positive weight, as R `degf`.

    Args:
        cells: the whole design.
        rows: the cells that belong to domains.
        domain: the domain of each of those.
        domains_n: how many domains there are.
    """
    weighted = cells.weighted_n[rows] > 0
    strata = _distinct(domain[weighted], cells.strata[0][rows][weighted], domains_n)
    if not cells.units:
        return _group(cells.weighted_n[rows], domain, domains_n) - strata
    return _distinct(domain[weighted], cells.units[0][rows][weighted], domains_n) - strata


def _distinct(domain: Integers, codes: Integers, domains_n: int) -> Floats:
    """Number of different codes in each domain."""
    width = _top(codes) + 1
    pairs = np.unique(domain * width + codes)
    return np.bincount(pairs // width, minlength=domains_n).astype(np.float64)


def design_stages(cells: Cells, design: Design) -> list[Stage]:
    """Units and sampling fractions of every stratum of every stage, all domains together.

    Raises:
        InputError: clusters are not nested in strata; an fpc varies inside a stratum, is
            neither a size nor a fraction, or is smaller than the sample.
    """
    if cells.units and not design.nest and design.strata_names:
        _check_nesting(cells, design)
    stages: list[Stage] = []
    for number, strata in enumerate(cells.strata):
        strata_n = _top(strata)
        if cells.units:
            units_n = _distinct(strata, cells.units[number], strata_n)
        else:
            units_n = _group(cells.rows_n, strata, strata_n)
        fraction = np.zeros(strata_n)
        if design.fpc_names:
            fraction = _fractions(cells, design, number, units_n)
        stages.append(Stage(units_n, fraction, _above(cells, stages, number, strata_n)))
    return stages


def _above(cells: Cells, stages: Sequence[Stage], number: int, strata_n: int) -> Floats:
    above = np.ones(strata_n)
    if number:
        parent = np.zeros(strata_n, dtype=np.int64)
        parent[cells.strata[number]] = cells.strata[number - 1]
        above = stages[number - 1].above[parent] * stages[number - 1].fraction[parent]
    return above


def _check_nesting(cells: Cells, design: Design) -> None:
    """A cluster name that stands in two strata has as many codes as strata."""
    assert cells.cluster_names is not None
    if _top(cells.units[0]) > _top(cells.cluster_names):
        raise InputError(
            f"Clusters {design.cluster_names[0]} are not nested in strata",
            where=f"Design: {design.cluster_names[0]} in {design.strata_names[0]}",
            why="the same cluster name stands in more than one stratum",
            fix="make the names unique, or say Design(nest=True) if they are used again",
        )


def _fractions(cells: Cells, design: Design, number: int, units_n: Floats) -> Floats:
    """Sampling fraction of every stratum of a stage from sizes or fractions."""
    low, high = cells.fpc[number]
    strata, column = cells.strata[number], design.fpc_names[number]
    smallest, largest = np.full(len(units_n), np.inf), np.zeros(len(units_n))
    np.minimum.at(smallest, strata, low)
    np.maximum.at(largest, strata, high)
    _check_fpc(column, smallest, largest)
    is_size = bool((largest > 1).any())
    if is_size and (smallest < 1).any():
        raise _fpc_error(column, "sizes (> 1) and fractions (< 1) are mixed")
    fraction = units_n / largest if is_size else largest
    if (fraction > 1 + 1e-9).any():
        raise _fpc_error(column, "the population is smaller than the sample in a stratum")
    return np.minimum(fraction, 1.0)


def _check_fpc(column: str, smallest: Floats, largest: Floats) -> None:
    if (smallest < 0).any() or not np.isfinite(largest).all():
        raise _fpc_error(column, "it is negative or not finite")
    if (largest != smallest).any():
        raise _fpc_error(column, "it varies inside a stratum")


def _fpc_error(column: str, what: str) -> InputError:
    return InputError(
        f"The finite population correction {column} is not usable: {what}",
        where=f"Design.fpc {column}",
        why="population size (> 1) or sampling fraction (<= 1), the same in all of a stratum",
        fix="correct the column",
    )


def total_variance(
    cells: Cells, design: Design, stages: Sequence[Stage], influence: Influence, domains_n: int
) -> tuple[Floats, np.typing.NDArray[np.bool_]]:
    """Variance of the sum of the influence values, all stages (D x M), and lonely marks.

    Raises:
        InputError: a stratum with one unit under lonely_psu="fail".
    """
    variance = np.zeros((domains_n, influence.z.shape[1]))
    is_lonely = np.zeros(variance.shape, dtype=bool)
    for number, stage in enumerate(stages):
        part = _stage_sums(cells, influence, number, stage)
        added, lonely = _stage_variance(stage, part, design.lonely_psu)
        if design.lonely_psu == "fail" and lonely.any():
            raise _lonely_error(cells, design, number, part.stratum[lonely.any(axis=1)])
        variance += _group(added, part.domain, domains_n)
        is_lonely |= _group(lonely.astype(np.float64), part.domain, domains_n) > 0
    if design.lonely_psu == "missing":
        variance = np.where(is_lonely, np.nan, variance)
    return variance, is_lonely


@dataclass(frozen=True)
class _StageSums:
    """Influence by (domain, stratum): squares as they are and about the stratum's mean."""

    domain: Integers
    stratum: Integers
    squares: Floats
    centred: Floats
    present: np.typing.NDArray[np.bool_]


def _stage_sums(cells: Cells, influence: Influence, number: int, stage: Stage) -> _StageSums:
    """Sum cells to units, and the squares of units, by (domain, stratum) of a stage."""
    stratum = cells.strata[number][influence.cell]
    if not cells.units:
        return _row_sums(influence, stratum, stage)
    unit = cells.units[number][influence.cell]
    order = np.lexsort((unit, influence.domain))
    domain, unit, stratum = influence.domain[order], unit[order], stratum[order]
    starts = _starts(domain, unit)
    totals = _reduce(np.add, influence.z[order], starts)
    present = _reduce(np.logical_or, influence.present[order], starts)
    # Units nest in strata, so that cells sorted by unit are sorted by stratum.
    domain, stratum = domain[starts], stratum[starts]
    starts = _starts(domain, stratum)
    n = stage.units_n[stratum[starts]][:, None]
    held_n = np.diff(np.append(starts, len(stratum)))
    mean = _reduce(np.add, totals, starts) / n
    about = (totals - np.repeat(mean, held_n, axis=0)) ** 2
    return _StageSums(
        domain=domain[starts],
        stratum=stratum[starts],
        squares=_reduce(np.add, totals**2, starts),
        centred=_reduce(np.add, about, starts) + (n - held_n[:, None]) * mean**2,
        present=_reduce(np.logical_or, present, starts),
    )


def _row_sums(influence: Influence, stratum: Integers, stage: Stage) -> _StageSums:
    """The same where rows are the units: from sums and sums of squares."""
    assert influence.z2 is not None
    order = np.lexsort((stratum, influence.domain))
    domain, stratum = influence.domain[order], stratum[order]
    starts = _starts(domain, stratum)
    squares = _reduce(np.add, influence.z2[order], starts)
    n = stage.units_n[stratum[starts]][:, None]
    centred = squares - _reduce(np.add, influence.z[order], starts) ** 2 / n
    return _StageSums(
        domain=domain[starts],
        stratum=stratum[starts],
        squares=squares,
        centred=np.where(centred <= _NOISE * squares, 0.0, centred),
        present=_reduce(np.logical_or, influence.present[order], starts),
    )


def _reduce(operation: np.ufunc, values: Any, starts: Integers) -> Any:
    """Reduce sorted rows to one a start."""
    return operation.reduceat(values, starts, axis=0) if len(starts) else values[:0]


def _starts(first: Integers, second: Integers) -> Integers:
    """Where a new pair of codes starts in sorted codes."""
    if not len(first):
        return np.empty(0, dtype=np.int64)
    changed = (np.diff(first) != 0) | (np.diff(second) != 0)
    return np.concatenate([[0], np.flatnonzero(changed) + 1]).astype(np.int64)


def _stage_variance(
    stage: Stage, part: _StageSums, lonely_psu: str
) -> tuple[Floats, np.typing.NDArray[np.bool_]]:
    """What each (domain, stratum) adds to the variance, and whether it has one unit."""
    n = stage.units_n[part.stratum][:, None]
    left = 1.0 - stage.fraction[part.stratum][:, None]
    above = stage.above[part.stratum][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        added = np.where(n > 1, above * left * n / (n - 1.0) * part.centred, 0.0)
    lonely = part.present & (n == 1) & (left >= _CENSUS) & (above > 0)
    if lonely_psu == "adjust":
        added = np.where(lonely, above * left * part.squares, added)
    return np.where(left < _CENSUS, 0.0, added), lonely


def _lonely_error(cells: Cells, design: Design, number: int, strata: Integers) -> InputError:
    label = f"stage {number + 1}"
    if number == 0 and cells.strata_names is not None:
        wanted = np.flatnonzero(np.isin(cells.strata[0], strata))
        names = sorted({str(cells.strata_names[int(row)].as_py()) for row in wanted})
        label += f", {design.strata_names[0]}: {', '.join(names[:5])}"
        label += f" and {len(names) - 5} more" if len(names) > 5 else ""
    return InputError(
        "A stratum has only one unit",
        where=label,
        why="a variance needs two units a stratum, and lonely_psu is 'fail'",
        fix="join strata, or choose lonely_psu 'missing', 'adjust' or 'certainty'",
    )


def _group(values: Floats, codes: Integers, groups_n: int) -> Floats:
    """Sums of rows (C or C x M) by code, in row order."""
    found = np.zeros((groups_n, *values.shape[1:]))
    order = np.argsort(codes, kind="stable")
    starts = _starts(codes[order], codes[order])
    found[codes[order][starts]] = _reduce(np.add, values[order], starts)
    return found
