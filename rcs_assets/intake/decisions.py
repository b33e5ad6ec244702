"""Decisions of an operator on UIDs that stand under another school: asked, written, delivered.

Belongs here: which proposals wait, and the delivery that records a decision. Does not belong here:
finding them and carrying them out (`mixed.py`), the command (`rcs_assets/commands/fieldwork.py`).

A decision is a delivery like any other: it lies in the drop, has a receipt, and every rebuild
replays it. It names the sample file by its sha256, so that it never changes another one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from rcs_assets.codebook import Codebook
from rcs_assets.errors import InputError
from rcs_assets.intake.drop import DeliveryStatus, current_deliveries, deliver, opened
from rcs_assets.intake.mixed import KEEP, OPEN, REPAIR
from rcs_assets.intake.receipts import read_receipts
from rcs_assets.programme import Programme, write_simulated_manifest
from rcs_assets.storage import Home

DATASET = "uid_decisions"
DECISIONS = (REPAIR, KEEP)
_COLUMNS = (
    "sample_sha256",
    "seed_code_delivered",
    "seed_code_right",
    "decision",
    "decided_by",
    "decided_on",
    "reason",
)


@dataclass(frozen=True)
class Waiting:
    """One proposal about a sample file; `decision` is `open` until somebody decided."""

    engagement: str
    sample_sha256: str
    seed_code_delivered: str
    seed_code_right: str
    pupils_n: int
    evidence: str
    distance_before: float
    distance_after: float
    decision: str


def proposals(home: Home, engagement: str | None = None) -> tuple[Waiting, ...]:
    """Every proposal of the sample files that hold, of one engagement or all."""
    return tuple(
        Waiting(engagement=receipt.engagement or "", sample_sha256=receipt.sha256, **proposal)
        for receipt in read_receipts(home)
        if receipt.dataset == "sample_file" and engagement in (None, receipt.engagement)
        for proposal in receipt.proposals
    )


def decide(
    home: Home,
    programme: Programme,
    codebook: Codebook,
    engagement: str,
    pair: tuple[str, str],
    decision: str,
    by: str,
    reason: str,
    day: date,
) -> str:
    """Record a decision as a delivery; what was decided before about this sample file stays.

    Args:
        home: the installation.
        programme, codebook: what deliveries there are.
        engagement: whose sample file.
        pair: SEED codes as delivered, and whose UIDs they are.
        decision: `repair` or `keep`.
        by: who decides.
        reason: what was looked at.
        day: of the decision.

    Returns:
        The name of the delivered file.

    Raises:
        InputError: there is no such proposal, or a cell is empty or not a plain text.
    """
    found = [
        item
        for item in proposals(home, engagement)
        if (item.seed_code_delivered, item.seed_code_right) == pair
    ]
    if not found:
        raise InputError(
            "Nothing asks for this decision",
            where=f"{engagement}, UIDs of school {pair[1]} under school {pair[0]}",
            why="only what intake proposed about the sample file that holds can be decided",
            fix="run: rcs uids list",
        )
    row = (found[0].sample_sha256, *pair, decision, by.strip(), day.isoformat(), reason.strip())
    if not by.strip() or not reason.strip():
        raise InputError(
            "A decision has a name and a reason", where="--by, --reason", fix="say who and why"
        )
    kept = [earlier for earlier in _earlier(home, engagement) if earlier[:3] != row[:3]]
    name = f"{engagement}_uid-decisions.csv"
    with _written(home, name, [*kept, row]) as path:
        outcome = deliver(home, [path], programme, codebook, received_on=day)[0]
    if outcome.status == DeliveryStatus.REFUSED:
        raise InputError("The decision was not recorded", where=f"file {name}", why=outcome.message)
    return name


def still_open(home: Home) -> tuple[Waiting, ...]:
    """Proposals that wait for a decision."""
    return tuple(item for item in proposals(home) if item.decision == OPEN)


def _earlier(home: Home, engagement: str) -> list[tuple[str, ...]]:
    """The rows of the decisions that hold."""
    delivery = current_deliveries(home).get((DATASET, engagement))
    if delivery is None or delivery.refused:
        return []
    with opened(home, delivery) as path:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        return [tuple(row[column] for column in _COLUMNS) for row in reader]


@contextmanager
def _written(home: Home, name: str, rows: list[tuple[str, ...]]) -> Iterator[Path]:
    """The file in a folder of its own; a demo's decision is simulated like what it is about."""
    with TemporaryDirectory(dir=home.tmp) as folder:
        path = Path(folder) / name
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
        if home.profile == "demo":
            write_simulated_manifest(path.parent, [path], home.seed or 0)
        yield path
