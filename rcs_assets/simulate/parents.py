"""The parent survey: a quota sample of parents of children aged 0 to 8.

Belongs here: interviews in the shape of other survey submissions. Does not belong here:
anything that links a parent to a pupil: there is no such link (domain.md 1.10).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook
from rcs_assets.programme import SurveyWave
from rcs_assets.simulate.answers import Codes, Model, decline, draw_answers, leave_out
from rcs_assets.simulate.draws import Ints, stream
from rcs_assets.simulate.surveys import Submissions, days_since_1970

# Quota of 400-500 a CPP (domain.md 1.10).
DEFAULT_TARGET_N = 450
# Quota cells are set by the interviewer, never declined.
QUOTA = ("child_age", "child_sex", "simd_quintile")


def make_interviews(
    wave: SurveyWave, codebook: Codebook, simd_mix: Ints, seed: int, model: Model, clean: bool
) -> Submissions:
    """Interviews of one engagement.

    Args:
        wave: the parent survey's wave.
        codebook: its variables.
        simd_mix: (5,) weights of the quintiles of the area.
        seed: of all draws.
        model: of the answers.
        clean: no question is left out.
    """
    rng = stream(seed, "parents", wave.engagement)
    n = int((wave.target_n or DEFAULT_TARGET_N) * rng.uniform(0.95, 1.05))
    quintile = rng.choice(np.arange(1, 6), size=n, p=simd_mix / simd_mix.sum())
    people = pd.DataFrame(
        {
            "engagement": wave.engagement,
            "school": np.zeros(n, dtype=np.int64),
            "stage": "",
            "sex": "",
            "quintile": quintile,
        }
    )
    own_seed = int(rng.integers(0, 2**31))
    answers = draw_answers(people, _asked_of_all(codebook), "parent", own_seed, model)
    answers = decline(answers, codebook, "parent", own_seed)
    if not clean:
        answers, _ = leave_out(answers, _asked_of_all(codebook), "parent", own_seed)
    answers |= _quota(rng, quintile, answers)
    days = rng.integers(0, (wave.fieldwork_end - wave.fieldwork_start).days, n)
    rows = pd.DataFrame(
        {
            "person": -1,
            "engagement": wave.engagement,
            "uid": [f"PA{k:06d}" for k in range(1, n + 1)],
            "completed_on": np.sort(days) + days_since_1970(wave.fieldwork_start),
            "take_part": True,
            "kind": "answer",
        }
    )
    return Submissions(rows, answers, np.full(n, "", dtype=object))


def _quota(rng: np.random.Generator, quintile: Ints, answers: dict[str, Codes]) -> dict[str, Codes]:
    n = len(quintile)
    cells = {
        "child_age": (np.arange(n) % 9).astype(np.int8),
        "child_sex": rng.integers(1, 3, n).astype(np.int8),
        "simd_quintile": quintile.astype(np.int8),
    }
    return {name: codes for name, codes in cells.items() if name in answers}


def _asked_of_all(codebook: Codebook) -> Codebook:
    """Parents have no stage: every question of their survey is asked."""
    variables = {
        name: replace(variable, stages=("",)) if variable.surveys == ("parent",) else variable
        for name, variable in codebook.variables.items()
    }
    return replace(codebook, variables=variables)
