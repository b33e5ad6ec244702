"""Extra children of an extract: destroyed in the drop itself; the rebuild gives the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import extras, keys
from rcs_assets.intake.drop import Delivery, opened, read_register
from rcs_assets.intake.extras import destroy_extra_children, extra_children
from rcs_assets.intake.receipts import Receipt, read_receipts
from rcs_assets.intake.take import take, take_education
from rcs_assets.storage import Settings
from rcs_assets.storage.erasure import waiting_engagements
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
    assert waiting_engagements(world.home) == {ENGAGEMENT}

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
        patched.setattr(keys, "destroy_keys", killed)
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


NOBODYS_SCN, WRONG_SCN = "152345674", "999999998"


@pytest.mark.parametrize(
    ("scn", "lacking", "is_extra"),
    [
        (NOBODYS_SCN, None, True),
        # It may be the SCN of the pupil of whom the sample file has none, or a wrong one.
        (NOBODYS_SCN, "", False),
        (NOBODYS_SCN, WRONG_SCN, False),
        (WRONG_SCN, None, False),
        ("", None, False),
    ],
)
def test_a_record_without_uid_is_told_by_its_scn_or_left_to_linkage(
    delivered: World, scn: str, lacking: str | None, is_extra: bool
) -> None:
    """`lacking`: the SCN that the sample file has of one pupil; None where all are right."""
    world = delivered
    sampled, ids, payload = pupils(), education_ids(), education_payload()
    sampled = [{**row, "scn": right} for row, right in zip(sampled, right_scns(), strict=False)]
    if lacking is not None:
        sampled[-1]["scn"] = lacking
    ids.append({**ids[0], "survey_uid": "", "scn": scn, "record_id": EXTRA})
    payload.append({**payload[0], "record_id": EXTRA})
    world.deliver(
        write_csv(world.path("sample_file"), sampled),
        write_csv(world.path("education_ids"), ids),
        write_csv(world.path("education_payload"), payload),
    )
    take_all(world)
    taken = receipts(world)["education_ids"]
    assert taken.quarantined_n == taken.reasons.get("uid_not_issued", 0) == is_extra
    assert [one.rows_n for one in extra_children(world.home)] == [int(is_extra)]
    if is_extra:
        destroy(world)
        assert_only_clean_ones_open(world)


def right_scns() -> list[str]:
    """Numbers whose check digit follows from the others."""
    weights = (3, 2, 7, 6, 5, 4, 3, 2)
    found = []
    for number in range(12340001, 12340400):
        digit = (11 - sum(w * int(d) for w, d in zip(weights, str(number), strict=True)) % 11) % 11
        if digit < 10:
            found.append(f"{number}{digit}")
    return found


def test_who_stands_on_the_sample_file_by_scn_alone_is_no_extra_child(delivered: World) -> None:
    world = delivered
    sampled = [{**row, "scn": n} for row, n in zip(pupils(), right_scns(), strict=False)]
    # Set aside, so that the vault has nobody of this number.
    sampled[1]["sex"] = "X"
    ids = [{**education_ids()[0], "survey_uid": "", "scn": sampled[1]["scn"]}]
    world.deliver(
        write_csv(world.path("sample_file"), sampled), write_csv(world.path("education_ids"), ids)
    )
    take_all(world)
    assert receipts(world)["education_ids"].reasons == {"uid_not_issued": 1}
    assert all(one.rows_n == 0 for one in extra_children(world.home))


def test_a_clean_extract_that_is_delivered_again_asks_nothing(delivered: World) -> None:
    """Until another sample file may have made extra children of what it held."""
    world = delivered
    take_all(world)
    ids = education_ids()
    ids[0]["surname"] = "Corrected"
    world.deliver(write_csv(world.path("education_ids"), ids))
    take_all(world)
    assert extra_children(world.home) == ()
    assert len(openable(world)["education_ids"]) == 2
    log = (world.home.drop / "extra-children.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["rows_n"] for line in log.splitlines()] == [0, 0]
    world.deliver(write_csv(world.path("sample_file"), pupils()[1:]))
    take_all(world)
    (waiting,) = extra_children(world.home)
    assert waiting.earlier_n == 1
    (world.home.drop / "extra-children.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(StorageError, match="extra children cannot be read"):
        extra_children(world.home)


def indexed(world: World, read_through: list[dict[str, str]]) -> dict[str, Path]:
    """Payload under numbers of an outside indexer, which knows the extra child too."""
    ids, payload = education_ids(), education_payload()
    ids.append({**ids[0], "survey_uid": "XX00000009", "scn": WRONG_SCN, "record_id": EXTRA})
    payload.append({**payload[0], "record_id": EXTRA})
    numbers = [{"record_id": row["record_id"], "index_edu": f"NRS{n}"} for n, row in enumerate(ids)]
    numbers[-1]["index_edu"] = "NRS-extra"
    by_record = {row["record_id"]: row["index_edu"] for row in numbers}
    under = [
        {"index_edu": by_record[row["record_id"]]}
        | {k: v for k, v in row.items() if k != "record_id"}
        for row in payload
    ]
    home = world.path("education_ids").parent
    files = {
        "index_return_edu": write_csv(home / f"{ENGAGEMENT}_index-return-edu.csv", numbers),
        "read_through": write_csv(home / f"{ENGAGEMENT}_read-through.csv", read_through),
        "education_ids": write_csv(world.path("education_ids"), ids),
        "education_payload": write_csv(world.path("education_payload"), under),
    }
    world.deliver(*files.values())
    take_all(world)
    with world.desk() as desk:
        take(desk, "read_through", ENGAGEMENT)
    return files


def through(survey: str, edu: str, sw: str) -> dict[str, str]:
    return {
        "index_survey": survey, "index_edu": edu, "index_sw": sw,
        "project_id": f"P{survey}{edu}{sw}", "match_method": "exact", "match_weight_band": "exact",
    }  # fmt: skip


def test_index_numbers_of_extra_children_go_with_them(delivered: World) -> None:
    world = delivered
    rows = [through("", "NRS0", ""), through("", "NRS-extra", "")]
    indexed(world, rows)
    before = receipts(world)
    assert before["index_return_edu"].flags == {"numbers_of_no_record": 1}
    assert (before["education_ids"].quarantined_n, before["education_payload"].quarantined_n) == (
        1,
        1,
    )
    kept = tables(world)
    destroy(world)
    names = ("education_ids", "index_return_edu", "education_payload", "read_through")
    left = {
        line.dataset: text_of(world, line)
        for line in read_register(world.home)
        if not line.refused and line.dataset in names
    }
    assert all("NRS-extra" not in left[name] and EXTRA not in left[name] for name in names)
    take_all(world)
    with world.desk() as desk:
        take(desk, "read_through", ENGAGEMENT)
    after = receipts(world)
    assert {after[name].status for name in names} == {"accepted"}
    assert {after[name].quarantined_n for name in names} == {0}
    assert tables(world) == kept and extra_children(world.home) == ()


def test_who_is_joined_to_answers_is_not_destroyed_unlooked(delivered: World) -> None:
    world = delivered
    indexed(world, [through("NRSS1", "NRS-extra", "")])
    before = read_register(world.home)
    # Numbers of answers were not returned here, so intake refuses the read-through first.
    with pytest.raises(InputError, match="cannot be told in every file"):
        destroy(world)
    assert read_register(world.home) == before


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


@pytest.mark.parametrize(
    ("in_sample", "in_extract"),
    [
        ({"survey_uid": ""}, {"survey_uid": ""}),
        ({"scn": "12345"}, {"survey_uid": ""}),
        ({"scn": "2000100001"}, {"survey_uid": ""}),
        ({"scn": "", "sex": "X"}, {"survey_uid": ""}),
        ({"sex": "X"}, {"survey_uid": "XX00000009"}),
    ],
    ids=[
        "blank UID there",
        "short SCN there",
        "a digit too many there",
        "no SCN there",
        "mistyped UID here",
    ],
)
def test_a_child_of_a_row_that_was_set_aside_in_the_sample_file_is_kept(
    delivered: World, in_sample: dict[str, str], in_extract: dict[str, str]
) -> None:
    """What is destroyed does not come back: whoever may be of the sample stays."""
    world, sampled, ids = delivered, pupils(), education_ids()
    right = {p["scn"]: scn for p, scn in zip(sampled, _right_numbers(), strict=False)}
    for row in (*sampled, *ids):
        row["scn"] = right.get(row["scn"], row["scn"])
    child = sampled[1]
    (record,) = [row for row in ids if row["survey_uid"] == child["survey_uid"]]
    record |= {"scn": child["scn"]} | in_extract
    child |= in_sample
    files = (
        write_csv(world.path("sample_file"), sampled),
        write_csv(world.path("education_ids"), ids),
    )
    world.deliver(*files)
    take_all(world)
    destroy(world)
    now = {line.dataset: line for line in read_register(world.home)}
    assert record["record_id"] in text_of(world, now["education_ids"])


def _right_numbers() -> Iterator[str]:
    """SCNs whose check digit holds (domain.md 3.5)."""
    for start in range(20000000, 20090000, 1000):
        total = sum(int(a) * b for a, b in zip(str(start), (3, 2, 7, 6, 5, 4, 3, 2), strict=True))
        if total % 11 != 1:
            yield f"{start}{-total % 11}"
