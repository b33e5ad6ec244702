"""Contracts in the Open Data Contract Standard: valid by its schema, telling all they can."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml
from open_data_contract_standard.model import OpenDataContractStandard

from rcs_assets.codebook import load_codebook
from rcs_assets.codebook.odcs import open_contracts

CONTRACTS = open_contracts(load_codebook())


# One version of each survey: the others differ in names and codes only, and each takes seconds.
VALIDATED = [name for name in CONTRACTS if "." not in name or ".t1-" in name]


@pytest.mark.filterwarnings("ignore:open_text is deprecated")
@pytest.mark.parametrize("name", VALIDATED)
def test_each_is_valid_by_the_schema_of_the_standard(name: str) -> None:
    schema = json.loads(OpenDataContractStandard.json_schema())
    text = CONTRACTS[name].to_yaml()
    jsonschema.validate(yaml.safe_load(text), schema)
    assert OpenDataContractStandard.from_string(text) == CONTRACTS[name]


def test_every_field_of_every_contract_is_there() -> None:
    codebook = load_codebook()
    for name, contract in CONTRACTS.items():
        dataset = codebook.datasets[name.partition(".")[0]]
        assert contract.schema_ is not None
        properties = {p.name: p for p in contract.schema_[0].properties or []}
        for field in dataset.fields:
            found = properties[field.name]
            assert found.classification == field.sensitivity.value
            assert found.required == field.is_required
            assert bool(found.primaryKey) == (field.name in dataset.key)
        version = codebook.questionnaires.get(name.partition(".")[2])
        asked = {used.variable: used for used in version.variables} if version else {}
        forms = {form.code for form in version.forms} if version else set()
        assert set(properties) == (
            {field.name for field in dataset.fields} | set(asked) | ({"form"} if forms else set())
        )
        if forms:
            assert {e.value for e in properties["form"].enum or []} == forms
        for variable, used in asked.items():
            assert properties[variable].physicalName == used.supplier_name
            assert {e.value for e in properties[variable].enum or []} == set(used.codes)


def test_forms_and_dates_are_told_in_the_words_of_the_standard() -> None:
    def options(contract: str, field: str) -> object:
        table = (CONTRACTS[contract].schema_ or [])[0]
        return next(p for p in table.properties or [] if p.name == field).logicalTypeOptions

    assert options("sample_file", "scn") == {"pattern": "^([0-9]{9})$"}
    assert options("sample_file", "date_of_birth") == {"format": "yyyy-MM-dd"}
    assert options("council_codes", "council_from") == {"format": "yyyyMMdd"}
    assert options("education_payload", "attendance_pct") == {"minimum": 0.0, "maximum": 100.0}
