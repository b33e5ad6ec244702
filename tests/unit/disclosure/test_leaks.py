"""Planted leaks of ten kinds are found, protected tables pass; the thousand: a benchmark."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.leaks import KINDS, clean, is_found, is_safe, plant
from rcs_assets.disclosure import Hierarchy, Rule, Structure
from rcs_assets.disclosure.leaks import find_leaks
from rcs_assets.errors import InputError


@pytest.mark.parametrize("kind_at", range(len(KINDS)), ids=lambda at: KINDS[at].__name__)
def test_a_planted_leak_is_found(kind_at: int) -> None:
    assert all(is_found(plant(kind_at, seed)) for seed in range(1000, 1003))


def test_protected_tables_raise_no_false_alarm() -> None:
    for seed in range(1000, 1004):
        case = clean(seed)
        assert is_safe(case)
        assert len(find_leaks(case.tables, case.structures, case.rule)[0]) == 0


def test_each_leak_says_what_it_is() -> None:
    table = pd.DataFrame(
        {
            "school": ["a", "b", "c", "Total"],
            "n": [4, 6, 30, 40],
            "status": ["primary", "published", "published", "published"],
        }
    )
    structure = Structure({"school": Hierarchy.flat("abc")})
    found = find_leaks(table, structure, Rule(k=10)).to_pylist()
    assert found == [
        {"school": "a", "lower": 4.0, "upper": 4.0, "leak": "exact"},
        {"school": "b", "lower": 6.0, "upper": 6.0, "leak": "shown"},
    ]
    wide = table.assign(status=["primary", "primary", "published", "published"])
    assert len(find_leaks(wide, structure, Rule(k=10))) == 0
    near = wide.assign(n=[4, 3, 30, 37])
    assert find_leaks(near, structure, Rule(k=10)).column("leak").to_pylist() == ["narrow"] * 2


def test_answers_of_a_dimension_that_is_not_there_are_refused() -> None:
    """They would be looked for nowhere, and nothing would be found."""
    table = pd.DataFrame({"school": ["a", "Total"], "n": [4, 4], "status": "published"})
    structure = Structure({"school": Hierarchy.flat("a")})
    with pytest.raises(InputError, match="No structure has the dimension 'answer'"):
        find_leaks(table, structure, Rule(k=10), answers="answer")
    with pytest.raises(InputError, match="no Rule"):
        find_leaks(table, structure, None)  # type: ignore[arg-type]
