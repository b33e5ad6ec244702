"""Checks the certificate of a package without any data: is every hidden cell really open?

Belongs here: one file that a third party runs beside a package, with Python and DuckDB alone
(`python verify_certificate.py FOLDER`); a copy lies in the package. Does not belong here: any
import of the platform.

The certificate holds made-up tables. Each fits everything that the package shows: the shown
numbers and percentages with their rounding, the sums over groups and areas, the notes. For
each hidden cell two of them are named, in one of which its figure is low and in the other
high: the shown figures do not tell which of them is nearer the truth. Tables may hold fractions of
pupils, so that they say nothing of a reader who counts in whole ones alone.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

# Figures are written with four decimals and solved to a tolerance.
TOLERANCE = 0.01
KEY = (
    "survey, indicator, coalesce(tranche, '') as tranche, coalesce(engagement, '') as engagement, "
    'geography_level, geography_code, breakdown, "group"'
)
CELL = 'survey, indicator, tranche, engagement, geography_level, geography_code, breakdown, "group"'

_FILES = {
    "witness": "certificate/tables.parquet",
    "cell": "certificate/cells.parquet",
    "estimate": "parquet/estimates.parquet",
    "geography": "parquet/geographies.parquet",
}
_NUMBERS = (
    "n_step_most", "pct_step_most", "mean_step_most", "k_most", "pct_margin", "mean_margin",
)  # fmt: skip

PROBLEMS = {
    "a table holds fewer than no pupils, or more positive answers than pupils": """
        select count(*) from witness join statistics using (survey, indicator)
        where n < -$tolerance or positive < -$tolerance
            or (statistic = 'pct' and positive > n + $tolerance)
    """,
    "a table lacks a cell that the package lists": """
        select count(*) from (
            select table_no, estimate.* from (
                select distinct survey, indicator, table_no from witness
            ) join estimate using (survey, indicator) where status in ('published', 'u', 'c')
        ) as due anti join witness using (table_no, {cell})
    """,
    "a table does not show the number of pupils that the package shows": """
        select count(*) from witness join estimate using ({cell})
        where status in ('published', 'u')
            and abs(witness.n - estimate.n) > n_step / 2 + $tolerance
                + if(geography_level in ('school', 'cluster'), 0, $n_slack)
    """,
    "a table does not show the percentage or mean that the package shows": """
        select count(*) from witness join estimate using ({cell})
        where status in ('published', 'u') and witness.n > 1 and abs(
            if(statistic = 'pct', 100, 1) * positive / witness.n - estimate
        ) > figure_step / 2 + $tolerance + case
            -- Schools and clusters are unweighted; of a stage and sex of a CPP all weigh the same.
            when geography_level in ('school', 'cluster') then 0
            when geography_level = 'cpp' and breakdown = 'stage:sex' then 0
            when statistic = 'pct' then $pct_margin
            else $mean_margin
        end
    """,
    "a table is rounded to more than any rule allows": """
        select count(*) from witness join statistics using (survey, indicator)
        where n_step > $n_step_most
            or figure_step > if(statistic = 'pct', $pct_step_most, $mean_step_most)
    """,
    "a threshold is larger than any rule has": """
        select count(*) from cell where k > $k_most
    """,
    "a table contradicts a note": """
        select count(*) from witness join estimate using ({cell}) join cell using ({cell})
        where note = 'low' and positive > k - 1 + $tolerance
            or note = 'high' and witness.n - positive > k - 1 + $tolerance
    """,
    "groups of a table do not add up": """
        with parts as (
            select survey, indicator, table_no, tranche, engagement, geography_level,
                geography_code, breakdown, sum(n) as n, sum(positive) as positive
            from witness where breakdown <> 'total' group by all
        ),
        totals as (from witness where breakdown = 'total')
        select count(*) from parts join totals using (
            survey, indicator, table_no, tranche, engagement, geography_level, geography_code)
        where parts.n > totals.n + $tolerance
            or (parts.breakdown in ('sex', 'stage', 'stage:sex') and (
                abs(parts.n - totals.n) > $tolerance
                or abs(parts.positive - totals.positive) > 10 * $tolerance))
    """,
    "areas of a table do not add up": """
        with parts as (
            select w.survey, w.indicator, w.table_no, w.breakdown, w."group",
                g.parent_level as geography_level, g.parent_code as geography_code,
                any_value(w.geography_level) as part_level, sum(n) as n, sum(positive) as positive
            from witness as w
            join geography as g using (geography_level, geography_code)
            -- Small schools together are in their cluster already. An area that took part twice
            -- has one code in two tranches: each wave is part of its own.
            where w.geography_code not like '%-small'
                and (w.geography_level <> 'cpp' or g.parent_code = w.tranche)
            group by all
        )
        select count(*) from parts join witness using (
            survey, indicator, table_no, breakdown, "group", geography_level, geography_code)
        where
            -- Areas are listed all; a school or cluster may have no figures of its own.
            if(part_level in ('cpp', 'tranche'), abs(parts.n - witness.n) > $tolerance
                or abs(parts.positive - witness.positive) > 10 * $tolerance,
                parts.n > witness.n + $tolerance
                or parts.positive > witness.positive + 10 * $tolerance)
    """,
    "a hidden cell is not in the certificate": """
        select count(*) from (from estimate where status = 'c') as hidden
        anti join cell using ({cell})
    """,
    "a cell of the certificate is not hidden": """
        select count(*) from cell anti join (from estimate where status = 'c') as hidden
        using ({cell})
    """,
    "a hidden cell is the same in its two tables": """
        select count(*) from figure
        where coalesce(high - low, 0) < 1 - 10 * $tolerance
    """,
}

_FIGURE = """
create temp table figure as
with told as (
    select {cell}, table_no,
        case quantity when 'base' then n when 'numerator' then positive
            else n - positive end as figure
    from witness join cell using ({cell})
)
select {cell}, quantity, k, low.figure as low, high.figure as high
from cell
left join told as low using ({cell})
left join told as high using ({cell})
where low.table_no = low_table and high.table_no = high_table
"""


def verify(folder: Path) -> dict[str, Any]:
    """Check one package; `problems` is empty if its certificate holds.

    Args:
        folder: of the package: it holds certificate.json, certificate/ and parquet/.
    """
    started = time.monotonic()
    said = json.loads((folder / "certificate.json").read_text(encoding="utf-8")).get("witnesses")
    missing = [name for name in _FILES.values() if not (folder / name).is_file()]
    if not said or missing:
        what = missing[0] if missing else "witnesses in certificate.json"
        return {"package": folder.name, "problems": [f"the package has no {what}"]}
    with duckdb.connect() as con:
        _load(con, folder, said["levels"])
        values = {name: said[name] for name in _NUMBERS}
        # Releases of before numbers could stay do not say it: none of theirs is off.
        values["n_slack"] = said.get("n_slack", 0)
        problems = []
        for problem, sql in PROBLEMS.items():
            text = sql.format(cell=CELL)
            used = {k: v for k, v in (values | {"tolerance": TOLERANCE}).items() if f"${k}" in text}
            found = con.execute(text, used).fetchall()[0][0]
            if found:
                problems.append(f"{problem}: {found}")
        row = con.execute(
            "select count(*), coalesce(sum((low <= 1.01 and high >= k - 1.01)::int), 0) from figure"
        ).fetchall()[0]
        tables = con.execute(
            "select count(*) from (select distinct survey, indicator, table_no from witness)"
        ).fetchall()[0][0]
    if not row[0] and not problems and said["cells"]:
        problems.append("nothing was checked")
    return {
        "package": folder.name,
        "hidden_cells": row[0],
        "open_from_1_to_k": int(row[1]),
        "tables": tables,
        "seconds": round(time.monotonic() - started, 2),
        "problems": problems,
    }


def _load(con: duckdb.DuckDBPyConnection, folder: Path, levels: list[str]) -> None:
    for name, file in _FILES.items():
        path = str(folder / file).replace("'", "''")
        if name == "geography":
            con.execute(f"create temp table geography as from read_parquet('{path}')")
            continue
        rest = CELL.replace('"', "").split(", ")
        con.execute(
            f"create temp table {name} as select {KEY}, "
            f"* exclude ({', '.join(chr(34) + column + chr(34) for column in rest)}) "
            f"from read_parquet('{path}') where geography_level in (select unnest($levels))",
            {"levels": levels},
        )
    con.execute(
        "create temp table statistics as select distinct survey, indicator, statistic from estimate"
    )
    con.execute(_FIGURE.format(cell=CELL))


def main(arguments: list[str]) -> int:
    """Check the folder that is named, or the one that this file lies in."""
    place = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    found = verify(place)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
