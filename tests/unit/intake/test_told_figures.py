"""What Dagster's metadata say of deliveries: no small count, and none that follows from others."""

from __future__ import annotations

from rcs_assets.intake.assets import _figures, _table
from rcs_assets.intake.receipts import Receipt, ReceiptStatus


def receipt(received: int, quarantined: int, withdrawn: int = 0) -> Receipt:
    return Receipt(
        engagement="t1-clackmannanshire",
        dataset="education",
        file="a.csv",
        sha256="0" * 64,
        received_n=received,
        accepted_n=received - quarantined - withdrawn,
        quarantined_n=quarantined,
        withdrawn_n=withdrawn,
        status=ReceiptStatus.ACCEPTED,
        reason="",
        is_simulated=True,
    )


def test_a_small_count_does_not_follow_from_the_others() -> None:
    """184 received and 183 accepted would say that one row was quarantined."""
    told = _figures([receipt(184, 1)])
    names = ("received", "accepted", "quarantined", "withdrawn", "dagster/row_count")
    assert [told[name] for name in names] == ["184 to 192", 183, "<10", 0, 183]
    assert "| 184 to 192 | 183 | <10 | 0 |" in _table([receipt(184, 1)])
    # The same of any other small count.
    assert told == _figures([receipt(191, 8)])


def test_a_total_of_two_deliveries_tells_neither_small_count() -> None:
    """12 of the one are shown, so that 15 together would say 3 of the other."""
    told = _figures([receipt(103, 3), receipt(112, 12)])
    assert (told["quarantined"], told["received"]) == ("13 to 21", "213 to 221")
    assert _figures([receipt(103, 3), receipt(102, 2)])["quarantined"] == "2 to 18"


def test_what_is_not_small_is_exact() -> None:
    told = _figures([receipt(120, 12, 10)])
    names = ("received", "accepted", "quarantined", "withdrawn", "dagster/row_count")
    assert [told[name] for name in names] == [120, 98, 12, 10, 98]


def test_rows_are_not_counted_where_they_are_few() -> None:
    assert "dagster/row_count" not in _figures([receipt(5, 0)])
    assert _figures([receipt(0, 0)])["dagster/row_count"] == 0
