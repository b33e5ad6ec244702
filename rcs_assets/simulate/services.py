"""The service map and the budgets behind it: cost, reach, tier, origin (domain.md 8).

Belongs here: fictitious services and budgets of one engagement. Does not belong here: pupils.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rcs_assets.programme import Engagement
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Floats, round_to_sum, stream

PROVIDERS = {
    "education": ("council", "Council education service"),
    "social work": ("council", "Council social work service"),
    "health": ("NHS", "Health board children's services"),
    "leisure & culture": ("council", "Council leisure and culture service"),
    "voluntary": ("third", "Invented Family Trust"),
}
THIRD_SECTOR = (
    "Invented Family Trust",
    "Imaginary Play Project",
    "Made-up Youth Link",
    "Fictional Carers Group",
    "Pretend Befriending",
)
# name, sector, youngest, oldest, universal / targeted / specialist %, pounds a pupil on the
# roll, domain
SERVICES = (
    ("Primary school teaching", "education", 5, 12, (92, 6, 2), 2600, "achieving"),
    ("Secondary school teaching", "education", 12, 18, (90, 7, 3), 3300, "achieving"),
    ("Early learning and childcare", "education", 3, 5, (85, 13, 2), 700, "achieving"),
    ("Additional support for learning", "education", 5, 18, (5, 60, 35), 520, "included"),
    ("Educational psychology", "education", 3, 18, (5, 55, 40), 45, "healthy"),
    ("Pupil equity projects", "education", 5, 16, (20, 75, 5), 180, "achieving"),
    ("School counselling", "education", 10, 18, (10, 70, 20), 30, "healthy"),
    ("Children and families teams", "social work", 0, 18, (2, 38, 60), 640, "safe"),
    ("Kinship care", "social work", 0, 18, (0, 15, 85), 160, "nurtured"),
    ("Foster care", "social work", 0, 18, (0, 0, 100), 520, "nurtured"),
    ("Residential care", "social work", 8, 18, (0, 0, 100), 610, "safe"),
    ("Throughcare and aftercare", "social work", 15, 21, (0, 30, 70), 90, "responsible"),
    ("Youth justice", "social work", 12, 18, (0, 45, 55), 45, "responsible"),
    ("Family support", "social work", 0, 12, (10, 75, 15), 110, "nurtured"),
    ("Health visiting", "health", 0, 5, (70, 25, 5), 260, "healthy"),
    ("School nursing", "health", 5, 18, (60, 35, 5), 60, "healthy"),
    ("Child and adolescent mental health", "health", 5, 18, (2, 28, 70), 150, "healthy"),
    ("Speech and language therapy", "health", 2, 18, (15, 60, 25), 70, "included"),
    ("Community paediatrics", "health", 0, 18, (5, 40, 55), 120, "healthy"),
    ("Child dental health", "health", 0, 18, (80, 18, 2), 75, "healthy"),
    ("Swimming and sports", "leisure & culture", 3, 18, (88, 12, 0), 85, "active"),
    ("Libraries for children", "leisure & culture", 0, 18, (95, 5, 0), 30, "achieving"),
    ("Youth clubs", "leisure & culture", 10, 18, (70, 28, 2), 50, "included"),
    ("Active schools", "leisure & culture", 5, 18, (90, 10, 0), 35, "active"),
    ("Play development", "voluntary", 0, 12, (65, 35, 0), 18, "active"),
    ("Befriending", "voluntary", 6, 16, (0, 80, 20), 12, "included"),
    ("Young carers project", "voluntary", 8, 18, (0, 85, 15), 16, "responsible"),
    ("Parenting programme", "voluntary", 0, 8, (25, 70, 5), 22, "nurtured"),
    ("Advocacy for looked after children", "voluntary", 5, 18, (0, 30, 70), 10, "respected"),
    ("Youth participation", "voluntary", 10, 18, (75, 25, 0), 9, "respected"),
    ("Domestic abuse recovery", "voluntary", 4, 16, (0, 35, 65), 14, "safe"),
    ("Holiday activities", "voluntary", 5, 14, (55, 45, 0), 15, "active"),
)  # fmt: skip
ORIGINS = ("council", "Scottish Government grant", "NHS board", "lottery", "charitable trust")
# Third-sector contracts are mostly confidential (domain.md 8, why mapping stalled) [DES].
CONFIDENTIAL_THIRD_SHARE, CONFIDENTIAL_OTHER_SHARE = 0.8, 0.03
BUDGET_ABOVE_COSTS = (1.02, 1.2)
# Ways to give a CPP its part of a board's budget, and how much of the mapped costs each pays
# (domain.md 8: activity, then population, then NRAC).
BOARD_METHODS = (("activity", 0.45), ("population", 0.35), ("nrac", 0.2))


def service_map(
    engagement: Engagement, pupils_n: int, seed: int, planted: Planted | None = None
) -> pd.DataFrame:
    """The service map of one engagement; tier shares of a service sum to 100.

    Args:
        engagement: council, health board, school year.
        pupils_n: pupils on the roll, to scale costs.
        seed: of all draws.
        planted: book of planted defects, or None: then no share is off.
    """
    rng = stream(seed, "services", engagement.key)
    n = len(SERVICES)
    first_year = min(wave.fieldwork_start.year for wave in engagement.waves)
    scale = pupils_n * rng.lognormal(0.0, 0.15, n)
    per_pupil = np.array([service[5] for service in SERVICES], dtype=np.float64)
    served = pupils_n * rng.uniform(0.01, 0.6, n)
    tiers = _tiers(rng)
    rows = {
        "service_id": [f"{engagement.key}-{k:03d}" for k in range(1, n + 1)],
        "provider_name": [_provider(k, service[1]) for k, service in enumerate(SERVICES)],
        "provider_type": [PROVIDERS[service[1]][0] for service in SERVICES],
        "sector": [service[1] for service in SERVICES],
        "name": [service[0] for service in SERVICES],
        "age_min": [service[2] for service in SERVICES],
        "age_max": [service[3] for service in SERVICES],
        "children_served": served.astype(np.int64).clip(5),
        "cost_year": f"{first_year}-{(first_year + 1) % 100:02d}",
        "annual_cost_gbp": np.round(scale * per_pupil, -2) + 500,
        "funding_origin": [_origin(rng, service[1]) for service in SERVICES],
        "tier_universal_pct": tiers[:, 0],
        "tier_targeted_pct": tiers[:, 1],
        "tier_specialist_pct": tiers[:, 2],
        "domain": [service[6] for service in SERVICES],
        "is_confidential": _confidential(seed, engagement.key),
    }
    if planted is not None:
        # The last service is a small one of a third-sector provider.
        tiers[-1, 0] += 10
        planted.add(engagement.key, "service_map", "tiers_off_100", 1)
    return pd.DataFrame(rows)


def budgets(
    engagement: Engagement, services: pd.DataFrame, board_share: float, seed: int
) -> pd.DataFrame:
    """Budgets that cover the mapped costs, by sector and origin; health's are the board's.

    Args:
        engagement: the CPP.
        services: its service map.
        board_share: its part of its health board, 0 to 1.
        seed: of all draws.

    Returns:
        budget_id, sector, funding_origin, cost_year, budget_gbp (of its holder, before
        apportionment), method, share (the CPP's part of it), about.
    """
    rng = stream(seed, "budgets", engagement.key)
    by = ["sector", "funding_origin", "cost_year"]
    costs = services.groupby(by, as_index=False)["annual_cost_gbp"].sum()
    own = costs[costs["funding_origin"] != "NHS board"].assign(method="direct", part=1.0, share=1.0)
    parts = [own]
    for method, part in BOARD_METHODS:
        board = costs[costs["funding_origin"] == "NHS board"].assign(method=method, part=part)
        board["share"] = max(round(board_share * float(rng.uniform(0.9, 1.0)), 4), 0.001)
        parts.append(board)
    frame = pd.concat(parts, ignore_index=True)
    above = rng.uniform(*BUDGET_ABOVE_COSTS, len(frame))
    paid = frame["annual_cost_gbp"] * frame["part"] * above / frame["share"]
    frame["budget_gbp"] = np.ceil(paid / 1000) * 1000
    frame["about"] = frame["sector"].str.capitalize() + ", " + frame["funding_origin"]
    frame.insert(0, "budget_id", [f"{engagement.key}-b{k:02d}" for k in range(1, len(frame) + 1)])
    ordered: pd.DataFrame = frame[["budget_id", *by, "budget_gbp", "method", "share", "about"]]
    return ordered


def _confidential(seed: int, key: str) -> list[str]:
    """Flags of confidence, from a stream of their own."""
    rng = stream(seed, "confidential", key)
    third = np.array([PROVIDERS[service[1]][0] == "third" for service in SERVICES])
    chance = np.where(third, CONFIDENTIAL_THIRD_SHARE, CONFIDENTIAL_OTHER_SHARE)
    return ["Y" if flag else "N" for flag in rng.random(len(SERVICES)) < chance]


def _tiers(rng: np.random.Generator) -> np.ndarray:
    shares: Floats = np.array([service[4] for service in SERVICES], dtype=np.float64)
    around = shares * rng.uniform(0.85, 1.15, shares.shape)
    around = around / around.sum(axis=1, keepdims=True) * 100
    return round_to_sum(around, np.full(len(SERVICES), 100))


def _provider(position: int, sector: str) -> str:
    if sector == "voluntary":
        return THIRD_SECTOR[position % len(THIRD_SECTOR)]
    return PROVIDERS[sector][1]


def _origin(rng: np.random.Generator, sector: str) -> str:
    if sector == "health":
        return "NHS board"
    if sector == "voluntary":
        return ORIGINS[int(rng.integers(0, len(ORIGINS)))]
    return ORIGINS[int(rng.integers(0, 2))]
