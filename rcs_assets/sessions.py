"""What surrounds a run, whoever started it: the command line, the UI, a sensor, a backfill.

Belongs here: holding the home's lock from the first step to the last, noting which parts
the run has computed whole, so that the next command need not compute them again, and telling
runs that have lost their process. Does not belong here: deciding what to run (`runs.py`), and
what a part is made of (`intake.freshness`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType

from rcs_assets.errors import ConfigurationError
from rcs_assets.intake.freshness import OUTPUTS, TRACKING, wanted_fingerprints
from rcs_assets.overlays import refuse_unread
from rcs_assets.programme import load_programme
from rcs_assets.storage import open_warehouse, write_lock
from rcs_assets.storage.erasure import erase_removed, waiting_engagements
from rcs_assets.storage.fingerprints import REFERENCE, forget, record, recorded_fingerprints
from rcs_assets.storage.home import home_path
from rcs_assets.storage.lock import WAIT_SECONDS
from rcs_assets.storage.resources import HomeResource

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
PUBLISHED = dg.AssetKey(["release", "published"])
# Nothing reads it and it reads no delivery: a day that is entered computes no figure again.
TRACKED = dg.AssetKey(["programme", "tracking"])
# On each run of a command; the others are of the UI, a backfill or the sensor.
PROCESS = "rcs/pid"
# A run waits for the lock a quarter of this, and writes its end at once after it.
SILENT_SECONDS = 4 * WAIT_SECONDS
Planned = frozenset[dg.AssetKey | dg.AssetCheckKey]


@dataclass(frozen=True)
class Parts:
    """The assets and checks of each part of the graph; what publishes is in none."""

    reference: Planned
    partitioned: Planned
    outputs: Planned
    tracking: Planned

    def of(self, unit: str) -> Planned:
        """Everything that must be done for a part to be whole."""
        alone = {REFERENCE: self.reference, OUTPUTS: self.outputs, TRACKING: self.tracking}
        return alone.get(unit, self.partitioned)


def parts_of(graph: dg.AssetGraph) -> Parts:
    """Partitioned assets, what they read that is not partitioned, what comes after, tracking."""
    everything = graph.materializable_asset_keys
    partitioned = {key for key in everything if graph.get(key).is_partitioned}
    after = {
        key for key in everything - partitioned if graph.get_ancestor_asset_keys(key) & partitioned
    }
    before = everything - partitioned - after - {TRACKED}

    def with_checks(keys: Iterable[dg.AssetKey]) -> Planned:
        chosen = set(keys) - {PUBLISHED}
        checks = {key for key in graph.asset_check_keys if key.asset_key in chosen}
        return frozenset(chosen | checks)

    return Parts(
        with_checks(before),
        with_checks(partitioned),
        with_checks(after),
        with_checks(everything & {TRACKED}),
    )


class RunHome(HomeResource):
    """The installation as every run of the platform's own graph gets it."""

    def parts(self) -> Parts:
        """The parts of the graph that is built around this resource."""
        raise NotImplementedError

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[RunHome]:
        """Hold the lock while the run lasts; a sensor, which has no run, takes its own.

        Raises:
            StorageError: another process works on the home; the message names it.
            ConfigurationError: nothing reads a name in the overlay, or the run's configuration
                names another home.
        """
        if context.run is None:
            yield self
            return
        self._refuse_other_home()
        refuse_unread(self.home().config)
        with write_lock(self.home(), f"Dagster run {context.run.run_id[:8]}"):
            wanted = wanted_fingerprints(self.home(), self.left_out, self.settings().as_of)
            units = self._begin(context)
            yield self
            self._end(context, {unit: wanted[unit] for unit in units if unit in wanted})

    def _refuse_other_home(self) -> None:
        """A path typed into the launchpad would make a new installation, or fill another's."""
        if Path(self.path).resolve() != home_path():
            raise ConfigurationError(
                "The run names another installation than the one that it was started in",
                where=f"resources.home.config.path: {self.path}",
                why=f"partitions, rules and records are those of {home_path()}",
                fix="leave path as it was; another installation has its own UI: "
                "make ui RCS_HOME=FOLDER",
            )

    def _begin(self, context: dg.InitResourceContext) -> list[str]:
        """Forget what the run is about to compute: until it is whole it is not fresh."""
        units = touched_units(
            _planned(context),
            context.run.tags if context.run else {},
            self.parts(),
            load_programme(self.home().config).engagement_keys,
        )
        if units:
            with open_warehouse(self.home(), settings=self.settings()) as con:
                forget(con, units)
        return units

    def _end(self, context: dg.InitResourceContext, wanted: Mapping[str, str]) -> None:
        """Note the parts of which every asset was made and every check was asked."""
        done = _done(context)
        parts = self.parts()
        whole = {
            unit: value
            for unit, value in wanted.items()
            if all((key, _partition_of(unit, key)) in done for key in parts.of(unit))
        }
        if OUTPUTS in whole:
            self._erase_removed(whole)
        if whole:
            with open_warehouse(self.home(), settings=self.settings()) as con:
                record(con, whole)

    def _erase_removed(self, whole: Collection[str]) -> None:
        """After the last part no table holds a child who was withdrawn; then no block does."""
        if waiting_engagements(self.home()):
            with open_warehouse(self.home(), settings=self.settings()) as con:
                done = {*recorded_fingerprints(con), *whole}
            erase_removed(self.home(), done)


def touched_units(
    planned: Planned,
    tags: Mapping[str, str],
    parts: Parts,
    order: tuple[str, ...],
) -> list[str]:
    """The parts that a run computes, or whose inputs it computes again.

    Args:
        planned: assets that the run is to materialise.
        tags: of the run; they name its partition or its range of partitions.
        parts: of the graph.
        order: the partitions in order.
    """
    units = []
    if planned & parts.reference:
        units.append(REFERENCE)
    if planned & parts.partitioned:
        first = tags.get(RANGE_START) or tags.get(PARTITION) or order[0]
        last = tags.get(RANGE_END) or tags.get(PARTITION) or order[-1]
        units += order[order.index(first) : order.index(last) + 1]
    if units or planned & parts.outputs:
        units.append(OUTPUTS)
    if planned & parts.tracking:
        units.append(TRACKING)
    return units


def _partition_of(unit: str, key: dg.AssetKey | dg.AssetCheckKey) -> str | None:
    """Checks judge whole tables and have no partition."""
    if unit in (REFERENCE, OUTPUTS, TRACKING) or isinstance(key, dg.AssetCheckKey):
        return None
    return unit


def _planned(context: dg.InitResourceContext) -> Planned:
    events = _events(context, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    return frozenset(event.asset_key for event in events if event.asset_key)


def _done(
    context: dg.InitResourceContext,
) -> set[tuple[dg.AssetKey | dg.AssetCheckKey, str | None]]:
    """Assets with their partition, and checks, of which this run has an event."""
    made = {
        (event.asset_key, event.partition)
        for event in _events(context, DagsterEventType.ASSET_MATERIALIZATION)
        if event.asset_key
    }
    asked = {
        (event.asset_check_evaluation_data.asset_check_key, None)
        for event in _events(context, DagsterEventType.ASSET_CHECK_EVALUATION)
    }
    return {*made, *asked}


def _events(context: dg.InitResourceContext, kind: DagsterEventType) -> list[dg.DagsterEvent]:
    if context.run is None or context.instance is None:
        return []
    records = context.instance.all_logs(context.run.run_id, of_type=kind)
    return [record.dagster_event for record in records if record.dagster_event]


def fail_ended(instance: dg.DagsterInstance) -> list[str]:
    """Say of runs whose process was killed that they failed; returns their ids.

    They stay STARTED for ever otherwise, and since one run goes at a time, nothing that is started
    in the UI would ever begin. To be called under the home's lock, which every run holds while it
    works: a command holds it from before its run to after it, the UI's runs from their first step
    to their last.
    """
    ended = [
        run
        for run in instance.get_runs(
            filters=dg.RunsFilter(
                statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
            )
        )
        if PROCESS in run.tags or _is_silent(instance, run)
    ]
    for run in ended:
        instance.report_run_failed(run, message="Its process ended before it did.")
    return [run.run_id for run in ended]


def _is_silent(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a started run has written nothing for longer than it may wait for the lock."""
    if run.status != dg.DagsterRunStatus.STARTED:
        return False  # Dagster's own monitoring ends a run that does not start.
    last = max((record.timestamp for record in instance.all_logs(run.run_id)), default=0.0)
    return time.time() - last > SILENT_SECONDS
