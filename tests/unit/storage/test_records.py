"""Dagster's records are written quickly while a command runs, and are whole when it ends."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage

from rcs_assets.storage.records import quick_records

NORMAL, FULL = 1, 2


def open_as_dagster_does(file: Path) -> sa.Engine:
    """A connection of its own for each record."""
    return sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)


def make(file: Path, journal: str) -> sa.Engine:
    engine = open_as_dagster_does(file)
    with engine.connect() as con:
        con.execute(sa.text(f"pragma journal_mode={journal}"))
        con.execute(sa.text("create table records (n integer)"))
        con.commit()
    return engine


def write(engine: sa.Engine, n: int) -> int:
    """Write a record; how SQLite waits for the disk."""
    with engine.connect() as con:
        con.execute(sa.text("insert into records values (:n)"), {"n": n})
        con.commit()
        return int(con.execute(sa.text("pragma synchronous")).scalar_one())


def log_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def test_the_log_is_kept_until_the_command_ends_and_all_is_there_then(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    engine = make(file, "wal")
    assert write(engine, 0) == FULL and not log_of(file).exists()
    with quick_records():
        assert [write(engine, n) for n in range(1, 4)] == [NORMAL] * 3
        # What a killed process leaves behind: nothing is lost.
        kept = tmp_path / "killed.db"
        kept.write_bytes(file.read_bytes())
        log_of(kept).write_bytes(log_of(file).read_bytes())
    assert not log_of(file).exists()
    for one in (file, kept):
        with closing(sqlite3.connect(one)) as con:
            assert con.execute("select count(*) from records").fetchall() == [(4,)]
    assert write(engine, 4) == FULL and not log_of(file).exists()


def test_other_databases_are_left_as_they_are(tmp_path: Path) -> None:
    engine = make(tmp_path / "other.db", "delete")
    with quick_records():
        assert write(engine, 1) == FULL
        with open_as_dagster_does(Path(":memory:")).connect() as con:
            assert con.execute(sa.text("pragma synchronous")).scalar_one() == FULL


def test_one_engine_a_database_is_made_until_the_command_ends(tmp_path: Path) -> None:
    files = [tmp_path / "runs.db", tmp_path / "events.db"]
    for file in files:
        make(file, "wal")
    maker: Any = ModuleType("maker")
    plain = maker.create_engine = sa.create_engine
    with quick_records((maker,)):
        first, again = (maker.create_engine(f"sqlite:///{files[0]}") for _ in range(2))
        assert first is again
        assert maker.create_engine(f"sqlite:///{files[1]}") is not first
        assert maker.create_engine(f"sqlite:///{files[0]}", poolclass=sa.NullPool) is not first
    assert maker.create_engine is plain


def test_dagster_makes_its_engines_by_the_names_that_are_kept() -> None:
    """Else nothing would be kept, and nobody would see it."""
    for module in (sqlite_event_log, sqlite_run_storage):
        assert module.create_engine is sa.create_engine
