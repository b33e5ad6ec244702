"""Checks that the certificates of the CPPs speak of the schools' packages too.

Belongs here: each row that a school is shown about itself is that of its CPP's package, and each
hidden one has its two made-up tables there. Does not belong here: whether these fit what is shown
(`verify_certificate.py`).

A school reads a part of its CPP's rows and the public package; its CPP reads all of both. Tables
that fit all that the CPP reads fit what the school reads, so that a cell which two of them leave
open is open to the school. That holds as long as the rows are the same: this is what is checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb

from rcs_assets.storage import sql_literal

_CELL = ("survey", "indicator", "geography_level", "geography_code", "breakdown", '"group"')
_FIGURES = ("statistic", "n", "estimate", "ci_low", "ci_high", "status", "note")


def verify_schools(release: Path) -> dict[str, Any]:
    """Check the school packages of a release against those of their CPPs.

    Args:
        release: its folder.

    Returns:
        `schools`, `hidden_cells` and `problems`, each with the package that it is about.
    """
    folders = sorted(path for path in (release / "school").glob("*") if path.is_dir())
    hidden_n, problems = 0, []
    by_cpp: dict[str, list[Path]] = {}
    for folder in folders:
        said = json.loads((folder / "certificate.json").read_text("utf-8")).get("witnesses_in", "")
        if (release / said / "certificate" / "cells.parquet").is_file() and said:
            by_cpp.setdefault(said, []).append(folder)
        else:
            problems.append(f"school/{folder.name}: its certificate names no package with tables")
    with duckdb.connect() as con:
        for name, schools in by_cpp.items():
            counted, found = _of_cpp(con, release / name, schools)
            hidden_n, problems = hidden_n + counted, problems + found
    return {"schools": len(folders), "hidden_cells": hidden_n, "problems": problems}


def _of_cpp(
    con: duckdb.DuckDBPyConnection, cpp: Path, schools: list[Path]
) -> tuple[int, list[str]]:
    files = ", ".join(sql_literal(school / "table.csv") for school in schools)
    columns = ", ".join(f"{name}::varchar as {name}" for name in (*_CELL, *_FIGURES))
    con.execute(
        f"""
        create or replace temp table shown as
        select parse_path(filename)[-2] as seed, {", ".join(_CELL)},
            {", ".join(f"nullif({name}, '') as {name}" for name in _FIGURES)},
        from read_csv([{files}], all_varchar = true, header = true, filename = true,
            auto_detect = false, quote = '"', escape = '"', delim = ',',
            columns = {_csv_columns(schools[0] / "table.csv")})
        where geography_level = 'school';
        create or replace temp table held as
        select {columns} from read_parquet({sql_literal(cpp / "parquet" / "estimates.parquet")})
        where geography_level = 'school';
        create or replace temp table certified as
        select distinct {", ".join(_CELL)}
        from read_parquet({sql_literal(cpp / "certificate" / "cells.parquet")})
        """
    )
    same = " and ".join(
        f"shown.{name} is not distinct from held.{name}" for name in (*_CELL, *_FIGURES)
    )
    # Only about itself: a row of another school is none that its CPP let it see.
    other = f"from shown anti join held on {same} and shown.seed = held.geography_code"
    open_ = (
        "from (from shown where status = 'c') as hidden "
        f"anti join certified using ({', '.join(_CELL)})"
    )
    problems = [
        f"school/{seed}: {text}: {n}"
        for sql, text in (
            (other, f"rows that {cpp.parent.name}/{cpp.name} has otherwise, or not"),
            (open_, f"hidden cells without tables in {cpp.parent.name}/{cpp.name}"),
        )
        for seed, n in con.execute(
            f"select seed, count(*) {sql} group by seed order by seed"
        ).fetchall()
    ]
    counted = con.execute("select count(*) from shown where status = 'c'").fetchall()[0][0]
    return counted, problems


def _csv_columns(file: Path) -> str:
    """The columns of a table.csv, as DuckDB wants them: all text."""
    with file.open(encoding="utf-8") as stream:
        names = stream.readline().rstrip("\n").split(",")
    return "{" + ", ".join(f"{sql_literal(name)}: 'varchar'" for name in names) + "}"
