"""How far two clerks agree who decided the same pairs without knowing of each other.

Belongs here: per cent agreement and Cohen's kappa, each with its interval. Does not belong here:
where decisions come from (`review.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Agreement:
    """Shares as per cent, kappa from -1 to 1; null where there is nothing to tell.

    `pairs_n`: pairs that two clerks decided; `agreed_n`: alike.
    """

    pairs_n: int
    agreed_n: int
    agreed_pct: float | None
    agreed_low: float | None
    agreed_high: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


def agreement(verdicts: Sequence[tuple[str, str]], confidence: float) -> Agreement:
    """Agreement over pairs of verdicts.

    Args:
        verdicts: one entry a pair: what the one clerk said, what the other said.
        confidence: of the intervals, e.g. 0.95.

    Cohen (1960): kappa = (observed - chance) / (1 - chance), chance from the clerks' own
    margins. As in his standard error, chance is taken as known; the interval is that of the
    observed agreement (Wilson, 1927), so that few pairs, or agreement in all of them, still have
    an interval of real width. Kappa is null where both clerks always say the same one thing.
    """
    pairs_n = len(verdicts)
    if not pairs_n:
        return Agreement(0, 0, *[None] * 6)
    agreed_n = sum(one == other for one, other in verdicts)
    observed = (agreed_n / pairs_n, *_wilson(agreed_n, pairs_n, confidence))
    lefts = Counter(one for one, _ in verdicts)
    rights = Counter(other for _, other in verdicts)
    chance = sum(n * rights[verdict] for verdict, n in lefts.items()) / pairs_n**2
    shown = (round(100 * share, 2) for share in observed)
    return Agreement(pairs_n, agreed_n, *shown, *(_kappa(share, chance) for share in observed))


def _kappa(share: float, chance: float) -> float | None:
    return None if chance == 1 else round(max((share - chance) / (1 - chance), -1.0), 4)


def _wilson(hits_n: int, n: int, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = hits_n / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
