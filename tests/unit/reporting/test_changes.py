"""What changed since the wave before: each sentence and row; nothing with one wave."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from rcs_assets.reporting.changes import change_parts, change_sentence
from rcs_assets.reporting.charts import NotDrawn, Shift
from rcs_assets.reporting.package import read_package
from rcs_assets.reporting.settings import load_settings
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, rendered, text, tree
from tests.unit.reporting.test_pages import headings


@pytest.mark.parametrize(
    ("counts", "shown", "hidden", "said"),
    [
        ((0, 0, 0), 0, 2, "Changes are not shown."),
        ((0, 0, 0), 0, 0, "No measure can be compared."),
        ((0, 0, 0), 4, 0, "4 measures with both results; none was tested."),
        ((0, 0, 0), 1, 1, "1 measure with both results; none was tested. 1 result is not shown."),
        ((3, 0, 0), 5, 0, "All 3 tested measures got better."),
        ((1, 0, 0), 5, 0, "The one tested measure got better."),
        ((0, 0, 2), 5, 2, "All 2 tested measures got worse. 2 results are not shown."),
        ((0, 3, 0), 5, 0, "No clear change on 3 tested measures: a change of this size is small or "
         "could be chance."),
        ((1, 0, 1), 5, 0, "Of 2 tested measures 1 got better and 1 got worse."),
        ((1, 1, 1), 5, 0, "Of 3 tested measures 1 got better and 1 got worse. 1 with no clear "
         "change."),
        ((2, 3, 0), 5, 0, "Of 5 tested measures 2 got better. 3 with no clear change."),
    ],
)  # fmt: skip
def test_each_sentence(counts, shown, hidden, said) -> None:
    assert change_sentence(*counts, shown=shown, hidden=hidden) == said


def test_rows_have_their_figures_their_mark_or_their_reason(cpp_folder) -> None:
    package = read_package(cpp_folder, CPP)
    (part,) = change_parts(package, load_settings(), package.own)
    assert (part.before, part.now) == ("Tranche 1 (2015-16)", "Tranche 2 (2016-17)")
    rows = {row.indicator: row for row in part.rows}
    better = rows["secondary_sdq_very_high_emotional"]
    assert (better.before, better.now, better.change, better.span) == (
        "40%", "30%", "10 points lower", "6 to 14 lower",
    )  # fmt: skip
    assert better.rating.word == "Better" and better.chart.is_clear
    assert better.chart.before > better.chart.now.at
    similar = rows["secondary_sdq_very_high_conduct"]
    assert similar.span == "3 lower to 5 higher" and not similar.chart.is_clear
    plain = rows["secondary_trusted_adult"]
    assert plain.rating.word == "not tested" and not plain.chart.is_clear
    assert rows["secondary_lonely"].chart == NotDrawn("[x] other stages were asked")
    assert rows["secondary_bullied"].chart == NotDrawn("[x] the question was changed")
    assert rows["secondary_bullied"].before == rows["secondary_bullied"].now == "[x]"
    assert sum(isinstance(row.chart, Shift) for row in part.rows) == len(part.rows) - 2


def test_the_page_shows_arrows_for_clear_changes_alone(cpp_pages) -> None:
    page = cpp_pages["report.html"]
    assert "What changed" in headings(page, "h2")
    (section,) = [s for s in tree(page).iter("section") if _anchor(s) == "changes"]
    drawn = [path for path in section.iter("path") if path.get("class") == "move"]
    assert len(drawn) == 2
    assert "Of 3 tested measures 1 got better and 1 got worse." in text(page)
    assert "asked once" not in text(page)


def _anchor(section: ET.Element) -> str:
    return section.get("aria-labelledby") or ""


def test_one_wave_has_no_such_part_and_says_why(tmp_path) -> None:
    page = rendered(made.write_cpp(tmp_path, schools=1), CPP)["report.html"]
    assert "What changed" not in headings(page, "h2")
    assert "This area was asked once, so no change over time is shown." in text(page)


def test_all_hidden_is_said_and_nothing_is_drawn(tmp_path, monkeypatch) -> None:
    rows = [
        row | dict.fromkeys(("n", "earlier_estimate", "later_estimate", "change", "ci_low",
                             "ci_high", "verdict"), "") | {"status": "c", "note": ""}
        for row in made.changes()
    ]  # fmt: skip
    monkeypatch.setattr(made, "changes", lambda: rows)
    package = read_package(made.write_cpp(tmp_path, schools=1, waves=2), CPP)
    (part,) = change_parts(package, load_settings(), package.own)
    assert (part.sentence, part.rows) == ("Changes are not shown.", ())
