"""The one dbt build of a run, as a subprocess, and the manifest of the project.

Belongs here: parsing the project when its files have changed, running `dbt build` on the
warehouse, reading what each node did. Does not belong here: SQL (dbt_project) and Dagster
(`assets.py`).

dbt's own output is not passed on: the engine's messages can hold values of records
(stack.md, DuckDB). An error is named by its node and kind.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rcs_assets.errors import ConfigurationError, RcsError
from rcs_assets.storage import Home, Settings, write_lock
from rcs_assets.storage.access_log import Access, record_access
from rcs_assets.wellbeing.scoring import project_dir

# Messages of these kinds speak of names and SQL, never of a value in a row.
_KINDS_WITHOUT_VALUES = ("Binder Error", "Catalog Error", "Parser Error", "Compilation Error")
_FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
_WAIT_FOR_ORDER = """
import json, os, sys
import dbt.adapters.duckdb, dbt.task.build
from dbt.cli.main import cli
order = json.loads(sys.stdin.readline() or "null")
if order:
    os.environ.update(order["environment"])
    cli(order["arguments"], prog_name="dbt")
"""
_waiting: list[subprocess.Popen[str]] = []


class DbtBuildError(RcsError):
    """The dbt build failed, or did not start."""


@dataclass(frozen=True)
class NodeResult:
    """What one node of the build did.

    `status` is dbt's: success, pass, fail, error, skipped, warn; `failures` the number of
    rows that a test returned; `reason` a message without values, empty if all went well.
    """

    unique_id: str
    status: str
    failures: int
    seconds: float
    reason: str

    @property
    def is_failed(self) -> bool:
        """Whether the node ended in an error, or a test found rows."""
        return self.status in _FAILED


@cache
def manifest_file() -> Path:
    """The parsed manifest of the dbt project, parsed again where a project file has changed.

    Raises:
        DbtBuildError: the project does not parse.
    """
    project = project_dir()
    target = project / "target"
    manifest = target / "manifest.json"
    stamp = target / "manifest.sha256"
    digest = _project_digest(project)
    if manifest.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return manifest
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as aside:
        finished = _dbt(["parse", "--no-partial-parse"], Path(aside), {})
        parsed = Path(aside) / "manifest.json"
        if finished.returncode != 0 or not parsed.exists():
            raise DbtBuildError(
                "The dbt project does not parse",
                where="dbt_project/",
                why=_without_paths(finished.stdout),
                fix="correct the file that is named, then run the command again",
            )
        parsed.replace(manifest)
    stamp.write_text(digest, encoding="ascii")
    return manifest


def run_build(
    home: Home, engagements: Sequence[str], models: Sequence[str] = (), *, settings: Settings
) -> list[NodeResult]:
    """Build the models and run their tests for the given engagements.

    Args:
        home: the installation; no connection to its warehouse may be open.
        engagements: partition keys; rows of other engagements stay as they are.
        models: names of the models to build; all if empty.
        settings: limits of the engine.

    Returns:
        One result a node, in the order in which dbt ran them.

    Raises:
        DbtBuildError: dbt ended before it ran a node.
    """
    target = home.logs / "dbt"
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    left_out = ("unit_test", "exposure")  # tests of their own; nothing to build
    arguments = [
        "build",
        *(part for kind in left_out for part in ("--exclude-resource-type", kind)),
    ]
    if models:
        # Tests that also look at a model outside the selection would compare old with new.
        arguments += ["--indirect-selection", "buildable", "--select", *models]
    environment = {
        "RCS_WAREHOUSE": str(home.warehouse),
        "RCS_ENGAGEMENTS": ",".join(engagements),
        "RCS_TMP": str(home.tmp),
        "RCS_THREADS": str(settings.threads),
        "RCS_MEMORY_LIMIT": settings.memory_limit,
    }
    with write_lock(home, "dbt build"):
        record_access(home, Access.WAREHOUSE_WRITTEN, "warehouse.duckdb", "dbt build")
        finished = _dbt(arguments, target, environment)
    if not results.exists():
        raise DbtBuildError(
            f"dbt ended with status {finished.returncode} before it built anything",
            where="dbt_project/",
            why=_kind(finished.stdout),
            fix="run: rcs doctor",
        )
    ran = json.loads(results.read_text(encoding="utf-8"))["results"]
    # Messages of failed nodes stand in it unabridged.
    results.unlink()
    return [_node(result) for result in ran]


def manifest() -> dict[str, Any]:
    """The manifest as data."""
    parsed: dict[str, Any] = json.loads(manifest_file().read_text(encoding="utf-8"))
    return parsed


def _node(result: dict[str, Any]) -> NodeResult:
    status = str(result["status"])
    return NodeResult(
        unique_id=str(result["unique_id"]),
        status=status,
        failures=int(result["failures"] or 0),
        seconds=float(result["execution_time"]),
        reason=_kind(str(result["message"] or "")) if status in _FAILED - {"fail"} else "",
    )


def _kind(message: str) -> str:
    """The kind of an error, with its first line only where that cannot hold a value."""
    for kind in _KINDS_WITHOUT_VALUES:
        found = re.search(rf"{kind}[^\n]*(\n[^\n]*)?", message)
        if found:
            return " ".join(found.group(0).split())
    found = re.search(r"([A-Z][A-Za-z-]+(?: [A-Z][a-z]+)* Error)", message)
    return (found.group(1) if found else "Error") + " (its text is withheld: it can hold values)"


def _without_paths(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if "Error" in line or "error" in line]
    return " ".join(lines)[-600:].replace(str(project_dir().parent), "")


def _dbt(
    arguments: Sequence[str], target: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run dbt of this Python environment; nothing it prints reaches the terminal or a log."""
    project = project_dir()
    target.mkdir(parents=True, exist_ok=True)
    order = {
        "arguments": [
            *arguments,
            *("--project-dir", str(project), "--profiles-dir", str(project)),
            *("--target-path", str(target), "--log-path", str(target)),
            *("--log-level-file", "none", "--no-use-colors"),
        ],
        "environment": {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false", **environment},
    }
    if not _waiting:
        warm_up()
    process = _waiting.pop()
    output, _ = process.communicate(json.dumps(order) + "\n")
    return subprocess.CompletedProcess(["dbt", *arguments], process.returncode, output)


def warm_up() -> None:
    """Start a dbt process that loads dbt's code and waits for its order.

    Half of a small build's time is that loading; started early, it goes on beside other
    work. It opens no file of the home, and ends by itself if no order comes.

    Raises:
        ConfigurationError: dbt is not installed.
    """
    if find_spec("dbt.adapters.duckdb") is None:
        raise ConfigurationError(
            "dbt is not installed", where="dbt-core, dbt-duckdb", fix="run: make demo"
        )
    _waiting.append(
        subprocess.Popen(
            [sys.executable, "-c", _WAIT_FOR_ORDER],
            env={**_without_keys(os.environ), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            cwd=project_dir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )


def _without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """For dbt, which opens the warehouse alone: no key of the vault, of ids or of a person."""
    return {name: value for name, value in environment.items() if not name.startswith("RCS_KEY_")}


def _project_digest(project: Path) -> str:
    """Digest of the project's files and of the versions that parse them."""
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-duckdb')}".encode())
    skipped = {"target", "logs"}
    for file in sorted(project.rglob("*")):
        inside = file.relative_to(project)
        if file.is_file() and inside.parts[0] not in skipped and not inside.name.startswith("."):
            digest.update(str(inside).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
