"""The historic defect: one school's UIDs under another school of a similar name (domain.md 1.1).

Belongs here: finding groups of UIDs that fit another school better than the one that they stand
under, proposing to set the school right, and carrying out what an operator decided. Does not belong
here: names (`schools.py`), issuing (`uids.py`), the command (`rcs uids`).

A *group* is the pupils of a sample file who share a school and the first five signs of the UID,
which are one school's own. Where the platform issued the UIDs, the signs say whose they are. Else
the group's pupils by stage and sex are compared with the published rolls of the school and of those
with confusable names. Nothing is moved on a proposal alone: until an operator decides (`repair` or
`keep`), its rows are quarantined.

Works in sets; the only thing that leaves is `Proposal`, which names schools and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from rcs_assets.intake.contracts import count, quarantine
from rcs_assets.intake.schools import SchoolRules
from rcs_assets.intake.uids import PART_SIGNS
from rcs_assets.storage import sql_literal

RULE = "uids_of_similar_school"
REPAIR, KEEP, OPEN = "repair", "keep", "open"
BY_KEY, BY_PROFILE = "issued", "profile"
_STAGES = (*(f"P{n}" for n in range(1, 8)), *(f"S{n}" for n in range(1, 7)))


@dataclass(frozen=True)
class Proposal:
    """UIDs of one school that stand under another.

    `evidence`: `issued` (the platform issued them) or `profile` (stages and sexes fit the other
    school's roll; `distance_before` and `distance_after` of both schools together, 0 where issued).
    `decision`: `repair`, `keep` or `open`.
    """

    seed_code_delivered: str
    seed_code_right: str
    pupils_n: int
    evidence: str
    distance_before: float
    distance_after: float
    decision: str


def judge_groups(
    con: duckdb.DuckDBPyConnection,
    rules: SchoolRules,
    roll: pa.Table,
    stages: Sequence[str],
    decisions: pa.Table,
) -> tuple[Proposal, ...]:
    """Find misplaced groups, and repair, keep or quarantine them as was decided.

    Args:
        con: scratch connection with `checked`, `confusable` and `issued_parts`.
        rules: thresholds.
        roll: seed_code, cell (stage, or `F` and `M`), n: published pupils; a suppressed cell is
            null, a stage that the school does not have is absent.
        stages: that the engagement surveys.
        decisions: seed_code_delivered, seed_code_right, decision, for exactly this file.

    Returns:
        The proposals, ordered by school.
    """
    con.register("published", roll)
    con.register("decided", decisions)
    con.execute(
        f"create table uid_groups as select seed_code, survey_uid[:{PART_SIGNS}] as part, "
        "count(*) as pupils_n from accepted group by all"
    )
    _moves_by_key(con)
    _moves_by_profile(con, rules, stages)
    con.execute(
        "create table moves as select found.*, coalesce(decided.decision, 'open') as decision "
        "from ("
        "from key_moves union all by name from profile_moves) as found left join decided "
        "using (seed_code_delivered, seed_code_right)"
    )
    con.execute(
        "create table moved as select row_number, moves.seed_code_right, moves.decision "
        "from accepted join moves on accepted.seed_code = moves.seed_code_delivered "
        f"and survey_uid[:{PART_SIGNS}] = moves.part"
    )
    con.execute(
        "update checked set seed_code = moved.seed_code_right from moved "
        "where checked.row_number = moved.row_number and moved.decision = 'repair'"
    )
    undecided = "row_number in (select row_number from moved where decision = 'open')"
    quarantine(con, undecided, "seed_code", RULE)
    rows = con.execute(
        "select seed_code_delivered, seed_code_right, sum(pupils_n)::integer, evidence, "
        "round(max(distance_before), 1), round(max(distance_after), 1), decision "
        "from moves group by all order by all"
    ).fetchall()
    return tuple(Proposal(*row) for row in rows)


def flags(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows set right, rows left as they were on a decision, decisions that nothing asked for."""
    return {
        "uids_repaired": count(con, "moved", "decision = 'repair'"),
        "uids_kept": count(con, "moved", "decision = 'keep'"),
        "uid_decisions_unasked": count(
            con,
            "decided anti join moves using (seed_code_delivered, seed_code_right)",
        ),
    }


def _moves_by_key(con: duckdb.DuckDBPyConnection) -> None:
    """Groups whose signs the platform issued to another school.

    Asked only where it issued those of most schools: signs of another issuer can be alike by
    chance.
    """
    con.execute(
        "create table key_moves as with own as (select "
        "count(distinct g.seed_code) filter (where issued.seed_code is not null) as own_n, "
        "count(distinct g.seed_code) as schools_n from uid_groups as g "
        "left join issued_parts as issued "
        "on issued.seed_code = g.seed_code and issued.part = g.part) "
        "select g.seed_code as seed_code_delivered, g.part, "
        "issued.seed_code as seed_code_right, g.pupils_n, 'issued' as evidence, "
        "0.0::double as distance_before, 0.0::double as distance_after "
        "from uid_groups as g join issued_parts as issued on issued.part = g.part "
        "where issued.seed_code <> g.seed_code "
        "and (select 2 * own_n > schools_n from own)"
    )


def _moves_by_profile(
    con: duckdb.DuckDBPyConnection, rules: SchoolRules, stages: Sequence[str]
) -> None:
    """Groups of confusable schools that fit better elsewhere by stage and sex."""
    surveyed = ", ".join(sql_literal(stage) for stage in stages if stage in _STAGES)
    # Whose signs were issued here needs no guess by profile.
    con.execute(
        "create table asked as select g.*, "
        "row_number() over (order by seed_code, part) as group_no "
        f"from uid_groups as g where pupils_n >= {rules.least_group} "
        "and seed_code in (select seed_a from confusable) "
        "and not exists (select 1 from issued_parts as issued where issued.part = g.part "
        "and issued.seed_code = g.seed_code) "
        "and not exists (from key_moves) "
        "qualify row_number() over (partition by seed_code order by pupils_n desc, part) <= 2"
    )
    con.execute(
        "create table group_cells as select group_no, cell, count(*) as n from ("
        "select group_no, unnest([stage, sex]) as cell "
        "from accepted join asked on accepted.seed_code = asked.seed_code "
        f"and survey_uid[:{PART_SIGNS}] = asked.part) group by all"
    )
    _expected(con, rules, surveyed)
    _options(con)
    con.execute(
        # Every option is judged on the same cells of both schools of the pair.
        "create table judged as with held as ("
        "select seed_a, seed_b, option_no, to_seed as seed_code, cell, sum(n) as n "
        "from options join group_cells using (group_no) group by all), "
        "wanted as (select distinct seed_a, seed_b, option_no, expected.seed_code, cell, "
        "expected.n from options join expected on expected.seed_code in (seed_a, seed_b)), "
        "cells as (select coalesce(w.seed_a, h.seed_a) as seed_a, "
        "coalesce(w.seed_b, h.seed_b) as seed_b, coalesce(w.option_no, h.option_no) as option_no, "
        "coalesce(h.n, 0) as own, coalesce(w.n, 0) as roll from held as h full join wanted as w "
        "on h.seed_a = w.seed_a and h.seed_b = w.seed_b and h.option_no = w.option_no "
        "and h.seed_code = w.seed_code and h.cell = w.cell) "
        "select seed_a, seed_b, option_no, "
        "round(sum((own - roll) ** 2 / (own + roll + 1)), 6) as distance "
        "from cells group by all"
    )
    con.execute(
        "create table profile_moves as with best as ("
        "select other.seed_a, other.seed_b, other.option_no, "
        "now.distance as distance_before, other.distance as distance_after from judged as other "
        "join judged as now using (seed_a, seed_b) where now.option_no = 0 and other.option_no > 0 "
        f"and now.distance - other.distance >= {rules.doubt_from} "
        f"and other.distance <= {rules.left_at_most} * now.distance "
        "qualify row_number() over (partition by seed_a, seed_b "
        "order by other.distance, other.option_no) = 1), "
        "wanted as (select best.*, options.group_no, options.to_seed, "
        "distance_before - distance_after as gain from best join options "
        "using (seed_a, seed_b, option_no) join asked using (group_no) "
        "where options.to_seed <> asked.seed_code), "
        # A school may be alike to several: the pair that gains most has it, whole or not at all.
        "first as (select *, row_number() over (partition by group_no "
        "order by gain desc, seed_a, seed_b) = 1 as is_first from wanted), "
        "whole as (select *, bool_and(is_first) over (partition by seed_a, seed_b) as is_whole "
        "from first) "
        "select asked.seed_code as seed_code_delivered, asked.part, to_seed as seed_code_right, "
        "asked.pupils_n, 'profile' as evidence, distance_before, distance_after "
        "from whole join asked using (group_no) where is_whole"
    )


def _expected(con: duckdb.DuckDBPyConnection, rules: SchoolRules, surveyed: str) -> None:
    """`expected(seed_code, cell, n)`: the roll in the surveyed stages, by stage and by sex."""
    con.execute(
        "create table expected as with stages as ("
        f"select seed_code, cell, coalesce(n, {rules.suppressed_as}) as n from published "
        f"where cell in ({surveyed})), sexes as ("
        "select seed_code, sum(n) filter (where cell = 'F') as girls, "
        "sum(n) filter (where cell = 'M') as boys from published group by seed_code) "
        "select seed_code, cell, sum(n)::double as n from stages group by all "
        "union all select seed_code, sex.cell, stages_n * sex.share from ("
        "select seed_code, sum(n) as stages_n from stages group by all) join ("
        "select seed_code, unnest([{cell: 'F', share: girls / (girls + boys)}, "
        "{cell: 'M', share: boys / (girls + boys)}], recursive := true) from sexes "
        "where girls + boys > 0) as sex using (seed_code)"
    )


def _options(con: duckdb.DuckDBPyConnection) -> None:
    """`options(seed_a, seed_b, option_no, group_no, to_seed)`: where each group of a pair may be.

    0: as delivered; 1: all changed round; 2 and on: one group moved.
    """
    con.execute(
        "create table options as with pairs as ("
        "select distinct seed_a, seed_b from confusable where seed_a < seed_b), "
        "held as (select seed_a, seed_b, group_no, seed_code, "
        "case when seed_code = seed_a then seed_b else seed_a end as other_seed, "
        "row_number() over (partition by seed_a, seed_b order by group_no) as place "
        "from pairs join asked on asked.seed_code in (seed_a, seed_b)), "
        "numbers as (select seed_a, seed_b, unnest(range(0, max(place) + 2)) as option_no "
        "from held group by all) "
        "select seed_a, seed_b, option_no, group_no, "
        "case when option_no = 1 or option_no = place + 1 then other_seed else seed_code end "
        "as to_seed from held join numbers using (seed_a, seed_b)"
    )
