"""The adapted opt-in mode of special schools, where an installation has declared it.

Belongs here: the list of opt-ins and the answers of an engagement whose overlay names schools that
agreed (`special_schools.csv`) and the items that they were asked (`adapted_survey.csv`), with the
faults of both files. Does not belong here: the survey of other schools (`surveys.py`), whether a
declaration is right, which intake judges.

Without both files nothing is made: no source shows who took part or what was asked (domain.md 12).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook, Questionnaire
from rcs_assets.programme import Engagement
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Bools, Texts, stream
from rcs_assets.simulate.identifiers import make_uids

OPT_INS, SURVEY = "adapted_opt_ins", "adapted_survey"
# Pupils of a special school who say yes, and the share of them who answer [DES].
OPTED_IN_N = 14
ANSWERING_SHARE = 0.8
BY_PARENT_SHARE = 0.7


@dataclass(frozen=True)
class AdaptedFiles:
    """The two files of one engagement; `opted_in` is who is on the list with right.

    Attributes:
        opt_ins: survey_uid, seed_code, agreed_on, agreed_by.
        survey: survey_uid, questionnaire, item, answer; one row an answer.
        opted_in: UIDs.
    """

    opt_ins: pd.DataFrame
    survey: pd.DataFrame
    opted_in: Texts


def make_adapted(
    engagement: Engagement,
    overlay: Path | None,
    codebook: Codebook,
    invited: pd.DataFrame,
    seed: int,
    planted: Planted | None,
) -> AdaptedFiles | None:
    """Both files of an engagement, None where its overlay declares no school or no item.

    Args:
        engagement: whose.
        overlay: the home's config.
        codebook: answers of the items.
        invited: uid and seed_code of the pupils of the survey itself.
        seed: of all draws.
        planted: book of planted defects, or None for clean files.
    """
    agreed = _declared(overlay, "special_schools.csv", engagement.key)
    asked = _declared(overlay, "adapted_survey.csv", engagement.key)
    if not agreed or not asked:
        return None
    rng = stream(seed, "adapted", engagement.key)
    schools = [row["seed_code"] for row in agreed]
    school_of = np.repeat(np.arange(len(schools)), OPTED_IN_N)
    keys = [f"adapted/{engagement.key}/{code}" for code in schools]
    uids = make_uids(seed, keys, school_of)
    first = min(wave.fieldwork_start for wave in engagement.waves)
    opt_ins = pd.DataFrame(
        {
            "survey_uid": uids,
            "seed_code": np.array(schools, dtype=object)[school_of],
            "agreed_on": first.isoformat(),
            "agreed_by": np.where(rng.random(len(uids)) < BY_PARENT_SHARE, "parent", "pupil"),
        }
    )
    answering = uids[rng.random(len(uids)) < ANSWERING_SHARE]
    survey = _answers(rng, answering, asked, codebook)
    if planted is not None:
        opt_ins, survey = _plant(engagement.key, opt_ins, survey, invited, codebook, seed, planted)
    return AdaptedFiles(opt_ins, survey, uids)


def answer_elsewhere(
    frame: pd.DataFrame,
    is_sound: Bools,
    questionnaire: Questionnaire,
    made: AdaptedFiles,
    key: str,
    planted: Planted,
) -> pd.DataFrame:
    """The file of other schools' survey with a record more, under the UID of who opted in here.

    `is_sound`: for each row of the frame whether nothing else is planted in it.
    """
    extra = frame.iloc[[int(np.flatnonzero(is_sound)[0])]].assign(
        **{questionnaire.uid_name: made.opted_in[0]}
    )
    planted.add(key, f"{questionnaire.survey}_survey", "pupil_of_the_adapted_mode", 1)
    return pd.concat([frame, extra], ignore_index=True)


def _declared(overlay: Path | None, file: str, key: str) -> list[dict[str, str]]:
    path = overlay / file if overlay else None
    if path is None or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream_:
        return [row for row in csv.DictReader(stream_) if row["engagement"] == key]


def _answers(
    rng: np.random.Generator, uids: Texts, asked: list[dict[str, str]], codebook: Codebook
) -> pd.DataFrame:
    """Every declared item by everyone who answers, its options evenly spread."""
    parts = []
    for row in asked:
        variable = codebook.variables[row["item"]]
        codes = sorted(codebook.value_sets[variable.value_set].values)
        parts.append(
            pd.DataFrame(
                {
                    "survey_uid": uids,
                    "questionnaire": row["questionnaire"],
                    "item": row["item"],
                    "answer": rng.choice(codes, len(uids)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _other_answer(row: pd.Series[Any], codebook: Codebook) -> int:
    values = codebook.value_sets[codebook.variables[row["item"]].value_set].values
    return min(code for code in values if code != row["answer"])


def _plant(
    key: str,
    opt_ins: pd.DataFrame,
    survey: pd.DataFrame,
    invited: pd.DataFrame,
    codebook: Codebook,
    seed: int,
    planted: Planted,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows more in both files that intake must set aside, one a kind; two that contradict."""
    pupil, mainstream = invited["uid"].iloc[0], invited["seed_code"].iloc[0]
    strangers = make_uids(seed, [f"adapted/{key}/nobody"], np.zeros(2, dtype=np.int64))
    listed = opt_ins.iloc[[0, 0]].assign(
        survey_uid=[strangers[0], pupil], seed_code=[mainstream, opt_ins["seed_code"].iloc[0]]
    )
    for kind in ("school_not_in_adapted_mode", "pupil_of_the_survey"):
        planted.add(key, OPT_INS, kind, 1)
    one, last = survey.iloc[[0]], survey.iloc[[-1]]
    extra = [
        one.assign(survey_uid=strangers[1]),
        one.assign(item="no_such_item"),
        one.assign(questionnaire="another"),
        # Both answers of this pupil to this item are set aside: which is right is not guessed.
        last.assign(answer=_other_answer(last.iloc[0], codebook)),
    ]
    odd = survey.iloc[[1]].index
    survey = survey.copy()
    survey.loc[odd, "answer"] = 99
    for kind, n in (
        ("no_opt_in", 1),
        ("item_not_in_adapted_survey", 2),
        ("duplicate_answer", 2),
        ("value_outside_codebook", 1),
    ):
        planted.add(key, SURVEY, kind, n)
    return (
        pd.concat([opt_ins, listed], ignore_index=True),
        pd.concat([survey, *extra], ignore_index=True),
    )
