"""Which foreign names of columns a message repeats: none that could be a person's."""

from __future__ import annotations

import csv

import pytest

from rcs_assets.codebook import Codebook
from rcs_assets.intake.columns import column_told
from rcs_assets.intake.survey import survey_columns
from rcs_assets.simulate.identifiers import NAMES


def test_no_name_of_a_person_is_told_under_any_contract(codebook: Codebook) -> None:
    with NAMES.open(encoding="utf-8") as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    odd = ["Hector", "Easton", "Plamen", "Max English", "May Young", "Max Post", "Min Case"]
    expected = {
        column
        for dataset in codebook.datasets.values()
        if dataset.level != "reference"
        for column in (field.column for field in dataset.fields)
    } | {column for asked in codebook.questionnaires.values() for column in survey_columns(asked)}
    header = [*names, *(name.lower() for name in names), *odd]
    told = [column_told(header, place, sorted(expected)) for place in range(len(header))]
    assert told == [f"column {place}" for place in range(1, len(header) + 1)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("looked_after_status", "looked_after_status"),
        ("Date Of Birth", "Date Of Birth"),
        ("schoolPostcode", "schoolPostcode"),
        ("exclusions_n", "exclusions_n"),
        ("date_of_brith", "date_of_brith"),
        ("attendence_pct", "attendence_pct"),
        ("date_of_birth Doe", "column 1"),
        ("date of birth 2003", "column 1"),
        ("date of birth 1/2", "column 1"),
        ("date of birth 27 11 03", "column 1"),
        ("survey\x1b[31muid", "column 1"),
        ("12", "column 1"),
        (" ", "column 1 without a name"),
    ],
)
def test_ours_and_misspellings_are_told(name: str, told: str) -> None:
    assert column_told([name], 0, ["date_of_birth", "attendance_pct"]) == told
