"""Details that follow the councils' extracts: attendance, exclusions, levels, histories of care.

Belongs here: rows that agree with the payload that they belong to, and their defects. Does not
belong here: who the children are (`education.py`, `social_work.py`).
Levels: domain.md 4.2 to 4.4; what is not published is [DES].
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from rcs_assets.simulate import defects
from rcs_assets.simulate.defects import Planted
from rcs_assets.simulate.draws import Ints, Texts, blanked, choose, stream

# 190 school days of two half-day openings.
POSSIBLE_N = 380
# Of absence: the share that is authorised; half-days of an exclusion.
AUTHORISED_SHARE = 0.68
HALF_DAYS_AN_EXCLUSION = 4
REMOVED_SHARE = 0.002
ORGANISERS = ("reading", "writing", "listening_and_talking", "numeracy")
# Chance that the expected level is achieved or bettered, by stage [DES] near ACEL 2016-17.
ACHIEVED = {"P7": 0.73, "S3": 0.88}
LEVELS = {
    "P7": (("first", "second", "third"), (0.9, 0.1)),
    "S3": (("second", "third", "fourth"), (0.6, 0.4)),
}
# The collection began in June 2016.
FIRST_ACEL = 2015
NO_JUDGEMENT_SHARE, INDIVIDUAL_SHARE = 0.01, 0.006
# Of children looked after now or before: who changed placement once; legal reasons away from home.
SECOND_PLACEMENT_SHARE = 0.35
REASONS_AWAY = (
    ("cso_away_from_home", 55), ("accommodated_section_25", 20), ("permanence_order", 17),
    ("interim_order_or_warrant", 5), ("child_protection_measure", 2), ("other", 1),
)  # fmt: skip
CARE_COLUMNS = (
    "record_id,row_no,episode_no,what,started_on,ended_on,placement,legal_reason,destination"
).split(",")
EVENT_COLUMNS = (
    "record_id,event_no,event,event_on,conference_type,is_registered,is_deregistered,"
    "is_previously_registered,last_deregistered_on,originating_la_code,receiving_la_code,"
    "has_sexual_exploitation,has_trafficking,has_forced_labour"
).split(",")


def education_details(
    payload: pd.DataFrame, key: str, first_day: date, seed: int, planted: Planted | None
) -> dict[str, pd.DataFrame]:
    """Attendance, exclusions and CfE levels of one engagement's education extract.

    Args:
        payload: the extract's payload as it is delivered.
        key: the engagement.
        first_day: of fieldwork; the school year before it is told.
        seed: of all draws.
        planted: book of planted defects, or None for clean files.

    Returns:
        File ending (`attendance`, `exclusions`, `cfe-levels`) to rows, by record id.
    """
    rng = stream(seed, "education-details", key)
    started = first_day.year - 1 if first_day.month >= 8 else first_day.year - 2
    held = payload.sort_values("record_id").reset_index(drop=True)
    exclusions = _exclusions(rng, held, started)
    frames = {
        "attendance": _attendance(held, exclusions, _school_year(started)),
        "exclusions": exclusions,
        "cfe-levels": _levels(rng, held, _school_year(max(started, FIRST_ACEL))),
    }
    return frames if planted is None else _spoil_education(frames, key, planted)


def _school_year(started: int) -> str:
    return f"{started}-{(started + 1) % 100:02d}"


def _exclusions(rng: np.random.Generator, held: pd.DataFrame, started: int) -> pd.DataFrame:
    cases = held["exclusions_n"].astype(int).to_numpy()
    rows = np.repeat(np.arange(len(held)), cases)
    n = len(rows)
    starts = np.datetime64(f"{started}-08-20", "D") + rng.integers(0, 290, n).astype(
        "timedelta64[D]"
    )
    halves = 1 + rng.poisson(HALF_DAYS_AN_EXCLUSION - 1, n)
    removed = rng.random(n) < REMOVED_SHARE
    ends = (starts + (halves // 2).astype("timedelta64[D]")).astype(str).astype(object)
    numbers = np.arange(n) - np.repeat(np.cumsum(cases) - cases, cases) + 1
    return pd.DataFrame(
        {
            "record_id": held["record_id"].to_numpy()[rows],
            "case_no": numbers,
            "kind": np.where(removed, "removed_from_register", "temporary"),
            "started_on": starts.astype(str),
            "ended_on": blanked(ends, removed),
            "half_days_n": blanked(halves.astype(str).astype(object), removed),
        }
    )


def _attendance(held: pd.DataFrame, exclusions: pd.DataFrame, year: str) -> pd.DataFrame:
    pct = held["attendance_pct"].to_numpy(dtype=np.float64)
    attended = np.round(pct / 100 * POSSIBLE_N).astype(np.int64)
    absent = POSSIBLE_N - attended
    halves = pd.to_numeric(exclusions["half_days_n"]).fillna(0)
    sums = halves.groupby(exclusions["record_id"]).sum()
    own = held["record_id"].map(sums).fillna(0).to_numpy(dtype=np.int64)
    excluded: Ints = np.minimum(own, absent)
    authorised = np.floor((absent - excluded) * AUTHORISED_SHARE).astype(np.int64)
    return pd.DataFrame(
        {
            "record_id": held["record_id"],
            "school_year": year,
            "possible_n": POSSIBLE_N,
            "attended_n": attended,
            "authorised_n": authorised,
            "unauthorised_n": absent - excluded - authorised,
            "excluded_n": excluded,
        }
    )


def _levels(rng: np.random.Generator, held: pd.DataFrame, year: str) -> pd.DataFrame:
    """Four judgements a pupil of P7 and S3; those of one pupil go together."""
    parts = []
    for stage, (levels, shares) in LEVELS.items():
        own = held.loc[held["stage"] == stage, "record_id"].to_numpy()
        able = rng.normal(size=(len(own), 1)) * 0.8 + rng.normal(size=(len(own), 4)) * 0.6
        missed = able > np.quantile(able, ACHIEVED[stage]) if len(own) else able > 0
        better = rng.random(missed.shape) < shares[1]
        level: Texts = np.where(missed, levels[0], np.where(better, levels[2], levels[1]))
        level = np.where(
            rng.random((len(own), 1)) < INDIVIDUAL_SHARE, "individual_milestones", level
        )
        level = np.where(rng.random(missed.shape) < NO_JUDGEMENT_SHARE, "no_judgement", level)
        parts.append(
            pd.DataFrame(
                {
                    "record_id": np.repeat(own, 4),
                    "school_year": year,
                    "stage": stage,
                    "organiser": np.tile(np.array(ORGANISERS, dtype=object), len(own)),
                    "level": level.ravel(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _spoil_education(
    frames: dict[str, pd.DataFrame], key: str, planted: Planted
) -> dict[str, pd.DataFrame]:
    """Classes that do not sum, a level in other words, a row of nobody, one sent twice, dates."""
    attendance, levels = frames["attendance"].copy(), frames["cfe-levels"].copy()
    exclusions = frames["exclusions"].copy()
    wrong = attendance.index[: defects.DETAIL_ROWS_N]
    attendance.loc[wrong, "possible_n"] -= 10
    nobody = attendance.iloc[[-1]].assign(record_id="E0000000")
    attendance = pd.concat([attendance, nobody, attendance.iloc[[-1]]], ignore_index=True)
    planted.add(key, "attendance", "halves_off_possible", len(wrong))
    planted.add(key, "attendance", "record_of_nobody", 1)
    planted.add(key, "attendance", "repeated_row", 1)
    if len(levels) >= defects.DETAIL_ROWS_WITH_A_DEFECT_N:
        levels.loc[levels.index[: defects.DETAIL_ROWS_N], "level"] = "Second Level"
        planted.add(key, "cfe_levels", "level_in_other_words", defects.DETAIL_ROWS_N)
    if len(exclusions) >= defects.DETAIL_ROWS_WITH_A_DEFECT_N:
        first = exclusions.index[exclusions["kind"] == "temporary"][:1]
        exclusions.loc[first, "ended_on"] = "2010-01-04"
        planted.add(key, "exclusions", "ended_before_started", len(first))
    return {"attendance": attendance, "exclusions": exclusions, "cfe-levels": levels}


def child_protection(
    payload: pd.DataFrame, key: str, first_day: date, seed: int, planted: Planted | None
) -> pd.DataFrame:
    """Events of the children whom the payload says to have been on the register.

    Each has an investigation, an initial conference two weeks later and a review after three
    months, at which half come off the register.

    Args:
        payload: the social work payload as it is delivered.
        key: the engagement.
        first_day: of fieldwork.
        seed: of all draws.
        planted: book of planted defects, or None for clean files.
    """
    rng = stream(seed, "child-protection", key)
    chosen = payload.loc[payload["child_protection_12m"] == "Y"].sort_values("record_id")
    n = len(chosen)
    began = np.datetime64(first_day, "D") - rng.integers(120, 330, n).astype("timedelta64[D]")
    before = rng.random(n) < 0.15
    left = rng.random(n) < 0.5
    codes = choose(rng, np.array(["", "900", "190"], dtype=object), np.array([0.95, 0.02, 0.03]), n)
    steps = (("investigation", "", 0), ("conference", "initial", 14), ("conference", "review", 104))
    parts = []
    for number, (event, kind, after) in enumerate(steps, start=1):
        frame = pd.DataFrame("", index=range(n), columns=EVENT_COLUMNS, dtype=object)
        frame["record_id"] = chosen["record_id"].to_numpy()
        frame["event_no"] = number
        frame["event"] = event
        frame["event_on"] = (began + np.timedelta64(after, "D")).astype(str)
        if event == "conference":
            is_first = kind == "initial"
            frame["conference_type"] = kind
            frame["is_registered"] = "Y" if is_first else "N"
            frame["is_deregistered"] = np.where(left & (not is_first), "Y", "N")
            frame["is_previously_registered"] = np.where(before | (not is_first), "Y", "N")
            frame["last_deregistered_on"] = np.where(before, "1900-01-02", "")
            frame["originating_la_code"] = codes if is_first else ""
            for concern in ("has_sexual_exploitation", "has_trafficking", "has_forced_labour"):
                frame[concern] = np.where(rng.random(n) < 0.01, "Y", "N")
        parts.append(frame)
    events = pd.concat(parts, ignore_index=True).sort_values(["record_id", "event_no"])
    events = events.reset_index(drop=True)
    if planted is not None and len(events) >= defects.DETAIL_ROWS_WITH_A_DEFECT_N:
        events.loc[1, "conference_type"] = "case discussion"
        planted.add(key, "child_protection", "unknown_conference", 1)
    return events


def looked_after(
    payload: pd.DataFrame, key: str, first_day: date, seed: int, planted: Planted | None
) -> pd.DataFrame:
    """Episodes, placements and legal reasons of the children whom the payload says to be in care.

    One episode a child, with one legal reason and one placement, of some two after each other; it
    ended for those who were looked after before. Where a child went is left blank: the list of
    codes was not found.

    Args:
        payload: the social work payload as it is delivered.
        key: the engagement.
        first_day: of fieldwork.
        seed: of all draws.
        planted: book of planted defects, or None for clean files.
    """
    rng = stream(seed, "looked-after", key)
    states = ("currently_home", "currently_away", "previously")
    chosen = payload[payload["looked_after_status"].isin(states)].sort_values("record_id")
    n = len(chosen)
    is_over = (chosen["looked_after_status"] == "previously").to_numpy()
    at_home = (chosen["looked_after_status"] == "currently_home").to_numpy()
    day = np.datetime64(first_day, "D")
    over = day - rng.integers(30, 700, n).astype("timedelta64[D]")
    end = np.where(is_over, over, day)
    start = end - (60 + rng.gamma(1.5, 400.0, n).astype(np.int64).clip(0, 4_000)).astype(
        "timedelta64[D]"
    )
    middle = start + (end - start) // 2
    now = chosen["placement"].fillna("").replace("", "kinship_carers").to_numpy(dtype=object)
    reasons = np.array([name for name, _ in REASONS_AWAY], dtype=object)
    weights = np.array([weight for _, weight in REASONS_AWAY], dtype=np.float64)
    reason = np.where(at_home, "cso_at_home", choose(rng, reasons, weights, n))
    moved = rng.random(n) < SECOND_PLACEMENT_SHARE
    last_day = blanked(end.astype(str).astype(object), ~is_over)
    from_middle = np.where(moved, middle, start)
    rows = (
        ("episode", np.ones(n, dtype=bool), start, last_day, "", ""),
        ("legal_reason", np.ones(n, dtype=bool), start, last_day, "", reason),
        ("placement", moved, start, middle.astype(str), "foster_provided", ""),
        ("placement", np.ones(n, dtype=bool), from_middle, last_day, now, ""),
    )
    parts = []
    for what, held, first, last, placement, legal in rows:
        values = ("", 1, what, first.astype(str), last, placement, legal, "")
        frame = pd.DataFrame(
            dict(zip(CARE_COLUMNS[1:], values, strict=True)), index=range(n), dtype=object
        )
        frame.insert(0, "record_id", chosen["record_id"].to_numpy())
        parts.append(frame[held])
    care = pd.concat(parts, ignore_index=True).sort_values("record_id", kind="stable")
    care["row_no"] = care.groupby("record_id").cumcount() + 1
    care = care.reset_index(drop=True)
    if planted is not None and len(care) >= defects.DETAIL_ROWS_WITH_A_DEFECT_N:
        care.loc[care.index[care["ended_on"].fillna("") != ""][:1], "ended_on"] = "1999-01-04"
        planted.add(key, "looked_after", "ended_before_started", 1)
    return care
