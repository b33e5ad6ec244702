"""How counts of children are shown outside the operator's own receipts.

Belongs here: the one rule of policy.md for evidence pages, Dagster metadata and
logs. Does not belong here: rounding of released tables (`disclosure`).
"""

from __future__ import annotations


def public_count(n: int) -> int | str:
    """A count for metadata, evidence and logs: 1 to 9 children read `<10` (policy.md)."""
    return "<10" if 1 <= n <= 9 else n


def rounded_count(n: int) -> int | str:
    """A count of children for an open document: to the nearest 10, `<10` where it is 1 to 9."""
    return public_count(n) if n < 10 else (n + 5) // 10 * 10
