"""Who may import whom: the import-linter contracts, and what they cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WIRING = {"assets", "checks", "resources"}
ROOT = {"build", "cli", "definitions"}


def _modules(repo_root: Path) -> Iterator[tuple[str, Path]]:
    for package in ("rcs_assets", "data_quality"):
        for file in sorted((repo_root / package).rglob("*.py")):
            parts = file.relative_to(repo_root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def _imports(file: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_wiring(module: str) -> bool:
    parts = module.split(".")
    if len(parts) == 2 or parts[:2] == ["rcs_assets", "commands"]:
        return True  # the package root, and the words of the command line
    return parts[-1] in {"assets", "checks"} or module == "rcs_assets.storage.resources"


def _engines(repo_root: Path) -> dict[str, Path]:
    return {
        module: file
        for module, file in _modules(repo_root)
        if module.count(".") and not (_is_wiring(module) and file.name != "__init__.py")
    }


def test_contracts_hold(repo_root: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " 0 broken" in done.stdout


def test_engines_name_neither_dagster_nor_wiring(repo_root: Path) -> None:
    """An engine that imports assets.py would load Dagster behind the contract's back."""
    broken = [
        f"{module} imports {name}"
        for module, file in _engines(repo_root).items()
        for name in _imports(file)
        if name.split(".")[0].startswith("dagster")
        or (name.startswith("rcs_assets.") and name.split(".")[-1] in WIRING)
    ]
    assert not broken


@pytest.mark.parametrize(
    "engine",
    ["linkage", "estimation", "disclosure", "wellbeing", "storage", "codebook", "programme"],
)
def test_an_engine_is_usable_without_the_rest(engine: str) -> None:
    """Others import engines alone (interfaces.md): Dagster and GX stay unloaded."""
    code = (
        f"import sys, rcs_assets.{engine}; "
        "print([m for m in ('dagster', 'great_expectations', 'dbt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_quality_knows_codebook_and_policy_only(repo_root: Path) -> None:
    allowed = ("rcs_assets.codebook", "rcs_assets.disclosure.policy", "rcs_assets.errors")
    broken = [
        f"{module} imports {name}"
        for module, file in _modules(repo_root)
        if module.startswith("data_quality")
        for name in _imports(file)
        if name.startswith("rcs_assets.")
        and name != "rcs_assets.disclosure"
        and not name.startswith(allowed)
    ]
    assert not broken


def test_every_module_says_what_belongs_in_it(repo_root: Path) -> None:
    silent = []
    for module, file in _modules(repo_root):
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        if "elongs here" not in docstring or len(docstring) < 80:
            silent.append(module)
    assert not silent


def test_no_loops_over_rows_of_data(repo_root: Path) -> None:
    """Data are worked on in sets (style.md); pandas' row loops are not used anywhere."""
    forbidden = {"iterrows", "itertuples", "applymap"}
    found = [
        f"{module}:{node.lineno} {node.attr}"
        for module, file in _modules(repo_root)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in forbidden
    ]
    assert not found


def test_a_row_of_rooms_in_the_contract_is_the_row_of_the_design(repo_root: Path) -> None:
    import tomllib

    from tests.graph.test_graph import ROOMS

    with (repo_root / "pyproject.toml").open("rb") as handle:
        contracts = tomllib.load(handle)["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["id"] == "rooms")
    rooms = [layer.strip("()") for layer in reversed(layers)]
    assert [room for room in rooms if room in ROOMS] == list(ROOMS)
