"""Labels as rows of int32 class ids, for the engine; never a dense indicator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slide._base.arrays import Array, Bools


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


def single_rows(ids: Array, n_classes: int) -> LabelRows:
    """LabelRows of one class id per row."""
    return LabelRows(np.arange(len(ids) + 1), ids.astype(np.int32), n_classes)
