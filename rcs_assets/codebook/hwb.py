"""Turns a question list of the Health and Wellbeing Census into an overlay of the codebook.

Belongs here: the layout of the published lists (`hwb_metadata_<stage>_row_names.csv`: a column a
question, its options below; `hwb_metadata_routing__<STAGE>.csv`) and the rows that they become.
Does not belong here: reading the overlay, which is the codebook's own code (`load.py`).

The Census knows pupils by SCN, which is an identifier for the vault and never a survey variable
(domain.md 12): it takes the place of the UID in the contracts, and no column of answers is made
of it. The list on substances of S4 (`s4_su`) was kept without SCN, its sex and deprivation are the
pupil's own words (domain.md 1.5): there a number of the submission stands in the place of the UID,
so that answers are taken in and linked to nobody. Labels are made of the lists' short codes; no
wording of a question is taken over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rcs_assets.codebook.load import COLUMNS
from rcs_assets.codebook.model import Codebook
from rcs_assets.codebook.questions import ALL_STAGES, NOT_ASKED, SURVEY_STAGES
from rcs_assets.errors import InputError
from rcs_assets.programme.datafile import read_keys

PREFIX = "hwb_"
LAYOUT = "hwb"
TECHNICAL = frozenset({"hwb_la", "la_code", "take_part", "school_name", "scn"})
SOURCE = "[S:HWBC] published question list"
# The list that knows nobody: its name, and the stage that it asks.
ANONYMOUS = {"S4_SU": "S4"}
# Datasets that know pupils by UID, and the field that holds the SCN instead.
_BY_SCN = {"sample_file": "survey_uid", "opt_outs": "survey_uid"}
_UNLESS = re.compile(r'(\w+) != "([^"]*)"')
_TRANCHE = re.compile(r"t[0-9]+")
_OWN_MISSING = {"Not applicable": -6}
Rows = list[dict[str, object]]


@dataclass(frozen=True)
class Adopted:
    """What was written.

    `version` is the questionnaire version; `unrouted` the questions whose routing asks more than
    one question at once, which the codebook cannot say: they are taken as asked of all.
    """

    version: str
    variables_n: int
    unrouted: tuple[str, ...]


def adopt(lists: Path, stage: str, tranche: str, codebook: Codebook, config: Path) -> Adopted:
    """Write the overlay of one stage's question list.

    Args:
        lists: folder of the published lists.
        stage: P5 to S6, or S4_SU for the list on substances that knows nobody.
        tranche: key under which answers are delivered, `t` and its number.
        codebook: the codebook that the overlay is laid over.
        config: the home's config; files that are there are not touched.

    Raises:
        InputError: no such list, a list without options, no key of a tranche, or a file in the
            way.
    """
    asked = ANONYMOUS.get(stage, stage)
    if asked not in ALL_STAGES:
        raise InputError(
            "There is no such stage", where=stage, fix="name one of P5 to S6, or S4_SU"
        )
    if not _TRANCHE.fullmatch(tranche):
        raise InputError(
            "This is no key of a tranche",
            where=tranche,
            why="a tranche's key is `t` and its number, which is the wave in its files",
            fix="write such as t4",
        )
    survey = next(name for name, stages in SURVEY_STAGES.items() if asked in stages)
    options = _options(lists / f"hwb_metadata_{stage.lower()}_row_names.csv", codebook)
    version = f"{tranche}-hwb-{stage.lower().replace('_', '-')}"
    sets = {tuple(o): "" for o in options.values()}
    for number, words in enumerate(sets, start=1):
        sets[words] = f"{PREFIX}{stage.lower()}_{number}"
    routing, unrouted = _routing(lists / f"hwb_metadata_routing__{stage}.csv", options, codebook)
    names = {code: f"{PREFIX}{stage}_{code}".lower() for code in options}
    rows: dict[str, Rows] = {
        "value_sets.csv": _value_sets(sets, codebook),
        "variables.csv": [
            {
                "name": names[code],
                "label": code.replace("_", " ").capitalize(),
                "theme": "HWB Census",
                "value_set": sets[tuple(words)],
                "surveys": survey,
                "stages": asked,
                "is_sensitive": "yes",
                "source": SOURCE,
            }
            for code, words in options.items()
        ],
        "supplier_names.csv": [
            {"naming": LAYOUT, "variable": names[code], "supplier_name": code} for code in options
        ],
        "codings.csv": _codings(sets, codebook),
        "routing.csv": [
            {
                "variable": names[question],
                "asked_if": names[condition],
                "codes": ";".join(map(str, codes)),
                "source": SOURCE,
            }
            for question, (condition, codes) in routing.items()
        ],
        "questionnaires.csv": [_version(version, tranche, survey, stage)],
        "version_changes.csv": _not_asked(codebook, survey, version, list(names.values())),
    }
    _write(config, rows, _contracts(survey, stage))
    return Adopted(version, len(options), unrouted)


def _options(file: Path, codebook: Codebook) -> dict[str, list[str]]:
    """Question → its options in the list's order; technical columns left out."""
    if not file.is_file():
        raise InputError(
            "There is no question list",
            where=f"file {file.name}",
            why="the list of a stage lies beside the others",
            fix="name the folder of the published lists",
        )
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    missing = _missing(codebook)
    found: dict[str, list[str]] = {}
    for code in lines[0] if lines else ():
        if code in TECHNICAL:
            continue
        words = list(dict.fromkeys(w for line in lines if (w := (line[code] or "").strip())))
        if not set(words) - set(missing):
            raise InputError(
                "A question has no options",
                where=f"file {file.name}, column {code}",
                why="options stand below the question's code",
                fix="correct the list",
            )
        found[code] = words
    return found


def _missing(codebook: Codebook) -> dict[str, int]:
    return {m.label: code for code, m in codebook.missing.items()} | _OWN_MISSING


def _codes(words: Sequence[str], codebook: Codebook) -> dict[str, int]:
    """Option → our code: missing words have theirs, the others are counted from 1."""
    missing = _missing(codebook)
    answers = [word for word in words if word not in missing]
    return {w: missing[w] if w in missing else answers.index(w) + 1 for w in words}


def _value_sets(sets: Mapping[tuple[str, ...], str], codebook: Codebook) -> Rows:
    return [
        {"value_set": name, "code": code, "label": word}
        for words, name in sets.items()
        for word, code in _codes(words, codebook).items()
        if code > 0
    ]


def _codings(sets: Mapping[tuple[str, ...], str], codebook: Codebook) -> Rows:
    """The supplier numbers the options of a question in the list's order."""
    return [
        {"coding": LAYOUT, "value_set": name, "supplier_code": place, "code": code}
        for words, name in sets.items()
        for place, code in enumerate(_codes(words, codebook).values(), start=1)
    ]


def _routing(
    file: Path, options: Mapping[str, list[str]], codebook: Codebook
) -> tuple[dict[str, tuple[str, list[int]]], tuple[str, ...]]:
    """Question → earlier question and the codes for which it is asked."""
    found: dict[str, tuple[str, list[int]]] = {}
    unrouted = []
    with file.open(encoding="utf-8-sig", newline="") as stream:
        for line in csv.DictReader(stream):
            question, rule = line["question"].strip(), line["routing"].strip()
            parts = _UNLESS.findall(rule)
            conditions = {name for name, _ in parts}
            plain = " & ".join(f'{name} != "{word}"' for name, word in parts)
            if len(conditions) != 1 or plain != rule or not {question, *conditions} <= set(options):
                unrouted.append(question)
                continue
            condition = conditions.pop()
            codes = _codes(options[condition], codebook)
            asked = [codes[word] for _, word in parts if codes.get(word, 0) > 0]
            order = list(options)
            if len(asked) != len(parts) or order.index(condition) >= order.index(question):
                unrouted.append(question)
                continue
            found[question] = (condition, asked)
    return found, tuple(unrouted)


def _version(name: str, tranche: str, survey: str, stage: str) -> dict[str, object]:
    return {
        "name": name,
        "tranche": tranche,
        "survey": survey,
        "contractor": "Scottish Government",
        "wave": int(tranche.removeprefix("t")),
        "uid_name": "submission" if stage in ANONYMOUS else "scn",
        "completed_on_name": "completed_on",
        "wave_name": "wave",
        "take_part_name": "take_part",
        "take_part_yes": 1,
        "naming": LAYOUT,
        "coding": LAYOUT,
        "source": f"{SOURCE}; technical columns [DES]",
    }


def _not_asked(codebook: Codebook, survey: str, version: str, own: Sequence[str]) -> Rows:
    """The Census asks none of the programme's questions, and the programme none of its."""
    pairs = [(version, v.name) for v in codebook.variables_of(survey)]
    others = [q.name for q in codebook.questionnaires.values() if q.survey == survey]
    pairs += [(other, name) for other in others for name in own]
    return [
        {
            "questionnaire": questionnaire,
            "variable": variable,
            "change": NOT_ASKED,
            "breaks_comparability": "no",
            "note": "of another questionnaire",
            "source": SOURCE,
        }
        for questionnaire, variable in pairs
    ]


def _contracts(survey: str, stage: str) -> dict[str, Any]:
    """Contracts in which the SCN, or a number of the submission, stands in the place of the UID."""
    defaults = Path(__file__).parent / "data" / "datasets.yaml"
    known = read_keys("rcs_assets/codebook/data/datasets.yaml", defaults)
    is_anonymous = stage in ANONYMOUS
    fields = {f"{survey}_survey": "uid", **({} if is_anonymous else _BY_SCN)}
    own = (
        {"kind": "text", "about": "number of the submission; no pupil is known by it"}
        if is_anonymous
        else {"kind": "scn", "about": "SCN, which the Census goes by"}
    )
    changed = {}
    for name, field in fields.items():
        entry = known[name]
        entry["fields"] = {k: dict(v) for k, v in entry["fields"].items()}
        entry["fields"][field] |= own
        changed[name] = entry
    return changed


def _write(config: Path, rows: Mapping[str, Rows], contracts: Mapping[str, Any]) -> None:
    taken = [name for name in (*rows, "datasets.yaml") if (config / name).exists()]
    if taken:
        raise InputError(
            "There is an overlay already",
            where=f"{config.name}/{taken[0]}",
            why="a questionnaire is adopted into an installation of its own",
            fix="name another --out, and merge by hand what you want of both",
        )
    config.mkdir(parents=True, exist_ok=True)
    for name, lines in rows.items():
        with (config / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS[name], lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    text = yaml.safe_dump(dict(contracts), sort_keys=False, allow_unicode=True)
    (config / "datasets.yaml").write_text(text, encoding="utf-8")
