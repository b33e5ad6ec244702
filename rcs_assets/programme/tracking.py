"""How far each CPP has come: slots, readiness, milestones, cycle, events, posts, cut-off days.

Belongs here: the types of the tracking register, its data files and the rules inside and between
their rows. Does not belong here: who takes part and by what approval (`load.py`), what breaks the
programme's rules on a day (`breaches.py`), the page (`status_page.py`).

A register of its own, with a version of its own: a development day that is entered must not
compute the programme's figures again. Posts are posts, never names of persons.
Source of entities and rules: domain.md 10; policy.md for cut-off days and batches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from rcs_assets.programme.datafile import DataFolder, Row, read_rows, read_rules
from rcs_assets.programme.load import load_programme
from rcs_assets.programme.model import Programme

RULES_FILE = "tracking.yaml"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "slots.csv": ("key", "tranche", "month", "year", "capacity", "source"),
    "participation.csv": (
        "engagement",
        "slot",
        "status",
        "active_from",
        "active_until",
        "source",
    ),
    "readiness.csv": (
        "engagement",
        "assessed_on",
        "assessor",
        "governance_ok",
        "education_signed",
        "social_work_signed",
        "health_signed",
        "elected_members_signed",
        "project_manager_named",
        "outcome",
        "source",
    ),
    "milestones.csv": ("engagement", "milestone", "due_on", "done_on", "source"),
    "cycles.csv": ("engagement", "cycle_no", "phase", "entered_on", "source"),
    "events.csv": ("key", "kind", "planned_on", "held_on", "engagements", "source"),
    "needs_assessments.csv": ("engagement", "topic", "commissioned_on", "reported_on", "source"),
    "posts.csv": ("engagement", "role", "post", "share_pct", "from_on", "until_on", "source"),
    "cut_offs.csv": ("engagement", "last_day", "source"),
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "slots.csv": ("key",),
    "participation.csv": ("engagement",),
    "readiness.csv": ("engagement", "assessed_on"),
    "milestones.csv": ("engagement", "milestone"),
    "cycles.csv": ("engagement", "cycle_no", "phase"),
    "events.csv": ("key",),
    "needs_assessments.csv": ("engagement", "topic"),
    "posts.csv": ("engagement", "role", "post", "from_on"),
    "cut_offs.csv": ("engagement",),
}
FILES = (*COLUMNS, RULES_FILE)
# The vocabulary: domain.md 10.1 and 10.2.
STATUSES = ("planned", "active", "finished", "stopped")
CONDITIONS = (
    "governance_ok",
    "education_signed",
    "social_work_signed",
    "health_signed",
    "elected_members_signed",
    "project_manager_named",
)
OUTCOMES = ("ready", "conditional", "not_ready")
MILESTONES = (
    "readiness",
    "survey",
    "linkage",
    "mapping",
    "reports",
    "development_day_1",
    "development_day_2",
    "development_day_3",
    "jsc_plan",
    "review",
)
PHASES = ("analyse", "plan", "do", "review")
EVENT_KINDS = ("learning_exchange", "workshop", "steering_group", "research_advisory_group")
ROLES = ("project_manager", "evidence_officer", "development_adviser", "evidence_adviser")


@dataclass(frozen=True)
class Slot:
    """A time at which CPPs begin; `capacity` is how many may."""

    key: str
    tranche: str
    month: int
    year: int
    capacity: int


@dataclass(frozen=True)
class Participation:
    """An engagement in its slot; both days are inclusive."""

    engagement: str
    slot: str
    status: str
    active_from: date
    active_until: date

    def is_active(self, day: date) -> bool:
        """Whether advisers are bound on a day."""
        counts = self.status in ("active", "finished")
        return counts and self.active_from <= day <= self.active_until


@dataclass(frozen=True)
class Readiness:
    """One assessment of a CPP before data work; `missing` names the conditions not met."""

    engagement: str
    assessed_on: date
    assessor: str
    missing: tuple[str, ...]
    outcome: str
    source: str

    @property
    def is_placeholder(self) -> bool:
        """True where the row stands in for an assessment that is not known."""
        return self.source.startswith("placeholder")


@dataclass(frozen=True)
class Milestone:
    """One milestone of an engagement; a day that is not known or not set is None."""

    engagement: str
    milestone: str
    due_on: date | None
    done_on: date | None


@dataclass(frozen=True)
class Phase:
    """An engagement's step in the commissioning cycle analyse → plan → do → review."""

    engagement: str
    cycle_no: int
    phase: str
    entered_on: date


@dataclass(frozen=True)
class Event:
    """A meeting of the programme; without engagements it is for all."""

    key: str
    kind: str
    planned_on: date
    held_on: date | None
    engagements: tuple[str, ...]


@dataclass(frozen=True)
class NeedsAssessment:
    """A strategic needs assessment that an engagement commissioned."""

    engagement: str
    topic: str
    commissioned_on: date
    reported_on: date | None


@dataclass(frozen=True)
class Post:
    """A post in an engagement, with its share of full time in percent; never a person's name."""

    engagement: str
    role: str
    post: str
    share_pct: int
    from_on: date
    until_on: date | None

    def is_filled(self, day: date) -> bool:
        """Whether somebody is in it on a day."""
        return self.from_on <= day <= (self.until_on or date.max)


@dataclass(frozen=True)
class TrackingRules:
    """The programme's rules as numbers; `posts_from` is role → first tranche that must have it."""

    slot_months: tuple[int, ...]
    slot_capacity_n: int
    active_max_n: int
    parent_tranches: tuple[str, ...]
    needs_assessments_n: int
    development_days_n: int
    exchanges_a_year_n: int
    report_months: int
    approval_warning_days: int
    withdrawal_batch_n: int
    posts_from: Mapping[str, int]


@dataclass(frozen=True)
class Tracking:
    """The whole tracking register. `version` is the sha256 over its files."""

    version: str
    rules: TrackingRules
    slots: Mapping[str, Slot]
    participation: Mapping[str, Participation]
    readiness: tuple[Readiness, ...]
    milestones: Mapping[tuple[str, str], Milestone]
    phases: tuple[Phase, ...]
    events: tuple[Event, ...]
    needs_assessments: tuple[NeedsAssessment, ...]
    posts: tuple[Post, ...]
    cut_offs: Mapping[str, date]

    def phase_on(self, engagement: str, day: date) -> Phase | None:
        """The step of the cycle that an engagement is in."""
        entered = [p for p in self.phases if p.engagement == engagement and p.entered_on <= day]
        return entered[-1] if entered else None


def load_tracking(overlay: Path | None = None) -> Tracking:
    """The tracking register: defaults of the package, with an adopter's rows laid over them.

    Args:
        overlay: as in `load_programme`; the engagements are those of its register.

    Raises:
        ConfigurationError: names file, row, column, rule and fix.
    """
    folder = DataFolder("programme", Path(__file__).parent / "data", overlay)
    return _load(folder, folder.version(FILES), load_programme(overlay).version)


def readiness_problems(
    programme: Programme,
    tracking: Tracking,
    engagement: str,
    on: date,
    *,
    placeholders_allowed: bool = False,
) -> tuple[str, ...]:
    """Why the surveys of an engagement should not have begun; empty if they should, or have not.

    Domain.md 10.2: no survey before readiness is `ready`.

    Args:
        programme: its surveys.
        tracking: its assessments.
        engagement: a partition key.
        on: a day; a survey that begins later has not begun.
        placeholders_allowed: True in the demo profile only.
    """
    if engagement not in programme.engagements:
        return ("it is not in the register",)
    begun = [w.fieldwork_start for w in programme.engagements[engagement].waves]
    if not begun or min(begun) > on:
        return ()
    first = min(begun)
    assessed = [r for r in tracking.readiness if r.engagement == engagement]
    before = [r for r in assessed if r.assessed_on <= first]
    if not before:
        return (f"readiness was not assessed before the first survey ({first.isoformat()})",)
    last = max(before, key=lambda r: r.assessed_on)
    problems: tuple[str, ...] = ()
    if last.outcome != "ready":
        missing = f": {', '.join(last.missing)} missing" if last.missing else ""
        problems += (f"readiness of {last.assessed_on.isoformat()} was {last.outcome}{missing}",)
    if last.is_placeholder and not placeholders_allowed:
        problems += ("the assessment of readiness is a placeholder for demonstrations",)
    return problems


@lru_cache(maxsize=8)
def _load(folder: DataFolder, version: str, _: str) -> Tracking:
    programme = load_programme(folder.overlay)
    rows = {file: read_rows(folder, file, COLUMNS[file], KEYS[file]) for file in COLUMNS}
    keys = programme.engagements
    rules = read_rules(
        folder,
        RULES_FILE,
        _rules,
        _problems_of,
        "domain.md 10: rules of the programme; policy.md: batches",
    )
    slots = {row.required("key"): _slot(row, programme, rules) for row in rows["slots.csv"]}
    return Tracking(
        version=version,
        rules=rules,
        slots=slots,
        participation={
            row.values["engagement"]: _participation(row, programme, slots)
            for row in rows["participation.csv"]
        },
        readiness=tuple(_readiness(row, keys) for row in rows["readiness.csv"]),
        milestones={
            (one.engagement, one.milestone): one
            for one in (_milestone(row, keys) for row in rows["milestones.csv"])
        },
        phases=_phases(rows["cycles.csv"], keys),
        events=tuple(_event(row, keys) for row in rows["events.csv"]),
        needs_assessments=tuple(_assessment(row, keys) for row in rows["needs_assessments.csv"]),
        posts=tuple(_post(row, keys) for row in rows["posts.csv"]),
        cut_offs={
            row.choice("engagement", keys): row.day("last_day") for row in rows["cut_offs.csv"]
        },
    )


def _rules(found: Mapping[str, Any]) -> TrackingRules:
    return TrackingRules(
        slot_months=tuple(int(month) for month in found["slot_months"]),
        parent_tranches=tuple(str(key) for key in found["parent_tranches"]),
        posts_from={str(role): int(number) for role, number in found["posts_from"].items()},
        **{name: int(found[name]) for name in _NUMBERS},
    )


_NUMBERS = (
    "slot_capacity_n",
    "active_max_n",
    "needs_assessments_n",
    "development_days_n",
    "exchanges_a_year_n",
    "report_months",
    "approval_warning_days",
    "withdrawal_batch_n",
)


def _problems_of(rules: TrackingRules) -> list[str]:
    found = [f"{name} must be 1 or more" for name in _NUMBERS if getattr(rules, name) < 1]
    if not set(rules.slot_months) <= set(range(1, 13)):
        found.append("slot_months holds numbers of months, 1 to 12")
    found += [f"posts_from: {role} is no role" for role in rules.posts_from if role not in ROLES]
    if rules.development_days_n > 3:
        found.append("development_days_n: milestones.csv knows three days")
    return found


def _slot(row: Row, programme: Programme, rules: TrackingRules) -> Slot:
    slot = Slot(
        key=row.required("key"),
        tranche=row.choice("tranche", programme.tranches),
        month=row.integer("month"),
        year=row.integer("year"),
        capacity=row.integer("capacity"),
    )
    if slot.month not in rules.slot_months:
        listed = ", ".join(map(str, rules.slot_months))
        raise row.problem("month", "a slot begins in a month of tracking.yaml", f"use {listed}")
    if not 1 <= slot.capacity <= rules.slot_capacity_n:
        raise row.problem(
            "capacity",
            f"a slot takes 1 to {rules.slot_capacity_n} CPPs (tracking.yaml)",
            "correct the number, or the rule in config/tracking.yaml",
        )
    return slot


def _participation(row: Row, programme: Programme, slots: Mapping[str, Slot]) -> Participation:
    found = Participation(
        engagement=row.choice("engagement", programme.engagements),
        slot=row.choice("slot", slots),
        status=row.choice("status", STATUSES),
        active_from=row.day("active_from"),
        active_until=row.day("active_until"),
    )
    if found.active_until < found.active_from:
        raise row.problem("active_until", "it ends after it starts", "correct one of the days")
    if slots[found.slot].tranche != programme.engagements[found.engagement].tranche:
        raise row.problem("slot", "the slot belongs to another tranche", "name one of its own")
    return found


def _readiness(row: Row, engagements: Collection[str]) -> Readiness:
    found = Readiness(
        engagement=row.choice("engagement", engagements),
        assessed_on=row.day("assessed_on"),
        assessor=row.required("assessor"),
        missing=tuple(name for name in CONDITIONS if not row.flag(name)),
        outcome=row.choice("outcome", OUTCOMES),
        source=row.required("source"),
    )
    if found.outcome == "ready" and found.missing:
        raise row.problem(
            "outcome",
            f"a CPP is not ready while a condition is missing: {', '.join(found.missing)}",
            "write conditional or not_ready, or yes where the condition is met",
        )
    return found


def _milestone(row: Row, engagements: Collection[str]) -> Milestone:
    return Milestone(
        engagement=row.choice("engagement", engagements),
        milestone=row.choice("milestone", MILESTONES),
        due_on=row.optional_day("due_on"),
        done_on=row.optional_day("done_on"),
    )


def _phases(rows: tuple[Row, ...], engagements: Collection[str]) -> tuple[Phase, ...]:
    """The steps of each engagement in order of time; the cycle leaves none out."""
    found = sorted(
        ((_phase(row, engagements), row) for row in rows),
        key=lambda pair: (pair[0].engagement, pair[0].cycle_no, PHASES.index(pair[0].phase)),
    )
    for place, (phase, row) in enumerate(found):
        before = found[place - 1][0] if place else None
        if before is None or before.engagement != phase.engagement:
            before = None
        if (phase.cycle_no, phase.phase) != _next_step(before):
            raise row.problem(
                "phase",
                "the cycle is analyse, plan, do, review, then analyse of the next one",
                "enter the step before it first, or correct cycle_no",
            )
        if before is not None and phase.entered_on < before.entered_on:
            raise row.problem(
                "entered_on", f"it lies before {before.phase} of the cycle", "correct the days"
            )
    return tuple(phase for phase, _ in found)


def _next_step(before: Phase | None) -> tuple[int, str]:
    if before is None:
        return 1, PHASES[0]
    if before.phase == PHASES[-1]:
        return before.cycle_no + 1, PHASES[0]
    return before.cycle_no, PHASES[PHASES.index(before.phase) + 1]


def _phase(row: Row, engagements: Collection[str]) -> Phase:
    return Phase(
        engagement=row.choice("engagement", engagements),
        cycle_no=row.integer("cycle_no"),
        phase=row.choice("phase", PHASES),
        entered_on=row.day("entered_on"),
    )


def _event(row: Row, engagements: Collection[str]) -> Event:
    return Event(
        key=row.required("key"),
        kind=row.choice("kind", EVENT_KINDS),
        planned_on=row.day("planned_on"),
        held_on=row.optional_day("held_on"),
        engagements=row.items("engagements", engagements),
    )


def _assessment(row: Row, engagements: Collection[str]) -> NeedsAssessment:
    found = NeedsAssessment(
        engagement=row.choice("engagement", engagements),
        topic=row.required("topic"),
        commissioned_on=row.day("commissioned_on"),
        reported_on=row.optional_day("reported_on"),
    )
    if found.reported_on is not None and found.reported_on < found.commissioned_on:
        raise row.problem("reported_on", "it reports after it is commissioned", "correct the days")
    return found


def _post(row: Row, engagements: Collection[str]) -> Post:
    found = Post(
        engagement=row.choice("engagement", engagements),
        role=row.choice("role", ROLES),
        post=row.required("post"),
        share_pct=row.integer("share_pct"),
        from_on=row.day("from_on"),
        until_on=row.optional_day("until_on"),
    )
    if not 1 <= found.share_pct <= 100:
        raise row.problem("share_pct", "a share of full time is 1 to 100 percent", "correct it")
    if found.until_on is not None and found.until_on < found.from_on:
        raise row.problem("until_on", "a post ends after it starts", "correct one of the days")
    return found
