"""The candidate and the published release as assets, and the gate between them.

Belongs here: wiring, and reading Dagster's check records into plain ones. Does not belong
here: building, deciding, publishing.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from rcs_assets.disclosure.policy import load_policy
from rcs_assets.errors import GateRefusedError, StorageError
from rcs_assets.intake.drop import current_deliveries
from rcs_assets.intake.freshness import stale_inputs
from rcs_assets.intake.receipts import incomplete_engagements
from rcs_assets.release.approval import load_approvers, proven, stored
from rcs_assets.release.audit_log import day_problem, read_log
from rcs_assets.release.batches import change_problems
from rcs_assets.release.candidate import build_candidate
from rcs_assets.release.contents import Sources
from rcs_assets.release.gate import (
    Approval,
    CandidateFacts,
    CheckRecord,
    CheckStatus,
    Decision,
    RequiredCheck,
    decide,
    load_required_checks,
)
from rcs_assets.release.notes import notes_problem
from rcs_assets.release.packages import current_version
from rcs_assets.release.pages import page_problems
from rcs_assets.release.publish import (
    candidate_description,
    candidate_folder,
    publish_candidate,
    withdrawn_with,
)
from rcs_assets.release.refusals import record_refusal
from rcs_assets.release.seal import candidate_hash
from rcs_assets.release.verify import verify_release
from rcs_assets.release.withdraw import finish_withdrawals
from rcs_assets.storage import Home, open_warehouse, operator_name
from rcs_assets.storage.resources import HomeResource, asset_options

CANDIDATE_KEY = dg.AssetKey(["release", "candidate"])
# Pages are made of the candidate by the room after this one: known here by its key only.
PAGES_KEY = dg.AssetKey(["reporting", "pages"])
_REASONS_SHOWN = 10
_STATUSES = {"SUCCEEDED": CheckStatus.PASSED, "FAILED": CheckStatus.FAILED}


@dg.asset(
    **asset_options(
        "release",
        "candidate",
        zone="release",
        sensitivity="protected",
        description="The packages public, cpp/*, school/*, archive/* and safe_haven, built "
        "aside in releases/.candidate: databases with comments, Parquet, dictionary, "
        "datapackage, tables of schools, anonymised microdata, manifests and certificates. "
        "Nothing is published by it.",
        deps=[
            ("disclosure", "estimates"),
            ("disclosure", "comparisons"),
            ("disclosure", "changes"),
            ("disclosure", "participation"),
            ("disclosure", "reach"),
            ("disclosure", "spend"),
            ("disclosure", "findings"),
            ("disclosure", "audit"),
            ("wellbeing", "estimates"),
            ("wellbeing", "respondents"),
            ("wellbeing", "comparisons"),
            ("wellbeing", "changes"),
            ("wellbeing", "definition_sets"),
            ("wellbeing", "nonresponse"),
            ("wellbeing", "salsus_contrasts"),
            ("wellbeing", "item_answers"),
            ("wellbeing", "scores"),
            ("wellbeing", "weights"),
            ("linkage", "linked"),
            ("linkage", "link_rates"),
            ("linkage", "link_weights"),
            ("linkage", "link_rates_by_group"),
            ("linkage", "link_sensitivity"),
            ("linkage", "link_flow"),
            ("linkage", "model"),
            ("services", "reach"),
            ("services", "recipients"),
            ("services", "spend"),
            ("services", "complex_asn"),
            ("services", "link_effects"),
            ("services", "link_items"),
            ("research", "findings"),
            ("codebook", "tables"),
            ("programme", "register"),
            ("intake", "school_list"),
            ("intake", "clusters"),
            ("intake", "receipts"),
        ],
        kinds=("python", "duckdb", "parquet"),
    )
)
def candidate(home: HomeResource) -> dg.MaterializeResult[None]:
    """Build the candidate from the warehouse."""
    place = home.home()
    settings = home.settings()
    sources = Sources(
        home.programme(),
        home.codebook(),
        load_policy(place.config),
        settings.as_of,
        tuple(sorted(home.left_out)),
        operator_name(place),
    )
    with open_warehouse(place, read_only=True, settings=settings) as con:
        built = build_candidate(place, con, sources)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": built.rows,
            "version": built.version,
            "content_hash": built.content_hash,
            **{f"packages_{kind}": n for kind, n in _by_kind(built.packages).items()},
            "simulated": built.is_simulated,
        }
    )


def _by_kind(packages: Iterable[str]) -> Mapping[str, int]:
    return Counter(name.split("/")[0] for name in packages)


@dg.asset(
    **asset_options(
        "release",
        "published",
        zone="release",
        sensitivity="public",
        description="The gate: reads the records of the required checks for exactly this "
        "materialisation, the approvals and the profile; publishes the candidate whole, or "
        "refuses with reasons and leaves the last release as it is.",
        deps=[("release", "candidate"), ("reporting", "pages")],
        kinds=("python",),
    )
)
def published(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult[None]:
    """Ask the gate; publish the candidate if it passes.

    Raises:
        dagster.Failure: the gate refused, with every reason; nothing was changed.
    """
    place, day = home.home(), home.settings().as_of
    finish_withdrawals(place)
    asked = ask_gate(context.instance, home)
    decision, facts, records = asked.decision, asked.facts, asked.records
    if not decision.publish:
        record_refusal(place, facts.candidate_hash, decision, day)
        raise refusal(decision)
    release = publish_candidate(place, facts.content_hash, records, day=day)
    return dg.MaterializeResult(
        metadata={
            "version": release.version,
            "is_new": release.is_new,
            "content_hash": facts.content_hash,
            "checks": len(records),
            "public_report": dg.MetadataValue.path(release.path / "public" / "report.html"),
            "evidence": dg.MetadataValue.path(release.path / "evidence.html"),
        }
    )


def refusal(decision: Decision) -> dg.Failure:
    """What the UI shows of a run that the gate refused: a line a reason, above the traces."""
    refused = GateRefusedError(
        "The gate refused to publish",
        where="release/candidate",
        why="; ".join(decision.reasons),
        fix="let approvers sign: rcs release approve --key FILE; then: rcs release publish"
        if not decision.unproven
        else "correct what is named, then run: rcs materialise --publish",
    )
    shown = enumerate(decision.reasons[:_REASONS_SHOWN], 1)
    more_n = len(decision.reasons) - _REASONS_SHOWN
    failure = dg.Failure(
        "The gate refused to publish. The current release stays as it is.",
        metadata={
            "state": decision.state.value,
            **{f"reason_{number}": why for number, why in shown},
            **(
                {"more": f"{more_n} reasons; run: rcs release show candidate"} if more_n > 0 else {}
            ),
            "what_to_do": refused.fix,
            "docs": "docs/how-to/when-the-gate-refuses.md",
        },
        allow_retries=False,
    )
    failure.__cause__ = refused
    return failure


@dataclass(frozen=True)
class Asked:
    """What the gate was asked, and what it said."""

    decision: Decision
    facts: CandidateFacts
    records: tuple[CheckRecord, ...]


def ask_gate(instance: dg.DagsterInstance, home: HomeResource) -> Asked:
    """Ask the gate about the candidate as it lies there now; nothing is changed."""
    place = home.home()
    required = load_required_checks()
    records = check_records(instance, required)
    facts, approvals = _facts(instance, home, required)
    policy = load_policy(place.config)
    decision = decide(required, records, approvals, place.profile, candidate=facts, policy=policy)
    return Asked(decision, facts, records)


def check_records(
    instance: dg.DagsterInstance, required: Sequence[RequiredCheck]
) -> tuple[CheckRecord, ...]:
    """The latest record of each required check, and the materialisation that it evaluated.

    The only place that reads Dagster's check storage (an internal interface: stack.md). What no run
    made is no record: the UI's HTTP interface takes such events from whoever reaches it.
    """
    keys = {
        dg.AssetCheckKey(dg.AssetKey(check.asset_key.split("/")), check.check_name)
        for check in required
    }
    ordered = sorted(keys, key=lambda key: (key.asset_key.path, key.name))
    found: Mapping[Any, Any] = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        ordered
    )
    return tuple(_check_record(instance, key, found.get(key)) for key in ordered)


def _check_record(instance: dg.DagsterInstance, key: dg.AssetCheckKey, record: Any) -> CheckRecord:
    latest = _latest_materialisation(instance, key.asset_key)
    asset, latest_id = "/".join(key.asset_key.path), latest.storage_id if latest else None
    if record is None or not record.run_id:
        return CheckRecord(asset, key.name, CheckStatus.NEVER_RUN, None, latest_id)
    evaluation = record.evaluation
    status = _STATUSES.get(record.status.value, CheckStatus.NOT_FINISHED)
    if status == CheckStatus.NOT_FINISHED or evaluation is None:
        return CheckRecord(asset, key.name, CheckStatus.NOT_FINISHED, None, latest_id)
    if status == CheckStatus.FAILED and evaluation.severity == dg.AssetCheckSeverity.WARN:
        status = CheckStatus.WARNED
    target = evaluation.target_materialization_data
    evaluated_id = target.storage_id if target else None
    # A check that a step yields beside its asset is recorded without that very
    # materialisation; the run that made the asset tells that it belongs to it.
    if latest and latest.run_id == record.run_id:
        evaluated_id = latest_id
    return CheckRecord(
        asset,
        key.name,
        status,
        evaluated_id,
        latest_id,
        _words(evaluation.metadata, "expected"),
        _words(evaluation.metadata, "observed"),
    )


def _words(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> str:
    return str(metadata[name].value) if name in metadata else ""


def _latest_materialisation(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> dg.EventLogRecord | None:
    """The latest one; none if no run made it, as what is said of it then is nobody's work."""
    records = instance.fetch_materializations(key, limit=1).records
    return records[0] if records and records[0].run_id else None


def _storage_id(instance: dg.DagsterInstance, asset: str) -> int | None:
    latest = _latest_materialisation(instance, dg.AssetKey(asset.split("/")))
    return latest.storage_id if latest else None


def _facts(
    instance: dg.DagsterInstance, home: HomeResource, required: Iterable[RequiredCheck]
) -> tuple[CandidateFacts, tuple[Approval, ...]]:
    """What the gate must know; whatever cannot be read stays empty, and is refused for it."""
    place = home.home()
    today = home.settings().as_of
    made = _latest_materialisation(instance, CANDIDATE_KEY)
    paged = _latest_materialisation(instance, PAGES_KEY)
    recorded, sealed = _recorded(made, "content_hash"), _recorded(paged, "candidate_hash")
    said = candidate_description(place, recorded) or {}
    own, pages = ("/".join(key.path) for key in (CANDIDATE_KEY, PAGES_KEY))
    assets = sorted({check.asset_key for check in required} - {own, pages})
    folder, author = candidate_folder(place, recorded), str(said.get("author", ""))
    digest = candidate_hash(folder) if folder else ""
    holds_on = place.permission_day(today)
    approvals, approval_problems = _approvals(place, folder, digest, author, holds_on)
    facts = CandidateFacts(
        content_hash=str(said.get("content_hash", "")),
        recorded_hash=recorded,
        storage_id=made.storage_id if made else None,
        upstream_ids={asset: _storage_id(instance, asset) for asset in assets},
        output_classes=frozenset(name.split("/")[0] for name in said.get("packages", ())),
        policy_version=str(said.get("policy_version", "")),
        downstream_ids={pages: _storage_id(instance, pages)},
        page_problems=page_problems(place),
        unsigned_deliveries=tuple(
            sorted(
                delivery.file
                for delivery in current_deliveries(place).values()
                if not delivery.is_simulated and not delivery.refused
            )
        ),
        incomplete=incomplete_engagements(place, home.programme(), home.codebook()),
        left_out=frozenset(said.get("left_out", ())),
        stale=stale_inputs(place, said.get("left_out", ()), today),
        candidate_hash=digest,
        sealed_hash=sealed,
        author=author,
        approval_problems=approval_problems,
        withdrawn_as=withdrawn_with(place, recorded),
        release_problems=_release_problems(place),
        change_problems=change_problems(place, folder),
        notes_problem=_notes_problem(place),
        day_problem=_day_problem(place, today),
    )
    return facts, approvals


def _recorded(record: dg.EventLogRecord | None, name: str) -> str:
    """What the materialisation of an asset recorded; empty if there is none."""
    materialisation = record.asset_materialization if record else None
    return _words(materialisation.metadata, name) if materialisation else ""


def _approvals(
    place: Home, folder: Path | None, digest: str, author: str, today: date
) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    if folder is None:
        return (), ()
    try:
        signatures = stored(folder)
    except StorageError as error:
        return (), (str(error),)
    approvers = load_approvers(place.config)
    return proven(signatures, approvers, candidate=digest, author=author, today=today)


def _release_problems(place: Home) -> tuple[str, ...]:
    """What is wrong with the current release and the audit log; a new one rests on them."""
    try:
        read_log(place)
        current = current_version(place)
        return verify_release(place, current).problems if current else ()
    except StorageError as error:
        return (str(error),)


def _notes_problem(place: Home) -> str:
    try:
        return notes_problem(place)
    except StorageError:
        return ""  # The gate refuses the log for that.


def _day_problem(place: Home, today: date) -> str:
    try:
        return str(day_problem(read_log(place), today) or "")
    except StorageError:
        return ""  # The gate refuses the log for that.
