"""Files of encodings in the place of identifiers, from a council that may not send any.

Belongs here: recognising such a file, its contract, and which files can be compared with each
other. Does not belong here: making encodings and linking them (`linkage/encodings.py`), the
character encodings of files (`encodings.py`).

A council encodes all its files or none. Identifiers beside encodings would be a dictionary: whoever
holds both learns how the key writes each name, and reads the records of others by it. So a file
that holds both is refused at the door (`drop.py`), and an extract that is not of the sample file's
kind and key when it is taken in: the key of its sealed copy is destroyed then (`take.py`).

An encoding does not tell whose it is, and two of one child differ. So where a child of the
engagement opted out, no encoded record without UID is taken in: it may be that child's. The council
alone can tell, before it encodes (`linkage/left_out.py`); the column `left_out` then declares of
which list of opt-outs the children are not in the file. Another list than the one that holds, a
row without the declaration, or none at all: nothing without UID is taken in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb

from rcs_assets.codebook import Dataset, Sensitivity
from rcs_assets.errors import InputError
from rcs_assets.intake import vault
from rcs_assets.intake.columns import PLACE, column_told
from rcs_assets.intake.contracts import count, quarantine

SAMPLE = "sample_file"
COLUMNS = ("scheme", "clk")
LEFT_OUT = "left_out"
IDENTIFIED_EXTRACTS = ("education_ids", "social_work_ids")
NO_UID = "encoded_without_uid"


class DictionaryError(InputError):
    """Beside what is held, the file would tell how the key writes names: it may not be kept."""


def takes_encodings(dataset: Dataset) -> bool:
    """Whether a contract knows encodings at all."""
    return set(COLUMNS) <= {field.name for field in dataset.fields}


def encoded_columns(dataset: Dataset) -> tuple[str, ...]:
    """Columns whose place the encodings take: every identifier but key and UID."""
    return tuple(
        field.column
        for field in dataset.fields
        if field.sensitivity is Sensitivity.IDENTIFIER
        and field.name not in (*dataset.key, *COLUMNS, LEFT_OUT)
        and field.kind != "uid"
    )


def of_identifiers(dataset: Dataset) -> Dataset:
    """The contract of a file of identifiers: it has no columns of encodings."""
    own = (*COLUMNS, LEFT_OUT)
    return replace(dataset, fields=tuple(f for f in dataset.fields if f.name not in own))


def judged_by(header: Sequence[str], dataset: Dataset, file: str) -> Dataset:
    """The contract that a file of identifiers is judged by: in clear, or of encodings.

    Args:
        header: its columns.
        dataset: a contract that takes encodings.
        file: its name, for messages.

    Raises:
        DictionaryError: beside encodings stands a column that may hold an identifier: every one
            that the contract of encodings does not have, in exactly its spelling.
    """
    if not set(COLUMNS) & {name.strip().lower() for name in header}:
        return dataset
    replaced = encoded_columns(dataset)
    allowed = [field.column for field in dataset.fields if field.column not in replaced]
    beside = [place for place, name in enumerate(header) if name not in allowed]
    if beside:
        told = column_told(header, beside[0], [field.column for field in dataset.fields])
        raise DictionaryError(
            "The file holds identifiers beside encodings",
            where=f"file {file}, header, column {told.removeprefix(PLACE)}",
            why="who holds both learns how the key writes each name, so beside encodings stand "
            f"no columns but {', '.join(allowed)}; the file is not kept",
            fix="delete the file and make it anew: rcs encodings make leaves the identifiers out",
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


def refuse_lone_change(
    file: str, is_kind: bool, held: Mapping[str, bool], came: Mapping[str, bool]
) -> None:
    """Refuse a sample file of another kind than the one that holds, unless its extracts come too.

    When it is taken in, the keys of the replaced files end for ever (`other_kind.py`), so one file
    sent by mistake may not be enough.

    Args:
        file: name of the sample file.
        is_kind: whether it holds encodings.
        held: dataset → the same of the council's deliveries that hold.
        came: dataset → the same of its files of identifiers that came together.

    Raises:
        InputError: no extract of the new kind came with it, or one that holds has no successor.
    """
    new = {name for name, kind in came.items() if name != SAMPLE and kind == is_kind}
    old = {name for name in IDENTIFIED_EXTRACTS if held.get(name, is_kind) != is_kind}
    if new and old <= new:
        return
    kinds = ("identifiers", "encodings")
    raise InputError(
        "The sample file alone would change its council's kind of files",
        where=f"file {file}",
        why=f"it holds {kinds[is_kind]}, the one before {kinds[not is_kind]}; taking it in would "
        "end the keys of the files that it replaces, for ever; it is not kept",
        fix="if that is meant, deliver it together with "
        + (" and ".join(sorted(old - new)) or "an extract")
        + " of its kind; else deliver the one before again",
    )


def flags(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """What the receipt of a file of encodings says besides, from `accepted`."""
    return {"encoded": count(con, "accepted")}


def refuse_mixed(con: duckdb.DuckDBPyConnection, file: str) -> None:
    """Refuse a file whose encodings cannot be compared with each other, from `accepted`.

    Raises:
        InputError: two schemes, or encodings of different lengths.
    """
    found = con.execute(f"select count(distinct {vault.SCHEME_KEY}) from accepted").fetchall()[0][0]
    if found > 1:
        raise InputError(
            "The file holds encodings of different keys or rules",
            where=f"file {file}, column scheme",
            why="no two of them can be compared",
            fix="encode the whole file with one key file: rcs encodings make",
        )


def refuse_other_kind(
    secret: duckdb.DuckDBPyConnection, dataset: Dataset, engagement: str, file: str
) -> None:
    """Refuse an extract in clear beside an encoded sample file, or the other way, by its header.

    Args:
        secret: the vault, which holds the sample file.
        dataset: the contract of the extract, from `judged_by`.
        engagement: partition key.
        file: name of the extract.

    Raises:
        DictionaryError: they are of two kinds.
    """
    held = vault.sample_is_encoded(secret, engagement)
    if held is not None and held != is_encoded(dataset):
        raise _no_comparison(engagement, file)


def refuse_other_scheme(
    con: duckdb.DuckDBPyConnection,
    secret: duckdb.DuckDBPyConnection,
    engagement: str,
    file: str,
) -> None:
    """Refuse an extract that cannot be compared with the engagement's sample file.

    Args:
        con: scratch connection with `accepted`.
        secret: the vault, which holds the sample file.
        engagement: partition key.
        file: name of the extract.

    Raises:
        DictionaryError: encodings beside identifiers, or encodings of another key.
        InputError: the vault holds no pupil of the sample file that they could be compared with.
    """
    keys = con.execute(
        f"select row_number, {vault.SCHEME_KEY} as asked_key from accepted"
    ).to_arrow_table()
    if not vault.ask_other_scheme(secret, engagement, keys):
        return
    if vault.sample_is_encoded(secret, engagement) is None:
        # No reason to make the file unreadable: the vault may be a new one.
        raise InputError(
            "The encodings cannot be compared with the sample file",
            where=f"{engagement}, file {file}",
            why="the vault holds no pupil of it",
            fix=f"run: rcs materialise --engagement {engagement}",
        )
    raise _no_comparison(engagement, file)


def _no_comparison(engagement: str, file: str) -> DictionaryError:
    return DictionaryError(
        "The extract cannot be compared with the sample file",
        where=f"{engagement}, file {file}, column scheme",
        why="one of them holds encodings and the other identifiers, or encodings of another "
        "key or other rules; the key of the sealed file was destroyed, nobody can open it",
        fix="encode sample file, education and social work with one key file, or none of them, "
        "and deliver this file anew",
    )


def declarations(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> list[str | None]:
    """What the rows of a file of encodings say that they were made without; none of a clear file.

    Args:
        con: scratch connection with `checked`.
        dataset: the contract of the file, from `judged_by`.
    """
    if not is_encoded(dataset):
        return []
    rows = con.execute(f"select distinct {LEFT_OUT} from checked order by all").fetchall()
    return [row[0] for row in rows]


def refuse_unrecognised(engagement: str, file: str) -> None:
    """Refuse encoded records without UID as a whole, where a child of the engagement opted out.

    Raises:
        InputError: always.
    """
    raise InputError(
        "The records of children who opted out cannot be told from the others",
        where=f"{engagement}, file {file}, column {LEFT_OUT}",
        why="the engagement has opt-outs or withdrawals, the records hold no UID, and the file "
        "does not declare that it was made without the children of the list that holds",
        fix="at the council, encode the file anew with that list: rcs encodings make --opt-outs "
        "LIST --pupils SAMPLE; then deliver it",
    )


def set_aside_unrecognised(con: duckdb.DuckDBPyConnection) -> None:
    """Quarantine the encoded rows of `accepted` that have no UID, where a child opted out."""
    quarantine(con, "survey_uid is null", "survey_uid", NO_UID)
