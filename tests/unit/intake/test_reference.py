"""The published reference files go through intake as they are, and recounts agree with them.

Belongs here: what is taken in of the real files, counted again in plain Python; what an
operator sees of one that was edited. Does not belong here: reading them (`test_readers.py`).
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from benchmarks import edited
from rcs_assets.intake.receipts import Receipt, ReceiptStatus
from rcs_assets.intake.take import take_reference
from tests.unit.intake.conftest import World

FILES = {
    "school_roll": "schools/school_level_summary_2019.csv",
    "school_roll_2022": "schools/school_level_summary_2022.csv",
    "school_list": "schools/schools_open_2024-10-31.csv",
    "school_changes": "schools/schools_opened_closed.csv",
    "school_names": "schools/schools_renamed.csv",
    "simd": "geography/simd2016_datazones.csv",
    "simd_2020v2": "geography/simd2020v2_datazones.csv",
    "datazones": "geography/datazone2011_lookup.csv",
    "council_codes": "geography/council_areas_all_versions.csv",
    "population": "population/nrs_midyear_population_age0_18_council_sex.csv",
    "salsus": "population/salsus_sdq_wemwbs_by_council_sex_stage.csv",
}
Rows = list[dict[str, str]]


def _published(shared_reference: Path, name: str) -> Rows:
    with (shared_reference / FILES[name]).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def _take(world: World, *names: str) -> dict[str, Receipt]:
    world.deliver()
    with world.desk() as desk:
        receipts = {name: take_reference(desk, name) for name in names}
    return {name: receipt for name, receipt in receipts.items() if receipt is not None}


@pytest.fixture
def taken(world: World, shared_reference: Path) -> dict[str, Receipt]:
    """Every published file, copied byte for byte and taken in."""
    for file in FILES.values():
        shutil.copyfile(shared_reference / file, world.folder / Path(file).name)
    return _take(world, *FILES)


def test_every_published_row_is_taken_in_and_counted_again(
    world: World, shared_reference: Path, taken: dict[str, Receipt]
) -> None:
    published = {name: _published(shared_reference, name) for name in FILES}
    for name, rows in published.items():
        receipt = taken[name]
        assert (receipt.received_n, receipt.accepted_n) == (len(rows), len(rows)), name
        assert world.rows(f"select count(*) from intake.{name}") == [(len(rows),)]
    children = sum(int(row["population"]) for row in published["population"])
    assert world.rows("select sum(people_n) from intake.population") == [(children,)]
    ranks = Counter(row["simd_quintile"] for row in published["simd_2020v2"])
    found = world.rows("select quintile::varchar, count(*) from intake.simd_2020v2 group by all")
    assert dict(found) == dict(ranks)
    means = [float(r["measure"]) for r in published["salsus"] if r["type_definition"] == "Mean"]
    mean = world.rows("select sum(measure) from intake.salsus where type_definition = 'Mean'")
    assert mean[0][0] == pytest.approx(sum(means))
    closed = sum(bool(row["date_closed"]) for row in published["school_changes"])
    assert world.rows("select count(date_closed) from intake.school_changes") == [(closed,)]
    # Eight opened before 1900, which the publisher's spreadsheet writes the other way round.
    old = world.rows("select count(*) from intake.school_changes where date_opened < '1900-01-01'")
    assert (
        old == [(sum("/" in row["date_opened"] for row in published["school_changes"]),)] != [(0,)]
    )


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("school_roll", {"*": "cells_suppressed", "#": "cells_not_applicable"}),
        ("school_roll_2022", {"c": "cells_suppressed", "z": "cells_not_applicable"}),
    ],
)
def test_each_roll_has_its_own_marks(
    world: World,
    shared_reference: Path,
    taken: dict[str, Receipt],
    name: str,
    marks: dict[str, str],
) -> None:
    """A marked cell is empty in the table, and the receipt says how many stand for what."""
    dataset = world.codebook.datasets[name]
    columns = [field.column for field in dataset.fields if field.marks]
    cells = Counter(row[c] for row in _published(shared_reference, name) for c in columns)
    expected = {flag: cells[mark] for mark, flag in marks.items()}
    assert dict(taken[name].flags) == expected
    blanks = " + ".join(f"count(*) - count({f.name})" for f in dataset.fields if f.marks)
    empty = sum(expected.values()) + cells[""]
    assert world.rows(f"select {blanks} from intake.{name}") == [(empty,)]


def test_the_vintage_stands_beside_the_zone(world: World, taken: dict[str, Receipt]) -> None:
    assert {receipt.status for receipt in taken.values()} == {ReceiptStatus.ACCEPTED}
    assert world.rows("select distinct vintage from intake.simd") == [("2016",)]
    assert world.rows("select distinct vintage from intake.simd_2020v2") == [("2020v2",)]


def test_council_codes_are_those_of_the_day(world: World, taken: dict[str, Receipt]) -> None:
    """Domain.md 12: in tranches 1 and 2 North Lanarkshire was S12000044."""
    assert taken["council_codes"].quarantined_n == 0

    def code_on(day: date) -> list[tuple[str, str]]:
        return world.rows(
            "select council_code, health_board_code from intake.council_codes "
            f"where council_name = 'North Lanarkshire' and council_from <= '{day}' "
            f"and coalesce(council_to, '9999-12-31') >= '{day}'"
        )

    assert code_on(date(2017, 1, 9)) == [("S12000044", "S08000023")]
    assert code_on(date(2019, 6, 1)) == [("S12000050", "S08000032")]


def test_what_the_operator_sees_of_an_edited_file(shared_reference: Path, tmp_path: Path) -> None:
    """Five edits, each set aside or refused with its place, as the page says."""
    found = edited.measure(shared_reference, tmp_path)
    assert len(found) == 5
    for one in found:
        receipt = one.receipt
        assert receipt.received_n == receipt.accepted_n + receipt.quarantined_n
        is_refused = receipt.status == ReceiptStatus.REJECTED
        assert edited.FILE in receipt.reason if is_refused else 1 <= receipt.quarantined_n <= 2
    assert [one.receipt.status for one in found].count(ReceiptStatus.REJECTED) == 1
    assert edited.PAGE.read_text(encoding="utf-8") == edited.page(found)


def test_what_is_not_required_may_be_absent(world: World) -> None:
    assert _take(world, "salsus", "simd_2020v2") == {}
    assert world.rows("select count(*) from intake.salsus") == [(0,)]
    assert _take(world, "simd")["simd"].status == ReceiptStatus.MISSING
