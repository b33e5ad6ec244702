"""Builds the release candidate aside, package by package.

Belongs here: which rows go into which package, the content hash, the version, manifests
and certificates of packages. Does not belong here: what a table looks like (`tables.py`),
microdata (`microdata.py`), asking the gate (`gate.py`), publishing (`publish.py`).

The candidate lies in `releases/.candidate/`; it is built in a folder aside and takes the
place of the one before when it is complete. Its content hash covers every row of every
table and file of microdata, but no version and no day: the same content is the same
candidate, whenever it was made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from rcs_assets.codebook import Codebook
from rcs_assets.disclosure.geographies import geography_table
from rcs_assets.disclosure.policy import Policy
from rcs_assets.errors import InputError, StorageError
from rcs_assets.programme import Programme
from rcs_assets.release.certificate import certificate
from rcs_assets.release.database import write_database
from rcs_assets.release.files import MANIFEST, file_list, sync_tree, write_json
from rcs_assets.release.microdata import write_microdata
from rcs_assets.release.packages import (
    CANDIDATE,
    HISTORY_COLUMNS,
    clean_leftovers,
    next_version,
    release_history,
)
from rcs_assets.release.tables import TableSpec, datapackage, specs_of
from rcs_assets.storage import Home, public_count, sql_literal
from rcs_assets.storage.code import code_version

CANDIDATE_FILE = "candidate.json"
NOT_REPRODUCIBLE = {
    "rcs.duckdb": "DuckDB leaves unused bytes of its blocks as they were in memory; the tables "
    "equal those in parquet/, which are the same bytes each time. Files that quote its "
    "checksum (manifest.json, SHA256SUMS) differ with it."
}


@dataclass(frozen=True)
class Package:
    """One package: `name` is its folder, `kind` the part of it before the slash.

    `geography_code` is the area or school that it is about, where it is about one.
    """

    name: str
    kind: str
    engagement: str | None = None
    geography_code: str | None = None


@dataclass(frozen=True)
class Sources:
    """What a candidate is made from, beside the warehouse."""

    programme: Programme
    codebook: Codebook
    policy: Policy
    as_of: date
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Head:
    """What every manifest of a candidate says."""

    sources: Sources
    version: str
    content_hash: str
    is_simulated: bool


@dataclass(frozen=True)
class Candidate:
    """A complete candidate. `rows` counts the cells of the public package."""

    path: Path
    version: str
    content_hash: str
    packages: tuple[str, ...]
    is_simulated: bool
    rows: int


def build_candidate(home: Home, con: duckdb.DuckDBPyConnection, sources: Sources) -> Candidate:
    """Build `releases/.candidate/` from the warehouse.

    Args:
        home: the installation; the key `release` re-keys the ids of microdata.
        con: a connection to the warehouse, reading; temporary tables are made.
        sources: register, codebook, policy, day.

    Raises:
        InputError: there are no protected estimates, or no receipts to tell what was delivered.
        StorageError: a package could not be written.
    """
    home.releases.mkdir(parents=True, exist_ok=True)
    clean_leftovers(home)
    folder = home.releases / f"{CANDIDATE}-build-{os.getpid()}"
    folder.mkdir(mode=0o700)
    packages = _packages(con, sources.programme)
    is_simulated = _is_simulated(con)
    _register(con, sources, packages)
    microdata = folder / "safe_haven" / "microdata"
    write_microdata(con, home.key("release"), microdata, is_simulated=is_simulated)
    content_hash = _content_hash(con, packages, microdata, sources, is_simulated)
    version = next_version(home, sources.as_of, content_hash)
    _register_history(con, home, sources, version)
    rows = {p.name: _write_package(con, folder, p, version, is_simulated) for p in packages}
    _write_databases(folder, packages, is_simulated)
    head = _Head(sources, version, content_hash, is_simulated)
    cells = {p.name: _describe(con, folder, p, head, rows[p.name]) for p in packages}
    _describe_candidate(con, folder, packages, head, rows, cells)
    return _put_in_place(
        home,
        folder,
        Candidate(
            home.releases / CANDIDATE,
            version,
            content_hash,
            tuple(rows),
            is_simulated,
            rows["public"]["estimates"],
        ),
    )


def _packages(con: duckdb.DuckDBPyConnection, programme: Programme) -> tuple[Package, ...]:
    audiences = [
        row[0]
        for row in con.execute(
            "select distinct audience from disclosure.estimates order by audience"
        ).fetchall()
    ]
    if "public" not in audiences:
        raise InputError(
            "There are no protected estimates",
            where="disclosure.estimates",
            why="a release is made of what disclosure protected",
            fix="run: rcs materialise",
        )
    engagements = [name.partition("/")[2] for name in audiences if name != "public"]
    cpps = [
        Package(f"cpp/{key}", "cpp", key, programme.engagements[key].cpp.council_code)
        for key in engagements
    ]
    return (Package("public", "public"), *cpps, Package("safe_haven", "safe_haven"))


def _is_simulated(con: duckdb.DuckDBPyConnection) -> bool:
    found = con.execute("select bool_or(is_simulated) from intake.receipts").fetchall()[0][0]
    if found is None:
        raise InputError(
            "Nothing tells whether the deliveries are simulated",
            where="intake.receipts",
            why="everything made from simulated deliveries says so",
            fix="run: rcs materialise",
        )
    return bool(found)


def _register(
    con: duckdb.DuckDBPyConnection, sources: Sources, packages: Sequence[Package]
) -> None:
    """Tables that come from data files: areas, indicators, dictionary."""
    engagements = [p.engagement for p in packages if p.engagement]
    con.register("release_geographies", geography_table(sources.programme, engagements))
    councils = [sources.programme.engagements[key].cpp for key in engagements]
    con.register(
        "release_councils",
        pa.table(
            {
                "geography_code": pa.array([c.council_code for c in councils], pa.string()),
                "council_name": pa.array([c.council_name for c in councils], pa.string()),
            }
        ),
    )
    con.register("release_indicators", _indicator_table(sources.codebook))
    rows = [
        {"kind": kind, "table_name": spec.name, "column_name": column.name}
        | {key: value for key, value in asdict(column).items() if key != "name"}
        for kind in ("public", "cpp", "safe_haven")
        for spec in specs_of(kind)
        for column in spec.columns
    ]
    con.register("release_dictionary", pa.Table.from_pylist(rows))


def _indicator_table(codebook: Codebook) -> Any:
    return pa.Table.from_pylist(
        [
            {
                "indicator": i.name,
                "title": i.title,
                "domain": i.domain,
                "direction": i.direction,
                "definition": i.definition,
                "denominator": i.denominator,
                "stages": ", ".join(i.stages),
                "instrument": i.instrument,
                "source": i.source,
            }
            for i in codebook.indicators.values()
        ]
    )


def _register_history(
    con: duckdb.DuckDBPyConnection, home: Home, sources: Sources, version: str
) -> None:
    """The table of releases: those published before, and this one."""
    own = (version, sources.as_of.isoformat(), sources.policy.version, sources.codebook.version)
    past = [row for row in release_history(home) if row[0] != version]
    columns = zip(*[*past, own], strict=True)
    table = {
        name: pa.array(list(values), pa.string())
        for name, values in zip(HISTORY_COLUMNS, columns, strict=True)
    }
    con.register("release_history", pa.table(table))


def _rows_sql(spec: TableSpec, package: Package, version: str) -> str:
    """The rows of a table in a package, typed and ordered."""
    source = _source_sql(spec.name, package)
    if any(column.name == "release" for column in spec.columns) and spec.name != "releases":
        source = f"select {sql_literal(version)} as release, source.* from ({source}) as source"
    return f"select {spec.select_list} from ({source}) order by {spec.order_list}"


def _source_sql(table: str, package: Package) -> str:
    if table == "estimates":
        audience = package.name if package.kind == "cpp" else "public"
        return (
            "select * exclude (audience, release, status_inside) from disclosure.estimates "
            f"where audience = {sql_literal(audience)}"
        )
    if table == "geographies":
        return _geographies_sql(package)
    if table == "dictionary":
        return f"select * from release_dictionary where kind = {sql_literal(package.kind)}"
    return {
        "indicators": "select * from release_indicators",
        "releases": "select * from release_history",
        "estimates_unrounded": "select * from wellbeing.estimates",
        "link_rates": "select * from linkage.link_rates "
        "where engagement in (select engagement from release_geographies)",
    }[table]


def _geographies_sql(package: Package) -> str:
    """Areas and all mainstream schools in scope; a CPP package holds its own."""
    own = ""
    if package.engagement:
        engagement = sql_literal(package.engagement)
        own = (
            f"where engagement = {engagement} or geography_level = 'all' or geography_code in "
            f"(select parent_code from release_geographies where engagement = {engagement})"
        )
    return f"""
        with areas as (select * from release_geographies {own})
        select geography_level, geography_code, geography_name, parent_level, parent_code
        from areas
        union
        select 'school', schools.seed_code, schools.school_name, 'cpp', areas.geography_code
        from intake.school_list as schools
        inner join release_councils as councils on councils.council_name = schools.council_name
        inner join areas
            on areas.geography_level = 'cpp' and areas.geography_code = councils.geography_code
        where lower(schools.has_primary::varchar) in ('yes', 'true')
            or lower(schools.has_secondary::varchar) in ('yes', 'true')
    """


def _content_hash(
    con: duckdb.DuckDBPyConnection,
    packages: Iterable[Package],
    microdata: Path,
    sources: Sources,
    is_simulated: bool,
) -> str:
    """sha256 over all that the candidate says, but its version and day."""
    digest = hashlib.sha256()
    versions = (sources.policy.version, sources.codebook.version, sources.programme.version)
    digest.update(json.dumps([versions, sorted(sources.left_out), is_simulated]).encode())
    for package in packages:
        for spec in specs_of(package.kind):
            if spec.name != "releases":
                rows = _rows_sql(spec, package, "")
                hashed = con.execute(
                    "select sha256(coalesce(string_agg(sha256(t::varchar), ''), '')) "
                    f"from ({rows}) as t"
                ).fetchall()[0][0]
                digest.update(f"{package.name}/{spec.name} {hashed}\n".encode())
    digest.update(json.dumps(file_list(microdata)).encode())
    return digest.hexdigest()


def _write_package(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    package: Package,
    version: str,
    is_simulated: bool,
) -> dict[str, int]:
    """The Parquet files of a package; returns table → rows."""
    target = folder / package.name / "parquet"
    target.mkdir(parents=True)
    rows = {}
    for spec in specs_of(package.kind):
        mark = "SIMULATED" if is_simulated else "no"
        file = target / f"{spec.name}.parquet"
        written = con.execute(
            f"copy ({_rows_sql(spec, package, version)}) to {sql_literal(file)} "
            f"(format parquet, compression zstd, kv_metadata {{simulated: '{mark}'}})"
        ).fetchall()
        rows[spec.name] = int(written[0][0])
    return rows


def _write_databases(folder: Path, packages: Sequence[Package], is_simulated: bool) -> None:
    """One process a package, two at a time: each sees only its own package's files."""

    def write(package: Package) -> None:
        write_database(folder / package.name, specs_of(package.kind), is_simulated=is_simulated)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(write, packages))


def _describe(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    package: Package,
    head: _Head,
    rows: Mapping[str, int],
) -> dict[str, int]:
    """`datapackage.json`, `certificate.json`, `manifest.json`; returns status → cells."""
    target = folder / package.name
    policy, mark = head.sources.policy, head.is_simulated
    resources = datapackage(package.name, head.version, specs_of(package.kind), is_simulated=mark)
    write_json(target / "datapackage.json", resources)
    estimates = sql_literal(target / "parquet" / "estimates.parquet")
    counts = con.execute(
        f"select status, coalesce(note, ''), count(*) from read_parquet({estimates}) "
        "group by all order by all"
    ).fetchall()
    said = certificate(package.name, package.kind, head.version, policy, counts, mark)
    write_json(target / "certificate.json", said)
    write_json(
        target / MANIFEST,
        {
            "package": package.name,
            "release": head.version,
            "simulated": mark,
            "policy_version": policy.version,
            "tables": dict(rows),
            "files": file_list(target, without=[MANIFEST]),
            "not_reproducible": NOT_REPRODUCIBLE,
        },
    )
    return {
        status: sum(n for found, _, n in counts if found == status) for status in policy.statuses
    }


def _describe_candidate(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    packages: Sequence[Package],
    head: _Head,
    rows: Mapping[str, Mapping[str, int]],
    cells: Mapping[str, Mapping[str, int]],
) -> None:
    """`candidate.json`: everything that the published manifest will say but check records."""
    sources = head.sources
    write_json(
        folder / CANDIDATE_FILE,
        {
            "release": head.version,
            "as_of": sources.as_of.isoformat(),
            "content_hash": head.content_hash,
            "simulated": head.is_simulated,
            "code_version": code_version(),
            "codebook_version": sources.codebook.version,
            "policy_version": sources.policy.version,
            "programme_version": sources.programme.version,
            "left_out": sorted(sources.left_out),
            "statuses": dict(sources.policy.statuses),
            "packages": {
                package.name: {
                    "kind": package.kind,
                    "engagement": package.engagement,
                    "geography_code": package.geography_code,
                    "tables": dict(rows[package.name]),
                    "cells": dict(cells[package.name]),
                }
                for package in packages
            },
            "deliveries": _deliveries(con),
            "not_reproducible": NOT_REPRODUCIBLE,
        },
    )


def _deliveries(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """What was delivered, with checksums.

    Counts of 1 to 9 children read `<10`, others are rounded to 10: exact ones would give
    the small ones by subtraction.
    """
    counts = ("received", "accepted", "quarantined", "withdrawn")
    columns = ("engagement", "dataset", "file", "sha256", "status", "simulated", *counts)
    rows = con.execute(
        "select engagement, dataset, file, sha256, status, is_simulated, received_n, "
        "accepted_n, quarantined_n, withdrawn_n from intake.receipts "
        "order by engagement nulls first, dataset"
    ).fetchall()
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return [
        delivery | {name: _rounded_count(delivery[name]) for name in counts} for delivery in found
    ]


def _rounded_count(n: int) -> int | str:
    return public_count(n) if n < 10 else (n + 5) // 10 * 10


def _put_in_place(home: Home, folder: Path, candidate: Candidate) -> Candidate:
    sync_tree(folder)
    place = home.releases / CANDIDATE
    if place.exists():
        old = home.releases / f"{CANDIDATE}-old-{os.getpid()}"
        place.rename(old)
        folder.rename(place)
        shutil.rmtree(old)
    else:
        folder.rename(place)
    return candidate


def read_candidate(home: Home) -> dict[str, Any] | None:
    """What the candidate says of itself; None if there is no complete candidate.

    Raises:
        StorageError: its description is damaged.
    """
    folder = home.releases / CANDIDATE
    # A publication that was killed may have gone as far as the manifest, which holds it all.
    found = [file for name in (CANDIDATE_FILE, MANIFEST) if (file := folder / name).is_file()]
    if not found:
        return None
    try:
        content: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(found[0]) from error
    if not {"release", "content_hash", "packages", "policy_version"} <= set(content):
        raise _damaged(found[0])
    return content


def _damaged(file: Path) -> StorageError:
    return StorageError(
        "The release candidate is damaged", where=str(file), fix="run: rcs materialise"
    )
