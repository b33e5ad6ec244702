"""Writes `rcs.duckdb` of one package, in a process of its own.

Belongs here: turning a package's Parquet files into tables with comments. Does not belong
here: choosing rows and columns (`candidate.py`, `tables.py`).

Why a process of its own: DuckDB leaves what was in memory in the unused bytes of its
blocks (seen with 1.5.5). In the process that builds the candidate this could be the answer
of a child, or another CPP's figures; this one reads nothing but the package's own files.
Run as `python -m rcs_assets.release.database`; the task comes as JSON on standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rcs_assets.errors import StorageError

if TYPE_CHECKING:
    from rcs_assets.release.tables import TableSpec


def write_database(folder: Path, specs: tuple[TableSpec, ...], *, is_simulated: bool) -> None:
    """Write `folder/rcs.duckdb` from `folder/parquet/<table>.parquet`.

    Raises:
        StorageError: the writing process failed.
    """
    # Not at the top: the process that writes has no use for it, and loading it takes longer
    # than writing a small package.
    from rcs_assets.release.tables import column_comment, table_comment

    task = {
        "folder": str(folder),
        "tables": [
            {
                "name": spec.name,
                "comment": table_comment(spec, is_simulated=is_simulated),
                "columns": [[c.name, c.type, column_comment(c)] for c in spec.columns],
            }
            for spec in specs
        ],
    }
    done = subprocess.run(
        [sys.executable, "-m", "rcs_assets.release.database"],
        input=json.dumps(task),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise StorageError(
            f"The database of package {folder.name} could not be written",
            where=str(folder),
            why=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "",
            fix="run: rcs doctor; then rcs materialise again",
        )


def _write(task: dict[str, Any]) -> None:
    folder = Path(task["folder"])
    target = folder / "rcs.duckdb"
    target.unlink(missing_ok=True)
    con = duckdb.connect(str(target), config={"threads": 1, "autoload_known_extensions": False})
    try:
        con.execute("begin")
        for table in task["tables"]:
            _write_table(con, folder, table)
        con.execute("commit")
        con.execute("checkpoint")
    finally:
        con.close()


def _write_table(con: duckdb.DuckDBPyConnection, folder: Path, table: dict[str, Any]) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, kind, _ in table["columns"])
    names = ", ".join(f'"{name}"' for name, _, _ in table["columns"])
    con.execute(f"create table {table['name']} ({columns})")
    # A literal, not a parameter: for the first parameter DuckDB imports pandas (seconds).
    file = _literal(str(folder / "parquet" / f"{table['name']}.parquet"))
    con.execute(f"insert into {table['name']} select {names} from read_parquet({file})")
    con.execute(f"comment on table {table['name']} is {_literal(table['comment'])}")
    for name, _, comment in table["columns"]:
        con.execute(f'comment on column {table["name"]}."{name}" is {_literal(comment)}')


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    _write(json.loads(sys.stdin.read()))
