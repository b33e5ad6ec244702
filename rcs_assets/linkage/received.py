"""Links that an outside indexer made (NRS): its read-through in the place of the cascade.

Belongs here: which engagements have one, and links by its index numbers, as set-based SQL on
the vault's connection. Does not belong here: taking the files in (`intake/exchange.py`), own
linkage (`exact.py`, `social_work.py`), payload.

The indexer's number of a child is made into one of ours under the project key, so that a
rotation of the key changes it and two engagements never meet in it. The read-through tells of
answers and councils' records only: the pupil of the sample file is found by the UID of the
answers, and a record without answers stays unlinked.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from rcs_assets.linkage.exact import SURVEY_DATASETS

PASS_READ_THROUGH = 11
# Name in the exchange files (domain.md 3.4) → dataset.
COUNCIL = {"edu": "education", "sw": "social_work"}


def received_engagements(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str]
) -> tuple[str, ...]:
    """Those of the engagements for which an outside indexer returned a read-through."""
    rows = con.execute(
        "select distinct engagement from read_through_received order by all"
    ).fetchall()
    return tuple(str(row[0]) for row in rows if row[0] in engagements)


def received_numbers() -> str:
    """Index numbers that an indexer returned: dataset, engagement, record_id, index_no."""
    council = " union all ".join(
        f"select '{dataset}' as dataset, engagement, record_id, index_no "
        f"from index_return_{name} where record_id is not null"
        for name, dataset in COUNCIL.items()
    )
    return f"""
        select survey || '_survey' as dataset, engagement, record_id, index_no
        from index_return_survey
        inner join survey_identifiers using (engagement, record_id)
        union all
        {council}
    """


def link_received(con: duckdb.DuckDBPyConnection, chosen: str) -> None:
    """Put the links of the read-through into `spine`, `survey_links` and `received_links`.

    Args:
        con: the vault's connection, with the temp tables `spine` and `survey_links` and the
            macro `hmac_project`.
        chosen: engagements with a read-through, as SQL literals.
    """
    con.execute(f"""
    create or replace temp table received as
    with named as (
        unpivot (
            select
                engagement,
                hmac_project('read-through ' || engagement || ' ' || project_id) as project_id,
                if(match_weight_band = 'auto', 'auto', 'exact') as band,
                index_survey,
                index_edu,
                index_sw
            from read_through_received
            where engagement in ({chosen})
        )
        on index_survey, index_edu, index_sw
        into name file value index_no
    )
    select numbers.dataset, engagement, numbers.record_id, named.project_id, named.band
    from named
    inner join ({received_numbers()}) as numbers using (engagement, index_no)
    where named.file = case numbers.dataset
        when 'education' then 'index_edu' when 'social_work' then 'index_sw'
        else 'index_survey'
    end
    """)
    con.execute(f"""
    update spine
    set project_id = known.project_id
    from (
        select received.engagement, answered.uid, received.project_id
        from received
        inner join survey_identifiers as answered using (engagement, record_id)
        where received.dataset in {SURVEY_DATASETS}
    ) as known
    where spine.engagement = known.engagement and spine.uid = known.uid and spine.uid_n = 1
    """)
    con.execute(f"delete from survey_links where engagement in ({chosen})")
    con.execute(_records_query(chosen))


def _records_query(chosen: str) -> str:
    """Every record of the engagements with its link, or without one."""
    council = " union all ".join(
        f"select '{dataset}' as dataset, engagement, record_id from {dataset}_records"
        for dataset in COUNCIL.values()
    )
    return f"""
    create or replace temp table received_links as
    with records as (
        select survey || '_survey' as dataset, engagement, record_id
        from survey_identifiers
        where survey || '_survey' in {SURVEY_DATASETS}
        union all
        {council}
    )
    select
        dataset,
        engagement,
        record_id,
        case
            when dataset in {SURVEY_DATASETS} or not spine.is_opted_out then spine.project_id
        end as project_id,
        {PASS_READ_THROUGH}::tinyint as pass_no,
        false as is_ambiguous,
        null::double as weight,
        null::double as probability,
        coalesce(received.band, 'exact') as band
    from records
    left join received using (dataset, engagement, record_id)
    left join spine
        on records.engagement = spine.engagement and received.project_id = spine.project_id
    where records.engagement in ({chosen})
    """
