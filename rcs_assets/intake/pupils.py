"""Rules of the files about pupils that need more than the file itself.

Belongs here: sample file (schools on the roll, stages in scope, the roll that weights
are raked to), education identifiers and payload, check digits. Does not belong here:
cells (`contracts.py`), answers (`survey.py`), storing (`splitter.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Dataset
from rcs_assets.intake import schools
from rcs_assets.intake.contracts import count, quarantine, quarantine_duplicates
from rcs_assets.intake.scn import scn_check_digit_holds
from rcs_assets.programme import Engagement
from rcs_assets.storage import sql_literal


def stages_in_scope(engagement: Engagement) -> tuple[str, ...]:
    """The stages that any survey of the engagement asks."""
    return tuple(dict.fromkeys(stage for wave in engagement.waves for stage in wave.stages))


def quarantine_unknown_schools(con: duckdb.DuckDBPyConnection, known: pa.Table) -> None:
    """Quarantine rows whose school is on neither roll nor list.

    Args:
        con: scratch connection with `checked`.
        known: seed_code and council_name of every school that is known.
    """
    con.register("schools", known)
    quarantine(
        con,
        "seed_code not in (select seed_code from schools)",
        "seed_code",
        "school_not_on_roll",
    )


def judge_schools(
    con: duckdb.DuckDBPyConnection, engagement: Engagement, known: schools.Schools
) -> dict[str, int]:
    """Find each pupil's school, and quarantine what is not a school of the survey here.

    Args:
        con: scratch connection with `checked`.
        engagement: its council and stages.
        known: every school with its names.

    Returns:
        Flags of what names gave.
    """
    council = engagement.cpp.council_name
    flags = schools.resolve_names(con, known, council)
    quarantine_unknown_schools(con, known.places.select(["seed_code", "council_name"]))
    quarantine(
        con,
        "seed_code in (select seed_code from schools group by seed_code "
        f"having bool_and(council_name <> {sql_literal(council)}))",
        "seed_code",
        "school_of_other_council",
    )
    schools.quarantine_special(con, known)
    stages = ", ".join(sql_literal(stage) for stage in stages_in_scope(engagement))
    quarantine(con, f"stage not in ({stages})", "stage", "out_of_scope_stage")
    return flags


def count_roll(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, engagement: Engagement
) -> pa.Table:
    """Settle rows that share a UID, and count the roll.

    Returns:
        The rows of `intake.roll_counts`: pupils in scope before opt-outs.
    """
    names = [field.name for field in dataset.fields]
    quarantine_duplicates(con, dataset.key, names, "duplicate_uid")
    return con.execute(
        f"select {sql_literal(engagement.key)} as engagement, seed_code, stage, sex, "
        "count(*)::integer as roll_n from accepted group by all order by all"
    ).to_arrow_table()


def withdraw(con: duckdb.DuckDBPyConnection, row_numbers: Sequence[int]) -> None:
    """Count rows as withdrawn: a pupil who opted out, a council's record of such a pupil."""
    con.register("opted_out", pa.table({"row_number": pa.array(row_numbers, pa.int64())}))
    con.execute("insert into withdrawn select row_number from opted_out")
    con.unregister("opted_out")


def quarantine_rows(
    con: duckdb.DuckDBPyConnection, row_numbers: Sequence[int], column: str, rule: str
) -> None:
    """Quarantine rows by number, those that stand so far."""
    con.register("named", pa.table({"row_number": pa.array(row_numbers, pa.int64())}))
    quarantine(con, "row_number in (select row_number from named)", column, rule)
    con.unregister("named")


def pupil_flags(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """What is noted about accepted rows and rejects none of them (domain.md 3.5)."""
    return {
        "scn_missing": count(con, "accepted", "scn is null"),
        "scn_check_digit": count(con, "accepted", f"not {scn_check_digit_holds('scn')}"),
        "scn_repeated": count(
            con,
            "(select scn from accepted where scn is not null "
            "qualify count(*) over (partition by scn) > 1)",
        ),
    }


def judge_payload(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    record_id: str,
    record_ids: pa.Table,
    withdrawn_ids: pa.Table,
) -> None:
    """Let payload follow its identifiers: withdrawn with them, quarantined without them.

    Args:
        con: scratch connection with `checked`.
        dataset: the contract of the payload.
        record_id: SQL expression of the record id.
        record_ids: record_id of the accepted identifiers.
        withdrawn_ids: record_id of the withdrawn ones.
    """
    con.register("known_ids", record_ids)
    con.register("withdrawn_ids", withdrawn_ids)
    con.execute(
        f"insert into withdrawn select row_number from checked where {record_id} in "
        "(select record_id from withdrawn_ids)"
    )
    column = dataset.key[0]
    quarantine(
        con,
        f"{record_id} not in (select record_id from known_ids)",
        column,
        "identifiers_not_accepted",
    )
    names = [field.name for field in dataset.fields]
    quarantine_duplicates(con, dataset.key, names, f"duplicate_{column}")
