"""An attacker with linear programming finds nothing that policy.md forbids him."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from tests.disclosure.attacker import SHOWN, Attack, cell_of
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import LINKED, SOURCES, Programme

SOME, MEAN = Measure("some"), Measure("score", statistic="mean")
DELICATE = Measure("delicate", 0.3, is_sensitive=True)
SEED = 1
# Sizes at which something is hidden and something shown.
SHAPES = {
    "two tranches of one CPP": Shape((SOME,), clusters=(3, 3), schools=(4, 6), roll=(20, 260)),
    "two CPPs a tranche": Shape((Measure("half", 0.4),), tranches=(2,), roll=(40, 260)),
    "means": Shape((MEAN,), tranches=(2,), roll=(30, 200)),
    "means of three answers": Shape(
        (Measure("thirds", statistic="mean", parts=3),), tranches=(2,), roll=(30, 200)
    ),
    "sensitive": Shape((DELICATE,), clusters=(2, 3), schools=(4, 6), roll=(40, 260)),
    "rare and nearly all": Shape(
        (Measure("rare", 0.02), Measure("nearly", 0.97)),
        tranches=(1,), clusters=(2, 2), schools=(4, 5), roll=(20, 260),
    ),
    "small schools": Shape((Measure("half", 0.5),), schools=(4, 6), roll=(6, 90)),
    "without clusters": Shape(
        (Measure("half", 0.5), MEAN), survey="secondary", tranches=(2, 1), clusters=(1, 1),
        schools=(3, 6), roll=(90, 280),
    ),
    "many not known": Shape((SOME,), tranches=(2,), roll=(60, 260), unknown_simd=0.2),
    "nearly all respond": Shape(
        (Measure("half", 0.5),), tranches=(1,), roll=(20, 200), response=0.95
    ),
    "linked": Shape((), clusters=(2, 3), schools=(4, 5), roll=(60, 260), linked=LINKED),
}  # fmt: skip


@lru_cache
def drawn(name: str) -> Programme:
    """A programme that no test changes."""
    return Programme(SHAPES[name], SEED)


def spoilt(name: str) -> Programme:
    """The same, for a test to change what is released."""
    programme = copy(drawn(name))
    programme.released = [dict(row) for row in programme.released]
    return programme


@pytest.mark.parametrize("name", SHAPES)
def test_no_coalition_learns_too_much(name):
    programme = drawn(name)
    assert 0 < programme.shown_share() < 1
    assert programme.findings() == []


# Of the first seeds, those whose release once told how many others a hidden cell has.
@pytest.mark.parametrize("seed", [7, 8])
def test_the_others_of_a_hidden_cell_are_not_known_exactly(seed):
    shape = Shape(
        (Measure("nearly", 0.88),), tranches=(1,), clusters=(1, 2), schools=(4, 6), roll=(60, 110)
    )
    assert Programme(shape, seed).findings() == []


def test_who_knows_the_weights_learns_no_more():
    """Where figures are thought unweighted less is hidden: both attackers find what that tells."""
    shape = Shape(
        (Measure("nearly", 0.88),), tranches=(1,), clusters=(1, 2), schools=(4, 6), roll=(60, 110)
    )
    programme = Programme(shape, 7)
    assert programme.findings() == []
    programme.con.execute("create table no_weights as from weights where false")
    as_if = replace(SOURCES, weights="no_weights")
    audiences = audience_names(programme.engagements)
    table = protect_estimates(programme.con, as_if, load_policy(), audiences)
    programme.released = table.to_pylist()
    assert programme.findings()
    assert programme.audit().unsafe_n > 0


# Of the first seeds, those whose release once left a hidden cell open by half a pupil alone.
@pytest.mark.parametrize("seed", [0, 6])
def test_a_shown_number_stands_for_whole_pupils(seed):
    shape = Shape((Measure("any", 0.25),), tranches=(1, 2), clusters=(1, 2), response=0.5)
    assert Programme(shape, seed).findings() == []


# Of the first seeds, those whose release once told how many a school without a package has.
@pytest.mark.parametrize("seed", [3, 12])
def test_what_a_school_shows_tells_its_size(seed):
    shape = Shape(
        (Measure("any", 0.4),), tranches=(1,), clusters=(1, 2), schools=(4, 6), roll=(18, 150),
        response=0.75,
    )  # fmt: skip
    assert Programme(shape, seed).findings() == []


@pytest.mark.parametrize("name", ["means", "linked", "small schools"])
def test_the_products_own_audit_finds_nothing_either(name):
    audit = drawn(name).audit()
    assert (audit.unsafe_n, audit.places) == (0, ())


@settings(
    max_examples=10,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    survey=st.sampled_from(["primary", "secondary"]),
    tranches=st.sampled_from([(1,), (1, 1), (2,)]),
    roll=st.sampled_from([(6, 120), (20, 260), (60, 200)]),
    rate=st.sampled_from([0.01, 0.05, 0.3, 0.7, 0.97]),
    response=st.sampled_from([0.5, 0.73, 0.9]),
    unknown=st.sampled_from([0.0, 0.01, 0.05, 0.2]),
    is_sensitive=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_no_coalition_learns_too_much_of_any_programme(
    survey, tranches, roll, rate, response, unknown, is_sensitive, seed
):
    shape = Shape(
        (Measure("any", rate, is_sensitive),),
        survey,
        tranches,
        clusters=(2, 2) if survey == "primary" else (1, 1),
        schools=(3, 5),
        roll=roll,
        response=response,
        unknown_simd=unknown,
    )
    assert Programme(shape, seed).findings() == []


def one_hidden(programme: Programme, breakdown: str) -> dict:
    """A school's hidden cell that is large itself: beside a small one, under a shown total."""
    for row in programme.pick(lambda r: r["geography_level"] == "school"):
        place, _, _ = cell_of(row)
        hidden = [
            r
            for r in programme.released
            if cell_of(r)[:2] in {(place, breakdown), (place, "total")}
            and r["indicator"] == row["indicator"]
            and r["status"] == "c"
        ]
        if [r["status_inside"] for r in hidden] in (
            ["primary", "secondary"],
            ["secondary", "primary"],
        ):
            return next(r for r in hidden if r["status_inside"] == "secondary")
    raise AssertionError("no such row in this programme; choose another seed")


@pytest.mark.parametrize("breakdown", ["sex", "stage"])
def test_a_neighbour_shown_by_hand_is_found_by_attacker_and_audit(breakdown):
    programme = spoilt("two tranches of one CPP")
    row = one_hidden(programme, breakdown)
    programme.show(row)
    attacks = list(programme.attacks(one_school=False))
    found = [finding for attack in attacks for finding in attack.findings()]
    school = cell_of(row)[0]
    assert {finding.place.split("/")[0] for finding in found} == {school}
    audit = programme.audit()
    # Who has files of answers beside the tables finds it, too: it is one. So is a small count that
    # is found exactly.
    found = {(f.place, f.measure, f.quantity.removeprefix("exact ")) for f in found}
    assert audit.unsafe_n == len(found) > 0
    code = f"school:{row['engagement']}/{row['geography_code']}"
    assert all(code in place and " learns too much of the " in place for place in audit.places)
    # What is learnt stands in the warehouse alone: a place in a run's record has no figure.
    learnt = audit.findings.to_pylist()
    assert len(learnt) == len(found) and {entry["unit"] for entry in learnt} == {code}
    assert all(0 <= entry["low"] <= entry["high"] for entry in learnt)
    assert not any(" lies between " in place for place in audit.places)


def test_a_small_school_is_the_rest_of_its_cluster():
    """Everything of a cluster is shown but one small school: it is what remains."""
    shape = Shape(
        (Measure("half", 0.5),), tranches=(1,), clusters=(2, 2), schools=(4, 4), roll=(15, 200)
    )
    programme = Programme(shape, 1)
    world = programme.world(("half",))
    small = [school for school, size in world.sizes.items() if size < 20]
    assert len(small) == 1
    cluster = world.cluster_of[small[0]]
    beside = [f"school:{s}" for s, c in world.cluster_of.items() if c == cluster]
    attack = Attack(world, programme.released, holder="t1-cpp0")
    assert attack.findings() == [] and programme.audit().unsafe_n == 0
    shown = programme.pick(
        lambda r: (
            r["breakdown"] == "total"
            and r["status"] == "c"
            and cell_of(r)[0] in (f"cluster:{cluster}", *beside)
        )
    )
    assert shown
    for row in shown:
        programme.show(row)
    places = {f.place for f in Attack(world, programme.released, holder="t1-cpp0").findings()}
    assert f"school:{small[0]}/total/all" in places
    assert any(f"/{small[0]}, total all" in place for place in programme.audit().places)


def test_the_audit_knows_nothing_of_how_the_rows_came_about():
    programme = spoilt("two tranches of one CPP")
    programme.show(one_hidden(programme, "sex"))
    before = programme.audit().table
    for row in programme.released:
        row["status_inside"] = "published"
    programme.released.reverse()
    assert programme.audit().table.equals(before)


def test_a_figure_in_a_small_cell_contradicts_the_rule_that_everybody_knows():
    programme = spoilt("rare and nearly all")
    row = next(r for r in programme.released if r["note"] == "low")
    programme.show(row)
    attack = Attack(programme.world((row["indicator"],)), programme.released, holder="t1-cpp0")
    with pytest.raises(AssertionError, match="contradict"):
        attack.findings()


def test_no_figure_stands_in_a_hidden_cell_of_any_audience():
    for row in drawn("means").released:
        if row["status"] in SHOWN:
            assert row["note"] is None
        else:
            assert (row["n"], row["estimate"], row["ci_low"], row["ci_high"]) == (None,) * 4


def test_what_a_cpp_package_hides_is_hidden_in_public():
    programme = drawn("rare and nearly all")
    public = {
        (r["indicator"], cell_of(r)): r["status"]
        for r in programme.pick(lambda r: r["audience"] == "public")
    }
    own = programme.pick(
        lambda r: r["audience"] != "public" and r["geography_level"] == "cpp" and r["status"] == "c"
    )
    assert own and {public[r["indicator"], cell_of(r)] for r in own} == {"c"}
