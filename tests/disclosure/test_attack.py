"""An attacker with linear programming finds nothing that policy.md forbids him."""

from __future__ import annotations

from functools import lru_cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.disclosure.attacker import Attack, cell_of
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import LINKED, Programme

SOME, MEAN = Measure("some"), Measure("score", statistic="mean")
DELICATE = Measure("delicate", 0.3, is_sensitive=True)
# Sizes at which something is hidden and something shown.
SHAPES = {
    "two tranches of one CPP": Shape((SOME,), clusters=(3, 3), schools=(4, 6), roll=(20, 260)),
    "two CPPs a tranche": Shape((Measure("half", 0.4),), tranches=(2,), roll=(40, 260)),
    "means": Shape((MEAN,), tranches=(2,), roll=(30, 200)),
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
def drawn(name: str, seed: int) -> Programme:
    """A programme that no test changes."""
    return Programme(SHAPES[name], seed)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", SHAPES)
def test_no_coalition_learns_too_much(name, seed):
    programme = drawn(name, seed)
    assert 0 < programme.shown_share() < 1
    assert programme.findings() == []


@settings(
    max_examples=5,
    deadline=None,
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


def one_hidden(programme: Programme, level: str, breakdown: str, kind: str) -> dict:
    """A hidden row beside shown ones of the same breakdown, whose total is shown."""
    for row in programme.released:
        if (row["geography_level"], row["breakdown"], row["status"]) != (level, breakdown, "c"):
            continue
        same = programme.pick(
            lambda r, row=row: (
                r["audience"] == row["audience"]
                and cell_of(r)[0] == cell_of(row)[0]
                and r["breakdown"] in (breakdown, "total")
                and r["indicator"] == row["indicator"]
            )
        )
        hidden = [r for r in same if r["status"] == "c"]
        if len(hidden) == 2 and {r["status_inside"] for r in hidden} == {"primary", kind}:
            return next(r for r in hidden if r["status_inside"] == kind)
    raise AssertionError("no such row in this programme; choose another seed")


@pytest.mark.parametrize("seed", [3, 4])
def test_a_hidden_neighbour_shown_by_hand_is_found(seed):
    programme = Programme(SHAPES["two tranches of one CPP"], seed)
    row = one_hidden(programme, "cpp", "stage", "secondary")
    programme.show(row)
    found = [finding for attack in programme.attacks() for finding in attack.findings()]
    place = "/".join(cell_of(row)[:2])
    assert [finding for finding in found if finding.place.startswith(place)]
    audit = programme.audit()
    assert audit.unsafe_n > 0
    assert any(cell_of(row)[0] in place or "learns that" in place for place in audit.places)


def test_a_figure_in_a_small_cell_contradicts_the_rule_that_everybody_knows():
    programme = Programme(SHAPES["rare and nearly all"], 1)
    row = next(r for r in programme.released if r["note"] == "low")
    programme.show(row)
    attack = Attack(programme.world((row["indicator"],)), programme.released, holder="t1-cpp0")
    with pytest.raises(AssertionError, match="contradict"):
        attack.findings()
