"""Files of an outside indexer (NRS): index numbers, the read-through, payload under an index.

Belongs here: what such a file must hold to be taken in, as a whole or not at all, and which
record a number stands for. Does not belong here: linking by them (`linkage/received.py`), files
that the platform itself hands on (`linkage/exchange.py`).

An index number says nothing of a child, but a wrong one joins two children: a file with a
number twice, or with numbers of another engagement, is refused, and nothing of it is kept.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake import vault
from rcs_assets.intake.contracts import VIOLATIONS
from rcs_assets.intake.desk import Desk
from rcs_assets.intake.drop import Delivery, opened
from rcs_assets.intake.readers import read_header
from rcs_assets.intake.receipts import count_receipt
from rcs_assets.intake.splitter import Taken
from rcs_assets.storage import hmac_expression

INDEXER_FILES = ("index_return_survey", "index_return_edu", "index_return_sw", "read_through")
INDEXES = ("index_survey", "index_edu", "index_sw")


def has_index_numbers(desk: Desk, dataset: Dataset, delivery: Delivery, index: str) -> bool:
    """Whether a payload names its records by index number, not by the supplier's record id."""
    with opened(desk.home, delivery) as path:
        header = read_header(path, dataset)
    return f"index_{index}" in header and "record_id" not in header


def with_index(dataset: Dataset, index: str) -> Dataset:
    """The contract of a payload with the index number's column in the place of the record id."""
    first, *rest = dataset.fields
    return replace(dataset, fields=(replace(first, column=f"index_{index}"), *rest))


def index_numbers(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    ids: Taken,
    returned: Taken | None,
    delivery: Delivery,
    dataset: str,
) -> pa.Table:
    """record_id and index_no of an extract's records, withdrawn ones included.

    Args:
        con: scratch connection.
        desk: the installation.
        ids: the identifiers of the extract.
        returned: what an outside indexer returned; None where the platform is the indexer.
        delivery: the payload.
        dataset: education or social_work, whose key makes the platform's own numbers.

    Raises:
        InputError: the indexer's file was refused.
    """
    if returned is not None:
        if returned.index_numbers is None:
            raise InputError(
                "The payload cannot be attached",
                where=f"file {delivery.file}",
                why="it names its records by index number, and the file of numbers was refused",
                fix="deliver a corrected index return, then run: rcs materialise",
            )
        return returned.index_numbers
    macro = hmac_expression(con, "index", desk.home.key(f"index_{dataset}"))
    parts = [table for table in (ids.record_ids, ids.withdrawn_ids) if table is not None]
    con.register("known_records", pa.concat_tables(parts))
    found = con.execute(
        f"select record_id, {macro}(record_id) as index_no from known_records order by record_id"
    ).to_arrow_table()
    con.unregister("known_records")
    return found


def record_of_index(con: duckdb.DuckDBPyConnection, numbers: pa.Table) -> str:
    """An SQL expression: the record id that the index number in field `record_id` stands for."""
    con.register("returned_numbers", numbers)
    # Named apart from the field that is asked, or the macro would compare the table with itself.
    con.execute(
        "create table record_of_index as "
        "select index_no as known_number, record_id as minted_id from returned_numbers"
    )
    con.unregister("returned_numbers")
    con.execute(
        "create macro record_with_index(number) as coalesce("
        "(select min(minted_id) from record_of_index where known_number = number), '')"
    )
    return "record_with_index(record_id)"


def take_index_return(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    dataset: Dataset,
    engagement: str,
    delivery: Delivery,
    record_id: str,
    table: str,
) -> Taken:
    """The index numbers of one dataset, from `accepted` on the scratch connection.

    Args:
        con: scratch connection with the file opened.
        desk: the installation.
        dataset: the contract; its second field is the index number.
        engagement: partition key.
        delivery: the file.
        record_id: SQL expression of the record id that intake minted.
        table: vault table of the records.

    Raises:
        InputError: a cell that cannot be read, a record or number that stands twice, no record
            of this engagement.
    """
    column = dataset.fields[1].name
    _refuse_unreadable(con, delivery)
    for name in ("record_id", column):
        _refuse_repeated(con, delivery, name)
    records = con.execute(
        f"select row_number, {record_id} as record_id, {column} as index_no from accepted"
    ).to_arrow_table()
    keys = pa.table({"row_number": records["row_number"], "asked_key": records["record_id"]})
    unknown = vault.ask_unknown(desk.vault, engagement, table, "record_id", keys)
    if len(unknown) == records.num_rows:
        raise _of_another_engagement(delivery, "record", "record_id")
    con.register("returned", records)
    con.register("unknown", pa.table({"row_number": pa.array(unknown, pa.int64())}))
    # A number of a record that is not there (withdrawn, quarantined) is known, and of nobody.
    stored = con.execute(
        "select ? as engagement, "
        "case when row_number not in (from unknown) then record_id end as record_id, index_no "
        "from returned order by index_no",
        [engagement],
    ).to_arrow_table()
    con.unregister("returned")
    con.unregister("unknown")
    return Taken(
        count_receipt(con, delivery, {"numbers_of_no_record": len(unknown)}),
        None,
        vault={dataset.name: stored},
        index_numbers=records.select(["record_id", "index_no"]),
    )


def take_read_through(
    con: duckdb.DuckDBPyConnection, desk: Desk, engagement: str, delivery: Delivery
) -> Taken:
    """The read-through, from `accepted` on the scratch connection.

    Raises:
        InputError: a cell that cannot be read, a number or child that stands twice, a row
            without any number, a number that the indexer did not return for this engagement.
    """
    _refuse_unreadable(con, delivery)
    for name in ("project_id", *INDEXES):
        _refuse_repeated(con, delivery, name)
    blank = " and ".join(f"{name} is null" for name in INDEXES)
    _refuse_rows(con, delivery, blank, "A row of the read-through names no record", "index_survey")
    for name in INDEXES:
        keys = con.execute(f"select row_number, {name} as asked_key from accepted").to_arrow_table()
        table = name.replace("index_", "index_return_")
        if vault.ask_unknown(desk.vault, engagement, table, "index_no", keys):
            raise _of_another_engagement(delivery, "index number", name)
    rows = con.execute(
        f"select ? as engagement, {', '.join(INDEXES)}, project_id, match_method, "
        "match_weight_band from accepted order by project_id",
        [engagement],
    ).to_arrow_table()
    return Taken(count_receipt(con, delivery, {}), None, vault={"read_through_received": rows})


def _refuse_unreadable(con: duckdb.DuckDBPyConnection, delivery: Delivery) -> None:
    found = con.execute(
        f"select row_number, column_name, rule from {VIOLATIONS} order by all limit 1"
    ).fetchall()
    if found:
        row, column, rule = found[0]
        raise InputError(
            "A row of an indexer's file cannot be read",
            where=f"file {delivery.file}, row {row}, column {column}",
            why=f"rule {rule}; numbers are taken in all or none: a wrong one joins two children",
            fix="ask the indexer for the file again",
        )


def _refuse_repeated(con: duckdb.DuckDBPyConnection, delivery: Delivery, column: str) -> None:
    _refuse_rows(
        con,
        delivery,
        f"{column} is not null and {column} in "
        f"(select {column} from accepted group by {column} having count(*) > 1)",
        "A number was returned twice",
        column,
    )


def _refuse_rows(
    con: duckdb.DuckDBPyConnection, delivery: Delivery, condition: str, what: str, column: str
) -> None:
    found = con.execute(
        f"select min(row_number), count(*) from accepted where {condition}"
    ).fetchall()[0]
    if found[1]:
        raise InputError(
            what,
            where=f"file {delivery.file}, row {found[0]}, column {column} ({found[1]} rows in all)",
            why="each number stands for one record, each row for one child",
            fix="ask the indexer for the file again; nothing of it was kept",
        )


def _of_another_engagement(delivery: Delivery, what: str, column: str) -> InputError:
    return InputError(
        f"The file holds a {what} of another engagement",
        where=f"file {delivery.file}, column {column}",
        why="every number of a file belongs to the records that this engagement delivered",
        fix="deliver the file under the name of its own engagement, and the index returns before "
        "the read-through",
    )
