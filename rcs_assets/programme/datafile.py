"""Reads the reviewed data files of a room and lays an adopter's overlay over them.

Belongs here: CSV and YAML reading with messages that name file, row, column, rule
and fix; merging of overlay rows by key; the version (sha256) of a set of files.
Does not belong here: what the columns mean (each room's `load.py`) and files that
suppliers deliver (`intake`).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rcs_assets.errors import ConfigurationError

LIST_SEPARATOR = ";"
FLAGS = {"yes": True, "no": False}
# The same safe loader, several times as fast, where PyYAML was built with libyaml.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Rules = TypeVar("Rules")


@dataclass(frozen=True)
class DataFolder:
    """The files of one room: defaults in `defaults`, the adopter's in `overlay`."""

    room: str
    defaults: Path
    overlay: Path | None = None

    def sources(self, file: str) -> tuple[tuple[str, Path], ...]:
        """(name for messages, path) of the default file and, if there is one, its overlay."""
        found = [(f"rcs_assets/{self.room}/data/{file}", self.defaults / file)]
        if self.overlay is not None and (self.overlay / file).is_file():
            found.append((f"{self.overlay.name}/{file}", self.overlay / file))
        return tuple(found)

    def used_for(self, files: Iterable[str]) -> DataFolder:
        """The same, without an overlay that has none of `files`: most adopters' have not."""
        has_some = any(len(self.sources(file)) > 1 for file in files)
        return self if has_some else replace(self, overlay=None)

    def version(self, files: Iterable[str]) -> str:
        """The sha256 over names and bytes of `files`, overlays included.

        Raises:
            ConfigurationError: a default file is missing.
        """
        digest = hashlib.sha256()
        for file in sorted(files):
            for label, path in self.sources(file):
                content = _read_bytes(label, path)
                # The overlay's label starts with a folder name of the machine: leave it out.
                digest.update(f"{file}:{len(content)}:".encode())
                digest.update(content)
        return digest.hexdigest()


@dataclass(frozen=True)
class Row:
    """One row of a data file; every accessor raises a ConfigurationError that names its place."""

    file: str
    line: int
    values: Mapping[str, str]

    def problem(self, column: str, rule: str, fix: str) -> ConfigurationError:
        """The error for `column` of this row: `rule` that is broken and `fix` to apply."""
        return ConfigurationError(
            f"{self.file} is not valid",
            where=f"file {self.file}, row {self.line}, column {column}",
            why=rule,
            fix=fix,
        )

    def text(self, column: str) -> str:
        """The cell, which may be empty."""
        return self.values[column]

    def required(self, column: str) -> str:
        """The cell, which may not be empty."""
        value = self.values[column]
        if not value:
            raise self.problem(column, "the cell may not be empty", f"fill in `{column}`")
        return value

    def choice(self, column: str, allowed: Collection[str]) -> str:
        """The cell, one of `allowed`."""
        value = self.values[column]
        if value not in allowed:
            listed = ", ".join(sorted(allowed))
            raise self.problem(
                column, f"`{value}` is not known here", f"use one of: {listed or 'nothing yet'}"
            )
        return value

    def integer(self, column: str) -> int:
        """The cell as a whole number."""
        try:
            return int(self.values[column])
        except ValueError as error:
            raise self.problem(
                column, "a whole number is needed", "write digits, with - for a negative number"
            ) from error

    def optional_integer(self, column: str) -> int | None:
        """The cell as a whole number, None where it is empty."""
        return self.integer(column) if self.values[column] else None

    def decimal(self, column: str) -> float:
        """The cell as a number."""
        try:
            return float(self.values[column])
        except ValueError as error:
            raise self.problem(column, "a number is needed", "write digits and a point") from error

    def optional_decimal(self, column: str) -> float | None:
        """The cell as a number, None where it is empty."""
        return self.decimal(column) if self.values[column] else None

    def day(self, column: str) -> date:
        """The cell as a date."""
        try:
            return date.fromisoformat(self.values[column])
        except ValueError as error:
            raise self.problem(column, "a date is needed", "write YYYY-MM-DD") from error

    def optional_day(self, column: str) -> date | None:
        """The cell as a date, None where it is empty."""
        return self.day(column) if self.values[column] else None

    def flag(self, column: str) -> bool:
        """The cell as yes or no."""
        return FLAGS[self.choice(column, FLAGS)]

    def items(self, column: str, allowed: Collection[str] | None = None) -> tuple[str, ...]:
        """The cell as a list separated by semicolons; each item one of `allowed` if given."""
        parts = tuple(p.strip() for p in self.values[column].split(LIST_SEPARATOR) if p.strip())
        unknown = [p for p in parts if allowed is not None and p not in allowed]
        if unknown:
            raise self.problem(
                column,
                f"`{unknown[0]}` is not known here",
                f"use only: {', '.join(sorted(allowed or ()))}",
            )
        if len(set(parts)) != len(parts):
            raise self.problem(column, "an item stands twice", "name each item once")
        return parts

    def integers(self, column: str) -> tuple[int, ...]:
        """The cell as a list of whole numbers separated by semicolons."""
        try:
            return tuple(int(part) for part in self.items(column))
        except ValueError as error:
            raise self.problem(
                column, "whole numbers are needed", "separate whole numbers by semicolons"
            ) from error


def read_rows(
    folder: DataFolder, file: str, columns: tuple[str, ...], key: tuple[str, ...]
) -> tuple[Row, ...]:
    """The rows of a CSV file; overlay rows replace those of the same key and add the others.

    Args:
        folder: where defaults and overlay lie.
        file: file name, the same in both places.
        columns: exactly the columns that the file must have.
        key: the columns that identify a row; may not repeat inside one file.

    Returns:
        Rows in file order, replaced rows in place, added rows at the end.

    Raises:
        ConfigurationError: file missing or not UTF-8, a column missing or unknown, a short
            or long row, a key twice.
    """
    merged: dict[tuple[str, ...], Row] = {}
    for label, path in folder.sources(file):
        merged |= _read_csv(label, path, columns, key)
    return tuple(merged.values())


def read_mapping(folder: DataFolder, file: str) -> dict[str, tuple[str, Mapping[str, object]]]:
    """A YAML file of named entries; overlay entries replace those of the same name.

    Returns:
        name → (file for messages, entry).

    Raises:
        ConfigurationError: file missing, not YAML, or an entry that is not a mapping.
    """
    merged: dict[str, tuple[str, Mapping[str, object]]] = {}
    for label, path in folder.sources(file):
        for name, entry in _read_yaml(label, path).items():
            if not isinstance(entry, dict):
                raise ConfigurationError(
                    f"{label} is not valid",
                    where=f"file {label}, entry {name}",
                    why="an entry is a mapping of its properties",
                    fix="indent the properties below the name",
                )
            merged[str(name)] = (label, entry)
    return merged


def read_rules(
    folder: DataFolder,
    file: str,
    build: Callable[[Mapping[str, Any]], Rules],
    problems: Callable[[Rules], Iterable[str]],
    why: str,
) -> Rules:
    """A YAML file of keys as typed rules; overlay keys replace those of the same name.

    Args:
        folder: where the file lies.
        file: its name.
        build: makes the rules from the keys.
        problems: what makes no sense in them, in words; the first is told.
        why: the source that the rules follow.

    Raises:
        ConfigurationError: file missing, not YAML, a key that the default file does not have,
            an entry not in its form, or a problem.
    """
    (label, path), *overlays = folder.sources(file)
    found = dict(_read_yaml(label, path))
    for label, path in overlays:
        added = _read_yaml(label, path)
        if unknown := sorted(map(str, set(added) - set(found))):
            raise _wrong_rules(f"Unknown keys: {', '.join(unknown)}", label, why)
        found |= added
    try:
        rules = build(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong_rules(
            f"An entry is not in its form ({type(error).__name__}: {error})", label, why
        ) from error
    problem = next(iter(problems(rules)), "")
    if problem:
        raise _wrong_rules(problem, label, why)
    return rules


def parse_yaml(text: str | bytes) -> Any:
    """A YAML text as plain values.

    Every process reads the codebook: libyaml's parser takes a tenth of the time of Python's.

    Raises:
        yaml.YAMLError: not YAML.
    """
    return yaml.load(text, Loader=_SAFE_LOADER)


def _wrong_rules(what: str, label: str, why: str) -> ConfigurationError:
    return ConfigurationError(what, where=f"file {label}", why=why, fix="correct it in config/")


def _read_yaml(label: str, path: Path) -> Mapping[str, Any]:
    try:
        content = parse_yaml(_read_bytes(label, path))
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{label} is not YAML", where=f"file {label}", fix="check indentation and quotes"
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{label} holds no entries", where=f"file {label}", fix="write `name:` entries"
        )
    return content


def _read_bytes(label: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{label} cannot be read",
            where=f"file {label}",
            fix="restore the file; an overlay only adds to it",
        ) from error


def _read_csv(
    label: str, path: Path, columns: tuple[str, ...], key: tuple[str, ...]
) -> dict[tuple[str, ...], Row]:
    try:
        text = _read_bytes(label, path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{label} is not UTF-8", where=f"file {label}", fix="save the file as UTF-8"
        ) from error
    reader = csv.reader(text.splitlines())
    header = tuple(next(reader, ()))
    _check_header(label, header, columns)
    rows: dict[tuple[str, ...], Row] = {}
    for cells in reader:
        if not any(cells):
            continue
        row = _row(label, reader.line_num, header, cells)
        identity = tuple(row.values[column] for column in key)
        if identity in rows:
            raise row.problem(
                key[0],
                f"the key ({', '.join(key)}) stands twice, first in row {rows[identity].line}",
                "keep one of the rows",
            )
        rows[identity] = row
    return rows


def _check_header(label: str, header: tuple[str, ...], columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in header]
    unknown = [c for c in header if c not in columns]
    if missing or unknown or len(set(header)) != len(header):
        raise ConfigurationError(
            f"{label} does not have the columns that it must have",
            where=f"file {label}, row 1, column {', '.join(missing or unknown or header)}",
            why=f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}",
            fix=f"give the file exactly the columns {', '.join(columns)}",
        )


def _row(label: str, line: int, header: tuple[str, ...], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise ConfigurationError(
            f"{label} is not valid",
            where=f"file {label}, row {line}, column {header[min(len(cells), len(header)) - 1]}",
            why=f"the row has {len(cells)} cells, the header {len(header)}",
            fix="quote cells that hold a comma",
        )
    return Row(label, line, dict(zip(header, (c.strip() for c in cells), strict=True)))
