"""Sparse matrices of users, judged by their indices alone, and never changed.

SciPy caches whether indices rise and keeps the answer when a user changes them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from slide._base.arrays import Matrix


def check_structure(name: str, matrix: Any) -> None:
    """Refuse a sparse matrix with indices outside its shape; SciPy does not check them."""
    if not issparse(matrix):
        return
    problem = None
    if matrix.format in ("csr", "csc", "bsr"):
        problem = _problem_of_compressed(matrix)
    elif matrix.format == "coo":
        for ids, size in zip(matrix.coords, matrix.shape, strict=True):
            if len(ids) != len(matrix.data) or ids.dtype.kind != "i":
                problem = "its indices must be as many ints as there are values"
            elif len(ids) and not 0 <= ids.min() <= ids.max() < size:
                problem = f"its indices must lie within its shape {matrix.shape}"
    elif matrix.format == "lil":
        problem = _problem_of_lists(matrix)
    elif matrix.format == "dia":
        problem = _problem_of_diagonals(matrix)
    elif matrix.format == "dok" and not _all_within(matrix.shape, matrix.keys()):
        problem = f"its indices must be ints within its shape {matrix.shape}"
    if problem:
        raise ValueError(f"{name} is not a valid {matrix.format} matrix: {problem}")


def _problem_of_lists(matrix: Any) -> str | None:
    if len(matrix.rows) != matrix.shape[0] or len(matrix.data) != matrix.shape[0]:
        return f"it must have as many lists as rows of its shape {matrix.shape}"
    for ids, values in zip(matrix.rows, matrix.data, strict=True):
        if len(ids) != len(values) or not _within(matrix.shape[1], ids):
            return f"its indices must be ints within its shape {matrix.shape}"
    return None


def _problem_of_diagonals(matrix: Any) -> str | None:
    offsets = matrix.offsets
    if offsets.dtype.kind != "i" or matrix.data.ndim != 2 or offsets.shape != matrix.data.shape[:1]:
        return "it must have one offset, an int, for each diagonal"
    if len(np.unique(offsets)) != len(offsets):
        return "it must have one diagonal for each offset"
    return None


def _all_within(shape: tuple[int, ...], places: Collection[Any]) -> bool:
    """Whether places, a tuple of indices or one index each, lie within a shape."""
    if len(shape) == 1:
        return _within(shape[0], places)
    by_axis = zip(shape, zip(*places, strict=True), strict=True)
    return not places or all(_within(size, ids) for size, ids in by_axis)


def _within(size: int, ids: Collection[Any]) -> bool:
    """Whether all ids are ints in [0, size)."""
    are_ints = all(issubclass(kind, int | np.integer) for kind in set(map(type, ids)))
    return are_ints and (not ids or (min(ids) >= 0 and max(ids) < size))


def _problem_of_compressed(matrix: Any) -> str | None:
    indptr, indices = matrix.indptr, matrix.indices
    if indices.dtype.kind + indptr.dtype.kind != "ii":
        return "its indices are no ints"
    shape = matrix.shape
    if matrix.format == "bsr":
        shape = tuple(size // block for size, block in zip(shape, matrix.blocksize, strict=True))
    # A CSR array of one dimension has one row.
    n_major, n_minor = shape[::-1] if matrix.format == "csc" else (1, *shape)[-2:]
    if indptr.shape != (n_major + 1,) or indices.ndim != 1 or len(indices) != len(matrix.data):
        return f"its indices, index pointers and values must have the sizes of shape {matrix.shape}"
    if indptr[0] != 0 or indptr[-1] > len(indices) or (indptr[1:] < indptr[:-1]).any():
        return "its index pointers must rise from 0 to the number of values"
    indices = indices[: indptr[-1]]
    if len(indices) and not 0 <= indices.min() <= indices.max() < n_minor:
        return f"its indices must lie within its shape {matrix.shape}"
    return None


def without_spare(matrix: Any) -> Any:
    """The matrix, without the places behind its last value, which may hold anything."""
    if matrix.format not in ("csr", "csc", "bsr") or len(matrix.data) == matrix.indptr[-1]:
        return matrix
    end = matrix.indptr[-1]
    arrays = (matrix.data[:end], matrix.indices[:end], matrix.indptr)
    return type(matrix)(arrays, shape=matrix.shape)


def tidy(x: Matrix) -> Matrix:
    """A CSR matrix with rising indices, none twice, and without stored zeros.

    It is `x` if `x` is tidy, else a copy.
    """
    end = x.indptr[-1]  # the arrays may be longer
    data, indices = x.data[:end], x.indices[:end]
    # A new object knows nothing of what was cached for the old one.
    fresh = csr_array((data, indices, x.indptr), shape=x.shape)
    if fresh.has_canonical_format and data.all():
        return x if len(x.data) == end else fresh
    copy = csr_array((data, indices, x.indptr), shape=x.shape, copy=True)
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy
