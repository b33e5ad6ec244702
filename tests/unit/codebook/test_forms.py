"""Forms of a questionnaire version: who was given which questions, as data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.errors import ConfigurationError
from tests.unit.codebook.test_rules import DATA, Cells, write_overlay

COMBINED = {"questionnaire": "t1-secondary", "form": "combined"}


@pytest.mark.parametrize("tranche", ["t1", "t3"])
def test_some_of_s2_and_s4_have_the_combined_questionnaire(tranche: str) -> None:
    """domain.md 1.1: combined with SALSUS for some pupils of S2 and S4, the main one for others."""
    codebook = load_codebook()
    version = codebook.questionnaire_for(tranche, "secondary")
    main, combined = version.forms
    assert (main.name, main.stages) == ("main", ("S1", "S2", "S3", "S4"))
    assert (combined.name, combined.stages) == ("combined", ("S2", "S4"))
    asked = {v.variable for v in version.variables}
    of_salsus = {n for n in asked if codebook.variables[n].theme.startswith("substance")}
    assert len(of_salsus) == 47
    assert main.left_out == of_salsus
    assert combined.left_out == frozenset()


def test_between_two_waves_of_salsus_there_is_one_form() -> None:
    assert load_codebook().questionnaire_for("t2", "secondary").forms == ()


def test_forms_that_a_file_does_not_tell_apart_are_off(tmp_path: Path) -> None:
    for form in ("main", "combined"):
        row = {"questionnaire": "t1-secondary", "form": form}
        write_overlay(tmp_path, "forms.csv", row, {"supplier_name": ""})
    version = load_codebook(tmp_path).questionnaire_for("t1", "secondary")
    assert (version.form_name, version.forms) == ("", ())


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"questionnaire": "t9-secondary"}, "questionnaire"),
        ({"supplier_name": "VERSION"}, "supplier_name"),
        ({"supplier_name": ""}, "supplier_name"),
        ({"supplier_code": "1"}, "supplier_code"),
        ({"supplier_code": "two"}, "supplier_code"),
        ({"title": ""}, "title"),
        ({"stages": "P7"}, "stages"),
        ({"stages": ""}, "stages"),
        ({"left_out": "smoking"}, "left_out"),
        ({"source": ""}, "source"),
        ({"questionnaire": "t2-secondary"}, "form"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, changes: Cells, column: str) -> None:
    folder = write_overlay(tmp_path, "forms.csv", COMBINED, changes)
    with pytest.raises(ConfigurationError) as caught:
        load_codebook(folder)
    message = str(caught.value)
    assert "forms.csv" in message
    assert f"column {column}" in message


def test_a_stage_that_no_form_is_given_to_is_named(tmp_path: Path) -> None:
    main = {"questionnaire": "t1-secondary", "form": "main"}
    folder = write_overlay(tmp_path, "forms.csv", main, {"stages": "S1;S4"})
    with pytest.raises(ConfigurationError, match=r"asks S3, which no form is given to") as caught:
        load_codebook(folder)
    assert "column stages" in caught.value.where


def test_the_column_of_the_form_is_no_question(tmp_path: Path) -> None:
    for form in ("main", "combined"):
        row = {"questionnaire": "t1-secondary", "form": form}
        write_overlay(tmp_path, "forms.csv", row, {"supplier_name": "q44_1"})
    with pytest.raises(ConfigurationError, match="a question has this name too"):
        load_codebook(tmp_path)


def test_a_codebook_that_was_kept_before_a_file_was_there_still_reads(tmp_path: Path) -> None:
    kept = tmp_path / "platform"
    shutil.copytree(DATA, kept)
    for later in ("forms.csv", "ordered_answers.csv"):
        (kept / later).unlink()
    codebook = load_codebook(tmp_path / "overlay", kept)
    assert codebook.questionnaire_for("t1", "secondary").forms == ()
    assert not codebook.value_sets["agree5"].is_ordered
    assert len(codebook.variables) == len(load_codebook().variables)
