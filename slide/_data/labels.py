"""Labels: y as rows of int32 class ids for the engine, and back; never a dense indicator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array, csr_matrix, issparse, sparray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from slide._base.arrays import Array, Bools
from slide._base.handlers import raise_from_handler
from slide._base.values import MAX_INT, refusing, shown


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


class LabelCoder:
    """Translator from labels to class ids and back, with the classes and the form of y.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted; the column numbers if y is an indicator.
    container : {None, numpy.ndarray, csr_array, csr_matrix}
        The type of an indicator; None if y has one label per row.
    """

    def __init__(self, classes: Array, container: Any = None) -> None:
        self.classes = classes
        self.container = container

    @property
    def multilabel(self) -> bool:
        return self.container is not None

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @classmethod
    def from_y(cls, y: Any) -> Self:
        """A coder for the classes of y."""
        if _is_indicator(y):
            return cls(np.arange(y.shape[1]), _container(y))
        return cls(_unique(_column(y), "y"))

    @classmethod
    def from_first_batch(cls, y: Any, classes: Any) -> Self:
        """A coder for `classes`, or for the columns of an indicator y; then classes may be None."""
        if _is_indicator(y):
            return cls(np.arange(y.shape[1]), _container(y))
        if classes is None:
            raise ValueError(
                "classes must be given in the first call of partial_fit, all labels that will "
                "ever come; got None"
            )
        classes = _unique(_column(classes, "classes"), "classes")
        if len(classes) == 0:
            raise ValueError("classes must hold at least one label; got none")
        return cls(classes)

    def check_classes(self, classes: Any) -> None:
        """Refuse classes that differ from the known ones; None is accepted."""
        if classes is None:
            return
        if not np.array_equal(_unique(_column(classes, "classes"), "classes"), self.classes):
            raise ValueError(
                "classes must be the same in every call of partial_fit, and the numbers of its "
                f"columns for an indicator y; got {_some(np.asarray(classes))}, which differ "
                f"from {_some(self.classes)}"
            )

    def encode(self, y: Any) -> LabelRows:
        """LabelRows of y; an unknown label is refused."""
        if self.multilabel:
            if y.ndim != 2 or y.shape[1] != self.n_classes:
                raise ValueError(
                    f"y must be a label indicator of {self.n_classes} columns, as in the first "
                    f"fit; got shape {y.shape}"
                )
            return _indicator_rows(y)
        if _is_indicator(y):
            raise ValueError(
                f"y must have one label a row, as in the first fit; got shape {y.shape}"
            )
        y = _column(y)
        try:
            wanted, other = _of_dtype(y, self.classes.dtype)
            ids = np.minimum(np.searchsorted(self.classes, wanted), self.n_classes - 1)
            unseen = np.asarray(self.classes[ids] != wanted) | other
        except TypeError:  # labels that cannot be compared with the known ones
            unseen = np.ones(len(y), bool)
        if unseen.any():
            raise ValueError(
                f"y must hold known classes only, {_some(self.classes)}; got also "
                f"{_some(np.asarray(list(dict.fromkeys(y[unseen].tolist())), dtype=object))}"
            )
        return _single_rows(ids, self.n_classes)

    def decode(self, ids: Array) -> Array:
        """Labels of class ids of any shape."""
        return self.classes[ids]

    def indicator(self, rows: LabelRows) -> Any:
        """The indicator of LabelRows, int64, in the container that y had."""
        shape = (len(rows), rows.n_classes)
        if self.container is np.ndarray:
            out = np.zeros(shape, np.int64)
            out[np.repeat(np.arange(len(rows)), np.diff(rows.indptr)), rows.indices] = 1
            return out
        ones = np.ones(len(rows.indices), np.int64)
        return self.container((ones, rows.indices, rows.indptr), shape=shape)


def _is_indicator(y: Any) -> bool:
    """Whether y has two or more columns or is sparse; one dense column is a misshapen 1-D y."""
    if issparse(y) and y.ndim != 2:
        raise ValueError(f"y must have two dimensions where it is sparse; got shape {y.shape}")
    return bool(issparse(y) or (y.ndim == 2 and y.shape[1] > 1))


def _container(y: Any) -> Any:
    if not issparse(y):
        return np.ndarray
    return csr_array if isinstance(y, sparray) else csr_matrix


def _indicator_rows(y: Any) -> LabelRows:
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y of two dimensions must be a label indicator; got dtype {y.dtype}")
    if y.shape[1] > MAX_INT:
        raise ValueError(f"y must have at most {MAX_INT} columns; got {y.shape[1]}")
    y = y if issparse(y) else csr_array(y)
    wrong = (y.data != 0) & (y.data != 1)
    if wrong.any():
        raise ValueError(
            "y of two dimensions must be a label indicator of zeros and ones; got also "
            f"{_some(np.unique(y.data[wrong]))}"
        )
    if not (y.has_canonical_format and y.data.all()):
        y = y.copy()
        y.eliminate_zeros()
        y.sum_duplicates()
    indptr = np.ascontiguousarray(y.indptr, np.int64)
    return LabelRows(indptr, np.ascontiguousarray(y.indices, np.int32), y.shape[1])


def _single_rows(ids: Array, n_classes: int) -> LabelRows:
    return LabelRows(np.arange(len(ids) + 1), ids.astype(np.int32), n_classes)


def _column(y: Any, name: str = "y") -> Any:
    """y as one dimension of class labels; continuous values are refused."""
    with refusing(name):
        y = column_or_1d(y, warn=True, input_name=name)
    # Only floats can be continuous. For other types the first value is enough, which saves
    # type_of_target from sorting all of them.
    with np.errstate(invalid="ignore"):  # floats beyond int64 count as continuous
        kind = type_of_target(y if y.dtype.kind == "f" else y[:1], input_name=name)
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"Unknown label type: {kind}. {name} must hold class labels: ints, strings, or "
            f"floats without a fraction below 2**63 in size; got {_some(y)}"
        )
    return y


def _of_dtype(y: Array, dtype: np.dtype[Any]) -> tuple[Array, Any]:
    """Convert numbers y to another dtype; returns them, and which of them it cannot hold.

    Other types are returned as they are. NumPy would compare int64 and uint64 as float64, in which
    large labels may become equal.
    """
    if y.dtype == dtype or y.dtype.kind not in "biuf" or dtype.kind not in "biuf":
        return y, False
    with np.errstate(all="ignore"):
        converted = y.astype(dtype)
        return converted, converted.astype(y.dtype) != y


def _unique(y: Array, name: str) -> Array:
    try:
        return np.unique(y)
    except Exception as error:  # foreign classes may raise anything
        raise_from_handler(error)
        raise ValueError(f"{name} must hold labels of one type; got {_some(y)}") from error


def _some(values: Array) -> str:
    """The first few values, for a message."""
    text = ", ".join(map(shown, values[:5].tolist()))
    return f"[{text}, …]" if len(values) > 5 else f"[{text}]"
