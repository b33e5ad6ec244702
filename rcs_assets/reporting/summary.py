"""The authored summary of a CPP page: Markdown whose figures are placeholders.

Belongs here: filling placeholders from the package's rows, refusing what an author may not
write, and Markdown to blocks. Does not belong here: where the file comes from (release puts
`summary.md` into the package, and its bytes into the candidate's hash).

A figure is written `{{ indicator }}` (all pupils) or
`{{ indicator | breakdown=sex group=F show=range }}`; `show` is value (default), range or n.
`{{ area }}` is the CPP's name. Text may hold no figure by hand, in digits or in words: it would be
a second truth beside the tables, and could tell what they hide. Raw HTML is not rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from markdown_it import MarkdownIt
from markdown_it.token import Token

from rcs_assets.errors import InputError
from rcs_assets.reporting import wording
from rcs_assets.reporting.blocks import Bullets, Item, Paragraph, Run, Runs
from rcs_assets.reporting.numerals import figure_by_hand
from rcs_assets.reporting.package import Cell, Package
from rcs_assets.reporting.settings import load_settings

# Up to the next pair of braces: one that is not closed does not reach into the next placeholder.
_PLACEHOLDER = re.compile(r"\{\{((?:(?!\{\{).)*?)\}\}", re.DOTALL)
_BRACES = re.compile(r"\{\{|\}\}")
# Rules of Markdown that are switched off: what they would make stays text.
TEXT_ONLY = (
    "link", "image", "autolink", "heading", "lheading", "html_block", "html_inline",
    "fence", "code", "backticks", "blockquote", "hr",
)  # fmt: skip
_OPTION = re.compile(r"^(breakdown|group|show)=(\S+)$")


class HiddenFigureError(InputError):
    """A placeholder asks for a figure that the package does not show."""


def summary_blocks(package: Package) -> tuple[tuple[Paragraph | Bullets, ...], bool]:
    """The summary as paragraphs and lists, and whether somebody wrote it.

    Of the packaged default, paragraphs whose figures are not shown are left out; of an
    authored text nothing is left out: it is refused.

    Raises:
        InputError: a figure by hand, an unknown placeholder, or a figure that is not shown;
            it names file, line and what to do.
    """
    if package.summary is None:
        return _blocks(_filled_default(package)), False
    where = f"config/summaries/{package.own.engagement}.md"
    return _blocks(filled(package.summary, package, where)), True


def _blocks(markdown: str) -> tuple[Paragraph | Bullets, ...]:
    """Paragraphs and lists in order; a list inside a list is joined to it."""
    found: list[Paragraph | Bullets] = []
    items: list[Item] = []
    depth, is_ordered = 0, False
    for token in _parser().parse(markdown):
        if token.type.endswith("_list_open"):
            is_ordered = token.type.startswith("ordered") if not depth else is_ordered
            depth += 1
        elif token.type.endswith("_list_close"):
            depth -= 1
            if not depth:
                found.append(Bullets(tuple(items), is_ordered))
                items = []
        elif token.type == "inline":
            runs = runs_of(token.children or ())
            if depth:
                items.append(Item(runs))
            else:
                found.append(Paragraph(runs))
    return tuple(found)


def runs_of(tokens: Iterable[Token]) -> Runs:
    """Inline tokens as runs of text."""
    runs: list[Run] = []
    kinds: list[str] = []
    for token in tokens:
        if token.type.endswith("_open"):
            kinds.append(token.type.removesuffix("_open"))
        elif token.type.endswith("_close"):
            kinds.pop()
        elif token.type in ("softbreak", "hardbreak"):
            runs.append(Run(" "))
        else:
            runs.append(Run(token.content, kinds[-1] if kinds else ""))
    return tuple(run for run in runs if run.text)


def filled(text: str, package: Package, where: str) -> str:
    """The Markdown with every placeholder replaced.

    Args:
        text: the author's Markdown.
        package: the CPP's package.
        where: the file, for messages.
    """
    blank = _PLACEHOLDER.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), text)
    _refuse_figures(blank, package, where)
    left = _BRACES.search(blank)
    if left:
        raise InputError(
            "A placeholder in the summary is not closed",
            where=f"{where}, line {_line(blank, left.start())}",
            fix="write {{ indicator }} with two braces at both ends",
        )
    return _PLACEHOLDER.sub(
        lambda found: _figure(found[1], package, f"{where}, line {_line(text, found.start())}"),
        text,
    )


def _filled_default(package: Package) -> str:
    text = (resources.files("rcs_assets.reporting") / "data" / "summary.md").read_text("utf-8")
    kept = []
    for block in re.split(r"\n(?=\n|- )", text):
        try:
            kept.append(filled(block, package, "reporting/data/summary.md"))
        except HiddenFigureError:
            continue
    return "\n".join(kept)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _refuse_figures(blank: str, package: Package, where: str) -> None:
    """Of the text as it will be read: an entity, an escape or emphasis hides no digit.

    Args:
        blank: the author's Markdown with a letter for each sign of a placeholder.
        package: for the names that may hold digits.
        where: the file, for messages.
    """
    names = _names(package)
    for token in _parser().parse(blank):
        if token.type != "inline" or token.map is None:
            continue
        seen = "".join(
            "\n" if child.type in ("softbreak", "hardbreak") else child.content
            for child in token.children or ()
        )
        at = figure_by_hand(seen, load_settings().numerals, names)
        if at is None:
            continue
        # What was found is not told again: it may be a hidden figure.
        line = token.map[0] + 1 + seen.count("\n", 0, at)
        raise InputError(
            "The summary holds a figure by hand, in digits or in words",
            where=f"{where}, line {line}",
            why="figures come from the release alone, so that text and tables agree and nothing "
            "hidden is told",
            fix="write a placeholder such as {{ secondary_trusted_adult }}; years, days of a "
            "month and stages such as S2 may stand",
        )


def _names(package: Package) -> set[str]:
    """Stages, places and measures of the package, whose names may hold digits."""
    stages = {s for m in package.measures.values() for s in re.split(r"[,\s]+", m.stages) if s}
    return {
        *stages,
        *(place.name for place in package.geographies),
        *(measure.title for measure in package.measures.values()),
    }


def _figure(text: str, package: Package, where: str) -> str:
    name, _, rest = (part.strip() for part in text.partition("|"))
    options = _options(rest, where)
    if name == "area":
        if options:
            raise InputError(
                "The summary gives an option to {{ area }}, which is a name and has none",
                where=where,
                fix="write {{ area }}, or name an indicator in its place",
            )
        return package.name_of(package.own)
    measure = package.measures.get(name)
    if measure is None:
        raise InputError(
            f"The summary names a measure that the package does not have: {name or 'nothing'}",
            where=where,
            fix="use a name of the table indicators, or {{ area }}",
        )
    survey = name.split("_", 1)[0]
    breakdown, group = options.get("breakdown", "total"), options.get("group", "all")
    cell = package.cell(package.own, survey, name, breakdown, group)
    if cell is None:
        _refuse_group(options, name, package.groups(package.own, survey, name), where)
    return _shown(cell, options.get("show", "value"), name, where)


def _options(text: str, where: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for word in text.split():
        option = _OPTION.match(word)
        if not option:
            raise InputError(
                "A placeholder in the summary has an option that is not known",
                where=where,
                fix="use breakdown=… group=… show=value, show=range or show=n",
            )
        found[option[1]] = option[2]
    return found


def _refuse_group(
    options: Mapping[str, str], name: str, known: Mapping[str, list[str]], where: str
) -> None:
    """Name a breakdown or group that a measure does not have; nothing where it has no row at all.

    Raises:
        InputError: says which there are.
    """
    if not known:
        return
    breakdown = options.get("breakdown", "total")
    if breakdown not in known:
        what = f"The summary names a breakdown that {name} does not have: {breakdown}"
        fix = f"use one of: {', '.join(b for b in known if b != 'total')}"
    elif breakdown == "total":
        what = f"The summary names a group of {name} without its breakdown: {options['group']}"
        having = [b for b, groups in known.items() if options["group"] in groups]
        fix = f"write breakdown=… with it: {', '.join(having or list(known))}"
    else:
        group = options.get("group")
        told = f"a group that {name} does not have" if group else "no group of a breakdown"
        what = f"The summary names {told}: breakdown={breakdown}" + (
            f" group={group}" if group else ""
        )
        fix = f"write group=… with one of: {', '.join(known[breakdown])}"
    raise InputError(what, where=where, why="figures come from rows of the release", fix=fix)


def _shown(cell: Cell | None, show: str, name: str, where: str) -> str:
    if cell is None or not cell.is_shown:
        raise HiddenFigureError(
            f"The summary asks for a figure that is not shown: {name}",
            where=where,
            why=f"its mark in this release is {wording.mark(cell)}",
            fix="take the sentence out, or use a figure that the page shows",
        )
    said = {
        "value": wording.value(cell),
        "range": wording.span(cell),
        "n": wording.thousands(cell.n) if cell.n else "",
    }
    if not said.get(show):
        raise InputError(
            f"The summary asks for something that {name} does not have",
            where=where,
            fix="use show=value, show=range or show=n",
        )
    return said[show]


@cache
def _parser() -> MarkdownIt:
    """Paragraphs, lists and emphasis: no raw HTML, links, images or code (nothing from outside).

    Headings stay text: the report has its own.
    """
    return MarkdownIt("commonmark", {"html": False}).disable(TEXT_ONLY)
