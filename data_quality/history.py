"""What became of every check, run after run.

Belongs here: appending outcomes to the history and reading it. Does not belong here: judging
(`adapter.py`, rooms), the gate, which reads Dagster's own records of one materialisation.

The history is a file of JSON lines in the home's logs, one line a check and run, so that a steward
sees since when something fails and how an observed figure has moved. It holds what a check says
and no more: aggregates and names. It is kept when the warehouse is rebuilt; any tool reads it:
`select * from 'logs/quality.jsonl'` in DuckDB.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rcs_assets.errors import InputError

FILE = "quality.jsonl"
COLUMNS = ("run", "as_of", "asset", "check", "passed", "expected", "observed")


@dataclass(frozen=True)
class Entry:
    """One check in one run; `as_of` is the day that the run was given."""

    run: str
    as_of: date
    asset: str
    check: str
    passed: bool
    expected: str
    observed: str


def append_history(logs: Path, entries: Iterable[Entry]) -> None:
    """Add the outcomes of a step; each line is written whole."""
    lines = [
        json.dumps(
            {name: getattr(entry, name) for name in COLUMNS} | {"as_of": entry.as_of.isoformat()},
            ensure_ascii=False,
        )
        for entry in entries
    ]
    if lines:
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / FILE).open("a", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")


def read_history(logs: Path, check: str = "") -> list[Entry]:
    """All entries in order of time, or those of one check; none where nothing ever ran.

    Raises:
        InputError: a line is no entry.
    """
    file = logs / FILE
    if not file.exists():
        return []
    return [entry for entry in _entries(file) if check in ("", entry.check)]


def _entries(file: Path) -> Iterator[Entry]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            known = json.loads(line)
            yield Entry(**known | {"as_of": date.fromisoformat(known["as_of"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                "The history of checks has a line that is no entry",
                where=f"{file.name}, line {number}",
                why=type(error).__name__,
                fix="remove the line: it was cut off when a run was killed",
            ) from None
