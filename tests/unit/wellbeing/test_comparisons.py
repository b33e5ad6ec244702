"""Comparisons against arithmetic by hand: standardisation, tests, corrections, verdicts."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import duckdb
import numpy as np
import pytest
from scipy import stats

from rcs_assets.wellbeing.comparisons import two_sided, write_comparisons
from rcs_assets.wellbeing.estimates import write_estimates
from tests.unit.wellbeing.made import FEW, MANY, OUT, RULES, fill, people

# Large enough for some marks, small enough for some none, in the made programme.
LOOSE = replace(RULES, comparison_alpha=0.3, headlines=("primary_lonely", "primary_mood_mean"))
SCOPE = [MANY, FEW, OUT]
# It has no good side, so that it is rated nowhere and no test counts it.
CONTEXT = "primary_young_carer"
UNITS = {"school": "seed_code", "cluster": "cluster_code"}


@pytest.fixture(scope="module")
def compared(codebook):
    with duckdb.connect() as connection:
        fill(connection)
        write_estimates(connection, codebook, SCOPE, LOOSE)
        write_comparisons(connection, codebook, SCOPE, LOOSE)
        yield connection


@pytest.fixture(scope="module")
def rows(compared):
    return compared.execute("from wellbeing.comparisons").to_arrow_table().to_pylist()


@pytest.fixture(scope="module")
def pupils(compared):
    return people(compared, *SCOPE)


def by_cell(pupils, indicator):
    cells = defaultdict(list)
    for pupil in pupils:
        if pupil[indicator] is not None:
            cells[pupil["stage"], pupil["sex"]].append(pupil[indicator])
    return cells


def split(pupils, row):
    """Own and others' values by stage × sex, where both are."""
    area = UNITS[row["geography_level"]]
    cpp = [p for p in pupils if p["engagement"] == row["engagement"]]
    own = by_cell([p for p in cpp if p[area] == row["geography_code"]], row["indicator"])
    rest = by_cell([p for p in cpp if p[area] != row["geography_code"]], row["indicator"])
    return {cell: (own[cell], rest[cell]) for cell in own if rest[cell]}


def effect_of(con, row):
    found = con.execute(
        "select design_effect from wellbeing.estimates where geography_level = ? "
        "and geography_code = ? and indicator = ? and breakdown = 'total'",
        [row["geography_level"], row["geography_code"], row["indicator"]],
    ).fetchall()
    return found[0][0] or 1.0


def chosen(rows, statistic):
    found = [r for r in rows if r["comparator"] == "rest_of_cpp" and r["statistic"] == statistic]
    return [r for r in found if r["rest_n"] > 0]


def test_a_cluster_that_is_the_whole_cpp_has_no_others(rows):
    found = [r for r in rows if r["rest_n"] == 0 and r["comparator"] == "rest_of_cpp"]
    whole = [r for r in found if r["geography_level"] == "cluster"]
    assert {(r["engagement"], r["indicator"]) for r in whole} == {
        (key, name)
        for key in (FEW, OUT)
        for name in ("primary_lonely", "primary_mood_mean", "primary_young_carer")
    }
    for row in found:
        assert row["difference"] is row["p_value"] is row["verdict"] is None
        assert (row["base_n"], row["is_marked"]) == (0, False)


def test_a_share_is_tested_at_the_others_rates_with_its_own_mix(compared, rows, pupils):
    found = chosen(rows, "pct")
    assert {row["geography_level"] for row in found} == {"school", "cluster"}
    for row in found:
        cells = split(pupils, row)
        n = sum(len(own) for own, _ in cells.values())
        assert row["base_n"] == n
        assert row["rest_n"] == sum(len(rest) for _, rest in cells.values())
        difference = variance = 0.0
        for own, rest in cells.values():
            rate, share = np.mean(rest), len(own) / n
            difference += 100 * share * (np.mean(own) - rate)
            spread = rate * (1 - rate)
            variance += 10_000 * share**2 * (spread / len(own) + spread / len(rest))
        variance *= effect_of(compared, row)
        assert row["difference"] == pytest.approx(difference, abs=1e-6)
        z = abs(difference) / math.sqrt(variance)
        if row["indicator"] == CONTEXT:
            assert row["p_value"] is None
        else:
            assert row["p_value"] == pytest.approx(2 * stats.norm.sf(z), abs=1e-6)


def test_a_mean_is_tested_by_t_with_the_sd_of_the_others_pupils(compared, rows, pupils):
    for row in chosen(rows, "mean"):
        cells = split(pupils, row)
        n = sum(len(own) for own, _ in cells.values())
        others = np.concatenate([rest for _, rest in cells.values()])
        sd = others.std(ddof=1)
        difference = sum(len(o) / n * (np.mean(o) - np.mean(r)) for o, r in cells.values())
        inflation = sum((len(o) / n) ** 2 * (1 / len(o) + 1 / len(r)) for o, r in cells.values())
        t = abs(difference) / (sd * math.sqrt(inflation * effect_of(compared, row)))
        assert row["difference"] == pytest.approx(difference, abs=1e-6)
        assert row["p_value"] == pytest.approx(2 * stats.t.sf(t, len(others) - 1), abs=1e-5)


def families(rows):
    found = defaultdict(list)
    for row in rows:
        if row["p_value"] is not None:
            key = row["engagement"], row["geography_level"], row["geography_code"]
            found[key].append(row)
    return found


def rejected(rows, level):
    """Step-up for reports (Benjamini-Hochberg), step-down for headlines (Holm)."""
    ordered = sorted(rows, key=lambda row: row["p_value"])
    m, alpha = len(ordered), LOOSE.comparison_alpha
    if level == "cpp":
        kept = 0
        while kept < m and ordered[kept]["p_value"] * (m - kept) < alpha:
            kept += 1
        return ordered[:kept]
    passed = [k for k in range(m) if ordered[k]["p_value"] * m / (k + 1) < alpha]
    return ordered[: passed[-1] + 1] if passed else []


def test_marks_are_what_the_correction_rejects_and_is_large_enough(rows, pupils):
    marks = 0
    for (_, level, _), members in families(rows).items():
        names = {row["indicator"] for row in rejected(members, level)}
        for row in members:
            least = LOOSE.comparison_least_points
            if row["statistic"] == "mean" and level != "cpp":
                values = [x for _, rest in split(pupils, row).values() for x in rest]
                least = LOOSE.comparison_least_sd * np.std(values, ddof=1)
            elif row["statistic"] == "mean":
                continue
            is_marked = row["indicator"] in names and abs(row["difference"]) >= least
            assert row["is_marked"] == is_marked
            marks += is_marked
    assert 3 < marks < len(rows) / 2


def test_a_large_difference_is_needed_and_not_only_a_small_p_value(compared, codebook, rows):
    significant = [r for r in rows if r["is_marked"] and r["statistic"] == "pct"]
    largest = max(abs(row["difference"]) for row in significant)
    strict = replace(LOOSE, comparison_least_points=largest + 1, comparison_least_sd=100)
    compared.execute("begin")
    try:
        write_comparisons(compared, codebook, SCOPE, strict)
        found = compared.execute(
            "select count(*) from wellbeing.comparisons where is_marked"
        ).fetchall()
    finally:
        compared.execute("rollback")
    assert found == [(0,)]


def test_verdicts_follow_the_direction_of_the_indicator(rows):
    seen = set()
    for row in rows:
        sign = row["difference"] is not None and row["difference"] > 0
        wanted = {
            "primary_lonely": "worse" if sign else "better",
            "primary_mood_mean": "better" if sign else "worse",
            CONTEXT: None,
        }[row["indicator"]]
        if row["p_value"] is None or wanted is None:
            assert row["verdict"] is None
        else:
            assert row["verdict"] == (wanted if row["is_marked"] else "similar")
        seen.add((row["indicator"], row["verdict"]))
    assert ("primary_lonely", "worse") in seen
    assert ("primary_mood_mean", "better") in seen


def moments(con, engagement):
    """Weighted share, its variance by school clusters, weighted pupils, of one CPP."""
    table = con.execute(
        "select primary_lonely as y, weight as w, seed_code as s from people "
        f"where engagement = '{engagement}' and primary_lonely is not null"
    ).to_arrow_table()
    y, w, s = (table.column(n).to_numpy(zero_copy_only=False) for n in "yws")
    mean = (w * y).sum() / w.sum()
    totals = np.array([(w * (y - mean))[s == seed].sum() for seed in sorted(set(s))]) / w.sum()
    k = len(totals)
    return mean, k / (k - 1) * (totals**2).sum(), w.sum(), len(y)


def test_a_cpp_is_held_against_its_tranche_of_which_it_is_a_part(compared, rows):
    effect, estimates = 0.0, {}
    for key in (FEW, OUT):
        effect = compared.execute(
            "select design_effect from wellbeing.estimates where geography_level = 'cpp' and "
            f"engagement = '{key}' and indicator = 'primary_lonely' and breakdown = 'total'"
        ).fetchall()[0][0]
        mean, _, weighted_n, n = moments(compared, key)
        estimates[key] = mean, mean * (1 - mean) * effect / n, weighted_n
    total = sum(weighted_n for _, _, weighted_n in estimates.values())
    whole = sum(mean * w for mean, _, w in estimates.values()) / total
    share = estimates[FEW][2] / total
    variance = (1 - share) ** 2 * (estimates[FEW][1] + estimates[OUT][1])
    row = next(
        r
        for r in rows
        if r["geography_level"] == "cpp"
        and r["engagement"] == FEW
        and r["indicator"] == "primary_lonely"
    )
    assert effect >= 1
    assert row["comparator"] == "tranche"
    assert row["difference"] == pytest.approx(100 * (estimates[FEW][0] - whole), abs=1e-9)
    z = abs(estimates[FEW][0] - whole) / math.sqrt(variance)
    assert row["p_value"] == pytest.approx(2 * stats.norm.sf(z), rel=1e-6)
    assert (row["rest_schools_n"], row["base_n"]) == (2, moments(compared, FEW)[3])


def test_what_is_no_headline_is_described_and_not_tested(rows):
    found = {
        (row["engagement"], row["indicator"]): row
        for row in rows
        if row["geography_level"] == "cpp"
    }
    assert found[FEW, "primary_young_carer"]["difference"] is not None
    assert found[FEW, "primary_young_carer"]["p_value"] is None
    # Alone in its tranche: there is nothing to be held against.
    assert found[MANY, "primary_lonely"]["difference"] is None
    assert found[MANY, "primary_lonely"]["p_value"] is None
    assert (found[MANY, "primary_lonely"]["rest_n"], found[MANY, "primary_lonely"]["verdict"]) == (
        0,
        None,
    )


def test_each_total_has_one_comparison(compared, rows):
    wanted = compared.execute("""
        select engagement, geography_level, geography_code, indicator from wellbeing.estimates
        where breakdown = 'total' and reason = '' and survey <> 'parent'
            and geography_level in ('school', 'cluster', 'cpp')
        order by all
    """).fetchall()
    keys = ("engagement", "geography_level", "geography_code", "indicator")
    assert sorted(tuple(row[key] for key in keys) for row in rows) == wanted


def test_p_values_are_of_t_where_there_are_degrees_of_freedom():
    found = two_sided(np.array([1.96, 2.0]), np.array([np.nan, 5.0]))
    assert found == pytest.approx([2 * stats.norm.sf(1.96), 2 * stats.t.sf(2.0, 5)])


def test_the_same_data_give_the_same_comparisons(compared, codebook):
    before = compared.execute("from wellbeing.comparisons").to_arrow_table()
    write_comparisons(compared, codebook, SCOPE, LOOSE)
    assert compared.execute("from wellbeing.comparisons").to_arrow_table().equals(before)
