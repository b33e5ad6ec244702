"""Quick writing of Dagster's records, which lie in SQLite.

Belongs here: how SQLite writes while one of our commands runs. Does not belong here: what is
recorded (Dagster), opening the instance (`runs.py`).

A release makes some four thousand records, and for each of them Dagster opens a database and closes
it. As SQLite is set, the disk is waited for with each record, and, since nobody else has the
database open, its log is folded in and removed at each closing: 5 to 20 ms a record instead of half
a millisecond. So one connection stays open to each database until the command ends, and the log is
written through when it is folded in. A process that is killed loses nothing by this. A computer
without power may lose the last records of a run, which then is not complete; the gate takes a check
without record for one that failed.

For each opening Dagster also makes an engine of SQLAlchemy anew, which knows none of the statements
that the one before has compiled: two thirds of what a record costs. So an engine is kept for each
database, too; it opens and closes its connections as before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import ModuleType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def quick_records(makers: Iterable[ModuleType] = ()) -> Iterator[None]:
    """Until the end, SQLite does not wait for the disk with each record.

    Only of databases that keep a write-ahead log, as Dagster's do; all others are left as they
    are. At the end everything has been written through.

    Args:
        makers: modules whose `create_engine` makes an engine a record: they keep theirs.
    """
    held: set[str] = set()
    with ExitStack() as connections:

        def hold(connection: Any, _: Any) -> None:
            if not isinstance(connection, sqlite3.Connection):
                return
            if connection.execute("pragma journal_mode").fetchone() != ("wal",):
                return
            connection.execute("pragma synchronous = normal")
            file = connection.execute("pragma database_list").fetchone()[2]
            if file not in held:
                held.add(file)
                # Closed by this thread, whichever one has opened it.
                other = sqlite3.connect(file, check_same_thread=False)
                connections.enter_context(closing(other))
                # A database is open once it has been read.
                other.execute("select count(*) from sqlite_master").fetchone()

        event.listen(Engine, "connect", hold)
        connections.callback(event.remove, Engine, "connect", hold)
        for maker in makers:
            connections.enter_context(_engines_kept(maker))
        yield


@contextmanager
def _engines_kept(maker: Any) -> Iterator[None]:
    """Until the end, a module makes one engine of each database and set of options."""
    make, kept = maker.create_engine, dict[str, Engine]()

    def once(address: str, **options: Any) -> Engine:
        asked = repr((address, sorted(options.items(), key=str)))
        if asked not in kept:
            kept[asked] = make(address, **options)
        return kept[asked]

    maker.create_engine = once
    try:
        yield
    finally:
        maker.create_engine = make
