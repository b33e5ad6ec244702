"""The authored summary: figures only by placeholder, nothing hidden, no markup of its own."""

from __future__ import annotations

import pytest

from rcs_assets.errors import InputError
from rcs_assets.reporting.blocks import Bullets, Paragraph
from rcs_assets.reporting.package import Package, read_package
from rcs_assets.reporting.summary import filled, summary_blocks
from tests.acceptance.documentation import blocks
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP

WHERE = "config/summaries/t2-falkirk.md"


def hidden_total(indicator: str, breakdown: str, group: str) -> str:
    return "c" if (indicator, breakdown) == ("secondary_hungry", "total") else "published"


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Package:
    return read_package(made.write_cpp(tmp_path_factory.mktemp("cpp"), statuses=hidden_total), CPP)


def said(package: Package) -> tuple[str, bool]:
    """The summary as text: an item of a list after a hyphen, strong words between stars."""
    blocks, is_authored = summary_blocks(package)
    lines = [
        (start, runs)
        for block in blocks
        for start, runs in (
            [("", block.runs)]
            if isinstance(block, Paragraph)
            else [("- ", item.runs) for item in block.items]
        )
    ]
    marks = {"strong": "**", "em": "*"}
    text = "\n".join(
        start + "".join(f"{marks.get(r.kind, '')}{r.text}{marks.get(r.kind, '')}" for r in runs)
        for start, runs in lines
    )
    return text, is_authored


def with_summary(package: Package, text: str | None) -> Package:
    from dataclasses import replace

    return replace(package, summary=text)


def test_placeholders_take_the_released_figure(package) -> None:
    total = package.cell(package.own, "secondary", "secondary_trusted_adult")
    girls = package.cell(package.own, "secondary", "secondary_trusted_adult", "sex", "F")
    text = (
        "In {{ area }} {{ secondary_trusted_adult }} and\n"
        "{{ secondary_trusted_adult | breakdown=sex group=F }} of girls\n"
        "({{secondary_trusted_adult|show=range}}; {{ secondary_trusted_adult | show=n }} answers)"
    )
    value, girls_value = (c.estimate.removesuffix(".0") for c in (total, girls))
    low, high = (v.removesuffix(".0") for v in (total.ci_low, total.ci_high))
    assert filled(text, package, WHERE) == (
        f"In Falkirk {value}% and\n{girls_value}% of girls\n({low}% to {high}%; 2,500 answers)"
    )


BY_HAND = [
    "45% smoke", "45 per cent", "4.5 percent", "1 in 5 pupils", "3 out of 10", "3 pupils smoke",
    "Three pupils smoke", "half of them", "a third of girls", "twice as many", "a dozen", "One boy",
    "&#51; pupils", "**4**5", "th**ree** pupils", "½ of them", "٣ pupils", "② of them",
    "2016 pupils", "2,016", "2016%", "P12", "S2: 7", "1{{ secondary_trusted_adult }}",
    "20 of March Street",
    "1. Three pupils", "- 3 pupils", "# 3 pupils", "> 3 pupils",
]  # fmt: skip


@pytest.mark.parametrize("text", BY_HAND)
def test_a_figure_by_hand_is_refused_with_its_line_and_not_told(package, text) -> None:
    with pytest.raises(InputError, match=r"by hand.*t2-falkirk.md, line 4.*placeholder") as refused:
        filled(f"First.\n\nMore\n{text}", package, WHERE)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "In 2017, S4 pupils.", "From 2016-17 on, and 2016–2018; on 31 March 2017 (2017-03-31).",
        "P7 and S2 pupils; P5, P6.", "No one is alone. Talk to one another.",
        "Tranche 2 (2016-17) was asked.", "Call Childline on 0800 1111.",
        "First, second, primary six", "1. Ask\n2. Listen",
    ],
)  # fmt: skip
def test_years_days_stages_and_names_are_no_figures(package, text) -> None:
    assert filled(text, package, WHERE) == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ secondary_nothing }}", "does not have: secondary_nothing"),
        ("{{ }}", "does not have: nothing"),
        (
            "{{ secondary_trusted_adult | breakdown=sex group=X }}",
            r"a group that secondary_trusted_adult does not have: .*one of: F, M",
        ),
        (
            "{{ secondary_trusted_adult | breakdown=sex }}",
            r"no group of a breakdown: breakdown=sex.*one of: F, M",
        ),
        ("{{ secondary_trusted_adult | group=F }}", r"without its breakdown: F.*with it: sex"),
        (
            "{{ secondary_trusted_adult | breakdown=sex:stage group=F }}",
            r"a breakdown that .* does not have: sex:stage.*one of: .*sex",
        ),
        ("{{ area | show=n }}", "an option to {{ area }}"),
        ("{{ secondary_trusted_adult | nonsense }}", "option that is not known"),
        ("{{ secondary_trusted_adult | show=everything }}", "does not have"),
        ("{{ secondary_trusted_adult", "not closed"),
        ("a }} b", "not closed"),
    ],
)
def test_what_cannot_be_filled_is_refused(package, text, what) -> None:
    with pytest.raises(InputError, match=what) as refused:
        filled(text, package, WHERE)
    assert WHERE in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize("end", ["", "\nMore {{ area }}\n"])
def test_a_brace_that_is_not_closed_is_named_with_its_line(package, end) -> None:
    with pytest.raises(InputError, match=r"not closed.*t2-falkirk\.md, line 3"):
        filled("In {{\narea }}\n{{ secondary_trusted_adult" + end, package, WHERE)


def test_a_hidden_figure_is_refused_and_not_told(package) -> None:
    with pytest.raises(InputError, match=r"not shown: secondary_hungry.*line 2.*\[c\]"):
        summary_blocks(with_summary(package, "A line\n{{ secondary_hungry }}"))


def test_raw_html_links_and_images_stay_text(package) -> None:
    text = "<script>alert()</script> **bold** <b>x</b>\n\n![i](http://a.b/c) [t](http://a.b)\n\n# H"
    text, is_authored = said(with_summary(package, text))
    assert is_authored
    assert text == (
        "<script>alert()</script> **bold** <b>x</b>\n![i](http://a.b/c) [t](http://a.b)\n# H"
    )


def test_lists_stay_lists_and_a_nested_one_is_joined(package) -> None:
    blocks, _ = summary_blocks(with_summary(package, "1. Ask\n   - in it\n2. Do\n\nEnd"))
    numbered, end = blocks
    assert isinstance(numbered, Bullets) and numbered.is_ordered
    assert [item.runs[0].text for item in numbered.items] == ["Ask", "in it", "Do"]
    assert isinstance(end, Paragraph)


def test_without_an_author_paragraphs_with_hidden_figures_go(tmp_path) -> None:
    hidden = made.write_cpp(tmp_path, statuses=made.all_hidden)
    html, is_authored = said(read_package(hidden, CPP))
    assert not is_authored
    assert "Falkirk" in html and "%" not in html and "{{" not in html


def test_the_default_summary_is_whole_where_figures_are_shown(package) -> None:
    html, _ = said(with_summary(package, None))
    assert html.count("\n- ") == 4
    assert html.count("%") == 4


def test_the_how_to_is_a_summary(package, repo_root) -> None:
    """docs/how-to/write-a-summary.md: its example is taken as it stands."""
    (example,) = blocks(repo_root / "docs" / "how-to" / "write-a-summary.md", "markdown")
    html, is_authored = said(with_summary(package, example))
    assert is_authored
    assert html.count("%") == 5 and "{{" not in html and "**What we will do:" in html
