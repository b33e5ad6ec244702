"""From delivered rows to linked children: the counts of a flow diagram.

Belongs here: `linkage.link_flow`, counted from receipts, project ids and `linkage.linked`. Does
not belong here: drawing it (`reporting`), rates (`by_group.py`), anything that is released.

Source: RECORD 6.3 and 13.1 (linkage and selection as a flow), GUILD (numbers at each step).
"""

from __future__ import annotations

import duckdb

from rcs_assets.linkage.received import PASS_READ_THROUGH
from rcs_assets.linkage.settings import LinkRules
from rcs_assets.storage import sql_literal

TABLE = "linkage.link_flow"
# Name of the delivery → name of its records in linkage.
DELIVERIES = {
    "sample_file": "sample",
    "primary_survey": "primary_survey",
    "secondary_survey": "secondary_survey",
    "education_payload": "education",
    "social_work_payload": "social_work",
}


def write_flow(con: duckdb.DuckDBPyConnection, rules: LinkRules) -> int:
    """Make linkage.link_flow anew.

    One row an engagement, dataset and step: engagement, dataset, step_no (order), step, n.
    Steps of a delivery: received, quarantined, withdrawn, accepted, linked by each pass, linked,
    waits for a clerk, not linked. The dataset `pupils` counts children: invited, who answered,
    and of these who has a linked record of which council's file.

    Args:
        con: a writing connection to the warehouse, where intake, linkage and the dbt build
            are current.
        rules: the names of the passes.

    Returns:
        Number of rows written.
    """
    datasets = ", ".join(
        f"({sql_literal(file)}, {sql_literal(name)})" for file, name in DELIVERIES.items()
    )
    con.execute(f"""
        create or replace table {TABLE} as
        with delivered as (
            unpivot (
                select
                    engagement, names.dataset,
                    sum(received_n) as received, sum(quarantined_n) as quarantined,
                    sum(withdrawn_n) as withdrawn, sum(accepted_n) as accepted
                from intake.receipts as receipts
                inner join (values {datasets}) as names (file, dataset)
                    on receipts.dataset = names.file
                where status = 'accepted' and engagement is not null
                group by all
            )
            on received, quarantined, withdrawn, accepted
            into name step value n
        ),
        passes as (
            select
                engagement, dataset, pass_no,
                'linked: ' || {_pass_name(rules)} as step,
                count(*) as n
            from linkage.project_ids
            where dataset <> 'sample'
            group by all
        ),
        outcomes as (
            unpivot (
                select
                    engagement, dataset, linked_n as linked,
                    coalesce(clerical_n, 0) as "waits for a clerk",
                    records_n - linked_n - coalesce(clerical_n, 0) as "not linked"
                from linkage.link_rates
            )
            on linked, "waits for a clerk", "not linked"
            into name step value n
        ),
        pupils as (
            unpivot (
                select
                    engagement,
                    any_value(invited_n) as invited,
                    count(distinct project_id) as answered,
                    count(distinct project_id) filter (has_education)
                        as "answered, education record",
                    count(distinct project_id) filter (social_work_pass is not null)
                        as "answered, social work record",
                    count(distinct project_id) filter (
                        has_education and social_work_pass is not null
                    ) as "answered, both records"
                from linkage.linked
                inner join (
                    select engagement, count(*) as invited_n from intake.sample group by all
                ) using (engagement)
                group by all
            )
            on invited, answered, "answered, education record", "answered, social work record",
                "answered, both records"
            into name step value n
        ),
        steps as (
            select
                engagement, dataset, step, n,
                list_position(['received', 'quarantined', 'withdrawn', 'accepted'], step) as step_no
            from delivered
            union all by name
            select engagement, dataset, step, n, 10 + pass_no as step_no from passes
            union all by name
            select
                engagement, dataset, step, n,
                50 + list_position(['linked', 'waits for a clerk', 'not linked'], step) as step_no
            from outcomes
            union all by name
            select
                engagement, 'pupils' as dataset, step, n,
                60 + list_position(
                    [
                        'invited', 'answered', 'answered, education record',
                        'answered, social work record', 'answered, both records'
                    ],
                    step
                ) as step_no
            from pupils
        )
        select engagement, dataset, step_no::integer as step_no, step, n::integer as n
        from steps
        order by engagement, dataset, step_no
    """)
    return int(con.execute(f"select count(*) from {TABLE}").fetchall()[0][0])


def _pass_name(rules: LinkRules) -> str:
    names = {entry.pass_no: entry.name.replace("_", " ") for entry in rules.passes}
    names |= {
        rules.model_pass: "model",
        rules.clerical.pass_no: "decided by clerks",
        rules.remainder.pass_no: "model, among those left over",
        PASS_READ_THROUGH: "read-through of an outside indexer",
    }
    cases = " ".join(f"when {number} then {sql_literal(name)}" for number, name in names.items())
    return f"case pass_no {cases} end"
