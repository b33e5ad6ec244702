"""Takes deliveries in: one dataset of one engagement at a time, whole or not at all.

Belongs here: the order of steps for each kind of delivery, what blocks an engagement,
and turning a refusal into a receipt. Does not belong here: the steps themselves
(`readers.py`, `contracts.py`, `survey.py`, `pupils.py`, `reference.py`,
`splitter.py`) and Dagster (`assets.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook, Dataset, Questionnaire
from rcs_assets.errors import InputError, StorageError
from rcs_assets.intake import pupils, splitter, survey, vault
from rcs_assets.intake.contracts import (
    check_header,
    check_rows,
    count,
    quarantine,
    quarantine_duplicates,
    quarantine_row_rules,
)
from rcs_assets.intake.drop import Delivery, current_deliveries, engagements_in_scope
from rcs_assets.intake.readers import quoted, read_header, read_sav, read_text
from rcs_assets.intake.receipts import (
    Receipt,
    ReceiptStatus,
    count_receipt,
    empty_receipt,
    missing_message,
    quarantined_rows,
    read_receipts,
    required_datasets,
    write_receipt,
)
from rcs_assets.intake.reference import reference_rows
from rcs_assets.intake.splitter import Taken, mint_record_ids
from rcs_assets.programme import Engagement, Programme, approval_problems
from rcs_assets.storage import (
    Home,
    Settings,
    open_memory,
    open_vault,
    open_warehouse,
    sql_literal,
)


@dataclass(frozen=True)
class Desk:
    """What every intake needs: the installation, the two registers, one connection a zone.

    `scratch` holds one supplier's file at a time; vault and warehouse never meet on it.
    """

    home: Home
    programme: Programme
    codebook: Codebook
    as_of: date
    scratch: duckdb.DuckDBPyConnection
    vault: duckdb.DuckDBPyConnection
    warehouse: duckdb.DuckDBPyConnection


@dataclass(frozen=True)
class Extract:
    """The two files of a council's extract and what is particular about them.

    `scope` stands in the record ids; `has_uid` where the council holds UIDs, `has_school`
    where the payload names one.
    """

    title: str
    scope: str
    identifiers: str
    payload: str
    has_uid: bool
    has_school: bool


EDUCATION = Extract("education", "education", "education_ids", "education_payload", True, True)
SOCIAL_WORK = Extract(
    "social work", "social_work", "social_work_ids", "social_work_payload", False, False
)


@contextmanager
def open_desk(
    home: Home, programme: Programme, codebook: Codebook, settings: Settings
) -> Iterator[Desk]:
    """Open the zones once for any number of deliveries, under the home's write lock.

    Raises:
        StorageError: a zone cannot be opened, read or written; the message holds no value.
    """
    with (
        open_memory(home, settings=settings) as scratch,
        open_vault(home, settings=settings) as secret,
        open_warehouse(home, settings=settings) as warehouse,
    ):
        vault.prepare_vault(secret)
        yield Desk(home, programme, codebook, settings.as_of, scratch, secret, warehouse)


@contextmanager
def _scratch(desk: Desk) -> Iterator[duckdb.DuckDBPyConnection]:
    """The scratch connection, empty before and after."""
    con = desk.scratch
    con.execute("create schema delivery")
    con.execute("use delivery")
    try:
        yield con
    finally:
        con.execute("use main")
        con.execute("drop schema delivery cascade")
        con.unregister("delivered")
        # Broken lines as they stood in the file (DuckDB keeps them in these two).
        con.execute("drop table if exists reject_errors")
        con.execute("drop table if exists reject_scans")


def take_reference(desk: Desk, name: str) -> Receipt:
    """Take in one reference dataset (`school_roll`, `school_list`, `simd`, `datazones`).

    Returns:
        Its receipt; a missing or unreadable delivery gives one that says so.
    """
    dataset = desk.codebook.datasets[name]
    delivery = _delivery(desk, name, None)
    taken = _attempt(dataset, None, delivery, lambda found: _reference(desk, dataset, found))
    return _finish(desk, dataset, None, taken)


def take(desk: Desk, name: str, engagement: str) -> Receipt | None:
    """Take in one dataset of an engagement.

    Args:
        desk: the installation.
        name: opt_outs, sample_file, primary_survey, secondary_survey, parent_survey,
            clusters, service_map or budgets; extracts have a function of their own.
        engagement: partition key.

    Returns:
        The receipt; None where the dataset was neither delivered nor awaited.

    Raises:
        StorageError: a zone cannot be read or written; the message holds no value.
    """
    dataset = desk.codebook.datasets[name]
    delivery = _delivery(desk, name, engagement)
    if delivery is None and not _is_awaited(desk, dataset, engagement):
        _store(desk, dataset, engagement, None)
        return None
    item = desk.programme.engagements[engagement]
    steps: dict[str, Callable[[Delivery], Taken]] = {
        "opt_outs": lambda found: _opt_outs(desk, dataset, item, found),
        "sample_file": lambda found: _sample(desk, dataset, item, found),
        "clusters": lambda found: _clusters(desk, dataset, item, found),
        "service_map": lambda found: _services(desk, dataset, item, found),
        "budgets": lambda found: _services(desk, dataset, item, found),
    }
    step = steps.get(name, lambda found: _survey(desk, dataset, item, found))
    taken = _attempt(dataset, engagement, delivery, step)
    return _finish(desk, dataset, engagement, taken)


def take_education(desk: Desk, engagement: str) -> tuple[Receipt, ...]:
    """Take in an engagement's education extract: identifiers first, payload by their record ids.

    Returns:
        The receipts of identifiers and payload; none where nothing of the engagement was delivered.
    """
    return _take_extract(desk, engagement, EDUCATION)


def take_social_work(desk: Desk, engagement: str) -> tuple[Receipt, ...]:
    """Take in an engagement's social work extract, in the way of the education extract.

    Its records hold no UID: an opted-out pupil is recognised by SCN here, and by linkage
    where the record has none.

    Returns:
        The receipts of identifiers and payload; none where nothing of the engagement was delivered.
    """
    return _take_extract(desk, engagement, SOCIAL_WORK)


def _take_extract(desk: Desk, engagement: str, extract: Extract) -> tuple[Receipt, ...]:
    item = desk.programme.engagements[engagement]
    ids, load = (desk.codebook.datasets[n] for n in (extract.identifiers, extract.payload))
    if engagement not in engagements_in_scope(desk.home, desk.programme):
        _store(desk, ids, engagement, None)
        _store(desk, load, engagement, None)
        return ()
    taken_ids = _attempt(
        ids,
        engagement,
        _delivery(desk, ids.name, engagement),
        lambda found: _extract_ids(desk, ids, item, found, extract),
    )
    taken_load = _attempt(
        load,
        engagement,
        _delivery(desk, load.name, engagement),
        lambda found: _extract_payload(desk, load, item, found, extract, taken_ids),
    )
    return _finish(desk, ids, engagement, taken_ids), _finish(desk, load, engagement, taken_load)


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


def _delivery(desk: Desk, name: str, engagement: str | None) -> Delivery | None:
    return current_deliveries(desk.home).get((name, engagement))


def _is_awaited(desk: Desk, dataset: Dataset, engagement: str) -> bool:
    """Whether a dataset is missing if it is not there: something else of the engagement is."""
    if engagement not in engagements_in_scope(desk.home, desk.programme):
        return False
    return dataset in required_datasets(desk.codebook, desk.programme.engagements[engagement])


def _attempt(
    dataset: Dataset,
    engagement: str | None,
    delivery: Delivery | None,
    step: Callable[[Delivery], Taken],
) -> Taken:
    """Carry a step out; a refusal becomes a receipt, and the rest of the run goes on."""
    if delivery is None:
        reason = missing_message(dataset, engagement)
        return Taken(empty_receipt(dataset.name, engagement, None, ReceiptStatus.MISSING, reason))
    try:
        if delivery.refused:
            reason = delivery.refused
        else:
            return step(delivery)
    except InputError as error:
        reason = str(error)
    except duckdb.DataError as error:
        # The engine's own message can quote a value, so only its kind is passed on.
        reason = str(_unreadable(delivery, error))
    rejected = ReceiptStatus.REJECTED
    return Taken(empty_receipt(dataset.name, engagement, delivery, rejected, reason))


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
    return taken.receipt


def _store(desk: Desk, dataset: Dataset, engagement: str | None, taken: Taken | None) -> None:
    """Vault first: a kill in between leaves no receipt, so the next run does both again."""
    splitter.store_identifiers(desk.vault, desk.home, dataset, engagement, taken)
    splitter.store_payload(desk.warehouse, desk.codebook, dataset, engagement, taken)


def _require_approval(desk: Desk, engagement: Engagement) -> None:
    """Policy.md, Protection by design: without a valid approval nothing is taken in.

    Raises:
        InputError: missing or expired.
    """
    day = desk.as_of
    problems = approval_problems(
        desk.programme, engagement.key, day, placeholders_allowed=desk.home.profile == "demo"
    )
    if problems:
        raise InputError(
            "Intake is blocked",
            where=engagement.key,
            why=f"the approval does not hold on {day.isoformat()}: {'; '.join(problems)}",
            fix="renew the row of privacy.csv (rcs_assets/programme/data, or config/ in the home)",
        )


def _require_opt_outs(desk: Desk, engagement: Engagement) -> None:
    """Nothing about a pupil is taken in before the engagement's opt-outs are.

    Raises:
        InputError: the opt-outs were rejected, or newer ones wait.
    """
    delivery = _delivery(desk, "opt_outs", engagement.key)
    if delivery is not None and not _is_taken(desk, delivery):
        raise InputError(
            "Opt-outs are not applied",
            where=f"{engagement.key}, file {delivery.file}",
            why="opt-outs apply before anything about a pupil is taken in, "
            "and this file was rejected or not taken in yet",
            fix=f"deliver a corrected {delivery.file}, then run: rcs materialise",
        )


def _require_sample(desk: Desk, engagement: Engagement, extract: Extract) -> None:
    """Before a council's extract comes the sample file.

    It says which UIDs were issued, to which the education extract is limited (policy.md),
    and which SCNs are those of pupils who opted out.

    Raises:
        InputError: the sample file is missing, was rejected, or a newer one waits.
    """
    delivery = _delivery(desk, "sample_file", engagement.key)
    if delivery is None or not _is_taken(desk, delivery):
        raise InputError(
            f"The {extract.title} extract cannot be checked",
            where=engagement.key,
            why="issued UIDs and opted-out SCNs are known from the sample file, "
            "which is missing or was rejected",
            fix="deliver the sample file, then run: rcs materialise",
        )


def _is_taken(desk: Desk, delivery: Delivery) -> bool:
    return any(
        (receipt.dataset, receipt.engagement) == (delivery.dataset, delivery.engagement)
        and receipt.sha256 == delivery.sha256
        and receipt.status == ReceiptStatus.ACCEPTED
        for receipt in read_receipts(desk.home)
    )


def _open(con: duckdb.DuckDBPyConnection, desk: Desk, dataset: Dataset, delivery: Delivery) -> None:
    """Header, rows and row states of a CSV or Excel delivery."""
    path = delivery.path(desk.home)
    check_header(read_header(path, dataset), dataset, delivery.file)
    read_text(con, path, dataset)
    check_rows(con, dataset, delivery.file)
    quarantine_row_rules(con, dataset)


def _keys(con: duckdb.DuckDBPyConnection, columns: str) -> pa.Table:
    return con.execute(f"select row_number, {columns} from checked").to_arrow_table()


def _withdraw_opted_out(
    con: duckdb.DuckDBPyConnection, desk: Desk, engagement: Engagement, keys: pa.Table, what: str
) -> None:
    scopes = vault.RECORDS if what == "records" else vault.ANSWERS
    rows = vault.ask_opted_out(desk.vault, desk.home, engagement.key, keys, scopes)
    pupils.withdraw(con, rows)


def _reference(desk: Desk, dataset: Dataset, delivery: Delivery) -> Taken:
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        names = [field.name for field in dataset.fields]
        quarantine_duplicates(con, dataset.key, names, "duplicate_key")
        rows = reference_rows(con, dataset, delivery.file)
        return Taken(
            count_receipt(con, delivery, {}),
            quarantined_rows(con, delivery),
            warehouse={dataset.name: rows},
        )


def _opt_outs(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    _require_approval(desk, engagement)
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        unreadable = con.execute(
            "select row_number, column_name from violations order by all limit 1"
        ).fetchall()
        if unreadable:
            raise InputError(
                "An opt-out cannot be read",
                where=f"file {delivery.file}, row {unreadable[0][0]}, column {unreadable[0][1]}",
                why="an opt-out that cannot be read cannot be honoured: the whole file is refused",
                fix="correct the row and deliver the file again",
            )
        rows = con.execute(
            "select ? as engagement, survey_uid as uid, scope, received_on "
            "from accepted order by all",
            [engagement.key],
        ).to_arrow_table()
        return Taken(count_receipt(con, delivery, {}), None, vault={"opt_outs": rows})


def _sample(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    schools = _schools(desk)
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        roll = pupils.judge_sample(con, dataset, engagement, schools)
        everyone = con.execute(
            "select survey_uid as uid, scn from checked where survey_uid is not null"
        ).to_arrow_table()
        _withdraw_opted_out(con, desk, engagement, _keys(con, "survey_uid as uid"), "answers")
        record_id = mint_record_ids(con, desk.home, f"sample|{engagement.key}", "survey_uid")
        split = (con, dataset, engagement.key, record_id)
        return Taken(
            count_receipt(con, delivery, pupils.pupil_flags(con)),
            quarantined_rows(con, delivery),
            vault={"sample_identifiers": splitter.identifiers(*split)},
            warehouse={"sample": splitter.payload(*split), "roll_counts": roll},
            opted_out_pupils=everyone,
        )


def _schools(desk: Desk) -> pa.Table:
    """seed_code and council_name of every school on roll or list.

    Raises:
        InputError: there is no school roll yet.
    """
    con = desk.warehouse
    tables = "information_schema.tables"
    if (
        count(
            con, tables, "table_schema = 'intake' and table_name in ('school_roll', 'school_list')"
        )
        == 2
    ):
        schools = con.execute(
            "select seed_code, council_name from intake.school_roll union "
            "select seed_code, council_name from intake.school_list"
        ).to_arrow_table()
    else:
        schools = None
    if schools is None or schools.num_rows == 0:
        raise InputError(
            "There is no school roll",
            where="reference data, school_roll and school_list",
            why="every pupil's school is checked against the roll",
            fix="deliver the school roll and the school list, then run: rcs materialise",
        )
    return schools


def _survey(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    questionnaire = _questionnaire(desk, dataset, engagement, delivery)
    path = delivery.path(desk.home)
    survey.check_survey_header(read_header(path, dataset), questionnaire, delivery.file)
    is_pupils = bool(splitter.TARGETS[dataset.name].vault)
    with _scratch(desk) as con:
        read_sav(con, path, survey.survey_columns(questionnaire))
        survey.check_survey(con, dataset, questionnaire, delivery.file)
        if is_pupils:
            _withdraw_opted_out(con, desk, engagement, _keys(con, "uid"), "answers")
        survey.quarantine_repeated(con, questionnaire)
        repaired = survey.repair_routing(con, desk.codebook, dataset.survey)
        scope = f"{dataset.name}|{engagement.key}"
        record_id = mint_record_ids(con, desk.home, scope, "uid")
        answers = splitter.survey_payload(
            con, desk.codebook, questionnaire, engagement.key, record_id
        )
        uids = splitter.survey_identifiers(con, questionnaire, engagement.key, record_id)
        return Taken(
            count_receipt(con, delivery, {"routing_repaired": repaired}),
            quarantined_rows(con, delivery),
            vault={"survey_identifiers": uids} if is_pupils else {},
            warehouse={dataset.name: answers},
        )


def _questionnaire(
    desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery
) -> Questionnaire:
    try:
        return desk.codebook.questionnaire_for(engagement.tranche, dataset.survey)
    except KeyError:
        raise InputError(
            "There is no questionnaire version for this file",
            where=f"file {delivery.file}",
            why=f"the codebook has none for {dataset.survey} in {engagement.tranche}",
            fix="add it to questionnaires.csv (rcs_assets/codebook/data, or config/ in the home)",
        ) from None


def _extract_ids(
    desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery, extract: Extract
) -> Taken:
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    _require_sample(desk, engagement, extract)
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        uid = "survey_uid" if extract.has_uid else "null::varchar"
        keys = _keys(con, f"{uid} as uid, scn")
        _withdraw_opted_out(con, desk, engagement, keys, "records")
        if extract.has_uid:
            extra = vault.ask_not_issued(desk.vault, engagement.key, keys)
            pupils.quarantine_rows(con, extra, "survey_uid", "uid_not_issued")
        names = [field.name for field in dataset.fields]
        quarantine_duplicates(con, dataset.key, names, "duplicate_record_id")
        scope = f"{extract.scope}|{engagement.key}"
        record_id = mint_record_ids(con, desk.home, scope, "record_id")
        rows = splitter.identifiers(con, dataset, engagement.key, record_id)
        withdrawn = con.execute(
            f"select {record_id} as record_id from checked "
            "where row_number in (select row_number from withdrawn)"
        ).to_arrow_table()
        return Taken(
            count_receipt(con, delivery, pupils.pupil_flags(con)),
            quarantined_rows(con, delivery),
            vault={splitter.TARGETS[dataset.name].vault[0]: rows},
            record_ids=rows.select(["record_id"]),
            withdrawn_ids=withdrawn,
        )


def _extract_payload(
    desk: Desk,
    dataset: Dataset,
    engagement: Engagement,
    delivery: Delivery,
    extract: Extract,
    ids: Taken,
) -> Taken:
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    if ids.record_ids is None or ids.withdrawn_ids is None:
        raise InputError(
            "The payload cannot be attached",
            where=f"file {delivery.file}",
            why=f"the {extract.title} identifiers of this engagement are missing or were rejected",
            fix="deliver the identifiers, then run: rcs materialise",
        )
    schools = _schools(desk) if extract.has_school else None
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        scope = f"{extract.scope}|{engagement.key}"
        record_id = mint_record_ids(con, desk.home, scope, "record_id")
        pupils.judge_payload(con, dataset, record_id, ids.record_ids, ids.withdrawn_ids)
        if schools is not None:
            pupils.quarantine_unknown_schools(con, schools)
        rows = splitter.payload(con, dataset, engagement.key, record_id)
        return Taken(
            count_receipt(con, delivery, {}),
            quarantined_rows(con, delivery),
            warehouse={splitter.TARGETS[dataset.name].warehouse[0]: rows},
        )


def _clusters(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    schools = _schools(desk)
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        pupils.quarantine_unknown_schools(con, schools)
        names = [field.name for field in dataset.fields]
        quarantine_duplicates(con, dataset.key, names, "duplicate_cluster")
        quarantine(
            con,
            "seed_code in (select seed_code from accepted group by seed_code "
            "having count(*) filter (where is_sdc_cluster) <> 1)",
            "is_sdc_cluster",
            "not_one_sdc_cluster",
        )
        return _partnership_rows(con, dataset, engagement, delivery, {})


def _services(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """Service map and budgets."""
    with _scratch(desk) as con:
        _open(con, desk, dataset, delivery)
        names = [field.name for field in dataset.fields]
        quarantine_duplicates(con, dataset.key, names, f"duplicate_{dataset.key[0]}")
        flags = {}
        if dataset.name == "service_map":
            flags["without_children_served"] = count(con, "accepted", "children_served is null")
        else:
            quarantine(con, "method = 'direct' and share <> 1", "share", "direct_share_is_not_1")
        return _partnership_rows(con, dataset, engagement, delivery, flags)


def _partnership_rows(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    engagement: Engagement,
    delivery: Delivery,
    flags: Mapping[str, int],
) -> Taken:
    """The accepted rows of a file without a row a child, under the dataset's own name."""
    columns = ", ".join(quoted(field.name) for field in dataset.fields)
    rows = con.execute(
        f"select ? as engagement, {columns} from accepted "
        f"order by {', '.join(quoted(name) for name in dataset.key)}",
        [engagement.key],
    ).to_arrow_table()
    return Taken(
        count_receipt(con, delivery, flags),
        quarantined_rows(con, delivery),
        warehouse={dataset.name: rows},
    )
