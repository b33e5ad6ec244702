"""Folders in `releases/` that are no release, or that this installation did not publish."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import duckdb
import pytest

from rcs_assets.cli import main
from rcs_assets.commands import running
from rcs_assets.commands.terminal import DONE, REFUSED
from rcs_assets.errors import StorageError
from rcs_assets.release.audit_log import Entry, Event, log_file, read_log, record, save_log
from rcs_assets.release.packages import next_version, read_manifest
from rcs_assets.release.publish import candidate_folder, publish_candidate, withdrawn_with
from tests.unit.release.conftest import CHECKS

FIRST = "2020.06.30"


def copied(home, name):
    return shutil.copytree(home.releases / FIRST, home.releases / name)


def test_folders_that_are_no_release_are_listed_as_what_they_are(released, capsys):
    (released.releases / "2020.12.01").mkdir()
    copied(released, "2020.12.02")
    (copied(released, "2020.12.03") / "manifest.json").write_text("[]")
    (copied(released, "2020.12.04") / "manifest.json").write_text("{}")
    copied(released, f"{FIRST}-copy")
    place = ["--home", str(released.path)]
    assert main(["release", "list", *place]) == DONE
    assert capsys.readouterr().out.splitlines() == [
        "2020.06.30 (current)",
        "2020.12.01 (not published by this installation; it holds no manifest.json)",
        "2020.12.02 (not published by this installation)",
        "2020.12.03 (not published by this installation; its manifest.json is damaged)",
        "2020.12.04 (not published by this installation; its manifest.json is damaged)",
        "2020.06.30-copy (not published by this installation; it is not called like a release)",
        "Move what was not published by this installation out of "
        f"{released.releases}: the audit takes it as told",
    ]
    assert main(["release", "list", "--json", *place]) == DONE
    listed = json.loads(capsys.readouterr().out)
    assert [(r["version"], r["is_recorded"], r["problem"]) for r in listed] == [
        (FIRST, True, ""),
        ("2020.12.01", False, "it holds no manifest.json"),
        ("2020.12.02", False, ""),
        ("2020.12.03", False, "its manifest.json is damaged"),
        ("2020.12.04", False, "its manifest.json is damaged"),
        (f"{FIRST}-copy", False, "it is not called like a release"),
    ]


def test_a_published_release_that_lost_its_manifest_is_listed_with_its_fix(pending, capsys):
    home, content_hash = pending
    publish_candidate(home, content_hash, CHECKS)
    (home.releases / FIRST / "manifest.json").unlink()
    assert main(["release", "list", "--home", str(home.path)]) == DONE
    assert capsys.readouterr().out.splitlines() == [
        "2020.06.30 (it holds no manifest.json: restore it from its backup)",
        "2020.06.30.1 (current)",
    ]


def test_a_folder_without_a_manifest_is_named_with_its_fix(released, capsys):
    folder = released.releases / "2020.12.01"
    folder.mkdir()
    with pytest.raises(StorageError, match="holds no manifest") as told:
        read_manifest(released, folder.name)
    assert told.value.where == str(folder) and "out of releases/" in told.value.fix
    assert main(["release", "show", folder.name, "--home", str(released.path)]) == REFUSED
    assert str(folder) in capsys.readouterr().err


def test_the_table_of_releases_tells_what_was_published_here(released, build, change_content):
    copied(released, "2020.06.29")
    (released.releases / "2020.06.28").mkdir()
    change_content(released, 2)
    made = build(released)
    with duckdb.connect(str(made.path / "public" / "rcs.duckdb"), read_only=True) as con:
        told = con.execute("select release from releases order by all").fetchall()
    assert told == [(FIRST,), (made.version,)]


def test_what_the_gate_looks_at_is_the_release_and_not_its_copy(released):
    content_hash = read_manifest(released, FIRST)["content_hash"]
    copied(released, "2020.12.01")
    assert candidate_folder(released, content_hash) == released.releases / FIRST
    assert withdrawn_with(released, content_hash) == ""


def test_a_copy_leaves_the_published_release_published(released):
    copied(released, "2020.12.01")
    assert running._is_published(released)


def test_a_name_that_a_folder_has_is_given_to_no_release(released):
    (released.releases / f"{FIRST}.1").mkdir()
    assert next_version(released, date(2020, 6, 30), "another content") == f"{FIRST}.2"


def test_a_copy_under_a_newer_name_is_not_the_release_that_tells_the_log(pending):
    home, content_hash = pending
    publish_candidate(home, content_hash, CHECKS)
    before = read_log(home)
    copied(home, "2020.12.01")
    log_file(home).unlink()
    assert read_log(home) == before


def test_a_log_of_another_installation_still_stops_all(released):
    """It may be the platform's own that was put aside: nobody can tell, so nothing is published."""
    other = copied(released, "2020.12.01")
    log = record(
        read_log(released), Entry(Event.PUBLISHED, "2020-12-01", "2020.12.01", "0" * 64, {})
    )
    lines = log.text().splitlines(keepends=True)
    (other / "audit.jsonl").write_text("".join(lines))
    save_log(
        released,
        record(
            read_log_without(released, other),
            Entry(Event.ERRATUM, "2020-12-01", FIRST, "", {"text": "x"}),
        ),
    )
    with pytest.raises(StorageError, match="disagree"):
        read_log(released)


def read_log_without(home, folder: Path):
    aside = folder.rename(home.path / "aside")
    log = read_log(home)
    aside.rename(folder)
    return log
