"""Is a school, cluster or CPP different from the others? Tests and verdicts by Table B.

Belongs here: differences, their variance, corrected p values and verdicts, from aggregated
cells. Does not belong here: what may be shown (`disclosure`), words (`reporting`).

A school or cluster is held against the other schools of its CPP as if these had its own mix
of stage and sex: the others' rate of each stage × sex, weighted by its respondents. The
variance is at the others' rate, as the hypothesis of no difference has it. A CPP is held
against its tranche, of which it is a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rcs_assets.codebook.model import Codebook, Indicator
from rcs_assets.estimation import Design, corrected_query, estimate_each
from rcs_assets.estimation.intervals import floats_or_null
from rcs_assets.wellbeing.breakdowns import PUPIL_SURVEYS
from rcs_assets.wellbeing.counts import prepare_pupils
from rcs_assets.wellbeing.estimators import Estimators
from rcs_assets.wellbeing.grid import make_rolls

_WEIGHTED = Design(strata="engagement", clusters="seed_code", weight="weight", nest=True)


def write_comparisons(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    engagements: Sequence[str],
    rules: Estimators,
) -> int:
    """Make wellbeing.comparisons anew, a row a school, cluster or CPP and indicator asked there.

    Columns: engagement, survey, geography_level, geography_code, indicator, statistic,
    comparator (`rest_of_cpp`, `tranche`), difference (points, or scores; own less others';
    null where there are no others), p_value (before correction; null where not tested, as of an
    indicator that has no good side and is not rated),
    is_marked, verdict (better, similar, worse; null where not tested or where the indicator
    has no good side), base_n (own pupils compared), rest_n and rest_schools_n (the others).

    Args:
        con: a writing connection to the warehouse, with wellbeing.estimates of these
            engagements.
        codebook: says which way of an indicator is better.
        engagements: the engagements that enter.
        rules: policy.md, Table B.

    Returns:
        Number of rows written.
    """
    indicators = tuple(codebook.indicators.values())
    make_rolls(con, engagements, rules)
    con.execute(_cells(rules))
    con.execute("create or replace temp table compared as " + _against_the_rest())
    _headline_moments(con, [i for i in indicators if i.name in rules.headlines], rules)
    con.execute("insert into compared by name " + _against_the_tranche())
    con.register("directions", _directions(indicators))
    _p_values(con)
    con.execute("create or replace table wellbeing.comparisons as " + _verdicts(rules))
    con.unregister("directions")
    return int(con.execute("select count(*) from wellbeing.comparisons").fetchall()[0][0])


def _directions(indicators: Sequence[Indicator]) -> Any:
    return pa.table(
        {
            "indicator": [i.name for i in indicators],
            "direction": [i.direction for i in indicators],
        }
    )


def _cells(rules: Estimators) -> str:
    """Stage × sex of each school: pupils, sum and sum of squares of every indicator.

    Sums are of decimals: those of floating numbers follow the order of threads.
    """
    surveys = ", ".join(f"'{survey}'" for survey in rules.cluster_surveys)
    return f"""
        create or replace temp table cells as
        select
            cells.engagement, cells.survey, cells.indicator, cells.statistic,
            cells.geography_code as school,
            case when cells.survey in ({surveys}) then clusters.cluster_code end as cluster,
            cells."group" as cell,
            cells.base_n as n,
            coalesce(cells.numerator_n, cells.sum_x)::decimal(38, 9) as x,
            case
                when cells.statistic = 'pct' then cells.numerator_n
                else
                    cells.sum_x * cells.sum_x / cells.base_n
                    + coalesce(cells.sd * cells.sd * (cells.base_n - 1), 0)
            end::decimal(38, 9) as squares
        from wellbeing.estimates as cells
        left join sdc_clusters as clusters
            on
                cells.engagement = clusters.engagement
                and cells.geography_code = clusters.seed_code
        where
            cells.geography_level = 'school'
            and cells.breakdown = 'stage:sex'
            and cells.reason = ''
            and cells.engagement in (from scope)
    """


def _against_the_rest() -> str:
    """Schools and clusters against the other schools of their CPP, standardised directly.

    Cells where the others have nobody are left out on both sides. A design effect stands on
    clusters only: it is the pooled one of their interval.
    """
    units = " union all ".join(
        f"""
        select
            engagement, survey, indicator, statistic, '{level}' as geography_level,
            {level} as geography_code, cell,
            sum(n) as n, sum(x) as x, sum(squares) as squares
        from cells
        where {level} is not null
        group by all
        """
        for level in ("school", "cluster")
    )
    return f"""
        with units as ({units}),
        totals as (
            select
                engagement, survey, indicator, cell,
                sum(n) as n, sum(x) as x, sum(squares) as squares
            from cells
            group by all
        ),
        paired as (
            select
                units.* exclude (squares),
                totals.n - units.n as rest_n,
                totals.x - units.x as rest_x,
                totals.squares - units.squares as rest_squares,
                (totals.x - units.x)::double / nullif(totals.n - units.n, 0) as rate
            from units
            inner join totals using (engagement, survey, indicator, cell)
        ),
        summed as (
            select
                engagement, survey, indicator, statistic, geography_level, geography_code,
                coalesce(sum(n) filter (rest_n > 0), 0)::integer as base_n,
                coalesce(sum(rest_n), 0)::integer as rest_n,
                sum(x) filter (rest_n > 0)::double as x,
                sum(n * rate order by cell) as expected_x,
                sum(n * (1 + n / rest_n) * rate * (1 - rate) order by cell) as rate_spread,
                sum(n * (1 + n / rest_n) order by cell) filter (rest_n > 0) as mean_spread,
                sum(rest_x)::double as rest_x,
                sum(rest_squares)::double as rest_squares
            from paired
            group by all
        ),
        spread as (
            select
                *,
                sqrt(
                    greatest(rest_squares - rest_x * rest_x / nullif(rest_n, 0), 0)
                    / nullif(rest_n - 1, 0)
                ) as rest_sd
            from summed
        ),
        own as (
            select
                engagement, survey, indicator, geography_level, geography_code,
                schools_n, coalesce(design_effect, 1) as design_effect
            from wellbeing.estimates
            where breakdown = 'total' and reason = ''
        )
        select
            spread.engagement, survey, spread.geography_level, spread.geography_code, indicator,
            spread.statistic, 'rest_of_cpp' as comparator,
            if(spread.statistic = 'pct', 100, 1)
            * (spread.x - spread.expected_x) / spread.base_n as difference,
            own.design_effect * if(
                spread.statistic = 'pct',
                10000 * spread.rate_spread,
                spread.mean_spread * spread.rest_sd * spread.rest_sd
            ) / (spread.base_n * spread.base_n) as variance,
            case when spread.statistic = 'mean' then spread.rest_n - 1 end as df,
            spread.rest_sd,
            spread.base_n,
            spread.rest_n,
            (cpp.schools_n - own.schools_n)::integer as rest_schools_n
        from spread
        inner join own using (engagement, survey, indicator, geography_level, geography_code)
        inner join own as cpp
            on
                spread.engagement = cpp.engagement
                and spread.survey = cpp.survey
                and spread.indicator = cpp.indicator
                and cpp.geography_level = 'cpp'
    """


def _headline_moments(
    con: duckdb.DuckDBPyConnection, headlines: Sequence[Indicator], rules: Estimators
) -> None:
    """Make `cpp_moments`: weighted pupils and standard error of the headlines of every CPP."""
    prepare_pupils(con, headlines, rules)
    con.execute("""
        create or replace temp table cpp_moments (
            survey varchar, indicator varchar, engagement varchar, weighted_n double, se double
        )
    """)
    for survey in PUPIL_SURVEYS:
        names = [i.name for i in headlines if i.survey == survey]
        if names:
            _survey_moments(con, survey, names)


def _survey_moments(con: duckdb.DuckDBPyConnection, survey: str, names: Sequence[str]) -> None:
    found = estimate_each(
        con, f"estimated_{survey}", _WEIGHTED, names, statistic="mean", by_sets=["engagement"]
    )[0]
    sums = ", ".join(
        f"sum(if({name} is null, 0, weight)::decimal(18, 9))::double as {name}" for name in names
    )
    con.register("found", found)
    con.execute(f"""
        insert into cpp_moments
        select '{survey}', found.variable, found.engagement, sums.weighted_n, found.se
        from found
        inner join (
            unpivot (select engagement, {sums} from estimated_{survey} group by engagement)
            on {", ".join(names)} into name indicator value weighted_n
        ) as sums
            on found.variable = sums.indicator and found.engagement = sums.engagement
    """)
    con.unregister("found")


def _against_the_tranche() -> str:
    """CPPs against their tranche: a mean of its CPPs by weighted pupils, one of them their own.

    The variance of a CPP is that of its interval: school clusters, or the pooled design
    effect where schools are few. Only headlines have one, so only they are tested.
    """
    return """
        with totals as (
            from wellbeing.estimates
            where breakdown = 'total' and reason = '' and survey <> 'parent'
        ),
        cpps as (
            select
                totals.*,
                moments.weighted_n,
                case
                    when totals.design_effect is null
                    then pow(if(totals.statistic = 'pct', 100, 1) * moments.se, 2)
                    when totals.statistic = 'pct'
                    then
                        totals.estimate * (100 - totals.estimate)
                        * totals.design_effect / totals.base_n
                    else pow(totals.sd, 2) * totals.design_effect / totals.base_n
                end as variance
            from totals
            left join cpp_moments as moments using (engagement, survey, indicator)
            where totals.geography_level = 'cpp'
        ),
        spreads as (
            select
                tranche, survey, indicator,
                sum(weighted_n order by engagement) as weighted_n,
                sum(weighted_n * weighted_n * variance order by engagement) as spread,
                bool_and(weighted_n is not null and variance is not null) as is_known
            from cpps
            group by all
        )
        select
            cpps.engagement, survey, 'cpp' as geography_level, cpps.geography_code, indicator,
            cpps.statistic, 'tranche' as comparator,
            case
                when whole.base_n > cpps.base_n then cpps.estimate - whole.estimate
            end as difference,
            case
                when spreads.is_known
                then
                    (
                        spreads.spread
                        + cpps.variance
                        * (pow(spreads.weighted_n - cpps.weighted_n, 2) - pow(cpps.weighted_n, 2))
                    ) / pow(spreads.weighted_n, 2)
            end as variance,
            null::bigint as df,
            whole.sd as rest_sd,
            cpps.base_n,
            (whole.base_n - cpps.base_n)::integer as rest_n,
            (whole.schools_n - cpps.schools_n)::integer as rest_schools_n
        from cpps
        inner join spreads using (tranche, survey, indicator)
        inner join totals as whole
            on
                cpps.tranche = whole.geography_code
                and cpps.survey = whole.survey
                and cpps.indicator = whole.indicator
                and whole.geography_level = 'tranche'
    """


def _p_values(con: duckdb.DuckDBPyConnection) -> None:
    """Make `tested`: `compared` with direction and two-sided p values; null without a variance.

    What has no good side is no test: it would make the others' harder to pass, and says nothing.
    """
    found = con.execute("from compared order by all").to_arrow_table()

    def column(name: str) -> npt.NDArray[np.float64]:
        values = found.column(name).cast(pa.float64()).to_numpy()
        return np.asarray(values, dtype=np.float64)

    variance = column("variance")
    has_spread = variance > 0
    score = np.abs(column("difference")) / np.sqrt(np.where(has_spread, variance, 1.0))
    p_value = np.where(has_spread, two_sided(score, column("df")), np.nan)
    con.register("found", found.append_column("p_value", floats_or_null(p_value)))
    con.execute("""
        create or replace temp table tested as
        select found.* replace (if(direction = 'context', null, p_value) as p_value), direction
        from found
        inner join directions using (indicator)
    """)
    con.unregister("found")


def two_sided(
    score: npt.NDArray[np.float64], df: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Two-sided p values of absolute scores: Student's t with `df`, normal where df is NaN."""
    # scipy takes a fifth of a second to import: only those who compare pay.
    from scipy import special

    normal = special.ndtr(-score)
    student = special.stdtr(np.where(df >= 1, df, 1.0), -score)
    return np.asarray(2 * np.where(df >= 1, student, normal), dtype=np.float64)


def marked_query(rules: Estimators, corrected: str, sd: str) -> str:
    """Rows of a corrected query with `is_marked`: significant, and large enough (Table B).

    Args:
        rules: Table B.
        corrected: a query with p_value, corrected_p, difference and statistic.
        sd: its column with the standard deviation that a mean's difference is held against.
    """
    return f"""
        select
            *,
            coalesce(
                p_value is not null
                and corrected_p < {rules.comparison_alpha}
                and abs(difference) >= if(
                    statistic = 'pct',
                    {rules.comparison_least_points},
                    {rules.comparison_least_sd} * {sd}
                ),
                false
            ) as is_marked
        from ({corrected})
    """


def verdict_sql(direction: str) -> str:
    """What a row of `marked` says, given SQL of the indicator's direction; null: nothing."""
    return f"""
        case
            when marked.p_value is null or {direction} = 'context' then null
            when not marked.is_marked then 'similar'
            when (marked.difference > 0) = ({direction} = 'higher_better') then 'better'
            else 'worse'
        end
    """


def _verdicts(rules: Estimators) -> str:
    """Corrected p values and what follows from them: Holm for CPPs, else Benjamini-Hochberg."""
    corrected = corrected_query(
        "tested",
        "if(geography_level = 'cpp', 'holm', 'bh')",
        # A report speaks of all surveys of its place.
        family=["engagement", "geography_level", "geography_code"],
        tie=["indicator"],
    )
    return f"""
        with marked as ({marked_query(rules, corrected, "rest_sd")})
        select
            marked.engagement, marked.survey, marked.geography_level, marked.geography_code,
            indicator, marked.statistic, marked.comparator, marked.difference, marked.p_value,
            marked.is_marked,
            {verdict_sql("marked.direction")} as verdict,
            marked.base_n, marked.rest_n, marked.rest_schools_n
        from marked
        order by all
    """
