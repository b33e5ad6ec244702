"""A full disk under any command: one line that says so, and what was published is untouched."""

import errno
import os

import pytest

from rcs_assets.cli import main
from rcs_assets.commands import releases
from rcs_assets.commands.terminal import REFUSED
from rcs_assets.errors import StorageError
from rcs_assets.runs import dagster_instance
from rcs_assets.storage import Home, write_lock
from rcs_assets.storage.decision_log import (
    Content,
    Decision,
    add_decision,
    head_file,
    read_decisions,
)


def test_a_command_that_meets_a_full_disk_says_so(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    Home.open(home)
    # The kernel answers each write: no space left on device.
    (home / f"..lock-holder.json.{os.getpid()}").symlink_to("/dev/full")
    words = ["--reason", "a test", "--by", "anna", "--home", str(home)]
    assert main(["release", "withdraw", "current", *words]) == REFUSED
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("rcs: The disk is full.")
    assert "No space left on device" in said[0] and "make room" in said[0]

    def is_limited(options):
        raise OSError(errno.EFBIG, "a file would be larger than it may be")

    monkeypatch.setattr(releases, "release_list", is_limited)
    assert main(["release", "list", "--home", str(home)]) == REFUSED
    said = capsys.readouterr().err
    assert "raise the limit" in said and "make room" not in said

    def fails(options):
        raise PermissionError(errno.EACCES, "another failure is not called a full disk")

    monkeypatch.setattr(releases, "release_list", fails)
    with pytest.raises(PermissionError):
        main(["release", "list", "--home", str(home)])


def test_records_of_dagster_that_cannot_be_written_are_named(tmp_path):
    home = Home.open(tmp_path / "home")
    (home.dagster / "history").mkdir(parents=True)
    (home.dagster / "history" / "runs.db").mkdir()
    why = "unable to open database file"
    with pytest.raises(StorageError, match=why) as told, dagster_instance(home):
        pass
    assert "Dagster's records cannot be read or written" in str(told.value)
    assert "the command again" in told.value.fix


def test_decisions_that_a_full_disk_does_not_take_leave_their_log_whole(tmp_path):
    home = Home.open(tmp_path / "home")
    content = Content("case", "left", "right", "same", 1)

    def decide(n: int) -> None:
        with write_lock(home, "deciding"):
            add_decision(
                home,
                read_decisions(home),
                who="anna",
                event=Decision.ADJUDICATED,
                engagement=f"e{n}",
                queue="q",
                settles=True,
                content=content,
            )

    decide(1)
    head = head_file(home)
    aside = head.with_name(f".{head.name}.{os.getpid()}")
    for n in (2, 3, 4):
        aside.symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left"):
            decide(n)
    # The head is written first: nothing stands in the log that it does not count.
    assert [entry.engagement for entry in read_decisions(home)] == ["e1"]
    decide(5)
    assert [entry.engagement for entry in read_decisions(home)] == ["e1", "e5"]
