"""What linkage does to results: other thresholds, weights for missed links, nobody missed.

Belongs here: `services.link_effects`, headline results computed again under other links. Does
not belong here: links, weights and sensitivities (`linkage`), published rates (`reach.py`,
`wellbeing`), anything that is released.

Two kinds of result depend on links. Of pupils in high need, how many have support recorded: that
changes with the links of social work that the model made, and with those that were missed.
And the headline indicators of pupils whose education record was found: answers join by UID,
so that those without an education record are known, and show what the missing ones change.

| scenario | what is counted |
|---|---|
| as linked | the links as they are |
| weight <w> | links of the model from the match weight w on |
| exact only | no link of the model |
| all waiting | at most: every pair that waits for a clerk is a link of a pupil in need |
| link weights | each link found counts with its inverse-linkage weight |
| everyone | indicators only: all linked answers, with an education record or without |
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from rcs_assets.services.reach import prepare_reach_pupils
from rcs_assets.services.rules import ReachRules

TABLE = "services.link_effects"
BASE = "as linked"


def write_link_effects(
    con: duckdb.DuckDBPyConnection,
    engagements: Sequence[str],
    rules: ReachRules,
    headlines: Sequence[str],
) -> int:
    """Make services.link_effects anew.

    One row an engagement, result and scenario, weighted to the roll and unrounded: engagement,
    kind (reach | indicator), survey, result, scenario, pupils_n, counted_n, pct, difference (in
    points, from `as linked`).

    Args:
        con: a writing connection to the warehouse.
        engagements: the engagements that enter.
        rules: need, receipt and the other thresholds.
        headlines: indicators to look at.

    Returns:
        Number of rows written.
    """
    prepare_reach_pupils(con, engagements, rules)
    con.execute(_links())
    con.execute("create schema if not exists services")
    con.execute(
        f"create or replace table {TABLE} as "
        + _with_differences(" union all ".join([*_reach(rules), *_indicators(con, headlines)]))
    )
    return int(con.execute(f"select count(*) from {TABLE}").fetchall()[0][0])


def _links() -> str:
    """Of each pupil of an engagement: match weight of the social work link, both link weights."""
    return """
        create or replace temp table effect_links as
        select
            engagement,
            project_id,
            max(ids.weight) filter (dataset = 'social_work') as weight,
            max(weights.link_weight) filter (dataset = 'social_work') as social_work_weight,
            max(weights.link_weight) filter (dataset = 'education') as education_weight
        from linkage.project_ids as ids
        left join (select * exclude (project_id) from linkage.link_weights) as weights
            using (engagement, dataset, record_id)
        where dataset in ('social_work', 'education') and engagement in (from scope)
        group by all
    """


def _reach(rules: ReachRules) -> list[str]:
    """Pupils in high need with social work, and with any support, under each scenario."""
    # A link of the model has a weight; one of an exact pass has none and stays.
    kept = {BASE: "true"}
    kept |= {f"weight {w:g}": f"coalesce(weight >= {w!r}, true)" for w in rules.other_thresholds}
    kept["exact only"] = "weight is null"
    parts = [
        _counted(f"'{service}'", scenario, f"({found})::int")
        for scenario, condition in kept.items()
        for service, found in (
            ("social_work", f"social_work and {condition}"),
            ("any_service", f"asn_support or (social_work and {condition})"),
        )
    ]
    weighted = {"social_work": "social_work_weight", "asn_support": "education_weight"}
    parts += [
        _counted(f"'{service}'", "link weights", f"{service}::int * coalesce({weight}, 1)")
        for service, weight in weighted.items()
    ]
    return [*parts, _counted("'asn_support'", BASE, "asn_support::int"), _waiting()]


def _counted(service: str, scenario: str, counts: str) -> str:
    return f"""
        select
            engagement, 'reach' as kind, survey, need || ', high: ' || {service} as result,
            '{scenario}' as scenario,
            count(*)::integer as pupils_n,
            count_if({counts} > 0)::integer as counted_n,
            100 * sum((weight_of_pupil * {counts})::decimal(18, 9))::double
            / sum(weight_of_pupil::decimal(18, 9))::double as pct
        from ({_PUPILS})
        group by all
    """


_PUPILS = """
    select
        pupils.* exclude (weight), pupils.weight as weight_of_pupil,
        links.weight, links.social_work_weight, links.education_weight
    from reach_pupils as pupils
    inner join linkage.linked using (engagement, record_id)
    left join effect_links as links using (engagement, project_id)
    where pupils.need_level = 'high'
"""


def _waiting() -> str:
    """The most that links below the threshold could change; they never leave the vault."""
    return f"""
        select
            found.engagement, kind, survey, result, 'all waiting', pupils_n,
            least(pupils_n, counted_n + clerical_n)::integer,
            least(100.0, pct + 100.0 * clerical_n / pupils_n)
        from ({_counted("'social_work'", BASE, "social_work::int")}) as found
        inner join linkage.link_rates as rates
            on found.engagement = rates.engagement and rates.dataset = 'social_work'
        where clerical_n is not null
    """


def _indicators(con: duckdb.DuckDBPyConnection, headlines: Sequence[str]) -> list[str]:
    """Headline indicators of pupils with an education record, weighted for its link, of all."""
    columns = {
        row[0]
        for row in con.execute("describe wellbeing.indicator_values").fetchall()
        if row[0] in headlines
    }
    scenarios = {
        BASE: ("has_education", "weights.weight"),
        "link weights": ("has_education", "weights.weight * coalesce(education_weight, 1)"),
        "everyone": ("true", "weights.weight"),
    }
    return [
        f"""
        select
            linked.engagement, 'indicator', values.survey, '{name}', '{scenario}',
            count(*)::integer,
            sum({name})::integer,
            100 * sum(({weight} * {name})::decimal(18, 9))::double
            / sum(({weight})::decimal(18, 9))::double
        from wellbeing.indicator_values as values
        inner join wellbeing.weights as weights using (engagement, record_id)
        inner join linkage.linked as linked using (engagement, record_id)
        left join effect_links using (engagement, project_id)
        where values.engagement in (from scope) and {name} is not null and {condition}
        group by all
        """
        for name in headlines
        if name in columns
        for scenario, (condition, weight) in scenarios.items()
    ]


def _with_differences(rows: str) -> str:
    return f"""
        with found as ({rows})
        select
            found.*,
            found.pct - based.pct as difference
        from found
        left join found as based
            on
                found.engagement = based.engagement
                and found.survey = based.survey
                and found.result = based.result
                and based.scenario = '{BASE}'
        order by all
    """
