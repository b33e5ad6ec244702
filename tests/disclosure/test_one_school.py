"""What one school can derive beside the public package is found and mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from rcs_assets.disclosure import attack, load_policy
from rcs_assets.disclosure.answers import Attack as Outcome
from rcs_assets.disclosure.attack import attackers_of
from rcs_assets.disclosure.cells import read_cells
from rcs_assets.disclosure.grid import from_release, read_grid, surveys
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.unknowns import read_structure
from tests.disclosure.attacker import Attack
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import SOURCES, Programme

# One school makes up so much of its CPP that its own figures say what the public one hides.
ONE_LARGE = Shape(
    (Measure("any", 0.05),), tranches=(1, 2), clusters=(1, 1), schools=(2, 4), roll=(60, 200),
    unknown_simd=0.2,
)  # fmt: skip
ONE_LARGE_SEED = 67
SPOILT = {
    "shares": (
        Shape((Measure("some", 0.25),), clusters=(1, 2), schools=(3, 5), roll=(20, 260)), 2,
    ),
    "without clusters": (
        Shape((Measure("some"),), "secondary", (2,), (1, 1), schools=(3, 4), roll=(60, 200)), 3,
    ),
    "means": (
        Shape(
            (Measure("score", statistic="mean"),), clusters=(1, 2), schools=(3, 5), roll=(20, 260)
        ),
        1,
    ),
}  # fmt: skip
CELL = ("unit", "breakdown", "group", "quantity")
# Names of the same things in the audit's findings and in the attacker's.
NAMES = {"all:all": "all", "not known": "?"}


@dataclass(frozen=True)
class NoSchool:
    """Stands for an attack that asks no school."""

    holder: Any
    public: Any

    def attack(self, *_: Any) -> Outcome:
        return Outcome("", "", "", 0, 0, 0)


def by_each_school(programme: Programme) -> dict[tuple[str, ...], tuple[float, float]]:
    """What the independent attacker finds from each school: school and quantity → its range."""
    found: dict[tuple[str, ...], tuple[float, float]] = {}
    for measures in programme.measures():
        world = programme.world(measures)
        for engagement in programme.engagements:
            for school in programme.schools(engagement):
                attacker = Attack(world, programme.released, holder=engagement, school=school)
                for one in attacker.findings():
                    unit, breakdown, group = (NAMES.get(x, x) for x in one.place.split("/"))
                    key = (school, unit, breakdown, group, one.quantity.removeprefix("exact "))
                    found[key] = (one.lower, one.upper)
    return found


def test_no_school_learns_more_of_its_cpp_than_the_public_may(monkeypatch):
    monkeypatch.setattr(attack, "OneSchool", NoSchool)
    unasked = Programme(ONE_LARGE, ONE_LARGE_SEED)
    assert by_each_school(unasked)
    monkeypatch.undo()
    readers = {f["coalition"].partition(":")[0] for f in unasked.audit().findings.to_pylist()}
    assert readers == {"school"}
    asked = Programme(ONE_LARGE, ONE_LARGE_SEED)
    assert by_each_school(asked) == {}
    assert asked.audit().unsafe_n == 0
    assert 0 < asked.shown_share() <= unasked.shown_share()


def spoilt(name: str) -> Programme:
    """A programme of which cells of one CPP that were hidden beside small ones are shown."""
    programme = Programme(*SPOILT[name])
    hidden = programme.pick(
        lambda row: (
            (row["audience"], row["status_inside"], row["geography_level"], row["engagement"])
            == ("public", "secondary", "cpp", programme.engagements[0])
        )
    )
    for row in hidden:
        programme.show(row)
    return programme


@pytest.mark.parametrize("name", SPOILT)
def test_a_finding_stands_until_less_is_told(name):
    """Asked by itself, as the repair does, and with all others, as the attack does."""
    programme = spoilt(name)
    programme.register_released()
    con, policy = programme.con, load_policy()
    register_rounding(con)
    read_cells(con, policy, SOURCES)
    assert surveys(con) == [programme.shape.survey]
    grid = read_grid(con, programme.shape.survey)
    shown = from_release(con, grid, "released")
    nothing = shown.only(grid.is_empty & False)
    kinds = set()
    for attacker in attackers_of(grid, read_structure(con, grid), policy.microdata):
        for row in range(len(grid.indicators)):
            for finding in attacker.attack(shown, row, {}).unsafe:
                assert attacker.finds(shown, finding)
                assert not attacker.finds(nothing, finding)
                kinds.add("school" if finding.school else "files" if finding.by_files else "tables")
    assert {"school", "tables"} <= kinds and (name != "shares" or "files" in kinds)


@pytest.mark.parametrize("name", SPOILT)
def test_a_school_finds_what_an_independent_attacker_finds(name):
    programme = spoilt(name)
    first = programme.engagements[0]
    mine = {
        (f["coalition"].rpartition("/")[2], *(f[name] for name in CELL)): (f["low"], f["high"])
        for f in programme.audit().findings.to_pylist()
        if f["coalition"].startswith("school:")
    }
    theirs = by_each_school(programme)
    with_package = {school for e in programme.engagements for school in programme.schools(e)}
    common = [key for key in mine if key[0] in with_package]
    assert common
    for key in common:
        (low, high), (lowest, highest) = mine[key], theirs[key]
        # A side that tells too much is exact; the other one is searched until it is enough.
        assert min(abs(low - lowest), abs(high - highest)) == pytest.approx(0, abs=0.01)
    of_home = {key[1:] for key in theirs if key[1] == f"cpp:{first}"}
    assert of_home
    assert of_home <= {key[1:] for key in mine}
