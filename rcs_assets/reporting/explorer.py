"""The explorer of one package: a static site that works from a folder, without a network.

Belongs here: cutting a package's released rows into the site's data and setting its one page.
Does not belong here: drawing and asking (`data/explorer/explorer.js`), any figure of its own,
and rows of another package: a site is cut by copying rows in, never by hiding them.

A hidden cell has a key and a mark and nothing else: the lists of figures hold one entry for
each shown cell, so that there is no place where a hidden figure could stand.
"""

from __future__ import annotations

import base64
import csv
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rcs_assets.reporting.package import Change, Package, Place
from rcs_assets.reporting.render import template
from rcs_assets.reporting.settings import Settings

if TYPE_CHECKING:
    import duckdb

FOLDER = "explorer"
KINDS = ("public", "cpp")
_LEVELS = ("all", "tranche", "cpp", "cluster", "school")
# Statuses as one letter; a note of a hidden figure has its own.
_MARK = """
    case when status = 'c' and note = 'low' then 'l' when status = 'c' and note = 'high' then 'h'
    else left(status, 1) end
"""


@dataclass(frozen=True)
class _Keys:
    """What cells are numbered by: places, measures and groups, in one order."""

    places: tuple[Place, ...]
    measures: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, str], ...]


def explorer_files(folder: Path, package: Package, settings: Settings) -> Mapping[str, bytes]:
    """The site of a package.

    Args:
        folder: the package's folder, whose Parquet files are read.
        package: the same package, for names and facts.
        settings: words.

    Returns:
        Path in the package (`explorer/index.html`, `explorer/data/<unit>.js` …) → bytes.
    """
    import duckdb

    keys = _keys(package, settings)
    units = _units(keys)
    files = {"data/meta.js": _script("meta", _meta(package, settings, keys, units))}
    with duckdb.connect() as con:
        _register(con, folder, keys)
        for unit in dict.fromkeys(units):
            content = _unit(con, unit, package)
            files[f"data/{unit}.js"] = _script(unit, content)
    page = template("explorer.html").render(
        title=_title(package), package=package, settings=settings
    )
    files["index.html"] = page.encode()
    for name in ("explorer.js", "explorer.css"):
        files[name] = _asset(name)
    return {f"{FOLDER}/{path}": content for path, content in files.items()}


def _title(package: Package) -> str:
    return f"{package.name_of(package.own)}: wellbeing explorer"


def _keys(package: Package, settings: Settings) -> _Keys:
    surveys = list(settings.surveys)
    held = package.cells.held
    measures = {(survey, name) for survey, name in _asked(package)}
    return _Keys(
        tuple(
            sorted(
                package.cells.places,
                key=lambda p: (_LEVELS.index(p.level), package.name_of(p), p.code, p.engagement),
            )
        ),
        tuple(
            sorted(
                measures,
                key=lambda m: (surveys.index(m[0]), package.measures[m[1]].title, m[1]),
            )
        ),
        tuple(
            sorted(
                {(h.breakdown, h.group) for h in held},
                key=lambda g: (_breakdown_order(g[0]), *settings.group_order(*g)),
            )
        ),
    )


def _asked(package: Package) -> set[tuple[str, str]]:
    """Survey and indicator of every row."""
    return {(key[3], key[4]) for key in package.cells.rows if key[4] in package.measures}


def _breakdown_order(breakdown: str) -> tuple[int, str]:
    order = ("total", "sex", "stage", "simd_quintile", "asn", "looked_after", "ethnicity")
    return (order.index(breakdown) if breakdown in order else len(order), breakdown)


def _units(keys: _Keys) -> tuple[str, ...]:
    """The data file of each place: one a council, one for what is above."""
    councils = {p.engagement: p.code for p in keys.places if p.level == "cpp"}
    return tuple(councils.get(p.engagement, "all") for p in keys.places)


def _register(con: duckdb.DuckDBPyConnection, folder: Path, keys: _Keys) -> None:
    """The rows of the package with their numbers."""
    con.execute("create table places (level text, code text, engagement text, unit text, i int)")
    con.execute("create table measures (survey text, indicator text, i int)")
    con.execute('create table groups (breakdown text, "group" text, i int)')
    units = _units(keys)
    con.executemany(
        "insert into places values (?, ?, ?, ?, ?)",
        [(*p, unit, i) for i, (p, unit) in enumerate(zip(keys.places, units, strict=True))],
    )
    con.executemany(
        "insert into measures values (?, ?, ?)", [(*m, i) for i, m in enumerate(keys.measures)]
    )
    con.executemany(
        "insert into groups values (?, ?, ?)", [(*g, i) for i, g in enumerate(keys.groups)]
    )
    file = str(folder / "parquet" / "estimates.parquet")
    con.execute(
        f"""
        create table cells as
        select places.unit,
            (places.i * {len(keys.measures)} + measures.i) * {len(keys.groups)} + groups.i as key,
            {_MARK} as mark, status in ('published', 'u') as is_shown, estimates.*
        from read_parquet(?) as estimates
        inner join places on places.level = estimates.geography_level
            and places.code = estimates.geography_code
            and places.engagement = coalesce(estimates.engagement, '')
        inner join measures using (survey, indicator)
        inner join groups using (breakdown, "group")
        """,
        [file],
    )


def _unit(con: duckdb.DuckDBPyConnection, unit: str, package: Package) -> dict[str, Any]:
    """Cells, ratings, reach and spend of one council, or of what is above councils."""
    row = con.execute(
        """
        select
            list(key order by key),
            string_agg(mark, '' order by key),
            list((n)::int order by key) filter (is_shown),
            list((estimate * 10)::int order by key) filter (is_shown),
            list(((estimate - ci_low) * 10)::int order by key) filter (is_shown),
            list(((ci_high - estimate) * 10)::int order by key) filter (is_shown)
        from cells where unit = ?
        """,
        [unit],
    ).fetchall()[0]
    keys, marks, *figures = (part or [] for part in row)
    engagements = {p.engagement for p in package.cells.places if p.code == unit}
    own = {p for p in package.cells.places if p.engagement in (engagements or {""})}
    return {
        "keys": [after - before for before, after in zip([0, *keys], keys, strict=False)],
        "marks": marks or "",
        **dict(zip(("n", "estimate", "down", "up"), figures, strict=True)),
        "verdicts": [
            [v.level, v.code, v.engagement, v.survey, v.indicator, v.verdict or v.status]
            for v in package.verdicts.values()
            if v[:3] in own and (v.verdict or v.status == "c")
        ],
        "reach": [list(row) for row in package.reach if row.engagement in engagements],
        "spend": [list(row) for row in package.spend if row.engagement in engagements],
        "changes": [_change(row) for row in package.changes if row.engagement in engagements],
    }


def _meta(
    package: Package, settings: Settings, keys: _Keys, units: tuple[str, ...]
) -> dict[str, Any]:
    """Names, measures, groups and words: all that the page needs before its first figure."""
    measures = [(survey, package.measures[name]) for survey, name in keys.measures]
    return {
        "title": _title(package),
        "kind": package.kind,
        "release": package.release,
        "as_of": package.as_of,
        "policy": package.policy_version,
        "simulated": package.is_simulated,
        "places": [
            [p.level, p.code, package.name_of(p), p.engagement, unit]
            for p, unit in zip(keys.places, units, strict=True)
        ],
        "parents": [list(g) for g in package.geographies],
        "alone": [i for i, p in enumerate(keys.places) if _is_alone(package, p)],
        "measures": [
            {
                **{k: v for k, v in m._asdict().items() if k != "is_sensitive"},
                "survey": survey,
                "source": settings.source_words(m.source),
                "sensitive": m.is_sensitive == "true",
                "scale": settings.scales.get(m.indicator),
                "mean": m.indicator.endswith("_mean"),
            }
            for survey, m in measures
        ],
        "groups": [[b, g, _group_words(settings, b, g)] for b, g in keys.groups],
        "breakdowns": {
            "total": "All",
            "sex": "Girls and boys",
            "stage:sex": "Stage, girls and boys",
            **{k: words.title for k, words in settings.group_tables.items()},
        },
        "domains": dict(settings.domains),
        "surveys": {k: asdict(words) for k, words in settings.surveys.items()},
        "marks": {k: words.text for k, words in settings.marks.items()},
        "priority": [name for names in settings.priority.values() for name in names],
        "reach": {
            "services": dict(settings.reach.services),
            "levels": dict(settings.reach.levels),
            "needs": dict(settings.reach.needs),
        },
        "findings": _findings(package, settings),
        "tiers": dict(settings.spend.tiers),
        "prevention": list(settings.spend.prevention),
        "support": settings.support,
        "accessibility": list(settings.accessibility),
        "councils": _councils(),
    }


def _is_alone(package: Package, place: Place) -> bool:
    """Whether a CPP or tranche is all that the area above it has: it is not set beside itself."""
    above = {"cpp": "tranche", "tranche": "all"}.get(place.level)
    return any(
        package.is_all_of(place, area)
        for area in package.cells.places
        if area.level == above and (above == "all" or place.engagement.startswith(f"{area.code}-"))
    )


def _tenths(text: str) -> int | None:
    return round(float(text) * 10) if text else None


def _change(row: Change) -> list[str | int | None]:
    """A change as the page reads it: figures in tenths, null where there is none."""
    figures = map(_tenths, row[7:12])
    return [*row[:6], row.n or None, *figures, row.verdict, row.status[0], row.note]


def _findings(package: Package, settings: Settings) -> list[dict[str, Any]]:
    """The adjusted differences of each outcome by factor, in tenths of a point."""
    titles = {row.factor: row.title for row in package.risks if row.title}

    return [
        {
            "outcome": row.outcome,
            "title": f"{package.measures[row.outcome].title}, "
            f"{settings.surveys[row.survey].who.lower()}",
            "factor": titles[row.factor],
            "points": _tenths(row.effect_points),
            "low": _tenths(row.effect_low),
            "high": _tenths(row.effect_high),
            "clear": row.is_clear == "true",
            "mark": row.status[0],
        }
        for row in sorted(package.models, key=lambda row: titles.get(row.factor, ""))
        if row.kind == "term" and row.factor in titles and row.outcome in package.measures
    ]


def _group_words(settings: Settings, breakdown: str, group: str) -> str:
    if breakdown == "total":
        return "All"
    parts = zip(breakdown.split(":"), group.split(":"), strict=False)
    return ", ".join(settings.group_label(b, g) for b, g in parts)


@cache
def _councils() -> list[list[Any]]:
    """The 32 councils as tiles of equal size: code, name, column, row, short name."""
    rows = csv.DictReader(_asset("councils.csv").decode().splitlines())
    return [[r["code"], r["name"], int(r["column"]), int(r["row"]), r["short"]] for r in rows]


def _script(unit: str, content: Mapping[str, Any]) -> bytes:
    """A classic script: modules and requests are blocked from a folder (outputs.md, pitfall 4)."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
    return f'RCS.load("{unit}","{packed}");\n'.encode()


def _asset(name: str) -> bytes:
    return (resources.files("rcs_assets.reporting") / "data" / "explorer" / name).read_bytes()
