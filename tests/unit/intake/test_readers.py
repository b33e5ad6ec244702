"""Readers: what a file may look like, and what is refused without quoting a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake.readers import (
    count_records,
    probe,
    read_header,
    read_sav,
    read_text,
)
from rcs_assets.intake.survey import check_survey_header
from tests.unit.intake.conftest import (
    services,
    survey_frame,
    write_sav,
    write_sheet,
    write_xlsx,
)

SECRET = "Zyxwvut"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    yield connection
    connection.close()


@pytest.fixture
def dataset(codebook: Codebook) -> Dataset:
    return codebook.datasets["opt_outs"]


def read(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> list[tuple[object, ...]]:
    read_text(con, path, dataset)
    return con.execute("select * from delivered order by row_number").fetchall()


def refusal(con: duckdb.DuckDBPyConnection, path: Path, dataset: Dataset) -> str:
    with pytest.raises(InputError) as caught:
        read_text(con, path, dataset)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert path.name in str(caught.value)
    return str(caught.value)


def test_csv_with_byte_order_mark_and_windows_line_breaks(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, dataset: Dataset
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfx,y\r\n"a, b",007\r\n,"say ""hi"""\r\n')
    assert read_header(path, dataset) == ("x", "y")
    assert read(con, path, dataset) == [(1, "a, b", "007"), (2, None, 'say "hi"')]


def test_csv_in_another_declared_encoding(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, dataset: Dataset
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("x,y\nMùirne,1\n".encode("latin-1"))
    assert read(con, path, replace(dataset, encoding="latin-1")) == [(1, "Mùirne", "1")]


def test_bytes_outside_the_declared_encoding(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, dataset: Dataset
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"x,y\n1,2\n{SECRET}".encode() + b"\xff,2\n")
    assert "encoding" in refusal(con, path, dataset)


@pytest.mark.parametrize("line", [f"{SECRET}", f"{SECRET},1,2"])
def test_lines_with_another_number_of_columns(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, dataset: Dataset, line: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"x,y\n1,2\n{line}\n3,4\n")
    message = refusal(con, path, dataset)
    assert "line 3" in message and "columns of the header" in message


def test_an_open_quote_is_refused(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, dataset: Dataset
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'x,y\n1,"{SECRET}\n3,4\n')
    refusal(con, path, dataset)


def test_sav_keeps_codes_of_missing_values(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, codebook: Codebook
) -> None:
    questionnaire = codebook.questionnaire_for("t1", "secondary")
    name = questionnaire.variables[0].supplier_name
    frame = survey_frame(questionnaire, ["CA00000001", "CA00000002"])
    frame[name] = [-1.0, None]
    read_sav(con, write_sav(tmp_path / "a.sav", frame), [questionnaire.uid_name, name])
    rows = con.execute("select * from delivered order by row_number").fetchall()
    assert rows == [(1, "CA00000001", -1.0), (2, "CA00000002", None)]


def test_a_sav_that_ends_too_early(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, codebook: Codebook
) -> None:
    questionnaire = codebook.questionnaire_for("t1", "secondary")
    path = write_sav(tmp_path / "a.sav", survey_frame(questionnaire, ["CA00000001"] * 50))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        read_sav(con, path, [questionnaire.uid_name])
    assert "a.sav" in str(caught.value)


def test_workbook_as_text(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, codebook: Codebook
) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", services())
    contract = codebook.datasets["service_map"]
    assert read_header(path, contract) == tuple(services()[0])
    read_text(con, path, contract)
    rows = con.execute("select service_id, age_min, annual_cost_gbp from delivered").fetchall()
    assert rows == [("s1", "5", "12500.5"), ("s2", "5", "12500.5")]


def test_workbook_without_the_sheet(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, codebook: Codebook
) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", services(), sheet="other")
    assert "sheet services" in refusal(con, path, codebook.datasets["service_map"])


def test_records_of_a_refused_file_are_counted_where_they_can_be_read(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, dataset: Dataset, codebook: Codebook
) -> None:
    other_columns = tmp_path / "a.csv"
    other_columns.write_text("x,y\n1,2\n3,4\n", encoding="utf-8")
    assert count_records(con, other_columns, dataset) == 2
    questionnaire = codebook.questionnaire_for("t1", "secondary")
    survey = write_sav(tmp_path / "a.sav", survey_frame(questionnaire, ["CA00000001"] * 3))
    assert count_records(con, survey, codebook.datasets["secondary_survey"]) == 3
    book = write_xlsx(tmp_path / "a.xlsx", services(), sheet="other")
    assert count_records(con, book, codebook.datasets["service_map"]) == 0


@pytest.mark.parametrize(
    ("header", "column"),
    [(["a", "a"], "1, 2"), (["a", "A"], "1, 2"), (["a", None], "2"), ([None, "b"], "1")],
)
@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_columns_without_a_name_of_their_own(
    con: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    dataset: Dataset,
    ending: str,
    header: list[str | None],
    column: str,
) -> None:
    """They are refused by their place, and the records below them are counted all the same."""
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        path.write_text(",".join(name or "" for name in header) + f"\n1,{SECRET}\n3,4\n")
    else:
        write_sheet(path, [header, ["1", SECRET], ["3", "4"]])
    assert f"header, column {column}." in refusal(con, path, dataset)
    assert count_records(con, path, dataset) == 2


@pytest.mark.parametrize("ending", ["csv", "xlsx", "sav"])
def test_a_path_without_a_file(tmp_path: Path, dataset: Dataset, ending: str) -> None:
    (tmp_path / f"folder.{ending}").mkdir()
    for name in ("missing", "folder"):
        path = tmp_path / f"{name}.{ending}"
        for read_from in (probe, read_header):
            with pytest.raises(InputError, match=path.name):
                read_from(path, dataset)


def test_a_survey_with_a_damaged_name(tmp_path: Path, codebook: Codebook) -> None:
    questionnaire = codebook.questionnaire_for("t1", "primary")
    path = write_sav(tmp_path / "a.sav", survey_frame(questionnaire, ["CA00000001"]))
    # Not one of up to eight letters: without it the file cannot be read at all.
    names = (asked.supplier_name for asked in questionnaire.variables)
    name = next(name.encode() for name in names if len(name) > 8)
    path.write_bytes(path.read_bytes().replace(name, b" " * len(name)))
    header = read_header(path, codebook.datasets["primary_survey"])
    with pytest.raises(InputError, match="column 5 without a name"):
        check_survey_header(header, questionnaire, path.name)
