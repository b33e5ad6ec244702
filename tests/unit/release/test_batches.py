"""The difference of two releases never shows one child: withdrawals come in batches.

Belongs here: `batches.change_problems` over releases that hold real microdata files. Does not
belong here: the gate's other reasons (`test_gate.py`), taking a child out (`unit/intake`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pytest

from rcs_assets.intake.drop import Delivery
from rcs_assets.release.batches import change_problems
from rcs_assets.storage import Home

KEY, OTHER = "t2-falkirk", "t1-clackmannanshire"
FIRST, SECOND = "2020.06.30", "2020.07.31"
CUT_OFF = "2017-06-30"
Children = Sequence[int]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a list of opt-outs that came after the one that releases knew."""
    home = Home.open(tmp_path / "home", profile="demo", seed=1)
    withdrawn(home, "", 2)
    return home


def write(folder: Path, children: Children, linked: Children = (), prefix: str = "id") -> None:
    """Microdata: `children` answered (numbers), `linked` have a council's record beside."""
    (folder / "safe_haven" / "microdata").mkdir(parents=True)
    rows = ", ".join(
        f"('{prefix}{n}', '{KEY}', 'secondary', {n in linked}, false)" for n in children
    )
    others = ", ".join(f"('other{n}', '{OTHER}', 'primary', true, false)" for n in range(50))
    with duckdb.connect() as con:
        con.execute(
            f"copy (from (values {rows}, {others}) "
            "as t(response_id, engagement, survey, has_education, has_social_work)) "
            f"to '{folder}/safe_haven/microdata/linked.parquet' (format parquet)"
        )
        # Each answers as no other does, but the first two of a kind.
        con.execute(
            f"copy (select response_id, {', '.join(map(answer, range(8)))} "
            f"from '{folder}/safe_haven/microdata/linked.parquet') "
            f"to '{folder}/safe_haven/microdata/item_answers.parquet' (format parquet)"
        )


def answer(question: int) -> str:
    """One digit of a child's number, as an answer; 0 and 1 answer alike."""
    number = r"greatest(regexp_extract(response_id, '\d+$')::integer, 1)"
    return f"({number} >> {question}) & 1 as q{question}"


@pytest.fixture
def publish(home: Home) -> Callable[..., Path]:
    """A release with its microdata, made current; it knew these lists of opt-outs (sha256)."""

    def make(version: str, children: Children, *lists: str, linked: Children = ()) -> Path:
        folder = home.releases / version
        write(folder, children, linked)
        deliveries = [{"dataset": "opt_outs", "engagement": KEY, "sha256": s} for s in lists]
        (folder / "manifest.json").write_text(json.dumps({"deliveries": deliveries}))
        link = home.releases / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(version)
        return folder

    return make


def candidate(home: Home, children: Children, **more) -> Path:
    folder = home.releases / ".candidate"
    write(folder, children, **more)
    return folder


def withdrawn(home: Home, received_on: str, list_seq: int) -> None:
    """A tombstone, and the register's two lists."""
    lines = [
        Delivery(seq, "f", "opt_outs", KEY, sha, 1, "2020-06-30", True)
        for seq, sha in ((1, "first"), (2, "second"))
    ]
    home.register.write_text("".join(json.dumps(vars(line)) + "\n" for line in lines))
    stone = {"engagement": KEY, "uid_key": "k", "scope": "all", "received_on": received_on}
    (home.drop / "tombstones.jsonl").write_text(json.dumps({**stone, "list_seq": list_seq}) + "\n")


def test_the_first_release_changes_nothing(home: Home) -> None:
    assert change_problems(home, candidate(home, range(100))) == ()
    assert change_problems(home, None) == ()


@pytest.mark.parametrize(("left", "may"), [(0, True), (1, False), (9, False), (10, True)])
def test_children_leave_in_batches(home: Home, publish, left: int, may: bool) -> None:
    publish(FIRST, range(100))
    found = change_problems(home, candidate(home, range(left, 100)))
    assert (found == ()) == may
    if not may:
        assert f"{KEY}, secondary: fewer than 10 children left since release {FIRST}" in found[0]
        assert "What to do: wait until the batch is full" in found[0]
        assert OTHER not in "".join(found)


def test_children_come_in_batches_too_and_one_does_not_cover_the_other(home: Home, publish) -> None:
    publish(FIRST, range(100))
    found = change_problems(home, candidate(home, range(12, 101)))
    assert len(found) == 1 and "fewer than 10 children came" in found[0]


def test_a_corrected_delivery_without_a_withdrawal_waits_for_no_batch(home: Home, publish) -> None:
    publish(FIRST, range(100), "first", "second")
    assert change_problems(home, candidate(home, range(1, 103))) == ()


def test_a_refused_linkage_changes_the_tables_of_records(home: Home, publish) -> None:
    publish(FIRST, range(100), linked=range(100))
    found = change_problems(home, candidate(home, range(100), linked=range(3, 100)))
    assert len(found) == 1 and f"{KEY}, secondary with records: fewer than 10" in found[0]


def test_an_engagement_that_is_left_out_tells_nothing_of_a_child(home: Home, publish) -> None:
    publish(FIRST, range(5))
    folder = candidate(home, range(5))
    with duckdb.connect() as con:
        file = folder / "safe_haven" / "microdata" / "linked.parquet"
        kept = con.execute(f"from '{file}' where engagement = '{OTHER}'").to_arrow_table()
        con.register("kept", kept)
        con.execute(f"copy kept to '{file}' (format parquet)")
    assert change_problems(home, folder) == ()


@pytest.mark.parametrize(
    ("children", "said"),
    [
        (range(100), ()),
        (range(99), ("left",)),
        (range(1, 100), ("left",)),  # of two who answered alike
        ([*range(99), 150], ("left", "came")),  # the numbers are the same
        (range(10, 112), ()),
        (range(12, 101), ("came",)),
    ],
)
def test_after_a_rotation_of_keys_children_are_known_by_their_answers(
    home: Home, publish, children: Children, said: tuple[str, ...]
) -> None:
    publish(FIRST, range(100))
    found = change_problems(home, candidate(home, children, prefix="new"))
    assert [word for problem in found for word in ("left", "came") if f" {word} " in problem] == [
        *said
    ]


def test_after_a_rotation_questions_that_one_release_has_are_left_out(home: Home, publish) -> None:
    folder = publish(FIRST, range(100))
    file = folder / "safe_haven" / "microdata" / "item_answers.parquet"
    with duckdb.connect() as con:
        con.execute(f"create table old as select *, 1 as dropped_since from '{file}'")
        con.execute(f"copy old to '{file}' (format parquet)")
    built = candidate(home, range(100), prefix="new")
    assert change_problems(home, built) == ()
    file.unlink()
    (problem,) = change_problems(home, built)
    assert "nobody can tell who left" in problem


def test_every_release_that_was_read_is_compared_withdrawn_ones_too(home: Home, publish) -> None:
    publish(FIRST, range(100))
    publish(SECOND, range(20, 100))
    kept = home.releases / ".withdrawn" / SECOND
    kept.parent.mkdir()
    (home.releases / SECOND / "safe_haven").rename(kept.parent / "x")
    kept.mkdir()
    (kept.parent / "x").rename(kept / "safe_haven")
    found = change_problems(home, candidate(home, range(21, 100)))
    assert len(found) == 1 and f"since release {SECOND}" in found[0]


def test_a_release_without_microdata_cannot_be_followed(home: Home, publish) -> None:
    folder = publish(FIRST, range(100))
    (folder / "safe_haven" / "microdata" / "linked.parquet").unlink()
    (problem,) = change_problems(home, candidate(home, range(100)))
    assert "nobody can tell" in problem


@pytest.mark.parametrize(
    ("received_on", "list_seq", "is_in_time"),
    [
        (CUT_OFF, 2, True),
        ("2017-07-01", 2, False),  # after the cut-off: the release stays, the next is without
        (CUT_OFF, 1, False),  # the release knew that list
    ],
)
def test_a_withdrawal_in_time_is_in_no_release(
    home: Home, publish, received_on: str, list_seq: int, is_in_time: bool
) -> None:
    publish(FIRST, range(100), "first")
    withdrawn(home, received_on, list_seq)
    found = change_problems(home, candidate(home, range(20, 100)))
    assert bool(found) == is_in_time
    if is_in_time:
        assert f"<10 withdrawals were received by the cut-off day {CUT_OFF}" in found[0]
        assert f"rcs release withdraw {FIRST}" in found[0]


def test_who_did_not_answer_is_in_no_release(home: Home, publish) -> None:
    publish(FIRST, range(100), "first")
    withdrawn(home, CUT_OFF, 2)
    assert change_problems(home, candidate(home, range(100))) == ()
