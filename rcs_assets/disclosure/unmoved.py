"""Whether an area's figure that stays as it was tells how those answered who changed.

Belongs here: of cells of CPPs and above, shown alike in two releases, in which 1-9 pupils joined,
left or answered otherwise, whether each of them can have given any answer. Does not belong here:
schools and clusters, where no such cell stays, how many have changed (`earlier.py`), the audit's
own judgement (`differences.py`).

policy.md, How protection is judged, Change between releases: to keep the old value tells nothing
only if it would have been kept whatever a pupil answered. A percentage of 40 pupils moves by more
than 2 if one of those who said yes leaves: that it stays says that he was none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rcs_assets.disclosure.rows import BoolArray, FloatArray
from rcs_assets.disclosure.secondary import counts_behind

NOISE = 1e-9


@dataclass(frozen=True)
class Unmoved:
    """Cells shown alike twice; all arrays of one length.

    All pupils are taken to count alike, and pupils and answers behind a percentage to be whole:
    within a stage and sex of a CPP all weights are the same.

    `n`, `low`, `high`: pupils as shown, and between what the figure of one pupil (a percentage's
    is a share) must lie to be shown as it is; `n_step`: rounding of n. `k_numerator`,
    `k_complement`: what a shown cell is known to reach. `one_low`, `one_high`: least and most that
    one pupil adds (0 and 1, or the ends of a scale). `joined`: how many more pupils there are now
    (fewer: below 0); `changed`: how many joined, left or answered otherwise at least.
    `slack_then`, `slack_now`: how many pupils n may be off beyond its rounding (`kept.py`).
    `is_share`: 1 of a percentage, 0 of a mean.
    """

    n: FloatArray
    n_step: FloatArray
    low: FloatArray
    high: FloatArray
    k_numerator: FloatArray
    k_complement: FloatArray
    one_low: FloatArray
    one_high: FloatArray
    joined: FloatArray
    changed: FloatArray
    slack_then: FloatArray
    slack_now: FloatArray
    is_share: FloatArray

    def tells(self) -> BoolArray:
        """Cells of which the same figure rules out some answer of one of those who changed."""
        least, most = moves(self.joined, self.changed, self.one_low, self.one_high)
        one = one_answer(self.joined, self.changed, self.one_low, self.one_high)
        return ~(self._fits(least, most - one) & self._fits(least + one, most))

    def _fits(self, least: FloatArray, most: FloatArray) -> BoolArray:
        """Whether the same figure can stand after a change of the sum by so much to so much."""
        first, last = counts_behind(self.n, self.n_step)
        least_then, most_then = first - self.slack_then, last + self.slack_then
        fits = np.zeros(len(self.n), dtype=bool)
        for more in range(int((most_then - least_then).max(initial=-1)) + 1):
            then = least_then + more
            now = then + self.joined
            (low_then, high_then), (low_now, high_now) = self._sums(then), self._sums(now)
            low, high = (
                np.maximum(low_then, low_now - most),
                np.minimum(high_then, high_now - least),
            )
            is_number = (then <= most_then) & (now >= first - self.slack_now)
            is_number &= now <= last + self.slack_now
            is_shown = (low_then <= high_then + NOISE) & (low_now <= high_now + NOISE)
            fits |= is_number & is_shown & (low <= high + NOISE)
        return fits

    def _sums(self, n: FloatArray) -> tuple[FloatArray, FloatArray]:
        reach = self.k_numerator, self.k_complement, self.one_high
        return sums_behind(n, self.low, self.high, *reach, self.is_share)


def moves(
    joined: FloatArray, changed: FloatArray, one_low: FloatArray, one_high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Least and most by which the sum has changed, whatever those who changed answered."""
    has_fewer = joined < 0
    # Who stayed and answers otherwise moves the sum by the length of the scale at most.
    stayed = (changed - np.abs(joined)) * (one_high - one_low)
    least = joined * np.where(has_fewer, one_high, one_low) - stayed
    return least, joined * np.where(has_fewer, one_low, one_high) + stayed


def one_answer(
    joined: FloatArray, changed: FloatArray, one_low: FloatArray, one_high: FloatArray
) -> FloatArray:
    """By how much less the sum can have changed once one answer is at one end of the scale."""
    # Those of the others are anywhere; who answers otherwise has two answers.
    return (one_high - one_low) * np.where(changed > np.abs(joined), 2, 1)


def sums_behind(
    n: FloatArray,
    low: FloatArray,
    high: FloatArray,
    k_numerator: FloatArray,
    k_complement: FloatArray,
    one_high: FloatArray,
    is_share: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Least and most that the answers of so many pupils add up to, shown as they are.

    Args:
        n: pupils; the others as in `Unmoved`.
    """
    least, most = low * n, high * n
    # Halves are rounded up; nothing lies above 100 %.
    below = np.where(high < 1, np.ceil(most - NOISE) - 1, n)
    least = np.where(is_share > 0, np.ceil(least - NOISE), least)
    most = np.where(is_share > 0, below, most)
    return np.maximum(least, k_numerator), np.minimum(most, one_high * n - k_complement)
