"""Estimates of every indicator from the school to all areas, by policy.md, Table B.

Belongs here: which weight, interval and design effect each row gets. Does not belong here:
which rows exist (`grid.py`), unweighted sums (`counts.py`), variances and intervals
(`estimation`), rounding, suppression (`disclosure`).

The grid is complete: a survey wave × indicator × group that has no figure has a row with
the reason. Everything is unrounded but the pooled design effect, which is rounded before
use, since the released interval is computed again from rounded values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.codebook.model import Codebook, Indicator
from rcs_assets.codebook.versions import not_poolable, variables_of
from rcs_assets.estimation import Design, estimate_each, pooled_design_effect, wilson_sql
from rcs_assets.estimation.intervals import floats_or_null, t_quantile
from rcs_assets.wellbeing.breakdowns import (
    AREAS,
    BREAKDOWNS,
    COUNTED_LEVELS,
    PUPIL_SURVEYS,
    ROLL_BREAKDOWNS,
    group_sql,
    listed,
)
from rcs_assets.wellbeing.counts import count, prepare_pupils
from rcs_assets.wellbeing.estimators import Estimators
from rcs_assets.wellbeing.grid import make_grid, make_rolls

WEIGHTED_LEVELS = tuple(level for level in AREAS if level not in COUNTED_LEVELS)
_WEIGHTED = Design(strata="engagement", clusters="seed_code", weight="weight", nest=True)
# Of all areas a school that was asked in two waves is one cluster.
_ACROSS_WAVES = replace(_WEIGHTED, strata="council_code")
_WITHIN_CLUSTERS = Design(strata="cluster_area", clusters="seed_code", nest=True)


@dataclass(frozen=True)
class _Run:
    """What one run works with; handed down, so that the steps need few arguments."""

    con: duckdb.DuckDBPyConnection
    rules: Estimators
    indicators: tuple[Indicator, ...]

    def of(self, survey: str, statistic: str | None = None) -> list[str]:
        """Names of the indicators of a survey."""
        return [
            i.name
            for i in self.indicators
            if i.survey == survey and statistic in (None, i.statistic)
        ]


def write_estimates(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    engagements: Sequence[str],
    rules: Estimators,
) -> int:
    """Make wellbeing.estimates anew.

    Args:
        con: a writing connection to the warehouse.
        codebook: its indicators become the rows.
        engagements: the engagements that enter; others count nowhere.
        rules: policy.md, Table B.

    Returns:
        Number of rows written.
    """
    run = _Run(con, rules, tuple(codebook.indicators.values()))
    con.register("indicator_list", _indicator_table(run.indicators))
    con.execute("create or replace temp table asked as from indicator_list")
    make_rolls(con, engagements, rules)
    _bar_unlike(con, codebook)
    prepare_pupils(con, run.indicators, rules)
    count(con, run.indicators, rules)
    _estimate_by_design(run)
    _join_design_effects(run)
    _mean_widths(run)
    make_grid(con, rules)
    con.execute("create schema if not exists wellbeing")
    con.execute("begin")
    con.execute("create or replace table wellbeing.estimates as " + _pupil_rows(rules))
    con.execute(_parent_rows(run))
    con.execute("commit")
    con.unregister("indicator_list")
    return int(con.execute("select count(*) from wellbeing.estimates").fetchall()[0][0])


def _indicator_table(indicators: Iterable[Indicator]) -> Any:
    return pa.table(
        {
            "indicator": pa.array([i.name for i in indicators], pa.string()),
            "survey": pa.array([i.survey for i in indicators], pa.string()),
            "statistic": pa.array([i.statistic for i in indicators], pa.string()),
            "stages": pa.array([list(i.stages) for i in indicators], pa.list_(pa.string())),
            "stage_set": pa.array([" ".join(i.stages) for i in indicators], pa.string()),
        }
    )


def _bar_unlike(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> None:
    """Make `unlike`: areas whose waves did not ask an indicator's questions alike.

    Columns: area (a tranche or `all`) and indicator. What a tranche or all of them answered to
    two questions is counted, but no figure is made of it.
    """
    con.execute("create or replace temp table unlike (area varchar, indicator varchar)")
    held = con.execute("select distinct survey, tranche from rolls order by all").fetchall()
    for survey in PUPIL_SURVEYS:
        tranches = [tranche for wave, tranche in held if wave == survey]
        made_of = {
            name: variables_of(codebook, name)
            for name, indicator in codebook.indicators.items()
            if indicator.survey == survey
        }
        for area, pooled in [("all", tranches), *((key, [key]) for key in tranches)]:
            names = sorted(not_poolable(codebook, survey, made_of, pooled))
            con.execute("insert into unlike select ?, unnest(?::varchar[])", [area, names])


def _estimate_by_design(run: _Run) -> None:
    """Design-based estimates of CPPs and above, and the pooled design effects."""
    run.con.execute("""
        create or replace temp table designed (
            survey varchar, indicator varchar, geography_level varchar, area varchar,
            breakdown varchar, "group" varchar, estimate double, se double, ci_low double,
            ci_high double
        )
    """)
    run.con.execute("""
        create or replace temp table pooled (
            pool varchar, survey varchar, indicator varchar, breakdown varchar,
            "group" varchar, design_effect double
        )
    """)
    for survey in PUPIL_SURVEYS:
        for statistic in ("pct", "mean"):
            if run.of(survey, statistic):
                _estimate_survey(run, survey, statistic)
    for survey in run.rules.cluster_surveys:
        if run.of(survey):
            _estimate_clusters(run, survey)


def _estimate_survey(run: _Run, survey: str, statistic: str) -> None:
    for (design, levels), breakdowns in product(_designs(run, survey), _batches(run.rules)):
        tables = [
            (level, breakdown)
            for level in levels
            for breakdown in run.rules.breakdowns[level]
            if breakdown in breakdowns
        ]
        results = estimate_each(
            run.con,
            f"estimated_{survey}",
            design,
            run.of(survey, statistic),
            statistic="mean",
            by_sets=[(AREAS[level], *BREAKDOWNS[breakdown]) for level, breakdown in tables],
            ci="logit" if statistic == "pct" else "t",
            level=run.rules.confidence,
        )
        for (level, breakdown), found in zip(tables, results, strict=True):
            _keep(run, survey, level, breakdown, found)


def _designs(run: _Run, survey: str) -> list[tuple[Design, tuple[str, ...]]]:
    """Designs and their levels; where no council was asked twice, one does for all."""
    twice = run.con.execute(
        f"select count(distinct engagement) > count(distinct council_code) from estimated_{survey}"
    ).fetchall()[0][0]
    if not twice:
        return [(_WEIGHTED, WEIGHTED_LEVELS)]
    within = tuple(level for level in WEIGHTED_LEVELS if level != "all")
    return [(_WEIGHTED, within), (_ACROSS_WAVES, ("all",))]


def _batches(rules: Estimators) -> list[tuple[str, ...]]:
    """Breakdowns that share one pass over the pupils: those that cross few columns."""
    rest = [(name,) for name in rules.all_breakdowns if name not in ROLL_BREAKDOWNS]
    return [ROLL_BREAKDOWNS, *rest]


def _keep(run: _Run, survey: str, level: str, breakdown: str, found: Any) -> None:
    """Put the estimates of one level and breakdown aside."""
    run.con.register("found", found)
    run.con.execute(f"""
        insert into designed
        select
            '{survey}', variable, '{level}', {AREAS[level]}, '{breakdown}',
            {group_sql(breakdown)}, estimate, se, ci_low, ci_high
        from found
    """)
    run.con.unregister("found")
    if level == "cpp":
        _pool(run, survey, breakdown, found, "cpp")


def _estimate_clusters(run: _Run, survey: str) -> None:
    """Pooled design effects of schools within their cluster, of pupils without weights."""
    table = f"clustered_{survey}"
    run.con.execute(
        f"create or replace temp table {table} as "
        f"from estimated_{survey} where cluster_area is not null"
    )
    if run.con.execute(f"select count(*) from {table}").fetchall() == [(0,)]:
        return
    breakdowns = run.rules.breakdowns["cluster"]
    results = estimate_each(
        run.con,
        table,
        _WITHIN_CLUSTERS,
        run.of(survey),
        statistic="mean",
        by_sets=[("cluster_area", *BREAKDOWNS[breakdown]) for breakdown in breakdowns],
        level=run.rules.confidence,
    )
    for breakdown, found in zip(breakdowns, results, strict=True):
        _pool(run, survey, breakdown, found, "cluster")


def _pool(run: _Run, survey: str, breakdown: str, found: Any, pool: str) -> None:
    """The design effect of each indicator and group, pooled over the areas of a level."""
    floor, step = run.rules.design_effect_floor, run.rules.design_effect_step
    by = ("variable", *BREAKDOWNS[breakdown])
    effects = pooled_design_effect(run.con, found, by=by, floor=floor)
    run.con.register("effects", effects)
    run.con.execute(f"""
        insert into pooled
        select
            '{pool}', '{survey}', variable, '{breakdown}', {group_sql(breakdown)},
            round(coalesce(design_effect, {floor}) / {step}) * {step}
        from effects
    """)
    run.con.unregister("effects")


def _join_design_effects(run: _Run) -> None:
    """Counts with the design effect of their cell: none in a school, which is one cluster."""
    run.con.execute("""
        create or replace temp table known as
        with pooling as (
            select
                *,
                case geography_level when 'school' then 'none' when 'cluster' then 'cluster'
                    else 'cpp' end as pool
            from counted
        )
        select pooling.* exclude (pool), pooled.design_effect
        from pooling
        left join pooled using (pool, survey, indicator, breakdown, "group")
    """)


def _mean_widths(run: _Run) -> None:
    """Pupils' SD of means, and half widths by t on n / design effect pupils."""
    cells = run.con.execute("""
        select
            survey, indicator, geography_level, area, breakdown, "group",
            base_n / coalesce(design_effect, 1) as effective_n,
            sqrt(greatest(squares - sum_x * sum_x / base_n, 0) / (base_n - 1)) as sd
        from known
        inner join asked using (survey, indicator)
        where statistic = 'mean' and base_n > 1
    """).to_arrow_table()
    size = np.asarray(cells.column("effective_n").to_numpy(), dtype=np.float64)
    sd = np.asarray(cells.column("sd").to_numpy(), dtype=np.float64)
    width = t_quantile(size - 1.0, run.rules.confidence) * sd / np.sqrt(size)
    run.con.register("widths", cells.append_column("half_width", floats_or_null(width)))
    run.con.execute("create or replace temp table mean_widths as from widths")
    run.con.unregister("widths")


def _joined(rules: Estimators) -> str:
    """The grid with all that is known of each cell."""
    schools = " union all ".join(
        f"select survey, '{level}' as geography_level, {AREAS[level]} as area, "
        "count(distinct seed_code) as clusters_n from school_groups group by all"
        for level in WEIGHTED_LEVELS
    )
    return f"""
    schools as ({schools}),
    joined as (
        select
            grid.*,
            coalesce(known.base_n, 0)::integer as base_n,
            known.sum_x, known.answers_mark,
            coalesce(known.schools_n, 0)::integer as schools_n,
            known.design_effect, mean_widths.half_width, mean_widths.sd,
            designed.se, designed.ci_low, designed.ci_high,
            (grid.area, grid.indicator) in (select (area, indicator) from unlike) as is_unlike,
            if(
                grid.geography_level in ({listed(COUNTED_LEVELS)}),
                known.sum_x / known.base_n,
                designed.estimate
            ) as estimate,
            -- Of few schools a tranche's interval says, too, how far they lie apart.
            coalesce(clusters_n, 0) >= {rules.schools_for_clusters} as has_clusters
        from grid
        left join known using (survey, indicator, geography_level, area, breakdown, "group")
        left join designed using (survey, indicator, geography_level, area, breakdown, "group")
        left join mean_widths
            using (survey, indicator, geography_level, area, breakdown, "group")
        left join schools using (survey, geography_level, area)
    )
    """


def _pupil_rows(rules: Estimators) -> str:
    """The rows of the pupil surveys: grid, counts and the interval that Table B publishes."""
    wilson = wilson_sql(
        "base_n",
        "case when statistic = 'pct' then 100 * least(1, estimate) end",
        "coalesce(design_effect, 1)",
        rules.confidence,
    )
    return f"""
    with {_joined(rules)},
    chosen as (
        select
            *,
            case
                when not is_asked then 'not_asked'
                when roll_n = 0 then 'no_roll'
                when base_n = 0 or estimate is null then 'no_data'
                when is_unlike then 'not_comparable'
                else ''
            end as reason,
            case
                when statistic = 'mean' then 't'
                when has_clusters and ci_low is not null and se > 0 then 'logit'
                else 'wilson'
            end as method,
            not has_clusters or ci_low is null or se = 0 as is_pooled,
            {wilson} as wilson
        from joined
    )
    select
        tranche,
        engagement,
        survey,
        geography_level,
        geography_code,
        breakdown,
        "group",
        indicator,
        statistic,
        roll_n::integer as roll_n,
        case when reason in ('', 'no_data', 'not_comparable') then base_n end as base_n,
        case
            when reason in ('', 'not_comparable') and statistic = 'pct' then sum_x::integer
        end as numerator_n,
        case
            when reason = '' and statistic = 'pct' then 100 * estimate
            when reason = '' then estimate
        end as estimate,
        case
            when reason <> '' then null
            when method = 'wilson' then wilson.low
            when method = 'logit' then 100 * ci_low
            when is_pooled then estimate - half_width
            else ci_low
        end as ci_low,
        case
            when reason <> '' then null
            when method = 'wilson' then wilson.high
            when method = 'logit' then 100 * ci_high
            when is_pooled then estimate + half_width
            else ci_high
        end as ci_high,
        case when reason = '' then method else 'none' end as method,
        case when reason = '' and is_pooled then design_effect end as design_effect,
        case when reason in ('', 'no_data', 'not_comparable') then schools_n end as schools_n,
        reason,
        case when reason in ('', 'not_comparable') and statistic = 'mean' then sum_x end as sum_x,
        case when reason = '' then sd end as sd,
        case when reason in ('', 'not_comparable') then answers_mark end as answers_mark
    from chosen
    order by all
    """


def _parent_rows(run: _Run) -> str:
    """The parent survey: a quota sample, so indicative, without interval, at CPP level only."""
    names = run.of("parent")
    if not names:
        return "select 1"
    return f"""
    insert into wellbeing.estimates by name
    with answers as (
        unpivot (from wellbeing.parent_indicator_values where engagement in (from scope))
        on {", ".join(names)}
        into name indicator value answer
    ),
    counted as (
        select
            engagement, indicator,
            count(*) as base_n, sum(answer) as numerator_n, avg(answer) as estimate
        from answers
        group by all
    )
    select
        engagements.tranche,
        engagement,
        'parent' as survey,
        'cpp' as geography_level,
        engagements.council_code as geography_code,
        'total' as breakdown,
        'all' as "group",
        asked.indicator,
        asked.statistic,
        coalesce(counted.base_n, 0)::integer as base_n,
        case when asked.statistic = 'pct' then counted.numerator_n::integer end as numerator_n,
        case when asked.statistic = 'pct' then 100 * counted.estimate else counted.estimate end
            as estimate,
        case when counted.estimate is null then 'none' else 'indicative' end as method,
        case when counted.estimate is null then 'no_data' else '' end as reason
    from programme.waves as waves
    inner join programme.engagements as engagements using (engagement)
    inner join asked using (survey)
    left join counted using (engagement, indicator)
    where waves.survey = 'parent' and engagement in (from scope)
    order by engagement, asked.indicator
    """
