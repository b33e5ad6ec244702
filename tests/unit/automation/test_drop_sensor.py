"""What the sensor on the drop folder asks for, and when it waits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

import dagster as dg
import pytest

from rcs_assets.automation import look_into_drop, set_refused_aside, stable_files
from rcs_assets.errors import StorageError
from rcs_assets.programme.provenance import write_simulated_manifest
from rcs_assets.storage import Home
from rcs_assets.storage.resources import HomeResource

OPT_OUTS = "t2-falkirk_opt-outs.csv"
SCHOOLS = "schools_open_2024-10-31.csv"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home", profile="demo", seed=2026)


def arrive(home: Home, name: str, text: str) -> None:
    file = home.incoming / name
    file.write_text(text, encoding="utf-8")
    write_simulated_manifest(home.incoming, [file], 2026)


def look(home: Home, cursor: str | None = None) -> tuple[list[dg.RunRequest | dg.SkipReason], str]:
    context = dg.build_sensor_context(cursor=cursor)
    found = list(look_into_drop(context, HomeResource(path=str(home.path))))
    return found, context.cursor or ""


def requests(found: list[dg.RunRequest | dg.SkipReason]) -> list[tuple[str | None, str | None]]:
    return [(r.job_name, r.partition_key) for r in found if isinstance(r, dg.RunRequest)]


def skipped(found: list[dg.RunRequest | dg.SkipReason]) -> str:
    (reason,) = found
    assert isinstance(reason, dg.SkipReason)
    return reason.skip_message or ""


def test_a_file_is_stable_when_it_is_seen_twice_alike(tmp_path: Path):
    file = tmp_path / "a.csv"
    file.write_text("1")
    first, seen = stable_files(tmp_path, [])
    assert first == []
    assert stable_files(tmp_path, seen)[0] == [file]
    file.write_text("12")
    assert stable_files(tmp_path, seen)[0] == []


def test_a_refused_file_leaves_the_sensors_sight(tmp_path: Path):
    file = tmp_path / "a.csv"
    file.write_text("1")
    mark = stable_files(tmp_path, [])[1]
    assert [set_refused_aside(file)] == mark
    assert (tmp_path / "refused" / "a.csv").read_text() == "1"
    assert stable_files(tmp_path, [])[1] == []
    assert set_refused_aside(file) == ""


def test_a_delivery_starts_a_run_of_its_engagement(home: Home):
    arrive(home, OPT_OUTS, "survey_uid,scope,received_on\n")
    found, cursor = look(home)
    assert requests(found) == []
    found, _ = look(home, cursor)
    assert requests(found) == [("engagement", "t2-falkirk")]
    assert not list(home.incoming.glob("*.csv"))


def test_why_a_file_was_refused_is_said_as_long_as_it_lies_there(home: Home):
    wrong = "t2-falkirk_list-of-opt-outs.csv"
    arrive(home, wrong, "survey_uid,scope,received_on\n")
    arrive(home, OPT_OUTS, "survey_uid,scope,received_on\n")
    write_simulated_manifest(home.incoming, sorted(home.incoming.glob("*.csv")), 2026)
    # A tick that asks for runs can say nothing; the ticks after it do.
    found, cursor = look(home, look(home)[1])
    assert requests(found) == [("engagement", "t2-falkirk")]
    for _ in range(2):
        found, cursor = look(home, cursor)
        said = skipped(found)
        assert "In drop/incoming/refused lie 1 refused files" in said
        assert "a file whose name the contracts do not know" in said and "What to do" in said
        assert wrong not in said and wrong not in cursor
    (home.incoming / "refused" / wrong).unlink()
    assert "refused" not in skipped(look(home, cursor)[0])


def test_of_many_refused_files_the_first_are_named(home: Home):
    engagements = ["t1-west-lothian", "t2-falkirk", "t3-moray", "t1-clackmannanshire"]
    known = [f"{key}_{kind}.csv" for key in engagements for kind in ("opt-outs", "clusters")]
    for name in [*known[:6], "Jane Doe.csv", "John Doe.csv"]:
        (home.incoming / name).write_text("a\n", encoding="utf-8")
    found, cursor = look(home, look(home)[1])
    said = skipped(found)
    assert "Nothing new was registered." in said
    assert "2 files alike: The demo profile refuses this file. Where: a file whose name" in said
    assert said.count("The demo profile refuses") == 5 and said.endswith("And 2 more.")
    assert "Doe" not in said and "Doe" not in cursor


def test_no_name_of_a_file_stands_in_what_dagster_keeps(home: Home):
    """Of a cursor, and of a tick that fails: its error is kept with the traceback."""
    names = ["Jane Doe 27-11-2003.csv", "Jane Doe.zip", "Jane \udcff Doe"]
    for name in names:
        (home.incoming / name).write_text("a\n", encoding="utf-8")
    found, seen = look(home)
    refused, cursor = look(home, seen)
    for kept in (skipped(found), seen, skipped(refused), cursor):
        assert "Jane" not in kept and "Doe" not in kept
    assert "lie 3 refused files" in skipped(refused)


def test_a_tick_that_the_system_stops_says_so_without_the_files_name(
    home: Home,
):
    (home.incoming / "Jane Doe.csv").write_text("a\n", encoding="utf-8")
    _, seen = look(home)
    (home.incoming / "refused" / "Jane Doe.csv").mkdir(parents=True)
    with pytest.raises(StorageError) as caught:
        look(home, seen)
    kept = "".join(traceback.format_exception(caught.value))
    assert "Is a directory" in kept and "Jane" not in kept


def test_a_cursor_of_names_from_before_is_read_and_forgotten(home: Home):
    arrive(home, OPT_OUTS, "survey_uid,scope,received_on\n")
    before = json.dumps({"seen": {OPT_OUTS: [1, 2]}, "refused": {"Jane Doe.csv": "why"}})
    found, cursor = look(home, before)
    assert "Jane" not in cursor and "why" not in skipped(found)
    assert requests(look(home, cursor)[0]) == [("engagement", "t2-falkirk")]


def test_nothing_is_registered_while_another_process_works(home: Home):
    arrive(home, OPT_OUTS, "survey_uid,scope,received_on\n")
    _, cursor = look(home)
    ready = home.path / "held"
    holder = (
        "import pathlib, time\nfrom rcs_assets.storage import Home, write_lock\n"
        f"with write_lock(Home.open({str(home.path)!r}), 'rcs materialise'):\n"
        f"    pathlib.Path({str(ready)!r}).touch()\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", holder]) as process:
        while not ready.exists():
            time.sleep(0.05)
        found, after = look(home, cursor)
        process.kill()
    (skipped,) = found
    assert isinstance(skipped, dg.SkipReason)
    assert "rcs materialise" in (skipped.skip_message or "")
    assert (home.incoming / OPT_OUTS).exists()
    # The cursor stays, so that the next look takes the file at once.
    assert after == cursor
    assert requests(look(home, after)[0]) == [("engagement", "t2-falkirk")]


def test_reference_data_start_their_own_run_first_and_every_engagement(home: Home):
    arrive(home, OPT_OUTS, "survey_uid,scope,received_on\n")
    look(home, look(home)[1])
    arrive(home, SCHOOLS, _school_list())
    found, _ = look(home, look(home)[1])
    assert requests(found) == [("reference", None), ("engagement", "t2-falkirk")]
    first = found[0]
    assert isinstance(first, dg.RunRequest)
    assert first.tags["dagster/priority"] == "1"


def _school_list() -> str:
    from rcs_assets.codebook import load_codebook

    return ",".join(f.column for f in load_codebook().datasets["school_list"].fields) + "\n"
