"""Inverse-linkage weights: each linked record stands for those of its kind that were missed.

Belongs here: `linkage.link_weights`, computed in the warehouse from project ids, delivered
payload and the chances to have been missed. Does not belong here: what the weights do to a
result (`services/link_effects.py`), cells (`data/quality.yaml`).

The weight of a cell is its expected number of pairs of one child, right links and missed ones,
for each linked record. A cell with too few linked records joins the other small ones at the
next coarser level, so that no record is counted twice; the weights of a file add up to its pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from rcs_assets.linkage.by_group import SOCIAL_WORK_GROUPS, education_groups, load_chances
from rcs_assets.linkage.engagements import LinkedRows, replace_engagements, wrong_share
from rcs_assets.linkage.received import PASS_READ_THROUGH
from rcs_assets.linkage.settings import LinkRules, QualityRules
from rcs_assets.storage import sql_list

TABLE = "link_weights"
_COLUMNS = (
    "engagement varchar not null, dataset varchar not null, record_id varchar not null, "
    "project_id varchar not null, cell varchar not null, link_weight double not null"
)


def write_link_weights(
    con: duckdb.DuckDBPyConnection,
    rows: LinkedRows,
    engagements: Sequence[str],
    rules: LinkRules,
    quality: QualityRules,
) -> int:
    """Replace the given engagements in linkage.link_weights.

    One row a linked record of a council: engagement, dataset, record_id, project_id, cell,
    link_weight (about 1, more where links were missed). What an outside indexer linked has none.

    Args:
        con: a writing connection to the warehouse, where `linkage.project_ids` is current.
        rows: what left the vault.
        engagements: partition keys.
        rules: how often each pass is right.
        quality: the cells.

    Returns:
        Number of rows written.
    """
    con.execute(f"create table if not exists linkage.{TABLE} ({_COLUMNS})")
    load_chances(con, rows)
    chosen = sql_list(engagements)
    payloads = {"education": education_groups(), "social_work": SOCIAL_WORK_GROUPS}
    parts = [
        _weights(dataset, payloads[dataset], chosen, wrong_share(rules), cells, quality)
        for dataset, cells in quality.weight_cells.items()
    ]
    weights = con.execute(" union all ".join(f"({part})" for part in parts)).to_arrow_table()
    con.execute("begin")
    replace_engagements(con, TABLE, weights, engagements)
    con.execute("commit")
    return int(weights.num_rows)


def _weights(
    dataset: str,
    payload: str,
    chosen: str,
    wrong: str,
    cells: Sequence[Sequence[str]],
    quality: QualityRules,
) -> str:
    levels = [*(_cell(cell) for cell in cells), "'all'"]
    steps = [
        f"""
        level_0 as (
            select
                records.engagement, records.record_id, ids.project_id,
                if(ids.project_id is null, 0, 1 - coalesce({wrong}, 0)) as right_n,
                coalesce(chances.chance, 0) as missed,
                {", ".join(f"{sql} as cell_{n}" for n, sql in enumerate(levels))}
            from ({payload}) as records
            left join linkage.project_ids as ids
                on
                    ids.dataset = '{dataset}'
                    and records.engagement = ids.engagement
                    and records.record_id = ids.record_id
            left join chances
                on
                    chances.dataset = '{dataset}'
                    and chances.side = 'record'
                    and records.engagement = chances.engagement
                    and records.record_id = chances.record_id
            where
                records.engagement in ({chosen})
                and ids.pass_no is distinct from {PASS_READ_THROUGH}
        )
        """
    ]
    found = []
    for n in range(len(levels)):
        least = quality.least_linked if n < len(levels) - 1 else 1
        steps.append(
            f"""
        sums_{n} as (
            select
                *,
                count(project_id) over cells as cell_linked_n,
                (
                    sum(right_n::decimal(18, 9)) over cells
                    + sum(missed::decimal(18, 9)) over cells
                )::double as cell_pairs
            from level_{n}
            window cells as (partition by engagement, cell_{n})
        ),
        level_{n + 1} as (
            select * exclude (cell_linked_n, cell_pairs)
            from sums_{n}
            where cell_linked_n < {least}
        )
        """
        )
        found.append(
            f"""
            select
                engagement, '{dataset}' as dataset, record_id, project_id, cell_{n} as cell,
                round(cell_pairs / cell_linked_n, 6) as link_weight
            from sums_{n}
            where cell_linked_n >= {least} and project_id is not null
        """
        )
    return f"with {', '.join(steps)} {' union all '.join(found)}"


def _cell(columns: Sequence[str]) -> str:
    parts = ", ' ', ".join(f"'{column} ', {column}" for column in columns)
    return f"concat({parts})"
