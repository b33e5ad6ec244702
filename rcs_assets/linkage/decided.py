"""Pairs that people decided, in the engine: they come after the exact passes, before the model.

Belongs here: what a decision does to the pairs of one call of `link`. Does not belong here: who
decided, and whether the decision still holds (`clerical.py`).
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.given import as_arrow
from rcs_assets.linkage.settings import LinkRules

_COLUMNS = {"left_id": pa.string(), "right_id": pa.string(), "is_same": pa.bool_()}


def apply_decisions(con: duckdb.DuckDBPyConnection, rules: LinkRules, decided: Any) -> None:
    """Link the pairs that are one child, and make `decided_apart` of those that are not.

    Args:
        con: the engine's connection after the exact passes, with `exact_links`.
        rules: the number of the pass.
        decided: pyarrow.Table of left_id, right_id, is_same; None: nothing was decided.

    A pair decided as one child is linked if no exact pass linked either of its records, and no
    other decision names one of them: one record joins one pupil. A pair decided as two children is
    linked by nothing.
    """
    con.register("decided_rows", _table(decided))
    con.execute("create or replace temp table decided as from decided_rows")
    con.unregister("decided_rows")
    con.execute("""
        create or replace temp table decided_apart as
        select left_id, right_id from decided where not is_same
    """)
    con.execute("""
        delete from exact_links
        using decided_apart as apart
        where exact_links.left_id = apart.left_id and exact_links.right_id = apart.right_id
    """)
    con.execute(f"""
        insert into exact_links
        select left_id, right_id, {rules.clerical.pass_no}
        from (
            select
                left_id,
                right_id,
                count(*) over (partition by left_id) as left_n,
                count(*) over (partition by right_id) as right_n
            from decided
            where is_same
        ) as counted
        semi join lhs on counted.left_id = lhs.unique_id
        semi join rhs on counted.right_id = rhs.unique_id
        anti join exact_links as taken_left on counted.left_id = taken_left.left_id
        anti join exact_links as taken_right on counted.right_id = taken_right.right_id
        where left_n = 1 and right_n = 1
    """)


def _table(decided: Any) -> pa.Table:
    if decided is None:
        return pa.schema(_COLUMNS).empty_table()
    given = as_arrow(decided, "LinkSettings.decided")
    try:
        return given.select(list(_COLUMNS)).cast(pa.schema(_COLUMNS))
    except (KeyError, pa.ArrowException):
        pass
    raise InputError(
        "The decisions of people cannot be read",
        where="LinkSettings.decided",
        why="left_id and right_id are texts, is_same is true or false, each in one column",
        fix="hand over a table with these three columns",
    )
