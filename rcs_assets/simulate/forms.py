"""Which form of the questionnaire each pupil was given, and what he was not asked then.

Belongs here: forms by class, the answers that a form leaves out, the defects of a form's marker.
Does not belong here: answers (`answers.py`), the file (`surveys.py`).

Each draw has a stream of its own: what else is drawn does not depend on forms. Domain.md 1.1 says
that some pupils of S2 and S4 had the combined questionnaire, and not which: classes, as in the
national survey (domain.md 2.1), and the share are [DES].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook, Form, Questionnaire
from rcs_assets.programme import Programme
from rcs_assets.simulate import defects
from rcs_assets.simulate.answers import NOT_ASKED, NOT_COLLECTED, Codes
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Floats, Texts, stream

# Of the classes that may get a second form, and the pupils of a class.
SECOND_FORM_SHARE = 0.6
CLASS_N = 25
# A code that no form has.
NO_FORM = "none"


def draw_forms(
    respondents: pd.DataFrame, codebook: Codebook, programme: Programme, survey: str, seed: int
) -> Texts:
    """The form of each respondent, "" where the questionnaire has one form only.

    The first form of a version is everybody's; of the classes of a stage that another is given to,
    `SECOND_FORM_SHARE` have that one.

    Args:
        respondents: engagement, school, stage.
        codebook, programme: versions and who has which.
        survey: primary or secondary.
        seed: of the draw.
    """
    rng = stream(seed, "forms", survey)
    order = pd.Series(rng.random(len(respondents)))
    places = [respondents["school"].to_numpy(), respondents["stage"].to_numpy()]
    number = order.groupby(places).rank(method="first").sub(1).floordiv(CLASS_N).astype(int)
    classes = pd.MultiIndex.from_arrays([*places, number]).factorize(sort=True)[0]
    is_second = rng.random(int(classes.max(initial=-1)) + 1)[classes] < SECOND_FORM_SHARE
    forms = np.full(len(respondents), "", dtype=object)
    for key, version in _versions(respondents, codebook, programme, survey).items():
        here = (respondents["engagement"] == key).to_numpy()
        for form in version.forms:
            may = here & np.isin(places[1], form.stages)
            forms[may if form is version.forms[0] else may & is_second] = form.name
    return forms


def leave_to_form(
    answers: Mapping[str, Codes],
    respondents: pd.DataFrame,
    forms: Texts,
    codebook: Codebook,
    programme: Programme,
    survey: str,
) -> dict[str, Codes]:
    """The answers without those to questions that a pupil's form leaves out."""
    left = dict(answers)
    for key, version in _versions(respondents, codebook, programme, survey).items():
        for form in version.forms:
            here = (respondents["engagement"] == key).to_numpy() & (forms == form.name)
            for name in sorted(form.left_out):
                gone = here & (left[name] != NOT_ASKED)
                left[name] = np.where(gone, NOT_COLLECTED, left[name]).astype(np.int8)
    return left


def plant_forms(
    rows: pd.DataFrame,
    answers: Mapping[str, Codes],
    people: pd.DataFrame,
    codebook: Codebook,
    programme: Programme,
    survey: str,
    seed: int,
    planted: Planted,
) -> dict[str, Codes]:
    """Answers to what a form leaves out, forms of another stage, forms that there are none of.

    Changes `form` and `kind` of rows; only of pupils with one submission and nothing else planted.
    """
    changed = {name: codes.copy() for name, codes in answers.items()}
    once = ~rows["uid"].duplicated(keep=False) & (rows["kind"] == "answer")
    stages = people["stage"].to_numpy()[rows["person"].to_numpy()]
    form, kind = rows["form"].to_numpy(copy=True), rows["kind"].to_numpy(copy=True)
    for key, version in _versions(rows, codebook, programme, survey).items():
        if not version.forms:
            continue
        rng = stream(seed, "defects of forms", survey, key)
        first, second = version.forms[0], version.forms[-1]
        own = rng.permutation(np.flatnonzero(once & (rows["engagement"] == key)))
        plain = own[form[own] == first.name]
        others = plain[~np.isin(stages[plain], second.stages)][: defects.FORM_OF_OTHER_STAGE_N]
        asked = plain[np.isin(stages[plain], second.stages)]
        answered = asked[: defects.FORM_ANSWERED_N]
        unknown = asked[defects.FORM_ANSWERED_N :][: defects.UNKNOWN_FORM_N]
        form[others], kind[others] = second.name, "form_of_other_stage"
        form[unknown], kind[unknown] = NO_FORM, "unknown_form"
        for row, name in zip(answered, _names(rng, first, len(answered)), strict=True):
            values = codebook.value_sets[codebook.variables[name].value_set].values
            changed[name][row] = min(values)
        for defect, places in (
            ("form_of_other_stage", others),
            ("unknown_form", unknown),
            ("form_answered", answered),
        ):
            planted.add(key, f"{survey}_survey", defect, len(places))
    rows["form"], rows["kind"] = form, kind
    return changed


def form_codes(forms: Texts, version: Questionnaire) -> Floats:
    """The supplier's codes of forms; nothing for who refused before he saw one."""
    codes = {form.name: float(form.code) for form in version.forms}
    codes[NO_FORM] = max(codes.values()) + 1
    found: Floats = np.asarray(pd.Series(forms).map(codes), dtype=np.float64)
    return found


def _names(rng: np.random.Generator, form: Form, n: int) -> list[str]:
    return [str(name) for name in rng.choice(sorted(form.left_out), size=n)]


def _versions(
    rows: pd.DataFrame, codebook: Codebook, programme: Programme, survey: str
) -> dict[str, Questionnaire]:
    """The version of each engagement that has rows."""
    return {
        key: codebook.questionnaire_for(programme.engagements[key].tranche, survey)
        for key in sorted(set(rows["engagement"]))
    }
