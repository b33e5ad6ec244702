"""Hands profile frames to Great Expectations and brings back our own outcomes.

Belongs here: everything that knows Great Expectations. Does not belong here: which
expectations there are (`suites.py`), where profiles come from (rooms), Dagster.

Three things that were tried (stack.md) shape it: the import takes 8 seconds, so it
happens inside `evaluate`; results with examples wrote planted values into JSON, so
results hold counts only and the places of failures are taken from key columns of
aggregate frames; and one expectation on a column that is not there makes its
neighbours fail too, so such an expectation is failed before it gets that far.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from data_quality.model import (
    Between,
    Expectation,
    ExpectationOutcome,
    HoldsAll,
    NoneRepeated,
    NotAbove,
    OneOf,
    Suite,
)

if TYPE_CHECKING:
    import pandas as pd

COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
PLACES_SHOWN = 5
SMALL_COUNT = 9


def evaluate(
    suite: Suite, frames: Mapping[str, pd.DataFrame], names: Iterable[str] | None = None
) -> list[ExpectationOutcome]:
    """Judge profile frames by a suite.

    Args:
        suite: the expectations of one boundary.
        frames: profile frames by name, with the key columns that the suite names;
            aggregates only.
        names: evaluate only these expectations.

    Returns:
        One outcome an expectation, in the order of the suite. An expectation that
        cannot be evaluated has failed and says why; it never hides another one.
    """
    chosen = None if names is None else set(names)
    asked = [e for e in suite.expectations if chosen is None or e.name in chosen]
    ready: list[tuple[Expectation, pd.DataFrame]] = []
    outcomes: dict[str, ExpectationOutcome] = {}
    for expectation in asked:
        frame, obstacle = _rows_of(expectation, frames)
        if frame is None or obstacle:
            outcomes[expectation.name] = _outcome(expectation, False, obstacle)
        elif absent := _absent(expectation, frames[expectation.frame]):
            outcomes[expectation.name] = _outcome(expectation, True, absent)
        elif frame.empty:
            outcomes[expectation.name] = _without_rows(expectation)
        elif unmeasured := _unmeasured(suite, expectation, frame):
            outcomes[expectation.name] = _outcome(expectation, False, unmeasured)
        else:
            ready.append((_asked_of(expectation, frame), frame))
    if ready:
        outcomes.update(_judge(suite, ready))
    return [outcomes[expectation.name] for expectation in asked]


def _rows_of(
    expectation: Expectation, frames: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame | None, str]:
    frame = frames.get(expectation.frame)
    if frame is None:
        return None, f"the profile {expectation.frame} was not made"
    named = {*_columns(expectation), *expectation.where, *expectation.only_with}
    missing = sorted(named - set(frame.columns))
    if missing:
        return None, f"the profile {expectation.frame} has no column {', '.join(missing)}"
    for column, values in expectation.where.items():
        frame = frame[frame[column].isin(values)]
    return frame, ""


def _absent(expectation: Expectation, frame: pd.DataFrame) -> str:
    """What the frame has nothing of, so that the expectation is not asked; empty if it is."""
    for column, values in expectation.only_with.items():
        if not frame[column].isin(values).any():
            return f"not asked: there is no {column} {', '.join(values)}"
    return ""


def _asked_of(expectation: Expectation, frame: pd.DataFrame) -> Expectation:
    """The expectation without values that this frame cannot have."""
    rule = expectation.rule
    if not isinstance(rule, HoldsAll) or not rule.key:
        return expectation
    there = set(frame[rule.key])
    values = tuple(value for value in rule.values if rule.key_of[value] in there)
    return replace(expectation, rule=replace(rule, values=values))


def _unmeasured(suite: Suite, expectation: Expectation, frame: pd.DataFrame) -> str:
    """Where a limit has no value to judge; empty if nowhere, or if that is allowed."""
    rule = expectation.rule
    if not isinstance(rule, Between) or rule.skips_nulls:
        return ""
    grain = list(suite.grains[expectation.frame])
    blank = frame.loc[frame[rule.column].isna(), grain]
    if blank.empty:
        return ""
    keys = ["/".join(map(str, row)) for row in blank.drop_duplicates().to_numpy()]
    return f"{rule.column} could not be measured in {len(keys)} rows" + _listed(sorted(keys))


def _columns(expectation: Expectation) -> tuple[str, ...]:
    match expectation.rule:
        case NoneRepeated(columns):
            return columns
        case NotAbove(column, other):
            return (column, other)
        case HoldsAll(column, key=key):
            return (column, key) if key else (column,)
        case Between(column) | OneOf(column):
            return (column,)


def _judge(
    suite: Suite, ready: Sequence[tuple[Expectation, pd.DataFrame]]
) -> dict[str, ExpectationOutcome]:
    asset = _quiet_context().data_sources.add_pandas("profiles").add_dataframe_asset("rows")
    whole = asset.add_batch_definition_whole_dataframe("all")
    outcomes: dict[str, ExpectationOutcome] = {}

    def subset(pair: tuple[Expectation, Any]) -> tuple[str, str]:
        expectation = pair[0]
        return expectation.frame, repr(sorted(expectation.where.items()))

    for _, group in groupby(sorted(ready, key=subset), key=subset):
        pairs = list(group)
        expectations = [expectation for expectation, _ in pairs]
        grain = suite.grains[expectations[0].frame]
        needed = dict.fromkeys((*grain, *(c for e in expectations for c in _columns(e))))
        frame = pairs[0][1][list(needed)]
        try:
            batch = whole.get_batch({"dataframe": frame})
            judged = _judge_batch(batch, expectations, frame, grain)
        except Exception as error:  # noqa: BLE001 - what cannot be judged has failed, alone
            obstacle = f"could not be evaluated: {type(error).__name__}"
            judged = [_outcome(expectation, False, obstacle) for expectation in expectations]
        outcomes.update({outcome.name: outcome for outcome in judged})
    return outcomes


def _judge_batch(
    batch: Any, expectations: Sequence[Expectation], frame: pd.DataFrame, grain: tuple[str, ...]
) -> list[ExpectationOutcome]:
    outcomes = []
    for expectation, passed in zip(expectations, _validate(batch, expectations), strict=True):
        places = [] if passed else _places(batch, expectation, grain)
        observed = _observed(expectation, frame, places)
        outcomes.append(_outcome(expectation, passed, observed))
    return outcomes


def _quiet_context() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
    )

    # Without this setting a folder for Data Docs is left in the system's temporary folder.
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    context = gx.get_context(
        mode="ephemeral", project_config=DataContextConfig(store_backend_defaults=stores)
    )
    context.variables.progress_bars = {"globally": False}
    return context


def _validate(batch: Any, expectations: Sequence[Expectation]) -> list[bool]:
    import great_expectations as gx

    results = batch.validate(
        gx.ExpectationSuite(name="suite", expectations=[_native(e) for e in expectations]),
        result_format=COUNTS_ONLY,
    )
    passed = {
        result.expectation_config.meta["name"]: bool(result.success) for result in results.results
    }
    return [passed.get(expectation.name, False) for expectation in expectations]


def _native(expectation: Expectation) -> Any:
    from great_expectations import expectations as gxe

    meta = {"name": expectation.name}
    match expectation.rule:
        case Between(column, low, high):
            return gxe.ExpectColumnValuesToBeBetween(
                column=column, min_value=low, max_value=high, meta=meta
            )
        case OneOf(column, values):
            return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), meta=meta)
        case HoldsAll(column, values):
            return gxe.ExpectColumnDistinctValuesToContainSet(
                column=column, value_set=list(values), meta=meta
            )
        case NoneRepeated(columns):
            return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(columns), meta=meta)
        case NotAbove(column, other):
            return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=other,
                column_B=column,
                or_equal=True,
                ignore_row_if="either_value_is_missing",
                meta=meta,
            )


def _places(batch: Any, expectation: Expectation, grain: tuple[str, ...]) -> list[str]:
    """Keys of the rows that fail; the values beside them are dropped at once."""
    if isinstance(expectation.rule, HoldsAll):
        return []
    result = batch.validate(
        _native(expectation),
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": list(grain),
            "partial_unexpected_count": 0,
        },
    )
    rows = result.result.get("unexpected_index_list") or []
    return sorted({"/".join(str(row[column]) for column in grain) for row in rows})


def _observed(expectation: Expectation, frame: pd.DataFrame, places: Sequence[str]) -> str:
    parts = [f"{len(frame)} rows of {expectation.frame}"]
    if isinstance(expectation.rule, Between):
        values = frame[expectation.rule.column].dropna()
        if len(values):
            low, high = (_shown(expectation.rule.column, v) for v in (values.min(), values.max()))
            parts.append(f"{expectation.rule.column} from {low} to {high}")
    if isinstance(expectation.rule, HoldsAll):
        absent = set(expectation.rule.values) - set(frame[expectation.rule.column])
        parts.append(f"{len(absent)} absent" + _listed(sorted(absent)))
    if places:
        parts.append(f"{len(places)} outside" + _listed(places))
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > PLACES_SHOWN else ""
    return ": " + ", ".join(names[:PLACES_SHOWN]) + more


def _shown(column: str, value: float) -> str:
    """Counts of 1 to 9 are withheld (policy.md: evidence and metadata read `<10`).

    Percentages are whole: with a known base, decimals would tell a count of 1 to 9. So are
    estimates, as the evidence of a release is read by everybody (policy.md, Table A).
    """
    if column.endswith("_n") and 1 <= value <= SMALL_COUNT:
        return "<10"
    if column.endswith("_pct") or column == "estimate":
        return _whole_percent(value)
    if column.endswith("_n"):
        return f"about {round(value, -1):.0f}"
    if column.endswith("_per_1000"):
        return f"{value:.0f}"
    return f"{value:.1f}" if "mean" in column else f"{value:.2f}"


def _whole_percent(value: float) -> str:
    if 0 < value < 1:
        return "<1"
    if 99 < value < 100:
        return ">99"
    return f"{value:.0f}"


def _outcome(expectation: Expectation, passed: bool, observed: str) -> ExpectationOutcome:
    return ExpectationOutcome(
        name=expectation.name,
        passed=passed,
        expected=f"{expectation.sentence} ({_limits(expectation)})",
        observed=observed,
        threshold_source=expectation.source,
        fix="" if passed else expectation.fix,
    )


def _without_rows(expectation: Expectation) -> ExpectationOutcome:
    """Whoever delivered nothing, or what was refused, is not to be asked how it was filled."""
    outcome = _outcome(expectation, not expectation.needs_rows, "no row to judge")
    if outcome.passed:
        return outcome
    first = "run: rcs status (a delivery is missing or was refused); where none is: "
    return replace(outcome, fix=first + outcome.fix)


def _limits(expectation: Expectation) -> str:
    match expectation.rule:
        case Between(column, low, high):
            lower = "" if low is None else f"{low:g} ≤ "
            upper = "" if high is None else f" ≤ {high:g}"
            return f"{lower}{column}{upper}"
        case OneOf(column, values):
            return f"{column} is one of {', '.join(values)}"
        case HoldsAll(column, values):
            return f"{column} holds all {len(values)} of them"
        case NoneRepeated(columns):
            return f"unique: {', '.join(columns)}"
        case NotAbove(column, other):
            return f"{column} ≤ {other}"
