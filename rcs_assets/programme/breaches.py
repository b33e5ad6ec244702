"""What breaks the programme's rules on a day, and what to do about it.

Belongs here: one function a rule over register, approvals and tracking; each finds breaches in
words. Does not belong here: the numbers of the rules (`data/tracking.yaml`), stopping anything:
approvals and readiness stop intake and the gate (`approvals.py`, `intake`), the rest warns.
Source: domain.md 10.2 (rules) and 10.1 (facts).
"""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from rcs_assets.programme.model import Programme
from rcs_assets.programme.tracking import Tracking, readiness_problems

# A milestone of each pair is done before the other one.
_ORDER = (
    ("readiness", "survey"),
    ("survey", "linkage"),
    ("survey", "reports"),
    ("linkage", "reports"),
    ("development_day_1", "development_day_2"),
    ("development_day_2", "development_day_3"),
    ("reports", "jsc_plan"),
    ("jsc_plan", "review"),
)
DEVELOPMENT_DAYS = ("development_day_1", "development_day_2", "development_day_3")
_WHEN_LATE = "nothing is left to do; a later day that was agreed goes into config/milestones.csv"
_EXCHANGES = ("learning_exchange", "workshop")


@dataclass(frozen=True)
class Breach:
    """One breach: `engagement` is empty where it is the programme's."""

    rule: str
    engagement: str
    said: str
    fix: str


@dataclass(frozen=True)
class View:
    """What every rule looks at."""

    programme: Programme
    tracking: Tracking
    on: date
    placeholders_allowed: bool


# Engagement, words, and what to do where it is not what the rule says.
Found = Iterable[tuple[str, str] | tuple[str, str, str]]


@dataclass(frozen=True)
class Rule:
    """A rule of the programme: `find` gives engagement and words of each breach."""

    name: str
    sentence: str
    source: str
    fix: str
    find: Callable[[View], Found]


def breaches(view: View, rules: Sequence[Rule] | None = None) -> tuple[Breach, ...]:
    """All breaches on the day of the view, in the order of the rules, then of engagements."""
    order = {key: place for place, key in enumerate(["", *view.programme.engagements])}
    return tuple(
        Breach(rule.name, engagement, said, own[0] if own else rule.fix)
        for rule in (RULES if rules is None else rules)
        for engagement, said, *own in sorted(rule.find(view), key=lambda found: order[found[0]])
    )


def report_due(view: View, engagement: str) -> date | None:
    """Until when an engagement's reports are due: six months after its last survey."""
    own = view.tracking.milestones.get((engagement, "reports"))
    if own is not None and own.due_on is not None:
        return own.due_on
    waves = view.programme.engagements[engagement].waves
    last = max((wave.fieldwork_end for wave in waves), default=None)
    return None if last is None else _months_later(last, view.tracking.rules.report_months)


def _months_later(day: date, months: int) -> date:
    """The same day of a later month, or its last one."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def due_on(view: View, engagement: str, milestone: str) -> date | None:
    """Until when a milestone is due, as far as it is set or follows from the surveys."""
    if milestone == "reports":
        return report_due(view, engagement)
    own = view.tracking.milestones.get((engagement, milestone))
    return own.due_on if own else None


def done_on(view: View, engagement: str, milestone: str) -> date | None:
    """The day on which a milestone was done, as far as it is entered and not still to come.

    That a CPP is ready is entered once, as its assessment: the milestone follows from it.
    """
    own = view.tracking.milestones.get((engagement, milestone))
    day = own.done_on if own else None
    if day is None and milestone == "readiness":
        day = _ready_on(view, engagement)
    return day if day is not None and day <= view.on else None


def _ready_on(view: View, engagement: str) -> date | None:
    """The first day on which a CPP was assessed as ready, if the last assessment says so too."""
    assessed = sorted(
        (
            one
            for one in view.tracking.readiness
            if one.engagement == engagement
            and one.assessed_on <= view.on
            and (view.placeholders_allowed or not one.is_placeholder)
        ),
        key=lambda one: one.assessed_on,
    )
    if not assessed or assessed[-1].outcome != "ready":
        return None
    return next(one.assessed_on for one in assessed if one.outcome == "ready")


def _overbooked(view: View) -> Found:
    taken = Counter(p.slot for p in view.tracking.participation.values() if p.status != "stopped")
    for key, slot in view.tracking.slots.items():
        if taken[key] > slot.capacity:
            yield "", f"slot {key} has {taken[key]} CPPs, it takes {slot.capacity}"


def _too_many(view: View) -> Found:
    """The most CPPs at once are reached on a day on which one begins."""
    limit = view.tracking.rules.active_max_n
    taking_part = view.tracking.participation.values()
    for day in sorted({p.active_from for p in taking_part}):
        n = sum(p.is_active(day) for p in taking_part)
        if n > limit:
            yield "", f"{n} CPPs are active on {day.isoformat()}, advisers can take {limit}"


def _unready(view: View) -> Found:
    for key in view.programme.engagements:
        for problem in readiness_problems(
            view.programme,
            view.tracking,
            key,
            view.on,
            placeholders_allowed=view.placeholders_allowed,
        ):
            yield key, problem


def _expiring(view: View) -> Found:
    warned = timedelta(days=view.tracking.rules.approval_warning_days)
    for key, approval in view.programme.approvals.items():
        for title, day in (
            ("approval", approval.expires_on),
            ("processor contract", approval.contract_expires_on),
            ("ISO 27001 certificate", approval.iso27001_expires_on),
            ("DPIA review", approval.dpia_review_on),
            ("retention period", approval.retention_until),
        ):
            if day is not None and view.on <= day <= view.on + warned:
                yield key, f"{title} ends on {day.isoformat()}"


def _parents(view: View) -> Found:
    for key, engagement in view.programme.engagements.items():
        has_parents = engagement.wave("parent") is not None
        if has_parents and engagement.tranche not in view.tracking.rules.parent_tranches:
            yield key, f"a parent survey is registered in {engagement.tranche}"


def _without_assessments(view: View) -> Found:
    wanted = view.tracking.rules.needs_assessments_n
    for key, engagement in view.programme.engagements.items():
        if engagement.tranche not in view.tracking.rules.parent_tranches:
            continue
        own = [a for a in view.tracking.needs_assessments if a.engagement == key]
        n = sum(a.reported_on is not None and a.reported_on <= view.on for a in own)
        over = _is_over(view, key)
        if engagement.wave("parent") is None and over and n < wanted:
            yield key, f"{n} needs assessments reported, {wanted} stand for the parent survey"


def _is_over(view: View, engagement: str) -> bool:
    part = view.tracking.participation.get(engagement)
    return part is not None and part.status != "stopped" and part.active_until < view.on


def _late_reports(view: View) -> Found:
    for key in view.programme.engagements:
        due, done = report_due(view, key), done_on(view, key, "reports")
        if due is None:
            continue
        if done is not None and done > due:
            said = f"reported on {done.isoformat()}, {(done - due).days} days after it was due"
            yield key, said, _WHEN_LATE
        elif done is None and due < view.on:
            yield key, f"due on {due.isoformat()}, {(view.on - due).days} days ago"


def _late_milestones(view: View) -> Found:
    for (key, name), own in view.tracking.milestones.items():
        if name == "reports" or own.due_on is None or own.due_on >= view.on:
            continue
        if done_on(view, key, name) is None:
            yield key, f"{name} was due on {own.due_on.isoformat()} and is not done"


def _disordered(view: View) -> Found:
    for key in view.programme.engagements:
        for first, second in _ORDER:
            before, after = done_on(view, key, first), done_on(view, key, second)
            if after is not None and (before is None or before > after):
                when = f"on {before.isoformat()}" if before else "not at all"
                yield key, f"{second} on {after.isoformat()}, but {first} {when}"


def _without_days(view: View) -> Found:
    wanted = view.tracking.rules.development_days_n
    for key in view.programme.engagements:
        n = sum(done_on(view, key, name) is not None for name in DEVELOPMENT_DAYS)
        if _is_over(view, key) and n < wanted:
            yield key, f"{n} development days held of {wanted}"


def _without_exchanges(view: View) -> Found:
    """Whole calendar years in which some CPP was active throughout."""
    wanted = view.tracking.rules.exchanges_a_year_n
    taking_part = view.tracking.participation.values()
    years = range(
        min((p.active_from.year for p in taking_part), default=1),
        max((p.active_until.year for p in taking_part), default=0) + 1,
    )
    for year in years:
        first, last = date(year, 1, 1), date(year, 12, 31)
        through = any(p.is_active(first) and p.is_active(last) for p in taking_part)
        held = [e.held_on for e in view.tracking.events if e.kind in _EXCHANGES and e.held_on]
        n = sum(first <= day <= last for day in held)
        if through and last < view.on and n < wanted:
            yield "", f"{n} learning exchanges or workshops in {year}, planned are {wanted}"


def _vacant(view: View) -> Found:
    for key, part in view.tracking.participation.items():
        if not part.is_active(view.on):
            continue
        number = view.programme.tranches[view.programme.engagements[key].tranche].number
        for role, first in view.tracking.rules.posts_from.items():
            own = [p for p in view.tracking.posts if (p.engagement, p.role) == (key, role)]
            if number >= first and not any(post.is_filled(view.on) for post in own):
                yield key, f"no {role.replace('_', ' ')} on {view.on.isoformat()}"


def _untracked(view: View) -> Found:
    for key in view.programme.engagements:
        if key not in view.tracking.participation:
            yield key, "it has no slot"


def _without_cut_off(view: View) -> Found:
    for key in view.programme.engagements:
        if key not in view.tracking.cut_offs:
            yield key, "no day until which a withdrawal changes the first release"


def _unfinished_cycle(view: View) -> Found:
    """A CPP that is active works somewhere in its cycle."""
    for key, part in view.tracking.participation.items():
        if part.is_active(view.on) and view.tracking.phase_on(key, view.on) is None:
            yield key, "no step of the commissioning cycle was entered"


def _undone_events(view: View) -> Found:
    for event in view.tracking.events:
        if event.held_on is None and event.planned_on < view.on:
            yield "", f"{event.key} was planned for {event.planned_on.isoformat()} and not held"


def _overlapping_waves(view: View) -> Found:
    """A survey ends within the time in which the CPP takes part."""
    for key, engagement in view.programme.engagements.items():
        part = view.tracking.participation.get(key)
        for wave in engagement.waves if part else ():
            if part and not part.active_from <= wave.fieldwork_start <= part.active_until:
                yield key, f"{wave.survey} survey from {wave.fieldwork_start.isoformat()} on"


READINESS_RULE = "surveys_follow_readiness"
RULES = (
    Rule(
        READINESS_RULE,
        "No survey begins before the CPP was assessed as ready",
        "RCS programme paper, April 2015; readiness.csv",
        "enter the assessment in config/readiness.csv, or leave the engagement out",
        _unready,
    ),
    Rule(
        "engagements_have_a_slot",
        "Every engagement has its slot",
        "RCS programme paper, April 2015; participation.csv",
        "add its row to config/participation.csv",
        _untracked,
    ),
    Rule(
        "slots_are_not_overbooked",
        "No slot has more CPPs than it takes",
        "RCS programme paper, April 2015 (three a slot); slots.csv",
        "give a CPP another slot in config/participation.csv",
        _overbooked,
    ),
    Rule(
        "advisers_are_not_overcommitted",
        "No more CPPs are active at once than advisers can take",
        "RCS programme paper, April 2015 (six at most); tracking.yaml",
        "begin later in config/participation.csv, or raise active_max_n in config/tracking.yaml",
        _too_many,
    ),
    Rule(
        "surveys_lie_in_the_programme",
        "Surveys begin while the CPP takes part",
        "RCS programme paper, April 2015 (18 months); participation.csv, waves.csv",
        "correct the days in config/participation.csv or config/waves.csv",
        _overlapping_waves,
    ),
    Rule(
        "approvals_are_renewed_in_time",
        "No approval ends within the days of warning",
        "policy.md, Protection by design; privacy.csv",
        "renew it, and enter the new day in config/privacy.csv",
        _expiring,
    ),
    Rule(
        "parents_are_asked_in_their_tranches",
        "Parent surveys are held only in the tranches that have them",
        "evaluation of RCS, gov.scot, chapter 2 (tranche 3 has none); tracking.yaml",
        "set is_held to no in config/waves.csv, or add the tranche in config/tracking.yaml",
        _parents,
    ),
    Rule(
        "needs_assessments_stand_for_parents",
        "A CPP without parent survey has its needs assessments",
        "[S:SD0] evaluation, ch. 2; needs_assessments.csv",
        "enter the reports in config/needs_assessments.csv",
        _without_assessments,
    ),
    Rule(
        "reports_come_within_six_months",
        "Reports come within six months of the last survey",
        "[S:SD0] evaluation; milestones.csv, tracking.yaml",
        "enter the day in config/milestones.csv (reports), or agree a new due_on",
        _late_reports,
    ),
    Rule(
        "milestones_are_kept",
        "Milestones are done by their day",
        "milestones.csv",
        "enter the day in config/milestones.csv, or agree a new due_on",
        _late_milestones,
    ),
    Rule(
        "milestones_follow_their_order",
        "Milestones are done in their order",
        "[DES] order of this programme; milestones.csv",
        "correct the days in config/milestones.csv",
        _disordered,
    ),
    Rule(
        "development_days_are_held",
        "Whoever has finished had three development days",
        "evaluation of RCS, gov.scot, chapter 2; milestones.csv",
        "hold them, and enter the days in config/milestones.csv",
        _without_days,
    ),
    Rule(
        "exchanges_are_held_twice_a_year",
        "Learning exchanges or workshops are held twice in every whole year of the programme",
        "RCS programme paper, April 2015; events.csv",
        "enter what was held in config/events.csv",
        _without_exchanges,
    ),
    Rule(
        "events_are_held",
        "Events that were planned were held",
        "events.csv",
        "enter the day in config/events.csv, or a new planned_on",
        _undone_events,
    ),
    Rule(
        "posts_are_filled",
        "Who is active has the posts that the programme asks for",
        "RCS programme paper, April 2015; evaluation of RCS, gov.scot, chapter 2 (evidence "
        "officers); posts.csv, tracking.yaml",
        "enter the post in config/posts.csv",
        _vacant,
    ),
    Rule(
        "cycles_are_entered",
        "Who is active is somewhere in the commissioning cycle",
        "RCS programme paper, April 2015; cycles.csv",
        "enter the step in config/cycles.csv",
        _unfinished_cycle,
    ),
    Rule(
        "withdrawals_have_a_cut_off",
        "Every engagement has the day until which a withdrawal changes its first release",
        "policy.md, Protection by design; cut_offs.csv",
        "add its row to config/cut_offs.csv",
        _without_cut_off,
    ),
)
