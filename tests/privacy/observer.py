"""Runs the command line and notes what every connection of the platform held at one time.

    python -m tests.privacy.observer REPORT ARGUMENTS-OF-RCS …

Belongs here: watching connections from outside, at every statement, whatever the code does.
Does not belong here: judging what was seen (`test_separation.py`).

Left out: dbt's own connection, which never attaches the vault (the test reads its SQL), and the
linkage engine's, which takes identifiers only and refuses any other column.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb

COLUMNS = (
    "select coalesce(list(distinct lower(column_name)), []) from duckdb_columns() "
    "where not internal"
)
LEFT_OUT = ("rcs_assets.linkage.engine",)
_connect = duckdb.connect
_seen: dict[str, dict[str, int]] = {}
_identifiers: frozenset[str] = frozenset()
_payload: frozenset[str] = frozenset()


class Observed:
    """A connection that is looked at before each statement and before it is closed."""

    def __init__(self, con: duckdb.DuckDBPyConnection, opener: str) -> None:
        self._con = con
        self._seen = _seen.setdefault(
            opener, {"statements": 0, "identifiers": 0, "payload": 0, "together": 0}
        )

    def _look(self) -> None:
        (names,) = self._con.execute(COLUMNS).fetchall()[0]
        identifiers, payload = _identifiers & set(names), _payload & set(names)
        self._seen["statements"] += 1
        self._seen["identifiers"] += bool(identifiers)
        self._seen["payload"] += bool(payload)
        self._seen["together"] += bool(identifiers and payload)

    @property  # type: ignore[misc]  # it stands in for another class
    def __class__(self) -> type[duckdb.DuckDBPyConnection]:  # type: ignore[override]
        """What engines that ask for a connection are told."""
        return duckdb.DuckDBPyConnection

    def execute(self, *arguments: Any, **options: Any) -> Any:
        self._look()
        return self._con.execute(*arguments, **options)

    def sql(self, *arguments: Any, **options: Any) -> Any:
        self._look()
        return self._con.sql(*arguments, **options)

    def close(self) -> None:
        self._look()
        self._con.close()

    def __enter__(self) -> Observed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)


def _opener(frame: FrameType | None) -> str:
    """The platform's function that asked for a connection, past the ways to open a zone."""
    names: list[str] = []
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.startswith("rcs_assets"):
            names.append(f"{module}.{function}")
            if not module.startswith("rcs_assets.storage"):
                break
        frame = frame.f_back
    return " < ".join(names)


def connect(*arguments: Any, **options: Any) -> Any:
    """duckdb.connect, observed where the platform's own code calls it."""
    frame = sys._getframe(1)
    module = frame.f_globals.get("__name__", "")
    con = _connect(*arguments, **options)
    if not module.startswith("rcs_assets") or module in LEFT_OUT:
        return con
    return Observed(con, _opener(frame))


def main(report: str, arguments: list[str]) -> int:
    """Run one command under observation and write what was seen."""
    global _identifiers, _payload
    duckdb.connect = connect
    from rcs_assets.cli import main as run
    from rcs_assets.codebook import load_codebook
    from rcs_assets.storage.guard import identifier_columns, payload_columns

    codebook = load_codebook()
    _identifiers, _payload = identifier_columns(codebook), payload_columns(codebook)
    status = run(arguments)
    Path(report).write_text(json.dumps(_seen, indent=1, sort_keys=True), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
