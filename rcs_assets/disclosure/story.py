"""Whether an area's figure that stays tells an answer beside all that releases before showed of it.

Belongs here: of cells of CPPs and above, shown in a row of releases, whether each of those who
changed between two of them can still have given any answer once the next release is read. Does not
belong here: two releases alone (`unmoved.py`), which cells are asked (`earlier.py`), the audit's
own judgement (`differences.py`).

policy.md, How protection is judged, Change between releases. Of 78 girls one leaves, then seven;
60 % of a shown 80 is said three times. Each pair of releases leaves it open what the first one
said, all three do not: her answer is judged once more with each figure that is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rcs_assets.disclosure.rows import BoolArray, FloatArray
from rcs_assets.disclosure.secondary import counts_behind
from rcs_assets.disclosure.unmoved import NOISE, moves, one_answer, sums_behind

# A step of a story, from the figure before to this one, and the end at which an answer is.
_Question = tuple[int, bool]
_SUMS = ("low", "high", "k_numerator", "k_complement", "one_high", "is_share")
_MOVES = ("joined", "changed", "one_low", "one_high")
COLUMNS = ("n", "n_step", "slack", *_SUMS, *_MOVES[:3])


@dataclass(frozen=True)
class Stories:
    """Cells that as many releases showed, the last of which is to be made.

    `figures`: of each of `COLUMNS` cells × releases, as in `Unmoved`: `slack` of that n, and how
    many more pupils there are than in the figure before (`joined`) and have changed since, at
    least (`changed`). `least`: contributors that a change needs to be told.
    """

    figures: Mapping[str, FloatArray]
    least: int

    def tells(self) -> BoolArray:
        """Cells of which the last figure rules out an answer that those before left open."""
        cells_n, releases_n = self.figures["n"].shape
        tells = np.zeros(cells_n, dtype=bool)
        for step in range(1, releases_n):
            changed = self.figures["changed"][:, step]
            is_asked = (changed >= 1) & (changed < self.least)
            if is_asked.any():
                for end in (False, True):
                    is_open = self._fits(releases_n, (step, end))
                    was_open = self._fits(releases_n - 1, (step, end))
                    tells |= is_asked & was_open & ~is_open
        # Weights explain figures that no whole pupils do; such tell no answer.
        return tells & self._fits(releases_n)

    def _fits(self, releases_n: int, question: _Question = (0, False)) -> BoolArray:
        """Whether the first figures can follow each other, one answer of a step being given."""
        first, last = counts_behind(self.figures["n"], self.figures["n_step"])
        first, last = first - self.figures["slack"], last + self.figures["slack"]
        fits = np.zeros(len(first), dtype=bool)
        for more in range(int((last - first)[:, 0].max(initial=-1)) + 1):
            n = first[:, 0] + more
            can_be = np.ones(len(n), dtype=bool)
            low, high = np.full(len(n), -np.inf), np.full(len(n), np.inf)
            for at in range(releases_n):
                if at:
                    n = n + self.figures["joined"][:, at]
                least, most = sums_behind(n, *(self.figures[name][:, at] for name in _SUMS))
                fewest, highest = self._moves(at, question)
                low, high = np.maximum(least, low + fewest), np.minimum(most, high + highest)
                can_be &= (n >= first[:, at]) & (n <= last[:, at]) & (low <= high + NOISE)
            fits |= can_be
        return fits

    def _moves(self, at: int, question: _Question) -> tuple[FloatArray, FloatArray]:
        """Least and most by which the sum has changed since the figure before."""
        changes = [self.figures[name][:, at] for name in _MOVES]
        least, most = moves(*changes)
        if at and at == question[0]:
            one = one_answer(*changes)
            return (least + one, most) if question[1] else (least, most - one)
        return least, most
