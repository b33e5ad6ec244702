"""Every branch of the sentences that depend on results."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib import resources

import pytest
import yaml

from rcs_assets.reporting import wording
from rcs_assets.reporting.package import Cell
from rcs_assets.reporting.settings import load_settings, parse_settings
from rcs_assets.reporting.wording import Counts
from tests.unit.reporting import made
from tests.unit.reporting.conftest import SCHOOL, rendered, text


def cell(**values: str) -> Cell:
    base = dict.fromkeys(Cell._fields, "") | {
        "statistic": "pct", "n": "120", "estimate": "62.0", "ci_low": "57.0", "ci_high": "67.0",
        "status": "published",
    }  # fmt: skip
    return Cell(**{**base, **values})


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (Counts(measures=4, hidden=4, withheld=4), "Results are not shown."),
        (Counts(measures=4, withheld=4, withheld_alone=4), "Ratings are not shown."),
        (
            Counts(measures=4, hidden=1, withheld=4, withheld_alone=3),
            "Ratings are not shown. 1 result is not shown.",
        ),
        (
            Counts(measures=6, hidden=1, withheld=3, withheld_alone=2),
            "2 ratings are not shown; 3 measures are not rated. 1 result is not shown.",
        ),
        (
            Counts(measures=2, withheld=1, withheld_alone=1),
            "1 rating is not shown; 1 measure is not rated.",
        ),
        (Counts(measures=4), "4 measures with results."),
        (Counts(measures=6, hidden=1, absent=2), "3 measures with results. 1 result is not shown."),
        (
            # The figure of a measure that is not rated is hidden: no rating is.
            Counts(measures=3, similar=2, hidden=1),
            "No clear difference from Falkirk: gaps of this size are small or could be chance. "
            "1 result is not shown.",
        ),
        (Counts(measures=1), "1 measure with results."),
        (
            Counts(measures=3, similar=3),
            "No clear difference from Falkirk: gaps of this size are small or could be chance.",
        ),
        (
            Counts(measures=5, similar=3, hidden=2, withheld=2),
            "No clear difference from Falkirk: gaps of this size are small or could be chance. "
            "2 results are not shown.",
        ),
        (Counts(measures=3, better=1, similar=2), "1 measure is better than Falkirk."),
        (
            Counts(measures=3, worse=2, hidden=1, withheld=1),
            "2 measures are worse than Falkirk. 1 result is not shown.",
        ),
        (
            Counts(measures=8, better=1, similar=5, worse=2),
            "1 measure is better and 2 are worse than Falkirk.",
        ),
        (
            Counts(measures=4, better=1, similar=1, withheld=2, withheld_alone=2),
            "1 measure is better than Falkirk. 2 ratings are not shown.",
        ),
    ],
)
def test_a_domain_is_said_in_one_sentence(counts, said) -> None:
    assert wording.domain_sentence(counts, "Falkirk") == said


@pytest.mark.parametrize(
    ("verdict", "left_out", "rated", "said"),
    [
        ("better", 0, 0, "Ratings are not shown."),
        ("worse", 0, 0, "Ratings are not shown."),
        (
            "better",
            0,
            9,
            "No measure is clearly better. That does not mean there are no strengths.",
        ),
        ("worse", 0, 9, "No measure is clearly worse. That does not mean there are no worries."),
        ("worse", 1, 9, "1 measure is worse, from few answers. See the tables below."),
    ],
)
def test_an_empty_list_says_why(verdict, left_out, rated, said) -> None:
    assert wording.empty_list(verdict, left_out, rated) == said


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((0, 0, 3), "Results are not shown."),
        ((0, 1, 1), "No clear link with any of 1 factor."),
        ((0, 2, 3), "No clear link with any of 2 factors. 1 result is not shown."),
        ((1, 2, 2), "1 of 2 factors has a clear link."),
        ((3, 3, 5), "3 of 3 factors have a clear link. 2 results are not shown."),
    ],
)
def test_a_finding_says_how_many_factors_are_clear(counts, said) -> None:
    assert wording.finding_sentence(*counts) == said


@pytest.mark.parametrize(
    ("low", "effect", "high", "said", "span"),
    [
        ("5.0", "7.0", "9.0", "7 points higher", "5 to 9 higher"),
        ("-8.0", "-6.0", "-4.0", "6 points lower", "4 to 8 lower"),
        ("-1.0", "1.0", "2.0", "1 point higher", "1 lower to 2 higher"),
        ("-2.0", "-1.0", "0.0", "1 point lower", "0 to 2 lower"),
        ("0.0", "0.0", "0.5", "0 points", "0 to 0.5 higher"),
        ("", "", "", "", ""),
    ],
)
def test_a_difference_is_told_in_points(low, effect, high, said, span) -> None:
    assert wording.points(effect) == said
    assert wording.points_span(low, high) == span


def test_values_stand_as_they_were_released() -> None:
    assert wording.value(cell()) == "62%"
    assert wording.value(cell(estimate="74.5")) == "74.5%"
    assert wording.value(cell(statistic="mean", estimate="24.0")) == "24.0"
    assert wording.span(cell()) == "57% to 67%"
    assert wording.span(cell(ci_low="", ci_high="")) == ""


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        ({}, ""), ({"status": "u"}, "[u]"), ({"status": "c"}, "[c]"),
        ({"status": "c", "note": "low"}, "[c] [low]"), ({"status": "z"}, "[z]"),
        ({"note": "indicative"}, ""),
    ],
)  # fmt: skip
def test_a_mark_a_bracket(values, mark) -> None:
    assert wording.mark(cell(**values)) == mark


def test_a_row_that_is_not_there_is_not_available() -> None:
    assert wording.mark(None) == "[x]"


def test_a_gap_needs_ranges_that_do_not_meet() -> None:
    first, last = cell(), cell(estimate="80.0", ci_low="76.0", ci_high="84.0")
    assert wording.gap_sentence(first, last) == "18 points lower"
    assert wording.gap_sentence(last, first) == "18 points higher"
    touching = cell(estimate="70.0", ci_low="67.0", ci_high="73.0")
    assert wording.gap_sentence(first, touching) == "No clear gap"


@pytest.mark.parametrize("other", [None, cell(status="c", estimate="", ci_low="", ci_high="")])
def test_a_gap_to_a_hidden_group_is_not_told(other) -> None:
    assert wording.gap_sentence(cell(), other) == "Not shown"
    assert wording.gap_sentence(other, cell()) == "Not shown"


def _syllables(word: str) -> int:
    found = len(re.findall(r"[aeiouy]+", word))
    silent = word.endswith("e") and not word.endswith("le") and found > 1
    return max(found - silent, 1)


def grade(text: str) -> float:
    """The Flesch-Kincaid grade: years of school that a reader needs."""
    sentences = [s for s in re.split(r"[.!?:;]+(?:\s|$)", text) if s.strip()]
    words = re.findall(r"[a-z']+", text.lower())
    return (
        0.39 * len(words) / len(sentences) + 11.8 * sum(map(_syllables, words)) / len(words) - 15.59
    )


def test_the_measure_of_reading_tells_easy_from_hard() -> None:
    assert grade("The cat sat on the mat. It was warm.") < 2
    assert (
        grade("Statistically significant heterogeneity necessitates careful interpretation.") > 12
    )


def test_the_first_page_reads_at_age_eleven() -> None:
    settings = load_settings()
    texts = {
        "reading": " ".join(settings.reading.values()),
        "care": " ".join([*settings.care, settings.chance]),
        "talk": " ".join(line for lines in settings.talk.values() for line in lines),
        "marks": " ".join(words.text for words in settings.marks.values()),
        "support": settings.support,
    }
    grades = {name: round(grade(text), 1) for name, text in texts.items()}
    assert {name: found for name, found in grades.items() if found > 6} == {}


def _sentences(value: object) -> Iterator[str]:
    """Texts of the settings that are sentences or longer heads; no list of words."""
    if isinstance(value, str) and len(value.split()) >= 8:
        yield re.sub(r"\{\w+\}", "Falkirk", value)
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _sentences(one)


def test_every_text_of_a_page_reads_at_age_eleven() -> None:
    """Block by block, since one short sentence says little; titles and captions are none."""
    content = yaml.safe_load(_settings_text())
    del content["numerals"]
    for block in content.values():
        del block["source"], block["reason"]
    words = content.pop("words")["texts"]
    summary = re.sub(r"\{\{.*?\}\}", "Half", _default_summary()).replace("\n- ", ". ")
    units = {name: " ".join(_sentences(block)) for name, block in content.items()}
    units |= {name: said for name, said in words.items() if len(said.split()) >= 15}
    units = {name: said for name, said in units.items() if said} | {"summary": summary}
    assert len(units) > 18 and {"care", "accessibility", "reach_about", "plan_about"} <= set(units)
    # Two names that cannot be shortened.
    for name, short in (("Multiple Deprivation", "Need"), ("Web Content Accessibility ", "")):
        units = {key: said.replace(name, short) for key, said in units.items()}
    grades = {name: round(grade(said), 1) for name, said in units.items()}
    assert {name: found for name, found in grades.items() if found > 6} == {}


MIXED = Counts(measures=9, better=2, similar=3, worse=2, hidden=2, withheld=3, withheld_alone=1)
SAID = [
    wording.domain_sentence(MIXED, "X"),
    wording.domain_sentence(Counts(measures=3, similar=3), "X"),
    wording.domain_sentence(Counts(measures=3, hidden=1, withheld=3, withheld_alone=2), "X"),
    wording.domain_sentence(
        Counts(measures=5, hidden=1, withheld=3, withheld_alone=2), "the other schools of X"
    ),
    wording.empty_list("better", 0, 9), wording.empty_list("worse", 2, 9),
    wording.finding_sentence(0, 2, 3), wording.finding_sentence(2, 3, 3),
    "No clear gap between girls and boys on 9 measures.",
]  # fmt: skip


def test_sentences_about_results_read_at_age_eleven() -> None:
    assert {text: grade(text) for text in SAID if grade(text) > 6} == {}


def test_nothing_ranks_and_nothing_is_a_traffic_light() -> None:
    """Ranking is spoken of only to ask not to; no red, amber or green in any look."""
    folder = resources.files("rcs_assets.reporting") / "data"
    files = [
        folder / name
        for name in (
            "report.yaml", "summary.md", "page.css", "explorer/explorer.css",
            "explorer/explorer.js", "typst/report.typ", "templates/blocks.html",
            "templates/page.html", "templates/explorer.html",
        )
    ]  # fmt: skip
    text = "\n".join(file.read_text("utf-8") for file in files).lower()
    spoken = re.findall(r"[^.\n]*\brank\w*[^.\n]*", text)
    assert spoken and all("not rank" in line or "no_rank" in line for line in spoken), spoken
    assert not re.search(r"\b(league|traffic|amber|best|worst|top \d|bottom \d)\b", text)
    assert not re.search(r"(?<![\w-])(red|green)(?![\w-])", text)
    for light in ("#d4351c", "#00703c", "#f00", "#ff0000", "#0f0", "#00ff00", "#ffa500", "#ffbf00"):
        assert light not in text


def test_a_page_with_sensitive_measures_points_to_support(cpp_pages, school_page, tmp_path) -> None:
    words = "Childline on 0800 1111"
    for page in (school_page, cpp_pages["report.html"], cpp_pages["summary.html"]):
        assert words in text(page)
    calm = made.write_school(tmp_path, surveys=("primary",))
    with (calm / "indicators.csv").open() as stream:
        rows = [row | {"is_sensitive": "false"} for row in csv.DictReader(stream)]
    made._csv(calm / "indicators.csv", made.INDICATORS, rows)
    assert words not in text(rendered(calm, SCHOOL)["report.html"])


def test_the_statement_has_the_day_and_the_tools_of_its_test(cpp_pages, school_page) -> None:
    """From data: the tools are those that the tests use, and the day is of no clock."""
    from tests.acceptance.test_explorer import AXE

    block = yaml.safe_load(_settings_text())["accessibility"]
    day = block["tested_on"]
    assert f"axe-core {AXE}" in block["tested_with"]
    said = f"last tested on {day.day} {day:%B %Y}, with axe-core {AXE}".encode()
    for page in (cpp_pages["report.html"], school_page):
        assert said in page


@pytest.mark.parametrize("day", ["", "soon", "28 November 2026"])
def test_a_statement_without_a_day_is_refused(day) -> None:
    content = yaml.safe_load(_settings_text())
    content["accessibility"]["tested_on"] = day
    with pytest.raises(ValueError, match="tested_on is no day"):
        parse_settings(yaml.safe_dump(content))


def test_words_that_judge_are_never_used() -> None:
    text = yaml.safe_dump(yaml.safe_load(_settings_text())).lower()
    for word in ("over-reach", "failing", " poor ", "significant", "no difference"):
        assert word not in text.replace("'over-reach'", "")


def _settings_text() -> str:
    return (resources.files("rcs_assets.reporting") / "data" / "report.yaml").read_text("utf-8")


def _default_summary() -> str:
    return (resources.files("rcs_assets.reporting") / "data" / "summary.md").read_text("utf-8")


def test_what_was_not_compared_is_neither_rated_nor_withheld() -> None:
    assert Counts(measures=9, better=1, similar=2, worse=1, hidden=1, withheld=2).unrated == 3
    assert Counts(measures=4, hidden=4, withheld=4).unrated == 0
