"""Assets of the room linkage: model, project ids, quality, the intruder's view, flow, response.

Belongs here: the wiring of `model.py`, `engagements.py`, `by_group.py`, `link_weights.py`,
`flow.py`, `attacker_view.py` and `fieldwork.py` into the graph. Does not belong here: linkage
itself, and `linkage.linked`, which the dbt build makes.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from rcs_assets.intake.exchange import INDEXER_FILES
from rcs_assets.intake.receipts import ReceiptStatus, read_receipts
from rcs_assets.linkage.attacker_view import write_attacker_view
from rcs_assets.linkage.by_group import write_link_rates_by_group, write_link_sensitivity
from rcs_assets.linkage.clerical import clerical_input, drop_queues, refuse_other_log
from rcs_assets.linkage.engagements import (
    LinkedRows,
    accepted_records,
    drop_links,
    link_engagements,
    link_keys,
    write_linkage,
)
from rcs_assets.linkage.fieldwork import Fieldwork, read_fieldwork, write_fieldwork
from rcs_assets.linkage.flow import write_flow
from rcs_assets.linkage.link_weights import write_link_weights
from rcs_assets.linkage.model import platform_model, read_model, write_model
from rcs_assets.linkage.settings import LinkSettings, load_link_rules, load_quality_rules
from rcs_assets.programme import approval_problems
from rcs_assets.storage import Home, open_vault, open_warehouse, public_count, rounded_count
from rcs_assets.storage.decision_log import forget, read_decisions
from rcs_assets.storage.resources import HomeResource, asset_options, engagement_partitions
from rcs_assets.storage.tables import rows_by_engagement

_SPINE = (
    ("intake", "sample"),
    ("intake", "primary_survey"),
    ("intake", "secondary_survey"),
    ("intake", "education"),
    ("intake", "social_work"),
    ("intake", "read_through"),
    ("linkage", "model"),
)
# The quintile of a record's data zone comes from the reference data.
_GROUPS = (*_SPINE, ("intake", "simd"))
_FIELDWORK = (
    ("linkage", "project_ids"),
    ("intake", "sample"),
    ("intake", "primary_survey"),
    ("intake", "secondary_survey"),
    ("intake", "parent_survey"),
    ("intake", "receipts"),
    # Names of schools in the record that the monitor shows.
    ("intake", "school_roll"),
)
# Assets with a row a record.
_ROWS = ("project_ids", "link_weights", "attacker_view")


def _spec(thing: str, description: str, deps: Sequence[tuple[str, str]] = _SPINE) -> dg.AssetSpec:
    options = asset_options(
        "linkage",
        thing,
        zone="warehouse",
        sensitivity="pseudonymised" if thing in _ROWS else "aggregate",
        description=description,
        deps=deps,
    )
    options.pop("pool")
    return dg.AssetSpec(**options)


@dg.asset(
    **asset_options(
        "linkage",
        "model",
        zone="warehouse",
        sensitivity="aggregate",
        description="The match model that every prediction is made from: fields, levels, m and "
        "u probabilities, use of term frequencies, versions, under a hash. The adopter's fitted "
        "one (config/match_model.json), or the shipped one. No value of a record.",
    )
)
def model(home: HomeResource) -> dg.MaterializeResult[None]:
    """Write the model down; linkage refuses one that was changed or is older than its rules."""
    stored = platform_model(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        write_model(con, stored)
    return dg.MaterializeResult(
        metadata={"model_id": stored.model_id, "origin": stored.origin, **stored.libraries}
    )


@dg.multi_asset(
    name="linkage",
    specs=[
        _spec(
            "project_ids",
            "Record to programme-wide project id with the pass that linked it: the only "
            "row-level table that leaves the vault. Linked records only.",
        ),
        _spec(
            "link_rates",
            "Records of each delivery: linked by a number or by the model, ambiguous, waiting "
            "for a clerk; estimated precision and recall with intervals.",
        ),
        _spec(
            "link_rates_by_group",
            "Link rates, both error rates, and who is linked against who is not, by sex, stage, "
            "deprivation, school, looked-after status, ASN, ethnicity and so on, for groups of "
            "ten or more records. Safe haven only.",
            _GROUPS,
        ),
        _spec(
            "link_sensitivity",
            "Of pupils who have a council's record, the share whose record was found, by group "
            "of pupils. Need × reach is corrected by it. Safe haven only.",
            _GROUPS,
        ),
        _spec(
            "link_weights",
            "Inverse-linkage weight of each linked council's record: it stands for those of its "
            "kind whose link was missed.",
            _GROUPS,
        ),
        _spec(
            "attacker_view",
            "What the council knows of each pupil: its own payload, stage, sex, school and SIMD "
            "under a salted id, without a name, date or postcode. For the test of "
            "re-identification; never released.",
            _GROUPS,
        ),
    ],
    partitions_def=engagement_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="duckdb_writer",
)
def linkage(
    context: dg.AssetExecutionContext, home: HomeResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Link the engagements of the run in the vault, then write what may leave it.

    An engagement whose approval is missing or has expired, or whose indexer's files were
    refused, is not linked, and loses the links that it had (policy.md, Protection by design).
    """
    place = home.home()
    engagements = list(context.partition_keys)
    limits = home.settings()
    with open_warehouse(place, settings=limits) as warehouse:
        accepted = accepted_records(warehouse)
        stored = read_model(warehouse, place.config)
    settings = LinkSettings(
        model=stored.model,  # so that an engagement's links depend on its own files alone
        threads=limits.threads,
        memory_limit=limits.memory_limit,
        overlay=place.config,
    )
    with open_vault(place, settings=limits, purpose="linkage") as vault:
        refuse_other_log(vault, read_decisions(place))
        approved = _approved(home, engagements)
        not_linked = set(engagements) - set(approved)
        drop_queues(vault, not_linked)
        drop_links(vault, not_linked)
        rows = link_engagements(
            vault,
            link_keys(place),
            approved,
            settings,
            accepted,
            clerical_input(place),
        )
    _follow_up(context, place, rows)
    rules, quality = load_link_rules(place.config), load_quality_rules(place.config)
    with open_warehouse(place, settings=limits) as warehouse:
        write_linkage(warehouse, rows, engagements)
        write_link_rates_by_group(warehouse, rows, engagements, rules)
        write_link_sensitivity(warehouse, rows, engagements, rules)
        write_link_weights(warehouse, rows, engagements, rules, quality)
        write_attacker_view(warehouse, place.key("attacker_view"), engagements)
        counted = {
            thing: rows_by_engagement(warehouse, f"linkage.{thing}", engagements)
            for thing in (
                "link_rates_by_group",
                "link_sensitivity",
                "link_weights",
                "attacker_view",
            )
        }
    for key in engagements:
        n = {thing: by_engagement[key] for thing, by_engagement in counted.items()}
        _tell(context, "project_ids", key, _rates(rows, key))
        _tell(context, "link_rates", key, _rates(rows, key))
        for thing in ("link_rates_by_group", "link_sensitivity"):
            _tell(context, thing, key, {"dagster/row_count": n[thing]})
        _tell(context, "link_weights", key, {"records": public_count(n["link_weights"])})
        _tell(context, "attacker_view", key, {"pupils": public_count(n["attacker_view"])})
    for thing in ("project_ids", "link_rates", *counted):
        yield _made(thing)


@dg.asset(
    **asset_options(
        "linkage",
        "link_flow",
        zone="warehouse",
        sensitivity="aggregate",
        description="Counts of a flow diagram, from the rows received to the children whose "
        "answers have linked records. Safe haven only.",
        deps=(
            ("intake", "receipts"),
            ("intake", "sample"),
            ("linkage", "project_ids"),
            ("linkage", "link_rates"),
            ("linkage", "linked"),
        ),
    )
)
def link_flow(home: HomeResource) -> dg.MaterializeResult[None]:
    """Count the steps of every engagement."""
    rules = load_link_rules(home.home().config)
    with open_warehouse(home.home(), settings=home.settings()) as con:
        rows_n = write_flow(con, rules)
    return dg.MaterializeResult(metadata={"dagster/row_count": rows_n})


@dg.multi_asset(
    name="fieldwork",
    specs=[
        _spec(
            "flow",
            "How many were invited, received, removed by which reason, usable, linked: by "
            "engagement and survey, the sample file's own flow beside it.",
            _FIELDWORK,
        ),
        _spec(
            "response",
            "Invited, opted out, refused, agreed and completed by school, stage and sex. "
            "Internal: for the monitor while fieldwork runs, never released.",
            _FIELDWORK,
        ),
    ],
    partitions_def=engagement_partitions(),
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="duckdb_writer",
)
def fieldwork(
    context: dg.AssetExecutionContext, home: HomeResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Count the flow and the response of the engagements of the run."""
    keys = list(context.partition_keys)
    with open_warehouse(home.home(), settings=home.settings()) as warehouse:
        write_fieldwork(warehouse, home.home(), home.programme(), keys)
    for one in read_fieldwork(home.home()):
        if one.engagement not in keys:
            continue
        steps: Counter[str] = Counter()
        for row in one.flow:
            if row["survey"] in ("primary", "secondary"):
                steps[row["step"]] += row["n"]
        totals = {step: rounded_count(n) for step, n in steps.items()}
        flow = {**totals, "flow": dg.MetadataValue.md(_flow_table(one))}
        _tell(context, "flow", one.engagement, flow)
        if steps["invited"]:
            rate = round(100 * steps["usable"] / steps["invited"], 1)
            _tell(context, "response", one.engagement, {"usable_of_invited_pct": rate})
    for thing in ("flow", "response"):
        yield _made(thing)


def _flow_table(one: Fieldwork) -> str:
    """The flow as the UI shows it, to the nearest 10: one step less the next is a small count."""
    rows = [
        f"| {row['survey']} | {row['step']} | {row['reason'] or ''} | {rounded_count(row['n'])} |"
        for row in one.flow
    ]
    return "\n".join(["| survey | step | reason | n |", "| --- | --- | --- | --- |", *rows])


def _follow_up(context: dg.AssetExecutionContext, home: Home, rows: LinkedRows) -> None:
    """Forget decisions on children who are no longer there; say which decisions hold no longer."""
    for engagement in sorted({key for key, _ in rows.forgotten}):
        forget(home, engagement, {case for key, case in rows.forgotten if key == engagement})
    for engagement, why, decisions_n in rows.not_applied:
        context.log.warning(
            f"{engagement}: {public_count(decisions_n)} decisions of clerks were not applied "
            f"({why}); see: rcs clerical status"
        )


def _tell(
    context: dg.AssetExecutionContext, thing: str, engagement: str, figures: Mapping[str, Any]
) -> None:
    """What the UI shows of an asset as this engagement's; one run may compute several."""
    key = dg.AssetKey(["linkage", thing])
    context.add_asset_metadata(figures, asset_key=key, partition_key=engagement)


def _made(thing: str) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(asset_key=dg.AssetKey(["linkage", thing]))


def _approved(home: HomeResource, engagements: Sequence[str]) -> list[str]:
    programme, day = home.programme(), home.home().permission_day(home.settings().as_of)
    placeholders = home.home().profile == "demo"
    # Whose indexer's files were refused is not linked by us without a word.
    refused = {
        receipt.engagement
        for receipt in read_receipts(home.home())
        if receipt.dataset in INDEXER_FILES and receipt.status != ReceiptStatus.ACCEPTED
    }
    return [
        key
        for key in engagements
        if key not in refused
        and not approval_problems(programme, key, day, placeholders_allowed=placeholders)
    ]


def _rates(rows: LinkedRows, engagement: str) -> dict[str, float]:
    """Link rate of each dataset of an engagement, in per cent."""
    return {
        f"{row['dataset']}_linked_pct": round(100 * row["linked_n"] / row["records_n"], 1)
        for row in rows.link_rates.to_pylist()
        if row["engagement"] == engagement and row["records_n"]
    }
