"""Exchange files: an outside indexer stands in the place of ours, and the links are the same."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest

from rcs_assets.codebook import Codebook
from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.intake.take import take
from rcs_assets.linkage import LinkSettings, link_engagements, link_keys, write_linkage
from rcs_assets.linkage.engagements import accepted_records
from rcs_assets.linkage.exchange import ADMIN_IDS, CHILI, KINDS, export_files, kind_of
from rcs_assets.programme import Programme
from rcs_assets.programme.provenance import read_simulated_manifest, sha256_of
from rcs_assets.storage import open_vault, open_warehouse
from rcs_assets.storage.access_log import read_access
from tests.unit.intake.conftest import CANARIES, ENGAGEMENT, World, make_world, write_csv

NAMES = {kind: kind.replace("_", "-") for kind in KINDS}
INCOMING = ("index_return_survey", "index_return_edu", "index_return_sw", "read_through")
Rows = list[dict[str, str]]


def take_all(world: World) -> dict[str, Any]:
    with world.desk() as desk:
        receipts = [
            take(desk, name, ENGAGEMENT)
            for name in ("opt_outs", "sample_file", "primary_survey", "secondary_survey")
        ]
    receipts += [*world.take_education(), *world.take_social_work()]
    with world.desk() as desk:
        receipts += [take(desk, name, ENGAGEMENT) for name in (INCOMING[0], INCOMING[3])]
    return {receipt.dataset: receipt for receipt in receipts if receipt is not None}


def link_all(world: World) -> set[tuple[str, str, str]]:
    """Dataset, record and project id of what is linked."""
    with open_warehouse(world.home) as warehouse:
        accepted = accepted_records(warehouse)
    with open_vault(world.home) as vault:
        settings = LinkSettings(training="fixed", threads=1, memory_limit="500MB")
        rows = link_engagements(vault, link_keys(world.home), [ENGAGEMENT], settings, accepted)
    with open_warehouse(world.home) as warehouse:
        write_linkage(warehouse, rows, [ENGAGEMENT])
    found = rows.project_ids.to_pylist()
    return {(row["dataset"], row["record_id"], row["project_id"]) for row in found}


def export(world: World, folder: Path, *kinds: str) -> dict[str, Path]:
    files = export_files(
        world.home, world.programme, world.codebook, world.settings, ENGAGEMENT, kinds, folder
    )
    return dict(zip(kinds, files, strict=True))


def rows_of(file: Path) -> Rows:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def groups(links: set[tuple[str, str, str]]) -> set[frozenset[tuple[str, str]]]:
    """Which records are one child, whatever the child's number."""
    found: dict[str, set[tuple[str, str]]] = {}
    for dataset, record, project in links:
        found.setdefault(project, set()).add((dataset, record))
    return {frozenset(records) for records in found.values()}


@pytest.fixture(scope="module")
def linked_template(
    template: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The tiny world taken in and linked by the platform itself; made once, then copied."""
    base = tmp_path_factory.mktemp("linked")
    shutil.copytree(template, base, dirs_exist_ok=True)
    world = make_world(
        base, request.getfixturevalue("programme"), request.getfixturevalue("codebook")
    )
    assert {receipt.status for receipt in take_all(world).values()} == {"accepted"}
    link_all(world)
    return base


@pytest.fixture
def linked(
    linked_template: Path, tmp_path: Path, programme: Programme, codebook: Codebook
) -> World:
    shutil.copytree(linked_template, tmp_path, dirs_exist_ok=True)
    return make_world(tmp_path, programme, codebook)


@pytest.fixture(scope="module")
def outside_template(
    linked_template: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The same, after an indexer outside it returned numbers of its own and a read-through."""
    base = tmp_path_factory.mktemp("outside")
    shutil.copytree(linked_template, base, dirs_exist_ok=True)
    world = make_world(
        base, request.getfixturevalue("programme"), request.getfixturevalue("codebook")
    )
    for kind, file in export(world, base / "exported", *INCOMING).items():
        text = re.sub(r"\b[0-9a-f]{64}\b", lambda number: "NRS" + number[0][:20], file.read_text())
        returned(world, kind).write_text(text)
    world.deliver()
    world.take_education()
    world.take_social_work()
    for kind in (INCOMING[0], INCOMING[3]):
        assert world.take(kind).status == "accepted"
    return base


@pytest.fixture
def outside(
    outside_template: Path, tmp_path: Path, programme: Programme, codebook: Codebook
) -> World:
    shutil.copytree(outside_template, tmp_path, dirs_exist_ok=True)
    return make_world(tmp_path, programme, codebook)


def returned(world: World, kind: str) -> Path:
    return world.folder / f"{ENGAGEMENT}_{NAMES[kind]}.csv"


def test_reading_the_drop_stands_in_the_access_log_without_a_file_name(linked: World) -> None:
    read = [entry.what for entry in read_access(linked.home) if entry.event == "drop read"]
    assert any(what.endswith("(sample_file)") for what in read)
    assert all(re.fullmatch(r"delivery [0-9]+ \([a-z_]+\)", what) for what in read)


def test_files_of_simulated_deliveries_say_so(linked: World, tmp_path: Path) -> None:
    files = export(linked, tmp_path / "out", "survey_ids", "read_through")
    assert all(file.stem.endswith("_SIMULATED") for file in files.values())
    assert [kind_of(file).kind for file in files.values()] == ["survey_ids", "read_through"]
    assert set(read_simulated_manifest(tmp_path / "out").values()) == {
        file.name for file in files.values()
    }
    # A second export into the folder leaves the first one listed.
    more = export(linked, tmp_path / "out", "admin_ids_edu")
    listed = read_simulated_manifest(tmp_path / "out")
    assert len(listed) == 3 and sha256_of(more["admin_ids_edu"]) in listed


def test_files_have_the_published_layouts_and_no_identifier_beside_payload(
    linked: World, tmp_path: Path
) -> None:
    files = export(linked, tmp_path / "out", *KINDS)
    headers = {kind: tuple(rows_of(file)[0]) for kind, file in files.items()}
    assert headers["survey_ids"] == ("record_id", "survey_uid")
    assert headers["admin_ids_edu"] == headers["admin_ids_sw"] == ADMIN_IDS
    assert headers["chili_edu"] == headers["chili_sw"] == CHILI
    assert headers["index_return_sw"] == ("record_id", "index_sw")
    assert headers["read_through"] == (
        "index_survey", "index_edu", "index_sw", "project_id", "match_method", "match_weight_band",
    )  # fmt: skip
    for kind, file in files.items():
        assert file.stat().st_mode & 0o777 == 0o600
        text = file.read_text()
        if KINDS[kind].receiver == "linker":
            assert not [canary for canary in CANARIES if canary in text], kind
            assert not set(headers[kind]) & {*ADMIN_IDS, *CHILI} - {"sex"}
        else:
            assert "S01006506" not in text and "looked_after" not in text
    exported = [entry.what for entry in read_access(linked.home) if entry.event == "file exported"]
    assert exported == [file.name for file in files.values()]


def test_chili_cells_follow_its_cleaning_rules(linked: World, tmp_path: Path) -> None:
    file = export(linked, tmp_path / "out", "chili_edu")["chili_edu"]
    first = next(row for row in rows_of(file) if row["USER_DATA"] == "sup-canary-1")
    assert (first["SURNAME"], first["SEX"], first["DATE_OF_BIRTH"], first["POSTCODE"]) == (
        "ZYXWVUT", "2", "20090228", "ZZ9 9ZZ",
    )  # fmt: skip
    assert len({row["SERIAL"] for row in rows_of(file)}) == len(rows_of(file)) == 6
    homeless = export(linked, tmp_path / "two", "chili_sw")["chili_sw"]
    assert {row["POSTCODE"] for row in rows_of(homeless)} == {"NK"}


def test_an_outside_indexer_stands_in_our_place(outside: World, linked_template: Path) -> None:
    """Its numbers, its read-through, payload under its numbers: the same children are linked."""
    world = outside
    own = link_all(make_world(linked_template, world.programme, world.codebook))
    for payload, number in (("education_payload", "edu"), ("social_work_payload", "sw")):
        numbers = {
            row["record_id"]: row[f"index_{number}"]
            for row in rows_of(returned(world, f"index_return_{number}"))
        }
        indexed = [
            {f"index_{number}": numbers[row["record_id"]]}
            | {name: cell for name, cell in row.items() if name != "record_id"}
            for row in rows_of(world.path(payload))
        ]
        write_csv(world.path(payload), indexed)
    before = world.rows("select * from intake.education order by all")
    world.deliver()
    receipts = take_all(world)
    assert {r.status for r in receipts.values()} == {"accepted"}, receipts
    assert world.rows("select * from intake.education order by all") == before
    received = link_all(world)
    answered = {group for group in groups(own) if any("survey" in d for d, _ in group)}
    assert answered <= groups(received)
    passes = world.rows("select distinct pass_no from linkage.project_ids order by all")
    assert passes == [(0,), (11,)]
    assert {p for *_, p in received} & {p for *_, p in own} == set()
    kept = world.vault_rows("select count(*) from index_numbers where index_no like 'NRS%'")
    assert kept == [(sum(len(rows_of(returned(world, k))) for k in INCOMING[:3]),)]


def test_payload_under_our_own_numbers_comes_back(linked: World, tmp_path: Path) -> None:
    """The platform is the indexer: the provider puts the number in the place of its record id."""
    before = linked.rows("select * from intake.social_work order by all")
    file = export(linked, tmp_path / "out", "payload_sw")["payload_sw"]
    shutil.copy(file, linked.path("social_work_payload"))
    linked.deliver()
    ids, payload = linked.take_social_work()
    assert (ids.status, payload.status, payload.accepted_n) == ("accepted", "accepted", 4)
    assert linked.rows("select * from intake.social_work order by all") == before


def twice(rows: Rows) -> Rows:
    rows[1]["index_edu"] = rows[0]["index_edu"]
    return rows


def same_child(rows: Rows) -> Rows:
    rows[1]["project_id"] = rows[0]["project_id"]
    return rows


def foreign(rows: Rows) -> Rows:
    return [{**row, "index_survey": f"other{n}"} for n, row in enumerate(rows)]


def one_foreign(rows: Rows) -> Rows:
    rows[-1]["index_survey"] = "other"
    return rows


def nobody(rows: Rows) -> Rows:
    return [*rows, {**rows[0], "project_id": "p", **dict.fromkeys(list(rows[0])[:3], "")}]


def strange_band(rows: Rows) -> Rows:
    rows[0]["match_weight_band"] = "perhaps"
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (twice, "number was returned twice"),
        (same_child, "number was returned twice"),
        (foreign, "index number of another engagement"),
        (one_foreign, "index number of another engagement"),
        (nobody, "names no record"),
        (strange_band, "cannot be read"),
    ],
)
def test_a_wrong_read_through_is_refused_and_nothing_is_kept(
    outside: World, change: Callable[[Rows], Rows], message: str
) -> None:
    world = outside
    file = returned(world, "read_through")
    write_csv(file, change(rows_of(file)))
    world.deliver(file)
    receipt = world.take("read_through")
    assert receipt.status == "rejected" and message in receipt.reason, receipt.reason
    assert "NRS" not in receipt.reason and "other0" not in receipt.reason
    assert world.vault_rows("select * from read_through_received") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{**row, "index_edu": "same"} for row in rows], "returned twice"),
        (lambda rows: [*rows, {**rows[0], "index_edu": "more"}], "returned twice"),
        (lambda rows: [{**row, "record_id": f"x{n}"} for n, row in enumerate(rows)], "another eng"),
        (lambda rows: [{**rows[0], "index_edu": ""}], "cannot be read"),
    ],
)
def test_wrong_index_numbers_are_refused_and_payload_under_them_too(
    outside: World, change: Callable[[Rows], Rows], message: str
) -> None:
    world = outside
    file = returned(world, "index_return_edu")
    numbers = rows_of(file)
    indexed = [
        {"index_edu": number["index_edu"]}
        | {name: cell for name, cell in row.items() if name != "record_id"}
        for row, number in zip(rows_of(world.path("education_payload")), numbers, strict=True)
    ]
    write_csv(world.path("education_payload"), indexed)
    write_csv(file, change(numbers))
    world.deliver()
    receipts = {receipt.dataset: receipt for receipt in world.take_education()}
    assert message in receipts["index_return_edu"].reason
    assert receipts["education_payload"].status == "rejected"
    assert "numbers was refused" in receipts["education_payload"].reason
    assert world.rows("select * from intake.education") == []
    assert world.vault_rows("select * from index_return_edu") == []
    # The read-through names numbers that nobody returned now.
    assert world.take("read_through").status == "rejected"


def test_a_number_of_a_withdrawn_child_is_of_nobody(
    outside: World,
) -> None:
    world = outside
    before = link_all(world)
    uid = "CA00000004"
    write_csv(
        world.path("opt_outs"), [{"survey_uid": uid, "scope": "all", "received_on": "2016-01-01"}]
    )
    world.deliver()
    receipts = take_all(world)
    assert receipts["index_return_edu"].flags == {"numbers_of_no_record": 1}
    assert receipts["read_through"].status == "accepted"
    linked = {record for dataset, record, _ in link_all(world) if dataset == "education"}
    assert linked < {record for dataset, record, _ in before if dataset == "education"}
    assert len(linked) == 3


def test_nothing_is_handed_on_unasked(linked: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no exchange file names"):
        export(linked, tmp_path / "out", "names")
    with pytest.raises(ConfigurationError, match="do not go into the home"):
        export(linked, linked.home.path / "out", "read_through")
    export(linked, tmp_path / "out", "read_through")
    with pytest.raises(ConfigurationError, match="there already"):
        export(linked, tmp_path / "out", "survey_ids", "read_through")
    assert not (tmp_path / "out" / f"{ENGAGEMENT}_survey_ids.csv").exists()
    with open_vault(linked.home) as con:
        con.execute("delete from index_numbers")
    with pytest.raises(InputError, match="no index numbers yet"):
        export(linked, tmp_path / "two", "survey_ids")


@pytest.mark.parametrize("scope", ["linkage", "survey", "all"])
def test_who_refused_is_handed_on_to_nobody(linked: World, tmp_path: Path, scope: str) -> None:
    """Nothing leaves while the refusal waits; afterwards no file has the child's answers."""
    world, uid = linked, "CA00000004"
    payload = ("payload_primary", "payload_secondary")
    kinds = ("survey_ids", "index_return_survey", *payload, "admin_ids_sw", "read_through")
    before = {kind: rows_of(file) for kind, file in export(world, tmp_path / "a", *kinds).items()}
    assert uid in {row["survey_uid"] for row in before["survey_ids"]}
    write_csv(
        world.path("opt_outs"), [{"survey_uid": uid, "scope": scope, "received_on": "2016-01-01"}]
    )
    world.deliver()
    with pytest.raises(InputError, match="Opt-outs are not applied"):
        export(world, tmp_path / "waits", *kinds)
    assert not (tmp_path / "waits").exists()
    take_all(world)
    link_all(world)
    after = {kind: rows_of(file) for kind, file in export(world, tmp_path / "b", *kinds).items()}
    assert uid not in {row["survey_uid"] for row in after["survey_ids"]}
    numbers = {row["index_survey"] for row in after["index_return_survey"]}
    assert {row["index_survey"] for row in after["read_through"]} - {""} <= numbers
    for together in (("survey_ids",), ("index_return_survey",), payload, ("read_through",)):
        counts = [sum(len(rows[kind]) for kind in together) for rows in (before, after)]
        assert counts[1] == counts[0] - 1, together
    # A record that could be the child's, since it has no number and no link, stays here.
    with open_vault(world.home, read_only=True) as con:
        unlinked = {
            row[0]
            for row in con.execute(
                "select supplier_id from social_work_identifiers where scn is null and record_id "
                "not in (select n.record_id from index_numbers as n "
                "inner join read_through as r on r.index_social_work = n.index_no)"
            ).fetchall()
        }
    assert not unlinked & {row["record_id"] for row in after["admin_ids_sw"]}


def test_a_file_that_cannot_be_written_leaves_none(
    linked: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = [], pyarrow.csv.write_csv

    def full(table: Any, file: Path, options: Any) -> None:
        written.append(file)
        write(table, file, options)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyarrow.csv, "write_csv", full)
    with pytest.raises(OSError, match="No space"):
        export(linked, tmp_path / "out", "survey_ids", "admin_ids_edu", "read_through")
    assert len(written) == 2 and list((tmp_path / "out").iterdir()) == []
