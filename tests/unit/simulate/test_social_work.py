"""The social work extract: who has a record, what is wrong in it, and whose it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rcs_assets.codebook import Codebook
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import stream
from rcs_assets.simulate.identifiers import NameBook
from rcs_assets.simulate.misrecorded import misrecord
from tests.unit.simulate.conftest import SimulatedSet

ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
RIGHT_N = 4_000


def links(made: SimulatedSet) -> pd.DataFrame:
    return pd.read_parquet(made.truth / "social_work_links.parquet")


def files(made: SimulatedSet, kind: str) -> pd.DataFrame:
    return pd.concat(
        made.csv(f"{key}_social-work-{kind}.csv").assign(engagement=key) for key in ENGAGEMENTS
    )


def test_both_files_hold_the_records_of_the_truth(small_set: SimulatedSet) -> None:
    truth = links(small_set)
    ids, payload = files(small_set, "identifiers"), files(small_set, "payload")
    assert set(ids["record_id"]) == set(payload["record_id"]) == set(truth["record_id"])
    assert truth["record_id"].is_unique
    assert payload["record_id"].tolist() != ids["record_id"].tolist()
    # One record an engagement was exported twice.
    assert len(ids) == len(truth) + len(ENGAGEMENTS)
    assert "survey_uid" not in ids.columns


def test_every_record_of_a_pupil_names_a_pupil_of_the_sample(small_set: SimulatedSet) -> None:
    truth = links(small_set)
    sampled = {
        uid for key in ENGAGEMENTS for uid in small_set.csv(f"{key}_sample-file.csv")["survey_uid"]
    }
    own = truth["kind"].isin(["pupil", "second_record"])
    assert set(truth.loc[own, "uid"]) <= sampled
    assert truth.loc[~own, "uid"].isna().all()
    assert (truth.loc[~own, "person_id"] == -1).all()
    pupils = truth[truth["kind"] == "pupil"]
    assert pupils["person_id"].is_unique
    assert set(truth.loc[truth["kind"] == "second_record", "person_id"]) <= set(pupils["person_id"])


def test_a_tenth_is_known_and_two_thirds_have_an_scn(small_set: SimulatedSet) -> None:
    truth = links(small_set)
    assert 0.07 < (truth["kind"] == "pupil").sum() / small_set.report.pupils_n < 0.12
    assert truth["has_scn"].mean() == pytest.approx(0.66, abs=0.06)
    ids = files(small_set, "identifiers").drop_duplicates()
    assert (ids["scn"] != "").sum() == truth["has_scn"].sum()


def test_records_go_where_need_is(small_set: SimulatedSet) -> None:
    answers = small_set.respondents().query("status == 'accepted' and survey == 'secondary'")
    known = answers["person_id"].isin(links(small_set)["person_id"])
    high = (answers["sdq_emotional"] >= 7) | (answers["sdq_conduct"] >= 6)
    assert known[high].mean() > 2 * known[~high].mean()
    assert 0.12 < known[high].mean() < 0.35


def test_education_and_social_work_agree_on_most_looked_after(small_set: SimulatedSet) -> None:
    truth = links(small_set)
    payload = files(small_set, "payload").merge(truth, on=["record_id", "engagement"])
    education = pd.concat(
        small_set.csv(f"{key}_education-payload.csv").assign(engagement=key) for key in ENGAGEMENTS
    ).merge(pd.read_parquet(small_set.truth / "links.parquet"), on=["record_id", "engagement"])
    flagged = set(education.loc[education["looked_after"] == "Y", "person_id"])
    current = payload["looked_after_status"].str.startswith("currently")
    assert len(flagged & set(payload.loc[current, "person_id"])) > 0.8 * len(flagged)


def test_a_clean_set_has_right_identifiers(clean_set: SimulatedSet) -> None:
    sample = pd.concat(clean_set.csv(f"{key}_sample-file.csv") for key in ENGAGEMENTS)
    ids = files(clean_set, "identifiers").merge(links(clean_set), on="record_id")
    pairs = ids.merge(sample, left_on="uid", right_on="survey_uid", suffixes=("", "_roll"))
    assert len(pairs) == len(ids)
    for column in ("surname", "first_forename", "date_of_birth", "postcode", "sex"):
        assert (pairs[column] == pairs[f"{column}_roll"]).all(), column
    filled = pairs["scn"] != ""
    assert (pairs.loc[filled, "scn"] == pairs.loc[filled, "scn_roll"]).all()


def test_payload_stays_inside_its_contract_but_for_what_was_planted(
    small_set: SimulatedSet, codebook: Codebook
) -> None:
    payload = files(small_set, "payload")
    planted = pd.read_csv(small_set.truth / "planted.csv").groupby(["dataset", "kind"])["n"].sum()
    wrong = {"looked_after_status": planted["social_work_payload", "unknown_status"]}
    for field in codebook.datasets["social_work_payload"].fields:
        if field.allowed:
            off = ~payload[field.name].isin([*field.allowed, ""])
            assert off.sum() == wrong.get(field.name, 0), field.name
    turned = (payload["closed_on"] != "") & (payload["closed_on"] < payload["opened_on"])
    assert turned.sum() == planted["social_work_payload", "closed_before_opened"]
    looked_after = payload["looked_after_status"].str.startswith("currently")
    assert (payload.loc[looked_after, "placement"] != "").all()
    assert (payload.loc[looked_after, "open_case"] == "Y").all()
    assert ((payload["closed_on"] == "") == (payload["open_case"] == "Y"))[~turned].all()


@pytest.fixture(scope="module")
def misrecorded() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Right identifiers, the same misrecorded, and the number of changes by kind."""
    right = pd.DataFrame(
        {
            "scn": "123456789",
            "surname": np.where(np.arange(RIGHT_N) % 2, "Macdonald", "Smith-Brown").astype(object),
            "previous_surname": None,
            "first_forename": "Alexander",
            "second_forename": "Robert",
            "sex": "M",
            "date_of_birth": "2003-04-11",
            "postcode": "FK10 1AA",
        }
    )
    planted = Planted()
    wrong = misrecord(right, NameBook(None), stream(1, "test"), "t1-test", planted)
    return right, wrong, planted.table().set_index("kind")["n"]


def test_each_error_is_made_as_often_as_noted(
    misrecorded: tuple[pd.DataFrame, pd.DataFrame, pd.Series],
) -> None:
    right, wrong, n = misrecorded
    assert wrong["postcode"].isna().sum() == n["missing_postcode"]
    assert wrong["sex"].isna().sum() == n["missing_sex"]
    assert (wrong["scn"] != right["scn"]).sum() == n["typo_scn"]
    dates = wrong["date_of_birth"]
    assert (dates == "2003-11-04").sum() == pytest.approx(n["transposed_birth_date"], abs=3)
    assert (dates == "2003-04-12").sum() == pytest.approx(n["birth_date_off_by_a_day"], abs=3)
    assert wrong["previous_surname"].notna().sum() == pytest.approx(
        0.6 * n["changed_surname"], abs=30
    )
    noted = wrong["previous_surname"].notna()
    assert (wrong.loc[noted, "previous_surname"] == right.loc[noted, "surname"]).all()
    assert 0.12 * RIGHT_N < n["old_postcode"] < 0.2 * RIGHT_N
    assert set(wrong["first_forename"].dropna().str.lower()) >= {"alexander", "robert", "alex"}
    assert wrong["surname"].isin(["Mcdonald", "McDonald"]).sum() > 0


def test_most_records_keep_enough_to_be_found(
    misrecorded: tuple[pd.DataFrame, pd.DataFrame, pd.Series],
) -> None:
    """domain.md 3.5: 85-95 % can be found, so most must agree on nearly everything."""
    right, wrong, _ = misrecorded
    compared = ["surname", "first_forename", "date_of_birth", "postcode"]
    agreed = sum(wrong[c].str.lower().eq(right[c].str.lower()).astype(int) for c in compared)
    assert (agreed >= 3).mean() > 0.8
    assert (agreed >= 2).mean() > 0.95
    assert (agreed == 4).mean() < 0.8


def test_an_empty_sex_stays_empty_in_capitals(
    misrecorded: tuple[pd.DataFrame, pd.DataFrame, pd.Series],
) -> None:
    _, wrong, n = misrecorded
    assert wrong["first_forename"].isna().sum() == n["missing_first_forename"]
    assert (wrong["surname"].str.isupper()).mean() == pytest.approx(0.05, abs=0.02)
