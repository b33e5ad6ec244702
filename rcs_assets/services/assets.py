"""Assets of the room services: need × reach, and what linkage does to results.

Belongs here: wiring `reach.py`, `link_effects.py` and `link_items.py` into the graph. Does not
belong here: the rates themselves, and the SQL of spend, which comes out of the dbt build
(dbt_project/models/services).
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections.abc import Iterator
from typing import Any

import dagster as dg

from rcs_assets.intake.drop import engagements_in_scope
from rcs_assets.linkage.settings import load_link_rules
from rcs_assets.services.complex_asn import load_complex_asn, write_complex_asn
from rcs_assets.services.link_effects import write_link_effects
from rcs_assets.services.link_items import load_link_items, write_link_items
from rcs_assets.services.reach import write_reach
from rcs_assets.services.rules import load_reach_rules
from rcs_assets.storage import open_warehouse
from rcs_assets.storage.resources import WRITER_POOL, HomeResource, asset_options
from rcs_assets.wellbeing.estimators import load_estimators


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
            ("linkage", "link_sensitivity"),
            ("programme", "register"),
        ),
    )
)
def reach(home: HomeResource) -> dg.MaterializeResult[None]:
    """Make services.reach for the engagements that delivered and are not left out."""
    rules = load_reach_rules(home.home().config)
    kept = _kept(home)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_reach(con, kept, rules)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows_n, "engagements": ", ".join(kept)}
    )


def _kept(home: HomeResource) -> list[str]:
    delivered = engagements_in_scope(home.home(), home.programme())
    return [key for key in delivered if key not in home.left_out]


def _spec(thing: str, description: str) -> dg.AssetSpec:
    options = asset_options(
        "services",
        thing,
        zone="warehouse",
        sensitivity="aggregate",
        description=description,
        deps=(
            ("wellbeing", "indicator_values"),
            ("wellbeing", "scores"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("linkage", "project_ids"),
            ("linkage", "link_rates"),
            ("linkage", "link_rates_by_group"),
            ("linkage", "link_sensitivity"),
            ("linkage", "link_weights"),
            ("linkage", "link_flow"),
            ("linkage", "model"),
            ("intake", "receipts"),
            ("intake", "sample"),
            ("programme", "register"),
        ),
    )
    options.pop("pool")
    return dg.AssetSpec(**options)


@dg.asset(
    **asset_options(
        "services",
        "complex_asn",
        zone="warehouse",
        sensitivity="aggregate",
        description="Profile of pupils with complex additional support needs by the "
        "installation's own definition (config/complex_asn.yaml): who they are, what they "
        "answered, support on record, beside other pupils. Empty until it is defined. Safe haven "
        "only.",
        deps=(
            ("wellbeing", "indicator_values"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("linkage", "project_ids"),
            ("intake", "education"),
            ("intake", "sample"),
            ("codebook", "tables"),
            ("programme", "register"),
        ),
    )
)
def complex_asn(home: HomeResource) -> dg.MaterializeResult[None]:
    """Make the profile for the engagements that delivered and are not left out."""
    rules = load_complex_asn(home.codebook(), home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_complex_asn(con, _kept(home), rules, home.codebook())
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows_n, "is_defined": rules.is_on, "source": rules.source}
    )


@dg.multi_asset(
    name="link_effects",
    specs=[
        _spec(
            "link_effects",
            "Headline results at other thresholds of linkage, with inverse-linkage weights, and "
            "of everyone who answered, beside those of the links as they are. Safe haven only.",
        ),
        _spec(
            "link_items",
            "The items of RECORD and GUILD, filled from the run. Safe haven only.",
        ),
    ],
    pool=WRITER_POOL,
)
def link_effects(home: HomeResource) -> Iterator[dg.MaterializeResult[Any]]:
    """Make both tables for the engagements that delivered and are not left out."""
    config = home.home().config
    with open_warehouse(home.home(), settings=home.settings()) as con:
        effects_n = write_link_effects(
            con, _kept(home), load_reach_rules(config), load_estimators(config).headlines
        )
        items_n = write_link_items(con, load_link_rules(config), load_link_items(config))
    for thing, n in (("link_effects", effects_n), ("link_items", items_n)):
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey(["services", thing]), metadata={"dagster/row_count": n}
        )
