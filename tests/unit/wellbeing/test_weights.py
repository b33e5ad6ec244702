"""Weights: they sum to the roll, whatever had to be joined."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcs_assets.wellbeing.weights import write_weights

STAGES = {"primary": ["P5", "P6", "P7"], "secondary": ["S1", "S2", "S3", "S4"]}
KEY = "t1-a"


def warehouse(cells):
    """A warehouse with (engagement, survey, stage, sex) → (roll, respondents)."""
    con = duckdb.connect()
    for schema in ("programme", "intake", "wellbeing"):
        con.execute(f"create schema {schema}")
    con.execute(
        "create table programme.waves (engagement varchar, survey varchar, stages varchar[])"
    )
    con.execute(
        "create table intake.roll_counts "
        "(engagement varchar, seed_code varchar, stage varchar, sex varchar, roll_n integer)"
    )
    con.execute(
        "create table wellbeing.indicator_values "
        "(record_id varchar, engagement varchar, survey varchar, stage varchar, sex varchar)"
    )
    for engagement, survey in {(key[0], key[1]) for key in cells}:
        con.execute(
            "insert into programme.waves values (?, ?, ?)", [engagement, survey, STAGES[survey]]
        )
    for (engagement, survey, stage, sex), (roll, respondents) in cells.items():
        con.execute(
            "insert into intake.roll_counts values (?, '1', ?, ?, ?), (?, '2', ?, ?, ?)",
            [engagement, stage, sex, roll // 2, engagement, stage, sex, roll - roll // 2],
        )
        con.execute(
            "insert into wellbeing.indicator_values "
            f"select ? || ? || ? || i, ?, ?, ?, ? from range({respondents}) as r(i)",
            [engagement, stage, sex, engagement, survey, stage, sex],
        )
    return con


def weights(con, *by):
    columns = ", ".join(by)
    return {
        row[:-1]: row[-1]
        for row in con.execute(
            f"select {columns}, any_value(weight) from wellbeing.weights group by all"
        ).fetchall()
    }


def sums(con):
    return dict(
        con.execute("select survey, sum(weight) from wellbeing.weights group by all").fetchall()
    )


@pytest.fixture
def full() -> Iterator[duckdb.DuckDBPyConnection]:
    con = warehouse(
        {
            (KEY, survey, stage, sex): (100 + 10 * number, 50 + number)
            for number, (survey, stage, sex) in enumerate(
                (survey, stage, sex)
                for survey, stages in STAGES.items()
                for stage in stages
                for sex in "FM"
            )
        }
    )
    yield con
    con.close()


def test_each_cell_weighs_its_roll_over_its_respondents(full):
    made = write_weights(full, [KEY], 5.0)
    found = weights(full, "stage", "sex")
    assert found["P5", "F"] == pytest.approx(100 / 50, rel=1e-12)
    assert found["P5", "M"] == pytest.approx(110 / 51, rel=1e-12)
    assert found["S4", "M"] == pytest.approx(230 / 63, rel=1e-12)
    assert made.collapsed_cells_n == 0
    assert made.rows_n == sum(50 + n for n in range(14))
    assert made.largest_weight == pytest.approx(230 / 63)


def test_a_cell_without_respondents_joins_the_other_sex():
    con = warehouse({(KEY, "primary", "P5", "F"): (40, 20), (KEY, "primary", "P5", "M"): (60, 0)})
    made = write_weights(con, [KEY], 5.0)
    assert weights(con, "stage", "sex") == {("P5", "F"): pytest.approx(100 / 20)}
    assert made.collapsed_cells_n == 2


def test_a_cell_with_too_large_a_weight_joins_the_other_sex():
    cells = {(KEY, "primary", stage, sex): (100, 50) for stage in STAGES["primary"] for sex in "FM"}
    cells[KEY, "primary", "P6", "M"] = (100, 2)
    con = warehouse(cells)
    write_weights(con, [KEY], 5.0)
    found = weights(con, "stage", "sex")
    assert found["P6", "M"] == found["P6", "F"] == pytest.approx(200 / 52)
    assert found["P5", "F"] == found["P7", "M"] == pytest.approx(2)


def test_a_stage_without_respondents_joins_the_stage_with_most():
    cells = {(KEY, "primary", stage, sex): (100, 50) for stage in ("P5", "P6") for sex in "FM"}
    cells[KEY, "primary", "P6", "F"] = (100, 60)
    cells |= {(KEY, "primary", "P7", sex): (80, 0) for sex in "FM"}
    con = warehouse(cells)
    write_weights(con, [KEY], 5.0)
    found = weights(con, "stage", "sex")
    assert found["P6", "F"] == found["P6", "M"] == pytest.approx((200 + 160) / 110)
    assert found["P5", "F"] == pytest.approx(2)
    assert sums(con)["primary"] == pytest.approx(560)


def test_other_engagements_keep_their_weights(full):
    write_weights(full, [KEY], 5.0)
    before = weights(full, "record_id")
    full.execute(
        "insert into intake.roll_counts values ('t2-b', '1', 'P5', 'F', 10); "
        "insert into programme.waves values ('t2-b', 'primary', ['P5']); "
        "insert into wellbeing.indicator_values values ('new', 't2-b', 'primary', 'P5', 'F')"
    )
    write_weights(full, ["t2-b"], 5.0)
    after = weights(full, "record_id")
    assert after.pop(("new",)) == 10
    assert after == before


def test_nobody_answered_gives_no_rows():
    con = warehouse({(KEY, "primary", "P5", "F"): (40, 0)})
    assert write_weights(con, [KEY], 5.0).rows_n == 0


def test_a_pupil_of_a_stage_that_is_on_no_roll_has_no_weight():
    con = warehouse({(KEY, "primary", "P5", "F"): (40, 20)})
    con.execute(
        f"insert into wellbeing.indicator_values values ('odd', '{KEY}', 'primary', 'P7', 'F')"
    )
    write_weights(con, [KEY], 5.0)
    assert ("odd",) not in weights(con, "record_id")


CELL = st.tuples(st.integers(0, 60), st.integers(0, 40))


@settings(max_examples=40)
@given(cells=st.lists(CELL, min_size=14, max_size=14))
def test_weights_sum_to_the_roll_of_each_survey(cells):
    names = [
        (KEY, survey, stage, sex)
        for survey, stages in STAGES.items()
        for stage in stages
        for sex in "FM"
    ]
    # Who answered was on the roll.
    given_cells = {
        name: (max(roll, respondents), respondents)
        for name, (roll, respondents) in zip(names, cells, strict=True)
    }
    con = warehouse(given_cells)
    write_weights(con, [KEY], 5.0)
    found = sums(con)
    for survey in STAGES:
        of_survey = [cell for name, cell in given_cells.items() if name[1] == survey]
        if any(respondents for _, respondents in of_survey):
            assert found[survey] == pytest.approx(sum(roll for roll, _ in of_survey), rel=1e-9)
        else:
            assert survey not in found
    con.close()
