"""Pupils hidden today beside those of the first rules of this project, on the same estimates.

Run from the top of the project: `python -m benchmarks.first_rules --home HOME` (a home on which
`rcs materialise` ran). The first rules, before there was secondary suppression, hid a breakdown
whole, by rows and columns until nothing changed, in every table that held it; they knew CPPs,
tranches and all areas by stage, sex and SIMD only, so that today's rules protect these alone, as
well. Their code is taken
from this repository's history and run as it was.

Belongs here: the comparison. Does not belong here: protection and attack themselves.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import duckdb

from rcs_assets.codebook import load_codebook
from rcs_assets.disclosure import audience_names, load_policy, protect_estimates
from rcs_assets.disclosure.sources import register_sources
from rcs_assets.programme import load_programme
from rcs_assets.storage import sql_literal

# "Review: stale parts are not published, …": the last commit of the first rules.
COMMIT = "16bdb25"
LEVELS = (
    "geography_level in ('cpp', 'tranche', 'all') and survey <> 'parent' "
    "and breakdown in ('total', 'sex', 'stage', 'simd_quintile')"
)
_RUN = """
import sys, duckdb
from rcs_assets.disclosure.policy import load_policy
from rcs_assets.disclosure.rules import protect_estimates
folder, *audiences = sys.argv[1:]
con = duckdb.connect()
for name in ("estimates", "indicators", "geographies"):
    con.execute(f"create table {name} as from '{folder}/{name}.parquet'")
found = protect_estimates(
    con, "estimates", "indicators", load_policy(), audiences, geographies="geographies"
)
con.register("found", found)
con.execute(f"copy (from found) to '{folder}/first.parquet'")
"""
_KEY = (
    "audience, survey, indicator, coalesce(tranche, '') as tranche, "
    "coalesce(engagement, '') as engagement, geography_level, geography_code, breakdown, \"group\""
)
_HIDDEN = """
with truth as (
    select survey, indicator, coalesce(tranche, '') as tranche,
        coalesce(engagement, '') as engagement, geography_level, geography_code, breakdown,
        "group", base_n
    from '{folder}/estimates.parquet'
),
told as (select {key}, status from {relation})
select
    count(*) filter (status in ('published', 'u')) as shown_cells,
    count(*) filter (status = 'c') as hidden_cells,
    coalesce(sum(base_n) filter (status = 'c'), 0)::bigint as hidden_pupils,
from told inner join truth using (
    survey, indicator, tranche, engagement, geography_level, geography_code, breakdown, "group"
)
"""


def first_code(folder: Path) -> None:
    """The package as it was, unpacked from the history."""
    found = subprocess.run(
        ["git", "archive", COMMIT, "rcs_assets"], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(found)) as archive:
        archive.extractall(folder, filter="data")


def protect_today(con: duckdb.DuckDBPyConnection, folder: Path, engagements: list[str]) -> None:
    """The same rows by today's rules, safe from today's attack."""
    sources = register_sources(con, load_programme(), load_codebook(), engagements)
    con.execute(f"create temp table first_estimates as from wellbeing.estimates where {LEVELS}")
    found = protect_estimates(
        con,
        replace(sources, estimates="first_estimates"),
        load_policy(),
        audience_names(engagements),
    )
    con.register("found", found)
    con.execute(f"copy (from found) to '{folder}/today.parquet'")


def compare(home: Path) -> None:
    """Protect the home's estimates by the first rules, and print both counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first_code(folder)
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
            engagements = [
                row[0]
                for row in con.execute(
                    "select distinct engagement from wellbeing.estimates "
                    "where engagement is not null order by 1"
                ).fetchall()
            ]
            con.execute(
                f"copy (from wellbeing.estimates where {LEVELS}) to '{folder}/estimates.parquet'"
            )
            con.execute(
                "copy (select distinct geography_level, geography_code, geography_name "
                f"from disclosure.estimates where {LEVELS}) to '{folder}/geographies.parquet'"
            )
            protect_today(con, folder, engagements)
            indicators = load_codebook().indicators.values()
            con.execute(
                "copy (select * from (values "
                + ", ".join(f"({sql_literal(i.name)}, {i.is_sensitive})" for i in indicators)
                + f") as t(indicator, is_sensitive)) to '{folder}/indicators.parquet'"
            )
        script = folder / "run.py"
        script.write_text(_RUN, encoding="utf-8")
        audiences = ["public", *(f"cpp/{key}" for key in engagements)]
        subprocess.run(
            [sys.executable, script, folder, *audiences], check=True, cwd=folder,
            env={"PYTHONPATH": str(folder), "PATH": ""},
        )  # fmt: skip
        pupils = {}
        for rules in ("first", "today"):
            relation = f"'{folder}/{rules}.parquet'"
            sql = _HIDDEN.format(folder=folder, key=_KEY, relation=relation)
            shown, hidden, pupils[rules] = duckdb.sql(sql).fetchall()[0]
            print(
                f"{rules:>6} rules: {shown:,} cells shown, {hidden:,} hidden, "
                f"{pupils[rules]:,} pupils in hidden cells"
            )
        less = 100 * (1 - pupils["today"] / pupils["first"])
        print(f"{less:.1f} % fewer pupils in hidden cells")


def main() -> None:
    """Compare on the home that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    compare(parser.parse_args().home)


if __name__ == "__main__":
    main()
