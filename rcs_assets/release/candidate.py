"""Builds the release candidate aside, package by package.

Belongs here: the order of the work, the content hash, the version, Parquet and databases,
putting the candidate in its place. Does not belong here: which rows go into a package
(`contents.py`), what a table looks like (`tables.py`), school packages (`schools.py`),
microdata (`microdata.py`, `deposit.py`, `microdata_described.py`), manifests and certificates
(`describe.py`), asking the gate (`gate.py`), publishing (`publish.py`).

The candidate lies in `releases/.candidate/`; it is built in a folder aside and takes the
place of the one before when it is complete. Its content hash covers every row of every
table, every file of microdata, the authored summaries, and the code that makes pages of
them, but no version and no day: the same content is the same candidate, whenever it was
made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.codebook.wording import SAFE_HAVEN
from rcs_assets.disclosure.earlier import earlier_releases
from rcs_assets.errors import InputError
from rcs_assets.release.certificate import Told, read_audit
from rcs_assets.release.contents import (
    Package,
    Sources,
    packages_due,
    register_history,
    register_sources,
    rows_sql,
    typed_sql,
)
from rcs_assets.release.database import write_database
from rcs_assets.release.deposit import (
    Deposit,
    complete_deposit,
    described_files,
    described_microdata,
    document_deposits,
    write_deposit,
)
from rcs_assets.release.describe import (
    Head,
    Written,
    describe_candidate,
    describe_package,
)
from rcs_assets.release.files import file_list, sync_tree
from rcs_assets.release.microdata import write_microdata
from rcs_assets.release.microdata_described import (
    FOLDER,
    microdata_resources,
    safe_haven_tables,
    write_safe_haven_dictionary,
)
from rcs_assets.release.notes import write_notes
from rcs_assets.release.packages import CANDIDATE, clean_leftovers, next_version
from rcs_assets.release.rules_in_force import rules_in_force
from rcs_assets.release.schools import prepare_schools, schools_hash, write_schools
from rcs_assets.release.tables import DATA_SOURCE, refuse_formulas, specs_of
from rcs_assets.release.technical import FILE as TECHNICAL
from rcs_assets.release.technical import KINDS as TECHNICAL_KINDS
from rcs_assets.release.technical import Run, technical_report
from rcs_assets.release.witnesses import write_witnesses
from rcs_assets.storage import Home, sql_literal
from rcs_assets.storage.code import pages_version
from rcs_assets.wellbeing.estimators import load_estimators

SUMMARY = "summary.md"
SUMMARIES = "summaries"


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
    folder = _new_folder(home)
    packages = packages_due(con, sources.programme, sources.policy)
    is_simulated = _is_simulated(con)
    register_sources(con, sources, [str(p.engagement) for p in packages if p.kind == "cpp"])
    prepare_schools(con)
    summaries = _copy_summaries(home, folder, packages)
    key = home.key("release")
    haven = safe_haven_tables(sources.codebook)
    write_microdata(con, key, folder / SAFE_HAVEN / FOLDER, is_simulated=is_simulated)
    write_safe_haven_dictionary(con, folder / SAFE_HAVEN / FOLDER, haven)
    earlier = earlier_releases(home.releases)
    deposit = write_deposit(con, key, folder, packages, sources, earlier, is_simulated=is_simulated)
    witnesses = {
        package.name: write_witnesses(
            con, folder, package.name, sources.policy, is_simulated=is_simulated
        )
        for package in packages
        if package.kind in ("public", "cpp")
    }
    listed = file_list(folder)
    with ThreadPoolExecutor(max_workers=1) as beside:
        completed = beside.submit(complete_deposit, deposit)
        content_hash = _content_hash(con, listed, packages, sources, is_simulated)
        version = next_version(home, sources.as_of, content_hash)
        register_history(con, home, sources, version)
        rules = rules_in_force(home.config)
        head = Head(sources, version, content_hash, is_simulated, read_audit(con), rules)
        written = _write_packages(con, folder, packages, head)
        completed.result()
    reports = _write_reports(con, home, folder, packages, head, written, deposit)
    document_deposits(
        folder, packages, deposit, sources, reports, release=version, is_simulated=is_simulated
    )
    write_notes(home, folder, head)
    for package in packages:
        if package.has_database:
            told = Told(deposit.told.get(package.name), witnesses.get(package.name))
            files = haven if package.name == SAFE_HAVEN else described_files(package, deposit)
            answers = microdata_resources(
                con, folder / package.name, files, is_simulated=is_simulated
            )
            describe_package(folder, package, head, written[package.name], told, answers)
    describe_candidate(con, folder, packages, head, written, summaries)
    _put_in_place(home, folder)
    names = tuple(package.name for package in packages)
    rows = written["public"].rows["estimates"]
    return Candidate(home.releases / CANDIDATE, version, content_hash, names, is_simulated, rows)


def _new_folder(home: Home) -> Path:
    """A folder aside for the candidate, after removing what a killed run left."""
    home.releases.mkdir(parents=True, exist_ok=True)
    clean_leftovers(home)
    folder = home.releases / f"{CANDIDATE}-build-{os.getpid()}"
    folder.mkdir(mode=0o700)
    return folder


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


def _copy_summaries(home: Home, folder: Path, packages: Sequence[Package]) -> dict[str, str]:
    """Put an author's summary into the package of its CPP; returns engagement → sha256."""
    hashes = {}
    for package in packages:
        source = home.config / SUMMARIES / f"{package.engagement}.md"
        if package.kind == "cpp" and source.is_file():
            (folder / package.name).mkdir(parents=True)
            content = source.read_bytes()
            (folder / package.name / SUMMARY).write_bytes(content)
            hashes[str(package.engagement)] = hashlib.sha256(content).hexdigest()
    return hashes


def _content_hash(
    con: duckdb.DuckDBPyConnection,
    files: Sequence[Mapping[str, Any]],
    packages: Sequence[Package],
    sources: Sources,
    is_simulated: bool,
) -> str:
    """sha256 over all that the candidate says, but its version and day.

    `files` are those that name no version: microdata (a .sav says what its Parquet file and
    the codebook say) and summaries.
    """
    digest = hashlib.sha256()
    versions = (sources.policy.version, sources.codebook.version, sources.programme.version)
    pages = pages_version()
    digest.update(json.dumps([versions, pages, sorted(sources.left_out), is_simulated]).encode())
    for package in packages:
        if package.has_database:
            for spec in specs_of(package.kind):
                if spec.name != "releases":
                    hashed = _rows_hash(con, typed_sql(spec, package, ""))
                    digest.update(f"{package.name}/{spec.name} {hashed}\n".encode())
    digest.update(f"schools {schools_hash(con)}\n".encode())
    digest.update(json.dumps(files).encode())
    return digest.hexdigest()


def _rows_hash(con: duckdb.DuckDBPyConnection, rows: str) -> str:
    """sha256 over the rows' own, in their order: the same however many threads read them."""
    hashed = con.execute(
        "select sha256(coalesce(string_agg(row_hash, '' order by row_hash), '')) "
        f"from (select sha256(t::varchar) as row_hash from ({rows}) as t)"
    ).fetchall()
    return str(hashed[0][0])


def _write_packages(
    con: duckdb.DuckDBPyConnection, folder: Path, packages: Sequence[Package], head: Head
) -> dict[str, Written]:
    """Write the tables of every package; databases are made beside the others' files."""
    written, databases = {}, []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for package in packages:
            if package.has_database:
                written[package.name] = _write_parquet(con, folder, package, head)
                if package.has_csv:
                    _write_csv(con, folder / package.name, package, head)
                # One process a package: each sees only its own package's files.
                target, specs = folder / package.name, specs_of(package.kind)
                made = pool.submit(write_database, target, specs, is_simulated=head.is_simulated)
                databases.append(made)
        schools = [package for package in packages if not package.has_database]
        written |= write_schools(con, folder, schools, head)
        for made in databases:
            made.result()
    return written


def _write_parquet(
    con: duckdb.DuckDBPyConnection, folder: Path, package: Package, head: Head
) -> Written:
    """The Parquet files of a package."""
    target = folder / package.name / "parquet"
    target.mkdir(parents=True)
    rows = {}
    for spec in specs_of(package.kind):
        mark = "SIMULATED" if head.is_simulated else "no"
        file = target / f"{spec.name}.parquet"
        copied = con.execute(
            f"copy ({rows_sql(spec, package, head.version)}) to {sql_literal(file)} "
            f"(format parquet, compression zstd, kv_metadata {{simulated: '{mark}'}})"
        ).fetchall()
        rows[spec.name] = int(copied[0][0])
    counts = con.execute(
        "select status, coalesce(note, ''), count(*) "
        f"from read_parquet({sql_literal(target / 'estimates.parquet')}) group by all order by all"
    ).fetchall()
    return Written(rows, counts)


def _write_csv(con: duckdb.DuckDBPyConnection, target: Path, package: Package, head: Head) -> None:
    """`csv/`: the rows of `parquet/`, each with where the answers come from."""
    (target / "csv").mkdir()
    mark = sql_literal("SIMULATED" if head.is_simulated else "delivered")
    for spec in specs_of(package.kind):
        source = sql_literal(target / "parquet" / f"{spec.name}.parquet")
        refuse_formulas(con, f"read_parquet({source})", spec)
        file = sql_literal(target / "csv" / f"{spec.name}.csv")
        con.execute(
            f"copy (select *, {mark} as {DATA_SOURCE} from read_parquet({source}) "
            f"order by {spec.order_list}) to {file} (format csv, header true)"
        )


def _write_reports(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    folder: Path,
    packages: Sequence[Package],
    head: Head,
    written: Mapping[str, Written],
    deposit: Deposit,
) -> dict[str, str]:
    """Write the technical reports of public and CPPs; returns package → report, deposits too."""
    statuses = head.sources.policy.statuses
    run = Run(
        head.version,
        head.is_simulated,
        head.sources,
        load_estimators(home.config),
        head.audited,
        {name: one.cells(statuses) for name, one in written.items()},
    )
    reports = {
        package.name: technical_report(con, package, run, described_microdata(package, deposit))
        for package in packages
        if package.kind in TECHNICAL_KINDS
    }
    for package in packages:
        if package.name in reports and package.kind != "archive":
            (folder / package.name / TECHNICAL).write_text(reports[package.name], encoding="utf-8")
    return reports


def _put_in_place(home: Home, folder: Path) -> None:
    sync_tree(folder)
    place = home.releases / CANDIDATE
    if place.exists():
        old = home.releases / f"{CANDIDATE}-old-{os.getpid()}"
        place.rename(old)
        folder.rename(place)
        shutil.rmtree(old)
    else:
        folder.rename(place)
