"""Splits by risk factors, counts of risks and totals are one system; planted leaks are found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rcs_assets.disclosure import load_policy
from rcs_assets.disclosure.findings_attack import FindingLeak, Level, OutcomeAttack

RULE = load_policy().models
COUNT = ("count", "peer", "risks")
LONELY, ALONE = ("factor", "peer", "lonely"), ("factor", "peer", "alone")


def split(
    place: tuple[str, str, str], groups: dict[str, tuple[int, int]], *, is_shown: bool = True
) -> list[Level]:
    """Levels of one split: pupils, and those with the outcome."""
    return [Level(*place, name, n, yes, is_shown) for name, (n, yes) in groups.items()]


def leaks(levels: list[Level], total: tuple[int, int, bool] | None) -> set[str]:
    attack = OutcomeAttack(levels, RULE, is_sensitive=False, total=total, model_n=None)
    return {
        f"{' '.join(leak.split)} {leak.level} {leak.quantity}" for leak in attack.leaks("s", "o")
    }


SAFE = [
    *split(LONELY, {"protective": (600, 200), "risk": (380, 100)}),
    *split(ALONE, {"protective": (700, 220), "risk": (270, 75)}),
    *split(COUNT, {"0": (480, 150), "1": (260, 90), "2": (180, 40)}),
]


def test_splits_that_leave_all_open_are_no_leak() -> None:
    assert leaks(SAFE, (1100, 340, True)) == set()


def test_those_who_did_not_answer_are_worked_out_of_a_total_and_its_groups() -> None:
    """The total less the groups: 9 with the outcome, at least 6 of whom rounding leaves."""
    groups = split(LONELY, {"protective": (300, 12), "risk": (200, 12)})
    assert leaks(groups, (600, 33, True)) == {"factor peer lonely rest numerator"}
    # Nothing is found where no total is shown.
    assert leaks(groups, (600, 33, False)) == leaks(groups, None) == set()


def test_what_a_release_before_told_counts_as_said_and_as_no_leak_of_this_one() -> None:
    """The groups of then and the total: nothing that is hidden now keeps those who are left."""
    groups = split(LONELY, {"protective": (300, 12), "risk": (200, 12)}, is_shown=False)
    groups = [replace(level, is_known=True) for level in groups]
    total = (600, 33, True)
    assert leaks(groups, total) == {"factor peer lonely rest numerator"}

    def of_now(levels: list[Level]) -> list[FindingLeak]:
        attack = OutcomeAttack(levels, RULE, is_sensitive=False, total=total, model_n=None)
        return attack.leaks_of_now("s", "o")

    assert of_now(groups) == []
    assert len(of_now([replace(level, is_known=False, is_shown=True) for level in groups])) == 1


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_hidden_risk_is_worked_out_of_the_count_of_risks(is_shown: bool) -> None:
    """Nobody without any risk is lonely: of 1,000 pupils 988 are not."""
    hidden = split(LONELY, {"protective": (992, 300), "risk": (8, 4)}, is_shown=False)
    counts = {"0": (960, 288), "1": (40, 16)}
    found = leaks([*hidden, *split(COUNT, counts, is_shown=is_shown)], (1000, 304, True))
    assert ("factor peer lonely risk base" in found) == is_shown
