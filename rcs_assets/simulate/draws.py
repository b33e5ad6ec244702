"""Random streams and the few array helpers that every part of the simulator needs.

Belongs here: named random streams and exact integer rounding. Does not belong here:
anything that knows pupils, schools or answers.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]


def stream(seed: int, *labels: str) -> np.random.Generator:
    """An independent random stream for the part of the simulation that `labels` name.

    A stream depends on the seed and its labels only, so a new part of the simulator
    does not change what the others draw.
    """
    return np.random.default_rng([seed, *(zlib.crc32(label.encode()) for label in labels)])


def round_to_sum(values: Floats, totals: Ints) -> Ints:
    """Round each row of `values` to non-negative integers that sum to `totals`.

    Largest remainders get the missing units; ties go to the first column.

    Args:
        values: (rows, columns), each row summing to its total.
        totals: (rows,).
    """
    floors = np.floor(values + 1e-9)
    missing = totals - floors.sum(axis=1)
    order = np.argsort(-(values - floors), axis=1, kind="stable")
    ranks = np.argsort(order, axis=1, kind="stable")
    rounded: Ints = (floors + (ranks < missing[:, None])).astype(np.int64)
    return rounded


def choose_by_row(rng: np.random.Generator, shares: Floats) -> Ints:
    """One column index a row, drawn with the row's shares (rows need not be normalised)."""
    cumulative = np.cumsum(shares, axis=1)
    point = rng.random(len(shares)) * cumulative[:, -1]
    index: Ints = (cumulative <= point[:, None]).sum(axis=1).clip(0, shares.shape[1] - 1)
    return index


def choose(rng: np.random.Generator, options: Texts, weights: Floats, n: int) -> Texts:
    """`n` options drawn with replacement by weight."""
    chosen: Texts = options[rng.choice(len(options), size=n, p=weights / weights.sum())]
    return chosen


def blanked(values: Texts, is_blank: Bools) -> Texts:
    """A copy of the values with null where `is_blank`."""
    copy = values.astype(object)
    copy[is_blank] = None
    return copy
