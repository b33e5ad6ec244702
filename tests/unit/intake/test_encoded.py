"""A council that sends encodings in the place of identifiers: taken in, linked, or refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rcs_assets.cli import main
from rcs_assets.codebook import Codebook
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import drop, keys, vault
from rcs_assets.intake.drop import DeliveryStatus, opened, read_register
from rcs_assets.intake.extras import destroy_extra_children, extra_children
from rcs_assets.intake.take import take, take_education, take_social_work
from rcs_assets.linkage import LinkSettings, link_engagements, link_keys, write_linkage
from rcs_assets.linkage.engagements import LinkedRows, accepted_records
from rcs_assets.linkage.exchange import export_files
from rcs_assets.programme import Programme
from rcs_assets.simulate.pairs import make_pairs
from rcs_assets.storage import open_vault, open_warehouse
from tests.unit.intake.conftest import (
    ENGAGEMENT,
    PRIMARY,
    World,
    education_payload,
    make_world,
    social_work_payload,
    write_csv,
    write_reference,
)

PUPILS_N = 120
PERSON = (
    "scn", "surname", "first_forename", "second_forename", "sex", "date_of_birth", "postcode",
)  # fmt: skip
FILES = ("sample_file", "education_ids", "social_work_ids")
Rows = list[dict[str, str]]


def plain_files() -> dict[str, Rows]:
    """What the council holds: its roll, and social work's misrecorded records of half of it."""
    files = make_pairs(PUPILS_N, 99)
    left, right = (f.astype(object).where(f.notna(), "") for f in (files.left, files.right))
    sample, education = [], []
    for number, row in enumerate(left.to_dict("records"), start=1):
        person = {name: str(row[name]) for name in PERSON}
        uid = f"CA{number:08d}"
        sample.append({"survey_uid": uid, **person, "seed_code": PRIMARY, "stage": "P6"})
        # Every tenth record without the UID.
        held = {"record_id": row["record_id"], "survey_uid": "" if number % 10 == 0 else uid}
        education.append(held | person)
    social_work = [
        {"record_id": row["record_id"], "previous_surname": str(row["previous_surname"])}
        | {name: str(row[name]) for name in PERSON}
        for row in right.head(PUPILS_N // 2).to_dict("records")
    ]
    return dict(zip(FILES, (sample, education, social_work), strict=True))


def payload(rows: Rows, like: dict[str, str]) -> Rows:
    return [{**like, "record_id": row["record_id"]} for row in rows]


def encode(world: World, plain: Path, key: Path, dataset: str, *more: str) -> Path:
    """As the council does it, into the folder of deliveries."""
    target = world.path(dataset)
    target.unlink(missing_ok=True)
    source = str(plain / target.name)
    given = ["encodings", "make", source, "--key", str(key), "--out", str(target), *more]
    assert main(given) == 0
    return target


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, programme: Programme, codebook: Codebook
) -> Path:
    """A home that took in all reference data, and the council's files in clear and encoded."""
    folder = tmp_path_factory.mktemp("encoded")
    world = make_world(folder, programme, codebook)
    write_reference(world)
    plain = folder / "plain"
    plain.mkdir()
    files = plain_files()
    for dataset, rows in files.items():
        write_csv(plain / world.path(dataset).name, rows)
    for name in ("council.key", "other.key"):
        assert main(["encodings", "key", str(folder / name)]) == 0
    for dataset in FILES:
        encode(world, plain, folder / "council.key", dataset)
    education, social_work = files["education_ids"], files["social_work_ids"]
    write_csv(world.path("education_payload"), payload(education, education_payload()[1]))
    write_csv(world.path("social_work_payload"), payload(social_work, social_work_payload()[1]))
    world.deliver()
    world.take_reference()
    take_pupils(world)
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path, programme: Programme, codebook: Codebook) -> World:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return make_world(tmp_path, programme, codebook)


def take_pupils(world: World) -> dict[str, Any]:
    with world.desk() as desk:
        receipts = [take(desk, name, ENGAGEMENT) for name in ("opt_outs", "sample_file")]
        receipts += [*take_education(desk, ENGAGEMENT), *take_social_work(desk, ENGAGEMENT)]
    return {receipt.dataset: receipt for receipt in receipts if receipt is not None}


def link_all(world: World) -> LinkedRows:
    with open_warehouse(world.home) as warehouse:
        accepted = accepted_records(warehouse)
    with open_vault(world.home) as vault:
        settings = LinkSettings(training="fixed", threads=1)
        rows = link_engagements(vault, link_keys(world.home), [ENGAGEMENT], settings, accepted)
    with open_warehouse(world.home) as warehouse:
        write_linkage(warehouse, rows, [ENGAGEMENT])
    return rows


def test_encodings_are_taken_in_linked_and_judged(world: World) -> None:
    """From the delivered files to link rates; nothing in vault or warehouse names a child."""
    held = world.vault_rows(
        "select count(*), count(clk), count(distinct scheme), count(surname), count(scn), "
        "count(date_of_birth), count(postcode) from sample_identifiers"
    )
    assert held == [(PUPILS_N, PUPILS_N, 1, 0, 0, 0, 0)]
    linked = link_all(world)
    rates = {row["dataset"]: row for row in linked.link_rates.to_pylist()}
    assert all(rate["is_encoded"] for rate in rates.values()) and set(rates) == {
        "education",
        "social_work",
    }
    # Pupil and record of the truth: a record of education bears its pupil's number.
    files = make_pairs(PUPILS_N, 99)
    uid_of = {
        record: f"CA{number:08d}" for number, record in enumerate(files.left.record_id, start=1)
    }
    partner = dict(zip(files.truth.right_id, files.truth.left_id, strict=True))
    pupils = {
        row["project_id"]: row["record_id"]
        for row in linked.project_ids.to_pylist()
        if row["dataset"] == "sample"
    }
    uids = dict(world.vault_rows("select record_id, uid from sample_identifiers"))
    for dataset, wanted in (("education", uid_of), ("social_work", partner)):
        supplied = dict(
            world.vault_rows(f"select record_id, supplier_id from {dataset}_identifiers")
        )
        found = [
            (uids[pupils[row["project_id"]]], supplied[row["record_id"]])
            for row in linked.project_ids.to_pylist()
            if row["dataset"] == dataset
        ]
        whose = {record: uid_of.get(str(own), own) for record, own in wanted.items()}
        right_n = sum(uid == whose[record] for uid, record in found)
        records_n = rates[dataset]["records_n"]
        assert right_n == len(found) == rates[dataset]["linked_n"]
        assert right_n >= 0.9 * records_n
        assert rates[dataset]["recall_low"] <= right_n / records_n <= rates[dataset]["recall_high"]
    # With its UID a record needs no encoding, without one it has nothing else.
    education = rates["education"]
    assert education["exact_n"] == PUPILS_N * 9 // 10
    assert education["probabilistic_n"] == education["linked_n"] - education["exact_n"] > 0
    assert rates["social_work"]["clerical_n"] == 0


def test_the_receipt_counts_encodings_and_the_files_hold_no_name(world: World) -> None:
    receipts = take_pupils(world)
    assert receipts["sample_file"].flags["encoded"] == PUPILS_N
    assert receipts["social_work_ids"].flags["encoded"] == PUPILS_N // 2
    assert "scn_missing" not in receipts["sample_file"].flags
    names = {row["surname"] for row in plain_files()["sample_file"] if len(row["surname"]) > 5}
    for dataset in FILES:
        with world.path(dataset).open(encoding="utf-8", newline="") as stream:
            header = next(csv.reader(stream))
        assert header[-2:] == ["scheme", "clk"] and not set(header) & {"surname", "scn", "postcode"}
        text = world.path(dataset).read_text(encoding="utf-8")
        assert not [name for name in names if name in text]
    told = json.dumps({name: str(receipt) for name, receipt in receipts.items()})
    assert not [name for name in names if name in told]


def _other_key(world: World, folder: Path) -> None:
    encode(world, folder / "plain", folder / "other.key", "social_work_ids")


def _in_clear(world: World, folder: Path) -> None:
    name = world.path("social_work_ids").name
    shutil.copy(folder / "plain" / name, world.path("social_work_ids"))


def _no_scheme(world: World, folder: Path) -> None:
    rows = list(csv.DictReader(world.path("social_work_ids").open(encoding="utf-8")))
    kept = [{name: row[name] for name in ("record_id", "clk")} for row in rows]
    write_csv(world.path("social_work_ids"), kept)


def _cut(world: World, folder: Path) -> None:
    rows = list(csv.DictReader(world.path("social_work_ids").open(encoding="utf-8")))
    write_csv(world.path("social_work_ids"), [{**row, "clk": row["clk"][:128]} for row in rows])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_key, "cannot be compared with the sample file"),
        (_in_clear, "cannot be compared with the sample file"),
        (_no_scheme, "do not fit the contract"),
        (_cut, "cannot be compared with the sample file"),
    ],
)
def test_an_extract_of_another_kind_is_refused_whole(
    world: World, tmp_path: Path, spoil: Callable[[World, Path], None], said: str
) -> None:
    spoil(world, tmp_path)
    world.deliver(world.path("social_work_ids"))
    receipts = {receipt.dataset: receipt for receipt in world.take_social_work()}
    assert said in receipts["social_work_ids"].reason
    assert receipts["social_work_ids"].accepted_n == 0
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(0,)]
    if spoil is not _no_scheme:
        # Beside the sample file it would be a dictionary: nobody can open it any more.
        _cannot_be_opened(world)
        again = {receipt.dataset: receipt for receipt in world.take_social_work()}
        assert again["social_work_ids"] == receipts["social_work_ids"]
    # The rest of the engagement is linked as ever.
    assert {row["dataset"] for row in link_all(world).link_rates.to_pylist()} == {"education"}


def test_a_sample_file_of_two_keys_is_refused(world: World, tmp_path: Path) -> None:
    kept = world.path("sample_file").read_text(encoding="utf-8").splitlines()
    other = encode(world, tmp_path / "plain", tmp_path / "other.key", "sample_file")
    mixed = [*kept[:60], *other.read_text(encoding="utf-8").splitlines()[60:]]
    other.write_text("\n".join(mixed) + "\n", encoding="utf-8")
    world.deliver(other)
    receipt = world.take("sample_file")
    assert "encodings of different keys or rules" in receipt.reason
    assert world.vault_rows("select count(*) from sample_identifiers") == [(0,)]


def test_extra_children_of_an_encoded_extract_are_destroyed(world: World, tmp_path: Path) -> None:
    """An encoded extract is rewritten by the contract that it was taken in by."""
    name, nobody = world.path("education_ids").name, "sup-nobody"
    rows = list(csv.DictReader((tmp_path / "plain" / name).open(encoding="utf-8")))
    rows.append({**rows[0], "record_id": nobody, "survey_uid": "XX00000009"})
    write_csv(tmp_path / "plain" / name, rows)
    encode(world, tmp_path / "plain", tmp_path / "council.key", "education_ids")
    write_csv(world.path("education_payload"), payload(rows, education_payload()[1]))
    world.deliver(world.path("education_ids"), world.path("education_payload"))
    before = take_pupils(world)["education_ids"]
    assert before.reasons["uid_not_issued"] == 1
    (extra,) = extra_children(world.home)
    assert extra.rows_n == 1
    assert destroy_extra_children(world.home, world.programme, world.codebook, world.settings)
    assert extra_children(world.home) == ()
    after = take_pupils(world)["education_ids"]
    assert (after.received_n, after.accepted_n) == (before.received_n - 1, before.accepted_n)
    for line in read_register(world.home):
        if line.dataset in ("education_ids", "education_payload") and not line.refused:
            with opened(world.home, line) as path:
                assert nobody not in path.read_text(encoding="utf-8")


def test_there_are_no_identifiers_to_hand_on(world: World, tmp_path: Path) -> None:
    link_all(world)
    with pytest.raises(InputError, match="this council sent encodings"):
        export_files(
            world.home, world.programme, world.codebook, world.settings, ENGAGEMENT,
            ["admin_ids_sw"], tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def _cannot_be_opened(world: World, dataset: str = "social_work_ids") -> None:
    line = [line for line in read_register(world.home) if line.dataset == dataset][-1]
    assert line.refused
    with pytest.raises((StorageError, OSError)), opened(world.home, line):
        pass
    assert not (world.home.keys / "deliveries" / f"{line.seq}.key").exists()


def _write_beside(world: World, column: str, cell: str) -> Path:
    rows = list(csv.DictReader(world.path("social_work_ids").open(encoding="utf-8")))
    return write_csv(world.path("social_work_ids"), [{**row, column: cell} for row in rows])


@pytest.mark.parametrize(
    ("column", "told"),
    [("surname", "surname"), ("Surname", "Surname"), ("Jane Qqmuir", "4"), ("CLK", "CLK")],
)
def test_identifiers_beside_encodings_are_refused_at_the_door(
    world: World, column: str, told: str
) -> None:
    [outcome] = world.deliver(_write_beside(world, column, "Qqmuir"))
    assert outcome.status is DeliveryStatus.REFUSED
    assert "holds identifiers beside encodings" in outcome.message
    assert f"header, column {told}." in outcome.message and "Qqmuir" not in outcome.message
    assert not list((world.home.drop / "files").rglob(f"{outcome.sha256}/*"))
    _cannot_be_opened(world)
    receipts = {receipt.dataset: receipt for receipt in world.take_social_work()}
    assert receipts["social_work_ids"].reason == outcome.message
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(0,)]


def test_one_that_lies_in_the_drop_from_before_loses_its_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed by a version that did not look at the door."""
    with monkeypatch.context() as patched:
        patched.setattr(drop, "takes_encodings", lambda dataset: False)
        [outcome] = world.deliver(_write_beside(world, "surname", "Qqmuir"))
    assert outcome.status is DeliveryStatus.REGISTERED
    receipts = {receipt.dataset: receipt for receipt in world.take_social_work()}
    assert "holds identifiers beside encodings" in receipts["social_work_ids"].reason
    _cannot_be_opened(world)


def test_a_vault_without_the_sample_file_costs_no_delivery(world: World) -> None:
    with open_vault(world.home) as secret:
        secret.execute("delete from sample_identifiers")
    receipts = {receipt.dataset: receipt for receipt in world.take_social_work()}
    assert "the vault holds no pupil of it" in receipts["social_work_ids"].reason
    take_pupils(world)
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(PUPILS_N // 2,)]


def test_a_council_that_changes_its_kind_leaves_no_dictionary(world: World, tmp_path: Path) -> None:
    """Encoded, then in clear, then encoded again: of the replaced files nobody opens any."""

    def openable() -> list[tuple[str, bool]]:
        found = []
        for line in read_register(world.home):
            if line.dataset in FILES and not line.refused:
                with opened(world.home, line):
                    found.append((line.dataset, line.is_encoded))
        return found

    def records() -> list[tuple[Any, ...]]:
        return world.vault_rows(
            "select 'sample', record_id, uid, null as supplier_id, surname, clk "
            "from sample_identifiers union all "
            "select 'education', record_id, uid, supplier_id, surname, clk "
            "from education_identifiers union all select 'social_work', record_id, null, "
            "supplier_id, surname, clk from social_work_identifiers order by all"
        )

    assert sorted(openable()) == [(name, True) for name in sorted(FILES)]
    for dataset in FILES:
        shutil.copy(tmp_path / "plain" / world.path(dataset).name, world.path(dataset))
    world.deliver(*map(world.path, FILES))
    # Not taken in yet: both are there, since nobody knows whether the new one is sound.
    assert len(openable()) == 2 * len(FILES)
    receipts = take_pupils(world)
    assert receipts["sample_file"].accepted_n == PUPILS_N
    assert sorted(openable()) == [(name, False) for name in sorted(FILES)]
    for dataset in FILES:
        encode(world, tmp_path / "plain", tmp_path / "council.key", dataset)
    world.deliver(*map(world.path, FILES))
    take_pupils(world)
    assert sorted(openable()) == [(name, True) for name in sorted(FILES)]
    certificates = sorted((world.home.drop / "certificates").iterdir())
    assert all(file.name.startswith(f"other-kind-{ENGAGEMENT}-") for file in certificates)
    assert all(file.suffix == ".json" for file in certificates)
    told = [json.loads(file.read_text(encoding="utf-8")) for file in certificates]
    ended = [line["seq"] for content in told for line in content["deliveries"]]
    assert len(ended) == len(set(ended)) == 2 * len(FILES)
    gone = {line.seq: line.refused for line in read_register(world.home) if line.seq in ended}
    assert all("would be a dictionary" in reason for reason in gone.values())
    # A rebuild from the drop gives the same rows, and finds nothing more to end.
    before = records()
    assert before and not [row for row in before if row[4]]
    world.home.vault.unlink()
    world.home.warehouse.unlink()
    world.take_reference()
    take_pupils(world)
    assert records() == before
    assert sorted((world.home.drop / "certificates").iterdir()) == certificates


def test_a_sample_file_sent_by_mistake_ends_no_key(world: World, tmp_path: Path) -> None:
    """Of the other kind and alone, or with one extract of two: refused, and not kept."""
    before = read_register(world.home)
    kept = world.path("sample_file").read_bytes()
    for came in (["sample_file"], ["sample_file", "education_ids"]):
        for dataset in came:
            shutil.copy(tmp_path / "plain" / world.path(dataset).name, world.path(dataset))
        told = {outcome.dataset: outcome for outcome in world.deliver(*map(world.path, came))}
        refused = told["sample_file"]
        assert refused.status is DeliveryStatus.REFUSED
        assert "alone would change its council's kind" in refused.message
        assert "social_work_ids" in refused.message
        assert not list((world.home.drop / "files").rglob(f"{refused.sha256}/*"))
    # It counts as refused, until the council's own comes again: nothing has ended.
    assert "alone would change" in take_pupils(world)["sample_file"].reason
    assert not (world.home.drop / "certificates").exists()
    assert read_register(world.home)[: len(before)] == before
    world.path("sample_file").write_bytes(kept)
    world.deliver(world.path("sample_file"))
    assert take_pupils(world)["sample_file"].accepted_n == PUPILS_N


def test_what_a_killed_run_began_to_end_is_completed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dataset in FILES:
        shutil.copy(tmp_path / "plain" / world.path(dataset).name, world.path(dataset))
    world.deliver(*map(world.path, FILES))

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(keys, "destroy_keys", killed)
        take_pupils(world)
    folder = world.home.drop / "certificates"
    assert [file.suffix for file in folder.iterdir()] == [".begun"]
    take_pupils(world)
    assert {file.suffix for file in folder.iterdir()} == {".json"}
    assert not [x for x in read_register(world.home) if x.is_encoded and not x.refused]


def _opted_out() -> dict[str, str]:
    """Social work's record id → UID, of ten children; some of education's hold no UID."""
    files = make_pairs(PUPILS_N, 99)
    uid_of = {record: f"CA{n:08d}" for n, record in enumerate(files.left.record_id, start=1)}
    partner = dict(zip(files.truth.right_id, files.truth.left_id, strict=True))
    known = {
        record: uid_of[partner[record]]
        for record in files.right.head(PUPILS_N // 2).record_id
        if record in partner
    }
    without = [record for record, uid in known.items() if uid.endswith("0")][:3]
    rest = [record for record in known if record not in without]
    return {record: known[record] for record in [*without, *rest][:10]}


def test_no_record_of_a_child_who_opted_out_is_taken_in_or_linked(world: World) -> None:
    """Nobody can tell whose an encoded record without UID is, so none is taken in."""
    opted = _opted_out()
    assert len(opted) == 10 and sum(uid.endswith("0") for uid in opted.values()) == 3
    rows = [
        {"survey_uid": uid, "scope": "all", "received_on": "2015-09-01", "taken_back_on": ""}
        for uid in opted.values()
    ]
    world.deliver(write_csv(world.path("opt_outs"), rows))
    with world.desk() as desk:
        take(desk, "opt_outs", ENGAGEMENT)
        # What was taken in before counts as returned until it is taken in anew.
        before = vault.count_returned(desk.vault, world.home, ENGAGEMENT)
    assert before == 10 + 7 + PUPILS_N // 10 + PUPILS_N // 2
    receipts = take_pupils(world)
    education, social_work = receipts["education_ids"], receipts["social_work_ids"]
    assert education.reasons["encoded_without_uid"] == PUPILS_N // 10
    assert education.withdrawn_n == 7 and education.accepted_n == PUPILS_N * 9 // 10 - 7
    assert "does not declare that it was made without the children" in social_work.reason
    assert world.path("social_work_ids").name in social_work.reason
    assert social_work.accepted_n == receipts["social_work_payload"].accepted_n == 0
    for table in ("sample", "education"):
        held = {uid for (uid,) in world.vault_rows(f"select uid from {table}_identifiers")}
        assert None not in held and not held & set(opted.values())
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(0,)]
    assert world.rows("select count(*) from intake.social_work") == [(0,)]
    assert world.rows("select count(*) from intake.education") == [(education.accepted_n,)]
    linked = link_all(world).project_ids.to_pylist()
    assert {row["dataset"] for row in linked} == {"sample", "education"}
    with world.desk() as desk:
        assert vault.count_returned(desk.vault, world.home, ENGAGEMENT) == 0
    # Taken back, all records are what they were: the file was refused, not destroyed.
    back = [{**row, "taken_back_on": "2015-10-01"} for row in rows]
    world.deliver(write_csv(world.path("opt_outs"), back))
    assert take_pupils(world)["social_work_ids"].accepted_n == PUPILS_N // 2


def _list(world: World, folder: Path, opted: dict[str, str], scope: str = "linkage") -> Path:
    """The list of opt-outs, at the council and delivered; one that was taken back stands on it."""
    row = {"scope": scope, "received_on": "2015-09-01", "taken_back_on": ""}
    rows = [{"survey_uid": uid} | row for uid in opted.values()]
    free = next(uid for uid in (f"CA{n:08d}" for n in range(1, 99)) if uid not in opted.values())
    rows.append({**rows[0], "survey_uid": free, "taken_back_on": "2015-10-01"})
    file = write_csv(world.path("opt_outs"), rows)
    world.deliver(file)
    return Path(shutil.copy(file, folder / "plain"))


def _encode_without(world: World, folder: Path, listed: Path, dataset: str, payload: str) -> None:
    """The council encodes an extract without the children of a list; payload goes beside it."""
    world.path(payload).unlink(missing_ok=True)
    plain = folder / "plain"
    encode(
        world, plain, folder / "council.key", dataset, "--opt-outs", str(listed),
        "--pupils", str(plain / world.path("sample_file").name),
        "--payload", str(plain / world.path(payload).name),
    )  # fmt: skip
    world.deliver(world.path(dataset), world.path(payload))


EXTRACTS = (("education_ids", "education_payload"), ("social_work_ids", "social_work_payload"))


def test_a_council_leaves_out_children_who_opted_out_before_it_encodes(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None of their records leaves the council; those of all others are linked as ever."""
    opted = _opted_out()
    listed = _list(world, tmp_path, opted)
    for ids, load in EXTRACTS:
        # Spaces around an id are none of it, neither here nor for intake.
        rows = pd.read_csv(world.path(load), dtype=str, keep_default_na=False)
        rows["record_id"] = " " + rows["record_id"] + " "
        rows.to_csv(tmp_path / "plain" / world.path(load).name, index=False)
        _encode_without(world, tmp_path, listed, ids, load)
    told = capsys.readouterr().out
    assert "Left out" in told and not [uid for uid in opted.values() if uid in told]
    receipts = take_pupils(world)
    education, social_work = receipts["education_ids"], receipts["social_work_ids"]
    # Both hold whole files: nothing is set aside, nobody is taken out by the platform.
    assert education.quarantined_n == education.withdrawn_n == social_work.quarantined_n == 0
    assert education.accepted_n == receipts["education_payload"].accepted_n == PUPILS_N - 10
    left = PUPILS_N // 2 - social_work.accepted_n
    assert social_work.accepted_n == receipts["social_work_payload"].accepted_n
    assert 10 <= left <= 14
    sent = world.path("social_work_payload").read_text(encoding="utf-8")
    held = {row for (row,) in world.vault_rows("select supplier_id from social_work_identifiers")}
    assert not held & set(opted) and not [record for record in opted if record in sent]
    assert not {uid for (uid,) in world.vault_rows("select uid from education_identifiers")} & set(
        opted.values()
    )
    with world.desk() as desk:
        assert vault.count_returned(desk.vault, world.home, ENGAGEMENT) == 0
    rates = {row["dataset"]: row for row in link_all(world).link_rates.to_pylist()}
    assert rates["social_work"]["linked_n"] >= 0.9 * social_work.accepted_n


def test_a_file_made_before_the_list_that_holds_is_refused(world: World, tmp_path: Path) -> None:
    """One more child opts out: what the council left out before is not enough any more."""
    opted = _opted_out()
    fewer = dict(list(opted.items())[1:])
    listed = _list(world, tmp_path, fewer)
    for ids, load in EXTRACTS:
        shutil.copy(world.path(load), tmp_path / "plain")
        _encode_without(world, tmp_path, listed, ids, load)
    assert take_pupils(world)["social_work_ids"].accepted_n > 0
    _list(world, tmp_path, opted)
    social_work_n = world.vault_rows("select count(*) from social_work_identifiers")[0][0]
    with world.desk() as desk:
        take(desk, "opt_outs", ENGAGEMENT)
        assert vault.count_returned(desk.vault, world.home, ENGAGEMENT) >= social_work_n > 0
    receipts = take_pupils(world)
    assert "encodings make --opt-outs" in receipts["social_work_ids"].reason
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(0,)]
    assert receipts["education_ids"].reasons["encoded_without_uid"] > 0


@pytest.mark.parametrize("spoil", ["one row", "no column", "another number"])
def test_a_declaration_that_does_not_hold_for_each_row_is_none(
    world: World, tmp_path: Path, spoil: str
) -> None:
    listed = _list(world, tmp_path, _opted_out())
    shutil.copy(world.path("social_work_payload"), tmp_path / "plain")
    _encode_without(world, tmp_path, listed, *EXTRACTS[1])
    rows = list(csv.DictReader(world.path("social_work_ids").open(encoding="utf-8")))
    for row in rows[:1] if spoil == "one row" else rows:
        row["left_out"] = "9" + row["left_out"][1:] if spoil == "another number" else ""
    kept = [c for c in rows[0] if spoil != "no column" or c != "left_out"]
    write_csv(world.path("social_work_ids"), [{c: row[c] for c in kept} for row in rows])
    world.deliver(world.path("social_work_ids"))
    receipts = take_pupils(world)
    assert "does not declare" in receipts["social_work_ids"].reason
    assert world.vault_rows("select count(*) from social_work_identifiers") == [(0,)]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("a child whom nobody knows", "children who opted out are not in the file of pupils"),
        ("a scope that is none", "An opt-out cannot be read"),
        ("no pupils", "by three arguments together"),
        ("the sample file itself", "applied to a council's extracts only"),
    ],
)
def test_the_council_is_told_what_it_must_give(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: str, said: str
) -> None:
    """Nothing is written then."""
    opted = {"one": "ZZ99999999"} if "nobody knows" in spoil else _opted_out()
    scope = "nothing" if "scope" in spoil else "all"
    listed = _list(world, tmp_path, opted, scope)
    ids = "sample_file" if "sample" in spoil else "social_work_ids"
    name = world.path(ids).name
    (tmp_path / "out").mkdir()
    pupils = ["--pupils", str(tmp_path / "plain" / world.path("sample_file").name)]
    words = [
        "encodings", "make", str(tmp_path / "plain" / name), "--key", str(tmp_path / "council.key"),
        "--out", str(tmp_path / "out" / name), "--opt-outs", str(listed),
        *([] if spoil == "no pupils" else pupils),
    ]  # fmt: skip
    capsys.readouterr()
    assert main(words) == 1
    error = capsys.readouterr().err
    assert said in error and not [uid for uid in opted.values() if uid in error]
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("column", ["Surname", "known_as", "address", "email", "surname"])
def test_nothing_that_the_contract_does_not_have_goes_out_beside_encodings(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    """`surname` stands twice then."""
    source = tmp_path / f"{ENGAGEMENT}_social-work-identifiers.csv"
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / source.name
    lines = (template / "plain" / source.name).read_text(encoding="utf-8").splitlines()
    spoilt = [f"{lines[0]},{column}", *(f"{line},Qqmuir" for line in lines[1:])]
    source.write_text("\n".join(spoilt) + "\n", encoding="utf-8")
    key = str(template / "council.key")
    assert main(["encodings", "make", str(source), "--key", key, "--out", str(target)]) == 1
    error = capsys.readouterr().err
    # A name that no contract has may be a child's: its place in the header is told.
    told = column if column.lower() == "surname" else len(spoilt[0].split(","))
    assert source.name in error and f"column {told}" in error and "Qqmuir" not in error
    assert not list(target.parent.iterdir())
