"""A package as one Tableau extract (`.hyper`): its released tables and nothing else.

Belongs here: copying the Parquet files of a package into an extract. Does not belong here: which
rows a package has (release), and any sum or share of them.

An optional extra (`tableauhyperapi`, Apache-2.0, 90 MB): nothing else of the platform needs it.
Its engine runs as a child on this machine, sends nothing (telemetry is off), and keeps no log.
Bytes of an extract differ from build to build, so it is no part of a release.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rcs_assets.errors import ConfigurationError, InputError, StorageError
from rcs_assets.reporting.package import read_package

SCHEMA = "Extract"
# As in the CSV files of a release: an extract has no comment that could say it.
_DATA_SOURCE = "data_source"


def write_extract(folder: Path, name: str, target: Path) -> dict[str, int]:
    """Write the tables of a package as an extract, whole or not at all.

    Args:
        folder: the package's folder; its Parquet files are read.
        name: its name in the release (`public`, `cpp/<engagement>`).
        target: the file to write; its folder exists. A file that is there is replaced.

    Returns:
        Table → rows.

    Raises:
        ConfigurationError: the library is not installed.
        InputError: the package has no Parquet files, or a hidden row holds a figure.
        StorageError: the extract cannot be written.
    """
    files = sorted((folder / "parquet").glob("*.parquet"))
    if not files:
        raise InputError(
            f"The package {name} has no Parquet files",
            where=str(folder),
            why="an extract is made of them; a school's package is read in Excel",
            fix="name public or a package cpp/…",
        )
    # Refuses a package in which a hidden row holds a figure, as for pages.
    mark = "SIMULATED" if read_package(folder, name).is_simulated else "delivered"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tableau-") as aside:
        made = Path(aside) / target.name
        rows = _write(files, made, mark)
        made.replace(target)
    return rows


def _write(files: list[Path], target: Path, mark: str) -> dict[str, int]:
    try:
        import tableauhyperapi as hyper
    except ImportError as error:
        raise ConfigurationError(
            "Tableau extracts need a library that is not installed",
            where="extra tableau",
            why="it is 90 MB, and nothing else needs it",
            fix="run: .venv/bin/uv pip install -c constraints.txt -e '.[tableau]'",
        ) from error
    silent = hyper.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU
    rows = {}
    try:
        with (
            hyper.HyperProcess(silent, parameters={"log_config": ""}) as engine,
            hyper.Connection(engine.endpoint, target, hyper.CreateMode.CREATE) as con,
        ):
            con.catalog.create_schema(SCHEMA)
            for file in files:
                table = f"{hyper.escape_name(SCHEMA)}.{hyper.escape_name(file.stem)}"
                con.execute_command(
                    f"create table {table} as (select *, "
                    f"{hyper.escape_string_literal(mark)} as {_DATA_SOURCE} "
                    f"from external({hyper.escape_string_literal(str(file))}))"
                )
                rows[file.stem] = int(con.execute_scalar_query(f"select count(*) from {table}"))
    except hyper.HyperException as error:
        raise StorageError(
            "The Tableau extract cannot be written", where=target.name, why=str(error.main_message)
        ) from error
    return rows
