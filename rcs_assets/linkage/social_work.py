"""Social work records to the pupils of the sample file, engagement by engagement.

Belongs here: handing one engagement's identifiers to the engine and keeping what comes
back, on the vault's connection. Does not belong here: how pairs are found (`engine.py`),
and payload.

One engagement's links depend on its own files alone: the model is the shipped one, so that
relinking one council gives what the full run gave (methods.md A3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.linkage.engine import filled, link_each
from rcs_assets.linkage.missed import Quality, add_chances
from rcs_assets.linkage.settings import LinkSettings
from rcs_assets.linkage.standardise import scn
from rcs_assets.storage import sql_list, sql_literal

_PERSON = "scn, surname, first_forename, second_forename, sex, date_of_birth, postcode"


def link_social_work(
    con: duckdb.DuckDBPyConnection, settings: LinkSettings, engagements: Sequence[str]
) -> Quality:
    """Fill the temp table `social_work_links` from the vault's tables and `spine`.

    Args:
        con: a connection to the vault, with the temp tables `spine`, `missed_chances` and `judged`
            (what clerks decided) and the view `social_work_records`.
        settings: of the engine.
        engagements: partition keys.

    Returns:
        Estimated quality of each engagement's links.

    A record that matches a pupil who opted out of linkage is dropped after matching: left
    out of the candidates, he would leave his record to a twin.
    """
    con.execute(
        "create or replace temp table found (engagement varchar, left_id varchar, "
        "right_id varchar, pass_no tinyint, weight double, probability double, band varchar)"
    )
    quality: Quality = {}
    files = {}
    for engagement in engagements:
        pupils = _identifiers(con, "sample_identifiers", engagement, _PERSON)
        records = _identifiers(
            con, "social_work_records", engagement, f"{_PERSON}, previous_surname"
        )
        if pupils.num_rows and records.num_rows:
            decided = replace(settings, decided=_decided(con, engagement, pupils, records))
            files[engagement] = (pupils, records, decided)
    for engagement, links in zip(files, link_each([*files.values()]), strict=True):
        quality["social_work", engagement] = links.quality
        add_chances(con, "social_work", engagement, links.missed)
        con.register("new_links", links.table)
        con.execute(f"insert into found select {sql_literal(engagement)}, * from new_links")
        con.unregister("new_links")
    con.execute(_links_query(sql_list(engagements)))
    return quality


def _identifiers(con: duckdb.DuckDBPyConnection, table: str, engagement: str, columns: str) -> Any:
    """The engagement's rows, without the columns that its file leaves empty."""
    rows = con.execute(
        f"select record_id, {columns} from {table} where engagement = ?", [engagement]
    ).to_arrow_table()
    return filled(rows)


def _decided(
    con: duckdb.DuckDBPyConnection, engagement: str, pupils: pa.Table, records: pa.Table
) -> pa.Table:
    """The pairs of these records that clerks decided, as far as the decisions hold.

    Of two decisions that join one record with two, neither is followed; nor is one on a record
    that is not linked now, for instance for want of a payload.
    """
    con.register("pupil_rows", pupils)
    con.register("record_rows", records)
    known = con.execute(
        """
        with holding as (
            select left_id, right_id, verdict = 'same' as is_same
            from judged
            where engagement = ? and is_settled and outcome = 'holds' and verdict <> 'unsure'
        ),
        single as (
            select *
            from holding
            qualify
                not is_same
                or (
                    count(*) over (partition by left_id, is_same) = 1
                    and count(*) over (partition by right_id, is_same) = 1
                )
        )
        select single.*
        from single
        semi join pupil_rows on single.left_id = pupil_rows.record_id
        semi join record_rows on single.right_id = record_rows.record_id
        order by all
        """,
        [engagement],
    ).to_arrow_table()
    con.unregister("pupil_rows")
    con.unregister("record_rows")
    return known


def _links_query(chosen: str) -> str:
    """Every record with its link; a clerical pair is a proposal and brings no project id."""
    return f"""
    create or replace temp table social_work_links as
    with recorded as (
        select
            engagement,
            record_id,
            {scn("scn")} as scn,
            count(*) over (partition by engagement, {scn("scn")}) as scn_n
        from social_work_records
        where engagement in ({chosen})
    ),
    shared as (
        select distinct engagement, scn from spine where scn_n > 1
    )
    select
        recorded.engagement,
        'social_work' as dataset,
        recorded.record_id,
        case
            when found.band in ('exact', 'decided', 'auto') and not spine.is_opted_out
                then spine.project_id
        end as project_id,
        found.pass_no,
        recorded.scn is not null and (recorded.scn_n > 1 or shared.scn is not null)
        as is_ambiguous,
        found.weight,
        found.probability,
        found.band
    from recorded
    left join shared on recorded.engagement = shared.engagement and recorded.scn = shared.scn
    left join found
        on recorded.engagement = found.engagement and recorded.record_id = found.right_id
    left join spine
        on found.engagement = spine.engagement and found.left_id = spine.record_id
    """
