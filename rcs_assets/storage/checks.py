"""One way to tell Dagster about the checks of a room.

Belongs here: the shape of a Python check, and the definition that runs all checks of
an asset group with one look at the warehouse. Does not belong here: any rule; rules
lie in the rooms' `checks.py` and in `data_quality`.

Checks are not partitioned: each judges its whole table. They are not blocking: the
gate reads their records itself. They fail closed: what cannot be evaluated has
failed, with the reason, and hides no other check.
"""

# No `from __future__ import annotations`: Dagster reads the type of `context` at import.
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb

from data_quality import Entry, ExpectationOutcome, Suite, append_history, evaluate
from rcs_assets.codebook import Codebook
from rcs_assets.errors import RcsError
from rcs_assets.programme import Programme
from rcs_assets.storage.connect import open_warehouse
from rcs_assets.storage.home import Home
from rcs_assets.storage.resources import WRITER_POOL, HomeResource

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bench:
    """What a check may look at: the warehouse (read-only) and the registers.

    `left_out` names the engagements that the operator left out; checks skip them. `as_of` is
    the day on which rules with days are asked.
    """

    con: duckdb.DuckDBPyConnection
    home: Home
    programme: Programme
    codebook: Codebook
    left_out: frozenset[str]
    as_of: date = field(default_factory=date.today)


@dataclass(frozen=True)
class Verdict:
    """What a Python check saw; aggregates and names only."""

    passed: bool
    observed: str

    @classmethod
    def of(cls, wrong: Sequence[str], looked_at_n: int, unit: str) -> "Verdict":
        """Of things that must be there, and none of them wrong: of nothing it has failed."""
        if not looked_at_n and not wrong:
            return cls(False, f"0 {unit}: nothing to judge")
        return cls(looked_at_n > 0 and not wrong, places(wrong, f"{looked_at_n} {unit}"))


@dataclass(frozen=True)
class PythonCheck:
    """A rule that is no limit on a profile: `judge` looks and says what it saw.

    A check that does not gate fails as a warning, and the gate does not ask for it.
    """

    asset: tuple[str, str]
    name: str
    sentence: str
    source: str
    fix: str
    judge: Callable[[Bench], Verdict]
    gates: bool = True


PLACES_SHOWN = 5
Profiles = Callable[[Bench], Mapping[str, "pd.DataFrame"]]


def room_checks(
    name: str,
    python_checks: Sequence[PythonCheck],
    suite: Suite | None = None,
    profiles: Profiles | None = None,
    assets: Sequence[tuple[str, str]] = (),
) -> dg.AssetChecksDefinition:
    """The checks of a group of assets as one definition that may run in part.

    Args:
        name: name of the step.
        python_checks: rules in Python.
        suite: a suite of expectations, of which those on `assets` are taken.
        profiles: makes the frames that the suite judges.
        assets: keys of the assets whose expectations are taken.
    """
    expectations = [e for e in suite.expectations if e.asset in assets] if suite else []
    rules = [(e.asset, e.name, e.sentence) for e in expectations]
    rules += [(c.asset, c.name, c.sentence) for c in python_checks]
    specs = [
        dg.AssetCheckSpec(rule, asset=dg.AssetKey(list(asset)), description=f"{sentence}.")
        for asset, rule, sentence in rules
    ]

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True, pool=WRITER_POOL)
    def checks(
        context: dg.AssetCheckExecutionContext, home: HomeResource
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {key.name for key in context.selected_asset_check_keys}
        chosen = [check for check in python_checks if check.name in wanted]
        named = [e.name for e in expectations if e.name in wanted]
        outcomes = run_checks(home, chosen, suite, profiles, named)
        places = {rule: asset for asset, rule, _ in rules}
        told = [
            ("/".join(places[o.name]), o.name, o.passed, o.expected, o.observed) for o in outcomes
        ]
        remember(home, context.run.run_id, told)
        advisory = {check.name for check in python_checks if not check.gates}
        for outcome in outcomes:
            yield _result(places[outcome.name], outcome, is_advice=outcome.name in advisory)

    return checks


def remember(
    home: HomeResource, run: str, outcomes: Iterable[tuple[str, str, bool, str, str]]
) -> None:
    """Add outcomes (asset, check, passed, expected, observed) to the installation's history."""
    day = home.settings().as_of
    append_history(home.home().logs, [Entry(run, day, *outcome) for outcome in outcomes])


def run_checks(
    home: HomeResource,
    python_checks: Sequence[PythonCheck],
    suite: Suite | None,
    profiles: Profiles | None,
    names: Sequence[str],
) -> list[ExpectationOutcome]:
    """Evaluate Python checks and the named expectations over one read-only connection.

    Returns:
        One outcome a check, whatever happens: if the warehouse cannot be opened, all failed.
    """
    try:
        place = home.home()
        with open_warehouse(place, read_only=True, settings=home.settings()) as con:
            bench = Bench(
                con,
                place,
                home.programme(),
                home.codebook(),
                frozenset(home.left_out),
                home.settings().as_of,
            )
            outcomes = [_judged(check, bench) for check in python_checks]
            frames, obstacle = _frames(profiles if names else None, bench)
    except Exception as error:  # noqa: BLE001 - a check that cannot run has failed
        obstacle = explained(error)
        outcomes = [_failed(c.name, c.sentence, c.source, c.fix, obstacle) for c in python_checks]
        frames = {}
    if suite is not None and names:
        outcomes += _expected(suite, frames, names, obstacle)
    return outcomes


def _judged(check: PythonCheck, bench: Bench) -> ExpectationOutcome:
    try:
        verdict = check.judge(bench)
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        verdict = Verdict(False, explained(error))
    return ExpectationOutcome(
        name=check.name,
        passed=verdict.passed,
        expected=check.sentence,
        observed=verdict.observed,
        threshold_source=check.source,
        fix="" if verdict.passed else check.fix,
    )


def _frames(profiles: Profiles | None, bench: Bench) -> tuple[Mapping[str, "pd.DataFrame"], str]:
    if profiles is None:
        return {}, ""
    try:
        made = profiles(bench)
    except Exception as error:  # noqa: BLE001 - without a profile its expectations have failed
        return {}, explained(error)
    return {
        name: frame[~frame["engagement"].isin(bench.left_out)]
        if "engagement" in frame.columns and bench.left_out
        else frame
        for name, frame in made.items()
    }, ""


def _expected(
    suite: Suite, frames: Mapping[str, "pd.DataFrame"], names: Sequence[str], obstacle: str
) -> list[ExpectationOutcome]:
    if not obstacle:
        try:
            return evaluate(suite, frames, names)
        except Exception as error:  # noqa: BLE001 - fail closed, and say why
            obstacle = explained(error)
    return [
        _failed(e.name, e.sentence, e.source, e.fix, obstacle)
        for e in suite.expectations
        if e.name in names
    ]


def _failed(name: str, expected: str, source: str, fix: str, obstacle: str) -> ExpectationOutcome:
    return ExpectationOutcome(name, False, expected, obstacle, source, fix)


def explained(error: Exception) -> str:
    """What stood in the way, without the engine's words: they can hold values of records."""
    text = error.what if isinstance(error, RcsError) else type(error).__name__
    return f"could not be evaluated: {text}"


def _result(
    asset: tuple[str, str], outcome: ExpectationOutcome, *, is_advice: bool
) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "expected": outcome.expected,
        "observed": outcome.observed,
        "threshold_source": outcome.threshold_source,
        "next_command": outcome.fix or "none",
    }
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=dg.AssetKey(list(asset)),
        check_name=outcome.name,
        severity=dg.AssetCheckSeverity.WARN if is_advice else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
        description=outcome.observed,
    )


def places(found: Sequence[str], looked_at: str) -> str:
    """What a Python check saw: how much it looked at, and the first places that are wrong."""
    if not found:
        return f"{looked_at}: none wrong"
    more = ", …" if len(found) > PLACES_SHOWN else ""
    return f"{looked_at}: {len(found)} wrong: {', '.join(found[:PLACES_SHOWN])}{more}"
