"""Fills the suppressed cells of the published school roll: stage by sex of every school.

Belongs here: stage totals and stage-by-sex tables that agree with every published
figure. Does not belong here: reading the roll file (`places.py`) and pupils (`people.py`).
Source of the rule: the published roll (domain.md 8) shows stage columns and whole-school sex
margins; suppressed cells are filled by seeded iterative proportional fitting.
"""

from __future__ import annotations

import numpy as np

from rcs_assets.simulate.draws import Floats, Ints, round_to_sum

FITTING_ROUNDS_N = 60


def fill_counts(counts: Floats, totals: Ints, rng: np.random.Generator) -> Ints:
    """Fill suppressed counts so that every row sums to its published total.

    Args:
        counts: (schools, columns); NaN where the publisher suppressed the cell.
        totals: (schools,) published totals.
        rng: shares of the suppressed cells are drawn around equal parts.

    Returns:
        (schools, columns) integers; published cells unchanged.
    """
    hidden = np.isnan(counts)
    known = np.where(hidden, 0.0, counts)
    left = np.maximum(totals - known.sum(axis=1), 0).astype(np.int64)
    shares = np.where(hidden, rng.gamma(6.0, size=counts.shape), 0.0)
    sums = shares.sum(axis=1, keepdims=True)
    spread = np.divide(shares * left[:, None], sums, out=np.zeros_like(shares), where=sums > 0)
    wanted = np.where(sums[:, 0] > 0, left, 0)
    # Published cells hold 0 here, so only suppressed ones have a remainder to round up.
    rounded = round_to_sum(spread, wanted)
    return np.where(hidden, rounded, known).astype(np.int64)


def fill_sexes(female: Floats, male: Floats, totals: Ints, rng: np.random.Generator) -> Ints:
    """Whole-school number of girls; the published margin where there is one.

    Args:
        female, male: (schools,) published counts, NaN where suppressed.
        totals: (schools,) roll.
    """
    drawn = rng.binomial(totals, 0.49).astype(np.float64)
    girls = np.where(np.isnan(female), np.where(np.isnan(male), drawn, totals - male), female)
    return np.clip(girls, 0, totals).astype(np.int64)


def stage_by_sex(stages: Ints, girls: Ints, rng: np.random.Generator) -> Ints:
    """Girls and boys in each stage, by iterative proportional fitting to both margins.

    Args:
        stages: (schools, stages) roll.
        girls: (schools,) girls of the whole school.
        rng: the seed table is drawn around equal shares of the sexes.

    Returns:
        (schools, stages, 2) integers, girls first; margins hold exactly.
    """
    boys = stages.sum(axis=1) - girls
    sexes = np.stack([girls, boys], axis=1).astype(np.float64)
    table = rng.gamma(25.0, size=(*stages.shape, 2)) * stages[:, :, None]
    for _ in range(FITTING_ROUNDS_N):
        table = _scale(table, stages.astype(np.float64)[:, :, None], axis=2)
        table = _scale(table, sexes[:, None, :], axis=1)
    fitted = round_to_sum(np.minimum(table[:, :, 0], stages), girls)
    return np.stack([fitted, stages - fitted], axis=2)


def _scale(table: Floats, margins: Floats, axis: int) -> Floats:
    sums = table.sum(axis=axis, keepdims=True)
    scaled: Floats = table * np.divide(margins, sums, out=np.zeros_like(sums), where=sums > 0)
    return scaled
