"""Opt-outs and withdrawals: recorded, taken back, replayed on every rebuild.

Belongs here: lists one after the other, tombstones, and rebuilding the zones from the drop. Does
not belong here: which rows a scope takes out (`test_take.py`), releases (`unit/release`).
"""

from __future__ import annotations

import json

import pytest

from rcs_assets.errors import StorageError
from rcs_assets.intake import vault
from rcs_assets.intake.checks import withdrawn_children_are_in_no_zone
from rcs_assets.intake.receipts import Receipt
from rcs_assets.intake.take import take, take_education, take_social_work
from rcs_assets.intake.tombstones import read_tombstones
from rcs_assets.storage import open_vault, open_warehouse
from rcs_assets.storage.checks import Bench
from rcs_assets.storage.erasure import erase_removed, waiting_engagements
from tests.unit.intake.conftest import ENGAGEMENT, World, write_csv

OUT = {
    "survey_uid": "CA00000002", "scope": "all", "received_on": "2016-04-05",
    "requested_by": "parent", "taken_back_on": "",
}  # fmt: skip
OTHER = {**OUT, "survey_uid": "CA00000006", "requested_by": "pupil"}
BACK = {**OUT, "taken_back_on": "2016-05-01"}


def deliver(world: World, *rows: dict[str, str]) -> None:
    world.deliver(write_csv(world.path("opt_outs"), list(rows)))


def take_all(world: World) -> dict[str, object]:
    """What a run does, in its order; the receipts by dataset."""
    with world.desk() as desk:
        names = ("opt_outs", "sample_file", "primary_survey", "secondary_survey")
        receipts = [take(desk, name, ENGAGEMENT) for name in names]
        receipts += [*take_education(desk, ENGAGEMENT), *take_social_work(desk, ENGAGEMENT)]
    return {r.dataset: r for r in receipts if r}


def held(world: World) -> tuple[int, ...]:
    """Children in the zones: sampled, with answers, in the councils' records."""
    tables = ("intake.sample", "intake.primary_survey", "intake.education", "intake.social_work")
    return tuple(world.rows(f"select count(*) from {table}")[0][0] for table in tables)


def verdict(world: World):
    with open_warehouse(world.home, read_only=True) as con:
        return withdrawn_children_are_in_no_zone(
            Bench(con, world.home, world.programme, world.codebook, frozenset())
        )


def test_an_opt_out_is_taken_back_by_a_day_and_not_by_being_left_out(delivered: World) -> None:
    world = delivered

    def listed(*rows: dict[str, str]) -> tuple[Receipt, int]:
        deliver(world, *rows)
        with world.desk() as desk:
            told = take(desk, "opt_outs", ENGAGEMENT)
            take(desk, "sample_file", ENGAGEMENT)
        assert told is not None
        return told, world.rows("select count(*) from intake.sample")[0][0]

    assert listed(OUT, OTHER)[1] == 4
    query = "select requested_by, received_on::varchar from opt_outs order by 1"
    assert world.vault_rows(query) == [("parent", "2016-04-05"), ("pupil", "2016-04-05")]
    refused, sampled = listed(OTHER)
    assert "taken_back_on" in refused.reason and sampled == 0
    told, sampled = listed(BACK, OTHER)
    assert (told.accepted_n, told.withdrawn_n, told.flags) == (1, 1, {"taken_back": 1})
    assert sampled == 5
    # To hold again is a decision too, and the log has the whole story without a UID.
    assert listed(OUT, OTHER)[1] == 4
    lines = (world.home.drop / "tombstones.jsonl").read_text(encoding="utf-8")
    states = [json.loads(line).get("taken_back_on", "") for line in lines.splitlines()]
    assert sorted(states) == ["", "", "", "2016-05-01"] and "CA0000" not in lines
    stones = {stone.requested_by: stone for stone in read_tombstones(world.home)}
    assert stones["parent"].holds and stones["parent"].received_on == "2016-04-05"
    assert stones["parent"].list_seq > stones["pupil"].list_seq > 0


def test_one_opt_out_in_two_states_is_not_guessed(delivered: World) -> None:
    deliver(delivered, OUT, BACK)
    told = delivered.take("opt_outs")
    assert told.status == "rejected" and "row 2, column taken_back_on" in told.reason
    assert "CA0000" not in told.reason
    deliver(delivered, {**OUT, "taken_back_on": "2016-04-04"})
    assert "cannot be read" in delivered.take("opt_outs").reason


def test_every_row_that_cannot_be_read_is_named_with_the_form(delivered: World) -> None:
    """A list is corrected once, not row by row; no cell of it is told."""
    bad = {"received_on": "05/04/2016"}
    deliver(delivered, OTHER, *({**OUT, **bad, "survey_uid": f"CA0000001{n}"} for n in range(7)))
    told = delivered.take("opt_outs").reason
    assert "7 cells of the list of opt-outs cannot be read" in told
    assert "row 2, column received_on; row 3, column received_on" in told and "and 2 more" in told
    assert "received_on is a day as YYYY-MM-DD" in told
    assert "05/04" not in told and "CA0000" not in told
    deliver(delivered, {**OUT, "scope": "some"}, {**OTHER, "taken_back_on": "2016-04-04"})
    told = delivered.take("opt_outs").reason
    assert "scope is one of survey, linkage, all" in told
    assert "on or after the day on which it was received" in told


def test_a_list_of_before_has_three_columns_and_is_still_read(delivered: World) -> None:
    deliver(delivered, {name: OUT[name] for name in ("survey_uid", "scope", "received_on")})
    told = delivered.take("opt_outs")
    assert told.accepted_n == 1 and told.flags == {"requester_not_said": 1}


def test_a_rebuild_from_the_drop_replays_every_withdrawal(delivered: World) -> None:
    """A child a scope: `survey` and `all` leave every zone, `linkage` keeps answers alone."""
    world = delivered
    scopes = {"CA00000002": "survey", "CA00000003": "linkage", "CA00000006": "all"}
    deliver(world, *({**OUT, "survey_uid": uid, "scope": s} for uid, s in scopes.items()))
    before = take_all(world)
    rows = held(world)
    assert rows == (4, 2, 3, 2)
    assert verdict(world).passed
    for database in (world.home.warehouse, world.home.vault):
        database.unlink()
    world.take_reference()
    assert take_all(world) == before
    assert held(world) == rows
    assert verdict(world).passed


def test_a_vault_without_its_opt_outs_lets_nobody_back(delivered: World) -> None:
    """Receipts say that the list was taken in; the vault that it went to is gone."""
    world = delivered
    deliver(world, OUT)
    take_all(world)
    world.home.vault.unlink()
    with world.desk() as desk:
        told = take(desk, "sample_file", ENGAGEMENT)
    assert told is not None and told.status == "rejected"
    assert "another vault" in told.reason
    assert world.rows("select count(*) from intake.sample") == [(0,)]
    take_all(world)
    assert held(world) == (5, 2, 5, 3)


def test_a_register_that_lost_the_list_lets_nobody_back(delivered: World) -> None:
    world = delivered
    deliver(world, OUT)
    take_all(world)
    kept = [line for line in world.home.register.read_text().splitlines() if "opt-outs" not in line]
    world.home.register.write_text("".join(f"{line}\n" for line in kept))
    with world.desk() as desk:
        told = take(desk, "sample_file", ENGAGEMENT)
    assert told is not None and "list of opt-outs is gone" in told.reason


def test_the_tombstones_alone_know_a_child(delivered: World) -> None:
    world = delivered
    deliver(world, OUT)
    take_all(world)
    with open_vault(world.home) as con:
        con.execute("update opt_outs set uid = 'ZZ00000000'")
    with world.desk() as desk:
        told = take(desk, "sample_file", ENGAGEMENT)
    assert told is not None and told.withdrawn_n == 1


def test_a_child_that_came_back_fails_the_check(delivered: World) -> None:
    world = delivered
    deliver(world, OUT)
    take_all(world)
    with open_vault(world.home) as con:
        con.execute("update survey_identifiers set uid = 'CA00000002' where uid = 'CA00000001'")
    found = verdict(world)
    assert not found.passed and "<10 rows in the vault" in found.observed
    assert "CA0000" not in found.observed
    with open_vault(world.home) as con:
        con.execute("update survey_identifiers set uid = 'CA00000001' where uid = 'CA00000002'")
        assert vault.count_returned(con, world.home, ENGAGEMENT) == 0
        con.execute("delete from education_identifiers where uid = 'CA00000001'")
    assert "education: <10 rows that the vault lacks" in verdict(world).observed


def test_a_damaged_log_of_tombstones_stops_intake(delivered: World) -> None:
    (delivered.home.drop / "tombstones.jsonl").write_text("{")
    with pytest.raises(StorageError, match=r"drop/tombstones\.jsonl"):
        delivered.take("sample_file")


def test_rows_of_who_is_new_on_the_list_are_to_leave_the_files(delivered: World) -> None:
    world = delivered
    home = world.home
    deliver(world, OUT)
    take_all(world)
    # The first list came before any pupil: no row of theirs was ever there.
    assert waiting_engagements(home) == frozenset()
    deliver(world, OUT, OTHER)
    take_all(world)
    assert waiting_engagements(home) == {ENGAGEMENT}
    assert erase_removed(home, [ENGAGEMENT])
    take_all(world)
    deliver(world, BACK, OTHER)
    take_all(world)
    # The same list, and one that brings a child back, take nobody out.
    assert waiting_engagements(home) == frozenset()
