"""What a dbt test expects, as a sentence.

Belongs here: one sentence a kind of test, filled from the test's own arguments. Does not belong
here: the tests (dbt_project), running them (`dbt_build.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SENTENCES = {
    "not_null": "{column_name} is never empty",
    "unique": "No two rows have the same {column_name}",
    "unique_combination": "No two rows have the same {columns}",
    "accepted_values": "{column_name} is one of {values}, or is empty",
    "accepted_range": "{column_name} lies between {minimum} and {maximum}, or is empty",
    "relationships": "Each {column_name} stands in {to}, column {field}",
    "holds_same_records_as": "The records are exactly those of {other}",
    "answers_in_codebook": "Each answer has a code of its question, or a missing code",
    "scores_in_range": "No score lies outside the range of its scale in the codebook",
    "indicators_in_range": "No indicator lies outside its range in the codebook: a percentage is "
    "0 or 1, a mean within its scale",
}


def sentence(test: Mapping[str, Any]) -> str:
    """What must hold, of a test of the manifest.

    Args:
        test: its node; a test of ours says that each kind in use has its sentence.
    """
    kind, given = test["test_metadata"]["name"], test["test_metadata"]["kwargs"]
    words = {name: _words(value) for name, value in given.items()}
    told = _SENTENCES[kind].format(**words)
    if "other_where" in words:
        told += f" where {words['other_where']}"
    where = test["config"].get("where")
    return f"{told} (rows where {where})" if where else told


def _words(value: object) -> str:
    """Lists with commas; tables by their names in the warehouse."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    named = re.fullmatch(r"(?:source\('(\w+)', '(\w+)'\)|ref\('(\w+?)__(\w+)'\))", str(value))
    return ".".join(part for part in named.groups() if part) if named else str(value)
