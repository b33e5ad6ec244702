"""Dagster's records are written quickly while a command runs, and are whole when it ends."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

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
