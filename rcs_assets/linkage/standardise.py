"""Identifiers in the form in which they are compared.

Belongs here: SQL expressions that standardise names, birth dates, sex, postcodes and
numbers (domain.md §3.4). Does not belong here: comparing them, and any query.
"""

from __future__ import annotations

from collections.abc import Callable

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
)


def letters(column: str) -> str:
    """Capital letters without accents, spaces, hyphens or apostrophes; null if none is left."""
    return f"nullif(regexp_replace(upper(strip_accents({column})), '[^A-Z]', '', 'g'), '')"


def surname(column: str) -> str:
    """Letters, with Mc written as Mac: Scottish registers mix the two."""
    return f"regexp_replace({letters(column)}, '^MC', 'MAC')"


def signs(column: str) -> str:
    """Capital letters and digits without spaces; null if none is left."""
    return f"nullif(regexp_replace(upper(strip_accents({column})), '[^A-Z0-9]', '', 'g'), '')"


def scn(column: str) -> str:
    """Nine digits or null. A failing check digit flags, never rejects (domain.md §3.5)."""
    digits = f"regexp_replace({column}, '[^0-9]', '', 'g')"
    return f"case when length({digits}) = 9 then {digits} end"


def birth_date(column: str) -> str:
    """A date from a date, or from text as YYYY-MM-DD or YYYYMMDD; null if it is no day."""
    text = f"trim({column}::varchar)"
    return f"coalesce(try_cast({text} as date), try_strptime({text}, '%Y%m%d')::date)"


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


RULES: dict[str, Callable[[str], str]] = {
    "uid": plain,
    "scn": scn,
    "surname": surname,
    "previous_surname": surname,
    "first_forename": letters,
    "second_forename": letters,
    "sex": sex,
    "date_of_birth": birth_date,
    "postcode": signs,
    "address": signs,
    "town": letters,
}


def standardised(field: str, column: str) -> str:
    """The SQL expression that standardises `column` as `field`; extra fields are only trimmed."""
    text = column if field == "date_of_birth" else f"{column}::varchar"
    return RULES.get(field, plain)(text)
