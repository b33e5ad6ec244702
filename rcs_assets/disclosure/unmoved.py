"""Whether a figure that stays as it was tells how those answered who changed.

Belongs here: of cells shown alike in two releases, in which 1-9 pupils joined, left or answered
otherwise, whether every answer of theirs can have led there. Does not belong here: how many have
changed (`earlier.py`), the audit's own judgement (`differences.py`).

policy.md, How protection is judged, Change between releases: to keep the old value tells nothing
only if it would have been kept whatever the pupils' answers. 19 % of a shown 85 is 16 of 83 to 86
pupils and nothing else: if one has left and it is shown again, she is none of the 16.
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

    `n`, `figure`: as shown (a percentage or a mean), `n_step`, `step`: their rounding.
    `k_numerator`, `k_complement`: what a shown cell is known to reach. `score_low`, `score_high`:
    ends of a mean's scale. `is_weighted`: an area's figure, no share of whole pupils; all are taken
    to count alike there, as in the attack.
    `joined`: how many more pupils there are now (fewer: below 0); `changed`: how many joined, left
    or answered otherwise at least.
    """

    n: FloatArray
    figure: FloatArray
    n_step: FloatArray
    step: FloatArray
    k_numerator: FloatArray
    k_complement: FloatArray
    score_low: FloatArray
    score_high: FloatArray
    is_mean: BoolArray
    is_weighted: BoolArray
    joined: FloatArray
    changed: FloatArray

    def tells(self) -> BoolArray:
        """Cells of which the same figure rules some answer of those who changed out.

        Of a school or a cluster every answer of all of them together: who left is known there, and
        some of their answers may be. Of areas what each one by himself can have said.
        """
        least, most = self._sums_of_changes()
        one = self._length() * np.where(np.abs(self.joined) < self.changed, 2, 1)
        is_any = np.where(self.is_weighted, most - least - one, 0.0)
        steps = np.where(self.is_mean | self.is_weighted, 1.0, most - least)
        tells = np.zeros(len(self.n), dtype=bool)
        for number in range(int(steps.max(initial=-1)) + 1):
            part = np.minimum(number / np.maximum(steps, 1), 1)
            begin = least + (most - least - is_any) * part
            tells |= ~self._fits(begin, begin + is_any)
        return tells

    def _length(self) -> FloatArray:
        """By how much one pupil's answer can be more than another one's."""
        return np.where(self.is_mean, self.score_high - self.score_low, 1.0)

    def _sums_of_changes(self) -> tuple[FloatArray, FloatArray]:
        """Least and most by which answers can have moved the sum of them."""
        low = np.where(self.is_mean, self.score_low, 0.0)
        high = low + self._length()
        # Who stayed and answers otherwise moves it by the length of the scale at most.
        stayed = (self.changed - np.abs(self.joined)) * self._length()
        has_fewer = self.joined < 0
        least = self.joined * np.where(has_fewer, high, low) - stayed
        return least, self.joined * np.where(has_fewer, low, high) + stayed

    def _fits(self, least: FloatArray, most: FloatArray) -> BoolArray:
        """Whether the same figure can stand after a change of the sum by so much, or so much."""
        first, last = counts_behind(self.n, self.n_step)
        fits = np.zeros(len(self.n), dtype=bool)
        for more in range(int((last - first).max(initial=-1)) + 1):
            then = first + more
            now = then + self.joined
            low_then, high_then = self._sums_behind(then)
            low_now, high_now = self._sums_behind(now)
            low, high = (
                np.maximum(low_then, low_now - most),
                np.minimum(high_then, high_now - least),
            )
            fits |= (then <= last) & (now >= first) & (now <= last) & (low <= high + NOISE)
        return fits

    def _sums_behind(self, n: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Least and most that the answers of so many pupils add up to, shown as they are."""
        scale = np.where(self.is_mean, 1.0, 100.0)
        low_p, high_p = ((self.figure + sign * self.step / 2) / scale for sign in (-1, 1))
        low, high = low_p * n, high_p * n
        share_low = np.maximum(low, self.k_numerator)
        share_high = np.minimum(high, n - self.k_complement)
        # Halves were rounded up, and nothing lies above 100 %.
        below = np.where(high_p < 1, np.ceil(high - NOISE) - 1, n)
        whole_low = np.maximum(np.ceil(low - NOISE), self.k_numerator)
        whole_high = np.minimum(below, n - self.k_complement)
        is_whole = ~(self.is_mean | self.is_weighted)
        return (
            np.where(self.is_mean, low, np.where(is_whole, whole_low, share_low)),
            np.where(self.is_mean, high, np.where(is_whole, whole_high, share_high)),
        )
