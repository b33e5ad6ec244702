"""The log of decisions on doubtful links: a chain of hashes that can forget a child.

Belongs here: `logs/decisions.jsonl` and its head; adding a decision, forgetting one, checking all
of them. It lies in storage since intake asks it whether anything was decided (`freshness.py`).
Does not belong here: who may decide what, and what follows from it (`linkage`).

Each entry names the sha256 of the one before. The chain covers who decided, when, for which queue
and the salted sha256 of the content (case, verdict); the content itself stands beside it, and is
taken out when the child is withdrawn: the chain still holds, and nothing tells any more whose
case it was. A content that is gone without an entry that says so is found. The head, at the top
of the home, tells how many entries there are. No identifier stands in the log: a case is a keyed
hash, its records are known by the ids that intake minted.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.storage.chain import START, digest
from rcs_assets.storage.files import write_atomically
from rcs_assets.storage.home import Home
from rcs_assets.storage.lock import write_lock
from rcs_assets.storage.settings import operator_name


class Decision(StrEnum):
    """What is recorded."""

    REVIEWED = "reviewed"
    ADJUDICATED = "adjudicated"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Content:
    """What a decision says: the part that can be forgotten.

    `case`: keyed hash of the pair as it was seen; `left_id`, `right_id`: its records;
    `verdict`: same, different or unsure; `key_generation`: of the key of the hash.
    """

    case: str
    left_id: str
    right_id: str
    verdict: str
    key_generation: int
    salt: str = ""


@dataclass(frozen=True)
class DecisionEntry:
    """One line. `settles`: it ended its case; `forgets`: numbers of entries without content."""

    n: int
    at: str
    who: str
    account: str
    event: Decision
    engagement: str
    queue: str
    settles: bool
    forgets: tuple[int, ...]
    content_sha256: str
    sha256: str
    content: Content | None


def log_file(home: Home) -> Path:
    """Where the log lies."""
    return home.logs / "decisions.jsonl"


def head_file(home: Home) -> Path:
    """Where its head lies."""
    return home.path / "decisions.head"


def read_decisions(home: Home) -> tuple[DecisionEntry, ...]:
    """Every entry, after the whole chain was checked.

    Raises:
        StorageError: the log was changed or cut; the message names the line.
    """
    text = log_file(home).read_text("utf-8") if log_file(home).exists() else ""
    entries: list[DecisionEntry] = []
    previous = START
    for number, line in enumerate(text.splitlines(), 1):
        where = f"logs/decisions.jsonl, line {number}"
        entry, before, said = _parsed(line, where)
        if entry.n != number or before != previous or said != entry.sha256:
            raise _broken(where, "its hash does not follow from the entry before")
        if entry.content and digest(asdict(entry.content)) != entry.content_sha256:
            raise _broken(where, "its content is not the one that was recorded")
        entries.append(entry)
        previous = entry.sha256
    _refuse_other_head(home, entries)
    forgotten = {n for entry in entries for n in entry.forgets}
    for entry in entries:
        if (entry.content is None) != (entry.n in forgotten or entry.event is Decision.FORGOTTEN):
            where = f"logs/decisions.jsonl, line {entry.n}"
            raise _broken(where, "its content is gone, or is there, against what the log says")
    return tuple(entries)


def _parsed(line: str, where: str) -> tuple[DecisionEntry, str, str]:
    """The entry, the hash that it names as the one before, and the hash that follows from it."""
    try:
        raw = json.loads(line)
        before, content = raw.pop("previous"), raw.pop("content")
        covered = {name: value for name, value in raw.items() if name != "sha256"}
        entry = DecisionEntry(
            **raw
            | {
                "event": Decision(raw["event"]),
                "forgets": tuple(raw["forgets"]),
                "content": Content(**content) if content else None,
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _broken(where, "the line is not in its form") from None
    return entry, before, digest(covered | {"previous": before})


def add_decision(
    home: Home,
    entries: Sequence[DecisionEntry],
    *,
    who: str,
    event: Decision,
    engagement: str,
    queue: str,
    settles: bool,
    content: Content,
) -> DecisionEntry:
    """Add a decision; the caller holds the home's write lock since it read `entries`."""
    salted = Content(**asdict(content) | {"salt": secrets.token_hex(16)})
    return _add(home, entries, who, event, engagement, queue, settles, (), salted)


def forget(home: Home, engagement: str, cases: Collection[str]) -> int:
    """Take out the content of all decisions on some cases, and say so.

    Args:
        home: the installation.
        engagement: of the cases.
        cases: keyed hashes.

    Returns:
        Number of entries that lost their content.
    """
    with write_lock(home, "forgetting decisions"):
        entries = read_decisions(home)
        gone = tuple(e.n for e in entries if e.content and e.content.case in cases)
        if gone:
            _add(
                home, entries, operator_name(home), Decision.FORGOTTEN, engagement, "", False, gone
            )
    return len(gone)


def forget_engagement(home: Home, engagement: str) -> int:
    """Take out the content of all decisions of an engagement, at the end of its retention."""
    cases = {
        entry.content.case
        for entry in read_decisions(home)
        if entry.content and entry.engagement == engagement
    }
    return forget(home, engagement, cases)


def settled_marks(home: Home) -> Mapping[str, str]:
    """Engagement → hash of the last entry that settled a case: links depend on it.

    To forget a decision changes nothing here: the run that forgets is the one that applies.
    """
    return {entry.engagement: entry.sha256 for entry in read_decisions(home) if entry.settles}


def _add(
    home: Home,
    entries: Sequence[DecisionEntry],
    who: str,
    event: Decision,
    engagement: str,
    queue: str,
    settles: bool,
    forgets: tuple[int, ...],
    content: Content | None = None,
) -> DecisionEntry:
    covered: dict[str, Any] = {
        "n": len(entries) + 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": who,
        "account": operator_name(home),
        "event": event.value,
        "engagement": engagement,
        "queue": queue,
        "settles": settles,
        "forgets": list(forgets),
        "content_sha256": digest(asdict(content)) if content else "",
    }
    previous = entries[-1].sha256 if entries else START
    sha256 = digest(covered | {"previous": previous})
    added = DecisionEntry(
        **covered | {"event": event, "forgets": forgets}, sha256=sha256, content=content
    )
    if entries:
        # A head that a full disk left behind catches up first: so it is never two entries behind.
        _write_head(home, len(entries), previous)
    _write(home, [*entries, added])
    return added


def _write(home: Home, entries: Sequence[DecisionEntry]) -> None:
    """The whole log, then its head: whoever is killed between leaves a head one entry behind."""
    gone = {n for entry in entries for n in entry.forgets}
    previous, lines = START, []
    for entry in entries:
        content = asdict(entry.content) if entry.content and entry.n not in gone else None
        kept = {field.name: getattr(entry, field.name) for field in fields(entry)}
        line = kept | {"event": entry.event.value, "previous": previous, "content": content}
        lines.append(json.dumps(line, sort_keys=True) + "\n")
        previous = entry.sha256
    home.logs.mkdir(exist_ok=True, mode=0o700)
    write_atomically(log_file(home), "".join(lines))
    _write_head(home, len(entries), previous)


def _write_head(home: Home, number: int, sha256: str) -> None:
    head = {"n": number, "sha256": sha256}
    write_atomically(head_file(home), json.dumps(head, sort_keys=True) + "\n")


def _refuse_other_head(home: Home, entries: Sequence[DecisionEntry]) -> None:
    try:
        head = json.loads(head_file(home).read_text("utf-8")) if head_file(home).exists() else {}
        number, told = int(head.get("n", 0)), str(head.get("sha256", START))
    except (ValueError, TypeError, AttributeError):
        raise _broken("decisions.head", "the file is not in its form") from None
    if number > len(entries):
        raise _broken(
            "logs/decisions.jsonl", f"{number} entries were recorded, {len(entries)} are there"
        )
    hashes = [START, *(entry.sha256 for entry in entries)]
    if number < len(entries) - 1 or hashes[number] != told:
        raise _broken("decisions.head", "it is not the head of this log")


def _broken(where: str, why: str) -> StorageError:
    return StorageError(
        "The log of decisions was changed or cut",
        where=where,
        why=why,
        fix="find out by whom; restore logs/decisions.jsonl and decisions.head from one backup. "
        "Until then no link is made",
    )
