"""What became of each record about a pupil: a removal is a row with its reason.

Belongs here: the state of every record of a sample file or pupils' survey (usable, or why not), the
tables `intake.removals` and `intake.survey_counts`, and the question whether a UID was issued to a
pupil of the survey's stages. Does not belong here: the rules that set a record aside
(`survey.py`, `pupils.py`, `schools.py`, `mixed.py`), files without a row a pupil.

Order and reasons: domain.md 1.11. Pupils' records are asked by the pseudonym that their UID has in
the sample file, so that no identifier meets another supplier's payload (design.md, Zones).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.intake.contracts import VIOLATIONS
from rcs_assets.intake.drop import Delivery
from rcs_assets.storage import sql_literal

USABLE, REFUSED, OPTED_OUT = "usable", "refused", "opted_out"
NO_STAGE_MATCH, FORM_NOT_OF_STAGE = "no_stage_match", "form_not_of_stage"
# Rule of intake → step of domain.md 1.11; a record that broke several is removed by the first.
STEPS = {
    "wrong_type": 4,
    "formula": 4,
    "too_long": 4,
    "value_not_allowed": 4,
    "value_outside_codebook": 4,
    "form_unknown": 4,
    "out_of_range": 4,
    "blank": 4,
    "school_name_unknown": 7,
    "school_name_ambiguous": 7,
    "school_name_of_other_school": 7,
    "school_not_on_roll": 7,
    "school_of_other_council": 7,
    "special_school_out_of_scope": 7,
    "special_school_adapted_mode": 7,
    "pupil_of_the_adapted_mode": 7,
    "school_not_in_adapted_mode": 7,
    "no_opt_in": 8,
    "item_not_in_adapted_survey": 4,
    "duplicate_answer": 11,
    "uids_of_similar_school": 7,
    REFUSED: 8,
    OPTED_OUT: 8,
    "no_answers": 9,
    NO_STAGE_MATCH: 11,
    FORM_NOT_OF_STAGE: 11,
    "out_of_scope_stage": 11,
    "stage_not_of_school": 11,
    "duplicate_uid": 11,
}
REMOVALS_COLUMNS = {
    "engagement": "varchar",
    "dataset": "varchar",
    "file_sha256": "varchar",
    "row_number": "bigint",
    "step": "integer",
    "reason": "varchar",
}
COUNTS_COLUMNS = {
    "engagement": "varchar",
    "dataset": "varchar",
    "seed_code": "varchar",
    "stage": "varchar",
    "sex": "varchar",
    "state": "varchar",
    "records_n": "integer",
    "pupils_n": "integer",
}


def sample_ids(con: duckdb.DuckDBPyConnection, record_id: str, only: str = "true") -> pa.Table:
    """row_number and the record id that each record's UID has in the sample file.

    Args:
        con: scratch connection with `accepted`.
        record_id: SQL expression (`splitter.mint_record_ids` for the sample file).
        only: SQL condition on `accepted`.
    """
    return con.execute(
        f"select row_number, {record_id} as record_id from accepted where {only}"
    ).to_arrow_table()


def ask_other_stage(
    warehouse: duckdb.DuckDBPyConnection, engagement: str, ids: pa.Table, stages: Sequence[str]
) -> list[int]:
    """Which records carry the UID of a pupil whose stage the survey does not ask.

    P5 and P6, S5 and S6 stand for each other (domain.md 1.11, step 11).

    Returns:
        Row numbers of `ids`.
    """
    alike = {"P5": "P6", "P6": "P5", "S5": "S6", "S6": "S5"}
    asked = sorted({*stages, *(alike[stage] for stage in stages if stage in alike)})
    warehouse.register("asked", ids)
    rows = warehouse.execute(
        "select row_number from asked join intake.sample using (record_id) "
        f"where engagement = ? and stage not in ({', '.join(map(sql_literal, asked))}) "
        "order by row_number",
        [engagement],
    ).fetchall()
    warehouse.unregister("asked")
    return [int(row[0]) for row in rows]


def settle_states(con: duckdb.DuckDBPyConnection, record_id: str, opted_out: Sequence[int]) -> None:
    """Make `states(row_number, record_id, state)` of every record on the scratch connection.

    Args:
        con: scratch connection with `checked`, `violations`, `withdrawn`.
        record_id: as in `sample_ids`.
        opted_out: row numbers of pupils who opted out; who else is withdrawn refused.
    """
    con.register("opted_out", pa.table({"row_number": pa.array(opted_out, pa.int64())}))
    order = ", ".join(f"({sql_literal(rule)}, {place})" for place, rule in enumerate(STEPS))
    con.execute(
        f"create table states as with ranked(rule, place) as (values {order}), "
        f"first as (select row_number, arg_min(rule, coalesce(place, {len(STEPS)})) as rule "
        f"from {VIOLATIONS} left join ranked using (rule) group by row_number) "
        f"select row_number, {record_id} as record_id, case "
        f"when row_number in (select row_number from opted_out) then '{OPTED_OUT}' "
        f"when row_number in (select row_number from withdrawn) then '{REFUSED}' "
        f"else coalesce(first.rule, '{USABLE}') end as state "
        "from checked left join first using (row_number)"
    )
    con.unregister("opted_out")


def removals(con: duckdb.DuckDBPyConnection, delivery: Delivery) -> pa.Table:
    """The rows of `intake.removals`: place and reason, no value.

    The place of a child who opted out is not kept: the row says that there was one.
    """
    steps = ", ".join(f"({sql_literal(rule)}, {step})" for rule, step in STEPS.items())
    return con.execute(
        f"with steps(reason, step) as (values {steps}) "
        "select ? as engagement, ? as dataset, ? as file_sha256, "
        f"case when state <> '{OPTED_OUT}' then row_number end as row_number, step, "
        "state as reason from states left join steps on steps.reason = states.state "
        f"where state <> '{USABLE}' order by step, reason, row_number",
        [delivery.engagement, delivery.dataset, delivery.sha256],
    ).to_arrow_table()


def state_counts(
    con: duckdb.DuckDBPyConnection, warehouse: duckdb.DuckDBPyConnection, delivery: Delivery
) -> pa.Table:
    """The rows of `intake.survey_counts`: records by state, and school, stage and sex if known.

    A UID that was issued to nobody has none of these. Pupils who opted out are in no school here:
    the sample no longer has them. `pupils_n` counts each pupil once, by the best of his records:
    usable, else refused, else what became of it.
    """
    states = con.execute("select record_id, state from states").to_arrow_table()
    warehouse.register("states", states)
    found = warehouse.execute(
        "select ? as engagement, ? as dataset, seed_code, stage, sex, state, "
        "count(*)::integer as records_n, count(*) filter (where place = 1)::integer as pupils_n "
        "from (select *, row_number() over (partition by record_id order by "
        f"state <> '{USABLE}', state <> '{REFUSED}', state) as place from states) left join ("
        "select record_id, seed_code, stage, sex from intake.sample where engagement = ?) "
        "using (record_id) group by all order by all",
        [delivery.engagement, delivery.dataset, delivery.engagement],
    ).to_arrow_table()
    warehouse.unregister("states")
    return found


def pupils_of_answers(
    con: duckdb.DuckDBPyConnection, delivery: Delivery, opted_out: Sequence[int]
) -> dict[str, pa.Table]:
    """Removals and counts of pupils in a file of one row an answer: each pupil is one record.

    Usable is who has an accepted answer; of another, the first row's state counts. They are in no
    school or stage here, so that they enter no response.

    Args:
        con: scratch connection with `checked`, `violations`, `withdrawn` and `accepted`.
        delivery: the file.
        opted_out: row numbers of pupils who opted out.
    """
    settle_states(con, "survey_uid", opted_out)
    con.execute(
        "create or replace table states as select min(row_number) as row_number, record_id, "
        f"if(bool_or(state = '{USABLE}'), '{USABLE}', arg_min(state, row_number)) as state "
        "from states group by record_id"
    )
    counts = con.execute(
        "select ? as engagement, ? as dataset, null::varchar as seed_code, "
        "null::varchar as stage, null::varchar as sex, state, count(*)::integer as records_n, "
        "count(*)::integer as pupils_n from states group by state order by state",
        [delivery.engagement, delivery.dataset],
    ).to_arrow_table()
    return {"removals": removals(con, delivery), "survey_counts": counts}
