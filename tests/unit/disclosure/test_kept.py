"""Which numbers of pupils stay as a release before showed them."""

from __future__ import annotations

import duckdb
import pytest

from rcs_assets.disclosure.kept import keep_numbers
from rcs_assets.disclosure.policy import load_policy

CELL = (
    "'secondary' as survey, 'some' as indicator, 't1' as tranche, 'a' as engagement, "
    "'cpp' as geography_level, 'S1' as geography_code, 'sex' as breakdown, 'F' as \"group\""
)


def kept(base: int, shown: int, then: int, *, k_base: int = 30, n_step: int = 10) -> int | None:
    """The number that stays of a public cell; `then`: pupils when `shown` was shown."""
    with duckdb.connect() as con:
        con.execute(
            f"""
            create temp table sdc_node as select {CELL}, 1 as place_id, 'public' as view,
                {base} as base_n, 10 as y_n, null::double as sum_x, null::double as sd,
                1 as answers_mark, 'pct' as statistic, null::double as score_low,
                null::double as score_high, {n_step}::double as n_step, {k_base}::double as k_base,
                true as is_showable;
            create temp table sdc_told as select {CELL}, '2026.01.01' as release,
                'public' as audience, 'published' as status, true as has_counts,
                {shown}::double as n, {then} as old_base, 10 as old_yes, 0 as old_sum,
                0 as old_sd, 1 as old_mark;
            """
        )
        keep_numbers(con, load_policy())
        found = con.execute("select n from sdc_kept").fetchall()
    return int(found[0][0]) if found else None


@pytest.mark.parametrize(
    ("base", "shown", "then", "stays"),
    [
        (94, 100, 97, True),
        (106, 100, 97, True),
        # Ten have changed.
        (87, 100, 97, False),
        # It was kept before, and is off by ten beyond its rounding.
        (85, 100, 88, False),
        (86, 100, 88, True),
    ],
)
def test_a_number_stays_while_it_is_nine_off_at_most(
    base: int, shown: int, then: int, *, stays: bool
) -> None:
    assert kept(base, shown, then) == (shown if stays else None)


def test_no_number_stays_that_the_rules_of_now_show_of_no_cell() -> None:
    """30 pupils were enough and 40 are needed: a shown 30 would say that it is one of then."""
    assert kept(41, 30, 34) == 30
    assert kept(41, 30, 34, k_base=40) is None
    # Of 35, by tens, 40 are shown, and of 34 are 30.
    assert kept(41, 40, 36, k_base=35) == 40
    assert kept(37, 30, 34, k_base=34) == 30
    # Rounded otherwise now.
    assert kept(41, 35, 36, k_base=30) is None
