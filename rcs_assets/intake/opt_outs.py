"""Opt-outs that came since a release: what may have moved its figures.

Belongs here: which opt-outs are newer than the lists that a release was made with, and how many
children they are. Does not belong here: tombstones (`tombstones.py`), judging the change
(`disclosure.drift`, `release.batches`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rcs_assets.intake.drop import read_register
from rcs_assets.intake.tombstones import Tombstone, read_tombstones
from rcs_assets.storage import Home

OPT_OUTS = "opt_outs"


@dataclass(frozen=True)
class Moved:
    """Children of one engagement whose answers or records went, and those who are back."""

    left_n: int
    came_n: int


def opted_out_since(home: Home, lists: Collection[str]) -> list[Tombstone]:
    """Opt-outs, in their latest state, that came or were taken back after some lists.

    Args:
        home: the installation.
        lists: sha256 of the lists of opt-outs that are known.
    """
    known = {line.engagement: line.seq for line in read_register(home) if line.sha256 in lists}
    return [
        stone for stone in read_tombstones(home) if stone.list_seq > known.get(stone.engagement, 0)
    ]


def moved_since(home: Home, lists: Collection[str], scopes: Collection[str]) -> dict[str, Moved]:
    """Engagement → children whom opt-outs of these scopes moved since: that many at most."""
    stones = [stone for stone in opted_out_since(home, lists) if stone.scope in scopes]
    return {
        engagement: Moved(
            *(
                len({s.uid_key for s in stones if s.engagement == engagement and s.holds is holds})
                for holds in (True, False)
            )
        )
        for engagement in sorted({stone.engagement for stone in stones})
    }
