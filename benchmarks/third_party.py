"""An attack on a published release by somebody who has only its files.

Run from the top of the project: `python -m benchmarks.third_party HOME`. HOME is an installation
with a release; its packages are read as their readers would (CSV and Parquet, nothing of the
platform), and the warehouse only afterwards, to say whether what was worked out is true.

Readers: the public; each CPP with the public package; each school with the public package. Each
indicator is one linear program: pupils and positive answers of each place and group, with the
sums over sex, stage and places, what is shown with its rounding, what a shown figure says of the
rule that let it through, and the notes. Of every hidden cell the least and the most pupils,
positive answers and others are asked, one program each. Weighted percentages of areas are left
out: no count follows from them.

Prints, a reader: hidden cells, programs, counts worked out exactly, and small counts whose
interval is narrower than from 1 to k. Before that: whether two packages contradict each other.
Belongs here: an attack that shares no code with the audit, nor its model of a reader. Does not
belong here: what the policy allows (`disclosure/data/policy.yaml`), timing.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import highspy
import numpy as np
import pandas as pd

CELL = ["survey", "indicator", "geography_level", "geography_code", "breakdown", "group"]
# Breakdowns whose groups are all pupils of the place; others leave out whose group is not known.
WHOLE = {"sex", "stage", "stage:sex"}
STRICT = {"looked_after", "ethnicity"}
UNWEIGHTED = {"school", "cluster"}
# A shown percentage was let through by a rule of at least so many pupils on either side.
LEAST_SIDE, LEAST_BASE = 5, 10
TOLERANCE = 1e-6


def read_package(folder: Path, reader: str, sensitive: set[str]) -> pd.DataFrame:
    """A package's estimates as its reader opens them.

    `source` says whose rounding they have, `k` the least numerator that their rule shows.
    """
    table = folder / "csv" / "estimates.csv"
    if reader == "school":
        table = folder / "table.csv"
    if table.is_file():
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    else:
        frame = duckdb.sql(f"from '{folder / 'parquet' / 'estimates.parquet'}'").df().astype(str)
        frame = frame.replace({"None": "", "nan": "", "<NA>": ""})
    for name in ("n", "estimate"):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    is_strict = frame.indicator.isin(sensitive) | frame.breakdown.isin(STRICT)
    k = np.where(is_strict | (reader == "public"), 10, LEAST_SIDE)
    return frame.assign(source=reader, k=k)[frame.survey != "parent"]


def parents_of(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Place → the place that it lies in."""
    frame = duckdb.sql(f"from '{folder / 'parquet' / 'geographies.parquet'}'").df()
    return {
        (row.geography_level, row.geography_code): (row.parent_level, row.parent_code)
        for row in frame.itertuples()
        if isinstance(row.parent_code, str)
    }


def step(values: pd.Series, coarse: float, fine: float) -> float:
    """To what figures were rounded, as far as they tell: the coarser, if all of them fit."""
    return coarse if ((values / coarse) % 1).abs().max() < TOLERANCE else fine


class Program:
    """Pupils (n) and positive answers (y) of each cell of one indicator."""

    def __init__(self, rows: pd.DataFrame, parents: dict[tuple[str, str], tuple[str, str]]) -> None:
        self.rows = rows
        self.keys = list(dict.fromkeys(map(tuple, rows[CELL[2:]].to_numpy())))
        self.at = {key: i for i, key in enumerate(self.keys)}
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.lines: list[dict[int, float]] = []
        self.noted: dict[tuple[tuple[str, ...], str], int] = {}
        self._logic()
        self._sums(parents)
        self._shown()

    def line(self, terms: dict[int, float], lower: float, upper: float) -> None:
        """Take up that a sum lies between two numbers."""
        self.lines.append(terms)
        self.lower.append(lower)
        self.upper.append(upper)

    def n(self, key: tuple[str, ...]) -> int:
        """The unknown that is the pupils of a cell; the next one is the positive answers."""
        return 2 * self.at[key]

    def _logic(self) -> None:
        for key in self.keys:
            self.line({self.n(key): 1, self.n(key) + 1: -1}, 0, math.inf)

    def _sums(self, parents: dict[tuple[str, str], tuple[str, str]]) -> None:
        groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        places: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for key in self.keys:
            level, code, breakdown, group = key
            if breakdown != "total":
                groups.setdefault((level, code, "total", "all", breakdown), []).append(key)
            if breakdown == "stage:sex":
                stage, sex = group.split(":")
                for name, one in (("stage", stage), ("sex", sex)):
                    groups.setdefault((level, code, name, one, breakdown), []).append(key)
            if (level, code) in parents and not code.endswith("-small"):
                places.setdefault((*parents[level, code], breakdown, group, level), []).append(key)
        for (*whole, breakdown), parts in groups.items():
            self._add_up(tuple(whole), parts, exact=breakdown in WHOLE)
        for (*whole, level), parts in places.items():
            self._add_up(tuple(whole), parts, exact=level in ("cpp", "tranche"))

    def _add_up(self, whole: tuple[str, ...], parts: list[tuple[str, ...]], *, exact: bool) -> None:
        if whole not in self.at:
            return
        for offset in (0, 1):
            terms = {self.n(whole) + offset: 1.0}
            terms |= {self.n(part) + offset: -1.0 for part in parts}
            self.line(terms, 0, 0 if exact else math.inf)

    def _shown(self) -> None:
        for (_, code), rows in self.rows.groupby(["source", "geography_code"]):
            shown = rows[rows.status.isin(["published", "u"])]
            if not len(shown):
                continue
            n_half = step(shown.n.dropna(), 10, 5) / 2
            pct_half = step(shown.estimate.dropna(), 5, 1) / 2
            for row in shown.itertuples():
                key = (row.geography_level, code, row.breakdown, row.group)
                n, y = self.n(key), self.n(key) + 1
                self.line({n: 1}, max(row.n - n_half, LEAST_BASE), row.n + n_half)
                if row.statistic != "pct":
                    continue
                self.line({y: 1}, LEAST_SIDE, math.inf)
                self.line({n: 1, y: -1}, LEAST_SIDE, math.inf)
                if row.geography_level in UNWEIGHTED:
                    self.line({y: 1, n: -(row.estimate - pct_half) / 100}, 0, math.inf)
                    self.line({y: 1, n: -(row.estimate + pct_half) / 100}, -math.inf, 0)
        for row in self.rows[self.rows.note.isin(["low", "high"])].itertuples():
            key = (row.geography_level, row.geography_code, row.breakdown, row.group)
            terms = {self.n(key) + 1: 1.0}
            if row.note == "high":
                terms = {self.n(key): 1.0, self.n(key) + 1: -1.0}
            self.line(terms, 0, row.k - 1)
            noted = key, "positive" if row.note == "low" else "others"
            self.noted[noted] = min(row.k, self.noted.get(noted, row.k))

    def solver(self, without: set[int]) -> highspy.Highs:
        """The program, without some of its lines."""
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        size = 2 * len(self.keys)
        highs.addVars(size, np.zeros(size), np.full(size, highspy.kHighsInf))
        for i, terms in enumerate(self.lines):
            if i not in without:
                index = np.fromiter(terms, dtype=np.int32)
                value = np.fromiter(terms.values(), dtype=float)
                highs.addRow(self.lower[i], self.upper[i], len(index), index, value)
        return highs

    def broken_by(self, truth: dict[tuple[str, ...], tuple[float, float]]) -> set[int]:
        """Lines that the true counts break: a reader who believed them would be misled."""
        x = np.zeros(2 * len(self.keys))
        for key, i in self.at.items():
            x[2 * i : 2 * i + 2] = truth.get(key, (0.0, 0.0))
        broken = set()
        for i, terms in enumerate(self.lines):
            value = sum(x[j] * by for j, by in terms.items())
            if not self.lower[i] - 1e-4 <= value <= self.upper[i] + 1e-4:
                broken.add(i)
        return broken


def interval(highs: highspy.Highs, terms: dict[int, float]) -> tuple[float, float]:
    """Least and most of a sum, rounded inward to whole pupils."""
    found = []
    for sign in (1.0, -1.0):
        for j, by in terms.items():
            highs.changeColCost(j, sign * by)
        highs.run()
        status = highs.getModelStatus()
        value = highs.getInfo().objective_function_value
        if status == highspy.HighsModelStatus.kInfeasible:
            raise ValueError("the packages contradict each other")
        found.append(sign * value if status == highspy.HighsModelStatus.kOptimal else sign * -1e9)
        for j in terms:
            highs.changeColCost(j, 0.0)
    return math.ceil(found[0] - 1e-5), math.floor(found[1] + 1e-5)


def attack(
    rows: pd.DataFrame,
    parents: dict[tuple[str, str], tuple[str, str]],
    truth: pd.DataFrame,
    sensitive: set[str],
) -> dict[str, object]:
    """What one reader can work out, and which of it he should not."""
    hidden_n = programs_n = exact_n = narrow_n = misled_n = 0
    found: list[str] = []
    known = {
        key: dict(zip(map(tuple, part[CELL[2:]].to_numpy()), part.itertuples(), strict=True))
        for key, part in truth.groupby(["survey", "indicator"])
    }
    # Who reads a CPP's package knows its children's figures by the CPP's own thresholds. Where a
    # tranche or all areas hold few others, that follows him there: it is no leak of the release.
    # A tranche of one CPP holds the same figures again.
    knows_own = "cpp" in set(rows.source)
    above = Counter(parent for (level, _), parent in parents.items() if level == "cpp")
    own = {place for place, n in above.items() if n == 1 and knows_own}
    for (survey, indicator), part in rows.groupby(["survey", "indicator"]):
        program = Program(part, parents)
        told = known.get((survey, indicator), {})
        counts = {key: (row.base, row.numerator) for key, row in told.items()}
        broken = program.broken_by(counts) if part.statistic.iloc[0] == "pct" else set()
        misled_n += len(broken)
        highs = program.solver(broken)
        hidden = {tuple(row) for row in part.loc[part.status == "c", CELL[2:]].to_numpy()} - {
            tuple(row)
            for row in part.loc[part.status.isin(["published", "u"]), CELL[2:]].to_numpy()
        }
        for key in sorted(key for key in hidden if key[:2] not in own):
            hidden_n += 1
            row = told.get(key)
            if row is None:
                continue
            n = program.n(key)
            asked = {"pupils": ({n: 1.0}, row.base, LEAST_BASE)}
            if row.statistic == "pct":
                is_public = key[0] not in UNWEIGHTED and not knows_own
                is_strict = indicator in sensitive or key[2] in STRICT or is_public
                k = 10 if is_strict else LEAST_SIDE
                asked["positive"] = ({n + 1: 1.0}, row.numerator, k)
                asked["others"] = ({n: 1.0, n + 1: -1.0}, row.base - row.numerator, k)
            for what, (terms, true, k) in asked.items():
                low, high = interval(highs, terms)
                programs_n += 2
                # The public roll says so much without any release.
                exact, narrow = low == high and row.roll > 0, False
                if knows_own and key[0] in ("tranche", "all"):
                    low = min(low, 0 if (key, what) in program.noted else 1)
                if (key, what) in program.noted:
                    # The note says it is below k, and must say no more.
                    most = min(program.noted[key, what], k) - 1
                    narrow = low > 0 or high < min(most, row.roll)
                elif true < k:
                    narrow = low > 1 or high < min(k, row.roll)
                exact_n, narrow_n = exact_n + exact, narrow_n + narrow
                if exact or narrow:
                    place = " ".join(key)
                    found.append(f"{survey} {indicator} {place}: {what} in [{low}, {high}]")
    return {
        "hidden": hidden_n,
        "programs": programs_n,
        "misled": misled_n,
        "exact": exact_n,
        "narrow": narrow_n,
        "found": found,
    }


def contradictions(shown: pd.DataFrame, other: pd.DataFrame) -> int:
    """Rows of one package that another has otherwise."""
    both = shown.merge(other, on=[*CELL, "engagement", "tranche"], suffixes=("", "_other"))
    same = both.status.eq(both.status_other) & both.n.fillna(-1).eq(both.n_other.fillna(-1))
    return int((~(same & both.estimate.fillna(-1).eq(both.estimate_other.fillna(-1)))).sum())


def main() -> int:
    """Attack the current release of an installation; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    home = parser.parse_args().home
    release = home / "releases" / "current"
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
        truth = con.execute(
            "select *, coalesce(roll_n, 1e9) as roll, coalesce(base_n, 0) as base, "
            "coalesce(numerator_n, 0) as numerator from wellbeing.estimates"
        ).df()
    indicators = duckdb.sql(f"from '{release / 'public/parquet/indicators.parquet'}'").df()
    sensitive = set(indicators.indicator[indicators.is_sensitive.astype(bool)])
    public = read_package(release / "public", "public", sensitive)
    failed = 0
    readers = {"public": (public, parents_of(release / "public"))}
    for folder in sorted((release / "cpp").iterdir()):
        own = read_package(folder, "cpp", sensitive)
        own = own[own.geography_level.isin(["cpp", "cluster", "school"])]
        places = parents_of(folder) | readers["public"][1]
        readers[f"cpp/{folder.name} and public"] = (pd.concat([own, public]), places)
        for school in sorted((release / "school").iterdir()):
            table = read_package(school, "school", sensitive)
            mine = table[table.geography_level == "school"]
            if not mine.geography_code.isin(own.geography_code).any():
                continue
            failed += contradictions(mine, own)
            readers[f"school/{school.name} and public"] = (
                pd.concat([mine.assign(source="school"), public]),
                readers["public"][1],
            )
    print(f"rows of schools that their CPP has otherwise: {failed}")
    for name, (rows, parents) in readers.items():
        took = time.process_time()
        said = attack(rows.reset_index(drop=True), parents, truth, sensitive)
        took = time.process_time() - took
        print(
            f"{name}: {said['hidden']} hidden cells, {said['programs']} programs, "
            f"{said['misled']} lines that mislead, {said['exact']} exact, "
            f"{said['narrow']} too narrow ({took:.1f} s of processor)",
            flush=True,
        )
        for line in said["found"][:20]:
            print(f"  {line}")
        failed += len(said["found"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
