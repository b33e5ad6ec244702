"""Estimates of every indicator at CPP, tranche and all, by policy.md, Table B.

Belongs here: which rows exist, which weight, interval and design effect each gets. Does
not belong here: variances and intervals (`estimation`), rounding, suppression (`disclosure`).

The grid is complete: a survey wave × indicator × group that has no figure has a row with
the reason. Everything is unrounded but the pooled design effect, which is rounded before
use, since the released interval is computed again from rounded values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.codebook.model import Codebook, Indicator
from rcs_assets.estimation import Design, estimate_each, pooled_design_effect, wilson_sql
from rcs_assets.estimation.intervals import floats_or_null, t_quantile
from rcs_assets.wellbeing.estimators import Estimators

PUPIL_SURVEYS = ("primary", "secondary")

# Column that names the area of a level in `estimated_pupils`.
_AREA = {"cpp": "engagement", "tranche": "tranche", "all": "everywhere"}
_GROUP = {
    "total": "'all'",
    "stage": "stage",
    "sex": "sex",
    "simd_quintile": "simd_quintile::varchar",
}


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
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.register("indicator_list", _indicator_table(run.indicators))
    con.execute("create or replace temp table scope as from scope_list")
    con.execute("create or replace temp table asked as from indicator_list")
    _prepare_pupils(run)
    _count(run)
    _estimate_by_design(run)
    _mean_widths(run)
    _grid(run)
    con.execute("create schema if not exists wellbeing")
    con.execute("begin")
    con.execute("create or replace table wellbeing.estimates as " + _pupil_rows(rules))
    con.execute(_parent_rows(run))
    con.execute("commit")
    con.unregister("scope_list")
    con.unregister("indicator_list")
    return int(con.execute("select count(*) from wellbeing.estimates").fetchall()[0][0])


def _indicator_table(indicators: Iterable[Indicator]) -> Any:
    return pa.table(
        {
            "indicator": pa.array([i.name for i in indicators], pa.string()),
            "survey": pa.array([i.survey for i in indicators], pa.string()),
            "statistic": pa.array([i.statistic for i in indicators], pa.string()),
            "stages": pa.array([list(i.stages) for i in indicators], pa.list_(pa.string())),
        }
    )


def _prepare_pupils(run: _Run) -> None:
    """Pupils in scope with their weight, one temporary table a survey."""
    for survey in PUPIL_SURVEYS:
        names = "".join(f", pupils.{name}" for name in run.of(survey))
        run.con.execute(f"""
            create or replace temp table estimated_{survey} as
            select
                pupils.engagement, pupils.tranche, 'all' as everywhere, pupils.seed_code,
                pupils.stage, pupils.sex, pupils.simd_quintile, weights.weight{names}
            from wellbeing.indicator_values as pupils
            inner join wellbeing.weights as weights using (engagement, record_id)
            where pupils.engagement in (from scope) and pupils.survey = '{survey}'
        """)


def _count(run: _Run) -> None:
    """Bases, numerators and schools of every cell, unweighted."""
    parts = [_cells(run, survey) for survey in PUPIL_SURVEYS if run.of(survey)]
    run.con.execute(
        "create or replace temp table school_cells as " + " union all by name ".join(parts)
    )
    groups = [
        f"""
        select
            survey, indicator, '{level}' as geography_level, {area} as area,
            '{breakdown}' as breakdown, {_GROUP[breakdown]} as "group",
            sum(base_n) as base_n, sum(numerator_n)::double as numerator_n,
            sum(squares)::double as squares, count(distinct seed_code) as schools_n
        from school_cells
        where {_GROUP[breakdown]} is not null
        group by all
        """
        for level, area in _AREA.items()
        for breakdown in run.rules.breakdowns
    ]
    run.con.execute("create or replace temp table counted as " + " union all ".join(groups))


def _cells(run: _Run, survey: str) -> str:
    """School × stage × sex × quintile × indicator: all that a count needs.

    Sums are of decimals: those of floating numbers follow the order of threads.
    """
    return f"""
        select
            '{survey}' as survey, indicator, engagement, tranche, everywhere, seed_code,
            stage, sex, simd_quintile,
            count(*)::integer as base_n, sum(answer::decimal(18, 9)) as numerator_n,
            sum((answer * answer)::decimal(18, 9)) as squares
        from (
            unpivot (select * exclude (weight) from estimated_{survey})
            on {", ".join(run.of(survey))}
            into name indicator value answer
        )
        group by all
    """


def _estimate_by_design(run: _Run) -> None:
    """Design-based estimates of every cell, and the pooled design effect of every group."""
    run.con.execute("""
        create or replace temp table designed (
            survey varchar, indicator varchar, geography_level varchar, area varchar,
            breakdown varchar, "group" varchar, estimate double, se double, ci_low double,
            ci_high double, df bigint, deff double
        )
    """)
    run.con.execute("""
        create or replace temp table pooled (
            survey varchar, indicator varchar, breakdown varchar, "group" varchar,
            design_effect double
        )
    """)
    for survey in PUPIL_SURVEYS:
        for statistic in ("pct", "mean"):
            _estimate_survey(run, survey, statistic)


def _estimate_survey(run: _Run, survey: str, statistic: str) -> None:
    variables = run.of(survey, statistic)
    if not variables:
        return
    tables = [(level, breakdown) for level in _AREA for breakdown in run.rules.breakdowns]
    by_sets = [(_AREA[level], *_by(breakdown)) for level, breakdown in tables]
    results = estimate_each(
        run.con,
        f"estimated_{survey}",
        Design(strata="engagement", clusters="seed_code", weight="weight", nest=True),
        variables,
        statistic="mean",
        by_sets=by_sets,
        ci="logit" if statistic == "pct" else "t",
        level=run.rules.confidence,
    )
    for (level, breakdown), found in zip(tables, results, strict=True):
        run.con.register("found", found)
        run.con.execute(f"""
            insert into designed
            select
                '{survey}', variable, '{level}', {_AREA[level]}, '{breakdown}',
                {_GROUP[breakdown]}, estimate, se, ci_low, ci_high, df, deff
            from found
        """)
        run.con.unregister("found")
        if level == "cpp":
            _pool(run, survey, breakdown, found)


def _by(breakdown: str) -> tuple[str, ...]:
    return () if breakdown == "total" else (breakdown,)


def _pool(run: _Run, survey: str, breakdown: str, found: Any) -> None:
    """The design effect of each indicator and group, pooled over the CPPs."""
    floor, step = run.rules.design_effect_floor, run.rules.design_effect_step
    effects = pooled_design_effect(run.con, found, by=("variable", *_by(breakdown)), floor=floor)
    run.con.register("effects", effects)
    run.con.execute(f"""
        insert into pooled
        select
            '{survey}', variable, '{breakdown}', {_GROUP[breakdown]},
            round(coalesce(design_effect, {floor}) / {step}) * {step}
        from effects
    """)
    run.con.unregister("effects")


def _mean_widths(run: _Run) -> None:
    """Half widths of means where schools are too few: t on n / pooled design effect pupils."""
    cells = run.con.execute("""
        select
            survey, indicator, geography_level, area, breakdown, "group",
            base_n / design_effect as effective_n,
            sqrt(greatest(squares - numerator_n * numerator_n / base_n, 0) / (base_n - 1)) as sd
        from counted
        inner join asked using (survey, indicator)
        inner join pooled using (survey, indicator, breakdown, "group")
        where statistic = 'mean' and base_n > 1
    """).to_arrow_table()
    size = np.asarray(cells.column("effective_n").to_numpy(), dtype=np.float64)
    sd = np.asarray(cells.column("sd").to_numpy(), dtype=np.float64)
    width = t_quantile(size - 1.0, run.rules.confidence) * sd / np.sqrt(size)
    run.con.register("widths", cells.append_column("half_width", floats_or_null(width)))
    run.con.execute("create or replace temp table mean_widths as from widths")
    run.con.unregister("widths")


def _grid(run: _Run) -> None:
    """Every survey wave × indicator × group, with the roll of the cell."""
    groups = " union all ".join(_groups(breakdown) for breakdown in run.rules.breakdowns)
    run.con.execute(f"""
        create or replace temp table grid as
        with waves as (
            select
                waves.engagement, waves.survey, engagements.tranche,
                'all' as everywhere, engagements.council_code, waves.stages
            from programme.waves as waves
            inner join programme.engagements as engagements using (engagement)
            where waves.engagement in (from scope) and waves.survey in {PUPIL_SURVEYS}
        ),
        rolls as (
            select
                waves.engagement, waves.survey, roll.stage, roll.sex, sum(roll.roll_n) as roll_n
            from waves
            inner join intake.roll_counts as roll
                on
                    waves.engagement = roll.engagement
                    and list_contains(waves.stages, roll.stage)
            group by all
        ),
        groups as ({groups}),
        cells as (
            select
                waves.*, asked.indicator, asked.statistic, asked.stages as asked_of,
                groups.breakdown, groups."group"
            from waves
            inner join asked using (survey)
            inner join groups
                on groups.survey = waves.survey and groups.engagement = waves.engagement
        ),
        rolled as (
            select
                cells.engagement, cells.survey, cells.indicator, cells.breakdown, cells."group",
                sum(rolls.roll_n) as roll_n
            from cells
            inner join rolls
                on
                    cells.engagement = rolls.engagement
                    and cells.survey = rolls.survey
                    and case cells.breakdown
                        when 'stage' then rolls.stage = cells."group"
                        when 'sex' then
                            rolls.sex = cells."group"
                            and list_contains(cells.asked_of, rolls.stage)
                        else list_contains(cells.asked_of, rolls.stage)
                    end
            where cells.breakdown <> 'simd_quintile'
            group by all
        )
        select
            cells.* exclude (stages),
            case
                when cells.breakdown <> 'simd_quintile' then coalesce(rolled.roll_n, 0)
            end as roll_n,
            cells.breakdown <> 'stage' or list_contains(cells.asked_of, cells."group")
                as is_asked
        from cells
        left join rolled using (engagement, survey, indicator, breakdown, "group")
    """)


def _groups(breakdown: str) -> str:
    """Groups of a breakdown in each wave: from the register and fixed lists, never from data."""
    values = {
        "total": "['all']",
        "stage": "stages",
        "sex": "['F', 'M']",
        "simd_quintile": "['1', '2', '3', '4', '5']",
    }[breakdown]
    return (
        f"select engagement, survey, '{breakdown}' as breakdown, unnest({values}) as \"group\" "
        "from waves"
    )


def _pupil_rows(rules: Estimators) -> str:
    """The rows of the pupil surveys: grid, counts and the interval that Table B publishes."""
    wilson = wilson_sql(
        "base_n",
        "case when statistic = 'pct' then 100 * least(1, estimate) end",
        "coalesce(design_effect, 1)",
        rules.confidence,
    )
    return f"""
    with areas as ({" union all ".join(_level_grid(level) for level in _AREA)}),
    schools as (
        select survey, engagement, count(distinct seed_code) as schools_n
        from school_cells
        group by all
    ),
    joined as (
        select
            areas.*,
            coalesce(counted.base_n, 0)::integer as base_n,
            counted.numerator_n,
            coalesce(counted.schools_n, 0)::integer as schools_n,
            designed.estimate, designed.se, designed.deff,
            designed.ci_low, designed.ci_high,
            pooled.design_effect, mean_widths.half_width,
            areas.geography_level <> 'cpp'
            or coalesce(schools.schools_n, 0) >= {rules.schools_for_clusters} as has_clusters
        from areas
        left join counted using (survey, indicator, geography_level, area, breakdown, "group")
        left join designed using (survey, indicator, geography_level, area, breakdown, "group")
        left join pooled using (survey, indicator, breakdown, "group")
        left join mean_widths
            using (survey, indicator, geography_level, area, breakdown, "group")
        left join schools
            on areas.survey = schools.survey and areas.engagement = schools.engagement
    ),
    chosen as (
        select
            *,
            case
                when not is_asked then 'not_asked'
                when roll_n = 0 then 'no_roll'
                when base_n = 0 or estimate is null then 'no_data'
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
        case when reason in ('', 'no_data') then base_n end as base_n,
        case when reason = '' and statistic = 'pct' then numerator_n::integer end as numerator_n,
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
        case when reason in ('', 'no_data') then schools_n end as schools_n,
        reason
    from chosen
    order by all
    """


def _level_grid(level: str) -> str:
    """The grid at one level: waves of an area joined, asked where any of them asked."""
    codes = {
        "cpp": ("tranche", "engagement", "council_code"),
        "tranche": ("tranche", "null::varchar", "tranche"),
        "all": ("null::varchar", "null::varchar", "'all'"),
    }
    tranche, engagement, code = codes[level]
    return f"""
        select
            {tranche} as tranche, {engagement} as engagement, survey,
            '{level}' as geography_level, {code} as geography_code, {_AREA[level]} as area,
            breakdown, "group", indicator, statistic,
            sum(roll_n) as roll_n, bool_or(is_asked) as is_asked
        from grid
        group by all
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
