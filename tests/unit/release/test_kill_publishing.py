"""kill -9 at random moments of publishing, and two publications at once, with real processes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import rcs_assets.release.publish as publishing
from rcs_assets.errors import StorageError
from rcs_assets.release.gate import CheckRecord, CheckStatus
from rcs_assets.release.packages import current_version, versions
from rcs_assets.release.publish import publish_candidate
from rcs_assets.release.verify import verify_release
from rcs_assets.storage import Home, write_lock

CHECKS = (CheckRecord("intake/receipts", "receipts_add_up", CheckStatus.PASSED, 5, 5, "0", "0"),)
KILLS = 100
OLD, NEW = "2020.06.30", "2020.06.30.1"
DONE, TOLD = 0, 7


def in_child(work: Callable[[], int]) -> int:
    """Do some work in a process of its own; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = work()
    finally:
        os._exit(status)


def publish(home: Home, content_hash: str) -> int:
    """Publish as the graph does: under the installation's lock. `TOLD` if another holds it."""
    try:
        with write_lock(home, "a publication", wait_seconds=0):
            publish_candidate(home, content_hash, CHECKS)
    except StorageError as error:
        return TOLD if "is being written by process" in str(error) else 1
    return DONE


def copied(home: Home, target: Path) -> Home:
    return Home.open(shutil.copytree(home.path, target, symlinks=True))


@pytest.mark.kill
def test_a_hundred_random_kills_leave_the_old_release_or_the_new_one_whole(
    pending, tmp_path, record_testsuite_property
):
    """A process that had ended before it was killed does not count, and shortens the wait."""
    home, content_hash = pending
    draw, longest = random.Random(20260701), 2.0
    found, early = {OLD: 0, NEW: 0}, 0
    while sum(found.values()) < KILLS:
        place = copied(home, tmp_path / "killed")
        pid = in_child(partial(publish, place, content_hash))
        time.sleep(draw.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == -signal.SIGKILL:
            current = current_version(place)
            found[current] += 1
            assert {verify_release(place, v).is_whole for v in (current, OLD)} == {True}, found
            # The next call completes what was begun, and leaves nothing aside.
            publish_candidate(place, content_hash, CHECKS)
        else:
            assert code == DONE
            early, longest = early + 1, 0.9 * longest
        assert current_version(place) == NEW and verify_release(place).is_whole, found
        assert versions(place) == [OLD, NEW], found
        assert not [p for p in place.releases.iterdir() if p.name.startswith(".")], found
        shutil.rmtree(place.path)
    assert found[OLD] > 0, found
    record_testsuite_property("kills", f"{found}, {early} had ended before; {longest:.2f} s")


def test_a_kill_while_the_log_is_written_leaves_nothing_that_stays(pending, monkeypatch):
    home, content_hash = pending

    def killed(descriptor):
        if ".audit.jsonl." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        monkeypatch.setattr(os, "fsync", killed)
        return publish(home, content_hash)

    code = os.waitstatus_to_exitcode(os.waitpid(in_child(work), 0)[1])
    aside = [p.name for p in home.releases.iterdir() if p.name.startswith(".audit.jsonl.")]
    assert code == -signal.SIGKILL and len(aside) == 1
    assert {verify_release(home, v).is_whole for v in (current_version(home), OLD)} == {True}
    publish_candidate(home, content_hash, CHECKS)
    assert current_version(home) == NEW and verify_release(home).is_whole
    assert not [p for p in home.releases.iterdir() if p.name.startswith(".")]


def test_of_two_publications_at_once_one_wins_and_the_other_is_told(pending, monkeypatch, tmp_path):
    home, content_hash = pending
    inside, go = tmp_path / "inside", tmp_path / "go"
    move = publishing._move

    def slow_move(*arguments):
        inside.touch()
        while not go.exists():
            time.sleep(0.01)
        move(*arguments)

    monkeypatch.setattr(publishing, "_move", slow_move)
    first = in_child(lambda: publish(home, content_hash))
    while not inside.exists():
        time.sleep(0.01)
    second = in_child(lambda: publish(home, content_hash))
    told = os.waitstatus_to_exitcode(os.waitpid(second, 0)[1])
    assert told == TOLD and current_version(home) == OLD
    go.touch()
    won = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    assert won == DONE and current_version(home) == NEW
    assert versions(home) == [OLD, NEW] and verify_release(home).is_whole
