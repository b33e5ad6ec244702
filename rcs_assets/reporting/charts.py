"""Charts as data: what is drawn, in shares of an axis, whatever it is drawn with.

Belongs here: axes, marks and what a chart says in words. Does not belong here: lines and
colours (`svg.py` for HTML, `data/typst/report.typ` for PDF), and which row is drawn
(`parts.py`, `services.py`).

Every position comes from a released, rounded value: a chart tells no more than the cell
beside it (policy.md, an interval gives away its inputs).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dot:
    """A value with its range, as shares of its axis; `low` and `high` are None without one."""

    at: float
    low: float | None = None
    high: float | None = None
    kind: str = "plain"


@dataclass(frozen=True)
class Axis:
    """The ends of an axis; per cents run from 0 to 100."""

    low: float = 0
    high: float = 100

    def share(self, released: str) -> float:
        """Where a released value lies, cut at the ends of the axis."""
        share = (float(released) - self.low) / (self.high - self.low)
        return round(min(max(share, 0.0), 1.0), 4)

    def dot(self, estimate: str, low: str = "", high: str = "", kind: str = "plain") -> Dot:
        """A released value with its range (empty: none)."""
        if not low:
            return Dot(self.share(estimate), kind=kind)
        return Dot(self.share(estimate), self.share(low), self.share(high), kind)


PER_CENT = Axis()


@dataclass(frozen=True)
class Strip:
    """Dot and range of one row; `area` is an upright bar, its range a pale band."""

    title: str
    says: str
    dot: Dot
    area: Dot | None


@dataclass(frozen=True)
class Stack:
    """The groups of one measure under each other, in order; a hidden group leaves its line."""

    title: str
    says: str
    dots: tuple[Dot | None, ...]


@dataclass(frozen=True)
class Dumbbell:
    """Two values joined by a line: filled circle and hollow square."""

    title: str
    says: str
    first: float
    second: float


@dataclass(frozen=True)
class Shift:
    """A value then and now: a hollow circle and a rating's shape, an arrow where it is clear."""

    title: str
    says: str
    before: float
    now: Dot
    is_clear: bool


@dataclass(frozen=True)
class ShareBar:
    """A part of a whole, with the range of the part where there is one."""

    title: str
    says: str
    part: Dot


@dataclass(frozen=True)
class StackedBar:
    """Parts of a whole side by side; `shares` are kind and share of 1."""

    title: str
    says: str
    shares: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Marks:
    """One shape a measure in a row."""

    title: str
    says: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """An annotated strip with made-up figures; `area` is empty where nothing stands beside."""

    title: str
    says: str
    own: str
    area: str
    span: str


@dataclass(frozen=True)
class Flow:
    """Steps under each other; beside a step, who leaves before the next (empty: nobody)."""

    title: str
    says: str
    boxes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class NotDrawn:
    """What stands in a chart row without a figure: no empty bar (outputs.md, 4.6)."""

    words: str


Chart = Strip | Stack | Dumbbell | Shift | ShareBar | StackedBar | Marks | Example | Flow | NotDrawn


# How long a name may be that stands in the example: above it has the line, beside it a pointer.
_OWN_SIGNS_N, _AREA_SIGNS_N = 27, 20


def example(own: str, area: str) -> Example:
    """The annotated example; its figures are made up, and the page says so.

    Labels stand in one line of the drawing: a longer name is told in words alone.
    """
    says = f"{own}: 60%, likely range 52% to 68%" + (f". {area}: 70%" if area else "")
    shown = own if len(own) <= _OWN_SIGNS_N else "this area"
    beside = area if len(area) <= _AREA_SIGNS_N else "Its area"
    return Example(
        "Example",
        says,
        f"{shown[:1].upper()}{shown[1:]}: 60%",
        f"{beside}: 70%" if area else "",
        "Likely range: 52% to 68%",
    )
