"""Checks of the programme: each rule of tracking as a warning in the graph.

Belongs here: turning the rules of `breaches.py` into checks of the asset [programme, tracking].
Does not belong here: any rule. None gates: how a CPP is led stops no figure. Readiness and
approvals do, and are asked where the deliveries are (`intake`).
"""

from __future__ import annotations

from functools import partial

from rcs_assets.programme.breaches import READINESS_RULE, RULES, Rule, View, breaches
from rcs_assets.programme.tracking import load_tracking
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks

TRACKING = ("programme", "tracking")


def _judge(rule: Rule, bench: Bench) -> Verdict:
    view = View(
        bench.programme,
        load_tracking(bench.home.config),
        bench.as_of,
        bench.home.profile == "demo",
    )
    found = [f"{b.engagement or 'programme'}: {b.said}" for b in breaches(view, [rule])]
    return Verdict(not found, places(found, f"on {bench.as_of.isoformat()}"))


PYTHON_CHECKS = tuple(
    PythonCheck(
        TRACKING,
        rule.name,
        rule.sentence,
        rule.source,
        rule.fix,
        partial(_judge, rule),
        gates=False,
    )
    for rule in RULES
    if rule.name != READINESS_RULE
)

programme_checks = room_checks("programme_checks", PYTHON_CHECKS)
