"""Columns of what callers hand in: codes as texts, numbers as doubles.

Belongs here: clear refusals of columns that hold what they should not. Does not belong here: the
kinds of table that are taken (`rcs_assets/given.py`), what the columns mean (`structure.py`,
`tabular.py`).

A message names the column and its first wrong row, never the value there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.errors import InputError
from rcs_assets.given import as_arrow


def as_tables(tables: Any) -> list[pa.Table]:
    """A table or a list of tables (pyarrow, pandas, DuckDB relation) as pyarrow.

    Raises:
        InputError: one is no table, or a column holds what Arrow has no place for.
    """
    many = tables if isinstance(tables, (list, tuple)) else [tables]
    return [as_arrow(table, "argument table") for table in many]


def column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column by name.

    Raises:
        InputError: there is none, or more than one.
    """
    if table.column_names.count(name) != 1:
        raise InputError(
            f"No column '{name}' in the table, or more than one",
            where="table",
            fix=f"the table has: {', '.join(table.column_names)}",
        )
    return table.column(name)


def texts(table: pa.Table, name: str) -> pa.Array:
    """The codes of a dimension as texts.

    Raises:
        InputError: no such column, or its values are no texts.
    """
    given = column(table, name)
    try:
        return given.cast(pa.string()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"Column '{name}' holds what is no text",
            where=_first_wrong(given, pa.string()),
            why="the codes of a dimension are texts",
            fix="turn the column into texts",
        ) from None


def numbers(table: pa.Table, name: str) -> FloatArray:
    """A numeric column as doubles, NaN for null.

    Raises:
        InputError: no such column, not a number, or a number that a double cannot hold.
    """
    given = column(table, name)
    kind = given.type.value_type if pa.types.is_dictionary(given.type) else given.type
    try:
        if pa.types.is_boolean(kind):
            raise pa.ArrowInvalid("true and false are no counts")
        values = given.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"Column '{name}' is not numeric, or holds whole numbers beyond 2^53",
            where=_first_wrong(given, pa.float64()),
            fix="give numbers; of amounts so large, give thousands",
        ) from None
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _first_wrong(values: pa.ChunkedArray, kind: pa.DataType) -> str:
    """The first row that cannot be taken as this kind; the column's own kind if none can."""
    if _fails(values.slice(0, 0), kind) or not _fails(values, kind):
        return f"table: the column is of type {values.type}"
    # Rows before `good` can be taken; among those before `bad` is one that cannot.
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if _fails(values.slice(0, middle), kind) else (middle, bad)
    return f"row {bad}"


def _fails(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return True
    return False
