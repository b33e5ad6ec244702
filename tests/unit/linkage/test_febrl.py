"""FEBRL 4, the published test set of record linkage, without its social security number."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from rcs_assets.linkage import LinkSettings, link


@pytest.fixture(scope="module")
def febrl(shared_reference: Path) -> tuple[pa.Table, pa.Table, set[tuple[str, str]]]:
    """Both files in the engine's columns, and the true pairs."""
    folder = shared_reference / "linkage"
    query = """
        select
            rec_id as record_id, given_name as first_forename, surname, date_of_birth, postcode,
            concat_ws(' ', street_number, address_1) as address, suburb as town, soc_sec_id
        from read_csv('{file}', all_varchar = true)
    """
    with duckdb.connect() as con:
        left, right = (
            con.execute(query.format(file=folder / f"febrl4{side}.csv")).to_arrow_table()
            for side in "ab"
        )
        truth = con.execute(
            f"select l, r from read_csv('{folder / 'febrl4_true_links.csv'}')"
        ).fetchall()
    return left, right, set(truth)


Febrl = tuple[pa.Table, pa.Table, set[tuple[str, str]]]


def without_number(febrl: Febrl) -> Febrl:
    left, right, truth = febrl
    return left.drop_columns("soc_sec_id"), right.drop_columns("soc_sec_id"), truth


def test_no_false_link_and_nearly_all_found(febrl) -> None:
    """The reference is Splink's own F1 of 0.9929 on these fields (methods.md A, measured)."""
    left, right, truth = without_number(febrl)
    links = link(left, right, LinkSettings(threads=1))
    rows = links.table.to_pylist()
    found = {(row["left_id"], row["right_id"]) for row in rows if row["band"] != "clerical"}
    right_n = len(found & truth)
    assert right_n / len(found) == 1
    assert 2 * right_n / (len(found) + len(truth)) >= 0.9985
    proposed = {(row["left_id"], row["right_id"]) for row in rows if row["band"] == "clerical"}
    assert len(proposed) <= 0.01 * len(truth)


def test_with_the_number_hardly_anybody_is_missed(febrl) -> None:
    left, right, truth = febrl
    links = link(left, right, LinkSettings(extra_fields=("soc_sec_id",)))
    found = {
        (row["left_id"], row["right_id"])
        for row in links.table.to_pylist()
        if row["band"] != "clerical"
    }
    assert found <= truth
    assert 2 * len(found) / (len(found) + len(truth)) >= 0.9998


def test_the_estimates_are_near_the_truth(febrl) -> None:
    left, right, truth = without_number(febrl)
    links = link(left, right, LinkSettings(threads=1))
    found = {
        (row["left_id"], row["right_id"])
        for row in links.table.to_pylist()
        if row["band"] != "clerical"
    }
    quality = links.quality
    assert quality.precision == pytest.approx(len(found & truth) / len(found), abs=0.001)
    assert quality.recall == pytest.approx(len(found & truth) / len(truth), abs=0.002)
