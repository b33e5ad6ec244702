"""Direct standardisation: means of groups as if each had the same mix, age and sex say.

Belongs here: weights that give every group one standard mix, as R `svystandardize`, and
the estimates with them. Does not belong here: variances and intervals (`engine`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.compilation import power_of_two
from rcs_assets.estimation.design import Design, as_names
from rcs_assets.estimation.engine import estimate
from rcs_assets.estimation.relation import (
    Relation,
    literal,
    open_relation,
    profile,
    quote,
    unused,
    unused_table,
)
from rcs_assets.estimation.request import Request, check_request, columns_of
from rcs_assets.estimation.small_tables import is_number, number_column
from rcs_assets.estimation.weights import Margin, margin_table

_STANDARD: Final = "rcs_standard"
_VIEW: Final = "rcs_standardised"
_WEIGHT: Final = "rcs_standard_weight"


def standardised(
    con: duckdb.DuckDBPyConnection,
    table: str,
    design: Design,
    variables: str | Iterable[str],
    by: str | Iterable[str],
    over: str | Iterable[str],
    population: Any,
    ci: str = "t",
    level: float = 0.95,
) -> pa.Table:
    """Means of groups with the mix of a standard population.

    Args:
        con: any DuckDB connection that can read the table; a temporary view is made and
            dropped again.
        table: name of a table or view, one row a respondent.
        design: how the rows were drawn.
        variables: numeric or 0/1 columns; rows with a null leave the mix.
        by: the groups. A row in a cell that the standard does not name, or counts 0, weighs
            nothing: it stays in the design alone.
        over: the columns whose mix is made equal, such as age and sex.
        population: counts of the standard by `over`, as a target of `Margin`.
        ci: as `estimate`.
        level: confidence level.

    Returns:
        As `estimate`; `reason` is "empty_cell" and all figures are null where a group has
        nobody in a cell that the standard counts: no mix can make up for it.

    Raises:
        InputError: as `estimate`; a population without the columns `over`, with a count that
            is negative or not finite, or with none above 0.
    """
    groups, mix = as_names(by), as_names(over)
    if not groups or not mix:
        raise InputError(
            "Nothing to compare, or nothing to make equal",
            where="arguments by and over",
            why="groups are compared as if each had one mix",
            fix="name at least one column each",
        )
    request = check_request(con, table, design, variables, "mean", groups, ci, level)
    relation = open_relation(con, table)
    relation.need(mix, "standardised")
    relation.need_single_values(groups, "argument by")
    names = columns_of(request.variables)
    heaviest = profile(con, relation, design, names).weight.high
    standard = unused_table(con, _STANDARD)
    con.register(standard, _standard_shares(con, Margin(mix, population)))
    try:
        parts = [
            _one_variable(
                con, relation, replace(request, variables=(name,)), design, mix, standard, heaviest
            )
            for name in names
        ]
    except (duckdb.ConversionException, duckdb.BinderException):
        raise _other_kind(mix) from None
    finally:
        con.unregister(standard)
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in groups])


def _other_kind(over: Sequence[str]) -> InputError:
    return InputError(
        "The standard population does not fit the table",
        where=f"argument population, by {', '.join(over)}",
        why="its values must be of the same kind as the columns of the table, its counts numbers",
        fix="cast them: texts where the table holds texts, numbers where it holds numbers",
    )


def _standard_shares(con: duckdb.DuckDBPyConnection, margin: Margin) -> pa.Table:
    """The standard's cells, `rcs_over0` … in the order of its columns, and `rcs_share`.

    Raises:
        InputError: counts that are no numbers, negative, not finite, or 0 throughout.
    """
    table, count = margin_table(con, margin)
    if not is_number(table.schema.field(count).type):
        raise _other_kind(margin.names)
    n = number_column(table, count, "argument population")
    if not np.isfinite(n).all() or (n < 0).any() or not (n > 0).any():
        raise InputError(
            "A standard population holds null, infinite or negative counts, or none above 0",
            where="argument population",
            why="the mix of a standard is made of counts of 0 or more",
            fix="correct the counts",
        )
    # Shares of the greatest count first: no sum of them is infinite.
    parts = table.select(margin.names).rename_columns(_keys("over", margin.names))
    parts = parts.append_column("rcs_n", pa.array(n / n.max()))
    keys = ", ".join(parts.column_names[:-1])
    name = unused_table(con, _STANDARD)
    con.register(name, parts)
    try:
        # In their order: no order of rows shows.
        return con.execute(
            f"select {keys}, fsum(rcs_n order by rcs_n) "
            f"/ (select fsum(rcs_n order by rcs_n) from {name}) as rcs_share "
            f"from {name} group by {keys}"
        ).to_arrow_table()
    finally:
        con.unregister(name)


def _keys(role: str, columns: Sequence[str]) -> list[str]:
    """Names of our own for columns, which may be called as ours are."""
    return [f"rcs_{role}{number}" for number in range(len(columns))]


def _matches(columns: Sequence[str], table: str, role: str) -> str:
    pairs = zip(columns, _keys(role, columns), strict=True)
    return " and ".join(f"rows.{quote(name)} = {table}.{key}" for name, key in pairs)


def _one_variable(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    request: Request,
    design: Design,
    over: tuple[str, ...],
    standard: str,
    heaviest: float,
) -> pa.Table:
    variable, by = columns_of(request.variables)[0], request.by
    # An exact power of two: what all weights have in common changes nothing.
    scale = literal(power_of_two(heaviest))
    weight = f"(rows.{quote(design.weight)}::double * {scale})" if design.weight else "1::double"
    needed = " and ".join(f"rows.{quote(name)} is not null" for name in (variable, *by, *over))
    by_keys = ", ".join(_keys("by", by))
    keys = [f"rows.{quote(name)} as {key}" for name, key in zip(by, _keys("by", by), strict=True)]
    keys += [
        f"rows.{quote(name)} as {key}" for name, key in zip(over, _keys("over", over), strict=True)
    ]
    cells = f"""
        select {", ".join(keys)}, fsum({weight} order by {weight}) as rcs_cell_weight
        from {relation.sql} as rows
        where {needed} and {weight} > 0
        group by all
    """
    view, made = unused_table(con, _VIEW), unused(_WEIGHT, relation.types)
    con.execute(f"""
        create temp view {view} as
        with cells as ({cells}),
        groups as (
            select {by_keys}, fsum(rcs_cell_weight order by rcs_cell_weight) as rcs_group_weight
            from cells
            group by all
        )
        select
            rows.*,
            coalesce(
                {weight} * shares.rcs_share * groups.rcs_group_weight / cells.rcs_cell_weight,
                0
            ) as {made}
        from {relation.sql} as rows
        left join cells
            on {_matches(by, "cells", "by")} and {_matches(over, "cells", "over")}
        left join groups on {_matches(by, "groups", "by")}
        left join {standard} as shares on {_matches(over, "shares", "over")}
    """)
    used = replace(design, weight=made, calibrated=())
    try:
        found = estimate(
            con, view, used, variable, "mean", by=by, ci=request.ci, level=request.level
        )
        empty = _incomplete(con, cells, by, over, standard)
    finally:
        con.execute(f"drop view {view}")
    return _without_incomplete(found, by, empty)


def _incomplete(
    con: duckdb.DuckDBPyConnection,
    cells: str,
    by: tuple[str, ...],
    over: tuple[str, ...],
    standard: str,
) -> set[tuple[Any, ...]]:
    """Groups that lack a cell of the standard."""
    groups, mix = ", ".join(_keys("by", by)), ", ".join(_keys("over", over))
    rows = con.execute(f"""
        with cells as ({cells}),
        wanted as (
            select {groups}, {mix}
            from (select distinct {groups} from cells)
            cross join (select {mix} from {standard} where rcs_share > 0)
        )
        select distinct {groups} from wanted anti join cells using ({groups}, {mix})
    """).fetchall()
    return set(rows)


def _without_incomplete(
    found: pa.Table, by: tuple[str, ...], empty: set[tuple[Any, ...]]
) -> pa.Table:
    """Null figures and the reason "empty_cell" where a group lacks a cell."""
    keys = zip(*(found.column(name).to_pylist() for name in by), strict=True)
    is_empty = [key in empty for key in keys]
    for name in ("estimate", "se", "ci_low", "ci_high", "deff"):
        values = [
            None if lost else value
            for lost, value in zip(is_empty, found.column(name).to_pylist(), strict=True)
        ]
        found = found.set_column(
            found.column_names.index(name), name, pa.array(values, pa.float64())
        )
    reasons = [
        "empty_cell" if lost else reason
        for lost, reason in zip(is_empty, found.column("reason").to_pylist(), strict=True)
    ]
    return found.set_column(
        found.column_names.index("reason"), "reason", pa.array(reasons, pa.string())
    )
