"""What has changed is computed again, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import DEMO_DAY, ReleasedHome, run_rcs
from tests.integration.installation import (
    ENGAGEMENT,
    OTHER,
    current,
    delivered,
    edit_sav,
    flip_one_answer,
    publish,
    ranges_since,
    runs,
    sign_and_deliver,
)


def test_a_second_demo_computes_nothing(released_home: ReleasedHome, tmp_path: Path) -> None:
    # A copy: the demo opens the warehouse for writing, which a test beside this one may be reading.
    home = released_home.copy(tmp_path / "home")
    before = len(runs(home))
    done = run_rcs(
        "demo", "--scale", "small", "--seed", "2026", "--home", home, "--as-of", "2020-06-30"
    )
    assert done.status == 0, done.output
    assert "Nothing has changed" in done.stdout
    assert len(runs(home)) == before


def test_the_same_bytes_or_a_touched_file_change_nothing(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = released_home.copy(tmp_path / "home")
    source = delivered(home, "secondary_survey")
    again = tmp_path / "again" / source.name
    again.parent.mkdir()
    again.write_bytes(source.read_bytes())
    os.utime(source, (0, 0))
    told = sign_and_deliver(home, again)
    assert told.status == 0, told.output
    assert "unchanged" in told.stdout
    before = len(runs(home))
    done = publish(home)
    assert "Nothing has changed" in done.stdout
    assert len(runs(home)) == before


@pytest.mark.slow
def test_one_flipped_answer_rebuilds_its_engagement_alone(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    """Of whole files: tests/privacy/test_canaries.py, in every run of the tests."""
    home = released_home.copy(tmp_path / "home")
    old, known = current(home), runs(home)
    source = delivered(home, "secondary_survey")
    edited = edit_sav(source, tmp_path / "edited", flip_one_answer)
    assert sign_and_deliver(home, edited).status == 0
    done = publish(home)
    assert done.status == 0, done.output
    assert current(home) != old
    ranges = ranges_since(known, home)
    assert (ENGAGEMENT, ENGAGEMENT) in ranges
    assert not [pair for pair in ranges if OTHER in pair]
    verified = run_rcs("release", "verify", "--home", home, "--json")
    assert json.loads(verified.stdout)["is_whole"] is True


@pytest.mark.slow
def test_a_deleted_warehouse_is_rebuilt_from_the_drop_to_the_same_release(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = released_home.copy(tmp_path / "home")
    before = (home / "releases" / "current" / "manifest.json").read_bytes()
    for name in ("warehouse.duckdb", "vault.duckdb"):
        (home / name).unlink()
    done = publish(home, "--as-of", DEMO_DAY)
    assert done.status == 0, done.output
    assert (home / "releases" / "current" / "manifest.json").read_bytes() == before
