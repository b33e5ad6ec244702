"""The packages of schools: a few CSV files each, for many schools at once.

Belongs here: cutting the protected rows of a CPP's audience into one package a school, with
the public figures of its CPP beside them. Does not belong here: protecting (`disclosure`),
the report (`reporting`), packages with a database (`candidate.py`).

A school's row is the one that its CPP sees: one truth. DuckDB makes the text of all files,
one query a table, since hundreds of small queries take longer than the writing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from rcs_assets.release.contents import Package, with_release
from rcs_assets.release.describe import Head, Written, describe_package
from rcs_assets.release.tables import DATA_SOURCE, TableSpec, refuse_formulas, specs_of, table_specs
from rcs_assets.storage import sql_literal

KIND = "school"
FILES = {
    "estimates": "table.csv",
    "comparisons": "comparisons.csv",
    "participation": "participation.csv",
    "indicators": "indicators.csv",
    "geographies": "geographies.csv",
}
_ROW = "school_{}"

# What a school package holds, by table: rows with the school's SEED code (`seed`) and their
# place in the file (`part`: own rows before those of the CPP).
_SOURCES = {
    "estimates": """
        select geography_code as seed, 1 as part,
            estimates.* exclude (audience, release, status_inside)
        from disclosure.estimates as estimates
        where audience like 'cpp/%' and geography_level = 'school'
        union all by name
        select schools.seed, 2 as part, estimates.* exclude (audience, release, status_inside)
        from disclosure.estimates as estimates
        inner join release_schools as schools using (engagement, survey)
        where estimates.audience = 'public' and estimates.geography_level = 'cpp'
            and estimates.breakdown in (
                select breakdown from disclosure.estimates
                where audience like 'cpp/%' and geography_level = 'school'
            )
    """,
    "comparisons": """
        select geography_code as seed, 1 as part, comparisons.* exclude (audience)
        from disclosure.comparisons as comparisons
        where audience like 'cpp/%' and geography_level = 'school'
            and geography_code in (select seed from release_schools)
    """,
    "participation": """
        select distinct geography_code as seed, 1 as part, participation.* exclude (audience)
        from disclosure.participation as participation
        where geography_level = 'school'
            and geography_code in (select seed from release_schools)
    """,
    "indicators": """
        select distinct schools.seed, 1 as part, indicators.* exclude (survey)
        from release_indicators as indicators
        inner join release_schools as schools using (survey)
    """,
    "geographies": """
        with recursive above as (
            select schools.seed, schools.engagement as own, 1 as part,
                places.* exclude (engagement)
            from (select distinct engagement, seed from release_schools) as schools
            inner join release_places as places
                on places.engagement = schools.engagement
                and places.geography_level = 'school' and places.geography_code = schools.seed
            union
            select above.seed, above.own, above.part + 1, places.* exclude (engagement)
            from above
            inner join release_places as places
                on places.geography_level = above.parent_level
                and places.geography_code = above.parent_code
                and coalesce(places.engagement, above.own) = above.own
        )
        select distinct * exclude (own) from above
    """,
}


def prepare_schools(con: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary tables `school_<table>`: the rows of all school packages.

    Args:
        con: a connection to the warehouse on which `register_sources` ran.
    """
    con.execute(
        """
        create or replace temp table release_schools as
        select distinct geography_code as seed, engagement, survey
        from disclosure.estimates
        where audience like 'cpp/%' and geography_level = 'school'
        """
    )
    for name, source in _SOURCES.items():
        con.execute(f"create or replace temp table {_ROW.format(name)} as {source}")


def schools_hash(con: duckdb.DuckDBPyConnection) -> str:
    """sha256 over what stands in no other package: how each school took part.

    All other rows are those of a CPP's package and of the public one, which are hashed there.
    """
    spec = table_specs()["participation"]
    return str(
        con.execute(
            "select sha256(coalesce(string_agg(row_hash, '' order by row_hash), '')) from ("
            f"select sha256(columns_of::varchar) as row_hash from (select seed, {spec.select_list} "
            f"from {_ROW.format(spec.name)}) as columns_of)"
        ).fetchall()[0][0]
    )


def write_schools(
    con: duckdb.DuckDBPyConnection, folder: Path, packages: Sequence[Package], head: Head
) -> dict[str, Written]:
    """Write all school packages.

    Args:
        con: a connection on which `prepare_schools` ran.
        folder: the candidate's.
        packages: those of schools.
        head: version and policy.

    Returns:
        Package → what was written; the counts are those of the school's own cells.
    """
    mark = "SIMULATED" if head.is_simulated else "delivered"
    texts = {spec.name: _texts(con, spec, head.version, mark) for spec in specs_of(KIND)}
    counts = _cell_counts(con)
    written = {}
    for package in packages:
        seed = package.geography_code or ""
        rows = _write_school(folder / package.name, seed, texts)
        written[package.name] = Written(rows, counts.get(seed, ()))
        describe_package(folder, package, head, written[package.name])
    return written


def _typed_source(spec: TableSpec, version: str) -> str:
    return with_release(spec, f"select * from {_ROW.format(spec.name)}", version)


def _texts(
    con: duckdb.DuckDBPyConnection, spec: TableSpec, version: str, mark: str
) -> Mapping[str, tuple[str, int]]:
    """SEED code → text of the file, with its header, and number of rows."""
    header = ",".join([*(column.name for column in spec.columns), DATA_SOURCE])
    line = " || ',' || ".join(_field(column.name, column.type) for column in spec.columns)
    refuse_formulas(con, f"({_typed_source(spec, version)})", spec)
    typed = f"select seed, part, {spec.select_list} from ({_typed_source(spec, version)})"
    rows = con.execute(
        f"""
        select seed,
            {sql_literal(header)} || chr(10)
            || string_agg({line} || ',' || {sql_literal(mark)}, chr(10)
                order by part, {spec.order_list}) || chr(10),
            count(*),
        from ({typed})
        group by seed
        """
    ).fetchall()
    return {seed: (text, n) for seed, text, n in rows} | {"": (header + "\n", 0)}


def _field(name: str, kind: str) -> str:
    """SQL for one field of a CSV line: empty for null, quotes where they are needed."""
    text = f"coalesce(\"{name}\"::varchar, '')"
    if kind != "VARCHAR":
        return text
    quoted = f"'\"' || replace({text}, '\"', '\"\"') || '\"'"
    return f"if(regexp_matches({text}, '[\",\\n\\r]'), {quoted}, {text})"


def _write_school(
    target: Path, seed: str, texts: Mapping[str, Mapping[str, tuple[str, int]]]
) -> dict[str, int]:
    target.mkdir(parents=True)
    rows = {}
    for name, by_school in texts.items():
        text, rows[name] = by_school.get(seed, by_school[""])
        (target / FILES[name]).write_bytes(text.encode())
    return rows


def _cell_counts(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str, int]]]:
    rows = con.execute(
        f"""
        select seed, status, coalesce(note, ''), count(*)
        from {_ROW.format("estimates")} where part = 1
        group by all order by all
        """
    ).fetchall()
    counts: dict[str, list[tuple[str, str, int]]] = {}
    for seed, *cell in rows:
        counts.setdefault(seed, []).append((cell[0], cell[1], cell[2]))
    return counts
