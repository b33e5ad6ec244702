"""The block `microdata` of the policy as typed data.

Belongs here: k, l, how keys get coarser, and refusing a block that protects nobody. Does
not belong here: applying it (`anonymise.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rcs_assets.codebook import PUPIL_SURVEYS

PURPOSES = ("archive", "cpp")
_NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Extract:
    """A part of a survey's file of answers: records that show one of `stages`, `themes` asked.

    It holds classes of the keys whole, hence is as anonymous as the file, and tells nothing
    more. `name` is that of its files.
    """

    name: str
    survey: str
    stages: tuple[str, ...]
    themes: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        stages, themes = " and ".join(self.stages), ", ".join(self.themes)
        return f"{self.name}: {self.survey}, {stages}, questions on {themes}"


@dataclass(frozen=True)
class MicrodataRule:
    """What an anonymised file of answers must keep to (policy.md, Table A and "Microdata").

    `k`: least pupils in a class of the keys; `l`: least values of each sensitive variable in
    it; `l_beside_own_record`: whether also among the others, for whoever alone gave an answer.
    `gives_way_to_tables`: whether a question of which tables tell what is withheld goes whole.
    `simd_groups`, `stage_bands`: value → what is shown instead. `weight_step`: weights
    are multiples of it. `merged_missing`: missing code → the one that stands for it in every
    contractor's data; `telling_missing`: missing codes that count as a value for `l`.
    `withheld_code`: stands for a sensitive answer that `l` withholds; `told_by`: variable → others
    that tell its answers by what they mean, withheld with it. `special_uniques_most`:
    the largest set of keys on which special uniques are looked for. `purposes`: whose
    packages hold such files; `extracts`: parts of them that have files of their own.
    """

    k: int
    l: int  # noqa: E741 - the name of the rule
    l_beside_own_record: bool
    gives_way_to_tables: bool
    simd_groups: Mapping[str, str]
    stage_bands: Mapping[str, str]
    weight_step: float
    merged_missing: Mapping[int, int]
    telling_missing: tuple[int, ...]
    withheld_code: int
    told_by: Mapping[str, tuple[str, ...]]
    special_uniques_most: int
    purposes: frozenset[str]
    extracts: tuple[Extract, ...]
    source: str
    dated: str
    reason: str


def microdata_rule(block: Mapping[str, Any]) -> MicrodataRule:
    """The rule from the policy's block.

    Raises:
        KeyError, TypeError, ValueError: the block is not in its form, or protects nobody.
    """
    rule = MicrodataRule(
        k=int(block["k"]),
        l=int(block["l"]),
        l_beside_own_record=_yes_or_no(block, "l_beside_own_record"),
        gives_way_to_tables=_yes_or_no(block, "gives_way_to_tables"),
        simd_groups=_by_value(block["simd_groups"]),
        stage_bands=_by_value(block["stage_bands"]),
        weight_step=float(block["weight_step"]),
        merged_missing={int(code): int(into) for code, into in block["merged_missing"].items()},
        telling_missing=tuple(int(code) for code in block["telling_missing"]),
        withheld_code=int(block["withheld_code"]),
        told_by={str(name): tuple(map(str, by)) for name, by in block["told_by"].items()},
        special_uniques_most=int(block["special_uniques_most"]),
        purposes=frozenset(name for name, wanted in block["purposes"].items() if wanted),
        extracts=tuple(_extract(name, one) for name, one in block["extracts"].items()),
        source=str(block["source"]),
        dated=str(block["dated"]),
        reason=str(block["reason"]),
    )
    for problem in _problems(rule):
        raise ValueError(f"microdata: {problem}")
    return rule


def _yes_or_no(block: Mapping[str, Any], name: str) -> bool:
    value = block[name]
    if not isinstance(value, bool):
        raise TypeError(f"microdata: {name} is yes or no")
    return value


def _extract(name: str, block: Mapping[str, Any]) -> Extract:
    stages, themes = (tuple(str(one) for one in block[key]) for key in ("stages", "themes"))
    return Extract(str(name), str(block["survey"]), stages, themes, str(block["source"]))


def _by_value(groups: Mapping[Any, Iterable[Any]]) -> dict[str, str]:
    """Group → its values, turned round; a value may stand in one group only."""
    pairs = [(str(value), str(group)) for group, values in groups.items() for value in values]
    if len(dict(pairs)) < len(pairs):
        raise ValueError("microdata: a value stands in two groups")
    return dict(pairs)


def _problems(rule: MicrodataRule) -> Iterable[str]:
    if rule.k < 2 or rule.l < 2:
        yield "k and l below 2 protect nobody"
    if not rule.simd_groups or not rule.stage_bands:
        yield "simd_groups and stage_bands say what is shown of a rare key: neither may be empty"
    if rule.weight_step <= 0:
        yield "weights need a step, or they tell the stage that was withheld"
    if not rule.purposes <= set(PURPOSES):
        yield f"the purposes are {' and '.join(PURPOSES)}"
    if not 1 <= rule.special_uniques_most <= 3:
        yield "special uniques are looked for on sets of one to three of the four keys"
    yield from _problems_of_extracts(rule)
    if rule.withheld_code >= 0:
        yield "the code for what is withheld must be negative, as missing codes are"


def _problems_of_extracts(rule: MicrodataRule) -> Iterable[str]:
    for one in rule.extracts:
        if not _NAME.fullmatch(one.name) or one.name in PUPIL_SURVEYS:
            yield f"extract {one.name}: its name is small letters, and not that of a survey"
        if one.survey not in PUPIL_SURVEYS or not one.stages or not one.themes:
            yield f"extract {one.name}: it needs a survey of pupils, stages and themes"
        if set(one.stages) & set(rule.stage_bands.values()):
            yield f"extract {one.name}: who is shown in a band of stages is in no extract"
