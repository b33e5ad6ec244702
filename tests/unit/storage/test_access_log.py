"""The access log on a full disk, and after it was changed: nothing is lost, nothing is locked."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rcs_assets.cli import WRONG_USE, main
from rcs_assets.commands.terminal import DONE, REFUSED
from rcs_assets.doctor import examine
from rcs_assets.errors import InputError, StorageError
from rcs_assets.storage import Home, open_vault
from rcs_assets.storage.access_log import (
    Access,
    begin_anew,
    log_file,
    read_access,
    record_access,
)
from rcs_assets.storage.chain import START, digest
from rcs_assets.storage.keyring import new_keys

KEY = "project_id"


@pytest.fixture
def production(tmp_path: Path) -> Home:
    home = Home.open(tmp_path / "production")
    new_keys(home)
    with open_vault(home):
        pass
    return home


def _head(home: Home) -> Path:
    return home.path / "access.head"


def _lines(home: Home) -> list[str]:
    return log_file(home).read_text().splitlines(keepends=True)


@contextmanager
def _no_more_than(size: int) -> Iterator[None]:
    """Files of this process grow to a size; what is over it is not written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _fill_the_disk_for_the_head(home: Home) -> None:
    # The kernel answers each write: no space left on device.
    (home.path / f".access.head.{os.getpid()}").symlink_to("/dev/full")


def test_heads_that_a_full_disk_does_not_take_leave_no_entry(production: Home) -> None:
    before = log_file(production).read_bytes(), _head(production).read_bytes()
    for _ in range(3):
        _fill_the_disk_for_the_head(production)
        with pytest.raises(StorageError, match="cannot be written"):
            production.key(KEY)
    assert (log_file(production).read_bytes(), _head(production).read_bytes()) == before
    number = len(read_access(production))
    assert production.key(KEY)
    assert len(read_access(production)) == number + 1


def test_an_entry_that_a_full_disk_takes_in_part_is_taken_back(production: Home) -> None:
    before = log_file(production).read_bytes()
    with (
        _no_more_than(len(before) + 40),
        pytest.raises(StorageError, match="cannot be written"),
    ):
        production.key(KEY)
    assert log_file(production).read_bytes() == before
    assert production.key(KEY)
    assert read_access(production)


def test_entries_after_the_head_are_read_where_the_chain_leads_on(production: Home) -> None:
    """So an installation whose head could not be written three times over is not lost."""
    head = _head(production).read_text()
    for _ in range(3):
        production.key(KEY)
    number = len(read_access(production))
    _head(production).write_text(head)
    assert len(read_access(production)) == number
    production.key(KEY)
    assert len(read_access(production)) == number + 1
    assert json.loads(_head(production).read_text())["n"] == number + 1


@pytest.mark.parametrize("left", [40, -1])
def test_a_line_that_was_cut_is_dropped_by_the_next_entry(production: Home, left: int) -> None:
    """`left`: bytes of the line; -1, all but its end."""
    head, whole = _head(production).read_text(), log_file(production).read_bytes()
    production.key(KEY)
    line = log_file(production).read_bytes()[len(whole) :]
    _head(production).write_text(head)
    log_file(production).write_bytes(whole + line[:left])
    number = len(read_access(production))
    assert number == len(whole.splitlines())
    production.key(KEY)
    assert len(read_access(production)) == number + 1


def _edit_after_the_head(home: Home) -> None:
    *first, last = _lines(home)
    log_file(home).write_text("".join([*first, last.replace("key used", "key made")]))


def _take_out_after_the_head(home: Home) -> None:
    *first, _, last = _lines(home)
    log_file(home).write_text("".join([*first, last]))


def _cut_the_entry_of_the_head(home: Home) -> None:
    number = json.loads(_head(home).read_text())["n"]
    log_file(home).write_text("".join(_lines(home)[:number])[:-1])


def _cut_before_the_head(home: Home) -> None:
    log_file(home).write_text("".join(_lines(home)[:3]))


def _edit_before_the_head(home: Home) -> None:
    log_file(home).write_text(log_file(home).read_text().replace("key made", "key used", 1))


def _another_head(home: Home) -> None:
    told = json.loads(_head(home).read_text())
    _head(home).write_text(json.dumps(told | {"sha256": "0" * 64}))


def _a_head_before_the_first(home: Home) -> None:
    last = json.loads(_lines(home)[-1])
    _head(home).write_text(json.dumps({"n": -1, "sha256": last["sha256"]}))


def _no_head(home: Home) -> None:
    _head(home).unlink()


def _bytes_that_are_no_text(home: Home) -> None:
    log_file(home).write_bytes(log_file(home).read_bytes() + b"\xff\n")


@pytest.mark.parametrize(
    "change",
    [
        _edit_after_the_head,
        _take_out_after_the_head,
        _cut_the_entry_of_the_head,
        _cut_before_the_head,
        _edit_before_the_head,
        _another_head,
        _a_head_before_the_first,
        _no_head,
        _bytes_that_are_no_text,
    ],
)
def test_a_head_that_is_behind_hides_no_change(production: Home, change: object) -> None:
    head = _head(production).read_text()
    for _ in range(3):
        production.key(KEY)
    _head(production).write_text(head)
    change(production)
    with pytest.raises(StorageError, match="access log was changed or cut"):
        read_access(production)
    with pytest.raises(StorageError, match="access log was changed or cut"):
        production.key(KEY)


def test_a_lost_head_is_found_without_a_vault_too(production: Home) -> None:
    production.vault.unlink()
    _no_head(production)
    with pytest.raises(StorageError, match="access log was changed or cut"):
        production.key(KEY)


@pytest.mark.parametrize("gone", [(), ("log",), ("log", "head")])
def test_a_changed_log_is_put_aside_and_the_new_one_says_so(
    production: Home,
    gone: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RCS_OPERATOR", "carl")
    _edit_before_the_head(production)
    old, head = log_file(production).read_bytes(), _head(production).read_bytes()
    for name, file in (("log", log_file(production)), ("head", _head(production))):
        if name in gone:
            file.unlink()
    place = ["--home", str(production.path)]
    assert main(["access", *place]) == REFUSED
    assert "rcs access --begin-anew REASON" in capsys.readouterr().err
    assert main(["access", "--begin-anew", " ", *place]) == WRONG_USE
    assert main(["access", "--begin-anew", "a test", *place]) == DONE
    (first,) = read_access(production)
    assert (first.event, first.who, first.purpose) == (Access.LOG_BEGUN, "carl", "a test")
    kept = {file.suffix: file.read_bytes() for file in production.logs.glob("access-*")}
    assert kept == ({} if "log" in gone else {".jsonl": old}) | (
        {} if "head" in gone else {".head": head}
    )
    assert (hashlib.sha256(old).hexdigest() in first.what) is ("log" not in gone)
    assert production.key(KEY)
    assert [f.detail for f in examine(production) if f.what == "access log"] == ["whole, 2 entries"]


def test_a_log_that_is_whole_is_not_put_aside(production: Home) -> None:
    record_access(production, Access.KEY_USED, KEY, "a test")
    before = log_file(production).read_bytes()
    with pytest.raises(InputError, match="is whole"):
        begin_anew(production, "a test")
    assert log_file(production).read_bytes() == before


def test_a_log_made_anew_lacks_the_entry_that_was_noted(
    production: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its chain and head are whole: only who noted an entry elsewhere can tell."""
    place = ["--home", str(production.path)]
    record_access(production, Access.DROP_READ, "a file", "a test")
    assert main(["access", *place]) == DONE
    noted = capsys.readouterr().out.split()[-1]
    record_access(production, Access.DROP_READ, "another file", "a test")
    assert main(["access", "--noted", noted.upper(), *place]) == DONE
    number = len(read_access(production))
    assert f"entry {number - 1} of " in capsys.readouterr().out

    _make_anew_without(production, "a file")
    assert {entry.what for entry in read_access(production)} & {"a file", "another file"} == {
        "another file"
    }
    assert main(["access", *place]) == DONE
    assert main(["access", "--noted", noted, *place]) == REFUSED
    assert "is another one than that which was noted" in capsys.readouterr().err


def _make_anew_without(home: Home, what: str) -> None:
    """As whoever may write in the home can: the chain has no key."""
    lines = [json.loads(line) for line in log_file(home).read_text(encoding="utf-8").splitlines()]
    previous, text = START, ""
    for number, line in enumerate((line for line in lines if line["what"] != what), 1):
        content = {k: v for k, v in line.items() if k != "sha256"}
        content |= {"n": number, "previous": previous}
        previous = digest(content)
        text += json.dumps(content | {"sha256": previous}, sort_keys=True) + "\n"
    log_file(home).write_text(text, encoding="utf-8")
    head = {"n": text.count("\n"), "sha256": previous}
    _head(home).write_text(json.dumps(head, sort_keys=True) + "\n", encoding="utf-8")
