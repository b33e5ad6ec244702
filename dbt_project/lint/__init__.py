"""Examples that stand for the macros while sqlfluff reads the models.

Belongs here: for each macro that a model calls, a small value of the right shape, so
that SQL is linted without a database. Does not belong here: any rule; dbt never reads
this folder, and macros themselves are tested in tests/dbt.
"""

from __future__ import annotations

from typing import Any

_INDICATOR = {"name": "is_example", "variables": ["item_1"], "score": "example_score"}
_SCALE = {"name": "example_score", "items": [{"variable": "item_1"}]}


def engagement_list() -> str:
    """Engagements of the run, as an SQL list."""
    return "('t1-example')"


def survey_variables(*_: Any) -> list[str]:
    """Answer columns."""
    return ["item_1", "item_2"]


def codebook_scales(*_: Any) -> list[dict[str, Any]]:
    """Scales with their items."""
    return [_SCALE]


def scale_inputs(*_: Any) -> list[str]:
    """Two answer columns."""
    return ["sdq_1", "sdq_2"]


def codebook_composites(*_: Any) -> list[dict[str, Any]]:
    """Composites of scales."""
    return []


def codebook_bands(*_: Any) -> list[dict[str, Any]]:
    """Bands of scores."""
    return []


def codebook_conversions(*_: Any) -> dict[str, Any]:
    """Conversion tables."""
    return {}


def codebook_indicators(*_: Any) -> list[dict[str, Any]]:
    """Indicators."""
    return [_INDICATOR]


def codebook_kept_missing(*_: Any) -> list[int]:
    """Missing codes that stay in the denominator."""
    return []


def indicator_inputs(*_: Any) -> dict[str, list[str]]:
    """Columns that the indicators need."""
    return {"variables": ["item_1"], "scores": ["example_score"]}


def indicator_value(*_: Any) -> str:
    """One indicator as an SQL expression."""
    return "item_1"


def scores_query(relation: str, *_: Any) -> str:
    """A query that scores items."""
    return f"select\n        record_id,\n        engagement,\n        survey,\n    from {relation}"


def score_columns(*_: Any) -> str:
    """Columns of scores."""
    return "example_score"


def ethnicity_group(code: str) -> str:
    """An expression over the delivered code."""
    return f"upper({code})"


def has_additional_support_need(types: str, needs: str) -> str:
    """An expression over the delivered types and needs."""
    return f"concat({types}, {needs}) <> ''"


def has_need_type_but_other(types: str) -> str:
    """An expression over the delivered types."""
    return f"coalesce({types}, '') <> '5'"


def has_support_receipt(types: str, needs: str) -> str:
    """An expression over the delivered types and needs."""
    return f"concat({types}, {needs}) <> ''"


def is_receipt(opened_on: str, *_: str) -> str:
    """An expression over the days of a record and of the answer."""
    return f"{opened_on} is not null"


def age_bands() -> list[dict[str, Any]]:
    """Age bands of spend."""
    return [{"name": "0-4", "from": 0, "to": 4}, {"name": "5-11", "from": 5, "to": 11}]
