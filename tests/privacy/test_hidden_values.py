"""Nothing that a release hides stands in any file that is handed out.

By key, in each format: a row that is not shown has no figure, and what is drawn beside it is
empty. By value: the unrounded figures of hidden cells, which the warehouse knows, are searched
for in every text. Released figures have one decimal, so four decimals that agree are no chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import duckdb
import pytest
from pypdf import PdfReader

from rcs_assets.reporting.examine import unpacked
from rcs_assets.reporting.package import SHOWN
from tests.conftest import ReleasedHome

HANDED_OUT = ("public", "cpp", "school", "archive")
FIGURES = frozenset(
    "n estimate ci_low ci_high verdict respondents_n roll_n response_band schools_n observed_pct "
    "corrected_pct bound_low bound_high gbp children_n odds_ratio effect_points effect_low "
    "effect_high value share_pct outcome_pct sentence".split()
)
LONG = re.compile(rb"\d+\.\d{4,}")


@pytest.fixture(scope="module")
def release(released_home: ReleasedHome) -> Path:
    return released_home.path / "releases" / "current"


def handed_out(release: Path, suffix: str) -> list[Path]:
    found = [f for kind in HANDED_OUT for f in sorted((release / kind).rglob(f"*{suffix}"))]
    assert found
    return found


def told(con: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int]:
    """Hidden rows of a table, and those of them that hold a figure."""
    columns = [row[0] for row in con.execute(f"describe from {table}").fetchall()]
    if "status" not in columns:
        return 0, 0
    figures = [f"nullif({c}::varchar, '')" for c in columns if c in FIGURES]
    row = con.execute(
        f"select count(*), count(coalesce({', '.join(figures)})) from {table} "
        f"where status not in {SHOWN}"
    ).fetchone()
    assert row is not None
    return row


def tables(release: Path) -> Iterator[tuple[Path, duckdb.DuckDBPyConnection, str]]:
    """Every table of every package, in each format that it is handed out in."""
    with duckdb.connect() as con:
        for file in handed_out(release, ".parquet"):
            yield file, con, f"read_parquet('{file}')"
        for file in handed_out(release, ".csv"):
            yield file, con, f"read_csv('{file}', all_varchar = true)"
    for file in handed_out(release, ".duckdb"):
        with duckdb.connect(str(file), read_only=True) as con:
            for (name,) in con.execute("select table_name from duckdb_tables()").fetchall():
                yield file, con, f'"{name}"'


def test_a_hidden_row_is_empty_in_every_format(release) -> None:
    hidden, leaks, formats = 0, [], set()
    for file, con, table in tables(release):
        n, told_n = told(con, table)
        hidden += n
        if n:
            formats.add(file.suffix)
        if told_n:
            leaks.append(f"{file.relative_to(release)}: {table}")
    assert leaks == []
    assert hidden > 10_000 and formats == {".parquet", ".csv", ".duckdb"}


def test_an_explorer_has_no_place_for_a_hidden_figure(release) -> None:
    files = [f for f in handed_out(release, ".js") if f.parent.name == "data"]
    units = {f: unpacked(f) for f in files if f.stem != "meta"}
    assert sum(len(unit["marks"]) for unit in units.values()) > 10_000
    for file, unit in units.items():
        shown = sum(mark in "pu" for mark in unit["marks"])
        assert len(unit["marks"]) == len(unit["keys"]), file
        for column in ("n", "estimate", "down", "up"):
            assert len(unit[column]) == shown, (file, column)
        for rows, status in ((unit["reach"], 13), (unit["spend"], 8)):
            for row in rows:
                figures = row[6:13] if status == 13 else row[6:8]
                assert row[status] in SHOWN or not any(figures), file


def test_nothing_is_drawn_where_nothing_is_shown(release) -> None:
    hidden = 0
    for file in handed_out(release, ".html"):
        if file.parent.name == "explorer":
            continue
        for row in ET.parse(file).iter("tr"):
            cells = list(row.iter("td"))
            own = [c for c in cells if "own" in (c.get("class") or "").split()]
            if own and (own[0].text or "").startswith("[") and row.get("data-indicator"):
                hidden += 1
                assert not any(True for _ in row.iter("svg")), file
                assert not re.search(r"\d", "".join(cells[0].itertext())), file
    assert hidden > 100


def test_groups_are_drawn_only_where_they_are_shown(release) -> None:
    mixed = 0
    for file in handed_out(release, ".html"):
        if file.parent.name == "explorer":
            continue
        for table in ET.parse(file).iter("table"):
            if table.get("class") != "groups":
                continue
            for row in table.iter("tr"):
                values = [c for c in row.iter("td") if c.get("class") == "number"]
                shown = sum(not (c.text or "[").startswith("[") for c in values)
                drawn = sum(1 for _ in row.iter("circle"))
                assert drawn in (shown, 0), file
                mixed += 0 < shown < len(values)
    assert mixed > 10


def test_unrounded_hidden_values_stand_nowhere(released_home: ReleasedHome, release) -> None:
    with duckdb.connect(str(released_home.path / "warehouse.duckdb"), read_only=True) as con:
        values = con.execute(
            """
            select unnest([w.estimate, w.ci_low, w.ci_high]) as value
            from wellbeing.estimates as w
            where exists (
                select 1 from disclosure.estimates as d
                where d.status = 'c'
                    and (d.survey, d.geography_level, d.geography_code, d.breakdown, d."group",
                        d.indicator)
                    = (w.survey, w.geography_level, w.geography_code, w.breakdown, w."group",
                        w.indicator)
            )
            """
        ).fetchall()
    # As a per cent and as a share, cut to four decimals; what is round by chance is left out.
    needles = {
        f"{v:.9f}"[:-5].encode()
        for (value,) in values
        if value is not None
        for v in (value, value / 100)
        if f"{v:.9f}"[-8:-4].strip("0")[1:]
    }
    assert len(needles) > 5_000
    found = []
    for path, content in texts(release):
        numbers = {n[: n.index(b".") + 5] for n in LONG.findall(content)}
        if numbers & needles:
            found.append(str(path.relative_to(release)))
    assert found == []


def texts(release: Path) -> Iterator[tuple[Path, bytes]]:
    """All that people and programs read in reports, explorers, tables and documents."""
    for suffix in (".html", ".csv", ".md", ".cff", ".xml"):
        for kind in HANDED_OUT:
            for file in (release / kind).rglob(f"*{suffix}"):
                yield file, file.read_bytes()
    for file in handed_out(release, ".pdf"):
        yield file, " ".join(page.extract_text() for page in PdfReader(file).pages).encode()
    for file in handed_out(release, ".js"):
        if file.parent.name == "data":
            yield file, repr(unpacked(file)).encode()
    for file, con, table in tables(release):
        # Made-up tables of the certificate hold numbers of their own, thousands with decimals:
        # some agree by chance. tests/acceptance/test_certificate.py looks at them.
        if not {"microdata", "certificate"}.intersection(file.parts):
            rows = con.execute(f"select * from {table}").fetchall()
            yield file, repr(rows).encode()
