"""An independent look at the anonymised files of a release: k, l, special uniques, forms.

Run from the top of the project: `python -m benchmarks.microdata HOME`. Only the released files
are read, with pandas and pyreadstat; what is due is written down here a second time, from
policy.md (Table A, row microdata), so that neither the code that made the files nor its rules are
used. Prints a line a file, and ends with status 1 if something is not as the policy has it.

Belongs here: counting classes, values and uniques; comparing the four forms of a file. Does not
belong here: who could be recognised (`reidentification.py`).
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyreadstat

K, L = 10, 2
ROUTED_PAST, WITHHELD = -6, -7
KEYS = ["engagement", "survey", "stage", "sex", "simd_group", "any_support"]
MARK = ["data_source"]
SIMD = {"1", "2-4", "5"}
STAGES = {"primary": "P", "secondary": "S"}
SALSUS_STAGES = {"S2", "S4"}
# Of no key, answer or weight: what would lead to a place or a day.
FORBIDDEN = re.compile(
    r"school|seed|zone|postcode|birth|date|time|device|psu|replicate|uid|scn|version|\bid\b", re.I
)


@dataclass(frozen=True)
class Seen:
    """What one file holds."""

    file: Path
    records: int
    classes: int
    smallest: int
    poorest: int
    withheld: int
    special_uniques: int
    problems: tuple[str, ...]


def sensitive_of(folder: Path) -> set[str]:
    """Sensitive variables by name, as the package's own data dictionary flags them."""
    said = pd.read_csv(folder / "data_dictionary.csv", dtype=str, keep_default_na=False)
    return set(said.loc[said.role == "sensitive answer", "variable"])


def uniques(frame: pd.DataFrame) -> int:
    """Records that stand alone on some set of keys, and on none of its parts (SUDA)."""
    found: set[int] = set()
    for size in range(1, len(KEYS) + 1):
        for names in itertools.combinations(KEYS, size):
            counts = frame.groupby(list(names), dropna=False)["stage"].transform("size")
            found |= set(frame.index[counts == 1])
    return len(found)


def least_values(frame: pd.DataFrame, names: list[str]) -> tuple[int, list[str]]:
    """The least number of telling values of a sensitive variable in a class, and where below L.

    Who was routed past a question told the answer to another: that is a value. A variable that
    holds nothing but other missing codes in a class tells no answer there.
    """
    least, found = 99, []
    for name in names:
        valid = frame[(frame[name] >= 0) | (frame[name] == ROUTED_PAST)]
        if valid.empty:
            continue
        counts = valid.groupby(KEYS, dropna=False)[name].nunique()
        least = min(least, int(counts.min()))
        found += [f"{name} has one value in a class"] * int((counts < L).any())
    return least, found


def key_problems(frame: pd.DataFrame, survey: str) -> Iterator[str]:
    """Keys hold their coarse values only; the weight is one figure a stage and sex."""
    prefix = STAGES[survey]
    shown = set(frame.stage.dropna())
    if not all(re.fullmatch(rf"{prefix}\d(-{prefix}\d)?", stage) for stage in shown):
        yield f"stages {sorted(shown)}"
    if extra := set(frame.simd_group.dropna()) - SIMD:
        yield f"SIMD groups {sorted(extra)}"
    if extra := set(frame.any_support.dropna()) - {"Y", "N"}:
        yield f"support {sorted(extra)}"
    weight = frame.weight.astype(float)
    if ((weight * 10).round() - weight * 10).abs().max() > 1e-9:
        yield "a weight is no multiple of 0.1"
    if (
        frame.assign(weight=weight).groupby(["stage", "sex"], dropna=False).weight.nunique().max()
        > 1
    ):
        yield "weights differ within a stage and sex"


def form_problems(folder: Path, name: str, frame: pd.DataFrame) -> Iterator[str]:
    """SPSS, Stata and text hold the same rows in the same order."""
    sav, _ = pyreadstat.read_sav(folder / f"{name}.sav", user_missing=True)
    dta, _ = pyreadstat.read_dta(folder / f"{name}.dta", user_missing=True)
    tab = pd.read_csv(folder / f"{name}.tab", sep="\t", dtype=str, keep_default_na=False)
    stata = pd.read_stata(folder / f"{name}.dta", convert_categoricals=False)
    for form, other in (("sav", sav), ("dta", dta), ("tab", tab), ("Stata by pandas", stata)):
        if len(other) != len(frame) or len(other.columns) != len(frame.columns):
            yield f"{form} has another shape"
            continue
        for position, column in enumerate(frame.columns):
            told = other.iloc[:, position]
            if pd.api.types.is_numeric_dtype(frame[column]):
                same = (pd.to_numeric(told) == frame[column]).all()
            elif column == "weight":
                same = (pd.to_numeric(told) - frame[column].astype(float)).abs().max() < 1e-9
            else:
                same = (told.fillna("").astype(str) == frame[column].fillna("")).all()
            if not same:
                yield f"{form} differs in {column}"


def look(file: Path) -> Seen:
    """One file with its other forms."""
    frame = pd.read_parquet(file)
    folder, name = file.parent, file.stem
    problems: list[str] = []
    (survey,) = set(frame.survey)
    answers = [c for c in frame.columns if c not in {*KEYS, *MARK, "weight"}]
    problems += [f"column {name}" for name in frame.columns if FORBIDDEN.search(name)
                 and name not in answers]  # fmt: skip
    classes = frame.groupby(KEYS, dropna=False).size()
    if classes.min() < K:
        problems.append(f"{int((classes < K).sum())} classes of fewer than {K}")
    least, few = least_values(frame, sorted(sensitive_of(folder) & set(answers)))
    problems += few
    problems += key_problems(frame, survey)
    problems += form_problems(folder, name, frame)
    if name == "salsus" and set(frame.stage) - SALSUS_STAGES:
        problems.append(f"the extract holds {sorted(set(frame.stage))}")
    alone = uniques(frame)
    if alone:
        problems.append(f"{alone} special uniques")
    withheld = int((frame[answers] == WITHHELD).sum().sum())
    return Seen(
        file, len(frame), len(classes), int(classes.min()), least, withheld, alone, tuple(problems)
    )


def main() -> None:
    """Look at every file of answers in a release."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, help="with a release")
    release = parser.parse_args().home / "releases" / "current"
    files = sorted(release.glob("*/*/microdata/*.parquet"))
    print("file | records | classes | smallest | least values | withheld answers | uniques")
    wrong = 0
    for file in files:
        seen = look(file)
        print(
            f"{file.relative_to(release)} | {seen.records} | {seen.classes} | {seen.smallest} | "
            f"{seen.poorest} | {seen.withheld} | {seen.special_uniques}"
        )
        for problem in seen.problems:
            print(f"  WRONG: {problem}")
        wrong += len(seen.problems)
    print(f"{len(files)} files, {wrong} problems")
    sys.exit(1 if wrong or not files else 0)


if __name__ == "__main__":
    main()
