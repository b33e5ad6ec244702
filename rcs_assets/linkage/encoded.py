"""Councils that sent encodings in the place of identifiers: their extracts to the sample file.

Belongs here: which engagements these are, and links of education and social work by the engine, on
the vault's connection. Does not belong here: what an encoding is (`encodings.py`), taking the files
in (`intake/encoded.py`), engagements with identifiers (`exact.py`, `social_work.py`).

There is no SCN: a record joins by its UID, where the council holds it, else by how many bits its
encoding shares with a pupil's. Nobody can look at an encoding and decide, so nothing waits for a
clerk: what is doubtful stays unlinked, and counts as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa

from rcs_assets.linkage.encodings import load_encoding_rules
from rcs_assets.linkage.engine import filled, link
from rcs_assets.linkage.missed import Quality, add_chances
from rcs_assets.linkage.settings import LinkSettings
from rcs_assets.storage import sql_list, sql_literal

_COLUMNS = {"education": "record_id, uid, clk", "social_work": "record_id, clk"}


def encoded_engagements(
    con: duckdb.DuckDBPyConnection, engagements: Sequence[str]
) -> tuple[str, ...]:
    """Those of the engagements whose sample file holds encodings."""
    rows = con.execute(
        "select distinct engagement from sample_identifiers where clk is not null order by all"
    ).fetchall()
    return tuple(str(row[0]) for row in rows if row[0] in engagements)


def link_encoded(
    con: duckdb.DuckDBPyConnection, settings: LinkSettings, engagements: Sequence[str]
) -> Quality:
    """Fill the temp table `encoded_links` from the vault's tables and `spine`.

    Args:
        con: a connection to the vault, with the temp tables `spine` and `missed_chances` and the
            views `education_records` and `social_work_records`.
        settings: of the engine; the threshold is that of the rules of encodings.
        engagements: those of `encoded_engagements`.

    Returns:
        Estimated quality of each file's links.

    A record that matches a pupil who opted out of linkage is dropped after matching: left out of
    the candidates, he would leave his record to another.
    """
    con.execute(
        "create or replace temp table encoded_found (dataset varchar, engagement varchar, "
        "left_id varchar, right_id varchar, pass_no tinyint, weight double, probability double, "
        "band varchar)"
    )
    rules = load_encoding_rules(settings.overlay)
    chosen = replace(settings, auto_weight=rules.auto_weight)
    quality: Quality = {}
    for engagement in engagements:
        for dataset, columns in _COLUMNS.items():
            pupils = _encodings(con, "sample_identifiers", engagement, columns)
            records = _encodings(con, f"{dataset}_records", engagement, columns)
            if not pupils.num_rows or not records.num_rows:
                continue
            links = link(pupils, records, chosen)
            quality[dataset, engagement] = links.quality
            add_chances(con, dataset, engagement, links.missed)
            con.register("new_links", links.table)
            con.execute(
                f"insert into encoded_found select {sql_literal(dataset)}, "
                f"{sql_literal(engagement)}, * from new_links"
            )
            con.unregister("new_links")
    con.execute(_links_query(sql_list(engagements)))
    return quality


def _encodings(
    con: duckdb.DuckDBPyConnection, table: str, engagement: str, columns: str
) -> pa.Table:
    """The engagement's rows, without a UID where none stands there."""
    rows = con.execute(
        f"select {columns} from {table} where engagement = ?", [engagement]
    ).to_arrow_table()
    return filled(rows)


def _links_query(chosen: str) -> str:
    """Every record with its link."""
    records = " union all ".join(
        f"select '{dataset}' as dataset, engagement, record_id from {dataset}_records "
        f"where engagement in ({chosen})"
        for dataset in _COLUMNS
    )
    return f"""
    create or replace temp table encoded_links as
    select
        records.engagement,
        records.dataset,
        records.record_id,
        case
            when found.band in ('exact', 'auto') and not spine.is_opted_out
                then spine.project_id
        end as project_id,
        found.pass_no,
        false as is_ambiguous,
        found.weight,
        found.probability,
        nullif(found.band, 'clerical') as band
    from ({records}) as records
    left join encoded_found as found
        on
            records.dataset = found.dataset
            and records.engagement = found.engagement
            and records.record_id = found.right_id
    left join spine
        on found.engagement = spine.engagement and found.left_id = spine.record_id
    """
