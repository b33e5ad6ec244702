"""Each rule of Table A on one small table; nothing can be subtracted: tests/disclosure."""

from decimal import Decimal as D

import duckdb
import pytest

from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from rcs_assets.disclosure.cells import Sources
from rcs_assets.errors import ConfigurationError, InputError
from tests.disclosure.made_programme import Measure, Shape
from tests.disclosure.programme import SOURCES, Programme

CPP = "cpp/t3-moray"
COLUMNS = """
    tranche varchar, engagement varchar, survey varchar, geography_level varchar,
    geography_code varchar, breakdown varchar, "group" varchar, indicator varchar,
    statistic varchar, roll_n int, base_n int, numerator_n int, estimate double, ci_low double,
    ci_high double, method varchar, design_effect double, schools_n int, reason varchar,
    sum_x double, sd double, answers_mark bigint
"""
# What an area above its schools holds, if nothing else is said.
SUM_UP = """
insert into estimates by name
select
    tranche, e.engagement, survey, '{level}' as geography_level, {code} as geography_code,
    breakdown, "group", indicator, any_value(statistic) as statistic, sum(roll_n) as roll_n,
    sum(base_n) as base_n, sum(numerator_n) as numerator_n,
    coalesce(100 * sum(numerator_n), sum(sum_x)) / sum(base_n) as estimate,
    any_value(method) as method, 1.0 as design_effect, count(*) as schools_n, '' as reason,
    sum(sum_x) as sum_x, any_value(sd) as sd
from estimates as e
inner join clusters as c on c.engagement = e.engagement and c.seed_code = e.geography_code
where geography_level = 'school'
group by all
"""


class Table:
    """Estimates of one CPP, cell by cell, or school by school."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute(f"create table estimates ({COLUMNS})")
        self.con.execute(
            "create table indicators (indicator varchar, is_sensitive boolean, "
            "score_low double, score_high double)"
        )
        self.con.execute(
            "insert into indicators values ('measure', false, null, null), "
            "('delicate', true, null, null), ('score', false, 0, 10), ('other', false, null, null)"
        )
        self.con.execute(
            "create table respondents (tranche varchar, engagement varchar, survey varchar, "
            "geography_level varchar, geography_code varchar, respondents_n int, roll_n int, "
            "schools_n int)"
        )
        self.con.execute(
            "create table clusters (engagement varchar, seed_code varchar, cluster_code varchar)"
        )
        self.con.execute(
            "create table geographies as select 'cpp' as geography_level, 'S1' as "
            "geography_code, 'Moray' as geography_name"
        )
        # Nobody weighs more than another.
        self.con.execute(
            "create table weights (engagement varchar, survey varchar, stage varchar, "
            "sex varchar, weight double)"
        )

    def add(self, breakdown="total", group="all", base=100, numerator=50, **other):
        cell = {
            "tranche": "t3", "engagement": "t3-moray", "survey": "primary",
            "geography_level": "cpp", "geography_code": "S1", "breakdown": breakdown,
            "group": group, "indicator": "measure", "statistic": "pct", "roll_n": 1000,
            "base_n": base, "numerator_n": numerator,
            "estimate": 100 * numerator / base if base and numerator is not None else None,
            "ci_low": None, "ci_high": None, "method": "wilson", "design_effect": 1.0,
            "schools_n": 5, "reason": "", "sum_x": None, "sd": None, "answers_mark": None,
        } | other  # fmt: skip
        if cell["statistic"] == "mean":
            cell |= {"indicator": "score", "numerator_n": None}
            cell["sum_x"] = (cell["estimate"] or 0) * (base or 0)
        marks = ", ".join("?" for _ in cell)
        self.con.execute(f"insert into estimates values ({marks})", [*cell.values()])
        return self

    def school(self, code, respondents, numerator=None, cluster="C1", groups=(), **other):
        """A school: its total, cells of `groups` (breakdown, group, base, numerator), its place."""
        place = {"geography_level": "school", "geography_code": code, "design_effect": None}
        half = respondents // 2 if numerator is None else numerator
        self.add(base=respondents, numerator=half, **place, **other)
        for breakdown, group, base, yes in groups:
            self.add(breakdown, group, base, yes, **place, **other)
        survey = other.get("survey", "primary")
        self.con.execute(
            "insert into respondents values ('t3', 't3-moray', ?, 'school', ?, ?, ?, 1)",
            [survey, code, respondents, 1000],
        )
        self.con.execute("insert into clusters values ('t3-moray', ?, ?)", [code, cluster])
        return self

    def sum_up(self, *, clusters=True):
        """Add the clusters and the CPP as the sums of their schools."""
        if clusters:
            self.con.execute(SUM_UP.format(level="cluster", code="cluster_code"))
        self.con.execute(SUM_UP.format(level="cpp", code="'S1'"))
        return self

    def protect_all(self, policy=None, audiences=None):
        names = audiences or audience_names(["t3-moray"])
        return protect_estimates(self.con, SOURCES, policy or load_policy(), names).to_pylist()

    def protect(self, audience="public", policy=None):
        return {
            (row["breakdown"], row["group"]): row
            for row in self.protect_all(policy)
            if row["audience"] == audience and row["geography_level"] == "cpp"
        }

    def places(self, level):
        """Rows of a level in the CPP's package, by code, breakdown and group."""
        return {
            (row["geography_code"], row["breakdown"], row["group"]): row
            for row in self.protect_all()
            if row["audience"] == CPP and row["geography_level"] == level
        }


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
    assert only(Table().add(base=197, numerator=119), CPP)["n"] == D(195)


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
    assert only(table, CPP)["status"] == "u"


def test_a_sensitive_indicator_is_held_to_more():
    table = Table().add(base=39, numerator=15, indicator="delicate")
    assert only(table)["status"] == "c"
    row = only(table, CPP)
    assert (row["n"], row["estimate"], row["status"]) == (D(40), D("38.0"), "published")


def test_what_must_not_be_pooled_is_counted_and_never_shown():
    table = Table().add(base=100, numerator=50)
    place = {"geography_level": "all", "geography_code": "all", "engagement": None, "tranche": None}
    table.add(
        base=100, numerator=50, estimate=None, reason="not_comparable", method="none", **place
    )
    pooled = [row for row in table.protect_all() if row["geography_level"] == "all"]
    assert [(row["audience"], row["status"], row["note"]) for row in pooled] == [
        ("public", "x", None)
    ]
    assert {pooled[0][name] for name in ("n", "estimate", "ci_low", "ci_high")} == {None}
    assert table.protect()["total", "all"]["status"] == "published"


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


def test_one_hidden_group_takes_its_next_smallest_sibling_along():
    table = Table().add(base=600, numerator=300)
    table.add("stage", "P5", base=150, numerator=9).add("stage", "P6", base=200, numerator=141)
    table.add("stage", "P7", base=250, numerator=150)
    rows = table.protect()
    inside = {key: row["status_inside"] for key, row in rows.items()}
    assert inside == {
        ("total", "all"): "published",
        ("stage", "P5"): "primary",
        ("stage", "P6"): "secondary",
        ("stage", "P7"): "published",
    }
    assert (rows["stage", "P6"]["status"], rows["stage", "P6"]["note"]) == ("c", None)


def test_of_two_groups_both_are_hidden():
    table = Table().add(base=400, numerator=109)
    table.add("sex", "F", base=200, numerator=9).add("sex", "M", base=200, numerator=100)
    table.add("stage", "P5", base=200, numerator=50).add("stage", "P6", base=200, numerator=59)
    rows = table.protect()
    assert {rows["sex", g]["status"] for g in "FM"} == {"c"}
    assert {rows["stage", g]["status"] for g in ("P5", "P6")} == {"published"}
    assert rows["total", "all"]["status"] == "published"


def test_rounding_protects_where_it_leaves_enough_open():
    # 50 groups' worth of rounding: 1 % of 3,000 pupils is 30 answers, more than the nine hidden.
    table = Table().add(base=3000, numerator=1509, roll_n=5000)
    table.add("sex", "F", base=1000, numerator=9, roll_n=2500)
    table.add("sex", "M", base=2000, numerator=1500, roll_n=2500)
    rows = table.protect()
    assert rows["sex", "F"]["note"] == "low"
    assert rows["total", "all"]["status"] == "published"
    assert rows["sex", "M"]["status"] in ("published", "c")


def test_a_breakdown_is_shown_only_if_every_group_reaches_the_base():
    table = Table().add(base=400, numerator=200)
    table.add("stage", "P5", base=29, numerator=15).add("stage", "P6", base=171, numerator=85)
    table.add("stage", "P7", base=200, numerator=100)
    rows = table.protect()
    assert {rows["stage", g]["status"] for g in ("P5", "P6", "P7")} == {"c"}
    assert {rows["stage", g]["note"] for g in ("P5", "P6", "P7")} == {None}


def test_pairs_have_a_base_of_their_own_in_public():
    table = Table().add(base=180, numerator=90)
    for sex in "FM":
        table.add("sex", sex, base=90, numerator=45)
    for stage in ("P5", "P6"):
        table.add("stage", stage, base=90, numerator=45)
        for sex in "FM":
            table.add("stage:sex", f"{stage}:{sex}", base=45, numerator=22 + (sex == "F"))
    table.con.execute(
        "update estimates set numerator_n = 46 where breakdown = 'sex' and \"group\" = 'F'"
    )
    table.con.execute(
        "update estimates set numerator_n = 44 where breakdown = 'sex' and \"group\" = 'M'"
    )
    public, own = table.protect(), table.protect(CPP)
    assert public["stage:sex", "P5:F"]["status"] == "c"
    assert own["stage:sex", "P5:F"]["status"] in ("published", "u")
    assert public["stage", "P5"]["status"] == "published"


def test_looked_after_has_a_row_of_its_own():
    table = Table().add(base=400, numerator=200)
    table.add("looked_after", "Y", base=29, numerator=14, roll_n=None)
    table.add("looked_after", "N", base=371, numerator=186, roll_n=None)
    assert table.protect(CPP)["looked_after", "Y"]["status"] == "c"
    assert table.protect(CPP)["total", "all"]["status"] == "published"


def test_linked_indicators_are_hidden_together_and_without_notes(tmp_path):
    (tmp_path / "policy.yaml").write_text(
        "linked_indicators: [{name: both, kind: complement, indicators: [measure, other]}]"
    )
    table = Table().add(base=400, numerator=9)
    table.add(base=400, numerator=250, indicator="other")
    found = table.protect_all(load_policy(tmp_path), ["public"])
    assert [(r["indicator"], r["status"], r["note"]) for r in found] == [
        ("measure", "c", None),
        ("other", "c", None),
    ]


STAGES = ("P5", "P6", "P7")


def by_stage_and_sex(size):
    """Cells of a school of `size` respondents, half of each positive."""
    each = size // 6
    last = size - 5 * each
    pairs = [(f"{t}:{x}", last if (t, x) == ("P7", "M") else each) for t in STAGES for x in "FM"]
    cells = [("stage:sex", g, n, n // 2) for g, n in pairs]
    for kind, groups in (("stage", STAGES), ("sex", "FM")):
        for group in groups:
            inside = [c for c in cells if group in c[1].split(":")]
            cells.append((kind, group, sum(c[2] for c in inside), sum(c[3] for c in inside)))
    return cells, sum(c[3] for c in cells if c[0] == "stage:sex")


@pytest.mark.parametrize(
    ("respondents", "breakdowns"),
    [
        (120, {"total", "sex", "stage", "stage:sex"}),
        (100, {"total", "sex", "stage", "stage:sex"}),
        (99, {"total", "sex"}),
        (50, {"total", "sex"}),
        (49, {"total"}),
        (20, {"total"}),
        (19, set()),
    ],
)
def test_what_a_school_shows_follows_from_its_size(respondents, breakdowns):
    table = Table()
    for code, size in (("1", respondents), ("2", 150), ("3", 150)):
        groups, numerator = by_stage_and_sex(size)
        table.school(code, size, numerator, groups=groups)
    rows = table.sum_up().places("school")
    assert {breakdown for code, breakdown, _ in rows if code == "1"} == breakdowns
    assert {breakdown for code, breakdown, _ in rows if code == "2"} == {
        "total", "sex", "stage", "stage:sex",
    }  # fmt: skip


def test_a_school_of_20_to_49_shows_fives():
    table = Table().school("1", 42, 18).school("2", 200).school("3", 200)
    row = table.sum_up().places("school")["1", "total", "all"]
    # 18 of 42 are 42.9 %; Wilson for 45 % of 40: 30.7 to 60.2.
    assert (row["n"], row["estimate"]) == (D(40), D(45))
    assert (row["ci_low"], row["ci_high"], row["status"]) == (D(30), D(60), "published")


def test_a_sensitive_indicator_at_school():
    table = Table()
    for code, size in (("1", 152), ("2", 200), ("3", 200)):
        table.school(code, size, 61, indicator="delicate")
    row = table.sum_up().places("school")["1", "total", "all"]
    assert (row["n"], row["estimate"]) == (D(150), D(40))


def test_a_mean_at_school_is_shown_to_a_half():
    table = Table()
    for code in "123":
        mean = {"statistic": "mean", "estimate": 4.3, "sd": 2.0, "method": "t"}
        table.school(code, 80, ci_low=3.8, ci_high=4.8, **mean)
    row = table.sum_up().places("school")["1", "total", "all"]
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (D("4.5"), D("3.5"), D("5.0"))


@pytest.mark.parametrize(
    ("sizes", "is_shown"),
    [
        ((100, 100), False),
        ((100, 100, 100), True),
        ((180, 60, 60), True),  # 60 per cent, no more
        ((190, 60, 60), False),
    ],
)
def test_a_cluster_is_shown_from_three_schools_none_above_60_per_cent(sizes, is_shown):
    table = Table()
    for code, size in enumerate(sizes):
        table.school(str(code), size)
    table.school("9", 90, cluster="C2").sum_up()
    rows = table.places("cluster")
    assert (("C1", "total", "all") in rows) == is_shown
    assert ("C2", "total", "all") not in rows
    if is_shown:
        assert rows["C1", "total", "all"]["status"] == "published"


@pytest.mark.parametrize(
    ("small", "is_shown"),
    [((19, 19, 19), True), ((10, 10, 10), True), ((10, 10, 9), False), ((19, 19), False)],
)
def test_small_schools_are_shown_together_from_three_and_30_pupils(small, is_shown):
    table = Table()
    for code, size in enumerate(small):
        table.school(f"s{code}", size, size // 2)
    for code, size in (("a", 150), ("b", 150)):
        table.school(code, size)
    table.sum_up()
    rows = table.places("cluster")
    assert (("C1-small", "total", "all") in rows) == is_shown
    if is_shown:
        row = rows["C1-small", "total", "all"]
        assert row["status"] in ("published", "u", "c")
        assert row["geography_level"] == "cluster"
    assert not [code for code, *_ in table.places("school") if code.startswith("s")]


def test_a_secondary_survey_has_no_clusters():
    table = Table()
    for code in "123":
        table.school(code, 120, survey="secondary")
    table.sum_up(clusters=False)
    assert table.places("cluster") == {}
    assert set(table.places("school")) == {(code, "total", "all") for code in "123"}


def test_no_public_row_speaks_of_a_school_or_cluster():
    table = Table()
    for code in "123":
        table.school(code, 120)
    found = table.sum_up().protect_all()
    levels = {(row["audience"], row["geography_level"]) for row in found}
    assert levels == {("public", "cpp"), (CPP, "cpp"), (CPP, "cluster"), (CPP, "school")}


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": -1}, "impossible"),
        ({"base": 10, "numerator": 11}, "impossible"),
        ({"base": None}, "missing"),
        ({"numerator": None}, "missing"),
        ({"statistic": "mean", "sum_x": None, "base": None}, "missing"),
        ({"indicator": "unknown"}, "no disclosure class"),
        ({"breakdown": "colour"}, "not in the policy"),
        ({"breakdown": "looked_after", "geography_level": "tranche"}, "not in the policy"),
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


@pytest.mark.parametrize("level", ["cluster", "cpp"])
def test_parts_that_do_not_add_up_to_their_area_are_refused(level):
    table = Table()
    for code in "123":
        table.school(code, 120)
    table.sum_up()
    table.con.execute(
        "update estimates set numerator_n = numerator_n + 1 where geography_level = ?", [level]
    )
    with pytest.raises(InputError, match="add up"):
        table.protect()


def test_cpps_that_do_not_add_up_to_their_tranche_are_refused():
    table = Table().add(base=100)
    table.add(base=120, geography_level="tranche", engagement=None, geography_code="t3")
    with pytest.raises(InputError, match="add up"):
        table.protect()


def test_groups_above_their_total_are_refused():
    with pytest.raises(InputError, match="more than its total"):
        Table().add(base=100).add("sex", "F", base=101).protect()


def test_groups_that_leave_pupils_out_are_refused_unless_they_may():
    with pytest.raises(InputError, match="more than its total"):
        Table().add(base=100).add("sex", "F", base=60, numerator=30).protect()
    table = Table().add(base=300, numerator=150)
    for quintile in "12345":
        table.add("simd_quintile", quintile, base=50, numerator=25, roll_n=None)
    assert table.protect()["simd_quintile", "1"]["status"] == "published"


WEIGHED = Shape((Measure("some", 0.3),), tranches=(2,), roll=(60, 200))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("update weights set weight = 1.01 * weight where sex = 'F'", "not the weighted one"),
        ("insert into weights select * replace (2 * weight as weight) from weights", "differ"),
        ("update weights set weight = 0 where stage = 'P5'", "or are none"),
        ("delete from weights where engagement = 't1-cpp1'", "has no weights"),
    ],
)
def test_weights_that_did_not_make_the_figures_are_refused(spoil, words):
    programme = Programme(WEIGHED, 1)
    assert programme.released
    programme.con.execute(spoil)
    with pytest.raises(InputError, match=words):
        programme.protect()


def test_an_incomplete_grid_is_refused():
    table = Table().add(base=100).add("sex", "F", base=50, numerator=25)
    table.add("sex", "M", base=50, numerator=25).add(base=100, indicator="other")
    with pytest.raises(InputError, match="not complete"):
        table.protect()


def test_an_audience_that_the_policy_does_not_know_is_refused():
    with pytest.raises(ConfigurationError, match="no audience"):
        Table().add().protect_all(audiences=["press"])


def test_the_input_is_left_as_it_was():
    table = Table().add()
    before = table.con.execute("from estimates").fetchall()
    table.protect()
    assert table.con.execute("from estimates").fetchall() == before
    assert table.con.execute("select count(*) from duckdb_tables() where temporary").fetchall() == [
        (0,)
    ]


def test_the_same_rows_whatever_the_threads_and_the_order_of_the_input():
    shape = Shape(
        (Measure("some", 0.3), Measure("score", statistic="mean")),
        tranches=(1,), clusters=(2, 2), schools=(3, 4), roll=(20, 200),
    )  # fmt: skip
    programme = Programme(shape, 2)
    programme.con.execute("set threads = 1")
    first = programme.protect()
    programme.con.execute("set threads = 4")
    for name in ("estimates", "respondents", "clusters", "indicators", "weights"):
        programme.con.execute(f"create table shuffled_{name} as from {name} order by hash({name})")
    shuffled = Sources(
        "shuffled_estimates", "shuffled_indicators", "shuffled_respondents", "shuffled_clusters",
        "geographies", "shuffled_weights",
    )  # fmt: skip
    again = protect_estimates(
        programme.con, shuffled, load_policy(), audience_names(programme.engagements)
    )
    assert first.num_rows > 100
    assert again.equals(first)
