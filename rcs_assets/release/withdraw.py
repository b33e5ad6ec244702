"""Taking a release back, and saying what is wrong with one that stays.

Belongs here: the tombstone, what is read instead, errata. Does not belong here: withdrawing
a person's data, which happens at the deliveries (`intake`) and changes later releases.

What was read cannot be unread, and later releases are attacked together with it: the files
are moved to `releases/.withdrawn/`, which is handed to nobody, and only the tombstone is
seen. The audit log is written first: a withdrawal that is killed is completed by the next
command that writes releases.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

from rcs_assets.errors import InputError
from rcs_assets.release.audit_log import (
    AuditLog,
    Entry,
    Event,
    read_log,
    record,
    save_log,
)
from rcs_assets.release.files import (
    AUDIT_LOG,
    MANIFEST,
    disk_failures_named,
    file_list,
    sync_tree,
    write_checksums,
    write_json,
)
from rcs_assets.release.packages import (
    CURRENT,
    clean_leftovers,
    current_version,
    read_manifest,
    versions,
)
from rcs_assets.release.publish import point_current_to
from rcs_assets.release.states import ReleaseState
from rcs_assets.storage import Home
from rcs_assets.storage.files import sync
from rcs_assets.storage.home import TOMBSTONE, WITHDRAWN_FOLDER

# SCN and UID have more digits than the code of a school; an SCN is also written in groups, and has
# one digit more than a day.
_NUMBER_OF_A_PERSON = re.compile(r"\d{8}|\d(?:[ -]?\d){8}")
_KEPT = ("release", "as_of", "content_hash", "simulated", "codebook_version", "policy_version")


def withdraw_release(home: Home, version: str, *, reason: str, by: str, day: date) -> str | None:
    """Take a release back.

    Args:
        home: the installation.
        version: which one; `current` is the one that is read.
        reason: why; it stands on the tombstone, for everyone.
        by: who withdraws it.
        day: today.

    Returns:
        The version that is read now; None if no release is left.

    Raises:
        InputError: no such release, no reason or one with a person's number, or `current` after
            a withdrawal that was killed.
        StorageError: it was withdrawn before, or the log cannot be written.
    """
    reason, by = _said(reason, "a reason"), _said(by, "who withdraws it")
    with disk_failures_named(home.releases):
        completed = finish_withdrawals(home)
        if completed and version == CURRENT:
            raise _named_another(completed[-1])
        chosen = current_version(home) if version == CURRENT else version
        read_manifest(home, chosen or version)
        log = read_log(home)
        details = {"reason": reason, "by": by}
        log = record(log, Entry(Event.WITHDRAWN, day.isoformat(), str(chosen), "", details))
        before = _read_before(home, log) if chosen == current_version(home) else None
        if before:
            log = record(log, Entry(Event.RESTORED, day.isoformat(), before))
        save_log(home, log)
        finish_withdrawals(home)
        return current_version(home)


def _named_another(completed: str) -> InputError:
    """Whoever repeats a command that was killed would take back one release more."""
    return InputError(
        f"The withdrawal of {completed} had been cut off and was completed now",
        why="`current` names another release since: nothing else was withdrawn",
        fix="run: rcs release list; to withdraw another release, name its version",
    )


def _said(text: str, what: str) -> str:
    """What an operator says to all readers, on one line.

    Raises:
        InputError: nothing is said, or it holds the number of a person.
    """
    line = " ".join(text.split())
    if not line:
        raise InputError(
            f"What is said to readers lacks {what}",
            why="whoever holds the release must be able to learn what is wrong with it, and from "
            "whom",
            fix="give --text (erratum) or --reason (withdrawal), and --by",
        )
    if _NUMBER_OF_A_PERSON.search(line):
        raise InputError(
            "What is said to readers holds a number that could be a person's",
            where=f"what was given as {what}",
            why="every reader of this and of later releases gets to read it",
            fix="say it without numbers of 8 digits and more",
        )
    return line


def _read_before(home: Home, log: AuditLog) -> str | None:
    """The newest release that was superseded and not withdrawn."""
    superseded = (v for v in versions(home) if log.state_of(v) == ReleaseState.SUPERSEDED)
    return next(reversed(list(superseded)), None)


def record_erratum(home: Home, version: str, *, text: str, by: str, day: date) -> None:
    """Record what is wrong with a release that stays; the next release's notes repeat it.

    Raises:
        InputError: no such release, nothing said, or a person's number in it.
        StorageError: it was withdrawn, or the log cannot be written.
    """
    text, by = _said(text, "a text"), _said(by, "who says it")
    chosen = current_version(home) if version == CURRENT else version
    manifest = read_manifest(home, chosen or version)
    if "withdrawn" in manifest:
        raise InputError(f"Release {chosen} was withdrawn", why="its tombstone says why")
    details = {"text": text, "by": by}
    with disk_failures_named(home.releases):
        entry = Entry(Event.ERRATUM, day.isoformat(), str(chosen), "", details)
        save_log(home, record(read_log(home), entry))


def finish_withdrawals(home: Home) -> tuple[str, ...]:
    """Do what the audit log says and is not done yet; returns the releases that it was done to."""
    if not home.releases.is_dir():
        return ()
    clean_leftovers(home)
    log = read_log(home)
    due = [
        entry
        for entry in log.entries
        if entry.event == Event.WITHDRAWN
        and entry.release
        and not (home.releases / entry.release / TOMBSTONE).is_file()
    ]
    _point_away(home, log)
    for entry in due:
        _bury(home, log, entry)
    return tuple(entry.release for entry in due)


def _point_away(home: Home, log: AuditLog) -> None:
    """`current` never points to a release that was withdrawn."""
    link = home.releases / CURRENT
    if not link.is_symlink() or log.state_of(link.readlink().name) != ReleaseState.WITHDRAWN:
        return
    published = [v for v in versions(home) if log.state_of(v) == ReleaseState.PUBLISHED]
    point_current_to(home, published[-1] if published else None)


def _bury(home: Home, log: AuditLog, entry: Entry) -> None:
    place = home.releases / entry.release
    kept = home.releases / WITHDRAWN_FOLDER / entry.release
    if place.is_dir():
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        place.rename(kept)
        sync(kept.parent)
    aside = home.releases / f".tombstone-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    _write_tombstone(aside, kept, log, entry)
    sync_tree(aside)
    aside.rename(place)
    sync(home.releases)


def _write_tombstone(aside: Path, kept: Path, log: AuditLog, entry: Entry) -> None:
    manifest: dict[str, Any] = _manifest_of(kept)
    mark = "SIMULATED. " if manifest["simulated"] else ""
    said = {"day": entry.day, **entry.details}
    (aside / TOMBSTONE).write_text(
        f"# Release {entry.release} was withdrawn\n\n{mark}On {entry.day}, by "
        f"{entry.details['by']}.\n\nReason: {entry.details['reason']}\n\nWhoever holds a copy is "
        "asked to delete it and to use the current release.\n",
        encoding="utf-8",
    )
    position = log.entries.index(entry)
    (aside / AUDIT_LOG).write_text(AuditLog(log.entries[: position + 1]).text(), encoding="utf-8")
    listed = file_list(aside)
    content = {name: manifest[name] for name in _KEPT}
    write_json(
        aside / MANIFEST,
        {**content, "packages": {}, "left_out": [], "withdrawn": said, "files": listed},
    )
    entries = [*listed, *(e for e in file_list(aside) if e["path"] == MANIFEST)]
    write_checksums(aside, sorted(entries, key=lambda e: str(e["path"])))


def _manifest_of(kept: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((kept / MANIFEST).read_text(encoding="utf-8"))
    return content
