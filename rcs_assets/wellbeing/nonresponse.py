"""Who did not answer: pupils (unit) and single questions (item), by subgroup, for the inside.

Belongs here: counts and rates of both kinds and what weights do about the first. Does not belong
here: weights themselves (`weights.py`), what of response is published (`disclosure.participation`).

Unit: invited pupils of the wave's stages who have no weight, that is, no linked answers. Item: of
the pupils who were asked, those without a valid answer, by reason; who was routed past a question,
or whose stage or wave was not asked it, was not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.codebook.model import Codebook
from rcs_assets.wellbeing.breakdowns import PUPIL_SURVEYS, ROLL_BREAKDOWNS, group_sql, listed

# Reasons that say that a pupil had no question before him (codebook, missing_codes.csv).
_NOT_ASKED = ("data_not_collected", "question_not_asked_of_stage", "not_applicable")
_REASONS = ("prefer_not_to_say", "dont_know", "does_not_apply", "not_answered")
# Subgroups of questions: what the sample file has, and deprivation, which an answer's record has.
_ITEM_BREAKDOWNS = ("total", "stage", "sex", "simd_quintile")


def write_nonresponse(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, engagements: Sequence[str]
) -> int:
    """Make wellbeing.unit_nonresponse and wellbeing.item_nonresponse anew.

    unit_nonresponse: a row an engagement, survey, breakdown (total, stage, sex, stage:sex) and
    group: roll_n (the roll that weights are raked to), respondents_n, nonresponse_pct, mean_weight,
    effective_n (Kish: squared sum of weights by the sum of their squares) and weighting_effect
    (respondents_n / effective_n: what unequal weights cost). Null where nobody answered.

    item_nonresponse: a row an engagement, survey, question, breakdown (total, stage, sex,
    simd_quintile) and group: asked_n, valid_n, one column a reason (prefer_not_to_say_n,
    dont_know_n, does_not_apply_n, not_answered_n) and nonresponse_pct, the share of asked pupils
    without a valid answer; questions that a wave asked nobody have no row.

    Args:
        con: a writing connection to the warehouse.
        codebook: questions and codes of missing answers.
        engagements: the engagements that enter.

    Returns:
        Number of rows written, of both.
    """
    con.register("scope_list", pa.table({"engagement": pa.array(list(engagements), pa.string())}))
    con.execute("create or replace temp table scope as from scope_list")
    con.unregister("scope_list")
    con.execute("create or replace table wellbeing.unit_nonresponse as " + _unit_sql())
    con.execute("create or replace table wellbeing.item_nonresponse as " + _item_sql(codebook))
    counts = con.execute(
        "select (select count(*) from wellbeing.unit_nonresponse) "
        "+ (select count(*) from wellbeing.item_nonresponse)"
    ).fetchall()
    return int(counts[0][0])


def _unit_sql() -> str:
    parts = " union all ".join(
        f"""
        select
            engagement, survey, '{breakdown}' as breakdown, {group_sql(breakdown)} as "group",
            sum(roll_n)::integer as roll_n, sum(respondents_n)::integer as respondents_n,
            sum(weights) as weights, sum(squares) as squares
        from cells
        group by all
        """
        for breakdown in ROLL_BREAKDOWNS
    )
    return f"""
        with rolls as (
            select waves.engagement, waves.survey, stage, sex, sum(roll_n) as roll_n
            from programme.waves as waves
            inner join intake.roll_counts as roll
                on
                    waves.engagement = roll.engagement
                    and list_contains(waves.stages, roll.stage)
            where waves.engagement in (from scope) and waves.survey in ({listed(PUPIL_SURVEYS)})
            group by all
        ),
        answered as (
            select
                engagement, survey, stage, sex, count(*) as respondents_n,
                sum(weight::decimal(18, 9)) as weights,
                sum((weight * weight)::decimal(18, 9)) as squares
            from wellbeing.weights
            where engagement in (from scope)
            group by all
        ),
        cells as (
            select
                engagement, survey, stage, sex, coalesce(roll_n, 0) as roll_n,
                coalesce(respondents_n, 0) as respondents_n, weights, squares
            from rolls
            full join answered using (engagement, survey, stage, sex)
        ),
        groups as ({parts})
        select
            engagement, survey, breakdown, "group", roll_n, respondents_n,
            100 * (1 - respondents_n / nullif(roll_n, 0)) as nonresponse_pct,
            weights::double / nullif(respondents_n, 0) as mean_weight,
            pow(weights::double, 2) / nullif(squares::double, 0) as effective_n,
            respondents_n * squares::double / pow(nullif(weights::double, 0), 2)
                as weighting_effect
        from groups
        order by all
    """


def _item_sql(codebook: Codebook) -> str:
    codes = {code.name: code.code for code in codebook.missing.values()}
    not_asked = ", ".join(str(codes[name]) for name in _NOT_ASKED)
    names = [name for name, v in codebook.variables.items() if set(v.surveys) & set(PUPIL_SURVEYS)]
    counts = "".join(
        f", coalesce(sum(n) filter (answer = {codes[name]}), 0)::integer as {name}_n"
        for name in _REASONS
    )
    parts = " union all ".join(
        f"""
        select
            engagement, survey, variable, '{breakdown}' as breakdown,
            {group_sql(breakdown)} as "group", sum(n)::integer as asked_n,
            coalesce(sum(n) filter (answer is null), 0)::integer as valid_n {counts}
        from cells
        where {group_sql(breakdown)} is not null
        group by all
        """
        for breakdown in _ITEM_BREAKDOWNS
    )
    # Counted once by all columns of groups; a valid answer is null, whatever it says.
    return f"""
        with answers as (
            unpivot (
                select engagement, survey, stage, sex, simd_quintile, {", ".join(names)}
                from wellbeing.item_answers
                -- Of answers without a pupil on the roll nobody knows what was asked.
                where engagement in (from scope) and stage is not null and sex is not null
            )
            on {", ".join(names)}
            into name variable value code
        ),
        cells as (
            select
                engagement, survey, stage, sex, simd_quintile, variable,
                if(code >= 0, null, code) as answer, count(*) as n
            from answers
            where code not in ({not_asked})
            group by all
        ),
        groups as ({parts})
        select *, 100 * (1 - valid_n / asked_n) as nonresponse_pct
        from groups
        order by all
    """
