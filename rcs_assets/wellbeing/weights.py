"""Weights of pupils: raked to the roll of CPP × stage × sex, survey by survey.

Belongs here: weighting classes, their collapse, and the write of wellbeing.weights. Does
not belong here: which estimate uses a weight (`estimates.py`) and variance (`estimation`).

Source: policy.md, Table B. The margin is one fully crossed table, so raking to it is one
step: the class's roll divided by its respondents. A class without respondents, or whose
weight would be more than a limit times its CPP's mean weight, is joined with the other sex
of its stage; a stage that is still such a class is joined with the stage of its survey that
has most respondents. Whatever is joined, weights sum to the roll of the CPP's survey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from rcs_assets.estimation import post_stratify

_TABLE = """
create table if not exists wellbeing.weights (
    record_id varchar not null,
    engagement varchar not null,
    survey varchar not null,
    stage varchar not null,
    sex varchar not null,
    weight double not null
)
"""


@dataclass(frozen=True)
class WeightsMade:
    """Rows written, cells of CPP × stage × sex that were joined, and the largest weight."""

    rows_n: int
    collapsed_cells_n: int
    largest_weight: float


def write_weights(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str], ratio_limit: float
) -> WeightsMade:
    """Replace the given engagements in wellbeing.weights.

    Args:
        con: a writing connection to the warehouse; reads programme.waves,
            intake.roll_counts and wellbeing.indicator_values.
        engagements: partition keys.
        ratio_limit: largest weight of a class as a multiple of its CPP's mean weight.

    Returns:
        What was made. A respondent whose stage is on no roll of the survey has no row.
    """
    con.execute("create schema if not exists wellbeing")
    con.execute(_TABLE)
    con.execute(
        "create or replace temp table weighted_keys as select unnest(?) as engagement",
        [list(engagements)],
    )
    for step in (_CELLS, _CLASSES.format(ratio_limit=float(ratio_limit)), _PUPILS, _ROLL):
        con.execute(step)
    con.execute("begin")
    con.execute("delete from wellbeing.weights where engagement in (from weighted_keys)")
    if con.execute("select count(*) from weighted_pupils").fetchall()[0][0]:
        made = post_stratify(
            con, "weighted_pupils", ("engagement", "survey", "class"), "weighting_roll"
        )
        con.register("made", made.table)
        con.execute(_WRITE)
        con.unregister("made")
    con.execute("commit")
    rows_n, largest = con.execute(
        "select count(*), coalesce(max(weight), 0) from wellbeing.weights "
        "where engagement in (from weighted_keys)"
    ).fetchall()[0]
    collapsed = con.execute(
        "select count(*) from weighting_classes where class <> stage || ' ' || sex"
    ).fetchall()[0][0]
    return WeightsMade(int(rows_n), int(collapsed), float(largest))


# The roll and the respondents of each cell of a survey; cells nobody is on the roll of drop out.
_CELLS = """
create or replace temp table weighting_cells as
with rolls as (
    select
        waves.engagement,
        waves.survey,
        roll.stage,
        roll.sex,
        sum(roll.roll_n) as roll_n,
    from programme.waves as waves
    inner join intake.roll_counts as roll
        on waves.engagement = roll.engagement and list_contains(waves.stages, roll.stage)
    where
        waves.engagement in (from weighted_keys)
        and waves.survey in ('primary', 'secondary')
    group by all
),
respondents as (
    select engagement, survey, stage, sex, count(*) as respondents_n,
    from wellbeing.indicator_values
    where engagement in (from weighted_keys)
    group by all
)
select
    rolls.*,
    coalesce(respondents.respondents_n, 0) as respondents_n,
from rolls
left join respondents using (engagement, survey, stage, sex)
where rolls.roll_n > 0
"""

# Two joins: sex within stage, then stage within survey. `is_weak` says that a class needs one.
_CLASSES = """
create or replace temp table weighting_classes as
with means as (
    select
        *,
        sum(roll_n) over survey_of_cpp / nullif(sum(respondents_n) over survey_of_cpp, 0)
            * {ratio_limit} as weight_limit,
    from weighting_cells
    window survey_of_cpp as (partition by engagement, survey)
),
by_sex as (
    select
        *,
        bool_or(respondents_n = 0 or roll_n / respondents_n > weight_limit)
            over stage_of_survey as has_weak_sex,
        sum(roll_n) over stage_of_survey as stage_roll_n,
        sum(respondents_n) over stage_of_survey as stage_respondents_n,
    from means
    window stage_of_survey as (partition by engagement, survey, stage)
),
by_stage as (
    select
        *,
        stage_respondents_n = 0 or stage_roll_n / stage_respondents_n > weight_limit
            as is_weak_stage,
        first_value(stage) over (
            partition by engagement, survey order by stage_respondents_n desc, stage
        ) as largest_stage,
    from by_sex
),
hosts as (
    select
        *,
        bool_or(is_weak_stage) over (partition by engagement, survey) as has_guests,
    from by_stage
)
select
    engagement,
    survey,
    stage,
    sex,
    roll_n,
    respondents_n,
    case
        when is_weak_stage or (has_guests and stage = largest_stage) then largest_stage || '+'
        when has_weak_sex then stage
        else stage || ' ' || sex
    end as class,
from hosts
"""

_PUPILS = """
create or replace temp table weighted_pupils as
select
    pupils.record_id,
    pupils.engagement,
    pupils.survey,
    pupils.stage,
    pupils.sex,
    classes.class,
from wellbeing.indicator_values as pupils
inner join weighting_classes as classes using (engagement, survey, stage, sex)
"""

_ROLL = """
create or replace temp table weighting_roll as
select
    engagement,
    survey,
    class,
    sum(roll_n) as roll_n,
from weighting_classes
group by engagement, survey, class
having sum(respondents_n) > 0
"""

_WRITE = """
insert into wellbeing.weights
select
    record_id,
    engagement,
    survey,
    stage,
    sex,
    made.weight,
from weighted_pupils
inner join made using (record_id)
order by engagement, record_id
"""
