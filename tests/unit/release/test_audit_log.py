"""The chain: nothing in it can be changed, left out or put between."""

import json
from datetime import date, timedelta

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
        parse_log("".join(edit(LOG.text().splitlines(keepends=True))), "here")
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


def with_erratum(home):
    log = record(
        read_log(home), Entry(Event.ERRATUM, "2020-06-30", "2020.06.30", "", {"text": "x"})
    )
    save_log(home, log)
    return log


def test_a_log_that_was_cut_after_the_last_publication_is_found(released):
    log = with_erratum(released)
    file = log_file(released)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))
    with pytest.raises(StorageError, match="was cut"):
        read_log(released)
    file.unlink()
    with pytest.raises(StorageError, match="was cut"):
        read_log(released)
    file.write_text("".join(lines))
    assert read_log(released) == log


def test_another_log_with_as_many_entries_is_found(released):
    before = read_log(released)
    with_erratum(released)
    other = record(before, Entry(Event.ERRATUM, "2020-06-30", "2020.06.30", "", {"text": "y"}))
    log_file(released).write_text(other.text())
    with pytest.raises(StorageError, match="was cut, or another one"):
        read_log(released)


def test_a_head_that_a_killed_process_left_behind_is_taken(released):
    head = released.path / "audit.head"
    before = head.read_bytes()
    log = with_erratum(released)
    head.write_bytes(before)
    assert read_log(released) == log
    for damaged in (b"", b"[]", b'{"n": "x", "sha256": ""}'):
        head.write_bytes(damaged)
        with pytest.raises(StorageError, match="was cut"):
            read_log(released)
    head.unlink()
    with pytest.raises(StorageError, match="it is not there"):
        read_log(released)


def test_a_day_that_has_not_come_is_not_recorded():
    """One mistyped day would end all later entries."""
    today = date.today()
    for days, may in ((0, True), (1, True), (2, False), (99_999, False)):
        entry = Entry(Event.APPROVED, (today + timedelta(days=days)).isoformat(), "", "ef")
        if may:
            assert record(LOG, entry).entries[-1] == entry
        else:
            with pytest.raises(StorageError, match="lies after today"):
                record(LOG, entry)
