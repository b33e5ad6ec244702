"""How a social work service misrecords identifiers: the error model of its records.

Belongs here: changes to identifiers that are right on the school roll. Does not belong
here: who has a record and what is in it (`social_work.py`), and any code that links.
Shares are [DES], set so that 85-95 % of the records can be found (domain.md 3.5: social
care surveys to the population register 91 %, by council 77 to 98 %).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Bools, Texts, blanked
from rcs_assets.simulate.identifiers import NameBook, add_typos, make_postcodes

NICKNAMES = Path(__file__).parent / "data" / "nicknames.csv"
DATASET = "social_work_ids"
SURNAME_CHANGED_SHARE = 0.05
# Of changed surnames, those whose earlier one is on record.
PREVIOUS_NOTED_SHARE = 0.6
DOUBLE_SURNAME_HALVED_SHARE = 0.3
MAC_RESPELT_SHARE = 0.15
SURNAME_TYPO_SHARE = 0.03
FORENAME_TYPO_SHARE = 0.025
NICKNAME_SHARE = 0.08
FORENAMES_SWAPPED_SHARE = 0.02
CAPITALS_SHARE = 0.05
BIRTH_DAY_TRANSPOSED_SHARE = 0.015
BIRTH_DAY_OFF_SHARE = 0.01
OLD_POSTCODE_SHARE = 0.16
POSTCODE_DISTRICT_ONLY_SHARE = 0.02
POSTCODE_UNSPACED_SHARE = 0.04
SCN_TYPO_SHARE = 0.004
MISSING_SHARES = {
    "second_forename": 0.35,
    "first_forename": 0.003,
    "sex": 0.02,
    "date_of_birth": 0.01,
    "postcode": 0.03,
}


def misrecord(
    frame: pd.DataFrame, names: NameBook, rng: np.random.Generator, key: str, planted: Planted
) -> pd.DataFrame:
    """The identifiers as the service holds them.

    Args:
        frame: right identifiers: scn, surname, previous_surname, first_forename,
            second_forename, sex, date_of_birth (ISO text), postcode; null where unknown.
        names: surnames that families change to.
        rng: of all draws.
        key: engagement, for the book.
        planted: book of what was changed.

    Returns:
        The same rows and columns.
    """

    def note(kind: str, changed: Bools) -> None:
        planted.add(key, DATASET, kind, int(changed.sum()))

    wrong = frame.copy()
    _change_surnames(wrong, names, rng, note)
    _change_forenames(wrong, rng, note)
    _change_birth_dates(wrong, rng, note)
    _change_postcodes(wrong, rng, note)
    scn = wrong["scn"].to_numpy(dtype=object)
    slips = (rng.random(len(wrong)) < SCN_TYPO_SHARE) & wrong["scn"].notna().to_numpy()
    wrong["scn"] = _changed(
        scn, slips, lambda number: number[:4] + number[5] + number[4] + number[6:]
    )
    note("typo_scn", slips)
    for column, share in MISSING_SHARES.items():
        empty = rng.random(len(wrong)) < share
        wrong[column] = blanked(wrong[column].to_numpy(dtype=object), empty)
        note(f"missing_{column}", empty)
    shouted = rng.random(len(wrong)) < CAPITALS_SHARE
    for column in ("surname", "first_forename"):
        wrong[column] = _changed(wrong[column].to_numpy(dtype=object), shouted, str.upper)
    return wrong


Note = Callable[[str, Bools], None]


def _change_surnames(
    frame: pd.DataFrame, names: NameBook, rng: np.random.Generator, note: Note
) -> None:
    right = frame["surname"].to_numpy(dtype=object)
    renamed = rng.random(len(frame)) < SURNAME_CHANGED_SHARE
    noted = renamed & (rng.random(len(frame)) < PREVIOUS_NOTED_SHARE)
    surname = np.where(renamed, names.surnames(rng, len(frame)), right)
    frame["previous_surname"] = np.where(noted, right, frame["previous_surname"])
    note("changed_surname", renamed)
    double = np.array(["-" in name for name in surname])
    halved = double & (rng.random(len(frame)) < DOUBLE_SURNAME_HALVED_SHARE)
    surname = _changed(surname, halved, lambda name: name.split("-")[0])
    note("halved_surname", halved)
    mac = np.array([name.startswith(("Mac", "Mc")) for name in surname])
    respelt = mac & (rng.random(len(frame)) < MAC_RESPELT_SHARE)
    surname = _changed(surname, respelt, _other_mac)
    note("respelt_surname", respelt)
    frame["surname"], slips = add_typos(rng, surname, SURNAME_TYPO_SHARE)
    note("typo_surname", slips)


def _other_mac(name: str) -> str:
    return "Mc" + name[3:].capitalize() if name.startswith("Mac") else "Mac" + name[2:].lower()


def _change_forenames(frame: pd.DataFrame, rng: np.random.Generator, note: Note) -> None:
    with NICKNAMES.open(encoding="utf-8", newline="") as file:
        short = {row["name"]: row["short"] for row in csv.DictReader(file)}
    first = frame["first_forename"].to_numpy(dtype=object)
    second = frame["second_forename"].to_numpy(dtype=object)
    swapped = frame["second_forename"].notna().to_numpy() & (
        rng.random(len(frame)) < FORENAMES_SWAPPED_SHARE
    )
    frame["second_forename"] = np.where(swapped, first, second)
    first = np.where(swapped, second, first)
    note("swapped_forenames", swapped)
    known = np.array([name in short for name in first])
    called = known & (rng.random(len(frame)) < NICKNAME_SHARE)
    first = _changed(first, called, short.__getitem__)
    note("nickname", called)
    frame["first_forename"], slips = add_typos(rng, first, FORENAME_TYPO_SHARE)
    note("typo_first_forename", slips)


def _change_birth_dates(frame: pd.DataFrame, rng: np.random.Generator, note: Note) -> None:
    dates = frame["date_of_birth"].to_numpy(dtype=object)
    turnable = np.array([text[5:7] != text[8:] and int(text[8:]) <= 12 for text in dates])
    # Only dates with a day up to 12 can be transposed: the share is one of all records.
    chance = BIRTH_DAY_TRANSPOSED_SHARE / max(float(turnable.mean()), 0.01)
    turned = turnable & (rng.random(len(frame)) < chance)
    dates = _changed(dates, turned, lambda text: f"{text[:4]}-{text[8:]}-{text[5:7]}")
    note("transposed_birth_date", turned)
    off = ~turned & (rng.random(len(frame)) < BIRTH_DAY_OFF_SHARE)
    frame["date_of_birth"] = _changed(
        dates, off, lambda text: str(np.datetime64(text, "D") + np.timedelta64(1, "D"))
    )
    note("birth_date_off_by_a_day", off)


def _change_postcodes(frame: pd.DataFrame, rng: np.random.Generator, note: Note) -> None:
    codes = frame["postcode"].to_numpy(dtype=object)
    districts = np.array([code.split(" ")[0] for code in codes], dtype=object)
    before = make_postcodes(rng, districts, rng.integers(0, 5_000, len(frame)))
    old = rng.random(len(frame)) < OLD_POSTCODE_SHARE
    codes = np.where(old, before, codes)
    note("old_postcode", old)
    part = rng.random(len(frame)) < POSTCODE_DISTRICT_ONLY_SHARE
    codes = np.where(part, districts, codes)
    note("district_only", part)
    unspaced = rng.random(len(frame)) < POSTCODE_UNSPACED_SHARE
    frame["postcode"] = _changed(codes, unspaced, lambda code: code.replace(" ", "").lower())


def _changed(values: Texts, chosen: Bools, change: Callable[[str], str]) -> Texts:
    """A copy with `change` applied where `chosen`, and the value is not null."""
    copy = values.astype(object)
    copy[chosen] = [change(value) if isinstance(value, str) else None for value in copy[chosen]]
    return copy
