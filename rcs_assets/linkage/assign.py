"""From scored pairs to links: the sibling rule, one-to-one, bands.

Belongs here: which candidate pairs become links, set-based and independent of the order
of rows. Does not belong here: scores (`probabilistic.py`) and exact passes (`cascade.py`).
"""

from __future__ import annotations

from math import log2

import duckdb
import numpy as np

from rcs_assets.linkage.cascade import forenames_differ, same_household, siblings_of_one_home
from rcs_assets.linkage.probabilistic import (
    MatchModel,
    clerical_weight,
    extra_blocks,
    len_of,
    prior_weight,
)
from rcs_assets.linkage.settings import LinkRules, LinkSettings

# Of the fixed point of `fitted_prior`: rounds at most, change that is none, evidence (log2).
_ROUNDS, _NEAR, _MOST_EVIDENCE = 200, 1e-7, 200.0


def weigh_siblings(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings, model: MatchModel
) -> None:
    """Make `candidates(left_id, right_id, evidence, is_household)` from `scored`.

    Args:
        con: the engine's connection, with the standardised tables `lhs` and `rhs`.
        rules: which fields make a household, and how common twins and siblings are.
        settings: mode, and extra fields.
        model: how often a forename and a birth date change (the model's m).

    The sibling rule: where surname, birth date and home agree, the fields are no independent
    evidence: the pair is one child or two twins. Its evidence is then at most that of a changed
    forename against a twin, counted in the files themselves (data/linkage.yaml, siblings);
    with the forename missing, that of no twin at all. Where surname and home agree while
    forename and birth date both differ, the same holds of a brother or sister. An extra field that
    tells records apart and agrees is no household's: its pairs keep their evidence.
    """
    twins = twin_share(con, rules, settings)
    own = " or ".join(f"coalesce({block}, false)" for block in extra_blocks(con, rules, settings))
    largest = max(*(len_of(con, table) for table in ("lhs", "rhs")), 2)
    siblings = rules.siblings
    changed = model.forename_changed
    unnamed, twin = log2(largest / twins), log2(largest * changed / twins)
    other = log2(largest * changed * model.birth_date_changed / siblings.sibling_share)
    con.execute(f"""
        create or replace temp table candidates as
        select
            left_id,
            right_id,
            least(evidence, most) as evidence,
            most is not null as is_household
        from (
            select
                scored.left_id,
                scored.right_id,
                scored.evidence,
                case
                    when {own or "false"} then null
                    when {same_household(siblings)} and {forenames_differ(siblings)} is null
                        then {unnamed:.3f}::decimal(12, 3)
                    when {same_household(siblings)} and {forenames_differ(siblings)}
                        then {twin:.3f}::decimal(12, 3)
                    when {siblings_of_one_home(siblings)} then {other:.3f}::decimal(12, 3)
                end as most
            from scored
            inner join lhs as l on scored.left_id = l.unique_id
            inner join rhs as r on scored.right_id = r.unique_id
        )
    """)


def fitted_prior(con: duckdb.DuckDBPyConnection, start: float, pairs_n: float) -> float:
    """Probability that a pair drawn at random is one child: what the evidence of all tells.

    Args:
        con: the engine's connection, with `candidates` (evidence).
        start: where to start from.
        pairs_n: all pairs, candidates or not; those that are none speak against.

    What maximises the likelihood (expectation maximisation); never less than half a pair.
    """
    rows = con.execute(
        "select evidence::double, count(*) from candidates group by all order by 1"
    ).fetchnumpy()
    # By value, so that the order of rows leaves no trace in a sum.
    evidence, counts = (np.asarray(column, dtype=np.float64) for column in rows.values())
    factors = np.exp2(np.minimum(evidence, _MOST_EVIDENCE))
    share = start
    for _ in range(_ROUNDS):
        found = float((counts * share * factors / (share * factors + 1 - share)).sum())
        before, share = share, min(max(found, 0.5) / max(pairs_n, 1.0), 0.5)
        if abs(share - before) <= _NEAR * before:
            break
    return float(f"{share:.6g}")


def weigh(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, prior: float, settings: LinkSettings
) -> None:
    """Add `weight` to `candidates`: log2 of the odds, prior included; lighter pairs go."""
    con.execute(f"""
        create or replace temp table candidates as
        select left_id, right_id, evidence, weight
        from (
            select *, (evidence + {prior_weight(prior):.3f})::decimal(12, 3) as weight
            from candidates
        )
        where weight >= {clerical_weight(rules, settings)}
    """)


def twin_share(con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings) -> float:
    """Share of records that have a twin in their own file, drawn towards the published share.

    The larger of the two files counts: a file of siblings left out says nothing of twins. In a file
    where children stand twice, two of a household may be one: the published share holds.
    """
    if settings.mode == "dedupe":
        return rules.siblings.twin_share
    expected, strength = rules.siblings.twin_share, rules.siblings.twin_strength
    household = (*rules.siblings.agree, *rules.siblings.near)
    fields = ", ".join(household)
    shares = [
        con.execute(f"""
            select
                (count(*) filter (where twins_n > 1) + {expected * strength})
                / (count(*) + {strength})
            from (
                select count(distinct {rules.siblings.decide}) over (partition by {fields})
                    as twins_n
                from {table}
                where {" and ".join(f"{field} is not null" for field in household)}
            )
        """).fetchall()[0][0]
        for table in ("lhs", "rhs")
    ]
    return float(max(shares))


def assign_one_to_one(con: duckdb.DuckDBPyConnection, lowest: float) -> None:
    """Make `assigned` from `candidates`: the heaviest pair first, ties by id, each record once.

    Args:
        con: the engine's connection, with `candidates`.
        lowest: weight below which a pair is nothing.

    A pair that is the best of both its records is taken, its records leave, and so on until
    none is left: the same as going through all pairs in falling order.
    """
    con.execute(
        f"create or replace temp table open_pairs as from candidates where weight >= {lowest!r}"
    )
    con.execute("create or replace temp table assigned as from candidates limit 0")
    while len_of(con, "open_pairs"):
        con.execute("""
            insert into assigned
            select * exclude (left_rank, right_rank)
            from (
                select
                    *,
                    row_number() over (
                        partition by left_id order by weight desc, left_id, right_id
                    ) as left_rank,
                    row_number() over (
                        partition by right_id order by weight desc, left_id, right_id
                    ) as right_rank
                from open_pairs
            )
            where left_rank = 1 and right_rank = 1
        """)
        con.execute("""
            create or replace temp table open_pairs as
            select open_pairs.*
            from open_pairs
            anti join assigned as l on open_pairs.left_id = l.left_id
            anti join assigned as r on open_pairs.right_id = r.right_id
        """)


def band_links(con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings) -> None:
    """Make `model_links(left_id, right_id, pass_no, weight, probability, band)` from `assigned`.

    A link is `auto` if its weight reaches the threshold and no record left over competes for
    it within the margin; else `clerical`.
    """
    limits = rules.thresholds
    auto = limits.auto if settings.auto_weight is None else settings.auto_weight
    con.execute(f"""
        create or replace temp table model_links as
        with other_lefts as (
            select assigned.left_id, assigned.right_id, other.weight
            from assigned
            inner join candidates as other on assigned.right_id = other.right_id
            anti join assigned as taken on other.left_id = taken.left_id
        ),
        -- A second record of the same child is no rival: either of them is right.
        other_rights as (
            select assigned.left_id, assigned.right_id, other.weight
            from assigned
            inner join candidates as other on assigned.left_id = other.left_id
            anti join assigned as taken on other.right_id = taken.right_id
            inner join rhs as own on assigned.right_id = own.unique_id
            inner join rhs as rival on other.right_id = rival.unique_id
            where
                not coalesce(
                    own.first_forename = rival.first_forename
                    and own.date_of_birth = rival.date_of_birth,
                    false
                )
        ),
        rivals as (
            select left_id, right_id, max(weight) as weight
            from (from other_lefts union all from other_rights)
            group by all
        )
        select
            assigned.left_id,
            assigned.right_id,
            {rules.model_pass}::integer as pass_no,
            assigned.weight::double as weight,
            round(1 / (1 + pow(2.0, -assigned.weight::double)), 6) as probability,
            case
                when
                    assigned.weight >= {auto}
                    and coalesce(assigned.weight - rivals.weight >= {limits.margin}, true)
                    then 'auto'
                else 'clerical'
            end as band
        from assigned
        left join rivals
            on assigned.left_id = rivals.left_id and assigned.right_id = rivals.right_id
    """)


def join_clusters(con: duckdb.DuckDBPyConnection, rules: LinkRules) -> None:
    """Within one table: a pair that waits is a link where links join its records already.

    Args:
        con: the engine's connection, with `exact_links` and `model_links` of mode dedupe.
        rules: the threshold, whose probability such a pair has at least.
    """
    con.execute("""
        create or replace temp table edges as
        with linked as (
            select left_id, right_id from exact_links
            union
            select left_id, right_id from model_links where band = 'auto'
        )
        select left_id as one, right_id as other from linked
        union all
        select right_id, left_id from linked
    """)
    con.execute(
        "create or replace temp table clusters as select distinct one, one as root from edges"
    )
    moved = 1
    while moved:
        con.execute("""
            create or replace temp table nearer as
            select edges.one, min(clusters.root) as root
            from edges
            inner join clusters on edges.other = clusters.one
            group by edges.one
        """)
        moved = len_of(
            con, "clusters inner join nearer using (one) where nearer.root < clusters.root"
        )
        con.execute("""
            create or replace temp table clusters as
            select one, least(clusters.root, nearer.root) as root
            from clusters
            inner join nearer using (one)
        """)
    con.execute(f"""
        update model_links set
            band = 'auto',
            probability = greatest(probability, {1 / (1 + 2**-rules.thresholds.auto):.6f})
        where
            band = 'clerical'
            and (select root from clusters where one = left_id)
            = (select root from clusters where one = right_id)
    """)
