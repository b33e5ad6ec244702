"""Figures that stay though few have changed, and how many have at least."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rcs_assets.disclosure.differences import _RESCORED
from rcs_assets.disclosure.earlier import CHANGED_LEAST
from rcs_assets.disclosure.unmoved import Unmoved
from tests.unit.disclosure.test_whole import half_up

LOW, HIGH = 5, 20


def tells(
    n: float, figure: float, joined: int, changed: int, k: int = 10, *, step: float = 1,
    scale: tuple[int, int] | None = None, slack: tuple[int, int] = (0, 0),
) -> bool:  # fmt: skip
    """Of one cell of a CPP, n shown in tens: a percentage, or a mean on a scale."""
    by = 1 if scale else 100
    low, high = (figure - step / 2) / by, (figure + step / 2) / by
    reach = 0 if scale else k
    ends, is_share = scale or (0, 1), scale is None
    numbers = (n, 10, low, high, reach, reach, *ends, joined, changed, *slack, is_share)
    return bool(Unmoved(*(np.array([float(number)]) for number in numbers)).tells()[0])


def test_a_figure_stays_where_no_answer_of_one_pupil_could_have_moved_it() -> None:
    assert not tells(5000, 42, -9, 9)
    assert tells(40, 42, -1, 1), "one of 40 pupils is 2.5 %"
    # Not both of two can have said yes, but either can.
    assert not tells(100, 42, -2, 2)
    assert not tells(340, 16.7, -1, 1, step=0.1, scale=(LOW, HIGH))
    assert tells(40, 16.7, -1, 1, step=0.1, scale=(LOW, HIGH)), "20 points of 40 pupils' 668"


def test_answers_are_whole() -> None:
    """70 % of a shown 70 is 46 of 66, 47 of 67, 48 of 69, 49 of 70, 50 of 71, 51 of 73, 52 of 74.

    One boy leaves, and 70 % of 70 are shown again: whichever it was, he is one who said yes.
    """
    assert tells(70, 70, -1, 1)
    assert not tells(70, 70, -2, 2)


@given(
    base=st.integers(30, 400),
    share=st.floats(0.1, 0.9),
    joined=st.integers(-3, 3),
    stayed=st.integers(0, 3),
)
def test_whatever_stays_can_be_made_by_either_answer(base, share, joined, stayed):
    """Every number of pupils of then: the sums of now that its sums lead to, and those shown so."""
    if not (joined or stayed):
        return
    n, figure, k = half_up(base, 10), half_up(100 * share, 1), 10
    one = 2 if stayed else 1
    fewest, most = min(joined, 0) - stayed, max(joined, 0) + stayed

    def sums(pupils: int) -> tuple[int, int]:
        numbers = range(k, pupils - k + 1)
        shown = [yes for yes in numbers if half_up(100 * yes / pupils, 1) == figure]
        return min(shown, default=1), max(shown, default=0)

    def can_be(least: float, largest: float) -> bool:
        for then in range(int(n) - 5, int(n) + 5):
            (low_then, high_then), (low_now, high_now) = sums(then), sums(then + joined)
            is_size = n - 5 <= then + joined < n + 5
            reach = max(low_then + least, low_now), min(high_then + largest, high_now)
            if is_size and low_then <= high_then and low_now <= high_now and reach[0] <= reach[1]:
                return True
        return False

    either = can_be(fewest, most - one) and can_be(fewest + one, most)
    assert tells(n, figure, joined, abs(joined) + stayed) != either


def least_changed(base: int, total: int, old_base: int, old_total: int) -> tuple[int, int]:
    """As protection and the audit count them."""
    names = ("base_n", "sum_x", "old_base", "old_sum")
    row: dict[str, Any] = {
        name: [float(v)] for name, v in zip(names, (base, total, old_base, old_total), strict=True)
    }
    row |= {
        "answers_mark": [1],
        "old_mark": [1],
        "statistic": ["mean"],
        "sd": [1.0],
        "old_sd": [1.0],
        "y_n": [0.0],
        "old_yes": [0.0],
    }
    row |= {"score_low": [float(LOW)], "score_high": [float(HIGH)]}
    audited = "sdc_rescored(sum_x - old_sum, base_n - old_base, score_low, score_high)"
    with duckdb.connect() as con:
        con.register("pair", pa.table(row))
        con.execute(_RESCORED)
        found = con.execute(
            f"select {CHANGED_LEAST}, abs(base_n - old_base) + {audited} from pair"
        ).fetchall()
    n, audited_n = found[0]
    return int(n), int(audited_n)


def test_eight_leavers_of_a_mean_are_eight() -> None:
    """138 points are more than nine times the length of the scale, and eight pupils' scores."""
    assert least_changed(335, 5602, 343, 5740) == (8, 8)
    assert least_changed(343, 5740, 343, 5602) == (10, 10), "15 points each who stay"


@given(
    left=st.lists(st.integers(LOW, HIGH), max_size=6),
    came=st.lists(st.integers(LOW, HIGH), max_size=6),
    moved=st.lists(st.integers(LOW - HIGH, HIGH - LOW), max_size=6),
)
def test_no_more_changed_than_did(left, came, moved):
    total = sum(came) - sum(left) + sum(moved)
    protection, audit = least_changed(100 + len(came) - len(left), 1200 + total, 100, 1200)
    assert protection == audit <= len(left) + len(came) + len(moved)
