"""Splits one supplier's file: identifiers for the vault, payload for the warehouse.

Belongs here: minting record ids, choosing columns by the contract's sensitivity, and
storing both parts. Does not belong here: which rows are accepted (`contracts.py`,
`survey.py`, `pupils.py`). This is the only place where identifiers and payload of one
file stand on one connection (design.md, Zones); what leaves it is one or the other.

Each zone is written in one transaction, vault first, then warehouse with the receipt:
a kill in between leaves a receipt that is not there yet, so the next run does both again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook, Dataset, Questionnaire, Sensitivity
from rcs_assets.intake import vault
from rcs_assets.intake.contracts import KINDS, is_flag
from rcs_assets.intake.readers import quoted
from rcs_assets.intake.receipts import Receipt, prepare_tables, replace_receipt
from rcs_assets.intake.removals import COUNTS_COLUMNS, REMOVALS_COLUMNS
from rcs_assets.intake.survey import NOT_COLLECTED
from rcs_assets.storage import Home, hmac_expression, sql_literal

RECORD_ID_HEX = 16
# Engagement files without a row a child, so without record ids.
PARTNERSHIP = ("clusters", "service_map", "budgets", "uid_decisions")
# The names that identifiers have in the vault, where they differ from the contract's.
_VAULT_NAMES = {"survey_uid": "uid", "record_id": "supplier_id"}


# Tables that several datasets fill, each its own rows.
_BY_DATASET = {"removals": REMOVALS_COLUMNS, "survey_counts": COUNTS_COLUMNS}


@dataclass(frozen=True)
class Targets:
    """The tables that one dataset fills."""

    vault: tuple[str, ...] = ()
    warehouse: tuple[str, ...] = ()


TARGETS: Mapping[str, Targets] = {
    "opt_outs": Targets(vault=("opt_outs",)),
    "uid_decisions": Targets(warehouse=("uid_decisions",)),
    "sample_file": Targets(
        vault=("sample_identifiers",), warehouse=("sample", "roll_counts", "removals")
    ),
    "primary_survey": Targets(
        vault=("survey_identifiers",), warehouse=("primary_survey", "removals", "survey_counts")
    ),
    "secondary_survey": Targets(
        vault=("survey_identifiers",), warehouse=("secondary_survey", "removals", "survey_counts")
    ),
    "parent_survey": Targets(warehouse=("parent_survey",)),
    "adapted_opt_ins": Targets(vault=("adapted_opt_ins",)),
    "adapted_survey": Targets(
        vault=("adapted_identifiers",), warehouse=("adapted_survey", "removals", "survey_counts")
    ),
    "education_ids": Targets(vault=("education_identifiers",)),
    "education_payload": Targets(warehouse=("education",)),
    "attendance": Targets(warehouse=("attendance",)),
    "exclusions": Targets(warehouse=("exclusions",)),
    "cfe_levels": Targets(warehouse=("cfe_levels",)),
    "social_work_ids": Targets(vault=("social_work_identifiers",)),
    "social_work_payload": Targets(warehouse=("social_work",)),
    "index_return_survey": Targets(vault=("index_return_survey",)),
    "index_return_edu": Targets(vault=("index_return_edu",)),
    "index_return_sw": Targets(vault=("index_return_sw",)),
    "read_through": Targets(vault=("read_through_received",)),
    "child_protection": Targets(warehouse=("child_protection",)),
    "looked_after": Targets(warehouse=("looked_after",)),
    "clusters": Targets(warehouse=("clusters",)),
    "budgets": Targets(warehouse=("budgets",)),
    "service_map": Targets(warehouse=("service_map",)),
    "school_roll": Targets(warehouse=("school_roll",)),
    "school_list": Targets(warehouse=("school_list",)),
    "simd": Targets(warehouse=("simd",)),
    "datazones": Targets(warehouse=("datazones",)),
    "school_roll_2022": Targets(warehouse=("school_roll_2022",)),
    "school_changes": Targets(warehouse=("school_changes",)),
    "school_names": Targets(warehouse=("school_names",)),
    "simd_2020v2": Targets(warehouse=("simd_2020v2",)),
    "council_codes": Targets(warehouse=("council_codes",)),
    "population": Targets(warehouse=("population",)),
    "salsus": Targets(warehouse=("salsus",)),
}


@dataclass(frozen=True)
class Taken:
    """One delivery, taken in: rows by target table, receipt, places of quarantined rows.

    `opted_out_pupils` (sample file only) is uid and scn of pupils who opted out;
    `record_ids` and `withdrawn_ids` (identifiers of an extract) say whose payload may follow;
    `index_numbers` (record_id, index_no) are those that an outside indexer gave its records.
    """

    receipt: Receipt
    quarantine: pa.Table | None = None
    vault: Mapping[str, pa.Table] = field(default_factory=dict)
    warehouse: Mapping[str, pa.Table] = field(default_factory=dict)
    opted_out_pupils: pa.Table | None = None
    record_ids: pa.Table | None = None
    withdrawn_ids: pa.Table | None = None
    index_numbers: pa.Table | None = None


def mint_record_ids(con: duckdb.DuckDBPyConnection, home: Home, scope: str, key: str) -> str:
    """An SQL expression for the record id of a row.

    Args:
        con: the scratch connection.
        home: its key `record_id`.
        scope: dataset and engagement, so that no two files share a record id.
        key: the field that holds the supplier's own id or the UID.

    Returns:
        'r' and the first 16 hexadecimal digits of HMAC(key, scope|id).
    """
    macro = hmac_expression(con, "record_id", home.key("record_id"))
    prefix = sql_literal(f"{scope}|")
    return f"'r' || substr({macro}({prefix} || {quoted(key)}), 1, {RECORD_ID_HEX})"


def identifiers(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, engagement: str, record_id: str
) -> pa.Table:
    """The identifiers of the accepted rows: for the vault, never beside payload."""
    columns = _columns(dataset, (Sensitivity.IDENTIFIER, Sensitivity.BOTH), _VAULT_NAMES)
    return con.execute(
        f"select {sql_literal(engagement)} as engagement, {record_id} as record_id, {columns} "
        "from accepted order by 2"
    ).to_arrow_table()


def payload(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, engagement: str, record_id: str
) -> pa.Table:
    """The payload of the accepted rows: for the warehouse, no identifier in it."""
    columns = _columns(dataset, (Sensitivity.PAYLOAD, Sensitivity.BOTH), {})
    return con.execute(
        f"select {record_id} as record_id, {sql_literal(engagement)} as engagement, {columns} "
        f"from accepted order by 1{_within(dataset)}"
    ).to_arrow_table()


def _within(dataset: Dataset) -> str:
    """The rest of the key: a pupil may have several rows."""
    return "".join(f", {quoted(name)}" for name in dataset.key[1:])


def survey_identifiers(
    con: duckdb.DuckDBPyConnection, questionnaire: Questionnaire, engagement: str, record_id: str
) -> pa.Table:
    """The UIDs of the accepted answers: for the vault."""
    return con.execute(
        f"select {sql_literal(engagement)} as engagement, "
        f"{sql_literal(questionnaire.survey)} as survey, {record_id} as record_id, uid "
        "from routed order by 3"
    ).to_arrow_table()


def survey_payload(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    questionnaire: Questionnaire,
    engagement: str,
    record_id: str,
) -> pa.Table:
    """The accepted answers in codebook order; -4 where the questionnaire had no such question.

    `form` is null where the questionnaire has one form only.
    """
    asked = {variable.variable for variable in questionnaire.variables}
    answers = ", ".join(
        quoted(variable.name)
        if variable.name in asked
        else f"{NOT_COLLECTED}::tinyint as {quoted(variable.name)}"
        for variable in codebook.variables_of(questionnaire.survey)
    )
    return con.execute(
        f"select {record_id} as record_id, {sql_literal(engagement)} as engagement, "
        f"{sql_literal(questionnaire.name)} as questionnaire, form, completed_on, {answers} "
        "from routed order by 1"
    ).to_arrow_table()


def _columns(
    dataset: Dataset, sensitivities: Sequence[Sensitivity], names: Mapping[str, str]
) -> str:
    return ", ".join(
        f"{quoted(column.name)} as {quoted(names.get(column.name, column.name))}"
        for column in dataset.fields
        if column.sensitivity in sensitivities
    )


def store_identifiers(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    dataset: Dataset,
    engagement: str | None,
    taken: Taken | None,
) -> None:
    """Put the identifiers of a delivery in the place of those before, in one transaction.

    `taken` is None for a dataset that is neither there nor required.
    """
    targets = TARGETS[dataset.name].vault
    if not targets:
        return
    con.execute("begin")
    for table in targets:
        _replace(con, table, dataset, engagement, taken.vault if taken else {})
    if taken and taken.opted_out_pupils is not None and engagement:
        vault.mark_opted_out_scns(con, home, engagement, taken.opted_out_pupils)
    con.execute("commit")


def store_payload(
    con: duckdb.DuckDBPyConnection,
    codebook: Codebook,
    dataset: Dataset,
    engagement: str | None,
    taken: Taken | None,
) -> None:
    """Put payload, receipt and quarantine of a delivery in the place of those before.

    A rejected delivery has no rows: what an earlier delivery of this dataset had brought
    goes too, so that nothing stale is published as new. One transaction.
    """
    con.execute("begin")
    prepare_tables(con)
    for table in TARGETS[dataset.name].warehouse:
        _prepare(con, table, _warehouse_columns(codebook, dataset, table))
        rows = taken.warehouse if taken else {}
        _replace(con, f"intake.{table}", dataset, engagement, rows)
    if taken:
        replace_receipt(con, taken.receipt, taken.quarantine)
    con.execute("commit")


def prepare(con: duckdb.DuckDBPyConnection, codebook: Codebook, name: str) -> None:
    """Create the warehouse tables of a dataset that may not have been delivered yet."""
    for table in TARGETS[name].warehouse:
        _prepare(con, table, _warehouse_columns(codebook, codebook.datasets[name], table))


def _replace(
    con: duckdb.DuckDBPyConnection,
    table: str,
    dataset: Dataset,
    engagement: str | None,
    rows: Mapping[str, pa.Table],
) -> None:
    if engagement is None:
        con.execute(f"delete from {table}")
    elif table.removeprefix("intake.") in _BY_DATASET:
        con.execute(
            f"delete from {table} where engagement = ? and dataset = ?", [engagement, dataset.name]
        )
    elif table == "survey_identifiers":
        con.execute(
            f"delete from {table} where engagement = ? and survey = ?", [engagement, dataset.survey]
        )
    else:
        con.execute(f"delete from {table} where engagement = ?", [engagement])
    incoming = rows.get(table.removeprefix("intake."))
    if incoming is not None:
        con.register("incoming", incoming)
        con.execute(f"insert into {table} by name select * from incoming")
        con.unregister("incoming")


def _warehouse_columns(codebook: Codebook, dataset: Dataset, table: str) -> dict[str, str]:
    """Column → type of a warehouse table, from the contract or the codebook."""
    key = {"record_id": "varchar", "engagement": "varchar"}
    if table == "roll_counts":
        return {
            "engagement": "varchar",
            "seed_code": "varchar",
            "stage": "varchar",
            "sex": "varchar",
            "roll_n": "integer",
        }
    if table in _BY_DATASET:
        return _BY_DATASET[table]
    if dataset.survey:
        answers = {variable.name: "tinyint" for variable in codebook.variables_of(dataset.survey)}
        return {
            **key,
            "questionnaire": "varchar",
            "form": "varchar",
            "completed_on": "date",
            **answers,
        }
    kept = {
        column.name: "boolean" if is_flag(column) else KINDS[column.kind].sql_type
        for column in dataset.fields
        if column.sensitivity in (Sensitivity.PAYLOAD, Sensitivity.BOTH)
    }
    if dataset.name in PARTNERSHIP:
        return {"engagement": "varchar", **kept}
    if dataset.level == "engagement":
        return {**key, **kept}
    return {**kept, **REFERENCE_ADDED.get(dataset.name, {})}


# Columns of reference tables that are made from what was delivered (`reference.py`).
REFERENCE_ADDED = {
    "school_list": {"postcode_district": "varchar"},
    "simd": {"vintage": "varchar"},
    "simd_2020v2": {"vintage": "varchar"},
}


def _prepare(con: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
    """Create a table, or bring one up to a codebook that has other variables now."""
    con.execute("create schema if not exists intake")
    known = [
        row[0]
        for row in con.execute(
            "select column_name from information_schema.columns "
            "where table_schema = 'intake' and table_name = ? order by ordinal_position",
            [table],
        ).fetchall()
    ]
    if known == list(columns):
        return
    types = ", ".join(f"{quoted(name)} {sql_type}" for name, sql_type in columns.items())
    if not known:
        con.execute(f"create table intake.{table} ({types})")
        return
    kept = ", ".join(quoted(name) for name in columns if name in known)
    con.execute(f"create temp table before as select {kept} from intake.{table}")
    con.execute(f"create or replace table intake.{table} ({types})")
    con.execute(f"insert into intake.{table} by name select * from before")
    con.execute("drop table before")
    for name, sql_type in columns.items():
        if name not in known and sql_type == "tinyint":
            con.execute(f"update intake.{table} set {quoted(name)} = {NOT_COLLECTED}")
