"""The forms of a questionnaire version: one file, but not every pupil was given every question.

Belongs here: which forms a version has, how its file tells them apart, what each leaves out. Does
not belong here: versions themselves (`questions.py`), what intake makes of it (`intake/survey.py`).

Domain.md 1.1: where the survey met the national survey of smoking, drinking and drugs, some pupils
of S2 and S4 took a questionnaire combined with it, all others the main one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rcs_assets.codebook.model import Form, Questionnaire, Variable
from rcs_assets.codebook.questions import SURVEY_STAGES, rows_by
from rcs_assets.programme.datafile import Row

FILE = "forms.csv"


def with_forms(
    rows: tuple[Row, ...],
    questionnaires: Mapping[str, Questionnaire],
    variables: Mapping[str, Variable],
) -> dict[str, Questionnaire]:
    """The questionnaires, each with its forms; one whose rows name no column has none.

    Args:
        rows: of `forms.csv`.
        questionnaires: without forms.
        variables: of the codebook, for the themes that a form leaves out.

    Raises:
        ConfigurationError: a row that is not in its form or does not fit the others.
    """
    found = dict(questionnaires)
    for row in rows:
        row.choice("questionnaire", questionnaires)
    for name, own in rows_by(rows, "questionnaire").items():
        told = [row for row in own if row.text("supplier_name")]
        if told:
            _check(own, questionnaires[name])
            forms = tuple(_form(row, questionnaires[name], variables) for row in own)
            _check_codes(own, forms)
            _check_stages(own, forms, questionnaires[name], variables)
            found[name] = replace(
                questionnaires[name], form_name=own[0].text("supplier_name"), forms=forms
            )
    return found


def _form(row: Row, questionnaire: Questionnaire, variables: Mapping[str, Variable]) -> Form:
    asked = [variables[v.variable] for v in questionnaire.variables]
    themes = row.items("left_out", {variable.theme for variable in variables.values()})
    return Form(
        name=row.required("form"),
        code=row.integer("supplier_code"),
        title=row.required("title"),
        stages=row.items("stages", SURVEY_STAGES[questionnaire.survey]),
        left_out=frozenset(variable.name for variable in asked if variable.theme in themes),
        source=row.required("source"),
    )


def _check(rows: tuple[Row, ...], questionnaire: Questionnaire) -> None:
    """One column tells all forms of a version apart, and it is no other column of its file."""
    name = rows[0].text("supplier_name")
    taken = {
        questionnaire.uid_name,
        questionnaire.completed_on_name,
        questionnaire.wave_name,
        questionnaire.take_part_name,
        *(variable.supplier_name for variable in questionnaire.variables),
    }
    for row in rows:
        if row.text("supplier_name") != name:
            raise row.problem(
                "supplier_name", "one column tells the forms apart", "name the same one in all rows"
            )
    if name.lower() in {other.lower() for other in taken}:
        raise rows[0].problem("supplier_name", "a question has this name too", "names must differ")


def _check_codes(rows: tuple[Row, ...], forms: tuple[Form, ...]) -> None:
    if len(forms) < 2:
        raise rows[0].problem("form", "one form alone is no form", "add the others")
    if len({form.code for form in forms}) < len(forms):
        raise rows[-1].problem("supplier_code", "two forms have one code", "codes must differ")
    if not all(form.stages for form in forms):
        raise rows[0].problem("stages", "a form is given to stages", "name them")


def _check_stages(
    rows: tuple[Row, ...],
    forms: tuple[Form, ...],
    questionnaire: Questionnaire,
    variables: Mapping[str, Variable],
) -> None:
    """Every pupil who is asked was given some form."""
    of_survey = SURVEY_STAGES[questionnaire.survey]
    asked = {s for v in questionnaire.variables for s in variables[v.variable].stages}
    given = {stage for form in forms for stage in form.stages}
    without = [stage for stage in of_survey if stage in asked - given]
    if without:
        raise rows[-1].problem(
            "stages",
            f"{questionnaire.name} asks {', '.join(without)}, which no form is given to",
            "name them in the form that these pupils had",
        )
