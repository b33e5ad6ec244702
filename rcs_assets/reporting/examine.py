"""Looks at finished pages from outside: figures, form, and what they would load.

Belongs here: rules that hold for a page's bytes beside the rows of its package, for
`checks.py` and the tests. Does not belong here: the view-model and the templates; nothing of
them is used, so that their faults are seen.

Pages are well-formed XML; a page that is not is a finding of its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
# `1 (most deprived): 56%; 2: 58%`: what stands before a colon names a group or a place.
_LABEL = re.compile(r"[^:;.]*:")
_OUTSIDE = re.compile(
    rb"https?:|(?<!\w)(?:src|srcset|poster|action|ping)\s*=|@import|url\(|<script|<link|<iframe|"
    rb"\son\w+\s*=|\sstyle\s*="
)
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
    if any(element.tag in ("input", "script", "img", "canvas") for element in root.iter()):
        yield "an element that no page has"


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
    body = page[page.find(b"</head>") :]
    if _OUTSIDE.search(body) or (style and _OUTSIDE.search(style[1])):
        found.append("something that loads, runs or sends")
    return tuple(found)


def figure_problems(page: bytes, figures: Figures) -> tuple[str, ...]:
    """Numbers in the rows of a page that no shown row of its package has."""
    try:
        root = ET.fromstring(page)
    except ET.ParseError:
        return ("not well-formed",)
    found = []
    for element in root.iter():
        indicator, table = element.get("data-indicator"), element.get("data-table")
        if indicator is None and table is None:
            continue
        allowed = figures.measures.get(indicator or "") or figures.tables.get(table or "")
        if not numbers_of(element) <= (allowed or frozenset()):
            found.append(indicator or table or "")
        if _told_though_hidden(element):
            found.append(f"{indicator or table} is hidden and told")
    return tuple(dict.fromkeys(found))


def numbers_of(element: ET.Element) -> set[str]:
    """Numbers in the cells and descriptions of a row; headers, titles and sums stand apart.

    Of class `derived` is what was worked out from shown figures of its row, of class `name`
    the name of a place.
    """
    return {normal(found) for text in _texts(element) for found in _NUMBER.findall(text)}


def _texts(element: ET.Element) -> Iterator[str]:
    if element.tag in ("th", "title", "strong") or set(_classes(element)) & {"name", "derived"}:
        yield element.tail or ""
        return
    text = element.text or ""
    yield _LABEL.sub("", text) if element.tag == "desc" else text
    for child in element:
        yield from _texts(child)
    yield element.tail or ""


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


def collect(rows: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """Key and number, one pair a row, as key → numbers in their normal form."""
    found: dict[str, set[str]] = {}
    for key, number in rows:
        found.setdefault(key, set()).add(normal(number))
    return {key: frozenset(numbers) for key, numbers in found.items()}
