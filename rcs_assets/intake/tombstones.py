"""Opt-outs and withdrawals that were once honoured: keyed hashes, kept for ever.

Belongs here: `drop/tombstones.jsonl` (engagement, keyed hash of the UID, scope) and the rule
that a later list never takes one back. Does not belong here: taking a pupil's rows out
(`steps.py`, `vault.py`).

The newest list of an engagement replaces those before. A child who was withdrawn and is not on
it would come back without anybody having decided so: such a list is refused.
"""

from __future__ import annotations

import json

import duckdb

from rcs_assets.errors import InputError
from rcs_assets.storage import Home, hmac_expression, write_atomically

Tombstone = tuple[str, str, str]


def honour(con: duckdb.DuckDBPyConnection, home: Home, engagement: str, file: str) -> None:
    """Compare the accepted opt-outs on the scratch connection with those before; add the new.

    Raises:
        InputError: an opt-out that was honoured before is not on the list.
    """
    macro = hmac_expression(con, "tombstone", home.key("tombstone"))
    rows = con.execute(f"select {macro}(survey_uid), scope from accepted order by all").fetchall()
    now = {(engagement, str(key), str(scope)) for key, scope in rows}
    known = read_tombstones(home)
    lost = [stone for stone in known if stone[0] == engagement and stone not in now]
    if lost:
        raise InputError(
            f"{len(lost)} opt-outs that were honoured before are not on the list",
            where=f"file {file}",
            why="a list is complete: it replaces the one before, and nobody comes back by being "
            "left out",
            fix="deliver the earlier rows and the new ones in one file",
        )
    _write(home, [*known, *sorted(now - set(known))])


def read_tombstones(home: Home) -> list[Tombstone]:
    """Every tombstone, oldest first."""
    log = home.drop / "tombstones.jsonl"
    if not log.exists():
        return []
    entries = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    return [(entry["engagement"], entry["uid_key"], entry["scope"]) for entry in entries]


def _write(home: Home, stones: list[Tombstone]) -> None:
    lines = [
        json.dumps({"engagement": key, "uid_key": uid_key, "scope": scope}, sort_keys=True) + "\n"
        for key, uid_key, scope in stones
    ]
    write_atomically(home.drop / "tombstones.jsonl", "".join(lines))
