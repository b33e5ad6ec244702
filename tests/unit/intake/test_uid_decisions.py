"""UIDs issued, mixed up, decided about and repaired, with the commands that an operator uses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rcs_assets.cli import main
from rcs_assets.intake.receipts import read_receipts
from tests.unit.intake.conftest import ENGAGEMENT, PRIMARY, SECONDARY, World, pupils, write_csv

AS_OF = "2020-06-30"


def _rcs(world: World, *words: str) -> int:
    return main([*words, "--home", str(world.home.path), "--as-of", AS_OF])


def _issue(world: World, rows: list[dict[str, str]], out: Path) -> int:
    listed = write_csv(out.with_name("list.csv"), rows)
    return _rcs(world, "uids", "issue", str(listed), "--engagement", ENGAGEMENT, "--out", str(out))


def _unissued() -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "survey_uid"} for row in pupils()]


def test_from_a_list_to_a_confirmed_repair(
    delivered: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, out = delivered, tmp_path / "issued.csv"
    assert _issue(world, _unissued(), out) == 0
    with out.open(encoding="utf-8", newline="") as stream:
        issued = list(csv.DictReader(stream))
    again = tmp_path / "again.csv"
    assert _issue(world, _unissued(), again) == 0
    assert again.read_bytes() == out.read_bytes()
    assert len({row["survey_uid"] for row in issued}) == 6
    parts = {row["seed_code"]: row["survey_uid"][:5] for row in issued}
    assert len(set(parts.values())) == 2
    # As it was: one school's UIDs under the other school.
    mixed = [row | {"seed_code": SECONDARY} for row in issued]
    world.deliver(write_csv(world.path("sample_file"), mixed))
    receipt = world.take("sample_file")
    assert (receipt.accepted_n, dict(receipt.reasons)) == (3, {"uids_of_similar_school": 3})
    assert "uid_check_digit" not in receipt.flags
    capsys.readouterr()
    assert _rcs(world, "uids", "list") == 0
    assert "1 of 1 wait for a decision" in capsys.readouterr().out
    decided = ("--delivered", SECONDARY, "--right", PRIMARY, "--engagement", ENGAGEMENT)
    said = ("--by", "evidence officer", "--reason", "both schools were asked")
    assert _rcs(world, "uids", "decide", "repair", *decided, *said) == 0
    world.take("uid_decisions")
    receipt = world.take("sample_file")
    assert (receipt.accepted_n, receipt.flags["uids_repaired"]) == (6, 3)
    schools = world.rows("select seed_code, count(*) from intake.sample group by all order by all")
    assert schools == [(PRIMARY, 3), (SECONDARY, 3)]
    recorded = world.rows("select decision, decided_by, reason from intake.uid_decisions")
    assert recorded == [("repair", "evidence officer", "both schools were asked")]
    _think_better_of_it(world, (*decided, *said), capsys)
    # A corrected file asks for nothing, and the decision about the other file does nothing.
    world.deliver(write_csv(world.path("sample_file"), issued))
    receipt = world.take("sample_file")
    assert (receipt.accepted_n, receipt.proposals) == (6, ())
    texts = str(read_receipts(world.home))
    assert [row["survey_uid"] for row in issued if row["survey_uid"] in texts] == []


def _think_better_of_it(
    world: World, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """One decision a proposal: the later holds."""
    assert _rcs(world, "uids", "decide", "keep", *words) == 0
    world.take("uid_decisions")
    receipt = world.take("sample_file")
    # A primary's pupils cannot be in a secondary all the same.
    assert dict(receipt.reasons) == {"stage_not_of_school": 3}
    assert world.rows("select decision from intake.uid_decisions") == [("keep",)]
    capsys.readouterr()
    assert _rcs(world, "uids", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["decision"] == "keep"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed_code": ""}, "row 2, column seed_code"),
        ({"seed_code": "5999999"}, "school_of_other_council"),
        ({"sex": "X"}, "row 2, column sex"),
    ],
)
def test_nothing_is_issued_from_a_list_with_a_fault(
    delivered: World,
    tmp_path: Path,
    change: dict[str, str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = _unissued()
    rows[1] |= change
    out = tmp_path / "issued.csv"
    assert _issue(delivered, rows, out) == 1
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_there_is_not_written_over(
    delivered: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """UIDs of it may have been handed to pupils."""
    out = tmp_path / "issued.csv"
    out.write_text("handed out\n", encoding="utf-8")
    assert _issue(delivered, _unissued(), out) == 1
    assert "There is a file already" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "handed out\n"


def test_encodings_are_issued_no_uids(
    delivered: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read: a council that encodes issues its UIDs before that."""
    kept = ("seed_code", "stage", "sex")
    rows = [
        {**{k: row[k] for k in kept}, "scheme": "clk-1", "clk": f"AAAA{n}"}
        for n, row in enumerate(_unissued())
    ]
    out = tmp_path / "issued.csv"
    assert _issue(delivered, rows, out) == 1
    said = capsys.readouterr().err
    assert "column scheme" in said and "encodes the sample file that comes of it" in said
    assert "AAAA" not in said and not out.exists()


def test_only_what_was_proposed_can_be_decided(
    delivered: World, capsys: pytest.CaptureFixture[str]
) -> None:
    delivered.take("sample_file")
    words = ("--delivered", PRIMARY, "--right", SECONDARY, "--engagement", ENGAGEMENT)
    assert _rcs(delivered, "uids", "decide", "repair", *words, "--by", "A", "--reason", "b") == 1
    assert "Nothing asks for this decision" in capsys.readouterr().err
