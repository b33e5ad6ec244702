"""The attack of a school that knows who refused: how many could have answered, stage by sex.

Belongs here: what the holder of one school's package derives of its own pupils once the public
roll gives way to who took part (policy.md, "An intruder knows: … who refused (a school)"). Does
not belong here: what the same school learns of its CPP (`one_school.py`), and what its CPP's
holder learns of the school by the roll (`attack.py`).

All schools of a CPP are asked at once, as no sum over schools is in what one of them has. How many
took part in a group is never less than who answered any question; as many are taken. So it is not
asked how many of them answered one, which they nearly all do: what they answered is. What the
public package adds to this knowledge is not counted: a school that is most of its CPP may see more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

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
from rcs_assets.disclosure.asked import Asked, adds_nothing
from rcs_assets.disclosure.grid import NO_LIMIT, Bools, Floats, Ints, Shown
from rcs_assets.disclosure.lp import System, chosen, reach

if TYPE_CHECKING:
    from rcs_assets.disclosure.attack import Attacker


class Refusals:
    """The schools of one CPP, each with its own package and its own list of who took part."""

    def __init__(self, holder: Attacker) -> None:
        """Find the schools' variables and places.

        Args:
            holder: the attack of the CPP's own.
        """
        self.holder, self.grid = holder, holder.grid
        self.places: Bools = np.asarray(holder.is_own & (holder.grid.level == "school"), dtype=bool)
        self._memory: dict[int, Memory] = {}

    @cached_property
    def took_part(self) -> Floats:
        """At most so many could have answered, of each place."""
        return np.asarray(np.nan_to_num(self.grid.base).max(axis=0, initial=0.0))

    def sees(self, unit: str) -> Bools:
        """Places that a school sees of itself."""
        return np.asarray(self.places & (self.grid.unit == unit), dtype=bool)

    def attack(self, shown: Shown, row: int, known: Mapping[str, Answer]) -> Attack:
        """Attack one indicator from each school.

        Args:
            shown: what the release tells.
            row: the indicator's row in the grid.
            known: answers to earlier questions, by hash.
        """
        name = str(self.grid.indicators[row])
        outcome = Attack(self.holder.coalition, self.grid.survey, name, row, 0, 0)
        columns, asked = self._columns(self.places), self._ask(shown, row)
        if not len(asked.place):
            return outcome
        system = self._system(shown, row, columns)
        mine = self._over(asked, columns)
        plain = question_hash(system, mine.targets)
        question = knowing(plain, shown.was_told(row, self.places))
        outcome = replace(outcome, targets_n=len(asked.place), system_hash=question)
        if answered := outcome.answered(known, question, plain):
            return answered
        before, settled = self._memory.get(row), Settled.none_of(len(asked.place))
        if before is not None:
            settled = before.still_holds(asked, shown, row, self.places, self.places)
        open_ = np.flatnonzero(~settled.is_settled)
        found = self._search(shown, row, mine.some(open_), system, columns)
        programs_n = settled.programs_n + found.programs_n
        self._memory[row] = Memory(shown, asked, settled.then(open_, found, programs_n))
        answers = {} if found.findings else {question: Answer(programs_n)}
        return replace(outcome, programs_n=programs_n, unsafe=found.findings, answers=answers)

    def finds(self, shown: Shown, finding: Unsafe) -> bool:
        """Whether a finding of one school still stands of a release that tells something else."""
        asked = self._ask(shown, finding.row).of(finding.place, finding.quantity)
        columns = self._columns(self.sees(finding.school))
        system = self._system(shown, finding.row, columns)
        mine = self._over(asked, columns)
        return bool(self._search(shown, finding.row, mine, system, columns).findings)

    def _ask(self, shown: Shown, row: int) -> Asked:
        """The schools' own answers; nobody need doubt that no more answered than took part."""
        asked = self.holder.sight.ask(shown, row, self.places)
        asked = asked.some(np.flatnonzero(asked.quantity != "base"))
        place = self.holder.variable_place
        of_parts = np.where(self.grid.is_empty[row, place], 0.0, self.took_part[place])
        parts = np.asarray(self.holder.expression @ of_parts)
        most = np.minimum(self.took_part, parts)[asked.place]
        high_ok = asked.targets.high_ok
        high_ok = np.where(asked.is_exactness, high_ok, np.minimum(high_ok, most))
        return replace(asked, targets=replace(asked.targets, high_ok=high_ok))

    def _over(self, asked: Asked, columns: Ints) -> Asked:
        """The same targets over some of the variables."""
        t, expression = asked.targets, self.holder.expression[:, columns]
        limits = t.low_ok, t.high_ok, t.is_either()
        return Asked.at(expression, asked.place, asked.quantity, limits)

    def _columns(self, places: Bools) -> Ints:
        """Variables of some schools."""
        holder = self.holder
        units = np.unique(self.grid.unit[places].astype(str))
        is_there = np.isin(self.grid.unit[holder.variable_place].astype(str), units)
        return np.flatnonzero(holder.is_school & is_there)

    def _system(self, shown: Shown, row: int, columns: Ints) -> System:
        """What the schools' packages say of these variables alone, and who took part."""
        system = self.holder.system(shown.only(self.places), row)
        size = len(self.holder.variable_place)
        is_mine = np.zeros(size, dtype=bool)
        is_mine[columns] = True
        both = np.tile(is_mine, 2)
        is_outside = np.zeros(len(system.rows), dtype=bool)
        is_outside[system.rows.row[~both[system.index] & (system.value != 0)]] = True
        part = chosen(system, ~is_outside, both)
        most = self.took_part[self.holder.variable_place[columns]]
        times = float(self.grid.score_high[row]) if self.grid.is_mean[row] else 1.0
        return replace(part, upper=np.minimum(part.upper, np.r_[most, most * times]))

    def _search(self, shown: Shown, row: int, asked: Asked, system: System, columns: Ints) -> Found:
        """Findings among targets, and which of them are excused.

        Excused is what is known without this release: by who took part alone, or by releases
        before.
        """
        if not len(asked.place):
            return Found.nothing(0)
        found = reach(system, asked.targets)
        open_ = found.unsafe(asked.targets)
        excused, programs_n = np.zeros_like(open_), found.programs_n
        nothing = shown.only(np.zeros_like(self.places))
        for alone, is_told in (
            (nothing, True),
            (shown.before(), shown.was_told(row, self.places).any()),
        ):
            at = np.flatnonzero(open_ & ~excused)
            if not len(at) or not is_told:
                break
            asks = asked.only(at, np.zeros(len(at)), np.full(len(at), NO_LIMIT))
            before = reach(self._system(alone, row, columns), asks, exact=True)
            excused[at] = adds_nothing(asked.some(at).targets, found.some(at), before)
            programs_n += before.programs_n
        findings = tuple(
            replace(one, school=str(self.grid.unit[one.place]), by_refusals=True)
            for one in Unsafe.of(row, asked, found, open_ & ~excused)
        )
        return Found(findings, open_ & ~excused, excused, programs_n)
