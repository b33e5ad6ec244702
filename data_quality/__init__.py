"""What good data look like: expectations at the boundaries, in words and numbers.

Belongs here: the suites of the boundaries intake, linked, estimates and candidate
(`suites.py`), the dated thresholds that they use (`thresholds.csv`,
`benchmarks.csv`, read by `thresholds.py`), the quality ladder of the
estimates (`ladder.py`), the history of outcomes (`history.py`), and the adapter that hands profile
frames to Great Expectations (`adapter.py`). Does not belong here: the queries that
make the profiles (each room's `profile.py`), Dagster (each room's `checks.py`),
and any rule about single records, which dbt tests and Python checks own.

Only aggregates come here: one row an engagement, a delivered file, a question or a
cell of a table, never a row a child.
"""

from data_quality.adapter import evaluate
from data_quality.history import Entry, append_history, read_history
from data_quality.ladder import RUNGS, rungs
from data_quality.model import (
    Expectation,
    ExpectationOutcome,
    LeastBase,
    ReleaseRules,
    Suite,
)
from data_quality.suites import (
    candidate_suite,
    estimates_suite,
    intake_suite,
    linked_suite,
)
from data_quality.thresholds import load_benchmarks, load_thresholds

__all__ = [
    "RUNGS",
    "Entry",
    "Expectation",
    "ExpectationOutcome",
    "LeastBase",
    "ReleaseRules",
    "Suite",
    "append_history",
    "candidate_suite",
    "estimates_suite",
    "evaluate",
    "intake_suite",
    "linked_suite",
    "load_benchmarks",
    "load_thresholds",
    "read_history",
    "rungs",
]
