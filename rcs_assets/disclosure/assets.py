"""The protected estimates as an asset.

Belongs here: wiring `protect_estimates` into the graph. Does not belong here: rules and
policy.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

import dagster as dg
import duckdb
import pyarrow as pa

from rcs_assets.disclosure.geographies import geography_table
from rcs_assets.disclosure.policy import Policy, audience_names, load_policy
from rcs_assets.disclosure.rules import protect_estimates
from rcs_assets.storage import open_warehouse
from rcs_assets.storage.resources import HomeResource, asset_options
from rcs_assets.storage.tables import replace_tables


@dg.asset(
    **asset_options(
        "disclosure",
        "estimates",
        zone="warehouse",
        sensitivity="protected",
        description="Estimates as each audience may see them: thresholds, rounding, intervals "
        "from rounded values and statuses by Table A of the policy; a breakdown with one hidden "
        "group is hidden whole, in every table that holds it.",
        deps=[("wellbeing", "estimates"), ("codebook", "tables"), ("programme", "register")],
    )
)
def estimates(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect wellbeing.estimates for the public and for each CPP."""
    policy = load_policy(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        protected = _protect(con, home, policy)
        replace_tables(con, "disclosure", {"estimates": protected})
        counts = dict(
            con.execute(
                "select status, count(*) from disclosure.estimates "
                "where audience = 'public' group by status order by status"
            ).fetchall()
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": protected.num_rows,
            "policy_version": policy.version,
            **{f"public_cells_{status}": count for status, count in counts.items()},
        }
    )


def _protect(con: duckdb.DuckDBPyConnection, home: HomeResource, policy: Policy) -> pa.Table:
    indicators = home.codebook().indicators.values()
    engagements = [
        row[0]
        for row in con.execute(
            "select distinct engagement from wellbeing.estimates "
            "where engagement is not null order by engagement"
        ).fetchall()
    ]
    con.register(
        "sdc_indicators",
        pa.table(
            {
                "indicator": [i.name for i in indicators],
                "is_sensitive": [i.is_sensitive for i in indicators],
            }
        ),
    )
    con.register("sdc_geographies", geography_table(home.programme(), engagements))
    protected = protect_estimates(
        con,
        "wellbeing.estimates",
        "sdc_indicators",
        policy,
        audience_names(engagements),
        geographies="sdc_geographies",
    )
    con.unregister("sdc_indicators")
    con.unregister("sdc_geographies")
    return protected
