"""Who answers: response by stage, sex, deprivation and school.

Belongs here: the chance of a response and its draw. Does not belong here: the answers,
and refusals or double submissions (`defects.py`).
Source of the level: domain.md 1.2 and 12 (about 73 %); the differences are [DES].
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit

from rcs_assets.simulate.draws import Bools, Floats, stream
from rcs_assets.simulate.places import Places

RESPONSE_SHARE = 0.73
STAGE_EFFECT = {
    "P4": 0.2,
    "P5": 0.25,
    "P6": 0.25,
    "P7": 0.2,
    "S1": 0.1,
    "S2": 0.0,
    "S3": -0.2,
    "S4": -0.45,
}
BOY_EFFECT = -0.12
SIMD_STEP = 0.1
SCHOOL_SD = 0.4
# Respondents that the two role schools of the small scale are held to.
ROLE_BOUNDS = {"under_10": (3, 8), "under_20": (13, 16)}


def draw_response(people: pd.DataFrame, places: Places, seed: int) -> Bools:
    """True for each pupil who answers the survey of his school.

    The role schools of the small scale get a number of respondents inside ROLE_BOUNDS.
    """
    rng = stream(seed, "response")
    school_effect = rng.normal(0.0, SCHOOL_SD, len(places.schools))
    linear = (
        people["stage"].map(STAGE_EFFECT).fillna(0.0).to_numpy(dtype=np.float64)
        + BOY_EFFECT * (people["sex"] == "M").to_numpy()
        + SIMD_STEP * (people["quintile"].to_numpy() - 3)
        + school_effect[people["school"].to_numpy()]
    )
    chance = expit(linear + _level(linear))
    point = rng.random(len(people))
    answered: Bools = point < chance
    for index, role in enumerate(places.schools["role"]):
        if role in ROLE_BOUNDS:
            own = np.flatnonzero(people["school"].to_numpy() == index)
            wanted = int(np.clip(answered[own].sum(), *ROLE_BOUNDS[role]))
            answered[own] = np.argsort(np.argsort(point[own] - chance[own])) < wanted
    return answered


def _level(linear: Floats) -> float:
    """The constant at which the mean chance is RESPONSE_SHARE."""
    low, high = -5.0, 5.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if expit(linear + middle).mean() < RESPONSE_SHARE else (low, middle)
        )
    return (low + high) / 2
