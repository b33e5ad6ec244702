"""Standardisation, funnels, shrinkage and corrected p values against other sources."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import optimize, stats

from rcs_assets.errors import InputError
from rcs_assets.estimation import (
    Design,
    adjust,
    binomial_limits,
    estimate,
    funnel,
    shrink,
    standardised,
)

# Davies (1947), yields of six batches: lme4's example "Dyestuff".
DYESTUFF = {
    "A": [1545, 1440, 1440, 1520, 1580],
    "B": [1540, 1555, 1490, 1560, 1495],
    "C": [1595, 1550, 1605, 1510, 1560],
    "D": [1445, 1440, 1595, 1465, 1545],
    "E": [1595, 1630, 1515, 1635, 1625],
    "F": [1520, 1455, 1450, 1480, 1445],
}
# ranef() and VarCorr() of lmer(Yield ~ 1 + (1 | Batch), Dyestuff), as lme4 prints them.
LME4_EFFECTS = [-17.6068514, 0.3912634, 28.5622256, -23.0845385, 56.7331877, -44.9952868]
LME4_VARIANCES = (1764.05, 2451.25)


def areas_of(groups: dict) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "area": list(groups),
            "n": [len(values) for values in groups.values()],
            "mean": [np.mean(values) for values in groups.values()],
            "sd": [
                np.std(values, ddof=1) if len(values) > 1 else 0.0 for values in groups.values()
            ],
        }
    )


def test_shrinkage_equals_lme4() -> None:
    found = shrink(areas_of(DYESTUFF))
    assert (found.between_variance, found.within_variance) == pytest.approx(
        LME4_VARIANCES, rel=1e-10
    )
    effects = found.table["shrunken"].to_numpy() - found.mean
    assert effects == pytest.approx(LME4_EFFECTS, abs=1e-6)


def dense_reml(values, area):
    """The same model by its full covariance matrix and a general optimiser."""
    y, inside = (
        np.asarray(values, float),
        (np.asarray(area)[:, None] == np.asarray(area)).astype(float),
    )

    def criterion(logs):
        v = np.exp(logs[0]) * inside + np.exp(logs[1]) * np.eye(len(y))
        inverse, (_, log_v) = np.linalg.inv(v), np.linalg.slogdet(v)
        information = inverse.sum()
        rest = y - (inverse.sum(axis=0) @ y) / information
        return log_v + np.log(information) + rest @ inverse @ rest

    best = optimize.minimize(
        criterion,
        [0.0, 1.0],
        method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000},
    )
    return np.exp(best.x)


def test_shrinkage_of_unequal_areas_equals_a_dense_fit() -> None:
    rng = np.random.default_rng(5)
    groups = {
        k: list(rng.normal(rng.normal(0, 2), 3, size=n)) for k, n in enumerate([2, 5, 9, 14, 3, 7])
    }
    found = shrink(areas_of(groups))
    values = [v for members in groups.values() for v in members]
    area = [k for k, members in groups.items() for _ in members]
    between, within = dense_reml(values, area)
    assert found.between_variance == pytest.approx(between, rel=1e-4)
    assert found.within_variance == pytest.approx(within, rel=1e-4)
    for n, own, predicted in zip(
        *(found.table[name].to_pylist() for name in ("n", "mean", "shrunken")), strict=True
    ):
        weight = between / (between + within / n)
        assert predicted == pytest.approx(found.mean + weight * (own - found.mean), rel=1e-3)


def test_shares_shrink_by_the_same_model_and_areas_alike_wholly() -> None:
    shares = pd.DataFrame({"n": [20, 30, 25, 0], "mean": [0.4, 0.4, 0.4, None]})
    found = shrink(shares, sd=None)
    assert found.between_variance == 0.0
    assert found.table["shrunken"].to_pylist() == pytest.approx([0.4] * 4)


def test_what_cannot_be_shrunken_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be shrunken"):
        shrink(pd.DataFrame({"n": [1, 1], "mean": [0.0, 1.0]}), sd=None)


@pytest.mark.parametrize("n", [10, 57, 400])
def test_exact_limits_leave_out_what_they_say(n: int) -> None:
    low, high = binomial_limits(np.array([n]), 0.17, 0.95)
    below = stats.binom.cdf(np.ceil(low[0] * n) - 1, n, 0.17)
    upto = stats.binom.cdf(np.ceil(low[0] * n), n, 0.17)
    assert below <= 0.025 <= upto
    assert stats.binom.sf(np.ceil(high[0] * n), n, 0.17) <= 0.025


def test_a_funnel_by_hand() -> None:
    areas = pd.DataFrame({"n": [100, 200, 50], "count": [10, 44, 6]})
    plain = funnel(areas, overdispersion="none", winsorised=0.0).to_pandas()
    target = 60 / 350
    se = np.sqrt(target * (1 - target) / areas.n)
    z = (areas["count"] / areas.n - target) / se
    assert plain.z.to_numpy() == pytest.approx(z.to_numpy())
    assert plain.dispersion[0] == pytest.approx(max(1, (z**2).mean()))
    added = funnel(areas, overdispersion="additive", winsorised=0.0).to_pandas()
    w = 1 / se**2
    between = (3 * (z**2).mean() - 2) / (w.sum() - (w**2).sum() / w.sum())
    assert added.between_variance[0] == pytest.approx(between)
    wide = np.sqrt(se**2 + between)
    assert added.high_inner.to_numpy() == pytest.approx(target + stats.norm.ppf(0.975) * wide)
    times = funnel(areas, overdispersion="multiplicative", winsorised=0.0).to_pandas()
    assert times.z.to_numpy() == pytest.approx((z / np.sqrt((z**2).mean())).to_numpy())


def test_overdispersed_areas_raise_few_false_alarms() -> None:
    rng = np.random.default_rng(2)
    n = rng.integers(20, 400, size=2400)
    rates = rng.beta(0.2 * 60, 0.8 * 60, size=2400)
    areas = pd.DataFrame({"n": n, "count": rng.binomial(n, rates)})
    flagged = {
        kind: np.mean(
            np.array(funnel(areas, overdispersion=kind)["outside"].to_pylist()) == "outer"
        )
        for kind in ("none", "additive")
    }
    assert flagged["additive"] <= 0.01
    assert flagged["none"] > 0.03


def test_empty_areas_have_no_limits_and_bad_ones_are_refused() -> None:
    found = funnel(pd.DataFrame({"n": [0, 40, 50], "count": [0, 4, 20]})).to_pylist()
    assert (found[0]["share"], found[0]["low_outer"], found[0]["outside"]) == (None, None, "")
    with pytest.raises(InputError, match="outside 0 to n"):
        funnel(pd.DataFrame({"n": [5], "count": [6]}))


def test_corrected_p_values_equal_scipy_and_holm_by_hand() -> None:
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"p_value": rng.random(40) ** 3, "family": ["a", "b"] * 20})
    found = adjust(table, "bh", by="family").to_pandas()
    for name in ("a", "b"):
        mine = found[found.family == name]
        theirs = stats.false_discovery_control(mine.p_value, method="bh")
        assert mine.corrected_p.to_numpy() == pytest.approx(theirs, rel=1e-12)
    # Holm (1979): 0.005·4, 0.01·3, then 0.03·2 carries 0.04·1.
    four = pd.DataFrame({"p_value": [0.01, 0.04, 0.03, None, 0.005]})
    assert adjust(four, "holm")["corrected_p"].to_pylist() == pytest.approx(
        [0.03, 0.06, 0.06, None, 0.02]
    )


def test_bad_p_values_are_refused() -> None:
    with pytest.raises(InputError, match="outside 0 to 1"):
        adjust(pd.DataFrame({"p_value": [1.2]}), "bh")
    with pytest.raises(InputError, match="not available"):
        adjust(pd.DataFrame({"p_value": [0.2]}), "sidak")


PUPILS = """
    create table pupils as
    select
        'area' || (school % 4) as area, school, ['F', 'M'][1 + (hash(i) % 2)::int] as sex,
        'S' || (1 + hash(i, 1) % 3) as stage, 0.5 + (hash(i, 2) % 10) / 5.0 as w,
        case when hash(i, 3) % 9 > 0 then (hash(i, 4) % 10 < 3 + school % 4)::int end as has_it,
    from (select i, i % 20 as school from range(2000) r(i))
"""
STANDARD = {
    ("F", "S1"): 10,
    ("F", "S2"): 20,
    ("F", "S3"): 5,
    ("M", "S1"): 30,
    ("M", "S2"): 5,
    ("M", "S3"): 30,
}


@pytest.fixture(scope="module")
def pupils() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(PUPILS)
    return con


def test_standardised_rates_are_those_of_the_standard_mix(pupils) -> None:
    design = Design(clusters="school", weight="w")
    found = standardised(
        pupils, "pupils", design, "has_it", "area", ["sex", "stage"], STANDARD, ci="logit"
    ).to_pylist()
    frame = pupils.sql("select * from pupils where has_it is not null").df()
    for row in found:
        mine = frame[frame.area == row["area"]]
        cells = mine.groupby(["sex", "stage"])[["w", "has_it"]].apply(
            lambda cell: np.average(cell.has_it, weights=cell.w)
        )
        expected = sum(cells[key] * n for key, n in STANDARD.items()) / sum(STANDARD.values())
        assert row["estimate"] == pytest.approx(expected, rel=1e-12)
        assert 0 < row["ci_low"] < row["estimate"] < row["ci_high"] < 1


def test_the_own_mix_as_standard_changes_nothing(pupils) -> None:
    design = Design(clusters="school", weight="w")
    pupils.execute(
        "create or replace temp view one as "
        "select *, 'x' as every from pupils where has_it is not null"
    )
    mix = {
        (sex, stage): n
        for sex, stage, n in pupils.execute(
            "select sex, stage, sum(w) from one group by all"
        ).fetchall()
    }
    found = standardised(pupils, "one", design, "has_it", "every", ["sex", "stage"], mix)
    plain = estimate(pupils, "one", design, "has_it", by="every")
    for name in ("estimate", "se", "ci_low", "n", "df"):
        assert found[name].to_pylist() == pytest.approx(plain[name].to_pylist(), rel=1e-9)


def test_a_group_without_a_cell_of_the_standard_has_a_reason(pupils) -> None:
    pupils.execute(
        "create or replace temp view gap as from pupils where not (area = 'area1' and stage = 'S2')"
    )
    rows = standardised(
        pupils,
        "gap",
        Design(clusters="school", weight="w"),
        "has_it",
        "area",
        ["sex", "stage"],
        STANDARD,
    ).to_pylist()
    assert [row["reason"] for row in rows] == ["", "empty_cell", "", ""]
    assert (rows[1]["estimate"], rows[1]["se"]) == (None, None)


def test_a_negative_standard_is_refused(pupils) -> None:
    with pytest.raises(InputError, match="negative"):
        standardised(
            pupils, "pupils", Design(weight="w"), "has_it", "area", "sex", {"F": -1, "M": 2}
        )


@pytest.mark.parametrize("factor", [1e-60, 1e-11, 1e25, 1e60])
def test_what_all_weights_have_in_common_changes_no_standardised_mean(pupils, factor) -> None:
    pupils.execute(
        f"create or replace temp view scaled as select *, w * {factor!r}::double as v from pupils"
    )
    call = ("has_it", "area", ["sex", "stage"], STANDARD)
    plain = standardised(pupils, "pupils", Design(clusters="school", weight="w"), *call)
    found = standardised(pupils, "scaled", Design(clusters="school", weight="v"), *call)
    for name in ("estimate", "se", "ci_low", "ci_high"):
        assert found[name].to_pylist() == pytest.approx(plain[name].to_pylist(), rel=1e-12)


def test_names_of_the_caller_stay_apart_from_those_of_the_standardisation(pupils) -> None:
    con = duckdb.connect()
    con.register("given", pupils.sql("from pupils").to_arrow_table())
    con.execute(
        "create temp view rcs_standardised as select *, sex as n, stage as whole_n, "
        "area as cell_weight, area as group_weight, 3 as rcs_standard_weight, 4 as rcs_by0 "
        "from given"
    )
    con.register("rcs_standard", pa.table({"mine": [1]}))
    design = Design(clusters="school", weight="w")
    plain = standardised(con, "given", design, "has_it", "area", ["sex", "stage"], STANDARD)
    for group in ("area", "cell_weight", "group_weight"):
        found = standardised(
            con, "rcs_standardised", design, "has_it", group, ["n", "whole_n"], STANDARD
        )
        assert found["estimate"].to_pylist() == plain["estimate"].to_pylist()
    assert con.sql("select count(*) from rcs_standardised").fetchall()[0][0] > 0
    assert con.sql("from rcs_standard").fetchall() == [(1,)]


@pytest.mark.parametrize("counts", [(0, 0), (float("nan"), 1), (float("inf"), 1)])
def test_a_standard_without_a_mix_is_refused_as_such(pupils, counts) -> None:
    population = dict(zip("FM", counts, strict=True))
    with pytest.raises(InputError, match="standard population"):
        standardised(pupils, "pupils", Design(weight="w"), "has_it", "area", "sex", population)


def test_the_order_of_rows_changes_no_bit_of_a_standardised_mean(pupils) -> None:
    rows = pupils.sql("from pupils").to_arrow_table()
    mix = [(*key, n / 7 + number / 3) for key, n in STANDARD.items() for number in range(50)]
    standard = pd.DataFrame(mix, columns=["sex", "stage", "count"])
    found = []
    for seed in (1, 2, 3):
        order = np.random.default_rng(seed)
        con = duckdb.connect()
        con.register("t", rows.take(order.permutation(rows.num_rows)))
        shuffled = standard.iloc[order.permutation(len(standard))]
        design = Design(clusters="school", weight="w")
        found.append(standardised(con, "t", design, "has_it", "area", ["sex", "stage"], shuffled))
    assert found[0] == found[1] == found[2]


def test_an_unknown_count_leaves_out_its_own_area_alone() -> None:
    given = pd.DataFrame({"n": [5, 10, 20, 400], "count": [None, 2, 3, 300]})
    found = funnel(given).to_pylist()
    known = funnel(given.iloc[1:]).to_pylist()
    assert (found[0]["share"], found[0]["z"], found[0]["low_outer"]) == (None, None, None)
    assert [row["target"] for row in found] == [305 / 430] * 4
    assert [row["high_inner"] for row in found[1:]] == [row["high_inner"] for row in known]


AREAS = pd.DataFrame({"n": [30, 40, 50], "count": [3, 9, 20]})


@pytest.mark.parametrize(
    "options",
    [
        {"target": 2},
        {"target": -0.1},
        {"target": float("nan")},
        {"target": "x"},
        {"levels": (0.998, 0.95)},
        {"levels": 0.95},
        {"levels": (0.95,)},
        {"levels": ("a", "b")},
        {"winsorised": -1},
        {"winsorised": 0.5},
        {"winsorised": float("nan")},
        {"winsorised": "a"},
    ],
)
def test_what_a_funnel_cannot_use_is_refused(options) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))}|argument level"):
        funnel(AREAS, **options)


@pytest.mark.parametrize("n", [5.5, float("inf"), -5])
def test_observations_are_counted_in_whole_numbers(n) -> None:
    with pytest.raises(InputError, match="column"):
        funnel(pd.DataFrame({"n": [n, 40.0], "count": [None, 2.0]}))


MEANS = {"n": [5, 6, 7], "mean": [1.0, 2.0, 4.0], "sd": [1.0, 1.0, 2.0]}


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"n": [-5, 6, 7]}, "n"),
        ({"n": [float("inf"), 6, 7]}, "n"),
        ({"mean": [None, 2.0, 4.0]}, "mean"),
        ({"mean": [float("nan"), 2.0, 4.0]}, "mean"),
        ({"mean": [float("inf"), 2.0, 4.0]}, "mean"),
        ({"sd": [None, 1.0, 2.0]}, "sd"),
        ({"sd": [-1.0, 1.0, 2.0]}, "sd"),
    ],
)
def test_areas_without_a_usable_mean_or_spread_are_refused(changed, column) -> None:
    with pytest.raises(InputError, match=f"Column {column} cannot be used"):
        shrink(pa.table(MEANS | changed))


def test_shares_beyond_one_and_a_nameless_spread_are_refused() -> None:
    with pytest.raises(InputError, match="Column mean cannot be used"):
        shrink(pa.table(MEANS | {"mean": [0.5, 1.5, 0.2]}), sd=None)
    with pytest.raises(InputError, match="Unknown column"):
        shrink(pa.table(MEANS), sd="")


def corrected(table):
    return adjust(table, "holm", p_value="n")


@pytest.mark.parametrize("engine", [funnel, shrink, corrected])
@pytest.mark.parametrize(
    "given",
    [
        None,
        "SECRET",
        [1, 2],
        pd.DataFrame([[1, 1]], columns=["n", "n"]),
        pa.table([[1], [1]], names=["n", "n"]),
        pd.DataFrame({"n": [1, "SECRET"], "count": 1, "mean": 1.0, "sd": 1.0}),
        pd.DataFrame({"n": ["SECRET"], "count": 1, "mean": 1.0, "sd": 1.0}),
        pd.DataFrame({"n": [pd.Timestamp("1999-01-01")], "count": 1, "mean": 1.0, "sd": 1.0}),
        pd.DataFrame({"n": [True], "count": 1, "mean": 1.0, "sd": 1.0}),
        duckdb.connect().sql("select error('SECRET')::int as n, 1 as count, 1 as mean, 1 as sd"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_without_its_values(engine, given) -> None:
    with pytest.raises(InputError) as refused:
        engine(given)
    shown = str(refused.value) + str(refused.value.__cause__ or "")
    assert "SECRET" not in shown
    assert "1999" not in shown


def test_columns_that_a_result_adds_are_not_doubled() -> None:
    for name in ("share", "z", "outside"):
        with pytest.raises(InputError, match=f"adds: {name}"):
            funnel(AREAS.assign(**{name: 1}))
    with pytest.raises(InputError, match="adds: reliability"):
        shrink(pd.DataFrame(MEANS).assign(reliability=1))
    with pytest.raises(InputError, match="adds: corrected_p"):
        adjust(pd.DataFrame({"p_value": [0.1], "corrected_p": [0.1]}), "bh")


def test_corrected_p_values_leave_the_names_of_the_table() -> None:
    given = pa.table({"p_value": [0.02, 0.01], "P_VALUE": [0.9, 0.8], "rcs_row": [7, 7]})
    found = adjust(given, "holm")
    assert found.drop_columns(["corrected_p"]) == given
    assert found["corrected_p"].to_pylist() == [0.02, 0.02]


def test_the_order_of_areas_changes_no_bit() -> None:
    rng = np.random.default_rng(4)
    n = rng.integers(2, 90, size=500)
    areas = pd.DataFrame({"area": np.arange(500), "n": n, "count": rng.binomial(n, 0.3)})
    areas = areas.assign(mean=rng.normal(size=500) * 1e3, sd=rng.uniform(0.1, 9.0, size=500))
    for engine in (funnel, lambda table: shrink(table).table):
        straight = engine(areas).to_pandas()
        mixed = engine(areas.sample(frac=1.0, random_state=1)).to_pandas()
        mixed = mixed.sort_values("area", ignore_index=True)
        pd.testing.assert_frame_equal(straight, mixed, check_exact=True)


def test_groups_of_lists_are_not_standardised(pupils) -> None:
    pupils.execute("create or replace temp view listed as select *, [area] as areas from pupils")
    with pytest.raises(InputError, match="Values that hold several: areas"):
        standardised(
            pupils, "listed", Design(weight="w"), "has_it", "areas", "sex", {"F": 1, "M": 2}
        )


def test_one_huge_area_leaves_the_variance_between_areas_finite() -> None:
    found = funnel(pa.table({"n": [2**62, 5, 9], "count": [2**61, 5, 0]}), winsorised=0.0)
    assert 0 < found["between_variance"][0].as_py() < 1
