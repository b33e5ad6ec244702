"""Charts as SVG inside table rows of an HTML page.

Belongs here: geometry and shapes of `charts.py` for a browser. Does not belong here: what is
drawn and what a reader is told, and colours (`data/page.css`, by class).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from rcs_assets.reporting.charts import (
    Chart,
    Dot,
    Dumbbell,
    Example,
    Flow,
    Marks,
    NotDrawn,
    ShareBar,
    Shift,
    Stack,
    StackedBar,
    Strip,
)

_WIDTH = 200
_HEIGHT = 24
_LINE = 13
# Least way in units of the drawing that holds an arrow between the two shapes.
_ARROW = 16
# Shapes stay apart in grey print and for colour-blind readers (outputs.md, 4.2).
_SHAPES = {
    "better": "M{x} {a}l6 11h-12z",
    "worse": "M{x} {b}l6 -11h-12z",
}
_KEYS = {
    "first": '<circle class="first" cx="7" cy="7" r="5.5"/>',
    "before": '<circle class="before" cx="7" cy="7" r="5"/>',
    "second": '<rect class="second" x="2" y="2" width="10" height="10"/>',
    "none": '<circle class="none" cx="7" cy="7" r="4"/>',
}


def svg(chart: Chart) -> Markup:
    """The chart as markup."""
    return _DRAWN[type(chart)](chart)


def icon(kind: str) -> Markup:
    """A shape alone; decoration, since its word stands beside it."""
    if kind in ("better", "similar", "worse"):
        drawn = _shape(kind, "7", 7)
    else:
        drawn = _KEYS.get(kind) or f'<rect class="{kind}" x="1" y="1" width="12" height="12"/>'
    return Markup(f'<svg class="icon" viewBox="0 0 14 14" aria-hidden="true">{drawn}</svg>')


def _shape(kind: str, x: str, y: int) -> str:
    """A rating's shape: up triangle, circle, down triangle."""
    if kind in _SHAPES:
        path = _SHAPES[kind].format(x=x, a=y - 6, b=y + 6)
        return f'<path class="{kind}" d="{path}"/>'
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{4 if kind == "none" else 5}"/>'


def _at(share: float) -> str:
    return f"{share * _WIDTH:.4g}"


def _marks(chart: Marks) -> Markup:
    drawn = "".join(_shape(kind, str(7 + 15 * i), 7) for i, kind in enumerate(chart.kinds))
    width = max(15 * len(chart.kinds), 15)
    return Markup(
        f'<svg class="marks" width="{width}" height="14" viewBox="0 0 {width} 14" role="img">'
        f"<title>{escape(chart.title)}</title><desc>{escape(chart.says)}</desc>{drawn}</svg>"
    )


def _not_drawn(chart: NotDrawn) -> Markup:
    return Markup(f'<span class="none">{escape(chart.words)}</span>') if chart.words else Markup("")


def _strip(chart: Strip) -> Markup:
    drawn = _area(chart.area, _HEIGHT) if chart.area else ""
    return _svg(chart.title, chart.says, drawn + _dot(chart.dot, _LINE), _HEIGHT)


def _stack(chart: Stack) -> Markup:
    step = 13
    drawn = "".join(
        _dot(dot, 8 + step * i, small=True) for i, dot in enumerate(chart.dots) if dot is not None
    )
    return _svg(chart.title, chart.says, drawn, step * len(chart.dots) + 3)


def _example(chart: Example) -> Markup:
    grid = "".join(f'<path class="rule" d="M{x} 30v26"/>' for x in range(0, _WIDTH + 1, 50))
    ticks = "".join(
        f'<text x="{x}" y="26" text-anchor="{anchor}">{words}</text>'
        for x, anchor, words in (
            (0, "start", "0%"),
            (100, "middle", "50%"),
            (_WIDTH, "end", "100%"),
        )
    )
    bar = '<path class="area" d="M140 32v22"/>' if chart.area else ""
    label = (
        f'<path class="thin" d="M141 55l4 7"/><text x="{_WIDTH + 4}" y="70" text-anchor="end">'
        f"{escape(chart.area)}</text>"
        if chart.area
        else ""
    )
    shape = _shape("similar" if chart.area else "plain", "120", 43)
    return Markup(
        f'<svg class="strip example-strip" viewBox="-6 0 {_WIDTH + 12} 86" role="img">'
        f"<title>{escape(chart.title)}</title><desc>{escape(chart.says)}</desc>{grid}{ticks}{bar}"
        f'{label}<path class="range" d="M104 43H136"/>{shape}'
        f'<path class="thin" d="M120 12v24"/><text x="120" y="9" text-anchor="middle">'
        f"{escape(chart.own)}</text>"
        '<path class="thin" d="M108 46L92 74"/>'
        f'<text x="60" y="83" text-anchor="middle">{escape(chart.span)}</text></svg>'
    )


def _flow(chart: Flow) -> Markup:
    """Boxes with arrows down, and thinner ones to the side."""
    step, parts = 52, []
    for number, (text, beside) in enumerate(chart.boxes):
        top = number * step + 2
        parts.append(
            f'<rect class="box" x="2" y="{top}" width="286" height="30"/>'
            f'<text x="145" y="{top + 20}" text-anchor="middle">{escape(text)}</text>'
        )
        if beside:
            parts.append(
                f'<path class="thin" d="M145 {top + 41}H320"/>'
                f'<rect class="box aside" x="320" y="{top + 26}" width="318" height="30"/>'
                f'<text x="479" y="{top + 46}" text-anchor="middle">{escape(beside)}</text>'
            )
        if number + 1 < len(chart.boxes):
            parts.append(f'<path class="thin" d="M145 {top + 30}v22M141 {top + 46}l4 6l4 -6"/>')
    height = len(chart.boxes) * step
    return Markup(
        f'<svg class="flow" viewBox="0 0 640 {height}" role="img"><title>{escape(chart.title)}'
        f"</title><desc>{escape(chart.says)}</desc>{''.join(parts)}</svg>"
    )


def _dumbbell(chart: Dumbbell) -> Markup:
    a, b = _at(chart.first), _at(chart.second)
    side = f"{chart.second * _WIDTH - 5:.4g}"
    return _svg(
        chart.title,
        chart.says,
        f'<path class="range" d="M{a} {_LINE}H{b}"/><rect class="second" x="{side}" '
        f'y="{_LINE - 5}" width="10" height="10"/><circle class="first" cx="{a}" cy="{_LINE}" '
        'r="5.5"/>',
        _HEIGHT,
    )


def _shift(chart: Shift) -> Markup:
    """Then and now; a short way has no room for an arrow, the two shapes tell it alone."""
    start, end = chart.before * _WIDTH, chart.now.at * _WIDTH
    way, drawn = (1 if end > start else -1), ""
    if chart.is_clear and abs(end - start) > _ARROW:
        tip = end - 8 * way
        drawn = (
            f'<path class="move" d="M{start + 6 * way:.4g} {_LINE}H{tip:.4g}m{-6 * way} -5'
            f'l{6 * way} 5l{-6 * way} 5"/>'
        )
    drawn += f'<circle class="before" cx="{start:.4g}" cy="{_LINE}" r="5"/>'
    return _svg(
        chart.title, chart.says, drawn + _shape(chart.now.kind, f"{end:.4g}", _LINE), _HEIGHT
    )


def _share_bar(chart: ShareBar) -> Markup:
    part = chart.part
    drawn = (
        f'<rect class="rest" x="0" y="4" width="{_WIDTH}" height="16"/>'
        f'<rect class="part" x="0" y="4" width="{_at(part.at)}" height="16"/>'
    )
    if part.low is not None and part.high is not None:
        low, high = _at(part.low), _at(part.high)
        drawn += f'<path class="whisker" d="M{low} 12H{high}M{low} 8v8M{high} 8v8"/>'
    return _svg(chart.title, chart.says, drawn, _HEIGHT)


def _stacked_bar(chart: StackedBar) -> Markup:
    drawn, start = [], 0.0
    for kind, share in chart.shares:
        x, width = start * _WIDTH, share * _WIDTH
        drawn.append(f'<rect class="{kind}" x="{x:.1f}" y="3" width="{width:.1f}" height="18"/>')
        start += share
    return _svg(chart.title, chart.says, "".join(drawn), _HEIGHT)


def _area(area: Dot, height: int) -> str:
    band = ""
    if area.low is not None and area.high is not None:
        band = f'<path class="band" d="M{_at(area.low)} 1H{_at(area.high)}V{height - 1}'
        band += f'H{_at(area.low)}z"/>'
    return f'{band}<path class="area" d="M{_at(area.at)} 2v{height - 3}"/>'


def _dot(dot: Dot, y: int, *, small: bool = False) -> str:
    x, drawn = _at(dot.at), ""
    if dot.low is not None and dot.high is not None:
        drawn = f'<path class="range" d="M{_at(dot.low)} {y}H{_at(dot.high)}"/>'
    if small:
        return f'{drawn}<circle class="{dot.kind}" cx="{x}" cy="{y}" r="4"/>'
    return drawn + _shape(dot.kind, x, y)


def _svg(title: str, says: str, drawn: str, height: int) -> Markup:
    return Markup(
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><desc>{escape(says)}</desc>{drawn}</svg>"
    )


_DRAWN: dict[type, Callable[[Any], Markup]] = {
    Strip: _strip,
    Stack: _stack,
    Dumbbell: _dumbbell,
    Shift: _shift,
    ShareBar: _share_bar,
    StackedBar: _stacked_bar,
    Marks: _marks,
    Example: _example,
    Flow: _flow,
    NotDrawn: _not_drawn,
}
