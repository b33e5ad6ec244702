"""Monitor of fieldwork, error reports, decisions on UIDs: the how-tos, step by step."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from rcs_assets.intake.receipts import read_receipts
from rcs_assets.reporting.examine import form_problems, outside_problems
from rcs_assets.storage import Home
from tests.acceptance.documentation import commands
from tests.integration.installation import (
    ENGAGEMENT,
    delivered,
    edit_csv,
    receipts,
    sign_and_deliver,
)


def _do(page: Path, rcs, home: Path, **typed: str) -> list[str]:
    """Every command of a how-to, with other values after the options named."""
    said = []
    for words in commands(page, "rcs"):
        for option, value in typed.items():
            if f"--{option}" in words:
                words[words.index(f"--{option}") + 1] = value
        done = rcs(*words[1:], "--home", home)
        assert done.status == 0, done.output
        said.append(done.stdout)
    return said


@pytest.fixture
def looked_at(released_home, tmp_path: Path) -> Path:
    """As much of the installation as the commands that only look need."""
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    for name in ("home.json", "warehouse.duckdb"):
        shutil.copyfile(released_home.path / name, home / name)
    for name in ("config", "drop", "keys", "receipts"):
        shutil.copytree(released_home.path / name, home / name)
    return home


def test_watch_fieldwork(repo_root: Path, rcs, released_home, looked_at: Path) -> None:
    (said,) = _do(repo_root / "docs" / "how-to" / "watch-fieldwork.md", rcs, looked_at)
    page = Path(said.strip())
    text = page.read_text(encoding="utf-8")
    assert (form_problems(page.read_bytes()), outside_problems(page.read_bytes())) == ((), ())
    assert "Not for release" in text
    assert "SIMULATED" in text
    recorded = json.loads(rcs("monitor", "--home", looked_at, "--json").stdout)
    completed: Counter[tuple[str, str]] = Counter()
    for one in recorded:
        for row in one["response"]:
            completed[one["engagement"], row["seed_code"]] += row["completed_n"]
    truth = duckdb.sql(
        "select engagement, seed_code, count(*) from "
        f"'{released_home.path}-truth/respondents.parquet' where status = 'accepted' group by all"
    ).fetchall()
    assert {(*key, n) for key, n in completed.items() if n} == set(truth)
    with delivered(released_home.path, "sample_file").open(encoding="utf-8") as stream:
        pupils = list(csv.DictReader(stream))
    secret = {pupil[name] for pupil in pupils for name in ("survey_uid", "scn") if pupil[name]}
    assert [value for value in secret if value in text] == []


def test_report_errors_to_a_supplier(repo_root: Path, rcs, looked_at: Path, tmp_path: Path) -> None:
    how_to = repo_root / "docs" / "how-to" / "report-errors-to-a-supplier.md"
    (said,) = _do(how_to, rcs, looked_at, out=str(tmp_path / "to-suppliers"))
    files = [Path(line) for line in said.splitlines() if line.endswith(("csv", "html"))]
    pages = [file.read_bytes() for file in files if file.suffix == ".html"]
    assert [(form_problems(page), outside_problems(page)) for page in pages] == [((), ())] * 9
    with delivered(looked_at, "sample_file").open(encoding="utf-8") as stream:
        rows = dict(enumerate(csv.DictReader(stream), start=1))
    own = next(file for file in files if file.name == f"{ENGAGEMENT}_sample_file_errors.csv")
    with own.open(encoding="utf-8", newline="") as stream:
        report = list(csv.DictReader(stream))
    assert len(report) >= 8
    assert all(rows[int(line["row"])]["survey_uid"] == line["record"] for line in report)
    special = {line["row"] for line in report if line["rule"] == "special_school_out_of_scope"}
    assert special == {str(n) for n in rows if rows[n]["stage"] == "SP"}


@pytest.mark.slow
def test_decide_on_uids(repo_root: Path, rcs, released_home, tmp_path: Path) -> None:
    home = released_home.copy(tmp_path / "home")

    def rename(frame):
        frame.loc[0, "second_forename"] = "Skye"
        return frame

    # Another file: what was decided about the one before says nothing about it.
    file = edit_csv(delivered(home, "sample_file"), tmp_path / "new", rename)
    assert sign_and_deliver(home, file).status == 0
    refused = rcs("materialise", "--engagement", ENGAGEMENT, "--publish", "--home", home)
    assert refused.status == 1
    (waiting,) = json.loads(rcs("uids", "list", "--home", home, "--json").stdout)
    assert waiting["decision"] == "open"
    page = repo_root / "docs" / "how-to" / "decide-on-uids.md"
    codes = {"delivered": waiting["seed_code_delivered"], "right": waiting["seed_code_right"]}
    said = _do(page, rcs, home, engagement=ENGAGEMENT, **codes)
    assert "1 of 1 wait" in said[0]
    (sample,) = [
        receipt
        for receipt in read_receipts(Home.open(home))
        if (receipt.engagement, receipt.dataset) == (ENGAGEMENT, "sample_file")
    ]
    assert sample.flags["uids_repaired"] == waiting["pupils_n"]


@pytest.mark.slow
def test_destroy_extra_children(repo_root: Path, rcs, released_home, tmp_path: Path) -> None:
    """The steps of the page for a council that sent a child of another area with its own."""
    home = released_home.copy(tmp_path / "home")
    before = _accepted(home)

    def add(frame, **changed):
        return pd.concat([frame, frame.tail(1).assign(record_id="sup-nosy", **changed)])

    files = [
        edit_csv(delivered(home, "education_ids"), tmp_path / "new", lambda f: add(f, **NOBODY)),
        edit_csv(delivered(home, "education_payload"), tmp_path / "new", add),
    ]
    assert sign_and_deliver(home, *files).status == 0
    assert rcs("materialise", "--engagement", ENGAGEMENT, "--home", home).status == 0
    told = json.loads(rcs("status", "--home", home, "--json").stdout)
    assert [extra["engagement"] for extra in told["extra_children"]] == [ENGAGEMENT]
    _do(repo_root / "docs" / "how-to" / "destroy-extra-children.md", rcs, home)
    (file,) = (home / "drop" / "certificates").glob("extra-children-*")
    removed = json.loads(file.read_text())["deliveries"]
    assert {one["dataset"]: one["rows_removed_n"] for one in removed} == {
        "education_ids": 1,
        "education_payload": 1,
    }
    assert _accepted(home) == before
    assert not any(
        "sup-nosy" in delivered(home, name).read_text()
        for name in ("education_ids", "education_payload")
    )


# On no sample file.
NOBODY = {"survey_uid": "MM99999999", "scn": "999999999"}


def _accepted(home: Path) -> dict[str, int]:
    return {
        row["dataset"]: row["accepted"]
        for row in receipts(home)
        if row["engagement"] == ENGAGEMENT and row["dataset"].startswith("education")
    }
