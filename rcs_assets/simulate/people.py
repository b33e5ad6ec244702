"""The pupils: one for each place on the roll, with families, homes and identifiers.

Belongs here: who the pupils are. Does not belong here: their answers (`answers.py`), what
councils hold on them (`education.py`) and errors in deliveries (`defects.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rcs_assets.programme import Programme
from rcs_assets.simulate.draws import Bools, Ints, Texts, blanked, choose_by_row, stream
from rcs_assets.simulate.identifiers import NameBook, make_postcodes, make_scns, make_uids
from rcs_assets.simulate.places import Places
from rcs_assets.simulate.public import STAGES

# Shares of pupils: assumptions of the simulation, not published figures; siblings [GK].
TWIN_PAIRS_SHARE = 0.015
SIBLINGS_SHARE = 0.25
CROSS_SCHOOL_SIBLINGS_SHARE = 0.15
SECOND_FORENAME_SHARE = 0.8
# Born before 1 March of the cohort and held back a year [GK].
DEFERRED_SHARE = 0.03
LATE_SCN_SHARE = 0.04
HOME_DISTRICT_SHARE = 0.85
# Zones of a school lie near each other: spread as a share of the council's list of zones.
ZONE_SPREAD = 0.12
FAMILY = ["surname", "zone", "quintile", "postcode"]


def make_people(
    places: Places, programme: Programme, seed: int, reference: Path | None
) -> pd.DataFrame:
    """One row a pupil on the roll of a surveyed stage.

    Args:
        places: schools, rolls, zones.
        programme: fieldwork dates, which fix the school year.
        seed: of all draws.
        reference: folder with published name frequencies, or None for the built-in lists.

    Returns:
        Columns person_id, school (row of places.schools), engagement, survey, seed_code,
        stage, sex (F/M), quintile, zone (row of places.zones), datazone, surname,
        first_forename, second_forename, date_of_birth (datetime64[D]), postcode, scn, uid.
    """
    people = _roll(places)
    years = _school_years(places, programme)[people["school"].to_numpy()]
    rng = stream(seed, "people")
    people["date_of_birth"] = _birth_dates(rng, people["stage"].to_numpy(), years)
    people["quintile"], people["zone"] = _homes(rng, people["school"].to_numpy(), places)
    names = NameBook(reference)
    people["surname"] = names.surnames(rng, len(people))
    people["postcode"] = _postcodes(rng, people, places)
    people = _make_families(people, places, seed)
    _forenames(people, names, rng)
    people["datazone"] = places.zones["datazone"].to_numpy(dtype=object)[people["zone"]]
    issued = years - _stage_number(people["stage"].to_numpy()) + 1
    moved = rng.random(len(people)) < LATE_SCN_SHARE
    people["scn"] = make_scns(rng, issued + moved * rng.integers(1, 4, len(people)))
    keys = (places.schools["engagement"] + "/" + places.schools["seed_code"]).tolist()
    people["uid"] = make_uids(seed, keys, people["school"].to_numpy())
    people["person_id"] = np.arange(1, len(people) + 1)
    return people


def _roll(places: Places) -> pd.DataFrame:
    """Expand the roll to one row a pupil."""
    school, stage, sex = (
        index.repeat(places.rolls.ravel())
        for index in map(np.ravel, np.indices(places.rolls.shape))
    )
    frame = (
        places.schools[["engagement", "survey", "seed_code"]].iloc[school].reset_index(drop=True)
    )
    frame["school"] = school
    frame["stage"] = np.array(STAGES, dtype=object)[stage]
    frame["sex"] = np.array(["F", "M"], dtype=object)[sex]
    return frame


def _school_years(places: Places, programme: Programme) -> Ints:
    """Calendar year in which the school year of each school's fieldwork began."""
    starts = {
        (engagement.key, wave.survey): wave.fieldwork_start
        for engagement in programme.engagements.values()
        for wave in engagement.waves
    }
    pairs = zip(places.schools["engagement"], places.schools["survey"], strict=True)
    days = [starts[pair] for pair in pairs]
    return np.array([day.year if day.month >= 8 else day.year - 1 for day in days])


def _stage_number(stages: Texts) -> Ints:
    """P1 = 1 … P7 = 7, S1 = 8 …."""
    return np.array([STAGES.index(s) + 1 for s in np.unique(stages)])[
        np.searchsorted(np.unique(stages), stages)
    ]


def _birth_dates(rng: np.random.Generator, stages: Texts, years: Ints) -> NDArray[np.datetime64]:
    """A cohort is born from March to February; P1 of year Y begins with March Y - 5."""
    born_from = (years - 4 - _stage_number(stages)).astype(str)
    first = np.char.add(born_from, "-03-01").astype("datetime64[D]")
    days = rng.integers(0, 365, len(stages))
    days[rng.random(len(stages)) < DEFERRED_SHARE] -= 59
    births: NDArray[np.datetime64] = first + days.astype("timedelta64[D]")
    return births


def _homes(rng: np.random.Generator, school: Ints, places: Places) -> tuple[Ints, Ints]:
    """SIMD quintile by the school's published counts, then a zone of that quintile nearby."""
    shares = np.maximum(places.simd, 0) + 1e-9
    quintile = choose_by_row(rng, shares[school].astype(np.float64)) + 1
    centre = rng.random(len(places.schools))
    at = (centre[school] + rng.normal(0.0, ZONE_SPREAD, len(school))) % 1.0
    council = places.schools["council_code"].to_numpy()[school]
    zone = np.zeros(len(school), dtype=np.int64)
    for code in np.unique(council.astype(str)):
        own = (places.zones["council_code"] == code).to_numpy()
        for band in range(1, 6):
            options = np.flatnonzero(own & (places.zones["quintile"] == band).to_numpy())
            if len(options) == 0:
                # Some pupils live in another council: then any zone of their quintile.
                options = np.flatnonzero((places.zones["quintile"] == band).to_numpy())
            here = np.flatnonzero((council == code) & (quintile == band))
            zone[here] = options[(at[here] * len(options)).astype(np.int64) % len(options)]
    return quintile, zone


def _postcodes(rng: np.random.Generator, people: pd.DataFrame, places: Places) -> Texts:
    school = people["school"].to_numpy()
    own = places.schools["district"].to_numpy(dtype=object)[school]
    council = places.schools["council_code"].to_numpy()[school]
    elsewhere = own.copy()
    for code in np.unique(council.astype(str)):
        here = np.flatnonzero(council == code)
        options = np.array(places.districts[code], dtype=object)
        elsewhere[here] = options[rng.integers(0, len(options), len(here))]
    districts = np.where(rng.random(len(people)) < HOME_DISTRICT_SHARE, own, elsewhere)
    return make_postcodes(rng, districts, people["zone"].to_numpy())


def _make_families(people: pd.DataFrame, places: Places, seed: int) -> pd.DataFrame:
    """Give twins and siblings one surname and home; twins one birth date and stage too."""
    rng = stream(seed, "families")
    school = people["school"].to_numpy()
    cohort = school * len(STAGES) + _stage_number(people["stage"].to_numpy())
    free = np.ones(len(people), dtype=bool)
    pairs = _pairs(rng, cohort, free, TWIN_PAIRS_SHARE)
    people = _copy(people, pairs, [*FAMILY, "date_of_birth"])
    people["twin"] = np.isin(np.arange(len(people)), np.concatenate(pairs))
    people = _copy(people, _pairs(rng, school, free, SIBLINGS_SHARE / 2), FAMILY)
    council = pd.factorize(places.schools["engagement"])[0][school]
    near = council * 100_000 + pd.factorize(people["postcode"].str.split(" ").str[0])[0]
    return _copy(people, _pairs(rng, near, free, CROSS_SCHOOL_SIBLINGS_SHARE / 2), FAMILY)


def _pairs(rng: np.random.Generator, groups: Ints, free: Bools, share: float) -> tuple[Ints, Ints]:
    """Disjoint random pairs inside groups, about `share` of the rows as pairs; marks them taken."""
    order = np.flatnonzero(free)
    order = order[np.lexsort((rng.random(len(order)), groups[order]))]
    first, second = order[:-1:2], order[1::2]
    same = groups[first] == groups[second]
    # Pairs are half as many as rows: `share` of all rows is twice that share of all pairs.
    chosen = same & (rng.random(len(first)) < share * 2 * len(free) / max(len(order), 1))
    free[first[chosen]] = False
    free[second[chosen]] = False
    return first[chosen], second[chosen]


def _copy(people: pd.DataFrame, pairs: tuple[Ints, Ints], columns: list[str]) -> pd.DataFrame:
    for column in columns:
        values = people[column].to_numpy(copy=True)
        values[pairs[1]] = values[pairs[0]]
        people[column] = values
    return people


def _forenames(people: pd.DataFrame, names: NameBook, rng: np.random.Generator) -> None:
    is_girl = (people["sex"] == "F").to_numpy()
    born = people["date_of_birth"].to_numpy().astype("datetime64[Y]").astype(np.int64) + 1970
    first = names.forenames(rng, is_girl, born)
    second = names.forenames(rng, is_girl, born)
    has_second = (rng.random(len(people)) < SECOND_FORENAME_SHARE) & (second != first)
    people["first_forename"] = first
    people["second_forename"] = blanked(second, ~has_second)
