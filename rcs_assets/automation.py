"""What goes on by itself: a sensor on the drop folder, and one on runs that were killed.

Belongs here: waiting until a file in `drop/incoming` no longer changes, registering
it, and asking for runs of the engagements concerned; looking for runs without a process.
Does not belong here: reading the files (`intake`), telling such runs (`sessions`).
"""

# No `from __future__ import annotations`: Dagster reads the types of `context` and `home`.

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def stable_files(
    incoming: Path, seen: dict[str, list[int]]
) -> tuple[list[Path], dict[str, list[int]]]:
    """Files whose size and time are those of the last look, and what was seen now.

    Args:
        incoming: the folder.
        seen: file name → [bytes, modification time in ns] at the last look.

    Returns:
        The files that have come to rest, and the state to hand to the next look.
    """
    now = {
        file.name: [file.stat().st_size, file.stat().st_mtime_ns]
        for file in sorted(incoming.iterdir())
        if file.is_file() and not file.name.startswith(".")
    }
    return [incoming / name for name, state in now.items() if seen.get(name) == state], now


def set_refused_aside(file: Path) -> None:
    """Move a refused file out of the sensor's sight, into `incoming/refused/`."""
    if file.is_file():
        refused = file.parent / REFUSED
        refused.mkdir(exist_ok=True, mode=0o700)
        file.replace(refused / file.name)


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
    """One tick: two looks at the same size and time make a file stable.

    Why a file was refused stands in each tick that starts no run, as long as the file lies in
    `incoming/refused/`: what a sensor logs is kept nowhere (dagster.yaml, compute_logs).
    """
    from rcs_assets.intake.drop import read_register

    installation = home.home()
    known = json.loads(context.cursor) if context.cursor else {}
    refused = {
        name: why
        for name, why in known.get("refused", {}).items()
        if (installation.incoming / REFUSED / name).exists()
    }
    stable, now = stable_files(installation.incoming, known.get("seen", {}))
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
    context.update_cursor(json.dumps({"seen": {}, "refused": refused}))
    registered = [outcome for outcome in outcomes if outcome.status == "registered"]
    if not registered:
        yield _skip("Nothing new was registered.", refused)
    # The register only grows, so its length tells one tick's deliveries from another's.
    yield from _requests(home, registered, len(read_register(installation)))


def _skip(why: str, refused: Mapping[str, str]) -> dg.SkipReason:
    """Why no run is asked for, and what was refused."""
    if not refused:
        return dg.SkipReason(why)
    shown = list(refused.values())[:_REFUSALS_SHOWN]
    more_n = len(refused) - len(shown)
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
    """Set refused files aside; returns why, by the name of the file that lies there then."""
    why: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.status == "refused":
            name = outcome.archive or outcome.file
            set_refused_aside(incoming / name)
            why[name] = f"{why[name]} {outcome.message}" if name in why else outcome.message
    return why


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
