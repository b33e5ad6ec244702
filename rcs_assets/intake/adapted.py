"""The adapted opt-in mode of special schools: who opted in, and what they answered.

Belongs here: the questionnaires that an installation declares (`adapted_survey.csv`), taking in the
list of opt-ins and the answers. Does not belong here: which schools agreed (`schools.py`), the
survey of all other schools (`survey.py`), whose figures these answers never enter.

Domain.md 12: special schools are out of scope, an adapted opt-in mode exists. No source that could
be read shows its questions, so none is shipped: an engagement declares in its overlay which items
of the codebook were asked, and under which version's name. Answers come one a row, since each pupil
may be asked others. They stay in the warehouse: record ids are of a scope of their own, nothing
links them, and no table that is released or estimated reads them; the flow counts the pupils.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook, Dataset
from rcs_assets.errors import InputError
from rcs_assets.intake import removals, schools, vault
from rcs_assets.intake.contracts import quarantine, quarantine_duplicates
from rcs_assets.intake.desk import Desk, held_delivery
from rcs_assets.intake.drop import Delivery
from rcs_assets.intake.pupils import quarantine_rows, withdraw
from rcs_assets.intake.receipts import count_receipt, is_taken, quarantined_rows
from rcs_assets.intake.splitter import Taken, mint_record_ids
from rcs_assets.programme.datafile import DataFolder, read_rows
from rcs_assets.storage import sql_list

FILE = "adapted_survey.csv"
OPT_INS, SURVEY = "adapted_opt_ins", "adapted_survey"
NO_OPT_IN, NOT_DECLARED = "no_opt_in", "item_not_in_adapted_survey"
NOT_AGREED, NOT_A_VALUE = "school_not_in_adapted_mode", "value_outside_codebook"
OF_THE_SURVEY, OF_THE_ADAPTED_MODE = "pupil_of_the_survey", "pupil_of_the_adapted_mode"
_DEFAULTS = Path(__file__).parent / "data"


@dataclass(frozen=True)
class AdaptedSurvey:
    """One engagement's: the version's name, and item → codes that it may have."""

    questionnaire: str
    items: Mapping[str, frozenset[int]]


def load_adapted_survey(
    engagement: str, codebook: Codebook, overlay: Path | None = None
) -> AdaptedSurvey | None:
    """What an engagement declares; None where it declares nothing.

    Raises:
        ConfigurationError: an item that the codebook does not have, two versions, no source.
    """
    columns = ("engagement", "questionnaire", "item", "source")
    folder = DataFolder("intake", _DEFAULTS, overlay)
    rows = [
        row
        for row in read_rows(folder, FILE, columns, ("engagement", "item"))
        if row.text("engagement") == engagement
    ]
    items = {}
    for row in rows:
        row.required("source")
        if row.required("questionnaire") != rows[0].text("questionnaire"):
            raise row.problem(
                "questionnaire", "an engagement has one adapted questionnaire", "name one version"
            )
        variable = codebook.variables.get(row.required("item"))
        if variable is None:
            raise row.problem(
                "item", "the codebook has no such item", "add it to variables.csv, or correct it"
            )
        values = codebook.value_sets[variable.value_set].values
        items[variable.name] = frozenset({*values, *codebook.missing})
    return AdaptedSurvey(rows[0].text("questionnaire"), items) if rows else None


def take_opt_ins(
    con: duckdb.DuckDBPyConnection, desk: Desk, dataset: Dataset, delivery: Delivery
) -> Taken:
    """Who opted in, from the opened file: pupils of schools that agreed, less who opted out.

    Args:
        con: scratch connection with `checked`.
        desk: the installation.
        dataset, delivery: the list of opt-ins.
    """
    engagement = delivery.engagement or ""
    keys = con.execute(
        "select row_number, survey_uid as uid, survey_uid as asked_key from checked"
    ).to_arrow_table()
    withdraw(con, vault.ask_opted_out(desk.vault, desk.home, engagement, keys, vault.ANSWERS))
    con.register("places", schools.known_schools(desk.warehouse, engagement, None).places)
    agreed = sql_list(schools.adapted_schools(engagement, desk.home.config))
    of_another_kind = "seed_code in (select seed_code from places where not is_special)"
    # Where no school agreed, nothing is in the list, not even unknown.
    is_agreed = f"coalesce(seed_code in ({agreed}), false)"
    quarantine(con, f"not {is_agreed} or {of_another_kind}", "seed_code", NOT_AGREED)
    con.unregister("places")
    invited = _known(con, desk, engagement, "survey_uid", "sample_identifiers")
    quarantine_rows(con, invited, "survey_uid", OF_THE_SURVEY)
    names = [field.name for field in dataset.fields]
    quarantine_duplicates(con, dataset.key, names, "duplicate_uid")
    rows = con.execute(
        "select ? as engagement, survey_uid as uid, seed_code, agreed_on, agreed_by "
        "from accepted order by all",
        [engagement],
    ).to_arrow_table()
    return Taken(
        count_receipt(con, delivery, {}), quarantined_rows(con, delivery), vault={OPT_INS: rows}
    )


def quarantine_opted_in(
    con: duckdb.DuckDBPyConnection, desk: Desk, engagement: str, file: str
) -> None:
    """Set answers to the survey of other schools aside, of pupils who opted in to this one.

    Args:
        con: scratch connection with `checked`, whose pupils stand in `uid`.
        desk: the installation.
        engagement: partition key.
        file: of the survey.

    Raises:
        InputError: a list of opt-ins was delivered and is not taken in.
    """
    delivery = held_delivery(desk, OPT_INS, engagement)
    if delivery is not None and not is_taken(desk.home, delivery):
        raise InputError(
            "Who opted in to the adapted mode is not known",
            where=f"{engagement}, file {file}",
            why=f"the list {delivery.file} was rejected or not taken in yet, and answers of pupils "
            "on it must not be among those of other schools",
            fix=f"deliver a corrected {delivery.file}, then run: rcs materialise",
        )
    opted_in = _known(con, desk, engagement, "uid", OPT_INS)
    quarantine_rows(con, opted_in, "uid", OF_THE_ADAPTED_MODE)


def _known(
    con: duckdb.DuckDBPyConnection, desk: Desk, engagement: str, column: str, table: str
) -> list[int]:
    """Rows of `checked` whose pupil stands in a table of the vault."""
    keys = con.execute(
        f"select row_number, {column} as asked_key from checked where {column} is not null"
    ).to_arrow_table()
    unknown = vault.ask_unknown(desk.vault, engagement, table, "uid", keys)
    return sorted(set(keys["row_number"].to_pylist()) - set(unknown))


def require_opt_ins(desk: Desk, engagement: str, file: str) -> AdaptedSurvey:
    """What may be taken in: the questionnaire is declared, the list of opt-ins is in the vault.

    Raises:
        InputError: one of them is missing.
    """
    declared = load_adapted_survey(engagement, desk.codebook, desk.home.config)
    if declared is None:
        raise InputError(
            "No adapted questionnaire is declared",
            where=f"{engagement}, file {file}",
            why="no source shows its questions, so which were asked is not guessed",
            fix=f"add its items to config/{FILE}: engagement,questionnaire,item,source",
        )
    delivery = held_delivery(desk, OPT_INS, engagement)
    if delivery is None or not is_taken(desk.home, delivery):
        raise InputError(
            "The list of opt-ins is missing",
            where=f"{engagement}, file {file}",
            why="in the adapted mode nobody takes part who has not opted in",
            fix="deliver the list of opt-ins, then run: rcs materialise",
        )
    return declared


def take_answers(
    con: duckdb.DuckDBPyConnection,
    desk: Desk,
    dataset: Dataset,
    delivery: Delivery,
    declared: AdaptedSurvey,
) -> Taken:
    """Answers of pupils who opted in, to declared items, from the opened file.

    Args:
        con: scratch connection with `checked`.
        desk: the installation; the opt-ins of the engagement are in the vault.
        dataset, delivery: the answers.
        declared: from `require_opt_ins`.
    """
    engagement = delivery.engagement or ""
    keys = con.execute(
        "select row_number, survey_uid as uid, survey_uid as asked_key from checked"
    ).to_arrow_table()
    gone = vault.ask_opted_out(desk.vault, desk.home, engagement, keys, vault.ANSWERS)
    withdraw(con, gone)
    strangers = vault.ask_unknown(desk.vault, engagement, OPT_INS, "uid", keys)
    quarantine_rows(con, strangers, "survey_uid", NO_OPT_IN)
    pairs = [(item, code) for item, codes in declared.items.items() for code in sorted(codes)]
    con.register(
        "declared",
        pa.table({"item": [item for item, _ in pairs], "answer": [code for _, code in pairs]}),
    )
    quarantine(con, "item not in (select item from declared)", "item", NOT_DECLARED)
    con.execute("create temp table version as select ? as name", [declared.questionnaire])
    quarantine(con, "questionnaire <> (select name from version)", "questionnaire", NOT_DECLARED)
    con.execute("drop table version")
    quarantine(
        con, "(item, answer) not in (select (item, answer) from declared)", "answer", NOT_A_VALUE
    )
    con.unregister("declared")
    names = [field.name for field in dataset.fields]
    quarantine_duplicates(con, dataset.key, names, "duplicate_answer")
    record_id = mint_record_ids(con, desk.home, f"adapted|{engagement}", "survey_uid")
    rows = con.execute(
        f"select {record_id} as record_id, ? as engagement, questionnaire, item, answer "
        "from accepted order by all",
        [engagement],
    ).to_arrow_table()
    identifiers = con.execute(
        f"select distinct ? as engagement, {record_id} as record_id, survey_uid as uid "
        "from accepted order by all",
        [engagement],
    ).to_arrow_table()
    return Taken(
        count_receipt(con, delivery, {"pupils": identifiers.num_rows}),
        quarantined_rows(con, delivery),
        vault={"adapted_identifiers": identifiers},
        warehouse={SURVEY: rows, **removals.pupils_of_answers(con, delivery, gone)},
    )
