"""What integration tests share: changing a delivered file as an operator would.

Belongs here: finding, editing, signing and delivering files of a copied home. Does not
belong here: assertions on results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyreadstat

from tests.conftest import CommandResult, run_rcs
from tests.drop import plain_copy

ENGAGEMENT = "t1-clackmannanshire"
OTHER = "t2-falkirk"


def delivered(home: Path, dataset: str, engagement: str = ENGAGEMENT) -> Path:
    """A plain copy of the file of a dataset that holds."""
    return plain_copy(home, dataset, engagement)


def decided_again(home: Path, sample: Path) -> Path:
    """What was decided on UIDs of the sample file before, now of an edited one beside it.

    A decision holds for exactly the file that was judged.
    """
    name = hashlib.sha256(sample.read_bytes()).hexdigest()
    return edit_csv(
        delivered(home, "uid_decisions"),
        sample.parent,
        lambda frame: frame.assign(sample_sha256=name),
    )


def edit_csv(source: Path, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """A changed copy of a delivered CSV under the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.read_csv(source, dtype=str, keep_default_na=False)
    change(frame).to_csv(folder / source.name, index=False, lineterminator="\n")
    return folder / source.name


def edit_sav(source: Path, folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """A changed copy of a delivered survey file with its labels and missing ranges."""
    folder.mkdir(parents=True, exist_ok=True)
    frame, meta = pyreadstat.read_sav(source, user_missing=True)
    pyreadstat.write_sav(
        change(frame),
        folder / source.name,
        column_labels=meta.column_names_to_labels,
        variable_value_labels=meta.variable_value_labels,
        missing_ranges=meta.missing_ranges,
        variable_format=meta.original_variable_types,
    )
    return folder / source.name


def flip_one_answer(frame: pd.DataFrame, number: int = 0) -> pd.DataFrame:
    """Turn over one answer of the pupil with this number among those who answered.

    Q1 asks whether he takes part: not this one.
    """
    column = next(n for n in frame.columns if "sdq" in n.lower() or ("Q" in n and n != "Q1"))
    row = frame[frame[column].isin([1.0, 2.0, 3.0])].index[number]
    frame.loc[row, column] = 2.0 if frame.loc[row, column] != 2.0 else 1.0
    return frame


def sign_and_deliver(home: Path, *files: Path) -> CommandResult:
    """Sign edited copies as simulated, then hand them over."""
    signed = run_rcs("simulate", "--sign", *files)
    assert signed.status == 0, signed.output
    return run_rcs("deliver", "--home", home, *files)


def publish(home: Path, *arguments: str) -> CommandResult:
    """Compute what has changed and ask the gate."""
    return run_rcs("materialise", "--home", home, "--publish", *arguments)


def current(home: Path) -> str:
    """The version that `current` points to."""
    return (home / "releases" / "current").readlink().name


def runs(home: Path) -> list[str]:
    """Ids of all runs of a home's Dagster instance, newest first."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return [run.run_id for run in instance.get_runs()]


def ranges_since(known: Collection[str], home: Path) -> set[tuple[str | None, str | None]]:
    """First and last engagement of each run that is not among those known."""
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return {
            (run.tags.get(ends[0]), run.tags.get(ends[1]))
            for run in instance.get_runs()
            if run.run_id not in known
        }


def receipts(home: Path) -> list[dict[str, Any]]:
    """The deliveries of `rcs status --json`."""
    told = run_rcs("status", "--home", home, "--json")
    assert told.status == 0, told.output
    found: list[dict[str, Any]] = json.loads(told.stdout)["deliveries"]
    return found
