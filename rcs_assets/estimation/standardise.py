"""Direct standardisation: means of groups as if each had the same mix, age and sex say.

Belongs here: weights that give every group one standard mix, as R `svystandardize`, and
the estimates with them. Does not belong here: variances and intervals (`engine`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from rcs_assets.errors import InputError
from rcs_assets.estimation.design import Design, as_names
from rcs_assets.estimation.engine import estimate
from rcs_assets.estimation.relation import open_relation, quote
from rcs_assets.estimation.weights import Margin, margin_table
from rcs_assets.given import need_kind

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
        by: the groups.
        over: the columns whose mix is made equal, such as age and sex.
        population: counts of the standard by `over`, as a target of `Margin`.
        ci: as `estimate`.
        level: confidence level.

    Returns:
        As `estimate`; `reason` is "empty_cell" and all figures are null where a group has
        nobody in a cell that the standard counts: no mix can make up for it.

    Raises:
        InputError: as `estimate`; a population without the columns `over`, or with a
            negative count.
    """
    names = (variables,) if isinstance(variables, str) else tuple(variables)
    groups, mix = as_names(by), as_names(over)
    need_kind(design, Design, "argument design", "give Design(…); Design() is a simple sample")
    if not groups or not mix:
        raise InputError(
            "Nothing to compare, or nothing to make equal",
            where="arguments by and over",
            why="groups are compared as if each had one mix",
            fix="name at least one column each",
        )
    relation = open_relation(con, table)
    relation.need([*names, *groups, *mix, *design.columns], "standardised")
    standard, count = margin_table(con, Margin(mix, population))
    con.register(_STANDARD, standard)
    try:
        _check_standard(con, count)
        parts = [
            _one_variable(con, relation.sql, design, name, groups, mix, count, ci, level)
            for name in names
        ]
    except (duckdb.ConversionException, duckdb.BinderException):
        raise _other_kind(mix) from None
    finally:
        con.unregister(_STANDARD)
    return pa.concat_tables(parts).sort_by([(name, "ascending") for name in groups])


def _other_kind(over: Sequence[str]) -> InputError:
    return InputError(
        "The standard population does not fit the table",
        where=f"argument population, by {', '.join(over)}",
        why="its values must be of the same kind as the columns of the table, its counts numbers",
        fix="cast them: texts where the table holds texts, numbers where it holds numbers",
    )


def _check_standard(con: duckdb.DuckDBPyConnection, count: str) -> None:
    name = quote(count)
    wrong = con.execute(
        f"select count(*) from {_STANDARD} where {name} is null or {name} < 0"
    ).fetchall()[0][0]
    if wrong:
        raise InputError(
            "A standard population holds null or negative counts",
            where="argument population",
            why="the mix of a standard is made of counts of 0 or more",
            fix="correct the counts",
        )


def _one_variable(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    design: Design,
    variable: str,
    by: tuple[str, ...],
    over: tuple[str, ...],
    count: str,
    ci: str,
    level: float,
) -> pa.Table:
    weight = f"{quote(design.weight)}::double" if design.weight else "1.0::double"
    row_weight = f"rows.{weight}" if design.weight else weight
    groups, mix = ", ".join(map(quote, by)), ", ".join(map(quote, over))
    every = ", ".join(map(quote, (*by, *over)))
    has_group = " and ".join(f"{quote(name)} is not null" for name in (*by, *over))
    held = f"{quote(variable)} is not null and {has_group} and {weight} > 0"
    standard = ", ".join(f"{_STANDARD}.{quote(name)}" for name in over)
    con.execute(f"""
        create or replace temp view {_VIEW} as
        with shares as (
            select {standard}, sum({quote(count)})::double as n,
                sum(sum({quote(count)})) over ()::double as whole_n
            from {_STANDARD}
            group by all
        ),
        cells as (
            select {every}, sum({weight}::decimal(38, 12))::double as cell_weight
            from {relation}
            where {held}
            group by all
        ),
        groups as (
            select {groups}, sum(cell_weight::decimal(38, 12))::double as group_weight
            from cells
            group by all
        )
        select
            rows.*,
            coalesce(
                {row_weight} * shares.n / shares.whole_n * groups.group_weight / cells.cell_weight,
                0
            ) as {_WEIGHT}
        from {relation} as rows
        left join cells using ({every})
        left join groups using ({groups})
        left join shares using ({mix})
    """)
    used = Design(
        strata=design.strata,
        clusters=design.clusters,
        weight=_WEIGHT,
        fpc=design.fpc,
        lonely_psu=design.lonely_psu,
        nest=design.nest,
    )
    try:
        found = estimate(con, _VIEW, used, [variable], "mean", by=by, ci=ci, level=level)
        empty = _incomplete(con, relation, held, by, over, count)
    finally:
        con.execute(f"drop view {_VIEW}")
    return _without_incomplete(found, by, empty)


def _incomplete(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    held: str,
    by: tuple[str, ...],
    over: tuple[str, ...],
    count: str,
) -> set[tuple[Any, ...]]:
    """Groups that lack a cell of the standard."""
    groups = ", ".join(map(quote, by))
    every = ", ".join(map(quote, (*by, *over)))
    mix = ", ".join(map(quote, over))
    rows = con.execute(f"""
        with cells as (select distinct {every} from {relation} where {held}),
        wanted as (
            select {every}
            from (select distinct {groups} from cells)
            cross join (
                select {mix} from {_STANDARD} group by all having sum({quote(count)}) > 0
            )
        )
        select distinct {groups} from wanted anti join cells using ({every})
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
