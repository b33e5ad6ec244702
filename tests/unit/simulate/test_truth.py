"""The truth's own scoring, against the published vectors of domain.md 1.6 and 1.7."""

from __future__ import annotations

import numpy as np
import pytest

from rcs_assets.simulate.answers import Codes, load_model
from rcs_assets.simulate.truth import score_answers

EMOTIONAL = (3, 8, 13, 16, 24)
CONDUCT = (5, 7, 12, 18, 22)


def _codes(values: list[int]) -> Codes:
    return np.array(values, dtype=np.int8)


def _sdq(rows: list[list[int]], items: tuple[int, ...] = EMOTIONAL) -> dict[str, Codes]:
    """All SDQ items 0, but for `items` by row."""
    answers = {f"sdq_{k}": _codes([0] * len(rows)) for k in range(1, 26)}
    for position, item in enumerate(items):
        answers[f"sdq_{item}"] = _codes([row[position] for row in rows])
    return answers


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([1, 1, 0, 0, -9], 3),  # 2.5, half up
        ([2, 2, 1, -9, -9], 8),  # 8.33
        ([2, 1, 1, -1, -9], 7),  # 6.67
        ([2, 2, 2, 2, 2], 10),
        ([2, 2, -9, -9, -9], None),
    ],
)
def test_prorating_rounds_half_up(answers: list[int], expected: int | None) -> None:
    score = score_answers(_sdq([answers]), load_model())["sdq_emotional"][0]
    assert np.isnan(score) if expected is None else score == expected


def test_item_7_is_reversed() -> None:
    scores = score_answers(_sdq([[0, 2, 0, 0, 0], [0, 0, 0, 0, 0]], CONDUCT), load_model())
    assert scores["sdq_conduct"].tolist() == [0, 2]


def test_total_needs_all_four_scales() -> None:
    scores = score_answers(_sdq([[2, 2, 2, 2, 2], [-9, -9, -9, 0, 0]]), load_model())
    # Unanswered 0 on the reversed items 7, 11, 14, 21 and 25 scores 2 each.
    assert scores["sdq_total"][0] == 10 + 2 + 4 + 4
    assert np.isnan(scores["sdq_total"][1])


def test_wellbeing_needs_every_item_and_converts_the_short_form() -> None:
    answers = {f"wemwbs_{k}": _codes([3, 5, 3]) for k in range(1, 15)}
    answers["wemwbs_4"] = _codes([3, 5, -9])
    scores = score_answers(answers, load_model())
    assert scores["wemwbs_total"][:2].tolist() == [42, 70]
    assert np.isnan(scores["wemwbs_total"][2])
    # Raw 21 of the seven items is 19.25; item 4 is not one of them.
    assert scores["swemwbs_metric"].tolist() == [19.25, 35.0, 19.25]


def test_mood_is_the_mean_with_worries_turned() -> None:
    answers = {"generally_cheerful": _codes([5, 1, 4]), "lots_of_worries": _codes([1, 5, -1])}
    mood = score_answers(answers, load_model())["mood_score"]
    assert mood[:2].tolist() == [5, 1]
    assert np.isnan(mood[2])
