"""One rule of formulas, in Python and in DuckDB."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rcs_assets.intake.formulas import formula_condition, is_formula

CARRIED_OUT = [
    "=1+1",
    "@SUM(A1)",
    "+A1",
    "-(1)",
    "-1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "+1+X(1)",
    " -1+X(1)",
    "\u00a0=1",
    "\t5",
    "\rx",
    "\n=1",
    "-5\n",
    "-",
    "-5 to 3",
]
PLAIN = ["", "-5", "+5", " -5", "-5.25", "+1,250.5", "-3%", "5", "Primary - 2 (+ nursery)", "a=1"]


def _in_duckdb(text: str) -> bool:
    with duckdb.connect() as con:
        return bool(con.execute(f"select {formula_condition('$1')}", [text]).fetchall()[0][0])


@pytest.mark.parametrize("text", CARRIED_OUT)
def test_what_a_spreadsheet_would_carry_out(text: str) -> None:
    assert is_formula(text) and _in_duckdb(text)


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_number_or_text_is_none(text: str) -> None:
    assert not is_formula(text) and not _in_duckdb(text)


@given(st.text(alphabet="=+-@\t\r\n\f\v \u00a0\u2003\x1c٣5.,%a", max_size=5))
@example("\u2003=1")
def test_both_say_the_same(text: str) -> None:
    assert is_formula(text) == _in_duckdb(text)
