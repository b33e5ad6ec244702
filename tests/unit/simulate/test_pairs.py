"""Two files of the same pupils: twins, errors, and which pairs can be found at all."""

from __future__ import annotations

import pandas as pd
import pytest

from rcs_assets.simulate.pairs import PairedFiles, linkable, make_pairs
from tests.unit.simulate.conftest import SimulatedSet

RIGHT = {
    "scn": None,
    "surname": "O'Hara",
    "first_forename": "Zoë",
    "date_of_birth": "2006-03-04",
    "postcode": "FK10 1AA",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"surname": "OHARA", "first_forename": "zoe", "postcode": "fk101aa"}, True),
        ({"surname": "Smith"}, True),
        ({"surname": "Smith", "postcode": None}, False),
        ({"surname": "Smith", "postcode": "FK10 1AB"}, True),
        ({"surname": "Smith", "date_of_birth": "2006-04-03"}, True),
        ({"surname": "Smith", "date_of_birth": "2007-04-03"}, False),
        ({"surname": "OHraa", "postcode": "G1 1AA"}, True),
    ],
)
def test_three_near_agreements_of_four_make_a_pair_linkable(
    changes: dict[str, str | None], expected: bool
) -> None:
    found = linkable(pd.DataFrame([RIGHT]), pd.DataFrame([RIGHT | changes]))
    assert found.tolist() == [expected]


@pytest.mark.parametrize(("scn", "expected"), [("112345671", True), ("112345672", False)])
def test_a_valid_number_alone_is_enough(scn: str, expected: bool) -> None:
    other = dict.fromkeys(RIGHT) | {"scn": scn}
    found = linkable(pd.DataFrame([RIGHT | {"scn": scn}]), pd.DataFrame([other]))
    assert found.tolist() == [expected]


@pytest.fixture(scope="module")
def paired() -> PairedFiles:
    return make_pairs(4_000, 77, left_only_share=0.1, right_only_share=0.05, scn_share=0.5)


def test_the_files_have_the_sizes_and_twins_that_were_asked_for(paired: PairedFiles) -> None:
    assert (len(paired.left), len(paired.right), len(paired.truth)) == (4_400, 4_200, 4_000)
    assert paired.left["record_id"].is_unique
    assert paired.right["record_id"].is_unique
    assert paired.truth["is_twin"].mean() == pytest.approx(0.03, abs=0.01)
    assert paired.right["scn"].notna().mean() == pytest.approx(0.5, abs=0.03)
    assert 0.9 < paired.truth["is_linkable"].mean() < 1


def test_twins_share_all_but_the_forename(paired: PairedFiles) -> None:
    twins = paired.truth.loc[paired.truth["is_twin"], "left_id"]
    rows = paired.left[paired.left["record_id"].isin(twins)]
    home = rows.groupby(["surname", "date_of_birth", "postcode"])
    both = home.filter(lambda group: len(group) == 2)
    assert len(both) > 0.7 * len(rows)
    names = both.groupby(["surname", "date_of_birth", "postcode"])["first_forename"]
    assert (names.nunique() == 2).all()


def test_the_same_seed_makes_the_same_files(paired: PairedFiles) -> None:
    again = make_pairs(4_000, 77, left_only_share=0.1, right_only_share=0.05, scn_share=0.5)
    pd.testing.assert_frame_equal(paired.left, again.left)
    pd.testing.assert_frame_equal(paired.right, again.right)
    pd.testing.assert_frame_equal(paired.truth, again.truth)


def test_the_truth_of_the_deliveries_says_which_pairs_are_linkable(
    small_set: SimulatedSet,
) -> None:
    cases = pd.read_parquet(small_set.truth / "social_work_links.parquet")
    pupils = cases[cases["person_id"] >= 0]
    assert 0.85 < pupils["is_linkable"].mean() < 1
    assert not cases.loc[cases["person_id"] < 0, "is_linkable"].any()
    links = pd.read_parquet(small_set.truth / "links.parquet")
    assert 0.97 < links.loc[links["record_id"].notna(), "is_linkable"].mean() <= 1
