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

from rcs_assets.storage import Home, Settings, hmac_expression, open_vault

_PERSON = (
    "scn varchar, surname varchar, first_forename varchar, second_forename varchar, "
    "sex varchar, date_of_birth date, postcode varchar"
)
# scn_key of opt_outs is a keyed hash of the opted-out pupil's SCN, taken from the sample
# file, so that a council's record without UID is recognised and never enters the vault.
TABLES = {
    "opt_outs": "engagement varchar, uid varchar, scope varchar, received_on date, scn_key varchar",
    "sample_identifiers": (
        f"engagement varchar, record_id varchar, uid varchar, {_PERSON}, seed_code varchar"
    ),
    "survey_identifiers": "engagement varchar, survey varchar, record_id varchar, uid varchar",
    "education_identifiers": (
        f"engagement varchar, record_id varchar, supplier_id varchar, uid varchar, {_PERSON}"
    ),
}
# Which scopes of an opt-out remove a record from which delivery (policy.md).
ANSWERS = ("survey", "all")
RECORDS = ("linkage", "all")


def prepare_vault(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of a new vault that intake writes."""
    for name, columns in TABLES.items():
        con.execute(f"create table if not exists {name} ({columns})")


def ask_opted_out(
    home: Home,
    settings: Settings | None,
    engagement: str,
    keys: pa.Table,
    scopes: Sequence[str],
) -> list[int]:
    """Which of the asker's rows belong to a pupil who opted out.

    Args:
        home: the installation.
        settings: limits of the connection.
        engagement: partition key.
        keys: row_number, uid and, where the asker has it, scn.
        scopes: the opt-outs that count.

    Returns:
        Row numbers of `keys`.
    """
    by_scn = " or opted.scn_key = hmac_tombstone(asked.scn)" if "scn" in keys.column_names else ""
    return _ask(
        home,
        settings,
        keys,
        "select distinct asked.row_number from asked join opt_outs as opted "
        f"on opted.uid = asked.uid{by_scn} "
        "where opted.engagement = $engagement and list_contains($scopes::varchar[], opted.scope)",
        {"engagement": engagement, "scopes": list(scopes)},
    )


def ask_not_issued(
    home: Home, settings: Settings | None, engagement: str, keys: pa.Table
) -> list[int]:
    """Which rows carry a UID that was issued to nobody, and no SCN of the sample file either.

    A record without UID is not among them: whose it is shows only in linkage.

    Args:
        home: the installation.
        settings: limits of the connection.
        engagement: partition key.
        keys: row_number, uid, scn.

    Returns:
        Row numbers of `keys`.
    """
    return _ask(
        home,
        settings,
        keys,
        "with pupils as (select uid, scn from sample_identifiers where engagement = $engagement) "
        "select row_number from asked where uid is not null "
        "and not exists (select 1 from pupils where pupils.uid = asked.uid) "
        "and not exists (select 1 from pupils where pupils.scn = asked.scn)",
        {"engagement": engagement},
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
    home: Home,
    settings: Settings | None,
    keys: pa.Table,
    query: str,
    parameters: dict[str, object],
) -> list[int]:
    with open_vault(home, read_only=True, settings=settings) as con:
        hmac_expression(con, "tombstone", home.key("tombstone"))
        con.register("asked", keys)
        rows = con.execute(query, parameters).fetchall()
    return [int(row[0]) for row in rows]
