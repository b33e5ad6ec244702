"""What callers hand in: any kind of table as Arrow, its codes as texts, its numbers as doubles.

Belongs here: the kinds of table that are taken, and clear refusals of columns that hold what
they should not. Does not belong here: what the columns mean (`structure.py`, `tabular.py`).

A message names the column and its first wrong row, never the value there.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.errors import InputError

# What pyarrow raises on Python objects that fit no column: infinite decimals, whole numbers
# beyond 64 bits, complex numbers, sparse columns, texts that are no Unicode.
_NO_COLUMN = (pa.ArrowException, TypeError, ValueError, OverflowError)


def as_tables(tables: Any) -> list[pa.Table]:
    """A table or a list of tables (pyarrow, pandas, DuckDB relation) as pyarrow.

    Raises:
        InputError: one is no table, or a column holds what Arrow has no place for.
    """
    many = tables if isinstance(tables, (list, tuple)) else [tables]
    return [_as_arrow(table) for table in many]


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


def _as_arrow(table: Any) -> pa.Table:
    if isinstance(table, pa.Table):
        return _with_plain_texts(table)
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return _with_plain_texts(_from_pandas(table))
    if isinstance(table, duckdb.DuckDBPyRelation):
        return table.to_arrow_table()
    raise InputError(
        "What was given is no table",
        where="argument table",
        why="a pyarrow.Table, a pandas.DataFrame or a DuckDB relation is taken, "
        f"not {type(table).__name__}",
    )


def _with_plain_texts(table: pa.Table) -> pa.Table:
    """Views of texts cannot be filtered by pyarrow."""
    for at, field in enumerate(table.schema):
        if field.type == pa.string_view():
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table


def _from_pandas(frame: Any) -> pa.Table:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(
            f"The table has more than one column '{twice}'",
            where="table",
            fix="give each column a name of its own",
        )
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except _NO_COLUMN:
        for name in frame:
            if not _fits(frame[name]):
                raise _wrong_column(name, frame[name]) from None
        raise


def _fits(values: Any) -> bool:
    try:
        pa.Array.from_pandas(values)
    except _NO_COLUMN:
        return False
    return True


def _wrong_column(name: str, values: Any) -> InputError:
    """Which row of a pandas column Arrow has no place for, and why."""
    if values.dtype != object:
        return InputError(
            f"Column '{name}' is of a kind that is not taken",
            where=f"table: the column is of type {values.dtype}",
            fix="turn it into whole numbers, doubles, decimals or texts",
        )
    # Not by `dropna`: pandas itself fails on a signalling NaN.
    kinds = np.array([type(value).__name__ for value in values])
    is_wrong = np.array([not _has_place(value) for value in values])
    if is_wrong.any():
        return InputError(
            f"Column '{name}' holds a value that is no finite number, or far too long",
            where=f"row {is_wrong.argmax() + 1}",
            why="whole numbers have up to 64 bits, decimals up to 76 digits",
            fix="correct the value; of amounts so large, give thousands",
        )
    known = np.flatnonzero(kinds != "NoneType")
    is_other = kinds[known] != kinds[known[0]]
    if is_other.any():
        row, first = known[is_other.argmax()], known[0]
        return InputError(
            f"A column holds values of several kinds: {name}",
            where=f"row {row + 1} is {kinds[row]}, row {first + 1} {kinds[first]}",
            why="codes are texts, values are numbers",
            fix="turn the column into one kind, e.g. frame[column].astype(str)",
        )
    return InputError(
        f"The decimals of column '{name}' have no place in one column",
        where="table",
        why="together they need more than 76 digits before and after the point",
        fix="turn the column into doubles: frame[column].astype(float)",
    )


def _has_place(value: object) -> bool:
    """Whether Arrow has a place for a value by itself."""
    if isinstance(value, Decimal) and value.is_infinite():
        return False
    try:
        pa.array([value])
    except _NO_COLUMN:
        return False
    return True
