"""The drop register: what is registered, what is refused and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.intake.drop import (
    DeliveryStatus,
    current_deliveries,
    deliver,
    engagements_in_scope,
    opened,
    read_register,
)
from rcs_assets.programme import write_simulated_manifest
from rcs_assets.storage import Home
from tests.unit.intake.conftest import (
    AS_OF,
    ENGAGEMENT,
    World,
    pupils,
    services,
    write_csv,
    write_xlsx,
)

KEY = ("sample_file", ENGAGEMENT)


def sample(world: World, rows: int = 6) -> Path:
    return write_csv(world.path("sample_file"), pupils()[:rows])


def refused(world: World, path: Path, *, is_known: bool = True) -> str:
    outcome = world.deliver(path)[0]
    assert outcome.status == DeliveryStatus.REFUSED
    # What the sensor says is kept: a name that the contracts do not know can be a child's.
    assert (path.stem in outcome.message) == is_known
    assert outcome.file == path.name
    assert "Why:" in outcome.message and "What to do:" in outcome.message
    return outcome.message


def test_a_delivery_is_copied_and_recorded(world: World) -> None:
    path = sample(world)
    outcome = world.deliver(path)[0]
    assert (outcome.status, outcome.dataset, outcome.engagement) == ("registered", *KEY)
    held = current_deliveries(world.home)[KEY]
    copy = held.path(world.home)
    assert path.read_bytes() not in copy.read_bytes()
    with opened(world.home, held) as plain:
        assert (plain.name, plain.read_bytes()) == (path.name, path.read_bytes())
    assert not plain.exists()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (held.seq, held.received_on, held.is_simulated) == (1, AS_OF.isoformat(), True)
    assert held.bytes_n == path.stat().st_size
    assert engagements_in_scope(world.home, world.programme) == (ENGAGEMENT,)


def test_the_same_bytes_change_nothing(world: World) -> None:
    path = sample(world)
    world.deliver(path)
    before = world.home.register.read_bytes()
    path.touch()
    assert world.deliver(path)[0].status == DeliveryStatus.UNCHANGED
    assert world.home.register.read_bytes() == before


def test_a_newer_file_takes_the_place_and_an_older_one_can_come_back(world: World) -> None:
    world.deliver(sample(world))
    first = current_deliveries(world.home)[KEY]
    world.deliver(sample(world, rows=5))
    assert current_deliveries(world.home)[KEY].sha256 != first.sha256
    assert world.deliver(sample(world))[0].status == DeliveryStatus.REGISTERED
    assert current_deliveries(world.home)[KEY].sha256 == first.sha256
    assert [line.seq for line in read_register(world.home)] == [1, 2, 3]


def test_a_folder_means_its_files_and_one_refusal_stops_nothing(world: World) -> None:
    sample(world)
    (world.folder / "notes.csv").write_text("a\n1\n")
    (world.folder / "older").mkdir()
    (world.folder / "older" / "inner.csv").write_text("a\n")
    files = [p for p in world.folder.iterdir() if p.is_file()]
    write_simulated_manifest(world.folder, files, 1)
    outcomes = deliver(world.home, [world.folder], world.programme, world.codebook)
    assert {o.file: str(o.status) for o in outcomes} == {
        "notes.csv": "refused",
        world.path("sample_file").name: "registered",
    }


def test_a_folder_without_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files" / "deeper").mkdir(parents=True)
    words = ["deliver", "--home", str(tmp_path / "home"), "--profile", "demo"]
    assert main([*words, str(tmp_path / "files")]) == 1
    assert "There is no file to deliver" in capsys.readouterr().err


@pytest.mark.parametrize("profile", ["demo", "production"])
def test_a_path_without_a_file_makes_no_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert main(["deliver", *home, "--profile", profile, str(tmp_path / "nope.csv")]) == 1
    said = capsys.readouterr().err
    assert "There is no file to deliver" in said and "nope.csv" in said
    assert main(["status", *home]) == 1
    assert "There is no installation here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_path_without_a_file_stops_no_other(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sample(world)
    write_simulated_manifest(world.folder, [path], 1)
    nope = str(world.folder / "nope.csv")
    assert main(["deliver", "--home", str(world.home.path), nope, str(path)]) == 1
    said = capsys.readouterr()
    assert "1 new of 2 files" in said.out
    assert "There is no such file" in said.err and "nope.csv" in said.err


def test_incoming_files_are_removed_once_registered(world: World) -> None:
    inside = World(world.home, world.programme, world.codebook, world.settings, world.home.incoming)
    path = write_csv(inside.path("sample_file"), pupils())
    assert inside.deliver()[0].status == DeliveryStatus.REGISTERED
    assert not path.exists()
    assert list(world.home.incoming.iterdir()) == []


def test_unknown_file(world: World) -> None:
    path = world.folder / "pupils-final-v2.csv"
    path.write_text("a\n1\n")
    message = refused(world, path, is_known=False)
    assert "The file is not known" in message and "t1-west-lothian_sample-file.csv" in message


@pytest.mark.parametrize("name", ["Jane Doe.csv", "Jane Doe.zip", "Jane Doe", "t1-jane-doe.csv"])
def test_the_name_of_a_foreign_file_is_in_no_message_whatever_is_wrong(
    world: World, name: str
) -> None:
    path = world.folder / name
    path.write_text("a\n1\n")
    unsigned = deliver(world.home, [path], world.programme, world.codebook)
    gone = deliver(world.home, [world.folder / f"x {name}"], world.programme, world.codebook)
    for outcome in (*world.deliver(path), *unsigned, *gone):
        assert outcome.status == DeliveryStatus.REFUSED
        assert "a file whose name the contracts do not know" in outcome.message
        assert "doe" not in outcome.message.lower()


def test_an_archive_is_named_where_the_contracts_know_its_name(world: World) -> None:
    path = world.path("service_map").with_suffix(".zip")
    path.write_bytes(b"PK")
    assert f"file {path.name}" in refused(world, path)


def test_the_operator_is_told_the_name_that_he_typed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.folder / "Jane Doe.csv"
    path.write_text("a\n1\n")
    write_simulated_manifest(world.folder, [path], 1)
    assert main(["deliver", "--home", str(world.home.path), str(path)]) == 1
    assert "rcs: Jane Doe.csv: The file is not known" in capsys.readouterr().err


def test_wrong_tranche_names_the_engagement_that_was_meant(world: World) -> None:
    path = write_csv(world.path("sample_file", "t2-clackmannanshire"), pupils())
    message = refused(world, path, is_known=False)
    assert "tranche is wrong" in message
    assert "t1-clackmannanshire_sample-file.csv" in message


def test_unknown_engagement(world: World) -> None:
    path = write_csv(world.path("sample_file", "t1-atlantis"), pupils())
    assert "t1-west-lothian" in refused(world, path, is_known=False)


def test_unsupported_format(world: World) -> None:
    path = write_xlsx(world.folder / f"{ENGAGEMENT}_sample-file.ods", pupils())
    assert "it comes as csv or xlsx" in refused(world, path, is_known=False)


def test_no_such_wave(world: World) -> None:
    path = world.path("parent_survey", "t3-moray")
    path.write_bytes(b"$FL2")
    assert "no parent survey" in refused(world, path)


def test_no_such_file(world: World) -> None:
    assert "no such file" in world.deliver(world.path("sample_file"))[0].message


def test_empty_file(world: World) -> None:
    path = world.path("sample_file")
    path.touch()
    assert "The file is empty" in refused(world, path)


def test_truncated_csv(world: World) -> None:
    path = sample(world)
    path.write_bytes(path.read_bytes()[:-9])
    assert "truncated" in refused(world, path)


def test_truncated_workbook(world: World) -> None:
    path = write_xlsx(world.path("service_map"), services())
    path.write_bytes(path.read_bytes()[:-200])
    assert "truncated or damaged" in refused(world, path)


def test_truncated_sav_header_and_wrong_content(world: World) -> None:
    path = world.survey("primary", ["CA00000001"])
    path.write_bytes(path.read_bytes()[:400])
    assert "truncated or damaged" in refused(world, path)
    path.write_text("a,b\n1,2\n")
    assert "does not fit the file's ending" in refused(world, path)
    other = world.path("sample_file")
    other.write_bytes(b"PK\x03\x04rest\n")
    assert "does not fit the file's ending" in refused(world, other)


def test_a_refused_file_is_not_kept_but_holds_until_a_good_one_comes(world: World) -> None:
    path = sample(world)
    world.deliver(path)
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    refused(world, path)
    held = current_deliveries(world.home)[KEY]
    assert "truncated" in held.refused
    assert not held.path(world.home).exists()
    path.write_bytes(good)
    assert world.deliver(path)[0].status == DeliveryStatus.REGISTERED
    assert not current_deliveries(world.home)[KEY].refused


def test_demo_refuses_what_the_simulator_did_not_sign(world: World) -> None:
    path = sample(world)
    world.deliver(path)
    path.write_bytes(path.read_bytes().replace(b"Surname2", b"Surname9"))
    outcome = deliver(world.home, [path], world.programme, world.codebook)[0]
    assert outcome.status == DeliveryStatus.REFUSED
    assert "demo profile refuses" in outcome.message
    assert len(read_register(world.home)) == 1


@pytest.mark.parametrize("change", ["name", "seed"])
def test_a_changed_list_of_simulated_files_is_not_trusted(world: World, change: str) -> None:
    path = sample(world)
    world.deliver(path)
    manifest = world.folder / "SIMULATED.json"
    content = json.loads(manifest.read_text())
    if change == "name":
        content["files"][0]["name"] = "other.csv"
    else:
        content["seed"] = 2
    manifest.write_text(json.dumps(content))
    outcome = deliver(world.home, [path], world.programme, world.codebook)[0]
    assert "cannot be trusted" in outcome.message


def test_production_takes_unsigned_files_as_real(world: World, tmp_path: Path) -> None:
    home = Home.open(tmp_path / "production", profile="production")
    deliver(home, [sample(world)], world.programme, world.codebook)
    assert current_deliveries(home)[KEY].is_simulated is False
