"""Deliveries as nobody should send them: one file a kind of damage, made of good files.

Belongs here: the kinds, what intake has to do with each, and making them. Does not belong
here: intake itself; nothing here knows how a kind is found.

What intake has to do: `refused` (the file as a whole, with file and rule), `quarantined`
(rows, each with its rule), `accepted` (odd, but safe to read: nothing may be lost).
"""

from __future__ import annotations

import csv
import io
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyreadstat

REFUSED, QUARANTINED, ACCEPTED = "refused", "quarantined", "accepted"
BIG_BYTES = 1 << 30
_BOMB_BYTES = 300 << 20
_BLOCK = 1 << 20
Rows = list[list[str]]
Make = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Kind:
    """One kind of damage: to a file of which dataset, and what intake has to do with it.

    `file_name` is the file's name where it is not the dataset's own; `rule` the rule of rows in
    quarantine; `is_big` where making it takes a gigabyte.
    """

    kind: str
    dataset: str
    expected: str
    make: Make
    rule: str = ""
    ending: str = ""
    file_name: str = ""
    is_big: bool = False


KINDS: dict[str, Kind] = {}


def _kind(dataset: str, expected: str, **options: object) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        name = make.__name__.strip("_")
        KINDS[name] = Kind(name, dataset, expected, make, **options)  # type: ignore[arg-type]
        return make

    return register


def make_hostile(
    sources: Mapping[str, Path], out: Path, kinds: Sequence[str] = ()
) -> dict[str, Path]:
    """Write one file a kind, each in a folder of its own.

    Args:
        sources: dataset → a good delivery of it.
        out: folder; `out/<kind>/<file>` is written.
        kinds: those wanted; all but the big ones by default.

    Returns:
        Kind → file.
    """
    made = {}
    for name in kinds or [kind.kind for kind in KINDS.values() if not kind.is_big]:
        kind = KINDS[name]
        good = sources[kind.dataset]
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / (kind.file_name or f"{good.stem}.{kind.ending or good.suffix[1:]}")
        kind.make(good, file)
        made[name] = file
    return made


# --- text -------------------------------------------------------------------------------


def _table(good: Path) -> Rows:
    with good.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def _write(bad: Path, rows: Rows, delimiter: str = ",") -> None:
    with bad.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)


def _text(
    name: str, expected: str, change: Callable[[str], str | bytes], **options: object
) -> None:
    """A kind that changes the text of the sample file as a whole."""

    def make(good: Path, bad: Path) -> None:
        made = change(good.read_text(encoding="utf-8"))
        bad.write_bytes(made if isinstance(made, bytes) else made.encode())

    make.__name__ = name
    _kind(str(options.pop("dataset", "sample_file")), expected, **options)(make)


def _cells(
    name: str, change: Callable[[Rows], Rows], expected: str = QUARANTINED, **options: object
) -> None:
    """A kind that changes cells of a CSV, of the sample file if no other is named."""

    def make(good: Path, bad: Path) -> None:
        _write(bad, change(_table(good)))

    make.__name__ = name
    _kind(str(options.pop("dataset", "sample_file")), expected, **options)(make)


def _set(column: str, value: Callable[[str], str], rows_n: int = 1) -> Callable[[Rows], Rows]:
    """Change a column of the first rows."""

    def change(rows: Rows) -> Rows:
        at = rows[0].index(column)
        for row in rows[1 : 1 + rows_n]:
            row[at] = value(row[at])
        return rows

    return change


def _renamed(change: Callable[[str], str]) -> Callable[[Rows], Rows]:
    return lambda rows: [[change(name) for name in rows[0]], *rows[1:]]


def _with_column(name: str, value: str) -> Callable[[Rows], Rows]:
    return lambda rows: [[*rows[0], name], *([*row, value] for row in rows[1:])]


def _swap(first: str, second: str) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        a, b = rows[0].index(first), rows[0].index(second)
        for row in rows[1:]:
            row[a], row[b] = row[b], row[a]
        return rows

    return change


def _tail(text: str, surname: str) -> str:
    """One more line, like the last, with another surname."""
    rows = list(csv.reader(io.StringIO(text)))
    at = rows[0].index("surname")
    line = [*rows[-1]]
    line[at] = surname
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerow(line)
    return made.getvalue()


def _in_body(text: str, old: str, new: str) -> str:
    header, body = text.split("\n", 1)
    return header + "\n" + body.replace(old, new)


def _accented(text: str) -> str:
    rows = list(csv.reader(io.StringIO(text)))
    at = rows[0].index("surname")
    for row in rows[1:]:
        row[at] = "Nì Dhòmhnaill"
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()


def _taken_back_and_not(rows: Rows) -> Rows:
    """One opt-out twice: in one row it holds, in the other it was taken back."""
    names = ("survey_uid", "scope", "received_on", "requested_by", "taken_back_on")
    held = dict(zip(rows[0], rows[1], strict=True)) | {"requested_by": "parent"}
    lines = [[held.get(name, "") for name in names[:-1]] for _ in range(2)]
    return [list(names), [*lines[0], ""], [*lines[1], "2015-09-20"]]


def _child_of_nobody(rows: Rows) -> Rows:
    """A further child, with a UID that was issued to nobody and no SCN."""
    other = {"record_id": "extra-1", "survey_uid": "ZZ99999999", "scn": ""}
    return [*rows, [other.get(n, cell) for n, cell in zip(rows[0], rows[-1], strict=True)]]


_text("empty", REFUSED, lambda _: "")
_text("only_line_breaks", REFUSED, lambda _: "\n" * 10_000)
_text("header_alone", REFUSED, lambda text: text.split("\n", 1)[0] + "\n")
_text("no_header", REFUSED, lambda text: text.split("\n", 1)[1])
_text("cut_in_a_line", REFUSED, lambda text: text[: len(text) * 2 // 3].rstrip("\n"))
_text("last_line_without_end", REFUSED, lambda text: text.rstrip("\n"))
_text("pdf_named_csv", REFUSED, lambda text: b"%PDF-1.7\n" + text.encode())
_text("gzip_named_csv", REFUSED, lambda text: b"\x1f\x8b\x08\x00" + text.encode())
_text(
    "old_excel_named_csv", REFUSED, lambda text: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + text.encode()
)
_text("parquet_named_csv", REFUSED, lambda text: b"PAR1" + text.encode() + b"PAR1\n")
_text("nul_bytes", REFUSED, lambda text: text.replace("\n", "\0\n", 3))
_text(
    "control_characters", REFUSED, lambda text: text.replace("Forename", "Fore\x08name") + "\x1b\n"
)
_text(
    "mixed_encodings",
    REFUSED,
    lambda text: (
        text.encode() + _tail(text, "Mùirne").encode() + _tail(text, "Sìne").encode("cp1252")
    ),
)
_text(
    "bytes_of_no_encoding",
    REFUSED,
    lambda text: text.encode() + _tail(text, "x").encode().replace(b"x", b"\x81\x8d"),
)
_text("utf16_without_mark", REFUSED, lambda text: text.encode("utf-16-le"))
_text("utf32", REFUSED, lambda text: text.encode("utf-32"))
_text("open_quote", REFUSED, lambda text: text + '"' + _tail(text, "x"))
_text("footer_with_a_total", REFUSED, lambda text: text + "Total,6\n")
_text("ragged_lines", REFUSED, lambda text: text + _tail(text, "x").replace("\n", ",more\n"))
_text("html_page", REFUSED, lambda _: "<html><body>Service not available</body></html>\n")
_text("json_lines", REFUSED, lambda _: '{"survey_uid": "AA00000001"}\n' * 3)
_text(
    "header_twice",
    QUARANTINED,
    lambda text: text + text.split("\n", 1)[0] + "\n",
    rule="wrong_type",
)
_text("byte_order_mark", ACCEPTED, lambda text: b"\xef\xbb\xbf" + text.encode())
_text("windows_line_breaks", ACCEPTED, lambda text: text.replace("\n", "\r\n"))
_text("utf16_with_mark", ACCEPTED, lambda text: text.encode("utf-16"))
_text("windows_encoding", ACCEPTED, lambda text: _accented(text).encode("cp1252"))
_text("non_breaking_spaces", ACCEPTED, lambda text: _in_body(text, ",", "\xa0,"))


_cells("columns_in_another_order", lambda rows: [row[::-1] for row in rows], ACCEPTED)
_cells("duplicate_header", lambda rows: [[rows[0][0], *rows[0][:-1]], *rows[1:]], REFUSED)
_cells("duplicate_header_by_case", _with_column("SURNAME", "x"), REFUSED)
_cells("missing_column", lambda rows: [row[:-1] for row in rows], REFUSED)
_cells("unknown_column", _with_column("mothers_name", "x"), REFUSED)
_cells(
    "identifier_beside_payload", _with_column("surname", "x"), REFUSED, dataset="education_payload"
)
_cells(
    "ten_thousand_columns",
    lambda rows: [[f"c{n}" for n in range(10_000)], *(["x"] * 10_000 for _ in rows[1:])],
    REFUSED,
)
_cells(
    "header_in_another_language",
    _renamed(lambda name: {"surname": "Nachname"}.get(name, name)),
    REFUSED,
)
_cells("header_with_spaces", _renamed(lambda name: f" {name} "), REFUSED)
_cells("header_in_capitals", _renamed(str.upper), REFUSED)
_cells("formulas", _set("surname", lambda _: '=HYPERLINK("x")'), rule="formula")
_cells("formula_by_at", _set("surname", lambda _: "@SUM(A1)"), rule="formula")
_cells("swapped_columns", _swap("date_of_birth", "postcode"), rule="wrong_type")
_cells("dates_as_serials", _set("date_of_birth", lambda _: "38047"), rule="wrong_type")
_cells(
    "dates_day_first",
    _set("date_of_birth", lambda d: "/".join(d.split("-")[::-1])),
    rule="wrong_type",
)
_cells("impossible_date", _set("date_of_birth", lambda _: "2004-02-31"), rule="wrong_type")
_cells("leading_zero_lost", _set("seed_code", lambda code: code[1:]), rule="wrong_type")
_cells("number_in_scientific_form", _set("scn", lambda _: "1.23E+08"), rule="wrong_type")
_cells("lower_case_uid", _set("survey_uid", str.lower), rule="wrong_type")
_cells("blank_key", _set("survey_uid", lambda _: ""), rule="blank")
_cells("unknown_sex", _set("sex", lambda _: "U"), rule="wrong_type")
_cells("unknown_school", _set("seed_code", lambda _: "9999999"), rule="school_not_on_roll")
_cells("stage_outside_the_survey", _set("stage", lambda _: "S6"), rule="value_not_allowed")
_cells("stage_in_words", _set("stage", lambda _: "Primary 6"), rule="wrong_type")
_cells("cell_of_a_megabyte", _set("surname", lambda _: "x" * 1_000_000), rule="too_long")
_cells(
    "one_uid_two_children",
    lambda rows: [*rows, [*rows[1][:2], "Other", *rows[1][3:]]],
    rule="duplicate_uid",
)
_cells("row_twice", lambda rows: [*rows, rows[1]], rule="duplicate_uid")
_cells(
    "payload_of_nobody",
    _set("record_id", lambda _: "nobody"),
    dataset="education_payload",
    rule="identifiers_not_accepted",
)
_cells(
    "share_above_100",
    _set("attendance_pct", lambda _: "250"),
    dataset="education_payload",
    rule="out_of_range",
)
_cells(
    "number_with_comma",
    _set("attendance_pct", lambda _: "93,5"),
    dataset="education_payload",
    rule="wrong_type",
)
_cells(
    "not_a_number",
    _set("attendance_pct", lambda _: "NaN"),
    dataset="education_payload",
    rule="wrong_type",
)
_cells(
    "code_outside_the_list",
    _set("ethnic_background", lambda _: "77"),
    dataset="education_payload",
    rule="value_not_allowed",
)
_cells(
    "case_closed_before_it_opened",
    _set("closed_on", lambda _: "1999-01-01"),
    dataset="social_work_payload",
    rule="closed_before_opened",
)
_cells(
    "opt_out_that_cannot_be_read", _set("survey_uid", lambda _: "?"), REFUSED, dataset="opt_outs"
)
_cells("opt_out_that_says_two_things", _taken_back_and_not, REFUSED, dataset="opt_outs")
_cells("extra_children", _child_of_nobody, rule="uid_not_issued", dataset="education_ids")
_cells(
    "payload_beside_identifiers", _with_column("asn_types", "1"), REFUSED, dataset="education_ids"
)
_cells("opt_out_of_unknown_scope", _set("scope", lambda _: "some"), REFUSED, dataset="opt_outs")
_cells("ending_in_capitals", lambda rows: rows, REFUSED, ending="CSV")
_cells("name_of_no_dataset", lambda rows: rows, REFUSED, file_name="pupils final (2).csv")
_cells(
    "name_of_another_tranche",
    lambda rows: rows,
    REFUSED,
    file_name="t9-clackmannanshire_sample-file.csv",
)


def _delimited(kind: str, delimiter: str) -> None:
    def make(good: Path, bad: Path) -> None:
        _write(bad, _table(good), delimiter)

    make.__name__ = kind
    _kind("sample_file", ACCEPTED)(make)


_delimited("semicolons", ";")
_delimited("tabs", "\t")


@_kind("sample_file", REFUSED, is_big=True)
def _gigabyte_of_one_line(good: Path, bad: Path) -> None:
    with bad.open("wb") as stream:
        stream.write(good.read_bytes()[:1])
        for _ in range(BIG_BYTES // _BLOCK):
            stream.write(b"x" * _BLOCK)
        stream.write(b"\n")


@_kind("sample_file", REFUSED, is_big=True)
def _gigabyte_in_the_second_line(good: Path, bad: Path) -> None:
    with bad.open("wb") as stream:
        stream.write(good.read_bytes().split(b"\n", 1)[0] + b"\n")
        for _ in range(BIG_BYTES // _BLOCK):
            stream.write(b"x" * _BLOCK)
        stream.write(b"\n")


# --- workbooks --------------------------------------------------------------------------


def _book(
    name: str, expected: str, change: Callable[[openpyxl.Workbook], None], **options: object
) -> None:
    def make(good: Path, bad: Path) -> None:
        book = openpyxl.load_workbook(good)
        change(book)
        book.save(bad)

    make.__name__ = name
    _kind("service_map", expected, **options)(make)


def _cell(column: str, value: object) -> Callable[[openpyxl.Workbook], None]:
    def change(book: openpyxl.Workbook) -> None:
        page = book.worksheets[0]
        at = next(cell.column for cell in page[1] if cell.value == column)
        page.cell(2, at).value = value  # type: ignore[assignment]

    return change


def _error_cell(book: openpyxl.Workbook) -> None:
    page = book.worksheets[0]
    page.cell(2, 8).value = "#REF!"
    page.cell(2, 8).data_type = "e"


def _rename_sheet(book: openpyxl.Workbook) -> None:
    book.worksheets[0].title = "Tabelle1"


def _blank_row(book: openpyxl.Workbook) -> None:
    book.worksheets[0].cell(book.worksheets[0].max_row + 3, 1).value = " "


_book("workbook_with_a_formula", REFUSED, _cell("annual_cost_gbp", "=1+1"))
_book("workbook_with_an_error", REFUSED, _error_cell)
_book("workbook_with_another_sheet", REFUSED, _rename_sheet)
_book("workbook_with_blank_rows", QUARANTINED, _blank_row, rule="blank")
_book(
    "workbook_with_percent_signs",
    QUARANTINED,
    _cell("tier_universal_pct", "50%"),
    rule="wrong_type",
)
_book(
    "workbook_with_a_negative_cost", QUARANTINED, _cell("annual_cost_gbp", -5), rule="out_of_range"
)
_book(
    "workbook_with_a_date_as_a_number",
    QUARANTINED,
    _cell("children_served", "2015-08-01"),
    rule="wrong_type",
)
_book(
    "workbook_with_tiers_of_90", QUARANTINED, _cell("tier_universal_pct", 40), rule="tiers_off_100"
)
_book(
    "workbook_with_a_formula_as_text", QUARANTINED, _cell("provider_name", "@cmd"), rule="formula"
)


def _bytes(name: str, dataset: str, change: Callable[[bytes], bytes], **options: object) -> None:
    """A kind that changes the bytes of a file and is refused."""

    def make(good: Path, bad: Path) -> None:
        bad.write_bytes(change(good.read_bytes()))

    make.__name__ = name
    _kind(dataset, REFUSED, **options)(make)


_bytes("workbook_cut", "service_map", lambda b: b[: len(b) // 2])
_bytes("workbook_that_is_text", "service_map", lambda _: b"service_id,provider_name\n1,2\n")
_bytes(
    "workbook_with_a_password",
    "service_map",
    lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512,
)


def _repacked(good: Path, bad: Path, added: Mapping[str, bytes], changed: str = "") -> None:
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            content = source.read(member)
            target.writestr(
                member.filename, content[:-200] if member.filename == changed else content
            )
        for name, content in added.items():
            target.writestr(name, content)


@_kind("service_map", REFUSED)
def _workbook_with_macros(good: Path, bad: Path) -> None:
    _repacked(good, bad, {"xl/vbaProject.bin": b"macro"})


@_kind("service_map", REFUSED)
def _workbook_with_a_broken_sheet(good: Path, bad: Path) -> None:
    _repacked(good, bad, {}, changed="xl/worksheets/sheet1.xml")


@_kind("service_map", REFUSED)
def _workbook_bomb(good: Path, bad: Path) -> None:
    _repacked(good, bad, {"xl/media/x.bin": b"\0" * _BOMB_BYTES})


# --- archives ---------------------------------------------------------------------------


def _archive(name: str, members: Sequence[str], **options: object) -> None:
    """An archive of the sample file under other names."""

    def make(good: Path, bad: Path) -> None:
        with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as target:
            for member in members:
                target.writestr(member.replace("*", good.name), good.read_bytes())

    make.__name__ = name
    _kind("sample_file", str(options.pop("expected", REFUSED)), ending="zip", **options)(make)


_archive("archive", ["*"], expected=ACCEPTED)
_archive("archive_without_files", [])
_archive("archive_with_path_traversal", ["../../*"])
_archive("archive_with_absolute_path", ["/*"])
_archive("archive_with_windows_path", ["..\\*"])
_archive("archive_with_folder", ["files/*"])
_archive("archive_with_hidden_file", ["*", ".DS_Store"])
_archive("archive_in_archive", ["*", "more.zip"])
_archive("archive_of_too_many_files", [f"{n}-*" for n in range(100)])
_archive("archive_with_one_name_twice_by_case", ["A.csv", "a.csv"])
_archive("archive_of_an_unknown_file", ["photo.csv"])


@_kind("sample_file", REFUSED, ending="zip")
def _archive_bomb(good: Path, bad: Path) -> None:
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(good.name, b"\0" * _BOMB_BYTES)


@_kind("sample_file", REFUSED, ending="zip")
def _archive_with_a_link(good: Path, bad: Path) -> None:
    with zipfile.ZipFile(bad, "w") as target:
        entry = zipfile.ZipInfo(good.name)
        entry.external_attr = 0o120777 << 16
        target.writestr(entry, "/etc/passwd")


@_kind("sample_file", REFUSED, ending="zip")
def _archive_with_a_password(good: Path, bad: Path) -> None:
    with zipfile.ZipFile(bad, "w") as target:
        target.writestr(good.name, good.read_bytes())
    content = bytearray(bad.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    bad.write_bytes(bytes(content))


@_kind("sample_file", REFUSED, ending="zip")
def _archive_cut(good: Path, bad: Path) -> None:
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(good.name, good.read_bytes())
    bad.write_bytes(bad.read_bytes()[:-30])


@_kind("sample_file", REFUSED, ending="zip")
def _archive_with_a_wrong_checksum(good: Path, bad: Path) -> None:
    with zipfile.ZipFile(bad, "w") as target:
        target.writestr(good.name, good.read_bytes())
    content = bad.read_bytes()
    bad.write_bytes(content.replace(b"survey_uid", b"survey_uix", 1))


# --- SPSS -------------------------------------------------------------------------------


def _survey(
    name: str, expected: str, change: Callable[[pd.DataFrame], pd.DataFrame], **options: object
) -> None:
    """A kind that changes the records of the primary survey; labels stay."""

    def make(good: Path, bad: Path) -> None:
        frame, meta = pyreadstat.read_sav(
            str(good), user_missing=True, disable_datetime_conversion=True
        )
        pyreadstat.write_sav(
            change(frame), str(bad), variable_value_labels=dict(meta.variable_value_labels)
        )

    make.__name__ = name
    _kind("primary_survey", expected, **options)(make)


# Technical columns of the survey come first, then the answers.
_UID, _WAVE, _FIRST_ANSWER = 0, 2, 4


def _put(position: int, value: object, rows_n: int = 1) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        column = frame.columns[position]
        values = [value] * rows_n + frame[column].tolist()[rows_n:]
        return frame.assign(**{column: pd.Series(values, dtype=frame[column].dtype)})

    return change


def _labelled(name: str, change: Callable[[dict[float, str]], dict[float, str]]) -> None:
    """A kind that labels the first question otherwise."""

    def make(good: Path, bad: Path) -> None:
        frame, meta = pyreadstat.read_sav(
            str(good), user_missing=True, disable_datetime_conversion=True
        )
        column = frame.columns[_FIRST_ANSWER]
        labels = dict(meta.variable_value_labels)
        labels[column] = change(dict(labels.get(column) or _AGREE))
        pyreadstat.write_sav(frame, str(bad), variable_value_labels=labels)

    make.__name__ = name
    _kind("primary_survey", REFUSED)(make)


_AGREE = {1.0: "Strongly disagree", 2.0: "Disagree", 4.0: "Agree", 5.0: "Strongly agree"}


def _turned(labels: dict[float, str]) -> dict[float, str]:
    answers = sorted(code for code in labels if 0 < code < 6)
    return dict(zip(answers, [labels[code] for code in reversed(answers)], strict=True))


_labelled("labels_turned_round", _turned)
_labelled("labels_in_another_language", lambda labels: dict.fromkeys(labels, "Stimme zu"))
_survey("survey_without_a_column", REFUSED, lambda frame: frame.iloc[:, :-1])
_survey("survey_with_a_name_column", REFUSED, lambda frame: frame.assign(child_name="x"))
_survey("survey_of_another_tranche", REFUSED, _put(_WAVE, 9.0))
_survey(
    "survey_with_text_for_codes",
    REFUSED,
    lambda frame: frame.assign(**{frame.columns[_FIRST_ANSWER]: "Agree"}),
)
_survey(
    "survey_with_a_code_of_no_version",
    QUARANTINED,
    _put(_FIRST_ANSWER, 77.0),
    rule="value_outside_codebook",
)
_survey(
    "survey_with_half_a_code", QUARANTINED, _put(_FIRST_ANSWER, 1.5), rule="value_outside_codebook"
)
_survey(
    "survey_with_a_huge_code",
    QUARANTINED,
    _put(_FIRST_ANSWER, 1e300),
    rule="value_outside_codebook",
)
_survey("survey_with_a_foreign_uid", QUARANTINED, _put(_UID, "x' or 1=1 --"), rule="wrong_type")
_survey("survey_without_a_uid", QUARANTINED, _put(_UID, ""), rule="wrong_type")
_survey(
    "survey_with_one_pupil_twice",
    QUARANTINED,
    lambda frame: pd.concat([frame, frame.iloc[:1]], ignore_index=True),
    rule="duplicate_uid",
)
_survey(
    "survey_without_an_answer",
    QUARANTINED,
    lambda frame: frame.assign(
        **{c: [np.nan, *frame[c][1:]] for c in frame.columns[_FIRST_ANSWER:]}
    ),
    rule="no_answers",
)
_survey("survey_without_records", REFUSED, lambda frame: frame.iloc[:0])
_bytes("survey_cut", "primary_survey", lambda b: b[: len(b) - len(b) // 4])
_bytes("survey_cut_in_the_header", "primary_survey", lambda b: b[:300])
_bytes("survey_that_is_text", "primary_survey", lambda _: b"uid,q1\n1,2\n")
_bytes("compressed_survey_under_another_name", "primary_survey", lambda b: b"$FL3" + b[4:])
_bytes(
    "survey_that_claims_two_thousand_million_records",
    "primary_survey",
    lambda b: b[:80] + struct.pack("<i", 2_000_000_000) + b[84:],
)
_bytes(
    "survey_of_unknown_length", "primary_survey", lambda b: b[:80] + struct.pack("<i", -1) + b[84:]
)
_bytes("survey_with_a_byte_lost", "primary_survey", lambda b: b[:1_000] + b[1_001:])


@_kind("primary_survey", ACCEPTED, ending="zsav")
def _compressed_survey(good: Path, bad: Path) -> None:
    frame, _ = pyreadstat.read_sav(str(good), user_missing=True, disable_datetime_conversion=True)
    pyreadstat.write_sav(frame, str(bad), compress=True)


@_kind("primary_survey", REFUSED, ending="zsav")
def _plain_survey_named_compressed(good: Path, bad: Path) -> None:
    shutil.copyfile(good, bad)
