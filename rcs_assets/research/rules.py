"""What is analysed, as typed data.

Belongs here: reading and checking `data/findings.yaml` with an adopter's overlay. Does not
belong here: the analysis (`findings.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rcs_assets.codebook.model import PUPIL_SURVEYS, Codebook
from rcs_assets.codebook.versions import not_poolable, variables_of
from rcs_assets.programme.datafile import DataFolder, read_rules

WHY = "factors and outcomes are those of the codebook"
FILE = "findings.yaml"
DOMAINS = ("family", "school", "peer", "area", "health")  # [S:FA p1]
ADJUSTABLE = ("sex", "stage", "simd_quintile")


@dataclass(frozen=True)
class Factor:
    """A question split in two; the answers `risk` are the risk factor."""

    name: str
    title: str
    domain: str
    variable: str
    risk: tuple[int, ...]
    surveys: tuple[str, ...]


@dataclass(frozen=True)
class FindingsRules:
    """What `data/findings.yaml` says; the file gives the source of each entry."""

    confidence: float
    outcomes: Mapping[str, tuple[str, ...]]
    adjusted_for: Mapping[str, tuple[str, ...]]
    counted_surveys: tuple[str, ...]
    most_risks: int
    factors: tuple[Factor, ...]

    def factors_of(self, survey: str, domain: str | None = None) -> tuple[Factor, ...]:
        """The factors of a survey, of one domain where one is named."""
        return tuple(f for f in self.factors if survey in f.surveys and domain in (None, f.domain))

    def unlike(self, survey: str, codebook: Codebook, tranches: Collection[str]) -> frozenset[str]:
        """Outcomes and factors of a survey that these tranches did not ask alike."""
        made_of: dict[str, Collection[str]] = {
            outcome: variables_of(codebook, outcome) for outcome in self.outcomes[survey]
        }
        made_of |= {factor.name: (factor.variable,) for factor in self.factors_of(survey)}
        return not_poolable(codebook, survey, made_of, tranches)

    def without(self, names: Collection[str]) -> FindingsRules:
        """The rules without these factors."""
        return replace(self, factors=tuple(f for f in self.factors if f.name not in names))


def load_findings_rules(codebook: Codebook, overlay: Path | None = None) -> FindingsRules:
    """The platform's rules with the overlay's keys in their place.

    Args:
        codebook: outcomes are its indicators, factors its variables.
        overlay: folder that may hold a `findings.yaml` with some of the keys.

    Raises:
        ConfigurationError: an unknown key, a missing one, or a value that makes no sense.
    """
    folder = DataFolder("research", Path(__file__).parent / "data", overlay)
    return read_rules(folder, FILE, _build, lambda rules: _problems(rules, codebook), WHY)


def _build(found: Mapping[str, Any]) -> FindingsRules:
    return FindingsRules(
        confidence=float(found["confidence"]),
        outcomes={survey: tuple(names) for survey, names in found["outcomes"].items()},
        adjusted_for={
            name: tuple(map(str, levels)) for name, levels in found["adjusted_for"].items()
        },
        counted_surveys=tuple(found["counts"]["surveys"]),
        most_risks=int(found["counts"]["most"]),
        factors=tuple(
            Factor(
                name=row["name"],
                title=row["title"],
                domain=row["domain"],
                variable=row["variable"],
                risk=tuple(map(int, row["risk"])),
                surveys=tuple(row["surveys"]),
            )
            for row in found["factors"]
        ),
    )


def _problems(rules: FindingsRules, codebook: Codebook) -> Iterator[str]:
    if not 0 < rules.confidence < 1 or rules.most_risks < 1:
        yield "confidence lies between 0 and 1, most is at least 1"
    if not {*rules.outcomes, *rules.counted_surveys} <= set(PUPIL_SURVEYS):
        yield f"surveys are {' and '.join(PUPIL_SURVEYS)}"
    if not set(rules.adjusted_for) <= set(ADJUSTABLE):
        yield f"models can be adjusted for {', '.join(ADJUSTABLE)}"
    for survey, names in rules.outcomes.items():
        for name in names:
            indicator = codebook.indicators.get(name)
            if indicator is None or indicator.survey != survey or indicator.statistic != "pct":
                yield f"{name} is no percentage of the {survey} survey"
    factors = [factor.name for factor in rules.factors]
    if len(set(factors)) != len(factors):
        yield "a factor stands twice"
    for factor in rules.factors:
        yield from _factor_problems(factor, codebook)


def _factor_problems(factor: Factor, codebook: Codebook) -> Iterator[str]:
    variable = codebook.variables.get(factor.variable)
    if variable is None or not set(factor.surveys) <= set(variable.surveys):
        yield f"{factor.name}: {factor.variable} is not asked in {', '.join(factor.surveys)}"
        return
    if factor.domain not in DOMAINS:
        yield f"{factor.name}: domains are {', '.join(DOMAINS)}"
    codes = set(codebook.value_sets[variable.value_set].values)
    if not factor.risk or not set(factor.risk) < codes:
        yield f"{factor.name}: risk lists some, not all, of the answers of {factor.variable}"
