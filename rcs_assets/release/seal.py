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
from rcs_assets.release.files import (
    APPROVALS,
    AUDIT_LOG,
    CANDIDATE_FILE,
    CHECKSUMS,
    EVIDENCE,
    MANIFEST,
    file_list,
)

# Written beside the packages when, or after, the candidate is approved.
ADDED_AT_THE_TOP = (CANDIDATE_FILE, MANIFEST, CHECKSUMS, EVIDENCE, AUDIT_LOG, APPROVALS)
_ADDED_TO_THE_DESCRIPTION = ("checks", "files")


def candidate_hash(folder: Path, listed: Iterable[Mapping[str, Any]] | None = None) -> str:
    """sha256 over the candidate or release in a folder; empty if there is none.

    Args:
        folder: of the candidate or release.
        listed: its files with their checksums, where they were computed already.

    Raises:
        StorageError: its description is damaged.
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
        listed = file_list(folder, without=ADDED_AT_THE_TOP)
    files = [entry for entry in listed if entry["path"] not in ADDED_AT_THE_TOP]
    content = {"description": described, "files": files}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
