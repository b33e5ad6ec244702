"""Identifiers: Scottish Candidate Numbers, survey UIDs, names, postcodes, typing errors.

Belongs here: making and checking identifier values. Does not belong here: who gets
which (`people.py`) and any standardisation for linkage, which has code of its own.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.simulate.draws import Bools, Floats, Ints, Texts, choose, stream

# domain.md 3.5: two digits of the year of issue, six digits, a check digit.
SCN_WEIGHTS = np.array([3, 2, 7, 6, 5, 4, 3, 2])
# Letters of a UID stand for digits 0-9, so that its check digit sees every change of one sign.
UID_LETTERS = np.array(list("BCDFGHJKLM"))
UID_WEIGHTS = np.array([3, 7, 9, 1, 3, 7, 9, 1, 3])
# Letters that an inward postcode can have.
INWARD_LETTERS = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
INWARDS_N = 9 * len(INWARD_LETTERS) ** 2
POSTCODES_A_ZONE_N = 18
NAMES = Path(__file__).parent / "data" / "names.csv"


def scn_check_digit(first_eight: Ints) -> Ints:
    """Check digit of SCNs; -1 where the first eight digits have none (remainder 1).

    Args:
        first_eight: the first eight digits as numbers.
    """
    remainder = (digits(first_eight, 8) * SCN_WEIGHTS).sum(axis=1) % 11
    return np.where(remainder == 0, 0, np.where(remainder == 1, -1, 11 - remainder))


def make_scns(rng: np.random.Generator, years: Ints) -> Texts:
    """A different valid SCN for each pupil.

    Args:
        years: calendar year of issue of each pupil's number.
    """
    scns = np.empty(len(years), dtype=object)
    for year in np.unique(years):
        chosen = np.flatnonzero(years == year)
        # A tenth of all bodies have no check digit: draw enough spare ones.
        bodies = rng.choice(1_000_000, size=int(len(chosen) * 1.25) + 20, replace=False)
        first_eight = (year % 100) * 1_000_000 + bodies
        check = scn_check_digit(first_eight)
        valid = np.flatnonzero(check >= 0)[: len(chosen)]
        numbers = first_eight[valid] * 10 + check[valid]
        scns[chosen] = [f"{number:09d}" for number in numbers]
    return scns


def make_uids(seed: int, school_keys: list[str], school_of: Ints) -> Texts:
    """A different UID for each pupil, keyed on the school: two letters, eight digits.

    The letters and three digits are keyed on engagement and SEED code (never on the
    school's name: domain.md 1.1, the known defect), four digits are a shuffled number
    inside the school, the last is a check digit.

    Args:
        seed: part of the key.
        school_keys: one text a school.
        school_of: school index of each pupil.
    """
    prefixes = _school_prefixes(seed, school_keys)
    serial = np.empty(len(school_of), dtype=np.int64)
    rng = stream(seed, "uid")
    order = np.argsort(school_of, kind="stable")
    counts = np.bincount(school_of, minlength=len(school_keys))
    serial[order] = np.concatenate([rng.permutation(10_000)[:n] for n in counts])
    signs = np.hstack([digits(prefixes[school_of], 5), digits(serial, 4)])
    check = (signs * UID_WEIGHTS).sum(axis=1) % 10
    letters = UID_LETTERS[signs[:, 0]] + UID_LETTERS[signs[:, 1]]
    numbers = (prefixes[school_of] % 1_000) * 100_000 + serial * 10 + check
    uids: Texts = np.array(
        [f"{a}{n:08d}" for a, n in zip(letters, numbers, strict=True)], dtype=object
    )
    return uids


def is_valid_uid(uid: str) -> bool:
    """True if the check digit of a UID fits."""
    letters = UID_LETTERS.tolist()
    if len(uid) != 10 or any(sign not in letters for sign in uid[:2]) or not uid[2:].isdigit():
        return False
    signs = [letters.index(sign) for sign in uid[:2]] + [int(sign) for sign in uid[2:]]
    check = int((np.array(signs[:9]) * UID_WEIGHTS).sum() % 10)
    return bool(check == signs[9])


def make_postcodes(rng: np.random.Generator, districts: Texts, zone_numbers: Ints) -> Texts:
    """Postcodes of a data zone: a handful of inward codes a zone."""
    inward = (zone_numbers * 7 + rng.integers(0, POSTCODES_A_ZONE_N, len(zone_numbers))) % INWARDS_N
    n = len(INWARD_LETTERS)
    sector = (inward // n**2 + 1).astype(str)
    letters = INWARD_LETTERS[inward // n % n] + INWARD_LETTERS[inward % n]
    texts: Texts = np.char.add(np.char.add(sector, letters), "").astype(object)
    codes: Texts = districts + " " + texts
    return codes


class NameBook:
    """Frequencies of surnames, and of forenames by sex (and birth year, where known)."""

    def __init__(self, reference: Path | None) -> None:
        with NAMES.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self._names = {
            kind: _frequencies([row for row in rows if row["kind"] == kind])
            for kind in ("surname", "F", "M")
        }
        self._by_year = _published_names(reference) if reference is not None else {}

    def surnames(self, rng: np.random.Generator, n: int) -> Texts:
        """`n` surnames, about 4 % of them double-barrelled."""
        single, second = (choose(rng, *self._names["surname"], n) for _ in range(2))
        double = (rng.random(n) < 0.04) & (single != second)
        return np.where(double, single + "-" + second, single)

    def forenames(self, rng: np.random.Generator, is_girl: Bools, years: Ints) -> Texts:
        """A forename for each child, by sex and year of birth."""
        names = np.empty(len(is_girl), dtype=object)
        for sex, chosen in (("F", is_girl), ("M", ~is_girl)):
            for year in np.unique(years[chosen]):
                here = np.flatnonzero(chosen & (years == year))
                options, weights = self._by_year.get((sex, int(year)), self._names[sex])
                names[here] = choose(rng, options, weights, len(here))
        return names


def add_typos(rng: np.random.Generator, names: Texts, share: float) -> tuple[Texts, Bools]:
    """Swap two neighbouring letters in a share of the names; returns names and which changed."""
    lengths = np.array([len(name) for name in names])
    wrong = (rng.random(len(names)) < share) & (lengths >= 4)
    at = 1 + (rng.random(len(names)) * (lengths - 2)).astype(np.int64)
    spoilt = names.copy()
    spoilt[wrong] = [
        name[:k] + name[k + 1] + name[k] + name[k + 2 :]
        for name, k in zip(names[wrong], at[wrong], strict=True)
    ]
    return spoilt, spoilt != names


def digits(numbers: Ints, width: int) -> Ints:
    """Decimal digits of each number, most significant first: (rows, width)."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return numbers.astype(np.int64)[:, None] // powers[None, :] % 10


def _school_prefixes(seed: int, school_keys: list[str]) -> Ints:
    """Five digits a school by keyed hash; the next attempt where two schools collide."""
    taken: set[int] = set()
    prefixes = []
    key = f"rcs-simulated-uid-{seed}".encode()
    for school in school_keys:
        attempt = 0
        while True:
            digest = hmac.new(key, f"{school}/{attempt}".encode(), hashlib.sha256).digest()
            prefix = int.from_bytes(digest[:8], "big") % 100_000
            if prefix not in taken:
                break
            attempt += 1
        taken.add(prefix)
        prefixes.append(prefix)
    return np.array(prefixes, dtype=np.int64)


def _frequencies(rows: list[dict[str, str]]) -> tuple[Texts, Floats]:
    names = np.array([row["name"] for row in rows], dtype=object)
    return names, np.array([float(row["weight"]) for row in rows])


def _published_names(reference: Path) -> dict[tuple[str, int], tuple[Texts, Floats]]:
    """Baby names by sex and year, where the reference folder has the published file."""
    path = reference / "names" / "nrs_scottish_baby_names_1998_2020.csv"
    if not path.is_file():
        return {}
    frame = pd.read_csv(path)
    return {
        (str(sex), int(str(year))): (
            group["name"].to_numpy(dtype=object),
            group["n"].to_numpy(dtype=np.float64),
        )
        for (sex, year), group in frame.groupby(["sex", "year"])
    }
