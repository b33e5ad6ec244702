"""Proves that a release is what was published, or names what is not.

Belongs here: every file against checksums and manifest; packages against the hash that was
checked, signed and recorded; the release's audit log against the installation's. Does not
belong here: whether the figures are safe (the certificate has a check of its own).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rcs_assets.disclosure.policy import load_policy
from rcs_assets.errors import InputError, RcsError, StorageError
from rcs_assets.release.approval import Signature, is_genuine, load_approvers, stored
from rcs_assets.release.audit_log import AuditLog, Event, log_file, parse_log, published
from rcs_assets.release.files import (
    AUDIT_LOG,
    CHECKSUMS,
    MANIFEST,
    file_list,
    files_below,
    sha256_file,
)
from rcs_assets.release.packages import read_manifest, resolve_version
from rcs_assets.release.seal import candidate_hash
from rcs_assets.release.states import ReleaseState
from rcs_assets.storage import Home


@dataclass(frozen=True)
class Verification:
    """`is_whole` if there is no problem: every file is there, as published, and no other.

    `state`: published, superseded or withdrawn, as the audit log says. `approvers`: who
    signed, genuinely, exactly these bytes.
    """

    version: str
    is_whole: bool
    files_n: int
    problems: tuple[str, ...]
    state: str
    approvers: tuple[str, ...]


def verify_release(home: Home, version: str | None = None) -> Verification:
    """Compare a release with its checksums, its manifest, the audit log and its signatures.

    Raises:
        InputError: no such release, or a folder that this installation did not publish.
    """
    chosen = resolve_version(home, version)
    folder = home.releases / chosen
    if not folder.is_dir():
        raise InputError(
            f"There is no release {chosen}", where=str(home.releases), fix="run: rcs release list"
        )
    refuse_unrecorded(home, chosen)
    present = file_list(folder, without=[CHECKSUMS])
    problems = [*_file_problems(folder, present), *_manifest_problems(home, folder, present)]
    found, state, approvers = _history(home, folder, present)
    problems += found
    return Verification(
        chosen, not problems, len(files_below(folder)), tuple(problems), state, approvers
    )


def refuse_unrecorded(home: Home, version: str) -> None:
    """Raises InputError for a folder that this installation did not publish: nothing is read."""
    if version not in published(home):
        raise InputError(
            f"Release {version} was not published by this installation",
            where=str(home.releases / version),
            why="the audit log does not record that it was published",
            fix="move the folder out of releases/",
        )


def _file_problems(folder: Path, present: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    sums = folder / CHECKSUMS
    if not sums.is_file():
        yield f"{CHECKSUMS} is missing"
        return
    expected = {}
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        expected[name] = digest
    found = {str(entry["path"]): str(entry["sha256"]) for entry in present}
    for name in sorted(set(expected) - set(found)):
        yield f"{name} is missing"
    for name in sorted(set(found) - set(expected)):
        yield f"{name} was not published"
    for name in sorted(set(expected) & set(found)):
        if (folder / name).is_symlink() or found[name] != expected[name]:
            yield f"{name} is not as published"


def _manifest_problems(
    home: Home, folder: Path, present: Iterable[Mapping[str, Any]]
) -> Iterable[str]:
    try:
        listed = read_manifest(home, folder.name)["files"]
    except (InputError, StorageError, KeyError):
        yield f"{MANIFEST} cannot be read"
        return
    if listed != [entry for entry in present if entry["path"] != MANIFEST]:
        yield f"{MANIFEST} does not list the files that are there"


def _history(
    home: Home, folder: Path, present: Iterable[Mapping[str, Any]]
) -> tuple[list[str], str, tuple[str, ...]]:
    """Problems, state and approvers, from the audit log and the signatures."""
    version = folder.name
    try:
        own, told = _log(log_file(home)), _log(folder / AUDIT_LOG)
        digest = candidate_hash(folder, present)
        signatures = stored(folder)
    except RcsError as error:
        return [str(error)], "", ()
    # A publication that was killed after the move has told its release only.
    log = told if told.extends(own) else own
    state = log.state_of(version)
    problems = list(_log_problems(log, told, version))
    if state == ReleaseState.WITHDRAWN:
        return problems, state, ()
    problems += _byte_problems(log, folder, digest)
    genuine = [s for s in signatures if is_genuine(s) and s.candidate == digest]
    problems += _signature_problems(home, log, version, genuine)
    return problems, state or "", tuple(signature.approver for signature in genuine)


def _log(file: Path) -> AuditLog:
    if not file.is_file():
        raise StorageError("The audit log is missing", where=str(file))
    return parse_log(file.read_text(encoding="utf-8"), str(file))


def _log_problems(log: AuditLog, told: AuditLog, version: str) -> Iterable[str]:
    if not log.extends(told):
        yield f"{AUDIT_LOG} is not the beginning of the installation's audit log"
    if not log.of(version, Event.PUBLISHED):
        yield f"{AUDIT_LOG} does not record that {version} was published"


def _byte_problems(log: AuditLog, folder: Path, digest: str) -> Iterable[str]:
    published = log.of(folder.name, Event.PUBLISHED)
    if published and published[-1].candidate != digest:
        yield "the packages are not the ones that were checked and published"
    for entry in log.of(folder.name, Event.SEALED):
        sums = folder / CHECKSUMS
        if sums.is_file() and entry.details.get(CHECKSUMS) != sha256_file(sums):
            yield f"{CHECKSUMS} is not the one that was published"


def _signature_problems(
    home: Home, log: AuditLog, version: str, genuine: Iterable[Signature]
) -> Iterable[str]:
    rule = load_policy(home.config).approvals.get(home.profile)
    revoked = {a.public_key: a for a in load_approvers(home.config) if a.revoked}
    names = set()
    for signature in genuine:
        approver = revoked.get(signature.public_key)
        if approver and approver.revoked and date.fromisoformat(signature.day) >= approver.revoked:
            yield f"{signature.approver} signed with a key that was revoked on {approver.revoked}"
        else:
            names.add(signature.approver)
    for entry in log.of(version, Event.PUBLISHED):
        said = {name for name in entry.details.get("approvers", "").split(", ") if name}
        if not said <= names:
            yield f"the signature of {sorted(said - names)[0]} over these bytes is missing"
    if rule and len(names) < rule.signatures:
        yield f"{len(names)} valid signatures; profile {home.profile} needs {rule.signatures}"
