"""Defects of a sample file's schools: names for SEED codes, similar names, UIDs of another school.

Belongs here: what a council gets wrong about its schools, the historic defect of domain.md 1.1,
the decision of the simulated operator on it. Does not belong here: who the pupils are
(`people.py`), the other defects of the sample file (`education.py`), any rule of intake: which
names are confusable is told here by a rule of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from rcs_assets.simulate import defects
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import stream
from rcs_assets.simulate.identifiers import make_uids
from rcs_assets.simulate.public import NAMES_FILE, ROLL_FILE

DATASET = "sample_file"
DECIDED_BY = "simulated operator"
_KIND_OF_SCHOOL = re.compile(
    r"\b(primary|school|academy|high|grammar|community|secondary|r ?c|nursery class)\b|[^a-z ]"
)


@dataclass(frozen=True)
class SchoolDefects:
    """The sample file with its defects, and what an operator decides about it.

    Attributes:
        sample: rows of the file, with a column `school_name`.
        decisions: seed_code_delivered, seed_code_right of UIDs under another school.
    """

    sample: pd.DataFrame
    decisions: pd.DataFrame


def plant_school_defects(
    sample: pd.DataFrame,
    schools: pd.DataFrame,
    published: pd.DataFrame,
    earlier: Mapping[str, str],
    key: str,
    seed: int,
    planted: Planted,
) -> SchoolDefects:
    """What a council's list of pupils has wrong about schools.

    Rows of pupils who exist stay recoverable; what intake must set aside is planted as further
    rows, whose UIDs were issued to nobody.

    Args:
        sample: the sample file of one engagement, in any order.
        schools: seed_code and name of its surveyed schools.
        published: seed_code and type (School Type) of every school of the council.
        earlier: SEED code → earlier name.
        key: engagement.
        seed: of all draws.
        planted: the book.
    """
    rng = stream(seed, "school-defects", key)
    names = dict(zip(schools["seed_code"], schools["name"], strict=True))
    frame = sample.copy()
    frame["school_name"] = frame["seed_code"].map(names)
    sizes = {str(code): int(n) for code, n in frame["seed_code"].value_counts().items()}
    pair = similar_pair(names, sizes)
    moved = pd.DataFrame(columns=["seed_code_delivered", "seed_code_right"])
    extra = [_special(frame, published, rng)]
    if pair is not None:
        wrong, right = pair
        chosen = (frame["seed_code"] == right).to_numpy()
        frame.loc[chosen, ["seed_code", "school_name"]] = [wrong, names[wrong]]
        planted.add(key, DATASET, "uids_of_similar_school", int(chosen.sum()))
        moved = pd.DataFrame({"seed_code_delivered": [wrong], "seed_code_right": [right]})
        extra.append(_contradicted(frame, wrong, names[right], rng))
    _names_for_codes(frame, earlier, set(pair or ()), key, planted)
    extra.append(_unknown_names(frame, rng))
    added = pd.concat(extra, ignore_index=True)
    for kind, n in added.pop("kind").value_counts().items():
        planted.add(key, DATASET, str(kind), int(n))
    school = np.zeros(len(added), dtype=np.int64)
    added["survey_uid"] = make_uids(seed, [f"nobody/{key}"], school)
    whole = pd.concat([frame, added], ignore_index=True)
    return SchoolDefects(whole.iloc[rng.permutation(len(whole))].reset_index(drop=True), moved)


def similar_pair(names: Mapping[str, str], sizes: Mapping[str, int]) -> tuple[str, str] | None:
    """Two schools of one name but for the kind of school: the larger first, or None.

    Of several pairs the one whose smaller school has most pupils, so that the roll can tell.
    """
    by_stem: dict[str, list[str]] = {}
    for seed_code in sorted(names):
        if sizes.get(seed_code, 0) >= defects.LEAST_MISPLACED_N:
            stem = _KIND_OF_SCHOOL.sub("", names[seed_code].lower().replace("(fictitious)", ""))
            by_stem.setdefault(" ".join(stem.split()), []).append(seed_code)
    pairs = [pair for held in by_stem.values() for pair in combinations(held, 2)]
    ordered = [tuple(sorted(pair, key=lambda code: (-sizes[code], code))) for pair in pairs]
    best = min(ordered, key=lambda pair: (-sizes[pair[1]], pair), default=None)
    return None if best is None else (best[0], best[1])


def decisions_file(moved: pd.DataFrame, sample_sha256: str, day: str) -> pd.DataFrame:
    """The rows of a delivery of decisions: every repair confirmed."""
    return pd.DataFrame(
        {
            "sample_sha256": sample_sha256,
            **moved,
            "decision": "repair",
            "decided_by": DECIDED_BY,
            "decided_on": day,
            "reason": "both schools were asked; the UIDs were printed for the other one",
        }
    )


def earlier_names(folder: Path) -> dict[str, str]:
    """SEED code → a name that the school had before, where the folder has the list."""
    path = folder / NAMES_FILE
    if not path.is_file():
        return {}
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame = frame[frame["old_school_name"].str.strip() != ""]
    return dict(zip(frame["seed_code"], frame["old_school_name"], strict=True))


def published_schools(folder: Path) -> pd.DataFrame:
    """Council, SEED code and type of every school of the roll file."""
    frame = pd.read_csv(folder / ROLL_FILE, dtype=str, keep_default_na=False)
    columns = {"Local Authority": "council", "SeedCode": "seed_code", "School Type": "type"}
    return frame[list(columns)].rename(columns=columns)


def _names_for_codes(
    frame: pd.DataFrame, earlier: Mapping[str, str], kept: set[str], key: str, planted: Planted
) -> None:
    """One school stands by name only, by its earlier one where it has one."""
    held = sorted(set(frame["seed_code"]) - kept)
    known = [code for code in held if code in earlier]
    code = (known or held)[0]
    rows = (frame["seed_code"] == code).to_numpy()
    if known:
        frame.loc[rows, "school_name"] = earlier[code]
    frame.loc[rows, "seed_code"] = None
    kind = "earlier_name_for_code" if known else "name_for_code"
    planted.add(key, DATASET, kind, int(rows.sum()))


def _drawn(frame: pd.DataFrame, n: int, rng: np.random.Generator, kind: str) -> pd.DataFrame:
    """Rows of nobody: another pupil's details with another birth date, and no SCN."""
    rows = frame.iloc[rng.permutation(len(frame))[:n]].copy()
    rows[["scn", "second_forename", "postcode"]] = None
    rows["date_of_birth"] = "2006-02-28"
    return rows.assign(kind=kind)


def _special(
    frame: pd.DataFrame, published: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    special = sorted(published.loc[published["type"] == "Special", "seed_code"])
    rows = _drawn(frame, defects.SPECIAL_SCHOOL_N if special else 0, rng, "special_school")
    return rows.assign(seed_code=special[0] if special else "", school_name=None, stage="SP")


def _contradicted(
    frame: pd.DataFrame, wrong: str, name: str, rng: np.random.Generator
) -> pd.DataFrame:
    """A SEED code beside the name of the similar school."""
    own = frame[(frame["seed_code"] == wrong).to_numpy()]
    rows = _drawn(own, defects.NAME_OF_OTHER_SCHOOL_N, rng, "name_of_other_school")
    return rows.assign(school_name=name)


def _unknown_names(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    rows = _drawn(frame, defects.UNKNOWN_NAME_N, rng, "unknown_school_name")
    return rows.assign(seed_code=None, school_name="The New School")
