"""The programme register and its tracking as assets.

Belongs here: wiring `programme_tables` and `progress` into the graph. Does not belong here: the
registers themselves (`data/`) and their types (`model.py`, `tracking.py`).
"""

from __future__ import annotations

import dagster as dg

from rcs_assets.programme.breaches import View
from rcs_assets.programme.progress import milestone_table, progress
from rcs_assets.programme.status_page import status_page
from rcs_assets.programme.tables import programme_tables
from rcs_assets.programme.tracking import load_tracking
from rcs_assets.storage.connect import open_warehouse
from rcs_assets.storage.files import write_atomically
from rcs_assets.storage.resources import HomeResource, asset_options
from rcs_assets.storage.tables import replace_tables


@dg.asset(
    **asset_options(
        "programme",
        "register",
        zone="warehouse",
        sensitivity="public",
        description="Who takes part: tranches, CPPs, engagements and survey waves, from the "
        "reviewed data files of the programme room and the home's overlay.",
    )
)
def register(home: HomeResource) -> dg.MaterializeResult[None]:
    """Write the register's tables to the warehouse, schema `programme`."""
    programme = home.programme()
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows = replace_tables(con, "programme", programme_tables(programme))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(rows.values()),
            "engagements": len(programme.engagements),
            "programme_version": programme.version,
        }
    )


@dg.asset(
    **asset_options(
        "programme",
        "tracking",
        zone="warehouse",
        sensitivity="public",
        description="How far each CPP has come on the day of the run: milestones with the day due "
        "and done. Writes the internal status page, status/programme.html in the home. No figure "
        "depends on it, and its checks warn.",
    )
)
def tracking(home: HomeResource) -> dg.MaterializeResult[None]:
    """Write programme.tracking and the status page."""
    place = home.home()
    register = load_tracking(place.config)
    view = View(home.programme(), register, home.settings().as_of, place.profile == "demo")
    now = progress(view)
    with open_warehouse(place, settings=home.settings()) as con:
        rows = replace_tables(con, "programme", {"tracking": milestone_table(now.standings)})
    page = place.path / "status" / "programme.html"
    page.parent.mkdir(exist_ok=True, mode=0o700)
    write_atomically(page, status_page(now, is_simulated=place.profile == "demo"))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows["tracking"],
            "day": now.on.isoformat(),
            "breaches": len(now.breaches),
            "tracking_version": register.version,
        }
    )
