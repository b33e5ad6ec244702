"""What shown figures leave of whole pupils, beside every pair there is."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from rcs_assets.disclosure.secondary import counts_behind
from rcs_assets.disclosure.whole import PARTS, whole_answers


def half_up(value: float, step: float) -> float:
    """The nearest multiple, halves away from zero (policy.md, Table A)."""
    return math.floor(round(value / step, 9) + 0.5) * step


def left(n: float, pct: float, n_step: int, pct_step: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and most of each part, of one shown cell."""
    low_n, high_n = counts_behind(np.array([n]), np.array([n_step]))
    low, high = max((pct - pct_step / 2) / 100, 0), min((pct + pct_step / 2) / 100, 1)
    reach = np.array([float(k)])
    least, most = whole_answers(low_n, high_n, np.array([low]), np.array([high]), reach, reach)
    return least[:, 0], most[:, 0]


def test_eight_per_cent_of_a_shown_65_are_five() -> None:
    least, most = left(65, 8, 5, 1, 5)
    assert dict(zip(PARTS, zip(least, most, strict=True), strict=True)) == {
        "base": (63, 66), "numerator": (5, 5), "complement": (58, 61),
    }  # fmt: skip


@example(pupils=1, share=1.0, n_step=5, pct_step=1, k=0)
@given(
    pupils=st.integers(0, 400),
    share=st.floats(0, 1),
    n_step=st.sampled_from([5, 10]),
    pct_step=st.sampled_from([1, 5]),
    k=st.sampled_from([0, 5, 10]),
)
def test_it_is_what_all_pairs_leave(
    pupils: int, share: float, n_step: int, pct_step: int, k: int
) -> None:
    answers = min(round(share * pupils), pupils)
    if not pupils or answers < k or pupils - answers < k:
        return
    n, pct = half_up(pupils, n_step), half_up(100 * answers / pupils, pct_step)
    pairs = [
        (p, a)
        for p in range(1, int(n) + n_step)
        for a in range(k, p - k + 1)
        if half_up(p, n_step) == n and half_up(100 * a / p, pct_step) == pct
    ]
    least, most = left(n, pct, n_step, pct_step, k)
    assert (pupils, answers) in pairs
    for part, values in enumerate(zip(*((p, a, p - a) for p, a in pairs), strict=True)):
        assert (least[part], most[part]) == (min(values), max(values))


def test_where_no_pair_fits_nothing_is_said() -> None:
    least, most = left(20, 50, 5, 1, 15)
    assert np.isposinf(least).all() and np.isneginf(most).all()
