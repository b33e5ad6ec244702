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
from rcs_assets.linkage.settings import LinkRules, LinkSettings

_COLUMNS = {"left_id": pa.string(), "right_id": pa.string(), "is_same": pa.bool_()}
# Rule → when a row of `decided_rows` breaks it; blanks first, which no other rule can judge.
_RULES = {
    "left_id, right_id and is_same are filled in every row":
        "left_id is null or right_id is null or is_same is null",
    "both records stand in the tables that are linked":
        "left_id not in (select unique_id from lhs) or right_id not in (select unique_id from rhs)",
    "a pair is one child or two, not both":
        "bool_or(is_same) over pair and not bool_and(is_same) over pair",
}  # fmt: skip
_ONE_TO_ONE = {
    "between two tables one record joins one other":
        "is_same and (min(right_id) over of_left <> max(right_id) over of_left "
        "or min(left_id) over of_right <> max(left_id) over of_right)"
}  # fmt: skip
_WITHIN_ONE = {"a pair is of two records": "left_id = right_id"}
# Within one table a pair has no order, and stands in the result with the smaller id first.
_ORDERED = """
    if(left_id > right_id, right_id, left_id) as left_id,
    if(left_id > right_id, left_id, right_id) as right_id
"""


def apply_decisions(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings
) -> None:
    """Link the pairs that are one child, and make `decided_apart` of those that are not.

    Args:
        con: the engine's connection after the exact passes, with `exact_links`.
        rules: the number of the pass.
        settings: mode, and what was decided.

    A pair decided as one child is linked if no exact pass linked either of its records. A pair
    decided as two children is linked by nothing.

    Raises:
        InputError: no such table, a blank cell, a record that is not there, a pair decided both
            ways or of one record with itself; between two tables a record that is to join two.
    """
    is_dedupe = settings.mode == "dedupe"
    con.register("given_rows", _table(settings.decided))
    con.execute(f"""
        create or replace temp table decided_rows as
        select {_ORDERED if is_dedupe else "left_id, right_id"}, is_same
        from given_rows
    """)
    con.unregister("given_rows")
    for rule, condition in (_RULES | (_WITHIN_ONE if is_dedupe else _ONE_TO_ONE)).items():
        _refuse(con, rule, condition)
    con.execute("create or replace temp table decided as select distinct * from decided_rows")
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
        from decided
        anti join exact_links as taken_left on decided.left_id = taken_left.left_id
        anti join exact_links as taken_right on decided.right_id = taken_right.right_id
        where is_same
    """)


def _refuse(con: duckdb.DuckDBPyConnection, rule: str, condition: str) -> None:
    broken_n = con.execute(f"""
        select count_if(is_broken)
        from (
            select {condition} as is_broken
            from decided_rows
            window
                pair as (partition by left_id, right_id),
                of_left as (partition by left_id, is_same),
                of_right as (partition by right_id, is_same)
        )
    """).fetchall()[0][0]
    if broken_n:
        raise InputError(
            "Decisions of people cannot be followed",
            where=f"LinkSettings.decided, {broken_n} of its rows",
            why=rule,
            fix="correct these rows, or leave them out",
        )


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
