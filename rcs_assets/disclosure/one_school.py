"""The attack of who holds the package of one school beside the public one.

Belongs here: what each school of a CPP can derive that its CPP's holder is not asked for. Does not
belong here: the CPP's holder himself and the public (`attack.py`).

A school knows no more than its CPP, whose package holds the same rows of every school: what is
safe from the CPP is safe from the school. Two things are not asked of the CPP. Its own cells in
the public package it has by its own thresholds; the school must not learn them by the public's.
And what the CPP's own package tells alone is excused to it, not to the school.

A school's own pupils are part of its CPP's: so much of each count is at least there, and the rest
is no more than the other schools have. Where the public's system has a point that leaves room for
the true pupils of every school at once, no school can rule it out. Few targets have none; these are
asked of each school by itself, with its own pupils as unknown as its package leaves them.

One thing is taken from the CPP: of a cell inside one that its own package alone notes, k - 1 must
stay possible, not k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from rcs_assets.disclosure.answers import (
    Answer,
    Attack,
    Found,
    Memory,
    Settled,
    Unsafe,
    knowing,
    question_hash,
)
from rcs_assets.disclosure.asked import Asked, adds_nothing, targets_of
from rcs_assets.disclosure.grid import NO_LIMIT, Bools, Floats, Ints, Shown
from rcs_assets.disclosure.lp import SLACK, Reached, System, Targets, reach, with_rows
from rcs_assets.disclosure.rows import Rows
from rcs_assets.disclosure.told import told, told_of, told_rows
from rcs_assets.disclosure.unknowns import both, identity

if TYPE_CHECKING:
    from rcs_assets.disclosure.attack import Attacker

# What of a school's shown rows an answer hangs on, and of the rule by which they are shown.
_BOUNDS = ("low_n", "high_n", "low_p", "high_p")
_THRESHOLDS = ("k_base", "k_numerator", "k_complement")
_Bounded = tuple[Rows, Floats, Floats]


@dataclass(frozen=True)
class _Pupils:
    """Of one indicator, schools × the variables that everybody has: what is true, and the most.

    `n` pupils, `p` positive answers or sums of scores, `roll` pupils at most; `total` and `most`
    a school: all its pupils, and at most.
    """

    n: Floats
    p: Floats
    roll: Floats
    total: Floats
    most: Floats

    def room_n(self, schools: Ints) -> Floats:
        """Pupils at most of each variable, whichever of the schools knows its own exactly."""
        rest = self.roll.sum(axis=0) - self.roll[schools]
        return np.asarray((self.n[schools] + rest).min(axis=0))

    def room(self, schools: Ints) -> float:
        """Pupils of the CPP at most, whichever of the schools knows its own exactly."""
        return float((self.total[schools] + self.most.sum() - self.most[schools]).min())


@dataclass(frozen=True)
class _Case:
    """One indicator as it is shown: the public's system of it, and the schools' pupils."""

    shown: Shown
    row: int
    system: System
    pupils: _Pupils


class OneSchool:
    """The schools of one CPP, each with the public package, on one survey's release."""

    def __init__(self, holder: Attacker, public: Attacker) -> None:
        """Find the schools' variables, and what each of them is part of.

        Args:
            holder: the attack of the CPP's own.
            public: the public's.
        """
        self.holder, self.public, grid = holder, public, holder.grid
        self.grid = grid
        self.variable = np.flatnonzero(holder.is_school)
        self.place = place = holder.variable_place[self.variable]
        self.units, self.school = np.unique(grid.unit[place].astype(str), return_inverse=True)
        everybodys = public.variable_place
        is_home = (grid.level[everybodys] == "cpp") & holder.at_home[everybodys]
        home = {
            (grid.breakdown[p], grid.group[p]): at for at, p in enumerate(everybodys) if is_home[at]
        }
        self.part_of = np.array([home[grid.breakdown[p], grid.group[p]] for p in place], np.int64)
        self.size = len(everybodys)
        is_school = (grid.level == "school") & (grid.breakdown == "total") & holder.is_own
        total = {str(grid.unit[p]): p for p in np.flatnonzero(is_school)}
        self.total_place = np.array([total[unit] for unit in self.units], dtype=np.int64)
        self.home: Bools = np.asarray(holder.at_home & (grid.view == "public"), dtype=bool)
        self.home_total = np.flatnonzero(self.home & (grid.breakdown == "total"))
        self._memory: dict[int, Memory] = {}

    def sees(self, unit: str) -> Bools:
        """Places that a school sees."""
        return np.asarray(self.public.sees | self._own(unit), dtype=bool)

    def attack(self, shown: Shown, row: int, excused: Asked, known: Mapping[str, Answer]) -> Attack:
        """Attack one indicator from each school.

        Args:
            shown: what the release tells.
            row: the indicator's row in the grid.
            excused: targets that the CPP's holder is excused.
            known: answers to earlier questions, by hash.
        """
        grid, public = self.grid, self.public
        name = str(grid.indicators[row])
        outcome = Attack(self.holder.coalition, grid.survey, name, row, 0, 0)
        if not len(self.units):
            return outcome
        asked = self._ask(shown, row, excused)
        if not len(asked.place):
            return outcome
        case = _Case(shown, row, public.settled(shown, row), self._pupils(row))
        plain = self._question(case, asked)
        question = knowing(plain, shown.was_told(row, self.holder.sees))
        outcome = replace(outcome, targets_n=len(asked.place), system_hash=question)
        if answered := outcome.answered(known, question, plain):
            return answered
        before, settled = self._memory.get(row), Settled.none_of(len(asked.place))
        if before is not None:
            settled = before.still_holds(asked, shown, row, self.holder.sees, self.holder.is_own)
        open_ = np.flatnonzero(~settled.is_settled)
        found = self._search(case, asked.some(open_))
        programs_n = settled.programs_n + found.programs_n
        self._memory[row] = Memory(shown, asked, settled.then(open_, found, programs_n))
        answers = {} if found.findings else {question: Answer(programs_n)}
        return replace(outcome, programs_n=programs_n, unsafe=found.findings, answers=answers)

    def finds(self, shown: Shown, finding: Unsafe) -> bool:
        """Whether a finding of one school still stands of a release that tells something else."""
        row, school = finding.row, int(np.flatnonzero(self.units == finding.school)[0])
        # Of others' cells it is one that the CPP's holder is excused.
        holder = self.holder.sight.ask(shown, row, self.holder.judged)
        asked = self._ask(shown, row, holder).of(finding.place, finding.quantity)
        case = _Case(shown, row, self.public.system(shown, row), self._pupils(row))
        found = self._reach(case, case.system, shown, school, asked.targets)
        open_ = found.unsafe(asked.targets)
        known, _ = self._known_before(case, school, asked, open_, found)
        return bool((open_ & ~known).any())

    def _ask(self, shown: Shown, row: int, excused: Asked) -> Asked:
        """The CPP's cells in the public package, and what its holder is excused of others."""
        public = self.public
        others = np.flatnonzero(public.judged[excused.place] & ~self.home[excused.place])
        asked = public.sight.ask(shown, row, self.home)
        return asked.and_more(excused.some(others), public.expression)

    def _question(self, case: _Case, asked: Asked) -> str:
        """Fingerprint of all that the answer hangs on, but for what releases before told."""
        shown, row, own = case.shown, case.row, self.holder.is_own
        pupils, is_shown = case.pupils, case.shown.is_shown[row, own]
        beside = [pupils.n, pupils.p, pupils.roll, pupils.most, is_shown]
        beside += [np.where(is_shown, getattr(shown, name)[row, own], 0) for name in _BOUNDS]
        beside += [getattr(self.grid, name)[row, own] for name in _THRESHOLDS]
        beside.append(shown.note[row, own])
        return question_hash(case.system, asked.targets, *beside)

    def _search(self, case: _Case, asked: Asked) -> Found:
        """Of some targets: what no point leaves open to all schools, asked of those it concerns."""
        if not len(asked.place):
            return Found.nothing(0)
        suspects, programs_n = self._suspects(case, asked, np.arange(len(self.units)))
        is_found, is_excused = (np.zeros(len(asked.place), dtype=bool) for _ in range(2))
        findings: list[Unsafe] = []
        for school, suspected in suspects:
            # What one school is found to know, no other needs to be asked for.
            at = suspected[~is_found[suspected]]
            if not len(at):
                continue
            some = asked.some(at)
            found = self._reach(case, case.system, case.shown, school, some.targets)
            open_ = found.unsafe(some.targets)
            known, more = self._known_before(case, school, some, open_, found)
            programs_n += found.programs_n + more
            is_found[at] |= open_ & ~known
            is_excused[at] |= open_ & known
            unit = str(self.units[school])
            findings += Unsafe.of(case.row, some, found, open_ & ~known, school=unit)
        return Found(tuple(findings), is_found, is_excused & ~is_found, programs_n)

    def _reach(
        self,
        case: _Case,
        public: System,
        shown: Shown,
        school: int,
        targets: Targets,
        *,
        exact: bool = False,
    ) -> Reached:
        """How far targets reach for one school: none is of the school's own pupils."""
        own_n = int((self.school == school).sum())
        rows = _of_all(targets.rows(2 * self.size), own_n)
        asked = targets_of(rows, targets.low_ok, targets.high_ok, targets.is_either())
        return reach(self._system(case, public, shown, school), asked, exact=exact)

    def _suspects(
        self, case: _Case, asked: Asked, schools: Ints
    ) -> tuple[list[tuple[int, Ints]], int]:
        """Schools and targets that no point has cleared, and programs solved.

        A school that holds more of a small count than must stay possible is asked by itself.
        """
        found = reach(self._behind(case, schools), asked.targets)
        at = np.flatnonzero(found.unsafe(asked.targets))
        if not len(at):
            return [], found.programs_n
        if len(schools) == 1:
            return [(int(schools[0]), at)], found.programs_n
        some = asked.some(at)
        rows = some.targets.rows(2 * self.size).matrix()
        counts = rows @ np.hstack([case.pupils.n, case.pupils.p]).T
        heavy = (counts[:, schools] > some.targets.low_ok[:, None] + SLACK).any(axis=0)
        suspects = [(int(school), at) for school in schools[heavy]]
        half = len(schools) // 2
        others = [schools[~heavy]] if heavy.any() else [schools[:half], schools[half:]]
        programs_n = found.programs_n
        for group in others:
            if len(group):
                more, solved = self._suspects(case, some, group)
                suspects += [(school, at[of]) for school, of in more]
                programs_n += solved
        return suspects, programs_n

    def _pupils(self, row: int) -> _Pupils:
        """What is true of each school, laid out by the variables that everybody has."""
        grid, shape = self.grid, (len(self.units), self.size)
        positive = grid.score_sum if grid.is_mean[row] else grid.numerator
        roll = np.where(grid.is_empty[row], 0.0, grid.roll[row])
        n, p, rolls = (np.zeros(shape) for _ in range(3))
        for into, counts in ((n, grid.base[row]), (p, positive[row]), (rolls, roll)):
            into[self.school, self.part_of] = counts[self.place]
        most = roll[self.total_place]
        # No group has more pupils than its school's size class allows.
        return _Pupils(n, p, np.minimum(rolls, most[:, None]), n.sum(axis=1), most)

    def _scale(self, row: int) -> tuple[float, float]:
        """Least and most that a pupil adds to the positive answers, or to the sum of scores."""
        grid = self.grid
        if not grid.is_mean[row]:
            return 0.0, 1.0
        return float(grid.score_low[row]), float(grid.score_high[row])

    def _behind(self, case: _Case, schools: Ints) -> System:
        """The public's system with room for the true pupils of each of the schools."""
        pupils, system = case.pupils, case.system
        least, most = self._scale(case.row)
        n, p = pupils.n[schools], pupils.p[schools]
        at = np.unique(self.part_of)
        lower = np.maximum(system.lower, np.r_[n.max(axis=0), np.zeros(self.size)])
        room = np.full(2 * self.size, np.inf)
        room[at] = pupils.room_n(schools)[at]
        upper = np.minimum(system.upper, np.where(room < NO_LIMIT, room, np.inf))
        of_part, home = identity(self.size), self.public.expression[self.home_total]
        rows = [
            both(of_part, at, np.full(len(at), most), np.full(len(at), -1.0)),
            both(of_part, at, np.full(len(at), -least), np.ones(len(at))),
            both(home, np.array([0]), np.ones(1), np.zeros(1)),
        ]
        low = np.r_[(most * n - p).max(axis=0)[at], (p - least * n).max(axis=0)[at], 0.0]
        high = np.r_[np.full(2 * len(at), np.inf), pupils.room(schools)]
        return with_rows(
            replace(system, lower=lower, upper=upper),
            Rows.stacked(rows),
            low,
            high,
        )

    def _system(self, case: _Case, public: System, shown: Shown, school: int) -> System:
        """The public's system, and beside it the school's own pupils with what is shown of them."""
        mine = np.flatnonzero(self.school == school)
        (own, own_low, own_high), (rest, rest_low, rest_high) = (
            self._own_rows(case, shown, school, mine),
            self._rest_rows(case, school, mine),
        )
        a = Rows.stacked([_of_all(public.rows, len(mine)), own, rest])
        place = self.place[mine]
        roll = np.where(self.grid.is_empty[case.row, place], 0.0, self.grid.roll[case.row, place])
        roll = np.where(roll < NO_LIMIT, roll, np.inf)
        size = self.size
        most = self._scale(case.row)[1]
        truth = self.public.truth(case.row)
        n, p = case.pupils.n[school, self.part_of[mine]], case.pupils.p[school, self.part_of[mine]]
        return System(
            lower=np.zeros(a.columns_n),
            upper=np.r_[public.upper[:size], roll, public.upper[size:], roll * most],
            starts=a.starts,
            index=a.index,
            value=a.value,
            row_lower=np.r_[public.row_lower, own_low, rest_low],
            row_upper=np.r_[public.row_upper, own_high, rest_high],
            start=np.r_[truth[:size], n, truth[size:], p],
        )

    def _own_rows(self, case: _Case, shown: Shown, school: int, mine: Ints) -> _Bounded:
        """What the school's package says of its pupils."""
        least, most = self._scale(case.row)
        every = np.arange(len(mine))
        scale = [told(every, -most, 1.0, -np.inf, 0.0), told(every, -least, 1.0, 0.0, np.inf)]
        total = self.total_place[[school]]
        seen = told_of(self.grid, shown, case.row, self._own(str(self.units[school])))
        seen.append(told(total, 1.0, 0.0, -np.inf, case.pupils.most[school]))
        cells = csr_array(self.holder.cells[:, self.variable[mine]])
        parts = [told_rows(identity(len(mine)), scale), told_rows(cells, seen)]
        rows = Rows.stacked([part[0] for part in parts])
        low, high = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
        return _of_own(rows, self.size), low, high

    def _rest_rows(self, case: _Case, school: int, mine: Ints) -> _Bounded:
        """The CPP's pupils less the school's are pupils, no more than the other schools have."""
        least, most = self._scale(case.row)
        size, pupils = len(mine), case.pupils
        every, whole = np.arange(size), self.part_of[mine]
        part = csr_array((np.ones(size), (every, whole)), shape=(size, self.size))
        rest = (pupils.roll.sum(axis=0) - pupils.roll[school])[whole]
        high = np.r_[np.where(rest < NO_LIMIT, rest, np.inf), np.full(2 * size, np.inf)]
        rows = []
        for of_n, of_p in ((1.0, 0.0), (most, -1.0), (-least, 1.0)):
            times = np.full(size, of_n), np.full(size, of_p)
            whole_rows = _of_all(both(part, every, *times), size)
            less = both(identity(size), every, *(-each for each in times))
            rows.append(whole_rows.beside(_of_own(less, self.size)))
        one, total = np.array([0]), self.public.expression[self.home_total]
        all_pupils = _of_all(both(total, one, np.ones(1), np.zeros(1)), size)
        own = both(csr_array(np.ones((1, size))), one, -np.ones(1), np.zeros(1))
        rows.append(all_pupils.beside(_of_own(own, self.size)))
        total_high = pupils.most.sum() - pupils.most[school]
        return (
            Rows.stacked(rows),
            np.zeros(3 * size + 1),
            np.r_[high, total_high],
        )

    def _known_before(
        self, case: _Case, school: int, asked: Asked, open_: Bools, found: Reached
    ) -> tuple[Bools, int]:
        """What the school's own package, or releases before, tell alone."""
        shown, unit = case.shown, str(self.units[school])
        sees = self.sees(unit)
        known, programs_n = np.zeros(len(open_), dtype=bool), 0
        for alone, is_told in (
            (shown.only(self._own(unit)), True),
            (shown.before().only(sees), shown.was_told(case.row, sees).any()),
        ):
            at = np.flatnonzero(open_ & ~known)
            if not len(at) or not is_told:
                break
            asks = asked.only(at, np.zeros(len(at)), np.full(len(at), NO_LIMIT))
            public = self.public.system(alone, case.row)
            before = self._reach(case, public, alone, school, asks, exact=True)
            known[at] = adds_nothing(asked.some(at).targets, found.some(at), before)
            programs_n += before.programs_n
        return known, programs_n

    def _own(self, unit: str) -> Bools:
        return np.asarray(self.holder.is_own & (self.grid.unit == unit), dtype=bool)


def _of_all(public: Rows, own_n: int) -> Rows:
    """Rows over what everybody has, with room for so many own: pupils of both, then positive."""
    size = public.columns_n // 2
    every = np.arange(size)
    return public.moved(np.r_[every, every + size + own_n], 2 * (size + own_n))


def _of_own(own: Rows, size: int) -> Rows:
    """Rows over a school's own, beside so many that everybody has."""
    own_n = own.columns_n // 2
    mine = np.arange(own_n) + size
    return own.moved(np.r_[mine, mine + size + own_n], 2 * (size + own_n))
