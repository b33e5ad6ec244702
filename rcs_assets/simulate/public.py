"""The reference files: public ones handed on unchanged, or fictitious ones of the same layout.

Belongs here: the reference deliveries that the demo needs (school roll, school list, SIMD
zones, data-zone look-up, earlier names of schools), and the others that are handed on where they
are. Does not belong here: reading them (`places.py`). Fictitious schools and zones carry codes that
no publisher issues (SEED codes from 9, zones from S01900001) and names that end in "(fictitious)".
"""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.programme import Cpp, Programme
from rcs_assets.simulate.draws import Floats, Ints, Texts, round_to_sum, stream
from rcs_assets.simulate.write import write_csv

DATA = Path(__file__).parent / "data"
ROLL_FILE = "school_level_summary_2019.csv"
LIST_FILE = "schools_open_2024-10-31.csv"
SIMD_FILE = "simd2016_datazones.csv"
ZONES_FILE = "datazone2011_lookup.csv"
NAMES_FILE = "schools_renamed.csv"
# Sub-folders of the reference folder (its README).
PUBLIC_FILES = {
    ROLL_FILE: "schools",
    LIST_FILE: "schools",
    SIMD_FILE: "geography",
    ZONES_FILE: "geography",
}
# Handed on where the folder has them; but for earlier names nothing is simulated in their place.
FURTHER_FILES = {
    "school_level_summary_2022.csv": "schools",
    "schools_opened_closed.csv": "schools",
    NAMES_FILE: "schools",
    "simd2020v2_datazones.csv": "geography",
    "council_areas_all_versions.csv": "geography",
    "nrs_midyear_population_age0_18_council_sex.csv": "population",
    "salsus_sdq_wemwbs_by_council_sex_stage.csv": "population",
}
PRIMARY = tuple(f"P{n}" for n in range(1, 8))
SECONDARY = tuple(f"S{n}" for n in range(1, 7))
STAGES = PRIMARY + SECONDARY
# SIMD2016 ranks 6,976 zones; a quintile is ceil(rank * 5 / 6976).
SIMD_ZONES_N = 6976
ROLL_A_ZONE_N = 62
# The publisher hides school counts of 1-4.
SUPPRESSED_BELOW = 5
FIRST_ZONE = 900_001
SCHOOL_KINDS = {"Primary": "Primary School", "Secondary": "Academy", "Special": "Special School"}
# Of the fictitious schools: names shared but for the kind, and schools with an earlier name.
TWIN_NAME_EVERY = 4
RENAMED_EVERY = 5
# P5-P7 pupils of the two smallest primaries of a council: under 10 and 10-19 respondents.
SMALLEST_SIZES = (9, 20)
LEAST_SECONDARY_ROLL_N = 120
SIMD_COLUMNS = (
    "dz11_code,dz11_name,iz11_code,iz11_name,council_code,council_name,hb_code,hb_name,hscp_code,"
    "rcs_cpp,simd16_rank,simd16_vigintile,simd16_decile,simd16_quintile,simd16_employment_rank,"
    "simd16_income_rank,simd16_education_rank,simd16_health_rank,simd16_access_rank,"
    "simd16_crime_rank,simd16_housing_rank,population_2014,working_age_population_2014,"
    "urban_rural_code_2013_14,urban_rural_2013_14,ward_code,ward_name,spc_code,spc_name"
).split(",")
ZONES_COLUMNS = (
    "dz11_code,dz11_name,iz11_code,iz11_name,council_code,council_name,hscp_code,hscp_name,"
    "hb_code,hb_name,urban_rural_code_2016,urban_rural_2016,urban_rural_broad,rcs_cpp"
).split(",")
LIST_COLUMNS = (
    "seed_code,la_name,centre_type,school_name,address_line1,address_line2,address_line3,"
    "post_code,unique_property_reference_number_uprn,pre_school_department,primary_department,"
    "secondary_department,special_department,provision_for_gaelic_learners,medium_of_education,"
    "meeting_the_pe_target_2_hours_primary_2_periods_secondary,"
    "number_of_half_day_openings_per_week,integrated_special_unit,denomination,council_code,rcs_cpp"
).split(",")
ROLL_COLUMNS = (
    "year",
    "Local Authority",
    "SeedCode",
    "School Name",
    "School Type",
    "FTE Teachers",
    "Pupil roll(1)",
    "Pupil Teacher Ratio",
    "Average class size",
    "Female",
    "Male",
    *STAGES,
    "Special school pupils",
    "Pupils with an Additional Support Need recorded",
    "Pupils from minority ethnic groups(2)",
    "Pupils with English as an Additional Language",
    "Pupils taught in Gaelic(3)",
    "Number of P4-P7/S1-S6/SP pupils registered for FSM",
    "Percentage of P4-P7/S1-S6/SP pupils registered for FSM",
    "Local initiatives to extend FSM eligibility",
    "SIMD Quintile 1",
    "SIMD Quintile 2",
    "SIMD Quintile 3",
    "SIMD Quintile 4",
    "SIMD Quintile 5",
    "SIMD not availble",
    "Urban",
    "Small town",
    "Rural",
    "Urban/rural classification not available",
    "Attendance rate",
    "Authorised absence rate",
    "Unuathorised absence rate",
    "Temporary exclusion rate",
    "School's 6-fold urban/rural classification(4)",
    "School's 8-fold urban/rural classification(4)",
    "Denomination of school",
)
URBAN_RURAL = {2: "Other urban areas", 3: "Accessible small towns", 5: "Accessible rural areas"}


@dataclass(frozen=True)
class Area:
    """Generator parameters of one council (data/areas.csv, which names their source)."""

    council_code: str
    p5_p7_roll_n: int
    s1_s4_roll_n: int
    primaries_n: int
    secondaries_n: int
    specials_n: int
    simd_shares: Floats
    rural_pct: float
    size_spread: float
    districts: tuple[str, ...]


def load_areas() -> dict[str, Area]:
    """Generator parameters by council code."""
    with (DATA / "areas.csv").open(encoding="utf-8", newline="") as stream_:
        return {row["council_code"]: _area(row) for row in csv.DictReader(stream_)}


def copy_public(reference: Path, out: Path) -> list[Path]:
    """Hand the public files on, byte for byte.

    Raises:
        InputError: one of them is not in the reference folder.
    """
    copies = []
    for name, folder in PUBLIC_FILES.items():
        source = reference / folder / name
        if not source.is_file():
            raise InputError(
                "A public reference file is missing",
                where=f"{folder}/{name} in the reference folder",
                why="rolls, zones and schools are taken from it",
                fix="point --reference at a folder with schools/ and geography/, or leave it out",
            )
        copies.append(Path(shutil.copyfile(source, out / name)))
    for name, folder in FURTHER_FILES.items():
        source = reference / folder / name
        if source.is_file():
            copies.append(Path(shutil.copyfile(source, out / name)))
    return copies


def write_fictitious(out: Path, programme: Programme, seed: int) -> list[Path]:
    """Write fictitious schools and zones in the publishers' layouts.

    Raises:
        ConfigurationError: the register names a council without generator parameters.
    """
    areas = load_areas()
    cpps = [programme.cpps[slug] for slug in sorted(programme.cpps)]
    missing = sorted(c.council_code for c in cpps if c.council_code not in areas)
    if missing:
        raise ConfigurationError(
            "There are no fictitious schools for a council of the register",
            where=f"rcs_assets/simulate/data/areas.csv, council {', '.join(missing)}",
            why="schools, rolls and zones are generated from its row",
            fix="add the row, or simulate with --reference",
        )
    schools = pd.concat([_schools(areas[c.council_code], c, seed) for c in cpps], ignore_index=True)
    schools["School Name"] = _school_names(schools, seed)
    zones = _zones([areas[c.council_code] for c in cpps], cpps, seed)
    tables = {
        ROLL_FILE: schools[list(ROLL_COLUMNS)],
        LIST_FILE: _school_list(schools),
        SIMD_FILE: zones[SIMD_COLUMNS],
        ZONES_FILE: zones[ZONES_COLUMNS],
        NAMES_FILE: _renamed(schools),
    }
    return [write_csv(out / name, table.astype(str)) for name, table in tables.items()]


def _area(row: dict[str, str]) -> Area:
    return Area(
        council_code=row["council_code"],
        p5_p7_roll_n=int(row["p5_p7_roll_n"]),
        s1_s4_roll_n=int(row["s1_s4_roll_n"]),
        primaries_n=int(row["primaries_n"]),
        secondaries_n=int(row["secondaries_n"]),
        specials_n=int(row["specials_n"]),
        simd_shares=np.array([float(row[f"simd{q}_pct"]) for q in range(1, 6)]) / 100,
        rural_pct=float(row["rural_pct"]),
        size_spread=float(row["size_spread"]),
        districts=tuple(row["districts"].split(";")),
    )


def _sizes(rng: np.random.Generator, total: int, n: int, spread: float, least: int) -> Ints:
    """`n` school sizes of about log-normal form that sum to `total`, each at least `least`."""
    shape = np.exp(rng.normal(0.0, spread, n))
    above = total - least * n
    sizes: Ints = round_to_sum((shape / shape.sum() * above)[None, :], np.array([above]))[0] + least
    return sizes


def _with_small(sizes: Ints) -> Ints:
    """Make the two smallest as small as tests of small schools need; the total stays."""
    changed = np.sort(sizes)
    wanted = np.minimum(changed[:2], np.array(SMALLEST_SIZES))
    changed[-1] += (changed[:2] - wanted).sum()
    changed[:2] = wanted
    return changed


def _schools(area: Area, cpp: Cpp, seed: int) -> pd.DataFrame:
    rng = stream(seed, "fictitious-schools", cpp.slug)
    primaries = rng.permutation(
        _with_small(_sizes(rng, area.p5_p7_roll_n, area.primaries_n, area.size_spread, 3))
    )
    least = min(LEAST_SECONDARY_ROLL_N, area.s1_s4_roll_n // (2 * area.secondaries_n))
    secondaries = _sizes(rng, area.s1_s4_roll_n, area.secondaries_n, 0.3, least)
    n_all = area.primaries_n + area.secondaries_n + area.specials_n
    kinds = np.repeat(
        np.array(["Primary", "Secondary", "Special"], dtype=object),
        [area.primaries_n, area.secondaries_n, area.specials_n],
    )
    counts = np.zeros((n_all, len(STAGES)), dtype=np.int64)
    counts[kinds == "Primary", :7] = rng.multinomial(
        np.round(primaries * 7 / 3).astype(np.int64), np.full(7, 1 / 7)
    )
    senior = rng.multinomial(secondaries, [0.265, 0.25, 0.245, 0.24])
    later = np.round(senior[:, :2] * [0.8, 0.6]).astype(np.int64)
    counts[kinds == "Secondary", 7:] = np.hstack([senior, later])
    rolls = np.where(kinds == "Special", rng.integers(20, 90, n_all), counts.sum(axis=1))
    return _roll_rows(area, cpp, kinds, counts, rolls, rng)


def _roll_rows(
    area: Area,
    cpp: Cpp,
    kinds: Texts,
    counts: Ints,
    rolls: Ints,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Rows of the roll file, with two columns more: district and council_code."""
    n = len(kinds)
    girls = rng.binomial(rolls, 0.49)
    simd = rng.multinomial(rolls, _school_mixes(rng, area.simd_shares, n))
    rural = rng.random(n) * 100 < area.rural_pct
    classes = np.where(rural, 5, np.where(rng.random(n) < 0.7, 2, 3))
    hidden_sex = (girls < SUPPRESSED_BELOW) | (rolls - girls < SUPPRESSED_BELOW)
    frame: dict[str, object] = dict.fromkeys(ROLL_COLUMNS, "#")
    frame |= {
        "year": np.full(n, "2019", dtype=object),
        "Local Authority": cpp.council_name,
        "SeedCode": [f"9{cpp.la_code}{k:03d}" for k in range(1, n + 1)],
        "School Type": kinds,
        "Pupil roll(1)": rolls,
        "Female": np.where(hidden_sex, "*", girls.astype(str)),
        "Male": np.where(hidden_sex, "*", (rolls - girls).astype(str)),
        "Local initiatives to extend FSM eligibility": "",
        "SIMD not availble": 0,
        "Urban/rural classification not available": "0-10%",
        "School's 6-fold urban/rural classification(4)": [URBAN_RURAL[c] for c in classes],
        "School's 8-fold urban/rural classification(4)": [URBAN_RURAL[c] for c in classes],
        "Denomination of school": np.where(
            rng.random(n) < 0.15, "Roman Catholic", "Non-denominational"
        ),
        "Attendance rate": np.round(rng.normal(94.0, 1.2, n).clip(85, 99), 2),
    }
    frame |= _stage_columns(kinds, counts)
    frame |= {f"SIMD Quintile {q + 1}": _published(simd)[:, q] for q in range(5)}
    frame["district"] = np.array(area.districts, dtype=object)[np.arange(n) % len(area.districts)]
    frame["council_code"] = cpp.council_code
    return pd.DataFrame(frame)


def _stage_columns(kinds: Texts, counts: Ints) -> dict[str, Texts]:
    """Pupils by stage as published; `#` where the kind of school has no such stage."""
    published = _published(counts)
    own = {"P": kinds == "Primary", "S": kinds == "Secondary"}
    return {stage: np.where(own[stage[0]], published[:, k], "#") for k, stage in enumerate(STAGES)}


def _school_mixes(rng: np.random.Generator, shares: Floats, n: int) -> Floats:
    """SIMD shares of `n` schools around those of the council."""
    drawn: Floats = rng.dirichlet(np.maximum(shares, 0.005) * 6.0, n)
    return drawn


def _published(counts: Ints) -> Texts:
    """Counts as the publisher prints them: 1-4 as `*`, and a second cell where only one is."""
    hidden = (counts > 0) & (counts < SUPPRESSED_BELOW)
    alone = hidden.sum(axis=1) == 1
    others = np.where(hidden | (counts == 0), np.iinfo(np.int64).max, counts)
    second = np.argmin(others, axis=1)
    hidden[np.flatnonzero(alone), second[alone]] = True
    return np.where(hidden, "*", counts.astype(str)).astype(object)


def _school_names(schools: pd.DataFrame, seed: int) -> list[str]:
    """Invented names, each used once; as in life, some are confusable.

    A secondary has the place of a primary of its council (X Academy, X Primary School), and a
    quarter of the primaries that of another primary (X RC Primary School).
    """
    parts = pd.read_csv(DATA / "place_parts.csv")
    first = parts.loc[parts["position"] == "first", "part"].to_numpy()
    last = parts.loc[parts["position"] == "last", "part"].to_numpy()
    pairs = stream(seed, "school-names").permutation(len(first) * len(last))[: len(schools)]
    place = np.array([f"{first[p // len(last)]}{last[p % len(last)]}" for p in pairs], dtype=object)
    kind = schools["School Type"].map(SCHOOL_KINDS).to_numpy(dtype=object)
    for _, own in schools.groupby("Local Authority", sort=True):
        primary = own.index[own["School Type"] == "Primary"].to_numpy()
        secondary = own.index[own["School Type"] == "Secondary"].to_numpy()
        twins = primary[TWIN_NAME_EVERY - 1 :: TWIN_NAME_EVERY]
        place[twins] = place[twins - 1]
        kind[twins] = "RC Primary School"
        towns = primary[~np.isin(primary, twins)][: len(secondary)]
        place[secondary[: len(towns)]] = place[towns]
    return [f"{p} {k} (fictitious)" for p, k in zip(place, kind, strict=True)]


def _renamed(schools: pd.DataFrame) -> pd.DataFrame:
    """Earlier names of every fifth school, in the publisher's layout."""
    chosen = schools.iloc[::RENAMED_EVERY]
    return pd.DataFrame(
        {
            "local_authority": chosen["Local Authority"],
            "seed_code": chosen["SeedCode"],
            "new_school_name": chosen["School Name"],
            "old_school_name": "Old " + chosen["School Name"],
            "year_changed": "2012",
            "other_changes": "renamed (fictitious)",
        }
    )


def _school_list(schools: pd.DataFrame) -> pd.DataFrame:
    kinds = schools["School Type"]
    frame = pd.DataFrame(dict.fromkeys(LIST_COLUMNS, ""), index=schools.index)
    frame["seed_code"] = schools["SeedCode"]
    frame["la_name"] = schools["Local Authority"]
    frame["centre_type"] = "Local Authority"
    frame["school_name"] = schools["School Name"]
    frame["address_line1"] = "Invented Road"
    frame["post_code"] = schools["district"] + " 9ZZ"
    frame["pre_school_department"] = "No"
    frame["primary_department"] = np.where(kinds == "Primary", "Yes", "No")
    frame["secondary_department"] = np.where(kinds == "Secondary", "Yes", "No")
    frame["special_department"] = np.where(kinds == "Special", "Yes", "No")
    frame["denomination"] = schools["Denomination of school"]
    frame["council_code"] = schools["council_code"]
    frame["rcs_cpp"] = "True"
    return frame


def _zones(areas: list[Area], cpps: list[Cpp], seed: int) -> pd.DataFrame:
    sizes = [max(20, round((a.p5_p7_roll_n + a.s1_s4_roll_n) / ROLL_A_ZONE_N)) for a in areas]
    shares = np.array([a.simd_shares for a in areas])
    by_quintile = round_to_sum(
        shares / shares.sum(axis=1, keepdims=True) * np.array(sizes)[:, None], np.array(sizes)
    )
    owner = np.repeat(np.arange(len(areas)), sizes)
    quintile = np.concatenate([np.repeat(np.arange(1, 6), row) for row in by_quintile])
    rng = stream(seed, "fictitious-zones")
    rank = _ranks(rng, quintile)
    frame = pd.DataFrame(dict.fromkeys((*SIMD_COLUMNS, *ZONES_COLUMNS), ""), index=rank)
    number = FIRST_ZONE + np.arange(len(owner))
    frame["dz11_code"] = [f"S01{k:06d}" for k in number]
    frame["dz11_name"] = [f"Invented zone {k} (fictitious)" for k in number - FIRST_ZONE + 1]
    frame["iz11_code"] = [f"S02{k:06d}" for k in FIRST_ZONE + (number - FIRST_ZONE) // 6]
    frame["iz11_name"] = "Invented intermediate zone (fictitious)"
    for column, attribute in (
        ("council_code", "council_code"),
        ("council_name", "council_name"),
        ("hb_code", "health_board_code"),
        ("hb_name", "health_board_name"),
    ):
        values = np.array([getattr(c, attribute) for c in cpps], dtype=object)
        frame[column] = values[owner]
    frame["rcs_cpp"] = "True"
    frame["simd16_rank"] = rank
    for name, bands in (("vigintile", 20), ("decile", 10), ("quintile", 5)):
        frame[f"simd16_{name}"] = np.ceil(rank * bands / SIMD_ZONES_N).astype(np.int64)
    rural = rng.random(len(owner)) * 100 < np.array([a.rural_pct for a in areas])[owner]
    frame["urban_rural_code_2016"] = np.where(rural, 5, 2)
    frame["urban_rural_2016"] = np.where(rural, "Accessible rural", "Other urban areas")
    frame["urban_rural_broad"] = np.where(rural, "Rural", "Urban")
    frame["urban_rural_code_2013_14"] = frame["urban_rural_code_2016"]
    frame["urban_rural_2013_14"] = frame["urban_rural_2016"]
    frame["population_2014"] = rng.integers(550, 1100, len(owner))
    return frame


def _ranks(rng: np.random.Generator, quintile: Ints) -> Ints:
    """An SIMD rank for each zone, inside the bounds of its quintile."""
    rank = np.zeros(len(quintile), dtype=np.int64)
    for band in range(1, 6):
        chosen = np.flatnonzero(quintile == band)
        low, high = (band - 1) * SIMD_ZONES_N // 5, band * SIMD_ZONES_N // 5
        # More zones of a quintile than ranks (possible at national size): some share one.
        rank[chosen] = np.resize(rng.permutation(np.arange(low + 1, high + 1)), len(chosen))
    return rank
