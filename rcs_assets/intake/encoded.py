"""Files of encodings in the place of identifiers, from a council that may not send any.

Belongs here: recognising such a file, its contract, and which files can be compared with each
other. Does not belong here: making encodings and linking them (`linkage/encodings.py`), the
character encodings of files (`encodings.py`).

A council encodes all its files or none. Identifiers beside encodings would be a dictionary: whoever
holds both learns how the key writes each name, and reads the records of others by it. So a file
that holds both is refused, and so is an extract that is not of the sample file's kind and key.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from rcs_assets.codebook import Dataset, Sensitivity
from rcs_assets.errors import InputError
from rcs_assets.intake import vault
from rcs_assets.intake.contracts import count
from rcs_assets.intake.desk import Desk
from rcs_assets.intake.drop import Delivery, opened
from rcs_assets.intake.readers import read_header

COLUMNS = ("scheme", "clk")


def takes_encodings(dataset: Dataset) -> bool:
    """Whether a contract knows encodings at all."""
    return set(COLUMNS) <= {field.name for field in dataset.fields}


def encoded_columns(dataset: Dataset) -> tuple[str, ...]:
    """Columns whose place the encodings take: every identifier but key and UID."""
    return tuple(
        field.column
        for field in dataset.fields
        if field.sensitivity is Sensitivity.IDENTIFIER
        and field.name not in (*dataset.key, *COLUMNS)
        and field.kind != "uid"
    )


def of_identifiers(dataset: Dataset) -> Dataset:
    """The contract of a file of identifiers: it has no columns of encodings."""
    return replace(dataset, fields=tuple(f for f in dataset.fields if f.name not in COLUMNS))


def contract_of(desk: Desk, dataset: Dataset, delivery: Delivery) -> Dataset:
    """The contract that a delivered file of identifiers is judged by.

    Raises:
        InputError: it holds identifiers beside encodings.
    """
    with opened(desk.home, delivery) as path:
        header = read_header(path, dataset)
    if not set(COLUMNS) & set(header):
        return dataset
    replaced = encoded_columns(dataset)
    beside = [name for name in header if name in replaced]
    if beside:
        raise InputError(
            "The file holds identifiers beside encodings",
            where=f"file {delivery.file}, header, column {beside[0]}",
            why="who holds both learns how the key writes each name",
            fix="make the file anew: rcs encodings make leaves the identifiers out",
        )
    return with_encodings(dataset)


def with_encodings(dataset: Dataset) -> Dataset:
    """The contract of a file of encodings: identifiers are absent, scheme and encoding required."""
    replaced = encoded_columns(dataset)
    fields = tuple(
        replace(field, is_required=False, may_be_absent=True)
        if field.column in replaced
        else replace(field, is_required=True, may_be_absent=False)
        if field.name in COLUMNS
        else field
        for field in dataset.fields
    )
    return replace(dataset, fields=fields)


def is_encoded(dataset: Dataset) -> bool:
    """Whether a contract is one of `with_encodings`."""
    return any(field.name == "clk" and field.is_required for field in dataset.fields)


def flags(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """What the receipt of a file of encodings says besides, from `accepted`."""
    return {"encoded": count(con, "accepted")}


def refuse_mixed(con: duckdb.DuckDBPyConnection, delivery: Delivery) -> None:
    """Refuse a file whose encodings cannot be compared with each other, from `accepted`.

    Raises:
        InputError: two schemes, or encodings of different lengths.
    """
    found = con.execute(f"select count(distinct {vault.SCHEME_KEY}) from accepted").fetchall()[0][0]
    if found > 1:
        raise InputError(
            "The file holds encodings of different keys or rules",
            where=f"file {delivery.file}, column scheme",
            why="no two of them can be compared",
            fix="encode the whole file with one key file: rcs encodings make",
        )


def refuse_other_scheme(
    con: duckdb.DuckDBPyConnection, desk: Desk, engagement: str, delivery: Delivery
) -> None:
    """Refuse an extract that cannot be compared with the engagement's sample file.

    Args:
        con: scratch connection with `accepted`.
        desk: the installation, whose vault holds the sample file.
        engagement: partition key.
        delivery: the extract.

    Raises:
        InputError: encodings beside identifiers, or encodings of another key.
    """
    keys = con.execute(
        f"select row_number, {vault.SCHEME_KEY} as asked_key from accepted"
    ).to_arrow_table()
    if vault.ask_other_scheme(desk.vault, engagement, keys):
        raise InputError(
            "The extract cannot be compared with the sample file",
            where=f"{engagement}, file {delivery.file}, column scheme",
            why="one of them holds encodings and the other identifiers, or encodings of another "
            "key or other rules",
            fix="encode sample file, education and social work with one key file, or none of them",
        )
