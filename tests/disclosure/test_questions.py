"""A question is another one when anything changes that its answer hangs on.

Answers are kept between runs by the fingerprint of their question.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rcs_assets.disclosure import load_policy
from rcs_assets.disclosure.attack import attackers_of
from rcs_assets.disclosure.cells import read_cells
from rcs_assets.disclosure.grid import Grid, Shown, as_released, read_grid, surveys
from rcs_assets.disclosure.rounding import register_rounding
from rcs_assets.disclosure.unknowns import read_structure
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import SOURCES, Programme

# Two CPPs of one large school each: of stage by sex all is shown, of looked after little.
LARGE = Shape(
    (Measure("some", 0.03),), "secondary", (2,), (1, 1), schools=(1, 1), roll=(6000, 6500)
)
SMALL = Shape((Measure("some", 0.1),), clusters=(1, 2), schools=(3, 5), roll=(20, 260))


def drawn(shape: Shape, seed: int):
    """The grid of a drawn programme, its sums, and what it shows if only small cells are hidden."""
    programme = Programme(shape, seed)
    register_rounding(programme.con)
    read_cells(programme.con, load_policy(), SOURCES)
    (survey,) = surveys(programme.con)
    grid = read_grid(programme.con, survey)
    shown = as_released(grid, grid.is_primary, np.zeros(grid.base.shape, dtype=np.int8))
    return grid, read_structure(programme.con, grid), shown


def of_schools(grid: Grid, structure, shown: Shown) -> str:
    """Fingerprint of what the schools of the first CPP are asked."""
    _, holder, *_ = attackers_of(grid, structure, load_policy().microdata)
    nothing = holder.sight.ask(shown, 0, holder.judged).some(np.array([], dtype=np.int64))
    return holder.one_school.attack(shown, 0, nothing, {}).system_hash


def test_counts_in_files_of_answers_are_part_of_the_question() -> None:
    """Four counts a CPP move by one pupil: no other sum, nothing shown and no target does."""
    grid, structure, shown = drawn(LARGE, 3)
    sign = {"S1:F": 1, "S1:M": -1, "S2:F": -1, "S2:M": 1}
    area = {engagement: 1 - 2 * i for i, engagement in enumerate(sorted({*grid.engagement} - {""}))}
    more = np.array(
        [
            sign.get(group, 0) * area.get(engagement, 0)
            for group, engagement in zip(grid.group, grid.engagement, strict=True)
        ]
    )
    moved = replace(grid, numerator=grid.numerator + more, complement=grid.complement - more)
    assert shown.is_shown[0, more != 0].all()
    low, high = (getattr(shown, name)[0] * grid.base[0] for name in ("low_p", "high_p"))
    assert ((low <= moved.numerator[0]) & (moved.numerator[0] <= high))[more != 0].all()

    hashes = [
        [
            attacker.attack(shown, 0, {}).system_hash
            for attacker in attackers_of(counts, structure, load_policy().microdata)
        ]
        for counts in (grid, moved)
    ]
    assert "" not in hashes[0]
    assert not set(hashes[0]) & set(hashes[1])


@pytest.mark.parametrize("changed", ["releases before", "thresholds"])
def test_what_a_school_knows_is_part_of_its_question(changed: str) -> None:
    grid, structure, shown = drawn(SMALL, 2)
    before = of_schools(grid, structure, shown)
    if changed == "releases before":
        is_known = shown.is_shown & (grid.view == "public")
        assert is_known[0].any()
        shown = replace(shown, was_shown=is_known)
    else:
        grid = replace(grid, k_numerator=grid.k_numerator - (grid.level == "school"))
    assert before
    assert of_schools(grid, structure, shown) != before
