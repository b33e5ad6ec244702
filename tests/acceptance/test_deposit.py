"""A deposit of a real run: what it holds is what its description says."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import duckdb
import pyreadstat
from lxml import etree

from rcs_assets.release.ddi import NAMESPACE
from rcs_assets.storage import rounded_count
from tests.conftest import ReleasedHome

DDI = {"d": NAMESPACE}


def test_each_description_of_two_surveys_is_valid(
    released_home: ReleasedHome, shared_reference: Path
) -> None:
    """DDI-Codebook 2.5 by its published schema; whole engagements hold two surveys each."""
    schema = etree.XMLSchema(etree.parse(shared_reference / "ddi_codebook_2_5" / "codebook.xsd"))
    found = sorted((released_home.release / "archive").glob("*/documentation/ddi_codebook.xml"))
    assert len(found) == 2
    for file in found:
        document = etree.parse(file)
        assert len(document.findall(f".//{{{NAMESPACE}}}collMode")) == 2
        schema.validate(document)
        assert list(schema.error_log) == []


def test_every_code_that_occurs_is_explained(released_home: ReleasedHome) -> None:
    packages = sorted((released_home.release / "archive").iterdir())
    assert packages
    for package in packages:
        root = ET.parse(package / "documentation" / "ddi_codebook.xml").getroot()
        files = {file.get("ID"): file for file in root.findall("d:fileDscr", DDI)}
        assert len(files) == len(list((package / "microdata").glob("*.parquet")))
        for number, file in files.items():
            name = str(file.findtext(".//d:fileName", namespaces=DDI))
            parquet = (package / name).with_suffix(".parquet")
            rows = duckdb.sql(f"select count(*) from '{parquet}'").fetchall()[0][0]
            # An open document: to the nearest 10 (policy.md, Table A, public).
            assert file.findtext(".//d:caseQnty", namespaces=DDI) == str(rounded_count(rows))
            for variable in root.findall(f".//d:var[@files='{number}']", DDI):
                said = {value.text for value in variable.findall(".//d:catValu", DDI)}
                if not said:
                    continue
                column = variable.get("name")
                held = duckdb.sql(
                    f"select distinct {column}::varchar from '{parquet}' where {column} is not null"
                ).fetchall()
                assert {row[0] for row in held} <= said, column


def test_the_level_of_measurement_is_the_same_in_spss(released_home: ReleasedHome) -> None:
    package = next((released_home.release / "archive").iterdir())
    root = ET.parse(package / "documentation" / "ddi_codebook.xml").getroot()
    levels = set()
    for file in root.findall("d:fileDscr", DDI):
        name = str(file.findtext(".//d:fileName", namespaces=DDI))
        sav = (package / name).with_suffix(".sav")
        measured = pyreadstat.read_sav(sav, metadataonly=True)[1].variable_measure
        said = {
            str(v.get("name")): str(v.get("nature")).replace("ratio", "scale")
            for v in root.findall(f".//d:var[@files='{file.get('ID')}']", DDI)
        }
        assert said == measured
        assert (said["stage"], said["sex"]) == ("ordinal", "nominal")
        levels |= set(said.values())
    assert levels == {"nominal", "ordinal", "scale"}
