import random
from itertools import combinations

import duckdb
import pytest

from rcs_assets.disclosure.suda import score_of, special_uniques
from rcs_assets.errors import InputError

KEYS = ("stage", "sex", "simd", "support")


def by_hand(rows, most):
    """Minimal sample uniques by their definition: every part of every set is tried."""

    def is_alone(row, on):
        return sum(all(other[i] == row[i] for i in on) for other in rows) == 1

    found = {}
    for row in rows:
        sets = [s for size in range(1, most + 1) for s in combinations(range(4), size)]
        minimal = [
            s
            for s in sets
            if is_alone(row, s)
            and not any(is_alone(row, t) for n in range(1, len(s)) for t in combinations(s, n))
        ]
        if minimal:
            scores = [score_of(len(s), 4, most) for s in minimal]
            found[row] = (len(minimal), min(map(len, minimal)), sum(scores))
    return found


@pytest.fixture
def con():
    with duckdb.connect() as found:
        found.execute("create table r (stage varchar, sex varchar, simd integer, support varchar)")
        yield found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [1, 2, 3])
def test_scores_are_those_of_the_definition(con, seed, most):
    draw = random.Random(seed)
    rows = [
        (draw.choice(("S1", "S2", "S3", None)), draw.choice("FM"), draw.randint(1, 5),
         draw.choice("YNN"))
        for _ in range(45)
    ]  # fmt: skip
    con.executemany("insert into r values (?, ?, ?, ?)", rows)
    found = special_uniques(con, "r", KEYS, most)
    wanted = by_hand(rows, most)
    told = con.execute("select * exclude (size_1) from (select stage, sex, simd, support, "
                       "msu_n, smallest, score, size_1 from suda_scores)").fetchall()  # fmt: skip
    assert {row[:4]: row[4:] for row in told} == wanted
    assert (found.records_n, found.special_n) == (45, len(wanted))
    assert sum(found.by_size.values()) == sum(n for n, _, _ in wanted.values())
    assert most == 1 or wanted


def test_an_example_counted_by_hand(con):
    """The only S4 is alone on one key and on no other minimal set; two share everything."""
    con.execute(
        "insert into r values ('S4', 'F', 1, 'N'), ('S1', 'F', 1, 'N'), ('S1', 'F', 1, 'N'), "
        "('S1', 'M', 1, 'N'), ('S1', 'M', 2, 'N'), ('S1', 'F', 2, 'N')"
    )
    special_uniques(con, "r", KEYS, 3)
    told = con.execute(
        "select stage, sex, simd, msu_n, smallest, score from suda_scores order by all"
    ).fetchall()
    # Size 1 of four keys counts 3 * 2 * 1, size 2 counts 2 * 1.
    assert told == [("S1", "F", 2, 1, 2, 2), ("S1", "M", 1, 1, 2, 2), ("S1", "M", 2, 1, 2, 2),
                    ("S4", "F", 1, 1, 1, 6)]  # fmt: skip


def test_a_file_in_which_nobody_is_alone_has_none(con):
    con.execute("insert into r select 'S1', 'F', 1 + i // 10, 'Y' from range(50) t(i)")
    found = special_uniques(con, "r", KEYS, 3)
    assert (found.special_n, found.by_size) == (0, {1: 0, 2: 0, 3: 0})


@pytest.mark.parametrize(("keys", "most"), [(("stage",), 1), (("sex", "sex"), 1), (KEYS, 4)])
def test_keys_that_cannot_be_used_are_refused(con, keys, most):
    with pytest.raises(InputError, match="Special uniques cannot be looked for"):
        special_uniques(con, "r", keys, most)
