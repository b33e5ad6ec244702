"""Need × reach: no small part is shown, nor left over between two services."""

from __future__ import annotations

from itertools import combinations, product

import duckdb
import numpy as np
import pytest

from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.reach import protect_reach
from rcs_assets.errors import InputError

KEY = "t1-a"
NEEDS = {"low_mood": ["primary_low_mood"]}
POLICY = load_policy()
COLUMNS = (
    'engagement varchar, tranche varchar, survey varchar, breakdown varchar, "group" varchar, '
    "need varchar, need_level varchar, service varchar, need_n integer, served_n integer, "
    "need_weighted double, observed_pct double, ci_low double, ci_high double, "
    "sensitivity double, corrected_pct double, bound_low double, bound_high double, "
    "unknown_n integer, unknown_pct double, design_effect double, has_headline boolean"
)
# Parts of 400 pupils: both supports, school only, social work only; and any need recorded.
PLENTY = (20, 60, 40, 110)


def rows(parts=PLENTY, n=400, level="high", group="all", **extra):
    """The six rows of one need row; rates unweighted, links as good as `sensitivity`."""
    both, asn, social, any_asn = parts
    sensitivity = extra.get("sensitivity", 0.9)
    counts = {
        "asn_support": both + asn,
        "any_asn": any_asn,
        "social_work": both + social,
        "any_service": both + asn + social,
        "both": both,
        "none": n - both - asn - social,
    }
    breakdown = "total" if group == "all" else "sex"
    made = []
    for service, served in counts.items():
        is_known = n > 0 and service not in extra.get("undelivered", ())
        pct = 100 * served / n if is_known else None
        made.append(
            (KEY, "t1", "primary", breakdown, group, "low_mood", level, service, n, served,
             float(n), pct, None, None, sensitivity, None, None, None, extra.get("unknown_n", 20),
             extra.get("unknown_pct", 5.0), 1.0, extra.get("has_headline", True))
        )  # fmt: skip
    return made


def levels(parts=PLENTY, high=PLENTY, **extra):
    """A total with its three levels."""
    return [*rows(parts, level="none", **extra), *rows(parts, level="some", **extra),
            *rows(high, level="high", **extra)]  # fmt: skip


def protect(given, hidden=(), engagements=(KEY,)):
    con = duckdb.connect()
    con.execute("create schema services; create schema disclosure")
    con.execute(f"create table services.reach ({COLUMNS})")
    con.executemany(f"insert into services.reach values ({', '.join('?' * 22)})", given)
    con.execute(
        "create table disclosure.estimates (audience varchar, engagement varchar, survey varchar, "
        "geography_level varchar, indicator varchar, breakdown varchar, status varchar)"
    )
    if engagements:
        con.executemany(
            "insert into disclosure.estimates values (?, ?, 'primary', 'cpp', ?, ?, ?)",
            [
                (audience, key, "primary_low_mood", breakdown,
                 "c" if (audience, breakdown) in hidden else "published")
                for key in engagements
                for audience in ("public", f"cpp/{key}")
                for breakdown in ("total", "sex", "asn")
            ],
        )  # fmt: skip
    return protect_reach(con, POLICY, ["public", f"cpp/{KEY}"], NEEDS).to_pylist()


def shown(found, level="high", audience="public", breakdown="total"):
    """Services that a level shows."""
    return {
        row["service"]
        for row in found
        if row["audience"] == audience
        and row["need_level"] == level
        and row["breakdown"] == breakdown
        and row["status"] in ("published", "u")
    }


ALL = {"asn_support", "any_asn", "social_work", "any_service", "both", "none"}


def test_all_services_are_shown_where_no_part_is_small():
    found = protect(levels())
    assert {level: shown(found, level) for level in ("none", "some", "high")} == dict.fromkeys(
        ("none", "some", "high"), ALL
    )


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((9, 60, 40, 110), {"asn_support", "any_service", "none", "any_asn"}),
        ((20, 60, 9, 110), {"social_work", "any_service", "none", "any_asn"}),
        ((9, 60, 9, 110), {"social_work", "any_service", "none", "any_asn"}),
        ((9, 9, 9, 110), {"any_service", "none", "any_asn"}),
        ((0, 9, 0, 50), {"any_asn"}),
        ((0, 380, 15, 390), {"asn_support", "any_asn"}),
        ((0, 380, 15, 389), {"asn_support"}),
        ((0, 5, 390, 50), {"social_work", "any_asn"}),
        ((0, 5, 391, 50), {"any_asn"}),
    ],
)
def test_what_would_leave_a_small_part_is_hidden_in_every_level(parts, expected):
    found = protect(levels(high=parts))
    assert shown(found, "high") == expected
    assert shown(found, "none") == expected


def test_no_shown_numbers_add_up_to_a_small_part():
    """Every part (and union of parts) that the shown services determine has 10 pupils."""
    sizes = [p for p in product((0, 5, 9, 10, 60, 385), repeat=3) if sum(p) <= 400]
    many = {
        f"t1-{number}": (*parts, min(sum(parts[:2]) + 10, 400))
        for number, parts in enumerate(sizes)
    }
    given = [(key, *row[1:]) for key, parts in many.items() for row in levels(high=parts)]
    found = protect(given, engagements=many)
    seen = set()
    for key, parts in many.items():
        services = shown([row for row in found if row["engagement"] == key]) - {"any_asn"}
        seen.add(frozenset(services))
        for union, count in determined(services, parts, 400).items():
            assert 10 <= count <= 390, (parts, services, union)
    assert len(seen) == 7  # every set of services occurs, so does none at all


def determined(services, parts, n):
    """Unions of parts whose size follows exactly from the shown counts: rank by hand."""
    both, asn, social, _ = parts
    sizes = {"b": both, "a": asn, "s": social, "o": n - both - asn - social}
    events = {
        "asn_support": {"b", "a"},
        "social_work": {"b", "s"},
        "any_service": {"b", "a", "s"},
        "both": {"b"},
        "none": {"o"},
    }
    known = [events[service] for service in services] + [set(sizes)]
    found = {}
    for size in range(1, 4):
        for union in combinations(sorted(sizes), size):
            if _follows(set(union), known, sorted(sizes)):
                found[union] = sum(sizes[part] for part in union)
    return found


def _follows(event, known, parts):
    """Whether the event's indicator lies in the span of the known ones."""
    matrix = np.array([[part in one for part in parts] for one in known], dtype=float)
    wider = np.vstack([matrix, [part in event for part in parts]])
    return np.linalg.matrix_rank(wider) == np.linalg.matrix_rank(matrix)


def test_a_need_row_below_its_base_hides_the_need():
    found = protect([*rows(level="none"), *rows(level="some"),
                     *rows((10, 10, 10, 25), n=49, level="high")])  # fmt: skip
    assert {row["status"] for row in found} == {"c"}
    assert all(row["n"] is None and row["observed_pct"] is None for row in found)


def test_groups_are_shown_whole_or_not_at_all():
    groups = [r for sex in "FM" for r in levels(group=sex)]
    total = levels((40, 120, 80, 220), (40, 120, 80, 220), n=800)
    assert shown(protect([*total, *groups]), breakdown="sex") == ALL
    small = [r for sex, high in (("F", PLENTY), ("M", (9, 60, 40, 110)))
             for r in levels(high=high, group=sex)]  # fmt: skip
    found = protect([*levels((40, 120, 80, 220), (29, 120, 80, 220), n=800), *small])
    assert shown(found, breakdown="total") == ALL
    assert shown(found, breakdown="sex") <= {"any_asn"}


def test_groups_show_what_the_total_shows():
    """Few have both in every row: social work is hidden in the total, so in the groups."""
    few = (4, 60, 40, 110)
    groups = [r for sex in "FM" for r in levels(few, few, group=sex)]
    total = levels((8, 120, 80, 220), (8, 120, 80, 220), n=800)
    expected = {"asn_support", "any_service", "none", "any_asn"}
    found = protect([*total, *groups])
    assert shown(found, breakdown="total") == shown(found, breakdown="sex") == expected


def test_need_is_hidden_with_the_indicator_that_counts_the_same_pupils():
    found = protect(levels(), hidden={("public", "total")})
    assert not shown(found)
    assert shown(found, audience=f"cpp/{KEY}") == ALL
    found = protect(levels(), hidden={(f"cpp/{KEY}", "total")})
    assert not shown(found)
    assert not shown(found, audience=f"cpp/{KEY}")


def test_recorded_need_is_hidden_with_the_breakdown_by_it():
    assert shown(protect(levels(), hidden={("public", "asn")})) == ALL - {"any_asn"}


def test_recorded_need_is_hidden_where_few_have_it_without_support():
    assert shown(protect(levels(high=(20, 60, 40, 89)))) == ALL - {"any_asn"}


def test_without_estimates_to_compare_nothing_is_shown():
    assert {row["status"] for row in protect(levels(), engagements=())} == {"c"}


def test_supports_that_were_not_delivered_are_not_available():
    missing = ("social_work", "any_service", "both", "none")
    found = protect(levels(undelivered=missing))
    status = {row["service"]: row["status"] for row in found}
    assert {status[service] for service in missing} == {"x"}
    assert shown(found) == {"asn_support", "any_asn"}


def figures(found, service, level="high"):
    for row in found:
        if (row["audience"], row["service"], row["need_level"]) == ("public", service, level):
            return {k: float(v) for k, v in row.items() if k in FIGURES}
    raise AssertionError(service)


FIGURES = ("n", "observed_pct", "ci_low", "ci_high", "corrected_pct", "bound_low", "bound_high")


def test_figures_follow_from_what_is_rounded():
    found = protect(levels(high=(20, 64, 40, 114), n=404))
    # 84 of 404 = 20.8 %, shown 21; 21 / 0.9 = 23.3; unfound 10 %; unknown 5 %.
    assert figures(found, "asn_support") == {
        "n": 400, "observed_pct": 21, "ci_low": 17, "ci_high": 25,
        "corrected_pct": 23, "bound_low": 21, "bound_high": 31,
    }  # fmt: skip
    # 280 of 404 without = 69.3 %, so 31 % with; 31 / 0.9 = 34.4 with at a full link.
    none = figures(found, "none")
    assert (none["observed_pct"], none["corrected_pct"]) == (69, 66)
    assert (none["bound_low"], none["bound_high"]) == (59, 69)


def test_few_pupils_of_unknown_receipt_do_not_show():
    few, none = (
        figures(protect(levels(unknown_n=n, unknown_pct=pct, sensitivity=1.0)), "asn_support")
        for n, pct in ((9, 2.3), (0, 0.0))
    )
    assert few == none
    assert few["bound_high"] == 20 + 3  # 10 of 400, rounded up


def test_poor_links_are_marked_unreliable():
    found = protect(levels(has_headline=False))
    assert {row["status"] for row in found} == {"u"}


def test_counts_that_do_not_fit_are_refused():
    wrong = [list(row) for row in levels()]
    wrong[0][9] += 1
    with pytest.raises(InputError):
        protect(wrong)
    with pytest.raises(InputError):
        protect(levels()[1:])
