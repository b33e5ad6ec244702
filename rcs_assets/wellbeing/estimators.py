"""The rules of policy.md, Table B, as typed data.

Belongs here: reading and checking `data/estimators.yaml` with an adopter's overlay. Does
not belong here: the estimates themselves (`estimates.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rcs_assets.programme.datafile import DataFolder, read_rules
from rcs_assets.wellbeing.breakdowns import AREAS, BREAKDOWNS, PUPIL_SURVEYS, ROLL_BREAKDOWNS

WHY = "policy.md, Table B; see the comments of the platform's own file"
FILE = "estimators.yaml"


@dataclass(frozen=True)
class Estimators:
    """What is published for which table; the file says where each number comes from.

    `schools_for_clusters` is the number of schools of a survey from which an area's interval
    is made from school clusters; `design_effect_step` and `design_effect_floor` treat a
    pooled design effect; `weight_ratio_limit` bounds the weight of a class; `breakdowns`
    names the breakdowns of each level; surveys outside `cluster_surveys` have no clusters.
    `comparison_…` say what a marked difference needs; `headlines` are tested at the CPP;
    `change_breakdowns` are those of changes between waves.
    """

    confidence: float
    schools_for_clusters: int
    design_effect_step: float
    design_effect_floor: float
    weight_ratio_limit: float
    breakdowns: Mapping[str, tuple[str, ...]]
    cluster_surveys: tuple[str, ...]
    ethnicity_groups: tuple[str, ...]
    comparison_alpha: float
    comparison_least_points: float
    comparison_least_sd: float
    headlines: tuple[str, ...]
    change_breakdowns: tuple[str, ...]

    @property
    def all_breakdowns(self) -> tuple[str, ...]:
        """Every breakdown of any level, each once."""
        return tuple(dict.fromkeys(name for names in self.breakdowns.values() for name in names))


def load_estimators(overlay: Path | None = None) -> Estimators:
    """The platform's rules with the overlay's keys in their place.

    Args:
        overlay: folder that may hold an `estimators.yaml` with some of the keys.

    Raises:
        ConfigurationError: an unknown key, or a value that makes no sense.
    """
    folder = DataFolder("wellbeing", Path(__file__).parent / "data", overlay)
    return read_rules(folder, FILE, _build, _problems, WHY)


def _build(rules: Mapping[str, Any]) -> Estimators:
    return Estimators(**_typed(rules))


def _typed(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as such, and lists as tuples, so that the rules cannot change.

    Raises:
        ValueError: breakdowns that are no lists by level.
    """
    breakdowns = rules["breakdowns"]
    if not isinstance(breakdowns, dict) or not all(
        isinstance(names, list) for names in breakdowns.values()
    ):
        raise ValueError("breakdowns takes a list of breakdowns for each level")
    frozen = {name: tuple(v) if isinstance(v, list) else v for name, v in rules.items()}
    numbers = {f.name: float(rules[f.name]) for f in fields(Estimators) if f.type == "float"}
    by_level = {level: tuple(names) for level, names in breakdowns.items()}
    return frozen | numbers | {"breakdowns": by_level}


def _problems(rules: Estimators) -> Iterator[str]:
    numbers = {
        "confidence": 0 < rules.confidence < 1,
        "schools_for_clusters": rules.schools_for_clusters >= 2,
        "design_effect_step": rules.design_effect_step > 0,
        "design_effect_floor": rules.design_effect_floor > 0,
        "weight_ratio_limit": rules.weight_ratio_limit > 1,
        "breakdowns": set(rules.breakdowns) == set(AREAS)
        and all("total" in names for names in rules.breakdowns.values())
        and set(rules.all_breakdowns) <= set(BREAKDOWNS),
        "cluster_surveys": set(rules.cluster_surveys) <= set(PUPIL_SURVEYS),
        "ethnicity_groups": len(rules.ethnicity_groups) > 0,
        "change_breakdowns": "total" in rules.change_breakdowns
        and set(rules.change_breakdowns) <= set(ROLL_BREAKDOWNS),
        "comparison_alpha": 0 < rules.comparison_alpha < 1,
        "comparison_least_points": rules.comparison_least_points >= 0,
        "comparison_least_sd": rules.comparison_least_sd >= 0,
    }
    yield from (f"{name} makes no sense" for name, is_right in numbers.items() if not is_right)
