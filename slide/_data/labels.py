"""Labels: y as rows of int32 class ids for the engine, and back; never a dense indicator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Set, ValuesView
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.sparse import coo_array, csr_array, csr_matrix, issparse, sparray
from sklearn.exceptions import DataConversionWarning

from slide._base.arrays import Array, Bools
from slide._base.handlers import raise_from_handler
from slide._base.values import MAX_INT, shown
from slide._data.exact import exact_array, is_sparse_frame, sparse_numbers
from slide._data.structure import check_structure, tidy


@dataclass(frozen=True)
class LabelRows:
    """Labels of every row, in CSR.

    Parameters
    ----------
    indptr : int64 (n_rows + 1,)
    indices : int32 (n_labels,)
        Class ids in [0, n_classes), rising within a row, none twice.
    n_classes : int
    """

    indptr: np.ndarray
    indices: np.ndarray
    n_classes: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: Array) -> LabelRows:
        """The labels of `rows`, an int array, in that order."""
        counts = np.diff(self.indptr)[rows]
        indptr = np.concatenate(([0], np.cumsum(counts)))
        places = np.repeat(self.indptr[:-1][rows] - indptr[:-1], counts)
        places += np.arange(indptr[-1])
        return LabelRows(indptr, self.indices[places], self.n_classes)

    def only(self, rows: Array) -> LabelRows:
        """A copy in which only `rows`, an int array, keep their labels; the others have none."""
        counts, kept = np.diff(self.indptr), np.zeros(len(self), bool)
        kept[rows] = True
        indptr = np.concatenate(([0], np.cumsum(counts * kept)))
        return LabelRows(indptr, self.indices[np.repeat(kept, counts)], self.n_classes)

    def equal(self, other: LabelRows) -> Bools:
        """Which rows have the same labels as the same row of `other`: bool (n_rows,)."""
        counts = np.diff(self.indptr)
        same: Bools = counts == np.diff(other.indptr)
        rows = np.flatnonzero(same)
        ours, theirs = self.take(rows), other.take(rows)
        differ = np.repeat(rows, counts[rows])[ours.indices != theirs.indices]
        same[differ] = False
        return same

    def among(self, classes: Array) -> LabelRows:
        """Only the labels among `classes`, rising ids, which get their places in it as ids."""
        kept = np.isin(self.indices, classes)
        indptr = np.concatenate(([0], np.cumsum(kept)))[self.indptr]
        indices = np.searchsorted(classes, self.indices[kept]).astype(np.int32)
        return LabelRows(indptr, indices, len(classes))

    def contain(self, ids: Array) -> Bools:
        """Which of the labels ids[i] belong to row i: bool (n_rows, k), the shape of `ids`."""
        if len(self.indices) == 0:
            return np.zeros(ids.shape, bool)
        rows = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        keys = rows * self.n_classes + self.indices  # rising
        wanted = np.arange(len(self))[:, np.newaxis] * self.n_classes + ids
        places = np.searchsorted(keys, wanted)
        found: Bools = keys[np.minimum(places, len(keys) - 1)] == wanted
        return found


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


# ----------------------------------------------------------------- reading --


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
    return _unique(_one_column(exact_array(classes, "classes"), "classes"), "classes")


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
        found = _some(np.unique(values[wrong]))
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
            f"floats without a fraction below 2**63 in size; got {_some(y)}. Other numbers are the "
            "target of a regression, which slide does not do"
        )


# ------------------------------------------------------------------- coding --


class LabelCoder:
    """Translator from labels to class ids and back, with the classes and the form of y.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,), or range
        Sorted; the column numbers if y is an indicator. A range becomes an array when it is first
        asked for: y may announce more columns than fit into memory.
    container : {None, numpy.ndarray, csr_array, csr_matrix}
        The type of an indicator; None if y has one label per row.
    """

    def __init__(self, classes: Array | range, container: Any = None) -> None:
        self._known = classes if isinstance(classes, range) else np.asarray(classes)
        self.container = container

    @cached_property
    def classes(self) -> Array:
        return np.arange(self.n_classes) if isinstance(self._known, range) else self._known

    @property
    def multilabel(self) -> bool:
        return self.container is not None

    @property
    def n_classes(self) -> int:
        return len(self._known)

    @classmethod
    def from_y(cls, y: Target) -> Self:
        """A coder for the classes of y."""
        if isinstance(y.labels, LabelRows):
            return cls(range(y.labels.n_classes), y.container)
        return cls(_unique(y.labels, "y"))

    @classmethod
    def from_first_batch(cls, y: Target, classes: Any) -> Self:
        """A coder for `classes`, or for the columns of an indicator y; then classes may be None."""
        if isinstance(y.labels, LabelRows):
            return cls.from_y(y)
        if classes is None:
            raise ValueError(
                "classes must be given in the first call of partial_fit, all labels that will "
                "ever come; got None"
            )
        classes = read_classes(classes)
        if len(classes) == 0:
            raise ValueError("classes must hold at least one label; got none")
        return cls(classes)

    def check_classes(self, classes: Any) -> None:
        """Refuse classes that differ from the known ones; None is accepted."""
        if classes is None:
            return
        classes = read_classes(classes)
        if len(classes) != self.n_classes or not _same(classes, self.classes).all():
            raise ValueError(
                "classes must be the same in every call of partial_fit, and the numbers of its "
                f"columns for an indicator y; got {_some(classes)}, which differ from "
                f"{_some(self.classes)}"
            )

    def encode(self, y: Target) -> LabelRows:
        """LabelRows of y; an unknown label is refused."""
        labels = self._of_known_form(y)
        if isinstance(labels, LabelRows):
            return labels
        ids, known = self._ids(labels)
        if not known.all():
            raise ValueError(
                f"y must hold known classes only, {_some(self.classes)}; got also "
                f"{_some(labels[~known])}"
            )
        return single_rows(ids, self.n_classes)

    def right(self, y: Target, predicted: LabelRows) -> Bools:
        """Which rows of `predicted` are exactly those of y; an unknown label is never right."""
        labels = self._of_known_form(y)
        if len(labels) != len(predicted):
            raise ValueError(row_counts_differ(len(predicted), len(labels)))
        if isinstance(labels, LabelRows):
            return labels.equal(predicted)
        ids, known = self._ids(labels)
        if not known.any():
            self._check_type(labels)
        right: Bools = known & (ids == predicted.indices)
        return right

    def decode(self, ids: Array) -> Array:
        """Labels of class ids of any shape."""
        return ids.astype(np.int64) if self.multilabel else self.classes[ids]

    def labels_of(self, rows: LabelRows) -> Any:
        """What `predict` returns for LabelRows: labels, or an indicator like y."""
        return self.indicator(rows) if self.multilabel else self.decode(rows.indices)

    def indicator(self, rows: LabelRows) -> Any:
        """The indicator of LabelRows, int64, in the container that y had."""
        shape = (len(rows), rows.n_classes)
        if self.container is np.ndarray:
            out = np.zeros(shape, np.int64)
            out[np.repeat(np.arange(len(rows)), np.diff(rows.indptr)), rows.indices] = 1
            return out
        ones = np.ones(len(rows.indices), np.int64)
        return self.container((ones, rows.indices, rows.indptr), shape=shape)

    def _of_known_form(self, y: Target) -> Array | LabelRows:
        """The labels of y, which must be an indicator if and only if the first y was one."""
        several = isinstance(y.labels, LabelRows)
        n_columns = y.labels.n_classes if isinstance(y.labels, LabelRows) else None
        if self.multilabel and n_columns != self.n_classes:
            found = f"{n_columns} columns" if several else "one label a row"
            raise ValueError(
                f"y must be a label indicator of {self.n_classes} columns, as in the first fit; "
                f"got {found}"
            )
        if several and not self.multilabel:
            raise ValueError(
                f"y must have one label a row, as in the first fit; got {n_columns} columns"
            )
        return y.labels

    def _ids(self, labels: Array) -> tuple[Array, Bools]:
        """Class ids of labels, and which of them are known."""
        objects = "O" in (labels.dtype.kind, self.classes.dtype.kind)
        for find in (self._ids_by_hash, self._ids_by_order)[not objects :]:
            try:
                return find(labels)
            except MemoryError:
                raise
            except Exception:  # foreign labels that do not hash, or do not compare with the known
                continue
        return np.zeros(len(labels), np.int64), np.zeros(len(labels), bool)

    def _ids_by_hash(self, labels: Array) -> tuple[Array, Bools]:
        ids = {label: i for i, label in enumerate(self.classes.tolist())}
        found = np.fromiter((ids.get(x, -1) for x in labels.tolist()), np.int64, len(labels))
        return found, found >= 0

    def _ids_by_order(self, labels: Array) -> tuple[Array, Bools]:
        wanted, held = _of_dtype(labels, self.classes.dtype)
        ids = np.minimum(np.searchsorted(self.classes, wanted), self.n_classes - 1)
        return ids, held & np.asarray(self.classes[ids] == wanted, bool)

    def _check_type(self, labels: Array) -> None:
        """Refuse labels of a type that no class has, such as texts for numbers."""
        kinds = [type_of(array) for array in (labels, self.classes)]
        if len(labels) and kinds[0] != kinds[1]:
            raise ValueError(
                f"y must hold labels of the type of classes_, {kinds[1]} such as "
                f"{_some(self.classes)}; got {_some(labels)}"
            )


def row_counts_differ(n_x: int, n_y: int) -> str:
    """The message for X and y of different lengths."""
    return (
        f"X and y have inconsistent numbers of samples: {n_x} and {n_y}; y must have one label, or "
        "one row of an indicator, for every row of X"
    )


def same_labels(labels: Array, others: Array) -> Bools:
    """Which of `labels` equal `others`, of the same shape or one that NumPy stretches."""
    held: Any
    others, held = _of_dtype(others, labels.dtype)
    same: Bools = np.asarray(labels == others, bool) & held
    return same


def _same(labels: Array, others: Array) -> Bools:
    try:
        return same_labels(labels, others)
    except Exception:  # foreign classes may raise anything
        return np.zeros(len(labels), bool)


def single_rows(ids: Array, n_classes: int) -> LabelRows:
    """LabelRows of one class id per row."""
    return LabelRows(np.arange(len(ids) + 1), ids.astype(np.int32), n_classes)


def _of_dtype(y: Array, dtype: np.dtype[Any]) -> tuple[Array, Any]:
    """Convert numbers y to another dtype; returns them, and which of them it holds.

    Other types are returned as they are. NumPy would compare int64 and uint64 as float64, in which
    large labels may become equal.
    """
    if y.dtype == dtype or y.dtype.kind not in "biuf" or dtype.kind not in "biuf":
        return y, True
    with np.errstate(all="ignore"):
        converted = y.astype(dtype)
        return converted, (converted.astype(y.dtype) == y) & ((converted < 0) == (y < 0))


def type_of(labels: Array) -> str:
    """A word for the type of labels; numbers and bools are one type, as 1 equals True."""
    words = {"U": "texts", "S": "bytes", "M": "dates", "m": "durations"}
    if labels.dtype.kind != "O":
        return words.get(labels.dtype.kind, "numbers")
    first = labels[0]
    if isinstance(first, str | bytes):
        return "texts" if isinstance(first, str) else "bytes"
    return "numbers" if isinstance(first, int) else type(first).__name__


def _unique(y: Array, name: str) -> Array:
    """The labels of y, sorted, each once."""
    try:
        return _unique_objects(y) if y.dtype.kind == "O" else np.unique(y)
    except MemoryError:
        raise
    except Exception as error:  # foreign classes may raise anything
        raise_from_handler(error)
        raise ValueError(
            f"{name} must hold labels of one type that sorts; got {_some(y)}: convert them, for "
            "example to str"
        ) from error


def _unique_objects(y: Array) -> Array:
    """As np.unique, which would compare all labels and not only the different ones."""
    try:
        labels = sorted(set(y.tolist()))
    except TypeError:  # labels that do not hash
        return np.unique(y)
    unique = np.empty(len(labels), object)
    unique[:] = labels
    return unique


def _some(values: Array) -> str:
    """The first few different values, for a message."""
    some = values[:1000].astype(str) if values.dtype.kind in "Mm" else values[:1000]
    texts = list(dict.fromkeys(map(shown, some.tolist())))
    text = ", ".join(texts[:5])
    return f"[{text}, …]" if len(texts) > 5 else f"[{text}]"
