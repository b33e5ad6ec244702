"""The graph: every room's assets and checks, the jobs, the sensors, the resource.

Belongs here: putting the parts together. Does not belong here: any work; assets
live in the rooms, the plan of runs in `runs.py`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from rcs_assets.automation import drop_sensor, killed_runs_sensor
from rcs_assets.codebook import assets as codebook_assets
from rcs_assets.disclosure import assets as disclosure_assets
from rcs_assets.disclosure import checks as disclosure_checks
from rcs_assets.intake import assets as intake_assets
from rcs_assets.intake import checks as intake_checks
from rcs_assets.linkage import assets as linkage_assets
from rcs_assets.linkage import checks as linkage_checks
from rcs_assets.programme import assets as programme_assets
from rcs_assets.programme import checks as programme_checks
from rcs_assets.release import assets as release_assets
from rcs_assets.release import checks as release_checks
from rcs_assets.reporting import assets as reporting_assets
from rcs_assets.reporting import checks as reporting_checks
from rcs_assets.research import assets as research_assets
from rcs_assets.research import checks as research_checks
from rcs_assets.services import assets as services_assets
from rcs_assets.services import checks as services_checks
from rcs_assets.sessions import PUBLISHED, Parts, RunHome, parts_of
from rcs_assets.storage.home import home_path
from rcs_assets.wellbeing import assets as wellbeing_assets
from rcs_assets.wellbeing import checks as wellbeing_checks

ASSET_MODULES = (
    programme_assets,
    codebook_assets,
    intake_assets,
    linkage_assets,
    wellbeing_assets,
    services_assets,
    research_assets,
    disclosure_assets,
    release_assets,
    reporting_assets,
)
CHECK_MODULES = (
    programme_checks,
    intake_checks,
    linkage_checks,
    wellbeing_checks,
    services_checks,
    research_checks,
    disclosure_checks,
    release_checks,
    reporting_checks,
)


class Installation(RunHome):
    """The home of runs of this graph."""

    def parts(self) -> Parts:
        """The parts of this graph."""
        return graph_parts()


def home_resource() -> Installation:
    """The installation named by the environment (RCS_HOME, RCS_AS_OF, RCS_LEFT_OUT)."""
    left_out = os.environ.get("RCS_LEFT_OUT", "")
    return Installation(
        path=str(home_path()),
        as_of=os.environ.get("RCS_AS_OF", ""),
        left_out=[key for key in left_out.split(",") if key],
    )


class _TerminalHandler(logging.Handler):
    """Prints each finished asset on a terminal, and warnings always.

    Not what the command says itself at its end: what became of each delivery, and which step
    failed, without those that wait for it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        said = getattr(record, "dagster_meta", {})
        event = said.get("dagster_event")
        if event is not None and event.is_step_materialization:
            if sys.stderr.isatty():
                moment = time.strftime("%H:%M:%S")
                label = event.asset_key.to_user_string()
                sys.stderr.write(f"  {moment}    {label} {event.partition or ''}\n")
        elif record.levelno >= logging.WARNING and event is None:
            text = str(said.get("orig_message") or record.getMessage())
            is_of_intake = str(said.get("step_key") or "").startswith("intake__")
            if not is_of_intake and not text.startswith("Dependencies for step"):
                sys.stderr.write(f"{text}\n")


def _quiet_console(_: dg.InitLoggerContext) -> logging.Logger:
    """A console logger that says little while all is well; the event log has everything."""
    logger = logging.Logger("rcs", level=logging.DEBUG)
    logger.addHandler(_TerminalHandler())
    return logger


quiet_console = dg.LoggerDefinition(
    _quiet_console, description="Finished assets on a terminal; warnings of assets always."
)


def jobs() -> list[Any]:
    """What people and the sensor start: everything, reference, engagement, outputs, publish."""
    everything = dg.AssetSelection.all() - dg.AssetSelection.assets(PUBLISHED)
    return [
        dg.define_asset_job(
            "everything",
            selection=everything,
            description="All assets up to the release candidate, for the engagements chosen.",
        ),
        dg.define_asset_job(
            "reference",
            selection=_of_part("reference"),
            description="Registers, codebook and public reference data, which engagements read.",
        ),
        dg.define_asset_job(
            "engagement",
            selection=_of_part("partitioned"),
            description="Intake, linkage, pupil-level wellbeing and spend of some engagements.",
        ),
        dg.define_asset_job(
            "outputs",
            selection=_of_part("outputs"),
            description="What sees all engagements: estimates, protection, candidate and pages.",
        ),
        dg.define_asset_job(
            "publish",
            selection=dg.AssetSelection.assets(PUBLISHED),
            description="Asks the gate; publishes the candidate if it passes.",
        ),
    ]


def _of_part(name: str) -> dg.AssetSelection:
    keys = [key for key in getattr(graph_parts(), name) if isinstance(key, dg.AssetKey)]
    return dg.AssetSelection.assets(*sorted(keys))


@cache
def graph_parts() -> Parts:
    """Which assets and checks are computed together; known once a process."""
    bare = dg.Definitions(
        assets=_assets(), asset_checks=_checks(), resources={"home": home_resource()}
    )
    return parts_of(bare.resolve_asset_graph())


def _assets() -> list[dg.AssetsDefinition]:
    loaded = dg.load_assets_from_modules(list(ASSET_MODULES))
    return [asset for asset in loaded if isinstance(asset, dg.AssetsDefinition)]


def _checks() -> list[dg.AssetChecksDefinition]:
    return list(dg.load_asset_checks_from_modules(list(CHECK_MODULES)))


def build_defs(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """A fresh graph.

    Args:
        overrides: resources to use instead of the installation's own, by name (`home`);
            tests use it.
    """
    made = jobs()
    started_by_drop = [job for job in made if job.name in ("reference", "engagement")]
    return dg.Definitions(
        assets=_assets(),
        asset_checks=_checks(),
        jobs=made,
        sensors=[drop_sensor(started_by_drop), killed_runs_sensor()],
        resources={"home": home_resource(), **(overrides or {})},
        executor=dg.in_process_executor,
        loggers={"console": quiet_console},
    )
