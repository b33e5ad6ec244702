"""Variances of complex designs against a separate implementation, and what a design refuses.

The separate implementation follows the textbook (Särndal, Swensson and Wretman 1992,
result 4.3.1) by plain recursion over rows, on data of this test.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict

import duckdb
import pytest

from rcs_assets.errors import InputError
from rcs_assets.estimation import Design, estimate

STAGES = [
    ("region", "school", "schools_n"),
    (None, "klass", "klasses_n"),
    (None, "pupil", "pupils_n"),
]


def three_stage_rows(seed: int) -> list[dict]:
    """Two regions, sampled schools, classes and pupils, with sizes of each population."""
    chance = random.Random(seed)
    rows, pupil = [], 0
    for region, schools_n in (("north", 9), ("south", 14)):
        for school in range(4):
            klasses_n = chance.randint(3, 6)
            for klass in range(3):
                pupils_n = chance.randint(4, 30)
                for _ in range(4):
                    pupil += 1
                    rows.append(
                        {
                            "region": region,
                            "school": f"{region}{school}",
                            "klass": klass,
                            "pupil": pupil,
                            "schools_n": schools_n,
                            "klasses_n": klasses_n,
                            "pupils_n": pupils_n,
                            "w": schools_n / 4 * klasses_n / 3 * pupils_n / 4,
                            "sex": chance.choice("FM"),
                            "y": chance.choice([None, *range(10)]),
                        }
                    )
    return rows


def textbook_variance(rows: list[dict], stage: int = 0) -> float:
    """Variance of the sum of z over a sample of units inside units, with replacement never."""
    if stage == len(STAGES):
        return 0.0
    stratum_column, unit_column, size_column = STAGES[stage]
    strata = defaultdict(lambda: defaultdict(list))
    for row in rows:
        strata[row[stratum_column] if stratum_column else None][row[unit_column]].append(row)
    variance = 0.0
    for units in strata.values():
        n, size = len(units), next(iter(units.values()))[0][size_column]
        sums = [math.fsum(row["z"] for row in unit) for unit in units.values()]
        centre = math.fsum(sums) / n
        spread = math.fsum((value - centre) ** 2 for value in sums)
        variance += (1 - n / size) * n / (n - 1) * spread
        variance += n / size * math.fsum(textbook_variance(u, stage + 1) for u in units.values())
    return variance


def expected_mean(rows: list[dict], sex: str | None) -> tuple[float, float]:
    inside = [r for r in rows if r["y"] is not None and sex in (None, r["sex"])]
    weight = math.fsum(r["w"] for r in inside)
    mean = math.fsum(r["w"] * r["y"] for r in inside) / weight
    for row in rows:
        row["z"] = row["w"] * (row["y"] - mean) / weight if row in inside else 0.0
    return mean, math.sqrt(textbook_variance(rows))


def load(rows: list[dict]) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    names = list(rows[0])
    con.execute(
        "create table t (region text, school text, klass int, pupil int, schools_n int, "
        "klasses_n int, pupils_n int, w double, sex text, y double)"
    )
    marks = ", ".join("?" for _ in names)
    con.executemany(f"insert into t values ({marks})", [[r[n] for n in names] for r in rows])
    return con


THREE_STAGES = Design(
    strata="region",
    clusters=["school", "klass", "pupil"],
    weight="w",
    fpc=["schools_n", "klasses_n", "pupils_n"],
)


@pytest.mark.parametrize("seed", [1, 2])
def test_three_stages_with_fpc_equal_the_textbook(seed: int) -> None:
    rows = three_stage_rows(seed)
    con = load(rows)
    whole = estimate(con, "t", THREE_STAGES, ["y"]).to_pylist()[0]
    by_sex = estimate(con, "t", THREE_STAGES, ["y"], by="sex").to_pylist()
    for row, sex in [(whole, None), *((r, r["sex"]) for r in by_sex)]:
        mean, se = expected_mean(rows, sex)
        assert row["estimate"] == pytest.approx(mean, rel=1e-12)
        assert row["se"] == pytest.approx(se, rel=1e-12)


def test_fractions_and_sizes_say_the_same() -> None:
    con = load(three_stage_rows(3))
    con.execute(
        "create view f as select *, 4 / schools_n as f1, 3 / klasses_n as f2, 4 / pupils_n as f3 "
        "from t"
    )
    by_fraction = Design("region", ["school", "klass", "pupil"], "w", ["f1", "f2", "f3"])
    sizes = estimate(con, "t", THREE_STAGES, ["y"]).to_pylist()[0]
    fractions = estimate(con, "f", by_fraction, ["y"]).to_pylist()[0]
    assert fractions["se"] == pytest.approx(sizes["se"], rel=1e-12)


def test_without_fpc_later_stages_change_nothing() -> None:
    con = load(three_stage_rows(4))
    one = estimate(con, "t", Design("region", ["school"], "w"), ["y"])
    three = estimate(con, "t", Design("region", ["school", "klass", "pupil"], "w"), ["y"])
    assert one.equals(three)


def test_units_without_the_domain_count_as_zeros() -> None:
    """A domain in 3 of 4 schools: dropping the fourth would give another error."""
    con = duckdb.connect()
    con.execute(
        "create table t as select * from (values (1, 'a', 1.0), (1, 'a', 0.0), (2, 'a', 1.0), "
        "(3, 'a', 0.0), (3, 'b', 1.0), (4, 'b', 0.0)) v(school, grp, y)"
    )
    row = estimate(con, "t", Design(clusters="school"), ["y"], by="grp").to_pylist()[0]
    z = [0.0, 0.5 / 4, -0.5 / 4, 0.0]  # sums of (y - 1/2) / 4 by school; school 4 has none
    z = [(1 + 0 - 1) / 4, 0.5 / 4, -0.5 / 4, 0.0]
    assert row["estimate"] == 0.5
    assert row["se"] == pytest.approx(math.sqrt(4 / 3 * math.fsum(v * v for v in z)), rel=1e-14)
    assert row["df"] == 2


LONELY = """
    create table t as select * from (values
        ('s1', 1, 'g', 1.0), ('s1', 2, 'g', 3.0), ('s2', 3, 'h', 7.0), ('s2', 3, 'h', 5.0)
    ) v(stratum, school, grp, y)
"""


def lonely(policy: str, by: str | None = None) -> list[dict]:
    con = duckdb.connect()
    con.execute(LONELY)
    design = Design("stratum", "school", lonely_psu=policy)
    return estimate(con, "t", design, ["y"], by=by).to_pylist()


def test_a_lonely_unit_leaves_the_estimate_and_says_why() -> None:
    row = lonely("missing")[0]
    assert (row["estimate"], row["se"], row["ci_low"], row["reason"]) == (
        4.0,
        None,
        None,
        "lonely_psu",
    )
    unaffected, affected = lonely("missing", by="grp")
    assert unaffected["se"] is not None and unaffected["reason"] == ""
    assert affected["se"] is None and affected["reason"] == "lonely_psu"


def test_a_lonely_unit_as_certainty_and_adjusted() -> None:
    z = [(1 - 4) / 4, (3 - 4) / 4, (7 - 4 + 5 - 4) / 4]
    certain = 2 * ((z[0] - z[1]) / 2) ** 2 * 2
    assert lonely("certainty")[0]["se"] == pytest.approx(math.sqrt(certain))
    assert lonely("adjust")[0]["se"] == pytest.approx(math.sqrt(certain + z[2] ** 2))


def test_a_lonely_unit_fails_by_name() -> None:
    with pytest.raises(InputError, match=r"only one unit.*stratum: s2"):
        lonely("fail")


def test_a_stratum_taken_whole_is_not_lonely() -> None:
    con = duckdb.connect()
    con.execute(LONELY)
    con.execute("create view f as select *, if(stratum = 's2', 1, 5) as size, 1.0 as w from t")
    design = Design("stratum", "school", "w", "size", lonely_psu="fail")
    assert estimate(con, "f", design, ["y"]).to_pylist()[0]["se"] > 0


def test_clusters_must_nest_unless_told() -> None:
    con = duckdb.connect()
    con.execute(
        "create table t as select * from (values ('a', 1, 1.0), ('a', 2, 2.0), ('b', 1, 4.0), "
        "('b', 2, 8.0)) v(stratum, school, y)"
    )
    with pytest.raises(InputError, match="not nested"):
        estimate(con, "t", Design("stratum", "school"), ["y"])
    row = estimate(con, "t", Design("stratum", "school", nest=True), ["y"]).to_pylist()[0]
    assert row["df"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"fpc": ["a"], "clusters": ["x", "y"], "weight": "w"},
        {"fpc": "a"},
        {"strata": ["a", "b"]},
        {"lonely_psu": "average"},
    ],
)
def test_a_design_that_contradicts_itself_is_refused(arguments: dict) -> None:
    with pytest.raises(InputError):
        Design(**arguments)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("2", "smaller than the sample"),
        ("if(y = 1, 5, 6)", "varies"),
        ("-1", "negative"),
        ("'nan'::double", "not finite"),
        ("'inf'::double", "not finite"),
        ("if(stratum = 's1', 0.5, 9)", "mixed"),
    ],
)
def test_an_unusable_fpc_is_refused(expression: str, message: str) -> None:
    con = duckdb.connect()
    con.execute(
        "create table t as select 's' || (i % 2 + 1) as stratum, i as school, i::double as y, "
        "1.0 as w from range(8) r(i)"
    )
    con.execute(f"create view f as select *, {expression} as size from t")
    with pytest.raises(InputError, match=message):
        estimate(con, "f", Design("stratum", "school", "w", "size"), ["y"])
