"""X as scikit-learn takes it, and what is wrong with an X that it refuses, in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError

from slide._base.arrays import Array
from slide._base.handlers import raise_from_handler
from slide._base.values import shown
from slide._data.exact import columns_of, is_sparse_frame, missing_in, sparse_numbers
from slide._data.structure import check_structure, without_spare

_SHAPE = "X must hold numbers in the shape (n_samples, n_features)"
_VECTORISE = "turn texts into numbers with TfidfVectorizer or HashingVectorizer"
_ENCODE = "turn categories into numbers with OneHotEncoder, texts with TfidfVectorizer"
_BINARISE = "MultiLabelBinarizer(sparse_output=True)"
_DATES = "turn dates into numbers, for example days since the first one"
_FILL = "fill missing values in, for example with SimpleImputer"


def as_features(X: Any) -> Any:
    """Check what scikit-learn would misread or refuse; a frame stays a frame, with its names."""
    check_structure("X", X)
    if issparse(X):
        return without_spare(X)
    if isinstance(X, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(X)
        if mask.any():
            raise ValueError(f"X contains a masked value{_place(mask)}: {_FILL}")
        return np.asarray(X)
    if isinstance(X, np.matrix):
        return np.asarray(X)
    if any(map(_is_temporal, _dtypes(X))):
        raise ValueError(_frame(X, "") or f"{_SHAPE}; got dates: {_DATES}")
    return sparse_numbers(X, "X") if is_sparse_frame(X) else X


def _dtypes(X: Any) -> Sequence[Any]:
    """The dtypes of a frame's columns or of an array."""
    if hasattr(X, "dtypes"):
        return list(X.dtypes)
    columns = columns_of(X)  # of Arrow
    if columns is None:
        return [getattr(X, "dtype", None)]
    return [np.asarray(column[:1]).dtype for column in columns]


def _is_temporal(dtype: Any) -> bool:
    """Whether a dtype of NumPy, pandas or polars is one of dates or durations."""
    return getattr(dtype, "kind", "") in ("M", "m") or getattr(dtype, "is_temporal", bool)()


@contextmanager
def explaining(X: Any) -> Iterator[None]:
    """Say what is wrong with X where scikit-learn, NumPy or pandas refuse it."""
    try:
        yield
    except NotFittedError:  # of an estimator that X itself uses
        raise
    except (ValueError, TypeError) as error:
        raise_from_handler(error)
        message = _explanation(X, str(error))
        if message is not None:
            raise ValueError(message) from error
        if re.search(r"\bX\b|feature names", str(error), re.IGNORECASE):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{_SHAPE}: {error}") from error


def _explanation(X: Any, error: str) -> str | None:
    """What is wrong with X, or None where scikit-learn's message says it well."""
    try:
        found = (explain(X, error) for explain in (_container, _frame, _not_finite, _cells))
        return next((message for message in found if message is not None), None)
    except Exception as failure:  # a foreign class may raise anything
        raise_from_handler(failure)
        return None


def _container(X: Any, error: str) -> str | None:
    if isinstance(X, str | bytes):
        return f"{_SHAPE}; got one text: {_VECTORISE}"
    if isinstance(X, Mapping) and not issparse(X):
        return (
            f"{_SHAPE}; got a {type(X).__name__}: make a pandas.DataFrame of columns, or an array "
            "of a list of such rows with DictVectorizer"
        )
    if isinstance(X, set | frozenset) or X is None or np.isscalar(X):
        return f"{_SHAPE}; got {shown(X)}"
    dtype = getattr(X, "dtype", None)
    if getattr(dtype, "kind", "") == "c":
        return f"Complex data not supported; X has dtype {dtype}"
    if hasattr(X, "__next__"):
        return f"{_SHAPE}; got a {type(X).__name__}: collect its rows with numpy.stack(list(X))"
    return None


def _frame(X: Any, error: str) -> str | None:
    """What is wrong with a frame, by the name of the column."""
    columns = columns_of(X)
    if columns is None:
        return None
    names = getattr(X, "column_names", None) or X.columns  # of Arrow, or of pandas and polars
    for name, column in zip(names, columns, strict=True):
        if len(np.shape(column)) != 1:
            continue
        missing = missing_in(column)
        if missing is not None and missing.any():
            row = int(np.argmax(missing))
            where = f"row {row}, column {shown(name)}"
            return f"X contains NaN or another missing value in {where}: {_FILL}"
        problem = _of_cells(np.asarray(column)[:, np.newaxis], f"column {shown(name)}")
        if problem is not None:
            return problem
    return None


def _not_finite(X: Any, error: str) -> str | None:
    """The place of the first NaN or infinity."""
    for word in ("NaN", "infinity"):
        if f"contains {word}" in error:
            break
    else:
        return None
    with np.errstate(all="ignore"):
        place = _place_in_sparse(X, word) if issparse(X) else _place(_wrong(X, word))
    advice = _FILL if word == "NaN" else "take such rows out, or scale X before"
    return f"{error.splitlines()[0].rstrip('.')}{place}: {advice}"


def _wrong(values: Any, word: str) -> Array:
    try:
        values = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):  # a frame whose columns are of different types
        return np.zeros(0, bool)
    wrong: Array = np.isnan(values) if word == "NaN" else np.isinf(values)
    return wrong


def _place_in_sparse(X: Any, word: str) -> str:
    X = X.tocoo()
    found = np.flatnonzero(_wrong(X.data, word))
    return f" in row {X.row[found[0]]}, column {X.col[found[0]]}" if len(found) else ""


def _cells(X: Any, error: str) -> str | None:
    """What is wrong with an array or a list."""
    try:
        array = np.array(X, object) if isinstance(X, list | tuple) else np.asarray(X)
    except Exception as failure:  # a foreign class
        raise_from_handler(failure)
        return None
    if array.ndim == 1 and array.dtype.kind in "OUST" and len(array):
        return _of_rows(array)
    if array.ndim > 2:
        return (
            f"{_SHAPE}; got shape {array.shape}: give every sample one row, for example with "
            "X.reshape(len(X), -1)"
        )
    return _of_cells(array, "") if array.ndim == 2 else None


def _of_rows(rows: Array) -> str | None:
    """What is wrong with a sequence of objects that are no rows of numbers."""
    first = rows[:1].tolist()[0]
    if isinstance(first, str | bytes):
        return f"{_SHAPE}; got texts, such as {shown(first)}: {_VECTORISE}"
    if isinstance(first, Mapping):
        return f"{_SHAPE}; got dicts: turn them into numbers with DictVectorizer"
    if issparse(first):
        return f"{_SHAPE}; got a sequence of sparse rows: stack them with scipy.sparse.vstack(X)"
    if not all(isinstance(row, Sequence | Set | np.ndarray) for row in rows):
        return None
    if any(isinstance(cell, str) for row in rows for cell in row):
        return (
            f"{_SHAPE}; got collections of texts: turn them into numbers with {_BINARISE}, or with "
            "TfidfVectorizer(analyzer=list)"
        )
    if isinstance(first, Set):
        return (
            f"{_SHAPE}; got sets, such as {shown(first)}: turn them into numbers with {_BINARISE}"
        )
    lengths = list(map(len, rows))
    other = next((row for row, length in enumerate(lengths) if length != lengths[0]), None)
    if other is None:
        return None
    return (
        f"{_SHAPE}; got {lengths[0]} numbers in row 0 and {lengths[other]} in row {other}: every "
        "row needs all features"
    )


def _of_cells(array: Array, column: str) -> str | None:
    """The first cell of two dimensions that is no number."""
    if array.dtype.kind in "Mm":
        return f"{_SHAPE}; got dates in {column or 'X'}: {_DATES}"
    if array.dtype.kind not in "OUST":
        return None
    for place, value in enumerate(array.ravel().tolist()):
        where = f"row {place // array.shape[1]}, {column or f'column {place % array.shape[1]}'}"
        if type(value).__name__ in ("NAType", "NaTType"):
            return f"X contains {shown(value)} in {where}: {_FILL}"
        if hasattr(value, "toordinal") or isinstance(value, np.datetime64):
            return f"{_SHAPE}; got {shown(value)} in {where}: {_DATES}"
        if isinstance(value, complex | np.complexfloating):
            return f"Complex data not supported; X has {shown(value)} in {where}"
        if isinstance(value, str | bytes) and not _is_number(value):
            return f"{_SHAPE}; got {shown(value)} in {where}: {_ENCODE}"
    return None


def _is_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _place(wrong: Array) -> str:
    """Where the first True is, for a message."""
    if not wrong.any():
        return ""
    return " in row {}, column {}".format(*np.argwhere(wrong)[0][:2]) if wrong.ndim == 2 else ""
