"""The quality ladder on made estimates: whole ones pass, each damage fails its own rung."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pytest

from data_quality import (
    RUNGS,
    Entry,
    append_history,
    estimates_suite,
    evaluate,
    load_benchmarks,
    load_thresholds,
    read_history,
    rungs,
)
from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import Codebook
from rcs_assets.errors import InputError
from rcs_assets.wellbeing.estimates import write_estimates
from rcs_assets.wellbeing.ladder_profile import ladder_profiles
from tests.unit.wellbeing.made import FEW, MANY, NAMES, RULES, fill

SUITE = estimates_suite(load_benchmarks(), load_thresholds())
STEPS = [e.name for e in SUITE.expectations if not e.name.startswith("benchmark_")]
RUNG_OF = rungs(load_benchmarks())
COPY = "from wellbeing.estimates"
HERE = "geography_level = 'cpp' and breakdown = 'total' and indicator = 'primary_lonely'"


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    full = load_codebook()
    return replace(full, indicators={name: full.indicators[name] for name in NAMES})


@pytest.fixture(scope="module")
def made(codebook: Codebook) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        fill(con)
        write_estimates(con, codebook, [MANY, FEW], RULES)
        # The made moods are no scores: they go beyond 5, the end of the scale.
        con.execute("""
            update wellbeing.estimates set estimate = estimate * 0.7, ci_low = ci_low * 0.7,
                ci_high = ci_high * 0.7
            where statistic = 'mean'
        """)
        yield con


@pytest.fixture
def con(made: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The made estimates, whole again after the test."""
    made.execute("begin")
    yield made
    made.execute("rollback")


def _failed(con: duckdb.DuckDBPyConnection, releases: Path) -> set[str]:
    frames = ladder_profiles(con, load_codebook(), releases)
    return {o.name for o in evaluate(SUITE, frames, STEPS) if not o.passed}


def _release(folder: Path, con: duckdb.DuckDBPyConnection, change: str = "0") -> Path:
    """A last release whose totals are those of the estimates less a change."""
    file = folder / "current" / "public" / "parquet" / "estimates.parquet"
    file.parent.mkdir(parents=True)
    con.execute(f"""
        copy (
            select engagement, survey, indicator, estimate - {change} as estimate,
                geography_level, breakdown, 'published' as status
            from wellbeing.estimates
        ) to '{file}' (format parquet)
    """)
    return folder


def test_every_expectation_stands_on_one_rung() -> None:
    assert set(RUNG_OF) == {e.name for e in SUITE.expectations}
    assert set(RUNG_OF.values()) == set(RUNGS)
    order = [RUNGS.index(RUNG_OF[e.name]) for e in SUITE.expectations]
    assert order == sorted(order)


def test_what_the_room_made_stands_on_every_rung(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert _failed(con, tmp_path / "none") == set()
    assert _failed(con, _release(tmp_path, con)) == set()


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (f"insert into wellbeing.estimates {COPY} where {HERE}", "cells_stand_once"),
        (f"set reason = 'lost' where {HERE}", "cells_use_known_words"),
        (f"set estimate = null where {HERE}", "cells_have_figure_or_reason"),
        (f"set estimate = 101, ci_high = 102 where {HERE}", "figures_lie_on_their_scale"),
        (
            "set estimate = 6, ci_low = 5, ci_high = 7 where indicator = 'primary_mood_mean' "
            "and geography_level = 'cpp' and breakdown = 'total'",
            "figures_lie_on_their_scale",
        ),
        (f"set ci_low = ci_high + 1 where {HERE}", "intervals_are_in_order"),
        (f"set numerator_n = base_n + 1 where {HERE}", "counts_are_within_counts"),
        (f"set base_n = base_n - 1 where {HERE}", "groups_sum_to_totals"),
        (f"set design_effect = 40 where {HERE}", "design_effects_are_plausible"),
    ],
)  # fmt: skip
def test_each_damage_fails_its_rung(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, damage: str, name: str
) -> None:
    con.execute(damage if damage.startswith("insert") else f"update wellbeing.estimates {damage}")
    failed = _failed(con, tmp_path)
    assert name in failed
    # What stands below it is whole, but for a cell that is no longer one.
    assert {RUNG_OF[f] for f in failed} == {RUNG_OF[name]} or name == "cells_stand_once"


def test_a_narrow_band_above_a_wide_one_fails(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    con.execute("""
        insert into wellbeing.estimates by name
        select * exclude (i) replace (
            i as indicator, 'secondary' as survey, if(i like '%raised', 30, 31) as estimate
        )
        from (select * from wellbeing.estimates
            where geography_level = 'cpp' and breakdown = 'total'
                and indicator = 'primary_lonely' and engagement = 't1-many'),
            (values ('secondary_sdq_total_raised'), ('secondary_sdq_total_abnormal')) as t(i)
    """)
    assert "bands_are_monotone" in _failed(con, tmp_path)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("if(statistic = 'pct', 11, 0)", {"percentages_are_near_the_last_release"}),
        ("if(statistic = 'mean', 0.4 * sd, 0)", {"means_are_near_the_last_release"}),
        ("if(statistic = 'pct', 9, 0.2 * sd)", set()),
    ],
)
def test_drift_from_the_last_release(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, change: str, names: set[str]
) -> None:
    assert _failed(con, _release(tmp_path, con, change)) == names


def test_the_history_keeps_every_run_and_names_a_broken_line(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    entries = [
        Entry("r1", date(2020, 6, 30), "wellbeing/estimates", "cells_stand_once", True, "e", "o"),
        Entry("r2", date(2020, 7, 1), "wellbeing/estimates", "bands_are_monotone", False, "e", "o"),
    ]
    append_history(tmp_path, entries[:1])
    append_history(tmp_path, [])
    append_history(tmp_path, entries[1:])
    assert read_history(tmp_path) == entries
    assert read_history(tmp_path, "bands_are_monotone") == entries[1:]
    with (tmp_path / "quality.jsonl").open("a") as stream:
        stream.write('{"run": "r3", "as_of"')
    with pytest.raises(InputError) as refused:
        read_history(tmp_path)
    assert "line 3" in str(refused.value)
