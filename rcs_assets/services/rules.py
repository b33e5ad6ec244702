"""The rules of need × reach as typed data.

Belongs here: reading and checking `data/reach.yaml` with an adopter's overlay. Does not
belong here: the rates themselves (`reach.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcs_assets.programme.datafile import DataFolder, read_rules

WHY = "policy.md, Table B, reach"
FILE = "reach.yaml"
LEVELS = ("none", "some", "high")
BREAKDOWNS = ("total", "stage", "sex")
# What support a pupil can have: two kinds, one recorded need beside them, three combinations.
SUPPORTS = ("asn_support", "any_asn", "social_work")
SERVICES = ("asn_support", "any_asn", "social_work", "any_service", "both", "none")
# Columns of linkage.linked that say what a pupil received.
RECEIPTS = (
    "has_asn_support",
    "has_asn",
    "has_social_work",
    "has_open_case",
    "has_childs_plan",
    "child_protection_12m",
    "looked_after",
)
_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Condition:
    """A column of `table` (indicator or score) is at least, or at most, a value."""

    table: str
    column: str
    operator: str
    value: float


@dataclass(frozen=True)
class Need:
    """A kind of need with its levels; `indicators` count the same pupils elsewhere."""

    name: str
    title: str
    survey: str
    indicators: tuple[str, ...]
    high: tuple[Condition, ...]
    some: tuple[Condition, ...]


@dataclass(frozen=True)
class Support:
    """A kind of support: the columns of which one suffices, and the dataset that tells."""

    name: str
    title: str
    dataset: str
    any_of: tuple[str, ...]


@dataclass(frozen=True)
class ReachRules:
    """What `data/reach.yaml` says; the file gives source, date and reason of each entry."""

    sensitivity_floor: float
    least_pairs: int
    other_thresholds: tuple[float, ...]
    confidence: float
    design_effect_step: float
    design_effect_floor: float
    breakdowns: tuple[str, ...]
    needs: tuple[Need, ...]
    supports: Mapping[str, Support]


def load_reach_rules(overlay: Path | None = None) -> ReachRules:
    """The platform's rules with the overlay's keys in their place.

    Args:
        overlay: folder that may hold a `reach.yaml` with some of the keys.

    Raises:
        ConfigurationError: an unknown key, a missing one, or a value that makes no sense.
    """
    folder = DataFolder("services", Path(__file__).parent / "data", overlay)
    return read_rules(folder, FILE, _build, _problems, WHY)


def _build(found: Mapping[str, Any]) -> ReachRules:
    return ReachRules(
        sensitivity_floor=float(found["sensitivity_floor"]),
        least_pairs=int(found["least_pairs"]),
        other_thresholds=tuple(map(float, found["other_thresholds"])),
        confidence=float(found["confidence"]),
        design_effect_step=float(found["design_effect_step"]),
        design_effect_floor=float(found["design_effect_floor"]),
        breakdowns=tuple(found["breakdowns"]),
        needs=tuple(_need(name, row) for name, row in found["needs"].items()),
        supports={
            name: Support(name, row["title"], row["dataset"], tuple(row["any_of"]))
            for name, row in found["supports"].items()
        },
    )


def _need(name: str, row: Mapping[str, Any]) -> Need:
    return Need(
        name=name,
        title=row["title"],
        survey=row["survey"],
        indicators=tuple(row["indicators"]),
        high=tuple(map(_condition, row["high"])),
        some=tuple(map(_condition, row["some"])),
    )


def _condition(row: Mapping[str, Any]) -> Condition:
    (table,) = {"indicator", "score"} & set(row)
    (operator,) = {"at_least", "at_most"} & set(row)
    sign = ">=" if operator == "at_least" else "<="
    return Condition(table, str(row[table]), sign, float(row[operator]))


def _problems(rules: ReachRules) -> Iterator[str]:
    numbers = {
        "sensitivity_floor": 0 < rules.sensitivity_floor <= 1,
        "least_pairs": rules.least_pairs >= 1,
        "other_thresholds": list(rules.other_thresholds) == sorted(set(rules.other_thresholds)),
        "confidence": 0 < rules.confidence < 1,
        "design_effect_step": rules.design_effect_step > 0,
        "design_effect_floor": rules.design_effect_floor > 0,
        "breakdowns": "total" in rules.breakdowns and set(rules.breakdowns) <= set(BREAKDOWNS),
        "supports": set(rules.supports) == set(SUPPORTS),
    }
    yield from (f"{name} makes no sense" for name, is_right in numbers.items() if not is_right)
    for support in rules.supports.values():
        if not support.any_of or not set(support.any_of) <= set(RECEIPTS):
            yield f"{support.name}: any_of takes {', '.join(RECEIPTS)}"
    for need in rules.needs:
        yield from _need_problems(need)


def _need_problems(need: Need) -> Iterator[str]:
    conditions = (*need.high, *need.some)
    names = [need.name, *need.indicators, *(c.column for c in conditions)]
    if not (need.high and need.some) or not all(map(_COLUMN.fullmatch, names)):
        yield f"{need.name} needs conditions for high and some, on named columns"
    if need.survey not in ("primary", "secondary"):
        yield f"{need.name}: survey is primary or secondary"
