"""Who is who in two tables: the engine of linkage, usable without the rest.

Belongs here: `link`, its checks of what it is given, and the order of its stages. Does not
belong here: the stages (`cascade.py`, `probabilistic.py`, `assign.py`, `quality.py`), rules
(`data/`), engagements and the vault (`engagements.py`).

The work is done on an in-memory connection of its own that never spills to disk, so that
no identifier leaves the process. Engine errors are raised again without their text, since
DuckDB's messages can hold values.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from rcs_assets.errors import InputError, StorageError
from rcs_assets.given import as_arrow, need_kind
from rcs_assets.linkage.assign import (
    assign_one_to_one,
    band_links,
    fitted_prior,
    join_clusters,
    weigh,
    weigh_siblings,
)
from rcs_assets.linkage.cascade import run_cascade
from rcs_assets.linkage.decided import apply_decisions
from rcs_assets.linkage.probabilistic import (
    MatchModel,
    clerical_weight,
    count_frequencies,
    first_blocks,
    len_of,
    match_model,
    prior_weight,
    rest_tables,
    score_pairs,
    used_model,
)
from rcs_assets.linkage.quality import LinkQuality, estimate_quality, missed_chances
from rcs_assets.linkage.remainder import link_remainder
from rcs_assets.linkage.settings import (
    LinkRules,
    LinkSettings,
    inner_name,
    load_link_rules,
)
from rcs_assets.linkage.standardise import FIELDS, known, standardised

# Types of the standardised fields that are no text.
_TYPES = {"date_of_birth": "date", "clk": "bit"}


@dataclass(frozen=True)
class Links:
    """The result of `link`.

    `table`: pyarrow.Table, one row a link, ordered by left_id and right_id: `left_id`,
    `right_id`, `pass_no` (rules: `data/linkage.yaml`), `weight` (log2 of the odds, null in
    exact passes), `probability` (null in exact passes), `band` (exact | auto | clerical; decided,
    where `LinkSettings.decided` says so).
    Pairs of band clerical are proposals for a clerk. `quality`: estimates without truth.
    `model`: what scored the pairs; handed back in `LinkSettings.model`, it repeats them.
    `missed`: pyarrow.Table, the chance of each record without a link that its partner is there:
    `side` (left | right), `record_id`, `chance`; either side adds up to `quality.missed`.
    """

    table: Any
    quality: LinkQuality
    model: MatchModel
    missed: Any


def link(left: Any, right: Any = None, settings: LinkSettings | None = None) -> Links:
    """Link the records of two tables one-to-one, or find pairs within one.

    Args:
        left: pyarrow.Table, pandas.DataFrame or DuckDB relation with `record_id` (unique,
            never null) and any of uid, scn, surname, previous_surname, first_forename,
            second_forename, sex, date_of_birth, postcode, address, town, and the columns
            that `settings.extra_fields` names.
        right: the same, with the same or other columns; None in mode `dedupe`.
        settings: choices; the defaults link.

    Returns:
        Links with their estimated quality. Exact passes come first, the model scores what
        they leave. In mode `dedupe` a record may stand in several pairs, left_id < right_id.

    Raises:
        InputError: no table, no rows, no `record_id`, an id that is null or stands twice, a
            column that is neither a field nor named, or has no value at all, an extra field
            that is missing, birth dates of which most cannot be read, no field in common,
            decisions (`settings.decided`) that contradict each other or name no record.
    """
    chosen = LinkSettings() if settings is None else settings
    need_kind(chosen, LinkSettings, "settings", "give LinkSettings(…), or leave it out")
    if chosen.model is not None:
        need_kind(chosen.model, MatchModel, "LinkSettings.model", "give Links.model of a call")
    rules = load_link_rules(chosen.overlay)
    tables = _tables(left, right, chosen)
    failure = ""
    con = sealed_connection(chosen)
    try:
        return _link(con, tables, rules, chosen)
    except duckdb.Error as error:
        failure = type(error).__name__
    finally:
        con.close()
    # Raised outside the handler: the engine's error, which can hold values, stays behind.
    raise StorageError(
        f"Linking failed ({failure})",
        why="the engine's message is withheld, since it can hold values of records",
        fix="give it more memory (LinkSettings.memory_limit), or report this message",
    )


def link_each(files: Sequence[tuple[Any, Any, LinkSettings]]) -> Iterator[Links]:
    """`link` for several pairs of tables side by side, each on its own connection.

    Args:
        files: left, right and settings of each. They share the threads of the first: one
            council's records are too few for a query to use many.

    Returns:
        The links of each, in the order of `files`; the first error ends it.
    """
    if not files:
        return
    threads = files[0][2].threads or os.cpu_count() or 1
    beside = min(threads, len(files))
    shared = [(one, other, replace(s, threads=threads // beside)) for one, other, s in files]
    with ThreadPoolExecutor(max_workers=beside) as pool:
        yield from pool.map(lambda given: link(*given), shared)


def _link(
    con: duckdb.DuckDBPyConnection,
    tables: list[tuple[str, Any]],
    rules: LinkRules,
    settings: LinkSettings,
) -> Links:
    for name, table in tables:
        _load(con, name, table, settings)
    _refuse_incomparable(tables)
    _refuse_cut_encodings(con, [name for name, _ in tables])
    if settings.mode == "dedupe":
        con.execute("create temp view rhs as from lhs")
    loaded = [name for name, _ in tables]
    add_forename_forms(con, rules, loaded)
    count_frequencies(con, rules, loaded)
    run_cascade(con, rules, dedupe=settings.mode == "dedupe")
    apply_decisions(con, rules, settings)
    _rest(con, settings)
    prior = _prior(con, rules, settings)
    model = match_model(con, rules, settings, prior=prior)
    used = used_model(con, rules, settings, model)
    lowest = clerical_weight(rules, settings)
    is_dedupe = settings.mode == "dedupe"
    score_pairs(
        con,
        rules,
        settings,
        used,
        first_blocks(con, rules, settings, used.fields),
        lowest=_least_evidence(rules, settings, lowest - prior_weight(prior)),
    )
    weigh_siblings(con, rules, settings, model)
    fitted = fitted_prior(con, prior, _pairs_n(con, settings))
    weigh(con, rules, fitted if is_dedupe else min(prior, fitted), settings)
    remainder = None
    if is_dedupe:
        con.execute("create or replace temp table assigned as from candidates")
        band_links(con, rules, settings)
        join_clusters(con, rules)
    else:
        assign_one_to_one(con, lowest)
        band_links(con, rules, settings)
        remainder = link_remainder(con, rules, settings, model, used)
    quality = estimate_quality(con, rules, remainder)
    missed = missed_chances(con, remainder, quality.missed.n)
    return Links(_result(con, rules), quality, model, missed)


def sealed_connection(settings: LinkSettings) -> duckdb.DuckDBPyConnection:
    """An in-memory connection that opens no file and spills none.

    Raises:
        InputError: the limit of memory is no size.
    """
    con = duckdb.connect(
        ":memory:",
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False},
    )
    if settings.threads is not None:
        con.execute(f"set threads = {settings.threads}")
    try:
        con.execute("set memory_limit = ?", [settings.memory_limit])
    except duckdb.Error:
        con.close()
        raise InputError(
            "A setting of link is wrong",
            where="LinkSettings.memory_limit",
            why="a size with its unit is needed",
            fix="write it like 2GB",
        ) from None
    con.execute("set temp_directory = ''")
    con.execute("set enable_progress_bar = false")
    con.execute("set timezone = 'UTC'")
    # The engine opens no file from here on: nothing to attach, to read or to write.
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    return con


def _tables(left: Any, right: Any, settings: LinkSettings) -> list[tuple[str, Any]]:
    if settings.mode == "dedupe":
        if right is not None:
            raise InputError("Two tables were given to dedupe", where="right", fix="leave it out")
        return [("lhs", as_arrow(left, "left"))]
    return [("lhs", as_arrow(left, "left")), ("rhs", as_arrow(right, "right"))]


def _load(con: duckdb.DuckDBPyConnection, name: str, table: Any, settings: LinkSettings) -> None:
    """Check one table and load it standardised, with a column for every field."""
    side = "left" if name == "lhs" else "right"
    columns = list(table.column_names)
    fields = (*FIELDS, *settings.extra_fields)
    if "record_id" not in columns:
        raise InputError(
            "A table has no column record_id",
            where=side,
            why="links are told by the ids of their records",
            fix="give each record an id of its own",
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(
            f"Columns stand twice: {', '.join(twice)}", where=side, fix="leave one of each"
        )
    unknown = sorted(set(columns) - {"record_id", *fields})
    if unknown:
        raise InputError(
            f"Unknown columns: {', '.join(unknown)}",
            where=side,
            why="only identifiers are compared: " + ", ".join(FIELDS),
            fix="drop them, or name them in LinkSettings.extra_fields",
        )
    missing = sorted(set(settings.extra_fields) - set(columns))
    if missing:
        raise InputError(
            f"Extra fields are missing: {', '.join(missing)}",
            where=side,
            fix="add the columns to both tables, or take them out of LinkSettings.extra_fields",
        )
    table = table.rename_columns([inner_name(column) for column in columns])
    con.register("delivered", table)
    _refuse_empty(con, side, columns)
    if "clk" in columns:
        _refuse_broken_encodings(con, side)
    fields = tuple(map(inner_name, fields))
    named = [field for field in fields if field in table.column_names]
    cells = [f"{known(_cell(table, field))} as {_quoted(field)}" for field in named]
    parts = [
        f"{standardised(field, _quoted(field)) if field in named else _blank(field)} "
        f"as {_quoted(field)}"
        for field in fields
    ]
    # Kept, or DuckDB puts the cell's expression wherever the standardised one names the column.
    con.execute(
        f"create temp table {name} as with cells as materialized "
        f"(select {', '.join(['record_id::varchar as unique_id', *cells])} from delivered) "
        f"select {', '.join(['unique_id', *parts])} from cells"
    )
    if "date_of_birth" in columns:
        _refuse_unread_dates(con, name, side)
    con.unregister("delivered")
    rows, ids = con.execute(
        f"select count(*), count(distinct unique_id) filter (trim(unique_id) <> '') from {name}"
    ).fetchall()[0]
    if rows != ids:
        raise InputError(
            "record_id is blank or stands twice",
            where=side,
            why=f"{rows} rows have {ids} different ids",
            fix="give each record an id of its own",
        )


def _cell(table: pa.Table, field: str) -> str:
    """A column in SQL; of numbers with a fraction, whole ones without it.

    Whoever reads a file without naming types gets 4814.0 for a postcode, and 19640402.0 for a date.
    """
    kind, cell = table.schema.field(field).type, _quoted(field)
    if not (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return cell
    return (
        f"(case when isfinite({cell}::double) then "
        f"if({cell} = trunc({cell}), trunc({cell})::hugeint::varchar, {cell}::varchar) end)"
    )


def _quoted(column: str) -> str:
    return f'"{column}"'


def _refuse_unread_dates(con: duckdb.DuckDBPyConnection, name: str, side: str) -> None:
    """Birth dates in a form that is not read: rather a wrong file than one without dates."""
    written_n, read_n = con.execute(
        f"select (select count({known('date_of_birth')}) from delivered), "
        f"(select count(date_of_birth) from {name})"
    ).fetchall()[0]
    if 2 * read_n < written_n:
        raise InputError(
            "Most birth dates cannot be read",
            where=f"{side}, column date_of_birth",
            why=f"{written_n - read_n} of {written_n} are no day as they are written",
            fix="write them as 2004-02-01, 01/02/2004, 1 Feb 2004 or 20040201",
        )


def _refuse_broken_encodings(con: duckdb.DuckDBPyConnection, side: str) -> None:
    broken_n = con.execute(
        "select count(*) filter (not regexp_full_match(clk, '([0-9a-fA-F]{2})+')) "
        f"from (select {known('clk')} as clk from delivered)"
    ).fetchall()[0][0]
    if broken_n:
        raise _no_encodings(
            f"{side}, column clk", f"{broken_n} of them are no pairs of hexadecimal digits"
        )


def _refuse_cut_encodings(con: duckdb.DuckDBPyConnection, loaded: Sequence[str]) -> None:
    """Only encodings of one length can be compared bit by bit."""
    both = " union all ".join(f"select bit_length(clk) as size from {name}" for name in loaded)
    sizes_n = con.execute(f"select count(distinct size) from ({both})").fetchall()[0][0]
    if sizes_n > 1:
        raise _no_encodings("column clk", f"they have {sizes_n} different lengths")


def _no_encodings(where: str, why: str) -> InputError:
    return InputError(
        "Encodings cannot be read",
        where=where,
        why=why,
        fix="hand on the column that rcs encodings make wrote, as text",
    )


def filled(rows: pa.Table) -> pa.Table:
    """Rows without the columns in which nothing stands, as `link` wants them."""
    return rows.select([name for name in rows.column_names if _stands(rows[name])])


def _stands(column: pa.ChunkedArray) -> bool:
    if len(column) == 0 or not pa.types.is_string(column.type):
        return bool(column.null_count < max(len(column), 1))
    return bool(pc.any(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py())


def _refuse_empty(con: duckdb.DuckDBPyConnection, side: str, columns: list[str]) -> None:
    """No row, or a column of blanks: rather a wrong file than a file of strangers."""
    counted = ", ".join(f"count({known(_quoted(inner_name(column)))})" for column in columns)
    rows, *filled_n = con.execute(f"select count(*), {counted} from delivered").fetchall()[0]
    if not rows:
        raise InputError("A table has no rows", where=side, fix="hand over records of both sides")
    empty = [column for column, n in zip(columns, filled_n, strict=True) if not n]
    if empty and empty != ["record_id"]:
        raise InputError(
            f"Columns without any value: {', '.join(empty)}",
            where=side,
            why="an empty column is a sign of a wrong file, and says nothing of a pair",
            fix="fill them, or leave the columns out",
        )


def _refuse_incomparable(tables: list[tuple[str, Any]]) -> None:
    """Two tables need a field in common; a former surname may meet the other's surname."""
    fields = [set(table.column_names) - {"record_id"} for _, table in tables]
    named = [
        columns | ({"surname"} if "previous_surname" in columns else set()) for columns in fields
    ]
    if not set.intersection(*named):
        raise InputError(
            "The tables have no field in common",
            where=" and ".join("left" if name == "lhs" else "right" for name, _ in tables),
            fix="name the columns of both as " + ", ".join(FIELDS),
        )


def _blank(field: str) -> str:
    return f"null::{_TYPES.get(field, 'varchar')}"


def add_forename_forms(con: duckdb.DuckDBPyConnection, rules: LinkRules, tables: list[str]) -> None:
    """`forename_forms` beside the forename: the full names that it may stand for, sorted."""
    forms = [(form, name) for name, others in rules.forms.items() for form in others]
    con.register(
        "named",
        pa.table({"form": [form for form, _ in forms], "name": [name for _, name in forms]}),
    )
    for table in tables:
        con.execute(f"""
            create or replace temp table {table} as
            select {table}.*, known.names as forename_forms
            from {table}
            left join (select form, list_sort(list(name)) as names from named group by form)
                as known
                on {table}.first_forename = known.form
        """)
    con.unregister("named")


def _rest(con: duckdb.DuckDBPyConnection, settings: LinkSettings) -> None:
    """What the exact passes left, ordered by id; in mode dedupe every record."""
    if settings.mode == "dedupe":
        con.execute("create temp table left_rest as from lhs order by unique_id")
        return
    for table, rest, side in (("lhs", "left_rest", "left"), ("rhs", "right_rest", "right")):
        con.execute(f"""
            create temp table {rest} as
            select {table}.*
            from {table}
            anti join exact_links on {table}.unique_id = exact_links.{side}_id
            order by unique_id
        """)


def _prior(con: duckdb.DuckDBPyConnection, rules: LinkRules, settings: LinkSettings) -> float:
    """Probability that two records drawn at random are one child, before the model looks.

    Between two files from their sizes alone, so that it does not depend on how many pairs the
    passes linked: the most that can be expected, which `fitted_prior` lowers where two files have
    few children in common. Within one file nobody knows how many stand twice: what the passes
    tell is where it starts from.
    """
    sizes = [len_of(con, table) for table in ("lhs", "rhs")]
    largest = max(*sizes, 2)
    if settings.mode == "link":
        return rules.expected_share / largest
    doubled = len_of(con, "exact_links") / rules.training.exact_share + 1
    return min(0.5, doubled / (largest * (largest - 1) / 2))


def _least_evidence(rules: LinkRules, settings: LinkSettings, needed: float) -> float:
    """Evidence from which a pair is looked at: what a prior that is not fitted yet may need.

    Within one file any; between two that of a link, less some for `fitted_prior` to see by.
    """
    least = rules.remainder.lowest_evidence
    if settings.mode == "dedupe":
        return least
    return min(needed, max(least, needed - rules.prior_margin))


def _pairs_n(con: duckdb.DuckDBPyConnection, settings: LinkSettings) -> float:
    """All pairs of what the exact passes left."""
    sizes = [len_of(con, table) for table in rest_tables(settings)]
    return sizes[0] * sizes[1] if len(sizes) == 2 else sizes[0] * (sizes[0] - 1) / 2


def _result(con: duckdb.DuckDBPyConnection, rules: LinkRules) -> Any:
    return con.execute(f"""
        select
            left_id,
            right_id,
            pass_no::integer as pass_no,
            null::double as weight,
            null::double as probability,
            if(pass_no = {rules.clerical.pass_no}, 'decided', 'exact') as band
        from exact_links
        union all
        select left_id, right_id, pass_no, weight, probability, band
        from model_links
        anti join exact_links using (left_id, right_id)
        order by left_id, right_id
    """).to_arrow_table()
