"""Retention: after its day nothing of an engagement can be opened, rebuilt or found in a file."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from rcs_assets.errors import ConfigurationError, StorageError
from rcs_assets.intake import certificates, keys
from rcs_assets.intake.certificates import FOLDER
from rcs_assets.intake.drop import current_deliveries, opened, read_register
from rcs_assets.intake.freshness import wanted_fingerprints
from rcs_assets.intake.retention import (
    complete_certificates,
    destroy_ended,
    ended_engagements,
    pending_certificates,
    rows_left,
)
from rcs_assets.intake.take import take, take_education, take_social_work
from rcs_assets.programme import Programme
from rcs_assets.storage import Home, erasure, keyring
from rcs_assets.storage.connect import copy_encrypted
from rcs_assets.storage.keyring import rotate_keys
from tests.unit.intake.conftest import CANARIES, ENGAGEMENT, World

UNTIL = date(2020, 1, 31)
AFTER = UNTIL + timedelta(days=1)


def until(world: World, day: date) -> Programme:
    approval = replace(world.programme.approvals[ENGAGEMENT], retention_until=day)
    approvals = {**world.programme.approvals, ENGAGEMENT: approval}
    return replace(world.programme, approvals=approvals)


def take_all(world: World) -> None:
    with world.desk() as desk:
        for name in ("opt_outs", "sample_file", "primary_survey", "secondary_survey"):
            take(desk, name, ENGAGEMENT)
        take_education(desk, ENGAGEMENT)
        take_social_work(desk, ENGAGEMENT)


def held(world: World) -> int:
    vault = ("sample_identifiers", "survey_identifiers", "education_identifiers")
    tables = ("sample", "primary_survey", "secondary_survey", "education", "social_work")
    return sum(world.vault_rows(f"select count(*) from {t}")[0][0] for t in vault) + sum(
        world.rows(f"select count(*) from intake.{t}")[0][0] for t in tables
    )


def record_ids(world: World) -> set[bytes]:
    """Of the engagement's children, from each table of the warehouse that names any."""
    tables = world.rows(
        "select table_schema || '.' || table_name from information_schema.columns group by all "
        "having list_has_all(list(column_name), ['record_id', 'engagement'])"
    )
    query = " union ".join(f"select record_id from {t} where engagement = $1" for (t,) in tables)
    return {row[0].encode() for row in world.rows(query.replace("$1", f"'{ENGAGEMENT}'"))}


def found_in_bytes(home: Home, ids: set[bytes]) -> int:
    """How many of the ids stand in a file of the home, whatever the engine says of its rows."""
    files = [file.read_bytes() for file in home.path.rglob("*") if file.is_file()]
    return sum(any(one in content for content in files) for one in ids)


def refuse_opening(home: Home, key: bytes) -> None:
    with pytest.raises(StorageError, match="the key does not open it"):
        copy_encrypted(home, home.vault, key, home.tmp / "opened", key)


def test_the_last_day_still_counts(delivered: World) -> None:
    assert ended_engagements(delivered.home, until(delivered, UNTIL), UNTIL) == ()
    (ended,) = ended_engagements(delivered.home, until(delivered, UNTIL), AFTER)
    assert (ended.engagement, ended.retention_until) == (ENGAGEMENT, UNTIL)


def test_nothing_is_left_and_nothing_comes_back(delivered: World) -> None:
    world = delivered
    take_all(world)
    assert held(world) > 0
    register = {line.seq: line for line in read_register(world.home) if line.engagement}
    assert destroy_ended(world.home, until(world, UNTIL), AFTER) == (ENGAGEMENT,)
    for delivery in register.values():
        with pytest.raises(StorageError, match="key"), opened(world.home, delivery):
            pass
    # Rows are there until the run: no certificate says otherwise.
    with pytest.raises(StorageError, match=r"warehouse\.intake\.sample"):
        complete_certificates(world.home)
    assert len(pending_certificates(world.home)) == 1
    take_all(world)
    assert held(world) == 0
    left = rows_left(world.home, ENGAGEMENT)
    assert {"vault.main.sample_identifiers", "warehouse.intake.education"} <= set(left)
    (certificate,) = complete_certificates(world.home)
    assert json.loads(certificate.read_text())["tables_without_rows"] == sorted(left)
    # The rebuild from the drop: databases gone, the deliveries read again.
    world.home.warehouse.unlink()
    world.home.vault.unlink()
    world.take_reference()
    take_all(world)
    assert held(world) == 0
    told = certificate.read_text(encoding="utf-8")
    assert {row["seq"] for row in json.loads(told)["deliveries"]} == set(register)
    assert not any(value in told for value in CANARIES)


def test_no_byte_tells_a_record_when_the_certificate_holds(delivered: World) -> None:
    world = delivered
    take_all(world)
    ids, old = record_ids(world), world.home.key("vault")
    assert len(ids) > 10
    destroy_ended(world.home, until(world, UNTIL), AFTER)
    take_all(world)
    # Every row is gone, and its bytes are there.
    assert held(world) == 0 and found_in_bytes(world.home, ids) > 0
    (certificate,) = complete_certificates(world.home)
    assert found_in_bytes(world.home, ids) == 0
    refuse_opening(world.home, old)
    assert not list(world.home.path.glob("*.wal"))
    said = json.loads(certificate.read_text())
    assert said["files_written_anew"] == ["vault.duckdb", "warehouse.duckdb"]
    assert said["vault_key_generation_ended"] == 1
    # What stays is as it was.
    assert world.rows("select count(*) from intake.school_roll")[0][0] > 0
    take_all(world)


class Killed(BaseException):
    """What a signal does."""


@pytest.mark.parametrize(
    ("room", "step", "is_done_before"),
    [
        (erasure, "copy_warehouse", True),
        (erasure, "replace_durably", False),
        (erasure, "rotate_keys", False),
        (keyring, "_write_register", True),
        (erasure, "rotate_keys", True),
        (certificates, "finish", False),
    ],
)
def test_killed_while_the_files_are_written_anew(
    delivered: World,
    monkeypatch: pytest.MonkeyPatch,
    room: ModuleType,
    step: str,
    is_done_before: bool,
) -> None:
    """Killed at any step: no certificate holds yet, and the next command completes it."""
    world = delivered
    take_all(world)
    ids, old, real = record_ids(world), world.home.key("vault"), getattr(room, step)

    def kill(*arguments: Any) -> None:
        if is_done_before:
            real(*arguments)
        raise Killed

    destroy_ended(world.home, until(world, UNTIL), AFTER)
    take_all(world)
    with monkeypatch.context() as patched:
        patched.setattr(room, step, kill)
        with pytest.raises(Killed):
            complete_certificates(world.home)
    assert certificates.listed(world.home, "") == []
    assert world.rows("select count(*) from intake.school_roll")[0][0] > 0
    # As the command does: what was begun, the run, and the certificate.
    destroy_ended(world.home, until(world, UNTIL), AFTER)
    take_all(world)
    (certificate,) = complete_certificates(world.home)
    assert json.loads(certificate.read_text())["vault_key_generation_ended"] == 1
    assert found_in_bytes(world.home, ids) == 0
    refuse_opening(world.home, old)
    # A key that has taken the place of the old one is not replaced again.
    assert keyring.key_generations(world.home) == {"vault": 2}
    assert {f.name for f in world.home.path.glob("*.duckdb*")} == {
        "vault.duckdb",
        "warehouse.duckdb",
    }


def test_a_vault_key_of_the_environment_needs_a_new_one_before_anything_is_destroyed(
    delivered: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = delivered
    take_all(world)
    old = world.home.key("vault")
    monkeypatch.setenv("RCS_KEY_VAULT", old.hex())
    for same in ("", old.hex().upper()):
        monkeypatch.setenv("RCS_KEY_VAULT_NEXT", same)
        with pytest.raises(ConfigurationError, match="RCS_KEY_VAULT_NEXT"):
            destroy_ended(world.home, until(world, UNTIL), AFTER)
    assert pending_certificates(world.home) == [] and keys.destroyed(world.home) == {}
    new = keyring._derived(world.home.seed or 0, "vault", 2).hex()
    monkeypatch.setenv("RCS_KEY_VAULT_NEXT", new)
    destroy_ended(world.home, until(world, UNTIL), AFTER)
    take_all(world)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(certificates, "finish", Mock(side_effect=KeyboardInterrupt))
        complete_certificates(world.home)
    # The operator makes the new one the key; no other is asked for.
    monkeypatch.setenv("RCS_KEY_VAULT", new)
    monkeypatch.delenv("RCS_KEY_VAULT_NEXT")
    destroy_ended(world.home, until(world, UNTIL), AFTER)
    assert len(complete_certificates(world.home)) == 1
    refuse_opening(world.home, old)


def test_nothing_is_computed_of_the_vaults_key(delivered: World) -> None:
    before = wanted_fingerprints(delivered.home)
    rotate_keys(delivered.home, ["vault"])
    assert wanted_fingerprints(delivered.home) == before
    rotate_keys(delivered.home, ["record_id"])
    assert wanted_fingerprints(delivered.home) != before


def test_reference_data_and_later_deliveries_stay(delivered: World) -> None:
    world = delivered
    destroy_ended(world.home, until(world, UNTIL), AFTER)
    roll = current_deliveries(world.home)["school_roll", None]
    with opened(world.home, roll) as path:
        assert path.stat().st_size
    complete_certificates(world.home)
    assert destroy_ended(world.home, until(world, UNTIL), AFTER) == ()
    assert (
        "was destroyed on 2020-02-01"
        in current_deliveries(world.home)["sample_file", ENGAGEMENT].refused
    )


def test_a_key_that_is_lost_is_no_retention(delivered: World) -> None:
    world = delivered
    line = current_deliveries(world.home)["sample_file", ENGAGEMENT]
    (world.home.keys / "deliveries" / f"{line.seq}.key").unlink()
    with pytest.raises(StorageError, match="restore keys/"), opened(world.home, line):
        pass


@pytest.mark.parametrize("keys_gone", [0, 1, 3])
def test_a_run_that_was_killed_is_completed_by_the_next(
    delivered: World, monkeypatch: pytest.MonkeyPatch, keys_gone: int
) -> None:
    """Killed after the reasons were recorded: no key stays, and the certificate comes."""
    world, programme = delivered, until(delivered, UNTIL)
    seqs = [line.seq for line in read_register(world.home) if line.engagement == ENGAGEMENT]
    erase, erased = keys._erase, []

    def killed(file: Path) -> None:
        if len(erased) == keys_gone:
            raise KeyboardInterrupt
        erased.append(file)
        erase(file)

    monkeypatch.setattr(keys, "_erase", killed)
    with pytest.raises(KeyboardInterrupt):
        destroy_ended(world.home, programme, AFTER)
    folder = world.home.drop / FOLDER
    assert not list(folder.glob("*.json"))
    assert len(pending_certificates(world.home)) == 1
    monkeypatch.undo()
    later = AFTER + timedelta(days=3)
    assert destroy_ended(world.home, programme, later) == (ENGAGEMENT,)
    (certificate,) = complete_certificates(world.home)
    said = json.loads(certificate.read_text())
    assert [line["seq"] for line in said["deliveries"]] == seqs
    assert pending_certificates(world.home) == []
    assert not any(keys._file(world.home, seq).exists() for seq in seqs)
    assert destroy_ended(world.home, programme, later) == ()
