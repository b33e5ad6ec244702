"""Issuing UIDs: from a list of pupils to the sample file.

Belongs here: `rcs uids issue`. Does not belong here: the form of a UID (`uids.py`), taking the
sample file in (`steps.py`): the file written here is delivered like any other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake import encoded, schools, uids
from rcs_assets.intake.contracts import check_header, check_rows, count
from rcs_assets.intake.readers import quoted, read_header, read_text
from rcs_assets.programme import Programme
from rcs_assets.storage import (
    Home,
    Settings,
    hmac_expression,
    open_memory,
    open_warehouse,
    sql_literal,
    write_atomically,
)


def issue(
    home: Home,
    programme: Programme,
    codebook: Codebook,
    settings: Settings,
    engagement: str,
    listed: Path,
    out: Path,
) -> int:
    """Write the sample file of a list of pupils who have no UIDs yet.

    The list is a sample file without the column `survey_uid`. Numbers inside a school follow a
    keyed hash of SCN, or of name and birth date, so that a UID says nothing about a class list;
    the same list gives the same UIDs.

    Args:
        home: the installation; its schools are those of the reference deliveries.
        programme, codebook, settings: of the installation.
        engagement: partition key.
        listed: the list, CSV or Excel.
        out: the sample file to write (identified: to be delivered, then removed).

    Returns:
        Pupils who were issued a UID.

    Raises:
        InputError: the list does not fit or holds encodings, a school is not one of the council's
            for this survey, a school has more pupils than numbers, or `out` is there. Nothing is
            written then.
    """
    # Numbers are given to pupils by name; a council that encodes does so afterwards
    # (`_refuse_encodings`).
    if out.exists():
        raise InputError(
            "There is a file already",
            where=str(out),
            why="it may hold UIDs that were handed to pupils",
            fix="name another --out, or remove the file first",
        )
    dataset = encoded.of_identifiers(codebook.datasets["sample_file"])
    council = programme.engagements[engagement].cpp.council_name
    with open_warehouse(home, settings=settings, read_only=True) as warehouse:
        known = schools.known_schools(warehouse, engagement, home.config)
    with open_memory(home, settings=settings) as con:
        _read(con, _without_uid(dataset), listed)
        schools.resolve_names(con, known, council)
        schools.quarantine_special(con, known)
        own = con.execute(
            "select seed_code from school_places where council_name = ?", [council]
        ).fetchall()
        uids.school_parts(con, home, engagement, [str(row[0]) for row in own])
        _refuse_open_rows(con, listed.name)
        rows = _numbered(con, home, engagement, dataset, listed.name)
    names = ["survey_uid", *_kept(dataset)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    write_atomically(out, text.getvalue())
    return len(rows)


def _read(con: duckdb.DuckDBPyConnection, dataset: Dataset, path: Path) -> None:
    header = read_header(path, dataset)
    _refuse_encodings(header, path.name)
    check_header(header, dataset, path.name)
    read_text(con, path, dataset)
    check_rows(con, dataset, path.name)


def _refuse_encodings(header: Sequence[str], file: str) -> None:
    """Refuse a list of encodings, which has nothing by which a UID finds its pupil.

    Raises:
        InputError: a column of encodings.
    """
    found = [name for name in header if name.strip().lower() in encoded.COLUMNS]
    if found:
        raise InputError(
            "UIDs cannot be issued to encodings",
            where=f"file {file}, header, column {found[0]}",
            why="two encodings of one child differ and none can be read, so nobody could hand the "
            "UIDs to the pupils whose they are, and a pupil listed twice would have two",
            fix="the council issues the UIDs from its own list, in an installation of its own "
            "(rcs uids issue), and encodes the sample file that comes of it (rcs encodings make); "
            "nothing was written",
        )


def _without_uid(dataset: Dataset) -> Dataset:
    fields = tuple(field for field in dataset.fields if field.name != "survey_uid")
    return replace(dataset, fields=fields, key=("scn",))


def _kept(dataset: Dataset) -> list[str]:
    """Columns of the file written: the name of the school has done its work."""
    return [f.name for f in dataset.fields if f.name not in ("survey_uid", "school_name")]


def _refuse_open_rows(con: duckdb.DuckDBPyConnection, file: str) -> None:
    broken = con.execute(
        "select row_number, column_name, rule from violations union all "
        "select row_number, 'seed_code', 'school_of_other_council' from accepted "
        "where seed_code not in (select seed_code from issued_parts) order by all"
    ).fetchall()
    if broken:
        row_number, column, rule = broken[0]
        raise InputError(
            f"{len(broken)} cells keep UIDs from being issued",
            where=f"file {file}, row {row_number}, column {column}",
            why=f"{rule}: every pupil needs a school of the survey and cells that fit the contract",
            fix="correct the rows; nothing was written",
        )


def _numbered(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, dataset: Dataset, file: str
) -> list[tuple[str, ...]]:
    """UID and the other cells of every row, in order of the list."""
    macro = hmac_expression(con, "record_id", home.key("record_id"))
    who = "coalesce(scn, concat_ws('|', surname, first_forename, date_of_birth))"
    con.execute(
        "create table numbered as select *, row_number() over (partition by seed_code order by "
        f"{macro}({sql_literal(f'uid order|{engagement}|')} || {who}), row_number) - 1 as serial "
        "from accepted join issued_parts using (seed_code)"
    )
    if count(con, "numbered", f"serial >= {uids.SERIALS_N}"):
        raise InputError(
            "A school has more pupils than there are numbers",
            where=f"file {file}",
            why=f"a school can have {uids.SERIALS_N:,} UIDs",
            fix="check the column seed_code",
        )
    cells = ", ".join(f"coalesce({quoted(name)}::varchar, '')" for name in _kept(dataset))
    return con.execute(
        f"select body || {uids.check_digit('body')}, {cells} from ("
        "select *, part || lpad(serial::varchar, 4, '0') as body from numbered) order by row_number"
    ).fetchall()
