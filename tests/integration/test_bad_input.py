"""Bad deliveries: one clear message each, the rest goes on, the gate refuses the incomplete.

The cells and rows of single files are tested in tests/unit/intake; here a whole
installation takes them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rcs_assets.cli import main
from tests.conftest import ReleasedHome, run_rcs
from tests.drop import plain_copies
from tests.integration.installation import (
    ENGAGEMENT,
    decided_again,
    delivered,
    edit_csv,
    edit_sav,
    publish,
    receipts,
    sign_and_deliver,
)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("holiday-photos.csv", b"a,b\n1,2\n", ["holiday-photos.csv", "What to do"]),
        (f"{ENGAGEMENT}_sample-file.csv", b"", [f"{ENGAGEMENT}_sample-file.csv", "empty"]),
        (
            "t2-clackmannanshire_sample-file.csv",
            b"survey_uid\nx\n",
            ["t2-clackmannanshire", "t1-clackmannanshire"],
        ),
        (f"{ENGAGEMENT}_secondary-survey.csv", b"a\n1\n", ["secondary-survey", ".sav"]),
    ],
    ids=["unknown", "empty", "wrong-tranche", "wrong-format"],
)
def test_a_file_that_cannot_be_taken_is_refused_at_delivery(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    words: list[str],
) -> None:
    home = str(tmp_path / "home")
    file = tmp_path / name
    file.write_bytes(content)
    assert main(["simulate", "--sign", str(file)]) == 0
    assert main(["deliver", "--home", home, "--profile", "demo", str(file)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    for word in words:
        assert word in last


@pytest.mark.slow
def test_an_incomplete_engagement_is_refused_unless_left_out(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = released_home.copy(tmp_path / "home")
    old = (home / "releases" / "current").readlink()
    source = delivered(home, "education_payload")
    edited = edit_csv(source, tmp_path / "edited", lambda frame: frame.drop(columns=["stage"]))
    assert sign_and_deliver(home, edited).status == 0
    refused = publish(home)
    assert refused.status == 1
    assert f"incomplete: {ENGAGEMENT}" in refused.stderr
    assert "stage" in refused.stderr
    assert "gate refused" in refused.stderr.strip().splitlines()[-1]
    assert (home / "releases" / "current").readlink() == old
    rejected = [row for row in receipts(home) if row["status"] == "rejected"]
    assert [(row["engagement"], row["dataset"]) for row in rejected] == [
        (ENGAGEMENT, "education_payload")
    ]
    without = publish(home, "--leave-out", ENGAGEMENT)
    assert without.status == 0, without.output
    shown = run_rcs("release", "show", "--home", home)
    assert ENGAGEMENT not in shown.stdout
    assert "cpp/t2-falkirk" in shown.stdout


def test_bad_rows_are_quarantined_and_counted_and_the_rest_goes_on(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = released_home.copy(tmp_path / "home")

    def spoil_sample(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[3, ["seed_code", "school_name"]] = ["9999999", ""]
        frame.loc[5, "date_of_birth"] = "sometime"
        frame.loc[8, "survey_uid"] = frame.loc[9, "survey_uid"]
        return frame

    def spoil_survey(frame: pd.DataFrame) -> pd.DataFrame:
        column = next(name for name in frame.columns if 4 <= frame[name].nunique() <= 9)
        frame.loc[frame[column].isin([1.0, 2.0]).idxmax(), column] = 55.0
        return frame

    before = {(row["engagement"], row["dataset"]): row for row in receipts(home)}
    sample = edit_csv(delivered(home, "sample_file"), tmp_path / "edited", spoil_sample)
    survey = edit_sav(delivered(home, "primary_survey"), tmp_path / "edited", spoil_survey)
    assert sign_and_deliver(home, sample, survey, decided_again(home, sample)).status == 0
    # What follows from quarantined rows is shown by every home: the demo's deliveries have defects.
    done = run_rcs(
        "materialise", "--home", home, "--engagement", ENGAGEMENT, "--select", "group:intake"
    )
    assert done.status == 0, done.output
    after = {(row["engagement"], row["dataset"]): row for row in receipts(home)}
    for row in after.values():
        assert row["received"] == row["accepted"] + row["quarantined"] + row["withdrawn"]
    reasons = " ".join(after[ENGAGEMENT, "sample_file"]["reasons"])
    for rule in ("school_not_on_roll", "wrong_type", "duplicate_uid"):
        assert rule in reasons
    old = before[ENGAGEMENT, "primary_survey"]
    new = after[ENGAGEMENT, "primary_survey"]
    assert new["received"] == old["received"]
    assert new["quarantined"] == old["quarantined"] + 1


@pytest.mark.slow
def test_a_new_home_takes_in_what_was_sent_and_nothing_more(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    """docs/how-to/deliver-a-file.md: what is in, what is not and why, before anything else."""
    home = tmp_path / "home"
    files = plain_copies(released_home.copy(tmp_path / "copy"))
    assert run_rcs("simulate", "--sign", *files).status == 0
    told = run_rcs("deliver", "--home", home, "--profile", "demo", *files)
    assert told.status == 0, told.output
    done = run_rcs(
        "materialise", "--home", home, "--engagement", ENGAGEMENT, "--select", "group:intake"
    )
    assert done.status == 0, done.output
    taken = [row for row in receipts(home) if row["engagement"] in (None, ENGAGEMENT)]
    before = receipts(released_home.path)
    assert taken == [row for row in before if row["engagement"] in (None, ENGAGEMENT)]


@pytest.mark.slow
def test_production_does_not_publish_without_approvals(
    released_home: ReleasedHome, tmp_path: Path
) -> None:
    home = tmp_path / "production"
    files = plain_copies(released_home.copy(tmp_path / "copy"))
    assert run_rcs("keys", "new", "--home", home).status == 0
    told = run_rcs("deliver", "--home", home, *files)
    assert told.status == 0, told.output
    done = publish(home)
    assert done.status == 1
    assert "placeholder" in done.stderr
    assert not (home / "releases" / "current").exists()
