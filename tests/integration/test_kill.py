"""kill -9 at any moment: the last release stays whole, the next run completes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rcs_assets.release.seal import SEAL_NOTE
from tests.conftest import QUIET, ReleasedHome, run_rcs
from tests.integration.installation import (
    delivered,
    edit_sav,
    flip_one_answer,
    sign_and_deliver,
)

RANDOM_KILLS = 17
COMPLETE_EVERY = 6

# A child process that kills itself at one step of publishing: a moment too short to hit
# from outside. The product's own code runs up to there, unchanged.
SUICIDE = """
import os, signal, sys
from rcs_assets.release import publish

def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

real = getattr(publish, sys.argv[1])

def after(*arguments, **named):
    real(*arguments, **named)
    die()

setattr(publish, sys.argv[1], die if sys.argv[2] == "before" else after)
from rcs_assets.cli import main
sys.exit(main(sys.argv[3:]))
"""


def change_one_answer(home: Path, folder: Path, number: int) -> None:
    """Deliver a survey again with one answer turned over: another release must follow."""
    source = delivered(home, "secondary_survey")
    edited = edit_sav(
        source, folder / f"change-{number}", lambda frame: flip_one_answer(frame, number)
    )
    told = sign_and_deliver(home, edited)
    assert told.status == 0, told.output


def assert_whole(home: Path) -> None:
    """Whatever `current` points to is complete and as published."""
    verified = run_rcs("release", "verify", "--home", home)
    assert verified.status == 0, verified.output


def complete(home: Path) -> None:
    """The next run makes a new release and leaves nothing half-done."""
    done = run_rcs("materialise", "--home", home, "--publish")
    assert done.status == 0, done.output
    assert_whole(home)
    left = [path.name for path in (home / "releases").iterdir() if path.name.startswith(".")]
    # What the candidate was that is published now: no part of a release.
    assert set(left) <= {SEAL_NOTE}


@pytest.mark.kill
def test_random_kills_leave_the_last_release_whole(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = released_home.copy(tmp_path / "home")
    draw = random.Random(20260701)
    script = Path(sys.executable).with_name("rcs")
    for number in range(RANDOM_KILLS):
        change_one_answer(home, tmp_path / "files", number)
        before = (home / "releases" / "current").resolve()
        process = subprocess.Popen(
            [script, "materialise", "--home", home, "--publish"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(draw.uniform(1.0, 30.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert_whole(home)
        assert before.is_dir()
        if number % COMPLETE_EVERY == COMPLETE_EVERY - 1 or number == RANDOM_KILLS - 1:
            complete(home)


@pytest.mark.kill
@pytest.mark.parametrize(
    ("function", "moment"),
    [
        ("_complete", "after"),
        ("_move", "after"),
        ("_make_current", "before"),
        ("_make_current", "after"),
    ],
)
def test_a_kill_while_current_is_swapped(
    released_home: ReleasedHome, tmp_path: Path, function: str, moment: str
) -> None:
    home = released_home.copy(tmp_path / "home")
    change_one_answer(home, tmp_path / "files", 0)
    died = subprocess.run(
        [
            sys.executable, "-c", SUICIDE, function, moment,
            "materialise", "--home", home, "--publish",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=QUIET | {"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert_whole(home)
    complete(home)
