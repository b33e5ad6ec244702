"""Did a CPP change between two waves? Differences of its own figures, and their variance.

Belongs here: which waves make a pair, what may be compared, the difference with the covariance
of pupils and schools that both waves hold, corrected p values, verdicts. Does not belong here:
the waves' own figures (`estimates.py`), what may be shown (`disclosure`), words (`reporting`).

A pair is a wave of a CPP and the one before it of the same survey. Only the same question of the
same stages is compared: the codebook's flags say where a question was changed (`not_comparable`).

Both estimates keep the variance that Table B gives their intervals. Where both come from school
clusters, the variance of the difference is that of the engine: a school of both waves is one
cluster, so that whatever its pupils share, and pupils who are in both waves, lower it. Elsewhere
it is v1 + v2 - 2 r √(v1 v2), r the correlation of the two estimates over the pupils that linkage
found in both; a pupil of one wave adds nothing to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rcs_assets.codebook.model import Codebook
from rcs_assets.codebook.versions import not_comparable
from rcs_assets.estimation import Design, corrected_query, estimate_each
from rcs_assets.estimation.intervals import floats_or_null, normal_quantile, t_quantile
from rcs_assets.wellbeing.breakdowns import (
    BREAKDOWNS,
    PUPIL_SURVEYS,
    STAGE_BREAKDOWNS,
    group_sql,
    listed,
)
from rcs_assets.wellbeing.comparisons import marked_query, two_sided, verdict_sql
from rcs_assets.wellbeing.estimators import Estimators

_BOTH_WAVES = Design(strata="pair", clusters="seed_code", weight="weight", nest=True)
_KEY = 'pair, survey, indicator, breakdown, "group"'


def write_changes(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    engagements: Sequence[str],
    rules: Estimators,
) -> int:
    """Make wellbeing.changes anew, unrounded.

    A row a CPP's wave of a pupil survey, indicator and group. Columns: engagement (the later
    wave), earlier_engagement (null for a first wave), survey, geography_code, breakdown, group,
    indicator, statistic, earlier_n, later_n (pupils with a valid answer), earlier_numerator_n,
    later_numerator_n, shared_n (pupils with one in both waves), changed_n (in one wave alone),
    earlier_estimate, later_estimate, difference (points or scores, later less earlier),
    correlation (of the two estimates), se, df (null: normal), ci_low, ci_high, p_value (headline
    totals only, before correction), is_marked, verdict (better, similar, worse; null where not
    tested or without a good side), reason. A first wave has its totals alone.

    `reason` is empty, or says why there is no difference: one_wave, stages_differ (the waves asked
    other stages), not_comparable (the question was changed or not asked in one of them), or what
    the later, else the earlier figure's own reason is (not_asked, no_roll, no_data).

    Args:
        con: a writing connection to the warehouse, with wellbeing.estimates of these engagements.
        codebook: flags of comparability, directions.
        engagements: the engagements that enter.
        rules: policy.md, Table B.

    Returns:
        Number of rows written.
    """
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.execute("create or replace temp table scope as from scope_list")
    con.unregister("scope_list")
    con.execute(_PAIRS.format(surveys=listed(PUPIL_SURVEYS)))
    _register_questions(con, codebook)
    con.execute(_cells_sql(rules))
    _variances(con, rules)
    con.execute("create or replace temp table change_found as " + _differences_sql())
    _test(con, rules)
    con.execute("create or replace table wellbeing.changes as " + _rows_sql(rules))
    con.unregister("change_questions")
    return int(con.execute("select count(*) from wellbeing.changes").fetchall()[0][0])


_PAIRS = """
    create or replace temp table change_pairs as
    with waves as (
        select
            waves.survey, engagements.council_code, engagement, engagements.tranche,
            tranches.number as tranche_no, list_sort(waves.stages) as stages
        from programme.waves as waves
        inner join programme.engagements as engagements using (engagement)
        inner join programme.tranches as tranches on engagements.tranche = tranches.key
        where engagement in (from scope) and waves.survey in ({surveys})
    )
    select
        engagement || ' ' || survey as pair, engagement, survey, council_code, tranche, stages,
        lag(engagement) over in_time as earlier_engagement,
        lag(tranche) over in_time as earlier_tranche,
        lag(stages) over in_time as earlier_stages
    from waves
    window in_time as (partition by survey, council_code order by tranche_no)
"""


def _register_questions(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> None:
    """Whether each pair of tranches asked an indicator alike, and which way is better."""
    pairs = con.execute(
        "select distinct earlier_tranche, tranche from change_pairs "
        "where earlier_tranche is not null order by all"
    ).fetchall()
    unlike = {pair: not_comparable(codebook, pair) for pair in pairs}
    rows = [
        {
            "indicator": i.name,
            "earlier_tranche": earlier,
            "tranche": later,
            "asked_stages": sorted(i.stages),
            "direction": i.direction,
            "is_comparable": i.name not in unlike[earlier, later],
        }
        for i, (earlier, later) in product(codebook.indicators.values(), pairs)
    ]
    schema = pa.schema(
        [(name, pa.string()) for name in ("indicator", "earlier_tranche", "tranche")]
        + [("asked_stages", pa.list_(pa.string())), ("direction", pa.string())]
        + [("is_comparable", pa.bool_())]
    )
    con.register("change_questions", pa.Table.from_pylist(rows, schema))


def _cells_sql(rules: Estimators) -> str:
    """Each wave's figure beside that of the wave before it, and why they cannot be compared."""
    return f"""
        create or replace temp table change_cells as
        with figures as (
            from wellbeing.estimates
            where
                geography_level = 'cpp' and engagement in (from scope)
                and survey in ({listed(PUPIL_SURVEYS)})
                and breakdown in ({listed(rules.change_breakdowns)})
        )
        select
            pairs.pair, pairs.engagement, pairs.earlier_engagement, pairs.survey,
            later.geography_code, later.breakdown, later."group", later.indicator,
            later.statistic, questions.direction,
            later.base_n as later_n, earlier.base_n as earlier_n,
            later.numerator_n as later_numerator_n, earlier.numerator_n as earlier_numerator_n,
            later.estimate as later_estimate, earlier.estimate as earlier_estimate,
            later.design_effect as later_effect, earlier.design_effect as earlier_effect,
            later.sd as later_sd, earlier.sd as earlier_sd,
            case
                when pairs.earlier_engagement is null then 'one_wave'
                when earlier.indicator is null then 'stages_differ'
                when
                    later.breakdown not in ({listed(STAGE_BREAKDOWNS)})
                    and list_sort(list_intersect(pairs.stages, questions.asked_stages))
                    <> list_sort(list_intersect(pairs.earlier_stages, questions.asked_stages))
                    then 'stages_differ'
                when not questions.is_comparable then 'not_comparable'
                when later.reason <> '' then later.reason
                else earlier.reason
            end as reason
        from change_pairs as pairs
        inner join figures as later using (engagement, survey)
        left join figures as earlier
            on
                pairs.earlier_engagement = earlier.engagement
                and later.survey = earlier.survey
                and later.indicator = earlier.indicator
                and later.breakdown = earlier.breakdown
                and later."group" = earlier."group"
        left join change_questions as questions
            on
                later.indicator = questions.indicator
                and pairs.tranche = questions.tranche
                and pairs.earlier_tranche = questions.earlier_tranche
        where pairs.earlier_engagement is not null or later.breakdown = 'total'
    """


def _variances(con: duckdb.DuckDBPyConnection, rules: Estimators) -> None:
    """Make `change_se`, `change_scores`: what schools and pupils of two waves have in common."""
    con.execute("""
        create or replace temp table change_se (
            pair varchar, survey varchar, breakdown varchar, "group" varchar, indicator varchar,
            earlier_se double, later_se double, both_se double, both_df bigint
        )
    """)
    con.execute("""
        create or replace temp table change_scores (
            pair varchar, survey varchar, breakdown varchar, "group" varchar, indicator varchar,
            wave varchar, seed_code varchar, project_id varchar, z decimal(18, 9)
        )
    """)
    wanted = con.execute(
        "select survey, list(distinct indicator order by indicator) from change_cells "
        "where reason = '' group by survey order by survey"
    ).fetchall()
    for survey, names in wanted:
        _stack_waves(con, survey, names)
        _standard_errors(con, survey, names, rules)
        for breakdown in rules.change_breakdowns:
            _add_scores(con, survey, breakdown, names)


def _stack_waves(con: duckdb.DuckDBPyConnection, survey: str, names: Sequence[str]) -> None:
    """Make `change_pupils`: the pupils of both waves of each pair, one below the other."""
    con.execute(
        f"""
        create or replace temp table change_pupils as
        with waves as (
            select pair, engagement, '2' as wave from change_pairs
            where survey = $survey and earlier_engagement is not null
            union all
            select pair, earlier_engagement, '1' from change_pairs
            where survey = $survey and earlier_engagement is not null
        )
        select
            waves.pair, waves.wave, pupils.seed_code, linked.project_id, pupils.stage,
            pupils.sex, weights.weight, {", ".join(f"pupils.{name}" for name in names)}
        from waves
        inner join wellbeing.indicator_values as pupils
            on waves.engagement = pupils.engagement and pupils.survey = $survey
        inner join wellbeing.weights as weights
            on pupils.engagement = weights.engagement and pupils.record_id = weights.record_id
        inner join linkage.linked as linked
            on pupils.engagement = linked.engagement and pupils.record_id = linked.record_id
        """,
        {"survey": survey},
    )


def _standard_errors(
    con: duckdb.DuckDBPyConnection, survey: str, names: Sequence[str], rules: Estimators
) -> None:
    """Standard errors of each wave and of the difference, schools of both waves being one."""
    chosen = rules.change_breakdowns
    asked: dict[str, Any] = {
        "by_sets": [("pair", *BREAKDOWNS[breakdown], "wave") for breakdown in chosen],
        "level": rules.confidence,
    }
    alone = estimate_each(con, "change_pupils", _BOTH_WAVES, names, statistic="mean", **asked)
    both = estimate_each(con, "change_pupils", _BOTH_WAVES, names, statistic="difference", **asked)
    for breakdown, waves, differences in zip(chosen, alone, both, strict=True):
        con.register("found_waves", waves)
        con.register("found_both", differences)
        columns = ", ".join(("pair", *BREAKDOWNS[breakdown], "variable"))
        con.execute(f"""
            insert into change_se
            select
                pair, '{survey}', '{breakdown}', {group_sql(breakdown)}, variable,
                earlier.se, later.se, found_both.se, found_both.df
            from found_both
            inner join found_waves as earlier using ({columns})
            inner join found_waves as later using ({columns})
            where earlier.wave = '1' and later.wave = '2'
        """)
        con.unregister("found_waves")
        con.unregister("found_both")


def _add_scores(
    con: duckdb.DuckDBPyConnection, survey: str, breakdown: str, names: Sequence[str]
) -> None:
    """Each pupil's weighted distance from the wave's estimate: what the estimate varies by."""
    con.execute(f"""
        insert into change_scores
        with answers as (
            unpivot (
                select * exclude (stage, sex), {group_sql(breakdown)} as "group"
                from change_pupils
            )
            on {", ".join(names)}
            into name indicator value answer
        )
        select
            pair, '{survey}', '{breakdown}', "group", indicator, wave, seed_code, project_id,
            weight * (
                answer
                - if(wave = '1', cells.earlier_estimate, cells.later_estimate)
                / if(cells.statistic = 'pct', 100, 1)
            )
        from answers
        inner join change_cells as cells using (pair, "group", indicator)
        where cells.breakdown = '{breakdown}' and cells.reason = ''
    """)


def _correlations_sql(unit: str) -> str:
    """Correlation of two waves' estimates over units; sums of decimals follow no order."""
    return f"""
        select
            {_KEY}, count(*) filter (first is not null and second is not null) as shared_n,
            sum((first * second)::decimal(38, 9))::double
            / nullif(
                sqrt(
                    sum((first * first)::decimal(38, 9))::double
                    * sum((second * second)::decimal(38, 9))::double
                ),
                0
            ) as correlation
        from (
            select
                {_KEY}, {unit},
                sum(z) filter (wave = '1')::double as first,
                sum(z) filter (wave = '2')::double as second
            from change_scores
            group by all
        )
        group by all
    """


def _differences_sql() -> str:
    """The difference with its standard error: by schools of both waves, else by pupils."""

    def variance(wave: str) -> str:
        return f"""
            case
                when {wave}_effect is null then pow(if(statistic = 'pct', 100, 1) * {wave}_se, 2)
                when statistic = 'pct'
                    then {wave}_estimate * (100 - {wave}_estimate) * {wave}_effect / {wave}_n
                else pow({wave}_sd, 2) * {wave}_effect / {wave}_n
            end
        """

    return f"""
        with schools as ({_correlations_sql("seed_code")}),
        pupils as ({_correlations_sql("project_id")}),
        joined as (
            select
                cells.*, change_se.earlier_se, change_se.later_se, change_se.both_se,
                change_se.both_df,
                earlier_effect is null and later_effect is null and both_se is not null
                    as has_clusters,
                pupils.shared_n,
                coalesce(if(has_clusters, schools.correlation, pupils.correlation), 0)
                    as correlation,
                {variance("earlier")} as earlier_variance,
                {variance("later")} as later_variance
            from change_cells as cells
            left join change_se using ({_KEY})
            left join schools using ({_KEY})
            left join pupils using ({_KEY})
            where cells.reason = ''
        )
        select
            *,
            later_estimate - earlier_estimate as difference,
            case
                when has_clusters then if(statistic = 'pct', 100, 1) * both_se
                else
                    sqrt(
                        greatest(
                            earlier_variance + later_variance
                            - 2 * correlation * sqrt(earlier_variance * later_variance),
                            0
                        )
                    )
            end as se,
            case when has_clusters then both_df end as df
        from joined
        order by all
    """


def _test(con: duckdb.DuckDBPyConnection, rules: Estimators) -> None:
    """Make `change_tested`: intervals of all, p values of the headlines' totals."""
    found = con.execute("from change_found order by all").to_arrow_table()

    def column(name: str) -> Any:
        return np.asarray(found[name].cast(pa.float64()).to_numpy(), dtype=np.float64)

    se, df = column("se"), column("df")
    quantile = np.where(
        np.isnan(df), normal_quantile(rules.confidence), t_quantile(df, rules.confidence)
    )
    headline = np.isin(found["indicator"].to_pylist(), rules.headlines)
    is_tested = headline & np.isin(found["breakdown"].to_pylist(), ["total"]) & (se > 0)
    score = np.abs(column("difference")) / np.where(is_tested, se, 1.0)
    p_value = np.where(is_tested, two_sided(score, df), np.nan)
    table = found.append_column("half_width", floats_or_null(quantile * se))
    con.register("found", table.append_column("p_value", floats_or_null(p_value)))
    con.execute("create or replace temp table change_tested as from found")
    con.unregister("found")


def _rows_sql(rules: Estimators) -> str:
    """Every row with its reason; marked is what Holm rejects and is large enough (Table B)."""
    corrected = corrected_query("change_tested", "'holm'", family=["engagement"], tie=["indicator"])
    return f"""
        with marked as ({marked_query(rules, corrected, "earlier_sd")})
        select
            cells.engagement, cells.earlier_engagement, survey, cells.geography_code, breakdown,
            "group", indicator, cells.statistic, cells.earlier_n, cells.later_n,
            cells.earlier_numerator_n, cells.later_numerator_n,
            marked.shared_n::integer as shared_n,
            (cells.earlier_n + cells.later_n - 2 * marked.shared_n)::integer as changed_n,
            cells.earlier_estimate, cells.later_estimate, marked.difference, marked.correlation,
            marked.se, marked.df,
            marked.difference - marked.half_width as ci_low,
            marked.difference + marked.half_width as ci_high,
            marked.p_value, coalesce(marked.is_marked, false) as is_marked,
            {verdict_sql("cells.direction")} as verdict,
            cells.reason
        from change_cells as cells
        left join marked using ({_KEY})
        order by all
    """
