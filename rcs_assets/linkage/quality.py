"""How good the links are, estimated without truth.

Belongs here: precision and recall from the model's own probabilities, with intervals, and whom
the missed pairs probably are. Does not belong here: rates by group (`by_group.py`), and any
look at truth (tests).

Wrong links: each automatic link is wrong with one minus its probability; an exact pass as
often as its rule states. Missed pairs: the left-over right records that have a partner
(`remainder.py`), less those that the last pass linked. The intervals are those of the number
of wrong links and of missed pairs in these very files: of the estimate (likelihood) and of
chance (Poisson).

Whom the missed pairs are: an unlinked right record r is the partner of an unlinked left one l
with the probability share / n_left * B(l, r) / (1 - share + share / n_left * sum of r's B)
(`remainder.py`). Summed over l it is the chance of r to be missed, over r that of l. The
chances are drawn to the number of missed pairs: what they have too much is taken in
proportion; what is missing, since no pair shows it, is shared out evenly among those without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rcs_assets.linkage.remainder import Remainder
from rcs_assets.linkage.settings import LinkRules


@dataclass(frozen=True)
class Expected:
    """A number of pairs that nobody counted: what is expected, and the ends of its interval."""

    n: float
    low: float
    high: float


@dataclass(frozen=True)
class LinkQuality:
    """Estimates as shares 0 to 1, with intervals; None where nothing was linked.

    `links_n`: links of bands exact, decided and auto; `clerical_n`: pairs that wait for a clerk;
    `wrong`: wrong links among them; `missed`: pairs of one child that are no link.
    """

    links_n: int
    clerical_n: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    wrong: Expected
    missed: Expected


def quality_of(links_n: int, clerical_n: int, wrong: Expected, missed: Expected) -> LinkQuality:
    """Precision and recall from the numbers of links, wrong links and missed pairs."""
    right = Expected(links_n - wrong.n, links_n - wrong.high, links_n - wrong.low)
    return LinkQuality(
        links_n,
        clerical_n,
        *_shares((right.n, wrong.n), (right.low, wrong.high), (right.high, wrong.low)),
        *_shares((right.n, missed.n), (right.low, missed.high), (right.high, missed.low)),
        wrong,
        missed,
    )


def estimate_quality(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, remainder: Remainder | None
) -> LinkQuality:
    """Estimate precision and recall of what stands in `exact_links` and `model_links`.

    Args:
        con: the connection of the engine after its last stage, with `candidates`.
        rules: for the precision of the exact passes.
        remainder: what was left over before the last pass; None in mode dedupe.
    """
    by_pass = dict(con.execute("select pass_no, count(*) from exact_links group by all").fetchall())
    exact_n = sum(by_pass.values())
    exact_wrong = sum(
        (1 - precision) * by_pass.get(pass_no, 0) for pass_no, precision in rules.precision.items()
    )
    auto_n, auto_wrong, clerical_n = con.execute("""
        select
            count(*) filter (where band = 'auto'),
            coalesce(sum(wrong) filter (where band = 'auto'), 0)::double,
            count(*) filter (where band = 'clerical')
        from (select *, (1 - probability)::decimal(18, 9) as wrong from model_links)
        anti join exact_links using (left_id, right_id)
    """).fetchall()[0]
    tail = (1 - rules.groups.confidence) / 2
    wrong = exact_wrong + auto_wrong
    missed = _missed(con, rules, remainder)
    return quality_of(
        exact_n + auto_n,
        clerical_n,
        counted(wrong, wrong, wrong, tail),
        counted(*missed, tail),
    )


def counted(mean: float, low: float, high: float, tail: float) -> Expected:
    """An expected number, its ends widened by chance: the Poisson quantiles of both."""
    return Expected(mean, *(float(n) for n in poisson([low, high], [tail, 1 - tail])))


def missed_chances(
    con: duckdb.DuckDBPyConnection, remainder: Remainder | None, missed_n: float
) -> pa.Table:
    """Of each record without a link, the chance that its partner is there and was missed.

    Args:
        con: the connection of the engine after its last stage.
        remainder: what was left over before the last pass; None in mode dedupe: no rows.
        missed_n: expected number of missed pairs, to which either side is drawn.

    Returns:
        pyarrow.Table `side` (left | right), `record_id`, `chance` (more than 0), ordered.
    """
    if remainder is None or not remainder.left_n or not remainder.right_n:
        return pa.table({"side": [], "record_id": [], "chance": []}, _CHANCES)
    share, left_n = remainder.share, remainder.left_n
    con.execute(f"""
        create or replace temp table missed_pairs as
        with open_pairs as (
            select left_id, right_id, {share / left_n!r} * pow(2.0, least(evidence, 200)) as factor
            from candidates
            anti join (from model_links where band = 'auto') as l using (left_id)
            anti join (from model_links where band = 'auto') as r using (right_id)
        )
        select
            left_id,
            right_id,
            (factor / ({1 - share!r} + sum(factor) over (partition by right_id
                order by factor, left_id
                rows between unbounded preceding and unbounded following)))::decimal(18, 9)
                as chance
        from open_pairs
    """)
    return pa.concat_tables([_chances(con, side, missed_n) for side in ("left", "right")])


_CHANCES = pa.schema([("side", pa.string()), ("record_id", pa.string()), ("chance", pa.float64())])


def _chances(con: duckdb.DuckDBPyConnection, side: str, missed_n: float) -> pa.Table:
    rows = con.execute(f"""
        select unique_id, least(coalesce(sum(chance), 0), 1)::double as chance
        from {side}_rest
        left join missed_pairs on unique_id = {side}_id
        anti join (from model_links where band = 'auto') as taken on unique_id = taken.{side}_id
        group by unique_id
        order by unique_id
    """).to_arrow_table()
    chances = drawn_to(rows["chance"].to_numpy(), missed_n)
    kept = chances > 0
    ids = rows["unique_id"].filter(pa.array(kept))
    return pa.table(
        {"side": pa.array([side] * len(ids)), "record_id": ids, "chance": chances[kept]},
        _CHANCES,
    )


def drawn_to(chances: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """Chances that add up to `total` (or to all there are), none above 1, rounded."""
    found, total = float(chances.sum()), min(total, float(len(chances)))
    if found > total:
        return np.round(chances * (total / found), 6)
    room = float((1 - chances).sum())
    return np.round(chances + (1 - chances) * ((total - found) / room if room > 0 else 0), 6)


def _missed(
    con: duckdb.DuckDBPyConnection, rules: LinkRules, remainder: Remainder | None
) -> tuple[float, float, float]:
    """Expected number of right pairs that are no link, with the ends of its interval.

    The left-over right records that have a partner, less those that the last pass linked. In
    mode dedupe nobody is left over: the candidates that did not become links.
    """
    if remainder is None:
        found = con.execute("""
            select
                coalesce(sum((1 / (1 + pow(2.0, -weight::double)))::decimal(18, 9)), 0)::double
            from candidates
            anti join exact_links using (left_id, right_id)
            anti join (from model_links where band = 'auto') using (left_id, right_id)
        """).fetchall()[0][0]
        return found, found, found
    linked = con.execute(f"""
        select coalesce(sum(probability::decimal(18, 9)), 0)::double
        from model_links
        where band = 'auto' and pass_no = {rules.remainder.pass_no}
    """).fetchall()[0][0]
    partners = (remainder.partners_low, remainder.partners, remainder.partners_high)
    low, middle, high = (max(n - linked, 0.0) for n in partners)
    return middle, low, high


def poisson(
    means: Sequence[float] | NDArray[np.float64], levels: Sequence[float] | float
) -> NDArray[np.float64]:
    """Quantiles of Poisson counts: the fewest n with P(count <= n) >= level, mean by mean."""
    from scipy import special

    mean, level = np.broadcast_arrays(np.asarray(means, dtype=np.float64), levels)
    is_none = (mean <= 0) | (np.exp(-np.maximum(mean, 0)) >= level)
    found = np.ceil(special.pdtrik(level, np.where(is_none, 1.0, mean)) - 1e-9)
    return np.where(is_none, 0.0, found)


def _shares(
    middle: tuple[float, float], worst: tuple[float, float], best: tuple[float, float]
) -> tuple[float | None, float | None, float | None]:
    """Shares of good ones among good and bad, the ends about the middle; None without any."""
    if sum(middle) <= 0:
        return None, None, None
    at, low, high = (
        1 - max(bad, 0.0) / (max(good, 0.0) + max(bad, 0.0)) if bad > 0 else 1.0
        for good, bad in (middle, worst, best)
    )
    return round(at, 6), round(min(low, at), 6), round(max(high, at), 6)
