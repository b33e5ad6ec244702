"""Need as the simulator sees it: from the answers, or drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rcs_assets.simulate.answers import Codes, load_model
from rcs_assets.simulate.need import HIGH_NEED, NO_NEED, SOME_NEED, need_levels
from rcs_assets.simulate.surveys import Submissions

# Items of the two scales that speak (data/scales.yaml); item 7 is reversed.
EMOTIONAL = (3, 8, 13, 16, 24)
CONDUCT = (5, 7, 12, 18, 22)


def answers(emotional: list[int], conduct: list[int]) -> dict[str, Codes]:
    """Answers that give one emotional and one conduct score a pupil, all other items 0."""
    found = {f"sdq_{item}": np.zeros(len(emotional), dtype=np.int8) for item in range(1, 26)}
    for wanted, items in ((emotional, EMOTIONAL), (conduct, CONDUCT)):
        left = np.array(wanted, dtype=np.int8)
        for item in items:
            part = np.minimum(left, 2)
            found[f"sdq_{item}"] = 2 - part if item == 7 else part
            left = left - part
    return found


def submitted(person: list[int], kind: list[str], codes: dict[str, Codes]) -> Submissions:
    rows = pd.DataFrame({"person": person, "kind": kind, "engagement": "t1-test"})
    return Submissions(rows, codes, np.full(len(person), "", dtype=object))


def test_the_worse_of_both_scores_speaks() -> None:
    codes = answers([0, 4, 5, 7, 0, 0, 0], [0, 0, 0, 0, 3, 4, 6])
    survey = submitted(list(range(7)), ["answer"] * 7, codes)
    people = pd.DataFrame({"person_id": range(7)})
    levels = need_levels(people, {"secondary": survey}, load_model(), 1)
    assert levels.tolist() == [
        NO_NEED, NO_NEED, SOME_NEED, HIGH_NEED, NO_NEED, SOME_NEED, HIGH_NEED,
    ]  # fmt: skip


def test_refusals_and_strangers_do_not_speak() -> None:
    codes = answers([10, 10], [10, 10])
    survey = submitted([0, -1], ["refusal", "not_on_sample"], codes)
    people = pd.DataFrame({"person_id": range(4_000)})
    alone = need_levels(people, {}, load_model(), 1)
    assert (need_levels(people, {"secondary": survey}, load_model(), 1) == alone).all()
    shares = np.bincount(alone, minlength=3) / len(alone)
    assert 0.55 < shares[NO_NEED] < 0.7
    assert 0.12 < shares[HIGH_NEED] < 0.22
