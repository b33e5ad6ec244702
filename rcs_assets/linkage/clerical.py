"""The grey band in the vault: which decisions hold, which pairs wait for clerks.

Belongs here: the keyed hash of a pair (its case), the state of each decision of the log against
the records as they are now, the queue. Does not belong here: recording a decision (`review.py`),
the log (`storage/decision_log.py`), what the engine does with a decision (`decided.py`).

A case is a keyed hash of two record ids and of every identifier of both records, as delivered: a
decision on records that have changed since is another case, and is not applied. The queue holds
no weight, so that nobody who reads it learns what the model thinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from rcs_assets.errors import StorageError
from rcs_assets.linkage.settings import Clerical
from rcs_assets.storage import Home, hmac_expression
from rcs_assets.storage.decision_log import Decision, DecisionEntry, read_decisions
from rcs_assets.storage.keyring import RECORDS, key_generations

LEFT_COLUMNS = (
    "scn", "surname", "first_forename", "second_forename", "sex", "date_of_birth", "postcode",
)  # fmt: skip
RIGHT_COLUMNS = (*LEFT_COLUMNS, "previous_surname")
TABLES = {
    "clerical_queue": (
        "engagement varchar, queue_id varchar, case_id varchar, left_id varchar, right_id varchar"
    ),
    "clerical_counts": (
        "engagement varchar, records_n integer, grey_n integer, most_n integer, queue_n integer"
    ),
    "clerical_outcomes": (
        "engagement varchar, case_id varchar, left_id varchar, right_id varchar, "
        "verdict varchar, outcome varchar"
    ),
    "clerical_anchor": "n integer, sha256 varchar",
}
_DECISIONS = pa.schema(
    {
        "engagement": pa.string(),
        "case_id": pa.string(),
        "left_id": pa.string(),
        "right_id": pa.string(),
        "verdict": pa.string(),
        "is_settled": pa.bool_(),
        "is_readable": pa.bool_(),
    }
)


@dataclass(frozen=True)
class ClericalInput:
    """What a run of linkage needs of the decisions.

    `key`: of the cases. `decisions`: a row a case of the log: engagement, case_id, left_id,
    right_id, verdict, is_settled, is_readable (its hash was made under the key that holds).
    `last`: number and sha256 of the log's last entry.
    """

    key: bytes
    decisions: pa.Table
    last: tuple[int, str]

    @classmethod
    def empty(cls) -> ClericalInput:
        """Nothing was decided."""
        return cls(b"", _DECISIONS.empty_table(), (0, ""))


def clerical_input(home: Home) -> ClericalInput:
    """The decisions of an installation, after the log was checked.

    Raises:
        StorageError: the log was changed or cut.
    """
    entries = read_decisions(home)
    generation = key_generations(home).get(RECORDS, 1)
    latest: dict[str, dict[str, object]] = {}
    for entry in entries:
        if entry.content is not None:
            latest[entry.content.case] = {
                "engagement": entry.engagement,
                "case_id": entry.content.case,
                "left_id": entry.content.left_id,
                "right_id": entry.content.right_id,
                "verdict": entry.content.verdict,
                "is_settled": entry.settles,
                "is_readable": entry.content.key_generation == generation,
            }
    last = (entries[-1].n, entries[-1].sha256) if entries else (0, "")
    rows = pa.Table.from_pylist([latest[case] for case in sorted(latest)], schema=_DECISIONS)
    return ClericalInput(home.key(RECORDS), rows, last)


def prepare_clerical(con: duckdb.DuckDBPyConnection) -> None:
    """The tables of the vault that clerical review keeps."""
    for name, columns in TABLES.items():
        con.execute(f"create table if not exists {name} ({columns})")


def refuse_other_log(con: duckdb.DuckDBPyConnection, entries: Sequence[DecisionEntry]) -> None:
    """The log must still hold the entry that was its last in the run before.

    Raises:
        StorageError: the whole log was put aside or replaced.
    """
    known = con.execute("select 1 from duckdb_tables() where table_name = 'clerical_anchor'")
    if not known.fetchall():
        return
    hashes = {entry.n: entry.sha256 for entry in entries}
    for number, sha256 in con.execute("select n, sha256 from clerical_anchor").fetchall():
        if number and hashes.get(number) != sha256:
            raise StorageError(
                "The log of decisions is not the one that the last run saw",
                where="logs/decisions.jsonl",
                why=f"it had {number} entries then, and its entry {number} was another one",
                fix="restore logs/decisions.jsonl and decisions.head from one backup",
            )


def judge_decisions(con: duckdb.DuckDBPyConnection, given: ClericalInput, chosen: str) -> None:
    """Make the temp table `judged`: every decision of the engagements and whether it holds.

    Args:
        con: the vault, for writing, with the temp table `spine`.
        given: decisions of the log.
        chosen: engagements, as SQL literals.

    `outcome`: holds; changed (a record is not what it was); gone (a file that is there no longer
    holds a record, or its child may not be linked: to be forgotten); absent (a file is not
    there); other key (its hash was made under a key of before).
    """
    hmac_expression(con, "case", given.key)
    con.register("decision_rows", given.decisions)
    con.execute(f"""
        create or replace temp table judged as
        with decisions as (select * from decision_rows where engagement in ({chosen})),
        files as (
            select engagement
            from (select distinct engagement from sample_identifiers)
            inner join (select distinct engagement from social_work_identifiers)
                using (engagement)
        ),
        pairs as ({pairs_query("decisions")})
        select
            decisions.*,
            case
                when not decisions.is_readable then 'other key'
                when files.engagement is null then 'absent'
                when pairs.left_id is null or coalesce(spine.is_opted_out, true) then 'gone'
                when pairs.case_id <> decisions.case_id then 'changed'
                else 'holds'
            end as outcome
        from decisions
        left join files on decisions.engagement = files.engagement
        left join pairs
            on
                decisions.engagement = pairs.engagement
                and decisions.left_id = pairs.left_id
                and decisions.right_id = pairs.right_id
        left join spine
            on decisions.engagement = spine.engagement and decisions.left_id = spine.record_id
    """)
    con.unregister("decision_rows")


def pairs_query(source: str) -> str:
    """Pairs whose records are there, with their case: engagement, left_id, right_id, case_id."""
    left = ", ".join(f"coalesce(l.{name}::varchar, '')" for name in LEFT_COLUMNS)
    right = ", ".join(f"coalesce(r.{name}::varchar, '')" for name in RIGHT_COLUMNS)
    return f"""
        select
            named.engagement,
            named.left_id,
            named.right_id,
            left(
                hmac_case(concat_ws(chr(31), 'clerical', named.engagement, left_id, right_id,
                    {left}, {right})),
                32
            ) as case_id
        from (select distinct engagement, left_id, right_id from {source}) as named
        inner join sample_identifiers as l
            on named.engagement = l.engagement and named.left_id = l.record_id
        inner join social_work_identifiers as r
            on named.engagement = r.engagement and named.right_id = r.record_id
    """


def write_queue(
    con: duckdb.DuckDBPyConnection, given: ClericalInput, rules: Clerical, chosen: str, own: str
) -> None:
    """Replace the queue, the counts and the outcomes of the engagements in the vault.

    Args:
        con: the vault, with the temp tables `found` (what the engine returned), `spine` and
            `judged`.
        given: decisions of the log.
        rules: how much clerks may get.
        chosen: engagements of the run, as SQL literals.
        own: those of them that no outside indexer linked: only they have a queue.

    Of the grey band at most `max_share` of the records go to clerks, those already decided
    included; a pair takes up two records. Pairs that one clerk has begun come first, then those
    nearest to even odds.
    """
    for table in ("clerical_queue", "clerical_counts", "clerical_outcomes"):
        con.execute(f"delete from {table} where engagement in ({chosen})")
    con.execute(_outcomes_query(rules))
    con.execute(f"""
        create or replace temp table grey as
        with band as (
            select found.engagement, found.left_id, found.right_id, found.weight
            from found
            inner join spine
                on found.engagement = spine.engagement and found.left_id = spine.record_id
            where found.band = 'clerical' and not spine.is_opted_out
        )
        select
            band.*,
            pairs.case_id,
            coalesce(judged.is_settled, false) as is_settled,
            judged.case_id is not null as is_begun
        from band
        inner join ({pairs_query("band")}) as pairs using (engagement, left_id, right_id)
        left join judged
            on pairs.engagement = judged.engagement and pairs.case_id = judged.case_id
    """)
    con.execute(f"""
        insert into clerical_counts
        select
            engagement,
            records_n::integer,
            coalesce(grey_n, 0)::integer,
            greatest(most_n - coalesce(settled_n, 0), 0)::integer,
            least(greatest(most_n - coalesce(settled_n, 0), 0), coalesce(open_n, 0))::integer
        from (
            select engagement, count(*) as records_n,
                floor(count(*) * {rules.max_share!r} / 2) as most_n
            from (
                select engagement from sample_identifiers
                union all
                select engagement from social_work_records
            )
            where engagement in ({own})
            group by engagement
        )
        left join (
            select engagement, count(*) as grey_n, count_if(not is_settled) as open_n
            from grey
            group by engagement
        ) using (engagement)
        left join (
            select engagement, count(*) as settled_n
            from judged
            where is_settled and outcome = 'holds'
            group by engagement
        ) using (engagement)
    """)
    con.execute("""
        insert into clerical_queue
        with ranked as (
            select
                *,
                row_number() over (
                    partition by engagement order by is_begun desc, abs(weight), case_id
                ) as place
            from grey
            where not is_settled
        )
        select
            engagement,
            left(
                hmac_case('queue ' || string_agg(case_id, ' ' order by case_id)
                    over (partition by engagement)),
                16
            ),
            case_id,
            left_id,
            right_id
        from ranked
        inner join clerical_counts using (engagement)
        where place <= most_n
        order by engagement, case_id
    """)
    con.execute("delete from clerical_anchor")
    con.execute("insert into clerical_anchor values (?, ?)", list(given.last))


def _outcomes_query(rules: Clerical) -> str:
    """A decision that holds was applied, or an exact pass had linked one of its records before."""
    return f"""
        insert into clerical_outcomes
        select
            judged.engagement,
            case_id,
            judged.left_id,
            judged.right_id,
            verdict,
            case
                when outcome <> 'holds' then outcome
                when verdict <> 'same' or found.pass_no = {rules.pass_no} then 'applied'
                else 'overtaken'
            end
        from judged
        left join found
            on
                judged.engagement = found.engagement
                and judged.left_id = found.left_id
                and judged.right_id = found.right_id
        where judged.is_settled and outcome <> 'gone'
        order by judged.engagement, case_id
    """


def drop_queues(con: duckdb.DuckDBPyConnection, engagements: Iterable[str]) -> None:
    """Take away the queues of engagements that may not be linked (any longer)."""
    prepare_clerical(con)
    for table in ("clerical_queue", "clerical_counts", "clerical_outcomes"):
        con.execute(
            f"delete from {table} where list_contains(?::varchar[], engagement)",
            [list(engagements)],
        )


def gone_cases(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Engagement and case of the decisions whose child is to be forgotten, from `judged`."""
    rows = con.execute(
        "select engagement, case_id from judged where outcome = 'gone' order by all"
    ).fetchall()
    return [(str(engagement), str(case)) for engagement, case in rows]


def not_applied(con: duckdb.DuckDBPyConnection, chosen: str) -> list[tuple[str, str, int]]:
    """Engagement, outcome and number of the settled decisions that changed no link."""
    rows = con.execute(
        "select engagement, outcome, count(*) from clerical_outcomes "
        f"where outcome <> 'applied' and engagement in ({chosen}) group by all order by all"
    ).fetchall()
    return [(str(engagement), str(outcome), int(n)) for engagement, outcome, n in rows]


def reviews_of(entries: Iterable[DecisionEntry], case: str) -> list[DecisionEntry]:
    """The reviews of one case, oldest first."""
    return [
        entry
        for entry in entries
        if entry.event is Decision.REVIEWED and entry.content and entry.content.case == case
    ]
