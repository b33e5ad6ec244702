"""A document as a tree of blocks: every word of a report, in order, ready to be set.

Belongs here: the kinds of blocks that a report is made of. Does not belong here: which blocks
a report has (`layout.py`) and how they look (`render.py` with templates for HTML, `pdf.py`
with `data/typst/report.typ` for PDF). A renderer adds no word and no figure of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rcs_assets.reporting.charts import Chart


@dataclass(frozen=True)
class Run:
    """A piece of text; `kind` is strong, em, muted, note, name (of a place) or break."""

    text: str
    kind: str = ""


Runs = tuple[Run, ...]


def plain(text: str) -> Runs:
    """Text of one kind."""
    return (Run(text),)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `kind` is muted, simulated, statement or release where it stands apart."""

    runs: Runs
    kind: str = ""


@dataclass(frozen=True)
class Item:
    """One line of a list; `indicator` names the measure whose figures it tells."""

    runs: Runs
    indicator: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[Item, ...]
    is_ordered: bool = False


@dataclass(frozen=True)
class Tile:
    """A figure of the first screen, with its word and, for a rating, its shape."""

    kind: str
    value: str
    text: str


@dataclass(frozen=True)
class Tiles:
    """The figures of the first screen."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Terms:
    """Names and what they mean; `kind` is marks or facts."""

    pairs: tuple[tuple[str, str], ...]
    kind: str


@dataclass(frozen=True)
class Contents:
    """Links to the sections of a long page; a PDF has its outline instead."""

    label: str
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Key:
    """What shapes and fills mean: kind and words."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption, and what stands beside it."""

    chart: Chart
    caption: str
    beside: tuple[Block, ...]


@dataclass(frozen=True)
class Rated:
    """A rating in a cell: a word with a shape, or a mark without one."""

    kind: str
    word: str


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `kind` is number, own, derived, chart, wide or empty."""

    content: str | Chart | Rated
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """The head of a column; of kind percent or score it is the axis of its charts."""

    label: str
    kind: str = ""


@dataclass(frozen=True)
class Row:
    """One row; `indicator` or `table` says whose figures it tells."""

    head: Runs
    cells: tuple[Cell, ...]
    indicator: str = ""
    table: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    `kind` names its look; `scroll` is the label of the scroll area where it is too wide to
    be stacked on a small screen; `keys` explain shapes beside the caption.
    """

    kind: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    scroll: str = ""
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading with what follows; `kind` is domain, summary, or page (starts a new one)."""

    anchor: str
    level: int
    title: str
    blocks: tuple[Block, ...]
    kind: str = ""


@dataclass(frozen=True)
class Pair:
    """Two sections side by side where there is room."""

    left: Section
    right: Section


@dataclass(frozen=True)
class Fold:
    """What opens on demand on a screen; in print it stands open, or is left out."""

    summary: str
    blocks: tuple[Block, ...]
    is_open: bool = False
    in_print: bool = True


Block = (
    Paragraph | Bullets | Tiles | Terms | Contents | Key | Figure | Table | Section | Pair | Fold
)


@dataclass(frozen=True)
class Document:
    """One report.

    `path` is without its suffix (`report`, `clusters/<code>`); `head` is the title of the
    file; `running` stands at the foot of each printed page.
    """

    path: str
    kind: str
    head: str
    title: str
    kicker: str
    year: str
    lines: str
    skip: str
    running: str
    page_words: tuple[str, str]
    as_of: str
    blocks: tuple[Block, ...]
    foot: tuple[Block, ...]


def internal_page(
    *,
    kind: str,
    title: str,
    mark: str,
    blocks: Iterable[Block],
    path: str = "",
    head: str = "",
    kicker: str = "",
    lines: str = "",
    as_of: str = "",
) -> Document:
    """A page of the platform's own for people inside, which is no part of a release.

    Args:
        kind: of the page; its path as well, unless `path` is given.
        title: the heading; the title of the file as well, unless `head` is given.
        mark: who may see it, at the foot of each page; above the title as well, unless `kicker`
            is given.
        blocks: what it says.
        path, head, kicker, lines, as_of: as in `Document`.
    """
    return Document(
        path=path or kind,
        kind=kind,
        head=head or title,
        title=title,
        kicker=kicker or mark,
        year="",
        lines=lines,
        skip="Skip to the content",
        running=mark,
        page_words=("page", "of"),
        as_of=as_of,
        blocks=tuple(blocks),
        foot=(Paragraph(plain(f"{mark}. This page loads nothing from anywhere.")),),
    )


def walk(blocks: Iterable[Block]) -> Iterable[Block]:
    """Every block, also inside others, in order."""
    for block in blocks:
        yield block
        match block:
            case Section() | Fold():
                yield from walk(block.blocks)
            case Pair():
                yield from walk((block.left, block.right))
            case Figure():
                yield from walk(block.beside)
