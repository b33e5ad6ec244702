"""The council's social work extract: identifiers and payload of children with a record.

Belongs here: who is known to social work, what the record says, which record is whose.
Does not belong here: errors in identifiers (`misrecorded.py`), who the pupils are
(`people.py`), any linkage.
Levels: domain.md 3.5 (SCN on 66 % of looked after returns; 1.5 % of pupils looked after),
4.3 (placements), the rest [DES].
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from rcs_assets.simulate import defects
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Bools, Floats, Ints, Texts, blanked, choose, stream
from rcs_assets.simulate.identifiers import NameBook, make_postcodes
from rcs_assets.simulate.misrecorded import misrecord

# Chance of a record by need (none, some, high), and its factor by SIMD quintile.
RECORD_BY_NEED = (0.045, 0.09, 0.20)
RECORD_BY_QUINTILE = (1.7, 1.2, 0.9, 0.65, 0.45)
LOOKED_AFTER_HAS_RECORD_SHARE = 0.97
# Siblings are known together: the share of children who share the draw of their family.
FAMILY_SHARE = 0.4
# Of pupils' records; the others have none, which makes 66 % of all.
SCN_SHARE = 0.69
AWAY_SHARE = 0.72
PREVIOUSLY_SHARE = 0.08
# The two services disagree about who is looked after now.
ONLY_SOCIAL_WORK_SAYS_SHARE = 0.01
ONLY_EDUCATION_SAYS_SHARE = 0.03
PLACEMENTS_AWAY = (
    ("kinship_carers", 40), ("foster_provided", 33), ("foster_purchased", 12),
    ("prospective_adopters", 2), ("other_community", 1), ("local_authority_home", 5),
    ("voluntary_home", 2), ("residential_school", 3), ("secure", 1), ("other_residential", 1),
)  # fmt: skip
AT_HOME = "at_home_with_parents"
OPEN_SHARE = 0.6
PLAN_SHARE = 0.55
PROTECTION_SHARE, PROTECTION_LOOKED_AFTER_SHARE = 0.06, 0.1
UNKNOWN_STATUS = "respite"
IDENTIFIERS = [
    "scn",
    "surname",
    "previous_surname",
    "first_forename",
    "second_forename",
    "sex",
    "date_of_birth",
    "postcode",
]


@dataclass(frozen=True)
class SocialWork:
    """The extract of one engagement.

    Attributes:
        identifiers, payload: the two files, in different orders.
        truth: one row a record id: record_id, engagement, person_id (-1: a child who is
            not on the sample file), has_scn, is_linkable (with the pupil's row of the
            sample file, added by `run.py`), kind (pupil | second_record | sibling |
            not_on_sample).
    """

    identifiers: pd.DataFrame
    payload: pd.DataFrame
    truth: pd.DataFrame


def social_work_extract(
    people: pd.DataFrame,
    looked_after: pd.Series,
    day: date,
    names: NameBook,
    seed: int,
    planted: Planted | None,
) -> SocialWork:
    """Make the extract of one engagement.

    Args:
        people: its pupils, with `need`.
        looked_after: whether the education record says so, by person_id; pupils without
            an education record are not in it.
        day: the first day of fieldwork, at which the records are read out.
        names: for changed surnames and children who are no pupils.
        seed: of all draws.
        planted: book of planted defects, or None: then every identifier that is there is
            right, and all children are pupils of the sample file.
    """
    key = str(people["engagement"].iloc[0])
    rng = stream(seed, "social-work", key)
    flagged = people["person_id"].map(looked_after).fillna(False).to_numpy(dtype=bool)
    held = people[_has_record(rng, people, flagged)].assign(kind="pupil")
    held["flagged"] = flagged[held.index]
    held["date_of_birth"] = held["date_of_birth"].dt.strftime("%Y-%m-%d")
    held["previous_surname"] = None
    held = held.reset_index(drop=True)
    if planted is not None:
        held = _add_others(rng, held, names, key, planted)
    numbers = rng.choice(9_000_000, size=len(held), replace=False) + 1_000_000
    held["record_id"] = [f"S{number}" for number in numbers]
    held["scn"] = blanked(held["scn"].to_numpy(dtype=object), rng.random(len(held)) >= SCN_SHARE)
    payload = _payload(rng, held, day)
    ids = held[["record_id", *IDENTIFIERS]]
    if planted is not None:
        own = stream(seed, "misrecorded", key)
        wrong = misrecord(held[IDENTIFIERS], names, own, key, planted)
        ids = pd.concat([held[["record_id"]], wrong], axis=1)
    truth = held[["record_id", "engagement", "person_id", "kind"]].assign(
        has_scn=ids["scn"].notna().to_numpy()
    )
    if planted is not None:
        payload = _spoil_payload(rng, payload, key, planted)
        ids = _repeat(ids, key, planted)
    return SocialWork(
        ids.sort_values("record_id", kind="stable").reset_index(drop=True),
        payload.iloc[rng.permutation(len(payload))].reset_index(drop=True),
        truth,
    )


def _has_record(rng: np.random.Generator, people: pd.DataFrame, flagged: Bools) -> Bools:
    need = np.array(RECORD_BY_NEED)[people["need"].to_numpy()]
    chance = need * np.array(RECORD_BY_QUINTILE)[people["quintile"].to_numpy() - 1]
    chance = np.where(flagged, LOOKED_AFTER_HAS_RECORD_SHARE, chance)
    family = pd.factorize(people["surname"] + "|" + people["postcode"])[0]
    of_family = rng.random(int(family.max()) + 1)[family]
    own = rng.random(len(people))
    point = np.where(rng.random(len(people)) < FAMILY_SHARE, of_family, own)
    return point < chance


def _add_others(
    rng: np.random.Generator, held: pd.DataFrame, names: NameBook, key: str, planted: Planted
) -> pd.DataFrame:
    """Second records of a child, siblings of pupils, and children from elsewhere."""
    n = len(held)
    twice = held[rng.random(n) < defects.SECOND_RECORD_SHARE].assign(kind="second_record")
    near = held[rng.random(n) < defects.SIBLING_RECORD_SHARE].assign(kind="sibling")
    far = held[rng.random(n) < defects.FOREIGN_RECORD_SHARE].assign(kind="not_on_sample")
    far["surname"] = names.surnames(rng, len(far))
    districts = far["postcode"].str.split(" ").str[0].to_numpy(dtype=object)
    far["postcode"] = make_postcodes(rng, districts, rng.integers(0, 5_000, len(far)))
    others = pd.concat([near, far], ignore_index=True)
    born = others["date_of_birth"].to_numpy(dtype="datetime64[D]")
    sign = np.where(rng.random(len(others)) < 0.5, -1, 1)
    days = sign * rng.integers(400, 1_500, len(others))
    others["date_of_birth"] = (born + days.astype("timedelta64[D]")).astype(str).astype(object)
    years = born.astype("datetime64[Y]").astype(np.int64) + 1970
    is_girl = rng.random(len(others)) < 0.5
    others["sex"] = np.where(is_girl, "F", "M")
    others["first_forename"] = names.forenames(rng, is_girl, years)
    others["second_forename"] = None
    others["scn"] = None
    others["person_id"] = -1
    others["flagged"] = False
    for kind, count in (
        ("second_record", len(twice)),
        ("sibling", len(near)),
        ("not_on_sample", len(far)),
    ):
        planted.add(key, "social_work_ids", kind, count)
    return pd.concat([held, twice, others], ignore_index=True)


def _payload(rng: np.random.Generator, held: pd.DataFrame, day: date) -> pd.DataFrame:
    n = len(held)
    status = _statuses(rng, held["flagged"].to_numpy(dtype=bool))
    away, home = status == "currently_away", status == "currently_home"
    is_looked_after = away | home
    kinds = np.array([name for name, _ in PLACEMENTS_AWAY], dtype=object)
    weights: Floats = np.array([weight for _, weight in PLACEMENTS_AWAY], dtype=np.float64)
    placed = np.where(home, AT_HOME, choose(rng, kinds, weights, n)).astype(object)
    placement = blanked(placed, ~(home | away))
    is_open = is_looked_after | (rng.random(n) < OPEN_SHARE)
    chance = np.where(is_looked_after, PROTECTION_LOOKED_AFTER_SHARE, PROTECTION_SHARE)
    protected = is_open & (rng.random(n) < chance)
    has_plan = is_open & (is_looked_after | (rng.random(n) < PLAN_SHARE))
    opened, closed = _days(rng, is_open, day)
    return pd.DataFrame(
        {
            "record_id": held["record_id"],
            "looked_after_status": status,
            "placement": placement,
            "child_protection_12m": _flags(protected),
            "open_case": _flags(is_open),
            "childs_plan": _flags(has_plan),
            "opened_on": opened,
            "closed_on": closed,
        }
    )


def _statuses(rng: np.random.Generator, flagged: Bools) -> Texts:
    n = len(flagged)
    current = np.where(
        flagged,
        rng.random(n) >= ONLY_EDUCATION_SAYS_SHARE,
        rng.random(n) < ONLY_SOCIAL_WORK_SAYS_SHARE,
    )
    where = np.where(rng.random(n) < AWAY_SHARE, "currently_away", "currently_home")
    before = flagged | (rng.random(n) < PREVIOUSLY_SHARE)
    texts: Texts = np.where(current, where, np.where(before, "previously", "never")).astype(object)
    return texts


def _days(rng: np.random.Generator, is_open: Bools, day: date) -> tuple[Texts, Texts]:
    """When cases were opened and, in the three years before fieldwork, closed."""
    n = len(is_open)
    read_out = np.datetime64(day, "D")
    since_closed: Ints = np.where(is_open, 0, rng.integers(1, 3 * 365, n))
    since_opened = since_closed + 20 + rng.gamma(1.4, 420.0, n).astype(np.int64).clip(0, 4_000)
    opened = (read_out - since_opened.astype("timedelta64[D]")).astype(str).astype(object)
    closed = (read_out - since_closed.astype("timedelta64[D]")).astype(str).astype(object)
    return opened, blanked(closed, is_open)


def _flags(values: Bools) -> Texts:
    texts: Texts = np.where(values, "Y", "N").astype(object)
    return texts


def _spoil_payload(
    rng: np.random.Generator, payload: pd.DataFrame, key: str, planted: Planted
) -> pd.DataFrame:
    """A status that no list has, a case closed before it was opened."""
    spoilt = payload.copy()
    chosen = rng.permutation(len(payload))[: defects.UNKNOWN_STATUS_N + 1]
    spoilt.loc[chosen[:-1], "looked_after_status"] = UNKNOWN_STATUS
    spoilt.loc[chosen[-1:], ["opened_on", "closed_on"]] = ["2015-03-02", "2014-03-02"]
    planted.add(key, "social_work_payload", "unknown_status", len(chosen) - 1)
    planted.add(key, "social_work_payload", "closed_before_opened", 1)
    return spoilt


def _repeat(ids: pd.DataFrame, key: str, planted: Planted) -> pd.DataFrame:
    """One record exported twice, alike in every cell."""
    planted.add(key, "social_work_ids", "repeated_record", 1)
    return pd.concat([ids, ids.iloc[[0]]], ignore_index=True)
