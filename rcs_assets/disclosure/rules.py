"""Protects estimates for each audience by Table A of policy.md.

Belongs here: the order of the steps: cells, the fixpoint over lines, the attack by linear
programs with repairs until it finds nothing, and the tables that come out. Does not belong
here: each step (`cells.py`, `suppress.py`, `attack.py`, `rounding.py`), the numbers of the
policy (`data/policy.yaml`), Dagster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.answers import Answers, Attack, Unsafe
from rcs_assets.disclosure.attack import Attacker, attackers_of
from rcs_assets.disclosure.cells import Sources, drop_cells, read_cells
from rcs_assets.disclosure.counted import counted_places
from rcs_assets.disclosure.earlier import Earlier, compare_with_earlier, read_earlier
from rcs_assets.disclosure.grid import (
    Bools,
    Grid,
    Lines,
    Shown,
    as_released,
    read_grid,
    read_lines,
    surveys,
)
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.rounding import SHOWN_SQL, register_rounding
from rcs_assets.disclosure.suppress import Suppression
from rcs_assets.disclosure.unknowns import Structure, coalitions, read_structure
from rcs_assets.errors import ConfigurationError

# An indicator that repairs have not made safe by then is hidden whole in the CPPs concerned.
PATIENCE = 12
WORKERS = 2


def protect_estimates(
    con: duckdb.DuckDBPyConnection,
    sources: Sources,
    policy: Policy,
    audiences: Sequence[str],
    answers: Answers | None = None,
    earlier: Sequence[Path] = (),
) -> pa.Table:
    """Protect estimates for each audience.

    Args:
        con: a connection that sees the relations; temporary tables `sdc_*` are made.
        sources: counts of pupils, `estimate` in per cent or score points, unrounded.
        policy: thresholds and steps (Table A of policy.md).
        audiences: `public` first, then `cpp/<engagement>`.
        answers: of earlier attacks (`attack.py`); those of this one are noted.
        earlier: folders of all releases before, in whose company this one will be read.

    Returns:
        `audience`, the columns of `estimates` in interfaces.md (`release` null until it is
        packaged) and `status_inside` (published, primary, secondary, not_applicable or
        not_available), which never leaves the warehouse; ordered by audience and cell.

    Raises:
        InputError: cells missing, twice, impossible or not adding up; nothing is protected
            then, since protection follows who is counted where.
        ConfigurationError: an audience that the policy does not know.
        StorageError: a release before cannot be read.
    """
    for audience in audiences:
        policy.audience(audience)
    register_rounding(con)
    read_cells(con, policy, sources)
    answers = Answers() if answers is None else answers
    con.execute(
        "create or replace temp table sdc_setting as select ?::int as n_below, ?::double as wide",
        [policy.unreliable_n_below, policy.unreliable_interval_wider_than],
    )
    chosen = ", ".join(f"'{audience}'" for audience in audiences)
    shown_sql = SHOWN_SQL.format(geographies=sources.geographies, audiences=chosen)
    if earlier:
        _compare(con, shown_sql, policy, earlier)
    read = [_read(con, survey, is_first=not earlier) for survey in surveys(con)]
    # What one survey does alone, another one's programs fill.
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        hidden = list(pool.map(lambda survey: _protect_survey(survey, policy, answers), read))
    con.register("sdc_hidden_rows", pa.concat_tables(hidden))
    con.execute("create or replace temp table sdc_hidden as from sdc_hidden_rows")
    con.unregister("sdc_hidden_rows")
    protected = con.execute(shown_sql).to_arrow_table()
    drop_cells(con)
    return protected


def _compare(
    con: duckdb.DuckDBPyConnection, shown_sql: str, policy: Policy, earlier: Sequence[Path]
) -> None:
    """What each cell would say if it were shown, beside what it said before."""
    con.execute(
        # So few round to nobody, of whom there is no figure; they are never shown.
        "create or replace temp table sdc_hidden as "
        "select survey, indicator, place_id, base_n < n_step as is_hidden, '' as note from sdc_node"
    )
    con.execute(f"create or replace temp table sdc_figure as {shown_sql}")
    compare_with_earlier(con, earlier, policy.changed_least)


@dataclass(frozen=True)
class _Survey:
    """The nodes of one survey, what adds up to what, what coalitions make of it, what was told."""

    grid: Grid
    lines: Lines
    structure: Structure
    earlier: Earlier


def _read(con: duckdb.DuckDBPyConnection, survey: str, *, is_first: bool) -> _Survey:
    """One survey; `is_first`: no release was before, else `sdc_earlier` says what they told."""
    grid = read_grid(con, survey)
    earlier = Earlier.none(grid) if is_first else read_earlier(con, grid)
    return _Survey(grid, read_lines(con, survey), read_structure(con, grid), earlier)


def _protect_survey(survey: _Survey, policy: Policy, answers: Answers) -> pa.Table:
    """Which nodes of one survey are hidden, and their notes.

    Returns:
        `survey, indicator, place_id, is_hidden, note` (empty, low or high).
    """
    grid = survey.grid
    rule = policy.microdata
    counted = counted_places(grid, rule.simd_groups) if "cpp" in rule.purposes else None
    suppression = Suppression(grid, survey.lines, linked_rows(grid, policy), counted)
    suppression.hidden |= survey.earlier.held & grid.is_showable
    suppression.settle()
    suppression.write_notes()
    _repair(survey, suppression, answers, rule)
    size = grid.base.size
    names = np.repeat(grid.indicators, grid.base.shape[1])
    return pa.table(
        {
            "survey": pa.array([grid.survey] * size),
            "indicator": pa.array(names, pa.string()),
            "place_id": np.tile(np.arange(grid.base.shape[1], dtype=np.int32), len(grid.base)),
            "is_hidden": (suppression.hidden & grid.is_showable).ravel(),
            "note": pa.array(np.array(["", "low", "high"])[suppression.note].ravel(), pa.string()),
        }
    )


def with_known(grid: Grid, shown: Shown, earlier: Earlier) -> Shown:
    """What a reader of this release and of those before has: a cell that has not changed stands."""
    # What is small by the rules of today was shown by others: no reader can hold it to these.
    known = earlier.known & ~grid.is_empty & ~grid.is_primary
    if not known.any():
        return shown
    told = as_released(grid, np.zeros_like(known), shown.note)
    more = known & ~shown.is_shown
    bounds = {
        name: np.where(more, getattr(told, name), getattr(shown, name))
        for name in ("low_n", "high_n", "low_p", "high_p")
    }
    return replace(shown, is_shown=shown.is_shown | known, was_shown=known, **bounds)


def linked_rows(grid: Grid, policy: Policy) -> list[list[int]]:
    """Rows of the grid whose numerators add up, the sum first (policy.yaml)."""
    row = {name: position for position, name in enumerate(grid.indicators)}
    return [
        [row[name] for name in linked.indicators]
        for linked in policy.linked_indicators
        if all(name in row for name in linked.indicators)
    ]


def attack_all(
    attackers: Sequence[Attacker],
    shown: Shown,
    jobs: Iterable[tuple[int, int]],
    answers: Answers,
) -> list[Attack]:
    """Attack what a release shows, and note the answers.

    Args:
        attackers: one a coalition.
        shown: what the release tells.
        jobs: pairs of an attacker's position and an indicator's row.
        answers: of earlier questions.
    """

    def attack(job: tuple[int, int]) -> Attack:
        return attackers[job[0]].attack(shown, job[1], answers.known)

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        outcomes = list(pool.map(attack, jobs))
    answers.note(outcomes)
    return outcomes


def _repair(
    survey: _Survey, suppression: Suppression, answers: Answers, rule: MicrodataRule
) -> None:
    """Hide more, or say less in notes, until no coalition learns too much."""
    grid = survey.grid
    names = coalitions(grid)
    attackers = attackers_of(grid, survey.structure, rule)
    jobs = [(a, row) for row in range(len(grid.indicators)) for a in range(len(attackers))]
    for attempt in range(2 * PATIENCE):
        released = as_released(grid, suppression.hidden, suppression.note)
        shown = with_known(grid, released, survey.earlier)
        outcomes = attack_all(attackers, shown, jobs, answers)
        unsafe = [(outcome.coalition, u) for outcome in outcomes for u in outcome.unsafe]
        if not unsafe:
            return
        before = suppression.hidden.copy(), suppression.note.copy()
        for coalition, finding in _worst(grid, unsafe):
            attacker = attackers[names.index(coalition)]
            seen = attacker.seen_by(finding)
            _mend(grid, suppression, finding, seen, is_last=attempt >= PATIENCE)
        suppression.settle(np.unique([finding.row for _, finding in unsafe]))
        changed = (before[0] != suppression.hidden) | (before[1] != suppression.note)
        suppression.keep_notes(np.flatnonzero(changed.any(axis=1)))
        changed |= before[1] != suppression.note
        # Who sees nothing new and was safe learns nothing new.
        again = {(names.index(coalition), finding.row) for coalition, finding in unsafe}
        again |= {
            (a, row)
            for a, attacker in enumerate(attackers)
            for row in np.flatnonzero(changed[:, attacker.sees].any(axis=1)).tolist()
        }
        jobs = sorted(again)
    raise ConfigurationError(
        "The estimates could not be made safe",
        where=f"{grid.survey} survey, {len(unsafe)} quantities",
        why="hiding everything beside them still tells too much",
        fix="leave the engagement out, or show fewer breakdowns (policy.yaml)",
    )


def _worst(grid: Grid, unsafe: Sequence[tuple[str, Unsafe]]) -> list[tuple[str, Unsafe]]:
    """One finding an indicator, coalition and area: mending one often mends its neighbours."""
    found: dict[tuple[str, int, str], tuple[str, Unsafe]] = {}
    for coalition, finding in sorted(unsafe, key=lambda u: u[1].high - u[1].low):
        area = str(grid.unit[finding.place])
        found.setdefault((coalition, finding.row, area), (coalition, finding))
    return list(found.values())


def _mend(
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
