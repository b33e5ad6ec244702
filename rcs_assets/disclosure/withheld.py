"""What tables and a file of answers tell together of the answers that the file withholds.

Belongs here: what a holder counts in the classes of a file as bounds on the unknowns of an attack,
and the attack with them. Does not belong here: the attack on tables alone, or beside a file that
withholds nothing (`attack.py`, `counted.py`), withholding (`anonymise.py`).

Tables are safe from who has no file, and from who has one that counts everything exactly
(`attack.py`). A file that withholds an answer in some classes only lies between, and its holder may
find by the tables what is withheld. Who gives way is the file: a question that it withholds of
whole stages, or of everybody, is one that nobody counts in it there. What tables would tell even
then is not asked: how many of which keys were asked, and what other areas' files count of it.

A pupil of a known stage, sex, SIMD group and support stands in one of the classes that could show
him; how many of each stand in which class is unknown, their sums are what tables and classes say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from scipy.sparse import csr_array, hstack

from rcs_assets.disclosure.answers import Unsafe
from rcs_assets.disclosure.attack import Attacker
from rcs_assets.disclosure.grid import Floats, Grid, Ints, Shown
from rcs_assets.disclosure.lp import System, widened
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.rows import Rows
from rcs_assets.disclosure.unknowns import identity

_SUPPORT = ("Y", "N", "")
# Stage, sex, SIMD group and support; "" is not known or not shown.
Keys = tuple[str, str, str, str]


@dataclass(frozen=True)
class Classes:
    """The classes of one area's file of answers of a survey, and what is counted in them.

    One entry a class: `keys` as shown. One row an indicator (`indicators`), one column a class:
    `asked_n` records of pupils that were asked; `valid_n` with a valid answer, `total` the sum of
    their answers (of a percentage: who gave it); `withheld_n` of which an answer behind it is
    withheld, which neither counts. `left_out_n`: pupils that answered and have no record.
    `has_one_form`: everybody had the same questionnaire.
    """

    keys: Sequence[Keys]
    indicators: Sequence[str]
    asked_n: Floats
    valid_n: Floats
    total: Floats
    withheld_n: Floats
    left_out_n: int
    has_one_form: bool

    @cached_property
    def row(self) -> Mapping[str, int]:
        """Indicator → its row."""
        return {name: row for row, name in enumerate(self.indicators)}

    def withholds(self, indicator: str) -> bool:
        """Whether an answer behind an indicator is withheld of somebody."""
        return indicator in self.row and bool(self.withheld_n[self.row[indicator]].any())

    def counts_some(self, indicator: str) -> bool:
        """Whether it withholds answers behind an indicator, and not all of them."""
        row = self.row.get(indicator)
        return self.withholds(indicator) and bool((self.withheld_n[row] < self.asked_n[row]).any())

    def without(self, indicator: str) -> Classes:
        """The same with all answers behind an indicator withheld, if it withholds any of them."""
        if not self.withholds(indicator):
            return self
        nothing = np.zeros_like(self.valid_n)
        return replace(self, valid_n=nothing, total=nothing, withheld_n=self.asked_n)

    def counts(self, indicator: str) -> bytes:
        """All that is counted of an indicator, to be compared."""
        row = self.row[indicator]
        parts = (part[row].tobytes() for part in (self.valid_n, self.total, self.withheld_n))
        return b"".join(parts)


class Holder:
    """Who holds files of answers of some areas beside the packages of a coalition."""

    def __init__(
        self, attacker: Attacker, files: Mapping[str, Classes], rule: MicrodataRule
    ) -> None:
        """Lay the classes of the files beside the variables of the attacker.

        Args:
            attacker: of the tables.
            files: engagement → its file, of those that the holder has.
            rule: of files of answers.
        """
        self.attacker, self.files = attacker, files
        grid, places = attacker.grid, attacker.variable_place
        self._members = [
            _Members(grid, places, engagement, file, rule)
            for engagement, file in sorted(files.items())
        ]

    def withholds(self, row: int) -> bool:
        """Whether a file withholds an answer behind the indicator at a row of the grid."""
        indicator = str(self.attacker.grid.indicators[row])
        return any(file.withholds(indicator) for file in self.files.values())

    def attack(self, shown: Shown, row: int, at: Ints) -> tuple[tuple[Unsafe, ...], Ints]:
        """What is found of an indicator, beyond what files tell alone.

        And beyond what tables tell beside files that withhold all of it wherever they do some.

        Args:
            shown: what the release tells.
            row: the indicator's row in the grid.
            at: the attacker's targets that are asked, by position.

        Returns:
            Findings, and the targets that are not safe from who has files that tell no less.
        """
        name = str(self.attacker.grid.indicators[row])

        def knows(system: System) -> System:
            return self._counted(system, row, [members.file for members in self._members])

        def anyway(system: System) -> System:
            return self._counted(system, row, [one.file.without(name) for one in self._members])

        return self.attacker.attack_beside(knows, anyway, shown, row, at)

    def _counted(self, system: System, row: int, files: Sequence[Classes]) -> System:
        """The system of an indicator with what some files count."""
        grid = self.attacker.grid
        is_mean = bool(grid.is_mean[row])
        scale = (float(grid.score_low[row]), float(grid.score_high[row])) if is_mean else (0.0, 1.0)
        for members, file in zip(self._members, files, strict=True):
            system = members.beside(system, file, str(grid.indicators[row]), *scale)
        return system


class _Members:
    """How many pupils of each kind stand in each class of one file, as further unknowns."""

    def __init__(
        self, grid: Grid, places: Ints, engagement: str, file: Classes, rule: MicrodataRule
    ) -> None:
        self.file, self._variables_n = file, len(places)
        here = (grid.level[places] == "cpp") & (grid.engagement[places] == engagement)
        breakdown, group = grid.breakdown[places], grid.group[places]
        cells, fifths = (
            {str(group[at]): int(at) for at in np.flatnonzero(here & (breakdown == name))}
            for name in ("stage:sex", "simd_quintile")
        )
        pairs = [
            (kind, at)
            for cell, simd, support in product(
                sorted(cells), sorted({*rule.simd_groups.values(), ""}), _SUPPORT
            )
            for kind in [(*_stage_and_sex(cell), simd, support)]
            for at in _classes_of(kind, file, rule)
        ]
        self._size = len(pairs)
        shown = {fifth: rule.simd_groups.get(fifth, "") for fifth in fifths}
        # Of each sum: which variables it is of, and which pairs.
        sums: list[tuple[list[int], list[bool]]] = [
            ([at], [kind[:2] == _stage_and_sex(cell) for kind, _ in pairs])
            for cell, at in cells.items()
        ]
        sums += [
            (
                [at for fifth, at in fifths.items() if shown[fifth] == simd],
                [kind[2] == simd for kind, _ in pairs],
            )
            for simd in sorted({*shown.values()} - {""})
        ]
        self._sums = _equal(sums, self._variables_n, self._size)
        in_class = np.array([at for _, at in pairs], dtype=np.int64)
        shape = (len(file.keys) + 1, self._size)
        ones = np.ones(self._size)
        self._of_class = csr_array((ones, (in_class, np.arange(self._size))), shape=shape)

    def beside(
        self, system: System, file: Classes, indicator: str, least: float, most: float
    ) -> System:
        """The system with the members of classes as further columns, and what is known of them.

        Args:
            system: of the tables.
            file: the classes, and what is counted in them.
            indicator: of the system.
            least: that an answer counts.
            most: the same.
        """
        begin, size, row = len(system.lower), self._size, file.row[indicator]
        columns_n, free = begin + 2 * size, np.full(2 * size, np.inf)
        variables, pairs = np.arange(self._variables_n), begin + np.arange(size)
        valid, total, withheld = file.valid_n[row], file.total[row], file.withheld_n[row]
        # Who has no record stands in a class of its own.
        open_n = np.r_[withheld, file.left_out_n]
        sums, of_class = Rows.of(self._sums), Rows.of(self._of_class)
        one = identity(size)
        within = Rows.of(csr_array(hstack([-most * one, one], format="csr")))
        parts = [
            sums.moved(np.r_[variables, pairs], columns_n),
            sums.moved(np.r_[self._variables_n + variables, size + pairs], columns_n),
            of_class.moved(pairs, columns_n),
            of_class.moved(size + pairs, columns_n),
            within.moved(np.r_[pairs, size + pairs], columns_n),
        ]
        nothing, counted = np.zeros(len(sums)), (np.r_[valid, 0], np.r_[total, 0])
        low = [nothing, nothing, *counted, np.full(size, -np.inf)]
        most_more = counted[0] + open_n, counted[1] + most * open_n
        high = [nothing, nothing, *most_more, np.zeros(size)]
        if least > 0:
            above = Rows.of(csr_array(hstack([-least * one, one], format="csr")))
            parts.append(above.moved(np.r_[pairs, size + pairs], columns_n))
            low.append(np.zeros(size))
            high.append(np.full(size, np.inf))
        rows = Rows.stacked(parts)
        wider = System(
            lower=np.r_[system.lower, np.zeros(2 * size)],
            upper=np.r_[system.upper, free],
            starts=rows.starts,
            index=rows.index,
            value=rows.value,
            row_lower=np.concatenate(low),
            row_upper=np.concatenate(high),
        )
        return widened(system, np.arange(begin), wider)


def _stage_and_sex(cell: str) -> tuple[str, str]:
    stage, sex = cell.split(":")
    return stage, sex


def _classes_of(kind: Keys, file: Classes, rule: MicrodataRule) -> Iterator[int]:
    """The classes that can show a pupil, by position; the last is of those who have no record."""
    stage, sex, simd, support = kind
    # Where nobody's form tells them apart, all of a kind stand in one class if it is shown.
    if file.has_one_form and simd and support and kind in file.keys:
        yield file.keys.index(kind)
        return
    stages = (stage, rule.stage_bands.get(stage, ""), "")
    for at, shown in enumerate(file.keys):
        if (
            shown[0] in stages
            and shown[1] == sex
            and shown[2] in (simd, "")
            and shown[3] in (support, "")
        ):
            yield at
    if file.left_out_n:
        yield len(file.keys)


def _equal(
    sums: Sequence[tuple[Sequence[int], Sequence[bool]]], variables_n: int, pairs_n: int
) -> csr_array:
    """Rows of variables less the pairs that add up to them."""
    found = np.zeros((len(sums), variables_n + pairs_n))
    for row, (variables, pairs) in enumerate(sums):
        found[row, variables] = 1.0
        found[row, variables_n:] = -np.asarray(pairs, dtype=np.float64)
    return csr_array(found)
