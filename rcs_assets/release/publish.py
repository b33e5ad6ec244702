"""Publishes a candidate that passed the gate: whole or not at all.

Belongs here: completing the candidate's top level, moving it to its version, swapping
`current`. Does not belong here: deciding (`gate.py`); only the asset [release, published]
calls this.

Every step leaves the last release whole: the candidate is completed where it lies, its
bytes are forced to disk, one rename makes it a release, another makes it current. A kill
between the renames is healed by the next call, which finds the release by its content; the
entries of the audit log that were not added yet stand in the release's own copy of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.release.approval import stored
from rcs_assets.release.audit_log import (
    AuditLog,
    Entry,
    Event,
    published,
    read_log,
    record,
    save_log,
    seal,
)
from rcs_assets.release.evidence import evidence_page
from rcs_assets.release.files import (
    AUDIT_LOG,
    CANDIDATE_FILE,
    CHECKSUMS,
    EVIDENCE,
    MANIFEST,
    disk_failures_named,
    file_entry,
    file_list,
    sync_tree,
    write_checksums,
    write_json,
)
from rcs_assets.release.gate import CheckRecord
from rcs_assets.release.packages import (
    CANDIDATE,
    CURRENT,
    clean_leftovers,
    current_version,
    read_candidate,
    read_manifest,
)
from rcs_assets.release.seal import candidate_hash
from rcs_assets.release.states import ReleaseState
from rcs_assets.storage import Home
from rcs_assets.storage.files import sync

# What completes a candidate.
_COMPLETED = (EVIDENCE, CHECKSUMS, AUDIT_LOG, MANIFEST)


@dataclass(frozen=True)
class Published:
    """`is_new` is false where the candidate says what the current release says already."""

    version: str
    path: Path
    is_new: bool


def publish_candidate(
    home: Home, content_hash: str, checks: Sequence[CheckRecord], *, day: date | None = None
) -> Published:
    """Publish the candidate with this content.

    Args:
        home: the installation.
        content_hash: of the candidate that the gate decided on.
        checks: the records that the gate saw; they go into manifest and evidence page.
        day: on which it is published; that of the candidate if not given.

    Raises:
        StorageError: there is neither such a candidate nor such a release, its version is
            taken by another release, the day lies before the last one recorded, something
            stands in the way, or the disk is full. The current release stays as it is.
    """
    _refuse_in_the_way(home)
    with disk_failures_named(home.releases):
        return _publish(home, content_hash, checks, day)


def _refuse_in_the_way(home: Home) -> None:
    """Refuse what is not removed unseen, since nobody knows what it holds.

    Raises:
        StorageError: a folder has the name of a file that is written, or `current` is no link.
    """
    link = home.releases / CURRENT
    files = [home.releases / CANDIDATE / name for name in _COMPLETED]
    found = [file for file in (*files, home.releases / AUDIT_LOG) if file.is_dir()]
    if link.exists() and not link.is_symlink():
        found.append(link)
    if found:
        raise StorageError(
            "Something stands where publishing writes",
            where=str(found[0]),
            why="it was not made by the platform; the current release is untouched",
            fix="see what it holds and remove it, then run: rcs materialise --publish",
        )


def _publish(
    home: Home, content_hash: str, checks: Sequence[CheckRecord], day: date | None
) -> Published:
    clean_leftovers(home)
    log = read_log(home)
    current = current_version(home)
    if current and read_manifest(home, current)["content_hash"] == content_hash:
        _save_sealed(home, log, current)
        return Published(current, home.releases / current, is_new=False)
    candidate = read_candidate(home)
    if candidate is None or candidate["content_hash"] != content_hash:
        version = _moved_before(home, content_hash)
    else:
        version = str(candidate["release"])
        folder = home.releases / CANDIDATE
        today = day.isoformat() if day else str(candidate["as_of"])
        log = _with_publication(log, folder, candidate, checks, today, current)
        _complete(folder, candidate, checks, log)
        _move(home, version)
    _save_sealed(home, log, version)
    _make_current(home, version)
    return Published(version, home.releases / version, is_new=True)


def _save_sealed(home: Home, log: AuditLog, version: str) -> None:
    save_log(home, seal(home, log, version))


def _with_publication(
    log: AuditLog,
    folder: Path,
    candidate: dict[str, Any],
    checks: Sequence[CheckRecord],
    day: str,
    current: str | None,
) -> AuditLog:
    """The log as it stands once the candidate is published in the place of `current`."""
    version, digest = str(candidate["release"]), candidate_hash(folder)
    approvers = ", ".join(signature.approver for signature in stored(folder))
    told = {
        "author": str(candidate["author"]),
        "checks": str(len(checks)),
        "approvers": approvers,
        "content": str(candidate["content_hash"]),
    }
    entries = [Entry(Event.PUBLISHED, day, version, digest, told)]
    if current and log.state_of(current) == ReleaseState.PUBLISHED:
        entries.append(Entry(Event.SUPERSEDED, day, current, "", {"by": version}))
    return record(log, *entries)


def candidate_description(home: Home, content_hash: str) -> dict[str, Any] | None:
    """What the candidate says of itself.

    If it was moved to its version before (published, or a killed run came that far), the
    manifest of the release with this content; None if there is neither.
    """
    candidate = read_candidate(home)
    if candidate is not None:
        return candidate
    version = release_with(home, content_hash)
    return read_manifest(home, version) if version else None


def candidate_folder(home: Home, content_hash: str) -> Path | None:
    """Where the bytes of the candidate lie: aside, or at its version if it was moved before."""
    if read_candidate(home) is not None:
        return home.releases / CANDIDATE
    version = release_with(home, content_hash)
    return home.releases / version if version else None


def release_with(home: Home, content_hash: str) -> str | None:
    """The newest release that says what has this hash; one that was withdrawn says nothing."""
    for version in reversed(published(home)):
        manifest = read_manifest(home, version)
        if manifest["content_hash"] == content_hash and "withdrawn" not in manifest:
            return version
    return None


def withdrawn_with(home: Home, content_hash: str) -> str:
    """The release that said what has this hash and was withdrawn; empty if there is none."""
    for version in published(home):
        manifest = read_manifest(home, version)
        if manifest["content_hash"] == content_hash and "withdrawn" in manifest:
            return version
    return ""


def _moved_before(home: Home, content_hash: str) -> str:
    version = release_with(home, content_hash)
    if version:
        return version
    raise StorageError(
        "The candidate that the gate saw is not there",
        where=str(home.releases / CANDIDATE),
        fix="run: rcs materialise --publish",
    )


def _complete(
    folder: Path, candidate: dict[str, Any], checks: Sequence[CheckRecord], log: AuditLog
) -> None:
    """Write audit log, evidence page, manifest and checksums; a repetition writes the same.

    `candidate.json` goes when the manifest, which holds all of it, is on the disk.
    """
    for name in (EVIDENCE, CHECKSUMS, AUDIT_LOG):
        (folder / name).unlink(missing_ok=True)
    (folder / AUDIT_LOG).write_text(log.text(), encoding="utf-8")
    content = {key: value for key, value in candidate.items() if key != "files"}
    content["checks"] = list(_check_entries(checks))
    listed = file_list(folder, without=[CANDIDATE_FILE, MANIFEST])
    page = evidence_page({**content, "files": listed})
    (folder / EVIDENCE).write_text(page, encoding="utf-8")
    listed = _with(listed, folder, EVIDENCE)
    write_json(folder / MANIFEST, {**content, "files": listed})
    sync(folder / MANIFEST)
    (folder / CANDIDATE_FILE).unlink(missing_ok=True)
    write_checksums(folder, _with(listed, folder, MANIFEST))
    sync_tree(folder)


def _with(listed: list[dict[str, Any]], folder: Path, name: str) -> list[dict[str, Any]]:
    """The list with one more file, in the order of paths."""
    return sorted([*listed, file_entry(folder, folder / name)], key=lambda e: str(e["path"]))


def _check_entries(checks: Iterable[CheckRecord]) -> Iterable[dict[str, str]]:
    for check in sorted(checks, key=lambda c: (c.asset_key, c.check_name)):
        yield {
            "asset": check.asset_key,
            "check": check.check_name,
            "status": check.status.value,
            "expected": check.expected,
            "observed": check.observed,
        }


def _move(home: Home, version: str) -> None:
    target = home.releases / version
    if target.exists():
        raise StorageError(
            f"Release {version} exists already, with other content",
            where=str(target),
            fix="run: rcs materialise, which gives the candidate a new version",
        )
    (home.releases / CANDIDATE).rename(target)
    sync(home.releases)


def _make_current(home: Home, version: str) -> None:
    point_current_to(home, version)


def point_current_to(home: Home, version: str | None) -> None:
    """Make a version the one that is read; None: no release is read."""
    link = home.releases / CURRENT
    if version is None:
        link.unlink(missing_ok=True)
    else:
        aside = home.releases / f".{CURRENT}-{os.getpid()}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(version)
        aside.replace(link)
    sync(home.releases)
