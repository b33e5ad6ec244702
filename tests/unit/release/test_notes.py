"""Release notes, the disclosure report, how to cite; what changed between two releases."""

import json
import shutil
from dataclasses import replace
from datetime import date

import duckdb
import pytest
import yaml

from rcs_assets.cli import main
from rcs_assets.release.diff import ESTIMATES, change_table, compare
from rcs_assets.release.notes import notes_problem
from rcs_assets.release.publish import publish_candidate
from rcs_assets.release.rules_in_force import FILES as RULE_FILES
from rcs_assets.release.rules_in_force import changed_rules
from rcs_assets.release.withdraw import record_erratum, withdraw_release
from rcs_assets.storage import Home, open_warehouse

FIRST, SECOND = "2020.06.30", "2020.06.30.1"


@pytest.fixture(scope="module")
def changed_home(published_home, build, tmp_path_factory):
    """A home with a candidate that differs from its release: one cell moved, one hidden.

    Copied, never changed.
    """
    place = tmp_path_factory.mktemp("changed") / "home"
    released = Home.open(shutil.copytree(published_home, place, symlinks=True))
    record_erratum(released, FIRST, text="Falkirk: see below", by="anna", day=date(2020, 6, 30))
    with open_warehouse(released) as con:
        con.execute(
            """
            update disclosure.estimates set estimate = 41
            where audience = 'public' and geography_name = 'Falkirk' and breakdown = 'total';
            update disclosure.estimates set status = 'c', n = null, estimate = null
            where audience = 'public' and geography_level = 'all' and "group" = 'F';
            update disclosure.estimates set estimate = 42
            where geography_level = 'school' and breakdown = 'total'
            """
        )
    return released, build(released)


@pytest.fixture
def changed(changed_home, tmp_path):
    """A copy of it that the test may change, and its candidate there."""
    template, built = changed_home
    home = Home.open(shutil.copytree(template.path, tmp_path / "home", symlinks=True))
    return home, replace(built, path=home.path / built.path.relative_to(template.path))


def test_changes_are_counted_by_area_and_nothing_finer(changed):
    home, built = changed
    found = {c.geography_name: c for c in compare(home.releases / FIRST, built.path)}
    assert {name for name, change in found.items() if change.is_changed} == {"Falkirk", "All"}
    assert (found["Falkirk"].moved_n, found["Falkirk"].hidden_now_n) == (1, 0)
    assert (found["All"].moved_n, found["All"].hidden_now_n, found["All"].cells_n) == (0, 1, 3)
    table = change_table(list(found.values()))
    assert "Falkirk" in table and "41" not in table and "School" not in table


def test_a_release_compared_with_itself_did_not_change(released):
    folder = released.releases / FIRST
    assert change_table(compare(folder, folder)) == "No cell of an area changed.\n"


def test_a_council_that_was_asked_twice_is_compared_wave_by_wave(released, tmp_path):
    """Both waves have its code: each is the same as itself."""
    file = tmp_path / ESTIMATES
    file.parent.mkdir(parents=True)
    duckdb.sql(
        f"""
        copy (
            from '{released.releases / FIRST / ESTIMATES}'
            union all by name
            select * replace ('t9' as tranche, 't9-falkirk' as engagement, n + 100 as n)
            from '{released.releases / FIRST / ESTIMATES}' where geography_name = 'Falkirk'
        ) to '{file}'
        """
    )
    (falkirk,) = (c for c in compare(tmp_path, tmp_path) if c.geography_name == "Falkirk")
    assert (falkirk.cells_n, falkirk.is_changed) == (6, False)


def test_notes_name_the_release_before_its_errata_and_what_changed(changed):
    _, built = changed
    notes = (built.path / "public" / "RELEASE_NOTES.md").read_text()
    assert "SIMULATED" in notes and f"Compared with release {FIRST}" in notes
    assert "| Falkirk | secondary | 3 | 1 | 0 | 0 | 0 | 0 |" in notes
    assert "erratum of 2020-06-30: Falkirk: see below" in notes


def test_notes_name_the_rules_that_changed(released, build):
    released.config.mkdir(exist_ok=True)
    (released.config / "estimators.yaml").write_text("comparison_least_points: 6\n")
    built = build(released)
    notes = (built.path / "public" / "RELEASE_NOTES.md").read_text()
    assert "- other rules for how estimates and comparisons are made\n" in notes
    assert "records are linked" not in notes
    before = json.loads((released.releases / FIRST / "manifest.json").read_text())["rules"]
    now = json.loads((built.path / "candidate.json").read_text())["rules"]
    assert {room for room in now if now[room] != before[room]} == {"wellbeing"}
    assert list(changed_rules({}, now)) == []


def test_every_file_of_rules_that_an_adopter_may_lay_over_has_a_version(repo_root):
    """What no loader of the five rooms reads is not laid over: each file is named once."""
    there = {
        f"{room}/{file.name}"
        for room in RULE_FILES
        for file in (repo_root / "rcs_assets" / room / "data").iterdir()
        if file.suffix in (".yaml", ".csv")
    }
    assert there == {f"{room}/{name}" for room, names in RULE_FILES.items() for name in names}


def test_notes_that_were_written_before_an_erratum_do_not_hold(changed):
    home, built = changed
    assert notes_problem(home) == ""
    record_erratum(home, FIRST, text="Table 3 is by stage", by="anna", day=date(2020, 6, 30))
    assert "recorded after the candidate's notes" in notes_problem(home)
    publish_candidate(home, built.content_hash, ())
    assert notes_problem(home) == "", "there is no candidate any more"


def test_notes_that_compare_with_a_withdrawn_release_do_not_hold(changed):
    home, _ = changed
    withdraw_release(home, FIRST, reason="swapped", by="anna", day=date(2020, 6, 30))
    assert "recorded after the candidate's notes" in notes_problem(home)


def test_the_first_release_says_so(built):
    assert "The first release" in (built.path / "public" / "RELEASE_NOTES.md").read_text()


def test_the_disclosure_report_counts_cells_and_holds_no_value(built):
    text = (built.path / "public" / "DISCLOSURE_REPORT.md").read_text()
    assert "| cpp | sex | 4 | 4 | 0 | 0 | 0 | 0 |" in text and "Unsafe: 0" in text
    assert "| Public: CPP, tranche, all | 30 (pairs 50) | 10 | 10 | 1 | 10 |" in text
    assert "caring | +10 | 10 | 10 | 5 at a school | 10 |" in text
    assert "| Need and reach: a need row | 50 | 10 | 10 | 1 | 10 |" in text
    assert "| Findings: each group of a factor | 30 (sensitive 40) | 10 | 10 | 1 | 10 |" in text
    assert "Spend is shown to £1,000." in text and "needs at least 3 providers;" in text


def test_the_citation_is_in_its_form(built):
    said = yaml.safe_load((built.path / "public" / "CITATION.cff").read_text())
    assert said["cff-version"] == "1.2.0" and said["type"] == "dataset"
    assert said["title"].startswith("SIMULATED") and said["version"] == FIRST
    assert said["authors"] and "doi" not in said


def test_the_command_compares_with_the_release_before(changed, capsys):
    home, built = changed
    publish_candidate(home, built.content_hash, ())
    place = ["--home", str(home.path), "--as-of", "2020-06-30"]
    assert main(["release", "diff", "--json", *place]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["older"], said["newer"]) == (FIRST, SECOND)
    assert sum(change["moved_n"] for change in said["changes"]) == 1
    assert main(["release", "diff", FIRST, FIRST, *place]) == 0
    assert "No cell" in capsys.readouterr().out
    assert main(["release", "diff", "2001.01.01", SECOND, *place]) == 1
