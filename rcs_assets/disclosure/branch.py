"""The least loss of a choice under conditions that are found on the way.

Belongs here: branch and cut: one linear program kept warm (HiGHS, dual method), zero-half cuts
(Caprara and Fischetti 1996, "{0, 1/2}-Chvátal-Gomory cuts"), the best bound first. Does not
belong here: what a condition means, which choice breaks one (`optimal.py`).

Conditions say "this cell or one of those"; cells hidden by half keep nearly all of them at half
the loss. Half the sum of some conditions, its coefficients and then its least rounded up, is
one that every whole choice keeps and these do not. Conditions and cuts stay from one node of
the tree to the next, so that a node takes a few steps of the simplex method.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import highspy
import numpy as np
from numpy.typing import NDArray

from rcs_assets.disclosure.lp import OPTIONS
from rcs_assets.disclosure.rows import BoolArray, FloatArray

# A column within this of 0 or 1 is whole.
WHOLE = 1e-6
# Rows times columns of all programs that are solved, at most. Tables of 400 cells take up to 220
# million in two dimensions; in three the proof of some had not come after ten minutes.
WORK_MOST = 300_000_000
# Cuts of one point: those tried, those kept, and the cosine above which two are the same.
TRIED_MOST, KEPT_MOST, ALIKE = 40, 30, 0.9
# The order of columns is shuffled by so much of their distance from 0 and 1.
SHUFFLE = 0.3
# A sum of conditions serves if what it leaves to spare is below 1; and a cut if it is broken.
SPARE_MOST, BROKEN_BY = 0.9, 0.02
# Cuts go on while one round brings the bound this part nearer to what is looked for.
WORTH = 0.02
# So many cuts without effect are let go.
IDLE_MOST = 60
# Unchanging seed: the same conditions give the same cuts.
SEED = 2026


@dataclass(frozen=True)
class Point:
    """Where the relaxed program loses least.

    `price`: by how much the loss grows at least for each unit that a column is moved away from
    x. `spare`: by how much x exceeds the least of each row.
    """

    loss: float
    x: FloatArray
    price: FloatArray
    spare: FloatArray


@dataclass(frozen=True)
class _Row:
    """A condition or a cut: `value * x[index] >= least`."""

    index: NDArray[np.int32]
    value: FloatArray
    least: float
    is_cut: bool

    @cached_property
    def is_whole(self) -> bool:
        return self.least % 1 == 0 and bool((self.value % 1 == 0).all())

    @cached_property
    def odd(self) -> NDArray[np.int32]:
        """Columns with an odd coefficient."""
        is_odd: BoolArray = self.value % 2 != 0
        return np.asarray(self.index[is_odd])


class Relaxed:
    """Conditions `value * x[index] >= least` and cuts over columns from 0 to 1, with a solver."""

    def __init__(self, loss: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        self.loss, self.lower, self.upper = loss, lower, upper
        self.highs = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, option in OPTIONS.items():
            self.highs.setOptionValue(name, option)
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(loss), 0
        model.col_cost_, model.col_lower_, model.col_upper_ = loss, lower, upper
        self.highs.passModel(model)
        self.rows: list[_Row] = []
        self.work = 0
        self.rng = np.random.default_rng(SEED)

    def add_column(self) -> None:
        """One more column, from 0 to 1, without a loss."""
        self.highs.addCol(0.0, 0.0, 1.0, 0, np.empty(0, np.int32), np.empty(0))
        self.lower, self.upper = np.append(self.lower, 0.0), np.append(self.upper, 1.0)

    def with_new(self, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bounds of a node, with those of the columns that came after it."""
        known = len(lower)
        return np.append(lower, self.lower[known:]), np.append(upper, self.upper[known:])

    def add(
        self, index: NDArray[np.int32], value: FloatArray, least: float, *, is_cut: bool = False
    ) -> None:
        """One more condition, or cut."""
        self.highs.addRow(least, highspy.kHighsInf, len(index), index, value)
        self.rows.append(_Row(index, value, least, is_cut))

    def solve(self, lower: FloatArray, upper: FloatArray) -> Point | None:
        """The least between these bounds; None if nothing is between them."""
        columns = np.arange(len(lower), dtype=np.int32)
        self.highs.changeColsBounds(len(columns), columns, lower, upper)
        self.work += len(self.rows) * len(columns)
        self.highs.run()
        if self.highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found = self.highs.getSolution()
        loss = float(self.highs.getInfo().objective_function_value)
        spare = np.asarray(found.row_value) - [row.least for row in self.rows]
        return Point(loss, np.asarray(found.col_value), np.asarray(found.col_dual), spare)

    def tighten(self, lower: FloatArray, upper: FloatArray, most: float) -> Point | None:
        """The least between these bounds, with cuts while they help; None if it exceeds `most`."""
        before = -np.inf
        while (point := self.solve(lower, upper)) is not None and point.loss <= most:
            is_worth_it = point.loss >= before + WORTH * (most - point.loss)
            if not is_worth_it or not self.cut(point):
                return point
            before = point.loss
        return None

    def cut(self, point: Point) -> int:
        """Add cuts that a point breaks, those that it breaks most first; how many."""
        kept: list[FloatArray] = []
        cuts = [
            (*_scaled(value, least, point.x), value, least) for value, least in self.halves(point)
        ]
        for _, unit, value, least in sorted(cuts, key=lambda cut: -cut[0]):
            if len(kept) < KEPT_MOST and all(unit @ other < ALIKE for other in kept):
                kept.append(unit)
                index = np.flatnonzero(value)
                self.add(index.astype(np.int32), value[index], least, is_cut=True)
        return len(kept)

    def halves(self, point: Point) -> list[tuple[FloatArray, float]]:
        """Cuts that a point breaks: half the sum of rows of whole coefficients, rounded up."""
        x, near = point.x, np.flatnonzero(point.spare < SPARE_MOST)
        near = np.array([row for row in near.tolist() if self.rows[row].is_whole], dtype=np.int64)
        rows = [self.rows[row] for row in near.tolist()]
        cuts = []
        for summed in _odd_sums(rows, point.spare[near], x, self.rng):
            value, least = np.zeros(len(x)), 0.0
            for row in summed:
                value[row.index] += row.value
                least += row.least
            # An odd coefficient is made even by `x >= 0`, or, which spares more, by `1 - x >= 0`.
            is_odd = value % 2 != 0
            is_near_1 = is_odd & (x > 0.5)
            value = (value + is_odd) / 2 - is_near_1
            least = float(np.ceil((least - is_near_1.sum()) / 2))
            if least - value @ x > BROKEN_BY:
                cuts.append((value, least))
        return cuts

    def forget(self, point: Point) -> None:
        """Let go of cuts that do not hold a point, once they are many."""
        is_idle = [
            row.is_cut and spare > WHOLE
            for row, spare in zip(self.rows, point.spare.tolist(), strict=True)
        ]
        idle = np.flatnonzero(is_idle)
        if len(idle) >= IDLE_MOST:
            self.highs.deleteRows(len(idle), idle.astype(np.int32))
            self.rows = [row for row, gone in zip(self.rows, is_idle, strict=True) if not gone]


def _scaled(value: FloatArray, least: float, x: FloatArray) -> tuple[float, FloatArray]:
    """How far x lies behind a cut, and its direction."""
    length = float(np.linalg.norm(value))
    return float(least - value @ x) / length, np.asarray(value / length)


def _odd_sums(
    rows: list[_Row], spare: FloatArray, x: FloatArray, rng: np.random.Generator
) -> list[list[_Row]]:
    """Rows that sum up to an odd least with even coefficients, or nearly so, and spare little.

    Gauss's elimination modulo 2 of the columns between 0 and 1, the row that spares least first
    (Koster, Zymolka and Kutschka 2009, "Algorithms to separate {0, 1/2}-Chvátal-Gomory cuts").
    """
    rest = np.minimum(x, 1 - x)
    between = np.flatnonzero(rest > WHOLE)
    weight = rest[between] + SHUFFLE * rng.random(len(between))
    between = between[np.argsort(-weight, kind="stable")]
    rest, columns_n = rest[between], len(between)
    is_odd = np.zeros((len(rows), len(x)), dtype=bool)
    at = np.repeat(np.arange(len(rows)), [len(row.odd) for row in rows])
    is_odd[at, np.concatenate([np.empty(0, np.int32), *(row.odd for row in rows)])] = True
    # At a column that is 1, an odd coefficient is made even by `1 - x >= 0`.
    ones_n = is_odd[:, x >= 1 - WHOLE].sum(axis=1)
    is_odd_least = (np.array([row.least for row in rows]) + ones_n) % 2 != 0
    state = np.column_stack([is_odd[:, between], is_odd_least, np.eye(len(rows), dtype=bool)])
    is_left: BoolArray = np.asarray(state[:, :columns_n].any(axis=1))
    summed_n = np.ones(len(rows))
    found: dict[bytes, tuple[float, BoolArray]] = {}
    for column in range(columns_n):
        hit = np.flatnonzero(state[:, column] & is_left)
        if not len(hit):
            continue
        pivot = hit[np.argmin(spare[hit] + BROKEN_BY * summed_n[hit])]
        is_left[pivot] = False
        others = hit[hit != pivot]
        state[others] ^= state[pivot]
        spare[others] += spare[pivot]
        summed_n[others] += summed_n[pivot]
        is_left[others] = spare[others] < SPARE_MOST
        others = others[is_left[others] & state[others, columns_n]]
        all_spare = spare[others] + state[others, :columns_n] @ rest
        for i, left in zip(others.tolist(), all_spare.tolist(), strict=True):
            if left < SPARE_MOST:
                summed = state[i, columns_n + 1 :].copy()
                found[summed.tobytes()] = (left + WHOLE * summed_n[i], summed)
    best = sorted(found.values(), key=lambda one: one[0])[:TRIED_MOST]
    return [[rows[i] for i in np.flatnonzero(summed).tolist()] for _, summed in best]


def least(relaxed: Relaxed, most: float, attack: Callable[[FloatArray], float]) -> float:
    """What every choice loses at least, or infinite: none that loses `most` is left.

    A search that has had its work (`WORK_MOST`) ends with the bound that it has come to.

    `attack` is given each choice that keeps all conditions so far. It adds to `relaxed` those
    that the choice breaks and says what a choice may lose now to be looked for.
    """
    open_ = [(-np.inf, 0, relaxed.lower, relaxed.upper)]
    made = itertools.count(1)
    while open_ and open_[0][0] <= most and relaxed.work < WORK_MOST:
        _, _, lower, upper = heapq.heappop(open_)
        lower, upper = relaxed.with_new(lower, upper)
        point = relaxed.tighten(lower, upper, most)
        while point is not None and not len(halved := _halved(relaxed, point.x)):
            rows_n = len(relaxed.rows)
            most = attack(point.x)
            if len(relaxed.rows) == rows_n and point.loss <= most:
                # Unsafe, but by less than the solver's tolerance: nothing more can be said.
                return min([point.loss, *(node[0] for node in open_)])
            lower, upper = relaxed.with_new(lower, upper)
            point = relaxed.tighten(lower, upper, most)
        if point is None:
            continue
        relaxed.forget(point)
        # A column that costs too much to move stays where it is in all below.
        is_fixed = point.loss + np.abs(point.price) > most
        lower = np.where(is_fixed & (point.x > 1 - WHOLE), 1.0, lower)
        upper = np.where(is_fixed & (point.x < WHOLE), 0.0, upper)
        weight = np.minimum(point.x, 1 - point.x)[halved] * np.sqrt(relaxed.loss[halved])
        column = halved[np.argmax(weight)]
        for value in (1.0, 0.0):
            bounds = lower.copy(), upper.copy()
            bounds[0][column] = bounds[1][column] = value
            heapq.heappush(open_, (point.loss, next(made), *bounds))
    return open_[0][0] if open_ and open_[0][0] <= most else np.inf


def _halved(relaxed: Relaxed, x: FloatArray) -> NDArray[np.int64]:
    """Columns with a loss of their own that x leaves between 0 and 1."""
    x = x[: len(relaxed.loss)]
    return np.flatnonzero((x > WHOLE) & (x < 1 - WHOLE))
