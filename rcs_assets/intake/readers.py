"""Reads delivered files into a scratch table, strictly and without judging values.

Belongs here: CSV, SPSS (.sav, .zsav) and Excel (.xlsx) to a DuckDB table `delivered` with
`row_number` (1 = first record) and the file's own columns; refusing files that are
empty, truncated, too large or not what their name says. Does not belong here: archives
(`archives.py`), what columns and values mean (`contracts.py`, `survey.py`).

Every failure is an InputError that names file, rule and fix, and never a value. Nothing is
read whole into memory before its size is known.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import fastexcel
import numpy as np
import pyarrow as pa
import pyreadstat

from rcs_assets.codebook import Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake.encodings import (
    not_encoded,
    read_first_line,
    refuse_no_text,
    text_of,
)
from rcs_assets.storage import sql_literal

MAX_FILE_BYTES = 2 << 30
# A workbook is a zip: a small file can unpack to any size.
MAX_WORKBOOK_BYTES = 256 << 20
# Rows × bytes a row, as a .sav unpacks in memory; a national wave of 200 questions is 0.65 GB.
MAX_SAV_BYTES = 1 << 30
# Python holds 5 times the bytes of a row while pyreadstat reads it.
SAV_ROWS_AT_ONCE = 50_000
_SAV_MAGICS = {"sav": (b"$FL2",), "zsav": (b"$FL3",)}
_NO_TEXT_MAGICS = (b"PK\x03\x04", b"$FL", b"\xd0\xcf\x11\xe0", b"%PDF", b"\x1f\x8b", b"PAR1")
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")
_ERROR_CELL = re.compile(rb"\bt=[\"']e[\"']")
_OVERLAP = 64
_CHUNK_BYTES = 1 << 20
_BAD_LINES_SHOWN = 5
# Names of the columns of `delivered`, from those of a header and the file's name.
_Naming = Callable[[Sequence[str], str], Sequence[str]]


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def ending_of(path: Path) -> str:
    """The format that a file's name promises."""
    return path.suffix.lstrip(".").lower()


def is_sav(path: Path) -> bool:
    """Whether it is an SPSS file, by its name."""
    return ending_of(path) in _SAV_MAGICS


def probe(path: Path, dataset: Dataset) -> None:
    """Refuse a file that cannot be complete or is not what its name says.

    Raises:
        InputError: no file, empty, too large, truncated, or not the format of its name.
    """
    _require_file(path)
    size = path.stat().st_size
    if size == 0:
        raise InputError(
            "The file is empty",
            where=f"file {path.name}",
            why="a delivery has at least a header",
            fix="ask the supplier to send it again",
        )
    if size > MAX_FILE_BYTES:
        raise InputError(
            "The file is too large",
            where=f"file {path.name}",
            why=f"the limit is {MAX_FILE_BYTES >> 30} GiB",
            fix="check that it is the right file",
        )
    if is_sav(path):
        _probe_sav(path)
    elif ending_of(path) == "xlsx":
        _probe_xlsx(path)
    else:
        _probe_csv(path, dataset)


def read_header(path: Path, dataset: Dataset) -> tuple[str, ...]:
    """The column names of a file in file order.

    Raises:
        InputError: no file, or the header cannot be read.
    """
    _require_file(path)
    if is_sav(path):
        # A damaged name comes as None.
        return tuple(name or "" for name in _sav_metadata(path).column_names)
    if ending_of(path) == "xlsx":
        return _sheet_header(_sheet(path, dataset))
    with text_of(path, dataset) as text:
        return _csv_header(text, path.name, dataset)


def read_text(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> None:
    """Create table `delivered` from a CSV or Excel file, every column as text.

    Args:
        con: a scratch connection.
        path: the file.
        dataset: its encoding and delimiter.

    Raises:
        InputError: no file, a column without a name or one that stands twice, a line with another
            number of columns, bytes outside the encoding.
    """
    _read_cells(con, path, dataset, _own_names)


def _read_cells(
    con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, naming: _Naming
) -> None:
    _require_file(path)
    if ending_of(path) == "xlsx":
        _read_xlsx(con, path, dataset, naming)
    else:
        with text_of(path, dataset) as text:
            _read_csv(con, text, path.name, dataset, naming)


def _own_names(header: Sequence[str], file: str) -> Sequence[str]:
    """The header's own names; SQL tells no capitals from small letters."""
    counted = Counter(name.lower() for name in header)
    bad = [n for n, name in enumerate(header, 1) if not name or counted[name.lower()] > 1]
    if bad:
        raise InputError(
            "Columns have no name, or one that stands twice",
            where=f"file {file}, header, column {', '.join(map(str, bad[:_BAD_LINES_SHOWN]))}"
            + (", …" if len(bad) > _BAD_LINES_SHOWN else ""),
            why="each column has a name of its own, whatever its capitals",
            fix="ask the supplier to write the file again with one name a column",
        )
    return header


def _by_position(header: Sequence[str], _file: str) -> Sequence[str]:
    return [f"column_{n}" for n in range(1, len(header) + 1)]


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            "There is no such file",
            where=f"file {path.name}",
            why="it does not exist, or is a folder",
            fix="check the path",
        )


def read_sav(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str]) -> None:
    """Register `delivered` from some columns of an SPSS file.

    Numbers stay numbers (user-missing codes kept as codes, system-missing null, a column of whole
    numbers below 32,768 as small integers),
    dates stay SPSS seconds since 1582-10-14, text is text.

    Raises:
        InputError: damaged or truncated.
    """
    rows_n = int(_sav_metadata(path).number_rows or 0)
    parts = [_sav_part(path, columns, start) for start in range(0, rows_n, SAV_ROWS_AT_ONCE)]
    read_n = sum(part.num_rows for part in parts)
    if read_n != rows_n:
        raise _damaged_sav(path, "rows are missing")
    # A column without any value has no type of its own in its part.
    table = pa.concat_tables(parts, promote_options="permissive") if parts else _no_rows(columns)
    numbers = pa.array(range(1, rows_n + 1), pa.int64())
    # Kept in Arrow: copying all columns into DuckDB costs more than every rule together.
    con.register("delivered", table.add_column(0, "row_number", numbers))


def _no_rows(columns: Sequence[str]) -> pa.Table:
    return pa.table({name: pa.array([], pa.float64()) for name in columns})


def _sav_part(path: Path, columns: Sequence[str], start: int) -> pa.Table:
    try:
        frame, _ = pyreadstat.read_sav(
            str(path),
            user_missing=True,
            disable_datetime_conversion=True,
            usecols=list(columns),
            row_offset=start,
            row_limit=SAV_ROWS_AT_ONCE,
        )
        # Numbers come as NumPy arrays, which Arrow takes over; as lists they cost three times this.
        return pa.table({name: _arrow(frame[name].to_numpy()) for name in columns})
    except Exception as error:  # noqa: BLE001 - pyreadstat raises its own and built-in kinds
        raise _damaged_sav(path, type(error).__name__) from None


def sav_labels(path: Path) -> Mapping[str, Mapping[float, str]]:
    """Value labels of a survey file: supplier's name → code → label."""
    labels: Mapping[str, Mapping[float, str]] = _sav_metadata(path).variable_value_labels
    return labels


def count_records(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> int:
    """The records of a file that intake refused, as far as they can be read; else 0.

    By position: a header whose names no table can have is one of the reasons to refuse a file.

    Args:
        con: an empty scratch connection.
        path: the file.
        dataset: its encoding, delimiter and sheet.
    """
    try:
        if is_sav(path):
            return max(0, int(_sav_metadata(path).number_rows or 0))
        _read_cells(con, path, dataset, _by_position)
        return int(con.execute("select count(*) from delivered").fetchall()[0][0])
    except InputError:
        return 0


def _arrow(values: np.ndarray) -> pa.Array:
    """A column as it is; codes, which SPSS holds as doubles, as small integers where none is lost.

    Rules and recoding over two bytes a code cost less than half of those over eight.
    """
    if values.dtype == np.float64:
        return _small(values)
    array = pa.array(values, from_pandas=True)
    return array.cast(pa.float64()) if pa.types.is_null(array.type) else array


def _small(values: np.ndarray) -> pa.Array:
    missing = np.isnan(values)
    filled = np.where(missing, 0.0, values)
    limits = np.iinfo(np.int16)
    if filled.min(initial=0) >= limits.min and filled.max(initial=0) <= limits.max:
        whole = filled.astype(np.int16)
        if np.array_equal(whole, filled):
            return pa.array(whole, mask=missing)
    return pa.array(values, from_pandas=True)


def _probe_csv(path: Path, dataset: Dataset) -> None:
    with path.open("rb") as stream:
        head = stream.read(8)
        stream.seek(-min(4, path.stat().st_size), io.SEEK_END)
        tail = stream.read()
    if head.startswith(_NO_TEXT_MAGICS):
        raise _not_this_format(path, "text")
    refuse_no_text(path, dataset)
    # A line break in UTF-16 has a zero byte before or after it.
    if not tail.rstrip(b"\0").endswith((b"\n", b"\r")):
        raise InputError(
            "The file is truncated",
            where=f"file {path.name}, last line",
            why="the last line has no line break",
            fix="ask the supplier to send it again",
        )


def _probe_sav(path: Path) -> None:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic not in _SAV_MAGICS[ending_of(path)]:
        raise _not_this_format(path, "the SPSS file of that kind")
    metadata = _sav_metadata(path)
    rows_n = metadata.number_rows
    if rows_n is None or rows_n < 0:
        raise InputError(
            "The SPSS file does not say how many records it holds",
            where=f"file {path.name}",
            why="without that number a cut file cannot be told from a whole one",
            fix="ask the supplier to save it again with SPSS",
        )
    width = sum(max(int(n), 8) for n in metadata.variable_storage_width.values())
    if rows_n * width > MAX_SAV_BYTES:
        raise InputError(
            "The SPSS file is too large",
            where=f"file {path.name}",
            why=f"it unpacks to more than {MAX_SAV_BYTES >> 20} MiB",
            fix="check that it is the right file; text columns are as wide as their content",
        )


def _sav_metadata(path: Path) -> pyreadstat.metadata_container:
    try:
        _, metadata = pyreadstat.read_sav(str(path), metadataonly=True, output_format="dict")
    except Exception as error:  # noqa: BLE001 - pyreadstat raises its own and built-in kinds
        raise _damaged_sav(path, type(error).__name__) from None
    return metadata


def _damaged_sav(path: Path, kind: str) -> InputError:
    return InputError(
        "The SPSS file is truncated or damaged",
        where=f"file {path.name}",
        why=f"it ends before its last record, or its structure is broken ({kind})",
        fix="ask the supplier to send it again",
    )


def _probe_xlsx(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > MAX_WORKBOOK_BYTES:
                raise _bad_workbook(
                    path, f"a workbook unpacks to at most {MAX_WORKBOOK_BYTES >> 20} MiB"
                )
            broken = archive.testzip()
            problem = "a part of it is damaged" if broken else _workbook_problem(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
        raise _bad_workbook(path, "it is truncated or damaged, or locked with a password") from None
    if problem:
        raise _bad_workbook(path, problem)


def _workbook_problem(archive: zipfile.ZipFile) -> str:
    """What a workbook holds that could be read as something else than it shows."""
    names = archive.namelist()
    if "xl/workbook.xml" not in names:
        return "it is no Excel workbook"
    if any(name.endswith("vbaProject.bin") for name in names):
        return "it holds macros"
    for name in names:
        if name.startswith("xl/worksheets/") and name.endswith(".xml"):
            if _holds(archive, name, _FORMULA):
                return "a cell holds a formula; a delivery holds values only"
            if _holds(archive, name, _ERROR_CELL):
                return "a cell shows an error such as #REF!"
    return ""


def _holds(archive: zipfile.ZipFile, name: str, pattern: re.Pattern[bytes]) -> bool:
    with archive.open(name) as part:
        before = b""
        while chunk := part.read(_CHUNK_BYTES):
            if pattern.search(before + chunk):
                return True
            before = chunk[-_OVERLAP:]
    return False


def _bad_workbook(path: Path, why: str) -> InputError:
    return InputError(
        "The Excel file cannot be taken",
        where=f"file {path.name}",
        why=why,
        fix="ask the supplier for a plain .xlsx workbook of values (copy, paste as values)",
    )


def _not_this_format(path: Path, expected: str) -> InputError:
    return InputError(
        "The content does not fit the file's ending",
        where=f"file {path.name}",
        why=f"{path.suffix} has to be {expected}",
        fix="ask the supplier for the format that the dataset's contract names",
    )


def _csv_header(text: Path, name: str, dataset: Dataset) -> tuple[str, ...]:
    line = read_first_line(text, name)
    try:
        return tuple(next(csv.reader([line], delimiter=_delimiter(line, dataset)), ()))
    except csv.Error:
        raise not_encoded(name, dataset, "header") from None


def _delimiter(line: str, dataset: Dataset) -> str:
    """The contract's delimiter, or the one under which the header has the contract's columns."""
    wanted = {field.column for field in dataset.fields if not field.may_be_absent}
    for delimiter in (dataset.delimiter, ",", ";", "\t", "|"):
        if wanted <= set(next(csv.reader([line], delimiter=delimiter), ())):
            return delimiter
    return dataset.delimiter


def _read_csv(
    con: duckdb.DuckDBPyConnection, text: Path, file: str, dataset: Dataset, naming: _Naming
) -> None:
    header = naming(_csv_header(text, file, dataset), file)
    delimiter = _delimiter(read_first_line(text, file), dataset)
    names = ", ".join(f"{sql_literal(name)}: 'VARCHAR'" for name in header)
    # store_rejects collects broken lines instead of raising an error that quotes them.
    query = (
        "create table delivered as select row_number() over () as row_number, * "
        f"from read_csv({sql_literal(text)}, auto_detect = false, header = true, "
        f"columns = {{{names}}}, delim = {sql_literal(delimiter)}, quote = '\"', "
        "escape = '\"', encoding = 'utf-8', "
        "strict_mode = true, store_rejects = true, rejects_limit = 0)"
    )
    try:
        con.execute(query)
    except duckdb.Error as error:
        raise InputError(
            "The file cannot be read as CSV",
            where=f"file {file}",
            why=f"quotes or line breaks are broken ({type(error).__name__})",
            fix="ask the supplier to write the file again",
        ) from None
    broken = con.execute(
        "select line, max(error_type) from reject_errors group by line order by line"
    ).fetchall()
    if not broken:
        return
    lines = ", ".join(str(line) for line, _ in broken[:_BAD_LINES_SHOWN])
    where = f"line {lines}" + (", …" if len(broken) > _BAD_LINES_SHOWN else "")
    if any("UNICODE" in str(kind) or "ENCODING" in str(kind) for _, kind in broken):
        raise not_encoded(file, dataset, where)
    raise InputError(
        f"{len(broken)} lines do not have the columns of the header",
        where=f"file {file}, {where}",
        why="every line has as many cells as the header; cells with a delimiter are quoted",
        fix="ask the supplier to write the file again with quotes",
    )


def _sheet(path: Path, dataset: Dataset) -> pa.Table:
    """The contract's sheet as text, header included, columns named by position.

    A contract that names no sheet means the only one.
    """
    try:
        book = fastexcel.read_excel(str(path))
        if not dataset.sheet and len(book.sheet_names) != 1:
            raise _bad_workbook(path, "it has several sheets, and the contract names none of them")
        sheet = book.load_sheet(dataset.sheet or 0, header_row=None, dtypes="string")
        table = pa.Table.from_batches([sheet.to_arrow()])
    except fastexcel.FastExcelError as error:
        raise InputError(
            "The Excel file cannot be read",
            where=f"file {path.name}, sheet {dataset.sheet or 1}",
            why=f"it is no plain workbook with such a sheet ({type(error).__name__})",
            fix=f"ask the supplier for a plain .xlsx workbook with a sheet {dataset.sheet or 1}",
        ) from None
    if table.num_rows == 0:
        raise InputError(
            "The file is empty",
            where=f"file {path.name}, sheet {dataset.sheet or 1}",
            why="a delivery has at least a header",
            fix="ask the supplier to send it again",
        )
    return table


def _sheet_header(sheet: pa.Table) -> tuple[str, ...]:
    return tuple(str(name or "") for name in sheet.slice(0, 1).to_pylist()[0].values())


def _read_xlsx(
    con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset, naming: _Naming
) -> None:
    sheet = _sheet(path, dataset)
    header = list(naming(_sheet_header(sheet), path.name))
    # A day is stored as a number with a format; read as text it has a time of midnight.
    days = {field.column for field in dataset.fields if field.kind == "date"}
    cells = ", ".join(
        f"regexp_replace({quoted(name)}, ' 00:00:00$', '') as {quoted(name)}"
        if name in days
        else quoted(name)
        for name in header
    )
    con.register("xlsx_file", sheet.slice(1).rename_columns(header))
    con.execute(
        f"create table delivered as select row_number() over () as row_number, {cells} "
        "from xlsx_file"
    )
    con.unregister("xlsx_file")
