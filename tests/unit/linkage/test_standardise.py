"""Identifiers in the form in which they are compared: what Scottish registers write alike."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcs_assets.intake.scn import scn_check_digit_holds
from rcs_assets.linkage.standardise import RULES, postcode_7, sex_code, standardised

CON = duckdb.connect()
VALID = ("040001239", "112345671", "098765433", "051111117")


def value(expression: str, text: str | None) -> object:
    return CON.execute(f"select {expression} from (select ? as c)", [text]).fetchall()[0][0]


@pytest.mark.parametrize(
    ("field", "text", "wanted"),
    [
        ("surname", "McDonald", "MACDONALD"),
        ("surname", "Mac Donald", "MACDONALD"),
        ("surname", "M'Donald", "MACDONALD"),
        ("surname", "M’Donald", "MACDONALD"),
        ("surname", "MCKIE", "MACKIE"),
        ("surname", "Mackie", "MACKIE"),
        ("surname", "O'Neil", "ONEIL"),
        ("surname", "O’Neil", "ONEIL"),
        ("surname", "o neil", "ONEIL"),
        ("surname", "Smith-Jones", "SMITHJONES"),
        ("surname", "Smith Jones", "SMITHJONES"),
        ("surname", "M", "M"),
        ("surname", "Sørensen", "SORENSEN"),
        ("surname", "Wałęsa", "WALESA"),
        ("surname", "Strauß", "STRAUSS"),
        ("surname", "O\u02bcNeil", "ONEIL"),
        ("surname", "Иванов-Петров", "ИВАНОВПЕТРОВ"),
        ("surname", "王", "王"),
        ("surname", " - ", None),
        ("surname", "Not known", None),
        ("first_forename", "Zoë", "ZOE"),
        ("first_forename", "Zoe\u0308", "ZOE"),
        ("first_forename", "Александра", "АЛЕКСАНДРА"),
        ("first_forename", "Þóra", "THORA"),
        ("first_forename", "Ævar", "AEVAR"),
        ("first_forename", "J.", "J"),
        ("first_forename", "unknown", None),
        ("previous_surname", "McBride", "MACBRIDE"),
        ("date_of_birth", "2004-03-09", date(2004, 3, 9)),
        ("date_of_birth", "20040309", date(2004, 3, 9)),
        ("date_of_birth", "09/03/2004", date(2004, 3, 9)),
        ("date_of_birth", "9.3.2004", date(2004, 3, 9)),
        ("date_of_birth", "2004", date(2004, 1, 1)),
        ("date_of_birth", "2004-03", date(2004, 3, 1)),
        ("date_of_birth", "2004-03-00", date(2004, 3, 1)),
        ("date_of_birth", "20040000", date(2004, 1, 1)),
        ("date_of_birth", "2004-00-00", date(2004, 1, 1)),
        ("date_of_birth", "2004/03/09", date(2004, 3, 9)),
        ("date_of_birth", "9 Mar 2004", date(2004, 3, 9)),
        ("date_of_birth", "09 March 2004", date(2004, 3, 9)),
        ("date_of_birth", "09-Mar-2004", date(2004, 3, 9)),
        ("date_of_birth", "09/03/04", date(2004, 3, 9)),
        ("date_of_birth", "09-03-04", date(2004, 3, 9)),
        ("date_of_birth", "03/31/2004", None),
        ("date_of_birth", "2004-13-01", None),
        ("date_of_birth", "31/02/2004", None),
        ("date_of_birth", "perhaps", None),
        ("sex", "Male", "M"),
        ("sex", "1", "M"),
        ("sex", "2", "F"),
        ("sex", "f", "F"),
        ("sex", "9", None),
        ("sex", "U", None),
        ("postcode", "fk10 1aa", "FK101AA"),
        ("postcode", "FK10 IAA", "FK101AA"),
        ("postcode", "FK1O 1AA", "FK1O1AA"),
        ("postcode", "G1 OAB", "G10AB"),
        ("postcode", "EH1 1A1", "EH11AI"),
        ("postcode", "FK10", "FK10"),
        ("postcode", "2602", "2602"),
        ("postcode", "NK", None),
        ("scn", "040001239", "040001239"),
        ("scn", "04 000 1239", "040001239"),
        ("scn", "40001239", "040001239"),
        ("scn", "40001238", None),
        ("scn", "123456789", "123456789"),
        ("scn", "12345", None),
        ("uid", " ca00000001 ", "CA00000001"),
        ("town", "Tillicoultry ", "TILLICOULTRY"),
    ],
)
def test_what_is_written_in_many_ways_is_compared_in_one(
    field: str, text: str, wanted: object
) -> None:
    assert value(standardised(field, "c"), text) == wanted


@pytest.mark.parametrize("number", VALID)
def test_the_published_valid_numbers_hold_and_every_slip_of_a_digit_is_flagged(number: str) -> None:
    holds = scn_check_digit_holds("c")
    assert value(holds, number) is True
    slips = {
        number[:place] + digit + number[place + 1 :]
        for place in range(9)
        for digit in "0123456789"
        if digit != number[place]
    }
    found = CON.execute(f"select distinct {holds} from (select unnest(?) as c)", [sorted(slips)])
    assert found.fetchall() == [(False,)]


def test_a_failing_check_digit_rejects_nothing() -> None:
    assert value(scn_check_digit_holds("c"), "123456789") is False
    assert value(standardised("scn", "c"), "123456789") == "123456789"
    assert value(scn_check_digit_holds("c"), None) is None


def test_remainder_one_has_no_valid_number() -> None:
    # 3·2 + 2·3 = 12, and 12 mod 11 = 1.
    holds = scn_check_digit_holds("c")
    assert {value(holds, f"23000000{digit}") for digit in range(10)} == {False}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("G1 1AA", "G1  1AA"), ("FK10 1AA", "FK101AA"), ("FK1 1AA", "FK1 1AA"), ("FK10", None)],
)
def test_postcodes_of_seven_signs(text: str, wanted: str | None) -> None:
    assert value(postcode_7("c"), text) == wanted


def test_codes_of_sex() -> None:
    assert [value(sex_code("c"), text) for text in ("M", "F", "?", None)] == ["1", "2", "9", "9"]


# Dates and encodings become another type, which is no text to standardise again.
@given(st.sampled_from(sorted(set(RULES) - {"date_of_birth", "clk"})), st.text(max_size=12))
def test_standardising_twice_is_standardising_once(field: str, text: str) -> None:
    once, twice = CON.execute(
        f"select once, {standardised(field, 'once')} "
        f"from (select {standardised(field, 'c')} as once from (select ?::varchar as c))",
        [text.replace("\0", "")],
    ).fetchall()[0]
    assert once == twice


@pytest.mark.parametrize(("one", "other"), [("रामा", "रीमा"), ("মিতা", "মতি"), ("अनु", "अनि")])
def test_names_that_differ_in_their_vowels_alone_are_two(one: str, other: str) -> None:
    found = CON.execute(
        f"select count(distinct {standardised('surname', 'n')}) from unnest([?, ?]) as t(n)",
        [one, other],
    ).fetchall()
    assert found == [(2,)]
