"""How questionnaire versions differ, and which indicators may be compared between them.

Belongs here: the differences of two versions of a survey, worked out from names, codes and the
recorded changes, and what follows for an indicator. Does not belong here: the changes
themselves (`version_changes.csv`) and comparing estimates (`wellbeing`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from rcs_assets.codebook.model import Codebook, Questionnaire, QuestionnaireVariable
from rcs_assets.codebook.questions import SURVEY_STAGES


@dataclass(frozen=True)
class Difference:
    """One difference of a variable between two versions of a survey, the older first.

    `change` name | codes | asked | not_asked, or a kind of `VersionChange`. Names and codes are
    mapped and never break comparability.
    """

    survey: str
    older: str
    newer: str
    variable: str
    change: str
    breaks_comparability: bool
    note: str


def versions_of(codebook: Codebook, survey: str) -> tuple[Questionnaire, ...]:
    """The versions of a survey in order of wave."""
    found = [q for q in codebook.questionnaires.values() if q.survey == survey]
    return tuple(sorted(found, key=lambda version: (version.wave, version.name)))


def differences(codebook: Codebook) -> tuple[Difference, ...]:
    """Differences between each version and the one before it, by survey and variable."""
    return tuple(
        difference
        for survey in SURVEY_STAGES
        for older, newer in pairwise(versions_of(codebook, survey))
        for difference in _between(codebook, older, newer)
    )


def _between(
    codebook: Codebook, older: Questionnaire, newer: Questionnaire
) -> Iterator[Difference]:
    before = {asked.variable: asked for asked in older.variables}
    after = {asked.variable: asked for asked in newer.variables}
    recorded = {
        (c.variable, c.change): c
        for c in codebook.version_changes
        if c.questionnaire == newer.name and c.change != "not_asked"
    }
    place = (older.survey, older.name, newer.name)
    for name in codebook.variables:
        if name in before and name in after:
            for change, note in _mapped(before[name], after[name]):
                yield Difference(*place, name, change, False, note)
        elif name in before:
            yield Difference(*place, name, "not_asked", True, f"asked in {older.name} only")
        elif name in after:
            yield Difference(*place, name, "asked", True, f"asked from {newer.name} on")
        for (variable, change), found in recorded.items():
            if variable == name:
                yield Difference(*place, name, change, found.breaks_comparability, found.note)


def _mapped(
    before: QuestionnaireVariable, after: QuestionnaireVariable
) -> Iterator[tuple[str, str]]:
    if before.supplier_name != after.supplier_name:
        yield "name", f"{before.supplier_name} → {after.supplier_name}"
    if dict(before.codes) != dict(after.codes):
        then, now = _codes(before), _codes(after)
        changed = [
            f"{ours}: {then.get(ours, '–')} → {now.get(ours, '–')}"
            for ours in sorted({*then, *now})
            if then.get(ours) != now.get(ours)
        ]
        yield "codes", "; ".join(changed)


def _codes(asked: QuestionnaireVariable) -> dict[int, str]:
    """The supplier's codes of each of ours."""
    found: dict[int, list[str]] = {}
    for supplier, ours in sorted(asked.codes.items()):
        found.setdefault(ours, []).append(str(supplier))
    return {ours: ", ".join(codes) for ours, codes in found.items()}


def _breaks(
    found: tuple[Difference, ...], survey: str, variables: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Pairs of neighbouring versions (older, newer) between which any of the variables breaks."""
    broken = [
        (d.older, d.newer)
        for d in found
        if d.survey == survey and d.breaks_comparability and d.variable in variables
    ]
    return tuple(dict.fromkeys(broken))


def not_comparable(codebook: Codebook, tranches: Collection[str]) -> frozenset[str]:
    """All indicators whose questions changed between these tranches."""
    found: set[str] = set()
    for survey in SURVEY_STAGES:
        own = (i.name for i in codebook.indicators.values() if i.survey == survey)
        made_of = {name: variables_of(codebook, name) for name in own}
        found |= not_poolable(codebook, survey, made_of, tranches)
    return frozenset(found)


def not_poolable(
    codebook: Codebook,
    survey: str,
    made_of: Mapping[str, Collection[str]],
    tranches: Collection[str],
) -> frozenset[str]:
    """Those whose questions changed between these tranches, so that they must not be pooled.

    Args:
        codebook: versions and their recorded changes.
        survey: the survey that asked.
        made_of: the questions that each name is made of.
        tranches: keys; one alone is alike, unless it used two versions that differ.

    Returns:
        Names of `made_of`.
    """
    found = differences(codebook)
    order = [version.name for version in versions_of(codebook, survey)]
    held = [i for i, name in enumerate(order) if codebook.questionnaires[name].tranche in tranches]
    between = range(min(held) + 1, max(held) + 1) if held else ()
    return frozenset(
        name
        for name, variables in made_of.items()
        if any(order.index(newer) in between for _, newer in _breaks(found, survey, variables))
    )


def comparability(codebook: Codebook) -> dict[str, str]:
    """The flag of each indicator in words, as releases print it."""
    found = differences(codebook)
    return {
        name: _flag(codebook, _breaks(found, indicator.survey, variables_of(codebook, name)))
        for name, indicator in codebook.indicators.items()
    }


def _flag(codebook: Codebook, broken: tuple[tuple[str, str], ...]) -> str:
    if not broken:
        return "comparable between tranches"
    pairs = [
        f"{codebook.questionnaires[older].tranche} with {codebook.questionnaires[newer].tranche}"
        for older, newer in broken
    ]
    return f"not to be compared: {', '.join(pairs)}"


def variables_of(codebook: Codebook, indicator: str) -> frozenset[str]:
    """The questions that an indicator is made of: its own, or all items of its score."""
    rule = codebook.indicators[indicator].rule
    if rule.variables:
        return frozenset(rule.variables)
    parts = {
        composite.name: composite.scales
        for instrument in codebook.instruments.values()
        for composite in instrument.composites
    }
    scales = {
        scale.name: scale
        for instrument in codebook.instruments.values()
        for scale in instrument.scales
    }
    score = rule.score or codebook.cutoff_sets[rule.cutoff_set].score
    names = parts.get(score, (score,))
    found = [s for s in scales.values() if s.name in names or s.metric_name in names]
    gates = {scale.zero_variable for scale in found} - {""}
    return frozenset(item.variable for scale in found for item in scale.items) | gates
