"""Opt-outs and withdrawals that were once honoured: keyed hashes, kept for ever.

Belongs here: `drop/tombstones.jsonl` (engagement, keyed hash of the UID, scope, who asked and
when, in which list, and whether it was taken back) and the rules between one list and the next.
Does not belong here: taking a pupil's rows out (`steps.py`, `vault.py`).

The newest list of an engagement replaces those before. A child who was withdrawn and is not on
it would come back without anybody having decided so: such a list is refused. To take an opt-out
back is a decision: the row stays and gets the day. Every rebuild asks the tombstones, also
where the list itself can no longer be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.errors import InputError, StorageError
from rcs_assets.storage import Home, hmac_expression, write_atomically
from rcs_assets.storage.keyring import TOMBSTONE, key_generations


@dataclass(frozen=True)
class Tombstone:
    """One opt-out as it stands: `uid_key` is the keyed hash of the UID.

    `received_on`, `requested_by` (pupil | parent) and `taken_back_on` are empty where the list
    did not say; `list_seq` is the delivery that brought this state, 0 where it was not recorded.
    """

    engagement: str
    uid_key: str
    scope: str
    received_on: str = ""
    requested_by: str = ""
    taken_back_on: str = ""
    list_seq: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """What a list may hold once."""
        return (self.engagement, self.uid_key, self.scope)

    @property
    def holds(self) -> bool:
        """Whether it was not taken back."""
        return not self.taken_back_on


def honour(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    engagement: str,
    file: str,
    list_seq: int,
    held: Sequence[tuple[str, str]],
) -> None:
    """Compare the opt-outs of a list on the scratch connection with those before; add the new.

    Args:
        con: holds the list as table `accepted`, taken-back rows among them.
        home: the installation.
        engagement: whose list.
        file: its name, for messages.
        list_seq: number of its delivery.
        held: UID and scope of the list before, from the vault: what tells after a rotation of
            the key, when the hashes before say nothing.

    Raises:
        InputError: an opt-out that was honoured before is not on the list.
    """
    macro = hmac_expression(con, "tombstone", home.key("tombstone"))
    listed = con.execute(
        f"select {macro}(survey_uid), scope, coalesce(received_on::varchar, ''), "
        "coalesce(requested_by, ''), coalesce(taken_back_on::varchar, '') "
        "from accepted order by all"
    ).fetchall()
    now = {stone.key: stone for row in listed for stone in [_stone(engagement, row, list_seq)]}
    known = {stone.key: stone for stone in read_tombstones(home) if stone.engagement == engagement}
    if not held and not known:
        _refuse_unknown(home, engagement, file)
    # After a rotation the list before gets stones under the new key, whatever this one holds.
    again = {
        key: replace(now.get(key, Tombstone(*key)), list_seq=0)
        for key in sorted((engagement, *pair) for pair in _hashed(con, macro, held))
        if key not in known
    }
    _add(home, again.values())
    known |= again
    lost = set(known) - set(now)
    if lost:
        raise InputError(
            f"{len(lost)} opt-outs that were honoured before are not on the list",
            where=f"file {file}",
            why="a list is complete: it replaces the one before, and nobody comes back by being "
            "left out",
            fix="deliver the earlier rows and the new ones in one file; one that was taken back "
            "stays, with the day in taken_back_on",
        )
    _add(home, [stone for key, stone in sorted(now.items()) if _is_news(known.get(key), stone)])


def _stone(engagement: str, row: Sequence[Any], list_seq: int) -> Tombstone:
    uid_key, scope, received_on, requested_by, taken_back_on = (str(cell) for cell in row)
    return Tombstone(engagement, uid_key, scope, received_on, requested_by, taken_back_on, list_seq)


def _is_news(before: Tombstone | None, now: Tombstone) -> bool:
    return before is None or (before.taken_back_on != now.taken_back_on)


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
    if any(entry["engagement"] == engagement for entry in _entries(home)):
        raise InputError(
            "The list cannot be compared with what was honoured before",
            where=f"file {file}",
            why="the key of the hashes was rotated, and the vault holds no list of before",
            fix="restore the vault, keys/ and keys.json from one backup, then run: rcs materialise",
        )


def read_tombstones(home: Home) -> list[Tombstone]:
    """Every opt-out under the key that holds, in its latest state, oldest first.

    Raises:
        StorageError: the log is damaged.
    """
    generation = _generation(home)
    found: dict[tuple[str, str, str], Tombstone] = {}
    for entry in _entries(home):
        if entry.pop("key_generation", 1) == generation:
            stone = Tombstone(**entry)
            found[stone.key] = stone
    return list(found.values())


def standing_keys(home: Home, engagement: str, scopes: Sequence[str]) -> pa.Table:
    """`uid_key` of every opt-out of an engagement that holds and has one of the scopes."""
    keys = sorted(
        {
            stone.uid_key
            for stone in read_tombstones(home)
            if stone.engagement == engagement and stone.holds and stone.scope in scopes
        }
    )
    return pa.table({"uid_key": pa.array(keys, pa.string())})


def _add(home: Home, stones: Iterable[Tombstone]) -> None:
    """After a rotation of the key the lists that hold are honoured anew; old hashes stay."""
    generation = _generation(home)
    marked = {"key_generation": generation} if generation > 1 else {}
    new = [
        json.dumps({k: v for k, v in vars(stone).items() if v} | marked, sort_keys=True)
        for stone in stones
    ]
    if new:
        text = "".join(f"{line}\n" for line in (*_lines(home), *new))
        write_atomically(_log(home), text)


def _generation(home: Home) -> int:
    return key_generations(home).get(TOMBSTONE, 1)


def _log(home: Home) -> Path:
    return home.drop / "tombstones.jsonl"


def _lines(home: Home) -> list[str]:
    return _log(home).read_text(encoding="utf-8").splitlines() if _log(home).exists() else []


def _entries(home: Home) -> list[dict[str, Any]]:
    try:
        return [dict(json.loads(line)) for line in _lines(home)]
    except (ValueError, TypeError) as error:
        raise StorageError(
            "The tombstones of opt-outs cannot be read",
            where="drop/tombstones.jsonl",
            why="without them nobody can tell who was withdrawn",
            fix="restore drop/ from a backup",
        ) from error
