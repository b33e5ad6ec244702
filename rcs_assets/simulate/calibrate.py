"""Finds the shifts of latent scores at which the published levels come out.

Belongs here: the exact distribution of a score given a latent value, and the search for
group shifts. Does not belong here: drawing answers (`answers.py`) and the figures
themselves (data/scales.yaml, data/answers.csv). Everything is by quadrature: no draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from rcs_assets.simulate.draws import Bools, Floats, Ints

GRID = np.linspace(-5.0, 5.0, 401)
SHIFTS = np.linspace(-2.5, 2.5, 501)
SEARCH_ROUNDS_N = 40


@dataclass(frozen=True)
class ItemModel:
    """An ordinal item: answer k if the item's latent value lies between cuts k and k + 1.

    The latent value is loading * factor + noise of variance 1 - loading².
    """

    loading: float
    cuts: Floats

    def probabilities(self, factor: Floats) -> Floats:
        """(len(factor), options) probability of each answer given the factor."""
        noise = np.sqrt(1.0 - self.loading**2)
        below = ndtr((self.cuts[None, :] - self.loading * factor[:, None]) / noise)
        edges = np.hstack([np.zeros((len(factor), 1)), below, np.ones((len(factor), 1))])
        probabilities: Floats = np.diff(edges, axis=1)
        return probabilities


def cuts_of(pct: Floats) -> Floats:
    """Thresholds on a standard normal scale from percentages of the options.

    Args:
        pct: (…, options); each row sums to about 100.
    """
    shares = np.cumsum(pct, axis=-1)[..., :-1] / pct.sum(axis=-1, keepdims=True)
    cuts: Floats = ndtri(np.clip(shares, 1e-6, 1 - 1e-6))
    return cuts


def score_distribution(items: list[ItemModel], reversed_items: list[bool]) -> Floats:
    """(len(GRID), scores) distribution of the raw sum (items from 0) given the factor."""
    total = np.ones((len(GRID), 1))
    for item, is_reversed in zip(items, reversed_items, strict=True):
        one = item.probabilities(GRID)
        one = one[:, ::-1] if is_reversed else one
        grown = np.zeros((len(GRID), total.shape[1] + one.shape[1] - 1))
        for answer in range(one.shape[1]):
            grown[:, answer : answer + total.shape[1]] += total * one[:, [answer]]
        total = grown
    return total


def expected_by_shift(value_by_factor: Floats) -> Floats:
    """Expectation of a function on GRID under N(shift, 1), for each of SHIFTS."""
    weights = np.exp(-0.5 * (GRID[None, :] - SHIFTS[:, None]) ** 2)
    expected: Floats = (weights * value_by_factor).sum(axis=1) / weights.sum(axis=1)
    return expected


def solve_shifts(
    response: Floats, targets: Floats, simd_mix: Floats, gap: float
) -> tuple[Floats, float]:
    """Group shifts and the SIMD slope that give the targets.

    Args:
        response: expectation at each of SHIFTS (`expected_by_shift`), monotone.
        targets: (groups,) expectation wanted in each group.
        simd_mix: (5,) shares of the quintiles, most deprived first.
        gap: wanted difference, most minus least deprived, averaged over groups.

    Returns:
        (groups,) shifts and the slope a quintile step; a pupil of quintile q in group g
        has the shift shifts[g] + slope * (3 - q).
    """
    steps: Floats = 3.0 - np.arange(1, 6, dtype=np.float64)
    low, high = -0.5, 0.5
    slope = 0.0
    for _ in range(SEARCH_ROUNDS_N):
        slope = (low + high) / 2
        shifts = _group_shifts(response, targets, simd_mix, slope * steps)
        ends = [_at(response, shifts + slope * step).mean() for step in (2.0, -2.0)]
        too_small = ends[0] - ends[1] < gap
        # A falling response needs a negative slope for a positive gap.
        rising = response[-1] > response[0]
        if too_small == rising:
            low = slope
        else:
            high = slope
    return _group_shifts(response, targets, simd_mix, slope * steps), slope


def event_response(distribution: Floats, is_event: Bools) -> Floats:
    """Probability of an event on the raw sum at each of SHIFTS."""
    return expected_by_shift(distribution[:, is_event].sum(axis=1))


def mean_response(distribution: Floats, scores: Floats | Ints) -> Floats:
    """Mean score at each of SHIFTS."""
    return expected_by_shift(distribution @ np.asarray(scores, dtype=np.float64))


def stage_sex_targets(target: Mapping[str, Mapping[str, float]]) -> dict[tuple[str, str], float]:
    """Targets by (stage, sex)."""
    return {
        (stage, sex): float(value) for sex in ("F", "M") for stage, value in target[sex].items()
    }


def _at(response: Floats, shifts: Floats) -> Floats:
    values: Floats = np.interp(shifts, SHIFTS, response)
    return values


def _group_shifts(response: Floats, targets: Floats, mix: Floats, offsets: Floats) -> Floats:
    low = np.full(len(targets), SHIFTS[0])
    high = np.full(len(targets), SHIFTS[-1])
    rising = response[-1] > response[0]
    for _ in range(SEARCH_ROUNDS_N):
        middle = (low + high) / 2
        value = (_at(response, middle[:, None] + offsets[None, :]) * mix[None, :]).sum(axis=1)
        below = (value < targets) == rising
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found: Floats = (low + high) / 2
    return found
