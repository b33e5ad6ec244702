"""Types of the codebook: what is measured, as data.

Belongs here: frozen dataclasses that describe variables, value sets, missing
codes, routing, questionnaire versions, instruments, cut-off sets, indicators
and the contracts of delivered files. Does not belong here: reading files
(`load.py`), and any rule that an adopter could want to change (that is data).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# The surveys that ask pupils; the third asks parents.
PUPIL_SURVEYS: Final = ("primary", "secondary")


@dataclass(frozen=True)
class MissingCode:
    """One reason why an answer is missing; negative, kept apart from the others.

    `leaves_denominator` is the default rule of policy.md (valid answers only);
    `leaves_hwb_denominator` the rule of the definition set "HWB parity".
    """

    code: int
    name: str
    label: str
    leaves_denominator: bool
    leaves_hwb_denominator: bool
    source: str


@dataclass(frozen=True)
class ValueSet:
    """Answer options: code (0 or above) to short label, in questionnaire order.

    `is_ordered`: all of them stand in the order of their codes, as on a scale.
    """

    name: str
    values: Mapping[int, str]
    is_ordered: bool = False


@dataclass(frozen=True)
class Routing:
    """The question is asked only if `variable` was answered with one of `codes`."""

    variable: str
    codes: frozenset[int]


@dataclass(frozen=True)
class Variable:
    """One question as harmonised over contractors and tranches.

    `surveys` of {primary, secondary, parent}; `stages` of {P4 … P7, S1 … S6},
    empty for the parent survey. `label` is short: licensed wording is not here.
    """

    name: str
    label: str
    theme: str
    value_set: str
    surveys: tuple[str, ...]
    stages: tuple[str, ...]
    is_sensitive: bool
    routing: Routing | None
    source: str


@dataclass(frozen=True)
class QuestionnaireVariable:
    """How one supplier names and codes one variable.

    `codes` maps the supplier's code to the codebook's (answers and missing codes), `labels`
    a supplier's code to other words that he may label it with.
    """

    variable: str
    supplier_name: str
    codes: Mapping[int, int]
    labels: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """One form of a questionnaire version that not every pupil was given.

    `code` is the supplier's in the column `Questionnaire.form_name`, `title` its label there;
    pupils of `stages` may have it; `left_out` are variables of the version that it does not ask.
    """

    name: str
    code: int
    title: str
    stages: tuple[str, ...]
    left_out: frozenset[str]
    source: str


@dataclass(frozen=True)
class Questionnaire:
    """One questionnaire version: a (tranche, survey, contractor).

    `uid_name`, `completed_on_name`, `wave_name`, `take_part_name` are the
    supplier's names of the technical columns; `take_part_yes` the code of consent.
    Where pupils had different `forms`, the column `form_name` says which; else both are empty.
    """

    name: str
    tranche: str
    survey: str
    contractor: str
    wave: int
    uid_name: str
    completed_on_name: str
    wave_name: str
    take_part_name: str
    take_part_yes: int
    variables: tuple[QuestionnaireVariable, ...]
    form_name: str = ""
    forms: tuple[Form, ...] = ()


@dataclass(frozen=True)
class Item:
    """One item of a scale; `reversed` items score `minimum + maximum - answer`.

    `points`: what each answer from `minimum` on counts, where that is not the answer itself.
    """

    variable: str
    position: int
    is_reversed: bool
    minimum: int
    maximum: int
    points: tuple[int, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """What the answers from `minimum` to `maximum` count, before reversing."""
        return self.points or tuple(range(self.minimum, self.maximum + 1))


class ScaleMethod(StrEnum):
    """How answered items make a score."""

    PRORATED_SUM = "prorated_sum"
    SUM = "sum"
    MEAN = "mean"
    MATRIX = "matrix"  # two items, looked up together: 10 x first + second in `conversion`


@dataclass(frozen=True)
class Scale:
    """One scale of an instrument.

    `min_answered` is the number of answered items below which the score is null
    under the rule "prorate"; under "complete" every item is needed.
    `conversion` names a table raw score → metric score, or is empty. Where
    `zero_variable` is answered with `zero_code`, the score is 0 whatever the items.
    """

    name: str
    title: str
    method: ScaleMethod
    items: tuple[Item, ...]
    min_answered: int
    low: float
    high: float
    conversion: str
    source: str
    zero_variable: str = ""
    zero_code: int = 0

    @property
    def metric_name(self) -> str:
        """Column of the converted score (`swemwbs_raw` → `swemwbs_metric`); empty without one."""
        has_metric = self.conversion and self.method is not ScaleMethod.MATRIX
        return f"{self.name.removesuffix('_raw')}_metric" if has_metric else ""


@dataclass(frozen=True)
class Composite:
    """A score that is the sum of other scales; null if any of them is null."""

    name: str
    title: str
    scales: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Band:
    """One band of a score: `lower ≤ score ≤ upper`; `bands` is 3 or 4."""

    score: str
    bands: int
    number: int
    label: str
    lower: float
    upper: float
    source: str


@dataclass(frozen=True)
class Instrument:
    """A set of scales that are scored together.

    One without `surveys` is ready but off: it can be scored by hand, no model computes it,
    and its items need not be variables of a questionnaire.
    """

    name: str
    title: str
    surveys: tuple[str, ...]
    stages: tuple[str, ...]
    scales: tuple[Scale, ...]
    composites: tuple[Composite, ...]
    bands: tuple[Band, ...]
    source: str


@dataclass(frozen=True)
class CutoffSet:
    """A frozen relative cut-off (policy.md, Table B): never recomputed with new data."""

    name: str
    score: str
    operator: str
    cut: float
    source_tranches: tuple[str, ...]
    mean: float | None
    sd: float | None
    k: float | None
    dated: str
    source: str


@dataclass(frozen=True)
class DefinitionSet:
    """A frozen way of counting, beside the current one.

    `missing_rule` is prorate or complete; `denominator` valid (valid answers) or hwb (with
    *prefer not to say*, as the Health and Wellbeing Census); `dated` is the day that it is of.
    """

    name: str
    title: str
    missing_rule: str
    denominator: str
    is_weighted: bool
    dated: str
    source: str

    def kept_missing(self, missing: Mapping[int, MissingCode]) -> list[int]:
        """Missing codes that stay in the denominator."""
        return sorted(
            code.code
            for code in missing.values()
            if not (
                code.leaves_hwb_denominator
                if self.denominator == "hwb"
                else code.leaves_denominator
            )
        )


class RuleKind(StrEnum):
    """How an indicator is made from answers or scores."""

    CODES = "codes"  # positive if the variable's answer is one of `positive_codes`
    ALL_OF = "all_of"  # positive if every variable is; base: every variable valid
    ANY_OF = "any_of"  # positive if one variable is; base: every variable valid
    SCORE_RANGE = "score_range"  # positive if lower ≤ score ≤ upper
    CUTOFF = "cutoff"  # positive by a frozen cut-off set
    MEAN = "mean"  # the score itself


@dataclass(frozen=True)
class IndicatorRule:
    """Numerator and denominator of an indicator, compiled to SQL by one macro.

    `variables` and `positive_codes` for codes/all_of/any_of; `score`, `lower`,
    `upper` for score_range; `cutoff_set` for cutoff; `score` for mean.
    `base_codes`: valid codes that stay in the denominator (all valid codes if empty).
    """

    kind: RuleKind
    variables: tuple[str, ...] = ()
    positive_codes: tuple[int, ...] = ()
    base_codes: tuple[int, ...] = ()
    score: str = ""
    lower: float | None = None
    upper: float | None = None
    cutoff_set: str = ""


@dataclass(frozen=True)
class Indicator:
    """One indicator of one survey.

    `domain` is a SHANARRI word, `second_domain` one or empty; `direction` is higher_better |
    lower_better | context; `statistic` is pct or mean. `title` is its name in plain English,
    `sentence` what a report says of it, with `{value}` and `{who}` in their places. `is_core`:
    a core indicator of the children, young people and families outcomes framework.
    """

    name: str
    title: str
    domain: str
    second_domain: str
    direction: str
    statistic: str
    survey: str
    stages: tuple[str, ...]
    rule: IndicatorRule
    definition: str
    denominator: str
    instrument: str
    is_sensitive: bool
    source: str
    sentence: str = ""
    is_core: bool = False

    @property
    def who(self) -> str:
        """Whom the indicator is about, as a report says it."""
        if not self.stages:
            return "parents"
        if len(self.stages) == 1:
            return f"pupils in {self.stages[0]}"
        numbers = [int(stage[1:]) for stage in self.stages]
        if numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2:
            return f"pupils in {self.stages[0]} to {self.stages[-1]}"
        return f"pupils in {', '.join(self.stages[:-1])} and {self.stages[-1]}"

    def say(self, value: str) -> str:
        """The sentence of the indicator with a value, such as `62%`."""
        return self.sentence.format(value=value, who=self.who)


class Sensitivity(StrEnum):
    """Where a delivered field may go."""

    IDENTIFIER = "identifier"  # vault only
    PAYLOAD = "payload"  # warehouse only
    BOTH = "both"  # spine fields that both need (engagement, sex, school): vault and warehouse
    TECHNICAL = "technical"  # read for checks, stored nowhere


@dataclass(frozen=True)
class Field:
    """One column of a delivered file.

    `kind`: text | integer | decimal | date | seed_code | scn | uid | postcode | datazone |
    stage | sex.
    `name` is ours, `column` the publisher's. `is_required`: no cell may be empty; the column
    itself must be there unless it `may_be_absent`. `allowed`: permitted values as text, empty if
    free within `kind`, `minimum`, `maximum`, `pattern`; where `separator` is set a cell holds
    several of them. `marks`: the publisher's suppression marks, which read as empty. `date_forms`:
    how a date is written where it is not as 2016-02-01 (strptime). `takes_parts`: where the day or
    the month of a date is not known (2016-02, 2016, 00 in their place), the first of the month or
    of the year stands for it. `may_be_absent`: a file without the column is read as if all its
    cells were empty.
    """

    name: str
    column: str
    kind: str
    is_required: bool
    sensitivity: Sensitivity
    allowed: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    description: str
    pattern: str = ""
    separator: str = ""
    marks: tuple[str, ...] = ()
    date_forms: tuple[str, ...] = ()
    takes_parts: bool = False
    may_be_absent: bool = False


@dataclass(frozen=True)
class RowRule:
    """A rule over several cells of one row; a row that breaks it is quarantined with its name.

    With a `total`, a number or another column, the columns sum to it within `tolerance`
    (units of the columns); without one they rise from left to right. Blank cells pass.
    """

    name: str
    columns: tuple[str, ...]
    total: float | str | None
    tolerance: float
    description: str


@dataclass(frozen=True)
class Dataset:
    """The contract of one kind of delivered file.

    `level` engagement | reference; `file_pattern` a regular expression over the
    file name with a group `engagement` where the level is engagement; `formats`
    file endings; `key` the fields that must be unique; `surveys` is set for
    survey files, whose answer columns come from the questionnaire version and whose `fields`
    are the technical columns, by our names (`uid`, `completed_on`, `wave`, `take_part`).
    `sheet` names the sheet of a workbook; `row_rules` judge cells of a row together;
    `mark_meanings` says what the publisher's marks in `Field.marks` stand for.
    """

    name: str
    title: str
    level: str
    file_pattern: str
    formats: tuple[str, ...]
    encoding: str
    other_encoding: str
    delimiter: str
    key: tuple[str, ...]
    survey: str
    is_required: bool
    owner: str
    cadence: str
    fields: tuple[Field, ...]
    description: str
    sheet: str = ""
    row_rules: tuple[RowRule, ...] = ()
    mark_meanings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionChange:
    """What a questionnaire version has otherwise than the versions before it asked.

    `change` not_asked | reworded | options | position | mode; names and codes that only the
    supplier has otherwise are no change of this kind: they are mapped. Where
    `breaks_comparability`, answers before and from this version on are never compared.
    """

    questionnaire: str
    variable: str
    change: str
    breaks_comparability: bool
    note: str
    source: str


@dataclass(frozen=True)
class Codebook:
    """Everything that is measured. `version` is the sha256 over the data files."""

    version: str
    missing: Mapping[int, MissingCode]
    value_sets: Mapping[str, ValueSet]
    variables: Mapping[str, Variable]
    questionnaires: Mapping[str, Questionnaire]
    instruments: Mapping[str, Instrument]
    conversions: Mapping[str, Mapping[int, float]]
    cutoff_sets: Mapping[str, CutoffSet]
    definition_sets: Mapping[str, DefinitionSet]
    indicators: Mapping[str, Indicator]
    datasets: Mapping[str, Dataset]
    version_changes: tuple[VersionChange, ...] = ()

    def questionnaire_for(self, tranche: str, survey: str) -> Questionnaire:
        """The questionnaire version of a survey in a tranche.

        Raises:
            KeyError: no such version; callers turn it into an InputError that names the file.
        """
        for questionnaire in self.questionnaires.values():
            if questionnaire.tranche == tranche and questionnaire.survey == survey:
                return questionnaire
        raise KeyError(f"{tranche}/{survey}")

    def stages_of(self, survey: str) -> frozenset[str]:
        """The stages that a survey asks: of its indicators, and of what is asked in no other."""
        asked = [i.stages for i in self.indicators.values() if i.survey == survey]
        asked += [v.stages for v in self.variables.values() if v.surveys == (survey,)]
        return frozenset(stage for stages in asked for stage in stages)

    def variables_of(self, survey: str) -> tuple[Variable, ...]:
        """The variables of one survey in codebook order."""
        return tuple(v for v in self.variables.values() if survey in v.surveys)
