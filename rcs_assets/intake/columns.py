"""How a message names a column that was delivered, so that it repeats no cell of a record.

Belongs here: which foreign name of a column may stand in a message. Messages are kept in Dagster's
event log, receipts and warehouse, and a header that is right otherwise can hold a child's name.
Does not belong here: which columns a file must have (`contracts.py`, `survey.py`, `encoded.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache

from rcs_assets.codebook import load_codebook

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# A year or a part of an SCN, a date, a postcode.
_LIKE_A_VALUE = re.compile(r"\d{3}|\d[/.-]\d|\b[A-Za-z]{1,2}\d{1,2}[A-Za-z]?\s?\d[A-Za-z]{2}\b")
PLACE = "column "
_MAX_DIGITS = 4
# Of shorter columns, and with more errors, a name in NRS's lists of babies' names 1998-2020 or of
# surnames can be a misspelling: Hector of sector, Plamen of placement.
_MISSPELT_LETTERS = 8
_MAX_ERRORS = 2
# Words of columns, as in age_max.
_FORENAMES = {"max", "min"}


def column_told(header: Sequence[str], position: int, expected: Sequence[str]) -> str:
    """A column's name where it cannot be a person's, else its place in the header.

    Args:
        header: the delivered names in file order.
        position: of the column, from 0.
        expected: names that the contract has.
    """
    name = header[position].strip()
    if not name:
        return f"{PLACE}{position + 1} without a name"
    if name in expected or _is_harmless(name, expected):
        return name
    return f"{PLACE}{position + 1}"


def _is_harmless(name: str, expected: Sequence[str]) -> bool:
    if not (name.isascii() and name.isprintable()) or _may_hold_value(name):
        return False
    words = {word.lower() for word in _WORD.findall(name)}
    # One word of a column can be a name, such as english; a column of one word is none.
    is_worded = len(words) > 1 and words <= _words()
    is_misspelt = any(_is_misspelt(name.lower(), column.lower()) for column in expected)
    return is_worded or is_misspelt or name.lower() in _columns()


def _may_hold_value(name: str) -> bool:
    digits = sum(sign.isdigit() for sign in name)
    return digits > _MAX_DIGITS or _LIKE_A_VALUE.search(name) is not None


def _is_misspelt(name: str, column: str) -> bool:
    """Told by errors, not by difflib's ratio alone: a name behind a long column is similar, too."""
    if len(column) < _MISSPELT_LETTERS:
        return False
    blocks = SequenceMatcher(None, name, column, autojunk=False).get_matching_blocks()
    kept = sum(block.size for block in blocks)
    return len(name) + len(column) - 2 * kept <= _MAX_ERRORS


@cache
def _columns() -> frozenset[str]:
    """The columns that suppliers are asked for, by the platform's own contracts."""
    return frozenset(
        field.column.lower()
        for dataset in load_codebook().datasets.values()
        if dataset.level != "reference"
        for field in dataset.fields
    )


@cache
def _words() -> frozenset[str]:
    """The words that these columns are made of; a letter alone could be an initial."""
    words = (word for column in _columns() for word in _WORD.findall(column))
    return frozenset(word for word in words if len(word) > 1) - _FORENAMES
