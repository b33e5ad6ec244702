"""Two files of the same pupils, with truth: what the linkage engine is measured on.

Belongs here: pupils with twins and siblings, their two records, who is whose, and whether a
pair is linkable. Does not belong here: errors in identifiers (`misrecorded.py`), the
programme's own deliveries (`run.py`), and any code that links: the truth is independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Bools, Ints, Texts, blanked, stream
from rcs_assets.simulate.identifiers import (
    NameBook,
    digits,
    make_postcodes,
    make_scns,
    scn_check_digit,
)
from rcs_assets.simulate.misrecorded import misrecord
from rcs_assets.simulate.social_work import IDENTIFIERS

TWINS_SHARE = 0.03
SIBLINGS_SHARE = 0.25
SECOND_FORENAME_SHARE = 0.8
# Scotland has some 700,000 pupils in 6,976 data zones and some 440 postcode districts.
PUPILS_A_ZONE_N = 100
PUPILS_A_DISTRICT_N = 1_600
# Seven stages, P5 to S4; the youngest cohort of the second tranche.
FIRST_BIRTHS, COHORTS_N = np.datetime64("2003-03-01"), 7
FIRST_SCN_YEAR = 2008
# Fields of which three must agree for a pair to be linkable without an SCN.
COMPARED = ("surname", "first_forename", "date_of_birth", "postcode")
AGREEMENTS_N = 3


@dataclass(frozen=True)
class PairedFiles:
    """Two files and the truth about them.

    Attributes:
        left: the roll: record_id and identifiers, right but for what `misrecorded` leaves.
        right: the service's records of the same pupils, misrecorded, in another order.
        truth: one row a pupil with a record on both sides: left_id, right_id, is_linkable,
            is_twin.
    """

    left: pd.DataFrame
    right: pd.DataFrame
    truth: pd.DataFrame


def make_pairs(
    pupils_n: int,
    seed: int,
    *,
    left_only_share: float = 0.0,
    right_only_share: float = 0.0,
    scn_share: float = 0.0,
    reference: Path | None = None,
) -> PairedFiles:
    """Draw pupils and the two records of each.

    Args:
        pupils_n: pupils with a record on both sides.
        seed: of all draws.
        left_only_share, right_only_share: further pupils that only one file holds, as a
            share of `pupils_n`.
        scn_share: share of the right file's records that carry an SCN.
        reference: folder with published name frequencies, or None.
    """
    left_only, right_only = (round(pupils_n * s) for s in (left_only_share, right_only_share))
    people = _people(pupils_n + left_only + right_only, seed, NameBook(reference))
    rng = stream(seed, "pairs", "files")
    order = rng.permutation(len(people))
    both, rest = order[:pupils_n], order[pupils_n:]
    left = people.iloc[np.sort(np.concatenate([both, rest[:left_only]]))].reset_index(drop=True)
    right = people.iloc[rng.permutation(np.concatenate([both, rest[left_only:]]))]
    right = right.reset_index(drop=True)
    left["record_id"] = _ids("A", left, rng)
    right["record_id"] = _ids("B", right, rng)
    right["scn"] = blanked(right["scn"].to_numpy(dtype=object), rng.random(len(right)) >= scn_share)
    wrong = misrecord(right[IDENTIFIERS], NameBook(reference), rng, "pairs", Planted())
    wrong.insert(0, "record_id", right["record_id"])
    truth = _truth(left, right)
    columns = ["record_id", *IDENTIFIERS]
    truth["is_linkable"] = linkable(
        left.set_index("record_id").loc[truth["left_id"]],
        wrong.set_index("record_id").loc[truth["right_id"]],
    )
    return PairedFiles(left[columns], wrong[columns], truth)


def linkable(left: pd.DataFrame, right: pd.DataFrame) -> Bools:
    """Whether the two records of each pair still share enough to be found.

    Row by row: a valid SCN, or at least three of surname, first forename, birth date and
    postcode, each exactly or within one edit or one swap. Capitals, accents, spaces, hyphens
    and apostrophes count for nothing. A birth date within one swap may also have day and
    month exchanged.

    Args:
        left, right: identifiers as delivered, row for row.
    """
    agreed = np.sum(
        [_within_one(_bare(left[c]), _bare(right[c]), c == "date_of_birth") for c in COMPARED],
        axis=0,
    )
    enough: Bools = np.asarray(agreed >= AGREEMENTS_N)
    return enough | _same_valid_scn(left["scn"], right["scn"])


def _people(n: int, seed: int, names: NameBook) -> pd.DataFrame:
    rng = stream(seed, "pairs", "people")
    days = rng.integers(0, 365 * COHORTS_N, n)
    born = FIRST_BIRTHS + days.astype("timedelta64[D]")
    zone = rng.integers(0, max(n // PUPILS_A_ZONE_N, 3), n)
    district = _district_names(zone * PUPILS_A_ZONE_N // PUPILS_A_DISTRICT_N)
    people = pd.DataFrame(
        {
            "surname": names.surnames(rng, n),
            "date_of_birth": np.datetime_as_string(born),
            "postcode": make_postcodes(rng, district, zone),
            "sex": np.where(rng.random(n) < 0.5, "F", "M").astype(object),
            "previous_surname": None,
            "scn": make_scns(rng, FIRST_SCN_YEAR + days // 365),
        }
    ).astype(object)
    _share_home(people, rng)
    is_girl = (people["sex"] == "F").to_numpy()
    years = born.astype("datetime64[Y]").astype(np.int64) + 1970
    first, second = (names.forenames(rng, is_girl, years) for _ in range(2))
    twins = np.flatnonzero(people["is_twin"].to_numpy(dtype=bool))
    # Parents do not give two twins one name.
    while len(same := twins[1::2][first[twins[::2]] == first[twins[1::2]]]):
        first[same] = names.forenames(rng, is_girl[same], years[same])
    has_second = (rng.random(n) < SECOND_FORENAME_SHARE) & (second != first)
    people["first_forename"], people["second_forename"] = first, blanked(second, ~has_second)
    people["person"] = np.arange(n)
    return people


def _share_home(people: pd.DataFrame, rng: np.random.Generator) -> None:
    """Neighbouring rows become twins (one birth date) or siblings (two), with one home."""
    pair = np.arange(len(people)) // 2
    kind = rng.random(len(people) // 2 + 1)[pair]
    complete = pair < len(people) // 2
    is_twin = (kind < TWINS_SHARE) & complete
    at_home = (kind < TWINS_SHARE + SIBLINGS_SHARE) & complete
    for columns, chosen in ((["surname", "postcode"], at_home), (["date_of_birth"], is_twin)):
        rows = np.flatnonzero(chosen)
        for column in columns:
            values = people[column].to_numpy(copy=True)
            values[rows[1::2]] = values[rows[::2]]
            people[column] = values
    people["is_twin"] = is_twin


def _district_names(numbers: Ints) -> Texts:
    """Two letters and one or two digits a district: AB1, AB2 … as many as are needed."""
    areas = np.array(list("ABCDEFGHIJKLMNOPRSTUWYZ"))
    letters = np.char.add(areas[numbers // 99 // len(areas)], areas[numbers // 99 % len(areas)])
    names: Texts = np.char.add(letters, (numbers % 99 + 1).astype(str)).astype(object)
    return names


def _ids(prefix: str, frame: pd.DataFrame, rng: np.random.Generator) -> Texts:
    """Record ids that tell nothing of the pair."""
    numbers = rng.permutation(len(frame))
    return np.array([f"{prefix}{number:07d}" for number in numbers], dtype=object)


def _truth(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    joined = left[["person", "record_id", "is_twin"]].merge(
        right[["person", "record_id"]], on="person", suffixes=("_l", "_r")
    )
    renamed = joined.rename(columns={"record_id_l": "left_id", "record_id_r": "right_id"})
    return renamed[["left_id", "right_id", "is_twin"]]


def _bare(values: pd.Series) -> Texts:
    """Lower-case letters and digits without accents; null stays."""
    bare = values.str.normalize("NFKD").str.replace(r"[^A-Za-z0-9]", "", regex=True).str.lower()
    return bare.astype(object).where(bare.notna(), None).to_numpy(dtype=object)


def _within_one(left: Texts, right: Texts, is_date: bool) -> Bools:
    return np.array(
        [
            bool(a) and bool(b) and (a == b or _one_edit(a, b) or (is_date and _turned(a, b)))
            for a, b in zip(left, right, strict=True)
        ]
    )


def _one_edit(a: str, b: str) -> bool:
    """One letter put in, left out or changed, or two neighbours swapped."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    k = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[k:] == b[k + 1 :]
    return a[k + 1 :] == b[k + 1 :] or (
        a[k : k + 2] == b[k : k + 2][::-1] and a[k + 2 :] == b[k + 2 :]
    )


def _turned(a: str, b: str) -> bool:
    """Day and month exchanged in two dates of eight digits."""
    return len(a) == len(b) == 8 and a[:4] == b[:4] and a[4:] == b[6:] + b[4:6]


def _same_valid_scn(left: pd.Series, right: pd.Series) -> Bools:
    same = (left.notna().to_numpy() & (left.to_numpy() == right.to_numpy())).astype(bool)
    numbers = np.where(same, left.to_numpy(dtype=object), "0").astype(np.int64)
    valid: Bools = same & (scn_check_digit(numbers // 10) == digits(numbers, 1)[:, 0])
    return valid
