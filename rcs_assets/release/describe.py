"""What packages and the candidate say of themselves: datapackage, certificate, manifest.

Belongs here: the JSON files that lie beside the data. Does not belong here: which rows go
into a package (`contents.py`), what a certificate states (`certificate.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.release.certificate import Audited, Told, certificate
from rcs_assets.release.contents import Package, Sources
from rcs_assets.release.files import CANDIDATE_FILE, MANIFEST, file_list, write_json
from rcs_assets.release.tables import datapackage, specs_of
from rcs_assets.storage import rounded_count
from rcs_assets.storage.code import code_version

NOT_REPRODUCIBLE = {
    "rcs.duckdb": "DuckDB leaves unused bytes of its blocks as they were in memory; the tables "
    "equal those in parquet/, which are the same bytes each time. Files that quote its "
    "checksum or size (manifest.json, SHA256SUMS, audit.jsonl, evidence.html) differ with it."
}
# status, note (or empty), number of cells
CellCounts = Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class Head:
    """What every manifest of a candidate says; `rules`: room → version (`rules_in_force.py`)."""

    sources: Sources
    version: str
    content_hash: str
    is_simulated: bool
    audited: Audited
    rules: Mapping[str, str]


@dataclass(frozen=True)
class Written:
    """What was written of one package: table → rows, and its cells by status and note."""

    rows: Mapping[str, int]
    counts: CellCounts

    def cells(self, statuses: Mapping[str, str]) -> dict[str, int]:
        """Status → cells of the table estimates, for every status of the policy."""
        return {
            status: sum(n for found, _, n in self.counts if found == status) for status in statuses
        }


def describe_package(
    folder: Path,
    package: Package,
    head: Head,
    written: Written,
    told: Told | None = None,
    beside: Sequence[Mapping[str, Any]] = (),
) -> None:
    """`datapackage.json` (where there are Parquet files), `certificate.json`, `manifest.json`.

    `beside`: resources of its files of answers.
    """
    target = folder / package.name
    policy, mark = head.sources.policy, head.is_simulated
    if package.has_database:
        said = datapackage(
            package.name,
            head.version,
            specs_of(package.kind),
            is_simulated=mark,
            has_csv=package.has_csv,
            beside=beside,
        )
        write_json(target / "datapackage.json", said)
    write_json(
        target / "certificate.json",
        certificate(package, head.version, policy, written.counts, head.audited, mark, told),
    )
    write_json(
        target / MANIFEST,
        {
            "package": package.name,
            "release": head.version,
            "simulated": mark,
            "policy_version": policy.version,
            "tables": dict(written.rows),
            "pages": [],
            "files": file_list(target, without=[MANIFEST]),
            "not_reproducible": NOT_REPRODUCIBLE if package.has_database else {},
        },
    )


def describe_candidate(
    con: duckdb.DuckDBPyConnection,
    folder: Path,
    packages: Sequence[Package],
    head: Head,
    written: Mapping[str, Written],
    summaries: Mapping[str, str],
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
            "author": sources.author,
            "code_version": code_version(),
            "codebook_version": sources.codebook.version,
            "policy_version": sources.policy.version,
            "programme_version": sources.programme.version,
            "rules": dict(head.rules),
            "left_out": sorted(sources.left_out),
            "statuses": dict(sources.policy.statuses),
            "audit": head.audited.words(),
            "summaries": dict(summaries),
            "packages": {
                package.name: {
                    "kind": package.kind,
                    "engagement": package.engagement,
                    "geography_code": package.geography_code,
                    "tables": dict(written[package.name].rows),
                    "cells": written[package.name].cells(sources.policy.statuses),
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
        delivery | {name: rounded_count(delivery[name]) for name in counts} for delivery in found
    ]
