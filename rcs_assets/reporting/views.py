"""The view-model: one frozen object a report, whatever it is rendered with.

Belongs here: what the report of a school, a cluster, a CPP and the programme knows. Does not
belong here: how the parts are made (`parts.py`, `services.py`), in which words and order they
are told (`layout.py`), and looks (templates).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rcs_assets.reporting import charts, wording
from rcs_assets.reporting.blocks import Bullets, Paragraph, Tile
from rcs_assets.reporting.changes import ChangePart, change_parts
from rcs_assets.reporting.charts import Example
from rcs_assets.reporting.findings import (
    FindingPart,
    OutcomePart,
    finding_parts,
    outcome_parts,
)
from rcs_assets.reporting.package import (
    SHOWN,
    Measure,
    Package,
    Participation,
    Place,
    tranche_of,
    wave_of,
)
from rcs_assets.reporting.parts import (
    PlaceTable,
    StandOut,
    Subject,
    SurveyPart,
    place_tables,
    stand_out,
    survey_part,
    surveys_of,
)
from rcs_assets.reporting.services import (
    ReachTable,
    RecipientRow,
    SpendTable,
    reach_tables,
    recipient_rows,
    spend_table,
)
from rcs_assets.reporting.settings import Settings
from rcs_assets.reporting.summary import summary_blocks

SMALL = "-small"


@dataclass(frozen=True)
class PlacePart:
    """Lists of places for one survey (schools, clusters or CPPs)."""

    title: str
    about: str
    noun: str
    tables: tuple[PlaceTable, ...]


@dataclass(frozen=True)
class ServicePart:
    """Need and reach, support without answers, and spend, of one CPP."""

    name: str
    reach: tuple[ReachTable, ...]
    recipients: tuple[RecipientRow, ...]
    spend: SpendTable | None


@dataclass(frozen=True)
class Page:
    """Everything that one page says.

    `kind` is school, cluster, small, cpp or public; `area` and `others` as in `Subject`.
    `is_rated`: there are ratings, shown or hidden; `has_ratings`: one is shown at
    least. `why_hidden` says why hardly a result is shown, empty where most are; `reading` says how
    to read a chart; `facts` are name and value of what identifies the release.
    """

    kind: str
    path: str
    title: str
    kicker: str
    year: str
    lines: tuple[str, ...]
    area: str
    others: str
    is_simulated: bool
    is_rated: bool
    has_ratings: bool
    statement: str
    why_hidden: str
    summary: tuple[Paragraph | Bullets, ...]
    is_authored: bool
    tiles: tuple[Tile, ...]
    stand_out: StandOut | None
    surveys: tuple[SurveyPart, ...]
    places: tuple[PlacePart, ...]
    changes: tuple[ChangePart, ...]
    services: tuple[ServicePart, ...]
    outcomes: tuple[OutcomePart, ...]
    findings: tuple[FindingPart, ...]
    reading: str
    example: Example
    talk: tuple[str, ...]
    care: tuple[str, ...]
    chance: str
    support: str
    marks: tuple[tuple[str, str], ...]
    rounding: str
    definitions: tuple[Measure, ...]
    accessibility: tuple[str, ...]
    as_of: str
    release: str
    policy: str
    has_area: bool
    facts: tuple[tuple[str, str], ...]


def package_pages(package: Package, settings: Settings) -> tuple[Page, ...]:
    """Every report of a package: its own; for a CPP one a cluster, one of its small schools."""
    if package.kind == "school":
        return (school_page(package, settings),)
    if package.kind == "public":
        return (public_page(package, settings),)
    clusters = (
        small_page(package, settings, place)
        if place.code.endswith(SMALL)
        else cluster_page(package, settings, place)
        for place in _places(package, "cluster")
    )
    return (cpp_page(package, settings), *clusters)


def school_page(package: Package, settings: Settings) -> Page:
    """The page of one school in its last wave, beside its CPP's published figures of that wave."""
    area = _area_of(package, package.own)
    area_name = package.name_of(area) if area else "its area"
    subject = Subject(
        package, settings, package.own, "your school", area, area_name, _others(area_name)
    )
    cluster = _parent(package, package.own, "cluster")
    return _page(subject, "school", "report", (cluster, area_name))


def cluster_page(package: Package, settings: Settings, place: Place) -> Page:
    """The page of one cluster's primary schools, beside its CPP."""
    area_name = package.name_of(package.own)
    subject = Subject(
        package, settings, place, "this cluster", package.own, area_name, _others(area_name)
    )
    small = place._replace(code=place.code + SMALL)
    places: tuple[PlacePart, ...] = ()
    if small in package.cells.places:
        places = _place_parts(
            subject,
            (small,),
            "Small schools together",
            "Schools with few pupils have no page of their own. Here their pupils stand together.",
            "Schools",
        )
    return _page(subject, "cluster", f"clusters/{place.code}", (area_name,), places=places)


def small_page(package: Package, settings: Settings, place: Place) -> Page:
    """The page of the small schools of a cluster together, beside their CPP."""
    area_name = package.name_of(package.own)
    subject = Subject(
        package, settings, place, "these schools", package.own, area_name, _others(area_name)
    )
    return _page(
        subject,
        "small",
        f"clusters/{place.code}",
        (area_name,),
        statement=settings.words["small_about"],
    )


def cpp_page(package: Package, settings: Settings) -> Page:
    """The page of one CPP: summary, measures, clusters, schools, reach and spend.

    A CPP that is all that its tranche has in the release is not set beside itself.
    """
    area = _first(package, "tranche")
    tranche = package.name_of(area).partition(" (")[0] if area else "its tranche"
    area_name = f"{tranche} areas"
    if area is not None and package.is_all_of(package.own, area):
        left = {key: row for key, row in package.verdicts.items() if key[:3] != package.own}
        package, area = replace(package, verdicts=left), None
    name = package.name_of(package.own)
    subject = Subject(package, settings, package.own, name, area, area_name, area_name)
    clusters = [p for p in _places(package, "cluster") if not p.code.endswith(SMALL)]
    places = (
        *_place_parts(
            subject,
            clusters,
            "Clusters",
            f"Primary schools of each cluster, by name. The tall dark bar is {name}.",
            "Cluster",
        ),
        *_place_parts(
            subject,
            _places(package, "school"),
            "Schools",
            f"By name, not by result. The tall dark bar is {name}. Schools with few pupils "
            "have no figures of their own.",
            "School",
        ),
    )
    return _page(subject, "cpp", "report", (), places=places, with_summary=True)


def public_page(package: Package, settings: Settings) -> Page:
    """The page of the programme: all areas together, and the CPPs side by side by name."""
    subject = Subject(package, settings, package.own, "all areas", None, "all areas", "all areas")
    cpps = _places(package, "cpp")
    places = (
        *_place_parts(
            subject,
            _places(package, "tranche"),
            "Tranches",
            "Each tranche is a group of areas, asked in the same years. In the order of the years. "
            "The tall dark bar is all areas together. Other areas were asked each time, so a gap "
            "is no change over time.",
            "Tranche",
        ),
        *_place_parts(
            subject,
            cpps,
            "Areas side by side",
            "By name, not by result. The tall dark bar is all areas together. The areas were asked "
            "in different years, so a gap can also be a change over time.",
            "Area",
        ),
    )
    n = wording.counted(len({place.code for place in cpps}))
    return _page(
        subject,
        "public",
        "report",
        (),
        places=places,
        statement=settings.not_scotland.format(n=n),
    )


def _page(
    subject: Subject,
    kind: str,
    path: str,
    parents: Iterable[str],
    *,
    places: tuple[PlacePart, ...] = (),
    statement: str = "",
    with_summary: bool = False,
) -> Page:
    package, settings = subject.package, subject.settings
    surveys = tuple(survey_part(subject, s) for s in surveys_of(subject, subject.place))
    is_rated = any(part.is_rated for part in surveys)
    summary, is_authored = summary_blocks(package) if with_summary else ((), False)
    has_ratings = any(part.count("rated") for part in surveys)
    title = settings.programme_title if kind == "public" else package.name_of(subject.place)
    return Page(
        kind=kind,
        path=path,
        title=title,
        kicker=settings.programme,
        year=_year(package),
        lines=tuple(line for line in (_about(surveys), *parents) if line),
        area=subject.area_name,
        others=subject.others,
        is_simulated=package.is_simulated,
        is_rated=is_rated,
        has_ratings=has_ratings,
        statement=statement,
        why_hidden=_why_hidden(surveys, settings),
        summary=summary,
        is_authored=is_authored,
        tiles=_tiles(subject, surveys, is_rated),
        stand_out=stand_out(subject, surveys) if is_rated else None,
        surveys=surveys,
        places=places,
        changes=change_parts(package, settings, subject.place) if kind == "cpp" else (),
        services=_services(package, settings, kind),
        outcomes=outcome_parts(package, settings, subject.place) if kind == "cpp" else (),
        findings=finding_parts(package, settings) if kind == "public" else (),
        reading=_reading(subject, has_ratings),
        example=_example(subject),
        talk=settings.talk["cluster" if kind == "small" else kind],
        care=settings.care,
        chance=_chance(subject, surveys, is_rated=is_rated, has_ratings=has_ratings),
        support=settings.support if any(part.has_sensitive for part in surveys) else "",
        marks=tuple((key, words.text) for key, words in settings.marks.items()),
        rounding=settings.rounding.get(kind, settings.rounding["default"]),
        definitions=_definitions(package, surveys),
        accessibility=settings.accessibility,
        as_of=package.as_of,
        release=package.release,
        policy=package.policy_version,
        has_area=subject.area is not None,
        facts=_facts(package),
    )


def _others(area_name: str) -> str:
    """Whom a school, or schools together, are compared with (policy.md Table B: rest of CPP)."""
    return f"the other schools of {area_name}"


def _why_hidden(surveys: Sequence[SurveyPart], settings: Settings) -> str:
    """Why a page shows no figure of its place, or hardly one; empty where it shows more."""
    shown = sum(part.shown_n for part in surveys)
    measures = sum(part.measures_n for part in surveys)
    if not any(part.hidden for part in surveys):
        return ""
    if not shown:
        return settings.words["none_shown"]
    return settings.words["few_shown"] if 100 * shown <= settings.few_shown_pct * measures else ""


def _chance(
    subject: Subject, surveys: Sequence[SurveyPart], *, is_rated: bool, has_ratings: bool
) -> str:
    """What chance does; that measures were compared is told only where a rating is shown."""
    if not is_rated:
        return subject.settings.chance_without_rating
    if not has_ratings:
        return subject.settings.chance_hidden
    compared = sum(s.count("rated") + s.count("withheld") for s in surveys if s.is_rated)
    left = subject.settings.chance_left["area" if subject.place.level == "cpp" else "school"]
    return subject.settings.chance.format(n=compared, others=subject.others, left=left)


def _about(surveys: Sequence[SurveyPart]) -> str:
    return "; ".join(
        f"{part.title}, {part.stages}" if part.stages else part.title for part in surveys
    )


def _year(package: Package) -> str:
    """The name of the tranche, which holds the years of the survey."""
    names = {g.code: g.name for g in package.geographies if g.level == "tranche"}
    return names.get(tranche_of(package.own.engagement)) or (
        next(iter(names.values())) if len(names) == 1 else ""
    )


def _first(package: Package, level: str) -> Place | None:
    return next((place for place in package.cells.places if place.level == level), None)


def _area_of(package: Package, place: Place) -> Place | None:
    """The CPP of a place, in the same wave."""
    cpps = (other for other in package.cells.places if other.level == "cpp")
    return next((cpp for cpp in cpps if cpp.engagement == place.engagement), None)


def _places(package: Package, level: str) -> list[Place]:
    """Places of a level by name, then code: an order that tells nothing of the results."""
    found = (place for place in package.cells.places if place.level == level)
    return sorted(found, key=lambda place: (package.name_of(place), place.code))


def _parent(package: Package, place: Place, level: str) -> str:
    codes = {
        g.parent_code
        for g in package.geographies
        if (g.level, g.code, g.parent_level) == (place.level, place.code, level)
    }
    names = sorted(g.name for g in package.geographies if g.level == level and g.code in codes)
    return ", ".join(names)


def _place_parts(
    subject: Subject, places: Sequence[Place], title: str, about: str, noun: str
) -> tuple[PlacePart, ...]:
    """One part a survey that holds figures for the places."""
    parts = []
    rated = subject.package.kind == "cpp"
    for survey in surveys_of(subject, subject.place):
        tables = place_tables(subject, survey, places, rated=rated)
        if tables:
            who = subject.settings.surveys[survey].who
            parts.append(PlacePart(f"{title}: {who.lower()}", about, noun, tables))
    return tuple(parts)


def _services(package: Package, settings: Settings, kind: str) -> tuple[ServicePart, ...]:
    """Reach and spend of the CPP, or of each CPP on the programme's page."""
    if kind not in ("cpp", "public"):
        return ()
    places = [package.own] if kind == "cpp" else _places(package, "cpp")
    parts = (
        ServicePart(
            package.name_of(place),
            reach_tables(package.reach, settings, place.engagement),
            recipient_rows(package.recipients, settings, place.engagement),
            spend_table(package.spend, settings, place.engagement),
        )
        for place in places
    )
    return tuple(part for part in parts if part.reach or part.recipients or part.spend)


def _tiles(subject: Subject, surveys: Sequence[SurveyPart], is_rated: bool) -> tuple[Tile, ...]:
    tiles = [
        _took_part_tile(subject, part)
        for part in surveys
        # Clusters have no such figure, and a quota sample nobody who did not take part.
        if subject.place.level == "school" or _participation(subject, part.key) is not None
    ]
    if not is_rated:
        if subject.package.kind == "public":
            n = len({code for level, code, _ in subject.package.cells.places if level == "cpp"})
            tiles.append(Tile("plain", str(n), wording.plural(n, "area")[2:]))
        shown = sum(part.shown_n for part in surveys)
        return (*tiles, Tile("plain", str(shown), "measures with results"))
    if not any(part.count("rated") for part in surveys):
        return (*tiles, Tile("plain", "[c]", "Ratings are not shown"))
    others = subject.area_name if subject.others == subject.area_name else "other schools"
    for kind, words in (
        ("better", f"better than {others}"),
        ("similar", f"similar to {others}"),
        ("worse", f"worse than {others}"),
    ):
        n = sum(part.count(kind) for part in surveys)
        noun = "measure" if n == 1 else "measures"
        tiles.append(Tile(kind, str(n), f"{noun} {words}"))
    return tuple(tiles)


def _took_part_tile(subject: Subject, part: SurveyPart) -> Tile:
    """Who took part, with roll and response as far as policy.md's response-rate row lets it."""
    row = _participation(subject, part.key)
    if row is None or row.status not in SHOWN or not row.respondents_n:
        said = f"{part.who.lower()} took part: number not shown"
        return Tile("plain", "[x]" if row is None else f"[{row.status}]", said)
    text = f"{part.who.lower()} took part"
    if row.roll_n:
        text = f"of about {wording.thousands(row.roll_n)} {text}"
    if row.response_band:
        text += f" ({row.response_band.replace(' %', '%')})"
    if row.schools_n:
        noun = "school" if row.schools_n == "1" else "schools"
        text += f", in {wording.thousands(row.schools_n)} {noun}"
    return Tile("plain", wording.thousands(row.respondents_n), text)


def _participation(subject: Subject, survey: str) -> Participation | None:
    place = subject.place
    return next(
        (
            row
            for row in subject.package.participation
            if row[:4] == (place.engagement, survey, place.level, place.code)
        ),
        None,
    )


def _reading(subject: Subject, is_rated: bool) -> str:
    key = "rated" if is_rated else ("unrated" if subject.area else "alone")
    return subject.settings.reading[key].format(own=subject.own_words, area=subject.area_name)


def _example(subject: Subject) -> Example:
    """A drawn example with made-up figures, which the page says they are."""
    return charts.example(subject.own_words, subject.area_name if subject.area else "")


def _definitions(package: Package, surveys: Sequence[SurveyPart]) -> tuple[Measure, ...]:
    named = {
        row.indicator
        for part in surveys
        for domain in part.domains
        for row in (*domain.rows, *domain.scores)
    }
    found = (measure for name, measure in package.measures.items() if name in named)
    return tuple(sorted(found, key=lambda m: (m.indicator.split("_", 1)[0], m.title, m.indicator)))


def _other_waves(package: Package) -> Iterator[tuple[str, str]]:
    """That the data file of a school holds earlier waves, of which the page says nothing."""
    names = {g.code: g.name for g in package.geographies if g.level == "tranche"}
    own = package.own
    others = {
        tranche_of(place.engagement): wave_of(place)
        for place in package.cells.places
        if (place.level, place.code) == (own.level, own.code) and place != own
    }
    if others:
        listed = sorted(others, key=lambda tranche: others[tranche])
        waves = ", ".join(names.get(tranche, tranche) for tranche in listed)
        yield "Earlier waves", f"{waves}: in the data file alone"


def _facts(package: Package) -> tuple[tuple[str, str], ...]:
    return (
        ("Release", package.release),
        ("Day", package.as_of),
        ("Disclosure policy", package.policy_version),
        ("Package", package.name),
        *_other_waves(package),
        ("Data", package.data_file),
        ("Fingerprint", package.fingerprint),
    )
