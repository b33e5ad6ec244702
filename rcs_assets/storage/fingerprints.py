"""What each part of the warehouse was computed from.

Belongs here: a table of unit → fingerprint inside the warehouse itself, so that a
deleted or rebuilt warehouse can never look fresh. Does not belong here: how a
fingerprint is made and what follows from it (`rcs_assets.runs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb

REFERENCE = "reference"


def _prepare(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("create schema if not exists storage")
    con.execute(
        "create table if not exists storage.fingerprints (unit varchar primary key, "
        "fingerprint varchar not null)"
    )


def recorded_fingerprints(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Unit → fingerprint of what stands in this warehouse; empty for a new one."""
    known = con.execute(
        "select 1 from information_schema.tables "
        "where table_schema = 'storage' and table_name = 'fingerprints'"
    ).fetchall()
    if not known:
        return {}
    return dict(con.execute("select unit, fingerprint from storage.fingerprints").fetchall())


def forget(con: duckdb.DuckDBPyConnection, units: Iterable[str]) -> None:
    """Say that these units are being computed: until recorded again they are not fresh."""
    _prepare(con)
    con.execute(
        "delete from storage.fingerprints where list_contains(?::varchar[], unit)", [list(units)]
    )


def record(con: duckdb.DuckDBPyConnection, fingerprints: Mapping[str, str]) -> None:
    """Say that these units are complete."""
    _prepare(con)
    con.execute("begin")
    forget(con, fingerprints)
    con.executemany("insert into storage.fingerprints values (?, ?)", sorted(fingerprints.items()))
    con.execute("commit")
