"""An attack repeated after more was hidden finds what a first attack finds."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from rcs_assets import side_by_side
from rcs_assets.disclosure import (
    audience_names,
    estimates_audit,
    load_policy,
    protect_estimates,
    repair,
    rules,
)
from rcs_assets.disclosure.answers import Answers
from rcs_assets.disclosure.attack import Attacker
from rcs_assets.disclosure.cells import read_cells
from rcs_assets.disclosure.grid import as_released, read_grid, read_lines, surveys
from rcs_assets.disclosure.lp import reach
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.suppress import Suppression
from rcs_assets.disclosure.unknowns import coalitions, read_structure
from rcs_assets.errors import ConfigurationError
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import LINKED, SOURCES, Programme


@pytest.fixture(scope="module")
def drawn():
    """Grid, sums and small cells hidden of a drawn programme: much can be worked out."""
    shape = Shape((Measure("half", 0.4),), clusters=(3, 3), schools=(4, 6), roll=(20, 200))
    programme = Programme(shape, 3)
    register_rounding(programme.con)
    read_cells(programme.con, load_policy(), SOURCES)
    assert surveys(programme.con) == ["primary"]
    grid = read_grid(programme.con, "primary")
    suppression = Suppression(grid, read_lines(programme.con, "primary"))
    return grid, read_structure(programme.con, grid), suppression


def attackers(grid, structure) -> dict[str, Attacker]:
    """All coalitions, the public first, from which the others go on; nothing is remembered."""
    first, *others = coalitions(grid)
    public = Attacker(grid, structure, first)
    return {first: public} | {name: Attacker(grid, structure, name, public) for name in others}


def found(attack) -> set[tuple[int, str]]:
    """Quantities found, without how far the attacker gets."""
    return {(unsafe.place, unsafe.quantity) for unsafe in attack.unsafe}


def test_what_was_certified_is_certified_of_a_release_that_says_less(drawn):
    grid, structure, suppression = drawn
    hidden = suppression.hidden.copy()
    # Of every second line of figures little is hidden at first: findings must be there.
    rng = np.random.default_rng(5)
    remembered = attackers(grid, structure)
    notes = np.zeros(hidden.shape, dtype=np.int8)
    counts = []
    for _ in range(4):
        shown = as_released(grid, hidden, notes)
        for name, attacker in remembered.items():
            again = attacker.attack(shown, 0, {})
            first = attackers(grid, structure)[name].attack(shown, 0, {})
            assert found(again) == found(first)
            counts.append(len(first.unsafe))
        hidden |= grid.is_showable & (rng.random(hidden.shape) < 0.1)
    assert max(counts) > 0


def test_a_release_that_says_more_is_asked_everything_again(drawn):
    grid, structure, suppression = drawn
    hidden, notes = suppression.hidden, np.zeros(suppression.hidden.shape, dtype=np.int8)
    own = coalitions(grid)[1]
    attacker = Attacker(grid, structure, own)
    attacker.attack(as_released(grid, hidden | grid.is_showable, notes), 0, {})
    more = as_released(grid, hidden, notes)
    assert found(attacker.attack(more, 0, {})) == found(
        Attacker(grid, structure, own).attack(more, 0, {})
    )


def test_what_another_cpp_tells_leaves_the_answers_within_a_cpp_as_they_are(drawn):
    grid, structure, suppression = drawn
    hidden, notes = suppression.hidden, np.zeros(suppression.hidden.shape, dtype=np.int8)
    mine, other = coalitions(grid)[1:3]
    before = Attacker(grid, structure, mine).attack(as_released(grid, hidden, notes), 0, {})
    answers = Answers()
    answers.note([before])
    elsewhere = (grid.view == "public") & (grid.engagement == other)
    less = as_released(grid, hidden | (elsewhere & grid.is_showable), notes)
    fresh = Attacker(grid, structure, mine).attack(less, 0, {})
    again = Attacker(grid, structure, mine).attack(less, 0, answers.known)
    assert fresh.system_hash != before.system_hash
    assert found(again) == found(fresh) and again.answers == fresh.answers
    # Schools apart, and all within the CPP: as asked before. The areas above: asked anew.
    assert len(set(again.answers) & set(answers.known)) == 2
    assert len(set(again.answers) - set(answers.known)) >= 1


def test_a_holder_knows_the_same_whether_he_goes_on_from_the_public_or_not(drawn):
    """What the public knows and what its own package adds, or all of it from nothing."""
    grid, structure, suppression = drawn
    first, *others = coalitions(grid)
    shown = as_released(grid, suppression.hidden, suppression.note)
    public = Attacker(grid, structure, first)
    for name in others:
        alone, after = Attacker(grid, structure, name), Attacker(grid, structure, name, public)
        targets = alone.sight.ask(shown, 0, alone.judged).targets
        one, two = (reach(who.system(shown, 0), targets, exact=True) for who in (alone, after))
        assert np.allclose(one.low, two.low) and np.allclose(one.high, two.high)
        assert len(one.low) > 20 and np.isfinite(one.high).all()


def test_answers_keep_the_parts_of_a_question_that_is_known(drawn):
    grid, structure, suppression = drawn
    everything = as_released(grid, suppression.hidden | grid.is_showable, suppression.note)
    name = coalitions(grid)[1]
    first = Answers()
    first.note([Attacker(grid, structure, name).attack(everything, 0, {})])
    again = Answers(first.used)
    again.note([Attacker(grid, structure, name).attack(everything, 0, again.known)])
    assert again.used == first.used and len(first.used) > 1


@pytest.fixture(scope="module")
def several():
    """A programme of several indicators, some of them linked, most with something to repair."""
    measures = (Measure("half", 0.4), Measure("some", 0.1), Measure("most", 0.9))
    shape = Shape(measures, clusters=(2, 3), schools=(4, 5), roll=(30, 200), linked=LINKED)
    return Programme(shape, 11)


def backwards(work, state, tasks, *, is_little):
    """All tasks here, the last one first."""
    found = [work(state, task) for task in reversed(tasks)]
    return found[::-1]


@pytest.mark.parametrize("each", [side_by_side.each, backwards])
def test_what_is_hidden_and_found_does_not_depend_on_who_works_when(several, monkeypatch, each):
    released, audit = several.table, several.audit()
    for module in (rules, estimates_audit):
        monkeypatch.setattr(module, "LITTLE", 0)
        monkeypatch.setattr(module, "each", each)
    assert several.protect().equals(released)
    again = several.audit()
    assert again.table.equals(audit.table) and audit.unsafe_n == 0
    assert again.certificate_tables.equals(audit.certificate_tables)
    assert again.certificate_cells.equals(audit.certificate_cells)
    assert audit.table.num_rows == 18 and audit.certificate_cells.num_rows > 0


def protect(programme: Programme, answers: Answers):
    audiences = audience_names(programme.engagements)
    return protect_estimates(programme.con, SOURCES, load_policy(), audiences, answers)


def refuse(*_, **__):
    raise AssertionError("nothing is to be hidden anew")


def test_what_was_hidden_of_the_same_counts_is_taken_from_before(several, monkeypatch):
    con, first = several.con, Answers()
    assert protect(several, first).equals(several.table)
    estimates_audit.read_answers(con, "one")
    estimates_audit.write_answers(con, first, "one")
    assert estimates_audit.read_answers(con, "another").known_hidden == {}
    kept = estimates_audit.read_answers(con, "one")
    assert len(kept.known_hidden) == 4 and kept.known_hidden == first.used_hidden
    monkeypatch.setattr(repair.Programme, "protect", refuse)
    assert protect(several, kept).equals(several.table)
    # All that the audit asks is still known, and is kept for the run after the next.
    assert kept.used == first.used and kept.used_hidden == first.used_hidden
    con.execute("delete from disclosure.answers")
    assert estimates_audit.read_answers(con, "one").known_hidden == {}


SHARED = {
    "view", "unit", "level", "engagement", "breakdown", "group", "is_released", "spread", "n_slack",
}  # fmt: skip


def other_than(values):
    """The same but for the last entry; one more of a number, twice as much of anything else."""
    if isinstance(values, int):
        return values + 1
    if not isinstance(values, np.ndarray):
        return 2 * values
    other = values.copy()
    if values.dtype == bool:
        other[-1] = ~other[-1]
    elif values.dtype == object:
        other[-1] = other[-1] + "?"
    else:
        other[-1] = np.nan_to_num(other[-1]) + 1
    return other


def each_changed(of) -> dict[str, object]:
    """Each part changed, and all others as they are."""
    return {
        part.name: replace(of, **{part.name: other_than(getattr(of, part.name))})
        for part in fields(of)
        if part.name != "survey"
    }


def test_what_indicators_come_to_hangs_on_their_counts_and_on_all_that_they_share(several):
    con, policy = several.con, load_policy()
    read_cells(con, policy, SOURCES)
    assert surveys(con) == ["primary"]
    survey = rules._read(con, "primary", policy, is_first=True)
    grid, structure = survey.grid, survey.structure

    def changed(**parts) -> int:
        other = replace(survey, **parts)
        pairs = [(survey.question(rows), other.question(rows)) for rows in survey.tasks()]
        return sum(before != after for before, after in pairs)

    assert changed() == 0 and changed(grid=replace(grid)) == 0
    for name, other in each_changed(grid).items():
        assert changed(grid=other) == (4 if name in SHARED else 1), name
    for name, other in each_changed(survey.lines).items():
        assert changed(lines=other) == 4, name
    for name, other in each_changed(structure).items():
        assert changed(structure=other) == 4, name
    for name, other in each_changed(survey.earlier).items():
        assert changed(earlier=other) == 1, name
    assert changed(grid=replace(grid, survey="secondary")) == 4
    assert changed(linked=[survey.linked[0][::-1]]) == 1
    for part in ({"purposes": frozenset({"archive"})}, {"simd_groups": {"1": "1"}}):
        assert changed(rule=replace(survey.rule, **part)) == 4


def test_what_repairs_do_not_mend_is_hidden_whole(several, monkeypatch):
    """From then on nothing is asked of a finding: what stands around it goes, and it is safe."""
    monkeypatch.setattr(repair, "PATIENCE", 0)
    monkeypatch.setattr(Attacker, "finds", refuse)
    last = Programme(several.shape, 11)
    assert 0 < last.shown_share() < several.shown_share()
    assert last.audit().unsafe_n == 0
    monkeypatch.setattr(repair, "ATTEMPTS", 1)
    with pytest.raises(ConfigurationError, match="could not be made safe"):
        several.protect()
