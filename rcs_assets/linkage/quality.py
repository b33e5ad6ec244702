"""How good the links are, estimated without truth.

Belongs here: precision and recall from the model's own probabilities, with intervals.
Does not belong here: link rates by group (`by_group.py`), and any look at truth (tests).

Wrong links: each automatic link is wrong with one minus its probability; an exact pass as
often as its rule states. Missed pairs: the left-over right records that have a partner
(`remainder.py`), less those that the last pass linked. The intervals are those of the number
of wrong links and of missed pairs in these very files: of the estimate (likelihood) and of
chance (Poisson).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp

import duckdb

from rcs_assets.linkage.remainder import Remainder
from rcs_assets.linkage.settings import LinkRules


@dataclass(frozen=True)
class LinkQuality:
    """Estimates as shares 0 to 1, with intervals; None where nothing was linked.

    `links_n`: links of bands exact, decided and auto; `clerical_n`: pairs that wait for a clerk.
    """

    links_n: int
    clerical_n: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None


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
    sure = {rule.pass_no: rule.precision for rule in rules.passes}
    sure[rules.clerical.pass_no] = rules.clerical.precision
    exact_wrong = sum((1 - precision) * by_pass.get(n, 0) for n, precision in sure.items())
    auto_n, auto_wrong, clerical_n = con.execute("""
        select
            count(*) filter (where band = 'auto'),
            coalesce(sum(wrong) filter (where band = 'auto'), 0)::double,
            count(*) filter (where band = 'clerical')
        from (select *, (1 - probability)::decimal(18, 9) as wrong from model_links)
        anti join exact_links using (left_id, right_id)
    """).fetchall()[0]
    links_n, wrong = exact_n + auto_n, exact_wrong + auto_wrong
    tail = (1 - rules.groups.confidence) / 2
    missed = _missed(con, remainder)
    return LinkQuality(
        links_n,
        clerical_n,
        *_shares(links_n, wrong, _poisson(wrong, tail), _poisson(wrong, 1 - tail)),
        *_shares(
            links_n - wrong + missed[0],
            missed[0],
            _poisson(missed[1], tail),
            _poisson(missed[2], 1 - tail),
        ),
    )


def _missed(
    con: duckdb.DuckDBPyConnection, remainder: Remainder | None
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
    linked = con.execute("""
        select coalesce(sum(probability::decimal(18, 9)), 0)::double
        from model_links
        where band = 'auto' and pass_no = (select max(pass_no) from model_links)
    """).fetchall()[0][0]
    shares = (remainder.share, remainder.share_low, remainder.share_high)
    low, middle, high = sorted(max(share * remainder.right_n - linked, 0.0) for share in shares)
    return middle, low, high


def _poisson(mean: float, level: float) -> float:
    """The quantile of a Poisson count: the fewest n with P(count <= n) >= level."""
    from scipy import special

    if mean <= 0 or exp(-mean) >= level:
        return 0.0
    return ceil(float(special.pdtrik(level, mean)) - 1e-9)


def _shares(
    whole: float, missing: float, fewest: float, most: float
) -> tuple[float | None, float | None, float | None]:
    """1 - missing / whole, with the ends that the fewest and the most give."""
    if whole <= 0:
        return None, None, None
    middle, high, low = (1 - min(max(n, 0.0) / whole, 1.0) for n in (missing, fewest, most))
    return round(middle, 6), round(min(low, middle), 6), round(max(high, middle), 6)
