"""What must hold of every asset, whatever the graph looks like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tests.graph import snapshot

# The order of design.md; `storage` and `estimation` are engines without assets.
ROOMS = (
    "programme", "codebook", "storage", "intake", "linkage", "estimation", "wellbeing",
    "services", "research", "disclosure", "release", "reporting",
)  # fmt: skip
ZONES = {"vault", "warehouse", "release"}
PARTITIONED = {"intake", "linkage", "wellbeing"}
# Reference data and what sees all engagements (design.md, Execution).
UNPARTITIONED = {
    "intake/school_roll", "intake/school_roll_2022", "intake/school_list", "intake/school_changes",
    "intake/school_names", "intake/simd", "intake/simd_2020v2", "intake/datazones",
    "intake/council_codes", "intake/population", "intake/salsus",
    "linkage/model", "linkage/link_flow",
    "wellbeing/estimates", "wellbeing/comparisons", "wellbeing/changes",
    "wellbeing/definition_sets", "wellbeing/nonresponse", "wellbeing/salsus_contrasts",
    "wellbeing/respondents",
}  # fmt: skip
# Made in the partitioned dbt build, so that no run needs a second one.
BUILT_BESIDE = {"services/spend", "services/budget_gap", "services/recipients"}


def _specs() -> list[dg.AssetSpec]:
    return snapshot.asset_specs()


def _faults(**found: list[str]) -> None:
    assert not any(found.values()), {name: keys for name, keys in found.items() if keys}


def test_there_is_a_graph() -> None:
    assert len(_specs()) >= 20


def test_every_asset_is_described_and_owned() -> None:
    _faults(
        no_description=[str(s.key) for s in _specs() if len(s.description or "") < 20],
        no_owner=[str(s.key) for s in _specs() if not s.owners],
        no_kind=[str(s.key) for s in _specs() if not s.kinds],
        no_zone=[str(s.key) for s in _specs() if s.tags.get("zone") not in ZONES],
        no_sensitivity=[str(s.key) for s in _specs() if not s.tags.get("sensitivity")],
    )


def test_every_check_says_what_must_hold() -> None:
    """The UI shows it beside the name, which dbt makes of columns and values."""
    from rcs_assets.build import build_defs

    graph = build_defs().resolve_asset_graph()
    said = {
        key.to_user_string(): graph.get(key).description or "" for key in graph.asset_check_keys
    }
    assert len(said) > 200
    _faults(silent=[name for name, text in said.items() if len(text) < 15 or "{" in text])
    found = said["linkage/linked:linked_pupil_once_a_survey"]
    assert found == (
        "No two rows have the same engagement, survey, project_id (rows where is_linked)."
    )
    found = said["wellbeing/indicator_values:indicator_values_hold_every_linked_pupil"]
    assert found == "The records are exactly those of linkage.linked where is_linked."


def test_group_is_room_is_first_part_of_key() -> None:
    _faults(
        not_a_room=[str(s.key) for s in _specs() if s.group_name not in ROOMS],
        other_group=[str(s.key) for s in _specs() if s.key.path[0] != s.group_name],
        not_two_parts=[str(s.key) for s in _specs() if len(s.key.path) != 2],
    )


def test_data_flows_from_room_to_later_room() -> None:
    order = {room: number for number, room in enumerate(ROOMS)}
    backwards = [
        f"{spec.key.to_user_string()} reads {dep.asset_key.to_user_string()}"
        for spec in _specs()
        for dep in spec.deps
        if order[dep.asset_key.path[0]] > order[spec.key.path[0]]
        # The gate comes last of all: it publishes the candidate with its pages.
        and spec.key.path != ["release", "published"]
    ]
    assert not backwards


def test_every_dependency_is_an_asset_of_the_graph() -> None:
    keys = {spec.key for spec in _specs()}
    strangers = {
        dep.asset_key.to_user_string()
        for spec in _specs()
        for dep in spec.deps
        if dep.asset_key not in keys
    }
    assert not strangers


def test_what_is_one_engagement_is_partitioned_and_the_rest_is_not() -> None:
    def expected(spec: dg.AssetSpec) -> bool:
        name = spec.key.to_user_string()
        if name in BUILT_BESIDE:
            return True
        return spec.group_name in PARTITIONED and name not in UNPARTITIONED

    wrong = [
        spec.key.to_user_string()
        for spec in _specs()
        if (spec.partitions_def is not None) != expected(spec)
    ]
    assert not wrong


def test_identifiers_stay_in_the_vault() -> None:
    identified = [s for s in _specs() if s.tags.get("sensitivity") == "identified"]
    assert identified, "no asset is tagged as identified: the vault's tables must be"
    assert {s.tags["zone"] for s in identified} == {"vault"}
    assert {s.group_name for s in identified} <= {"intake", "linkage"}


def test_partition_keys_are_the_engagements() -> None:
    from rcs_assets.programme import load_programme

    keys = list(load_programme().engagement_keys)
    found = {
        tuple(spec.partitions_def.get_partition_keys())
        for spec in _specs()
        if spec.partitions_def is not None
    }
    assert found == {tuple(keys)}


def test_build_defs_returns_a_fresh_graph() -> None:
    from rcs_assets.build import build_defs

    assert build_defs() is not build_defs()


def test_jobs_are_there() -> None:
    assert set(snapshot.automation()["jobs"]) >= {"everything", "engagement", "publish"}


def test_a_sensor_watches_the_drop_folder() -> None:
    assert snapshot.automation()["sensors"]


def test_dagster_validates_the_definitions(repo_root: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("dagster"),
            "definitions", "validate", "-w", "workspace.yaml",
        ],
        cwd=repo_root,
        # Another test's home, that is gone by now, is none to validate in.
        env={name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("module", ["rcs_assets.definitions", "rcs_assets.cli"])
def test_import_is_light(module: str) -> None:
    """Great Expectations costs seconds: it is imported inside the function that runs a suite."""
    done = subprocess.run(
        [
            sys.executable, "-c",
            f"import sys, {module}; print('great_expectations' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip().endswith("False")
