"""Says whether an engagement may be taken in and linked on a day, and if not, why.

Belongs here: the rule of policy.md (Protection by design) on rows of privacy.csv: a
missing or expired approval blocks intake and linkage, not only release. Does not belong
here: reading the file (`load.py`) and stopping anything (`intake`, `linkage`).
"""

from __future__ import annotations

from datetime import date

from rcs_assets.programme.model import Approval, Programme

_NEEDED = (
    ("controller", "controller"),
    ("processors", "processors"),
    ("dpia_reference", "DPIA reference"),
    ("sharing_agreement", "data-sharing agreement"),
    ("ethics", "ethics approval"),
    ("panel", "panel approval"),
    ("notice_version", "privacy notice"),
    ("lawful_basis", "lawful basis"),
)
_LIMITS = (
    ("expires_on", "approval"),
    ("contract_expires_on", "processor contract"),
    ("iso27001_expires_on", "ISO 27001 certificate"),
    ("dpia_review_on", "DPIA review"),
    ("retention_until", "retention period"),
)


def approval_problems(
    programme: Programme, engagement: str, on: date, *, placeholders_allowed: bool = False
) -> tuple[str, ...]:
    """Why intake and linkage of an engagement are blocked on a day; empty if they are not.

    Args:
        programme: the register.
        engagement: a partition key.
        on: the day of processing.
        placeholders_allowed: True in the demo profile only; elsewhere a row that stands in
            for unknown references approves nothing.

    Returns:
        One sentence a reason, in the order of the columns of privacy.csv.
    """
    approval = programme.approvals.get(engagement)
    if approval is None:
        return (f"privacy.csv has no approval for {engagement}",)
    problems = _missing(approval) + _out_of_date(approval, on)
    if approval.is_placeholder and not placeholders_allowed:
        problems += ("the approval is a placeholder for demonstrations",)
    return problems


def _missing(approval: Approval) -> tuple[str, ...]:
    return tuple(f"{title} is missing" for name, title in _NEEDED if not getattr(approval, name))


def _out_of_date(approval: Approval, on: date) -> tuple[str, ...]:
    """Reasons from days; every day is inclusive and an empty one counts as missing."""
    problems = []
    if approval.valid_from is None:
        problems.append("the first day of the approval is missing")
    elif on < approval.valid_from:
        problems.append(f"approval starts on {approval.valid_from.isoformat()}")
    for name, title in _LIMITS:
        limit: date | None = getattr(approval, name)
        if limit is None:
            problems.append(f"last day of {title} is missing")
        elif on > limit:
            problems.append(f"{title} ended on {limit.isoformat()}")
    return tuple(problems)
