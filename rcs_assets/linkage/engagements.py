"""One run of linkage: from the vault's identifiers to what may leave it.

Belongs here: the order of the steps, index numbers, the read-through, and the write to the
warehouse. Does not belong here: how a file is linked (`exact.py`, `social_work.py`, `encoded.py`,
or by an outside indexer's read-through, `received.py`), payload (no statement here names an
answer), Dagster.

Identifiers never leave the vault's connection and the engine's own: what comes back is
record ids, project ids and counts, and vault and warehouse are never attached to one
connection.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.intake.vault import prepare_vault
from rcs_assets.linkage.clerical import (
    ClericalInput,
    gone_cases,
    judge_decisions,
    not_applied,
    prepare_clerical,
    write_queue,
)
from rcs_assets.linkage.encoded import encoded_engagements, link_encoded
from rcs_assets.linkage.exact import (
    PASS_SPINE,
    SURVEY_DATASETS,
    education_query,
    spine_query,
    survey_query,
)
from rcs_assets.linkage.missed import (
    Quality,
    estimate_answers,
    estimate_education,
    prepare_chances,
    quality_table,
)
from rcs_assets.linkage.model import model_id
from rcs_assets.linkage.received import link_received, received_engagements, received_numbers
from rcs_assets.linkage.settings import LinkRules, LinkSettings, load_link_rules
from rcs_assets.linkage.social_work import link_social_work
from rcs_assets.storage import Home, hmac_expression, sql_list, sql_literal

COUNCIL_DATASETS = ("education", "social_work")
DATASETS = ("sample", *SURVEY_DATASETS, *COUNCIL_DATASETS)
# How the links of a dataset are named in the read-through's column match_method.
_METHODS = {
    "primary_survey": "uid",
    "secondary_survey": "uid",
    "education": "scn",
    "social_work": "social_work",
}
_READ_THROUGH = (
    "engagement",
    "index_survey",
    "index_education",
    "index_social_work",
    "project_id",
    "match_method",
    "weight_band",
)
_TABLES = {
    "project_ids": {
        "dataset": "varchar not null",
        "engagement": "varchar not null",
        "record_id": "varchar not null",
        "project_id": "varchar not null",
        "pass_no": "tinyint not null",
        "weight": "double",
        "probability": "double",
        "weight_band": "varchar not null",
    },
    "link_rates": {
        "engagement": "varchar not null",
        "dataset": "varchar not null",
        "records_n": "integer not null",
        "linked_n": "integer not null",
        "ambiguous_n": "integer not null",
        "clerical_n": "integer",
        "exact_n": "integer",
        "decided_n": "integer",
        "probabilistic_n": "integer",
        "estimated_precision": "double",
        "precision_low": "double",
        "precision_high": "double",
        "estimated_recall": "double",
        "recall_low": "double",
        "recall_high": "double",
        "missed_n": "double",
        "missed_low": "double",
        "missed_high": "double",
        "model_id": "varchar",
        "is_encoded": "boolean",
    },
}


@dataclass(frozen=True)
class LinkKeys:
    """Keys of the pseudonyms: one for project ids, one for each dataset's index numbers."""

    project: bytes
    index: dict[str, bytes]


@dataclass(frozen=True)
class LinkedRows:
    """What leaves the vault, as pyarrow tables without any identifier.

    `project_ids`: dataset, engagement, record_id, project_id, pass_no, weight (log2 of the
    odds), probability (both null in exact passes), weight_band (exact | decided | auto); linked
    records only. `link_rates`: engagement, dataset, records_n, linked_n, ambiguous_n, clerical_n,
    exact_n, decided_n, probabilistic_n, estimated_precision and estimated_recall with their ends,
    and missed_n, the expected number of missed pairs (null where an outside indexer linked);
    model_id, the model that the councils' files were compared with, where one was handed over;
    is_encoded, whether encodings stood in the place of identifiers.
    `identified_groups`: counts by what only the vault knows: engagement, dataset, breakdown
    (sex | has_scn), "group", records_n, linked_n, wrong (expected among the links), missed.
    `chances`: dataset, engagement, side (record | pupil), record_id, chance to have been
    missed. They are added up by group in the warehouse and kept nowhere: `project_ids` stays
    the one table with a row a record that leaves the vault. `forgotten`: engagement and case of
    decisions whose child is no longer there. `not_applied`: engagement, why and number of the
    decisions that hold no longer.
    """

    project_ids: Any
    link_rates: Any
    identified_groups: Any
    chances: Any
    forgotten: Sequence[tuple[str, str]] = ()
    not_applied: Sequence[tuple[str, str, int]] = ()


def link_keys(home: Home) -> LinkKeys:
    """The linkage keys of an installation."""
    return LinkKeys(
        project=home.key("project_id"),
        index={dataset: home.key(f"index_{dataset}") for dataset in DATASETS},
    )


def accepted_records(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Dataset and record id of the councils' records in the warehouse.

    Args:
        con: a connection to the warehouse; read only.
    """
    queries = " union all ".join(
        f"select '{dataset}' as dataset, record_id from intake.{dataset}"
        for dataset in COUNCIL_DATASETS
    )
    return con.execute(queries).to_arrow_table()


def link_engagements(
    con: duckdb.DuckDBPyConnection,
    keys: LinkKeys,
    engagements: Sequence[str],
    settings: LinkSettings | None = None,
    accepted: pa.Table | None = None,
    clerical: ClericalInput | None = None,
) -> LinkedRows:
    """Link the given engagements and write index numbers and read-through to the vault.

    Args:
        con: a writing connection to the vault and to nothing else.
        keys: keys of the pseudonyms.
        engagements: partition keys; rows of other engagements are neither read nor changed.
        settings: of the engine; by default the shipped model, so that an engagement's links
            depend on its own files alone.
        accepted: dataset (education | social_work) and record_id of the councils' records
            whose payload intake accepted; others are not linked, nor counted. None: all.
        clerical: what clerks decided; None: nothing, and no queue is written.

    Returns:
        What may leave the vault.

    Ambiguous records, that is, an UID or SCN that stands more than once on either side, are
    not linked by that number, and counted in `ambiguous_n`.
    """
    hmac_expression(con, "project", keys.project)
    for dataset, key in keys.index.items():
        hmac_expression(con, f"index_{dataset}", key)
    chosen = sql_list(engagements)
    prepare_vault(con)
    prepare_clerical(con)
    con.execute("begin")
    _choose_records(con, accepted)
    received = received_engagements(con, engagements)
    own = [key for key in engagements if key not in received]
    encoded = encoded_engagements(con, own)
    identified = [key for key in own if key not in encoded]
    for statement in (
        spine_query(chosen),
        survey_query(chosen),
        education_query(sql_list(identified)),
    ):
        con.execute(statement)
    link_received(con, sql_list(received))
    chosen_settings = settings or LinkSettings(training="fixed")
    rules = load_link_rules(chosen_settings.overlay)
    given = clerical or ClericalInput.empty()
    judge_decisions(con, given, chosen)
    prepare_chances(con)
    quality = {
        **link_social_work(con, chosen_settings, identified),
        **estimate_education(con, rules, chosen_settings, identified),
        **link_encoded(con, chosen_settings, encoded),
        **estimate_answers(con, rules, own),
    }
    con.execute(_links())
    _write_vault(con, chosen)
    if clerical is not None:
        write_queue(con, clerical, rules.clerical, chosen, sql_list(identified))
    con.execute("commit")
    return LinkedRows(
        project_ids=con.execute(
            "select dataset, engagement, record_id, project_id, pass_no, weight, probability, "
            "band as weight_band from links where project_id is not null "
            "order by dataset, engagement, record_id"
        ).to_arrow_table(),
        link_rates=_rates(con, quality, chosen_settings, sql_list(encoded)),
        identified_groups=con.execute(
            _identified_groups(chosen, wrong_share(rules))
        ).to_arrow_table(),
        chances=con.execute(
            "select * from missed_chances where chance > 0 order by all"
        ).to_arrow_table(),
        forgotten=gone_cases(con),
        not_applied=not_applied(con, chosen),
    )


def wrong_share(rules: LinkRules) -> str:
    """SQL: the chance that a link is wrong, by its pass and probability; null from outside."""
    passes = " ".join(
        f"when pass_no = {pass_no} then {round(1 - precision, 9)!r}"
        for pass_no, precision in rules.precision.items()
    )
    return f"case when probability is not null then 1 - probability {passes} end"


def write_linkage(
    con: duckdb.DuckDBPyConnection, rows: LinkedRows, engagements: Sequence[str]
) -> None:
    """Replace the given engagements in linkage.project_ids and linkage.link_rates.

    Args:
        con: a writing connection to the warehouse and to nothing else.
        rows: what `link_engagements` returned for these engagements.
        engagements: partition keys.
    """
    con.execute("create schema if not exists linkage")
    for table, columns in _TABLES.items():
        definition = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        con.execute(f"create table if not exists linkage.{table} ({definition})")
        add_columns(con, f"linkage.{table}", columns)
    con.execute("begin")
    for table, frame in (("project_ids", rows.project_ids), ("link_rates", rows.link_rates)):
        replace_engagements(con, table, frame, engagements)
    con.execute("commit")


def add_columns(con: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
    """Columns that a table of an older installation lacks; their values come with a rerun."""
    for name, kind in columns.items():
        con.execute(f"alter table {table} add column if not exists {name} {kind.split()[0]}")


def replace_engagements(
    con: duckdb.DuckDBPyConnection, table: str, frame: Any, engagements: Sequence[str]
) -> None:
    """Replace the rows of the given engagements in `linkage.<table>` by a pyarrow table."""
    con.execute(f"delete from linkage.{table} where engagement in ({sql_list(engagements)})")
    con.register("linked_rows", frame)
    con.execute(f"insert into linkage.{table} by name select * from linked_rows")
    con.unregister("linked_rows")


def _choose_records(con: duckdb.DuckDBPyConnection, accepted: pa.Table | None) -> None:
    """Views `education_records` and `social_work_records`: identifiers that have a payload.

    A record whose payload is in quarantine would use up its pupil for nothing.
    """
    if accepted is not None:
        con.register("accepted_rows", accepted)
        con.execute("create or replace temp table accepted as from accepted_rows")
        con.unregister("accepted_rows")
    for dataset in COUNCIL_DATASETS:
        kept = f"where record_id in (select record_id from accepted where dataset = '{dataset}')"
        con.execute(
            f"create or replace temp view {dataset}_records as "
            f"from {dataset}_identifiers {kept if accepted is not None else ''}"
        )


def _rates(
    con: duckdb.DuckDBPyConnection, quality: Quality, settings: LinkSettings, encoded: str
) -> pa.Table:
    estimates = quality_table(quality)
    name = "null" if settings.model is None else sql_literal(model_id(settings.model))
    con.register("estimates", estimates)
    rates = con.execute(f"""
        with counted as (
            select
                engagement,
                dataset,
                count(*)::integer as records_n,
                count(project_id)::integer as linked_n,
                count_if(is_ambiguous)::integer as ambiguous_n,
                count_if(band = 'clerical')::integer as clerical_n,
                count_if(project_id is not null and band = 'exact')::integer as exact_n,
                count_if(project_id is not null and band = 'decided')::integer as decided_n,
                count_if(project_id is not null and band = 'auto')::integer as probabilistic_n
            from links
            where dataset <> 'sample'
            group by all
        )
        select
            counted.*,
            estimates.* exclude (dataset, engagement),
            if(dataset in {COUNCIL_DATASETS} and missed_n is not null, {name}, null)::varchar
                as model_id,
            coalesce(
                counted.dataset in {COUNCIL_DATASETS} and counted.engagement in ({encoded}), false
            ) as is_encoded
        from counted
        left join estimates using (dataset, engagement)
        order by counted.engagement, counted.dataset
    """).to_arrow_table()
    con.unregister("estimates")
    return rates


def _links() -> str:
    exact = "null::double as weight, null::double as probability, 'exact' as band"
    return f"""
    create or replace temp table links as
    select
        'sample' as dataset, engagement, record_id, project_id,
        {PASS_SPINE} as pass_no, false as is_ambiguous, {exact}
    from spine
    union all by name
    select dataset, engagement, record_id, project_id, pass_no, is_ambiguous, {exact}
    from survey_links
    union all by name
    select dataset, engagement, record_id, project_id, pass_no, is_ambiguous, {exact}
    from education_links
    union all by name
    from social_work_links
    union all by name
    from encoded_links
    union all by name
    from received_links
    """


def _identified_groups(chosen: str, wrong: str) -> str:
    """Counts by sex and by whether an SCN stands on the record, of the councils' records."""
    records = " union all ".join(
        f"select '{dataset}' as dataset, engagement, record_id, "
        "coalesce(sex, 'not known') as sex, if(scn is null, 'N', 'Y') as has_scn "
        f"from {dataset}_records where engagement in ({chosen})"
        for dataset in COUNCIL_DATASETS
    )
    return f"""
        select
            engagement, dataset, breakdown, "group",
            count(*)::integer as records_n,
            count(project_id)::integer as linked_n,
            sum(({wrong})::decimal(18, 9)) filter (project_id is not null)::double as wrong,
            sum(chance::decimal(18, 9))::double as missed
        from (
            unpivot (
                select
                    records.*, links.project_id, links.pass_no, links.probability,
                    coalesce(missed_chances.chance, 0) as chance
                from ({records}) as records
                inner join links using (dataset, engagement, record_id)
                left join missed_chances
                    on
                        missed_chances.side = 'record'
                        and records.dataset = missed_chances.dataset
                        and records.engagement = missed_chances.engagement
                        and records.record_id = missed_chances.record_id
            )
            on sex, has_scn
            into name breakdown value "group"
        )
        group by all
        order by all
    """


def drop_links(con: duckdb.DuckDBPyConnection, engagements: Collection[str]) -> None:
    """Remove index numbers and read-through of engagements that are not linked (any more).

    Args:
        con: a writing connection to the vault.
        engagements: partition keys; those without rows are none the worse.
    """
    _prepare_links(con)
    for table in ("index_numbers", "read_through"):
        con.execute(f"delete from {table} where engagement in ({sql_list(sorted(engagements))})")


def _prepare_links(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table if not exists index_numbers "
        "(dataset varchar, engagement varchar, record_id varchar, index_no varchar)"
    )
    definition = ", ".join(f"{name} varchar" for name in _READ_THROUGH)
    con.execute(f"create table if not exists read_through ({definition})")
    add_columns(con, "read_through", dict.fromkeys(_READ_THROUGH, "varchar"))


def _write_vault(con: duckdb.DuckDBPyConnection, chosen: str) -> None:
    """Index numbers of every record, and the read-through of linked pupils (domain.md §3.4)."""
    _prepare_links(con)
    cases = " ".join(
        f"when {sql_literal(dataset)} then hmac_index_{dataset}(record_id)" for dataset in DATASETS
    )
    con.execute(f"delete from index_numbers where engagement in ({chosen})")
    con.execute(
        "insert into index_numbers select dataset, engagement, record_id, "
        f"coalesce(returned.index_no, case dataset {cases} end) from links "
        f"left join ({received_numbers()}) as returned using (dataset, engagement, record_id)"
    )
    con.execute(f"delete from read_through where engagement in ({chosen})")
    methods = " ".join(
        f"when {sql_literal(dataset)} then {sql_literal(name)}"
        for dataset, name in _METHODS.items()
    )
    con.execute(f"""
    insert into read_through by name
    with numbered as (
        select
            links.*,
            numbers.index_no,
            case links.dataset {methods} end as method
        from links
        inner join index_numbers as numbers
            on
                links.dataset = numbers.dataset
                and links.engagement = numbers.engagement
                and links.record_id = numbers.record_id
        where links.project_id is not null and links.dataset <> 'sample'
    )
    select
        engagement,
        max(index_no) filter (where dataset in {SURVEY_DATASETS}) as index_survey,
        max(index_no) filter (where dataset = 'education') as index_education,
        max(index_no) filter (where dataset = 'social_work') as index_social_work,
        project_id,
        string_agg(distinct method, '+' order by method desc) as match_method,
        case
            when bool_or(band = 'auto') then 'auto'
            when bool_or(band = 'decided') then 'decided'
            else 'exact'
        end as weight_band
    from numbered
    group by engagement, project_id
    """)
