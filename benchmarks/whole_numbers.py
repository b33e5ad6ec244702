"""An attack that knows that children are whole: integer programs on the tables of schools.

Run from the top of the project: `python -m benchmarks.whole_numbers HOME [--cpp t3-moray]
[--seconds 600]`. HOME is an installation with a release. Schools' rows are read from their CPP's
package, where they stand as in their own (`third_party.py` compares them); the warehouse for rolls,
which are public, for what a file of answers counts, and afterwards, to say whether what was worked
out is true.

Linear programs (the audit, `third_party.py`) let a pupil be half one. Here pupils and positive
answers of stage by sex are whole numbers, and a percentage is a share of them: of each hidden
numerator and complement below its threshold the least and the most are worked out exactly
(HiGHS, branch and bound). Without `--cpp` the reader has one school's package alone: tables drawn
in a fixed order, until the time is over. With it he has all schools of a CPP's secondary survey
and the CPP's file of answers, which counts the answers of stage by sex exactly.

Prints: tables, targets, those whose interval is narrower than policy.md allows ("rounded inward to
integers, lower <= max(1, L) and upper >= min(k, U)"), and those worked out exactly. Belongs here:
an attack that shares no code with the platform. Does not belong here: other tables and readers
(`third_party.py`), timing.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import highspy
import numpy as np

# As a reader has them from policy.md, Table A, school, not as the platform's policy data say:
# threshold, group's and total's base, step of n, of percentages from 50 respondents on; and the
# same of sensitive questions.
OPEN, SENSITIVE = (5, 10, 20, 5, 1), (10, 20, 30, 10, 5)
# A program that takes longer says nothing.
PROGRAM_SECONDS = 20.0
SEED = 5
Cell = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """What a school's table says of a cell, its public roll, and the counts behind, for judging."""

    n: float | None
    pct: float | None
    status: str
    note: str
    roll: int
    base: int
    numerator: int


Table = dict[Cell, Row]


@dataclass
class System:
    """Whole unknowns (a table's pupils, then positive answers, leaf by leaf) and what is told."""

    upper: list[float] = field(default_factory=list)
    rows: list[tuple[dict[int, float], float, float]] = field(default_factory=list)

    def add(self, upper: Sequence[float]) -> int:
        """More unknowns, by what each is at most; where they begin."""
        start = len(self.upper)
        self.upper += upper
        return start

    def solver(self) -> highspy.Highs:
        """A solver of the system."""
        highs = highspy.Highs()
        for name, chosen in (
            ("output_flag", False),
            ("threads", 1),
            ("time_limit", PROGRAM_SECONDS),
        ):
            highs.setOptionValue(name, chosen)
        for upper in self.upper:
            highs.addVar(0.0, upper)
        size = len(self.upper)
        whole = np.full(size, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
        highs.changeColsIntegrality(size, np.arange(size, dtype=np.int32), whole)
        for terms, low, high in self.rows:
            at, value = np.array(list(terms), dtype=np.int32), np.array(list(terms.values()), float)
            highs.addRow(low, high, len(at), at, value)
        return highs


@dataclass
class School:
    """One school's table of one indicator in a system: its leaves and where they stand."""

    table: Table
    is_sensitive: bool
    leaves: list[str]
    system: System
    start: int

    @property
    def rule(self) -> tuple[int, int, int, int, int]:
        """Its thresholds and steps."""
        return SENSITIVE if self.is_sensitive else OPEN

    def members(self, cell: Cell) -> list[int]:
        """The leaves that a cell is the sum of."""
        breakdown, group = cell
        parts = {
            "total": lambda _: True,
            "sex": lambda leaf: leaf.split(":")[-1] == group,
            "stage": lambda leaf: leaf.split(":")[0] == group,
        }
        is_in = parts.get(breakdown, lambda leaf: leaf == group)
        return [at for at, leaf in enumerate(self.leaves) if is_in(leaf)]

    def pupils(self, cell: Cell, factor: float = 1.0) -> dict[int, float]:
        """The pupils of a cell as a sum of unknowns."""
        return {self.start + at: factor for at in self.members(cell)}

    def positive(self, cell: Cell, factor: float = 1.0) -> dict[int, float]:
        """Its positive answers."""
        return {self.start + len(self.leaves) + at: factor for at in self.members(cell)}

    def tell(self) -> None:
        """Everything that the table says."""
        k, group_base, total_base, n_step, pct_step = self.rule
        rows, size, inf = self.system.rows, len(self.leaves), math.inf
        for at in range(self.start, self.start + size):
            rows.append(({at: 1.0, at + size: -1.0}, 0.0, inf))
        shown = {cell[0] for cell, row in self.table.items() if row.status in ("published", "u")}
        for cell, row in self.table.items():
            n, y = self.pupils(cell), self.positive(cell)
            others = n | self.positive(cell, -1.0)
            if cell[0] in shown or row.note:
                rows.append((n, total_base if cell[0] == "total" else group_base, inf))
            if row.n is not None and row.pct is not None:
                # Halves are rounded up, so that the upper end is none of it.
                rows.append((n, math.ceil(row.n - n_step / 2), math.ceil(row.n + n_step / 2) - 1))
                for side, low, high in ((-1, 0.0, inf), (1, -inf, -1.0)):
                    terms = self.pupils(cell, -(2 * row.pct + side * pct_step))
                    rows.append((terms | self.positive(cell, 200.0), low, high))
                rows.extend([(y, k, inf), (others, k, inf)])
            elif row.note:
                rows.append((y if row.note == "low" else others, 0.0, k - 1.0))


def table_of(rows: Mapping[Cell, Row], *, is_sensitive: bool, system: System) -> School | None:
    """A school's table in a system; None where it has no stage by sex (below 100 respondents)."""
    leaves = sorted(group for breakdown, group in rows if breakdown == "stage:sex")
    if not leaves:
        return None
    rolls = [float(rows["stage:sex", leaf].roll) for leaf in leaves]
    school = School(dict(rows), is_sensitive, leaves, system, system.add(rolls * 2))
    school.tell()
    return school


@dataclass(frozen=True)
class FileSays:
    """Most and least positive answers, and others, of a school's leaf, from a file alone."""

    most_y: int
    least_y: int
    most_others: int
    least_others: int


@dataclass
class Said:
    """What an attack came to."""

    tables: int = 0
    targets: int = 0
    narrow: int = 0
    exact: int = 0
    unsolved: int = 0
    untrue: int = 0
    places: list[str] = field(default_factory=list)

    def words(self) -> str:
        """One line."""
        return (
            f"{self.tables} tables, {self.targets} targets, {self.narrow} too narrow, {self.exact} "
            f"exact, {self.unsolved} not solved in time, {self.untrue} that leave the truth out"
        )


def ends(highs: highspy.Highs, terms: Mapping[int, float]) -> tuple[int, int] | None:
    """The least and the most of a sum of unknowns; None if one was not found in time."""
    found = []
    for sense in (highspy.ObjSense.kMinimize, highspy.ObjSense.kMaximize):
        for at in range(highs.getNumCol()):
            highs.changeColCost(at, terms.get(at, 0.0))
        highs.changeObjectiveSense(sense)
        highs.clearSolver()
        highs.run()
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found.append(highs.getInfo().objective_function_value)
    return math.ceil(found[0] - 1e-6), math.floor(found[1] + 1e-6)


def attack(
    name: str, school: School, highs: highspy.Highs, said: Said, file: Mapping[str, FileSays]
) -> None:
    """Ask each small hidden numerator and complement of a school's table.

    Args:
        name: of school and indicator.
        school: its table in the system.
        highs: the solver of the system.
        said: what is counted.
        file: what the CPP's file says of each leaf by itself; empty without it.
    """
    k, said.tables = school.rule[0], said.tables + 1
    for cell, row in school.table.items():
        if row.status != "c":
            continue
        leaves = [school.leaves[at] for at in school.members(cell)]
        known = [file[leaf] for leaf in leaves if leaf in file]
        for part, true, note in (
            ("numerator", row.numerator, "low"),
            ("complement", row.base - row.numerator, "high"),
        ):
            if true >= k:
                continue
            said.targets += 1
            terms = school.positive(cell)
            least, most = sum(one.least_y for one in known), sum(one.most_y for one in known)
            if part == "complement":
                terms = school.pupils(cell) | school.positive(cell, -1.0)
                least = sum(one.least_others for one in known)
                most = sum(one.most_others for one in known)
            found = ends(highs, terms)
            if found is None:
                said.unsolved += 1
                continue
            said.untrue += not found[0] <= true <= found[1]
            is_noted = row.note == note
            least = max(0 if is_noted else 1, least)
            most = min(k - 1 if is_noted else k, row.roll, most if known else row.roll)
            if found[0] > least or found[1] < most:
                said.narrow += 1
                said.exact += found[0] == found[1]
                said.places.append(f"{name} {cell[0]} {cell[1]} {part} within {found}")


_ROWS = """
select s.engagement, s.geography_code, s.survey, s.indicator, s.breakdown, s."group",
    s.n::double, s.estimate::double, s.status, coalesce(s.note, ''),
    t.roll_n::integer, t.base_n::integer, t.numerator_n::integer
from read_parquet('{release}/cpp/*/parquet/estimates.parquet') as s
inner join w.wellbeing.estimates as t
    using (engagement, geography_code, survey, indicator, breakdown, "group", statistic)
where s.geography_level = 'school' and t.geography_level = 'school' and s.statistic = 'pct'
    and s.status <> 'x' and t.base_n is not null and t.numerator_n is not null
    and {chosen}
order by all
"""
_FILE = """
select indicator, "group", base_n::integer, numerator_n::integer
from w.wellbeing.estimates
where geography_level = 'cpp' and engagement = ? and survey = 'secondary'
    and breakdown = 'stage:sex' and statistic = 'pct' and base_n is not null
order by all
"""


def tables_of(
    con: duckdb.DuckDBPyConnection, release: Path, chosen: str
) -> dict[tuple[str, str, str], Table]:
    """(school, survey, indicator) → its rows, as the school's package and its CPP's have them."""
    found: dict[tuple[str, str, str], Table] = defaultdict(dict)
    for row in con.execute(_ROWS.format(release=release, chosen=chosen)).fetchall():
        _, school, survey, indicator, breakdown, group, *told = row
        found[school, survey, indicator][breakdown, group] = Row(*told)
    return found


def each_school(
    tables: Mapping[tuple[str, str, str], Table], sensitive: set[str], seconds: float
) -> Said:
    """One school's package at a time, in a fixed drawn order, until the time is over."""
    said, until = Said(), time.monotonic() + seconds
    keys = sorted(tables)
    random.Random(SEED).shuffle(keys)
    for key in keys:
        if time.monotonic() > until:
            break
        system = System()
        school = table_of(tables[key], is_sensitive=key[2] in sensitive, system=system)
        if school is not None:
            attack(" ".join(key), school, system.solver(), said, {})
    return said


def one_cpp(
    tables: Mapping[tuple[str, str, str], Table],
    file: Mapping[str, Mapping[str, tuple[int, int]]],
    sensitive: set[str],
    seconds: float,
) -> Said:
    """All schools of a CPP's secondary survey beside its file of answers, question by question."""
    said, until = Said(), time.monotonic() + seconds
    for indicator in sorted(file):
        if time.monotonic() > until:
            break
        system, is_sensitive = System(), indicator in sensitive
        placed = {
            school: table_of(rows, is_sensitive=is_sensitive, system=system)
            for (school, survey, name), rows in sorted(tables.items())
            if (survey, name) == ("secondary", indicator)
        }
        if None in placed.values():
            continue  # a school without stage by sex: what it leaves out is not known
        for leaf, counts in file[indicator].items():
            cell = ("stage:sex", leaf)
            having = [school for school in placed.values() if school and cell in school.table]
            for count, sums in zip(counts, (School.pupils, School.positive), strict=True):
                terms = {at: 1.0 for school in having for at in sums(school, cell)}
                if terms:
                    system.rows.append((terms, count, count))
        highs = system.solver()
        for key, school in placed.items():
            if school is not None:
                others = [other for other in placed.values() if other and other is not school]
                known = {
                    leaf: _alone(counts, leaf, others) for leaf, counts in file[indicator].items()
                }
                attack(f"{key} {indicator}", school, highs, said, known)
    return said


def _alone(counts: tuple[int, int], leaf: str, others: Sequence[School]) -> FileSays:
    """What a file says of one school's leaf by itself, with the rolls of the other schools."""
    n, y = counts
    cell = ("stage:sex", leaf)
    elsewhere = sum(school.table[cell].roll for school in others if cell in school.table)
    return FileSays(y, max(0, y - elsewhere), n - y, max(0, n - y - elsewhere))


def main() -> int:
    """Attack the current release of an installation."""
    parser = argparse.ArgumentParser(description="Integer programs on the tables of schools.")
    parser.add_argument("home", type=Path)
    parser.add_argument("--cpp", metavar="KEY", help="its schools together, with its file")
    parser.add_argument("--seconds", type=float, default=600.0)
    chosen = parser.parse_args()
    release = (chosen.home / "releases" / "current").resolve()
    with duckdb.connect() as con:
        con.execute(f"attach '{chosen.home / 'warehouse.duckdb'}' as w (read_only)")
        sensitive = {
            name
            for (name,) in con.execute(
                f"select indicator from '{release}/public/parquet/indicators.parquet' "
                "where is_sensitive"
            ).fetchall()
        }
        tables = tables_of(con, release, f"engagement = '{chosen.cpp}'" if chosen.cpp else "true")
        file: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        for indicator, leaf, base, numerator in (
            con.execute(_FILE, [chosen.cpp]).fetchall() if chosen.cpp else ()
        ):
            file[indicator][leaf] = (base, numerator)
    if chosen.cpp:
        said = one_cpp(tables, file, sensitive, chosen.seconds)
        print(f"{chosen.cpp}, its schools and its file: {said.words()}")
    else:
        said = each_school(tables, sensitive, chosen.seconds)
        print(f"one school's package alone: {said.words()}")
    for place in said.places[:20]:
        print(f"  {place}")
    return 1 if said.narrow or said.untrue else 0


if __name__ == "__main__":
    sys.exit(main())
