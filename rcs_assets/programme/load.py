"""Reads the programme register from its data files.

Belongs here: which files and columns make the register, and the rules between them.
Does not belong here: the types (`model.py`), reading CSV as such (`datafile.py`), what
is measured (`codebook`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from rcs_assets.programme.datafile import DataFolder, Row, read_rows
from rcs_assets.programme.model import (
    Approval,
    Cpp,
    DatedCode,
    Engagement,
    Programme,
    Settlement,
    SurveyWave,
    Tranche,
)

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "cpps.csv": (
        "slug",
        "name",
        "council_code",
        "council_name",
        "la_code",
        "health_board_code",
        "health_board_name",
    ),
    "codes.csv": ("slug", "kind", "code", "valid_from", "valid_to"),
    "tranches.csv": ("key", "number", "label", "starts_on", "ends_on", "source"),
    "engagements.csv": ("key", "tranche", "cpp", "source"),
    "waves.csv": (
        "engagement",
        "survey",
        "contractor",
        "stages",
        "fieldwork_start",
        "fieldwork_end",
        "design",
        "mode",
        "target_n",
        "is_held",
        "source",
    ),
    "privacy.csv": (
        "engagement",
        "controller",
        "processors",
        "contract_expires_on",
        "iso27001_expires_on",
        "dpia_reference",
        "dpia_review_on",
        "sharing_agreement",
        "ethics",
        "panel",
        "notice_version",
        "lawful_basis",
        "valid_from",
        "expires_on",
        "retention_until",
        "source",
    ),
    "settlements.csv": (
        "key",
        "topic",
        "contradiction",
        "settled_as",
        "configured_in",
        "source",
    ),
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "cpps.csv": ("slug",),
    "codes.csv": ("slug", "kind", "valid_from"),
    "tranches.csv": ("key",),
    "engagements.csv": ("key",),
    "waves.csv": ("engagement", "survey"),
    "privacy.csv": ("engagement",),
    "settlements.csv": ("key",),
}
# The vocabulary of the register: interfaces.md (surveys) and domain.md 0.2, 1.1 (the rest).
STAGES_OF: Mapping[str, tuple[str, ...]] = {
    "primary": ("P4", "P5", "P6", "P7"),
    "secondary": ("S1", "S2", "S3", "S4", "S5", "S6"),
    "parent": (),
}
CODE_KINDS = ("council", "health_board")
DESIGNS = ("census", "quota")
# Every file of an engagement is named by it: its contract reads no other signs (datasets.yaml).
_SLUG = re.compile(r"[a-z]+(-[a-z]+)*")


def load_programme(overlay: Path | None = None) -> Programme:
    """The register: defaults of the package, with an adopter's rows laid over them.

    Args:
        overlay: a folder with files of the same names (`$RCS_HOME/config`); a row of the
            same key replaces, another key adds. None or a missing file: defaults only.

    Returns:
        The register; engagements ordered by tranche number, then name. The same files give
        the same object.

    Raises:
        ConfigurationError: names file, row, column, rule and fix.
    """
    folder = DataFolder("programme", Path(__file__).parent / "data", overlay).used_for(COLUMNS)
    return _load(folder, folder.version(COLUMNS))


@lru_cache(maxsize=8)
def _load(folder: DataFolder, version: str) -> Programme:
    rows = {file: read_rows(folder, file, COLUMNS[file], KEYS[file]) for file in COLUMNS}
    cpps = {row.required("slug"): _cpp(row) for row in rows["cpps.csv"]}
    tranches = {row.required("key"): _tranche(row) for row in rows["tranches.csv"]}
    codes = _codes(rows["codes.csv"], cpps)
    engagements = _engagements(rows["engagements.csv"], rows["waves.csv"], tranches, cpps)
    return Programme(
        version=version,
        tranches=dict(sorted(tranches.items(), key=lambda pair: pair[1].number)),
        cpps=cpps,
        codes=codes,
        engagements=engagements,
        approvals={
            row.choice("engagement", engagements): _approval(row) for row in rows["privacy.csv"]
        },
        settlements=tuple(_settlement(row) for row in rows["settlements.csv"]),
    )


def _cpp(row: Row) -> Cpp:
    if not _SLUG.fullmatch(row.required("slug")):
        raise row.problem(
            "slug",
            "the names of its files begin with it: words of small letters a to z, joined by -",
            "write it without accents, digits and blanks, such as `na-h-eileanan-siar`",
        )
    return Cpp(**{column: row.required(column) for column in COLUMNS["cpps.csv"]})


def _tranche(row: Row) -> Tranche:
    tranche = Tranche(
        key=row.required("key"),
        number=row.integer("number"),
        label=row.required("label"),
        starts_on=row.day("starts_on"),
        ends_on=row.day("ends_on"),
    )
    if tranche.key != f"t{tranche.number}":
        raise row.problem("key", "a tranche's key is `t` and its number", "rename the key")
    if tranche.ends_on < tranche.starts_on:
        raise row.problem("ends_on", "a tranche ends after it starts", "correct one of the days")
    return tranche


def _codes(rows: tuple[Row, ...], cpps: Mapping[str, Cpp]) -> tuple[DatedCode, ...]:
    codes = tuple(
        DatedCode(
            slug=row.choice("slug", cpps),
            kind=row.choice("kind", CODE_KINDS),
            code=row.required("code"),
            valid_from=row.day("valid_from"),
            valid_to=row.optional_day("valid_to"),
        )
        for row in rows
    )
    for row, code in zip(rows, codes, strict=True):
        _check_code(row, code, codes, cpps[code.slug])
    return codes


def _check_code(row: Row, code: DatedCode, codes: tuple[DatedCode, ...], cpp: Cpp) -> None:
    """Periods of one CPP and kind do not overlap; the open one is the CPP's code of today."""
    for other in codes:
        is_same = (other.slug, other.kind) == (code.slug, code.kind) and other is not code
        if not is_same or other.valid_from < code.valid_from:
            continue
        if code.valid_to is None or code.valid_to >= other.valid_from:
            raise row.problem(
                "valid_to",
                "two codes of one CPP hold on the same day",
                "end this one on the day before the next one starts",
            )
    today = cpp.council_code if code.kind == "council" else cpp.health_board_code
    if code.valid_to is None and code.code != today:
        raise row.problem(
            "code", "the code without an end is not the one in cpps.csv", "make both the same"
        )


def _engagements(
    rows: tuple[Row, ...],
    wave_rows: tuple[Row, ...],
    tranches: Mapping[str, Tranche],
    cpps: Mapping[str, Cpp],
) -> dict[str, Engagement]:
    held_in = {row.values["key"]: tranches[row.choice("tranche", tranches)] for row in rows}
    waves = [wave for row in wave_rows if (wave := _wave(row, held_in)) is not None]
    found = [_engagement(row, waves, tranches, cpps) for row in rows]
    found.sort(key=lambda e: (tranches[e.tranche].number, e.key))
    return {engagement.key: engagement for engagement in found}


def _engagement(
    row: Row, waves: list[SurveyWave], tranches: Mapping[str, Tranche], cpps: Mapping[str, Cpp]
) -> Engagement:
    tranche = row.choice("tranche", tranches)
    cpp = cpps[row.choice("cpp", cpps)]
    key = f"{tranche}-{cpp.slug}"
    if row.values["key"] != key:
        raise row.problem("key", "the key is tranche and CPP, joined by -", f"write `{key}`")
    own = tuple(wave for wave in waves if wave.engagement == key)
    if not own:
        raise row.problem("key", "an engagement has at least one survey", "add it to waves.csv")
    return Engagement(key=key, tranche=tranche, cpp=cpp, waves=own)


def _wave(row: Row, held_in: Mapping[str, Tranche]) -> SurveyWave | None:
    """The wave, or None where `is_held` says that it did not take place.

    Args:
        row: of `waves.csv`.
        held_in: engagement → its tranche.
    """
    survey = row.choice("survey", STAGES_OF)
    wave = SurveyWave(
        engagement=row.choice("engagement", held_in),
        survey=survey,
        contractor=row.required("contractor"),
        stages=row.items("stages", STAGES_OF[survey]),
        fieldwork_start=row.day("fieldwork_start"),
        fieldwork_end=row.day("fieldwork_end"),
        design=row.choice("design", DESIGNS),
        mode=row.required("mode"),
        target_n=row.optional_integer("target_n"),
        source=row.required("source"),
    )
    if wave.fieldwork_end < wave.fieldwork_start:
        raise row.problem("fieldwork_end", "fieldwork ends after it starts", "correct the days")
    _check_days(row, wave, held_in[wave.engagement])
    if bool(wave.stages) != (survey != "parent"):
        raise row.problem(
            "stages", "school surveys list their stages, parent surveys none", "correct the cell"
        )
    if (wave.design == "quota") != (wave.target_n is not None):
        raise row.problem(
            "target_n", "a quota design has a target, a census none", "correct target or design"
        )
    return wave if row.flag("is_held") else None


def _check_days(row: Row, wave: SurveyWave, tranche: Tranche) -> None:
    """What a tranche is compared by are the years in which its answers were given."""
    days = {"fieldwork_start": wave.fieldwork_start, "fieldwork_end": wave.fieldwork_end}
    for column, day in days.items():
        if not tranche.starts_on <= day <= tranche.ends_on:
            raise row.problem(
                column,
                f"{tranche.key} runs from {tranche.starts_on} to {tranche.ends_on}, "
                "its fieldwork lies within",
                "correct the day, the engagement's tranche, or the tranche's days in tranches.csv",
            )


def _approval(row: Row) -> Approval:
    return Approval(
        engagement=row.required("engagement"),
        controller=row.text("controller"),
        processors=row.text("processors"),
        contract_expires_on=row.optional_day("contract_expires_on"),
        iso27001_expires_on=row.optional_day("iso27001_expires_on"),
        dpia_reference=row.text("dpia_reference"),
        dpia_review_on=row.optional_day("dpia_review_on"),
        sharing_agreement=row.text("sharing_agreement"),
        ethics=row.text("ethics"),
        panel=row.text("panel"),
        notice_version=row.text("notice_version"),
        lawful_basis=row.text("lawful_basis"),
        valid_from=row.optional_day("valid_from"),
        expires_on=row.optional_day("expires_on"),
        retention_until=row.optional_day("retention_until"),
        source=row.required("source"),
    )


def _settlement(row: Row) -> Settlement:
    return Settlement(**{column: row.required(column) for column in COLUMNS["settlements.csv"]})
