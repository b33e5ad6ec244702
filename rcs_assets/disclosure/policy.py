"""The disclosure policy as typed data: Table A of policy.md, statuses, approvals.

Belongs here: reading `data/policy.yaml` with an adopter's overlay, refusing what
contradicts itself, and finding the strictest entry of the rows that apply to a cell.
Does not belong here: applying the policy to a table (`rules.py`) and any number of it
(that is data).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from rcs_assets.disclosure.microdata_rule import MicrodataRule, microdata_rule
from rcs_assets.disclosure.service_rules import (
    ModelRule,
    ReachRule,
    SpendRule,
    model_rule,
    reach_rule,
    spend_rule,
)
from rcs_assets.errors import ConfigurationError
from rcs_assets.programme.datafile import (
    DataFolder,
    Nonsense,
    make_rules,
    parse_yaml,
    read_bytes,
    sound,
)

POLICY_FILE = "policy.yaml"
STATUSES = ("published", "c", "z", "x", "u")
SENSITIVE = "sensitive"
CHANGE = "change"
TOTAL = "total"
_KEYED_BY_NAME = ("output_classes", "linked_indicators")
_STEPS = ("pct_step", "mean_step", "interval_step", "n_step")
_OTHER_STEPS = ("school_pct_step",)
_COUNTS = ("base", "pair_base", "group_base", "base_plus", "numerator", "complement")
_CLUSTER_COUNTS = ("least_schools", "small_schools_least", "small_pupils_least")
_TEXTS = ("name", "title", "source", "dated", "reason")


@dataclass(frozen=True)
class OutputClass:
    """One row of Table A; 0 in a threshold or step means that the row has no entry there.

    `base`, `numerator`, `complement`: least counts of pupils; `base_plus` is added to the
    base of the other row; `pair_base` holds for pairs of breakdowns, `group_base` for the
    groups of a school; the steps are the multiples that are shown, `school_pct_step` that
    of percentages and their intervals at school.
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
    school_pct_step: float = 0

    @property
    def base_said(self) -> str:
        """The least base as documents say it: `+10` of another row's, empty if there is none.

        Where pairs or groups have another one it stands beside: `30 (pairs 50)`.
        """
        if self.base_plus:
            return f"+{self.base_plus}"
        others = (("pairs", self.pair_base), ("groups", self.group_base))
        more = "".join(f" ({of} {base})" for of, base in others if base)
        return f"{self.base or ''}{more}"

    @property
    def pct_said(self) -> str:
        """The multiple that a percentage is shown to: `1`, `5 at a school`, empty without one."""
        if self.school_pct_step:
            return f"{self.school_pct_step:g} at a school"
        return f"{self.pct_step:g}" if self.pct_step else ""

    def base_for(self, breakdown: str) -> int:
        """The least base of a cell of a breakdown: total, single groups, or pairs."""
        if ":" in breakdown and self.pair_base:
            return self.pair_base
        if breakdown != TOTAL and self.group_base:
            return self.group_base
        return self.base


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
    """The geography levels that an audience's package holds, each with its row of Table A."""

    output_classes: Mapping[str, str]

    @property
    def geography_levels(self) -> tuple[str, ...]:
        """Levels of the package."""
        return tuple(self.output_classes)


@dataclass(frozen=True)
class SchoolSize:
    """What schools of at least `respondents` usable respondents of a survey show."""

    respondents: int
    output_class: str
    breakdowns: tuple[str, ...]


@dataclass(frozen=True)
class ClusterRule:
    """When a cluster, and the small schools of a cluster together, have figures.

    `least_schools`, `small_schools_least`: schools with respondents; `largest_school_pct`:
    largest share of the cluster's respondents; `small_pupils_least`: respondents together;
    `protected_as`: the row of Table A whose base must not be worked out of a cluster.
    """

    surveys: tuple[str, ...]
    protected_as: str
    least_schools: int
    largest_school_pct: float
    small_schools_least: int
    small_pupils_least: int


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
    """The whole policy. `version` is its label and the sha256 over its files.

    `changed_least`: contributors that must have changed before another figure of a cell is told.
    """

    label: str
    version: str
    source: str
    output_classes: Mapping[str, OutputClass]
    audiences: Mapping[str, Audience]
    breakdowns: Mapping[str, tuple[str, ...]]
    special: Mapping[str, str]
    school_sizes: tuple[SchoolSize, ...]
    clusters: ClusterRule
    least_other_schools: int
    changed_least: int
    least_changed_contributors: int
    statuses: Mapping[str, str]
    empty_reasons: Mapping[str, str]
    unreliable_n_below: int
    unreliable_interval_wider_than: float
    linked_indicators: tuple[LinkedSet, ...]
    approvals: Mapping[str, Approvals]
    microdata: MicrodataRule
    spend: SpendRule
    reach: ReachRule
    models: ModelRule

    @property
    def n_slack(self) -> int:
        """How many pupils a number that stays may be off beyond its rounding (`kept.py`)."""
        return self.changed_least - 1

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

    def rule_for(
        self, output_class: str, *, is_sensitive: bool, breakdown: str = TOTAL
    ) -> CellRule:
        """The strictest entry of each column (policy.md, Table A, how to read it)."""
        rows = [self.output_classes[output_class]]
        if is_sensitive:
            rows.append(self.output_classes[SENSITIVE])
        if breakdown in self.special:
            rows.append(self.output_classes[self.special[breakdown]])
        at_school = max(r.school_pct_step for r in rows) if self.is_school(output_class) else 0
        return CellRule(
            base=max(r.base_for(breakdown) for r in rows) + sum(r.base_plus for r in rows),
            numerator=max(r.numerator for r in rows),
            complement=max(r.complement for r in rows),
            pct_step=max(at_school, *(r.pct_step for r in rows)),
            mean_step=max(r.mean_step for r in rows),
            interval_step=max(at_school, *(r.interval_step for r in rows)),
            n_step=max(r.n_step for r in rows),
        )

    def protected_base(self, output_class: str, *, is_sensitive: bool, breakdown: str) -> int:
        """The base below which a cell of this row of Table A must not be worked out."""
        is_cluster = output_class == self.audiences["cpp"].output_classes.get("cluster")
        judged = self.clusters.protected_as if is_cluster else output_class
        return self.rule_for(judged, is_sensitive=is_sensitive, breakdown=breakdown).base

    def is_school(self, output_class: str) -> bool:
        """Whether a row of Table A is one of schools."""
        return any(size.output_class == output_class for size in self.school_sizes)

    @property
    def smallest_school(self) -> SchoolSize:
        """The size below which a school has no figures of its own."""
        return self.school_sizes[-1]


def load_policy(overlay: Path | None = None) -> Policy:
    """The platform's policy, with `policy.yaml` of the folder `overlay` laid over it.

    Raises:
        ConfigurationError: a file cannot be read, or the policy contradicts itself.
    """
    defaults = Path(str(resources.files("rcs_assets.disclosure"))) / "data"
    own, *over = DataFolder("disclosure", defaults, overlay).sources(POLICY_FILE)
    return _load(*((label, read_bytes(label, path)) for label, path in (own, *over)))


@lru_cache(maxsize=8)
def _load(own: tuple[str, bytes], over: tuple[str, bytes] = ("", b"")) -> Policy:
    """The policy from the platform's file and the overlay: each its label and its bytes."""
    digest = hashlib.sha256(own[1] + b"\0" + over[1]).hexdigest()
    shipped, added = _parse(*own), _parse(*over) if over[0] else {}

    def make(blocks: Mapping[str, Any]) -> Policy:
        return sound(_build(_merge(shipped, blocks), digest), _contradictions)

    label = over[0] or own[0]
    return make_rules(make, added, dict(_pieces(added)), label, "policy.md, Table A")


def _parse(label: str, content: bytes) -> dict[str, Any]:
    blocks = parse_yaml(content, label)
    if not isinstance(blocks, dict):
        raise ConfigurationError(
            "The policy is not a mapping", where=f"file {label}", fix="write `block:` entries"
        )
    return blocks


def _pieces(over: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of an overlay that are laid over the policy one by one."""
    for block, value in over.items():
        if isinstance(value, dict):
            yield from ((f"{block}.{name}", {block: {name: value[name]}}) for name in value)
        elif isinstance(value, list) and block in _KEYED_BY_NAME:
            yield from ((f"{block}.{n}", {block: [row]}) for n, row in enumerate(value, 1))
        yield str(block), {block: value}


def _merge(own: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(own)
    for block, value in over.items():
        if block not in own:
            raise Nonsense(f"The policy has no block {block}")
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
            name: Audience(dict(row["output_classes"]))
            for name, row in content["audiences"].items()
        },
        breakdowns={level: tuple(names) for level, names in content["breakdowns"].items()},
        special=dict(content["special"]),
        school_sizes=tuple(
            SchoolSize(int(row["respondents"]), row["output_class"], tuple(row["breakdowns"]))
            for row in content["school_sizes"]
        ),
        clusters=_cluster_rule(content["clusters"]),
        least_other_schools=int(content["comparisons"]["least_other_schools"]),
        changed_least=int(content["releases"]["changed_least"]),
        least_changed_contributors=int(content["changes"]["least_changed_contributors"]),
        statuses=dict(content["statuses"]),
        empty_reasons=dict(content["empty_reasons"]),
        unreliable_n_below=int(unreliable["n_below"]),
        unreliable_interval_wider_than=float(unreliable["interval_wider_than"]),
        linked_indicators=tuple(
            LinkedSet(row["name"], row["kind"], tuple(row["indicators"]))
            for row in content["linked_indicators"]
        ),
        approvals={name: Approvals(**row) for name, row in content["approvals"].items()},
        microdata=microdata_rule(content["microdata"]),
        spend=spend_rule(content["spend"]),
        reach=reach_rule(content["reach"]),
        models=model_rule(content["models"]),
    )


def _cluster_rule(block: Mapping[str, Any]) -> ClusterRule:
    values = {
        **block,
        "surveys": tuple(block["surveys"]),
        "protected_as": str(block["protected_as"]),
    }
    values |= {name: int(block[name]) for name in _CLUSTER_COUNTS}
    return ClusterRule(**{**values, "largest_school_pct": float(block["largest_school_pct"])})


def _output_class(row: Mapping[str, Any]) -> OutputClass:
    unknown = set(row) - {*_TEXTS, *_COUNTS, *_STEPS, *_OTHER_STEPS}
    if unknown:
        raise ValueError(f"unknown column {sorted(unknown)[0]} in output class {row['name']}")
    values: dict[str, Any] = {name: str(row[name]) for name in _TEXTS}
    values |= {name: int(row.get(name, 0)) for name in _COUNTS}
    values |= {name: float(row.get(name, 0)) for name in (*_STEPS, *_OTHER_STEPS)}
    return OutputClass(**values)


def _contradictions(policy: Policy) -> Iterator[str]:
    """Later rules take it that the earlier ones hold, so the first broken one is named."""
    for rule in (
        _class_problems,
        _audience_problems,
        _order_problems,
        _vocabulary_problems,
        _approval_problems,
    ):
        for problem in rule(policy):
            yield f"The disclosure policy contradicts itself: {problem}"


def _class_problems(policy: Policy) -> Iterable[str]:
    for row in policy.output_classes.values():
        numbers = [getattr(row, name) for name in (*_COUNTS, *_STEPS, *_OTHER_STEPS)]
        if min(numbers) < 0:
            yield f"{row.name} has a negative entry"
        if not (row.source and row.reason and row.dated):
            yield f"{row.name} lacks source, date or reason"
    if SENSITIVE not in policy.output_classes:
        yield "there is no row for sensitive indicators"


def _audience_problems(policy: Policy) -> Iterable[str]:
    used = {
        name: f"audience {audience}"
        for audience, entry in policy.audiences.items()
        for name in entry.output_classes.values()
    }
    used |= {size.output_class: "a school size" for size in policy.school_sizes}
    used |= {policy.clusters.protected_as: "the protection of clusters"}
    used |= {CHANGE: "changes between waves"}
    for name, user in used.items():
        if name not in policy.output_classes:
            yield f"{user} has no output class {name}"
            continue
        for is_sensitive in (False, True):
            yield from _rule_problems(name, policy, is_sensitive=is_sensitive)
    if not set(policy.special.values()) <= set(policy.output_classes):
        yield "a special breakdown has no output class"


def _rule_problems(name: str, policy: Policy, *, is_sensitive: bool) -> Iterable[str]:
    for breakdown in (TOTAL, "stage", "stage:sex"):
        rule = policy.rule_for(name, is_sensitive=is_sensitive, breakdown=breakdown)
        if min(rule.base, rule.numerator, rule.complement) < 2:
            yield f"output class {name} has a threshold below 2, which protects nobody"
        if min(getattr(rule, step) for step in _STEPS) <= 0:
            yield f"output class {name} has no rounding step: n and % would give numerators away"
        if rule.base < rule.numerator + rule.complement - 1:
            yield f"output class {name}: a cell could be low and high at once: that tells its base"


def _order_problems(policy: Policy) -> Iterable[str]:
    """The public package may not show what a CPP's own package hides; sizes come in order."""
    if not {"public", "cpp"} <= set(policy.audiences):
        yield "the audiences public and cpp are needed"
        return
    for is_sensitive in (False, True):
        public, cpp = (
            policy.rule_for(policy.audiences[name].output_classes["cpp"], is_sensitive=is_sensitive)
            for name in ("public", "cpp")
        )
        for column in ("base", "numerator", "complement", *_STEPS):
            if getattr(public, column) < getattr(cpp, column):
                yield f"public is laxer than cpp in {column}"
    sizes = [size.respondents for size in policy.school_sizes]
    if not sizes or sizes != sorted(sizes, reverse=True):
        yield "school_sizes are needed, the largest first"
    if policy.changed_least < policy.output_classes["public"].numerator:
        yield "a change between releases may be told of fewer pupils than a public numerator"


def _vocabulary_problems(policy: Policy) -> Iterable[str]:
    if tuple(sorted(policy.statuses)) != tuple(sorted(STATUSES)):
        yield "the statuses are not published, c, z, x, u"
    if not set(policy.empty_reasons.values()) <= {"c", "x", "z"}:
        yield "an empty cell is shown as c, x or z"
    if policy.empty_reasons.get("no_data") != "c":
        yield "no_data is a count of zero and zero counts as small: it must be c"
    levels = {level for entry in policy.audiences.values() for level in entry.geography_levels}
    if any(TOTAL not in policy.breakdowns.get(level, ()) for level in levels):
        yield "each level of an audience needs the breakdown total"
    if policy.least_changed_contributors < 2:
        yield "a change that one pupil made would be shown (changes, least_changed_contributors)"
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
