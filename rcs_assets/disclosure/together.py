"""All parts of the policy, which lie in the rooms that apply them, held against each other.

Belongs here: contradictions between Table A (`disclosure`), Table B (`wellbeing`), need and
receipt (`services`), findings (`research`), denominators and cut-offs (`codebook`). Does not
belong here: what a part says by itself; its own loader refuses that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.cells import CONFIDENCE
from rcs_assets.disclosure.policy import Policy, load_policy
from rcs_assets.errors import ConfigurationError
from rcs_assets.research import load_findings_rules
from rcs_assets.research.rules import FindingsRules
from rcs_assets.services import load_reach_rules
from rcs_assets.services.rules import ReachRules
from rcs_assets.wellbeing.estimators import Estimators, load_estimators

# policy.md: a released Wilson interval is computed from a design effect rounded to this.
DESIGN_EFFECT_STEP = 0.1


@dataclass(frozen=True)
class Parts:
    """The policy of every room, as an installation has it."""

    policy: Policy
    codebook: Codebook
    estimators: Estimators
    reach: ReachRules
    findings: FindingsRules


def load_parts(codebook: Codebook, config: Path | None = None) -> Parts:
    """All parts with an adopter's overlay, none against another.

    Raises:
        ConfigurationError: a part is wrong by itself, or two contradict each other.
    """
    parts = Parts(
        load_policy(config),
        codebook,
        load_estimators(config),
        load_reach_rules(config),
        load_findings_rules(codebook, config),
    )
    problem = next(iter(contradictions(parts)), "")
    if problem:
        raise ConfigurationError(
            f"Two parts of the policy contradict each other: {problem}",
            where="config/",
            why="what one room estimates another protects: they rest on the same rules",
            fix="correct one of the two files",
        )
    return parts


def contradictions(parts: Parts) -> Iterator[str]:
    """What does not fit together, in words that name both files."""
    yield from _intervals(parts)
    yield from _breakdowns(parts)
    yield from _indicators(parts)
    yield from _microdata(parts)


def _intervals(parts: Parts) -> Iterable[str]:
    files = {
        "estimators.yaml": parts.estimators.confidence,
        "reach.yaml": parts.reach.confidence,
        "findings.yaml": parts.findings.confidence,
    }
    for file, confidence in files.items():
        if abs(confidence - CONFIDENCE) > 1e-9:
            yield f"{file} has intervals of {confidence:g}, released ones are of {CONFIDENCE:g}"
    steps = {
        "estimators.yaml": parts.estimators.design_effect_step,
        "reach.yaml": parts.reach.design_effect_step,
    }
    for file, step in steps.items():
        if abs(step - DESIGN_EFFECT_STEP) > 1e-9:
            yield (
                f"{file} rounds design effects to {step:g}, released intervals are computed from "
                f"{DESIGN_EFFECT_STEP:g}"
            )


def _breakdowns(parts: Parts) -> Iterable[str]:
    policy, made = parts.policy, parts.estimators.breakdowns
    for level, names in made.items():
        missing = sorted(set(names) - set(policy.breakdowns.get(level, ())))
        if missing:
            yield f"estimators.yaml makes {missing[0]} of a {level}, policy.yaml has no rule for it"
    for level, names in policy.breakdowns.items():
        missing = sorted(set(names) - set(made.get(level, ())))
        if missing:
            yield f"policy.yaml shows {missing[0]} of a {level}, estimators.yaml does not make it"
    if set(policy.clusters.surveys) != set(parts.estimators.cluster_surveys):
        yield "policy.yaml and estimators.yaml have other surveys for clusters"


def _indicators(parts: Parts) -> Iterable[str]:
    known = parts.codebook.indicators
    named = {
        "policy.yaml (linked_indicators)": [
            name for linked in parts.policy.linked_indicators for name in linked.indicators
        ],
        "reach.yaml (needs)": [name for need in parts.reach.needs for name in need.indicators],
        "findings.yaml (outcomes)": [
            n for names in parts.findings.outcomes.values() for n in names
        ],
        "estimators.yaml (headlines)": list(parts.estimators.headlines),
    }
    for file, names in named.items():
        for name in names:
            if name not in known:
                yield f"{file} names {name}, which the codebook does not have"
    for linked in parts.policy.linked_indicators:
        sensitive = {known[name].is_sensitive for name in linked.indicators if name in known}
        if len(sensitive) > 1:
            yield f"policy.yaml protects {linked.name} alike, the codebook: part of it is sensitive"
    for need in parts.reach.needs:
        base = parts.policy.reach.base
        rows = [
            parts.policy.rule_for(
                parts.policy.audiences["public"].output_classes["cpp"],
                is_sensitive=known[name].is_sensitive,
            ).base
            for name in need.indicators
            if name in known
        ]
        if rows and base < max(rows):
            yield (
                f"policy.yaml shows need {need.name} from {base} pupils, its indicators from "
                f"{max(rows)}"
            )


def _microdata(parts: Parts) -> Iterable[str]:
    for name, by in parts.policy.microdata.told_by.items():
        for absent in sorted({name, *by} - set(parts.codebook.variables)):
            yield f"policy.yaml (microdata) names {absent}, which the codebook does not ask"
    stages = {stage for v in parts.codebook.variables.values() for stage in v.stages}
    missing = sorted(stages - set(parts.policy.microdata.stage_bands))
    if missing:
        yield f"the codebook asks stage {missing[0]}, policy.yaml (microdata) has no band for it"
    codes = set(parts.codebook.missing)
    unknown = sorted(set(parts.policy.microdata.merged_missing) - codes)
    if unknown:
        yield f"policy.yaml (microdata) merges missing code {unknown[0]}, the codebook has none"
