"""Sparse rows in plain arrays: choosing, joining and multiplying them.

Belongs here: the few operations that an attack does tens of thousands of times on systems so
small that scipy's checks would take longer than the work. Does not belong here: what the rows
mean (`told.py`, `asked.py`), components and products of matrices, which are scipy's (`matrix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Rows of a sparse matrix as CSR arrays: row i has the entries `starts[i]` to `starts[i + 1]`.

    `index`: column of each entry; `value`: its coefficient; `columns_n`: columns there are.
    """

    starts: IntArray
    index: IntArray
    value: FloatArray
    columns_n: int

    @staticmethod
    def of(matrix: csr_array) -> Rows:
        """Rows of a matrix."""
        starts, index = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
        return Rows(starts, index, matrix.data.astype(np.float64), matrix.shape[1])

    @staticmethod
    def stacked(parts: Sequence[Rows]) -> Rows:
        """Rows of several, one below the other; all have the same columns."""
        ends = np.cumsum([0, *(len(part.index) for part in parts)])
        starts = [part.starts[1:] + end for part, end in zip(parts, ends[:-1], strict=True)]
        return Rows(
            np.concatenate([[0], *starts]).astype(np.int32),
            np.concatenate([part.index for part in parts]),
            np.concatenate([part.value for part in parts]),
            parts[0].columns_n,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def row(self) -> IntArray:
        """The row of each entry."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.starts))

    def matrix(self) -> csr_array:
        """The same for scipy."""
        shape = (len(self), self.columns_n)
        return csr_array((self.value, self.index, self.starts), shape=shape)

    def times(self, x: FloatArray) -> FloatArray:
        """The matrix times a value of every column."""
        return self.sums(self.value * x[self.index])

    def weighing(self, y: FloatArray) -> FloatArray:
        """A weight of every row times the matrix: a value of every column."""
        found = np.bincount(self.index, self.value * y[self.row], minlength=self.columns_n)
        return np.asarray(found, dtype=np.float64)

    def sums(self, entries: FloatArray) -> FloatArray:
        """The sum of what stands at the entries of each row."""
        return np.asarray(np.bincount(self.row, entries, minlength=len(self)), dtype=np.float64)

    def some(self, at: NDArray[np.integer]) -> Rows:
        """Some rows, by position."""
        size = np.diff(self.starts)[at]
        starts = np.r_[0, np.cumsum(size)].astype(np.int32)
        entry = np.arange(starts[-1]) + np.repeat(self.starts[at] - starts[:-1], size)
        return Rows(starts, self.index[entry], self.value[entry], self.columns_n)

    def chosen(self, rows: BoolArray, columns: BoolArray) -> Rows:
        """Some rows in some columns, which are numbered anew."""
        kept = rows[self.row] & columns[self.index]
        size = np.bincount(self.row[kept], minlength=len(self))[rows]
        number = np.cumsum(columns, dtype=np.int32) - 1
        starts = np.r_[0, np.cumsum(size)].astype(np.int32)
        index = number[self.index[kept]].astype(np.int32)
        return Rows(starts, index, self.value[kept], int(columns.sum()))

    def moved(self, to: NDArray[np.integer], columns_n: int) -> Rows:
        """With column i at `to[i]` of so many."""
        return Rows(self.starts, to[self.index].astype(np.int32), self.value, columns_n)

    def beside(self, other: Rows) -> Rows:
        """The sum of two: in each row this one's entries, then the other's."""
        row = np.r_[self.row, other.row]
        order = np.argsort(row, kind="stable")
        index, value = np.r_[self.index, other.index], np.r_[self.value, other.value]
        starts = self.starts + other.starts
        return Rows(starts, index[order], value[order], self.columns_n)
