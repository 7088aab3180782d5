"""Sums of products in one thread, without BLAS.

BLAS splits long sums among its threads. The last bits of its results therefore depend on the number
of processors, and on limits that a worker of joblib or a container sets. Nothing that BLAS or
LAPACK computes may decide a weight. `einsum` without `optimize` runs loops of NumPy's own.
"""

from typing import Any

import numpy as np

from slide._base.arrays import Array


def dot(a: Array, b: Array) -> Any:
    """The inner product of two vectors of one dtype, summed in that dtype."""
    return np.einsum("i,i->", a, b)


def rows_dot(rows: Array, vector: Array) -> Array:
    """The inner product of every row of a matrix with a vector, as `dot`."""
    return np.asarray(np.einsum("ij,j->i", rows, vector))
