"""Asset of the room services: need × reach. Spend comes out of the dbt build.

Belongs here: wiring `write_reach` into the graph. Does not belong here: the rates
(`reach.py`) and the SQL of spend (dbt_project/models/services).
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

import dagster as dg

from rcs_assets.intake.drop import engagements_in_scope
from rcs_assets.services.reach import write_reach
from rcs_assets.services.rules import load_reach_rules
from rcs_assets.storage import open_warehouse
from rcs_assets.storage.resources import HomeResource, asset_options


@dg.asset(
    **asset_options(
        "services",
        "reach",
        zone="warehouse",
        sensitivity="aggregate",
        description="Of pupils in need, how many have support on a linked record: observed, "
        "corrected for missed links and with bounds, by CPP, stage and sex; unrounded "
        "(policy.md, Table B, reach).",
        deps=(
            ("wellbeing", "indicator_values"),
            ("wellbeing", "scores"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("linkage", "link_rates"),
            ("linkage", "link_rates_by_group"),
            ("programme", "register"),
        ),
    )
)
def reach(home: HomeResource) -> dg.MaterializeResult[None]:
    """Make services.reach for the engagements that delivered and are not left out."""
    rules = load_reach_rules(home.home().config)
    delivered = engagements_in_scope(home.home(), home.programme())
    kept = [key for key in delivered if key not in home.left_out]
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_reach(con, kept, rules)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows_n, "engagements": ", ".join(kept)}
    )
