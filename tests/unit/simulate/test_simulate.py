"""Whole sets: same seed same bytes, signed list, formats, defects, truth."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyreadstat
import pytest

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError
from rcs_assets.programme import read_simulated_manifest
from rcs_assets.simulate import defects, sign_files, simulate
from rcs_assets.simulate.public import PUBLIC_FILES
from rcs_assets.wellbeing import score
from tests.unit.simulate.conftest import SEED, SimulatedSet, make_set

CLACKS = "t1-clackmannanshire"


def _hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_same_seed_gives_the_same_bytes(small_set: SimulatedSet, tmp_path: Path) -> None:
    again = make_set(tmp_path)
    assert _hashes(again.out) == _hashes(small_set.out)
    assert _hashes(again.truth) == _hashes(small_set.truth)


def test_another_seed_gives_other_pupils(small_set: SimulatedSet, tmp_path: Path) -> None:
    other = make_set(tmp_path, seed=SEED + 1)
    same = {n for n, h in _hashes(other.out).items() if _hashes(small_set.out).get(n) == h}
    assert not same


def test_every_delivery_fits_its_contract_by_name(
    small_set: SimulatedSet, codebook: Codebook
) -> None:
    patterns = [re.compile(dataset.file_pattern) for dataset in codebook.datasets.values()]
    for path in small_set.report.files:
        assert sum(bool(pattern.match(path.name)) for pattern in patterns) == 1, path.name
    for name in (
        "sample_file",
        "education_ids",
        "education_payload",
        "social_work_ids",
        "social_work_payload",
        "clusters",
        "opt_outs",
    ):
        dataset = codebook.datasets[name]
        file = next(p for p in small_set.report.files if re.match(dataset.file_pattern, p.name))
        assert list(small_set.csv(file.name).columns) == _columns(dataset)


def test_csv_values_stay_inside_the_contracts(small_set: SimulatedSet, codebook: Codebook) -> None:
    for name in ("sample_file", "education_payload", "clusters", "opt_outs", "school_roll", "simd"):
        dataset = codebook.datasets[name]
        file = next(p for p in small_set.report.files if re.match(dataset.file_pattern, p.name))
        frame = small_set.csv(file.name)
        assert not frame.duplicated([_column(dataset, key) for key in dataset.key]).any()
        for field in (f for f in dataset.fields if f.column in _columns(dataset)):
            values = frame[field.column]
            assert not (field.is_required and (values == "").any()), field.name
            if field.allowed and not (values.str.contains(";").any()):
                assert set(values) <= {*field.allowed, ""}, field.name


def _columns(dataset: Dataset) -> list[str]:
    """Columns of a file of identifiers: simulated councils do not encode."""
    encoded = ("scheme", "clk", "left_out")
    return [field.column for field in dataset.fields if field.name not in encoded]


def _column(dataset: Dataset, key: str) -> str:
    return next(field.column for field in dataset.fields if field.name == key)


def test_the_list_names_every_file_and_refuses_a_changed_one(
    small_set: SimulatedSet, tmp_path: Path
) -> None:
    listed = read_simulated_manifest(small_set.out)
    assert set(listed.values()) == {path.name for path in small_set.report.files}
    changed = tmp_path / "changed.csv"
    changed.write_bytes(small_set.report.files[0].read_bytes() + b"\n")
    assert hashlib.sha256(changed.read_bytes()).hexdigest() not in listed
    sign_files([changed], SEED)
    assert list(read_simulated_manifest(tmp_path).values()) == ["changed.csv"]


def test_signing_one_file_again_keeps_the_others_listed(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("1\n", encoding="utf-8")
    second.write_text("2\n", encoding="utf-8")
    sign_files([first, second], SEED)
    first.write_text("3\n", encoding="utf-8")
    sign_files([first], SEED)
    assert set(read_simulated_manifest(tmp_path).values()) == {"a.csv", "b.csv"}
    second.write_text("4\n", encoding="utf-8")
    sign_files([first], SEED)
    assert set(read_simulated_manifest(tmp_path).values()) == {"a.csv"}


def test_survey_files_carry_labels_missing_ranges_and_the_mark(
    small_set: SimulatedSet, codebook: Codebook
) -> None:
    path = small_set.out / f"{CLACKS}_secondary-survey.sav"
    frame, meta = pyreadstat.read_sav(path, user_missing=True)
    version = codebook.questionnaire_for("t1", "secondary")
    assert meta.file_label.startswith("SIMULATED")
    assert "SIMULATED" in meta.notes[0]
    for asked in version.variables:
        labels = meta.variable_value_labels[asked.supplier_name]
        assert set(labels) == set(asked.codes)
        low, high = (meta.missing_ranges[asked.supplier_name][0][end] for end in ("lo", "hi"))
        assert {c for c in asked.codes if low <= c <= high} == {
            c for c, code in asked.codes.items() if code < 0
        }
    assert frame[version.uid_name].str.fullmatch("[A-Z]{2}[0-9]{8}").all()


def test_contractors_name_and_code_differently(small_set: SimulatedSet) -> None:
    ipsos, _ = pyreadstat.read_sav(small_set.out / f"{CLACKS}_secondary-survey.sav")
    scotcen, _ = pyreadstat.read_sav(small_set.out / "t2-falkirk_secondary-survey.sav")
    assert set(ipsos.columns).isdisjoint(scotcen.columns)


@pytest.mark.parametrize(
    ("made", "wrong_n"), [("small_set", defects.OTHER_FORM_N), ("clean_set", 0)]
)
def test_parents_answer_the_sdq_in_the_form_of_the_childs_age(
    made: str, wrong_n: int, request: pytest.FixtureRequest, codebook: Codebook
) -> None:
    """domain.md 12: the 2-4 form for ages 2 to 4, the 4-17 form for 5 to 8, none under 2."""
    path = request.getfixturevalue(made).out / f"{CLACKS}_parent-survey.sav"
    frame, _ = pyreadstat.read_sav(path, user_missing=True)
    version = {v.variable: v for v in codebook.questionnaire_for("t1", "parent").variables}
    age = frame[version["child_age"].supplier_name]
    forms = {"parent_sdq_2_4": (2, 3, 4), "parent_sdq": (5, 6, 7, 8)}
    beside = 0
    for form, ages in forms.items():
        names = [version[f"{form}_{n}"].supplier_name for n in range(1, 26)]
        answered = frame[names] >= 0
        # With defects, some interviews break off before they come to the form.
        assert answered[age.isin(ages)].any(axis=1).mean() >= (0.9 if wrong_n else 1)
        beside += int(answered[~age.isin(ages)].to_numpy().sum())
    assert set(age) == set(range(9))
    assert beside == wrong_n


@pytest.mark.parametrize("instrument", ["sdq_parent", "sdq_parent_2_4"])
def test_both_parent_forms_can_be_scored(
    instrument: str, clean_set: SimulatedSet, codebook: Codebook
) -> None:
    """The survey's items under the instrument's names: every interview of its ages scores."""
    frame, _ = pyreadstat.read_sav(clean_set.out / f"{CLACKS}_parent-survey.sav", user_missing=True)
    version = {v.variable: v for v in codebook.questionnaire_for("t1", "parent").variables}
    form = "parent_sdq" + instrument.removeprefix("sdq_parent")
    items = {f"sdq_{n}": frame[version[f"{form}_{n}"].supplier_name] for n in range(1, 26)}
    answers = pd.DataFrame(items).astype("Int8")
    answers = answers.mask(answers < 0).assign(record_id=[f"r{n}" for n in range(len(frame))])
    total = score(answers, instrument)[f"{instrument}_total"].to_pylist()
    low, high = (2, 4) if instrument == "sdq_parent_2_4" else (5, 8)
    asked = frame[version["child_age"].supplier_name].between(low, high).tolist()
    assert [value is not None for value in total] == asked


def test_service_map_tiers_sum_to_100_but_for_the_planted_one(
    small_set: SimulatedSet, clean_set: SimulatedSet
) -> None:
    for made, wrong_n in ((small_set, 1), (clean_set, 0)):
        path = made.out / f"{CLACKS}_service-map.xlsx"
        assert openpyxl.load_workbook(path).properties.title.startswith("SIMULATED")
        frame = pd.read_excel(path, sheet_name="services")
        tiers = [c for c in frame.columns if c.startswith("tier_")]
        assert (frame[tiers].sum(axis=1) != 100).sum() == wrong_n
        assert frame["service_id"].is_unique
        third = frame["provider_type"] == "third"
        assert (frame.loc[third, "is_confidential"] == "Y").mean() > 0.5
        assert (frame.loc[~third, "is_confidential"] == "Y").mean() < 0.2


def test_planted_defects_are_in_the_files(small_set: SimulatedSet) -> None:
    planted = pd.read_csv(small_set.truth / "planted.csv").set_index(
        ["engagement", "dataset", "kind"]
    )["n"]
    ids = small_set.csv(f"{CLACKS}_education-identifiers.csv")
    sample = small_set.csv(f"{CLACKS}_sample-file.csv")
    assert (ids["scn"] == "").sum() == planted[CLACKS, "education_ids", "missing_scn"]
    nobody = ("special_school", "name_of_other_school", "unknown_school_name")
    added = sum(planted[CLACKS, "sample_file", kind] for kind in nobody)
    left_out = planted[CLACKS, "education_ids", "pupil_not_in_extract"]
    assert len(sample) - added - len(ids) == left_out
    survey, _ = pyreadstat.read_sav(small_set.out / f"{CLACKS}_secondary-survey.sav")
    off_sample = ~survey["UID"].isin(sample["survey_uid"])
    unissued = ("not_on_sample", "no_answers")
    assert off_sample.sum() == sum(planted[CLACKS, "secondary_survey", kind] for kind in unissued)
    assert (survey["Q1"] != 1).sum() == planted[CLACKS, "secondary_survey", "refusal"]
    assert (survey.drop(columns=["UID", "END_DATE"]) == 77).sum().sum() == 4
    kinds = set(planted.index.get_level_values("kind"))
    assert any(kind.startswith("routing_violation") for kind in kinds)
    assert "stage_disagreement" in set(pd.read_csv(small_set.truth / "planted.csv")["kind"])


def test_second_submissions_hold_fewer_answers(small_set: SimulatedSet) -> None:
    twice = small_set.respondents().query("status == 'duplicate'")
    assert len(twice) > 0
    for engagement, survey, uid in zip(
        twice["engagement"], twice["survey"], twice["uid"], strict=True
    ):
        frame, meta = pyreadstat.read_sav(small_set.out / f"{engagement}_{survey}-survey.sav")
        rows = frame[frame[meta.column_names[0]] == uid]
        answered = rows.notna().sum(axis=1)
        assert len(rows) == 2
        assert answered.iloc[1] <= answered.iloc[0]


def test_clean_set_has_no_defect(clean_set: SimulatedSet) -> None:
    assert pd.read_csv(clean_set.truth / "planted.csv").empty
    assert not list(clean_set.out.glob("*opt-outs*"))
    sample = clean_set.csv(f"{CLACKS}_sample-file.csv")
    ids = clean_set.csv(f"{CLACKS}_education-identifiers.csv")
    assert set(ids["survey_uid"]) == set(sample["survey_uid"])
    assert (ids["scn"] != "").all()
    assert set(clean_set.respondents()["status"]) == {"accepted"}


def test_education_identifiers_and_payload_cover_the_same_records(
    small_set: SimulatedSet,
) -> None:
    ids = small_set.csv(f"{CLACKS}_education-identifiers.csv")["record_id"]
    payload = small_set.csv(f"{CLACKS}_education-payload.csv")["record_id"]
    assert set(ids) == set(payload)
    assert ids.is_unique
    assert payload.tolist() != ids.tolist()


def test_small_schools_have_the_promised_respondents(small_set: SimulatedSet) -> None:
    accepted = small_set.respondents().query("status == 'accepted' and survey == 'primary'")
    sizes = accepted.groupby(["engagement", "seed_code"]).size()
    for _, own in sizes.groupby(level="engagement"):
        assert (own < 10).sum() == 1
        assert own.between(10, 19).sum() == 1
        assert len(own) >= 6


def test_truth_estimates_follow_from_its_own_respondents(small_set: SimulatedSet) -> None:
    estimates = (
        pd.read_csv(small_set.truth / "estimates.csv")
        .set_index(["engagement", "indicator", "breakdown", "group"])
        .sort_index()
    )
    own = small_set.respondents().query(f"status == 'accepted' and engagement == '{CLACKS}'")
    valid = own["sdq_emotional"].dropna()
    row = estimates.loc[(CLACKS, "secondary_sdq_very_high_emotional", "total", "all")]
    assert row["base_n"] == len(valid)
    assert row["numerator_n"] == (valid >= 7).sum()
    parts = estimates.xs((CLACKS, "secondary_sdq_very_high_emotional", "sex"))
    assert parts["base_n"].sum() == row["base_n"]


def test_truth_names_only_indicators_of_the_codebook(
    small_set: SimulatedSet, codebook: Codebook
) -> None:
    named = set(pd.read_csv(small_set.truth / "estimates.csv")["indicator"])
    assert named <= set(codebook.indicators)


def test_public_files_are_handed_on_unchanged(shared_reference: Path, tmp_path: Path) -> None:
    made = make_set(tmp_path, reference=shared_reference)
    for name, folder in PUBLIC_FILES.items():
        assert (made.out / name).read_bytes() == (shared_reference / folder / name).read_bytes()
    assert '"kind": "public"' in made.report.manifest.read_text(encoding="utf-8")
    sample = made.csv("t2-falkirk_sample-file.csv")
    roll = made.csv("school_level_summary_2019.csv")
    assert set(sample["seed_code"]) - {""} <= set(roll["SeedCode"])


def test_a_second_simulation_replaces_the_first(tmp_path: Path) -> None:
    stale = make_set(tmp_path)
    (tmp_path / "out" / "notes.txt").write_text("not ours", encoding="utf-8")
    clean = make_set(tmp_path, defects="none")
    names = {path.name for path in clean.out.iterdir()}
    assert names == {p.name for p in clean.report.files} | {"SIMULATED.json", "notes.txt"}
    assert f"{CLACKS}_opt-outs.csv" in {p.name for p in stale.report.files} - names


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scale": "huge"}, "small, full, national"),
        ({"defects": "many"}, "none, typical"),
        ({"seed": -1}, "negative"),
        ({"reference": Path("nowhere")}, "reference file is missing"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, object], text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=text):
        make_set(tmp_path, **options)


def test_truth_among_the_deliveries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="among the deliveries"):
        simulate(tmp_path, truth=tmp_path / "truth", scale="small")


def test_answers_of_the_file_give_the_scores_of_the_truth(
    clean_set: SimulatedSet, codebook: Codebook
) -> None:
    """Decode a delivered file by the codebook and score five items by hand."""
    frame, _ = pyreadstat.read_sav(
        clean_set.out / f"{CLACKS}_secondary-survey.sav", user_missing=True
    )
    version = codebook.questionnaire_for("t1", "secondary")
    asked = {q.variable: q for q in version.variables}
    items = [asked[f"sdq_{k}"] for k in (3, 8, 13, 16, 24)]
    decoded = np.stack([frame[q.supplier_name].map(q.codes) for q in items])
    truth = clean_set.respondents().query(f"engagement == '{CLACKS}' and survey == 'secondary'")
    scores = truth.set_index("uid")["sdq_emotional"].loc[frame[version.uid_name]]
    assert (decoded.sum(axis=0) == scores.to_numpy()).all()


def _secondary(made: SimulatedSet, codebook: Codebook) -> pd.DataFrame:
    """Form and answers of tranche 1 by our names, with the stage that the sample file says."""
    frame, _ = pyreadstat.read_sav(made.out / f"{CLACKS}_secondary-survey.sav", user_missing=True)
    version = codebook.questionnaire_for("t1", "secondary")
    names = {v.supplier_name: v.variable for v in version.variables}
    frame = frame.rename(columns={**names, version.form_name: "form", version.uid_name: "uid"})
    sample = pd.read_csv(made.out / f"{CLACKS}_sample-file.csv", dtype=str)
    return frame.assign(
        stage=frame["uid"].map(
            sample.drop_duplicates("survey_uid").set_index("survey_uid")["stage"]
        )
    )


def test_classes_of_s2_and_s4_have_the_combined_form(
    clean_set: SimulatedSet, codebook: Codebook
) -> None:
    frame = _secondary(clean_set, codebook)
    by_stage = frame.groupby("stage")["form"].agg(lambda form: (form == 2).mean())
    assert by_stage["S1"] == by_stage["S3"] == 0
    assert 0.2 < by_stage["S2"] < 0.9
    assert 0.2 < by_stage["S4"] < 0.9
    version = codebook.questionnaire_for("t1", "secondary")
    main = frame[frame["form"] == 1]
    asked = {v.variable: v for v in version.variables}
    for name in version.forms[0].left_out:
        own = {code for code, ours in asked[name].codes.items() if ours in (-4, -5)}
        assert set(main[name]) <= own
    combined = frame[frame["form"] == 2]
    valid = {code for code, ours in asked["frequency_smoking"].codes.items() if ours >= 0}
    assert combined["frequency_smoking"].isin(valid).mean() > 0.9


def test_planted_defects_of_forms_lie_in_the_file(
    small_set: SimulatedSet, codebook: Codebook
) -> None:
    planted = pd.read_csv(small_set.truth / "planted.csv")
    own = planted[planted["dataset"] == "secondary_survey"]
    counts = own.groupby(["engagement", "kind"])["n"].sum()
    assert counts[CLACKS, "form_of_other_stage"] == defects.FORM_OF_OTHER_STAGE_N
    assert counts[CLACKS, "unknown_form"] == defects.UNKNOWN_FORM_N
    assert counts[CLACKS, "form_answered"] == defects.FORM_ANSWERED_N
    assert not own[own["engagement"] != CLACKS]["kind"].str.contains("form").any()
    frame = _secondary(small_set, codebook)
    assert (frame["form"] == 3).sum() == defects.UNKNOWN_FORM_N
    strange = frame["stage"].isin(["S1", "S3"]) & (frame["form"] == 2)
    assert strange.sum() == defects.FORM_OF_OTHER_STAGE_N
    version = codebook.questionnaire_for("t1", "secondary")
    beside = 0
    for asked in version.variables:
        if asked.variable in version.forms[0].left_out:
            said = {code for code, ours in asked.codes.items() if ours >= 0}
            beside += int((frame[asked.variable].isin(said) & (frame["form"] == 1)).sum())
    assert beside == defects.FORM_ANSWERED_N
