"""The desk at which deliveries are taken in: the zones, open, and a scratch connection.

Belongs here: what every step of intake needs, and which delivery of a dataset holds. Does
not belong here: the steps (`steps.py`) and their order (`take.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb

from rcs_assets.codebook import Codebook
from rcs_assets.intake import vault
from rcs_assets.intake.drop import Delivery, current_deliveries
from rcs_assets.programme import Programme
from rcs_assets.storage import Home, Settings, open_memory, open_vault, open_warehouse


@dataclass(frozen=True)
class Desk:
    """What every intake needs: the installation, the two registers, one connection a zone.

    `scratch` holds one supplier's file at a time; vault and warehouse never meet on it.
    """

    home: Home
    programme: Programme
    codebook: Codebook
    as_of: date
    scratch: duckdb.DuckDBPyConnection
    vault: duckdb.DuckDBPyConnection
    warehouse: duckdb.DuckDBPyConnection


@contextmanager
def open_desk(
    home: Home, programme: Programme, codebook: Codebook, settings: Settings
) -> Iterator[Desk]:
    """Open the zones once for any number of deliveries, under the home's write lock.

    Raises:
        StorageError: a zone cannot be opened, read or written; the message holds no value.
    """
    with (
        open_memory(home, settings=settings) as scratch,
        open_vault(home, settings=settings, purpose="taking deliveries in") as secret,
        open_warehouse(home, settings=settings) as warehouse,
    ):
        vault.prepare_vault(secret)
        yield Desk(home, programme, codebook, settings.as_of, scratch, secret, warehouse)


@contextmanager
def scratch(desk: Desk) -> Iterator[duckdb.DuckDBPyConnection]:
    """The scratch connection, empty before and after."""
    con = desk.scratch
    con.execute("create schema delivery")
    con.execute("use delivery")
    try:
        yield con
    finally:
        con.execute("use main")
        con.execute("drop schema delivery cascade")
        con.unregister("delivered")
        # Broken lines as they stood in the file (DuckDB keeps them in these two).
        con.execute("drop table if exists reject_errors")
        con.execute("drop table if exists reject_scans")


def held_delivery(desk: Desk, name: str, engagement: str | None) -> Delivery | None:
    """The delivery of a dataset that holds: the newest, a refused one included."""
    return current_deliveries(desk.home).get((name, engagement))
