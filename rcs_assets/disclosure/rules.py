"""Protects estimates for each audience by Table A of policy.md.

Belongs here: reading cells and surveys, having each indicator protected unless it was before, and
the tables that come out. Does not belong here: how an indicator is protected (`repair.py`), what
rounding shows (`rounding.py`), the numbers of the policy (`data/policy.yaml`), Dagster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.disclosure.answers import Answers, Hidden
from rcs_assets.disclosure.cells import Sources, drop_cells, read_cells
from rcs_assets.disclosure.earlier import (
    Earlier,
    compare_with_earlier,
    read_earlier,
    read_told,
)
from rcs_assets.disclosure.grid import LITTLE, Grid, Ints, read_grid, read_lines, surveys
from rcs_assets.disclosure.kept import keep_none, keep_numbers, read_kept
from rcs_assets.disclosure.policy import Policy
from rcs_assets.disclosure.repair import Programme, Survey
from rcs_assets.disclosure.rounding import SHOWN_SQL, register_rounding
from rcs_assets.disclosure.unknowns import read_structure
from rcs_assets.side_by_side import each


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
    keep_none(con)
    if earlier:
        _compare(con, shown_sql, policy, earlier)
    read = [_read(con, survey, policy, is_first=not earlier) for survey in surveys(con)]
    con.register("sdc_hidden_rows", pa.concat_tables(_protect(read, answers)))
    con.execute("create or replace temp table sdc_hidden as from sdc_hidden_rows")
    con.unregister("sdc_hidden_rows")
    protected = con.execute(shown_sql).to_arrow_table()
    drop_cells(con)
    return protected


def _compare(
    con: duckdb.DuckDBPyConnection, shown_sql: str, policy: Policy, earlier: Sequence[Path]
) -> None:
    """What each cell would say if it were shown, beside what it said before."""
    read_told(con, earlier)
    keep_numbers(con, policy)
    con.execute(
        # So few round to nobody, of whom there is no figure; they are never shown.
        "create or replace temp table sdc_hidden as "
        "select survey, indicator, place_id, base_n < n_step as is_hidden, '' as note from sdc_node"
    )
    con.execute(f"create or replace temp table sdc_figure as {shown_sql}")
    compare_with_earlier(con, earlier, policy)


def _read(con: duckdb.DuckDBPyConnection, survey: str, policy: Policy, *, is_first: bool) -> Survey:
    """One survey; `is_first`: no release was before, else `sdc_earlier` says what they told."""
    grid = read_grid(con, survey)
    if not is_first:
        kept_n = read_kept(con, grid)
        grid = replace(grid, kept_n=kept_n, n_slack=policy.n_slack)
    earlier = Earlier.none(grid) if is_first else read_earlier(con, grid)
    return Survey(
        grid,
        read_lines(con, survey),
        read_structure(con, grid),
        earlier,
        policy.microdata,
        _linked_rows(grid, policy),
    )


def _linked_rows(grid: Grid, policy: Policy) -> list[list[int]]:
    """Rows of the grid whose numerators add up, the sum first (policy.yaml)."""
    row = {name: position for position, name in enumerate(grid.indicators)}
    return [
        [row[name] for name in linked.indicators]
        for linked in policy.linked_indicators
        if all(name in row for name in linked.indicators)
    ]


def _protect(read: Sequence[Survey], answers: Answers) -> list[pa.Table]:
    """Which nodes of each survey are hidden, and their notes; `answers` are noted.

    Returns:
        `survey, indicator, place_id, is_hidden, note` (empty, low or high).
    """
    tasks = [(at, rows) for at, survey in enumerate(read) for rows in survey.tasks()]
    # What has many small counts takes longest.
    tasks.sort(key=lambda task: -int(read[task[0]].grid.is_primary[task[1]].sum()))
    questions = [read[at].question(rows) for at, rows in tasks]
    is_known = [question in answers.known_hidden for question in questions]
    new = [task for task, known in zip(tasks, is_known, strict=True) if not known]
    cells_n = sum(len(rows) * read[at].grid.base.shape[1] for at, rows in new)
    programme = Programme(read, answers.known)
    done = iter(each(Programme.protect, programme, new, is_little=cells_n < LITTLE))
    tables = []
    for (at, rows), question, known in zip(tasks, questions, is_known, strict=True):
        hidden = answers.known_hidden[question] if known else next(done)
        answers.note_hidden(question, hidden)
        tables.append(_hidden(read[at].grid, rows, hidden))
    return tables


def _hidden(grid: Grid, rows: Ints, hidden: Hidden) -> pa.Table:
    places_n = grid.base.shape[1]
    note, is_hidden = np.divmod(hidden.of(len(rows)), 2)
    names = np.repeat(grid.indicators[rows], places_n)
    return pa.table(
        {
            "survey": pa.array([grid.survey] * note.size, pa.string()),
            "indicator": pa.array(names, pa.string()),
            "place_id": np.tile(np.arange(places_n, dtype=np.int32), len(rows)),
            "is_hidden": ((is_hidden > 0) & grid.is_showable[rows]).ravel(),
            "note": pa.array(np.array(["", "low", "high"])[note].ravel(), pa.string()),
        }
    )
