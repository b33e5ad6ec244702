"""The outcome table of a children's services plan and the findings, as parts of a page.

Belongs here: views of the released tables `outcomes`, `models` and `risks` of one package. Does
not belong here: how they were made and protected (room research), fixed words
(`data/report.yaml`).

A finding is told in points: by how much the share with the outcome differs with the factor,
all else alike. What goes together need not be a cause, and no factor is put before another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rcs_assets.reporting import wording
from rcs_assets.reporting.package import SHOWN, Model, Package, Place
from rcs_assets.reporting.parts import figure
from rcs_assets.reporting.settings import Settings

# The p value of the test of fit, as it is shown (two decimals), from which on a page warns.
POOR_FIT = 0.05


@dataclass(frozen=True)
class OutcomeRow:
    """One sentence for the plan with its figure; a hidden one has its title and its mark."""

    indicator: str
    sentence: str
    value: str
    span: str


@dataclass(frozen=True)
class OutcomePart:
    """The sentences of one SHANARRI outcome."""

    key: str
    title: str
    rows: tuple[OutcomeRow, ...]


@dataclass(frozen=True)
class FindingRow:
    """One factor that goes clearly with an outcome: points, and their likely range."""

    factor: str
    points: str
    span: str


@dataclass(frozen=True)
class FindingPart:
    """What goes with one outcome, all else alike; no rows where nothing is clear or shown.

    `is_misfit`: the test of fit says that something is missing in the model.
    """

    key: str
    title: str
    sentence: str
    is_misfit: bool
    rows: tuple[FindingRow, ...]


def outcome_parts(package: Package, settings: Settings, place: Place) -> tuple[OutcomePart, ...]:
    """The core and priority measures of each outcome, in the order of the domains.

    Args:
        package: the package; without a table `outcomes` there are no parts.
        settings: order of domains and surveys, priority measures.
        place: the CPP.
    """
    wanted = {name for names in settings.priority.values() for name in names}
    surveys = list(settings.surveys)
    rows = sorted(
        (
            row
            for row in package.outcomes
            if row.engagement == place.engagement
            and (row.is_core == "true" or row.indicator in wanted)
        ),
        key=lambda row: (surveys.index(row.survey), row.title, row.indicator),
    )
    parts = []
    for key, title in settings.domains.items():
        found = []
        for row in rows:
            cell = package.cell(place, row.survey, row.indicator)
            if row.domain != key or cell is None or cell.status in ("x", "z"):
                continue
            who = settings.surveys[row.survey].who
            said = row.sentence if row.status in SHOWN else f"{who}: {row.title}"
            span = wording.span(cell) if cell.is_shown else ""
            found.append(OutcomeRow(row.indicator, said, figure(cell), span))
        if found:
            parts.append(OutcomePart(key, title, tuple(found)))
    return tuple(parts)


def finding_parts(package: Package, settings: Settings) -> tuple[FindingPart, ...]:
    """What goes clearly with each outcome, by the adjusted models of all areas together."""
    titles = {row.factor: row.title for row in package.risks if row.title}
    outcomes = dict.fromkeys((row.survey, row.outcome) for row in package.models)
    return tuple(
        _finding(package, settings, survey, outcome, titles)
        for survey, outcome in outcomes
        if survey in settings.surveys and outcome in package.measures
    )


def _finding(
    package: Package, settings: Settings, survey: str, outcome: str, titles: dict[str, str]
) -> FindingPart:
    terms = [
        row
        for row in package.models
        if (row.survey, row.outcome, row.kind) == (survey, outcome, "term") and row.factor in titles
    ]
    clear = sorted(
        (row for row in terms if row.status in SHOWN and row.is_clear == "true"),
        key=lambda row: titles[row.factor],
    )
    return FindingPart(
        key=outcome,
        title=f"{package.measures[outcome].title}: {settings.surveys[survey].who.lower()}",
        sentence=wording.finding_sentence(
            len(clear), sum(row.status in SHOWN for row in terms), len(terms)
        ),
        is_misfit=any(
            float(row.value) <= POOR_FIT
            for row in package.models
            if (row.survey, row.outcome, row.kind, row.factor) == (survey, outcome, "check", "fit")
            and row.status in SHOWN
            and row.value
        ),
        rows=_rows(clear, titles),
    )


def _rows(clear: Sequence[Model], titles: dict[str, str]) -> tuple[FindingRow, ...]:
    return tuple(
        FindingRow(
            titles[row.factor],
            wording.points(row.effect_points),
            wording.points_span(row.effect_low, row.effect_high),
        )
        for row in clear
    )
