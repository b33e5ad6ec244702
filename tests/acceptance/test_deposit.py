"""A deposit of a real run: what it holds is what its description says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import duckdb

from rcs_assets.release.ddi import NAMESPACE
from rcs_assets.storage import rounded_count
from tests.conftest import ReleasedHome

DDI = {"d": NAMESPACE}


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
