"""What goes on by itself: a sensor on the drop folder, and one on runs that were killed.

Belongs here: waiting until a file in `drop/incoming` no longer changes, registering
it, and asking for runs of the engagements concerned; looking for runs without a process.
Does not belong here: reading the files (`intake`), telling such runs (`sessions`).
"""

# No `from __future__ import annotations`: Dagster reads the types of `context` and `home`.

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from rcs_assets.errors import StorageError
from rcs_assets.programme.provenance import MANIFEST_NAME
from rcs_assets.sessions import fail_ended
from rcs_assets.storage import write_lock
from rcs_assets.storage.resources import HomeResource

if TYPE_CHECKING:
    from dagster._core.definitions.target import ExecutableDefinition

    from rcs_assets.intake.drop import DeliveryOutcome

INTERVAL_SECONDS = 30
REFUSED = "refused"
_REFUSALS_SHOWN = 5


def stable_files(incoming: Path, seen: Collection[str]) -> tuple[list[Path], list[str]]:
    """Files whose name, size and time are those of the last look, and the marks of all seen now.

    Args:
        incoming: the folder.
        seen: marks of the files at the last look.

    Returns:
        The files that have come to rest, and the state to hand to the next look.
    """
    marks = {
        file: mark
        for file in sorted(incoming.iterdir())
        if not file.name.startswith(".") and (mark := _mark(file))
    }
    return [file for file, mark in marks.items() if mark in seen], [*marks.values()]


def _mark(file: Path) -> str:
    """A file as a cursor names it, which Dagster keeps: its name could be a child's.

    A name can be guessed from its sha256, name and nanosecond together cannot. Empty where no file
    lies any more.
    """
    try:
        state = file.stat()
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(state.st_mode):
        return ""
    said = f"{state.st_size} {state.st_mtime_ns} ".encode() + os.fsencode(file.name)
    return hashlib.sha256(said).hexdigest()


def set_refused_aside(file: Path) -> str:
    """Move a refused file out of the sensor's sight, into `incoming/refused/`; returns its mark."""
    if not file.is_file():
        return ""
    refused = file.parent / REFUSED
    refused.mkdir(exist_ok=True, mode=0o700)
    return _mark(file.replace(refused / file.name))


def drop_sensor(jobs: "Sequence[ExecutableDefinition]") -> dg.SensorDefinition:
    """The sensor on the drop folder; `jobs` are `reference` and `engagement`."""
    return dg.sensor(
        name="drop_folder",
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers files in drop/incoming once they no longer change, then asks for "
        "a run of each engagement that received something; after reference data, for a run of "
        "these and of every engagement.",
    )(look_into_drop)


def look_into_drop(
    context: dg.SensorEvaluationContext, home: HomeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One tick; Dagster keeps what it says and the cursor.

    Raises:
        StorageError: the folder cannot be read; the system's own message would hold a file's name.
    """
    try:
        yield from _tick(context, home)
    except OSError as error:
        raise StorageError(
            "A file in drop/incoming cannot be read or moved",
            why=error.strerror or type(error).__name__,
            fix="see whose the files there are; the next tick looks again",
        ) from None


def _tick(
    context: dg.SensorEvaluationContext, home: HomeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Two looks at the same size and time make a file stable.

    Why a file was refused stands in each tick that starts no run, as long as the file lies as it
    was in `incoming/refused/`: what a sensor logs is kept nowhere (dagster.yaml, compute_logs).
    """
    from rcs_assets.intake.drop import read_register

    installation = home.home()
    known = json.loads(context.cursor) if context.cursor else {}
    lying = {_mark(file) for file in installation.incoming.glob(f"{REFUSED}/*")}
    refused = {mark: why for mark, why in known.get("refused", {}).items() if mark in lying}
    stable, now = stable_files(installation.incoming, known.get("seen", ()))
    files = [file for file in stable if file.name != MANIFEST_NAME]
    if not files:
        context.update_cursor(json.dumps({"seen": now, "refused": refused}))
        yield _skip("No file in drop/incoming has come to rest.", refused)
        return
    try:
        outcomes = _register(home, files)
    except StorageError as error:
        # The cursor stays: the next tick finds the same files at rest.
        yield _skip(f"{error.what}; the files wait in drop/incoming.", refused)
        return
    refused |= _set_aside(installation.incoming, outcomes)
    context.update_cursor(json.dumps({"seen": [], "refused": refused}))
    registered = [outcome for outcome in outcomes if outcome.status == "registered"]
    if not registered:
        yield _skip("Nothing new was registered.", refused)
    # The register only grows, so its length tells one tick's deliveries from another's.
    yield from _requests(home, registered, len(read_register(installation)))


def _skip(why: str, refused: Mapping[str, str]) -> dg.SkipReason:
    """Why no run is asked for, and what was refused."""
    if not refused:
        return dg.SkipReason(why)
    alike = Counter(refused.values())
    shown = [
        why if n == 1 else f"{n} files alike: {why}"
        for why, n in [*alike.items()][:_REFUSALS_SHOWN]
    ]
    more_n = sum([*alike.values()][_REFUSALS_SHOWN:])
    more = [f"And {more_n} more."] if more_n else []
    lying = f"In drop/incoming/{REFUSED} lie {len(refused)} refused files:"
    return dg.SkipReason(" ".join([why, lying, *shown, *more]))


def _register(home: HomeResource, files: Sequence[Path]) -> "list[DeliveryOutcome]":
    """Register files under the lock; raises StorageError at once where another process works."""
    from rcs_assets.intake.drop import deliver

    place, settings = home.home(), home.settings()
    with write_lock(place, "sensor drop_folder", wait_seconds=0):
        return deliver(place, files, home.programme(), home.codebook(), received_on=settings.as_of)


def _set_aside(incoming: Path, outcomes: "Iterable[DeliveryOutcome]") -> dict[str, str]:
    """Set refused files aside; returns why, by the mark of the file that lies there then."""
    why: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.status == "refused":
            why.setdefault(outcome.archive or outcome.file, []).append(outcome.message)
    marks = {set_refused_aside(incoming / name): " ".join(said) for name, said in why.items()}
    return {mark: said for mark, said in marks.items() if mark}


def _requests(
    home: HomeResource, registered: "Iterable[DeliveryOutcome]", moment: int
) -> Iterator[dg.RunRequest]:
    """Runs of the parts concerned: every engagement is computed from the reference data."""
    from rcs_assets.intake.drop import engagements_in_scope

    received = {outcome.engagement for outcome in registered}
    if None in received:
        yield dg.RunRequest(
            run_key=f"reference:{moment}", job_name="reference", tags={"dagster/priority": "1"}
        )
    for engagement in engagements_in_scope(home.home(), home.programme()):
        if None in received or engagement in received:
            yield dg.RunRequest(
                run_key=f"{engagement}:{moment}", job_name="engagement", partition_key=engagement
            )


def killed_runs_sensor() -> dg.SensorDefinition:
    """The sensor on runs whose process was killed: with the UI, by the system, or by hand."""
    return dg.sensor(
        name="killed_runs",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Says of runs whose process was killed that they failed: one run goes at a "
        "time, and the queue would wait for them for ever. Start them again.",
    )(look_for_killed_runs)


def look_for_killed_runs(
    context: dg.SensorEvaluationContext, home: HomeResource
) -> Iterator[dg.SkipReason]:
    """One tick; while a run works it holds the lock, and nothing is looked at."""
    try:
        with write_lock(home.home(), "sensor killed_runs", wait_seconds=0):
            failed = fail_ended(context.instance)
    except StorageError as error:
        yield dg.SkipReason(f"{error.what}; nothing was looked at.")
        return
    named = ", ".join(run_id[:8] for run_id in failed)
    yield dg.SkipReason(
        f"Failed, since their processes ended: {named}."
        if failed
        else "No run has lost its process."
    )
