"""The target y, read in one way wherever users pass it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Set, ValuesView
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array, csr_matrix, issparse, sparray
from sklearn.exceptions import DataConversionWarning

from slide._base.arrays import Array
from slide._base.values import MAX_INT, shown
from slide._data.exact import exact_array, is_sparse_frame, sparse_numbers
from slide._data.label_values import some_of, unique_labels
from slide._data.labels import LabelRows
from slide._data.structure import check_structure, tidy


@dataclass(frozen=True)
class Target:
    """What y means: one label a row, or several.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,), or LabelRows if y is an indicator
    container : {None, numpy.ndarray, csr_array, csr_matrix}
        The type of the indicator that predictions should have; None if y has one label a row.
    """

    labels: Array | LabelRows
    container: Any = None

    def __len__(self) -> int:
        return len(self.labels)


def read_target(y: Any, name: str = "y", *, warn: bool = False) -> Target:
    """Read y, which every method and metric takes in the same forms.

    y is an indicator if it is a SciPy matrix or has two or more columns. One column is read as one
    label a row; `warn` tells the user so, as scikit-learn does.
    """
    if y is None:
        raise ValueError(
            f"{name} must hold the labels of the rows: this estimator requires {name} to be "
            f"passed, but the target {name} is None"
        )
    if is_sparse_frame(y) and len(y.columns) > 1:
        y = sparse_numbers(y, name).sparse.to_coo()
    if issparse(y):
        container = csr_array if isinstance(y, sparray) else csr_matrix
        return Target(_rows_of_sparse(y, name), container)
    y = exact_array(y, name)
    if y.ndim == 2 and y.shape[1] > 1:
        return Target(_rows_of_dense(y, name), np.ndarray)
    if y.ndim == 2 and y.shape[1] == 1 and warn:
        warnings.warn(
            f"A column-vector {name} was passed when a 1d array was expected. Its rows are read as "
            "one label each",
            DataConversionWarning,
            stacklevel=2,
        )
    return Target(_one_column(y, name))


def read_indicator(y: Any, name: str) -> LabelRows:
    """Read y as an indicator, also where it has only one column."""
    if is_sparse_frame(y):
        y = sparse_numbers(y, name).sparse.to_coo()
    if issparse(y):
        return _rows_of_sparse(y, name)
    y = exact_array(y, name)
    if y.ndim != 2:
        raise ValueError(f"{name} must be an indicator of 2 dimensions; got shape {y.shape}")
    return _rows_of_dense(y, name)


def read_classes(classes: Any) -> Array:
    """Read the argument `classes`: its labels, sorted, each once."""
    if isinstance(classes, Mapping):
        raise ValueError("classes must be a sequence of labels; got a dict: pass list(classes)")
    if isinstance(classes, Set | ValuesView):
        classes = list(classes)
    return unique_labels(_one_column(exact_array(classes, "classes"), "classes"), "classes")


def _rows_of_sparse(y: Any, name: str) -> LabelRows:
    check_structure(name, y)
    if y.ndim != 2:
        raise ValueError(f"{name} must have two dimensions where it is sparse; got shape {y.shape}")
    _check_width(y, name)
    if y.format != "csr":
        # Not tocsr, which adds up the ones of a label that is there twice.
        y = y.tocoo()
        _check_ones(y.data, y.dtype, name)
        y = csr_array(coo_array((y.data != 0, (y.row, y.col)), shape=y.shape))
    else:
        end = y.indptr[-1]  # the arrays may be longer
        data = y.data[:end]
        _check_ones(data, y.dtype, name)
        y = csr_array((data != 0, y.indices[:end], y.indptr), shape=y.shape)
    return _rows_of_csr(tidy(y))


def _rows_of_dense(y: Array, name: str) -> LabelRows:
    _check_width(y, name)
    _check_ones(y, y.dtype, name)
    return _rows_of_csr(csr_array(y != 0))


def _rows_of_csr(y: csr_array) -> LabelRows:
    indptr = np.ascontiguousarray(y.indptr, np.int64)
    return LabelRows(indptr, np.ascontiguousarray(y.indices, np.int32), y.shape[1])


def _check_width(y: Any, name: str) -> None:
    if not 1 <= y.shape[1] <= MAX_INT:
        raise ValueError(f"{name} must have from 1 to {MAX_INT} columns; got {y.shape[1]}")


def _check_ones(values: Array, dtype: np.dtype[Any], name: str) -> None:
    """Refuse what is neither 0 nor 1."""
    if dtype.kind not in "biuf":
        raise ValueError(
            f"{name} of two dimensions must be a label indicator; got dtype {dtype}. If its rows "
            f"are lists of labels, MultiLabelBinarizer(sparse_output=True).fit_transform({name}) "
            "makes one"
        )
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        found = some_of(np.unique(values[wrong]))
        nan = f"; {name} contains NaN" if np.isnan(values[wrong]).any() else ""
        raise ValueError(
            f"{name} of two dimensions must be a label indicator of zeros and ones; got also "
            f"{found}{nan}. MultiLabelBinarizer(sparse_output=True) makes an indicator of lists of "
            "labels"
        )


def _one_column(y: Array, name: str) -> Array:
    """y as one dimension of class labels; what cannot be labels is refused."""
    if y.ndim == 0:
        raise ValueError(
            f"{name} must be a sequence of labels; got {shown(y.tolist())}, of type "
            f"{type(y.tolist()).__name__}"
        )
    if y.ndim > 2 or (y.ndim == 2 and y.shape[1] != 1):
        raise ValueError(
            f"{name} must have shape (n_samples,), or (n_samples, n_classes) where it is an "
            f"indicator; got shape {y.shape}"
        )
    y = y.reshape(-1)
    if y.dtype.kind == "f":
        _check_whole(y, name)
    elif y.dtype.kind not in "biuUSOMm":
        raise ValueError(f"{name} must hold class labels; got dtype {y.dtype}")
    return y


def _check_whole(y: Array, name: str) -> None:
    infinite = np.isinf(y)
    if infinite.any():
        raise ValueError(f"{name} contains infinity in row {int(np.argmax(infinite))}")
    with np.errstate(over="ignore"):  # 2**63 is infinite in float16
        fractions = (y != np.floor(y)) | (np.abs(y) >= 2.0**63)
    if fractions.any():
        raise ValueError(
            f"Unknown label type: continuous. {name} must hold class labels: ints, strings, or "
            f"floats without a fraction below 2**63 in size; got {some_of(y)}. Other numbers are "
            "the target of a regression, which slide does not do"
        )


def row_counts_differ(n_x: int, n_y: int) -> str:
    """The message for X and y of different lengths."""
    return (
        f"X and y have inconsistent numbers of samples: {n_x} and {n_y}; y must have one label, or "
        "one row of an indicator, for every row of X"
    )
