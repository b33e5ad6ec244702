"""A named table or view of a DuckDB connection, and what its columns hold.

Belongs here: quoting, column types, and the one query that profiles weights and
variables before anything is estimated. Does not belong here: the estimating query
(`compilation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import duckdb

from rcs_assets.errors import InputError
from rcs_assets.estimation.design import Design
from rcs_assets.given import need_kind

_INTEGER: Final = frozenset(
    f"{sign}{kind}"
    for sign in ("", "U")
    for kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
)
_NESTED: Final = ("INTERVAL", "MAP", "UNION")
_FLOATING: Final = frozenset({"FLOAT", "DOUBLE"})
_ROW_UNIT: Final = "rcs_row_unit"
_LARGEST: Final = 1e70  # squares of values and weights stay inside a DOUBLE


def quote(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_table(name: str) -> str:
    """A table name, qualified by dots or not, as SQL."""
    return ".".join(quote(part.strip('"')) for part in name.split("."))


def unused(name: str, taken: Iterable[str]) -> str:
    """The name, with as many underscores behind it as make it none of those taken.

    DuckDB does not tell small letters from capitals.
    """
    held = {other.lower() for other in taken}
    while name.lower() in held:
        name += "_"
    return name


def unused_table(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """A name for a temporary view that stands for no table or view of the connection."""
    rows = con.execute(
        "select table_name from duckdb_tables() union all select view_name from duckdb_views()"
    ).fetchall()
    return unused(name, [str(row[0]) for row in rows])


def literal(value: float) -> str:
    """A finite number as a DOUBLE literal that parses to the same bits."""
    return f"{value:.17e}::double"


@dataclass(frozen=True)
class Relation:
    """A table by its SQL name and its column types."""

    sql: str
    types: dict[str, str]

    def is_number(self, column: str) -> bool:
        """Whether sums of the column make sense (numbers and booleans)."""
        kind = self.types[column]
        return kind in _INTEGER | _FLOATING | {"BOOLEAN"} or kind.startswith("DECIMAL")

    def is_floating(self, column: str) -> bool:
        """Whether the column holds doubles or floats."""
        return self.types[column] in _FLOATING

    def need(self, columns: Sequence[str], role: str) -> None:
        """Raise InputError where a column does not exist."""
        missing = [name for name in columns if name not in self.types]
        if missing:
            raise InputError(
                f"Unknown column: {', '.join(missing)}",
                where=f"table {self.sql}, {role}",
                fix=f"use columns of the table: {', '.join(sorted(self.types)[:40])}",
            )

    def need_numbers(self, columns: Sequence[str], role: str) -> None:
        """Raise InputError where a column is not numeric or boolean."""
        wrong = [name for name in columns if not self.is_number(name)]
        if wrong:
            raise InputError(
                f"Not numeric: {', '.join(f'{name} ({self.types[name]})' for name in wrong)}",
                where=f"table {self.sql}, {role}",
                fix="cast the column, or use statistic='proportion' for categories",
            )

    def need_single_values(
        self, columns: Sequence[str], role: str, *, is_struct_taken: bool = False
    ) -> None:
        """Raise InputError where the values of a column are lists, structs, maps or spans."""
        refused = _NESTED if is_struct_taken else (*_NESTED, "STRUCT")
        wrong = [
            name
            for name in columns
            if self.types[name].endswith("]") or self.types[name].startswith(refused)
        ]
        if wrong:
            raise InputError(
                f"Values that hold several: {', '.join(wrong)}",
                where=f"table {self.sql}, {role}",
                why="groups and categories are single values: texts, numbers or dates",
                fix="make columns of the parts in a view",
            )


def open_relation(con: duckdb.DuckDBPyConnection, table: str) -> Relation:
    """Read the column types of a table or view.

    Raises:
        InputError: there is no such table, or this is no connection.
    """
    need_kind(con, duckdb.DuckDBPyConnection, "argument con", "give duckdb.connect(…)")
    need_kind(table, str, "argument table", "register the data (con.register) and give its name")
    sql = quote_table(table)
    try:
        rows = con.execute(f"describe select * from {sql}").fetchall()
    except duckdb.Error as error:
        raise InputError(
            f"No table or view '{table}'",
            where="argument table",
            fix="give the name of a table or view that this connection can read",
        ) from error
    return Relation(sql, {str(row[0]): str(row[1]) for row in rows})


def with_row_units(relation: Relation, design: Design) -> tuple[Relation, Design]:
    """The same survey with each row as a cluster of its own, where it has no clusters.

    Rows are numbered in an order of their own, so that no order of rows shows.
    """
    if design.cluster_names:
        return relation, design
    numbered = (
        f"(select *, row_number() over () as {_ROW_UNIT} "
        f"from (select * from {relation.sql} order by all))"
    )
    types = relation.types | {_ROW_UNIT: "BIGINT"}
    return Relation(numbered, types), replace(design, clusters=_ROW_UNIT)


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest value of a column (0 and 0 where it is all null)."""

    low: float
    high: float
    is_binary: bool

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Profile:
    """What one pass over the table says about weights and variables."""

    rows_n: int
    weight: Bounds
    variables: dict[str, Bounds]


def profile(
    con: duckdb.DuckDBPyConnection, relation: Relation, design: Design, variables: Sequence[str]
) -> Profile:
    """Check weights, design columns and variables in one pass.

    Raises:
        InputError: null, negative or infinite weights; null strata, clusters or fpc;
            values that are not finite.
    """
    required = list(dict.fromkeys(design.columns))
    parts = ["count(*)::bigint"] + [f"(count(*) - count({quote(c)}))::bigint" for c in required]
    parts += [_others(relation, name) for name in variables]
    parts += _extremes(design.weight) if design.weight else []
    row = con.execute(f"select {', '.join(parts)} from {relation.sql}").fetchall()[0]
    nulls, others = row[1 : 1 + len(required)], row[1 + len(required) : len(row)]
    _check_nulls(relation, dict(zip(required, nulls, strict=True)))
    weight = Bounds(1.0, 1.0, is_binary=True)
    if design.weight:
        weight = _bounds(relation, design.weight, row[-2:])
        _check_weight(relation, design.weight, weight)
    wide = [name for name, count in zip(variables, others, strict=False) if count]
    found = {name: Bounds(0.0, 1.0, is_binary=True) for name in variables}
    return Profile(int(row[0]), weight, found | _wide_bounds(con, relation, wide))


def _others(relation: Relation, column: str) -> str:
    """Count of values other than 0 and 1 (NaN is one): cheaper than two extremes."""
    if relation.types[column] == "BOOLEAN":
        return "0"
    name = quote(column)
    return f"count(case when {name} <> 0 and {name} <> 1 then 1 end)"


def _extremes(column: str) -> list[str]:
    return [f"{agg}({quote(column)}::double)" for agg in ("min", "max")]


def _wide_bounds(
    con: duckdb.DuckDBPyConnection, relation: Relation, columns: Sequence[str]
) -> dict[str, Bounds]:
    """Extremes of the columns that are not 0/1."""
    if not columns:
        return {}
    parts = [part for name in columns for part in _extremes(name)]
    row = con.execute(f"select {', '.join(parts)} from {relation.sql}").fetchall()[0]
    return {
        name: _bounds(relation, name, row[2 * position : 2 * position + 2])
        for position, name in enumerate(columns)
    }


def _bounds(relation: Relation, column: str, pair: Sequence[object]) -> Bounds:
    low, high = (0.0 if value is None else float(str(value)) for value in pair)
    if not (low > -_LARGEST and high < _LARGEST):
        raise InputError(
            f"Column {column} holds values that are not finite, or beyond {_LARGEST:g}",
            where=f"table {relation.sql}",
            why="a mean or total of infinity or NaN has no meaning, nor has the square of these",
            fix="correct them; a variable may be null (outside the base), a weight may not",
        )
    return Bounds(low, high, is_binary=False)


def _check_nulls(relation: Relation, nulls: dict[str, int]) -> None:
    wrong = {name: count for name, count in nulls.items() if count}
    if wrong:
        raise InputError(
            "Design columns hold nulls: " + ", ".join(f"{n} ({c} rows)" for n, c in wrong.items()),
            where=f"table {relation.sql}",
            why="every row needs its stratum, cluster, weight and fpc",
            fix="fill the columns, or leave the rows out of the table",
        )


def _check_weight(relation: Relation, column: str, bounds: Bounds) -> None:
    if bounds.low < 0:
        raise InputError(
            f"Weight column {column} holds negative weights",
            where=f"table {relation.sql}",
            why="a sampling weight is at least 0",
            fix="make the weights again (rcs_assets.estimation.rake with bounds)",
        )
