"""Reads delivered files into a scratch table, strictly and without judging values.

Belongs here: CSV, SPSS (.sav) and Excel (.xlsx) to a DuckDB table `delivered` with
`row_number` (1 = first record) and the file's own columns; refusing files that are
empty, truncated, too large or not what their name says. Does not belong here: what
columns and values mean (`contracts.py`, `survey.py`).

Every failure is an InputError that names file, rule and fix, and never a value.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import fastexcel
import pyarrow as pa
import pyreadstat

from rcs_assets.codebook import Dataset
from rcs_assets.errors import InputError
from rcs_assets.storage import sql_literal

MAX_FILE_BYTES = 2 << 30
# A workbook is a zip: a small file can unpack to any size.
MAX_WORKBOOK_BYTES = 256 << 20
_SAV_MAGICS = (b"$FL2", b"$FL3")
_BAD_LINES_SHOWN = 5


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def probe(path: Path, dataset: Dataset) -> None:
    """Refuse a file that cannot be complete, by a look at its two ends.

    Raises:
        InputError: empty, too large, truncated, or not the format of its name.
    """
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
    ending = path.suffix.lstrip(".").lower()
    if ending == "sav":
        _probe_sav(path)
    elif ending == "xlsx":
        _probe_xlsx(path)
    else:
        _probe_csv(path, dataset)


def read_header(path: Path, dataset: Dataset) -> tuple[str, ...]:
    """The column names of a file in file order.

    Raises:
        InputError: the header cannot be read.
    """
    if path.suffix == ".sav":
        return tuple(_sav_metadata(path).column_names)
    if path.suffix == ".xlsx":
        return tuple(
            str(name or "") for name in _sheet(path, dataset).slice(0, 1).to_pylist()[0].values()
        )
    return _csv_header(path, dataset)


def read_text(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> None:
    """Create table `delivered` from a CSV or Excel file, every column as text.

    Args:
        con: a scratch connection.
        path: the file.
        dataset: its encoding and delimiter.

    Raises:
        InputError: a line with another number of columns, bytes outside the encoding.
    """
    if path.suffix == ".xlsx":
        _read_xlsx(con, path, dataset)
    else:
        _read_csv(con, path, dataset)


def read_sav(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str]) -> None:
    """Register `delivered` from some columns of an SPSS file.

    Numbers stay numbers (user-missing codes kept as codes, system-missing null),
    dates stay SPSS seconds since 1582-10-14, text is text.

    Raises:
        InputError: damaged or truncated.
    """
    try:
        frame, _ = pyreadstat.read_sav(
            str(path),
            user_missing=True,
            disable_datetime_conversion=True,
            output_format="dict",
            usecols=list(columns),
        )
    except Exception as error:  # noqa: BLE001 - pyreadstat raises its own and built-in kinds
        raise _damaged_sav(path, error) from None
    cells = {name: _arrow(frame[name]) for name in columns}
    rows_n = len(next(iter(cells.values()), ()))
    # Kept in Arrow: copying all columns into DuckDB costs more than every rule together.
    con.register("delivered", pa.table({"row_number": pa.array(range(1, rows_n + 1)), **cells}))


def count_records(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> int:
    """The records of a file that intake refused, as far as they can be read; else 0.

    Args:
        con: an empty scratch connection.
        path: the file.
        dataset: its encoding, delimiter and sheet.
    """
    try:
        if path.suffix == ".sav":
            return max(0, int(_sav_metadata(path).number_rows or 0))
        read_text(con, path, dataset)
        return int(con.execute("select count(*) from delivered").fetchall()[0][0])
    except InputError:
        return 0


def _arrow(values: object) -> pa.Array:
    array = pa.array(values, from_pandas=True)
    return array.cast(pa.float64()) if pa.types.is_null(array.type) else array


def _probe_csv(path: Path, dataset: Dataset) -> None:
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(-min(4, path.stat().st_size), io.SEEK_END)
        tail = stream.read()
    if head.startswith((b"PK\x03\x04", b"$FL")):
        raise _not_this_format(path, "text")
    if not tail.decode(dataset.encoding, errors="ignore").endswith(("\n", "\r")):
        raise InputError(
            "The file is truncated",
            where=f"file {path.name}, last line",
            why="the last line has no line break",
            fix="ask the supplier to send it again",
        )


def _probe_sav(path: Path) -> None:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic not in _SAV_MAGICS:
        raise _not_this_format(path, "an SPSS file")
    _sav_metadata(path)


def _sav_metadata(path: Path) -> pyreadstat.metadata_container:
    try:
        _, metadata = pyreadstat.read_sav(str(path), metadataonly=True, output_format="dict")
    except Exception as error:  # noqa: BLE001 - pyreadstat raises its own and built-in kinds
        raise _damaged_sav(path, error) from None
    return metadata


def _damaged_sav(path: Path, error: Exception) -> InputError:
    return InputError(
        "The SPSS file is truncated or damaged",
        where=f"file {path.name}",
        why=f"it ends before its last record, or its structure is broken ({type(error).__name__})",
        fix="ask the supplier to send it again",
    )


def _probe_xlsx(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            broken = None if unpacked > MAX_WORKBOOK_BYTES else archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError):
        raise InputError(
            "The Excel file is truncated or damaged",
            where=f"file {path.name}",
            why="it is no complete .xlsx archive",
            fix="ask the supplier to send it again",
        ) from None
    if unpacked > MAX_WORKBOOK_BYTES or broken is not None:
        raise InputError(
            "The Excel file is damaged or too large",
            where=f"file {path.name}",
            why=f"a workbook unpacks to at most {MAX_WORKBOOK_BYTES >> 20} MiB",
            fix="ask the supplier to send it again",
        )


def _not_this_format(path: Path, expected: str) -> InputError:
    return InputError(
        "The content does not fit the file's ending",
        where=f"file {path.name}",
        why=f"{path.suffix} has to be {expected}",
        fix="ask the supplier for the format that the dataset's contract names",
    )


def _csv_header(path: Path, dataset: Dataset) -> tuple[str, ...]:
    try:
        with path.open(encoding=_python_encoding(dataset), newline="") as stream:
            return tuple(next(csv.reader(stream, delimiter=dataset.delimiter), ()))
    except (UnicodeError, csv.Error):
        raise _not_encoded(path, dataset, "header") from None


def _python_encoding(dataset: Dataset) -> str:
    # utf-8-sig reads files with and without a byte order mark.
    return "utf-8-sig" if dataset.encoding.lower() in ("utf-8", "utf8") else dataset.encoding


def _not_encoded(path: Path, dataset: Dataset, where: str) -> InputError:
    return InputError(
        "The file is not in its declared encoding",
        where=f"file {path.name}, {where}",
        why=f"the contract says {dataset.encoding}",
        fix=f"save the file as {dataset.encoding} and deliver it again",
    )


def _read_csv(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> None:
    names = ", ".join(f"{sql_literal(name)}: 'VARCHAR'" for name in _csv_header(path, dataset))
    # store_rejects collects broken lines instead of raising an error that quotes them.
    query = (
        "create table delivered as select row_number() over () as row_number, * "
        f"from read_csv({sql_literal(path)}, auto_detect = false, header = true, "
        f"columns = {{{names}}}, delim = {sql_literal(dataset.delimiter)}, quote = '\"', "
        f"escape = '\"', encoding = {sql_literal(dataset.encoding.lower())}, "
        "strict_mode = true, store_rejects = true, rejects_limit = 0)"
    )
    try:
        con.execute(query)
    except duckdb.Error as error:
        raise InputError(
            "The file cannot be read as CSV",
            where=f"file {path.name}",
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
        raise _not_encoded(path, dataset, where)
    raise InputError(
        f"{len(broken)} lines do not have the columns of the header",
        where=f"file {path.name}, {where}",
        why="every line has as many cells as the header; cells with a delimiter are quoted",
        fix="ask the supplier to write the file again with quotes",
    )


def _sheet(path: Path, dataset: Dataset) -> pa.Table:
    """The contract's sheet as text, header included, columns named by position."""
    try:
        book = fastexcel.read_excel(str(path))
        sheet = book.load_sheet(dataset.sheet, header_row=None, dtypes="string")
        table = pa.Table.from_batches([sheet.to_arrow()])
    except fastexcel.FastExcelError as error:
        raise InputError(
            "The Excel file cannot be read",
            where=f"file {path.name}, sheet {dataset.sheet}",
            why=f"it is no plain workbook with such a sheet ({type(error).__name__})",
            fix=f"ask the supplier for a plain .xlsx workbook with a sheet {dataset.sheet}",
        ) from None
    if table.num_rows == 0:
        raise InputError(
            "The file is empty",
            where=f"file {path.name}, sheet {dataset.sheet}",
            why="a delivery has at least a header",
            fix="ask the supplier to send it again",
        )
    return table


def _read_xlsx(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> None:
    sheet = _sheet(path, dataset)
    header = [str(name or "") for name in sheet.slice(0, 1).to_pylist()[0].values()]
    con.register("xlsx_file", sheet.slice(1).rename_columns(header))
    con.execute(
        "create table delivered as select row_number() over () as row_number, * from xlsx_file"
    )
    con.unregister("xlsx_file")
