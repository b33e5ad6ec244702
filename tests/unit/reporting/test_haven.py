"""The safe haven's page on linkage: every table of it, marked, readable without a network."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rcs_assets.errors import InputError
from rcs_assets.reporting.examine import form_problems, outside_problems
from rcs_assets.reporting.pages import render_package

from . import made


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = made.write_haven(tmp_path_factory.mktemp("haven"))
    files = render_package(folder, "safe_haven")
    assert list(files) == ["linkage.html"]
    return files["linkage.html"]


def test_it_says_that_it_stays_and_breaks_no_rule_of_pages(page: bytes) -> None:
    root = ET.fromstring(page)
    assert root.findtext("head/title").startswith("SIMULATED NOT FOR RELEASE")
    assert "nothing of it may be taken out" in " ".join(root.find(".//main").itertext())
    assert form_problems(page) == ()
    assert outside_problems(page) == ()


def test_every_table_stands_in_it(page: bytes) -> None:
    text = " ".join(" ".join(ET.fromstring(page).itertext()).split())
    for said in (
        "99.96 (99.81 to 100.00)",  # precision of a file
        "11.20 (1.00 to 20.00)",  # pairs that a group missed
        "Looked-after status: currently away",
        "96.40 (80.00 to 99.00)",  # sensitivity by stage and sex
        "received: 2,700; accepted: 2,686",  # the flow in words: both areas together
        "low_mood, high: social_work, exact only",
        "date of birth: same",
        "RECORD 6.3: Flow",
    ):
        if said.startswith("received"):
            descriptions = [d.text for d in ET.fromstring(page).iter("desc")]
            assert any("received: 2,700" in d and "linked: 2,600" in d for d in descriptions)
        else:
            assert said in text, said
    # Where an outside indexer linked, nobody estimated anything.
    assert "t1-clackmannanshire: Social work records 1,343 1,300 96.8 - - - 7" in text


def test_without_its_tables_there_is_no_page(tmp_path: Path) -> None:
    folder = made.write_haven(tmp_path / "safe_haven")
    (folder / "parquet" / "link_flow.parquet").unlink()
    with pytest.raises(InputError, match="no table link_flow"):
        render_package(folder, "safe_haven")


def test_where_no_record_was_taken_in_there_is_no_share(tmp_path: Path) -> None:
    """The first run of an installation whose approvals do not hold yet: every intake is blocked."""
    folder = made.write_haven(tmp_path / "safe_haven", records={"records_n": "0", "linked_n": "0"})
    page = render_package(folder, "safe_haven")["linkage.html"]
    text = " ".join(" ".join(ET.fromstring(page).itertext()).split())
    assert "- of social work records are linked" in text
    assert "t1-clackmannanshire: Social work records 0 0 - - - - 7" in text
    assert form_problems(page) == ()
