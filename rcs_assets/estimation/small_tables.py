"""Small tables that a caller hands in: a row an area, a test or an estimate.

Belongs here: such a table as Arrow, with one column a name, and its columns of numbers. Does
not belong here: tables of respondents (`relation`), kinds of table (`rcs_assets.given`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import Floats
from rcs_assets.given import as_arrow


def small_table(table: Any, where: str, made: Iterable[str] = ()) -> pa.Table:
    """A table that a result is made of.

    Args:
        table: pyarrow.Table, pandas.DataFrame or DuckDB relation.
        where: the function and its argument, for messages.
        made: columns that the result adds.

    Raises:
        InputError: it is no table, two columns share a name, or one has a name of `made`.
    """
    found = as_arrow(table, where)
    names = found.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"The table has more than one column '{twice[0]}'",
            where=where,
            fix="give each column a name of its own",
        )
    clash = [name for name in made if name in names]
    if clash:
        raise InputError(
            f"The table has columns that the result adds: {', '.join(clash)}",
            where=where,
            why="the result would have each of them twice",
            fix="rename them, or leave them out",
        )
    return found


def need_columns(table: pa.Table, columns: Iterable[Any], where: str) -> None:
    """Refuse a column that is not there.

    Raises:
        InputError: which it is.
    """
    missing = [str(name) for name in columns if name not in table.column_names]
    if missing:
        raise InputError(
            f"Unknown column: {', '.join(missing)}",
            where=where,
            fix=f"the table has: {', '.join(table.column_names)}",
        )


def number_column(table: pa.Table, name: str, where: str) -> Floats:
    """A column as doubles, NaN where it is null.

    Raises:
        InputError: there is no such column, or it holds no numbers.
    """
    if name not in table.column_names or not is_number(table.schema.field(name).type):
        raise InputError(
            f"Unknown column: {name}, or one that holds no numbers",
            where=where,
            fix=f"the table has: {', '.join(table.column_names)}",
        )
    # Not safely: a whole number beyond 2**53 is rounded, not quoted in a refusal.
    column = table.column(name).cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(), dtype=np.float64)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of the type holds numbers, or nothing."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests)
