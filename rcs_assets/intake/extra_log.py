"""How many extra children each delivery of a council's extract was found to hold.

Belongs here: `drop/extra-children.jsonl`, one line a finding: number of the delivery of
identifiers, sha256 of the sample file that it was compared with, number of rows; no value of a
record. Does not belong here: finding them (`steps.py`), destroying them (`extras.py`).

A receipt speaks of the delivery that holds. Whether one that was replaced since held extra
children must be known as long as it can be opened. A finding counts beside its own sample file
alone: another one issued UIDs to others. Where there is none, nothing is known.
"""

from __future__ import annotations

import json

from rcs_assets.errors import StorageError
from rcs_assets.storage import Home, write_atomically

_LOG = "extra-children.jsonl"


def note_found(home: Home, seq: int, sample_sha256: str, rows_n: int) -> None:
    """Keep what was found in a delivery of identifiers; the same again adds nothing."""
    if read_found(home).get(seq) == (sample_sha256, rows_n):
        return
    entry = {"seq": seq, "sample_sha256": sample_sha256, "rows_n": rows_n}
    file = home.drop / _LOG
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    write_atomically(file, f"{before}{json.dumps(entry, sort_keys=True)}\n")


def read_found(home: Home) -> dict[int, tuple[str, int]]:
    """Number of a delivery → sha256 of the sample file, and rows: the latest finding.

    Raises:
        StorageError: the log is damaged.
    """
    file = home.drop / _LOG
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        entries = [json.loads(line) for line in lines]
        return {int(e["seq"]): (str(e["sample_sha256"]), int(e["rows_n"])) for e in entries}
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(
            "What was found of extra children cannot be read",
            where=f"drop/{_LOG}",
            why="it tells which replaced extracts held children who were issued no UID",
            fix="restore drop/ from a backup, or delete the file: then every replaced extract "
            "counts as one that may hold some",
        ) from error
