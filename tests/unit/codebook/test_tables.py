"""The codebook as tables.

Belongs here: tests of `rcs_assets.codebook.tables`. Does not belong here: what dbt makes
of them.
"""

from __future__ import annotations

from typing import Any

import pytest

from rcs_assets.codebook import codebook_tables, load_codebook

GRAINS = {
    "variables": ("name",),
    "variable_stages": ("name", "survey", "stage"),
    "routing": ("variable",),
    "missing_codes": ("code",),
    "value_labels": ("value_set", "code"),
    "scale_items": ("scale", "variable"),
    "scales": ("scale",),
    "composites": ("composite", "scale"),
    "bands": ("score", "bands", "number"),
    "conversions": ("conversion", "raw"),
    "cutoff_sets": ("name",),
    "indicators": ("name",),
    "instrument_surveys": ("instrument", "survey", "stage"),
}


@pytest.fixture(scope="module")
def tables() -> dict[str, list[dict[str, Any]]]:
    """Every table as rows."""
    return {name: t.to_pylist() for name, t in codebook_tables(load_codebook()).items()}


def test_every_table_has_a_grain(tables: dict[str, list[dict[str, Any]]]) -> None:
    assert set(tables) == set(GRAINS)
    for name, columns in GRAINS.items():
        keys = [tuple(row[column] for column in columns) for row in tables[name]]
        assert len(set(keys)) == len(keys) > 0, name


def test_positions_follow_the_codebook(tables: dict[str, list[dict[str, Any]]]) -> None:
    codebook = load_codebook()
    for name, expected in (("variables", codebook.variables), ("indicators", codebook.indicators)):
        ordered = sorted(tables[name], key=lambda row: row["position"])
        assert [row["name"] for row in ordered] == list(expected)


def test_indicator_rules_are_flat(tables: dict[str, list[dict[str, Any]]]) -> None:
    rows = {row["name"]: row for row in tables["indicators"]}
    emotional = rows["secondary_sdq_very_high_emotional"]
    assert emotional["rule"] == "score_range"
    assert (emotional["score"], emotional["lower"], emotional["upper"]) == ("sdq_emotional", 7, 10)
    fruit = rows["primary_fruit_and_veg"]
    assert fruit["variables"] == ["frequency_fruit", "frequency_vegetables"]
    assert fruit["positive_codes"] == [5]
    assert rows["primary_low_mood"]["cutoff_set"] == "low_mood"


def test_stages_belong_to_their_survey(tables: dict[str, list[dict[str, Any]]]) -> None:
    first = {"primary": "P", "secondary": "S", "parent": "a"}
    for row in tables["variable_stages"] + tables["instrument_surveys"]:
        assert row["stage"].startswith(first[row["survey"]])


def test_scales_carry_what_scoring_needs(tables: dict[str, list[dict[str, Any]]]) -> None:
    scales = {row["scale"]: row for row in tables["scales"]}
    assert scales["sdq_peer"]["method"] == "prorated_sum"
    assert scales["sdq_peer"]["items_n"] == 5
    assert scales["swemwbs_raw"]["conversion"] == "swemwbs"
    assert scales["swemwbs_raw"]["metric_name"] == "swemwbs_metric"
