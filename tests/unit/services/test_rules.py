"""The rules of need × reach: read, laid over, refused."""

from __future__ import annotations

import pytest

from rcs_assets.errors import ConfigurationError
from rcs_assets.services import load_reach_rules


def overlay(folder, text):
    (folder / "reach.yaml").write_text(text, encoding="utf-8")
    return load_reach_rules(folder)


def test_the_platforms_rules_are_those_of_the_policy():
    rules = load_reach_rules()
    assert rules.sensitivity_floor == 0.85
    assert {need.name: need.survey for need in rules.needs} == {
        "low_mood": "primary",
        "emotional_or_conduct": "secondary",
    }
    assert rules.supports["asn_support"].any_of == ("has_asn_support",)
    assert rules.supports["social_work"].dataset == "social_work"


def test_an_overlay_replaces_a_key(tmp_path):
    rules = overlay(tmp_path, "sensitivity_floor: 0.9\n")
    assert rules.sensitivity_floor == 0.9
    assert rules.needs == load_reach_rules().needs


@pytest.mark.parametrize(
    "text",
    [
        "floor: 0.9\n",
        "sensitivity_floor: 1.2\n",
        "confidence: 95\n",
        "breakdowns: [sex]\n",
        "breakdowns: [total, school]\n",
        "supports: {}\n",
        "needs: {x: {title: X, survey: parent, indicators: [], high: [], some: []}}\n",
        "needs: {x: {title: X}}\n",
        "needs: {x: {title: X, survey: primary, indicators: [],"
        " high: [{score: 'a; drop', at_least: 1}], some: [{score: b, at_most: 2}]}}\n",
        "needs: {x: {title: X, survey: primary, indicators: [],"
        " high: [{score: a, at_least: 1, at_most: 3}], some: [{score: b, at_most: 2}]}}\n",
        "- a list\n",
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError):
        overlay(tmp_path, text)


def test_a_support_takes_known_columns_only(tmp_path):
    text = (
        "supports:\n"
        "  asn_support: {title: A, dataset: education, any_of: [has_asn_support]}\n"
        "  any_asn: {title: B, dataset: education, any_of: [free_school_meal]}\n"
        "  social_work: {title: C, dataset: social_work, any_of: [has_social_work]}\n"
    )
    with pytest.raises(ConfigurationError):
        overlay(tmp_path, text)
