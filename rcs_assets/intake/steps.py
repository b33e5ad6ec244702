"""The steps of taking in one file, by kind of dataset: from the file to the rows of its tables.

Belongs here: what blocks a file as a whole, and which rules and splits a kind of dataset
has, in order. Does not belong here: the rules themselves (`contracts.py`, `survey.py`,
`pupils.py`, `reference.py`), refusals and storing (`take.py`).

Each step raises InputError where the file cannot be taken in as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Dataset, Field, Questionnaire
from rcs_assets.errors import InputError
from rcs_assets.intake import (
    adapted,
    encoded,
    exchange,
    mixed,
    pupils,
    removals,
    schools,
    splitter,
    survey,
    tombstones,
    uids,
    vault,
)
from rcs_assets.intake.contracts import (
    VIOLATIONS,
    check_header,
    check_rows,
    count,
    count_marks,
    count_parts,
    keep_column,
    quarantine,
    quarantine_duplicates,
    quarantine_row_rules,
)
from rcs_assets.intake.desk import Desk, held_delivery, scratch
from rcs_assets.intake.drop import Delivery, opened
from rcs_assets.intake.histories import history_flags
from rcs_assets.intake.readers import quoted, read_header, read_sav, read_text, sav_labels
from rcs_assets.intake.receipts import (
    Receipt,
    accepted_rows,
    count_receipt,
    is_taken,
    quarantined_rows,
)
from rcs_assets.intake.reference import reference_rows
from rcs_assets.intake.scn import scn_check_digit_holds
from rcs_assets.intake.splitter import Taken, mint_record_ids
from rcs_assets.programme import Engagement, approval_problems
from rcs_assets.storage import sql_literal
from rcs_assets.storage.erasure import mark_removal

# How many cells of a list of opt-outs a message names.
_CELLS_SHOWN = 5


@dataclass(frozen=True)
class Extract:
    """The files of a council's extract and what is particular about them.

    `scope` stands in the record ids, `index` in the names of the files that an indexer returns;
    `has_uid` where the council holds UIDs. `details` are optional files with any number of rows
    a record; they follow the identifiers as the payload does.
    """

    title: str
    scope: str
    identifiers: str
    payload: str
    index: str
    has_uid: bool
    details: tuple[str, ...]


EDUCATION = Extract(
    title="education",
    scope="education",
    identifiers="education_ids",
    payload="education_payload",
    index="edu",
    has_uid=True,
    details=("attendance", "exclusions", "cfe_levels"),
)
SOCIAL_WORK = Extract(
    title="social work",
    scope="social_work",
    identifiers="social_work_ids",
    payload="social_work_payload",
    index="sw",
    has_uid=False,
    details=("child_protection", "looked_after"),
)


SAMPLE_ID = "sample_id"
# The rule that sets a row aside whose UID the vault's sample does not hold, and the flag that
# counts those of them whose UID stands on the sample file, in a row that was set aside there.
NOT_ISSUED = "uid_not_issued"
ON_SAMPLE_FILE = "uid_set_aside_on_sample_file"
# SQL: whether a row with `uid` and `scn` may be of a child whom the relation `issued` names, by
# either; a row without UID may be any child's of whom no right SCN is known.
IS_ISSUED = (
    "(coalesce(uid in (select uid from issued), false) "
    "or coalesce(scn in (select scn from issued), false) or uid is null and not coalesce("
    f"(select bool_and(coalesce({scn_check_digit_holds('issued.scn')}, false)) from issued), "
    "false))"
)


class IntakeBlockedError(InputError):
    """No valid approval: the file may not even be read."""


def _require_approval(desk: Desk, engagement: Engagement) -> None:
    """Policy.md, Protection by design: without a valid approval nothing is taken in.

    Raises:
        IntakeBlockedError: missing or expired.
    """
    day = desk.home.permission_day(desk.as_of)
    problems = approval_problems(
        desk.programme, engagement.key, day, placeholders_allowed=desk.home.profile == "demo"
    )
    if problems:
        raise IntakeBlockedError(
            "Intake is blocked",
            where=engagement.key,
            why=f"the approval does not hold on {day.isoformat()}: {'; '.join(problems)}",
            fix="renew the row of privacy.csv (rcs_assets/programme/data, or config/ in the home)",
        )


def _require_opt_outs(desk: Desk, engagement: Engagement) -> None:
    """Nothing about a pupil is taken in before the engagement's opt-outs are.

    Raises:
        InputError: the opt-outs were rejected, newer ones wait, or those of before are gone.
    """
    delivery = held_delivery(desk, "opt_outs", engagement.key)
    if delivery is None:
        _refuse_without_list(desk, engagement)
        return
    if not is_taken(desk.home, delivery):
        raise InputError(
            "Opt-outs are not applied",
            where=f"{engagement.key}, file {delivery.file}",
            why="opt-outs apply before anything about a pupil is taken in, "
            "and this file was rejected or not taken in yet",
            fix=f"deliver a corrected {delivery.file}, then run: rcs materialise",
        )
    if vault.count_opt_outs(desk.vault, engagement.key) != accepted_rows(desk.home, delivery):
        raise InputError(
            "Opt-outs are not applied",
            where=f"{engagement.key}, file {delivery.file}",
            why="the vault does not hold what the receipt of the list says: it is another vault",
            fix=f"run: rcs materialise --engagement {engagement.key}",
        )


def _refuse_without_list(desk: Desk, engagement: Engagement) -> None:
    if tombstones.standing_keys(desk.home, engagement.key, vault.RECORDS).num_rows:
        raise InputError(
            "The list of opt-outs is gone",
            where=engagement.key,
            why="opt-outs were honoured before, and records without UID are known from it alone",
            fix="restore drop/ from its backup, or deliver the complete list again",
        )


def _require_sample(desk: Desk, engagement: Engagement, what: str) -> None:
    """Before a council's extract and the list of opt-ins comes the sample file.

    It says which UIDs were issued, to which the education extract is limited (policy.md),
    which SCNs are those of pupils who opted out, and who was invited to the survey itself.

    Raises:
        InputError: the sample file is missing, was rejected, or a newer one waits.
    """
    delivery = held_delivery(desk, "sample_file", engagement.key)
    if delivery is None or not is_taken(desk.home, delivery):
        raise InputError(
            f"The {what} cannot be checked",
            where=engagement.key,
            why="issued UIDs and opted-out SCNs are known from the sample file, "
            "which is missing or was rejected",
            fix="deliver the sample file, then run: rcs materialise",
        )


def open_file(
    con: duckdb.DuckDBPyConnection, desk: Desk, dataset: Dataset, delivery: Delivery
) -> None:
    """Header, rows and row states of a CSV or Excel delivery."""
    with opened(desk.home, delivery) as path:
        check_header(read_header(path, dataset), dataset, delivery.file)
        read_text(con, path, dataset)
    check_rows(con, dataset, delivery.file)
    quarantine_row_rules(con, dataset)


def judged_contract(desk: Desk, dataset: Dataset, delivery: Delivery) -> Dataset:
    """The contract of a file of identifiers, by its header: in clear, or of encodings."""
    with opened(desk.home, delivery) as path:
        return encoded.judged_by(read_header(path, dataset), dataset, delivery.file)


def _keys(con: duckdb.DuckDBPyConnection, columns: str) -> pa.Table:
    return con.execute(f"select row_number, {columns} from checked").to_arrow_table()


def _withdraw_opted_out(
    con: duckdb.DuckDBPyConnection, desk: Desk, engagement: Engagement, keys: pa.Table, what: str
) -> list[int]:
    """Withdraw the rows of pupils who opted out; returns their numbers."""
    scopes = vault.RECORDS if what == "records" else vault.ANSWERS
    rows = vault.ask_opted_out(desk.vault, desk.home, engagement.key, keys, scopes)
    pupils.withdraw(con, rows)
    return rows


def reference(desk: Desk, dataset: Dataset, delivery: Delivery) -> Taken:
    """A file of public reference data."""
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        names = [field.name for field in dataset.fields]
        quarantine_duplicates(con, dataset.key, names, "duplicate_key")
        rows = reference_rows(con, dataset, delivery.file)
        return Taken(
            count_receipt(con, delivery, count_marks(con, dataset)),
            quarantined_rows(con, delivery),
            warehouse={dataset.name: rows},
        )


def opt_outs(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """Opt-outs and withdrawals: every row is readable and none is lost, or the file is refused."""
    _require_approval(desk, engagement)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        _refuse_unreadable(con, dataset, delivery)
        _refuse_contradictions(con, delivery)
        held = desk.vault.execute(
            "select uid, scope from opt_outs where engagement = ? order by all", [engagement.key]
        ).fetchall()
        tombstones.honour(con, desk.home, engagement.key, delivery.file, delivery.seq, held)
        con.execute(
            "insert into withdrawn select row_number from checked where taken_back_on is not null"
        )
        rows = con.execute(
            "select ? as engagement, survey_uid as uid, scope, received_on, requested_by "
            "from accepted order by all",
            [engagement.key],
        ).to_arrow_table()
        _mark_withdrawals(desk, engagement.key, rows, held)
        flags = {
            "taken_back": count(con, "withdrawn"),
            "requester_not_said": count(con, "accepted", "requested_by is null"),
        }
        return Taken(count_receipt(con, delivery, flags), None, vault={"opt_outs": rows})


def _mark_withdrawals(
    desk: Desk, engagement: str, rows: pa.Table, held: Sequence[tuple[str, str]]
) -> None:
    """Who is new on the list may have rows, which leave the files when all tables are without."""
    listed = set(zip(rows["uid"].to_pylist(), rows["scope"].to_pylist(), strict=True))
    if listed - set(held) and vault.has_pupils(desk.vault, engagement):
        mark_removal(desk.home, engagement)


def _refuse_unreadable(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, delivery: Delivery
) -> None:
    """An opt-out that cannot be read is not left out: its child would be surveyed or linked.

    Raises:
        InputError: names the first rows, and what their cells must be.
    """
    found = con.execute(
        f"select row_number, column_name, rule from {VIOLATIONS} order by all"
    ).fetchall()
    if not found:
        return
    forms = {field.column: _form(field) for field in dataset.fields}
    forms |= {rule.name: rule.description for rule in dataset.row_rules}
    places = [f"row {row}, column {column}" for row, column, _ in found[:_CELLS_SHOWN]]
    more = [f"and {len(found) - _CELLS_SHOWN} more"] if len(found) > _CELLS_SHOWN else []
    needed = dict.fromkeys(forms.get(rule) or forms[column] for _, column, rule in found)
    raise InputError(
        f"{len(found)} cells of the list of opt-outs cannot be read"
        if len(found) > 1
        else "An opt-out cannot be read",
        where=f"file {delivery.file}, {'; '.join([*places, *more])}",
        why="an opt-out that cannot be read cannot be honoured: the whole file is refused",
        fix=f"correct these rows and deliver the file again ({'; '.join(needed)})",
    )


def _form(field: Field) -> str:
    """What a cell must be, in words."""
    if field.kind == "date":
        return f"{field.column} is a day as {' or '.join(field.date_forms) or 'YYYY-MM-DD'}"
    if field.allowed:
        return f"{field.column} is one of {', '.join(field.allowed)}"
    return f"{field.column} is the {field.description}"


def _refuse_contradictions(con: duckdb.DuckDBPyConnection, delivery: Delivery) -> None:
    """One opt-out that is taken back in one row and holds in another is not guessed.

    Raises:
        InputError: names the later row.
    """
    rows = con.execute(
        "select max(row_number) from accepted group by survey_uid, scope "
        "having count(distinct coalesce(taken_back_on::varchar, '')) > 1 order by 1 limit 1"
    ).fetchall()
    if rows:
        raise InputError(
            "An opt-out stands twice and says two things",
            where=f"file {delivery.file}, row {rows[0][0]}, column taken_back_on",
            why="in one row it is taken back, in another it holds, or the days differ",
            fix="keep one row a child and scope, and deliver the file again",
        )


def uid_decisions(
    desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery
) -> Taken:
    """What an operator decided about UIDs under another school: every row counts, or none."""
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        if count(con, VIOLATIONS):
            raise InputError(
                "A decision on UIDs cannot be read",
                where=f"file {delivery.file}",
                why="half of the decisions would change the sample file in half",
                fix="write the file with rcs uids decide",
            )
        return _partnership_rows(con, dataset, engagement, delivery, {})


def sample(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """The sample file, and the roll before opt-outs."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    known = schools.known_schools(desk.warehouse, engagement.key, desk.home.config)
    dataset = judged_contract(desk, dataset, delivery)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        encoded.refuse_mixed(con, delivery.file)
        flags = pupils.judge_schools(con, engagement, known)
        proposals = _judge_uids(con, desk, engagement, known, delivery)
        schools.quarantine_other_stages(con, known)
        roll = pupils.count_roll(con, dataset, engagement)
        everyone = con.execute(
            "select survey_uid as uid, scn from checked where survey_uid is not null"
        ).to_arrow_table()
        uid_keys = _keys(con, "survey_uid as uid")
        gone = _withdraw_opted_out(con, desk, engagement, uid_keys, "answers")
        record_id = mint_record_ids(con, desk.home, f"sample|{engagement.key}", "survey_uid")
        split = (con, dataset, engagement.key, record_id)
        flags |= mixed.flags(con) | _pupil_flags(con, dataset)
        flags["uid_check_digit"] = count(
            con, "accepted", f"not {uids.check_digit_holds('survey_uid')}"
        )
        receipt = count_receipt(con, delivery, flags)
        removals.settle_states(con, "null::varchar", gone)
        return Taken(
            replace(receipt, proposals=tuple(asdict(proposal) for proposal in proposals)),
            quarantined_rows(con, delivery),
            vault={"sample_identifiers": splitter.identifiers(*split)},
            warehouse={
                "sample": splitter.payload(*split),
                "roll_counts": roll,
                "removals": removals.removals(con, delivery),
            },
            opted_out_pupils=everyone,
        )


def _pupil_flags(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> dict[str, int]:
    return encoded.flags(con) if encoded.is_encoded(dataset) else pupils.pupil_flags(con)


def _judge_uids(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    engagement: Engagement,
    known: schools.Schools,
    delivery: Delivery,
) -> tuple[mixed.Proposal, ...]:
    """Look for one school's UIDs under another, and do what was decided about them."""
    council = engagement.cpp.council_name
    schools.confusable(con, known, council)
    own = [
        str(code)
        for (code,) in con.execute(
            "select seed_code from school_places where council_name = ?", [council]
        ).fetchall()
    ]
    uids.school_parts(con, desk.home, engagement.key, own)
    # Without a delivery of decisions the table holds none.
    splitter.prepare(desk.warehouse, desk.codebook, "uid_decisions")
    decisions = desk.warehouse.execute(
        "select seed_code_delivered, seed_code_right, decision from intake.uid_decisions "
        "where engagement = ? and sample_sha256 = ? order by all",
        [engagement.key, delivery.sha256],
    ).to_arrow_table()
    return mixed.judge_groups(
        con,
        known.rules,
        schools.published_roll(desk.warehouse),
        pupils.stages_in_scope(engagement),
        decisions,
    )


def _schools(desk: Desk) -> pa.Table:
    """seed_code and council_name of every school on roll or list.

    Raises:
        InputError: there is no school roll yet.
    """
    schools.require_roll(desk.warehouse)
    return desk.warehouse.execute(
        "select seed_code, council_name from intake.school_roll union "
        "select seed_code, council_name from intake.school_list"
    ).to_arrow_table()


def answers(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """A survey; UIDs of pupils go to the vault, interviews of parents have none."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    questionnaire = _questionnaire(desk, dataset, engagement, delivery)
    is_pupils = bool(splitter.TARGETS[dataset.name].vault)
    with scratch(desk) as con:
        with opened(desk.home, delivery) as path:
            survey.check_survey_header(read_header(path, dataset), questionnaire, delivery.file)
            survey.check_labels(sav_labels(path), desk.codebook, questionnaire, delivery.file)
            read_sav(con, path, survey.survey_columns(questionnaire))
        survey.check_survey(con, dataset, questionnaire, delivery.file)
        flags: dict[str, int] = {}
        gone: list[int] = []
        scope = f"{dataset.name}|{engagement.key}"
        record_id = keep_column(con, "minted_id", mint_record_ids(con, desk.home, scope, "uid"))
        if is_pupils:
            # The pseudonym of the UID in the sample file, by which answers are asked about.
            sample_scope = f"sample|{engagement.key}"
            keep_column(con, SAMPLE_ID, mint_record_ids(con, desk.home, sample_scope, "uid"))
            gone = _withdraw_opted_out(con, desk, engagement, _keys(con, "uid"), "answers")
            adapted.quarantine_opted_in(con, desk, engagement.key, delivery.file)
            flags = _judge_stages(con, desk, dataset, engagement, questionnaire)
        survey.quarantine_repeated(con, questionnaire)
        flags |= survey.forms_found(con, questionnaire)
        repaired = survey.repair_routing(con, desk.codebook, dataset.survey)
        warehouse = {
            dataset.name: splitter.survey_payload(
                con, desk.codebook, questionnaire, engagement.key, record_id
            )
        }
        if is_pupils:
            warehouse |= _states(con, desk, delivery, gone)
        identifiers = splitter.survey_identifiers(con, questionnaire, engagement.key, record_id)
        return Taken(
            count_receipt(con, delivery, flags | {"routing_repaired": repaired}),
            quarantined_rows(con, delivery),
            vault={"survey_identifiers": identifiers} if is_pupils else {},
            warehouse=warehouse,
        )


def adapted_opt_ins(
    desk: Desk,
    dataset: Dataset,
    engagement: Engagement,
    delivery: Delivery,
) -> Taken:
    """Who opted in to the adapted mode of special schools."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    _require_sample(desk, engagement, "list of opt-ins")
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        return adapted.take_opt_ins(con, desk, dataset, delivery)


def adapted_survey(
    desk: Desk,
    dataset: Dataset,
    engagement: Engagement,
    delivery: Delivery,
) -> Taken:
    """Answers in the adapted mode; apart from the survey's."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    declared = adapted.require_opt_ins(desk, engagement.key, delivery.file)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        return adapted.take_answers(con, desk, dataset, delivery, declared)


def _judge_stages(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    dataset: Dataset,
    engagement: Engagement,
    questionnaire: Questionnaire,
) -> dict[str, int]:
    """Set aside answers under the UID of a pupil whom the survey, or its form, does not ask."""
    splitter.prepare(desk.warehouse, desk.codebook, "sample_file")
    wave = engagement.wave(dataset.survey)
    ids = removals.sample_ids(con, SAMPLE_ID)
    stages = wave.stages if wave else ()
    rows = removals.ask_other_stage(desk.warehouse, engagement.key, ids, stages)
    pupils.quarantine_rows(con, rows, questionnaire.uid_name, removals.NO_STAGE_MATCH)
    for form in questionnaire.forms:
        ids = removals.sample_ids(con, SAMPLE_ID, f"form = {sql_literal(form.name)}")
        rows = removals.ask_other_stage(desk.warehouse, engagement.key, ids, form.stages)
        pupils.quarantine_rows(con, rows, questionnaire.form_name, removals.FORM_NOT_OF_STAGE)
    return {"uid_check_digit": count(con, "accepted", f"not {uids.check_digit_holds('uid')}")}


def _states(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    delivery: Delivery,
    opted_out: Sequence[int],
) -> dict[str, pa.Table]:
    """What became of every record of a pupils' survey."""
    removals.settle_states(con, SAMPLE_ID, opted_out)
    return {
        "removals": removals.removals(con, delivery),
        "survey_counts": removals.state_counts(con, desk.warehouse, delivery),
    }


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


def extract_ids(
    desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery, extract: Extract
) -> Taken:
    """Identifiers of a council's extract; says whose payload may follow."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    _require_sample(desk, engagement, f"{extract.title} extract")
    dataset = judged_contract(desk, dataset, delivery)
    encoded.refuse_other_kind(desk.vault, dataset, engagement.key, delivery.file)
    has_opt_outs = vault.has_opt_outs(desk.vault, desk.home, engagement.key, vault.RECORDS)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        encoded.refuse_other_scheme(con, desk.vault, engagement.key, delivery.file)
        declared = encoded.declarations(con, dataset)
        is_unrecognised = has_opt_outs and not vault.opt_outs_are_declared(
            desk.vault, engagement.key, declared
        )
        if is_unrecognised and not extract.has_uid:
            encoded.refuse_unrecognised(engagement.key, delivery.file)
        uid = "survey_uid" if extract.has_uid else "null::varchar"
        keys = _keys(con, f"{uid} as uid, scn")
        _withdraw_opted_out(con, desk, engagement, keys, "records")
        if extract.has_uid:
            extra = vault.ask_not_issued(desk.vault, engagement.key, keys)
            pupils.quarantine_rows(con, extra, "survey_uid", NOT_ISSUED)
            if is_unrecognised:
                encoded.set_aside_unrecognised(con)
        names = [field.name for field in dataset.fields]
        quarantine_duplicates(con, dataset.key, names, "duplicate_record_id")
        scope = f"{extract.scope}|{engagement.key}"
        record_id = mint_record_ids(con, desk.home, scope, "record_id")
        rows = splitter.identifiers(con, dataset, engagement.key, record_id)
        withdrawn = con.execute(
            f"select {record_id} as record_id from checked "
            "where row_number in (select row_number from withdrawn)"
        ).to_arrow_table()
        taken = Taken(
            count_receipt(
                con,
                delivery,
                _pupil_flags(con, dataset) | count_parts(con, dataset) | _destroyed(delivery),
            ),
            quarantined_rows(con, delivery),
            vault={splitter.TARGETS[dataset.name].vault[0]: rows},
            record_ids=rows.select(["record_id"]),
            withdrawn_ids=withdrawn,
        )
        refused = con.execute(
            f"select {uid} as uid, scn from checked "
            f"where row_number in (select row_number from {VIOLATIONS} where rule = ?) "
            "and row_number not in (select row_number from withdrawn)",
            [NOT_ISSUED],
        ).to_arrow_table()
    return _flag_on_sample_file(desk, engagement.key, taken, refused)


def _flag_on_sample_file(desk: Desk, engagement: str, taken: Taken, refused: pa.Table) -> Taken:
    """Count those of the refused UIDs that the sample file names: these are no extra children."""
    if not refused.num_rows:
        return taken
    issued = issued_uids(desk, engagement)
    with scratch(desk) as con:
        con.register("refused", refused)
        con.register("issued", issued)
        n = count(con, "refused", IS_ISSUED)
        con.unregister("refused")
        con.unregister("issued")
    flags = {**taken.receipt.flags, **({ON_SAMPLE_FILE: n} if n else {})}
    return replace(taken, receipt=replace(taken.receipt, flags=flags))


def issued_uids(desk: Desk, engagement: str) -> pa.Table:
    """Every `uid` and `scn` of the sample file, those in rows that were set aside among them.

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
    dataset = judged_contract(desk, dataset, delivery)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        return con.execute("select survey_uid as uid, scn from checked").to_arrow_table()


def extra_rows_n(receipt: Receipt) -> int:
    """Rows set aside since their UID was not issued, less those that the sample file names."""
    return receipt.reasons.get(NOT_ISSUED, 0) - receipt.flags.get(ON_SAMPLE_FILE, 0)


def _destroyed(delivery: Delivery) -> dict[str, int]:
    """Rows of extra children that the delivery no longer holds."""
    return {"extra_rows_destroyed": delivery.destroyed_n}


def extract_payload(
    desk: Desk,
    dataset: Dataset,
    engagement: Engagement,
    delivery: Delivery,
    extract: Extract,
    ids: Taken,
    returned: Taken | None = None,
) -> Taken:
    """Payload or details of a council's extract, for the identifiers `ids` that were accepted.

    Where index numbers stand in the place of the supplier's record ids (domain.md 3.3), they
    are those that the indexer `returned`, or without one the platform's own.
    """
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    if ids.record_ids is None or ids.withdrawn_ids is None:
        raise InputError(
            "The payload cannot be attached",
            where=f"file {delivery.file}",
            why=f"the {extract.title} identifiers of this engagement are missing or were rejected",
            fix="deliver the identifiers, then run: rcs materialise",
        )
    has_school = any(field.kind == "seed_code" for field in dataset.fields)
    known = _schools(desk) if has_school else None
    with scratch(desk) as con:
        if exchange.has_index_numbers(desk, dataset, delivery, extract.index):
            dataset = exchange.with_index(dataset, extract.index)
            numbers = exchange.index_numbers(con, desk, ids, returned, delivery, extract.scope)
            record_id = exchange.record_of_index(con, numbers)
        else:
            scope = f"{extract.scope}|{engagement.key}"
            record_id = mint_record_ids(con, desk.home, scope, "record_id")
        open_file(con, desk, dataset, delivery)
        record_id = keep_column(con, "minted_id", record_id)
        pupils.judge_payload(con, dataset, record_id, ids.record_ids, ids.withdrawn_ids)
        if known is not None:
            pupils.quarantine_unknown_schools(con, known)
        rows = splitter.payload(con, dataset, engagement.key, record_id)
        return Taken(
            count_receipt(con, delivery, history_flags(con, dataset) | _destroyed(delivery)),
            quarantined_rows(con, delivery),
            warehouse={splitter.TARGETS[dataset.name].warehouse[0]: rows},
        )


def index_return(
    desk: Desk,
    dataset: Dataset,
    engagement: Engagement,
    delivery: Delivery,
    extract: Extract | None = None,
) -> Taken:
    """Index numbers from an outside indexer: of a council's extract, or of the answers."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        if extract is None:
            record_id = "record_id"
        else:
            scope = f"{extract.scope}|{engagement.key}"
            record_id = mint_record_ids(con, desk.home, scope, "record_id")
        table = splitter.TARGETS[extract.identifiers].vault[0] if extract else "survey_identifiers"
        return exchange.take_index_return(
            con, desk, dataset, engagement.key, delivery, record_id, table
        )


def read_through(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """Which index numbers are one child's, from an outside indexer."""
    _require_approval(desk, engagement)
    _require_opt_outs(desk, engagement)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        return exchange.take_read_through(con, desk, engagement.key, delivery)


def clusters(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """A cluster map; a school without exactly one cluster for reports is not guessed."""
    known = _schools(desk)
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
        pupils.quarantine_unknown_schools(con, known)
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


def services(desk: Desk, dataset: Dataset, engagement: Engagement, delivery: Delivery) -> Taken:
    """Service map and budgets."""
    with scratch(desk) as con:
        open_file(con, desk, dataset, delivery)
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
