"""Anonymised files of answers, for the deposit in an archive and for a CPP.

Belongs here: the same files as .sav, .dta, tab-delimited text and Parquet, with labels, missing
ranges, a data dictionary and a note for whoever gets them. Does not belong here: the
anonymising (`disclosure.anonymise`), the documents of a deposit (`documents.py`) and the
linked microdata of the safe haven (`microdata.py`).

Archive and CPP get the same bytes, so that no two files of the same pupils can be laid side
by side to learn more.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv

from rcs_assets.codebook import PUPIL_SURVEYS, Codebook, Variable
from rcs_assets.disclosure.anonymise import (
    COMPARED_LEAST,
    KEYS,
    OFF_STEP,
    AnonymisedSurvey,
    anonymise,
)
from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.release.answers_before import read_withheld
from rcs_assets.release.beside_tables import BesideTables
from rcs_assets.release.contents import Package, Sources
from rcs_assets.release.ddi import DescribedFile, DescribedVariable, Study
from rcs_assets.release.documents import write_documents
from rcs_assets.release.microdata_described import DICTIONARY, FOLDER, Described, DescribedTable
from rcs_assets.release.sav import SavTask, dta_names, write_savs
from rcs_assets.release.syntax import NAME, AnswerFile, write_syntax
from rcs_assets.release.tables import DATA_SOURCE
from rcs_assets.release.technical import DescribedMicrodata
from rcs_assets.release.terms import load_terms
from rcs_assets.storage import hmac_expression, rounded_count, sql_literal

README = "README.md"
WEIGHT = "weight"
_ROLES = {DATA_SOURCE: "technical", WEIGHT: "weight"}
_WITHHELD = "Withheld to protect children"
_KEY_LABELS = {
    "engagement": "Area and tranche",
    "survey": "Survey",
    "stage": "School stage, or a band of stages; empty where withheld",
    "sex": "Sex on the sample file",
    "simd_group": "SIMD 2016 quintile of the home, grouped; empty where withheld or not known",
    "any_support": "Support recorded (additional support or social work); empty where withheld "
    "or not known",
}
_KEY_VALUES = {
    "sex": {"F": "Female", "M": "Male"},
    "simd_group": {"1": "Most deprived fifth", "2-4": "Middle", "5": "Least deprived fifth"},
    "any_support": {"Y": "Recorded", "N": "None recorded"},
}
# Keys whose codes stand in an order, as the codebook says of answers.
_ORDERED_KEYS = ("stage", "simd_group")
_WEIGHT_LABEL = "Pupils on the roll that a record stands for, by area, stage and sex"
_SOURCE_LABEL = "SIMULATED, or delivered: where the answers come from"

PUPILS_SQL = """
create or replace temp view deposit_pupils as
select
    linked.record_id, linked.engagement, linked.survey, linked.stage, linked.sex,
    linked.simd_quintile, weights.weight,
    case
        when linked.has_asn_support or linked.has_social_work then true
        when linked.has_education then false
    end as any_support,
    answered.form,
from linkage.linked as linked
inner join wellbeing.weights as weights using (record_id, engagement, survey)
inner join (
    select record_id, form from intake.primary_survey
    union all
    select record_id, form from intake.secondary_survey
) as answered using (record_id)
where linked.is_linked and linked.survey in ('primary', 'secondary')
    and linked.engagement in (select engagement from release_geographies)
"""


@dataclass(frozen=True)
class Deposit:
    """What was written, and what is left to do beside other work.

    `told`: package → survey → what anonymising did, counts of 1 to 9 children as `<10`.
    `tasks`: the .sav and .dta files to be made. `copies`: folder → the packages' folders that
    get the same files. `described`: engagement → its files, for the documents.
    """

    told: Mapping[str, Mapping[str, Mapping[str, int | str]]]
    tasks: Sequence[SavTask]
    copies: Mapping[Path, Sequence[Path]]
    described: Mapping[str, Sequence[DescribedFile]]


def write_deposit(
    con: duckdb.DuckDBPyConnection,
    key: bytes,
    folder: Path,
    packages: Sequence[Package],
    sources: Sources,
    earlier: Sequence[Path] = (),
    *,
    is_simulated: bool,
) -> Deposit:
    """Write `microdata/` of the packages that get such files, but .sav, .dta and copies.

    Args:
        con: a connection to the warehouse on which `register_sources` ran.
        key: 32 bytes; the order of rows follows from it.
        folder: the candidate's.
        packages: all packages of the release.
        sources: codebook and policy.
        earlier: folders of all releases before: what their files withheld stays withheld.
        is_simulated: marks every file.

    Raises:
        StorageError: a file of a release before cannot be read.
    """
    rule = sources.policy.microdata
    receiving = [package for package in packages if package.kind in rule.purposes]
    if not receiving:
        return Deposit({}, (), {}, {})
    con.execute(PUPILS_SQL)
    variables = {survey: sources.codebook.variables_of(survey) for survey in PUPIL_SURVEYS}
    macro = hmac_expression(con, "release", key)
    before = read_withheld(con, earlier, variables, rule.withheld_code)
    beside = BesideTables(con, sources.programme, sources.codebook, sources.policy, earlier)
    made = anonymise(
        con,
        "deposit_pupils",
        "wellbeing.item_answers",
        variables,
        rule,
        macro,
        before,
        lambda changed: (
            beside.told({survey: f"anonymised_{survey}" for survey in changed}, changed)
            if rule.gives_way_to_tables
            else ()
        ),
    )
    files = _Files(variables, sources.codebook, rule, "SIMULATED" if is_simulated else "delivered")
    told: dict[str, dict[str, dict[str, int | str]]] = {}
    copies: dict[Path, list[Path]] = {}
    tasks: list[SavTask] = []
    described: dict[str, list[DescribedFile]] = {}
    for engagement in dict.fromkeys(survey.engagement for survey in made):
        own = [s for s in made if s.engagement == engagement and s.records_n]
        getting = [package.name for package in receiving if package.engagement == engagement]
        first, *others = [folder / name / FOLDER for name in getting]
        tasks += _write_engagement(con, first, own, files)
        copies[first] = others
        described[engagement] = [_described(survey, files) for survey in own]
        tasks += _write_extracts(con, first, own, files, described[engagement])
        told |= {name: {survey.survey: _told(survey) for survey in own} for name in getting}
    return Deposit(told, tasks, copies, described)


def _described(survey: AnonymisedSurvey, files: _Files) -> DescribedFile:
    """A survey's file of answers as the documents speak of it."""
    asked = files.variables[survey.survey]
    universe = load_terms().universe[survey.survey]
    return DescribedFile(
        survey.survey,
        survey.survey,
        survey.records_n,
        universe,
        _described_columns(asked, files, files.codebook.stages_of(survey.survey)),
    )


def _described_columns(
    asked: Sequence[Variable], files: _Files, there: AbstractSet[str]
) -> list[DescribedVariable]:
    """The columns of a file whose records are of the stages `there`."""
    missing = {str(code): label for code, label in files.missing.items()}
    columns = [
        DescribedVariable(
            name,
            label,
            name != WEIGHT,
            _KEY_VALUES.get(name, {}),
            {},
            is_weight=name == WEIGHT,
            is_ordered=name in _ORDERED_KEYS,
        )
        for name, label in _column_labels(()).items()
    ]
    columns += [
        DescribedVariable(
            variable.name,
            variable.label,
            False,
            {str(code): label for code, label in files.values(variable).items()},
            missing,
            is_ordered=files.codebook.value_sets[variable.value_set].is_ordered,
            asked_of=tuple(stage for stage in variable.stages if stage in there)
            if there - set(variable.stages)
            else (),
        )
        for variable in asked
    ]
    return columns


def document_deposits(
    folder: Path,
    packages: Sequence[Package],
    deposit: Deposit,
    sources: Sources,
    reports: Mapping[str, str],
    *,
    release: str,
    is_simulated: bool,
) -> None:
    """Write the documents of the archive packages, once the data and their names are there.

    Args:
        folder: the candidate's.
        packages: all packages of the release.
        deposit: what was written.
        sources: register and policy.
        reports: package → its technical report.
        release: the version, which the documents name.
        is_simulated: marks every document.
    """
    for package in packages:
        if package.kind != "archive" or package.name not in deposit.told:
            continue
        key = str(package.engagement)
        engagement = sources.programme.engagements[key]
        study = Study(
            engagement,
            sources.programme.approvals[key],
            sources.programme.tranches[engagement.tranche].label,
            release,
            sources.as_of.isoformat(),
            is_simulated,
            load_terms().licence["safeguarded"],
            load_terms().licence["open"],
            deposit.described[key],
            load_terms().contractors,
        )
        target = folder / package.name
        there = [p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()]
        later = ["manifest.json", "certificate.json", "datapackage.json"]
        write_documents(
            target,
            study,
            sources.policy.microdata,
            deposit.told[package.name],
            [*there, *later],
            reports[package.name],
        )


def described_microdata(package: Package, deposit: Deposit) -> DescribedMicrodata | None:
    """The files of answers of a package as its technical report tells of them."""
    if package.name not in deposit.told:
        return None
    files = deposit.described[str(package.engagement)]
    variables = {file.name: len(file.variables) for file in files if not file.is_extract}
    return DescribedMicrodata(variables, deposit.told[package.name])


def described_files(package: Package, deposit: Deposit) -> dict[str, DescribedTable]:
    """The files of answers of a package as its datapackage tells of them."""
    if package.name not in deposit.told:
        return {}
    return {
        file.name: DescribedTable(
            f"Anonymised answers, one row a pupil. {file.universe}",
            {v.name: Described(v.label, "", v.values, v.missing) for v in file.variables},
        )
        for file in deposit.described[str(package.engagement)]
    }


def complete_deposit(deposit: Deposit) -> None:
    """Write the .sav and .dta files, then give every package the same bytes, once on the disk.

    Raises:
        StorageError: one of them could not be written.
    """
    if deposit.tasks:
        write_savs(deposit.tasks)
    for first, others in deposit.copies.items():
        for other in others:
            shutil.copytree(first, other, copy_function=os.link)


def _told(survey: AnonymisedSurvey) -> dict[str, int | str]:
    """Counts of pupils for open documents: to the nearest 10 (policy.md, Table A, public)."""
    given_up = {
        f"records_that_gave_up_{key}": rounded_count(n) for key, n in survey.given_up.items()
    }
    return {
        "records": rounded_count(survey.records_n),
        "left_out": rounded_count(survey.left_out_n),
        "records_with_coarser_keys": rounded_count(survey.coarser_n),
        "classes_of_keys": survey.classes_n,
        "answers_withheld_in_classes": rounded_count(survey.withheld_n),
        "answers_withheld": rounded_count(survey.hidden_n),
        "questions_withheld_of_whole_stages": survey.whole_n,
        **given_up,
        "special_uniques_before": rounded_count(survey.special_before.special_n),
        "special_uniques": rounded_count(survey.special_after.special_n),
    }


@dataclass(frozen=True)
class _Files:
    """What the files of every engagement share."""

    variables: Mapping[str, Sequence[Variable]]
    codebook: Codebook
    rule: MicrodataRule
    mark: str

    @property
    def missing(self) -> dict[int, str]:
        """Missing code → label, of the codes that a file can hold."""
        kept = {
            code: missing.label
            for code, missing in self.codebook.missing.items()
            if code not in self.rule.merged_missing
        }
        return dict(sorted((kept | {self.rule.withheld_code: _WITHHELD}).items()))

    def values(self, variable: Variable) -> dict[int, str]:
        """Code → label of an answer, without missing codes."""
        return dict(self.codebook.value_sets[variable.value_set].values)


def _write_engagement(
    con: duckdb.DuckDBPyConnection,
    target: Path,
    surveys: Sequence[AnonymisedSurvey],
    files: _Files,
) -> list[SavTask]:
    target.mkdir(parents=True)
    for survey in surveys:
        _write_survey(con, target, survey, files)
        _write_syntax(target, survey.survey, survey.survey, files.variables[survey.survey], files)
    asked = {survey.survey: files.variables[survey.survey] for survey in surveys}
    _write_dictionary(target / DICTIONARY, asked, files, mode="w")
    (target / README).write_text(_readme(surveys, files), encoding="utf-8")
    return [_sav_task(target, s.survey, s, asked[s.survey], files) for s in surveys]


def _write_extracts(
    con: duckdb.DuckDBPyConnection,
    target: Path,
    surveys: Sequence[AnonymisedSurvey],
    files: _Files,
    described: list[DescribedFile],
) -> list[SavTask]:
    """Write the parts of surveys' files that the policy wants; those with a record are described.

    They come after the surveys in the data dictionary, in the policy's order.
    """
    tasks = []
    for extract, survey in product(files.rule.extracts, surveys):
        if extract.survey != survey.survey:
            continue
        asked = [v for v in files.variables[survey.survey] if v.theme in extract.themes]
        stages = ", ".join(sql_literal(stage) for stage in extract.stages)
        names = ", ".join([*KEYS, WEIGHT, *(variable.name for variable in asked)])
        rows = _rows(con, survey, files, names, f"and stage in ({stages})")
        if not rows.num_rows:
            continue
        _write_rows(con, rows, target, extract.name, files)
        _write_syntax(target, extract.name, survey.survey, asked, files)
        universe = f"{load_terms().universe[survey.survey]}: {' and '.join(extract.stages)}"
        columns = _described_columns(asked, files, frozenset(extract.stages))
        described.append(
            DescribedFile(extract.name, survey.survey, rows.num_rows, universe, columns)
        )
        _write_dictionary(target / DICTIONARY, {extract.name: asked}, files, mode="a")
        tasks.append(_sav_task(target, extract.name, survey, asked, files))
    return tasks


def _write_survey(
    con: duckdb.DuckDBPyConnection, target: Path, survey: AnonymisedSurvey, files: _Files
) -> None:
    rows = _rows(con, survey, files, "* exclude (row_order)", "")
    _write_rows(con, rows, target, survey.survey, files)


def _rows(
    con: duckdb.DuckDBPyConnection, survey: AnonymisedSurvey, files: _Files, names: str, only: str
) -> pa.Table:
    return con.execute(
        f"select {sql_literal(files.mark)} as {DATA_SOURCE}, {names} "
        f"from anonymised_{survey.survey} where engagement = {sql_literal(survey.engagement)} "
        f"{only} order by row_order"
    ).to_arrow_table()


def _write_rows(
    con: duckdb.DuckDBPyConnection, rows: pa.Table, target: Path, name: str, files: _Files
) -> None:
    con.register("deposit_rows", rows)
    con.execute(
        f"copy deposit_rows to {sql_literal(target / f'{name}.parquet')} "
        f"(format parquet, compression zstd, kv_metadata {{simulated: {sql_literal(files.mark)}}})"
    )
    con.unregister("deposit_rows")
    _write_tab(rows, target / f"{name}.tab")


def _write_syntax(
    target: Path, name: str, survey: str, asked: Sequence[Variable], files: _Files
) -> None:
    """Commands that derive scores and indicators, for SPSS, Stata and R."""
    columns, answers = list(_column_labels(asked)), [variable.name for variable in asked]
    file = AnswerFile(name, survey, columns, answers, files.rule.stage_bands)
    for suffix, text in write_syntax(files.codebook, file, files.mark).items():
        path = target / f"{NAME.format(file=name)}{suffix}"
        path.write_text(text, encoding="utf-8")


def _write_tab(rows: pa.Table, file: Path) -> None:
    """Tab-delimited text: codes, empty for a key that was withheld; no value needs quotes."""
    options = pa_csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with file.open("wb") as stream:
        stream.write(("\t".join(rows.column_names) + "\n").encode())
        pa_csv.write_csv(rows, stream, options)


def _sav_task(
    target: Path,
    name: str,
    survey: AnonymisedSurvey,
    asked: Sequence[Variable],
    files: _Files,
) -> SavTask:
    missing = list(files.missing.items())
    values: dict[str, list[tuple[int | str, str]]] = {
        name: list(pairs.items()) for name, pairs in _KEY_VALUES.items()
    }
    values |= {v.name: [*files.values(v).items(), *missing] for v in asked}
    return SavTask(
        parquet=str(target / f"{name}.parquet"),
        title=f"{files.mark} RCS anonymised answers {survey.engagement} {name}",
        note=f"{files.mark}: for the named recipient, under an agreement; see {README}",
        labels=_column_labels(asked),
        value_labels=values,
        answers=[variable.name for variable in asked],
        ordered=[
            *_ORDERED_KEYS,
            *(v.name for v in asked if files.codebook.value_sets[v.value_set].is_ordered),
        ],
        texts=[DATA_SOURCE, *KEYS],
    )


def _column_labels(variables: Sequence[Variable]) -> dict[str, str]:
    own = {DATA_SOURCE: _SOURCE_LABEL, **_KEY_LABELS, WEIGHT: _WEIGHT_LABEL}
    return own | {variable.name: variable.label for variable in variables}


def _write_dictionary(
    file: Path, asked: Mapping[str, Sequence[Variable]], files: _Files, *, mode: str
) -> None:
    """One row a file, variable and code: what .tab and Parquet do not say themselves."""
    columns = (
        *("file", "position", "variable", "label", "role", "code", "code_label", "missing"),
        "stata_name",
    )
    with file.open(mode, encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if mode == "w":
            writer.writerow(columns)
        for name, variables in asked.items():
            named = dta_names(list(_column_labels(variables)))
            rows = _dictionary_rows(name, variables, files)
            writer.writerows((*row, named[row[2]]) for row in rows)


def _dictionary_rows(
    survey: str, variables: Sequence[Variable], files: _Files
) -> Iterable[tuple[Any, ...]]:
    for position, (name, label) in enumerate(_column_labels(()).items(), 1):
        role = _ROLES.get(name, "key")
        for code, text in _KEY_VALUES.get(name, {"": ""}).items():
            yield survey, position, name, label, role, code, text, "no"
    missing = files.missing.items()
    for position, variable in enumerate(variables, len(_column_labels(())) + 1):
        role = "sensitive answer" if variable.is_sensitive else "answer"
        head = (survey, position, variable.name, variable.label, role)
        yield from ((*head, code, text, "no") for code, text in files.values(variable).items())
        yield from ((*head, code, text, "yes") for code, text in missing)


def _parts(surveys: Sequence[AnonymisedSurvey], rule: MicrodataRule) -> str:
    there = {survey.survey for survey in surveys}
    return "".join(
        f"\n`{part.name}.*` holds the records of `{part.survey}` that show "
        f"{' or '.join(part.stages)}, and the questions on {', '.join(part.themes)}: a part of "
        "that file, in whole classes of the keys, so that both together tell no more than it. "
        "Without such records there is none.\n"
        for part in rule.extracts
        if part.survey in there
    )


def _whole(surveys: Sequence[AnonymisedSurvey]) -> str:
    """The sentence on questions of which whole stages are withheld; empty without any."""
    told = [f"{s.whole_n} in `{s.survey}`" for s in surveys if s.whole_n]
    if not told:
        return ""
    return (
        f"Of some questions ({' and '.join(told)}) whole stages are withheld: else\n"
        "the published tables would tell what the file withholds of them.\n"
    )


def _readme(surveys: Sequence[AnonymisedSurvey], files: _Files) -> str:
    rule = files.rule
    mark = ""
    if files.mark == "SIMULATED":
        mark = "**SIMULATED: no record is of a real child.**\n\n"
    names = " and ".join(f"`{s.survey}`" for s in surveys)
    groups = ", ".join(dict.fromkeys(rule.simd_groups.values()))
    facts = "\n".join(
        f"| {s.survey} | {s.records_n} | {rounded_count(s.left_out_n)} "
        f"| {rounded_count(s.coarser_n)} | {rounded_count(s.withheld_n)} |"
        for s in surveys
    )
    costs = "\n".join(
        f"| {s.survey} | {' | '.join(str(rounded_count(n)) for n in s.given_up.values())} "
        f"| {rounded_count(s.hidden_n)} | {rounded_count(s.special_before.special_n)} "
        f"| {rounded_count(s.special_after.special_n)} |"
        for s in surveys
    )
    off = [f"at most {s.off_most} points in `{s.survey}`" for s in surveys if s.off_most]
    furthest = (
        f"Of questions that {COMPARED_LEAST} pupils or more answered\nthe furthest share is off "
        f"that of all who answered by {' and '.join(off)}\n(rounded up to multiples of {OFF_STEP})."
    )
    return f"""# Anonymised answers

{mark}One record is one pupil's answers to one survey. Files: {names}, each as `.sav` (SPSS,
R), `.dta` (Stata), `.tab` (tab-delimited text with codes) and `.parquet`. The labels of variables
and codes are in the first two and in `{DICTIONARY}`; Stata has none for texts such as the keys, and
cuts long names. Codes from -9 to -1 are missing values: the `.sav` says so, in Stata run
`mvdecode _all, mv(-9/-1)`, after the `.do` if you use it.
`derive_*.sps` (SPSS), `.do` (Stata) and `.R` make scores and indicators of the answers; what was
withheld counts there as not answered (a score is prorated over the other items, or missing).

**Shares of sensitive answers are off, mostly too high**: classes in which all gave the same
answer are withheld, and mostly that answer is no. {furthest if off else ""}
{_whole(surveys)}For levels take the published tables; the file is for what goes together
with what. Weights are coarse: they weigh shares and means, and do not add up to the roll.
{_parts(surveys, rule)}
## What was done
- Keys: area, survey, stage, sex, SIMD group ({groups}), any support recorded. At least
  {rule.k} pupils share each combination that occurs. Where fewer did, SIMD was withheld, then
  support, then the stage was banded, then withheld; a record that was still too rare is left
  out.
- In each such class every sensitive variable has at least {rule.l} values (routed past counts as
  one), or is withheld there (code {rule.withheld_code}). As many other classes of about the same
  size are withheld beside, drawn by a key: that a class is withheld does not say that all answered
  alike. Withheld is also, where the stage is, a question that only some of the stages were asked.
- No school, class, data zone, sampling unit, date, device or other record field. Weights are
  the mean of area, stage and sex, in steps of {rule.weight_step}. Rows are in random order, and
  have no number.
- {len(rule.merged_missing)} missing code is merged into another, so that every contractor's data
  has the same ones.

Records are those of the file. Who could not be linked to the sample has no keys and is in none.
All other counts are to the nearest 10 (1 to 9 read <10).

| survey | records | left out | with coarser keys | answers withheld (in classes) |
|---|---|---|---|---|
{facts}

What it cost, in records that show less of a key than is known, and what it brought: pupils who
were alone on some set of up to {rule.special_uniques_most} keys (special uniques), before and now.

| survey | less of stage | no SIMD | no support | answers withheld | special before | now |
|---|---|---|---|---|---|---|
{costs}

## What it asks of you
An anonymised file counts every answer exactly by its keys, also where the published tables
hide a figure. It is for the named recipient under an agreement: do not link it to other
records, do not try to recognise anyone, do not hand it on, and publish figures by the rules
of the published tables only (`certificate.json`).
"""
