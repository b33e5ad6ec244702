"""A number of pupils that is off its rounding is right only if a release before showed it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.recount import recount, wrong_cells

# A shown cell of a CPP in the public package; of a school in its CPP's.
AREA = "audience = 'public' and geography_level = 'cpp'"
SCHOOL = "geography_level = 'school'"
STEP = 10


def move(con: duckdb.DuckDBPyConnection, where: str) -> str:
    """Show a number that is one step too high; which row that is."""
    row = con.execute(
        "select min(rowid) from disclosure.estimates "
        f"where status = 'published' and statistic = 'pct' and breakdown = 'total' and {where}"
    ).fetchall()[0][0]
    con.execute(f"update disclosure.estimates set n = n + {STEP} where rowid = {row}")
    return f"rowid = {row}"


def publish(con: duckdb.DuckDBPyConnection, folder: Path, moved: str, *, left: int) -> Path:
    """A release before with the rows as they stand; so many pupils of the cell left since."""
    cell = (
        "survey, indicator, geography_level, geography_code, coalesce(tranche, ''), "
        "coalesce(engagement, ''), breakdown, \"group\""
    )
    counts = (
        f"select * replace (base_n + if(({cell}) in (select ({cell}) from disclosure.estimates "
        f"where {moved}), {left}, 0) as base_n) from wellbeing.estimates"
    )
    files = {"safe_haven/parquet/estimates_unrounded.parquet": counts}
    for (audience,) in con.execute("select distinct audience from disclosure.estimates").fetchall():
        name = f"{audience}/parquet/estimates.parquet"
        files[name] = f"from disclosure.estimates where audience = '{audience}'"
    for name, sql in files.items():
        file = folder / name
        file.parent.mkdir(parents=True)
        con.execute(f"copy ({sql}) to '{file}' (format parquet)")
    return folder


@pytest.mark.parametrize(
    ("where", "left", "shown_then", "is_right"),
    [
        (AREA, 3, True, True),
        # Ten have changed: the number of then is wrong now.
        (AREA, 10, True, False),
        # Nobody showed it.
        (AREA, 3, False, False),
        # Of a school no number stays.
        (SCHOOL, 3, True, False),
    ],
)
def test_a_kept_number_was_shown_and_few_have_changed(
    spoilt: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    where: str,
    left: int,
    shown_then: bool,
    is_right: bool,
) -> None:
    moved = move(spoilt, where)
    folder = publish(spoilt, tmp_path / "2026.01.01", moved, left=left)
    if not shown_then:
        spoilt.execute(f"update disclosure.estimates set n = n - 2 * {STEP} where {moved}")
    recount(spoilt, load_policy(), [folder])
    assert (wrong_cells(spoilt, "rounding") == []) == is_right


def test_without_a_release_before_every_number_is_rounded(
    spoilt: duckdb.DuckDBPyConnection,
) -> None:
    recount(spoilt, load_policy())
    assert wrong_cells(spoilt, "rounding") == []
    move(spoilt, AREA)
    recount(spoilt, load_policy())
    assert len(wrong_cells(spoilt, "rounding")) == 1
