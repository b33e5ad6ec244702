"""Connections to the zones: opened for one purpose, always closed.

Belongs here: opening warehouse, vault and scratch connections with the limits of
the settings, shutting the vault's against every other file, asking the guard, and hiding
engine messages that could hold values. Does not belong here: any query of a room.

DuckDB puts values into its messages (a conversion error names the value), so an
engine error that leaves a connection is raised again without its text (design.md,
Zones). Errors about the SQL itself hold no values and keep theirs in the warehouse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from rcs_assets.codebook import load_codebook
from rcs_assets.errors import StorageError
from rcs_assets.storage.access_log import Access, process_purpose, record_access
from rcs_assets.storage.encryption import CONFIG, connect_encrypting
from rcs_assets.storage.guard import identifier_columns, payload_columns, refuse_names
from rcs_assets.storage.home import Home
from rcs_assets.storage.keyring import VAULT, finish_rotation, read_key
from rcs_assets.storage.lock import write_lock
from rcs_assets.storage.settings import Settings

WAREHOUSE = "warehouse.duckdb"
_HELD_MARKS = ("could not set lock", "different configuration", "already attached")
_KEY_MARKS = ("encryption key", "without a key")
_SQL_ERRORS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)


class DamagedFileError(StorageError):
    """A database file that no longer opens, although nobody holds it and the key is right."""


def sql_literal(text: str | Path) -> str:
    """Text as an SQL string literal; for statements that take no parameters (ATTACH, COPY)."""
    return "'" + str(text).replace("'", "''") + "'"


def sql_list(texts: Iterable[str]) -> str:
    """Texts for `in (…)`; of none, nothing is one: null."""
    return ", ".join(map(sql_literal, texts)) or "null"


@contextmanager
def open_warehouse(
    home: Home,
    *,
    read_only: bool = False,
    settings: Settings | None = None,
    purpose: str = "",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse, for writing (under the home's lock) or reading.

    Args:
        home: the installation.
        read_only: for reading; without it the home's write lock is held.
        settings: limits of the connection.
        purpose: for what, in a few words, for the access log; by default the command.

    Raises:
        StorageError: the file is missing (reading), held by another process or unreadable.
    """
    if read_only:
        if not home.warehouse.exists():
            raise StorageError(
                "There is no warehouse yet", where=str(home.warehouse), fix="run: rcs materialise"
            )
        record_access(home, Access.WAREHOUSE_READ, WAREHOUSE, purpose or process_purpose())
        with _warehouse(home, True, settings) as con:
            yield con
        return
    with write_lock(home, "writing the warehouse"):
        record_access(home, Access.WAREHOUSE_WRITTEN, WAREHOUSE, purpose or process_purpose())
        with _warehouse(home, False, settings) as con:
            yield con


@contextmanager
def _warehouse(
    home: Home, read_only: bool, settings: Settings | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        con = duckdb.connect(str(home.warehouse), read_only=read_only, config=CONFIG)
    except duckdb.Error as error:
        raise _cannot_open("warehouse", home.warehouse, error) from None
    try:
        _apply(con, home, settings)
        if not read_only:
            home.warehouse.chmod(0o600)
        forbidden = identifier_columns(load_codebook(home.config))
        with _without_values("the warehouse", keep_sql_errors=True):
            refuse_names(con, "warehouse", forbidden)
            yield con
            if not read_only:
                refuse_names(con, "warehouse", forbidden)
    finally:
        con.close()


def _cannot_open(zone: str, file: Path, error: duckdb.Error) -> StorageError:
    """Tell apart a file that is held, a wrong key and damage; the engine's words stay here."""
    text = str(error).lower()
    what = f"The {zone} cannot be opened"
    if any(mark in text for mark in _HELD_MARKS):
        return StorageError(
            what,
            where=str(file),
            why="another process holds the file",
            fix="close the program that uses it, then run the command again",
        )
    if any(mark in text for mark in _KEY_MARKS):
        return StorageError(
            what,
            where=str(file),
            why="the key does not open it",
            fix="restore keys/vault.key from its backup",
        )
    return DamagedFileError(
        what,
        where=str(file),
        why=f"the file is damaged ({type(error).__name__})",
        fix="run: rcs materialise (it sets the file aside and rebuilds it from the drop)",
    )


@contextmanager
def open_vault(
    home: Home,
    *,
    read_only: bool = False,
    settings: Settings | None = None,
    purpose: str = "not stated",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The encrypted vault; its tables are in the connection's default catalog.

    Args:
        home: the installation.
        read_only: for reading; without it the home's write lock is held.
        settings: limits of the connection.
        purpose: for what, in a few words; it stands in the access log.

    Raises:
        StorageError: no vault yet (reading), or the key does not open it. The text of
            an engine error inside the block is never passed on.
    """
    if read_only and not home.vault.exists():
        raise StorageError(
            "There is no vault yet", where=str(home.vault), fix="run: rcs materialise"
        )
    if read_only:
        record_access(home, Access.VAULT_READ, "vault.duckdb", purpose)
        with _vault(home, True, settings) as con:
            yield con
        return
    with write_lock(home, "writing the vault"):
        record_access(home, Access.VAULT_WRITTEN, "vault.duckdb", purpose)
        with _vault(home, False, settings) as con:
            yield con


@contextmanager
def _vault(
    home: Home, read_only: bool, settings: Settings | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    if any(home.path.glob("vault.duckdb.next-*")):
        with write_lock(home, "finishing a rotation of keys"):
            finish_rotation(home)
    key = read_key(home, VAULT)
    con = connect_encrypting()
    try:
        _apply(con, home, settings)
        mode = ", read_only" if read_only else ""
        try:
            con.execute(
                f"attach {sql_literal(home.vault)} as vault (encryption_key '{key.hex()}'{mode})"
            )
        except duckdb.Error as error:
            raise _cannot_open("vault", home.vault, error) from None
        home.vault.chmod(0o600)
        con.execute("use vault")
        _shut(con)
        forbidden = payload_columns(load_codebook(home.config))
        with _without_values("the vault", keep_sql_errors=False):
            refuse_names(con, "vault", forbidden)
            yield con
            refuse_names(con, "vault", forbidden)
    finally:
        con.close()


def _shut(con: duckdb.DuckDBPyConnection) -> None:
    """From here on the engine opens no other file: none to attach, to read or to write."""
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")


def copy_encrypted(home: Home, source: Path, key: bytes, target: Path, new_key: bytes) -> None:
    """Write an encrypted database file anew under another key, or under the same.

    Raises:
        StorageError: the key does not open it, or the copy failed; the target is removed.
    """
    options = [f" (encryption_key '{one.hex()}')" for one in (key, new_key)]
    _copy(home, "vault", (source, options[0]), (target, options[1]))


def copy_warehouse(home: Home, target: Path) -> None:
    """Write the warehouse anew.

    Raises:
        StorageError: another process holds it, or the copy failed; the target is removed.
    """
    _copy(home, "warehouse", (home.warehouse, ""), (target, ""))


def _copy(home: Home, zone: str, old: tuple[Path, str], new: tuple[Path, str]) -> None:
    """All that stands in a database, into a fresh file: what was deleted is not among it.

    The old one has its own name in the engine, by which its views may name their tables. Its log is
    written into it before: left beside the fresh file it would be taken for that one's.
    """
    (source, opened), (target, made) = old, new
    con = connect_encrypting()
    _remove(target)
    try:
        _apply(con, home, None)
        try:
            con.execute(f"attach {sql_literal(source)} as {zone}{opened}")
        except duckdb.Error as error:
            raise _cannot_open(zone, source, error) from None
        with _without_values(f"the {zone}", keep_sql_errors=False):
            con.execute(f"checkpoint {zone}")
            con.execute(f"attach {sql_literal(target)} as fresh{made}")
            target.chmod(0o600)
            con.execute(f"copy from database {zone} to fresh")
            con.execute("detach fresh")
    except StorageError:
        _remove(target)
        raise
    finally:
        con.close()
    _refuse_log(source)


def _remove(file: Path) -> None:
    for part in (file, _log_of(file)):
        part.unlink(missing_ok=True)


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _refuse_log(file: Path) -> None:
    if _log_of(file).exists():
        raise StorageError(
            f"The log of {file.name} could not be written into it",
            where=f"{file.name}.wal",
            why="beside a fresh file it would be taken for that one's",
            fix="run the command again; if it stays: rcs doctor",
        )


@contextmanager
def open_memory(
    home: Home, *, settings: Settings | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A scratch connection; what does not fit into memory goes encrypted into the home's tmp."""
    con = connect_encrypting()
    try:
        _apply(con, home, settings)
        with _without_values("a delivered file", keep_sql_errors=False):
            yield con
    finally:
        con.close()


def _apply(con: duckdb.DuckDBPyConnection, home: Home, settings: Settings | None) -> None:
    limits = settings or Settings.from_environment()
    con.execute(f"set threads = {limits.threads}")
    con.execute(f"set memory_limit = {sql_literal(limits.memory_limit)}")
    con.execute(f"set temp_directory = {sql_literal(home.tmp)}")
    con.execute("set enable_progress_bar = false")
    con.execute("set timezone = 'UTC'")


@contextmanager
def _without_values(zone: str, *, keep_sql_errors: bool) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if keep_sql_errors and isinstance(error, _SQL_ERRORS):
            raise
        withheld = StorageError(
            f"A query on {zone} failed ({type(error).__name__})",
            why="the engine's message is withheld, since it can hold values of records",
            fix="run: rcs doctor; then report the command and this message",
        )
        try:
            raise withheld from None
        finally:
            # Whoever serialises the chain of causes (Dagster does) must not find it here.
            withheld.__context__ = None
