"""Checks of services: spend is the service map's, need × reach counts every pupil once.

Belongs here: rules in Python on `services.*`, counted again from what they are made of. Does
not belong here: making them (`reach.py`, dbt_project), protection (`disclosure`).
"""

from __future__ import annotations

from rcs_assets.services.complex_asn import load_complex_asn
from rcs_assets.services.link_items import load_link_items
from rcs_assets.services.rules import load_reach_rules
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, room_checks

SPEND = ("services", "spend")
BUDGET_GAP = ("services", "budget_gap")
RECIPIENTS = ("services", "recipients")
REACH = ("services", "reach")
EFFECTS = ("services", "link_effects")
ITEMS = ("services", "link_items")
COMPLEX_ASN = ("services", "complex_asn")
# Spend is spread in decimals of a millionth of a pound.
POUNDS_TOLERANCE = 1.0


def spend_sums_to_the_service_map(bench: Bench) -> Verdict:
    """In each engagement and sector, spend is the cost of the service map within a pound."""
    rows = bench.con.execute(
        """
        select
            engagement || ' ' || sector as place,
            abs(coalesce(spent.gbp, 0) - coalesce(mapped.gbp, 0)) <= ? as is_right,
        from (
            select engagement, sector, sum(gbp) as gbp from services.spend group by all
        ) as spent
        full join (
            select engagement, sector, sum(annual_cost_gbp) as gbp
            from intake.service_map
            group by all
        ) as mapped
        using (engagement, sector)
        order by all
        """,
        [POUNDS_TOLERANCE],
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "sectors")


def spend_keeps_the_tiers(bench: Bench) -> Verdict:
    """In each engagement, a tier's share of spend is that of the service map's own shares."""
    tiers = ("universal", "targeted", "specialist")
    total = " + ".join(f"tier_{tier}_pct" for tier in tiers)
    mapped = " union all ".join(
        f"select engagement, '{tier}' as tier, "
        f"sum(annual_cost_gbp * tier_{tier}_pct / ({total})) as gbp "
        "from intake.service_map group by engagement"
        for tier in tiers
    )
    rows = bench.con.execute(
        f"""
        with mapped as ({mapped}),
        spent as (select engagement, tier, sum(gbp) as gbp from services.spend group by all)
        select
            engagement || ' ' || tier,
            abs(coalesce(spent.gbp, 0) - coalesce(mapped.gbp, 0)) <= ?,
        from mapped
        full join spent using (engagement, tier)
        order by all
        """,
        [POUNDS_TOLERANCE],
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "tiers")


def every_sector_has_its_budget(bench: Bench) -> Verdict:
    """Each sector of the service map stands once beside the budgets, with what is mapped."""
    rows = bench.con.execute(
        """
        select
            engagement || ' ' || sector,
            count(gap.sector) = 1 and abs(any_value(gap.mapped_gbp) - any_value(mapped.gbp)) <= ?,
        from (
            select engagement, sector, sum(annual_cost_gbp) as gbp
            from intake.service_map
            group by all
        ) as mapped
        left join services.budget_gap as gap using (engagement, sector)
        group by engagement, sector
        order by all
        """,
        [POUNDS_TOLERANCE],
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "sectors")


def reach_counts_every_pupil_once(bench: Bench) -> Verdict:
    """The levels of a need hold each linked pupil who has a level once, in every breakdown."""
    surveys = {need.name: need.survey for need in load_reach_rules(bench.home.config).needs}
    names = ", ".join(f"('{need}', '{survey}')" for need, survey in surveys.items())
    rows = bench.con.execute(
        f"""
        with sums as (
            select engagement, survey, need, breakdown, sum(need_n) as pupils_n,
            from services.reach
            where service = 'none'
            group by all
        ),
        answered as (
            select engagement, survey, need, count(*) as weighted_n,
            from wellbeing.weights
            inner join (values {names}) as needs (need, survey) using (survey)
            group by all
        )
        select
            engagement || ' ' || sums.need || ' ' || sums.breakdown,
            sums.pupils_n = total.pupils_n and sums.pupils_n <= coalesce(weighted_n, 0),
        from sums
        inner join sums as total using (engagement, need)
        left join answered using (engagement, need)
        where total.breakdown = 'total'
        order by all
        """
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "tables")


def reach_services_add_up(bench: Bench) -> Verdict:
    """Any support = the one + the other - both; none = pupils - any; receipt is the links'."""
    rows = bench.con.execute(
        """
        with counted as (
            select
                linked.engagement,
                linked.survey,
                count_if(has_asn_support) as asn_support_n,
                count_if(has_social_work) as social_work_n,
                count_if(has_asn_support and has_social_work) as both_n,
            from linkage.linked
            semi join wellbeing.weights using (engagement, record_id)
            group by all
        ),
        wide as (
            select
                engagement, survey, need, need_level, breakdown, "group",
                any_value(need_n) as need_n,
                max(served_n) filter (service = 'asn_support') as asn_support_n,
                max(served_n) filter (service = 'social_work') as social_work_n,
                max(served_n) filter (service = 'both') as both_n,
                max(served_n) filter (service = 'any_service') as any_service_n,
                max(served_n) filter (service = 'none') as none_n,
            from services.reach
            group by all
        ),
        totals as (
            select
                engagement, survey, need,
                sum(asn_support_n) as asn_support_n, sum(social_work_n) as social_work_n,
                sum(both_n) as both_n,
            from wide
            where breakdown = 'total'
            group by all
        )
        select engagement || ' ' || need, any_service_n = asn_support_n + social_work_n - both_n
            and none_n = need_n - any_service_n
        from wide
        union all
        -- Pupils without a level of need are in no row: there may be more recipients than here.
        select totals.engagement || ' ' || need,
            totals.asn_support_n <= counted.asn_support_n
            and totals.social_work_n <= counted.social_work_n
            and totals.both_n <= counted.both_n
        from totals
        inner join counted using (engagement, survey)
        order by all
        """
    ).fetchall()
    wrong = sorted({place for place, is_right in rows if not is_right})
    return Verdict.of(wrong, len(rows), "rows")


def reach_rates_keep_their_order(bench: Bench) -> Verdict:
    """Rates are percentages, inside their interval and bounds; corrected on the true side."""
    rows = bench.con.execute(
        """
        select distinct engagement || ' ' || need || ' ' || service
        from services.reach
        where observed_pct is not null and not coalesce(
            observed_pct between 0 and 100
            and corrected_pct between 0 and 100
            and observed_pct between ci_low - 1e-9 and ci_high + 1e-9
            and observed_pct between bound_low - 1e-9 and bound_high + 1e-9
            and corrected_pct between bound_low - 1e-6 and bound_high + 1e-6
            and if(
                service = 'none',
                corrected_pct <= observed_pct + 1e-9,
                corrected_pct >= observed_pct - 1e-9
            ),
            false
        )
        order by all
        """
    ).fetchall()
    total = bench.con.execute(
        "select count(*) from services.reach where observed_pct is not null"
    ).fetchall()[0][0]
    return Verdict.of([row[0] for row in rows], total, "rates")


def effects_start_from_reach(bench: Bench) -> Verdict:
    """The base of the effects is the observed rate of need × reach, engagement by engagement."""
    rows = bench.con.execute(
        """
        select distinct
            effects.engagement,
            bool_and(abs(effects.pct - reach.observed_pct) < 1e-6) over of_engagement
                and min(abs(effects.difference)) over of_engagement = 0
        from services.link_effects as effects
        left join services.reach as reach
            on
                effects.engagement = reach.engagement
                and effects.result = reach.need || ', high: ' || reach.service
                and reach.breakdown = 'total'
                and reach.need_level = 'high'
        where effects.kind = 'reach' and effects.scenario = 'as linked'
        window of_engagement as (partition by effects.engagement)
        order by all
        """
    ).fetchall()
    wrong = [str(place) for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "engagements")


def items_are_filled(bench: Bench) -> Verdict:
    """Every item of the guidelines has an answer; those that no run can know name who answers."""
    rows = bench.con.execute(
        "select item, filled_by, coalesce(trim(answer), '') from services.link_items order by all"
    ).fetchall()
    wanted = {item.name for item in load_link_items(bench.home.config)}
    empty = [name for name, _, answer in rows if not answer]
    missing = sorted(wanted - {name for name, _, _ in rows})
    by_run = sum(who == "run" for _, who, _ in rows)
    return Verdict.of([*empty, *missing], len(rows), f"items, {by_run} from the run")


def recipients_are_the_invited(bench: Bench) -> Verdict:
    """The pupils are those of the sample file, the responding ones those with linked answers."""
    rows = bench.con.execute(
        """
        with invited as (
            select waves.engagement, waves.survey, count(*) as pupils_n
            from programme.waves as waves
            inner join intake.sample as sample
                on
                    waves.engagement = sample.engagement
                    and list_contains(waves.stages, sample.stage)
            group by all
        ),
        answered as (
            select engagement, survey, count(*) as responded_n
            from wellbeing.indicator_values
            group by all
        ),
        counted as (
            select
                engagement, survey, sum(pupils_n) as pupils_n,
                coalesce(sum(pupils_n) filter (has_responded), 0) as responded_n,
                bool_and(
                    any_service_n = asn_support_n + social_work_n - both_n
                    and both_n <= least(asn_support_n, social_work_n)
                    and any_service_n <= pupils_n
                ) as adds_up
            from services.recipients
            group by all
        )
        select
            engagement || ' ' || survey,
            coalesce(
                adds_up and counted.pupils_n = invited.pupils_n
                and counted.responded_n = coalesce(answered.responded_n, 0),
                false
            )
        from invited
        full join counted using (engagement, survey)
        left join answered using (engagement, survey)
        order by all
        """
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "surveys")


SPEND_CHECKS = (
    PythonCheck(
        SPEND,
        "spend_sums_to_the_service_map",
        "In each engagement and sector spend is the cost of the service map, within a pound",
        "domain.md 8; contract of services.spend",
        "run: rcs materialise (spend is older than the map); if it stays, a defect of services",
        spend_sums_to_the_service_map,
    ),
    PythonCheck(
        SPEND,
        "spend_keeps_the_tiers",
        "A tier's spend is that of the service map's own shares, scaled to sum to 100",
        "domain.md 8 (tier shares of a service sum to 100)",
        "compare the tier shares of the service map; ask the CPP project manager",
        spend_keeps_the_tiers,
    ),
    PythonCheck(
        BUDGET_GAP,
        "every_sector_has_its_budget",
        "Each sector of the service map stands once beside the budgets",
        "contract of services.budget_gap",
        "run: rcs materialise (the table is older than the deliveries)",
        every_sector_has_its_budget,
    ),
    PythonCheck(
        RECIPIENTS,
        "recipients_are_the_invited",
        "Pupils by response are those of the sample file and of the linked answers, and add up",
        "contract of services.recipients",
        "run: rcs materialise (the table is older than the links); if it stays, a defect of "
        "services",
        recipients_are_the_invited,
    ),
)


def complex_asn_holds_every_pupil_once(bench: Bench) -> Verdict:
    """The three groups are the respondents with an education record; off, there is no row."""
    rules = load_complex_asn(bench.codebook, bench.home.config)
    if not rules.is_on:
        rows_n = bench.con.execute("select count(*) from services.complex_asn").fetchall()[0][0]
        return Verdict(rows_n == 0, f"no definition, {rows_n} rows")
    rows = bench.con.execute(
        """
        select
            engagement || ' ' || survey,
            profiled.n is not distinct from counted.n and profiled.group_n = 3,
        from (
            select engagement, survey, sum(n) as n, count(*) as group_n
            from services.complex_asn
            where part = 'who' and measure = 'girls' and engagement is not null
            group by all
        ) as profiled
        full join (
            select linked.engagement, linked.survey, count(*) as n
            from linkage.linked as linked
            inner join wellbeing.weights as weights using (engagement, record_id)
            where
                linked.has_education and linked.sex is not null
                and linked.engagement not in (select unnest(?::varchar[]))
            group by all
        ) as counted
        using (engagement, survey)
        order by all
        """,
        [sorted(bench.left_out)],
    ).fetchall()
    wrong = [place for place, is_right in rows if not is_right]
    return Verdict.of(wrong, len(rows), "surveys")


REACH_CHECKS = (
    PythonCheck(
        REACH,
        "reach_counts_every_pupil_once",
        "The levels of a need hold each pupil with a level once, in every breakdown",
        "contract of services.reach; services, reach.yaml",
        "do not publish; report a defect of services",
        reach_counts_every_pupil_once,
    ),
    PythonCheck(
        REACH,
        "reach_services_add_up",
        "Any support is the one plus the other less both, none is the rest, all from the links",
        "contract of services.reach",
        "run: rcs materialise (reach is older than the links); if it stays, a defect of services",
        reach_services_add_up,
    ),
    PythonCheck(
        REACH,
        "reach_rates_keep_their_order",
        "Rates are percentages inside their interval and bounds, corrected to the true side",
        "policy.md, Table B, reach",
        "do not publish; report a defect of services",
        reach_rates_keep_their_order,
    ),
)

EFFECT_CHECKS = (
    PythonCheck(
        EFFECTS,
        "effects_start_from_reach",
        "Results at other thresholds start from the rates of need × reach",
        "contract of services.link_effects",
        "run: rcs materialise (effects are older than reach); if it stays, a defect of services",
        effects_start_from_reach,
    ),
    PythonCheck(
        ITEMS,
        "items_are_filled",
        "Every item of RECORD and GUILD has an answer",
        "methods.md A, Reporting",
        "run: rcs materialise; answer open items in config/link_items.yaml",
        items_are_filled,
    ),
)

COMPLEX_ASN_CHECKS = (
    PythonCheck(
        COMPLEX_ASN,
        "complex_asn_holds_every_pupil_once",
        "The groups of the profile are the respondents with an education record, each once",
        "contract of services.complex_asn; config, complex_asn.yaml",
        "run: rcs materialise (the profile is older than the links or the definition)",
        complex_asn_holds_every_pupil_once,
    ),
)

spend_checks = room_checks("spend_checks", SPEND_CHECKS)
# Need × reach is made in another run than spend: a definition of its own.
reach_checks = room_checks("reach_checks", REACH_CHECKS)
effect_checks = room_checks("link_effect_checks", EFFECT_CHECKS)
complex_asn_checks = room_checks("complex_asn_checks", COMPLEX_ASN_CHECKS)
