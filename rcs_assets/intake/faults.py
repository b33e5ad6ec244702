"""What was wrong in a delivery, row by row, by the supplier's own record id.

Belongs here: joining the places of quarantined rows with the record ids of the delivered file, the
words of `data/rules.yaml`, the CSV for the supplier, and keeping reports sealed with the drop. Does
not belong here: the page (`rcs_assets/supplier_report.py`), the rules.

The result is identified material: it names children's records. It is made anew from the sealed
drop whenever it is asked for and lies in `drop/reports/` under the key of its delivery; it is
removed as soon as the delivery is taken in again, and ends with the key, so that no report outlives
a withdrawal, a correction or the end of retention.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import duckdb

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.intake import keys
from rcs_assets.intake.drop import Delivery, current_deliveries, opened
from rcs_assets.intake.formulas import is_formula
from rcs_assets.intake.readers import is_sav, quoted, read_sav, read_text
from rcs_assets.intake.receipts import FILE_REJECTED, Receipt, read_receipts
from rcs_assets.programme import Programme
from rcs_assets.programme.datafile import DataFolder, read_mapping
from rcs_assets.storage import Home, Settings, open_memory, open_warehouse
from rcs_assets.storage.access_log import Access, process_purpose, record_access
from rcs_assets.storage.sealed import memory_file, seal, unseal

FILE = "rules.yaml"
SEALED = ".sealed"
COLUMNS = ("row", "record", "column", "rule", "what", "what to do")
_DEFAULTS = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Fault:
    """One cell, or one row, that was set aside.

    `row_number` counts the rows below the header from 1; `record` is the supplier's own id, empty
    where the row has none; `column` is empty where the whole row is meant.
    """

    row_number: int
    record: str
    column: str
    rule: str
    what: str
    fix: str


@dataclass(frozen=True)
class Faults:
    """What was wrong in one delivery; `reason` where the file was refused as a whole."""

    delivery: Delivery
    receipt: Receipt
    title: str
    owner: str
    record_name: str
    reason: str
    rows: tuple[Fault, ...]


def rule_words(overlay: Path | None = None) -> dict[str, tuple[str, str]]:
    """Rule → what it means, what to do.

    Raises:
        ConfigurationError: an entry that is not in its form.
    """
    return read_mapping(
        DataFolder("intake", _DEFAULTS, overlay),
        FILE,
        lambda _rule, _label, entry: (str(entry["what"]), str(entry["fix"])),
    )


def keep_report(home: Home, delivery: Delivery, name: str, content: bytes) -> Path:
    """Seal a report on a delivery into the drop, under the delivery's own key.

    Returns:
        The sealed file.

    Raises:
        StorageError: the delivery has no key.
    """
    folder = _reports(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{name}{SEALED}"
    with memory_file(home.tmp, name) as plain:
        plain.stream.write(content)
        plain.stream.flush()
        seal(plain.path, target, keys.delivery_key(home, delivery.seq))
    return target


def kept_report(home: Home, delivery: Delivery, name: str) -> bytes:
    """The plain bytes of a report that was kept.

    Raises:
        StorageError: it is not there, was changed, or the key of its delivery is gone.
    """
    record_access(home, Access.DROP_READ, f"report on delivery {delivery.seq}", process_purpose())
    plain = io.BytesIO()
    unseal(_reports(home) / f"{name}{SEALED}", plain, keys.delivery_key(home, delivery.seq))
    return plain.getvalue()


def remove_reports(home: Home, engagement: str | None, dataset: str) -> None:
    """Remove the reports on a delivery that is taken in again."""
    for path in _reports(home).glob(f"{engagement or 'reference'}_{dataset}_errors.*"):
        path.unlink()


def _reports(home: Home) -> Path:
    return home.drop / "reports"


def find_faults(
    home: Home, programme: Programme, codebook: Codebook, settings: Settings, engagement: str
) -> tuple[Faults, ...]:
    """What was wrong in each delivery of an engagement that holds, if anything was.

    Raises:
        StorageError: a zone cannot be read; the message holds no value.
    """
    words = rule_words(home.config)
    deliveries = current_deliveries(home)
    found = []
    with (
        open_warehouse(home, settings=settings, read_only=True) as warehouse,
        open_memory(home, settings=settings) as scratch,
    ):
        for receipt in read_receipts(home):
            delivery = deliveries.get((receipt.dataset, receipt.engagement))
            if receipt.engagement != engagement or delivery is None:
                continue
            if delivery.sha256 != receipt.sha256 or not (receipt.quarantined_n or receipt.reason):
                continue
            dataset = codebook.datasets[receipt.dataset]
            record = _record_column(programme, codebook, dataset, engagement)
            is_refused = bool(receipt.reason)
            places = [] if is_refused else _places(warehouse, receipt)
            own = {} if is_refused else _own_ids(scratch, home, delivery, dataset, record)
            texts = {rule.name: (rule.description, "correct the row") for rule in dataset.row_rules}
            found.append(
                Faults(
                    delivery,
                    receipt,
                    dataset.title,
                    dataset.owner,
                    record,
                    receipt.reason,
                    tuple(
                        Fault(row, own.get(row, ""), column, rule, *_told(rule, texts | words))
                        for row, column, rule in places
                    ),
                )
            )
    return tuple(found)


def _told(rule: str, words: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    return words.get(rule, (rule.replace("_", " "), "correct the row"))


def _record_column(
    programme: Programme, codebook: Codebook, dataset: Dataset, engagement: str
) -> str:
    """The column of the file that holds the supplier's own id."""
    if dataset.survey:
        tranche = programme.engagements[engagement].tranche
        return codebook.questionnaire_for(tranche, dataset.survey).uid_name
    return next(field.column for field in dataset.fields if field.name == dataset.key[0])


def _places(warehouse: duckdb.DuckDBPyConnection, receipt: Receipt) -> list[tuple[int, str, str]]:
    rows = warehouse.execute(
        "select row_number, coalesce(column_name, ''), rule from intake.quarantine "
        "where engagement = ? and dataset = ? and file_sha256 = ? and rule <> ? order by all",
        [receipt.engagement, receipt.dataset, receipt.sha256, FILE_REJECTED],
    ).fetchall()
    return cast(list[tuple[int, str, str]], rows)


def _own_ids(
    con: duckdb.DuckDBPyConnection, home: Home, delivery: Delivery, dataset: Dataset, record: str
) -> dict[int, str]:
    """Row number → the supplier's own id, from the sealed file."""
    with opened(home, delivery) as path:
        if is_sav(path):
            read_sav(con, path, [record])
        else:
            read_text(con, path, dataset)
        rows = con.execute(
            f"select row_number, coalesce(trim({quoted(record)}::varchar), '') from delivered"
        ).fetchall()
    if is_sav(path):
        con.unregister("delivered")
    else:
        con.execute("drop table delivered")
    return {int(number): str(own) for number, own in rows}


def as_csv(found: Faults) -> str:
    """The report as CSV; a cell that a spreadsheet would carry out gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for fault in found.rows:
        cells = (
            str(fault.row_number),
            fault.record,
            fault.column,
            fault.rule,
            fault.what,
            fault.fix,
        )
        writer.writerow([safe_cell(cell) for cell in cells])
    if found.reason:
        writer.writerow(["", "", "", FILE_REJECTED, safe_cell(found.reason), ""])
    return text.getvalue()


def safe_cell(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (CSV injection)."""
    return f"'{cell}" if is_formula(cell) else cell


def by_rule(rows: Sequence[Fault]) -> dict[str, int]:
    """Rule → rows that broke it, most first."""
    counted: dict[str, set[int]] = {}
    for fault in rows:
        counted.setdefault(fault.rule, set()).add(fault.row_number)
    return dict(sorted(((r, len(n)) for r, n in counted.items()), key=lambda i: (-i[1], i[0])))
