"""Centering of dense features before they reach the engine.

A step along the mean row moves all pre-activations at once, so while features are far from zero
little else is learnt: centered, Fashion-MNIST gains 1.2 points in 5 epochs and unscaled wine goes
from .74 to .98; dividing by the standard deviations as well gains nothing more on average.
"""

import numpy as np
from scipy.sparse import issparse

from slide._base.arrays import Floats, Matrix
from slide._base.limits import check_copy

# X counts as dense, whatever its container, if more than this share of its values is not zero.
# Below it the zeros make a row cheap, and the mean is small.
_DENSE = 0.25


def is_sparse(x: Matrix) -> bool:
    """Whether most values of x, dense or CSR, are zero: then x is not centered."""
    n_values = x.nnz if issparse(x) else np.count_nonzero(x)
    return bool(n_values <= _DENSE * x.shape[0] * x.shape[1])


def centered_by_mean(x: Matrix, weights: Floats | None) -> tuple[Matrix, Floats | None]:
    """x minus its weighted mean row, dense, and that row, float32 (n_features,).

    For sparse x, or rows that are all alike, x itself and None. x : float32 (n, n_features), dense
    or CSR; weights : float32 (n,) or None.
    """
    if is_sparse(x):
        return x, None
    check_copy(x.shape)
    dense = x.toarray() if issparse(x) else x
    # Rows that are all alike have no spread about their mean to take a scale from.
    if not ((dense[0] != dense[-1]).any() or np.ptp(dense, axis=0).any()):
        return x, None
    if weights is None:
        mean = dense.mean(axis=0, dtype=np.float64)
    else:
        total = np.einsum("i,ij->j", weights, dense, dtype=np.float64)
        mean = total / weights.sum(dtype=np.float64)
    mean = mean.astype(np.float32)
    return np.subtract(dense, mean, out=dense if issparse(x) else None), mean


def centered(x: Matrix, mean: Floats | None) -> Matrix:
    """x minus the mean row, dense; x itself if that is None."""
    if mean is None:
        return x
    check_copy(x.shape)
    if not issparse(x):
        return x - mean
    x = x.toarray()
    x -= mean
    return x
