"""The audit of a release: every coalition attacks every indicator of what is to be shown.

Belongs here: reading the protected rows as an outsider gets them, running the attacks over
all of them, the figures that go into check and certificate, and the memory of questions
already answered. Does not belong here: hiding cells (`rules.py`): the audit knows nothing of
how the rows came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.answers import Answer, Answers, Attack, Hidden, Unsafe
from rcs_assets.disclosure.attack import Attacker, attackers_of
from rcs_assets.disclosure.cells import Sources, drop_cells, read_cells
from rcs_assets.disclosure.differences import Differences, find_differences
from rcs_assets.disclosure.earlier import compare_with_earlier, read_earlier, read_told, with_known
from rcs_assets.disclosure.grid import LITTLE, Grid, Shown, from_release, read_grid, surveys
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.unknowns import Structure, read_structure
from rcs_assets.disclosure.witness import Key, Made, Witnesses, of_indicator
from rcs_assets.side_by_side import each

# What is kept between runs; of another code it may have other columns, and then says nothing.
_KEPT = {
    "answers": {
        "system_hash": pa.string(),
        "programs_n": pa.int32(),
        "open_at": pa.list_(pa.int32()),
        "parts": pa.list_(pa.string()),
        "told_at": pa.list_(pa.int32()),
    },
    "hidden_before": {
        "question": pa.string(),
        "state": pa.binary(),
        "used": pa.list_(pa.string()),
    },
}
# Fingerprint of the protected rows: an audit speaks of these and of no others.
AUDITED_SQL = """
select sha256(coalesce(string_agg(sha256(t::varchar), '' order by sha256(t::varchar)), ''))
from disclosure.estimates as t
"""
_PLACES_SHOWN = 5


@dataclass(frozen=True)
class Audit:
    """Outcome of an audit.

    `table`: one row a coalition (a CPP's with each of its schools alone), survey and indicator:
    cells_n, hidden_n, targets_n, programs_n, unsafe_n, system_hash. `places`: the first unsafe
    quantities, in words.
    `findings`: all of them with the range that the attacker learns; these stay in the warehouse.
    `certificate_tables`, `certificate_cells`: made-up tables that fit a package (audience), and
    which of them has each of its hidden cells low and high; `certificate_questions` what was
    asked for each of them. `differences`: what this release and
    each before it tell together.
    """

    table: pa.Table
    places: tuple[str, ...]
    findings: pa.Table
    certificate_tables: pa.Table
    certificate_cells: pa.Table
    certificate_questions: Mapping[Key, str]
    differences: Differences

    @property
    def unsafe_n(self) -> int:
        """Hidden quantities of which somebody learns too much; a release needs 0."""
        return sum(self.table["unsafe_n"].to_pylist())


def audit_estimates(
    con: duckdb.DuckDBPyConnection,
    sources: Sources,
    policy: Policy,
    released: str,
    answers: Answers,
    earlier: Sequence[Path] = (),
    kept: Mapping[Key, str] | None = None,
) -> Audit:
    """Attack released rows from every coalition (policy.md, Audiences).

    Args:
        con: a connection that sees the relations; temporary tables `sdc_*` are made.
        sources: the unprotected counts: what is judged in the end, and the public rolls.
        policy: Table A.
        released: relation in the columns of `disclosure.estimates`.
        answers: of earlier questions; those of this audit are noted.
        earlier: folders of all releases before: what has not changed since they were made is
            known from them, and what has is compared.
        kept: questions that the made-up tables of the audit before answer (`witness.py`).

    Raises:
        StorageError: a release before cannot be read.
    """
    read = read_release(con, sources, policy, released, earlier)
    outcomes: list[Attack] = []
    places: list[str] = []
    findings: list[pa.Table] = []
    witnesses = Witnesses(kept or {})
    for survey, found in zip(read, _attack_all(read, answers, witnesses), strict=True):
        grid = survey.grid
        outcomes += found
        places += [
            _place(grid, outcome, i) for outcome in found for i in range(len(outcome.unsafe))
        ]
        findings.append(_findings(grid, found))
    tables, cells = witnesses.relations(con)
    differences = find_differences(
        con,
        released=released,
        estimates=sources.estimates,
        indicators=sources.indicators,
        earlier=earlier,
        least=policy.changed_least,
    )
    drop_cells(con)
    return Audit(
        _table(outcomes),
        tuple(places[:_PLACES_SHOWN]),
        pa.concat_tables(findings),
        tables,
        cells,
        witnesses.questions,
        differences,
    )


def read_release(
    con: duckdb.DuckDBPyConnection,
    sources: Sources,
    policy: Policy,
    released: str,
    earlier: Sequence[Path] = (),
) -> list[Attacked]:
    """Every survey as it is attacked; the temporary tables stay until `drop_cells`.

    Args: as `audit_estimates`.

    Raises:
        StorageError: a release before cannot be read.
    """
    read_cells(con, policy, sources)
    if earlier:
        read_told(con, earlier)
        con.execute(f"create or replace temp table sdc_figure as from {released}")
        compare_with_earlier(con, earlier, policy)
    return [_read(con, survey, policy, released, bool(earlier)) for survey in surveys(con)]


@dataclass(frozen=True)
class Attacked:
    """One survey as it is attacked.

    `shown` by this release and those before; `told` by this one to readers who do not know which
    numbers of pupils were kept.
    """

    grid: Grid
    structure: Structure
    rule: MicrodataRule
    told: Shown
    shown: Shown


def _read(
    con: duckdb.DuckDBPyConnection, survey: str, policy: Policy, released: str, has_earlier: bool
) -> Attacked:
    grid = read_grid(con, survey)
    if not has_earlier:
        told = from_release(con, grid, released)
        return Attacked(grid, read_structure(con, grid), policy.microdata, told, told)
    grid = replace(grid, n_slack=policy.n_slack)
    # No made-up table may tell which numbers were kept.
    told = from_release(con, grid, released, tells_kept=False)
    shown = with_known(grid, from_release(con, grid, released), read_earlier(con, grid))
    return Attacked(grid, read_structure(con, grid), policy.microdata, told, shown)


@dataclass
class _Release:
    """All surveys, answers of earlier attacks and earlier made-up tables: what a worker holds."""

    surveys: Sequence[Attacked]
    known: Mapping[str, Answer]
    kept: Mapping[Key, str]
    _begun: dict[int, list[Attacker]] = field(default_factory=dict)

    def attack(self, task: tuple[int, int]) -> tuple[list[Attack], list[Made]]:
        """What all coalitions find of an indicator, by survey and row, and made-up tables."""
        at, row = task
        survey = self.surveys[at]
        if at not in self._begun:
            self._begun[at] = attackers_of(survey.grid, survey.structure, survey.rule)
        attackers = self._begun[at]
        found = [attacker.attack(survey.shown, row, self.known) for attacker in attackers]
        return found, [of_indicator(who, survey.told, row, self.kept) for who in attackers]


def _attack_all(
    read: Sequence[Attacked], answers: Answers, witnesses: Witnesses
) -> list[list[Attack]]:
    """What is found of each survey; `answers` and `witnesses` are noted."""
    tasks = [(at, row) for at, survey in enumerate(read) for row in range(len(survey.grid.base))]

    def hidden_n(task: tuple[int, int]) -> int:
        at, row = task
        survey = read[at]
        return int((survey.grid.is_showable[row] & ~survey.told.is_shown[row]).sum())

    # What has most hidden takes longest.
    tasks.sort(key=hidden_n, reverse=True)
    cells_n = sum(survey.grid.base.size for survey in read)
    release = _Release(read, answers.known, witnesses.kept)
    done = each(_Release.attack, release, tasks, is_little=cells_n < LITTLE)
    outcomes: list[list[Attack]] = [[] for _ in read]
    for (at, _), (found, made) in sorted(zip(tasks, done, strict=True), key=lambda one: one[0]):
        outcomes[at] += found
        answers.note(found)
        witnesses.add(made)
    return outcomes


def _place(grid: Grid, outcome: Attack, position: int) -> str:
    """An unsafe quantity in words, without the range that the attacker learns."""
    unsafe = outcome.unsafe[position]
    place = unsafe.place
    return (
        f"{_reader(outcome, unsafe)} learns too much of the {unsafe.quantity} of "
        f"{outcome.indicator}, "
        f"{grid.unit[place]}, {grid.breakdown[place]} {grid.group[place]}"
    )


def _reader(outcome: Attack, unsafe: Unsafe) -> str:
    if unsafe.school:
        return unsafe.school + (" with its refusals" if unsafe.by_refusals else "")
    return outcome.coalition + (" with files of answers" if unsafe.by_files else "")


def _findings(grid: Grid, outcomes: Sequence[Attack]) -> pa.Table:
    """Unsafe quantities with what the attacker learns of each."""
    found = [(o, unsafe) for o in outcomes for unsafe in o.unsafe]
    at = [unsafe.place for _, unsafe in found]
    columns: dict[str, list[object]] = {
        "coalition": [_reader(o, unsafe) for o, unsafe in found],
        "survey": [o.survey for o, _ in found],
        "indicator": [o.indicator for o, _ in found],
        "unit": [str(grid.unit[place]) for place in at],
        "breakdown": [str(grid.breakdown[place]) for place in at],
        "group": [str(grid.group[place]) for place in at],
        "quantity": [unsafe.quantity for _, unsafe in found],
        # The noise of the arithmetic may make a 0 negative.
        "low": [round(unsafe.low, 4) + 0.0 for _, unsafe in found],
        "high": [round(unsafe.high, 4) + 0.0 for _, unsafe in found],
    }
    return pa.table(
        {
            name: pa.array(values, pa.float64() if name in ("low", "high") else pa.string())
            for name, values in columns.items()
        }
    )


def _table(outcomes: Sequence[Attack]) -> pa.Table:
    names = ("coalition", "survey", "indicator")
    counts = ("cells_n", "hidden_n", "targets_n", "programs_n")
    return pa.table(
        {name: pa.array([getattr(o, name) for o in outcomes], pa.string()) for name in names}
        | {name: pa.array([getattr(o, name) for o in outcomes], pa.int64()) for name in counts}
        | {
            "unsafe_n": pa.array([len(o.unsafe) for o in outcomes], pa.int64()),
            "system_hash": pa.array([o.system_hash for o in outcomes], pa.string()),
        }
    )


def read_answers(con: duckdb.DuckDBPyConnection, code_version: str) -> Answers:
    """Questions that this code has answered before, and what it has hidden.

    From `disclosure.answers` and `disclosure.hidden_before`; nothing where these are not there.
    """
    answers, hidden = (_kept(con, table, code_version) for table in _KEPT)
    known = {name: Answer(n, *map(tuple, of)) for name, n, *of in answers}
    return Answers(
        known,
        {
            question: Hidden(state, {name: known[name] for name in used})
            for question, state, used in hidden
            if all(name in known for name in used)
        },
    )


def _kept(con: duckdb.DuckDBPyConnection, table: str, code_version: str) -> list[tuple[Any, ...]]:
    """Rows of what this code has kept."""
    columns, there = (
        [*_KEPT[table]],
        con.execute(
            "select column_name from duckdb_columns() "
            "where schema_name = 'disclosure' and table_name = ? order by column_index",
            [table],
        ).fetchall(),
    )
    if [name for (name,) in there] != [*columns, "code_version"]:
        return []
    return con.execute(
        f"select {', '.join(columns)} from disclosure.{table} where code_version = ?",
        [code_version],
    ).fetchall()


def write_answers(con: duckdb.DuckDBPyConnection, answers: Answers, code_version: str) -> None:
    """Keep what was asked for this release alone: other questions do not come back."""
    used, hidden = answers.used, answers.used_hidden
    made: dict[str, list[list[Any]]] = {
        "answers": [
            [*used],
            *([getattr(one, name) for one in used.values()] for name in [*_KEPT["answers"]][1:]),
        ],
        "hidden_before": [
            [*hidden],
            [one.state for one in hidden.values()],
            [sorted(one.used) for one in hidden.values()],
        ],
    }
    con.execute("begin; create schema if not exists disclosure")
    for table, values in made.items():
        columns = zip(_KEPT[table].items(), values, strict=True)
        con.register(
            "answer_rows", pa.table({name: pa.array(of, kind) for (name, kind), of in columns})
        )
        con.execute(
            f"create or replace table disclosure.{table} as "
            "select *, ? as code_version from answer_rows order by 1",
            [code_version],
        )
        con.unregister("answer_rows")
    con.execute("commit")


# A CPP without a survey has no package rows of it: its holder sees what the public sees.
_COMPLETE = """
with attacks as (
    select distinct
        coalesce(nullif(split_part(audience, '/', 2), ''), 'public') as coalition,
        survey, indicator,
    from disclosure.estimates
)
select count(*) from (
    select coalition, survey, indicator from attacks
    except
    select coalition, survey, indicator from disclosure.audit
)
"""


def audit_problem(con: duckdb.DuckDBPyConnection) -> str:
    """Why `disclosure.audit` does not speak of the rows that stand there; empty if it does.

    It must have been made of these very rows, and hold every coalition with every indicator.
    """
    audited = {
        row[0] for row in con.execute("select distinct audited from disclosure.audit").fetchall()
    }
    if audited != {con.execute(AUDITED_SQL).fetchall()[0][0]}:
        return "the audit is of other rows than those in disclosure.estimates, or of none"
    missing = con.execute(_COMPLETE).fetchall()[0][0]
    return f"{missing} attacks of a coalition on an indicator are missing" if missing else ""


def differences_problem(con: duckdb.DuckDBPyConnection, earlier: Sequence[Path]) -> str:
    """Why `disclosure.differences` does not speak of all releases before; empty if it does."""
    rows = con.execute("select release from disclosure.differences").fetchall()
    missing = {folder.name for folder in earlier} - {row[0] for row in rows}
    return f"not compared with release {', '.join(sorted(missing))}" if missing else ""
