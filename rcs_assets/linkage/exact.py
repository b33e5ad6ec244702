"""Exact linkage: answers to the sample file by UID, education by SCN plus one agreement.

Belongs here: the exact passes, index numbers, project ids and the read-through, all as
set-based SQL on the vault's own connection, and the write of what may leave it. Does not
belong here: probabilistic passes, payload (no statement here names an answer), Dagster.

The spine is the engagement's sample file (design.md, "Spine of linkage"). Identifiers
never leave the vault's connection: what comes back is record ids, project ids and counts,
and vault and warehouse are never attached to one connection.

Project ids are a keyed function of the pupil's own row and of its engagement's file alone,
so that neither the order of deliveries nor the rerun of one engagement can change another's:

- a pupil with a well-formed SCN that stands once in the sample file, and a birth date:
  HMAC(project key, SCN and birth date). A child who moves between areas so keeps one id;
  the agreement asked for beside the SCN is the birth date, the one field that neither a
  move nor a new surname changes;
- anyone else: HMAC(project key, record id of the sample row).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from rcs_assets.storage import Home, hmac_expression, sql_literal

SURVEY_DATASETS = ("primary_survey", "secondary_survey")
DATASETS = ("sample", *SURVEY_DATASETS, "education")

# Order of the cascade (domain.md §3): the spine itself, then UID, then SCN plus one agreement.
PASS_SPINE = 0
PASS_UID = 1
PASS_SCN = 2

_IDS = """
create table if not exists linkage.project_ids (
    dataset varchar not null,
    engagement varchar not null,
    record_id varchar not null,
    project_id varchar not null,
    pass_no tinyint not null,
    weight_band varchar not null
)
"""
_RATES = """
create table if not exists linkage.link_rates (
    engagement varchar not null,
    dataset varchar not null,
    records_n integer not null,
    linked_n integer not null,
    ambiguous_n integer not null
)
"""


@dataclass(frozen=True)
class LinkKeys:
    """Keys of the pseudonyms: one for project ids, one for each dataset's index numbers."""

    project: bytes
    index: dict[str, bytes]


@dataclass(frozen=True)
class LinkedRows:
    """What leaves the vault, as pyarrow tables without any identifier.

    `project_ids`: dataset, engagement, record_id, project_id, pass_no, weight_band; linked
    records only. `link_rates`: engagement, dataset, records_n, linked_n, ambiguous_n.
    """

    project_ids: Any
    link_rates: Any


def link_keys(home: Home) -> LinkKeys:
    """The linkage keys of an installation."""
    return LinkKeys(
        project=home.key("project_id"),
        index={dataset: home.key(f"index_{dataset}") for dataset in DATASETS},
    )


def link_engagements(
    con: duckdb.DuckDBPyConnection, keys: LinkKeys, engagements: Sequence[str]
) -> LinkedRows:
    """Link the given engagements and write index numbers and read-through to the vault.

    Args:
        con: a writing connection to the vault and to nothing else.
        keys: keys of the pseudonyms.
        engagements: partition keys; rows of other engagements are neither read nor changed.

    Returns:
        What may leave the vault.

    Ambiguous records, that is, an UID or SCN that stands more than once on either side, are
    not linked, and counted in `ambiguous_n`.
    """
    hmac_expression(con, "project", keys.project)
    for dataset, key in keys.index.items():
        hmac_expression(con, f"index_{dataset}", key)
    chosen = ", ".join(sql_literal(key) for key in engagements) or "null"
    con.execute("begin")
    for statement in (
        _spine(chosen),
        _survey_links(chosen),
        _education_links(chosen),
        _links(),
    ):
        con.execute(statement)
    _write_vault(con, chosen)
    con.execute("commit")
    return LinkedRows(
        project_ids=con.execute(
            "select dataset, engagement, record_id, project_id, pass_no, 'exact' as weight_band "
            "from links where project_id is not null order by dataset, engagement, record_id"
        ).to_arrow_table(),
        link_rates=con.execute(
            "select engagement, dataset, count(*)::integer as records_n, "
            "count(project_id)::integer as linked_n, "
            "count_if(is_ambiguous)::integer as ambiguous_n "
            "from links where dataset <> 'sample' group by all order by all"
        ).to_arrow_table(),
    )


def write_linkage(
    con: duckdb.DuckDBPyConnection, rows: LinkedRows, engagements: Sequence[str]
) -> None:
    """Replace the given engagements in linkage.project_ids and linkage.link_rates.

    Args:
        con: a writing connection to the warehouse and to nothing else.
        rows: what `link_engagements` returned for these engagements.
        engagements: partition keys.
    """
    con.execute("create schema if not exists linkage")
    con.execute(_IDS)
    con.execute(_RATES)
    con.execute("begin")
    for table, columns, frame in (
        (
            "project_ids",
            "dataset, engagement, record_id, project_id, pass_no, weight_band",
            rows.project_ids,
        ),
        (
            "link_rates",
            "engagement, dataset, records_n, linked_n, ambiguous_n",
            rows.link_rates,
        ),
    ):
        con.execute(
            f"delete from linkage.{table} where engagement in (select unnest(?))",
            [list(engagements)],
        )
        con.register("linked_rows", frame)
        con.execute(f"insert into linkage.{table} ({columns}) select {columns} from linked_rows")
        con.unregister("linked_rows")
    con.execute("commit")


def _letters(column: str) -> str:
    """Capital letters without accents, spaces, hyphens or apostrophes; null if none is left."""
    return f"nullif(regexp_replace(upper(strip_accents({column})), '[^A-Z]', '', 'g'), '')"


def _postcode(column: str) -> str:
    return f"nullif(regexp_replace(upper({column}), '[^A-Z0-9]', '', 'g'), '')"


def _scn(column: str) -> str:
    """Nine digits or null. A failing check digit flags, never rejects (domain.md §3.5)."""
    digits = f"regexp_replace({column}, '[^0-9]', '', 'g')"
    return f"case when length({digits}) = 9 then {digits} end"


def _standardised(table: str, chosen: str) -> str:
    return f"""
        select
            engagement,
            record_id,
            nullif(trim(uid), '') as uid,
            {_scn("scn")} as scn,
            {_letters("surname")} as surname,
            {_letters("first_forename")} as first_forename,
            try_cast(date_of_birth as date) as date_of_birth,
            {_postcode("postcode")} as postcode
        from {table}
        where engagement in ({chosen})
    """


def _spine(chosen: str) -> str:
    """Sample rows with their project id, and whether linkage is allowed for the pupil."""
    return f"""
    create or replace temp table spine as
    with counted as (
        select
            *,
            count(*) over (partition by engagement, scn) as scn_n,
            count(*) over (partition by engagement, uid) as uid_n
        from ({_standardised("sample_identifiers", chosen)})
    )
    select
        counted.*,
        hmac_project(
            case
                when scn is not null and scn_n = 1 and date_of_birth is not null
                    then 'scn ' || scn || ' ' || date_of_birth::varchar
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


def _survey_links(chosen: str) -> str:
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


def _education_links(chosen: str) -> str:
    """Pass 2: an education record joins by SCN plus one agreement; never where opted out."""
    return f"""
    create or replace temp table education_links as
    with recorded as (
        select
            *,
            count(*) over (partition by engagement, scn) as scn_n
        from ({_standardised("education_identifiers", chosen)})
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
        spine.scn is not null and (recorded.scn_n > 1 or spine.scn_n > 1) as is_ambiguous
    from recorded
    left join (select distinct on (engagement, scn) * from spine where scn is not null) as spine
        on recorded.engagement = spine.engagement and recorded.scn = spine.scn
    """


def _links() -> str:
    return f"""
    create or replace temp table links as
    select
        'sample' as dataset, engagement, record_id, project_id,
        {PASS_SPINE} as pass_no, false as is_ambiguous
    from spine
    union all
    select dataset, engagement, record_id, project_id, pass_no, is_ambiguous from survey_links
    union all
    select dataset, engagement, record_id, project_id, pass_no, is_ambiguous from education_links
    """


def _write_vault(con: duckdb.DuckDBPyConnection, chosen: str) -> None:
    """Index numbers of every record, and the read-through of linked pupils (domain.md §3.4)."""
    con.execute(
        "create table if not exists index_numbers "
        "(dataset varchar, engagement varchar, record_id varchar, index_no varchar)"
    )
    con.execute(
        "create table if not exists read_through "
        "(engagement varchar, index_survey varchar, index_education varchar, "
        "project_id varchar, match_method varchar, weight_band varchar)"
    )
    cases = " ".join(
        f"when {sql_literal(dataset)} then hmac_index_{dataset}(record_id)" for dataset in DATASETS
    )
    con.execute(f"delete from index_numbers where engagement in ({chosen})")
    con.execute(
        "insert into index_numbers "
        f"select dataset, engagement, record_id, case dataset {cases} end from links"
    )
    con.execute(f"delete from read_through where engagement in ({chosen})")
    con.execute(f"""
    insert into read_through
    with numbered as (
        select links.*, numbers.index_no
        from links
        inner join index_numbers as numbers
            on
                links.dataset = numbers.dataset
                and links.engagement = numbers.engagement
                and links.record_id = numbers.record_id
        where links.project_id is not null and links.dataset <> 'sample'
    )
    select
        engagement,
        max(index_no) filter (where pass_no = {PASS_UID}) as index_survey,
        max(index_no) filter (where pass_no = {PASS_SCN}) as index_education,
        project_id,
        string_agg(
            distinct case pass_no when {PASS_UID} then 'uid' else 'scn' end, '+' order by
            case pass_no when {PASS_UID} then 'uid' else 'scn' end desc
        ) as match_method,
        'exact' as weight_band
    from numbered
    group by engagement, project_id
    """)
