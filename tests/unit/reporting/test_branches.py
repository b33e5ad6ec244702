"""Every branch of the sentences that depend on results, outside wording.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rcs_assets.reporting.package import Participation, Reach, Spend, read_package
from rcs_assets.reporting.parts import _pairs_sentence
from rcs_assets.reporting.services import reach_tables, spend_table
from rcs_assets.reporting.settings import load_settings
from rcs_assets.reporting.views import cpp_page
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP

CLEAR = "Clear means that the two likely ranges do not meet."
WHO = "primary pupils took part"


@pytest.mark.parametrize(
    ("clear", "listed", "shown", "said"),
    [
        (0, 0, 1, "No clear gap between girls and boys on 1 measure."),
        (0, 0, 9, "No clear gap between girls and boys on 9 measures."),
        (2, 2, 9, f"A clear gap on 2 of 9 measures. {CLEAR}"),
        (12, 8, 20, f"A clear gap on 12 of 20 measures; the 8 widest are listed. {CLEAR}"),
    ],
)  # fmt: skip
def test_girls_and_boys(clear, listed, shown, said) -> None:
    assert _pairs_sentence(clear, listed, shown) == said


def reach(level: str, pct: str, **values: str) -> Reach:
    status = "published" if pct else "c"
    row = dict.fromkeys(Reach._fields, "") | {
        "engagement": "e", "breakdown": "total", "group": "all", "need": "total",
        "need_level": level, "service": "any_service", "observed_pct": pct, "status": status,
    }  # fmt: skip
    return Reach(**{**row, **values})


HIGH = "Of pupils with high need, 40% have some support on record."
NONE = "Support recorded, no need reported: 9% of pupils who reported no need."


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([reach("high", "40.0"), reach("none", "9.0")], (HIGH, NONE)),
        ([reach("high", "40.0"), reach("none", "")], (HIGH,)),
        ([reach("high", ""), reach("none", "9.0")], (NONE,)),
        ([reach("high", ""), reach("none", "")], ("Results are not shown.",)),
        ([reach("some", "20.0")], ("Results are not shown.",)),
    ],
)
def test_need_and_reach(rows, said) -> None:
    (table,) = reach_tables(rows, load_settings(), "e")
    assert table.sentences == said
    # No interval, no correction: marks, never an empty range.
    assert {row.bounds for row in table.rows} <= {"[x]", "[c]"}
    assert reach_tables(rows, load_settings(), "another") == ()


def spend(sector: str, tier: str, gbp: str, children: str = "") -> Spend:
    status = "published" if gbp else "c"
    return Spend("e", sector, tier, "all", "all", "all", gbp, children, status)


@pytest.mark.parametrize(
    ("gbp", "children", "said"),
    [
        ("120000", "50", "£120,000 for 50 children served: about £2,400 for each. A child that "
         "uses two services is counted twice."),
        ("120000", "", ""), ("120000", "0", ""), ("", "", ""),
    ],
)  # fmt: skip
def test_spend_for_each_child(gbp, children, said) -> None:
    table = spend_table([spend("all", "all", gbp, children)], load_settings(), "e")
    assert table is not None and table.per_child == said


@pytest.mark.parametrize(
    ("tiers", "prevention"),
    [
        ({"universal": "50", "targeted": "25", "specialist": "25"}, "75%"),
        ({"universal": "50", "targeted": "", "specialist": "25"}, "[c]"),
        ({"universal": "50", "specialist": "25"}, "[c]"),
        ({"universal": "0", "targeted": "0", "specialist": "0"}, "[c]"),
    ],
)
def test_prevention_is_told_where_all_tiers_are_shown(tiers, prevention) -> None:
    rows = [spend("health", tier, gbp) for tier, gbp in tiers.items()]
    table = spend_table(rows, load_settings(), "e")
    assert table is not None and table.rows[0].prevention == prevention


@pytest.mark.parametrize(
    ("values", "tile"),
    [
        ({}, ("445", "of about 634 primary pupils took part (70-74%)")),
        ({"roll_n": ""}, ("445", "primary pupils took part (70-74%)")),
        ({"roll_n": "", "response_band": ""}, ("445", "primary pupils took part")),
        ({"schools_n": "31"}, ("445", f"of about 634 {WHO} (70-74%), in 31 schools")),
        ({"status": "c", "respondents_n": "", "roll_n": "", "response_band": ""},
         ("[c]", "primary pupils took part: number not shown")),
        ({"status": "x", "respondents_n": "", "roll_n": "", "response_band": ""},
         ("[x]", "primary pupils took part: number not shown")),
    ],
)  # fmt: skip
def test_who_took_part(cpp_folder, values, tile) -> None:
    row = Participation(*made.participation("primary", "cpp", made.COUNCIL, **values).values())
    package = replace(read_package(cpp_folder, CPP), participation=(row,))
    first = cpp_page(package, load_settings()).tiles[0]
    assert (first.value, first.text) == tile
