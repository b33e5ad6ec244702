"""What every dbt model must say of itself, read from the project's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rcs_assets.wellbeing.scoring import project_dir

MODELS = sorted(project_dir().glob("models/*/*.sql"))
# Their columns are compiled from the codebook: a new item or indicator is a new column.
FOLLOW_THE_CODEBOOK = {
    "wellbeing__indicator_values",
    "wellbeing__item_answers",
    "wellbeing__parent_indicator_values",
    "wellbeing__scores",
}


def described(model: Path) -> dict[str, Any]:
    models = yaml.safe_load(model.with_suffix(".yml").read_text(encoding="utf-8"))["models"]
    assert [found["name"] for found in models] == [model.stem]
    return dict(models[0])


def test_the_models_are_there() -> None:
    assert {model.stem for model in MODELS} > FOLLOW_THE_CODEBOOK


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_every_model_says_what_a_row_is(model: Path) -> None:
    found = described(model)
    assert found["description"].strip()
    assert found["meta"]["grain"].startswith("one ")
    assert found["meta"]["zone"] == "warehouse"
    assert found["meta"]["sensitivity"] in {"pseudonymised", "aggregate"}
    names = [column["name"] for column in found["columns"]]
    assert len(set(names)) == len(names)
    assert all(column.get("description", "").strip() for column in found["columns"])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_a_test_holds_the_grain_of_every_model(model: Path) -> None:
    found = described(model)
    of_columns = [test for column in found["columns"] for test in column.get("data_tests", [])]
    of_model = [name for test in found.get("data_tests", []) for name in test]
    assert "unique" in of_columns or "unique_combination" in of_model


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_fixed_columns_are_under_contract_and_those_of_the_codebook_under_tests(
    model: Path,
) -> None:
    found = described(model)
    if model.stem in FOLLOW_THE_CODEBOOK:
        assert any(
            name.endswith(("_in_range", "_in_codebook"))
            for test in found["data_tests"]
            for name in test
        )
    else:
        assert found["config"]["contract"]["enforced"] is True
        assert all(column["data_type"] for column in found["columns"])
