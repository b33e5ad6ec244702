"""Releases that are taken back, and errata."""

import shutil
from datetime import date

import pytest

import rcs_assets.release.withdraw as withdrawing
from rcs_assets.errors import InputError, StorageError
from rcs_assets.release.audit_log import Event, read_log
from rcs_assets.release.packages import current_version, list_releases, show_release
from rcs_assets.release.publish import publish_candidate, withdrawn_with
from rcs_assets.release.verify import verify_release
from rcs_assets.release.withdraw import finish_withdrawals, record_erratum, withdraw_release
from rcs_assets.storage import Home

DAY = date(2020, 7, 1)
FIRST, SECOND = "2020.06.30", "2020.06.30.1"


def take_back(home, version, reason="a school was mixed up", day=DAY):
    return withdraw_release(home, version, reason=reason, by="anna", day=day)


@pytest.fixture(scope="module")
def twice_made(pending_home, tmp_path_factory):
    """A home with two releases; copied, never changed."""
    target = tmp_path_factory.mktemp("twice") / "home"
    home = Home.open(shutil.copytree(pending_home.home.path, target, symlinks=True))
    publish_candidate(home, pending_home.candidate.content_hash, ())
    return home.path


@pytest.fixture
def twice(twice_made, tmp_path):
    """A home with two releases that the test may change."""
    return Home.open(shutil.copytree(twice_made, tmp_path / "home", symlinks=True))


def test_a_withdrawn_release_leaves_a_tombstone_and_the_one_before_is_read(twice):
    assert take_back(twice, "current") == FIRST == current_version(twice)
    place = twice.releases / SECOND
    assert "a school was mixed up" in (place / "WITHDRAWN.md").read_text()
    assert {file.name for file in place.iterdir()} == {
        "WITHDRAWN.md", "manifest.json", "audit.jsonl", "SHA256SUMS",
    }  # fmt: skip
    verified = verify_release(twice, SECOND)
    assert verified.is_whole and verified.state == "withdrawn"
    assert verify_release(twice).is_whole and verify_release(twice).state == "published"
    assert [entry.withdrawn for entry in list_releases(twice)] == ["", "a school was mixed up"]
    with pytest.raises(InputError, match="was withdrawn"):
        show_release(twice, SECOND)
    # Later releases are attacked together with what was read: it is kept, for nobody to read.
    assert (twice.releases / ".withdrawn" / SECOND / "public").is_dir()
    assert (twice.releases / ".withdrawn").stat().st_mode & 0o077 == 0


def test_the_only_release_leaves_nothing_to_read(released):
    assert take_back(released, FIRST) is None
    assert current_version(released) is None and verify_release(released, FIRST).is_whole


def test_an_older_release_is_withdrawn_without_touching_the_current(twice):
    assert take_back(twice, FIRST) == SECOND
    assert verify_release(twice).is_whole


def test_what_it_said_is_known_as_withdrawn(released, build):
    content = build(released).content_hash
    assert withdrawn_with(released, content) == ""
    take_back(released, FIRST)
    assert withdrawn_with(released, content) == FIRST


def test_a_new_version_does_not_take_the_place_of_a_tombstone(released, build, change_content):
    take_back(released, FIRST)
    change_content(released, 1)
    built = build(released)
    assert built.version == SECOND
    assert publish_candidate(released, built.content_hash, (), day=DAY).version == SECOND


@pytest.mark.parametrize(
    ("version", "reason", "words"),
    [
        ("2001.01.01", "why", "no release 2001"),
        (FIRST, "  ", "lacks a reason"),
    ],
)
def test_wrong_use_is_refused(released, version, reason, words):
    with pytest.raises(InputError, match=words):
        take_back(released, version, reason)
    assert verify_release(released).is_whole


def test_it_is_withdrawn_once_and_not_before_it_was_published(released):
    with pytest.raises(StorageError, match="clock was set back"):
        take_back(released, FIRST, day=date(2020, 6, 29))
    take_back(released, FIRST)
    with pytest.raises(StorageError, match="cannot become withdrawn"):
        take_back(released, FIRST)


@pytest.mark.parametrize("moment", ["_point_away", "_bury", "_write_tombstone", "sync_tree"])
def test_a_kill_is_completed_by_the_next_command(twice, monkeypatch, moment):
    class Killed(BaseException):
        pass

    real = getattr(withdrawing, moment)

    def die(*arguments, **named):
        if read_log(twice).of(SECOND, Event.WITHDRAWN):
            raise Killed
        return real(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(withdrawing, moment, die)
        take_back(twice, "current")
    # The same command again would take the release before it too.
    with pytest.raises(InputError, match=f"withdrawal of {SECOND} had been cut off"):
        take_back(twice, "current")
    assert finish_withdrawals(twice) == ()
    assert current_version(twice) == FIRST and verify_release(twice).is_whole
    assert verify_release(twice, SECOND).is_whole
    assert [e.event for e in read_log(twice).of(SECOND)][-1] == Event.WITHDRAWN


def test_a_tombstone_cannot_be_edited_unseen(twice):
    take_back(twice, "current")
    (twice.releases / SECOND / "WITHDRAWN.md").write_text("nothing happened")
    assert "is not as published" in " ".join(verify_release(twice, SECOND).problems)


def test_an_erratum_is_recorded_and_the_release_stays(released):
    record_erratum(released, "current", text="Table 3 is by stage", by="anna", day=DAY)
    (entry,) = read_log(released).of(FIRST, Event.ERRATUM)
    assert entry.details == {"text": "Table 3 is by stage", "by": "anna"}
    assert verify_release(released).is_whole
    with pytest.raises(InputError, match="lacks a text"):
        record_erratum(released, "current", text="", by="anna", day=DAY)


def test_what_is_said_to_readers_is_one_line_without_a_persons_number(released):
    record_erratum(released, FIRST, text="Table 3\n\n# Release 1", by=" anna\n", day=DAY)
    (entry,) = read_log(released).of(FIRST, Event.ERRATUM)
    assert entry.details == {"text": "Table 3 # Release 1", "by": "anna"}
    record_erratum(released, FIRST, text="School 5700099, 2020-06-30", by="anna", day=DAY)
    for text in (
        "pupil 123456789 was counted twice", "UID 00012345", "SCN 12 345 678 9", "12-34567-89",
    ):  # fmt: skip
        with pytest.raises(InputError, match="could be a person's") as refused:
            record_erratum(released, FIRST, text=text, by="anna", day=DAY)
        assert "345" not in str(refused.value)
        with pytest.raises(InputError, match="could be a person's"):
            withdraw_release(released, FIRST, reason=text, by="anna", day=DAY)
    assert len(read_log(released).of(FIRST, Event.ERRATUM)) == 2
