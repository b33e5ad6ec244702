"""What became of each delivery: received = accepted + quarantined + withdrawn, always.

Belongs here: the receipt of a delivery, its exact JSON for the operator, the tables
`intake.receipts` and `intake.quarantine`, and which engagements are incomplete. Does
not belong here: the rules that quarantine a row (`contracts.py`, `survey.py`,
`pupils.py`). A receipt holds counts and names of rules, never a value of a record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake.contracts import VIOLATIONS, count
from rcs_assets.intake.drop import Delivery, current_deliveries, engagements_in_scope
from rcs_assets.programme import Engagement, Programme
from rcs_assets.storage import Home, write_atomically

REFERENCE = "reference"
# The rule written to quarantine for every row of a file that was refused as a whole.
FILE_REJECTED = "file_rejected"
_RECEIPT_COLUMNS = (
    "engagement varchar, dataset varchar, file varchar, sha256 varchar, received_n bigint, "
    "accepted_n bigint, quarantined_n bigint, withdrawn_n bigint, status varchar, "
    "reason varchar, is_simulated boolean"
)
_QUARANTINE_COLUMNS = (
    "engagement varchar, dataset varchar, file_sha256 varchar, row_number bigint, "
    "column_name varchar, rule varchar"
)


class ReceiptStatus(StrEnum):
    """`rejected` and `missing` make the engagement incomplete."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    MISSING = "missing"


@dataclass(frozen=True)
class Receipt:
    """What became of one delivery.

    `engagement` is None for reference data. `reason` is the one clear message of a
    rejected or missing delivery. `reasons` counts quarantined rows by rule (a row that
    breaks two rules counts in both), `flags` what was noted or repaired without
    rejecting anything. `proposals` (sample file) are repairs that an operator decides on
    (`mixed.Proposal`): schools and counts.
    """

    engagement: str | None
    dataset: str
    file: str
    sha256: str
    received_n: int
    accepted_n: int
    quarantined_n: int
    withdrawn_n: int
    status: ReceiptStatus
    reason: str
    is_simulated: bool
    reasons: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, int] = field(default_factory=dict)
    proposals: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if self.received_n != self.accepted_n + self.quarantined_n + self.withdrawn_n:
            raise StorageError(
                "A receipt does not add up",
                where=f"{self.engagement or REFERENCE}, {self.dataset}",
                why="received = accepted + quarantined + withdrawn",
                fix="report this as a defect of intake; nothing of this delivery was stored",
            )


def count_receipt(
    con: duckdb.DuckDBPyConnection, delivery: Delivery, flags: Mapping[str, int]
) -> Receipt:
    """The receipt of a delivery from the states of its rows on the scratch connection.

    Raises:
        StorageError: the counts do not add up.
    """
    quarantined = "row_number not in (select row_number from withdrawn)"
    rules = con.execute(
        f"select rule, count(distinct row_number) from {VIOLATIONS} where {quarantined} "
        "group by rule order by rule"
    ).fetchall()
    rows = con.execute(
        f"select count(distinct row_number) from {VIOLATIONS} where {quarantined}"
    ).fetchall()
    return Receipt(
        engagement=delivery.engagement,
        dataset=delivery.dataset,
        file=delivery.file,
        sha256=delivery.sha256,
        received_n=count(con, "delivered"),
        accepted_n=count(con, "accepted"),
        quarantined_n=int(rows[0][0]),
        withdrawn_n=int(
            con.execute("select count(distinct row_number) from withdrawn").fetchall()[0][0]
        ),
        status=ReceiptStatus.ACCEPTED,
        reason="",
        is_simulated=delivery.is_simulated,
        reasons={str(rule): int(n) for rule, n in rules},
        flags={name: n for name, n in flags.items() if n},
    )


def missing_receipt(dataset: Dataset, engagement: str | None) -> Receipt:
    """The receipt of a required delivery that has not come."""
    return Receipt(
        engagement=engagement,
        dataset=dataset.name,
        file="",
        sha256="",
        received_n=0,
        accepted_n=0,
        quarantined_n=0,
        withdrawn_n=0,
        status=ReceiptStatus.MISSING,
        reason=missing_message(dataset, engagement),
        is_simulated=False,
    )


def rejected_receipt(delivery: Delivery, reason: str, rows_n: int) -> Receipt:
    """The receipt of a file that was refused as a whole: all its rows are in quarantine.

    Args:
        delivery: the file.
        reason: the one message.
        rows_n: its rows; 0 where they cannot be counted.
    """
    return Receipt(
        engagement=delivery.engagement,
        dataset=delivery.dataset,
        file=delivery.file,
        sha256=delivery.sha256,
        received_n=rows_n,
        accepted_n=0,
        quarantined_n=rows_n,
        withdrawn_n=0,
        status=ReceiptStatus.REJECTED,
        reason=reason,
        is_simulated=delivery.is_simulated,
        reasons={FILE_REJECTED: rows_n} if rows_n else {},
    )


def rejected_rows(con: duckdb.DuckDBPyConnection, delivery: Delivery, rows_n: int) -> pa.Table:
    """The rows of `intake.quarantine` for a file that was refused as a whole."""
    return con.execute(
        "select ? as engagement, ? as dataset, ? as file_sha256, range + 1 as row_number, "
        "null::varchar as column_name, ? as rule from range(?)",
        [delivery.engagement, delivery.dataset, delivery.sha256, FILE_REJECTED, rows_n],
    ).to_arrow_table()


def quarantined_rows(con: duckdb.DuckDBPyConnection, delivery: Delivery) -> pa.Table:
    """The rows of `intake.quarantine` for a delivery: place and rule, no values."""
    return con.execute(
        "select ? as engagement, ? as dataset, ? as file_sha256, row_number, column_name, rule "
        f"from {VIOLATIONS} where row_number not in (select row_number from withdrawn) "
        "order by row_number, column_name, rule",
        [delivery.engagement, delivery.dataset, delivery.sha256],
    ).to_arrow_table()


def prepare_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create `intake.receipts` and `intake.quarantine` in a new warehouse."""
    con.execute("create schema if not exists intake")
    con.execute(f"create table if not exists intake.receipts ({_RECEIPT_COLUMNS})")
    con.execute(f"create table if not exists intake.quarantine ({_QUARANTINE_COLUMNS})")


def replace_receipt(
    con: duckdb.DuckDBPyConnection, receipt: Receipt, quarantine: pa.Table | None
) -> None:
    """Put a receipt and its quarantined rows in the place of those before."""
    key = [receipt.engagement, receipt.dataset]
    for table in ("receipts", "quarantine"):
        con.execute(
            f"delete from intake.{table} where engagement is not distinct from ? and dataset = ?",
            key,
        )
    con.execute(
        "insert into intake.receipts "
        "values (?, ?, nullif(?, ''), nullif(?, ''), ?, ?, ?, ?, ?, ?, ?)",
        [
            *key,
            receipt.file,
            receipt.sha256,
            receipt.received_n,
            receipt.accepted_n,
            receipt.quarantined_n,
            receipt.withdrawn_n,
            receipt.status.value,
            receipt.reason,
            receipt.is_simulated,
        ],
    )
    if quarantine is not None and quarantine.num_rows:
        con.register("quarantined", quarantine)
        con.execute("insert into intake.quarantine select * from quarantined")
        con.unregister("quarantined")


def write_receipt(home: Home, receipt: Receipt) -> None:
    """Write the exact receipt for the operator: `receipts/<engagement>__<dataset>.json`."""
    name = f"{receipt.engagement or REFERENCE}__{receipt.dataset}.json"
    text = json.dumps(asdict(receipt), indent=2, sort_keys=True)
    write_atomically(home.receipts / name, text + "\n")


def read_receipts(home: Home) -> tuple[Receipt, ...]:
    """Every receipt, by engagement and dataset; reads the JSON files, never the warehouse.

    Raises:
        StorageError: a receipt file is damaged.
    """
    found = []
    for path in sorted(home.receipts.glob("*__*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Receipt(**{**content, "status": ReceiptStatus(content["status"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(
                "A receipt cannot be read",
                where=f"receipts/{path.name}",
                fix="delete the file and run: rcs materialise",
            ) from error
    return tuple(found)


def is_taken(home: Home, delivery: Delivery) -> bool:
    """Whether these very bytes were taken in, and not refused."""
    return accepted_rows(home, delivery) is not None


def accepted_rows(home: Home, delivery: Delivery) -> int | None:
    """The rows accepted of these very bytes; None where they were refused or not taken in."""
    return next(
        (
            receipt.accepted_n
            for receipt in read_receipts(home)
            if (receipt.dataset, receipt.engagement) == (delivery.dataset, delivery.engagement)
            and receipt.sha256 == delivery.sha256
            and receipt.status == ReceiptStatus.ACCEPTED
        ),
        None,
    )


def required_datasets(codebook: Codebook, engagement: Engagement) -> tuple[Dataset, ...]:
    """The datasets without which an engagement is incomplete; a survey only where it has a wave."""
    return tuple(
        dataset
        for dataset in codebook.datasets.values()
        if dataset.level == "engagement" and _is_required(dataset, engagement)
    )


def _is_required(dataset: Dataset, engagement: Engagement) -> bool:
    if dataset.survey:
        return engagement.wave(dataset.survey) is not None
    return dataset.is_required


def incomplete_engagements(
    home: Home, programme: Programme, codebook: Codebook
) -> dict[str, tuple[str, ...]]:
    """Engagements of which something required is missing, rejected or not taken in yet.

    Returns:
        engagement → one reason a dataset, for engagements with at least one delivery.
        The gate refuses these unless the operator names them as left out.
    """
    receipts = {(item.dataset, item.engagement): item for item in read_receipts(home)}
    held = current_deliveries(home)
    shared = [
        reason
        for dataset in codebook.datasets.values()
        if dataset.level == "reference"
        and (reason := _incomplete(dataset, None, receipts, held, dataset.is_required))
    ]
    found = {}
    for key in engagements_in_scope(home, programme):
        required = {d.name for d in required_datasets(codebook, programme.engagements[key])}
        reasons = [
            reason
            for dataset in codebook.datasets.values()
            if dataset.level == "engagement"
            and (reason := _incomplete(dataset, key, receipts, held, dataset.name in required))
        ]
        if reasons or shared:
            found[key] = tuple(dict.fromkeys(shared + reasons))
    return found


def _incomplete(
    dataset: Dataset,
    engagement: str | None,
    receipts: Mapping[tuple[str, str | None], Receipt],
    held: Mapping[tuple[str, str | None], Delivery],
    is_required: bool,
) -> str:
    receipt = receipts.get((dataset.name, engagement))
    delivery = held.get((dataset.name, engagement))
    if delivery is None:
        return missing_message(dataset, engagement) if is_required else ""
    if receipt is None or receipt.sha256 != delivery.sha256:
        return delivery.refused or (
            f"{delivery.file} was delivered but not taken in yet. What to do: rcs materialise."
        )
    return "" if receipt.status == ReceiptStatus.ACCEPTED else receipt.reason


def missing_message(dataset: Dataset, engagement: str | None) -> str:
    """The one clear message for a required delivery that has not come."""
    return str(
        InputError(
            f"{dataset.title} is missing",
            where=engagement or "reference data",
            why="the dataset is required",
            fix=f"deliver it as {_file_name(dataset, engagement)} with rcs deliver",
        )
    )


def _file_name(dataset: Dataset, engagement: str | None) -> str:
    """The name that the dataset's pattern asks for."""
    named = re.sub(r"\(\?P<engagement>.*?\)", engagement or "", dataset.file_pattern)
    return named.strip("^$").replace("\\", "")
