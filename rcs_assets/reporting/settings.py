"""The words and choices of the pages, read from `data/report.yaml`.

Belongs here: reading that file into one frozen object and refusing what is not complete.
Does not belong here: any word or choice itself (those are data), and figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from rcs_assets.errors import ConfigurationError
from rcs_assets.programme.datafile import MALFORMED, parse_yaml
from rcs_assets.reporting.numerals import NumeralRules, numeral_rules

FILE = "reporting/data/report.yaml"


@dataclass(frozen=True)
class SurveyWords:
    """How one survey is named; `one` is what its people are called in a sentence."""

    title: str
    who: str
    one: str


@dataclass(frozen=True)
class GroupTableWords:
    """Heading of a table by group, and what to know before reading it."""

    title: str
    about: str


@dataclass(frozen=True)
class MarkWords:
    """A mark in square brackets: what stands in a chart row, and what it means."""

    short: str
    text: str


@dataclass(frozen=True)
class ReachWords:
    """Words of need and reach by key; `drawn` are the services that get a row."""

    services: Mapping[str, str]
    drawn: tuple[str, ...]
    levels: Mapping[str, str]
    needs: Mapping[str, str]


@dataclass(frozen=True)
class SpendWords:
    """Words of the tiers by key; `prevention` are the tiers that count as prevention."""

    tiers: Mapping[str, str]
    about: Mapping[str, str]
    prevention: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """Everything of `report.yaml`; mappings keep the order of the file.

    `scales` holds the lowest and highest value of a mean score; `sensitive_headline_n` is
    the least n (shown, so rounded) of a sensitive measure in a headline.
    """

    domains: Mapping[str, str]
    surveys: Mapping[str, SurveyWords]
    priority: Mapping[str, tuple[str, ...]]
    base_measure: Mapping[str, str]
    scales: Mapping[str, tuple[float, float]]
    stand_out: int
    sensitive_headline_n: int
    dumbbells: int
    few_shown_pct: int
    group_labels: Mapping[str, Mapping[str, str]]
    group_tables: Mapping[str, GroupTableWords]
    marks: Mapping[str, MarkWords]
    no_change: Mapping[str, str]
    reach: ReachWords
    spend: SpendWords
    sources: Mapping[str, str]
    support: str
    talk: Mapping[str, tuple[str, ...]]
    care: tuple[str, ...]
    chance: str
    chance_left: Mapping[str, str]
    chance_without_rating: str
    chance_hidden: str
    reading: Mapping[str, str]
    rounding: Mapping[str, str]
    programme: str
    programme_title: str
    not_scotland: str
    accessibility: tuple[str, ...]
    words: Mapping[str, str]
    numerals: NumeralRules

    def group_label(self, breakdown: str, group: str) -> str:
        """The word for a group; the group itself where none is needed (`S3`)."""
        return self.group_labels.get(breakdown, {}).get(group, group)

    def group_order(self, breakdown: str, group: str) -> tuple[int, str]:
        """The order of the file; groups without a word by their code, after them."""
        known = list(self.group_labels.get(breakdown, {}))
        return (known.index(group) if group in known else len(known), group)

    def source_words(self, source: str) -> str:
        """Where a measure comes from, in words instead of the codebook's marks."""
        for pattern, words in self.sources.items():
            source = re.sub(pattern, words, source)
        return source[:1].upper() + source[1:]


@cache
def load_settings() -> Settings:
    """The settings of the pages.

    Raises:
        ConfigurationError: `report.yaml` is not complete or not in its form.
    """
    text = (resources.files("rcs_assets.reporting") / "data" / "report.yaml").read_text("utf-8")
    try:
        return parse_settings(text)
    except MALFORMED as error:
        raise ConfigurationError(
            f"The settings of the pages are not in their form ({type(error).__name__}: {error})",
            where=FILE,
        ) from error


def parse_settings(text: str) -> Settings:
    """Settings from the text of a `report.yaml`; every block needs source and reason."""
    content: dict[str, dict[str, Any]] = parse_yaml(text, FILE)
    for name, block in content.items():
        if not (block.get("source") and block.get("reason")):
            raise ValueError(f"block {name} lacks source or reason")
    limits, chance, programme = content["limits"], content["chance"], content["programme"]
    spend, reach = content["spend"], content["reach"]
    return Settings(
        domains=content["domains"]["order"],
        surveys={k: SurveyWords(**v) for k, v in content["surveys"]["order"].items()},
        priority={k: tuple(v) for k, v in content["priority"]["measures"].items()},
        base_measure=content["base_measure"]["measures"],
        scales={k: (float(v[0]), float(v[1])) for k, v in content["scales"]["ends"].items()},
        stand_out=int(limits["stand_out"]),
        sensitive_headline_n=int(limits["sensitive_headline_n"]),
        dumbbells=int(limits["dumbbells"]),
        few_shown_pct=int(limits["few_shown_pct"]),
        group_labels=content["groups"]["labels"],
        group_tables={k: GroupTableWords(**v) for k, v in content["group_tables"]["order"].items()},
        marks={k: MarkWords(**v) for k, v in content["marks"]["words"].items()},
        no_change=content["changes"]["why_none"],
        reach=ReachWords(reach["services"], tuple(reach["drawn"]), reach["levels"], reach["needs"]),
        spend=SpendWords(spend["tiers"], spend["about"], tuple(spend["prevention"])),
        sources={re.compile(k).pattern: v for k, v in content["sources"]["words"].items()},
        support=content["support"]["text"],
        talk={k: tuple(v) for k, v in content["talk"].items() if k not in ("source", "reason")},
        care=tuple(content["care"]["texts"]),
        chance=chance["text"],
        chance_left=chance["left"],
        chance_without_rating=chance["text_without_rating"],
        chance_hidden=chance["text_hidden"],
        reading={k: v for k, v in content["reading"].items() if k not in ("source", "reason")},
        rounding=content["rounding"]["texts"],
        programme=programme["name"],
        programme_title=programme["title"],
        not_scotland=programme["not_scotland"],
        accessibility=_accessibility(content["accessibility"]),
        words=content["words"]["texts"],
        numerals=numeral_rules(
            content["numerals"]["words"],
            content["numerals"]["phrases"],
            content["numerals"]["patterns"],
        ),
    )


def _accessibility(block: Mapping[str, Any]) -> tuple[str, ...]:
    """The statement with the day of its test, which is data and no clock's."""
    day = block["tested_on"]
    if not isinstance(day, date):
        raise ValueError(f"accessibility.tested_on is no day: {day}")
    said = f"{day.day} {day:%B %Y}"
    return tuple(
        text.format(tested_on=said, tested_with=block["tested_with"]) for text in block["texts"]
    )
