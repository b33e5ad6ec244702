import json
from datetime import date
from decimal import Decimal

import duckdb
import pytest

from rcs_assets.errors import InputError
from rcs_assets.release.candidate import CANDIDATE_FILE, build_candidate, read_candidate
from rcs_assets.release.files import files_below, sha256_file
from rcs_assets.release.tables import specs_of, table_specs
from rcs_assets.storage import open_warehouse

INTERFACE = {
    "estimates": "release tranche engagement survey geography_level geography_code "
    "geography_name breakdown group indicator statistic n estimate ci_low ci_high status note",
    "geographies": "geography_level geography_code geography_name parent_level parent_code",
    "indicators": "indicator title domain direction definition denominator stages instrument "
    "source",
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
    assert made.packages == ("public", "cpp/t1-clackmannanshire", "cpp/t2-falkirk", "safe_haven")
    assert (made.version, made.is_simulated, made.rows) == ("2020.06.30", True, 35)
    for package in made.packages:
        names = {p.name for p in (built.path / package).iterdir()}
        expected = {"rcs.duckdb", "parquet", "datapackage.json", "manifest.json"}
        expected |= {"certificate.json"}
        assert names == expected | ({"microdata"} if package == "safe_haven" else set())
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
    assert row[0][0] == Decimal(3000) and row[0][4] == "published"
    uncommented = query(
        file, "select * from duckdb_columns() where not internal and comment is null"
    )
    comments = [c for (c,) in query(file, "select comment from duckdb_tables()")]
    assert uncommented == [] and len(comments) == 5
    assert all(comment.startswith("SIMULATED") for comment in comments)


def test_database_and_parquet_hold_the_same_in_the_same_order(built):
    folder = built.path
    for package, kind in (("public", "public"), ("safe_haven", "safe_haven")):
        for spec in specs_of(kind):
            rows = query(folder / package / "rcs.duckdb", f"from {spec.name}")
            file = folder / package / "parquet" / f"{spec.name}.parquet"
            assert rows == duckdb.execute(f"from '{file}'").fetchall()
            assert rows, spec.name


def test_a_package_holds_what_its_audience_may_see(built):
    folder = built.path
    own = folder / "cpp" / "t2-falkirk" / "rcs.duckdb"
    assert query(own, "select distinct engagement from estimates") == [("t2-falkirk",)]
    schools = "select geography_name from geographies where geography_level = 'school'"
    assert query(own, schools) == [("B School",)]
    public = folder / "public" / "rcs.duckdb"
    assert query(public, schools) == [("A School",), ("B School",)]
    tables = {name for (name,) in query(public, "select table_name from duckdb_tables()")}
    assert tables == {"estimates", "geographies", "indicators", "dictionary", "releases"}
    undocumented = (
        "select table_name, column_name from duckdb_columns() where not internal except "
        "select table_name, column_name from dictionary"
    )
    assert query(public, undocumented) == []


def test_microdata_has_ids_of_its_own(built):
    folder = built.path / "safe_haven" / "microdata"
    linked = duckdb.execute(f"from '{folder / 'linked.parquet'}'").to_arrow_table()
    assert linked.num_rows == 3000 and linked["person_id"].null_count == 60
    ids = linked["response_id"].to_pylist()
    assert ids == sorted(ids) and len(set(ids)) == 3000
    assert not {"record_id", "project_id", "seed_code", "datazone"} & set(linked.column_names)
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
        con.execute("update wellbeing.item_answers set hungry = 1 - hungry where record_id = 'r1'")
    assert build(home).content_hash != first.content_hash


def test_certificate_and_datapackage_say_what_was_done(built):
    folder = built.path / "cpp" / "t2-falkirk"
    said = json.loads((folder / "certificate.json").read_text())
    assert said["thresholds"]["default"]["base"] == 10 and said["simulated"] is True
    assert sum(row["cells"] for row in said["cells_by_status"]) == 7
    resources = json.loads((folder / "datapackage.json").read_text())["resources"]
    assert all((folder / r["path"]).is_file() for r in resources)
    assert all(r["description"].startswith("SIMULATED") for r in resources)


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
