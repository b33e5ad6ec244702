"""Assets of intake: one a table that a delivery fills.

Belongs here: wiring `take.py` into the graph, and what of a receipt may stand in
Dagster (aggregates; counts of children 1 to 9 as `<10`). Does not belong here: any work
on a delivered file.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg

from rcs_assets.intake.desk import Desk, open_desk
from rcs_assets.intake.receipts import Receipt, ReceiptStatus, incomplete_engagements
from rcs_assets.intake.take import (
    check_ledger,
    take,
    take_education,
    take_reference,
    take_social_work,
)
from rcs_assets.storage import open_warehouse
from rcs_assets.storage.counts import public_total
from rcs_assets.storage.fingerprints import REFERENCE, forget
from rcs_assets.storage.resources import HomeResource, asset_options, engagement_partitions

PARTITIONS = engagement_partitions()
_PARTS = ("accepted", "quarantined", "withdrawn")
_REFERENCE = (("intake", "school_roll"), ("intake", "school_list"))
# Where they were delivered: further names of schools.
_NAMES = (("intake", "school_names"), ("intake", "school_changes"), ("intake", "school_roll_2022"))
_REGISTERS = (("programme", "register"), ("codebook", "tables"))
_BY_ENGAGEMENT = (
    ("intake", "opt_outs"),
    ("intake", "uid_decisions"),
    ("intake", "sample"),
    ("intake", "primary_survey"),
    ("intake", "secondary_survey"),
    ("intake", "parent_survey"),
    ("intake", "adapted_survey"),
    ("intake", "education"),
    ("intake", "social_work"),
    ("intake", "read_through"),
    ("intake", "clusters"),
    ("intake", "service_map"),
    ("intake", "budgets"),
)


def _asset(
    thing: str, *, description: str, deps: Sequence[tuple[str, str]], **options: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of an asset of this room; a table of the warehouse unless said otherwise."""
    kept = {"zone": "warehouse", "sensitivity": "pseudonymised", **options}
    described = asset_options("intake", thing, description=description, deps=deps, **kept)
    decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(**described)
    return decorator


def _desk(home: HomeResource) -> AbstractContextManager[Desk]:
    return open_desk(home.home(), home.programme(), home.codebook(), home.settings())


def _take_each(
    context: dg.AssetExecutionContext, home: HomeResource, *datasets: str
) -> dg.MaterializeResult[Any]:
    _forget(home, context.partition_keys)
    with _desk(home) as desk:
        found = [take(desk, name, key) for key in context.partition_keys for name in datasets]
    return _told(context, {"": [receipt for receipt in found if receipt is not None]})


def _take_extracts(
    context: dg.AssetExecutionContext,
    home: HomeResource,
    take_extract: Callable[[Desk, str], tuple[Receipt, ...]],
) -> dg.MaterializeResult[Any]:
    """All files of a council's extract; the figures without prefix are those of the payload."""
    _forget(home, context.partition_keys)
    with _desk(home) as desk:
        taken = [take_extract(desk, key) for key in context.partition_keys]
    parts = {"": slice(1, 2), "identifiers_": slice(0, 1), "details_": slice(2, None)}
    return _told(
        context,
        {name: [r for receipts in taken for r in receipts[part]] for name, part in parts.items()},
    )


def _told(
    context: dg.AssetExecutionContext, parts: Mapping[str, Sequence[Receipt]]
) -> dg.MaterializeResult[Any]:
    """Each engagement of the run gets its own figures: the UI shows them as its partition's.

    Args:
        context: of the step.
        parts: prefix of the figures' names → receipts that they are counted from.
    """
    for receipts in parts.values():
        _warn(context, receipts)
    for key in context.partition_keys:
        figures: dict[str, Any] = {}
        for prefix, receipts in parts.items():
            counted = _figures([r for r in receipts if r.engagement == key])
            # The rows of an asset are those of the part without prefix.
            figures |= {f"{prefix}{k}": v for k, v in counted.items() if not (prefix and "/" in k)}
        context.add_asset_metadata(figures, partition_key=key)
    return dg.MaterializeResult()


def _warn(context: dg.AssetExecutionContext, receipts: Iterable[Receipt]) -> None:
    """Each refusal is a warning with its one message."""
    for receipt in receipts:
        if receipt.status != ReceiptStatus.ACCEPTED:
            context.log.warning(f"{receipt.engagement or 'reference'}: {receipt.reason}")


def _figures(taken: Sequence[Receipt]) -> dict[str, Any]:
    """Totals over deliveries."""
    figures: dict[str, Any] = _totals(taken)
    figures["deliveries"] = len(taken)
    figures["deliveries_refused"] = sum(r.status != ReceiptStatus.ACCEPTED for r in taken)
    if isinstance(figures["accepted"], int):
        figures["dagster/row_count"] = figures["accepted"]
    return figures


def _totals(taken: Iterable[Receipt]) -> dict[str, int | str]:
    """Counts over deliveries; policy.md: 1 to 9 children read `<10`.

    Sums are said of what is shown: received is the sum of the others, and an exact one would give
    a small count by subtraction.
    """
    receipts = list(taken)
    parts = {name: [getattr(r, f"{name}_n") for r in receipts] for name in _PARTS}
    every = [n for counts in parts.values() for n in counts]
    return {"received": public_total(every)} | {
        name: public_total(counts) for name, counts in parts.items()
    }


def _reference_result(
    context: dg.AssetExecutionContext, home: HomeResource, dataset: str
) -> dg.MaterializeResult[Any]:
    _forget(home, [REFERENCE])
    with _desk(home) as desk:
        receipt = take_reference(desk, dataset)
    taken = [receipt] if receipt else []
    _warn(context, taken)
    return dg.MaterializeResult(metadata=_figures(taken))


def _forget(home: HomeResource, units: Sequence[str]) -> None:
    """Whoever launched the run: until all that follows is made, the units are not fresh."""
    with open_warehouse(home.home(), settings=home.settings()) as con:
        forget(con, units)


def _published(dataset: str, description: str) -> dg.AssetsDefinition:
    """The asset of one dataset of published reference data, under the dataset's own name."""

    @_asset(dataset, sensitivity="public", description=description, deps=_REGISTERS)
    def take_in(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
        """Take in the published file, if it was delivered."""
        return _reference_result(context, home, dataset)

    return take_in


school_roll = _published(
    "school_roll",
    "Published roll of each school department by stage, sex and SIMD quintile; suppressed "
    "cells are null. Key: seed_code and school_type.",
)
school_roll_2022 = _published(
    "school_roll_2022",
    "The published roll of 2022, with its own columns and suppression marks; a table of "
    "its own, so that vintages are never mixed.",
)
school_list = _published(
    "school_list",
    "Open schools with council, departments, postcode district, denomination.",
)
school_changes = _published(
    "school_changes",
    "Schools opened, closed, mothballed and merged, by SEED code.",
)
school_names = _published(
    "school_names",
    "Earlier and later names of schools, by SEED code.",
)
simd = _published(
    "simd",
    "Deprivation rank, decile and quintile by 2011 data zone; the vintage stands in the "
    "key, so that vintages cannot be mixed.",
)
simd_2020v2 = _published(
    "simd_2020v2",
    "The same of SIMD 2020v2, the vintage of the HWB Census, in a table of its own; the "
    "programme's vintage is SIMD 2016.",
)
datazones = _published(
    "datazones",
    "2011 data zones with council, health board and urban-rural class.",
)
council_codes = _published(
    "council_codes",
    "Codes of councils, partnerships and health boards with the days between which they held.",
)
population = _published(
    "population",
    "Children by council, year, sex and single year of age, as NRS estimates them.",
)
salsus = _published(
    "salsus",
    "SDQ and WEMWBS of S2 and S4 by council and sex as SALSUS published them, for "
    "contrasts between councils.",
)


@_asset(
    "opt_outs",
    zone="vault",
    sensitivity="identified",
    description="Parents and pupils who said no, in the vault; applied before anything else "
    "of the engagement is taken in.",
    partitions=PARTITIONS,
    deps=_REGISTERS,
)
def opt_outs(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in the opt-outs of the engagements of the run."""
    return _take_each(context, home, "opt_outs")


@_asset(
    "uid_decisions",
    sensitivity="aggregate",
    description="What operators decided where one school's UIDs stand under another of a similar "
    "name; each for exactly one sample file. Names schools, no pupil.",
    partitions=PARTITIONS,
    deps=_REGISTERS,
)
def uid_decisions(
    context: dg.AssetExecutionContext, home: HomeResource
) -> dg.MaterializeResult[Any]:
    """Take in the decisions on UIDs of the engagements of the run."""
    return _take_each(context, home, "uid_decisions")


@_asset(
    "sample",
    description="Pupils invited, after opt-outs: school, stage, sex. Their identifiers go to "
    "the vault; intake.roll_counts holds the roll before opt-outs, which weights are raked "
    "to.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"), ("intake", "uid_decisions"), *_REFERENCE, *_NAMES),
)
def sample(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in the sample files of the engagements of the run."""
    return _take_each(context, home, "sample_file")


@_asset(
    "primary_survey",
    description="Answers of P5 to P7 in the codebook's names and codes; UIDs go to the vault.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"), ("intake", "sample"), ("intake", "adapted_survey")),
)
def primary_survey(
    context: dg.AssetExecutionContext, home: HomeResource
) -> dg.MaterializeResult[Any]:
    """Take in the primary surveys of the engagements of the run."""
    return _take_each(context, home, "primary_survey")


@_asset(
    "secondary_survey",
    description="Answers of S1 to S4 in the codebook's names and codes; UIDs go to the vault.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"), ("intake", "sample"), ("intake", "adapted_survey")),
)
def secondary_survey(
    context: dg.AssetExecutionContext, home: HomeResource
) -> dg.MaterializeResult[Any]:
    """Take in the secondary surveys of the engagements of the run."""
    return _take_each(context, home, "secondary_survey")


@_asset(
    "parent_survey",
    description="Answers of parents of children aged 0 to 8; a quota sample, linked to nothing.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"),),
)
def parent_survey(
    context: dg.AssetExecutionContext, home: HomeResource
) -> dg.MaterializeResult[Any]:
    """Take in the parent surveys of the engagements of the run."""
    return _take_each(context, home, "parent_survey")


@_asset(
    "adapted_survey",
    description="Answers of pupils of special schools in the adapted opt-in mode, one row an "
    "answer; their UIDs and the list of opt-ins go to the vault. Kept apart: nothing links or "
    "estimates them, and they are never released. Empty where no school took part.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"), ("intake", "sample")),
)
def adapted_survey(
    context: dg.AssetExecutionContext, home: HomeResource
) -> dg.MaterializeResult[Any]:
    """Take in opt-ins and answers of the adapted mode of the engagements of the run."""
    return _take_each(context, home, "adapted_opt_ins", "adapted_survey")


@_asset(
    "education",
    description="Payload of the councils' education extract; its identifiers go to the "
    "vault, and payload without accepted identifiers is quarantined. intake.attendance, "
    "intake.exclusions and intake.cfe_levels hold the details that follow the same identifiers, "
    "where a council delivers them.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"), ("intake", "sample"), *_REFERENCE),
)
def education(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in identifiers and payload of the education extracts of the run."""
    return _take_extracts(context, home, take_education)


@_asset(
    "social_work",
    description="Payload of the councils' social work extract: looked after, child "
    "protection, open case, child's plan; its identifiers go to the vault, and payload "
    "without accepted identifiers is quarantined. intake.child_protection (events) and "
    "intake.looked_after (episodes, placements, legal reasons) follow the same identifiers, "
    "where a council delivers them.",
    partitions=PARTITIONS,
    deps=(("intake", "opt_outs"), ("intake", "sample")),
)
def social_work(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in identifiers and payload of the social work extracts of the run."""
    return _take_extracts(context, home, take_social_work)


@_asset(
    "read_through",
    zone="vault",
    sensitivity="identified",
    description="Where an outside indexer (NRS) links: its index numbers of the answers and its "
    "read-through, in the vault; those of the extracts come with them. Empty where the platform "
    "links itself.",
    partitions=PARTITIONS,
    deps=(
        ("intake", "primary_survey"),
        ("intake", "secondary_survey"),
        ("intake", "education"),
        ("intake", "social_work"),
    ),
)
def read_through(
    context: dg.AssetExecutionContext, home: HomeResource
) -> dg.MaterializeResult[Any]:
    """Take in what an outside indexer returned for the engagements of the run."""
    return _take_each(context, home, "index_return_survey", "read_through")


@_asset(
    "clusters",
    sensitivity="aggregate",
    description="Which schools belong to which secondary, many to many; exactly one row a "
    "school is the cluster that reports and disclosure control use.",
    partitions=PARTITIONS,
    deps=_REFERENCE,
)
def clusters(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in the cluster maps of the engagements of the run."""
    return _take_each(context, home, "clusters")


@_asset(
    "service_map",
    sensitivity="aggregate",
    description="Services for children with provider, cost, reach and tier, as the CPP "
    "mapped them.",
    partitions=PARTITIONS,
    deps=_REGISTERS,
)
def service_map(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in the service maps of the engagements of the run."""
    return _take_each(context, home, "service_map")


@_asset(
    "budgets",
    sensitivity="aggregate",
    description="Budgets of children's services by sector and origin of the money; a CPP's "
    "part is budget_gbp × share.",
    partitions=PARTITIONS,
    deps=_REGISTERS,
)
def budgets(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Take in the budgets of the engagements of the run."""
    return _take_each(context, home, "budgets")


@_asset(
    "receipts",
    sensitivity="aggregate",
    description="What became of each delivery, proven against the tables: received = "
    "accepted + quarantined + withdrawn, and accepted = rows that are there. "
    "intake.quarantine holds place and rule of each quarantined row, no value.",
    partitions=PARTITIONS,
    deps=_BY_ENGAGEMENT,
)
def receipts(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[Any]:
    """Close the ledger of the engagements of the run."""
    with _desk(home) as desk:
        found = [receipt for key in context.partition_keys for receipt in check_ledger(desk, key)]
        incomplete = incomplete_engagements(desk.home, desk.programme, desk.codebook)
    in_run = sorted(set(incomplete) & set(context.partition_keys))
    if in_run:
        context.log.warning(f"incomplete: {', '.join(in_run)}")
    for key in context.partition_keys:
        own = [receipt for receipt in found if receipt.engagement == key]
        context.add_asset_metadata(
            {
                **_totals(own),
                "dagster/row_count": len(own),
                "is_incomplete": key in incomplete,
                "receipts": dg.MetadataValue.md(_table(own)),
            },
            partition_key=key,
        )
    return dg.MaterializeResult()


def _table(found: Sequence[Receipt]) -> str:
    """Receipts as the UI shows them: counts and rules, no value, no small count."""
    header = "engagement | delivery | received | accepted | quarantined | withdrawn | why"
    rows = [
        " | ".join(
            str(cell)
            for cell in (
                receipt.engagement,
                receipt.dataset,
                *_totals([receipt]).values(),
                receipt.status.value
                if receipt.status != ReceiptStatus.ACCEPTED
                else ", ".join(sorted(receipt.reasons)) or "–",
            )
        )
        for receipt in found
    ]
    lines = [header, " | ".join(["---"] * 7), *rows]
    return "\n".join(f"| {line} |" for line in lines)
