"""Each check of spend, need × reach and findings passes on what was made, and finds faults."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pytest

from rcs_assets.disclosure import checks as protected
from rcs_assets.research import checks as research
from rcs_assets.services import checks as services
from rcs_assets.storage.checks import Bench

CHECKS = {
    check.name: check
    for check in (
        *services.SPEND_CHECKS,
        *services.REACH_CHECKS,
        *services.EFFECT_CHECKS,
        *services.COMPLEX_ASN_CHECKS,
        *protected.SERVICES_CHECKS,
        *research.PYTHON_CHECKS,
        *protected.FINDINGS_CHECKS,
    )
}
OpenBench = Callable[[duckdb.DuckDBPyConnection], Bench]

# A confidential sum that is shown as it is; and every sum that was hidden for its sake.
SHOW_SPEND = """
    update disclosure.spend as shown set status = 'published',
        gbp = round((
            select sum(gbp) from services.spend as money
            where shown.engagement = money.engagement
            and shown.sector in (money.sector, 'all') and shown.tier in (money.tier, 'all')
            and shown.age_band in (money.age_band, 'all')
            and shown.funding_origin in (money.funding_origin, 'all')
            and shown.domain in (money.domain, 'all')
        ), -3),
        children_n = 10
    where status = 'c'
"""
# Rows of need × reach that are shown with figures that fit no rule but are figures.
SHOW_REACH = """
    update disclosure.reach set status = 'published', n = 50, observed_pct = 20, ci_low = 10,
        ci_high = 30, corrected_pct = 22, bound_low = 20, bound_high = 30
"""
FIRST_OPEN = (
    "(select min(rowid) from disclosure.spend where audience = 'public' "
    "and status = 'published' and gbp > 0)"
)

# Check → ways to spoil the warehouse; each alone must make it fail.
DAMAGE: dict[str, tuple[str, ...]] = {
    # Nothing is defined in this installation, so a row comes from nowhere.
    "complex_asn_holds_every_pupil_once": (
        "insert into services.complex_asn by name select 't9-x' as engagement, "
        "'primary' as survey, 'who' as part, 'girls' as measure, 9 as n",
    ),
    "effects_start_from_reach": (
        "update services.link_effects set pct = pct + 1 where scenario = 'as linked' "
        "and kind = 'reach'",
        "update services.reach set observed_pct = observed_pct + 1 where need_level = 'high'",
        "delete from services.link_effects",
    ),
    "items_are_filled": (
        "update services.link_items set answer = '' where rowid = 0",
        "delete from services.link_items where rowid = 0",
    ),
    "spend_sums_to_the_service_map": (
        "delete from services.spend where rowid = 0",
        "update intake.service_map set annual_cost_gbp = annual_cost_gbp + 2 where rowid = 0",
        "delete from services.spend where engagement = '{engagement}'",
        "delete from services.spend",
    ),
    "spend_keeps_the_tiers": (
        "update services.spend set tier = 'specialist' where tier = 'universal' "
        "and gbp = (select max(gbp) from services.spend where tier = 'universal')",
        "update services.spend set gbp = gbp * 1.01 where tier = 'universal'",
    ),
    "every_sector_has_its_budget": (
        "delete from services.budget_gap where rowid = 0",
        "insert into services.budget_gap select * from services.budget_gap where rowid = 0",
        "update services.budget_gap set mapped_gbp = mapped_gbp + 2",
    ),
    "recipients_are_the_invited": (
        "delete from services.recipients where rowid = 0",
        "update services.recipients set pupils_n = pupils_n + 1 where rowid = 0",
        "update services.recipients set both_n = both_n + 1 where rowid = 0",
        "delete from services.recipients",
    ),
    "recipients_tell_no_small_part": (
        "update disclosure.recipients set n = 4 where rowid = 0",
        "update disclosure.recipients set status = 'published', n = 60, not_responded_pct = 40",
        "update services.recipients set any_service_n = 3, asn_support_n = 3, social_work_n = 0, "
        "both_n = 0; update disclosure.recipients set status = 'published', n = 0, "
        "not_responded_pct = 50",
        "delete from disclosure.recipients",
    ),
    "reach_counts_every_pupil_once": (
        "update services.reach set need_n = need_n + 1 "
        "where breakdown = 'sex' and service = 'none' and need_level = 'high'",
        "update services.reach set need_n = need_n + 100000",
        "delete from services.reach where breakdown = 'stage' and need_level = 'some'",
    ),
    "reach_services_add_up": (
        "update services.reach set served_n = served_n + 1 where service = 'both'",
        "update services.reach set served_n = served_n - 1 where service = 'none'",
        "update linkage.linked set has_asn_support = false",
        "update linkage.linked set has_social_work = false",
    ),
    "reach_rates_keep_their_order": (
        "update services.reach set observed_pct = 101 where service = 'none'",
        "update services.reach set corrected_pct = observed_pct - 1 where service = 'asn_support'",
        "update services.reach set bound_high = observed_pct - 1 where service = 'social_work'",
        "update services.reach set ci_low = null where observed_pct is not null",
        "delete from services.reach",
    ),
    "spend_is_alike_for_all": (
        "delete from disclosure.spend where audience = 'cpp/{engagement}' and tier = 'all'",
        "update disclosure.spend set gbp = gbp + 1000 where audience = 'cpp/{engagement}'",
        "update disclosure.spend set audience = 'cpp/t9-nowhere' "
        "where audience = 'cpp/{engagement}'",
        "delete from disclosure.spend where engagement = '{engagement}'",
    ),
    "shown_spend_has_its_holdings": (
        SHOW_SPEND,
        # One provider less in each sum of the third sector.
        "update services.spend set provider_name = 'One Trust' where provider_type = 'third'; "
        + SHOW_SPEND,
        "update services.spend set provider_type = 'independent'",
    ),
    "shown_spend_is_rounded": (
        f"update disclosure.spend set gbp = gbp + 1 where rowid = {FIRST_OPEN}",
        f"update disclosure.spend set gbp = gbp + 1000 where rowid = {FIRST_OPEN}",
        f"update disclosure.spend set children_n = 3 where rowid = {FIRST_OPEN}",
        "update disclosure.spend set gbp = 1000 where status = 'c'",
        f"update disclosure.spend set status = 'x' where rowid = {FIRST_OPEN}",
    ),
    "hidden_spend_is_not_recovered": (
        # What stays hidden is one confidential sum of each sector: the difference of the rest.
        SHOW_SPEND + " and sector <> 'voluntary'; " + SHOW_SPEND + " and tier <> 'universal'",
    ),
    "every_reach_row_is_judged": (
        "delete from disclosure.reach where rowid = 0",
        "insert into disclosure.reach select * from disclosure.reach where rowid = 0",
        "delete from disclosure.reach where audience = 'cpp/{engagement}'",
    ),
    "shown_reach_obeys_table_a": (
        SHOW_REACH,
        SHOW_REACH + " where service in ('any_service', 'social_work')",
        SHOW_REACH + "; update services.reach set need_n = 49",
    ),
    "shown_reach_is_rounded": (
        SHOW_REACH,
        "update disclosure.reach set n = 10 where status = 'c'",
        "update disclosure.reach set status = 'hidden'",
    ),
    "reach_hides_with_its_indicator": (
        SHOW_REACH + "; update disclosure.estimates set status = 'c'",
        SHOW_REACH
        + " where service = 'any_asn' and breakdown = 'total'; "
        + "update disclosure.estimates set status = if(breakdown = 'asn', 'c', 'published')",
    ),
    "groups_count_every_pupil": (
        "update research.risks set n = n + 1 where kind = 'factor' and rowid = "
        "(select min(rowid) from research.risks where kind = 'factor')",
        "delete from research.risks",
    ),
    "every_outcome_has_its_model": (
        "delete from research.models where factor = 'often_lonely'",
        "delete from research.models where factor = 'fit'",
    ),
    "findings_obey_table_a": (
        "update disclosure.models set status = 'published'",
        "update research.risks set n = 29, with_outcome_n = 12 where kind = 'factor'",
        "update research.risks set with_outcome_n = 9 where kind = 'factor'",
        "delete from disclosure.risks; delete from disclosure.models",
    ),
    "findings_are_rounded": (
        "update disclosure.risks set n = n + 1",
        "update disclosure.risks set n = n + 20",
        "update disclosure.risks set outcome_pct = outcome_pct + 1",
        "update disclosure.risks set share_pct = share_pct + 2",
        "update disclosure.risks set ci_low = ci_low - 2",
        "update research.risks set design_effect = 4, ci_low = 0, ci_high = 100",
        "update disclosure.risks set status = 'u'",
        "update disclosure.risks set status = 'c'",
        "delete from disclosure.risks",
    ),
    "findings_cannot_be_worked_out": (
        # All groups hidden but those of the count: who has no risk has this one's good side.
        "update disclosure.risks set status = if(kind = 'count', 'published', 'c')",
        "delete from disclosure.risks",
    ),
    "reach_cannot_be_subtracted": (
        SHOW_REACH + "; update disclosure.reach set status = 'c' where need_level = 'some'",
        SHOW_REACH + "; update disclosure.reach set status = 'c' where breakdown = 'total'",
        SHOW_REACH + "; update disclosure.reach set status = 'c' where audience like 'cpp/%'",
        SHOW_REACH + "; update disclosure.reach set status = 'c' where \"group\" = 'M'",
    ),
}


def test_every_check_can_fail() -> None:
    assert set(DAMAGE) == set(CHECKS)


def test_all_pass_on_what_the_platform_made(
    spoilt: duckdb.DuckDBPyConnection, open_bench: OpenBench
) -> None:
    bench = open_bench(spoilt)
    verdicts = {name: check.judge(bench) for name, check in CHECKS.items()}
    assert {name: v.observed for name, v in verdicts.items() if not v.passed} == {}


@pytest.mark.parametrize(
    ("name", "damage"), [(name, sql) for name, ways in DAMAGE.items() for sql in ways]
)
def test_a_damaged_warehouse_fails(
    name: str,
    damage: str,
    spoilt: duckdb.DuckDBPyConnection,
    open_bench: OpenBench,
    engagement: str,
) -> None:
    spoilt.execute(damage.replace("{engagement}", engagement))
    assert not CHECKS[name].judge(open_bench(spoilt)).passed
