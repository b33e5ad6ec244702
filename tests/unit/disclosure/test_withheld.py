"""What is known of a table beside a file that withholds an answer of some: small, by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from rcs_assets.disclosure.lp import System, Targets, reach
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.withheld import Classes, _Members

RULE = load_policy().microdata
# One area: girls of S1 and S2, and the fifths of SIMD; a column each, pupils then positive ones.
GROUPS = ("S1:F", "S2:F", "1", "3", "5")
AREA = SimpleNamespace(
    level=np.array(["cpp"] * 5),
    engagement=np.array(["e1"] * 5),
    breakdown=np.array(["stage:sex"] * 2 + ["simd_quintile"] * 3),
    group=np.array(GROUPS, dtype=object),
)
COLUMNS = 2 * len(GROUPS)


def file(*classes: tuple[Any, ...], left_out: int = 0, has_one_form: bool = True) -> Classes:
    """Classes as stage, SIMD group, asked, valid, positive and withheld; girls without support."""
    asked, valid, total, withheld = (
        np.array([[one[at] for one in classes]], dtype=np.float64) for at in (2, 3, 4, 5)
    )
    keys = [(stage, "F", group, "N") for stage, group, *_ in classes]
    return Classes(keys, ("i",), asked, valid, total, withheld, left_out, has_one_form)


def ranges(
    held: Classes,
    told: dict[str, tuple[float, float]],
    of: str,
    most: float = 1.0,
    least: float = 0,
) -> tuple[float, float]:
    """Least and most of a column, by the file and what is told of others ("+S1:F": positive)."""
    lower, upper = np.zeros(COLUMNS), np.full(COLUMNS, 1000.0)
    for name, (low, high) in told.items():
        at = column(name)
        lower[at], upper[at] = low, high
    empty = np.zeros(0, dtype=np.int32)
    tables = System(
        lower, upper, np.zeros(1, dtype=np.int32), empty, np.zeros(0), np.zeros(0), np.zeros(0)
    )
    members = _Members(AREA, np.arange(len(GROUPS)), "e1", held, RULE)  # type: ignore[arg-type]
    system = members.beside(tables, held, "i", least, most)
    one = np.array([0, 1], dtype=np.int32)
    target = Targets(
        one, np.array([column(of)], dtype=np.int32), np.ones(1), np.zeros(1), np.array([1e6])
    )
    found = reach(system, target, exact=True)
    return round(float(found.low[0]), 6), round(float(found.high[0]), 6)


def column(name: str) -> int:
    return GROUPS.index(name.removeprefix("+")) + len(GROUPS) * name.startswith("+")


SHOWN = ("S1", "2-4", 20, 20, 3, 0)
WITHHELD = ("S1", "5", 12, 0, 0, 12)
OTHER = ("S2", "2-4", 30, 28, 10, 0)


def test_a_file_that_withholds_nothing_counts_exactly() -> None:
    held = file(SHOWN, OTHER)
    assert ranges(held, {}, "S1:F") == (20, 20)
    assert ranges(held, {}, "+S1:F") == (3, 3)
    assert ranges(held, {}, "+3") == (13, 13)
    assert not held.withholds("i")


def test_what_is_withheld_is_anything_to_whoever_has_no_table() -> None:
    held = file(SHOWN, WITHHELD, OTHER)
    assert ranges(held, {}, "S1:F") == (20, 32)
    assert ranges(held, {}, "+S1:F") == (3, 15)
    assert (held.withholds("i"), held.counts_some("i")) == (True, True)


def test_the_table_of_one_group_tells_what_is_withheld_of_another() -> None:
    """Of S1 9 to 10 say yes, 3 in the file: 6 or 7 of the least deprived do, and they answered."""
    held, told = file(SHOWN, WITHHELD, OTHER), {"+S1:F": (9.0, 10.0)}
    assert ranges(held, told, "+5") == (6, 7)
    assert ranges(held, told, "5") == (6, 12)
    assert ranges(held, told | {"S1:F": (28, 28)}, "5") == (8, 8)


def test_who_shows_less_of_a_key_can_be_of_any_group_that_is_not_shown_whole() -> None:
    """Twelve of S1 show no SIMD: of "2-4" none of them is, since that class is shown; of 1 or 5."""
    held = file(SHOWN, ("S1", "", 12, 12, 5, 0), OTHER)
    assert ranges(held, {}, "3") == (48, 48)
    assert ranges(held, {}, "5") == (0, 12)
    assert ranges(held, {"5": (2.0, 2.0)}, "+5") == (0, 2)
    # With several forms one of them may be too few, and stand with the rest.
    assert ranges(replace(held, has_one_form=False), {}, "3") == (48, 60)


def test_a_band_is_either_stage() -> None:
    held = file(SHOWN, ("S1-S2", "5", 12, 12, 5, 0))
    assert ranges(held, {}, "S1:F") == (20, 32)
    assert ranges(held, {"S2:F": (8.0, 9.0)}, "S1:F") == (23, 24)


def test_who_has_no_record_is_in_any_group() -> None:
    held = file(SHOWN, OTHER, left_out=4)
    assert ranges(held, {}, "S1:F") == (20, 24)
    assert ranges(held, {"S2:F": (31.0, 31.0)}, "S1:F") == (20, 21)


def test_of_scores_the_sum_lies_within_the_scale() -> None:
    """20 with a sum of 70 are counted; 10 of the 12 withheld answered, from 2 to 10 each."""
    held = file(("S1", "2-4", 20, 20, 70, 0), WITHHELD)
    told = {"S1:F": (30.0, 30.0)}
    assert ranges(held, told, "+S1:F", most=10.0, least=2.0) == (90, 170)


def test_of_a_question_that_is_withheld_of_everybody_only_who_was_asked_is_known() -> None:
    held = file(SHOWN, WITHHELD, OTHER).without("i")
    assert ranges(held, {}, "+S1:F") == (0, 32)
    assert not held.counts_some("i")
    assert file(SHOWN, OTHER).without("i").valid_n.sum() == 48
