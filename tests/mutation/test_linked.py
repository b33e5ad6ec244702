"""Boundary linked: mutated tables, as linkage and dbt would hand them over, trip exactly one.

A mutated delivery would need a dbt build each; so the tables that stand at the boundary
are mutated, and profile and suite run on them for real.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from data_quality import evaluate
from rcs_assets.linkage.checks import SUITE
from rcs_assets.linkage.profile import linkage_profiles
from rcs_assets.wellbeing.profile import wellbeing_profiles

# Every so many records of a stage and sex of an engagement's survey: the same ones each time.
EVEN = """
    record_id in (
        select record_id from linkage.linked
        where engagement = '{engagement}' and survey = '{survey}' {also}
        window place as (partition by stage, sex order by record_id)
        qualify floor(row_number() over place * {share})
            > floor((row_number() over place - 1) * {share})
    )
"""


def some(share: float, survey: str = "secondary", also: str = "") -> str:
    return EVEN.format(engagement="{engagement}", survey=survey, share=share, also=also)


UNLINKED = """
    update linkage.linked
    set is_linked = false, project_id = null, seed_code = null, stage = null, sex = null,
        has_education = false, simd_quintile = null
    where
"""
NO_EDUCATION = "update linkage.linked set has_education = false, simd_quintile = null where "
# The smallest schools, until more than a quarter of those with ten or more pupils is gone.
SILENT_SCHOOLS = """
    delete from linkage.linked
    where engagement = '{engagement}' and survey = 'primary' and seed_code in (
        select seed_code
        from intake.roll_counts
        where engagement = '{engagement}' and stage like 'P%'
        group by seed_code
        having sum(roll_n) >= 10
        qualify row_number() over (order by sum(roll_n), seed_code) <= 0.3 * count(*) over () + 1
    )
"""
ITEM = "update wellbeing.item_answers set {change} where engagement = '{{engagement}}' and {where}"


def item(change: str, where: str) -> str:
    return ITEM.format(change=change, where=where)


MUTATIONS = {
    "answers_link_to_the_sample": UNLINKED + some(0.1),
    "pupils_link_to_education": NO_EDUCATION + some(0.2),
    "links_work_alike_for_both_sexes": NO_EDUCATION + some(0.12, also="and sex = 'F'"),
    "deprivation_is_known": "update linkage.linked set simd_quintile = null where " + some(0.2),
    "every_stage_responds": "delete from linkage.linked where "
    + some(0.7, also="and stage = 'S4'"),
    "most_schools_respond": SILENT_SCHOOLS,
    "both_sexes_respond": "delete from linkage.linked where " + some(0.35, also="and sex = 'F'"),
    "identifiers_belong_to_one_child": "update linkage.link_rates set ambiguous_n = records_n / 20 "
    "where engagement = '{engagement}' and dataset = 'education'",
    "social_work_records_link_to_pupils": "update linkage.link_rates "
    "set linked_n = records_n / 2 where engagement = '{engagement}' and dataset = 'social_work'",
    "few_links_wait_for_a_clerk": "update linkage.link_rates set clerical_n = records_n / 10 "
    "where engagement = '{engagement}' and dataset = 'social_work'",
    "social_work_links_are_right": "update linkage.link_rates set estimated_precision = 0.95 "
    "where engagement = '{engagement}' and dataset = 'social_work'",
    "no_question_is_skipped_by_many": item(
        "happy_at_school = -9", "survey = 'secondary' and " + some(0.4)
    ),
    "few_prefer_not_to_say": item("happy_at_school = -1", "survey = 'secondary' and " + some(0.4)),
    "no_question_has_one_answer": item(
        "internet_access = 1", "survey = 'secondary' and internet_access >= 0"
    ),
    "items_run_with_their_scale": item("sdq_3 = 2 - sdq_3", "survey = 'secondary' and sdq_3 >= 0"),
    "most_pupils_have_scores": "update wellbeing.scores set life_satisfaction = null where "
    + some(0.6, survey="primary"),
    **{
        f"mean_of_{scale}_is_plausible": f"update wellbeing.scores set {scale} = {highest} "
        f"where engagement = '{{engagement}}' and {scale} is not null"
        for scale, highest in {
            "sdq_emotional": 10,
            "sdq_conduct": 10,
            "sdq_hyperactivity": 10,
            "sdq_peer": 10,
            "sdq_prosocial": 10,
            "wemwbs_total": 70,
            "life_satisfaction": 20,
            "mood_score": 5,
        }.items()
    },
}


def judged(con: duckdb.DuckDBPyConnection, platform: Any) -> Any:
    frames = linkage_profiles(con) | wellbeing_profiles(con, platform.codebook)
    return evaluate(SUITE, frames)


def test_every_expectation_has_a_mutation() -> None:
    assert set(MUTATIONS) == {expectation.name for expectation in SUITE.expectations}


def test_the_untouched_tables_pass(
    spoilt: duckdb.DuckDBPyConnection, platform: Any, failed: Any
) -> None:
    assert failed(judged(spoilt, platform)) == set()


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_table_fails_exactly_this_one(
    name: str, spoilt: duckdb.DuckDBPyConnection, platform: Any, engagement: str, failed: Any
) -> None:
    spoilt.execute(MUTATIONS[name].replace("{engagement}", engagement))
    assert failed(judged(spoilt, platform)) == {name}


def test_a_rare_answer_that_nobody_gives_in_one_area_is_no_fault(
    spoilt: duckdb.DuckDBPyConnection, platform: Any, engagement: str, failed: Any
) -> None:
    rare = "drugs_use_last_year_type_cyroban"
    spoilt.execute(f"""
        update wellbeing.item_answers
        set {rare} = if(engagement <> '{engagement}' and rowid % 50 = 0, 1, 0)
        where survey = 'secondary' and stage = 'S4'
    """)
    frames = wellbeing_profiles(spoilt, platform.codebook)
    asked = spoilt.execute(
        f"select count(*) filter (where {rare} = 1) > 0, count(*) > 50 "
        "from wellbeing.item_answers where survey = 'secondary' and stage = 'S4' "
        "group by engagement"
    ).fetchall()
    assert sorted(asked) == [(False, True), (True, True)]
    assert failed(evaluate(SUITE, linkage_profiles(spoilt) | frames)) == set()
