"""The columns of X that occur: those with a value that is not zero. Only they are inputs.

Hashed features have millions of columns, of which a text uses some. A network with inputs for the
columns that occur costs what occurs: in memory, in files and in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, issparse

from slide._base.arrays import Array, Ids, Matrix

_VALUES = 1 << 20  # values of X that are read at a time
_FLAGS = 1 << 22  # most columns with a flag each, unless X has more values
_PLACES_PER_ID = 16  # most places of a lookup table for each column that occurs
_BYTES_PER_WEIGHT = 12  # a weight, its first moment, and its place in a file


@dataclass(frozen=True)
class Columns:
    """The columns of X that a network has inputs for.

    Parameters
    ----------
    n_announced : int
        Number of columns of X.
    known : int32 (n,)
        The columns that have inputs, rising.
    inputs : int32 (n,)
        The input of each of them, a permutation of 0..n-1. Columns that came later have later
        inputs.
    """

    n_announced: int
    known: np.ndarray
    inputs: np.ndarray

    @classmethod
    def of_ids(cls, n_announced: int, ids: Ids) -> Columns:
        """Columns from the column of each input; ids : int32 (n,), distinct."""
        order = np.argsort(ids, kind="stable").astype(np.int32)
        return cls(n_announced, ids[order], order)

    @property
    def ids(self) -> Ids:
        """The column of each input, int32 (n,)."""
        ids = np.empty_like(self.known)
        ids[self.inputs] = self.known
        return ids

    def __len__(self) -> int:
        return len(self.known)

    def joined(self, x: Matrix) -> Columns:
        """These columns and all others that occur in x, which get inputs after all present ones."""
        found = occurring(x)
        new = found[self._inputs_of(found) < 0]
        if len(new) == 0:
            return self
        at, n = np.searchsorted(self.known, new), len(self)
        inputs = np.arange(n, n + len(new), dtype=np.int32)
        return Columns(
            self.n_announced, np.insert(self.known, at, new), np.insert(self.inputs, at, inputs)
        )

    def select(self, x: Matrix) -> Matrix:
        """The rows x, dense or CSR, as inputs; columns without an input are left out.

        The values of a CSR array are shared where all of its columns have inputs.
        """
        if not issparse(x):
            return np.ascontiguousarray(x[:, self.ids])
        inputs, values, indptr = self._inputs_of(x.indices), x.data, x.indptr
        known = inputs >= 0
        if not known.all():
            n_before = np.concatenate(([0], np.cumsum(known)))
            inputs, values = inputs[known], values[known]
            indptr = n_before[indptr].astype(indptr.dtype)
        selected = csr_array((values, inputs, indptr), shape=(x.shape[0], len(self)))
        if not self._in_order:
            # The values are shared with x, and must stay in its order there.
            selected = selected if values is not x.data else selected.copy()
            selected.has_sorted_indices = False
            selected.sort_indices()  # sums then have one order, whatever the container of X
        return selected

    @cached_property
    def _in_order(self) -> bool:
        return bool((self.inputs[1:] > self.inputs[:-1]).all())

    @cached_property
    def _table(self) -> Ids | None:
        """The input of every column, or -1; None where the table would be far larger than `ids`."""
        if self.n_announced > _PLACES_PER_ID * len(self):
            return None
        table = np.full(self.n_announced, -1, np.int32)
        table[self.known] = self.inputs
        return table

    def _inputs_of(self, columns: Array) -> Ids:
        """The inputs of some columns, -1 for those without one: int32, the shape of `columns`."""
        if self._table is not None:
            return np.asarray(self._table[columns])
        inputs = np.empty(columns.shape, np.int32)
        for start in range(0, len(columns), _VALUES):
            wanted = columns[start : start + _VALUES]
            places = np.minimum(np.searchsorted(self.known, wanted), len(self) - 1)
            found = self.known[places] == wanted
            inputs[start : start + _VALUES] = np.where(found, self.inputs[places], -1)
        return inputs


def columns_that_pay(x: Matrix, width: int) -> Columns | None:
    """The columns that occur in x, if a network for them saves memory; else None.

    A narrower network saves `_BYTES_PER_WEIGHT` for each of the `width` neurons and each column
    that does not occur. It costs a copy of the indices of x, or of its columns if it is dense.
    """
    if issparse(x) and x.shape[1] * width * _BYTES_PER_WEIGHT <= 4 * x.nnz:
        return None  # even if nothing occurred
    found = occurring(x)
    copied = 4 * (x.nnz if issparse(x) else x.shape[0] * len(found))
    if (x.shape[1] - len(found)) * width * _BYTES_PER_WEIGHT <= copied:
        return None
    # A network has one input at least.
    return Columns.of_ids(x.shape[1], found if len(found) else np.zeros(1, np.int32))


def occurring(x: Matrix) -> Ids:
    """The columns of x, dense or CSR, with a value that is not zero: int32, rising."""
    if not issparse(x):
        return np.flatnonzero(x.any(axis=0)).astype(np.int32)
    parts = (x.indices[start : start + _VALUES] for start in range(0, x.nnz, _VALUES))
    if x.shape[1] <= min(4 * x.nnz, max(_FLAGS, x.nnz)):
        occurs = np.zeros(x.shape[1], bool)
        for part in parts:
            occurs[part] = True
        return np.flatnonzero(occurs).astype(np.int32)
    return np.unique(np.concatenate([np.zeros(0, np.int32), *map(np.unique, parts)])).astype(
        np.int32
    )
