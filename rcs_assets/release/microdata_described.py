"""How files of answers are described: labels of their columns, and their part of a datapackage.

Belongs here: what every column of the safe haven's files means (data/microdata.yaml and the
codebook), their data dictionary, and the Frictionless resources of all packages' files. Does not
belong here: the files (`microdata.py`, `deposit.py`), and a deposit's own dictionary, which has
the columns that archives ask for (`deposit.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.codebook import PUPIL_SURVEYS, Codebook
from rcs_assets.codebook.model import Instrument, ScaleMethod
from rcs_assets.errors import InputError
from rcs_assets.programme.datafile import parse_yaml
from rcs_assets.release.tables import SIMULATED_PREFIX, frictionless_type
from rcs_assets.storage import sql_literal

FOLDER = "microdata"
DICTIONARY = "data_dictionary.csv"
_COLUMNS = ("file", "position", "variable", "label", "source", "code", "code_label", "missing")
_DIALECT = {"csvddfVersion": 1.2, "delimiter": "\t", "lineTerminator": "\n", "header": True}


@dataclass(frozen=True)
class Described:
    """What one column means: label, where it comes from, codes with labels, missing ones apart."""

    label: str
    source: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DescribedTable:
    """A file of answers: what a row is, and its columns by name."""

    description: str
    columns: Mapping[str, Described]


@cache
def _declared() -> Mapping[str, Any]:
    text = (resources.files("rcs_assets.release") / "data" / "microdata.yaml").read_text("utf-8")
    content: dict[str, Any] = parse_yaml(text, "rcs_assets/release/data/microdata.yaml")
    return content


def safe_haven_tables(codebook: Codebook) -> dict[str, DescribedTable]:
    """File (without its ending) → what it and its columns mean."""
    said = _declared()
    own = {
        name: Described(
            label,
            source,
            {str(code): text for code, text in said["values"].get(name, {}).items()},
        )
        for name, (label, source) in said["columns"].items()
    }
    missing = {str(code): one.label for code, one in sorted(codebook.missing.items())}
    answers = {
        variable.name: Described(
            variable.label,
            "codebook",
            _words(codebook.value_sets[variable.value_set].values),
            missing,
        )
        for variable in codebook.variables.values()
        if set(variable.surveys) & set(PUPIL_SURVEYS)
    }
    scores: dict[str, Described] = {}
    for instrument in codebook.instruments.values():
        scores |= _scores(instrument)
    columns = own | answers | scores
    return {name: DescribedTable(text, columns) for name, text in said["files"].items()}


def _scores(instrument: Instrument) -> dict[str, Described]:
    """Score or band of an instrument → what it means."""
    title = instrument.title
    found = {}
    for scale in instrument.scales:
        # What two answers stand for together has open ends.
        is_open = scale.method is ScaleMethod.MATRIX
        span = "" if is_open else f": {scale.low:g} to {scale.high:g}"
        found[scale.name] = Described(f"{scale.title}{span} ({title})", "codebook")
        if scale.metric_name:
            found[scale.metric_name] = Described(f"{scale.title}, converted ({title})", "codebook")
    for composite in instrument.composites:
        found[composite.name] = Described(f"{composite.title} ({title})", "codebook")
    for band in instrument.bands:
        name = f"{band.score}_band{band.bands}"
        words = {**found[name].values} if name in found else {}
        label = f"{found[band.score].label}, in {band.bands} bands"
        found[name] = Described(label, "codebook", words | {str(band.number): band.label})
    return found


def _words(values: Mapping[int, str]) -> dict[str, str]:
    return {str(code): label for code, label in values.items()}


def write_safe_haven_dictionary(
    con: duckdb.DuckDBPyConnection, folder: Path, tables: Mapping[str, DescribedTable]
) -> None:
    """Write `data_dictionary.csv` beside the safe haven's files: a row a file, column and code.

    Raises:
        InputError: a file has a column of which nothing is said.
    """
    with (folder / DICTIONARY).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for name, table in tables.items():
            for position, (column, _) in enumerate(_types(con, folder / f"{name}.parquet"), 1):
                said = _said_of(table, name, column)
                head = (name, position, column, said.label, said.source)
                writer.writerows((*head, *rest) for rest in _codes(said))


def _codes(said: Described) -> Iterator[tuple[str, str, str]]:
    if not said.values:
        yield "", "", "no"
    yield from ((code, label, "no") for code, label in said.values.items())
    yield from ((code, label, "yes") for code, label in said.missing.items())


def _said_of(table: DescribedTable, file: str, column: str) -> Described:
    if column not in table.columns:
        raise InputError(
            "A column of a file of answers is not described",
            where=f"{file}, column {column}",
            why="whoever works with the file has nothing else that says what it means",
            fix="name it in release/data/microdata.yaml, or in the codebook",
        )
    return table.columns[column]


def _types(con: duckdb.DuckDBPyConnection, file: Path) -> Sequence[tuple[str, str]]:
    """Column and DuckDB type, in the order of the file."""
    return con.execute(
        "select column_name, column_type "
        f"from (describe select * from read_parquet({sql_literal(file)}))"
    ).fetchall()


def microdata_resources(
    con: duckdb.DuckDBPyConnection,
    package: Path,
    tables: Mapping[str, DescribedTable],
    *,
    is_simulated: bool,
) -> list[dict[str, Any]]:
    """Frictionless resources of a package's files of answers (Parquet, tab-delimited text).

    Their data dictionary is one, too, where there are any.

    Args:
        con: any connection.
        package: its folder; the files are there.
        tables: file → its columns' meaning.
        is_simulated: the descriptions say so.

    Raises:
        InputError: a file has a column of which nothing is said.
    """
    mark = SIMULATED_PREFIX if is_simulated else ""
    found: list[dict[str, Any]] = []
    for name, table in tables.items():
        stem = f"{FOLDER}/{name}"
        fields = [
            {
                "name": column,
                "type": frictionless_type(kind),
                "description": _description(_said_of(table, name, column)),
            }
            for column, kind in _types(con, package / f"{stem}.parquet")
        ]
        found.append(
            {
                "name": f"microdata-{name}".replace("_", "-"),
                "path": f"{stem}.parquet",
                "format": "parquet",
                "mediatype": "application/vnd.apache.parquet",
                "description": mark + table.description,
                "schema": {"fields": fields},
            }
        )
        if (package / f"{stem}.tab").is_file():
            found.append(_tab_resource(found[-1], f"{stem}.tab", table))
    return [*found, *([_dictionary_resource(package, mark)] if found else [])]


def _dictionary_resource(package: Path, mark: str) -> dict[str, Any]:
    """The data dictionary; which columns it has differs between safe haven and deposit."""
    path, said = f"{FOLDER}/{DICTIONARY}", _declared()["dictionary"]
    with (package / path).open(encoding="utf-8", newline="") as stream:
        header = next(csv.reader(stream))
    return {
        "name": f"{FOLDER}-dictionary",
        "path": path,
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "description": mark + said["description"],
        "schema": {
            "fields": [
                {
                    "name": column,
                    "type": "integer" if column == "position" else "string",
                    "description": said["columns"][column],
                }
                for column in header
            ],
            "missingValues": [""],
        },
    }


def _tab_resource(parquet: Mapping[str, Any], path: str, table: DescribedTable) -> dict[str, Any]:
    """The same rows as text; any of Frictionless's tools reads and checks the file by it."""
    codes = {int(code) for column in table.columns.values() for code in column.missing}
    return {
        **parquet,
        "name": f"{parquet['name']}-tab",
        "path": path,
        "profile": "tabular-data-resource",
        "format": "tsv",
        "mediatype": "text/tab-separated-values",
        "encoding": "utf-8",
        "dialect": _DIALECT,
        "schema": {**parquet["schema"], "missingValues": ["", *map(str, sorted(codes))]},
    }


def _description(said: Described) -> str:
    codes = [f"{code} {label}" for code, label in {**said.values, **said.missing}.items()]
    return f"{said.label}. Codes: {'; '.join(codes)}." if codes else f"{said.label}."
