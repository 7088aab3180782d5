"""LabelCoder: labels to class ids and back."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np

from slide._base.arrays import Array, Bools
from slide._base.handlers import raise_from_handler
from slide._data.label_values import of_dtype, same_labels, some_of, type_of, unique_labels
from slide._data.labels import LabelRows, single_rows
from slide._data.target import Target, read_classes, row_counts_differ


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
        return cls(unique_labels(y.labels, "y"))

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
                f"columns for an indicator y; got {some_of(classes)}, which differ from "
                f"{some_of(self.classes)}"
            )

    def encode(self, y: Target) -> LabelRows:
        """LabelRows of y; an unknown label is refused."""
        labels = self._of_known_form(y)
        if isinstance(labels, LabelRows):
            return labels
        ids, known = self._ids(labels)
        if not known.all():
            raise ValueError(
                f"y must hold known classes only, {some_of(self.classes)}; got also "
                f"{some_of(labels[~known])}"
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
            except Exception as error:  # foreign labels may not hash, or not compare
                raise_from_handler(error)
        return np.zeros(len(labels), np.int64), np.zeros(len(labels), bool)

    def _ids_by_hash(self, labels: Array) -> tuple[Array, Bools]:
        ids = {label: i for i, label in enumerate(self.classes.tolist())}
        found = np.fromiter((ids.get(x, -1) for x in labels.tolist()), np.int64, len(labels))
        return found, found >= 0

    def _ids_by_order(self, labels: Array) -> tuple[Array, Bools]:
        wanted, held = of_dtype(labels, self.classes.dtype)
        ids = np.minimum(np.searchsorted(self.classes, wanted), self.n_classes - 1)
        return ids, held & np.asarray(self.classes[ids] == wanted, bool)

    def _check_type(self, labels: Array) -> None:
        """Refuse labels of a type that no class has, such as texts for numbers."""
        kinds = [type_of(array) for array in (labels, self.classes)]
        if len(labels) and kinds[0] != kinds[1]:
            raise ValueError(
                f"y must hold labels of the type of classes_, {kinds[1]} such as "
                f"{some_of(self.classes)}; got {some_of(labels)}"
            )


def _same(labels: Array, others: Array) -> Bools:
    try:
        return same_labels(labels, others)
    except Exception as error:  # foreign classes may raise anything
        raise_from_handler(error)
        return np.zeros(len(labels), bool)
