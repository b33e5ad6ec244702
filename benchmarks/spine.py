"""What the way from delivered files to a published release costs.

Belongs here: time, peak memory and each room's share, measured on a fresh home at
several sizes. Does not belong here: whether results are right (tests/).

    python benchmarks/spine.py --scale small full quarter      (or: make bench)

For each size it simulates (measured, but not part of the cost), delivers and
materialises with `--publish` as an operator would; then again with nothing changed;
then with one answer of one engagement changed. `quarter` delivers the first quarter of
the engagements of the generated national register. Memory is the largest sum of resident
memory over the command and its children, looked at five times a second; each
room's share is the time of its steps in Dagster's event log.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg
import psutil

SCALES = ("small", "full", "quarter")
LOOK_SECONDS = 0.2
SEED = "2026"
DAY = "2020-06-30"
# Seconds and bytes at full size on two cores (what a release may cost).
WITHOUT_PAGES = "without its pages"
CHANGED_WITHOUT_PAGES = "that without its pages"
BUDGET_SECONDS = {WITHOUT_PAGES: 160, "nothing changed": 20, CHANGED_WITHOUT_PAGES: 60}
PAGES_STEPS = ("reporting", "reporting_checks")
BUDGET_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class Cost:
    """One measured command: wall seconds and peak bytes of its process tree."""

    what: str
    seconds: float
    peak_bytes: int


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process and its children; 0 for what has just ended."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def measure(what: str, *commands: list[str]) -> Cost:
    """Run `rcs` commands one after the other; ends the benchmark if one fails."""
    rcs = str(Path(sys.executable).with_name("rcs"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RCS_")}
    started, peak = time.monotonic(), 0
    for arguments in commands:
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                [rcs, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            tree = psutil.Process(process.pid)
            while process.poll() is None:
                peak = max(peak, resident(tree))
                time.sleep(LOOK_SECONDS)
            if process.returncode != 0:
                said.seek(0)
                sys.exit(f"{what}: rcs {arguments[0]} failed\n{said.read()[-4000:]}")
    return Cost(what, time.monotonic() - started, peak)


def chosen_files(deliveries: Path, scale: str) -> tuple[list[str], list[str]]:
    """The files to deliver, and the engagements that a quarter leaves out."""
    files = sorted(file for file in deliveries.iterdir() if file.is_file())
    if scale != "quarter":
        return [str(file) for file in files], []
    keys = sorted({file.name.partition("_")[0] for file in files if "_sample-file" in file.name})
    left_out = set(keys[len(keys) // 4 :])
    kept = [file for file in files if file.name.partition("_")[0] not in left_out]
    return [str(file) for file in kept], sorted(left_out)


def change_one_answer(deliveries: Path) -> Path:
    """Change one attendance in one engagement's payload, in place."""
    file = min(deliveries.glob("*_education-payload.csv"))
    header, first, rest = file.read_text(encoding="utf-8").split("\n", 2)
    column = header.split(",").index("attendance_pct")
    cells = first.split(",")
    cells[column] = "90.0" if cells[column] != "90.0" else "91.0"
    file.write_text("\n".join([header, ",".join(cells), rest]), encoding="utf-8")
    return file


def shares(home: Path, run_ids: set[str]) -> dict[str, float]:
    """Seconds of steps by room, over the runs named; a dbt step serves several rooms."""
    seconds: dict[str, float] = defaultdict(float)
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        for run_id in run_ids:
            rooms: dict[str, set[str]] = defaultdict(set)
            for entry in instance.all_logs(run_id):
                event = entry.dagster_event
                if event is not None and event.asset_key is not None and event.step_key:
                    rooms[event.step_key].add(event.asset_key.path[0])
            for step in instance.get_run_step_stats(run_id):
                if step.start_time and step.end_time:
                    label = " + ".join(sorted(rooms[step.step_key])) or step.step_key
                    seconds[label] += step.end_time - step.start_time
    return dict(seconds)


def runs_of(home: Path) -> set[str]:
    """Every run that the home's Dagster instance knows."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return {run.run_id for run in instance.get_runs()}


def bench(scale: str, folder: Path, reference: Path | None) -> tuple[list[Cost], dict[str, float]]:
    """Measure one size in a fresh folder; returns costs and the rooms' seconds."""
    home, deliveries, truth = folder / "home", folder / "deliveries", folder / "truth"
    at = ["--home", str(home), "--profile", "demo", "--as-of", DAY]
    size = "national" if scale == "quarter" else scale
    simulate = ["simulate", *at, "--scale", size, "--seed", SEED]
    simulate += ["--out", str(deliveries), "--truth", str(truth)]
    if reference is not None:
        simulate += ["--reference", str(reference)]
    costs = [measure("simulate", simulate)]
    if (deliveries / "config").is_dir():
        shutil.copytree(deliveries / "config", home / "config", dirs_exist_ok=True)
    files, left_out = chosen_files(deliveries, scale)
    publish = ["materialise", *at, "--publish"]
    publish += [word for key in left_out for word in ("--leave-out", key)]
    costs.append(measure("deliver and publish", ["deliver", *at, *files], publish))
    rooms = shares(home, runs_of(home))
    costs.append(without_pages(WITHOUT_PAGES, costs[-1], rooms))
    costs.append(measure("nothing changed", publish))
    before = runs_of(home)
    changed = change_one_answer(deliveries)
    measure("sign", ["simulate", *at, "--sign", str(changed)])
    manifest = str(deliveries / "SIMULATED.json")
    costs.append(measure("one file changed", ["deliver", *at, str(changed), manifest], publish))
    again = shares(home, runs_of(home) - before)
    costs.append(without_pages(CHANGED_WITHOUT_PAGES, costs[-1], again))
    return costs, rooms


def without_pages(what: str, whole: Cost, rooms: dict[str, float]) -> Cost:
    """What is left of a cost without the steps that make pages and check them."""
    seconds = whole.seconds - sum(rooms.get(step, 0.0) for step in PAGES_STEPS)
    return Cost(what, seconds, whole.peak_bytes)


def show(scale: str, costs: list[Cost], rooms: dict[str, float]) -> None:
    """Print one size as two small tables."""
    print(f"\n{scale}")
    for cost in costs:
        budget = BUDGET_SECONDS.get(cost.what) if scale == "full" else None
        limit = f"   (at most {budget} s, {BUDGET_BYTES / 1024**3:.0f} GB)" if budget else ""
        print(f"  {cost.what:<22}{cost.seconds:8.1f} s {cost.peak_bytes / 1024**3:7.2f} GB{limit}")
    whole = next(cost.seconds for cost in costs if cost.what == "deliver and publish")
    rest = whole - sum(rooms.values())
    print("  of deliver and publish:")
    for room, seconds in [*sorted(rooms.items(), key=lambda item: -item[1]), ("the rest", rest)]:
        print(f"    {room:<40}{seconds:8.1f} s {seconds / whole:6.0%}")


def main() -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description="What a release costs.")
    parser.add_argument("--scale", nargs="+", choices=SCALES, default=["small"])
    parser.add_argument("--reference", type=Path, help="real public files to simulate on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    figures = {}
    for scale in options.scale:
        with tempfile.TemporaryDirectory(prefix="rcs-bench-") as folder:
            costs, rooms = bench(scale, Path(folder), options.reference)
        show(scale, costs, rooms)
        figures[scale] = {"costs": [asdict(cost) for cost in costs], "rooms": rooms}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
