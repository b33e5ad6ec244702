"""An attacker: everything released to a coalition, the public rolls, and linear programming.

Belongs here: what follows for each hidden count from what is shown (policy.md, "How
protection is judged"), for schools, clusters, CPPs and above. Does not belong here: anything
of `rcs_assets.disclosure`; the attacker reads the policy's numbers as published and shares no
code with the rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Row = Mapping[str, Any]
# unit, breakdown, group; the group of pupils whose group is not known has a name of its own.
Cell = tuple[str, str, str]
Vector = dict[int, float]
Floats = NDArray[np.float64]
UNKNOWN = "not known"
PARTIAL = ("simd_quintile", "looked_after")
SHOWN = ("published", "u")
TOLERANCE = 1e-6
# Programs that ask many things at once go on while they answer this share of what is open.
WORTH = 0.04


@dataclass(frozen=True)
class Entry:
    """A row of Table A: least base of total, group and pair; numerator; steps of %, mean, n."""

    base: int
    group: int
    pair: int
    k: int
    pct: float
    mean: float
    n: int


# policy.md, Table A, typed anew.
TABLE_A = {
    "public": Entry(30, 30, 50, 10, 1, 0.1, 10),
    "cpp": Entry(10, 10, 10, 5, 1, 0.1, 5),
    "cluster": Entry(30, 30, 30, 5, 1, 0.1, 5),
    "school, n >= 50": Entry(20, 10, 10, 5, 1, 0.5, 5),
    "school, n 20-49": Entry(20, 10, 10, 5, 5, 0.5, 5),
}
SENSITIVE_BASE, SENSITIVE_K, SENSITIVE_SCHOOL_PCT, SENSITIVE_N = 10, 10, 5.0, 10
# Usable respondents from which on a school shows its total, sex, and stage too.
SCHOOL_SIZES = (20, 50, 100)
LOOKED_AFTER = Entry(30, 30, 30, 10, 1, 0.1, 10)


@dataclass(frozen=True)
class Steps:
    """What holds for one cell: thresholds and roundings, the strictest entry of each column."""

    base: int
    k: int
    pct: float
    mean: float
    n: float


@dataclass(frozen=True)
class Finding:
    """A count of which the attacker knows more than policy.md allows."""

    measure: str
    place: str
    quantity: str
    truth: float
    lower: float
    upper: float


@dataclass(frozen=True)
class World:
    """What holds before anything is released, and the truth by which an attack is judged.

    `truth`: unprotected estimates of linked measures (or one); `sizes`: respondents of each
    school; `cluster_of` a school, empty in surveys without clusters; `weights`: of a CPP's
    stage and sex, by which pupils of areas count; `sensitive`: measures; `scale` of mean
    scores. `linked`: whether the first measure holds the others. `n_slack`: by how many pupils
    the number of an area may be off beyond its rounding, since an earlier one stays.
    """

    truth: Sequence[Row]
    sizes: Mapping[str, int]
    cluster_of: Mapping[str, str]
    weights: Mapping[tuple[str, str], float]
    sensitive: frozenset[str]
    scale: tuple[float, float]
    measures: tuple[str, ...]
    linked: bool = False
    n_slack: int = 0
    by_cell: Mapping[tuple[str, Cell], Row] = field(init=False)

    def __post_init__(self) -> None:
        found = {(row["indicator"], cell_of(row)): row for row in self.truth}
        object.__setattr__(self, "by_cell", found)

    def rule(self, measure: str, cell: Cell, audience: str) -> Steps:
        """The row of Table A of a cell, in the public package or in its CPP's."""
        unit, breakdown, _ = cell
        level, _, name = unit.partition(":")
        row = TABLE_A[self._row(level, name, audience)]
        base = row.base if breakdown == "total" else row.pair if ":" in breakdown else row.group
        k, pct, n = row.k, row.pct, float(row.n)
        if breakdown == "looked_after":
            base, k = max(base, LOOKED_AFTER.group), max(k, LOOKED_AFTER.k)
            n = max(n, LOOKED_AFTER.n)
        if measure in self.sensitive:
            base, k, n = base + SENSITIVE_BASE, max(k, SENSITIVE_K), max(n, SENSITIVE_N)
            if level == "school":
                pct = max(pct, SENSITIVE_SCHOOL_PCT)
        return Steps(base, k, pct, row.mean, n)

    def school_base(self, measure: str, cell: Cell) -> int:
        """The base of a school's cell of the same breakdown."""
        row = TABLE_A["school, n >= 50"]
        base = row.base if cell[1] == "total" else row.group
        return base + (SENSITIVE_BASE if measure in self.sensitive else 0)

    def _row(self, level: str, name: str, audience: str) -> str:
        if level in ("tranche", "all") or (level == "cpp" and audience == "public"):
            return "public"
        if level == "school":
            return "school, n >= 50" if self.sizes[name] >= 50 else "school, n 20-49"
        return level


def cell_of(row: Row) -> Cell:
    """The cell that a row speaks of."""
    code = row["tranche"] if row["geography_level"] == "tranche" else row["geography_code"]
    return f"{row['geography_level']}:{code}", row["breakdown"], row["group"]


class Attacker:
    """Knows the rows released to him, and the public rolls by school, stage and sex.

    Unknowns are the pupils with a valid answer, and the positive ones (or the sum of scores)
    of each measure, of every stage by sex: in the schools of the CPP of `holder`, and in the
    other CPPs; and of the groups that some pupils' group is not known of.
    """

    def __init__(self, world: World, released: Sequence[Row], holder: str = "") -> None:
        """Write down what is known.

        Args:
            world: the sums that hold, the public rolls, and the truth for the end.
            released: rows of all packages that the attacker holds.
            holder: the CPP whose schools he sees into; empty for the public.
        """
        self.world, self.holder = world, holder
        self.rows = [row for row in released if row["indicator"] in world.measures]
        self.is_mean = any(row["statistic"] == "mean" for row in world.truth)
        self.leaves: dict[Cell, int] = {}
        self.parts: dict[Cell, list[int]] = {}
        self._name_cells()
        self.size = len(self.leaves)
        self._weight = self._weigh_leaves()
        self.upper: list[tuple[Vector, float]] = []
        self.equal: list[tuple[Vector, float]] = []
        self._know_sums()
        self._know_sizes()
        self.shown: dict[tuple[str, Cell], Row] = {}
        self.noted: list[tuple[str, str, Cell]] = []
        for row in self.rows:
            self._learn(row)
        self.solver: highspy.Highs | None = None

    def count(self, measure: str, cells: Sequence[Cell], truth: tuple[float, float]) -> None:
        """Pupils and positive answers (or sum of scores) of some cells together, exactly."""
        n, y = truth
        self.equal.append((_sum(self.pupils(cell) for cell in cells), n))
        self.equal.append((_sum(self.positive(measure, cell) for cell in cells), y))

    # --- What there is -----------------------------------------------------------------

    def _name_cells(self) -> None:
        """Leaves, and every cell as the leaves that it is the sum of."""
        first = self.world.measures[0]
        cells = [cell for measure, cell in self.world.by_cell if measure == first]
        parent = {f"cpp:{row['engagement']}": row["tranche"] for row in self._of_level("cpp")}
        inside = {f"school:{r['geography_code']}" for r in self._of_level("school", self.holder)}
        fine = {*inside, *(cpp for cpp in parent if cpp != f"cpp:{self.holder}")}
        for unit, breakdown, group in sorted(cells):
            if unit in fine and breakdown == "stage:sex":
                self._add_leaf((unit, breakdown, group), self._areas(unit, parent))
        for cpp in sorted(parent):
            for breakdown in PARTIAL:
                groups = [g for u, b, g in cells if u == cpp and b == breakdown]
                for group in [*sorted(groups), UNKNOWN] if groups else []:
                    areas = self._areas(cpp, parent) if breakdown == "simd_quintile" else [cpp]
                    self._add_leaf((cpp, breakdown, group), areas)

    def _of_level(self, level: str, engagement: str | None = None) -> Iterator[Row]:
        for row in self.world.truth:
            if row["geography_level"] == level and engagement in (None, row["engagement"]):
                yield row

    def _areas(self, unit: str, parent: Mapping[str, str]) -> list[str]:
        """The units that hold a leaf's pupils."""
        level, _, name = unit.partition(":")
        if level == "cpp":
            return [unit, f"tranche:{parent[unit]}", "all:all"]
        cpp = f"cpp:{self.holder}"
        areas = [unit, cpp, f"tranche:{parent[cpp]}", "all:all"]
        cluster = self.world.cluster_of.get(name)
        if cluster:
            areas.append(f"cluster:{cluster}")
            if self.world.sizes[name] < 20:
                areas.append(f"cluster:{cluster}-small")
        return areas

    def _add_leaf(self, leaf: Cell, areas: Iterable[str]) -> None:
        position = self.leaves[leaf] = len(self.leaves)
        _, breakdown, group = leaf
        kinds = [(breakdown, group)]
        if breakdown == "stage:sex":
            stage, sex = group.split(":")
            kinds += [("stage", stage), ("sex", sex), ("total", "all")]
        for area in areas:
            for kind, name in kinds:
                if not area.endswith("-small") or kind == "total":
                    self.parts.setdefault((area, kind, name), []).append(position)

    def pupils(self, cell: Cell) -> Vector:
        """Pupils with a valid answer in a cell."""
        return dict.fromkeys(self.parts[cell], 1.0)

    def positive(self, measure: str, cell: Cell) -> Vector:
        """Positive answers (or the sum of scores) in a cell."""
        offset = (1 + self.world.measures.index(measure)) * self.size
        return dict.fromkeys((offset + part for part in self.parts[cell]), 1.0)

    def _know_sums(self) -> None:
        """Who is positive has answered; groups add up; parts of a linked sum lie within it."""
        low, high = self.world.scale if self.is_mean else (0.0, 1.0)
        measures = self.world.measures
        for leaf in self.leaves:
            n = self.pupils(leaf)
            for measure in measures:
                y = self.positive(measure, leaf)
                self._at_most({**y, **_times(n, -high)}, 0)
                self._at_most({**_times(y, -1), **_times(n, low)}, 0)
            if self.world.linked:
                whole, *parts = (self.positive(measure, leaf) for measure in measures)
                self._at_most(_sum([*parts, _times(whole, -1)]), 0)
        units = {(unit, kind) for unit, kind, _ in self.leaves if kind in PARTIAL}
        for unit, kind in sorted(units):
            groups = [cell for cell in self.leaves if cell[:2] == (unit, kind)]
            total = (unit, "total", "all")
            pieces = [_sum(self.pupils(g) for g in groups)]
            wholes = [self.pupils(total)]
            for measure in measures:
                pieces.append(_sum(self.positive(measure, g) for g in groups))
                wholes.append(self.positive(measure, total))
            for piece, whole in zip(pieces, wholes, strict=True):
                self.equal.append((_sum([piece, _times(whole, -1)]), 0.0))

    def _know_sizes(self) -> None:
        """What a school shows tells how many answered at most; so does it that it shows nothing."""
        for unit in sorted({unit for unit, _, _ in self.leaves if unit.startswith("school:")}):
            size = self.world.sizes[unit.removeprefix("school:")]
            above = [least for least in SCHOOL_SIZES if size < least]
            if above:
                self._at_most(self.pupils((unit, "total", "all")), min(above) - 1)

    def roll(self, cell: Cell) -> float:
        """The public roll of a cell, where there is one."""
        row = self.world.by_cell.get((self.world.measures[0], cell))
        roll = None if row is None else row["roll_n"]
        if cell[0].endswith("-small"):
            cluster = cell[0].removeprefix("cluster:").removesuffix("-small")
            schools = [
                s for s, c in self.world.cluster_of.items()
                if c == cluster and self.world.sizes[s] < 20
            ]  # fmt: skip
            return sum(self.roll((f"school:{s}", "total", "all")) for s in schools)
        return math.inf if roll is None else float(roll)

    # --- What is released --------------------------------------------------------------

    def _at_most(self, vector: Vector, bound: float) -> None:
        self.upper.append((vector, bound))

    def _at_least(self, vector: Vector, bound: float) -> None:
        self._at_most(_times(vector, -1), -bound)

    def _learn(self, row: Row) -> None:
        """One released row: roundings and rules as bounds."""
        measure, cell = row["indicator"], cell_of(row)
        steps = self.world.rule(measure, cell, row["audience"].split("/")[0])
        n, y = self.pupils(cell), self.positive(measure, cell)
        if row["status"] in ("z", "x"):
            self._at_most(n, 0)
        elif row["status"] in SHOWN:
            self.shown[measure, cell] = row
            shown = float(row["n"])
            # Pupils are whole, and a half is rounded up: a shown 30, by tens, is 25 to 34.
            least, most = math.ceil(shown - steps.n / 2), math.ceil(shown + steps.n / 2) - 1
            if self._is_kept(row, least, most):
                least, most = least - self.world.n_slack, most + self.world.n_slack
            self._at_least(n, max(least, steps.base))
            self._at_most(n, most)
            self._learn_figure(row, steps, n, y)
        elif row["note"]:
            self.noted.append((measure, row["note"], cell))
            few = y if row["note"] == "low" else _sum([n, _times(y, -1)])
            self._at_least(n, steps.base)
            self._at_most(few, steps.k - 1)

    def _is_kept(self, row: Row, least: int, most: int) -> bool:
        """Whether a number is an earlier one: this attacker is told, others can but guess."""
        if row["geography_level"] in ("school", "cluster"):
            return False
        truth = self.world.by_cell[row["indicator"], cell_of(row)]["base_n"]
        return not least <= truth <= most

    def _weighted(self, vector: Vector, cell: Cell) -> Vector:
        """A sum over an area's leaves in which each pupil counts by the weight of stage and sex."""
        if cell[0].startswith(("school:", "cluster:")):
            return vector
        return {i: v * self._weight[i % self.size] for i, v in vector.items()}

    def _weigh_leaves(self) -> list[float]:
        found = []
        for unit, breakdown, group in self.leaves:
            name = self.holder if unit.startswith("school:") else unit.removeprefix("cpp:")
            heaviest = max(w for (cpp, _), w in self.world.weights.items() if cpp == name)
            is_weighted = breakdown == "stage:sex"
            found.append(self.world.weights.get((name, group), heaviest) if is_weighted else 1.0)
        return found

    def _figure(self, row: Row, steps: Steps) -> float:
        """The shown figure; of groups of pupils that no roll knows, what it would be unweighted."""
        cell = cell_of(row)
        if cell[1] not in PARTIAL:
            return float(row["estimate"])
        truth = self.world.by_cell[row["indicator"], cell]
        is_mean = row["statistic"] == "mean"
        step = steps.mean if is_mean else steps.pct
        count = truth["sum_x"] if is_mean else 100 * truth["numerator_n"]
        return math.floor(round(count / truth["base_n"] / step, 9) + 0.5) * step

    def _learn_figure(self, row: Row, steps: Steps, n: Vector, y: Vector) -> None:
        estimate = self._figure(row, steps)
        if row["statistic"] == "mean":
            low, high = estimate - steps.mean / 2, estimate + steps.mean / 2
            if row["ci_low"] is not None and cell_of(row)[1] not in PARTIAL:
                # The true mean stands in the middle of an interval that was rounded outward.
                middle = (float(row["ci_low"]) + float(row["ci_high"])) / 2
                low, high = max(low, middle - steps.mean / 2), min(high, middle + steps.mean / 2)
        else:
            low, high = (estimate - steps.pct / 2) / 100, (estimate + steps.pct / 2) / 100
            self._at_least(y, steps.k)
            self._at_least(_sum([n, _times(y, -1)]), steps.k)
            if row["geography_level"] in ("school", "cluster"):
                self._learn_whole(float(row["n"]), low, high, steps, n, y)
        n, y = self._weighted(n, cell_of(row)), self._weighted(y, cell_of(row))
        self._at_most(_sum([_times(n, low), _times(y, -1)]), 0)
        self._at_most(_sum([y, _times(n, -high)]), 0)

    def _learn_whole(
        self, shown: float, low: float, high: float, steps: Steps, n: Vector, y: Vector
    ) -> None:
        """Pupils and answers are whole: 8 % of a shown 65 is 5 pupils, of 63 to 66."""
        numbers = range(math.ceil(shown - steps.n / 2), math.ceil(shown + steps.n / 2))
        pairs = [
            (pupils, answers)
            for pupils in numbers
            for answers in range(pupils + 1)
            if low * pupils - 1e-9 <= answers
            and pupils - answers >= steps.k <= answers
            # Halves are rounded up, and nothing lies above 100 %.
            and (answers < high * pupils - 1e-9 or high > 1)
        ]
        for vector, values in (
            (n, [pupils for pupils, _ in pairs]),
            (y, [answers for _, answers in pairs]),
            (_sum([n, _times(y, -1)]), [pupils - answers for pupils, answers in pairs]),
        ):
            self._at_least(vector, min(values))
            self._at_most(vector, max(values))

    # --- What follows ------------------------------------------------------------------

    def columns(self) -> int:
        """Number of unknowns."""
        return self.size * (1 + len(self.world.measures))

    def solve(self, cost: Floats) -> Floats | None:
        """An x of least cost among those that what is known allows; None without a least.

        Each program begins where the last one ended: they differ in their cost alone.
        """
        if self.solver is None:
            self.solver = self._program()
        self.solver.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        self.solver.run()
        status = self.solver.getModelStatus()
        if status == highspy.HighsModelStatus.kUnbounded:
            self.solver.clearSolver()
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            why = self.solver.modelStatusToString(status)
            raise AssertionError(f"the released rows contradict each other: {why}")
        return np.asarray(self.solver.getSolution().col_value, dtype=np.float64)

    def _program(self) -> highspy.Highs:
        """What is known, as the rows and bounds of a linear program."""
        rolls = [self.roll(leaf) for leaf in self.leaves]
        most = np.array([*rolls, *[math.inf] * (self.columns() - self.size)])
        known = [(vector, -math.inf, bound) for vector, bound in self.upper]
        known += [(vector, bound, bound) for vector, bound in self.equal]
        rows = _matrix([vector for vector, _, _ in known], self.columns())
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.addVars(len(most), np.zeros(len(most)), most)
        solver.addRows(
            len(known),
            np.array([low for _, low, _ in known], dtype=np.float64),
            np.array([high for _, _, high in known], dtype=np.float64),
            rows.nnz,
            rows.indptr[:-1].astype(np.int32),
            rows.indices.astype(np.int32),
            rows.data.astype(np.float64),
        )
        return solver

    def interval(self, vector: Vector) -> tuple[float, float]:
        """What is possible of one sum."""
        cost = _dense(vector, self.columns())
        least, most = self.solve(cost), self.solve(-cost)
        return (
            -math.inf if least is None else float(cost @ least),
            math.inf if most is None else float(cost @ most),
        )


@dataclass
class Question:
    """A quantity that an attacker asks for, and what makes it safe.

    Safe if it can be as low as `low` and as high as `high`; if `width` is set, safe if its
    range is that wide, whatever its ends.
    """

    measure: str
    cell: Cell
    quantity: str
    truth: float
    vector: Vector
    low: float
    high: float
    width: float = 0.0

    def is_safe(self, low: float, high: float) -> bool:
        """Whether a range tells no more than it may."""
        if self.width >= 1:
            return math.floor(high + TOLERANCE) - math.ceil(low - TOLERANCE) >= self.width
        if self.width:
            return high - low >= self.width - TOLERANCE
        return low <= self.low + TOLERANCE and high >= self.high - TOLERANCE


class Attack:
    """A coalition's questions to everything that is released to it."""

    def __init__(
        self,
        world: World,
        released: Sequence[Row],
        *,
        holder: str = "",
        school: str = "",
        files: bool = False,
    ) -> None:
        """Choose the packages.

        Args:
            world: truth and public rolls.
            released: all protected rows.
            holder: engagement of the CPP whose package, with all its schools', is held beside
                the public one; empty for the public alone.
            school: with a holder: its code; only this school's package is held.
            files: files of answers are held, too: of the holder's CPP, or of all.
        """
        self.world, self.school = world, school
        audiences = ("public", f"cpp/{holder}")
        rows = [row for row in released if row["audience"] in audiences]
        if school:
            rows = [
                r for r in rows
                if r["audience"] == "public" or cell_of(r)[0] == f"school:{school}"
            ]  # fmt: skip
        self.rows = rows
        self.full, self.files = Attacker(world, rows, holder), files
        own = [row for row in rows if row["audience"] != "public"]
        # All of his own area, with or without rows; a school's is the school.
        self.own_units = {f"school:{school}"} if school else {f"cpp:{holder}"}
        if holder and not school:
            self.own_units |= {
                unit for unit, _, _ in self.full.parts if unit.startswith(("school:", "cluster:"))
            }
        self.before = self._counting(Attacker(world, own, holder))
        self.rolls_alone = self._counting(Attacker(world, [], holder))
        self._counting(self.full)

    def _counting(self, attacker: Attacker) -> Attacker:
        """Who knows what files of answers count: stage by sex, and SIMD in three groups."""
        for unit in {unit for unit, _, _ in self.full.parts} if self.files else ():
            if unit != f"cpp:{self.full.holder}" and (self.full.holder or unit[:4] != "cpp:"):
                continue
            for kind, groups in (
                ("stage:sex", None),
                *(("simd_quintile", names) for names in ("1", "234", "5", UNKNOWN)),
            ):
                cells = [c for c in self.full.parts if c[:2] == (unit, kind)]
                among = [[c] for c in cells] if groups is None else [
                    [c for c in cells if c[2] in groups]
                ]  # fmt: skip
                for measure, some in product(self.world.measures, among):
                    truths = [self._truth(measure, cell) or (0.0, 0.0) for cell in some]
                    if some:
                        both = (sum(t[0] for t in truths), sum(t[1] for t in truths))
                        attacker.count(measure, some, both)
        return attacker

    def findings(self, *, strict: bool = False) -> list[Finding]:
        """Every quantity that the packages say too much of.

        Args:
            strict: also judge the base of a cluster by its own row of Table A (else by its
                schools', whose shown cells add up to it); clusters that have no figures,
                whose schools are judged each for itself; bases of groups that have no
                figures; and what the parts of a linked sum leave over, which no cell is made
                of.
        """
        questions = list(self._questions(strict=strict))
        ranges = self._ranges(questions)
        found = []
        for question, (low, high) in zip(questions, ranges, strict=True):
            if question.is_safe(low, high) or self._is_known_before(question, low, high):
                continue
            found.append(
                Finding(
                    question.measure,
                    "/".join(question.cell),
                    question.quantity,
                    question.truth,
                    low,
                    high,
                )
            )
        return found

    def _ranges(self, questions: Sequence[Question]) -> list[tuple[float, float]]:
        """A range for each question that is at least as wide as safety asks, or exact.

        Every solution is a table that fits: it answers for all questions at once.
        """
        if not questions:
            return []
        size = self.full.columns()
        asked = _matrix([q.vector for q in questions], size)
        low = high = np.array([q.truth for q in questions])
        rng = np.random.default_rng(1)

        def take(x: Floats | None) -> None:
            nonlocal low, high
            if x is not None:
                low, high = np.minimum(low, asked @ x), np.maximum(high, asked @ x)

        def is_open(i: int) -> bool:
            return not questions[i].is_safe(low[i], high[i])

        before, open_ = len(questions) / WORTH, np.ones(len(questions))
        while before - open_.sum() > WORTH * before:
            before = open_.sum()
            take(self.full.solve(asked.T @ (open_ * rng.choice([-1.0, 1.0], len(open_)))))
            open_ = np.array([float(is_open(i)) for i in range(len(questions))])
        for i, question in enumerate(questions):
            for sign in (1.0, -1.0):
                enough = low[i] <= question.low if sign > 0 else high[i] >= question.high
                if is_open(i) and (question.width or not enough):
                    x = self.full.solve(sign * _dense(question.vector, size))
                    take(x)
                    if x is None:
                        low[i], high[i] = (-math.inf, high[i]) if sign > 0 else (low[i], math.inf)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def _is_known_before(self, question: Question, low: float, high: float) -> bool:
        """Whether what is known without the release allows no more.

        Of its own area a coalition knows the public rolls; of others', its own packages too.
        """
        is_own = question.cell[0] in self.own_units
        before = self.rolls_alone if is_own else self.before
        known_low, known_high = before.interval(question.vector)
        if question.width:
            return not question.is_safe(known_low, known_high)
        lowest = max(question.low, math.ceil(known_low - TOLERANCE))
        highest = min(question.high, math.floor(min(known_high, 1e9) + TOLERANCE))
        return low <= lowest + TOLERANCE and high >= highest - TOLERANCE

    # --- What is asked -----------------------------------------------------------------

    def _questions(self, *, strict: bool) -> Iterator[Question]:
        for measure in self.world.measures:
            released = self._released(measure)
            for cell in self.full.parts:
                row = released.get(cell)
                if row is not None and row["status"] != "c":
                    continue
                truth = self._truth(measure, cell)
                if truth is None or self.full.roll(cell) == 0:
                    continue
                if not strict and row is None and cell[0].startswith("cluster:"):
                    continue
                yield from self._small(measure, cell, row, truth, strict=strict)
                if row is not None:
                    yield from self._not_exact(measure, cell, truth)
        if self.world.linked and strict:
            yield from self._rests()

    def _released(self, measure: str) -> dict[Cell, Row]:
        """The row of each cell; of his own CPP, the row of his own package."""
        found: dict[Cell, Row] = {}
        for row in self.rows:
            cell = cell_of(row)
            if row["indicator"] == measure and (cell not in found or row["audience"] != "public"):
                found[cell] = row
        return found

    def _truth(self, measure: str, cell: Cell) -> tuple[float, float] | None:
        """Pupils and positive answers (or sum of scores) of a cell."""
        unit, _, group = cell
        if group == UNKNOWN:
            groups = [c for c in self.full.parts if c[:2] == cell[:2] and c[2] != UNKNOWN]
            parts = [self._truth(measure, c) for c in groups]
            whole = self._truth(measure, (unit, "total", "all"))
            known = [p for p in parts if p is not None]
            if whole is None:
                return None
            return whole[0] - sum(p[0] for p in known), whole[1] - sum(p[1] for p in known)
        if unit.endswith("-small"):
            cluster = unit.removeprefix("cluster:").removesuffix("-small")
            small = [
                self._truth(measure, (f"school:{s}", "total", "all"))
                for s, c in self.world.cluster_of.items()
                if c == cluster and self.world.sizes[s] < 20
            ]
            known = [p for p in small if p is not None]
            return sum(p[0] for p in known), sum(p[1] for p in known)
        row = self.world.by_cell.get((measure, cell))
        if row is None or row["reason"] in ("no_roll", "not_asked"):
            return None
        y = row["sum_x"] if row["statistic"] == "mean" else row["numerator_n"]
        return float(row["base_n"] or 0), float(y or 0)

    def _small(
        self,
        measure: str,
        cell: Cell,
        row: Row | None,
        truth: tuple[float, float],
        *,
        strict: bool,
    ) -> Iterator[Question]:
        """Quantities below their k."""
        audience = "public" if row is None else row["audience"].split("/")[0]
        if row is None and cell[0] == f"cpp:{self.full.holder}" and not self.school:
            audience = "cpp"
        rule, roll = self.world.rule(measure, cell, audience), self.full.roll(cell)
        n, y = self.full.pupils(cell), self.full.positive(measure, cell)
        k_base = rule.base
        if not strict and cell[0].startswith("cluster:"):
            # A cluster is shown from more pupils on than may be worked out of its schools.
            k_base = self.world.school_base(measure, cell)
        quantities = []
        if strict or row is not None or cell[1] == "total" or cell[2] == UNKNOWN:
            # How many of a group without figures answered is in no table.
            quantities.append(("base", truth[0], k_base, n, 1.0, min(float(k_base), roll)))
        if not self.full.is_mean:
            for name, note, count, vector in (
                ("numerator", "low", truth[1], y),
                ("complement", "high", truth[0] - truth[1], _sum([n, _times(y, -1)])),
            ):
                noted = row is not None and row["note"] == note
                told = noted or (row is None and self._is_inside_noted(measure, note, cell))
                low, high = 0.0 if noted else 1.0, min(rule.k - 1.0 if told else rule.k, roll)
                quantities.append((name, count, rule.k, vector, low, high))
        for name, count, k, vector, low, high in quantities:
            if count < k:
                yield Question(measure, cell, name, count, vector, low, high)

    def _is_inside_noted(self, measure: str, note: str, cell: Cell) -> bool:
        """Whether a cell without a row lies in one whose note speaks of all that it holds."""
        mine = set(self.full.parts[cell])
        return any(
            mine <= set(self.full.parts[whole])
            for noted, its_note, whole in self.full.noted
            if (noted, its_note) == (measure, note)
        )

    def _not_exact(
        self, measure: str, cell: Cell, truth: tuple[float, float]
    ) -> Iterator[Question]:
        """No suppressed cell is recovered exactly; a mean, not to within half its step."""
        n, y = self.full.pupils(cell), self.full.positive(measure, cell)
        if not self.full.is_mean:
            yield Question(measure, cell, "exact base", truth[0], n, 0, 0, width=1)
            yield Question(measure, cell, "exact numerator", truth[1], y, 0, 0, width=1)
            others = truth[0] - truth[1]
            yield Question(
                measure, cell, "exact complement", others, _sum([n, _times(y, -1)]), 0, 0, width=1
            )
        elif truth[0] > 0:
            step = self.world.rule(measure, cell, "cpp").mean
            yield Question(
                measure, cell, "mean", truth[1], y, 0, 0, width=min(0.999, step * truth[0] / 2)
            )

    def _rests(self) -> Iterator[Question]:
        """What the parts of a linked sum leave over is a count as well."""
        whole, *parts = self.world.measures
        for cell, row in self._released(whole).items():
            truths = [self._truth(m, cell) for m in self.world.measures]
            counts = [t[1] for t in truths if t is not None]
            if len(counts) < len(truths):
                continue
            rest = counts[0] - sum(counts[1:])
            k = self.world.rule(whole, cell, row["audience"].split("/")[0]).k
            if rest < k:
                vectors = [_times(self.full.positive(m, cell), -1) for m in parts]
                vector = _sum([self.full.positive(whole, cell), *vectors])
                high = min(float(k), self.full.roll(cell))
                yield Question(whole, cell, "rest", rest, vector, 1.0, high)


def _times(vector: Vector, factor: float) -> Vector:
    return {i: v * factor for i, v in vector.items()}


def _sum(vectors: Iterable[Vector]) -> Vector:
    found: Vector = {}
    for vector in vectors:
        for i, value in vector.items():
            found[i] = found.get(i, 0.0) + value
    return found


def _dense(vector: Vector, columns: int) -> Floats:
    dense = np.zeros(columns)
    dense[list(vector)] = list(vector.values())
    return dense


def _matrix(vectors: Sequence[Vector], columns: int) -> csr_array:
    data = [v for vector in vectors for v in vector.values()]
    index = [i for vector in vectors for i in vector]
    rows = [r for r, vector in enumerate(vectors) for _ in vector]
    return csr_array((data, (rows, index)), shape=(len(vectors), columns))
