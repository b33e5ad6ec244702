"""Whether the change from what was published to the candidate may be seen.

Belongs here: counting who left and who came since each release, and children who withdrew in time
and still stand in what is published. Does not belong here: how a child is taken out
(`intake`), which cells are hidden (`disclosure`), deciding (`gate.py`).

Policy.md, Change between releases: where contributors differ by 1 to 9 the difference of two
releases can be one child's answers, so withdrawals come in batches. (What a corrected delivery
changes is judged cell by cell: `disclosure.earlier`.) Policy.md, Protection by
design: after the cut-off date of a withdrawal only later releases change; so one that came
before it may stand in no release. Both are asked at the gate, each time anew: they depend on
what is published, which a check of the candidate would not see change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.intake.opt_outs import OPT_OUTS, opted_out_since
from rcs_assets.programme.tracking import Tracking, load_tracking
from rcs_assets.release.packages import current_version, read_manifest, versions
from rcs_assets.storage import Home, sql_literal
from rcs_assets.storage.counts import public_count
from rcs_assets.storage.home import WITHDRAWN_FOLDER

_MICRODATA = Path(SAFE_HAVEN) / "microdata"
_LINKED, _ANSWERS = "linked.parquet", "item_answers.parquet"
# Who contributes to a table: with answers, and with a record of a council beside them.
_CONTRIBUTORS = """
select engagement, survey, {who} as who from {rows}
union all
select engagement, survey || ' with records', {who} as who from {rows}
where has_education or has_social_work
"""
_CHANGED = """
with old as ({old}),
new as ({new}),
counted as (
    select
        engagement, survey, count(old.who) as old_n, count(new.who) as new_n,
        count(*) filter (old.who is not null and new.who is not null) as both_n
    from old full join new using (engagement, survey, who)
    group by all
)
select engagement, survey, old_n - both_n as left_n, new_n - both_n as came_n, both_n
from counted
where old_n > 0 and new_n > 0
order by all
"""


def change_problems(home: Home, candidate: Path | None) -> tuple[str, ...]:
    """Why the candidate may not follow what was published; empty if it may, or is the first.

    It is compared with every release that was read, withdrawn ones too: who has a copy of one
    can take the difference.

    Args:
        home: the installation.
        candidate: the candidate's folder.
    """
    after = candidate / _MICRODATA if candidate else None
    if after is None or not (after / _LINKED).is_file():
        return ()  # The gate refuses it for that.
    register, current = load_tracking(home.config), current_version(home)
    found: list[str] = []
    for version, before in _read_releases(home).items():
        rows = _changed(before, after) if (before / _LINKED).is_file() else None
        if rows is None:
            found.append(f"release {version} has no microdata: nobody can tell who left since")
            continue
        if version == current:
            left = {row.engagement for row in rows if row.left_n}
            found += _in_time(home, version, left, register)
        # Somebody withdrew, or took it back.
        moved = {stone.engagement for stone in opted_out_since(home, _known_lists(home, version))}
        asked = [row for row in rows if row.engagement in moved]
        found += _too_few(asked, register.rules.withdrawal_batch_n, version)
    return tuple(found)


def _read_releases(home: Home) -> dict[str, Path]:
    """Version → folder of the linked microdata of each release, where it lies or is kept."""
    folders = {version: home.releases / version for version in versions(home)}
    kept = home.releases / WITHDRAWN_FOLDER
    folders |= {v: kept / v for v in folders if (kept / v).is_dir()}
    return {version: folder / _MICRODATA for version, folder in folders.items()}


@dataclass(frozen=True)
class _Change:
    """Contributors to the tables of one survey who left and who came."""

    engagement: str
    survey: str
    left_n: int
    came_n: int


def _changed(before: Path, after: Path) -> list[_Change] | None:
    """Who left and came by survey; None if the microdata do not tell.

    After a rotation of the key no id is one of before. Then a child is known by all his answers:
    numbers alone would let one who left and one who came cancel out.
    """
    with duckdb.connect() as con:
        rows = _compared(con, *(_by_id(folder) for folder in (before, after)))
        if all(both_n for *_, both_n in rows):
            return [_Change(*row[:4]) for row in rows]
        folders = (before, after)
        if not all((folder / _ANSWERS).is_file() for folder in folders):
            return None
        asked = [set(_questions(con, folder)) for folder in folders]
        names = sorted(asked[0] & asked[1])
        told = _compared(con, *(_by_answers(folder, names) for folder in folders))
        of_answers = {row[:2]: row for row in told}
        if any(not row[4] and row[:2] not in of_answers for row in rows):
            return None
        return [_Change(*(row if row[4] else of_answers[row[:2]])[:4]) for row in rows]


def _compared(con: duckdb.DuckDBPyConnection, old: str, new: str) -> list[tuple[Any, ...]]:
    return con.execute(_CHANGED.format(old=old, new=new)).fetchall()


def _by_id(folder: Path) -> str:
    rows = f"read_parquet({sql_literal(folder / _LINKED)})"
    return _CONTRIBUTORS.format(who="response_id", rows=rows)


def _questions(con: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    file = sql_literal(folder / _ANSWERS)
    rows = con.execute(f"describe select * from read_parquet({file})").fetchall()
    return [name for name, *_ in rows if name != "response_id"]


def _by_answers(folder: Path, names: Sequence[str]) -> str:
    """Children with the same answers are told apart by a number: how many they are is compared."""
    said = ", ".join(f'answers."{name}"' for name in names)
    rows = f"""(
        select linked.*, md5(row({said})::varchar) as said
        from read_parquet({sql_literal(folder / _LINKED)}) as linked
        inner join read_parquet({sql_literal(folder / _ANSWERS)}) as answers using (response_id)
    )"""
    numbered = (
        "said || '-' || row_number() over (partition by engagement, survey, said order by said)"
    )
    return _CONTRIBUTORS.format(who=numbered, rows=rows)


def _too_few(rows: Iterable[_Change], batch_n: int, version: str) -> Iterable[str]:
    for row in rows:
        for n, what in ((row.left_n, "left"), (row.came_n, "came")):
            if 0 < n < batch_n:
                yield (
                    f"{row.engagement}, {row.survey}: fewer than {batch_n} children {what} since "
                    f"release {version}, so that the difference could be one child's answers. "
                    "What to do: wait until the batch is full, or leave the engagement out"
                )


def _known_lists(home: Home, version: str) -> set[str]:
    """The lists of opt-outs that a release knew, by sha256."""
    return {
        entry["sha256"]
        # Of a withdrawn release the tombstone names none: then every opt-out counts.
        for entry in read_manifest(home, version).get("deliveries", ())
        if entry["dataset"] == OPT_OUTS
    }


def _in_time(home: Home, version: str, left: Collection[str], register: Tracking) -> Iterable[str]:
    """Children who left, whose withdrawal came by the cut-off and whom the release still shows."""
    cut_offs = {key: day.isoformat() for key, day in register.cut_offs.items()}
    late = Counter(
        stone.engagement
        for stone in opted_out_since(home, _known_lists(home, version))
        if stone.holds
        and stone.engagement in left
        and "" < stone.received_on <= cut_offs.get(stone.engagement, "")
    )
    for engagement, n in sorted(late.items()):
        yield (
            f"{engagement}: {public_count(n)} withdrawals were received by the cut-off day "
            f"{cut_offs[engagement]} and are not honoured in release {version}. What to do: "
            f"rcs release withdraw {version} --reason TEXT --by NAME"
        )
