"""What starts runs by itself: a sensor on the drop folder.

Belongs here: waiting until a file in `drop/incoming` no longer changes, registering
it, and asking for runs of the engagements concerned. Does not belong here: reading
the files (`intake`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from rcs_assets.programme.provenance import MANIFEST_NAME
from rcs_assets.storage.resources import HomeResource

INTERVAL_SECONDS = 30


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
        refused = file.parent / "refused"
        refused.mkdir(exist_ok=True, mode=0o700)
        file.replace(refused / file.name)


@dg.sensor(
    name="drop_folder",
    job_name="engagement",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers files in drop/incoming once they no longer change, then asks for "
    "a run of each engagement that received something.",
)
def drop_sensor(
    context: dg.SensorEvaluationContext, home: HomeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One tick: two looks at the same size and time make a file stable."""
    from rcs_assets.intake.drop import deliver, read_register

    installation = home.home()
    seen = json.loads(context.cursor) if context.cursor else {}
    stable, now = stable_files(installation.incoming, seen)
    files = [file for file in stable if file.name != MANIFEST_NAME]
    if not files:
        context.update_cursor(json.dumps(now))
        yield dg.SkipReason("No file in drop/incoming has come to rest.")
        return
    outcomes = deliver(
        installation, files, home.programme(), home.codebook(), received_on=home.settings().as_of
    )
    context.update_cursor(json.dumps({}))
    for outcome in outcomes:
        if outcome.status == "refused":
            context.log.warning(outcome.message)
            set_refused_aside(installation.incoming / outcome.file)
    engagements = {o.engagement for o in outcomes if o.status == "registered" and o.engagement}
    if not engagements:
        yield dg.SkipReason("Nothing new for an engagement was registered.")
    # The register only grows, so its length tells one tick's deliveries from another's.
    moment = len(read_register(installation))
    for engagement in sorted(engagements):
        yield dg.RunRequest(run_key=f"{engagement}:{moment}", partition_key=engagement)
