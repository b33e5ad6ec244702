"""Examines an installation.

Belongs here: findings about the machine and the home: versions, keys, databases,
disk, settings that must be off. Does not belong here: repairs; the findings say
what to do.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib import metadata

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure.together import load_parts
from rcs_assets.errors import RcsError
from rcs_assets.storage import Home, open_vault, open_warehouse
from rcs_assets.storage.access_log import read_access
from rcs_assets.storage.keyring import key_states

PACKAGES = ("dagster", "dbt-duckdb", "duckdb", "duckdb-extension-httpfs", "great-expectations")
FREE_BYTES_NEEDED = 5 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `detail` says what was found and, if not ok, what to do."""

    what: str
    is_ok: bool
    detail: str


def examine(home: Home) -> list[Finding]:
    """All findings about a home and the machine under it."""
    return [
        Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        *(_package(name) for name in PACKAGES),
        _disk(home),
        _keys(home),
        _access(home),
        _policy(home),
        _opens(home, "warehouse"),
        _opens(home, "vault"),
        _telemetry(home),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed; run: make demo")


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.path).free
    return Finding(
        "disk",
        free >= FREE_BYTES_NEEDED,
        f"{free / 1024**3:.1f} GiB free, {FREE_BYTES_NEEDED / 1024**3:.0f} needed",
    )


def _keys(home: Home) -> Finding:
    problems = [state.problem for state in key_states(home) if state.problem]
    return Finding("keys", not problems, " ".join(problems) or "all there, mode 0600")


def _access(home: Home) -> Finding:
    try:
        entries = read_access(home)
    except RcsError as error:
        return Finding("access log", False, str(error))
    return Finding("access log", True, f"whole, {len(entries)} entries")


def _policy(home: Home) -> Finding:
    """Table A and B, need and receipt, findings, denominators: each part and all together."""
    try:
        policy = load_parts(load_codebook(home.config), home.config).policy
    except RcsError as error:
        return Finding("policy", False, str(error))
    return Finding("policy", True, f"version {policy.version}, no part against another")


def _opens(home: Home, zone: str) -> Finding:
    file = home.warehouse if zone == "warehouse" else home.vault
    if not file.exists():
        return Finding(zone, True, "not made yet")
    opened = (
        open_warehouse(home, read_only=True)
        if zone == "warehouse"
        else open_vault(home, read_only=True, purpose="rcs doctor")
    )
    try:
        with opened as con:
            tables = len(con.execute("select 1 from duckdb_tables()").fetchall())
    except RcsError as error:
        return Finding(zone, False, str(error))
    return Finding(zone, True, f"opens, {tables} tables")


def _telemetry(home: Home) -> Finding:
    file = home.dagster / "dagster.yaml"
    if not file.exists():
        return Finding("telemetry", True, "no Dagster instance yet")
    off = "telemetry:\n  enabled: false" in file.read_text(encoding="utf-8")
    return Finding("telemetry", off, "off" if off else "on: delete dagster.yaml and run again")
