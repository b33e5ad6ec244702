"""Nobody sees a name next to an answer: lineage, SQL, real runs, and a guard that fails closed."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.errors import StorageError
from rcs_assets.linkage.standardise import FIELDS
from rcs_assets.storage import Home, open_vault, open_warehouse
from rcs_assets.storage.guard import identifier_columns, payload_columns
from tests.conftest import DEMO_DAY, REPO_ROOT, ReleasedHome
from tests.graph.snapshot import asset_specs

READS_ROWS = {"linkage"}
MAY_OPEN_THE_VAULT = {"storage", "intake", "linkage", "doctor"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home", profile="demo")


def test_no_asset_depends_on_the_vault_and_on_payload_outside_the_splitter() -> None:
    """Rooms after linkage read no asset of the vault; what leaves linkage is not identified."""
    specs = {spec.key.to_user_string(): spec for spec in asset_specs()}
    in_vault = {name for name, spec in specs.items() if spec.tags["zone"] == "vault"}
    assert in_vault == {"intake/opt_outs", "intake/read_through"}
    readers = {
        name
        for name, spec in specs.items()
        if in_vault & {dep.asset_key.to_user_string() for dep in spec.deps}
    }
    assert readers and {name.split("/")[0] for name in readers} <= {"intake", "linkage"}
    made = {name: spec for name, spec in specs.items() if name.startswith("linkage/")}
    assert {spec.tags["sensitivity"] for spec in made.values()} <= {"pseudonymised", "aggregate"}


def test_only_intake_and_linkage_open_the_vault() -> None:
    found = set()
    for file in (REPO_ROOT / "rcs_assets").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        if calls & {"open_vault", "_vault"}:
            found.add(file.relative_to(REPO_ROOT / "rcs_assets").parts[0].removesuffix(".py"))
    assert found == MAY_OPEN_THE_VAULT


def test_no_sql_of_dbt_names_an_identifier_or_attaches_anything() -> None:
    names = identifier_columns(load_codebook()) - {"address", "scope"}
    files = [*(REPO_ROOT / "dbt_project" / "models").rglob("*.sql")]
    files += (REPO_ROOT / "dbt_project" / "macros").rglob("*.sql")
    assert len(files) > 10
    wrong = {
        f"{file.name}: {word}"
        for file in files
        for word in re.findall(r"[a-z_]+", file.read_text(encoding="utf-8").lower())
        if word in names | {"attach", "vault"}
    }
    assert not wrong
    assert "attach" not in (REPO_ROOT / "dbt_project" / "profiles.yml").read_text()


def test_what_the_linkage_engine_takes_is_no_payload() -> None:
    assert not {*FIELDS} & payload_columns(load_codebook())


def test_identifiers_and_payload_have_no_name_in_common() -> None:
    codebook = load_codebook()
    identifiers, payload = identifier_columns(codebook), payload_columns(codebook)
    assert not identifiers & payload
    assert {"scn", "surname", "date_of_birth", "postcode", "uid"} <= identifiers
    assert {"sdq_1", "looked_after", "child_protection_12m", "stage", "datazone"} <= payload


@pytest.mark.parametrize("kind", ["table", "temp table", "view"])
def test_a_payload_column_in_the_vault_is_refused_now_and_later(home: Home, kind: str) -> None:
    with (
        pytest.raises(StorageError, match=r"vault holds columns.*t\.looked_after"),
        open_vault(home) as con,
    ):
        con.execute(f"create {kind} t as select 'r1' as record_id, true as looked_after")
    if kind != "temp table":
        with pytest.raises(StorageError, match="vault holds columns"), open_vault(home):
            pytest.fail("it opened")


@pytest.mark.parametrize("kind", ["table", "temp table", "view"])
def test_an_identifier_column_in_the_warehouse_is_refused_now_and_later(
    home: Home, kind: str
) -> None:
    with (
        pytest.raises(StorageError, match=r"warehouse holds columns.*t\.surname"),
        open_warehouse(home) as con,
    ):
        con.execute(f"create {kind} t as select 'r1' as record_id, 'CANARY' as Surname")
    if kind != "temp table":
        for read_only in (False, True):
            with (
                pytest.raises(StorageError, match="warehouse holds columns") as caught,
                open_warehouse(home, read_only=read_only),
            ):
                pytest.fail("it opened")
            assert "CANARY" not in str(caught.value)


def test_the_vaults_connection_opens_no_other_file(home: Home, tmp_path: Path) -> None:
    with open_warehouse(home) as con:
        con.execute("create table t as select 1 as a")
    (tmp_path / "file.csv").write_text("a\n1\n")
    for statement in (
        f"attach '{home.warehouse}' as warehouse",
        f"from read_csv('{tmp_path / 'file.csv'}')",
        f"copy (select 1) to '{tmp_path / 'out.csv'}'",
        "set enable_external_access = true",
    ):
        with pytest.raises(StorageError, match="query on the vault failed"), open_vault(home) as c:
            c.execute(statement)
    assert not (tmp_path / "out.csv").exists()


def test_the_vault_does_not_open_without_its_key(home: Home) -> None:
    with open_vault(home) as con:
        con.execute("create table names as select 'CANARY' as surname")
    with duckdb.connect() as con, pytest.raises(duckdb.Error):
        con.execute(f"attach '{home.vault}' as vault")


@pytest.mark.slow
def test_no_connection_of_a_whole_run_holds_both(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    """Everything made anew from the drop, each connection watched at every statement."""
    home = released_home.copy(tmp_path / "home")
    for name in ("warehouse.duckdb", "vault.duckdb"):
        (home / name).unlink()
    report = tmp_path / "seen.json"
    arguments = ["materialise", "--publish", "--home", str(home), "--as-of", DEMO_DAY]
    done = subprocess.run(
        [sys.executable, "-m", "tests.privacy.observer", str(report), *arguments],
        cwd=REPO_ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("RCS_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(report.read_text(encoding="utf-8"))
    together = {opener for opener, counts in seen.items() if counts["together"]}
    assert together == {
        "rcs_assets.storage.encryption.connect_encrypting < "
        "rcs_assets.storage.connect.open_memory < rcs_assets.intake.desk.open_desk"
    }, json.dumps(seen, indent=1)
    vault = {opener for opener in seen if "connect._vault" in opener}
    assert vault and all(seen[opener]["payload"] == 0 for opener in vault)
    assert sum(seen[opener]["identifiers"] for opener in vault) > 20
    warehouse = {opener for opener in seen if "connect._warehouse" in opener}
    assert warehouse and all(seen[opener]["identifiers"] == 0 for opener in warehouse)
    assert sum(seen[opener]["payload"] for opener in warehouse) > 100
