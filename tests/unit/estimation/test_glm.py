"""Models against R survey's values, a textbook variance of two stages, and reasons."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import optimize

from rcs_assets.errors import InputError
from rcs_assets.estimation import Design, fit_glm, glm, marginal_effects, model_checks
from tests.unit.estimation.test_r_reference import CLOSED_FORM, DESIGNS, ITERATED, table_of

NAMES = {"estimate": "estimate", "se": "se", "ci_low": "ci_l", "ci_high": "ci_u"}

# 12 of 40 areas, in each 3 of 8 classes; a third of the rows lack x.
TWO_STAGES = """
    create table t as
    select
        area, area * 100 + klass as klass, 40 as areas_n, 8 as klasses_n,
        (40 / 12.0) * (8 / 3.0) * (1 + area % 3) as w,
        case when hash(i, 9) % 3 > 0 then (hash(i, 1) % 100) / 10.0 end as x,
        ['a', 'b', 'c'][1 + (hash(i, 2) % 3)::int] as g,
        (hash(area, 3) % 40)::double / 10 + (hash(klass, area, 4) % 20) / 10.0
            + (hash(i, 5) % 30) / 10.0 as y,
        ((hash(area, 6) % 5 + hash(i, 7) % 9) > 6)::int as flag,
        (hash(i, 8) % 4)::int as visits,
    from (select i, i % 12 as area, i // 12 % 3 as klass from range(720) r(i))
"""
DESIGN = Design(clusters=["area", "klass"], weight="w", fpc=["areas_n", "klasses_n"])


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute(TWO_STAGES)
    return made


@pytest.mark.parametrize("name", DESIGNS)
def test_models_equal_r(
    api: duckdb.DuckDBPyConnection, r_values: pl.DataFrame, r_converged: pl.DataFrame, name: str
) -> None:
    models = [
        ("api00~ell+meals+mobility", "gaussian", r_values, CLOSED_FORM),
        ("sw~ell+meals+mobility", "quasibinomial", r_converged, ITERATED),
    ]
    for formula, family, reference, bound in models:
        theirs = reference.filter(design=name, fun=f"svyglm_{family}")
        assert theirs.height == 16
        for row in glm(api, table_of(name), DESIGNS[name], formula, family).to_pylist():
            for ours, stat in NAMES.items():
                wanted = theirs.filter(variable=f"{formula}:{row['variable']}", stat=stat)
                assert row[ours] == pytest.approx(wanted["value"][0], rel=bound)


def textbook(con: duckdb.DuckDBPyConnection, family: str, outcome: str):
    """Coefficients by a general optimiser and the two-stage variance, written out."""
    frame = con.sql("select * from t").df()
    kept = frame["x"].notna().to_numpy()
    x = frame["x"].fillna(0).to_numpy()
    design = np.column_stack([np.ones(len(x)), x, frame.g == "b", frame.g == "c"]).astype(float)
    y, w = frame[outcome].to_numpy(float), frame.w.to_numpy() * kept
    mean = {
        "gaussian": lambda eta: eta,
        "binomial": lambda eta: 1 / (1 + np.exp(-eta)),
        "poisson": np.exp,
    }[family]

    def score(beta):
        return (w * (y - mean(design @ beta))) @ design

    beta = optimize.root(score, np.zeros(4), tol=1e-13).x
    slope = {
        "gaussian": np.ones_like,
        "binomial": lambda m: m * (1 - m),
        "poisson": lambda m: m,
    }[family](mean(design @ beta))
    inverse = np.linalg.inv((design * (w * slope)[:, None]).T @ design)
    z = (design * (w * (y - mean(design @ beta)))[:, None]) @ inverse
    areas = frame.area.to_numpy()
    totals = np.array([z[areas == a].sum(axis=0) for a in range(12)])
    about = totals - totals.mean(axis=0)
    variance = (1 - 12 / 40) * 12 / 11 * about.T @ about
    for area in range(12):
        klasses = frame.klass.to_numpy()
        inside = np.array([z[klasses == k].sum(axis=0) for k in np.unique(klasses[areas == area])])
        about = inside - inside.mean(axis=0)
        variance += 12 / 40 * (1 - 3 / 8) * 3 / 2 * about.T @ about
    return beta, np.sqrt(np.diag(variance))


@pytest.mark.parametrize(
    ("family", "outcome"), [("gaussian", "y"), ("binomial", "flag"), ("poisson", "visits")]
)
def test_two_stages_with_fpc_keep_the_second(con, family: str, outcome: str) -> None:
    beta, se = textbook(con, family, outcome)
    rows = glm(con, "t", DESIGN, f"{outcome} ~ x + g", family).to_pylist()
    assert [row["variable"] for row in rows] == ["(Intercept)", "x", "gb", "gc"]
    assert [row["estimate"] for row in rows] == pytest.approx(beta, rel=1e-8)
    assert [row["se"] for row in rows] == pytest.approx(se, rel=1e-8)
    assert {row["df"] for row in rows} == {12 - 1 + 1 - 4}


def test_neither_row_order_nor_threads_change_a_bit(con) -> None:
    first = glm(con, "t", DESIGN, "flag ~ x * g", "binomial")
    con.execute("create or replace table shuffled as from t order by hash(klass, x, y)")
    con.execute("set threads = 1")
    again = glm(con, "shuffled", DESIGN, "flag ~ x * g", "binomial")
    con.execute("reset threads")
    assert first.equals(again)


def perturbed(con, formula: str, family: str, row: int, step: float):
    """A model in which one row weighs a little more."""
    con.execute(
        f"create or replace temp table moved as select * replace (w + if(i = {row}, {step}, 0) "
        "as w) from (select *, row_number() over () - 1 as i from (from t where x is not null "
        "order by all))"
    )
    return fit_glm(con, "moved", Design(clusters="area", weight="w"), formula, family)


@pytest.mark.parametrize("row", [0, 57, 311])
def test_influences_are_what_a_little_weight_moves(con, row: int) -> None:
    step = 1e-4
    models = [perturbed(con, "flag ~ x + g", "binomial", row, s) for s in (0.0, step, -step)]
    moved = (models[1].coefficients - models[2].coefficients) / (2 * step)
    # Rows of the model stand in an order of their own: one of them must move it so.
    gaps = np.abs(models[0].influence - moved).sum(axis=1)
    assert gaps.min() <= 1e-6 * np.abs(moved).sum()


def test_marginal_effects_equal_a_jackknife_of_the_whole_recipe(con) -> None:
    design = Design(clusters="area", weight="w")
    whole = marginal_effects(con, design, fit_glm(con, "t", design, "flag ~ x + g", "binomial"))
    left_out = []
    for area in range(12):
        con.execute(f"create or replace temp view rest as from t where area <> {area}")
        model = fit_glm(con, "rest", design, "flag ~ x + g", "binomial")
        left_out.append(marginal_effects(con, design, model)["estimate"].to_numpy())
    spread = np.array(left_out) - np.mean(left_out, axis=0)
    jackknife = np.sqrt(11 / 12 * (spread**2).sum(axis=0))
    assert whole["variable"].to_pylist() == ["x", "g", "g"]
    assert whole["level"].to_pylist() == [None, "b", "c"]
    assert whole["se"].to_numpy() == pytest.approx(jackknife, rel=0.12)


def test_a_marginal_effect_of_a_linear_model_is_its_coefficient(con) -> None:
    model = fit_glm(con, "t", DESIGN, "y ~ x + g", "gaussian")
    effects = marginal_effects(con, DESIGN, model)
    assert effects["estimate"].to_numpy() == pytest.approx(model.coefficients[1:], rel=1e-12)
    assert effects["se"].to_numpy() == pytest.approx(model.se[1:], rel=1e-9)


def test_checks_of_a_model(con) -> None:
    model = fit_glm(con, "t", DESIGN, "flag ~ x + g", "binomial")
    rows = {row["check"]: row for row in model_checks(con, DESIGN, model).to_pylist()}
    fitted, outcome, weight = model.fitted(), model.data.outcome, model.data.weight
    yes, no = outcome == 1, outcome == 0
    above = (fitted[yes][:, None] > fitted[no]) + 0.5 * (fitted[yes][:, None] == fitted[no])
    pairs = weight[yes][:, None] * weight[no]
    assert rows["discrimination"]["value"] == pytest.approx((above * pairs).sum() / pairs.sum())
    assert 1.0 <= rows["collinearity"]["value"] < 2.0
    assert 0.0 < rows["fit"]["p_value"] <= 1.0


@pytest.mark.slow
def test_the_check_of_fit_rejects_a_true_model_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    rejected = []
    for _ in range(300):
        n, x = 800, rng.normal(size=800)
        flag = rng.random(n) < 1 / (1 + np.exp(0.5 - x))
        con = duckdb.connect()
        con.register("made", pl.DataFrame({"x": x, "flag": flag.astype(int), "u": range(n)}))
        design = Design(clusters="u")
        model = fit_glm(con, "made", design, "flag ~ x", "binomial")
        rejected.append(model_checks(con, design, model)["p_value"][0].as_py() < 0.05)
    assert 0.02 <= np.mean(rejected) <= 0.09


def test_the_check_of_fit_finds_a_missing_square() -> None:
    rng = np.random.default_rng(12)
    x = rng.normal(size=3000)
    flag = rng.random(3000) < 1 / (1 + np.exp(1 - 1.2 * x**2))
    con = duckdb.connect()
    con.register("made", pl.DataFrame({"x": x, "flag": flag.astype(int), "u": range(3000)}))
    model = fit_glm(con, "made", Design(clusters="u"), "flag ~ x", "binomial")
    assert model_checks(con, Design(clusters="u"), model)["p_value"][0].as_py() < 1e-6


@pytest.mark.parametrize(
    ("formula", "family", "reasons"),
    [
        ("flag ~ x + I(2 * x)", "binomial", ["", "", "collinear"]),
        ("same ~ x", "binomial", ["all_equal", "all_equal"]),
        ("is_a ~ g", "binomial", ["separated"] * 3),
        ("y ~ nothing", "gaussian", ["no_data", "no_data"]),
    ],
)
def test_what_a_model_cannot_say_has_a_reason(con, formula, family, reasons) -> None:
    con.execute(
        "create or replace temp view odd as select *, 1 as same, (g = 'a')::int as is_a, "
        "null::double as nothing from t"
    )
    rows = glm(con, "odd", DESIGN, formula, family).to_pylist()
    assert [row["reason"] for row in rows] == reasons
    for row in rows:
        assert (row["estimate"] is None) == bool(row["reason"])


def test_a_lonely_unit_leaves_coefficients_without_an_error(con) -> None:
    con.execute("create or replace temp view lone as select *, area = 3 as alone from t")
    design = Design(strata="alone", clusters="area", weight="w")
    for row in glm(con, "lone", design, "y ~ x", "gaussian").to_pylist():
        assert row["reason"] == "lonely_psu"
        assert row["estimate"] is not None
        assert row["se"] is None


def test_more_coefficients_than_units_have_no_interval(con) -> None:
    con.execute("create or replace temp view few as from t where area < 3")
    rows = glm(con, "few", Design(clusters="area", weight="w"), "y ~ x + g", "gaussian")
    assert set(rows["reason"].to_pylist()) == {"no_df"}
    assert rows["ci_low"].null_count == 4
    assert rows["se"].null_count == 0


@pytest.mark.parametrize(
    ("formula", "family", "message"),
    [
        ("y + x", "gaussian", "no model formula"),
        ("unknown ~ x", "gaussian", "Unknown column: unknown"),
        ("y ~ x +", "gaussian", "cannot be used"),
        ("y ~ __import__('os')", "gaussian", "cannot be used"),
        ("y ~ x", "binomial", "outside the family"),
        ("y ~ x", "gamma", "family 'gamma'"),
        ("g ~ x", "binomial", "one number a row"),
    ],
)
def test_bad_input_is_refused_in_words(con, formula: str, family: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        glm(con, "t", DESIGN, formula, family)


@pytest.mark.parametrize("formula", ["y ~ log(x - 5)", "log(y - 4) ~ x", "y ~ np.exp(1000 * x)"])
def test_a_term_without_a_value_in_some_rows_is_refused(
    con: duckdb.DuckDBPyConnection, formula: str
) -> None:
    with pytest.raises(InputError, match=r"no finite value in [0-9]+ rows"):
        glm(con, "t", DESIGN, formula)


@pytest.mark.parametrize(("design", "formula"), [(None, "y ~ x"), (DESIGN, None)])
def test_what_is_no_argument_of_a_model_is_refused(
    con: duckdb.DuckDBPyConnection, design: Design, formula: str
) -> None:
    with pytest.raises(InputError, match=r"argument (design|formula)"):
        glm(con, "t", design, formula)


@pytest.mark.parametrize(
    "term",
    [
        '{__import__("os").mkdir("PWNED")*x}',
        '{__import__("os").mkdir("PWNED")}',
        'I(__import__("os").mkdir("PWNED"))',
        "x.__class__",
        "np.core",
        "np.load('PWNED')",
        "log(x, y)",
        "rcs_v1",
        "`no such column`",
        "C(x, 'SECRET')",
        "x|g",
        "x + 2x",
        "C(x, 2)",
        ".",
    ],
)
def test_a_formula_runs_nothing_but_what_formulas_know(con, tmp_path, monkeypatch, term) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot be used"):
        glm(con, "t", DESIGN, f"y ~ {term}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("term", "names"),
    [
        ("poly(x, 2)", ["poly(x, 2)1", "poly(x, 2)2"]),
        ("bs(x, df=4)", ["bs(x, df=4)1", "bs(x, df=4)2", "bs(x, df=4)3", "bs(x, df=4)4"]),
        ("I(x ** 2) + np.sqrt(x + 1)", ["I(x ** 2)", "np.sqrt(x + 1)"]),
        ("I(x > 1.5e0) - 1 + x:flag", ["I(x > 1.5)", "x:flag"]),
    ],
)
def test_documented_functions_of_formulas_stay(con, term, names) -> None:
    rows = glm(con, "t", DESIGN, f"y ~ {term}")
    found = rows["variable"].to_pylist()
    assert [name for name in found if name != "(Intercept)"][-len(names) :] == names
    assert set(rows["reason"].to_pylist()) <= {"", "collinear"}


@pytest.mark.parametrize("formula", ["y ~ y", "log(y + 1) ~ x + I(y ** 2)", "`y` ~ x:y"])
def test_an_outcome_that_explains_itself_is_refused(con, formula: str) -> None:
    with pytest.raises(InputError, match="explains itself: y"):
        glm(con, "t", DESIGN, formula)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("column", ["x", "y"])
def test_a_variable_that_is_not_finite_is_refused_as_by_estimate(con, column, value) -> None:
    other = f"case when area = 3 then '{value}'::double else {column} end as {column}"
    con.execute(f"create or replace temp view odd as select * replace ({other}) from t")
    with pytest.raises(InputError, match=f"Column {column} holds values that are not finite"):
        glm(con, "odd", DESIGN, "y ~ x")


@pytest.mark.parametrize("far", [2e5, 1e8, 1e10])
@pytest.mark.parametrize(("outcome", "family"), [("y", "gaussian"), ("flag", "binomial")])
def test_a_variable_far_from_zero_is_not_collinear(con, outcome, family, far) -> None:
    con.execute(f"create or replace temp view odd as select *, x + {far} as z from t")
    near = glm(con, "t", DESIGN, f"{outcome} ~ x + g", family).to_pylist()
    found = glm(con, "odd", DESIGN, f"{outcome} ~ z + g", family).to_pylist()
    for ours, wanted in zip(found[1:], near[1:], strict=True):
        assert (ours["reason"], ours["n"]) == ("", wanted["n"])
        for name in ("estimate", "se", "p_value"):
            assert ours[name] == pytest.approx(wanted[name], rel=far * 1e-15 + 1e-9)


def test_a_spread_that_is_rounding_stays_collinear(con) -> None:
    con.execute("create or replace temp view odd as select *, x + 1e13 as z from t")
    rows = glm(con, "odd", DESIGN, "y ~ z + g").to_pylist()
    assert [row["reason"] for row in rows] == ["", "collinear", "", ""]


@pytest.mark.parametrize("name", ["rcs_u0", "rcs_inside", "RCS_U1"])
def test_a_design_column_may_be_called_as_ours_are(con, name: str) -> None:
    con.execute(f'create or replace temp view odd as select *, area % 2 as "{name}" from t')
    con.execute("create or replace temp view even as select *, area % 2 as half from t")
    found, wanted = (
        glm(con, table, Design(strata=stratum, clusters="area", weight="w"), "y ~ x")
        for table, stratum in (("odd", name), ("even", "half"))
    )
    assert found == wanted


def test_a_variable_of_lists_is_refused(con) -> None:
    con.execute("create or replace temp view odd as select *, [g] as listed from t")
    with pytest.raises(InputError, match="Values that hold several: listed"):
        glm(con, "odd", DESIGN, "y ~ listed")
