"""What a release tells of a survey's unknowns, as sums between bounds.

Belongs here: shown figures with their rounding, and notes. Does not belong here: sums that hold
anyway (`unknowns.py`), who sees what (`attack.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from rcs_assets.disclosure.asked import OF_QUANTITY
from rcs_assets.disclosure.grid import INSIDE, Bools, Floats, Grid, Ints, Shown
from rcs_assets.disclosure.rows import Rows
from rcs_assets.disclosure.suppress import HIGH, LOW, NOTED
from rcs_assets.disclosure.unknowns import both
from rcs_assets.disclosure.whole import PARTS, whole_answers

# The quantity of which a note speaks.
NOTED_QUANTITY = {note: quantity for quantity, note in NOTED.items()}
# Sums of variables, how often pupils and positive answers count, and bounds; a row each.
Told = tuple[Ints, Floats, Floats, Floats, Floats]


def told_of(grid: Grid, shown: Shown, row: int, places: Bools) -> list[Told]:
    """What figures and notes of some places say.

    Of sums in the order of `Structure.cells`.
    """
    by_figures = _by_figures(grid, shown, row, places)
    return by_figures if grid.is_mean[row] else by_figures + _by_notes(grid, shown, row, places)


def _by_figures(grid: Grid, shown: Shown, row: int, places: Bools) -> list[Told]:
    at = np.flatnonzero(places & shown.is_shown[row])
    low_n, high_n = shown.low_n[row, at], shown.high_n[row, at]
    low_p, high_p = shown.low_p[row, at], shown.high_p[row, at]
    of_figure = at + len(grid.spread)
    found = [
        told(at, 1.0, 0.0, low_n, high_n),
        told(of_figure, -low_p, 1.0, 0.0, np.inf),
        told(of_figure, -high_p, 1.0, -np.inf, 0.0),
    ]
    if grid.is_mean[row]:
        return found
    # What is small by the rules of today was let through by others.
    is_by_rule = ~grid.is_primary[row, at]
    k_y, k_c = (
        np.where(is_by_rule, k[row, at], 0.0) for k in (grid.k_numerator, grid.k_complement)
    )
    inside = np.isin(grid.level[at], INSIDE)
    told_there = (low_n, high_n, low_p, high_p, k_y, k_c)
    found += _by_whole_answers(at[inside], *(bound[inside] for bound in told_there))
    # Where rounding already says that k is reached, whoever weighs least, another row says nothing.
    least_n = low_n * grid.spread[at]
    few, few_others = (
        ~inside & is_few for is_few in (low_p * least_n < k_y, (1 - high_p) * least_n < k_c)
    )
    found.append(told(at[few], 0.0, 1.0, k_y[few], np.inf))
    found.append(told(at[few_others], 1.0, -1.0, k_c[few_others], np.inf))
    return found


def _by_whole_answers(at: Ints, *told_there: Floats) -> list[Told]:
    """What the percentages of schools and clusters say beside their bounds (`whole.py`)."""
    least, most = whole_answers(*told_there)
    is_any = np.isfinite(least[0])
    return [
        told(at[is_any], *OF_QUANTITY[quantity], low[is_any], high[is_any])
        for quantity, low, high in zip(PARTS, least, most, strict=True)
    ]


def _by_notes(grid: Grid, shown: Shown, row: int, places: Bools) -> list[Told]:
    found = []
    for note, k in ((LOW, grid.k_numerator), (HIGH, grid.k_complement)):
        at = np.flatnonzero(places & (shown.note[row] == note))
        pupils, positive = OF_QUANTITY[NOTED_QUANTITY[note]]
        found.append(told(at, 1.0, 0.0, grid.k_base[row, at], np.inf))
        found.append(told(at, pupils, positive, -np.inf, k[row, at] - 1))
    return found


def told(
    at: Ints,
    pupils: Floats | float,
    positive: Floats | float,
    low: Floats | float,
    high: Floats | float,
) -> Told:
    """Of some sums of variables, how often pupils and positive answers lie between bounds."""

    def each(part: Floats | float) -> Floats:
        return part if isinstance(part, np.ndarray) else np.full(len(at), float(part))

    return at, each(pupils), each(positive), each(low), each(high)


def told_rows(sums: csr_array, parts: Sequence[Told]) -> tuple[Rows, Floats, Floats]:
    """What is told as rows over pupils and positive answers, with their bounds."""
    at, pupils, positive, low, high = map(np.concatenate, zip(*parts, strict=True))
    return both(sums, at, pupils, positive), low, high
