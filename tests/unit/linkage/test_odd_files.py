"""Files of other registers than ours: neither refused nor linked wrongly for what they lack."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import pytest

from rcs_assets.linkage import LinkSettings, link
from rcs_assets.linkage.probabilistic import _drop_lightest, _fitting
from rcs_assets.simulate.pairs import PairedFiles, make_pairs

FIXED = LinkSettings(training="fixed", threads=1)
NAMES = ["record_id", "surname", "first_forename"]
PERSON = [*NAMES, "sex", "date_of_birth", "postcode"]


@pytest.fixture(scope="module")
def files() -> PairedFiles:
    """Two registers of 600 children, 400 of them in both."""
    return make_pairs(400, 98, left_only_share=0.5, right_only_share=0.5)


def judged(
    files: PairedFiles, left: Any, right: Any, settings: LinkSettings = FIXED
) -> tuple[int, int]:
    """Links, and those of them that are wrong."""
    truth = set(zip(files.truth.left_id, files.truth.right_id, strict=True))
    found = linked(left, right, settings)
    return len(found), len(found - truth)


def linked(left: Any, right: Any, settings: LinkSettings = FIXED) -> set[tuple[str, str]]:
    rows = link(left, right, settings).table.to_pylist()
    return {(row["left_id"], row["right_id"]) for row in rows if row["band"] != "clerical"}


def years(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(date_of_birth=frame.date_of_birth.str[:4])


@pytest.mark.parametrize(
    ("left_years", "right_years", "columns", "least"),
    [
        (True, True, PERSON, 350),
        (False, True, PERSON, 340),
        (True, True, [*NAMES, "date_of_birth"], 250),
    ],
)
def test_a_year_of_birth_is_no_birth_date(
    files: PairedFiles, left_years: bool, right_years: bool, columns: list[str], least: int
) -> None:
    """Two strangers of seven years of birth share one as often as not at all."""
    left = years(files.left) if left_years else files.left
    right = years(files.right) if right_years else files.right
    links_n, wrong_n = judged(files, left[columns], right[columns])
    assert links_n >= least
    assert wrong_n <= 1


@pytest.mark.parametrize("words", [("NULL", "nan", "None"), ("Unknown", "?", "not known")])
def test_words_for_a_blank_cell_are_no_name(files: PairedFiles, words: tuple[str, ...]) -> None:
    """One cell in nine says that nothing stands there: the same links as with a blank."""

    def spoilt(frame: pd.DataFrame, *, is_blank: bool) -> pd.DataFrame:
        made = frame[PERSON].reset_index(drop=True)
        for place, column in enumerate(PERSON[1:]):
            rows = made.index % 9 == place
            made.loc[rows, column] = None if is_blank else words[place % len(words)]
        return made

    blank, worded = (
        linked(spoilt(files.left, is_blank=kind), spoilt(files.right, is_blank=kind))
        for kind in (True, False)
    )
    assert blank == worded and len(blank) > 200


def test_numbers_that_were_read_with_a_fraction_are_the_same(files: PairedFiles) -> None:
    """As pandas reads a column with a gap, where no types are named."""
    left = files.left.assign(
        date_of_birth=files.left.date_of_birth.str.replace("-", ""),
        postcode=files.left.postcode.map(lambda text: sum(map(ord, text)) * 7),
    )[[*NAMES, "date_of_birth", "postcode"]]
    right = left.assign(
        record_id="r" + left.record_id,
        date_of_birth=left.date_of_birth.astype(float).where(left.index > 0),
        postcode=left.postcode.astype(float).where(left.index > 0),
    )
    found = linked(left, right)
    assert found == {(one, f"r{one}") for one in left.record_id}


def test_two_files_with_few_children_in_common_link_few() -> None:
    """One in twenty: the evidence of all pairs tells how many have a partner, not their sizes."""
    few = make_pairs(100, 53, left_only_share=19.0, right_only_share=19.0)
    columns = [*NAMES, "date_of_birth"]
    # Fitted: with a prior from the sizes alone 8 of 97 links were wrong.
    links_n, wrong_n = judged(few, few.left[columns], few.right[columns], LinkSettings())
    assert links_n > 60
    assert wrong_n <= 1


def test_names_alone_are_fitted_to_nothing_and_fail_nowhere(files: PairedFiles) -> None:
    left, right = (pd.concat([frame[NAMES]] * 2) for frame in (files.left, files.right))
    for frame in (left, right):
        frame["record_id"] = [f"{number}" for number in range(len(frame))]
    assert link(left, right, LinkSettings(training="fit")).table.num_rows > 0


def test_within_one_file_other_columns_find_duplicates_too(files: PairedFiles) -> None:
    """No pass of the cascade fits names and birth dates without sex, so none tells the prior."""
    columns = [*NAMES, "date_of_birth"]
    both = pd.concat([files.left[columns], files.right[columns]])
    truth = {
        tuple(sorted(pair)) for pair in zip(files.truth.left_id, files.truth.right_id, strict=True)
    }
    found = linked(both, None, LinkSettings(mode="dedupe", training="fixed"))
    assert len(found & truth) > 0.7 * len(truth)
    assert len(found - truth) <= 3


def test_a_number_of_an_extra_field_joins_what_nothing_else_does(files: PairedFiles) -> None:
    """Three records of one child, the first and the last alike in the number alone."""
    others = files.left.head(300)[[*NAMES, "date_of_birth"]]
    others["order"] = [f"{number}" for number in range(len(others))]
    names = list(others.columns)
    own = [
        ("a", "Moray", "Anne", "2004-01-31", "n77"),
        ("b", "Moray", "Ann", "2004-01-13", "n77"),
        ("c", "Grant", "Bella", "2004-01-13", "n77"),
    ]
    table = pd.concat([pd.DataFrame(own, columns=names), others])
    settings = LinkSettings(mode="dedupe", training="fixed", extra_fields=("order",))
    found = {pair for pair in linked(table, None, settings) if set(pair) & set("abc")}
    assert ("a", "b") in found and found <= {("a", "b"), ("b", "c"), ("a", "c")}


def test_blocks_that_hold_too_many_pairs_are_left_out() -> None:
    with duckdb.connect() as con:
        con.execute(
            "create table lhs as select i as unique_id, i % 2 as sex, i as n from range(100) t(i)"
        )
        con.execute("create table rhs as from lhs")
        wide, narrow = "l.sex = r.sex", "l.n = r.n"
        assert _fitting(con, ["lhs", "rhs"], [wide, narrow], 10_000) == [wide, narrow]
        assert _fitting(con, ["lhs", "rhs"], [wide, narrow], 2_000) == [narrow]
        assert _fitting(con, ["lhs", "rhs"], [wide, narrow], 99) == []
        con.execute(
            "create table scored as select (i % 10)::double as evidence from range(100) t(i)"
        )
        _drop_lightest(con, 100)
        assert con.execute("select count(*) from scored").fetchall() == [(100,)]
        _drop_lightest(con, 35)
        assert con.execute("select count(*), min(evidence) from scored").fetchall() == [(30, 7.0)]
