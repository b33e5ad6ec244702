"""Odd names and lacking parts: rendered right, or refused with a clear message; nothing runs."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfReader

from rcs_assets.errors import InputError
from rcs_assets.reporting import render_package
from rcs_assets.reporting.examine import form_problems, outside_problems, unpacked
from rcs_assets.reporting.explorer import explorer_files
from rcs_assets.reporting.package import read_package
from rcs_assets.reporting.pages import package_documents
from rcs_assets.reporting.pdf import render_pdf
from rcs_assets.reporting.settings import load_settings
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, SCHOOL, rendered, text, tree
from tests.unit.reporting.test_pages import headings

ODD = {
    "gaelic": "Bun-sgoil Ghàidhlig Lèanaidh, Ìle agus Ùige",
    "markup": """St "Mary's" & <b>Sons</b> <script>alert(1)</script>""",
    "typst": """#panic("x") $x^2$ *bold* _em_ @ref #sys.inputs \\u{41} `raw`""",
    "jinja": "{{ 7 * 7 }} {% raw %} {#no#}",
    "formula": "=cmd|' /C calc'!A0",
    "long": "The Very Long Name of a School of Several Communities and their Joint Campus, "
    "Nursery, Additional Support Base and Outdoor Centre",
}


def letters(said: str) -> str:
    """Without spaces: where a line breaks does not matter."""
    return "".join(said.split())


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_an_odd_name_is_text_in_page_and_pdf(tmp_path, name) -> None:
    files = render_package(made.write_school(tmp_path, name=name, area=name), SCHOOL)
    page = files["report.html"]
    assert headings(page, "h1") == [" ".join(name.split())]
    assert letters(f"from the other schools of {name}") in letters(text(page))
    assert form_problems(page) == outside_problems(page) == ()
    first = PdfReader(io.BytesIO(files["report.pdf"])).pages[0].extract_text()
    assert letters(name) in letters(first)


def test_odd_names_stay_what_they_are_in_an_explorer(tmp_path, monkeypatch) -> None:
    """The data file is one script with one packed text: no name can end it."""
    cells, names = made.cells, iter(ODD.values())

    def named(survey, level, code, name, **options):
        return cells(survey, level, code, next(names) if level == "school" else name, **options)

    monkeypatch.setattr(made, "cells", named)
    folder = made.write_cpp(tmp_path, schools=len(ODD))
    files = explorer_files(folder, read_package(folder, CPP), load_settings())
    (tmp_path / "meta.js").write_bytes(files["explorer/data/meta.js"])
    held = {place[2] for place in unpacked(tmp_path / "meta.js")["places"]}
    assert set(ODD.values()) <= held
    assert b"</script" not in files["explorer/data/meta.js"]


@pytest.mark.parametrize("name", ["学校", "Smile 😀 School", "A\x00B"])
def test_a_sign_that_no_font_has_is_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match=r"cannot be set as PDF.*report.*letters of the shipped"):
        render_package(made.write_school(tmp_path, name=name), SCHOOL)


@pytest.mark.parametrize("code", ["../../C5500009", "C55/..", "C 5", "-C5", "C5\n", "C<5>", "C5.."])
def test_a_code_that_is_no_name_of_a_file_is_refused(tmp_path, monkeypatch, code) -> None:
    monkeypatch.setattr(made, "CLUSTER", code)
    folder = made.write_cpp(tmp_path, schools=1)
    with pytest.raises(InputError, match="a name that a file may not have") as refused:
        render_package(folder, CPP, screen_only=True)
    assert CPP in str(refused.value)


def test_a_school_of_one_stage_has_that_stage(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(made, "STAGES", {"primary": ("P7",)})
    folder = made.write_school(tmp_path, surveys=("primary",), statuses=made.all_shown)
    page = rendered(folder, SCHOOL)["report.html"]
    (table,) = [t for t in tree(page).iter("table") if t.get("class") == "who"]
    heads = ["".join(th.itertext()) for th in table.find("tbody").iter("th")]
    assert heads == ["P7", "All stages"]
    groups = [t for t in tree(page).iter("table") if t.get("class") == "groups"]
    assert ["".join(th.itertext()) for th in groups[0].find("thead").iter("th")][2:] == ["P7"]
    (document,) = package_documents(read_package(folder, SCHOOL))
    assert render_pdf(document).startswith(b"%PDF")


def test_an_area_without_a_parent_survey_says_nothing_of_one(tmp_path, monkeypatch) -> None:
    cells = made.cells
    monkeypatch.setattr(
        made, "cells", lambda survey, *a, **o: [] if survey == "parent" else cells(survey, *a, **o)
    )
    folder = made.write_cpp(tmp_path)
    page = rendered(folder, CPP)["report.html"]
    assert form_problems(page) == ()
    assert "parent survey" not in text(page).lower()
    assert "Small numbers were hidden" in text(page)
    meta = explorer_files(folder, read_package(folder, CPP), load_settings())
    (tmp_path / "meta.js").write_bytes(meta["explorer/data/meta.js"])
    assert {m["survey"] for m in unpacked(tmp_path / "meta.js")["measures"]} == {
        "primary", "secondary",
    }  # fmt: skip


VERDICTS = {
    "better": ("No measure is clearly worse. That does not mean there are no worries.", "better"),
    "worse": ("No measure is clearly better. That does not mean there are no strengths.", "worse"),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_everything_better_or_worse_is_said(tmp_path, verdict) -> None:
    """Each domain has its sentence, the other list its own, and nothing is called similar."""
    folder = made.write_school(tmp_path, statuses=made.all_shown, verdict=lambda _: verdict)
    said = text(rendered(folder, SCHOOL)["report.html"])
    empty, word = VERDICTS[verdict]
    assert empty in said
    assert "0 measures similar to other schools" in said
    assert "No clear difference from" not in said
    assert said.count(f"{word} than the other schools of Falkirk.") == 8


def test_what_the_summary_may_not_say_stops_its_package_alone(tmp_path) -> None:
    folder = made.write_cpp(tmp_path, summary="Only three pupils smoke.")
    with pytest.raises(InputError, match=r"by hand.*t2-falkirk.md, line 1"):
        render_package(folder, CPP, screen_only=True)
