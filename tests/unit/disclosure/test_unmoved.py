"""Figures that stay though few have changed, beside every whole pair that can be behind them."""

from __future__ import annotations

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
    n: float, figure: float, joined: int, changed: int, k: int = 5, *, step: float = 1,
    n_step: int = 5, scale: tuple[int, int] | None = None, is_weighted: bool = False,
) -> bool:  # fmt: skip
    """Of one cell: a percentage, or a mean on a scale."""
    low, high = scale or (0, 1)
    numbers = (n, figure, n_step, step, k, k, low, high)
    flags = (scale is not None, is_weighted)
    columns = [np.array([float(v)]) for v in numbers] + [np.array([v]) for v in flags]
    return bool(Unmoved(*columns, np.array([float(joined)]), np.array([float(changed)])).tells()[0])


def pairs_behind(n: float, figure: float, k: int, step: float, n_step: int) -> set[tuple[int, int]]:
    """Every number of pupils and of positive answers that is shown so."""
    return {
        (pupils, yes)
        for pupils in range(int(n) - n_step, int(n) + n_step + 1)
        for yes in range(k, pupils - k + 1)
        if half_up(pupils, n_step) == n and half_up(100 * yes / pupils, step) == figure
    }


def test_the_only_pair_of_a_shown_figure_tells_what_a_leaver_did_not_say() -> None:
    assert pairs_behind(85, 19, 5, 1, 5) == {(pupils, 16) for pupils in range(83, 87)}
    assert tells(85, 19, -1, 1), "16 of all: none of the 16 has left"
    assert tells(85, 85, -1, 1)
    assert tells(85, 19, 0, 1), "an answer that was corrected is none either"
    assert not tells(400, 19, -1, 1)


@given(
    base=st.integers(20, 260),
    share=st.floats(0.05, 0.95),
    joined=st.integers(-3, 3),
    stayed=st.integers(0, 3),
    step=st.sampled_from([1, 5]),
)
def test_whatever_tells_rules_out_some_answer(base, share, joined, stayed, step):
    k = 5
    n, figure = half_up(base, 5), half_up(100 * round(share * base) / base, step)
    pairs = pairs_behind(n, figure, k, step, 5)
    if not pairs or not (joined or stayed):
        return
    fewest, most = min(joined, 0) - stayed, max(joined, 0) + stayed
    ruled_out = [
        moved
        for moved in range(fewest, most + 1)
        if not any((pupils + joined, yes + moved) in pairs for pupils, yes in pairs)
    ]
    found = tells(n, figure, joined, abs(joined) + stayed, k, step=step)
    assert found == bool(ruled_out)


def test_means_and_weighted_figures_stay_where_few_cannot_move_them() -> None:
    assert not tells(345, 16.7, -1, 1, step=0.1, scale=(LOW, HIGH))
    assert tells(35, 16.7, -1, 1, step=0.1, scale=(LOW, HIGH)), "20 points of 35 pupils' 585"
    assert not tells(5000, 42, -9, 9, k=10, n_step=10, is_weighted=True)
    assert tells(40, 42, -1, 1, k=10, n_step=10, is_weighted=True), "2.5 % of 40 pupils"
    # Not both of two can have said yes, but either can.
    assert not tells(100, 42, -2, 2, k=10, n_step=10, is_weighted=True)
    assert tells(100, 42, -2, 2, k=10, n_step=10), "who knows one of them, of a school"


def least_changed(base: int, total: int, old_base: int, old_total: int) -> tuple[int, int]:
    """As protection and the audit count them."""
    names = ("base_n", "sum_x", "old_base", "old_sum")
    row = {
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
    audited = _RESCORED.format(
        sum="(sum_x - old_sum)", base="(base_n - old_base)", low="score_low", high="score_high"
    )
    with duckdb.connect() as con:
        con.register("pair", pa.table(row))
        found = con.execute(
            f"select {CHANGED_LEAST}, abs(base_n - old_base) + {audited} from pair"
        ).fetchall()
    return tuple(int(count) for count in found[0])


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
