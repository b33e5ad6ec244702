"""Checks of disclosure: Table A counted again, the audit, the expectations of the candidate.

Belongs here: wiring the rules of `recount.py` and the outcome of `estimates_audit.py` as
checks, findings counted again, and the suite of the boundary candidate. Does not belong here: the
recounts of estimates and services, protection, attacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from data_quality import (
    LeastBase,
    ReleaseRules,
    candidate_suite,
    load_thresholds,
)
from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.changes import RULES as CHANGE_RULES
from rcs_assets.disclosure.changes import ChangeRule
from rcs_assets.disclosure.drift import since_last_release
from rcs_assets.disclosure.earlier import earlier_releases
from rcs_assets.disclosure.estimates_audit import audit_problem, differences_problem
from rcs_assets.disclosure.findings_attack import attack_findings
from rcs_assets.disclosure.held import NO_HOLDS, compare_rows
from rcs_assets.disclosure.models import register_flags
from rcs_assets.disclosure.policy import Policy, load_policy
from rcs_assets.disclosure.profile import disclosure_profiles
from rcs_assets.disclosure.recipients import wrong_recipients
from rcs_assets.disclosure.recount import is_recounted, recount, wrong_cells
from rcs_assets.disclosure.recount_services import REACH_RULES, SPEND_RULES, Look, Recount
from rcs_assets.errors import InputError
from rcs_assets.estimation import wilson_sql
from rcs_assets.intake.checks import no_identifier_columns
from rcs_assets.services import load_reach_rules
from rcs_assets.storage import home_path
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks

if TYPE_CHECKING:
    import pandas as pd

CELLS = ("disclosure", "estimates")
AUDIT = ("disclosure", "audit")
# "" = none; low and high: policy.md, How protection is judged; indicative: Table B, parents.
NOTES = ("", "low", "high", "indicative")


def _recounted(rule: str) -> Callable[[Bench], Verdict]:
    """A check that passes if there are cells and none breaks one of `recount.RULES`."""

    def check(bench: Bench) -> Verdict:
        # A bench has one connection for all checks of a step: counted once for all rules.
        if not is_recounted(bench.con):
            earlier = earlier_releases(bench.home.releases)
            recount(bench.con, load_policy(bench.home.config), earlier)
        found = wrong_cells(bench.con, rule)
        total = bench.con.execute("select count(*) from disclosure.estimates").fetchall()[0][0]
        return Verdict.of(found, total, "cells")

    return check


def no_cell_is_unsafe(bench: Bench) -> Verdict:
    """Every coalition attacked every indicator of these very rows, and learnt too much of none."""
    problem = audit_problem(bench.con)
    counts = bench.con.execute(
        "select coalesce(sum(cells_n), 0), coalesce(sum(hidden_n), 0), "
        "coalesce(sum(targets_n), 0), coalesce(sum(unsafe_n), 0), coalesce(sum(programs_n), 0) "
        "from disclosure.audit"
    ).fetchall()[0]
    said = "cells {}, hidden {}, quantities asked {}, unsafe {}, linear programs {}".format(*counts)
    return Verdict(not problem and counts[3] == 0, problem or said)


def no_difference_is_told(bench: Bench) -> Verdict:
    """No cell tells of the change of 1-9 pupils since a release, nor what was hidden there."""
    problem = differences_problem(bench.con, earlier_releases(bench.home.releases))
    row = bench.con.execute(
        "select count(*), coalesce(sum(compared_n), 0), coalesce(sum(unsafe_n), 0) "
        "from disclosure.differences"
    ).fetchall()[0]
    found = bench.con.execute(
        "select distinct concat_ws(' ', release, audience, indicator, geography_code, breakdown, "
        '"group") from disclosure.difference_places order by all'
    ).fetchall()
    said = "releases before {}, cells compared {}, changes told {}".format(*row)
    return Verdict(
        not problem and not found and row[2] == 0, problem or places([r[0] for r in found], said)
    )


NO_RELEASE = "do not publish; report the check and its places as a defect of disclosure"
PYTHON_CHECKS = (
    PythonCheck(
        CELLS,
        "every_estimate_is_judged",
        "Each audience has each cell of its geographies exactly once, shown or hidden",
        "disclosure policy, audiences",
        "run: rcs materialise (disclosure is older than the estimates)",
        _recounted("complete"),
    ),
    PythonCheck(
        CELLS,
        "shown_cells_obey_table_a",
        "Base, numerator and complement of each shown cell reach the row of Table A",
        "policy.md, Table A; counted again from wellbeing.estimates",
        NO_RELEASE,
        _recounted("thresholds"),
    ),
    PythonCheck(
        CELLS,
        "shown_values_are_rounded",
        "n, estimates and intervals are multiples of Table A's steps and nearest to the true ones; "
        "n of an area may be that of a release before if few have changed",
        "policy.md, Table A",
        NO_RELEASE,
        _recounted("rounding"),
    ),
    PythonCheck(
        CELLS,
        "hidden_cells_say_nothing",
        "A hidden cell has no figure, and a note only where the policy allows one",
        "policy.md, How protection is judged",
        NO_RELEASE,
        _recounted("silence"),
    ),
    PythonCheck(
        CELLS,
        "groups_are_shown_together",
        "A breakdown is shown only if every group of it reaches the group's base",
        "policy.md, Table A, how to read it",
        NO_RELEASE,
        _recounted("groups"),
    ),
    PythonCheck(
        CELLS,
        "public_shows_no_more_than_the_area",
        "What a CPP's own package hides, the public package hides",
        "policy.md, Audiences",
        NO_RELEASE,
        _recounted("public"),
    ),
    PythonCheck(
        CELLS,
        "one_hidden_group_stays_open",
        "A hidden group beside shown ones cannot be subtracted from the total",
        "policy.md, How protection is judged",
        NO_RELEASE,
        _recounted("one_hidden"),
    ),
    PythonCheck(
        AUDIT,
        "no_cell_is_unsafe",
        "No coalition of readers can derive a hidden quantity from all packages together",
        "policy.md, How protection is judged (Safe)",
        "do not publish; run: rcs materialise; if it stands, report what disclosure.unsafe lists",
        no_cell_is_unsafe,
    ),
    PythonCheck(
        AUDIT,
        "no_difference_is_told",
        "Beside any earlier release no cell tells that 1 to 9 pupils' answers changed, nor what "
        "was hidden there and has changed",
        "policy.md, Change between releases; Table A, change between waves",
        "run: rcs materialise (a release came in between); if it stands, report what "
        "disclosure.difference_places lists",
        no_difference_is_told,
    ),
    PythonCheck(
        CELLS,
        "warehouse_has_no_identifier_columns",
        "When the release is made, no table of the warehouse has a column for an identifier",
        "design.md, Zones; codebook, datasets.yaml (sensitivity)",
        "stop; delete warehouse.duckdb, correct the table's definition, run: rcs materialise",
        no_identifier_columns,
    ),
)


def profiles(bench: Bench) -> Mapping[str, pd.DataFrame]:
    """The frames of the boundary candidate."""
    before = earlier_releases(bench.home.releases)
    policy, since = load_policy(bench.home.config), since_last_release(bench.home, before)
    return disclosure_profiles(bench.con, bench.codebook, policy, before, since)


def release_rules(policy: Policy) -> ReleaseRules:
    """What the candidate suite needs of the policy."""
    return ReleaseRules(
        label=policy.label,
        statuses=tuple(policy.statuses),
        notes=NOTES,
        unreliable_n_below=policy.unreliable_n_below,
        unreliable_interval_wider_than=policy.unreliable_interval_wider_than,
        bases=tuple(
            LeastBase(
                kind,
                is_sensitive,
                policy.rule_for(audience.output_classes["cpp"], is_sensitive=is_sensitive).base,
                policy.output_classes[audience.output_classes["cpp"]].source,
            )
            for kind, audience in policy.audiences.items()
            for is_sensitive in (False, True)
        ),
    )


CONFIG = home_path() / "config"
SUITE = candidate_suite(
    load_codebook(CONFIG),
    release_rules(load_policy(CONFIG)),
    load_thresholds(CONFIG),
)

disclosure_checks = room_checks(
    "disclosure_checks", PYTHON_CHECKS, SUITE, profiles, assets=(CELLS, AUDIT)
)


def _of_services(rule: Recount) -> PythonCheck:
    """A rule on protected services as a check."""

    def judge(bench: Bench) -> Verdict:
        needs = load_reach_rules(bench.home.config).needs
        found = rule.look(
            Look(
                bench.con,
                load_policy(bench.home.config),
                {need.name: need.indicators for need in needs},
                bench.left_out,
                earlier_releases(bench.home.releases),
            )
        )
        passed = found.is_any and not found.places
        return Verdict(passed, places(found.places, found.looked_at))

    return PythonCheck(rule.asset, rule.name, rule.sentence, rule.source, rule.fix, judge)


def findings_obey_table_a(bench: Bench) -> Verdict:
    """Each group and term that is shown reaches the row of Table A, counted again."""
    rule = load_policy(bench.home.config).models
    sensitive = [name for name, i in bench.codebook.indicators.items() if i.is_sensitive]
    rows = bench.con.execute(
        """
        with groups as (
            select outcome, factor || ' ' || kind || ' ' || domain as place,
                min(true_.n) as cell,
                min(least(with_outcome_n, true_.n - with_outcome_n)) as numerator, null as df,
                bool_or(shown.status <> 'c') as is_shown
            from disclosure.risks as shown
            inner join research.risks as true_ using (survey, outcome, kind, domain, factor, level)
            group by survey, outcome, domain, factor, kind
            union all
            select outcome, factor || ' ' || level, least_cell_n, least_outcome_n, df,
                shown.status <> 'c'
            from disclosure.models as shown
            inner join research.models as true_ using (survey, outcome, kind, factor, level)
        )
        select outcome || ': ' || place, is_shown and (
            cell < $cell + if(list_contains($sensitive::varchar[], outcome), $plus, 0)
            or numerator < $numerator or coalesce(df < $df, false)
        )
        from groups
        order by all
        """,
        {
            "cell": rule.cell,
            "numerator": rule.numerator,
            "df": rule.least_df,
            "plus": rule.sensitive_plus,
            "sensitive": sensitive,
        },
    ).fetchall()
    wrong = [place for place, is_wrong in rows if is_wrong]
    return Verdict.of(wrong, len(rows), "groups and terms")


def findings_are_rounded(bench: Bench) -> Verdict:
    """Shown figures of risks are multiples of their steps, near the truth, marked where wide.

    A range that is not made from schools follows from the figures beside it (policy.md, Table B:
    Wilson); the estimation engine's formula is used, not the one that protection rounds by.
    """
    policy = load_policy(bench.home.config)
    step, n_step = policy.models.pct_step, policy.models.n_step
    shares = ("share_pct", "outcome_pct", "ci_low", "ci_high")
    whole = " and ".join(f"s.{name}::double % {step} = 0" for name in shares)
    empty = " and ".join(f"s.{name} is null" for name in ("n", *shares))
    rows = bench.con.execute(
        f"""
        with cells as (
            select
                concat_ws(': ', outcome, factor || ' ' || s.level || ' ' || domain) as place,
                s.status in ('published', 'u') as is_shown,
                {empty} as is_empty,
                {whole} and s.n::double % {n_step} = 0
                and abs(s.n::double - t.n) <= {n_step / 2}
                and abs(s.share_pct::double - t.share_pct) <= {step / 2} + 1e-6
                and abs(s.outcome_pct::double - t.outcome_pct) <= {step / 2} + 1e-6
                    as is_near,
                {wilson_sql("s.n", "s.outcome_pct", "t.design_effect")} as wilson,
                if(
                    t.design_effect is null,
                    s.ci_low::double between t.ci_low - {step} and t.ci_low + 1e-6
                    and s.ci_high::double between t.ci_high - 1e-6 and t.ci_high + {step},
                    abs(s.ci_low::double - wilson['low']) <= {step / 2} + 1e-6
                    and abs(s.ci_high::double - wilson['high']) <= {step / 2} + 1e-6
                ) as is_range,
                s.status = 'u' as is_marked,
                s.n < {policy.unreliable_n_below}
                or s.ci_high - s.ci_low > {policy.unreliable_interval_wider_than} as is_wide,
            from disclosure.risks as s
            inner join research.risks as t using (survey, outcome, kind, domain, factor, level)
        )
        select
            place,
            if(is_shown, not coalesce(is_near and is_range and is_marked = is_wide, false),
                not is_empty)
        from cells
        order by all
        """
    ).fetchall()
    wrong = [place for place, is_wrong in rows if is_wrong]
    return Verdict.of(wrong, len(rows), "groups")


def findings_cannot_be_worked_out(bench: Bench) -> Verdict:
    """Nobody works out a small group from all splits, models and totals of an outcome together."""
    register_flags(bench.con, bench.codebook)
    policy, earlier = load_policy(bench.home.config), earlier_releases(bench.home.releases)
    known = compare_rows(bench.con, ["risks"], earlier, policy)["risks"] if earlier else NO_HOLDS
    known.register(bench.con)
    try:
        leaks, asked_n = attack_findings(
            bench.con,
            policy.models,
            risks="disclosure.risks",
            models="disclosure.models",
            estimates="disclosure.estimates",
        )
    except InputError as problem:
        # Figures that no table fits were not all made of the same pupils.
        return Verdict(False, str(problem))
    found = sorted({leak.place() for leak in leaks})
    return Verdict.of(found, asked_n, "quantities attacked")


FINDINGS_CHECKS = (
    PythonCheck(
        ("disclosure", "findings"),
        "findings_obey_table_a",
        "Each group and term that is shown reaches the row of Table A for models",
        "policy.md, Table A, models",
        "do not publish; report a defect of disclosure",
        findings_obey_table_a,
    ),
    PythonCheck(
        ("disclosure", "findings"),
        "findings_are_rounded",
        "Shown figures of risks are multiples of their steps, nearest to the truth, and marked "
        "where the range is wide; hidden rows have none",
        "policy.md, Tables A and B; How protection is judged (Status)",
        "do not publish; report a defect of disclosure",
        findings_are_rounded,
    ),
    PythonCheck(
        ("disclosure", "findings"),
        "findings_cannot_be_worked_out",
        "Splits by risk factors, counts of risks, models and totals together tell of no small "
        "group, nor of those who did not answer",
        "policy.md, How protection is judged (Safe); Table A, models",
        "do not publish; report a defect of disclosure",
        findings_cannot_be_worked_out,
    ),
)
findings_checks = room_checks("protected_findings_checks", FINDINGS_CHECKS)


def _of_changes(rule: ChangeRule) -> PythonCheck:
    """A rule on protected changes as a check."""

    def judge(bench: Bench) -> Verdict:
        found = rule.wrong(bench.con, load_policy(bench.home.config), bench.codebook)
        total = bench.con.execute("select count(*) from disclosure.changes").fetchall()[0][0]
        # Every CPP has a row, if only to say that it has one wave.
        return Verdict.of(found, total, "rows")

    return PythonCheck(
        ("disclosure", "changes"), rule.name, rule.sentence, rule.source, NO_RELEASE, judge
    )


CHANGES_CHECKS = tuple(_of_changes(rule) for rule in CHANGE_RULES)
changes_checks = room_checks("protected_changes_checks", CHANGES_CHECKS)


def recipients_tell_no_small_part(bench: Bench) -> Verdict:
    """No part of recipients by response is small where the shown rows give it."""
    found = wrong_recipients(bench.con, load_policy(bench.home.config))
    total = bench.con.execute("select count(*) from disclosure.recipients").fetchall()[0][0]
    return Verdict.of(found, total, "rows")


RECIPIENTS_CHECK = PythonCheck(
    ("disclosure", "reach"),
    "recipients_tell_no_small_part",
    "Recipients who did not respond are shown where every part that the rows give is large enough",
    "policy.md, Table A, need x reach; counted again from services.recipients",
    NO_RELEASE,
    recipients_tell_no_small_part,
)
SERVICES_CHECKS = (
    *(_of_services(rule) for rule in (*SPEND_RULES, *REACH_RULES)),
    RECIPIENTS_CHECK,
)
services_checks = room_checks("protected_services_checks", SERVICES_CHECKS)
