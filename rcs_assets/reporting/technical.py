"""The technical report of a package as blocks: its Markdown, word for word.

Belongs here: headings, paragraphs and tables of `technical_report.md` as blocks. Does not
belong here: what the report says (release writes it, by the run that made the figures), and
the authored summary (`summary.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from rcs_assets.reporting.blocks import (
    Block,
    Cell,
    Column,
    Paragraph,
    Row,
    Section,
    Table,
    plain,
)
from rcs_assets.reporting.summary import TEXT_ONLY, runs_of

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_NUMBER = re.compile(r"\+?[\d,.]*|\[\w\]")


def technical_blocks(text: str, opening: str) -> tuple[Block, ...]:
    """What stands above the first heading (its title left out), then a section a heading.

    Args:
        text: the Markdown of a package.
        opening: caption of a table above the first heading.
    """
    above, *rest = _HEADING.split(text)
    sections = zip(rest[::2], rest[1::2], strict=True)
    return (
        *_blocks(above.partition("\n")[2], opening),
        *(
            Section(f"part-{at}", 2, title, tuple(_blocks(body, title)))
            for at, (title, body) in enumerate(sections, 1)
        ),
    )


def _blocks(text: str, caption: str) -> Iterator[Block]:
    """Paragraphs and tables in order.

    A caption has a number, since two landmarks of a page may not have one name.
    """
    tokens = _parser().parse(text)
    tables = 0
    for at, token in enumerate(tokens):
        if token.type == "table_open":
            tables += 1
            yield _table(tokens[at:], f"{caption}, table {tables}")
        elif token.type == "inline" and tokens[at - 1].type == "paragraph_open":
            runs = runs_of(token.children or ())
            is_mark = runs[0].kind == "strong" and runs[0].text.startswith("SIMULATED")
            yield Paragraph(runs, "simulated" if is_mark else "")


def _table(tokens: Sequence[Token], caption: str) -> Table:
    """The first table of the tokens; a column of numbers stands to the right."""
    lines: list[list[str]] = []
    for at, token in enumerate(tokens):
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            lines.append([])
        elif token.type == "inline" and tokens[at - 1].type in ("th_open", "td_open"):
            lines[-1].append("".join(run.text for run in runs_of(token.children or ())))
    heads, *rows = lines
    kinds = [
        "number" if rows and all(_NUMBER.fullmatch(cell) for cell in column) else ""
        for column in zip(*rows, strict=True)
    ] or [""] * len(heads)
    return Table(
        "technical",
        caption,
        tuple(Column(head, kind) for head, kind in zip(heads, kinds, strict=True)),
        tuple(
            Row(
                plain(row[0]),
                tuple(Cell(cell, kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
            )
            for row in rows
        ),
        scroll=caption,
    )


@cache
def _parser() -> MarkdownIt:
    """Paragraphs, tables and emphasis: nothing from outside."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable(TEXT_ONLY)
