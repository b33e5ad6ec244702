"""No identifier leaves drop and vault: planted ones are searched for everywhere else."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pytest

from rcs_assets.disclosure.beside import TABLES
from tests.conftest import ReleasedHome, run_rcs
from tests.drop import plain_copy
from tests.integration.installation import (
    OTHER,
    current,
    decided_again,
    ranges_since,
    runs,
)
from tests.privacy.search import (
    READ_AT_ONCE,
    Finder,
    Finding,
    date_spellings,
    search_home,
    spellings,
)

ENGAGEMENT = "t1-clackmannanshire"
SURNAME = "Qwyxcanarysurname"
FORENAME = "Vuzcanaryforename"
POSTCODE = "FK10 9ZQ"
BORN = date(2003, 11, 27)
SUPPLIER_ID = "CANARYSUP77"
CASE_ID = "CANARYCASE88"
FORMER_SURNAME = "Jixcanaryformer"


def delivered(home: Path, dataset: str) -> Path:
    """A plain copy of the file of a dataset."""
    return plain_copy(home, dataset, ENGAGEMENT)


def read_rows(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a delivered CSV."""
    with file.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        return list(reader.fieldnames or []), list(reader)


def write_rows(file: Path, header: list[str], rows: list[dict[str, str]]) -> Path:
    """Write a CSV as a supplier would."""
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def plant(home: Path, folder: Path) -> dict[str, set[bytes]]:
    """Give one pupil unmistakable identifiers, in every identifier file and the payloads."""
    header, sample = read_rows(delivered(home, "sample_file"))
    ids_header, ids = read_rows(delivered(home, "education_ids"))
    payload_header, payload = read_rows(delivered(home, "education_payload"))
    cases_header, cases = read_rows(delivered(home, "social_work_ids"))
    care_header, care = read_rows(delivered(home, "social_work_payload"))
    by_scn = {row["scn"]: row for row in ids if row["scn"]}
    case_by_scn = {row["scn"]: row for row in cases if row["scn"]}
    pupil = next(row for row in sample if row["scn"] in by_scn and row["scn"] in case_by_scn)
    record, case = by_scn[pupil["scn"]], case_by_scn[pupil["scn"]]
    service = next(row for row in payload if row["record_id"] == record["record_id"])
    known = next(row for row in care if row["record_id"] == case["record_id"])
    for row in (pupil, record, case):
        row.update(
            surname=SURNAME,
            first_forename=FORENAME,
            date_of_birth=BORN.isoformat(),
            postcode=POSTCODE,
        )
    record["record_id"] = service["record_id"] = SUPPLIER_ID
    case["record_id"] = known["record_id"] = CASE_ID
    case["previous_surname"] = FORMER_SURNAME
    folder.mkdir()
    decided_again(home, write_rows(folder / f"{ENGAGEMENT}_sample-file.csv", header, sample))
    write_rows(folder / f"{ENGAGEMENT}_education-identifiers.csv", ids_header, ids)
    write_rows(folder / f"{ENGAGEMENT}_education-payload.csv", payload_header, payload)
    write_rows(folder / f"{ENGAGEMENT}_social-work-identifiers.csv", cases_header, cases)
    write_rows(folder / f"{ENGAGEMENT}_social-work-payload.csv", care_header, care)
    some = sample[:: max(1, len(sample) // 40)]
    return {
        "surname": spellings(SURNAME),
        "forename": spellings(FORENAME),
        "postcode": spellings(POSTCODE),
        "birth date": date_spellings(BORN),
        "supplier's id": spellings(SUPPLIER_ID),
        "social work's id": spellings(CASE_ID),
        "former surname": spellings(FORMER_SURNAME),
        "UID": set().union(*(spellings(row["survey_uid"]) for row in [pupil, *some])),
        "SCN": set().union(*(spellings(row["scn"]) for row in [pupil, *some] if row["scn"])),
    }


@dataclass(frozen=True)
class Searched:
    """A home that took the planted files and published, and what the search found in it.

    `before`: ids of the runs that its release before was made by.
    """

    home: Path
    findings: list[Finding]
    before: list[str]


@pytest.fixture(scope="module")
def searched(released_home: ReleasedHome, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """The home, searched once for all tests."""
    base = tmp_path_factory.mktemp("canary")
    home = released_home.copy(base / "home")
    before = runs(home)
    canaries = plant(home, base / "files")
    files = sorted((base / "files").glob("*.csv"))
    steps: list[tuple[str | Path, ...]] = [
        ("simulate", "--sign", *files),
        ("deliver", "--home", home, base / "files"),
        ("materialise", "--home", home, "--publish"),
        ("status", "--home", home, "--json"),
    ]
    for arguments in steps:
        done = run_rcs(*arguments)
        assert done.status == 0, done.output
        for forms in canaries.values():
            assert not [form for form in forms if form in done.output.encode()]
    return Searched(home, search_home(home, canaries), before)


def test_no_planted_identifier_is_outside_drop_and_vault(searched: Searched) -> None:
    assert searched.findings == []


def test_files_of_one_engagement_rebuild_it_alone_and_make_a_new_release(
    released_home: ReleasedHome, searched: Searched
) -> None:
    ranges = ranges_since(searched.before, searched.home)
    assert (ENGAGEMENT, ENGAGEMENT) in ranges
    assert not [pair for pair in ranges if OTHER in pair]
    assert current(searched.home) != current(released_home.path)
    verified = run_rcs("release", "verify", "--home", searched.home, "--json")
    assert json.loads(verified.stdout)["is_whole"] is True


def test_all_rows_were_compared_with_the_release_before(searched: Searched) -> None:
    """Those beside the estimates too, by the counts that the release before kept."""
    content = (searched.home / "releases" / "current" / "manifest.json").read_text("utf-8")
    observed = {check["check"]: check["observed"] for check in json.loads(content)["checks"]}
    said = re.fullmatch(
        r"releases before 1, rows compared (\d+): none wrong", observed["no_row_tells_a_difference"]
    )
    assert said is not None and int(said[1]) > 100
    kept = sorted(searched.home.glob("releases/2*/safe_haven/parquet/counts_behind.parquet"))
    assert len(kept) == 2
    for file in kept:
        with duckdb.connect() as con:
            tables = con.execute(f"select distinct table_name from '{file}'").fetchall()
        assert {name for (name,) in tables} == {table.name for table in TABLES}


def test_the_search_sees_into_every_kind_of_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    con = duckdb.connect(str(home / "release.duckdb"))
    con.execute("create table t as select upper(?) as name from range(5000)", [SURNAME])
    con.execute(f"copy t to '{home / 't.parquet'}' (compression zstd)")
    con.close()
    (home / "run.log").write_text(f"born {BORN.strftime('%d/%m/%Y')}", encoding="utf-8")
    found = search_home(home, {"surname": spellings(SURNAME), "birth date": date_spellings(BORN)})
    assert {(f.file, f.canary) for f in found} >= {
        ("release.duckdb", "surname"),
        ("t.parquet", "surname"),
        ("run.log", "birth date"),
    }


def test_a_text_is_found_at_every_place_as_plain_search_finds_it() -> None:
    """At each byte, at both ends, across the parts that are read at once, beside its like."""
    texts = {b"needle", b"needles", b"need", b"ne", b"dlen", b"abcdabcd"}
    finder = Finder(texts)
    rest = b"." * (READ_AT_ONCE + 40)
    contents = [b"", b"n", b"ne", b"nee", *(rest[:n] + b"needle" + rest[:3] for n in range(9))]
    contents += [rest[: READ_AT_ONCE + n] + b"abcdabcd" for n in range(-9, 9)]
    contents += [b"needneedlneedle", b"xneedles", b"abcdabcabcdabcd"]
    for content in contents:
        assert finder.find(content) == {text for text in texts if text in content}


def test_the_planted_pupil_did_reach_the_vault(searched: Searched) -> None:
    """Else the search would prove nothing."""
    from rcs_assets.storage import Home, open_vault

    with open_vault(Home.open(searched.home), read_only=True) as con:
        found = con.execute(
            "select count(*) from sample_identifiers where surname = ?", [SURNAME]
        ).fetchall()
        former = con.execute(
            "select count(*) from social_work_identifiers where previous_surname = ?",
            [FORMER_SURNAME],
        ).fetchall()
    assert found == [(1,)]
    assert former == [(1,)]


def test_the_intruders_view_has_the_pupil_but_nothing_that_names_it(searched: Searched) -> None:
    from rcs_assets.storage import Home, open_warehouse

    with open_warehouse(Home.open(searched.home), read_only=True) as con:
        pupils, ids, known = con.execute(
            "select count(*), count(distinct salted_id), count_if(has_education) "
            "from linkage.attacker_view where engagement = ?",
            [ENGAGEMENT],
        ).fetchall()[0]
        linked = con.execute(
            "select count(*) from linkage.project_ids where dataset = 'sample' and engagement = ?",
            [ENGAGEMENT],
        ).fetchall()[0][0]
        shared = con.execute(
            "select count(*) from linkage.attacker_view where salted_id in "
            "(select project_id from linkage.project_ids union all "
            "select record_id from linkage.project_ids)"
        ).fetchall()[0][0]
    assert pupils == ids == linked > 0
    assert known > 0
    assert shared == 0
    assert [found for found in searched.findings if found.file == "warehouse.duckdb"] == []
