"""Plans and issues Dagster runs for the command line.

Belongs here: deciding before launch what has changed (design.md, Execution), one
in-process run a contiguous range of engagements, then one for what is not
partitioned, then one that asks the gate. Does not belong here: any work on data,
and words for people (`cli.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources

import dagster as dg
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from sqlalchemy.exc import OperationalError

from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.intake.freshness import OUTPUTS, TRACKING, stale_parts, wanted_fingerprints
from rcs_assets.programme import load_programme
from rcs_assets.release.assets import check_records
from rcs_assets.release.gate import load_required_checks
from rcs_assets.release.seal import is_as_made
from rcs_assets.sessions import (
    PROCESS,
    PUBLISHED,
    RANGE_END,
    RANGE_START,
    Planned,
    fail_ended,
    parts_of,
)
from rcs_assets.storage import Home, write_lock
from rcs_assets.storage.fingerprints import REFERENCE
from rcs_assets.storage.records import quick_records


@dataclass(frozen=True)
class Plan:
    """What has to be computed: engagements in partition order, and the unpartitioned parts."""

    reference: bool
    engagements: tuple[str, ...]
    outputs: bool
    tracking: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing has changed."""
        return not (self.reference or self.engagements or self.outputs or self.tracking)


@dataclass(frozen=True)
class RunOutcome:
    """One Dagster run: `error` is empty if it succeeded."""

    run_id: str
    label: str
    error: str


Progress = Callable[[str], None]
# The class, as Dagster puts it before the sentence of an error of the platform's own.
_REFUSAL = re.compile(r"rcs_assets\.[\w.]+: ")


def plan_runs(home: Home, *, left_out: Sequence[str] = (), only: Sequence[str] = ()) -> Plan:
    """Compare what was delivered with what warehouse and candidate were computed from.

    Args:
        home: the installation.
        left_out: engagements that the operator leaves out of the release.
        only: engagements to look at; empty = all that have a delivery.
    """
    stale = stale_parts(home, wanted_fingerprints(home, left_out))
    order = load_programme(home.config).engagement_keys
    engagements = tuple(key for key in order if key in stale and (not only or key in only))
    # A candidate that was edited, or is gone, is not what was computed either.
    outputs = OUTPUTS in stale or not is_as_made(home)
    return Plan(REFERENCE in stale, engagements, outputs, TRACKING in stale)


def contiguous_ranges(order: Sequence[str], chosen: Sequence[str]) -> list[list[str]]:
    """Split chosen partitions into runs of neighbours: Dagster knows only ranges in one run."""
    ranges: list[list[str]] = []
    before = -2
    for position, key in enumerate(order):
        if key not in chosen:
            continue
        if position == before + 1:
            ranges[-1].append(key)
        else:
            ranges.append([key])
        before = position
    return ranges


@contextmanager
def dagster_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The home's Dagster instance; its settings file is laid down on first use.

    Raises:
        StorageError: its records cannot be read or written: a full disk, wrong rights, damage.
    """
    prepare_instance(home)
    try:
        with (
            quick_records((sqlite_event_log, sqlite_run_storage)),
            dg.DagsterInstance.from_config(str(home.dagster)) as instance,
        ):
            yield instance
    except OperationalError as error:
        raise StorageError(
            "Dagster's records cannot be read or written",
            where=str(home.dagster),
            why=f"{error.orig}; the release that is read is whole",
            fix="make room on the disk, look at the rights of the folder, run the command again",
        ) from error


def prepare_instance(home: Home) -> None:
    """Lay down dagster.yaml (telemetry off, writer pool, run monitoring) and name DAGSTER_HOME."""
    target = home.dagster / "dagster.yaml"
    template = (resources.files("rcs_assets.storage") / "data" / "dagster.yaml").read_text()
    if not target.exists() or target.read_text() != template:
        target.write_text(template)
    os.environ["DAGSTER_HOME"] = str(home.dagster)


class Launcher:
    """Issues the runs of one command, in this process, under the home's lock."""

    def __init__(
        self, home: Home, defs: dg.Definitions, instance: dg.DagsterInstance, progress: Progress
    ) -> None:
        self._home = home
        self._defs = defs
        self._instance = instance
        self._progress = progress
        parts = parts_of(defs.resolve_asset_graph())
        self._reference = _assets(parts.reference)
        self._partitioned = _assets(parts.partitioned)
        self._outputs = _assets(parts.outputs)
        self._tracking = _assets(parts.tracking)

    def materialise(self, plan: Plan) -> list[RunOutcome]:
        """Carry out a plan; stops after the first run that fails."""
        outcomes: list[RunOutcome] = []
        order = load_programme(self._home.config).engagement_keys
        steps: list[tuple[str, AbstractSet[dg.AssetKey], dict[str, str]]] = []
        if plan.reference:
            steps.append(("reference data", self._reference, {}))
        for keys in contiguous_ranges(order, plan.engagements):
            tags = {RANGE_START: keys[0], RANGE_END: keys[-1]}
            steps.append((", ".join(keys), self._partitioned, tags))
        tracking = self._tracking if plan.tracking else set()
        if plan.outputs or plan.engagements or plan.reference:
            # One run less: each costs seconds, and tracking fits into any.
            steps.append(("estimates to candidate", self._outputs | tracking, {}))
        elif tracking:
            steps.append(("programme tracking", tracking, {}))
        with write_lock(self._home, "rcs materialise"):
            fail_ended(self._instance)
            for label, selection, tags in steps:
                outcome = self.run(label, "everything", selection, tags)
                outcomes.append(outcome)
                if outcome.error:
                    break
        return outcomes

    def select(self, selection: str, engagements: Sequence[str]) -> list[RunOutcome]:
        """Materialise a selection in Dagster's own syntax for the engagements named.

        As in `materialise` what is not partitioned and precedes comes first (reference data, the
        match model), and a run that fails ends it.
        """
        keys = self._selected(selection)
        order = load_programme(self._home.config).engagement_keys
        outcomes: list[RunOutcome] = []
        with write_lock(self._home, "rcs materialise --select"):
            fail_ended(self._instance)
            steps: list[tuple[str, AbstractSet[dg.AssetKey], dict[str, str]]] = [
                ("what comes first", keys & self._reference, {})
            ]
            for part in contiguous_ranges(order, engagements):
                tags = {RANGE_START: part[0], RANGE_END: part[-1]}
                steps.append((", ".join(part), keys & self._partitioned, tags))
            rest = keys - self._reference - self._partitioned - {PUBLISHED}
            steps.append(("what is not partitioned", rest, {}))
            for label, selected, tags in steps:
                if selected and not any(outcome.error for outcome in outcomes):
                    outcomes.append(self.run(label, "everything", selected, tags))
        return outcomes

    def _selected(self, selection: str) -> AbstractSet[dg.AssetKey]:
        """Assets of a selection, with those that the same step makes, as the UI takes them.

        Raises:
            ConfigurationError: it cannot be read, or names what is not there.
        """
        try:
            chosen = dg.AssetSelection.from_string(selection).required_multi_asset_neighbors()
            return chosen.resolve(self._defs.resolve_asset_graph())
        except dg.DagsterError as error:
            raise ConfigurationError(
                "The selection names no assets that there are, or cannot be read",
                where=f"--select {selection}",
                why=type(error).__name__,
                fix="name assets as docs/reference/assets.md does, in Dagster's syntax",
            ) from None

    def with_unrecorded(self, plan: Plan, engagements: Sequence[str]) -> Plan:
        """The plan, and the parts whose checks have no record that the gate would take.

        The warehouse can be as it should while Dagster's records are not: materialisations were
        wiped in the UI, or a check was run alone there and cut off. The gate refuses both, and
        only what is computed has its checks asked again.

        Args:
            plan: what has changed.
            engagements: those that are computed for records of partitioned assets.
        """
        lost = {
            dg.AssetKey(record.asset_key.split("/"))
            for record in check_records(self._instance, load_required_checks())
            if record.evaluated_id is None or record.evaluated_id != record.latest_id
        }
        return Plan(
            plan.reference or bool(lost & self._reference),
            plan.engagements or (tuple(engagements) if lost & self._partitioned else ()),
            plan.outputs or bool(lost & self._outputs),
            plan.tracking,
        )

    def publish(self) -> RunOutcome:
        """Ask the gate; publish if it passes."""
        with write_lock(self._home, "rcs release publish"):
            fail_ended(self._instance)
            return self.run("publish", "publish", {PUBLISHED}, {})

    def run(
        self, label: str, job: str, selection: AbstractSet[dg.AssetKey], tags: dict[str, str]
    ) -> RunOutcome:
        """One in-process Dagster run of some assets and their checks."""
        self._progress(f"run: {label}")
        result = self._defs.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            asset_selection=sorted(selection),
            tags={**tags, PROCESS: str(os.getpid())},
            run_config={"loggers": {"console": {"config": {}}}},
            raise_on_error=False,
        )
        return RunOutcome(result.run_id, label, "" if result.success else first_error(result))


def _assets(planned: Planned) -> frozenset[dg.AssetKey]:
    return frozenset(key for key in planned if isinstance(key, dg.AssetKey))


def first_error(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed: a refusal alone, or the step and class of any other failure."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause if error and error.cause else error
            said = (cause.message if cause else "").strip()
            refusal = _REFUSAL.match(said)
            return said[refusal.end() :] if refusal else f"{event.step_key}: {said}"
    return "the run failed before its first step; see the Dagster UI (make ui)"


def latest_checks(instance: dg.DagsterInstance, defs: dg.Definitions) -> dict[str, str]:
    """The latest state of every check in the graph, `asset: check` → status."""
    keys = sorted(defs.resolve_asset_graph().asset_check_keys, key=str)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return {
        f"{key.asset_key.to_user_string()}: {key.name}": (
            records[key].status.value if key in records else "NEVER RUN"
        )
        for key in keys
    }
