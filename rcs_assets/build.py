"""The graph: every room's assets and checks, the jobs, the sensor, the resource.

Belongs here: putting the parts together. Does not belong here: any work; assets
live in the rooms, the plan of runs in `runs.py`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from rcs_assets.automation import drop_sensor
from rcs_assets.codebook import assets as codebook_assets
from rcs_assets.disclosure import assets as disclosure_assets
from rcs_assets.disclosure import checks as disclosure_checks
from rcs_assets.intake import assets as intake_assets
from rcs_assets.intake import checks as intake_checks
from rcs_assets.linkage import assets as linkage_assets
from rcs_assets.linkage import checks as linkage_checks
from rcs_assets.programme import assets as programme_assets
from rcs_assets.release import assets as release_assets
from rcs_assets.release import checks as release_checks
from rcs_assets.reporting import assets as reporting_assets
from rcs_assets.reporting import checks as reporting_checks
from rcs_assets.services import assets as services_assets
from rcs_assets.services import checks as services_checks
from rcs_assets.storage.home import home_path
from rcs_assets.storage.resources import HomeResource
from rcs_assets.wellbeing import assets as wellbeing_assets
from rcs_assets.wellbeing import checks as wellbeing_checks

ASSET_MODULES = (
    programme_assets,
    codebook_assets,
    intake_assets,
    linkage_assets,
    wellbeing_assets,
    services_assets,
    disclosure_assets,
    release_assets,
    reporting_assets,
)
CHECK_MODULES = (
    intake_checks,
    linkage_checks,
    wellbeing_checks,
    services_checks,
    disclosure_checks,
    release_checks,
    reporting_checks,
)
PUBLISHED = dg.AssetKey(["release", "published"])


def home_resource() -> HomeResource:
    """The installation named by the environment (RCS_HOME, RCS_AS_OF, RCS_LEFT_OUT)."""
    left_out = os.environ.get("RCS_LEFT_OUT", "")
    return HomeResource(
        path=str(home_path()),
        as_of=os.environ.get("RCS_AS_OF", ""),
        left_out=[key for key in left_out.split(",") if key],
    )


class _TerminalHandler(logging.Handler):
    """Prints each finished asset on a terminal, and warnings always."""

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is not None and event.is_step_materialization:
            if sys.stderr.isatty():
                moment = time.strftime("%H:%M:%S")
                label = event.asset_key.to_user_string()
                sys.stderr.write(f"  {moment}    {label} {event.partition or ''}\n")
        elif record.levelno >= logging.WARNING and event is None:
            sys.stderr.write(f"{record.getMessage()}\n")


def _quiet_console(_: dg.InitLoggerContext) -> logging.Logger:
    """A console logger that says little while all is well; the event log has everything."""
    logger = logging.Logger("rcs", level=logging.DEBUG)
    logger.addHandler(_TerminalHandler())
    return logger


quiet_console = dg.LoggerDefinition(
    _quiet_console, description="Finished assets on a terminal; warnings of assets always."
)


def jobs() -> list[Any]:
    """`everything` (all but publishing), `engagement` (what is partitioned), `publish`."""
    everything = dg.AssetSelection.all() - dg.AssetSelection.assets(PUBLISHED)
    return [
        dg.define_asset_job(
            "everything",
            selection=everything,
            description="All assets up to the release candidate, for the engagements chosen.",
        ),
        dg.define_asset_job(
            "engagement",
            selection=_partitioned(),
            description="Intake, linkage, pupil-level wellbeing and spend of some engagements.",
        ),
        dg.define_asset_job(
            "publish",
            selection=dg.AssetSelection.assets(PUBLISHED),
            description="Asks the gate; publishes the candidate if it passes.",
        ),
    ]


def _partitioned() -> dg.AssetSelection:
    specs = (spec for asset in _assets() for spec in asset.specs)
    return dg.AssetSelection.assets(*(spec.key for spec in specs if spec.partitions_def))


def _assets() -> list[dg.AssetsDefinition]:
    loaded = dg.load_assets_from_modules(list(ASSET_MODULES))
    return [asset for asset in loaded if isinstance(asset, dg.AssetsDefinition)]


def build_defs(overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """A fresh graph.

    Args:
        overrides: resources to use instead of the installation's own, by name (`home`);
            tests use it.
    """
    return dg.Definitions(
        assets=_assets(),
        asset_checks=list(dg.load_asset_checks_from_modules(list(CHECK_MODULES))),
        jobs=jobs(),
        sensors=[drop_sensor],
        resources={"home": home_resource(), **(overrides or {})},
        executor=dg.in_process_executor,
        loggers={"console": quiet_console},
    )
