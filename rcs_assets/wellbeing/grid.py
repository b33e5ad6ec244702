"""Which rows the table of estimates has: areas × indicators × groups, each with its roll.

Belongs here: the complete grid, made from the register, the roll and fixed lists. Does not
belong here: any answer of a pupil; a cell exists whether or not somebody answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.wellbeing.breakdowns import (
    PUPIL_SURVEYS,
    ROLL_BREAKDOWNS,
    STAGE_BREAKDOWNS,
    group_sql,
    listed,
)
from rcs_assets.wellbeing.estimators import Estimators

# Code of a row's area and its tranche and engagement, by level, as columns of `rolls`.
_CODES = {
    "school": ("tranche", "engagement", "seed_code"),
    "cluster": ("tranche", "engagement", "cluster_code"),
    "cpp": ("tranche", "engagement", "council_code"),
    "tranche": ("tranche", "null::varchar", "tranche"),
    "all": ("null::varchar", "null::varchar", "'all'"),
}
_AREA = {
    "school": "engagement || ' ' || seed_code",
    "cluster": "engagement || ' ' || cluster_code",
    "cpp": "engagement",
    "tranche": "tranche",
    "all": "'all'",
}


def make_rolls(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str], rules: Estimators
) -> None:
    """Make the temporary tables `scope`, `sdc_clusters` and `rolls`.

    `scope` lists the engagements that enter; `sdc_clusters` has the one cluster of a school
    that figures go by; `rolls` a row a school × stage × sex of each pupil wave in scope with
    pupils on the roll, and one row a wave without any.
    """
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.execute("create or replace temp table scope as from scope_list")
    con.unregister("scope_list")
    con.execute("""
        create or replace temp table sdc_clusters as
        select engagement, seed_code, cluster_code
        from intake.clusters
        where is_sdc_cluster and engagement in (from scope)
    """)
    con.execute(f"""
        create or replace temp table rolls as
        with waves as (
            select
                waves.engagement, waves.survey, waves.stages, engagements.tranche,
                engagements.council_code
            from programme.waves as waves
            inner join programme.engagements as engagements using (engagement)
            where
                waves.engagement in (from scope)
                and waves.survey in ({listed(PUPIL_SURVEYS)})
        )
        select
            waves.engagement, waves.survey, waves.tranche, waves.council_code,
            waves.stages as wave_stages, roll.seed_code,
            case
                when waves.survey in ({listed(rules.cluster_surveys)})
                then clusters.cluster_code
            end as cluster_code,
            roll.stage, roll.sex, roll.roll_n
        from waves
        left join intake.roll_counts as roll
            on
                waves.engagement = roll.engagement
                and list_contains(waves.stages, roll.stage)
                and roll.roll_n > 0
        left join sdc_clusters as clusters
            on roll.engagement = clusters.engagement and roll.seed_code = clusters.seed_code
    """)


def make_grid(con: duckdb.DuckDBPyConnection, rules: Estimators) -> None:
    """Make the temporary table `grid`, one row a cell of the pupil surveys.

    Columns: tranche, engagement, survey, geography_level, geography_code, area, breakdown,
    group, indicator, statistic, roll_n (pupils of the stages that are asked; null where the
    breakdown is not one of the sample file) and is_asked. Schools and clusters have the
    stages of their roll, larger areas those of the wave. Reads the temporary tables
    `rolls` and `asked`.
    """
    con.execute(_units(rules))
    con.execute(_groups(rules))
    con.execute(_group_rolls(rules))
    con.execute(f"""
        create or replace temp table grid as
        select
            groups.tranche, groups.engagement, survey, geography_level,
            groups.geography_code, area, breakdown, "group", asked.indicator, asked.statistic,
            case
                when breakdown in ({listed(ROLL_BREAKDOWNS)}) then coalesce(rolled.roll_n, 0)
            end as roll_n,
            breakdown not in ({listed(STAGE_BREAKDOWNS)})
            or list_contains(asked.stages, split_part("group", ':', 1)) as is_asked
        from groups
        inner join asked using (survey)
        left join rolled using (geography_level, area, survey, breakdown, "group", stage_set)
    """)


def _units(rules: Estimators) -> str:
    """Areas of every level with the stages that they have."""
    parts = []
    for level in rules.breakdowns:
        tranche, engagement, code = _CODES[level]
        stages = "list(distinct stage)" if level in ("school", "cluster") else None
        stages = stages or "list_distinct(flatten(list(wave_stages)))"
        parts.append(f"""
            select
                '{level}' as geography_level, {_AREA[level]} as area, survey,
                {tranche} as tranche, {engagement} as engagement, {code} as geography_code,
                {stages} as stages
            from rolls
            where {_AREA[level]} is not null
            group by all
        """)
    return "create or replace temp table units as " + " union all ".join(parts)


def _groups(rules: Estimators) -> str:
    """Groups of each area: from the register and fixed lists, never from answers."""
    sexes, needs = "['F', 'M']", "['Y', 'N']"
    values = {
        "total": "['all']",
        "stage": "stages",
        "sex": sexes,
        "stage:sex": f"flatten([[s || ':' || x for x in {sexes}] for s in stages])",
        "simd_quintile": "['1', '2', '3', '4', '5']",
        "looked_after": needs,
        "ethnicity": f"[{listed(rules.ethnicity_groups)}]",
        "asn": needs,
    }
    parts = [
        f"""
        select
            * exclude (stages), '{breakdown}' as breakdown, unnest({values[breakdown]}) as "group"
        from units
        where geography_level = '{level}'
        """
        for level, breakdowns in rules.breakdowns.items()
        for breakdown in breakdowns
    ]
    return "create or replace temp table groups as " + " union all ".join(parts)


def _group_rolls(rules: Estimators) -> str:
    """Roll of each group by set of stages asked: indicators that ask alike share it."""
    parts = [
        f"""
        select
            '{level}' as geography_level, {_AREA[level]} as area, survey,
            '{breakdown}' as breakdown, {group_sql(breakdown)} as "group", stage,
            sum(roll_n) as roll_n
        from rolls
        where stage is not null and {_AREA[level]} is not null
        group by all
        """
        for level in rules.breakdowns
        for breakdown in ROLL_BREAKDOWNS
        if breakdown in rules.breakdowns[level]
    ]
    return f"""
        create or replace temp table rolled as
        with stage_rolls as ({" union all ".join(parts)}),
        stage_sets as (select distinct survey, stage_set, stages from asked)
        select
            geography_level, area, survey, breakdown, "group", stage_set,
            sum(roll_n) as roll_n
        from stage_rolls
        inner join stage_sets using (survey)
        where
            breakdown in ({listed(STAGE_BREAKDOWNS)})
            or list_contains(stage_sets.stages, stage_rolls.stage)
        group by all
    """
