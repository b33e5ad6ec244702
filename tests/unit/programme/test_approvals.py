"""Approvals: what blocks intake and linkage, and why.

Belongs here: tests of `rcs_assets.programme.approvals`. Does not belong here: what intake
does with the answer.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from rcs_assets.programme import Programme, approval_problems, load_programme

KEY = "t1-west-lothian"
DAY = date(2019, 6, 30)


def changed(**changes: Any) -> Programme:
    """The register with one approval changed."""
    programme = load_programme()
    approval = replace(programme.approvals[KEY], **{"source": "signed register", **changes})
    return replace(programme, approvals={**programme.approvals, KEY: approval})


def test_every_engagement_of_the_demonstration_is_approved() -> None:
    programme = load_programme()
    for key in programme.engagements:
        assert approval_problems(programme, key, DAY, placeholders_allowed=True) == ()


def test_an_engagement_without_approval_is_blocked() -> None:
    programme = replace(load_programme(), approvals={})
    assert approval_problems(programme, KEY, DAY) == (f"privacy.csv has no approval for {KEY}",)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("expires_on", "approval ended on 2019-06-29"),
        ("contract_expires_on", "processor contract ended on 2019-06-29"),
        ("iso27001_expires_on", "ISO 27001 certificate ended on 2019-06-29"),
        ("dpia_review_on", "DPIA review ended on 2019-06-29"),
        ("retention_until", "retention period ended on 2019-06-29"),
    ],
)
def test_every_day_blocks_once_it_is_over(column: str, reason: str) -> None:
    programme = changed(**{column: date(2019, 6, 29)})
    assert approval_problems(programme, KEY, DAY) == (reason,)
    assert approval_problems(programme, KEY, date(2019, 6, 29)) == ()


def test_an_approval_does_not_hold_before_it_starts() -> None:
    problems = approval_problems(changed(valid_from=date(2019, 7, 1)), KEY, DAY)
    assert problems == ("approval starts on 2019-07-01",)


@pytest.mark.parametrize("column", ["valid_from", "expires_on", "dpia_review_on"])
def test_an_empty_day_counts_as_missing(column: str) -> None:
    (problem,) = approval_problems(changed(**{column: None}), KEY, DAY)
    assert problem.endswith("is missing")


@pytest.mark.parametrize("column", ["controller", "sharing_agreement", "ethics", "lawful_basis"])
def test_an_empty_reference_counts_as_missing(column: str) -> None:
    (problem,) = approval_problems(changed(**{column: ""}), KEY, DAY)
    assert problem.endswith("is missing")


def test_placeholders_approve_nothing_unless_they_are_allowed() -> None:
    problems = approval_problems(load_programme(), KEY, DAY)
    assert problems == ("the approval is a placeholder for demonstrations",)
    assert approval_problems(load_programme(), KEY, DAY, placeholders_allowed=True) == ()
    assert approval_problems(changed(), KEY, DAY) == ()
