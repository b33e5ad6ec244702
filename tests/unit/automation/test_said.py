"""What a run that was refused says: each reason once, whose it is, and no internal name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from rcs_assets.build import build_defs
from rcs_assets.cli import main
from rcs_assets.commands import running
from rcs_assets.commands.terminal import DONE, REFUSED
from rcs_assets.errors import GateRefusedError
from rcs_assets.linkage import review
from rcs_assets.runs import RunOutcome, first_error
from rcs_assets.storage import Home

BLOCKED = "Intake is blocked. Why: the approval is a placeholder."


def _row(engagement: str | None, file: str, reason: str, status: str = "rejected") -> dict:
    return {
        "engagement": engagement, "file": file, "dataset": "clusters", "status": status,
        "reasons": [reason],
    }  # fmt: skip


def test_a_reason_is_said_once_with_its_deliveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        _row("t2-falkirk", "a.csv", BLOCKED),
        _row("t2-falkirk", "b.csv", BLOCKED),
        _row("t2-falkirk", "", "It is missing."),
        _row("t1-clackmannanshire", "c.csv", BLOCKED),
        _row(None, "d.csv", "It is no list of schools."),
        _row("t2-falkirk", "e.csv", "", "accepted"),
    ]
    monkeypatch.setattr(running, "delivery_status", lambda home: rows)
    assert running._report_failures(Home.open(tmp_path / "home"), []) == DONE
    assert capsys.readouterr().err.splitlines() == [
        f"incomplete: t2-falkirk: {BLOCKED}",
        "  2 deliveries: a.csv, b.csv",
        "incomplete: t2-falkirk: It is missing.",
        "  1 delivery: clusters",
        f"incomplete: t1-clackmannanshire: {BLOCKED}",
        "  1 delivery: c.csv",
        "incomplete: reference: It is no list of schools.",
        "  1 delivery: d.csv",
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            GateRefusedError("The gate refused to publish", why="it has 0 signatures"),
            "rcs: The gate refused to publish. Why: it has 0 signatures.",
        ),
        (
            ZeroDivisionError("division by zero"),
            "rcs: reporting__pages: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_refusal_is_said_without_names_of_the_code(
    error: Exception, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @dg.asset(key=["reporting", "pages"])
    def pages() -> None:
        raise error

    result = dg.materialize([pages], raise_on_error=False)
    outcome = RunOutcome(result.run_id, "rest", first_error(result))
    capsys.readouterr()
    assert running._report_failures(Home.open(tmp_path / "home"), [outcome]) == REFUSED
    assert capsys.readouterr().err.splitlines() == [said]


@pytest.mark.parametrize(
    ("step", "text", "is_said"),
    [
        ("linkage__linked", "decisions of clerks were not applied", True),
        ("intake__sample", f"t2-falkirk: {BLOCKED}", False),
        ("reporting_checks", "Dependencies for step reporting_checks failed.", False),
    ],
)
def test_a_warning_is_said_without_its_run_and_what_is_said_at_the_end_not_twice(
    step: str, text: str, is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = build_defs().get_repository_def().get_job("everything").loggers["console"]
    said = {"orig_message": text, "step_key": step, "dagster_event": None}
    logger.logger_fn(None).warning(  # type: ignore[arg-type]  # it reads no context
        f"everything - 1f - {step} - {text}", extra={"dagster_meta": said}
    )
    assert capsys.readouterr().err == (f"{text}\n" if is_said else "")


@pytest.mark.parametrize(
    ("queues", "said"),
    [
        ([], "No queue yet"),
        ([0, 0], "No pair waits for a clerk"),
        ([0, 3], "Next: rcs clerical review --engagement KEY --reviewer NAME"),
    ],
)
def test_a_queue_without_pairs_asks_for_no_review(
    queues: list[int],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [
        SimpleNamespace(engagement="t2-falkirk", queue_n=n, once_n=0, twice_n=0) for n in queues
    ]
    monkeypatch.setattr(review, "progress", lambda home, settings: found)
    home = Home.open(tmp_path / "home")
    assert main(["clerical", "queue", "--home", str(home.path)]) == DONE
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_a_status_page_into_the_installation_is_refused_by_its_own_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home.open(tmp_path / "home")
    page = home.path / "page.html"
    assert main(["status", "--page", str(page), "--home", str(home.path)]) == REFUSED
    assert f"--page {page}" in capsys.readouterr().err
    assert not page.exists()
