"""Approvals: signatures of named people over exactly one candidate.

Belongs here: keys, who may approve, signing, recording and proving signatures. Does not
belong here: how many signatures a profile needs (`disclosure/data/policy.yaml`) and deciding
(`gate.py`).

An approver holds an Ed25519 key of his own; the installation knows its public half only
(`config/approvers.yaml`). He signs the hash of the candidate's bytes (`seal.py`) with its
version, his name and the day: a signature fits no other candidate, and a byte that changes
afterwards breaks it. Whoever computed the candidate may not approve it.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rcs_assets.errors import ConfigurationError, GateRefusedError, InputError, StorageError
from rcs_assets.programme.datafile import MALFORMED, DataFolder, read_keys
from rcs_assets.release.audit_log import Entry, Event, read_log, record, save_log
from rcs_assets.release.files import (
    APPROVALS,
    CANDIDATE_FILE,
    disk_failures_named,
    write_json,
)
from rcs_assets.release.gate import Approval, CandidateFacts, Decision
from rcs_assets.release.packages import CANDIDATE
from rcs_assets.storage import Home
from rcs_assets.storage.files import sync

APPROVERS_FILE = "approvers.yaml"
_REQUIRED = {"name", "account", "public_key", "since"}
_OPTIONAL = {"revoked", "reason"}
_PURPOSE = "rcs release approval"


def same_person(name: str) -> str:
    """A name as it is compared: whoever writes it with other capitals or blanks is no other."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


@dataclass(frozen=True)
class Approver:
    """A person who may approve; `revoked` is the day from which the key counts no more."""

    name: str
    account: str
    public_key: str
    since: date
    revoked: date | None = None
    reason: str = ""

    def is_author(self, author: str) -> bool:
        """Whether this person computed the candidate."""
        return same_person(author) in (same_person(self.name), same_person(self.account))


@dataclass(frozen=True)
class Signature:
    """One approval as it is stored beside the candidate."""

    approver: str
    public_key: str
    candidate: str
    release: str
    day: str
    signature: str

    def message(self) -> bytes:
        """What is signed."""
        said = {k: v for k, v in asdict(self).items() if k != "signature"}
        return json.dumps({"purpose": _PURPOSE, **said}, sort_keys=True).encode()


def load_approvers(overlay: Path) -> tuple[Approver, ...]:
    """The approvers of an installation.

    Args:
        overlay: the folder `config` of the home.

    Raises:
        ConfigurationError: the list is not in its form, or contradicts itself.
    """
    defaults = Path(str(resources.files("rcs_assets.release"))) / "data"
    listed = read_keys(*DataFolder("release", defaults, overlay).sources(APPROVERS_FILE)[-1])
    try:
        approvers = tuple(_approver(row) for row in listed["approvers"])
    except MALFORMED as error:
        raise _wrong(f"it is not in its form ({type(error).__name__})") from error
    for name in ("name", "account", "public_key"):
        values = [same_person(getattr(approver, name)) for approver in approvers]
        if len(set(values)) < len(values):
            raise _wrong(f"two entries have the same {name}: one person signs once")
    return approvers


def _approver(row: Mapping[str, Any]) -> Approver:
    if not set(row) >= _REQUIRED or set(row) - _REQUIRED - _OPTIONAL:
        raise _wrong(f"an entry needs {', '.join(sorted(_REQUIRED))}, and may have revoked, reason")
    key = str(row["public_key"])
    if len(bytes.fromhex(key)) != 32:
        raise _wrong("a public key is not 64 hexadecimal digits")
    revoked = _day(row["revoked"]) if "revoked" in row else None
    if revoked and not row.get("reason"):
        raise _wrong("a key is revoked without a reason")
    return Approver(
        str(row["name"]),
        str(row["account"]),
        key.lower(),
        _day(row["since"]),
        revoked,
        str(row.get("reason", "")),
    )


def _day(value: object) -> date:
    """A day; a time of it, which compares with no day, is none."""
    return date.fromisoformat(str(value))


def _wrong(why: str) -> ConfigurationError:
    return ConfigurationError(
        "The list of approvers cannot be used",
        where=f"config/{APPROVERS_FILE}",
        why=why,
        fix="compare it with the form that rcs_assets/release/data/approvers.yaml describes",
    )


def new_key(file: Path, passphrase: str = "") -> str:
    """Make an approver's key; returns its public half, for the list of approvers.

    Raises:
        InputError: the file exists.
    """
    key = Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(
            "There is such a file already",
            where=str(file),
            why="a key that is written over is lost",
            fix="name another file",
        ) from None
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
    return _public(key)


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def read_key(file: Path, passphrase: str = "") -> Ed25519PrivateKey:
    """An approver's private key.

    Raises:
        InputError: no such file, readable by others, not an Ed25519 key, wrong passphrase.
    """
    if not file.is_file():
        raise InputError("There is no such key", where=str(file))
    if file.stat().st_mode & 0o077:
        raise InputError(
            "The key can be read by others",
            where=str(file),
            why="whoever reads it can sign in its owner's name",
            fix="revoke it if others have read it, else: chmod 600 on the file",
        )
    try:
        key = serialization.load_pem_private_key(
            file.read_bytes(), passphrase.encode() if passphrase else None
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError(
            "The key cannot be read",
            where=str(file),
            why="it is damaged, or its passphrase is missing or wrong",
            fix="set RCS_KEY_PASSPHRASE, or make a new key: rcs release new-key FILE",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("The key is no Ed25519 key", where=str(file))
    return key


def sign(
    key: Ed25519PrivateKey,
    approvers: Sequence[Approver],
    *,
    candidate: str,
    release: str,
    author: str,
    day: date,
    holds_on: date,
) -> Signature:
    """Sign a candidate.

    Args:
        key: the approver's.
        approvers: as the list stands now.
        candidate: hash of its bytes.
        release: what it will be called.
        author: who computed it.
        day: what the signature says.
        holds_on: the key must not be revoked by then (`Home.permission_day`).

    Raises:
        GateRefusedError: the key's owner may not approve this candidate on one of these days.
    """
    approver = next((a for a in approvers if a.public_key == _public(key)), None)
    if approver is None:
        raise _may_not("the key is not in the list of approvers", "have it added, with a review")
    problem = _owner_problem(approver, author, day) or _owner_problem(approver, author, holds_on)
    if problem:
        raise _may_not(problem, "let another approver sign")
    unsigned = Signature(
        approver.name, approver.public_key, candidate, release, day.isoformat(), ""
    )
    signature = key.sign(unsigned.message()).hex()
    return Signature(**(asdict(unsigned) | {"signature": signature}))


def _may_not(why: str, fix: str) -> GateRefusedError:
    return GateRefusedError(
        "The candidate was not approved", where=f"config/{APPROVERS_FILE}", why=why, fix=fix
    )


def _owner_problem(approver: Approver, author: str, day: date) -> str:
    if approver.is_author(author):
        return f"{approver.name} computed this candidate: the author may not approve it"
    if day < approver.since:
        return f"the key of {approver.name} may sign from {approver.since} on"
    if approver.revoked is not None and day >= approver.revoked:
        return f"the key of {approver.name} is revoked since {approver.revoked}: {approver.reason}"
    return ""


def approve(
    home: Home, decision: Decision, facts: CandidateFacts, key: Ed25519PrivateKey, today: date
) -> Signature:
    """Sign the candidate that the gate was asked about, and record it.

    Raises:
        GateRefusedError: something about the candidate is not proven, or the key's owner may
            not approve it.
    """
    if decision.unproven:
        raise GateRefusedError(
            "The candidate was not approved",
            where="release/candidate",
            why="; ".join(decision.unproven),
            fix="correct what is named, run: rcs materialise; then approve again",
        )
    folder = home.releases / CANDIDATE
    if not (folder / CANDIDATE_FILE).is_file():
        raise InputError("There is no candidate", where=str(folder), fix="run: rcs materialise")
    said = json.loads((folder / CANDIDATE_FILE).read_text(encoding="utf-8"))
    signature = sign(
        key,
        load_approvers(home.config),
        candidate=facts.candidate_hash,
        release=str(said["release"]),
        author=facts.author,
        day=today,
        holds_on=home.permission_day(today),
    )
    entry = Entry(
        Event.APPROVED,
        today.isoformat(),
        "",
        signature.candidate,
        {"approver": signature.approver, "public_key": signature.public_key},
    )
    with disk_failures_named(home.releases):
        save_log(home, record(read_log(home), entry))
        store(folder, [*_before(folder), signature])
    return signature


def _before(folder: Path) -> tuple[Signature, ...]:
    """The signatures so far; none where their file is damaged: all sign again."""
    try:
        return stored(folder)
    except StorageError:
        return ()


def stored(folder: Path) -> tuple[Signature, ...]:
    """The signatures that lie beside a candidate or release.

    Raises:
        StorageError: the file is damaged.
    """
    file = folder / APPROVALS
    if not file.is_file():
        return ()
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["approvals"]
        return tuple(Signature(**{k: str(v) for k, v in row.items()}) for row in rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            "The approvals are damaged", where=str(file), fix="let the approvers sign again"
        ) from error


def store(folder: Path, signatures: Iterable[Signature]) -> None:
    """Write the signatures beside the candidate, one an approver.

    Written beside the folder, whose bytes are signed, and put in place by one rename: a reader
    sees the old or the new signatures.
    """
    by_name = {signature.approver: asdict(signature) for signature in signatures}
    aside = folder.with_name(f".{APPROVALS}.{os.getpid()}")
    write_json(aside, {"approvals": [by_name[name] for name in sorted(by_name)]})
    sync(aside)
    aside.replace(folder / APPROVALS)
    sync(folder)


def proven(
    signatures: Iterable[Signature],
    approvers: Sequence[Approver],
    *,
    candidate: str,
    author: str,
    today: date,
) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    """The approvals that count, and why others do not.

    Args:
        signatures: as stored.
        approvers: as the list stands now.
        candidate: hash of the bytes as they lie there now.
        author: who computed it.
        today: a key that is revoked by this day counts no more, whenever it signed.
    """
    found, problems = [], []
    known = {approver.name: approver for approver in approvers}
    for signature in signatures:
        problem = _problem(signature, known.get(signature.approver), candidate, author, today)
        if problem:
            problems.append(problem)
        else:
            found.append(Approval(signature.approver, signature.candidate))
    return tuple(found), tuple(problems)


def _problem(
    signature: Signature, approver: Approver | None, candidate: str, author: str, today: date
) -> str:
    name = signature.approver
    if approver is None or approver.public_key != signature.public_key:
        return f"the signature of {name} is by a key that is not in the list of approvers"
    if not is_genuine(signature):
        return f"the signature of {name} is not genuine"
    if signature.candidate != candidate:
        return f"what {name} signed has been changed since"
    return _owner_problem(approver, author, max(today, date.fromisoformat(signature.day)))


def is_genuine(signature: Signature) -> bool:
    """Whether the key that is named signed exactly this."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key))
        key.verify(bytes.fromhex(signature.signature), signature.message())
    except (InvalidSignature, ValueError):
        return False
    return True
