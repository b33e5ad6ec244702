"""The names that the codebook gives to columns: variables, scores, instruments, indicators.

Belongs here: what such a name may be. Does not belong here: which names a table of answers has
taken already (`questions.py`), names that suppliers use (`supplier_names.csv`).

A name becomes a column and stands bare in the SQL of the models: what SQL cannot read has to be
refused where it was written, with its row, not by the database in words about its syntax.
"""

from __future__ import annotations

import re
from functools import cache

from rcs_assets.programme.datafile import Row

MAX_SIGNS_N = 64
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def checked_name(row: Row) -> str:
    """The cell `name` of a row.

    Raises:
        ConfigurationError: it is empty, or a column cannot have this name.
    """
    name = row.required("name")
    if not _NAME.fullmatch(name):
        raise row.problem(
            "name",
            "a name is small letters a to z, digits and _, and begins with a letter",
            "rename it",
        )
    if len(name) > MAX_SIGNS_N:
        raise row.problem(
            "name", f"a name has at most {MAX_SIGNS_N} signs, this one {len(name)}", "shorten it"
        )
    if name in _words_of_sql():
        raise row.problem(
            "name",
            f"`{name}` is a word of SQL, no column can have it as its name",
            f"add a word, such as `{name}_asked`",
        )
    return name


@cache
def _words_of_sql() -> frozenset[str]:
    """The words that DuckDB does not read as a column, by its own list."""
    import duckdb

    with duckdb.connect() as con:
        found = con.execute(
            "select keyword_name from duckdb_keywords() "
            "where keyword_category in ('reserved', 'type_function')"
        ).fetchall()
    return frozenset(name for (name,) in found)
