"""The adapter on frames made here: what passes, what fails, what is said, what is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from data_quality import Expectation, ExpectationOutcome, Suite, evaluate
from data_quality.model import Between, HoldsAll, NoneRepeated, NotAbove, OneOf, Rule

CANARY = "ZZCANARYZZ"
FRAME = pd.DataFrame(
    {
        "engagement": ["t1-a", "t1-b", "t2-c"],
        "survey": ["primary", "secondary", "secondary"],
        "share_pct": [1.0, 2.0, 9.0],
        "floor_pct": [0.5, 2.5, None],
        "small_n": [3, 40, 50],
        "estimate": [20.15, 0.4, 99.7],
        "half": ["x", "y", "y"],
        "status": ["published", "c", CANARY],
    }
)


def expect(name: str, rule: Rule, **options: object) -> Expectation:
    return Expectation(
        name=name,
        sentence="A sentence",
        asset=("intake", "receipts"),
        frame="shares",
        rule=rule,
        source="here",
        fix="do this",
        **options,  # type: ignore[arg-type]
    )


def judged(*expectations: Expectation) -> dict[str, ExpectationOutcome]:
    suite = Suite("intake", {"shares": ("engagement", "survey")}, expectations)
    return {outcome.name: outcome for outcome in evaluate(suite, {"shares": FRAME})}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, ExpectationOutcome]:
    """One evaluation for most tests: the import takes seconds."""
    return judged(
        expect("within", Between("share_pct", 0, 10)),
        expect("too_high", Between("share_pct", None, 5)),
        expect("resembles", Between("estimate", 0, 100)),
        expect("only_where", Between("share_pct", None, 5), where={"survey": ("primary",)}),
        expect("listed", OneOf("status", ("published", "c", CANARY))),
        expect("not_listed", OneOf("status", ("published", "c"))),
        expect("all_there", HoldsAll("survey", ("primary", "secondary"))),
        expect("one_absent", HoldsAll("survey", ("primary", "parent"))),
        expect("unique", NoneRepeated(("engagement", "survey"))),
        expect("repeated", NoneRepeated(("survey", "half"))),
        expect("ordered", NotAbove("share_pct", "small_n"), where={"engagement": ("t1-a",)}),
        expect("disordered", NotAbove("floor_pct", "share_pct")),
        expect("small", Between("small_n", 5, None)),
        expect("not_judged", NoneRepeated(("survey",)), where={"half": ("x",)}),
        expect("unmeasured", Between("floor_pct", 0, 10)),
        expect("nothing_to_judge", Between("floor_pct", 0, 10, skips_nulls=True)),
        expect("no_column", Between("nowhere", 0, 1)),
        expect("no_rows", Between("share_pct", 0, 1), where={"survey": ("parent",)}),
        expect(
            "no_rows_needed",
            Between("share_pct", 0, 1),
            where={"survey": ("parent",)},
            needs_rows=False,
        ),
        expect(
            "not_asked",
            Between("share_pct", 0, 1),
            where={"survey": ("parent",)},
            only_with={"survey": ("parent",)},
        ),
        expect(
            "asked",
            Between("share_pct", 0, 1),
            where={"survey": ("parent",)},
            only_with={"survey": ("primary",)},
        ),
        expect(
            "all_there_of_those_held",
            HoldsAll(
                "survey",
                ("primary", "parent"),
                key="survey",
                key_of={"primary": "primary", "parent": "parent"},
            ),
        ),
        expect(
            "one_absent_of_those_held",
            HoldsAll(
                "survey",
                ("primary", "tertiary"),
                key="survey",
                key_of={"primary": "primary", "tertiary": "primary"},
            ),
        ),
    )


def test_where_nothing_was_delivered_the_deliveries_are_looked_at_first(
    outcomes: dict[str, ExpectationOutcome],
) -> None:
    assert not outcomes["no_rows"].passed
    assert outcomes["no_rows"].fix.startswith("run: rcs status")
    assert outcomes["no_rows"].fix.endswith("do this")
    assert outcomes["no_rows_needed"].fix == ""
    assert outcomes["too_high"].fix == "do this"


def test_each_rule_passes_and_fails(outcomes: dict[str, ExpectationOutcome]) -> None:
    failed = {name for name, outcome in outcomes.items() if not outcome.passed}
    assert failed == {
        "too_high",
        "not_listed",
        "one_absent",
        "repeated",
        "disordered",
        "small",
        "not_judged",
        "unmeasured",
        "no_column",
        "no_rows",
        "asked",
        "one_absent_of_those_held",
    }


def test_outcomes_keep_the_order_of_the_suite(outcomes: dict[str, ExpectationOutcome]) -> None:
    assert list(outcomes)[:3] == ["within", "too_high", "resembles"]


def test_a_failure_names_place_limit_and_next_step(
    outcomes: dict[str, ExpectationOutcome],
) -> None:
    outcome = outcomes["too_high"]
    assert "t2-c/secondary" in outcome.observed
    assert "from 1 to 9" in outcome.observed
    assert outcome.expected == "A sentence (share_pct ≤ 5)"
    assert outcome.fix == "do this"
    assert outcomes["within"].fix == ""


def test_a_column_that_is_not_there_fails_alone(outcomes: dict[str, ExpectationOutcome]) -> None:
    assert "no column nowhere" in outcomes["no_column"].observed
    assert outcomes["within"].passed


def test_what_could_not_be_measured_fails(outcomes: dict[str, ExpectationOutcome]) -> None:
    assert "could not be measured in 1 rows: t2-c/secondary" in outcomes["unmeasured"].observed


def test_small_counts_are_withheld(outcomes: dict[str, ExpectationOutcome]) -> None:
    assert "<10 to about 50" in outcomes["small"].observed
    assert "3" not in outcomes["small"].observed.replace("3 rows", "")


def test_estimates_are_told_as_a_release_shows_them(
    outcomes: dict[str, ExpectationOutcome],
) -> None:
    """Two decimals of a public percentage narrow what a rounded one hides."""
    assert outcomes["resembles"].observed.endswith("estimate from <1 to >99")


def test_no_value_beside_the_keys_comes_back(outcomes: dict[str, ExpectationOutcome]) -> None:
    failing = outcomes["not_listed"]
    assert "t2-c/secondary" in failing.observed
    told = json.dumps([asdict(o) for o in outcomes.values() if o.name != "listed"])
    assert CANARY not in told


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    judged(expect("not_listed", OneOf("status", ("published",))))
    assert not list(tmp_path.rglob("*"))


def test_a_missing_profile_fails_what_needs_it() -> None:
    suite = Suite("intake", {}, (expect("within", Between("share_pct", 0, 10)),))
    outcomes: Sequence[ExpectationOutcome] = evaluate(suite, {})
    assert [o.passed for o in outcomes] == [False]
    assert "was not made" in outcomes[0].observed


def test_only_named_expectations_are_judged() -> None:
    suite = Suite("intake", {}, (expect("a", Between("x", 0, 1)), expect("b", Between("x", 0, 1))))
    assert [o.name for o in evaluate(suite, {}, ["b"])] == ["b"]
