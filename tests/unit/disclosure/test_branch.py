"""Branch and cut beside every whole choice of small programs: cuts, late conditions, bounds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcs_assets.disclosure import branch
from rcs_assets.disclosure.branch import Relaxed, least

N = 7
CHOICES = np.array(list(itertools.product([0.0, 1.0], repeat=N)))
# Coefficients of conditions: mostly whole, as those of tables are.
VALUES = st.sampled_from([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.4, -1.0])
CONDITIONS = st.lists(st.lists(VALUES, min_size=N, max_size=N), min_size=4, max_size=14)
LOSSES = st.lists(st.integers(1, 30), min_size=N, max_size=N)
# A cycle of seven: of each two neighbours one.
RING = [[float(i in (one, (one + 1) % N)) for i in range(N)] for one in range(N)]


def can_be_met(row: list[float]) -> bool:
    """Whether all columns at 1 keep `row * x >= 1`."""
    return sum(row) >= 1


def relaxed_of(losses: Sequence[float], rows: list[list[float]]) -> Relaxed:
    relaxed = Relaxed(np.array(losses, dtype=float), np.zeros(N), np.ones(N))
    for row in rows:
        add(relaxed, np.array(row))
    return relaxed


def add(relaxed: Relaxed, row: np.ndarray) -> None:
    index = np.flatnonzero(row)
    relaxed.add(index.astype(np.int32), row[index], 1.0)


def least_of_all(losses: Sequence[float], rows: list[list[float]]) -> float:
    """The least loss of a whole choice that keeps all conditions: each is looked at."""
    keeps = (CHOICES @ np.reshape(rows, (-1, N)).T >= 1 - 1e-9).all(axis=1)
    return float((CHOICES @ np.array(losses))[keeps].min())


def late(
    relaxed: Relaxed, rows: list[list[float]], losses: Sequence[float], found: list[float]
) -> Callable[[np.ndarray], float]:
    """An attack that tells one broken condition at a time; `found`: losses of safe choices."""

    def attack(x: np.ndarray) -> float:
        whole = (x[:N] > 0.5).astype(float)
        broken = [row for row in rows if np.dot(row, whole) < 1 - 1e-9]
        if broken:
            add(relaxed, np.array(broken[0]))
        else:
            found.append(float(np.dot(losses, whole)))
        return min(found) - 1 + 1e-4

    return attack


@settings(max_examples=60)
@given(losses=LOSSES, rows=CONDITIONS)
def test_the_least_is_found_though_conditions_come_late(
    losses: list[int], rows: list[list[float]]
) -> None:
    rows = [row for row in rows if can_be_met(row)]
    relaxed, found = relaxed_of(losses, rows[::2]), [sum(losses) + 1.0]
    assert least(relaxed, sum(losses), late(relaxed, rows, losses, found)) == np.inf
    assert min(found) == least_of_all(losses, rows)


@settings(max_examples=60)
@given(losses=LOSSES, rows=CONDITIONS)
def test_every_whole_choice_keeps_every_cut(losses: list[int], rows: list[list[float]]) -> None:
    rows = [row for row in [*RING, *rows] if can_be_met(row)]
    relaxed = relaxed_of(losses, rows)
    point = relaxed.tighten(relaxed.lower, relaxed.upper, N * 30.0)
    assert point is not None
    keeps = (CHOICES @ np.array(rows).T >= 1 - 1e-9).all(axis=1)
    for row in relaxed.rows[len(rows) :]:
        assert row.is_cut
        assert (CHOICES[keeps][:, row.index] @ row.value >= row.least - 1e-9).all()


def test_a_ring_takes_one_cut() -> None:
    """Seven halves lose 3.5; no whole choice less than 4."""
    relaxed = relaxed_of([1.0] * N, RING)
    loose = relaxed.solve(relaxed.lower, relaxed.upper)
    tight = relaxed.tighten(relaxed.lower, relaxed.upper, N * 30.0)
    assert loose is not None and tight is not None
    assert (loose.loss, tight.loss) == pytest.approx((3.5, 4))
    assert len(relaxed.rows) == N + 1


def test_idle_cuts_are_let_go_and_conditions_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "IDLE_MOST", 1)
    relaxed = relaxed_of([1.0] * N, RING)
    relaxed.tighten(relaxed.lower, relaxed.upper, N * 30.0)
    # All at 1: nothing holds this point.
    point = relaxed.solve(relaxed.upper, relaxed.upper)
    assert point is not None
    relaxed.forget(point)
    assert [row.is_cut for row in relaxed.rows] == [False] * N
    again = relaxed.solve(relaxed.lower, relaxed.upper)
    assert again is not None and again.loss == pytest.approx(3.5)


def test_an_unfinished_search_says_no_more_than_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "WORK_MOST", 1)
    monkeypatch.setattr(Relaxed, "cut", lambda _self, _point: 0)
    relaxed = relaxed_of([1.0] * N, RING)
    bound = least(relaxed, float(N), late(relaxed, RING, [1.0] * N, [N + 1.0]))
    assert bound == pytest.approx(3.5)


def test_a_search_that_ends_with_its_last_node_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "WORK_MOST", 1)
    relaxed = relaxed_of([1.0] * N, [[1.0] * N])
    assert least(relaxed, float(N), late(relaxed, [], [1.0] * N, [N + 1.0])) == np.inf


def test_a_choice_unsafe_by_less_than_the_tolerance_ends_the_search() -> None:
    """An attack that tells nothing and finds nothing safe: the choice cannot be ruled out."""
    relaxed = relaxed_of([1.0] * N, [[1.0] * N])
    assert least(relaxed, float(N), lambda _x: float(N)) == pytest.approx(1)
