"""Which rules a release was made by, beside policy, codebook and register.

Belongs here: one version a room of the files of rules that an adopter may lay over the
platform's own, and how release notes speak of them. Does not belong here: reading the rules;
each room does, and refuses what makes no sense. Policy, codebook and register have versions
of their own, which the manifest names beside these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from rcs_assets.programme.datafile import DataFolder

FILES = {
    "intake": ("adapted_survey.csv", "rules.yaml", "schools.yaml", "special_schools.csv"),
    "linkage": (
        *("diminutives.yaml", "encodings.yaml", "linkage.yaml", "model.yaml", "quality.yaml"),
        "response.yaml",
    ),
    "wellbeing": ("estimators.yaml", "salsus.yaml"),
    "services": ("complex_asn.yaml", "link_items.yaml", "reach.yaml"),
    "research": ("findings.yaml",),
}
_WORDS = {
    "intake": "what is accepted of a delivery",
    "linkage": "how records are linked",
    "wellbeing": "how estimates and comparisons are made",
    "services": "how need, support and spend are counted",
    "research": "how findings on risks and outcomes are made",
}
_DIGITS = 12


def rules_in_force(config: Path) -> dict[str, str]:
    """Room → version of its rules, with the adopter's overlay in `config`."""
    package = Path(str(resources.files("rcs_assets")))
    return {
        room: DataFolder(room, package / room / "data", config).version(files)[:_DIGITS]
        for room, files in FILES.items()
    }


def changed_rules(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What changed, in words; nothing of a room whose rules an older release did not name."""
    for room, words in _WORDS.items():
        if room in before and before[room] != now[room]:
            yield f"other rules for {words}"
