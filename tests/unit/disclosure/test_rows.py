"""Sparse rows do what the same does to a full matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from rcs_assets.disclosure.rows import Rows
from rcs_assets.disclosure.unknowns import both

NUMBERS = st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 2.5])
SIZES = st.tuples(st.integers(1, 7), st.integers(1, 7))


def full(rows: Rows) -> np.ndarray:
    return rows.matrix().toarray()


@st.composite
def matrices(draw):
    """A small matrix, and places of it."""
    matrix = draw(arrays(np.float64, draw(SIZES), elements=NUMBERS))
    at = draw(st.lists(st.integers(0, len(matrix) - 1), max_size=6))
    return matrix, np.array(at, dtype=np.int64)


@given(matrices())
def test_rows_are_taken_by_position_even_twice_or_none(found):
    matrix, at = found
    rows = Rows.of(csr_array(matrix))
    assert len(rows) == len(matrix)
    assert full(rows).tolist() == matrix.tolist()
    assert full(rows.some(at)).tolist() == matrix[at].tolist()


@given(matrices(), st.data())
def test_some_rows_in_some_columns(found, data):
    matrix, _ = found
    masks = [
        np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
        for size in matrix.shape
    ]
    chosen = Rows.of(csr_array(matrix)).chosen(*masks)
    assert chosen.columns_n == masks[1].sum()
    assert full(chosen).tolist() == matrix[masks[0]][:, masks[1]].tolist()


@given(matrices())
def test_products_of_both_sides(found):
    matrix, _ = found
    rows = Rows.of(csr_array(matrix))
    x, y = np.arange(1.0, matrix.shape[1] + 1), np.arange(1.0, len(matrix) + 1)
    assert np.allclose(rows.times(x), matrix @ x)
    assert np.allclose(rows.weighing(y), y @ matrix)
    assert np.allclose(rows.sums(np.abs(rows.value)), np.abs(matrix).sum(axis=1))


@given(matrices())
def test_rows_below_and_beside_one_another(found):
    matrix, at = found
    rows = Rows.of(csr_array(matrix))
    below = Rows.stacked([rows, Rows.of(csr_array(2 * matrix)).some(at), rows])
    assert full(below).tolist() == np.vstack([matrix, 2 * matrix[at], matrix]).tolist()
    width = matrix.shape[1]
    right = rows.moved(np.arange(width) + width, 2 * width)
    left = rows.moved(np.arange(width)[::-1], 2 * width)
    assert full(left.beside(right)).tolist() == np.hstack([matrix[:, ::-1], matrix]).tolist()


@given(matrices(), st.data())
def test_pupils_and_positive_answers_side_by_side(found, data):
    matrix, at = found
    signs = st.lists(NUMBERS, min_size=len(at), max_size=len(at))
    pupils, positive = (np.array(data.draw(signs), dtype=np.float64) for _ in range(2))
    expected = np.hstack([matrix[at] * pupils[:, None], matrix[at] * positive[:, None]])
    rows = both(csr_array(matrix), at, pupils, positive)
    assert full(rows).tolist() == expected.tolist()
    assert (rows.value != 0).all()


@pytest.mark.parametrize("columns_n", [0, 3])
def test_no_rows_have_products_too(columns_n):
    nothing = Rows.of(csr_array((0, columns_n)))
    assert nothing.times(np.ones(columns_n)).shape == (0,)
    assert nothing.weighing(np.zeros(0)).tolist() == [0.0] * columns_n
