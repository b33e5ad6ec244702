"""Contracts of delivered files in the Open Data Contract Standard, by its own Python model.

Belongs here: what of a contract stands where in the standard (v3.2), one document a dataset,
for a survey one a questionnaire version. Does not belong here: the contracts themselves
(`datasets.yaml`, `contracts.py`), from which intake works: the standard has no place for a
supplier's codes of missing answers, suppression marks and their meanings, or a file's second
encoding, so it is what suppliers and catalogues are given, not what is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rcs_assets.codebook.contracts import KIND_FORMS
from rcs_assets.codebook.model import (
    Codebook,
    Dataset,
    Field,
    Questionnaire,
    QuestionnaireVariable,
    RowRule,
)

if TYPE_CHECKING:
    from open_data_contract_standard.model import (
        DataQuality,
        OpenDataContractStandard,
        SchemaProperty,
    )

API_VERSION = "v3.2.0"
_LOGICAL_TYPES = {"integer": "integer", "decimal": "number", "date": "date"}
# Version of the contract: the codebook's hash is a digest, of which so much is enough.
_VERSION_DIGITS = 12


def open_contracts(codebook: Codebook) -> dict[str, OpenDataContractStandard]:
    """Every contract in the standard's model.

    Returns:
        File name without ending to document: the dataset's name, for surveys
        `<dataset>.<questionnaire version>`.
    """
    found = {}
    for dataset in codebook.datasets.values():
        if not dataset.survey:
            found[dataset.name] = _contract(codebook, dataset, None)
        for version in codebook.questionnaires.values():
            if version.survey == dataset.survey:
                name = f"{dataset.name}.{version.name}"
                found[name] = _contract(codebook, dataset, version)
    return found


def _contract(
    codebook: Codebook, dataset: Dataset, version: Questionnaire | None
) -> OpenDataContractStandard:
    from open_data_contract_standard.model import (
        CustomProperty,
        Description,
        OpenDataContractStandard,
        SchemaObject,
        ServiceLevelAgreementProperty,
        Team,
    )

    name = f"{dataset.name}.{version.name}" if version else dataset.name
    table = SchemaObject(
        name=dataset.name,
        physicalName=dataset.file_pattern,
        physicalType=dataset.formats[0],
        logicalType="object",
        dataGranularityDescription=f"One row one {', '.join(dataset.key)}",
        properties=_properties(codebook, dataset, version),
        quality=[_row_rule(rule) for rule in dataset.row_rules] or None,
    )
    custom = {
        "level": dataset.level,
        "isRequired": dataset.is_required,
        "formats": list(dataset.formats),
        "encoding": dataset.encoding,
        **({"questionnaire": version.name, "contractor": version.contractor} if version else {}),
        **({"marks": dict(dataset.mark_meanings)} if dataset.mark_meanings else {}),
    }
    return OpenDataContractStandard(
        apiVersion=API_VERSION,
        kind="DataContract",
        id=f"rcs-{name.replace('.', '-').replace('_', '-')}",
        name=dataset.title,
        version=codebook.version[:_VERSION_DIGITS],
        status="active",
        domain="children's services",
        description=Description(purpose=dataset.description),
        schema=[table],
        team=Team(name=dataset.owner),
        slaProperties=[ServiceLevelAgreementProperty(property="frequency", value=dataset.cadence)],
        customProperties=[CustomProperty(property=key, value=v) for key, v in custom.items()],
    )


def _properties(
    codebook: Codebook, dataset: Dataset, version: Questionnaire | None
) -> list[SchemaProperty]:
    names = {}
    if version:
        names = {
            "uid": version.uid_name,
            "completed_on": version.completed_on_name,
            "wave": version.wave_name,
            "take_part": version.take_part_name,
        }
    fields = [_field(dataset, field, names.get(field.name, "")) for field in dataset.fields]
    forms = [_forms(version)] if version and version.forms else []
    answers = [_answer(codebook, asked) for asked in (version.variables if version else ())]
    return [*fields, *forms, *answers]


def _field(dataset: Dataset, field: Field, column: str) -> SchemaProperty:
    from open_data_contract_standard.model import EnumValue, SchemaProperty

    limits = {
        "pattern": field.pattern or (f"^({form})$" if (form := KIND_FORMS[field.kind]) else ""),
        "minimum": field.minimum,
        "maximum": field.maximum,
    }
    logical = _LOGICAL_TYPES.get(field.kind, "string")
    kept = ("minimum", "maximum") if logical in ("integer", "number") else ("pattern",)
    options = {name: limits[name] for name in kept if limits[name] not in ("", None)}
    if logical == "date":
        options = {"format": _date_format(field)}
    # Several values in a cell: the standard's list of values is of whole cells.
    allowed = [] if field.separator else [EnumValue(value=value) for value in field.allowed]
    place = dataset.key.index(field.name) + 1 if field.name in dataset.key else None
    return SchemaProperty(
        name=field.name,
        physicalName=column or field.column,
        physicalType=field.kind,
        logicalType=logical,
        logicalTypeOptions=options or None,
        required=field.is_required,
        primaryKey=place is not None or None,
        primaryKeyPosition=place,
        classification=field.sensitivity.value,
        enum=allowed or None,
        description=field.description,
    )


def _date_format(field: Field) -> str:
    """The first form of a date in the standard's letters (those of Java)."""
    form = field.date_forms[0] if field.date_forms else "%Y-%m-%d"
    letters = {"%Y": "yyyy", "%m": "MM", "%d": "dd", "%H": "HH", "%M": "mm", "%S": "ss"}
    for ours, standard in letters.items():
        form = form.replace(ours, standard)
    return form


def _answer(codebook: Codebook, asked: QuestionnaireVariable) -> SchemaProperty:
    """A question in the supplier's name, with his codes and our short labels."""
    from open_data_contract_standard.model import EnumValue, SchemaProperty

    variable = codebook.variables[asked.variable]
    labels: dict[int, str] = dict(codebook.value_sets[variable.value_set].values)
    labels |= {code: missing.label for code, missing in codebook.missing.items()}
    return SchemaProperty(
        name=asked.variable,
        physicalName=asked.supplier_name,
        physicalType="numeric",
        logicalType="integer",
        required=False,
        classification="payload",
        enum=[EnumValue(value=code, label=labels[ours]) for code, ours in asked.codes.items()],
        description=variable.label,
    )


def _forms(version: Questionnaire) -> SchemaProperty:
    """Which form of the questionnaire a record has."""
    from open_data_contract_standard.model import EnumValue, SchemaProperty

    return SchemaProperty(
        name="form",
        physicalName=version.form_name,
        physicalType="numeric",
        logicalType="integer",
        required=True,
        classification="payload",
        enum=[EnumValue(value=form.code, label=form.title) for form in version.forms],
        description="Form of the questionnaire that the pupil had",
    )


def _row_rule(rule: RowRule) -> DataQuality:
    from open_data_contract_standard.model import DataQuality

    options: dict[str, Any] = {"type": "text", "name": rule.name, "description": rule.description}
    return DataQuality(**options)
