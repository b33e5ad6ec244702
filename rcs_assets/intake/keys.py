"""The key of each delivery at rest, and the record of keys that were destroyed.

Belongs here: making, reading and destroying one key a delivery (`keys/deliveries/`), and
`drop/destroyed.jsonl`, which says why a key is gone. Does not belong here: when retention
ends (`retention.py`), sealing (`storage/sealed.py`).

Delivery keys are random in every profile: nothing that is published depends on them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from rcs_assets.errors import StorageError
from rcs_assets.storage import Home, write_atomically
from rcs_assets.storage.files import overwrite
from rcs_assets.storage.sealed import KEY_BYTES


def _file(home: Home, seq: int) -> Path:
    return home.keys / "deliveries" / f"{seq}.key"


def _log(home: Home) -> Path:
    return home.drop / "destroyed.jsonl"


def new_delivery_key(home: Home, seq: int) -> bytes:
    """Make the key of a delivery; one that a killed run left without a delivery is replaced."""
    file = _file(home, seq)
    file.parent.mkdir(exist_ok=True, mode=0o700)
    key = secrets.token_bytes(KEY_BYTES)
    write_atomically(file, key.hex() + "\n")
    return key


def delivery_key(home: Home, seq: int) -> bytes:
    """The key of a delivery.

    Raises:
        StorageError: it is not there, or damaged.
    """
    try:
        key = bytes.fromhex(_file(home, seq).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise StorageError(
            "The key of a delivery is missing or damaged",
            where=f"keys/deliveries/{seq}.key",
            why="each delivery is sealed with its own key, and no retention destroyed this one",
            fix="restore keys/ from its backup, or deliver the file again",
        )
    return key


def destroy_keys(home: Home, seqs: Iterable[int], reason: str) -> None:
    """Destroy the keys of deliveries; the reason is recorded before the first key goes."""
    chosen = [seq for seq in seqs if seq not in destroyed(home)]
    log = _log(home)
    before = log.read_text(encoding="utf-8") if log.exists() else ""
    lines = [json.dumps({"seq": seq, "reason": reason}, sort_keys=True) for seq in chosen]
    write_atomically(log, before + "".join(f"{line}\n" for line in lines))
    for seq in destroyed(home):
        _erase(_file(home, seq))


def destroyed(home: Home) -> Mapping[int, str]:
    """Number of each delivery whose key was destroyed, and why."""
    log = _log(home)
    if not log.exists():
        return {}
    entries = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return {int(entry["seq"]): str(entry["reason"]) for entry in entries}


def _erase(file: Path) -> None:
    """Overwrite, then remove: a key that is only unlinked can be found in free blocks."""
    if not file.exists():
        return
    overwrite(file)
    file.unlink()
