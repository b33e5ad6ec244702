"""The rules of Table B: read, overlaid, refused when they make no sense."""

from __future__ import annotations

import pytest

from rcs_assets.errors import ConfigurationError
from rcs_assets.wellbeing.estimators import load_estimators


def test_defaults_are_those_of_policy():
    rules = load_estimators()
    assert rules.schools_for_clusters == 15
    assert rules.design_effect_step == 0.1
    counts = ("total", "stage", "sex", "stage:sex")
    assert rules.breakdowns["school"] == rules.breakdowns["cluster"] == counts
    assert rules.breakdowns["tranche"] == rules.breakdowns["all"] == (*counts, "simd_quintile")
    own_records = ("looked_after", "ethnicity", "asn")
    assert rules.breakdowns["cpp"] == (*rules.breakdowns["all"], *own_records)
    assert rules.cluster_surveys == ("primary",)


def test_an_overlay_replaces_single_keys(tmp_path):
    (tmp_path / "estimators.yaml").write_text("schools_for_clusters: 20\n", encoding="utf-8")
    rules = load_estimators(tmp_path)
    assert rules.schools_for_clusters == 20
    assert rules.confidence == load_estimators().confidence


@pytest.mark.parametrize(
    "text",
    [
        "unknown: 1\n",
        "confidence: 95\n",
        "breakdowns: [sex]\n",
        "breakdowns: {cpp: [total]}\n",
        "- a list\n",
    ],
)
def test_an_overlay_that_makes_no_sense_is_refused(tmp_path, text):
    (tmp_path / "estimators.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"estimators\.yaml"):
        load_estimators(tmp_path)
