"""How well the councils' records were linked, group by group: a table of the safe haven.

Belongs here: link rates by what the payload tells, computed in the warehouse after project
ids have left the vault, and their union with the counts that only the vault could make.
Does not belong here: identifiers (no query here could see one), rates of whole files
(`engagements.py`), anything that is released.

Linkage errors fall on the children of interest (methods.md A): a rate that differs between
groups biases every table made from the links.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import duckdb
import jinja2
import pyarrow as pa
import yaml

import rcs_assets
from rcs_assets.linkage.engagements import replace_engagements
from rcs_assets.linkage.settings import Groups
from rcs_assets.storage import sql_literal

TABLE = "link_rates_by_group"
BREAKDOWNS = {
    "primary_survey": ("total",),
    "secondary_survey": ("total",),
    "education": (
        "total", "sex", "has_scn", "stage", "simd_quintile", "looked_after", "ethnicity",
    ),
    "social_work": (
        "total", "sex", "has_scn", "looked_after_status", "open_case", "child_protection_12m",
    ),
}  # fmt: skip
# Breakdowns that the vault counts, since only identifiers tell them.
IDENTIFIED = ("sex", "has_scn")
_COLUMNS = (
    "engagement varchar not null, dataset varchar not null, breakdown varchar not null, "
    '"group" varchar not null, records_n integer not null, linked_n integer not null, '
    "linked_pct double not null, ci_low double not null, ci_high double not null"
)


def write_link_rates_by_group(
    con: duckdb.DuckDBPyConnection,
    identified: pa.Table,
    engagements: Sequence[str],
    groups: Groups,
) -> int:
    """Replace the given engagements in linkage.link_rates_by_group.

    Args:
        con: a writing connection to the warehouse, where `linkage.project_ids` is current.
        identified: counts that left the vault (`LinkedRows.identified_groups`).
        engagements: partition keys.
        groups: smallest group, in records, and confidence of the intervals. Smaller groups
            are joined as `other`, which is left out too where it stays small.

    Returns:
        Number of rows written.

    Rates are per cent with Wilson intervals: engagement, dataset, breakdown, "group",
    records_n, linked_n, linked_pct, ci_low, ci_high.
    """
    con.execute(f"create table if not exists linkage.{TABLE} ({_COLUMNS})")
    chosen = ", ".join(sql_literal(key) for key in engagements) or "null"
    con.register("identified_groups", identified)
    rates = con.execute(_rates(_counts(chosen), groups)).to_arrow_table()
    con.unregister("identified_groups")
    con.execute("begin")
    replace_engagements(con, TABLE, rates, engagements)
    con.execute("commit")
    return int(rates.num_rows)


def _counts(chosen: str) -> str:
    """Counts of records and of linked ones, by dataset, breakdown and group."""
    parts = [
        _grouped(dataset, table, BREAKDOWNS[dataset], chosen)
        for dataset, table in (
            ("primary_survey", "intake.primary_survey"),
            ("secondary_survey", "intake.secondary_survey"),
            ("education", f"({_education()})"),
            ("social_work", f"({_SOCIAL_WORK})"),
        )
    ]
    parts.append(
        'select engagement, dataset, breakdown, "group", records_n, linked_n from identified_groups'
    )
    return " union all ".join(parts)


_SOCIAL_WORK = """
    select
        engagement,
        record_id,
        looked_after_status,
        if(open_case, 'Y', 'N') as open_case,
        if(child_protection_12m, 'Y', 'N') as child_protection_12m
    from intake.social_work
"""


def _education() -> str:
    return f"""
    select
        payload.engagement,
        payload.record_id,
        payload.stage,
        coalesce(zones.quintile::varchar, 'not known') as simd_quintile,
        if(payload.looked_after, 'Y', 'N') as looked_after,
        {_census_macros().ethnicity_group("payload.ethnic_background")} as ethnicity
    from intake.education as payload
    left join intake.simd as zones
        on payload.datazone = zones.datazone and zones.vintage = {sql_literal(simd_vintage())}
    """


def _grouped(dataset: str, table: str, breakdowns: Sequence[str], chosen: str) -> str:
    columns = [name for name in breakdowns if name not in IDENTIFIED]
    values = ", ".join("'all' as total" if name == "total" else name for name in columns)
    return f"""
        select
            engagement,
            '{dataset}' as dataset,
            breakdown,
            "group",
            count(*)::integer as records_n,
            count(project_id)::integer as linked_n
        from (
            unpivot (
                select
                    records.engagement, ids.project_id,
                    {values}
                from {table} as records
                left join linkage.project_ids as ids
                    on
                        ids.dataset = '{dataset}'
                        and records.engagement = ids.engagement
                        and records.record_id = ids.record_id
                where records.engagement in ({chosen})
            )
            on {", ".join(columns)}
            into name breakdown value "group"
        )
        group by all
    """


def _rates(counts: str, groups: Groups) -> str:
    smallest, z = groups.min_records, NormalDist().inv_cdf(0.5 + groups.confidence / 2)
    z2 = z**2
    return f"""
        with joined as (
            select
                engagement,
                dataset,
                breakdown,
                if(records_n >= {smallest} or breakdown = 'total', "group", 'other') as "group",
                sum(records_n)::integer as records_n,
                sum(linked_n)::integer as linked_n
            from ({counts})
            group by all
            having sum(records_n) >= {smallest}
        ),
        shares as (
            select *, linked_n / records_n as p, records_n::double as n from joined
        ),
        limits as (
            select
                *,
                (p + {z2 / 2} / n) / (1 + {z2} / n) as centre,
                {z} * sqrt(p * (1 - p) / n + {z2 / 4} / n ** 2) / (1 + {z2} / n) as half
            from shares
        )
        select
            engagement,
            dataset,
            breakdown,
            "group",
            records_n,
            linked_n,
            round(100 * p, 4) as linked_pct,
            round(100 * greatest(0, least(p, centre - half)), 4) as ci_low,
            round(100 * least(1, greatest(p, centre + half)), 4) as ci_high
        from limits
        order by engagement, dataset, breakdown, "group"
    """


def _dbt_project() -> Path:
    return Path(rcs_assets.__file__).resolve().parents[1] / "dbt_project"


@cache
def simd_vintage() -> str:
    """One vintage for all tranches, as the dbt models use it (domain.md 4.1)."""
    project = yaml.safe_load((_dbt_project() / "dbt_project.yml").read_text(encoding="utf-8"))
    return str(project["vars"]["simd_vintage"])


@cache
def _census_macros() -> Any:
    """The census groups stand once, in the dbt project's macros."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_dbt_project() / "macros"), undefined=jinja2.StrictUndefined
    )
    return environment.get_template("pupil_census.sql").module
