"""What the tables of a release look like: columns, types, comments, order.

Belongs here: reading `data/tables.yaml`, the one declaration that makes the dictionary,
the comments and the Frictionless datapackage. Does not belong here: where rows come from
(`candidate.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import duckdb

from rcs_assets.errors import InputError
from rcs_assets.intake.formulas import formula_condition
from rcs_assets.programme.datafile import parse_yaml

SIMULATED_PREFIX = "SIMULATED: made from simulated deliveries. "


@dataclass(frozen=True)
class ColumnSpec:
    """One column; `type` is DuckDB's."""

    name: str
    type: str
    unit: str
    description: str
    source: str


@dataclass(frozen=True)
class TableSpec:
    """One table of the packages of the kinds `packages`, ordered by `order_by`.

    `may_be_empty`: an installation may have nothing to put into it.
    """

    name: str
    packages: tuple[str, ...]
    description: str
    order_by: tuple[str, ...]
    columns: tuple[ColumnSpec, ...]
    may_be_empty: bool = False

    @property
    def select_list(self) -> str:
        """The columns, each cast to its type."""
        return ", ".join(f'"{c.name}"::{c.type} as "{c.name}"' for c in self.columns)

    @property
    def order_list(self) -> str:
        """The key, nulls first, so that the order does not depend on settings."""
        return ", ".join(f'"{name}" nulls first' for name in self.order_by)


@cache
def table_specs() -> Mapping[str, TableSpec]:
    """All tables by name, in the order of the declaration."""
    text = (resources.files("rcs_assets.release") / "data" / "tables.yaml").read_text("utf-8")
    content: dict[str, dict[str, Any]] = parse_yaml(text, "rcs_assets/release/data/tables.yaml")
    return {
        name: TableSpec(
            name,
            tuple(table["packages"]),
            table["description"],
            tuple(table["order_by"]),
            tuple(ColumnSpec(*column) for column in table["columns"]),
            bool(table.get("may_be_empty")),
        )
        for name, table in content.items()
    }


def specs_of(kind: str) -> tuple[TableSpec, ...]:
    """The tables of a kind of package (public, cpp or safe_haven)."""
    return tuple(spec for spec in table_specs().values() if kind in spec.packages)


def table_comment(spec: TableSpec, *, is_simulated: bool) -> str:
    """The comment of a table; it says SIMULATED where the deliveries were."""
    return (SIMULATED_PREFIX if is_simulated else "") + spec.description


def column_comment(column: ColumnSpec) -> str:
    """The comment of a column: meaning, unit and source."""
    unit = f" Unit: {column.unit}." if column.unit else ""
    return f"{column.description}.{unit} Source: {column.source}."


_FRICTIONLESS = {
    "VARCHAR": "string", "BOOLEAN": "boolean", "DATE": "date", "TINYINT": "integer",
    "SMALLINT": "integer", "INTEGER": "integer", "BIGINT": "integer",
}  # fmt: skip
# The last column of a CSV file, which has no place for a comment: SIMULATED or delivered.
DATA_SOURCE = "data_source"
_CSV_FIELDS = [
    {
        "name": DATA_SOURCE,
        "type": "string",
        "description": "SIMULATED or delivered: where the answers come from",
        "constraints": {"enum": ["SIMULATED", "delivered"], "required": True},
    }
]


def refuse_formulas(con: duckdb.DuckDBPyConnection, relation: str, spec: TableSpec) -> None:
    """Refuse a table for CSV in which a text begins as a spreadsheet's formula does.

    A spreadsheet would carry it out. It is not escaped: then CSV and Parquet would say two things,
    and a program would read the mark as part of the name.

    Raises:
        InputError: it names table and column.
    """
    texts = [column.name for column in spec.columns if column.type == "VARCHAR"]
    counts = ", ".join(f"""count(*) filter ({formula_condition(f'"{name}"')})""" for name in texts)
    found = con.execute(f"select {counts} from {relation}").fetchall()[0] if texts else ()
    for name, n in zip(texts, found, strict=True):
        if n:
            raise InputError(
                "A text begins like a formula of a spreadsheet",
                where=f"table {spec.name}, column {name}",
                why="whoever opens the CSV file would carry it out",
                fix="rename it where it comes from: a delivery, or the overlay in config/",
            )


def datapackage(
    package: str,
    version: str,
    specs: tuple[TableSpec, ...],
    *,
    is_simulated: bool,
    has_csv: bool = False,
    beside: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The Frictionless description of a package: Parquet files, CSV where it has any, and more.

    `beside`: resources of files that are no tables of the declaration, such as files of answers.

    A CSV resource is a `tabular-data-resource` (Frictionless v1): any of its tools reads and
    checks the file by it.
    """
    mark = "SIMULATED " if is_simulated else ""
    csv = [_csv_resource(spec, is_simulated=is_simulated) for spec in specs] if has_csv else []
    return {
        "profile": "data-package",
        "name": f"rcs-{package}".replace("/", "-").replace("_", "-"),
        "title": f"{mark}RCS release {version}: {package}",
        "version": version,
        "resources": [
            {
                "name": spec.name.replace("_", "-"),
                "path": f"parquet/{spec.name}.parquet",
                "format": "parquet",
                "mediatype": "application/vnd.apache.parquet",
                "description": table_comment(spec, is_simulated=is_simulated),
                "schema": {"fields": [_field(column) for column in spec.columns]},
            }
            for spec in specs
        ]
        + csv
        + [*beside],
    }


def _csv_resource(spec: TableSpec, *, is_simulated: bool) -> dict[str, Any]:
    return {
        "name": f"{spec.name.replace('_', '-')}-csv",
        "path": f"csv/{spec.name}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "description": table_comment(spec, is_simulated=is_simulated),
        "schema": {
            "fields": [*(_field(column) for column in spec.columns), *_CSV_FIELDS],
            "missingValues": [""],
        },
    }


def _field(column: ColumnSpec) -> dict[str, str]:
    return {
        "name": column.name,
        "type": frictionless_type(column.type),
        "description": column_comment(column),
    }


def frictionless_type(kind: str) -> str:
    """Frictionless's name of a type of DuckDB's."""
    return _FRICTIONLESS.get(kind, "integer" if kind.endswith(",0)") else "number")
