"""Identifiers: check digits, uniqueness, forms, typing errors."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcs_assets.simulate.draws import stream
from rcs_assets.simulate.identifiers import (
    UID_LETTERS,
    add_typos,
    is_valid_uid,
    make_postcodes,
    make_scns,
    make_uids,
    scn_check_digit,
)


@pytest.mark.parametrize("scn", ["040001239", "112345671", "098765433", "051111117"])
def test_check_digit_agrees_with_the_published_valid_numbers(scn: str) -> None:
    assert scn_check_digit(np.array([int(scn[:8])]))[0] == int(scn[8])


def test_a_body_with_remainder_one_has_no_check_digit() -> None:
    bodies = np.arange(4_000_000, 4_001_000)
    remainders = [
        sum(int(d) * w for d, w in zip(f"{b:08d}", (3, 2, 7, 6, 5, 4, 3, 2), strict=True)) % 11
        for b in bodies
    ]
    assert ((scn_check_digit(bodies) == -1) == (np.array(remainders) == 1)).all()


def test_made_scns_are_different_valid_and_carry_the_year() -> None:
    scns = make_scns(stream(1, "scn"), np.repeat([2003, 2011], 3_000))
    assert len(set(scns)) == 6_000
    numbers = np.array([int(scn[:8]) for scn in scns])
    assert (scn_check_digit(numbers) == [int(scn[8]) for scn in scns]).all()
    assert {scn[:2] for scn in scns[:3_000]} == {"03"}


def test_uids_are_different_and_fit_the_contract() -> None:
    keys = [f"t1-somewhere/{k}" for k in range(700)]
    uids = make_uids(5, keys, np.repeat(np.arange(700), 60))
    assert len(set(uids)) == 42_000
    assert all(re.fullmatch(r"[A-Z]{2}[0-9]{8}", uid) for uid in uids[:500])
    assert all(is_valid_uid(uid) for uid in uids[:500])


def test_uid_depends_on_the_school_code_and_the_seed() -> None:
    one = make_uids(5, ["t1-a/5501822"], np.zeros(1, dtype=np.int64))
    other_school = make_uids(5, ["t1-a/5505321"], np.zeros(1, dtype=np.int64))
    other_seed = make_uids(6, ["t1-a/5501822"], np.zeros(1, dtype=np.int64))
    assert one[0][:5] != other_school[0][:5]
    assert one[0] != other_seed[0]


@given(position=st.integers(0, 9), step=st.integers(1, 9), school=st.integers(0, 50))
def test_uid_check_digit_sees_every_single_change(position: int, step: int, school: int) -> None:
    uid = make_uids(3, [f"t1-a/{school}"], np.zeros(1, dtype=np.int64))[0]
    letters = UID_LETTERS.tolist()
    signs = letters if position < 2 else list("0123456789")
    changed = signs[(signs.index(uid[position]) + step) % 10]
    assert not is_valid_uid(uid[:position] + changed + uid[position + 1 :])


def test_postcodes_have_the_british_form() -> None:
    districts = np.array(["FK10", "G7"] * 200, dtype=object)
    codes = make_postcodes(stream(1, "postcode"), districts, np.arange(400))
    assert all(re.fullmatch(r"[A-Z]{1,2}[0-9]{1,2} [1-9][ABD-HJLNP-UW-Z]{2}", c) for c in codes)


def test_typos_change_about_the_asked_share_and_keep_the_letters() -> None:
    names = np.array(["Robertson"] * 5_000, dtype=object)
    spoilt, changed = add_typos(stream(2, "typo"), names, 0.1)
    assert 0.08 < changed.mean() < 0.12
    assert {"".join(sorted(name)) for name in spoilt} == {"".join(sorted("Robertson"))}


def test_every_pupil_has_own_identifiers_and_a_fitting_birth_date(people: pd.DataFrame) -> None:
    assert people["uid"].is_unique
    assert people["scn"].is_unique
    s1 = people[(people["stage"] == "S1") & (people["engagement"] == "t1-west-lothian")]
    # S1 in August 2015: born March 2003 to February 2004, some held back a year.
    assert s1["date_of_birth"].between("2003-01-01", "2004-02-29").all()
    assert 0.025 < people["twin"].mean() < 0.035


def test_twins_share_home_stage_and_birth_date(people: pd.DataFrame) -> None:
    twins = people[people["twin"]]
    family = ["seed_code", "stage", "date_of_birth", "surname", "datazone"]
    sizes = twins.groupby(family).size()
    assert (sizes >= 2).all()
