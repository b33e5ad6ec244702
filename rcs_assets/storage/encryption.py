"""Connections that can write encrypted: the vault's, and those that may spill to disk.

Belongs here: DuckDB's encryption library, found in the pinned package, its signature checked, and
loaded. Does not belong here: keys (`keyring.py`), which files are opened (`connect.py`).

DuckDB checks the signature of a library of 20 MB each time it is loaded, which takes 75 ms, and a
connection is opened for every step of intake. So the signature is checked once in a process; the
same file is then loaded without, and nothing unsigned can be loaded from there on.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import duckdb

from rcs_assets.errors import StorageError

# Nothing is fetched at run time: no extension is looked for on the network.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def connect_encrypting() -> duckdb.DuckDBPyConnection:
    """A connection in memory that writes encrypted files, and what memory cannot hold encrypted.

    The warehouse, which holds no identifier, is not encrypted; without this library the engine
    would refuse to encrypt its temporary files, and so to write any.

    Raises:
        StorageError: the library is missing, damaged, or not DuckDB's own.
    """
    folder = resources.files("duckdb_extension_httpfs") / "extensions"
    binary = folder / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    if not binary.is_file():
        raise StorageError(
            "The encryption library of DuckDB is missing",
            why=f"the vault needs duckdb-extension-httpfs {duckdb.__version__}",
            fix="run: make demo (it installs the pinned packages)",
        )
    with resources.as_file(binary) as path:
        found = path.stat()
        _check_signature(path, found.st_ino, found.st_size, found.st_mtime_ns)
        con = duckdb.connect(":memory:", config=CONFIG | {"allow_unsigned_extensions": True})
        _load(con, path)
    # It can be switched off at any time, and on never again.
    con.execute("set allow_unsigned_extensions = false")
    con.execute("set temp_file_encryption = true")
    return con


@cache
def _check_signature(path: Path, inode: int, size: int, changed_at: int) -> None:  # noqa: ARG001
    """Have DuckDB check who made this very file."""
    with duckdb.connect(":memory:", config=CONFIG) as con:
        _load(con, path)


def _load(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    quoted = str(path).replace("'", "''")
    try:
        con.execute(f"load '{quoted}'")
    except duckdb.Error:
        con.close()
        raise StorageError(
            "The encryption library of DuckDB cannot be loaded",
            where=str(path),
            why="it is damaged, or its signature is not DuckDB's",
            fix="run: make clean setup (it installs the pinned packages)",
        ) from None
