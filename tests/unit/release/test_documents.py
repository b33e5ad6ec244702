"""What a deposit says of itself: the DDI codebook against its schema, access, notices."""

import csv
import json
import re
import xml.etree.ElementTree as ET

import duckdb
import pytest
from lxml import etree

from rcs_assets.codebook import load_codebook
from rcs_assets.programme import load_programme
from rcs_assets.release.ddi import NAMESPACE
from rcs_assets.release.examine import ALLOWED_BESIDE_ANSWERS
from rcs_assets.release.terms import load_terms
from rcs_assets.storage import rounded_count

DDI = {"d": NAMESPACE}


@pytest.fixture(scope="module")
def package(built):
    return built.path / "archive" / "t2-falkirk"


@pytest.fixture(scope="module")
def codebook(package):
    return ET.parse(package / "documentation" / "ddi_codebook.xml").getroot()


def test_the_codebook_is_valid_against_the_schema(package, shared_reference):
    schema = etree.XMLSchema(etree.parse(shared_reference / "ddi_codebook_2_5" / "codebook.xsd"))
    document = etree.parse(package / "documentation" / "ddi_codebook.xml")
    assert schema.validate(document), schema.error_log
    # The schema does refuse: an element that it does not know.
    etree.SubElement(document.getroot(), f"{{{NAMESPACE}}}studyNumber").text = "1"
    assert not schema.validate(document)


def test_counts_match_the_files(package, codebook):
    names = [f.text for f in codebook.findall(".//d:fileName", DDI)]
    assert names == ["microdata/secondary.tab", "microdata/salsus.tab"]
    cases = codebook.findall(".//d:caseQnty", DDI)
    columns = codebook.findall(".//d:varQnty", DDI)
    for number, name in enumerate(names):
        parquet = (package / name).with_suffix(".parquet")
        records_n = duckdb.sql(f"select count(*) from '{parquet}'").fetchall()[0][0]
        # The documents are open to all: counts of pupils to the nearest 10 (policy.md, Table A).
        assert cases[number].text == str(rounded_count(records_n))
        held = [row[0] for row in duckdb.sql(f"describe from '{parquet}'").fetchall()]
        variables = codebook.findall(f".//d:var[@files='F{number + 1}']", DDI)
        assert int(columns[number].text) == len(held)
        assert [variable.get("name") for variable in variables] == held
    report = (package / "documentation" / "TECHNICAL_REPORT.md").read_text()
    assert f"| secondary | {int(cases[0].text):,} | {columns[0].text} |" in report


def test_the_technical_report_is_one_text_for_reader_and_archive(built):
    """The sections of area and deposit are the same; what differs is what their tables hold."""
    own = (built.path / "cpp" / "t2-falkirk" / "technical_report.md").read_text()
    deposit = (
        built.path / "archive" / "t2-falkirk" / "documentation" / "TECHNICAL_REPORT.md"
    ).read_text()
    sections = [dict(re.findall(r"^## ([^\n]+)\n\n(.*?)(?=\n\n## |\Z)", t, re.M | re.S)) for t in
                (own, deposit)]  # fmt: skip
    assert list(sections[0]) == list(sections[1])
    assert [title for title in sections[0] if sections[0][title] != sections[1][title]] == [
        "Disclosure control", "Limits",
    ]  # fmt: skip
    public = (built.path / "public" / "technical_report.md").read_text()
    assert "Files of answers" in own and "Files of answers" not in public
    # From the run: the register's fieldwork, protected participation, rules and cells.
    waves = {wave.survey: wave for wave in load_programme().engagements["t2-falkirk"].waves}
    for survey in ("primary", "secondary", "parent"):
        assert f"{waves[survey].fieldwork_start} to {waves[survey].fieldwork_end} |" in public
    assert "| Falkirk, Tranche 2 (2016-17) | secondary | 120 | 160 | 70-74 % | 7 |" in public
    counts = {n for text in (own, public) for n in re.findall(r"(?<=\| )\d{4,}(?= \|)", text)}
    assert counts == set(), "a whole number from a thousand on has a comma"
    said = json.loads((built.path / "public" / "certificate.json").read_text())
    rule = said["thresholds"]["public"]
    base = f"{rule['base']} (pairs {rule['pair_base']})"
    assert f"| {rule['title']} | {base} | {rule['numerator']} | 1 | 10 |" in public
    shown = {c["status"]: c["cells"] for c in said["cells_by_status"]}
    assert f"| published | Shown, rounded | {shown['published']} |" in public


def test_every_code_of_the_codebook_is_explained(codebook):
    known = load_codebook()
    every = codebook.findall(".//d:var", DDI)
    elements = [element for element in every if element.get("name") in known.variables]
    # Of the survey's file and of the part of it for SALSUS, what is no answer.
    beside = [element.get("name") for element in every if element not in elements]
    assert sorted(beside) == sorted([*ALLOWED_BESIDE_ANSWERS] * 2)
    for element in elements:
        variable = known.variables[element.get("name")]
        kinds = {"Y": set(), "N": set()}
        for category in element.findall("d:catgry", DDI):
            kinds[category.get("missing")].add(int(category.find("d:catValu", DDI).text))
        assert kinds["N"] == set(known.value_sets[variable.value_set].values)
        assert -7 in kinds["Y"] and max(kinds["Y"]) < 0
        assert element.find("d:labl", DDI).text == variable.label


def test_the_project_has_its_five_safes_record(package):
    """Each of the five questions, with the register's own row and what this run did."""
    text = (package / "documentation" / "FIVE_SAFES.md").read_text()
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [h.split(":")[0] for h in headings] == [
        f"## Safe {name}" for name in ("project", "people", "settings", "data", "outputs")
    ]
    approval = load_programme().approvals["t2-falkirk"]
    for said in (approval.lawful_basis, approval.dpia_reference, approval.sharing_agreement,
                 approval.panel, approval.retention_until.isoformat()):  # fmt: skip
        assert said in text
    assert approval.is_placeholder and "placeholders for demonstrations" in text
    told = json.loads((package / "certificate.json").read_text())["microdata"]["surveys"]
    shown = told["secondary"]
    assert shown["special_uniques"] == 0
    assert (
        f"| secondary | {shown['records']} | {shown['left_out']} "
        f"| {shown['special_uniques_before']} | 0 |" in text
    )


def test_no_study_number_is_invented(package, codebook):
    assert codebook.findall(".//d:IDNo", DDI) == []
    for file in (package / "documentation").iterdir():
        assert not re.search(r"\bSN ?\d|doi\.org", file.read_text()), file


def test_every_file_of_the_package_has_an_access_level(package):
    with (package / "documentation" / "access.csv").open(newline="") as stream:
        said = {row["file"]: row["access_level"] for row in csv.DictReader(stream)}
    manifest = json.loads((package / "manifest.json").read_text())
    assert set(said) - {"rcs.duckdb"} <= {e["path"] for e in manifest["files"]} | {"manifest.json"}
    assert {entry["path"] for entry in manifest["files"]} <= set(said)
    records = {name for name, level in said.items() if level == "safeguarded"}
    assert records == {name for name in said if name.startswith("microdata/")}
    assert set(said.values()) == set(load_terms().licence)


def test_notices_come_from_the_register(package):
    approval = load_programme().approvals["t2-falkirk"]
    texts = {p.name: p.read_text() for p in (package / "documentation").glob("*.md")}
    assert set(texts) == {
        "LICENCE.md", "PRIVACY_NOTICE.md", "ETHICS.md", "FIVE_SAFES.md", "TECHNICAL_REPORT.md",
    }  # fmt: skip
    assert approval.lawful_basis in texts["PRIVACY_NOTICE.md"]
    assert approval.ethics in texts["ETHICS.md"]
    assert all("SIMULATED" in text for text in texts.values())
