"""The audit log of releases: who approved, published and withdrew what, as a chain of hashes.

Belongs here: entries, the chain, where the log lies, the state that it gives a release.
Does not belong here: what is recorded when (`publish.py`, `approval.py`, `withdraw.py`).

`releases/audit.jsonl` is the installation's log. Each release holds a copy that ends with
its own publication, so that whoever holds a release can check how it came to be; the next
entry of the installation's log seals the checksums of the published folder. An entry names
the sha256 of the one before: none can be changed, left out or put between without breaking
every later one. Days are data (`--as-of`), and a day never lies before that of the entry
before: with a clock set back nothing is recorded, so nothing is approved or published. Nor does
one lie after today: every later entry would have to lie after it.

The head, at the top of the home, counts the entries and names the last: a log that was cut at its
end, or is gone, is found too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.release.files import AUDIT_LOG, CHECKSUMS, sha256_file
from rcs_assets.release.packages import versions
from rcs_assets.release.states import ReleaseState, may_follow
from rcs_assets.storage import Home, write_atomically
from rcs_assets.storage.chain import START, digest

# A day has begun somewhere before it has here.
_ZONES = timedelta(days=1)


class Event(StrEnum):
    """What is recorded."""

    CHECKED = "checked"
    APPROVED = "approved"
    REFUSED = "refused"
    PUBLISHED = "published"
    SEALED = "sealed"
    SUPERSEDED = "superseded"
    RESTORED = "restored"
    WITHDRAWN = "withdrawn"
    ERRATUM = "erratum"


_STATES = {
    Event.PUBLISHED: ReleaseState.PUBLISHED,
    Event.SUPERSEDED: ReleaseState.SUPERSEDED,
    Event.RESTORED: ReleaseState.PUBLISHED,
    Event.WITHDRAWN: ReleaseState.WITHDRAWN,
}


_STANDING = (ReleaseState.PUBLISHED, ReleaseState.SUPERSEDED)


@dataclass(frozen=True)
class Entry:
    """One line. `candidate` is the hash of the bytes that it speaks of, where it does."""

    event: Event
    day: str
    release: str
    candidate: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditLog:
    """Entries in their order; only `read_log` and `record` make one."""

    entries: tuple[Entry, ...] = ()

    @property
    def last_day(self) -> str:
        """The day of the last entry; empty for an empty log."""
        return self.entries[-1].day if self.entries else ""

    def extends(self, other: AuditLog) -> bool:
        """Whether this log is the other one with or without more entries."""
        return self.entries[: len(other.entries)] == other.entries

    def of(self, release: str, *events: Event) -> tuple[Entry, ...]:
        """Entries of one release, of these kinds (none named: all)."""
        return tuple(
            entry
            for entry in self.entries
            if entry.release == release and (not events or entry.event in events)
        )

    def state_of(self, release: str) -> ReleaseState | None:
        """The state of a published version; None if the log does not know it."""
        state = None
        for entry in self.of(release, *_STATES):
            state = _STATES[entry.event]
        return state

    def chained(self) -> list[dict[str, Any]]:
        """Each entry with its number, the hash of the one before and its own."""
        found: list[dict[str, Any]] = []
        previous = START
        for number, entry in enumerate(self.entries, 1):
            content: dict[str, Any] = {
                "n": number,
                "event": entry.event.value,
                "day": entry.day,
                "release": entry.release,
                "candidate": entry.candidate,
                "details": dict(entry.details),
                "previous": previous,
            }
            previous = digest(content)
            found.append(content | {"sha256": previous})
        return found

    def text(self) -> str:
        """The content of the file."""
        return "".join(json.dumps(line, sort_keys=True) + "\n" for line in self.chained())


def parse_log(text: str, where: str) -> AuditLog:
    """The log that a text holds.

    Raises:
        StorageError: a line is not in its form, or the chain is broken; it names the line.
    """
    entries: list[Entry] = []
    previous = START
    for number, line in enumerate(text.splitlines(), 1):
        try:
            content = json.loads(line)
            said = content.pop("sha256")
            entry = Entry(
                Event(content["event"]),
                date.fromisoformat(content["day"]).isoformat(),
                str(content["release"]),
                str(content["candidate"]),
                dict(content["details"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _broken(where, number, "the line is not in its form") from error
        if content["n"] != number or content["previous"] != previous or said != digest(content):
            raise _broken(where, number, "its hash does not follow from the entry before")
        if entries and entry.day < entries[-1].day:
            raise _broken(where, number, "its day lies before that of the entry before")
        entries.append(entry)
        previous = said
    return AuditLog(tuple(entries))


def _broken(where: str, number: int, why: str) -> StorageError:
    return StorageError(
        "The audit log of releases was changed",
        where=f"{where}, line {number}",
        why=why,
        fix="restore releases/audit.jsonl from its backup; each release holds a copy up to "
        "its own publication",
    )


def log_file(home: Home) -> Path:
    """Where the installation's log lies."""
    return home.releases / AUDIT_LOG


def _head_file(home: Home) -> Path:
    return home.path / "audit.head"


def read_log(home: Home) -> AuditLog:
    """The installation's log, with what a publication that was killed could not add.

    Raises:
        StorageError: the log was changed or cut, or is not the one that the newest release tells.
    """
    log = _told(home, _read(log_file(home)))
    _refuse_cut(home, log)
    return log


def published(home: Home) -> list[str]:
    """Versions whose publication the log records, oldest first.

    All that lie there where the log itself is broken: that is a problem of every release, and
    named as such.
    """
    try:
        log = read_log(home)
    except StorageError:
        return versions(home)
    return [version for version in versions(home) if log.of(version, Event.PUBLISHED)]


def standing(home: Home) -> list[str]:
    """Versions that were published and not withdrawn, oldest first.

    Raises:
        StorageError: as of `read_log`.
    """
    log = read_log(home)
    return [v for v in versions(home) if log.state_of(v) in _STANDING]


def _told(home: Home, own: AuditLog) -> AuditLog:
    """The installation's log, or what the newest release tells where that is more."""
    for version in reversed(versions(home)):
        copy = home.releases / version / AUDIT_LOG
        if not copy.is_file():
            continue
        told = _read(copy)
        if not told.of(version, Event.PUBLISHED):
            continue  # A copy under another name tells of the release that it was made of.
        if own.extends(told):
            return own
        if told.extends(own):
            return _sealed(told, home, version)
        raise StorageError(
            "The audit log of the installation and that of a release disagree",
            where=f"{log_file(home)}; {copy}",
            why="one of them was changed or put in the place of another",
            fix="run: rcs release verify; restore what was changed from its backup",
        )
    return own


def _refuse_cut(home: Home, log: AuditLog) -> None:
    """Entries that the head counts must be there; a killed process may have left the head behind.

    Before the first publication of an installation is recorded there is none.
    """
    file = _head_file(home)
    if not file.is_file():
        is_first = not log_file(home).exists() and len(versions(home)) <= 1
        problem = "" if is_first else "it is not there, and there are entries or releases"
    else:
        try:
            head = json.loads(file.read_text(encoding="utf-8"))
            n, wanted = int(head["n"]), str(head["sha256"])
        except (ValueError, KeyError, TypeError):
            n, wanted = 0, ""
        chained = log.chained()
        is_there = 0 < n <= len(chained) and chained[n - 1]["sha256"] == wanted
        problem = "" if is_there else f"it names entry {n}, which the log does not have"
    if problem:
        raise StorageError(
            "The audit log of releases was cut, or another one was put in its place",
            where=f"{file}; {log_file(home)}",
            why=problem,
            fix="restore both from their backup: what was recorded after the last publication "
            "stands nowhere else",
        )


def _read(file: Path) -> AuditLog:
    if not file.is_file():
        return AuditLog()
    return parse_log(file.read_text(encoding="utf-8"), str(file))


def record(log: AuditLog, *entries: Entry) -> AuditLog:
    """The log with more entries.

    Raises:
        StorageError: the day lies before that of the last entry or after today, or the state of a
            release cannot follow on its state before.
    """
    for entry in entries:
        if problem := day_problem(log, date.fromisoformat(entry.day)):
            raise problem
        _refuse_impossible(log, entry)
        log = AuditLog((*log.entries, entry))
    return log


def _refuse_impossible(log: AuditLog, entry: Entry) -> None:
    state = _STATES.get(entry.event)
    if state is None:
        return
    # A version that is not known yet was let through by the gate: it is approved.
    before = log.state_of(entry.release) or ReleaseState.APPROVED
    if not may_follow(before, state):
        raise StorageError(
            f"Release {entry.release} is {before} and cannot become {state}",
            where=AUDIT_LOG,
            fix="run: rcs release list",
        )


def day_problem(log: AuditLog, day: date) -> StorageError | None:
    """Why nothing of this day can be recorded; None if it can."""
    if day.isoformat() < log.last_day:
        return StorageError(
            f"The day {day} lies before the last entry of the audit log, {log.last_day}",
            where=AUDIT_LOG,
            why="entries are in the order of time: the clock was set back, or --as-of names an "
            "earlier day",
            fix="set the clock, or name a day that is not earlier",
        )
    if day > date.today() + _ZONES:
        return StorageError(
            f"The day {day} lies after today",
            where=AUDIT_LOG,
            why="no later entry could lie before it: one mistyped day would end all releases",
            fix="leave --as-of out, or name a day that has come",
        )
    return None


def save_log(home: Home, log: AuditLog) -> None:
    """Write the installation's log, then its head; a reader sees the old or the new one."""
    home.releases.mkdir(parents=True, exist_ok=True)
    write_atomically(log_file(home), log.text())
    if chained := log.chained():
        head = {name: chained[-1][name] for name in ("n", "sha256")}
        write_atomically(_head_file(home), json.dumps(head, sort_keys=True) + "\n")


def seal(home: Home, log: AuditLog, version: str) -> AuditLog:
    """Record the checksums of a folder that was published."""
    return _sealed(log, home, version)


def _sealed(log: AuditLog, home: Home, version: str) -> AuditLog:
    published = log.of(version, Event.PUBLISHED)
    if not published or log.of(version, Event.SEALED):
        return log
    sums = home.releases / version / CHECKSUMS
    day = published[-1].day
    entry = Entry(Event.SEALED, max(day, log.last_day), version, "", {CHECKSUMS: sha256_file(sums)})
    return record(log, entry)
