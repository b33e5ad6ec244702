"""The codebook as tables, for the warehouse schema `codebook`.

Belongs here: flattening of the codebook, so that dbt, suites and releases read one source
with the adopter's overlay in it. Does not belong here: writing to the warehouse (the
asset) and reading the data files (`load.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from rcs_assets.codebook.model import Codebook, Indicator, Instrument, Variable
from rcs_assets.codebook.questions import SURVEY_STAGES

# Parents have no stage: their one group is called like the total of a breakdown.
NO_STAGE = "all"
_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int32(),
    "float": pa.float64(),
    "flag": pa.bool_(),
    "texts": pa.list_(pa.string()),
    "ints": pa.list_(pa.int32()),
}


def _schema(**columns: str) -> pa.Schema:
    """A schema from type → names of columns; the order inside a type is kept."""
    return pa.schema([(c, _TYPES[kind]) for kind, cs in columns.items() for c in cs.split()])


SCHEMAS: dict[str, pa.Schema] = {
    "variables": _schema(
        text="name label theme value_set source", flag="is_sensitive", int="position"
    ),
    "variable_stages": _schema(text="name survey stage"),
    "routing": _schema(text="variable asked_if", ints="codes"),
    "missing_codes": _schema(
        int="code", text="name label source", flag="leaves_denominator leaves_hwb_denominator"
    ),
    "value_labels": _schema(text="value_set label", int="code"),
    "scale_items": _schema(
        text="instrument scale variable",
        int="position minimum maximum",
        flag="is_reversed",
        ints="points",
    ),
    "scales": _schema(
        text="instrument scale title method conversion metric_name zero_variable source",
        int="items_n min_answered zero_code",
        float="low high",
    ),
    "composites": _schema(text="instrument composite scale"),
    "bands": _schema(text="instrument score label source", int="bands number", float="lower upper"),
    "conversions": _schema(text="conversion", int="raw", float="metric"),
    "cutoff_sets": _schema(
        text="name score operator dated source", float="cut mean sd k", texts="source_tranches"
    ),
    "indicators": _schema(
        text="name title domain second_domain direction statistic survey rule score cutoff_set "
        "definition denominator instrument source sentence",
        texts="stages variables",
        ints="positive_codes base_codes",
        float="lower upper",
        flag="is_sensitive is_core",
        int="position",
    ),
    "instrument_surveys": _schema(text="instrument survey stage"),
}


def codebook_tables(codebook: Codebook) -> dict[str, pa.Table]:
    """The codebook as tables: table name → pyarrow.Table (`SCHEMAS` has the columns).

    Grains: one row a variable, variable × survey × stage, routed variable, missing code,
    value set × code, scale × item, scale, composite × scale, score × number of bands ×
    band, conversion × raw score, cut-off set, indicator, instrument × survey × stage.
    The parent survey stands under stage `all`.
    """
    instruments = codebook.instruments.values()
    indicators = codebook.indicators.values()
    rows: dict[str, Iterable[dict[str, Any]]] = {
        "variables": [_variable(i, v) for i, v in enumerate(codebook.variables.values(), 1)],
        "variable_stages": [r for v in codebook.variables.values() for r in _stages(v)],
        "routing": [r for v in codebook.variables.values() for r in _routing(v)],
        "missing_codes": [asdict(code) for code in codebook.missing.values()],
        "value_labels": _value_labels(codebook),
        "scale_items": [row for i in instruments for row in _scale_items(i)],
        "scales": [row for i in instruments for row in _scales(i)],
        "composites": [row for i in instruments for row in _composites(i)],
        "bands": [{"instrument": i.name, **asdict(b)} for i in instruments for b in i.bands],
        "conversions": _conversions(codebook),
        "cutoff_sets": [asdict(cutoff) for cutoff in codebook.cutoff_sets.values()],
        "indicators": [_indicator(i, indicator) for i, indicator in enumerate(indicators, 1)],
        "instrument_surveys": [row for i in instruments for row in _instrument_stages(i)],
    }
    return {name: pa.Table.from_pylist(list(rows[name]), SCHEMAS[name]) for name in SCHEMAS}


def _survey_stages(surveys: Iterable[str], stages: tuple[str, ...]) -> list[tuple[str, str]]:
    return [
        (survey, stage)
        for survey in surveys
        for stage in ([s for s in stages if s in SURVEY_STAGES[survey]] or [NO_STAGE])
    ]


def _variable(position: int, variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.label,
        "theme": variable.theme,
        "value_set": variable.value_set,
        "is_sensitive": variable.is_sensitive,
        "position": position,
        "source": variable.source,
    }


def _stages(variable: Variable) -> list[dict[str, Any]]:
    return [
        {"name": variable.name, "survey": survey, "stage": stage}
        for survey, stage in _survey_stages(variable.surveys, variable.stages)
    ]


def _routing(variable: Variable) -> list[dict[str, Any]]:
    if variable.routing is None:
        return []
    codes = sorted(variable.routing.codes)
    return [{"variable": variable.name, "asked_if": variable.routing.variable, "codes": codes}]


def _value_labels(codebook: Codebook) -> list[dict[str, Any]]:
    return [
        {"value_set": value_set.name, "code": code, "label": label}
        for value_set in codebook.value_sets.values()
        for code, label in value_set.values.items()
    ]


def _scale_items(instrument: Instrument) -> list[dict[str, Any]]:
    return [
        {"instrument": instrument.name, "scale": scale.name, **asdict(item)}
        for scale in instrument.scales
        for item in scale.items
    ]


def _scales(instrument: Instrument) -> list[dict[str, Any]]:
    return [
        {
            "instrument": instrument.name,
            "scale": scale.name,
            "title": scale.title,
            "method": scale.method.value,
            "items_n": len(scale.items),
            "min_answered": scale.min_answered,
            "low": scale.low,
            "high": scale.high,
            "conversion": scale.conversion,
            "metric_name": scale.metric_name,
            "zero_variable": scale.zero_variable,
            "zero_code": scale.zero_code,
            "source": scale.source,
        }
        for scale in instrument.scales
    ]


def _composites(instrument: Instrument) -> list[dict[str, Any]]:
    return [
        {"instrument": instrument.name, "composite": composite.name, "scale": scale}
        for composite in instrument.composites
        for scale in composite.scales
    ]


def _conversions(codebook: Codebook) -> list[dict[str, Any]]:
    return [
        {"conversion": name, "raw": raw, "metric": metric}
        for name, conversion in codebook.conversions.items()
        for raw, metric in conversion.items()
    ]


def _indicator(position: int, indicator: Indicator) -> dict[str, Any]:
    flat = asdict(indicator)
    rule = flat.pop("rule")
    return {**flat, **rule, "rule": indicator.rule.kind.value, "position": position}


def _instrument_stages(instrument: Instrument) -> list[dict[str, Any]]:
    return [
        {"instrument": instrument.name, "survey": survey, "stage": stage}
        for survey, stage in _survey_stages(instrument.surveys, instrument.stages)
    ]
