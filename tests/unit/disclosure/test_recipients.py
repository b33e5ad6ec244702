"""Recipients who did not respond: shown where every part that the rows give is large enough."""

from __future__ import annotations

import itertools

import duckdb
import pytest

from rcs_assets.disclosure import load_policy
from rcs_assets.disclosure.recipients import protect_recipients, wrong_recipients

POLICY = load_policy()
K = max(POLICY.reach.numerator, POLICY.reach.complement)
# Pupils, with support by education, by social work, with both.
ANSWERED, SILENT = (400, 60, 40, 15), (150, 40, 33, 12)


def protected(con, answered=ANSWERED, silent=SILENT):
    con.execute("create schema if not exists services; create schema if not exists disclosure")
    con.execute(
        "create or replace table services.recipients (engagement varchar, survey varchar, "
        "has_responded boolean, pupils_n integer, asn_support_n integer, "
        "social_work_n integer, both_n integer, any_service_n integer)"
    )
    for has_responded, side in ((True, answered), (False, silent)):
        if side:
            pupils, asn, social, both = side
            con.execute(
                "insert into services.recipients values ('t1-a', 'primary', ?, ?, ?, ?, ?, ?)",
                [has_responded, pupils, asn, social, both, asn + social - both],
            )
    con.register("shown", protect_recipients(con, POLICY, ["t1-a"]))
    con.execute("create or replace table disclosure.recipients as from shown")
    rows = con.execute("from disclosure.recipients").to_arrow_table().to_pylist()
    return {row["service"]: row for row in rows}


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as connection:
        yield connection


def test_shares_are_those_of_the_recipients_rounded(con):
    rows = protected(con)
    said = {
        name: (row["status"], int(row["n"]), int(row["not_responded_pct"]))
        for name, row in rows.items()
    }
    assert said == {
        "asn_support": ("published", 100, 40),
        "social_work": ("published", 70, 45),
        "any_service": ("published", 150, 42),
    }
    assert wrong_recipients(con, POLICY) == []


@pytest.mark.parametrize(
    ("answered", "silent", "any_shown", "apart_shown"),
    [
        # Few have both, or one alone, on one side: either support would tell them.
        (ANSWERED, (150, 40, 33, K - 1), True, False),
        ((400, 60, 24, 15), SILENT, True, False),
        # Few recipients are silent, or few others.
        (ANSWERED, (150, 9, 0, 0), False, False),
        (ANSWERED, (70, 40, 33, 12), False, False),
        # All responded.
        (ANSWERED, None, False, False),
        # The base of a row.
        ((400, 20, 20, 10), (400, 13, 13, 13), False, False),
    ],
)
def test_a_small_part_hides_what_would_tell_it(con, answered, silent, any_shown, apart_shown):
    rows = protected(con, answered, silent)
    assert (rows["any_service"]["n"] is not None) == any_shown
    assert {rows[s]["n"] is not None for s in ("asn_support", "social_work")} == {apart_shown}
    assert all((row["n"] is None) == (row["status"] == "c") for row in rows.values())
    assert all((row["n"] is None) == (row["not_responded_pct"] is None) for row in rows.values())
    assert wrong_recipients(con, POLICY) == []


def test_no_part_that_shown_rows_give_is_small(con):
    """All tables near the threshold, the parts counted by hand."""
    near = (K - 1, K)
    for parts in itertools.product(near, near, near, near):
        only_asn, only_social, both, nobody = parts
        side = (sum(parts), only_asn + both, only_social + both, both)
        rows = protected(con, side, (400, 60, 60, 30))
        any_parts = (only_asn + only_social + both, nobody)
        assert (rows["any_service"]["n"] is not None) == (min(any_parts) >= K)
        if rows["asn_support"]["n"] is not None:
            assert min(parts) >= K
        assert wrong_recipients(con, POLICY) == []


@pytest.mark.parametrize(
    "damage",
    [
        "update disclosure.recipients set n = n + 10 where service = 'asn_support'",
        "update disclosure.recipients set not_responded_pct = 50 where service = 'any_service'",
        "update disclosure.recipients set status = 'c' where service = 'any_service'",
        "update services.recipients set both_n = 3, any_service_n = asn_support_n + "
        "social_work_n - 3 where has_responded",
    ],
)
def test_the_recount_finds_what_was_not_protected(con, damage):
    protected(con)
    con.execute(damage)
    assert wrong_recipients(con, POLICY)
