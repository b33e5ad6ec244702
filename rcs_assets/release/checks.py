"""Checks of release: the candidate as whoever receives it will find it.

Belongs here: rules in Python that open the packages of `releases/.candidate/` from
outside. Does not belong here: building them (`candidate.py`, `database.py`), the gate
(`gate.py`); of the code that wrote the packages nothing is used but their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.intake.checks import forbidden_columns
from rcs_assets.release.packages import CANDIDATE
from rcs_assets.storage import sql_literal
from rcs_assets.storage.checks import Bench, PythonCheck, Verdict, places, room_checks

ASSET = ("release", "candidate")
MANIFEST = "manifest.json"
DATABASE = "rcs.duckdb"
EXPECTED_FILES = frozenset({DATABASE, "datapackage.json", "certificate.json"})
SAFE_HAVEN = "safe_haven"
# policy.md, How protection is judged: what never leaves the safe haven.
INSIDE_ONLY = frozenset(
    {
        "status_inside",
        "base_n",
        "numerator_n",
        "design_effect",
        "weight",
        "se",
        "df",
        "deff",
        "roll_n",
        "record_id",
        "project_id",
    }
)


def _packages(bench: Bench) -> dict[str, Path]:
    """Name → folder of each package that lies in the candidate."""
    root = bench.home.releases / CANDIDATE
    return {
        file.parent.relative_to(root).as_posix(): file.parent
        for file in sorted(root.rglob(MANIFEST))
        if file.parent != root
    }


def _manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


@contextmanager
def _opened(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The package's database, as an analyst opens it: read-only."""
    con = duckdb.connect(
        str(folder / DATABASE), read_only=True, config={"autoload_known_extensions": False}
    )
    try:
        yield con
    finally:
        con.close()


def manifests_are_complete(bench: Bench) -> Verdict:
    """Each package that is due is there, with the files that its manifest lists, byte by byte."""
    audiences = bench.con.execute("select distinct audience from disclosure.estimates").fetchall()
    wanted = {row[0] for row in audiences} | {SAFE_HAVEN}
    packages = _packages(bench)
    found = [f"package {name}" for name in sorted(wanted ^ set(packages))]
    for name, folder in packages.items():
        listed = {entry["path"]: entry["sha256"] for entry in _manifest(folder)["files"]}
        present = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and path != folder / MANIFEST
        }
        differing = set(listed) ^ set(present) | (EXPECTED_FILES - set(present))
        differing |= {
            path for path in set(listed) & set(present) if _sha256(present[path]) != listed[path]
        }
        found += [f"{name}/{path}" for path in sorted(differing)]
    return Verdict(bool(packages) and not found, places(found, f"{len(packages)} packages"))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def packages_open_and_explain_themselves(bench: Bench) -> Verdict:
    """Each database opens read-only; its tables are filled; tables and columns have comments."""
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        with _opened(folder) as con:
            tables = con.execute("select table_name, comment from duckdb_tables()").fetchall()
            silent = con.execute(
                "select table_name || '.' || column_name from duckdb_columns() "
                "where not internal and coalesce(comment, '') = '' order by all"
            ).fetchall()
            found += [f"{name} {table}" for table, comment in tables if not comment]
            found += [f"{name} {row[0]}" for row in silent]
            found += [f"{name} {t} is empty" for t, _ in tables if _is_empty(con, t)]
            if not {"estimates", "dictionary"} <= {table for table, _ in tables}:
                found.append(f"{name} has no estimates or no dictionary")
    return Verdict(bool(packages) and not found, places(found, f"{len(packages)} packages"))


def _is_empty(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return not con.execute(f'select 1 from "{table}" limit 1').fetchall()


def simulated_is_stated(bench: Bench) -> Verdict:
    """Made from simulated deliveries: manifests, certificates, tables and files all say so."""
    simulated = bench.con.execute("select bool_or(is_simulated) from intake.receipts").fetchall()
    if not simulated[0][0]:
        return Verdict(True, "no delivery is simulated")
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        described = [MANIFEST, "certificate.json", "datapackage.json"]
        found += [f"{name}/{f}" for f in described if not _says_simulated(folder / f)]
        with _opened(folder) as con:
            rows = con.execute(
                "select table_name from duckdb_tables() "
                "where coalesce(comment, '') not like 'SIMULATED%' order by all"
            ).fetchall()
            found += [f"{name} {row[0]}" for row in rows]
        for file in sorted(folder.rglob("*.parquet")):
            marks = bench.con.execute(
                "select decode(value) from parquet_kv_metadata(?) where decode(key) = 'simulated'",
                [str(file)],
            ).fetchall()
            if marks != [("SIMULATED",)]:
                found.append(f"{name}/{file.name}")
    return Verdict(bool(packages) and not found, places(found, f"{len(packages)} packages"))


def _says_simulated(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return '"simulated": true' in text or "SIMULATED" in text


def packages_hold_no_inside_columns(bench: Bench) -> Verdict:
    """No package has a column for an identifier; none but the safe haven's for exact counts."""
    identifiers = forbidden_columns(bench.codebook)
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        forbidden = identifiers if name == SAFE_HAVEN else identifiers | INSIDE_ONLY
        with _opened(folder) as con:
            held = con.execute(
                "select table_name, lower(column_name) from duckdb_columns() where not internal"
            ).fetchall()
        for file in sorted(folder.rglob("*.parquet")):
            columns = bench.con.execute(
                f"describe select * from read_parquet({sql_literal(file)})"
            ).fetchall()
            held += [(file.name, row[0].lower()) for row in columns]
        found += sorted({f"{name} {t}.{column}" for t, column in held if column in forbidden})
    return Verdict(bool(packages) and not found, places(found, f"{len(packages)} packages"))


_CELL = (
    'engagement, survey, geography_level, geography_code, breakdown, "group", indicator, '
    "statistic, n::double as n, estimate::double as estimate, ci_low::double as ci_low, "
    "ci_high::double as ci_high, status, note"
)


def packages_hold_the_protected_cells(bench: Bench) -> Verdict:
    """Estimates of a package are the protected cells of its audience: all, and no others."""
    found = []
    packages = _packages(bench)
    for name, folder in packages.items():
        audience = "public" if name == SAFE_HAVEN else name
        with _opened(folder) as con:
            held = con.execute(f"select {_CELL} from estimates order by all").fetchall()
        wanted = bench.con.execute(
            f"select {_CELL} from disclosure.estimates where audience = ? order by all", [audience]
        ).fetchall()
        parquet = bench.con.execute(
            f"select {_CELL} from read_parquet(?) order by all",
            [str(folder / "parquet" / "estimates.parquet")],
        ).fetchall()
        if not wanted or held != wanted or parquet != wanted:
            found.append(name)
    return Verdict(bool(packages) and not found, places(found, f"{len(packages)} packages"))


NO_RELEASE = "do not publish; run: rcs materialise; if it stays, report a defect of release"
PYTHON_CHECKS = (
    PythonCheck(
        ASSET,
        "manifests_are_complete",
        "Each package that is due is there, with the files that its manifest lists, byte by byte",
        "interfaces.md, A release",
        NO_RELEASE,
        manifests_are_complete,
    ),
    PythonCheck(
        ASSET,
        "packages_open_and_explain_themselves",
        "Each database opens read-only; its tables are filled; tables and columns have comments",
        "interfaces.md, A release",
        NO_RELEASE,
        packages_open_and_explain_themselves,
    ),
    PythonCheck(
        ASSET,
        "simulated_is_stated",
        "What is made from simulated deliveries says SIMULATED in every file and table",
        "design.md, The gate",
        NO_RELEASE,
        simulated_is_stated,
    ),
    PythonCheck(
        ASSET,
        "packages_hold_no_inside_columns",
        "No package has a column for an identifier, none but the safe haven's for exact counts",
        "policy.md, How protection is judged",
        NO_RELEASE,
        packages_hold_no_inside_columns,
    ),
    PythonCheck(
        ASSET,
        "packages_hold_the_protected_cells",
        "Estimates of each package are the protected cells of its audience, all and no others",
        "policy.md, Audiences",
        "run: rcs materialise (the candidate is older than the protected estimates)",
        packages_hold_the_protected_cells,
    ),
)

release_checks = room_checks("release_checks", PYTHON_CHECKS)
