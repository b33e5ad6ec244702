"""Whether a spreadsheet would take a text for a formula and carry it out (CSV injection).

Belongs here: the one rule, for Python and for DuckDB, by which deliveries are judged, releases are
refused and reports to suppliers are quoted. Does not belong here: formulas inside a workbook
(`readers.py`).
"""

from __future__ import annotations

import re

from rcs_assets.storage import sql_literal

# What follows the sign says nothing: `-1+cmd|' /C calc'!A0` is carried out as well as `-cmd|…`.
# Both engines of regular expressions read these alike; of blanks each has its own idea.
_START = "^([\t\r]|[ \t\r\n\f\v\u00a0]*[=+@-])"
_NUMBER = r" *[+-][0-9]+([.,][0-9]+)*%?"


def is_formula(text: str) -> bool:
    """Whether a text begins like a formula and is no plain number."""
    return bool(re.search(_START, text)) and not re.fullmatch(_NUMBER, text)


def formula_condition(cell: str) -> str:
    """The same as SQL over an expression."""
    return (
        f"(regexp_matches({cell}, {sql_literal(_START)}) "
        f"and not regexp_full_match({cell}, {sql_literal(_NUMBER)}))"
    )
