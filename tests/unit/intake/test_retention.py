"""Retention: after its day nothing of an engagement can be opened or rebuilt."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from rcs_assets.errors import StorageError
from rcs_assets.intake import keys
from rcs_assets.intake.certificates import FOLDER
from rcs_assets.intake.drop import current_deliveries, opened, read_register
from rcs_assets.intake.retention import (
    complete_certificates,
    destroy_ended,
    ended_engagements,
    pending_certificates,
    rows_left,
)
from rcs_assets.intake.take import take, take_education, take_social_work
from rcs_assets.programme import Programme
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
