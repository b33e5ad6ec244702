"""The cheapest choice of what to hide, or how far from it a choice can be at most.

Belongs here: the search for the least loss by cutting planes (Fischetti and Salazar-González
2001, "Solving the cell suppression problem on tabular data with linear constraints") with
HiGHS. Does not belong here: what counts as safe (`secondary.py`), the tables (`tabular.py`).

A master program chooses cells at least loss under the conditions found so far. Its choice is
attacked; each attack that succeeds gives a condition that its choice breaks and every safe
choice keeps (the dual of the attacker's program). What the master loses is therefore never
more than the best safe choice does: the bound. In a small table the master is one search tree
(`branch.py`) that ends when no cheaper choice is left; in a large one, a whole program solved
anew each round, to a gap. No clock: the same table has the same answer everywhere.

Where a school shows seven stages in two groups, an attack can be stopped at either cell of each
stage: 2^7 conditions, of which a choice breaks one at a time. `_Exchange` says them all in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rcs_assets.disclosure.branch import Relaxed, least
from rcs_assets.disclosure.lp import OPTIONS, PRIMAL, SLACK, System, load
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.disclosure.secondary import AMOUNT_PART, CannotBeMetError, Need, Plan, shown_bounds
from rcs_assets.disclosure.structure import Cells, Index, Mask

# A condition that a choice breaks by less than this is kept, for the solver's tolerance.
BROKEN_BY = 1e-4
PRICE_LEAST = 1e-8
# Below so many cells the search goes on to the optimum; above, to the gap asked.
EXACT_CELLS = 1_000
# A round costs about as much as the cells squared, so that fewer are made in larger tables.
ROUNDS_MOST, ROUNDS_TIMES_CELLS = 20, 80_000
GAP, MASTER_GAP = 0.025, 0.005
NODES_MOST = 200
# Of longer lines one cell is nearly always hidden: to ask for it makes the program longer only.
BESIDE_MOST = 3

# Of each group one cell must be hidden.
Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Choice:
    """A safe choice: its loss and the least that any safe choice loses (`bound`)."""

    is_hidden: Mask
    cost: float
    bound: float


@dataclass(frozen=True)
class _Cut:
    """`sum(value * x[index]) >= least`, x: 1 for a hidden cell.

    A cell in `beside` counts only if one of each of its groups is hidden, too.
    """

    index: Index
    value: FloatArray
    least: float
    beside: dict[int, Groups] = field(default_factory=dict)


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
        self.attack = _Attack(cells, need, rounding, exchange=self.is_small_table)
        self.master = _Master(need, relax=self.is_small_table)
        self.trial = Plan(cells, need, rounding)

    def run(self) -> Choice:
        self.master.add(self.at_first())
        if self.master.relaxed is not None:
            self.raise_to(least(self.master.relaxed, self.most(), self.look_at))
        else:
            self.go_round()
        if not self.is_close():
            # A search that has had its work may not have come to what lines alone find.
            self.trial = _quick_plan(self.cells, self.need, self.rounding)
            self.take()
        return Choice(self.best, self.cost, self.bound)

    def look_at(self, x: FloatArray | Mask) -> float:
        """Attack a choice; what a choice may lose to be better than the best one."""
        self.trial.is_hidden = (x[: len(self.best)] > 0.5) | self.need.is_primary
        self.complete()
        return self.most()

    def most(self) -> float:
        """What a choice may lose to be better than the best one: a whole one less if all are."""
        is_whole = bool((self.need.loss % 1 == 0).all())
        return self.cost - (1 - BROKEN_BY if is_whole else SLACK * max(1.0, self.cost))

    def go_round(self) -> None:
        """Rounds of master and attack; the bound then says how far the best may be."""
        for _ in range(max(1, min(ROUNDS_MOST, ROUNDS_TIMES_CELLS // len(self.best)))):
            x, bound = self.master.solve(self.best)
            self.raise_to(bound)
            if self.is_close():
                return
            self.look_at(x)
            if self.is_close():
                return

    def raise_to(self, bound: float) -> None:
        """Take up what every choice loses at least."""
        self.bound = max(self.bound, min(bound, self.cost))

    def is_close(self) -> bool:
        return self.cost - self.bound <= GAP * max(1.0, self.cost)

    def take(self) -> None:
        """Keep the choice on trial if it is the cheapest safe one so far."""
        if self.trial.cost() < self.cost:
            self.best, self.cost = self.trial.is_hidden.copy(), self.trial.cost()

    def complete(self) -> None:
        """Make the choice on trial safe by the least that can be added, attack by attack.

        The conditions hold for every choice, so the master learns many from one solution. In a
        small table it is left as soon as it costs too much.
        """
        among = None
        while len(unsafe := self.trial.unsafe(self.rounding, among)):
            hidden = self.trial.is_hidden.copy()
            self.master.add(self.against(hidden, unsafe))
            self.trial.is_hidden = self.master.add_to(hidden)
            if self.is_small_table and self.trial.cost() >= self.cost:
                return
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
                    prices = self.attack.by_line(cell, line, sign)
                    yield from self.attack.cut_of_small(cell, prices, limit)

    def against(self, is_hidden: Mask, unsafe: Index) -> Iterator[_Cut]:
        """Conditions that this choice breaks, from the attacks on its open cells.

        A small cell that stands in a condition found just before is left out: the two are shut
        in by the same shown cells, and their conditions much alike.
        """
        self.attack.begin(is_hidden)
        counts = np.asarray(self.trial.lines @ is_hidden)
        is_shut_in = np.zeros(len(is_hidden), dtype=bool)
        for cell in unsafe.tolist():
            if self.need.is_primary[cell]:
                for sign, limit in () if is_shut_in[cell] else self.asked(cell):
                    if (prices := self.attack.by_program(cell, sign)) is not None:
                        found = list(self.attack.cut_of_small(cell, prices, limit))
                        is_shut_in[prices.index] |= bool(found)
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

    def __init__(self, cells: Cells, need: Need, rounding: int | None, *, exchange: bool) -> None:
        self.cells, self.need = cells, need
        self.matrix = cells.equations
        self.transposed = csr_array(cells.equations.T)
        low, high = shown_bounds(cells.value, rounding)
        self.low, self.high = np.maximum(low, cells.known_low), np.minimum(high, cells.known_high)
        # How much farther a cell can move once it is hidden.
        self.down, self.up = self.low - cells.known_low, cells.known_high - self.high
        self.step = np.where(cells.value % 1 == 0, 1.0, AMOUNT_PART * cells.value)
        self.is_hidden = need.is_primary
        self.exchange = _Exchange(cells, need, self.low, self.high) if exchange else None

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
        # Prices are the same in all units.
        self.highs = load(system.counted_in(system.unit()))
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

    def cut_of_small(self, cell: int, prices: _Prices, limit: float) -> Iterator[_Cut]:
        """What must be hidden for a small cell to reach its limit; nothing if it does."""
        index, opens = prices.index, self._opens(prices)
        is_always = self.need.is_primary[index]
        least = self._shown_least(prices) - limit - opens[is_always].sum()
        if least > BROKEN_BY:
            index, opens = index[~is_always], opens[~is_always]
            is_used = self.need.can_hide[index] & (opens > 0)
            index, value = index[is_used], np.minimum(opens[is_used], least) / least
            # If one cell alone is not enough, the exchange could ask for too much.
            beside = {}
            if self.exchange is not None and (value == 1.0).all():
                beside = self.exchange.beside(cell, prices, index, least)
            yield _Cut(index, value, 1.0, beside)

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


class _Exchange:
    """Which cells of a condition help only if another cell of their line is hidden, too.

    A multiple of a line, added to prices, gives prices that hold as well. If it takes one cell's
    price away, the condition asks for the line's other cells in its place. Done or not for each
    of many cells, this makes 2^n conditions. A choice that breaks none of them is one in which
    some cell is hidden together with another of its line; for if there is none, exchange every
    hidden cell, and the condition reached is broken.

    Each exchange costs part of what is asked, as the small cells of its line may then move more.
    Lines of different cells share no cell that can move, so that the costs add up.
    """

    def __init__(self, cells: Cells, need: Need, low: FloatArray, high: FloatArray) -> None:
        # What is hidden in every choice is as free as it can be; all else is shown.
        low = np.where(need.is_primary, cells.known_low, low)
        high = np.where(need.is_primary, cells.known_high, high)
        self.loose = np.flatnonzero(low < high)
        self.low, self.high = low[self.loose], high[self.loose]
        self.lines = cells.equations.toarray()
        self.fixed: FloatArray = np.asarray(self.lines @ np.where(low < high, 0.0, low))
        others = (self.lines != 0) & need.can_hide & ~need.is_primary
        self.others = [np.flatnonzero(is_other).tolist() for is_other in others]
        self.is_short = others.sum(axis=1) <= BESIDE_MOST + 1

    def beside(self, cell: int, prices: _Prices, index: Index, least: float) -> dict[int, Groups]:
        """Groups beside cells of the condition `index`, which the prices of `cell` give.

        Args:
            least: what hiding any one of `index` adds to the priced sum, or more.
        """
        price = np.zeros(self.lines.shape[1])
        price[prices.index] = prices.price
        part = self.lines[:, index]
        is_alone = ((part != 0).sum(axis=1) == 1) & (self.lines[:, cell] == 0) & self.is_short
        line = np.flatnonzero(is_alone)
        at = (part[line] != 0).argmax(axis=1)
        cost = self._cost(price, line, -price[index[at]] / part[line, at])
        left, paid = least - BROKEN_BY, dict.fromkeys(index.tolist(), 0.0)
        of_loose = np.full(len(self.loose), -1)
        found: dict[int, Groups] = {}
        for i in np.argsort(cost, kind="stable").tolist():
            one = int(index[at[i]])
            # Of the lines of one cell only one is used at a time: the dearest counts.
            more = cost[i] - paid[one]
            near = self.lines[line[i], self.loose] != 0
            if more < left and np.isin(of_loose[near], (-1, one)).all():
                left, paid[one], of_loose[near] = left - more, cost[i], one
                group = tuple(other for other in self.others[line[i]] if other != one)
                found[one] = (*found.get(one, ()), group)
        return found

    def _cost(self, price: FloatArray, line: Index, times: FloatArray) -> FloatArray:
        """How much less the least of the priced sum is once each line is added so often."""
        before = price[self.loose]
        after = before + times[:, None] * self.lines[line][:, self.loose]
        change = self._least(after) + times * self.fixed[line] - self._least(before)
        return np.asarray(np.maximum(-change, 0.0))

    def _least(self, price: FloatArray) -> FloatArray:
        """The least of the priced sums over the loose cells; `-inf` if there is none."""
        up = np.where(price > PRICE_LEAST, price, 0.0)
        down = np.where(price < -PRICE_LEAST, price, 0.0)
        has_end = np.isfinite(self.high)
        least = up @ self.low + down[..., has_end] @ self.high[has_end]
        return np.where((down[..., ~has_end] < 0).any(axis=-1), -np.inf, least)


class _Master:
    """The program that chooses cells at least loss under the conditions found so far."""

    def __init__(self, need: Need, *, relax: bool) -> None:
        cells_n = len(need.loss)
        self.highs = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in OPTIONS.items():
            if name != "presolve":
                self.highs.setOptionValue(name, value)
        self.highs.setOptionValue("solver", "choose")
        self.highs.setOptionValue("mip_rel_gap", MASTER_GAP)
        self.highs.setOptionValue("mip_max_nodes", NODES_MOST)
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = cells_n, 0
        model.col_cost_ = need.loss
        self.lower = need.is_primary.astype(np.float64)
        self.upper = (need.is_primary | need.can_hide).astype(np.float64)
        model.col_lower_, model.col_upper_ = self.lower, self.upper
        model.integrality_ = [highspy.HighsVarType.kInteger] * cells_n
        self.highs.passModel(model)
        self.relaxed = Relaxed(need.loss, self.lower, self.upper) if relax else None
        self.rows: set[tuple[float, bytes, bytes]] = set()
        self.together: dict[Groups, int] = {}

    def add(self, cuts: Iterable[_Cut]) -> None:
        """Take up conditions; those that it has are not repeated."""
        for cut in cuts:
            index = [
                self._column_of(((cell,), *cut.beside[cell])) if cell in cut.beside else cell
                for cell in cut.index.tolist()
            ]
            self._add_row(np.array(index, dtype=np.int32), cut.value, cut.least)

    def _add_row(self, index: NDArray[np.int32], value: FloatArray, least: float) -> None:
        row = (least, index.tobytes(), value.tobytes())
        if row not in self.rows:
            self.rows.add(row)
            self.highs.addRow(least, highspy.kHighsInf, len(index), index, value)
            if self.relaxed is not None:
                self.relaxed.add(index, value, least)

    def _column_of(self, groups: Groups) -> int:
        """A column that can only be 1 if one cell of each group is hidden."""
        groups = tuple(sorted(set(groups)))
        if groups not in self.together:
            column = self.together[groups] = self.highs.getNumCol()
            self.highs.addCol(0.0, 0.0, 1.0, 0, np.empty(0, np.int32), np.empty(0))
            if self.relaxed is not None:
                self.relaxed.add_column()
            # It would be whole by itself: known to be, rows that hold it give better bounds.
            self.highs.changeColIntegrality(column, highspy.HighsVarType.kInteger)
            for group in groups:
                index = np.array([*group, column], dtype=np.int32)
                self._add_row(index, np.append(np.ones(len(group)), -1.0), 0.0)
        return self.together[groups]

    def solve(self, best: Mask) -> tuple[Mask, float]:
        """The cheapest choice, nearly; the loss that none goes below. Starts from a safe choice."""
        start = highspy.HighsSolution()
        together = [all(best[list(group)].any() for group in groups) for groups in self.together]
        start.col_value = np.append(best, together).astype(np.float64).tolist()
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
        return np.asarray(self.highs.getSolution().col_value)[: len(self.lower)] > 0.5
