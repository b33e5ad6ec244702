"""The linear programs of the audit: exact ranges, certificates, contradictions, no bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from rcs_assets.disclosure.lp import (
    SLACK,
    Reached,
    System,
    Targets,
    _Solver,
    certify,
    reach,
    reach_each,
    settled_basis,
    with_rows,
)
from rcs_assets.disclosure.rows import Rows
from rcs_assets.errors import InputError


def make_system(rows: list[list[float]], low: list[float], high: list[float]) -> System:
    a = csr_array(np.array(rows, dtype=float))
    return System(
        lower=np.zeros(a.shape[1]),
        upper=np.full(a.shape[1], np.inf),
        starts=a.indptr.astype(np.int32),
        index=a.indices.astype(np.int32),
        value=a.data,
        row_lower=np.array(low, dtype=float),
        row_upper=np.array(high, dtype=float),
    )


def make_targets(rows: list[list[float]], low_ok: float, high_ok: float) -> Targets:
    t = csr_array(np.array(rows, dtype=float))
    return Targets(
        starts=t.indptr.astype(np.int32),
        index=t.indices.astype(np.int32),
        value=t.data,
        low_ok=np.full(t.shape[0], low_ok),
        high_ok=np.full(t.shape[0], high_ok),
    )


def test_exact_range_of_two_hidden_cells_of_a_line() -> None:
    system = make_system([[1, 1]], [12], [12])
    got = reach(system, make_targets([[1, 0], [0, 1]], 1, 10), exact=True)
    assert got.low.tolist() == [0, 0]
    assert got.high.tolist() == [12, 12]
    assert got.is_exact_low.all() and got.is_exact_high.all()


def test_a_side_without_an_end_leaves_the_other_one_to_be_asked() -> None:
    """Of x and some y, each at most 10, y - x has no least value; that it reaches 5 is found."""
    each = np.hstack([np.zeros((6, 1)), np.eye(6)])
    system = make_system(each.tolist(), [0] * 6, [10] * 6)
    targets = make_targets((each - np.eye(1, 7)).tolist(), -100, 5)
    got = reach(system, targets)
    assert np.isneginf(got.low).any() and (got.high >= 5).all()
    assert not got.unsafe(targets).any()


def test_one_hidden_cell_of_a_line_is_recovered() -> None:
    system = make_system([[1]], [4], [4])
    targets = make_targets([[1]], 1, 10)
    got = reach(system, targets)
    assert (got.low[0], got.high[0]) == (4, 4)
    assert got.unsafe(targets).tolist() == [True]


def test_rounding_as_bounds_protects() -> None:
    targets = make_targets([[1]], 1, 5)
    wide = reach(make_system([[1]], [0.5], [5.5]), targets)
    assert wide.unsafe(targets).tolist() == [False]


def test_contradicting_values_are_refused() -> None:
    system = make_system([[1, 1], [1, 1]], [4, 6], [4, 6])
    with pytest.raises(InputError, match="contradict"):
        reach(system, make_targets([[1, 0]], 1, 10))


def test_no_bound_above_is_infinite() -> None:
    system = make_system([[1, -1]], [0], [0])
    got = reach(system, make_targets([[1, 0]], 1, 10), exact=True)
    assert got.low[0] == 0
    assert got.high[0] == np.inf


def test_a_side_that_is_not_asked_is_not_searched() -> None:
    system = make_system([[1, 1]], [12], [12])
    targets = make_targets([[1, 0], [0, 1]], np.inf, -np.inf)
    assert reach(system, targets).programs_n == 0
    assert not reach(system, targets).unsafe(targets).any()


def make_random_job(seed: int) -> tuple[System, Targets]:
    """Sums of counts published with some slack around a true table."""
    rng = np.random.default_rng(seed)
    truth = rng.poisson(3, 40).astype(float)
    a = csr_array((rng.random((25, 40)) < 0.15).astype(float))
    t = csr_array((rng.random((30, 40)) < 0.05).astype(float))
    shown = a @ truth
    slack = rng.choice([0.0, 0.5, 2.5], 25)
    system = System(
        lower=np.zeros(40),
        upper=np.full(40, 50.0),
        starts=a.indptr.astype(np.int32),
        index=a.indices.astype(np.int32),
        value=a.data,
        row_lower=shown - slack,
        row_upper=shown + slack,
    )
    low_ok, high_ok = np.maximum(t @ truth - 2, 0), t @ truth + 3
    return system, Targets(
        t.indptr.astype(np.int32), t.indices.astype(np.int32), t.data, low_ok, high_ok
    )


def by_scipy(cost: np.ndarray, **program: Any) -> Any:
    """The minimum by scipy's own route, which takes more than its stubs say: arrays as bounds."""
    return linprog(cost, **program)


def independent_range(system: System, cost: np.ndarray) -> tuple[float, float]:
    """Minimum and maximum by scipy's own route to a solver, each from a cold start."""
    a = csr_array((system.value, system.index, system.starts), shape=(25, 40)).toarray()
    ends = []
    for sign in (1, -1):
        got = by_scipy(
            sign * cost,
            A_ub=np.vstack([a, -a]),
            b_ub=np.concatenate([system.row_upper, -system.row_lower]),
            bounds=np.column_stack([system.lower, system.upper]),
        )
        ends.append(sign * got.fun)
    return ends[0], ends[1]


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_and_ranges_agree_with_scipy(seed: int) -> None:
    system, targets = make_random_job(seed)
    exact, quick = reach(system, targets, exact=True), reach(system, targets)
    t = csr_array((targets.value, targets.index, targets.starts), shape=(30, 40)).toarray()
    truth = np.array([independent_range(system, row) for row in t])
    assert np.allclose(exact.low, truth[:, 0], atol=1e-5)
    assert np.allclose(exact.high, truth[:, 1], atol=1e-5)
    is_unsafe = (truth[:, 0] > targets.low_ok + SLACK) | (truth[:, 1] < targets.high_ok - SLACK)
    assert quick.unsafe(targets).tolist() == is_unsafe.tolist()
    assert 0 < is_unsafe.sum() < 30, "both verdicts must be met for the test to mean anything"


def test_one_of_two_sides_makes_a_target_of_either_safe() -> None:
    """Against exact ranges, each on its own; the others of the same search need both sides."""
    either, helped_n = np.arange(30) % 2 == 0, 0
    for seed in range(8):
        system, targets = make_random_job(seed)
        # How exactly a figure may be known: to within one of a value, on one side.
        middle = (targets.low_ok + targets.high_ok) / 2
        targets = replace(targets, low_ok=middle - 1, high_ok=middle + 1, either=either)
        exact, quick = reach(system, targets, exact=True), reach(system, targets)
        low, high = exact.low > middle - 1 + SLACK, exact.high < middle + 1 - SLACK
        expected = np.where(either, low & high, low | high)
        assert quick.unsafe(targets).tolist() == expected.tolist()
        assert certify(system, targets).unsafe(targets)[expected].all()
        helped_n += int((expected != (low | high)).sum())
    assert helped_n > 10, "one side must have been enough for the test to mean anything"


@pytest.mark.parametrize("seed", range(4))
def test_a_basis_of_the_same_sums_changes_no_verdict(seed: int) -> None:
    """Variables that stand at a value and rows that were added since do not spoil it."""
    system, targets = make_random_job(seed)
    rng = np.random.default_rng(seed)
    truth = rng.poisson(3, 40).astype(float)
    is_held = rng.random(40) < 0.2
    more = csr_array((rng.random((6, 40)) < 0.1).astype(float))
    wide = replace(system, row_lower=np.full(25, -np.inf), row_upper=np.full(25, 400.0))
    near = with_rows(
        replace(wide, basis=settled_basis(wide)),
        Rows.of(more),
        more @ truth - 3,
        more @ truth + 3,
    )
    lower, upper = (np.where(is_held, truth, end) for end in (near.lower, near.upper))
    near = replace(near, lower=lower, upper=upper)
    assert near.basis is not None and len(near.basis.rows) == 31
    found, expected = reach(near, targets), reach(replace(near, basis=None), targets)
    assert found.unsafe(targets).tolist() == expected.unsafe(targets).tolist()
    assert 0 < found.unsafe(targets).sum() < 30
    exact, again = (reach(s, targets, exact=True) for s in (near, replace(near, basis=None)))
    assert np.allclose(exact.low, again.low) and np.allclose(exact.high, again.high)


def same(a: Reached, b: Reached) -> bool:
    return (
        a.low.tolist() == b.low.tolist()
        and a.high.tolist() == b.high.tolist()
        and a.programs_n == b.programs_n
    )


def test_workers_change_nothing() -> None:
    jobs = [make_random_job(seed) for seed in range(4)]
    alone, together = reach_each(jobs), reach_each(jobs, workers=2)
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def make_council(seed: int) -> tuple[System, Targets]:
    """Twelve schools of six counts with sums of their own, and long rows over all of them."""
    rng = np.random.default_rng(seed)
    schools_n, leaves_n = 12, 6
    truth = rng.poisson(4, schools_n * leaves_n).astype(float)
    school = np.kron(np.eye(schools_n), np.ones(leaves_n))
    pair = np.kron(np.eye(schools_n), [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]])
    council = np.ones((1, schools_n * leaves_n))
    a = csr_array(np.vstack([school, pair[rng.random(len(pair)) < 0.5], council]))
    slack = rng.choice([0.0, 0.5, 2.0], a.shape[0])
    is_public = np.arange(len(truth)) % 10 == 0
    system = System(
        lower=np.where(is_public, truth, 0.0),
        upper=np.where(is_public, truth, 30.0),
        starts=a.indptr.astype(np.int32),
        index=a.indices.astype(np.int32),
        value=a.data,
        row_lower=a @ truth - slack,
        row_upper=a @ truth + slack,
    )
    t = csr_array(np.vstack([np.eye(len(truth)), pair]))
    return system, Targets(
        t.indptr.astype(np.int32),
        t.indices.astype(np.int32),
        t.data,
        np.maximum(t @ truth - 3, 0),
        t @ truth + 4,
    )


@pytest.mark.parametrize("seed", range(4))
def test_blocks_and_long_rows_agree_with_one_program_a_side(seed: int) -> None:
    system, targets = make_council(seed)
    quick, exact = reach(system, targets), reach(system, targets, exact=True)
    verdict = exact.unsafe(targets)
    assert quick.unsafe(targets).tolist() == verdict.tolist()
    assert 0 < verdict.sum() < len(verdict), "both verdicts must be met"
    # What is called unsafe comes with its true minimum and maximum.
    too_high, too_low = quick.low > targets.low_ok + SLACK, quick.high < targets.high_ok - SLACK
    assert np.allclose(quick.low[too_high], exact.low[too_high], atol=1e-5)
    assert np.allclose(quick.high[too_low], exact.high[too_low], atol=1e-5)
    assert quick.programs_n < exact.programs_n


def fitting(system: System) -> np.ndarray:
    """A point of the system that is no corner of it, like a true table."""
    a = system.rows.matrix().toarray()
    rng = np.random.default_rng(3)
    corners = []
    for _ in range(4):
        got = by_scipy(
            rng.normal(size=a.shape[1]),
            A_ub=np.vstack([a, -a]),
            b_ub=np.concatenate([system.row_upper, -system.row_lower]),
            bounds=np.column_stack([system.lower, system.upper]),
        )
        corners.append(got.x)
    return np.mean(corners, axis=0)


@pytest.mark.parametrize("make", [make_random_job, make_council])
@pytest.mark.parametrize("seed", range(4))
def test_where_the_search_starts_changes_no_answer(
    make: Callable[[int], tuple[System, Targets]], seed: int
) -> None:
    system, targets = make(seed)
    started = replace(system, start=fitting(system))
    cold, warm = reach(system, targets), reach(started, targets)
    assert warm.unsafe(targets).tolist() == cold.unsafe(targets).tolist()
    exact, again = reach(system, targets, exact=True), reach(started, targets, exact=True)
    assert np.allclose(exact.low, again.low, atol=1e-5)
    assert np.allclose(exact.high, again.high, atol=1e-5)


def test_a_start_that_does_not_fit_is_not_used() -> None:
    system = make_system([[1, 1]], [12], [12])
    targets = make_targets([[1, 0], [0, 1]], 1, 10)
    got = reach(replace(system, start=np.array([20.0, 1.0])), targets, exact=True)
    assert (got.low.tolist(), got.high.tolist()) == ([0, 0], [12, 12])


def test_values_that_contradict_each_other_are_refused_from_any_start() -> None:
    system = make_system([[1, 1], [1, 1]], [4, 6], [4, 6])
    with pytest.raises(InputError, match="contradict"):
        reach(replace(system, start=np.array([2.0, 2.0])), make_targets([[1, 0]], 1, 10))


def test_parts_without_limit_leave_the_others_exact() -> None:
    system = make_system([[1, -1, 0, 0], [0, 0, 1, 1]], [0, 5], [0, 5])
    got = reach(system, make_targets(np.eye(4).tolist(), 0, 0), exact=True)
    assert got.low.tolist() == [0, 0, 0, 0]
    assert got.high.tolist() == [np.inf, np.inf, 5, 5]


def test_targets_of_known_counts_need_no_program() -> None:
    system = replace(make_system([[1, 1]], [7], [7]), lower=np.array([3.0, 4.0]))
    system = replace(system, upper=system.lower)
    targets = make_targets([[1, 0], [1, 1]], 1, 10)
    got = reach(system, targets)
    assert (got.low.tolist(), got.high.tolist()) == ([3, 7], [3, 7])
    assert got.unsafe(targets).all()
    assert got.programs_n == 0


def test_known_counts_that_contradict_a_row_are_refused() -> None:
    system = replace(make_system([[1, 1]], [9], [9]), lower=np.array([3.0, 4.0]))
    with pytest.raises(InputError, match="contradict"):
        reach(replace(system, upper=system.lower), make_targets([[1, 0]], 1, 10))


def test_a_program_in_which_the_primal_method_loses_its_way_is_solved() -> None:
    """Met in a release after an engagement's retention had ended: HiGHS said `kUnknown`."""
    with np.load(Path(__file__).with_name("lost_program.npz")) as held:
        arrays = dict(held)
    cost = arrays.pop("cost")
    system = System(**arrays)
    solver = _Solver(system)
    x = solver.minimise(cost)
    assert solver.programs_n == 2, "the primal method does not lose its way any more: drop this"
    a = csr_array((system.value, system.index, system.starts), (len(system.row_lower), len(cost)))
    limits = np.r_[system.row_upper, -system.row_lower]
    has_limit = np.isfinite(limits)
    expected = by_scipy(
        cost,
        A_ub=csr_array(vstack([a, -a]))[has_limit],
        b_ub=limits[has_limit],
        bounds=np.c_[system.lower, system.upper],
    )
    assert x is not None
    assert cost @ x == pytest.approx(expected.fun)
