"""Rows to train on and rows to judge by, the split into both, and their shape for "auto"."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import issparse
from sklearn.model_selection import train_test_split

from slide._base.arrays import Array, Floats, Matrix
from slide._base.products import dot
from slide._data.centering import centered, centered_by_mean, is_sparse
from slide._data.columns import Columns
from slide._data.labels import LabelRows

_MIN_LENGTH = 1e-16  # smallest root mean square of rows; weights grow as its inverse
_VALUES = 1 << 20  # values of X that are read at a time


@dataclass(frozen=True)
class DataShape:
    """The facts about the data that "auto" may depend on."""

    n_samples: int
    n_features: int  # columns that are inputs
    n_classes: int
    n_labels: int  # labels of all rows together; n_samples with one label per row
    n_values: float  # average number of non-zeros per row; n_features for dense X
    mean_square_norm: float  # average of |x|^2 over the rows
    mean_abs_norm: float  # average of |x|_1
    multilabel: bool
    sparse: bool  # most values of X are zero
    one_label: bool  # every row has exactly one label


@dataclass(frozen=True)
class TrainingRows:
    """Rows to train on or to judge by.

    Parameters
    ----------
    x : float32, dense or CSR
        X in the engine's form.
    labels : slide._data.labels.LabelRows
    weights : float32 (n,) or None
        Sample weights.
    columns : slide._data.columns.Columns or None
        The columns of X that x has; None: all of them.
    """

    x: Matrix
    labels: LabelRows
    weights: Floats | None
    columns: Columns | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_announced(self) -> int:
        """Number of columns of X."""
        return self.x.shape[1] if self.columns is None else self.columns.n_announced

    def take(self, rows: Array) -> TrainingRows:
        weights = None if self.weights is None else self.weights[rows]
        return TrainingRows(self.x[rows], self.labels.take(rows), weights, self.columns)

    def without_zero_weights(self) -> TrainingRows:
        """The rows of positive weight: the others must not influence the initial weights."""
        if self.weights is None or self.weights.all():
            return self
        return self.take(np.flatnonzero(self.weights))

    def centered(self, mean: Floats | None) -> TrainingRows:
        """The rows minus `mean`, or as they are if it is None."""
        return replace(self, x=centered(self.x, mean))

    def centered_by_mean(self) -> tuple[TrainingRows, Floats | None]:
        """The rows minus their mean, and the mean; if sparse, unchanged rows and None."""
        x, mean = centered_by_mean(self.x, self.weights, self.n_announced)
        return replace(self, x=x), mean

    def with_columns(self, columns: Columns | None) -> TrainingRows:
        """The rows without all other columns; columns=None: as they are."""
        if columns is None:
            return self
        return replace(self, x=columns.select(self.x), columns=columns)

    def shape(self, multilabel: bool) -> DataShape:
        """The DataShape of the rows."""
        values = self.x.data if issparse(self.x) else self.x.ravel()
        total, squares = 0.0, 0.0
        for start in range(0, len(values), _VALUES):
            block = values[start : start + _VALUES].astype(np.float64)
            total += float(np.abs(block).sum())
            squares += float(dot(block, block))
        if 0 < squares < len(self) * _MIN_LENGTH**2:
            raise ValueError(
                f"X must have rows of a length of at least {_MIN_LENGTH:g}, less their mean where "
                f"X is dense; its root mean square is {(squares / len(self)) ** 0.5:.3g}: scale X, "
                "for example with MaxAbsScaler"
            )
        # Seven digits: further ones depend on whether X is stored sparse; training must not.
        return DataShape(
            n_samples=len(self),
            n_features=self.x.shape[1],
            n_values=round(len(values) / len(self), 4),
            n_classes=self.labels.n_classes,
            n_labels=len(self.labels.indices),
            mean_square_norm=float(f"{squares / len(self):.7g}"),
            mean_abs_norm=float(f"{total / len(self):.7g}"),
            multilabel=multilabel,
            sparse=is_sparse(self.x, self.n_announced),
            one_label=bool((np.diff(self.labels.indptr) == 1).all()),
        )


def hold_out(
    data: TrainingRows, multilabel: bool, fraction: float, rng: np.random.RandomState
) -> tuple[TrainingRows, TrainingRows]:
    """Split TrainingRows into rows to train on and the share `fraction` of rows to judge by."""
    n = len(data)
    n_held_out = int(np.ceil(fraction * n))
    if n_held_out >= n:
        raise ValueError(
            f"validation_fraction={fraction!r} of {n} rows leaves none to train on; "
            "early_stopping needs more rows or a smaller share"
        )
    stratify = None
    if not multilabel:
        counts = np.bincount(data.labels.indices)
        if counts[counts > 0].min() > 1 and min(n_held_out, n - n_held_out) >= len(counts):
            stratify = data.labels.indices
    rows, held_out = train_test_split(
        np.arange(n), test_size=n_held_out, random_state=rng, stratify=stratify
    )
    return data.take(np.sort(rows)), data.take(np.sort(held_out))
