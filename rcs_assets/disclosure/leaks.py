"""What a finished table gives away: the verdict on an audit, cell by cell.

Belongs here: comparing what a reader can work out with what the rule allows. Does not belong
here: how far a reader gets (`tabular.audit`), choosing what to hide (`optimal.py`), the
packages of this programme (`attack.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.given import as_tables, column
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.disclosure.structure import (
    TOTAL,
    Mask,
    Structure,
    as_structures,
    read_cells,
)
from rcs_assets.disclosure.tabular import (
    Rule,
    at_least_one,
    intervals_of,
    is_published,
    needs_of,
)
from rcs_assets.errors import InputError
from rcs_assets.given import need_kind

SHOWN, EXACT, NARROW, GROUP = "shown", "exact", "narrow", "group"


def find_leaks(
    table: Any,
    structure: Structure | Sequence[Structure],
    rule: Rule,
    *,
    answers: str | None = None,
) -> Any:
    """Cells of which a reader of the published ones learns more than the rule allows.

    For use inside only: it reads true values to know which cells are small. What a reader
    learns is worked out from published cells alone, of all linked tables at once.

    Args:
        table: long table with true values and `status` (anything but `published` is hidden),
            or a list of linked tables.
        structure: its structure, or a list of them.
        rule: what is small; with `rounding`, values are shown rounded.
        answers: dimension whose codes are the answers of a group (numerator, complement, and
            the base under `Total`): no answer may be provably nobody's, since then the whole
            group gave the others.

    Returns:
        pyarrow table of the leaks in row order, or a list of them: the dimensions, `lower`,
        `upper` (null: no limit) and `leak`: `shown` (small and published), `exact` (hidden
        and worked out), `narrow` (small, and the interval leaves out 1 or k), `group`.

    Raises:
        InputError: the table breaks its structure.
    """
    tables = as_tables(table)
    structures = as_structures(structure, len(tables))
    need_kind(rule, Rule, "argument rule", "give Rule(k=…)")
    _need_dimension(answers, structures)
    cells = read_cells(tables, structures)
    # Where a zero is hidden all the same, nobody can know of a hidden cell that it is none.
    zeros = rule.zeros or any(
        bool((~is_published(given) & (cells.value[rows] == 0)).any())
        for given, rows in zip(tables, cells.rows, strict=True)
    )
    if not zeros:
        cells = at_least_one(cells, cells.value > 0)
    need = needs_of(tables, cells, rule)
    low, high, slack = intervals_of(tables, structures, rounding=rule.rounding, zeros=zeros)
    found = []
    for given, one, rows, least, most in zip(
        tables, structures, cells.rows, low, high, strict=True
    ):
        is_hidden = ~is_published(given)
        is_open = cells.known_low[rows] < cells.known_high[rows]
        leak = np.full(len(rows), None, dtype=object)
        is_small = need.is_primary[rows]
        is_narrow = (least > need.low_ok[rows] + slack) | (most < need.high_ok[rows] - slack)
        leak[is_hidden & is_small & is_narrow] = NARROW
        leak[is_hidden & is_open & (most - least <= slack)] = EXACT
        leak[~is_hidden & is_small] = SHOWN
        if answers is not None and answers in one.dimensions:
            leak[_is_nobodys(given, one, answers, least, most, slack)] = GROUP
        found.append(_listed(given, one, leak, least, most))
    return found if isinstance(table, (list, tuple)) else found[0]


def _need_dimension(answers: str | None, structures: Sequence[Structure]) -> None:
    """A name that no structure has would leave the answers of groups unlooked at."""
    if answers is None:
        return
    need_kind(answers, str, "argument answers", "give the name of one dimension")
    if not any(answers in one.dimensions for one in structures):
        raise InputError(
            f"No structure has the dimension '{answers}'",
            where="argument answers",
            fix="name the dimension whose codes are the answers, or leave it out",
        )


def _is_nobodys(
    table: pa.Table,
    structure: Structure,
    answers: str,
    low: FloatArray,
    high: FloatArray,
    slack: float,
) -> Mask:
    """Answers that provably nobody of a group with somebody in it gave."""
    names = list(structure.dimensions)
    codes = {name: column(table, name).cast(pa.string()).to_pylist() for name in names}
    group = list(zip(*(codes[name] for name in names if name != answers), strict=True))
    if not group:
        group = [()] * len(table)
    is_base = np.array([code == TOTAL for code in codes[answers]])
    somebody = {
        key for key, base, least in zip(group, is_base, low, strict=True) if base and least > slack
    }
    has_somebody = np.array([key in somebody for key in group])
    return np.asarray(~is_base & has_somebody & (high <= slack), dtype=bool)


def _listed(
    table: pa.Table, structure: Structure, leak: Any, low: FloatArray, high: FloatArray
) -> pa.Table:
    """The rows with a leak."""
    is_leak = np.array([one is not None for one in leak], dtype=bool)
    limit = np.where(np.isinf(high), 0.0, high)[is_leak]
    return (
        table.select(list(structure.dimensions))
        .filter(pa.array(is_leak))
        .append_column("lower", pa.array(low[is_leak]))
        .append_column("upper", pa.array(limit, mask=np.isinf(high)[is_leak]))
        .append_column("leak", pa.array(leak[is_leak].tolist(), pa.string()))
    )
