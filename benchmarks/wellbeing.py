"""What the dbt build and the estimates of a whole programme cost.

Belongs here: wall and processor seconds of `dbt build` (first build, and again) and of estimates,
comparisons and changes, on a copy of a home that was computed. Does not belong here: the whole way
from files to a release (`spine.py`), the engine on made-up pupils (`estimation.py`).

    python -m benchmarks.wellbeing --home .rcs        (from the top of the project)

The bound is 20 s for one dbt build and the estimates of the full programme on two cores. Processor
seconds of all threads and children do not depend on other work on the machine.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from rcs_assets.codebook import load_codebook
from rcs_assets.storage import Home, Settings, open_warehouse
from rcs_assets.wellbeing.changes import write_changes
from rcs_assets.wellbeing.comparisons import write_comparisons
from rcs_assets.wellbeing.dbt_build import manifest, run_build, warm_up
from rcs_assets.wellbeing.estimates import write_estimates
from rcs_assets.wellbeing.estimators import load_estimators

BOUND_SECONDS = 20
SETTINGS = Settings(threads=2, memory_limit="2GB", as_of=date(2020, 6, 30))
COPIED = ("home.json", "config", "keys", "warehouse.duckdb")
# What the dbt build makes; dropped, so that it is built as the first time.
BUILT = (
    "linkage.linked", "wellbeing.item_answers", "wellbeing.scores", "wellbeing.indicator_values",
    "wellbeing.parent_indicator_values", "services.recipients", "services.spend",
    "services.budget_gap",
)  # fmt: skip


def busy_seconds() -> float:
    """Processor seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(label: str, work: Callable[[], int]) -> float:
    """Run and print one step; returns its wall seconds."""
    started, busy = time.perf_counter(), busy_seconds()
    counted = work()
    seconds = time.perf_counter() - started
    print(f"{label:<24}{counted:>9,} {seconds:8.1f} s, processor {busy_seconds() - busy:8.1f} s")
    return seconds


def copy_of(source: Path, folder: Path) -> Home:
    """The parts of a home that are measured on; the original stays as it is."""
    for name in COPIED:
        part = source / name
        if part.is_dir():
            shutil.copytree(part, folder / name)
        elif part.exists():
            shutil.copyfile(part, folder / name)
    (folder / "logs").mkdir()
    return Home.open(folder, profile="demo")


def main() -> None:
    """Measure a copy of the home that is named."""
    parser = argparse.ArgumentParser(description="What dbt build and estimates cost.")
    parser.add_argument("--home", type=Path, required=True, help="a home that was computed")
    source = parser.parse_args().home
    with tempfile.TemporaryDirectory(prefix="rcs-bench-") as folder:
        home = copy_of(source, Path(folder))
        with open_warehouse(home, settings=SETTINGS) as con:
            keys = [
                row[0]
                for row in con.execute(
                    "select distinct engagement from intake.sample order by engagement"
                ).fetchall()
            ]
            for table in BUILT:
                con.execute(f"drop table if exists {table}")
        manifest()
        warm_up()
        total = timed("dbt, first build", lambda: len(run_build(home, keys, settings=SETTINGS)))
        codebook, rules = load_codebook(home.config), load_estimators(home.config)
        with open_warehouse(home, settings=SETTINGS) as con:
            total += timed("estimates", lambda: write_estimates(con, codebook, keys, rules))
            print(f"{'dbt and estimates':<33} {total:8.1f} s (at most {BOUND_SECONDS} s)")
            timed("comparisons", lambda: write_comparisons(con, codebook, keys, rules))
            timed("changes", lambda: write_changes(con, codebook, keys, rules))
        timed("dbt, again", lambda: len(run_build(home, keys, settings=SETTINGS)))


if __name__ == "__main__":
    main()
