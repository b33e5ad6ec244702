"""Linear programs of the disclosure audit: how far a quantity can move given a release.

Belongs here: a system of bounded sums in sparse arrays, the targets whose range is asked,
and the search for their lowest and highest feasible values (HiGHS, warm starts). Does not
belong here: which sums a release fixes, what counts as safe (`attack.py`, `tabular.py`).

An audit of safety needs a certificate a target, not a minimum: any feasible point on which
a target is low enough proves that the attacker cannot rule it out. One program that pushes
many targets at once certifies most of them; only what no shared point certifies has a
program of its own, so "unsafe" is always the answer of an exact minimum or maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from rcs_assets.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

# Feasibility tolerance of the solver; a value is compared with ten times that.
TOLERANCE = 1e-7
SLACK = 1e-6
# Shared programs stop once one certifies fewer targets than this share of those open.
WORTH_SHARE = 0.05
# Unchanging seed of the random directions: the same system gives the same programs.
SEED = 2026


@dataclass(frozen=True)
class System:
    """`lower <= x <= upper` and `row_lower <= A x <= row_upper`, A in CSR arrays.

    `starts` has one entry more than A has rows; `index` holds columns, `value` their
    coefficients. Infinite bounds are allowed. What an attacker knows of x.
    """

    lower: FloatArray
    upper: FloatArray
    starts: IntArray
    index: IntArray
    value: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray


@dataclass(frozen=True)
class Targets:
    """Quantities `t = T x` (CSR arrays over the system's columns) and what makes them safe.

    A target is safe if its minimum is at most `low_ok` and its maximum at least `high_ok`.
    `low_ok = inf` or `high_ok = -inf`: that side is not asked.
    """

    starts: IntArray
    index: IntArray
    value: FloatArray
    low_ok: FloatArray
    high_ok: FloatArray


@dataclass(frozen=True)
class Reached:
    """Lowest and highest values found of each target; each one belongs to a feasible x.

    Where `is_exact_low` (`is_exact_high`) the value is the minimum (maximum); elsewhere it
    is enough for safety, or nobody asked and it is only what other programs passed by.
    `programs_n`: linear programs solved.
    """

    low: FloatArray
    high: FloatArray
    is_exact_low: BoolArray
    is_exact_high: BoolArray
    programs_n: int

    def unsafe(self, targets: Targets) -> BoolArray:
        """Targets whose exact minimum or maximum says that the attacker learns too much."""
        return (self.low > targets.low_ok + SLACK) | (self.high < targets.high_ok - SLACK)


def reach(system: System, targets: Targets, *, exact: bool = False) -> Reached:
    """How low and how high each target can be, as far as its safety asks.

    With `exact` every asked side is a true minimum or maximum; without, the search ends
    at the first feasible value that is safe. Deterministic: one thread, fixed order.

    Raises:
        InputError: no x fits the system; the truth always does, so the release
            contradicts itself or was written down wrongly.
    """
    search = _Search(system, targets, exact=exact)
    if search.open_sides() > 0:
        search.share()
        search.settle()
    return search.reached()


def reach_each(
    jobs: Sequence[tuple[System, Targets]], *, exact: bool = False, workers: int = 1
) -> list[Reached]:
    """`reach` of many independent systems, in the order given.

    Threads suffice: HiGHS lets go of Python's lock while it solves.
    """

    def work(job: tuple[System, Targets]) -> Reached:
        return reach(*job, exact=exact)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(work, jobs))


class _Search:
    """The state of one search: what is reached so far, and a solver kept warm."""

    def __init__(self, system: System, targets: Targets, *, exact: bool) -> None:
        self.t = csr_array(
            (targets.value, targets.index, targets.starts),
            shape=(len(targets.low_ok), len(system.lower)),
        )
        self.solver = _Solver(system)
        self.low = np.full(len(targets.low_ok), np.inf)
        self.high = np.full(len(targets.low_ok), -np.inf)
        least, most = _box(self.t, system.lower, system.upper)
        # Nothing lies below what the bounds of the variables allow: reaching that is exact.
        self.least, self.most = least, most
        low_ok, high_ok = targets.low_ok, targets.high_ok
        self.low_ok = np.where(np.isposinf(low_ok), np.inf, least) if exact else low_ok
        self.high_ok = np.where(np.isneginf(high_ok), -np.inf, most) if exact else high_ok
        self.is_exact_low = np.zeros(len(self.low), dtype=bool)
        self.is_exact_high = np.zeros(len(self.low), dtype=bool)

    def open_low(self) -> BoolArray:
        """Targets whose low side is neither certified nor settled."""
        return (self.low > self.low_ok + SLACK) & ~self.is_exact_low

    def open_high(self) -> BoolArray:
        """Targets whose high side is neither certified nor settled."""
        return (self.high < self.high_ok - SLACK) & ~self.is_exact_high

    def open_sides(self) -> int:
        return int(self.open_low().sum() + self.open_high().sum())

    def harvest(self, x: FloatArray | None) -> None:
        """Take from a feasible point what it certifies for every target."""
        if x is None:
            return
        t = _product(self.t, x)
        np.minimum(self.low, t, out=self.low)
        np.maximum(self.high, t, out=self.high)

    def share(self) -> None:
        """Programs that push all open targets at once: down, up, then in random directions."""
        everything = np.ones(len(self.low))
        self.harvest(self.solver.minimise(_product(self.t.T, everything)))
        self.harvest(self.solver.minimise(_product(self.t.T, -everything)))
        rng = np.random.default_rng(SEED)
        while (before := self.open_sides()) > 1:
            wish = rng.choice([-1.0, 1.0], len(self.low))
            low, high = self.open_low(), self.open_high()
            # A target open on one side only is pushed to that side.
            wish = np.where(low & ~high, 1.0, np.where(high & ~low, -1.0, wish)) * (low | high)
            self.harvest(self.solver.minimise(_product(self.t.T, wish)))
            if before - self.open_sides() < max(1.0, WORTH_SHARE * before):
                return

    def settle(self) -> None:
        """A program of its own for each side that is still open."""
        for target in np.flatnonzero(self.open_low() | self.open_high()).tolist():
            if self.open_low()[target]:
                self.low[target] = self._extreme(target, 1.0)
                self.is_exact_low[target] = True
            if self.open_high()[target]:
                self.high[target] = -self._extreme(target, -1.0)
                self.is_exact_high[target] = True

    def _extreme(self, target: int, sign: float) -> float:
        row = self.t[[target]]
        cost = np.zeros(self.t.shape[1])
        cost[row.indices] = sign * row.data
        x = self.solver.minimise(cost)
        if x is None:
            return -np.inf
        self.harvest(x)
        return float(cost @ x)

    def reached(self) -> Reached:
        return Reached(
            low=self.low,
            high=self.high,
            is_exact_low=self.is_exact_low | (self.low <= self.least + SLACK),
            is_exact_high=self.is_exact_high | (self.high >= self.most - SLACK),
            programs_n=self.solver.programs_n,
        )


class _Solver:
    """One HiGHS model whose costs change; each solve starts from the last basis."""

    def __init__(self, system: System) -> None:
        self.columns = np.arange(len(system.lower), dtype=np.int32)
        self.highs = highspy.Highs()  # type: ignore[no-untyped-call]
        self.programs_n = 0
        options: dict[str, bool | int | float | str] = {
            "output_flag": False,
            "threads": 1,
            "parallel": "off",
            "presolve": "off",
            "solver": "simplex",
            "simplex_strategy": 4,
            "primal_feasibility_tolerance": TOLERANCE,
            "dual_feasibility_tolerance": TOLERANCE,
            "random_seed": 0,
        }
        for name, value in options.items():
            self.highs.setOptionValue(name, value)
        self.highs.passModel(_model(system))

    def minimise(self, cost: FloatArray) -> FloatArray | None:
        """The x of least cost; None where the cost has no lower bound."""
        self.highs.changeColsCost(len(cost), self.columns, cost)
        self.highs.run()
        self.programs_n += 1
        status = self.highs.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return np.asarray(self.highs.getSolution().col_value)
        if status == highspy.HighsModelStatus.kUnbounded:
            return None
        if status == highspy.HighsModelStatus.kInfeasible:
            raise InputError(
                "No table fits what the release shows",
                where=f"a system of {len(cost)} unknowns",
                why="the true table always fits; so two published values contradict each other",
                fix="look for a rounding bound that is tighter than the rounding itself",
            )
        raise InputError(f"The audit's linear program ended as {status.name}")


def _model(system: System) -> highspy.HighsLp:
    """The system as HiGHS holds it, without an objective."""
    model = highspy.HighsLp()
    model.num_col_ = len(system.lower)
    model.num_row_ = len(system.row_lower)
    model.col_cost_ = np.zeros(len(system.lower))
    model.col_lower_ = system.lower
    model.col_upper_ = system.upper
    model.row_lower_ = system.row_lower
    model.row_upper_ = system.row_upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = system.starts
    model.a_matrix_.index_ = system.index
    model.a_matrix_.value_ = system.value
    return model


def _box(t: csr_array, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least and most that `T x` can be given the bounds of x alone."""
    up, down = csr_array(t.maximum(0)), csr_array(t.minimum(0))
    # A stored zero times an infinite bound would be no number.
    up.eliminate_zeros()
    down.eliminate_zeros()
    return (
        _product(up, lower) + _product(down, upper),
        _product(up, upper) + _product(down, lower),
    )


def _product(matrix: csr_array | csc_array, x: FloatArray) -> FloatArray:
    """Matrix times vector (scipy's stubs do not say that this is an array)."""
    return np.asarray(matrix @ x, dtype=np.float64)
