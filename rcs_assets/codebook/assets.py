"""The codebook as an asset.

Belongs here: wiring `codebook_tables` into the graph; dbt reads these tables as
sources, so that an adopter's overlay reaches the models. Does not belong here: the
codebook's data and types.
"""

from __future__ import annotations

import dagster as dg

from rcs_assets.codebook.tables import codebook_tables
from rcs_assets.storage.connect import open_warehouse
from rcs_assets.storage.resources import HomeResource, asset_options
from rcs_assets.storage.tables import replace_tables


@dg.asset(
    **asset_options(
        "codebook",
        "tables",
        zone="warehouse",
        sensitivity="public",
        description="What is measured: variables, labels, missing codes, scales, bands, "
        "cut-off sets and indicators, as tables that dbt compiles its columns from.",
    )
)
def tables(home: HomeResource) -> dg.MaterializeResult[None]:
    """Write the codebook's tables to the warehouse, schema `codebook`."""
    codebook = home.codebook()
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows = replace_tables(con, "codebook", codebook_tables(codebook))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(rows.values()),
            "variables": len(codebook.variables),
            "indicators": len(codebook.indicators),
            "codebook_version": codebook.version,
        }
    )
