"""Unweighted sums of every school and group: all that counts, bases and means need.

Belongs here: the pupils in scope with their areas and groups, and their sums by school and
by area. Does not belong here: weights, variances, intervals (`estimates.py`).

Sums of scores are sums of decimals: those of floating numbers follow the order of threads.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from rcs_assets.codebook.model import Indicator
from rcs_assets.wellbeing.breakdowns import AREAS, PUPIL_SURVEYS, group_sql, listed
from rcs_assets.wellbeing.estimators import Estimators

_SUM = "decimal(38, 9)"
# A prime below 2^31: products of two marks, and sums of all pupils' marks, stay below 2^63.
_MARKS = 2_147_483_647


def prepare_pupils(
    con: duckdb.DuckDBPyConnection, indicators: Iterable[Indicator], rules: Estimators
) -> None:
    """Make `estimated_primary` and `estimated_secondary`: weighted pupils in scope.

    A temporary table a survey: columns of areas and groups, `weight`, two numbers drawn from the
    pupil's record (`mark_0`, `mark_1`, below 2^31; the same in every run), indicators. Pupils
    without a record of the council have no looked_after, ethnicity and asn. Reads the
    temporary tables `scope` and `sdc_clusters`.
    """
    known = list(indicators)
    for survey in PUPIL_SURVEYS:
        names = "".join(f", pupils.{i.name}" for i in known if i.survey == survey)
        cluster = "clusters.cluster_code" if survey in rules.cluster_surveys else "null::varchar"
        con.execute(f"""
            create or replace temp table estimated_{survey} as
            select
                pupils.engagement, pupils.tranche, 'all' as everywhere, pupils.council_code,
                pupils.seed_code,
                {cluster} as cluster_code,
                pupils.engagement || ' ' || pupils.seed_code as school_area,
                pupils.engagement || ' ' || {cluster} as cluster_area,
                pupils.stage, pupils.sex, pupils.simd_quintile,
                if(linked.looked_after, 'Y', if(not linked.looked_after, 'N', null))
                    as looked_after,
                linked.ethnicity_group as ethnicity,
                if(linked.has_asn, 'Y', if(not linked.has_asn, 'N', null)) as asn,
                weights.weight,
                (md5_number_lower(pupils.record_id || ' 0') % {_MARKS})::bigint as mark_0,
                (md5_number_lower(pupils.record_id || ' 1') % {_MARKS})::bigint as mark_1{names}
            from wellbeing.indicator_values as pupils
            inner join wellbeing.weights as weights using (engagement, record_id)
            inner join linkage.linked as linked using (engagement, record_id)
            left join sdc_clusters as clusters
                on
                    pupils.engagement = clusters.engagement
                    and pupils.seed_code = clusters.seed_code
            where pupils.engagement in (from scope) and pupils.survey = '{survey}'
        """)


def count(
    con: duckdb.DuckDBPyConnection, indicators: Iterable[Indicator], rules: Estimators
) -> None:
    """Make `school_groups` and `counted`: unweighted sums of a school's and an area's groups.

    Temporary tables: survey, indicator, breakdown, group and the area, then `base_n` (pupils
    with a value), `sum_x`, `squares` (sums of values and of their squares), `answers_mark` (a
    check sum of who answered what: where it is another, somebody did) and, in `counted`,
    `schools_n`. Reads what `prepare_pupils` made.
    """
    known = list(indicators)
    parts = [
        _school_sums(survey, breakdown, [i for i in known if i.survey == survey])
        for survey in PUPIL_SURVEYS
        if any(i.survey == survey for i in known)
        for breakdown in rules.all_breakdowns
    ]
    con.execute("create or replace temp table school_groups as " + " union all ".join(parts))
    sums = [
        f"""
        select
            survey, indicator, '{level}' as geography_level, {area} as area, breakdown, "group",
            sum(base_n) as base_n, sum(sum_x)::double as sum_x,
            sum(squares)::double as squares, sum(answers_mark)::bigint as answers_mark,
            count(*) as schools_n
        from school_groups
        where {area} is not null and breakdown in ({listed(rules.breakdowns[level])})
        group by all
        """
        for level, area in AREAS.items()
    ]
    con.execute("create or replace temp table counted as " + " union all ".join(sums))


def _school_sums(survey: str, breakdown: str, indicators: list[Indicator]) -> str:
    """Sums of one breakdown: first a wide row a school and group, then a row an indicator."""
    sums = ", ".join(_sums_of(indicator) for indicator in indicators)
    parts = ", ".join(
        f"({i.name}_n, {i.name}_x, {i.name}_q, {i.name}_m) as '{i.name}'" for i in indicators
    )
    areas = ", ".join(AREAS.values())
    return f"""
        select
            '{survey}' as survey, indicator, seed_code, {areas},
            '{breakdown}' as breakdown, "group", base_n, sum_x, squares, answers_mark
        from (
            unpivot (
                select seed_code, {areas}, {group_sql(breakdown)} as "group", {sums}
                from estimated_{survey}
                where {group_sql(breakdown)} is not null
                group by all
            )
            on {parts}
            into name indicator value base_n, sum_x, squares, answers_mark
        )
        where base_n > 0
    """


def _sums_of(indicator: Indicator) -> str:
    """Count, sum, squares and mark of one column. 0 and 1 are their squares and sum exactly."""
    name = indicator.name
    if indicator.statistic == "pct":
        total = squares = f"sum({name})::{_SUM}"
        mark = f"if({name} = 1, mark_1, mark_0)"
    else:
        total = f"sum({name}::decimal(18, 9))::{_SUM}"
        squares = f"sum(({name} * {name})::decimal(18, 9))::{_SUM}"
        # To six decimals: what differs by less is noise of the arithmetic.
        mark = f"mark_0 + mark_1 * (round({name} * 1e6)::bigint % {_MARKS}) % {_MARKS}"
    return (
        f"count({name}) as {name}_n, {total} as {name}_x, {squares} as {name}_q, "
        f"sum(case when {name} is not null then {mark} end)::bigint as {name}_m"
    )
