"""How many of those left over have a partner: `remainder.py`, on evidence made by hand."""

from __future__ import annotations

import duckdb
import pytest

from rcs_assets.linkage.remainder import Remainder, estimate_share
from rcs_assets.linkage.settings import load_link_rules

LEFT_N, RIGHT_N, ALL_N = 100, 100, 1000
STRONG = 16.0


def estimated(partners_n: int, households: dict[float, int]) -> Remainder:
    """Left-over records: `partners_n` with strong evidence, and pairs of one household."""
    evidence = [(STRONG, False)] * partners_n
    evidence += [(bits, True) for bits, n in households.items() for _ in range(n)]
    with duckdb.connect() as con:
        con.execute("create table candidates (left_id text, right_id text, evidence double, "
                    "is_household boolean)")  # fmt: skip
        con.executemany(
            "insert into candidates values (?, ?, ?, ?)",
            [(f"l{n:03}", f"r{n:03}", *row) for n, row in enumerate(evidence)],
        )
        con.execute(f"create table rhs as from range({ALL_N})")
        return estimate_share(con, load_link_rules(), LEFT_N, RIGHT_N)


def test_pairs_of_one_household_tell_of_themselves_and_not_of_the_share():
    """A child whose forename is another in one file is left over beside its own household."""
    plain, with_own = estimated(20, {}), estimated(20, {STRONG: 10})
    # Nearly certain pairs, as the sibling rule weighed them: all ten have a partner.
    assert with_own.partners == pytest.approx(plain.partners + 10, abs=2.5)
    assert with_own.partners_low > plain.partners_low + 6
    assert with_own.partners_low < with_own.partners < with_own.partners_high <= LEFT_N
    # Ten brothers and sisters say nothing of the other records: the share stays.
    assert with_own.share == pytest.approx(plain.share, abs=0.03)
    assert estimated(0, {STRONG: 50}).share < 0.05


def test_a_pair_of_one_household_that_is_weak_counts_as_little():
    strangers = estimated(20, {1.0: 10})
    assert strangers.partners < estimated(20, {}).partners + 1
