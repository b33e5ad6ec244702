"""Thresholds and benchmarks: dated rows with a reason and a source.

Belongs here: reading `thresholds.csv` and `benchmarks.csv` and an adopter's rows
over them. Does not belong here: a number; numbers live in the files.

A threshold is never edited: a new row with a later `dated` replaces it, so that the
history stays readable.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path

from rcs_assets.errors import ConfigurationError

THRESHOLDS = "thresholds.csv"
BENCHMARKS = "benchmarks.csv"


@dataclass(frozen=True)
class Threshold:
    """A band [low, high]; None leaves a side open. `source` carries its mark ([S], [D], [DES])."""

    name: str
    low: float | None
    high: float | None
    unit: str
    dated: date
    reason: str
    source: str

    @property
    def origin(self) -> str:
        """Where the limit comes from, for the metadata of a check."""
        return f"{THRESHOLDS}: {self.name}, {self.dated.isoformat()}, {self.source}: {self.reason}"


@dataclass(frozen=True)
class Benchmark:
    """A published figure and the band around it in which one cell of the estimates must lie."""

    name: str
    indicator: str
    survey: str
    geography_level: str
    breakdown: str
    group: str
    low: float
    high: float
    dated: date
    reason: str
    source: str

    @property
    def origin(self) -> str:
        """Where the band comes from, for the metadata of a check."""
        return f"{BENCHMARKS}: {self.name}, {self.dated.isoformat()}, {self.source}: {self.reason}"


def load_thresholds(overlay: Path | None = None) -> Mapping[str, Threshold]:
    """Name → the threshold with the latest date.

    Args:
        overlay: the folder of an adopter's `thresholds.csv`; its rows join the history.

    Raises:
        ConfigurationError: a row cannot be read, names no limit, or gives no reason or source.
    """
    newest: dict[str, Threshold] = {}
    for row in _rows(THRESHOLDS, overlay):
        threshold = _threshold(row)
        known = newest.get(threshold.name)
        if known is None or known.dated <= threshold.dated:
            newest[threshold.name] = threshold
    return newest


def load_benchmarks(overlay: Path | None = None) -> tuple[Benchmark, ...]:
    """The benchmarks with the latest date each, in the order of the file.

    Raises:
        ConfigurationError: a row cannot be read, or gives no reason or source.
    """
    newest: dict[str, Benchmark] = {}
    for row in _rows(BENCHMARKS, overlay):
        benchmark = _benchmark(row)
        known = newest.get(benchmark.name)
        if known is None or known.dated <= benchmark.dated:
            newest[benchmark.name] = benchmark
    return tuple(newest.values())


def _rows(name: str, overlay: Path | None) -> list[dict[str, str]]:
    texts = [resources.files("data_quality").joinpath(name).read_text(encoding="utf-8")]
    if overlay is not None and (overlay / name).is_file():
        texts.append((overlay / name).read_text(encoding="utf-8"))
    return [row for text in texts for row in csv.DictReader(text.splitlines())]


def _threshold(row: Mapping[str, str]) -> Threshold:
    with _Reading(THRESHOLDS, row):
        low, high = _number(row["low"]), _number(row["high"])
        if low is None and high is None:
            raise ValueError("neither low nor high is given")
        return Threshold(
            row["name"],
            low,
            high,
            row["unit"],
            date.fromisoformat(row["dated"]),
            _said(row, "reason"),
            _said(row, "source"),
        )


def _benchmark(row: Mapping[str, str]) -> Benchmark:
    with _Reading(BENCHMARKS, row):
        return Benchmark(
            row["name"],
            row["indicator"],
            row["survey"],
            row["geography_level"],
            row["breakdown"],
            row["group"],
            float(row["low"]),
            float(row["high"]),
            date.fromisoformat(row["dated"]),
            _said(row, "reason"),
            _said(row, "source"),
        )


def _number(text: str) -> float | None:
    return float(text) if text else None


def _said(row: Mapping[str, str], column: str) -> str:
    if not row[column]:
        raise ValueError(f"{column} is empty")
    return row[column]


class _Reading:
    """Turns whatever is wrong with a row into one message that names file and row."""

    def __init__(self, file: str, row: Mapping[str, str]) -> None:
        self._file = file
        self._row = row

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, KeyError, TypeError)):
            raise ConfigurationError(
                f"A row of {self._file} cannot be read",
                where=f"name {self._row.get('name') or '(empty)'}",
                why=str(error),
                fix="correct the row; columns and examples are in data_quality/" + self._file,
            ) from None
