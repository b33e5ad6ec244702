"""Connections, encryption, pseudonyms, the lock, damaged files."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from rcs_assets.errors import StorageError
from rcs_assets.storage import (
    Home,
    Settings,
    hmac_expression,
    open_memory,
    open_vault,
    open_warehouse,
    public_count,
    write_lock,
)
from rcs_assets.storage.fingerprints import forget, record, recorded_fingerprints
from rcs_assets.storage.recover import set_aside_if_damaged

CANARY = "ZYXCANARYNAME"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home", profile="demo")


def test_the_vault_is_encrypted_and_keeps_its_rows(home: Home) -> None:
    with open_vault(home) as con:
        con.execute("create table names as select ? as surname", [CANARY])
    with open_vault(home, read_only=True) as con:
        assert con.execute("select surname from names").fetchall() == [(CANARY,)]
    assert CANARY.encode() not in home.vault.read_bytes()
    assert home.vault.stat().st_mode & 0o777 == 0o600
    with pytest.raises(duckdb.Error):
        duckdb.connect(str(home.vault))


@pytest.mark.parametrize("opener", [open_vault, open_memory, open_warehouse])
def test_what_memory_cannot_hold_is_set_down_and_encrypted_where_identifiers_are(
    home: Home, opener: Callable[..., AbstractContextManager[duckdb.DuckDBPyConnection]]
) -> None:
    little = replace(Settings.from_environment(), memory_limit="30MB")
    with opener(home, settings=little) as con:
        con.execute(
            "create temp table many as "
            f"select md5(i::varchar) || '{CANARY}' as name from range(700000) as r(i)"
        )
        files = [file.read_bytes() for file in home.tmp.rglob("*") if file.is_file()]
        assert con.execute("select count(name) from many").fetchall() == [(700_000,)]
    assert sum(map(len, files)) > 1_000_000
    # The warehouse holds no identifier; that its canaries are seen shows that the others would be.
    assert any(CANARY.encode() in file for file in files) == (opener is open_warehouse)
    assert not [file for file in home.tmp.rglob("*") if file.is_file()]


def test_a_wrong_key_is_refused_and_nothing_is_moved(home: Home) -> None:
    with open_vault(home) as con:
        con.execute("create table t (a integer)")
    (home.keys / "vault.key").write_text("00" * 32)
    with pytest.raises(StorageError, match="not the key of this installation"):
        set_aside_if_damaged(home)
    assert home.vault.exists()


@pytest.mark.parametrize("opener", [open_vault, open_warehouse, open_memory])
def test_engine_errors_leave_without_values_or_cause(home: Home, opener: object) -> None:
    with pytest.raises(StorageError) as caught, opener(home) as con:
        con.execute("select cast(? as integer)", [CANARY])
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_errors_of_the_sql_itself_keep_their_text_in_the_warehouse(home: Home) -> None:
    with pytest.raises(duckdb.CatalogException, match="no_such_table"), open_warehouse(home) as con:
        con.execute("select * from no_such_table")


def test_pseudonyms_equal_the_standard_library(home: Home) -> None:
    key = home.key("record_id")
    with open_memory(home) as con:
        macro = hmac_expression(con, "record_id", key)
        texts = ["", "a", "t1-x|sample|Üñí", "x" * 200]
        got = [con.execute(f"select {macro}(?)", [text]).fetchall()[0][0] for text in texts]
    assert got == [hmac.new(key, text.encode(), hashlib.sha256).hexdigest() for text in texts]


def test_the_lock_is_reentrant_and_names_its_holder_to_others(home: Home) -> None:
    code = (
        "from rcs_assets.storage import Home, write_lock\n"
        f"with write_lock(Home.open({str(home.path)!r}), 'second', wait_seconds=0.2): pass\n"
    )
    with write_lock(home, "the first"), write_lock(home, "inside"):
        blocked = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
    assert blocked.returncode != 0
    assert "(the first, since" in blocked.stderr
    freed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert freed.returncode == 0


def test_a_damaged_warehouse_is_set_aside_with_the_vault(home: Home) -> None:
    with open_warehouse(home) as con:
        con.execute("create table t as select range as a from range(100000)")
    with open_vault(home) as con:
        con.execute("create table t (a integer)")
    content = bytearray(home.warehouse.read_bytes())
    content[:64] = b"\xff" * 64
    home.warehouse.write_bytes(content)
    moved = set_aside_if_damaged(home)
    assert moved == ("warehouse.duckdb.damaged-1", "vault.duckdb.damaged-1")
    assert not home.warehouse.exists()
    assert set_aside_if_damaged(home) == ()


def test_a_held_warehouse_is_not_taken_for_a_damaged_one(home: Home) -> None:
    with open_warehouse(home) as con:
        con.execute("create table t (a integer)")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import duckdb, sys; c = duckdb.connect({str(home.warehouse)!r}); "
            "print('open', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    try:
        with pytest.raises(StorageError, match="another process holds the file"):
            set_aside_if_damaged(home)
    finally:
        holder.communicate("")
    assert home.warehouse.exists()


def test_fingerprints_are_forgotten_and_recorded(home: Home) -> None:
    with open_warehouse(home) as con:
        assert recorded_fingerprints(con) == {}
        record(con, {"a": "1", "b": "2"})
        record(con, {"b": "3"})
        forget(con, ["a"])
        assert recorded_fingerprints(con) == {"b": "3"}


@pytest.mark.parametrize(("n", "shown"), [(0, 0), (1, "<10"), (9, "<10"), (10, 10)])
def test_small_counts_are_not_shown(n: int, shown: int | str) -> None:
    assert public_count(n) == shown
