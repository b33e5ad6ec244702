"""The access log: who used which key and opened which zone, when, as a chain of hashes.

Belongs here: `logs/access.jsonl`, its head, adding an entry, checking all of them. Does not
belong here: who may do what. An entry holds no value of a record and no part of a key.

Each entry names the sha256 of the one before, so that none can be changed, left out or put
between without breaking every later one. The head, at the top of the home, counts the entries:
a log that was cut at its end, or is gone, is found too. Without a log that can be written there
is no access.

It tells what the platform's own code opened. Who opens `warehouse.duckdb` with another program, or
copies a file of the home, passes it by: that is for the disk's permissions and the machine's audit.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from rcs_assets.errors import StorageError
from rcs_assets.storage.chain import START, digest
from rcs_assets.storage.files import write_atomically
from rcs_assets.storage.home import Home
from rcs_assets.storage.settings import operator_name

_TAIL_BYTES = 8192


class Access(StrEnum):
    """What is recorded."""

    KEY_USED = "key used"
    KEY_MADE = "key made"
    KEY_ROTATED = "key rotated"
    VAULT_READ = "vault read"
    VAULT_WRITTEN = "vault written"
    WAREHOUSE_READ = "warehouse read"
    WAREHOUSE_WRITTEN = "warehouse written"
    DROP_READ = "drop read"
    FILE_EXPORTED = "file exported"


@dataclass(frozen=True)
class AccessEntry:
    """One access: number, time (UTC), person, process, what was done to what, for what."""

    n: int
    at: str
    who: str
    pid: int
    event: str
    what: str
    purpose: str
    sha256: str


def process_purpose() -> str:
    """What this process was started for, where nobody says it better: `rcs materialise`."""
    name, *rest = [Path(sys.argv[0] or "python").name, *sys.argv[1:2]]
    return " ".join([name, *(word for word in rest if word.isalpha())])


def log_file(home: Home) -> Path:
    """Where the log lies."""
    return home.logs / "access.jsonl"


def _head_file(home: Home) -> Path:
    return home.path / "access.head"


def record_access(home: Home, event: Access, what: str, purpose: str) -> None:
    """Add an entry.

    Args:
        home: the installation.
        event: what was done.
        what: the key's name, the zone or the file's name.
        purpose: for what, in a few words; never a value of a record.

    Raises:
        StorageError: the log's end is not the one that its head tells, or cannot be written.
    """
    try:
        with _held(home):
            number, previous = _last(home)
            content: dict[str, Any] = {
                "n": number + 1,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "who": operator_name(home),
                "pid": os.getpid(),
                "event": event.value,
                "what": what,
                "purpose": purpose,
                "previous": previous,
            }
            head = digest(content)
            _append(log_file(home), json.dumps(content | {"sha256": head}, sort_keys=True) + "\n")
            write_atomically(_head_file(home), _head_text(number + 1, head))
    except OSError as error:
        raise StorageError(
            "The access log cannot be written",
            where="logs/access.jsonl",
            why=f"no key is used and no vault opened unrecorded ({type(error).__name__})",
            fix="see to the disk and to who owns the folder, then run the command again",
        ) from None


@contextmanager
def _held(home: Home) -> Iterator[None]:
    home.logs.mkdir(exist_ok=True, mode=0o700)
    with (home.logs / ".access.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _append(file: Path, line: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(line)
        handle.flush()
        os.fsync(handle.fileno())


def _head_text(number: int, head: str) -> str:
    return json.dumps({"n": number, "sha256": head}, sort_keys=True) + "\n"


def _read_head(home: Home) -> tuple[int, str]:
    if not _head_file(home).exists():
        # The making of keys is the first entry of a log.
        if (home.path / "keys.json").exists() and home.vault.exists():
            raise _broken("access.head", "there are keys and a vault, and no record of their use")
        return 0, START
    try:
        head = json.loads(_head_file(home).read_text(encoding="utf-8"))
        return int(head["n"]), str(head["sha256"])
    except (ValueError, KeyError, TypeError):
        raise _broken("access.head", "the file is not in its form") from None


def _last(home: Home) -> tuple[int, str]:
    """Number and hash of the last entry, compared with the head without reading all of it."""
    number, last = 0, START
    if log_file(home).exists():
        with log_file(home).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _TAIL_BYTES))
            lines = log.read().splitlines()
        if lines:
            try:
                entry = json.loads(lines[-1])
                number, last = int(entry["n"]), str(entry["sha256"])
            except (ValueError, KeyError, TypeError):
                raise _broken("logs/access.jsonl", "its last line is not in its form") from None
    _refuse_other_head(_read_head(home), {number: last, 0: START}, number)
    return number, last


def _refuse_other_head(head: tuple[int, str], hashes: Mapping[int, str], last: int) -> None:
    """The head is the log's last entry, or the one before where a process was killed between."""
    number, told = head
    if number > last:
        raise _broken("logs/access.jsonl", f"{number} entries were recorded, {last} are there")
    if number < last - 1 or (number in hashes and hashes[number] != told):
        raise _broken("access.head", "it is not the head of this log")


def read_access(home: Home) -> tuple[AccessEntry, ...]:
    """Every entry, after the whole chain was checked.

    Raises:
        StorageError: the log was changed or cut; the message names the line.
    """
    with _held(home):
        text = log_file(home).read_text("utf-8") if log_file(home).exists() else ""
        head = _read_head(home)
    entries: list[AccessEntry] = []
    previous = START
    for number, line in enumerate(text.splitlines(), 1):
        where = f"logs/access.jsonl, line {number}"
        try:
            content = json.loads(line)
            said = content.pop("sha256")
            before = content.pop("previous")
            entry = AccessEntry(**content, sha256=said)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _broken(where, "the line is not in its form") from None
        followed = digest(content | {"previous": before})
        if entry.n != number or before != previous or said != followed:
            raise _broken(where, "its hash does not follow from the entry before")
        entries.append(entry)
        previous = said
    hashes = {0: START} | {entry.n: entry.sha256 for entry in entries}
    _refuse_other_head(head, hashes, len(entries))
    return tuple(entries)


def _broken(where: str, why: str) -> StorageError:
    return StorageError(
        "The access log was changed or cut",
        where=where,
        why=why,
        fix="find out by whom; restore logs/access.jsonl and access.head from one backup, "
        "or move both aside, which starts a new log",
    )
