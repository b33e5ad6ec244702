"""The parts that every page is put together from: measures, domains, groups, places.

Belongs here: frozen views of one survey at one place, made from protected rows, with every
display string ready. Does not belong here: which parts a page has (`views.py`), need, reach
and spend (`services.py`), sentences (`wording.py`), drawing (`charts.py`).

A rating comes from the package's comparisons and from nowhere else; a template neither
computes nor rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rcs_assets.reporting import charts, wording
from rcs_assets.reporting.charts import Axis, Chart, Dot, NotDrawn
from rcs_assets.reporting.package import SHOWN, Cell, Measure, Package, Place
from rcs_assets.reporting.settings import Settings
from rcs_assets.reporting.wording import Counts

RATINGS = {"better": "Better", "similar": "Similar", "worse": "Worse"}
# z and x say that there is nothing to hide; a place with nothing else did not hold the survey.
_ABSENT = ("z", "x")


@dataclass(frozen=True)
class Subject:
    """Whose figures a page shows, and beside whose.

    `own_words` names the place in a sentence (`your school`); `area` is the place of the
    comparison figures, None where the package has none. `others` are those that ratings compare
    with: a school and a cluster stand beside all of their CPP, and are tested against its other
    schools, whose figure is not released.
    """

    package: Package
    settings: Settings
    place: Place
    own_words: str
    area: Place | None
    area_name: str
    others: str


@dataclass(frozen=True)
class Rating:
    """A word with a shape and a colour; `kind` none or hidden has no shape."""

    kind: str
    word: str


LEGEND = {kind: Rating(kind, word) for kind, word in RATINGS.items()}
_HIDDEN = Rating("hidden", "[c]")
_NOT_RATED = Rating("none", "not rated")


@dataclass(frozen=True)
class MeasureRow:
    """One measure of one place as a table row; `chart` is drawn or says why it is not."""

    indicator: str
    title: str
    note: str
    chart: Chart
    value: str
    span: str
    area: str
    rating: Rating
    is_score: bool


@dataclass(frozen=True)
class DomainPart:
    """One SHANARRI domain: per cents in `rows`, mean scores in `scores`."""

    key: str
    title: str
    sentence: str
    rows: tuple[MeasureRow, ...]
    scores: tuple[MeasureRow, ...]
    counts: Counts
    marks: Chart


@dataclass(frozen=True)
class Bullet:
    """One measure that stands out; `beside` is the area's figure, empty if it is not shown."""

    indicator: str
    title: str
    who: str
    note: str
    value: str
    beside: str
    span: str


@dataclass(frozen=True)
class StandOut:
    """What stands out: one list for each end, or the sentence in its place."""

    better: tuple[Bullet, ...]
    worse: tuple[Bullet, ...]
    no_better: str
    no_worse: str


@dataclass(frozen=True)
class PairRow:
    """One measure of girls and boys."""

    indicator: str
    title: str
    chart: Chart
    first: str
    second: str


@dataclass(frozen=True)
class PairPart:
    """Girls and boys: the clear gaps, widest first, or the sentence in their place."""

    sentence: str
    rows: tuple[PairRow, ...]


@dataclass(frozen=True)
class GroupRow:
    """One measure by group: a figure or a mark for each group, the gap where it is ordered."""

    indicator: str
    title: str
    note: str
    chart: Chart
    values: tuple[str, ...]
    gap: str


@dataclass(frozen=True)
class GroupTable:
    """Priority measures by one breakdown; no rows where no figure is shown."""

    key: str
    title: str
    about: str
    groups: tuple[str, ...]
    has_gap: bool
    rows: tuple[GroupRow, ...]


@dataclass(frozen=True)
class PlaceRow:
    """One school, cluster or CPP in a list by name."""

    name: str
    chart: Chart
    value: str
    span: str
    rating: Rating


@dataclass(frozen=True)
class PlaceTable:
    """One measure over places, by name, never by rank."""

    indicator: str
    title: str
    note: str
    area: str
    is_rated: bool
    hidden: int
    rows: tuple[PlaceRow, ...]


@dataclass(frozen=True)
class WhoRow:
    """Pupils who answered, of one stage."""

    stage: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class WhoTable:
    """Pupils who answered the base measure, by stage and sex, as released n."""

    indicator: str
    measure: str
    columns: tuple[str, ...]
    rows: tuple[WhoRow, ...]


@dataclass(frozen=True)
class SurveyPart:
    """One survey at one place."""

    key: str
    title: str
    who: str
    one: str
    stages: str
    domains: tuple[DomainPart, ...]
    hidden: int
    pairs: PairPart | None
    groups: tuple[GroupTable, ...]
    took_part: WhoTable | None
    has_sensitive: bool
    is_compared: bool

    @property
    def measures_n(self) -> int:
        """Measures that have a row on the page."""
        return sum(len(d.rows) + len(d.scores) for d in self.domains)

    @property
    def is_rated(self) -> bool:
        """Whether any measure has a rating or hides one; without, ratings have no column."""
        return self.is_compared and any(d.counts.rated or d.counts.withheld for d in self.domains)

    @property
    def has_rings(self) -> bool:
        """Whether a figure stands beside ratings and has none: it is drawn as a ring."""
        unrated = sum(d.counts.unrated + d.counts.withheld for d in self.domains)
        return self.is_rated and self.shown_n > self.measures_n - unrated

    @property
    def shown_n(self) -> int:
        """Measures whose figure is shown."""
        rows = (row for d in self.domains for row in (*d.rows, *d.scores))
        return sum(not row.value.startswith("[") for row in rows)

    def count(self, of: str) -> int:
        """One of the counts (`better`, `rated`, `withheld` …) over all domains."""
        return sum(int(getattr(domain.counts, of)) for domain in self.domains)


def surveys_of(subject: Subject, place: Place) -> tuple[str, ...]:
    """The surveys that hold something for a place, in the order of the settings."""
    held = {
        h.survey
        for h in subject.package.cells.held
        if h[:3] == place and h.breakdown == "total" and h.status not in _ABSENT
    }
    return tuple(survey for survey in subject.settings.surveys if survey in held)


def survey_part(subject: Subject, survey: str) -> SurveyPart:
    """Everything about one survey at the subject's place."""
    words = subject.settings.surveys[survey]
    measures = _measures(subject, survey)
    domains = tuple(
        part
        for key, title in subject.settings.domains.items()
        if (part := _domain(subject, survey, key, title, measures)) is not None
    )
    found = SurveyPart(
        key=survey,
        title=words.title,
        who=words.who,
        one=words.one,
        stages=_stages(measures),
        domains=domains,
        hidden=sum(domain.counts.hidden for domain in domains),
        pairs=_pairs(subject, survey, measures),
        groups=_group_tables(subject, survey),
        took_part=_took_part(subject, survey),
        is_compared=any(key[:4] == (*subject.place, survey) for key in subject.package.verdicts),
        has_sensitive=any(m.is_sensitive == "true" for m in measures),
    )
    return replace(found, domains=tuple(map(_ringed, domains))) if found.is_rated else found


def _ringed(domain: DomainPart) -> DomainPart:
    """Beside ratings a row without one has a ring: a filled circle would say Similar."""

    def ringed(row: MeasureRow) -> MeasureRow:
        if row.rating.kind in RATINGS or not isinstance(row.chart, charts.Strip):
            return row
        return replace(row, chart=replace(row.chart, dot=replace(row.chart.dot, kind="none")))

    rows, scores = (tuple(map(ringed, found)) for found in (domain.rows, domain.scores))
    return replace(domain, rows=rows, scores=scores)


def _measures(subject: Subject, survey: str) -> list[Measure]:
    """Measures with a row for this place and survey, by title."""
    package, place = subject.package, subject.place
    found = [
        m for m in package.measures.values() if package.cell(place, survey, m.indicator) is not None
    ]
    return sorted(found, key=lambda m: (m.title, m.indicator))


def _stages(measures: Iterable[Measure]) -> str:
    """`P5 to P7`: the stages that the measures of a survey name."""
    named = sorted({s for m in measures for s in m.stages.split(", ") if s})
    if not named:
        return ""
    return f"{named[0]} to {named[-1]}" if len(named) > 1 else named[0]


def _domain(
    subject: Subject, survey: str, key: str, title: str, measures: Sequence[Measure]
) -> DomainPart | None:
    rows: list[MeasureRow] = []
    scores: list[MeasureRow] = []
    for m in measures:
        if m.domain == key:
            row = _row(subject, survey, m)
            (scores if row.is_score else rows).append(row)
    both = [*rows, *scores]
    if not both:
        return None
    counts = _counts(both)
    return DomainPart(
        key=key,
        title=title,
        sentence=wording.domain_sentence(counts, subject.others),
        rows=tuple(rows),
        scores=tuple(scores),
        counts=counts,
        marks=_domain_marks(title, counts),
    )


def _counts(rows: Sequence[MeasureRow]) -> Counts:
    kinds = [row.rating.kind for row in rows]
    is_hidden = [row.value.startswith("[c]") for row in rows]
    has_figure = [not row.value.startswith("[") for row in rows]
    return Counts(
        measures=len(rows),
        better=kinds.count("better"),
        similar=kinds.count("similar"),
        worse=kinds.count("worse"),
        hidden=sum(is_hidden),
        absent=len(rows) - sum(is_hidden) - sum(has_figure),
        withheld=kinds.count("hidden"),
        withheld_alone=sum(
            kind == "hidden" and shown for kind, shown in zip(kinds, has_figure, strict=True)
        ),
    )


def _domain_marks(title: str, counts: Counts) -> Chart:
    numbers = {kind: int(getattr(counts, kind)) for kind in RATINGS}
    kinds = tuple(
        kind for kind, n in (numbers | {"none": counts.unrated}).items() for _ in range(n)
    )
    if not kinds:
        return NotDrawn("")
    said = ", ".join(f"{n} {kind}" for kind, n in numbers.items())
    said += f", {counts.unrated} not rated" if counts.unrated else ""
    return charts.Marks(f"{title}: {said}", "One shape a measure", kinds)


def _row(subject: Subject, survey: str, measure: Measure) -> MeasureRow:
    cell = _own_cell(subject, survey, measure.indicator)
    area = _area_cell(subject, survey, measure.indicator)
    rating = _rating(subject.package, subject.place, survey, measure.indicator, cell)
    return MeasureRow(
        indicator=measure.indicator,
        title=measure.title,
        note=_note(subject, measure, cell.statistic),
        chart=_chart(subject, measure, cell, area, rating.kind),
        value=figure(cell),
        span=wording.span(cell) if cell.is_shown else "",
        area=figure(area) if subject.area else "",
        rating=rating,
        is_score=cell.statistic == "mean",
    )


def _note(subject: Subject, measure: Measure, statistic: str) -> str:
    """The direction where it is not the usual one, and the ends of a score."""
    notes = ["lower is better"] if measure.direction == "lower_better" else []
    ends = subject.settings.scales.get(measure.indicator)
    if statistic == "mean" and ends:
        notes.append(f"score from {ends[0]:g} to {ends[1]:g}")
    return "; ".join(notes)


def figure(cell: Cell | None) -> str:
    """The figure of a row with its mark, or the mark alone."""
    if cell is None or not cell.is_shown:
        return wording.mark(cell)
    return f"{wording.value(cell)} {wording.mark(cell)}".rstrip()


def _area_cell(subject: Subject, survey: str, indicator: str) -> Cell | None:
    if subject.area is None:
        return None
    return subject.package.cell(subject.area, survey, indicator)


def _own_cell(subject: Subject, survey: str, indicator: str) -> Cell:
    """The total row of a measure that has a row on the page."""
    cell = subject.package.cell(subject.place, survey, indicator)
    if cell is None:
        raise KeyError(indicator)
    return cell


def _rating(package: Package, place: Place, survey: str, indicator: str, cell: Cell) -> Rating:
    if package.measures[indicator].direction == "context":
        # It has no good side: nothing was compared, so that nothing is hidden either.
        return _NOT_RATED
    found = package.verdict(place, survey, indicator)
    if cell.status == "c" or (found is not None and found.status == "c"):
        return _HIDDEN
    if found is None or not cell.is_shown or found.verdict not in RATINGS:
        return _NOT_RATED
    return LEGEND[found.verdict]


def _axis(subject: Subject, cell: Cell) -> Axis | None:
    """The axis of a row; None for a mean whose ends the settings do not name."""
    if cell.statistic == "pct":
        return charts.PER_CENT
    ends = subject.settings.scales.get(cell.indicator)
    return Axis(*ends) if ends else None


def _dot(axis: Axis, cell: Cell, kind: str = "plain") -> Dot:
    return axis.dot(cell.estimate, cell.ci_low, cell.ci_high, kind)


def _not_drawn(subject: Subject, cell: Cell | None) -> NotDrawn:
    """What stands in a chart row without a figure: `[c] not shown`."""
    status = "x" if cell is None else cell.status
    return NotDrawn(f"[{status}] {subject.settings.marks[status].short}")


def _chart(subject: Subject, measure: Measure, cell: Cell, area: Cell | None, kind: str) -> Chart:
    if not cell.is_shown:
        return _not_drawn(subject, cell)
    axis = _axis(subject, cell)
    if axis is None:
        return NotDrawn("")
    beside = area if area is not None and area.is_shown else None
    says = wording.value(cell)
    if cell.ci_low:
        says += f", likely range {wording.span(cell)}"
    if beside is not None:
        says += f". {subject.area_name}: {wording.value(beside)}"
    colour = kind if kind in RATINGS else "plain"
    return charts.Strip(
        measure.title, says, _dot(axis, cell, colour), _dot(axis, beside) if beside else None
    )


def stand_out(subject: Subject, parts: Iterable[SurveyPart]) -> StandOut:
    """The widest gaps among clear ratings, at most as many a side as the settings say.

    A sensitive measure makes no headline from a base below the settings' limit (outputs.md,
    4.4); the order is that of the released figures' distance.
    """
    found: dict[str, list[tuple[float, Bullet]]] = {"better": [], "worse": []}
    left_out = {"better": 0, "worse": 0}
    rated = 0
    for part in parts:
        rated += part.count("rated")
        rows = (row for domain in part.domains for row in (*domain.rows, *domain.scores))
        for row in rows:
            kind = row.rating.kind
            if kind not in found:
                continue
            if _rests_on_few(subject, part.key, row.indicator):
                left_out[kind] += 1
            else:
                found[kind].append(_bullet(subject, part.key, row))
    chosen = {
        kind: tuple(
            bullet
            for _, bullet in sorted(rows, key=lambda row: (-row[0], row[1].title))[
                : subject.settings.stand_out
            ]
        )
        for kind, rows in found.items()
    }
    return StandOut(
        chosen["better"],
        chosen["worse"],
        wording.empty_list("better", left_out["better"], rated),
        wording.empty_list("worse", left_out["worse"], rated),
    )


def _rests_on_few(subject: Subject, survey: str, indicator: str) -> bool:
    cell = _own_cell(subject, survey, indicator)
    is_sensitive = subject.package.measures[indicator].is_sensitive == "true"
    return is_sensitive and float(cell.n or 0) < subject.settings.sensitive_headline_n


def _bullet(subject: Subject, survey: str, row: MeasureRow) -> tuple[float, Bullet]:
    cell = _own_cell(subject, survey, row.indicator)
    area = _area_cell(subject, survey, row.indicator)
    beside, gap = "", 0.0
    if area is not None and area.is_shown:
        beside = wording.value(area)
        axis = _axis(subject, cell) or charts.PER_CENT
        gap = abs(float(cell.estimate) - float(area.estimate)) / (axis.high - axis.low)
    who = subject.settings.surveys[survey].who
    value = wording.value(cell)
    return gap, Bullet(row.indicator, row.title, who, row.note, value, beside, row.span)


def _pairs(subject: Subject, survey: str, measures: Iterable[Measure]) -> PairPart | None:
    """Girls and boys where both are shown; a gap is clear where the two ranges do not meet.

    Per cents only, so that one axis holds for all rows.
    """
    asked = [
        (measure, girls, boys)
        for measure in measures
        if (girls := _sex(subject, survey, measure, "F")) is not None
        and (boys := _sex(subject, survey, measure, "M")) is not None
    ]
    shown = [row for row in asked if all(cell.is_shown and cell.ci_low for cell in row[1:])]
    if not asked:
        return None
    if not shown:
        return PairPart("Results for girls and boys are not shown.", ())
    clear = [row for row in shown if wording.ranges_apart(row[1], row[2])]
    clear.sort(key=lambda row: (-_distance(row[1], row[2]), row[0].title))
    rows = tuple(_pair_row(*row) for row in clear[: subject.settings.dumbbells])
    return PairPart(_pairs_sentence(len(clear), len(rows), len(shown)), rows)


def _sex(subject: Subject, survey: str, measure: Measure, group: str) -> Cell | None:
    cell = subject.package.cell(subject.place, survey, measure.indicator, "sex", group)
    return cell if cell is not None and cell.statistic == "pct" else None


def _distance(first: Cell, second: Cell) -> float:
    return abs(float(first.estimate) - float(second.estimate))


def _pairs_sentence(clear: int, listed: int, shown: int) -> str:
    if not clear:
        return f"No clear gap between girls and boys on {wording.plural(shown, 'measure')}."
    start = f"A clear gap on {clear} of {wording.plural(shown, 'measure')}"
    more = f"; the {listed} widest are listed" if listed < clear else ""
    return f"{start}{more}. Clear means that the two likely ranges do not meet."


def _pair_row(measure: Measure, girls: Cell, boys: Cell) -> PairRow:
    said = f"Girls {wording.value(girls)}, boys {wording.value(boys)}"
    first, second = (charts.PER_CENT.share(cell.estimate) for cell in (girls, boys))
    chart = charts.Dumbbell(measure.title, said, first, second)
    return PairRow(measure.indicator, measure.title, chart, figure(girls), figure(boys))


def _group_tables(subject: Subject, survey: str) -> tuple[GroupTable, ...]:
    found: dict[str, set[str]] = {}
    for held in subject.package.held(subject.place, survey):
        found.setdefault(held.breakdown, set()).add(held.group)
    tables = (
        _group_table(subject, survey, breakdown, found[breakdown])
        for breakdown in subject.settings.group_tables
        if breakdown in found
    )
    return tuple(table for table in tables if table is not None)


def _group_table(
    subject: Subject, survey: str, breakdown: str, groups: Iterable[str]
) -> GroupTable | None:
    """None if every cell of the table is absent: there is nothing to show or to hide."""
    words = subject.settings.group_tables[breakdown]
    groups = sorted(groups, key=lambda group: subject.settings.group_order(breakdown, group))
    rows, statuses = [], set()
    for indicator in subject.settings.priority.get(survey, ()):
        measure = subject.package.measures.get(indicator)
        cells = _as_split(
            [
                subject.package.cell(subject.place, survey, indicator, breakdown, group)
                for group in groups
            ]
        )
        if measure is not None and any(cells):
            statuses |= {cell.status for cell in cells if cell is not None}
            rows.append(_group_row(subject, measure, breakdown, groups, cells))
    if statuses <= set(_ABSENT):
        return None
    return GroupTable(
        key=breakdown,
        title=words.title,
        about=words.about,
        groups=tuple(subject.settings.group_label(breakdown, group) for group in groups),
        has_gap=breakdown == "simd_quintile",
        rows=tuple(rows) if statuses & set(SHOWN) else (),
    )


def _as_split(cells: Sequence[Cell | None]) -> Sequence[Cell | None]:
    """Of two groups both or none (outputs.md 4.6): one side alone would be read as the whole."""
    if len(cells) != 2 or not any(cell is not None and cell.status == "c" for cell in cells):
        return cells
    nothing = {"n": "", "estimate": "", "ci_low": "", "ci_high": "", "status": "c", "note": ""}
    return [
        cell._replace(**nothing) if cell is not None and cell.is_shown else cell for cell in cells
    ]


def _group_row(
    subject: Subject,
    measure: Measure,
    breakdown: str,
    groups: Sequence[str],
    cells: Sequence[Cell | None],
) -> GroupRow:
    labels = [subject.settings.group_label(breakdown, group) for group in groups]
    said = "; ".join(f"{label}: {figure(cell)}" for label, cell in zip(labels, cells, strict=True))
    shown = [cell if cell is not None and cell.is_shown else None for cell in cells]
    any_shown = next((cell for cell in shown if cell is not None), None)
    axis = _axis(subject, any_shown) if any_shown is not None else None
    chart: Chart = (
        charts.Stack(
            measure.title, said, tuple(_dot(axis, cell) if cell else None for cell in shown)
        )
        if axis
        else _not_drawn(subject, cells[0])
    )
    return GroupRow(
        measure.indicator,
        measure.title,
        _note(subject, measure, "pct"),
        chart,
        tuple(figure(cell) for cell in cells),
        wording.gap_sentence(cells[0], cells[-1]) if breakdown == "simd_quintile" else "",
    )


def place_tables(
    subject: Subject, survey: str, places: Sequence[Place], *, rated: bool
) -> tuple[PlaceTable, ...]:
    """Priority measures over places, in the order given (by name)."""
    package = subject.package
    held = [place for place in places if survey in surveys_of(subject, place)]
    tables = []
    for indicator in subject.settings.priority.get(survey, ()):
        measure = package.measures.get(indicator)
        if measure is None or not held:
            continue
        rows = tuple(_place_row(subject, survey, measure, place, rated=rated) for place in held)
        own = package.cell(subject.place, survey, indicator)
        tables.append(
            PlaceTable(
                indicator,
                measure.title,
                "lower is better" if measure.direction == "lower_better" else "",
                figure(own),
                rated,
                sum(row.value.startswith("[c]") for row in rows),
                rows,
            )
        )
    return tuple(tables)


def _place_row(
    subject: Subject, survey: str, measure: Measure, place: Place, *, rated: bool
) -> PlaceRow:
    package = subject.package
    cell = package.cell(place, survey, measure.indicator)
    own = package.cell(subject.place, survey, measure.indicator)
    name = package.name_of(place)
    if cell is None or not cell.is_shown:
        rating = Rating("none", wording.mark(cell))
        return PlaceRow(name, _not_drawn(subject, cell), wording.mark(cell), "", rating)
    rating = _rating(package, place, survey, measure.indicator, cell)
    says = f"{wording.value(cell)}, likely range {wording.span(cell)}"
    unrated = "none" if rated else "plain"
    colour = rating.kind if rating.kind in RATINGS else unrated
    axis = _axis(subject, cell)
    if axis is None:
        return PlaceRow(name, NotDrawn(""), figure(cell), wording.span(cell), rating)
    beside = _dot(axis, own) if own is not None and own.is_shown else None
    chart = charts.Strip(f"{name}: {measure.title}", says, _dot(axis, cell, colour), beside)
    return PlaceRow(name, chart, figure(cell), wording.span(cell), rating)


def _took_part(subject: Subject, survey: str) -> WhoTable | None:
    """Who answered, by stage and sex: the released n of one measure that all were asked.

    None where the survey has no stages, or not even the total is shown.
    """
    package, place = subject.package, subject.place
    indicator = subject.settings.base_measure.get(survey, "")
    measure = package.measures.get(indicator)
    if measure is None:
        return None

    def n(breakdown: str, group: str) -> str:
        cell = package.cell(place, survey, indicator, breakdown, group)
        if cell is None:
            return wording.mark(cell)
        # What a hidden percentage is like says nothing about who answered.
        return wording.thousands(cell.n) if cell.is_shown and cell.n else f"[{cell.status}]"

    stages = sorted({h.group for h in package.held(place, survey) if h.breakdown == "stage"})
    rows = [
        WhoRow(
            stage, (n("stage:sex", f"{stage}:F"), n("stage:sex", f"{stage}:M"), n("stage", stage))
        )
        for stage in stages
    ]
    if not stages:
        return None
    total = package.cell(place, survey, indicator)
    if total is None or not total.is_shown:
        return None
    rows.append(WhoRow("All stages", (n("sex", "F"), n("sex", "M"), n("total", "all"))))
    return WhoTable(indicator, measure.title, ("Girls", "Boys", "All"), tuple(rows))
