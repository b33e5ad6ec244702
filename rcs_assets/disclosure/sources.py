"""The relations that protection reads, from warehouse, register and codebook.

Belongs here: registering them on a connection under the names in `Sources`. Does not belong
here: what is done with them (`rules.py`, `estimates_audit.py`), Dagster.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.cells import SMALL_SUFFIX, Sources
from rcs_assets.disclosure.geographies import geography_table
from rcs_assets.disclosure.profile import score_limits
from rcs_assets.programme import Programme

_GEOGRAPHIES = f"""
create or replace temp table sdc_geographies as
select geography_level, geography_code, geography_name from sdc_areas
union
select 'school', seed_code, school_name from intake.school_list
union
select 'cluster', cluster_code, min(cluster_name) from intake.clusters group by cluster_code
union
select 'cluster', cluster_code || '{SMALL_SUFFIX}',
    min(cluster_name) || ', small schools together'
from intake.clusters
group by cluster_code
"""


def register_sources(
    con: duckdb.DuckDBPyConnection,
    programme: Programme,
    codebook: Codebook,
    engagements: Sequence[str],
) -> Sources:
    """Register what protection reads as temporary tables `sdc_*`.

    Args:
        con: a warehouse connection.
        programme: the register, for names of areas.
        codebook: which indicators are sensitive, and what their scores can be.
        engagements: those that are released.
    """
    indicators = list(codebook.indicators.values())
    limits = score_limits(codebook)
    # Of a percentage of a score, too, one pupil is one.
    scores = [
        limits.get(i.rule.score if i.statistic == "mean" else "", (None, None)) for i in indicators
    ]
    _temporary(
        con,
        "sdc_indicators",
        pa.table(
            {
                "indicator": pa.array([i.name for i in indicators], pa.string()),
                "is_sensitive": pa.array([i.is_sensitive for i in indicators], pa.bool_()),
                "score_low": pa.array([low for low, _ in scores], pa.float64()),
                "score_high": pa.array([high for _, high in scores], pa.float64()),
            }
        ),
    )
    _temporary(con, "sdc_areas", geography_table(programme, engagements))
    con.execute(_GEOGRAPHIES)
    con.execute(
        "create or replace temp table sdc_clusters as "
        "select engagement, seed_code, cluster_code from intake.clusters where is_sdc_cluster"
    )
    return Sources(
        estimates="wellbeing.estimates",
        indicators="sdc_indicators",
        respondents="wellbeing.respondents",
        clusters="sdc_clusters",
        geographies="sdc_geographies",
        weights="wellbeing.weights",
    )


def _temporary(con: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    con.register("sdc_rows", table)
    con.execute(f"create or replace temp table {name} as from sdc_rows")
    con.unregister("sdc_rows")
