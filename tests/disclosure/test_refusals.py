"""What a school derives that knows who refused is found and mended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rcs_assets.disclosure import attack, load_policy
from rcs_assets.disclosure.answers import Attack as Outcome
from rcs_assets.disclosure.attack import attackers_of
from rcs_assets.disclosure.cells import read_cells
from rcs_assets.disclosure.grid import from_release, read_grid, surveys
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.unknowns import read_structure
from tests.disclosure.attacker import Attack, Finding, World
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import SOURCES, Programme

SMALL = Shape((Measure("some", 0.25),), clusters=(2, 3), schools=(4, 6), roll=(20, 160))
SEED = 5


class Unasked:
    """Stands for an attack that knows of no refusal."""

    def __init__(self, *_: Any) -> None:
        pass

    def attack(self, *_: Any) -> Outcome:
        return Outcome("", "", "", 0, 0, 0)


def knowing_refusals(world: World, school: str) -> World:
    """With the school's own answered numbers in the place of its public roll."""

    def told(row: Any) -> Any:
        is_own = (row["geography_level"], row["geography_code"]) == ("school", school)
        return {**row, "roll_n": row["base_n"] or 0} if is_own else row

    return replace(world, truth=[told(row) for row in world.truth])


def by_each_school(programme: Programme) -> list[Finding]:
    """What the independent attacker finds of a school's answers, who knows who refused there."""
    (measures,) = programme.measures()
    world = programme.world(measures)
    found = []
    for engagement in programme.engagements:
        for school in programme.schools(engagement):
            mine = knowing_refusals(world, school)
            reader = Attack(mine, programme.released, holder=engagement, school=school)
            found += [
                one
                for one in reader.findings()
                if one.place.startswith(f"school:{school}/") and "base" not in one.quantity
            ]
    return found


def test_no_school_learns_more_of_its_pupils_than_it_may(monkeypatch):
    monkeypatch.setattr(attack, "Refusals", Unasked)
    unasked = Programme(SMALL, SEED)
    assert by_each_school(unasked)
    monkeypatch.undo()
    readers = {f["coalition"].partition(" ")[2] for f in unasked.audit().findings.to_pylist()}
    assert readers == {"with its refusals"}
    asked = Programme(SMALL, SEED)
    assert by_each_school(asked) == []
    assert asked.audit().unsafe_n == 0
    assert 0 < asked.shown_share() <= unasked.shown_share()


def test_a_finding_stands_until_less_is_told(monkeypatch):
    """Asked by itself, as the repair does, and with all others, as the attack does."""
    monkeypatch.setattr(attack, "Refusals", Unasked)
    programme = Programme(SMALL, SEED)
    programme.register_released()
    monkeypatch.undo()
    con, policy = programme.con, load_policy()
    register_rounding(con)
    read_cells(con, policy, SOURCES)
    (survey,) = surveys(con)
    grid = read_grid(con, survey)
    shown = from_release(con, grid, "released")
    nothing = shown.only(grid.is_empty & False)
    found_n = 0
    for attacker in attackers_of(grid, read_structure(con, grid), policy.microdata):
        for finding in attacker.attack(shown, 0, {}).unsafe:
            assert finding.by_refusals
            assert attacker.finds(shown, finding)
            assert not attacker.finds(nothing, finding)
            hidden = attacker.seen_by(finding)
            assert hidden[finding.place] and set(grid.unit[hidden]) == {finding.school}
            found_n += 1
    assert found_n > 0
