"""What a child's history in social work contradicts: counted on the receipt, never set aside.

Belongs here: rules over several rows of one child in the details of the social work extract. Does
not belong here: rules of one row (the contract), the identifiers of these children.

The national return has such contradictions, and they are the service's to clear up (domain.md 4.3,
4.4 [S:CPL]): no row is lost for them, and the supplier is told how many there are.
"""

from __future__ import annotations

import duckdb

from rcs_assets.codebook import Dataset
from rcs_assets.intake.contracts import count

_STILL = "date '9999-12-31'"
_EARLIER = "(select 1 from accepted as before where before.record_id = own.record_id and"
# Dataset → flag of the receipt → which rows of `accepted as own` it counts.
RULES = {
    "child_protection": {
        "conference_without_investigation": "own.event = 'conference' "
        "and own.conference_type = 'initial' and not exists "
        f"{_EARLIER} before.event = 'investigation' and before.event_on <= own.event_on)",
        "events_out_of_order": "exists "
        f"{_EARLIER} before.event_no < own.event_no and before.event_on > own.event_on)",
        "registered_before_but_not_said": "own.is_registered and not own.is_previously_registered "
        f"and exists {_EARLIER} before.is_deregistered and before.event_on < own.event_on)",
    },
    "looked_after": {
        "outside_its_episode": "own.what <> 'episode' and not exists "
        f"{_EARLIER} before.what = 'episode' and before.episode_no = own.episode_no "
        "and before.started_on <= own.started_on and (before.ended_on is null "
        f"or before.ended_on >= coalesce(own.ended_on, {_STILL})))",
        "two_placements_at_once": "own.what = 'placement' and exists "
        f"{_EARLIER} before.what = 'placement' and before.row_no <> own.row_no "
        "and before.started_on <= own.started_on "
        f"and coalesce(before.ended_on, {_STILL}) > own.started_on)",
    },
}


def history_flags(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, int]:
    """How many rows contradict another row of the same child, by kind.

    Args:
        con: scratch connection with `accepted`.
        dataset: a file of details; one without such rules has no flags.
    """
    rules = RULES.get(dataset.name, {})
    return {flag: count(con, "accepted as own", where) for flag, where in rules.items()}
