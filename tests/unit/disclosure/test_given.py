"""What callers hand in: kinds of tables and columns, and refusals by column and row."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcs_assets.disclosure import Hierarchy, Rule, Structure, audit, protect
from rcs_assets.errors import InputError, RcsError

STRUCTURE = Structure({"area": Hierarchy.flat(["a", "b"])})
AREAS = ["a", "b", "Total"]


def frame(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"area": AREAS, "n": values})


def named(*areas: Any) -> pd.DataFrame:
    return pd.DataFrame({"area": areas, "n": [3, 30, 33]})


def objects(*values: Any) -> pd.DataFrame:
    return frame(pd.Series(values, dtype=object))


def arrow(kind: pa.DataType, *values: Any) -> pa.Table:
    return pa.table({"area": AREAS, "n": pa.array(values, kind)})


def counted(kind: str) -> duckdb.DuckDBPyRelation:
    rows = "(values ('a', 3), ('b', 30), ('Total', 33)) as t(area, n)"
    return duckdb.sql(f"select area, n::{kind} as n from {rows}")


@pytest.mark.parametrize(
    "make",
    [
        lambda: objects(Decimal(3), Decimal(30), Decimal(33)),
        lambda: arrow(pa.decimal32(5, 1), *map(Decimal, (3, 30, 33))),
        lambda: arrow(pa.decimal256(50, 10), *map(Decimal, (3, 30, 33))),
        lambda: frame(pd.array([3, 30, 33], "Int64")),
        lambda: arrow(pa.float16(), *np.array([3, 30, 33], np.float16)),
        lambda: pa.table({"area": pa.array(AREAS, pa.string_view()), "n": [3, 30, 33]}),
        lambda: pa.table({"area": pa.array(AREAS).dictionary_encode(), "n": [3, 30, 33]}),
        lambda: counted("hugeint"),
        lambda: counted("decimal(38, 10)"),
    ],
)
def test_every_kind_of_count_is_read(make: Callable[[], Any]) -> None:
    protected = protect(make(), STRUCTURE, Rule(k=10))
    assert protected.column("status").to_pylist() == ["primary", "secondary", "published"]
    assert audit(protected, STRUCTURE).column("upper").to_pylist() == [33, 33]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: objects(Decimal(3), Decimal("Infinity"), Decimal(33)), r"no finite.*row 2"),
        (lambda: objects(Decimal(3), Decimal(10) ** 80, Decimal(33)), r"no finite.*row 2"),
        (lambda: objects(Decimal(10) ** 60, Decimal("1e-60"), None), r"have no place in one"),
        (lambda: objects(Decimal(3), 30.0, 33), r"several kinds: n.*row 2 is float"),
        (lambda: objects(Decimal(3), Decimal("NaN"), Decimal(33)), r"holds nulls.*row 2 \(area b"),
        (lambda: objects(3, 10**25, 33), r"no finite.*row 2"),
        (lambda: objects("3", "1,000", "1,003"), r"not numeric.*row 2"),
        (lambda: frame(np.array([3, 30, 33], complex)), r"not taken.*complex128"),
        (lambda: frame(pd.arrays.SparseArray([3, 30, 33])), r"not taken.*Sparse"),
        (lambda: frame([True, False, True]), r"not numeric.*type bool"),
        (lambda: frame([[3], [30], [33]]), r"not numeric.*type list"),
        (lambda: arrow(pa.uint64(), 3, 2**63, 2**63 + 3), r"beyond 2\^53.*row 2"),
        (lambda: pd.DataFrame([["a", 3, 3]], columns=["area", "n", "n"]), r"more than one.*'n'"),
        (lambda: named(["a"], ["b"], ["c"]), r"'area' holds what is no"),
        (lambda: pa.table({"area": [b"a", b"\xff", b""], "n": [3, 30, 33]}), r"no text.*row 2"),
        (lambda: named("a", None, "Total"), r"Unknown code.*row 2"),
        (lambda: {"area": AREAS}, "is no table"),
    ],
)  # fmt: skip
def test_what_is_no_count_is_refused_by_column_and_row(
    make: Callable[[], Any], said: str
) -> None:  # fmt: skip
    with pytest.raises(InputError, match=said) as refused:
        protect(make(), STRUCTURE, Rule(k=10))
    assert "1,000" not in str(refused.value), "a message never names a value"


ANYTHING = st.one_of(
    st.integers(0, 10**30),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=3),
    st.none(),
    st.booleans(),
    st.binary(max_size=2),
    st.dates(),
    st.complex_numbers(),
)


@settings(max_examples=150)
@given(values=st.lists(ANYTHING, min_size=3, max_size=3))
def test_whatever_stands_there_is_taken_or_refused_in_our_words(values: list[Any]) -> None:
    try:
        protected = protect(objects(*values), STRUCTURE, Rule(k=10))
    except RcsError:
        return
    assert len(audit(protected, STRUCTURE)) <= len(AREAS)


@pytest.mark.parametrize(
    ("low_ok", "said"),
    [
        ([np.nan] * 3, "asks for nothing"),
        ([None] * 3, "asks for nothing"),
        ([Decimal("NaN")] * 3, "asks for nothing"),
        ([np.nan, np.inf, np.nan], r"without an end.*row 2"),
        ([np.nan, -np.inf, np.nan], r"without an end.*row 2"),
        (["200", "x", None], r"'low_ok' is not numeric.*row 2"),
    ],
)
def test_bounds_that_were_lost_are_refused(low_ok: list[Any], said: str) -> None:
    """With or without a k: a column that is named and asks nothing was lost on the way."""
    table = frame([300.0, 3000.0, 3300.0]).assign(low_ok=pd.Series(low_ok, dtype=object))
    for k in (None, 10):
        with pytest.raises(InputError, match=said):
            protect(table, STRUCTURE, Rule(k=k, low_ok="low_ok"))


def test_one_table_of_several_may_ask_for_nothing() -> None:
    table = frame([300.0, 3000.0, 3300.0]).assign(low_ok=[200.0, np.nan, np.nan])
    bare = table.assign(low_ok=np.nan).rename(columns={"n": "other"})
    structures = [STRUCTURE, Structure(STRUCTURE.dimensions, value="other")]
    first, second = protect([table, bare], structures, Rule(k=None, low_ok="low_ok"))
    assert first.column("status").to_pylist() == ["primary", "secondary", "published"]
    assert set(second.column("status").to_pylist()) == {"published"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: protect(frame([3, 30, 33]), STRUCTURE, None), "argument rule"),  # type: ignore[arg-type]
        (lambda: protect(frame([3, 30, 33]), None, Rule()), "argument structure"),  # type: ignore[arg-type]
        (lambda: audit(frame([3, 30, 33]), {"area": "b"}), "argument structure"),  # type: ignore[arg-type]
        (lambda: audit(frame([3, 30, 33]), Structure(["area"])), "Structure.dimensions"),  # type: ignore[arg-type]
        (lambda: protect(frame([3, 30, 33]), Structure({"area": ["a"]}), Rule()), "Hierarchy"),  # type: ignore[dict-item]
        (lambda: Hierarchy(["a", "b"]), "Hierarchy"),  # type: ignore[arg-type]
        (lambda: Hierarchy.flat(None), "Hierarchy.flat"),  # type: ignore[arg-type]
        (lambda: Rule(zeros="no"), "Rule.zeros"),  # type: ignore[arg-type]
        (lambda: protect(fails(), STRUCTURE, Rule()), "withheld"),
    ],
)
def test_what_is_no_argument_is_refused(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        call()
    assert "SECRET" not in str(refused.value)


def fails() -> duckdb.DuckDBPyRelation:
    """A relation whose query fails with a value in DuckDB's message."""
    return duckdb.sql("select 'a' as area, (range || 'SECRET')::int as n from range(2)")
