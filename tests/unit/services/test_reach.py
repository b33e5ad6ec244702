"""Need × reach: who counts, what is corrected, what stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rcs_assets.services import load_reach_rules, write_reach

RULES = load_reach_rules()
KEY = "t1-a"


def reach(warehouse, rules=RULES, keys=(KEY,), **where):
    """Rows of services.reach as (level, service) → row; low mood and the total unless asked."""
    write_reach(warehouse.con, list(keys), rules)
    wanted = {"need": "low_mood", "breakdown": "total", "group": "all", "engagement": KEY} | where
    rows = warehouse.con.execute("from services.reach").to_arrow_table().to_pylist()
    return {
        (row["need_level"], row["service"]): row
        for row in rows
        if all(row[name] == value for name, value in wanted.items())
    }


def both_links(warehouse, recall=1.0):
    warehouse.link("education", recall)
    warehouse.link("social_work", recall)


def test_low_mood_is_high_need_and_the_middle_of_the_scale_some(warehouse):
    both_links(warehouse)
    for n, mood in ((3, 2.5), (4, 3.0), (5, 3.5), (7, None)):
        warehouse.pupil(n, mood=mood)
    rows = reach(warehouse)
    assert {level: rows[level, "none"]["need_n"] for level in ("high", "some", "none")} == {
        "high": 3,
        "some": 4,
        "none": 5,
    }


@pytest.mark.parametrize(
    ("emotional", "conduct", "level"),
    [(4, 1, "high"), (1, 4, "high"), (4, None, "high"), (3, 1, "some"), (1, 2, "some"),
     (1, 1, "none"), (2, None, ""), (1, None, "")],
)  # fmt: skip
def test_very_high_of_either_is_high_need(warehouse, emotional, conduct, level):
    both_links(warehouse)
    warehouse.pupil(survey="secondary", emotional=emotional, conduct=conduct)
    rows = reach(warehouse, need="emotional_or_conduct")
    found = {name for name in ("high", "some", "none") if rows[name, "none"]["need_n"]}
    assert found == ({level} if level else set())


def test_services_are_counted_and_weighted(warehouse):
    both_links(warehouse)
    warehouse.pupil(2, asn=True, social=True)
    warehouse.pupil(3, asn=True, weight=2.0)
    warehouse.pupil(1, social=True, any_asn=True)
    warehouse.pupil(4)
    rows = {service: row for (level, service), row in reach(warehouse).items() if level == "none"}
    assert {service: row["served_n"] for service, row in rows.items()} == {
        "asn_support": 5,
        "any_asn": 6,
        "social_work": 3,
        "any_service": 6,
        "both": 2,
        "none": 4,
    }
    assert {row["need_n"] for row in rows.values()} == {10}
    assert rows["asn_support"]["observed_pct"] == pytest.approx(100 * 8 / 13)
    assert rows["none"]["observed_pct"] == pytest.approx(100 * 4 / 13)


def test_full_links_need_no_correction(warehouse):
    both_links(warehouse)
    warehouse.pupil(3, asn=True)
    warehouse.pupil(7)
    row = reach(warehouse)["none", "asn_support"]
    assert row["observed_pct"] == row["corrected_pct"] == row["bound_low"] == row["bound_high"]
    assert row["sensitivity"] == 1
    assert row["has_headline"]


def test_missed_links_are_corrected_and_bounded(warehouse):
    """A true 30 % looks like 20 % at two thirds (policy.md, Table B)."""
    warehouse.link("education", 1.0)
    warehouse.link("social_work", 2 / 3)
    warehouse.pupil(20, social=True)
    warehouse.pupil(80)
    row = reach(warehouse)["none", "social_work"]
    assert row["observed_pct"] == pytest.approx(20)
    assert row["corrected_pct"] == pytest.approx(30)
    assert row["sensitivity"] == pytest.approx(2 / 3)
    assert (row["bound_low"], row["bound_high"]) == pytest.approx((20, 20 + 100 / 3))
    assert not row["has_headline"]


def test_supports_are_corrected_as_missed_independently(warehouse):
    """Of 100: 40 with both, 30 and 20 with one; what links find of them gives that back."""
    warehouse.link("education", 0.8)
    warehouse.link("social_work", 0.5)
    found_both, asn_only, social_only = 16, 24 + 16, 10 + 4
    warehouse.pupil(found_both, asn=True, social=True)
    warehouse.pupil(asn_only, asn=True)
    warehouse.pupil(social_only, social=True)
    warehouse.pupil(100 - found_both - asn_only - social_only)
    rows = reach(warehouse)
    corrected = {s: rows["none", s]["corrected_pct"] for s in ("both", "any_service", "none")}
    assert corrected == pytest.approx({"both": 40, "any_service": 90, "none": 10})


def test_sensitivity_is_that_of_the_pupils_sex(warehouse):
    warehouse.link("education", 1.0)
    warehouse.link("social_work", 0.8, found=80, F=100, M=60)
    warehouse.pupil(10, sex="F", social=True)
    warehouse.pupil(40, sex="F")
    warehouse.pupil(6, sex="M", social=True)
    warehouse.pupil(44, sex="M")
    total = reach(warehouse)["none", "social_work"]
    assert total["corrected_pct"] == pytest.approx(10 + 10)  # 10 girls, 6 / 0.6 boys of 100
    boys = reach(warehouse, breakdown="sex", group="M")["none", "social_work"]
    assert boys["sensitivity"] == pytest.approx(0.6)


def test_a_stage_and_sex_counts_before_the_sex_where_it_has_pairs_enough(warehouse):
    warehouse.link("education", 1.0)
    warehouse.link("social_work", 0.8, F=80, P5_F=50)
    warehouse.link("social_work", 0.8, key="t1-b", pairs=9, F=80, P5_F=50)
    warehouse.engagement("t1-b")
    for key in (KEY, "t1-b"):
        warehouse.pupil(10, key=key, stage="P5", social=True)
        warehouse.pupil(90, key=key, stage="P5")
    rows = reach(warehouse, keys=(KEY, "t1-b"))
    assert rows["none", "social_work"]["corrected_pct"] == pytest.approx(20)
    few = reach(warehouse, keys=(KEY, "t1-b"), engagement="t1-b")
    assert few["none", "social_work"]["corrected_pct"] == pytest.approx(12.5)


def test_without_an_estimate_the_link_rate_stands_for_sensitivity(warehouse):
    warehouse.link("education", None, found=90)
    warehouse.link("social_work", 1.0)
    warehouse.pupil(5, asn=True)
    warehouse.pupil(5)
    assert reach(warehouse)["none", "asn_support"]["sensitivity"] == pytest.approx(0.9)


def test_pupils_without_an_education_record_widen_the_bounds(warehouse):
    both_links(warehouse)
    warehouse.pupil(30, asn=True)
    warehouse.pupil(50)
    warehouse.pupil(15, asn=None)
    warehouse.pupil(5, asn=None, social=True)
    rows = reach(warehouse)
    support = rows["none", "asn_support"]
    assert (support["bound_low"], support["bound_high"]) == pytest.approx((30, 50))
    assert support["unknown_n"] == 20
    any_service, none = rows["none", "any_service"], rows["none", "none"]
    assert (any_service["bound_low"], any_service["bound_high"]) == pytest.approx((35, 50))
    assert (none["bound_low"], none["bound_high"]) == pytest.approx((50, 65))
    assert rows["none", "both"]["unknown_n"] == 5
    assert rows["none", "social_work"]["unknown_n"] == 0


def test_one_poor_link_allows_no_headline_on_either_support(warehouse):
    warehouse.link("education", 1.0)
    warehouse.link("social_work", 0.84)
    warehouse.pupil(50, asn=True)
    warehouse.pupil(1, social=True)
    warehouse.pupil(49)
    rows = reach(warehouse)
    assert rows["none", "asn_support"]["has_headline"]
    assert rows["none", "none"]["sensitivity"] > RULES.sensitivity_floor
    assert not rows["none", "none"]["has_headline"]
    kinder = reach(warehouse, replace(RULES, sensitivity_floor=0.8))
    assert kinder["none", "none"]["has_headline"]


def test_supports_that_were_not_delivered_have_no_rate(warehouse):
    warehouse.link("education", 1.0)
    warehouse.pupil(10, asn=True)
    rows = reach(warehouse)
    for service in ("social_work", "any_service", "both", "none"):
        row = rows["none", service]
        assert row["observed_pct"] is row["corrected_pct"] is row["ci_low"] is None
    assert rows["none", "asn_support"]["observed_pct"] == 100


def test_the_grid_is_whole(warehouse):
    both_links(warehouse)
    warehouse.engagement("t1-b")
    warehouse.pupil(3)
    write_reach(warehouse.con, [KEY, "t1-b"], RULES)
    counted = dict(
        warehouse.con.execute(
            "select engagement, count(*) from services.reach group by all"
        ).fetchall()
    )
    # 6 services × 3 levels × (1 total + stages + 2 sexes) of both surveys.
    assert counted == {KEY: 18 * (6 + 5), "t1-b": 18 * (6 + 5)}
    write_reach(warehouse.con, [KEY], RULES)
    left = warehouse.con.execute("select distinct engagement from services.reach").fetchall()
    assert left == [(KEY,)]


def test_levels_and_groups_add_up(warehouse):
    both_links(warehouse, 0.9)
    for stage in ("P5", "P6", "P7"):
        for sex in "FM":
            for mood in (2.0, 3.0, 5.0):
                warehouse.pupil(2, stage=stage, sex=sex, mood=mood, asn=stage == "P6")
    total = reach(warehouse)
    for group, names in (("stage", ("P5", "P6", "P7")), ("sex", ("F", "M"))):
        parts = [reach(warehouse, breakdown=group, group=name) for name in names]
        for cell, row in total.items():
            assert sum(part[cell]["served_n"] for part in parts) == row["served_n"]
            assert sum(part[cell]["need_n"] for part in parts) == row["need_n"]


def test_a_design_effect_widens_the_interval(warehouse):
    both_links(warehouse)
    for school in range(10):
        warehouse.pupil(10, school=str(school), asn=school < 5)
    row = reach(warehouse)["none", "asn_support"]
    assert row["design_effect"] > 5  # whole schools have support or have not
    assert row["ci_low"] < 100 * 0.5 - 15
    assert row["ci_high"] > 100 * 0.5 + 15
