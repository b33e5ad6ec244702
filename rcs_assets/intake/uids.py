"""UIDs: how they are issued, and their check digit.

Belongs here: the form of a UID, its check digit, the signs that a school's UIDs begin with. Does
not belong here: issuing them to a list of pupils (`issue.py`), doubts about UIDs that stand under
the wrong school (`mixed.py`), what a UID is linked to (`linkage`).

A UID is two letters and eight digits (domain.md 12): five signs keyed on engagement and SEED code,
never on a name, so that schools of similar names cannot share them; four digits of a shuffled
number inside the school; a check digit. The letters B C D F G H J K L M stand for 0 to 9. The check
digit is the sum of the nine signs, weighted 3 7 9 1 3 7 9 1 3, modulo 10: since each weight has an
inverse modulo 10, it shows every single wrong sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.storage import Home, hmac_expression, sql_literal

LETTERS = "BCDFGHJKLM"
WEIGHTS = (3, 7, 9, 1, 3, 7, 9, 1, 3)
# Signs of a UID that all pupils of a school share.
PART_SIGNS = 5
_PARTS_N = 100_000
SERIALS_N = 10_000


def check_digit(column: str) -> str:
    """SQL: the check digit of the first nine signs of a UID, a number; null for another form."""
    signs = [f"(strpos('{LETTERS}', {column}[{place}]) - 1)" for place in (1, 2)]
    signs += [f"try_cast({column}[{place}] as integer)" for place in range(3, 10)]
    total = " + ".join(f"{weight} * {sign}" for weight, sign in zip(WEIGHTS, signs, strict=True))
    return f"(({total}) % 10)"


def check_digit_holds(column: str) -> str:
    """SQL: whether the last sign of a UID follows from the others; false for another form."""
    return (
        f"coalesce(regexp_full_match({column}, '[{LETTERS}]{{2}}[0-9]{{8}}') "
        f"and {check_digit(column)} = try_cast({column}[10] as integer), false)"
    )


def school_parts(
    con: duckdb.DuckDBPyConnection, home: Home, engagement: str, schools: Sequence[str]
) -> None:
    """Create `issued_parts(seed_code, part)`: the five signs that each school's UIDs begin with.

    Keyed on engagement and SEED code. Where two schools of the list would share the signs, the
    later by SEED code moves on to the next that are free.

    Args:
        con: a scratch connection.
        home: its key `record_id`; the scope keeps it apart from record ids.
        engagement: partition key.
        schools: every school of the council, so that a part never depends on who takes part.
    """
    macro = hmac_expression(con, "record_id", home.key("record_id"))
    con.register("asked_schools", pa.table({"seed_code": pa.array(sorted(schools), pa.string())}))
    drawn = con.execute(
        "select seed_code, ('0x' || substr("
        f"{macro}({sql_literal(f'uid|{engagement}|')} || seed_code), 1, 12))::bigint % {_PARTS_N} "
        "from asked_schools order by seed_code"
    ).fetchall()
    con.unregister("asked_schools")
    taken: dict[int, str] = {}
    for seed_code, number in drawn:
        place = int(number)
        while place in taken:
            place = (place + 1) % _PARTS_N
        taken[place] = str(seed_code)
    parts = pa.table(
        {
            "seed_code": pa.array(list(taken.values()), pa.string()),
            "part": pa.array([_part(number) for number in taken], pa.string()),
        }
    )
    con.register("issued_parts", parts)


def _part(number: int) -> str:
    signs = f"{number:05d}"
    return LETTERS[int(signs[0])] + LETTERS[int(signs[1])] + signs[2:]
