"""The hash of a candidate's bytes: what checks proved, approvers sign and readers get.

Belongs here: which files are covered. Does not belong here: signing (`approval.py`) and
comparing (`gate.py`, `verify.py`).

The content hash (`candidate.py`) says whether two candidates tell the same; this one says
whether a folder is, byte by byte, the one that was looked at. It covers every file of every
package and what the candidate says of itself, and is the same before and after publishing:
what publishing adds at the top is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.release.audit_log import Event, read_log
from rcs_assets.release.files import (
    APPROVALS,
    AUDIT_LOG,
    CANDIDATE_FILE,
    CHECKSUMS,
    EVIDENCE,
    MANIFEST,
    file_list,
)
from rcs_assets.release.packages import CANDIDATE
from rcs_assets.storage import Home, write_atomically

# Written beside the packages when, or after, the candidate is approved.
ADDED_AT_THE_TOP = (CANDIDATE_FILE, MANIFEST, CHECKSUMS, EVIDENCE, AUDIT_LOG, APPROVALS)
# Beside the candidate: of a hidden name, as all that is no release.
SEAL_NOTE = ".candidate-seal"
_ADDED_TO_THE_DESCRIPTION = ("checks", "files")


def candidate_hash(folder: Path, listed: Iterable[Mapping[str, Any]] | None = None) -> str:
    """sha256 over the candidate or release in a folder; empty if there is none.

    Args:
        folder: of the candidate or release.
        listed: its files with their checksums, where they were computed already.

    Raises:
        StorageError: its description is damaged, or something in it is no file.
    """
    found = [file for name in (CANDIDATE_FILE, MANIFEST) if (file := folder / name).is_file()]
    if not found:
        return ""
    try:
        said: Mapping[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError("A description is damaged", where=str(found[0])) from error
    described = {k: v for k, v in said.items() if k not in _ADDED_TO_THE_DESCRIPTION}
    if listed is None:
        _refuse_strange(folder)
        listed = file_list(folder, without=ADDED_AT_THE_TOP)
    files = [entry for entry in listed if entry["path"] not in ADDED_AT_THE_TOP]
    content = {"description": described, "files": files}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _refuse_strange(folder: Path) -> None:
    """What is no file has no bytes of its own: what a link leads to can change after all signed."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise StorageError(
                "A candidate holds something that is no file of its own",
                where=path.relative_to(folder).as_posix(),
                why="a link, or what programs talk through, is not what was looked at and signed",
                fix="run: rcs materialise, which makes the candidate anew",
            )


def note_seal(home: Home, digest: str) -> None:
    """Note what the candidate is that was made last, for `is_as_made`."""
    write_atomically(home.releases / SEAL_NOTE, digest + "\n")


def is_as_made(home: Home) -> bool:
    """Whether the candidate that was made last lies there as it was made, or was published.

    It says what has to be computed; what may be published the gate decides, by records that
    nobody can write by hand so easily.
    """
    note = home.releases / SEAL_NOTE
    if not note.is_file():
        return True
    wanted, folder = note.read_text(encoding="utf-8").strip(), home.releases / CANDIDATE
    if not folder.exists():
        published = [e for e in read_log(home).entries if e.event == Event.PUBLISHED]
        return wanted in {entry.candidate for entry in published}
    try:
        return candidate_hash(folder) == wanted
    except StorageError:
        return False
