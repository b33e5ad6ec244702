"""Survey deliveries: submissions of pupils in the suppliers' names and codes.

Belongs here: who submitted what, and its .sav form by questionnaire version. Does not
belong here: how answers come about (`answers.py`) and the parent survey (`parents.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook, Questionnaire
from rcs_assets.programme import Programme
from rcs_assets.simulate import defects
from rcs_assets.simulate.answers import (
    LAST_THEME,
    NOT_ANSWERED,
    ROUTED_PAST,
    Codes,
    Model,
    decline,
    draw_answers,
    leave_out,
    main_questions,
    route,
)
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Bools, Floats, Ints, Texts, stream
from rcs_assets.simulate.forms import draw_forms, form_codes, leave_to_form, plant_forms
from rcs_assets.simulate.identifiers import make_uids
from rcs_assets.simulate.write import SavLayout

# Not reached after breaking off: no code at all in the file, unlike a question skipped.
NO_CODE = -10
# SPSS counts seconds from 14 October 1582.
SPSS_EPOCH_DAYS = 141_428
DAY_SECONDS = 86_400
_LOWEST = -16


@dataclass(frozen=True)
class Submissions:
    """Every submission of one survey, in the codebook's codes.

    Attributes:
        rows: person (row of the pupils' frame, -1 if none), engagement, uid, completed_on
            (days since 1970), take_part, form ("" where there is one only, missing where the
            pupil refused), kind (answer | duplicate | refusal | not_on_sample |
            out_of_codebook | other_stage | no_answers | form_of_other_stage | unknown_form).
        answers: variable → codes; NO_CODE where the file holds nothing.
        out_of_codebook: for each row the variable with a code that no version has, or "".
    """

    rows: pd.DataFrame
    answers: Mapping[str, Codes]
    out_of_codebook: Texts

    def of(self, engagement: str) -> Submissions:
        """The submissions of one engagement."""
        here = (self.rows["engagement"] == engagement).to_numpy()
        return Submissions(
            self.rows[here].reset_index(drop=True),
            {name: codes[here] for name, codes in self.answers.items()},
            self.out_of_codebook[here],
        )


def make_submissions(
    people: pd.DataFrame,
    answered: Bools,
    codebook: Codebook,
    programme: Programme,
    survey: str,
    seed: int,
    model: Model,
    planted: Planted | None,
) -> Submissions:
    """Submissions of one survey over all engagements, ordered by engagement, day, random.

    Args:
        people: the pupils.
        answered: who answers.
        codebook, programme: what is asked, when.
        survey: primary or secondary.
        seed: of all draws.
        model: of the answers.
        planted: book of planted defects, or None for clean files.
    """
    own = (people["survey"] == survey).to_numpy()
    person = np.flatnonzero(own & answered)
    respondents = people.iloc[person].reset_index(drop=True)
    answers = draw_answers(respondents, codebook, survey, seed, model)
    answers = route(decline(answers, codebook, survey, seed), codebook, survey)
    forms = draw_forms(respondents, codebook, programme, survey, seed)
    answers = leave_to_form(answers, respondents, forms, codebook, programme, survey)
    rng = stream(seed, "submissions", survey)
    rows = pd.DataFrame(
        {
            "person": person,
            "engagement": respondents["engagement"],
            "uid": respondents["uid"],
            "completed_on": _days(rng, respondents, programme, survey),
            "take_part": True,
            "form": forms,
            "kind": "answer",
        }
    )
    main = main_questions(codebook, survey)
    if planted is not None:
        answers = _violate_routing(answers, respondents, codebook, survey, rng, planted, seed)
        answers, reached = leave_out(answers, codebook, survey, seed)
        answers = _cut_off(answers, reached)
        rows, answers = _add_extra(
            rows, answers, people, own & ~answered, survey, rng, planted, seed, len(main)
        )
        silent = people[~answered & ~own]
        rows, answers = _add_of_nobody(rows, answers, silent, survey, planted, seed)
    wrong = _out_of_codebook(rows, main, rng, survey, planted)
    if planted is not None:
        answers = plant_forms(rows, answers, people, codebook, programme, survey, seed, planted)
    order = np.lexsort(
        (rng.random(len(rows)), rows["completed_on"], rows["engagement"].astype(str))
    )
    return Submissions(
        rows.iloc[order].reset_index(drop=True),
        {name: codes[order] for name, codes in answers.items()},
        wrong[order],
    )


def supplier_frame(submissions: Submissions, questionnaire: Questionnaire) -> pd.DataFrame:
    """The file's columns: technical ones, then answers by the supplier's name and codes."""
    rows = submissions.rows
    seconds = (rows["completed_on"].to_numpy() + SPSS_EPOCH_DAYS).astype(np.float64) * DAY_SECONDS
    yes = float(questionnaire.take_part_yes)
    columns: dict[str, object] = {
        questionnaire.uid_name: rows["uid"],
        questionnaire.completed_on_name: seconds,
        questionnaire.wave_name: np.full(len(rows), float(questionnaire.wave)),
        questionnaire.take_part_name: np.where(rows["take_part"], yes, yes + 1.0),
    }
    if questionnaire.forms:
        columns[questionnaire.form_name] = form_codes(rows["form"].to_numpy(), questionnaire)
    for asked in questionnaire.variables:
        if asked.variable in submissions.answers:
            codes = _supplier_codes(submissions.answers[asked.variable], asked.codes)
            wrong = submissions.out_of_codebook == asked.variable
            columns[asked.supplier_name] = np.where(wrong, defects.OUT_OF_CODEBOOK_CODE, codes)
    return pd.DataFrame(columns)


def sav_layout(questionnaire: Questionnaire, codebook: Codebook, title: str) -> SavLayout:
    """Labels, missing codes and formats of a questionnaire version."""
    yes = questionnaire.take_part_yes
    column_labels = {
        questionnaire.uid_name: "Serial number of the questionnaire",
        questionnaire.completed_on_name: "Day of completion",
        questionnaire.wave_name: "Wave",
        questionnaire.take_part_name: "Happy to take part",
    }
    value_labels = {questionnaire.take_part_name: {float(yes): "Yes", float(yes + 1): "No"}}
    missing = {}
    formats = {questionnaire.completed_on_name: "DATE11", questionnaire.wave_name: "F1.0"}
    if questionnaire.forms:
        column_labels[questionnaire.form_name] = "Form of the questionnaire"
        value_labels[questionnaire.form_name] = {
            float(form.code): form.title for form in questionnaire.forms
        }
        formats[questionnaire.form_name] = "F1.0"
    for asked in questionnaire.variables:
        variable = codebook.variables[asked.variable]
        labels = codebook.value_sets[variable.value_set].values
        column_labels[asked.supplier_name] = variable.label
        value_labels[asked.supplier_name] = {
            float(supplier): labels[code] if code >= 0 else codebook.missing[code].label
            for supplier, code in asked.codes.items()
        }
        missing[asked.supplier_name] = tuple(
            sorted(float(supplier) for supplier, code in asked.codes.items() if code < 0)
        )
        formats[asked.supplier_name] = "F3.0"
    return SavLayout(title, column_labels, value_labels, missing, formats)


def days_since_1970(day: date) -> int:
    """Days since 1 January 1970."""
    return (day - date(1970, 1, 1)).days


def _supplier_codes(codes: Codes, mapping: Mapping[int, int]) -> Floats:
    """Codebook codes as the supplier writes them; NaN where he has no code."""
    table = np.full(128 - _LOWEST, np.nan)
    for supplier, code in sorted(mapping.items(), reverse=True):
        table[code - _LOWEST] = supplier
    found: Floats = table[codes.astype(np.int64) - _LOWEST]
    return found


def _days(
    rng: np.random.Generator, respondents: pd.DataFrame, programme: Programme, survey: str
) -> Ints:
    """Day of completion: classes of a school sit within a few days of each other."""
    starts = {}
    lengths = {}
    for key, engagement in programme.engagements.items():
        wave = engagement.wave(survey)
        if wave is not None:
            starts[key] = days_since_1970(wave.fieldwork_start)
            lengths[key] = (wave.fieldwork_end - wave.fieldwork_start).days
    school = respondents["school"].to_numpy()
    visit = rng.random(int(school.max(initial=0)) + 1)
    length = respondents["engagement"].map(lengths).to_numpy(dtype=np.int64)
    start = respondents["engagement"].map(starts).to_numpy(dtype=np.int64)
    offset = (visit[school] * (length - 7)).astype(np.int64) + rng.integers(0, 5, len(school))
    days: Ints = start + np.clip(offset, 0, length)
    return days


def _violate_routing(
    answers: Mapping[str, Codes],
    respondents: pd.DataFrame,
    codebook: Codebook,
    survey: str,
    rng: np.random.Generator,
    planted: Planted,
    seed: int,
) -> dict[str, Codes]:
    """Answers to questions that routing passes by; those of the last module on its own stream."""
    changed = dict(answers)
    own_rng = stream(seed, "routing of the last module", survey)
    for variable in codebook.variables_of(survey):
        if variable.routing is None:
            continue
        own = answers[variable.name]
        point = (own_rng if variable.theme == LAST_THEME else rng).random(len(own))
        wrong = (own == ROUTED_PAST) & (point < defects.ROUTING_VIOLATION_SHARE)
        answer = min(codebook.value_sets[variable.value_set].values)
        changed[variable.name] = np.where(wrong, answer, own).astype(np.int8)
        for key, n in respondents["engagement"][wrong].value_counts().items():
            planted.add(str(key), f"{survey}_survey", f"routing_violation:{variable.name}", n)
    return changed


def _cut_off(answers: Mapping[str, Codes], reached: Ints) -> dict[str, Codes]:
    """After breaking off the file holds nothing, not even a code."""
    return {
        name: np.where((codes == NOT_ANSWERED) & (position >= reached), NO_CODE, codes)
        for position, (name, codes) in enumerate(answers.items())
    }


def _add_extra(
    rows: pd.DataFrame,
    answers: Mapping[str, Codes],
    people: pd.DataFrame,
    silent: Bools,
    survey: str,
    rng: np.random.Generator,
    planted: Planted,
    seed: int,
    main_n: int,
) -> tuple[pd.DataFrame, dict[str, Codes]]:
    """Second submissions (less complete), UIDs that are not on the sample, refusals.

    `main_n`: questions without the module at the end.
    """
    twice = np.flatnonzero(rng.random(len(rows)) < defects.DUPLICATE_SHARE)
    keys = sorted(set(rows["engagement"]))
    picks = [
        rng.permutation(np.flatnonzero(rows["engagement"] == key))[: defects.NOT_ON_SAMPLE_N]
        for key in keys
    ]
    foreign = np.concatenate(picks) if picks else np.zeros(0, dtype=np.int64)
    refused = np.flatnonzero(silent & (rng.random(len(people)) < defects.REFUSAL_SHARE / 0.27))
    second = rows.iloc[twice].assign(kind="duplicate")
    second["completed_on"] += 1
    unknown = rows.iloc[foreign].assign(kind="not_on_sample", person=-1)
    unknown["uid"] = _foreign_uids(len(unknown), people, survey, seed)
    no = _refusals(people, refused, rows, rng)
    cut = rng.integers(10, main_n // 2, len(twice))
    grown = {
        name: np.concatenate(
            [
                codes,
                np.where(position < cut, codes[twice], NO_CODE),
                codes[foreign],
                np.full(len(refused), NO_CODE),
            ]
        ).astype(np.int8)
        for position, (name, codes) in enumerate(answers.items())
    }
    extra = pd.concat([second, unknown, no], ignore_index=True)
    counts = extra.groupby(["engagement", "kind"]).size().reset_index(name="n")
    for key, kind, n in zip(counts["engagement"], counts["kind"], counts["n"], strict=True):
        planted.add(str(key), f"{survey}_survey", str(kind), n)
    return pd.concat([rows, extra], ignore_index=True), grown


def _add_of_nobody(
    rows: pd.DataFrame,
    answers: Mapping[str, Codes],
    others: pd.DataFrame,
    survey: str,
    planted: Planted,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, Codes]]:
    """Submissions under UIDs of pupils of the other survey, and submissions without any answer.

    `others`: pupils of the other survey who did not answer it.
    """
    parts, sources = [rows], [np.arange(len(rows))]
    unissued = _foreign_uids(
        len(set(rows["engagement"])) * defects.NO_ANSWERS_N, others, survey, seed + 2
    )
    used = 0
    for key in sorted(set(rows["engagement"])):
        rng = stream(seed, "submissions of nobody", survey, key)
        own = np.flatnonzero((rows["engagement"] == key) & (rows["kind"] == "answer"))
        here = others[(others["engagement"] == key).to_numpy()]
        wrong = here["uid"].to_numpy()[rng.permutation(len(here))[: defects.OTHER_STAGE_N]]
        empty = unissued[used : used + defects.NO_ANSWERS_N]
        used += len(empty)
        for kind, uids in (("other_stage", wrong), ("no_answers", empty)):
            chosen = rng.permutation(own)[: len(uids)]
            made = rows.iloc[chosen].assign(kind=kind, person=-1, uid=uids[: len(chosen)])
            parts.append(made)
            sources.append(chosen)
            planted.add(key, f"{survey}_survey", kind, len(made))
    grown = pd.concat(parts, ignore_index=True)
    empty_rows = (grown["kind"] == "no_answers").to_numpy()
    source = np.concatenate(sources)
    return grown, {
        name: np.where(empty_rows, NO_CODE, codes[source]).astype(np.int8)
        for name, codes in answers.items()
    }


def _refusals(
    people: pd.DataFrame, refused: Ints, rows: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Pupils who logged in and said no; on a day on which their CPP took part."""
    engagement = people["engagement"].to_numpy()[refused]
    first_day = rows.groupby("engagement")["completed_on"].min()
    days = first_day.reindex(engagement).fillna(rows["completed_on"].min()).to_numpy(dtype=np.int64)
    return pd.DataFrame(
        {
            "person": refused,
            "engagement": engagement,
            "uid": people["uid"].to_numpy()[refused],
            "completed_on": days + rng.integers(0, 14, len(refused)),
            "take_part": False,
            "kind": "refusal",
        }
    )


def _foreign_uids(n: int, people: pd.DataFrame, survey: str, seed: int) -> Texts:
    """UIDs of the right form, keyed on a school that does not exist, so none was issued."""
    issued = set(people["uid"])
    drawn = make_uids(seed + 1, [f"none/{survey}"], np.zeros(n + 50, dtype=np.int64))
    return np.array([uid for uid in drawn if uid not in issued][:n], dtype=object)


def _out_of_codebook(
    rows: pd.DataFrame,
    questions: list[str],
    rng: np.random.Generator,
    survey: str,
    planted: Planted | None,
) -> Texts:
    """Variable with an impossible code, for a few answers of each engagement."""
    wrong = np.full(len(rows), "", dtype=object)
    if planted is None:
        return wrong
    names = np.array(questions, dtype=object)
    kinds = rows["kind"].to_numpy(copy=True)
    # A pupil with two submissions is left alone: which of them stays would depend on it.
    once = ~rows["uid"].duplicated(keep=False)
    for key in sorted(set(rows["engagement"])):
        options = np.flatnonzero((rows["engagement"] == key) & (rows["kind"] == "answer") & once)
        chosen = rng.permutation(options)[: defects.OUT_OF_CODEBOOK_N]
        wrong[chosen] = names[rng.integers(0, len(names), len(chosen))]
        kinds[chosen] = "out_of_codebook"
        planted.add(key, f"{survey}_survey", "out_of_codebook", len(chosen))
    rows["kind"] = kinds
    return wrong
