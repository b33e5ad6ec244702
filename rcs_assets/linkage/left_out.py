"""Records that a council leaves out before it encodes: those that may be an opted-out child's.

Belongs here: which records these are, from identifiers in clear, at the council. Does not belong
here: encoding (`encodings.py`), and what the platform asks of a file (`intake/encoded.py`).

Once encoded, a record without UID tells nobody whose it is. The council still holds names and
numbers of both, so it decides before, and rather leaves one out too many. A record goes, if

- its SCN or its UID is that of a child who opted out, or
- the engine joins it to one, doubtful pairs included, or
- it shares `shared_fields` of surname, forename, birth date and postcode with one, exactly or but
  for one sign, and the engine does not link it to another child of the sample file.

The list of opt-outs that was honoured is declared in every row that stays (`left_out`), so that
intake refuses a file made before the list that holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook
from rcs_assets.errors import InputError
from rcs_assets.intake.contracts import check_header, check_rows, quarantine_row_rules
from rcs_assets.intake.readers import read_header, read_text
from rcs_assets.intake.vault import DECLARED, RECORDS
from rcs_assets.linkage.engine import filled, link, sealed_connection
from rcs_assets.linkage.settings import LinkSettings
from rcs_assets.linkage.standardise import RULES, standardised
from rcs_assets.storage import sql_list

_SHARED = ("surname", "first_forename", "date_of_birth", "postcode")


@dataclass(frozen=True)
class OptOuts:
    """Opt-outs that hold and close records: the UIDs, and what a file declares of them."""

    uids: tuple[str, ...]
    declared: str


def read_opt_outs(file: Path, codebook: Codebook) -> OptOuts:
    """The list of opt-outs, by its contract: every row is readable, or none counts.

    Args:
        file: the list that the platform holds, CSV or Excel.
        codebook: its contract.

    Raises:
        InputError: a column or a row does not fit.
    """
    dataset = codebook.datasets["opt_outs"]
    check_header(read_header(file, dataset), dataset, file.name)
    with duckdb.connect() as con:
        try:
            read_text(con, file, dataset)
            check_rows(con, dataset, file.name)
            quarantine_row_rules(con, dataset)
            broken = con.execute(
                "select row_number, column_name from violations order by all limit 1"
            ).fetchall()
            scopes = sql_list(RECORDS)
            holding = f"from accepted where taken_back_on is null and scope in ({scopes})"
            uids = con.execute(f"select distinct survey_uid {holding} order by 1").fetchall()
            declared = con.execute(
                f"select {DECLARED} from (select survey_uid as uid {holding})"
            ).fetchall()[0][0]
        except duckdb.Error as error:
            raise _unreadable(file.name, error) from None
    if broken:
        raise InputError(
            "An opt-out cannot be read",
            where=f"file {file.name}, row {broken[0][0]}, column {broken[0][1]}",
            why="an opt-out that cannot be read cannot be honoured: nothing is encoded",
            fix="correct the row, here and in the list that is delivered",
        )
    return OptOuts(tuple(str(row[0]) for row in uids), str(declared))


def records_to_leave_out(
    records: pa.Table, pupils: pa.Table, opt_outs: OptOuts, shared_fields: int
) -> frozenset[str]:
    """Which records may be those of a child who opted out.

    Args:
        records: `record_id` and identifiers in clear, as text; `survey_uid` where it is held.
        pupils: the sample file in clear: `survey_uid` and identifiers, as text.
        opt_outs: of `read_opt_outs`.
        shared_fields: from how many shared fields a record goes.

    Returns:
        Their record ids.

    Raises:
        InputError: a child who opted out is not among the pupils, or a table is none of these.
    """
    if not opt_outs.uids:
        return frozenset()
    known = set(pupils["survey_uid"].to_pylist()) if "survey_uid" in pupils.column_names else set()
    unknown_n = len(set(opt_outs.uids) - known)
    if unknown_n:
        raise InputError(
            f"{unknown_n} children who opted out are not in the file of pupils",
            why="without their names nobody can tell which records are theirs",
            fix="give the whole sample file in clear, with these children, as --pupils",
        )
    left = _people(pupils.append_column("record_id", pupils["survey_uid"]))
    right = _people(records)
    links = link(left, right, LinkSettings(training="fixed"))
    with sealed_connection(LinkSettings()) as con:
        try:
            con.register("links", links.table)
            con.register("opted", pa.table({"uid": list(opt_outs.uids)}))
            for name, table in (("pupils", left), ("records", right)):
                con.register(f"delivered_{name}", table)
                con.execute(f"create temp table {name} as {_standardised(table, name)}")
            rows = con.execute(_left_out_query(shared_fields)).fetchall()
        except duckdb.Error as error:
            raise _unreadable("", error) from None
    return frozenset(str(row[0]) for row in rows)


def _people(table: pa.Table) -> pa.Table:
    """What the engine compares, under its names; columns without any value go."""
    names = {name: "uid" if name == "survey_uid" else name for name in table.column_names}
    kept = [
        name
        for name, known in names.items()
        if known == "record_id" or (known in RULES and known != "clk")
    ]
    return filled(table.select(kept).rename_columns([names[name] for name in kept]))


def _standardised(table: pa.Table, name: str) -> str:
    fields: Sequence[str] = ("uid", "scn", "previous_surname", *_SHARED)
    parts = ", ".join(
        f"{standardised(field, field) if field in table.column_names else 'null'}::varchar "
        f"as {field}"
        for field in fields
    )
    return f"select record_id, {parts} from delivered_{name}"


def _left_out_query(shared_fields: int) -> str:
    alike = " + ".join(f"({_alike(field)})::integer" for field in _SHARED)
    return f"""
        with gone as (select pupils.* from pupils semi join opted on pupils.record_id = opted.uid),
        joined as (
            select right_id as record_id, left_id in (select uid from opted) as is_gone
            from links
            where band <> 'clerical' or left_id in (select uid from opted)
        )
        select record_id from joined where is_gone
        union
        select records.record_id
        from records
        inner join gone
            on
                records.uid = gone.record_id
                or records.scn = gone.scn
                or (
                    {alike} >= {shared_fields}
                    and records.record_id not in (select record_id from joined where not is_gone)
                )
    """


def _alike(field: str) -> str:
    """SQL: whether two cells are one but for a sign, or two that were swapped; false if blank."""
    one, other = f"records.{field}", f"gone.{field}"
    found = f"damerau_levenshtein({one}, {other}) <= 1"
    if field == "date_of_birth":
        # Day and month in each other's place.
        found += f" or {one} = strftime({other}::date, '%Y-%d-%m')"
    if field == "surname":
        found += f" or damerau_levenshtein(records.previous_surname, {other}) <= 1"
    return f"coalesce({found}, false)"


def _unreadable(file: str, error: Any) -> InputError:
    return InputError(
        f"The records cannot be read ({type(error).__name__})",
        where=f"file {file}" if file else "",
        why="the engine's message is withheld, since it can hold values of records",
    )
