"""The protected tables as assets.

Belongs here: wiring `protect_estimates`, `protect_spend` and `protect_reach` into the graph.
Does not belong here: rules and policy.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from rcs_assets.disclosure.geographies import geography_table
from rcs_assets.disclosure.policy import Policy, audience_names, load_policy
from rcs_assets.disclosure.reach import protect_reach
from rcs_assets.disclosure.rules import protect_estimates
from rcs_assets.disclosure.spend import protect_spend
from rcs_assets.services import load_reach_rules
from rcs_assets.storage import open_warehouse, sql_literal
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
    engagements = _released_engagements(con)
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


@dg.asset(
    **asset_options(
        "disclosure",
        "spend",
        zone="warehouse",
        sensitivity="protected",
        description="Spend on children as everybody may see it: sums that tell a confidential "
        "holding are hidden, with as many others as keep them from being worked out; £1,000.",
        deps=[("services", "spend"), ("wellbeing", "estimates")],
    )
)
def spend(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect services.spend for the public and for each CPP."""
    policy = load_policy(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        engagements = _released_engagements(con)
        protected = protect_spend(
            con,
            policy,
            audience_names(engagements),
            spend=f"(from services.spend where engagement in {_listed(engagements)})",
        )
        replace_tables(con, "disclosure", {"spend": protected})
    return _counted(protected, policy)


@dg.asset(
    **asset_options(
        "disclosure",
        "reach",
        zone="warehouse",
        sensitivity="protected",
        description="Need × reach as each audience may see it: rows of a need are shown alike or "
        "not at all, hidden where the indicator that counts the same pupils is.",
        deps=[("services", "reach"), ("disclosure", "estimates")],
    )
)
def reach(home: HomeResource) -> dg.MaterializeResult[None]:
    """Protect services.reach for the public and for each CPP."""
    policy = load_policy(home.home().config)
    rules = load_reach_rules(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        engagements = con.execute(
            "select distinct engagement from services.reach order by engagement"
        ).fetchall()
        protected = protect_reach(
            con,
            policy,
            audience_names([row[0] for row in engagements]),
            {need.name: need.indicators for need in rules.needs},
        )
        replace_tables(con, "disclosure", {"reach": protected})
    return _counted(protected, policy)


def _released_engagements(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The engagements that are not left out: those that have estimates."""
    rows = con.execute(
        "select distinct engagement from wellbeing.estimates "
        "where engagement is not null order by engagement"
    ).fetchall()
    return [row[0] for row in rows]


def _listed(engagements: list[str]) -> str:
    return f"({', '.join(map(sql_literal, engagements)) or 'null'})"


def _counted(protected: pa.Table, policy: Policy) -> dg.MaterializeResult[None]:
    """Rows in all, and the public ones by status."""
    statuses = protected.filter(pc.equal(protected["audience"], "public"))["status"]
    counts = {row["values"]: row["counts"] for row in statuses.value_counts().to_pylist()}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": protected.num_rows,
            "policy_version": policy.version,
            **{f"public_cells_{status}": counts[status] for status in sorted(counts)},
        }
    )
