"""How much need each pupil reports: what councils' records are drawn to follow.

Belongs here: one level a pupil, from the answers or, for pupils who did not answer, drawn.
Does not belong here: the platform's own need levels (`wellbeing`), the records themselves
(`education.py`, `social_work.py`).
Source of the cut-offs: domain.md 1.3 (very high emotional or conduct problems; low mood).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rcs_assets.simulate.answers import Model
from rcs_assets.simulate.draws import Bools, Floats, Ints, stream
from rcs_assets.simulate.surveys import Submissions
from rcs_assets.simulate.truth import score_answers

NO_NEED, SOME_NEED, HIGH_NEED = 0, 1, 2
# Pupils who did not answer: a little more need than among those who did [DES].
SILENT_SHARES = (0.62, 0.21, 0.17)
# Score → (from here some need, from here high need); mood runs the other way.
CUTS = {"sdq_emotional": (5, 7), "sdq_conduct": (4, 6)}
MOOD_CUTS = (2.5, 2.0)


def need_levels(
    people: pd.DataFrame, surveys: Mapping[str, Submissions], model: Model, seed: int
) -> Ints:
    """The need of each pupil: 0 none, 1 some, 2 high.

    Args:
        people: all pupils.
        surveys: what they submitted.
        model: rules of the scores.
        seed: of the pupils who did not answer.

    Returns:
        (pupils,) levels in the order of `people`.
    """
    rng = stream(seed, "need")
    levels: Ints = np.searchsorted(np.cumsum(SILENT_SHARES)[:-1], rng.random(len(people)))
    for submissions in surveys.values():
        person = submissions.rows["person"].to_numpy(dtype=np.int64)
        answered = (person >= 0) & (submissions.rows["kind"] == "answer").to_numpy()
        own = _levels(score_answers(submissions.answers, model), len(person))
        levels[person[answered]] = own[answered]
    return levels


def _levels(scores: Mapping[str, Floats], n: int) -> Ints:
    some: Bools = np.zeros(n, dtype=bool)
    high: Bools = np.zeros(n, dtype=bool)
    for name, (from_some, from_high) in CUTS.items():
        if name in scores:
            some |= scores[name] >= from_some
            high |= scores[name] >= from_high
    # S1 is asked for its mood too; where there is an SDQ, it speaks.
    if "sdq_emotional" not in scores and "mood_score" in scores:
        some |= scores["mood_score"] <= MOOD_CUTS[0]
        high |= scores["mood_score"] <= MOOD_CUTS[1]
    return np.where(high, HIGH_NEED, np.where(some, SOME_NEED, NO_NEED))
