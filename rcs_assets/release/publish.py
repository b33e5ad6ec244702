"""Publishes a candidate that passed the gate: whole or not at all.

Belongs here: completing the candidate's top level, moving it to its version, swapping
`current`. Does not belong here: deciding (`gate.py`); only the asset [release, published]
calls this.

Every step leaves the last release whole: the candidate is completed where it lies, its
bytes are forced to disk, one rename makes it a release, another makes it current. A kill
between the two renames is healed by the next call, which finds the release by its content.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.release.candidate import read_candidate
from rcs_assets.release.describe import CANDIDATE_FILE
from rcs_assets.release.evidence import evidence_page
from rcs_assets.release.files import (
    CHECKSUMS,
    MANIFEST,
    file_entry,
    file_list,
    sync,
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
    read_manifest,
    versions,
)
from rcs_assets.storage import Home

EVIDENCE = "evidence.html"


@dataclass(frozen=True)
class Published:
    """`is_new` is false where the candidate says what the current release says already."""

    version: str
    path: Path
    is_new: bool


def publish_candidate(home: Home, content_hash: str, checks: Sequence[CheckRecord]) -> Published:
    """Publish the candidate with this content.

    Args:
        home: the installation.
        content_hash: of the candidate that the gate decided on.
        checks: the records that the gate saw; they go into manifest and evidence page.

    Raises:
        StorageError: there is neither such a candidate nor such a release, or its version
            is taken by another release.
    """
    clean_leftovers(home)
    current = current_version(home)
    if current and read_manifest(home, current)["content_hash"] == content_hash:
        return Published(current, home.releases / current, is_new=False)
    candidate = read_candidate(home)
    if candidate is None or candidate["content_hash"] != content_hash:
        version = _moved_before(home, content_hash)
    else:
        version = str(candidate["release"])
        _complete(home.releases / CANDIDATE, candidate, checks)
        _move(home, version)
    _make_current(home, version)
    return Published(version, home.releases / version, is_new=True)


def candidate_description(home: Home, content_hash: str) -> dict[str, Any] | None:
    """What the candidate says of itself.

    If it was moved to its version before (published, or a killed run came that far), the
    manifest of the release with this content; None if there is neither.
    """
    candidate = read_candidate(home)
    if candidate is not None:
        return candidate
    version = _release_with(home, content_hash)
    return read_manifest(home, version) if version else None


def _release_with(home: Home, content_hash: str) -> str | None:
    for version in reversed(versions(home)):
        if read_manifest(home, version)["content_hash"] == content_hash:
            return version
    return None


def _moved_before(home: Home, content_hash: str) -> str:
    version = _release_with(home, content_hash)
    if version:
        return version
    raise StorageError(
        "The candidate that the gate saw is not there",
        where=str(home.releases / CANDIDATE),
        fix="run: rcs materialise --publish",
    )


def _complete(folder: Path, candidate: dict[str, Any], checks: Sequence[CheckRecord]) -> None:
    """Write evidence page, manifest and checksums; a repetition writes the same.

    `candidate.json` goes when the manifest, which holds all of it, is on the disk.
    """
    for name in (EVIDENCE, CHECKSUMS):
        (folder / name).unlink(missing_ok=True)
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
    aside = home.releases / f".{CURRENT}-{os.getpid()}"
    aside.unlink(missing_ok=True)
    aside.symlink_to(version)
    aside.replace(home.releases / CURRENT)
    sync(home.releases)
