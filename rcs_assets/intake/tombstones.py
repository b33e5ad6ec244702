"""Opt-outs and withdrawals that were once honoured: keyed hashes, kept for ever.

Belongs here: `drop/tombstones.jsonl` (engagement, keyed hash of the UID, scope) and the rule
that a later list never takes one back. Does not belong here: taking a pupil's rows out
(`steps.py`, `vault.py`).

The newest list of an engagement replaces those before. A child who was withdrawn and is not on
it would come back without anybody having decided so: such a list is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb

from rcs_assets.errors import InputError
from rcs_assets.storage import Home, hmac_expression, write_atomically
from rcs_assets.storage.keyring import TOMBSTONE, key_generations

Tombstone = tuple[str, str, str]


def honour(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    engagement: str,
    file: str,
    held: Sequence[tuple[str, str]],
) -> None:
    """Compare the accepted opt-outs on the scratch connection with those before; add the new.

    Args:
        con: holds the list as table `accepted`.
        home: the installation.
        engagement: whose list.
        file: its name, for messages.
        held: UID and scope of the list before, from the vault: what tells after a rotation of
            the key, when the hashes before say nothing.

    Raises:
        InputError: an opt-out that was honoured before is not on the list.
    """
    macro = hmac_expression(con, "tombstone", home.key("tombstone"))
    rows = con.execute(f"select {macro}(survey_uid), scope from accepted order by all").fetchall()
    now = {(engagement, str(key), str(scope)) for key, scope in rows}
    known = read_tombstones(home)
    if not held and not any(stone[0] == engagement for stone in known):
        _refuse_unknown(home, engagement, file)
    # After a rotation the list before gets stones under the new key, whatever this one holds.
    again = {(engagement, key, scope) for key, scope in _hashed(con, macro, held)} - set(known)
    _add(home, sorted(again))
    known += sorted(again)
    lost = {stone for stone in known if stone[0] == engagement and stone not in now}
    if lost:
        raise InputError(
            f"{len(lost)} opt-outs that were honoured before are not on the list",
            where=f"file {file}",
            why="a list is complete: it replaces the one before, and nobody comes back by being "
            "left out",
            fix="deliver the earlier rows and the new ones in one file",
        )
    _add(home, sorted(now - set(known)))


def _hashed(
    con: duckdb.DuckDBPyConnection, macro: str, held: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    uids, scopes = [uid for uid, _ in held], [scope for _, scope in held]
    rows = con.execute(
        f"select {macro}(uid), scope "
        "from (select unnest(?::varchar[]) as uid, unnest(?::varchar[]) as scope)",
        [uids, scopes],
    ).fetchall()
    return [(str(key), str(scope)) for key, scope in rows]


def _refuse_unknown(home: Home, engagement: str, file: str) -> None:
    """After a rotation, without the list before: nobody can tell whether somebody is missing."""
    if any(entry["engagement"] == engagement for entry in map(json.loads, _lines(home))):
        raise InputError(
            "The list cannot be compared with what was honoured before",
            where=f"file {file}",
            why="the key of the hashes was rotated, and the vault holds no list of before",
            fix="restore the vault, keys/ and keys.json from one backup, then run: rcs materialise",
        )


def read_tombstones(home: Home) -> list[Tombstone]:
    """Every tombstone under the key that holds, oldest first."""
    generation = _generation(home)
    return [
        (entry["engagement"], entry["uid_key"], entry["scope"])
        for entry in map(json.loads, _lines(home))
        if entry.get("key_generation", 1) == generation
    ]


def _add(home: Home, stones: list[Tombstone]) -> None:
    """After a rotation of the key the lists that hold are honoured anew; old hashes stay."""
    generation = _generation(home)
    marked = {"key_generation": generation} if generation > 1 else {}
    new = [
        json.dumps({"engagement": e, "uid_key": k, "scope": s, **marked}, sort_keys=True)
        for e, k, s in stones
    ]
    text = "".join(f"{line}\n" for line in (*_lines(home), *new))
    write_atomically(_log(home), text)


def _generation(home: Home) -> int:
    return key_generations(home).get(TOMBSTONE, 1)


def _log(home: Home) -> Path:
    return home.drop / "tombstones.jsonl"


def _lines(home: Home) -> list[str]:
    return _log(home).read_text(encoding="utf-8").splitlines() if _log(home).exists() else []
