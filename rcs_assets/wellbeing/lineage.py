"""From a published column back to the questions that it is made of, column by column.

Belongs here: the chain of an indicator through the tables of the warehouse, from the codebook
that the models themselves are compiled from. Does not belong here: drawing it (docs) or
telling it to Dagster (`assets.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rcs_assets.codebook.model import Codebook, Indicator, Instrument, Scale

Column = tuple[str, str]  # table, column
ITEMS, SCORES = "wellbeing.item_answers", "wellbeing.scores"
VALUES, PARENT_VALUES = "wellbeing.indicator_values", "wellbeing.parent_indicator_values"
WEIGHTS = "wellbeing.weights"


@dataclass(frozen=True)
class Chain:
    """What one indicator is made of: scores (nearest first) and variables, in their tables."""

    indicator: Indicator
    value: Column
    scores: tuple[str, ...]
    variables: tuple[str, ...]
    answers: str

    @property
    def delivered(self) -> str:
        """The table of delivered answers."""
        return f"intake.{self.indicator.survey}_survey"


def chain_of(codebook: Codebook, name: str) -> Chain:
    """The chain of an indicator.

    Raises:
        KeyError: the codebook has no such indicator.
    """
    indicator = codebook.indicators[name]
    rule = indicator.rule
    is_parent = indicator.survey == "parent"
    value = (PARENT_VALUES if is_parent else VALUES, name)
    answers = "intake.parent_survey" if is_parent else ITEMS
    score = rule.score or (codebook.cutoff_sets[rule.cutoff_set].score if rule.cutoff_set else "")
    if not score:
        return Chain(indicator, value, (), rule.variables, answers)
    inputs = score_inputs(codebook)
    nearer = [score]
    for found in nearer:
        nearer += [name for table, name in inputs[found] if table == SCORES and name not in nearer]
    variables = dict.fromkeys(
        name for found in nearer for table, name in inputs[found] if table == ITEMS
    )
    return Chain(indicator, value, tuple(nearer), tuple(variables), answers)


def score_inputs(codebook: Codebook) -> dict[str, list[Column]]:
    """Column of wellbeing.scores → the columns that it is computed from."""
    found: dict[str, list[Column]] = {}
    for instrument in codebook.instruments.values():
        if instrument.surveys:
            found |= _instrument_inputs(instrument)
    return found


def _instrument_inputs(instrument: Instrument) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    for scale in instrument.scales:
        found[scale.name] = [(ITEMS, name) for name in _items(scale)]
        if scale.metric_name:
            found[scale.metric_name] = [(SCORES, scale.name)]
    for composite in instrument.composites:
        found[composite.name] = [(SCORES, name) for name in composite.scales]
    for band in instrument.bands:
        found[f"{band.score}_band{band.bands}"] = [(SCORES, band.score)]
    return found


def _items(scale: Scale) -> list[str]:
    gate = [scale.zero_variable] if scale.zero_variable else []
    return [*(item.variable for item in scale.items), *gate]


def model_lineage(codebook: Codebook) -> dict[str, Mapping[str, list[Column]]]:
    """Model → its columns → the columns that each is computed from."""
    answers = {
        name: [
            (f"intake.{survey}_survey", name) for survey in variable.surveys if survey != "parent"
        ]
        for name, variable in codebook.variables.items()
        if set(variable.surveys) & {"primary", "secondary"}
    }
    values: dict[str, dict[str, list[Column]]] = {VALUES: {}, PARENT_VALUES: {}}
    for name in codebook.indicators:
        chain = chain_of(codebook, name)
        table, column = chain.value
        values[table][column] = (
            [(SCORES, chain.scores[0])]
            if chain.scores
            else [(chain.answers, variable) for variable in chain.variables]
        )
    return {ITEMS: answers, SCORES: score_inputs(codebook), **values}


def estimate_inputs(codebook: Codebook) -> list[Column]:
    """What the column `estimate` of wellbeing.estimates is computed from."""
    return [*(chain_of(codebook, name).value for name in codebook.indicators), (WEIGHTS, "weight")]
