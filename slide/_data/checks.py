"""Checks of X, y and sample weights, and their conversion to the engine's form."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from slide._base.arrays import Floats, Matrix
from slide._base.values import MAX_INT, refusing

_MAX_VALUE = 1e16  # gradients grow with X, and their squares are float32


def check_rows(estimator: object, X: Any, *y: Any, reset: bool) -> Any:
    """Check X, and y if given; returns X as C-contiguous float32 or canonical CSR, and y."""
    check_structure("X", X)
    if y:
        check_structure("y", *y)
    # A float64 too large for float32 becomes infinity and is refused as such.
    with np.errstate(over="ignore", invalid="ignore"), refusing("X or y" if y else "X"):
        checked = validate_data(
            estimator,
            X,
            *y,
            accept_sparse="csr",
            dtype=np.float32,
            order="C",
            reset=reset,
            **({"multi_output": True} if y else {}),
        )
    return (_canonical(checked[0]), checked[1]) if y else _canonical(checked)


def check_weights(sample_weight: Any, n_rows: int) -> Floats | None:
    """Check sample_weight, and divide it by the mean of its positive values.

    Returns float32 (n_rows,), or None for None.
    """
    if sample_weight is None:
        return None
    with refusing("sample_weight"):
        shape = np.asarray(sample_weight).shape
    if shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},); got {shape}")
    with np.errstate(over="ignore", invalid="ignore"), refusing("sample_weight"):
        weights: Floats = check_array(
            sample_weight, ensure_2d=False, dtype=np.float32, input_name="sample_weight"
        )
    if weights.min() < 0 or not weights.any():
        raise ValueError(
            "sample_weight must hold numbers >= 0 that are not all zero; got values from "
            f"{weights.min()} to {weights.max()}"
        )
    # Only ratios of weights count. Divided by their mean, weights cannot underflow in a gradient.
    mean: np.float64 = weights.mean(dtype=np.float64, where=weights > 0)
    return (weights / mean).astype(np.float32)


def check_structure(name: str, matrix: Any) -> None:
    """Refuse a sparse matrix with indices outside its shape; SciPy does not check them."""
    if not issparse(matrix):
        return
    problem = None
    if matrix.format in ("csr", "csc", "bsr"):
        if matrix.indices.dtype.kind + matrix.indptr.dtype.kind != "ii":
            problem = "its indices are no ints"
        else:
            try:
                matrix.check_format(full_check=True)
            except ValueError as error:
                problem = str(error)
    elif matrix.format == "coo":
        for ids, size in zip(matrix.coords, matrix.shape, strict=True):
            if len(ids) != len(matrix.data) or ids.dtype.kind != "i":
                problem = "its indices must be as many ints as there are values"
            elif len(ids) and not 0 <= ids.min() <= ids.max() < size:
                problem = f"its indices must lie within its shape {matrix.shape}"
    elif matrix.format == "lil":
        pairs = zip(matrix.rows, matrix.data, strict=True)
        last = matrix.shape[1] - 1
        if not all(
            len(ids) == len(values) and min(ids, default=0) >= 0 and max(ids, default=-1) <= last
            for ids, values in pairs
        ):
            problem = f"its indices must lie within its shape {matrix.shape}"
    if problem:
        raise ValueError(f"{name} is not a valid {matrix.format} matrix: {problem}")


def _canonical(x: Matrix) -> Matrix:
    if max(x.shape) > MAX_INT:
        raise ValueError(f"X must have at most {MAX_INT} rows and columns; got shape {x.shape}")
    if issparse(x) and not (x.has_canonical_format and x.data.all()):
        x = x.copy()
        x.sum_duplicates()
        x.eliminate_zeros()
        if not np.isfinite(x.data).all():
            raise ValueError("X contains duplicate entries whose sum is infinite in float32")
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
