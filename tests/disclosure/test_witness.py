"""Made-up tables of a certificate: kept where the question is the same, sought where it is not."""

from __future__ import annotations

import duckdb
import pytest

from rcs_assets.disclosure.witness import questions_table, read_questions
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import Programme

VERSION = "code"
# No table of an indicator has such a number: rows that carry it were copied.
MARK = 100_000


@pytest.fixture(scope="module")
def audited():
    """A drawn programme, its audit, and that audit's tables laid down as the asset does."""
    shape = Shape(
        (Measure("half", 0.4), Measure("few", 0.08)), clusters=(1, 2), schools=(3, 5), roll=(20, 99)
    )
    programme = Programme(shape, 4)
    found = programme.audit()
    programme.con.execute("create schema disclosure")
    for name, table in (
        ("tables", found.certificate_tables),
        ("cells", found.certificate_cells),
        ("questions", questions_table(found.certificate_questions, VERSION)),
    ):
        programme.con.register("laid", table)
        programme.con.execute(f"create table disclosure.certificate_{name} as from laid")
    return programme, found


def marked(table) -> set[tuple[str, str]]:
    """Audience and indicator of rows that were copied from the marked tables."""
    rows = zip(
        *(table[name].to_pylist() for name in ("audience", "indicator", "table_no")), strict=True
    )
    return {(audience, indicator) for audience, indicator, number in rows if number >= MARK}


def test_the_same_question_has_the_same_rows(audited):
    programme, found = audited
    kept = read_questions(programme.con, VERSION)
    assert kept == found.certificate_questions and len(kept) > 2
    again = programme.audit(kept=kept)
    assert again.certificate_tables.equals(found.certificate_tables)
    assert again.certificate_cells.equals(found.certificate_cells)
    assert read_questions(programme.con, "other code") == {}


def test_only_what_a_change_touches_is_sought_again(audited):
    programme, _ = audited
    programme.con.execute(f"update disclosure.certificate_tables set table_no = table_no + {MARK}")
    own = f"cpp/{programme.engagements[0]}"
    row = programme.pick(
        lambda r: (
            r["audience"] == own and r["status"] == "published" and r["geography_level"] == "school"
        )
    )[0]
    row |= {"status": "c", "n": None, "estimate": None}
    anew = programme.audit()
    again = programme.audit(kept=read_questions(programme.con, VERSION))
    everybody = {(key[0], key[2]) for key in again.certificate_questions}
    assert marked(again.certificate_tables) == everybody - {(own, row["indicator"])}
    assert again.certificate_questions == anew.certificate_questions
    # What was sought again is what a first search finds.
    assert again.certificate_cells.equals(anew.certificate_cells)


def test_without_a_record_nothing_is_kept():
    with duckdb.connect() as con:
        assert read_questions(con, VERSION) == {}
