"""An attack on a published release by somebody who has only its files.

Run from the top of the project: `python -m benchmarks.third_party HOME [--packages public
t2-falkirk …] [--schools 20]`. HOME is an installation with a release; its packages are read as
their readers would (CSV, Parquet and the explorer's data, nothing of the platform), and the
warehouse only afterwards, to say whether what was worked out is true.

Readers: the public; each CPP with the public package and all its schools' packages. A school's
rows must stand in its CPP's package word for word; then what the CPP cannot work out, its school
cannot either. As the public's threshold is higher than a CPP's, so many schools (`--schools`, 0:
none) are attacked for themselves too, with the public rows of their CPP.

Each indicator is one linear program: pupils and positive answers of each place and group, with the
sums over sex, stage and places, what is shown with its rounding, what a shown figure says of the
rule that let it through, the notes, and the respondents that `participation` shows. Of every hidden
cell the least and the most pupils, positive answers and others are asked: a point that another
program found answers for a cell if it lies far enough out, else two programs do. Need rows of
`reach` are a program each: children with a need by total, sex and stage; so is the spend of an
area, for an outsider. A verdict is shown only where the place's own figure is. Weighted percentages
are left out: no count follows from them. The explorer must show no figure that the tables do not.
Releases before this one, withdrawn ones too, are other packages of the same reader. Of which cells
the children are the same is not in the files, yet may be known (a council knows whose records it
corrected): what a release tells of cells whose counts are the same in both is told of the other,
too, with the rounding of the release that says it. So each reader is asked twice more for each of
them: of what is hidden now, where what the release before tells alone is [L, U] ("what the attacker
knows of it without the release"); and of what was hidden then and has changed since, which this
release must not tell after all ("for every base, numerator or complement below its k").

Whose thresholds count (shared policy, "How protection is judged"): "k is the threshold of that
quantity in its row of Table A (a base has the base column, a numerator or complement its own).
[L, U] is what the attacker knows of it without the release". So a CPP's own cells have the CPP's
thresholds (5, or 10 if sensitive) for whoever holds its package. "CPP A does not see CPP B": but
what he can work out of tranches and of all areas from his own package, he knows "without the
release" of the public one; there only the upper side is asked.

Prints, a reader: hidden cells, programs, counts worked out exactly, and small counts whose
interval is narrower than from 1 to k. Before that: whether two packages contradict each other.
Belongs here: an attack that shares no code with the audit, nor its model of a reader. Does not
belong here: what the policy allows (`disclosure/data/policy.yaml`) and timing. Files of answers
count every answer of an area exactly, and go to a named recipient who is bound by an agreement: of
them it is asked (`--answers`) what the tables add to what they tell by themselves of the area's
schools and clusters.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import highspy
import numpy as np
import pandas as pd
from scipy.sparse import csr_array

CELL = ["survey", "indicator", "geography_level", "geography_code", "breakdown", "group"]
# Breakdowns whose groups are all pupils of the place; others leave out whose group is not known.
WHOLE = {"sex", "stage", "stage:sex"}
STRICT = {"looked_after", "ethnicity"}
UNWEIGHTED = {"school", "cluster"}
# A shown percentage was let through by a rule of at least so many pupils on either side.
LEAST_SIDE, LEAST_BASE = 5, 10
# Public, sensitive and special groups: on either side so many, and n to the nearest 10, else 5.
K_STRICT = 10
TOLERANCE = 1e-6
# Children with a need are shown to the nearest 10, from 50 on (Table A, need × reach).
N_NEED, K_NEED = 10, 50
# Spend is shown to the nearest £1,000; who must not be estimated to within 10 per cent.
GBP_STEP, P_PART = 1000.0, 0.1
# Accounts of these are public; of others each provider stands alone.
OPEN_PROVIDERS = ["council", "NHS"]
# More pupils than there are anywhere: keeps programs from running away.
EVERYBODY = 1e6
# Counts as they are, of now or behind a release.
TRUTH = (
    "select *, coalesce(roll_n, 1e9) as roll, coalesce(base_n, 0) as base, "
    "coalesce(numerator_n, 0) as numerator, coalesce(sum_x, 0)::double as score from {}"
)
# Programs that push all open cells at once go on while one settles so many of them.
WORTH = 0.1


def read_package(folder: Path, reader: str, sensitive: set[str]) -> pd.DataFrame:
    """A package's estimates as its reader opens them.

    `source` says whose rounding they have, `k` the least numerator that their rule shows,
    `n_slack` by how many pupils the package says that numbers of areas may be off beyond it.
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
    k = np.where(is_strict | (reader == "public"), K_STRICT, LEAST_SIDE)
    said = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    slack = said.get("witnesses", {}).get("n_slack", 0)
    n_slack = np.where(frame.geography_level.isin(UNWEIGHTED), 0, slack)
    return frame.assign(source=reader, k=k, n_slack=n_slack)[frame.survey != "parent"]


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Its rows by name; to the stubs of pandas each field is all that a frame can hold."""
    return iter(frame.itertuples())


def parts_of(frame: pd.DataFrame, by: list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Its groups, each with its key; to the stubs of pandas a key is no tuple of texts."""
    return iter(frame.groupby(by))


def parents_of(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Place → the place that it lies in."""
    frame = duckdb.sql(f"from '{folder / 'parquet' / 'geographies.parquet'}'").df()
    return {
        (row.geography_level, row.geography_code): (row.parent_level, row.parent_code)
        for row in rows_of(frame)
        if isinstance(row.parent_code, str)
    }


def step(values: pd.Series, coarse: float, fine: float) -> float:
    """To what figures were rounded, as far as they tell: the coarser, if all of them fit."""
    return coarse if ((values / coarse) % 1).abs().max() < TOLERANCE else fine


def with_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds half of the steps to which n and percentages of each row were rounded.

    A place's strict figures (k = 10) are rounded apart from its others. The step of percentages
    is read off all indicators of the place: of one alone, the few that are shown may all be
    multiples of the coarser step by chance.
    """
    is_shown = (rows.statistic == "pct") & rows.status.isin(["published", "u"])
    keys = ["source", "survey", "geography_code", "k"]
    found = rows[is_shown].groupby(keys).estimate.agg(lambda shown: step(shown, 5, 1) / 2)
    halves = rows.join(found.rename("pct_half"), on=keys)
    return halves.assign(n_half=np.where(halves.k == K_STRICT, 5.0, 2.5))


def respondents_of(file: Path, coarse: float) -> dict[tuple[str, str, str], float]:
    """The most respondents that each place can have, by survey, level and code."""
    frame = duckdb.sql(f"from '{file}'").df()
    shown = frame[frame.respondents_n.notna() & (frame.status == "published")]
    return {
        (row.survey, row.geography_level, str(row.geography_code)): float(row.respondents_n)
        + coarse / 2
        for row in rows_of(shown)
    }


def quiet_solver(size: int) -> highspy.Highs:
    """A program of so many unknown counts, without lines; one thread."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.addVars(size, np.zeros(size), np.full(size, EVERYBODY))
    return highs


class Program:
    """Pupils (n) and positive answers (y) of each cell of one indicator."""

    def __init__(
        self,
        rows: pd.DataFrame,
        parents: dict[tuple[str, str], tuple[str, str]],
        elsewhere: pd.DataFrame | None = None,
    ) -> None:
        """`elsewhere`: what another release tells of cells whose counts are the same."""
        self.rows = rows if elsewhere is None else pd.concat([rows, elsewhere])
        self.keys = list(dict.fromkeys(map(tuple, self.rows[CELL[2:]].to_numpy())))
        self.at = {key: i for i, key in enumerate(self.keys)}
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.lines: list[dict[int, float]] = []
        self.kinds: list[str] = []
        self.noted: dict[tuple[tuple[str, ...], str], int] = {}
        self._logic()
        self._sums(parents)
        self._shown()

    def line(self, terms: dict[int, float], lower: float, upper: float, kind: str) -> None:
        """Take up that a sum lies between two numbers, and what says so."""
        self.lines.append(terms)
        self.kinds.append(kind)
        self.lower.append(lower)
        self.upper.append(upper)

    def n(self, key: tuple[str, ...]) -> int:
        """The unknown that is the pupils of a cell; the next one is the positive answers."""
        return 2 * self.at[key]

    def _logic(self) -> None:
        for key in self.keys:
            self.line({self.n(key): 1, self.n(key) + 1: -1}, 0, math.inf, "positive above n")

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
            self._add_up(tuple(whole), parts, f"sum over {breakdown}", exact=breakdown in WHOLE)
        for (*whole, level), parts in places.items():
            self._add_up(
                tuple(whole), parts, f"sum over {level}", exact=level in ("cpp", "tranche")
            )

    def _add_up(
        self, whole: tuple[str, ...], parts: list[tuple[str, ...]], kind: str, *, exact: bool
    ) -> None:
        if whole not in self.at:
            return
        for offset in (0, 1):
            terms = {self.n(whole) + offset: 1.0}
            terms |= {self.n(part) + offset: -1.0 for part in parts}
            self.line(terms, 0, 0 if exact else math.inf, kind)

    def _shown(self) -> None:
        for (_, code), rows in parts_of(self.rows, ["source", "geography_code"]):
            for row in rows_of(rows[rows.status.isin(["published", "u"])]):
                n_half, pct_half = row.n_half, row.pct_half
                key = (row.geography_level, code, row.breakdown, row.group)
                n, y = self.n(key), self.n(key) + 1
                # Pupils are whole, and a half is rounded up: a shown 30, by tens, is 25 to 34.
                least = math.ceil(row.n - n_half) - row.n_slack
                most = math.ceil(row.n + n_half) - 1 + row.n_slack
                self.line({n: 1}, max(least, LEAST_BASE), most, "n")
                if row.statistic != "pct":
                    continue
                self.line({y: 1}, LEAST_SIDE, math.inf, "shown, so not small")
                self.line({n: 1, y: -1}, LEAST_SIDE, math.inf, "shown, so not small")
                if row.geography_level in UNWEIGHTED:
                    self.line(
                        {y: 1, n: -(row.estimate - pct_half) / 100}, 0, math.inf, "percentage"
                    )
                    self.line(
                        {y: 1, n: -(row.estimate + pct_half) / 100}, -math.inf, 0, "percentage"
                    )
        for row in rows_of(self.rows[self.rows.note.isin(["low", "high"])]):
            key = (row.geography_level, row.geography_code, row.breakdown, row.group)
            terms = {self.n(key) + 1: 1.0}
            if row.note == "high":
                terms = {self.n(key): 1.0, self.n(key) + 1: -1.0}
            self.line(terms, 0, row.k - 1, "note")
            noted = key, "positive" if row.note == "low" else "others"
            self.noted[noted] = min(row.k, self.noted.get(noted, row.k))

    def bound_by(self, survey: str, respondents: dict[tuple[str, str, str], float]) -> None:
        """No cell of a place has more pupils than the place shows to have answered."""
        for key in self.keys:
            most = respondents.get((survey, *key[:2]))
            if most is not None and key[2] == "total":
                self.line({self.n(key): 1}, 0, most, "respondents")

    def count_answers(self, area: str, counts: dict[tuple[str, ...], tuple[float, float]]) -> None:
        """What a CPP counts in its file of answers: its own pupils by stage and sex, exactly.

        Taken from the true counts, as if nothing had been withheld there: he knows no more.
        """
        for key in self.keys:
            if key[:2] == ("cpp", area) and key[2] in {"total", *WHOLE} and key in counts:
                base, positive = counts[key]
                self.line({self.n(key): 1}, base, base, "file of answers")
                self.line({self.n(key) + 1: 1}, positive, positive, "file of answers")

    def solver(self, without: set[int]) -> highspy.Highs:
        """The program, without some of its lines."""
        highs = quiet_solver(2 * len(self.keys))
        for i, terms in enumerate(self.lines):
            if i not in without:
                index = np.fromiter(terms, dtype=np.int32)
                value = np.fromiter(terms.values(), dtype=float)
                highs.addRow(self.lower[i], self.upper[i], len(index), index, value)
        return highs

    def broken_by(self, truth: dict[tuple[str, ...], tuple[float, float]]) -> set[int]:
        """Lines that the true counts break: a reader who believed them would be misled.

        Small schools together have no row in the truth: what is said of them is believed.
        """
        x = np.zeros(2 * len(self.keys))
        for key, i in self.at.items():
            x[2 * i : 2 * i + 2] = truth.get(key, (0.0, 0.0))
        untold = {2 * i + j for key, i in self.at.items() if key not in truth for j in (0, 1)}
        broken = set()
        for i, terms in enumerate(self.lines):
            if untold & set(terms):
                continue
            value = sum(x[j] * by for j, by in terms.items())
            if not self.lower[i] - 1e-4 <= value <= self.upper[i] + 1e-4:
                broken.add(i)
        return broken


class Asked:
    """Sums that are asked, what would be far enough out of each, and how far points have got."""

    def __init__(self, highs: highspy.Highs, *, is_whole: bool = True) -> None:
        self.highs, self.is_whole = highs, is_whole
        self.names: list[tuple[tuple[str, ...], str]] = []
        self.terms: list[dict[int, float]] = []
        self.wanted: list[tuple[float, float, bool]] = []
        self.programs_n = 0

    def ask(
        self,
        name: tuple[tuple[str, ...], str],
        terms: dict[int, float],
        *,
        low: float = math.inf,
        high: float = -math.inf,
        open_: bool = True,
    ) -> None:
        """Ask a sum: at most `low` and at least `high` must be possible, and two values."""
        self.names.append(name)
        self.terms.append(terms)
        self.wanted.append((low, high, open_))

    def settle(self) -> list[tuple[tuple[str, ...], str, int, int, bool]]:
        """Name, least and most of each sum that says too much, and whether it is exact."""
        size = self.highs.getNumCol()
        row = np.repeat(np.arange(len(self.terms)), [len(t) for t in self.terms])
        column = np.array([j for t in self.terms for j in t], dtype=int)
        value = np.array([by for t in self.terms for by in t.values()])
        self.matrix = csr_array((value, (row, column)), shape=(len(self.terms), size))
        self.low = np.full(len(self.terms), np.inf)
        self.high = np.full(len(self.terms), -np.inf)
        self.want = np.array(self.wanted, dtype=float).reshape(-1, 3)
        rng = np.random.default_rng(7)
        open_ = self.is_open()
        while open_.any():
            before = open_.sum()
            self.push(self.matrix.T @ (open_ * rng.choice([-1.0, 1.0], len(open_))))
            open_ = self.is_open()
            if before - open_.sum() < WORTH * before:
                break
        found = []
        for i in range(len(self.terms)):
            for sign in (1.0, -1.0):
                if self.is_open()[i]:
                    self.push(sign * self.matrix[[i]].toarray()[0])
            if self.is_open()[i]:
                low, high = self.whole()
                found.append((*self.names[i], int(low[i]), int(high[i]), low[i] == high[i]))
        return found

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """What is reached, rounded inward to whole pupils (money as it is)."""
        if not self.is_whole:
            return self.low - TOLERANCE, self.high + TOLERANCE
        return np.ceil(self.low - 1e-5), np.floor(self.high + 1e-5)

    def is_open(self) -> np.ndarray:
        """Sums of which no point found so far is far enough out."""
        low, high = self.whole()
        is_exact = (low >= high) & (self.want[:, 2] > 0)
        return (low > self.want[:, 0]) | (high < self.want[:, 1]) | is_exact

    def push(self, cost: np.ndarray) -> None:
        """One program; its point may answer for any of the sums."""
        self.programs_n += 1
        self.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        self.highs.run()
        status = self.highs.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise ValueError(f"the packages contradict each other, or the solver fails: {status}")
        reached = self.matrix @ np.asarray(self.highs.getSolution().col_value)
        self.low, self.high = np.minimum(self.low, reached), np.maximum(self.high, reached)


@dataclass(frozen=True)
class Reader:
    """What one reader has: rows, places, respondents shown, and of which places he is asked."""

    rows: pd.DataFrame
    parents: dict[tuple[str, str], tuple[str, str]]
    respondents: dict[tuple[str, str, str], float]
    asked: set[str] | None = None
    answers_of: str = ""
    # What another release tells, with its steps; of which cells it is asked, all if None; whether
    # he had the other one before.
    elsewhere: pd.DataFrame | None = None
    only: set[tuple[str, ...]] | None = None
    is_before: bool = False

    def told_elsewhere(self, survey: str, indicator: str) -> pd.DataFrame | None:
        """What the other release tells of an indicator."""
        if self.elsewhere is None:
            return None
        of_it = (self.elsewhere.survey == survey) & (self.elsewhere.indicator == indicator)
        return self.elsewhere[of_it]

    @cached_property
    def knows_own(self) -> bool:
        """Whether he has a CPP's package."""
        return "cpp" in set(self.rows.source)

    @cached_property
    def same_as_own(self) -> set[tuple[str, str]]:
        """Tranches of one CPP, for who has a CPP's package: they hold its figures again.

        He knows its children's figures by the CPP's own thresholds: no leak of the release.
        """
        above = Counter(parent for (level, _), parent in self.parents.items() if level == "cpp")
        return {place for place, n in above.items() if n == 1 and self.knows_own}

    def hidden(self, part: pd.DataFrame) -> list[tuple[str, ...]]:
        """Cells of one indicator that none of his packages shows."""
        survey, indicator = part.survey.iloc[0], part.indicator.iloc[0]
        hidden = _cells(part[part.status == "c"])
        shown = _cells(part[part.status.isin(["published", "u"])])
        if (told := self.told_elsewhere(survey, indicator)) is not None:
            shown |= _cells(told[told.status.isin(["published", "u"])])
        return sorted(
            key
            for key in hidden - shown
            if key[:2] not in self.same_as_own
            and (self.only is None or (survey, indicator, *key) in self.only)
            and (self.asked is None or key[1] in self.asked)
            and not (self.answers_of and key[0] not in UNWEIGHTED)
        )


def _cells(rows: pd.DataFrame) -> set[tuple[str, ...]]:
    return {tuple(row) for row in rows[CELL[2:]].to_numpy()}


def beside(
    reader: Reader, other: Reader, counts: pd.DataFrame, of_other: pd.DataFrame, *, is_before: bool
) -> Reader:
    """The reader with what another release told him of cells whose counts are the same.

    `counts`, `of_other`: the true ones of both. Of a release after his (`is_before` false) he is
    asked for what has changed, which he had no other way to know.
    """
    both = counts.merge(of_other, on=CELL, suffixes=("", "_other"))
    same = np.ones(len(both), dtype=bool)
    for name in ("base", "numerator", "score"):
        same &= np.isclose(both[name], both[f"{name}_other"], atol=1e-6)
    rows = with_steps(other.rows).merge(both.assign(is_same=same)[[*CELL, "is_same"]], on=CELL)
    # All cells of a place are needed for its sums; of those that have changed nothing is told.
    rows.loc[~rows.is_same, ["status", "note"]] = "c", ""
    changed = set(map(tuple, both.loc[~same, CELL].to_numpy()))
    only = None if is_before else changed
    return replace(reader, elsewhere=rows, only=only, is_before=is_before)


@dataclass
class Said:
    """What an attack found: counts, and a line for each cell that says too much."""

    hidden: int = 0
    programs: int = 0
    misled: Counter[str] = field(default_factory=Counter)
    exact: int = 0
    narrow: int = 0
    found: list[str] = field(default_factory=list)


def attack(reader: Reader, truth: pd.DataFrame, sensitive: set[str]) -> Said:
    """What one reader can work out, and which of it he should not."""
    said = Said()
    known = {
        key: dict(zip(map(tuple, part[CELL[2:]].to_numpy()), rows_of(part), strict=True))
        for key, part in parts_of(truth, ["survey", "indicator"])
    }
    for (survey, indicator), part in parts_of(with_steps(reader.rows), ["survey", "indicator"]):
        elsewhere = reader.told_elsewhere(survey, indicator)
        hidden = reader.hidden(part)
        if not hidden:
            continue
        program = Program(part, reader.parents, elsewhere)
        program.bound_by(survey, reader.respondents)
        told = known.get((survey, indicator), {})
        counts = {key: (row.base, row.numerator) for key, row in told.items()}
        if reader.answers_of and part.statistic.iloc[0] == "pct":
            program.count_answers(reader.answers_of, counts)
        broken = program.broken_by(counts) if part.statistic.iloc[0] == "pct" else set()
        said.misled.update(program.kinds[line] for line in broken)
        asked = Asked(program.solver(broken))
        for key in hidden:
            said.hidden += 1
            if key in told:
                _ask_of(asked, reader, program, key, told[key], indicator in sensitive)
        findings = asked.settle()
        if findings and (reader.answers_of or reader.is_before):
            findings = beyond_the_others(reader, part, counts, findings)
        for key, what, low, high, is_exact in findings:
            said.exact, said.narrow = said.exact + is_exact, said.narrow + (not is_exact)
            place = " ".join(key)
            said.found.append(f"{survey} {indicator} {place}: {what} in [{low}, {high}]")
        said.programs += asked.programs_n
    return said


def beyond_the_others(
    reader: Reader,
    part: pd.DataFrame,
    counts: dict[tuple[str, ...], tuple[float, float]],
    findings: list[tuple[tuple[str, ...], str, int, int, bool]],
) -> list[tuple[tuple[str, ...], str, int, int, bool]]:
    """Findings of which files of answers and releases before do not say as much by themselves."""
    name = part.survey.iloc[0], part.indicator.iloc[0]
    before = reader.told_elsewhere(*name) if reader.is_before else None
    program = Program(part.assign(status="c", note=None), reader.parents, before)
    if reader.answers_of:
        program.count_answers(reader.answers_of, counts)
    is_pct = part.statistic.iloc[0] == "pct"
    asked = Asked(program.solver(program.broken_by(counts) if is_pct else set()))
    for key, what, *_ in findings:
        n = program.n(key)
        terms = {"pupils": {n: 1.0}, "positive": {n + 1: 1.0}, "others": {n: 1.0, n + 1: -1.0}}
        # No point is far enough out: the ends themselves are asked.
        asked.ask((key, what), terms[what], low=-math.inf, high=math.inf)
    alone = {(key, what): ends for key, what, *ends in asked.settle()}
    more = []
    for key, what, low, high, is_exact in findings:
        least, most, was_exact = alone[key, what]
        if (is_exact and not was_exact) or low > max(1, least) or high < most:
            more.append((key, what, low, high, is_exact))
    return more


def _ask_of(
    asked: Asked,
    reader: Reader,
    program: Program,
    key: tuple[str, ...],
    true: Any,
    is_sensitive: bool,
) -> None:
    """Ask pupils, positive answers and others of one hidden cell; `true`: its exact row."""
    n = program.n(key)
    quantities = {"pupils": ({n: 1.0}, true.base, LEAST_BASE)}
    if true.statistic == "pct":
        is_public = key[0] not in UNWEIGHTED and not reader.knows_own
        k = 10 if is_sensitive or key[2] in STRICT or is_public else LEAST_SIDE
        quantities["positive"] = ({n + 1: 1.0}, true.numerator, k)
        quantities["others"] = ({n: 1.0, n + 1: -1.0}, true.base - true.numerator, k)
    for what, (terms, count, k) in quantities.items():
        low, high = math.inf, -math.inf
        if (key, what) in program.noted:
            # The note says it is below k, and must say no more.
            low, high = 0, min(min(program.noted[key, what], k) - 1, true.roll)
        elif count < k:
            low, high = 1, min(k, true.roll)
        if reader.knows_own and key[0] in ("tranche", "all"):
            low = math.inf
        # The public roll says so much without any release.
        asked.ask((key, what), terms, low=low, high=high, open_=true.roll > 0)


def attack_needs(folder: Path, truth: pd.DataFrame) -> tuple[int, int, list[str]]:
    """Hidden need rows of `reach`, programs, and those of which the shown ones say too much."""
    frame = duckdb.sql(f"from '{folder / 'parquet' / 'reach.parquet'}'").df()
    names = ["engagement", "need", "need_level", "breakdown", "group"]
    rows = frame[[*names, "n", "status"]].copy()
    rows["n"] = pd.to_numeric(rows.n)
    shown = rows[rows.status.isin(["published", "u"])].groupby(names).n.first()
    true = truth.groupby(names).need_n.first()
    hidden_n = programs_n = 0
    found = []
    for (engagement, need, level), part in rows.groupby(names[:3]):
        keys = list(dict.fromkeys(map(tuple, part[names[3:]].to_numpy())))
        at = {key: i for i, key in enumerate(keys)}
        highs = quiet_solver(len(keys))
        for key, i in at.items():
            if (n := shown.get((engagement, need, level, *key))) is not None:
                highs.changeColBounds(i, n - N_NEED / 2, n + N_NEED / 2)
            if key[0] == "total":
                for breakdown in ("sex", "stage"):
                    parts = [j for (name, _), j in at.items() if name == breakdown]
                    if parts:
                        # A child whose sex or stage nobody knows is in no part.
                        index = np.array([i, *parts], dtype=np.int32)
                        value = np.array([1.0, *[-1.0] * len(parts)])
                        highs.addRow(0, highspy.kHighsInf, len(index), index, value)
        asked = Asked(highs)
        for key, i in at.items():
            count = true.get((engagement, need, level, *key))
            if (engagement, need, level, *key) in shown.index or count is None:
                continue
            hidden_n += 1
            small = (1, K_NEED) if count < K_NEED else (math.inf, -math.inf)
            asked.ask((key, "children"), {i: 1.0}, low=small[0], high=small[1])
        for key, _, low, high, _ in asked.settle():
            found.append(f"reach {engagement} {need} {' '.join(key)}: children in [{low}, {high}]")
        programs_n += asked.programs_n
    return hidden_n, programs_n, found


def attack_spend(folder: Path, holdings: pd.DataFrame) -> tuple[int, int, list[str]]:
    """Hidden cells of spend, programs, and those of which an outsider works out too much.

    `holdings`: who spends what in which service, for judging only. A cell's range must reach
    `P_PART` of its largest closed holding below and above the true sum (Table A, row spend).
    """
    rows = duckdb.sql(f"from '{folder / 'parquet' / 'spend.parquet'}'").df()
    columns = ["sector", "tier", "age_band", "funding_origin", "domain"]
    rows["gbp"] = pd.to_numeric(rows.gbp)
    hidden_n = programs_n = 0
    found = []
    for engagement, part in rows.groupby("engagement"):
        keys = list(map(tuple, part[columns].to_numpy()))
        at = {key: i for i, key in enumerate(keys)}
        highs = quiet_solver(len(keys))
        for i, gbp in enumerate(part.gbp / GBP_STEP):
            if not math.isnan(gbp):
                # A sum without any service is 0, and known to be.
                half = 0.5 if gbp else 0.0
                highs.changeColBounds(i, max(gbp - half, 0.0), gbp + half)
        _add_up_spend(highs, at)
        asked = Asked(highs, is_whole=False)
        own = holdings[holdings.engagement == engagement]
        for key, is_hidden in zip(keys, part.status == "c", strict=True):
            hidden_n += is_hidden
            inside = np.logical_and.reduce(
                [
                    own[name] == code
                    for name, code in zip(columns, key, strict=True)
                    if code != "all"
                ]
                or [np.ones(len(own), dtype=bool)]
            )
            closed = own[inside & own.is_closed].groupby("body").gbp.sum()
            if is_hidden and len(closed):
                true, need = own.gbp[inside].sum() / GBP_STEP, P_PART * closed.max() / GBP_STEP
                asked.ask((key, "pounds"), {at[key]: 1.0}, low=true - need, high=true + need)
        for key, _, low, high, _ in asked.settle():
            found.append(f"spend {engagement} {' '.join(key)}: thousands in [{low}, {high}]")
        programs_n += asked.programs_n
    return hidden_n, programs_n, found


def _add_up_spend(highs: highspy.Highs, at: dict[tuple[str, ...], int]) -> None:
    """A sum over each column is its parts together."""
    sums: dict[tuple[int, int], list[int]] = {}
    for key, i in at.items():
        for column, code in enumerate(key):
            whole = at.get((*key[:column], "all", *key[column + 1 :]))
            if code != "all" and whole is not None:
                sums.setdefault((whole, column), []).append(i)
    for (whole, _), parts in sums.items():
        index = np.array([whole, *parts], dtype=np.int32)
        value = np.array([1.0, *[-1.0] * len(parts)])
        highs.addRow(0, 0, len(index), index, value)


def verdicts_beside_hidden(folder: Path) -> int:
    """Verdicts that are shown of a place whose own figure is not."""
    files = (folder / "parquet" / f"{name}.parquet" for name in ("comparisons", "estimates"))
    comparisons, estimates = files
    keys = "survey, geography_level, geography_code, indicator, statistic"
    (count,) = duckdb.sql(
        f"select count(*) from '{comparisons}' as told anti join (select {keys} from "
        f"'{estimates}' where breakdown = 'total' and status in ('published', 'u')) as shown "
        f"using ({keys}) where told.verdict is not null"
    ).fetchall()[0]
    return int(count)


def figures_of_explorer(folder: Path) -> tuple[int, int]:
    """Cells with a figure in the explorer's data of one package, and how many no table shows."""
    shown = Counter(
        duckdb.sql(
            "select n::double, estimate::double "
            f"from '{folder / 'parquet' / 'estimates.parquet'}' where status in ('published', 'u')"
        ).fetchall()
    )
    held: Counter[tuple[float, float]] = Counter()
    for file in sorted((folder / "explorer" / "data").glob("*.js")):
        packed = re.search(r'RCS\.load\("[^"]+","([^"]+)"\)', file.read_text(encoding="utf-8"))
        if packed is None:
            continue
        data = json.loads(gzip.decompress(base64.b64decode(packed[1])))
        # Estimates stand there in tenths.
        tenths = [value / 10 for value in data.get("estimate", [])]
        held.update(zip(map(float, data.get("n", [])), tenths, strict=True))
    return held.total(), (held - shown).total()


def contradictions(shown: pd.DataFrame, other: pd.DataFrame) -> int:
    """Rows of one package that another has otherwise, or not at all."""
    keys = [*CELL, "engagement", "tranche"]
    both = shown.merge(other, on=keys, how="left", suffixes=("", "_other"))
    same = both.status.eq(both.status_other) & both.n.fillna(-1).eq(both.n_other.fillna(-1))
    return int((~(same & both.estimate.fillna(-1).eq(both.estimate_other.fillna(-1)))).sum())


def schools_of(release: Path, engagement: str) -> list[Path]:
    """Packages of one CPP's schools."""
    mine = duckdb.sql(
        f"select distinct geography_code from "
        f"'{release / 'cpp' / engagement / 'parquet' / 'geographies.parquet'}' "
        "where geography_level = 'school'"
    ).fetchall()
    return [release / "school" / code for (code,) in sorted(mine)
            if (release / "school" / code).is_dir()]  # fmt: skip


def readers_of(
    release: Path,
    chosen: list[str],
    schools_n: int,
    sensitive: set[str],
    *,
    with_answers: bool = False,
) -> tuple[dict[str, Reader], int]:
    """The readers that are asked for, and how often a school's package contradicts its CPP's."""
    public = read_package(release / "public", "public", sensitive)
    places = parents_of(release / "public")
    told = respondents_of(release / "public" / "parquet" / "participation.parquet", 10)
    readers = {"public": Reader(public, places, told)} if not chosen or "public" in chosen else {}
    failed = 0
    for folder in sorted((release / "cpp").iterdir()):
        if chosen and folder.name not in chosen:
            continue
        own = read_package(folder, "cpp", sensitive)
        own = own[own.geography_level.isin(["cpp", "cluster", "school"])]
        known = told | respondents_of(folder / "parquet" / "participation.parquet", 5)
        schools = schools_of(release, folder.name)
        for school in schools:
            table = read_package(school, "school", sensitive)
            mine = table[table.geography_level == "school"]
            failed += contradictions(mine, own)
            known |= respondents_of(school / "participation.csv", 5)
        readers[f"cpp/{folder.name} with its schools and public"] = Reader(
            pd.concat([own, public]), parents_of(folder) | places, known
        )
        area = set(own.geography_code[own.geography_level == "cpp"])
        if with_answers:
            readers[f"cpp/{folder.name} with its file of answers too"] = Reader(
                pd.concat([own, public]),
                parents_of(folder) | places,
                known,
                answers_of=next(iter(area)),
            )
        for school in schools[:: max(1, len(schools) // schools_n)] if schools_n else []:
            table = read_package(school, "school", sensitive)
            mine = table[table.geography_level == "school"].assign(source="school")
            readers[f"school/{school.name} and public"] = Reader(
                pd.concat([mine, public[public.geography_code.isin(area)]]),
                parents_of(folder),
                known,
                {school.name, *area},
            )
    return readers, failed


def releases_before(release: Path) -> list[Path]:
    """All other releases of the installation, withdrawn ones too."""
    folders = [*release.resolve().parent.iterdir(), *release.resolve().parent.glob(".withdrawn/*")]
    return sorted(
        folder
        for folder in folders
        if (folder / "public" / "parquet").is_dir()
        and not folder.is_symlink()
        and not folder.name.startswith(".")
        and folder != release.resolve()
    )


def shown_before(release: Path, sensitive: set[str]) -> int:
    """Public cells that a release before showed and this one hides."""
    now = read_package(release / "public", "public", sensitive)
    hidden = now[now.status == "c"]
    count = 0
    for folder in releases_before(release):
        then = read_package(folder / "public", "public", sensitive)
        shown = then[then.status.isin(["published", "u"])]
        count += len(hidden.merge(shown, on=CELL))
    return count


def main() -> int:
    """Attack the current release of an installation; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--packages", nargs="*", default=[])
    parser.add_argument("--schools", type=int, default=0)
    parser.add_argument("--answers", action="store_true", help="CPPs count their answers, too")
    chosen = parser.parse_args()
    release = chosen.home / "releases" / "current"
    with duckdb.connect(str(chosen.home / "warehouse.duckdb"), read_only=True) as con:
        truth = con.execute(TRUTH.format("wellbeing.estimates")).df()
        needs = con.execute("from services.reach").df()
        holdings = con.execute(
            "select *, not list_contains(?::varchar[], provider_type) as is_private, "
            "is_private or is_confidential as is_closed, "
            "if(is_private, provider_name, provider_type) as body from services.spend",
            [list(OPEN_PROVIDERS)],
        ).df()
    indicators = duckdb.sql(f"from '{release / 'public/parquet/indicators.parquet'}'").df()
    sensitive = set(indicators.indicator[indicators.is_sensitive.astype(bool)])
    readers, failed = readers_of(
        release, chosen.packages, chosen.schools, sensitive, with_answers=chosen.answers
    )
    print(f"rows of schools that their CPP has otherwise, or not at all: {failed}")
    print(
        f"public cells hidden now that a release before showed: {shown_before(release, sensitive)}"
    )
    held, other = figures_of_explorer(release / "public")
    print(f"public explorer: {held} cells with figures, {other} that no table shows", flush=True)
    hidden_n, programs_n, found = attack_needs(release / "public", needs)
    print(f"need rows: {hidden_n} hidden, {programs_n} programs, {len(found)} too narrow", *found)
    failed += other + len(found)
    hidden_n, programs_n, found = attack_spend(release / "public", holdings)
    print(f"spend: {hidden_n} hidden, {programs_n} programs, {len(found)} too narrow", *found)
    folders = [release / "public", *sorted((release / "cpp").iterdir())]
    verdicts = sum(map(verdicts_beside_hidden, folders))
    print(f"verdicts of places whose own figure is hidden: {verdicts}", flush=True)
    failed += verdicts + len(found)
    for name, reader in readers.items():
        failed += tell(name, reader, truth, sensitive)
    for folder in releases_before(release):
        then = duckdb.sql(
            TRUTH.format(f"'{folder / 'safe_haven' / 'parquet' / 'estimates_unrounded.parquet'}'")
        ).df()
        had, _ = readers_of(
            folder, chosen.packages, chosen.schools, sensitive, with_answers=chosen.answers
        )
        for name in [name for name in readers if name in had]:
            knows = beside(readers[name], had[name], truth, then, is_before=True)
            failed += tell(f"{name}, with release {folder.name}", knows, truth, sensitive)
            learns = beside(had[name], readers[name], then, truth, is_before=False)
            failed += tell(
                f"{name} of release {folder.name}, what has changed since", learns, then, sensitive
            )
    return 1 if failed else 0


def tell(name: str, reader: Reader, truth: pd.DataFrame, sensitive: set[str]) -> int:
    """Attack as one reader and print what was found; how much."""
    took = time.process_time()
    said = attack(reader, truth, sensitive)
    took = time.process_time() - took
    print(
        f"{name}: {said.hidden} hidden cells, {said.programs} programs, "
        f"{said.misled.total()} lines that mislead {dict(said.misled)}, {said.exact} exact, "
        f"{said.narrow} too narrow ({took:.1f} s of processor)",
        flush=True,
    )
    for line in said.found[:20]:
        print(f"  {line}", flush=True)
    return len(said.found)


if __name__ == "__main__":
    sys.exit(main())
