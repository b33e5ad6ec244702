"""How-tos of the codebook and the register: exactly their rows, laid into a home, then a delivery.

Belongs here: docs/how-to/add-an-item.md, add-a-questionnaire-version.md, add-a-tranche.md. Does
not belong here: how-tos that publish (tests/acceptance/test_how_to.py).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from rcs_assets import cli
from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.versions import comparability, not_comparable
from rcs_assets.intake.receipts import ReceiptStatus
from rcs_assets.intake.take import take
from rcs_assets.programme import load_programme
from tests.acceptance.documentation import blocks, commands
from tests.unit.intake.conftest import World, pupils, survey_frame, write_csv, write_sav

UIDS = [pupil["survey_uid"] for pupil in pupils()[:3]]


def _followed(world: World, page: Path) -> World:
    """The world with the rows of a page in its home's config, and registers that have them."""
    names = re.findall(r"`config/(\w+\.csv)`", page.read_text(encoding="utf-8"))
    for name, rows in zip(names, blocks(page, "csv"), strict=True):
        (world.home.config / name).write_text(rows, encoding="utf-8")
    codebook, programme = load_codebook(world.home.config), load_programme(world.home.config)
    return World(world.home, programme, codebook, world.settings, world.folder)


def _run(world: World, page: Path, capsys: pytest.CaptureFixture[str]) -> str:
    for words in commands(page, "rcs"):
        typed = [str(world.folder / w) if w == "contracts" and words[-1] is w else w for w in words]
        assert cli.main([*typed[1:], "--home", str(world.home.path)]) == 0
    return capsys.readouterr().out


def test_add_an_item(delivered: World, repo_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = repo_root / "docs" / "how-to" / "add-an-item.md"
    world = _followed(delivered, page)
    asked = {
        version: {used.variable for used in questionnaire.variables}
        for version, questionnaire in world.codebook.questionnaires.items()
    }
    assert [v for v in asked if "walks_to_school" in asked[v]] == ["t3-primary"]
    world.take("sample_file")
    assert world.take("primary_survey").accepted_n == 3
    # -4 is `Data not collected`: this tranche was not asked.
    kept = world.rows("select distinct walks_to_school from intake.primary_survey")
    assert kept == [(-4,)]
    said = _run(world, page, capsys)
    assert "t2-primary → t3-primary  walks_to_school  asked (breaks comparability)" in said
    contract = (world.folder / "contracts" / "primary_survey.t3-primary.odcs.yaml").read_text()
    assert "physicalName: walkstoschool" in contract


def test_add_a_questionnaire_version(
    delivered: World, repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = repo_root / "docs" / "how-to" / "add-a-questionnaire-version.md"
    world = _followed(delivered, page)
    said = _run(world, page, capsys)
    change = "t3-primary → t4-primary  bullied_last_year"
    assert f"{change}  name (mapped): bulliedlastyear → bulliedpastyear" in said
    assert f"{change}  codes (mapped): 0: 0 → 2" in said
    assert "happy_at_school  reworded (breaks comparability)" in said
    assert "1 indicators not comparable throughout" in said
    main, long = world.codebook.questionnaire_for("t4", "primary").forms
    assert "bullied_last_year" in main.left_out
    assert (long.stages, long.left_out) == (("P7",), frozenset())
    broken = [n for n, flag in comparability(world.codebook).items() if "not" in flag]
    assert len(broken) == 1
    assert broken[0] in not_comparable(world.codebook, {"t1", "t4"})
    assert broken[0] not in not_comparable(world.codebook, {"t1", "t3"})


def test_add_a_tranche(
    delivered: World, repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its delivery is registered, read by its own questionnaire version, and taken in."""
    page = repo_root / "docs" / "how-to" / "add-a-tranche.md"
    file = delivered.folder / "t4-moray_primary-survey.sav"
    outcomes = delivered.deliver(write_csv(file, [{"serial": "CA00000001"}]))
    assert {outcome.status for outcome in outcomes} == {"refused"}
    world = _followed(delivered, page)
    world = replace(world, settings=replace(world.settings, as_of=date(2021, 2, 1)))
    questionnaire = world.codebook.questionnaire_for("t4", "primary")
    frame = survey_frame(questionnaire, UIDS)
    (outcome,) = world.deliver(write_sav(file, frame))
    assert outcome.status == "registered"
    with world.desk() as desk:
        receipt = take(desk, "primary_survey", "t4-moray")
    assert receipt is not None
    assert (receipt.status, receipt.accepted_n) == (ReceiptStatus.ACCEPTED, 3)
    versions = world.rows(
        "select distinct questionnaire from intake.primary_survey where engagement = 't4-moray'"
    )
    assert versions == [("t4-primary",)]
    assert "t4-moray" in _run(world, page, capsys)
