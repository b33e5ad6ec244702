"""One release package as a page needs it: rows by key, all values as released text.

Belongs here: reading the CSV or Parquet files and the manifest of one package folder. Does
not belong here: words for people (`views.py`), and anything outside that folder.

Values stay text, as they were released: nothing is rounded a second time (outputs.md,
pitfall 2).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from rcs_assets.errors import InputError

SHOWN = ("published", "u")
SUMMARY = "summary.md"
# A school package names its files for people (interfaces.md, A release).
_CSV_NAMES = {"estimates": "table.csv"}


class Cell(NamedTuple):
    """One row of `estimates`; numbers are released text, empty where they are hidden."""

    engagement: str
    survey: str
    level: str
    code: str
    name: str
    breakdown: str
    group: str
    indicator: str
    statistic: str
    n: str
    estimate: str
    ci_low: str
    ci_high: str
    status: str
    note: str

    @property
    def is_shown(self) -> bool:
        """Whether the row holds figures."""
        return self.status in SHOWN


class Place(NamedTuple):
    """A geography of the package; `engagement` is empty for tranche and all."""

    level: str
    code: str
    engagement: str


class CellKey(NamedTuple):
    """Where a row of `estimates` is found."""

    place: Place
    survey: str
    indicator: str
    breakdown: str = "total"
    group: str = "all"


class Geography(NamedTuple):
    """One row of `geographies`."""

    level: str
    code: str
    name: str
    parent_level: str
    parent_code: str


class Measure(NamedTuple):
    """One row of `indicators`; `is_sensitive` is `true` or `false`, as released."""

    indicator: str
    title: str
    domain: str
    direction: str
    definition: str
    denominator: str
    stages: str
    source: str
    is_sensitive: str


class Verdict(NamedTuple):
    """One row of `comparisons`: better, similar, worse or empty, and its status."""

    level: str
    code: str
    survey: str
    indicator: str
    verdict: str
    status: str


class Participation(NamedTuple):
    """One row of `participation`; texts as released."""

    engagement: str
    survey: str
    level: str
    code: str
    respondents_n: str
    roll_n: str
    response_band: str
    schools_n: str
    status: str


class Reach(NamedTuple):
    """One row of `reach`; numbers are released text."""

    engagement: str
    breakdown: str
    group: str
    need: str
    need_level: str
    service: str
    n: str
    observed_pct: str
    ci_low: str
    ci_high: str
    corrected_pct: str
    bound_low: str
    bound_high: str
    status: str


class Spend(NamedTuple):
    """One row of `spend`; `all` stands for a total."""

    engagement: str
    sector: str
    tier: str
    age_band: str
    funding_origin: str
    domain: str
    gbp: str
    children_n: str
    status: str


@dataclass(frozen=True)
class Package:
    """All that a page may say.

    `own` is the school or CPP of the package; for `public` it is the programme as a whole.
    `summary` is the authored summary of a CPP, None where nobody wrote one.
    """

    name: str
    kind: str
    release: str
    policy_version: str
    is_simulated: bool
    own: Place
    cells: Mapping[CellKey, Cell]
    places: Mapping[Place, str]
    measures: Mapping[str, Measure]
    geographies: tuple[Geography, ...]
    verdicts: Mapping[tuple[str, str, str, str], Verdict]
    participation: tuple[Participation, ...]
    reach: tuple[Reach, ...]
    spend: tuple[Spend, ...]
    summary: str | None

    @property
    def as_of(self) -> str:
        """Day of the release, which is its version (YYYY-MM-DD)."""
        return "-".join(self.release.split(".")[:3])

    def cell(self, key: CellKey) -> Cell | None:
        """The row under a key; None where the package has none."""
        return self.cells.get(key)

    def verdict(self, place: Place, survey: str, indicator: str) -> Verdict | None:
        """The rating of a place on a measure; None where it was not rated."""
        return self.verdicts.get((place.level, place.code, survey, indicator))

    def name_of(self, place: Place) -> str:
        """The name of a place, its code where the package names none."""
        return self.places.get(place) or place.code


_COLUMNS: Mapping[str, tuple[Any, str]] = {
    "estimates": (
        Cell,
        "engagement survey geography_level geography_code geography_name breakdown group "
        "indicator statistic n estimate ci_low ci_high status note",
    ),
    "geographies": (
        Geography,
        "geography_level geography_code geography_name parent_level parent_code",
    ),
    "indicators": (
        Measure,
        "indicator title domain direction definition denominator stages source is_sensitive",
    ),
    "comparisons": (
        Verdict,
        "geography_level geography_code survey indicator verdict status",
    ),
    "participation": (
        Participation,
        "engagement survey geography_level geography_code respondents_n roll_n response_band "
        "schools_n status",
    ),
    "reach": (Reach, " ".join(Reach._fields)),
    "spend": (Spend, " ".join(Spend._fields)),
}


def read_package(folder: Path, name: str) -> Package:
    """Read one package.

    Args:
        folder: the package's folder in a candidate or a release.
        name: its name there: `public`, `cpp/<engagement>` or `school/<SEED>`.

    Raises:
        InputError: a file or a column is missing, or the package has no rows of its own.
    """
    manifest = _manifest(folder)
    estimates = _rows(folder, "estimates")
    if not estimates:
        raise InputError("A package holds no estimates", where=name, fix="run: rcs materialise")
    own = _own(name, estimates)
    cells, places = _by_key(estimates)
    return Package(
        name=name,
        kind=name.split("/")[0],
        release=str(manifest["release"]),
        policy_version=str(manifest["policy_version"]),
        is_simulated=bool(manifest["simulated"]),
        own=own,
        cells=cells,
        places=places,
        measures={row.indicator: row for row in _rows(folder, "indicators")},
        geographies=tuple(_rows(folder, "geographies")),
        verdicts={row[:4]: row for row in _rows(folder, "comparisons")},
        participation=tuple(_rows(folder, "participation", needed=False)),
        reach=tuple(_rows(folder, "reach", needed=False)),
        spend=tuple(_rows(folder, "spend", needed=False)),
        summary=_summary(folder),
    )


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            "The manifest of a package cannot be read",
            where=str(file),
            fix="run: rcs release verify",
        ) from error
    return content


def _summary(folder: Path) -> str | None:
    file = folder / SUMMARY
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _own(name: str, estimates: Iterable[Cell]) -> Place:
    kind, _, key = name.partition("/")
    if kind == "public":
        return Place("all", "all", "")
    for cell in estimates:
        if kind == "school" and cell.level == "school" and cell.code == key:
            return Place("school", key, cell.engagement)
        if kind == "cpp" and cell.level == "cpp" and cell.engagement == key:
            return Place("cpp", cell.code, key)
    raise InputError(
        f"The package {name} has no rows of its own",
        where=f"estimates of {name}",
        why="a page shows its own school or area",
        fix="run: rcs materialise",
    )


def _by_key(
    estimates: Iterable[Cell],
) -> tuple[dict[CellKey, Cell], dict[Place, str]]:
    """Rows by their key, and the places they are about, in the order of the file."""
    cells: dict[CellKey, Cell] = {}
    places: dict[tuple[str, str, str], Place] = {}
    names: dict[Place, str] = {}
    for cell in estimates:
        raw = (cell.level, cell.code, cell.engagement)
        place = places.get(raw)
        if place is None:
            place = places[raw] = Place(*raw)
            names[place] = cell.name
        cells[CellKey(place, cell.survey, cell.indicator, cell.breakdown, cell.group)] = cell
    return cells, names


def _rows(folder: Path, table: str, *, needed: bool = True) -> list[Any]:
    """The rows of a table as named tuples of text; no rows if it may be absent and is."""
    parquet = folder / "parquet" / f"{table}.parquet"
    plain = folder / _CSV_NAMES.get(table, f"{table}.csv")
    if parquet.is_file():
        header, rows = _read_parquet(parquet)
    elif plain.is_file():
        header, rows = _read_csv(plain)
    elif needed:
        raise InputError(f"A package holds no table {table}", where=str(folder))
    else:
        return []
    kind, names = _COLUMNS[table]
    missing = [name for name in names.split() if name not in header]
    if missing:
        raise InputError(
            f"The table {table} has no column {missing[0]}",
            where=str(parquet if parquet.is_file() else plain),
            fix="run: rcs materialise",
        )
    pick = itemgetter(*(header.index(name) for name in names.split()))
    return list(map(kind._make, map(pick, rows)))


def _read_csv(file: Path) -> tuple[list[str], Iterable[Sequence[str]]]:
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    return rows[0], rows[1:]


def _read_parquet(file: Path) -> tuple[list[str], Iterable[Sequence[str]]]:
    """Columns cast to text, null to empty: as the CSV files of a school read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    texts = [pc.fill_null(column.cast(pa.string()), "").to_pylist() for column in table.columns]
    return list(table.column_names), zip(*texts, strict=True)
