"""Intervals against published values, and the helpers that publishing needs."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import special, stats

from rcs_assets.errors import InputError
from rcs_assets.estimation import (
    Design,
    add_wilson,
    estimate,
    pooled_design_effect,
    wilson_interval,
    wilson_sql,
)


# Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3 (score).
@pytest.mark.parametrize(
    ("numerator", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_newcombe(numerator: int, n: int, low: float, high: float) -> None:
    found = wilson_interval(np.array([numerator / n]), np.array([float(n)]), 0.95)
    assert [round(float(bound[0]), 4) for bound in found] == [low, high]


@pytest.mark.parametrize("effect", [1.0, 1.7, 4.2])
@pytest.mark.parametrize("pct", [0.0, 3.0, 50.0, 99.0, 100.0])
def test_wilson_in_sql_and_in_a_table_agree_with_scipy(pct: float, effect: float) -> None:
    n = 120.0
    size = n / effect
    given = pa.table({"n": [n], "estimate": [pct], "effect": [effect], "ci_low": [0.0]})
    row = add_wilson(given, design_effect="effect").to_pylist()[0]
    sql = wilson_sql(str(n), str(pct), str(effect))
    low, high = duckdb.sql(f"select w.low, w.high from (select {sql} as w)").fetchall()[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-10)
    # The score test at a bound is exactly at its critical value.
    for bound in (low / 100, high / 100):
        if 0 < bound < 1:
            z = abs(pct / 100 - bound) / np.sqrt(bound * (1 - bound) / size)
            assert z == pytest.approx(stats.norm.ppf(0.975), rel=1e-9)


def test_wilson_of_nothing_is_null() -> None:
    given = pa.table({"n": pa.array([0.0, None]), "estimate": pa.array([None, 5.0])})
    assert add_wilson(given)["ci_low"].to_pylist() == [None, None]
    assert duckdb.sql(f"select ({wilson_sql('0', '5')}).low").fetchall() == [(None,)]


def test_wilson_refuses_what_is_no_percentage() -> None:
    with pytest.raises(InputError, match="outside 0 to 100"):
        add_wilson(pa.table({"n": [10], "estimate": [101.0]}))
    with pytest.raises(InputError, match="Unknown column"):
        add_wilson(pa.table({"n": [10]}))


def test_pupils_as_units_give_wilson_on_n() -> None:
    """Table B, school: no weight, no cluster: the engine's own n is that of the pupils."""
    con = duckdb.connect()
    con.execute(
        "create table t as select i % 2 as school, (i % 5 = 0)::int as y from range(60) r(i)"
    )
    result = estimate(con, "t", Design(), ["y"], by="school", ci="wilson")
    low, high = wilson_interval(np.array(result["estimate"]), np.array([30.0, 30.0]), 0.95)
    assert result["ci_low"].to_pylist() == pytest.approx(list(low), rel=1e-12)
    assert result["ci_high"].to_pylist() == pytest.approx(list(high), rel=1e-12)


def test_pooled_design_effect_weights_by_information() -> None:
    con = duckdb.connect()
    areas = pa.table(
        {
            "variable": ["a", "a", "a", "b", "c"],
            "n": [100, 200, 50, 100, 10],
            "se": [0.05, 0.04, None, 0.01, None],
            "deff": [2.0, 3.0, None, 0.5, None],
            "df": [10, 20, 0, 5, 0],
        }
    )
    pooled = {row["variable"]: row for row in pooled_design_effect(con, areas).to_pylist()}
    top = 10 * 100 * 0.05**2 + 20 * 200 * 0.04**2
    bottom = 10 * 100 * 0.05**2 / 2.0 + 20 * 200 * 0.04**2 / 3.0
    assert pooled["a"]["design_effect"] == pytest.approx(top / bottom)
    assert pooled["a"]["df"] == 30
    assert pooled["b"]["design_effect"] == 1.0  # never narrower than single drawing
    assert pooled["c"]["design_effect"] is None


def test_pooling_the_engines_own_estimates_finds_the_clustering() -> None:
    """Ten pupils a school answer alike: the design effect is about ten."""
    con = duckdb.connect()
    con.execute(
        "create table t as select i // 400 as area, i // 10 as school, "
        "(hash(i // 10) % 2)::int as y from range(4000) r(i)"
    )
    areas = estimate(con, "t", Design(strata="area", clusters="school"), ["y"], by="area")
    pooled = pooled_design_effect(con, areas).to_pylist()[0]
    assert pooled["design_effect"] == pytest.approx(10.0, rel=0.05)


def shares_of(n: int, repeats: int = 1) -> duckdb.DuckDBPyConnection:
    """Groups of n answers each, with 0 to n of them yes, in a scrambled order."""
    con = duckdb.connect()
    con.execute(
        f"""create table answers as
        select yes_n, (answer < yes_n)::int as y, 1.5 as w
        from range({n + 1}) as groups(yes_n), range({n}) as answers(answer)
        order by hash(yes_n * 1000 + answer + {repeats})"""
    )
    return con


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_likelihood_intervals_hold_the_exact_ones(n: int) -> None:
    """R reads the limits off a spline: at most 0.0003 inside those of the deviance itself."""
    rows = estimate(
        shares_of(n), "answers", Design(weight="w"), "y", by="yes_n", ci="likelihood"
    ).to_pylist()
    every = n * (n + 1)  # rows of all groups: variances of a domain keep the whole design
    rise = stats.t.ppf(0.975, n - 1) ** 2 * every / (every - 1) * n / (n - 1)

    def misfit(bound: float, share: float) -> float:
        return (
            2 * n * float(np.sum(special.rel_entr([share, 1 - share], [bound, 1 - bound]))) - rise
        )

    for row in rows[1:-1]:
        share = row["estimate"]
        assert 0 <= row["ci_low"] < share < row["ci_high"] <= 1
        for outside in (row["ci_low"] - 3e-4, row["ci_high"] + 3e-4):
            assert not 0 < outside < 1 or misfit(outside, share) > 0
        mirrored = rows[n - row["yes_n"]]
        assert row["ci_low"] == pytest.approx(1 - mirrored["ci_high"], abs=1e-9)
    assert [rows[at]["reason"] for at in (0, -1)] == ["all_equal", "all_equal"]
    assert (rows[0]["ci_low"], rows[-1]["ci_high"]) == (0.0, 1.0)


def test_likelihood_intervals_do_not_depend_on_the_order_of_rows() -> None:
    found = [
        estimate(
            shares_of(20, repeats), "answers", Design(weight="w"), "y", "mean", by, "likelihood"
        )
        for repeats, by in ((1, "yes_n"), (2, "yes_n"))
    ]
    assert found[0].equals(found[1])


POOLED = {"variable": ["a"], "n": [9], "se": [0.1], "df": [3], "deff": [1.5]}


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (None, {}),
        (pa.table({name: values for name, values in POOLED.items() if name != "se"}), {}),
        (pa.table(POOLED | {"deff": ["SECRET"]}), {}),
        (pa.table(POOLED), {"by": ("zz",)}),
        (pa.table(POOLED), {"by": ()}),
        (pa.table(POOLED), {"floor": float("nan")}),
        (pa.table(POOLED), {"floor": "SECRET"}),
    ],
)
def test_what_cannot_be_pooled_is_refused(given, options) -> None:
    with pytest.raises(InputError) as refused:
        pooled_design_effect(duckdb.connect(), given, **options)
    assert "SECRET" not in str(refused.value)


def test_helpers_take_tables_of_every_kind() -> None:
    con = duckdb.connect()
    wanted = pooled_design_effect(con, pa.table(POOLED))
    frame = pd.DataFrame(POOLED)
    assert pooled_design_effect(con, frame, by="variable") == wanted
    shares = pa.table({"n": [10], "estimate": [40.0]})
    for given in (shares.to_pandas(), con.from_arrow(shares)):
        assert add_wilson(given).to_pylist() == add_wilson(shares).to_pylist()
    with pytest.raises(InputError, match="no table"):
        add_wilson(None)
