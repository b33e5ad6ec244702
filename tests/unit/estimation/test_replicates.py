"""Replicate variances against replicates that are made one by one."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from rcs_assets.errors import InputError
from rcs_assets.estimation import Design, Replicates, estimate

ROWS = """
    create table t as
    select
        'h' || (unit % 3) as stratum, unit, 10 + unit % 3 as units_n,
        1.0 + (hash(unit) % 50) / 25.0 as w, 'g' || (hash(i, 3) % 2) as g,
        (hash(unit, 1) % 30) / 3.0 + (hash(i, 2) % 50) / 10.0 as y, (hash(i, 5) % 7) + 1.0 as x,
    from (select i, i % 14 as unit from range(280) r(i))
"""


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute(ROWS)
    return made


def statistic_of(frame, weights, statistic: str) -> float:
    y, x = frame.y.to_numpy(), frame.x.to_numpy()
    if statistic == "difference":
        one, two = frame.g.to_numpy() == "g0", frame.g.to_numpy() == "g1"
        return np.average(y[two], weights=weights[two]) - np.average(y[one], weights=weights[one])
    return {
        "mean": lambda: (weights * y).sum() / weights.sum(),
        "total": lambda: (weights * y).sum(),
        "ratio": lambda: (weights * y).sum() / (weights * x).sum(),
    }[statistic]()


def left_out(con, statistic: str, is_stratified: bool, fpc: bool, mse: bool) -> float:
    frame = con.sql("select * from t").df()
    w = frame.w.to_numpy()
    values, scales = [], []
    for unit in sorted(frame.unit.unique()):
        mine = frame.unit.to_numpy() == unit
        near = (
            frame.stratum.to_numpy() == frame.stratum[mine].iloc[0]
            if is_stratified
            else np.ones(len(w), bool)
        )
        n = frame.unit[near].nunique()
        weights = np.where(mine, 0, np.where(near, w * n / (n - 1), w))
        values.append(statistic_of(frame, weights, statistic))
        scales.append((n - 1) / n * ((1 - n / frame.units_n[mine].iloc[0]) if fpc else 1))
    centre = statistic_of(frame, w, statistic) if mse else np.mean(values)
    return float(np.sqrt((np.array(scales) * (np.array(values) - centre) ** 2).sum()))


@pytest.mark.parametrize("statistic", ["mean", "total", "ratio", "difference"])
@pytest.mark.parametrize("mse", [False, True])
@pytest.mark.parametrize(
    ("kind", "strata", "fpc"),
    [("JK1", None, False), ("JKn", "stratum", False), ("JKn", "stratum", True)],
)
def test_jackknives_leave_out_one_unit_at_a_time(con, statistic, mse, kind, strata, fpc) -> None:
    design = Design(strata, "unit", "w", "units_n" if fpc else ())
    variables = ["y/x"] if statistic == "ratio" else ["y"]
    by = "g" if statistic == "difference" else None
    found = estimate(
        con, "t", design, variables, statistic, by=by, replicates=Replicates(kind, mse=mse)
    )
    plain = estimate(con, "t", design, variables, statistic, by=by)
    expected = left_out(con, statistic, strata is not None, fpc, mse)
    assert found["se"].to_pylist() == pytest.approx([expected], rel=1e-12)
    assert found["estimate"].equals(plain["estimate"])
    assert found["df"].equals(plain["df"])


def test_a_jackknife_of_a_stratified_total_is_the_linear_variance(con) -> None:
    design = Design("stratum", "unit", "w", "units_n")
    jackknife = estimate(con, "t", design, "y", "total", by="g", replicates=Replicates("JKn"))
    linear = estimate(con, "t", design, "y", "total", by="g")
    assert jackknife["se"].to_pylist() == pytest.approx(linear["se"].to_pylist(), rel=1e-12)


def test_a_bootstrap_comes_near_and_repeats_itself(con) -> None:
    design = Design("stratum", "unit", "w")
    many = Replicates("bootstrap", replicates_n=4000, seed=3)
    first = estimate(con, "t", design, "y", "mean", by="g", replicates=many)
    again = estimate(con, "t", design, "y", "mean", by="g", replicates=many)
    linear = estimate(con, "t", design, "y", "mean", by="g")
    assert first.equals(again)
    assert first["se"].to_pylist() == pytest.approx(linear["se"].to_pylist(), rel=0.1)


def test_rows_are_units_where_there_are_no_clusters(con) -> None:
    found = estimate(con, "t", Design(weight="w"), "y", replicates=Replicates("JK1"))
    linear = estimate(con, "t", Design(weight="w"), "y")
    assert found["se"].to_pylist() == pytest.approx(linear["se"].to_pylist(), rel=0.01)
    assert found["df"].to_pylist() == [279]


def test_a_lonely_unit_has_no_replicate_error(con) -> None:
    con.execute("create or replace temp view lone as select *, unit = 2 as alone from t")
    found = estimate(con, "lone", Design("alone", "unit", "w"), "y", replicates=Replicates("JKn"))
    assert found["reason"].to_pylist() == ["lonely_psu"]
    assert found["se"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("design", "options", "message"),
    [
        (Design("stratum", "unit", "w"), {"replicates": Replicates("JK1")}, "without strata"),
        (
            Design("unit", "unit", "w", lonely_psu="fail"),
            {"replicates": Replicates("JKn")},
            "only one unit",
        ),
        (
            Design("stratum", "unit", "w"),
            {"statistic": "quantile", "replicates": Replicates("JKn")},
            "Quantiles",
        ),
    ],
)
def test_what_replicates_cannot_do_is_refused(con, design, options, message) -> None:
    with pytest.raises(InputError, match=message):
        estimate(con, "t", design, ["y"], **options)


@pytest.mark.parametrize("wrong", [{"kind": "BRR"}, {"kind": "bootstrap", "replicates_n": 1}])
def test_unknown_replicates_are_refused(wrong) -> None:
    with pytest.raises(InputError):
        Replicates(**wrong)
