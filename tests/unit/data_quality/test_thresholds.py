"""Thresholds: dated, with reason and source; an adopter's rows join the history."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_quality import load_benchmarks, load_thresholds
from rcs_assets.codebook import load_codebook
from rcs_assets.errors import ConfigurationError

HEADER = "name,low,high,unit,dated,reason,source\n"


def test_every_threshold_says_why_and_whence() -> None:
    for threshold in load_thresholds().values():
        assert threshold.reason
        assert threshold.source
        assert threshold.low is None or threshold.high is None or threshold.low <= threshold.high


def test_an_overlay_with_a_later_date_wins(tmp_path: Path) -> None:
    (tmp_path / "thresholds.csv").write_text(
        HEADER + "quarantined,,8,per cent of rows,2030-01-01,our councils,[DES]\n"
    )
    changed = load_thresholds(tmp_path)["quarantined"]
    assert changed.high == 8
    assert "2030-01-01" in changed.origin


def test_an_overlay_with_an_earlier_date_is_history(tmp_path: Path) -> None:
    (tmp_path / "thresholds.csv").write_text(
        HEADER + "quarantined,,8,per cent of rows,2001-01-01,long ago,[DES]\n"
    )
    assert load_thresholds(tmp_path)["quarantined"] == load_thresholds()["quarantined"]


@pytest.mark.parametrize(
    "row",
    [
        "quarantined,,,per cent,2030-01-01,no limit,[DES]",
        "quarantined,,many,per cent,2030-01-01,no number,[DES]",
        "quarantined,,8,per cent,soon,no date,[DES]",
        "quarantined,,8,per cent,2030-01-01,,[DES]",
        "quarantined,,8,per cent,2030-01-01,no source,",
    ],
)
def test_a_row_that_cannot_be_read_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "thresholds.csv").write_text(HEADER + row + "\n")
    with pytest.raises(ConfigurationError, match="name quarantined"):
        load_thresholds(tmp_path)


def test_benchmarks_point_to_indicators_of_the_codebook() -> None:
    indicators = load_codebook().indicators
    for benchmark in load_benchmarks():
        assert indicators[benchmark.indicator].survey == benchmark.survey
        assert benchmark.low < benchmark.high
        if benchmark.breakdown == "stage":
            assert benchmark.group in indicators[benchmark.indicator].stages
