"""Protection and audit of any additive tables: primary and secondary suppression.

Belongs here: the rule of what is small, hiding more until no reader can work out what is
hidden, and the audit of tables whose hidden cells are marked. Does not belong here: the
policy of this programme's releases (`policy.py`, `attack.py`), adding up (`structure.py`),
linear programs (`lp.py`), the choice of cells (`optimal.py`, `secondary.py`).

Primary: a value below k. Secondary: what must go with it, so that no hidden cell can be
recovered exactly and the interval of a small one still holds 1 (or less) and k (or more), as
far as it does without the release (policy.md, "How protection is judged"). Secondary cells
are chosen so that the least is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rcs_assets.disclosure.given import as_tables, column, numbers
from rcs_assets.disclosure.lp import SLACK
from rcs_assets.disclosure.optimal import cheapest, quick
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.disclosure.secondary import (
    AMOUNT_PART,
    CannotBeMetError,
    Need,
    each_cell,
    reach_cells,
    shown_bounds,
)
from rcs_assets.disclosure.structure import (
    Cells,
    Mask,
    Structure,
    as_structures,
    places,
    read_cells,
)
from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.given import need_kind

STATUS = "status"
PUBLISHED, PRIMARY, SECONDARY = "published", "primary", "secondary"
AUTO, OPTIMAL, QUICK = "auto", "optimal", "quick"
# Cells up to which the best choice is looked for without being asked: ten seconds or so.
OPTIMAL_MOST = 1_500


@dataclass(frozen=True)
class Rule:
    """What is small, and how values are shown.

    Args:
        k: values below it are small (Table A of policy.md: 10 and more); None: only the
            columns `low_ok` and `high_ok` say what needs protection.
        zeros: a zero is small too ("no child feels unsafe" discloses); otherwise zeros are
            shown, so that every reader knows of a hidden count that it is 1 at least.
        rounding: shown values are multiples of this; what stays unknown by it protects, so
            that less is hidden. The table still comes in exact.
        low_ok: column of per-cell requirements: where not null the cell is hidden and an
            attacker's lower bound must be at most this (p % rule of amounts: the value less
            what the largest contributor must not learn).
        high_ok: the same for the upper bound: at least this.
        cost: column of what is lost with a cell (0 or more): pupils weighted by importance,
            say; the value itself if left out. A cell in several tables costs the most of them.
        search: `optimal` (the least loss, or a bound on what could be saved; minutes for
            thousands of cells), `quick` (line by line; a bound that says little), or
            `auto`: optimal for up to 1,500 cells.

    Raises:
        ConfigurationError: k or rounding is no whole number from 1 on, or nothing to protect.
    """

    k: int | None = 10
    zeros: bool = True
    rounding: int | None = None
    low_ok: str | None = None
    high_ok: str | None = None
    cost: str | None = None
    search: str = AUTO

    def __post_init__(self) -> None:
        check_whole("k", self.k)
        check_whole("rounding", self.rounding)
        if self.k is None and self.low_ok is None and self.high_ok is None:
            raise ConfigurationError(
                "The rule protects nothing",
                where="Rule",
                fix="give k, or the columns low_ok and high_ok",
            )
        need_kind(self.zeros, bool, "Rule.zeros", "say True or False")
        if self.search not in (AUTO, OPTIMAL, QUICK):
            raise ConfigurationError(
                "The rule names no search that there is",
                where="Rule.search",
                fix=f"{AUTO}, {OPTIMAL} or {QUICK}",
            )


def check_whole(name: str, value: int | None) -> None:
    """Refuse what is no whole number from 1 on (nor left out).

    Raises:
        ConfigurationError: it is not; with a k that is no number nothing would be small.
    """
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1
    ):
        raise ConfigurationError(
            f"{name} is at least 1, and a whole number",
            where=f"{name} = {value!r}",
            fix=f"give {name} as a whole number, or leave it out",
        )


def check_counts(value: FloatArray, rounding: int | None) -> None:
    """Refuse rounding of what is no whole number: its bounds would leave out the truth.

    Raises:
        InputError: values are rounded, and one is not whole.
    """
    if rounding is not None and (value % 1 != 0).any():
        raise InputError(
            "Only whole numbers can be rounded here",
            where=f"{int((value % 1 != 0).sum())} cells",
            why="what rounding leaves open is worked out for counts",
            fix="leave rounding out, or give the values in a unit in which they are whole",
        )


@dataclass(frozen=True)
class Protection:
    """Marked tables, and how good the choice of secondary cells is.

    `cost`: loss of all hidden cells, primary ones included (a cell in several tables once).
    `bound`: no safe choice loses less. `gap`: the part of the cost that could be saved at
    most; 0 if the choice is proven to be the best.
    """

    tables: list[pa.Table]
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """(cost - bound) / cost."""
        return (self.cost - self.bound) / self.cost if self.cost else 0.0


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
        InputError: the table breaks its structure (see `structure.read_cells`), a value that
            is to be rounded is no whole number, or the rule's columns hold nothing or too much.
        ConfigurationError: no choice of cells meets the rule.
    """
    found = protect_with_bound(table, structure, rule)
    return found.tables if isinstance(table, (list, tuple)) else found.tables[0]


def protect_with_bound(
    table: Any, structure: Structure | Sequence[Structure], rule: Rule
) -> Protection:
    """`protect`, with what the choice costs and the least that any safe choice costs.

    Raises:
        InputError, ConfigurationError: as `protect`.
    """
    need_kind(rule, Rule, "argument rule", "give Rule(k=…)")
    tables = as_tables(table)
    structures = as_structures(structure, len(tables))
    cells = read_cells(tables, structures)
    check_counts(cells.value, rule.rounding)
    if not rule.zeros:
        cells = at_least_one(cells, cells.value > 0)
    need = _in_doubt(cells, needs_of(tables, cells, rule))
    is_small = len(need.is_primary) <= OPTIMAL_MOST
    is_best = rule.search == OPTIMAL or (rule.search == AUTO and is_small)
    try:
        choice = (cheapest if is_best else quick)(cells, need, rule.rounding)
    except CannotBeMetError as error:
        where = places(cells.rows, error.cells, tables, structures)
        raise CannotBeMetError(error.cells, where) from None
    status = np.where(
        need.is_primary, PRIMARY, np.where(choice.is_hidden, SECONDARY, PUBLISHED)
    ).astype(object)
    marked = [
        _without(t, STATUS).append_column(STATUS, pa.array(status[rows], pa.string()))
        for t, rows in zip(tables, cells.rows, strict=True)
    ]
    return Protection(marked, choice.cost, choice.bound)


def audit(
    table: Any,
    structure: Structure | Sequence[Structure],
    *,
    rounding: int | None = None,
    zeros: bool = True,
) -> Any:
    """What a reader can work out of each hidden cell, by exact linear programs.

    Knows nothing of how cells came to be hidden: it reads `status`, uses the values of
    published cells only, and all linked tables at once.

    Args:
        table: long table with `status` (anything but `published` is hidden), or a list.
        structure: its structure, or a list of them.
        rounding: published values are known only to the nearest multiple of this.
        zeros: zeros may be hidden; if not, readers know that no hidden cell is 0.

    Returns:
        pyarrow table of the hidden cells in row order, or a list of them: the dimensions,
        `lower`, `upper` (rounded inward to whole numbers where all shown values are whole;
        null: no limit), `exact` (whether both are equal).

    Raises:
        InputError: the table breaks its structure, or no table fits what it shows.
        ConfigurationError: rounding is no whole number from 1 on.
    """
    check_whole("rounding", rounding)
    need_kind(zeros, bool, "argument zeros", "say True or False")
    tables = as_tables(table)
    structures = as_structures(structure, len(tables))
    low, high, slack = intervals_of(tables, structures, rounding=rounding, zeros=zeros)
    shown = [is_published(t) for t in tables]
    is_whole = all(
        bool((numbers(t, s.value)[is_shown] % 1 == 0).all())
        for t, s, is_shown in zip(tables, structures, shown, strict=True)
    )
    kind = pa.int64() if is_whole else pa.float64()
    answers = [
        _answer(t, s, ~is_shown, least, most, slack, kind)
        for t, s, is_shown, least, most in zip(tables, structures, shown, low, high, strict=True)
    ]
    return answers if isinstance(table, (list, tuple)) else answers[0]


def intervals_of(
    tables: Sequence[pa.Table],
    structures: Sequence[Structure],
    *,
    rounding: int | None,
    zeros: bool = True,
) -> tuple[list[FloatArray], list[FloatArray], float]:
    """Least and most that each row of each table can be for a reader of the published rows.

    Rounded inward to whole numbers where all shown values are whole; `inf`: no limit. Third: what
    lies closer together is the same (`lp.Reached.slack`). `zeros`: as in `audit`.

    Raises:
        InputError: a table breaks its structure, or none fits what is shown.
    """
    shown = [is_published(t) for t in tables]
    cells = read_cells(tables, structures, is_shown=shown, adds_up=rounding is None)
    # A cell that any table publishes is known.
    is_hidden = np.isnan(cells.value)
    check_counts(cells.value[~is_hidden], rounding)
    is_whole = bool((cells.value[~is_hidden] % 1 == 0).all())
    if not zeros:
        cells = at_least_one(cells, is_hidden)
    hidden = np.flatnonzero(is_hidden)
    never = np.full(len(hidden), -np.inf)
    targets = each_cell(hidden, never, -never)
    found = reach_cells(cells, is_hidden, rounding, targets, exact=True)
    lower, upper = found.low, found.high
    if is_whole:
        lower, upper = np.ceil(lower - found.slack), np.floor(upper + found.slack)
    low, high = (bound.copy() for bound in shown_bounds(cells.value, rounding))
    low[hidden], high[hidden] = lower, upper
    low, high = np.maximum(low, cells.known_low), np.minimum(high, cells.known_high)
    return (
        [low[rows] for rows in cells.rows],
        [high[rows] for rows in cells.rows],
        SLACK if is_whole else found.slack,
    )


def at_least_one(cells: Cells, among: Mask) -> Cells:
    """What everybody knows of hidden counts where no zero is hidden: they are 1 at least.

    So a total is at least as large as it has such parts. Of amounts nothing follows.
    """
    if (cells.value[~np.isnan(cells.value)] % 1 != 0).any():
        return cells
    low = np.where(among, np.maximum(cells.known_low, 1.0), cells.known_low)
    parts, totals = cells.equations.maximum(0), (-cells.equations).maximum(0).indices
    while True:
        before = low.copy()
        np.maximum.at(low, totals, np.asarray(parts @ before))
        if (low == before).all():
            return replace(cells, known_low=low)


def is_published(table: pa.Table) -> Mask:
    """Rows whose value a reader sees; a null status is not published."""
    status = column(table, STATUS)
    if pa.types.is_dictionary(status.type):
        status = status.cast(status.type.value_type)
    if not (pa.types.is_string(status.type) or pa.types.is_large_string(status.type)):
        raise InputError(
            f"Column '{STATUS}' is no text",
            where="table",
            why=f"it says '{PUBLISHED}' of what readers see, and anything else of what is hidden",
        )
    same = pc.fill_null(pc.equal(status, PUBLISHED), False)
    return np.asarray(same.to_numpy(), dtype=bool)


def _answer(
    table: pa.Table,
    structure: Structure,
    is_hidden: Mask,
    low: FloatArray,
    high: FloatArray,
    slack: float,
    kind: pa.DataType,
) -> pa.Table:
    """The hidden rows of one table with their intervals."""
    picked = table.select(list(structure.dimensions)).filter(pa.array(is_hidden))
    low, high = low[is_hidden], high[is_hidden]
    limit = pa.array(np.where(np.isinf(high), 0.0, high), mask=np.isinf(high))
    return (
        picked.append_column("lower", pa.array(low).cast(kind))
        .append_column("upper", limit.cast(kind))
        .append_column("exact", pa.array(high - low <= slack))
    )


def _without(table: pa.Table, name: str) -> pa.Table:
    return table.drop_columns([name]) if name in table.column_names else table


def needs_of(tables: Sequence[pa.Table], cells: Cells, rule: Rule) -> Need:
    """Primary cells and what must stay possible of them."""
    value = cells.value
    k = 0 if rule.k is None else rule.k
    is_small = (value < k) & (rule.zeros | (value > 0))
    # Whoever knows L and U without the release has nothing to learn inside them.
    low_ok = np.where(is_small, np.maximum(1.0, cells.known_low), np.inf)
    high_ok = np.where(is_small, np.minimum(float(k), cells.known_high), -np.inf)
    if rule.low_ok is not None:
        asked = _asked(tables, rule.low_ok, np.inf)
        low_ok = np.minimum(low_ok, cells.spread(asked, np.inf, np.minimum))
    if rule.high_ok is not None:
        asked = _asked(tables, rule.high_ok, -np.inf)
        high_ok = np.maximum(high_ok, cells.spread(asked, -np.inf, np.maximum))
    loss = value
    if rule.cost is not None:
        asked = [_costs(t, rule.cost) for t in tables]
        loss = cells.spread(asked, 0.0, np.maximum)
    return Need(
        is_primary=(low_ok < np.inf) | (high_ok > -np.inf),
        low_ok=low_ok,
        high_ok=high_ok,
        # Hiding a zero that is otherwise shown would protect nothing worth having.
        can_hide=rule.zeros | (value > 0),
        loss=loss,
    )


def _in_doubt(cells: Cells, need: Need) -> Need:
    """Where the value alone would do, ask for another one too: no hidden cell is known exactly.

    So it is with a small count of 1 of whom everybody knows that it is 0 or 1.
    """
    value = cells.value
    step = np.where(value % 1 == 0, 1.0, AMOUNT_PART * value)
    alone = need.is_primary & (need.low_ok >= value) & (need.high_ok <= value)
    is_less = alone & (value - step >= np.maximum(cells.known_low, 0.0))
    is_more = alone & ~is_less & (value + step <= cells.known_high)
    return replace(
        need,
        low_ok=np.where(is_less, value - step, need.low_ok),
        high_ok=np.where(is_more, value + step, need.high_ok),
    )


def _costs(table: pa.Table, name: str) -> FloatArray:
    costs = numbers(table, name)
    if not ((costs >= 0) & (costs < np.inf)).all():
        raise InputError(
            f"Column '{name}' holds nulls or values below 0, or without an end",
            where="table",
            why="the loss of a hidden cell is at least 0",
        )
    return costs


def _asked(tables: Sequence[pa.Table], name: str, nothing: float) -> list[FloatArray]:
    """What a column asks of each row's cell; `nothing` where it is null.

    Raises:
        InputError: it asks nothing of any cell, or something without an end.
    """
    asked = [numbers(table, name) for table in tables]
    for values in asked:
        if (is_endless := np.isinf(values)).any():
            raise InputError(
                f"Column '{name}' holds numbers without an end",
                where=f"{is_endless.sum()} rows, the first: row {is_endless.argmax() + 1}",
                why="it says how far down or up each cell must be able to move",
                fix="give the bound, or null where nothing is asked",
            )
    together = np.concatenate(asked)
    if len(together) and np.isnan(together).all():
        raise InputError(
            f"Column '{name}' asks for nothing: it holds nulls only",
            where="table",
            why="a bound that was lost on the way would leave its cell unprotected",
            fix="look how the column was made; if nothing is to be asked, leave it out of the rule",
        )
    return [np.where(np.isnan(values), nothing, values) for values in asked]
