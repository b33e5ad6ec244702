"""UIDs: how they are issued, and their check digit.

Belongs here: the form of a UID, its check digit, the signs that a school's UIDs begin with, and
issuing UIDs to a list of pupils. Does not belong here: doubts about UIDs that stand under the
wrong school (`mixed.py`), what a UID is linked to (`linkage`).

A UID is two letters and eight digits (domain.md 12): five signs keyed on engagement and SEED code,
never on a name, so that schools of similar names cannot share them; four digits of a shuffled
number inside the school; a check digit. The letters B C D F G H J K L M stand for 0 to 9. The check
digit is the sum of the nine signs, weighted 3 7 9 1 3 7 9 1 3, modulo 10: since each weight has an
inverse modulo 10, it shows every single wrong sign.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake.contracts import check_header, check_rows, count
from rcs_assets.intake.readers import quoted, read_header, read_text
from rcs_assets.storage import Home, hmac_expression, sql_literal, write_atomically

LETTERS = "BCDFGHJKLM"
WEIGHTS = (3, 7, 9, 1, 3, 7, 9, 1, 3)
# Signs of a UID that all pupils of a school share.
PART_SIGNS = 5
_PARTS_N = 100_000
_SERIALS_N = 10_000


def check_digit_holds(column: str) -> str:
    """SQL: whether the last sign of a UID follows from the others; false for another form."""
    signs = [f"(strpos('{LETTERS}', {column}[{place}]) - 1)" for place in (1, 2)]
    signs += [f"try_cast({column}[{place}] as integer)" for place in range(3, 10)]
    total = " + ".join(f"{weight} * {sign}" for weight, sign in zip(WEIGHTS, signs, strict=True))
    return (
        f"coalesce(regexp_full_match({column}, '[{LETTERS}]{{2}}[0-9]{{8}}') "
        f"and ({total}) % 10 = try_cast({column}[10] as integer), false)"
    )


def school_parts(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, schools: Sequence[str]
) -> None:
    """Create `issued_parts(seed_code, part)`: the five signs that each school's UIDs begin with.

    Keyed on engagement and SEED code. Where two schools of the list would share the signs, the
    later by SEED code moves on to the next that are free.

    Args:
        con: a scratch connection.
        home: its key `record_id`; the scope keeps it apart from record ids.
        engagement: partition key.
        schools: every school of the council, so that a part never depends on who takes part.
    """
    macro = hmac_expression(con, "record_id", home.key("record_id"))
    con.register("asked_schools", pa.table({"seed_code": pa.array(sorted(schools), pa.string())}))
    drawn = con.execute(
        "select seed_code, ('0x' || substr("
        f"{macro}({sql_literal(f'uid|{engagement}|')} || seed_code), 1, 12))::bigint % {_PARTS_N} "
        "from asked_schools order by seed_code"
    ).fetchall()
    con.unregister("asked_schools")
    taken: dict[int, str] = {}
    for seed_code, number in drawn:
        place = int(number)
        while place in taken:
            place = (place + 1) % _PARTS_N
        taken[place] = str(seed_code)
    parts = pa.table(
        {
            "seed_code": pa.array(list(taken.values()), pa.string()),
            "part": pa.array([_part(number) for number in taken], pa.string()),
        }
    )
    con.register("issued_parts", parts)


def _part(number: int) -> str:
    signs = f"{number:05d}"
    return LETTERS[int(signs[0])] + LETTERS[int(signs[1])] + signs[2:]


def issue_uids(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    engagement: str,
    schools: Sequence[str],
    dataset: Dataset,
    path: Path,
    out: Path,
) -> int:
    """Write the sample file of a list of pupils who have no UIDs yet.

    The list is a sample file without the column `survey_uid`. The order inside a school is
    shuffled by a keyed hash of the SCN, else of name and birth date, so that a UID says nothing
    about a class list; the same list gives the same UIDs.

    Args:
        con: an empty scratch connection.
        home: the installation.
        engagement: partition key.
        schools: SEED codes of the council.
        dataset: the contract of the sample file.
        path: the list.
        out: the sample file to write (identified: to be delivered and removed).

    Returns:
        Pupils who were issued a UID.

    Raises:
        InputError: the list does not fit, a school is not of the council, a row has no school, or
            a school has more pupils than numbers.
    """
    listed = _without_uid(dataset)
    check_header(read_header(path, listed), listed, path.name)
    read_text(con, path, listed)
    check_rows(con, listed, path.name)
    school_parts(con, home, engagement, schools)
    _refuse_open_rows(con, path.name)
    macro = hmac_expression(con, "record_id", home.key("record_id"))
    who = "coalesce(scn, concat_ws('|', surname, first_forename, date_of_birth, row_number))"
    con.execute(
        "create table numbered as select *, row_number() over (partition by seed_code order by "
        f"{macro}({sql_literal(f'uid order|{engagement}|')} || {who}), row_number) - 1 as serial "
        "from accepted join issued_parts using (seed_code)"
    )
    if count(con, "numbered", f"serial >= {_SERIALS_N}"):
        raise InputError(
            "A school has more pupils than there are numbers",
            where=f"file {path.name}",
            why=f"a school can have {_SERIALS_N:,} UIDs",
            fix="check the column seed_code",
        )
    body = "part || lpad(serial::varchar, 4, '0')"
    signs = [f"(strpos('{LETTERS}', body[{place}]) - 1)" for place in (1, 2)]
    signs += [f"body[{place}]::integer" for place in range(3, 10)]
    total = " + ".join(f"{weight} * {sign}" for weight, sign in zip(WEIGHTS, signs, strict=True))
    names = [f.name for f in dataset.fields if f.name not in ("survey_uid", "school_name")]
    cells = ", ".join(f"coalesce({quoted(name)}::varchar, '') as {quoted(name)}" for name in names)
    rows = con.execute(
        f"select body || (({total}) % 10) as survey_uid, {cells} "
        f"from (select *, {body} as body from numbered) order by row_number"
    ).fetchall()
    write_atomically(out, _csv(["survey_uid", *names], rows))
    return len(rows)


def _without_uid(dataset: Dataset) -> Dataset:
    from dataclasses import replace

    fields = tuple(field for field in dataset.fields if field.name != "survey_uid")
    return replace(dataset, fields=fields, key=("scn",))


def _refuse_open_rows(con: duckdb.DuckDBPyConnection, file: str) -> None:
    broken = con.execute("select row_number, column_name from violations order by all").fetchall()
    broken += con.execute(
        "select row_number, 'seed_code' from accepted where seed_code is null "
        "or seed_code not in (select seed_code from issued_parts) order by all"
    ).fetchall()
    if broken:
        raise InputError(
            f"{len(broken)} rows cannot be issued a UID",
            where=f"file {file}, row {broken[0][0]}, column {broken[0][1]}",
            why="every pupil needs a SEED code of the council and cells that fit the contract",
            fix="correct the rows; nothing was written",
        )


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
