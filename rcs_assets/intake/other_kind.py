"""Replaced files of identifiers of the other kind: their keys end, so that no dictionary is kept.

Belongs here: which deliveries these are, destroying their keys, and the certificate. Does not
belong here: refusing a file that would be a dictionary beside what holds (`encoded.py`, `take.py`),
keys (`keys.py`).

A council that changes from names to encodings, or back, leaves its earlier files sealed in the
drop. Whoever opens one of either kind learns how the key writes each name. So when a file of the
other kind is taken in, the keys of all that it and its like replaced are destroyed. Nothing is made
of a replaced delivery, so a rebuild from the drop gives the same rows without it. No single file
that was sent by mistake does it: a sample file of the other kind that comes without extracts of its
kind is refused at the door (`encoded.refuse_lone_change`).

The certificate is written as begun first and gets its name when the last key is gone; what was
killed in between is completed by the next file that is taken in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from rcs_assets.intake import certificates, keys
from rcs_assets.intake.drop import Delivery, read_register
from rcs_assets.intake.encoded import IDENTIFIED_EXTRACTS, SAMPLE
from rcs_assets.intake.receipts import is_taken
from rcs_assets.storage import Home

DATASETS = (SAMPLE, *IDENTIFIED_EXTRACTS)
BEGUN = ".begun"
_STEM = "other-kind"


def end_other_kind(home: Home, engagement: str, day: date) -> None:
    """Destroy the keys of replaced files of identifiers that are not of the sample file's kind.

    Args:
        home: the installation, under its write lock.
        engagement: partition key.
        day: of the destruction.

    Nothing happens while the sample file that holds was refused or waits.
    """
    _complete(home)
    ended = _ended(home, engagement)
    if not ended:
        return
    content = {
        "certificate": "destruction of the keys of replaced files of identifiers of another kind",
        "why": "identifiers beside encodings of the same children would be a dictionary",
        "engagement": engagement,
        "destroyed_on": day.isoformat(),
        "cipher": "AES-256-GCM, one random key a delivery",
        "deliveries": [
            {
                "seq": line.seq,
                "dataset": line.dataset,
                "sha256": line.sha256,
                "received_on": line.received_on,
                "is_encoded": line.is_encoded,
            }
            for line in ended
        ],
        "not_covered": "copies of keys/ and drop/ in backups",
    }
    certificates.begin(home, f"{_STEM}-{engagement}", BEGUN, content)
    _complete(home)


def _ended(home: Home, engagement: str) -> Sequence[Delivery]:
    own = [
        line
        for line in read_register(home)
        if line.engagement == engagement and line.dataset in DATASETS
    ]
    held = {line.dataset: line for line in own}
    sample = held.get(SAMPLE)
    if sample is None or sample.refused or not is_taken(home, sample):
        return ()
    return [
        line
        for line in own
        if line is not held[line.dataset]
        and not line.refused
        and line.is_encoded != sample.is_encoded
    ]


def _complete(home: Home) -> None:
    """Destroy the keys that certificates which were begun list, then let these hold."""
    for begun in certificates.listed(home, _STEM, BEGUN):
        content = certificates.read(begun)
        reason = (
            "Replaced by a file of the other kind (identifiers, encodings): both would be a "
            f"dictionary; the key of this delivery was destroyed on {content['destroyed_on']}."
        )
        keys.destroy_keys(home, [line["seq"] for line in content["deliveries"]], reason)
        certificates.finish(begun)
