"""Keys: made by a command, recognised when wrong, rotated whole; every use is recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rcs_assets.doctor import examine
from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.storage import Home, keyring, open_vault, open_warehouse
from rcs_assets.storage.access_log import Access, log_file, read_access, record_access
from rcs_assets.storage.keyring import (
    PURPOSES,
    RELEASED,
    key_generations,
    key_states,
    new_keys,
    require_keys,
    rotate_keys,
)

KEY = "project_id"


@pytest.fixture
def production(tmp_path: Path) -> Home:
    home = Home.open(tmp_path / "production")
    assert new_keys(home) == tuple(PURPOSES)
    return home


def _file(home: Home, name: str = KEY) -> Path:
    return home.keys / f"{name}.key"


def test_a_new_production_home_has_no_keys_until_a_command_makes_them(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    with pytest.raises(StorageError, match=r"no keys yet.*rcs keys new"):
        home.key(KEY)
    with pytest.raises(StorageError, match="no keys yet"), open_vault(home):
        pass
    assert not home.vault.exists()
    assert list(home.keys.iterdir()) == []
    new_keys(home)
    first = home.key(KEY)
    assert new_keys(home) == ()
    assert home.key(KEY) == first
    other = Home.open(tmp_path / "other")
    new_keys(other)
    assert other.key(KEY) != first


def test_key_files_are_private_and_the_register_holds_no_key(production: Home) -> None:
    register = (production.path / "keys.json").read_text()
    for name in PURPOSES:
        assert _file(production, name).stat().st_mode & 0o777 == 0o600
        assert production.key(name).hex() not in register
        assert production.key(name).hex() not in log_file(production).read_text()


def test_a_missing_key_is_refused_and_not_made(production: Home) -> None:
    _file(production).unlink()
    for attempt in (lambda: production.key(KEY), lambda: require_keys(production)):
        with pytest.raises(StorageError, match="Key project_id is missing"):
            attempt()
    assert new_keys(production) == ()
    assert not _file(production).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("00" * 32, "not the key of this installation"), ("no hexadecimal", "damaged")],
)
def test_a_wrong_or_damaged_key_is_refused(production: Home, text: str, message: str) -> None:
    _file(production).write_text(text)
    with pytest.raises(StorageError, match=message):
        production.key(KEY)
    assert [s.name for s in key_states(production) if message in s.problem] == [KEY]


def test_a_key_that_others_can_read_is_refused(production: Home) -> None:
    _file(production).chmod(0o644)
    with pytest.raises(StorageError, match="can be read by others"):
        production.key(KEY)


def test_keys_of_an_installation_with_data_are_lost_not_new(production: Home) -> None:
    with open_vault(production) as con:
        con.execute("create table t (a integer)")
    _file(production, "vault").unlink()
    (production.path / "keys.json").unlink()
    with pytest.raises(StorageError, match="Keys of this installation are lost: vault"):
        new_keys(production)
    assert not (production.path / "keys.json").exists()


def test_keys_of_an_older_version_are_recorded_as_they_are(production: Home) -> None:
    before = production.key(KEY)
    (production.path / "keys.json").unlink()
    with pytest.raises(StorageError, match="not recorded"):
        production.key(KEY)
    new_keys(production)
    assert production.key(KEY) == before


def test_demo_keys_follow_the_seed_and_another_one_is_refused(tmp_path: Path) -> None:
    first = Home.open(tmp_path / "a", profile="demo", seed=1)
    second = Home.open(tmp_path / "b", profile="demo", seed=1)
    other = Home.open(tmp_path / "c", profile="demo", seed=2)
    assert first.key(KEY) == second.key(KEY) != other.key(KEY)
    assert first.key(KEY) != first.key("record_id")
    _file(first).write_text("00" * 32)
    with pytest.raises(StorageError, match="not the key of this installation"):
        first.key(KEY)
    rotate_keys(second, [KEY])
    rotate_keys(other, [KEY])
    assert len({first_key(home) for home in (second, other)}) == 2
    assert key_generations(second) == {KEY: 2}


def first_key(home: Home) -> bytes:
    return home.key(KEY)


def test_a_key_may_come_from_the_environment(
    production: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = production.key(KEY)
    _file(production).unlink()
    monkeypatch.setenv("RCS_KEY_PROJECT_ID", right.hex())
    assert production.key(KEY) == right
    with pytest.raises(ConfigurationError, match="RCS_KEY_PROJECT_ID_NEXT"):
        rotate_keys(production, [KEY])
    monkeypatch.setenv("RCS_KEY_PROJECT_ID_NEXT", "ab" * 32)
    rotate_keys(production, [KEY])
    with pytest.raises(StorageError, match="not the key of this installation"):
        production.key(KEY)
    monkeypatch.setenv("RCS_KEY_PROJECT_ID", "ab" * 32)
    assert production.key(KEY) == bytes.fromhex("ab" * 32)
    assert not _file(production).exists()


def test_rotation_gives_new_keys_to_all_that_is_released(production: Home) -> None:
    before = {name: production.key(name) for name in PURPOSES}
    assert rotate_keys(production) == RELEASED
    changed = {name for name in PURPOSES if production.key(name) != before[name]}
    assert changed == set(RELEASED)
    with pytest.raises(ConfigurationError, match="There is no key cellar"):
        rotate_keys(production, ["cellar"])


def test_the_vault_is_written_anew_under_its_new_key(production: Home) -> None:
    with open_vault(production) as con:
        con.execute("create table names as select 'CANARY' as surname")
    before = production.vault.read_bytes()
    old = production.key("vault")
    rotate_keys(production, ["vault"])
    assert production.key("vault") != old
    with open_vault(production, read_only=True) as con:
        assert con.execute("select surname from names").fetchall() == [("CANARY",)]
    assert production.vault.read_bytes() != before
    assert b"CANARY" not in production.vault.read_bytes()
    assert production.vault.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["_write_register", "finish_rotation"])
def test_a_rotation_that_was_killed_is_whole_or_nothing(
    production: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with open_vault(production) as con:
        con.execute("create table t as select 1 as a")
    old = production.key("vault")

    class Killed(BaseException): ...

    real = getattr(keyring, step)
    calls: list[int] = []

    def kill(*arguments: object) -> None:
        calls.append(1)
        # The first `finish_rotation` clears what stood there before; the second is the last step.
        if step == "finish_rotation" and len(calls) == 1:
            real(*arguments)
            return
        raise Killed

    monkeypatch.setattr(keyring, step, kill)
    with pytest.raises(Killed):
        rotate_keys(production, ["vault", KEY])
    monkeypatch.undo()
    with open_vault(production, read_only=True) as con:
        assert con.execute("select a from t").fetchall() == [(1,)]
    assert (production.key("vault") == old) is (step == "_write_register")
    assert production.key(KEY)
    rotate_keys(production, ["vault", KEY])
    left = [*production.path.glob("*.next-*"), *production.keys.glob("*.next-*")]
    assert left == []
    with open_vault(production, read_only=True) as con:
        assert con.execute("select a from t").fetchall() == [(1,)]


def test_a_lost_key_is_replaced_only_where_the_operator_says_so(production: Home) -> None:
    with open_vault(production) as con:
        con.execute("create table t (a integer)")
    for name in ("vault", KEY):
        _file(production, name).unlink()
    with pytest.raises(StorageError, match="missing"):
        rotate_keys(production, [KEY])
    rotate_keys(production, [KEY], lost=True)
    assert production.key(KEY)
    with pytest.raises(StorageError, match="vault that the lost key opened"):
        rotate_keys(production, ["vault"], lost=True)
    production.vault.rename(production.path / "aside")
    rotate_keys(production, ["vault"], lost=True)
    with open_vault(production) as con:
        con.execute("create table t (a integer)")


def test_every_use_of_a_key_and_of_the_vault_is_recorded(
    production: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCS_OPERATOR", "carl")
    before = len(read_access(production))
    production.key(KEY)
    with open_vault(production, purpose="a test"):
        pass
    new = read_access(production)[before:]
    assert [(e.event, e.what, e.purpose) for e in new] == [
        ("key used", KEY, PURPOSES[KEY]),
        ("vault written", "vault.duckdb", "a test"),
        ("key used", "vault", PURPOSES["vault"]),
    ]
    assert {(entry.who, entry.pid) for entry in new} == {("carl", os.getpid())}


def test_the_warehouse_is_recorded_too(production: Home, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/rcs", "status", "--home", "x"])
    before = len(read_access(production))
    with open_warehouse(production) as con:
        con.execute("create table t (a integer)")
    with open_warehouse(production, read_only=True, purpose="a test"):
        pass
    assert [(e.event, e.what, e.purpose) for e in read_access(production)[before:]] == [
        ("warehouse written", "warehouse.duckdb", "rcs status"),
        ("warehouse read", "warehouse.duckdb", "a test"),
    ]


def _change_a_line(home: Home) -> None:
    log_file(home).write_text(log_file(home).read_text().replace("key made", "key used", 1))


def _take_a_line_out(home: Home) -> None:
    lines = log_file(home).read_text().splitlines(keepends=True)
    log_file(home).write_text("".join(lines[:3] + lines[4:]))


def _cut_the_end(home: Home) -> None:
    lines = log_file(home).read_text().splitlines(keepends=True)
    log_file(home).write_text("".join(lines[:-2]))


def _remove(home: Home) -> None:
    log_file(home).unlink()


@pytest.mark.parametrize("change", [_change_a_line, _take_a_line_out, _cut_the_end, _remove])
def test_a_changed_access_log_is_found(production: Home, change: object) -> None:
    change(production)
    with pytest.raises(StorageError, match="access log was changed or cut"):
        read_access(production)
    if change in (_cut_the_end, _remove):
        with pytest.raises(StorageError, match="access log was changed or cut"):
            production.key(KEY)


def test_an_entry_whose_head_was_not_written_is_no_forgery(production: Home) -> None:
    head = production.path / "access.head"
    before = head.read_text()
    production.key(KEY)
    head.write_text(before)
    number = len(read_access(production))
    production.key(KEY)
    assert len(read_access(production)) == number + 1


def test_entries_of_processes_at_once_make_one_chain(production: Home) -> None:
    before = len(read_access(production))
    code = (
        "import sys\n"
        "from rcs_assets.storage import Home\n"
        f"home = Home.open({str(production.path)!r})\n"
        f"for _ in range(20): home.key({KEY!r})\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(read_access(production)) == before + 40


def test_without_a_log_there_is_no_access(production: Home) -> None:
    log_file(production).unlink()
    log_file(production).mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        record_access(production, Access.KEY_USED, KEY, "a test")


def test_a_register_that_cannot_be_read_is_refused(production: Home) -> None:
    (production.path / "keys.json").write_text(json.dumps(["not", "a", "register"]))
    with pytest.raises(StorageError, match=r"keys\.json cannot be read"):
        production.key(KEY)


def test_the_doctor_names_a_missing_key_and_a_changed_log(production: Home) -> None:
    def failed() -> dict[str, str]:
        return {f.what: f.detail for f in examine(production) if f.what in ("keys", "access log")
                and not f.is_ok}  # fmt: skip

    assert failed() == {}
    _file(production).unlink()
    assert "Key project_id is missing" in failed()["keys"]
    _cut_the_end(production)
    assert "changed or cut" in failed()["access log"]
