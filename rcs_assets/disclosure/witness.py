"""Witnesses of safety: made-up tables that fit everything that a package shows.

Belongs here: for each hidden cell two synthetic tables, in one of which its figure is as low
and in the other as high as asked, both consistent with every shown figure, sum and note that
the reader of a package has: the public one, or a CPP's beside it. Whoever holds the package can
check them without any data (`release/verify_certificate.py`). Does not belong here: judging
whether a release is safe (`estimates_audit.py`), which also knows which hidden cells are small.

A witness is built from what a reader knows and from nothing else: which cells are really
small, and the true figures, play no part. A table that happens to be the true one is thrown
away. Few tables serve many cells: the first fits and no more; a program then pushes all cells
that are still open, each to a random side, and what one table shows for a cell is taken. In a
CPP's package a cell that two tables tell apart is pushed no further, and the few that are left
are pushed one of each school, cluster and area at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import duckdb
import highspy
import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array, hstack

from rcs_assets.disclosure.answers import fingerprint, parts_of
from rcs_assets.disclosure.attack import Attacker
from rcs_assets.disclosure.grid import Bools, Floats, Ints, Shown, Texts
from rcs_assets.disclosure.lp import DUAL, PRIMAL, SLACK, TOLERANCE, Basis, System, pass_model
from rcs_assets.errors import InputError

LOW, HIGH = 1, 2
# What no roll bounds may be at most so large in a made-up table.
NO_ROLL_MOST = 100_000.0
# Shared programs stop once one serves fewer sides than this part of those open.
WORTH_PART = 0.05
# The first table is one that fits and no more, sought from what fits the public's figures; each
# other is near the one before it. The primal method is the sooner there from near. With its bounds
# as they are, every step of it from a table that fits is one, too.
OPTIONS: dict[str, bool | int | float | str] = {
    "output_flag": False,
    "threads": 1,
    "random_seed": 0,
    "presolve": "off",
    "simplex_strategy": PRIMAL,
    "primal_simplex_bound_perturbation_multiplier": 0.0,
}
# A program that moves many cells has moved most of them after so many steps; no limit for others.
STEPS, NO_LIMIT = 150, highspy.kHighsIInf
# Two tables tell a cell apart if its figure differs by one pupil (or one point of a score).
APART = 1.0
SEED = 2026
Key = tuple[str, str, str]
# Where the audit's asset keeps all three.
TABLES, CELLS = "disclosure.certificate_tables", "disclosure.certificate_cells"
QUESTIONS = "disclosure.certificate_questions"
_KEY = "audience, survey, indicator"
# Of the grid: steps and thresholds that stand in the rows.
_WRITTEN = ("n_step", "pct_step", "mean_step", "k_base", "k_numerator", "k_complement")
_TABLES = (
    ("table_no", pa.int32()),
    ("place_id", pa.int64()),
    ("n", pa.float64()),
    ("positive", pa.float64()),
)
_CELLS = (
    ("place_id", pa.int64()),
    ("quantity", pa.string()),
    ("low_table", pa.int32()),
    ("high_table", pa.int32()),
)


@dataclass
class Witnesses:
    """Rows of both tables, gathered indicator by indicator.

    `kept`: by audience, survey and indicator, the question that the rows in `TABLES` and `CELLS`
    of the audit before answer. The same question has the same answer, so that its rows are
    copied. `questions`: those of this audit.
    """

    kept: Mapping[Key, str] = field(default_factory=dict)
    questions: dict[Key, str] = field(default_factory=dict)
    tables: list[pa.Table] = field(default_factory=list)
    cells: list[pa.Table] = field(default_factory=list)

    def add(self, made: Iterable[Made]) -> None:
        """Gather what was made of some indicators."""
        for one in made:
            if one.question:
                self.questions[one.key] = one.question
            self.tables += one.tables
            self.cells += one.cells

    def relations(self, con: duckdb.DuckDBPyConnection) -> tuple[pa.Table, pa.Table]:
        """Tables and cells with the names of areas and groups, from `sdc_node`."""
        again = [key for key, question in self.questions.items() if self.kept.get(key) == question]
        con.register("witness_tables", _concat(self.tables, _TABLES))
        con.register("witness_cells", _concat(self.cells, _CELLS))
        con.register("witness_again", _keys(again))
        place = (
            "w.audience, n.survey, w.indicator, n.tranche, n.engagement, n.geography_level, "
            'n.geography_code, n.breakdown, n."group"'
        )
        join = (
            "as w inner join sdc_node as n on n.survey = w.survey and n.indicator = w.indicator "
            "and n.place_id = w.place_id"
        )
        figure_step = "if(n.statistic = 'mean', n.mean_step, n.pct_step)"
        # What a note speaks of is below k.
        k = (
            "case w.quantity when 'base' then n.k_base when 'numerator' then n.k_numerator "
            "else n.k_complement end"
        )
        made = {
            TABLES: f"select w.table_no, {place}, round(w.n, 4)::decimal(12, 4) as n, "
            "round(w.positive, 4)::decimal(14, 4) as positive, "
            f"n.n_step::decimal(4, 0) as n_step, {figure_step}::decimal(4, 1) as figure_step "
            f"from witness_tables {join}",
            CELLS: f"select {place}, w.quantity, {k}::integer as k, w.low_table, w.high_table "
            f"from witness_cells {join}",
        }
        found = []
        for before, sql in made.items():
            if again:
                sql += f" union all by name from {before} semi join witness_again using ({_KEY})"
            found.append(con.execute(f"from ({sql}) order by all").to_arrow_table())
        for name in ("witness_tables", "witness_cells", "witness_again"):
            con.unregister(name)
        return found[0], found[1]


def _keys(keys: Sequence[Key]) -> pa.Table:
    names = _KEY.split(", ")
    return pa.table(
        {name: pa.array([key[i] for key in keys], pa.string()) for i, name in enumerate(names)}
    )


def questions_table(questions: Mapping[Key, str], code_version: str) -> pa.Table:
    """Rows of `QUESTIONS`: audience, survey, indicator, question, code_version."""
    rows = sorted(questions)
    return (
        _keys(rows)
        .append_column("question", pa.array([questions[key] for key in rows], pa.string()))
        .append_column("code_version", pa.array([code_version] * len(rows), pa.string()))
    )


def read_questions(con: duckdb.DuckDBPyConnection, code_version: str) -> dict[Key, str]:
    """Questions that this code has answered in the audit before; none if there was none."""
    schema, name = QUESTIONS.split(".")
    if not con.execute(
        "select 1 from duckdb_tables() where schema_name = ? and table_name = ?", [schema, name]
    ).fetchall():
        return {}
    rows = con.execute(
        f"select {_KEY}, question from {QUESTIONS} where code_version = ?", [code_version]
    ).fetchall()
    return {(audience, survey, indicator): asked for audience, survey, indicator, asked in rows}


def _concat(parts: list[pa.Table], columns: tuple[tuple[str, pa.DataType], ...]) -> pa.Table:
    empty = pa.schema([*((name, pa.string()) for name in _KEY.split(", ")), *columns])
    return pa.concat_tables(parts) if parts else empty.empty_table()


@dataclass(frozen=True)
class Made:
    """Of one indicator in one package: what was asked, tables, and which shows a cell low or high.

    No question where nothing of it is hidden; no tables where an audit before answered it.
    """

    key: Key
    question: str = ""
    tables: Sequence[pa.Table] = ()
    cells: Sequence[pa.Table] = ()


def of_indicator(attacker: Attacker, shown: Shown, row: int, kept: Mapping[Key, str]) -> Made:
    """Find the witnesses of one indicator for one coalition.

    Args:
        attacker: the coalition's attack.
        shown: what the release tells, without those before.
        row: the indicator's row in the grid.
        kept: questions that an audit before has answered.
    """
    grid = attacker.grid
    audience = attacker.coalition if attacker.is_public else f"cpp/{attacker.coalition}"
    key = (audience, grid.survey, str(grid.indicators[row]))
    # A CPP's certificate speaks of its own cells; the public one, which it holds, of the others.
    mine = attacker.sees if attacker.is_public else attacker.is_own
    there = mine & grid.is_showable[row]
    hidden = np.flatnonzero(there & ~shown.is_shown[row]).astype(np.int64)
    if not len(hidden):
        return Made(key)
    system = _bounded(attacker, row, attacker.system(shown, row))
    asked = _asked(attacker, shown, row, hidden)
    at = np.flatnonzero(there)
    expression = csr_array(attacker.expression[at])
    search = _Search(system, asked, attacker.truth(row), np.unique(expression.indices))
    question = search.question(
        [grid.unit[at], grid.engagement[at], grid.breakdown[at], grid.group[at]],
        [getattr(grid, name)[row, at] for name in _WRITTEN],
    )
    if kept.get(key) == question:
        return Made(key, question)
    search.begin(attacker.basis(shown, row))
    if attacker.is_public:
        search.share()
        search.settle()
    else:
        search.part()
        search.settle_apart(np.unique(grid.unit[hidden].astype(str), return_inverse=True)[1])
    size = expression.shape[1]
    tables = []
    for number, x in enumerate(search.points):
        columns = {
            "table_no": np.full(len(at), number, dtype=np.int32),
            "place_id": at,
            "n": np.asarray(expression @ x[:size]),
            "positive": np.asarray(expression @ x[size:]),
        }
        tables.append(_table(key, columns, _TABLES))
    cells = {
        "place_id": hidden,
        "quantity": asked.quantity,
        "low_table": search.low_point,
        "high_table": search.high_point,
    }
    return Made(key, question, tables, [_table(key, cells, _CELLS)])


def _table(
    key: Key, columns: dict[str, object], types: tuple[tuple[str, pa.DataType], ...]
) -> pa.Table:
    arrays = {name: pa.array(columns[name], kind) for name, kind in types}
    rows_n = len(next(iter(arrays.values())))
    return pa.table(
        {
            name: pa.array([value] * rows_n, pa.string())
            for name, value in zip(_KEY.split(", "), key, strict=True)
        }
        | arrays
    )


def _bounded(attacker: Attacker, row: int, system: System) -> System:
    """The system with a bound where no roll is: a table shows no infinite figure.

    That no cell has more positive answers than pupils follows from its parts, which have not.
    """
    grid, size = attacker.grid, len(system.lower) // 2
    most = grid.score_high[row] if grid.is_mean[row] else 1.0
    # A sum of scores may be larger than any number of pupils.
    ends = np.repeat([NO_ROLL_MOST, NO_ROLL_MOST * most], size)
    return replace(system, upper=np.where(np.isinf(system.upper), ends, system.upper))


@dataclass(frozen=True)
class _Asked:
    """The figure of each hidden cell that is moved, and how far is far enough.

    `quantity`: base, numerator or complement.
    """

    matrix: csr_array
    quantity: list[str]
    low_ok: Floats
    high_ok: Floats


def _asked(attacker: Attacker, shown: Shown, row: int, hidden: Ints) -> _Asked:
    """Numerators are moved, bases of means, and what a note speaks of."""
    grid = attacker.grid
    cells = csr_array(attacker.expression[hidden])
    note = shown.note[row, hidden]
    quantity = np.where(note == HIGH, "complement", "numerator")
    k = np.where(note == HIGH, grid.k_complement[row, hidden], grid.k_numerator[row, hidden])
    if grid.is_mean[row]:
        quantity, k = np.full(len(hidden), "base"), grid.k_base[row, hidden]
    pupils = {"base": 1.0, "numerator": 0.0, "complement": 1.0}
    positive = {"base": 0.0, "numerator": 1.0, "complement": -1.0}
    n, y = (np.array([sign[q] for q in quantity])[:, None] for sign in (pupils, positive))
    matrix = csr_array(hstack([cells.multiply(n), cells.multiply(y)], format="csr"))
    is_noted = note != 0
    high_ok = np.minimum(np.where(is_noted, k - 1, k), grid.roll[row, hidden])
    return _Asked(matrix, list(quantity), np.where(is_noted, 0.0, 1.0), high_ok)


class _Search:
    """Feasible tables until each cell has a low and a high one."""

    def __init__(self, system: System, asked: _Asked, truth: Floats, listed: Ints) -> None:
        """Nothing is solved yet. `listed`: unknowns (of pupils) of the cells of a table."""
        self.system, self.asked = system, asked
        # What a table tells of: what changes in other places does not touch it.
        self.told = np.r_[listed, listed + len(truth) // 2]
        self.truth = truth[self.told]
        self.columns = np.arange(len(system.lower), dtype=np.int32)
        self.rng = np.random.default_rng(SEED)
        cells_n = len(asked.quantity)
        self.low = np.full(cells_n, np.inf)
        self.high = np.full(cells_n, -np.inf)
        self.low_point = np.full(cells_n, -1, dtype=np.int32)
        self.high_point = np.full(cells_n, -1, dtype=np.int32)
        self.is_done_low = np.zeros(cells_n, dtype=bool)
        self.is_done_high = np.zeros(cells_n, dtype=bool)
        self.points: list[Floats] = []

    @cached_property
    def solver(self) -> highspy.Highs:
        """The solver, made when the first table is sought."""
        return _solver(self.system)

    def question(self, names: Sequence[Texts], written: Sequence[Floats]) -> str:
        """sha256 of all that the search depends on and of what its rows say besides."""
        asked, cells = self.asked, self.asked.matrix
        return fingerprint(
            *names,
            repr(asked.quantity),
            *parts_of(self.system),
            *(cells.indptr, cells.indices, cells.data, asked.low_ok, asked.high_ok, self.truth),
            *written,
        )

    def is_true(self, x: Floats) -> bool:
        """Whether a table is the true one in all that it tells."""
        return bool(np.abs(x[self.told] - self.truth).max() < 0.5)

    def open_low(self) -> Bools:
        return (self.low > self.asked.low_ok + SLACK) & ~self.is_done_low

    def open_high(self) -> Bools:
        return (self.high < self.asked.high_ok - SLACK) & ~self.is_done_high

    def open_n(self) -> int:
        return int(self.open_low().sum() + self.open_high().sum())

    def is_near(self) -> Bools:
        """Cells that no two tables tell apart yet."""
        return np.asarray(self.high - self.low < APART)

    def begin(self, basis: Basis) -> None:
        """A table that moves no cell, sought from this basis: the first that fits."""
        self.solver.setBasis(basis.of_highs())
        self.push(np.zeros(len(self.low)), NO_LIMIT)

    def share(self) -> None:
        """Tables that move all open cells at once, while they serve enough of them."""
        while before := self.open_n():
            low, high = self.open_low(), self.open_high()
            either = self.rng.choice([-1.0, 1.0], len(low))
            self.push(np.where(low & high, either, low.astype(float) - high.astype(float)))
            if before - self.open_n() < max(1.0, WORTH_PART * before):
                return

    def part(self) -> None:
        """One that moves all cells, then others of all not told apart, while these part enough."""
        wish = self.rng.choice([-1.0, 1.0], len(self.low))
        self.push(wish)
        self.push(np.where(self.is_near(), -wish, 0.0))
        while before := int(self.is_near().sum()):
            wish = self.rng.choice([-1.0, 1.0], len(self.low))
            self.push(np.where(self.is_near(), wish, 0.0))
            if before - int(self.is_near().sum()) < max(1.0, WORTH_PART * before):
                return

    def settle(self) -> None:
        """A table for each side that is still open: as far as anything shown allows.

        A cell that is low enough and high enough in one and the same table, as large figures
        are, is moved as well: its two tables must tell different figures.
        """
        for sign, is_open in ((1.0, self.open_low), (-1.0, self.open_high)):
            for cell in range(len(self.low)):
                if is_open()[cell]:
                    self.push_one(cell, sign)
        self.push_together()

    def push_together(self) -> None:
        """A table for each side of cells whose two tables tell nearly the same figure."""
        for cell in range(len(self.low)):
            for sign in (-1.0, 1.0):
                if self.is_near()[cell]:
                    self.push_one(cell, sign)

    def settle_apart(self, unit: Ints) -> None:
        """Tables that move one cell of every unit at once, until each cell is moved.

        Args:
            unit: the school, cluster or area of each cell: few sums tie one to another.
        """
        for sign in (1.0, -1.0):
            waiting = np.ones(len(self.low), dtype=bool)
            while (open_ := waiting & self.is_near()).any():
                at = np.flatnonzero(open_)
                _, first = np.unique(unit[at], return_index=True)
                wish = np.zeros(len(self.low))
                wish[at[first]] = sign
                waiting[at[first]] = False
                self.push(wish)
        self.push_together()

    def push_one(self, cell: int, sign: float) -> None:
        """One table in which one cell is as low (sign 1) or as high (-1) as can be."""
        wish = np.zeros(len(self.low))
        wish[cell] = sign
        self.push(wish, NO_LIMIT)
        (self.is_done_low if sign > 0 else self.is_done_high)[cell] = True

    def push(self, wish: Floats, steps: int = STEPS) -> None:
        """One table that lowers cells of positive wish and raises those of negative."""
        cost = np.asarray(self.asked.matrix.T @ wish)
        x = self._solve(cost, steps)
        if self.is_true(x):
            # The true table is never handed out: the opposite of what was asked, a little.
            x = self._solve(cost + self.rng.normal(0, 1e-3, len(x)), steps)
            if self.is_true(x):
                return
        figure = np.asarray(self.asked.matrix @ x)
        lower = (figure < self.low - SLACK) & (self.open_low() | (wish > 0))
        higher = (figure > self.high + SLACK) & (self.open_high() | (wish < 0))
        if not (lower | higher).any():
            return
        self.low = np.where(lower, figure, self.low)
        self.high = np.where(higher, figure, self.high)
        self.low_point[lower] = self.high_point[higher] = len(self.points)
        self.points.append(x)

    def _solve(self, cost: Floats, steps: int) -> Floats:
        """A table that fits, the best of so many steps."""
        self.solver.changeColsCost(len(cost), self.columns, cost)
        self._run(steps)
        if not self._has_table():
            # Lost its way from the last basis: once more from none, by the dual method.
            self.solver.clearSolver()
            self.solver.setOptionValue("simplex_strategy", DUAL)
            self._run(NO_LIMIT)
            self.solver.setOptionValue("simplex_strategy", PRIMAL)
        if not self._has_table():
            raise InputError(
                "No table fits what the release shows",
                where=f"a certificate of {len(cost)} unknowns",
                why="the true table always fits: two published values contradict each other",
                fix="report it as a defect of disclosure",
            )
        return np.asarray(self.solver.getSolution().col_value)

    def _run(self, steps: int) -> None:
        self.solver.setOptionValue("simplex_iteration_limit", steps)
        self.solver.run()

    def _has_table(self) -> bool:
        """Whether the solver has stopped at an x that fits: the best one, or at its last step."""
        status = self.solver.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return True
        is_stopped = status == highspy.HighsModelStatus.kIterationLimit
        violation = self.solver.getInfo().max_primal_infeasibility
        return is_stopped and violation <= TOLERANCE


def _solver(system: System) -> highspy.Highs:
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in OPTIONS.items():
        solver.setOptionValue(name, value)
    pass_model(solver, system)
    return solver
