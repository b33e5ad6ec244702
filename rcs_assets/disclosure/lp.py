"""Linear programs of the disclosure audit: how far a quantity can move given a release.

Belongs here: a system of bounded sums in sparse arrays, the targets whose range is asked,
and the search for their lowest and highest feasible values (HiGHS, warm starts). Does not
belong here: which sums a release fixes, what counts as safe (`attack.py`, `tabular.py`).

An audit of safety needs a certificate a target, not a minimum: any feasible point on which
a target is low enough proves that the attacker cannot rule it out. So three steps, each for
what the one before left open:

1. *Share*: programs that push every open target at once, each to a random side, then ever
   fewer of them, which then stand in each other's way less; the point found certifies many.
2. *Bound*: without the few long rows (margins of a council) the system falls into blocks
   (schools). What a block alone forbids, the whole forbids: one program asks one target of
   every block.
3. *Settle*: programs that push one target of every block, until each reaches what is asked
   or what its block allows; then one program a target.

"Unsafe" is always the answer of an exact minimum or maximum; who only wants points asks for
the first step alone (`certify`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from rcs_assets.disclosure.rows import BoolArray, FloatArray, IntArray, Rows
from rcs_assets.errors import InputError

# Feasibility tolerance of the solver; a value is compared with ten times that.
TOLERANCE = 1e-7
SLACK = 1e-6
# HiGHS loses its way with bounds from about 2^30 on (it finds no end where there is one): amounts
# beyond are counted in larger units.
MOST = 2.0**27
# Shared programs stop once one certifies fewer targets than this share of those open.
WORTH_SHARE = 0.05
# Of the open targets half are pushed, then a quarter and so on: a part for as long as a program
# certifies as many as this.
WORTH_SIDES = 2
# The first programs go far: the dual method with perturbed costs. From then on a point is near
# what the next program asks, and the primal method goes on from it (benchmarks/disclosure.py).
FAR_N = 3
# Values of HiGHS's simplex_strategy.
DUAL, PRIMAL = 1, 4
PERTURBATION = "dual_simplex_cost_perturbation_multiplier"
# One thread and a fixed seed: the same system has the same answer on every machine.
OPTIONS: dict[str, bool | int | float | str] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "presolve": "off",
    "solver": "simplex",
    "simplex_strategy": DUAL,
    "primal_feasibility_tolerance": TOLERANCE,
    "dual_feasibility_tolerance": TOLERANCE,
    "random_seed": 0,
}
SETTLED = (
    highspy.HighsModelStatus.kOptimal,
    highspy.HighsModelStatus.kUnbounded,
    highspy.HighsModelStatus.kInfeasible,
)
# With fewer open sides than this share of the unknowns, little moves from one program to the
# next: the primal method then starts closer than the dual.
FEW_OPEN = 0.15
# A row is long, and couples blocks, if it holds more than 1 in 12 columns (and over 32).
LONG_PART, LONG_LEAST = 12, 32
# Unchanging seed of the random directions: the same system gives the same programs.
SEED = 2026


@dataclass(frozen=True)
class Basis:
    """Where a search has come to: the status of every column and row, as HiGHS names them."""

    columns: list[highspy.HighsBasisStatus]
    rows: list[highspy.HighsBasisStatus]

    def of_highs(self) -> highspy.HighsBasis:
        """The same for HiGHS."""
        basis = highspy.HighsBasis()
        basis.col_status, basis.row_status, basis.valid = self.columns, self.rows, True
        return basis

    def with_rows(self, rows_n: int) -> Basis:
        """Of the system with so many further rows."""
        return replace(self, rows=[*self.rows, *[highspy.HighsBasisStatus.kBasic] * rows_n])

    def widened(self, column: NDArray[np.integer], wider: System) -> Basis:
        """Of the system widened (`widened`): its other columns are at their least."""
        columns = [highspy.HighsBasisStatus.kLower] * len(wider.lower)
        for at, status in zip(column.tolist(), self.columns, strict=True):
            columns[at] = status
        return replace(self, columns=columns).with_rows(len(wider.row_lower) - len(self.rows))


@dataclass(frozen=True)
class System:
    """`lower <= x <= upper` and `row_lower <= A x <= row_upper`, A in CSR arrays.

    `starts` has one entry more than A has rows; `index` holds columns, `value` their
    coefficients. Infinite bounds are allowed. What an attacker knows of x.

    `start`: an x from which few targets are sooner reached than from nothing. It speeds up the
    search and changes no answer: which targets are safe does not depend on it, and one that
    does not fit is not used. `basis`: of a system of the same sums with other bounds, in the
    same manner.
    """

    lower: FloatArray
    upper: FloatArray
    starts: IntArray
    index: IntArray
    value: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    start: FloatArray | None = None
    basis: Basis | None = None

    @cached_property
    def rows(self) -> Rows:
        """A."""
        return Rows(self.starts, self.index, self.value, len(self.lower))

    def unit(self) -> float:
        """A power of two in which no bound is above `MOST`: 1 unless amounts are very large."""
        bounds = np.concatenate([self.lower, self.upper, self.row_lower, self.row_upper])
        most = np.abs(bounds[np.isfinite(bounds)]).max(initial=0.0)
        return float(2.0 ** max(np.ceil(np.log2(most / MOST)), 0.0)) if most > MOST else 1.0

    def counted_in(self, unit: float) -> System:
        """The same in other units: exact, as they are a power of two."""
        return replace(
            self,
            lower=self.lower / unit,
            upper=self.upper / unit,
            row_lower=self.row_lower / unit,
            row_upper=self.row_upper / unit,
            start=None if self.start is None else self.start / unit,
        )


@dataclass(frozen=True)
class Targets:
    """Quantities `t = T x` (CSR arrays over the system's columns) and what makes them safe.

    A target is safe if its minimum is at most `low_ok` and its maximum at least `high_ok`.
    `low_ok = inf` or `high_ok = -inf`: that side is not asked. One of `either` is safe if it has
    one of the two: a figure is not known exactly if it can be larger, or smaller.
    """

    starts: IntArray
    index: IntArray
    value: FloatArray
    low_ok: FloatArray
    high_ok: FloatArray
    either: BoolArray | None = None

    def is_either(self) -> BoolArray:
        """Targets that one side makes safe."""
        none: BoolArray = np.zeros(len(self.low_ok), dtype=bool)
        return none if self.either is None else self.either

    def rows(self, columns_n: int) -> Rows:
        """T, over so many columns."""
        return Rows(self.starts, self.index, self.value, columns_n)


@dataclass(frozen=True)
class Reached:
    """Lowest and highest values found of each target.

    Each belongs to a feasible x. Where `is_exact_low` (`is_exact_high`) it is the minimum
    (maximum), as it is wherever `reach` finds a target not safe; elsewhere it is low (high)
    enough, or, after `certify`, just the best point found, which proves no target unsafe.
    Infinite of the wrong sign where nobody asked. `programs_n`: linear programs solved.
    `slack`: what lies closer together is the same, given the noise of the arithmetic.
    """

    low: FloatArray
    high: FloatArray
    is_exact_low: BoolArray
    is_exact_high: BoolArray
    programs_n: int
    slack: float = SLACK

    def counted_in(self, unit: float) -> Reached:
        """The same in other units."""
        return replace(self, low=self.low / unit, high=self.high / unit, slack=self.slack / unit)

    def some(self, at: NDArray[np.int64]) -> Reached:
        """Of some targets."""
        return Reached(
            self.low[at],
            self.high[at],
            self.is_exact_low[at],
            self.is_exact_high[at],
            self.programs_n,
            self.slack,
        )

    def unsafe(self, targets: Targets) -> BoolArray:
        """Targets of which the attacker learns too much."""
        low = self.low > targets.low_ok + self.slack
        high = self.high < targets.high_ok - self.slack
        return np.where(targets.is_either(), low & high, low | high)


def reach(system: System, targets: Targets, *, exact: bool = False) -> Reached:
    """How low and how high each target can be, as far as its safety asks.

    With `exact` every asked side is a true minimum or maximum; without, the search ends
    at the first feasible value that is safe. Deterministic: one thread, fixed order.

    Raises:
        InputError: no x fits the system; the truth always does, so the release
            contradicts itself or was written down wrongly.
    """
    unit = system.unit()
    if unit > 1:
        less = replace(targets, low_ok=targets.low_ok / unit, high_ok=targets.high_ok / unit)
        return reach(system.counted_in(unit), less, exact=exact).counted_in(1 / unit)
    smaller, asked, offset = system, targets, np.zeros(len(targets.low_ok))
    if system.basis is None:
        smaller, asked, offset = without_fixed(system, targets)
    if exact:
        found = _reach_exactly(smaller, asked)
    else:
        search = _Search(smaller, asked, exact=False)
        search.share()
        search.share_thinly()
        if search.is_open().any():
            search.use_blocks(smaller, asked)
        search.settle()
        found = search.reached()
    return replace(found, low=found.low + offset, high=found.high + offset)


def certify(system: System, targets: Targets) -> Reached:
    """Points that make targets safe, for as long as many are found at once.

    A target that none of them makes safe may be safe still: nothing is said of it.

    Raises:
        InputError: as `reach`.
    """
    smaller, asked, offset = without_fixed(system, targets)
    search = _Search(smaller, asked, exact=False)
    search.share()
    search.share_thinly()
    found = search.reached()
    return replace(found, low=found.low + offset, high=found.high + offset)


def settled_basis(system: System) -> Basis:
    """Of some x that fits a system: for searches in systems of the same sums."""
    solver = _Solver(system)
    if solver.minimise(np.zeros(len(system.lower))) is None:
        raise _contradiction(len(system.lower))
    basis = solver.highs.getBasis()
    return Basis(list(basis.col_status), list(basis.row_status))


def with_rows(system: System, rows: Rows, low: FloatArray, high: FloatArray) -> System:
    """The system with further rows; its basis is one of the new system, too."""
    basis = None if system.basis is None else system.basis.with_rows(len(rows))
    a = Rows.stacked([system.rows, rows])
    return System(
        lower=system.lower,
        upper=system.upper,
        starts=a.starts,
        index=a.index,
        value=a.value,
        row_lower=np.r_[system.row_lower, low],
        row_upper=np.r_[system.row_upper, high],
        basis=basis,
    )


def widened(system: System, column: NDArray[np.integer], wider: System) -> System:
    """What is known of some columns of a wider system, and what that one says besides.

    Args:
        system: the bounds of its columns are left to the wider one.
        column: where its columns are there.
        wider: with every column.
    """
    a = Rows.stacked([system.rows.moved(column, len(wider.lower)), wider.rows])
    return replace(
        wider,
        starts=a.starts,
        index=a.index,
        value=a.value,
        row_lower=np.r_[system.row_lower, wider.row_lower],
        row_upper=np.r_[system.row_upper, wider.row_upper],
    )


def load(system: System) -> highspy.Highs:
    """A solver that holds a system, without an objective; one thread, a fixed seed."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in OPTIONS.items():
        highs.setOptionValue(name, value)
    pass_model(highs, system)
    return highs


def reach_each(
    jobs: Sequence[tuple[System, Targets]], *, exact: bool = False, workers: int = 1
) -> list[Reached]:
    """`reach` of many independent systems, in the order given, whatever the `workers`.

    Threads suffice: HiGHS lets go of Python's lock while it solves.
    """

    def work(job: tuple[System, Targets]) -> Reached:
        return reach(*job, exact=exact)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(work, jobs))


def _reach_exactly(system: System, targets: Targets) -> Reached:
    """Exact ranges; parts that no row couples, and that are about as large, share programs."""
    block = _blocks(system, targets.rows(len(system.lower)), len(system.lower))
    asked_n = np.bincount(block.of_target, minlength=block.blocks_n)
    size = np.ceil(np.log2(np.maximum(asked_n, 1)) / 2)
    low, high = np.full(len(targets.low_ok), np.inf), np.full(len(targets.low_ok), -np.inf)
    is_exact_low, is_exact_high = (np.zeros(len(low), dtype=bool) for _ in range(2))
    programs_n = 0
    for like in np.unique(size[block.of_target]):
        is_like = (size == like) & (asked_n > 0)
        at, columns = is_like[block.of_target], is_like[block.of_column]
        part = chosen(system, is_like[block.of_row], columns)
        search = _Search(part, _asked(targets, at, columns), exact=True)
        search.settle_apart(block.of_target[at])
        found = search.reached()
        low[at], high[at] = found.low, found.high
        is_exact_low[at], is_exact_high[at] = found.is_exact_low, found.is_exact_high
        programs_n += found.programs_n
    return Reached(low, high, is_exact_low, is_exact_high, programs_n)


class _Search:
    """The state of one search: what is reached so far, and a solver kept warm."""

    def __init__(self, system: System, targets: Targets, *, exact: bool) -> None:
        self.t = targets.rows(len(system.lower))
        self.solver = _Solver(system)
        self.rng = np.random.default_rng(SEED)
        # Nothing lies below what the bounds of the variables allow: reaching that is exact.
        self.least, self.most = _box(self.t, system.lower, system.upper)
        low_ok, high_ok = targets.low_ok, targets.high_ok
        self.low_ok = np.where(np.isposinf(low_ok), np.inf, self.least) if exact else low_ok
        self.high_ok = np.where(np.isneginf(high_ok), -np.inf, self.most) if exact else high_ok
        # Of an exact range both sides are asked, whatever is enough.
        self.either = targets.is_either() & (not exact)
        self.has_either = bool(self.either.any())
        # A sum of no variables is 0 in every solution.
        is_nothing: BoolArray = np.diff(self.t.starts) == 0
        self.low: FloatArray = np.where(is_nothing, 0.0, np.inf)
        self.high: FloatArray = np.where(is_nothing, 0.0, -np.inf)
        self.is_exact_low, self.is_exact_high = is_nothing.copy(), is_nothing.copy()
        self.bounding_n = 0
        self.look()

    def look(self) -> None:
        """See which sides are open: neither certified nor settled. After whatever changes that."""
        low = (self.low > np.maximum(self.low_ok, self.least) + SLACK) & ~self.is_exact_low
        high = (self.high < np.minimum(self.high_ok, self.most) - SLACK) & ~self.is_exact_high
        if self.has_either:
            enough = (self.low <= self.low_ok + SLACK) | (self.high >= self.high_ok - SLACK)
            low, high = low & ~(self.either & enough), high & ~(self.either & enough)
        self.open_low: BoolArray = np.asarray(low)
        self.open_high: BoolArray = np.asarray(high)
        self.open_n = int(np.count_nonzero(low) + np.count_nonzero(high))

    def is_open(self) -> BoolArray:
        return self.open_low | self.open_high

    def push(self, wish: FloatArray) -> bool:
        """One program that lowers targets of positive wish and raises those of negative.

        What its point certifies, for whatever target, is taken. False: no bound, no point.
        """
        if self.open_n < FEW_OPEN * self.t.columns_n:
            self.solver.expect_little()
        x = self.solver.minimise(self.t.weighing(wish))
        if x is None:
            return False
        t = self.t.times(x)
        np.minimum(self.low, t, out=self.low)
        np.maximum(self.high, t, out=self.high)
        self.look()
        return True

    def wishes(self) -> FloatArray:
        """+1 or -1 for every open target: its open side, at random where both are."""
        low, high = self.open_low, self.open_high
        either = self.rng.choice([-1.0, 1.0], len(low))
        return np.where(low & high, either, low.astype(float) - high.astype(float))

    def share(self) -> None:
        """Programs that push all open targets at once, while they are worth it."""
        for program in range(self.open_n):
            before = self.open_n
            if before == 0:
                return
            self.push(self.wishes())
            if program >= FAR_N and before - self.open_n < WORTH_SHARE * before:
                return

    def share_thinly(self) -> None:
        """Programs that push some of the open targets, drawn at random, then fewer."""
        part = 0.5
        while part * self.is_open().sum() >= WORTH_SIDES:
            before = self.open_n
            is_drawn = self.rng.random(len(self.low)) < part
            self.push(np.where(is_drawn, self.wishes(), 0.0))
            if before - self.open_n < WORTH_SIDES:
                part /= 2

    def use_blocks(self, system: System, targets: Targets) -> None:
        """Ask one open target of every block at once: of the blocks alone, then of the whole."""
        apart = _blocks(system, self.t, len(system.lower)).of_target
        open_ = apart[self.is_open()]
        if np.bincount(open_).max() <= len(open_) / 2:
            self.settle_apart(apart)
            return
        long_n = max(LONG_LEAST, len(system.lower) // LONG_PART)
        blocks = _blocks(system, self.t, long_n)
        block = blocks.of_target
        if len(np.unique(block[self.is_open()])) < 2:
            return
        still = replace(
            targets,
            low_ok=np.where(self.open_low, targets.low_ok, np.inf),
            high_ok=np.where(self.open_high, targets.high_ok, -np.inf),
            either=None,
        )
        part = chosen(system, blocks.of_row >= 0, np.ones(len(system.lower), dtype=bool))
        alone = _Search(part, still, exact=False)
        alone.settle_apart(block)
        # Nothing lies beyond what a block alone allows: reaching that is exact.
        self.least = np.where(alone.is_exact_low, np.maximum(self.least, alone.low), self.least)
        self.most = np.where(alone.is_exact_high, np.minimum(self.most, alone.high), self.most)
        self.bounding_n = alone.solver.programs_n
        self.look()
        before = np.inf
        while self.open_n < before:
            before = self.open_n
            self.push(self.one_a_block(block))

    def one_a_block(self, block: IntArray) -> FloatArray:
        """Wishes of the first open target of every block; all 0 where none is open."""
        asked = np.flatnonzero(self.is_open() & (block >= 0))
        _, first = np.unique(block[asked], return_index=True)
        wish = np.zeros(len(self.low))
        wish[asked[first]] = self.wishes()[asked[first]]
        return wish

    def settle_apart(self, block: IntArray) -> None:
        """Exact sides of targets in blocks that no row couples: one of every block at once."""
        while (wish := self.one_a_block(block)).any():
            self.solver.expect_little()
            if self.push(wish):
                self.is_exact_low |= wish > 0
                self.is_exact_high |= wish < 0
                self.look()
            else:
                # Some block has no bound, and it is not known which.
                for target in np.flatnonzero(wish).tolist():
                    self.settle_one(target, wish[target])

    def settle(self) -> None:
        """A program of its own for each side that is still open."""
        for target in np.flatnonzero(self.is_open()).tolist():
            if self.open_low[target]:
                self.settle_one(target, 1.0)
            if self.open_high[target]:
                self.settle_one(target, -1.0)

    def settle_one(self, target: int, sign: float) -> None:
        """Minimum (sign 1) or maximum (sign -1) of one target."""
        wish = np.zeros(len(self.low))
        wish[target] = sign
        has_end = self.push(wish)
        if sign > 0:
            self.low[target] = self.low[target] if has_end else -np.inf
            self.is_exact_low[target] = True
        else:
            self.high[target] = self.high[target] if has_end else np.inf
            self.is_exact_high[target] = True
        self.look()

    def reached(self) -> Reached:
        return Reached(
            low=self.low,
            high=self.high,
            is_exact_low=self.is_exact_low | (self.low <= self.least + SLACK),
            is_exact_high=self.is_exact_high | (self.high >= self.most - SLACK),
            programs_n=self.solver.programs_n + self.bounding_n,
        )


class _Solver:
    """One HiGHS model whose costs change; each solve starts from the last basis.

    From a `start`, x = start + up - down: then the slack basis fits, and the primal method goes
    on from there.
    """

    def __init__(self, system: System) -> None:
        self.start = system.start if _fits(system) else None
        moves = system if self.start is None else _around(system, self.start)
        self.columns = np.arange(len(moves.lower), dtype=np.int32)
        self.highs = load(moves)
        self.programs_n = 0
        self.is_near = self.start is not None
        if system.basis is not None and not self.is_near:
            self.is_near = self.highs.setBasis(system.basis.of_highs()) == highspy.HighsStatus.kOk
        self.by_primal = False
        if self.is_near:
            self._go_on_by_primal()

    def expect_little(self) -> None:
        """Few targets: presolve the first program, and go on from there by the primal method."""
        if self.is_near:
            return
        if self.programs_n == 0:
            self.highs.setOptionValue("presolve", "on")
        else:
            self._go_on_by_primal()

    def minimise(self, cost: FloatArray) -> FloatArray | None:
        """The x of least cost; None where the cost has no lower bound."""
        if self.programs_n == FAR_N:
            self.highs.setOptionValue(PERTURBATION, 0.0)
            self._go_on_by_primal()
        moved = cost if self.start is None else np.r_[cost, -cost]
        self.highs.changeColsCost(len(moved), self.columns, moved)
        status = self._run()
        is_lost = status not in SETTLED
        if is_lost or (self.by_primal and status != highspy.HighsModelStatus.kOptimal):
            # The primal method can stop at a best point without knowing it, or see no end where
            # there is one.
            status = self._run_afresh()
        if status == highspy.HighsModelStatus.kOptimal:
            x = np.asarray(self.highs.getSolution().col_value)
            if self.start is None:
                return x
            up, down = np.split(x, 2)
            return np.asarray(self.start + up - down)
        if status == highspy.HighsModelStatus.kUnbounded:
            return None
        if status == highspy.HighsModelStatus.kInfeasible:
            raise _contradiction(len(cost))
        raise InputError(f"The audit's linear program ended as {status.name}")

    def _go_on_by_primal(self) -> None:
        self.by_primal = True
        self.highs.setOptionValue("simplex_strategy", PRIMAL)

    def _run_afresh(self) -> highspy.HighsModelStatus:
        """The same program from nothing, by the dual method with perturbed costs."""
        self.highs.clearSolver()
        self.highs.setOptionValue("simplex_strategy", DUAL)
        self.highs.setOptionValue(PERTURBATION, 1.0)
        status = self._run()
        if self.by_primal:
            self._go_on_by_primal()
        return status

    def _run(self) -> highspy.HighsModelStatus:
        self.programs_n += 1
        self.highs.run()
        return self.highs.getModelStatus()


def without_fixed(system: System, targets: Targets) -> tuple[System, Targets, FloatArray]:
    """The system in the variables that can move, and what the others add to each target."""
    lower, upper = system.lower, system.upper
    if (lower > upper + SLACK).any():
        raise _contradiction(len(lower))
    moves = lower < upper
    if moves.all():
        return system, targets, np.zeros(len(targets.low_ok))
    a, t = system.rows, targets.rows(len(lower))
    fixed = np.where(moves, 0.0, lower)
    shift, offset = a.times(fixed), t.times(fixed)
    moved = replace(system, row_lower=system.row_lower - shift, row_upper=system.row_upper - shift)
    is_used = np.zeros(len(a), dtype=bool)
    is_used[a.row[moves[a.index] & (a.value != 0)]] = True
    if ((moved.row_lower > SLACK) | (moved.row_upper < -SLACK))[~is_used].any():
        raise _contradiction(len(lower))
    asked = _asked(targets, np.ones(len(t), dtype=bool), moves)
    asked = replace(asked, low_ok=targets.low_ok - offset, high_ok=targets.high_ok - offset)
    return chosen(moved, is_used, moves), asked, offset


def chosen(system: System, rows: BoolArray, columns: BoolArray) -> System:
    """Some rows and columns of a system."""
    a = system.rows.chosen(rows, columns)
    return System(
        lower=system.lower[columns],
        upper=system.upper[columns],
        starts=a.starts,
        index=a.index,
        value=a.value,
        row_lower=system.row_lower[rows],
        row_upper=system.row_upper[rows],
        start=None if system.start is None else system.start[columns],
    )


def _asked(targets: Targets, at: BoolArray, columns: BoolArray) -> Targets:
    """Some targets in some columns."""
    t = targets.rows(len(columns)).chosen(at, columns)
    return Targets(
        starts=t.starts,
        index=t.index,
        value=t.value,
        low_ok=targets.low_ok[at],
        high_ok=targets.high_ok[at],
        either=targets.is_either()[at],
    )


def _contradiction(unknowns_n: int) -> InputError:
    return InputError(
        "No table fits what the release shows",
        where=f"a system of {unknowns_n} unknowns",
        why="the true table always fits, so two published values contradict each other",
        fix="look for a rounding bound that is tighter than the rounding itself",
    )


def _fits(system: System) -> bool:
    """Whether there is a start, and it is an x of the system."""
    if system.start is None:
        return False
    x, at = system.start, system.rows.times(system.start)
    inside = (x >= system.lower - SLACK) & (x <= system.upper + SLACK)
    kept = (at >= system.row_lower - SLACK) & (at <= system.row_upper + SLACK)
    return bool(inside.all() and kept.all())


def _around(system: System, start: FloatArray) -> System:
    """The system in how far each variable lies above and below `start`: twice the columns."""
    a, size = system.rows, len(start)
    up, down = a.moved(np.arange(size), 2 * size), a.moved(np.arange(size) + size, 2 * size)
    both = up.beside(replace(down, value=-down.value))
    at = a.times(start)
    # Noise of the arithmetic must not rule out the start, which fits (`_fits`).
    return System(
        lower=np.zeros(2 * len(start)),
        upper=np.maximum(np.r_[system.upper - start, start - system.lower], 0.0),
        starts=both.starts,
        index=both.index,
        value=both.value,
        row_lower=np.minimum(system.row_lower - at, 0.0),
        row_upper=np.maximum(system.row_upper - at, 0.0),
    )


def pass_model(highs: highspy.Highs, system: System) -> None:
    """Hand a system to HiGHS, without an objective."""
    columns_n = len(system.lower)
    highs.passModel(
        columns_n,
        len(system.row_lower),
        len(system.index),
        highspy.MatrixFormat.kRowwise.value,
        highspy.ObjSense.kMinimize.value,
        0.0,
        np.zeros(columns_n),
        system.lower,
        system.upper,
        system.row_lower,
        system.row_upper,
        system.starts,
        system.index,
        system.value,
        # Every column may have any value.
        np.zeros(columns_n, dtype=np.int32),
    )


@dataclass(frozen=True)
class _Blocks:
    """Parts that share no row and no target; -1: a long row or target, in no part."""

    of_row: IntArray
    of_target: IntArray
    of_column: IntArray
    blocks_n: int


def _blocks(system: System, t: Rows, long_n: int) -> _Blocks:
    """The parts into which a system falls without rows and targets longer than `long_n`."""
    links = Rows.stacked([system.rows, t])
    size = np.diff(links.starts)
    is_long = size > long_n
    is_kept = ~is_long[links.row] & (links.value != 0)
    lines_n, nodes_n = len(links), len(links) + links.columns_n
    column = links.index[is_kept] + np.int32(lines_n)
    size = np.bincount(links.row[is_kept], minlength=nodes_n)
    starts = np.r_[0, np.cumsum(size)].astype(np.int32)
    edges = csr_array((np.ones(len(column)), column, starts), shape=(nodes_n, nodes_n))
    blocks_n, labels = connected_components(edges, directed=False)
    of_line = np.where(is_long, -1, labels[:lines_n])
    rows_n = len(system.row_lower)
    return _Blocks(of_line[:rows_n], of_line[rows_n:], labels[lines_n:], blocks_n)


def _box(t: Rows, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least and most that `T x` can be given the bounds of x alone."""
    found = []
    for of_up, of_down in ((lower, upper), (upper, lower)):
        end = np.where(t.value > 0, of_up[t.index], of_down[t.index])
        # A stored zero times an infinite bound would be no number.
        part = t.value * np.where(t.value == 0, 0.0, end)
        found.append(t.sums(part))
    return found[0], found[1]
