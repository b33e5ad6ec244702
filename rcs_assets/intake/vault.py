"""The vault as intake sees it: tables, appends, and questions answered yes or no.

Belongs here: the tables of identifiers, and asking by key whether a pupil opted out,
a UID was issued, an education record was accepted. Does not belong here: reading
identifiers (`linkage` alone does that); no function here returns one.

Each question hands keys over and gets row numbers of the asker back (design.md, Zones).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.intake import tombstones
from rcs_assets.intake.scn import scn_check_digit_holds
from rcs_assets.storage import Home, hmac_expression, sql_literal

_PERSON = (
    "scn varchar, surname varchar, first_forename varchar, second_forename varchar, "
    "sex varchar, date_of_birth date, postcode varchar"
)
# In the place of the person, where a council sends encodings (`encoded.py`).
_ENCODED = "scheme varchar, clk varchar"
# Beside the encodings of an extract: the list of opt-outs that the council honoured.
_LEFT_OUT = "left_out varchar"
# scn_key of opt_outs is a keyed hash of the opted-out pupil's SCN, taken from the sample
# file, so that a council's record without UID is recognised and never enters the vault.
TABLES = {
    "opt_outs": (
        "engagement varchar, uid varchar, scope varchar, received_on date, scn_key varchar, "
        "requested_by varchar"
    ),
    "sample_identifiers": (
        f"engagement varchar, record_id varchar, uid varchar, {_PERSON}, seed_code varchar, "
        f"{_ENCODED}"
    ),
    "survey_identifiers": "engagement varchar, survey varchar, record_id varchar, uid varchar",
    # Special schools in the adapted mode; apart, so that nothing links them.
    "adapted_opt_ins": (
        "engagement varchar, uid varchar, seed_code varchar, agreed_on date, agreed_by varchar"
    ),
    "adapted_identifiers": "engagement varchar, record_id varchar, uid varchar",
    "education_identifiers": (
        f"engagement varchar, record_id varchar, supplier_id varchar, uid varchar, {_PERSON}, "
        f"{_ENCODED}, {_LEFT_OUT}"
    ),
    "social_work_identifiers": (
        "engagement varchar, record_id varchar, supplier_id varchar, scn varchar, "
        "surname varchar, previous_surname varchar, first_forename varchar, "
        "second_forename varchar, sex varchar, date_of_birth date, postcode varchar, "
        f"{_ENCODED}, {_LEFT_OUT}"
    ),
    # From an outside indexer. A number of a record that intake did not accept has no record id.
    **{
        f"index_return_{name}": "engagement varchar, record_id varchar, index_no varchar"
        for name in ("survey", "edu", "sw")
    },
    "read_through_received": (
        "engagement varchar, index_survey varchar, index_edu varchar, index_sw varchar, "
        "project_id varchar, match_method varchar, match_weight_band varchar"
    ),
}
# SQL: what two encodings must share to be compared; null of a row that has none.
SCHEME_KEY = "scheme || ' ' || length(clk)"
# SQL: what a file of encodings declares that was made without the children of `uid`.
DECLARED = (
    "count(distinct uid) || '-' || "
    "left(sha256(coalesce(string_agg(distinct uid, ' ' order by uid), '')), 32)"
)
# Which scopes of an opt-out remove a record from which delivery (policy.md). Without the
# survey there is nothing to link to, so the council's record goes too.
ANSWERS = ("survey", "all")
RECORDS = ("survey", "linkage", "all")
# Tables that an opt-out closes to a child: scopes that count, and the UID where there is one.
_CLOSED = {
    "sample_identifiers": (ANSWERS, "uid"),
    "survey_identifiers": (ANSWERS, "uid"),
    "adapted_opt_ins": (ANSWERS, "uid"),
    "adapted_identifiers": (ANSWERS, "uid"),
    "education_identifiers": (RECORDS, "uid"),
    "social_work_identifiers": (RECORDS, "null::varchar"),
}


def prepare_vault(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of a new vault that intake writes."""
    for name, columns in TABLES.items():
        con.execute(f"create table if not exists {name} ({columns})")
    # Vaults of before these columns came.
    con.execute("alter table opt_outs add column if not exists requested_by varchar")
    for name in ("sample_identifiers", "education_identifiers", "social_work_identifiers"):
        closed = _CLOSED[name][0] == RECORDS
        for column in ("scheme", "clk", *(("left_out",) if closed else ())):
            con.execute(f"alter table {name} add column if not exists {column} varchar")


def ask_opted_out(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    engagement: str,
    keys: pa.Table,
    scopes: Sequence[str],
) -> list[int]:
    """Which of the asker's rows belong to a pupil who opted out.

    A row with a UID is known by it, also from the tombstones alone; the SCN, which two pupils may
    share by a slip, speaks only for a row without one.

    Args:
        con: the vault.
        home: its key `tombstone`.
        engagement: partition key.
        keys: row_number, uid and, where the asker has it, scn.
        scopes: the opt-outs that count.

    Returns:
        Row numbers of `keys`.
    """
    hmac_expression(con, "tombstone", home.key("tombstone"))
    con.register("stones", tombstones.standing_keys(home, engagement, scopes))
    by_uid = (
        "select row_number from asked join opted on opted.uid = asked.uid union "
        "select row_number from asked join stones on stones.uid_key = hmac_tombstone(asked.uid)"
    )
    by_scn = (
        " union select row_number from asked "
        "join opted on opted.scn_key = hmac_tombstone(asked.scn) "
        "where coalesce(asked.uid, '') = ''"
        if "scn" in keys.column_names
        else ""
    )
    found = _ask(
        con,
        keys,
        "with opted as (select uid, scn_key from opt_outs "
        "where engagement = $engagement and list_contains($scopes::varchar[], scope)) "
        f"select distinct row_number from ({by_uid}{by_scn})",
        {"engagement": engagement, "scopes": list(scopes)},
    )
    con.unregister("stones")
    return found


def count_opt_outs(con: duckdb.DuckDBPyConnection, engagement: str) -> int:
    """How many opt-outs of an engagement stand in the vault."""
    query = "select count(*) from opt_outs where engagement = ?"
    return int(con.execute(query, [engagement]).fetchall()[0][0])


def has_opt_outs(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, scopes: Sequence[str]
) -> bool:
    """Whether an opt-out of an engagement holds that has one of the scopes."""
    query = "select count(*) from opt_outs where engagement = ? and list_contains(?, scope)"
    listed = con.execute(query, [engagement, list(scopes)]).fetchall()[0][0]
    return bool(listed or tombstones.standing_keys(home, engagement, scopes).num_rows)


def opt_outs_are_declared(
    con: duckdb.DuckDBPyConnection, engagement: str, declared: Sequence[str | None]
) -> bool:
    """Whether each of the declarations of a file is of the opt-outs that hold (`DECLARED`)."""
    return set(declared) <= {_declared_opt_outs(con, engagement)}


def _declared_opt_outs(con: duckdb.DuckDBPyConnection, engagement: str) -> str:
    """What a file of encodings must declare that left out whom the list closes records of."""
    query = (
        f"select {DECLARED} from opt_outs "
        "where engagement = ? and list_contains(?::varchar[], scope)"
    )
    return str(con.execute(query, [engagement, list(RECORDS)]).fetchall()[0][0])


def has_pupils(con: duckdb.DuckDBPyConnection, engagement: str) -> bool:
    """Whether pupils of the engagement's sample file were taken in."""
    query = "select count(*) from sample_identifiers where engagement = ?"
    return bool(con.execute(query, [engagement]).fetchall()[0][0])


def sample_is_encoded(con: duckdb.DuckDBPyConnection, engagement: str) -> bool | None:
    """Whether the engagement's sample file holds encodings; None where it has no pupil."""
    query = "select count(clk) > 0, count(*) from sample_identifiers where engagement = ?"
    is_encoded, pupils_n = con.execute(query, [engagement]).fetchall()[0]
    return bool(is_encoded) if pupils_n else None


def count_returned(con: duckdb.DuckDBPyConnection, home: Home, engagement: str) -> int:
    """Rows of children whose opt-out holds and who stand in a table that it closes to them.

    UIDs are compared with the tombstones, SCNs of rows without UID with those of the list. An
    encoded record without UID may be of any of them, so each one counts, unless its council
    declared that it had left out the children of exactly this list.
    """
    macro = hmac_expression(con, "tombstone", home.key("tombstone"))
    returned = 0
    for table, (scopes, uid) in _CLOSED.items():
        con.register("stones", tombstones.standing_keys(home, engagement, scopes))
        by_scn = (
            f"or ({uid} is null and {macro}(scn) in (select scn_key from opt_outs "
            "where engagement = $engagement and list_contains($scopes::varchar[], scope)))"
            if scopes == RECORDS
            else ""
        )
        if scopes == RECORDS and has_opt_outs(con, home, engagement, scopes):
            declared = sql_literal(_declared_opt_outs(con, engagement))
            by_scn += (
                f" or ({uid} is null and clk is not null and left_out is distinct from {declared})"
            )
        rows = con.execute(
            f"select count(*) from {table} where engagement = $engagement and "
            f"(coalesce({macro}({uid}) in (select uid_key from stones), false) {by_scn})",
            {"engagement": engagement} | ({"scopes": list(scopes)} if by_scn else {}),
        ).fetchall()
        returned += int(rows[0][0])
        con.unregister("stones")
    return returned


def ask_not_issued(con: duckdb.DuckDBPyConnection, engagement: str, keys: pa.Table) -> list[int]:
    """Which rows are of extra children: neither UID nor SCN is one of the sample file.

    A row without UID is one of them if its SCN is right by its check digit and every pupil of the
    sample whose row was accepted has a right one too. Where one has none, the row may be his, and
    so may a row with a wrong SCN or none: whose it is shows only in linkage. Rows of the sample
    file that were set aside are asked before anything is destroyed (`steps.IS_ISSUED`).

    Args:
        con: the vault.
        engagement: partition key.
        keys: row_number, uid, scn.

    Returns:
        Row numbers of `keys`.
    """
    return _ask(
        con,
        keys,
        "with pupils as (select uid, scn from sample_identifiers where engagement = $engagement) "
        "select row_number from asked where (uid is not null or "
        f"{scn_check_digit_holds('scn')} and (select count(*) > 0 and "
        f"bool_and(coalesce({scn_check_digit_holds('scn')}, false)) from pupils)) "
        "and not exists (select 1 from pupils where pupils.uid = asked.uid) "
        "and not exists (select 1 from pupils where pupils.scn = asked.scn)",
        {"engagement": engagement},
    )


def ask_unknown(
    con: duckdb.DuckDBPyConnection, engagement: str, table: str, column: str, keys: pa.Table
) -> list[int]:
    """Which rows name something that the engagement does not have in a table of the vault.

    Args:
        con: the vault.
        engagement: partition key.
        table: of the vault.
        column: of the table.
        keys: row_number and `asked_key`; a blank key is not asked.

    Returns:
        Row numbers of `keys`.
    """
    return _ask(
        con,
        keys,
        f"select row_number from asked where asked_key is not null and asked_key not in "
        f"(select {column} from {table} where engagement = $engagement and {column} is not null)",
        {"engagement": engagement},
    )


def ask_other_scheme(con: duckdb.DuckDBPyConnection, engagement: str, keys: pa.Table) -> list[int]:
    """Which rows cannot be compared with the engagement's sample file.

    Args:
        con: the vault.
        engagement: partition key.
        keys: row_number, and scheme and length of the encoding as `asked_key`, null where the
            row holds identifiers.

    Returns:
        Row numbers of `keys`.
    """
    return _ask(
        con,
        keys,
        "select row_number from asked where asked_key is distinct from "
        f"(select min({SCHEME_KEY}) from sample_identifiers where engagement = $engagement)",
        {"engagement": engagement},
    )


def ask_unknown_records(con: duckdb.DuckDBPyConnection, table: str, keys: pa.Table) -> list[int]:
    """Which rows have a record id that a table of the vault does not have for their engagement.

    Args:
        con: the vault.
        table: of the vault.
        keys: row_number, engagement and record id as `asked_key`.

    Returns:
        Row numbers of `keys`.
    """
    return _ask(
        con,
        keys,
        f"select row_number from asked anti join {table} as held "
        "on held.engagement = asked.engagement and held.record_id = asked.asked_key",
        {},
    )


def mark_opted_out_scns(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, pupils: pa.Table
) -> None:
    """Note the keyed hash of the SCN of each opted-out pupil of a sample file.

    Args:
        con: the vault, for writing.
        home: the installation.
        engagement: partition key.
        pupils: uid and scn of the sample file, opted-out pupils included.
    """
    macro = hmac_expression(con, "tombstone", home.key("tombstone"))
    con.register("pupils", pupils)
    con.execute(
        f"update opt_outs set scn_key = {macro}(pupils.scn) from pupils "
        "where opt_outs.engagement = ? and opt_outs.uid = pupils.uid and pupils.scn is not null",
        [engagement],
    )
    con.unregister("pupils")


def _ask(
    con: duckdb.DuckDBPyConnection, keys: pa.Table, query: str, parameters: dict[str, object]
) -> list[int]:
    con.register("asked", keys)
    rows = con.execute(query, parameters).fetchall()
    con.unregister("asked")
    return [int(row[0]) for row in rows]
