"""The attack on a release: what each coalition can derive of what is hidden.

Belongs here: writing what a coalition knows (policy.md, Audiences) as one linear system a
survey and indicator, the quantities that it may not learn as targets, and judging the
answers of `lp.py`. Does not belong here: how cells come to be hidden (`suppress.py`): the
attack sees what is shown and nothing of why.

A coalition is the holder of a CPP's package with all its schools' packages and the public
one, or the public alone. A school with the public package knows no more than its CPP does:
the CPP's package holds the same rows of every school. What is small is hidden from all, so
each small quantity that a school could derive, its CPP could.

Who holds anonymised files of answers beside the tables (a CPP its own, a user of the archive all
of them) can count what they count; what else is hidden is attacked with these counts once more.

Unknowns are the pupils and positive answers (or sums of scores) of stage by sex in each
area, and of the groups of the other breakdowns; every sum over groups and areas is an
equation, every shown figure with its rounding a bound, so is every public roll and note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
from scipy.sparse import block_diag, csr_array, hstack, vstack

from rcs_assets.disclosure.cells import PARTIAL
from rcs_assets.disclosure.counted import Counted, counted_in_files
from rcs_assets.disclosure.grid import NO_LIMIT, Bools, Floats, Grid, Ints, Shown, Texts
from rcs_assets.disclosure.lp import (
    SLACK,
    Reached,
    System,
    Targets,
    certify,
    reach,
    settled_basis,
    with_rows,
    without_fixed,
)
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.suppress import HIGH, LOW, NOTED

PUBLIC_COALITION = "public"
# Levels that only a CPP's own package shows.
INSIDE = ("school", "cluster")
_Search = Callable[[System, Targets], Reached]
# How often pupils and positive answers make up a quantity, and of which a note speaks.
OF_QUANTITY = {
    "base": (1.0, 0.0),
    "numerator": (0.0, 1.0),
    "score_sum": (0.0, 1.0),
    "complement": (1.0, -1.0),
}
NOTED_QUANTITY = {note: quantity for quantity, note in NOTED.items()}
# Sums of variables, how often pupils and positive answers count, and bounds; a row each.
_Told = tuple[Ints, Floats, Floats, Floats, Floats]
# Of so few targets the ranges are sooner found from the truth than from nothing.
FEW = 40

# Variables: stage by sex where an area has it, else every cell of the area; the groups of
# the breakdowns that leave pupils out, always.
_VARIABLES = """
create or replace temp table sdc_variable as
with detailed as (
    select distinct survey, unit from sdc_place where breakdown = 'stage:sex'
),
cells as (
    select
        p.survey, p.unit, p.breakdown, p."group", min(p.place_id) as place_id,
        any_value(p.geography_level) as level, any_value(p.engagement) as engagement,
    from sdc_place as p
    left join detailed as d on d.survey = p.survey and d.unit = p.unit
    where p.unit not like '%-small'
        and (p.breakdown in {partial} or p.breakdown = 'stage:sex' or d.unit is null)
    group by p.survey, p.unit, p.breakdown, p."group"
)
select
    cells.*,
    (row_number() over (partition by cells.survey order by place_id) - 1)::bigint as variable_id,
    -- Only its own coalition sees into a CPP.
    if(level in ('school', 'cluster'), engagement, '') as owner,
from cells
"""

_EXPRESSIONS = """
select p.place_id as row, v.variable_id as variable
from sdc_place as p
inner join sdc_variable as v on v.survey = p.survey and v.unit = p.unit
where p.survey = $survey and (
    (v.breakdown = p.breakdown and v."group" = p."group")
    or (v.breakdown = 'stage:sex' and (
        p.breakdown = 'total'
        or (p.breakdown = 'stage' and split_part(v."group", ':', 1) = p."group")
        or (p.breakdown = 'sex' and split_part(v."group", ':', 2) = p."group")
    ))
)
union all
select p.place_id, v.variable_id
from sdc_place as p
inner join sdc_school as s
    on s.survey = p.survey and s.parent || '-small' = p.unit and s.is_small
inner join sdc_variable as v on v.survey = s.survey and v.unit = s.unit
where p.survey = $survey and v.breakdown in ('stage:sex', 'total')
"""

# Equations: an area is its parts; the groups of a breakdown are its total.
_EQUATIONS = """
with areas as (
    select
        'area ' || w.variable_id as name, w.variable_id as whole, v.variable_id as part,
        v.owner,
    from sdc_variable as v
    inner join sdc_parent as u on u.survey = v.survey and u.child = v.unit
    inner join sdc_variable as w
        on w.survey = v.survey and w.unit = u.parent and w.breakdown = v.breakdown
        and w."group" = v."group"
    where v.survey = $survey
),
detail as (
    select unit from sdc_variable
    where survey = $survey and breakdown in ('stage:sex', 'total')
    group by unit
),
groups as (
    select v.unit || ' ' || v.breakdown as name, v.variable_id, 1.0 as coefficient, v.owner,
        v.unit, v.breakdown,
    from sdc_variable as v
    semi join detail using (unit)
    where v.survey = $survey and v.breakdown not in ('stage:sex', 'total')
),
totals as (
    select distinct g.name, v.variable_id, -1.0 as coefficient, v.owner
    from groups as g
    inner join sdc_variable as v
        on v.survey = $survey and v.unit = g.unit and v.breakdown in ('stage:sex', 'total')
),
pairs as (
    select name, part as variable_id, 1.0 as coefficient, owner from areas
    union all
    select distinct name, whole, -1.0, owner from areas
    union all
    select name, variable_id, coefficient, owner from groups
    union all
    from totals
)
select (dense_rank() over (order by name) - 1)::bigint as row, variable_id as variable,
    coefficient, owner,
from pairs
order by row, variable
"""


@dataclass(frozen=True)
class Structure:
    """Sums that hold whatever the counts are, of one survey.

    `expression` (places × variables): what each cell is the sum of. `equations` (rows ×
    variables): sums that are zero.
    `equation_owner`, `owner`: the engagement whose coalition alone sees a row or variable;
    empty for everybody's. `place`: a place of each variable.
    """

    expression: csr_array
    equations: csr_array
    equation_owner: Texts
    owner: Texts
    place: Ints


@dataclass(frozen=True)
class Unsafe:
    """A hidden quantity of which a coalition learns too much; `by_files`: with files of answers."""

    row: int
    place: int
    quantity: str
    low: float
    high: float
    by_files: bool = False


@dataclass(frozen=True)
class Attack:
    """Outcome of one attack: a coalition on one indicator.

    `cells_n` cells that the coalition's packages have rows for, `hidden_n` of them hidden,
    `targets_n` quantities asked for, `programs_n` linear programs, `unsafe` findings,
    `system_hash` of the question: all bounds, sums and targets. `answers`: of the question and
    its parts, by hash.
    """

    coalition: str
    survey: str
    indicator: str
    row: int
    cells_n: int
    hidden_n: int
    targets_n: int
    programs_n: int
    unsafe: tuple[Unsafe, ...]
    system_hash: str
    answers: Mapping[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What was found of a question: `open_at`, targets that it did not certify, by position.

    `programs_n`: linear programs that it took. `parts`: questions that it was answered from.
    """

    programs_n: int
    open_at: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()


class Answers:
    """Answers known from before, and those that this run has used or found.

    The same question has the same answer. `known`: hash of a question → answer. `used`: those
    that will be asked again as long as nothing changes; the others need not be kept.
    """

    def __init__(self, known: Mapping[str, Answer] | None = None) -> None:
        self.known = dict(known or {})
        self.used: dict[str, Answer] = {}

    def note(self, outcomes: Iterable[Attack]) -> None:
        """Keep what attacks have used or found."""
        for outcome in outcomes:
            self.known |= outcome.answers
            for question, answer in outcome.answers.items():
                self.used[question] = answer
                self.used |= {part: self.known[part] for part in answer.parts}


def read_structure(con: duckdb.DuckDBPyConnection, grid: Grid) -> Structure:
    """The sums of one survey, from `sdc_place`, `sdc_parent` and `sdc_school`."""
    con.execute(_VARIABLES.format(partial=PARTIAL))
    survey = {"survey": grid.survey}
    variables = con.execute(
        "select place_id, owner from sdc_variable where survey = $survey order by variable_id",
        survey,
    ).fetchnumpy()
    place = np.asarray(variables["place_id"], dtype=np.int64)
    pairs = con.execute(_EXPRESSIONS, survey).fetchnumpy()
    equations = con.execute(_EQUATIONS, survey).fetchnumpy()
    rows = np.asarray(equations["row"], dtype=np.int64)
    owners = np.full(int(rows.max(initial=-1)) + 1, "", dtype=object)
    named = _texts(equations["owner"])
    owners[rows[named != ""]] = named[named != ""]
    return Structure(
        expression=csr_array(
            (np.ones(len(pairs["row"])), (pairs["row"], pairs["variable"])),
            shape=(len(grid.view), len(place)),
        ),
        equations=csr_array(
            (equations["coefficient"], (rows, equations["variable"])),
            shape=(len(owners), len(place)),
        ),
        equation_owner=owners,
        owner=_texts(variables["owner"]),
        place=place,
    )


def coalitions(grid: Grid) -> list[str]:
    """The public, and the holder of each CPP's package that exists beside it."""
    own = sorted({str(e) for e, v in zip(grid.engagement, grid.view, strict=True) if v == "own"})
    return [PUBLIC_COALITION, *own]


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
            public: the public's attack on the same, which the others go on from.
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
        self.variable_place = structure.place[mine]
        level = grid.level[self.variable_place]
        self.is_school: Bools = np.asarray(level == "school", dtype=bool)
        self.is_above: Bools = np.asarray(~np.isin(level, INSIDE), dtype=bool)
        # Variables that are no area's sum of its parts; what holds for them holds above.
        is_minus = self.equations.data < 0
        row = np.repeat(np.arange(self.equations.shape[0]), np.diff(self.equations.indptr))
        minus_n = np.bincount(row[is_minus], minlength=self.equations.shape[0])
        of_area = is_minus & (minus_n[row] == 1)
        wholes = np.unique(self.equations.indices[of_area]).astype(np.int64)
        ends = np.setdiff1d(np.arange(len(self.variable_place)), wholes)
        # Whatever is told is told of one of these sums of variables: places come first.
        parts = [self.expression, self.equations, _identity(len(self.variable_place))[ends]]
        self.sums = csr_array(vstack(parts, format="csr"))
        places_n, equations_n = self.expression.shape[0], self.equations.shape[0]
        self.equation_at = np.arange(places_n, places_n + equations_n)
        self.end_at = np.arange(places_n + equations_n, self.sums.shape[0])
        is_own = (grid.view == "own") & (grid.engagement == holder)
        self.sees: Bools = np.asarray((grid.view == "public") | is_own, dtype=bool)
        # Of its own CPP the holder is judged by his own package's thresholds.
        at_home = (grid.engagement == holder) & (grid.level == "cpp")
        is_school = (grid.level == "school") & (grid.breakdown == "total")
        # A school's package says of what size it is, and so does it that there is none.
        self.school_at = np.flatnonzero(is_school & (grid.engagement == holder))
        self.judged: Bools = self.sees & ~((grid.view == "public") & at_home)
        self.is_own: Bools = np.asarray(is_own, dtype=bool)
        self._memory: dict[int, _Memory] = {}
        self._settled: dict[int, tuple[Shown, System]] = {}
        self.is_everybodys: Bools = np.asarray(structure.owner[mine] == "", dtype=bool)
        # What the holder's own schools and clusters add up to.
        is_mine = structure.equation_owner[rows] == coalition
        summed = np.zeros(len(self.is_everybodys), dtype=bool)
        summed[csr_array(self.equations[is_mine]).indices] = True
        self.is_summed: Bools = summed[self.is_everybodys]
        self.at_home: Bools = np.asarray(at_home, dtype=bool)
        self.counted = self._counted(rule)

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
        asked = self._asked(shown, row)
        released = self.sees & self.grid.is_showable[row]
        outcome = Attack(
            self.coalition,
            self.grid.survey,
            str(self.grid.indicators[row]),
            row,
            int(released.sum()),
            int((released & ~shown.is_shown[row]).sum()),
            len(asked.place),
            0,
            (),
            "",
        )
        if not len(asked.place):
            return outcome
        system = self.system(shown, row)
        question = _hash(system, asked.targets, *self._beside(shown, row))
        outcome = replace(outcome, system_hash=question)
        if question in known:
            answer = known[question]
            return replace(outcome, programs_n=answer.programs_n, answers={question: answer})
        plain = self._recall(asked, shown, row, by_files=False)
        filed = self._recall(asked, shown, row, by_files=True)
        open_ = np.flatnonzero(~(plain.is_settled & filed.is_settled))
        some = asked.some(open_)
        certified, counted, answers = self._certified(some, system, shown, row, known)
        left = ~certified & ~plain.is_settled[open_]
        by_tables = self._find(some, left, system, shown, row)
        findings, programs_n = by_tables.findings, plain.programs_n + by_tables.programs_n
        programs_n += sum(answer.programs_n for answer in answers.values())
        plain = plain.then(open_, by_tables, programs_n)
        if self.counted is not None:
            system = self._with_files(system, self.counted, row)
            # What is excused without files may be told more closely with them.
            left = ~(counted | filed.is_settled[open_] | by_tables.is_found)
            left &= ~self._is_told(some, self.counted)
            by_files = self._find(some, left, system, shown, row, by_files=True)
            findings += by_files.findings
            not_asked = replace(by_files, is_found=by_files.is_found | by_tables.is_found)
            filed = filed.then(open_, not_asked, filed.programs_n + by_files.programs_n)
        if not findings:
            programs_n += filed.programs_n
            answers[question] = Answer(programs_n, parts=tuple(answers))
        self._memory[row] = _Memory(shown, asked, plain, filed)
        return replace(outcome, programs_n=programs_n, unsafe=findings, answers=answers)

    def _recall(self, asked: _Asked, shown: Shown, row: int, *, by_files: bool) -> _Settled:
        """What the attack before has settled and still is; who has no files leaves nothing open."""
        if by_files and self.counted is None:
            return _Settled.all_of(len(asked.place))
        before = self._memory.get(row)
        if before is None:
            return _Settled.none_of(len(asked.place))
        return before.still_holds(asked, shown, row, self.sees, self.is_own, by_files=by_files)

    def _beside(self, shown: Shown, row: int) -> Iterable[Bools]:
        """What an answer hangs on beside its system: releases before, files of answers."""
        if shown.was_shown[row, self.sees].any():
            yield shown.was_shown[row, self.sees]
        if self.counted is not None:
            yield self.counted.is_told

    def _is_told(self, asked: _Asked, counted: Counted) -> Bools:
        """Targets that files of answers tell: what these may tell is a rule of their own."""
        cells = asked.targets.matrix(2 * len(counted.is_told))
        return np.asarray(abs(cells) @ np.tile(~counted.is_told, 2).astype(np.float64) == 0)

    @cached_property
    def hides(self) -> Bools:
        """Places that the coalition sees and cannot count in files of answers."""
        if self.counted is None:
            return self.sees
        return np.asarray(self.sees & (self.expression @ ~self.counted.is_told > 0), dtype=bool)

    def _with_files(self, system: System, counted: Counted, row: int) -> System:
        """The system of who counts in files of answers, too."""
        return _counting(system, counted.is_told, counted.sums, self.truth(row))

    def _find(
        self,
        asked: _Asked,
        unsafe: Bools,
        system: System,
        shown: Shown,
        row: int,
        *,
        by_files: bool = False,
    ) -> _Found:
        """The findings among targets that no part has certified, and what is excused of them."""
        at = np.flatnonzero(unsafe)
        if not len(at):
            return _Found.nothing(len(unsafe))
        some = asked.some(at)
        if len(at) <= FEW:
            system = replace(system, start=self.truth(row))
        found = reach(system, some.targets)
        open_ = found.unsafe(some.targets)
        known, more = self._known_before(some, open_, found, shown, row, by_files=by_files)
        findings = tuple(
            Unsafe(
                row,
                int(some.place[i]),
                str(some.quantity[i]),
                float(found.low[i]),
                float(found.high[i]),
                by_files,
            )
            for i in np.flatnonzero(open_ & ~known)
        )
        is_found, is_excused = np.zeros_like(unsafe), np.zeros_like(unsafe)
        is_found[at], is_excused[at] = open_ & ~known, open_ & known
        return _Found(findings, is_found, is_excused, found.programs_n + more)

    def _certified(
        self, asked: _Asked, system: System, shown: Shown, row: int, known: Mapping[str, Answer]
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
            question = _hash(part, targets)
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
        self, public: Attacker, asked: _Asked, shown: Shown, row: int, *, with_files: bool
    ) -> tuple[System, Targets]:
        """The areas above, from what the public knows on.

        The holder sees more rows of his own CPP, whose sums over schools stand at their true
        value, and all that its file of answers counts. All holders go on from one x that fits
        what the public knows.
        """
        system, mine = public.settled(shown, row), np.tile(self.is_everybodys, 2)
        truth = self.truth(row)
        told = self._told_of(shown, row, self.is_own & ~np.isin(self.grid.level, INSIDE))
        at, pupils, positive, low, high = map(np.concatenate, zip(*told, strict=True))
        rows = _both(self.sums, at, pupils, positive)
        t, cells = asked.targets, asked.targets.matrix(len(mine))
        # Of the schools and clusters everything stands at its true value, and adds so much.
        inside = np.where(mine, 0.0, truth)
        more, fixed = np.asarray(rows @ inside), np.asarray(cells @ inside)
        system = with_rows(system, csr_array(rows[:, mine]), low - more, high - more)
        targets = _targets(
            csr_array(cells[:, mine]), t.low_ok - fixed, t.high_ok - fixed, t.is_either()
        )
        system = _held(system, np.tile(self.is_summed, 2), truth[mine])
        if with_files and self.counted is not None:
            here = self.is_everybodys
            is_told, sums = self.counted.is_told[here], csr_array(self.counted.sums[:, here])
            system = _counting(system, is_told, sums, truth[mine])
        return system, targets

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
        grid, places = self.grid, self.variable_place
        size = len(places)
        roll = np.where(grid.is_empty[row, places], 0.0, grid.roll[row, places])
        roll = np.where(roll >= NO_LIMIT, np.inf, roll)
        is_mean = bool(grid.is_mean[row])
        least, most = (grid.score_low[row], grid.score_high[row]) if is_mean else (0.0, 1.0)
        told = [
            # Nobody's score lies outside the scale; positive answers are at most all.
            _told(self.end_at, -most, 1.0, -np.inf, 0.0),
            _told(self.equation_at, 1.0, 0.0, 0.0, 0.0),
            _told(self.equation_at, 0.0, 1.0, 0.0, 0.0),
            _told(self.school_at, 1.0, 0.0, -np.inf, grid.roll[row, self.school_at]),
            *self._told_of(shown, row, self.sees),
        ]
        if least > 0:
            told.append(_told(self.end_at, -least, 1.0, 0.0, np.inf))
        at, pupils, positive, low, high = map(np.concatenate, zip(*told, strict=True))
        matrix = _both(self.sums, at, pupils, positive)
        return System(
            lower=np.zeros(2 * size),
            upper=np.r_[roll, roll * most],
            starts=matrix.indptr.astype(np.int32),
            index=matrix.indices.astype(np.int32),
            value=matrix.data,
            row_lower=low,
            row_upper=high,
        )

    def _told_of(self, shown: Shown, row: int, places: Bools) -> list[_Told]:
        """What figures and notes of some places say."""
        told = self._told_by_figures(shown, row, places)
        return told if self.grid.is_mean[row] else told + self._told_by_notes(shown, row, places)

    def _told_by_figures(self, shown: Shown, row: int, places: Bools) -> list[_Told]:
        grid = self.grid
        at = np.flatnonzero(places & shown.is_shown[row])
        low_n, high_n = shown.low_n[row, at], shown.high_n[row, at]
        low_p, high_p = shown.low_p[row, at], shown.high_p[row, at]
        told = [
            _told(at, 1.0, 0.0, low_n, high_n),
            _told(at, -low_p, 1.0, 0.0, np.inf),
            _told(at, -high_p, 1.0, -np.inf, 0.0),
        ]
        if not grid.is_mean[row]:
            k_y, k_c = grid.k_numerator[row, at], grid.k_complement[row, at]
            # Where rounding already says that k is reached, another row says nothing.
            few, few_others = low_p * low_n < k_y, (1 - high_p) * low_n < k_c
            told.append(_told(at[few], 0.0, 1.0, k_y[few], np.inf))
            told.append(_told(at[few_others], 1.0, -1.0, k_c[few_others], np.inf))
        return told

    def _told_by_notes(self, shown: Shown, row: int, places: Bools) -> list[_Told]:
        grid, told = self.grid, []
        for note, k in ((LOW, grid.k_numerator), (HIGH, grid.k_complement)):
            at = np.flatnonzero(places & (shown.note[row] == note))
            pupils, positive = OF_QUANTITY[NOTED_QUANTITY[note]]
            told.append(_told(at, 1.0, 0.0, grid.k_base[row, at], np.inf))
            told.append(_told(at, pupils, positive, -np.inf, k[row, at] - 1))
        return told

    def _asked(self, shown: Shown, row: int) -> _Asked:
        """Targets: small quantities of what is not shown; released ones must not be exact."""
        grid = self.grid
        hidden = self.judged & ~shown.is_shown[row] & ~grid.is_empty[row]
        parts = []
        for quantity in ("base", "numerator", "complement"):
            if quantity != "base" and grid.is_mean[row]:
                continue
            at = np.flatnonzero(hidden & grid.small(quantity)[row])
            low_ok, high_ok = self._allowed(shown, row, at, quantity)
            parts.append((at, quantity, low_ok, high_ok, False))
        parts += self._not_exact(hidden & grid.is_released, row)
        return _Asked.of(self.expression, parts)

    def _allowed(self, shown: Shown, row: int, at: Ints, quantity: str) -> tuple[Floats, Floats]:
        """How low and how high a small quantity must be able to be."""
        k = self.grid.k(quantity)[row, at]
        low_ok, high_ok = np.ones(len(at)), k
        if quantity != "base":
            noted = shown.note[row, at] == NOTED[quantity]
            inherited = self._noted_above(shown, row, NOTED[quantity])[at] & ~noted
            low_ok = np.where(noted, 0.0, 1.0)
            high_ok = np.where(noted | inherited, k - 1, k)
        return low_ok, np.minimum(high_ok, self.grid.roll[row, at])

    def _noted_above(self, shown: Shown, row: int, note: int) -> Bools:
        """Places without a row of their own in an area whose total, stage or sex is noted.

        A note says "fewer than k" of all that its cell holds: policy.md wants it said.
        """
        grid = self.grid
        noted = np.flatnonzero(self.sees & (shown.note[row] == note))
        variables = self.expression[noted].sum(axis=0) > 0
        inside = self.expression @ np.where(variables, 0.0, 1.0) == 0
        return np.asarray(inside & ~grid.is_released, dtype=bool)

    def _not_exact(self, hidden: Bools, row: int) -> list[tuple[Ints, str, Floats, Floats, bool]]:
        """Hidden cells that are not small: no figure exactly; no mean to within its step."""
        grid = self.grid
        if grid.is_mean[row]:
            at = np.flatnonzero(hidden & (grid.base[row] > 0))
            truth = grid.score_sum[row, at]
            width = grid.mean_step[row, at] * grid.base[row, at] / 2
            return [(at, "score_sum", truth - width, truth + width, True)]
        found = []
        for quantity in ("base", "numerator", "complement"):
            at = np.flatnonzero(hidden & ~grid.small(quantity)[row])
            truth = getattr(grid, quantity)[row, at]
            found.append((at, quantity, truth - 1, truth + 1, True))
        return found

    def _known_before(
        self,
        asked: _Asked,
        unsafe: Bools,
        found: Reached,
        shown: Shown,
        row: int,
        *,
        by_files: bool,
    ) -> tuple[Bools, int]:
        """What this release does not add: no hiding in it would keep that from a reader.

        policy.md: [L, U] is what he knows without the release. Of other tables that is what the
        holder's own package tells alone; of his own, what files of answers tell alone; of all,
        what releases before tell (an area that has lost all its parts but one says what that
        one said).
        """
        is_others = ~self.is_own[asked.place]
        nothing = replace(
            shown, is_shown=np.zeros_like(shown.is_shown), note=np.zeros_like(shown.note)
        )
        own = replace(
            nothing,
            is_shown=shown.is_shown & self.is_own,
            note=np.where(self.is_own, shown.note, 0).astype(np.int8),
        )
        then = replace(nothing, is_shown=shown.was_shown)
        excused, programs_n = np.zeros(len(unsafe), dtype=bool), 0
        t = asked.targets
        everything = np.ones(len(unsafe), dtype=bool)
        for among, told, asks in (
            (is_others, own, by_files or not self.is_public),
            (~is_others, nothing, by_files),
            (everything, then, shown.was_shown[row].any()),
        ):
            at = np.flatnonzero(unsafe & ~excused & among)
            if not asks or not len(at):
                continue
            before = self._alone(asked, at, told, row, by_files=by_files)
            programs_n += before.programs_n
            low = np.maximum(t.low_ok[at], np.ceil(before.low - SLACK))
            high = np.minimum(t.high_ok[at], np.floor(before.high + SLACK))
            is_as_wide = (found.low[at] <= low + SLACK) & (found.high[at] >= high - SLACK)
            is_above = before.low > t.low_ok[at] + SLACK
            is_exact = is_above & (before.high < t.high_ok[at] - SLACK)
            excused[at] = np.where(asked.is_exactness[at], is_exact, is_as_wide)
        return excused, programs_n

    def _alone(self, asked: _Asked, at: Ints, told: Shown, row: int, *, by_files: bool) -> Reached:
        """How far some targets reach for who is told no more than this."""
        asks = asked.only(at, np.zeros(len(at)), np.full(len(at), NO_LIMIT))
        system = self.system(told, row)
        if by_files and self.counted is not None:
            system = self._with_files(system, self.counted, row)
        return reach(system, asks, exact=True)


@dataclass(frozen=True)
class _Part:
    """Variables that are free while all others stand at their true value, and how to search."""

    free: Bools
    search: _Search
    with_files: bool = False


@dataclass(frozen=True)
class _Asked:
    """Targets with the place and quantity that each one is."""

    place: Ints
    quantity: Texts
    targets: Targets

    @property
    def is_exactness(self) -> Bools:
        """Figures that must not be known exactly; the others are small, and must be in doubt."""
        return self.targets.is_either()

    @staticmethod
    def of(
        expression: csr_array, parts: Sequence[tuple[Ints, str, Floats, Floats, bool]]
    ) -> _Asked:
        at = np.concatenate([p[0] for p in parts])
        quantity = np.concatenate([np.full(len(p[0]), p[1], dtype=object) for p in parts])
        signs = np.array([OF_QUANTITY[p[1]] for p in parts])
        pupils, positive = np.repeat(signs, [len(p[0]) for p in parts], axis=0).T
        matrix = _both(expression, at, pupils, positive)
        return _Asked(
            at,
            quantity,
            _targets(
                matrix,
                np.concatenate([p[2] for p in parts]),
                np.concatenate([p[3] for p in parts]),
                np.concatenate([np.full(len(p[0]), p[4]) for p in parts]),
            ),
        )

    def names(self) -> list[tuple[int, str, bool]]:
        """What each target is of, whatever is asked of it."""
        return list(
            zip(
                self.place.tolist(),
                self.quantity.tolist(),
                self.is_exactness.tolist(),
                strict=True,
            )
        )

    def some(self, at: Ints) -> _Asked:
        """Some of the targets as they are."""
        t = self.targets
        return _Asked(
            self.place[at],
            self.quantity[at],
            self.only(at, t.low_ok[at], t.high_ok[at], t.is_either()[at]),
        )

    def only(
        self, at: Ints, low_ok: Floats, high_ok: Floats, either: Bools | None = None
    ) -> Targets:
        """Some of the targets, asked something else."""
        t = self.targets
        matrix = csr_array(
            (t.value, t.index, t.starts), shape=(len(self.place), int(t.index.max(initial=0)) + 1)
        )
        return _targets(csr_array(matrix[at]), low_ok, high_ok, either)


@dataclass(frozen=True)
class _Found:
    """Of targets asked: `findings`, which targets they are, which ones are excused."""

    findings: tuple[Unsafe, ...]
    is_found: Bools
    is_excused: Bools
    programs_n: int

    @staticmethod
    def nothing(size: int) -> _Found:
        return _Found((), np.zeros(size, dtype=bool), np.zeros(size, dtype=bool), 0)


@dataclass(frozen=True)
class _Settled:
    """Targets of which nothing is to be found: safe, or `is_excused` by what is known before."""

    is_settled: Bools
    is_excused: Bools
    programs_n: int

    @staticmethod
    def none_of(size: int) -> _Settled:
        return _Settled(np.zeros(size, dtype=bool), np.zeros(size, dtype=bool), 0)

    @staticmethod
    def all_of(size: int) -> _Settled:
        return _Settled(np.ones(size, dtype=bool), np.zeros(size, dtype=bool), 0)

    def then(self, at: Ints, found: _Found, programs_n: int) -> _Settled:
        """With what has been found of some of them."""
        is_settled, is_excused = self.is_settled.copy(), self.is_excused.copy()
        is_settled[at] = ~found.is_found
        is_excused[at] |= found.is_excused
        return _Settled(is_settled, is_excused, programs_n)


@dataclass(frozen=True)
class _Memory:
    """What was settled of one indicator, by tables and with files of answers, and shown then.

    Who is told less can rule out less: each point that fitted fits still. Who was excused by
    what his own package tells, is as long as that tells the same.
    """

    shown: Shown
    asked: _Asked
    plain: _Settled
    filed: _Settled

    def still_holds(
        self, asked: _Asked, shown: Shown, row: int, sees: Bools, own: Bools, *, by_files: bool
    ) -> _Settled:
        """Which targets are settled as before; none if more, or anything else, is told now."""
        before, kept = self.asked, self.filed if by_files else self.plain
        if not len(before.place) or self._tells_more(shown, row, sees):
            return _Settled.none_of(len(asked.place))
        position = dict(zip(before.names(), range(len(before.place)), strict=True))
        at = np.array([position.get(name, -1) for name in asked.names()], dtype=np.int64)
        asks_less = (asked.targets.low_ok >= before.targets.low_ok[at]) & (
            asked.targets.high_ok <= before.targets.high_ok[at]
        )
        holds = (at >= 0) & asks_less & kept.is_settled[at]
        is_excused = holds & kept.is_excused[at]
        if not self._tells_the_same(shown, row, own):
            holds &= ~is_excused
        return _Settled(holds, holds & is_excused, kept.programs_n)

    def _tells_more(self, shown: Shown, row: int, sees: Bools) -> bool:
        then, now = self.shown, shown
        is_shown, note = now.is_shown[row] & sees, np.where(sees, now.note[row], 0)
        if (is_shown & ~then.is_shown[row]).any() or ((note != 0) & (note != then.note[row])).any():
            return True
        return any(
            (getattr(now, name)[row, is_shown] != getattr(then, name)[row, is_shown]).any()
            for name in ("low_n", "high_n", "low_p", "high_p")
        )

    def _tells_the_same(self, shown: Shown, row: int, own: Bools) -> bool:
        return all(
            (getattr(self.shown, name)[row, own] == getattr(shown, name)[row, own]).all()
            for name in ("is_shown", "note", "was_shown")
        )


def attackers_of(grid: Grid, structure: Structure, rule: MicrodataRule) -> list[Attacker]:
    """One a coalition, in the order of `coalitions`; `rule`: that of files of answers."""
    first, *others = coalitions(grid)
    public = Attacker(grid, structure, first, rule=rule)
    return [public, *(Attacker(grid, structure, name, public, rule) for name in others)]


def _counting(system: System, is_told: Bools, sums: csr_array, truth: Floats) -> System:
    """The system with some variables, and sums of some, at their true values."""
    held = _held(system, np.tile(is_told, 2), truth)
    if not sums.shape[0]:
        return held
    rows = csr_array(block_diag([sums, sums], format="csr"))
    return with_rows(held, rows, rows @ truth, rows @ truth)


def _held(system: System, columns: Bools, at: Floats) -> System:
    """The system with some variables at a value."""
    lower, upper = (np.where(columns, at, bound) for bound in (system.lower, system.upper))
    return replace(system, lower=lower, upper=upper)


def _hash(system: System, targets: Targets, *beside: Bools) -> str:
    """Of a question: what can move, its sums and bounds, and how far is far enough.

    `beside`: what else its answer hangs on.
    """
    smaller, asked, _ = without_fixed(system, targets)
    question = system_hash(smaller, asked)
    for more in beside:
        question = hashlib.sha256(question.encode() + more.tobytes()).hexdigest()
    return question


def system_hash(system: System, targets: Targets) -> str:
    """sha256 over a system and its targets."""
    digest = hashlib.sha256()
    for part in (system, targets):
        for name, array in vars(part).items():
            # Where a search starts from is no part of what is asked.
            if name not in ("start", "basis") and array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _texts(values: Any) -> Texts:
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=object), ""), dtype=object)


def _targets(matrix: csr_array, low_ok: Floats, high_ok: Floats, either: Bools | None) -> Targets:
    return Targets(
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float64),
        low_ok,
        high_ok,
        either,
    )


def _told(
    at: Ints,
    pupils: Floats | float,
    positive: Floats | float,
    low: Floats | float,
    high: Floats | float,
) -> _Told:
    """Of some sums of variables, how often pupils and positive answers lie between bounds."""

    def each(part: Floats | float) -> Floats:
        return np.asarray(np.broadcast_to(part, len(at)), dtype=np.float64)

    return at, each(pupils), each(positive), each(low), each(high)


def _both(sums: csr_array, at: Ints, pupils: Floats, positive: Floats) -> csr_array:
    """Rows of sums over pupils, so often, and over positive answers, so often."""
    rows = csr_array(sums[at])
    times = np.diff(rows.indptr)
    parts = [
        csr_array((rows.data * np.repeat(factor, times), rows.indices, rows.indptr), rows.shape)
        for factor in (pupils, positive)
    ]
    both = csr_array(hstack(parts, format="csr"))
    both.eliminate_zeros()
    return both


def _identity(size: int) -> csr_array:
    return csr_array((np.ones(size), (np.arange(size), np.arange(size))), shape=(size, size))
