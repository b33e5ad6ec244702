"""A how-to works if someone does exactly its steps."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import pytest

from tests.acceptance.documentation import blocks, commands


def _query(database: Path, query: str) -> list[tuple]:
    with duckdb.connect(str(database), read_only=True) as con:
        return con.sql(query).fetchall()


@pytest.mark.slow
def test_add_an_indicator(repo_root: Path, rcs, released_home, tmp_path: Path) -> None:
    page = repo_root / "docs" / "how-to" / "add-an-indicator.md"
    home = released_home.copy(tmp_path / "home")
    (row,) = blocks(page, "csv")
    name = next(csv.DictReader(row.splitlines()))["name"]
    (home / "config" / "indicators.csv").write_text(row, encoding="utf-8")
    for words in commands(page, "rcs"):
        done = rcs(*words[1:], "--home", home)
        assert done.status == 0, done.output
    for package in ("public", "cpp/t2-falkirk", "safe_haven"):
        database = home / "releases" / "current" / package / "rcs.duckdb"
        assert _query(database, f"select 1 from indicators where indicator = '{name}'")
        assert _query(database, f"select 1 from estimates where indicator = '{name}'")
    before = (released_home.release / "manifest.json").read_text(encoding="utf-8")
    after = (home / "releases" / "current" / "manifest.json").read_text(encoding="utf-8")
    assert before != after


@pytest.mark.slow
def test_a_delivery_that_nobody_signed_is_refused_in_the_demo(
    rcs, released_home, tmp_path: Path
) -> None:
    """docs/how-to/deliver-a-file.md: in the demo profile only what the simulator signed."""
    home = released_home.copy(tmp_path / "home")
    file = tmp_path / "t2-falkirk_opt-outs.csv"
    file.write_text("survey_uid,scope,received_on\n", encoding="utf-8")
    done = rcs("deliver", file, "--home", home)
    assert done.status == 1
    assert "simulat" in done.stderr.lower()
    assert (home / "releases" / "current").resolve().name == released_home.release.name
