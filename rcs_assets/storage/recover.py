"""What to do with a database file that no longer opens.

Belongs here: setting a damaged warehouse or vault aside, so that the next run
rebuilds it: raw deliveries are immutable, so nothing is lost (design.md, Execution;
duckdb#19712). Does not belong here: rebuilding; that is an ordinary run.
"""

from __future__ import annotations

from pathlib import Path

from rcs_assets.storage.connect import DamagedFileError, open_vault, open_warehouse
from rcs_assets.storage.home import Home
from rcs_assets.storage.lock import write_lock


def set_aside_if_damaged(home: Home) -> tuple[str, ...]:
    """Open both databases once; move a damaged one aside, with its log.

    Returns:
        The names of the files that were moved. When either was, both are: their rows
        belong together, and both are rebuilt from the drop.

    Raises:
        StorageError: another program holds a file, or the vault's key is wrong: then
            nothing is moved.
    """
    with write_lock(home, "checking the databases"):
        damaged = [file for file in (home.warehouse, home.vault) if _is_damaged(home, file)]
        if not damaged:
            return ()
        return tuple(name for file in (home.warehouse, home.vault) for name in _set_aside(file))


def _is_damaged(home: Home, file: Path) -> bool:
    if not file.exists():
        return False
    try:
        opened = (
            open_warehouse(home)
            if file == home.warehouse
            else open_vault(home, purpose="looking for damage")
        )
        with opened as con:
            con.execute("select count(*) from duckdb_tables()").fetchall()
    except DamagedFileError:
        return True
    return False


def _set_aside(file: Path) -> list[str]:
    moved = []
    for part in (file, file.with_name(file.name + ".wal")):
        if part.exists():
            number = 1
            while (target := part.with_name(f"{part.name}.damaged-{number}")).exists():
                number += 1
            part.rename(target)
            moved.append(target.name)
    return moved
