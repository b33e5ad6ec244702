"""The register: what the package ships, what an overlay may change, what is refused.

Belongs here: tests of `rcs_assets.programme.load` and `tables`. Does not belong here:
approvals and provenance, which have files of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.errors import ConfigurationError
from rcs_assets.programme import load_programme, programme_tables
from rcs_assets.programme.load import COLUMNS

ENGAGEMENTS = (
    "t1-clackmannanshire",
    "t1-south-lanarkshire",
    "t1-west-lothian",
    "t2-falkirk",
    "t2-north-lanarkshire",
    "t3-dumfries-and-galloway",
    "t3-moray",
    "t3-south-ayrshire",
)
DATA = Path(__file__).parents[3] / "rcs_assets" / "programme" / "data"
Overlay = Callable[..., Path]


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    """Writes one row of a register file into an overlay folder: a default row, changed."""

    def write(
        file: str, key: str, /, *, where: dict[str, str] | None = None, **changes: str
    ) -> Path:
        with (DATA / file).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        first = COLUMNS[file][0]
        wanted = {first: key, **(where or {})}
        row = next(r for r in rows if all(r[c] == v for c, v in wanted.items()))
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        path = folder / file
        is_new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS[file])
            if is_new:
                writer.writeheader()
            writer.writerow({**row, **changes})
        return folder

    return write


def test_engagements_are_ordered_by_tranche_then_name() -> None:
    assert load_programme().engagement_keys == ENGAGEMENTS


@pytest.mark.parametrize(
    ("engagement", "survey", "contractor"),
    [
        ("t1-west-lothian", "secondary", "ipsos"),
        ("t2-falkirk", "secondary", "scotcen"),
        ("t3-moray", "secondary", "ipsos"),
        ("t1-west-lothian", "primary", "scotcen"),
        ("t3-moray", "primary", "scotcen"),
    ],
)
def test_contractor_belongs_to_tranche_and_survey(
    engagement: str, survey: str, contractor: str
) -> None:
    """The table of domain.md 1.1."""
    wave = load_programme().engagements[engagement].wave(survey)
    assert wave is not None
    assert wave.contractor == contractor


def test_parent_survey_was_held_in_tranches_1_and_2_but_for_one_cpp() -> None:
    programme = load_programme()
    held = {e.key for e in programme.engagements.values() if e.wave("parent")}
    assert {key[:2] for key in held} == {"t1", "t2"}
    assert len(held) == 4


def test_the_cpp_without_parent_survey_can_be_changed(overlay: Overlay) -> None:
    folder = overlay("waves.csv", "t2-north-lanarkshire", where={"survey": "parent"}, is_held="yes")
    overlay("waves.csv", "t2-falkirk", where={"survey": "parent"}, is_held="no")
    engagements = load_programme(folder).engagements
    assert engagements["t2-north-lanarkshire"].wave("parent") is not None
    assert engagements["t2-falkirk"].wave("parent") is None


@pytest.mark.parametrize(
    ("slug", "kind", "day", "code"),
    [
        ("north-lanarkshire", "council", date(2019, 3, 31), "S12000044"),
        ("north-lanarkshire", "council", date(2019, 4, 1), "S12000050"),
        ("north-lanarkshire", "health_board", date(2017, 1, 1), "S08000023"),
        ("south-lanarkshire", "health_board", date(2016, 1, 1), "S08000023"),
        ("south-lanarkshire", "health_board", date(2020, 1, 1), "S08000032"),
        ("falkirk", "council", date(2017, 1, 1), "S12000014"),
    ],
)
def test_codes_depend_on_the_day(slug: str, kind: str, day: date, code: str) -> None:
    assert load_programme().code_on(slug, kind, day) == code


def test_a_day_before_every_code_is_unknown() -> None:
    with pytest.raises(KeyError):
        load_programme().code_on("falkirk", "health_board", date(1990, 1, 1))


def test_every_contradiction_of_the_sources_is_settled() -> None:
    keys = {settlement.key for settlement in load_programme().settlements}
    assert {f"0.2-{number}" for number in range(1, 11)} <= keys


def test_what_settles_a_contradiction_exists(repo_root: Path) -> None:
    for settlement in load_programme().settlements:
        assert (repo_root / settlement.configured_in).is_file(), settlement.key


def test_overlay_adds_a_cpp(overlay: Overlay) -> None:
    folder = overlay(
        "cpps.csv", "falkirk", slug="stirling", name="Stirling", council_code="S12000030"
    )
    overlay("engagements.csv", "t2-falkirk", key="t3-stirling", tranche="t3", cpp="stirling")
    overlay("waves.csv", "t3-moray", where={"survey": "primary"}, engagement="t3-stirling")
    programme = load_programme(folder)
    assert programme.engagement_keys == (*ENGAGEMENTS, "t3-stirling")
    assert programme.engagements["t3-stirling"].cpp.council_code == "S12000030"
    assert programme.version != load_programme().version


def test_what_a_slug_may_be_every_contract_reads(overlay: Overlay) -> None:
    folder = overlay("cpps.csv", "falkirk", slug="na-h-eileanan-siar")
    assert "na-h-eileanan-siar" in load_programme(folder).cpps
    patterns = [d.file_pattern for d in load_codebook().datasets.values()]
    own = [pattern for pattern in patterns if "engagement" in pattern]
    assert own and all("(?P<engagement>t[0-9]+-[a-z-]+)" in pattern for pattern in own)


def test_the_version_depends_on_content_not_on_the_folder(tmp_path: Path, overlay: Overlay) -> None:
    folder = overlay("tranches.csv", "t1", label="First tranche")
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    (copy / "tranches.csv").write_bytes((folder / "tranches.csv").read_bytes())
    assert load_programme(folder).version == load_programme(copy).version
    assert load_programme(tmp_path / "missing").version == load_programme().version


@pytest.mark.parametrize(
    ("file", "key", "where", "changes", "column"),
    [
        ("waves.csv", "t1-west-lothian", {"survey": "primary"}, {"stages": "P5;P9"}, "stages"),
        ("waves.csv", "t1-west-lothian", {"survey": "primary"}, {"stages": ""}, "stages"),
        ("waves.csv", "t1-west-lothian", {"survey": "primary"}, {"is_held": "maybe"}, "is_held"),
        (
            "waves.csv",
            "t1-west-lothian",
            {"survey": "primary"},
            {"fieldwork_end": "2015-01-01"},
            "fieldwork_end",
        ),
        (
            "waves.csv",
            "t1-west-lothian",
            {"survey": "primary"},
            {"fieldwork_start": "2015-08-31"},
            "fieldwork_start",
        ),
        (
            "waves.csv",
            "t1-west-lothian",
            {"survey": "primary"},
            {"fieldwork_end": "2016-09-01"},
            "fieldwork_end",
        ),
        ("waves.csv", "t1-west-lothian", {"survey": "parent"}, {"target_n": ""}, "target_n"),
        ("waves.csv", "t1-west-lothian", {}, {"engagement": "t9-nowhere"}, "engagement"),
        ("engagements.csv", "t1-west-lothian", {}, {"cpp": "atlantis"}, "cpp"),
        ("engagements.csv", "t1-west-lothian", {}, {"key": "t1-elsewhere"}, "key"),
        ("tranches.csv", "t1", {}, {"ends_on": "2001-01-01"}, "ends_on"),
        ("tranches.csv", "t1", {}, {"starts_on": "1 September"}, "starts_on"),
        ("tranches.csv", "t1", {}, {"number": "one"}, "number"),
        ("codes.csv", "falkirk", {"kind": "council"}, {"code": "S12000099"}, "code"),
        ("codes.csv", "falkirk", {"kind": "council"}, {"valid_from": "2000-01-01"}, "valid_to"),
        ("privacy.csv", "t1-west-lothian", {}, {"engagement": "t9-nowhere"}, "engagement"),
        ("cpps.csv", "falkirk", {}, {"name": ""}, "name"),
        ("cpps.csv", "falkirk", {}, {"slug": "àrainn"}, "slug"),
        ("cpps.csv", "falkirk", {}, {"slug": "arainn2"}, "slug"),
        ("cpps.csv", "falkirk", {}, {"slug": "Falkirk"}, "slug"),
    ],
)
def test_a_broken_row_is_named(
    overlay: Overlay,
    file: str,
    key: str,
    where: dict[str, str],
    changes: dict[str, str],
    column: str,
) -> None:
    folder = overlay(file, key, where=where, **changes)
    with pytest.raises(ConfigurationError) as caught:
        load_programme(folder)
    assert f"column {column}" in caught.value.where
    assert "row " in caught.value.where
    assert file in caught.value.where
    assert caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize(
    "content",
    [
        "key,number,label,starts_on,ends_on\nt1,1,x,2015-01-01,2015-02-01\n",
        "key,number,label,starts_on,ends_on,source,colour\n",
        "key,number,label,starts_on,ends_on,source\nt1,1,x\n",
        "key,number,label,starts_on,ends_on,source\n" + "t1,1,x,2015-01-01,2015-02-01,s\n" * 2,
    ],
    ids=["column missing", "unknown column", "short row", "key twice"],
)
def test_a_file_of_the_wrong_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tranches.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"tranches\.csv"):
        load_programme(tmp_path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tranches.csv").write_bytes(b"key\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_programme(tmp_path)


def test_tables_hold_one_row_a_grain() -> None:
    tables = programme_tables(load_programme())
    assert tables["engagements"].column("engagement").to_pylist() == list(ENGAGEMENTS)
    waves = tables["waves"].to_pylist()
    assert len({(w["engagement"], w["survey"]) for w in waves}) == len(waves) == 20
    stages = {stage for wave in waves for stage in wave["stages"]}
    assert stages == {"P5", "P6", "P7", "S1", "S2", "S3", "S4"}
