"""The disclosure policy as typed data: Table A of policy.md, statuses, approvals.

Belongs here: reading `data/policy.yaml` with an adopter's overlay, refusing what
contradicts itself, and finding the strictest entry of the rows that apply to a cell.
Does not belong here: applying the policy to a table (`rules.py`) and any number of it
(that is data).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from rcs_assets.errors import ConfigurationError

POLICY_FILE = "policy.yaml"
STATUSES = ("published", "c", "z", "x", "u")
SENSITIVE = "sensitive"
_KEYED_BY_NAME = ("output_classes", "linked_indicators")
_STEPS = ("pct_step", "mean_step", "interval_step", "n_step")
_COUNTS = ("base", "pair_base", "group_base", "base_plus", "numerator", "complement")
_TEXTS = ("name", "title", "source", "dated", "reason")


@dataclass(frozen=True)
class OutputClass:
    """One row of Table A; 0 in a threshold or step means that the row has no entry there.

    `base`, `numerator`, `complement`: least counts of pupils; `base_plus` is added to the
    base of the other row; `pair_base` holds for pairs of breakdowns, `group_base` for the
    groups of a school; the steps are the multiples that are shown.
    """

    name: str
    title: str
    source: str
    dated: str
    reason: str
    base: int = 0
    pair_base: int = 0
    group_base: int = 0
    base_plus: int = 0
    numerator: int = 0
    complement: int = 0
    pct_step: float = 0
    mean_step: float = 0
    interval_step: float = 0
    n_step: float = 0
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellRule:
    """What holds for one cell: the strictest entry of each column of the rows that apply."""

    base: int
    numerator: int
    complement: int
    pct_step: float
    mean_step: float
    interval_step: float
    n_step: float


@dataclass(frozen=True)
class Audience:
    """Which row of Table A an audience has, and which geographies its package holds."""

    output_class: str
    geography_levels: tuple[str, ...]


@dataclass(frozen=True)
class LinkedSet:
    """Indicators whose numerators add up or complement each other (`kind` sum or complement)."""

    name: str
    kind: str
    indicators: tuple[str, ...]


@dataclass(frozen=True)
class Approvals:
    """What a profile needs before it publishes."""

    signatures: int
    author_may_approve: bool
    only_simulated: bool


@dataclass(frozen=True)
class Policy:
    """The whole policy. `version` is its label and the sha256 over its files."""

    label: str
    version: str
    source: str
    output_classes: Mapping[str, OutputClass]
    audiences: Mapping[str, Audience]
    breakdowns: tuple[str, ...]
    statuses: Mapping[str, str]
    empty_reasons: Mapping[str, str]
    unreliable_n_below: int
    unreliable_interval_wider_than: float
    linked_indicators: tuple[LinkedSet, ...]
    approvals: Mapping[str, Approvals]

    def audience(self, audience: str) -> Audience:
        """The entry for `public` or `cpp/<engagement>` (by the part before the slash).

        Raises:
            ConfigurationError: no such audience in the policy.
        """
        kind = audience.split("/")[0]
        if kind not in self.audiences:
            raise ConfigurationError(
                f"The policy knows no audience {kind}",
                where=f"{POLICY_FILE}, audiences",
                fix="add it to the policy, with its output class",
            )
        return self.audiences[kind]

    def rule_for(self, output_class: str, *, is_sensitive: bool) -> CellRule:
        """The strictest entry of each column (policy.md, Table A, how to read it)."""
        rows = [self.output_classes[output_class]]
        if is_sensitive:
            rows.append(self.output_classes[SENSITIVE])
        return CellRule(
            base=max(r.base for r in rows) + sum(r.base_plus for r in rows),
            numerator=max(r.numerator for r in rows),
            complement=max(r.complement for r in rows),
            pct_step=max(r.pct_step for r in rows),
            mean_step=max(r.mean_step for r in rows),
            interval_step=max(r.interval_step for r in rows),
            n_step=max(r.n_step for r in rows),
        )


def load_policy(overlay: Path | None = None) -> Policy:
    """The platform's policy, with `policy.yaml` of the folder `overlay` laid over it.

    Raises:
        ConfigurationError: a file cannot be read, or the policy contradicts itself.
    """
    own = (resources.files("rcs_assets.disclosure") / "data" / POLICY_FILE).read_bytes()
    over = b""
    if overlay is not None and (overlay / POLICY_FILE).is_file():
        over = (overlay / POLICY_FILE).read_bytes()
    return _load(own, over)


@lru_cache(maxsize=8)
def _load(own: bytes, over: bytes) -> Policy:
    content = _merge(_parse(own), _parse(over) if over else {})
    digest = hashlib.sha256(own + b"\0" + over).hexdigest()
    try:
        policy = _build(content, digest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"The policy is not complete or not in its form ({type(error).__name__}: {error})",
            where=POLICY_FILE,
            fix="compare it with the platform's own disclosure/data/policy.yaml",
        ) from error
    _refuse_contradictions(policy)
    return policy


def _parse(text: bytes) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError("The policy is not readable YAML", where=POLICY_FILE) from error
    if not isinstance(content, dict):
        raise ConfigurationError("The policy is not a mapping", where=POLICY_FILE)
    return content


def _merge(own: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(own)
    for block, value in over.items():
        if block not in own:
            raise ConfigurationError(
                f"The policy has no block {block}", where=f"overlay {POLICY_FILE}"
            )
        if block in _KEYED_BY_NAME:
            rows = {row["name"]: row for row in own[block]}
            for row in value:
                rows[row["name"]] = {**rows.get(row["name"], {}), **row}
            merged[block] = list(rows.values())
        elif isinstance(value, dict):
            merged[block] = {**own[block], **value}
        else:
            merged[block] = value
    return merged


def _build(content: Mapping[str, Any], digest: str) -> Policy:
    head = content["policy"]
    unreliable = content["unreliable"]
    return Policy(
        label=str(head["version"]),
        version=f"{head['version']}+{digest[:12]}",
        source=str(head["source"]),
        output_classes={row["name"]: _output_class(row) for row in content["output_classes"]},
        audiences={
            name: Audience(row["output_class"], tuple(row["geography_levels"]))
            for name, row in content["audiences"].items()
        },
        breakdowns=tuple(content["breakdowns"]),
        statuses=dict(content["statuses"]),
        empty_reasons=dict(content["empty_reasons"]),
        unreliable_n_below=int(unreliable["n_below"]),
        unreliable_interval_wider_than=float(unreliable["interval_wider_than"]),
        linked_indicators=tuple(
            LinkedSet(row["name"], row["kind"], tuple(row["indicators"]))
            for row in content["linked_indicators"]
        ),
        approvals={name: Approvals(**row) for name, row in content["approvals"].items()},
    )


def _output_class(row: Mapping[str, Any]) -> OutputClass:
    unknown = set(row) - {*_TEXTS, *_COUNTS, *_STEPS, "extra"}
    if unknown:
        raise ValueError(f"unknown column {sorted(unknown)[0]} in output class {row['name']}")
    values: dict[str, Any] = {name: str(row[name]) for name in _TEXTS}
    values |= {name: int(row.get(name, 0)) for name in _COUNTS}
    values |= {name: float(row.get(name, 0)) for name in _STEPS}
    return OutputClass(**values, extra=tuple(row.get("extra", ())))


def _refuse_contradictions(policy: Policy) -> None:
    """Later rules take it that the earlier ones hold, so the first broken one is named."""
    for rule in (
        _class_problems,
        _audience_problems,
        _order_problems,
        _vocabulary_problems,
        _approval_problems,
    ):
        problem = next(iter(rule(policy)), "")
        if problem:
            raise ConfigurationError(
                f"The disclosure policy contradicts itself: {problem}",
                where=POLICY_FILE,
                why="policy.md, Table A",
                fix="correct the overlay in config/policy.yaml",
            )


def _class_problems(policy: Policy) -> Iterable[str]:
    for row in policy.output_classes.values():
        numbers = [getattr(row, name) for name in (*_COUNTS, *_STEPS)]
        if min(numbers) < 0:
            yield f"{row.name} has a negative entry"
        if not (row.source and row.reason and row.dated):
            yield f"{row.name} lacks source, date or reason"
    if SENSITIVE not in policy.output_classes:
        yield "there is no row for sensitive indicators"


def _audience_problems(policy: Policy) -> Iterable[str]:
    for name, audience in policy.audiences.items():
        if audience.output_class not in policy.output_classes:
            yield f"audience {name} has no output class {audience.output_class}"
            continue
        for is_sensitive in (False, True):
            rule = policy.rule_for(audience.output_class, is_sensitive=is_sensitive)
            if min(rule.base, rule.numerator, rule.complement) < 2:
                yield f"audience {name} has a threshold below 2, which protects nobody"
            if min(getattr(rule, step) for step in _STEPS) <= 0:
                yield f"audience {name} has no rounding step, so n and % would give numerators away"
            if rule.base < rule.numerator + rule.complement - 1:
                yield f"audience {name}: a cell could be low and high at once, which tells its base"


def _order_problems(policy: Policy) -> Iterable[str]:
    """The public package may not show what a CPP's own package hides."""
    if not {"public", "cpp"} <= set(policy.audiences):
        yield "the audiences public and cpp are needed"
        return
    for is_sensitive in (False, True):
        public, cpp = (
            policy.rule_for(policy.audiences[name].output_class, is_sensitive=is_sensitive)
            for name in ("public", "cpp")
        )
        for column in ("base", "numerator", "complement", *_STEPS):
            if getattr(public, column) < getattr(cpp, column):
                yield f"public is laxer than cpp in {column}"


def _vocabulary_problems(policy: Policy) -> Iterable[str]:
    if tuple(sorted(policy.statuses)) != tuple(sorted(STATUSES)):
        yield "the statuses are not published, c, z, x, u"
    if not set(policy.empty_reasons.values()) <= {"c", "x", "z"}:
        yield "an empty cell is shown as c, x or z"
    if policy.empty_reasons.get("no_data") != "c":
        yield "no_data is a count of zero and zero counts as small: it must be c"
    if "total" not in policy.breakdowns:
        yield "the breakdown total is needed"
    for linked in policy.linked_indicators:
        if linked.kind not in ("sum", "complement") or len(linked.indicators) < 2:
            yield f"linked set {linked.name} needs kind sum or complement and two indicators"
    named = [name for linked in policy.linked_indicators for name in linked.indicators]
    if len(set(named)) < len(named):
        yield "an indicator stands in two linked sets: make them one"


def _approval_problems(policy: Policy) -> Iterable[str]:
    if not {"demo", "production"} <= set(policy.approvals):
        yield "approvals are needed for demo and production"
        return
    if policy.approvals["production"].signatures < 2:
        yield "production needs two signatures (design.md, the gate)"
    if not policy.approvals["demo"].only_simulated:
        yield "the demo profile may publish simulated deliveries only (design.md, the gate)"
    if any(row.author_may_approve for row in policy.approvals.values()):
        yield "the author of a release may not approve it (design.md, the gate)"


def audience_names(engagements: Sequence[str]) -> tuple[str, ...]:
    """The audiences of a release's protected estimates: public, then one a CPP."""
    return ("public", *(f"cpp/{key}" for key in engagements))
