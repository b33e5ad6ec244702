"""Contracts: headers, cells, keys; each rule on rows made for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake.contracts import (
    check_header,
    check_rows,
    count,
    count_parts,
    quarantine_duplicates,
)
from rcs_assets.intake.drop import Delivery
from rcs_assets.intake.pupils import pupil_flags, withdraw
from rcs_assets.intake.receipts import count_receipt, quarantined_rows
from tests.unit.intake.conftest import education_payload, pupils

DELIVERY = Delivery(1, "f.csv", "sample_file", "t1-x", "ab", 1, "2020-01-01", True)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    yield connection
    connection.close()


def checked(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, rows: Sequence[Mapping[str, str]]
) -> list[tuple[int, str, str]]:
    """Violations of rows as (row number, column, rule)."""
    numbered = [{"row_number": n, **row} for n, row in enumerate(rows, start=1)]
    con.register("rows", pa.Table.from_pylist(numbered))
    con.execute("create table delivered as select * from rows")
    check_rows(con, dataset, "f.csv")
    return con.execute("select * from violations order by all").fetchall()


CELLS = [
    "Jane Doe",
    "Doe",
    "Max English",
    "J. D.",
    "Jane Doe 27/11/2003",
    "KW1 4ZZ",
    "123 456 789",
    "survey_uid Doe",
    "2003-11-27",
    "Zoë",
    "religion",
]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_in_a_header_is_not_quoted(codebook: Codebook, cell: str) -> None:
    """The line is a header otherwise: two of three columns are there."""
    with pytest.raises(InputError) as caught:
        check_header(["survey_uid", "scope", cell], codebook.datasets["opt_outs"], "f.csv")
    assert cell not in str(caught.value)
    message = str(caught.value)
    assert "f.csv, header, column received_on, 3." in message
    assert "not in the contract: column 3;" in message and "could be a person's" in message
    assert "What to do: ask the supplier for exactly the columns of" in message


@pytest.mark.parametrize("name", ["surname", "Date of birth", "recieved_on", "Survey Uid", "scn"])
def test_a_column_of_a_contract_or_a_misspelling_is_named(codebook: Codebook, name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_header(["survey_uid", "scope", name], codebook.datasets["opt_outs"], "f.csv")
    assert f"not in the contract: {name}." in str(caught.value)


def test_header_names_what_is_missing_extra_and_twice(codebook: Codebook) -> None:
    dataset = codebook.datasets["opt_outs"]
    check_header(["survey_uid", "scope", "received_on"], dataset, "f.csv")
    with pytest.raises(InputError) as caught:
        check_header(["survey_uid", "survey_uid", "scope", "post code", ""], dataset, "f.csv")
    message = str(caught.value)
    assert "missing: received_on" in message and "requested_by" not in message
    assert "not in the contract: column 4, column 5 without a name;" in message
    assert "twice: survey_uid" in message
    assert "f.csv" in message


def test_publishers_files_may_have_further_columns(codebook: Codebook) -> None:
    dataset = codebook.datasets["datazones"]
    check_header([*(field.column for field in dataset.fields), "notes"], dataset, "f.csv")


def test_clean_rows_break_nothing_and_are_typed(
    con: duckdb.DuckDBPyConnection, codebook: Codebook
) -> None:
    assert checked(con, codebook.datasets["sample_file"], pupils()) == []
    born = con.execute("select date_of_birth from checked where row_number = 2").fetchall()
    assert str(born[0][0]) == "2005-03-02"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("surname", " \u00a0 ", "blank"),
        ("date_of_birth", "03/04/2005", "wrong_type"),
        ("date_of_birth", "2005-02-30", "wrong_type"),
        ("scn", "12345", "wrong_type"),
        ("survey_uid", "ca00000002", "wrong_type"),
        ("seed_code", "123", "wrong_type"),
        ("stage", "P1", "value_not_allowed"),
        ("sex", "X", "wrong_type"),
    ],
)
def test_a_broken_cell_quarantines_its_row_only(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, column: str, value: str, rule: str
) -> None:
    rows = pupils()
    rows[1][column] = value
    assert checked(con, codebook.datasets["sample_file"], rows) == [(2, column, rule)]
    assert count(con, "accepted") == 5


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("attendance_pct", "101", "out_of_range"),
        ("attendance_pct", "many", "wrong_type"),
        ("exclusions_n", "1.5", "wrong_type"),
        ("exclusions_n", "-1", "out_of_range"),
        ("asn_types", "1;9", "value_not_allowed"),
        ("free_school_meal", "maybe", "value_not_allowed"),
        ("ethnic_background", "1", "value_not_allowed"),
    ],
)
def test_ranges_lists_and_codes(
    con: duckdb.DuckDBPyConnection, codebook: Codebook, column: str, value: str, rule: str
) -> None:
    rows = education_payload()
    rows[3][column] = value
    assert checked(con, codebook.datasets["education_payload"], rows) == [(4, column, rule)]


def test_marks_of_publishers_read_as_empty(
    con: duckdb.DuckDBPyConnection, codebook: Codebook
) -> None:
    dataset = codebook.datasets["school_roll"]
    row = {field.column: "*" for field in dataset.fields}
    row |= {"year": "2019", "Local Authority": "A", "SeedCode": "5700001", "P1": "#"}
    row |= {"School Name": "A", "School Type": "Primary", "P2": "12", "P3": "*12", "P4": "c"}
    assert checked(con, dataset, [row]) == [
        (1, "P3", "wrong_type"),
        (1, "P4", "wrong_type"),
    ], "a mark of another vintage is no mark of this one"
    assert con.execute("select p1_n, p2_n, roll_n from checked").fetchall() == [(None, 12, None)]


def test_a_part_of_a_birth_date_is_taken_where_the_contract_says_so(
    con: duckdb.DuckDBPyConnection, codebook: Codebook
) -> None:
    """domain.md 3.4: partial dates. The sample file takes none: its date is part of an id."""
    dataset = codebook.datasets["social_work_ids"]
    dates = {
        "2004-03": "2004-03-01", "2004": "2004-01-01", "2004-00-00": "2004-01-01",
        "2004-03-00": "2004-03-01", "2004-03-17": "2004-03-17", "2004-13": None,
        "2004-02-30": None, "0000-00-00": None, "03/2004": None,
    }  # fmt: skip
    rows = [
        {field.column: "" for field in dataset.fields}
        | {"record_id": f"r{n}", "surname": "Orr", "date_of_birth": text}
        for n, text in enumerate(dates)
    ]
    refused = {row[0] for row in checked(con, dataset, rows)}
    kept = dict(con.execute("select row_number, date_of_birth from accepted").fetchall())
    for number, day in enumerate(dates.values(), start=1):
        assert (number in refused) == (day is None)
        if day is not None:
            assert str(kept[number]) == day
    assert count_parts(con, dataset) == {"dates_in_part": 4}
    assert count_parts(con, codebook.datasets["sample_file"]) == {}
    assert not any(field.takes_parts for field in codebook.datasets["sample_file"].fields)


def test_identical_rows_are_kept_once_and_contradicting_ones_not_at_all(
    con: duckdb.DuckDBPyConnection, codebook: Codebook
) -> None:
    dataset = codebook.datasets["sample_file"]
    rows = pupils()
    rows += [dict(rows[0]), {**rows[1], "surname": "Other"}]
    assert checked(con, dataset, rows) == []
    quarantine_duplicates(con, dataset.key, [f.name for f in dataset.fields], "duplicate_uid")
    found = con.execute("select row_number, rule from violations order by 1").fetchall()
    assert found == [(2, "duplicate_uid"), (7, "duplicate_uid"), (8, "duplicate_uid")]


def test_a_required_file_without_rows(con: duckdb.DuckDBPyConnection, codebook: Codebook) -> None:
    dataset = codebook.datasets["sample_file"]
    con.register("rows", pa.Table.from_pylist([{"row_number": 1, **pupils()[0]}]))
    con.execute("create table delivered as select * from rows where false")
    with pytest.raises(InputError, match="has no rows"):
        check_rows(con, dataset, "f.csv")


def test_check_digits_are_flagged_and_reject_nothing(
    con: duckdb.DuckDBPyConnection, codebook: Codebook
) -> None:
    rows = pupils()
    # Valid numbers of domain.md 3.5; the last three are wrong, repeated, absent.
    for row, scn in zip(
        rows, ("040001239", "112345671", "098765433", "051111118", "040001239", ""), strict=True
    ):
        row["scn"] = scn
    assert checked(con, codebook.datasets["sample_file"], rows) == []
    assert pupil_flags(con) == {"scn_missing": 1, "scn_check_digit": 1, "scn_repeated": 2}


_DEFECTS = st.sampled_from(
    [
        ("", ""),
        ("surname", ""),
        ("stage", "P1"),
        ("date_of_birth", "soon"),
        ("scn", "1"),
        ("survey_uid", "CA00000001"),
    ]
)


@settings(max_examples=25)
@given(
    defects=st.lists(st.tuples(_DEFECTS, _DEFECTS), min_size=6, max_size=6),
    opted_out=st.sets(st.integers(1, 6)),
)
def test_received_is_accepted_and_quarantined_and_withdrawn(
    codebook: Codebook, defects: list[tuple[tuple[str, str], ...]], opted_out: set[int]
) -> None:
    dataset = codebook.datasets["sample_file"]
    rows = pupils()
    for row, changes in zip(rows, defects, strict=True):
        row |= {column: value for column, value in changes if column}
    with duckdb.connect() as con:
        checked(con, dataset, rows)
        withdraw(con, sorted(opted_out))
        quarantine_duplicates(con, dataset.key, [f.name for f in dataset.fields], "duplicate_uid")
        receipt = count_receipt(con, DELIVERY, {})
        places = quarantined_rows(con, DELIVERY)
    assert receipt.received_n == 6
    assert receipt.withdrawn_n == len(opted_out)
    assert receipt.accepted_n + receipt.quarantined_n == 6 - len(opted_out)
    assert len(set(places["row_number"].to_pylist())) == receipt.quarantined_n
    assert not set(places["row_number"].to_pylist()) & opted_out
