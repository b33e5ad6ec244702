"""An attempt to recognise pupils in a file of answers, by the platform's own linkage engine.

Belongs here: attacking an anonymised file with all that a holder of the source records
knows, and counting what he gets right. Does not belong here: making such a file
(`anonymise.py`), or the engine (`linkage`).

Source of the rule: policy.md, "Microdata": the intruder is the council that supplied the
records; the released file holds no name to match, so he matches on the keys. The engine
links nobody by its own thresholds where no pair stands out; so it is also made to guess: its
best one-to-one assignment of all records, however unlikely.

What the council supplied stands in `linkage.attacker_view`, a row a pupil of the sample file,
whether he answered or not: the intruder does not know who did. Of its fields those with a
counterpart in the file can be compared: stage, sex, SIMD as the file groups it, and support, which
he works out from his own records. School, data zone, ethnicity, attendance and the rest have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.disclosure.microdata_rule import MicrodataRule
from rcs_assets.errors import InputError
from rcs_assets.linkage import LinkSettings, link

# Weights (log2 of the odds) below any that a pair can have: every assignment is a guess.
_GUESS = {"clerical_weight": -60.0, "auto_weight": -59.0}
# The engine compares all pairs up to so many (linkage.yaml, remainder.all_pairs).
MOST_PAIRS = 1_000_000


@dataclass(frozen=True)
class Reidentification:
    """What an attack on one file came to.

    `records_n` of the file; `linked_n` pairs that the engine takes for true by its own
    thresholds, clerk's proposals included; `guessed_n` pairs when it has to guess,
    `right_n` of them right; `chance_n` what drawing at random among the records that fit
    would get right on average; `most_sure` the largest probability that the engine gives to
    any guess. All counts of pupils; they stay inside, except as shares.
    """

    records_n: int
    linked_n: int
    guessed_n: int
    right_n: int
    chance_n: float
    most_sure: float

    @property
    def right_pct(self) -> float:
        """Guesses that are right, in per cent of the file."""
        return 100.0 * self.right_n / self.records_n


def reidentify(
    attacker: pa.Table, released: pa.Table, keys: tuple[str, ...], threads: int | None = None
) -> Reidentification:
    """Attack a released file with an attacker's own records.

    Args:
        attacker: `record_id`, `sex` and the keys, in the codes of the file; a pupil each.
        released: the same; `record_id` is the true one, which no engine sees.
        keys: columns beside `sex` that both know; null fits everything.
        threads: of the engine; None: all cores.

    Raises:
        InputError: a table lacks a column, the file is empty, or there are more pairs than
            the engine compares all with all: attack a stage at a time.
    """
    columns = ["record_id", "sex", *keys]
    for side, table in (("attacker", attacker), ("released", released)):
        missing = sorted(set(columns) - set(table.column_names))
        if missing or not len(table):
            raise InputError(
                "A file cannot be attacked",
                where=side,
                why=f"it lacks {', '.join(missing) or 'records'}",
            )
    if len(attacker) * len(released) > MOST_PAIRS:
        raise InputError(
            "There are too many pairs for this attack",
            where=f"{len(attacker)} by {len(released)} records",
            why=f"the engine compares all with all up to {MOST_PAIRS:,} pairs",
            fix="attack a stage at a time",
        )
    with duckdb.connect(config={"threads": threads} if threads else {}) as con:
        con.register("attacker", attacker.select(columns))
        con.register("truth", released.select(columns))
        # The engine sees places in the file, never the true ids.
        con.execute(
            "create temp table released as select 'place ' || row_number() over () as place, * "
            "from truth"
        )
        shown = con.execute(
            "select place as record_id, * exclude (place, record_id) from released"
        ).to_arrow_table()
        usual = link(attacker.select(columns), shown, _settings(keys, threads)).table
        guessed = link(attacker.select(columns), shown, _settings(keys, threads, **_GUESS)).table
        con.register("guessed", guessed)
        right_n, most_sure = con.execute(
            "select count(*) filter (left_id = record_id), coalesce(max(probability), 0) "
            "from guessed inner join released on place = right_id"
        ).fetchall()[0]
        chance = con.execute(_chance(("sex", *keys))).fetchall()[0][0]
    return Reidentification(
        len(released), len(usual), len(guessed), right_n, float(chance), float(most_sure)
    )


_PAYLOAD = """
select
    salted_id as record_id, sex, stage,
    {simd_group} as simd_group,
    case
        when has_social_work or {support} then 'Y'
        when has_education then 'N'
    end as any_support,
from linkage.attacker_view
where engagement = $engagement and stage in (select unnest($stages))
order by salted_id
"""
# policy.md, Table B, receipt: a co-ordinated support plan (type 1), an individual programme (2), a
# child's plan (6), or need codes 26 and 28.
_SUPPORT = """
coalesce(
    list_has_any(string_split(asn_types, ';'), ['1', '2', '6'])
    or list_has_any(string_split(asn_needs, ';'), ['26', '28']), false)
"""


def council_records(
    con: duckdb.DuckDBPyConnection,
    engagement: str,
    stages: Sequence[str],
    rule: MicrodataRule,
) -> pa.Table:
    """What the council that supplied the records can lay beside a file: a pupil each.

    Args:
        con: a connection that sees `linkage.attacker_view`.
        engagement: whose council.
        stages: of the file.
        rule: how the file groups SIMD.

    Returns:
        `record_id` (the view's salted id), `sex`, `stage`, `simd_group`, `any_support`.
    """
    groups = " ".join(f"when {q} then '{group}'" for q, group in rule.simd_groups.items())
    sql = _PAYLOAD.format(simd_group=f"case simd_quintile {groups} end", support=_SUPPORT)
    return con.execute(sql, {"engagement": engagement, "stages": list(stages)}).to_arrow_table()


def _settings(keys: tuple[str, ...], threads: int | None, **weights: Any) -> LinkSettings:
    return LinkSettings(extra_fields=keys, threads=threads, **weights)


def _chance(columns: tuple[str, ...]) -> str:
    """Of each pupil in the file: one over the records of the file that fit what is known."""
    mine = ", ".join(f"a.{name}" for name in columns)
    fits = " and ".join(
        f"(known.{name} is null or shown.{name} is null or known.{name} = shown.{name})"
        for name in columns
    )
    names = ", ".join(columns)
    return f"""
        with known as (
            select {mine}, count(*) as n
            from attacker as a inner join released using (record_id) group by all
        ),
        shown as (select {names}, count(*) as n from released group by all),
        fitting as (
            select any_value(known.n) as n, sum(shown.n) as fit_n
            from known inner join shown on {fits}
            group by {", ".join(f"known.{name}" for name in columns)}
        )
        select coalesce(sum(n / fit_n), 0) from fitting
    """
