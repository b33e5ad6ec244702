"""How good the links are, estimated without truth.

Belongs here: precision and recall from the model's own probabilities, with intervals.
Does not belong here: link rates by group (`by_group.py`), and any look at truth (tests).

Precision is the mean probability of the links that count (exact and auto); an exact pass
has the precision that its rule states. Recall is the expected number of right links over
that number plus the expected number of right pairs among candidates that did not become
links. It says nothing of pairs that share no block; the simulator's truth does (tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import duckdb

from rcs_assets.linkage.settings import LinkRules


@dataclass(frozen=True)
class LinkQuality:
    """Estimates as shares 0 to 1, with intervals; None where nothing was linked.

    `links_n`: links of bands exact and auto; `clerical_n`: pairs that wait for a clerk.
    """

    links_n: int
    clerical_n: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None


def estimate_quality(con: duckdb.DuckDBPyConnection, rules: LinkRules) -> LinkQuality:
    """Estimate precision and recall of what stands in `exact_links` and `model_links`.

    Args:
        con: the connection of the engine after its last stage, with `candidates`.
        rules: for the precision of the exact passes.
    """
    by_pass = dict(con.execute("select pass_no, count(*) from exact_links group by all").fetchall())
    exact_n = sum(by_pass.values())
    exact_right = sum(entry.precision * by_pass.get(entry.pass_no, 0) for entry in rules.passes)
    auto_n, auto_right, clerical_n, missed = con.execute("""
        with new_links as (
            select * from model_links anti join exact_links using (left_id, right_id)
        ),
        -- A record that is not linked misses at most one pair: its likeliest.
        open_pairs as (
            select right_id, max(1 / (1 + pow(2.0, -weight::double))) as probability
            from candidates
            anti join exact_links using (left_id, right_id)
            where
                left_id not in (select left_id from new_links where band = 'auto')
                and right_id not in (select right_id from new_links where band = 'auto')
            group by right_id
        )
        select
            count(*) filter (where band = 'auto'),
            coalesce(sum(probability::decimal(18, 9)) filter (where band = 'auto'), 0)::double,
            count(*) filter (where band = 'clerical'),
            (select coalesce(sum(probability::decimal(18, 9)), 0)::double from open_pairs)
        from new_links
    """).fetchall()[0]
    links_n, right = exact_n + auto_n, exact_right + auto_right
    z = NormalDist().inv_cdf(0.5 + rules.groups.confidence / 2)
    precision = _share(right, links_n, z)
    recall = _share(right, right + missed, z)
    return LinkQuality(links_n, clerical_n, *precision, *recall)


def _share(part: float, whole: float, z: float) -> tuple[float | None, float | None, float | None]:
    """A share with its Wilson interval; the parts may be expected numbers."""
    if whole <= 0:
        return None, None, None
    share = min(part / whole, 1.0)
    denominator = 1 + z**2 / whole
    centre = (share + z**2 / (2 * whole)) / denominator
    half = z * sqrt(share * (1 - share) / whole + z**2 / (4 * whole**2)) / denominator
    return (
        round(share, 6),
        round(max(0.0, min(centre - half, share)), 6),
        round(min(1.0, max(centre + half, share)), 6),
    )
