"""Examines an installation.

Belongs here: findings about the machine and the home: versions, keys, databases,
disk, settings that must be off. Does not belong here: repairs; the findings say
what to do.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.frozen import frozen_codebooks
from rcs_assets.codebook.wording import load_wording
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.together import load_parts
from rcs_assets.errors import RcsError
from rcs_assets.intake.adapted import load_adapted_survey
from rcs_assets.intake.faults import rule_words
from rcs_assets.intake.schools import adapted_schools, load_school_rules
from rcs_assets.linkage.encodings import load_encoding_rules
from rcs_assets.linkage.fieldwork import load_response_rules
from rcs_assets.linkage.model import platform_model
from rcs_assets.linkage.settings import (
    load_forms,
    load_link_rules,
    load_model_rules,
    load_quality_rules,
)
from rcs_assets.overlays import refuse_unread
from rcs_assets.programme import load_programme
from rcs_assets.programme.datafile import read_keys
from rcs_assets.programme.tracking import load_tracking
from rcs_assets.release.approval import load_approvers
from rcs_assets.research import load_findings_rules
from rcs_assets.services import load_reach_rules
from rcs_assets.services.complex_asn import load_complex_asn
from rcs_assets.services.link_items import load_link_items
from rcs_assets.storage import Home, open_vault, open_warehouse
from rcs_assets.storage.access_log import read_access
from rcs_assets.storage.erasure import waiting_engagements
from rcs_assets.storage.keyring import key_states
from rcs_assets.wellbeing.estimators import load_estimators
from rcs_assets.wellbeing.salsus import load_measures

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
        _closed(home),
        _keys(home),
        _access(home),
        *_rules(home),
        _opens(home, "warehouse"),
        _opens(home, "vault"),
        _erasure(home),
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


def _closed(home: Home) -> Finding:
    """The warehouse is not encrypted: who may enter the home may read it."""
    if home.path.stat().st_mode & 0o077:
        return Finding(
            "home", False, f"group or others can enter the home; run: chmod 700 {home.path}"
        )
    return Finding("home", True, "closed to all but its owner")


def _keys(home: Home) -> Finding:
    problems = [state.problem for state in key_states(home) if state.problem]
    return Finding("keys", not problems, " ".join(problems) or "all there, mode 0600")


def _access(home: Home) -> Finding:
    try:
        entries = read_access(home)
    except RcsError as error:
        return Finding("access log", False, str(error))
    return Finding("access log", True, f"whole, {len(entries)} entries")


def _rules(home: Home) -> list[Finding]:
    """Each file of the register, codebook, policy and rules that is wrong, with the overlay.

    Files are read one by one first: a room that needs the codebook tells nothing of its own file
    while the codebook is wrong. What several rooms stumble over is told once.
    """
    problems: dict[str, None] = {}
    files = sorted(home.config.glob("*.yaml"))
    readings: list[Callable[[], object]] = [
        *(partial(read_keys, f"{home.config.name}/{file.name}", file) for file in files),
        *(partial(load, home.config) for load in _LOADERS),
    ]
    for read in readings:
        try:
            read()
        except RcsError as error:
            problems[str(error)] = None
    if problems:
        return [Finding("rules", False, problem) for problem in problems]
    version = load_policy(home.config).version
    return [Finding("rules", True, f"policy version {version}, no part against another")]


# First the names in an overlay; then what it may hold, each file read by its own room; last, the
# policy of all together.
_LOADERS: tuple[Callable[[Path], object], ...] = (
    refuse_unread,
    load_programme,
    load_tracking,
    load_codebook,
    frozen_codebooks,
    lambda config: load_wording(load_codebook(config), config),
    lambda config: [
        load_adapted_survey(key, load_codebook(config), config)
        for key in load_programme(config).engagements
    ],
    rule_words,
    load_school_rules,
    lambda config: adapted_schools("", config),
    load_link_rules,
    load_model_rules,
    load_forms,
    platform_model,
    load_quality_rules,
    load_response_rules,
    load_encoding_rules,
    load_estimators,
    load_measures,
    load_reach_rules,
    lambda config: load_complex_asn(load_codebook(config), config),
    load_link_items,
    lambda config: load_findings_rules(load_codebook(config), config),
    load_policy,
    load_approvers,
    lambda config: load_parts(load_codebook(config), config),
)


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


def _erasure(home: Home) -> Finding:
    waiting = sorted(waiting_engagements(home))
    if waiting:
        return Finding(
            "removed rows",
            False,
            f"those of {', '.join(waiting)} may stand in freed blocks; run: rcs materialise",
        )
    return Finding("removed rows", True, "none is left in freed blocks")


def _telemetry(home: Home) -> Finding:
    file = home.dagster / "dagster.yaml"
    if not file.exists():
        return Finding("telemetry", True, "no Dagster instance yet")
    off = "telemetry:\n  enabled: false" in file.read_text(encoding="utf-8")
    return Finding("telemetry", off, "off" if off else "on: delete dagster.yaml and run again")
