"""The cluster map: which primaries belong to which secondary.

Belongs here: the delivered look-up of one engagement. Does not belong here: schools
(`places.py`). Rule (domain.md 12): no list is published, so each primary goes to the
nearest secondary by postcode district; a few primaries feed two.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from rcs_assets.programme import Engagement
from rcs_assets.simulate import defects
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Floats, stream

# Share of primaries that feed two secondaries [DES]; at least one an engagement.
TWO_SECONDARIES_SHARE = 0.06
OTHER_AREA_DISTANCE = 100
UNKNOWN_SCHOOL = "9999999"


def cluster_map(
    engagement: Engagement, schools: pd.DataFrame, seed: int, planted: Planted | None
) -> pd.DataFrame:
    """One row a school and cluster; every school has exactly one `sdc` cluster.

    Args:
        engagement: its first fieldwork dates the map.
        schools: the engagement's schools: seed_code, survey, name, district.
        seed: of the draws between secondaries that are equally near.
        planted: book of planted defects, or None.

    Returns:
        seed_code, cluster_code, cluster_name, is_sdc_cluster (Y/N), valid_from.
    """
    rng = stream(seed, "clusters", engagement.key)
    secondary = schools[schools["survey"] == "secondary"].reset_index(drop=True)
    # A school with both departments has one code: it is its own cluster.
    primary = schools[~schools["seed_code"].isin(secondary["seed_code"])].reset_index(drop=True)
    distance = _distances(primary["district"], secondary["district"])
    distance = distance + rng.random(distance.shape) / 2
    nearest = np.argsort(distance, axis=1, kind="stable")
    two_n = max(1, round(TWO_SECONDARIES_SHARE * len(primary))) if len(secondary) > 1 else 0
    both = np.sort(rng.permutation(len(primary))[:two_n])
    rows = pd.concat(
        [
            _rows(secondary["seed_code"], secondary, np.arange(len(secondary)), "Y"),
            _rows(primary["seed_code"], secondary, nearest[:, 0], "Y"),
            _rows(primary["seed_code"].iloc[both], secondary, nearest[both, min(two_n, 1)], "N"),
        ],
        ignore_index=True,
    )
    if planted is not None and len(rows) >= defects.CLUSTER_ROWS_WITH_A_DEFECT_N:
        rows = pd.concat([rows, rows.iloc[[0]].assign(seed_code=UNKNOWN_SCHOOL)])
        planted.add(engagement.key, "clusters", "unknown_school", 1)
    first = min(wave.fieldwork_start for wave in engagement.waves)
    year = first.year if first.month >= 8 else first.year - 1
    rows["valid_from"] = f"{year}-08-01"
    return rows.sort_values(["seed_code", "cluster_code"]).reset_index(drop=True)


def _rows(
    seed_codes: pd.Series, secondary: pd.DataFrame, index: np.ndarray, is_sdc: str
) -> pd.DataFrame:
    of = secondary.iloc[index]
    return pd.DataFrame(
        {
            "seed_code": seed_codes.to_numpy(dtype=object),
            "cluster_code": ("C" + of["seed_code"]).to_numpy(dtype=object),
            "cluster_name": (of["name"] + " cluster").to_numpy(dtype=object),
            "is_sdc_cluster": is_sdc,
        }
    )


def _distances(first: pd.Series, second: pd.Series) -> Floats:
    """Districts of one postcode area lie as far apart as their numbers; others far away."""
    areas, numbers = zip(*(_parts(text) for text in first), strict=True)
    other_areas, other_numbers = zip(*(_parts(text) for text in second), strict=True)
    apart = np.array(areas)[:, None] != np.array(other_areas)[None, :]
    steps = np.abs(np.array(numbers)[:, None] - np.array(other_numbers)[None, :])
    distances: Floats = np.where(apart, OTHER_AREA_DISTANCE, steps).astype(np.float64)
    return distances


def _parts(district: str) -> tuple[str, int]:
    found = re.fullmatch(r"([A-Z]+)([0-9]+)[A-Z]?", district)
    return (found.group(1), int(found.group(2))) if found else (district, 0)
