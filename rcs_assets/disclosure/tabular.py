"""Protection and audit of any additive tables: primary and secondary suppression.

Belongs here: the rule of what is small, hiding more until no reader can work out what is
hidden, and the audit of tables whose hidden cells are marked. Does not belong here: the
policy of this programme's releases (`policy.py`, `attack.py`), adding up (`structure.py`),
linear programs (`lp.py`).

Primary: a value below k. Secondary: what must go with it, so that no hidden cell can be
recovered exactly and the interval of a small one still holds 1 (or less) and k (or more), as
far as it does without the release (policy.md, "How protection is judged"). Secondary cells
are chosen by the least that is lost: the smallest first, with what it would drag along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from rcs_assets.disclosure.lp import SLACK, FloatArray, Reached, System, Targets, reach
from rcs_assets.disclosure.structure import (
    Cells,
    Index,
    Mask,
    Structure,
    as_structures,
    as_tables,
    column,
    numbers,
    read_cells,
)
from rcs_assets.errors import ConfigurationError

STATUS = "status"
PUBLISHED, PRIMARY, SECONDARY = "published", "primary", "secondary"
# Attacks on trial, with cells shown again: at most so many, and fewer the larger the table.
REVIEWS_MOST, REVIEWED_CELLS = 150, 20_000
# Amounts are uncertain if they can differ by this part; counts, by 1.
AMOUNT_PART = 0.01


@dataclass(frozen=True)
class Rule:
    """What is small, and how values are shown.

    Args:
        k: values below it are small (Table A of policy.md: 10 and more); None: only the
            columns `low_ok` and `high_ok` say what needs protection.
        zeros: a zero is small too ("no child feels unsafe" discloses); otherwise zeros are
            shown.
        rounding: shown values are multiples of this; what stays unknown by it protects, so
            that less is hidden. The table still comes in exact.
        low_ok: column of per-cell requirements: where not null the cell is hidden and an
            attacker's lower bound must be at most this (p % rule of amounts: the value less
            what the largest contributor must not learn).
        high_ok: the same for the upper bound: at least this.

    Raises:
        ConfigurationError: k or rounding below 1, or nothing to protect.
    """

    k: int | None = 10
    zeros: bool = True
    rounding: int | None = None
    low_ok: str | None = None
    high_ok: str | None = None

    def __post_init__(self) -> None:
        if (self.k is not None and self.k < 1) or (self.rounding is not None and self.rounding < 1):
            raise ConfigurationError("k and rounding are at least 1", where="Rule")
        if self.k is None and self.low_ok is None and self.high_ok is None:
            raise ConfigurationError(
                "The rule protects nothing",
                where="Rule",
                fix="give k, or the columns low_ok and high_ok",
            )


@dataclass(frozen=True)
class _Need:
    """What must stay possible of each cell; `inf` and `-inf` where nothing must."""

    is_primary: Mask
    low_ok: FloatArray
    high_ok: FloatArray


def protect(table: Any, structure: Structure | Sequence[Structure], rule: Rule) -> Any:
    """Mark which cells to hide: input and `status` (published | primary | secondary).

    For use inside only: values stay, and `status` tells which cells are really small.

    Args:
        table: a long table (pyarrow, pandas, DuckDB relation), or a list of linked tables.
        structure: its structure, or a list of them.
        rule: what is small.

    Returns:
        pyarrow table, or a list of them if a list was given; row order is kept.

    Raises:
        InputError: the table breaks its structure (see `structure.read_cells`).
    """
    tables = as_tables(table)
    structures = as_structures(structure, len(tables))
    cells = read_cells(tables, structures)
    need = _needs(tables, cells, rule)
    plan = _Plan(cells, need, rule)
    plan.fill()
    plan.review()
    status = np.where(
        need.is_primary, PRIMARY, np.where(plan.is_hidden, SECONDARY, PUBLISHED)
    ).astype(object)
    marked = [
        _without(t, STATUS).append_column(STATUS, pa.array(status[rows], pa.string()))
        for t, rows in zip(tables, cells.rows, strict=True)
    ]
    return marked if isinstance(table, (list, tuple)) else marked[0]


def audit(
    table: Any, structure: Structure | Sequence[Structure], *, rounding: int | None = None
) -> Any:
    """What a reader can work out of each hidden cell, by exact linear programs.

    Knows nothing of how cells came to be hidden: it reads `status`, uses the values of
    published cells only, and all linked tables at once.

    Args:
        table: long table with `status` (anything but `published` is hidden), or a list.
        structure: its structure, or a list of them.
        rounding: published values are known only to the nearest multiple of this.

    Returns:
        pyarrow table of the hidden cells in row order, or a list of them: the dimensions,
        `lower`, `upper` (rounded inward to whole numbers where all shown values are whole;
        null: no limit), `exact` (whether both are equal).

    Raises:
        InputError: the table breaks its structure, or no table fits what it shows.
    """
    tables = as_tables(table)
    structures = as_structures(structure, len(tables))
    shown = [_is_published(t) for t in tables]
    cells = read_cells(tables, structures, is_shown=shown, adds_up=rounding is None)
    # A cell that any table publishes is known.
    is_hidden = np.isnan(cells.value)
    hidden = np.flatnonzero(is_hidden)
    never = np.full(len(hidden), -np.inf)
    found = _reach(cells, is_hidden, rounding, hidden, never, -never, exact=True)
    lower, upper = found.low, found.high
    is_whole = bool((cells.value[~is_hidden] % 1 == 0).all())
    if is_whole:
        lower, upper = np.ceil(lower - SLACK), np.floor(upper + SLACK)
    low, high = cells.value.copy(), cells.value.copy()
    low[hidden], high[hidden] = lower, upper
    kind = pa.int64() if is_whole else pa.float64()
    answers = [
        _answer(t, s, ~m, low[rows], high[rows], kind)
        for t, s, m, rows in zip(tables, structures, shown, cells.rows, strict=True)
    ]
    return answers if isinstance(table, (list, tuple)) else answers[0]


def _is_published(table: pa.Table) -> Mask:
    """Rows whose value a reader sees; a null status is not published."""
    same = pc.fill_null(pc.equal(column(table, STATUS), PUBLISHED), False)
    return np.asarray(same.to_numpy(), dtype=bool)


def _answer(
    table: pa.Table,
    structure: Structure,
    is_hidden: Mask,
    low: FloatArray,
    high: FloatArray,
    kind: pa.DataType,
) -> pa.Table:
    """The hidden rows of one table with their intervals."""
    picked = table.select(list(structure.dimensions)).filter(pa.array(is_hidden))
    low, high = low[is_hidden], high[is_hidden]
    limit = pa.array(np.where(np.isinf(high), 0.0, high), mask=np.isinf(high))
    return (
        picked.append_column("lower", pa.array(low).cast(kind))
        .append_column("upper", limit.cast(kind))
        .append_column("exact", pa.array(high - low <= SLACK))
    )


def _without(table: pa.Table, name: str) -> pa.Table:
    return table.drop_columns([name]) if name in table.column_names else table


def _needs(tables: Sequence[pa.Table], cells: Cells, rule: Rule) -> _Need:
    """Primary cells and what must stay possible of them."""
    value = cells.value
    k = 0 if rule.k is None else rule.k
    is_small = (value < k) & (rule.zeros | (value > 0))
    # Whoever knows L and U without the release has nothing to learn inside them.
    low_ok = np.where(is_small, np.maximum(1.0, cells.known_low), np.inf)
    high_ok = np.where(is_small, np.minimum(float(k), cells.known_high), -np.inf)
    if rule.low_ok is not None:
        asked = [_or(numbers(t, rule.low_ok), np.inf) for t in tables]
        low_ok = np.minimum(low_ok, cells.spread(asked, np.inf, np.minimum))
    if rule.high_ok is not None:
        asked = [_or(numbers(t, rule.high_ok), -np.inf) for t in tables]
        high_ok = np.maximum(high_ok, cells.spread(asked, -np.inf, np.maximum))
    return _Need((low_ok < np.inf) | (high_ok > -np.inf), low_ok, high_ok)


def _or(values: FloatArray, missing: float) -> FloatArray:
    return np.where(np.isnan(values), missing, values)


def _reach(
    cells: Cells,
    is_hidden: Mask,
    rounding: int | None,
    asked: Index,
    low_ok: FloatArray,
    high_ok: FloatArray,
    *,
    exact: bool = False,
) -> Reached:
    """How far the asked cells can move for somebody who sees all that is not hidden."""
    shown_low, shown_high = _shown(cells.value, rounding)
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
    targets = Targets(
        starts=np.arange(len(asked) + 1, dtype=np.int32),
        index=asked.astype(np.int32),
        value=np.ones(len(asked)),
        low_ok=low_ok,
        high_ok=high_ok,
    )
    return reach(system, targets, exact=exact)


def _shown(value: FloatArray, rounding: int | None) -> tuple[FloatArray, FloatArray]:
    """Bounds of the count behind a shown value: halves are rounded up, counts are whole."""
    if rounding is None:
        return value, value
    middle = rounding * np.floor(value / rounding + 0.5)
    low = np.maximum(np.ceil(middle - rounding / 2), 0.0)
    return low, np.ceil(middle + rounding / 2) - 1


class _Plan:
    """Which cells are hidden so far, and the choice of further ones."""

    def __init__(self, cells: Cells, need: _Need, rule: Rule) -> None:
        self.cells, self.need, self.rule = cells, need, rule
        self.is_hidden = need.is_primary.copy()
        self.lines = csr_array(abs(cells.equations))
        self.lines_of = csr_array(self.lines.T)
        # Hiding a zero that is otherwise shown would protect nothing worth having.
        self.can_hide = rule.zeros | (cells.value > 0)

    def fill(self) -> None:
        """Hide more until an attack on exact values finds nothing."""
        while True:
            self.close_lines()
            unsafe = self.unsafe(None)
            if not len(unsafe):
                return
            self.hide_beside(unsafe)

    def review(self) -> None:
        """Show secondary cells again, the largest first, where all stays safe.

        What rounding alone protects comes back here. Many are tried at once, and by halves
        where that fails, for as many attacks as the size of the table allows.
        """
        secondary = np.flatnonzero(self.is_hidden & ~self.need.is_primary)
        order = np.argsort(-self.cells.value[secondary], kind="stable")
        waiting = [secondary[order]] if len(secondary) else []
        for _ in range(min(REVIEWS_MOST, REVIEWED_CELLS // len(self.cells.value))):
            if not waiting:
                return
            group = waiting.pop()
            self.is_hidden[group] = False
            if len(self.unsafe(self.rule.rounding)):
                self.is_hidden[group] = True
                middle = (len(group) + 1) // 2
                halves = [group[middle:], group[:middle]] if len(group) > 1 else []
                waiting += [half for half in halves if len(half)]

    def unsafe(self, rounding: int | None) -> Index:
        """Hidden cells of which a reader of values rounded so learns too much."""
        small = np.flatnonzero(self.need.is_primary)
        low_ok, high_ok = self.need.low_ok[small], self.need.high_ok[small]
        found = self._fail(small, low_ok, high_ok, rounding)
        # Other hidden cells must only not be exact: movable on one side.
        other = np.flatnonzero(self.is_hidden & ~self.need.is_primary)
        value = self.cells.value[other]
        step = np.where(value % 1 == 0, 1.0, AMOUNT_PART * value)
        none = np.full(len(other), np.inf)
        still = self._fail(other, value - step, -none, rounding)
        step = step[np.isin(other, still)]
        least = none[: len(still)]
        still = self._fail(still, least, self.cells.value[still] + step, rounding)
        is_open = self.cells.known_low[still] < self.cells.known_high[still]
        return np.concatenate([found, still[is_open]])

    def _fail(
        self, asked: Index, low_ok: FloatArray, high_ok: FloatArray, rounding: int | None
    ) -> Index:
        """Those of the asked cells that are not safe."""
        if not len(asked):
            return asked
        found = _reach(self.cells, self.is_hidden, rounding, asked, low_ok, high_ok)
        is_unsafe = (found.low > low_ok + SLACK) | (found.high < high_ok - SLACK)
        return asked[is_unsafe]

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
            lines = self._lines_of(cell)
            if served[lines].any():
                continue
            chosen = self._hide_cheapest(self._members_of(lines), cost)
            while chosen is None and len(wider := self._lines_beside(lines)) > len(lines):
                # All around is hidden: one line further.
                lines = wider
                chosen = self._hide_cheapest(self._members_of(lines), cost)
            if chosen is not None:
                served[self._lines_of(chosen)] = True
        if int(self.is_hidden.sum()) == hidden_n:
            raise ConfigurationError(
                "The rule cannot be met: all that could be hidden is, and a cell is still open",
                where="known_low and known_high, low_ok and high_ok",
                why="what is known without the table already says too much",
                fix="ask for no more than the known bounds leave open",
            )

    def _cost(self, counts: FloatArray) -> FloatArray:
        """What hiding a cell loses: its value and, in lines without any, the smallest other."""
        value = self.cells.value
        can = ~self.is_hidden & self.can_hide
        smallest = np.full(self.lines.shape[0], np.inf)
        line = np.repeat(np.arange(self.lines.shape[0]), np.diff(self.lines.indptr))
        member = self.lines.indices
        np.minimum.at(smallest, line[can[member]], value[member[can[member]]])
        drags = np.where((counts == 0) & np.isfinite(smallest), smallest, 0.0)
        return np.where(can, value + np.asarray(self.lines_of @ drags), np.inf)

    def _hide_cheapest(self, members: Index, cost: FloatArray) -> int | None:
        """Hide the cell of least cost and say which; None if none can be."""
        choice = members[self.can_hide[members] & ~self.is_hidden[members]]
        if not len(choice):
            return None
        chosen = int(choice[np.argmin(cost[choice])])
        self.is_hidden[chosen] = True
        return chosen

    def _members(self, line: int) -> Index:
        return _entries(self.lines, line)

    def _lines_of(self, cell: int) -> Index:
        return _entries(self.lines_of, cell)

    def _members_of(self, lines: Index) -> Index:
        return np.unique(np.concatenate([self._members(i) for i in lines.tolist()]))

    def _lines_beside(self, lines: Index) -> Index:
        """The lines, and all that share a cell with them."""
        cells = self._members_of(lines).tolist()
        return np.unique(np.concatenate([self._lines_of(cell) for cell in cells]))


def _entries(matrix: csr_array, row: int) -> Index:
    """Columns of a row's entries."""
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64)
