"""How questions were answered and scored, in figures: frames that the suites judge.

Belongs here: aggregate queries over `wellbeing.item_answers`, `wellbeing.scores` and
`wellbeing.estimates`. Does not belong here: limits (`data_quality`), Dagster
(`checks.py`), and anything a row a child.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from rcs_assets.codebook import Codebook
from rcs_assets.codebook.model import Item, Scale, ScaleMethod
from rcs_assets.wellbeing.breakdowns import PUPIL_SURVEYS

if TYPE_CHECKING:
    import pandas as pd


# Fewer answers than this say nothing about a question (a routed one can have few).
LEAST_ANSWERS_N = 50
# That nobody answers otherwise is telling of so many (1 in 333 does so where three are expected
# among them), or where it is as unlikely as this by what the other areas answer.
ALIKE_N, ALIKE_BY_CHANCE = 1000, 0.001


def wellbeing_profiles(
    con: duckdb.DuckDBPyConnection, codebook: Codebook
) -> dict[str, pd.DataFrame]:
    """The profile frames of answers and scores.

    Args:
        con: a warehouse connection; read only.
        codebook: names variables, the stages that are asked, scales and their items.

    Returns:
        `items` (engagement × pupil survey × variable: skipped_pct, not_said_pct,
        top_option_pct and, for items of scales, rest_correlation) and `scores`
        (engagement × survey × score: scored_pct, mean). Figures of questions with fewer
        than 50 answers are null, and so is top_option_pct where all answers may be alike by
        chance (a rare drug that nobody in one area takes).
    """
    scores = " union all ".join(
        _score_sql(codebook, survey, scale) for survey, scale in _scales(codebook)
    )
    return {
        "items": con.execute(_items_sql(codebook)).df(),
        "scores": con.execute(f"{scores} order by all").df(),
    }


def estimates_profile(con: duckdb.DuckDBPyConnection) -> dict[str, pd.DataFrame]:
    """The profile frame `estimates`: figures of CPPs and above, before protection.

    Published figures are held against these and not against protected cells, of which a
    small programme shows too few to judge.
    """
    return {
        "estimates": con.execute("""
            select
                survey, indicator, geography_level, geography_code, breakdown, "group", estimate
            from wellbeing.estimates
            where geography_level in ('cpp', 'tranche', 'all')
            order by all
        """).df()
    }


def _scales(codebook: Codebook) -> list[tuple[str, Scale]]:
    return [
        (survey, scale)
        for instrument in codebook.instruments.values()
        for survey in instrument.surveys
        if survey in PUPIL_SURVEYS
        for scale in instrument.scales
    ]


def _items_sql(codebook: Codebook) -> str:
    counts = " union all ".join(_codes_sql(codebook, survey) for survey in PUPIL_SURVEYS)
    # The two answers of a matrix are looked up together: they need not run alike.
    correlations = " union all ".join(
        _correlations_sql(survey, scale)
        for survey, scale in _scales(codebook)
        if scale.method is not ScaleMethod.MATRIX
    )
    return f"""
        with codes as ({counts}),
        shares as (
            select
                engagement,
                survey,
                variable,
                sum(n) as asked_n,
                sum(if(code >= 0, n, 0)) as valid_n,
                100.0 * sum(if(code = -9, n, 0)) / sum(n) as skipped_pct,
                100.0 * sum(if(code = -1, n, 0)) / sum(n) as not_said_pct,
                arg_max(code, (n, -code)) filter (where code >= 0) as top_code,
                max(n) filter (where code >= 0) as top_n,
            from codes
            group by all
        ),
        alike as (
            select
                s.engagement, s.survey, s.variable,
                100.0 * any_value(s.top_n) / any_value(s.valid_n) as top_option_pct,
                sum(if(c.code = s.top_code, c.n, 0)) / sum(c.n) as elsewhere_share,
            from shares as s
            left join codes as c
                on c.survey = s.survey and c.variable = s.variable
                and c.engagement <> s.engagement and c.code >= 0
            where s.valid_n >= {LEAST_ANSWERS_N}
            group by all
        ),
        correlations as (
            select engagement, survey, variable, min(r) as rest_correlation,
            from ({correlations})
            group by all
        )
        select
            engagement,
            survey,
            variable,
            case when asked_n >= {LEAST_ANSWERS_N} then skipped_pct end as skipped_pct,
            case when asked_n >= {LEAST_ANSWERS_N} then not_said_pct end as not_said_pct,
            case
                when valid_n >= {ALIKE_N} or pow(elsewhere_share, valid_n) < {ALIKE_BY_CHANCE}
                    then top_option_pct
            end as top_option_pct,
            case when valid_n >= {LEAST_ANSWERS_N} then rest_correlation end as rest_correlation,
        from shares
        left join alike using (engagement, survey, variable)
        left join correlations using (engagement, survey, variable)
        order by all
    """


def _codes_sql(codebook: Codebook, survey: str) -> str:
    """Counts by code among the pupils who were asked: their stage has the question, no routing."""
    names = ", ".join(variable.name for variable in codebook.variables_of(survey))
    return f"""
        select engagement, survey, variable, code, sum(n) as n
        from (
            select engagement, survey, stage, variable, code, count(*) as n
            from (
                unpivot (
                    select engagement, survey, stage, {names} from wellbeing.item_answers
                    where survey = '{survey}' and stage is not null
                )
                on {names} into name variable value code
            )
            where code not in (-4, -5, -6)
            group by all
        ) as given
        semi join codebook.variable_stages as asked
            on
                given.variable = asked.name
                and given.survey = asked.survey
                and given.stage = asked.stage
        group by all
    """


def _correlations_sql(survey: str, scale: Scale) -> str:
    """Of each item with the sum of the others of its scale, both turned the same way."""
    total = " + ".join(_oriented(item) for item in scale.items)
    columns = ", ".join(
        f"corr({_oriented(item)}, {total} - {_oriented(item)}) as {item.variable}"
        for item in scale.items
    )
    names = ", ".join(item.variable for item in scale.items)
    complete = " and ".join(f"{item.variable} >= 0" for item in scale.items)
    return f"""
        select engagement, '{survey}' as survey, variable, r
        from (
            unpivot (
                select engagement, {columns}
                from wellbeing.item_answers
                where survey = '{survey}' and {complete}
                group by engagement
            )
            on {names} into name variable value r
        )
    """


def _oriented(item: Item) -> str:
    if item.is_reversed:
        return f"({item.minimum + item.maximum} - {item.variable})"
    return item.variable


def _score_sql(codebook: Codebook, survey: str, scale: Scale) -> str:
    """Of the pupils of the stages that are asked every item of the scale."""
    stages = set.intersection(
        *(set(codebook.variables[item.variable].stages) for item in scale.items)
    )
    listed = ", ".join(f"'{stage}'" for stage in sorted(stages))
    return f"""
        select
            scores.engagement,
            scores.survey,
            '{scale.name}' as score,
            100.0 * count({scale.name}) / count(*) as scored_pct,
            avg({scale.name}) as mean
        from wellbeing.scores
        inner join wellbeing.item_answers as answers using (record_id)
        where scores.survey = '{survey}' and answers.stage in ({listed})
        group by all
    """
