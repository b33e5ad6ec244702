"""The keys of an installation: made by a command, never silently, recognised when wrong.

Belongs here: which keys there are, reading, making and rotating them, `keys.json` (per key:
generation and check value). Does not belong here: what a key is used for (the rooms), keys of
deliveries (`intake/keys.py`), approvers' keys (`release/approval.py`).

A key is 32 random bytes, in `keys/<name>.key` (mode 0600) or in the environment variable
`RCS_KEY_<NAME>`, as 64 hexadecimal characters. In the demo profile it is derived from the seed
and the generation, else no two runs could be equal (design.md, Zones). `keys.json` holds no
key: a check value is a keyed hash of the key's name.

A key that was lost and made anew without a word would give every child another id, and
nobody would know why. So a missing key, and one that is not the recorded one, is refused.

Rotation is whole or not at all: new keys (and a vault under its new key) lie beside the old
ones under the number of their generation; writing `keys.json` makes them hold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.storage.access_log import Access, record_access
from rcs_assets.storage.files import overwrite, write_atomically
from rcs_assets.storage.home import Home
from rcs_assets.storage.lock import write_lock

KEY_BYTES = 32
VAULT = "vault"
RECORDS = "record_id"
TOMBSTONE = "tombstone"
INDEX_DATASETS = ("sample", "primary_survey", "secondary_survey", "education", "social_work")
# What follows from them is in a release or on its way there.
RELEASED = ("project_id", *(f"index_{dataset}" for dataset in INDEX_DATASETS), "release")
PURPOSES: Mapping[str, str] = {
    VAULT: "opens the vault",
    RECORDS: "record ids of intake",
    TOMBSTONE: "hashes of opt-outs and withdrawals",
    "project_id": "project ids inside the warehouse",
    **{f"index_{name}": f"index numbers of {name}" for name in INDEX_DATASETS},
    "release": "ids of released microdata",
    "attacker_view": "ids of the intruder's view, against which re-identification is tried",
}


@dataclass(frozen=True)
class KeyRecord:
    """What `keys.json` says of a key; `check` is empty in the demo profile."""

    generation: int
    check: str


@dataclass(frozen=True)
class KeyState:
    """One key as the operator sees it; `problem` is empty if it can be used."""

    name: str
    purpose: str
    generation: int
    source: str
    problem: str


def read_key(home: Home, name: str) -> bytes:
    """The named key; the use is recorded in the access log.

    Raises:
        StorageError: it is missing, damaged, readable by others, or not the recorded one.
    """
    key = _checked(home, name)
    record_access(home, Access.KEY_USED, name, PURPOSES.get(name, "not stated"))
    return key


def key_generations(home: Home) -> dict[str, int]:
    """Name → generation of each key that was ever rotated: what is computed depends on it."""
    return {n: r.generation for n, r in sorted(_register(home).items()) if r.generation > 1}


def key_states(home: Home) -> tuple[KeyState, ...]:
    """Every key of the platform, and whether it can be used."""
    found = []
    for name, purpose in PURPOSES.items():
        try:
            _checked(home, name)
            problem = ""
        except StorageError as error:
            problem = str(error)
        source = _variable(name) if _variable(name) in os.environ else f"keys/{name}.key"
        found.append(KeyState(name, purpose, _record(home, name).generation, source, problem))
    return tuple(found)


def require_keys(home: Home) -> None:
    """Refuse before any work if a key of a production installation cannot be used.

    Raises:
        StorageError: the first problem.
    """
    if home.profile == "production":
        for name in PURPOSES:
            _checked(home, name)


def new_keys(home: Home) -> tuple[str, ...]:
    """Make the keys that this installation never had; a key that was recorded is never replaced.

    A new installation gets all of them. One that had keys before `keys.json` was kept has
    those recorded that lie there.

    Returns:
        The names of the keys that were made, or recorded for the first time.

    Raises:
        StorageError: a key is damaged or lost: there are data that it belongs to.
    """
    with write_lock(home, "rcs keys new"):
        register = _register(home)
        unknown = [name for name in PURPOSES if name not in register]
        lost = [n for n in unknown if not _is_there(home, n) and not register and _has_data(home)]
        if lost:
            raise StorageError(
                f"Keys of this installation are lost: {', '.join(lost)}",
                where="keys/",
                why="there is a vault or a warehouse already, and new keys would not fit to it",
                fix="restore keys/ and keys.json from one backup; without one see "
                "docs/how-to/look-after-keys.md, “A key is lost”",
            )
        for name in unknown:
            if not _is_there(home, name):
                _write_key(_file(home, name), _fresh(home, name, 1))
            key = _read(name, [_file(home, name)])[0]
            register[name] = KeyRecord(1, "" if home.seed is not None else _check(name, key))
        _write_register(home, register)
        for name in unknown:
            record_access(home, Access.KEY_MADE, name, PURPOSES[name])
    return tuple(unknown)


def rotate_keys(
    home: Home, names: Sequence[str] = RELEASED, *, lost: bool = False
) -> tuple[str, ...]:
    """Put new keys in the place of those named; all or none.

    With the default every project id, index number and released id becomes another one in the
    next run. A vault is written anew under its new key.

    Args:
        home: the installation.
        names: keys; `RELEASED` by default. One that comes from the environment takes its new
            value from RCS_KEY_<NAME>_NEXT.
        lost: the old keys are gone for good and are not asked for.

    Raises:
        ConfigurationError: no such key, no new value in the environment.
        StorageError: a key cannot be used as it is, or a vault stands whose key was lost.
    """
    unknown = [name for name in names if name not in PURPOSES]
    if unknown:
        raise ConfigurationError(
            f"There is no key {', '.join(unknown)}", fix=f"choose from: {', '.join(PURPOSES)}"
        )
    with write_lock(home, "rcs keys rotate"):
        finish_rotation(home)
        register = _register(home)
        for name in names:
            old = b"" if lost else _checked(home, name)
            generation = _record(home, name).generation + 1
            new = _next_key(home, name, generation)
            if name == VAULT and home.vault.exists():
                _rewrite_vault(home, old, new, generation)
            check = "" if home.seed is not None else _check(name, new)
            register[name] = KeyRecord(generation, check)
        _write_register(home, register)
        finish_rotation(home)
        for name in names:
            record_access(home, Access.KEY_ROTATED, name, PURPOSES[name])
    return tuple(names)


def require_next_key(name: str) -> None:
    """Refuse, before work that ends with a rotation, where there would be no new key.

    Raises:
        ConfigurationError: the key comes from the environment, and no new value does.
    """
    if _variable(name) in os.environ:
        _next_in_environment(name)


def finish_rotation(home: Home) -> None:
    """Put what a rotation left beside in its place, or remove it if `keys.json` was not written."""
    for waiting in sorted((*home.path.glob("*.next-*"), *home.keys.glob("*.next-*"))):
        file, generation = waiting.name.rsplit(".next-", 1)
        target = waiting.with_name(file)
        # A hidden file is one that was not even written to its end.
        if file.startswith(".") or int(generation) != _record(home, target.stem).generation:
            waiting.unlink()
            continue
        if target.exists() and target.parent == home.keys:
            overwrite(target)
        waiting.replace(target)


def _variable(name: str) -> str:
    return f"RCS_KEY_{name.upper()}"


def _file(home: Home, name: str) -> Path:
    return home.keys / f"{name}.key"


def _waiting(file: Path, generation: int) -> Path:
    return file.with_name(f"{file.name}.next-{generation}")


def _is_there(home: Home, name: str) -> bool:
    return _variable(name) in os.environ or _file(home, name).exists()


def _has_data(home: Home) -> bool:
    places = (
        home.vault,
        home.warehouse,
        home.drop / "register.jsonl",
        home.drop / "tombstones.jsonl",
    )
    return any(place.exists() for place in places)


def _checked(home: Home, name: str) -> bytes:
    """The key that the register knows, wherever it lies; no entry in the access log."""
    known = _record(home, name)
    file = _file(home, name)
    if home.seed is not None and not _is_there(home, name):
        _write_key(file, _derived(home.seed, name, known.generation))
    files = [place for place in (file, _waiting(file, known.generation)) if place.exists()]
    if not files and _variable(name) not in os.environ:
        if _register(home) and name not in _register(home) and home.seed is None:
            raise _unrecorded(name)
        raise _missing(home, name)
    if home.seed is None and not known.check:
        raise _unrecorded(name)
    for key in _read(name, files):
        if hmac.compare_digest(_check(name, key), _wanted_check(home, name, known)):
            return key
    raise StorageError(
        f"Key {name} is not the key of this installation",
        where=f"keys/{name}.key, {_variable(name)}",
        why="its check value differs from the one in keys.json",
        fix="restore keys/ and keys.json from one backup",
    )


def _wanted_check(home: Home, name: str, known: KeyRecord) -> str:
    if home.seed is None:
        return known.check
    return _check(name, _derived(home.seed, name, known.generation))


def _read(name: str, files: Sequence[Path]) -> list[bytes]:
    """The keys that stand in the environment or, without it, in these files."""
    texts = [os.environ[_variable(name)]] if _variable(name) in os.environ else []
    for file in files if not texts else ():
        if file.stat().st_mode & 0o077:
            raise StorageError(
                f"Key {name} can be read by others",
                where=f"keys/{file.name}",
                why="key files have mode 0600",
                fix=f"chmod 600 on the file; if others have read it: rcs keys rotate {name}",
            )
        texts.append(file.read_bytes().decode("ascii", errors="replace"))
    keys = []
    for text in texts:
        try:
            key = bytes.fromhex(text.strip())
        except ValueError:
            continue
        if len(key) == KEY_BYTES:
            keys.append(key)
    if not keys:
        raise StorageError(
            f"Key {name} is damaged",
            where=f"keys/{name}.key, {_variable(name)}",
            why="a key is 64 hexadecimal characters",
            fix="restore the key file from its backup",
        )
    return keys


def _missing(home: Home, name: str) -> StorageError:
    if not _register(home) and not _has_data(home):
        return StorageError(
            "This installation has no keys yet",
            where=f"keys/{name}.key",
            why="keys are made once, by a command, so that a lost one is never replaced unseen",
            fix="run: rcs keys new; then back up keys/ and keys.json, apart from the data",
        )
    return StorageError(
        f"Key {name} is missing",
        where=f"keys/{name}.key, {_variable(name)}",
        why="a new key would not fit to what was made with the old one",
        fix="restore the key file from its backup; without one see "
        "docs/how-to/look-after-keys.md, “A key is lost”",
    )


def _unrecorded(name: str) -> StorageError:
    return StorageError(
        f"Key {name} is not recorded",
        where="keys.json",
        why="without its check value nobody can tell whether it is the right one",
        fix="restore keys.json from its backup, or run: rcs keys new (it records the keys that "
        "lie there, and makes those of a newer version of the platform)",
    )


def _check(name: str, key: bytes) -> str:
    return hmac.new(key, f"rcs key check {name}".encode(), hashlib.sha256).hexdigest()[:32]


def _derived(seed: int, name: str, generation: int) -> bytes:
    text = name if generation == 1 else f"{name} {generation}"
    return hmac.new(f"rcs-demo-{seed}".encode(), text.encode(), hashlib.sha256).digest()


def _fresh(home: Home, name: str, generation: int) -> bytes:
    if home.seed is not None:
        return _derived(home.seed, name, generation)
    return secrets.token_bytes(KEY_BYTES)


def _next_key(home: Home, name: str, generation: int) -> bytes:
    """The key of the next generation, in its file or from the environment."""
    if _variable(name) not in os.environ:
        key = _fresh(home, name, generation)
        _write_key(_waiting(_file(home, name), generation), key)
        return key
    return _next_in_environment(name)


def _next_in_environment(name: str) -> bytes:
    variable = f"{_variable(name)}_NEXT"
    try:
        key = bytes.fromhex(os.environ.get(variable, ""))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or key.hex() == os.environ[_variable(name)].strip().lower():
        raise ConfigurationError(
            f"There is no new value for key {name}",
            where=variable,
            why=f"the key comes from {_variable(name)}, which a command cannot change",
            fix="set it to 64 other random hexadecimal characters; after the rotation they are the "
            "key",
        )
    return key


def _rewrite_vault(home: Home, old: bytes, new: bytes, generation: int) -> None:
    """A copy of the vault under its new key, beside it."""
    # Here and not above: a connection to the vault asks the keyring.
    from rcs_assets.storage.connect import copy_encrypted

    if not old:
        raise StorageError(
            "There is a vault that the lost key opened",
            where="vault.duckdb",
            why="nobody can read it without that key",
            fix="move vault.duckdb and warehouse.duckdb aside (both are made anew from the drop), "
            "then run the command again",
        )
    copy_encrypted(home, home.vault, old, _waiting(home.vault, generation), new)


def _write_key(file: Path, key: bytes) -> None:
    write_atomically(file, key.hex() + "\n", mode=0o600)


def _record(home: Home, name: str) -> KeyRecord:
    return _register(home).get(name, KeyRecord(1, ""))


def _register(home: Home) -> dict[str, KeyRecord]:
    file = home.path / "keys.json"
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(name): KeyRecord(int(entry["generation"]), str(entry["check"]))
            for name, entry in content.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(
            "keys.json cannot be read",
            where="keys.json",
            fix="restore keys/ and keys.json from one backup",
        ) from None


def _write_register(home: Home, register: Mapping[str, KeyRecord]) -> None:
    content = {name: asdict(record) for name, record in register.items()}
    write_atomically(home.path / "keys.json", json.dumps(content, indent=1, sort_keys=True) + "\n")
