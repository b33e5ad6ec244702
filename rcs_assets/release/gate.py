"""The gate: publish or refuse, with reasons.

Belongs here: one pure function over the committed list of required checks, the records of
exactly this materialisation, the approvals and the facts of the candidate. Does not belong
here: reading Dagster's records (`assets.py`), moving files (`publish.py`).

It fails closed: whatever is not proven is a reason to refuse.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources

from rcs_assets.disclosure.policy import Policy
from rcs_assets.errors import ConfigurationError
from rcs_assets.release.packages import KINDS
from rcs_assets.release.states import ReleaseState

CHECKS_FILE = "required_checks.csv"
OUTPUT_CLASSES = ("all", *KINDS)
_COLUMNS = ["output_class", "asset_key", "check_name", "reason"]


class CheckStatus(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    NOT_FINISHED = "not finished"
    NEVER_RUN = "never run"


@dataclass(frozen=True)
class RequiredCheck:
    """A check without which no package of `output_class` (or `all`) is published.

    `asset_key` is `room/thing`.
    """

    output_class: str
    asset_key: str
    check_name: str
    reason: str


@dataclass(frozen=True)
class CheckRecord:
    """The latest record of one check.

    `evaluated_id` is the storage id of the materialisation that it evaluated, `latest_id`
    that of the asset's latest materialisation; None where there is none. `expected` and
    `observed` are aggregates in words, as the check gave them.
    """

    asset_key: str
    check_name: str
    status: CheckStatus
    evaluated_id: int | None
    latest_id: int | None
    expected: str = ""
    observed: str = ""


@dataclass(frozen=True)
class Approval:
    """A verified signature over the hash of a candidate's bytes."""

    approver: str
    candidate_hash: str


@dataclass(frozen=True)
class CandidateFacts:
    """What the gate must know of the candidate.

    `content_hash` is that of the folder, `recorded_hash` that of the materialisation;
    `storage_id` the materialisation's, `upstream_ids` the latest ones of the assets that it
    is made from, `downstream_ids` those of the assets that complete it (its pages).
    `page_problems`: packages whose pages are missing, or are not as they were made.
    `unsigned_deliveries`: deliveries that the simulator did not sign. `incomplete`:
    engagement → what is missing. `stale`: engagements, or `reference`, that are not computed
    from what holds now. `policy_version` protected its estimates.

    `candidate_hash` is that of the bytes as they lie there now, `sealed_hash` that which was
    recorded when its pages were made. `author` computed it. `approval_problems`: signatures
    that do not count. `withdrawn_as`: the release that said the same and was withdrawn.
    `release_problems`: what is wrong with the current release and the audit log, which the
    next release rests on. `change_problems`: why it may not follow that release.
    `notes_problem`: why its notes do not hold. `day_problem`: why today cannot be recorded.
    """

    content_hash: str
    recorded_hash: str
    storage_id: int | None
    upstream_ids: Mapping[str, int | None]
    output_classes: frozenset[str]
    policy_version: str
    downstream_ids: Mapping[str, int | None] = field(default_factory=dict)
    page_problems: tuple[str, ...] = ()
    unsigned_deliveries: tuple[str, ...] = ()
    incomplete: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    stale: tuple[str, ...] = ()
    candidate_hash: str = ""
    sealed_hash: str = ""
    author: str = ""
    approval_problems: tuple[str, ...] = ()
    withdrawn_as: str = ""
    release_problems: tuple[str, ...] = ()
    change_problems: tuple[str, ...] = ()
    notes_problem: str = ""
    day_problem: str = ""


@dataclass(frozen=True)
class Decision:
    """What the gate says of a candidate.

    `unproven`: reasons that only another candidate or another state of the installation takes
    away; `unsigned`: reasons that signatures take away.
    """

    unproven: tuple[str, ...]
    unsigned: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons against publishing."""
        return (*self.unproven, *self.unsigned)

    @property
    def publish(self) -> bool:
        """Whether there is no reason against it."""
        return self.state == ReleaseState.APPROVED

    @property
    def state(self) -> ReleaseState:
        """How far the candidate has come."""
        if self.unproven:
            return ReleaseState.CANDIDATE
        return ReleaseState.CHECKED if self.unsigned else ReleaseState.APPROVED


def load_required_checks() -> tuple[RequiredCheck, ...]:
    """The committed list.

    Raises:
        ConfigurationError: the list is not in its form, or names a check twice.
    """
    text = (resources.files("rcs_assets.release") / "data" / CHECKS_FILE).read_text("utf-8")
    return parse_required_checks(text)


def parse_required_checks(text: str) -> tuple[RequiredCheck, ...]:
    """Required checks from the text of a list.

    Raises:
        ConfigurationError: wrong columns, an empty entry, an unknown class or a repetition.
    """
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames != _COLUMNS:
        raise _broken(f"its columns are not {', '.join(_COLUMNS)}")
    required = tuple(RequiredCheck(**row) for row in reader)
    for check in required:
        if not all((check.output_class, check.asset_key, check.check_name, check.reason)):
            raise _broken("an entry is empty")
        if check.output_class not in OUTPUT_CLASSES:
            raise _broken(f"{check.output_class} is no output class")
    keys = {(c.output_class, c.asset_key, c.check_name) for c in required}
    if len(keys) != len(required):
        raise _broken("a check is named twice")
    return required


def _broken(why: str) -> ConfigurationError:
    return ConfigurationError(
        "The list of required checks cannot be used",
        where=CHECKS_FILE,
        why=why,
        fix="restore it from the repository",
    )


def decide(
    required: Sequence[RequiredCheck],
    records: Iterable[CheckRecord],
    approvals: Sequence[Approval],
    profile: str,
    *,
    candidate: CandidateFacts,
    policy: Policy,
) -> Decision:
    """Publish or refuse.

    Args:
        required: the committed list; a class of packages without an entry is refused.
        records: latest record of every check, whether required or not.
        approvals: signatures over the hash of the candidate's bytes, verified before.
        profile: of the installation: demo or production.
        candidate: what is to be published.
        policy: the policy as it stands now; it says how many signatures a profile needs.
    """
    found = {(record.asset_key, record.check_name): record for record in records}
    # Causes before what follows of them: the UI shows the first few, and one refused file makes
    # dozens of checks fail and assets newer than the candidate.
    unproven = [
        *_engagement_reasons(candidate),
        *_profile_reasons(profile, candidate, policy),
        *_history_reasons(candidate),
        *_candidate_reasons(candidate, policy),
        *_check_reasons(required, found, candidate.output_classes),
    ]
    return Decision(
        tuple(unproven), tuple(_signature_reasons(profile, approvals, candidate, policy))
    )


def _candidate_reasons(candidate: CandidateFacts, policy: Policy) -> Iterable[str]:
    if candidate.storage_id is None:
        yield "release/candidate was never materialised"
        return
    yield from _folder_reasons(candidate)
    if candidate.policy_version != policy.version:
        yield "the candidate was protected by another version of the policy"
    for asset, storage_id in sorted(candidate.upstream_ids.items()):
        if storage_id is None:
            yield f"{asset} was never materialised"
        elif storage_id > candidate.storage_id:
            yield f"{asset} is newer than the candidate"
    for asset, storage_id in sorted(candidate.downstream_ids.items()):
        if storage_id is None or storage_id < candidate.storage_id:
            yield f"{asset} is not made of this candidate"
    if candidate.page_problems:
        n = len(candidate.page_problems)
        yield f"{n} packages lack their pages, first {candidate.page_problems[0]}"


def _folder_reasons(candidate: CandidateFacts) -> Iterable[str]:
    """The folder must be the one that was computed and looked at, byte by byte."""
    if not candidate.content_hash or candidate.content_hash != candidate.recorded_hash:
        yield "the candidate's folder is not what release/candidate made"
    elif candidate.candidate_hash != candidate.sealed_hash:
        yield "files of the candidate were changed after its pages were made"


def _check_reasons(
    required: Sequence[RequiredCheck],
    found: Mapping[tuple[str, str], CheckRecord],
    output_classes: frozenset[str],
) -> Iterable[str]:
    for output_class in sorted(output_classes):
        if not any(check.output_class in ("all", output_class) for check in required):
            yield f"no check is required for {output_class}: nothing proves it"
    for check in required:
        if check.output_class == "all" or check.output_class in output_classes:
            name = f"{check.asset_key}: {check.check_name}"
            reason = _record_reason(found.get((check.asset_key, check.check_name)))
            if reason:
                yield f"{name} {reason} (required since: {check.reason})"


def _record_reason(record: CheckRecord | None) -> str:
    """Why a record does not prove its check for this materialisation; empty if it does."""
    if record is None or record.status == CheckStatus.NEVER_RUN:
        return "has never run"
    if record.latest_id is None:
        return "has nothing to check: its asset was never materialised"
    if record.status == CheckStatus.NOT_FINISHED:
        return "did not finish"
    if record.evaluated_id != record.latest_id:
        return "is stale: it did not evaluate the latest materialisation"
    if record.status == CheckStatus.WARNED:
        return f"failed as a warning{_seen(record)}; a required check may not"
    if record.status != CheckStatus.PASSED:
        return f"failed{_seen(record)}"
    return ""


def _seen(record: CheckRecord) -> str:
    if not (record.expected or record.observed):
        return ""
    return f": expected {record.expected}, observed {record.observed}"


def _engagement_reasons(candidate: CandidateFacts) -> Iterable[str]:
    for engagement, missing in sorted(candidate.incomplete.items()):
        if engagement not in candidate.left_out:
            yield f"{engagement} is incomplete and not named as left out: {' '.join(missing)}"
    for part in candidate.stale:
        yield (
            f"{part} is not computed from the deliveries, approvals, codebook and code "
            "that hold now"
        )


def _profile_reasons(profile: str, candidate: CandidateFacts, policy: Policy) -> Iterable[str]:
    rule = policy.approvals.get(profile)
    if rule is None:
        yield f"the policy has no approvals for the profile {profile}"
        return
    if rule.only_simulated and candidate.unsigned_deliveries:
        n = len(candidate.unsigned_deliveries)
        first = candidate.unsigned_deliveries[0]
        yield f"profile {profile}: {n} deliveries are not signed by the simulator, first {first}"


def _history_reasons(candidate: CandidateFacts) -> Iterable[str]:
    """What was published before must be as it was published, and what was withdrawn stays so."""
    if candidate.release_problems:
        n, first = len(candidate.release_problems), candidate.release_problems[0]
        found = first if n == 1 else f"{n} problems, first {first}"
        yield (
            f"what was published before is not as it was: {found} (rcs release verify names "
            "all; restore it from a backup, or withdraw that release)"
        )
    yield from candidate.change_problems
    if candidate.withdrawn_as:
        yield f"it says what release {candidate.withdrawn_as} said, which was withdrawn"
    if candidate.notes_problem:
        yield candidate.notes_problem
    if candidate.day_problem:
        yield candidate.day_problem


def _signature_reasons(
    profile: str, approvals: Sequence[Approval], candidate: CandidateFacts, policy: Policy
) -> Iterable[str]:
    rule = policy.approvals.get(profile)
    if rule is None or not rule.signatures:
        return
    approvers = {a.approver for a in approvals if a.candidate_hash == candidate.candidate_hash}
    if len(approvers) < rule.signatures:
        refused = "".join(f"; {problem}" for problem in candidate.approval_problems)
        yield (
            f"profile {profile} needs {rule.signatures} signatures over this candidate, "
            f"it has {len(approvers)}{refused}"
        )
