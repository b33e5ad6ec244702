"""Looks at finished pages and PDFs from outside: figures, form, and what they would load.

Belongs here: rules that hold for a page's bytes beside the rows of its package, for
`checks.py` and the tests. Does not belong here: the view-model and the templates; nothing of
them is used, so that their faults are seen.

Pages are well-formed XML; a page that is not is a finding of its own.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    import pikepdf

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
# `1 (most deprived): 56%; 2: 58%`: what stands before a colon names a group or a place.
_LABEL = re.compile(r"[^:;.]*:")
# What the description (XMP) of a PDF must claim: name and namespace of a property → its value.
_XMP = "{http://www.aiim.org/pdf%s/ns/id/}%s"
_PDF_CLAIMS = {
    "no PDF/A-2a": {_XMP % ("a", "part"): "2", _XMP % ("a", "conformance"): "A"},
    "no PDF/UA-1": {_XMP % ("ua", "part"): "1"},
}
_PDF_TITLE = ".//{http://purl.org/dc/elements/1.1/}title//{*}li"
# What a page could load, run or send with, apart from elements and attributes.
_OUTSIDE = (b"http:", b"https:", b"@import", b"url(", b"javascript:")
_ELEMENTS = frozenset(
    "html head meta title style body a header main footer nav section div p span strong em ul ol "
    "li h1 h2 h3 table caption thead tbody tr th td dl dt dd details summary figure figcaption "
    "svg desc path circle rect text br hr code pre blockquote".split()
)
_ATTRIBUTES = frozenset(
    "lang charset http-equiv content name class id href role scope tabindex open aria-label "
    "aria-labelledby aria-hidden data-indicator data-table data-label viewBox width height d x y "
    "cx cy r text-anchor start".split()
)
_APART = frozenset({"th", "title", "strong"})
_APART_CLASSES = frozenset({"name", "derived", "note"})
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(frozen=True)
class Figures:
    """The numbers of a package's shown rows, as `normal` writes them.

    `measures`: indicator → numbers of all its shown rows; `tables`: reach and spend → numbers.
    """

    measures: Mapping[str, frozenset[str]]
    tables: Mapping[str, frozenset[str]]


def normal(number: str) -> str:
    """One form of a number: no commas, no empty decimals."""
    text = number.replace(",", "")
    return text.rstrip("0").rstrip(".") if "." in text else text


def form_problems(page: bytes) -> tuple[str, ...]:
    """What breaks the rules of outputs.md 4.7 that a program can see; empty if nothing."""
    try:
        root = ET.fromstring(page)
    except ET.ParseError:
        return ("not well-formed",)
    return tuple(
        problem
        for rule in (_frame, _headings, _tables, _drawings, _labels, _targets)
        for problem in rule(root)
    )


def _frame(root: ET.Element) -> Iterator[str]:
    if root.get("lang") != "en-GB":
        yield "no language"
    if not (root.findtext("head/title") or "").strip():
        yield "no title"
    if len(list(root.iter("main"))) != 1:
        yield "not one main part"
    used = {(element.tag, *element.keys()) for element in root.iter()}
    for name in sorted({tag for tag, *_ in used} - _ELEMENTS):
        yield f"an element that no page has: {name}"
    for name in sorted({name for _, *names in used for name in names} - _ATTRIBUTES):
        yield f"an attribute that no page has: {name}"


def _headings(root: ET.Element) -> Iterator[str]:
    levels = [int(e.tag[1]) for e in root.iter() if e.tag in _HEADINGS]
    if levels.count(1) != 1:
        yield "not one h1"
    if any(after > before + 1 for before, after in pairwise(levels)):
        yield "a heading level is skipped"


def _tables(root: ET.Element) -> Iterator[str]:
    for table in root.iter("table"):
        caption = table.find("caption")
        if caption is None or not "".join(caption.itertext()).strip():
            yield "a table without a caption"
        if any(th.get("scope") not in ("col", "row") for th in table.iter("th")):
            yield "a table header without scope"
        if any(row.find("th") is None for row in table.iter("tr")):
            yield "a table row without a header"


def _drawings(root: ET.Element) -> Iterator[str]:
    for drawing in root.iter("svg"):
        if drawing.get("aria-hidden") == "true":
            continue
        named = all((drawing.findtext(tag) or "").strip() for tag in ("title", "desc"))
        if drawing.get("role") != "img" or not named:
            yield "a chart without role, title and description"


def _labels(root: ET.Element) -> Iterator[str]:
    ids = [found for e in root.iter() if (found := e.get("id"))]
    if len(set(ids)) < len(ids):
        yield "an id stands twice"
    asked = {found for e in root.iter() if (found := e.get("aria-labelledby"))}
    if not asked <= set(ids):
        yield "a label that is not there"
    for region in root.iter("div"):
        if region.get("role") == "region" and not (
            region.get("tabindex") == "0" and region.get("aria-label")
        ):
            yield "a scroll area without name or keyboard"


def _targets(root: ET.Element) -> Iterator[str]:
    ids = {found for e in root.iter() if (found := e.get("id"))}
    if any((a.get("href") or "")[:1] != "#" for a in root.iter("a")):
        yield "a link that leaves the page"
    elif any((a.get("href") or "")[1:] not in ids for a in root.iter("a")):
        yield "a link to nowhere"


def outside_problems(page: bytes) -> tuple[str, ...]:
    """Whether the page could load or send anything: its policy, its style's hash, its text."""
    found = []
    style = re.search(rb"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[1] if style else b"").digest())
    if b"default-src 'none'; style-src 'sha256-" + digest + b"'" not in page:
        found.append("no content security policy that names its style")
    if any(token in page for token in _OUTSIDE):
        found.append("something that loads, runs or sends")
    return tuple(found)


def figure_problems(page: bytes, figures: Figures) -> tuple[str, ...]:
    """Numbers in the rows of a page that no shown row of its package has."""
    try:
        root = ET.fromstring(page)
    except ET.ParseError:
        return ("not well-formed",)
    found = []
    for element in chain(root.iter("tr"), root.iter("li")):
        indicator, table = element.get("data-indicator"), element.get("data-table")
        if indicator is None and table is None:
            continue
        allowed = figures.measures.get(indicator or "") or figures.tables.get(table or "")
        if not numbers_of(element) <= (allowed or frozenset()):
            found.append(indicator or table or "")
        # Each cell of a row of spend is a sum of its own, shown or hidden by itself.
        if table != "spend" and _told_though_hidden(element):
            found.append(f"{indicator or table} is hidden and told")
    return tuple(dict.fromkeys(found))


def numbers_of(element: ET.Element) -> set[str]:
    """Numbers in the cells and descriptions of a row; headers, titles and sums stand apart.

    Of class `derived` is what was worked out from shown figures of its row, of class `name`
    the name of a place, of class `note` the ends of a score.
    """
    texts: list[str] = []
    _gather(element, texts)
    return {normal(found) for found in _NUMBER.findall(" ".join(texts))}


def _gather(element: ET.Element, texts: list[str]) -> None:
    if element.tag in _APART or _APART_CLASSES.intersection(_classes(element)):
        texts.append(element.tail or "")
        return
    text = element.text or ""
    texts.append(_LABEL.sub("", text) if element.tag == "desc" else text)
    for child in element:
        _gather(child, texts)
    texts.append(element.tail or "")


def _classes(element: ET.Element) -> list[str]:
    return (element.get("class") or "").split()


def _told_though_hidden(row: ET.Element) -> bool:
    """Whether a row whose own figure is [c] has a number in its chart or range."""
    cells = list(row.iter("td"))
    own = [cell for cell in cells if "own" in _classes(cell)]
    if not own or not (own[0].text or "").startswith("[c]"):
        return False
    beside = cells[: cells.index(own[0]) + 2]
    return any(_NUMBER.search("".join(cell.itertext())) for cell in beside)


def says_simulated(page: bytes) -> bool:
    """Whether title and text say SIMULATED."""
    title = re.search(rb"<title>SIMULATED ", page)
    return bool(title) and page.count(b"SIMULATED") >= 2


def explorer_problems(
    folder: Path, rows: Sequence[tuple[int | None, int | None, bool]]
) -> tuple[str, ...]:
    """What an explorer lacks, tells too much, or could ask outside.

    Args:
        folder: the explorer's folder.
        rows: n, estimate in tenths and whether it is shown, of each row of the package.
    """
    page = folder / "index.html"
    if not page.is_file():
        return ("no page",)
    found = []
    if b"default-src 'none'; script-src 'self' file:; style-src 'self' file:" not in (
        page.read_bytes()
    ):
        found.append("no content security policy")
    for file in (page, folder / "explorer.js", folder / "explorer.css"):
        text = file.read_bytes().replace(b"http://www.w3.org/", b"")
        if any(token in text for token in (b"http:", b"https:", b"@import", b"url(")):
            found.append("something that loads or sends")
    files = [file for file in sorted((folder / "data").glob("*.js")) if file.stem != "meta"]
    units = [unpacked(file) for file in files]
    marks = "".join(unit["marks"] for unit in units)
    figures: list[tuple[int | None, int | None]] = []
    for unit in units:
        figures += zip(unit["n"], unit["estimate"], strict=True)
    if len(marks) != len(rows):
        found.append("another number of rows")
    if sum(mark in "pu" for mark in marks) != len(figures):
        found.append("figures without a mark that shows them")
    if Counter(figures) != Counter((n, estimate) for n, estimate, shown in rows if shown):
        found.append("other figures")
    return tuple(found)


def unpacked(file: Path) -> dict[str, Any]:
    """What a data file of an explorer holds."""
    packed = file.read_text("utf-8").split('","')[1].split('"')[0]
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return content


def pdf_problems(content: bytes, *, simulated: bool) -> tuple[str, ...]:
    """What a PDF does not say of itself: standards, tags, language, title.

    Typst refuses to write a file that breaks the standards which it is to claim; this sees a
    file that was made in another way, or changed.
    """
    import pikepdf

    try:
        with pikepdf.open(io.BytesIO(content)) as pdf:
            return tuple(_pdf_problems(pdf, simulated=simulated))
    except (pikepdf.PdfError, ET.ParseError):
        return ("no whole PDF",)


def _pdf_problems(pdf: pikepdf.Pdf, *, simulated: bool) -> Iterator[str]:
    root = pdf.Root
    said = ET.fromstring(root.Metadata.read_bytes()) if "/Metadata" in root else ET.Element("none")
    for problem, claims in _PDF_CLAIMS.items():
        if any(said.findtext(f".//{name}") != value for name, value in claims.items()):
            yield problem
    if "/StructTreeRoot" not in root or "/K" not in root.StructTreeRoot:
        yield "no tags"
    if not str(root.get("/Lang", "")):
        yield "no language"
    title = said.findtext(_PDF_TITLE)
    if not title:
        yield "no title"
    elif simulated and not title.startswith("SIMULATED "):
        yield "does not say SIMULATED"


def collect(rows: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Key and number, one pair a row, as key → numbers in their normal form."""
    found: dict[str, set[str]] = {}
    for key, number in rows:
        found.setdefault(key, set()).add(normal(number))
    return {key: frozenset(numbers) for key, numbers in found.items()}
