"""The answers: latent scores, ordinal thresholds, routing, and questions left out.

Belongs here: complete, coherent answers in the codebook's codes, then missing answers.
Does not belong here: suppliers' names and codes (`surveys.py`), planted defects
(`defects.py`), scoring (`truth.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rcs_assets.codebook import Codebook, Variable
from rcs_assets.programme.datafile import read_keys
from rcs_assets.simulate.calibrate import (
    ItemModel,
    cuts_of,
    event_response,
    mean_response,
    score_distribution,
    solve_shifts,
    stage_sex_targets,
)
from rcs_assets.simulate.draws import Bools, Floats, Ints, Texts, stream

DATA = Path(__file__).parent / "data"
Codes = NDArray[np.int8]
PREFER_NOT, DONT_KNOW, DOES_NOT_APPLY = -1, -2, -3
NOT_COLLECTED, NOT_ASKED, ROUTED_PAST, NOT_ANSWERED = -4, -5, -6, -9
# A module of one stage at the end of its questionnaire: who breaks off does so before it, and a
# copy that was cut short has none of it.
LAST_THEME = "substance_use"
# Chances of an answer that is none [DES]; the skipping of a pupil varies around his survey's.
PREFER_NOT_SHARE, PREFER_NOT_SENSITIVE_SHARE = 0.02, 0.035
SKIP_SHARE = 0.011
BREAK_OFF_SHARE = 0.025
# "Does not apply to me" is an option of these questions: shares [DES].
DOES_NOT_APPLY_SHARES = {
    "easy_to_talk_to_siblings": 0.12,
    "easy_to_talk_to_dad": 0.07,
    "easy_to_talk_to_counsellor": 0.55,
    "easy_to_talk_to_youth_worker": 0.5,
    "easy_to_talk_to_social_worker": 0.65,
    "easy_to_talk_to_club_leader": 0.3,
    "easy_to_talk_to_neighbours": 0.1,
}
# Instruments are answered in one grid: nobody says "prefer not to say" there.
GRID_PREFIXES = (
    "sdq_",
    "parent_sdq_",
    "wemwbs_",
    "life_1",
    "life_2",
    "life_3",
    "life_4",
    "life_5",
)


@dataclass(frozen=True)
class AnswerRow:
    """How one variable is drawn in some stages (data/answers.csv)."""

    stages: frozenset[str]
    factor: str
    loading: float
    pct: Floats


@dataclass(frozen=True)
class Model:
    """data/scales.yaml and data/answers.csv."""

    scales: Mapping[str, Mapping[str, Any]]
    factors: Mapping[str, Mapping[str, float]]
    shifts: Mapping[str, Mapping[str, float]]
    school_variance: float
    cpp_variance: float
    rows: Mapping[str, tuple[AnswerRow, ...]]


def load_model() -> Model:
    """The answer model."""
    content = read_keys("rcs_assets/simulate/data/scales.yaml", DATA / "scales.yaml")
    rows: dict[str, list[AnswerRow]] = {}
    with (DATA / "answers.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["variable"], []).append(
                AnswerRow(
                    stages=frozenset(filter(None, row["stages"].split(";"))),
                    factor=row["factor"],
                    loading=float(row["loading"]),
                    pct=np.array([float(p) for p in row["pct"].split("/")]),
                )
            )
    scales = {
        name: value
        for name, value in content.items()
        if isinstance(value, dict) and "items" in value
    }
    return Model(
        scales=scales,
        factors=content["factors"],
        shifts=content["shifts"],
        school_variance=float(content["school_variance"]),
        cpp_variance=float(content["cpp_variance"]),
        rows={name: tuple(value) for name, value in rows.items()},
    )


def scale_items(scale: Mapping[str, Any]) -> list[str]:
    """Variable names of a scale's items."""
    return [f"{scale['prefix']}{item}" for item in scale["items"]]


def draw_answers(
    people: pd.DataFrame, codebook: Codebook, survey: str, seed: int, model: Model
) -> dict[str, Codes]:
    """Answers of the respondents of one survey, in the codebook's codes.

    Args:
        people: one row a respondent: engagement, school, stage, sex, quintile.
        codebook: variables, value sets, stages, routing.
        survey: primary or secondary.
        seed: of all draws.
        model: marginals, loadings, targets.

    Returns:
        variable → (respondents,) codes; -5 where the stage is not asked, -6 where routing
        passes the question by. Nothing is skipped yet (`leave_out`).
    """
    factors = _factors(people, codebook, survey, seed, model)
    stages = people["stage"].to_numpy(dtype=object)
    answers: dict[str, Codes] = {}
    for variable in codebook.variables_of(survey):
        codes = np.array(sorted(codebook.value_sets[variable.value_set].values), dtype=np.int8)
        rng = stream(seed, "answers", survey, variable.name)
        index = _option(rng, stages, factors, model.rows.get(variable.name, ()), len(codes))
        answers[variable.name] = np.where(np.isin(stages, variable.stages), codes[index], NOT_ASKED)
    return answers


def decline(
    answers: dict[str, Codes], codebook: Codebook, survey: str, seed: int
) -> dict[str, Codes]:
    """Let some say "prefer not to say" or "does not apply", where a question offers it."""
    declined = {}
    for variable in codebook.variables_of(survey):
        rng = stream(seed, "decline", survey, variable.name)
        point = rng.random(len(answers[variable.name]))
        apart = DOES_NOT_APPLY_SHARES.get(variable.name, 0.0)
        share = _prefer_not_share(variable)
        code = np.where(point < apart, DOES_NOT_APPLY, PREFER_NOT).astype(np.int8)
        asked = answers[variable.name] >= 0
        declined[variable.name] = np.where(
            asked & (point < apart + share), code, answers[variable.name]
        )
    return declined


def route(answers: dict[str, Codes], codebook: Codebook, survey: str) -> dict[str, Codes]:
    """Pass questions by whose condition is not met; conditions may chain."""
    routed = dict(answers)
    for variable in codebook.variables_of(survey):
        if variable.routing is None or variable.routing.variable not in routed:
            continue
        own = routed[variable.name]
        met = np.isin(routed[variable.routing.variable], list(variable.routing.codes))
        routed[variable.name] = np.where((own != NOT_ASKED) & ~met, ROUTED_PAST, own)
    return routed


def leave_out(
    answers: dict[str, Codes], codebook: Codebook, survey: str, seed: int
) -> tuple[dict[str, Codes], Ints]:
    """Skip questions and break off.

    Returns:
        Answers with -9 where skipped, and for each respondent the number of the first
        question not reached (the number of questions where he finished).
    """
    variables = codebook.variables_of(survey)
    n = len(answers[variables[0].name])
    main_n = len(main_questions(codebook, survey))
    rng = stream(seed, "leave-out", survey)
    habit = SKIP_SHARE * np.exp(rng.normal(-0.5, 1.0, n))
    stops = rng.random(n) < BREAK_OFF_SHARE
    reached = np.where(stops, rng.integers(5, main_n, n), len(variables))
    left = {}
    for position, variable in enumerate(variables):
        own = answers[variable.name]
        asked = ~np.isin(own, (NOT_COLLECTED, NOT_ASKED, ROUTED_PAST))
        skips = (rng.random(n) < habit) | (position >= reached)
        left[variable.name] = np.where(asked & skips, NOT_ANSWERED, own).astype(np.int8)
    return left, reached


def main_questions(codebook: Codebook, survey: str) -> list[str]:
    """The questions of a survey without the module at its end."""
    return [v.name for v in codebook.variables_of(survey) if v.theme != LAST_THEME]


def _factors(
    people: pd.DataFrame, codebook: Codebook, survey: str, seed: int, model: Model
) -> dict[str, Floats]:
    """Latent scores: correlated factors with group shifts, SIMD slopes, school effects."""
    n = len(people)
    rng = stream(seed, "factors", survey)
    general, externalising = rng.normal(size=(2, n))
    school = people["school"].to_numpy()
    cpp = pd.factorize(people["engagement"], sort=True)[0]
    mix = np.bincount(people["quintile"] - 1, minlength=5) / max(n, 1)
    within = np.sqrt(1.0 - model.school_variance - model.cpp_variance)
    latent: dict[str, Floats] = {}
    for name, share in model.factors.items():
        a, b = share["general"], share["externalising"]
        own = a * general + b * externalising + np.sqrt(1 - a * a - b * b) * rng.normal(size=n)
        between = rng.normal(0.0, np.sqrt(model.school_variance), int(school.max(initial=0)) + 1)
        areas = rng.normal(0.0, np.sqrt(model.cpp_variance), int(cpp.max(initial=0)) + 1)
        shared = between[school] + areas[cpp]
        # Centred, so that few schools do not move the level that is calibrated.
        latent[name] = within * own + shared - shared.mean()
    shifted = {
        name: latent[name] + _plain_shift(people, shift) for name, shift in model.shifts.items()
    }
    latent |= shifted
    for scale in model.scales.values():
        if scale["target"] is not None and _is_asked(scale, codebook, survey):
            latent[scale["factor"]] = latent[scale["factor"]] + _solved_shift(
                people, scale, codebook, model, mix
            )
    return latent


def _is_asked(scale: Mapping[str, Any], codebook: Codebook, survey: str) -> bool:
    return all(
        name in codebook.variables and survey in codebook.variables[name].surveys
        for name in scale_items(scale)
    )


def _plain_shift(people: pd.DataFrame, shift: Mapping[str, float]) -> Floats:
    by_stage = people["stage"].map(shift).fillna(0.0).to_numpy(dtype=np.float64)
    by_sex = people["sex"].map(shift).fillna(0.0).to_numpy(dtype=np.float64)
    by_simd: Floats = shift["simd"] * (3.0 - people["quintile"].to_numpy()) / 4.0
    total: Floats = by_stage + by_sex + by_simd
    return total


def _solved_shift(
    people: pd.DataFrame,
    scale: Mapping[str, Any],
    codebook: Codebook,
    model: Model,
    mix: Floats,
) -> Floats:
    """Shift of each respondent so that the scale's targets hold."""
    names = scale_items(scale)
    items = [ItemModel(row.loading, cuts_of(row.pct)) for row in (model.rows[n][0] for n in names)]
    flags = [item in scale["reversed"] for item in scale["items"]]
    distribution = score_distribution(items, flags)
    raw = np.arange(distribution.shape[1]) + scale["minimum"] * len(names)
    response, unit = _response(distribution, raw, scale, codebook)
    cells = stage_sex_targets({sex: scale["target"][sex] for sex in ("F", "M")})
    targets = np.array(list(cells.values())) * unit
    shifts, slope = solve_shifts(response, targets, mix, scale["simd_gap_pct"] * unit)
    by_cell = dict(zip(cells, shifts.tolist(), strict=True))
    pairs = pd.MultiIndex.from_arrays([people["stage"], people["sex"]])
    known = pd.Series(by_cell).reindex(pairs).fillna(0.0).to_numpy()
    total: Floats = known + slope * (3.0 - people["quintile"].to_numpy())
    return total


def _response(
    distribution: Floats, raw: Ints, scale: Mapping[str, Any], codebook: Codebook
) -> tuple[Floats, float]:
    """What the target speaks of at each shift, and the unit of the target (1 or 1/100)."""
    target = scale["target"]
    if target["kind"] == "mean":
        return mean_response(distribution, raw), 1.0
    if target["kind"] == "at_least":
        return event_response(distribution, raw >= target["cut"]), 0.01
    cut = codebook.cutoff_sets[target["cutoff_set"]].cut
    return event_response(distribution, raw / len(scale["items"]) < cut), 0.01


def _option(
    rng: np.random.Generator,
    stages: Texts,
    factors: Mapping[str, Floats],
    rows: tuple[AnswerRow, ...],
    options_n: int,
) -> Ints:
    """Index of the chosen option of each respondent."""
    noise = rng.normal(size=len(stages))
    if not rows:
        # A variable that an adopter added: an even spread of its options.
        even: Ints = (cuts_of(np.ones(options_n))[None, :] < noise[:, None]).sum(axis=1)
        return even
    index = np.zeros(len(stages), dtype=np.int64)
    for row in rows:
        here: Bools = (
            np.isin(stages, list(row.stages)) if row.stages else np.ones(len(stages), bool)
        )
        value = row.loading * factors[row.factor] + np.sqrt(1 - row.loading**2) * noise
        chosen = (cuts_of(row.pct)[None, :] < value[:, None]).sum(axis=1)
        index = np.where(here, chosen, index)
    return index


def _prefer_not_share(variable: Variable) -> float:
    if variable.name.startswith(GRID_PREFIXES):
        return 0.0
    return PREFER_NOT_SENSITIVE_SHARE if variable.is_sensitive else PREFER_NOT_SHARE
