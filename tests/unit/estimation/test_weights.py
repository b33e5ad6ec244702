"""Raking and post-stratification: R's weights, bounds, reports and refusals."""

from __future__ import annotations

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcs_assets.errors import InputError
from rcs_assets.estimation import (
    Design,
    Margin,
    NotConvergedError,
    post_stratify,
    rake,
    standardised,
)

FEW = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def compare(con: duckdb.DuckDBPyConnection, weights: pa.Table, column: str) -> float:
    con.register("made", weights)
    gap = con.execute(
        f"select max(abs(weight / {column} - 1)) from made inner join r_weights using (snum)"
    ).fetchall()
    con.unregister("made")
    return float(gap[0][0])


def test_raking_equals_r(api: duckdb.DuckDBPyConnection) -> None:
    margins = {
        "stype": api.sql("select stype, count(*) as n from pop group by stype"),
        "sch.wide": {"Yes": 5122, "No": 1072},
    }
    made = rake(api, "clus1", margins, key="snum", weight="pw")
    assert compare(api, made.table, "w_rake") < 1e-10
    assert made.report.largest_gap <= 1e-12
    assert made.report.rows_n == made.table.num_rows == 183


def test_post_stratification_equals_r(api: duckdb.DuckDBPyConnection) -> None:
    target = api.sql("select stype, count(*) as n from pop group by stype")
    made = post_stratify(api, "clus1", "stype", target, key="snum", weight="pw")
    assert compare(api, made.table, "w_poststrat") < 1e-12
    assert made.report.iterations_n == 1


def pupils() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        "create table t as select 'r' || i as record_id, if(i % 3 = 0, 'F', 'M') as sex, "
        "'S' || (i % 4 + 1) as stage, 1.0 + i % 2 as w from range(60) r(i)"
    )
    return con


SEX = {"F": 50, "M": 50}
STAGE = {"S1": 20, "S2": 30, "S3": 25, "S4": 25}


def sums(con: duckdb.DuckDBPyConnection, weights: pa.Table, column: str) -> dict[str, float]:
    con.register("made", weights)
    found = con.execute(
        f"select {column}, sum(weight) from t inner join made using (record_id) group by all"
    ).fetchall()
    con.unregister("made")
    return dict(found)


def test_weights_agree_with_every_margin() -> None:
    con = pupils()
    made = rake(con, "t", {"sex": SEX, "stage": STAGE}, weight="w")
    assert sums(con, made.table, "sex") == pytest.approx(SEX, rel=1e-11)
    assert sums(con, made.table, "stage") == pytest.approx(STAGE, rel=1e-11)
    assert made.report.mean == pytest.approx(100 / 60)
    assert made.report.effective_n * made.report.design_effect == pytest.approx(60)


def test_targets_of_every_kind_say_the_same() -> None:
    con = pupils()
    table = pa.table({"sex": list(SEX), "n": list(SEX.values())})
    con.register("sexes", table)
    kinds = [SEX, table, table.to_pandas(), con.sql("select * from sexes"), "sexes"]
    made = [post_stratify(con, "t", "sex", kind).table for kind in kinds]
    assert isinstance(kinds[2], pd.DataFrame)
    assert all(one.equals(made[0]) for one in made)


def test_a_margin_of_two_columns_and_finer_rows() -> None:
    con = pupils()
    cells = {(sex, stage): 10 + i for i, (sex, stage) in enumerate(
        (s, g) for s in SEX for g in STAGE)}  # fmt: skip
    finer = pa.table(
        {
            "sex": [sex for sex, _ in cells] * 2,
            "stage": [stage for _, stage in cells] * 2,
            "school": ["a"] * len(cells) + ["b"] * len(cells),
            "roll_n": [count / 2 for count in cells.values()] * 2,
        }
    )
    by_mapping = rake(con, "t", {("sex", "stage"): cells})
    by_table = rake(con, "t", [Margin(["sex", "stage"], finer, count="roll_n")])
    assert by_mapping.table.equals(by_table.table)


def test_bounds_and_trimming_hold() -> None:
    con = pupils()
    free = rake(con, "t", {"sex": SEX, "stage": STAGE})
    assert free.report.largest > 1.5 * free.report.mean
    bound = rake(con, "t", {"sex": SEX, "stage": STAGE}, bounds=(0.5, 2.0), trim=(0.5, 2.0))
    assert bound.report.largest <= 2.0 * bound.report.mean * (1 + 1e-12)
    assert bound.report.smallest >= 0.5 * bound.report.mean * (1 - 1e-12)
    assert sums(con, bound.table, "stage") == pytest.approx(STAGE, rel=1e-9)


def test_bounds_without_room_do_not_converge() -> None:
    with pytest.raises(NotConvergedError, match="do not converge"):
        rake(pupils(), "t", {"sex": SEX, "stage": STAGE}, bounds=(0.99, 1.01), max_iterations=50)


def test_margins_that_contradict_each_other_do_not_converge() -> None:
    con = duckdb.connect()
    con.execute(
        "create table t as select i as record_id, i % 2 as a, i % 2 as b from range(10) r(i)"
    )
    with pytest.raises(NotConvergedError, match=r"do not converge.*margin") as caught:
        rake(con, "t", {"a": {0: 5, 1: 5}, "b": {0: 3, 1: 7}}, max_iterations=50)
    assert caught.value.reason == "not_converged"


@pytest.mark.parametrize(
    ("margins", "options", "message"),
    [
        ({"sex": SEX | {"X": 4}}, {}, "no respondents.*X"),
        ({"sex": {"F": 50}}, {}, "outside a margin.*M"),
        ({"sex": {"F": 50, "M": 0}}, {}, "count 0.*M"),
        ({"sex": {"F": 50, "M": -1}}, {}, "negative"),
        ({"sex": SEX, "stage": {**STAGE, "S1": 99}}, {}, "different totals"),
        ({"nothing": SEX}, {}, "Unknown column"),
        ({}, {}, "No margins"),
        ({"sex": pa.table({"gender": ["F"], "n": [1]})}, {}, "has not the columns"),
        ({"sex": SEX}, {"weight": "stage"}, "Not numeric"),
        ({"sex": SEX}, {"bounds": (2.0, 3.0)}, "enclose 1"),
        ({"sex": SEX}, {"key": "nothing"}, "Unknown column"),
        ({"gap": SEX}, {}, "nulls"),
    ],
)
def test_bad_margins_are_refused_in_words(margins: dict, options: dict, message: str) -> None:
    con = pupils()
    con.execute("create view v as select *, nullif(sex, 'M') as gap from t")
    with pytest.raises(InputError, match=message):
        rake(con, "v", margins, **options)


@FEW
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40),
    counts=st.lists(st.integers(1, 500), min_size=9, max_size=9),
    seed=st.randoms(),
)
def test_any_population_is_met_whatever_the_order(rows: list, counts: list, seed) -> None:
    """Every cell has a respondent, so that any positive margins can be met."""
    full = rows + [(a, b) for a in range(3) for b in range(3)]
    target_a = {a: sum(counts[3 * a : 3 * a + 3]) for a in range(3)}
    target_b = {b: sum(counts[b::3]) for b in range(3)}
    numbered = list(enumerate(full))
    results = []
    for _ in range(2):
        con = duckdb.connect()
        con.execute("create table t (record_id int, a int, b int)")
        con.executemany("insert into t values (?, ?, ?)", [(i, a, b) for i, (a, b) in numbered])
        results.append(rake(con, "t", {"a": target_a, "b": target_b}).table)
        found = sums(con, results[-1], "a")
        assert found == pytest.approx(target_a, rel=1e-9)
        seed.shuffle(numbered)
    assert results[0].equals(results[1])


@pytest.mark.parametrize(
    ("margins", "options"),
    [
        (None, {}),
        (["sex"], {}),
        ([("sex",)], {}),
        ([("sex", None)], {}),
        ([("sex", [30, 30])], {}),
        ({"sex": {"F": "SECRET", "M": 30}}, {}),
        ({"sex": {"F": 30, 1: 30}}, {}),
        ({("sex", "stage"): {"F": 30, "M": 30}}, {}),
        ([("sex", pa.table({"sex": ["F", "M"], "n": ["SECRET", "30"]}))], {}),
        ([("size", pa.table({"size": ["SECRET", "2"], "n": [1, 2]}))], {}),
        ({"sex": {"F": 30, "M": 30}}, {"bounds": 3.0}),
        ({"sex": {"F": 30, "M": 30}}, {"trim": ("low", "high")}),
        ({"sex": {"F": 30, "M": 30}}, {"tolerance": "small"}),
    ],
)
def test_what_is_no_margin_is_refused_without_its_value(margins: object, options: dict) -> None:
    con = pupils()
    con.execute("create table s as select *, 2 as size from t")
    with pytest.raises(InputError) as refused:
        rake(con, "s", margins, **options)  # type: ignore[arg-type]
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("given", [{"by": ()}, {"over": ()}, {"population": {"SECRET": 1}}])
def test_a_standard_that_does_not_fit_is_refused(given: dict) -> None:
    con = pupils()
    con.execute("create table s as select *, 2 as size, 1.5 as y from t")
    call = {"by": "sex", "over": "size", "population": {2: 10}} | given
    with pytest.raises(InputError) as refused:
        standardised(con, "s", Design(), "y", **call)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("ids", ["[1, 1, 2]", "[1, null, 2]"])
def test_a_key_that_names_no_row_is_refused(ids: str) -> None:
    con = duckdb.connect()
    con.execute(f"create table t as select unnest({ids}) as record_id, unnest(['F','F','M']) as s")
    with pytest.raises(InputError, match="The key is null, or stands twice"):
        rake(con, "t", {"s": {"F": 10, "M": 10}})


def test_true_is_no_count() -> None:
    con = duckdb.connect()
    con.execute("create table t as select 1 as record_id, 'F' as s")
    with pytest.raises(InputError, match="something else than"):
        rake(con, "t", {"s": {"F": True}})


@pytest.mark.parametrize("key", [(), "weight", ["record_id", "Weight"]])
def test_a_key_without_columns_or_called_weight_is_refused(key) -> None:
    con = pupils()
    con.execute("create table s as select *, record_id as weight, record_id as Weight_ from t")
    with pytest.raises(InputError, match="The key has no columns"):
        rake(con, "s", {"sex": SEX}, key=key)


def test_nobody_to_weigh_and_nobody_counted_are_refused() -> None:
    con = pupils()
    con.execute("create table s as from t where false")
    with pytest.raises(InputError, match="no rows to weigh"):
        rake(con, "s", {"sex": pa.table({"sex": pa.array([], pa.string()), "n": [1.0][:0]})})
    con.execute("create table zero as select * replace (0.0 as w) from t")
    with pytest.raises(InputError, match="count nobody"):
        rake(con, "zero", {"sex": {"F": 0, "M": 0}}, weight="w")
    with pytest.raises(InputError, match="more than a number holds"):
        rake(con, "t", {"sex": {"F": 1e308, "M": 1e308}})


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_counts_of_any_size_have_a_report(factor: float) -> None:
    plain = rake(pupils(), "t", {"sex": SEX, "stage": STAGE}, weight="w").report
    margins = [{key: n * factor for key, n in counts.items()} for counts in (SEX, STAGE)]
    found = rake(pupils(), "t", dict(zip(["sex", "stage"], margins, strict=True)), weight="w")
    assert found.report.effective_n == pytest.approx(plain.effective_n, rel=1e-12)
    assert found.report.design_effect == pytest.approx(plain.design_effect, rel=1e-12)
    assert found.report.mean == pytest.approx(plain.mean * factor, rel=1e-12)


def test_the_order_of_finer_rows_changes_no_bit_of_a_weight() -> None:
    finer = pd.DataFrame(
        [(key, n / 700 + i / 3) for key, n in SEX.items() for i in range(300)],
        columns=["sex", "count"],
    )
    straight = post_stratify(pupils(), "t", "sex", finer)
    for seed in range(4):
        mixed = finer.sample(frac=1.0, random_state=seed)
        assert post_stratify(pupils(), "t", "sex", mixed).table == straight.table
        assert rake(pupils(), "t", {"sex": mixed}).table == straight.table


def test_a_margin_may_have_a_column_called_n() -> None:
    con = pupils()
    con.execute("create table s as select *, sex as n from t")
    assert rake(con, "s", {"n": SEX}).table == rake(con, "s", {"sex": SEX}).table
