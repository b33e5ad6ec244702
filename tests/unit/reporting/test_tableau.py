"""A package as a Tableau extract: the same rows, decimals and nulls, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pytest

from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.reporting.tableau import write_extract
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, SCHOOL

INSTALL = "extra tableau is not installed (uv pip install -e '.[tableau]')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_cpp(tmp_path_factory.mktemp("cpp"), statuses=made.some_hidden)


def test_an_extract_holds_the_released_rows(folder, tmp_path, monkeypatch) -> None:
    hyper = pytest.importorskip("tableauhyperapi", reason=INSTALL)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "area.hyper"
    file.write_bytes(b"an older one")
    rows = write_extract(folder, CPP, file)
    assert [p.name for p in tmp_path.iterdir()] == ["area.hyper"]  # no log, nothing half-done
    silent = hyper.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU
    with (
        hyper.HyperProcess(silent, parameters={"log_config": ""}) as engine,
        hyper.Connection(engine.endpoint, file) as con,
    ):
        tables = {str(t.name.unescaped) for t in con.catalog.get_table_names("Extract")}
        parquet = {p.stem for p in (folder / "parquet").iterdir()}
        assert tables == parquet == set(rows)
        columns = con.catalog.get_table_definition(hyper.TableName("Extract", "estimates")).columns
        types = {c.name.unescaped: str(c.type) for c in columns}
        assert types["estimate"] == "NUMERIC(12, 1)"  # as released: no binary fraction
        key = 'survey, geography_code, breakdown, "group", indicator, status'
        asked = f"{key}, n::text, estimate::text, ci_low::text, ci_high::text"
        found = con.execute_list_query(f'select {asked} from "Extract".estimates')
        source = con.execute_list_query('select distinct data_source from "Extract".estimates')
    wanted = duckdb.execute(f"select {asked} from '{folder}/parquet/estimates.parquet'").fetchall()
    assert sorted(map(tuple, found), key=str) == sorted(wanted, key=str)
    assert any(row[5] == "c" and row[6:] == (None,) * 4 for row in wanted)
    assert source == [["SIMULATED"]]


def test_a_hidden_row_with_a_figure_is_refused_and_nothing_is_written(
    tmp_path, monkeypatch
) -> None:
    write = made._parquet

    def leaking(file, columns, rows):
        for row in rows:
            if file.stem == "estimates" and row["status"] == "c":
                row["estimate"] = "13.7"
        write(file, columns, rows)

    monkeypatch.setattr(made, "_parquet", leaking)
    folder = made.write_cpp(tmp_path / "cpp", statuses=made.some_hidden)
    with pytest.raises(InputError, match="holds a figure in column estimate"):
        write_extract(folder, CPP, tmp_path / "area.hyper")
    assert [p.name for p in tmp_path.iterdir()] == ["cpp"]


def test_a_school_has_no_extract(tmp_path, school_folder) -> None:
    with pytest.raises(InputError, match=r"no Parquet files.*read in Excel.*public or"):
        write_extract(school_folder, SCHOOL, tmp_path / "school.hyper")


def test_without_the_library_it_says_how_to_get_it(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tableauhyperapi", None)
    with pytest.raises(ConfigurationError, match=r"not installed.*\.\[tableau\]"):
        write_extract(folder, CPP, tmp_path / "area.hyper")
    assert list(tmp_path.iterdir()) == []
