"""Schools at the edge: one respondent, answers all alike, an indicator without data."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from rcs_assets.wellbeing.estimates import write_estimates
from tests.unit.wellbeing.made import MANY, RULES, fill

ONE, ALIKE, SILENT = (f"{MANY}-{number}" for number in range(3))


@pytest.fixture(scope="module")
def found(codebook) -> dict[tuple[str, str], dict[str, Any]]:
    """The whole-school rows of the three schools, by school and indicator."""
    with duckdb.connect() as con:
        fill(con)
        con.execute(f"""
            delete from wellbeing.indicator_values
            where seed_code = '{ONE}' and record_id <> '{ONE}-0'
        """)
        con.execute(f"""
            update wellbeing.indicator_values
            set primary_lonely = 1, primary_mood_mean = 6 where seed_code = '{ALIKE}'
        """)
        con.execute(f"""
            update wellbeing.indicator_values
            set primary_lonely = null, primary_mood_mean = null where seed_code = '{SILENT}'
        """)
        write_estimates(con, codebook, [MANY], RULES)
        rows = con.execute("""
            from wellbeing.estimates
            where geography_level = 'school' and breakdown = 'total' and survey = 'primary'
        """).to_arrow_table()
    return {(row["geography_code"], row["indicator"]): row for row in rows.to_pylist()}


def test_a_share_of_one_respondent_has_the_interval_of_one_answer(found) -> None:
    row = found[ONE, "primary_lonely"]
    assert (row["base_n"], row["method"], row["reason"]) == (1, "wilson", "")
    # Wilson on n = 1: z² / (1 + z²) is the far bound.
    assert row["ci_high"] - row["ci_low"] == pytest.approx(79.345, abs=0.001)


def test_a_mean_of_one_respondent_has_no_interval(found) -> None:
    row = found[ONE, "primary_mood_mean"]
    assert (row["base_n"], row["reason"]) == (1, "")
    assert row["estimate"] is not None
    assert (row["ci_low"], row["ci_high"]) == (None, None)


def test_a_share_of_answers_all_alike_keeps_its_doubt(found) -> None:
    row = found[ALIKE, "primary_lonely"]
    assert (row["estimate"], row["numerator_n"]) == (100.0, row["base_n"])
    assert row["method"] == "wilson"
    assert 80 < row["ci_low"] < row["ci_high"] == 100.0


def test_a_mean_of_answers_all_alike_has_no_spread(found) -> None:
    row = found[ALIKE, "primary_mood_mean"]
    assert (row["estimate"], row["sd"], row["ci_low"], row["ci_high"]) == (6.0, 0.0, 6.0, 6.0)


def test_an_indicator_without_data_says_so(found) -> None:
    for indicator in ("primary_lonely", "primary_mood_mean"):
        row = found[SILENT, indicator]
        assert (row["base_n"], row["reason"], row["method"]) == (0, "no_data", "none")
        assert (row["estimate"], row["ci_low"], row["numerator_n"]) == (None, None, None)
