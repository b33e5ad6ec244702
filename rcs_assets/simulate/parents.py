"""The parent survey: a quota sample of parents of children aged 0 to 8.

Belongs here: interviews in the shape of other survey submissions, the SDQ in the form of the
child's age among them. Does not belong here: anything that links a parent to a pupil: there is no
such link (domain.md 1.10).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook
from rcs_assets.programme import SurveyWave
from rcs_assets.simulate import defects
from rcs_assets.simulate.answers import (
    ROUTED_PAST,
    Codes,
    Model,
    decline,
    draw_answers,
    leave_out,
    route,
)
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Ints, stream
from rcs_assets.simulate.surveys import Submissions, days_since_1970

# Quota of 400-500 a CPP (domain.md 1.10).
DEFAULT_TARGET_N = 450
# Quota cells are set by the interviewer, never declined.
QUOTA = ("child_age", "child_sex", "simd_quintile")


def make_interviews(
    wave: SurveyWave,
    codebook: Codebook,
    simd_mix: Ints,
    seed: int,
    model: Model,
    planted: Planted | None,
) -> Submissions:
    """Interviews of one engagement.

    Args:
        wave: the parent survey's wave.
        codebook: its variables.
        simd_mix: (5,) weights of the quintiles of the area.
        seed: of all draws.
        model: of the answers.
        planted: book of planted defects, or None: then no question is left out.
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
    if planted is not None:
        answers, _ = leave_out(answers, _asked_of_all(codebook), "parent", own_seed)
    # The quota sets the child's age, and the age which form of the SDQ is asked (domain.md 12).
    answers |= _quota(rng, quintile, answers)
    answers = route(answers, codebook, "parent")
    days = rng.integers(0, (wave.fieldwork_end - wave.fieldwork_start).days, n)
    if planted is not None:
        _answer_other_form(answers, codebook, wave.engagement, seed, planted)
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


def _answer_other_form(
    answers: dict[str, Codes], codebook: Codebook, engagement: str, seed: int, planted: Planted
) -> None:
    """A few interviews hold an answer to a question that the child's age passes by."""
    routed = [v.name for v in codebook.variables_of("parent") if v.routing and v.name in answers]
    rng = stream(seed, "parents of another form", engagement)
    for name in rng.permutation(routed)[: defects.OTHER_FORM_N].tolist():
        row = int(rng.choice(np.flatnonzero(answers[name] == ROUTED_PAST)))
        values = codebook.value_sets[codebook.variables[name].value_set].values
        answers[name][row] = min(values)
        planted.add(engagement, "parent_survey", f"routing_violation:{name}", 1)


def _asked_of_all(codebook: Codebook) -> Codebook:
    """Parents have no stage: every question of their survey is asked."""
    variables = {
        name: replace(variable, stages=("",)) if variable.surveys == ("parent",) else variable
        for name, variable in codebook.variables.items()
    }
    return replace(codebook, variables=variables)
