"""Checks of disclosure: Table A counted again from the unprotected estimates.

Belongs here: rules in Python that judge `disclosure.estimates` against
`wellbeing.estimates` and the policy's numbers, and the expectations of the boundary
candidate. Does not belong here: protection (`rules.py`, `rounding.py`), none of whose
code is used: what is checked here is derived from policy.md again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data_quality import (
    LeastBase,
    ReleaseRules,
    candidate_suite,
    load_thresholds,
)
from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.policy import Policy, load_policy
from rcs_assets.disclosure.profile import disclosure_profiles
from rcs_assets.disclosure.service_checks import REACH_CHECKS, SPEND_CHECKS
from rcs_assets.intake.checks import no_identifier_columns
from rcs_assets.storage import home_path, sql_literal
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks

if TYPE_CHECKING:
    import pandas as pd

CELLS = ("disclosure", "estimates")
# "" = none; low and high: policy.md, How protection is judged; indicative: Table B, parents.
NOTES = ("", "low", "high", "indicative")

# Each protected cell beside the counts that it was made from, and its row of Table A.
_JOINED = """
with rules as ({rules}),
cells as (
    select
        cells.*,
        coalesce(truth.base_n, 0) as base_n,
        coalesce(truth.numerator_n, 0) as yes_n,
        coalesce(truth.base_n, 0) - coalesce(truth.numerator_n, 0) as no_n,
        truth.estimate as true_estimate,
        rules.* exclude (kind, is_sensitive),
        case cells.geography_level
            when 'cpp' then truth.engagement else cells.geography_code
        end as unit,
        cells.status in ('published', 'u') as is_shown,
        truth.survey is not null as is_known,
    from disclosure.estimates as cells
    left join codebook.indicators as indicators on cells.indicator = indicators.name
    left join rules
        on
            split_part(cells.audience, '/', 1) = rules.kind
            and indicators.is_sensitive = rules.is_sensitive
    left join wellbeing.estimates as truth
        on
            cells.survey = truth.survey
            and cells.geography_level = truth.geography_level
            and cells.geography_code = truth.geography_code
            and cells.tranche is not distinct from truth.tranche
            and cells.breakdown = truth.breakdown
            and cells."group" = truth."group"
            and cells.indicator = truth.indicator
)
"""
_PLACE = "audience || ' ' || unit || ' ' || indicator || ' ' || breakdown"


def _rules_sql(bench: Bench) -> str:
    """Table A's thresholds and steps by audience and sensitivity, combined here: strictest wins."""
    policy = load_policy(bench.home.config)
    rows = []
    for kind, audience in policy.audiences.items():
        row, sensitive = (
            policy.output_classes[audience.output_class],
            policy.output_classes["sensitive"],
        )
        for is_sensitive in (False, True):
            both = (row, sensitive) if is_sensitive else (row,)
            rows.append(
                f"select {sql_literal(kind)} as kind, {is_sensitive} as is_sensitive, "
                f"{max(r.base for r in both) + sum(r.base_plus for r in both)} as k_base, "
                f"{max(r.numerator for r in both)} as k_yes, "
                f"{max(r.complement for r in both)} as k_no, "
                f"{max(r.pct_step for r in both)} as pct_step, "
                f"{max(r.mean_step for r in both)} as mean_step, "
                f"{max(r.n_step for r in both)} as n_step"
            )
    return " union all ".join(rows)


def _wrong_cells(bench: Bench, condition: str, of: str) -> Verdict:
    """Passed if there are cells and the condition holds for none of them."""
    sql = _JOINED.format(rules=_rules_sql(bench))
    found = bench.con.execute(
        f"{sql} select distinct {_PLACE} from cells where {condition} order by all"
    ).fetchall()
    total = bench.con.execute("select count(*) from disclosure.estimates").fetchall()[0][0]
    return Verdict(total > 0 and not found, places([str(r[0]) for r in found], f"{total} {of}"))


def shown_cells_obey_table_a(bench: Bench) -> Verdict:
    """Base, numerator and complement of each shown cell reach the row of Table A."""
    return _wrong_cells(
        bench,
        "is_shown and (not is_known or k_base is null or base_n < k_base "
        "or (statistic = 'pct' and (yes_n < k_yes or no_n < k_no)))",
        "cells",
    )


def shown_values_are_rounded(bench: Bench) -> Verdict:
    """n, estimates and intervals are multiples of their step, near the true value."""
    step = "if(statistic = 'pct', pct_step, mean_step)"
    return _wrong_cells(
        bench,
        f"""
        is_shown and (
            abs(n - round(n / n_step) * n_step) > 1e-6
            or abs(n - base_n) > n_step / 2 + 1e-6
            or abs(estimate - round(estimate / {step}) * {step}) > 1e-6
            or abs(estimate - true_estimate) > {step} / 2 + 1e-6
            or abs(ci_low - round(ci_low / {step}) * {step}) > 1e-6
            or abs(ci_high - round(ci_high / {step}) * {step}) > 1e-6
        )
        """,
        "cells",
    )


def hidden_cells_say_nothing(bench: Bench) -> Verdict:
    """A hidden cell has no figure; a note only where its base passes and fits the true count."""
    return _wrong_cells(
        bench,
        """
        not is_shown and (
            n is not null or estimate is not null or ci_low is not null or ci_high is not null
            or (status <> 'c' and (note is not null or base_n > 0))
            or (note = 'low' and (base_n < k_base or yes_n >= k_yes))
            or (note = 'high' and (base_n < k_base or no_n >= k_no))
            or note not in ('low', 'high')
        )
        """,
        "cells",
    )


_BLOCKS = """,
blocks as (
    select
        audience, survey, indicator, geography_level, any_value(tranche) as tranche, unit,
        breakdown, statistic, any_value(k_base) as k_base,
        bool_or(status = 'c') as is_hidden, bool_or(is_shown) as is_shown,
        sum(base_n) as base_n, sum(yes_n) as yes_n, sum(no_n) as no_n,
    from cells
    group by all
),
totals as (select * from blocks where breakdown = 'total')
"""

# One query a way in which a hidden figure would be a difference of shown ones.
_SUBTRACTIONS = {
    "a group that is hidden beside shown ones": """
        select blocks.* from blocks where is_hidden and is_shown
    """,
    "groups shown below a hidden total": """
        select blocks.* from blocks
        inner join totals using (audience, survey, indicator, unit)
        where blocks.is_shown and totals.is_hidden
    """,
    "a tranche or all shown above a hidden area": """
        select upper.* from blocks as upper
        inner join blocks as part
            on
                part.audience in (upper.audience, 'public')
                and part.survey = upper.survey
                and part.indicator = upper.indicator
                and part.breakdown = upper.breakdown
                and (
                    (upper.geography_level = 'all' and part.geography_level <> 'all')
                    or (
                        upper.geography_level = 'tranche' and part.geography_level = 'cpp'
                        and part.tranche = upper.unit
                    )
                )
        where upper.is_shown and part.is_hidden
    """,
    "shown to the public but hidden from the area itself": """
        select own.* from blocks as own
        inner join blocks as public
            on
                public.audience = 'public' and own.audience <> 'public'
                and public.survey = own.survey
                and public.indicator = own.indicator
                and public.unit = own.unit
                and public.breakdown = own.breakdown
        where own.is_hidden and public.is_shown
    """,
    "few pupils of unknown group, as total less shown groups": """
        select blocks.* from blocks
        inner join totals using (audience, survey, indicator, unit)
        where
            blocks.is_shown and totals.is_shown and blocks.breakdown <> 'total'
            and totals.base_n - blocks.base_n between 1 and blocks.k_base - 1
    """,
}


def nothing_can_be_subtracted(bench: Bench) -> Verdict:
    """No hidden figure is a sum or difference of shown ones, within or between tables."""
    base = _JOINED.format(rules=_rules_sql(bench)) + _BLOCKS
    found = []
    for way, sql in _SUBTRACTIONS.items():
        rows = bench.con.execute(
            f"{base} select distinct {_PLACE} from ({sql}) order by all"
        ).fetchall()
        found += [f"{way}: {row[0]}" for row in rows]
    total = bench.con.execute("select count(*) from disclosure.estimates").fetchall()[0][0]
    return Verdict(total > 0 and not found, places(found, f"tables of {total} cells"))


def every_estimate_is_judged(bench: Bench) -> Verdict:
    """Each audience has each cell of its geographies exactly once, shown or hidden."""
    policy = load_policy(bench.home.config)
    kinds = " union all ".join(
        f"select {sql_literal(kind)} as kind, unnest({list(a.geography_levels)}) as geography_level"
        for kind, a in policy.audiences.items()
    )
    key = 'survey, geography_level, geography_code, tranche, indicator, breakdown, "group"'
    rows = bench.con.execute(
        f"""
        with kinds as ({kinds}),
        audiences as (select distinct audience from disclosure.estimates),
        wanted as (
            select audience, {key}
            from wellbeing.estimates as truth
            inner join kinds using (geography_level)
            inner join audiences on split_part(audience, '/', 1) = kind
            where kind = 'public' or split_part(audience, '/', 2) = truth.engagement
        ),
        held as (select audience, {key} from disclosure.estimates)
        select distinct audience || ' ' || geography_code || ' ' || indicator
        from (
            (from wanted except all from held) union all (from held except all from wanted)
        )
        order by all
        """
    ).fetchall()
    engagements = bench.con.execute(
        "select distinct 'cpp/' || engagement from wellbeing.estimates "
        "where engagement is not null and geography_level = 'cpp' "
        "and 'cpp/' || engagement not in (select audience from disclosure.estimates)"
    ).fetchall()
    found = [str(row[0]) for row in [*engagements, *rows]]
    total = bench.con.execute("select count(*) from disclosure.estimates").fetchall()[0][0]
    return Verdict(total > 0 and not found, places(found, f"{total} cells"))


NO_RELEASE = "do not publish; report the check and its places as a defect of disclosure"
PYTHON_CHECKS = (
    PythonCheck(
        CELLS,
        "every_estimate_is_judged",
        "Each audience has each cell of its geographies exactly once, shown or hidden",
        "disclosure policy, audiences",
        "run: rcs materialise (disclosure is older than the estimates)",
        every_estimate_is_judged,
    ),
    PythonCheck(
        CELLS,
        "shown_cells_obey_table_a",
        "Base, numerator and complement of each shown cell reach the row of Table A",
        "policy.md, Table A; counted again from wellbeing.estimates",
        NO_RELEASE,
        shown_cells_obey_table_a,
    ),
    PythonCheck(
        CELLS,
        "shown_values_are_rounded",
        "n, estimates and intervals are multiples of Table A's steps and nearest to the true ones",
        "policy.md, Table A",
        NO_RELEASE,
        shown_values_are_rounded,
    ),
    PythonCheck(
        CELLS,
        "hidden_cells_say_nothing",
        "A hidden cell has no figure, and a note only where the policy allows one",
        "policy.md, How protection is judged",
        NO_RELEASE,
        hidden_cells_say_nothing,
    ),
    PythonCheck(
        CELLS,
        "nothing_can_be_subtracted",
        "No hidden figure is a sum or difference of shown ones, within or between tables",
        "issue 2, item 8; policy.md, How protection is judged",
        NO_RELEASE,
        nothing_can_be_subtracted,
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
    return disclosure_profiles(bench.con, bench.codebook)


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
                policy.rule_for(audience.output_class, is_sensitive=is_sensitive).base,
                policy.output_classes[audience.output_class].source,
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
    "disclosure_checks", PYTHON_CHECKS, SUITE, profiles, assets=(CELLS,)
)
services_checks = room_checks("protected_services_checks", (*SPEND_CHECKS, *REACH_CHECKS))
