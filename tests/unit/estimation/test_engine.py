"""What `estimate` promises: shapes, invariances, defined results at the edges, refusals."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcs_assets.errors import InputError
from rcs_assets.estimation import (
    INTERVALS,
    STATISTICS,
    Design,
    Replicates,
    estimate,
    estimate_each,
)

FEW = settings(max_examples=25, suppress_health_check=list(HealthCheck))
DESIGN = Design(strata="stratum", clusters="school", weight="w", lonely_psu="certainty")
COLUMNS = ["stratum", "school", "w", "sex", "y", "flag"]

rows = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 3),
        st.floats(0.01, 50, allow_nan=False),
        st.sampled_from(["F", "M", None]),
        st.one_of(st.none(), st.floats(-1e4, 1e4, allow_nan=False)),
        st.one_of(st.none(), st.integers(0, 1)),
    ),
    min_size=4,
    max_size=40,
)


def load(values: list[tuple]) -> duckdb.DuckDBPyConnection:
    """Rows as a table; schools get names of their own stratum."""
    con = duckdb.connect()
    con.execute("set threads = 2")
    con.execute(
        "create table t (stratum int, school text, w double, sex text, y double, flag tinyint)"
    )
    named = [(s, f"{s}-{c}", *rest) for s, c, *rest in values]
    columns = zip(*named, strict=True)
    con.register("given", pa.table(dict(zip(COLUMNS, map(list, columns), strict=True))))
    con.execute("insert into t select * from given")
    return con


def small() -> duckdb.DuckDBPyConnection:
    return load(
        [
            (0, 0, 1.0, "F", 2.0, 1),
            (0, 1, 2.0, "M", 4.0, 0),
            (0, 1, 1.0, "F", None, 1),
            (1, 0, 1.5, "M", 8.0, None),
            (1, 1, 0.5, "F", 1.0, 1),
            (1, 1, 3.0, None, 5.0, 0),
        ]
    )


def test_the_columns_of_a_result() -> None:
    result = estimate(small(), "t", DESIGN, ["y", "flag"], by=["sex"])
    expected = ["sex", "variable", "level", "estimate", "se", "ci_low", "ci_high"]
    assert result.column_names == [*expected, "n", "df", "deff", "reason"]
    assert result.column("sex").to_pylist() == ["F", "F", "M", "M"]
    assert result.column("variable").to_pylist() == ["y", "flag", "y", "flag"]


@FEW
@given(values=rows, seed=st.randoms())
def test_row_order_and_threads_change_no_bit(values: list[tuple], seed) -> None:
    shuffled = list(values)
    seed.shuffle(shuffled)
    first, second = load(values), load(shuffled)
    second.execute("set threads = 1")
    for statistic in ("mean", "total"):
        made = [
            estimate(c, "t", DESIGN, ["y", "flag"], statistic, by="sex") for c in (first, second)
        ]
        assert made[0].equals(made[1])


@FEW
@given(values=rows, factor=st.floats(0.001, 1000))
def test_scaling_weights_scales_totals_and_leaves_means(values: list[tuple], factor: float) -> None:
    con = load(values)
    con.execute(f"create view scaled as select * replace (w * {factor!r} as w) from t")
    for statistic, times in (("mean", 1.0), ("total", factor)):
        before = estimate(con, "t", DESIGN, ["flag"], statistic).to_pylist()[0]
        after = estimate(con, "scaled", DESIGN, ["flag"], statistic).to_pylist()[0]
        for name in ("estimate", "se"):
            if before[name] is not None:
                assert after[name] == pytest.approx(before[name] * times, rel=1e-9, abs=1e-9)


@FEW
@given(values=rows)
def test_totals_of_domains_add_up(values: list[tuple]) -> None:
    con = load([row for row in values if row[3]] or [(0, 0, 1.0, "F", 1.0, 1)])
    whole = estimate(con, "t", DESIGN, ["y"], "total").to_pylist()[0]["estimate"] or 0.0
    parts = estimate(con, "t", DESIGN, ["y"], "total", by="sex")["estimate"].to_pylist()
    assert math.fsum(p or 0.0 for p in parts) == pytest.approx(whole, rel=1e-9, abs=1e-6)


@FEW
@given(values=rows)
def test_a_share_and_its_complement_mirror_each_other(values: list[tuple]) -> None:
    result = estimate(load(values), "t", DESIGN, ["flag"], "proportion", ci="wilson").to_pylist()
    if len(result) == 2 and result[0]["estimate"] is not None:
        zero, one = result
        assert zero["estimate"] + one["estimate"] == pytest.approx(1.0)
        assert zero["se"] == pytest.approx(one["se"], abs=1e-9)
        assert zero["ci_low"] == pytest.approx(1.0 - one["ci_high"], abs=1e-9)


@FEW
@given(values=rows)
def test_several_sets_at_once_equal_one_by_one(values: list[tuple]) -> None:
    con = load(values)
    sets = [[], ["sex"], ["stratum", "sex"]]
    together = estimate_each(con, "t", DESIGN, ["y", "flag"], by_sets=sets)
    for by, table in zip(sets, together, strict=True):
        alone = estimate(con, "t", DESIGN, ["y", "flag"], by=by)
        for name in ("estimate", "se", "ci_low", "df", "n"):
            together_values, expected = (
                [math.nan if value is None else value for value in one[name].to_pylist()]
                for one in (table, alone)
            )
            assert together_values == pytest.approx(expected, rel=1e-9, abs=1e-7, nan_ok=True)


def test_a_mean_far_from_zero_keeps_its_digits() -> None:
    con = small()
    con.execute("create view far as select * replace (y + 1e9 as y) from t where y is not null")
    con.execute("create view near as select * from t where y is not null")
    for design in (DESIGN, Design(weight="w")):
        near, far = (estimate(con, t, design, ["y"]).to_pylist()[0] for t in ("near", "far"))
        assert far["se"] == pytest.approx(near["se"], rel=1e-12)
        assert far["deff"] == pytest.approx(near["deff"], rel=1e-9)


def test_nulls_are_outside_the_domain_and_inside_the_design() -> None:
    con = small()
    con.execute("create view known as select * from t where y is not null")
    whole = estimate(con, "t", Design(), ["y"]).to_pylist()[0]
    known = estimate(con, "known", Design(), ["y"]).to_pylist()[0]
    assert whole["estimate"] == known["estimate"] and whole["n"] == known["n"] == 5
    assert whole["df"] == 5 and known["df"] == 4
    # The sixth unit counts as a zero: n / (n - 1) is 6/5 instead of 5/4.
    assert whole["se"] == pytest.approx(known["se"] * math.sqrt(6 / 5 * 4 / 5), rel=1e-12)


def test_differences_carry_the_covariance_of_shared_units() -> None:
    result = estimate(small(), "t", DESIGN, ["flag"], "difference", by=["sex"]).to_pylist()
    single = estimate(small(), "t", DESIGN, ["flag"], by=["sex"]).to_pylist()
    assert [(row["sex"], row["level"]) for row in result] == [("M", "M - F")]
    assert result[0]["estimate"] == single[1]["estimate"] - single[0]["estimate"]


def test_categories_give_a_row_a_level() -> None:
    con = small()
    result = estimate(con, "t", DESIGN, ["sex", "stratum"], "proportion").to_pylist()
    assert [(row["variable"], row["level"]) for row in result] == [
        ("sex", "F"), ("sex", "M"), ("stratum", "0"), ("stratum", "1"),
    ]  # fmt: skip
    assert result[0]["estimate"] + result[1]["estimate"] == pytest.approx(1.0)


def edge(condition: str) -> dict:
    con = small()
    con.execute(f"create view chosen as select * from t where {condition}")
    return estimate(con, "chosen", DESIGN, ["flag"]).to_pylist()[0]


@pytest.mark.parametrize("ci", INTERVALS)
def test_an_indicator_without_data(ci: str) -> None:
    con = small()
    con.execute("create view v as select *, null::double as never, null::text as nothing from t")
    for name, statistic in (("never", "mean"), ("nothing", "proportion")):
        rows = estimate(con, "v", DESIGN, [name], statistic, by="stratum", ci=ci).to_pylist()
        assert len(rows) == 2
        for row in rows:
            assert (row["n"], row["estimate"], row["se"], row["ci_low"]) == (0, None, None, None)
            assert row["reason"] == "no_data"


def test_an_empty_table() -> None:
    con = small()
    con.execute("create view empty as select * from t where false")
    assert estimate(con, "empty", DESIGN, ["y"], by="sex").num_rows == 0
    assert estimate(con, "empty", DESIGN, ["y"]).to_pylist()[0]["reason"] == "no_data"


@pytest.mark.parametrize("ci", ["logit", "beta", "wilson", "likelihood"])
def test_all_equal_gives_a_share_an_interval(ci: str) -> None:
    con = small()
    con.execute("create view chosen as select * from t where flag = 1")
    design = Design(clusters="school", weight="w")
    row = estimate(con, "chosen", design, ["flag"], ci=ci).to_pylist()[0]
    assert (row["estimate"], row["se"], row["reason"]) == (1.0, 0.0, "all_equal")
    assert 0 < row["ci_low"] < 1 and row["ci_high"] == 1.0


def test_one_unit_has_no_degrees_of_freedom() -> None:
    row = edge("school = '0-1'")
    assert row["df"] == 0 and row["ci_low"] is None and row["reason"] == "lonely_psu"
    con = small()
    con.execute("create view one as select * from t where school = '0-1'")
    row = estimate(con, "one", Design(clusters="school"), ["flag"]).to_pylist()[0]
    assert row["estimate"] is not None and row["se"] is None and row["reason"] == "lonely_psu"


def test_one_respondent() -> None:
    con = small()
    con.execute("create view one as select * from t where y = 8")
    row = estimate(con, "one", Design(), ["y"]).to_pylist()[0]
    assert (row["n"], row["estimate"], row["se"], row["deff"]) == (1, 8.0, None, None)
    assert row["ci_low"] is None and row["reason"] == "lonely_psu"


@pytest.mark.parametrize("ci", INTERVALS)
def test_a_school_with_one_respondent_among_others(ci: str) -> None:
    con = duckdb.connect()
    con.execute(
        "create table t as select * from (values ('one', 1), ('more', 1), ('more', 0), "
        "('more', 0)) as v(school, flag)"
    )
    rows = estimate(con, "t", Design(), ["flag"], by="school", ci=ci).to_pylist()
    found = {row["school"]: row for row in rows}
    assert (found["one"]["n"], found["one"]["estimate"], found["one"]["df"]) == (1, 1.0, 0)
    assert found["one"]["reason"] == "no_df"
    assert found["more"]["reason"] == "" and found["more"]["se"] > 0


def test_rows_of_weight_zero_count_for_nothing() -> None:
    con = small()
    con.execute("insert into t values (0, '0-0', 0.0, 'F', 999.0, 1)")
    assert estimate(con, "t", DESIGN, ["y"]).equals(estimate(small(), "t", DESIGN, ["y"]))


def test_quantiles_by_domain_keep_their_order() -> None:
    con = small()
    result = estimate(con, "t", DESIGN, ["y"], "quantile", by="stratum", quantiles=[0.25, 0.75])
    assert result["level"].to_pylist() == ["0.25", "0.75"] * 2
    assert result["estimate"].to_pylist() == [2.0, 4.0, 5.0, 8.0]


REFUSED = [
    ({"variables": ["nothing"]}, "Unknown column"),
    ({"by": ["nothing"]}, "Unknown column"),
    ({"by": ["n"]}, "Unknown column"),
    ({"table": "nowhere"}, "No table"),
    ({"statistic": "variance"}, "not available"),
    ({"statistic": "difference"}, "groups to compare"),
    ({"statistic": "ratio"}, "numerator and a denominator"),
    ({"variables": ["sex"]}, "Not numeric"),
    ({"variables": []}, "No variables"),
    ({"variables": [("y", "w")]}, "needs statistic='ratio'"),
    ({"ci": "wald"}, "not available"),
    ({"ci": "wilson"}, "for shares"),
    ({"level": 95}, "not between"),
    ({"statistic": "quantile", "quantiles": [50]}, "between 0 and 1"),
    ({"statistic": "quantile", "ci": "beta"}, "for shares"),
    ({"design": Design(weight="sex")}, "Not numeric"),
    ({"design": Design(weight="negative")}, "negative"),
    ({"design": Design(weight="holes")}, "nulls"),
    ({"design": Design(clusters="sex")}, "nulls"),
    ({"variables": ["endless"]}, "not finite"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_bad_input_is_refused_in_words(change: dict, message: str) -> None:
    con = small()
    con.execute(
        "create view v as select *, -w as negative, nullif(w, 2) as holes, "
        "if(y = 8, 'inf'::double, y) as endless from t"
    )
    arguments = {"table": "v", "design": DESIGN, "variables": ["y"]} | change
    with pytest.raises(InputError, match=message):
        estimate(con, **arguments)


def test_every_statistic_that_is_offered_works() -> None:
    options = {"ratio": {"variables": ["y/w"]}, "difference": {"by": ["stratum"]}}
    for statistic in STATISTICS:
        given_options: dict[str, Any] = {"variables": ["y"]} | options.get(statistic, {})
        result = estimate(small(), "t", DESIGN, statistic=statistic, **given_options)
        assert isinstance(result, pa.Table) and result["estimate"].null_count == 0


def test_one_variable_may_be_named_by_itself() -> None:
    alone = estimate(small(), "t", DESIGN, "y")
    assert alone.equals(estimate(small(), "t", DESIGN, ["y"]))


def test_a_qualified_view_and_awkward_names() -> None:
    con = duckdb.connect()
    con.execute('create schema room; create table room."a table" as select i % 3 as "an ""x""", i '
                'as "y z" from range(9) r(i)')  # fmt: skip
    result = estimate(con, "room.a table", Design(), ["y z"], by=['an "x"'])
    assert result["estimate"].to_pylist() == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"con": "survey.duckdb"}, "argument con"),
        ({"table": pa.table({"y": [1.0]})}, "argument table"),
        ({"design": {"weight": "w"}}, "argument design"),
        ({"variables": None}, "argument variables"),
        ({"variables": [1]}, "argument variables"),
        ({"variables": [("y", None)], "statistic": "ratio"}, "argument variables"),
        ({"by": 1}, "names of columns"),
        ({"by": [None]}, "names of columns"),
        ({"by": ["sex", "sex"]}, "argument by"),
        ({"level": "0.95"}, "argument level"),
        ({"statistic": "quantile", "quantiles": 0.5}, "argument quantiles"),
        ({"statistic": "quantile", "quantiles": ["half"]}, "argument quantiles"),
        ({"statistic": "quantile", "ci": "beta"}, "argument ci"),
        ({"replicates": "JK1"}, "argument replicates"),
    ],
)
def test_what_is_no_argument_is_refused(change: dict, named: str) -> None:
    call = {"con": small(), "table": "t", "design": DESIGN, "variables": ["y"]} | change
    with pytest.raises(InputError, match=named):
        estimate(**call)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Design(weight=1),  # type: ignore[arg-type]
        lambda: Design(clusters=1),  # type: ignore[arg-type]
        lambda: Replicates(replicates_n="many"),  # type: ignore[arg-type]
        lambda: Replicates(seed="one"),  # type: ignore[arg-type]
        lambda: Replicates(replicates_n=1),
    ],
)
def test_what_is_no_declaration_is_refused(make) -> None:
    with pytest.raises(InputError):
        make()


def test_a_category_that_reads_like_a_number_keeps_its_name() -> None:
    con = duckdb.connect()
    con.execute(
        "create table t as from (values ('v1', 1.0::double, 3), ('v1.0', 2.0, 5), "
        "('v1', 2.0, 4), ('v1.0', 1.0, 9)) as t(form, size, y)"
    )
    shares = estimate(con, "t", Design(), ["form", "size"], "proportion")
    assert shares.column("level").to_pylist() == ["v1", "v1.0", "1", "2"]
    for name, level in (("form", "v1.0 - v1"), ("size", "2 - 1")):
        apart = estimate(con, "t", Design(), "y", "difference", by=name)
        assert apart.column("level").to_pylist() == [level]


def grouped(group: str) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(f"create table t as select {group} as g, i::double as y from range(9) r(i)")
    return con


@pytest.mark.parametrize("statistic", ["difference", "quantile"])
@pytest.mark.parametrize("group", ["[i % 2]", "map {'part': i % 2}", "interval (i % 2) day"])
def test_groups_of_lists_and_maps_are_refused(group: str, statistic: str) -> None:
    with pytest.raises(InputError, match="Values that hold several: g"):
        estimate(grouped(group), "t", Design(), "y", statistic, by="g")


def test_groups_of_structs_have_quantiles_and_no_differences() -> None:
    con = grouped("{'part': i % 2}")
    assert estimate(con, "t", Design(), "y", "quantile", by="g")["estimate"].to_pylist() == [4, 3]
    with pytest.raises(InputError, match="Values that hold several: g"):
        estimate(con, "t", Design(), "y", "difference", by="g")


def test_a_difference_without_weight_has_no_degrees_of_freedom() -> None:
    con = duckdb.connect()
    con.execute("create table t as select i % 2 as g, i as y, 0.0 as w from range(9) r(i)")
    row = estimate(con, "t", Design(weight="w"), "y", "difference", by="g").to_pylist()[0]
    assert (row["df"], row["estimate"], row["reason"]) == (0, None, "no_data")


@pytest.mark.parametrize("by_sets", [None, 3])
def test_sets_of_groups_are_a_list(by_sets) -> None:
    con = duckdb.connect()
    con.execute("create table t as select i as y from range(9) r(i)")
    with pytest.raises(InputError, match="argument by_sets"):
        estimate_each(con, "t", Design(), "y", by_sets=by_sets)
