"""Boundary intake: a mutated delivery, taken in by intake itself, trips exactly one expectation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_quality import evaluate
from rcs_assets.intake.checks import SUITE
from rcs_assets.intake.profile import intake_profiles
from rcs_assets.storage import open_warehouse

YEAR_SECONDS = 365 * 86400

Change = Callable[[pd.DataFrame], pd.DataFrame]
# dataset → change of its file; reference data are marked by their dataset.
Mutation = Callable[["Names"], dict[str, Change]]
REFERENCE = ("school_roll", "school_list")
EDUCATION_FILES = ("education_ids", "education_payload", "attendance", "exclusions", "cfe_levels")


class Names:
    """Suppliers' names of columns and codes, from the questionnaires of the engagement."""

    def __init__(self, platform: Any, engagement: str) -> None:
        self.codebook = platform.codebook
        self.tranche = platform.programme.engagements[engagement].tranche
        self.council = platform.programme.engagements[engagement].cpp.council_name
        with open_warehouse(platform.home, read_only=True) as con:
            self.other_zone = con.execute(
                "select min(datazone) from intake.datazones where council_code <> ?",
                [platform.programme.engagements[engagement].cpp.council_code],
            ).fetchall()[0][0]
            self.schools = con.execute(
                "select distinct seed_code from intake.sample where engagement = ?", [engagement]
            ).fetchall()

    def survey(self, survey: str) -> Any:
        return self.codebook.questionnaire_for(self.tranche, survey)

    def columns(self, survey: str) -> dict[str, str]:
        return {v.variable: v.supplier_name for v in self.survey(survey).variables}

    def code(self, survey: str, variable: str, code: int) -> int:
        asked = next(v for v in self.survey(survey).variables if v.variable == variable)
        return int(next(theirs for theirs, ours in asked.codes.items() if ours == code))


def part(frame: pd.DataFrame, share: float) -> list[bool]:
    """Every so many rows, evenly over the file: the same ones each time."""
    position = np.arange(len(frame))
    chosen: list[bool] = (np.floor((position + 1) * share) > np.floor(position * share)).tolist()
    return chosen


def put(column: str, value: str | float, share: float = 1.0, among: str = "") -> Change:
    """Put a value into a share of rows; `among`: only rows that hold this value."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        chosen = np.ones(len(frame), dtype=bool)
        if among:
            chosen &= (frame[column] == among).to_numpy()
        chosen[chosen] = part(frame[chosen], share)
        frame[column] = frame[column].mask(pd.Series(chosen, index=frame.index), value)
        return frame

    return change


def keep(share: float) -> Change:
    return lambda frame: frame[part(frame, share)]


def values_outside(names: Names) -> dict[str, Change]:
    return {"secondary_survey": put(names.columns("secondary")["happy_at_school"], 77, 0.1)}


def refusals(names: Names) -> dict[str, Change]:
    survey = names.survey("secondary")
    return {"secondary_survey": put(survey.take_part_name, survey.take_part_yes + 1, 0.2)}


def strangers(names: Names) -> dict[str, Change]:
    uid = names.survey("secondary").uid_name

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        made = frame.copy()
        made[uid] = [f"QQ{number:08d}" for number in range(len(made))]
        return pd.concat([frame, made], ignore_index=True)

    return {"secondary_survey": change}


def last_year(names: Names) -> dict[str, Change]:
    day = names.survey("secondary").completed_on_name

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[part(frame, 0.2), day] -= YEAR_SECONDS
        return frame

    return {"secondary_survey": change}


def empty_pages(names: Names) -> dict[str, Change]:
    answers = list(names.columns("secondary").values())

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[part(frame, 0.1), answers[5:]] = np.nan
        return frame

    return {"secondary_survey": change}


def one_line(names: Names) -> dict[str, Change]:
    columns = names.columns("secondary")
    items = [columns[f"sdq_{number}"] for number in range(1, 26)]

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[part(frame, 0.06), items] = names.code("secondary", "sdq_1", 1)
        return frame

    return {"secondary_survey": change}


def doubled_roll(names: Names) -> dict[str, Change]:
    stages = [f"P{number}" for number in range(1, 8)] + [f"S{number}" for number in range(1, 7)]

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for stage in stages:
            numeric = pd.to_numeric(frame[stage], errors="coerce")
            frame[stage] = np.where(
                numeric.notna(), (numeric.fillna(0) * 2).astype(int).astype(str), frame[stage]
            )
        return frame

    return {"school_roll": change}


def schools_gone(names: Names) -> dict[str, Change]:
    gone = [row[0] for row in names.schools]
    return {"school_list": lambda frame: frame[~frame["seed_code"].isin(gone)]}


def shorter_extract(names: Names) -> dict[str, Change]:
    """The same children out of every file of the extract, which are in different orders."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[~frame["record_id"].str[-1].isin(["2", "5"])]

    return dict.fromkeys(EDUCATION_FILES, change)


def of_a_hundred(names: Names) -> dict[str, Change]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        fraction = pd.to_numeric(frame["attendance_pct"]) / 100
        frame["attendance_pct"] = fraction.map("{:.4f}".format).where(fraction.notna(), "")
        return frame

    return {"education_payload": change}


def swapped_meals(names: Names) -> dict[str, Change]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame["free_school_meal"] = frame["free_school_meal"].map({"Y": "N", "N": "Y", "": ""})
        return frame

    return {"education_payload": change}


def in_pence(names: Names) -> dict[str, Change]:
    """Costs and, as the same office writes them, budgets."""
    return {
        "service_map": times("annual_cost_gbp", 100),
        "budgets": times("budget_gbp", 100),
    }


def shares_of_two_boards(names: Names) -> dict[str, Change]:
    """A board's whole budget for each of its CPPs."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame["share"] = 1.0
        return frame

    return {"budgets": change}


def times(column: str, factor: float) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] *= factor
        return frame

    return change


def looked_after_only(names: Names) -> dict[str, Change]:
    """The extract of another return, which holds looked after children alone."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["looked_after_status"].str.startswith("currently")]

    return {"social_work_payload": change}


def few_interviews(names: Names) -> dict[str, Change]:
    age = names.columns("parent")["child_age"]
    return {"parent_survey": lambda frame: frame.groupby(age, group_keys=False).head(5)}


def an_age_missing(names: Names) -> dict[str, Change]:
    age = names.columns("parent")["child_age"]
    code = names.code("parent", "child_age", 4)
    return {"parent_survey": lambda frame: frame[frame[age] != code]}


def one_quintile(names: Names) -> dict[str, Change]:
    column = names.columns("parent")["simd_quintile"]
    return {"parent_survey": put(column, names.code("parent", "simd_quintile", 1), 0.9)}


MUTATIONS: dict[str, Mutation] = {
    "few_rows_are_quarantined": values_outside,
    "few_rows_are_withdrawn": refusals,
    "at_least_half_responded": lambda _: {"secondary_survey": keep(0.45)},
    "no_more_answers_than_pupils": strangers,
    "answers_fall_into_fieldwork": last_year,
    "questionnaires_are_filled": empty_pages,
    "few_answer_in_a_straight_line": one_line,
    "sample_is_near_the_published_roll": doubled_roll,
    "schools_are_on_the_school_list": schools_gone,
    "both_sexes_are_sampled": lambda _: {"sample_file": put("sex", "F", 0.6, among="M")},
    "every_stage_is_sampled": lambda _: {"sample_file": put("stage", "S3", 0.8, among="S4")},
    "free_school_meals_are_plausible": swapped_meals,
    "support_needs_are_plausible": lambda _: {"education_payload": put("asn_types", "")},
    "looked_after_is_plausible": lambda _: {"education_payload": put("looked_after", "Y", 0.2)},
    "attendance_is_plausible": of_a_hundred,
    "exclusions_are_cases": lambda _: {"education_payload": put("exclusions_n", "2", 0.2)},
    "ethnic_background_is_recorded": lambda _: {
        "education_payload": put("ethnic_background", "98", 0.3)
    },
    "homes_have_a_data_zone": lambda _: {"education_payload": put("datazone", "", 0.2)},
    "data_zones_are_of_one_vintage": lambda _: {
        "education_payload": put("datazone", "S01000001", 0.1)
    },
    "homes_lie_in_the_council": lambda names: {
        "education_payload": put("datazone", names.other_zone, 0.3)
    },
    "education_covers_the_roll": shorter_extract,
    "service_costs_are_in_pounds": in_pence,
    "services_cover_the_outcomes": lambda _: {"service_map": put("domain", "safe")},
    "social_work_knows_a_few": looked_after_only,
    "looked_after_records_are_plausible": lambda _: {
        "social_work_payload": put("looked_after_status", "never")
    },
    "costs_stay_within_budgets": lambda _: {"budgets": times("budget_gbp", 0.8)},
    "boards_are_shared_once": shares_of_two_boards,
    "parent_interviews_fill_the_quota": few_interviews,
    "parents_of_every_age_are_asked": an_age_missing,
    "parent_interviews_are_spread": one_quintile,
}


def test_every_expectation_has_a_mutation() -> None:
    assert set(MUTATIONS) == {expectation.name for expectation in SUITE.expectations}


def test_the_untouched_deliveries_pass(platform: Any, failed: Any) -> None:
    with open_warehouse(platform.home, read_only=True) as con:
        outcomes = evaluate(SUITE, intake_profiles(con, platform.codebook))
    assert failed(outcomes) == set()


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_delivery_fails_exactly_this_one(
    name: str, platform: Any, engagement: str, failed: Any, tmp_path: Path
) -> None:
    changes = MUTATIONS[name](Names(platform, engagement))
    of = None if set(changes) & set(REFERENCE) else engagement
    try:
        platform.redeliver(tmp_path, changes, of)
        with open_warehouse(platform.home, read_only=True) as con:
            outcomes = evaluate(SUITE, intake_profiles(con, platform.codebook))
    finally:
        platform.restore()
    assert failed(outcomes) == {name}
