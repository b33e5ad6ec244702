"""Schools, clusters, pairs and councils' records against plain sums over the pupils."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest
from scipy import stats

from rcs_assets.wellbeing.respondents import write_respondents
from tests.unit.wellbeing.made import FEW, MANY, NO_P7, OUT, RULES, people

Z = stats.norm.ppf(0.975)
GROUPS = {
    "total": lambda pupil: "all",
    "stage": lambda pupil: pupil["stage"],
    "sex": lambda pupil: pupil["sex"],
    "stage:sex": lambda pupil: f"{pupil['stage']}:{pupil['sex']}",
}
AREAS = {"school": "seed_code", "cluster": "cluster_code"}
MAP_OF_ETHNICITY = Path(__file__).parents[3] / "dbt_project" / "macros" / "pupil_census.sql"


@pytest.fixture(scope="module")
def pupils(con):
    return people(con, MANY, FEW)


@pytest.fixture(scope="module")
def rows(con):
    """Rows of schools and clusters by their key."""
    found = con.execute(
        "from wellbeing.estimates where geography_level in ('school', 'cluster')"
    ).to_arrow_table()
    return {
        (
            row["geography_level"],
            row["engagement"],
            row["geography_code"],
            row["indicator"],
            row["breakdown"],
            row["group"],
        ): row
        for row in found.to_pylist()
    }


def bases(pupils, level, indicator):
    """Values of each cell of a level."""
    found = defaultdict(list)
    for pupil, (breakdown, group) in product(pupils, GROUPS.items()):
        if pupil[indicator] is not None:
            area = pupil[AREAS[level]]
            key = (level, pupil["engagement"], area, indicator, breakdown, group(pupil))
            found[key].append(pupil[indicator])
    return found


def wilson(p, n):
    centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return 100 * max(0, centre - half), 100 * min(1, centre + half)


def spread(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((x - mean) ** 2 for x in values) / (len(values) - 1))


def pooled_effect(pupils, indicator, breakdown="total", group="all"):
    """Within-cluster design effect, by the formulas of a sample of clusters."""
    of_group = GROUPS[breakdown]
    clusters = defaultdict(lambda: defaultdict(list))
    for pupil in pupils:
        school = clusters[pupil["engagement"], pupil["cluster_code"]][pupil["seed_code"]]
        if pupil[indicator] is not None and of_group(pupil) == group:
            school.append(pupil[indicator])
    top = bottom = 0.0
    for schools in clusters.values():
        values = [x for school in schools.values() for x in school]
        n, k = len(values), len(schools)
        mean = sum(values) / n
        if k > 1:
            variance = (
                k / (k - 1) * sum((sum(s) - mean * len(s)) ** 2 for s in schools.values()) / n**2
            )
            top += (k - 1) * n * variance
            bottom += (k - 1) * spread(values) ** 2
    return round(max(1.0, top / bottom) * 10) / 10


def test_a_school_is_counted_without_weights_and_gets_wilson(pupils, rows):
    cells = bases(pupils, "school", "primary_lonely")
    assert len(cells) > 19 * 10
    for key, values in cells.items():
        row = rows[key]
        assert (row["base_n"], row["numerator_n"]) == (len(values), sum(values))
        assert row["estimate"] == pytest.approx(100 * sum(values) / len(values), rel=1e-12)
        low, high = wilson(sum(values) / len(values), len(values))
        assert row["ci_low"] == pytest.approx(low, abs=1e-9)
        assert row["ci_high"] == pytest.approx(high, abs=1e-9)
        assert (row["method"], row["design_effect"], row["schools_n"]) == ("wilson", None, 1)
        assert row["sum_x"] is row["sd"] is None


def test_a_mean_of_a_school_gets_t_with_the_pupils_sd(pupils, rows):
    cells = bases(pupils, "school", "primary_mood_mean")
    for key, values in cells.items():
        row, n = rows[key], len(values)
        assert row["numerator_n"] is None
        assert row["estimate"] == pytest.approx(sum(values) / n, rel=1e-8)
        assert row["sum_x"] == pytest.approx(sum(values), rel=1e-8)
        if n > 1:
            half = stats.t.ppf(0.975, n - 1) * spread(values) / math.sqrt(n)
            assert row["sd"] == pytest.approx(spread(values), abs=1e-6)
            assert row["ci_high"] - row["estimate"] == pytest.approx(half, abs=1e-6)
        else:
            assert row["ci_low"] is row["ci_high"] is row["sd"] is None


@pytest.mark.parametrize(("breakdown", "group"), [("total", "all"), ("sex", "F"), ("stage", "P6")])
def test_a_cluster_gets_wilson_on_n_over_the_pooled_effect(pupils, rows, breakdown, group):
    effect = pooled_effect(pupils, "primary_lonely", breakdown, group)
    cells = bases(pupils, "cluster", "primary_lonely")
    chosen = {key: v for key, v in cells.items() if key[4:] == (breakdown, group)}
    assert len(chosen) == 4
    for key, values in chosen.items():
        row = rows[key]
        assert (row["base_n"], row["numerator_n"]) == (len(values), sum(values))
        assert row["design_effect"] == pytest.approx(effect)
        low, high = wilson(sum(values) / len(values), len(values) / effect)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)


def test_the_pooled_effect_of_clusters_is_felt(pupils):
    assert pooled_effect(pupils, "primary_lonely") > 1


def test_a_mean_of_a_cluster_gets_t_on_n_over_the_pooled_effect(pupils, rows):
    effect = pooled_effect(pupils, "primary_mood_mean")
    cells = bases(pupils, "cluster", "primary_mood_mean")
    for key, values in cells.items():
        if key[4] == "total":
            row, size = rows[key], len(values) / effect
            half = stats.t.ppf(0.975, size - 1) * spread(values) / math.sqrt(size)
            assert row["ci_high"] - row["estimate"] == pytest.approx(half, abs=1e-6)


def test_schools_and_clusters_have_the_stages_of_their_roll_only(rows):
    stages = defaultdict(set)
    for key in rows:
        if key[4] == "stage":
            stages[key[:3]].add(key[5])
    assert stages["school", FEW, NO_P7] == {"P5", "P6"}
    del stages["school", FEW, NO_P7]
    assert all(found == {"P5", "P6", "P7"} for found in stages.values())
    assert len(stages) == 16 + 2 + 4
    asked_of_p7 = rows["school", FEW, NO_P7, "primary_young_carer", "total", "all"]
    assert (asked_of_p7["reason"], asked_of_p7["roll_n"]) == ("no_roll", 0)


def test_there_are_no_rows_of_small_areas_without_a_roll(rows):
    assert {key[3] for key in rows} == {
        "primary_lonely",
        "primary_mood_mean",
        "primary_young_carer",
    }


def test_rows_of_small_areas_have_their_own_roll(con, rows):
    rolls = dict(
        con.execute("select seed_code, sum(roll_n) from intake.roll_counts group by 1").fetchall()
    )
    for key, row in rows.items():
        if key[0] == "school" and key[3:5] == ("primary_lonely", "total"):
            assert row["roll_n"] == rolls[key[2]]


def test_a_stage_that_is_not_asked_says_so_in_a_school(rows):
    found = {
        key[5]: row["reason"]
        for key, row in rows.items()
        if key[:2] == ("school", FEW) and key[3:5] == ("primary_young_carer", "stage:sex")
    }
    assert {found[f"{stage}:{sex}"] for stage in ("P5", "P6") for sex in "FM"} == {"not_asked"}
    assert found["P7:F"] == found["P7:M"] == ""


def test_stage_by_sex_of_a_cpp_is_weighted(con, pupils):
    cells = defaultdict(list)
    for pupil in pupils:
        if pupil["primary_lonely"] is not None:
            key = (pupil["engagement"], GROUPS["stage:sex"](pupil))
            cells[key].append((pupil["weight"], pupil["primary_lonely"]))
    found = con.execute("""
        select engagement, "group", base_n, estimate, method from wellbeing.estimates
        where geography_level = 'cpp' and breakdown = 'stage:sex'
            and indicator = 'primary_lonely'
    """).fetchall()
    assert len(found) == len(cells) == 12
    for engagement, group, base_n, estimate, method in found:
        values = cells[engagement, group]
        mean = sum(w * x for w, x in values) / sum(w for w, _ in values)
        assert base_n == len(values)
        assert estimate == pytest.approx(100 * mean, rel=1e-9)
        assert method == ("logit" if engagement == MANY else "wilson")


def test_records_of_the_council_make_groups_of_the_cpp_alone(con, pupils):
    known = {
        "looked_after": lambda digit: "Y" if digit == "3" else "N",
        "ethnicity": lambda digit: "mixed" if digit in "12" else "white_scottish",
        "asn": lambda digit: "Y" if digit in "45" else "N",
    }
    for breakdown, group_of in known.items():
        counts = defaultdict(int)
        for pupil in pupils:
            digit = pupil["record_id"][-1]
            if pupil["primary_lonely"] is not None and digit != "9":
                counts[pupil["engagement"], group_of(digit)] += 1
        found = con.execute(
            'select engagement, "group", base_n from wellbeing.estimates '
            "where breakdown = ? and indicator = 'primary_lonely' and base_n > 0",
            [breakdown],
        ).fetchall()
        assert {(key, group): n for key, group, n in found} == counts
    levels = con.execute(
        "select distinct geography_level, roll_n from wellbeing.estimates "
        "where breakdown in ('looked_after', 'ethnicity', 'asn')"
    ).fetchall()
    assert levels == [("cpp", None)]


def test_the_groups_of_ethnicity_are_those_that_the_model_makes():
    text = MAP_OF_ETHNICITY.read_text(encoding="utf-8")
    made = [*re.findall(r"\('(\w+)', \[", text), *re.findall(r"else '(\w+)'", text)]
    assert tuple(made) == RULES.ethnicity_groups


def test_schools_add_up_to_clusters_and_cpps(con):
    sums = con.execute("""
        select geography_level, indicator, breakdown, sum(base_n), sum(numerator_n),
            sum(roll_n), sum(schools_n)
        from wellbeing.estimates
        where engagement = 't1-many' and survey = 'primary' and indicator = 'primary_lonely'
            and breakdown in ('total', 'stage', 'sex', 'stage:sex')
        group by all
    """).fetchall()
    by_level = {level: {row[2]: row[3:6] for row in sums if row[0] == level} for level, *_ in sums}
    assert set(by_level) == {"school", "cluster", "cpp"}
    assert by_level["school"] == by_level["cluster"] == by_level["cpp"]
    assert len(set(by_level["cpp"].values())) == 1


def test_respondents_are_all_linked_pupils_whatever_they_answered(con, pupils):
    write_respondents(con, [FEW, MANY], RULES)
    found = con.execute(
        "select engagement, survey, geography_level, geography_code, respondents_n, roll_n, "
        "schools_n from wellbeing.respondents order by all"
    ).fetchall()
    counts, cells = defaultdict(int), defaultdict(set)
    for pupil in pupils:
        codes = {"school": pupil["seed_code"], "cluster": pupil["cluster_code"]}
        codes["cpp"] = {MANY: "S12000001", FEW: "S12000002"}[pupil["engagement"]]
        for level, code in codes.items():
            counts[pupil["engagement"], level, code] += 1
            cells[code].add((pupil["seed_code"], pupil["stage"], pupil["sex"]))
    primary = {(e, level, code): n for e, s, level, code, n, _, _ in found if s == "primary"}
    assert primary == counts
    # Five more than answered stand on the roll of each school, stage and sex.
    for _, survey, _, code, respondents_n, roll_n, _ in found:
        if survey == "primary":
            assert roll_n == respondents_n + 5 * len(cells[code])
    schools = {row[0]: row[6] for row in found if row[1:3] == ("primary", "cpp")}
    assert schools == {MANY: 16, FEW: 3}
    # Nobody on the roll of a secondary: the wave is there, without roll and respondents.
    assert [row[2:] for row in found if row[:2] == (FEW, "secondary")] == [
        ("cpp", "S12000002", 0, 0, 0)
    ]
    assert OUT not in {row[0] for row in found}
