"""Types of the data-quality layer: an expectation, its rule, what became of it.

Belongs here: frozen dataclasses. Does not belong here: which expectations there
are (`suites.py`) and how they are evaluated (`adapter.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Between:
    """Every value of `column` lies in [low, high]; None leaves a side open.

    A null fails, since what could not be measured is not known to be good, unless
    `skips_nulls`: there a null means that there is nothing to judge.
    """

    column: str
    low: float | None = None
    high: float | None = None
    skips_nulls: bool = False


@dataclass(frozen=True)
class OneOf:
    """Every value of `column` is one of `values`; nulls are skipped."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class HoldsAll:
    """Each of `values` occurs in `column` at least once.

    With a `key`, a value is asked for only if what `key_of` says of it occurs in that column.
    """

    column: str
    values: tuple[str, ...]
    key: str = ""
    key_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NoneRepeated:
    """No two rows are alike in all of `columns`."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class NotAbove:
    """In each row `column` ≤ `other`; rows where either is null are skipped."""

    column: str
    other: str


Rule = Between | OneOf | HoldsAll | NoneRepeated | NotAbove


@dataclass(frozen=True)
class Expectation:
    """One thing that a steward expects of a profile.

    `sentence` says it in words. `asset` is the key of the asset that it judges,
    `frame` the profile frame, `where` keeps only rows whose column holds one of the
    values. `needs_rows`: it fails where no row is left to judge. `only_with`: it is not asked
    where no row of the frame holds one of these values.
    `source` says where the limit comes from, `fix` what to do next.
    """

    name: str
    sentence: str
    asset: tuple[str, str]
    frame: str
    rule: Rule
    source: str
    fix: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs_rows: bool = True
    only_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """The expectations of one boundary; `grains` names the key columns of each profile frame."""

    boundary: str
    grains: Mapping[str, tuple[str, ...]]
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class LeastBase:
    """The least number of pupils behind a cell shown to a kind of audience, and its source."""

    kind: str
    is_sensitive: bool
    pupils: int
    source: str


@dataclass(frozen=True)
class ReleaseRules:
    """What the candidate suite needs of the disclosure policy; the room disclosure fills it.

    Plain figures instead of the policy's own types: the lower rooms import this package
    for their suites, so it must not import a higher room.
    """

    label: str
    statuses: tuple[str, ...]
    notes: tuple[str, ...]
    unreliable_n_below: int
    unreliable_interval_wider_than: float
    bases: tuple[LeastBase, ...]


@dataclass(frozen=True)
class ExpectationOutcome:
    """What became of one expectation or Python check; `observed` holds aggregates only."""

    name: str
    passed: bool
    expected: str
    observed: str
    threshold_source: str
    fix: str
