"""A third party checks the certificate with the package and the script in it, nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from rcs_assets.release.verify_certificate import verify
from rcs_assets.release.verify_schools import verify_schools
from tests.conftest import ReleasedHome, run_rcs


def test_the_command_checks_the_current_release(released_home: ReleasedHome) -> None:
    done = run_rcs(
        "release", "verify", "--certificate", "--json", "--home", released_home.path, "--as-of",
        "2020-06-30",
    )  # fmt: skip
    assert done.status == 0, done.output
    found = json.loads(done.stdout)
    hidden_n = {}
    for name in found["packages"]:
        file = released_home.release / name / "parquet" / "estimates.parquet"
        own = "" if name == "public" else "and geography_level in ('cpp', 'cluster', 'school')"
        sql = f"select count(*) from '{file}' where status = 'c' {own}"
        hidden_n[name] = duckdb.sql(sql).fetchall()[0][0]
    assert set(hidden_n) == {"public", "cpp/t1-clackmannanshire", "cpp/t2-falkirk"}
    assert {n: said["hidden_cells"] for n, said in found["packages"].items()} == hidden_n
    assert min(hidden_n.values()) > 1000 and found["problems"] == []
    schools = sorted((released_home.release / "school").iterdir())
    tables = ", ".join(f"'{school / 'table.csv'}'" for school in schools)
    sql = f"""select count(*) from read_csv([{tables}], all_varchar = true, header = true)
        where status = 'c' and geography_level = 'school'"""
    assert found["schools"]["schools"] == len(schools) > 10
    assert found["schools"]["hidden_cells"] == duckdb.sql(sql).fetchall()[0][0] > 100
    assert all(said["seconds"] < 5 for said in found["packages"].values())


def test_a_school_is_certified_by_its_cpp_as_long_as_their_rows_are_the_same(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    for name in ("cpp", "school"):
        shutil.copytree(released_home.release / name, tmp_path / name)
    assert verify_schools(tmp_path)["problems"] == []
    first, second = sorted((tmp_path / "school").iterdir())[:2]
    table = first / "table.csv"
    table.write_text(table.read_text().replace(",c,", ",published,", 1))
    said = json.loads((second / "certificate.json").read_text())
    del said["witnesses_in"]
    (second / "certificate.json").write_text(json.dumps(said))
    problems = verify_schools(tmp_path)["problems"]
    assert [problem.partition(": ")[0] for problem in problems] == [
        f"school/{second.name}", f"school/{first.name}"
    ]  # fmt: skip
    assert "no package with tables" in problems[0] and problems[1].endswith("or not: 1")


@pytest.mark.parametrize("name", ["public", "cpp/t2-falkirk"])
def test_the_script_needs_the_package_and_duckdb_alone(
    released_home: ReleasedHome, tmp_path: Path, name: str
) -> None:
    package = Path(shutil.copytree(released_home.release / name, tmp_path / "package"))
    script = package / "certificate" / "verify_certificate.py"
    assert "rcs_assets" not in script.read_text()

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", script], capture_output=True, text=True, check=False
        )

    whole = check()
    assert whole.returncode == 0, whole.stdout + whole.stderr
    # One hidden cell is shown by mistake: the certificate speaks of another package.
    file = package / "parquet" / "estimates.parquet"
    duckdb.sql(
        f"""
        copy (
            select * exclude (number)
                replace (if(number = 1 and status = 'c', 'published', status) as status)
            from (
                select *, row_number() over (partition by status, geography_level) as number
                from '{file}'
            )
        ) to '{file}.new' (format parquet)
        """
    )
    Path(f"{file}.new").replace(file)
    spoilt = check()
    assert spoilt.returncode == 1 and "is not hidden" in spoilt.stdout


def test_the_certificate_of_a_release_of_before_numbers_could_stay_is_checked(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    """It does not say by how much numbers may be off: by nothing beyond their rounding."""
    package = Path(shutil.copytree(released_home.release / "public", tmp_path / "public"))
    file = package / "certificate.json"
    said = json.loads(file.read_text())
    del said["witnesses"]["n_slack"]
    file.write_text(json.dumps(said))
    assert verify(package)["problems"] == []
    tables = package / "certificate" / "tables.parquet"
    duckdb.sql(
        f"copy (select * replace (if(geography_level = 'all', n + n_step, n)::decimal(12, 4) as n) "
        f"from '{tables}') to '{tables}.new' (format parquet)"
    )
    Path(f"{tables}.new").replace(tables)
    assert any("number of pupils that the package shows" in p for p in verify(package)["problems"])


@pytest.mark.parametrize("name", ["public", "cpp/t1-clackmannanshire"])
def test_the_certificate_tells_no_truth(released_home: ReleasedHome, name: str) -> None:
    """No made-up table is the true one, and none tells which cells are really small."""
    package = released_home.release / name
    said = json.loads((package / "certificate.json").read_text())["witnesses"]
    assert not {"cost", "protection", "order", "primary"} & set(" ".join(said).split())
    cells = duckdb.sql(f"describe from '{package}/certificate/cells.parquet'").fetchall()
    assert {row[0] for row in cells} == {
        "survey", "indicator", "tranche", "engagement", "geography_level", "geography_code",
        "breakdown", "group", "quantity", "k", "low_table", "high_table",
    }  # fmt: skip
    with duckdb.connect(str(released_home.path / "warehouse.duckdb"), read_only=True) as con:
        same = con.execute(
            f"""
            select survey, indicator, table_no
            from '{package}/certificate/tables.parquet' as w
            inner join wellbeing.estimates as e
                using (survey, indicator, geography_level, geography_code, breakdown, "group")
            group by all
            having max(abs(w.n - e.base_n)) < 0.5
                and max(abs(w.positive - coalesce(e.numerator_n, e.sum_x, 0))) < 0.5
            """
        ).fetchall()
    assert same == []
