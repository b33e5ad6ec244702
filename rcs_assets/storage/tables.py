"""Whole tables of the warehouse.

Belongs here: replacing a schema's tables by Arrow tables in one transaction, counting the rows
of engagements. Does not belong here: which tables a room has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa


def replace_tables(
    con: duckdb.DuckDBPyConnection, schema: str, tables: Mapping[str, pa.Table]
) -> dict[str, int]:
    """Replace `schema.<name>` by each table, all or none.

    Returns:
        Table name → number of rows written.
    """
    con.execute(f"create schema if not exists {schema}")
    con.execute("begin")
    for name, table in tables.items():
        con.register("incoming_table", table)
        con.execute(f"create or replace table {schema}.{name} as select * from incoming_table")
        con.unregister("incoming_table")
    con.execute("commit")
    return {name: table.num_rows for name, table in tables.items()}


def rows_by_engagement(
    con: duckdb.DuckDBPyConnection, table: str, engagements: Sequence[str]
) -> dict[str, int]:
    """Engagement → its rows in a table that has a column of that name; 0 where there are none."""
    counted = con.execute(f"select engagement, count(*) from {table} group by engagement")
    found = {str(key): int(n) for key, n in counted.fetchall()}
    return {key: found.get(key, 0) for key in engagements}
