"""What files of answers of releases before withheld.

Belongs here: reading, from the packages of earlier releases, of which classes of the keys which
sensitive answers are withheld. Does not belong here: what follows from it (`disclosure.anonymise`),
comparing anything else of two files: their agreement forbids to look for records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from rcs_assets.codebook import Variable
from rcs_assets.disclosure.anonymise import KEYS
from rcs_assets.disclosure.beside import unreadable
from rcs_assets.storage import sql_literal

RELATION = "withheld_in_releases"
_PACKAGES = ("archive", "cpp")
_TABLE = ", ".join(f"{name} varchar" for name in (*KEYS, "variable"))


def read_withheld(
    con: duckdb.DuckDBPyConnection,
    earlier: Sequence[Path],
    variables: Mapping[str, Sequence[Variable]],
    withheld_code: int,
) -> str:
    """Make the temporary table `RELATION`: the keys and `variable`, a row a class and variable.

    Args:
        con: a connection that may make temporary tables.
        earlier: folders of all releases before.
        variables: survey → variables of its file today; others tell nothing of them.
        withheld_code: the code of what is withheld.

    Returns:
        The table's name.

    Raises:
        StorageError: a file of a release before cannot be read.
    """
    con.execute(f"create or replace temp table {RELATION} ({_TABLE})")
    for folder in earlier:
        for survey, asked in variables.items():
            sensitive = {variable.name for variable in asked if variable.is_sensitive}
            for file in _files(folder, survey):
                try:
                    _read(con, file, sensitive, withheld_code)
                except duckdb.Error:
                    raise unreadable(folder, str(file.relative_to(folder))) from None
    return RELATION


def _files(folder: Path, survey: str) -> Iterator[Path]:
    for package in _PACKAGES:
        yield from sorted(folder.glob(f"{package}/*/microdata/{survey}.parquet"))


def _read(con: duckdb.DuckDBPyConnection, file: Path, sensitive: set[str], code: int) -> None:
    there = con.execute(f"describe from read_parquet({sql_literal(file)})").fetchall()
    names = [f'"{name}"' for name, *_ in there if name in sensitive]
    if not names:
        return
    keys = ", ".join(KEYS)
    con.execute(
        f"""
        insert into {RELATION} by name
        select distinct {keys}, variable
        from (
            unpivot (select {keys}, {", ".join(names)} from read_parquet({sql_literal(file)}))
            on {", ".join(names)} into name variable value answer
        )
        where answer = {code}
        """
    )
