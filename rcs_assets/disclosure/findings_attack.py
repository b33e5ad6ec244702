"""The attack on findings: what risk factors, counts of risks and models tell together.

Belongs here: one linear system a survey and outcome of all that `disclosure.risks` and
`disclosure.models` show of it beside the outcome's own total in the estimates, the quantities
that nobody may learn, and how close a reader comes to them. Does not belong here: hiding
(`models.py`), thresholds (policy.yaml, `models`).

Unknowns are the pupils, and the pupils with the outcome, of each level of each factor and of
each count of risks. What holds whatever they are:

- who answered a factor's question is among those with a valid outcome; who did not is a group
  too, and nobody's table (`rest`);
- a count of risks is known of those who answered all its questions: who has none of them has
  the good side of each; who has j of them stands j times among the risks;
- a model counts those who answered everything.

Shown figures bound what they say by their rounding; shares and rates are taken as if they were
unweighted: how the pupils of a level spread over stages and sexes, which weigh, is in no table.
What a release before showed of a level, and nobody has changed since, is said as well; what
follows from that and the total alone is no leak of this release. Odds ratios are adjusted for
ten things and more and no sum: that they rest on enough pupils is what Table A asks of them
(`checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import numpy as np

from rcs_assets.disclosure.beside import PUBLIC
from rcs_assets.disclosure.held import is_known
from rcs_assets.disclosure.lp import SLACK, System, Targets, reach
from rcs_assets.disclosure.rows import FloatArray
from rcs_assets.disclosure.secondary import counts_behind
from rcs_assets.disclosure.service_rules import ModelRule

ALL, COUNT, FACTOR, RISK, PROTECTIVE = "all", "count", "factor", "risk", "protective"
REST = "rest"

_TRUTH = """
select
    r.survey, r.outcome, r.kind, r.domain, r.factor, r.level, r.n, r.with_outcome_n,
    p.status in ('published', 'u') as is_shown, f.is_sensitive, {known} as is_known,
from research.risks as r
inner join {shown} as p using (survey, outcome, kind, domain, factor, level)
inner join outcome_flags as f using (outcome)
order by all
"""
_TOTALS = """
select e.survey, e.indicator as outcome, e.base_n, e.numerator_n,
    coalesce(s.status in ('published', 'u'), false) as is_shown,
from wellbeing.estimates as e
left join {estimates} as s
    on s.audience = 'public' and s.survey = e.survey and s.indicator = e.indicator
    and s.geography_level = 'all' and s.breakdown = 'total'
where e.geography_level = 'all' and e.breakdown = 'total'
"""
_MODEL_N = """
select survey, outcome, max(n) from {models} where status = 'published' group by all
"""


@dataclass(frozen=True)
class Level:
    """One row of `research.risks` and whether it is shown, or was and has not changed."""

    kind: str
    domain: str
    factor: str
    level: str
    n: int
    yes: int
    is_shown: bool
    is_known: bool = False

    @property
    def split(self) -> tuple[str, str, str]:
        """The groups that a level is one of."""
        return (self.kind, self.domain, self.factor)


@dataclass(frozen=True)
class FindingLeak:
    """A quantity of which a reader learns too much: `split` names the groups that it is of."""

    survey: str
    outcome: str
    split: tuple[str, str, str]
    level: str
    quantity: str
    low: float
    high: float

    def place(self) -> str:
        """The place in words, without what is learnt."""
        return f"{self.quantity} of {self.outcome}, {' '.join(self.split)} {self.level}"


@dataclass
class _Rows:
    """Rows of a system over variables, as they are gathered."""

    starts: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, terms: Mapping[int, float], low: float, high: float) -> None:
        self.index += terms.keys()
        self.value += terms.values()
        self.starts.append(len(self.index))
        self.low.append(low)
        self.high.append(high)


class OutcomeAttack:
    """The system of one survey and outcome.

    Variables come in pairs, pupils and those with the outcome: the levels in order, a rest for
    each split, the total.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        rule: ModelRule,
        *,
        is_sensitive: bool,
        total: tuple[int, int, bool] | None,
        model_n: float | None,
    ) -> None:
        self.levels, self.rule, self.is_sensitive = list(levels), rule, is_sensitive
        self.cell = rule.cell + (rule.sensitive_plus if is_sensitive else 0)
        self.model_n = model_n
        self.splits = list(dict.fromkeys(level.split for level in self.levels))
        self.total = total if total and self._holds(total) else None
        self.total_at = len(self.levels) + len(self.splits)
        self.size = self.total_at + 1
        self.rows = _Rows()
        self._say()

    def _members(self, split: tuple[str, str, str]) -> list[int]:
        return [i for i, level in enumerate(self.levels) if level.split == split]

    def _holds(self, total: tuple[int, int, bool]) -> bool:
        """Whether the total counts everybody of every split; else it is another population."""
        for split in self.splits:
            members = [self.levels[i] for i in self._members(split)]
            n, yes = sum(m.n for m in members), sum(m.yes for m in members)
            if n > total[0] or yes > total[1] or n - yes > total[0] - total[1]:
                return False
        return True

    def _rest(self, split: tuple[str, str, str]) -> int:
        return len(self.levels) + self.splits.index(split)

    def _truth(self) -> list[tuple[int, int]]:
        """Pupils and those with the outcome of every pair; the total is at least its largest."""
        found = [(level.n, level.yes) for level in self.levels]
        sums = [
            tuple(sum(found[i][side] for i in self._members(split)) for side in (0, 1))
            for split in self.splits
        ]
        total = self.total[:2] if self.total else max(sums)
        found += [(total[0] - n, total[1] - yes) for n, yes in sums]
        return [*found, (total[0], total[1])]

    def _both(self, coefficients: Mapping[int, float], low: float, high: float) -> None:
        """A row that holds for pupils, for those with the outcome, and for those without."""
        self.rows.add({2 * i: c for i, c in coefficients.items()}, low, high)
        self.rows.add({2 * i + 1: c for i, c in coefficients.items()}, low, high)
        without = {2 * i: c for i, c in coefficients.items()}
        without |= {2 * i + 1: -c for i, c in coefficients.items()}
        self.rows.add(without, low, high)

    def _say(self) -> None:
        for i in range(self.size):
            self.rows.add({2 * i: 1.0, 2 * i + 1: -1.0}, 0.0, np.inf)
        for split in self.splits:
            parts = dict.fromkeys(self._members(split), 1.0)
            self._both({**parts, self._rest(split): 1.0, self.total_at: -1.0}, 0.0, 0.0)
            shown = [i for i in parts if self.levels[i].is_shown]
            if shown:
                self._shown_split(list(parts), shown)
            for i in parts:
                if self.levels[i].is_known and i not in shown:
                    self._shown_figure(i, self.levels[i].n, self.levels[i].yes, least=0)
        if self.total and self.total[2]:
            self._shown_figure(self.total_at, self.total[0], self.total[1], least=self.rule.cell)
        self._counts()
        if self.model_n is not None and (COUNT, ALL, "risks") in self.splits:
            terms = {2 * i: 1.0 for i in self._members((COUNT, ALL, "risks"))}
            least, _ = counts_behind(self.model_n, self.rule.n_step)
            self.rows.add(terms, float(least), np.inf)

    def _shown_split(self, members: list[int], shown: list[int]) -> None:
        whole = sum(self.levels[i].n for i in members)
        for i in shown:
            level, step = self.levels[i], self.rule.pct_step
            self._shown_figure(i, level.n, level.yes, least=self.cell)
            share = _rounded(100 * level.n / whole, step) if whole else 0.0
            for bound, low, high in (
                (share - step / 2, 0.0, np.inf),
                (share + step / 2, -np.inf, 0.0),
            ):
                terms = {2 * j: -bound / 100 for j in members}
                terms[2 * i] += 1.0
                self.rows.add(terms, low, high)

    def _shown_figure(self, at: int, n: int, yes: int, *, least: int) -> None:
        """Pupils and rate of a shown group: within their rounding, and above the thresholds."""
        step = self.rule.pct_step
        low, high = counts_behind(_rounded(n, self.rule.n_step), self.rule.n_step)
        self.rows.add({2 * at: 1.0}, max(float(low), least), float(high))
        rate = _rounded(100 * yes / n, step) if n else 0.0
        self.rows.add({2 * at + 1: 1.0, 2 * at: -max(rate - step / 2, 0) / 100}, 0.0, np.inf)
        self.rows.add({2 * at + 1: 1.0, 2 * at: -min(rate + step / 2, 100) / 100}, -np.inf, 0.0)
        # What is small by the rules of today was shown by others.
        numerator = self.rule.numerator if least else 0
        self.rows.add({2 * at + 1: 1.0}, numerator, np.inf)
        self.rows.add({2 * at: 1.0, 2 * at + 1: -1.0}, numerator, np.inf)

    def _counts(self) -> None:
        """Counts of risks beside the risks that they count, and beside the counts of domains."""
        for split in self.splits:
            kind, domain, _ = split
            if kind != COUNT:
                continue
            counted = {self.levels[i].level: i for i in self._members(split)}
            factors = [s for s in self.splits if s[0] == FACTOR and (domain in (ALL, s[1]))]
            sides = [{self.levels[i].level: i for i in self._members(factor)} for factor in factors]
            for side in sides:
                # Nobody without any risk has this one.
                self._both({side[PROTECTIVE]: 1.0, counted["0"]: -1.0}, 0.0, np.inf)
            if sides:
                risks = {side[RISK]: 1.0 for side in sides}
                times = {i: -_least(label) for label, i in counted.items() if _least(label)}
                self._both({**risks, **times}, 0.0, np.inf)
            if domain == ALL:
                for other in self.splits:
                    if other[0] == COUNT and other != split:
                        none = next(i for i in self._members(other) if self.levels[i].level == "0")
                        self._both({none: 1.0, counted["0"]: -1.0}, 0.0, np.inf)

    def system(self) -> System:
        """What a reader knows."""
        size, rows = 2 * self.size, self.rows
        return System(
            lower=np.zeros(size),
            upper=np.full(size, np.inf),
            starts=np.array(rows.starts, dtype=np.int32),
            index=np.array(rows.index, dtype=np.int32),
            value=np.array(rows.value),
            row_lower=np.array(rows.low),
            row_upper=np.array(rows.high),
        )

    def asked(self) -> Iterator[tuple[int, str, int, int]]:
        """Hidden quantities: pair, name, true count, k (0: must only not be exact)."""
        truth = self._truth()
        hidden = [
            i for i, level in enumerate(self.levels) if not (level.is_shown or level.is_known)
        ]
        # Those without an answer stand in no table: what they said must not be worked out.
        rests = [self._rest(split) for split in self.splits] if self.total else []
        for i in [*hidden, *rests]:
            n, yes = truth[i]
            for quantity, count, k in (
                ("base", n, self.cell),
                ("numerator", yes, self.rule.numerator),
                ("complement", n - yes, self.rule.numerator),
            ):
                if i in rests and quantity == "base":
                    continue
                yield i, quantity, count, k if count < k else 0

    def leaks_of_now(self, survey: str, outcome: str) -> list[FindingLeak]:
        """What is learnt too much of, and would not be if no finding were shown now."""
        found = self.leaks(survey, outcome)
        if not found or not any(level.is_known for level in self.levels):
            return found
        # Nothing that is hidden here would keep it from who read the release before.
        before = OutcomeAttack(
            [replace(level, is_shown=False) for level in self.levels],
            self.rule,
            is_sensitive=self.is_sensitive,
            total=self.total,
            model_n=None,
        )
        told = {(leak.split, leak.level, leak.quantity) for leak in before.leaks(survey, outcome)}
        return [leak for leak in found if (leak.split, leak.level, leak.quantity) not in told]

    def leaks(self, survey: str, outcome: str) -> list[FindingLeak]:
        """What a reader learns too much of, by an exact minimum and maximum each."""
        asked = list(self.asked())
        if not asked:
            return []
        terms = {"base": (1.0, 0.0), "numerator": (0.0, 1.0), "complement": (1.0, -1.0)}
        index: list[int] = []
        value: list[float] = []
        for i, quantity, _, _ in asked:
            index += [2 * i, 2 * i + 1]
            value += terms[quantity]
        targets = Targets(
            starts=np.arange(0, 2 * len(asked) + 1, 2, dtype=np.int32),
            index=np.array(index, dtype=np.int32),
            value=np.array(value),
            low_ok=np.zeros(len(asked)),
            high_ok=np.full(len(asked), 1e9),
        )
        found = reach(self.system(), targets, exact=True)
        low, high = np.ceil(found.low - SLACK), np.floor(found.high + SLACK)
        return [
            FindingLeak(survey, outcome, self._split_of(i), self._level_of(i), quantity, lo, hi)
            for (i, quantity, _, k), lo, hi in zip(asked, _floats(low), _floats(high), strict=True)
            if (k and (lo > 1 or hi < k)) or hi - lo < 1
        ]

    def _split_of(self, pair: int) -> tuple[str, str, str]:
        if pair < len(self.levels):
            return self.levels[pair].split
        return self.splits[pair - len(self.levels)]

    def _level_of(self, pair: int) -> str:
        return self.levels[pair].level if pair < len(self.levels) else REST


def _floats(values: FloatArray) -> list[float]:
    found: list[float] = values.tolist()
    return found


def _least(label: str) -> float:
    """Risks that a count stands for at least: `3+` is 3."""
    return float(label.rstrip("+"))


def _rounded(value: float, step: float) -> float:
    return float(np.floor(round(value / step, 9) + 0.5) * step)


def attack_findings(
    con: duckdb.DuckDBPyConnection,
    rule: ModelRule,
    *,
    risks: str,
    models: str,
    estimates: str,
) -> tuple[list[FindingLeak], int]:
    """Attack the findings as everybody sees them, outcome by outcome.

    Args:
        con: a connection that sees `research.risks`, `wellbeing.estimates` and the relations,
            with `outcome_flags` (outcome, is_sensitive); `Holds` of the risks are registered.
        rule: Table A, row models.
        risks, models: relations in the columns of `disclosure.risks`, `disclosure.models`.
        estimates: relation in the columns of `disclosure.estimates`.

    Returns:
        What is learnt too much of, and how many quantities were attacked.
    """
    totals = {
        row[:2]: (int(row[2] or 0), int(row[3] or 0), bool(row[4]))
        for row in con.execute(_TOTALS.format(estimates=estimates)).fetchall()
    }
    model_n = {
        row[:2]: float(row[2])
        for row in con.execute(_MODEL_N.format(models=models)).fetchall()
        if row[2] is not None
    }
    by_outcome: dict[tuple[str, str], list[Any]] = {}
    known = is_known("risks", f"'{PUBLIC}'")
    for row in con.execute(_TRUTH.format(shown=risks, known=known)).fetchall():
        by_outcome.setdefault((row[0], row[1]), []).append(row)
    leaks: list[FindingLeak] = []
    asked_n = 0
    for (survey, outcome), rows in by_outcome.items():
        attack = OutcomeAttack(
            [
                Level(kind, domain, factor, level, int(n), int(yes), bool(is_shown), bool(is_told))
                for _, _, kind, domain, factor, level, n, yes, is_shown, _, is_told in rows
            ],
            rule,
            is_sensitive=bool(rows[0][9]),
            total=totals.get((survey, outcome)),
            model_n=model_n.get((survey, outcome)),
        )
        leaks += attack.leaks_of_now(survey, outcome)
        asked_n += len(list(attack.asked()))
    return leaks, asked_n
