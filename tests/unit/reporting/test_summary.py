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


@pytest.mark.parametrize(
    "text",
    ["First.\n\nNow 45% smoke.", "First.\n\n45 per cent", "A\n\n4.5 percent", "A\n\n1 in 5 pupils",
     "A\n\n3 out of 10", "A\n\n12 in every 100"],
)  # fmt: skip
def test_figures_in_digits_are_refused_with_their_line(package, text) -> None:
    with pytest.raises(InputError, match=r"figure in digits.*t2-falkirk.md, line 3.*placeholder"):
        filled(text, package, WHERE)


def test_a_year_and_a_stage_are_no_figures(package) -> None:
    assert filled("In 2017, S4 pupils.", package, WHERE) == "In 2017, S4 pupils."


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ secondary_nothing }}", "does not have: secondary_nothing"),
        ("{{ }}", "does not have: nothing"),
        ("{{ secondary_trusted_adult | breakdown=sex group=X }}", "not shown"),
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


def test_a_hidden_figure_is_refused_and_not_told(package) -> None:
    with pytest.raises(InputError, match=r"not shown: secondary_hungry.*line 2.*\[c\]"):
        summary_blocks(with_summary(package, "One line\n{{ secondary_hungry }}"))


def test_raw_html_links_and_images_stay_text(package) -> None:
    text = (
        "<script>alert(1)</script> **bold** <b>x</b>\n\n![i](http://a.b/c) [t](http://a.b)\n\n# H"
    )
    text, is_authored = said(with_summary(package, text))
    assert is_authored
    assert text == (
        "<script>alert(1)</script> **bold** <b>x</b>\n![i](http://a.b/c) [t](http://a.b)\n# H"
    )


def test_lists_stay_lists_and_a_nested_one_is_joined(package) -> None:
    blocks, _ = summary_blocks(with_summary(package, "1. One\n   - in it\n2. Two\n\nEnd"))
    numbered, end = blocks
    assert isinstance(numbered, Bullets) and numbered.is_ordered
    assert [item.runs[0].text for item in numbered.items] == ["One", "in it", "Two"]
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
