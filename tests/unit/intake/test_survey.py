"""Survey files: suppliers' codes, consent, duplicates, routing; on frames made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
import pandas as pd
import pytest

from rcs_assets.codebook import Codebook, Questionnaire
from rcs_assets.errors import InputError
from rcs_assets.intake.contracts import count
from rcs_assets.intake.splitter import survey_payload
from rcs_assets.intake.survey import (
    check_labels,
    check_survey,
    check_survey_header,
    forms_found,
    quarantine_repeated,
    repair_routing,
    survey_columns,
)
from tests.unit.intake.conftest import survey_frame

UIDS = ["CA00000001", "CA00000002", "CA00000003"]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    yield connection
    connection.close()


@pytest.fixture
def questionnaire(codebook: Codebook) -> Questionnaire:
    return codebook.questionnaire_for("t1", "secondary")


def check(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    questionnaire: Questionnaire,
    frame: pd.DataFrame,
) -> list[tuple[int, str, str]]:
    """Violations of a frame as (row number, column, rule)."""
    con.register("frame", frame)
    con.execute("create table delivered as select row_number() over () as row_number, * from frame")
    day = questionnaire.completed_on_name
    # As read_sav hands it over: seconds since the start of the Gregorian calendar.
    con.execute(
        f'alter table delivered alter "{day}" type double using epoch("{day}") + 12219379200'
    )
    dataset = codebook.datasets[f"{questionnaire.survey}_survey"]
    check_survey(con, dataset, questionnaire, "f.sav")
    quarantine_repeated(con, questionnaire)
    return con.execute("select * from violations order by all").fetchall()


def answers(con: duckdb.DuckDBPyConnection, name: str) -> list[Any]:
    return [
        row[0] for row in con.execute(f"select {name} from routed order by row_number").fetchall()
    ]


@pytest.mark.parametrize("tranche", ["t1", "t2"])
def test_both_contractors_codes_become_the_codebooks(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, tranche: str
) -> None:
    """Every code of every question of one supplier, through the file and back."""
    questionnaire = codebook.questionnaire_for(tranche, "secondary")
    longest = max(len(variable.codes) for variable in questionnaire.variables)
    uids = [f"CA{number:08d}" for number in range(longest)]
    # The form that asks everything: what another leaves out is not the supplier's code's doing.
    forms = ["combined"] * longest if questionnaire.forms else []
    frame = survey_frame(questionnaire, uids, forms)
    expected = {}
    for variable in questionnaire.variables:
        supplier = list(variable.codes)
        cells = [supplier[number % len(supplier)] for number in range(longest)]
        frame[variable.supplier_name] = [float(code) for code in cells]
        expected[variable.variable] = [variable.codes[code] for code in cells]
    found = check(con, codebook, questionnaire, frame)
    assert "value_outside_codebook" not in {rule for _, _, rule in found}
    for name, codes in expected.items():
        found = con.execute(f"select {name} from checked order by row_number").fetchall()
        assert [row[0] for row in found] == codes, name


def test_suppliers_name_and_code_some_questions_differently(codebook: Codebook) -> None:
    one, other = (codebook.questionnaire_for(t, "secondary") for t in ("t1", "t2"))
    first = {v.variable: (v.supplier_name, dict(v.codes)) for v in one.variables}
    second = {v.variable: (v.supplier_name, dict(v.codes)) for v in other.variables}
    shared = first.keys() & second.keys()
    assert any(first[name][0] != second[name][0] for name in shared)
    assert any(first[name][1] != second[name][1] for name in shared)


def test_skipped_is_minus_nine_and_not_in_the_questionnaire_minus_four(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    name = "general_health"
    changes: dict[str, Any] = {name: [None, 1, -1]}
    frame = survey_frame(questionnaire, UIDS, **changes)
    assert check(con, codebook, questionnaire, frame) == []
    repair_routing(con, codebook, "secondary")
    assert answers(con, name) == [-9, 1, -1]
    asked = {variable.variable for variable in questionnaire.variables}
    payload = survey_payload(con, codebook, questionnaire, "t1-x", "uid")
    names = [variable.name for variable in codebook.variables_of("secondary")]
    assert payload.column_names[5:] == names
    for column in (name for name in names if name not in asked):
        assert payload[column].to_pylist() == [-4, -4, -4]
    assert payload["completed_on"].to_pylist() == [date(2016, 2, 1)] * 3


def test_an_answer_outside_the_codebook_quarantines_its_record(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    column = questionnaire.variables[0]
    changes: dict[str, Any] = {column.variable: [77, 1, 1]}
    frame = survey_frame(questionnaire, UIDS, **changes)
    found = check(con, codebook, questionnaire, frame)
    assert found == [(1, column.supplier_name, "value_outside_codebook")]
    assert count(con, "accepted") == 2


def test_another_tranches_file_is_refused(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    frame = survey_frame(questionnaire, UIDS)
    frame[questionnaire.wave_name] = [1.0, 3.0, 1.0]
    with pytest.raises(InputError, match="another tranche") as caught:
        check(con, codebook, questionnaire, frame)
    assert "f.sav" in str(caught.value) and "row 2" in str(caught.value)


def test_no_consent_is_withdrawn_whatever_else_is_wrong(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    frame = survey_frame(questionnaire, UIDS)
    frame[questionnaire.take_part_name] = [1.0, 2.0, None]
    frame.loc[1, questionnaire.variables[0].supplier_name] = 77.0
    check(con, codebook, questionnaire, frame)
    assert con.execute("select row_number from withdrawn order by 1").fetchall() == [(2,), (3,)]
    assert count(con, "accepted") == 1


def test_the_fullest_record_of_a_pupil_is_kept(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    """Most answers first, then the earliest completed, then the first in the file."""
    uids = ["CA00000001"] * 2 + ["CA00000002"] * 2 + ["CA00000003"] * 2
    frame = survey_frame(questionnaire, uids)
    frame.loc[0, questionnaire.variables[0].supplier_name] = None
    frame[questionnaire.completed_on_name] = [date(2016, 2, day) for day in (1, 5, 9, 8, 3, 3)]
    found = check(con, codebook, questionnaire, frame)
    assert [(row, rule) for row, _, rule in found] == [
        (1, "duplicate_uid"),
        (3, "duplicate_uid"),
        (6, "duplicate_uid"),
    ]


def test_records_without_answers_and_broken_keys(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    frame = survey_frame(questionnaire, ["CA00000001", "", "nobody"])
    for variable in questionnaire.variables:
        frame.loc[0, variable.supplier_name] = None
    found = check(con, codebook, questionnaire, frame)
    assert found == [
        (1, "", "no_answers"),
        (2, questionnaire.uid_name, "wrong_type"),
        (3, questionnaire.uid_name, "wrong_type"),
    ]


def test_routing_is_repaired_along_the_chain_and_counted(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    others: dict[str, Any] = {
        variable.name: [1, None, None, 1]
        for variable in codebook.variables_of("secondary")
        if variable.routing is not None
        and variable.routing.variable == "bullied_last_year"
        and variable.name != "bullying_reported"
    }
    frame = survey_frame(
        questionnaire,
        [*UIDS, "CA00000004"],
        bullied_last_year=[1, 0, None, 1],
        bullying_reported=[1, 1, None, 0],
        bullying_reported_outcome=[1, 1, 1, None],
        **others,
        care_for_someone=[1, 1, 1, 1],
        alcohol_ever=[1, 1, 1, 1],
    )
    assert check(con, codebook, questionnaire, frame) == []
    # Reported though not bullied, and two outcomes of what was not reported.
    assert repair_routing(con, codebook, "secondary") == 3
    assert answers(con, "bullied_last_year") == [1, 0, -9, 1]
    assert answers(con, "bullying_reported") == [1, -6, -6, 0]
    assert answers(con, "bullying_reported_outcome") == [1, -6, -6, -6]


def test_header_of_a_survey_file(questionnaire: Questionnaire) -> None:
    header = list(survey_columns(questionnaire))
    check_survey_header(header, questionnaire, "f.sav")
    with pytest.raises(InputError) as caught:
        check_survey_header([*header[:-1], "surname"], questionnaire, "f.sav")
    message = str(caught.value)
    assert f"missing: {header[-1]}" in message
    assert "not in the questionnaire: surname." in message


@pytest.mark.parametrize("cell", ["Jane Doe", "Doe", "uid Doe"])
def test_a_cell_in_the_header_of_a_survey_is_told_by_its_place(
    questionnaire: Questionnaire, cell: str
) -> None:
    header = [*survey_columns(questionnaire), cell]
    with pytest.raises(InputError) as caught:
        check_survey_header(header, questionnaire, "f.sav")
    assert cell not in str(caught.value)
    assert f"not in the questionnaire: column {len(header)};" in str(caught.value)


def test_text_where_codes_are_due(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    column = questionnaire.variables[0].supplier_name
    frame = survey_frame(questionnaire, UIDS)
    frame[column] = ["Agree"] * 3
    with pytest.raises(InputError, match="hold text where codes are due") as caught:
        check(con, codebook, questionnaire, frame)
    assert column in str(caught.value) and "Agree" not in str(caught.value)


FORMS = ("main", "main", "combined", "combined")
FOUR = [*UIDS, "CA00000004"]


def test_what_a_form_leaves_out_was_not_collected_whatever_stands_there(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    frame = survey_frame(
        questionnaire,
        FOUR,
        FORMS,
        frequency_smoking=[0, None, 0, None],
        frequency_alcohol=[-1, -4, -1, -4],
        alcohol_ever=[-9, -5, 1, -5],
        drugs_ever=[-6, 1, 1, 0],
    )
    for variable in questionnaire.variables:
        if variable.variable.startswith(("cigarettes", "e_", "dr", "frequency_e_ciga")):
            frame.loc[:1, variable.supplier_name] = None
    frame.loc[1, next(
        v.supplier_name for v in questionnaire.variables if v.variable == "drugs_ever"
    )] = 1.0  # fmt: skip
    assert check(con, codebook, questionnaire, frame) == []
    # Smoking, alcohol declined, drugs: three things said that nobody was asked.
    assert forms_found(con, questionnaire) == {
        "form_main": 2,
        "form_combined": 2,
        "form_repaired": 3,
    }
    repair_routing(con, codebook, "secondary")
    assert answers(con, "frequency_smoking") == [-4, -4, 0, -9]
    assert answers(con, "frequency_alcohol") == [-4, -4, -1, -4]
    assert answers(con, "alcohol_ever") == [-4, -5, 1, -5]
    assert answers(con, "drugs_ever") == [-4, -4, 1, 0]
    # Routed by a question that was not asked: not collected either, not routed past.
    assert answers(con, "drugs_use_last_year_type_cannabis")[:2] == [-4, -4]
    assert answers(con, "form") == list(FORMS)
    assert answers(con, "general_health") == [1] * 4


def test_answers_to_what_a_form_leaves_out_make_no_record_the_fullest(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    """Two records of a pupil: one with a question less, but 47 that its form does not have."""
    frame = survey_frame(questionnaire, [UIDS[0]] * 2, ["main", "main"])
    left_out = questionnaire.forms[0].left_out
    for variable in questionnaire.variables:
        if variable.variable in left_out:
            frame.loc[1, variable.supplier_name] = None
    frame.loc[0, questionnaire.variables[0].supplier_name] = None
    assert check(con, codebook, questionnaire, frame) == [
        (1, questionnaire.uid_name, "duplicate_uid")
    ]


def test_a_code_outside_the_codebook_is_seen_on_every_form(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    frame = survey_frame(questionnaire, FOUR, FORMS, frequency_smoking=[77, 0, 0, 77])
    rules = [(row, rule) for row, _, rule in check(con, codebook, questionnaire, frame)]
    assert rules == [(1, "value_outside_codebook"), (4, "value_outside_codebook")]


def test_a_record_without_its_form_is_set_aside(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, questionnaire: Questionnaire
) -> None:
    frame = survey_frame(questionnaire, UIDS, ["main", None, "combined"])
    frame.loc[2, questionnaire.form_name] = 3.0
    assert check(con, codebook, questionnaire, frame) == [
        (2, questionnaire.form_name, "form_unknown"),
        (3, questionnaire.form_name, "form_unknown"),
    ]


def test_a_form_under_another_label_is_refused(
    codebook: Codebook, questionnaire: Questionnaire
) -> None:
    titles = {float(form.code): form.title.upper() for form in questionnaire.forms}
    check_labels({questionnaire.form_name: titles}, codebook, questionnaire, "f.sav")
    turned = dict(zip(titles, reversed(list(titles.values())), strict=True))
    with pytest.raises(InputError, match="labels of the forms") as caught:
        check_labels({questionnaire.form_name: turned}, codebook, questionnaire, "f.sav")
    assert questionnaire.form_name in str(caught.value)
