"""Charts that are drawn inside table rows, as strings of SVG.

Belongs here: geometry and shapes. Does not belong here: which row is drawn and what a
reader is told (`views.py`), and colours (`data/page.css`, by class).

Every coordinate comes from a released, rounded value: an SVG tells no more than the cell
beside it (policy.md, an interval gives away its inputs). Each chart has a title and a
description; the figures stand as text in the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 200
_HEIGHT = 24
_LINE = 13
# Shapes stay apart in grey print and for colour-blind readers (outputs.md, 4.2).
_SHAPES = {
    "better": "M{x} {a}l6 11h-12z",
    "worse": "M{x} {b}l6 -11h-12z",
}


@dataclass(frozen=True)
class Axis:
    """The ends of an axis; per cents run from 0 to 100."""

    low: float = 0
    high: float = 100

    def place(self, released: str) -> str:
        """The coordinate of a released value, cut at the ends of the axis."""
        share = (float(released) - self.low) / (self.high - self.low)
        return f"{min(max(share, 0.0), 1.0) * WIDTH:.4g}"


PER_CENT = Axis()


@dataclass(frozen=True)
class Dot:
    """A value with its range as released (empty: none), drawn in the class `kind`."""

    estimate: str
    ci_low: str
    ci_high: str
    kind: str = "plain"
    label: str = ""


def shape(kind: str, x: str, y: int) -> str:
    """A rating's shape: up triangle, circle, down triangle."""
    if kind in _SHAPES:
        path = _SHAPES[kind].format(x=x, a=y - 6, b=y + 6)
        return f'<path class="{kind}" d="{path}"/>'
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="5"/>'


def icon(kind: str) -> Markup:
    """A rating's shape alone; decoration, since its word stands beside it."""
    return Markup(
        f'<svg class="icon" viewBox="0 0 14 14" aria-hidden="true">{shape(kind, "7", 7)}</svg>'
    )


def marks(kinds: Sequence[str], title: str) -> Markup:
    """One shape a measure in a row, with what it says in the title."""
    drawn = "".join(shape(kind, str(7 + 15 * i), 7) for i, kind in enumerate(kinds))
    width = max(15 * len(kinds), 15)
    return Markup(
        f'<svg class="marks" width="{width}" height="14" viewBox="0 0 {width} 14" role="img">'
        f"<title>{escape(title)}</title><desc>One shape a measure</desc>{drawn}</svg>"
    )


def no_chart(words: str) -> Markup:
    """What stands in a chart row without a figure: no empty bar (outputs.md, 4.6)."""
    return Markup(f'<span class="none">{escape(words)}</span>')


def strip(title: str, says: str, dot: Dot, area: Dot | None, axis: Axis = PER_CENT) -> Markup:
    """Dot and range of one row; `area` is an upright bar, its range a pale band."""
    drawn = _area(area, axis, _HEIGHT) if area else ""
    return _svg(title, says, drawn + _dot(dot, axis, _LINE), _HEIGHT)


def stack(title: str, says: str, dots: Sequence[Dot | None], axis: Axis = PER_CENT) -> Markup:
    """The groups of one measure under each other, in order; a hidden group leaves its line."""
    step = 13
    drawn = "".join(
        _dot(dot, axis, 8 + step * i, small=True) for i, dot in enumerate(dots) if dot is not None
    )
    return _svg(title, says, drawn, step * len(dots) + 3)


def example(own: str, area: str) -> Markup:
    """An annotated strip with made-up figures; without `area` nothing stands beside."""
    grid = "".join(f'<path class="rule" d="M{x} 30v26"/>' for x in range(0, WIDTH + 1, 50))
    ticks = "".join(
        f'<text x="{x}" y="26" text-anchor="{anchor}">{words}</text>'
        for x, anchor, words in ((0, "start", "0%"), (100, "middle", "50%"), (WIDTH, "end", "100%"))
    )
    bar = '<path class="area" d="M140 32v22"/>' if area else ""
    label = (
        f'<path class="thin" d="M141 55l4 7"/><text x="{WIDTH + 4}" y="70" text-anchor="end">'
        f"{escape(area)}: 70%</text>"
        if area
        else ""
    )
    said = f"{own}: 60%, likely range 52% to 68%" + (f". {area}: 70%" if area else "")
    return Markup(
        f'<svg class="strip example-strip" viewBox="-6 0 {WIDTH + 12} 86" role="img">'
        f"<title>Example</title><desc>{escape(said)}</desc>{grid}{ticks}{bar}{label}"
        f'<path class="range" d="M104 43H136"/>{shape("similar" if area else "plain", "120", 43)}'
        f'<path class="thin" d="M120 12v24"/><text x="120" y="9" text-anchor="middle">'
        f"{escape(own[:1].upper() + own[1:])}: 60%</text>"
        '<path class="thin" d="M108 46L92 74"/>'
        '<text x="60" y="83" text-anchor="middle">Likely range: 52% to 68%</text></svg>'
    )


def dumbbell(title: str, says: str, first: str, second: str) -> Markup:
    """Two per cents joined by a line: filled circle and hollow square."""
    a, b = PER_CENT.place(first), PER_CENT.place(second)
    side = f"{float(b) - 5:.4g}"
    return _svg(
        title,
        says,
        f'<path class="range" d="M{a} {_LINE}H{b}"/><rect class="second" x="{side}" '
        f'y="{_LINE - 5}" width="10" height="10"/><circle class="first" cx="{a}" cy="{_LINE}" '
        'r="5.5"/>',
        _HEIGHT,
    )


def share_bar(title: str, says: str, share: str, dot: Dot | None = None) -> Markup:
    """A part of a whole from 0 to 100 %, with the range of the part."""
    end = PER_CENT.place(share)
    drawn = (
        f'<rect class="rest" x="0" y="4" width="{WIDTH}" height="16"/>'
        f'<rect class="part" x="0" y="4" width="{end}" height="16"/>'
    )
    if dot and dot.ci_low:
        low, high = PER_CENT.place(dot.ci_low), PER_CENT.place(dot.ci_high)
        drawn += f'<path class="whisker" d="M{low} 12H{high}M{low} 8v8M{high} 8v8"/>'
    return _svg(title, says, drawn, _HEIGHT)


def stacked_bar(title: str, says: str, shares: Sequence[tuple[str, float]]) -> Markup:
    """Parts of a whole side by side; `shares` are class and share of 1."""
    drawn, start = [], 0.0
    for kind, share in shares:
        x, width = start * WIDTH, share * WIDTH
        drawn.append(f'<rect class="{kind}" x="{x:.1f}" y="3" width="{width:.1f}" height="18"/>')
        start += share
    return _svg(title, says, "".join(drawn), _HEIGHT)


def _area(area: Dot, axis: Axis, height: int) -> str:
    x = float(axis.place(area.estimate))
    band = ""
    if area.ci_low:
        low, high = float(axis.place(area.ci_low)), float(axis.place(area.ci_high))
        band = f'<path class="band" d="M{low:.4g} 1H{high:.4g}V{height - 1}H{low:.4g}z"/>'
    return f'{band}<path class="area" d="M{x:.4g} 2v{height - 3}"/>'


def _dot(dot: Dot, axis: Axis, y: int, *, small: bool = False) -> str:
    x = axis.place(dot.estimate)
    drawn = ""
    if dot.ci_low:
        low, high = axis.place(dot.ci_low), axis.place(dot.ci_high)
        drawn = f'<path class="range" d="M{low} {y}H{high}"/>'
    if small:
        return f'{drawn}<circle class="{dot.kind}" cx="{x}" cy="{y}" r="4"/>'
    return drawn + shape(dot.kind, x, y)


def _svg(title: str, says: str, drawn: str, height: int) -> Markup:
    return Markup(
        f'<svg class="strip" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><desc>{escape(says)}</desc>{drawn}</svg>"
    )
