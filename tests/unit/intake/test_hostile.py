"""The hostile set: no crash, nothing accepted in silence, nothing half done, no value told."""

from __future__ import annotations

import csv
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from rcs_assets.codebook import Codebook
from rcs_assets.intake.desk import Desk
from rcs_assets.intake.drop import deliver
from rcs_assets.intake.receipts import Receipt
from rcs_assets.intake.take import check_ledger, take, take_education, take_social_work
from rcs_assets.programme import Programme, write_simulated_manifest
from rcs_assets.simulate.hostile import KINDS, Kind, make_hostile
from tests.unit.intake.conftest import AS_OF, CANARIES, ENGAGEMENT, World, make_world, write_csv

# Datasets in an order in which no hostile file stands before one that needs a good one.
ORDER = (
    "primary_survey",
    "service_map",
    "education_payload",
    "social_work_payload",
    "education_ids",
    "sample_file",
    "opt_outs",
)
SMALL = sorted(
    (kind for kind in KINDS.values() if not kind.is_big), key=lambda kind: ORDER.index(kind.dataset)
)


@dataclass(frozen=True)
class Caught:
    """What intake did with one kind."""

    outcome: str
    message: str
    receipt: Receipt | None
    rows_n: int


@pytest.fixture(scope="module")
def caught(
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    programme: Programme,
    codebook: Codebook,
) -> dict[str, Caught]:
    """Every kind but the big ones, delivered and taken in, one after the other."""
    base = tmp_path_factory.mktemp("hostile")
    shutil.copytree(template, base, dirs_exist_ok=True)
    world = make_world(base, programme, codebook)
    opt_outs = [{"survey_uid": "CA00000002", "scope": "survey", "received_on": "2015-09-01"}]
    write_csv(world.path("opt_outs"), opt_outs)
    write_csv(world.path("social_work_payload"), _cases(world))
    world.deliver()
    sources = {kind.dataset: world.path(kind.dataset) for kind in SMALL}
    files = make_hostile(sources, base / "hostile")
    with world.desk() as desk:
        take(desk, "opt_outs", ENGAGEMENT)
        take(desk, "sample_file", ENGAGEMENT)
        return {kind.kind: _catch(world, desk, kind, files[kind.kind]) for kind in SMALL}


def _cases(world: World) -> list[dict[str, str]]:
    with world.path("social_work_payload").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _catch(world: World, desk: Desk, kind: Kind, file: Path) -> Caught:
    write_simulated_manifest(file.parent, [file], 1)
    (outcome, *others) = deliver(
        world.home, [file], world.programme, world.codebook, received_on=AS_OF
    )
    refused = [one for one in (outcome, *others) if one.status == "refused"]
    if refused:
        return Caught("refused", refused[0].message, None, 0)
    receipt = _take(desk, kind.dataset)
    check_ledger(desk, ENGAGEMENT)
    return Caught(receipt.status, receipt.reason, receipt, _rows(desk, kind.dataset, receipt))


def _take(desk: Desk, dataset: str) -> Receipt:
    if dataset in ("education_ids", "education_payload"):
        return take_education(desk, ENGAGEMENT)[dataset == "education_payload"]
    if dataset == "social_work_payload":
        return take_social_work(desk, ENGAGEMENT)[1]
    receipt = take(desk, dataset, ENGAGEMENT)
    assert receipt is not None
    return receipt


def _rows(desk: Desk, dataset: str, receipt: Receipt) -> int:
    """Rows of the dataset's table, and none of another file than this one."""
    in_vault = {"opt_outs": "opt_outs", "education_ids": "education_identifiers"}.get(dataset)
    table = {
        "sample_file": "sample",
        "education_payload": "education",
        "social_work_payload": "social_work",
    }.get(dataset, dataset)
    if in_vault:
        return desk.vault.execute(f"select count(*) from {in_vault}").fetchall()[0][0]
    aside = desk.warehouse.execute(
        "select count(distinct row_number) from intake.quarantine where dataset = ? "
        "and file_sha256 = ?",
        [dataset, receipt.sha256],
    ).fetchall()[0][0]
    assert aside == receipt.quarantined_n
    return desk.warehouse.execute(f"select count(*) from intake.{table}").fetchall()[0][0]


def test_the_set_is_large_enough() -> None:
    assert len(KINDS) >= 60
    assert len({kind.make for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.kind)
def test_kind(caught: dict[str, Caught], kind: Kind) -> None:
    found = caught[kind.kind]
    assert not any(value in found.message for value in CANARIES)
    receipt = found.receipt
    if kind.expected == "refused":
        assert found.outcome in ("refused", "rejected"), receipt
        assert "Where:" in found.message and "What to do:" in found.message
        assert receipt is None or (receipt.accepted_n, found.rows_n) == (0, 0)
        return
    assert found.outcome == "accepted", found.message
    assert receipt is not None
    assert receipt.accepted_n == found.rows_n
    if kind.expected == "quarantined":
        assert kind.rule in receipt.reasons
        assert receipt.quarantined_n >= 1
    else:
        assert receipt.quarantined_n == 0 and receipt.received_n >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in KINDS.values() if k.is_big], ids=lambda k: k.kind)
def test_big_kind(delivered: World, kind: Kind, tmp_path: Path) -> None:
    """A gigabyte without line breaks is refused at the door or at the desk, in little memory."""
    world = delivered
    good = {"sample_file": world.path("sample_file")}
    file = make_hostile(good, tmp_path / "hostile", [kind.kind])[kind.kind]
    write_simulated_manifest(file.parent, [file], 1)
    outcome = deliver(world.home, [file], world.programme, world.codebook)[0]
    found = outcome.message
    if outcome.status == "registered":
        receipt = world.take("sample_file")
        assert (receipt.status, receipt.accepted_n) == ("rejected", 0)
        found = receipt.reason
    assert "What to do:" in found
    assert "xxx" not in found
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20
