"""Each asset tells where it is described, and each check what to do when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from rcs_assets.build import ASSET_MODULES, CHECK_MODULES, build_defs
from rcs_assets.storage import Home
from rcs_assets.storage.resources import HomeResource
from rcs_assets.wellbeing import assets as wellbeing_assets
from rcs_assets.wellbeing.dbt_build import NodeResult, manifest
from tests.graph import snapshot
from tests.graph.test_docs import _anchors

NEEDED = ("expected", "observed", "threshold_source", "next_command")


def test_the_page_of_each_asset_is_there(repo_root: Path) -> None:
    broken = []
    for spec in snapshot.asset_specs():
        page, _, anchor = str(spec.metadata["docs"]).partition("#")
        if anchor not in _anchors(repo_root / page):
            broken.append(spec.key.to_user_string())
    assert not broken


def test_the_code_of_each_asset_is_there(repo_root: Path) -> None:
    missing = [
        spec.key.to_user_string()
        for spec in snapshot.asset_specs()
        if not (repo_root / str(spec.metadata["code"])).exists()
    ]
    assert not missing


def test_partitioned_assets_run_as_one_run_a_range() -> None:
    graph = build_defs().resolve_asset_graph()
    partitioned = [graph.get(key) for key in graph.materializable_asset_keys]
    partitioned = [node for node in partitioned if node.is_partitioned]
    assert len(partitioned) > 10
    assert {node.backfill_policy for node in partitioned} == {dg.BackfillPolicy.single_run()}


@pytest.fixture(scope="module")
def failed_checks(tmp_path_factory: pytest.TempPathFactory) -> Sequence[dg.AssetCheckEvaluation]:
    """Every Python check, asked in a home where nothing was ever computed."""
    home = Home.open(tmp_path_factory.mktemp("empty"), profile="demo", seed=2026)
    defined = dg.load_asset_checks_from_modules(list(CHECK_MODULES))
    keys = [key for check in defined for key in check.check_keys]
    defs = dg.Definitions(
        assets=dg.load_assets_from_modules(list(ASSET_MODULES)),
        asset_checks=defined,
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*keys))],
        resources={"home": HomeResource(path=str(home.path))},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        done = defs.resolve_job_def("checks").execute_in_process(
            instance=instance, raise_on_error=False
        )
    asked = done.get_asset_check_evaluations()
    assert {evaluation.asset_check_key for evaluation in asked} == set(keys)
    return asked


def test_a_check_without_data_has_failed(failed_checks: Sequence[dg.AssetCheckEvaluation]) -> None:
    assert len(failed_checks) > 100
    assert [e.check_name for e in failed_checks if e.passed] == []


def test_a_failed_check_tells_what_to_do(failed_checks: Sequence[dg.AssetCheckEvaluation]) -> None:
    silent = [
        f"{evaluation.check_name}: {name}"
        for evaluation in failed_checks
        for name in NEEDED
        if str(getattr(evaluation.metadata.get(name), "value", "")).strip() in ("", "none")
    ]
    assert not silent


def test_a_failed_dbt_test_tells_what_to_do() -> None:
    nodes = manifest()["nodes"]
    tests = [node for node in nodes.values() if node["resource_type"] == "test"]
    results = [
        wellbeing_assets._check_result(node, nodes, NodeResult(node["unique_id"], "fail", 1, 0, ""))
        for node in tests
    ]
    told = [result for result in results if result is not None]
    assert len(told) > 30
    assert not any(result.passed for result in told)
    assert all(str(result.metadata[name].value).strip() for result in told for name in NEEDED)
