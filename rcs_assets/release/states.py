"""The states of a release, and which may follow which.

Belongs here: the names and the order, nothing else. Does not belong here: who may bring a
release into a state (`gate.py`, `approval.py`) and where a state is recorded (`audit_log.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ReleaseState(StrEnum):
    """How far a release has come."""

    # Built, but not proven: a check failed, is stale or never ran.
    CANDIDATE = "candidate"
    # Everything is proven for exactly these bytes; signatures may be missing.
    CHECKED = "checked"
    # Checked, and signed by as many approvers as the profile asks for.
    APPROVED = "approved"
    # What readers get now.
    PUBLISHED = "published"
    # Another release is read now; this one stays where it is.
    SUPERSEDED = "superseded"
    # Taken back: a tombstone with the reason stands in its place.
    WITHDRAWN = "withdrawn"


_NEXT: Mapping[ReleaseState, frozenset[ReleaseState]] = {
    ReleaseState.CANDIDATE: frozenset({ReleaseState.CHECKED}),
    ReleaseState.CHECKED: frozenset({ReleaseState.APPROVED}),
    ReleaseState.APPROVED: frozenset({ReleaseState.PUBLISHED}),
    ReleaseState.PUBLISHED: frozenset({ReleaseState.SUPERSEDED, ReleaseState.WITHDRAWN}),
    # It is read again when the release that took its place is withdrawn.
    ReleaseState.SUPERSEDED: frozenset({ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN}),
    ReleaseState.WITHDRAWN: frozenset(),
}


def may_follow(before: ReleaseState, after: ReleaseState) -> bool:
    """Whether a release may go from one state to the other in one step."""
    return after in _NEXT[before]
