"""The graph as text: every asset, check, job and sensor, so that a change is seen in review.

Belongs here: turning the definitions into plain data, and the command that
accepts the graph as it is now:

    python -m tests.graph.snapshot        (or: make snapshots)

Does not belong here: what must hold of a graph (`test_graph.py`).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

SNAPSHOTS = Path(__file__).with_name("snapshots")
Graph = dict[str, Any]


@cache
def definitions() -> dg.Definitions:
    """A fresh graph, made once a process."""
    from rcs_assets.build import build_defs

    return build_defs()


def asset_specs() -> list[dg.AssetSpec]:
    """Every asset that the platform makes, by key."""
    return sorted(definitions().resolve_all_asset_specs(), key=lambda spec: spec.key)


def _partitions(spec: dg.AssetSpec) -> str:
    return "none" if spec.partitions_def is None else type(spec.partitions_def).__name__


def _own(names: Any) -> list[str]:
    """Without what Dagster adds by itself."""
    return sorted(name for name in names if not name.startswith("dagster/"))


def assets() -> Graph:
    """Asset key → what an operator or a reviewer sees of it."""
    return {
        spec.key.to_user_string(): {
            "group": spec.group_name,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "owners": sorted(spec.owners),
            "kinds": sorted(spec.kinds),
            "tags": {name: spec.tags[name] for name in _own(spec.tags)},
            "has_description": bool(spec.description),
            "partitions": _partitions(spec),
        }
        for spec in asset_specs()
    }


def checks() -> Graph:
    """Asset key → its checks by name, with whether a failure blocks the run."""
    graph = definitions().resolve_asset_graph()
    found: Graph = {}
    for key in sorted(graph.asset_check_keys):
        node = graph.get(key)
        found.setdefault(key.asset_key.to_user_string(), {})[key.name] = {"blocking": node.blocking}
    return found


def automation() -> Graph:
    """Jobs with what they select; sensors and schedules with what they start."""
    repository = definitions().get_repository_def()
    return {
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "sensors": {
            sensor.name: sorted(target.job_name for target in sensor.targets)
            for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
        },
        "schedules": {
            schedule.name: schedule.job_name
            for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name)
        },
    }


PARTS = {"assets": assets, "checks": checks, "automation": automation}


def as_text(part: str) -> str:
    """One part of the graph as stable JSON."""
    return json.dumps(PARTS[part](), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Accept the graph as it is now."""
    SNAPSHOTS.mkdir(exist_ok=True)
    for part in PARTS:
        (SNAPSHOTS / f"{part}.json").write_text(as_text(part), encoding="utf-8")


if __name__ == "__main__":
    main()
