"""The PDF: the same words and figures as the page, tagged, archive-ready, the same each time."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader

from rcs_assets.reporting.blocks import (
    Bullets,
    Contents,
    Document,
    Fold,
    Paragraph,
    Section,
    Table,
    walk,
)
from rcs_assets.reporting.examine import pdf_problems
from rcs_assets.reporting.package import read_package
from rcs_assets.reporting.pages import package_documents
from rcs_assets.reporting.pdf import render_pdf
from rcs_assets.reporting.render import render_html
from tests.unit.reporting import made
from tests.unit.reporting.conftest import CPP, SCHOOL, tree

KINDS = ("school", "cpp", "cluster", "public", "summary", "technical")


@pytest.fixture(scope="module")
def documents(school_folder: Path, cpp_folder: Path, tmp_path_factory) -> dict[str, Document]:
    public = made.write_public(tmp_path_factory.mktemp("public"))
    found = (
        *package_documents(read_package(school_folder, SCHOOL)),
        *package_documents(read_package(cpp_folder, CPP)),
        *package_documents(read_package(public, "public")),
    )
    return {document.kind: document for document in found}


@pytest.fixture(scope="module")
def pdfs(documents) -> dict[str, bytes]:
    return {kind: render_pdf(documents[kind]) for kind in KINDS}


def words(text: str) -> Counter[str]:
    """Figures, words and signs; where a line breaks does not matter."""
    return Counter(re.findall(r"\d[\d.,]*%?|\w+|[^\w\s]", text))


def page_text(page: bytes) -> Iterator[str]:
    """What a reader sees of an HTML page, without what is there for screens alone."""
    body = tree(page).find("body")
    assert body is not None
    yield from _shown(body)


def _shown(element: ET.Element) -> Iterator[str]:
    classes = (element.get("class") or "").split()
    if element.tag in ("title", "desc", "nav") or "skip" in classes or is_screen_only(element):
        yield element.tail or ""
        return
    yield f" {element.text or ''}" if element.tag in BLOCKS else element.text or ""
    for child in element:
        yield from _shown(child)
    yield f" {element.tail or ''}" if element.tag in BLOCKS else element.tail or ""


BLOCKS = frozenset("p li td th dt dd h1 h2 h3 caption summary span text figcaption".split())
_screen_only: set[str] = set()


def is_screen_only(element: ET.Element) -> bool:
    return element.tag == "details" and (element.findtext("summary") or "") in _screen_only


def pdf_text(pdf: bytes, document: Document) -> str:
    """What stands on the pages, without what is repeated at their feet."""
    pages = PdfReader(io.BytesIO(pdf)).pages
    page, of = document.page_words
    said = []
    for number, one in enumerate(pages, 1):
        text = " ".join(one.extract_text().split())
        foot = f"{document.running} {page} {number} {of} {len(pages)}"
        assert text.count(foot) == 1, (text[-200:], foot)
        said.append(text.replace(foot, " "))
    return " ".join(said)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pdf_says_what_the_page_says(documents, pdfs, kind) -> None:
    """Each word and figure as often as on the page: no more, no fewer.

    Only heads of tables that go over a page stand again, and points before lines of lists.
    """
    document = documents[kind]
    _screen_only.clear()
    _screen_only.update(
        block.summary
        for block in walk(document.blocks)
        if isinstance(block, Fold) and not block.in_print
    )
    page = words("".join(page_text(render_html(document))))
    pdf = words(pdf_text(pdfs[kind], document))
    assert sum(page.values()) > (50 if kind == "technical" else 500)
    tables = [block for block in walk(document.blocks) if isinstance(block, Table)]
    heads = [words(" ".join(column.label for column in table.columns)) for table in tables]
    lists = [block for block in walk(document.blocks) if isinstance(block, Bullets)]
    points = Counter({"•": sum(len(block.items) for block in lists)})
    more = pdf - points - page
    assert page - pdf == Counter()
    assert pdf["•"] == points["•"]
    assert set(more) <= set().union(*heads), more
    assert max(more.values(), default=0) < len(PdfReader(io.BytesIO(pdfs[kind])).pages)


@pytest.mark.parametrize("kind", KINDS)
def test_it_claims_what_readers_and_archives_need(pdfs, kind) -> None:
    assert pdf_problems(pdfs[kind], simulated=True) == ()
    catalogue = PdfReader(io.BytesIO(pdfs[kind])).trailer["/Root"]
    assert catalogue["/Lang"] == "en-GB"
    assert catalogue["/MarkInfo"]["/Marked"]
    assert catalogue["/ViewerPreferences"]["/DisplayDocTitle"]


def tags(pdf: bytes) -> Counter[str]:
    """How often each tag stands in the tree of the PDF."""
    root = PdfReader(io.BytesIO(pdf)).trailer["/Root"]["/StructTreeRoot"]
    found: Counter[str] = Counter()
    waiting = [root]
    while waiting:
        node = waiting.pop().get_object()
        if not hasattr(node, "get"):
            continue
        found[str(node.get("/S"))] += 1
        kids = node.get("/K", [])
        kids = kids if isinstance(kids, list) else [kids]
        waiting += [kid for kid in kids if not isinstance(kid, int)]
    return found


@pytest.mark.parametrize("kind", ("school", "cpp"))
def test_tables_headings_and_lists_are_tagged_and_drawings_are_not(documents, pdfs, kind) -> None:
    found = tags(pdfs[kind])
    blocks = [block for block in walk(documents[kind].blocks) if not isinstance(block, Contents)]
    tables = [block for block in blocks if isinstance(block, Table)]
    screen_only = sum(isinstance(b, Fold) and not b.in_print for b in blocks)
    assert found["/Table"] == len(tables) - screen_only
    assert found["/TH"] >= 3 * found["/Table"]
    sections = [block for block in blocks if isinstance(block, Section)]
    assert found["/H1"] == 1
    assert found["/H2"] + found["/H3"] == len(sections)
    assert found["/L"] >= 2 and found["/Figure"] == 0


@pytest.mark.parametrize("kind", ("school", "cpp"))
def test_each_paragraph_is_one(documents, pdfs, kind) -> None:
    """So that a reader of a screen does not hear two as one; a caption is one too."""
    blocks = (*walk(documents[kind].blocks), *documents[kind].foot)
    found = sum(isinstance(b, Paragraph | Table) for b in blocks)
    left_out = sum(isinstance(b, Fold) and not b.in_print for b in blocks)
    assert tags(pdfs[kind])["/P"] >= found - left_out > 20


def test_the_same_document_gives_the_same_bytes(documents, pdfs) -> None:
    assert render_pdf(documents["school"]) == pdfs["school"]


def report(folder: Path, **options) -> list[str]:
    """Text of each page of a school's report, which is small enough to be sent by e-mail."""
    (document,) = package_documents(read_package(made.write_school(folder, **options), SCHOOL))
    made_pdf = render_pdf(document)
    assert len(made_pdf) < 250_000
    return [page.extract_text() for page in PdfReader(io.BytesIO(made_pdf)).pages]


LONG = "Comhairle nan Eilean Siar"


@pytest.mark.parametrize("statuses", (made.all_shown, made.some_hidden, made.all_hidden))
@pytest.mark.parametrize("survey", ("primary", "secondary"))
def test_a_school_report_is_four_pages_and_the_first_tells_the_story(
    tmp_path, survey, statuses
) -> None:
    """The most that page 1 can hold: three headlines a side, a long name of the area."""
    found = report(tmp_path, surveys=(survey,), statuses=statuses, area=LONG)
    assert len(found) <= 4
    assert "Use with care" in found[0] and "Results by wellbeing domain" in found[1]
    assert min(map(len, found)) > 800


def test_a_campus_with_both_surveys_is_at_most_seven_pages(tmp_path) -> None:
    found = report(tmp_path, surveys=("primary", "secondary"))
    assert len(found) <= 7
    assert min(map(len, found)) > 400


@pytest.mark.parametrize("statuses", (made.all_shown, made.some_hidden, made.all_hidden))
def test_the_summary_for_members_is_one_page(tmp_path, statuses) -> None:
    folder = made.write_cpp(tmp_path, statuses=statuses, services=False)
    (summary,) = (d for d in package_documents(read_package(folder, CPP)) if d.path == "summary")
    assert len(PdfReader(io.BytesIO(render_pdf(summary))).pages) == 1


def test_nothing_in_a_name_is_a_command(tmp_path) -> None:
    name = 'Sgoil "Lèanaidh" #panic() $x$ *b* <a> \\ `c` // /* Mary\'s & Co @ref _u_ = 1'
    (document,) = package_documents(read_package(made.write_school(tmp_path, name=name), SCHOOL))
    first = PdfReader(io.BytesIO(render_pdf(document))).pages[0].extract_text()
    assert name in " ".join(first.split())


def test_what_is_not_a_tagged_pdf_is_found(pdfs) -> None:
    import pikepdf

    def changed(change) -> tuple[str, ...]:
        out = io.BytesIO()
        with pikepdf.open(io.BytesIO(pdfs["school"])) as pdf:
            change(pdf.Root)
            pdf.save(out)
        return pdf_problems(out.getvalue(), simulated=True)

    def swap(old: bytes, new: bytes):
        def change(root) -> None:
            said = root.Metadata.read_bytes()
            assert old in said
            root.Metadata.write(said.replace(old, new))

        return change

    assert changed(lambda root: None) == ()
    assert changed(swap(b"<pdfaid:part>2", b"<pdfaid:part>3")) == ("no PDF/A-2a",)
    assert changed(swap(b"<pdfuaid:part>1", b"<pdfuaid:part>2")) == ("no PDF/UA-1",)
    assert changed(swap(b'x-default">SIMULATED ', b'x-default">')) == ("does not say SIMULATED",)
    assert changed(swap(b"dc:title", b"dc:topic")) == ("no title",)
    assert changed(lambda root: root.__delitem__("/StructTreeRoot")) == ("no tags",)
    assert changed(lambda root: root.__delitem__("/Lang")) == ("no language",)
    assert pdf_problems(b"not a PDF", simulated=True) == ("no whole PDF",)
