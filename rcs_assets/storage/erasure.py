"""Rows that were taken out leave the files too: each database is written anew without them.

Belongs here: writing warehouse and vault into fresh files that take their places, and which
engagements wait for it. Does not belong here: which rows go (intake), when all of them are out
(`rcs_assets.sessions`, `intake/retention.py`), keys (`keyring.py`).

A row that is deleted, or whose table is replaced, stays in freed blocks of its file until the
engine happens to use them again: anybody who opens the file's bytes finds it there. Files that were
set aside as damaged hold such rows as well, and are made anew from the drop anyway: they go.

The fresh file is whole on the disk before it takes the old one's place. Killed before, the old file
stands and the fresh one is replaced by the next; blocks of the disk itself are not overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from rcs_assets.storage.access_log import Access, record_access
from rcs_assets.storage.connect import copy_encrypted, copy_warehouse
from rcs_assets.storage.files import replace_durably, write_atomically
from rcs_assets.storage.home import Home
from rcs_assets.storage.keyring import VAULT, finish_rotation, read_key, rotate_keys
from rcs_assets.storage.lock import write_lock

_PURPOSE = "writing it anew without removed rows"


def mark_removal(home: Home, engagement: str) -> None:
    """Note that rows of children of an engagement are about to be taken out."""
    _write_marks(home, {*waiting_engagements(home), engagement})


def waiting_engagements(home: Home) -> frozenset[str]:
    """Engagements of whose removed rows some may still stand in freed blocks."""
    file = _marks(home)
    return frozenset(json.loads(file.read_text(encoding="utf-8")) if file.exists() else ())


def erase_removed(home: Home, done: Collection[str]) -> bool:
    """Write both databases anew if an engagement waits whose rows are all out; say whether.

    Args:
        home: the installation; no connection to a database of it may be open.
        done: engagements of which every table was made without the rows.

    Raises:
        StorageError: another program holds a file, or the disk is full; both files stand as before.
    """
    with write_lock(home, "erasing removed rows"):
        ready = waiting_engagements(home) & frozenset(done)
        if ready:
            rewrite_databases(home)
            forget_marks(home, ready)
        return bool(ready)


def forget_marks(home: Home, engagements: Collection[str]) -> None:
    """Note that nothing of these engagements waits any more."""
    left = waiting_engagements(home) - frozenset(engagements)
    if left:
        _write_marks(home, left)
    else:
        _marks(home).unlink(missing_ok=True)


def rewrite_databases(home: Home, *, new_vault_key: bool = False) -> None:
    """Put fresh files with all that stands in warehouse and vault in their places.

    Args:
        home: the installation; no connection to a database of it may be open.
        new_vault_key: the vault's key ends with the old file, so that no copy of it opens.

    Raises:
        StorageError: another program holds a file, or the disk is full; what stood there stands.
    """
    with write_lock(home, "writing the databases anew"):
        for aside in home.path.glob("*.duckdb*.damaged-*"):
            aside.unlink()
        _rewrite_warehouse(home)
        if new_vault_key:
            rotate_keys(home, [VAULT])
        else:
            _rewrite_vault(home)


def _rewrite_warehouse(home: Home) -> None:
    if home.warehouse.exists():
        record_access(home, Access.WAREHOUSE_WRITTEN, home.warehouse.name, _PURPOSE)
        fresh = _fresh(home.warehouse)
        copy_warehouse(home, fresh)
        replace_durably(fresh, home.warehouse)


def _rewrite_vault(home: Home) -> None:
    finish_rotation(home)
    if home.vault.exists():
        record_access(home, Access.VAULT_WRITTEN, home.vault.name, _PURPOSE)
        key, fresh = read_key(home, VAULT), _fresh(home.vault)
        copy_encrypted(home, home.vault, key, fresh, key)
        replace_durably(fresh, home.vault)


def _fresh(file: Path) -> Path:
    return file.with_name(f"{file.name}.fresh")


def _marks(home: Home) -> Path:
    return home.path / "erasure.json"


def _write_marks(home: Home, engagements: Collection[str]) -> None:
    write_atomically(_marks(home), json.dumps(sorted(engagements)) + "\n")
