"""How counts of children are shown outside the operator's own receipts.

Belongs here: the one rule of policy.md for evidence pages, Dagster metadata and
logs. Does not belong here: rounding of released tables (`disclosure`).
"""

from __future__ import annotations

from collections.abc import Iterable


def public_count(n: int) -> int | str:
    """A count for metadata, evidence and logs: 1 to 9 children read `<10` (policy.md)."""
    return "<10" if 1 <= n <= 9 else n


def rounded_count(n: int) -> int | str:
    """A count of children for an open document: to the nearest 10, `<10` where it is 1 to 9."""
    return public_count(n) if n < 10 else (n + 5) // 10 * 10


def public_total(counts: Iterable[int]) -> int | str:
    """What counts that are shown as `public_count` says add up to: 1 to 9 may be any of them.

    A total that is the exact one would give a small count by subtraction.
    """
    found = list(counts)
    small_n = sum(1 <= n <= 9 for n in found)
    rest = sum(n for n in found if not 1 <= n <= 9)
    if not small_n:
        return rest
    return f"{rest + small_n} to {rest + 9 * small_n}" if rest or small_n > 1 else "<10"
