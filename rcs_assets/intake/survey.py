"""Supplier's names and codes to the codebook's, for one survey file.

Belongs here: checking a survey file against its questionnaire version, recoding, which form a
record has and what it was not asked, consent, the fullest record of a pupil, records without
answers, routing repair. Does
not belong here: reading the file (`readers.py`), opt-outs (`take.py`) and anything that
needs the pupil's stage, which only linkage knows.

Order and rules follow the steps that the Scottish Government runs on its own survey
(domain.md §1.11). Tables on the scratch connection: those of `contracts.py`, where
`checked` has `uid`, `form`, `completed_on`, `answered_n` and one TINYINT column a variable;
and `routed`, the accepted records after routing repair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from rcs_assets.codebook import Codebook, Dataset, Questionnaire, QuestionnaireVariable
from rcs_assets.errors import InputError
from rcs_assets.intake.contracts import (
    KINDS,
    VIOLATIONS,
    count,
    quarantine,
    refuse_columns,
    require_rows,
    start_states,
)
from rcs_assets.intake.readers import quoted
from rcs_assets.storage import sql_literal

NOT_COLLECTED = -4
NOT_ASKED = -5
NOT_APPLICABLE = -6
NOT_ANSWERED = -9
# No answer, and no refusal either: nobody said anything.
_SILENT = (NOT_COLLECTED, NOT_ASKED, NOT_APPLICABLE, NOT_ANSWERED)
_SPSS_EPOCH = "date '1582-10-14'"
_SECONDS_A_DAY = 86400
_COLUMNS_SHOWN = 5


def survey_columns(questionnaire: Questionnaire) -> tuple[str, ...]:
    """Every column that a survey file must have, by the supplier's names."""
    return (
        questionnaire.uid_name,
        questionnaire.completed_on_name,
        questionnaire.wave_name,
        questionnaire.take_part_name,
        *((questionnaire.form_name,) if questionnaire.forms else ()),
        *(variable.supplier_name for variable in questionnaire.variables),
    )


def check_survey_header(header: Sequence[str], questionnaire: Questionnaire, file: str) -> None:
    """Compare a survey file's columns with its questionnaire version.

    A further column is refused too: it could hold what identifies a child.

    Raises:
        InputError: a column missing or unknown.
    """
    expected = survey_columns(questionnaire)
    refuse_columns(
        file,
        f"The columns do not fit questionnaire {questionnaire.name}",
        header,
        expected,
        {
            "missing": [name for name in expected if name not in header],
            "not in the questionnaire": [name for name in header if name not in expected],
        },
        f"ask {questionnaire.contractor} for the columns of {questionnaire.name}, "
        "or add a questionnaire version to the codebook",
    )


def check_labels(
    labels: Mapping[str, Mapping[float, str]],
    codebook: Codebook,
    questionnaire: Questionnaire,
    file: str,
) -> None:
    """Compare the file's value labels with the codebook's: codes alone do not show a turned scale.

    A variable without labels is taken by its codes. A supplier's own words stand in
    supplier_labels.csv, those of its forms in forms.csv.

    Raises:
        InputError: a code that the questionnaire knows has another label.
    """
    _check_form_labels(labels, questionnaire, file)
    wrong = [
        asked.supplier_name
        for asked in questionnaire.variables
        for code, label in labels.get(asked.supplier_name, {}).items()
        if code in asked.codes and _plain(label) not in _accepted(codebook, asked, int(code))
    ]
    if wrong:
        named = list(dict.fromkeys(wrong))
        raise InputError(
            f"Value labels of {len(named)} columns are not those of {questionnaire.name}",
            where=f"file {file}, column {', '.join(named[:_COLUMNS_SHOWN])}",
            why="a code with another label may mean another answer: it is never guessed",
            fix=f"ask {questionnaire.contractor} whether codes or words changed; words alone: "
            "add them to supplier_labels.csv (config/ in the home); codes: to codings.csv",
        )


def _check_form_labels(
    labels: Mapping[str, Mapping[float, str]], questionnaire: Questionnaire, file: str
) -> None:
    titles = {float(form.code): _plain(form.title) for form in questionnaire.forms}
    given = labels.get(questionnaire.form_name, {})
    if any(_plain(label) != titles[code] for code, label in given.items() if code in titles):
        raise InputError(
            f"Value labels of the forms are not those of {questionnaire.name}",
            where=f"file {file}, column {questionnaire.form_name}",
            why="a form under another label may be another form: it is never guessed",
            fix=f"ask {questionnaire.contractor} which pupils had which form; the words alone: "
            "correct title in forms.csv (config/ in the home)",
        )


def _accepted(codebook: Codebook, asked: QuestionnaireVariable, code: int) -> set[str]:
    own = asked.codes[code]
    variable = codebook.variables[asked.variable]
    label = (
        codebook.value_sets[variable.value_set].values[own]
        if own >= 0
        else codebook.missing[own].label
    )
    return {_plain(text) for text in (label, *asked.labels.get(code, ()))}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def check_survey(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, questionnaire: Questionnaire, file: str
) -> None:
    """Make `checked` and the row states from `delivered`: recoded, judged, not yet routed.

    Raises:
        InputError: no rows, a text column where codes are due, another tranche's wave.
    """
    require_rows(con, file)
    types = dict(
        con.execute(
            "select column_name, data_type from information_schema.columns "
            "where table_name = 'delivered'"
        ).fetchall()
    )
    _check_types(types, questionnaire, file)
    _check_wave(con, questionnaire, file)
    uid_kind = next(field.kind for field in dataset.fields if field.name == "uid")
    _recode(con, types, questionnaire)
    start_states(con)
    con.execute(
        "insert into withdrawn select row_number from checked where take_part is distinct from ?",
        [questionnaire.take_part_yes],
    )
    _quarantine_technical(con, questionnaire, KINDS[uid_kind].form)
    _quarantine_values(con, questionnaire)
    quarantine(con, "answered_n = 0", "", "no_answers")


def forms_found(con: duckdb.DuckDBPyConnection, questionnaire: Questionnaire) -> dict[str, int]:
    """Accepted records by form, and answers of theirs to questions that the form leaves out.

    The answers themselves are gone: `checked` says *not collected* for whatever a form leaves out.

    Returns:
        `form_<name>` → records, `form_repaired` → answers; nothing where there are no forms.
    """
    if not questionnaire.forms:
        return {}
    found = {
        f"form_{form.name}": count(con, "accepted", f"form = {sql_literal(form.name)}")
        for form in questionnaire.forms
    }
    answered = " + ".join(
        f"count(*) filter ({_is_left_out(questionnaire, v)} and "
        f"({_is_one_of(quoted(v.supplier_name), answers, is_whole=False)}))"
        for v in questionnaire.variables
        if any(v.variable in form.left_out for form in questionnaire.forms)
        and (answers := [code for code, own in v.codes.items() if own not in _SILENT])
    )
    rows = con.execute(
        f"select {answered or 0} from delivered semi join accepted using (row_number)"
    ).fetchall()
    return {**found, "form_repaired": int(rows[0][0])}


def quarantine_repeated(con: duckdb.DuckDBPyConnection, questionnaire: Questionnaire) -> None:
    """Keep each pupil's fullest record; ties: the earliest completed, then record order.

    To be called after opt-outs, so that a withdrawn record never wins.
    """
    con.execute(
        f"insert into {VIOLATIONS} select row_number, {sql_literal(questionnaire.uid_name)}, "
        "'duplicate_uid' from accepted qualify row_number() over "
        "(partition by uid order by answered_n desc, completed_on, row_number) > 1"
    )


def repair_routing(con: duckdb.DuckDBPyConnection, codebook: Codebook, survey: str) -> int:
    """Make `routed` from `accepted`: answers to questions that were routed past become -6.

    A question counts as routed past when the one before it was answered otherwise or not
    at all. Where the question before was not in the questionnaire, the answer stays.

    Returns:
        The number of answers that were set aside.
    """
    present = {row[0] for row in con.execute("describe accepted").fetchall()}
    repaired, before = 0, "accepted"
    # Views one above the other: a copy of every answer would cost more than the repair.
    for number, layer in enumerate(_routing_layers(codebook, survey, present)):
        violating = " + ".join(
            f"count(*) filter (where {_is_answer(name)} and ({expression}) = {NOT_APPLICABLE})"
            for name, expression in layer.items()
        )
        repaired += int(con.execute(f"select {violating} from {before}").fetchall()[0][0])
        changes = ", ".join(
            f"({expression})::tinyint as {quoted(name)}" for name, expression in layer.items()
        )
        after = f"routed_{number}"
        con.execute(f"create view {after} as select * replace ({changes}) from {before}")
        before = after
    con.execute(f"create view routed as from {before}")
    return repaired


def _is_answer(name: str) -> str:
    return f"not ({_is_one_of(quoted(name), _SILENT, is_whole=True)})"


def _routing_layers(codebook: Codebook, survey: str, present: set[str]) -> list[Mapping[str, str]]:
    """Routed variables with their repaired value, a question's own condition one layer earlier."""
    routed = {
        variable.name: variable.routing
        for variable in codebook.variables_of(survey)
        if variable.routing is not None and variable.name in present
    }

    def depth(name: str) -> int:
        routing = routed.get(name)
        return 0 if routing is None else 1 + depth(routing.variable)

    layers: dict[int, dict[str, str]] = {}
    for name, routing in routed.items():
        if routing.variable not in present:
            continue
        own, unknown = quoted(name), (NOT_COLLECTED, NOT_ASKED)
        before = _is_one_of(quoted(routing.variable), [*routing.codes, *unknown], is_whole=True)
        layers.setdefault(depth(name), {})[name] = (
            f"case when {before} then {own} "
            f"when {_is_one_of(own, unknown, is_whole=True)} then {own} "
            f"else {NOT_APPLICABLE} end"
        )
    return [layers[number] for number in sorted(layers)]


def _check_types(types: Mapping[str, str], questionnaire: Questionnaire, file: str) -> None:
    numeric = (
        questionnaire.wave_name,
        questionnaire.take_part_name,
        *((questionnaire.form_name,) if questionnaire.forms else ()),
        *(variable.supplier_name for variable in questionnaire.variables),
    )
    wrong = [name for name in numeric if types[name] == "VARCHAR"]
    if wrong:
        raise InputError(
            f"{len(wrong)} columns hold text where codes are due",
            where=f"file {file}, column {', '.join(wrong[:_COLUMNS_SHOWN])}",
            why="answers are numeric codes with value labels",
            fix=f"ask {questionnaire.contractor} for numeric codes",
        )


def _check_wave(con: duckdb.DuckDBPyConnection, questionnaire: Questionnaire, file: str) -> None:
    wave = quoted(questionnaire.wave_name)
    rows = con.execute(
        f"select count(*), min(row_number) from delivered where {wave} <> ?", [questionnaire.wave]
    ).fetchall()
    if rows[0][0]:
        raise InputError(
            "The file belongs to another tranche",
            where=f"file {file}, column {questionnaire.wave_name}, first in row {rows[0][1]}",
            why=f"every record of {questionnaire.name} has wave {questionnaire.wave}",
            fix="check the tranche in the file's name, or ask the supplier for the right file",
        )


def _recode(
    con: duckdb.DuckDBPyConnection, types: Mapping[str, str], questionnaire: Questionnaire
) -> None:
    """Make `checked`; null marks an answer outside the codebook, an unanswered one is -9.

    What a record's form leaves out was not collected, whether its cells are blank or not.
    """
    answers = ", ".join(
        _coded(variable, types, _is_left_out(questionnaire, variable))
        for variable in questionnaire.variables
    )
    uid = f"nullif(trim({quoted(questionnaire.uid_name)}::varchar), '')"
    day = _day(questionnaire.completed_on_name, types[questionnaire.completed_on_name])
    con.execute(
        f"create table checked as select row_number, {uid} as uid, {day} as completed_on, "
        f"{_form(questionnaire)} as form, {quoted(questionnaire.wave_name)} as wave, "
        f"{quoted(questionnaire.take_part_name)} as take_part, {answers} from delivered"
    )
    # A column added to the table: planned as one query, every answer would be recoded twice.
    given = " + ".join(
        f"coalesce({quoted(variable.variable)} >= 0, false)::usmallint"
        for variable in questionnaire.variables
    )
    con.execute("alter table checked add column answered_n integer")
    con.execute(f"update checked set answered_n = {given}")


def _form(questionnaire: Questionnaire) -> str:
    """SQL: the name of a record's form; null where there are no forms, or its code is none."""
    if not questionnaire.forms:
        return "null::varchar"
    cell = quoted(questionnaire.form_name)
    whens = " ".join(
        f"when {cell} = {form.code} then {sql_literal(form.name)}" for form in questionnaire.forms
    )
    return f"case {whens} end"


def _is_left_out(questionnaire: Questionnaire, variable: QuestionnaireVariable) -> str:
    """SQL over `delivered`: whether the record's form leaves a question out; empty if none does."""
    codes = [form.code for form in questionnaire.forms if variable.variable in form.left_out]
    return _is_one_of(quoted(questionnaire.form_name), codes, is_whole=False) if codes else ""


def _coded(variable: QuestionnaireVariable, types: Mapping[str, str], is_left_out: str) -> str:
    """SQL: a supplier's cell in the codebook's codes; null is an answer outside of it."""
    cell = quoted(variable.supplier_name)
    by_own: dict[int | None, list[int]] = {}
    for code, own in variable.codes.items():
        by_own.setdefault(None if code == own else own, []).append(code)
    # Answers before missing codes: each branch is tried on what the ones before it left.
    ordered = sorted(by_own.items(), key=lambda item: -1 if item[0] is None else item[0] < 0)
    is_whole = types[variable.supplier_name] == "SMALLINT"
    cases = " ".join(
        f"when {_is_one_of(cell, codes, is_whole)} then {cell if own is None else own}"
        for own, codes in ordered
    )
    if is_left_out:
        # A stage that is not asked stays so; a code outside the codebook is seen all the same.
        said = [code for code, own in variable.codes.items() if own != NOT_ASKED]
        known = f"{cell} is null or {_is_one_of(cell, said, is_whole)}"
        cases = f"when ({is_left_out}) and ({known}) then {NOT_COLLECTED} {cases}"
    return (
        f"(case {cases} when {cell} is null then {NOT_ANSWERED} end)::tinyint "
        f"as {quoted(variable.variable)}"
    )


def _is_one_of(cell: str, codes: Sequence[int], is_whole: bool) -> str:
    """SQL: whether a cell is one of some codes; runs of whole numbers by their ends.

    DuckDB's `in` costs ten times as much as this inside a case expression.
    """
    if not is_whole:
        return " or ".join(f"{cell} = {code}" for code in codes)
    runs: list[list[int]] = []
    for code in sorted(codes):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return " or ".join(
        f"{cell} = {first}" if first == last else f"{cell} between {first} and {last}"
        for first, last in runs
    )


def _day(name: str, sql_type: str) -> str:
    cell = quoted(name)
    if sql_type == "VARCHAR":
        return f"try_cast({cell} as date)"
    return f"{_SPSS_EPOCH} + try_cast({cell} / {_SECONDS_A_DAY} as integer)"


def _quarantine_technical(
    con: duckdb.DuckDBPyConnection, questionnaire: Questionnaire, uid_form: str
) -> None:
    form = f" or not regexp_full_match(uid, {sql_literal(uid_form)})" if uid_form else ""
    for condition, column in (
        (f"uid is null{form}", questionnaire.uid_name),
        ("completed_on is null", questionnaire.completed_on_name),
        ("wave is null", questionnaire.wave_name),
    ):
        quarantine(con, condition, column, "wrong_type")
    if questionnaire.forms:
        # Without its form nobody knows what a pupil was asked.
        quarantine(con, "form is null", questionnaire.form_name, "form_unknown")


def _quarantine_values(con: duckdb.DuckDBPyConnection, questionnaire: Questionnaire) -> None:
    """Quarantine records with an answer outside the codebook: it is never guessed."""
    names = [quoted(variable.variable) for variable in questionnaire.variables]
    outside = ", ".join(
        f"case when {quoted(variable.variable)} is null then "
        f"{sql_literal(variable.supplier_name)} end"
        for variable in questionnaire.variables
    )
    any_outside = " or ".join(f"{name} is null" for name in names)
    con.execute(
        f"insert into {VIOLATIONS} select row_number, column_name, 'value_outside_codebook' from ("
        f"select row_number, unnest([{outside}]) as column_name from checked where {any_outside}) "
        "where column_name is not null"
    )
