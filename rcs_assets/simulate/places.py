"""Schools, rolls and zones as the reference files give them.

Belongs here: reading the four reference files (real or fictitious, one layout), filling
their suppressed cells, and the cut to a small programme. Does not belong here: making
the files (`public.py`) and pupils (`people.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.errors import InputError
from rcs_assets.programme import Programme
from rcs_assets.simulate.draws import Floats, Ints, stream
from rcs_assets.simulate.public import (
    LIST_FILE,
    ROLL_FILE,
    SIMD_FILE,
    STAGES,
    ZONES_FILE,
    load_areas,
)
from rcs_assets.simulate.roll import fill_counts, fill_sexes, stage_by_sex

SURVEY_OF_TYPE = {"Primary": "primary", "Secondary": "secondary"}
# interfaces.md, `rcs demo --scale small`.
SMALL_ENGAGEMENTS = ("t1-clackmannanshire", "t2-falkirk")
SMALL_SECONDARIES_N = 2
SMALL_PRIMARIES_N = 9
SMALL_PRIMARY_ROLL_N = 84
FAR_COSTS_N = 25
# P5-P7 rolls that give under 10 and 10-19 respondents at 73 % response.
UNDER_10_ROLL = (6, 11)
UNDER_20_ROLL = (17, 24)


@dataclass(frozen=True)
class Places:
    """Schools in scope and zones.

    Attributes:
        schools: one row a school: engagement, seed_code, survey, name, district, council_code,
            and `role` ("", "under_10", "under_20": schools that small-scale tests rely on).
        rolls: (schools, 13 stages P1..S6, 2) pupils, girls first; stages without a survey are 0.
        simd: (schools, 5) pupils of the whole school by SIMD quintile.
        zones: one row a data zone: council_code, datazone, quintile.
        districts: postcode districts by council code.
    """

    schools: pd.DataFrame
    rolls: Ints
    simd: Ints
    zones: pd.DataFrame
    districts: dict[str, tuple[str, ...]]

    @property
    def pupils_n(self) -> int:
        """Pupils on the roll in the stages that are surveyed."""
        return int(self.rolls.sum())


def read_places(folder: Path, programme: Programme, seed: int) -> Places:
    """Schools, rolls and zones of every engagement of the register.

    Args:
        folder: holds the reference deliveries.
        programme: councils and surveyed stages.
        seed: of the filling of suppressed cells.

    Raises:
        InputError: an engagement has no school in the roll file.
    """
    roll = _read(folder / ROLL_FILE)
    councils = {plain_council(e.cpp.council_name): e.key for e in programme.engagements.values()}
    roll["engagement"] = roll["Local Authority"].map(plain_council).map(councils)
    roll["survey"] = roll["School Type"].map(SURVEY_OF_TYPE)
    roll = roll.dropna(subset=["engagement", "survey"])
    roll = roll.sort_values(["engagement", "survey", "SeedCode"]).reset_index(drop=True)
    missing = sorted(set(programme.engagements) - set(roll["engagement"]))
    if missing:
        raise InputError(
            "An engagement has no school in the school roll",
            where=f"file {ROLL_FILE}, engagement {', '.join(missing)}",
            why="pupils are drawn school by school from the roll",
            fix="use a roll file that holds the council under the name in the register",
        )
    zones = _zones(folder)
    counts = _numbers(roll, STAGES)
    totals = _numbers(roll, ["Pupil roll(1)"])[:, 0].astype(np.int64)
    rng = stream(seed, "roll")
    own_stages = np.where((roll["School Type"] == "Primary").to_numpy()[:, None], _IS_P, ~_IS_P)
    stages = fill_counts(np.where(own_stages, counts, 0.0), totals, rng)
    sexes = _numbers(roll, ["Female", "Male"])
    girls = fill_sexes(sexes[:, 0], sexes[:, 1], stages.sum(axis=1), rng)
    table = stage_by_sex(stages, girls, rng)
    simd = fill_counts(
        _numbers(roll, [f"SIMD Quintile {q}" for q in range(1, 6)]), stages.sum(axis=1), rng
    )
    districts = _districts(folder)
    return Places(
        schools=_schools(roll, programme, folder, districts, rng),
        rolls=table * _surveyed(roll, programme)[:, :, None],
        simd=np.maximum(simd, 0),
        zones=zones,
        districts=districts,
    )


def board_shares(folder: Path) -> dict[str, float]:
    """The part that each council has of its health board, by number of data zones."""
    zones = _read(folder / ZONES_FILE)
    board_n = zones["hb_code"].map(zones["hb_code"].value_counts())
    parts = (1 / board_n).groupby(zones["council_code"]).sum()
    return {str(council): float(part) for council, part in parts.items()}


def cut_small(places: Places) -> Places:
    """The small programme: some schools of two engagements, about 3,000 pupils.

    Each engagement keeps its smallest secondaries and the primaries nearest to them
    (by postcode district), among these one that expects under 10 respondents and one
    that expects 10-19.
    """
    kept: list[int] = []
    roles: list[str] = []
    sizes = places.rolls.sum(axis=(1, 2))
    for engagement in SMALL_ENGAGEMENTS:
        own = (places.schools["engagement"] == engagement).to_numpy()
        secondary = np.flatnonzero(own & (places.schools["survey"] == "secondary").to_numpy())
        secondary = secondary[np.argsort(sizes[secondary], kind="stable")][:SMALL_SECONDARIES_N]
        primary, role = _small_primaries(places, own, secondary, sizes)
        kept += [*secondary.tolist(), *primary]
        roles += [""] * len(secondary) + role
    schools = places.schools.iloc[kept].assign(role=roles).reset_index(drop=True)
    return Places(schools, places.rolls[kept], places.simd[kept], places.zones, places.districts)


_IS_P = np.array([stage.startswith("P") for stage in STAGES])[None, :]


def _small_primaries(
    places: Places, own: np.ndarray, secondary: Ints, sizes: Ints
) -> tuple[list[int], list[str]]:
    primary = np.flatnonzero(own & (places.schools["survey"] == "primary").to_numpy())
    near = set(places.schools["district"].to_numpy()[secondary])
    far = ~places.schools["district"].iloc[primary].isin(near).to_numpy()
    # A school far away must be that much nearer to the size aimed at.
    order = primary[
        np.argsort(np.abs(sizes[primary] - SMALL_PRIMARY_ROLL_N) + FAR_COSTS_N * far, kind="stable")
    ]
    under_10 = _first_between(order, sizes, UNDER_10_ROLL)
    under_20 = _first_between(order[order != under_10], sizes, UNDER_20_ROLL)
    others = [int(k) for k in order if k not in (under_10, under_20)]
    chosen = [under_10, under_20, *others][:SMALL_PRIMARIES_N]
    return chosen, ["under_10", "under_20", *[""] * (len(chosen) - 2)]


def _first_between(order: Ints, sizes: Ints, bounds: tuple[int, int]) -> int:
    """The first school whose size lies in the bounds, else the one nearest to them."""
    middle = sum(bounds) / 2
    inside = (sizes[order] >= bounds[0]) & (sizes[order] <= bounds[1])
    best = np.lexsort((np.abs(sizes[order] - middle), ~inside))[0]
    return int(order[best])


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def plain_council(name: str) -> str:
    """A council's name as the files of different publishers agree on it."""
    return name.lower().replace("&", "and").strip()


def _numbers(frame: pd.DataFrame, columns: list[str] | tuple[str, ...]) -> Floats:
    """Counts as numbers; NaN where the publisher printed a mark."""
    numbers = frame[list(columns)].apply(pd.to_numeric, errors="coerce")
    values: Floats = numbers.to_numpy(dtype=np.float64)
    return values


def _surveyed(roll: pd.DataFrame, programme: Programme) -> Ints:
    """(schools, stages) 1 where the engagement surveys the stage."""
    asked = {
        (engagement.key, wave.survey): np.isin(STAGES, wave.stages)
        for engagement in programme.engagements.values()
        for wave in engagement.waves
    }
    none = np.zeros(len(STAGES), dtype=bool)
    pairs = zip(roll["engagement"], roll["survey"], strict=True)
    return np.array([asked.get(pair, none) for pair in pairs]).astype(np.int64)


def _zones(folder: Path) -> pd.DataFrame:
    frame = _read(folder / SIMD_FILE)
    return pd.DataFrame(
        {
            "council_code": frame["council_code"],
            "datazone": frame["dz11_code"],
            "quintile": frame["simd16_quintile"].astype(np.int64),
        }
    )


def _districts(folder: Path) -> dict[str, tuple[str, ...]]:
    """Postcode districts by council: those of its schools, and of the generator's areas."""
    schools = _read(folder / LIST_FILE)
    district = schools["post_code"].str.split(" ").str[0]
    known = {
        str(code): tuple(sorted(set(group) - {""}))
        for code, group in district.groupby(schools["council_code"])
    }
    return {code: area.districts for code, area in load_areas().items()} | known


def _schools(
    roll: pd.DataFrame,
    programme: Programme,
    folder: Path,
    districts: dict[str, tuple[str, ...]],
    rng: np.random.Generator,
) -> pd.DataFrame:
    listed = _read(folder / LIST_FILE).set_index("seed_code")["post_code"].str.split(" ").str[0]
    council = roll["engagement"].map(lambda key: programme.engagements[key].cpp.council_code)
    options = council.map(districts.get)
    position = rng.random(len(roll))
    drawn = [names[int(u * len(names))] for names, u in zip(options, position, strict=True)]
    return pd.DataFrame(
        {
            "engagement": roll["engagement"].astype(object),
            "seed_code": roll["SeedCode"].astype(object),
            "survey": roll["survey"].astype(object),
            "name": roll["School Name"].astype(object),
            "district": roll["SeedCode"].map(listed).fillna(pd.Series(drawn)).astype(object),
            "council_code": council.astype(object),
            "role": "",
        }
    )
