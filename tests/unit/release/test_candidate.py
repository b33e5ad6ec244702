import csv
import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from rcs_assets.errors import InputError
from rcs_assets.release.candidate import build_candidate
from rcs_assets.release.files import CANDIDATE_FILE, files_below, sha256_file
from rcs_assets.release.packages import read_candidate
from rcs_assets.release.tables import refuse_formulas, specs_of, table_specs
from rcs_assets.storage import open_warehouse

INTERFACE = {
    "estimates": "release tranche engagement survey geography_level geography_code "
    "geography_name breakdown group indicator statistic n estimate ci_low ci_high status note",
    "geographies": "geography_level geography_code geography_name parent_level parent_code",
    "indicators": "indicator title domain direction definition denominator stages instrument "
    "source is_sensitive sentence is_core comparability",
    "reach": "engagement breakdown group need need_level service n observed_pct ci_low ci_high "
    "corrected_pct bound_low bound_high status",
    "spend": "engagement sector tier age_band funding_origin domain gbp children_n status",
    "comparisons": "engagement survey geography_level geography_code indicator statistic "
    "comparator verdict status",
    "dictionary": "table_name column_name type unit description source",
}
# What differs between two candidates of the same content, and why: candidate.py.
NOT_REPRODUCIBLE = ("rcs.duckdb", "manifest.json")


def query(file, sql):
    with duckdb.connect(str(file), read_only=True) as con:
        return con.execute(sql).fetchall()


def test_tables_have_the_columns_that_others_hold_on_to():
    specs = table_specs()
    assert {name: " ".join(c.name for c in specs[name].columns) for name in INTERFACE} == INTERFACE


def test_the_packages_of_a_candidate(built):
    made = built.candidate
    assert made.packages == (
        "public", "cpp/t1-clackmannanshire", "cpp/t2-falkirk", "school/5500001",
        "archive/t1-clackmannanshire", "archive/t2-falkirk", "safe_haven",
    )  # fmt: skip
    assert (made.version, made.is_simulated, made.rows) == ("2020.06.30", True, 15)
    for package in made.packages:
        names = {p.name for p in (built.path / package).iterdir()}
        described = {"manifest.json", "certificate.json"}
        data = {"rcs.duckdb", "parquet", "datapackage.json"}
        notes = {"RELEASE_NOTES.md", "DISCLOSURE_REPORT.md", "CITATION.cff"}
        data |= {"certificate", "csv", *notes} if package == "public" else {"microdata"}
        if package.startswith(("public", "cpp")):
            data |= {"technical_report.md"}
        if package.startswith("cpp"):
            data |= {"certificate"}
        if package.startswith("archive"):
            data |= {"documentation"}
        if package.startswith("school"):
            data = {f"{n}.csv" for n in "table comparisons participation indicators".split()}
            data |= {"geographies.csv"}
        assert names == described | data, package
    assert read_candidate(built.home)["content_hash"] == made.content_hash


def test_an_analyst_reads_decimals_and_comments(built):
    file = built.path / "public" / "rcs.duckdb"
    types = dict(
        query(file, "select column_name, data_type from duckdb_columns() where not internal")
    )
    assert types["n"] == "DECIMAL(9,0)" and types["estimate"] == "DECIMAL(7,1)"
    row = query(
        file,
        "select n, estimate, ci_low, ci_high, status from estimates where breakdown = 'total' "
        "and geography_level = 'all'",
    )
    assert row[0][0] == Decimal(120) and row[0][4] == "published"
    uncommented = query(
        file, "select * from duckdb_columns() where not internal and comment is null"
    )
    comments = [c for (c,) in query(file, "select comment from duckdb_tables()")]
    assert uncommented == [] and len(comments) == 14
    assert all(comment.startswith("SIMULATED") for comment in comments)


def test_database_and_parquet_hold_the_same_in_the_same_order(built):
    folder = built.path
    for package, kind in (
        ("public", "public"), ("safe_haven", "safe_haven"), ("archive/t2-falkirk", "archive"),
    ):  # fmt: skip
        for spec in specs_of(kind):
            rows = query(folder / package / "rcs.duckdb", f"from {spec.name}")
            file = folder / package / "parquet" / f"{spec.name}.parquet"
            assert rows == duckdb.execute(f"from '{file}'").fetchall()
            assert rows, spec.name


def test_a_package_holds_what_its_audience_may_see(built):
    folder = built.path
    own = folder / "cpp" / "t2-falkirk" / "rcs.duckdb"
    held = query(own, "select distinct engagement, geography_code from estimates order by all")
    assert held == [
        ("t2-falkirk", "C5500009-small"), ("t2-falkirk", "S12000014"), (None, "all"), (None, "t2"),
    ]  # fmt: skip
    schools = "select geography_name from geographies where geography_level = 'school'"
    assert query(own, schools) == [("B School",)]
    public = folder / "public" / "rcs.duckdb"
    assert query(public, schools) == [("A School",), ("B School",)]
    tables = {name for (name,) in query(public, "select table_name from duckdb_tables()")}
    assert tables == {
        "estimates", "reach", "spend", "comparisons", "participation", "geographies",
        "indicators", "dictionary", "releases", "risks", "models", "outcomes", "changes",
        "recipients",
    }  # fmt: skip
    undocumented = (
        "select table_name, column_name from duckdb_columns() where not internal except "
        "select table_name, column_name from dictionary"
    )
    assert query(public, undocumented) == []


def test_every_school_in_scope_is_listed_with_its_parents(built):
    public = built.path / "public" / "rcs.duckdb"
    places = query(
        public,
        "select geography_level, geography_code, parent_level, parent_code from geographies "
        "where geography_level in ('school', 'cluster') order by all",
    )
    assert places == [
        ("cluster", "C5500009", "cpp", "S12000014"),
        ("school", "5500001", "cpp", "S12000005"),
        ("school", "5500002", "cluster", "C5500009"),
    ]
    own = built.path / "cpp" / "t2-falkirk" / "rcs.duckdb"
    small = (
        "select geography_name, parent_code from geographies where geography_code like '%-small'"
    )
    assert query(own, small) == [("B cluster, small", "S12000014")]


def test_how_a_school_took_part_stands_in_its_own_package_only(built):
    for package in ("public", "cpp/t1-clackmannanshire", "safe_haven"):
        levels = query(
            built.path / package / "rcs.duckdb",
            "select distinct geography_level from participation",
        )
        assert levels == [("cpp",)], package


def test_an_authored_summary_is_part_of_the_package_and_of_the_content(built, home, build):
    first = built.candidate.content_hash
    folder = home.config / "summaries"
    folder.mkdir(parents=True)
    (folder / "t2-falkirk.md").write_text("In brief: {{ value }}")
    second = build(home)
    own = second.path / "cpp" / "t2-falkirk"
    assert (own / "summary.md").read_text() == "In brief: {{ value }}"
    listed = json.loads((own / "manifest.json").read_text())["files"]
    assert "summary.md" in [entry["path"] for entry in listed]
    (folder / "t2-falkirk.md").write_text("In short: {{ value }}")
    assert len({first, second.content_hash, build(home).content_hash}) == 3


def test_microdata_has_ids_of_its_own(built):
    folder = built.path / "safe_haven" / "microdata"
    linked = duckdb.execute(f"from '{folder / 'linked.parquet'}'").to_arrow_table()
    assert linked.num_rows == 3000 and linked["person_id"].null_count == 60
    ids = linked["response_id"].to_pylist()
    assert ids == sorted(ids) and len(set(ids)) == 3000
    assert not {"record_id", "project_id", "seed_code", "datazone"} & set(linked.column_names)
    # Inverse-linkage weights: of linked records, in the safe haven alone.
    weights = zip(linked["person_id"].to_pylist(), linked["education_link_weight"], strict=True)
    assert {(person is None, weight.as_py()) for person, weight in weights} == {
        (True, None),
        (False, Decimal("1.125000")),
    }
    for file in built.path.rglob("*.parquet"):
        if not file.is_relative_to(folder):
            names = duckdb.execute(f"describe from '{file}'").fetchall()
            assert not [name for name, *_ in names if "link_weight" in name], file
    joined = duckdb.execute(
        f"select count(*) from '{folder / 'linked.parquet'}' "
        f"inner join '{folder / 'item_answers.parquet'}' using (response_id) "
        f"inner join '{folder / 'scores.parquet'}' using (response_id)"
    ).fetchall()
    assert joined == [(3000,)]


def test_the_same_content_gives_the_same_bytes(built, home, build):
    kept = built.path
    second = build(home)
    assert second.content_hash == built.candidate.content_hash
    compared = 0
    for path in files_below(kept):
        name = path.relative_to(kept)
        if path.name not in NOT_REPRODUCIBLE:
            compared += 1
            assert sha256_file(path) == sha256_file(second.path / name), name
    assert compared > 30


def test_the_content_hash_follows_content_not_the_day(built, home, build, sources):
    first = built.candidate
    with open_warehouse(home, read_only=True) as con:
        later = build_candidate(
            home, con, type(sources)(**{**vars(sources), "as_of": date(2021, 1, 2)})
        )
    assert later.content_hash == first.content_hash and later.version == "2021.01.02"
    with open_warehouse(home) as con:
        con.execute(
            "update disclosure.estimates set estimate = estimate + 1 "
            "where breakdown = 'total' and audience = 'public' and geography_level = 'all'"
        )
    assert build(home).content_hash != first.content_hash


def test_a_flipped_answer_changes_the_content_hash(built, home, build):
    first = built.candidate
    with open_warehouse(home) as con:
        con.execute(
            "update wellbeing.item_answers set happy_at_school = 1 - happy_at_school "
            "where record_id = 'r1'"
        )
    assert build(home).content_hash != first.content_hash


def test_certificate_and_datapackage_say_what_was_done(built):
    folder = built.path / "cpp" / "t2-falkirk"
    said = json.loads((folder / "certificate.json").read_text())
    assert said["thresholds"]["cpp_tables"]["base"] == 10 and said["simulated"] is True
    assert sum(row["cells"] for row in said["cells_by_status"]) == 12
    assert said["audit_of_the_release"] == {
        "coalitions": 1, "cells": 21, "suppressed": 2, "attacked": 4, "programs": 8, "unsafe": 0,
    }  # fmt: skip
    assert said["microdata"]["k"] == 10
    assert said["microdata"]["surveys"]["secondary"]["left_out"] == 0
    resources = json.loads((folder / "datapackage.json").read_text())["resources"]
    assert all((folder / r["path"]).is_file() for r in resources)
    assert all(r["description"].startswith("SIMULATED") for r in resources)


def test_the_public_csv_files_are_the_tables_as_the_datapackage_describes_them(built):
    folder = built.path / "public"
    listed = json.loads((folder / "datapackage.json").read_text())["resources"]
    described = {r["path"]: r["schema"]["fields"] for r in listed if r["format"] == "csv"}
    files = {f"csv/{file.name}" for file in (folder / "csv").iterdir()}
    tables = {file.stem for file in (folder / "parquet").iterdir()}
    assert files == set(described) == {f"csv/{table}.csv" for table in tables}
    for path, fields in described.items():
        with (folder / path).open(encoding="utf-8") as stream:
            assert next(csv.reader(stream)) == [field["name"] for field in fields]
        parquet = folder / "parquet" / f"{Path(path).stem}.parquet"
        types = dict(
            duckdb.sql(f"select column_name, column_type from (describe '{parquet}')").fetchall()
        )
        whole = {name for name, kind in types.items() if re.search(r"INT$|,0\)$", kind)}
        assert {field["name"] for field in fields if field["type"] == "integer"} == whole
        read = (
            f"read_csv('{folder / path}', header=true, auto_detect=false, delim=',', quote='\"', "
            f"escape='\"', columns={types | {'data_source': 'VARCHAR'}})"
        )
        # A text that is empty and one that is not there read the same in a CSV file.
        texts = [name for name, kind in types.items() if kind == "VARCHAR"]
        same = ", ".join(f'coalesce("{name}", \'\') as "{name}"' for name in texts)
        differing = duckdb.sql(
            f"""
            (select * replace ({same}) from '{parquet}'
            except all select * exclude (data_source) replace ({same}) from {read})
            union all
            (select * exclude (data_source) replace ({same}) from {read}
            except all select * replace ({same}) from '{parquet}')
            """
        ).fetchall()
        assert differing == [], path
        sources = duckdb.sql(f"select distinct data_source from {read}").fetchall()
        assert sources == [("SIMULATED",)], path


def test_files_of_answers_are_described_column_by_column(built):
    for package, file, column, said in (
        ("safe_haven", "item_answers.parquet", "happy_at_school", "5 Strongly agree"),
        ("safe_haven", "scores.parquet", "sdq_total", "Total difficulties (Strengths"),
        ("safe_haven", "linked.parquet", "simd_quintile", "1 Most deprived fifth"),
        ("cpp/t2-falkirk", "secondary.tab", "happy_at_school", "-9 Not answered"),
        ("archive/t2-falkirk", "secondary.parquet", "any_support", "Y Recorded"),
    ):
        folder = built.path / package
        listed = json.loads((folder / "datapackage.json").read_text())["resources"]
        (found,) = [r for r in listed if r["path"] == f"microdata/{file}"]
        fields = {field["name"]: field for field in found["schema"]["fields"]}
        assert said in fields[column]["description"], (package, file)
        assert found["description"].startswith("SIMULATED")


@pytest.mark.parametrize("package", ["safe_haven", "cpp/t2-falkirk", "archive/t2-falkirk"])
def test_the_dictionary_of_files_of_answers_is_described_too(built, package):
    folder = built.path / package
    listed = json.loads((folder / "datapackage.json").read_text())["resources"]
    (said,) = [r for r in listed if r["path"] == "microdata/data_dictionary.csv"]
    assert said["description"].startswith("SIMULATED")
    fields = said["schema"]["fields"]
    assert all(field["description"] for field in fields)
    kinds = {"string": "VARCHAR", "integer": "INTEGER"}
    columns = {field["name"]: kinds[field["type"]] for field in fields}
    with (folder / said["path"]).open(encoding="utf-8") as stream:
        assert stream.readline().rstrip("\n").split(",") == list(columns)
    read = f"read_csv('{folder / said['path']}', header=true, auto_detect=false, columns={columns})"
    assert duckdb.sql(f"select min(position) from {read}").fetchall() == [(1,)]


def test_a_tab_file_reads_as_its_datapackage_says(built):
    folder = built.path / "archive" / "t2-falkirk"
    listed = json.loads((folder / "datapackage.json").read_text())["resources"]
    (said,) = [r for r in listed if r["path"] == "microdata/secondary.tab"]
    kinds = {"string": "VARCHAR", "integer": "INTEGER", "number": "DOUBLE"}
    columns = {field["name"]: kinds[field["type"]] for field in said["schema"]["fields"]}
    missing = said["schema"]["missingValues"]
    assert missing[0] == "" and {"-9", "-7"} <= set(missing)
    read = (
        f"read_csv('{folder / said['path']}', header=true, auto_detect=false, nullstr={missing}, "
        f"delim='{said['dialect']['delimiter']}', columns={columns})"
    )
    valid = ", ".join(
        f'if("{name}" < 0, null, "{name}") as "{name}"'
        for name, kind in columns.items()
        if kind == "INTEGER"
    )
    parquet = f"(select * replace ({valid}) from '{folder / 'microdata/secondary.parquet'}')"
    for one, other in ((read, parquet), (parquet, read)):
        assert duckdb.sql(f"from {one} except all from {other}").fetchall() == []
    assert duckdb.sql(f"select count(happy_at_school) from {read}").fetchall()[0][0] > 0


def test_the_safe_havens_dictionary_explains_every_column_of_every_file(built):
    folder = built.path / "safe_haven" / "microdata"
    with (folder / "data_dictionary.csv").open(encoding="utf-8", newline="") as stream:
        said = list(csv.DictReader(stream))
    for file in ("linked", "item_answers", "scores"):
        columns = [r[0] for r in duckdb.sql(f"describe from '{folder}/{file}.parquet'").fetchall()]
        own = [row for row in said if row["file"] == file]
        assert list(dict.fromkeys(row["variable"] for row in own)) == columns
        assert all(row["label"] and row["source"] for row in own)
    codes = {(row["code"], row["missing"]) for row in said if row["variable"] == "happy_at_school"}
    assert {("5", "no"), ("-9", "yes")} <= codes


def test_small_counts_of_deliveries_do_not_stand_in_the_candidate(built):
    (delivery,) = json.loads((built.path / CANDIDATE_FILE).read_text())["deliveries"]
    assert (delivery["received"], delivery["accepted"]) == (2000, 2000)
    assert (delivery["quarantined"], delivery["withdrawn"]) == ("<10", 0)


def test_nothing_of_the_warehouse_lies_in_unused_bytes(home, build):
    marker = "canary-of-a-child"
    with open_warehouse(home) as con:
        con.execute(
            f"create table linkage.noise as select '{marker}' || i as t from range(9999) s(i)"
        )
    with open_warehouse(home, read_only=True) as con:
        con.execute("select sum(length(t)) from linkage.noise").fetchall()
    for path in files_below(build(home).path):
        assert marker.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "name",
    ['=HYPERLINK("x")', " @SUM(A1)", "+A1", "-(1)", "-1+cmd|' /C calc'!A0", "+1+X(1)"],
)
def test_a_name_that_a_spreadsheet_would_carry_out_is_refused(name):
    """It is not escaped: CSV and Parquet say one thing."""
    spec = table_specs()["geographies"]
    columns = ", ".join(f'"{column.name}" {column.type}' for column in spec.columns)
    with duckdb.connect() as con:
        con.execute(f"create table places ({columns})")
        con.execute(
            "insert into places (geography_name) values ('Primary - 2 (+ nursery)'), ('-5')"
        )
        refuse_formulas(con, "places", spec)
        con.execute("insert into places (geography_name) values (?)", [name])
        with pytest.raises(InputError, match="table geographies, column geography_name"):
            refuse_formulas(con, "places", spec)


def test_without_protected_estimates_there_is_no_candidate(home, build):
    with open_warehouse(home) as con:
        con.execute("delete from disclosure.estimates")
    with pytest.raises(InputError, match="no protected estimates"):
        build(home)


def test_a_killed_build_is_cleaned_up_by_the_next(home, build):
    home.releases.mkdir(exist_ok=True)
    (home.releases / ".candidate-build-1").mkdir()
    (home.releases / ".candidate-build-1" / "half").write_text("x")
    build(home)
    assert [p.name for p in home.releases.iterdir()] == [".candidate"]
