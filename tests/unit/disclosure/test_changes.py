"""Changes between waves: made of what is shown, with the worst status of their parts."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure import load_policy
from rcs_assets.disclosure.changes import obeys_table_a, protect_changes, tells_nothing_new

POLICY, CODEBOOK = load_policy(), load_codebook()
NAME, SENSITIVE, MEAN = (
    "secondary_hungry",
    "secondary_sdq_very_high_emotional",
    "secondary_wemwbs_mean",
)
EARLIER, LATER = "t1-moray", "t3-moray"


class Waves:
    """Two waves of one CPP with 200 pupils each, half of them in both, and their change."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute("""
            create schema disclosure; create schema wellbeing; create schema linkage;
            create table disclosure.estimates (
                audience varchar, engagement varchar, survey varchar, geography_level varchar,
                geography_name varchar, breakdown varchar, "group" varchar, indicator varchar,
                n decimal(9, 0), estimate decimal(7, 1), ci_low decimal(7, 1),
                ci_high decimal(7, 1), status varchar
            );
            create table wellbeing.estimates (
                engagement varchar, survey varchar, geography_level varchar, breakdown varchar,
                "group" varchar, indicator varchar, base_n integer, numerator_n integer
            );
            create table wellbeing.changes (
                engagement varchar, earlier_engagement varchar, survey varchar,
                geography_code varchar, breakdown varchar, "group" varchar, indicator varchar,
                statistic varchar, earlier_n integer, later_n integer,
                earlier_numerator_n integer, later_numerator_n integer, changed_n integer,
                correlation double, verdict varchar, reason varchar
            )
        """)
        columns = ", ".join(f"(i % 4)::double as {name}" for name in (NAME, SENSITIVE, MEAN))
        self.con.execute(f"""
            create table wellbeing.indicator_values as
            select wave || i as record_id, wave as engagement, 't' as tranche, 'S' as council_code,
                'secondary' as survey, 's' as seed_code, 'S2' as stage, 'F' as sex,
                1 as simd_quintile, {columns}
            from range(200) as t(i), (values ('{EARLIER}'), ('{LATER}')) as w(wave);
            create table wellbeing.weights as
            select engagement, record_id from wellbeing.indicator_values;
            create table linkage.linked as
            select engagement, record_id,
                if(replace(record_id, engagement, '')::integer < 100, '',  engagement)
                || replace(record_id, engagement, '') as project_id
            from wellbeing.indicator_values
        """)

    def figure(self, key: str, value: tuple[Any, ...], name: str, counts: tuple[int, Any]) -> None:
        """A wave's public figure (n, estimate, low, high, status) and its true counts."""
        self.con.execute(
            "insert into disclosure.estimates values "
            "('public', ?, 'secondary', 'cpp', 'Moray', 'total', 'all', ?, ?, ?, ?, ?, ?)",
            [key, name, *value],
        )
        self.con.execute(
            "insert into wellbeing.estimates values "
            "(?, 'secondary', 'cpp', 'total', 'all', ?, ?, ?)",
            [key, name, *counts],
        )

    def change(self, name: str = NAME, **values: Any) -> dict[str, Any]:
        """The protected row of a change; what is not given is far from every threshold."""
        given = {
            "statistic": "mean" if name == MEAN else "pct",
            "earlier_n": 200, "later_n": 200, "earlier_numerator_n": 40, "later_numerator_n": 60,
            "changed_n": 200, "correlation": 0.0, "verdict": "worse", "reason": "",
        } | values  # fmt: skip
        if name == MEAN:
            given |= {"earlier_numerator_n": None, "later_numerator_n": None}
        self.con.execute(
            "insert into wellbeing.changes values "
            "(?, ?, 'secondary', 'S1', 'total', 'all', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                LATER,
                None if given["reason"] == "one_wave" else EARLIER,
                name,
                *(given[k] for k in (
                    "statistic", "earlier_n", "later_n", "earlier_numerator_n",
                    "later_numerator_n", "changed_n", "correlation", "verdict", "reason",
                )),
            ],
        )  # fmt: skip
        shown = protect_changes(self.con, POLICY, CODEBOOK)
        self.con.register("shown", shown)
        self.con.execute("create or replace table disclosure.changes as from shown")
        rows: list[dict[str, Any]] = shown.to_pylist()
        return rows[0]

    def wrong(self) -> tuple[bool, bool]:
        """Whether each rule finds the row as it stands broken."""
        return (
            bool(obeys_table_a(self.con, POLICY, CODEBOOK)),
            bool(tells_nothing_new(self.con, POLICY, CODEBOOK)),
        )


def waves(
    name: str = NAME,
    before: tuple[Any, ...] = (200, 20, 15, 26, "published"),
    after: tuple[Any, ...] = (200, 30, 24, 37, "published"),
    counts: tuple[tuple[int, Any], tuple[int, Any]] = ((200, 40), (200, 60)),
) -> Waves:
    made = Waves()
    made.figure(EARLIER, before, name, counts[0])
    made.figure(LATER, after, name, counts[1])
    return made


@pytest.mark.parametrize(
    ("correlation", "r"), [(-0.62, -0.7), (-0.4, -0.4), (0.0, 0.0), (0.19, 0.1), (0.55, 0.5)]
)
def test_range_and_change_follow_from_the_figures_shown(correlation, r):
    made = waves()
    row = made.change(correlation=correlation)
    down, up = (
        math.sqrt(a * a + b * b - 2 * r * a * b)
        for a, b in ((30 - 24, 26 - 20), (37 - 30, 20 - 15))
    )
    assert (row["change"], row["n"], row["status"], row["verdict"]) == (
        10,
        200,
        "published",
        "worse",
    )
    assert (row["ci_low"], row["ci_high"]) == (math.floor(10 - down), math.ceil(10 + up))
    assert made.wrong() == (False, False)


def test_a_mean_has_its_own_step():
    made = waves(
        MEAN, (200, 48.5, 47.9, 49.2, "published"), (200, 47.1, 46.3, 47.9, "published"),
        ((200, None), (200, None)),
    )  # fmt: skip
    row = made.change(MEAN)
    assert float(row["change"]) == pytest.approx(-1.4)
    assert float(row["ci_low"]) == pytest.approx(math.floor(-14 - 10 * math.hypot(0.8, 0.7)) / 10)
    assert made.wrong() == (False, False)


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ((200, 20, 15, 26, "u"), (200, 30, 24, 37, "published"), "u"),
        ((None, None, None, None, "c"), (200, 30, 24, 37, "published"), "c"),
        ((200, 20, 15, 26, "published"), (None, None, None, None, "c"), "c"),
        ((None, None, None, None, "x"), (200, 30, 24, 37, "u"), "x"),
        ((None, None, None, None, "z"), (None, None, None, None, "c"), "z"),
        ((40, 20, 4, 50, "published"), (40, 30, 10, 60, "published"), "u"),
    ],
)
def test_the_status_is_the_worst_of_the_parts(before, after, status):
    made = waves(before=before, after=after)
    row = made.change()
    assert row["status"] == status
    is_shown = status == "u"
    for name in ("n", "earlier_estimate", "later_estimate", "change", "ci_low", "ci_high"):
        assert (row[name] is not None) == is_shown, name
    assert made.wrong() == (False, False)


@pytest.mark.parametrize(
    ("name", "counts", "status"),
    [
        (NAME, {"earlier_n": 30}, "published"),
        (NAME, {"earlier_n": 29}, "c"),
        (NAME, {"later_n": 29}, "c"),
        (SENSITIVE, {"later_n": 39}, "c"),
        (NAME, {"later_numerator_n": 9}, "c"),
        (NAME, {"earlier_numerator_n": 191}, "c"),
        (NAME, {"changed_n": 10}, "published"),
        (NAME, {"changed_n": 9}, "c"),
    ],
)
def test_each_threshold_of_table_a_binds(name, counts, status):
    made = waves(name)
    values = {"earlier_numerator_n": 15, "later_numerator_n": 15} | counts
    assert made.change(name, **values)["status"] == status


@pytest.mark.parametrize("reason", ["one_wave", "stages_differ", "not_comparable"])
def test_what_is_not_compared_says_why(reason):
    row = waves().change(reason=reason)
    assert (row["status"], row["note"], row["change"], row["verdict"]) == ("x", reason, None, None)


def test_the_recount_finds_what_protection_should_not_have_shown():
    made = waves(counts=((200, 9), (200, 60)))
    made.change()
    assert made.wrong() == (True, False)
    made = waves()
    made.change()
    # The same pupils in both waves: nobody is in one alone.
    made.con.execute("update linkage.linked set project_id = replace(record_id, engagement, '')")
    assert made.wrong() == (True, False)


@pytest.mark.parametrize(
    "damage",
    [
        "change = change + 1",
        "ci_high = ci_high - 1",
        "later_estimate = 31",
        "n = 210",
        "status = 'c'",
        "status = 'c', n = null, earlier_estimate = null, later_estimate = null, change = null, "
        "ci_low = null, ci_high = null",
    ],
)
def test_a_row_that_tells_more_is_found(damage):
    made = waves()
    made.change()
    made.con.execute(f"update disclosure.changes set {damage}")
    assert made.wrong()[1]
