"""Every branch of the sentences that depend on results, outside wording.py."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rcs_assets.codebook import load_codebook
from rcs_assets.reporting.charts import example
from rcs_assets.reporting.examine import unpacked
from rcs_assets.reporting.explorer import explorer_files
from rcs_assets.reporting.package import Participation, Reach, Recipient, Spend, read_package
from rcs_assets.reporting.parts import _pairs_sentence
from rcs_assets.reporting.services import reach_tables, recipient_rows, spend_table
from rcs_assets.reporting.settings import load_settings
from rcs_assets.reporting.views import cpp_page
from rcs_assets.reporting.views import school_page as page_of_school
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, SCHOOL, rendered, text

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
        # The rows below say it: no sentence says that there are none.
        ([reach("some", "20.0")], ()),
    ],
)
def test_need_and_reach(rows, said) -> None:
    (table,) = reach_tables(rows, load_settings(), "e")
    assert table.sentences == said
    # No interval, no correction: marks, never an empty range.
    assert {row.bounds for row in table.rows} <= {"[x]", "[c]"}
    assert reach_tables(rows, load_settings(), "another") == ()


def test_where_no_share_is_shown_nothing_is_said_of_who_did_not_answer() -> None:
    hidden = Recipient("e", "primary", "any_service", "", "", "c")
    shown = Recipient("e", "secondary", "any_service", "1200", "30.0", "u")
    assert recipient_rows([hidden], load_settings(), "e") == ()
    first, second = recipient_rows([shown, hidden], load_settings(), "e")
    assert (first.survey, first.value, first.n) == ("Primary pupils", "[c]", "[c]")
    assert (second.survey, second.value, second.n) == ("Secondary pupils", "30% [u]", "1,200")
    assert recipient_rows([shown], load_settings(), "another") == ()


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
        ({"universal": "0", "targeted": "0", "specialist": "0"}, "[z]"),
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
        ({"schools_n": "1"}, ("445", f"of about 634 {WHO} (70-74%), in 1 school")),
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


def shown_first(shown: int) -> made.Statuses:
    """Totals of the first so many indicators of the primary survey are shown, no other row."""
    names = [i.name for i in load_codebook().indicators.values() if i.survey == "primary"]
    return lambda name, breakdown, group: (
        "published" if breakdown == "total" and name in names[:shown] else "c"
    )


@pytest.mark.parametrize(
    ("shown", "says"),
    [(0, "No result is shown here."), (1, "Few results are shown here."),
     (3, "Few results are shown here."), (4, ""), (99, "")],
)  # fmt: skip
def test_a_page_with_hardly_a_figure_says_why(tmp_path, shown, says) -> None:
    """Of 34 measures; whoever took part is told all the same."""
    folder = made.write_school(tmp_path, surveys=["primary"], statuses=shown_first(shown))
    page = page_of_school(read_package(folder, SCHOOL), load_settings())
    assert page.surveys[0].measures_n == 34 and page.surveys[0].shown_n == min(shown, 34)
    assert page.why_hidden.startswith(says) and bool(page.why_hidden) == bool(says)
    assert "someone could work out what a few pupils said" in page.why_hidden or not says
    seen = text(rendered(folder, SCHOOL)["report.html"])
    assert seen.count("someone could work out") == bool(says)
    assert "445 of about 634 primary pupils took part" in seen


def test_where_no_rating_is_shown_nothing_is_said_to_be_compared(tmp_path) -> None:
    folder = made.write_school(tmp_path, surveys=["primary"], statuses=made.all_hidden)
    seen = text(rendered(folder, SCHOOL)["report.html"])
    assert "We compared" not in seen and "at least 5 points" not in seen
    assert "No rating is shown here, so we say of no gap that it is clear." in seen


def test_a_gap_is_said_to_be_from_the_other_schools(school_page, tmp_path) -> None:
    """The figure that stands beside is that of all schools, the one compared with is not told."""
    said = text(school_page)
    assert "Compared with the other schools of Falkirk, so the tested gap can be wider" in said
    assert "The tall dark bar is Falkirk, your school too, with its likely range" in said
    assert "only if the gap from the other schools of Falkirk is at least 5 points" in said
    assert re.search(r"measures? (is|are) (better|worse) than the other schools of Falkirk", said)
    assert not re.search(r"(better|worse) than Falkirk|difference from Falkirk", said)


def test_an_area_beside_its_tranche_is_compared_with_the_tranche(cpp_pages) -> None:
    said = text(cpp_pages["report.html"])
    assert "only if the gap from Tranche 2 areas is at least 5 points" in said
    assert "Compared with" not in said and "than the other schools of" not in said


def write_alone(folder: Path, *, differs: bool = False, rated: bool = False) -> Path:
    """A CPP whose tranche has its figures, as one that is all of it; or but for one of them."""
    made.write_cpp(folder)
    (file,) = folder.rglob("estimates.parquet")
    held = pq.read_table(file)
    rows = [row for row in held.to_pylist() if row["geography_level"] != "tranche"]
    tranche = [
        row
        | {"geography_level": "tranche", "geography_code": made.TRANCHE, "engagement": ""}
        | {"geography_name": "Tranche 2 (2016-17)"}
        for row in rows
        if row["geography_level"] == "cpp" and row["breakdown"] == "total"
    ]
    for row in tranche:
        row["n"] += 5
    if differs:
        tranche[0]["estimate"] += 1
    pq.write_table(pa.Table.from_pylist([*rows, *tranche], schema=held.schema), file)
    if not rated:
        (file,) = folder.rglob("comparisons.parquet")
        held = pq.read_table(file)
        rows = [
            row | ({"verdict": None, "status": "x"} if row["geography_level"] == "cpp" else {})
            for row in held.to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=held.schema), file)
    return folder


def test_a_cpp_that_is_its_tranche_is_not_set_beside_itself(tmp_path) -> None:
    folder = write_alone(tmp_path)
    package = read_package(folder, CPP)
    page = cpp_page(package, load_settings())
    assert not page.has_area and page.stand_out is None and not page.is_rated
    rows = [r for s in page.surveys for d in s.domains for r in (*d.rows, *d.scores)]
    assert {row.area for row in rows} == {""} and {row.rating.kind for row in rows} == {"none"}
    said = text(rendered(folder, CPP)["report.html"])
    assert "Tranche 2 areas" not in said and "We compared" not in said
    # Its schools keep their ratings.
    assert any(row.rating.kind == "better" for p in page.places for t in p.tables for row in t.rows)


@pytest.mark.parametrize("other", [{}, {"differs": True}, {"rated": True}])
def test_the_explorer_sets_nobody_beside_himself(tmp_path, other) -> None:
    folder = write_alone(tmp_path / "cpp", **other)
    files = explorer_files(folder, read_package(folder, CPP), load_settings())
    (tmp_path / "meta.js").write_bytes(files["explorer/data/meta.js"])
    meta = unpacked(tmp_path / "meta.js")
    alone = [meta["places"][i][0] for i in meta["alone"]]
    assert alone == ([] if other else ["cpp"])


@pytest.mark.parametrize("other", [{"differs": True}, {"rated": True}])
def test_a_figure_that_differs_or_a_rating_keeps_the_tranche_on_the_page(tmp_path, other) -> None:
    package = read_package(write_alone(tmp_path, **other), CPP)
    assert cpp_page(package, load_settings()).has_area


@pytest.mark.parametrize("breakdown", ["asn", "looked_after"])
def test_a_split_is_hidden_whole_if_one_side_is(tmp_path, breakdown) -> None:
    """outputs.md 4.6: of two groups no figure stands alone; of five each stands for itself."""

    def hides_no(indicator: str, of: str, group: str) -> str:
        return "c low" if (of, group) in ((breakdown, "N"), ("simd_quintile", "1")) else "published"

    package = read_package(made.write_cpp(tmp_path, statuses=hides_no), CPP)
    page = cpp_page(package, load_settings())
    tables = {table.key: table for part in page.surveys for table in part.groups}
    assert tables[breakdown].rows == ()
    assert any("[c]" in row.values[0] for row in tables["simd_quintile"].rows)
    assert all("[c]" not in row.values[1] for row in tables["simd_quintile"].rows)
    other = {"asn": "looked_after", "looked_after": "asn"}[breakdown]
    assert all("[c]" not in value for row in tables[other].rows for value in row.values)


LONG = "Community Planning Partnership of the Northern and Western Isles"


@pytest.mark.parametrize(
    ("own", "area", "labels"),
    [
        ("Falkirk", "Tranche 2 areas", ("Falkirk: 60%", "Tranche 2 areas: 70%")),
        ("your school", "", ("Your school: 60%", "")),
        (LONG, "Tranche 2 areas", ("This area: 60%", "Tranche 2 areas: 70%")),
        ("your school", LONG, ("Your school: 60%", "Its area: 70%")),
        # A pointer ends where the label of this area would begin.
        ("your school", "Dumfries and Galloway", ("Your school: 60%", "Its area: 70%")),
    ],
)
def test_labels_of_the_example_fit_into_its_line(own, area, labels) -> None:
    """Cut at the edge or printed over each other they could not be read; who listens hears all."""
    chart = example(own, area)
    assert (chart.own, chart.area) == labels
    assert own in chart.says and area in chart.says
