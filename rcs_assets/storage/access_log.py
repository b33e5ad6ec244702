"""The access log: who used which key and opened which zone, when, as a chain of hashes.

Belongs here: `logs/access.jsonl`, its head, adding an entry, checking all of them, beginning anew
after one that was changed. Does not belong here: who may do what. An entry holds no value of a
record and no part of a key.

Each entry names the sha256 of the one before, so that none can be changed, left out or put
between without breaking every later one. The head, at the top of the home, counts the entries:
a log that was cut at its end, or is gone, is found too. Without a log that can be written there
is no access.

An entry is written before the head, and gives access only after it. So a full disk, a kill or a
power cut leaves entries after the one that the head tells, or a line that is cut: of accesses
that were not given. Entries that follow are read when the chain leads on to them, a cut line is
dropped by the next entry. Both only add: what the head counts must be there, as it was.

No key is in the chain: whoever may write in the home can make all of it anew, head included. The
hash of the last entry, noted where he cannot write, finds that (`noted_entry`).

It tells what the platform's own code opened. Who opens `warehouse.duckdb` with another program, or
copies a file of the home, passes it by: that is for the disk's permissions and the machine's audit.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from rcs_assets.errors import InputError, StorageError
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
    LOG_BEGUN = "log begun anew"


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
            _add(home, _last(home), event, what, purpose)
    except OSError as error:
        raise _unwritable(error) from None


def begin_anew(home: Home, reason: str) -> str:
    """Put a log that was changed or cut aside with its head; the new one begins with saying so.

    Args:
        home: the installation.
        reason: what was found out about it; never a value of a record.

    Returns:
        The name in `logs/` of the log that was put aside; empty if there was none any more.

    Raises:
        InputError: the log is whole.
        StorageError: the disk cannot be written.
    """
    try:
        with _held(home):
            _refuse_whole(home)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            aside, is_there = home.logs / f"access-{stamp}.jsonl", log_file(home).exists()
            what = "no log"
            if is_there:
                log_file(home).replace(aside)
                what = f"{aside.name}, sha256 {hashlib.sha256(aside.read_bytes()).hexdigest()}"
            if _head_file(home).exists():
                _head_file(home).replace(aside.with_suffix(".head"))
            _add(home, (0, START), Access.LOG_BEGUN, what, reason)
    except OSError as error:
        raise _unwritable(error) from None
    return aside.name if is_there else ""


def _refuse_whole(home: Home) -> None:
    try:
        _entries(home, _read_head(home))
    except StorageError:
        return
    raise InputError(
        "The access log is whole",
        where="logs/access.jsonl",
        why="only one that was changed or cut is put aside",
        fix="run: rcs access",
    )


def _unwritable(error: OSError) -> StorageError:
    return StorageError(
        "The access log cannot be written",
        where="logs/access.jsonl",
        why=f"no key is used and no vault opened unrecorded ({type(error).__name__})",
        fix="see to the disk and to who owns the folder, then run the command again",
    )


@contextmanager
def _held(home: Home) -> Iterator[None]:
    home.logs.mkdir(exist_ok=True, mode=0o700)
    with (home.logs / ".access.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _add(home: Home, last: tuple[int, str], event: Access, what: str, purpose: str) -> None:
    """Write an entry after the last one, then the head."""
    number, previous = last
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
    with _taken_back_if_unwritten(log_file(home)):
        _append(log_file(home), json.dumps(content | {"sha256": head}, sort_keys=True) + "\n")
        write_atomically(_head_file(home), _head_text(number + 1, head))


@contextmanager
def _taken_back_if_unwritten(file: Path) -> Iterator[None]:
    """The log has its old length again where the disk took the entry or its head only in part.

    After no other failure: where the process is stopped, the head may be the new one.
    """
    size = file.stat().st_size if file.exists() else 0
    try:
        yield
    except OSError:
        with suppress(OSError):
            os.truncate(file, size)
        raise


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
    """Number and hash of the last entry; all of the log is read only where the head is behind."""
    head = _read_head(home)
    if _is_end(log_file(home), head):
        return head
    entries = _entries(home, head)
    _drop_cut_line(log_file(home))
    return (entries[-1].n, entries[-1].sha256) if entries else (0, START)


def _is_end(file: Path, head: tuple[int, str]) -> bool:
    """Whether the last line is whole, and the entry that the head tells."""
    if not file.exists():
        return False
    with file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
        *lines, cut = log.read().split(b"\n")
    try:
        entry = json.loads(lines[-1])
        return not cut and (entry["n"], entry["sha256"]) == head
    except (ValueError, KeyError, TypeError, IndexError):
        return False


def _drop_cut_line(file: Path) -> None:
    if file.exists():
        os.truncate(file, file.read_bytes().rfind(b"\n") + 1)


def read_access(home: Home) -> tuple[AccessEntry, ...]:
    """Every entry, after the whole chain was checked.

    Raises:
        StorageError: the log was changed or cut; the message names the line.
    """
    with _held(home):
        return _entries(home, _read_head(home))


def noted_entry(entries: Sequence[AccessEntry], sha256: str) -> AccessEntry:
    """The entry that somebody noted elsewhere when it was the last one.

    Args:
        entries: of the log, after its chain was checked.
        sha256: of the entry, which vouches for all before it.

    Raises:
        StorageError: the log has none with this hash: it was made anew since.
    """
    for entry in entries:
        if entry.sha256 == sha256.strip().lower():
            return entry
    raise StorageError(
        "The access log is another one than that which was noted",
        where="logs/access.jsonl",
        why="its chain is whole and no entry has the noted sha256, so that somebody wrote it anew",
        fix="find out by whom; look whether logs/ has one that was put aside (rcs access tells)",
    )


def _entries(home: Home, head: tuple[int, str]) -> tuple[AccessEntry, ...]:
    """Every whole line, chained from the first on; the head is among them."""
    # What follows on the last end of a line was cut when it was written.
    *lines, _ = log_file(home).read_bytes().split(b"\n") if log_file(home).exists() else [b""]
    entries: list[AccessEntry] = []
    previous = START
    for number, line in enumerate(lines, 1):
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
    _refuse_other_head(head, {0: START} | {entry.n: entry.sha256 for entry in entries})
    return tuple(entries)


def _refuse_other_head(head: tuple[int, str], hashes: Mapping[int, str]) -> None:
    """What the head tells is an entry; more may follow, but not on a head that is not there."""
    number, told = head
    last = len(hashes) - 1
    if number > last:
        raise _broken("logs/access.jsonl", f"{number} entries were recorded, {last} are there")
    if hashes.get(number) != told or (number == 0 and last > 1):
        raise _broken("access.head", "it is not the head of this log")


def _broken(where: str, why: str) -> StorageError:
    return StorageError(
        "The access log was changed or cut",
        where=where,
        why=why,
        fix="find out by whom; restore logs/access.jsonl and access.head from one backup. Without "
        "one run: rcs access --begin-anew REASON, which puts both aside and says so in a new log",
    )
