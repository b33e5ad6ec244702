"""Spend: costs spread over tiers and ages lose nothing and go where they belong."""

from __future__ import annotations

import duckdb
import pytest


@pytest.fixture(scope="session")
def spend(built, engagements):
    """Rows of services.spend of one engagement."""
    with duckdb.connect(str(built.home.warehouse), read_only=True) as con:
        return (
            con.execute("from services.spend where engagement = ?", [engagements[0]])
            .to_arrow_table()
            .to_pylist()
        )


def _total(rows, measure="gbp", **cell):
    return sum(row[measure] for row in rows if all(row[name] == cell[name] for name in cell))


def test_no_cost_is_lost_even_where_tier_shares_fall_short(spend, services):
    assert _total(spend) == pytest.approx(sum(service[7] for service in services), abs=0.01)
    assert _total(spend, sector="voluntary", tier="universal") == pytest.approx(1300 + 100)


def test_cost_follows_the_years_of_age_that_are_served(spend):
    assert _total(spend, funding_origin="council", age_band="5-11") == pytest.approx(8000 * 7 / 8)
    assert _total(spend, funding_origin="council", age_band="12-17") == pytest.approx(1000)
    bands = ("0-4", "5-11", "12-17", "18+")
    specialist = [_total(spend, tier="specialist", domain="active", age_band=b) for b in bands]
    assert specialist == pytest.approx([1300 * ages / 26 for ages in (5, 7, 6, 8)])


def test_tiers_get_their_shares_and_empty_cells_no_row(spend):
    council = [row for row in spend if row["funding_origin"] == "council"]
    assert _total(council, tier="targeted") == pytest.approx(800)
    assert {row["tier"] for row in council} == {"universal", "targeted"}


def test_services_of_one_provider_are_one_holding(spend):
    cell = [row for row in spend if row["provider_name"] == "Trust" and row["age_band"] == "0-4"]
    assert [(row["tier"], round(row["gbp"], 2)) for row in cell if row["tier"] == "universal"] == [
        ("universal", 1300 * 5 / 26 + 100)
    ]


def test_children_are_spread_like_the_cost_and_unknown_stays_unknown(spend):
    assert _total(spend, "children_n", funding_origin="council") == pytest.approx(100)
    unknown = [row["children_n"] for row in spend if row["age_band"] == "18+"]
    assert None in unknown


def test_budgets_stand_beside_what_is_mapped(built, engagements):
    with duckdb.connect(str(built.home.warehouse), read_only=True) as con:
        rows = con.execute(
            "select sector, budget_gbp, mapped_gbp from services.budget_gap "
            "where engagement = ? order by sector",
            [engagements[0]],
        ).fetchall()
    assert rows == [("education", 9000, 8600), ("health", 1500, 0), ("voluntary", 0, 2700)]
