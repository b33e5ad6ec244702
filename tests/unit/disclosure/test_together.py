"""Parts of the policy lie in several rooms; two that contradict each other are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.together import load_parts
from rcs_assets.errors import ConfigurationError

CODEBOOK = load_codebook()
BREAKDOWNS = {
    "school": ["total", "stage", "sex", "stage:sex"],
    "cluster": ["total", "stage", "sex", "stage:sex"],
    "cpp": ["total", "sex"],
    "tranche": ["total", "sex"],
    "all": ["total", "sex"],
}


def test_the_platforms_own_parts_fit_together() -> None:
    assert load_parts(CODEBOOK).policy.changed_least == 10


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("estimators.yaml", {"confidence": 0.9}, "intervals of 0.9, released ones are of 0.95"),
        ("reach.yaml", {"design_effect_step": 0.5}, "rounds design effects to 0.5"),
        ("estimators.yaml", {"breakdowns": BREAKDOWNS}, "estimators.yaml does not make it"),
        ("policy.yaml", {"clusters": {"surveys": ["secondary"]}}, "other surveys for clusters"),
        ("policy.yaml", {"reach": {"base": 25}}, "shows need low_mood from 25 pupils"),
        ("policy.yaml", {"microdata": {"stage_bands": {"S3-S4": ["S3", "S4"]}}}, "no band for it"),
        ("policy.yaml", {"linked_indicators": [
            {"name": "new", "kind": "sum", "indicators": ["unheard_of", "of_nothing"]},
        ]}, "names unheard_of, which the codebook does not have"),
    ],
)  # fmt: skip
def test_two_rooms_that_disagree_are_refused(
    tmp_path: Path, file: str, content: dict, words: str
) -> None:
    (tmp_path / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=words):
        load_parts(CODEBOOK, tmp_path)
