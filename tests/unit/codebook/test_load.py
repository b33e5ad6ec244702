"""The codebook that the package ships: scales, bands, questionnaires, contracts.

Belongs here: tests that the data files say what domain.md says. Does not belong here: what
an overlay may break (`test_rules.py`).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from rcs_assets.codebook import Codebook, RuleKind, Sensitivity, load_codebook
from rcs_assets.programme import load_programme

# domain.md 1.6, transcribed a second time: score → upper bounds of 3 and 4 bands.
SDQ_BANDS = {
    "sdq_total": ("0-15/16-19/20-40", "0-14/15-17/18-19/20-40"),
    "sdq_emotional": ("0-5/6-6/7-10", "0-4/5-5/6-6/7-10"),
    "sdq_conduct": ("0-3/4-4/5-10", "0-3/4-4/5-5/6-10"),
    "sdq_hyperactivity": ("0-5/6-6/7-10", "0-5/6-6/7-7/8-10"),
    "sdq_peer": ("0-3/4-5/6-10", "0-2/3-3/4-4/5-10"),
    "sdq_prosocial": ("6-10/5-5/0-4", "7-10/6-6/5-5/0-4"),
}
SDQ_SCALES = {
    "sdq_emotional": {3, 8, 13, 16, 24},
    "sdq_conduct": {5, 7, 12, 18, 22},
    "sdq_hyperactivity": {2, 10, 15, 21, 25},
    "sdq_peer": {6, 11, 14, 19, 23},
    "sdq_prosocial": {1, 4, 9, 17, 20},
}
# domain.md 1.7: metric scores of raw 7 … 35.
SWEMWBS = """7.00 9.51 11.25 12.40 13.33 14.08 14.75 15.32 15.84 16.36 16.88 17.43 17.98 18.59
19.25 19.98 20.73 21.54 22.35 23.21 24.11 25.03 26.02 27.03 28.13 29.31 30.70 32.55 35.00"""


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    """The default codebook."""
    return load_codebook()


@pytest.mark.parametrize("score", SDQ_BANDS)
@pytest.mark.parametrize("bands", [3, 4])
def test_sdq_bands_are_those_of_the_table(codebook: Codebook, score: str, bands: int) -> None:
    found = [
        b for b in codebook.instruments["sdq_self"].bands if (b.score, b.bands) == (score, bands)
    ]
    written = "/".join(f"{b.lower:g}-{b.upper:g}" for b in sorted(found, key=lambda b: b.number))
    assert written == SDQ_BANDS[score][bands - 3]


def test_sdq_items_and_reversed_items(codebook: Codebook) -> None:
    scales = codebook.instruments["sdq_self"].scales
    assert {s.name: {i.position for i in s.items} for s in scales} == SDQ_SCALES
    reversed_items = {i.position for s in scales for i in s.items if i.is_reversed}
    assert reversed_items == {7, 11, 14, 21, 25}
    assert all(i.variable == f"sdq_{i.position}" for s in scales for i in s.items)
    assert {s.min_answered for s in scales} == {3}


def test_sdq_total_leaves_prosocial_out(codebook: Codebook) -> None:
    composites = {c.name: set(c.scales) for c in codebook.instruments["sdq_self"].composites}
    assert composites["sdq_total"] == set(SDQ_SCALES) - {"sdq_prosocial"}
    assert composites["sdq_externalising"] == {"sdq_conduct", "sdq_hyperactivity"}
    assert composites["sdq_internalising"] == {"sdq_emotional", "sdq_peer"}


def test_wemwbs_and_swemwbs(codebook: Codebook) -> None:
    (total,) = codebook.instruments["wemwbs"].scales
    (short,) = codebook.instruments["swemwbs"].scales
    assert (len(total.items), total.low, total.high, total.min_answered) == (14, 14, 70, 14)
    assert [item.position for item in short.items] == [1, 2, 3, 6, 7, 9, 11]
    assert short.metric_name == "swemwbs_metric"
    expected = dict(zip(range(7, 36), map(float, SWEMWBS.split()), strict=True))
    assert codebook.conversions[short.conversion] == expected
    assert codebook.instruments["wemwbs"].stages == ("S2", "S3", "S4")


def test_primary_scores(codebook: Codebook) -> None:
    (mood,) = codebook.instruments["primary_mood"].scales
    assert [(i.variable, i.is_reversed) for i in mood.items] == [
        ("generally_cheerful", False),
        ("lots_of_worries", True),
    ]
    assert (mood.method, mood.low, mood.high, mood.min_answered) == ("mean", 1, 5, 2)
    (life,) = codebook.instruments["life_satisfaction"].scales
    assert [i.position for i in life.items if i.is_reversed] == [2]
    assert (life.low, life.high) == (5, 20)


@pytest.mark.parametrize(
    ("indicator", "rule", "stages"),
    [
        ("secondary_sdq_very_high_emotional", ("sdq_emotional", 7, 10), "S1 S2 S3 S4"),
        ("secondary_sdq_very_high_conduct", ("sdq_conduct", 6, 10), "S1 S2 S3 S4"),
        ("secondary_sdq_total_raised", ("sdq_total", 15, 40), "S1 S2 S3 S4"),
    ],
)
def test_score_indicators(
    codebook: Codebook, indicator: str, rule: tuple[str, int, int], stages: str
) -> None:
    found = codebook.indicators[indicator]
    assert (found.rule.score, found.rule.lower, found.rule.upper) == rule
    assert " ".join(found.stages) == stages
    assert found.is_sensitive


def test_answer_indicators(codebook: Codebook) -> None:
    fruit = codebook.indicators["secondary_fruit_and_veg"]
    assert fruit.rule.kind is RuleKind.ALL_OF
    assert fruit.rule.variables == ("frequency_fruit", "frequency_vegetables")
    assert fruit.stages == ("S1", "S2", "S3")
    assert codebook.indicators["primary_young_carer"].stages == ("P7",)
    assert codebook.indicators["secondary_regular_smoker"].stages == ("S2", "S4")
    assert codebook.cutoff_sets["wemwbs_positive"].cut == 56


def test_there_are_enough_indicators_and_each_is_explained(codebook: Codebook) -> None:
    surveys = [i.survey for i in codebook.indicators.values()]
    assert surveys.count("primary") + surveys.count("secondary") >= 36
    assert surveys.count("parent") >= 4
    for indicator in codebook.indicators.values():
        assert indicator.definition
        assert indicator.denominator
        assert re.search(r"\[(S|D|GK|DES|NF)\b", indicator.source), indicator.name


def test_substances_sdq_and_caring_are_sensitive(codebook: Codebook) -> None:
    themes = {"substances", "substance_use", "sdq", "caring"}
    assert {v.name for v in codebook.variables.values() if v.theme in themes} == {
        v.name for v in codebook.variables.values() if v.is_sensitive
    }


def test_the_module_of_s4_is_the_published_one(codebook: Codebook, shared_reference: Path) -> None:
    """17 sources of cigarettes and 20 drugs under the published codes, routed as published."""
    lists = shared_reference / "questionnaires"
    with (lists / "hwb_metadata_s4_su_column_names.csv").open(
        encoding="utf-8-sig", newline=""
    ) as file:
        codes = [row["code"] for row in csv.DictReader(file)]
    prefixes = ("cigarettes_source_", "drugs_use_last_year_type_")
    published = [code for code in codes if code.startswith(prefixes)]
    module = [v for v in codebook.variables.values() if v.theme == "substance_use"]
    assert [v.name for v in module] == published
    assert [sum(name.startswith(p) for name in published) for p in prefixes] == [17, 20]
    assert {(v.surveys, v.stages, v.is_sensitive) for v in module} == {
        (("secondary",), ("S4",), True)
    }
    routed = {v.routing.variable: v.routing.codes for v in module if v.routing}
    status = codebook.value_sets["smoking_status6"].values
    assert {status[code] for code in routed["cigarettes_smoking_status"]} == {
        "Sometimes, fewer than one a week",
        "One to six a week",
        "More than six a week",
    }
    assert routed["drugs_ever"] == {1}


def test_substances_are_asked_of_s2_and_s4_only(codebook: Codebook) -> None:
    stages = {v.stages for v in codebook.variables.values() if v.theme == "substances"}
    assert stages == {("S2", "S4")}


def test_missing_codes_are_kept_apart(codebook: Codebook) -> None:
    assert {code: m.name for code, m in codebook.missing.items()} == {
        -1: "prefer_not_to_say",
        -2: "dont_know",
        -3: "does_not_apply",
        -4: "data_not_collected",
        -5: "question_not_asked_of_stage",
        -6: "not_applicable",
        -9: "not_answered",
    }
    assert all(m.leaves_denominator for m in codebook.missing.values())
    assert not codebook.missing[-1].leaves_hwb_denominator


def test_answers_with_one_outside_the_order_have_none(codebook: Codebook) -> None:
    ordered = {name for name, values in codebook.value_sets.items() if values.is_ordered}
    assert {"agree5", "how_often5", "sdq3", "trust3", "alcohol6"} <= ordered
    assert not ordered & {"yes_no", "child_sex", "outcome3", "leaving3", "destination9"}
    for values in codebook.value_sets.values():
        if {"Don't know", "Not sure at the moment", "Other"} & set(values.values.values()):
            assert not values.is_ordered, values.name


def test_every_wave_has_a_questionnaire_of_its_contractor(codebook: Codebook) -> None:
    for engagement in load_programme().engagements.values():
        for wave in engagement.waves:
            version = codebook.questionnaire_for(engagement.tranche, wave.survey)
            assert version.contractor == wave.contractor
            asked = {q.variable for q in version.variables}
            assert asked == {v.name for v in codebook.variables_of(wave.survey)}


def test_an_unknown_questionnaire_is_a_key_error(codebook: Codebook) -> None:
    with pytest.raises(KeyError):
        codebook.questionnaire_for("t3", "parent")


def test_contractors_name_and_code_differently(codebook: Codebook) -> None:
    ipsos = {q.variable: q for q in codebook.questionnaire_for("t1", "secondary").variables}
    scotcen = {q.variable: q for q in codebook.questionnaire_for("t2", "secondary").variables}
    assert all(ipsos[name].supplier_name != scotcen[name].supplier_name for name in ipsos)
    assert ipsos["sdq_1"].codes[1] == 0
    assert scotcen["sdq_1"].codes[1] == 1
    assert ipsos["happy_at_school"].codes[1] == scotcen["happy_at_school"].codes[5] == 5
    assert ipsos["happy_at_school"].codes[99] == scotcen["happy_at_school"].codes[-7] == -1


def test_every_answer_and_missing_code_can_be_delivered(codebook: Codebook) -> None:
    for version in codebook.questionnaires.values():
        for question in version.variables:
            value_set = codebook.variables[question.variable].value_set
            answers = set(codebook.value_sets[value_set].values)
            assert set(question.codes.values()) == answers | set(codebook.missing)


def test_identifiers_never_go_to_the_warehouse(codebook: Codebook) -> None:
    identifying = {"scn", "survey_uid", "uid", "surname", "first_forename", "second_forename"}
    identifying |= {"date_of_birth", "postcode", "record_id", "previous_surname"}
    kept = {Sensitivity.PAYLOAD, Sensitivity.BOTH}
    for dataset in codebook.datasets.values():
        assert not identifying & {f.name for f in dataset.fields if f.sensitivity in kept}


def test_file_patterns_find_engagement_and_dataset(codebook: Codebook) -> None:
    names = {
        "sample_file": "t1-west-lothian_sample-file.csv",
        "opt_outs": "t1-west-lothian_opt-outs.csv",
        "primary_survey": "t1-west-lothian_primary-survey.sav",
        "secondary_survey": "t1-west-lothian_secondary-survey.sav",
        "parent_survey": "t1-west-lothian_parent-survey.sav",
        "adapted_opt_ins": "t1-west-lothian_adapted-opt-ins.csv",
        "adapted_survey": "t1-west-lothian_adapted-survey.csv",
        "education_ids": "t1-west-lothian_education-identifiers.csv",
        "education_payload": "t1-west-lothian_education-payload.csv",
        "uid_decisions": "t1-west-lothian_uid-decisions.csv",
        "attendance": "t1-west-lothian_attendance.csv",
        "exclusions": "t1-west-lothian_exclusions.csv",
        "cfe_levels": "t1-west-lothian_cfe-levels.csv",
        "child_protection": "t1-west-lothian_child-protection.csv",
        "looked_after": "t1-west-lothian_looked-after.csv",
        "social_work_ids": "t1-west-lothian_social-work-identifiers.csv",
        "social_work_payload": "t1-west-lothian_social-work-payload.csv",
        "index_return_survey": "t1-west-lothian_index-return-survey.csv",
        "index_return_edu": "t1-west-lothian_index-return-edu.csv",
        "index_return_sw": "t1-west-lothian_index-return-sw.csv",
        "read_through": "t1-west-lothian_read-through.csv",
        "clusters": "t1-west-lothian_clusters.csv",
        "budgets": "t1-west-lothian_budgets.xlsx",
        "service_map": "t1-west-lothian_service-map.xlsx",
        "school_roll": "school_level_summary_2019.csv",
        "school_list": "schools_open_2024-10-31.csv",
        "simd": "simd2016_datazones.csv",
        "datazones": "datazone2011_lookup.csv",
        "school_roll_2022": "school_level_summary_2022.csv",
        "school_changes": "schools_opened_closed.csv",
        "school_names": "schools_renamed.csv",
        "simd_2020v2": "simd2020v2_datazones.csv",
        "council_codes": "council_areas_all_versions.csv",
        "population": "nrs_midyear_population_age0_18_council_sex.csv",
        "salsus": "salsus_sdq_wemwbs_by_council_sex_stage.csv",
    }
    assert set(names) == set(codebook.datasets)
    for expected, name in names.items():
        found = [d for d in codebook.datasets.values() if re.fullmatch(d.file_pattern, name)]
        assert [d.name for d in found] == [expected]
        if found[0].level == "engagement":
            match = re.fullmatch(found[0].file_pattern, name)
            assert match is not None
            assert match["engagement"] == "t1-west-lothian"


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("school_roll", "schools/school_level_summary_2019.csv"),
        ("school_list", "schools/schools_open_2024-10-31.csv"),
        ("simd", "geography/simd2016_datazones.csv"),
        ("datazones", "geography/datazone2011_lookup.csv"),
    ],
)
def test_contracts_fit_the_published_headers(
    codebook: Codebook, shared_reference: Path, dataset: str, file: str
) -> None:
    with (shared_reference / file).open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream))
    assert {field.column for field in codebook.datasets[dataset].fields} <= set(header)


def test_the_same_files_give_the_same_object(tmp_path: Path) -> None:
    """Of an overlay that changes other rooms, too."""
    (tmp_path / "policy.yaml").touch()
    assert load_codebook() is load_codebook() is load_codebook(tmp_path)
