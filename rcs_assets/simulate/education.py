"""The sample file, opt-outs, and the council's education extract.

Belongs here: the identified files and the payload, with their defects. Does not belong
here: who the pupils are (`people.py`) and any linkage.
Source of code lists: domain.md 4.1; of levels: domain.md 4.2, 4.3 (many [GK]).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rcs_assets.programme import Programme
from rcs_assets.simulate import defects
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Bools, Ints, Texts, blanked, choose, stream
from rcs_assets.simulate.identifiers import add_typos, make_postcodes

ETHNIC = (
    ("01", 76), ("21", 7), ("22", 1), ("23", 2.5), ("09", 2), ("19", 0.3), ("06", 2.5), ("05", 1),
    ("07", 0.2), ("08", 0.6), ("17", 0.8), ("02", 1.2), ("25", 0.4), ("03", 0.2), ("24", 0.1),
    ("12", 1.6), ("27", 0.4), ("99", 0.7), ("10", 0.9), ("98", 0.6),
)  # fmt: skip
ENGLISH = (
    ("FIRST", 91),
    ("FLUENT", 3),
    ("COMPETENT", 3),
    ("DEVELOPING", 2),
    ("EARLY", 0.7),
    ("NEW", 0.3),
)
FREE_MEAL_BY_QUINTILE = (0.36, 0.21, 0.13, 0.07, 0.03)
ASN_BY_QUINTILE = (0.33, 0.28, 0.25, 0.21, 0.18)
LOOKED_AFTER_BY_QUINTILE = (0.03, 0.018, 0.011, 0.006, 0.003)
# Factors by need (none, some, high), near 1 on average: support goes where need is [DES].
ASN_BY_NEED = (0.76, 1.1, 2.0)
LOOKED_AFTER_BY_NEED = (0.75, 1.1, 1.9)
ASN_TYPES = (("5", 62), ("2", 18), ("6", 10), ("4", 4), ("3", 4), ("1", 2))
ASN_NEEDS = (
    ("26", 24), ("11", 14), ("13", 11), ("12", 9), ("41", 9), ("24", 7), ("25", 8), ("27", 5),
    ("48", 4), ("23", 3), ("10", 4), ("40", 2), ("28", 2), ("42", 2), ("45", 1), ("46", 1),
    ("43", 1), ("21", 1), ("20", 1), ("99", 1),
)  # fmt: skip
# Exclusion cases per pupil, 2016-17 (27 per 1,000; primary 11, secondary 48).
EXCLUSIONS = {"primary": 0.011, "secondary": 0.048}
STAGE_NEXT = {"P5": "P6", "P6": "P5", "P7": "P6", "S1": "S2", "S2": "S1", "S3": "S4", "S4": "S3"}
IDENTIFIER_COLUMNS = (
    "record_id,survey_uid,scn,surname,first_forename,second_forename,sex,date_of_birth,postcode"
).split(",")
SAMPLE_COLUMNS = (
    "survey_uid,scn,surname,first_forename,second_forename,sex,date_of_birth,postcode,seed_code,stage"
).split(",")
OPT_OUT_COLUMNS = "survey_uid,scope,received_on,requested_by,taken_back_on".split(",")


def sample_file(people: pd.DataFrame, seed: int, planted: Planted | None) -> pd.DataFrame:
    """The sample file of one engagement: one row a pupil invited."""
    key = people["engagement"].iloc[0]
    rng = stream(seed, "sample", key)
    frame = people.rename(columns={"uid": "survey_uid"})[SAMPLE_COLUMNS].copy()
    frame["date_of_birth"] = people["date_of_birth"].dt.strftime("%Y-%m-%d")
    if planted is not None:
        _blank(rng, frame, "scn", defects.SAMPLE_SCN_MISSING_SHARE, key, "sample_file", planted)
        _blank(rng, frame, "postcode", defects.POSTCODE_MISSING_SHARE, key, "sample_file", planted)
        _misspell(rng, frame, "surname", key, "sample_file", planted)
    return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)


def draw_opt_outs(people: pd.DataFrame, programme: Programme, seed: int) -> pd.DataFrame:
    """Who opts out of what.

    Returns:
        person (row of `people`), engagement, survey_uid, scope (survey | linkage | all),
        received_on (before fieldwork; after it where `is_late`), requested_by (parents of primary
        pupils, either of secondary ones), taken_back_on (blank), is_late.
    """
    rng = stream(seed, "opt-outs")
    person = np.flatnonzero(rng.random(len(people)) < defects.OPT_OUT_SHARE)
    n = len(person)
    chosen = people.iloc[person]
    is_late = rng.random(n) < defects.LATE_OPT_OUT_SHARE
    first, last = _fieldwork(chosen, programme)
    days = np.where(is_late, last + rng.integers(1, 30, n), first - rng.integers(1, 40, n))
    scopes = np.array(["survey", "linkage", "all"], dtype=object)
    by_pupil = stream(seed, "opt-outs", "requester").random(n) < defects.OPT_OUT_BY_PUPIL_SHARE
    return pd.DataFrame(
        {
            "person": person,
            "engagement": chosen["engagement"].to_numpy(),
            "survey_uid": chosen["uid"].to_numpy(),
            "scope": choose(rng, scopes, np.array([5.0, 2.0, 3.0]), n),
            "received_on": days.astype("datetime64[D]").astype(str),
            "requested_by": np.where(
                (chosen["survey"] == "secondary").to_numpy() & by_pupil, "pupil", "parent"
            ),
            "taken_back_on": "",
            "is_late": is_late,
        }
    )


def _fieldwork(people: pd.DataFrame, programme: Programme) -> tuple[Ints, Ints]:
    """First and last day of each pupil's survey, as days since 1970."""
    waves = {
        (engagement.key, wave.survey): (wave.fieldwork_start, wave.fieldwork_end)
        for engagement in programme.engagements.values()
        for wave in engagement.waves
    }
    pairs = zip(people["engagement"], people["survey"], strict=True)
    days = np.array([waves[pair] for pair in pairs], dtype="datetime64[D]").reshape(-1, 2)
    numbers = days.astype(np.int64)
    return numbers[:, 0], numbers[:, 1]


def education_extract(
    people: pd.DataFrame, seed: int, planted: Planted | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Identifiers, payload, and the truth of which record is which pupil.

    Args:
        people: the pupils of one engagement, with `need` (need.py).
        seed: of all draws.
        planted: book of planted defects, or None: then every pupil is there, without error.

    Returns:
        Identifiers; payload (another order of rows); record_id with person_id.
    """
    key = people["engagement"].iloc[0]
    rng = stream(seed, "education", key)
    chosen = np.ones(len(people), dtype=bool)
    if planted is not None:
        chosen = rng.random(len(people)) < defects.EDUCATION_COVERAGE
        planted.add(key, "education_ids", "pupil_not_in_extract", int((~chosen).sum()))
    held = people[chosen].reset_index(drop=True)
    numbers = rng.choice(9_000_000, size=len(held), replace=False) + 1_000_000
    held["record_id"] = [f"E{number}" for number in numbers]
    ids = _identifiers(held, rng, key, planted)
    payload = _payload(held, rng, key, planted)
    truth = held[["record_id", "person_id"]]
    return (
        ids.sort_values("record_id").reset_index(drop=True),
        payload.iloc[rng.permutation(len(payload))].reset_index(drop=True),
        truth,
    )


def _identifiers(
    held: pd.DataFrame, rng: np.random.Generator, key: str, planted: Planted | None
) -> pd.DataFrame:
    frame = held.rename(columns={"uid": "survey_uid"})[IDENTIFIER_COLUMNS].copy()
    frame["date_of_birth"] = held["date_of_birth"].dt.strftime("%Y-%m-%d")
    if planted is None:
        return frame
    dataset = "education_ids"
    moved = rng.random(len(frame)) < defects.MOVED_HOME_SHARE
    districts = held["postcode"].str.split(" ").str[0].to_numpy(dtype=object)
    elsewhere = make_postcodes(rng, districts, rng.integers(0, 5_000, len(held)))
    frame["postcode"] = np.where(moved, elsewhere, frame["postcode"])
    planted.add(key, dataset, "other_postcode", int(moved.sum()))
    _blank(rng, frame, "survey_uid", defects.EDUCATION_UID_MISSING_SHARE, key, dataset, planted)
    _blank(rng, frame, "scn", defects.EDUCATION_SCN_MISSING_SHARE, key, dataset, planted)
    _blank(rng, frame, "postcode", defects.POSTCODE_MISSING_SHARE, key, dataset, planted)
    _blank(rng, frame, "date_of_birth", defects.BIRTH_DATE_MISSING_SHARE, key, dataset, planted)
    _misspell(rng, frame, "surname", key, dataset, planted)
    _misspell(rng, frame, "first_forename", key, dataset, planted)
    return frame


def _payload(
    held: pd.DataFrame, rng: np.random.Generator, key: str, planted: Planted | None
) -> pd.DataFrame:
    n = len(held)
    band = held["quintile"].to_numpy() - 1
    need = held["need"].to_numpy()
    has_asn = rng.random(n) < np.array(ASN_BY_QUINTILE)[band] * np.array(ASN_BY_NEED)[need]
    in_care = np.array(LOOKED_AFTER_BY_QUINTILE)[band] * np.array(LOOKED_AFTER_BY_NEED)[need]
    looked_after = rng.random(n) < in_care
    free_meal = rng.random(n) < np.array(FREE_MEAL_BY_QUINTILE)[band]
    mean_absence = 5.0 + 1.2 * (2 - band) * 0.6 + np.where(held["survey"] == "secondary", 2.5, 0.0)
    absence = rng.gamma(1.6, mean_absence / 1.6)
    rate = held["survey"].map(EXCLUSIONS).to_numpy(dtype=np.float64)
    attendance = (100 - absence).clip(20, 100)
    frame = pd.DataFrame(
        {
            "record_id": held["record_id"],
            "seed_code": held["seed_code"],
            "stage": held["stage"],
            "sex": held["sex"],
            "datazone": held["datazone"],
            "ethnic_background": _draw(rng, ETHNIC, n),
            "level_of_english": _draw(rng, ENGLISH, n),
            "free_school_meal": np.where(free_meal, "Y", "N"),
            "asn_types": blanked(_joined(rng, ASN_TYPES, n), ~has_asn),
            "asn_needs": blanked(_joined(rng, ASN_NEEDS, n), ~has_asn),
            "looked_after": np.where(looked_after, "Y", "N"),
            "attendance_pct": np.char.mod("%.1f", attendance).astype(object),
            "exclusions_n": rng.poisson(rate * (1 + 0.4 * (2 - band))).astype(str).astype(object),
        }
    )
    if planted is not None:
        _blank(
            rng,
            frame,
            "datazone",
            defects.DATAZONE_MISSING_SHARE,
            key,
            "education_payload",
            planted,
        )
        other = rng.random(n) < defects.STAGE_DISAGREEMENT_SHARE
        frame["stage"] = np.where(other, frame["stage"].map(STAGE_NEXT), frame["stage"])
        planted.add(key, "education_payload", "stage_disagreement", int(other.sum()))
    return frame


def _draw(rng: np.random.Generator, options: tuple[tuple[str, float], ...], n: int) -> Texts:
    return choose(
        rng,
        np.array([code for code, _ in options], dtype=object),
        np.array([weight for _, weight in options], dtype=np.float64),
        n,
    )


def _joined(rng: np.random.Generator, options: tuple[tuple[str, float], ...], n: int) -> Texts:
    """One code, for a third of the pupils two different ones joined by a semicolon."""
    first, second = _draw(rng, options, n), _draw(rng, options, n)
    two = (rng.random(n) < 1 / 3) & (first != second)
    return np.where(two, first + ";" + second, first)


def _blank(
    rng: np.random.Generator,
    frame: pd.DataFrame,
    column: str,
    share: float,
    key: str,
    dataset: str,
    planted: Planted,
) -> None:
    empty: Bools = rng.random(len(frame)) < share
    frame[column] = blanked(frame[column].to_numpy(dtype=object), empty)
    planted.add(key, dataset, f"missing_{column}", int(empty.sum()))


def _misspell(
    rng: np.random.Generator,
    frame: pd.DataFrame,
    column: str,
    key: str,
    dataset: str,
    planted: Planted,
) -> None:
    frame[column], wrong = add_typos(
        rng, frame[column].to_numpy(dtype=object), defects.NAME_TYPO_SHARE
    )
    planted.add(key, dataset, f"typo_{column}", int(wrong.sum()))
