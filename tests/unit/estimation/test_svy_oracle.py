"""The package svy as a second opinion, where it is installed, on a two-stage survey.

svy drops null values together with their clusters, so that the data here have none.
"""

from __future__ import annotations

import duckdb
import pytest

from rcs_assets.estimation import Design, estimate

svy = pytest.importorskip("svy")
pl = pytest.importorskip("polars")

POPULATION = """
    create table t as
    select
        'r' || (school % 3) as region, school, school * 100 + klass as klass,
        20 + school % 3 as schools_n, 5 + school % 4 as klasses_n,
        1.0 + (hash(school) % 100) / 50.0 as w,
        if(hash(i, 1) % 2 = 0, 'F', 'M') as sex,
        (hash(school, 2) % 50)::double + hash(i, 3) % 30 as y,
        (hash(school, 4) % 3 + hash(i, 5) % 4 > 3)::int as flag,
    from (select i, i % 24 as school, i // 24 % 3 as klass from range(720) r(i))
"""


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute(POPULATION)
    return made


def second_opinion(con: duckdb.DuckDBPyConnection, statistic: str, by: str | None, **design):
    sample = svy.Sample(con.sql("select * from t").pl(), svy.Design(**design))
    made = getattr(sample.estimation, statistic)("y", by=by).to_polars()
    return made.sort("sex") if by else made


TWO_STAGES = Design("region", ["school", "klass"], "w", ["schools_n", "klasses_n"])


@pytest.mark.parametrize("statistic", ["mean", "total"])
@pytest.mark.parametrize("by", [None, "sex"])
@pytest.mark.parametrize("stages", [1, 2])
def test_svy_agrees(con, statistic: str, by: str | None, stages: int) -> None:
    if stages == 1:
        design, options = Design("region", "school", "w"), {}
    else:
        size = svy.PopSize(psu="schools_n", ssu="klasses_n")
        design, options = TWO_STAGES, {"ssu": "klass", "pop_size": size}
    theirs = second_opinion(con, statistic, by, stratum="region", psu="school", wgt="w", **options)
    ours = estimate(con, "t", design, ["y"], statistic, by=by)
    assert ours["estimate"].to_pylist() == pytest.approx(theirs["est"].to_list(), rel=1e-12)
    assert ours["se"].to_pylist() == pytest.approx(theirs["se"].to_list(), rel=1e-12)
    assert ours["ci_low"].to_pylist() == pytest.approx(theirs["lci"].to_list(), rel=1e-12)
