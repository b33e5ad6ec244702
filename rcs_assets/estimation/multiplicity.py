"""Many tests at once: Holm (1979) and Benjamini and Hochberg (1995).

Belongs here: corrected p values inside families of tests. Does not belong here: what makes
a family, and how small is small (room wellbeing, policy.md Table B).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.design import as_names
from rcs_assets.estimation.relation import quote
from rcs_assets.estimation.small_tables import need_columns, number_column, small_table

METHODS: Final = ("holm", "bh")


def corrected_query(
    relation: str, method: str, family: Sequence[str], tie: Sequence[str], p_value: str = "p_value"
) -> str:
    """All columns of a relation and `corrected_p`, as a DuckDB query.

    Holm: the greatest of p x tests left up to this rank. Benjamini-Hochberg: the least of
    p x tests / rank from this rank on. Nulls are no tests and stay null.

    Args:
        relation: name of a table or CTE.
        method: SQL expression that gives 'holm' or 'bh'.
        family: columns whose combinations are families; none = all rows are one.
        tie: columns that settle the order of equal p values.
        p_value: its column.
    """
    partition = f"partition by {', '.join(map(quote, family))}" if family else ""
    p, order = quote(p_value), ", ".join([f"{quote(p_value)} nulls last", *map(quote, tie)])
    return f"""
        select
            * exclude (rcs_tests_n, rcs_place),
            case when {p} is not null then least(1, if(
                {method} = 'holm',
                max({p} * (rcs_tests_n - rcs_place + 1)) over (
                    {partition} order by rcs_place rows unbounded preceding
                ),
                min({p} * rcs_tests_n / rcs_place) over (
                    {partition} order by rcs_place desc rows unbounded preceding
                )
            )) end as corrected_p
        from (
            select
                *,
                count({p}) over ({partition}) as rcs_tests_n,
                row_number() over ({partition} order by {order}) as rcs_place
            from {relation}
        )
    """


def adjust(
    table: Any, method: str, *, p_value: str = "p_value", by: str | Iterable[str] | None = None
) -> pa.Table:
    """The table with `corrected_p`, in its own order.

    Args:
        table: pyarrow.Table, pandas.DataFrame or DuckDB relation.
        method: "holm" or "bh".
        p_value: column of p values; null where nothing was tested.
        by: columns whose combinations are families.

    Raises:
        InputError: no table, or one with a column `corrected_p`; an unknown method or column;
            p values that are no numbers from 0 to 1.
    """
    if method not in METHODS:
        raise InputError(
            f"method '{method}' is not available",
            where="argument method",
            fix=f"choose one of {', '.join(METHODS)}",
        )
    where, family = "adjust, argument table", as_names(by)
    tests = small_table(table, where, ("corrected_p",))
    need_columns(tests, (p_value, *family), where)
    p = number_column(tests, p_value, where)
    unknown_n = tests.column(p_value).null_count
    if np.isnan(p).sum() > unknown_n or ((p < 0) | (p > 1)).any():
        raise InputError("A p value lies outside 0 to 1", where=f"adjust, column {p_value}")
    # By names of our own: those of the table may differ in capitals alone.
    keys = [f"rcs_family{number}" for number in range(len(family))]
    numbered = tests.select(family).rename_columns(keys)
    numbered = numbered.append_column("rcs_p", pa.array(p, from_pandas=True))
    numbered = numbered.append_column("rcs_row", pa.array(range(len(p)), pa.int64()))
    with duckdb.connect() as con:
        con.register("tests", numbered)
        query = corrected_query("tests", f"'{method}'", keys, ["rcs_row"], "rcs_p")
        found = con.execute(f"select corrected_p from ({query}) order by rcs_row").to_arrow_table()
    return tests.append_column("corrected_p", found.column("corrected_p"))
