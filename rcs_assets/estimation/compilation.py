"""From a specification to one SQL query: the sums that every estimate needs.

Belongs here: what a measure is, and the query that aggregates all measures in one pass
to cells of (domain, strata, clusters). Does not belong here: arithmetic on those cells
(`variance`, `intervals`).

Sums are exact integers: each addend is scaled by a power of two to at most 2**60,
rounded to a BIGINT and summed as a HUGEINT. Integer addition is associative, so a result
does not depend on row order or threads, to the last bit; the rounding is at most 2**-61
of the largest addend, below that of a DOUBLE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rcs_assets.estimation.design import Design
from rcs_assets.estimation.relation import Bounds, Profile, Relation, literal, quote

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_BITS: Final = 60
_LARGEST_POWER: Final = 1000  # of a DOUBLE, with room to multiply


@dataclass(frozen=True)
class Measure:
    """One thing to estimate: numerator `y`, denominator `x` (none = 1), as SQL.

    A row where `base` (or `x`) is null is outside the measure's domain; the levels of a
    category share their base. `shift` has been taken from `y` already: a mean is computed
    around it, so that a variable far from zero loses no digits.
    """

    variable: str
    level: str | None
    base: str
    y: str
    y_bounds: Bounds
    x: str | None = None
    x_bounds: Bounds = field(default_factory=lambda: Bounds(1.0, 1.0, is_binary=True))
    shift: float = 0.0


@dataclass(frozen=True)
class Moments:
    """Sums over cells (rows) and measures (columns).

    `n` counts rows with a weight and a value; `w, wx, wy, wxx, wxy, wyy` are weighted
    sums; `v…` are the same with squared weights, present where rows are the units; `u…`
    are sums without weights, present where the design is calibrated.
    """

    n: Floats
    w: Floats
    wx: Floats
    wy: Floats
    wxx: Floats
    wxy: Floats
    wyy: Floats
    vxx: Floats | None = None
    vxy: Floats | None = None
    vyy: Floats | None = None
    ux: Floats | None = None
    uy: Floats | None = None


@dataclass(frozen=True)
class Cells:
    """The small table: one row a (by-columns, strata, clusters), sorted by them.

    `domain` is 0-based, -1 where a by-column is null (outside every domain but inside
    the design), and `domains` holds the by-columns of each; `keys` holds those of each
    cell, `key_codes` their ranks. `strata[k]` and `units[k]` are 0-based codes, nested in
    the stage above; without clusters the unit is the row and `units` is empty.
    `strata_names` are the first-stage strata as the data call them (none without
    strata); `cluster_names` codes the first-stage clusters by name alone, whatever their
    stratum. `margins` codes each set of columns that the weights are calibrated to, and
    `weights` are sums of weights of all rows (both only in a calibrated design).
    """

    domain: Integers
    domains: pa.Table
    keys: pa.Table
    key_codes: dict[str, Integers]
    strata: list[Integers]
    units: list[Integers]
    strata_names: pa.ChunkedArray | None
    cluster_names: Integers | None
    fpc: list[tuple[Floats, Floats]]
    rows_n: Floats
    weighted_n: Floats
    moments: Moments
    margins: list[Integers]
    weights: Floats


def power_of_two(bound: float) -> float:
    """The power of two that brings numbers up to `bound` to at most 2**60."""
    if bound <= 0:
        return 1.0
    return 2.0 ** min(_LARGEST_POWER, _BITS - math.ceil(math.log2(bound)))


def _scaled_sum(expression: str, bound: float) -> str:
    scale = power_of_two(bound)
    return f"sum(({expression} * {literal(scale)})::bigint)::double / {literal(scale)}"


class _Query:
    """Collects projections and aggregates of a query, each once, by name or position."""

    def __init__(self) -> None:
        self.projections: dict[str, str] = {}
        self.aggregates: dict[str, int] = {}

    def project(self, expression: str) -> str:
        return self.projections.setdefault(expression, f"y{len(self.projections)}")

    def add(self, expression: str) -> int:
        return self.aggregates.setdefault(expression, len(self.aggregates))


def fetch_cells(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    design: Design,
    found: Profile,
    measures: Sequence[Measure],
    by: Sequence[str],
) -> Cells:
    """Run the one aggregating query and hand back its cells as arrays."""
    query = _Query()
    weighted = design.weight is not None
    all_positive = found.weight.low > 0
    rows_at = query.add("count(*)::double")
    weighted_at = query.add("count(case when w > 0 then 1 end)::double")
    scale = literal(power_of_two(found.weight.high))
    weights_at = query.add(f"sum(wi)::double / {scale}") if design.calibrated_names else None
    is_rows = not design.cluster_names
    places = [
        _measure_sums(query, measure, found.weight, weighted, all_positive, is_rows)
        for measure in measures
    ]
    if design.calibrated_names:
        places = [
            at | _plain_sums(query, measure, at, all_positive)
            for at, measure in zip(places, measures, strict=True)
        ]
    table = con.execute(_cells_sql(relation, design, found, query, by)).to_arrow_table()
    sums = [_numbers(table, f"a{at}") for at in range(len(query.aggregates))]
    weights = sums[weights_at] if weights_at is not None else np.empty(0)
    return _unpack(
        table, design, by, _moments(sums, places), sums[rows_at], sums[weighted_at], weights
    )


def _measure_sums(
    query: _Query,
    measure: Measure,
    weight: Bounds,
    weighted: bool,
    all_positive: bool,
    is_rows: bool,
) -> dict[str, int]:
    """Register the sums of one measure; shared ones (0/1, no denominator) only once."""
    y, x = query.project(measure.y), query.project(measure.x) if measure.x else ""
    valid = f"{query.project(measure.base)} is not null" + (f" and {x} is not null" if x else "")
    counted = valid if all_positive else f"{valid} and w > 0"
    at = {"n": query.add(f"count(case when {counted} then 1 end)::double")}
    unit = f"sum(case when {valid} then wi end)::double / {literal(power_of_two(weight.high))}"
    at["w"] = query.add(unit) if weighted else at["n"]
    top_y, top_x, top_w = measure.y_bounds.largest, measure.x_bounds.largest, weight.high
    if x:
        at["wx"] = query.add(_scaled_sum(_when(valid, f"w * {x}"), top_w * top_x))
        at["wxx"] = query.add(_scaled_sum(_when(valid, f"w * {x} * {x}"), top_w * top_x**2))
        at["wxy"] = query.add(_scaled_sum(f"w * {x} * {y}", top_w * top_x * top_y))
    else:
        at["wx"] = at["wxx"] = at["w"]
    at["wy"] = _sum_y(query, measure, y, valid, weight, weighted)
    if measure.y_bounds.is_binary:
        at["wyy"] = at["wy"]
    else:
        at["wyy"] = query.add(_scaled_sum(_when(valid, f"w * {y} * {y}"), top_w * top_y**2))
    if not x:
        at["wxy"] = at["wy"]
    if is_rows:
        at |= _squared_weight_sums(query, measure, (y, x), valid, top_w, weighted, at)
    return at


def _plain_sums(
    query: _Query, measure: Measure, at: dict[str, int], all_positive: bool
) -> dict[str, int]:
    """Sums without weights, over rows with a weight and a value."""
    y, x = query.project(measure.y), query.project(measure.x) if measure.x else ""
    valid = f"{query.project(measure.base)} is not null" + (f" and {x} is not null" if x else "")
    counted = valid if all_positive else f"{valid} and w > 0"
    sums = {
        "ux": at["n"],
        "uy": query.add(_scaled_sum(_when(counted, y), measure.y_bounds.largest)),
    }
    if x:
        sums["ux"] = query.add(_scaled_sum(_when(counted, x), measure.x_bounds.largest))
    return sums


def _when(condition: str, expression: str) -> str:
    return f"(case when {condition} then {expression} end)"


def _sum_y(
    query: _Query, measure: Measure, y: str, valid: str, weight: Bounds, weighted: bool
) -> int:
    if not measure.y_bounds.is_binary:
        return query.add(
            _scaled_sum(_when(valid, f"w * {y}"), weight.high * measure.y_bounds.largest)
        )
    chosen = f"{y} = 1" + (f" and {valid}" if measure.x else "")
    if not weighted:
        return query.add(f"count(case when {chosen} then 1 end)::double")
    scale = literal(power_of_two(weight.high))
    return query.add(f"sum(case when {chosen} then wi end)::double / {scale}")


def _squared_weight_sums(
    query: _Query,
    measure: Measure,
    names: tuple[str, str],
    valid: str,
    top_w: float,
    weighted: bool,
    at: dict[str, int],
) -> dict[str, int]:
    if not weighted:
        return {"vxx": at["wxx"], "vxy": at["wxy"], "vyy": at["wyy"]}
    y, x = names
    top_y, top_x, top = measure.y_bounds.largest, measure.x_bounds.largest, top_w**2
    x_x, x_y = (f" * {x} * {x}", f" * {x} * {y}") if x else ("", f" * {y}")
    found = {
        "vxx": query.add(_scaled_sum(_when(valid, f"w * w{x_x}"), top * top_x**2)),
        "vxy": query.add(_scaled_sum(_when(valid, f"w * w{x_y}"), top * top_x * top_y)),
    }
    if measure.y_bounds.is_binary and not x:
        return found | {"vyy": found["vxy"]}
    return found | {
        "vyy": query.add(_scaled_sum(_when(valid, f"w * w * {y} * {y}"), top * top_y**2))
    }


def _cells_sql(
    relation: Relation,
    design: Design,
    found: Profile,
    query: _Query,
    by: Sequence[str],
) -> str:
    """The query: project, aggregate to cells, code the cells by rank, sort."""
    keys = {f"b{i}": quote(name) for i, name in enumerate(by)} | _design_keys(design)
    fpc = {f"f{i}": f"{quote(name)}::double" for i, name in enumerate(design.fpc_names)}
    weight = f"{quote(design.weight)}::double" if design.weight else "1::double"
    scale = literal(power_of_two(found.weight.high))
    projected = [f"{sql} as {name}" for name, sql in (keys | fpc).items()]
    projected += [f"{weight} as w", f"({weight} * {scale})::bigint as wi"]
    projected += [f"{sql} as {name}" for sql, name in query.projections.items()]
    bounds = [f"{agg}(f{i}) as f{i}_{agg}" for i in range(len(fpc)) for agg in ("min", "max")]
    sums = [f"{expression} as a{at}" for at, expression in enumerate(query.aggregates)]
    group = f"group by {', '.join(keys)}" if keys else ""
    return f"""
        with
        projected as (select {", ".join(projected)} from {relation.sql}),
        cells as (select {", ".join([*keys, *bounds, *sums])} from projected {group})
        select {", ".join(_rank_columns(design, by))}, cells.*
        from cells
        order by {", ".join(_rank_order(design, by))}
    """


def _design_keys(design: Design) -> dict[str, str]:
    """Strata and clusters of the stages that enter the variance."""
    keys = {}
    for stage in range(design.stages_used):
        if stage < len(design.strata_names):
            keys[f"s{stage}"] = quote(design.strata_names[stage])
        if stage < len(design.cluster_names):
            keys[f"c{stage}"] = quote(design.cluster_names[stage])
    margins = dict.fromkeys(name for margin in design.calibrated_names for name in margin)
    return keys | {f"m{number}": quote(name) for number, name in enumerate(margins)}


def _rank_order(design: Design, by: Sequence[str]) -> list[str]:
    stages = range(design.stages_used)
    return (
        [f"b{i}_code" for i in range(len(by))]
        + [f"stratum_code{k}" for k in stages]
        + ([f"unit_code{k}" for k in stages] if design.cluster_names else [])
        + [f"margin_code{k}" for k in range(len(design.calibrated_names))]
    )


def _rank_columns(design: Design, by: Sequence[str]) -> list[str]:
    """Dense codes: of by-columns, and of strata and units nested in the stage above."""
    ranked = [_rank([f"b{i}"], f"b{i}_code") for i in range(len(by))]
    path: list[str] = []
    if design.cluster_names:
        ranked.append(_rank(["c0"], "cluster_code"))
    for stage in range(design.stages_used):
        path += [f"s{stage}"] if stage < len(design.strata_names) else []
        ranked.append(_rank(path, f"stratum_code{stage}"))
        if stage < len(design.cluster_names):
            path.append(f"c{stage}")
            ranked.append(_rank(path, f"unit_code{stage}"))
    names = dict.fromkeys(name for margin in design.calibrated_names for name in margin)
    places = {name: f"m{number}" for number, name in enumerate(names)}
    for number, margin in enumerate(design.calibrated_names):
        ranked.append(_rank([places[name] for name in margin], f"margin_code{number}"))
    return ranked


def _rank(path: Sequence[str], name: str) -> str:
    if not path:
        return f"0::bigint as {name}"
    return f"dense_rank() over (order by {', '.join(path)}) - 1 as {name}"


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.nan_to_num(_values(table, name), nan=0.0)


def _values(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _codes(table: pa.Table, name: str) -> Integers:
    return np.asarray(table.column(name).to_numpy(), dtype=np.int64)


def _unpack(
    table: pa.Table,
    design: Design,
    by: Sequence[str],
    moments: Moments,
    rows_n: Floats,
    weighted_n: Floats,
    weights: Floats,
) -> Cells:
    stages = range(design.stages_used)
    keys = table.select([f"b{i}" for i in range(len(by))]).rename_columns(list(by))
    # As they are, to be refused where they are not finite: a null is refused before.
    fpc = [
        (_values(table, f"f{k}_min"), _values(table, f"f{k}_max"))
        for k in range(len(design.fpc_names))
    ]
    cells = Cells(
        domain=np.empty(0, dtype=np.int64),
        domains=keys,
        keys=keys,
        key_codes={name: _codes(table, f"b{i}_code") for i, name in enumerate(by)},
        strata=[_codes(table, f"stratum_code{k}") for k in stages],
        units=[_codes(table, f"unit_code{k}") for k in stages] if design.cluster_names else [],
        strata_names=table.column("s0") if design.strata_names else None,
        cluster_names=_codes(table, "cluster_code") if design.cluster_names else None,
        fpc=fpc,
        rows_n=rows_n,
        weighted_n=weighted_n,
        moments=moments,
        margins=[_codes(table, f"margin_code{k}") for k in range(len(design.calibrated_names))],
        weights=weights,
    )
    return with_domains(cells, by)


def _moments(sums: Sequence[Floats], places: Sequence[dict[str, int]]) -> Moments:
    """Columns to matrices; moments that are the same columns are the same matrix."""
    made: dict[tuple[int, ...], Floats] = {}
    named: dict[str, Floats] = {}
    for name in places[0]:
        columns = tuple(at[name] for at in places)
        if columns not in made:
            made[columns] = np.column_stack([sums[at] for at in columns])
        named[name] = made[columns]
    return Moments(**named)


def with_domains(cells: Cells, by: Sequence[str]) -> Cells:
    """The same cells with other domains: combinations of some of their by-columns.

    A cell with a null in one of them is outside every domain. Domains come in the order
    of their values, first column first.
    """
    cells_n = len(cells.rows_n)
    inside, combined = np.ones(cells_n, dtype=bool), np.zeros(cells_n, dtype=np.int64)
    for name in by:
        inside &= ~np.asarray(cells.keys.column(name).is_null().to_numpy())
        codes = cells.key_codes[name]
        # Ranks again after each column: mixed radix without a chance of overflow.
        combined = combined * (codes.max(initial=0) + 1) + codes
        combined = np.unique(combined, return_inverse=True)[1]
    _, first, inverse = np.unique(combined[inside], return_index=True, return_inverse=True)
    domain = np.full(cells_n, -1, dtype=np.int64)
    domain[inside] = inverse
    rows = np.flatnonzero(inside)[first]
    return replace(cells, domain=domain, domains=cells.keys.select(by).take(pa.array(rows)))
