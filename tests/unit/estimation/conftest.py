"""Data of the estimation tests: R survey's `api` samples, where they are at hand.

Belongs here: the connection with the public samples and R's own values. Does not belong
here: any data of the programme.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

SAMPLES = {"srs": "apisrs", "strat": "apistrat", "clus1": "apiclus1"}


@pytest.fixture(scope="session")
def reference_folder(shared_reference: Path) -> Path:
    return shared_reference / "estimation"


def read_values(file: Path) -> pl.DataFrame:
    text = pl.read_csv(file, infer_schema=False)
    return text.with_columns(pl.col("value").cast(pl.Float64), pl.col("domain").fill_null(""))


@pytest.fixture(scope="session")
def r_values(reference_folder: Path) -> pl.DataFrame:
    return read_values(reference_folder / "r_survey_reference.csv")


@pytest.fixture(scope="session")
def r_converged(reference_folder: Path) -> pl.DataFrame:
    """R's logistic models, iterated to the end: its own default stops early."""
    return read_values(reference_folder / "r_glm_converged.csv")


@pytest.fixture(scope="session")
def api(reference_folder: Path) -> duckdb.DuckDBPyConnection:
    """Tables srs, strat, clus1 with R's two recodes (`sw`, `a99`), pop, and R's weights."""
    con = duckdb.connect()
    for table, file in SAMPLES.items():
        con.execute(
            f"""create table {table} as select *, ("sch.wide" = 'Yes')::int as sw,
            (awards = 'Yes')::int as a99
            from read_csv('{reference_folder / file}.csv', header = true, nullstr = '')"""
        )
    con.execute(f"create table pop as select * from read_csv('{reference_folder / 'apipop'}.csv')")
    con.execute(
        "create table r_weights as select * from "
        f"read_csv('{reference_folder / 'apiclus1_calibrated_weights'}.csv')"
    )
    con.execute("create table calibrated as select * from clus1 inner join r_weights using (snum)")
    return con
