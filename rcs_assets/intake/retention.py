"""The end of retention: the keys of an engagement's deliveries are destroyed, with a certificate.

Belongs here: which engagements are past their day in privacy.csv, destroying their keys and
the certificate. Does not belong here: keys themselves (`keys.py`) and the rows in vault and
warehouse: a delivery without key counts as refused, so the next run removes them.

Every delivery of the engagement goes, earlier ones too; nothing is left that could be opened.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rcs_assets.intake import keys
from rcs_assets.intake.drop import Delivery, read_register
from rcs_assets.programme import Programme
from rcs_assets.storage import Home, write_atomically, write_lock

CERTIFICATES = "certificates"


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


def end_retention(home: Home, programme: Programme, on: date) -> tuple[Path, ...]:
    """Destroy the keys of every ended engagement.

    Returns:
        The certificates, one an engagement.

    Raises:
        StorageError: another process writes to the home.
    """
    with write_lock(home, "ending retention"):
        return tuple(_end(home, ended, on) for ended in ended_engagements(home, programme, on))


def _end(home: Home, ended: Ended, on: date) -> Path:
    deliveries = _openable(home, ended.engagement)
    reason = (
        f"Retention of {ended.engagement} ended on {ended.retention_until.isoformat()}; the key of "
        f"this delivery was destroyed on {on.isoformat()}. What to do: leave the engagement out "
        f"(rcs materialise --publish --leave-out {ended.engagement})."
    )
    keys.destroy_keys(home, [delivery.seq for delivery in deliveries], reason)
    return _certify(home, ended, on, deliveries)


def _openable(home: Home, engagement: str) -> list[Delivery]:
    """Deliveries that were kept and have a key; refused ones never had one."""
    gone = keys.destroyed(home)
    return [
        line
        for line in read_register(home)
        if line.engagement == engagement and line.seq not in gone and not line.refused
    ]


def _certify(home: Home, ended: Ended, on: date, deliveries: Sequence[Delivery]) -> Path:
    """What was destroyed, without a value of a record; written after the keys are gone."""
    folder = home.drop / CERTIFICATES
    folder.mkdir(exist_ok=True, mode=0o700)
    number = len(list(folder.glob(f"{ended.engagement}-*.json"))) + 1
    content = {
        "certificate": "destruction of the keys of deliveries at rest",
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
            for line in deliveries
        ],
        "not_covered": "copies of keys/ in backups; the packages of releases already published",
    }
    file = folder / f"{ended.engagement}-{number}.json"
    write_atomically(file, json.dumps(content, indent=2, sort_keys=True) + "\n")
    return file
