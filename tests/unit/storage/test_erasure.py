"""Databases written anew: what was removed is in no byte, all else stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from rcs_assets.doctor import examine
from rcs_assets.errors import StorageError
from rcs_assets.storage import Home, connect, erasure, open_vault, open_warehouse
from rcs_assets.storage.erasure import (
    erase_removed,
    forget_marks,
    mark_removal,
    rewrite_databases,
    waiting_engagements,
)
from rcs_assets.storage.keyring import new_keys

CANARY = "ZYXCANARYROW"
KEY = "t2-falkirk"
# Views that stand before what they read, in another schema and by the catalog's name, as dbt's do.
OBJECTS = """
    create schema a;
    create schema z;
    create sequence z.numbers start 7;
    create type z.stage as enum ('P6', 'S2');
    create table z.pupils (
        id varchar primary key, stage z.stage not null, age tinyint default 9 check (age > 0),
        n bigint default nextval('z.numbers')
    );
    create index by_age on z.pupils (age);
    create macro z.twice(x) as 2 * x;
    create view z.both as select id, age from warehouse.z.pupils;
    create view a.young as select id from warehouse.z.both where age < 12;
    create table a.empty (x decimal(9, 2));
    comment on table z.pupils is 'SIMULATED: pupils';
    comment on column z.pupils.age is 'In years';
    comment on view a.young is 'Below twelve';
    insert into z.pupils (id, stage) select 'kept' || i, 'P6' from range(5000) as r(i);
"""
CATALOG = (
    "select schema_name, comment, sql from duckdb_schemas() where not internal",
    "select schema_name, table_name, comment, has_primary_key, sql from duckdb_tables()",
    "select schema_name, view_name, comment, sql from duckdb_views() where not internal",
    "select table_name, column_name, comment, column_default, is_nullable, data_type "
    "from duckdb_columns() where not internal",
    "select table_name, constraint_type, constraint_text from duckdb_constraints()",
    "select schema_name, index_name, sql from duckdb_indexes()",
    "select schema_name, sequence_name, increment_by from duckdb_sequences()",
    "select schema_name, function_name, macro_definition from duckdb_functions() "
    "where not internal",
    "select schema_name, type_name, logical_type from duckdb_types() where not internal",
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A warehouse and a vault from which rows were removed."""
    made = Home.open(tmp_path / "home")
    new_keys(made)
    # Made before what stays: blocks at a file's end are cut off when they are freed.
    with open_warehouse(made) as con:
        con.execute(f"create table gone as select '{CANARY}' || i as id from range(90) as r(i)")
    with open_vault(made, purpose="a test") as con:
        con.execute("create table gone as select hash(i) as h from range(90000) as r(i)")
    with open_warehouse(made) as con:
        con.execute(OBJECTS)
    with open_vault(made, purpose="a test") as con:
        con.execute("create table names as select 'kept' as surname")
    with open_warehouse(made) as con:
        con.execute("drop table gone")
    with open_vault(made, purpose="a test") as con:
        con.execute("drop table gone")
    assert CANARY.encode() in made.warehouse.read_bytes()
    return made


def _catalog(home: Home) -> list[list[tuple]]:
    with open_warehouse(home, read_only=True) as con:
        return [sorted(con.execute(query).fetchall(), key=str) for query in CATALOG]


def _rows(home: Home) -> list[list[tuple]]:
    queries = ("from z.pupils", "from a.young order by id", "from a.empty", "select z.twice(21)")
    with open_warehouse(home, read_only=True) as con:
        return [con.execute(query).fetchall() for query in queries]


def _refuse_remains(home: Home) -> None:
    """Both databases open, nothing lies beside them, and others read neither."""
    assert len(_rows(home)[0]) == 5000
    with open_vault(home, read_only=True, purpose="a test") as con:
        assert con.execute("select surname from names").fetchall() == [("kept",)]
    beside = {f.name for f in home.path.iterdir() if f.name.startswith(("warehouse", "vault"))}
    assert beside == {"warehouse.duckdb", "vault.duckdb"}
    assert home.warehouse.stat().st_mode & 0o077 == home.vault.stat().st_mode & 0o077 == 0


def test_removed_rows_are_in_no_byte_and_all_else_stands(home: Home) -> None:
    catalog, rows, size = _catalog(home), _rows(home), home.vault.stat().st_size
    assert all(catalog) and len(rows[0]) == len(rows[1]) == 5000
    home.warehouse.chmod(0o644)
    rewrite_databases(home)
    assert CANARY.encode() not in home.warehouse.read_bytes()
    assert home.vault.stat().st_size < size
    assert (_catalog(home), _rows(home)) == (catalog, rows)
    _refuse_remains(home)
    with open_warehouse(home) as con, pytest.raises(duckdb.ConstraintException):
        con.execute("insert into z.pupils (id, stage) values ('kept1', 'P6')")


def test_the_old_key_of_a_vault_opens_nothing(home: Home) -> None:
    old, copy = home.key("vault"), home.vault.read_bytes()
    rewrite_databases(home, new_vault_key=True)
    assert home.key("vault") != old and home.vault.read_bytes() != copy
    with pytest.raises(StorageError, match="the key does not open it"):
        connect.copy_encrypted(home, home.vault, old, home.path / "opened", old)
    _refuse_remains(home)


def test_a_log_that_a_killed_program_left_is_in_the_fresh_file(home: Home) -> None:
    killed = (
        f"import duckdb, os; con = duckdb.connect({str(home.warehouse)!r}); "
        "con.execute('create table a.logged as select 42 as x'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert home.warehouse.with_name("warehouse.duckdb.wal").exists()
    rewrite_databases(home)
    _refuse_remains(home)
    with open_warehouse(home, read_only=True) as con:
        assert con.execute("from a.logged").fetchall() == [(42,)]


def test_files_that_were_set_aside_as_damaged_go_with_the_rows(home: Home) -> None:
    for name in ("warehouse.duckdb.damaged-1", "warehouse.duckdb.wal.damaged-1",
                 "vault.duckdb.damaged-2"):  # fmt: skip
        (home.path / name).write_text(CANARY)
    rewrite_databases(home)
    _refuse_remains(home)


class Killed(BaseException):
    """What a signal does."""


@pytest.mark.parametrize("step", ["copy_warehouse", "replace_durably", "copy_encrypted"])
def test_a_rewriting_that_was_killed_leaves_whole_files_and_is_done_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rows, real = _rows(home), getattr(erasure, step)

    def kill(*arguments: object) -> None:
        if step != "replace_durably":
            real(*arguments)
        raise Killed

    mark_removal(home, KEY)
    monkeypatch.setattr(erasure, step, kill)
    with pytest.raises(Killed):
        erase_removed(home, [KEY])
    monkeypatch.undo()
    assert waiting_engagements(home) == {KEY}
    assert _rows(home) == rows
    assert erase_removed(home, [KEY])
    assert CANARY.encode() not in home.warehouse.read_bytes()
    assert waiting_engagements(home) == frozenset()
    _refuse_remains(home)


def test_a_file_that_another_program_holds_is_left_as_it_is(home: Home) -> None:
    before = home.warehouse.read_bytes()
    holds = (
        f"import duckdb; con = duckdb.connect({str(home.warehouse)!r}, read_only=True); "
        "print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="another process holds the file"):
            rewrite_databases(home)
        other.communicate("\n")
    assert home.warehouse.read_bytes() == before
    rewrite_databases(home)
    _refuse_remains(home)


def test_files_wait_until_every_table_of_the_engagement_is_made_anew(home: Home) -> None:
    def said() -> tuple[bool, str]:
        return next((f.is_ok, f.detail) for f in examine(home) if f.what == "removed rows")

    assert said()[0]
    mark_removal(home, KEY)
    mark_removal(home, "t1-east-ayrshire")
    assert said() == (False, said()[1]) and KEY in said()[1] and "rcs materialise" in said()[1]
    assert not erase_removed(home, ["t3-angus"])
    assert CANARY.encode() in home.warehouse.read_bytes()
    assert erase_removed(home, [KEY, "t3-angus"])
    assert waiting_engagements(home) == {"t1-east-ayrshire"}
    forget_marks(home, ["t1-east-ayrshire"])
    assert said()[0]


def test_a_home_without_databases_has_nothing_to_write_anew(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", profile="demo")
    rewrite_databases(home)
    assert not home.warehouse.exists() and not home.vault.exists()
