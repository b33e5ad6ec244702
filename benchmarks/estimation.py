"""Wall and processor times of the estimation engine on made-up pupils.

Run: `python -m benchmarks.estimation [--million] [--svy | --shape]` from the top of the project.

Prints seconds (best of three, wall and processor, the latter of both threads together) for
the calls that the wellbeing room makes at real size (80,000 respondents, 45 indicators, 650
schools in 8 strata) and, with `--million`, for 1,000,000 pupils in 2,400 schools and 32 strata:
by school, and one million estimates.
`--svy` adds one indicator by school by the package svy (minutes, and 17 GB when
measured) and the ratio; `--shape` how that ratio grows, at sizes that any machine has
room for. Belongs here: timing and peak memory. Does not belong here: whether the numbers
are right (`tests/unit/estimation`).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import duckdb

from rcs_assets.estimation import Design, estimate, estimate_each, rake

ROUNDS = 3
DESIGN = Design(strata="engagement", clusters="seed_code", weight="weight")
CELLS = ["engagement", "stage", "sex"]


def make_pupils(
    con: duckdb.DuckDBPyConnection, table: str, rows_n: int, schools_n: int, indicators_n: int
) -> list[str]:
    """A wide table of 0/1 indicators, a seventh of them null; returns their names."""
    strata_n = 8 if schools_n < 1000 else 32
    names = [f"v{number}" for number in range(indicators_n)]
    columns = ", ".join(
        f"case when hash(i * 101 + {k}) % 7 > 0 then (hash(i * 77 + {k}) % 3 = 0)::int::double "
        f"end as v{k}"
        for k in range(indicators_n)
    )
    con.execute(
        f"""
        create or replace table {table} as
        select
            i as record_id,
            (i % {schools_n})::int as seed_code,
            'e' || (i % {schools_n} % {strata_n}) as engagement,
            if(hash(i) % 2 = 0, 'F', 'M') as sex,
            'S' || (1 + hash(i + 1) % 6) as stage,
            (1 + hash(i + 2) % 5)::tinyint as simd_quintile,
            0.5 + (hash(i + 3) % 1000) / 777.0 as weight,
            {columns},
        from range({rows_n}) r(i)
        """
    )
    return names


def best_of(rounds: int, work: Callable[[], int]) -> tuple[float, float, int]:
    """Smallest wall and processor times of some rounds, and what the last one counted."""
    times, processor_times, counted = [], [], 0
    for _ in range(rounds):
        started, at = time.perf_counter(), time.process_time()
        counted = work()
        times.append(time.perf_counter() - started)
        processor_times.append(time.process_time() - at)
    return min(times), min(processor_times), counted


def report(label: str, work: Callable[[], int], rounds: int = ROUNDS) -> float:
    """Time one case and print it with the peak memory of the process so far."""
    seconds, busy, counted = best_of(rounds, work)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{label:<58} {counted:>9,} rows {seconds:8.3f} s, processor {busy:8.3f} s "
        f"{peak_mb:7.0f} MB"
    )
    return seconds


def programme_size(con: duckdb.DuckDBPyConnection) -> None:
    """The calls of the wellbeing room."""
    names = make_pupils(con, "pupils", 80_000, 650, 45)
    sets = [[], ["engagement"], *([*first, g] for first in ([], ["engagement"])
            for g in ("sex", "stage", "simd_quintile")), CELLS]  # fmt: skip
    report(
        "80k x 45, engagement x stage x sex, logit",
        lambda: estimate(con, "pupils", DESIGN, names, by=CELLS, ci="logit").num_rows,
    )
    report(
        "80k x 45, by school, pupils as units, Wilson",
        lambda: estimate(con, "pupils", Design(), names, by="seed_code", ci="wilson").num_rows,
    )
    report(
        f"80k x 45, {len(sets)} sets of by-columns in one pass, logit",
        lambda: sum(
            table.num_rows
            for table in estimate_each(con, "pupils", DESIGN, names, by_sets=sets, ci="logit")
        ),
    )
    roll = con.sql(
        "select engagement, stage, sex, round(count(*) / 0.73) as roll_n from pupils group by all"
    ).to_arrow_table()
    report(
        "80k rows raked to engagement x stage x sex",
        lambda: rake(con, "pupils", [(CELLS, roll)]).table.num_rows,
    )


def million(con: duckdb.DuckDBPyConnection) -> float:
    """National size; returns the seconds of ten indicators by school."""
    names = make_pupils(con, "nation", 1_000_000, 2_400, 60)
    report(
        "1M x 10, overall",
        lambda: estimate(con, "nation", DESIGN, names[:10]).num_rows,
    )
    by_school = report(
        "1M x 10, by school (24,000 estimates)",
        lambda: estimate(con, "nation", DESIGN, names[:10], by="seed_code").num_rows,
    )
    report(
        "1M x 60, school x stage x sex and its margins",
        lambda: sum(
            table.num_rows
            for table in estimate_each(
                con,
                "nation",
                DESIGN,
                names,
                by_sets=[["seed_code"], ["seed_code", "sex"], ["seed_code", "stage"],
                         ["seed_code", "stage", "sex"], ["engagement", "stage", "sex"]],
            )
        ),
        rounds=1,
    )  # fmt: skip
    return by_school


def ours_by_school(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str]
) -> Callable[[], int]:
    """The means of every school in ours, ready to run."""
    return lambda: estimate(con, table, DESIGN, names, by="seed_code").num_rows


def against_svy(con: duckdb.DuckDBPyConnection, ours: float) -> None:
    """One indicator by school in svy, and the ratio for each indicator."""
    theirs = report("1M x 1, by school, svy", svy_by_school(con, "nation"), rounds=1)
    print(f"svy takes {theirs / (ours / 10):,.0f} times as long for each indicator")


def svy_by_school(con: duckdb.DuckDBPyConnection, table: str) -> Callable[[], int]:
    """The mean of `v0` of every school in svy, ready to run."""
    import polars as pl
    import svy

    columns = "engagement, seed_code, weight, v0"
    frame = con.sql(f"select {columns} from {table} where v0 is not null").pl()
    design = svy.Design(stratum="engagement", psu="seed_code", wgt="weight")
    sample = svy.Sample(frame.with_columns(pl.col("seed_code").cast(pl.String)), design)

    def work() -> int:
        return len(sample.estimation.mean("v0", by="seed_code").to_polars())

    return work


def shape_of_the_ratio(con: duckdb.DuckDBPyConnection) -> None:
    """Ours and svy by school at growing sizes, processor seconds: how the ratio grows."""
    for schools_n in (75, 150, 300, 600):
        names = make_pupils(con, "part", 400 * schools_n, schools_n, 10)
        # One name a round: nothing is held over from the round before.
        ours = processor(ours_by_school(con, "part", names))
        theirs = processor(svy_by_school(con, "part"))
        print(
            f"{400 * schools_n:>9,} pupils {schools_n:>5,} schools: ours x 10 {ours:7.3f} s, "
            f"svy x 1 {theirs:7.3f} s of processor, "
            f"ratio for each indicator {10 * theirs / ours:8,.0f}"
        )


def processor(work: Callable[[], int]) -> float:
    """Least processor seconds of all threads over some rounds; other work does not count."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="national size too")
    parser.add_argument("--svy", action="store_true", help="svy beside it (implies --million)")
    parser.add_argument("--shape", action="store_true", help="svy's ratio at growing sizes alone")
    arguments = parser.parse_args()
    con = duckdb.connect()
    con.execute("set threads = 2")
    if arguments.shape:
        shape_of_the_ratio(con)
        return
    programme_size(con)
    if arguments.million or arguments.svy:
        seconds = million(con)
        if arguments.svy:
            against_svy(con, seconds)


if __name__ == "__main__":
    main()
