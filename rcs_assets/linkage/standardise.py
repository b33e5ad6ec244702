"""Identifiers in the form in which they are compared.

Belongs here: SQL expressions that standardise names, birth dates, sex, postcodes and
numbers (domain.md §3.4). Does not belong here: comparing them, and any query.
"""

from __future__ import annotations

from collections.abc import Callable

from rcs_assets.intake.scn import scn_check_digit_holds

FIELDS = (
    "uid",
    "scn",
    "surname",
    "previous_surname",
    "first_forename",
    "second_forename",
    "sex",
    "date_of_birth",
    "postcode",
    "address",
    "town",
    "clk",
)


# Letters that are no accented ones, so that stripping accents would lose them.
_LETTERS = {
    "Ø": "O", "Æ": "AE", "Œ": "OE", "ß": "SS", "ẞ": "SS", "Ł": "L", "Đ": "D", "Ð": "D",
    "Þ": "TH", "Ħ": "H", "ı": "I",
}  # fmt: skip
# Letters of any script, and vowels that are written as marks beside them; an apostrophe that counts
# as a modifier letter (O\u02bcNeil) is none.
_MARK = r"\p{Mc}\p{Mn}"
_ANY_LETTER = r"\p{Lu}\p{Ll}\p{Lo}" + _MARK
# Beside letters of these scripts marks are accents, or vowels that mostly stay unwritten; in others
# two names may differ in them alone.
_HAS_ACCENTS = r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}]"
# Words that stand where a name is not known (domain.md 3.4: missing codes).
_NO_NAME = (
    "UNKNOWN", "NOTKNOWN", "NK", "NOTRECORDED", "NOTSTATED", "NOTGIVEN", "NOTAVAILABLE",
    "MISSING", "UNSPECIFIED", "NOTAPPLICABLE",
)  # fmt: skip
# What software writes for a blank cell, in exactly this spelling: Nan is a forename.
_BLANKS = ("", "nan", "NaN", "NaT", "<NA>", "NULL", "null", "None", "none", "N/A", "n/a")
# What people write there, in any field.
_UNKNOWN = ("unknown", "not known", "not recorded", "not stated", "?", "-", ".")


def _capitals(column: str) -> str:
    # Accents first: without its own, a letter may be one of those above, or have a capital.
    is_vowel = f"regexp_matches(nfc_normalize({column}), '[{_MARK}]')"
    is_accent = f"regexp_matches({column}, '{_HAS_ACCENTS}')"
    text = (
        f"upper(case when {is_vowel} and not {is_accent} then nfc_normalize({column}) "
        f"else strip_accents({column}) end)"
    )
    for letter, written in _LETTERS.items():
        text = f"replace({text}, '{letter}', '{written}')"
    # Most names are of plain letters, one byte each, and need none of it.
    return f"case when strlen({column}) = length({column}) then upper({column}) else {text} end"


def letters(column: str) -> str:
    """Capital letters without accents, spaces, hyphens or apostrophes; null if none is left.

    Of any script: who is not written in Latin letters is no child without a name.
    """
    return f"nullif(regexp_replace({_capitals(column)}, '[^{_ANY_LETTER}]', '', 'g'), '')"


def name(column: str) -> str:
    """Letters; null for a word that says that the name is not known."""
    text = letters(column)
    return f"case when not list_contains({list(_NO_NAME)!r}, {text}) then {text} end"


def surname(column: str) -> str:
    """A name with Mc and M' written as Mac: Scottish registers mix them; O' is O."""
    # Before the apostrophe goes: M'Donald.
    text = f"regexp_replace({column}, '^ *[Mm][''’‘`]', 'Mc')"
    return f"regexp_replace({name(text)}, '^MC', 'MAC')"


def signs(column: str) -> str:
    """Capital letters and digits without spaces; null if none is left."""
    return f"nullif(regexp_replace({_capitals(column)}, '[^{_ANY_LETTER}0-9]', '', 'g'), '')"


def postcode(column: str) -> str:
    """Signs; in a whole postcode O and I for digits, 0 and 1 for letters are put right; NK is null.

    Only where nothing else can be meant: the sign before the last two is a digit, those are
    letters. A part of a postcode stays a part.
    """
    text = signs(column)
    form = "^[A-Z]{1,2}[0-9][0-9A-Z]?[0-9OI][A-Z01]{2}$"
    digit = f"translate(left(right({text}, 3), 1), 'OI', '01')"
    last = f"translate(right({text}, 2), '01', 'OI')"
    return (
        f"case when {text} = 'NK' then null when regexp_matches({text}, '{form}') "
        f"then left({text}, length({text}) - 3) || {digit} || {last} else {text} end"
    )


def scn(column: str) -> str:
    """Nine digits or null; the leading zero that a spreadsheet took is put back.

    Only where the check digit then holds. A failing one flags, never rejects (domain.md 3.5).
    """
    digits = f"regexp_replace({column}, '[^0-9]', '', 'g')"
    padded = f"lpad({digits}, 9, '0')"
    return (
        f"case when length({digits}) = 9 then {digits} "
        f"when length({digits}) = 8 and {scn_check_digit_holds(padded)} then {padded} end"
    )


def birth_date(column: str) -> str:
    """A date from a date or from text; a part of one from its part; null if it is no day.

    Text: YYYY-MM-DD, YYYY/MM/DD, YYYYMMDD, DD/MM/YYYY or DD/MM/YY (also with dots or hyphens),
    1 Feb 2004, 1 February 2004. Two digits are a year from 1969 to 2068. Where the day is not known
    (YYYY-MM, YYYYMM, 00) it is the first of the month, where the month is not either 1 January.
    Both are weak evidence: `model.yaml`, levels of date_of_birth.
    """
    text = f"trim({column}::varchar)"
    month = f"regexp_extract({text}, '^[0-9]{{4}}-?([0-9]{{2}})', 1)"
    part = (
        f"case when regexp_full_match({text}, '[0-9]{{4}}(-?(0[1-9]|1[0-2]))?(-?00)*') then "
        f"make_date(left({text}, 4)::integer, "
        f"greatest(coalesce(try_cast({month} as integer), 1), 1), 1) end"
    )
    # Two digits first: as the year of four they would be one of antiquity.
    forms = (
        "['%d/%m/%y', '%d.%m.%y', '%d-%m-%y', '%Y%m%d', '%d/%m/%Y', '%d.%m.%Y', '%d-%m-%Y', "
        "'%d %b %Y', '%d %B %Y', '%d-%b-%Y']"
    )
    # A cast alone would read 01/02/08 as a day of the year 1.
    whole = f"case when regexp_matches({text}, '^[0-9]{{4}}[-/]') then try_cast({text} as date) end"
    return f"coalesce({whole}, try_strptime({text}, {forms})::date, {part})"


def sex(column: str) -> str:
    """F or M, from a letter, a word or the published codes 1 and 2; null otherwise."""
    first = f"left(upper(trim({column}::varchar)), 1)"
    return f"case when {first} in ('M', '1') then 'M' when {first} in ('F', '2') then 'F' end"


def sex_code(column: str) -> str:
    """1 (M), 2 (F), 9 (anything else): the codes of PHS CHILI (domain.md 3.4)."""
    return f"case {sex(column)} when 'M' then '1' when 'F' then '2' else '9' end"


def postcode_7(column: str) -> str:
    """Seven signs: district, filled up to four, and the last three; null if it is not whole."""
    text = signs(column)
    form = "^[A-Z]{1,2}[0-9][0-9A-Z]?[0-9][A-Z]{2}$"
    return (
        f"case when regexp_matches({text}, '{form}') "
        f"then rpad(left({text}, length({text}) - 3), 4, ' ') || right({text}, 3) end"
    )


def plain(column: str) -> str:
    """Text in capitals without spaces around it; null if empty."""
    return f"nullif(upper(trim({column}::varchar)), '')"


def bits(column: str) -> str:
    """Bits from their hexadecimal digits: an encoding in the place of identifiers."""
    return f"unhex({column})::bit"


RULES: dict[str, Callable[[str], str]] = {
    "uid": plain,
    "scn": scn,
    "surname": surname,
    "previous_surname": surname,
    "first_forename": name,
    "second_forename": name,
    "sex": sex,
    "date_of_birth": birth_date,
    "postcode": postcode,
    "address": signs,
    "town": letters,
    "clk": bits,
}


def known(column: str) -> str:
    """Text without spaces around it; null for a blank, and for what is written for one.

    For a query below that of `standardised`, whose expressions name their column many times.
    """
    text = f"trim({column}::varchar)"
    # Of `in` DuckDB would make a join for each list and column: twice the time of many rows, and
    # of few rows nearly all of it.
    is_blank = f"list_contains({list(_BLANKS)!r}, {text})"
    is_unknown = f"list_contains({list(_UNKNOWN)!r}, lower({text}))"
    return f"case when not ({is_blank} or {is_unknown}) then {text} end"


def standardised(field: str, column: str) -> str:
    """The SQL expression that standardises `column` as `field`; extra fields are only trimmed."""
    text = column if field == "date_of_birth" else f"{column}::varchar"
    return RULES.get(field, plain)(text)
