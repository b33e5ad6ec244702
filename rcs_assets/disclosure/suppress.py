"""Which cells are hidden: small ones, and others so that sums do not give them away.

Belongs here: the fixpoint over lines (a total and its parts: groups, stages by sex, schools
in a cluster, clusters in a CPP, CPPs in a tranche) with rounding counted as protection, and
the notes `low` and `high`. Does not belong here: thresholds (`cells.py`), and attacks that
combine lines (`attack.py`), whose findings `rules.py` repairs.

In a line, an attacker knows of a hidden part: the total less the most (the least) that the
others can be. Where that says more of a small part than policy.md, "How protection is
judged" allows, or gives any hidden part exactly, the line loses its next-smallest shown part
too, or, where it has none, its total; until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rcs_assets.disclosure.cells import OWN, UNKNOWN_GROUP
from rcs_assets.disclosure.grid import (
    INSIDE,
    QUANTITIES,
    Bools,
    Floats,
    Grid,
    Ints,
    Lines,
    Shown,
    as_released,
    own_of_public,
)
from rcs_assets.disclosure.whole import PARTS, whole_answers

# Times that bounds are handed on from line to line: total, stage, stage by sex, area.
ROUNDS = 4
# Bounds are sums of multiples of 0.5; a difference below this is noise of the arithmetic.
NOISE = 1e-6
LOW, HIGH = 1, 2
NOTED = {"numerator": LOW, "complement": HIGH}


class Suppression:
    """The hidden nodes of one survey, growing until every line is safe.

    Attributes:
        hidden: indicators × places; true where no figure is shown though one exists.
        note: indicators × places; 0 none, 1 low, 2 high.
    """

    def __init__(
        self,
        grid: Grid,
        lines: Lines,
        linked: Sequence[Sequence[int]] = (),
        counted: Bools | None = None,
        silent: Bools | None = None,
    ) -> None:
        """Start from the primary cells.

        Args:
            grid: the nodes.
            lines: what is part of what.
            linked: rows of indicators whose numerators add up; hidden alike.
            counted: places of a CPP's own package that its file of answers counts exactly.
            silent: cells (indicators × places) that get no note, since releases before had none.
        """
        self.grid, self.lines = grid, lines
        self.linked = [np.array(rows, dtype=np.int64) for rows in linked]
        self.by_part, self.by_total = _Places.of(lines.part), _Places.of(lines.total)
        pairs = np.arange(len(lines.part))
        ones = np.ones(len(pairs))
        shape = (len(lines.total), grid.base.shape[1])
        self.sums = csr_array((ones, (lines.line, lines.part)), shape=shape)
        self.of_line = csr_array((ones, (lines.line, pairs)), shape=(shape[0], len(pairs)))
        self.silent = np.zeros(grid.base.shape, dtype=bool) if silent is None else silent
        self.is_counted = np.zeros(shape[1], dtype=bool) if counted is None else counted
        self.if_shown = _if_shown(grid)
        areas = (grid.view + "|" + grid.unit).astype(str)
        self.by_area = _Places.of(np.unique(areas, return_inverse=True)[1])
        self.own, self.public = own_of_public(grid)
        self.hidden: Bools = (grid.is_primary | ~grid.is_showable) & ~grid.is_empty
        self.note: NDArray[np.int8] = np.zeros(grid.base.shape, dtype=np.int8)
        self._groups_that_fall_short()
        self._sums_alike()

    def settle(self, rows: Ints) -> None:
        """Hide more until no line gives a hidden part away.

        Args:
            rows: indicators to settle, and whatever is linked with one that changes.
        """
        open_rows = np.unique(rows)
        self._close(self._with_linked(open_rows))
        while len(open_rows):
            picked = self._pick(open_rows, rounds=0)
            calm = ~picked.any(axis=1)
            # Lines by themselves first: what they lose often mends what they tell together.
            if calm.any():
                picked[calm] = self._pick(open_rows[calm], rounds=ROUNDS)
            changed = picked.any(axis=1)
            self.hidden[open_rows] |= picked
            open_rows = self._with_linked(open_rows[changed])
            self._close(open_rows)

    def hide_beside(self, row: int, place: int, seen: Bools) -> bool:
        """Hide the smallest shown node near one that an attack has found; whether there was one.

        Parts of its lines come first, then their totals, then its area, then what lines tie to
        that, ever further out. Only what the coalition has `seen` told it anything.
        """
        for candidates in self._outward(place):
            shown = candidates[self._is_shown(row, candidates) & seen[candidates]]
            if len(shown):
                smallest = shown[np.lexsort((shown, self.grid.base[row, shown]))[0]]
                self.hidden[row, smallest] = True
                self._close(self._with_linked(np.array([row])))
                return True
        return False

    def _outward(self, place: int) -> Iterator[Ints]:
        """Places around one, nearer ones first, until no line leads further."""
        lines = self.lines
        near = self._lines_of(np.array([place]))
        yield lines.part[near[lines.line]]
        yield lines.total[near]
        reached = np.flatnonzero(self._same_area(place))
        before = 0
        while len(reached) > before:
            yield reached
            before = len(reached)
            around = self._lines_of(reached)
            parts, totals = lines.part[around[lines.line]], lines.total[around]
            reached = np.unique(np.concatenate([reached, parts, totals]))

    def hide_all(self, row: int, places: Bools) -> bool:
        """Hide an indicator at the places given, notes and all; whether anything stood there."""
        told = places & ((self.grid.is_showable[row] & ~self.hidden[row]) | (self.note[row] != 0))
        self.hidden[row] |= places & self.grid.is_showable[row]
        self.note[row, places] = 0
        self._close(self._with_linked(np.array([row])))
        return bool(told.any())

    def write_notes(self, rows: Ints) -> None:
        """`low` or `high` on primary cells whose base passes; never in a linked set, nor anew.

        A note speaks of all that its cell holds: it stands only where every released part
        of the cell has the same note, else a hidden part would be known to be small.

        Args:
            rows: indicators to write notes of.
        """
        self.note[rows] = np.where(self.silent[rows], 0, self._due_notes(rows))
        for linked in self.linked:
            self.note[linked] = 0
        self.keep_notes(rows)

    def takes_notes(self, rows: Ints, note: NDArray[np.int8]) -> bool:
        """Say these notes, rows × places, if each of them is true; whether they are said."""
        is_true = bool(((note == 0) | (note == self._due_notes(rows))).all())
        if is_true:
            self.note[rows] = note
        return is_true

    def _due_notes(self, rows: Ints) -> NDArray[np.int8]:
        """What each cell's note would say by itself."""
        grid = self.grid
        passes = self.hidden[rows] & grid.is_primary[rows] & grid.is_showable[rows]
        passes &= grid.base[rows] >= grid.k_base[rows]
        small, most = grid.small("numerator")[rows], grid.small("complement")[rows]
        noted = np.where(passes & small, LOW, np.where(passes & most, HIGH, 0))
        return np.asarray(noted, dtype=np.int8)

    def _drop_spoilt_notes(self, rows: Ints) -> bool:
        """Drop notes in lines where a part lacks its total's, or where they say too much."""
        grid, lines = self.grid, self.lines
        note, is_empty = self.note[rows], grid.is_empty[rows]
        part, total = note[:, lines.part], note[:, lines.total]
        counts = grid.is_showable[rows][:, lines.part] & ~is_empty[:, lines.part]
        lacks = self._any_of_line(counts & (part != total[:, lines.line])) & (total != 0)
        told = self._told(rows, "numerator", ROUNDS)[1] | self._told(rows, "complement", ROUNDS)[1]
        noted = self._any_of_line(part != 0) | (total != 0)
        row, line = np.nonzero(lacks)
        note[row, lines.total[line]] = 0
        # What the public is told of a hidden figure, its own package's readers know too.
        unsaid = self.hidden[rows][:, self.own] & (note[:, self.own] != note[:, self.public])
        spoilt = unsaid & (note[:, self.public] != 0)
        row, twin = np.nonzero(spoilt)
        note[row, self.public[twin]] = 0
        says_too_much = told & noted & ~grid.is_mean[rows, None]
        row, line = np.nonzero(says_too_much)
        note[row, lines.total[line]] = 0
        row, pair = np.nonzero(says_too_much[:, lines.line])
        note[row, lines.part[pair]] = 0
        self.note[rows] = note
        return bool(lacks.any() or spoilt.any() or len(row))

    def drop_notes_near(self, row: int, place: int, seen: Bools) -> bool:
        """Take the notes of an area and of the lines through it away; whether there were any.

        Only what a coalition has `seen` told it anything.
        """
        lines = self.lines
        area = np.flatnonzero(self.grid.unit == self.grid.unit[place])
        through = self._lines_of(area)
        places = np.concatenate([area, lines.part[through[lines.line]], lines.total[through]])
        places = places[seen[places]]
        had = bool((self.note[row, places] != 0).any())
        self.note[row, places] = 0
        return had

    def keep_notes(self, rows: Ints) -> None:
        """Drop the notes that what was hidden since has spoilt.

        Args:
            rows: indicators of which something was hidden.
        """
        while len(rows) and self._drop_spoilt_notes(rows):
            pass

    def _same_area(self, place: int) -> Bools:
        grid = self.grid
        same = (grid.unit == grid.unit[place]) & (grid.view == grid.view[place])
        return np.asarray(same, dtype=bool)

    def _lines_of(self, places: Ints) -> Bools:
        """Lines that one of the places is part or total of."""
        lines = self.lines
        found = np.isin(lines.total, places)
        found[lines.line[np.isin(lines.part, places)]] = True
        return found

    def _is_shown(self, row: int, places: Ints) -> Bools:
        return np.asarray(self.grid.is_showable[row, places] & ~self.hidden[row, places])

    def _groups_that_fall_short(self) -> None:
        """Every group of a breakdown must reach the group's base, or none is shown."""
        grid = self.grid
        short = (grid.base < grid.k_base) & ~grid.is_empty & (grid.group != UNKNOWN_GROUP)
        blocks = grid.view + "|" + grid.unit + "|" + grid.breakdown
        _, block = np.unique(blocks.astype(str), return_inverse=True)
        order = np.argsort(block, kind="stable")
        start = np.flatnonzero(np.r_[True, block[order][1:] != block[order][:-1]])
        falls = np.logical_or.reduceat(short[:, order], start, axis=1)
        self.hidden |= falls[:, block] & grid.is_showable

    def _sums_alike(self) -> None:
        """What a linked sum leaves over is shown nowhere, yet subtraction gives it: a cell."""
        for rows in self.linked:
            whole, parts = rows[0], rows[1:]
            left = self.grid.numerator[whole] - self.grid.numerator[parts].sum(axis=0)
            small = (left < self.grid.k_numerator[whole]) & ~self.grid.is_empty[whole]
            self.hidden[whole] |= small & self.grid.is_showable[whole]

    def _close(self, rows: Ints) -> None:
        """Linked indicators are hidden alike; what a CPP's package hides is hidden in public."""
        for linked in self.linked:
            if np.isin(linked, rows).any():
                alike = np.logical_or.reduce(self.hidden[linked], axis=0, keepdims=True)
                self.hidden[linked] = alike & ~self.grid.is_empty[linked]
        own, public = self.hidden[np.ix_(rows, self.own)], np.ix_(rows, self.public)
        self.hidden[public] |= own & self.grid.is_showable[public]

    def _with_linked(self, rows: Ints) -> Ints:
        found = [rows, *(linked for linked in self.linked if np.isin(linked, rows).any())]
        return np.unique(np.concatenate(found))

    def _bounds(
        self,
        rows: Ints,
        quantity: str,
        rounds: int,
        *,
        by_files: bool = False,
        shown: Bools | None = None,
    ) -> tuple[Floats, Floats]:
        """What is known of each node, rounding if shown, else the roll, handed on so often.

        Returns:
            places × rows: what lines gather and add up lies side by side.
        """
        grid = self.grid
        is_shown = _down(grid.is_showable & ~self.hidden if shown is None else shown, rows)
        low, high = (_down(bound, rows) for bound in self.if_shown[quantity])
        low = np.where(is_shown, low, 0.0)
        roll = np.where(_down(grid.is_empty, rows), 0.0, _down(grid.roll, rows))
        high = np.where(is_shown, high, roll)
        if quantity in NOTED:
            is_noted = _down(self.note, rows) == NOTED[quantity]
            k = _down(grid.k(quantity), rows)
            high = np.where(is_noted, np.minimum(high, k - 1), high)
        if by_files:
            count = np.where(grid.is_empty, 0.0, getattr(grid, quantity))
            counted = _down(count, rows)[self.is_counted]
            low[self.is_counted], high[self.is_counted] = counted, counted
        for _ in range(rounds):
            low, high = self._hand_on(low, high)
        return low, high

    def _read_lines(self, low: Floats, high: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """What lines say of their parts (low, high; a pair each) and totals (a line each)."""
        lines = self.lines
        sum_low, sum_high = np.asarray(self.sums @ low), np.asarray(self.sums @ high)
        from_total = (low[lines.total] - sum_high)[lines.line] + high[lines.part]
        to_total = (high[lines.total] - sum_low)[lines.line] + low[lines.part]
        return from_total, to_total, sum_low, sum_high

    def _hand_on(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """What one reading of every line adds to the bounds of its parts and its total."""
        from_total, to_total, sum_low, sum_high = self._read_lines(low, high)
        # What one holder reads in his own package is not handed on to what others see.
        private = self.lines.is_private
        from_total[private[self.lines.line]] = -np.inf
        to_total[private[self.lines.line]] = np.inf
        sum_low[private], sum_high[private] = -np.inf, np.inf
        low, high = low.copy(), high.copy()
        self.by_part.gather(np.maximum, from_total, low)
        self.by_part.gather(np.minimum, to_total, high)
        self.by_total.gather(np.maximum, sum_low, low)
        self.by_total.gather(np.minimum, sum_high, high)
        return low, high

    def _pick(self, rows: Ints, rounds: int) -> Bools:
        """For each line that gives too much away, the node that it loses next."""
        picked = self._pick_against(rows, rounds, by_files=False)
        if self.is_counted.any():
            picked |= self._pick_against(rows, rounds, by_files=True)
        return picked

    def _pick_against(self, rows: Ints, rounds: int, *, by_files: bool) -> Bools:
        """The same against who has only the tables, or files of answers beside them.

        To hide what these count keeps nothing from who counts there.
        """
        lines = self.lines
        told = np.zeros((len(rows), self.hidden.shape[1]), dtype=bool)
        bad = np.zeros((len(rows), len(lines.total)), dtype=bool)
        for quantity in QUANTITIES:
            asked = rows if quantity == "base" else rows[~self.grid.is_mean[rows]]
            if len(asked):
                at = np.searchsorted(rows, asked)
                places, tellers = self._told(asked, quantity, rounds, by_files=by_files)
                told[at] |= places
                bad[at] |= tellers
        shown = self.grid.is_showable[rows] & ~self.hidden[rows]
        if by_files:
            shown &= ~self.is_counted
        cost = np.where(shown, self.grid.base[rows], np.inf)
        picked, has_part = _smallest(cost, lines.part, lines.line, lines.start, bad)
        row, line = np.nonzero(bad & ~has_part & shown[:, lines.total])
        picked[row, lines.total[line]] = True
        can = bad & (has_part | shown[:, lines.total])
        helped = np.zeros(told.shape, dtype=bool)
        self.by_part.gather(np.logical_or, can[:, lines.line].T, helped.T)
        self.by_total.gather(np.logical_or, can.T, helped.T)
        # Where no line can lose anything by itself, several together led there: the area loses.
        areas = self.by_area
        lost = areas.any(told & ~helped & ~picked.any(axis=1, keepdims=True))
        area = np.repeat(np.arange(len(areas.start)), areas.sizes())
        more, _ = _smallest(cost, areas.order, area, areas.start, lost)
        return picked | more

    def _told(
        self, rows: Ints, quantity: str, rounds: int, *, by_files: bool = False
    ) -> tuple[Bools, Bools]:
        """Hidden counts told to more than policy.md allows, and the lines that tell them.

        A line tells if it does so by itself, from what is known of its other members.
        """
        grid, lines = self.grid, self.lines
        k, roll = _down(grid.k(quantity), rows), _down(grid.roll, rows)
        is_noted = _down(self.note, rows) == NOTED.get(quantity, -1)
        least, most = np.where(is_noted, 0, 1), np.minimum(np.where(is_noted, k - 1, k), roll)
        hidden = _down(self.hidden, rows)
        small = hidden & _down(grid.small(quantity), rows)
        has_row = hidden & grid.is_released[:, None] & (roll >= 1)
        if by_files:
            low, high = (_down(bound, rows) for bound in self._counted[quantity])
            least, most = np.maximum(least, low), np.minimum(most, high)
            has_row &= high - low >= 1 - NOISE
            small &= ~self.is_counted[:, None]

        def tells(at: Ints | slice, low: Floats, high: Floats) -> Bools:
            too_much = (low > least[at] + NOISE) | (high < most[at] - NOISE)
            exact = high - low < 1 - NOISE
            return np.asarray((small[at] & too_much) | (has_row[at] & exact), dtype=bool)

        low, high = self._bounds(rows, quantity, rounds, by_files=by_files)
        part_low, part_high, sum_low, sum_high = self._read_lines(low, high)
        # What a holder reads of his own CPP in a sum above it, he knew before.
        is_his = lines.is_private[lines.line] & (grid.view[lines.part] == OWN)
        by_part = tells(lines.part, part_low, part_high) & ~is_his[:, None]
        by_total = tells(lines.total, sum_low, sum_high) & ~lines.is_private[:, None]
        tellers = self._any_of_line(by_part.T) | by_total.T
        return tells(slice(None), low, high).T, tellers

    @cached_property
    def _counted(self) -> dict[str, tuple[Floats, Floats]]:
        """What files of answers tell of each node without any table, a quantity each."""
        rows, nothing = np.arange(len(self.grid.indicators)), np.zeros_like(self.hidden)
        found = {}
        for quantity in QUANTITIES:
            low, high = self._bounds(rows, quantity, ROUNDS, by_files=True, shown=nothing)
            found[quantity] = low.T, high.T
        return found

    def _any_of_line(self, pairs: Bools) -> Bools:
        """Rows × lines: whether any pair of a line is true."""
        return np.asarray((self.of_line @ pairs.T).T > 0)


@dataclass(frozen=True)
class _Places:
    """Entries sorted by place, for reductions: `order`, each place's `start`, the `place`s.

    `ranks`: the first entry of every place, the second of those that have one, and so on.
    """

    order: Ints
    start: Ints
    place: Ints
    ranks: tuple[tuple[Ints, Ints], ...]

    @staticmethod
    def of(places: Ints) -> _Places:
        order = np.argsort(places, kind="stable")
        place, start, size = np.unique(places[order], return_index=True, return_counts=True)
        ranks = tuple(
            (order[start[size > rank] + rank], place[size > rank])
            for rank in range(int(size.max(initial=0)))
        )
        return _Places(order, start, place, ranks)

    def sizes(self) -> Ints:
        """Entries of each place."""
        return np.asarray(np.diff(np.r_[self.start, len(self.order)]))

    def gather(self, choose: np.ufunc, entries: NDArray[Any], into: NDArray[Any]) -> None:
        """Choose between what stands at a place (`into`, a row each) and all its entries.

        A few steps over many places: `reduceat` is slow where groups are small.
        """
        for entry, place in self.ranks:
            into[place] = choose(into[place], entries[entry])

    def any(self, entries: Bools) -> Bools:
        """Whether any entry of a place is true; one column a place."""
        found = np.logical_or.reduceat(entries[:, self.order], self.start, axis=1)
        return np.asarray(found, dtype=bool)


def _down(values: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """Some indicators' values, a row a place."""
    return np.ascontiguousarray(values[rows].T)


def _if_shown(grid: Grid) -> dict[str, tuple[Floats, Floats]]:
    """Least and most of each quantity that a shown figure leaves, indicators × places.

    Of a school or cluster no more than its whole answers leave (`whole.py`); all as if no figure
    were weighted, since lines add up what is not.
    """
    nothing = np.zeros(grid.base.shape, dtype=bool)
    shown = as_released(
        replace(grid, spread=np.ones_like(grid.spread)), nothing, nothing.astype(np.int8)
    )
    positive = grid.base * shown.low_p, grid.base * shown.high_p
    left = {
        "base": (shown.low_n, shown.high_n),
        "numerator": positive,
        "complement": (grid.base - positive[1], grid.base - positive[0]),
    }
    whole = _whole(grid, shown)
    found = {}
    for quantity in QUANTITIES:
        low, high = left[quantity]
        if quantity != "base":
            low = np.maximum(low, grid.k(quantity))
            high = np.maximum(high, low)
        low, high = np.maximum(low, whole[quantity][0]), np.minimum(high, whole[quantity][1])
        empty = grid.is_empty
        found[quantity] = np.where(empty, 0.0, low), np.where(empty, 0.0, high)
    return found


def _whole(grid: Grid, shown: Shown) -> dict[str, tuple[Floats, Floats]]:
    """Bounds of each quantity by whole answers where they are counted, else none."""
    is_counted = np.isin(grid.level, INSIDE) & ~grid.is_mean[:, None] & grid.is_showable
    bounds = (shown.low_n, shown.high_n, shown.low_p, shown.high_p)
    told = (*bounds, grid.k_numerator, grid.k_complement)
    least, most = whole_answers(*(each[is_counted] for each in told))
    is_any = np.isfinite(least[0])
    found = {}
    for part, quantity in enumerate(PARTS):
        low, high = np.full(grid.base.shape, -np.inf), np.full(grid.base.shape, np.inf)
        low[is_counted] = np.where(is_any, least[part], -np.inf)
        high[is_counted] = np.where(is_any, most[part], np.inf)
        found[quantity] = low, high
    return found


def _smallest(
    cost: Floats,
    member: Ints,
    group: Ints,
    start: Ints,
    wanted: Bools,
) -> tuple[Bools, Bools]:
    """In each wanted group, its member of least cost; ties go to the first.

    Args:
        cost: rows × places; infinite where a place cannot be taken.
        member, group: pairs of a place and its group, ordered by group.
        start: each group's first pair.
        wanted: rows × groups.

    Returns:
        rows × places taken, and rows × groups that have a member to take.
    """
    of_member = cost[:, member]
    least = np.minimum.reduceat(of_member, start, axis=1)
    has = np.isfinite(least)
    row, pair = np.nonzero((wanted & has)[:, group] & (of_member == least[:, group]))
    taken = np.zeros(cost.shape, dtype=bool)
    if len(row):
        first = np.r_[True, (row[1:] != row[:-1]) | (group[pair[1:]] != group[pair[:-1]])]
        taken[row[first], member[pair[first]]] = True
    return taken, np.asarray(has)
