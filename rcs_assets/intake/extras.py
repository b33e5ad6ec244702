"""Extra children of an education extract: what a council sent about pupils who were issued no UID.

Belongs here: which extracts hold such children, and rewriting the sealed deliveries without them.
Does not belong here: finding them (`steps.py`), keys (`keys.py`), the command.

Policy.md (Protection by design): an extract is limited to issued UIDs; extra children are
quarantined and destroyed. Intake quarantines them; until somebody has looked, they stay sealed,
since a wrong sample file would make every child an extra one. Destroying is one decision with no
way back:

- every file of the extract is sealed anew without them, under a new key and a new number; what is
  left in it is proven to be, cell by cell, what was there;
- the keys of all earlier deliveries of every file of the extract are destroyed, those of what was
  delivered among them: who stood in a payload that another replaced is not recorded, and nothing is
  made of it, so none is kept open. Where no delivery of identifiers that can still be opened held
  an extra child beside the sample file that holds (`extra_log.py`), all stays as it is;
- a certificate in `drop/certificates/` holds numbers and sha256 of both, no value of a record. It
  is written as begun first, and gets its name when the last key is gone.

The register holds the new delivery with the number of the one that it replaces, so a rebuild from
the drop gives the same accepted rows, and the hash in a receipt leads to the file as delivered.

Kept are rows whose child stands on the sample file though the row was set aside there: that may be
corrected. A row without UID is an extra child's where its SCN is nobody's of the sample and every
pupil of it has one that is right. Else it may be a pupil's whose SCN the sample file lacks or has
wrong, and it is accepted: domain.md 3 lists `survey_uid (if issued)` in the council's identifiers,
and linkage looks for such a left-over record by name and birth date (`vault.ask_not_issued`).
Unlinked, it is joined to no answers, and it ends with retention.

Index numbers that an outside indexer returned name the child by the supplier's record id, so they
are rewritten too, and by them payload under index numbers; the child's numbers go from the
read-through. Where the read-through joins such a record to answers, the indexer took it for a pupil
of the survey: nothing is destroyed until somebody has looked. Payload under numbers of the platform
itself holds none: only accepted records have such a number. Social work extracts hold no UID, so
there are no extra children to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import certificates, exchange, keys, steps
from rcs_assets.intake.desk import Desk, held_delivery, open_desk, scratch
from rcs_assets.intake.drop import Delivery, opened, read_register, register, reseal
from rcs_assets.intake.extra_log import read_found
from rcs_assets.intake.readers import quoted, read_header, read_text
from rcs_assets.intake.receipts import is_taken, read_receipts
from rcs_assets.intake.splitter import mint_record_ids
from rcs_assets.programme import Programme
from rcs_assets.storage import Home, Settings, sql_literal, write_lock
from rcs_assets.storage.erasure import mark_removal
from rcs_assets.storage.sealed import memory_file

# In this order: the numbers before what stands under them, the read-through last.
NUMBER = f"index_{steps.EDUCATION.index}"
INDEX_RETURN, READ_THROUGH = f"index_return_{steps.EDUCATION.index}", "read_through"
SAMPLE = "sample_file"
FILES = (
    steps.EDUCATION.identifiers,
    INDEX_RETURN,
    steps.EDUCATION.payload,
    *steps.EDUCATION.details,
    READ_THROUGH,
)
BEGUN = ".begun"
_STEM = "extra-children"


@dataclass(frozen=True)
class Extra:
    """What is to be destroyed of an extract; `file` and `seq` are those of its identifiers.

    `rows_n`: rows of extra children in that file. `earlier_n`: earlier deliveries of the
    extract's files that another replaced and that can still be opened.
    """

    engagement: str
    file: str
    seq: int
    rows_n: int
    earlier_n: int


def extra_children(home: Home) -> tuple[Extra, ...]:
    """The extracts of which something is to be destroyed, by engagement.

    Rows are those of the delivery that holds, as taken in; a destruction that was killed half
    way shows as earlier deliveries.
    """
    found = []
    lines = read_register(home)
    for engagement in sorted({line.engagement or "" for line in lines if line.dataset in FILES}):
        held = _held(lines, engagement).get(steps.EDUCATION.identifiers)
        if held is None:
            continue
        rows_n = _extra_rows_n(home, held)
        may_hold = _earlier_may_hold(home, lines, engagement)
        earlier = _earlier(home, lines, engagement) if may_hold else []
        earlier_n = sum(len(before) for _, before in earlier)
        if rows_n or earlier_n:
            found.append(Extra(engagement, held.file, held.seq, rows_n, earlier_n))
    return tuple(found)


def _extra_rows_n(home: Home, held: Delivery) -> int:
    if not is_taken(home, held):
        return 0
    return next(
        steps.extra_rows_n(receipt)
        for receipt in read_receipts(home)
        if (receipt.dataset, receipt.engagement) == (held.dataset, held.engagement)
    )


def _earlier_may_hold(home: Home, lines: Sequence[Delivery], engagement: str) -> bool:
    """Whether an openable delivery of the extract may hold an extra child, for all that is known.

    Of a delivery that was rewritten it is known before it is taken in.
    """
    if certificates.listed(home, f"{_STEM}-{engagement}-", BEGUN):
        return True
    sample = [line for line in lines if (line.dataset, line.engagement) == (SAMPLE, engagement)]
    clean = (sample[-1].sha256 if sample else "", 0)
    found = read_found(home)
    return any(
        found.get(line.seq, clean if line.replaces else None) != clean
        for line in lines
        if (line.dataset, line.engagement) == (steps.EDUCATION.identifiers, engagement)
        and not line.refused
        and line.path(home).exists()
    )


def _held(lines: Iterable[Delivery], engagement: str) -> Mapping[str, Delivery]:
    """Dataset → the newest delivery, of each file of the extract that came."""
    return {
        line.dataset: line
        for line in lines
        if line.engagement == engagement and line.dataset in FILES
    }


def _earlier(
    home: Home, lines: Sequence[Delivery], engagement: str
) -> list[tuple[Delivery, list[Delivery]]]:
    """Each file's delivery that stands, and the earlier ones that can still be opened.

    Where a file of the extract was refused or waits, nothing but what was rewritten already
    counts as replaced: an earlier delivery may be needed yet.
    """
    held = _held(lines, engagement)
    if not all(_stands(home, line) for line in held.values()):
        own = (line for line in lines if line.engagement == engagement)
        held = {line.dataset: line for line in own if line.replaces and not line.refused}
    found = []
    for name in (name for name in FILES if name in held):
        before = [
            line
            for line in lines
            if (line.dataset, line.engagement) == (name, engagement)
            and line.seq < held[name].seq
            and not line.refused
            and line.path(home).exists()
        ]
        if before:
            found.append((held[name], before))
    return found


def _stands(home: Home, line: Delivery) -> bool:
    """Whether it was taken in, or made of one that was."""
    return not line.refused and (line.replaces > 0 or is_taken(home, line))


def destroy_extra_children(
    home: Home, programme: Programme, codebook: Codebook, settings: Settings
) -> tuple[Path, ...]:
    """Rewrite every such extract, then destroy the keys of what was delivered, and of all before.

    What a killed run left is completed first. Afterwards the extracts are to be taken in anew.

    Returns:
        The certificates, those of earlier destructions among them.

    Raises:
        InputError: a file of an extract was refused or waits, so its rows cannot be told.
        StorageError: a rewritten file does not hold what it should; nothing was changed.
    """
    with write_lock(home, "destroying extra children"):
        _complete(home)
        found = extra_children(home)
        for one in found:
            if not one.rows_n:
                _end_earlier(home, one.engagement, settings.as_of)
        chosen = [one for one in found if one.rows_n]
        if chosen:
            with open_desk(home, programme, codebook, settings) as desk:
                for one in chosen:
                    _rewrite(desk, one.engagement)
                    _end_earlier(home, one.engagement, desk.as_of)
        return tuple(certificates.listed(home, _STEM))


def _rewrite(desk: Desk, engagement: str) -> None:
    """Seal every file of an extract anew without its extra children, and register them at once."""
    extract = steps.EDUCATION
    files = _files(desk, engagement, extract)
    issued = steps.issued_uids(desk, engagement)
    next_seq = len(read_register(desk.home)) + 1
    made: list[Delivery] = []
    extra_ids: pa.Table | None = None
    numbers: pa.Table | None = None
    for dataset, delivery in files:
        with scratch(desk) as con:
            steps.open_file(con, desk, dataset, delivery)
            record_id = mint_record_ids(
                con, desk.home, f"{extract.scope}|{engagement}", dataset.key[0]
            )
            blank: Sequence[int] = ()
            if extra_ids is None:
                rows = _extra_rows(con, desk, delivery, issued)
                extra_ids = _ids_of(con, record_id, rows)
            elif dataset.name == READ_THROUGH:
                rows, blank = _rows_of_numbers(con, delivery, numbers)
            elif dataset.fields[0].column == NUMBER:
                rows = _rows_of(con, dataset.key[0], numbers)
            else:
                rows = _rows_of(con, record_id, extra_ids)
                if dataset.name == INDEX_RETURN:
                    numbers = _numbers_of(con, rows)
            if rows or blank:
                seq = next_seq + len(made)
                made.append(_without(con, desk, dataset, delivery, rows, seq, blank))
    # Index numbers of these children stand in the vault until the files are taken in again.
    mark_removal(desk.home, engagement)
    register(desk.home, made)


def _files(desk: Desk, engagement: str, extract: steps.Extract) -> list[tuple[Dataset, Delivery]]:
    """The files of the extract by the supplier's record ids, identifiers first.

    Raises:
        InputError: one of them was refused or waits.
    """
    found = []
    has_return = held_delivery(desk, INDEX_RETURN, engagement) is not None
    for name in FILES:
        dataset, delivery = desk.codebook.datasets[name], held_delivery(desk, name, engagement)
        if delivery is None or (name == READ_THROUGH and not has_return):
            continue
        if not is_taken(desk.home, delivery):
            raise InputError(
                "Extra children cannot be told in every file of the extract",
                where=f"{engagement}, file {delivery.file}",
                why="it was refused or not taken in yet, and without the identifiers of the "
                "extra children nobody could find their rows in it later",
                fix=f"deliver a corrected {delivery.file}, run rcs materialise, then try again",
            )
        if name == extract.identifiers:
            dataset = steps.judged_contract(desk, dataset, delivery)
        if exchange.has_index_numbers(desk, dataset, delivery, extract.index):
            if name != READ_THROUGH and not has_return:
                continue
            dataset = (
                dataset if name == READ_THROUGH else exchange.with_index(dataset, extract.index)
            )
        found.append((dataset, delivery))
    return found


def _extra_rows(
    con: duckdb.DuckDBPyConnection, desk: Desk, delivery: Delivery, issued: pa.Table
) -> list[int]:
    """Row numbers of extra children in the file of identifiers."""
    places = desk.warehouse.execute(
        "select distinct row_number from intake.quarantine where engagement = ? and dataset = ? "
        "and file_sha256 = ? and rule = ?",
        [delivery.engagement, delivery.dataset, delivery.sha256, steps.NOT_ISSUED],
    ).to_arrow_table()
    con.register("places", places)
    con.register("issued", issued)
    rows = con.execute(
        "select row_number from (select row_number, survey_uid as uid, scn from checked) "
        f"join places using (row_number) where not {steps.IS_ISSUED} order by row_number"
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


def _numbers_of(con: duckdb.DuckDBPyConnection, rows: Sequence[int]) -> pa.Table:
    """The index numbers in some rows of an index return, as `record_id`."""
    _name_rows(con, rows)
    return con.execute(
        f"select {NUMBER} as record_id from checked semi join named using (row_number)"
    ).to_arrow_table()


def _rows_of_numbers(
    con: duckdb.DuckDBPyConnection, delivery: Delivery, numbers: pa.Table | None
) -> tuple[list[int], list[int]]:
    """Rows of the read-through that name an extra child alone, and those that name others beside.

    Raises:
        InputError: the indexer joined an extra child to answers.
    """
    if numbers is None:
        return [], []
    con.register("numbers", numbers)
    rows = con.execute(
        "select row_number, index_survey is not null, index_sw is not null from checked "
        f"where {NUMBER} in (select record_id from numbers) order by row_number"
    ).fetchall()
    con.unregister("numbers")
    joined = [int(row) for row, has_answers, _ in rows if has_answers]
    if joined:
        raise InputError(
            "An extra child is a pupil of the survey, says the indexer",
            where=f"{delivery.engagement}, file {delivery.file}, row {joined[0]} "
            f"({len(joined)} rows in all)",
            why="the read-through joins a record whose UID was not issued to answers: the sample "
            "file, the extract or the read-through is wrong",
            fix="ask council and indexer; deliver the corrected file, run rcs materialise, then "
            "try again",
        )
    return (
        [int(row) for row, _, has_record in rows if not has_record],
        [int(row) for row, _, has_record in rows if has_record],
    )


def _rows_of(con: duckdb.DuckDBPyConnection, record_id: str, ids: pa.Table | None) -> list[int]:
    if ids is None:
        return []
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
    blank: Sequence[int] = (),
) -> Delivery:
    """The file without some rows, and without the index number in `blank` ones, sealed anew.

    Raises:
        StorageError: read back, it does not hold exactly the other rows.
    """
    with opened(desk.home, delivery) as path:
        header = read_header(path, dataset)
    _name_rows(con, rows)
    cells = ", ".join(quoted(name) for name in header)
    blanked = f"replace (if(list_contains($rows, row_number), null, {NUMBER}) as {NUMBER})"
    con.execute(
        f"create table kept as select {cells} from (select * {blanked if blank else ''} "
        "from delivered) anti join named using (row_number) order by row_number",
        {"rows": list(blank)} if blank else {},
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
        return reseal(desk.home, delivery, plain.path, seq, len(rows), desk.as_of)


def _end_earlier(home: Home, engagement: str, day: date) -> None:
    """Destroy the keys of all deliveries of an extract's files but those that stand; certify it."""
    ended = _earlier(home, read_register(home), engagement)
    if not ended:
        return
    content = {
        "certificate": "destruction of extra children of an extract",
        "engagement": engagement,
        "destroyed_on": day.isoformat(),
        "cipher": "AES-256-GCM, one random key a delivery",
        "deliveries": [
            {
                "dataset": line.dataset,
                "seq": line.seq,
                "sha256": line.sha256,
                "rows_removed_n": line.destroyed_n,
                "keys_destroyed": [{"seq": one.seq, "sha256": one.sha256} for one in before],
            }
            for line, before in ended
        ],
        "not_covered": "copies of keys/ and drop/ in backups",
    }
    certificates.begin(home, f"{_STEM}-{engagement}", BEGUN, content)
    _complete(home)


def _complete(home: Home) -> None:
    """Destroy the keys that certificates which were begun list, then let these hold."""
    for begun in certificates.listed(home, _STEM, BEGUN):
        content = certificates.read(begun)
        for line in content["deliveries"]:
            reason = (
                f"Replaced by delivery {line['seq']}, which is without {line['rows_removed_n']} "
                "rows of extra children; the key of this delivery was destroyed on "
                f"{content['destroyed_on']}."
            )
            keys.destroy_keys(home, [before["seq"] for before in line["keys_destroyed"]], reason)
        certificates.finish(begun)
