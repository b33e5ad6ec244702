"""Special uniques: who stands alone on few keys, and how much that tells (SUDA).

Belongs here: minimal sample uniques and their scores, over any table and keys. Does not
belong here: which keys a file has and what is done about it (`anonymise.py`).

A minimal sample unique (MSU) of a record is a set of keys on which nobody else has its
values, while on each smaller part of the set somebody does. The fewer keys it takes, the
more special the record. Source: Elliot, Manning, Mayes, Gurd, Bane (2005), "SUDA: a program
for detecting special uniques"; the score is that of sdcMicro's `suda2` before it is scaled:
of `a` keys, looked for up to size `m`, an MSU of size `s` counts (a - s) (a - s - 1) … (a - m).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import duckdb

from rcs_assets.errors import InputError


@dataclass(frozen=True)
class SpecialUniques:
    """Of one file: `records_n`, `special_n` records with an MSU, `by_size`: size → MSUs."""

    records_n: int
    special_n: int
    by_size: dict[int, int]


def score_of(size: int, keys_n: int, most: int) -> int:
    """What one MSU of a size counts."""
    return prod(keys_n - i for i in range(size, most + 1))


def special_uniques(
    con: duckdb.DuckDBPyConnection, relation: str, keys: Sequence[str], most: int
) -> SpecialUniques:
    """Look for special uniques; makes the temporary table `suda_scores`.

    Args:
        con: a connection that sees the relation.
        relation: one row a record; a null is a value like any other.
        keys: columns, at least two.
        most: largest size of an MSU that is looked for, below the number of keys.

    Returns:
        The counts. `suda_scores` has a row for each combination of the keys that an MSU
        makes special: the keys, `msu_n`, `smallest` (size), `score`. It tells of single
        children and never leaves the connection.

    Raises:
        InputError: fewer than two keys, a key twice, or a size that is not below their number.
    """
    names = list(keys)
    if len(names) < 2 or len(set(names)) < len(names) or not 1 <= most < len(names):
        raise InputError(
            "Special uniques cannot be looked for",
            where=f"keys {', '.join(names) or 'none'}, most {most}",
            why="it takes two different keys, and a size from 1 to one below their number",
            fix="correct the keys or the size",
        )
    sets = [s for size in range(1, most + 1) for s in combinations(range(len(names)), size)]
    # Records are alone where the records of all their combinations' neighbours sum to one:
    # so combinations are looked at instead of records.
    alone = ", ".join(
        f"sum(n) over (partition by {', '.join(_quoted(names[i]) for i in s)}) = 1 as {_flag(s)}"
        for s in sets
    )
    con.execute(
        f"""
        create or replace temp table suda_scores as
        with combinations as (
            select {", ".join(map(_quoted, names))}, count(*) as n from {relation} group by all
        ),
        alone as (select *, {alone} from combinations),
        minimal as (
            select * replace ({", ".join(f"{_minimal(s)} as {_flag(s)}" for s in sets)})
            from alone where n = 1
        )
        select {", ".join(map(_quoted, names))},
            {" + ".join(f"{_flag(s)}::int" for s in sets)} as msu_n,
            least({", ".join(f"if({_flag(s)}, {len(s)}, null)" for s in sets)}) as smallest,
            {" + ".join(f"{_flag(s)}::int * {score_of(len(s), len(names), most)}" for s in sets)}
                as score,
            {", ".join(f"{_sum_of(sets, size)} as size_{size}" for size in range(1, most + 1))}
        from minimal
        where {" or ".join(_flag(s) for s in sets)}
        """
    )
    sizes = ", ".join(f"coalesce(sum(size_{size}), 0)::bigint" for size in range(1, most + 1))
    found = con.execute(
        f"select (select count(*) from {relation}), count(*), {sizes} from suda_scores"
    ).fetchall()[0]
    return SpecialUniques(found[0], found[1], dict(enumerate(found[2:], start=1)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _flag(keys: tuple[int, ...]) -> str:
    return "on_" + "_".join(map(str, keys))


def _minimal(keys: tuple[int, ...]) -> str:
    """Alone on these keys, and not on them without any one: then on no smaller part either."""
    parts = combinations(keys, len(keys) - 1) if len(keys) > 1 else ()
    return " and ".join([_flag(keys), *(f"not {_flag(part)}" for part in parts)])


def _sum_of(sets: Sequence[tuple[int, ...]], size: int) -> str:
    return " + ".join(f"{_flag(s)}::int" for s in sets if len(s) == size)
