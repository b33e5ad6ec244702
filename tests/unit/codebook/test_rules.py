"""What an overlay may change in the codebook, and what is refused with which message.

Belongs here: tests of the cross-checks, each by one changed row. Does not belong here: the
content of the shipped data files (`test_load.py`).
"""

from __future__ import annotations

import csv
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.load import COLUMNS
from rcs_assets.errors import ConfigurationError

DATA = Path(__file__).parents[3] / "rcs_assets" / "codebook" / "data"
Cells = dict[str, str]


def write_overlay(folder: Path, file: str, row: Cells, changes: Cells) -> Path:
    """An overlay with one row: the default row that has the cells of `row`, changed."""
    with (DATA / file).open(encoding="utf-8", newline="") as stream:
        default = next(r for r in csv.DictReader(stream) if row.items() <= r.items())
    path = folder / file
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS[file])
        if is_new:
            writer.writeheader()
        writer.writerow({**default, **changes})
    return folder


def test_overlay_adds_an_indicator(tmp_path: Path) -> None:
    row = {"name": "primary_happy_at_school"}
    changes = {"name": "primary_proud", "title": "Proud of things", "variables": "proud_of_things"}
    codebook = load_codebook(write_overlay(tmp_path, "indicators.csv", row, changes))
    added = codebook.indicators["primary_proud"]
    assert added.rule.variables == ("proud_of_things",)
    assert list(codebook.indicators)[-1] == "primary_proud"
    assert set(codebook.indicators) - set(load_codebook().indicators) == {"primary_proud"}
    assert codebook.version != load_codebook().version


def test_overlay_replaces_a_cut_in_place(tmp_path: Path) -> None:
    folder = write_overlay(tmp_path, "cutoff_sets.csv", {"name": "wemwbs_positive"}, {"cut": "60"})
    with pytest.raises(ConfigurationError, match="not the cut-off 60 of wemwbs_positive") as told:
        load_codebook(folder)
    assert told.value.where.endswith("column definition")
    row = {"name": "secondary_positive_wellbeing"}
    write_overlay(tmp_path, "indicators.csv", row, {"definition": "WEMWBS at or above 60"})
    codebook = load_codebook(folder)
    assert codebook.cutoff_sets["wemwbs_positive"].cut == 60
    assert list(codebook.cutoff_sets) == list(load_codebook().cutoff_sets)


def test_overlay_adds_a_question_with_its_supplier_names(tmp_path: Path) -> None:
    new = {"name": "likes_school_meals", "label": "Likes school meals"}
    write_overlay(tmp_path, "variables.csv", {"name": "happy_at_school"}, new)
    for naming in ("scotcen", "ipsos"):
        named = {"variable": "likes_school_meals", "supplier_name": "LIKEMEALS"}
        row = {"naming": naming, "variable": "happy_at_school"}
        write_overlay(tmp_path, "supplier_names.csv", row, named)
    codebook = load_codebook(tmp_path)
    asked = codebook.questionnaire_for("t3", "secondary").variables[-1]
    assert (asked.variable, asked.supplier_name) == ("likes_school_meals", "LIKEMEALS")


def test_a_question_that_a_version_did_not_ask_may_be_told_so(tmp_path: Path) -> None:
    new = {"name": "likes_school_meals", "label": "Likes school meals"}
    write_overlay(tmp_path, "variables.csv", {"name": "happy_at_school"}, new)
    with pytest.raises(ConfigurationError, match=r"version_changes\.csv with `not_asked`"):
        load_codebook(tmp_path)


INDICATOR = {"name": "secondary_happy_at_school"}
RANGE = {"name": "secondary_sdq_very_high_emotional"}
LAST_BAND = {"score": "sdq_total", "bands": "4", "number": "4"}


@pytest.mark.parametrize(
    ("file", "row", "changes", "column"),
    [
        # indicators
        ("indicators.csv", INDICATOR, {"variables": "no_such_variable"}, "variables"),
        ("indicators.csv", INDICATOR, {"variables": "life_1"}, "variables"),
        (
            "indicators.csv",
            INDICATOR,
            {"variables": "happy_at_school;teachers_listen"},
            "variables",
        ),
        ("indicators.csv", INDICATOR, {"positive_codes": "7"}, "positive_codes"),
        ("indicators.csv", INDICATOR, {"positive_codes": ""}, "positive_codes"),
        ("indicators.csv", INDICATOR, {"positive_codes": "four"}, "positive_codes"),
        ("indicators.csv", INDICATOR, {"base_codes": "1;2"}, "base_codes"),
        ("indicators.csv", INDICATOR, {"stages": ""}, "stages"),
        ("indicators.csv", INDICATOR, {"stages": "P7"}, "stages"),
        ("indicators.csv", INDICATOR, {"survey": "tertiary"}, "survey"),
        ("indicators.csv", INDICATOR, {"name": "happy"}, "name"),
        ("indicators.csv", INDICATOR, {"domain": "wealthy"}, "domain"),
        ("indicators.csv", INDICATOR, {"direction": "up"}, "direction"),
        ("indicators.csv", INDICATOR, {"statistic": "mean"}, "statistic"),
        ("indicators.csv", INDICATOR, {"rule": "mean"}, "positive_codes"),
        ("indicators.csv", INDICATOR, {"denominator": ""}, "denominator"),
        ("indicators.csv", INDICATOR, {"source": ""}, "source"),
        ("indicators.csv", RANGE, {"score": "sdq_unknown"}, "score"),
        ("indicators.csv", RANGE, {"upper": "11"}, "lower"),
        ("indicators.csv", RANGE, {"lower": "9", "upper": "8"}, "lower"),
        ("indicators.csv", RANGE, {"lower": ""}, "lower"),
        ("indicators.csv", RANGE, {"is_sensitive": "no"}, "is_sensitive"),
        ("indicators.csv", RANGE, {"instrument": "wemwbs"}, "instrument"),
        ("indicators.csv", RANGE, {"stages": ""}, "stages"),
        (
            "indicators.csv",
            {"name": "secondary_positive_wellbeing"},
            {"cutoff_set": "unknown"},
            "cutoff_set",
        ),
        ("indicators.csv", {"name": "secondary_wemwbs_mean"}, {"stages": "S1;S2"}, "stages"),
        (
            "indicators.csv",
            {"name": "secondary_young_carer"},
            {"is_sensitive": "no"},
            "is_sensitive",
        ),
        # cut-off sets
        ("cutoff_sets.csv", {"name": "low_mood"}, {"score": "happiness"}, "score"),
        ("cutoff_sets.csv", {"name": "low_mood"}, {"cut": "9"}, "cut"),
        ("cutoff_sets.csv", {"name": "low_mood"}, {"operator": "=>"}, "operator"),
        ("cutoff_sets.csv", {"name": "low_mood"}, {"dated": "once"}, "dated"),
        (
            "cutoff_sets.csv",
            {"name": "low_mood"},
            {"source_tranches": "t1;t9"},
            "source_tranches",
        ),
        # bands
        ("bands.csv", LAST_BAND, {"lower": "21"}, "lower"),
        ("bands.csv", LAST_BAND, {"lower": "19"}, "lower"),
        ("bands.csv", LAST_BAND, {"upper": "39"}, "upper"),
        ("bands.csv", LAST_BAND, {"number": "5"}, "lower"),
        ("bands.csv", LAST_BAND, {"score": "sdq_sum"}, "score"),
        ("bands.csv", LAST_BAND, {"bands": "5"}, "bands"),
        # scales, items, composites, conversions, instruments
        ("scales.csv", {"name": "sdq_peer"}, {"high": "12"}, "low"),
        ("scales.csv", {"name": "sdq_peer"}, {"min_answered": "6"}, "min_answered"),
        ("scales.csv", {"name": "sdq_peer"}, {"method": "median"}, "method"),
        ("scales.csv", {"name": "sdq_peer"}, {"conversion": "t_score"}, "conversion"),
        ("scales.csv", {"name": "sdq_peer"}, {"conversion": "swemwbs"}, "conversion"),
        ("scales.csv", {"name": "sdq_peer"}, {"name": "sdq_unknown"}, "name"),
        ("items.csv", {"variable": "sdq_7"}, {"maximum": "3"}, "minimum"),
        ("items.csv", {"variable": "sdq_7"}, {"is_reversed": "R"}, "is_reversed"),
        ("items.csv", {"variable": "sdq_7"}, {"variable": "sdq_26"}, "variable"),
        ("composites.csv", {"name": "sdq_total"}, {"scales": "sdq_peer"}, "scales"),
        ("composites.csv", {"name": "sdq_total"}, {"scales": "sdq_peer;wemwbs_total"}, "scales"),
        ("composites.csv", {"name": "sdq_total"}, {"scales": "sdq_peer;sdq_peer"}, "scales"),
        ("instruments.csv", {"name": "wemwbs"}, {"stages": "S1;S2"}, "stages"),
        ("instruments.csv", {"name": "wemwbs"}, {"surveys": "primary"}, "surveys"),
        # variables, value sets, missing codes, routing
        ("variables.csv", {"name": "happy_at_school"}, {"value_set": "agree7"}, "value_set"),
        ("variables.csv", {"name": "happy_at_school"}, {"stages": "P5"}, "stages"),
        ("variables.csv", {"name": "happy_at_school"}, {"surveys": "primary"}, "surveys"),
        ("variables.csv", {"name": "happy_at_school"}, {"name": "stage"}, "name"),
        ("variables.csv", {"name": "happy_at_school"}, {"name": "Happy"}, "name"),
        ("variables.csv", {"name": "happy_at_school"}, {"name": "simd_quintile"}, "name"),
        ("value_sets.csv", {"value_set": "yes_no", "code": "0"}, {"code": "-2"}, "code"),
        ("ordered_answers.csv", {"value_set": "agree5"}, {"value_set": "agree7"}, "value_set"),
        ("ordered_answers.csv", {"value_set": "agree5"}, {"source": ""}, "source"),
        ("missing_codes.csv", {"code": "-1"}, {"code": "5"}, "code"),
        ("missing_codes.csv", {"code": "-1"}, {"leaves_denominator": "1"}, "leaves_denominator"),
        ("routing.csv", {"variable": "bullying_reported"}, {"codes": "3"}, "codes"),
        ("routing.csv", {"variable": "bullying_reported"}, {"codes": ""}, "codes"),
        ("routing.csv", {"variable": "bullying_reported"}, {"asked_if": "unasked"}, "asked_if"),
        (
            "routing.csv",
            {"variable": "bullying_reported"},
            {"asked_if": "bullying_reported_outcome"},
            "asked_if",
        ),
        # questionnaires
        ("questionnaires.csv", {"name": "t1-primary"}, {"naming": "mori"}, "naming"),
        ("questionnaires.csv", {"name": "t1-primary"}, {"naming": "ipsos"}, "naming"),
        ("questionnaires.csv", {"name": "t1-primary"}, {"coding": "ipsos"}, "coding"),
        ("questionnaires.csv", {"name": "t1-primary"}, {"uid_name": "sdq01"}, None),
        ("questionnaires.csv", {"name": "t1-primary"}, {"uid_name": "happyatschool"}, "uid_name"),
        ("questionnaires.csv", {"name": "t1-primary"}, {"name": "copy"}, "tranche"),
        ("questionnaires.csv", {"name": "t1-primary"}, {"wave": "2"}, "wave"),
        (
            "supplier_names.csv",
            {"naming": "ipsos", "variable": "sdq_1"},
            {"supplier_name": "q2_1"},
            "supplier_name",
        ),
        (
            "codings.csv",
            {"coding": "ipsos", "value_set": "sdq3", "code": "2"},
            {"code": "1"},
            "code",
        ),
        (
            "codings.csv",
            {"coding": "ipsos", "value_set": "sdq3", "code": "2"},
            {"code": "3"},
            "code",
        ),
    ],
)
def test_one_changed_row(
    tmp_path: Path, file: str, row: Cells, changes: Cells, column: str | None
) -> None:
    """Each change breaks one rule, named with file, row, column, rule and fix; None breaks none."""
    folder = write_overlay(tmp_path, file, row, changes)
    if column is None:
        assert load_codebook(folder).version != load_codebook().version
        return
    with pytest.raises(ConfigurationError) as caught:
        load_codebook(folder)
    assert file in caught.value.where
    assert "row " in caught.value.where
    assert caught.value.where.endswith(f"column {column}")
    assert caught.value.why
    assert caught.value.fix


NAMED = {
    "variables.csv": "happy_at_school",
    "scales.csv": "stirling",
    "composites.csv": "sdq_total",
    "instruments.csv": "wemwbs",
    "indicators.csv": "primary_enjoys_learning",
}


@pytest.mark.parametrize("file", NAMED)
@pytest.mark.parametrize(
    "name",
    [
        "primary_o'brien's_view", "primary_two words", "primary_Capital", "primary_à", "1st",
        "order", "left", "primary_" + "a" * 57,
    ],
)  # fmt: skip
def test_a_name_that_only_sql_would_refuse(tmp_path: Path, file: str, name: str) -> None:
    """It becomes a column: the row is named before a model fails over it."""
    folder = write_overlay(tmp_path, file, {"name": NAMED[file]}, {"name": name})
    with pytest.raises(ConfigurationError) as caught:
        load_codebook(folder)
    assert caught.value.where == f"file {tmp_path.name}/{file}, row 2, column name"
    assert "survey" not in caught.value.why


@pytest.mark.parametrize("file", ["variables.csv", "scales.csv", "composites.csv"])
def test_a_name_of_a_technical_column_is_refused(tmp_path: Path, file: str) -> None:
    folder = write_overlay(tmp_path, file, {"name": NAMED[file]}, {"name": "weight"})
    with pytest.raises(ConfigurationError, match=r"has a column of this name"):
        load_codebook(folder)


def test_a_name_of_the_greatest_length_is_taken(tmp_path: Path) -> None:
    name = "primary_" + "a" * 56
    new = {"name": name}
    folder = write_overlay(tmp_path, "indicators.csv", {"name": NAMED["indicators.csv"]}, new)
    assert name in load_codebook(folder).indicators


def test_an_incomplete_conversion_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conversions.csv").write_text(
        "conversion,raw,metric,source\nt_score,0,1.5,x\n", encoding="utf-8"
    )
    write_overlay(tmp_path, "scales.csv", {"name": "sdq_peer"}, {"conversion": "t_score"})
    with pytest.raises(ConfigurationError, match="every raw score"):
        load_codebook(tmp_path)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"colour": "red"}, "colour"),
        ({"title": None}, "title"),
        ({"level": "planet"}, "level"),
        ({"formats": ["docx"]}, "formats"),
        ({"file_pattern": "(["}, "file_pattern"),
        ({"file_pattern": "^x$"}, "file_pattern"),
        ({"key": ["nothing"]}, "key"),
        ({"survey": "tertiary"}, "survey"),
        ({"required": "perhaps"}, "required"),
        ({"fields": {}}, "fields"),
        ({"fields": {"survey_uid": "uid"}}, "survey_uid"),
        ({"row_rules": ["stage"]}, "row_rules"),
        ({"row_rules": {"odd": "stage"}}, "odd"),
        ({"row_rules": {"odd": {"columns": ["stage", "sex"]}}}, "about"),
        ({"row_rules": {"odd": {"columns": ["stage"], "about": "x"}}}, "columns"),
        ({"row_rules": {"odd": {"columns": ["stage", "grade"], "about": "x"}}}, "columns"),
        (
            {"row_rules": {"odd": {"columns": ["stage", "sex"], "about": "x", "total": "all"}}},
            "total",
        ),
    ],
)
def test_one_changed_property_of_a_contract(
    tmp_path: Path, change: dict[str, object], column: str
) -> None:
    entry = sample_contract()
    changed = {k: v for k, v in {**entry, **change}.items() if v is not None}
    assert_contract_refused(tmp_path, changed, column)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"kind": "colour"}, "kind"),
        ({"sensitivity": "secret"}, "sensitivity"),
        ({"allowed": [True, False]}, "allowed"),
        ({"minimum": "low"}, "minimum"),
        ({"pattern": "(["}, "pattern"),
        ({"width": 5}, "width"),
    ],
)
def test_one_changed_property_of_a_field(
    tmp_path: Path, change: dict[str, object], column: str
) -> None:
    entry = sample_contract()
    entry["fields"]["sex"] |= change
    assert_contract_refused(tmp_path, entry, column)


def sample_contract() -> dict[str, Any]:
    """The sample file's contract as the platform has it, to be changed."""
    return deepcopy(_contracts()["sample_file"])


@cache
def _contracts() -> dict[str, Any]:
    return yaml.safe_load((DATA / "datasets.yaml").read_text(encoding="utf-8"))


def assert_contract_refused(folder: Path, entry: dict[str, object], column: str) -> None:
    """The sample file's contract, so changed, is refused for `column`."""
    (folder / "datasets.yaml").write_text(yaml.safe_dump({"sample_file": entry}), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_codebook(folder)
    assert "datasets.yaml" in caught.value.where
    assert caught.value.where.endswith(f"column {column}")


@pytest.mark.parametrize("content", ["- a list", "sample_file: text", "a: [unclosed"])
def test_contracts_that_are_not_entries_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "datasets.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"datasets\.yaml"):
        load_codebook(tmp_path)


def test_every_indicator_has_a_sentence_that_a_report_can_use():
    said = {name: i.say("62%") for name, i in load_codebook().indicators.items()}
    assert said["primary_enjoys_learning"] == "62% of pupils in P5 to P7 enjoy learning new things."
    assert said["primary_young_carer"] == "62% of pupils in P7 care for someone."
    assert said["secondary_regular_smoker"] == "62% of pupils in S2 and S4 smoke regularly."
    assert said["parent_has_support"] == "62% of parents have someone to turn to."
    assert all("{" not in text and text.endswith(".") for text in said.values())
    assert len(set(said.values())) == len(said)


@pytest.mark.parametrize("sentence", ["", "Pupils in {who}.", "{value} of {who} and {value}."])
def test_a_sentence_without_its_places_is_refused(tmp_path, sentence):
    folder = write_overlay(tmp_path, "indicators.csv", INDICATOR, {"sentence": sentence})
    with pytest.raises(ConfigurationError, match="sentence"):
        load_codebook(folder)


def test_core_indicators_are_those_of_the_framework_that_a_survey_asks():
    core = {name.partition("_")[2] for name, i in load_codebook().indicators.items() if i.is_core}
    # domain.md §5: 12 of 21 come from the survey.
    assert core == {
        "positive_leisure", "active_one_hour", "fruit_and_veg", "wemwbs_mean", "sdq_total_raised",
        "trusted_adult", "friends_treat_well", "views_taken", "bullied", "area_good", "internet",
        "area_safe",
    }  # fmt: skip
    indicators = load_codebook().indicators
    for name in core:
        surveys = ("primary", "secondary")
        asked = [indicators[f"{s}_{name}"] for s in surveys if f"{s}_{name}" in indicators]
        assert {i.is_core for i in asked} == {True}
    # Stages by the framework: leisure S1 to S3, SDQ and WEMWBS from S2 (S1 asked by RCS too).
    assert indicators["secondary_positive_leisure"].stages == ("S1", "S2", "S3")
    assert indicators["secondary_wemwbs_mean"].stages == ("S2", "S3", "S4")
    assert indicators["secondary_sdq_total_raised"].rule.lower == 15


def test_each_of_the_eight_domains_has_figures_of_both_pupil_surveys():
    # domain.md §5, [S:TCF, CYPF]
    domains = {
        "safe", "healthy", "achieving", "nurtured", "active", "respected", "responsible",
        "included",
    }  # fmt: skip
    for survey in ("primary", "secondary"):
        own = [i for i in load_codebook().indicators.values() if i.survey == survey]
        assert {i.domain for i in own} == domains


def test_definition_sets_are_those_of_the_sources():
    codebook = load_codebook()
    kept = {n: s.kept_missing(codebook.missing) for n, s in codebook.definition_sets.items()}
    assert kept == {"current": [], "report_2020": [], "hwb_parity": [-3, -2, -1]}
    assert codebook.definition_sets["hwb_parity"].missing_rule == "complete"


def test_the_current_definitions_cannot_be_changed_by_the_set(tmp_path):
    changes = {"missing_rule": "complete"}
    folder = write_overlay(tmp_path, "definition_sets.csv", {"name": "current"}, changes)
    with pytest.raises(ConfigurationError, match="current"):
        load_codebook(folder)
