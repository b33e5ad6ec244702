"""What is measured: variables, questionnaires, instruments, indicators, file contracts, as data.

Belongs here: the codebook's types, its data files, their reading and cross-checks; the
single source for intake contracts, dbt sources, suites, reports and the dictionary. Does
not belong here: who takes part (`programme`), scoring (`wellbeing`), disclosure rules.
"""

from rcs_assets.codebook.load import load_codebook
from rcs_assets.codebook.model import (
    PUPIL_SURVEYS,
    Band,
    Codebook,
    Composite,
    CutoffSet,
    Dataset,
    Field,
    Form,
    Indicator,
    IndicatorRule,
    Instrument,
    Item,
    MissingCode,
    Questionnaire,
    QuestionnaireVariable,
    Routing,
    RuleKind,
    Scale,
    ScaleMethod,
    Sensitivity,
    ValueSet,
    Variable,
)
from rcs_assets.codebook.tables import codebook_tables

__all__ = [
    "PUPIL_SURVEYS",
    "Band",
    "Codebook",
    "Composite",
    "CutoffSet",
    "Dataset",
    "Field",
    "Form",
    "Indicator",
    "IndicatorRule",
    "Instrument",
    "Item",
    "MissingCode",
    "Questionnaire",
    "QuestionnaireVariable",
    "Routing",
    "RuleKind",
    "Scale",
    "ScaleMethod",
    "Sensitivity",
    "ValueSet",
    "Variable",
    "codebook_tables",
    "load_codebook",
]
