"""Checks fail closed: what cannot be judged has failed, says why, and hides nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from data_quality import Expectation, Suite
from data_quality.model import Between
from rcs_assets.errors import InputError
from rcs_assets.storage import Home
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, run_checks
from rcs_assets.storage.resources import HomeResource

CANARY = "ZZCANARYZZ"
SUITE = Suite(
    "intake",
    {"shares": ("engagement",)},
    (
        Expectation(
            name="small_share",
            sentence="The share is small",
            asset=("intake", "receipts"),
            frame="shares",
            rule=Between("share_pct", None, 5),
            source="here",
            fix="do this",
        ),
    ),
)


def check(name: str, judge: object) -> PythonCheck:
    return PythonCheck(
        ("intake", "receipts"),
        name,
        "It is so",
        "here",
        "do this",
        judge,  # type: ignore[arg-type]
    )


def breaks(_: Bench) -> Verdict:
    raise ValueError(CANARY)


def refuses(_: Bench) -> Verdict:
    raise InputError("The table is not there")


def asks_wrongly(bench: Bench) -> Verdict:
    bench.con.execute(f"select cast('{CANARY}' as integer)")
    return Verdict(True, "")


@pytest.fixture
def home(tmp_path: Path) -> HomeResource:
    Home.open(tmp_path / "home", profile="demo")
    return HomeResource(path=str(tmp_path / "home"))


@pytest.fixture
def home_with_warehouse(home: HomeResource) -> HomeResource:
    with duckdb.connect(str(home.home().warehouse)) as con:
        con.execute("create table numbers as select 1 as n")
    return home


def test_a_broken_check_fails_alone_and_tells_no_value(home_with_warehouse: HomeResource) -> None:
    checks = [
        check("breaks", breaks),
        check("refuses", refuses),
        check("asks_wrongly", asks_wrongly),
        check("passes", lambda _: Verdict(True, "all well")),
        check("fails", lambda _: Verdict(False, "two are wrong")),
    ]
    outcomes = {o.name: o for o in run_checks(home_with_warehouse, checks, None, None, [])}
    assert {name for name, o in outcomes.items() if o.passed} == {"passes"}
    assert outcomes["breaks"].observed == "could not be evaluated: ValueError"
    assert outcomes["refuses"].observed == "could not be evaluated: The table is not there"
    assert CANARY not in str(outcomes)
    assert outcomes["fails"].fix == "do this"
    assert outcomes["passes"].fix == ""


def test_without_a_warehouse_everything_fails(home: HomeResource) -> None:
    checks = [check("passes", lambda _: Verdict(True, ""))]
    outcomes = run_checks(home, checks, SUITE, lambda _: {}, ["small_share"])
    assert [(o.name, o.passed) for o in outcomes] == [("passes", False), ("small_share", False)]
    assert all("no warehouse" in o.observed for o in outcomes)


def test_a_profile_that_breaks_fails_its_expectations_only(
    home_with_warehouse: HomeResource,
) -> None:
    def profiles(_: Bench) -> dict[str, object]:
        raise duckdb.CatalogException(CANARY)

    checks = [check("passes", lambda _: Verdict(True, ""))]
    outcomes = run_checks(home_with_warehouse, checks, SUITE, profiles, ["small_share"])  # type: ignore[arg-type]
    assert [o.passed for o in outcomes] == [True, False]
    assert CANARY not in str(outcomes)


def test_checks_cannot_write(home_with_warehouse: HomeResource) -> None:
    def writes(bench: Bench) -> Verdict:
        bench.con.execute("delete from numbers")
        return Verdict(True, "")

    outcomes = run_checks(home_with_warehouse, [check("writes", writes)], None, None, [])
    assert not outcomes[0].passed


def test_what_was_left_out_is_not_judged(home_with_warehouse: HomeResource) -> None:
    def profiles(bench: Bench) -> dict[str, object]:
        rows = bench.con.execute(
            "select 't1-a' as engagement, 1 as share_pct union all select 't1-b', 9"
        )
        return {"shares": rows.df()}

    everyone = run_checks(home_with_warehouse, [], SUITE, profiles, ["small_share"])  # type: ignore[arg-type]
    without = HomeResource(path=home_with_warehouse.path, left_out=["t1-b"])
    others = run_checks(without, [], SUITE, profiles, ["small_share"])  # type: ignore[arg-type]
    assert [o.passed for o in (*everyone, *others)] == [False, True]


def test_places_are_few_and_counted() -> None:
    assert places([], "8 tables") == "8 tables: none wrong"
    assert places(list("abcdefg"), "8 tables") == "8 tables: 7 wrong: a, b, c, d, e, …"


def test_a_check_of_things_that_must_be_there_fails_of_none() -> None:
    assert Verdict.of([], 8, "tables") == Verdict(True, "8 tables: none wrong")
    assert Verdict.of([], 0, "tables") == Verdict(False, "0 tables: nothing to judge")
    assert Verdict.of(["a"], 8, "tables") == Verdict(False, "8 tables: 1 wrong: a")
    assert Verdict.of(["a"], 0, "tables") == Verdict(False, "0 tables: 1 wrong: a")
