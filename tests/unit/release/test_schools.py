import csv
import json

import pytest

from rcs_assets.release.tables import table_specs
from rcs_assets.storage import open_warehouse

FILES = {
    "estimates": "table.csv",
    "comparisons": "comparisons.csv",
    "participation": "participation.csv",
    "indicators": "indicators.csv",
    "geographies": "geographies.csv",
}


@pytest.fixture(scope="module")
def school(built):
    return built.path / "school" / "5500001"


def rows(folder, name):
    with (folder / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("table", FILES)
def test_files_have_the_columns_of_their_tables_and_say_simulated(school, table):
    held = rows(school, FILES[table])
    columns = [column.name for column in table_specs()[table].columns]
    assert list(held[0]) == [*columns, "data_source"]
    assert {row["data_source"] for row in held} == {"SIMULATED"}


def test_a_school_sees_its_own_rows_then_the_public_ones_of_its_cpp(school):
    held = rows(school, "table.csv")
    assert [row["geography_level"] for row in held] == ["school"] * 3 + ["cpp"] * 3
    assert {row["geography_code"] for row in held} == {"5500001", "S12000005"}
    assert {row["release"] for row in held} == {"2020.06.30"}


def test_numbers_are_fixed_and_hidden_ones_are_empty(school):
    shown, hidden = rows(school, "table.csv")[0], rows(school, "table.csv")[1]
    assert (shown["n"], shown["estimate"], shown["status"]) == ("120", "40.0", "published")
    assert (hidden["n"], hidden["estimate"], hidden["status"]) == ("", "", "c")
    assert hidden["note"] == "low" and hidden["group"] == "M"


def test_a_name_with_commas_and_quotes_is_read_back(school):
    assert rows(school, "table.csv")[0]["geography_name"] == 'A "good" School, Alloa'


def test_the_same_row_stands_in_the_package_of_the_cpp(built, school):
    import duckdb

    with duckdb.connect(
        str(built.path / "cpp/t1-clackmannanshire/rcs.duckdb"), read_only=True
    ) as con:
        own = con.execute(
            "select breakdown, \"group\", coalesce(estimate::varchar, ''), status from estimates "
            "where geography_code = '5500001' order by breakdown, \"group\""
        ).fetchall()
    names = ("breakdown", "group", "estimate", "status")
    assert [tuple(row[n] for n in names) for row in rows(school, "table.csv")[:3]] == own


def test_a_school_finds_the_places_that_it_lies_in(school):
    levels = [row["geography_level"] for row in rows(school, "geographies.csv")]
    assert levels == ["school", "cpp", "tranche", "all"]


def test_indicators_are_those_of_the_schools_survey(school):
    names = {row["indicator"] for row in rows(school, "indicators.csv")}
    assert "secondary_hungry" in names
    assert not any(name.startswith("primary_") for name in names)


def test_manifest_and_certificate_are_about_the_school(school):
    manifest = json.loads((school / "manifest.json").read_text())
    assert manifest["simulated"] is True and manifest["tables"]["estimates"] == 6
    assert {e["path"] for e in manifest["files"]} == {*FILES.values(), "certificate.json"}
    said = json.loads((school / "certificate.json").read_text())
    assert sum(row["cells"] for row in said["cells_by_status"]) == 3
    assert said["witnesses_in"] == "cpp/t1-clackmannanshire"
    assert "school_medium" in said["thresholds"] and "school_large" in said["thresholds"]


def test_participation_is_part_of_the_content(home, build, built):
    with open_warehouse(home) as con:
        con.execute(
            "update disclosure.participation set response_band = '75-79 %' "
            "where geography_level = 'school'"
        )
    assert build(home).content_hash != built.candidate.content_hash
