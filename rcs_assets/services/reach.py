"""Need × reach: of the pupils in need, how many have support recorded.

Belongs here: `services.reach` from scores, weights and links: observed rates with their
interval, rates corrected for missed links, bounds. Does not belong here: what counts as need
and receipt (`data/reach.yaml`), rounding and suppression (`disclosure`).

A link that linkage missed reads as "no support". Three figures say how far that goes:

- observed: weighted share of pupils with the support on a linked record; where an education
  record is not linked, receipt is not known and counts as none.
- corrected: each pupil's support found is divided by the sensitivity of that link for pupils
  of the same stage and sex (share of true records found), both links by the product, taken as
  missed independently; capped at 0 and 100.
- bounds of the true rate, whoever the missed ones are, if the estimated sensitivity is right
  (its own uncertainty is not in them). Low: the observed rate (no link is
  false; `linkage` estimates its precision). High: observed + 100 × max(1 - sensitivity, share
  of these pupils whose receipt is not known): all of whom no record would have been found
  received it. For `none` the bounds of `any_service` turn round.

The interval is Wilson's on n / design effect, the rule of policy.md, Table B, for CPPs with
few schools, for all: a need row has few pupils a school, so that a variance between schools
is unstable in every CPP. The design effect is pooled over CPPs from school clusters.
Support without a reported need is support recorded, never too much of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import pyarrow as pa

from rcs_assets.estimation import Design, estimate_each, pooled_design_effect, wilson_sql
from rcs_assets.services.rules import LEVELS, SERVICES, Condition, Need, ReachRules

_GROUP = {"total": "'all'", "stage": "stage", "sex": "sex"}
_TABLE = {"indicator": "pupils", "score": "scores"}
# Which links a service is seen through.
_DATASETS = {
    "asn_support": ("education",),
    "any_asn": ("education",),
    "social_work": ("social_work",),
    "any_service": ("education", "social_work"),
    "both": ("education", "social_work"),
    "none": ("education", "social_work"),
}
# Whether a pupil has a service, from the three supports.
_SERVED = {
    "asn_support": "asn_support",
    "any_asn": "any_asn",
    "social_work": "social_work",
    "any_service": "asn_support or social_work",
    "both": "asn_support and social_work",
    "none": "not asn_support and not social_work",
}
# Whether it is not known: no education record is linked, and the other support does not decide.
_UNKNOWN = {
    "asn_support": "not has_education",
    "any_asn": "not has_education",
    "social_work": "false",
    "any_service": "not has_education and not social_work",
    "both": "not has_education and social_work",
    "none": "not has_education and not social_work",
}
# What a pupil counts in the corrected rate; e and s are the sensitivities of the two links.
_ANY = "asn_support::int / e + social_work::int / s - (asn_support and social_work)::int / (e * s)"
_CORRECTED = {
    "asn_support": "asn_support::int / e",
    "any_asn": "any_asn::int / e",
    "social_work": "social_work::int / s",
    "any_service": _ANY,
    "both": "(asn_support and social_work)::int / (e * s)",
    "none": f"1 - ({_ANY})",
}


def write_reach(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str], rules: ReachRules
) -> int:
    """Make services.reach anew.

    One row an engagement, need, level, breakdown group and service, unrounded: `need_n` and
    `served_n` are pupils who answered, rates are per cent of `need_weighted`. Rates are null
    where nobody is in need or the support's records were not delivered. `sensitivity` is the
    share of the support that links found, over the pupils of the row; `unknown_n` and
    `unknown_pct` are the pupils whose receipt is not known; `has_headline` says whether each
    link is good enough for a sentence on unmet need (policy.md, Table B).

    Args:
        con: a writing connection to the warehouse.
        engagements: the engagements that enter.
        rules: what counts as need and receipt.

    Returns:
        Number of rows written.
    """
    prepare_reach_pupils(con, engagements, rules)
    _count(con, rules)
    _design_effects(con, rules)
    con.execute("create schema if not exists services")
    con.execute("create or replace table services.reach as " + _rows_sql(rules))
    return int(con.execute("select count(*) from services.reach").fetchall()[0][0])


def prepare_reach_pupils(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str], rules: ReachRules
) -> None:
    """Make the temp tables `scope`, `reach_sensitivity` and `reach_pupils`.

    `reach_pupils`: one row a pupil and need whose level is known, with the weight, whether
    an education record is linked, the supports found, and the sensitivities `e` and `s` of both
    links.
    """
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.execute("create or replace temp table scope as from scope_list")
    con.unregister("scope_list")
    _sensitivities(con, rules)
    _pupils(con, rules)


def _sensitivities(con: duckdb.DuckDBPyConnection, rules: ReachRules) -> None:
    """Share of true records found, by dataset, stage and sex of the pupil.

    Linkage estimates it (`linkage.link_sensitivity`). Where a stage and sex has few pairs, that
    of the sex stands for it, else that of the whole file; where an outside indexer linked, and
    nobody estimated it, the link rate.
    """
    con.execute(f"""
        create or replace temp table reach_sensitivity as
        with overall as (
            select
                engagement,
                dataset,
                coalesce(estimated_recall, linked_n / records_n) as recall,
            from linkage.link_rates
            where dataset in ('education', 'social_work') and records_n > 0
        ),
        groups as (
            select engagement, dataset, breakdown, "group", sensitivity_pct / 100 as share,
            from linkage.link_sensitivity
            where linked_n + missed_n >= {rules.least_pairs} and sensitivity_pct > 0
        )
        select
            overall.engagement,
            overall.dataset,
            stages.stage,
            sexes.sex,
            coalesce(by_both.share, by_sex.share, recall) as sensitivity,
        from overall
        cross join (select distinct unnest(stages) as stage from programme.waves) as stages
        cross join (select unnest(['F', 'M']) as sex) as sexes
        left join groups as by_both
            on
                overall.engagement = by_both.engagement
                and overall.dataset = by_both.dataset
                and by_both.breakdown = 'stage:sex'
                and by_both."group" = stages.stage || ':' || sexes.sex
        left join groups as by_sex
            on
                overall.engagement = by_sex.engagement
                and overall.dataset = by_sex.dataset
                and by_sex.breakdown = 'sex'
                and by_sex."group" = sexes.sex
        where recall > 0
    """)


def _pupils(con: duckdb.DuckDBPyConnection, rules: ReachRules) -> None:
    """Weighted pupils with a level of need, their supports and the sensitivity of the links."""
    supports = ", ".join(
        f"({' or '.join(f'coalesce({column}, false)' for column in support.any_of)}) as {name}"
        for name, support in rules.supports.items()
    )
    needs = " union all ".join(_need_sql(need) for need in rules.needs)
    con.execute(f"""
        create or replace temp table reach_pupils as
        with needs as ({needs}),
        receipts as (
            select record_id, engagement, has_education, {supports} from linkage.linked
        )
        select
            needs.*,
            needs.engagement || '/' || needs.survey as stratum,
            receipts.* exclude (record_id, engagement),
            education.sensitivity as e,
            social_work.sensitivity as s,
            {", ".join(f"({sql})::double as has_{name}" for name, sql in _SERVED.items())}
        from needs
        inner join receipts using (engagement, record_id)
        left join reach_sensitivity as education
            on
                needs.engagement = education.engagement
                and needs.stage = education.stage
                and needs.sex = education.sex
                and education.dataset = 'education'
        left join reach_sensitivity as social_work
            on
                needs.engagement = social_work.engagement
                and needs.stage = social_work.stage
                and needs.sex = social_work.sex
                and social_work.dataset = 'social_work'
        where need_level is not null
    """)


def _need_sql(need: Need) -> str:
    """Pupils of one need's survey with their level; null where it is not known."""
    conditions = (*need.high, *need.some)
    unknown = " or ".join(f"{_TABLE[c.table]}.{c.column} is null" for c in conditions)
    return f"""
        select
            pupils.record_id, pupils.engagement, pupils.tranche, pupils.survey,
            pupils.seed_code, pupils.stage, pupils.sex, weights.weight,
            '{need.name}' as need,
            case
                when {_holds(need.high)} then 'high'
                when {unknown} then null
                when {_holds(need.some)} then 'some'
                else 'none'
            end as need_level,
        from wellbeing.indicator_values as pupils
        inner join wellbeing.weights as weights using (engagement, record_id)
        inner join wellbeing.scores as scores using (engagement, record_id)
        where pupils.survey = '{need.survey}' and pupils.engagement in (from scope)
    """


def _holds(conditions: Iterable[Condition]) -> str:
    return " or ".join(
        f"coalesce({_TABLE[c.table]}.{c.column} {c.operator} {c.value!r}, false)"
        for c in conditions
    )


def _count(con: duckdb.DuckDBPyConnection, rules: ReachRules) -> None:
    """Pupils and weighted sums of each row; decimals, whose sums no order of threads changes."""
    sums = ", ".join(
        f"""
        count_if({_SERVED[name]}) as served_n_{name},
        count_if({_UNKNOWN[name]}) as unknown_n_{name},
        sum(weight::decimal(18, 9)) filter ({_SERVED[name]}) as served_{name},
        sum(weight::decimal(18, 9)) filter ({_UNKNOWN[name]}) as unknown_{name},
        sum((weight * ({_CORRECTED[name]}))::decimal(18, 9)) as corrected_{name}
        """
        for name in SERVICES
    )
    groups = " union all ".join(
        f"""
        select
            engagement, survey, need, '{breakdown}' as breakdown,
            {_GROUP[breakdown]} as "group", need_level,
            count(*) as need_n, sum(weight::decimal(18, 9)) as need_weighted,
            avg(e::decimal(18, 9)) as mean_education,
            avg(s::decimal(18, 9)) as mean_social_work,
            {sums}
        from reach_pupils
        group by all
        """
        for breakdown in rules.breakdowns
    )
    con.execute(f"create or replace temp table reach_wide as {groups}")
    measures = ("served_n", "unknown_n", "served", "unknown", "corrected")
    parts = " union all ".join(
        f"""
        select
            engagement, survey, need, breakdown, "group", need_level, '{name}' as service,
            need_n, need_weighted::double as need_weighted,
            {", ".join(f"coalesce({m}_{name}::double, 0) as {m}" for m in measures[:4])},
            corrected_{name}::double as corrected,
            {_least(name)} as least_link,
            {_most(name)} as most_link
        from reach_wide
        """
        for name in SERVICES
    )
    con.execute(f"create or replace temp table reach_counted as {parts}")


def _least(service: str) -> str:
    """The weaker of the links that a service is seen through; unknown if one is."""
    links = [f"mean_{dataset}" for dataset in _DATASETS[service]]
    return f"if({' is null or '.join(links)} is null, null, least({', '.join(links)}))"


def _most(service: str) -> str:
    """The best sensitivity that is possible: whoever has both is found unless both links fail."""
    if service not in ("any_service", "none"):
        return "1"
    return "1 - (1 - mean_education) * (1 - mean_social_work)"


def _design_effects(con: duckdb.DuckDBPyConnection, rules: ReachRules) -> None:
    """The design effect of each service at each level of need, pooled over the CPPs."""
    con.execute("""
        create or replace temp table reach_effect (
            need varchar, need_level varchar, breakdown varchar, "group" varchar,
            service varchar, design_effect double
        )
    """)
    by_sets = [
        ("engagement", "need", "need_level", *([] if b == "total" else [b]))
        for b in rules.breakdowns
    ]
    results = estimate_each(
        con,
        "reach_pupils",
        Design(strata="stratum", clusters="seed_code", weight="weight", nest=True),
        [f"has_{name}" for name in SERVICES],
        statistic="mean",
        by_sets=by_sets,
        ci="t",
        level=rules.confidence,
    )
    floor, step = rules.design_effect_floor, rules.design_effect_step
    for breakdown, by, found in zip(rules.breakdowns, by_sets, results, strict=True):
        effects = pooled_design_effect(con, found, by=("variable", *by[1:]), floor=floor)
        con.register("effects", effects)
        con.execute(f"""
            insert into reach_effect
            select
                need, need_level, '{breakdown}', {_GROUP[breakdown]}, variable[5:],
                round(coalesce(design_effect, {floor}) / {step}) * {step}
            from effects
        """)
        con.unregister("effects")


def _rows_sql(rules: ReachRules) -> str:
    """Every engagement × need × level × group × service, with or without pupils."""
    wilson = wilson_sql("need_n", "observed_pct", "design_effect", rules.confidence)
    return f"""
    with grid as ({_grid_sql(rules)}),
    delivered as (
        select engagement, list(distinct dataset) as datasets
        from reach_sensitivity
        group by engagement
    ),
    joined as (
        select
            grid.* exclude (datasets),
            coalesce(counted.need_n, 0)::integer as need_n,
            coalesce(counted.served_n, 0)::integer as served_n,
            coalesce(counted.unknown_n, 0)::integer as unknown_n,
            counted.need_weighted,
            counted.least_link,
            counted.most_link,
            coalesce(effects.design_effect, {rules.design_effect_floor}) as design_effect,
            coalesce(list_has_all(delivered.datasets, grid.datasets), false) as is_delivered,
            if(is_delivered, 100 * counted.served / counted.need_weighted, null) as observed_pct,
            100 * counted.corrected / counted.need_weighted as estimated_pct,
            case
                when observed_pct is null then null
                when grid.service = 'none'
                    then greatest(0, least(estimated_pct, 100 - (100 - observed_pct) / most_link))
                else least(100, greatest(estimated_pct, observed_pct / most_link))
            end as corrected_pct,
            100 * counted.unknown / counted.need_weighted as unknown_pct,
        from grid
        left join delivered using (engagement)
        left join reach_counted as counted
            using (engagement, survey, need, breakdown, "group", need_level, service)
        left join reach_effect as effects
            using (need, breakdown, "group", need_level, service)
    ),
    found as (
        select
            *,
            -- For `none`: of those with any support, the share that was found. Where nobody
            -- was found, that of the weaker link.
            coalesce(
                if(
                    service = 'none',
                    (100 - observed_pct) / nullif(100 - corrected_pct, 0),
                    observed_pct / nullif(corrected_pct, 0)
                ),
                least_link
            ) as sensitivity,
            {wilson} as wilson,
            100 * greatest(1 - coalesce(sensitivity, 0), 0) as missed_pct,
        from joined
    )
    select
        engagement, tranche, survey, breakdown, "group", need, need_level, service,
        need_n, served_n, need_weighted, observed_pct,
        wilson.low as ci_low, wilson.high as ci_high,
        sensitivity,
        corrected_pct,
        if(
            service = 'none',
            greatest(0, observed_pct - greatest(missed_pct, unknown_pct)),
            observed_pct
        ) as bound_low,
        if(
            service = 'none',
            observed_pct,
            least(100, observed_pct + greatest(missed_pct, unknown_pct))
        ) as bound_high,
        unknown_n,
        unknown_pct,
        design_effect,
        coalesce(
            least(sensitivity, least_link) >= {rules.sensitivity_floor}
            and least_link is not null,
            false
        ) as has_headline,
    from found
    order by all
    """


def _grid_sql(rules: ReachRules) -> str:
    groups = {"total": "['all']", "stage": "waves.stages", "sex": "['F', 'M']"}
    needs = ", ".join(f"('{need.name}', '{need.survey}')" for need in rules.needs)
    services = ", ".join(f"('{name}', {list(_DATASETS[name])})" for name in SERVICES)
    return " union all ".join(
        f"""
        select
            waves.engagement, engagements.tranche, waves.survey, '{breakdown}' as breakdown,
            unnest({groups[breakdown]}) as "group", needs.need, levels.need_level,
            services.service, services.datasets
        from programme.waves as waves
        inner join programme.engagements as engagements using (engagement)
        inner join (values {needs}) as needs (need, survey) using (survey)
        cross join (select unnest({list(LEVELS)}) as need_level) as levels
        cross join (values {services}) as services (service, datasets)
        where waves.engagement in (from scope)
        """
        for breakdown in rules.breakdowns
    )
