"""Boundary estimates: one figure far from the published one trips exactly its benchmark."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import pytest

from data_quality import evaluate, load_benchmarks
from rcs_assets.wellbeing.checks import ESTIMATES_SUITE
from rcs_assets.wellbeing.profile import estimates_profile

# The other rungs of the ladder have damages of their own (tests/unit/wellbeing/test_ladder.py).
BENCHMARKS = tuple(e for e in ESTIMATES_SUITE.expectations if e.frame == "estimates")
CELLS = {
    f"benchmark_{b.name}": f"indicator = '{b.indicator}' and breakdown = '{b.breakdown}' "
    f"and geography_level = '{b.geography_level}' and \"group\" = '{b.group}'"
    for b in load_benchmarks()
}
HIGH = {f"benchmark_{b.name}": b.high for b in load_benchmarks()}


def judged(con: duckdb.DuckDBPyConnection) -> Any:
    suite = replace(ESTIMATES_SUITE, expectations=BENCHMARKS)
    return evaluate(suite, estimates_profile(con))


def test_every_benchmark_has_a_mutation() -> None:
    assert set(CELLS) == {expectation.name for expectation in BENCHMARKS}


def test_the_untouched_estimates_pass(spoilt: duckdb.DuckDBPyConnection, failed: Any) -> None:
    assert failed(judged(spoilt)) == set()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("change", ["far", "missing", "empty"])
def test_a_figure_that_is_far_off_or_missing_fails_its_benchmark(
    name: str, change: str, spoilt: duckdb.DuckDBPyConnection, failed: Any
) -> None:
    sql = {
        "far": f"update wellbeing.estimates set estimate = {HIGH[name] + 5}",
        "missing": "delete from wellbeing.estimates",
        "empty": "update wellbeing.estimates set estimate = null",
    }[change]
    assert spoilt.execute(f"{sql} where {CELLS[name]}").fetchall()[0][0] > 0
    assert failed(judged(spoilt)) == {name}
