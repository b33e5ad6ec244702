"""The linked microdata of the safe haven.

Belongs here: which pupil-level tables go in, without any id of the warehouse. Does not
belong here: microdata for CPPs and the archive, which are anonymised (`deposit.py`).

Ids are keyed for the purpose `safe_haven` and the engagement (design.md, Zones), and rows
are ordered by the new id, so that neither ids nor order lead back to the warehouse or to
another package. Data zone, SEED code and record ids stay inside. Inverse-linkage weights stand
beside the answers here and nowhere else: no weight but a coarse one leaves the safe haven
(policy.md).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from rcs_assets.storage import hmac_expression, sql_literal

PURPOSE = "safe_haven"
_ID_LENGTH = 32  # 128 bits: no two ids meet

_SCOPE = "engagement in (select engagement from release_geographies)"

_PERSON_SQL = """
create or replace temp table release_person as
select
    linked.record_id, linked.engagement, linked.survey,
    left({key}('{purpose}|' || linked.engagement || '|response|' || linked.survey || '|'
        || linked.record_id), {length}) as response_id,
    left({key}('{purpose}|' || linked.engagement || '|person|' || linked.project_id), {length})
        as person_id,
    left({key}('{purpose}|' || linked.engagement || '|school|' || linked.seed_code), {length})
        as school_id,
from linkage.linked as linked
where linked.{scope}
"""

_TABLES = {
    "linked": """
        select
            person.response_id, person.person_id, person.school_id, linked.engagement,
            linked.tranche, linked.survey, linked.is_linked, linked.has_education,
            linked.education_pass, linked.stage, linked.sex, linked.simd_quintile,
            linked.ethnicity_group, linked.free_school_meal, linked.has_asn,
            linked.has_asn_but_other, linked.has_asn_support, linked.has_social_work,
            linked.social_work_pass, linked.looked_after, linked.looked_after_status,
            linked.child_protection_12m, linked.has_open_case, linked.has_childs_plan,
            round(weights.weight, 6)::decimal(15, 6) as weight,
            round(links.education, 6)::decimal(15, 6) as education_link_weight,
            round(links.social_work, 6)::decimal(15, 6) as social_work_link_weight
        from linkage.linked as linked
        inner join release_person as person using (record_id, engagement, survey)
        left join (
            select
                engagement, project_id,
                max(link_weight) filter (dataset = 'education') as education,
                max(link_weight) filter (dataset = 'social_work') as social_work
            from linkage.link_weights
            group by all
        ) as links using (engagement, project_id)
        left join wellbeing.weights as weights using (record_id, engagement, survey)
    """,
    "item_answers": """
        select person.response_id, answers.* exclude (
            record_id, engagement, tranche, survey, seed_code, stage, sex, simd_quintile
        )
        from wellbeing.item_answers as answers
        inner join release_person as person using (record_id, engagement, survey)
    """,
    "scores": """
        select person.response_id, scores.* exclude (record_id, engagement, survey)
        from wellbeing.scores as scores
        inner join release_person as person using (record_id, engagement, survey)
    """,
}


def write_microdata(
    con: duckdb.DuckDBPyConnection, key: bytes, folder: Path, *, is_simulated: bool
) -> None:
    """Write `linked`, `item_answers` and `scores` as Parquet into `folder`.

    Args:
        con: a connection to the warehouse with `release_geographies` registered.
        key: 32 bytes; the same key and rows give the same ids.
        folder: is made.
        is_simulated: marks the files SIMULATED in their metadata.
    """
    folder.mkdir(parents=True)
    macro = hmac_expression(con, "release", key)
    con.execute(_PERSON_SQL.format(key=macro, purpose=PURPOSE, length=_ID_LENGTH, scope=_SCOPE))
    mark = "SIMULATED" if is_simulated else "no"
    for name, sql in _TABLES.items():
        con.execute(
            f"copy (select * from ({sql}) order by response_id) "
            f"to {sql_literal(folder / f'{name}.parquet')} "
            f"(format parquet, compression zstd, kv_metadata {{simulated: '{mark}'}})"
        )
    con.execute("drop table release_person")
