"""What changed in a CPP since the wave before, as parts of a page.

Belongs here: views of the released table `changes` of one package, and every sentence about it.
Does not belong here: how a change is estimated, tested and protected (rooms wellbeing and
disclosure), fixed words (`data/report.yaml`).

A change is called better or worse only where a test says so, and only such a change has an arrow
(outputs.md 4.1). Other pupils were asked each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rcs_assets.reporting import charts, wording
from rcs_assets.reporting.charts import Chart, NotDrawn
from rcs_assets.reporting.package import SHOWN, Change, Measure, Package, Place, tranche_of
from rcs_assets.reporting.parts import LEGEND, RATINGS, Rating
from rcs_assets.reporting.settings import Settings

_NOT_TESTED = Rating("none", "not tested")


@dataclass(frozen=True)
class ChangeRow:
    """One measure in two waves: both figures, the difference with its range, the rating."""

    indicator: str
    title: str
    note: str
    chart: Chart
    before: str
    now: str
    change: str
    span: str
    rating: Rating


@dataclass(frozen=True)
class ChangePart:
    """The changes of one survey; `before` and `now` name the waves. No rows: none is shown."""

    survey: str
    who: str
    before: str
    now: str
    sentence: str
    rows: tuple[ChangeRow, ...]


def change_parts(package: Package, settings: Settings, place: Place) -> tuple[ChangePart, ...]:
    """The main outcomes and priority measures of each survey; no part without a wave before.

    Args:
        package: the package; without a table `changes` there are no parts.
        settings: order of domains and surveys, priority measures.
        place: the CPP.
    """
    found = [
        row
        for row in package.changes
        if row.engagement == place.engagement
        and row.earlier_engagement
        and row.breakdown == "total"
        and row.indicator in package.measures
    ]
    parts = []
    for survey in settings.surveys:
        rows = [row for row in found if row.survey == survey]
        wanted = [row for row in rows if _is_told(row, settings)]
        if wanted:
            parts.append(_part(package, settings, survey, wanted))
    return tuple(parts)


def _is_told(row: Change, settings: Settings) -> bool:
    return row.verdict in RATINGS or row.indicator in settings.priority.get(row.survey, ())


def _part(package: Package, settings: Settings, survey: str, rows: Sequence[Change]) -> ChangePart:
    domains = list(settings.domains)
    waves = [_wave(package, name) for name in (rows[0].earlier_engagement, rows[0].engagement)]
    measures = {row.indicator: package.measures[row.indicator] for row in rows}
    rows = sorted(
        rows,
        key=lambda row: (
            domains.index(measures[row.indicator].domain),
            measures[row.indicator].title,
            row.indicator,
        ),
    )
    shown = [row for row in rows if _is_shown(row)]
    return ChangePart(
        survey=survey,
        who=settings.surveys[survey].who,
        before=waves[0] or "the wave before",
        now=waves[1] or "this wave",
        sentence=change_sentence(
            *(sum(row.verdict == kind for row in shown) for kind in RATINGS),
            shown=len(shown),
            hidden=sum(row.status == "c" for row in rows),
        ),
        rows=tuple(_row(row, measures[row.indicator], settings) for row in rows) if shown else (),
    )


def _wave(package: Package, engagement: str) -> str:
    """The name of the engagement's tranche; empty where the package does not name it."""
    key = tranche_of(engagement)
    names = (g.name for g in package.geographies if (g.level, g.code) == ("tranche", key))
    return next(names, "")


def _is_shown(row: Change) -> bool:
    return row.status in SHOWN and bool(row.change)


def change_sentence(better: int, similar: int, worse: int, *, shown: int, hidden: int) -> str:
    """One sentence before the table; every branch has its words.

    Args:
        better, similar, worse: tested measures by what the test said.
        shown: measures whose change is shown, tested or not.
        hidden: measures whose change is hidden.
    """
    more = wording.hidden_sentence(hidden)
    tested = better + similar + worse
    if not shown:
        return "Changes are not shown." if hidden else "No measure can be compared."
    if not tested:
        return f"{wording.plural(shown, 'measure')} with both results; none was tested.{more}"
    of = "The one tested measure" if tested == 1 else f"All {tested} tested measures"
    if better == tested:
        return f"{of} got better.{more}"
    if worse == tested:
        return f"{of} got worse.{more}"
    if similar == tested:
        measures = wording.plural(tested, "tested measure")
        size = "a change of this size is small or could be chance"
        return f"No clear change on {measures}: {size}.{more}"
    parts = [f"{n} got {word}" for n, word in ((better, "better"), (worse, "worse")) if n]
    rest = f" {similar} with no clear change." if similar else ""
    return f"Of {tested} tested measures {' and '.join(parts)}.{rest}{more}"


def _row(row: Change, measure: Measure, settings: Settings) -> ChangeRow:
    is_mean = measure.indicator in settings.scales
    note = "lower is better" if measure.direction == "lower_better" else ""
    if not _is_shown(row):
        mark = f"[{row.status}]"
        why = settings.no_change.get(row.note, settings.marks[row.status].short)
        chart: Chart = NotDrawn(f"{mark} {why}")
        return ChangeRow(
            row.indicator, measure.title, note, chart, mark, mark, mark, "", Rating("hidden", mark)
        )
    flag = " [u]" if row.status == "u" else ""
    before, now = (_figure(text, is_mean=is_mean) for text in _ends(row))
    change = wording.points(row.change)
    if is_mean:
        change = change.replace(" points", "").replace(" point", "")
    rating = LEGEND.get(row.verdict, _NOT_TESTED)
    axis = charts.Axis(*settings.scales[row.indicator]) if is_mean else charts.PER_CENT
    drawn = charts.Shift(
        measure.title,
        f"Before {before}, now {now}",
        axis.share(row.earlier_estimate),
        axis.dot(row.later_estimate, kind=rating.kind if rating.kind in RATINGS else "plain"),
        is_clear=rating.kind in ("better", "worse"),
    )
    span = wording.points_span(row.ci_low, row.ci_high)
    return ChangeRow(
        row.indicator, measure.title, note, drawn, before, now + flag, change, span, rating
    )


def _ends(row: Change) -> tuple[str, str]:
    return row.earlier_estimate, row.later_estimate


def _figure(text: str, *, is_mean: bool) -> str:
    return text if is_mean else f"{wording.number(text)}%"
