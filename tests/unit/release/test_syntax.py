"""Syntax for SPSS, Stata, R and SQL: Stata's is run here word for word, beside a count by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyreadstat
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.anonymise import KEYS
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.errors import InputError
from rcs_assets.release.sav import dta_names
from rcs_assets.release.syntax import (
    SUFFIXES,
    AnswerFile,
    answers_behind,
    derived_indicators,
    sql_columns,
    write_syntax,
)

CODEBOOK = load_codebook()
SURVEYS = ("primary", "secondary")
RECORDS = 400
STAGES = {"primary": ("P5", "P6", "P7"), "secondary": ("S1", "S2", "S3", "S4")}


BANDS = load_policy().microdata.stage_bands


def file_of(survey: str, themes: tuple[str, ...] = ()) -> AnswerFile:
    asked = [v.name for v in CODEBOOK.variables_of(survey) if not themes or v.theme in themes]
    return AnswerFile("part" if themes else survey, survey, [*KEYS, *asked], asked, BANDS)


def texts(survey: str) -> dict[str, str]:
    return write_syntax(CODEBOOK, file_of(survey), "SIMULATED")


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
    named = dta_names(file_of(survey).columns)
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
    titles = [indicator.title for indicator in derived_indicators(CODEBOOK, file_of(survey))]
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


def _stata_names(survey: str) -> dict[str, str]:
    """Stata's name of each derived variable → its whole name."""
    text = texts(survey)[".do"]
    cut = dict(re.findall(r"^\* (\w+) is (\w+)$", text, re.MULTILINE))
    return {
        name: cut.get(name, name) for name in re.findall(r"^generate (\w+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize("survey", SURVEYS)
def test_what_the_platform_counts_in_a_file_is_what_stata_derives(survey: str) -> None:
    data, file = answers(survey), file_of(survey)
    frame = pd.DataFrame(data)
    frame["stage"] = frame["stage"].replace("", None)
    with duckdb.connect() as con:
        con.register("file", frame)
        derived = con.execute(f"select {', '.join(sql_columns(CODEBOOK, file))} from file").df()
    by_stata = run_stata(survey, data)
    named = {whole: cut for cut, whole in _stata_names(survey).items()}
    assert len(derived.columns) > 25
    for name in derived.columns:
        assert np.array_equal(derived[name], by_stata[named[name]], equal_nan=True), name


@pytest.mark.parametrize("survey", SURVEYS)
def test_the_answers_behind_an_indicator_are_those_that_change_it(survey: str) -> None:
    data, file = answers(survey), file_of(survey)
    for indicator in derived_indicators(CODEBOOK, file):
        behind = answers_behind(CODEBOOK, file, indicator)
        assert behind and set(behind) <= set(file.answers)
    before = run_stata(survey, data)
    named = {whole: cut for cut, whole in _stata_names(survey).items()}
    for changed in file.answers:
        after = run_stata(survey, data | {changed: np.full(RECORDS, -9.0)})
        for indicator in derived_indicators(CODEBOOK, file):
            name = named[indicator.name]
            if changed not in answers_behind(CODEBOOK, file, indicator):
                assert np.array_equal(before[name], after[name], equal_nan=True), (changed, name)
            else:
                assert not np.array_equal(before[name], after[name], equal_nan=True), (
                    changed,
                    name,
                )


@pytest.mark.parametrize("survey", SURVEYS)
def test_an_indicator_is_positive_of_those_who_answered(survey: str) -> None:
    """One of two sets of codes: base, positive and the stages, counted straight from answers."""
    data = answers(survey)
    made = run_stata(survey, data)
    told = 0
    for indicator in derived_indicators(CODEBOOK, file_of(survey)):
        if indicator.rule.kind != "codes" or len(indicator.name) > 27:
            continue
        (name,) = indicator.rule.variables
        answer = data[name]
        base = answer >= 0
        if indicator.rule.base_codes:
            base &= np.isin(answer, indicator.rule.base_codes)
        asked = set(CODEBOOK.variables[name].stages)
        asked &= set(STAGES[survey])
        if not asked <= set(indicator.stages):
            base &= np.isin(data["stage"], indicator.stages)
        expected = np.where(base, np.isin(answer, indicator.rule.positive_codes), np.nan)
        assert np.array_equal(made[indicator.name], expected, equal_nan=True), indicator.name
        told += 1
    assert told > 10


def test_after_spss_has_counted_missing_values_are_missing_again() -> None:
    text = texts("secondary")[".sps"]
    answers_ = [v.name for v in CODEBOOK.variables_of("secondary")]
    lines = [x for x in text.splitlines() if x.startswith(("MISSING VALUES", "EXECUTE"))]
    assert lines == [
        "MISSING VALUES ALL ().",
        # Commands are carried out when something needs them, and definitions at once.
        "EXECUTE.",
        f"MISSING VALUES {answers_[0]} TO {answers_[-1]} (-9 THRU -1).",
    ]
    assert text.index("EXECUTE.") > text.rindex("COMPUTE") > text.index(lines[0])


def test_each_file_says_how_its_answers_are_opened() -> None:
    made = texts("primary")
    assert "GET FILE='primary.sav'." in made[".sps"]
    assert 'use "primary.dta"' in made[".do"]
    assert 'answers <- haven::read_sav("primary.sav", user_na = TRUE)' in made[".R"]


def test_a_part_of_a_file_derives_what_its_questions_tell() -> None:
    part = file_of("secondary", ("sdq", "wemwbs"))
    titles = {indicator.name for indicator in derived_indicators(CODEBOOK, part)}
    assert titles and titles < {i.name for i in derived_indicators(CODEBOOK, file_of("secondary"))}
    asked = set(part.columns)
    text = write_syntax(CODEBOOK, part, "SIMULATED")[".R"]
    used = set(re.findall(r"answers\$(\w+)", text))
    made = set(re.findall(r"^answers\$(\w+) <-", text, re.MULTILINE))
    assert used <= asked | made and {"sdq_total", "wemwbs_total"} <= made
    # Of questions that are not in the part nothing is said.
    left = re.findall(r"needs a conversion table: (\w+)", text)
    assert left == ["secondary_swemwbs_mean"]


def test_where_all_stages_of_a_survey_count_a_withheld_one_does() -> None:
    for survey in SURVEYS:
        of_all = [
            i for i in derived_indicators(CODEBOOK, file_of(survey))
            if set(i.stages) == set(STAGES[survey])
        ]  # fmt: skip
        asked = [line for line in texts(survey)[".R"].splitlines() if "answers$stage" in line]
        assert len(of_all) > 20
        assert not [line for line in asked for i in of_all if f"answers${i.name} " in line]


def test_a_band_of_stages_counts_where_all_its_stages_do() -> None:
    name = "secondary_happy_at_school"
    changed = replace(CODEBOOK.indicators[name], stages=("S1", "S2", "S3"))
    codebook = replace(CODEBOOK, indicators={**CODEBOOK.indicators, name: changed})
    text = write_syntax(codebook, file_of("secondary"), "SIMULATED")[".R"]
    (line,) = [line for line in text.splitlines() if line.startswith(f"answers${name} ")]
    assert "answers$stage %in% c('S1', 'S2', 'S3', 'S1-S2')" in line


def test_stata_s_names_are_the_same_in_every_file() -> None:
    names = file_of("secondary").columns
    whole, alone = dta_names(names), dta_names([n for n in names if n.startswith("social")])
    assert all(whole[name] == short for name, short in alone.items())
    cut = [name for name in names if whole[name] != name]
    assert len(cut) > 10 and all(len(whole[name]) == 28 for name in cut)
    met: dict[str, str] = {}
    for number in range(10_000):
        name = f"{'a' * 30}{number}"
        other = met.setdefault(dta_names([name])[name], name)
        if other != name:
            break
    with pytest.raises(InputError, match="the same name in Stata"):
        dta_names([name, other])


@pytest.fixture(scope="module")
def pspp() -> str:
    """The free reader of SPSS's commands; the test is skipped where it is not installed."""
    found = shutil.which("pspp")
    if found is None:
        pytest.skip("pspp is not installed (apt-get install pspp)")
    return found


@pytest.mark.parametrize("survey", SURVEYS)
def test_spss_commands_give_what_stata_s_give(survey: str, pspp: str, tmp_path: Path) -> None:
    data, file = answers(survey), file_of(survey)
    frame = pd.DataFrame({name: data.get(name, "") for name in file.columns})
    ranges = {name: [{"lo": -9, "hi": -1}] for name in file.answers}
    pyreadstat.write_sav(frame, tmp_path / f"{survey}.sav", missing_ranges=ranges)
    (tmp_path / "derive.sps").write_text(texts(survey)[".sps"], encoding="utf-8")
    (tmp_path / "run.sps").write_text(
        f"GET FILE='{survey}.sav'.\nINSERT FILE='derive.sps'.\nSAVE OUTFILE='out.sav'.\n"
    )
    subprocess.run([pspp, "-o", "out.txt", "run.sps"], cwd=tmp_path, check=True, timeout=120)
    made, meta = pyreadstat.read_sav(tmp_path / "out.sav", user_missing=True)
    assert meta.missing_ranges[file.answers[0]] == [{"lo": -9.0, "hi": -1.0}]
    stata = run_stata(survey, data)
    derived = [name for name in made.columns if name not in file.columns]
    named = dta_names([*file.columns, *derived])
    assert len(derived) > 30
    for name in derived:
        found = made[name].to_numpy(dtype=float, na_value=np.nan)
        assert np.allclose(found, stata[named[name]], equal_nan=True), name
