"""Extra children of an extract: destroyed in the drop itself; the rebuild gives the same rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import extras
from rcs_assets.intake.drop import Delivery, opened, read_register
from rcs_assets.intake.extras import destroy_extra_children, extra_children
from rcs_assets.intake.receipts import Receipt, read_receipts
from rcs_assets.intake.take import take, take_education
from rcs_assets.storage import Settings
from tests.unit.intake.conftest import (
    AS_OF,
    ENGAGEMENT,
    World,
    education_ids,
    education_payload,
    pupils,
    write_csv,
)

EXTRA = "sup-nosy"
NAME = 'Extrachild, "Quill"  née'


@pytest.fixture
def oversent(delivered: World) -> World:
    """One child on no sample file, and one whose row of the sample file is set aside."""
    world = delivered
    sampled = pupils()
    sampled[1]["sex"] = "X"
    ids, payload = education_ids(), education_payload()
    nobody = {"survey_uid": "XX00000009", "scn": "999999999", "surname": NAME}
    ids.append({**ids[0], **nobody, "record_id": EXTRA})
    payload.append({**payload[0], "record_id": EXTRA})
    # No identifiers came with it: whose it is cannot be told, so it is not touched.
    payload.append({**payload[0], "record_id": "sup-nobody"})
    world.deliver(
        write_csv(world.path("sample_file"), sampled),
        write_csv(world.path("education_ids"), ids),
        write_csv(world.path("education_payload"), payload),
    )
    take_all(world)
    return world


def take_all(world: World) -> None:
    with world.desk() as desk:
        take(desk, "opt_outs", ENGAGEMENT)
        take(desk, "sample_file", ENGAGEMENT)
        take_education(desk, ENGAGEMENT)


def receipts(world: World) -> dict[str, Receipt]:
    return {receipt.dataset: receipt for receipt in read_receipts(world.home)}


def tables(world: World) -> tuple[list[tuple], list[tuple]]:
    return (
        world.rows("from intake.education order by all"),
        world.vault_rows("from education_identifiers order by all"),
    )


def destroy(world: World) -> tuple[Path, ...]:
    settings = Settings(threads=2, memory_limit="1GB", as_of=AS_OF)
    return destroy_extra_children(world.home, world.programme, world.codebook, settings)


def text_of(world: World, delivery: Delivery) -> str:
    with opened(world.home, delivery) as path:
        return path.read_text(encoding="utf-8")


def test_they_are_destroyed_and_the_rest_stays_as_it_was(oversent: World) -> None:
    world = oversent
    before, rows = receipts(world), tables(world)
    (waiting,) = extra_children(world.home)
    # Both are set aside; only who stands on no sample file is an extra child.
    assert (waiting.engagement, waiting.rows_n) == (ENGAGEMENT, 1)
    assert before["education_ids"].reasons["uid_not_issued"] == 2
    held = {line.dataset: line for line in read_register(world.home)}
    files = {name: text_of(world, held[name]) for name in ("education_ids", "education_payload")}
    (certificate,) = destroy(world)

    now = {line.dataset: line for line in read_register(world.home)}
    for name, text in files.items():
        line = now[name]
        assert (line.replaces, line.destroyed_n) == (held[name].seq, 1)
        left = text_of(world, line)
        assert EXTRA in text and EXTRA not in left
        plain = [row.replace('"', "") for row in text.splitlines() if EXTRA not in row]
        assert [row.replace('"', "") for row in left.splitlines()] == plain
        with pytest.raises(StorageError, match="key of a delivery"), opened(world.home, held[name]):
            pass
    told = json.loads(certificate.read_text())
    assert [(d["dataset"], d["rows_removed_n"]) for d in told["deliveries"]] == [
        ("education_ids", 1),
        ("education_payload", 1),
    ]
    assert told["deliveries"][0]["keys_destroyed"][-1]["sha256"] == before["education_ids"].sha256
    assert EXTRA not in certificate.read_text() and "Extrachild" not in certificate.read_text()

    for name in ("vault.duckdb", "warehouse.duckdb"):
        (world.home.path / name).unlink()
    world.take_reference()
    take_all(world)
    assert tables(world) == rows
    after = receipts(world)
    for name in files:
        assert after[name].accepted_n == before[name].accepted_n
        assert after[name].received_n == before[name].received_n - 1
        assert after[name].flags["extra_rows_destroyed"] == 1
    # The child who is on the sample file, and set aside there, can still be taken in.
    assert dict(after["education_ids"].reasons) == {"uid_not_issued": 1}
    world.deliver(write_csv(world.path("sample_file"), pupils()))
    take_all(world)
    assert receipts(world)["education_ids"].quarantined_n == 0
    assert extra_children(world.home) == ()


def test_what_a_killed_run_left_is_completed(
    oversent: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = oversent
    held = {line.dataset: line for line in read_register(world.home)}["education_ids"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(extras.keys, "destroy_keys", killed)
        with pytest.raises(KeyboardInterrupt):
            destroy(world)
    assert EXTRA in text_of(world, held)
    (certificate,) = destroy(world)
    with pytest.raises(StorageError, match="key of a delivery"), opened(world.home, held):
        pass
    assert certificate.exists()
    assert destroy(world) == (certificate,)


def deliver_clean(world: World, *names: str) -> None:
    rows = {"education_ids": education_ids, "education_payload": education_payload}
    world.deliver(*(write_csv(world.path(name), rows[name]()) for name in names))
    take_all(world)


def openable(world: World) -> dict[str, list[str]]:
    """Text of every delivery of identifiers and payload that has a key."""
    found: dict[str, list[str]] = {"education_ids": [], "education_payload": []}
    for line in read_register(world.home):
        if line.dataset in found and not line.refused:
            found[line.dataset].append(text_of(world, line))
    return found


def assert_only_clean_ones_open(world: World) -> None:
    left = openable(world)
    assert {name: len(texts) for name, texts in left.items()} == {
        "education_ids": 1,
        "education_payload": 1,
    }
    assert all(EXTRA not in text for texts in left.values() for text in texts)
    assert extra_children(world.home) == ()


def test_a_corrected_extract_ends_what_it_replaced(oversent: World) -> None:
    world = oversent
    deliver_clean(world, "education_ids", "education_payload")
    (waiting,) = extra_children(world.home)
    assert (waiting.rows_n, waiting.earlier_n) == (0, 4)
    before = tables(world)
    (certificate,) = destroy(world)
    assert_only_clean_ones_open(world)
    told = json.loads(certificate.read_text())["deliveries"]
    assert [(d["rows_removed_n"], len(d["keys_destroyed"])) for d in told] == [(0, 2), (0, 2)]
    take_all(world)
    assert tables(world) == before


def test_a_payload_that_was_delivered_again_ends_the_one_before(oversent: World) -> None:
    deliver_clean(oversent, "education_payload")
    (certificate,) = destroy(oversent)
    assert_only_clean_ones_open(oversent)
    told = json.loads(certificate.read_text())["deliveries"]
    assert [(d["dataset"], d["rows_removed_n"]) for d in told] == [
        ("education_ids", 1),
        ("education_payload", 0),
    ]


def test_the_same_bytes_delivered_again_are_one_extract(oversent: World) -> None:
    world = oversent
    files = [(world.path(name), texts[-1]) for name, texts in openable(world).items()]
    deliver_clean(world, "education_ids", "education_payload")
    for path, text in files:
        path.write_text(text, encoding="utf-8")
    world.deliver(*(path for path, _ in files))
    take_all(world)
    (waiting,) = extra_children(world.home)
    assert (waiting.rows_n, waiting.earlier_n) == (1, 6)
    assert len(destroy(world)) == 1
    assert_only_clean_ones_open(world)


def test_a_run_killed_after_registering_is_reported_and_completed(
    oversent: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = oversent

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(extras, "_end_earlier", killed)
        with pytest.raises(KeyboardInterrupt):
            destroy(world)
    for _ in range(2):
        (waiting,) = extra_children(world.home)
        assert (waiting.rows_n, waiting.earlier_n) == (0, 4)
        take_all(world)
    # A file that is refused afterwards keeps open what it was to replace, and nothing else.
    write_csv(world.path("education_payload"), [{"wrong": "1"}])
    world.deliver(world.path("education_payload"))
    world.take_education()
    (waiting,) = extra_children(world.home)
    assert (waiting.rows_n, waiting.earlier_n) == (0, 4)
    (certificate,) = destroy(world)
    told = json.loads(certificate.read_text())["deliveries"]
    assert [(d["rows_removed_n"], len(d["keys_destroyed"])) for d in told] == [(1, 2), (1, 2)]
    assert extra_children(world.home) == ()
    assert all(EXTRA not in text for texts in openable(world).values() for text in texts)


def test_a_record_without_uid_is_left_to_linkage(delivered: World) -> None:
    """The council need not hold the UID, nor the sample file the SCN: it is no extra child."""
    world = delivered
    ids, payload = education_ids(), education_payload()
    nameless = {"survey_uid": "", "scn": "999999999", "record_id": "sup-left-over"}
    ids.append({**ids[0], **nameless})
    payload.append({**payload[0], "record_id": "sup-left-over"})
    world.deliver(
        write_csv(world.path("education_ids"), ids),
        write_csv(world.path("education_payload"), payload),
    )
    take_all(world)
    assert receipts(world)["education_ids"].quarantined_n == 0
    assert world.vault_rows("select count(*) from education_identifiers") == [(len(ids),)]
    assert [one.rows_n for one in extra_children(world.home)] == [0]


def test_all_files_of_the_extract_or_none(oversent: World) -> None:
    world = oversent
    write_csv(world.path("education_payload"), [{"wrong": "1"}])
    world.deliver(world.path("education_payload"))
    world.take_education()
    before = read_register(world.home)
    with pytest.raises(InputError, match="cannot be told in every file"):
        destroy(world)
    assert read_register(world.home) == before
    # Which deliveries are still needed cannot be said, so none counts as replaced.
    (waiting,) = extra_children(world.home)
    assert (waiting.rows_n, waiting.earlier_n) == (1, 0)


def test_the_command(oversent: World, capsys: pytest.CaptureFixture[str]) -> None:
    home = ("--home", str(oversent.home.path))
    assert main(["extras", *home]) == 0
    assert "1 rows of children whose UID was not issued" in capsys.readouterr().out
    assert main(["status", *home]) == 0
    assert "2 earlier deliveries of the extract" in capsys.readouterr().out
    assert main(["extras", "--destroy", *home, "--as-of", "2020-06-30"]) == 0
    assert "Certificate: " in capsys.readouterr().out
    take_all(oversent)
    # Who is set aside on the sample file is not destroyed, so nobody is asked to.
    assert receipts(oversent)["education_ids"].reasons == {"uid_not_issued": 1}
    assert main(["extras", *home]) == 0
    assert "No extract holds a child whose UID was not issued" in capsys.readouterr().out
    assert main(["status", *home]) == 0
    assert "rcs extras" not in capsys.readouterr().out
