"""What a coalition may not learn of what is hidden, as targets of linear programs.

Belongs here: which quantities of hidden cells are asked for, and how far each must be able to
move (policy.md, "How protection is judged"). Does not belong here: what is told (`told.py`),
whether a target is reached (`lp.py`), what a reader knows without the release (`attack.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from rcs_assets.disclosure.grid import Bools, Floats, Grid, Ints, Shown, Texts
from rcs_assets.disclosure.lp import SLACK, Reached, Targets
from rcs_assets.disclosure.rows import Rows
from rcs_assets.disclosure.suppress import NOTED
from rcs_assets.disclosure.unknowns import both

# How often pupils and positive answers make up a quantity.
OF_QUANTITY = {
    "base": (1.0, 0.0),
    "numerator": (0.0, 1.0),
    "score_sum": (0.0, 1.0),
    "complement": (1.0, -1.0),
}
# Places, a quantity, how low and high it must be able to be, and whether one of both suffices.
_Part = tuple[Ints, str, Floats, Floats, bool]


@dataclass(frozen=True)
class Asked:
    """Targets with the place and quantity that each one is."""

    place: Ints
    quantity: Texts
    targets: Targets

    @property
    def is_exactness(self) -> Bools:
        """Figures that must not be known exactly; the others are small, and must be in doubt."""
        return self.targets.is_either()

    @staticmethod
    def from_parts(expression: csr_array, parts: Sequence[_Part]) -> Asked:
        """Targets from places and quantities, part by part."""
        size = [len(p[0]) for p in parts]
        at, low_ok, high_ok = (np.concatenate([p[i] for p in parts]) for i in (0, 2, 3))
        quantity = np.repeat(np.array([p[1] for p in parts], dtype=object), size)
        return Asked.at(
            expression, at, quantity, (low_ok, high_ok, np.repeat([p[4] for p in parts], size))
        )

    @staticmethod
    def at(
        expression: csr_array, place: Ints, quantity: Texts, limits: tuple[Floats, Floats, Bools]
    ) -> Asked:
        """Targets from a place and quantity each; `limits`: low_ok, high_ok, either (`lp.py`)."""
        signs = np.array([OF_QUANTITY[str(name)] for name in quantity]).reshape(-1, 2)
        rows = both(expression, place, signs[:, 0], signs[:, 1])
        return Asked(place, quantity, targets_of(rows, *limits))

    def and_more(self, more: Asked, expression: csr_array) -> Asked:
        """With targets of a reader who has other variables than these."""
        limits = tuple(
            np.concatenate([getattr(one.targets, name) for one in (self, more)])
            for name in ("low_ok", "high_ok")
        )
        either = np.concatenate([self.is_exactness, more.is_exactness])
        place, quantity = np.r_[self.place, more.place], np.r_[self.quantity, more.quantity]
        return Asked.at(expression, place, quantity, (limits[0], limits[1], either))

    def names(self) -> list[tuple[int, str, bool]]:
        """What each target is of, whatever is asked of it."""
        return list(
            zip(
                self.place.tolist(),
                self.quantity.tolist(),
                self.is_exactness.tolist(),
                strict=True,
            )
        )

    def some(self, at: Ints) -> Asked:
        """Some of the targets as they are."""
        t = self.targets
        return Asked(
            self.place[at],
            self.quantity[at],
            self.only(at, t.low_ok[at], t.high_ok[at], t.is_either()[at]),
        )

    def of(self, place: int, quantity: str) -> Asked:
        """What is asked of one quantity of a place."""
        return self.some(np.flatnonzero((self.place == place) & (self.quantity == quantity)))

    def only(
        self, at: Ints, low_ok: Floats, high_ok: Floats, either: Bools | None = None
    ) -> Targets:
        """Some of the targets, asked something else."""
        t = self.targets
        rows = Rows(t.starts, t.index, t.value, int(t.index.max(initial=0)) + 1)
        return targets_of(rows.some(at), low_ok, high_ok, either)


@dataclass(frozen=True)
class Sight:
    """What a coalition looks at: `sees` places, each the sum of variables (`expression`)."""

    grid: Grid
    expression: csr_array
    sees: Bools

    def ask(self, shown: Shown, row: int, judged: Bools) -> Asked:
        """Targets: small quantities of what is not shown; released ones must not be exact.

        Args:
            shown: what the release tells.
            row: the indicator's row in the grid.
            judged: places that are asked for.
        """
        grid = self.grid
        hidden = judged & ~shown.is_shown[row] & ~grid.is_empty[row]
        parts = []
        for quantity in ("base", "numerator", "complement"):
            if quantity != "base" and grid.is_mean[row]:
                continue
            at = np.flatnonzero(hidden & grid.small(quantity)[row])
            low_ok, high_ok = self._allowed(shown, row, at, quantity)
            parts.append((at, quantity, low_ok, high_ok, False))
        parts += self._not_exact(hidden & grid.is_released, row)
        return Asked.from_parts(self.expression, parts)

    def _allowed(self, shown: Shown, row: int, at: Ints, quantity: str) -> tuple[Floats, Floats]:
        """How low and how high a small quantity must be able to be."""
        k = self.grid.k(quantity)[row, at]
        low_ok, high_ok = np.ones(len(at)), k
        if quantity != "base":
            noted = shown.note[row, at] == NOTED[quantity]
            inherited = self._noted_above(shown, row, NOTED[quantity])[at] & ~noted
            low_ok = np.where(noted, 0.0, 1.0)
            high_ok = np.where(noted | inherited, k - 1, k)
        return low_ok, np.minimum(high_ok, self._most(row)[at])

    def _most(self, row: int) -> Floats:
        """How many there can be of each place at most: by its own roll, or by that of its area."""
        roll = self.grid.roll[row]
        return np.asarray(np.minimum(roll, roll[self.grid.total_at]))

    def _noted_above(self, shown: Shown, row: int, note: int) -> Bools:
        """Places without a row of their own in an area whose total, stage or sex is noted.

        A note says "fewer than k" of all that its cell holds: policy.md wants it said.
        """
        grid = self.grid
        noted = np.flatnonzero(self.sees & (shown.note[row] == note))
        variables = self.expression[noted].sum(axis=0) > 0
        inside = self.expression @ np.where(variables, 0.0, 1.0) == 0
        return np.asarray(inside & ~grid.is_released, dtype=bool)

    def _not_exact(self, hidden: Bools, row: int) -> list[_Part]:
        """Hidden cells that are not small: no figure exactly; no mean to within its step.

        Nor whether the one pupil of a roll has answered: 1 is all that a base may be told there.
        """
        grid = self.grid
        if grid.is_mean[row]:
            at = np.flatnonzero(hidden & (grid.base[row] > 0))
            truth = grid.score_sum[row, at]
            width = grid.mean_step[row, at] * grid.base[row, at] / 2
            return [(at, "score_sum", truth - width, truth + width, True)]
        found = []
        for quantity in ("base", "numerator", "complement"):
            is_asked = ~grid.small(quantity)[row]
            if quantity == "base":
                is_asked = is_asked | (grid.roll[row] == 1)
            at = np.flatnonzero(hidden & is_asked)
            truth = getattr(grid, quantity)[row, at]
            found.append((at, quantity, truth - 1, truth + 1, True))
        return found


def targets_of(rows: Rows, low_ok: Floats, high_ok: Floats, either: Bools | None) -> Targets:
    """Targets from rows over the columns of the system."""
    return Targets(rows.starts, rows.index, rows.value, low_ok, high_ok, either)


def adds_nothing(targets: Targets, found: Reached, before: Reached) -> Bools:
    """Targets of which a reader finds no more than he would have without the release.

    policy.md: [L, U] is what he knows without it. A figure that was known exactly stays so.
    """
    low = np.maximum(targets.low_ok, np.ceil(before.low - SLACK))
    high = np.minimum(targets.high_ok, np.floor(before.high + SLACK))
    is_as_wide = (found.low <= low + SLACK) & (found.high >= high - SLACK)
    is_exact = (before.low > targets.low_ok + SLACK) & (before.high < targets.high_ok - SLACK)
    return np.where(targets.is_either(), is_exact, is_as_wide)
