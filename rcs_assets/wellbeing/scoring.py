"""Scoring of an instrument on a table of answers, outside the warehouse.

Belongs here: reading the caller's table, checking it, and rendering the scoring macro of
the dbt project on a connection of its own. Does not belong here: any scoring rule; the
SQL stands once, in dbt_project/macros/scoring.sql, and the rules are codebook data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pyarrow as pa

import rcs_assets
from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.model import Codebook, Indicator, Instrument
from rcs_assets.errors import ConfigurationError, InputError
from rcs_assets.given import as_arrow, column_names

MISSING_RULES = ("prorate", "complete")
# Of a question that opens a scale (SDQ impact) one code counts; the others are only codes.
GATE_MOST = 99

Range = tuple[int, int]


def score(
    answers: Any,
    instrument: str = "sdq_self",
    missing_rule: str = "prorate",
    *,
    codebook: Codebook | None = None,
) -> Any:
    """Score every record of a table of answers.

    Args:
        answers: pyarrow.Table, pandas.DataFrame or DuckDB relation with `record_id`
            (unique, never null) and the instrument's items as answered, before
            reversing; null is missing. Other columns are not read.
        instrument: a key of the codebook's instruments, such as `sdq_self` or `wemwbs`.
        missing_rule: `prorate` (Youthinmind: a scale needs as many items as the codebook
            says and is prorated) or `complete` (Scottish Government: every item);
            domain.md §0.2, row 6.
        codebook: the codebook to score by; the platform's own by default.

    Returns:
        pyarrow.Table in the order of `answers`: `record_id`, one column a scale, metric
        and composite, and `<score>_band3`, `<score>_band4` (1 = close to average) where the
        codebook has bands. Sums are integers, rounded half up; a score is null where too
        few items are answered.

    Raises:
        InputError: unknown instrument or rule, a missing column, a value outside the
            item's range, a record_id that is null or stands twice.
    """
    chosen = _instrument(codebook or load_codebook(), instrument)
    if missing_rule not in MISSING_RULES:
        raise InputError(
            "Unknown missing rule",
            where="missing_rule",
            why="rules are prorate and complete",
            fix="choose one of them",
        )
    ranges = _ranges(chosen)
    table = _table(answers, ["record_id", *ranges])
    with duckdb.connect() as con:
        con.register("delivered", table)
        _check(con, table, ranges)
        con.execute(_typed(ranges))
        query = scoring_sql("answers", chosen, codebook or load_codebook(), missing_rule)
        return con.execute(query).to_arrow_table()


def scoring_sql(relation: str, instrument: Instrument, codebook: Codebook, rule: str) -> str:
    """The scoring query of one instrument over `relation`, rendered from the dbt macro."""
    data = instrument_data(instrument, codebook)
    query: str = _macros("scoring").scores_query(relation, ["record_id"], missing_rule=rule, **data)
    return query


def instrument_data(instrument: Instrument, codebook: Codebook) -> dict[str, Any]:
    """An instrument as the plain data that the scoring macro takes."""
    banded = sorted({(band.score, band.bands) for band in instrument.bands})
    return {
        "scales": [
            {
                "name": scale.name,
                "method": scale.method.value,
                "min_answered": scale.min_answered,
                "conversion": scale.conversion,
                "metric_name": scale.metric_name,
                "zero_variable": scale.zero_variable,
                "zero_code": scale.zero_code,
                "items": [asdict(item) for item in scale.items],
            }
            for scale in instrument.scales
        ],
        "composites": [
            {"name": composite.name, "scales": list(composite.scales)}
            for composite in instrument.composites
        ],
        "bands": [
            {
                "score": score_name,
                "bands": bands,
                "cuts": [
                    {"number": band.number, "lower": band.lower, "upper": band.upper}
                    for band in instrument.bands
                    if (band.score, band.bands) == (score_name, bands)
                ],
            }
            for score_name, bands in banded
        ],
        "conversions": {
            name: [{"raw": raw, "metric": metric} for raw, metric in table.items()]
            for name, table in codebook.conversions.items()
        },
    }


def project_dir() -> Path:
    """The dbt project beside the package.

    Raises:
        ConfigurationError: the package was installed without it.
    """
    folder = Path(rcs_assets.__file__).resolve().parents[1] / "dbt_project"
    if not (folder / "dbt_project.yml").is_file():
        raise ConfigurationError(
            "The dbt project is missing",
            where="dbt_project/ beside the package rcs_assets",
            why="scoring and indicators stand there once, for the models and for this function",
            fix="install from a clone of the repository: uv pip install -e .",
        )
    return folder


def indicator_sql(indicator: Indicator, codebook: Codebook, kept_missing: Sequence[int]) -> str:
    """The value of an indicator as a column expression, rendered from the dbt macro."""
    rule = indicator.rule
    cutoff = codebook.cutoff_sets[rule.cutoff_set] if rule.cutoff_set else None
    data = {
        "name": indicator.name,
        "kind": rule.kind.value,
        "survey": indicator.survey,
        "score": cutoff.score if cutoff else rule.score,
        "lower": rule.lower,
        "upper": rule.upper,
        "operator": cutoff.operator if cutoff else "",
        "cut": cutoff.cut if cutoff else None,
        "stages": list(indicator.stages),
        "variables": list(rule.variables),
        "positive_codes": list(rule.positive_codes),
        "base_codes": list(rule.base_codes),
    }
    expression: str = _macros("indicators").indicator_value(data, list(kept_missing))
    return expression


@cache
def _macros(name: str) -> Any:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(project_dir() / "macros"), undefined=jinja2.StrictUndefined
    )
    return environment.get_template(f"{name}.sql").module


def _instrument(codebook: Codebook, name: str) -> Instrument:
    if name not in list(codebook.instruments):
        raise InputError(
            "Unknown instrument",
            where="instrument",
            why="instruments of the codebook are " + ", ".join(codebook.instruments),
            fix="choose one of them",
        )
    return codebook.instruments[name]


def _ranges(instrument: Instrument) -> dict[str, Range]:
    """Least and largest code of every column that is scored."""
    gates = {s.zero_variable: (0, GATE_MOST) for s in instrument.scales if s.zero_variable}
    items = [item for scale in instrument.scales for item in scale.items]
    return {item.variable: (item.minimum, item.maximum) for item in items} | gates


def _table(answers: Any, columns: list[str]) -> Any:
    """The needed columns of whatever table was given, as pyarrow."""
    names = column_names(answers, "answers")
    missing = [column for column in columns if names.count(column) != 1]
    if missing:
        raise InputError(
            "Columns of the answers are missing or stand twice",
            where=", ".join(missing),
            why="record_id and every item of the instrument are needed",
            fix="add the column; fill it with null where the item was not asked",
        )
    if isinstance(answers, duckdb.DuckDBPyRelation):
        answers = answers.select(*(duckdb.ColumnExpression(name) for name in columns))
    elif isinstance(answers, pa.Table):
        answers = answers.select(columns)
    else:
        answers = answers[columns]
    return as_arrow(answers, "answers")


def _check(con: duckdb.DuckDBPyConnection, table: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse what cannot be scored; messages name columns and counts, never a value."""
    others = [name for name in ranges if not _is_numeric(table.schema.field(name).type)]
    if others:
        raise InputError(
            "Items are not numbers",
            where=", ".join(others),
            why="items are whole numbers or null",
            fix="turn the answers into the codes of the questionnaire",
        )
    outside = ", ".join(
        f'count_if("{name}" is not null and ("{name}" not between {low} and {high} '
        f'or "{name}" <> floor("{name}")))'
        for name, (low, high) in ranges.items()
    )
    rows_n, ids_n, distinct_n, *outside_n = con.execute(
        f"select count(*), count(record_id), count(distinct record_id), {outside} from delivered"
    ).fetchall()[0]
    if ids_n < rows_n or distinct_n < ids_n:
        raise InputError(
            f"record_id is null in {rows_n - ids_n} rows and repeated in {ids_n - distinct_n}",
            where="record_id",
            why="each record is scored once",
            fix="give each record an id of its own",
        )
    wrong = [
        f"{name} ({n} values outside {low} to {high})"
        for (name, (low, high)), n in zip(ranges.items(), outside_n, strict=True)
        if n
    ]
    if wrong:
        raise InputError(
            "Items hold values outside their range",
            where=", ".join(wrong),
            why="items are coded as answered, before reversing",
            fix="turn missing codes into null",
        )


def _is_numeric(kind: pa.DataType) -> bool:
    """Whether a column holds numbers, or nothing at all."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests)


def _typed(names: Iterable[str]) -> str:
    columns = ", ".join(f'cast("{name}" as tinyint) as {name}' for name in names)
    return f"create temp table answers as select record_id, {columns} from delivered"
