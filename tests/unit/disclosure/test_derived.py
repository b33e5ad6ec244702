"""Verdicts inherit the status of their parts; response rates are bands."""

import duckdb
import pytest

from rcs_assets.disclosure import audience_names, load_policy
from rcs_assets.disclosure.derived import protect_comparisons, protect_participation
from rcs_assets.disclosure.rounding import register_rounding

AUDIENCES = audience_names(["t1-moray"])
CPP = "cpp/t1-moray"


class Release:
    """Protected rows of one CPP with one school, and the verdicts about them."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute("create schema disclosure; create schema wellbeing")
        self.con.execute(
            "create table disclosure.estimates (audience varchar, tranche varchar, "
            "engagement varchar, survey varchar, geography_level varchar, "
            "geography_code varchar, breakdown varchar, indicator varchar, status varchar)"
        )
        self.con.execute(
            "create table wellbeing.comparisons (engagement varchar, survey varchar, "
            "geography_level varchar, geography_code varchar, indicator varchar, "
            "statistic varchar, comparator varchar, difference double, p_value double, "
            "is_marked boolean, verdict varchar, base_n int, rest_n int, rest_schools_n int)"
        )

    def figure(self, audience, level, code, status, engagement="t1-moray"):
        self.con.execute(
            "insert into disclosure.estimates values "
            "(?, 't1', ?, 'primary', ?, ?, 'total', 'happy', ?)",
            [audience, engagement, level, code, status],
        )
        return self

    def verdict(self, level, code, verdict, rest_schools=5):
        comparator = "tranche" if level == "cpp" else "rest_of_cpp"
        self.con.execute(
            "insert into wellbeing.comparisons values ('t1-moray', 'primary', ?, ?, 'happy', "
            "'pct', ?, 7.0, 0.01, true, ?, 100, 500, ?)",
            [level, code, comparator, verdict, rest_schools],
        )
        return self

    def protected(self):
        rows = protect_comparisons(self.con, load_policy(), AUDIENCES).to_pylist()
        return {(r["audience"], r["geography_level"]): (r["status"], r["verdict"]) for r in rows}


@pytest.mark.parametrize(
    ("own", "beside", "expected"),
    [
        ("published", "published", ("published", "better")),
        ("u", "published", ("u", "better")),
        ("published", "u", ("u", "better")),
        ("c", "published", ("c", None)),
        ("published", "c", ("c", None)),
        ("u", "c", ("c", None)),
        ("x", "published", ("x", None)),
        ("z", "c", ("z", None)),
    ],
)
def test_a_schools_verdict_has_the_worst_status_of_its_parts(own, beside, expected):
    release = Release().figure(CPP, "school", "1", own).figure("public", "cpp", "S1", beside)
    assert release.verdict("school", "1", "better").protected() == {(CPP, "school"): expected}


def test_without_the_figure_beside_it_there_is_no_verdict():
    release = Release().figure(CPP, "school", "1", "published")
    assert release.verdict("school", "1", "better").protected()[CPP, "school"] == ("c", None)


@pytest.mark.parametrize(("schools", "status"), [(1, "c"), (2, "published")])
def test_a_rest_of_one_school_would_be_that_school(schools, status):
    release = Release().figure(CPP, "school", "1", "published")
    release.figure("public", "cpp", "S1", "published").verdict("school", "1", "worse", schools)
    assert release.protected()[CPP, "school"][0] == status


def test_what_was_not_compared_is_not_available():
    release = Release().figure(CPP, "school", "1", "published")
    release.figure("public", "cpp", "S1", "published").verdict("school", "1", None)
    assert release.protected()[CPP, "school"] == ("x", None)


def test_a_cpps_verdict_goes_by_each_audiences_own_figure_and_its_tranche():
    release = Release().figure(CPP, "cpp", "S1", "published").figure("public", "cpp", "S1", "c")
    release.figure("public", "tranche", "t1", "u", engagement=None).verdict("cpp", "S1", "similar")
    assert release.protected() == {(CPP, "cpp"): ("u", "similar"), ("public", "cpp"): ("c", None)}


def respondents(*rows):
    con = duckdb.connect()
    con.execute(
        "create schema wellbeing; create table wellbeing.respondents (tranche varchar, "
        "engagement varchar, survey varchar, geography_level varchar, geography_code varchar, "
        "respondents_n int, roll_n int, schools_n int)"
    )
    for level, code, answered, roll, schools in rows:
        con.execute(
            "insert into wellbeing.respondents values ('t1', 't1-moray', 'primary', ?, ?, ?, ?, ?)",
            [level, code, answered, roll, schools],
        )
    register_rounding(con)
    return {
        (row["audience"], row["geography_code"]): row
        for row in protect_participation(con, load_policy(), AUDIENCES).to_pylist()
    }


@pytest.mark.parametrize(
    ("answered", "roll", "band"),
    [
        (73, 100, "70 to 74 %"),
        (75, 100, "75 to 79 %"),
        (90, 100, "90 to 94 %"),
        (20, 400, "5 to 9 %"),
    ],
)
def test_a_response_rate_is_a_band_of_five(answered, roll, band):
    row = respondents(("school", "1", answered, roll, 1))[CPP, "1"]
    assert (row["response_band"], row["status"], row["schools_n"]) == (band, "published", None)
    assert row["respondents_n"] % 5 == 0 and abs(row["respondents_n"] - answered) <= 2.5


@pytest.mark.parametrize(
    ("answered", "roll"),
    [(91, 100), (100, 100), (20, 29)],  # nine refused, none, nine
)
def test_few_refusals_hide_the_rate_and_the_number(answered, roll):
    """A row that is not shown holds no figure: pages refuse a package with one (policy.md)."""
    figures = ("respondents_n", "roll_n", "response_band", "schools_n")
    rows = respondents(("school", "1", answered, roll, 1), ("cpp", "S1", answered, roll, 12))
    assert len(rows) == 3
    for row in rows.values():
        assert row["status"] == "c"
        assert [row[name] for name in figures] == [None] * 4


def test_a_school_below_twenty_has_no_row_and_no_school_is_public():
    rows = respondents(
        ("school", "1", 19, 40, 1), ("school", "2", 20, 40, 1), ("cpp", "S1", 400, 600, 12)
    )
    assert set(rows) == {(CPP, "2"), (CPP, "S1"), ("public", "S1")}
    assert rows["public", "S1"]["schools_n"] == 12
    assert rows["public", "S1"]["response_band"] == "65 to 69 %"


def test_numbers_are_shown_to_the_step_of_the_package() -> None:
    """Table A has no step for n in the row of response rates: the public's is 10, a CPP's 5."""
    rows = respondents(("cpp", "S1", 406, 604, 12))
    assert (rows["public", "S1"]["respondents_n"], rows["public", "S1"]["roll_n"]) == (410, 600)
    assert (rows[CPP, "S1"]["respondents_n"], rows[CPP, "S1"]["roll_n"]) == (405, 605)


def test_an_area_without_a_public_roll_has_no_rate():
    row = respondents(("cpp", "S1", 400, None, 12))["public", "S1"]
    assert (row["status"], row["response_band"], row["schools_n"]) == ("c", None, None)
