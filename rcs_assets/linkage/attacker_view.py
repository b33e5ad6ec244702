"""What a council that supplied the records knows of its pupils: the intruder's table.

Belongs here: the council's own payload with stage, sex, school and SIMD of each pupil of the
sample file under a salted id, made in the warehouse. Does not belong here: names, dates,
postcodes (no query here could see a name), answers, and the attack itself (disclosure).

The intruder for a CPP's file is the council that supplied the records (policy.md, How
protection is judged). `disclosure.reidentify` attacks a released file with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from rcs_assets.linkage.by_group import simd_vintage
from rcs_assets.linkage.engagements import replace_engagements
from rcs_assets.storage import hmac_expression, sql_list, sql_literal

TABLE = "attacker_view"
# Case dates are payload, but a day tells a child from others as a birth date does.
_COLUMNS = {
    "engagement": "varchar not null",
    "salted_id": "varchar not null",
    "seed_code": "varchar not null",
    "stage": "varchar not null",
    "sex": "varchar not null",
    "simd_quintile": "integer",
    "has_education": "boolean not null",
    "datazone": "varchar",
    "ethnic_background": "varchar",
    "level_of_english": "varchar",
    "free_school_meal": "boolean",
    "asn_types": "varchar",
    "asn_needs": "varchar",
    "looked_after": "boolean",
    "attendance_pct": "double",
    "exclusions_n": "integer",
    "has_social_work": "boolean not null",
    "looked_after_status": "varchar",
    "placement": "varchar",
    "child_protection_12m": "boolean",
    "open_case": "boolean",
    "childs_plan": "boolean",
}


def salted_id_macro(con: duckdb.DuckDBPyConnection, key: bytes) -> str:
    """Register the macro that turns a project id into `salted_id`, and return its name.

    Args:
        con: any connection; the macro is temporary and the key stays in its variables.
        key: the installation's key `attacker_view`. Who judges an attack needs it, to see
            whether a pupil was found; who attacks must not have it.
    """
    return hmac_expression(con, "attacker", key)


def write_attacker_view(
    con: duckdb.DuckDBPyConnection, key: bytes, engagements: Sequence[str]
) -> int:
    """Replace the given engagements in linkage.attacker_view.

    Args:
        con: a writing connection to the warehouse, where `linkage.project_ids` is current.
        key: of the salt.
        engagements: partition keys; one without project ids loses its rows.

    Returns:
        Number of rows written: one a pupil of the sample file with a project id, whether or
        not it answered. `simd_quintile` is 1 (most deprived) to 5; attendance is per cent.
        What education or social work supplied is null where no record of theirs is linked.
        Pupils who refused linkage stand here with what the sample file has, and with no
        council record.
    """
    definition = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    con.execute(f"create table if not exists linkage.{TABLE} ({definition})")
    chosen = sql_list(engagements)
    rows = con.execute(_view(salted_id_macro(con, key), chosen)).to_arrow_table()
    con.execute("begin")
    replace_engagements(con, TABLE, rows, engagements)
    con.execute("commit")
    return int(rows.num_rows)


def _view(macro: str, chosen: str) -> str:
    """One row a pupil, in the order of its salted id: the order of the files tells nothing."""
    return f"""
        with links as (
            select dataset, engagement, record_id, project_id
            from linkage.project_ids
            where engagement in ({chosen})
        ),
        education as (
            select payload.*, links.project_id
            from intake.education as payload
            inner join links using (engagement, record_id)
            where links.dataset = 'education'
        ),
        social_work as (
            select payload.*, links.project_id
            from intake.social_work as payload
            inner join links using (engagement, record_id)
            where links.dataset = 'social_work'
        )
        select
            pupils.engagement,
            {macro}(links.project_id) as salted_id,
            pupils.seed_code,
            pupils.stage,
            pupils.sex,
            zones.quintile as simd_quintile,
            education.project_id is not null as has_education,
            education.datazone,
            education.ethnic_background,
            education.level_of_english,
            education.free_school_meal,
            education.asn_types,
            education.asn_needs,
            education.looked_after,
            education.attendance_pct,
            education.exclusions_n,
            social_work.project_id is not null as has_social_work,
            social_work.looked_after_status,
            social_work.placement,
            social_work.child_protection_12m,
            social_work.open_case,
            social_work.childs_plan
        from intake.sample as pupils
        inner join links
            on
                links.dataset = 'sample'
                and pupils.engagement = links.engagement
                and pupils.record_id = links.record_id
        left join education
            on
                links.engagement = education.engagement
                and links.project_id = education.project_id
        left join social_work
            on
                links.engagement = social_work.engagement
                and links.project_id = social_work.project_id
        left join intake.simd as zones
            on
                education.datazone = zones.datazone
                and zones.vintage = {sql_literal(simd_vintage())}
        order by pupils.engagement, salted_id
    """
