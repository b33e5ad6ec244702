"""Writes .sav files from Parquet files, in a process of its own.

Belongs here: the SPSS form of rows that were written already, with labels and missing
ranges. Does not belong here: which rows and which labels (`deposit.py`).

A process of its own, since writing .sav keeps one core busy in Python while the other can
build the rest of the candidate. Run as `python -m rcs_assets.release.sav`; the tasks come
as JSON on standard input.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as parquet
import pyreadstat

from rcs_assets.errors import InputError, StorageError

# Date and time stand at this place of a .sav; the stamp is data, not the machine's clock.
_STAMP_AT, _STAMP = 92, b"01 Jan 2000:00:00"
_DTA_STAMP, _DTA_STAMP_SIZE = b"<timestamp>\x11", 17
# Stata's limits in bytes: of a label; of a name (32) less what value labels add; its version 14.
_DTA_LABEL, _DTA_NAME, _DTA_VERSION = 80, 28, 15
_MISSING_RANGE = [{"lo": -9, "hi": -1}]


@dataclass(frozen=True)
class SavTask:
    """One file: `parquet` is read, and `<its stem>.sav` and `.dta` are written beside it.

    `labels`: column → label, in the order of the file. `value_labels`: column → (code,
    label). `answers`: columns with whole numbers of which -9 to -1 are missing; `texts`: columns
    of text (empty for null); `ordered`: those of both whose codes stand in an order. Others are
    decimal numbers.
    """

    parquet: str
    title: str
    note: str
    labels: Mapping[str, str]
    value_labels: Mapping[str, Sequence[tuple[int | str, str]]]
    answers: Sequence[str]
    ordered: Sequence[str]
    texts: Sequence[str]


def write_savs(tasks: Sequence[SavTask]) -> None:
    """Write the .sav and the .dta of every task.

    Raises:
        StorageError: the writing process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "rcs_assets.release.sav"],
        input=json.dumps([asdict(task) for task in tasks]),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        # The engine's words can hold values of records: only the kind of error is told.
        last = done.stderr.strip().splitlines()[-1:] or [""]
        raise StorageError(
            "The anonymised files could not be written as .sav",
            why=last[0].partition(":")[0],
            fix="run: rcs doctor; then rcs materialise again",
        )


def _write(task: SavTask) -> None:
    source = Path(task.parquet)
    frame = parquet.read_table(source).to_pandas()
    texts, answers = list(task.texts), list(task.answers)
    frame[texts] = frame[texts].astype(object).fillna("")
    numbers = [name for name in frame.columns if name not in {*texts, *answers}]
    frame[numbers] = frame[numbers].astype(float)
    file = source.with_suffix(".sav")
    pyreadstat.write_sav(
        frame,
        file,
        file_label=task.title[:64],
        column_labels=dict(task.labels),
        variable_value_labels={name: dict(pairs) for name, pairs in task.value_labels.items()},
        missing_ranges=dict.fromkeys(answers, _MISSING_RANGE),
        variable_measure=dict.fromkeys([*texts, *answers], "nominal")
        | dict.fromkeys(task.ordered, "ordinal")
        | dict.fromkeys(numbers, "scale"),
        variable_format=dict.fromkeys(answers, "F2.0"),
        note=task.note,
        row_compress=True,
    )
    with file.open("r+b") as stream:
        stream.seek(_STAMP_AT)
        stream.write(_STAMP)
    _write_dta(task, frame, source.with_suffix(".dta"))


def dta_names(columns: Sequence[str]) -> dict[str, str]:
    """Column → its name in Stata, of at most 28 bytes.

    A longer one is its beginning and four digits that follow from all of it: the same in every
    file, whatever stands before it.

    Raises:
        InputError: two columns would have one name.
    """
    named = {
        name: name if len(name) <= _DTA_NAME else f"{name[: _DTA_NAME - 5]}_{_digits(name)}"
        for name in columns
    }
    if len(set(named.values())) < len(named):
        raise InputError(
            "Two columns of a file of answers would have the same name in Stata",
            where=", ".join(sorted(n for n in columns if list(named.values()).count(named[n]) > 1)),
            fix="name one of them otherwise in the codebook",
        )
    return named


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:4]


def _write_dta(task: SavTask, frame: pd.DataFrame, file: Path) -> None:
    """Stata's form: missing codes stay numbers with labels, since it has no ranges of them."""
    named = dta_names(list(frame.columns))
    pyreadstat.write_dta(
        frame.rename(columns=named),
        file,
        file_label=task.title[:_DTA_LABEL],
        column_labels={named[name]: label[:_DTA_LABEL] for name, label in task.labels.items()},
        variable_value_labels={named[name]: dict(task.value_labels[name]) for name in task.answers},
        version=_DTA_VERSION,
    )
    content = file.read_bytes()
    at = content.index(_DTA_STAMP) + len(_DTA_STAMP)
    stamp = b"01 Jan 2000 00:00".ljust(_DTA_STAMP_SIZE)
    file.write_bytes(content[:at] + stamp + content[at + _DTA_STAMP_SIZE :])


if __name__ == "__main__":
    for _task in json.load(sys.stdin):
        _write(SavTask(**_task))
