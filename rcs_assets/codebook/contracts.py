"""Assembles the contracts of delivered files from `datasets.yaml`.

Belongs here: what a delivered file must look like, and the rules of its description. Does
not belong here: reading a delivery (`intake`); answer columns of surveys, which come from
the questionnaire version (`questions.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rcs_assets.codebook.model import Dataset, Field, RowRule, Sensitivity
from rcs_assets.codebook.questions import SURVEY_STAGES
from rcs_assets.errors import ConfigurationError
from rcs_assets.programme.datafile import DataFolder, read_mapping

FILE = "datasets.yaml"
LEVELS = ("engagement", "reference")
FORMATS = ("csv", "sav", "zsav", "xlsx")
# Kind of field → the regular expression of its cells, empty for any text.
KIND_FORMS: Mapping[str, str] = {
    "text": "",
    "integer": r"-?[0-9]{1,15}",
    "decimal": r"-?[0-9]{1,15}(\.[0-9]+)?",
    "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "seed_code": r"[0-9]{7}",
    "scn": r"[0-9]{9}",
    "uid": r"[A-Z]{2}[0-9]{8}",
    # Partial postcodes are kept (PHS indexer format, domain.md 3.4).
    "postcode": r"[A-Za-z0-9 ]{2,8}",
    "datazone": r"S01[0-9]{6}",
    "stage": r"P[1-7]|S[1-6]|SP",
    "sex": r"[MF]",
    # An encoding in the place of identifiers, and the name of the rules and key that made it.
    "scheme": r"clk-[A-Za-z0-9.]{1,16}-[0-9a-f]{16}",
    "clk": r"([0-9a-f]{16})+",
    # How many children who opted out were left out before encoding, and a hash of their UIDs.
    "left_out": r"[0-9]{1,6}-[0-9a-f]{32}",
}
_DATASET_NEEDS = frozenset(
    [
        "title",
        "level",
        "file_pattern",
        "formats",
        "key",
        "required",
        "owner",
        "cadence",
        "about",
        "fields",
    ]
)
_DATASET_MAY = frozenset(
    ["survey", "encoding", "other_encoding", "delimiter", "sheet", "row_rules", "mark_meanings"]
)
_RULE_NEEDS = frozenset(["columns", "about"])
_RULE_MAY = frozenset(["total", "tolerance"])
_FIELD_NEEDS = frozenset(["kind", "required", "sensitivity", "about"])
_FIELD_MAY = frozenset(
    [
        "column",
        "allowed",
        "marks",
        "minimum",
        "maximum",
        "pattern",
        "separator",
        "date_forms",
        "parts",
        "may_be_absent",
    ]
)


def read_datasets(folder: DataFolder) -> dict[str, Dataset]:
    """Contracts by name, in file order; an overlay replaces a whole entry.

    Raises:
        ConfigurationError: an unknown or missing property, an unknown word, a pattern that
            does not compile, a key that is not a field.
    """
    return read_mapping(folder, FILE, _dataset)


def _dataset(name: str, label: str, entry: Mapping[str, Any]) -> Dataset:
    where = f"file {label}, entry {name}"
    _check_properties(where, entry, _DATASET_NEEDS, _DATASET_MAY)
    fields = _fields(where, entry["fields"])
    known = {field.name for field in fields}
    dataset = Dataset(
        name=name,
        title=str(entry["title"]),
        level=_word(where, "level", entry["level"], LEVELS),
        file_pattern=_pattern(where, "file_pattern", entry["file_pattern"]),
        formats=_words(where, "formats", entry["formats"], FORMATS),
        encoding=str(entry.get("encoding", "utf-8")),
        other_encoding=str(entry.get("other_encoding", "")),
        delimiter=str(entry.get("delimiter", ",")),
        key=_words(where, "key", entry["key"], known),
        survey=_word(where, "survey", entry.get("survey", ""), {"", *SURVEY_STAGES}),
        is_required=_flag(where, "required", entry["required"]),
        owner=str(entry["owner"]),
        cadence=str(entry["cadence"]),
        fields=fields,
        description=str(entry["about"]),
        sheet=str(entry.get("sheet", "")),
        row_rules=_row_rules(where, entry.get("row_rules", {}), known),
        mark_meanings=_mark_meanings(where, entry.get("mark_meanings", {}), fields),
    )
    has_group = "engagement" in re.compile(dataset.file_pattern).groupindex
    if has_group != (dataset.level == "engagement"):
        raise _problem(
            where,
            "file_pattern",
            "a group `engagement` stands in the pattern of engagement files, and only there",
        )
    return dataset


def _fields(where: str, entries: object) -> tuple[Field, ...]:
    if not isinstance(entries, dict) or not entries:
        raise _problem(where, "fields", "a contract lists its fields by name")
    return tuple(_field(f"{where}, field {name}", str(name), e) for name, e in entries.items())


def _field(where: str, name: str, entry: object) -> Field:
    if not isinstance(entry, dict):
        raise _problem(where, name, "a field is a mapping of its properties")
    _check_properties(where, entry, _FIELD_NEEDS, _FIELD_MAY)
    return Field(
        name=name,
        column=str(entry.get("column", name)),
        kind=_word(where, "kind", entry["kind"], KIND_FORMS),
        is_required=_flag(where, "required", entry["required"]),
        sensitivity=Sensitivity(
            _word(where, "sensitivity", entry["sensitivity"], list(Sensitivity))
        ),
        allowed=_texts(where, "allowed", entry.get("allowed", [])),
        minimum=_number(where, "minimum", entry.get("minimum")),
        maximum=_number(where, "maximum", entry.get("maximum")),
        description=str(entry["about"]),
        pattern=_pattern(where, "pattern", entry.get("pattern", "")),
        separator=str(entry.get("separator", "")),
        marks=_texts(where, "marks", entry.get("marks", [])),
        date_forms=_date_forms(where, entry),
        takes_parts=_takes_parts(where, entry),
        may_be_absent=_may_be_absent(where, entry),
    )


def _may_be_absent(where: str, entry: Mapping[str, Any]) -> bool:
    is_absent = _flag(where, "may_be_absent", entry.get("may_be_absent", False))
    if is_absent and entry["required"]:
        raise _problem(where, "may_be_absent", "a column that may be absent has empty cells")
    return is_absent


def _date_forms(where: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    forms = _texts(where, "date_forms", entry.get("date_forms", []))
    if forms and entry["kind"] != "date":
        raise _problem(where, "date_forms", "only a date has them")
    return forms


def _takes_parts(where: str, entry: Mapping[str, Any]) -> bool:
    takes = _flag(where, "parts", entry.get("parts", False))
    if takes and (entry["kind"] != "date" or entry.get("date_forms")):
        raise _problem(where, "parts", "only a date that is written as 2016-02-01 has them")
    return takes


def _mark_meanings(where: str, entries: object, fields: Sequence[Field]) -> dict[str, str]:
    """Marks with what they stand for; where a contract explains any, it explains all."""
    if not isinstance(entries, dict) or not all(isinstance(mark, str) for mark in entries):
        raise _problem(where, "mark_meanings", "a mapping of mark to meaning; quote the marks")
    used = {mark for field in fields for mark in field.marks}
    if entries and used != set(entries):
        listed = ", ".join(sorted(used ^ set(entries)))
        raise _problem(where, "mark_meanings", f"not both used and explained: {listed}")
    return {mark: str(meaning) for mark, meaning in entries.items()}


def _row_rules(where: str, entries: object, known: Collection[str]) -> tuple[RowRule, ...]:
    if not isinstance(entries, dict):
        raise _problem(where, "row_rules", "row rules are listed by name")
    return tuple(
        _row_rule(f"{where}, row rule {name}", str(name), entry, known)
        for name, entry in entries.items()
    )


def _row_rule(where: str, name: str, entry: object, known: Collection[str]) -> RowRule:
    if not isinstance(entry, dict):
        raise _problem(where, name, "a row rule is a mapping of its properties")
    _check_properties(where, entry, _RULE_NEEDS, _RULE_MAY)
    columns = _words(where, "columns", entry["columns"], known)
    if len(columns) < 2:
        raise _problem(where, "columns", "a row rule compares at least two columns")
    return RowRule(
        name=name,
        columns=columns,
        total=_total(where, entry.get("total"), known),
        tolerance=_number(where, "tolerance", entry.get("tolerance")) or 0.0,
        description=str(entry["about"]),
    )


def _total(where: str, value: object, known: Collection[str]) -> float | str | None:
    """A number, or the column that holds the total."""
    if isinstance(value, str):
        return _word(where, "total", value, known)
    return _number(where, "total", value)


def _check_properties(
    where: str, entry: Mapping[str, Any], needs: frozenset[str], may: frozenset[str]
) -> None:
    given = {str(name) for name in entry}
    missing, unknown = sorted(needs - given), sorted(given - needs - may)
    if missing or unknown:
        raise _problem(
            where,
            ", ".join(missing or unknown),
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}",
        )


def _word(where: str, column: str, value: object, allowed: Collection[str]) -> str:
    if str(value) not in allowed:
        listed = ", ".join(sorted(a for a in allowed if a))
        raise _problem(where, column, f"`{value}` is not one of: {listed}")
    return str(value)


def _words(where: str, column: str, value: object, allowed: Collection[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _problem(where, column, "a list is needed, with at least one entry")
    return tuple(_word(where, column, item, allowed) for item in value)


def _flag(where: str, column: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _problem(where, column, "yes or no is needed")
    return value


def _number(where: str, column: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _problem(where, column, "a number is needed")
    return float(value)


def _texts(where: str, column: str, value: object) -> tuple[str, ...]:
    """Texts only: YAML reads a bare No as a flag and 01 as a number."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _problem(where, column, "a list of texts is needed; put quotes around each")
    return tuple(value)


def _pattern(where: str, column: str, value: object) -> str:
    try:
        return re.compile(str(value)).pattern
    except re.error as error:
        raise _problem(where, column, "the regular expression does not compile") from error


def _problem(where: str, column: str, rule: str) -> ConfigurationError:
    return ConfigurationError(
        f"{FILE} is not valid",
        where=f"{where}, column {column}",
        why=rule,
        fix="correct the entry; the head of the file says what each property means",
    )
