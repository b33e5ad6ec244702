"""Which cells of tables add up to which: hierarchies, structures, linked tables.

Belongs here: the code lists of a table's dimensions, reading long tables into distinct
cells, and the equations total = sum of parts between them. Does not belong here: kinds of
tables and columns (`given.py`), what is small or hidden (`tabular.py`), linear programs
(`lp.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rcs_assets.disclosure.given import column, numbers, texts
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.errors import InputError
from rcs_assets.given import need_kind

TOTAL = "Total"
# Columns that `protect`, `audit` and `find_leaks` add.
RESERVED = frozenset({"status", "lower", "upper", "exact", "leak"})
# So many codes of a hierarchy are listed in a message.
_LISTED = 10
# Sums of decimals differ in the last digits; of counts, up to what a double holds, they do not.
ADDS_UP_WITHIN, COUNTS_WITHIN, COUNTS_MOST = 1e-6, 0.5, 2.0**53

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Hierarchy(Mapping[str, str]):
    """Codes of a dimension: a mapping child → parent whose only root is `Total`.

    Raises:
        InputError: there are no codes, or a code is no text; a chain of parents runs in a circle
            or ends elsewhere than in `Total`.
    """

    def __init__(self, parents: Mapping[str, str]) -> None:
        need_kind(parents, Mapping, "Hierarchy", "give a mapping of codes to their parents")
        self._parents = dict(parents)
        odd = [c for pair in self._parents.items() for c in pair if not isinstance(c, str)]
        if odd or not self._parents or TOTAL in self._parents:
            raise InputError(
                "A hierarchy is no mapping of codes to their parents",
                where=f"code {odd[0]!r}" if odd else f"{len(self._parents)} codes",
                why=f"there is at least one code, codes are texts, and '{TOTAL}' has no parent",
                fix="write numbers as texts; leave out a dimension that has only its total",
            )
        for child in self._parents:
            self._climb(child)

    @classmethod
    def flat(cls, codes: Iterable[str]) -> Hierarchy:
        """All codes directly under `Total`."""
        need_kind(codes, Iterable, "Hierarchy.flat", "give a list of codes")
        listed = list(codes)
        for code in listed:
            need_kind(code, str, "Hierarchy.flat", "write codes as texts")
        return cls(dict.fromkeys(listed, TOTAL))

    @property
    def codes(self) -> list[str]:
        """`Total`, then every other code in the order given."""
        return [TOTAL, *self._parents]

    def families(self) -> dict[str, list[str]]:
        """Children of each parent, in the order given."""
        found: dict[str, list[str]] = {}
        for child, parent in self._parents.items():
            found.setdefault(parent, []).append(child)
        return found

    def _climb(self, child: str) -> None:
        code = child
        for _ in range(len(self._parents)):
            if code not in self._parents:
                break
            code = self._parents[code]
        if code != TOTAL:
            raise InputError(
                f"A hierarchy does not end in '{TOTAL}'",
                where=f"above code '{child}'",
                why=f"every code belongs to a parent, up to the one total '{TOTAL}'",
                fix=f"add the missing parents; call the top '{TOTAL}'",
            )

    def __getitem__(self, child: str) -> str:
        return self._parents[child]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parents)

    def __len__(self) -> int:
        return len(self._parents)


@dataclass(frozen=True)
class Structure:
    """What the columns of a long table mean: one row a cell, totals under `Total`.

    Args:
        dimensions: hierarchy of each dimension's column (`Hierarchy` or a plain mapping).
        value: column of the counts or amounts, none below 0.
        known_low: column of what everybody knows each cell to be at least, if any.
        known_high: column of what everybody knows it to be at most (a public roll), if any.

    A combination of codes without a row is empty: everybody knows it to be 0, and a total of which
    no part has a row too. A dimension that has rows of its total alone is not broken down.
    """

    dimensions: Mapping[str, Mapping[str, str]]
    value: str = "n"
    known_low: str | None = None
    known_high: str | None = None

    def hierarchies(self) -> dict[str, Hierarchy]:
        """Dimensions with their codes checked."""
        return {
            name: codes if isinstance(codes, Hierarchy) else Hierarchy(codes)
            for name, codes in self.dimensions.items()
        }


@dataclass(frozen=True)
class Cells:
    """Distinct cells of linked tables and the sums among them.

    `equations @ value` is 0: parts +1, their total -1. `rows`: the cell of each row, table
    by table. `value`: NaN where a hidden cell came without one. `known_low`, `known_high`:
    what is known without the release.
    """

    value: FloatArray
    known_low: FloatArray
    known_high: FloatArray
    equations: csr_array
    rows: tuple[Index, ...]

    def spread(self, columns: Sequence[FloatArray], start: float, choose: Any) -> FloatArray:
        """One number a cell from one a row: `choose` (a ufunc) where tables share a cell."""
        return _spread(self.rows, columns, len(self.value), start, choose)


def as_structures(structures: Structure | Sequence[Structure], tables_n: int) -> list[Structure]:
    """As many structures as there are tables.

    Raises:
        InputError: there are not, there is none, one has no dimension, or names a column as the
            results do.
    """
    is_one = isinstance(structures, Structure) or not isinstance(structures, Iterable)
    many: list[Any] = [structures] if is_one else list(structures)  # type: ignore[arg-type]
    for one in many:
        need_kind(one, Structure, "argument structure", "give Structure(dimensions={…})")
        need_kind(one.dimensions, Mapping, "Structure.dimensions", "map columns to hierarchies")
        need_kind(one.value, str, "Structure.value", "give the name of the column of counts")
        _refuse_reserved(one)
    if not tables_n or any(not one.dimensions for one in many):
        raise InputError(
            "There is no table, or a structure without a dimension",
            where="arguments table and structure",
            fix="give at least one table, and for each at least one dimension with its hierarchy",
        )
    if len(many) != tables_n:
        raise InputError(
            f"{tables_n} tables and {len(many)} structures",
            where="argument structure",
            fix="give one structure a table, in the same order",
        )
    return many


def _refuse_reserved(structure: Structure) -> None:
    taken = sorted({*structure.dimensions, structure.value} & RESERVED)
    if taken:
        raise InputError(
            f"A column is called '{taken[0]}', as a column of results is",
            where="argument structure",
            why=f"these names are taken: {', '.join(sorted(RESERVED))}",
            fix="give the column another name",
        )


def read_cells(
    tables: Sequence[pa.Table],
    structures: Sequence[Structure],
    *,
    is_shown: Sequence[Mask] | None = None,
    adds_up: bool = True,
) -> Cells:
    """Cells and equations of tables that may share cells.

    A cell is the same in two tables if it has the same codes in the same dimensions (a
    dimension at `Total` does not count) and the same `value` column.

    Args:
        tables: long tables.
        structures: one a table.
        is_shown: rows whose value may be used, a table; all if left out.
        adds_up: whether shown values must add up (not so once they are rounded).

    Raises:
        InputError: a column or total is missing, a code is unknown, a cell stands twice, a
            value is no number from 0 on, a total is not the sum of its parts, what is known of a
            cell contradicts it, or two tables disagree about one.
    """
    keys = [_keys(t, s) for t, s in zip(tables, structures, strict=True)]
    _, cell = np.unique(np.concatenate(keys), return_inverse=True)
    ends = np.cumsum([len(key) for key in keys])
    rows = tuple(np.split(cell.astype(np.int64), ends[:-1]))
    cells_n = int(cell.max(initial=-1)) + 1
    shown = is_shown or [np.ones(len(key), dtype=bool) for key in keys]
    equations = [_equations(t, s, r) for t, s, r in zip(tables, structures, rows, strict=True)]
    values = [_values(t, s, m) for t, s, m in zip(tables, structures, shown, strict=True)]
    low = [_bound(t, s.known_low, 0.0) for t, s in zip(tables, structures, strict=True)]
    high = [_bound(t, s.known_high, np.inf) for t, s in zip(tables, structures, strict=True)]
    for table, structure, value, bounds in zip(tables, structures, values, high, strict=True):
        # None of its parts has a row: everybody knows them, and so their total, to be 0.
        bounds[_partless(table, structure, value)] = 0.0
    found = Cells(
        value=_one_value(rows, values, cells_n, tables, structures),
        known_low=_spread(rows, low, cells_n, 0.0, np.maximum),
        known_high=_spread(rows, high, cells_n, np.inf, np.minimum),
        equations=_stack(equations, cells_n),
        rows=rows,
    )
    if adds_up:
        _check_sums(found, tables, structures)
        _check_known(found, tables, structures)
    return found


def _keys(table: pa.Table, structure: Structure) -> NDArray[np.object_]:
    """A text a row that names its cell: the codes that are not `Total`, by dimension."""
    keys = pa.array([structure.value] * len(table), pa.string())
    for name in sorted(structure.dimensions):
        codes = texts(table, name)
        part = pc.binary_join_element_wise(f"\x1e{name}\x1f", codes, "")
        keys = pc.binary_join_element_wise(
            keys, pc.if_else(pc.equal(codes, TOTAL), "", part), "", null_handling="replace"
        )
    return np.asarray(keys.to_numpy(zero_copy_only=False), dtype=object)


def _positions(table: pa.Table, name: str, hierarchy: Hierarchy) -> Index:
    """Position of each row's code in `hierarchy.codes`."""
    codes = texts(table, name)
    found = pc.index_in(codes, value_set=pa.array(hierarchy.codes, pa.string()))
    if found.null_count:
        is_unknown = pc.is_null(found)
        rows = np.flatnonzero(is_unknown.to_numpy(zero_copy_only=False))
        # Never the code itself: where the wrong column is named it can be a value of a record.
        known = ", ".join(hierarchy.codes[:_LISTED])
        raise InputError(
            f"Unknown code in dimension '{name}'",
            where=f"{len(rows)} rows, the first: row {rows[0] + 1}",
            why="the structure does not know where it belongs; it has "
            + (known if len(hierarchy.codes) <= _LISTED else f"{known}, …"),
            fix=f"add it to the hierarchy, or correct it (totals are called '{TOTAL}')",
        )
    return np.asarray(found.to_numpy(), dtype=np.int64)


def _equations(table: pa.Table, structure: Structure, rows: Index) -> tuple[Index, Index, Index]:
    """Row, cell, sign of one table's equations, rows from 0."""
    hierarchies = structure.hierarchies()
    shape = tuple(len(hierarchy.codes) for hierarchy in hierarchies.values())
    positions = [_positions(table, name, codes) for name, codes in hierarchies.items()]
    place = np.ravel_multi_index(positions, shape)
    order, counts = np.unique(place, return_index=True, return_counts=True)[1:]
    if (counts > 1).any():
        raise InputError(
            "A cell stands in the table twice",
            where=_codes(table, structure, int(order[counts > 1].min())),
            why="a long table has one row a combination of codes",
        )
    grid = np.full(int(np.prod(shape)), -1, dtype=np.int64)
    grid[place] = rows
    grid = grid.reshape(shape)
    parts: list[tuple[Index, Index, Index]] = []
    first = 0
    for axis, (name, hierarchy) in enumerate(hierarchies.items()):
        slices = np.moveaxis(grid, axis, 0).reshape(shape[axis], -1)
        at = {code: position for position, code in enumerate(hierarchy.codes)}
        for parent, children in hierarchy.families().items():
            part = _family(slices[at[parent]], slices[[at[child] for child in children]])
            if part is None:
                raise InputError(
                    f"A total is missing: code '{parent}' of dimension '{name}'",
                    where="table",
                    why="parts without their total can be neither protected nor audited",
                    fix=f"add the rows (totals are called '{TOTAL}')",
                )
            row, cell, sign = part
            parts.append((row + first, cell, sign))
            first += slices.shape[1]
    return tuple(np.concatenate(piece) for piece in zip(*parts, strict=True))  # type: ignore[return-value]


def _family(parent: Index, children: Index) -> tuple[Index, Index, Index] | None:
    """Sums of a parent's cells over its children's; None if a parent's cell is missing."""
    has_part = (children >= 0).any(axis=0)
    if (parent[has_part] < 0).any():
        return None
    line = np.flatnonzero(has_part)
    _, part_line = np.nonzero(children >= 0)
    cell = np.concatenate([children[children >= 0], parent[line]])
    sign = np.concatenate([np.ones(len(part_line), np.int64), -np.ones(len(line), np.int64)])
    return np.concatenate([part_line, line]), cell, sign


def _partless(table: pa.Table, structure: Structure, values: FloatArray) -> Mask:
    """Rows of a code that has parts in the hierarchy, none of which has a row.

    Raises:
        InputError: one shows a value above 0.
    """
    hierarchies = structure.hierarchies()
    shape = tuple(len(hierarchy.codes) for hierarchy in hierarchies.values())
    positions = [_positions(table, name, codes) for name, codes in hierarchies.items()]
    has_row = np.zeros(shape, dtype=bool)
    has_row[tuple(positions)] = True
    is_partless = np.zeros(shape, dtype=bool)
    for axis, hierarchy in enumerate(hierarchies.values()):
        rows, found = np.moveaxis(has_row, axis, 0), np.moveaxis(is_partless, axis, 0)
        if not rows[1:].any():
            continue
        at = {code: position for position, code in enumerate(hierarchy.codes)}
        for parent, children in hierarchy.families().items():
            found[at[parent]] |= ~rows[[at[child] for child in children]].any(axis=0)
    partless = np.asarray(is_partless[tuple(positions)])
    is_wrong = partless & (values > 0)
    if is_wrong.any():
        raise InputError(
            "A total has a value, and none of its parts has a row",
            where=f"{is_wrong.sum()} rows, the first: "
            + _codes(table, structure, int(is_wrong.argmax())),
            why="a combination without a row is empty: everybody knows it to be 0",
            fix="add the rows of the parts, or leave the parts out of the hierarchy",
        )
    return partless


def _stack(parts: Sequence[tuple[Index, Index, Index]], cells_n: int) -> csr_array:
    """Equations of all tables, those that hold nothing left out."""
    first, row = 0, []
    for part in parts:
        row.append(part[0] + first)
        first = int(row[-1].max(initial=first - 1)) + 1
    cell, sign = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
    used, line = np.unique(np.concatenate(row), return_inverse=True)
    return csr_array((sign.astype(np.float64), (line, cell)), shape=(len(used), cells_n))


def _values(table: pa.Table, structure: Structure, is_shown: Mask) -> FloatArray:
    """Values of the rows, NaN where they may not be used."""
    values = np.where(is_shown, numbers(table, structure.value), np.nan)
    is_wrong = is_shown & ~((values >= 0) & (values < np.inf))
    if is_wrong.any():
        raise InputError(
            f"Column '{structure.value}' holds nulls or values below 0, or without an end",
            where=f"{is_wrong.sum()} rows, the first: "
            + _codes(table, structure, int(is_wrong.argmax())),
            why="a count or amount of a cell that is not hidden is at least 0",
        )
    return values


def _bound(table: pa.Table, name: str | None, missing: float) -> FloatArray:
    """Known bounds of the rows; `missing` where nothing is known."""
    if name is None:
        return np.full(len(table), missing)
    bounds = numbers(table, name)
    return np.where(np.isnan(bounds), missing, bounds)


def _spread(
    rows: Sequence[Index], columns: Sequence[FloatArray], cells_n: int, start: float, choose: Any
) -> FloatArray:
    found = np.full(cells_n, start)
    choose.at(found, np.concatenate(rows), np.concatenate(columns))
    return found


def _one_value(
    rows: Sequence[Index],
    values: Sequence[FloatArray],
    cells_n: int,
    tables: Sequence[pa.Table],
    structures: Sequence[Structure],
) -> FloatArray:
    """The value of each cell, on which all tables that show it must agree."""
    least = _spread(rows, values, cells_n, np.nan, np.fmin)
    most = _spread(rows, values, cells_n, np.nan, np.fmax)
    is_whole = (most % 1 == 0) & (least % 1 == 0)
    differ = np.flatnonzero(most - least > _noise(most, is_whole))
    if len(differ):
        raise InputError(
            "Linked tables show different values of a cell",
            where=places(rows, differ, tables, structures),
            why="cells with the same codes in the same dimensions are one cell; a difference "
            "between them is a disclosure of its own",
            fix="take all tables from the same data, or give the values different names",
        )
    return most


def _noise(size: FloatArray, is_whole: Mask) -> FloatArray:
    """By how much sums of this size may differ and still be the same."""
    noise = ADDS_UP_WITHIN * np.maximum(1.0, size)
    return np.where(is_whole & (size < COUNTS_MOST), np.minimum(noise, COUNTS_WITHIN), noise)


def _check_sums(cells: Cells, tables: Sequence[pa.Table], structures: Sequence[Structure]) -> None:
    gap = np.abs(np.asarray(cells.equations @ cells.value))
    size = np.asarray(abs(cells.equations) @ np.abs(cells.value))
    is_whole = np.asarray(abs(cells.equations) @ (cells.value % 1 != 0)) == 0
    # A sum with a hidden value is NaN and says nothing.
    wrong = np.flatnonzero(gap > _noise(size, is_whole))
    if len(wrong):
        totals = csr_array(cells.equations[wrong] < 0).indices.astype(np.int64)
        raise InputError(
            f"The table does not add up: {len(wrong)} totals are not the sum of their parts",
            where=places(cells.rows, totals, tables, structures),
            why="protection rests on the sums that a reader can make",
            fix="make totals from the same records; do not round before protecting",
        )


def _check_known(cells: Cells, tables: Sequence[pa.Table], structures: Sequence[Structure]) -> None:
    within = _noise(np.abs(cells.value), cells.value % 1 == 0)
    is_wrong = (cells.value < cells.known_low - within) | (cells.value > cells.known_high + within)
    is_wrong |= cells.known_low > cells.known_high
    if is_wrong.any():
        raise InputError(
            "What is known of a cell contradicts its value, or itself",
            where=places(cells.rows, np.flatnonzero(is_wrong), tables, structures),
            why="everybody knows a cell to be from known_low to known_high, and the truth is there",
            fix="correct the bounds; leave them null where nothing is known",
        )


def places(
    rows: Sequence[Index],
    cells: Index,
    tables: Sequence[pa.Table],
    structures: Sequence[Structure],
) -> str:
    """How many cells, and the first row of the first table that holds one."""
    for table, structure, own in zip(tables, structures, rows, strict=True):
        if (is_one := np.isin(own, cells)).any():
            return f"{len(np.unique(cells))} cells, the first: " + _codes(
                table, structure, int(is_one.argmax())
            )
    return f"{len(np.unique(cells))} cells"


def _codes(table: pa.Table, structure: Structure, row: int) -> str:
    """A row by number, from 1, and its codes; never its value."""
    codes = ", ".join(f"{name} {column(table, name)[row]}" for name in structure.dimensions)
    return f"row {row + 1} ({codes})"
