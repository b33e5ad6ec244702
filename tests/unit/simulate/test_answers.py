"""Answers at real size: published levels, routing, stages, missing answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rcs_assets.codebook import Codebook
from rcs_assets.simulate.answers import (
    NOT_ANSWERED,
    NOT_ASKED,
    ROUTED_PAST,
    Codes,
    decline,
    draw_answers,
    leave_out,
    load_model,
    route,
)
from rcs_assets.simulate.calibrate import (
    SHIFTS,
    ItemModel,
    cuts_of,
    event_response,
    score_distribution,
    solve_shifts,
)
from rcs_assets.simulate.places import Places
from rcs_assets.simulate.response import draw_response
from rcs_assets.simulate.truth import score_answers

SEED = 2026


@pytest.fixture(scope="module")
def respondents(people: pd.DataFrame, places: Places) -> pd.DataFrame:
    return people[draw_response(people, places, SEED)].reset_index(drop=True)


def _survey(
    respondents: pd.DataFrame, codebook: Codebook, survey: str
) -> tuple[pd.DataFrame, dict[str, Codes]]:
    own = respondents[respondents["survey"] == survey].reset_index(drop=True)
    answers = draw_answers(own, codebook, survey, SEED, load_model())
    return own, route(decline(answers, codebook, survey, SEED), codebook, survey)


@pytest.fixture(scope="module")
def secondary(
    respondents: pd.DataFrame, codebook: Codebook
) -> tuple[pd.DataFrame, dict[str, Codes]]:
    return _survey(respondents, codebook, "secondary")


@pytest.fixture(scope="module")
def primary(respondents: pd.DataFrame, codebook: Codebook) -> tuple[pd.DataFrame, dict[str, Codes]]:
    return _survey(respondents, codebook, "primary")


def _pct(values: np.ndarray | pd.Series) -> float:
    return 100 * float(np.mean(values))


def test_about_73_percent_respond_fewer_in_s4_and_in_deprived_areas(
    people: pd.DataFrame, places: Places
) -> None:
    answered = draw_response(people, places, SEED)
    assert _pct(answered) == pytest.approx(73, abs=1)
    stage = people["stage"].to_numpy()
    quintile = people["quintile"].to_numpy()
    assert _pct(answered[stage == "S4"]) < _pct(answered[stage == "P5"]) - 5
    assert _pct(answered[quintile == 1]) < _pct(answered[quintile == 5]) - 3
    by_school = pd.Series(answered).groupby(people["school"]).mean()
    assert by_school.std() > 0.05


def test_very_high_emotional_problems_are_as_published(
    secondary: tuple[pd.DataFrame, dict[str, Codes]],
) -> None:
    people, answers = secondary
    very_high = score_answers(answers, load_model())["sdq_emotional"] >= 7
    assert _pct(very_high) == pytest.approx(17, abs=1)
    targets = load_model().scales["sdq_emotional"]["target"]
    rates = pd.Series(very_high).groupby([people["sex"], people["stage"]]).mean() * 100
    for sex, stage in rates.index:
        assert rates[sex, stage] == pytest.approx(targets[sex][stage], abs=2.5)
    by_simd = pd.Series(very_high).groupby(people["quintile"]).mean() * 100
    assert by_simd[1] - by_simd[5] == pytest.approx(4, abs=1.5)


def test_sdq_total_and_wellbeing_are_as_published(
    secondary: tuple[pd.DataFrame, dict[str, Codes]],
) -> None:
    scores = score_answers(secondary[1], load_model())
    total, wellbeing = scores["sdq_total"], scores["wemwbs_total"]
    assert _pct(total <= 15) == pytest.approx(69, abs=2)
    assert _pct((total >= 16) & (total <= 19)) == pytest.approx(16, abs=1.5)
    assert _pct(total >= 20) == pytest.approx(15, abs=1.5)
    valid = ~np.isnan(wellbeing)
    assert wellbeing[valid].mean() == pytest.approx(48.4, abs=0.5)
    assert 6.8 <= wellbeing[valid].std() <= 8.2
    assert -0.55 < np.corrcoef(wellbeing[valid], total[valid])[0, 1] < -0.44


def test_low_mood_is_22_percent_at_the_frozen_cut_and_highest_in_p5(
    primary: tuple[pd.DataFrame, dict[str, Codes]], codebook: Codebook
) -> None:
    people, answers = primary
    mood = score_answers(answers, load_model())["mood_score"]
    valid = ~np.isnan(mood)
    low = pd.Series(mood[valid] < codebook.cutoff_sets["low_mood"].cut)
    assert _pct(low) == pytest.approx(22, abs=1)
    by_stage = low.groupby(people["stage"].to_numpy()[valid]).mean()
    assert by_stage["P5"] > by_stage["P6"] > by_stage["P7"]


@pytest.mark.parametrize(
    ("variable", "codes", "s2", "s4"),
    [
        ("frequency_smoking", (2, 3), 2, 7),
        ("alcohol_ever", (1,), 36, 71),
        ("drank_last_week", (1,), 6, 20),
        ("drugs_ever", (1,), 6, 21),
        ("drugs_offered", (1,), 22, 47),
    ],
)
def test_substances_are_as_published_by_stage(
    secondary: tuple[pd.DataFrame, dict[str, Codes]],
    variable: str,
    codes: tuple[int, ...],
    s2: float,
    s4: float,
) -> None:
    people, answers = secondary
    own, stage = answers[variable], people["stage"].to_numpy()
    for name, target in (("S2", s2), ("S4", s4)):
        asked = (stage == name) & (own >= 0)
        assert _pct(np.isin(own[asked], codes)) == pytest.approx(target, abs=2)


def test_schools_differ_a_little(secondary: tuple[pd.DataFrame, dict[str, Codes]]) -> None:
    people, answers = secondary
    score = pd.Series(score_answers(answers, load_model())["sdq_emotional"])
    groups = score.groupby(people["school"]).agg(["mean", "size", "var"])
    size = groups["size"].mean()
    between = (groups["size"] * (groups["mean"] - score.mean()) ** 2).sum() / (len(groups) - 1)
    within = ((groups["size"] - 1) * groups["var"]).sum() / (len(score) - len(groups))
    assert 0.005 < (between - within) / (between + (size - 1) * within) < 0.035


def test_stages_and_routing_are_respected(
    secondary: tuple[pd.DataFrame, dict[str, Codes]], codebook: Codebook
) -> None:
    people, answers = secondary
    stage = people["stage"].to_numpy()
    assert set(answers["wemwbs_1"][stage == "S1"]) == {NOT_ASKED}
    assert NOT_ASKED not in set(answers["wemwbs_1"][stage == "S3"])
    asked = answers["bullied_last_year"] != NOT_ASKED
    not_bullied = asked & (answers["bullied_last_year"] != 1)
    assert set(answers["bullying_reported"][not_bullied]) == {ROUTED_PAST}
    assert set(answers["bullying_reported_outcome"][not_bullied]) == {ROUTED_PAST}
    for name, codes in answers.items():
        allowed = set(codebook.value_sets[codebook.variables[name].value_set].values)
        assert {int(code) for code in np.unique(codes) if code >= 0} <= allowed


def test_every_variable_of_the_pupil_surveys_has_a_model(codebook: Codebook) -> None:
    rows = load_model().rows
    for variable in (*codebook.variables_of("primary"), *codebook.variables_of("secondary")):
        options = len(codebook.value_sets[variable.value_set].values)
        assert variable.name in rows
        assert all(len(row.pct) == options for row in rows[variable.name])
        stages = frozenset().union(*(row.stages for row in rows[variable.name]))
        assert not stages or stages >= set(variable.stages)


def test_leaving_out_skips_few_and_keeps_what_was_not_asked(
    primary: tuple[pd.DataFrame, dict[str, Codes]], codebook: Codebook
) -> None:
    answers, reached = leave_out(primary[1], codebook, "primary", SEED)
    before = np.stack(list(primary[1].values()))
    after = np.stack(list(answers.values()))
    assert (after[before == NOT_ASKED] == NOT_ASKED).all()
    assert 1 < _pct(after == NOT_ANSWERED) < 4
    assert (after[(after != NOT_ANSWERED)] == before[(after != NOT_ANSWERED)]).all()
    assert 1.5 < _pct(reached < len(answers)) < 3.5


def test_solver_meets_target_and_gap_exactly() -> None:
    item = ItemModel(0.7, cuts_of(np.array([50.0, 34.0, 16.0])))
    distribution = score_distribution([item] * 5, [False] * 5)
    response = event_response(distribution, np.arange(11) >= 7)
    mix = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    targets = np.array([0.15, 0.34, 0.10])
    shifts, slope = solve_shifts(response, targets, mix, 0.04)
    rate = np.interp(shifts[:, None] + slope * (3.0 - np.arange(1, 6)), SHIFTS, response)
    assert rate @ mix == pytest.approx(targets, abs=1e-6)
    assert (rate[:, 0] - rate[:, 4]).mean() == pytest.approx(0.04, abs=1e-6)


def test_score_distribution_agrees_with_item_probabilities() -> None:
    item = ItemModel(0.6, cuts_of(np.array([20.0, 50.0, 30.0])))
    distribution = score_distribution([item, item], [False, True])
    one = item.probabilities(np.array([0.0]))[0]
    centre = distribution[len(distribution) // 2]
    assert centre.sum() == pytest.approx(1)
    assert centre[0] == pytest.approx(one[0] * one[2])
