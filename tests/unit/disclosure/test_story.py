"""What figures of several releases tell together of who changed between two of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rcs_assets.disclosure.story import Stories
from tests.unit.disclosure.test_unmoved import tells as tells_of_two
from tests.unit.disclosure.test_whole import half_up

LEAST, K, STEP, SLACK = 10, 10, 10, 9
# A shown number and percentage, and how many have left since the one before.
Figures = list[tuple[float, float, int]]


def tells(figures: Figures) -> bool:
    """Of one cell of a CPP, n shown in tens; who left takes the answer along."""
    n, shown, left = (np.array([column], dtype=float) for column in zip(*figures, strict=True))
    same = np.ones_like(n)
    slack = np.full_like(n, SLACK)
    slack[0, 0] = 0
    columns = {
        "n": n, "n_step": STEP * same, "slack": slack, "low": (shown - 0.5) / 100,
        "high": (shown + 0.5) / 100, "k_numerator": K * same, "k_complement": K * same,
        "one_high": same, "is_share": same, "joined": -left, "changed": left,
        "one_low": 0 * same,
    }  # fmt: skip
    return bool(Stories(columns, LEAST).tells()[0])


def test_three_figures_tell_what_no_two_do() -> None:
    """One of 78 girls leaves, then seven of the others: 47 of 78, 46 of 77, 42 of 70 said yes."""
    figures: Figures = [(80, 60, 0), (80, 60, 1), (80, 60, 7)]
    assert not tells_of_two(80, 60, -1, 1, slack=(0, SLACK))
    assert not tells_of_two(80, 60, -8, 8, slack=(0, SLACK))
    assert not tells_of_two(80, 60, -7, 7, slack=(SLACK, SLACK))
    assert not tells(figures[:2])
    assert tells(figures), "she said yes"


def test_what_ten_changed_tells_of_one_who_changes_later() -> None:
    """15 of 165 leave, and 26 % is said where 23 % was: none of them said yes, nor can the next."""
    figures: Figures = [(160, 23, 0), (150, 26, 15), (150, 26, 1)]
    assert not tells_of_two(150, 26, -1, 1, slack=(0, SLACK))
    assert tells(figures)
    assert not tells(figures[1:])


def test_figures_that_no_whole_pupils_explain_are_weighted_and_tell_nothing() -> None:
    assert not tells([(50, 40, 0), (50, 49, 1), (50, 40, 1)])


@given(
    base=st.integers(30, 90),
    share=st.floats(0.15, 0.85),
    left=st.lists(st.integers(0, 12), min_size=1, max_size=2),
    yes=st.floats(0, 1),
)
def test_all_numbers_and_answers_are_tried(
    base: int, share: float, left: list[int], yes: float
) -> None:
    said, figures = round(base * share), []
    number = half_up(base, STEP)
    for gone in [0, *left]:
        base, said = base - gone, said - min(round(gone * yes), said)
        if base < 1:
            return
        figures.append((number, half_up(100 * said / base, 1), gone))
    assert tells(figures) == _tells(figures)


def _tells(figures: Figures) -> bool:
    stories = _stories(figures)
    before = _stories(figures[:-1])
    return bool(stories) and any(
        {_end(story, step, end, figures) for story in before} >= {True}
        and {_end(story, step, end, figures) for story in stories} == {False}
        for step in range(1, len(figures))
        if 1 <= figures[step][2] < LEAST
        for end in (0, 1)
    )


def _end(story: tuple[int, ...], step: int, end: int, figures: Figures) -> bool:
    """Whether one of those who left can have said no (yes); later steps can be anything yet."""
    if step >= len(story):
        return True
    gone = story[step - 1] - story[step]
    return gone >= 1 if end else gone <= figures[step][2] - 1


def _stories(figures: Figures) -> list[tuple[int, ...]]:
    """All that those who said yes can have been, from release to release."""
    found: list[tuple[int, ...]] = []
    first = int(figures[0][0])
    for start in range(first - STEP // 2, first + STEP // 2):
        found += _paths(_numbers(start, figures), figures)
    return found


def _numbers(start: int, figures: Figures) -> list[int]:
    numbers = [start]
    for _, _, gone in figures[1:]:
        numbers.append(numbers[-1] - gone)
    return numbers


def _paths(numbers: list[int], figures: Figures) -> list[tuple[int, ...]]:
    """Answers that are shown so, no more of which go than pupils do."""
    paths: list[tuple[int, ...]] = [()]
    for at, (pupils, (shown_n, shown, gone)) in enumerate(zip(numbers, figures, strict=True)):
        slack = SLACK if at else 0
        if not shown_n - STEP // 2 - slack <= pupils < shown_n + STEP // 2 + slack or pupils < 1:
            return []
        fitting = [y for y in range(K, pupils - K + 1) if half_up(100 * y / pupils, 1) == shown]
        paths = [
            (*path, y)
            for path in paths
            for y in fitting
            if not path or 0 <= path[-1] - y <= gone
        ]  # fmt: skip
    return paths
