"""Small random programmes with known truth, for the attacks.

Belongs here: drawing pupils and counting them into the columns of `wellbeing.estimates`.
Does not belong here: protecting (`rcs_assets.disclosure`) and attacking (`attacker.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

STAGES = ("S1", "S2", "S3")
ESTIMATE_COLUMNS = """
    tranche varchar, engagement varchar, survey varchar, geography_level varchar,
    geography_code varchar, breakdown varchar, "group" varchar, indicator varchar,
    statistic varchar, roll_n bigint, base_n bigint, numerator_n bigint, estimate double,
    ci_low double, ci_high double, method varchar, design_effect double, schools_n bigint,
    reason varchar
"""


@dataclass(frozen=True)
class Shape:
    """What is drawn: CPPs a tranche, pupils a CPP, rates, and how uneven SIMD is."""

    tranches: tuple[int, ...] = (2, 2, 1)
    pupils: tuple[int, int] = (60, 900)
    rate: float = 0.15
    response: float = 0.73
    unknown_simd: float = 0.05
    is_sensitive: bool = False
    statistic: str = "pct"


def draw_pupils(shape: Shape, seed: int) -> pa.Table:
    """One row a pupil on the roll: place, keys, answered or not, positive or not."""
    rng = np.random.default_rng(seed)
    parts = []
    for tranche, cpps in enumerate(shape.tranches, start=1):
        for number in range(cpps):
            n = int(rng.integers(*shape.pupils))
            stages = rng.choice(STAGES, n, p=rng.dirichlet([8, 8, 8]))
            simd = rng.choice(5, n, p=rng.dirichlet([2.0] * 5)) + 1
            known = rng.random(n) >= shape.unknown_simd
            rate = np.clip(shape.rate * rng.uniform(0.4, 1.6), 0, 1)
            parts.append(
                pa.table(
                    {
                        "tranche": [f"t{tranche}"] * n,
                        "engagement": [f"t{tranche}-cpp{number}"] * n,
                        "sex": rng.choice(["F", "M"], n, p=[0.5, 0.5]),
                        "stage": stages,
                        "simd": [str(q) if k else None for q, k in zip(simd, known, strict=True)],
                        "answered": rng.random(n) < shape.response,
                        "positive": rng.random(n) < rate,
                    }
                )
            )
    return pa.concat_tables(parts)


def count_estimates(con: duckdb.DuckDBPyConnection, shape: Shape, seed: int) -> None:
    """Make `estimates`, `indicators` and `geographies` on `con` from a drawn programme."""
    con.register("pupil", draw_pupils(shape, seed))
    con.execute(f"create or replace table estimates ({ESTIMATE_COLUMNS})")
    levels = {
        "cpp": ("tranche", "engagement"),
        "tranche": ("tranche", "null"),
        "all": ("null", "null"),
    }
    breakdowns = {
        "total": ("'all'", "'all' in ('all')"),
        "sex": ("sex", "sex is not null"),
        "stage": ("stage", "stage is not null"),
        "simd_quintile": ("simd", "simd is not null"),
    }
    numerator = "count(*) filter (where answered and positive)"
    if shape.statistic == "mean":
        numerator = "null"
    for level, (tranche, engagement) in levels.items():
        for breakdown, (group, condition) in breakdowns.items():
            con.execute(f"""
                insert into estimates
                with cells as (
                    select {tranche} as tranche, {engagement} as engagement, {group} as "group",
                        count(*) as roll_n, count(*) filter (where answered) as base_n,
                        {numerator} as numerator_n,
                        avg(3.0 + positive::int) filter (where answered) as mean,
                    from pupil where {condition} group by all
                )
                select tranche, engagement, 'secondary', '{level}',
                    coalesce(engagement, tranche, 'all'), '{breakdown}', "group", 'measure',
                    '{shape.statistic}',
                    {"null" if breakdown == "simd_quintile" else "roll_n"}, base_n, numerator_n,
                    {
                "mean" if shape.statistic == "mean" else "100.0 * numerator_n / nullif(base_n, 0)"
            },
                    null, null, {"'t'" if shape.statistic == "mean" else "'wilson'"}, 1.0, 3,
                    if(base_n = 0, 'no_data', '')
                from cells
            """)
    con.execute(
        "create or replace table indicators as "
        f"select 'measure' as indicator, {shape.is_sensitive} as is_sensitive"
    )
    con.execute(
        "create or replace table geographies as select distinct geography_level, geography_code, "
        "geography_code as geography_name from estimates"
    )


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a small table."""
    return list(table.to_pylist())


def engagements(con: duckdb.DuckDBPyConnection) -> Sequence[str]:
    """The CPPs of the programme."""
    found = con.execute("select distinct engagement from pupil order by 1").fetchall()
    return [row[0] for row in found]
