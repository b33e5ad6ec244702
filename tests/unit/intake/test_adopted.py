"""Another questionnaire is adopted as data: the Health and Wellbeing Census, from its own lists.

Belongs here: docs/how-to/adopt-another-questionnaire.md, and a delivery of it through intake.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from rcs_assets import cli
from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.hwb import adopt
from rcs_assets.codebook.versions import versions_of
from rcs_assets.errors import InputError
from rcs_assets.intake.take import take
from rcs_assets.programme import load_programme
from tests.acceptance.documentation import blocks, commands
from tests.unit.intake.conftest import World, survey_frame, write_sav

SCNS = ("123456785", "123456784")


STAGES = ("P5", "P6", "P7", "S1", "S2", "S3", "S4", "S5", "S6", "S4_SU")


def test_no_published_list_is_left_out(shared_reference: Path) -> None:
    names = (shared_reference / "questionnaires").glob("hwb_metadata_*_row_names.csv")
    assert {name.name.split("_", 2)[2].removesuffix("_row_names.csv") for name in names} == {
        stage.lower() for stage in STAGES
    }


@pytest.mark.parametrize("stage", STAGES)
def test_every_list_loads_through_the_codebook(
    shared_reference: Path, tmp_path: Path, stage: str
) -> None:
    found = adopt(
        shared_reference / "questionnaires", stage, "t4", load_codebook(), tmp_path / "config"
    )
    codebook = load_codebook(tmp_path / "config")
    version = codebook.questionnaires[found.version]
    assert len(version.variables) == found.variables_n >= (80 if stage == "S4_SU" else 90)
    names = {asked.supplier_name for asked in version.variables}
    assert not names & {"scn", "school_name", "take_part", "hwb_la"}
    assert version.uid_name == ("submission" if stage == "S4_SU" else "scn")
    assert {v.stages for v in codebook.variables.values() if v.name.startswith("hwb_")} == {
        (stage.removesuffix("_SU"),)
    }
    routed = {v.name for v in codebook.variables.values() if v.routing and "hwb_" in v.name}
    assert len(routed) + len(found.unrouted) >= 12


def test_the_steps_of_the_page_and_a_delivery(
    world: World, shared_reference: Path, repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = repo_root / "docs" / "how-to" / "adopt-another-questionnaire.md"
    for words in commands(page, "rcs"):
        places = {"../shared/reference/questionnaires": shared_reference / "questionnaires"}
        places |= {"config": world.home.config}
        assert cli.main([str(places.get(word, word)) for word in words[1:]]) == 0
    assert "Wrote t4-hwb-p5 with 97 questions" in capsys.readouterr().out
    _registers(world, page, "primary", "P5")
    adopted = replace(
        world,
        codebook=load_codebook(world.home.config),
        programme=load_programme(world.home.config),
        settings=replace(world.settings, as_of=date(2021, 2, 1)),
    )
    kept, uids = _deliver(adopted, SCNS)
    # Only who was asked whether the bullying was reported says what came of it: -6 is repaired.
    assert kept == [(1, 1, 1), (2, -6, -6)]
    assert uids == [(scn,) for scn in sorted(SCNS)]
    columns = world.rows(
        "select column_name from information_schema.columns where table_name = 'primary_survey'"
    )
    assert ("scn",) not in columns


def test_a_version_that_was_adopted_stands_in_the_order_of_tranches(
    shared_reference: Path, tmp_path: Path
) -> None:
    """The contract: the wave is the number of the tranche; versions are compared in its order."""
    lists = shared_reference / "questionnaires"
    adopt(lists, "P5", "t4", load_codebook(), tmp_path / "config")
    codebook = load_codebook(tmp_path / "config")
    assert codebook.questionnaire_for("t4", "primary").wave == 4
    order = [version.tranche for version in versions_of(codebook, "primary")]
    assert order == ["t1", "t2", "t3", "t4"]
    with pytest.raises(InputError, match="no key of a tranche"):
        adopt(lists, "P5", "fourth", load_codebook(), tmp_path / "other")


def test_answers_that_know_nobody_are_taken_in_and_linked_to_nobody(
    world: World, shared_reference: Path, repo_root: Path
) -> None:
    """domain.md 1.5: the Census kept its questions on substances without SCN."""
    lists = shared_reference / "questionnaires"
    adopt(lists, "S4_SU", "t4", load_codebook(), world.home.config)
    page = repo_root / "docs" / "how-to" / "adopt-another-questionnaire.md"
    _registers(world, page, "secondary", "S4")
    adopted = replace(
        world,
        codebook=load_codebook(world.home.config),
        programme=load_programme(world.home.config),
        settings=replace(world.settings, as_of=date(2021, 2, 1)),
    )
    questionnaire = adopted.codebook.questionnaire_for("t4", "secondary")
    frame = survey_frame(questionnaire, ("1", "2"))
    adopted.deliver(write_sav(adopted.folder / "t4-moray_secondary-survey.sav", frame))
    with adopted.desk() as desk:
        receipt = take(desk, "secondary_survey", "t4-moray")
    assert receipt is not None and (receipt.reason, receipt.accepted_n) == ("", 2)
    assert adopted.rows("select count(hwb_s4_su_sex) from intake.secondary_survey") == [(2,)]


def _registers(world: World, page: Path, survey: str, stage: str) -> None:
    """The rows of docs/how-to/add-a-tranche.md but for its questionnaire version; one stage."""
    tranche = page.with_name("add-a-tranche.md")
    names = re.findall(r"`config/(\w+\.csv)`", tranche.read_text(encoding="utf-8"))
    listed = dict(zip(names, blocks(tranche, "csv"), strict=True))
    del listed["questionnaires.csv"]
    for name, text in listed.items():
        asked = text.replace(",primary,", f",{survey},").replace("P5;P6;P7", stage)
        (world.home.config / name).write_text(asked, encoding="utf-8")


def _deliver(world: World, scns: Sequence[str]) -> tuple[list[tuple], list[tuple]]:
    questionnaire = world.codebook.questionnaire_for("t4", "primary")
    frame = survey_frame(questionnaire, scns, hwb_p5_bullied_last_year=[1, 2])
    world.deliver(write_sav(world.folder / "t4-moray_primary-survey.sav", frame))
    with world.desk() as desk:
        receipt = take(desk, "primary_survey", "t4-moray")
    assert receipt is not None
    assert (receipt.reason, receipt.accepted_n) == ("", 2)
    kept = world.rows(
        "select hwb_p5_bullied_last_year, hwb_p5_bullying_reported, "
        "hwb_p5_bullying_reported_outcome from intake.primary_survey order by all"
    )
    return kept, world.vault_rows("select uid from survey_identifiers order by all")


def test_an_overlay_that_is_there_is_not_written_over(
    shared_reference: Path, tmp_path: Path
) -> None:
    (tmp_path / "variables.csv").write_text("name\n")
    with pytest.raises(InputError, match="There is an overlay already"):
        adopt(shared_reference / "questionnaires", "P5", "t4", load_codebook(), tmp_path)
    with pytest.raises(InputError, match="There is no question list"):
        adopt(tmp_path, "P5", "t4", load_codebook(), tmp_path / "new")
