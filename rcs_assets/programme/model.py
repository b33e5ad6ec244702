"""Types of the programme register: who takes part, when, with whom, by what approval.

Belongs here: frozen dataclasses. Does not belong here: reading files (`load.py`)
and what is measured (`codebook`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Cpp:
    """A Community Planning Partnership; codes are those of today (dated ones in `codes`)."""

    slug: str
    name: str
    council_code: str
    council_name: str
    la_code: str
    health_board_code: str
    health_board_name: str


@dataclass(frozen=True)
class DatedCode:
    """A council or health-board code with the days on which it held (inclusive; null = open)."""

    slug: str
    kind: str
    code: str
    valid_from: date
    valid_to: date | None


@dataclass(frozen=True)
class Tranche:
    """One tranche, `t1` … `t3`."""

    key: str
    number: int
    label: str
    starts_on: date
    ends_on: date


@dataclass(frozen=True)
class SurveyWave:
    """One survey in one engagement: contractor, stages, fieldwork window, design.

    `target_n` is the number of interviews aimed at in a quota design, null for a census.
    """

    engagement: str
    survey: str
    contractor: str
    stages: tuple[str, ...]
    fieldwork_start: date
    fieldwork_end: date
    design: str
    mode: str
    source: str
    target_n: int | None = None


@dataclass(frozen=True)
class Engagement:
    """A CPP in a tranche: the partition key, e.g. `t1-west-lothian`."""

    key: str
    tranche: str
    cpp: Cpp
    waves: tuple[SurveyWave, ...]

    def wave(self, survey: str) -> SurveyWave | None:
        """The wave of `survey`, or None where this engagement did not have it."""
        return next((w for w in self.waves if w.survey == survey), None)


@dataclass(frozen=True)
class Approval:
    """One row of privacy.csv: what allows intake and linkage of an engagement's survey wave."""

    engagement: str
    controller: str
    processors: str
    contract_expires_on: date | None
    iso27001_expires_on: date | None
    dpia_reference: str
    dpia_review_on: date | None
    sharing_agreement: str
    ethics: str
    panel: str
    notice_version: str
    lawful_basis: str
    valid_from: date | None
    expires_on: date | None
    retention_until: date | None
    source: str

    @property
    def is_placeholder(self) -> bool:
        """True where the row stands in for references that are not known (demonstrations only)."""
        return self.source.startswith("placeholder")


@dataclass(frozen=True)
class Settlement:
    """How a contradiction of the sources is settled (domain.md §0.2 and §12), and where."""

    key: str
    topic: str
    contradiction: str
    settled_as: str
    configured_in: str
    source: str


@dataclass(frozen=True)
class Programme:
    """The whole register. `version` is the sha256 over the data files."""

    version: str
    tranches: Mapping[str, Tranche]
    cpps: Mapping[str, Cpp]
    codes: tuple[DatedCode, ...]
    engagements: Mapping[str, Engagement]
    approvals: Mapping[str, Approval]
    settlements: tuple[Settlement, ...] = ()

    @property
    def engagement_keys(self) -> tuple[str, ...]:
        """Partition keys in the order of tranche, then name."""
        return tuple(self.engagements)

    def code_on(self, slug: str, kind: str, day: date) -> str:
        """The `council` or `health_board` code of a CPP on a day.

        Raises:
            KeyError: no code is known for that day.
        """
        for dated in self.codes:
            ends = dated.valid_to or date.max
            if (dated.slug, dated.kind) == (slug, kind) and dated.valid_from <= day <= ends:
                return dated.code
        raise KeyError(f"{slug}/{kind}/{day.isoformat()}")
