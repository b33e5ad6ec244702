"""The end of retention: the keys of an engagement's deliveries are destroyed, with a certificate.

Belongs here: which engagements are past their day in privacy.csv, destroying their keys and
the certificate. Does not belong here: keys themselves (`keys.py`) and the rows in vault and
warehouse: a delivery without key counts as refused, so the next run removes them.

Every delivery of the engagement goes, earlier ones too; nothing is left that could be opened.

The certificate is written first, as a pending one; it gets its name when the last key is gone.
A run that was killed between them is completed by the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rcs_assets.intake import keys
from rcs_assets.intake.drop import Delivery, read_register
from rcs_assets.programme import Programme
from rcs_assets.storage import Home, write_atomically, write_lock

CERTIFICATES = "certificates"
PENDING = ".pending"


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
    """Destroy the keys of every ended engagement, after completing what a killed run began.

    Returns:
        The certificates, one an engagement.

    Raises:
        StorageError: another process writes to the home.
    """
    with write_lock(home, "ending retention"):
        completed = [_destroy(home, file) for file in pending_certificates(home)]
        ended = ended_engagements(home, programme, on)
        return (*completed, *(_destroy(home, _begin(home, one, on)) for one in ended))


def pending_certificates(home: Home) -> list[Path]:
    """Certificates of destructions that were begun and not completed."""
    return sorted((home.drop / CERTIFICATES).glob(f"*.json{PENDING}"))


def _destroy(home: Home, pending: Path) -> Path:
    """Destroy what a pending certificate lists, then let it hold."""
    content = json.loads(pending.read_text(encoding="utf-8"))
    reason = (
        f"Retention of {content['engagement']} ended on {content['retention_until']}; the key of "
        f"this delivery was destroyed on {content['destroyed_on']}. What to do: leave the "
        f"engagement out (rcs materialise --publish --leave-out {content['engagement']})."
    )
    keys.destroy_keys(home, [line["seq"] for line in content["deliveries"]], reason)
    certificate = pending.with_name(pending.name.removesuffix(PENDING))
    pending.replace(certificate)
    return certificate


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
            for line in _openable(home, ended.engagement)
        ],
        "not_covered": "copies of keys/ in backups; the packages of releases already published",
    }
    file = folder / f"{ended.engagement}-{number}.json{PENDING}"
    write_atomically(file, json.dumps(content, indent=2, sort_keys=True) + "\n")
    return file
