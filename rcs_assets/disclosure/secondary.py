"""Which further cells to hide: the state of a plan, its attack, and a quick choice.

Belongs here: what must stay possible of a cell, how far a reader can get given what is
hidden, and the choice of secondary cells by least loss, line by line. Does not belong here:
proof that a choice is the best (`optimal.py`), the rule and the tables (`tabular.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from rcs_assets.disclosure.lp import Reached, System, Targets, reach
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.disclosure.structure import Cells, Index, Mask
from rcs_assets.errors import ConfigurationError

# Attacks on trial, with cells shown again: at most so many, and fewer the larger the table.
REVIEWS_MOST, REVIEWED_CELLS = 150, 20_000
# Amounts are uncertain if they can differ by this part; counts, by 1.
AMOUNT_PART = 0.01


@dataclass(frozen=True)
class Need:
    """What must stay possible of each cell, which others may be hidden, and at what loss.

    `low_ok` is `inf` and `high_ok` `-inf` where nothing must stay possible.
    """

    is_primary: Mask
    low_ok: FloatArray
    high_ok: FloatArray
    can_hide: Mask
    loss: FloatArray


def each_cell(
    asked: Index, low_ok: FloatArray, high_ok: FloatArray, either: Mask | None = None
) -> Targets:
    """Cells by themselves as targets: how low and high each must be able to be (`lp.Targets`)."""
    return Targets(
        starts=np.arange(len(asked) + 1, dtype=np.int32),
        index=asked.astype(np.int32),
        value=np.ones(len(asked)),
        low_ok=low_ok,
        high_ok=high_ok,
        either=either,
    )


def reach_cells(
    cells: Cells, is_hidden: Mask, rounding: int | None, targets: Targets, *, exact: bool = False
) -> Reached:
    """How far targets can move for somebody who sees all that is not hidden."""
    shown_low, shown_high = shown_bounds(cells.value, rounding)
    equations = cells.equations
    none = np.zeros(equations.shape[0])
    system = System(
        lower=np.where(is_hidden, cells.known_low, np.maximum(shown_low, cells.known_low)),
        upper=np.where(is_hidden, cells.known_high, np.minimum(shown_high, cells.known_high)),
        starts=equations.indptr.astype(np.int32),
        index=equations.indices.astype(np.int32),
        value=equations.data,
        row_lower=none,
        row_upper=none,
    )
    return reach(system, targets, exact=exact)


def shown_bounds(value: FloatArray, rounding: int | None) -> tuple[FloatArray, FloatArray]:
    """Bounds of the count behind a shown value: halves are rounded up, counts are whole."""
    if rounding is None:
        return value, value
    return counts_behind(rounding * np.floor(value / rounding + 0.5), rounding)


def counts_behind(
    shown: FloatArray | float, step: FloatArray | float
) -> tuple[FloatArray, FloatArray]:
    """Least and most pupils behind a shown multiple of `step`: whole ones, halves rounded up.

    Everybody knows both: a shown 30, in steps of 10, is 25 to 34 pupils, never 35.
    """
    low = np.maximum(np.ceil(shown - np.divide(step, 2)), 0.0)
    return low, np.ceil(shown + np.divide(step, 2)) - 1


class Plan:
    """Which cells are hidden so far, and the choice of further ones."""

    def __init__(self, cells: Cells, need: Need, rounding: int | None) -> None:
        self.cells, self.need, self.rounding = cells, need, rounding
        self.is_hidden = need.is_primary.copy()
        self.lines = csr_array(abs(cells.equations))
        self.lines_of = csr_array(self.lines.T)

    def cost(self) -> float:
        """What is lost by all that is hidden."""
        return float(self.need.loss[self.is_hidden].sum())

    def fill(self) -> None:
        """Hide more until an attack on exact values finds nothing."""
        among = None
        while True:
            self.close_lines()
            unsafe = self.unsafe(None, among)
            if not len(unsafe):
                return
            before = self.is_hidden.copy()
            self.hide_beside(unsafe)
            self.close_lines()
            among = self.open_after(before, unsafe)

    def review(self) -> None:
        """Show secondary cells again where all stays safe; what rounding protects comes back."""
        secondary = np.flatnonzero(self.is_hidden & ~self.need.is_primary)
        attacks_n = min(REVIEWS_MOST, REVIEWED_CELLS // len(self.cells.value))
        self.show_again(secondary, attacks_n)

    def show_again(self, cells: Index, attacks_n: int) -> None:
        """Show these cells again, the largest loss first, where all stays safe.

        Many are tried at once, and by halves where that fails, for so many attacks.
        """
        order = np.argsort(-self.need.loss[cells], kind="stable")
        waiting = [cells[order]] if len(cells) else []
        for _ in range(attacks_n):
            if not waiting:
                return
            group = waiting.pop()
            self.is_hidden[group] = False
            if len(self.unsafe(self.rounding)):
                self.is_hidden[group] = True
                middle = (len(group) + 1) // 2
                halves = [group[middle:], group[:middle]] if len(group) > 1 else []
                waiting += [half for half in halves if len(half)]

    def open_after(self, before: Mask, unsafe: Index) -> Mask:
        """Which cells need a look once more has been hidden than `before`.

        Who is told less can rule out less: what was safe is safe still.
        """
        is_open = self.is_hidden & ~before
        is_open[unsafe] = True
        return np.asarray(is_open, dtype=bool)

    def unsafe(self, rounding: int | None, among: Mask | None = None) -> Index:
        """Hidden cells of which a reader of values rounded so learns too much.

        Args:
            rounding: to what values are rounded, if they are.
            among: the cells that are asked about; all if left out.
        """
        asked = np.ones(len(self.is_hidden), dtype=bool) if among is None else among
        small = np.flatnonzero(self.need.is_primary & asked)
        # Other hidden cells must only not be exact: movable on one side.
        is_open = self.cells.known_low < self.cells.known_high
        other = np.flatnonzero(self.is_hidden & ~self.need.is_primary & asked & is_open)
        value, at = self.cells.value[other], np.concatenate([small, other])
        if not len(at):
            return at
        step = np.where(value % 1 == 0, 1.0, AMOUNT_PART * value)
        targets = each_cell(
            at,
            np.concatenate([self.need.low_ok[small], value - step]),
            np.concatenate([self.need.high_ok[small], value + step]),
            np.arange(len(at)) >= len(small),
        )
        found = reach_cells(self.cells, self.is_hidden, rounding, targets)
        return at[found.unsafe(targets)]

    def close_lines(self) -> None:
        """A line with one hidden cell loses its next smallest too."""
        while True:
            counts = np.asarray(self.lines @ self.is_hidden)
            alone = np.flatnonzero(counts == 1)
            cost = self._cost(counts)
            before = int(self.is_hidden.sum())
            for line in alone.tolist():
                members = self._members(line)
                if self.is_hidden[members].sum() == 1:
                    self._hide_cheapest(members, cost)
            if int(self.is_hidden.sum()) == before:
                return

    def hide_beside(self, unsafe: Index) -> None:
        """One more hidden cell in a line of each unsafe cell; one serves all of its line."""
        cost = self._cost(np.asarray(self.lines @ self.is_hidden))
        served = np.zeros(self.lines.shape[0], dtype=bool)
        hidden_n = int(self.is_hidden.sum())
        for cell in unsafe.tolist():
            lines = self.lines_of_cell(cell)
            if served[lines].any():
                continue
            chosen = self._hide_cheapest(self._members_of(lines), cost)
            while chosen is None and len(wider := self._lines_beside(lines)) > len(lines):
                # All around is hidden: one line further.
                lines = wider
                chosen = self._hide_cheapest(self._members_of(lines), cost)
            if chosen is not None:
                served[self.lines_of_cell(chosen)] = True
        if int(self.is_hidden.sum()) == hidden_n:
            raise CannotBeMetError(unsafe)

    def _cost(self, counts: FloatArray) -> FloatArray:
        """What hiding a cell loses: its loss and, in lines without any, the smallest other."""
        loss = self.need.loss
        can = ~self.is_hidden & self.need.can_hide
        smallest = np.full(self.lines.shape[0], np.inf)
        line = np.repeat(np.arange(self.lines.shape[0]), np.diff(self.lines.indptr))
        member = self.lines.indices
        np.minimum.at(smallest, line[can[member]], loss[member[can[member]]])
        drags = np.where((counts == 0) & np.isfinite(smallest), smallest, 0.0)
        return np.where(can, loss + np.asarray(self.lines_of @ drags), np.inf)

    def _hide_cheapest(self, members: Index, cost: FloatArray) -> int | None:
        """Hide the cell of least cost and say which; None if none can be."""
        choice = members[self.need.can_hide[members] & ~self.is_hidden[members]]
        if not len(choice):
            return None
        chosen = int(choice[np.argmin(cost[choice])])
        self.is_hidden[chosen] = True
        return chosen

    def _members(self, line: int) -> Index:
        return _entries(self.lines, line)

    def lines_of_cell(self, cell: int) -> Index:
        """The equations that a cell stands in."""
        return _entries(self.lines_of, cell)

    def _members_of(self, lines: Index) -> Index:
        return np.unique(np.concatenate([self._members(i) for i in lines.tolist()]))

    def _lines_beside(self, lines: Index) -> Index:
        """The lines, and all that share a cell with them."""
        cells = self._members_of(lines).tolist()
        return np.unique(np.concatenate([self.lines_of_cell(cell) for cell in cells]))


def _entries(matrix: csr_array, row: int) -> Index:
    """Columns of a row's entries."""
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64)


class CannotBeMetError(ConfigurationError):
    """No choice of cells is safe; `cells`: those that stay open, as far as they are known."""

    def __init__(self, cells: Index, where: str = "") -> None:
        super().__init__(
            "The rule cannot be met: all that could be hidden is, and a cell is still open",
            where=where,
            why="what is known without the table (known_low, known_high, and what may not be "
            "hidden) already says more than the rule allows (k, low_ok, high_ok)",
            fix="ask for no more than the known bounds leave open",
        )
        self.cells = cells
