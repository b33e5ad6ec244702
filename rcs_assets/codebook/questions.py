"""Assembles questions and questionnaire versions from their data files.

Belongs here: missing codes, value sets, variables, routing, and how each supplier names
and codes them, with the rules between these. Does not belong here: scoring and indicators
(`measures.py`), contracts of files (`contracts.py`).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from rcs_assets.codebook.model import (
    MissingCode,
    Questionnaire,
    QuestionnaireVariable,
    Routing,
    ValueSet,
    Variable,
    VersionChange,
)
from rcs_assets.codebook.names import checked_name
from rcs_assets.programme.datafile import Row

Rows = Mapping[str, tuple[Row, ...]]
# Stages by survey: domain.md 1.1; P4 is accepted only where a wave lists it (domain.md 0.2).
SURVEY_STAGES: Mapping[str, tuple[str, ...]] = {
    "primary": ("P4", "P5", "P6", "P7"),
    "secondary": ("S1", "S2", "S3", "S4", "S5", "S6"),
    "parent": (),
}
ALL_STAGES = tuple(stage for stages in SURVEY_STAGES.values() for stage in stages)
# Columns that every table of answers has beside the variables.
RESERVED = frozenset(
    [
        "record_id",
        "engagement",
        "tranche",
        "survey",
        "questionnaire",
        "form",
        "completed_on",
        "seed_code",
        "stage",
        "sex",
        "weight",
    ]
)
# Tables of pupils also take these from administrative records; parents are asked for them.
PUPIL_RESERVED = frozenset(["simd_quintile", "datazone", "school_name"])
EVERY_VALUE_SET = "*"
ORDERED_FILE = "ordered_answers.csv"
NOT_ASKED = "not_asked"
CHANGES = (NOT_ASKED, "reworded", "options", "position", "mode")


def read_missing(rows: Rows) -> dict[int, MissingCode]:
    """Code → missing code; every code is negative."""
    missing = {}
    for row in rows["missing_codes.csv"]:
        code = row.integer("code")
        if code >= 0:
            raise row.problem("code", "missing codes are negative", "write a code below 0")
        missing[code] = MissingCode(
            code=code,
            name=row.required("name"),
            label=row.required("label"),
            leaves_denominator=row.flag("leaves_denominator"),
            leaves_hwb_denominator=row.flag("leaves_hwb_denominator"),
            source=row.required("source"),
        )
    return missing


def read_value_sets(rows: Rows) -> dict[str, ValueSet]:
    """Name → value set; every code is 0 … 127 (answers are stored as TINYINT)."""
    values: dict[str, dict[int, str]] = {}
    for row in rows["value_sets.csv"]:
        code = row.integer("code")
        if not 0 <= code <= 127:
            raise row.problem("code", "answer codes are 0 to 127", "negative codes are missing")
        values.setdefault(row.required("value_set"), {})[code] = row.required("label")
    ordered = {_ordered(row, values) for row in rows[ORDERED_FILE]}
    return {name: ValueSet(name, labels, name in ordered) for name, labels in values.items()}


def _ordered(row: Row, value_sets: Collection[str]) -> str:
    row.required("source")
    return row.choice("value_set", value_sets)


def read_variables(rows: Rows, value_sets: Mapping[str, ValueSet]) -> dict[str, Variable]:
    """Name → variable in codebook order, routing included."""
    names = {row.values["name"] for row in rows["variables.csv"]}
    routing = _routing(rows["routing.csv"], names)
    variables = {
        row.values["name"]: _variable(row, value_sets, routing.get(row.values["name"]))
        for row in rows["variables.csv"]
    }
    for row in rows["routing.csv"]:
        _check_routing(row, variables, value_sets)
    return variables


def _routing(rows: tuple[Row, ...], names: set[str]) -> dict[str, Routing]:
    return {
        row.choice("variable", names): Routing(
            variable=row.choice("asked_if", names), codes=frozenset(row.integers("codes"))
        )
        for row in rows
    }


def _check_routing(
    row: Row, variables: Mapping[str, Variable], value_sets: Mapping[str, ValueSet]
) -> None:
    asked, condition = variables[row.values["variable"]], variables[row.values["asked_if"]]
    unknown = set(row.integers("codes")) - set(value_sets[condition.value_set].values)
    if unknown or not row.integers("codes"):
        raise row.problem(
            "codes", f"{condition.name} has no such answer", f"see value set {condition.value_set}"
        )
    position = list(variables)
    is_after = position.index(condition.name) < position.index(asked.name)
    if not is_after or set(asked.surveys) - set(condition.surveys):
        raise row.problem(
            "asked_if",
            "a question is routed by an earlier question of the same survey",
            "change the order in variables.csv, or the surveys",
        )


def _variable(row: Row, value_sets: Mapping[str, ValueSet], routing: Routing | None) -> Variable:
    name = checked_name(row)
    if name in RESERVED:
        raise row.problem("name", "every table of answers has a column of this name", "rename it")
    surveys = row.items("surveys", SURVEY_STAGES)
    if name in PUPIL_RESERVED and set(surveys) - {"parent"}:
        raise row.problem("name", "pupil tables have a column of this name", "rename it")
    stages = row.items("stages", ALL_STAGES)
    for survey in surveys:
        if bool(SURVEY_STAGES[survey]) != bool(set(stages) & set(SURVEY_STAGES[survey])):
            raise row.problem("stages", f"no stage fits survey {survey}", "add stage or drop it")
    if not surveys or any(_survey_of(stage) not in surveys for stage in stages):
        raise row.problem("surveys", "surveys and stages do not fit", "name the stages' survey")
    return Variable(
        name=name,
        label=row.required("label"),
        theme=row.required("theme"),
        value_set=row.choice("value_set", value_sets),
        surveys=surveys,
        stages=stages,
        is_sensitive=row.flag("is_sensitive"),
        routing=routing,
        source=row.required("source"),
    )


def _survey_of(stage: str) -> str:
    return next(survey for survey, stages in SURVEY_STAGES.items() if stage in stages)


def read_version_changes(
    rows: Rows, variables: Mapping[str, Variable]
) -> tuple[VersionChange, ...]:
    """What questionnaire versions have otherwise, by variable, in file order."""
    surveys = {row.values["name"]: row.values["survey"] for row in rows["questionnaires.csv"]}
    found = []
    for row in rows["version_changes.csv"]:
        version = row.choice("questionnaire", surveys)
        asked = {name for name, v in variables.items() if surveys[version] in v.surveys}
        found.append(
            VersionChange(
                questionnaire=version,
                variable=row.choice("variable", asked),
                change=row.choice("change", CHANGES),
                breaks_comparability=row.flag("breaks_comparability"),
                note=row.required("note"),
                source=row.required("source"),
            )
        )
    return tuple(found)


def read_questionnaires(
    rows: Rows,
    variables: Mapping[str, Variable],
    value_sets: Mapping[str, ValueSet],
    missing: Mapping[int, MissingCode],
    changes: tuple[VersionChange, ...],
) -> dict[str, Questionnaire]:
    """Name → questionnaire version, each with every variable of its survey that it asks."""
    left_out = {(c.questionnaire, c.variable) for c in changes if c.change == NOT_ASKED}
    names = _supplier_names(rows["supplier_names.csv"], variables)
    codings = _codings(rows["codings.csv"], value_sets, missing)
    labels = _supplier_labels(rows["supplier_labels.csv"], codings)
    questionnaires: dict[str, Questionnaire] = {}
    for row in rows["questionnaires.csv"]:
        version = row.values["name"]
        asked = {n: v for n, v in variables.items() if (version, n) not in left_out}
        questionnaire = _questionnaire(row, asked, names, codings, labels)
        for other in questionnaires.values():
            if (other.tranche, other.survey) == (questionnaire.tranche, questionnaire.survey):
                raise row.problem(
                    "tranche", f"{other.name} has this tranche and survey", "keep one version"
                )
        questionnaires[questionnaire.name] = questionnaire
    return questionnaires


def _supplier_names(
    rows: tuple[Row, ...], variables: Mapping[str, Variable]
) -> dict[str, dict[str, str]]:
    """Naming → variable → supplier's name; one supplier's names differ in more than case."""
    names: dict[str, dict[str, str]] = {}
    for row in rows:
        naming = names.setdefault(row.required("naming"), {})
        supplier_name = row.required("supplier_name")
        if supplier_name.lower() in {known.lower() for known in naming.values()}:
            raise row.problem("supplier_name", "the name stands twice", "names must differ")
        naming[row.choice("variable", variables)] = supplier_name
    return names


def _codings(
    rows: tuple[Row, ...],
    value_sets: Mapping[str, ValueSet],
    missing: Mapping[int, MissingCode],
) -> dict[tuple[str, str], dict[int, int]]:
    """(coding, value set) → supplier's code → ours; `*` holds the supplier's missing codes."""
    codings: dict[tuple[str, str], dict[int, int]] = {}
    for row in rows:
        value_set = row.choice("value_set", {*value_sets, EVERY_VALUE_SET})
        code = row.integer("code")
        ours = missing if value_set == EVERY_VALUE_SET else value_sets[value_set].values
        if code not in ours and code not in missing:
            raise row.problem(
                "code", f"{value_set} has no such code", "use a code of value_sets.csv"
            )
        supplier = codings.setdefault((row.required("coding"), value_set), {})
        supplier[row.integer("supplier_code")] = code
    for (coding, value_set), codes in codings.items():
        lost = set(value_sets[value_set].values) - set(codes.values()) if value_set != "*" else ()
        if lost:
            last = next(r for r in reversed(rows) if r.values["value_set"] == value_set)
            raise last.problem(
                "code", f"{coding} does not reach every answer of {value_set}", "add the others"
            )
    return codings


def _supplier_labels(
    rows: tuple[Row, ...], codings: Mapping[tuple[str, str], Mapping[int, int]]
) -> dict[tuple[str, str], dict[int, tuple[str, ...]]]:
    """(coding, value set) → supplier's code → words of his own for it, beside the codebook's."""
    labels: dict[tuple[str, str], dict[int, tuple[str, ...]]] = {}
    for row in rows:
        key = (row.required("coding"), row.required("value_set"))
        code = row.integer("supplier_code")
        if code not in codings.get(key, {}) and code not in codings.get((key[0], "*"), {}):
            raise row.problem(
                "supplier_code", f"codings.csv has no such code of {key[1]}", "add it there first"
            )
        words = labels.setdefault(key, {})
        words[code] = (*words.get(code, ()), row.required("label"))
    return labels


def _questionnaire(
    row: Row,
    variables: Mapping[str, Variable],
    names: Mapping[str, Mapping[str, str]],
    codings: Mapping[tuple[str, str], Mapping[int, int]],
    labels: Mapping[tuple[str, str], Mapping[int, tuple[str, ...]]],
) -> Questionnaire:
    survey = row.choice("survey", SURVEY_STAGES)
    # The first of several that has a variable, or a value set, holds for it.
    naming = dict(ChainMap(*({**names[n]} for n in row.items("naming", names))))
    layers = row.items("coding", {coding for coding, _ in codings})
    asked = [
        _questionnaire_variable(row, variable, naming, layers, codings, labels)
        for variable in variables.values()
        if survey in variable.surveys
    ]
    technical = {
        column: row.required(column)
        for column in ("uid_name", "completed_on_name", "wave_name", "take_part_name")
    }
    if row.required("tranche") != f"t{row.integer('wave')}":
        raise row.problem(
            "wave",
            "it is the number of the tranche: files say it, and versions are in its order",
            "write the number in the tranche's key",
        )
    taken = {variable.supplier_name.lower() for variable in asked}
    for column, name in technical.items():
        if name.lower() in taken:
            raise row.problem(column, "a question has this name too", "names must differ")
    return Questionnaire(
        name=row.required("name"),
        tranche=row.values["tranche"],
        survey=survey,
        contractor=row.required("contractor"),
        wave=row.integer("wave"),
        take_part_yes=row.integer("take_part_yes"),
        variables=tuple(asked),
        uid_name=technical["uid_name"],
        completed_on_name=technical["completed_on_name"],
        wave_name=technical["wave_name"],
        take_part_name=technical["take_part_name"],
    )


def _questionnaire_variable(
    row: Row,
    variable: Variable,
    naming: Mapping[str, str],
    layers: Sequence[str],
    codings: Mapping[tuple[str, str], Mapping[int, int]],
    labels: Mapping[tuple[str, str], Mapping[int, tuple[str, ...]]],
) -> QuestionnaireVariable:
    if variable.name not in naming:
        raise row.problem(
            "naming",
            f"{variable.name} has no supplier's name",
            f"add it to supplier_names.csv; if {row.values['name']} did not ask it, add it to "
            "version_changes.csv with `not_asked`",
        )
    coding = _first(layers, variable.value_set, codings)
    if not coding:
        raise row.problem(
            "coding", f"{variable.value_set} has no codes", "add its codes to codings.csv"
        )
    codes = {
        **codings.get((_first(layers, EVERY_VALUE_SET, codings), EVERY_VALUE_SET), {}),
        **codings[coding, variable.value_set],
    }
    words = labels.get((coding, variable.value_set), {})
    return QuestionnaireVariable(variable.name, naming[variable.name], codes, words)


def _first(
    layers: Sequence[str], value_set: str, codings: Mapping[tuple[str, str], Mapping[int, int]]
) -> str:
    return next((coding for coding in layers if (coding, value_set) in codings), "")


def rows_by(rows: tuple[Row, ...], column: str) -> dict[str, tuple[Row, ...]]:
    """Rows grouped by a column, in file order."""
    ordered = sorted(rows, key=lambda row: row.values[column])
    return {key: tuple(group) for key, group in groupby(ordered, lambda r: r.values[column])}
