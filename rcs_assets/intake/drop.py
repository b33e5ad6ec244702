"""Registers delivered files in the drop folder: what came, when, with which bytes.

Belongs here: recognising a file by its name, refusing what cannot be taken in, the
immutable sealed copy, the register (one JSON line a delivery) and the question
which delivery of a dataset holds now. Does not belong here: what is inside a file
(`readers.py`, `contracts.py`), archives (`archives.py`), keys and their end
(`retention.py`); nothing of a record is read here. Only headers of files of identifiers are, since
identifiers beside encodings may not be kept, not even sealed (`encoded.py`).

A refusal of a file that was recognised is registered too: until a good file comes,
the dataset counts as rejected, so that an older delivery is never published as new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import keys
from rcs_assets.intake.archives import is_archive, unpacked
from rcs_assets.intake.encoded import (
    SAMPLE,
    is_encoded,
    judged_by,
    refuse_lone_change,
    takes_encodings,
)
from rcs_assets.intake.readers import probe, read_header
from rcs_assets.programme import Engagement, Programme
from rcs_assets.programme.provenance import MANIFEST_NAME, read_simulated_manifest, sha256_of
from rcs_assets.storage import Home, write_atomically, write_lock
from rcs_assets.storage.access_log import Access, process_purpose, record_access
from rcs_assets.storage.sealed import memory_file, seal, unseal

DeliveryKey = tuple[str, str | None]
_UNKNOWN = "a file whose name the contracts do not know"


class DeliveryStatus(StrEnum):
    """What became of one file that was handed in."""

    REGISTERED = "registered"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True)
class Delivery:
    """One line of the register.

    `engagement` is None for reference data. `refused` is empty for a delivery that was
    accepted, else the message with which it was refused (its bytes are not kept), or why
    it can no longer be read. `archive` names the .zip that the file came in. `replaces` is the
    delivery that was rewritten into this one on `rewritten_on`, without `destroyed_n` rows of
    extra children (`extras.py`); 0 for a file as it was delivered. `is_encoded`: it holds encodings
    in the place of identifiers.
    """

    seq: int
    file: str
    dataset: str
    engagement: str | None
    sha256: str
    bytes_n: int
    received_on: str
    is_simulated: bool
    refused: str = ""
    archive: str = ""
    replaces: int = 0
    destroyed_n: int = 0
    rewritten_on: str = ""
    is_encoded: bool = False

    def path(self, home: Home) -> Path:
        """Where the immutable sealed copy lies."""
        return home.drop / "files" / self.sha256 / f"{self.seq}.sealed"


@contextmanager
def opened(home: Home, delivery: Delivery) -> Iterator[Path]:
    """The plain bytes of a delivery under its own name, in memory, while the block runs.

    Raises:
        StorageError: its key is gone, or the sealed copy was changed.
    """
    # The number, not the name: a supplier's file name may say more than it should.
    what = f"delivery {delivery.seq} ({delivery.dataset})"
    record_access(home, Access.DROP_READ, what, process_purpose())
    with memory_file(home.tmp, delivery.file) as plain:
        unseal(delivery.path(home), plain.stream, keys.delivery_key(home, delivery.seq))
        yield plain.path


@dataclass(frozen=True)
class DeliveryOutcome:
    """What became of one file; `message` is one clear sentence for the operator.

    The message is kept in Dagster where the sensor registers files, so it names a file only as the
    contracts do. `archive` names the .zip that the file came in.
    """

    file: str
    dataset: str
    engagement: str | None
    sha256: str
    status: DeliveryStatus
    message: str
    archive: str = ""


@dataclass(frozen=True)
class _Recognised:
    dataset: Dataset
    engagement: str | None

    @property
    def key(self) -> DeliveryKey:
        return (self.dataset.name, self.engagement)


def deliver(
    home: Home,
    paths: Sequence[Path],
    programme: Programme,
    codebook: Codebook,
    *,
    received_on: date | None = None,
) -> list[DeliveryOutcome]:
    """Register files in the drop folder.

    Args:
        home: the installation.
        paths: files, or folders whose files are meant (not their sub-folders).
        programme: which engagements exist.
        codebook: which datasets exist and what their files are called.
        received_on: the day of receipt; today if not given.

    Returns:
        One outcome a file, in order of path. A file that is refused does not stop the rest.

    Raises:
        StorageError: the register is damaged, or another process writes to the home.
    """
    day = (received_on or date.today()).isoformat()
    files = named_files(paths)
    desk = _Door(home, programme, codebook, day, tuple(files))
    with write_lock(home, "registering deliveries"):
        return [outcome for path in files for outcome in _deliver_path(desk, path)]


def read_register(home: Home) -> tuple[Delivery, ...]:
    """Every line of the register, oldest first.

    Raises:
        StorageError: a line cannot be read.
    """
    if not home.register.exists():
        return ()
    lines = home.register.read_text(encoding="utf-8").splitlines()
    destroyed = keys.destroyed(home)
    try:
        known = (Delivery(**json.loads(line)) for line in lines)
        return tuple(
            replace(line, refused=destroyed[line.seq]) if line.seq in destroyed else line
            for line in known
        )
    except (ValueError, TypeError) as error:
        raise StorageError(
            "The drop register cannot be read",
            where="drop/register.jsonl",
            fix="restore it from a backup; the delivered files lie untouched in drop/files",
        ) from error


def current_deliveries(home: Home) -> Mapping[DeliveryKey, Delivery]:
    """The delivery that holds for each (dataset, engagement): the newest, refused ones included."""
    return {(line.dataset, line.engagement): line for line in read_register(home)}


def engagements_in_scope(home: Home, programme: Programme) -> tuple[str, ...]:
    """Engagements for which anything was delivered, in the order of the register of CPPs."""
    delivered = {engagement for _, engagement in current_deliveries(home)}
    return tuple(key for key in programme.engagement_keys if key in delivered)


def named_files(paths: Iterable[Path]) -> list[Path]:
    """What paths name, in their order: a file itself, of a folder its own files, each once.

    A path at which nothing lies is among them, so that its refusal can name it.
    """
    found: dict[Path, None] = {}
    for path in paths:
        members = sorted(path.iterdir()) if path.is_dir() else [path]
        for member in members:
            hidden = path.is_dir() and (member.name.startswith(".") or member.is_dir())
            if not hidden and member.name != MANIFEST_NAME:
                found[member.absolute()] = None
    return list(found)


@dataclass(frozen=True)
class _Door:
    """What every file is looked at with; `files` are those that came together."""

    home: Home
    programme: Programme
    codebook: Codebook
    day: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Arrived:
    """One file to register: plain bytes, its own name, and the archive it came in."""

    path: Path
    name: str
    is_simulated: bool
    archive: str = ""


def _deliver_path(door: _Door, path: Path) -> list[DeliveryOutcome]:
    """A file, or each file of an archive; a refusal stops nothing else."""
    try:
        if not path.is_file():
            raise InputError("There is no such file", where=_told(path, door), fix="check the path")
        is_simulated = _provenance(door, path)
    except InputError as error:
        return [_unregistered(path.name, str(error))]
    if is_archive(path):
        outcomes = _deliver_archive(door, path, is_simulated)
    else:
        outcomes = [_deliver_one(door, _Arrived(path, path.name, is_simulated))]
    if all(outcome.status != DeliveryStatus.REFUSED for outcome in outcomes):
        _leave_incoming(door.home, path)
    return outcomes


def _deliver_archive(door: _Door, path: Path, is_simulated: bool) -> list[DeliveryOutcome]:
    try:
        with unpacked(path, door.home.tmp, _told(path, door)) as members:
            return [
                _deliver_one(door, _Arrived(member, member.name, is_simulated, path.name))
                for member in members
            ]
    except InputError as error:
        return [_refuse_archive(door, path, is_simulated, str(error))]


def _refuse_archive(door: _Door, path: Path, is_simulated: bool, message: str) -> DeliveryOutcome:
    """A refused archive that is named like a dataset counts as a refused file of it."""
    known = _known(path, door)
    if known is None:
        return _unregistered(path.name, message)
    arrived = _Arrived(path, path.name, is_simulated, path.name)
    line = _line(door, arrived, known, sha256_of(path))
    return _register_refusal(door.home, replace(line, refused=message))


def _known(path: Path, door: _Door) -> _Recognised | None:
    """What a name is known as, an archive's by that of a file in it; nothing if it is not."""
    formats = sorted({dataset.formats[0] for dataset in door.codebook.datasets.values()})
    names = [f"{path.stem}.{form}" for form in formats] if is_archive(path) else [path.name]
    for name in names:
        try:
            return _recognise(name, door.programme, door.codebook)
        except InputError:
            continue
    return None


def _told(path: Path, door: _Door) -> str:
    """A file as messages name it: a name that the contracts do not know can be a child's."""
    return f"file {path.name}" if _known(path, door) else _UNKNOWN


def _unregistered(name: str, message: str) -> DeliveryOutcome:
    return DeliveryOutcome(name, "", None, "", DeliveryStatus.REFUSED, message)


def _deliver_one(door: _Door, arrived: _Arrived) -> DeliveryOutcome:
    home, path = door.home, arrived.path
    try:
        known = _recognise(arrived.name, door.programme, door.codebook)
        sha256 = sha256_of(path)
    except InputError as error:
        return replace(_unregistered(arrived.name, str(error)), archive=arrived.archive)
    held = current_deliveries(home).get(known.key)
    if held is not None and held.sha256 == sha256 and not held.refused:
        return _outcome(held, DeliveryStatus.UNCHANGED, "already registered: nothing changes")
    line = _judged(_line(door, arrived, known, sha256), path, known, door.programme)
    line = _of_held_kind(door, arrived, line)
    if line.refused:
        return _register_refusal(home, line)
    _keep(home, path, line)
    register(home, [line])
    message = "registered" if held is None else "registered; it takes the place of the one before"
    return _outcome(line, DeliveryStatus.REGISTERED, message)


def _line(door: _Door, arrived: _Arrived, known: _Recognised, sha256: str) -> Delivery:
    return Delivery(
        seq=len(read_register(door.home)) + 1,
        file=arrived.name,
        dataset=known.dataset.name,
        engagement=known.engagement,
        sha256=sha256,
        bytes_n=arrived.path.stat().st_size,
        received_on=door.day,
        is_simulated=arrived.is_simulated,
        archive=arrived.archive,
    )


def _register_refusal(home: Home, line: Delivery) -> DeliveryOutcome:
    if not _was_refused_before(home, line):
        register(home, [line])
    return _outcome(line, DeliveryStatus.REFUSED, line.refused)


def _was_refused_before(home: Home, line: Delivery) -> bool:
    """The same bytes looked at again, after a good file perhaps, say nothing new."""
    return any(
        known.refused
        and (known.sha256, known.dataset, known.engagement)
        == (line.sha256, line.dataset, line.engagement)
        for known in read_register(home)
    )


def _outcome(line: Delivery, status: DeliveryStatus, message: str) -> DeliveryOutcome:
    return DeliveryOutcome(
        line.file, line.dataset, line.engagement, line.sha256, status, message, line.archive
    )


def _recognise(name: str, programme: Programme, codebook: Codebook) -> _Recognised:
    for dataset in codebook.datasets.values():
        found = _fits(name, dataset)
        if found is None:
            continue
        if dataset.level == "reference":
            return _Recognised(dataset, None)
        engagement = found.group("engagement")
        if engagement not in programme.engagements:
            raise _unknown_engagement(name, engagement, dataset, programme)
        return _Recognised(dataset, engagement)
    raise _unknown_name(name, codebook)


def _fits(name: str, dataset: Dataset) -> re.Match[str] | None:
    """The pattern names the first format; the dataset's other formats differ in the ending."""
    stem, _, ending = name.rpartition(".")
    if ending not in dataset.formats:
        return None
    return re.fullmatch(dataset.file_pattern, f"{stem}.{dataset.formats[0]}")


def _unknown_engagement(
    name: str, engagement: str, dataset: Dataset, programme: Programme
) -> InputError:
    slug = engagement.partition("-")[2]
    meant = [key for key, item in programme.engagements.items() if item.cpp.slug == slug]
    if meant:
        why = f"the tranche is wrong: of this CPP the programme has {', '.join(meant)}"
        fix = f"if it belongs to {meant[0]}, rename it to {name.replace(engagement, meant[0])}"
    else:
        why = "its name does not begin with an engagement of the programme"
        fix = "use one of " + ", ".join(programme.engagement_keys)
    return InputError(
        "The file belongs to no engagement", where=f"{_UNKNOWN}: {dataset.title}", why=why, fix=fix
    )


def _unknown_name(name: str, codebook: Codebook) -> InputError:
    stem = name.rpartition(".")[0]
    for dataset in codebook.datasets.values():
        if re.fullmatch(dataset.file_pattern, f"{stem}.{dataset.formats[0]}"):
            return InputError(
                "The format is not supported",
                where=f"{_UNKNOWN}: {dataset.title}",
                why=f"it comes as {' or '.join(dataset.formats)}, as which this name does not end",
                fix=f"ask the supplier for it as .{dataset.formats[0]}",
            )
    return InputError(
        "The file is not known",
        where=_UNKNOWN,
        why="a delivery is recognised by its name, such as t1-west-lothian_sample-file.csv",
        fix="rename it as docs/reference/deliveries.md says for its dataset, or leave it out",
    )


def _provenance(door: _Door, path: Path) -> bool:
    """Whether the simulator signed this file.

    Raises:
        InputError: the demo profile was handed a file that the simulator did not sign
            (design.md, The gate), or the list beside the file cannot be trusted.
    """
    listed = read_simulated_manifest(path.parent)
    told = _told(path, door)
    is_simulated = bool(listed) and sha256_of(path, told) in listed
    if door.home.profile == "demo" and not is_simulated:
        raise InputError(
            "The demo profile refuses this file",
            where=told,
            why=f"it is not listed in a valid {MANIFEST_NAME} beside it, so it may be real",
            fix="make deliveries with rcs simulate, or use a home with the production profile",
        )
    return is_simulated


def _judged(line: Delivery, path: Path, known: _Recognised, programme: Programme) -> Delivery:
    """The line with why the file cannot be taken in as a whole, if so, and of which kind it is."""
    try:
        if known.engagement is not None:
            _check_wave(path.name, known.dataset, programme.engagements[known.engagement])
        probe(path, known.dataset)
        if takes_encodings(known.dataset):
            contract = judged_by(read_header(path, known.dataset), known.dataset, path.name)
            return replace(line, is_encoded=is_encoded(contract))
    except InputError as error:
        return replace(line, refused=str(error))
    return line


def _of_held_kind(door: _Door, arrived: _Arrived, line: Delivery) -> Delivery:
    """The line of a sample file, refused where it alone would change its council's kind."""
    if line.refused or line.dataset != SAMPLE:
        return line
    held = {
        known.dataset: known.is_encoded
        for known in read_register(door.home)
        if known.engagement == line.engagement and not known.refused
    }
    if held.get(SAMPLE, line.is_encoded) == line.is_encoded:
        return line
    beside = arrived.path.parent.iterdir() if arrived.archive else door.files
    try:
        refuse_lone_change(line.file, line.is_encoded, held, _kinds(door, line, beside))
    except InputError as error:
        return replace(line, refused=str(error))
    return line


def _kinds(door: _Door, line: Delivery, files: Iterable[Path]) -> dict[str, bool]:
    """Dataset → whether it is encoded, of the line's council's sound files of identifiers."""
    found = {}
    for path in files:
        try:
            known = _recognise(path.name, door.programme, door.codebook)
        except InputError:
            continue
        if known.engagement == line.engagement and takes_encodings(known.dataset):
            judged = _judged(line, path, known, door.programme)
            if not judged.refused:
                found[known.dataset.name] = judged.is_encoded
    return found


def _check_wave(name: str, dataset: Dataset, engagement: Engagement) -> None:
    if dataset.survey and engagement.wave(dataset.survey) is None:
        raise InputError(
            f"{engagement.key} has no {dataset.survey} survey",
            where=f"file {name}",
            why="the programme register lists no such wave",
            fix="check the engagement in the file's name, or add the wave to the register",
        )


def _keep(home: Home, path: Path, line: Delivery) -> None:
    """Seal a copy into the drop under a key of its own, complete or not at all."""
    target = line.path(home)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if seal(path, target, keys.new_delivery_key(home, line.seq)) != line.sha256:
        target.unlink()
        raise StorageError(
            "The file changed while it was copied",
            where=f"file {path.name}",
            fix="wait until it is written completely, then deliver it again",
        )


def reseal(
    home: Home, delivery: Delivery, path: Path, seq: int, destroyed_n: int, day: date
) -> Delivery:
    """Seal a rewritten copy of a delivery into the drop, under a key of its own.

    Args:
        home: the installation.
        delivery: as it was delivered.
        path: the plain copy, in memory.
        seq: its number in the register.
        destroyed_n: rows that are no longer in it.
        day: of the rewriting.

    Returns:
        Its line, which is not in the register yet.
    """
    line = replace(
        delivery,
        seq=seq,
        file=path.name,
        sha256=sha256_of(path),
        bytes_n=path.stat().st_size,
        replaces=delivery.seq,
        destroyed_n=destroyed_n,
        rewritten_on=day.isoformat(),
    )
    _keep(home, path, line)
    return line


def register(home: Home, lines: Iterable[Delivery]) -> None:
    """Add lines to the register, all or none."""
    # The register is small: writing it anew is atomic, a torn last line cannot occur.
    before = home.register.read_text(encoding="utf-8") if home.register.exists() else ""
    added = "".join(json.dumps(asdict(line), sort_keys=True) + "\n" for line in lines)
    write_atomically(home.register, before + added)


def _leave_incoming(home: Home, path: Path) -> None:
    """Remove a registered file from the incoming folder, and the list beside the last one."""
    incoming = home.incoming.resolve()
    if path.parent.resolve() != incoming:
        return
    path.unlink()
    if {member.name for member in incoming.iterdir()} == {MANIFEST_NAME}:
        (incoming / MANIFEST_NAME).unlink()
