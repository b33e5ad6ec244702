"""What callers of the engines hand in: any kind of table as Arrow, arguments of their kind.

Belongs here: the kinds of table that every engine takes (interfaces.md), and refusals of what is
none, or of a column that Arrow has no place for. Does not belong here: what columns mean (the
engines), anything that imports a room; this module stands below all rooms.

Arrow's and DuckDB's own messages hold values of records: a message here names the column and its
first wrong row, and theirs stay behind.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError

# What pyarrow raises on Python objects that fit no column: infinite decimals, whole numbers
# beyond 64 bits, complex numbers, sparse columns, texts that are no Unicode.
_NO_COLUMN = (pa.ArrowException, TypeError, ValueError, OverflowError)


def need_kind(value: Any, kind: type, where: str, fix: str) -> None:
    """Refuse an argument of another kind.

    Raises:
        InputError: it is not of the kind.
    """
    if not isinstance(value, kind):
        raise InputError(
            f"An argument is no {kind.__name__}",
            where=where,
            why=f"it is of type {type(value).__name__}",
            fix=fix,
        )


def as_arrow(table: Any, where: str) -> pa.Table:
    """A table (pyarrow, pandas, DuckDB relation) as pyarrow.

    Args:
        table: what was handed in.
        where: the argument's name, for messages.

    Raises:
        InputError: it is no table, its query fails, or a column holds what Arrow has no place for.
    """
    if isinstance(table, pa.Table):
        return _with_plain_texts(table)
    if _is_frame(table):
        return _with_plain_texts(_from_pandas(table, where))
    if isinstance(table, duckdb.DuckDBPyRelation):
        return _from_relation(table, where)
    raise _no_table(table, where)


def column_names(table: Any, where: str) -> list[str]:
    """Names of a table's columns, before anything is read.

    Raises:
        InputError: it is no table.
    """
    if isinstance(table, pa.Table):
        return list(table.column_names)
    if _is_frame(table) or isinstance(table, duckdb.DuckDBPyRelation):
        return list(table.columns)
    raise _no_table(table, where)


def _is_frame(table: Any) -> bool:
    # Whoever hands over a data frame has imported pandas; nobody else pays for it.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(table, pandas.DataFrame)


def _no_table(table: Any, where: str) -> InputError:
    return InputError(
        "What was given is no table",
        where=where,
        why="a pyarrow.Table, a pandas.DataFrame or a DuckDB relation is taken, "
        f"not {type(table).__name__}",
    )


def _from_relation(relation: duckdb.DuckDBPyRelation, where: str) -> pa.Table:
    try:
        return relation.to_arrow_table()
    except duckdb.Error as error:
        failure = type(error).__name__
    # Raised outside the handler: the message of the query, which can hold values, stays behind.
    raise InputError(
        f"The query of a relation fails ({failure})",
        where=where,
        why="its message is withheld, since it can hold values of records",
        fix="run the query by itself and correct it",
    )


def _with_plain_texts(table: pa.Table) -> pa.Table:
    """Views of texts cannot be filtered by pyarrow."""
    for at, field in enumerate(table.schema):
        if field.type == pa.string_view():
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table


def _from_pandas(frame: Any, where: str) -> pa.Table:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(
            f"The table has more than one column '{twice}'",
            where=where,
            fix="give each column a name of its own",
        )
    failure: InputError | None = None
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except _NO_COLUMN:
        failure = next(
            (_wrong_column(name, frame[name], where) for name in frame if not _fits(frame[name])),
            None,
        )
        if failure is None:
            raise
    raise failure


def _fits(values: Any) -> bool:
    try:
        pa.Array.from_pandas(values)
    except _NO_COLUMN:
        return False
    return True


def _wrong_column(name: str, values: Any, where: str) -> InputError:
    """Which row of a pandas column Arrow has no place for, and why."""
    if values.dtype != object:
        return InputError(
            f"Column '{name}' is of a kind that is not taken",
            where=f"{where}: the column is of type {values.dtype}",
            fix="turn it into whole numbers, doubles, decimals or texts",
        )
    # Not by `dropna`: pandas itself fails on a signalling NaN.
    kinds = np.array([type(value).__name__ for value in values])
    is_wrong = np.array([not _has_place(value) for value in values])
    if is_wrong.any():
        return InputError(
            f"Column '{name}' holds a value that is no finite number, or far too long",
            where=f"{where}, row {is_wrong.argmax() + 1}",
            why="whole numbers have up to 64 bits, decimals up to 76 digits",
            fix="correct the value; of amounts so large, give thousands",
        )
    known = np.flatnonzero(kinds != "NoneType")
    is_other = kinds[known] != kinds[known[0]]
    if is_other.any():
        row, first = known[is_other.argmax()], known[0]
        return InputError(
            f"A column holds values of several kinds: {name}",
            where=f"{where}, row {row + 1} is {kinds[row]}, row {first + 1} {kinds[first]}",
            why="all values of a column are texts, or all are numbers, or all dates",
            fix="turn the column into one kind, e.g. frame[column].astype(str)",
        )
    return InputError(
        f"The decimals of column '{name}' have no place in one column",
        where=where,
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
