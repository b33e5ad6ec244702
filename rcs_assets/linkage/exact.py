"""Exact linkage of the files that carry a number: answers by UID, education by SCN.

Belongs here: the spine and its project ids, and the passes of the two files, as set-based
SQL on the vault's own connection. Does not belong here: social work (`social_work.py`), the
order of steps and what is written (`engagements.py`), payload, Dagster.

The spine is the engagement's sample file (design.md, "Spine of linkage").

Project ids are a keyed function of the pupil's own row and of its engagement's file alone,
so that neither the order of deliveries nor the rerun of one engagement can change another's:

- a pupil with a well-formed SCN that stands once in the sample file, and a birth date:
  HMAC(project key, SCN and birth date). A child who moves between areas so keeps one id;
  the agreement asked for beside the SCN is the birth date, the one field that neither a
  move nor a new surname changes;
- else a pupil whose surname, forename, sex and birth date stand together once in the sample
  file, the date being no 1 January (that may stand for a year alone): HMAC(project key, these
  four). A child who moves between areas without a number keeps one id where both files write
  them alike; two children of two areas who share all four are rarer than wrong numbers, and no
  two of one area can meet.
- anyone else: HMAC(project key, record id of the sample row).
"""

from __future__ import annotations

from rcs_assets.linkage.standardise import known, standardised

SURVEY_DATASETS = ("primary_survey", "secondary_survey")

# Order of the cascade (domain.md §3): the spine itself, then UID, then SCN plus one agreement.
PASS_SPINE = 0
PASS_UID = 1
PASS_SCN = 2


def standardised_rows(table: str, chosen: str) -> str:
    """Identifiers of a vault table in the form in which the exact passes compare them."""
    fields = ("scn", "surname", "first_forename", "sex", "date_of_birth", "postcode")
    cells = ", ".join(f"{known(field)} as {field}" for field in fields)
    columns = ", ".join(f"{standardised(field, field)} as {field}" for field in fields)
    return f"""
        with cells as materialized (
            select engagement, record_id, uid, {cells}
            from {table}
            where engagement in ({chosen})
        )
        select
            engagement,
            record_id,
            nullif(trim(uid), '') as uid,
            {columns}
        from cells
    """


def spine_query(chosen: str) -> str:
    """Sample rows with their project id, and whether linkage is allowed for the pupil."""
    return f"""
    create or replace temp table spine as
    with counted as (
        select
            *,
            count(*) over (partition by engagement, scn) as scn_n,
            count(*) over (partition by engagement, uid) as uid_n,
            count(*) over (
                partition by engagement, surname, first_forename, sex, date_of_birth
            ) as identity_n
        from ({standardised_rows("sample_identifiers", chosen)})
    )
    select
        counted.*,
        hmac_project(
            case
                when scn is not null and scn_n = 1 and date_of_birth is not null
                    then 'scn ' || scn || ' ' || date_of_birth::varchar
                when
                    scn is null and identity_n = 1 and surname is not null
                    and first_forename is not null and sex is not null
                    and not (month(date_of_birth) = 1 and day(date_of_birth) = 1)
                    then concat_ws(
                        ' ', 'identity', surname, first_forename, sex, date_of_birth::varchar
                    )
                else 'record ' || record_id
            end
        ) as project_id,
        exists (
            select 1
            from opt_outs
            where
                opt_outs.engagement = counted.engagement
                and opt_outs.uid = counted.uid
                and opt_outs.scope in ('linkage', 'all')
        ) as is_opted_out
    from counted
    """


def survey_query(chosen: str) -> str:
    """Pass 1: an answer record joins the sample by UID, or not at all."""
    return f"""
    create or replace temp table survey_links as
    with answered as (
        select
            engagement,
            survey || '_survey' as dataset,
            record_id,
            nullif(trim(uid), '') as uid,
            count(*) over (partition by engagement, survey, nullif(trim(uid), '')) as uid_n
        from survey_identifiers
        where engagement in ({chosen}) and survey || '_survey' in {SURVEY_DATASETS}
    )
    select
        answered.engagement,
        answered.dataset,
        answered.record_id,
        case when answered.uid_n = 1 and spine.uid_n = 1 then spine.project_id end as project_id,
        {PASS_UID} as pass_no,
        spine.uid is not null and (answered.uid_n > 1 or spine.uid_n > 1) as is_ambiguous
    from answered
    left join (select distinct on (engagement, uid) * from spine where uid is not null) as spine
        on answered.engagement = spine.engagement and answered.uid = spine.uid
    """


def education_query(chosen: str) -> str:
    """Pass 2: an education record joins by SCN plus one agreement; never where opted out."""
    return f"""
    create or replace temp table education_links as
    with recorded as (
        select
            *,
            count(*) over (partition by engagement, scn) as scn_n
        from ({standardised_rows("education_records", chosen)})
    )
    select
        recorded.engagement,
        'education' as dataset,
        recorded.record_id,
        case
            when
                recorded.scn_n = 1 and spine.scn_n = 1 and not spine.is_opted_out
                and (
                    coalesce(recorded.surname = spine.surname, false)
                    or coalesce(recorded.first_forename = spine.first_forename, false)
                    or coalesce(recorded.date_of_birth = spine.date_of_birth, false)
                    or coalesce(recorded.postcode = spine.postcode, false)
                )
                then spine.project_id
        end as project_id,
        {PASS_SCN} as pass_no,
        spine.scn is not null and (recorded.scn_n > 1 or spine.scn_n > 1) as is_ambiguous,
        coalesce(spine.is_opted_out, false) as is_refused
    from recorded
    left join (select distinct on (engagement, scn) * from spine where scn is not null) as spine
        on recorded.engagement = spine.engagement and recorded.scn = spine.scn
    """
