"""The truth: scores, links and estimates by code of the simulator's own.

Belongs here: an independent numpy scoring of the answers as delivered, which record is
which child, and a handful of estimates. Does not belong here: anything that the platform
reads; the folder lies outside its drop.
Source of the scoring rules: domain.md 1.6-1.8, transcribed in data/scales.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rcs_assets.codebook import Codebook
from rcs_assets.simulate.answers import Codes, Model, scale_items
from rcs_assets.simulate.draws import Floats, blanked
from rcs_assets.simulate.surveys import Submissions

# domain.md 1.7: SWEMWBS items and raw 7..35 to metric.
SWEMWBS_ITEMS = (1, 2, 3, 6, 7, 9, 11)
SWEMWBS_METRIC = (
    7.00, 9.51, 11.25, 12.40, 13.33, 14.08, 14.75, 15.32, 15.84, 16.36, 16.88, 17.43, 17.98,
    18.59, 19.25, 19.98, 20.73, 21.54, 22.35, 23.21, 24.11, 25.03, 26.02, 27.03, 28.13, 29.31,
    30.70, 32.55, 35.00,
)  # fmt: skip
DIFFICULTIES = ("sdq_emotional", "sdq_conduct", "sdq_hyperactivity", "sdq_peer")
MIN_ANSWERED_OF_5 = 3
BREAKDOWNS = {"stage": "stage", "sex": "sex", "simd_quintile": "simd_linked"}


@dataclass(frozen=True)
class CheckedIndicator:
    """An indicator that the truth computes: a score in a range, or answers of a variable."""

    name: str
    survey: str
    source: str
    low: float
    high: float


# Names as in the codebook; ranges transcribed from domain.md 1.3, 1.6, 1.9, 2.4.
CHECKED = (
    CheckedIndicator("secondary_sdq_very_high_emotional", "secondary", "sdq_emotional", 7, 10),
    CheckedIndicator("secondary_sdq_very_high_conduct", "secondary", "sdq_conduct", 6, 10),
    CheckedIndicator("secondary_sdq_total_abnormal", "secondary", "sdq_total", 20, 40),
    CheckedIndicator("secondary_positive_wellbeing", "secondary", "wemwbs_total", 56, 70),
    CheckedIndicator("secondary_happy_at_school", "secondary", "happy_at_school", 4, 5),
    CheckedIndicator("secondary_trusted_adult", "secondary", "adult_to_trust", 2, 2),
    CheckedIndicator("secondary_bullied", "secondary", "bullied_last_year", 1, 1),
    CheckedIndicator("secondary_regular_smoker", "secondary", "frequency_smoking", 2, 3),
    CheckedIndicator("secondary_drank_last_week", "secondary", "drank_last_week", 1, 1),
    CheckedIndicator("primary_low_mood", "primary", "mood_score", 0, 2.99),
    CheckedIndicator("primary_high_life_satisfaction", "primary", "life_satisfaction", 18, 20),
    CheckedIndicator("primary_happy_at_school", "primary", "happy_at_school", 4, 5),
    CheckedIndicator("primary_bullied", "primary", "bullied_last_year", 1, 1),
    CheckedIndicator("primary_area_safe", "primary", "my_area_feeling_safe", 3, 4),
)


def score_answers(answers: Mapping[str, Codes], model: Model) -> dict[str, Floats]:
    """Scores of every scale whose items were asked; NaN where the rule gives none."""
    scores = {
        name: _score(answers, scale)
        for name, scale in model.scales.items()
        if all(item in answers for item in scale_items(scale))
    }
    if all(name in scores for name in DIFFICULTIES):
        scores["sdq_total"] = np.sum([scores[name] for name in DIFFICULTIES], axis=0)
        scores["sdq_internalising"] = scores["sdq_emotional"] + scores["sdq_peer"]
        scores["sdq_externalising"] = scores["sdq_conduct"] + scores["sdq_hyperactivity"]
    if "wemwbs_1" in answers:
        raw = np.sum([_numbers(answers[f"wemwbs_{k}"]) for k in SWEMWBS_ITEMS], axis=0)
        place = np.nan_to_num(raw - 7, nan=0.0).astype(np.int64)
        scores["swemwbs_metric"] = np.where(np.isnan(raw), np.nan, np.array(SWEMWBS_METRIC)[place])
    return scores


def respondents_table(
    submissions: Submissions,
    people: pd.DataFrame,
    opt_outs: pd.DataFrame,
    linked: pd.DataFrame,
    survey: str,
    model: Model,
) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """One row a submission: who, what became of it, scores; and values for the estimates.

    `status`: accepted | opted_out | duplicate | refusal | not_on_sample | out_of_codebook |
    other_stage | no_answers | form_of_other_stage | unknown_form.
    """
    rows = submissions.rows
    known = rows["person"].to_numpy() >= 0
    person = np.where(known, rows["person"].to_numpy(), 0)
    out = opt_outs.loc[opt_outs["scope"].isin(["survey", "all"]), "survey_uid"]
    status = np.where(
        rows["uid"].isin(out),
        "opted_out",
        np.where(rows["kind"] == "answer", "accepted", rows["kind"]),
    )
    scores = score_answers(submissions.answers, model)
    joined = linked.reindex(people["person_id"].to_numpy()[person])
    frame = pd.DataFrame(
        {
            "engagement": rows["engagement"].astype(object),
            "survey": survey,
            "uid": rows["uid"].astype(object),
            "person_id": np.where(known, people["person_id"].to_numpy()[person], -1),
            "seed_code": blanked(people["seed_code"].to_numpy(dtype=object)[person], ~known),
            "stage": blanked(people["stage"].to_numpy(dtype=object)[person], ~known),
            "sex": blanked(people["sex"].to_numpy(dtype=object)[person], ~known),
            "simd_quintile": np.where(known, people["quintile"].to_numpy()[person], -1),
            "simd_linked": np.where(
                known & joined["has_zone"].to_numpy(dtype=bool), joined["quintile"], -1
            ),
            "status": status.astype(object),
            "form": rows["form"].astype(object),
        }
    )
    for name, score in scores.items():
        frame[name] = score
    values = {
        c.source: _numbers(submissions.answers[c.source])
        for c in CHECKED
        if c.source in submissions.answers
    }
    return frame, values | scores


def estimates_table(
    respondents: pd.DataFrame, values: Mapping[str, Floats], survey: str
) -> pd.DataFrame:
    """Unweighted counts of the checked indicators over accepted respondents."""
    accepted = (respondents["status"] == "accepted").to_numpy()
    frame = respondents[accepted]
    parts = []
    for indicator in CHECKED:
        if indicator.survey != survey:
            continue
        value = values[indicator.source][accepted]
        base = ~np.isnan(value)
        positive = base & (value >= indicator.low) & (value <= indicator.high)
        counted = frame.assign(
            base_n=base.astype(int), numerator_n=positive.astype(int), total="all"
        )
        parts += [
            _counts(counted, indicator.name, survey, breakdown, column)
            for breakdown, column in ({"total": "total"} | BREAKDOWNS).items()
        ]
    return pd.concat(parts, ignore_index=True)


def write_truth(
    folder: Path, tables: Mapping[str, pd.DataFrame], parameters: Mapping[str, Any]
) -> list[Path]:
    """Write parquet for rows of children, CSV for counts, JSON for parameters."""
    paths = []
    for name, table in tables.items():
        path = folder / name
        if path.suffix == ".parquet":
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False, lineterminator="\n")
        paths.append(path)
    path = folder / "parameters.json"
    path.write_text(json.dumps(parameters, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return [*paths, path]


def parameters(
    model: Model, codebook: Codebook, seed: int, scale: str, defects: str
) -> dict[str, Any]:
    """What the simulation was made with."""
    return {
        "seed": seed,
        "scale": scale,
        "defects": defects,
        "codebook_version": codebook.version,
        "targets": {name: value["target"] for name, value in model.scales.items()},
        "factors": model.factors,
        "shifts": model.shifts,
        "school_variance": model.school_variance,
        "cpp_variance": model.cpp_variance,
    }


def _numbers(codes: Codes) -> Floats:
    """Answers as numbers; NaN for every reason why there is none."""
    return np.where(codes >= 0, codes.astype(np.float64), np.nan)


def _score(answers: Mapping[str, Codes], scale: Mapping[str, Any]) -> Floats:
    items = np.stack([_numbers(answers[name]) for name in scale_items(scale)], axis=1)
    turned = np.array([item in scale["reversed"] for item in scale["items"]])
    items = np.where(turned[None, :], scale["minimum"] + scale["maximum"] - items, items)
    if scale["method"] == "complete_sum":
        total: Floats = items.sum(axis=1)
        return total
    if scale["method"] == "complete_mean":
        mean: Floats = items.mean(axis=1)
        return mean
    answered = (~np.isnan(items)).sum(axis=1)
    sums = np.nansum(items, axis=1)
    # Half up: sums and counts are small integers, so 2 * 5 * sum / count is compared exactly.
    prorated = (10 * sums + answered) // np.maximum(2 * answered, 1)
    return np.where(answered >= MIN_ANSWERED_OF_5, prorated, np.nan)


def _counts(
    frame: pd.DataFrame, indicator: str, survey: str, breakdown: str, column: str
) -> pd.DataFrame:
    known = frame[frame[column] != -1]
    sums = known.groupby(["engagement", column])[["base_n", "numerator_n"]].sum().reset_index()
    sums = sums.rename(columns={column: "group"})
    sums["group"] = sums["group"].map(
        lambda code: code if isinstance(code, str) else str(int(code))
    )
    sums.insert(1, "survey", survey)
    sums.insert(2, "indicator", indicator)
    sums.insert(3, "breakdown", breakdown)
    sums["pct"] = np.where(
        sums["base_n"] > 0, 100 * sums["numerator_n"] / sums["base_n"].clip(1), np.nan
    )
    return sums
