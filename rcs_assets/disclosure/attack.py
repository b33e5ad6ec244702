"""The attack on a release: what each coalition can derive of what is hidden.

Belongs here: writing what a coalition knows (policy.md, Audiences) as one linear system a
survey and indicator, the quantities that it may not learn as targets, and judging the
answers of `lp.py`. Does not belong here: how cells come to be hidden (`suppress.py`): the
attack sees what is shown and nothing of why.

A coalition is the holder of a CPP's package with all its schools' packages and the public
one, or the public alone; what one school knows beside the public, and its CPP may, is attacked
with its CPP (`one_school.py`), and so is what it knows by its refusals (`refusals.py`).

Who holds anonymised files of answers beside the tables (a CPP its own, a user of the archive all
of them) can count what they count; what else is hidden is attacked with these counts once more.

Unknowns are the pupils and positive answers (or sums of scores) of stage by sex in each
area, and of the groups of the other breakdowns; every sum over groups and areas is an
equation, every shown figure with its rounding a bound, so is every public roll and note. A weighted
figure is the share of a weighted sum: the attacker has the weights of stage and sex, which whoever
knows only about what they are cannot have better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, vstack

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
from rcs_assets.disclosure.asked import Asked, Sight, adds_nothing
from rcs_assets.disclosure.counted import Counted, counted_in_files
from rcs_assets.disclosure.grid import INSIDE, NO_LIMIT, Bools, Floats, Grid, Ints, Shown
from rcs_assets.disclosure.lp import (
    Basis,
    Reached,
    System,
    Targets,
    certify,
    reach,
    settled_basis,
    widened,
    with_rows,
    without_fixed,
)
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.one_school import OneSchool
from rcs_assets.disclosure.refusals import Refusals
from rcs_assets.disclosure.told import told, told_of, told_rows
from rcs_assets.disclosure.unknowns import (
    PUBLIC_COALITION,
    Structure,
    coalitions,
    identity,
)

_Search = Callable[[System, Targets], Reached]
# What a system becomes for who knows more than tables.
Knowledge = Callable[[System], System]
# Of so few targets the ranges are sooner found from the truth than from nothing.
FEW = 40


class Attacker:
    """One coalition's attack on one survey's release, indicator by indicator."""

    def __init__(
        self,
        grid: Grid,
        structure: Structure,
        coalition: str,
        public: Attacker | None = None,
        rule: MicrodataRule | None = None,
    ) -> None:
        """Choose the variables, equations and places that the coalition has.

        Args:
            grid: the nodes; counts are used as the truth that is judged in the end, and for
                the public roll.
            structure: the sums.
            coalition: `public` or an engagement.
            public: the public's attack on the same, which the others go on from; without it a
                holder begins from nothing.
            rule: of files of answers; none are made without.
        """
        self.grid, self.structure, self.coalition = grid, structure, coalition
        self.public = public
        self.is_public = coalition == PUBLIC_COALITION
        holder = "" if self.is_public else coalition
        mine = np.isin(structure.owner, ["", holder])
        rows = np.isin(structure.equation_owner, ["", holder])
        self.equations = csr_array(structure.equations[rows][:, mine])
        self.expression = csr_array(structure.expression[:, mine])
        self.cells = csr_array(structure.cells[:, mine])
        self.variable_place = structure.place[mine]
        level = grid.level[self.variable_place]
        self.is_school: Bools = np.asarray(level == "school", dtype=bool)
        self.is_above: Bools = np.asarray(~np.isin(level, INSIDE), dtype=bool)
        self.is_everybodys: Bools = np.asarray(structure.owner[mine] == "", dtype=bool)
        # Whatever is told beside what the public knows is told of one of these sums of variables.
        is_mine = (structure.equation_owner[rows] == coalition) | (public is None)
        own = self.equations[is_mine]
        parts = [self.cells, own, identity(len(self.variable_place))[self._ends()]]
        self.sums = csr_array(vstack(parts, format="csr"))
        cells_n, equations_n = self.cells.shape[0], own.shape[0]
        self.equation_at = np.arange(cells_n, cells_n + equations_n)
        self.end_at = np.arange(cells_n + equations_n, self.sums.shape[0])
        is_own = (grid.view == "own") & (grid.engagement == holder)
        self.is_own: Bools = np.asarray(is_own, dtype=bool)
        self.sees: Bools = np.asarray((grid.view == "public") | is_own, dtype=bool)
        # Of its own CPP the holder is judged by his own package's thresholds.
        at_home = (grid.engagement == holder) & (grid.level == "cpp")
        is_school = (grid.level == "school") & (grid.breakdown == "total")
        # A school's package says of what size it is, and so does it that there is none.
        self.school_at = np.flatnonzero(is_school & (grid.engagement == holder))
        self.judged: Bools = self.sees & ~((grid.view == "public") & at_home)
        self._memory: dict[tuple[int, str], Memory] = {}
        self._settled: dict[int, tuple[Shown, System]] = {}
        # What the holder's own schools and clusters add up to.
        summed = np.zeros(len(self.is_everybodys), dtype=bool)
        summed[csr_array(own).indices] = public is not None
        self.is_summed: Bools = summed[self.is_everybodys]
        self.at_home: Bools = np.asarray(at_home, dtype=bool)
        self.counted = self._counted(rule)
        self.sight = Sight(grid, self.expression, self.sees)
        self.one_school = None if public is None else OneSchool(self, public)
        self.refusals = None if public is None else Refusals(self)

    @cached_property
    def _column_of_public(self) -> Ints:
        to = np.flatnonzero(self.is_everybodys)
        return np.asarray(np.r_[to, to + len(self.variable_place)])

    def _ends(self) -> Ints:
        """Variables that are no area's sum of its parts; what holds for them holds above.

        Of a holder those of its own schools and clusters: the public's are the public's.
        """
        is_minus = self.equations.data < 0
        row = np.repeat(np.arange(self.equations.shape[0]), np.diff(self.equations.indptr))
        minus_n = np.bincount(row[is_minus], minlength=self.equations.shape[0])
        of_area = is_minus & (minus_n[row] == 1)
        wholes = np.unique(self.equations.indices[of_area]).astype(np.int64)
        if self.public is not None:
            wholes = np.r_[wholes, np.flatnonzero(self.is_everybodys)]
        return np.setdiff1d(np.arange(len(self.variable_place)), wholes)

    def _counted(self, rule: MicrodataRule | None) -> Counted | None:
        """What files of answers count: those of the archive for everybody, of a CPP for its own."""
        if rule is None or ("archive" if self.is_public else "cpp") not in rule.purposes:
            return None
        holders = set(self.grid.engagement) if self.is_public else {self.coalition}
        return counted_in_files(
            self.grid, self.variable_place, self.equations, holders, rule.simd_groups
        )

    def attack(self, shown: Shown, row: int, known: Mapping[str, Answer]) -> Attack:
        """Attack one indicator.

        Args:
            shown: what the release tells.
            row: the indicator's row in the grid.
            known: answers to earlier questions, by hash.
        """
        released = self.sees & self.grid.is_showable[row]
        outcome = Attack(
            self.coalition,
            self.grid.survey,
            str(self.grid.indicators[row]),
            row,
            int(released.sum()),
            int((released & ~shown.is_shown[row]).sum()),
        )
        asked = self.sight.ask(shown, row, self.judged)
        if len(asked.place):
            outcome = self._attack(outcome, asked, shown, known)
        if self.one_school is None or self.refusals is None:
            return outcome
        excused = asked.some(np.array(outcome.excused, dtype=np.int64))
        outcome = outcome.and_more(self.one_school.attack(shown, row, excused, known))
        by_refusals = self.refusals.attack(shown, row, known)
        # What the CPP's holder is found to know is not told once more of the school.
        told = {(one.place, one.quantity) for one in outcome.unsafe}
        more = tuple(one for one in by_refusals.unsafe if (one.place, one.quantity) not in told)
        return outcome.and_more(replace(by_refusals, unsafe=more))

    def finds(self, shown: Shown, finding: Unsafe) -> bool:
        """Whether a finding still stands of a release that tells something else by now."""
        row = finding.row
        if finding.by_refusals and self.refusals is not None:
            return self.refusals.finds(shown, finding)
        if finding.school and self.one_school is not None:
            return self.one_school.finds(shown, finding)
        asked = self.sight.ask(shown, row, self.judged).of(finding.place, finding.quantity)
        system = self.system(shown, row)
        knows = self._counts(row) if finding.by_files else None
        system = system if knows is None else knows(system)
        every = np.ones(len(asked.place), dtype=bool)
        found = self._find(asked, every, system, shown, row, knows=knows)
        return bool(found.findings)

    def told_by_files(self, shown: Shown, row: int, known: Mapping[str, Answer]) -> Ints:
        """Targets of one indicator, by position, that who counts everything in files may know.

        All others are safe from him, and so from who has files that withhold answers.

        Args:
            shown: what the release tells.
            row: the indicator's row in the grid.
            known: answers to earlier questions, by hash; without one all targets are told.
        """
        asked = self.sight.ask(shown, row, self.judged)
        questions = self._questions(self.system(shown, row), asked, shown, row)
        answer = next((known[question] for question in questions if question in known), None)
        at = range(len(asked.place)) if answer is None else answer.told_at
        return np.array(at, dtype=np.int64)

    def attack_beside(
        self, knows: Knowledge, anyway: Knowledge, shown: Shown, row: int, at: Ints
    ) -> tuple[tuple[Unsafe, ...], Ints]:
        """What is found of one indicator by who knows more, beyond what he knows without tables.

        Args:
            knows: makes the system that he has of one of the tables.
            anyway: the same for who knows less; what the tables tell him is not asked.
            shown: what the release tells.
            row: the indicator's row in the grid.
            at: the targets that are asked, by position.

        Returns:
            Findings, and the targets that are not safe: found, or known without the release.
        """
        if not len(at):
            return (), at
        some = self.sight.ask(shown, row, self.judged).some(at)
        system, size = knows(self.system(shown, row)), 2 * len(self.is_above)
        # What is feasible while schools and clusters stand as they are is feasible.
        truth, stands = np.zeros(len(system.lower)), np.zeros(len(system.lower), dtype=bool)
        truth[:size], stands[:size] = self.truth(row), np.tile(~self.is_above, 2)
        left = reach(_held(system, stands, truth), some.targets).unsafe(some.targets)
        found = self._find(some, left, system, shown, row, knows=knows, anyway=anyway)
        return found.findings, at[found.is_found | found.is_excused]

    def _questions(self, system: System, asked: Asked, shown: Shown, row: int) -> tuple[str, str]:
        """What is asked of one indicator, by hash; and that of who knows no release before."""
        plain = question_hash(system, asked.targets, *self._beside(row))
        return knowing(plain, shown.was_told(row, self.sees)), plain

    def _attack(
        self, outcome: Attack, asked: Asked, shown: Shown, known: Mapping[str, Answer]
    ) -> Attack:
        """What the holder of the coalition's packages finds."""
        row = outcome.row
        system = self.system(shown, row)
        question, plain = self._questions(system, asked, shown, row)
        outcome = replace(outcome, targets_n=len(asked.place), system_hash=question)
        if answered := outcome.answered(known, question, plain):
            return answered
        tabled = self._recall("tables", asked, shown, row)
        filed = self._recall("files", asked, shown, row)
        is_told = self._is_told(asked)
        open_ = np.flatnonzero(~(tabled.is_settled & filed.is_settled))
        some = asked.some(open_)
        certified, counted, answers = self._certified(some, system, shown, row, known)
        left = ~certified & ~tabled.is_settled[open_]
        by_tables = self._find(some, left, system, shown, row)
        findings, programs_n = by_tables.findings, tabled.programs_n + by_tables.programs_n
        programs_n += sum(answer.programs_n for answer in answers.values())
        tabled = tabled.then(open_, by_tables, programs_n)
        if self.counted is not None:
            knows = self._counts(row)
            # What is excused without files may be told more closely with them.
            left = ~(counted | filed.is_settled[open_] | by_tables.is_found | is_told[open_])
            by_files = self._find(some, left, knows(system), shown, row, knows=knows)
            findings += by_files.findings
            not_asked = replace(by_files, is_found=by_files.is_found | by_tables.is_found)
            filed = filed.then(open_, not_asked, filed.programs_n + by_files.programs_n)
        self._memory[row, "tables"] = Memory(shown, asked, tabled)
        self._memory[row, "files"] = Memory(shown, asked, filed)
        excused = tuple(np.flatnonzero(tabled.is_excused).tolist())
        programs_n += filed.programs_n
        if not findings:
            told_at = tuple(np.flatnonzero(is_told | filed.is_excused).tolist())
            answers[question] = Answer(programs_n, excused, tuple(answers), told_at)
        return replace(
            outcome, programs_n=programs_n, unsafe=findings, answers=answers, excused=excused
        )

    def _recall(self, kind: str, asked: Asked, shown: Shown, row: int) -> Settled:
        """What the attack before has settled and still is; who has no files leaves nothing open."""
        if kind == "files" and self.counted is None:
            return Settled.all_of(len(asked.place))
        before = self._memory.get((row, kind))
        if before is None:
            return Settled.none_of(len(asked.place))
        return before.still_holds(asked, shown, row, self.sees, self.is_own)

    def _beside(self, row: int) -> Iterable[Bools | Floats]:
        """What an answer hangs on beside its system: files of answers.

        Of what they count it is the very counts: rounded figures can stay as they were.
        """
        if self.counted is not None:
            is_told, sums, truth = self.counted.is_told, self.counted.sums, self.truth(row)
            yield is_told
            yield sums.toarray()
            yield truth[np.tile(is_told, 2)]
            yield sums @ truth.reshape(2, -1).T

    def _is_told(self, asked: Asked) -> Bools:
        """Targets that files of answers tell: what these may tell is a rule of their own."""
        is_open = np.zeros(len(asked.place), dtype=bool)
        if self.counted is None:
            return is_open
        cells = asked.targets.rows(2 * len(self.counted.is_told))
        is_open[cells.row[np.tile(~self.counted.is_told, 2)[cells.index]]] = True
        return ~is_open

    @cached_property
    def hides(self) -> Bools:
        """Places that the coalition sees and cannot count in files of answers."""
        if self.counted is None:
            return self.sees
        return np.asarray(self.sees & (self.expression @ ~self.counted.is_told > 0), dtype=bool)

    def seen_by(self, finding: Unsafe) -> Bools:
        """Places of which to hide one keeps a finding: the coalition's, or one school's.

        To hide what files of answers count keeps nothing from who counts there.
        """
        if finding.by_files:
            return self.hides
        if finding.by_refusals and self.refusals is not None:
            return self.refusals.sees(finding.school)
        if finding.school and self.one_school is not None:
            return self.one_school.sees(finding.school)
        return self.sees

    def _counts(self, row: int) -> Knowledge:
        """What files of answers add, if they count everything exactly; nothing without files."""
        counted, truth = self.counted, self.truth(row)

        def knows(system: System) -> System:
            return system if counted is None else _counting(system, counted, truth)

        return knows

    def _find(
        self,
        asked: Asked,
        unsafe: Bools,
        system: System,
        shown: Shown,
        row: int,
        *,
        knows: Knowledge | None = None,
        anyway: Knowledge | None = None,
    ) -> Found:
        """The findings among targets that no part has certified, and what is excused of them."""
        at = np.flatnonzero(unsafe)
        if not len(at):
            return Found.nothing(len(unsafe))
        some = asked.some(at)
        truth = self.truth(row)
        if len(at) <= FEW and len(truth) == len(system.lower):
            system = replace(system, start=truth)
        found = reach(system, some.targets)
        open_ = found.unsafe(some.targets)
        known, more = self._known_before(some, open_, found, shown, row, knows, anyway)
        by_files = knows is not None
        findings = Unsafe.of(row, some, found, open_ & ~known, by_files=by_files)
        is_found, is_excused = np.zeros_like(unsafe), np.zeros_like(unsafe)
        is_found[at], is_excused[at] = open_ & ~known, open_ & known
        return Found(findings, is_found, is_excused, found.programs_n + more)

    def _certified(
        self, asked: Asked, system: System, shown: Shown, row: int, known: Mapping[str, Answer]
    ) -> tuple[Bools, Bools, dict[str, Answer]]:
        """Targets that are safe even from who knows much exactly, and the answers by part.

        What is feasible in a part is feasible in the whole, and what no part certifies, the
        whole system judges. Second: those certified while all stands at its true value that
        files of answers count.
        """
        safe: Bools = np.zeros(len(asked.place), dtype=bool)
        counted = safe.copy()
        answers: dict[str, Answer] = {}
        truth = self.truth(row)
        for part_of in self._parts():
            free, is_asked = part_of.free, ~safe
            if part_of.with_files:
                is_asked &= ~self.at_home[asked.place]
            at = np.flatnonzero((self.expression @ free > 0)[asked.place] & is_asked)
            if not len(at):
                continue
            some, moves = asked.some(at), np.tile(free, 2)
            part, targets = _held(system, ~moves, truth), some.targets
            if self.public is not None and free is self.is_above:
                part, targets = self._above(
                    self.public, some, shown, row, with_files=part_of.with_files
                )
            if part.basis is None:
                # Both the question and its answer are of what can move.
                part, targets, _ = without_fixed(part, targets)
            question = question_hash(part, targets)
            if question not in known:
                found = part_of.search(part, targets)
                open_at = np.flatnonzero(found.unsafe(targets)).tolist()
                answers[question] = Answer(found.programs_n, tuple(open_at))
            else:
                answers[question] = known[question]
            certified = np.ones(len(at), dtype=bool)
            certified[list(answers[question].open_at)] = False
            safe[at] = certified
            counted[at] = certified & (part_of.with_files or free is not self.is_above)
        return safe, counted, answers

    def _parts(self) -> tuple[_Part, ...]:
        """Variables of each part, and how it is searched; all others stand at their true value.

        With every cluster's sums at theirs the clusters are apart; the areas above are a small
        system by themselves. With those at theirs, what another CPP tells does not matter: an
        answer holds whatever changes there. What is soon certified inside the clusters is taken;
        a proof that something is not, there, would prove nothing of the whole. Of the areas
        above, a CPP's own cells are no secret from who has its file of answers.
        """
        above = _Part(self.is_above, reach)
        with_files = replace(above, with_files=True)
        is_holder = self.public is not None and self.counted is not None
        return (
            _Part(self.is_school, certify),
            *((with_files,) if is_holder else ()),
            above,
            _Part(~self.is_above, reach),
        )

    def _above(
        self, public: Attacker, asked: Asked, shown: Shown, row: int, *, with_files: bool
    ) -> tuple[System, Targets]:
        """The areas above, from what the public knows on.

        The holder sees more rows of his own CPP, whose sums over schools stand at their true
        value, and all that its file of answers counts. All holders go on from one x that fits
        what the public knows.
        """
        own = told_of(self.grid, shown, row, self.is_own & ~np.isin(self.grid.level, INSIDE))
        # What is above schools and clusters is a sum of what everybody has.
        system = with_rows(public.settled(shown, row), *told_rows(public.cells, own))
        t, mine = asked.targets, np.tile(self.is_everybodys, 2)
        limits = t.low_ok, t.high_ok, t.is_either()
        targets = Asked.at(public.expression, asked.place, asked.quantity, limits).targets
        truth = self.truth(row)
        system = _held(system, np.tile(self.is_summed, 2), truth[mine])
        if with_files and self.counted is not None:
            system = _counting(system, self._counted_above, truth[mine])
        return system, targets

    @cached_property
    def _counted_above(self) -> Counted:
        """What is counted, over the variables that everybody has."""
        assert self.counted is not None
        return self.counted.within(self.is_everybodys)

    def settled(self, shown: Shown, row: int) -> System:
        """The system of one indicator with a basis of an x that fits."""
        found = self._settled.get(row)
        if found is None or found[0] is not shown:
            system = self.system(shown, row)
            found = shown, replace(system, basis=settled_basis(system))
            self._settled[row] = found
        return found[1]

    def truth(self, row: int) -> Floats:
        """The true value of every variable: pupils, then positive answers or sums of scores."""
        grid, places = self.grid, self.variable_place
        positive = grid.score_sum if grid.is_mean[row] else grid.numerator
        return np.asarray(np.r_[grid.base[row, places], positive[row, places]])

    def system(self, shown: Shown, row: int) -> System:
        """What the coalition knows of one indicator as bounds and sums."""
        mine = self._more_than_public(shown, row)
        if self.public is None:
            return mine
        return widened(self.public.system(shown, row), self._column_of_public, mine)

    def basis(self, shown: Shown, row: int) -> Basis:
        """Of an x that fits the system, or, of a holder's system, what the public knows of it."""
        public = self if self.public is None else self.public
        basis = public.settled(shown, row).basis
        assert basis is not None
        if self.public is None:
            return basis
        return basis.widened(self._column_of_public, self.system(shown, row))

    def _more_than_public(self, shown: Shown, row: int) -> System:
        """What a holder knows beside the public's attack; all that is known where there is none."""
        grid, places = self.grid, self.variable_place
        size = len(places)
        roll = np.where(grid.is_empty[row, places], 0.0, grid.roll[row, places])
        roll = np.where(roll >= NO_LIMIT, np.inf, roll)
        is_mean = bool(grid.is_mean[row])
        least, most = (grid.score_low[row], grid.score_high[row]) if is_mean else (0.0, 1.0)
        rows = [
            # Nobody's score lies outside the scale; positive answers are at most all.
            told(self.end_at, -most, 1.0, -np.inf, 0.0),
            told(self.equation_at, 1.0, 0.0, 0.0, 0.0),
            told(self.equation_at, 0.0, 1.0, 0.0, 0.0),
            told(self.school_at, 1.0, 0.0, -np.inf, grid.roll[row, self.school_at]),
            *told_of(grid, shown, row, self.sees if self.public is None else self.is_own),
        ]
        if least > 0:
            rows.append(told(self.end_at, -least, 1.0, 0.0, np.inf))
        sums, low, high = told_rows(self.sums, rows)
        return System(
            lower=np.zeros(2 * size),
            upper=np.r_[roll, roll * most],
            starts=sums.starts,
            index=sums.index,
            value=sums.value,
            row_lower=low,
            row_upper=high,
        )

    def _known_before(
        self,
        asked: Asked,
        unsafe: Bools,
        found: Reached,
        shown: Shown,
        row: int,
        knows: Knowledge | None,
        anyway: Knowledge | None,
    ) -> tuple[Bools, int]:
        """What this release does not add: no hiding in it would keep that from a reader.

        policy.md: [L, U] is what he knows without the release. Of other tables that is what the
        holder's own package tells alone; of his own, what files of answers tell alone; of all,
        what releases before tell (an area that has lost all its parts but one says what that
        one said).
        """
        is_others = ~self.is_own[asked.place]
        nothing, own = shown.only(np.zeros_like(self.sees)), shown.only(self.is_own)
        excused, programs_n = np.zeros(len(unsafe), dtype=bool), 0
        by_files = knows is not None
        everything = np.ones(len(unsafe), dtype=bool)
        for among, alone, known, asks in (
            (is_others, own, knows, by_files or not self.is_public),
            (~is_others, nothing, knows, by_files),
            (everything, shown.before(), knows, shown.was_told(row, self.sees).any()),
            (everything, shown, anyway, anyway is not None),
        ):
            at = np.flatnonzero(unsafe & ~excused & among)
            if not asks or not len(at):
                continue
            before = self._alone(asked, at, alone, row, known)
            programs_n += before.programs_n
            excused[at] = adds_nothing(asked.some(at).targets, found.some(at), before)
        return excused, programs_n

    def _alone(
        self, asked: Asked, at: Ints, told: Shown, row: int, knows: Knowledge | None
    ) -> Reached:
        """How far some targets reach for who is told no more than this."""
        asks = asked.only(at, np.zeros(len(at)), np.full(len(at), NO_LIMIT))
        system = self.system(told, row)
        return reach(system if knows is None else knows(system), asks, exact=True)


@dataclass(frozen=True)
class _Part:
    """Variables that are free while all others stand at their true value, and how to search."""

    free: Bools
    search: _Search
    with_files: bool = False


def attackers_of(grid: Grid, structure: Structure, rule: MicrodataRule) -> list[Attacker]:
    """One a coalition, in the order of `coalitions`; `rule`: that of files of answers."""
    first, *others = coalitions(grid)
    public = Attacker(grid, structure, first, rule=rule)
    return [public, *(Attacker(grid, structure, name, public, rule) for name in others)]


def _counting(system: System, counted: Counted, truth: Floats) -> System:
    """The system with what files of answers count at its true value."""
    held = _held(system, np.tile(counted.is_told, 2), truth)
    if not len(counted.rows):
        return held
    at = counted.rows.times(truth)
    return with_rows(held, counted.rows, at, at)


def _held(system: System, columns: Bools, at: Floats) -> System:
    """The system with some variables at a value."""
    lower, upper = (np.where(columns, at, bound) for bound in (system.lower, system.upper))
    return replace(system, lower=lower, upper=upper)
