"""The quality ladder of the estimates: structural, logical, analytical, each rung above the last.

Belongs here: what is expected of the estimates before protection, rung by rung, and which rung
each expectation stands on. Does not belong here: the frames (`wellbeing/ladder_profile.py`),
limits (`thresholds.csv`, `benchmarks.csv`), rules on single records (dbt tests: the rungs below).

A figure that fails a lower rung says nothing on a higher one: read the failures from below.
Structural: is each cell there, once, in the words of the codebook? Logical: can the figures be
true together? Analytical: do they look right, beside published figures and the last release?
"""

from __future__ import annotations

from collections.abc import Mapping

from data_quality.model import Between, Expectation, NotAbove
from data_quality.thresholds import Benchmark, Threshold

ESTIMATES = ("wellbeing", "estimates")
RUNGS = ("structural", "logical", "analytical")
GRAINS: Mapping[str, tuple[str, ...]] = {
    "cells": ("survey", "indicator"),
    "bands": ("engagement", "narrow", "wide"),
    "effects": ("survey", "indicator"),
    "drift": ("engagement", "survey", "indicator"),
}
_REPORT = "do not publish; report a defect of wellbeing with the places named"

# Column of the frame `cells` (how many cells of an indicator break it), rung, name, sentence.
_COUNTED = (
    ("repeated_n", "structural", "cells_stand_once", "No cell of the estimates stands twice"),
    (
        "unknown_n",
        "structural",
        "cells_use_known_words",
        "Levels, breakdowns, methods and reasons of cells are those of the contract",
    ),
    (
        "empty_n",
        "structural",
        "cells_have_figure_or_reason",
        "Every cell has a figure, or a reason why not, and never both",
    ),
    (
        "outside_n",
        "logical",
        "figures_lie_on_their_scale",
        "Percentages lie between 0 and 100, means between the ends of their score",
    ),
    (
        "interval_n",
        "logical",
        "intervals_are_in_order",
        "No interval ends below its start or leaves out its own figure",
    ),
    (
        "count_n",
        "logical",
        "counts_are_within_counts",
        "No numerator is more than its base, and no base more than its roll",
    ),
    (
        "gap_n",
        "logical",
        "groups_sum_to_totals",
        "Bases of sexes, of stages and of their pairs sum to the total of the area",
    ),
)


def ladder(thresholds: Mapping[str, Threshold]) -> tuple[Expectation, ...]:
    """The expectations of all rungs but the benchmarks, from the lowest rung up."""
    counted = tuple(
        Expectation(
            name=name,
            sentence=sentence,
            asset=ESTIMATES,
            frame="cells",
            rule=Between(column, 0, 0),
            source=f"quality ladder, {rung}; contract of wellbeing.estimates",
            fix=_REPORT,
        )
        for column, rung, name, sentence in _COUNTED
    )
    return (
        *counted,
        Expectation(
            name="bands_are_monotone",
            sentence="A narrower band of a score never holds more pupils than a wider one",
            asset=ESTIMATES,
            frame="bands",
            rule=NotAbove("narrow_pct", "wide_pct"),
            source="quality ladder, logical; codebook, indicators.csv (limits of scores)",
            fix=_REPORT,
            needs_rows=False,
        ),
        _within(
            thresholds["design_effect"],
            "design_effects_are_plausible",
            "No pooled design effect is far from what school surveys find",
            "effects",
            "design_effect",
            "look for a school with one answer for all, or a stage that is one school",
        ),
        _within(
            thresholds["drift_points"],
            "percentages_are_near_the_last_release",
            "No percentage of a CPP is far from what the last release shows of the same wave",
            "drift",
            "drift_points",
            "find what was delivered again (rcs status); if it is right, date a wider threshold",
        ),
        _within(
            thresholds["drift_scores"],
            "means_are_near_the_last_release",
            "No mean of a CPP is far from what the last release shows of the same wave",
            "drift",
            "drift_scores",
            "find what was delivered again (rcs status); if it is right, date a wider threshold",
        ),
    )


def _within(
    limit: Threshold, name: str, sentence: str, frame: str, column: str, fix: str
) -> Expectation:
    """An analytical expectation within a dated limit; no figure, nothing to judge."""
    return Expectation(
        name=name,
        sentence=sentence,
        asset=ESTIMATES,
        frame=frame,
        rule=Between(column, limit.low, limit.high, skips_nulls=True),
        source=limit.origin,
        fix=fix,
        needs_rows=False,
    )


def rungs(benchmarks: tuple[Benchmark, ...]) -> Mapping[str, str]:
    """Name of each expectation → the rung that it stands on."""
    known = {name: rung for _, rung, name, _ in _COUNTED}
    known["bands_are_monotone"] = "logical"
    analytical = (
        "design_effects_are_plausible",
        "percentages_are_near_the_last_release",
        "means_are_near_the_last_release",
    )
    known |= dict.fromkeys(analytical, "analytical")
    return known | {f"benchmark_{benchmark.name}": "analytical" for benchmark in benchmarks}
