"""Assets of the room linkage: project ids and link rates, by engagement.

Belongs here: the wiring of `exact.py` into the graph. Does not belong here: linkage
itself, and `linkage.linked`, which the dbt build makes.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from rcs_assets.linkage.exact import LinkedRows, link_engagements, link_keys, write_linkage
from rcs_assets.programme import approval_problems
from rcs_assets.storage import open_vault, open_warehouse
from rcs_assets.storage.resources import HomeResource, asset_options, engagement_partitions

_SPINE = (
    ("intake", "sample"),
    ("intake", "primary_survey"),
    ("intake", "secondary_survey"),
    ("intake", "education"),
)


def _spec(thing: str, description: str) -> dg.AssetSpec:
    options = asset_options(
        "linkage",
        thing,
        zone="warehouse",
        sensitivity="pseudonymised" if thing == "project_ids" else "aggregate",
        description=description,
        deps=_SPINE,
    )
    options.pop("pool")
    return dg.AssetSpec(**options)


@dg.multi_asset(
    name="linkage",
    specs=[
        _spec(
            "project_ids",
            "Record to programme-wide project id with the pass that linked it: the only "
            "row-level table that leaves the vault. Linked records only.",
        ),
        _spec("link_rates", "Records, linked and ambiguous records of each delivery."),
    ],
    partitions_def=engagement_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="duckdb_writer",
)
def linkage(
    context: dg.AssetExecutionContext, home: HomeResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Link the engagements of the run in the vault, then write what may leave it.

    An engagement whose approval is missing or has expired is not linked, and loses the
    links that it had (policy.md, Protection by design).
    """
    place = home.home()
    engagements = list(context.partition_keys)
    with open_vault(place, settings=home.settings()) as vault:
        rows = link_engagements(vault, link_keys(place), _approved(home, engagements))
    with open_warehouse(place, settings=home.settings()) as warehouse:
        write_linkage(warehouse, rows, engagements)
    metadata = _totals(rows)
    yield dg.MaterializeResult(asset_key=dg.AssetKey(["linkage", "project_ids"]), metadata=metadata)
    yield dg.MaterializeResult(asset_key=dg.AssetKey(["linkage", "link_rates"]), metadata=metadata)


def _approved(home: HomeResource, engagements: Sequence[str]) -> list[str]:
    programme, day = home.programme(), home.settings().as_of
    placeholders = home.home().profile == "demo"
    return [
        key
        for key in engagements
        if not approval_problems(programme, key, day, placeholders_allowed=placeholders)
    ]


def _totals(rows: LinkedRows) -> dict[str, float]:
    """Link rate of each dataset over the engagements of the run, in per cent."""
    totals = rows.link_rates.group_by("dataset").aggregate(
        [("records_n", "sum"), ("linked_n", "sum")]
    )
    return {
        f"{row['dataset']}_linked_pct": round(100 * row["linked_n_sum"] / row["records_n_sum"], 1)
        for row in totals.to_pylist()
        if row["records_n_sum"]
    }
