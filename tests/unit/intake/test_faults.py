"""The error report for a supplier: rows by his own record ids, safe in a spreadsheet, not kept."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.intake.faults import rule_words, safe_cell
from rcs_assets.intake.removals import STEPS
from tests.unit.intake.conftest import (
    ENGAGEMENT,
    World,
    budgets,
    education_ids,
    pupils,
    write_csv,
    write_xlsx,
)

INJECTION = '=HYPERLINK("http://example.invalid")'


def _errors(world: World, *words: str) -> int:
    home = str(world.home.path)
    return main(["errors", "--engagement", ENGAGEMENT, "--home", home, *words])


def _out(world: World) -> Path:
    return world.home.path.with_name("to-suppliers")


def _report(world: World, dataset: str) -> list[dict[str, str]]:
    path = _out(world) / f"{ENGAGEMENT}_{dataset}_errors.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _is_sealed_at_rest(world: World, uid: str) -> None:
    files = list(_out(world).iterdir())
    assert len(files) == 12
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    kept = list((world.home.drop / "reports").iterdir())
    assert {file.name for file in kept} == {f"{file.name}.sealed" for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) for file in kept} == {0o600}
    assert not any(uid.encode() in file.read_bytes() for file in kept)


def test_a_supplier_sees_his_own_rows_and_nothing_is_kept(
    delivered: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = delivered
    rows = pupils()
    rows[1]["seed_code"] = "5999999"
    rows[4]["sex"] = "X"
    held = education_ids()
    held[2]["record_id"] = INJECTION
    headless = [{"wrong": "1"}]
    uids = [pupil["survey_uid"] for pupil in pupils()]
    world.deliver(
        write_csv(world.path("sample_file"), rows),
        write_csv(world.path("education_ids"), held),
        write_xlsx(world.path("budgets"), [budgets()[0] | {"share": 0.5}], sheet="budgets"),
        write_csv(world.path("clusters"), headless),
        world.survey("secondary", [*uids[3:], uids[3]]),
    )
    for name in ("sample_file", "secondary_survey", "budgets", "clusters"):
        world.take(name)
    world.take_education()
    assert _errors(world) == 0
    assert "Sealed in drop/reports" in capsys.readouterr().out
    assert not _out(world).exists()
    assert _errors(world, "--out", str(_out(world))) == 0
    assert "Identified" in capsys.readouterr().out
    sample = [
        (r["row"], r["record"], r["column"], r["rule"]) for r in _report(world, "sample_file")
    ]
    assert sample == [
        ("2", uids[1], "seed_code", "school_not_on_roll"),
        ("5", uids[4], "sex", "wrong_type"),
    ]
    (repeated,) = _report(world, "secondary_survey")
    assert (repeated["row"], repeated["record"], repeated["rule"]) == (
        "4",
        uids[3],
        "duplicate_uid",
    )
    formulas = [r["record"] for r in _report(world, "education_ids") if r["rule"] == "formula"]
    assert formulas == [f"'{INJECTION}"]
    (budget,) = _report(world, "budgets")
    assert (budget["record"], budget["rule"]) == ("b1", "direct_share_is_not_1")
    (refused,) = _report(world, "clusters")
    assert refused["rule"] == "file_rejected"
    assert "missing: seed_code" in refused["what"]
    _is_sealed_at_rest(world, uids[1])
    page = (_out(world) / f"{ENGAGEMENT}_sample_file_errors.html").read_text()
    assert uids[1] in page
    assert "Zyxwvut" not in page
    # A corrected file: what was said of the one before is gone.
    world.deliver(write_csv(world.path("sample_file"), pupils()))
    world.take("sample_file")
    assert not list((world.home.drop / "reports").glob("*sample_file*"))
    assert _errors(world, "--dataset", "sample_file") == 0
    assert "Nothing was set aside" in capsys.readouterr().out


def test_what_was_refused_at_the_door_is_told_and_not_kept(
    delivered: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = delivered
    path = world.path("budgets")
    path.write_bytes(b"PK")
    world.deliver(path)
    world.take("budgets")
    assert _errors(world, "--dataset", "budgets", "--out", str(_out(world))) == 0
    assert "truncated or damaged" in capsys.readouterr().out
    (refused,) = _report(world, "budgets")
    assert refused["rule"] == "file_rejected"
    assert not (world.home.drop / "reports").exists()


def test_reports_are_not_opened_inside_the_home(
    delivered: World, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = delivered.home.drop / "reports"
    assert _errors(delivered, "--out", str(inside)) == 1
    assert "not opened inside the home" in capsys.readouterr().err


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert safe_cell(f"{start}1+1") == f"'{start}1+1"
    assert safe_cell("E1234") == "E1234"
    assert safe_cell("-5") == "-5"


def test_every_reason_of_a_removal_has_its_words() -> None:
    told = {rule for rule in STEPS if rule not in ("refused", "opted_out")}
    assert told - set(rule_words()) == set()
