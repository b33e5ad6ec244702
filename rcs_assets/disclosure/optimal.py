"""The cheapest choice of what to hide, or how far from it a choice can be at most.

Belongs here: the search for the least loss by cutting planes (Fischetti and Salazar-González
2001, "Solving the cell suppression problem on tabular data with linear constraints") with
HiGHS. Does not belong here: what counts as safe (`secondary.py`), the tables (`tabular.py`).

A master program chooses cells at least loss under the conditions found so far. Its choice is
attacked; each attack that succeeds gives a condition that its choice breaks and every safe
choice keeps (the dual of the attacker's program). What the master loses is therefore never
more than the best safe choice does: the bound. The search ends when the master's choice is
safe, when a safe choice costs as little as the bound, or when it has used its rounds. No
clock: the same table has the same answer everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import csr_array

from rcs_assets.disclosure.lp import OPTIONS, PRIMAL, SLACK, FloatArray, System, load
from rcs_assets.disclosure.secondary import AMOUNT_PART, CannotBeMetError, Need, Plan, shown_bounds
from rcs_assets.disclosure.structure import Cells, Index, Mask

# A condition that a choice breaks by less than this is kept, for the solver's tolerance.
BROKEN_BY = 1e-4
PRICE_LEAST = 1e-8
ROUNDS_MOST = 60
# Larger tables: a round costs about as much as the cells squared, so that fewer are made.
ROUNDS_LARGE, ROUNDS_TIMES_CELLS = 20, 80_000
# Below so many cells the master is solved to the end; above, to a part of the gap asked.
EXACT_CELLS = 1_000
GAP, MASTER_GAP = 0.025, 0.005
NODES_MOST = 200


@dataclass(frozen=True)
class Choice:
    """A safe choice: its loss and the least that any safe choice loses (`bound`)."""

    is_hidden: Mask
    cost: float
    bound: float


@dataclass(frozen=True)
class _Cut:
    """`sum(value * x[index]) >= least`, x: 1 for a hidden cell."""

    index: Index
    value: FloatArray
    least: float


def cheapest(cells: Cells, need: Need, rounding: int | None) -> Choice:
    """The least loss that leaves all safe, as far as `ROUNDS_MOST` rounds prove it.

    Raises:
        CannotBeMetError: no choice is safe.
    """
    most = Plan(cells, need, rounding)
    most.is_hidden = need.is_primary | need.can_hide
    if not _is_free(cells, need, most.is_hidden) and len(unsafe := most.unsafe(rounding)):
        raise CannotBeMetError(unsafe)
    return _Descent(cells, need, rounding, most).run()


def _is_free(cells: Cells, need: Need, is_hidden: Mask) -> bool:
    """Whether all is hidden and nothing known: then any cell can be 0, or as large as you like."""
    is_unknown = (cells.known_low <= 0) & np.isposinf(cells.known_high)
    return bool(is_hidden.all() and is_unknown.all() and (need.low_ok >= 0).all())


def quick(cells: Cells, need: Need, rounding: int | None) -> Choice:
    """A safe choice line by line; its bound is what the small cells themselves lose.

    Raises:
        CannotBeMetError: no choice is safe.
    """
    plan = _quick_plan(cells, need, rounding)
    return Choice(plan.is_hidden, plan.cost(), float(need.loss[need.is_primary].sum()))


def _quick_plan(cells: Cells, need: Need, rounding: int | None) -> Plan:
    plan = Plan(cells, need, rounding)
    plan.fill()
    plan.review()
    return plan


class _Descent:
    """Rounds of master and attack, and the cheapest safe choice so far."""

    def __init__(self, cells: Cells, need: Need, rounding: int | None, best: Plan) -> None:
        self.cells, self.need, self.rounding = cells, need, rounding
        self.best, self.cost = best.is_hidden.copy(), best.cost()
        self.bound = float(need.loss[need.is_primary].sum())
        self.is_small_table = len(cells.value) <= EXACT_CELLS
        self.attack = _Attack(cells, need, rounding)
        self.master = _Master(need, exact=self.is_small_table)
        self.trial = Plan(cells, need, rounding)

    def run(self) -> Choice:
        self.master.add(self.at_first())
        for _ in range(self.rounds()):
            x, bound = self.master.solve(self.best)
            self.bound = max(self.bound, min(self.lossable(bound), self.cost))
            if self.is_close():
                break
            self.trial.is_hidden = x | self.need.is_primary
            self.complete()
            if self.is_close():
                break
        return Choice(self.best, self.cost, self.bound)

    def lossable(self, bound: float) -> float:
        """The least that a choice can lose from this bound on: whole if all losses are."""
        is_whole = bool((self.need.loss % 1 == 0).all())
        return float(np.ceil(bound - BROKEN_BY)) if is_whole else bound

    def rounds(self) -> int:
        """How many rounds are made at most; the bound then says how far the best may be."""
        if self.is_small_table:
            return ROUNDS_MOST
        return max(1, min(ROUNDS_LARGE, ROUNDS_TIMES_CELLS // len(self.cells.value)))

    def is_close(self) -> bool:
        least = SLACK if self.is_small_table else GAP
        return self.cost - self.bound <= least * max(1.0, self.cost)

    def take(self) -> None:
        """Keep the choice on trial if it is the cheapest safe one so far."""
        if self.trial.cost() < self.cost:
            self.best, self.cost = self.trial.is_hidden.copy(), self.trial.cost()

    def complete(self) -> None:
        """Make the master's choice safe by the least that can be added, attack by attack.

        The conditions hold for every choice, so the master learns many from one solution.
        """
        among = None
        while len(unsafe := self.trial.unsafe(self.rounding, among)):
            hidden = self.trial.is_hidden.copy()
            self.master.add(self.against(hidden, unsafe))
            self.trial.is_hidden = self.master.add_to(hidden)
            if (self.trial.is_hidden == hidden).all():
                # The solver's tolerance hides what is missing: line by line then.
                self.trial.hide_beside(unsafe)
            among = self.trial.open_after(hidden, unsafe)
        self.take()

    def at_first(self) -> Iterator[_Cut]:
        """What each line alone asks for the small cells in it."""
        for cell in np.flatnonzero(self.need.is_primary).tolist():
            for line in self.trial.lines_of_cell(cell).tolist():
                for sign, limit in self.asked(cell):
                    yield from self.attack.cut_of_small(
                        self.attack.by_line(cell, line, sign), limit
                    )

    def against(self, is_hidden: Mask, unsafe: Index) -> Iterator[_Cut]:
        """Conditions that this choice breaks, from the attacks on its open cells.

        In a large table a small cell that stands in a condition found just before is left out:
        the two are shut in by the same shown cells, and their conditions much alike.
        """
        self.attack.begin(is_hidden)
        counts = np.asarray(self.trial.lines @ is_hidden)
        is_shut_in = np.zeros(len(is_hidden), dtype=bool)
        for cell in unsafe.tolist():
            if self.need.is_primary[cell]:
                for sign, limit in () if is_shut_in[cell] else self.asked(cell):
                    if (prices := self.attack.by_program(cell, sign)) is not None:
                        found = list(self.attack.cut_of_small(prices, limit))
                        is_shut_in[prices.index] |= bool(found) and not self.is_small_table
                        yield from found
                continue
            lines = self.trial.lines_of_cell(cell)
            alone = lines[counts[lines] == 1].tolist()
            for line in alone:
                both = [self.attack.by_line(cell, line, sign) for sign in (1.0, -1.0)]
                yield self.attack.cut_of_other(cell, both)
            if not alone:
                reached = [self.attack.by_program(cell, sign) for sign in (1.0, -1.0)]
                both = [prices for prices in reached if prices is not None]
                yield self.attack.cut_of_other(cell, both)

    def asked(self, cell: int) -> Iterator[tuple[float, float]]:
        """Sides of a small cell: `sign * y` must be able to reach the limit or less."""
        if self.need.low_ok[cell] < np.inf:
            yield 1.0, float(self.need.low_ok[cell])
        if self.need.high_ok[cell] > -np.inf:
            yield -1.0, -float(self.need.high_ok[cell])


@dataclass(frozen=True)
class _Prices:
    """A cell's `sign * y` as a sum over other cells that holds in every table: the dual."""

    index: Index
    price: FloatArray


class _Attack:
    """The attacker's program on one choice, and what its duals say of every choice."""

    def __init__(self, cells: Cells, need: Need, rounding: int | None) -> None:
        self.cells, self.need = cells, need
        self.matrix = cells.equations
        self.transposed = csr_array(cells.equations.T)
        low, high = shown_bounds(cells.value, rounding)
        self.low, self.high = np.maximum(low, cells.known_low), np.minimum(high, cells.known_high)
        # How much farther a cell can move once it is hidden.
        self.down, self.up = self.low - cells.known_low, cells.known_high - self.high
        self.step = np.where(cells.value % 1 == 0, 1.0, AMOUNT_PART * cells.value)
        self.is_hidden = need.is_primary

    def begin(self, is_hidden: Mask) -> None:
        """Load the program of a choice: the cells that can move, and their lines."""
        self.is_hidden = is_hidden
        lower = np.where(is_hidden, self.cells.known_low, self.low)
        upper = np.where(is_hidden, self.cells.known_high, self.high)
        moves = lower < upper
        self.columns = np.flatnonzero(moves)
        part = csr_array(self.matrix[:, self.columns])
        self.rows = np.flatnonzero(np.diff(part.indptr))
        part = csr_array(part[self.rows])
        fixed = np.asarray(self.matrix @ np.where(moves, 0.0, lower))[self.rows]
        system = System(
            lower=lower[self.columns],
            upper=upper[self.columns],
            starts=part.indptr.astype(np.int32),
            index=part.indices.astype(np.int32),
            value=part.data,
            row_lower=-fixed,
            row_upper=-fixed,
        )
        self.highs = load(system)
        # Only costs change from one program to the next: its point is where the next one starts.
        self.highs.run()
        self.highs.setOptionValue("simplex_strategy", PRIMAL)

    def by_program(self, cell: int, sign: float) -> _Prices | None:
        """Prices from the program that pushes a cell as far as it goes; None without an end."""
        at = int(np.searchsorted(self.columns, cell))
        u = np.zeros(self.matrix.shape[0])
        if at < len(self.columns) and self.columns[at] == cell:
            self.highs.changeColCost(at, sign)
            self.highs.run()
            has_end = self.highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
            u[self.rows] = np.asarray(self.highs.getSolution().row_dual)
            self.highs.changeColCost(at, 0.0)
            if not has_end:
                return None
        price = -np.asarray(self.transposed @ u)
        price[cell] += sign
        index = np.flatnonzero(np.abs(price) > PRICE_LEAST)
        return _Prices(index, price[index])

    def by_line(self, cell: int, line: int, sign: float) -> _Prices:
        """Prices from one line: the cell is its total less the other parts."""
        start, end = self.matrix.indptr[line : line + 2]
        index, coefficient = self.matrix.indices[start:end], self.matrix.data[start:end]
        own = coefficient[index == cell][0]
        is_other = index != cell
        return _Prices(index[is_other].astype(np.int64), -sign * own * coefficient[is_other])

    def cut_of_small(self, prices: _Prices, limit: float) -> Iterator[_Cut]:
        """What must be hidden for a small cell to reach its limit; nothing if it does."""
        index, opens = prices.index, self._opens(prices)
        is_always = self.need.is_primary[index]
        least = self._shown_least(prices) - limit - opens[is_always].sum()
        if least > BROKEN_BY:
            index, opens = index[~is_always], opens[~is_always]
            is_used = self.need.can_hide[index] & (opens > 0)
            yield _Cut(index[is_used], np.minimum(opens[is_used], least) / least, 1.0)

    def cut_of_other(self, cell: int, both: list[_Prices]) -> _Cut:
        """If this cell is hidden, it must not be exact: something else must be hidden too."""
        wide = np.zeros(len(self.low))
        fixed = 0.0
        for sign, prices in zip((1.0, -1.0), both, strict=False):
            wide[prices.index] += self._opens(prices)
            fixed += sign * self.cells.value[cell] - self._shown_least(prices)
        step = self.step[cell]
        if len(both) < 2 or fixed + wide[self.is_hidden].sum() > step - BROKEN_BY:
            # It moves, but on no side by a whole step: anything else could help.
            wide = np.where(self.is_hidden, 0.0, step)
            fixed = 0.0
        wide[cell] = 0.0
        least = step - fixed
        index = np.flatnonzero((wide > 0) & self.need.can_hide)
        value = np.minimum(wide[index], least) / least
        return _Cut(np.append(index, cell), np.append(value, -1.0), 0.0)

    def _opens(self, prices: _Prices) -> FloatArray:
        """By how much hiding each cell lets the priced sum go lower."""
        index, price = prices.index, prices.price
        return np.abs(price) * np.where(price > 0, self.down[index], self.up[index])

    def _shown_least(self, prices: _Prices) -> float:
        """The least of the priced sum with every cell shown."""
        index, price = prices.index, prices.price
        return float(price @ np.where(price > 0, self.low[index], self.high[index]))


class _Master:
    """The program that chooses cells at least loss under the conditions found so far."""

    def __init__(self, need: Need, *, exact: bool) -> None:
        cells_n = len(need.loss)
        self.highs = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in OPTIONS.items():
            if name != "presolve":
                self.highs.setOptionValue(name, value)
        self.highs.setOptionValue("solver", "choose")
        self.highs.setOptionValue("mip_rel_gap", 0.0 if exact else MASTER_GAP)
        if not exact:
            self.highs.setOptionValue("mip_max_nodes", NODES_MOST)
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = cells_n, 0
        model.col_cost_ = need.loss
        self.lower = need.is_primary.astype(np.float64)
        self.upper = (need.is_primary | need.can_hide).astype(np.float64)
        model.col_lower_, model.col_upper_ = self.lower, self.upper
        model.integrality_ = [highspy.HighsVarType.kInteger] * cells_n
        self.highs.passModel(model)

    def add(self, cuts: Iterable[_Cut]) -> None:
        """Take up conditions."""
        for cut in cuts:
            self.highs.addRow(
                cut.least, highspy.kHighsInf, len(cut.index), cut.index.astype(np.int32), cut.value
            )

    def solve(self, best: Mask) -> tuple[Mask, float]:
        """The cheapest choice and the loss that none goes below; starts from a safe choice."""
        start = highspy.HighsSolution()
        start.col_value = best.astype(np.float64).tolist()
        self.highs.setSolution(start)
        return self._run(), float(self.highs.getInfo().mip_dual_bound)

    def add_to(self, hidden: Mask) -> Mask:
        """The cheapest choice that hides all these cells too."""
        cells_n, columns = len(hidden), np.arange(len(hidden), dtype=np.int32)
        self.highs.changeColsBounds(cells_n, columns, hidden.astype(np.float64), self.upper)
        found = self._run()
        self.highs.changeColsBounds(cells_n, columns, self.lower, self.upper)
        return found | hidden

    def _run(self) -> Mask:
        self.highs.run()
        if self.highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            raise CannotBeMetError(np.empty(0, dtype=np.int64))
        return np.asarray(self.highs.getSolution().col_value) > 0.5
