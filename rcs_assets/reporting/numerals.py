"""Finds figures that an author wrote by hand, in digits or in words.

Belongs here: what in a text counts as a figure, and what does not (a year, a stage, a day). Does
not belong here: Markdown and placeholders (`summary.py`), the words themselves
(`data/report.yaml`).

A figure by hand is a second truth beside the tables, and can tell what they hide ("three
pupils"). So everything that counts is refused but what the data name: too much rather than too
little.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class NumeralRules:
    """`words` count; `phrases` and what the `patterns` match do not."""

    words: frozenset[str]
    phrases: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]


def numeral_rules(
    words: Iterable[str], phrases: Iterable[str], patterns: Iterable[str]
) -> NumeralRules:
    """Rules of which case says nothing; the longest phrase comes first.

    Raises:
        ValueError: a pattern is no regular expression.
    """
    try:
        compiled = tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return NumeralRules(
        frozenset(word.lower() for word in words),
        tuple(sorted((p.lower() for p in phrases), key=lambda p: (-len(p), p))),
        compiled,
    )


def figure_by_hand(text: str, rules: NumeralRules, names: Iterable[str] = ()) -> int | None:
    """Where the first figure stands; None if there is none.

    Args:
        text: what a reader would see.
        rules: what counts and what does not.
        names: names of stages, places and measures, which may hold digits.
    """
    # Sign for sign, so that a position stays one of the text.
    plain = "".join(unicodedata.normalize("NFC", sign.lower())[:1] or " " for sign in text)
    for name in sorted({*map(str.lower, names), *rules.phrases}, key=lambda n: (-len(n), n)):
        plain = _blanked(plain, re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"))
    for pattern in rules.patterns:
        plain = _blanked(plain, pattern)
    found = [at for at, sign in enumerate(plain) if sign.isnumeric()][:1]
    found += [m.start() for m in _WORD.finditer(plain) if m[0] in rules.words][:1]
    return min(found, default=None)


def _blanked(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
