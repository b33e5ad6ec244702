"""Syntax for SPSS, Stata and R: Stata's is run here word for word, beside a count by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.release.deposit import KEYS
from rcs_assets.release.sav import dta_names
from rcs_assets.release.syntax import SUFFIXES, derived_indicators, write_syntax

CODEBOOK = load_codebook()
SURVEYS = ("primary", "secondary")
RECORDS = 400


def columns(survey: str) -> list[str]:
    return [*KEYS, *(v.name for v in CODEBOOK.variables_of(survey))]


def texts(survey: str) -> dict[str, str]:
    return write_syntax(CODEBOOK, survey, columns(survey), "SIMULATED")


def answers(survey: str) -> dict[str, np.ndarray]:
    """Random codes of every question, a third of them missing for one reason or another."""
    rng = np.random.default_rng(7)
    found = {"stage": rng.choice(["P5", "P6", "P7", "S1", "S2", "S3", "S4", ""], RECORDS)}
    for variable in CODEBOOK.variables_of(survey):
        codes = list(CODEBOOK.value_sets[variable.value_set].values)
        drawn = rng.choice(codes, RECORDS)
        found[variable.name] = np.where(
            rng.random(RECORDS) < 0.15, rng.choice([-9, -8, -7, -5, -1], RECORDS), drawn
        ).astype(float)
    return found


def run_stata(survey: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Carry out `generate NAME = (VALUE) if CONDITION`, as Stata's manual says it works."""
    named = dta_names(columns(survey))
    made = {named[name]: values for name, values in data.items()}
    text = texts(survey)[".do"]
    words = {
        "inrange": lambda v, low, high: ((v >= low) & (v <= high)).astype(float),
        "inlist": lambda v, *codes: np.isin(v, codes).astype(int).astype(bool),
        "missing": lambda v: np.isnan(v),
        "cond": lambda test, yes, no: np.where(test.astype(bool), yes, no),
        "floor": np.floor,
    }
    for line in text.splitlines():
        found = re.fullmatch(r"generate (\w+) = (.*)", line)
        if not found:
            assert line.startswith(("*", "label variable")), line
            continue
        name = found[1]
        value, _, condition = found[2].partition(" if ")
        with np.errstate(invalid="ignore", divide="ignore"):
            result = np.asarray(eval(value, words, made), dtype=float)
            if condition:
                # In Stata a comparison is 1 or 0, and & is "both".
                spoken = condition.replace("!missing", "~missing")
                spoken = re.sub(r"(inrange\([^)]*\))", r"(\1 == 1)", spoken)
                result = np.where(eval(spoken, words, made), result, np.nan)
        made[name] = result
    return made


@pytest.mark.parametrize("survey", SURVEYS)
def test_every_language_derives_what_the_deposit_can_tell(survey: str) -> None:
    made = texts(survey)
    assert set(made) == set(SUFFIXES)
    titles = [indicator.title for indicator in derived_indicators(CODEBOOK, survey)]
    assert len(titles) > 25
    for text in made.values():
        assert "SIMULATED" in text.splitlines()[0]
        assert all(title.replace('"', "'")[:60] in text.replace('"', "'") for title in titles)
        assert max(map(len, made[".sps"].splitlines())) < 256
    assert "not derived here" in made[".R"]


def test_a_score_is_what_its_questionnaire_says() -> None:
    """SDQ conduct problems: items 5, 7 (reversed), 12, 18, 22; three of five at least, prorated."""
    data = answers("secondary")
    items = np.stack([data[f"sdq_{i}"] for i in (5, 7, 12, 18, 22)])
    items[1] = np.where(items[1] >= 0, 2 - items[1], items[1])
    answered = items >= 0
    n = answered.sum(axis=0)
    total = np.where(answered, items, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        expected = np.where(n >= 3, np.floor(total * 5 / n + 0.5), np.nan)
    made = run_stata("secondary", data)
    assert 0 < np.isnan(expected).sum() < RECORDS
    assert np.array_equal(made["sdq_conduct"], expected, equal_nan=True)


@pytest.mark.parametrize("survey", SURVEYS)
def test_an_indicator_is_positive_of_those_who_answered(survey: str) -> None:
    """One of two sets of codes: base, positive and the stages, counted straight from answers."""
    data = answers(survey)
    made = run_stata(survey, data)
    told = 0
    for indicator in derived_indicators(CODEBOOK, survey):
        if indicator.rule.kind != "codes" or len(indicator.name) > 27:
            continue
        (name,) = indicator.rule.variables
        answer = data[name]
        base = answer >= 0
        if indicator.rule.base_codes:
            base &= np.isin(answer, indicator.rule.base_codes)
        asked = set(CODEBOOK.variables[name].stages)
        if not asked <= set(indicator.stages):
            base &= np.isin(data["stage"], indicator.stages)
        expected = np.where(base, np.isin(answer, indicator.rule.positive_codes), np.nan)
        assert np.array_equal(made[indicator.name], expected, equal_nan=True), indicator.name
        told += 1
    assert told > 10
