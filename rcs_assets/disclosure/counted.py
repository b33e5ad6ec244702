"""What is counted exactly in files of answers, beside the tables.

Belongs here: which unknowns of an attacker a holder of anonymised files of answers has no need
to work out, since he can count them. Does not belong here: which files there are
(`anonymise.py`, `data/policy.yaml`), what follows (`attack.py`).

The files hold a record a pupil with stage, sex and SIMD group of a CPP (policy.md, Table A,
microdata). Records that gave a key up, or are left out, and answers that are withheld make a
count uncertain; here it is taken as exact all the same, so that no attacker knows more. What
tables tell of what a file withholds is asked once there is one (`withheld.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from rcs_assets.disclosure.cells import OWN
from rcs_assets.disclosure.grid import Bools, Grid, Ints, Texts
from rcs_assets.disclosure.rows import Rows

_KEYS = ("total", "sex", "stage", "stage:sex")


@dataclass(frozen=True)
class Counted:
    """Of an attacker's variables, `is_told`: each exactly; `sums` (rows × variables): each sum."""

    is_told: Bools
    sums: csr_array

    @cached_property
    def rows(self) -> Rows:
        """Each sum of pupils, then each of positive answers, over both."""
        sums, size = Rows.of(self.sums), self.sums.shape[1]
        at = np.arange(size)
        return Rows.stacked([sums.moved(at, 2 * size), sums.moved(at + size, 2 * size)])

    def within(self, variables: Bools) -> Counted:
        """The same over some of the variables, of which all else is no part."""
        return Counted(self.is_told[variables], csr_array(self.sums[:, variables]))


def counted_in_files(
    grid: Grid,
    places: Ints,
    equations: csr_array,
    engagements: Collection[str],
    simd_groups: Mapping[str, str],
) -> Counted:
    """What files of answers of some CPPs count.

    Args:
        grid: the nodes.
        places: a place of each variable.
        equations: rows × variables, sums that are zero.
        engagements: those whose files the holder has.
        simd_groups: SIMD fifth → the group that a file shows instead.
    """
    group, breakdown = grid.group[places], grid.breakdown[places]
    is_here = (grid.level[places] == "cpp") & np.isin(grid.engagement[places], [*engagements])
    shown = _shown(group, simd_groups)
    is_simd = is_here & (breakdown == "simd_quintile")
    is_told, sums = is_here & np.isin(breakdown, _KEYS), []
    area = grid.engagement[places]
    for engagement, name in sorted({*zip(area[is_simd], shown[is_simd], strict=True)}):
        members = is_simd & (area == engagement) & (shown == name)
        if members.sum() == 1:
            is_told = is_told | members
        else:
            sums.append(members)
    rows = np.array(sums, dtype=np.float64).reshape(len(sums), len(places))
    return Counted(_followed(is_told, equations), csr_array(rows))


def counted_places(grid: Grid, simd_groups: Mapping[str, str]) -> Bools:
    """Cells of CPPs' own packages that their files of answers count exactly."""
    shown = _shown(grid.group, simd_groups)
    alone = {name for name in shown if [*simd_groups.values()].count(name) <= 1}
    is_group = (grid.breakdown == "simd_quintile") & np.isin(shown, [*alone])
    is_area = (grid.level == "cpp") & (grid.view == OWN)
    return np.asarray(is_area & (np.isin(grid.breakdown, _KEYS) | is_group), dtype=bool)


def _shown(groups: Texts, simd_groups: Mapping[str, str]) -> Texts:
    """The groups that a file shows; who is in none of them is the rest of all."""
    return np.array([simd_groups.get(str(name), str(name)) for name in groups], dtype=object)


def _followed(is_told: Bools, equations: csr_array) -> Bools:
    """With what is told by an equation that leaves one variable open."""
    parts, told = csr_array(abs(equations)), is_told
    while True:
        has_one_open = parts @ (~told).astype(np.float64) == 1
        more = (has_one_open.astype(np.float64) @ parts > 0) & ~told
        if not more.any():
            return told
        told = np.asarray(told | more, dtype=bool)
