"""Where each engagement stands on a day, as rows: for the command, the page and the warehouse.

Belongs here: putting register, tracking and breaches together for readers inside. Does not
belong here: the rules (`breaches.py`), words on a page (`status_page.py`), deliveries and
response, which intake knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from rcs_assets.programme.approvals import approval_problems
from rcs_assets.programme.breaches import Breach, View, breaches, done_on, due_on, report_due
from rcs_assets.programme.tracking import MILESTONES, Event, NeedsAssessment, Post, Slot

_MILESTONES = pa.schema(
    [
        ("engagement", pa.string()),
        ("milestone", pa.string()),
        ("due_on", pa.date32()),
        ("done_on", pa.date32()),
        ("state", pa.string()),
    ]
)


@dataclass(frozen=True)
class Step:
    """A milestone on a day: done, done late, overdue, due (a day is set), or open."""

    milestone: str
    due_on: date | None
    done_on: date | None
    state: str


@dataclass(frozen=True)
class Standing:
    """One engagement: `status` as entered, `phase` of the cycle, approval problems, milestones."""

    engagement: str
    tranche: str
    cpp: str
    slot: str
    status: str
    is_active: bool
    phase: str
    readiness: str
    report_due: date | None
    approval: tuple[str, ...]
    cut_off: date | None
    steps: tuple[Step, ...]
    posts: tuple[Post, ...]


@dataclass(frozen=True)
class Progress:
    """The whole programme on a day."""

    on: date
    standings: tuple[Standing, ...]
    slots: tuple[tuple[Slot, int], ...]
    active_n: int
    active_max_n: int
    events: tuple[Event, ...]
    needs_assessments: tuple[NeedsAssessment, ...]
    breaches: tuple[Breach, ...]
    has_placeholders: bool


def progress(view: View) -> Progress:
    """Everything that status page and command show, computed for the day of the view."""
    tracking = view.tracking
    taken = [p.slot for p in tracking.participation.values() if p.status != "stopped"]
    return Progress(
        on=view.on,
        standings=tuple(_standing(view, key) for key in view.programme.engagements),
        slots=tuple((slot, taken.count(key)) for key, slot in tracking.slots.items()),
        active_n=sum(p.is_active(view.on) for p in tracking.participation.values()),
        active_max_n=tracking.rules.active_max_n,
        events=tuple(sorted(tracking.events, key=lambda e: e.held_on or e.planned_on)),
        needs_assessments=tracking.needs_assessments,
        breaches=breaches(view),
        has_placeholders=any(r.is_placeholder for r in tracking.readiness),
    )


def milestone_table(standings: Sequence[Standing]) -> pa.Table:
    """Grain: engagement × milestone."""
    rows = [{"engagement": one.engagement, **vars(s)} for one in standings for s in one.steps]
    return pa.Table.from_pylist(rows, _MILESTONES)


def _standing(view: View, key: str) -> Standing:
    engagement = view.programme.engagements[key]
    part = view.tracking.participation.get(key)
    phase = view.tracking.phase_on(key, view.on)
    assessed = [r for r in view.tracking.readiness if r.engagement == key]
    assessed = [r for r in assessed if r.assessed_on <= view.on]
    return Standing(
        engagement=key,
        tranche=engagement.tranche,
        cpp=engagement.cpp.name,
        slot=part.slot if part else "",
        status=part.status if part else "",
        is_active=part.is_active(view.on) if part else False,
        phase=f"{phase.phase} (cycle {phase.cycle_no})" if phase else "",
        readiness=max(assessed, key=lambda r: r.assessed_on).outcome if assessed else "",
        report_due=report_due(view, key),
        approval=approval_problems(
            view.programme, key, view.on, placeholders_allowed=view.placeholders_allowed
        ),
        cut_off=view.tracking.cut_offs.get(key),
        steps=tuple(_step(view, key, name) for name in MILESTONES),
        posts=tuple(p for p in view.tracking.posts if p.engagement == key and p.is_filled(view.on)),
    )


def _step(view: View, key: str, name: str) -> Step:
    due, done = due_on(view, key, name), done_on(view, key, name)
    if done is not None:
        return Step(name, due, done, "done late" if due and done > due else "done")
    if due is None:
        return Step(name, None, None, "open")
    return Step(name, due, None, "overdue" if due < view.on else "due")
