"""Extra children of an education extract: what a council sent about pupils who were issued no UID.

Belongs here: which extracts hold such children, and rewriting the sealed deliveries without them.
Does not belong here: finding them (`steps.py`), keys (`keys.py`), the command.

Policy.md (Protection by design): an extract is limited to issued UIDs; extra children are
quarantined and destroyed. Intake quarantines them; until somebody has looked, they stay sealed,
since a wrong sample file would make every child an extra one. Destroying is one decision with no
way back:

- every file of the extract is sealed anew without them, under a new key and a new number; what is
  left in it is proven to be, cell by cell, what was there;
- the keys of what was delivered, and of earlier deliveries of the same dataset, are destroyed;
- a certificate in `drop/certificates/` holds numbers and sha256 of both, no value of a record.

The register holds the new delivery with the number of the one that it replaces, so a rebuild from
the drop gives the same accepted rows, and the hash in a receipt leads to the file as delivered.

Kept are rows whose UID stands on the sample file though its row was set aside there: that may be
corrected. Payload under index numbers of an indexer is left alone: without the identifiers nothing
says whose it is. Social work extracts hold no UID, so there are no extra children to tell.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import exchange, keys, steps
from rcs_assets.intake.desk import Desk, held_delivery, open_desk, scratch
from rcs_assets.intake.drop import Delivery, opened, read_register, register, reseal
from rcs_assets.intake.readers import quoted, read_header, read_text
from rcs_assets.intake.receipts import is_taken, read_receipts
from rcs_assets.intake.retention import CERTIFICATES
from rcs_assets.intake.splitter import mint_record_ids
from rcs_assets.programme import Programme
from rcs_assets.storage import Home, Settings, sql_literal, write_atomically, write_lock
from rcs_assets.storage.sealed import memory_file

RULE = "uid_not_issued"


@dataclass(frozen=True)
class Extra:
    """An extract with extra children: its file of identifiers, and their rows in it."""

    engagement: str
    file: str
    seq: int
    rows_n: int


@dataclass(frozen=True)
class _Rewritten:
    """A delivery without its extra children, sealed and not yet registered."""

    delivery: Delivery
    replaced: Delivery


def extra_children(home: Home) -> tuple[Extra, ...]:
    """The extracts that hold and were taken in with children who were issued no UID."""
    return tuple(
        Extra(line.engagement or "", line.file, line.seq, receipt.reasons[RULE])
        for receipt in read_receipts(home)
        if receipt.dataset == steps.EDUCATION.identifiers and receipt.reasons.get(RULE)
        for line in read_register(home)
        if (line.dataset, line.engagement, line.sha256)
        == (receipt.dataset, receipt.engagement, receipt.sha256)
        and not line.refused
    )


def destroy_extra_children(
    home: Home, programme: Programme, codebook: Codebook, settings: Settings
) -> tuple[Path, ...]:
    """Rewrite every such extract, then destroy the keys of what was delivered.

    What a killed run left is completed first. Afterwards the extracts are to be taken in anew.

    Returns:
        The certificates, those of earlier destructions among them.

    Raises:
        InputError: a file of an extract was refused or waits, so its rows cannot be told.
        StorageError: a rewritten file does not hold what it should; nothing was changed.
    """
    with write_lock(home, "destroying extra children"):
        _end_replaced(home)
        chosen = extra_children(home)
        if chosen:
            with open_desk(home, programme, codebook, settings) as desk:
                for one in chosen:
                    _rewrite(desk, one.engagement)
        return _end_replaced(home)


def _rewrite(desk: Desk, engagement: str) -> None:
    """Seal every file of an extract anew without its extra children, and register them at once."""
    extract = steps.EDUCATION
    files = _files(desk, engagement, extract)
    issued = _issued(desk, engagement)
    next_seq = len(read_register(desk.home)) + 1
    made: list[_Rewritten] = []
    extra_ids: pa.Table | None = None
    for dataset, delivery in files:
        with scratch(desk) as con:
            steps.open_file(con, desk, dataset, delivery)
            record_id = mint_record_ids(
                con, desk.home, f"{extract.scope}|{engagement}", dataset.key[0]
            )
            if extra_ids is None:
                rows = _extra_rows(con, desk, delivery, issued)
                extra_ids = _ids_of(con, record_id, rows)
            else:
                rows = _rows_of(con, record_id, extra_ids)
            if rows:
                seq = next_seq + len(made)
                made.append(_without(con, desk, dataset, delivery, rows, seq))
    register(desk.home, [one.delivery for one in made])


def _files(desk: Desk, engagement: str, extract: steps.Extract) -> list[tuple[Dataset, Delivery]]:
    """The files of the extract by the supplier's record ids, identifiers first.

    Raises:
        InputError: one of them was refused or waits.
    """
    found = []
    for name in (extract.identifiers, extract.payload, *extract.details):
        dataset, delivery = desk.codebook.datasets[name], held_delivery(desk, name, engagement)
        if delivery is None:
            continue
        if not is_taken(desk.home, delivery):
            raise InputError(
                "Extra children cannot be told in every file of the extract",
                where=f"{engagement}, file {delivery.file}",
                why="it was refused or not taken in yet, and without the identifiers of the "
                "extra children nobody could find their rows in it later",
                fix=f"deliver a corrected {delivery.file}, run rcs materialise, then try again",
            )
        if name == extract.identifiers or not exchange.has_index_numbers(
            desk, dataset, delivery, extract.index
        ):
            found.append((dataset, delivery))
    return found


def _issued(desk: Desk, engagement: str) -> pa.Table:
    """Every `uid` of the sample file, those in rows that were set aside among them.

    Raises:
        InputError: it was refused or waits.
    """
    dataset = desk.codebook.datasets["sample_file"]
    delivery = held_delivery(desk, dataset.name, engagement)
    if delivery is None or not is_taken(desk.home, delivery):
        raise InputError(
            "Extra children cannot be told",
            where=engagement,
            why="the sample file that says which UIDs were issued is missing or was refused",
            fix="deliver it, run rcs materialise, then try again",
        )
    with scratch(desk) as con:
        steps.open_file(con, desk, dataset, delivery)
        return con.execute(
            "select survey_uid as uid from checked where survey_uid is not null"
        ).to_arrow_table()


def _extra_rows(
    con: duckdb.DuckDBPyConnection, desk: Desk, delivery: Delivery, issued: pa.Table
) -> list[int]:
    """Row numbers of extra children in the file of identifiers."""
    places = desk.warehouse.execute(
        "select distinct row_number from intake.quarantine where engagement = ? and dataset = ? "
        "and file_sha256 = ? and rule = ?",
        [delivery.engagement, delivery.dataset, delivery.sha256, RULE],
    ).to_arrow_table()
    con.register("places", places)
    con.register("issued", issued)
    rows = con.execute(
        "select row_number from checked join places using (row_number) "
        "where survey_uid not in (select uid from issued) order by row_number"
    ).fetchall()
    con.unregister("places")
    con.unregister("issued")
    return [int(row) for (row,) in rows]


def _ids_of(con: duckdb.DuckDBPyConnection, record_id: str, rows: Sequence[int]) -> pa.Table:
    """record_id of some rows that no other row has."""
    _name_rows(con, rows)
    return con.execute(
        f"select {record_id} as record_id from checked semi join named using (row_number) except "
        f"select {record_id} from checked anti join named using (row_number)"
    ).to_arrow_table()


def _rows_of(con: duckdb.DuckDBPyConnection, record_id: str, ids: pa.Table) -> list[int]:
    con.register("ids", ids)
    rows = con.execute(
        f"select row_number from checked where {record_id} in (select record_id from ids) "
        "order by row_number"
    ).fetchall()
    con.unregister("ids")
    return [int(row) for (row,) in rows]


def _name_rows(con: duckdb.DuckDBPyConnection, rows: Sequence[int]) -> None:
    con.execute("create or replace table named (row_number bigint)")
    con.execute("insert into named select unnest(?::bigint[])", [list(rows)])


def _without(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    dataset: Dataset,
    delivery: Delivery,
    rows: Sequence[int],
    seq: int,
) -> _Rewritten:
    """The file without some rows, sealed under a key of its own.

    Raises:
        StorageError: read back, it does not hold exactly the other rows.
    """
    with opened(desk.home, delivery) as path:
        header = read_header(path, dataset)
    _name_rows(con, rows)
    cells = ", ".join(quoted(name) for name in header)
    con.execute(
        f"create table kept as select {cells} from delivered anti join named using (row_number) "
        "order by row_number"
    )
    name = f"{Path(delivery.file).stem}.csv"
    with memory_file(desk.home.tmp, name) as plain:
        con.execute(
            f"copy kept to {sql_literal(plain.path)} (format csv, header, force_quote *, "
            f"delimiter {sql_literal(dataset.delimiter)}, use_tmp_file false)"
        )
        con.execute("drop table delivered")
        read_text(con, plain.path, dataset)
        differing = con.execute(
            f"select count(*) from ((select {cells} from delivered except all from kept) union all "
            f"(from kept except all select {cells} from delivered))"
        ).fetchall()[0][0]
        if differing:
            raise StorageError(
                "A delivery without its extra children differs in other rows",
                where=f"{delivery.engagement}, {delivery.dataset}",
                why="what is left must be, cell by cell, what was there",
                fix="report this as a defect of intake; nothing was changed",
            )
        made = reseal(desk.home, delivery, plain.path, seq, len(rows), desk.as_of)
    return _Rewritten(made, delivery)


def _end_replaced(home: Home) -> tuple[Path, ...]:
    """Destroy the keys of what was rewritten, and certify it; what is done already stays."""
    lines = read_register(home)
    rewritten = [line for line in lines if line.replaces]
    for line in rewritten:
        reason = (
            f"Rewritten as delivery {line.seq} without {line.destroyed_n} rows of extra children; "
            f"the key of this delivery was destroyed on {line.rewritten_on}."
        )
        keys.destroy_keys(home, [before.seq for before in _before(home, lines, line)], reason)
    found = []
    for (engagement, day), made in groupby(
        sorted(rewritten, key=lambda line: (line.engagement or "", line.rewritten_on, line.seq)),
        key=lambda line: (line.engagement, line.rewritten_on),
    ):
        found.append(_certify(home, engagement or "", day, lines, list(made)))
    return tuple(found)


def _before(home: Home, lines: Sequence[Delivery], line: Delivery) -> list[Delivery]:
    """Earlier deliveries of the same dataset whose bytes were kept."""
    return [
        before
        for before in lines
        if (before.dataset, before.engagement) == (line.dataset, line.engagement)
        and before.seq < line.seq
        and before.path(home).exists()
    ]


def _certify(
    home: Home, engagement: str, day: str, lines: Sequence[Delivery], made: Sequence[Delivery]
) -> Path:
    content = {
        "certificate": "destruction of extra children of an extract",
        "engagement": engagement,
        "destroyed_on": date.fromisoformat(day).isoformat(),
        "cipher": "AES-256-GCM, one random key a delivery",
        "deliveries": [
            {
                "dataset": line.dataset,
                "seq": line.seq,
                "sha256": line.sha256,
                "rows_removed_n": line.destroyed_n,
                "keys_destroyed": [
                    {"seq": before.seq, "sha256": before.sha256}
                    for before in _before(home, lines, line)
                ],
            }
            for line in made
        ],
        "not_covered": "copies of keys/ and drop/ in backups",
    }
    folder = home.drop / CERTIFICATES
    folder.mkdir(exist_ok=True, mode=0o700)
    file = folder / f"extra-children-{engagement}-{day}.json"
    write_atomically(file, json.dumps(content, indent=2, sort_keys=True) + "\n")
    return file
