"""Writing files so that a release is whole and can be proven to be.

Belongs here: checksums, JSON with one form, forcing bytes to disk, and what is said when the
disk fails. Does not belong here:
what the files say.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.storage.files import sync

CHECKSUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
CANDIDATE_FILE = "candidate.json"
EVIDENCE = "evidence.html"
AUDIT_LOG = "audit.jsonl"
APPROVALS = "approvals.json"
_BLOCK = 1 << 20


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One form only: sorted keys, two spaces, newline at the end."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted by their path in it."""
    found = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def file_list(folder: Path, *, without: Iterable[str] = ()) -> list[dict[str, Any]]:
    """`path`, `sha256`, `bytes` of every file below a folder, but those named."""
    skipped = set(without)
    return [
        file_entry(folder, path)
        for path in files_below(folder)
        if path.relative_to(folder).as_posix() not in skipped
    ]


def file_entry(folder: Path, path: Path) -> dict[str, Any]:
    """`path`, `sha256`, `bytes` of one file below a folder."""
    return {
        "path": path.relative_to(folder).as_posix(),
        "sha256": sha256_file(path),
        "bytes": path.stat().st_size,
    }


def write_checksums(folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """`SHA256SUMS` over the files listed, in the form that `sha256sum -c` reads."""
    lines = [f"{entry['sha256']}  {entry['path']}\n" for entry in entries]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def sync_tree(folder: Path) -> None:
    """Force everything below `folder`, and itself, to the disk.

    A release has thousands of files: one call for the whole system instead of one a file,
    which takes minutes where others write to the same disk.
    """
    os.sync()
    sync(folder)


# A full disk, a quota that is used up, a limit on the size of a file.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = (
    "A file or folder may not be used",
    "let the account that runs the platform read and write there",
)
# What failed, and its fix, by the number that the system gives.
_FAILURES = {
    errno.ENOSPC: ("The disk is full", "make room"),
    errno.EDQUOT: ("The quota of the disk is used up", "make room, or have the quota raised"),
    errno.EFBIG: (
        "A file may not become so large",
        "raise the limit on the size of a file (ulimit -f, or the disk's own)",
    ),
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: (
        "The disk is read-only",
        "mount it for writing; the system's log says whether an error made it so",
    ),
    errno.EIO: ("The disk fails", "look at its health and at the backup"),
}
_OTHER_FAILURE = ("The disk cannot be used", "see what stands there, and whether it is mounted")


@contextmanager
def disk_failures_named(place: Path) -> Iterator[None]:
    """Turn a failure of the disk into a refusal that says what to do.

    Raises:
        StorageError: the disk is full, or cannot be used.
    """
    try:
        yield
    except OSError as error:
        raise disk_failure(error, str(place)) from error


def disk_failure(error: OSError, place: str) -> StorageError:
    """The refusal for a failure of the disk; `place` where the system names none."""
    what, fix = _FAILURES.get(error.errno or 0, _OTHER_FAILURE)
    return StorageError(
        what,
        where=str(error.filename or place),
        why=f"{os.strerror(error.errno or 0)}; what was published before is untouched",
        fix=f"{fix}, then run the command again",
    )
