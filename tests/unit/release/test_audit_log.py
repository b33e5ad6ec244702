"""The chain: nothing in it can be changed, left out or put between."""

import json

import pytest

from rcs_assets.errors import StorageError
from rcs_assets.release.audit_log import (
    AuditLog,
    Entry,
    Event,
    log_file,
    parse_log,
    read_log,
    record,
    save_log,
)
from rcs_assets.release.states import ReleaseState

FIRST = Entry(Event.PUBLISHED, "2020-06-30", "2020.06.30", "ab", {"author": "carl"})
SECOND = Entry(Event.PUBLISHED, "2020-07-01", "2020.07.01", "cd")
OLD = Entry(Event.SUPERSEDED, "2020-07-01", "2020.06.30", "", {"by": "2020.07.01"})
LOG = record(AuditLog(), FIRST, SECOND, OLD)


def test_a_log_is_read_as_it_was_written():
    assert parse_log(LOG.text(), "here") == LOG
    assert LOG.extends(AuditLog(LOG.entries[:2])) and not AuditLog().extends(LOG)


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [lines[0].replace("carl", "dora"), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:2], lines[2].replace("2020-07-01", "2020-07-02")],
        lambda lines: [*lines[:2], "{}\n"],
        lambda lines: [*lines[:2], "no json\n"],
        lambda lines: [*lines[:2], json.dumps({**json.loads(lines[2]), "event": "praised"})],
    ],
)
def test_an_edit_is_found(edit):
    with pytest.raises(StorageError, match="was changed") as caught:
        parse_log("".join(edit(LOG.lines())), "here")
    assert "line " in str(caught.value)


def test_a_forged_tail_is_not_what_the_release_tells(released):
    log = read_log(released)
    forged = record(AuditLog(), *(log.entries[:-2]), FIRST)
    save_log(released, forged)
    with pytest.raises(StorageError, match="disagree"):
        read_log(released)


def test_states_follow_from_the_log():
    assert LOG.state_of("2020.06.30") == ReleaseState.SUPERSEDED
    assert LOG.state_of("2020.07.01") == ReleaseState.PUBLISHED
    assert LOG.state_of("2019.01.01") is None


def test_a_clock_that_was_set_back_records_nothing():
    with pytest.raises(StorageError, match="clock was set back"):
        record(LOG, Entry(Event.APPROVED, "2020-06-30", "", "ef"))


def test_an_impossible_step_is_not_recorded():
    with pytest.raises(StorageError, match="cannot become superseded"):
        record(LOG, OLD)
    withdrawn = record(LOG, Entry(Event.WITHDRAWN, "2020-07-02", "2020.07.01"))
    with pytest.raises(StorageError, match="is withdrawn and cannot become"):
        record(withdrawn, Entry(Event.WITHDRAWN, "2020-07-02", "2020.07.01"))


def test_a_release_ends_its_log_with_its_publication_and_the_next_entry_seals_it(released):
    told = (released.releases / "2020.06.30" / "audit.jsonl").read_text()
    assert [e.event for e in parse_log(told, "x").entries] == [Event.PUBLISHED]
    log = read_log(released)
    assert [e.event for e in log.entries] == [Event.PUBLISHED, Event.SEALED]
    assert log_file(released).stat().st_mode & 0o777 == 0o600


def test_a_log_that_was_lost_is_taken_from_the_newest_release(released):
    before = read_log(released)
    log_file(released).unlink()
    assert read_log(released) == before
