"""Boundary candidate: one spoilt cell of the protected estimates trips exactly one expectation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from data_quality import evaluate
from rcs_assets.disclosure import load_policy
from rcs_assets.disclosure.checks import SUITE
from rcs_assets.disclosure.drift import Since
from rcs_assets.disclosure.profile import disclosure_profiles
from rcs_assets.intake.opt_outs import Moved
from tests.conftest import ReleasedHome

# One cell.
ONE = """
    rowid = (
        select min(cells.rowid)
        from disclosure.estimates as cells
        inner join codebook.indicators as indicators on cells.indicator = indicators.name
        where cells.geography_level = 'cpp' and {condition}
    )
"""
ORDINARY = "not indicators.is_sensitive"
SENSITIVE = "indicators.is_sensitive"
PUBLIC = "cells.audience = 'public'"
CPP = "cells.audience like 'cpp/%'"
SHOWN_PCT = "cells.status = 'published' and cells.statistic = 'pct' and cells.ci_low is not null"
EMPTY = "n = null, estimate = null, ci_low = null, ci_high = null"


def cell(change: str, *conditions: str) -> str:
    where = ONE.format(condition=" and ".join(conditions))
    return f"update disclosure.estimates set {change} where {where}"


MUTATIONS = {
    "cells_are_listed_once": "insert into disclosure.estimates select * from disclosure.estimates "
    "where rowid = (select min(rowid) from disclosure.estimates where status = 'c' "
    "and breakdown <> 'total')",
    "statuses_are_known": cell("status = 'hidden'", "cells.status = 'c'"),
    "notes_are_known": cell("note = 'secondary'", "cells.status = 'c'"),
    "every_indicator_is_there": "delete from disclosure.estimates "
    "where indicator = 'primary_happy_at_school'",
    "hidden_cells_are_empty": cell("n = 50", "cells.status = 'c'"),
    "shown_cells_are_filled": cell("estimate = null", SHOWN_PCT),
    "percentages_are_percentages": cell("estimate = 101, ci_high = 102, ci_low = 90", SHOWN_PCT),
    "means_lie_on_their_scale": cell(
        "estimate = 45, ci_low = 44, ci_high = 46",
        "cells.indicator = 'secondary_sdq_total_mean'",
        "cells.status = 'published'",
    ),
    "estimates_reach_their_lower_bound": cell("ci_low = estimate + 1", SHOWN_PCT),
    "estimates_keep_their_upper_bound": cell("ci_high = estimate - 1", SHOWN_PCT),
    "wide_intervals_are_marked": cell("ci_low = 0, ci_high = 100", SHOWN_PCT),
    "small_bases_are_marked": cell("n = 20", CPP, ORDINARY, SHOWN_PCT),
    "public_cells_have_their_base": cell("n = 20, status = 'u'", PUBLIC, ORDINARY, SHOWN_PCT),
    "public_sensitive_cells_have_their_base": cell(
        "n = 30, status = 'u'", PUBLIC, SENSITIVE, SHOWN_PCT
    ),
    "cpp_cells_have_their_base": cell("n = 5, status = 'u'", CPP, ORDINARY, SHOWN_PCT),
    "cpp_sensitive_cells_have_their_base": cell("n = 10, status = 'u'", CPP, SENSITIVE, SHOWN_PCT),
    "most_totals_are_shown": f"update disclosure.estimates set status = 'c', note = null, {EMPTY} "
    "where audience like 'cpp/%' and survey = 'primary' and breakdown = 'total' "
    "and geography_level = 'cpp'",
    "few_cells_are_hidden_since_the_last_release": "update disclosure.estimates "
    f"set status = 'c', note = null, {EMPTY} where audience = 'public' and survey = 'secondary' "
    "and breakdown in ('sex', 'stage', 'stage:sex', 'simd_quintile') "
    "and status in ('published', 'u')",
    # Two left every cell, and a package hides all but its totals for the sake of that.
    "withdrawals_hide_few_cells": "update wellbeing.estimates set base_n = base_n - 2; "
    f"update disclosure.estimates set status = 'c', status_inside = 'secondary', note = null, "
    f"{EMPTY} where audience = 'public' and survey = 'secondary' and breakdown <> 'total' "
    "and status in ('published', 'u')",
    "figures_moved_little_since_the_last_release": "update disclosure.estimates set "
    "estimate = estimate - 6, ci_low = ci_low - 6, ci_high = ci_high - 6 "
    "where breakdown = 'total' and statistic = 'pct' and ci_low >= 6",
}


def judged(con: duckdb.DuckDBPyConnection, platform: Any, release: Path) -> Any:
    """Judged beside the release that was made of these very cells; many withdrew since."""
    names = con.execute(
        "select distinct engagement from disclosure.estimates where engagement is not null"
    ).fetchall()
    moved = {name: Moved(100, 0) for (name,) in names}
    since = Since(moved, moved)
    return evaluate(
        SUITE, disclosure_profiles(con, platform.codebook, load_policy(), [release], since)
    )


def test_every_expectation_has_a_mutation() -> None:
    assert set(MUTATIONS) == {expectation.name for expectation in SUITE.expectations}


def test_the_untouched_cells_pass(
    spoilt: duckdb.DuckDBPyConnection, platform: Any, failed: Any, released_home: ReleasedHome
) -> None:
    assert failed(judged(spoilt, platform, released_home.release)) == set()


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_spoilt_cell_fails_exactly_this_one(
    name: str,
    spoilt: duckdb.DuckDBPyConnection,
    platform: Any,
    failed: Any,
    released_home: ReleasedHome,
) -> None:
    changed = spoilt.execute(MUTATIONS[name]).fetchall()
    assert changed[0][0] > 0
    assert failed(judged(spoilt, platform, released_home.release)) == {name}
