"""The service map's optional columns: a CPP that keeps them sends them, the others need not.

Belongs here: purpose, duty, end of contract, evidence, source, budget (domain.md 8, entity). Does
not belong here: tiers, ages, cost (`test_take.py`), spend (tests/unit/services).
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from rcs_assets.codebook import Codebook, Sensitivity
from rcs_assets.intake.receipts import ReceiptStatus
from tests.unit.intake.conftest import World, services, write_xlsx

OPTIONAL: dict[str, Any] = {
    "purpose": "meals in the holidays",
    "is_statutory": "N",
    "contract_end": date(2017, 3, 31),
    "evidence_rating": "promising",
    "source_quality": "accounts",
    "apportioned_from": "b1",
}
SELECTED = ", ".join(OPTIONAL)


def sent(world: World, rows: list[dict[str, Any]]) -> None:
    world.deliver(write_xlsx(world.path("service_map"), rows))


def test_the_contract_has_every_optional_field_of_the_entity(codebook: Codebook) -> None:
    fields = {field.name: field for field in codebook.datasets["service_map"].fields}
    assert {name for name, field in fields.items() if field.may_be_absent} == set(OPTIONAL)
    assert all(fields[name].sensitivity is Sensitivity.PAYLOAD for name in OPTIONAL)


def test_optional_columns_are_kept_and_typed(delivered: World) -> None:
    blank = dict.fromkeys(OPTIONAL, None)
    full, empty = services()
    sent(delivered, [full | OPTIONAL, empty | blank])
    receipt = delivered.take("service_map")
    assert (receipt.accepted_n, receipt.quarantined_n) == (2, 0)
    kept = delivered.rows(f"select {SELECTED} from intake.service_map order by service_id")
    assert kept == [
        ("meals in the holidays", False, date(2017, 3, 31), "promising", "accounts", "b1"),
        (None,) * 6,
    ]


def test_a_map_without_them_reads_as_if_they_were_empty(delivered: World) -> None:
    sent(delivered, services())
    assert delivered.take("service_map").accepted_n == 2
    kept = delivered.rows(f"select distinct {SELECTED} from intake.service_map")
    assert kept == [(None,) * 6]


def test_each_of_them_may_stand_alone_and_anywhere(delivered: World) -> None:
    """An earlier map had other columns: what it said and the new one does not say is gone."""
    sent(delivered, [row | OPTIONAL for row in services()])
    delivered.take("service_map")
    for name, value in OPTIONAL.items():
        sent(delivered, [{name: value} | row for row in services()])
        assert delivered.take("service_map").accepted_n == 2
        others = ", ".join(f"count({other})" for other in OPTIONAL if other != name)
        found = delivered.rows(f"select count({name}), {others} from intake.service_map")
        assert found == [(2, 0, 0, 0, 0, 0)], name


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ("is_statutory", "perhaps", "value_not_allowed"),
        ("contract_end", "March 2017", "wrong_type"),
        ("contract_end", "2017-13-31", "wrong_type"),
        ("purpose", "@SUM(A1)", "formula"),
        ("purpose", "-1+cmd|' /C calc'!A0", "formula"),
        ("evidence_rating", "+1+X(1)", "formula"),
        ("evidence_rating", "x" * 5_000, "too_long"),
    ],
)
def test_a_cell_that_breaks_its_contract_sets_its_row_aside(
    delivered: World, column: str, cell: str, rule: str
) -> None:
    right, wrong = services()
    sent(delivered, [right | {column: None}, wrong | {column: cell}])
    receipt = delivered.take("service_map")
    assert (receipt.accepted_n, dict(receipt.reasons)) == (1, {rule: 1})
    place = delivered.rows(
        "select row_number, column_name from intake.quarantine where dataset = 'service_map'"
    )
    assert place == [(2, column)]


@pytest.mark.parametrize("name", ["purpose_of", "Purpose ", "surname"])
def test_a_column_that_only_looks_like_one_of_them_is_refused(delivered: World, name: str) -> None:
    sent(delivered, [row | {name: "x"} for row in services()])
    receipt = delivered.take("service_map")
    assert receipt.status == ReceiptStatus.REJECTED
    assert f"not in the contract: {name.strip()}." in receipt.reason
    assert delivered.rows("select count(*) from intake.service_map") == [(0,)]
