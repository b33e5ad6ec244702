"""The programme register as an asset.

Belongs here: wiring `programme_tables` into the graph. Does not belong here: the
register itself (`data/`) and its types (`model.py`).
"""

from __future__ import annotations

import dagster as dg

from rcs_assets.programme.tables import programme_tables
from rcs_assets.storage.connect import open_warehouse
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
