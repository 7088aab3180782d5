"""Checks of X, y and sample weights, and their conversion to the engine's form."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils.validation import validate_data

from slide._base.arrays import Array, Floats, Matrix
from slide._base.handlers import raise_from_handler
from slide._base.values import MAX_INT, refusing, shown
from slide._data.exact import exact_array
from slide._data.features import as_features, explaining
from slide._data.structure import tidy
from slide._data.target import read_target, row_counts_differ

_MAX_VALUE = 1e16  # gradients grow with X, and their squares are float32


def check_rows(estimator: object, X: Any, *y: Any, reset: bool) -> Any:
    """Check X, and y if given; returns X as C-contiguous float32 or canonical CSR, and a Target."""
    target = read_target(*y, warn=True) if y else None
    checked = _canonical(_as_numbers(estimator, X, reset))
    if target is None:
        return checked
    if checked.shape[0] != len(target):
        raise ValueError(row_counts_differ(checked.shape[0], len(target)))
    return checked, target


def _as_numbers(estimator: object, X: Any, reset: bool) -> Matrix:
    """X as float32, dense in C order or CSR, with the checks of scikit-learn."""
    # A float64 too large for float32 becomes infinity and is refused as such.
    with np.errstate(over="ignore", invalid="ignore"), explaining(X), refusing("X"):
        X = as_features(X)
        return validate_data(
            estimator, X, accept_sparse="csr", dtype=np.float32, order="C", reset=reset
        )


def check_weights(sample_weight: Any, n_rows: int) -> Floats | None:
    """Check sample_weight, and divide it by the mean of its positive values.

    Returns float32 (n_rows,), or None for None.
    """
    if sample_weight is None:
        return None
    weights: Floats = read_weights(sample_weight, n_rows, np.float32)
    # Only ratios of weights count. Divided by their mean, weights cannot underflow in a gradient.
    mean: np.float64 = weights.mean(dtype=np.float64, where=weights > 0)
    return (weights / mean).astype(np.float32)


def read_weights(sample_weight: Any, n_rows: int, dtype: type[np.floating[Any]]) -> Array:
    """Check sample_weight; returns it as floats of shape (n_rows,)."""
    weights = exact_array(sample_weight, "sample_weight")
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},); got {weights.shape}")
    try:
        with np.errstate(over="ignore"):
            if weights.dtype.kind in "cMmV":
                raise TypeError
            weights = weights.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise_from_handler(error)
        raise ValueError(
            f"sample_weight must hold numbers; got {shown(weights[:1].tolist()[0])}"
        ) from error
    infinite = np.isinf(weights)
    if infinite.any():
        raise ValueError(
            f"sample_weight contains infinity in row {int(np.argmax(infinite))}, or a value too "
            f"large for {np.dtype(dtype)}"
        )
    if weights.min() < 0 or not weights.any():
        raise ValueError(
            "sample_weight must hold numbers >= 0 that are not all zero; got values from "
            f"{weights.min()} to {weights.max()}"
        )
    return weights


def _canonical(x: Matrix) -> Matrix:
    if max(x.shape) > MAX_INT:
        raise ValueError(f"X must have at most {MAX_INT} rows and columns; got shape {x.shape}")
    if issparse(x):
        tidied = tidy(x)
        if tidied is not x and not np.isfinite(tidied.data).all():
            raise ValueError("X contains duplicate entries whose sum is infinite in float32")
        x = tidied
    values = x.data if issparse(x) else x
    if values.size and max(values.max(), -values.min()) > _MAX_VALUE:
        raise ValueError(
            f"X must hold values of at most {_MAX_VALUE:g} in size, whose squares float32 can "
            "hold; scale it, for example with MaxAbsScaler"
        )
    if issparse(x) and x.indices.dtype != np.int32 and x.nnz <= MAX_INT:
        # The engine reads int32. Convert here once, not in every epoch.
        indices, indptr = (array.astype(np.int32) for array in (x.indices, x.indptr))
        x = csr_array((x.data, indices, indptr), shape=x.shape)
    return x
