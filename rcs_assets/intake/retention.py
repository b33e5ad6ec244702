"""The end of retention: the keys of an engagement's deliveries are destroyed, with a certificate.

Belongs here: which engagements are past their day in privacy.csv, destroying their keys,
counting what is left, and the certificate. Does not belong here: keys themselves (`keys.py`) and
removing rows from vault and warehouse: a delivery without key counts as refused, so the run that
the command starts removes them.

Every delivery of the engagement goes, earlier ones too; nothing is left that could be opened.

A row that was removed stays in freed blocks of its file. So, once none is counted, the warehouse is
written into a fresh file and the vault under a new key: a copy of the old one opens no more.

The certificate is written first, as a pending one; it gets its name when the last key is gone, no
row of a child is left in either zone, and both files are new. What was killed in between is
completed by the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from rcs_assets.errors import StorageError
from rcs_assets.intake import certificates, keys
from rcs_assets.intake.contracts import count
from rcs_assets.intake.drop import Delivery, read_register
from rcs_assets.programme import Programme
from rcs_assets.storage import (
    Home,
    open_vault,
    open_warehouse,
    sql_literal,
    write_lock,
)
from rcs_assets.storage.erasure import forget_marks, rewrite_databases
from rcs_assets.storage.keyring import VAULT, key_generations, require_next_key

PENDING = ".pending"
_KEY_BEFORE = "vault_key_generation_ended"


@dataclass(frozen=True)
class Ended:
    """An engagement past its retention: its day, and how many of its deliveries can be opened."""

    engagement: str
    retention_until: date
    deliveries_n: int


def ended_engagements(home: Home, programme: Programme, on: date) -> tuple[Ended, ...]:
    """Engagements whose last day of retention is before `on` and whose keys are still there."""
    found = []
    for key, approval in programme.approvals.items():
        until = approval.retention_until
        held = _openable(home, key)
        if until is not None and until < on and held:
            found.append(Ended(key, until, len(held)))
    return tuple(found)


def destroy_ended(home: Home, programme: Programme, on: date) -> tuple[str, ...]:
    """Destroy the keys of every ended engagement, after those that a killed run left.

    Returns:
        The engagements whose rows a run must remove now; each has a pending certificate.

    Raises:
        StorageError: another process writes to the home.
        ConfigurationError: the vault's key comes from the environment, and no new one does;
            nothing was destroyed.
    """
    with write_lock(home, "ending retention"):
        begun, ended = pending_certificates(home), ended_engagements(home, programme, on)
        if ended or not _has_new_key(home, begun):
            require_next_key(VAULT)
        begun += [_begin(home, one, on) for one in ended]
        return tuple(sorted({_destroy(home, pending) for pending in begun}))


def complete_certificates(home: Home) -> tuple[Path, ...]:
    """Let the pending certificates hold: all, once nothing is left, in no block of a file either.

    Returns:
        The certificates, one an engagement.

    Raises:
        StorageError: rows are left, or a file could not be written anew; all stay pending.
    """
    with write_lock(home, "completing certificates"):
        begun = pending_certificates(home)
        engagements = [_count_nothing(home, pending) for pending in begun]
        if begun:
            rewrite_databases(home, new_vault_key=not _has_new_key(home, begun))
        forget_marks(home, engagements)
        return tuple(certificates.finish(pending) for pending in begun)


def _has_new_key(home: Home, begun: Iterable[Path]) -> bool:
    """Whether the vault was written under another key since its rows were found to be gone."""
    generation = key_generations(home).get(VAULT, 1)
    return all(
        certificates.read(pending).get(_KEY_BEFORE, generation) < generation for pending in begun
    )


def rows_left(home: Home, engagement: str) -> dict[str, int]:
    """Rows of an engagement's children in every table of vault and warehouse that has such rows.

    Returns:
        `zone.table` → rows; a zone without a file has no table.
    """
    found: dict[str, int] = {}
    if home.vault.exists():
        with open_vault(home, read_only=True, purpose="certifying destruction") as con:
            found |= {f"vault.{table}": n for table, n in _rows(con, engagement, _VAULT_ROWS)}
    if home.warehouse.exists():
        with open_warehouse(home, read_only=True) as con:
            found |= {f"warehouse.{t}": n for t, n in _rows(con, engagement, _CHILDREN)}
    return found


# Whatever has an engagement in the vault is about a child; in the warehouse it needs an id.
_VAULT_ROWS = "true"
_CHILDREN = "list_has_any(list(column_name), ['record_id', 'project_id'])"


def _rows(con: duckdb.DuckDBPyConnection, engagement: str, having: str) -> list[tuple[str, int]]:
    tables = con.execute(
        "select table_schema, table_name from information_schema.columns "
        "where table_catalog = current_database() group by all "
        f"having list_contains(list(column_name), 'engagement') and {having} order by all"
    ).fetchall()
    return [
        (f"{schema}.{table}", count(con, f"{schema}.{table}", f"engagement = {key}"))
        for key in [sql_literal(engagement)]
        for schema, table in tables
    ]


def pending_certificates(home: Home) -> list[Path]:
    """Certificates of destructions that were begun and not completed."""
    return certificates.listed(home, "", PENDING)


def _destroy(home: Home, pending: Path) -> str:
    """Destroy the keys that a pending certificate lists; gives its engagement."""
    content = certificates.read(pending)
    reason = (
        f"Retention of {content['engagement']} ended on {content['retention_until']}; the key of "
        f"this delivery was destroyed on {content['destroyed_on']}. What to do: leave the "
        f"engagement out (rcs materialise --publish --leave-out {content['engagement']})."
    )
    keys.destroy_keys(home, [line["seq"] for line in content["deliveries"]], reason)
    return str(content["engagement"])


def _count_nothing(home: Home, pending: Path) -> str:
    """Note in a certificate where nothing is left; gives its engagement.

    The generation of the vault's key stands from the first count on: a later one was made after it.
    """
    content = certificates.read(pending)
    left = rows_left(home, content["engagement"])
    standing = sorted(table for table, n in left.items() if n)
    if standing:
        raise StorageError(
            "Rows of an engagement whose keys were destroyed are still there",
            where=f"{content['engagement']}: {', '.join(standing)}",
            why="a certificate holds only when nothing is left in vault and warehouse",
            fix="run: rcs retention --destroy, which removes them; until then it stays pending",
        )
    content["tables_without_rows"] = sorted(left)
    content["files_written_anew"] = [home.vault.name, home.warehouse.name]
    content.setdefault(_KEY_BEFORE, key_generations(home).get(VAULT, 1))
    certificates.write(pending, content)
    return str(content["engagement"])


def _openable(home: Home, engagement: str) -> list[Delivery]:
    """Deliveries that were kept and have a key; refused ones never had one."""
    gone = keys.destroyed(home)
    return [
        line
        for line in read_register(home)
        if line.engagement == engagement and line.seq not in gone and not line.refused
    ]


def _begin(home: Home, ended: Ended, on: date) -> Path:
    """The pending certificate: what is to be destroyed, without a value of a record."""
    content = {
        "certificate": "destruction of the keys of deliveries at rest and of all rows made of them",
        "engagement": ended.engagement,
        "retention_until": ended.retention_until.isoformat(),
        "destroyed_on": on.isoformat(),
        "cipher": "AES-256-GCM, one random key a delivery",
        "deliveries": [
            {
                "seq": line.seq,
                "file": line.file,
                "dataset": line.dataset,
                "sha256": line.sha256,
                "received_on": line.received_on,
            }
            for line in _openable(home, ended.engagement)
        ],
        "not_covered": "copies of keys/ and of the databases in backups; a vault key that lay "
        "elsewhere; blocks of the disk where files of before lay; the packages of releases "
        "already published",
    }
    return certificates.begin(home, ended.engagement, PENDING, content)
