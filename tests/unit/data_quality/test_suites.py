"""The suites as a steward reads them, and as the gate and Dagster need them."""

from __future__ import annotations

import pytest

from data_quality import (
    LeastBase,
    ReleaseRules,
    Suite,
    candidate_suite,
    estimates_suite,
    intake_suite,
    linked_suite,
    load_benchmarks,
    load_thresholds,
)
from rcs_assets.codebook import load_codebook

RULES = ReleaseRules(
    label="test",
    statuses=("published", "c", "z", "x", "u"),
    notes=("", "low", "high"),
    unreliable_n_below=30,
    unreliable_interval_wider_than=30,
    bases=(
        LeastBase("public", False, 30, "Table A"),
        LeastBase("public", True, 40, "Table A"),
    ),
)
SUITES = (
    intake_suite(load_thresholds()),
    linked_suite(load_codebook(), load_thresholds()),
    candidate_suite(load_codebook(), RULES, load_thresholds()),
    estimates_suite(load_benchmarks(), load_thresholds()),
)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.boundary)
def test_expectations_can_be_read_and_acted_on(suite: Suite) -> None:
    for expectation in suite.expectations:
        assert expectation.name.isidentifier()
        assert expectation.name == expectation.name.lower()
        assert len(expectation.sentence.split()) >= 4
        assert expectation.source
        assert expectation.fix
        assert expectation.frame in suite.grains


def test_names_are_used_once() -> None:
    names = [e.name for suite in SUITES for e in suite.expectations]
    assert len(names) == len(set(names))


def test_every_threshold_is_used() -> None:
    used = {e.source for suite in SUITES for e in suite.expectations}
    unused = [t.name for t in load_thresholds().values() if t.origin not in used]
    assert not unused


def test_every_scale_that_has_a_norm_is_judged() -> None:
    names = {e.name for e in SUITES[1].expectations}
    norms = {name.removeprefix("mean_") for name in load_thresholds() if name.startswith("mean_")}
    assert {f"mean_of_{norm}_is_plausible" for norm in norms} <= names


def test_bases_come_from_the_policy() -> None:
    by_name = {e.name: e for e in SUITES[2].expectations}
    assert by_name["public_cells_have_their_base"].rule.low == 30
    assert by_name["public_sensitive_cells_have_their_base"].where["sensitivity"] == ("sensitive",)


def test_every_indicator_must_be_among_the_cells() -> None:
    expectation = next(e for e in SUITES[2].expectations if e.name == "every_indicator_is_there")
    assert set(expectation.rule.values) == set(load_codebook().indicators)
