"""What a shown number and percentage leave open, since pupils and their answers are whole.

Belongs here: the whole pairs of pupils and positive answers behind a shown cell of a school or a
cluster. Does not belong here: rounding itself (`grid.py`), who makes what of it (`told.py`,
`suppress.py`).

8 % of a shown 65 is 5 of 63 to 66 pupils and nothing else, where bounds alone leave 4.7 to 5.7
(policy.md, "How protection is judged": an attacker's interval is rounded inward to integers). Of
areas percentages are weighted, and no share of whole pupils.
"""

from __future__ import annotations

import numpy as np

from rcs_assets.disclosure.rows import FloatArray

# What binary fractions leave of a bound that is met exactly.
NOISE = 1e-9
# The parts of an answer, in order.
PARTS = ("base", "numerator", "complement")


def whole_answers(
    low_n: FloatArray,
    high_n: FloatArray,
    low_p: FloatArray,
    high_p: FloatArray,
    k_numerator: FloatArray,
    k_complement: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Least and most of each of `PARTS` over all whole pairs that are shown so.

    Args:
        low_n, high_n: pupils that rounding leaves; all arguments are of one shape.
        low_p, high_p: proportions that rounding leaves, 0 to 1; halves were rounded up.
        k_numerator, k_complement: what a shown cell is known to reach; 0 where nothing is.

    Returns:
        Two arrays of one dimension more, in front; infinite of the wrong sign where no pair fits,
        as in a cell that is never shown.
    """
    # Of nobody no percentage is shown.
    first, last = np.maximum(np.ceil(low_n), 1.0), np.floor(high_n)
    least = np.full((len(PARTS), *np.shape(first)), np.inf)
    most = -least
    for more in range(int(np.max(last - first, initial=-1.0, where=np.isfinite(last))) + 1):
        n = first + more
        fewest = np.maximum(np.ceil(low_p * n - NOISE), k_numerator)
        # 12.5 % is no shown 10; nothing lies above 100 %.
        below = np.where(high_p < 1, np.ceil(high_p * n - NOISE) - 1, n)
        highest = np.minimum(below, n - k_complement)
        is_pair = (n <= last) & (fewest <= highest)
        ends = ((n, n), (fewest, highest), (n - highest, n - fewest))
        for part, (low, high) in enumerate(ends):
            least[part] = np.where(is_pair, np.minimum(least[part], low), least[part])
            most[part] = np.where(is_pair, np.maximum(most[part], high), most[part])
    return least, most
