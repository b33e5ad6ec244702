"""Who is left over on both sides: the last pass, which looks at the whole set.

Belongs here: what one-to-one linkage tells of the records that no pass has linked yet, and
the links that follow from it. Does not belong here: evidence (`probabilistic.py`), the
sibling rule (`assign.py`).

Once most records have their partner, few are left to be the partner of the rest: a pair of
two left-over records is far likelier than a pair of two records drawn from the whole files.
How likely is estimated from the left-over records themselves: `share` of the right ones has a
partner among the left ones. For a left-over right record r with the pairs (l, r) and their
evidence B (Bayes factors), the probability that it has none is proportional to 1 - share,
and that l is its partner to share / n_left * B(l, r). `share` is what maximises the
likelihood; its interval is the likelihood interval.

All matchings of one size being alike before looking, the odds that l and r are partners,
against both having none, are B * share / n_left / (alone_left * alone_right), where alone is
the share without a partner of either side. Competing pairs of either record stand beside
that: l and r have at most one partner each.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from rcs_assets.linkage.assign import assign_one_to_one, weigh_siblings
from rcs_assets.linkage.probabilistic import (
    ALL_PAIRS,
    MatchModel,
    blocks_of,
    clerical_weight,
    len_of,
    score_pairs,
)
from rcs_assets.linkage.settings import LinkRules, LinkSettings

_SHARES = np.linspace(0.0005, 0.9995, 1999)


@dataclass(frozen=True)
class Remainder:
    """The records that the passes before left over, and how many of them have a partner.

    `left_n`, `right_n`: left-over records. `prior`: share of the right ones with a partner
    among the left ones, as the last pass starts from it. `share`: the same as it is estimated
    for the quality of the links. `partners`: how many right records have one, with the ends of
    the likelihood interval.
    """

    left_n: int
    right_n: int
    prior: float
    share: float
    partners: float
    partners_low: float
    partners_high: float


def link_remainder(
    con: duckdb.DuckDBPyConnection,
    rules: LinkRules,
    settings: LinkSettings,
    model: MatchModel,
    used: MatchModel,
) -> Remainder:
    """Decide anew on all records without a link, and replace the clerical pairs so far.

    Args:
        con: the engine's connection after the model's pass, with `model_links`.
        rules: the model and the rules of the remainder.
        settings: thresholds.
        model: for how often a forename and a birth date change.
        used: what of it scored the pass before.

    Returns:
        What was left over. `candidates` then holds its pairs with `probability` and `weight`
        (log2 of the odds), `model_links` the links of both passes.
    """
    con.execute("delete from model_links where band = 'clerical'")
    _left_over(con)
    left_n, right_n = (len_of(con, table) for table in ("left_rest", "right_rest"))
    score_pairs(
        con,
        rules,
        settings,
        used,
        _blocks(rules, used, left_n * right_n),
        lowest=rules.remainder.lowest_evidence,
    )
    weigh_siblings(con, rules, settings, model)
    remainder = estimate_share(con, rules, left_n, right_n)
    _weigh(con, remainder, rules)
    assign_one_to_one(con, clerical_weight(rules, settings))
    _band(con, rules, settings)
    return remainder


def _blocks(rules: LinkRules, model: MatchModel, pairs_n: int) -> list[str]:
    if pairs_n <= rules.remainder.all_pairs:
        return [ALL_PAIRS]
    return [
        block
        for kind in ("blocking", "loose_blocking")
        for block in blocks_of(rules, kind, model.fields)
    ]


def _left_over(con: duckdb.DuckDBPyConnection) -> None:
    for rest, side in (("left_rest", "left"), ("right_rest", "right")):
        con.execute(f"""
            create or replace temp table {rest} as
            select {rest}.*
            from {rest}
            anti join model_links on {rest}.unique_id = model_links.{side}_id
            order by unique_id
        """)


def estimate_share(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, left_n: int, right_n: int
) -> Remainder:
    """The share of left-over right records that have a partner, by maximum likelihood.

    Args:
        con: the engine's connection with `candidates` (evidence).
        rules: the confidence of the interval.
        left_n, right_n: left-over records.

    A record whose best pair is of one household says nothing of the share: it may be a twin's, and
    a file of twins would else make its own proof. Whether it has a partner itself is another
    question: given the share, its pairs answer it, as the sibling rule weighed them. Children
    whose forename was written otherwise are left over in just such pairs.

    Before looking, the share is that of the whole file so far, as if some records had been seen:
    to decide upon pairs `prior_records`, one with and one without a partner beside them, so that
    it is never certain; to estimate quality `estimate_records`, since those who are left over are
    no fair part of the file.
    """
    if not left_n or not right_n:
        return Remainder(left_n, right_n, 0.0, 0.0, 0.0, 0.0, 0.0)
    evidence, households = _evidence_of_records(con, left_n)
    others_n = right_n - len(households)
    all_n = len_of(con, "rhs")
    expected = (all_n - right_n) / all_n
    seen = _log_likelihood(evidence, others_n - len(evidence))
    # A right record has its partner among left_n: no more than left_n of them have one.
    seen[right_n * _SHARES > left_n] = -np.inf
    with_prior = {
        records: seen + records * (expected * np.log(_SHARES) + (1 - expected) * np.log1p(-_SHARES))
        for records in (rules.remainder.prior_records, rules.remainder.estimate_records)
    }
    decides = with_prior[rules.remainder.prior_records] + np.log(_SHARES) + np.log1p(-_SHARES)
    likelihood = with_prior[rules.remainder.estimate_records]
    best = int(np.argmax(likelihood))
    near = np.flatnonzero(likelihood >= likelihood[best] - rules.remainder.likelihood_drop)
    shares = [float(_SHARES[k]) for k in (best, near[0], near[-1])]
    partners = [
        share * others_n + float((share * households / (1 + share * (households - 1))).sum())
        for share in shares
    ]
    return Remainder(
        left_n,
        right_n,
        round(float(_SHARES[int(np.argmax(decides))]), 6),
        round(shares[0], 6),
        *(round(min(n, float(left_n)), 6) for n in partners),
    )


def _evidence_of_records(
    con: duckdb.DuckDBPyConnection, left_n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean Bayes factor over the left records, for each right record that has a pair.

    First of the others, then of those whose best pair is of one household.
    """
    rows = con.execute("""
        select
            round(log2(sum(pow(2.0, evidence::double) order by evidence, left_id)), 3) as total,
            arg_max(is_household, (evidence, left_id)) as is_household
        from candidates
        group by right_id
        order by 1
    """).fetchnumpy()
    totals = np.asarray(rows["total"], dtype=np.float64)
    is_household = np.asarray(rows["is_household"], dtype=bool)
    means = np.exp2(totals) / left_n
    return means[~is_household], means[is_household]


def _log_likelihood(evidence: NDArray[np.float64], alone_n: int) -> NDArray[np.float64]:
    """Of each share in turn; a record without a pair speaks against a partner."""
    values = [
        np.log1p(share * (evidence - 1)).sum() + alone_n * np.log1p(-share) for share in _SHARES
    ]
    return np.array(values)


def _weigh(con: duckdb.DuckDBPyConnection, remainder: Remainder, rules: LinkRules) -> None:
    """Add `weight` to `candidates`: log2 of the odds, against no partner and against rivals."""
    share, left_n, right_n = remainder.prior, max(remainder.left_n, 1), remainder.right_n
    prior = share / left_n
    alone = (1 - share) * (1 - min(share * right_n, left_n - 0.5) / left_n)
    step = rules.thresholds.step
    con.execute(f"""
        create or replace temp table candidates as
        with factors as (
            select *, {prior!r} * pow(2.0, least(evidence::double, 200)) as factor from candidates
        ),
        sums as (
            select
                *,
                sum(factor) over (partition by right_id order by factor, left_id
                    rows between unbounded preceding and unbounded following) as of_right,
                sum(factor) over (partition by left_id order by factor, right_id
                    rows between unbounded preceding and unbounded following) as of_left
            from factors
        ),
        odds as (
            select
                *,
                factor / ({alone!r} + (of_right - factor) + (of_left - factor)) as odds
            from sums
        )
        select
            left_id,
            right_id,
            evidence,
            (round(log2(odds) / {step}) * {step})::decimal(12, 3) as weight
        from odds
        where odds > 0
    """)


def _band(con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings) -> None:
    auto = rules.remainder.auto if settings.auto_weight is None else settings.auto_weight
    con.execute(f"""
        insert into model_links by name
        select
            left_id,
            right_id,
            {rules.remainder.pass_no}::integer as pass_no,
            weight::double as weight,
            round(1 / (1 + pow(2.0, -weight::double)), 6) as probability,
            case
                when weight >= {auto} and evidence >= {rules.remainder.auto_evidence}
                    then 'auto'
                else 'clerical'
            end as band
        from assigned
    """)
