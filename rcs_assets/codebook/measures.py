"""Assembles instruments from their data files.

Belongs here: scales, items, composites, bands, conversions, and the rules between them.
Does not belong here: computing a score (`wellbeing`), questions (`questions.py`), what is
reported of a score (`indicators.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rcs_assets.codebook.model import (
    Band,
    Composite,
    Instrument,
    Item,
    Scale,
    ScaleMethod,
    ValueSet,
    Variable,
)
from rcs_assets.codebook.names import checked_name
from rcs_assets.codebook.questions import ALL_STAGES, RESERVED, SURVEY_STAGES, Rows, rows_by
from rcs_assets.programme.datafile import Row

BAND_NUMBERS = ("3", "4")


def read_conversions(rows: Rows) -> dict[str, dict[int, float]]:
    """Conversion → raw score → metric score."""
    return {
        name: {row.integer("raw"): row.decimal("metric") for row in group}
        for name, group in rows_by(rows["conversions.csv"], "conversion").items()
    }


def read_instruments(
    rows: Rows,
    variables: Mapping[str, Variable],
    value_sets: Mapping[str, ValueSet],
    conversions: Mapping[str, Mapping[int, float]],
) -> dict[str, Instrument]:
    """Name → instrument with its scales, composites and bands."""
    names = {row.values["name"] for row in rows["instruments.csv"]}
    off = {row.values["name"] for row in rows["instruments.csv"] if not row.text("surveys")}
    items = _items(rows, variables, value_sets, off)
    scales = {
        _score_name(row): (row.choice("instrument", names), _scale(row, items, conversions))
        for row in rows["scales.csv"]
    }
    composites = {
        _score_name(row): (row.choice("instrument", names), _composite(row, scales))
        for row in rows["composites.csv"]
    }
    bands = _bands(rows["bands.csv"], _ranges(scales, composites))
    return {
        row.values["name"]: _instrument(row, scales, composites, bands, variables)
        for row in rows["instruments.csv"]
    }


def _score_name(row: Row) -> str:
    """The name of a scale or composite: a column beside the technical ones."""
    name = checked_name(row)
    if name in RESERVED:
        raise row.problem("name", "every table of scores has a column of this name", "rename it")
    return name


def _items(
    rows: Rows,
    variables: Mapping[str, Variable],
    value_sets: Mapping[str, ValueSet],
    off: Collection[str],
) -> dict[str, tuple[Item, ...]]:
    scales = {row.values["name"]: row.values["instrument"] for row in rows["scales.csv"]}
    items: dict[str, list[Item]] = {}
    for row in rows["items.csv"]:
        is_off = scales[row.choice("scale", scales)] in off
        item = Item(
            variable=row.required("variable") if is_off else row.choice("variable", variables),
            position=row.integer("position"),
            is_reversed=row.flag("is_reversed"),
            minimum=row.integer("minimum"),
            maximum=row.integer("maximum"),
            points=_points(row),
        )
        if item.points and len(item.points) != item.maximum - item.minimum + 1:
            raise row.problem("points", "each answer needs its points", "list one for each answer")
        items.setdefault(row.values["scale"], []).append(item)
        if is_off:
            continue
        codes = value_sets[variables[item.variable].value_set].values
        if (min(codes), max(codes)) != (item.minimum, item.maximum):
            raise row.problem(
                "minimum", "the item's range is not that of its answers", "see value_sets.csv"
            )
    return {scale: tuple(found) for scale, found in items.items()}


def _points(row: Row) -> tuple[int, ...]:
    """What each answer counts; nothing where it is the answer itself."""
    parts = [part for part in row.text("points").split(";") if part]
    if not all(part.isdigit() for part in parts):
        raise row.problem("points", "whole numbers are needed", "write such as 0;0;1;2")
    return tuple(map(int, parts))


def _scale(
    row: Row,
    items: Mapping[str, tuple[Item, ...]],
    conversions: Mapping[str, Mapping[int, float]],
) -> Scale:
    name = row.values["name"]
    own = items.get(name)
    if not own:
        raise row.problem("name", "the scale has no items", "add them to items.csv")
    zero = row.text("zero_if").split("=") if row.text("zero_if") else ["", "0"]
    if len(zero) != 2 or not zero[1].isdigit():
        raise row.problem("zero_if", "a variable and a code are needed", "write variable=code")
    scale = Scale(
        name=name,
        title=row.required("title"),
        method=ScaleMethod(row.choice("method", list(ScaleMethod))),
        items=own,
        min_answered=row.integer("min_answered"),
        low=row.decimal("low"),
        high=row.decimal("high"),
        conversion=row.choice("conversion", {"", *conversions}),
        source=row.required("source"),
        zero_variable=zero[0],
        zero_code=int(zero[1]),
    )
    _check_scale(row, scale, conversions)
    return scale


def _check_scale(row: Row, scale: Scale, conversions: Mapping[str, Mapping[int, float]]) -> None:
    if scale.method is ScaleMethod.MATRIX:
        _check_matrix(row, scale, conversions)
        return
    divisor = len(scale.items) if scale.method is ScaleMethod.MEAN else 1
    low = sum(min(item.counts) for item in scale.items) / divisor
    high = sum(max(item.counts) for item in scale.items) / divisor
    if (scale.low, scale.high) != (low, high):
        raise row.problem(
            "low", f"the items give a range of {low:g} to {high:g}", "correct low and high"
        )
    if not 1 <= scale.min_answered <= len(scale.items):
        raise row.problem(
            "min_answered", "more answers asked for than items", "1 to the number of items"
        )
    if scale.conversion:
        raws = set(conversions[scale.conversion])
        if raws != set(range(int(low), int(high) + 1)):
            raise row.problem(
                "conversion", "the conversion does not cover every raw score", "complete it"
            )


def _check_matrix(row: Row, scale: Scale, conversions: Mapping[str, Mapping[int, float]]) -> None:
    """Two items of single digits, and a table that has every pair of their answers."""
    if len(scale.items) != 2 or scale.min_answered != 2 or not scale.conversion:
        raise row.problem(
            "method", "a matrix needs two items, both answered, and a conversion", "complete it"
        )
    first, second = (range(item.minimum, item.maximum + 1) for item in scale.items)
    table = conversions[scale.conversion]
    if set(table) != {10 * a + b for a in first for b in second}:
        raise row.problem(
            "conversion", "the conversion does not cover every pair of answers", "complete it"
        )
    if (scale.low, scale.high) != (min(table.values()), max(table.values())):
        raise row.problem("low", "low and high are those of the conversion", "correct them")


def _composite(row: Row, scales: Mapping[str, tuple[str, Scale]]) -> Composite:
    parts = row.items("scales", scales)
    if len(parts) < 2 or any(scales[part][0] != row.values["instrument"] for part in parts):
        raise row.problem(
            "scales", "a composite adds two or more scales of its instrument", "correct the list"
        )
    return Composite(
        name=row.required("name"),
        title=row.required("title"),
        scales=parts,
        source=row.required("source"),
    )


def _ranges(
    scales: Mapping[str, tuple[str, Scale]], composites: Mapping[str, tuple[str, Composite]]
) -> dict[str, tuple[float, float]]:
    """Score → (low, high) of scales and composites."""
    ranges = {name: (scale.low, scale.high) for name, (_, scale) in scales.items()}
    for name, (_, composite) in composites.items():
        parts = [scales[part][1] for part in composite.scales]
        ranges[name] = (sum(p.low for p in parts), sum(p.high for p in parts))
    return ranges


def _bands(rows: tuple[Row, ...], ranges: Mapping[str, tuple[float, float]]) -> tuple[Band, ...]:
    for row in rows:
        row.choice("score", ranges)
        row.choice("bands", BAND_NUMBERS)
    groups: dict[tuple[str, int], list[tuple[Row, Band]]] = {}
    for row in rows:
        band = Band(
            score=row.values["score"],
            bands=row.integer("bands"),
            number=row.integer("number"),
            label=row.required("label"),
            lower=row.decimal("lower"),
            upper=row.decimal("upper"),
            source=row.required("source"),
        )
        groups.setdefault((band.score, band.bands), []).append((row, band))
    for (score, _), group in groups.items():
        _check_bands(group, *ranges[score])
    return tuple(band for group in groups.values() for _, band in group)


def _check_bands(group: list[tuple[Row, Band]], low: float, high: float) -> None:
    """The bands of a whole-number score cover low … high without gap or overlap."""
    expected = low
    for row, band in sorted(group, key=lambda pair: pair[1].lower):
        if band.lower != expected or band.upper < band.lower:
            raise row.problem(
                "lower",
                f"the bands of {band.score} have a gap or overlap at {expected:g}",
                f"start this band at {expected:g}",
            )
        expected = band.upper + 1
    last, band = max(group, key=lambda pair: pair[1].upper)
    if expected != high + 1:
        raise last.problem(
            "upper", f"the bands of {band.score} end at {band.upper:g}, not {high:g}", "extend it"
        )
    if sorted(band.number for _, band in group) != list(range(1, band.bands + 1)):
        raise last.problem("number", f"bands are numbered 1 to {band.bands}", "renumber them")


def _instrument(
    row: Row,
    scales: Mapping[str, tuple[str, Scale]],
    composites: Mapping[str, tuple[str, Composite]],
    bands: tuple[Band, ...],
    variables: Mapping[str, Variable],
) -> Instrument:
    name = checked_name(row)
    own_scales = tuple(scale for owner, scale in scales.values() if owner == name)
    own_composites = tuple(c for owner, c in composites.values() if owner == name)
    own = {scale.name for scale in own_scales} | {c.name for c in own_composites}
    instrument = Instrument(
        name=name,
        title=row.required("title"),
        surveys=row.items("surveys", SURVEY_STAGES),
        stages=row.items("stages", ALL_STAGES),
        scales=own_scales,
        composites=own_composites,
        bands=tuple(band for band in bands if band.score in own),
        source=row.required("source"),
    )
    if not instrument.surveys and own_scales:
        return instrument
    asked = [variables[item.variable] for scale in own_scales for item in scale.items]
    if not asked or any(set(instrument.surveys) - set(v.surveys) for v in asked):
        raise row.problem("surveys", "an item is not asked in these surveys", "correct the list")
    if any(set(instrument.stages) - set(v.stages) for v in asked):
        raise row.problem("stages", "an item is not asked of these stages", "correct the list")
    return instrument
