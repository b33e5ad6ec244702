"""The technical report: one Markdown text, told word for word by page and PDF."""

from __future__ import annotations

from rcs_assets.reporting.blocks import Paragraph, Section, Table
from rcs_assets.reporting.examine import form_problems, outside_problems, says_simulated
from rcs_assets.reporting.technical import technical_blocks
from tests.unit.reporting import made
from tests.unit.reporting.conftest import text


def test_headings_paragraphs_and_tables_become_blocks() -> None:
    blocks = technical_blocks(made.TECHNICAL, "About")
    mark, said, about, *sections = blocks
    assert isinstance(mark, Paragraph) and mark.kind == "simulated"
    assert isinstance(said, Paragraph) and said.kind == ""
    assert isinstance(about, Table) and about.caption == "About, table 1"
    assert [s.title for s in sections if isinstance(s, Section)] == ["Fieldwork", "Limits"]
    paragraph, fieldwork, cells = sections[0].blocks
    # Markup of a name or a sentence stays text, and a bar that was escaped is one.
    assert paragraph.runs[0].text == "A census *asked* every <b>pupil</b>; [no](other.html)."
    assert fieldwork.rows[1].head[0].text == "A | B"
    assert [column.kind for column in fieldwork.columns] == ["", "", "number", ""]
    assert cells.caption == "Fieldwork, table 2"


def test_an_empty_table_keeps_its_head() -> None:
    (table,) = technical_blocks("# T\n\n| a | b |\n| --- | --- |\n", "About")
    assert isinstance(table, Table)
    assert [c.label for c in table.columns] == ["a", "b"] and table.rows == ()


def test_the_page_is_whole_and_says_what_the_text_says(cpp_pages) -> None:
    page = cpp_pages["technical_report.html"]
    assert form_problems(page) == outside_problems(page) == ()
    assert says_simulated(page)
    said = text(page)
    for words in ("Technical report: Falkirk", "Falkirk. Written by the run.", "1,960", "[c]"):
        assert words in said
    assert "wellbeing report" not in said.lower()
