"""Each rule of Table A on one small table; nothing can be subtracted: tests/disclosure."""

from decimal import Decimal as D

import duckdb
import pytest

from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from rcs_assets.errors import InputError

COLUMNS = (
    "tranche, engagement, survey, geography_level, geography_code, breakdown, "
    '"group", indicator, statistic, roll_n, base_n, numerator_n, estimate, ci_low, ci_high, '
    "method, design_effect, schools_n, reason"
)


class Table:
    """Estimates of one CPP, cell by cell."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute(
            "create table estimates (tranche varchar, engagement varchar, survey varchar, "
            "geography_level varchar, geography_code varchar, breakdown varchar, "
            '"group" varchar, indicator varchar, statistic varchar, roll_n int, base_n int, '
            "numerator_n int, estimate double, ci_low double, ci_high double, method varchar, "
            "design_effect double, schools_n int, reason varchar)"
        )
        self.con.execute(
            "create table indicators as select 'measure' as indicator, false as is_sensitive "
            "union all select 'delicate', true"
        )
        self.con.execute(
            "create table geographies as select 'cpp' as geography_level, 'S1' as "
            "geography_code, 'Moray' as geography_name"
        )

    def add(self, breakdown="total", group="all", base=100, numerator=50, **other):
        cell = {
            "tranche": "t3", "engagement": "t3-moray", "survey": "primary",
            "geography_level": "cpp", "geography_code": "S1", "breakdown": breakdown,
            "group": group, "indicator": "measure", "statistic": "pct", "roll_n": 1000,
            "base_n": base, "numerator_n": numerator,
            "estimate": 100 * numerator / base if base and numerator is not None else None,
            "ci_low": None, "ci_high": None, "method": "wilson", "design_effect": 1.0,
            "schools_n": 5, "reason": "",
        } | other  # fmt: skip
        marks = ", ".join("?" for _ in cell)
        self.con.execute(f"insert into estimates ({COLUMNS}) values ({marks})", [*cell.values()])
        return self

    def protect(self, audience="public", policy=None):
        table = protect_estimates(
            self.con,
            "estimates",
            "indicators",
            policy or load_policy(),
            audience_names(["t3-moray"]),
            geographies="geographies",
        )
        rows = [row for row in table.to_pylist() if row["audience"] == audience]
        return {(row["breakdown"], row["group"]): row for row in rows}


def only(table: Table, audience="public"):
    return table.protect(audience)["total", "all"]


def shown(row):
    return row["n"], row["estimate"], row["ci_low"], row["ci_high"], row["status"], row["note"]


def test_a_cell_is_rounded_and_its_interval_comes_from_rounded_values():
    # Wilson for 60 %, n 200, design effect 1.5: 51.8 to 67.7 (by hand).
    row = only(Table().add(base=197, numerator=119, design_effect=1.52))
    assert shown(row) == (D(200), D("60.0"), D("52.0"), D("68.0"), "published", None)
    assert row["geography_name"] == "Moray" and row["status_inside"] == "published"


def test_a_cpp_package_shows_n_to_five():
    assert only(Table().add(base=197, numerator=119), "cpp/t3-moray")["n"] == D(195)


@pytest.mark.parametrize(("base", "n"), [(35, 40), (45, 50), (54, 50), (55, 60)])
def test_halves_go_away_from_zero(base, n):
    assert only(Table().add(base=base, numerator=20))["n"] == D(n)


def test_a_half_of_a_percentage_goes_away_from_zero():
    assert only(Table().add(base=200, numerator=125))["estimate"] == D("63.0")


@pytest.mark.parametrize(
    ("base", "numerator", "note"),
    [
        (29, 15, None),  # base below 30
        (100, 9, "low"),
        (100, 0, "low"),  # zero counts as small
        (100, 91, "high"),
        (100, 100, "high"),
        (29, 3, None),  # the base does not pass: no note
    ],
)
def test_what_is_small_is_hidden(base, numerator, note):
    row = only(Table().add(base=base, numerator=numerator))
    assert shown(row) == (None, None, None, None, "c", note)
    assert row["status_inside"] == "primary"


@pytest.mark.parametrize(("base", "numerator"), [(30, 10), (30, 20), (100, 10), (100, 90)])
def test_what_reaches_the_threshold_is_shown(base, numerator):
    assert only(Table().add(base=base, numerator=numerator))["estimate"] is not None


def test_a_cpp_package_has_thresholds_of_its_own():
    table = Table().add(base=20, numerator=5)
    assert only(table)["status"] == "c"
    assert only(table, "cpp/t3-moray")["status"] == "u"


def test_a_sensitive_indicator_is_held_to_more():
    table = Table().add(base=39, numerator=15, indicator="delicate")
    assert only(table)["status"] == "c"
    row = only(table, "cpp/t3-moray")
    assert (row["n"], row["estimate"], row["status"]) == (D(40), D("38.0"), "published")


def test_no_roll_is_z_and_not_asked_is_x_and_no_answer_is_c():
    table = Table().add(base=100, numerator=50)
    table.add("stage", "P7", base=100, numerator=50)
    table.add("stage", "P5", base=None, numerator=None, roll_n=0, reason="no_roll", method="none")
    table.add("stage", "P6", base=None, numerator=None, reason="not_asked", method="none")
    rows = table.protect()
    assert rows["stage", "P5"]["status"] == "z" and rows["stage", "P6"]["status"] == "x"
    assert rows["stage", "P7"]["status"] == "published"
    assert all(rows["stage", g]["n"] is None for g in ("P5", "P6"))
    silent = Table().add(base=0, numerator=None, reason="no_data", method="none")
    assert (only(silent)["status"], only(silent)["note"]) == ("c", None)


def test_a_breakdown_with_one_hidden_group_is_hidden_whole():
    table = Table().add(base=400, numerator=209)
    table.add("sex", "F", base=200, numerator=9).add("sex", "M", base=200, numerator=200 - 0)
    table.add("stage", "P5", base=200, numerator=100).add("stage", "P6", base=200, numerator=109)
    rows = table.protect()
    assert {rows["sex", g]["status"] for g in "FM"} == {"c"}
    assert {rows["stage", g]["status"] for g in ("P5", "P6")} == {"published"}
    assert rows["total", "all"]["status"] == "published"


def test_a_hidden_total_hides_every_breakdown():
    table = Table().add(base=400, numerator=9)
    table.add("sex", "F", base=200, numerator=5).add("sex", "M", base=200, numerator=4)
    assert {row["status"] for row in table.protect().values()} == {"c"}


def test_linked_indicators_are_hidden_together_and_without_notes(tmp_path):
    (tmp_path / "policy.yaml").write_text(
        "linked_indicators: [{name: both, kind: complement, indicators: [measure, other]}]"
    )
    table = Table().add(base=400, numerator=9)
    table.con.execute("insert into indicators values ('other', false)")
    table.add(base=500, numerator=250, indicator="other")
    found = protect_estimates(
        table.con, "estimates", "indicators", load_policy(tmp_path), ["public"],
        geographies="geographies",
    ).to_pylist()  # fmt: skip
    assert [(r["indicator"], r["status"], r["note"]) for r in found] == [
        ("measure", "c", None),
        ("other", "c", None),
    ]


def test_unreliable_by_width_of_the_interval():
    wide = only(Table().add(base=40, numerator=20))  # 35 to 65: 30 points are not wider than 30
    assert (wide["ci_low"], wide["ci_high"], wide["status"]) == (D(35), D(65), "published")
    assert only(Table().add(base=40, numerator=20, design_effect=1.2))["status"] == "u"


def test_design_based_intervals_are_rounded_outward_and_clipped():
    row = only(Table().add(method="logit", ci_low=41.01, ci_high=58.99))
    assert (row["ci_low"], row["ci_high"]) == (D(41), D(59))
    row = only(Table().add(base=1000, numerator=985, method="logit", ci_low=97.2, ci_high=100.0))
    assert (row["ci_low"], row["ci_high"]) == (D(97), D(100))


def test_a_mean_is_judged_by_its_base_alone():
    mean = {"statistic": "mean", "numerator": None, "method": "t"}
    row = only(Table().add(**mean, base=30, estimate=3.25, ci_low=3.1, ci_high=3.41))
    assert shown(row)[:5] == (D(30), D("3.3"), D("3.1"), D("3.5"), "published")
    assert only(Table().add(**mean, base=29, estimate=3.2))["status"] == "c"
    negative = only(Table().add(**mean, base=50, estimate=-0.05, ci_low=-0.31, ci_high=0.2))
    assert (negative["estimate"], negative["ci_low"]) == (D("-0.1"), D("-0.4"))


def test_a_quota_sample_has_no_interval_and_says_so():
    row = only(Table().add(survey="parent", roll_n=None, method="indicative"))
    assert (row["ci_low"], row["note"], row["status"]) == (None, "indicative", "published")


def test_groups_that_the_total_and_the_roll_give_away_hide_the_total():
    # 110 answered of 120; at most 60 of them in P6: at least 50 are in P5, whose base of 55
    # passes, but its numerator of 4 does not; all 60 of P6 positive leaves 4 for P5.
    table = Table().add(base=110, numerator=64, roll_n=120)
    table.add("stage", "P5", base=50, numerator=4, roll_n=60)
    table.add("stage", "P6", base=60, numerator=60, roll_n=60)
    rows = table.protect()
    assert {row["status"] for row in rows.values()} == {"c"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": -1}, "impossible"),
        ({"base": 10, "numerator": 11}, "impossible"),
        ({"indicator": "unknown"}, "no disclosure class"),
        ({"breakdown": "colour"}, "not in the policy"),
        ({"reason": "lost"}, "not in the policy"),
        ({"breakdown": "sex", "group": "F"}, "no total"),
    ],
)
def test_bad_estimates_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        Table().add(**change).protect()


def test_a_cell_twice_is_refused():
    with pytest.raises(InputError, match="twice"):
        Table().add().add().protect()


def test_cpps_that_do_not_add_up_to_their_tranche_are_refused():
    table = Table().add(base=100)
    table.add(base=120, geography_level="tranche", engagement=None, geography_code="t3")
    with pytest.raises(InputError, match="add up"):
        table.protect()


def test_groups_above_their_total_are_refused():
    with pytest.raises(InputError, match="more than its total"):
        Table().add(base=100).add("sex", "F", base=101).protect()


def test_the_input_is_left_as_it_was():
    table = Table().add()
    before = table.con.execute("from estimates").fetchall()
    table.protect()
    assert table.con.execute("from estimates").fetchall() == before
    assert table.con.execute("select count(*) from duckdb_tables() where temporary").fetchall() == [
        (0,)
    ]
