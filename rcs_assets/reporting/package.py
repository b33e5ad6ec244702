"""One release package as a page needs it: rows by key, all values as released text.

Belongs here: reading the CSV or Parquet files and the manifest of one package folder. Does
not belong here: words for people (`views.py`), and anything outside that folder.

Values stay text, as they were released: nothing is rounded a second time (outputs.md,
pitfall 2).
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from rcs_assets.errors import InputError
from rcs_assets.release.fingerprint import figures_hash

SHOWN = ("published", "u")
SUMMARY = "summary.md"
TECHNICAL = "technical_report.md"
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


class Held(NamedTuple):
    """A group of a breakdown that a named place has rows of, with one status among them."""

    level: str
    code: str
    engagement: str
    survey: str
    breakdown: str
    group: str
    status: str
    name: str


@dataclass(frozen=True)
class Cells:
    """The rows of `estimates` by place, survey, indicator, breakdown and group.

    Rows stay as they were read until they are asked for: a page asks for a part of them,
    and there are hundreds of pages. `held` is every group with its statuses, in the order
    of the file.
    """

    rows: Mapping[tuple[str, ...], Sequence[str]]
    pick: Callable[[Sequence[str]], tuple[str, ...]]
    places: Mapping[Place, str]
    held: tuple[Held, ...]

    def get(self, *key: str) -> Cell | None:
        """The row under a key; None where the package has none."""
        row = self.rows.get(key)
        return None if row is None else Cell._make(self.pick(row))


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
    engagement: str
    survey: str
    indicator: str
    verdict: str
    status: str


class Change(NamedTuple):
    """One row of `changes`: a wave of a CPP against the wave before it; numbers as released.

    `earlier_engagement` is empty for a first wave; `note` says why there is no change.
    """

    engagement: str
    earlier_engagement: str
    survey: str
    breakdown: str
    group: str
    indicator: str
    n: str
    earlier_estimate: str
    later_estimate: str
    change: str
    ci_low: str
    ci_high: str
    verdict: str
    status: str
    note: str


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


class Recipient(NamedTuple):
    """One row of `recipients`; numbers are released text."""

    engagement: str
    survey: str
    service: str
    n: str
    not_responded_pct: str
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


class Outcome(NamedTuple):
    """One row of `outcomes`: a sentence for a plan; empty where its figure is not shown."""

    engagement: str
    domain: str
    survey: str
    indicator: str
    title: str
    is_core: str
    status: str
    sentence: str


class Model(NamedTuple):
    """One row of `models`; effects are released text, in points."""

    survey: str
    outcome: str
    kind: str
    factor: str
    is_clear: str
    effect_points: str
    effect_low: str
    effect_high: str
    value: str
    status: str


class Risk(NamedTuple):
    """What `risks` calls a factor."""

    factor: str
    title: str


@dataclass(frozen=True)
class Package:
    """All that a page may say.

    `own` is the school or CPP of the package; for `public` it is the programme as a whole. Of a
    school that was asked in several waves it is the school of the last one.
    `summary` is the authored summary of a CPP, None where nobody wrote one; `technical` is the
    technical report, which a school's package does not have. `data_file` is
    the file of the estimates in the package, `fingerprint` that of all its tables.
    """

    name: str
    kind: str
    release: str
    policy_version: str
    is_simulated: bool
    own: Place
    cells: Cells
    measures: Mapping[str, Measure]
    geographies: tuple[Geography, ...]
    verdicts: Mapping[tuple[str, ...], Verdict]
    participation: tuple[Participation, ...]
    reach: tuple[Reach, ...]
    recipients: tuple[Recipient, ...]
    spend: tuple[Spend, ...]
    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...]
    models: tuple[Model, ...]
    risks: tuple[Risk, ...]
    summary: str | None
    technical: str | None
    data_file: str
    fingerprint: str

    @property
    def as_of(self) -> str:
        """Day of the release, which is its version (YYYY-MM-DD)."""
        return "-".join(self.release.split(".")[:3])

    def cell(
        self,
        place: Place,
        survey: str,
        indicator: str,
        breakdown: str = "total",
        group: str = "all",
    ) -> Cell | None:
        """One row of `estimates`; None where the package has none."""
        return self.cells.get(*place, survey, indicator, breakdown, group)

    def groups(self, place: Place, survey: str, indicator: str) -> Mapping[str, list[str]]:
        """Breakdown → its groups, of which `estimates` has rows of an indicator in a place."""
        found: dict[str, list[str]] = {}
        for key in self.cells.rows:
            if key[:5] == (*place, survey, indicator):
                found.setdefault(key[5], []).append(key[6])
        return found

    def held(self, place: Place, survey: str) -> list[Held]:
        """What groups a place has rows of, in one survey."""
        return [h for h in self.cells.held if h[:4] == (*place, survey)]

    def verdict(self, place: Place, survey: str, indicator: str) -> Verdict | None:
        """The rating of a place on a measure; None where it was not rated."""
        return self.verdicts.get((*place, survey, indicator))

    def name_of(self, place: Place) -> str:
        """The name of a place, its code where the package names none."""
        return self.cells.places.get(place) or place.code

    def is_all_of(self, place: Place, area: Place) -> bool:
        """Whether an area holds nobody but a place: no rating, and its figures throughout.

        Numbers and ranges say less: they are rounded and estimated in another way for a tranche.
        """
        if any(row.verdict for key, row in self.verdicts.items() if key[:3] == place):
            return False
        pairs = [
            (cell, beside)
            for survey in sorted({h.survey for h in self.cells.held if h[:3] == place})
            for indicator in self.measures
            if (cell := self.cell(place, survey, indicator)) is not None
            and (beside := self.cell(area, survey, indicator)) is not None
            and cell.is_shown
            and beside.is_shown
        ]
        return bool(pairs) and all(cell.estimate == beside.estimate for cell, beside in pairs)


# What a row that is not shown must leave empty, in whatever table it stands.
_FIGURES = frozenset(
    "n estimate ci_low ci_high verdict respondents_n roll_n response_band schools_n observed_pct "
    "not_responded_pct "
    "corrected_pct bound_low bound_high gbp children_n odds_ratio effect_points effect_low "
    "effect_high value share_pct outcome_pct sentence earlier_estimate later_estimate "
    "change".split()
)
_CELL = (
    "engagement survey geography_level geography_code geography_name breakdown group "
    "indicator statistic n estimate ci_low ci_high status note"
)
_PLACE = "geography_level geography_code engagement"
_COLUMNS: Mapping[str, tuple[Any, str]] = {
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
        "geography_level geography_code engagement survey indicator verdict status",
    ),
    "changes": (Change, " ".join(Change._fields)),
    "participation": (
        Participation,
        "engagement survey geography_level geography_code respondents_n roll_n response_band "
        "schools_n status",
    ),
    "reach": (Reach, " ".join(Reach._fields)),
    "recipients": (Recipient, " ".join(Recipient._fields)),
    "spend": (Spend, " ".join(Spend._fields)),
    "outcomes": (Outcome, " ".join(Outcome._fields)),
    "models": (Model, " ".join(Model._fields)),
    "risks": (Risk, " ".join(Risk._fields)),
}


def read_package(folder: Path, name: str) -> Package:
    """Read one package.

    Args:
        folder: the package's folder in a candidate or a release.
        name: its name there: `public`, `cpp/<engagement>` or `school/<SEED>`.

    Raises:
        InputError: a file or a column is missing, or the package has no rows of its own.
    """
    manifest = read_manifest(folder)
    geographies = tuple(_rows(folder, "geographies"))
    cells, data_file = _cells(folder, geographies, name)
    return Package(
        name=name,
        kind=name.split("/")[0],
        release=str(manifest["release"]),
        policy_version=str(manifest["policy_version"]),
        is_simulated=bool(manifest["simulated"]),
        own=_own(name, cells.places),
        cells=cells,
        measures={row.indicator: row for row in _rows(folder, "indicators")},
        geographies=geographies,
        verdicts={row[:5]: row for row in _rows(folder, "comparisons")},
        participation=tuple(_rows(folder, "participation", needed=False)),
        reach=tuple(_rows(folder, "reach", needed=False)),
        recipients=tuple(_rows(folder, "recipients", needed=False)),
        spend=tuple(_rows(folder, "spend", needed=False)),
        outcomes=tuple(_rows(folder, "outcomes", needed=False)),
        changes=tuple(_rows(folder, "changes", needed=False)),
        models=tuple(_rows(folder, "models", needed=False)),
        risks=tuple(_rows(folder, "risks", needed=False)),
        summary=_text(folder / SUMMARY),
        technical=_text(folder / TECHNICAL),
        data_file=data_file,
        fingerprint=figures_hash(folder),
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a package.

    Raises:
        InputError: it cannot be read.
    """
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


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _own(name: str, places: Iterable[Place]) -> Place:
    kind, _, key = name.partition("/")
    if kind == "public":
        return Place("all", "all", "")
    own = [place for place in places if place.level == kind and key in (place.code, place[2])]
    if not own:
        raise InputError(
            f"The package {name} has no rows of its own",
            where=f"estimates of {name}",
            why="a page shows its own school or area",
            fix="run: rcs materialise",
        )
    return max(own, key=wave_of)


def tranche_of(engagement: str) -> str:
    """Key of an engagement's tranche."""
    return engagement.partition("-")[0]


def wave_of(place: Place) -> int:
    """Number of the tranche of a school or CPP, which its key says (`t4`); later is higher."""
    return int(tranche_of(place.engagement).removeprefix("t"))


def _told_apart(
    places: Mapping[Place, str], geographies: Iterable[Geography]
) -> Mapping[Place, str]:
    """Names; a CPP that was asked in more than one tranche has the tranche's name with it."""
    waves = Counter(place.code for place in places if place.level == "cpp")
    tranches = {g.code: g.name for g in geographies if g.level == "tranche"}

    def name(place: Place, found: str) -> str:
        key = tranche_of(place.engagement)
        if place.level != "cpp" or waves[place.code] == 1 or key not in tranches:
            return found
        return f"{found}, {tranches[key]}"

    return {place: name(place, found) for place, found in places.items()}


def _cells(folder: Path, geographies: Iterable[Geography], name: str) -> tuple[Cells, str]:
    """The estimates, and the path of their file in the package of this name."""
    header, rows, file = _read(folder, "estimates", needed=True)

    def columns(names: str) -> Callable[[Sequence[str]], tuple[str, ...]]:
        return _columns(names, header, file)

    keys = map(columns(f"{_PLACE} survey indicator breakdown group"), rows)
    named = columns(f"{_PLACE} survey breakdown group status geography_name")
    held = tuple(map(Held._make, dict.fromkeys(map(named, rows))))
    places = {Place(*h[:3]): h.name for h in held}
    if name == "public":
        # All waves stand side by side there; any other page is of one, and says of which.
        places = dict(_told_apart(places, geographies))
    cells = Cells(
        rows=dict(zip(keys, rows, strict=True)),
        pick=columns(_CELL),
        places=places,
        held=held,
    )
    return cells, file.relative_to(folder).as_posix()


def _columns(
    names: str, header: Sequence[str], file: Path
) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """A function that takes the named columns out of a row."""
    missing = [name for name in names.split() if name not in header]
    if missing:
        raise InputError(
            f"A table has no column {missing[0]}", where=str(file), fix="run: rcs materialise"
        )
    return itemgetter(*(header.index(name) for name in names.split()))


def _rows(folder: Path, table: str, *, needed: bool = True) -> list[Any]:
    """The rows of a table as named tuples of text; no rows if it may be absent and is."""
    header, rows, file = _read(folder, table, needed=needed)
    if not header:
        return []
    kind, names = _COLUMNS[table]
    return list(map(kind._make, map(_columns(names, header, file), rows)))


def read_table(folder: Path, table: str) -> list[dict[str, str]]:
    """The rows of any table of a package, in its order: column → text, empty for null.

    Raises:
        InputError: the package has no such table.
    """
    header, rows, _ = _read(folder, table, needed=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _read(
    folder: Path, table: str, *, needed: bool
) -> tuple[Sequence[str], Sequence[Sequence[str]], Path]:
    """Header, rows and file of a table; no header where the table is absent and may be.

    Raises:
        InputError: the table is missing, or a row that is not shown holds a figure.
    """
    parquet = folder / "parquet" / f"{table}.parquet"
    plain = folder / _CSV_NAMES.get(table, f"{table}.csv")
    for file, reader in ((parquet, _read_parquet), (plain, _read_csv)):
        if file.is_file():
            header, found = reader(file)
            rows = list(found)
            _refuse_hidden_figures(header, rows, file)
            return header, rows, file
    if needed:
        raise InputError(
            f"A package holds no table {table}", where=str(folder), fix="run: rcs materialise"
        )
    return (), (), plain


def _refuse_hidden_figures(
    header: Sequence[str], rows: Sequence[Sequence[str]], file: Path
) -> None:
    """A figure in a hidden row is a fault of protection: nothing is made of such a package."""
    if "status" not in header:
        return
    status = header.index("status")
    columns = [i for i, name in enumerate(header) if name in _FIGURES]
    for line, row in enumerate(rows, 1):
        if row[status] in SHOWN:
            continue
        for i in columns:
            if row[i]:
                raise InputError(
                    f"A row that is not shown holds a figure in column {header[i]}",
                    where=f"{file}, row {line}",
                    why=f"its status is {row[status]}: protection must leave it empty",
                    fix="do not hand this package on; run: rcs materialise",
                )


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
