"""Takes deliveries in: one dataset of one engagement at a time, whole or not at all.

Belongs here: which datasets there are to take, turning a refusal into a receipt, storing
what was taken, the proof of the ledger. Does not belong here: the steps of a dataset
(`steps.py`) and Dagster (`assets.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import duckdb

from rcs_assets.codebook import Dataset
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import keys, other_kind, splitter, steps
from rcs_assets.intake.contracts import count
from rcs_assets.intake.desk import Desk, held_delivery, scratch
from rcs_assets.intake.drop import Delivery, engagements_in_scope, opened
from rcs_assets.intake.encoded import DictionaryError
from rcs_assets.intake.extra_log import note_found
from rcs_assets.intake.faults import remove_reports
from rcs_assets.intake.readers import count_records
from rcs_assets.intake.receipts import (
    Receipt,
    ReceiptStatus,
    missing_receipt,
    read_receipts,
    rejected_receipt,
    rejected_rows,
    required_datasets,
    write_receipt,
)
from rcs_assets.intake.splitter import Taken
from rcs_assets.programme import Engagement
from rcs_assets.storage import sql_literal

_Step = Callable[[Desk, Dataset, Engagement, Delivery], Taken]
_STEPS: dict[str, _Step] = {
    "opt_outs": steps.opt_outs,
    "uid_decisions": steps.uid_decisions,
    "sample_file": steps.sample,
    "clusters": steps.clusters,
    "service_map": steps.services,
    "budgets": steps.services,
    "index_return_survey": steps.index_return,
    "read_through": steps.read_through,
    "adapted_opt_ins": steps.adapted_opt_ins,
    "adapted_survey": steps.adapted_survey,
}


def take_reference(desk: Desk, name: str) -> Receipt | None:
    """Take in one dataset of published reference data.

    Returns:
        Its receipt; a required delivery that is missing, or any that is unreadable, gives one
        that says so. None where the dataset was neither delivered nor required.
    """
    dataset = desk.codebook.datasets[name]
    delivery = held_delivery(desk, name, None)
    if delivery is None and not dataset.is_required:
        _store(desk, dataset, None, None)
        return None
    taken = _attempt(
        desk, dataset, None, delivery, lambda found: steps.reference(desk, dataset, found)
    )
    return _finish(desk, dataset, None, taken)


def take(desk: Desk, name: str, engagement: str) -> Receipt | None:
    """Take in one dataset of an engagement.

    Args:
        desk: the installation.
        name: opt_outs, uid_decisions, sample_file, primary_survey, secondary_survey, parent_survey,
            adapted_opt_ins, adapted_survey, clusters, service_map, budgets, index_return_survey or
            read_through; extracts have a function of their own.
        engagement: partition key.

    Returns:
        The receipt; None where the dataset was neither delivered nor awaited.

    Raises:
        StorageError: a zone cannot be read or written; the message holds no value.
    """
    dataset = desk.codebook.datasets[name]
    delivery = held_delivery(desk, name, engagement)
    if delivery is None and not _is_awaited(desk, dataset, engagement):
        _store(desk, dataset, engagement, None)
        return None
    item = desk.programme.engagements[engagement]
    step = _STEPS.get(name, steps.answers)
    taken = _attempt(
        desk, dataset, engagement, delivery, lambda found: step(desk, dataset, item, found)
    )
    return _finish(desk, dataset, engagement, taken)


def take_education(desk: Desk, engagement: str) -> tuple[Receipt, ...]:
    """Take in an engagement's education extract: identifiers first, the rest by their record ids.

    Returns:
        The receipts of identifiers, payload, those details (attendance, exclusions, CfE levels)
        that were delivered, and of index numbers where an indexer returned some; none where
        nothing of the engagement was.
    """
    return _take_extract(desk, engagement, steps.EDUCATION)


def take_social_work(desk: Desk, engagement: str) -> tuple[Receipt, ...]:
    """Take in an engagement's social work extract, in the way of the education extract.

    Its records hold no UID: an opted-out pupil is recognised by SCN here, and by linkage
    where the record has none. Encodings have none either, and linkage of them misses some: as long
    as an opt-out holds they are refused whole, unless the council declares that it left out the
    children of exactly the list that holds (`encoded.py`).

    Returns:
        The receipts of identifiers, payload and, where it was delivered, child protection;
        none where nothing of the engagement was.
    """
    return _take_extract(desk, engagement, steps.SOCIAL_WORK)


def _take_extract(desk: Desk, engagement: str, extract: steps.Extract) -> tuple[Receipt, ...]:
    item = desk.programme.engagements[engagement]
    index = f"index_return_{extract.index}"
    names = (extract.identifiers, extract.payload, index)
    ids, load, numbers = (desk.codebook.datasets[name] for name in names)
    details = [desk.codebook.datasets[name] for name in extract.details]
    if engagement not in engagements_in_scope(desk.home, desk.programme):
        for dataset in (ids, load, numbers, *details):
            _store(desk, dataset, engagement, None)
        return ()
    taken_ids = _attempt(
        desk,
        ids,
        engagement,
        held_delivery(desk, ids.name, engagement),
        lambda found: steps.extract_ids(desk, ids, item, found, extract),
    )
    # The index numbers are asked against these identifiers, so they are stored first.
    receipts = [_finish(desk, ids, engagement, taken_ids)]
    _note_extra_children(desk, engagement, extract, receipts[0])
    delivered_numbers = held_delivery(desk, index, engagement)
    returned = None
    if delivered_numbers is None:
        _store(desk, numbers, engagement, None)
    else:
        returned = _attempt(
            desk,
            numbers,
            engagement,
            delivered_numbers,
            lambda found: steps.index_return(desk, numbers, item, found, extract),
        )
    for dataset in (load, *details):
        delivery = held_delivery(desk, dataset.name, engagement)
        if delivery is None and not dataset.is_required:
            _store(desk, dataset, engagement, None)
            continue
        taken = _attempt(
            desk,
            dataset,
            engagement,
            delivery,
            partial(_following, desk, dataset, item, extract, taken_ids, returned),
        )
        receipts.append(_finish(desk, dataset, engagement, taken))
    if returned is not None:
        receipts.append(_finish(desk, numbers, engagement, returned))
    return tuple(receipts)


def _note_extra_children(
    desk: Desk, engagement: str, extract: steps.Extract, receipt: Receipt
) -> None:
    """Keep how many there were: the receipt goes when another delivery takes this one's place."""
    ids, sample = (
        held_delivery(desk, name, engagement) for name in (extract.identifiers, "sample_file")
    )
    if extract.has_uid and ids and sample and receipt.status == ReceiptStatus.ACCEPTED:
        note_found(desk.home, ids.seq, sample.sha256, steps.extra_rows_n(receipt))


def _following(
    desk: Desk,
    dataset: Dataset,
    item: Engagement,
    extract: steps.Extract,
    ids: Taken,
    returned: Taken | None,
    found: Delivery,
) -> Taken:
    return steps.extract_payload(desk, dataset, item, found, extract, ids, returned)


def check_ledger(desk: Desk, engagement: str) -> tuple[Receipt, ...]:
    """Prove an engagement's receipts against the tables: accepted = rows that are there.

    Raises:
        StorageError: a table does not hold what its receipt says.
    """
    receipts = tuple(r for r in read_receipts(desk.home) if r.engagement == engagement)
    for receipt in receipts:
        targets = splitter.TARGETS[receipt.dataset]
        for con, tables in (
            (desk.warehouse, [f"intake.{name}" for name in targets.warehouse[:1]]),
            (desk.vault, [] if targets.warehouse else targets.vault),
        ):
            for table in tables:
                if (
                    count(con, table, f"engagement = {sql_literal(engagement)}")
                    != receipt.accepted_n
                ):
                    raise _ledger_broken(table, receipt)
    return receipts


def _ledger_broken(table: str, receipt: Receipt) -> StorageError:
    return StorageError(
        f"{table} does not hold what its receipt says",
        where=f"{receipt.engagement}, {receipt.dataset}",
        why="accepted rows of the receipt = rows of the table",
        fix=f"run: rcs materialise --engagement {receipt.engagement}",
    )


def _is_awaited(desk: Desk, dataset: Dataset, engagement: str) -> bool:
    """Whether a dataset is missing if it is not there: something else of the engagement is."""
    if engagement not in engagements_in_scope(desk.home, desk.programme):
        return False
    return dataset in required_datasets(desk.codebook, desk.programme.engagements[engagement])


def _attempt(
    desk: Desk,
    dataset: Dataset,
    engagement: str | None,
    delivery: Delivery | None,
    step: Callable[[Delivery], Taken],
) -> Taken:
    """Carry a step out; a refusal becomes a receipt, and the rest of the run goes on."""
    if delivery is None:
        return Taken(missing_receipt(dataset, engagement))
    if delivery.refused:
        # Its bytes were not kept, so its rows cannot be counted.
        return Taken(rejected_receipt(delivery, delivery.refused, 0))
    try:
        return step(delivery)
    except steps.IntakeBlockedError as error:
        return Taken(rejected_receipt(delivery, str(error), 0))
    except DictionaryError as error:
        keys.destroy_keys(desk.home, [delivery.seq], str(error))
        return Taken(rejected_receipt(delivery, str(error), 0))
    except InputError as error:
        reason = str(error)
    except duckdb.DataError as error:
        # The engine's own message can quote a value, so only its kind is passed on.
        reason = str(_unreadable(delivery, error))
    with scratch(desk) as con, opened(desk.home, delivery) as path:
        rows_n = count_records(con, path, dataset)
        return Taken(
            rejected_receipt(delivery, reason, rows_n), rejected_rows(con, delivery, rows_n)
        )


def _unreadable(delivery: Delivery, error: duckdb.DataError) -> InputError:
    return InputError(
        "The file holds a value that cannot be read",
        where=f"file {delivery.file}",
        why=f"the engine refused it ({type(error).__name__})",
        fix="ask the supplier to check the file; if it is right, report this message",
    )


def _finish(desk: Desk, dataset: Dataset, engagement: str | None, taken: Taken) -> Receipt:
    _store(desk, dataset, engagement, taken)
    write_receipt(desk.home, taken.receipt)
    remove_reports(desk.home, engagement, dataset.name)
    if engagement is not None and dataset.name in other_kind.DATASETS:
        other_kind.end_other_kind(desk.home, engagement, desk.as_of)
    return taken.receipt


def _store(desk: Desk, dataset: Dataset, engagement: str | None, taken: Taken | None) -> None:
    """Vault first: a kill in between leaves no receipt, so the next run does both again."""
    splitter.store_identifiers(desk.vault, desk.home, dataset, engagement, taken)
    splitter.store_payload(desk.warehouse, desk.codebook, dataset, engagement, taken)
