"""Every value of R survey 4.1.1 that the engine's statistics cover, at 1e-12.

The reference holds design,fun,variable,domain,stat,value (17 digits). R's intervals of
svymean, svytotal, svyby and svyratio are normal ones (R's `confint` without df), so those
are made from our estimate and standard error.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import polars as pl
import pytest
from scipy import stats

from rcs_assets.errors import InputError
from rcs_assets.estimation import Design, estimate, independence_test

CLOSED_FORM = 1e-12
ITERATED = 1e-8
Z = float(stats.norm.ppf(0.975))
VARIABLES = ["api00", "api99", "enroll", "meals", "sw", "a99"]
DESIGNS = {
    "srs": Design(weight="pw", fpc="fpc"),
    "srs_nofpc": Design(weight="pw"),
    "strat": Design(strata="stype", weight="pw", fpc="fpc"),
    "strat_nofpc": Design(strata="stype", weight="pw"),
    "clus1": Design(clusters="dnum", weight="pw", fpc="fpc"),
    "clus1_nofpc": Design(clusters="dnum", weight="pw"),
}
# R adds up weights as doubles, so a cumulative weight that should meet its target misses
# it by rounding and R takes the next value: 482 instead of 479 (the 20th of 200 equal
# weights at 0.1), 827 instead of 818. The engine adds exactly.
ROUNDING_TIES = {(design, f"q={p}") for design in ("srs", "srs_nofpc") for p in ("0.1", "0.9")}
Named = tuple[str, str, str, str, float]


def table_of(design: str) -> str:
    return design.removesuffix("_nofpc")


def normal(row: dict, fun: str, variable: str, domain: str = "") -> Iterator[Named]:
    yield fun, variable, domain, "estimate", row["estimate"]
    yield fun, variable, domain, "se", row["se"]
    yield fun, variable, domain, "ci_l", row["estimate"] - Z * row["se"]
    yield fun, variable, domain, "ci_u", row["estimate"] + Z * row["se"]


def with_own_interval(row: dict, fun: str, variable: str, domain: str = "") -> Iterator[Named]:
    names = {"estimate": "estimate", "se": "se", "ci_low": "ci_l", "ci_high": "ci_u"}
    for ours, theirs in names.items():
        yield fun, variable, domain, theirs, row[ours]


def means(con: duckdb.DuckDBPyConnection, name: str, design: Design) -> Iterator[Named]:
    for row in estimate(con, table_of(name), design, VARIABLES, "mean").to_pylist():
        yield from normal(row, "svymean", row["variable"])
        yield from with_own_interval(row, "svymean_t", row["variable"])
        yield "svymean", row["variable"], "", "deff_replace", row["deff"]
        yield "design", "", "", "degf", row["df"]
    for row in estimate(con, table_of(name), design, ["stype"], "proportion").to_pylist():
        yield from normal(row, "svymean", f"stype:stype{row['level']}")


def totals_and_domains(
    con: duckdb.DuckDBPyConnection, name: str, design: Design
) -> Iterator[Named]:
    table = table_of(name)
    for row in estimate(con, table, design, VARIABLES, "total").to_pylist():
        yield from normal(row, "svytotal", row["variable"])
    for statistic in ("mean", "total"):
        rows = estimate(con, table, design, VARIABLES, statistic, by="stype").to_pylist()
        for row in rows:
            domain = f"stype={row['stype']}"
            yield from normal(row, f"svyby_{statistic}", row["variable"], domain)


def shares(con: duckdb.DuckDBPyConnection, name: str, design: Design) -> Iterator[Named]:
    methods = {"logit": ["svyciprop_logit", "svyciprop_xlogit"], "beta": ["svyciprop_beta"]}
    for ci, functions in (methods | {"t": ["svyciprop_mean"]}).items():
        rows = estimate(con, table_of(name), design, ["sw", "a99"], "mean", ci=ci).to_pylist()
        for row in rows:
            for fun in functions:
                yield from with_own_interval(row, fun, row["variable"])


def ratios_and_differences(
    con: duckdb.DuckDBPyConnection, name: str, design: Design
) -> Iterator[Named]:
    table = table_of(name)
    for row in estimate(con, table, design, ["api.stu/enroll"], "ratio").to_pylist():
        yield from normal(row, "svyratio", "api.stu/enroll")
    for row in estimate(con, table, design, ["api00"], "difference", by="sw").to_pylist():
        t = row["estimate"] / row["se"]
        yield "svyttest", "api00~sw", "", "t", t
        yield "svyttest", "api00~sw", "", "df", row["df"]
        yield "svyttest", "api00~sw", "", "p", 2 * float(stats.t.sf(t, row["df"]))


def quantile_values(con: duckdb.DuckDBPyConnection, name: str, design: Design) -> Iterator[Named]:
    rows = estimate(
        con, table_of(name), design, ["api00"], "quantile", quantiles=[0.1, 0.5, 0.9]
    ).to_pylist()
    for row in rows:
        yield from with_own_interval(row, "svyquantile_math", "api00", f"q={row['level']}")


def differences(r_values: pl.DataFrame, name: str, ours: Iterator[Named]) -> pl.DataFrame:
    columns = ["fun", "variable", "domain", "stat", "ours"]
    made = pl.DataFrame(list(ours), schema=columns, orient="row").unique(maintain_order=True)
    theirs = r_values.filter(pl.col("design") == name)
    matched = made.join(theirs.fill_null(""), on=columns[:4], how="inner")
    gap = (pl.col("ours") - pl.col("value")).abs() / pl.col("value").abs()
    # A value that we leave null is as far off as can be.
    return matched.with_columns(gap.fill_null(float("inf")).alias("gap"))


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize(
    ("family", "values_n"),
    [(means, 67), (totals_and_domains, 168), (shares, 24), (ratios_and_differences, 7)],
)
def test_closed_forms_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, name: str, family, values_n: int
) -> None:
    found = differences(r_values, name, family(api, name, DESIGNS[name]))
    iterated = pl.col("fun") == "svyciprop_logit"  # R fits a model; xlogit is its closed form
    assert found.height == values_n
    assert found.filter(~iterated)["gap"].max() <= CLOSED_FORM
    assert (found.filter(iterated)["gap"].max() or 0.0) <= ITERATED


@pytest.mark.parametrize("name", DESIGNS)
def test_quantiles_equal_r_but_for_rounding_ties(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, name: str
) -> None:
    found = differences(r_values, name, quantile_values(api, name, DESIGNS[name]))
    tied = [domain for design, domain in ROUNDING_TIES if design == name]
    assert found.height == 12
    assert found.filter(~pl.col("domain").is_in(tied))["gap"].max() <= CLOSED_FORM


def test_a_tied_quantile_is_the_value_that_reaches_its_share(
    api: duckdb.DuckDBPyConnection,
) -> None:
    row = estimate(api, "srs", DESIGNS["srs"], ["api00"], "quantile", quantiles=[0.1]).to_pylist()
    at = api.execute("select api00 from srs order by api00 limit 1 offset 19").fetchall()[0][0]
    assert row[0]["estimate"] == at


@pytest.mark.parametrize("kind", ["rake", "poststrat"])
def test_estimates_with_r_calibrated_weights_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, kind: str
) -> None:
    design = Design(clusters="dnum", weight=f"w_{kind}")
    made = [
        (
            "svymean",
            *estimate(api, "calibrated", design, ["api00"], "mean")["estimate"].to_pylist(),
        ),
        (
            "svytotal",
            *estimate(api, "calibrated", design, ["enroll"], "total")["estimate"].to_pylist(),
        ),
    ]
    for fun, value in made:
        row = r_values.filter(design=f"clus1_{kind}", fun=fun, stat="estimate")
        assert value == pytest.approx(row["value"][0], rel=CLOSED_FORM)


def test_svyby_domain_df_counts_units_that_hold_the_domain(
    api: duckdb.DuckDBPyConnection,
) -> None:
    rows = estimate(api, "clus1", DESIGNS["clus1"], ["api00"], by="stype").to_pylist()
    counted = api.execute(
        "select count(distinct dnum) - 1 from clus1 group by stype order by stype"
    ).fetchall()
    assert [row["df"] for row in rows] == [row[0] for row in counted]


CALIBRATED = {"poststrat": ["stype"], "rake": ["stype", "sch.wide"]}


@pytest.mark.parametrize("kind", CALIBRATED)
def test_calibrated_variances_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, kind: str
) -> None:
    design = Design(clusters="dnum", weight=f"w_{kind}", fpc="fpc", calibrated=CALIBRATED[kind])
    for statistic, variable in (("mean", "api00"), ("total", "enroll")):
        row = estimate(api, "calibrated", design, [variable], statistic).to_pylist()[0]
        theirs = r_values.filter(design=f"clus1_{kind}", fun=f"svy{statistic}")
        assert theirs.height == 4
        for name in ("estimate", "se"):
            wanted = theirs.filter(stat=name)["value"][0]
            assert row[name] == pytest.approx(wanted, rel=CLOSED_FORM)


@pytest.mark.parametrize("name", DESIGNS)
def test_arcsine_intervals_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, name: str
) -> None:
    rows = estimate(api, table_of(name), DESIGNS[name], ["sw", "a99"], "mean", ci="asin")
    made = [
        v
        for row in rows.to_pylist()
        for v in with_own_interval(row, "svyciprop_asin", row["variable"])
    ]
    found = differences(r_values, name, iter(made))
    assert found.height == 6
    assert found["gap"].max() <= CLOSED_FORM


@pytest.mark.parametrize("name", DESIGNS)
def test_likelihood_intervals_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, name: str
) -> None:
    rows = estimate(api, table_of(name), DESIGNS[name], ["sw", "a99"], "mean", ci="likelihood")
    made = [
        v
        for row in rows.to_pylist()
        for v in with_own_interval(row, "svyciprop_likelihood", row["variable"])
    ]
    found = differences(r_values, name, iter(made))
    assert found.height == 6
    assert found["gap"].max() <= ITERATED


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("statistic", ["F", "Chisq", "Wald"])
def test_tests_of_independence_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, name: str, statistic: str
) -> None:
    row = independence_test(
        api, table_of(name), DESIGNS[name], "sch.wide", "stype", statistic
    ).to_pylist()[0]
    theirs = r_values.filter(design=name, fun=f"svychisq_{statistic}")
    assert theirs.height == 2
    for ours, stat in {"value": "stat", "p_value": "p"}.items():
        assert row[ours] == pytest.approx(theirs.filter(stat=stat)["value"][0], rel=CLOSED_FORM)


def test_a_table_of_one_level_has_a_reason(api: duckdb.DuckDBPyConnection) -> None:
    api.execute("create or replace temp view high as from srs where stype = 'H'")
    row = independence_test(api, "high", DESIGNS["srs"], "awards", "stype").to_pylist()[0]
    assert (row["value"], row["reason"]) == (None, "one_level")
    with pytest.raises(InputError, match="more than 100 cells"):
        independence_test(api, "srs", DESIGNS["srs"], "api00", "stype")


def test_nothing_of_the_reference_is_left_out(r_values: pl.DataFrame) -> None:
    tried = {
        "design",
        "svymean",
        "svymean_t",
        "svytotal",
        "svyby_mean",
        "svyby_total",
        "svyratio",
        "svyttest",
        "svyquantile_math",
        "svyglm_gaussian",
        "svyglm_quasibinomial",
        "svyciprop_logit",
        "svyciprop_xlogit",
        "svyciprop_beta",
        "svyciprop_mean",
        "svyciprop_asin",
        "svyciprop_likelihood",
        "svychisq_F",
        "svychisq_Chisq",
        "svychisq_Wald",
    }
    assert set(r_values["fun"]) == tried
