"""Levels and breakdowns as columns of the pupils: what an area and a group are in SQL.

Belongs here: the vocabulary that counts, designs and the grid of estimates share. Does not
belong here: which level has which breakdown (`data/estimators.yaml`).
"""

from __future__ import annotations

from typing import Final

from rcs_assets.codebook import PUPIL_SURVEYS as PUPIL_SURVEYS

# Column of the pupils that names the area of a level. A SEED or a cluster can stand in two
# waves of one council, so both are named together with their engagement.
AREAS: Final = {
    "school": "school_area",
    "cluster": "cluster_area",
    "cpp": "engagement",
    "tranche": "tranche",
    "all": "everywhere",
}
# Levels whose estimates are unweighted counts of pupils (policy.md, Table B).
COUNTED_LEVELS: Final = ("school", "cluster")

# Columns of the pupils that make the groups of a breakdown.
BREAKDOWNS: Final[dict[str, tuple[str, ...]]] = {
    "total": (),
    "stage": ("stage",),
    "sex": ("sex",),
    "stage:sex": ("stage", "sex"),
    "simd_quintile": ("simd_quintile",),
    "looked_after": ("looked_after",),
    "ethnicity": ("ethnicity",),
    "asn": ("asn",),
}
# The sample file has no more than these columns, so only their groups have a known roll.
ROLL_BREAKDOWNS: Final = ("total", "stage", "sex", "stage:sex")
STAGE_BREAKDOWNS: Final = ("stage", "stage:sex")


def group_sql(breakdown: str) -> str:
    """Group of a pupil as SQL: `all`, `S4`, `S4:F`; null where a column is unknown."""
    columns = BREAKDOWNS[breakdown]
    return " || ':' || ".join(f"{name}::varchar" for name in columns) if columns else "'all'"


def listed(values: tuple[str, ...]) -> str:
    """Texts as the inside of a SQL list; only for names of this module and of the rules."""
    return ", ".join(f"'{value}'" for value in values)
