"""Tables beside files of answers that withhold some: what need not be asked is safe, indeed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from rcs_assets.disclosure.answers import Answer, Answers
from rcs_assets.disclosure.attack import Attacker, attackers_of
from rcs_assets.disclosure.estimates_audit import read_release
from rcs_assets.disclosure.grid import Shown
from rcs_assets.disclosure.withheld import Classes, Holder
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import SOURCES, Programme

POLICY = load_policy()
RULE = POLICY.microdata
MEASURES = (Measure("rare", 0.06), Measure("common", 0.3))
SHAPES = {
    "primary": Shape(MEASURES, clusters=(2, 2), schools=(2, 4), roll=(20, 120)),
    "secondary": Shape(MEASURES, "secondary", tranches=(2, 1), schools=(2, 3), roll=(40, 300)),
}


@dataclass(frozen=True)
class Released:
    """A drawn programme as it is released, who attacks it, and answers of its protection."""

    programme: Programme
    attackers: list[Attacker]
    shown: Shown
    known: dict[str, Answer]


@pytest.fixture(scope="module", params=[("primary", 1), ("secondary", 2)])
def released(request) -> Released:
    name, seed = request.param
    programme, answers = Programme(SHAPES[name], seed), Answers()
    con, audiences = programme.con, audience_names(programme.engagements)
    table = protect_estimates(con, SOURCES, POLICY, audiences, answers)
    assert table.equals(programme.table)
    con.register("released", table)
    (read,) = read_release(con, SOURCES, POLICY, "released")
    attackers = attackers_of(read.grid, read.structure, read.rule)
    return Released(programme, attackers, read.shown, answers.used)


def files(programme: Programme, alike_n: int) -> dict[str, Classes]:
    """Engagement → its file, which withholds where fewer than `alike_n` said yes, or said no."""
    groups = " ".join(f"when '{fifth}' then '{to}'" for fifth, to in RULE.simd_groups.items())
    names = [measure.name for measure in MEASURES]
    found = {}
    for engagement in programme.engagements:
        rows = programme.con.execute(
            f"select stage, sex, coalesce(case simd {groups} end, ''), 'N', count(*), "
            + ", ".join(f"count(value_{name}), coalesce(sum(value_{name}), 0)" for name in names)
            + " from pupil where answered and engagement = ? group by all order by all",
            [engagement],
        ).fetchall()
        counts = np.array([row[4:] for row in rows], dtype=np.float64).T
        asked = np.tile(counts[0], (len(names), 1))
        valid, total = counts[1::2], counts[2::2]
        gone = np.minimum(total, valid - total) < alike_n
        found[engagement] = Classes(
            keys=[row[:4] for row in rows],
            indicators=names,
            asked_n=asked,
            valid_n=np.where(gone, 0.0, valid),
            total=np.where(gone, 0.0, total),
            withheld_n=np.where(gone, asked, 0.0),
            left_out_n=0,
            has_one_form=True,
        )
    return found


def holders(released: Released, alike_n: int) -> list[Holder]:
    """The archive's user and each CPP with the files that withhold so much."""
    made = files(released.programme, alike_n)
    return [
        Holder(who, made if who.is_public else {who.coalition: made[who.coalition]}, RULE)
        for who in released.attackers
    ]


def found(holder: Holder, shown: Shown, row: int, at) -> tuple[set[tuple[int, str]], set[int]]:
    """Quantities found of an indicator, and targets that are not safe."""
    findings, open_at = holder.attack(shown, row, at)
    return {(one.place, one.quantity) for one in findings}, set(open_at.tolist())


def every_target(holder: Holder, shown: Shown, row: int):
    """All, by position."""
    return holder.attacker.told_by_files(shown, row, {})


def test_what_is_safe_from_who_counts_everything_is_safe_from_who_counts_less(released):
    asked_n, left_n, found_n = 0, 0, 0
    for holder in holders(released, 1):
        for row in range(len(MEASURES)):
            shown, every = released.shown, every_target(holder, released.shown, row)
            some = holder.attacker.told_by_files(shown, row, released.known)
            assert found(holder, shown, row, some) == found(holder, shown, row, every)
            asked_n, left_n = asked_n + len(every), left_n + len(every) - len(some)
            found_n += len(found(holder, shown, row, some)[1])
    assert left_n > asked_n / 4
    assert found_n > 0


def test_what_was_safe_is_safe_from_who_has_files_that_withhold_more(released):
    less_n = 0
    for before, holder in zip(holders(released, 1), holders(released, 3), strict=True):
        for row in range(len(MEASURES)):
            shown, every = released.shown, every_target(holder, released.shown, row)
            _, open_at = found(before, shown, row, every)
            again = np.array(sorted(open_at), dtype=np.int64)
            assert found(holder, shown, row, again) == found(holder, shown, row, every)
            less_n += len(every) - len(again)
    assert less_n > 0


def test_of_another_release_everything_is_asked(released):
    holder = holders(released, 1)[1]
    other = {f"{question}x": answer for question, answer in released.known.items()}
    every = every_target(holder, released.shown, 0)
    assert len(every) > 0
    told = holder.attacker.told_by_files(released.shown, 0, other)
    assert told.tolist() == every.tolist() == list(range(len(every)))
