"""Assembles cut-off sets and indicators from their data files.

Belongs here: what is reported of answers and scores, with numerator and denominator rule,
and the rules between indicators, variables and scores. Does not belong here: computing
indicator values (`wellbeing`), instruments (`measures.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rcs_assets.codebook.model import (
    CutoffSet,
    DefinitionSet,
    Indicator,
    IndicatorRule,
    Instrument,
    RuleKind,
    ValueSet,
    Variable,
)
from rcs_assets.codebook.names import checked_name
from rcs_assets.codebook.questions import SURVEY_STAGES, Rows
from rcs_assets.programme.datafile import Row

# The eight wellbeing outcomes: domain.md 5.
SHANARRI = (
    "safe",
    "healthy",
    "achieving",
    "nurtured",
    "active",
    "respected",
    "responsible",
    "included",
)
DIRECTIONS = ("higher_better", "lower_better", "context")
STATISTICS = ("pct", "mean")
MISSING_RULES = ("prorate", "complete")
DENOMINATORS = ("valid", "hwb")
OPERATORS = ("<", "<=", ">", ">=")
# Which columns of indicators.csv a rule needs; its other rule columns stay empty.
RULE_COLUMNS: Mapping[RuleKind, tuple[str, ...]] = {
    RuleKind.CODES: ("variables", "positive_codes"),
    RuleKind.ALL_OF: ("variables", "positive_codes"),
    RuleKind.ANY_OF: ("variables", "positive_codes"),
    RuleKind.SCORE_RANGE: ("score", "lower", "upper"),
    RuleKind.CUTOFF: ("cutoff_set",),
    RuleKind.MEAN: ("score",),
}
ANSWER_RULES = (RuleKind.CODES, RuleKind.ALL_OF, RuleKind.ANY_OF)


@dataclass(frozen=True)
class Score:
    """Where a score comes from and the range that it can take."""

    instrument: Instrument
    low: float
    high: float


@dataclass(frozen=True)
class Measures:
    """Everything that an indicator may refer to."""

    variables: Mapping[str, Variable]
    value_sets: Mapping[str, ValueSet]
    scores: Mapping[str, Score]
    cutoff_sets: Mapping[str, CutoffSet]

    def codes_of(self, variable: str) -> frozenset[int]:
        """The answer codes of a variable."""
        return frozenset(self.value_sets[self.variables[variable].value_set].values)


def scores_of(
    instruments: Mapping[str, Instrument], conversions: Mapping[str, Mapping[int, float]]
) -> dict[str, Score]:
    """Score → its instrument and range: scales, metric scores and composites."""
    scores: dict[str, Score] = {}
    for instrument in instruments.values():
        for scale in instrument.scales:
            scores[scale.name] = Score(instrument, scale.low, scale.high)
            if scale.metric_name:
                metric = conversions[scale.conversion].values()
                scores[scale.metric_name] = Score(instrument, min(metric), max(metric))
        for composite in instrument.composites:
            parts = [scores[name] for name in composite.scales]
            low, high = sum(p.low for p in parts), sum(p.high for p in parts)
            scores[composite.name] = Score(instrument, low, high)
    return scores


def read_cutoff_sets(rows: Rows, scores: Mapping[str, Score]) -> dict[str, CutoffSet]:
    """Name → frozen cut-off set; the cut lies inside the score's range, its tranches were asked."""
    asked = {row.values["tranche"] for row in rows["questionnaires.csv"]}
    return {
        row.required("name"): _cutoff_set(row, scores, asked) for row in rows["cutoff_sets.csv"]
    }


def _cutoff_set(row: Row, scores: Mapping[str, Score], asked: Collection[str]) -> CutoffSet:
    score = scores[row.choice("score", scores)]
    cut = row.decimal("cut")
    if not score.low <= cut <= score.high:
        raise row.problem(
            "cut", f"the score runs from {score.low:g} to {score.high:g}", "cut inside the range"
        )
    return CutoffSet(
        name=row.values["name"],
        score=row.values["score"],
        operator=row.choice("operator", OPERATORS),
        cut=cut,
        source_tranches=row.items("source_tranches", asked),
        mean=row.optional_decimal("mean"),
        sd=row.optional_decimal("sd"),
        k=row.optional_decimal("k"),
        dated=row.day("dated").isoformat(),
        source=row.required("source"),
    )


def read_definition_sets(rows: Rows) -> dict[str, DefinitionSet]:
    """Name → definition set; `current` is what everything published follows."""
    found = {
        row.required("name"): DefinitionSet(
            name=row.values["name"],
            title=row.required("title"),
            missing_rule=row.choice("missing_rule", MISSING_RULES),
            denominator=row.choice("denominator", DENOMINATORS),
            is_weighted=row.flag("is_weighted"),
            dated=row.day("dated").isoformat(),
            source=row.required("source"),
        )
        for row in rows["definition_sets.csv"]
    }
    for row in rows["definition_sets.csv"]:
        own = found[row.values["name"]]
        frozen = ("prorate", "valid", True)
        if own.name == "current" and frozen != (own.missing_rule, own.denominator, own.is_weighted):
            raise row.problem(
                "name",
                "`current` is what the models compute: prorated, valid answers, weighted",
                "add a set of another name",
            )
    return found


def read_indicators(rows: Rows, measures: Measures) -> dict[str, Indicator]:
    """Name → indicator in codebook order."""
    return {checked_name(row): _indicator(row, measures) for row in rows["indicators.csv"]}


def _indicator(row: Row, measures: Measures) -> Indicator:
    survey = row.choice("survey", SURVEY_STAGES)
    indicator = Indicator(
        name=row.values["name"],
        title=row.required("title"),
        domain=row.choice("domain", SHANARRI),
        second_domain=row.choice("second_domain", {"", *SHANARRI}),
        direction=row.choice("direction", DIRECTIONS),
        statistic=row.choice("statistic", STATISTICS),
        survey=survey,
        stages=row.items("stages", SURVEY_STAGES[survey]),
        rule=_rule(row, measures),
        definition=row.required("definition"),
        denominator=row.required("denominator"),
        instrument=row.text("instrument"),
        is_sensitive=row.flag("is_sensitive"),
        source=row.required("source"),
        sentence=row.required("sentence"),
        is_core=row.flag("is_core"),
    )
    if sorted(re.findall(r"{[^}]*}", indicator.sentence)) != ["{value}", "{who}"]:
        raise row.problem(
            "sentence", "a sentence has {value} and {who}, each once", "see the other rows"
        )
    if not indicator.name.startswith(f"{survey}_"):
        raise row.problem("name", "a name starts with its survey", f"write `{survey}_...`")
    if (indicator.rule.kind is RuleKind.MEAN) != (indicator.statistic == "mean"):
        raise row.problem("statistic", "rule `mean` has statistic mean, others pct", "correct it")
    if indicator.rule.kind in ANSWER_RULES:
        _check_answers(row, indicator, measures)
    else:
        _check_score(row, indicator, measures)
    return indicator


def _rule(row: Row, measures: Measures) -> IndicatorRule:
    kind = RuleKind(row.choice("rule", list(RuleKind)))
    needed = RULE_COLUMNS[kind]
    every = {column for columns in RULE_COLUMNS.values() for column in columns}
    for column in sorted(every):
        if bool(row.text(column)) != (column in needed):
            raise row.problem(
                column, f"rule `{kind}` uses {', '.join(needed)} and nothing else", "correct it"
            )
    return IndicatorRule(
        kind=kind,
        variables=row.items("variables", measures.variables),
        positive_codes=row.integers("positive_codes"),
        base_codes=row.integers("base_codes"),
        score=row.choice("score", {"", *measures.scores}),
        lower=row.optional_decimal("lower"),
        upper=row.optional_decimal("upper"),
        cutoff_set=row.choice("cutoff_set", {"", *measures.cutoff_sets}),
    )


def _check_answers(row: Row, indicator: Indicator, measures: Measures) -> None:
    rule = indicator.rule
    if rule.kind is RuleKind.CODES and len(rule.variables) != 1:
        raise row.problem("variables", "rule `codes` looks at one variable", "use all_of or any_of")
    for name in rule.variables:
        variable = measures.variables[name]
        if indicator.survey not in variable.surveys:
            raise row.problem(
                "variables",
                f"{name} is not asked in the {indicator.survey} survey",
                "use a variable of that survey",
            )
        if set(indicator.stages) - set(variable.stages):
            raise row.problem("stages", f"{name} is not asked of these stages", "drop the stage")
        _check_codes(row, name, measures)
        _check_sensitive(row, indicator, variable)
    if bool(indicator.stages) != (indicator.survey != "parent"):
        raise row.problem("stages", "pupil indicators list stages, parent ones none", "correct it")
    if rule.base_codes and not set(rule.positive_codes) <= set(rule.base_codes):
        raise row.problem("base_codes", "positive answers belong to the base", "add them")


def _check_codes(row: Row, variable: str, measures: Measures) -> None:
    for column in ("positive_codes", "base_codes"):
        unknown = set(row.integers(column)) - measures.codes_of(variable)
        if unknown:
            raise row.problem(
                column, f"{variable} has no answer {min(unknown)}", "see value_sets.csv"
            )


def _check_sensitive(row: Row, indicator: Indicator, variable: Variable) -> None:
    """Policy.md, Table A: an indicator is at least as sensitive as what it is made of."""
    if variable.is_sensitive and not indicator.is_sensitive:
        raise row.problem("is_sensitive", f"{variable.name} is sensitive, so is this", "write yes")


def _check_score(row: Row, indicator: Indicator, measures: Measures) -> None:
    rule = indicator.rule
    name = rule.score or measures.cutoff_sets[rule.cutoff_set].score
    score = measures.scores[name]
    instrument = score.instrument
    if indicator.survey not in instrument.surveys or indicator.instrument != instrument.name:
        raise row.problem(
            "instrument", f"{name} is a score of {instrument.name}", "correct instrument or survey"
        )
    if not indicator.stages or set(indicator.stages) - set(instrument.stages):
        raise row.problem("stages", f"{name} is not scored for these stages", "correct the list")
    lower = score.low if rule.lower is None else rule.lower
    upper = score.high if rule.upper is None else rule.upper
    if rule.cutoff_set:
        _check_said(row, measures.cutoff_sets[rule.cutoff_set])
    if not score.low <= lower <= upper <= score.high:
        raise row.problem(
            "lower", f"{name} runs from {score.low:g} to {score.high:g}", "correct the range"
        )
    for scale in instrument.scales:
        for item in scale.items:
            _check_sensitive(row, indicator, measures.variables[item.variable])


def _check_said(row: Row, cutoff: CutoffSet) -> None:
    """Readers are told the definition: where it names a number, the cut-off is among them."""
    for column in ("title", "definition"):
        said = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", row.text(column))]
        if said and cutoff.cut not in said:
            raise row.problem(
                column,
                f"it names a number, and not the cut-off {cutoff.cut:g} of {cutoff.name}",
                f"write {cutoff.cut:g} in its row of config/indicators.csv, or no number",
            )
