"""Reads the reviewed data files of a room and lays an adopter's overlay over them.

Belongs here: CSV and YAML reading with messages that name file, row, column or key,
rule and fix; merging of overlay rows by key; making typed rules of keys, so that what is
wrong in them is told with its key; the version (sha256) of a set of files.
Does not belong here: what the columns mean (each room's `load.py`) and files that
suppliers deliver (`intake`).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from datetime import date
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rcs_assets.errors import ConfigurationError

LIST_SEPARATOR = ";"
FLAGS = {"yes": True, "no": False}
# The same safe loader, several times as fast, where PyYAML was built with libyaml.
_SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What code raises that is given an entry of another form than it takes.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
# A whole number beyond it fits into no column of a database.
_LARGEST = 2**63
# libyaml goes down by recursion: some ten thousand levels overflow the stack of the process.
_DEEPEST = 100
_WHOLE = "tag:yaml.org,2002:int"
_MERGED = "tag:yaml.org,2002:merge"
Entry = TypeVar("Entry")
Rules = TypeVar("Rules")


class Nonsense(ValueError):
    """Rules that are in their form and make no sense; the message says why, in words."""


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
                content = read_bytes(label, path)
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
        """The cell as a number, neither infinite nor none at all."""
        try:
            number = float(self.values[column])
        except ValueError as error:
            raise self.problem(column, "a number is needed", "write digits and a point") from error
        if not isfinite(number):
            raise self.problem(column, "a number is needed", "write digits and a point")
        return number

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


def read_mapping(
    folder: DataFolder, file: str, build: Callable[[str, str, Mapping[str, Any]], Entry]
) -> dict[str, Entry]:
    """A YAML file of named entries; overlay entries replace those of the same name.

    Args:
        folder: where the file lies.
        file: its name.
        build: makes an entry from its name, the file for messages and its properties.

    Returns:
        name → entry.

    Raises:
        ConfigurationError: file missing, not YAML, or an entry that is not in its form.
    """
    merged: dict[str, tuple[str, Any]] = {}
    for label, path in folder.sources(file):
        merged |= {str(name): (label, entry) for name, entry in read_keys(label, path).items()}
    return {name: _entry(name, label, entry, build) for name, (label, entry) in merged.items()}


def _entry(
    name: str, label: str, entry: Any, build: Callable[[str, str, Mapping[str, Any]], Entry]
) -> Entry:
    try:
        if not isinstance(entry, dict):
            raise Nonsense("an entry is a mapping of its properties, indented below the name")
        return build(name, label, entry)
    except MALFORMED as error:
        raise ConfigurationError(
            f"{label} is not valid",
            where=f"file {label}, entry {name}",
            why=_said(error),
            fix="give the entry the form of those in the platform's own file",
        ) from error


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
    own: dict[str, Any] = dict(read_keys(label, path))
    added: dict[str, Any] = {}
    for label, path in overlays:
        added = dict(read_keys(label, path))
        if unknown := sorted(map(str, set(added) - set(own))):
            raise _wrong_rules(f"Unknown keys: {', '.join(unknown)}", f"file {label}", why)

    def make(keys: Mapping[str, Any]) -> Rules:
        return sound(build({**own, **keys}), problems)

    return make_rules(make, added, {key: {key: added[key]} for key in added}, label, why)


def make_rules(
    make: Callable[[Mapping[str, Any]], Rules],
    added: Mapping[str, Any],
    pieces: Mapping[str, Mapping[str, Any]],
    label: str,
    why: str,
) -> Rules:
    """Typed rules, or an error that names the piece of the overlay which is at fault.

    Args:
        make: makes the rules from an overlay's keys, and raises what `MALFORMED` lists.
        added: the overlay's keys.
        pieces: name for messages → a part of the overlay that can stand alone; the first that
            breaks the rules in the same way is named.
        label: the file for messages.
        why: the source that the rules follow.

    Raises:
        ConfigurationError: the rules cannot be made.
    """
    try:
        return make(added)
    except MALFORMED as error:
        said = _said(error)
        alone = (name for name, piece in pieces.items() if _what_breaks(make, piece) == said)
        keys = next(alone, ", ".join(map(str, added)))
        where = f"file {label}, key {keys}" if keys else f"file {label}"
        raise _wrong_rules(said, where, why) from error


def _what_breaks(make: Callable[[Mapping[str, Any]], Rules], piece: Mapping[str, Any]) -> str:
    try:
        make(piece)
    except MALFORMED as error:
        return _said(error)
    return ""


def sound(rules: Rules, problems: Callable[[Rules], Iterable[str]]) -> Rules:
    """The rules, if every number in them can be reckoned with and nobody has a problem.

    Numbers come first: whatever is compared with one that is none holds, or fails, by chance.

    Raises:
        Nonsense: the first problem.
    """
    for problem in chain(_wrong_numbers("", rules), problems(rules)):
        raise Nonsense(problem)
    return rules


def _wrong_numbers(name: str, value: Any) -> Iterator[str]:
    """What is infinite, none, or too large, wherever it stands; texts such as `nan` became it."""
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(value, int | float):
        if not abs(value) < _LARGEST:  # as of what is no number, which compares with nothing
            yield f"{name} is no number that can be reckoned with"
    elif isinstance(value, Mapping):
        parts = value.items()
    elif is_dataclass(value):
        parts = vars(value).items()
    elif isinstance(value, tuple | list | frozenset):
        parts = ((name, part) for part in value)
    for key, part in parts:
        yield from _wrong_numbers(str(key), part)


def _said(error: Exception) -> str:
    if isinstance(error, Nonsense):
        return str(error)
    if isinstance(error, KeyError):
        return f"An entry is not complete or not in its form ({error} is missing or not known)"
    if isinstance(error, TypeError | AttributeError):
        kind = "a value is empty, or text in the place of a number or of a list, or the reverse"
        return f"An entry is not complete or not in its form ({kind}: {error})"
    return f"An entry is not complete or not in its form ({type(error).__name__}: {error})"


def _wrong_rules(what: str, where: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        where=where,
        why=why,
        fix="correct it in config/; the comments of the platform's own file say what it takes",
    )


def parse_yaml(content: str | bytes, label: str) -> Any:
    """A YAML text as plain values; nothing in it may be read in two ways.

    Every process reads the codebook: libyaml's parser takes a tenth of the time of Python's.

    Args:
        content: the text; bytes are UTF-8.
        label: the file for messages.

    Raises:
        ConfigurationError: not UTF-8, not YAML, a key that stands twice, a day that there is
            not, a number that is infinite, none or too large, more levels than anybody writes.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        return yaml.load(text, Loader=_StrictLoader)
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{label} is not UTF-8", where=f"file {label}", fix="save the file as UTF-8"
        ) from error
    except _Unreadable as error:
        raise ConfigurationError(
            f"{label} is not valid",
            where=f"file {label}, row {error.row}, key {_path_to(text, error.at)}",
            why=error.rule,
            fix="correct the value, or the key",
        ) from error
    except (yaml.YAMLError, *MALFORMED) as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigurationError(
            f"{label} is not YAML",
            where=f"file {label}" + (f", row {mark.line + 1}" if mark else ""),
            why=getattr(error, "problem", None) or "it cannot be read",
            fix="check indentation (blanks, no tabs), quotes and brackets",
        ) from error


class _Unreadable(Exception):
    """A node of a YAML text that breaks `rule`; `at` is its place in the text."""

    def __init__(self, node: yaml.Node, rule: str) -> None:
        super().__init__(rule)
        self.rule, self.at, self.row = rule, node.start_mark.index, node.start_mark.line + 1


class _StrictLoader(_SAFE_LOADER):  # type: ignore[misc]
    """Refuses what the safe loader takes in silence, or fails on with an error of Python's."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._looked_at: set[yaml.Node] = set()
        self._depth = 0

    def descend_resolver(self, parent: yaml.Node | None, index: object) -> None:
        """Count how deep the next node lies, before the library goes down to it."""
        self._depth += 1
        if parent is not None and self._depth > _DEEPEST:
            rule = f"it is nested more than {_DEEPEST} levels deep"
            raise yaml.MarkedYAMLError(problem=rule, problem_mark=parent.start_mark)
        super().descend_resolver(parent, index)

    def ascend_resolver(self) -> None:
        """The node is read."""
        self._depth -= 1
        super().ascend_resolver()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Look for keys that stand twice before merged ones (`<<`) stand beside them."""
        if node not in self._looked_at:
            self._looked_at.add(node)
            self._refuse_twice(node)
        super().flatten_mapping(node)

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGED:
                name = self.construct_object(key)
                if name in seen:
                    raise _Unreadable(key, "the key stands twice: nobody can tell which holds")
                seen.add(name)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A whole number or a decimal one."""
        read = self.construct_yaml_int if node.tag == _WHOLE else self.construct_yaml_float
        try:
            number = read(node)
        except MALFORMED as error:
            raise _Unreadable(node, "a number is needed") from error
        if not abs(number) < _LARGEST:
            raise _Unreadable(node, "a number is needed, neither infinite nor beyond 2 to the 63")
        return number  # type: ignore[no-any-return]

    def construct_day(self, node: yaml.ScalarNode) -> date:
        """A day, or a time of it."""
        try:
            return self.construct_yaml_timestamp(node)  # type: ignore[no-any-return]
        except MALFORMED as error:
            raise _Unreadable(node, "there is no such day or time") from error


_StrictLoader.add_constructor(_WHOLE, _StrictLoader.construct_number)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_number)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _StrictLoader.construct_day)


def _path_to(text: str, at: int) -> str:
    """The keys that lead to a place of a YAML text, with dots between."""
    node, names = yaml.compose(text, Loader=_SAFE_LOADER), []
    while node is not None:
        name, node = _step_to(node, at)
        names += [name] if name else []
    return ".".join(names)


def _step_to(node: yaml.Node, at: int) -> tuple[str, yaml.Node | None]:
    """The key, or number in a list, of the part that holds a place; nowhere if none does."""
    if isinstance(node, yaml.MappingNode):
        for key, part in node.value:
            if key.start_mark.index == at:
                return str(key.value), None
            if _holds(node, part, at):
                return str(key.value), part
    elif isinstance(node, yaml.SequenceNode):
        for number, part in enumerate(node.value, 1):
            if _holds(node, part, at):
                return str(number), part
    return "", None


def _holds(whole: yaml.Node, part: yaml.Node, at: int) -> bool:
    """Whether a part is written there; one that is named again (`*`) is written elsewhere."""
    return bool(whole.start_mark.index < part.start_mark.index <= at < part.end_mark.index)


def read_keys(label: str, path: Path) -> Mapping[str, Any]:
    """The keys of a YAML file.

    Raises:
        ConfigurationError: file missing, not YAML, or not made of keys.
    """
    content = parse_yaml(read_bytes(label, path), label)
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{label} holds no entries", where=f"file {label}", fix="write `name:` entries"
        )
    return content


def read_bytes(label: str, path: Path) -> bytes:
    """What a file holds.

    Raises:
        ConfigurationError: it is missing or cannot be read.
    """
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
        text = read_bytes(label, path).decode("utf-8-sig")
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
