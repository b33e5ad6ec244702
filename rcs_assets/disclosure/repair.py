"""Hides indicators until no coalition learns too much of them.

Belongs here: the steps for indicators that are hidden alike, one or a linked set: lines first,
then notes, then attack and repair in turn. They touch no other indicator, so that each set is a
task of its own. Does not belong here: each step (`suppress.py`, `attack.py`), reading a survey and
the tables that come out (`rules.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rcs_assets.disclosure.answers import Answer, Answers, Hidden, Unsafe, fingerprint
from rcs_assets.disclosure.attack import attackers_of
from rcs_assets.disclosure.counted import counted_places
from rcs_assets.disclosure.earlier import Earlier, with_known, with_notes
from rcs_assets.disclosure.grid import Bools, Grid, Ints, Lines, Shown, as_released
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.suppress import Suppression
from rcs_assets.disclosure.unknowns import Structure, coalitions
from rcs_assets.errors import ConfigurationError

# An indicator that so many attempts have not made safe is hidden whole in the CPPs concerned, and
# by the last attempt wherever it is shown.
PATIENCE, ATTEMPTS = 12, 24
# Of a grid: one entry an indicator, as have its counts (indicators × places). All else is shared.
_OF_INDICATORS = ("indicators", "is_mean", "score_low", "score_high")
# Steps against one finding before all is attacked anew: with fewer, far more attacks; with many,
# more is hidden, since what is hidden for its neighbours would have mended it, too.
STEPS = 4


@dataclass(frozen=True)
class Survey:
    """One survey as it is protected.

    `grid`: its nodes. `lines`: what is part of what. `structure`: what coalitions make of it.
    `earlier`: what releases before told. `rule`: of files of answers. `linked`: rows of the grid
    whose numerators add up, the sum first.
    """

    grid: Grid
    lines: Lines
    structure: Structure
    earlier: Earlier
    rule: MicrodataRule
    linked: Sequence[Sequence[int]]

    def tasks(self) -> list[Ints]:
        """Rows that are hidden alike; every row in one of them."""
        sets = [np.array(sorted(rows), dtype=np.int64) for rows in self.linked]
        alone = np.setdiff1d(np.arange(len(self.grid.indicators)), np.concatenate([[], *sets]))
        return [*sets, *(np.array([row], dtype=np.int64) for row in alone)]

    @cached_property
    def _grid(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """The arrays of the grid that are of indicators, and those that all share."""
        parts = {each.name: np.asarray(getattr(self.grid, each.name)) for each in fields(self.grid)}
        own = {name for name, part in parts.items() if name in _OF_INDICATORS or part.ndim == 2}
        names = sorted(parts)
        return [parts[n] for n in names if n in own], [parts[n] for n in names if n not in own]

    @cached_property
    def _shared(self) -> str:
        """Fingerprint of what is the same for all indicators."""
        rule, structure = self.rule, self.structure
        matrices = (structure.expression, structure.weighted, structure.equations)
        return fingerprint(
            repr((sorted(rule.simd_groups.items()), sorted(rule.purposes))),
            *self._grid[1],
            *(getattr(self.lines, each.name) for each in fields(self.lines)),
            *(part for matrix in matrices for part in (matrix.indptr, matrix.indices, matrix.data)),
            structure.equation_owner,
            structure.owner,
            structure.place,
        )

    def question(self, rows: Ints) -> str:
        """Fingerprint of all that the hiding of some rows hangs on, but for the code."""
        sets = [np.searchsorted(rows, linked) for linked in self.linked if linked[0] in rows]
        parts = [getattr(self.earlier, each.name) for each in fields(self.earlier)]
        return fingerprint(
            self._shared, repr(sets), *(part[rows] for part in [*parts, *self._grid[0]])
        )


@dataclass
class Programme:
    """All surveys, and answers of earlier attacks: what a worker holds."""

    surveys: Sequence[Survey]
    known: Mapping[str, Answer]
    _begun: dict[int, _Protection] = field(default_factory=dict)

    def protect(self, task: tuple[int, Ints]) -> Hidden:
        """Protect some rows of a survey, both by position."""
        at, rows = task
        if at not in self._begun:
            self._begun[at] = _Protection(self.surveys[at])
        return self._begun[at].protect(rows, Answers(self.known))


class _Protection:
    """What is hidden of one survey, and who attacks it."""

    def __init__(self, survey: Survey) -> None:
        self.grid, rule, self.earlier = survey.grid, survey.rule, survey.earlier
        counted = counted_places(self.grid, rule.simd_groups) if "cpp" in rule.purposes else None
        self.suppression = Suppression(
            self.grid, survey.lines, survey.linked, counted, self.earlier.silent
        )
        self.suppression.hidden |= self.earlier.held & self.grid.is_showable
        self.names = coalitions(self.grid)
        self.attackers = attackers_of(self.grid, survey.structure, rule)
        # Rounding leaves the same open whatever is hidden.
        told = as_released(self.grid, self.suppression.hidden, self.suppression.note)
        self.told = with_known(self.grid, told, self.earlier)

    def protect(self, rows: Ints, answers: Answers) -> Hidden:
        """Hide in rows that are hidden alike what must not be shown."""
        self._begin(rows)
        self._repair(rows, answers)
        return Hidden(self._state(rows).tobytes(), answers.used)

    def _begin(self, rows: Ints) -> None:
        """Hide as the last release did where nothing has changed; elsewhere lines and notes."""
        suppression, before = self.suppression, self.earlier
        is_as_before = before.is_as_before[rows].all()
        if is_as_before:
            suppression.hidden[rows] |= before.was_hidden[rows]
        suppression.settle(rows)
        hidden = suppression.hidden[rows] & self.grid.is_showable[rows]
        is_same = is_as_before and (hidden == before.was_hidden[rows]).all()
        # Not true any more: of small schools together, whose counts of then nobody has kept, or of
        # an indicator that was sensitive.
        if not (is_same and suppression.takes_notes(rows, before.was_noted[rows])):
            suppression.write_notes(rows)

    def _shown(self) -> Shown:
        """What would be told if no more were hidden than now."""
        told, is_shown = self.told, self.grid.is_showable & ~self.suppression.hidden
        shown = replace(told, is_shown=is_shown | told.was_shown, note=self.suppression.note.copy())
        return with_notes(shown)

    def _repair(self, rows: Ints, answers: Answers) -> None:
        """Hide more, or say less in notes, until no coalition learns too much."""
        suppression = self.suppression
        jobs = [(a, row) for row in rows.tolist() for a in range(len(self.attackers))]
        for attempt in range(ATTEMPTS):
            shown = self._shown()
            outcomes = [self.attackers[a].attack(shown, row, answers.known) for a, row in jobs]
            answers.note(outcomes)
            unsafe = [(outcome.coalition, u) for outcome in outcomes for u in outcome.unsafe]
            if not unsafe:
                return
            before = self._state(rows)
            for coalition, finding in _worst(self.grid, unsafe):
                self._mend(coalition, finding, rows, is_last=attempt >= PATIENCE)
            suppression.settle(np.array([finding.row for _, finding in unsafe]))
            changed = before != self._state(rows)
            suppression.keep_notes(rows[changed.any(axis=1)])
            changed = before != self._state(rows)
            # Who sees nothing new and was safe learns nothing new.
            again = {(self.names.index(coalition), finding.row) for coalition, finding in unsafe}
            again |= {
                (a, row)
                for a, attacker in enumerate(self.attackers)
                for row in rows[changed[:, attacker.sees].any(axis=1)].tolist()
            }
            jobs = sorted(again)
        raise ConfigurationError(
            "The estimates could not be made safe",
            where=f"{self.grid.survey} survey, {len(unsafe)} quantities",
            why="hiding everything beside them still tells too much",
            fix="leave the engagement out, or show fewer breakdowns (policy.yaml)",
        )

    def _mend(self, coalition: str, finding: Unsafe, rows: Ints, *, is_last: bool) -> None:
        """A few steps against one finding; none if those against others have mended it."""
        attacker = self.attackers[self.names.index(coalition)]
        seen = attacker.seen_by(finding)
        for _ in range(STEPS):
            if not (is_last or attacker.finds(self._shown(), finding)):
                return
            before = self._state(rows)
            _step(self.grid, self.suppression, finding, seen, is_last=is_last)
            if (before == self._state(rows)).all():
                return

    def _state(self, rows: Ints) -> NDArray[np.int8]:
        """Of some rows × places, what is hidden and noted (`Hidden`)."""
        now = self.suppression
        return np.asarray(2 * now.note[rows] + now.hidden[rows], dtype=np.int8)


def _worst(grid: Grid, unsafe: Sequence[tuple[str, Unsafe]]) -> list[tuple[str, Unsafe]]:
    """One finding an indicator, coalition and area: mending one often mends its neighbours.

    The worst comes first, by the side that tells too much: that one is exact. How far the other one
    was followed hangs on what else was asked.
    """
    found: dict[tuple[str, int, str], tuple[str, Unsafe]] = {}

    def order(one: tuple[str, Unsafe]) -> tuple[float, int, str]:
        # The noise of the arithmetic must not decide between two that are as bad.
        return -round(one[1].excess, 6), one[1].place, one[1].quantity

    for coalition, finding in sorted(unsafe, key=order):
        area = str(grid.unit[finding.place])
        found.setdefault((coalition, finding.row, area), (coalition, finding))
    return list(found.values())


def _step(
    grid: Grid, suppression: Suppression, finding: Unsafe, seen: Bools, *, is_last: bool
) -> None:
    """One step against one finding: notes around it go first, then its next-smallest sibling.

    At the last, the indicator goes whole: from what the public sees of its CPP and the areas
    above, then from its CPP's package too, then from all that the coalition sees (`seen`), of
    which in the end nothing is left.
    """
    row, place = finding.row, finding.place
    if not is_last:
        if not suppression.drop_notes_near(row, place, seen):
            suppression.hide_beside(row, place, seen)
        return
    here = np.asarray(np.isin(grid.engagement, ["", grid.engagement[place]]), dtype=bool) & seen
    for places in (here & (grid.view == "public"), here, seen):
        if suppression.hide_all(row, places):
            return
