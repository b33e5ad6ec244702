"""Reading what files of answers of releases before withheld."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rcs_assets.codebook.model import Variable
from rcs_assets.errors import StorageError
from rcs_assets.release.answers_before import read_withheld

CODE = -7


def variable(name: str, *, is_sensitive: bool) -> Variable:
    return Variable(name, name, "theme", "yes_no", ("secondary",), ("S1",), is_sensitive, None, "")


VARIABLES = {
    "secondary": [
        variable("open", is_sensitive=False),
        variable("secret", is_sensitive=True),
        variable("asked_since", is_sensitive=True),
    ]
}


def write(release: Path, package: str, rows: str) -> Path:
    """A file of answers: keys, one open answer and one sensitive."""
    folder = release / package / "microdata"
    folder.mkdir(parents=True)
    file = folder / "secondary.parquet"
    duckdb.execute(
        f"""
        copy (
            select 'e1' as engagement, 'secondary' as survey, stage, 'F' as sex,
                null::varchar as simd_group, null::varchar as any_support, open::tinyint as open,
                secret::tinyint as secret
            from (values {rows}) as t (stage, open, secret)
        ) to '{file}' (format parquet)
        """
    )
    return file


def withheld(releases: list[Path]) -> list[tuple[object, ...]]:
    with duckdb.connect() as con:
        relation = read_withheld(con, releases, VARIABLES, CODE)
        rows = con.execute(
            f"select distinct stage, variable, any_support from {relation} order by all"
        )
        return rows.fetchall()


def test_what_any_release_withheld_of_a_class_is_known(tmp_path: Path) -> None:
    first, second = tmp_path / "2026.01.01", tmp_path / "2026.02.01"
    # An open answer has the code by chance: nothing sensitive was withheld.
    write(first, "archive/e1", f"('S1', {CODE}, 1), ('S1', 1, 0), ('S2', 1, {CODE})")
    write(first, "cpp/e1", f"('S2', 1, {CODE}), ('S3', 0, 1)")
    write(second, "cpp/e1", f"('S4', 1, {CODE})")
    assert withheld([first, second]) == [("S2", "secret", None), ("S4", "secret", None)]
    assert withheld([]) == [] == withheld([tmp_path])


def test_a_file_that_cannot_be_read_stops_the_next_one(tmp_path: Path) -> None:
    file = write(tmp_path / "2026.01.01", "cpp/e1", f"('S2', 1, {CODE})")
    file.write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"2026\.01\.01"):
        withheld([tmp_path / "2026.01.01"])
