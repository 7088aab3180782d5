"""Prototypes: every label's mean training row.

Its cosine with a row is added to the network's score. Features are weighted by how rare they are
(Rocchio 1971); small weights are cut, and the rest is scaled to length 1. Hidden layers are a
bottleneck: they lose most single features that identify a rare label, and prototypes keep these.
With an inverted index the cosines cost less than the network does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csc_array, csr_array

from slide._base.arrays import Array, Floats, Ids, Matrix, NamedArrays
from slide._base.rows import InputRows
from slide._prototypes.index import Postings
from slide._prototypes.label_svms import rows_of_labels
from slide._prototypes.means import LabelMeans

if TYPE_CHECKING:
    from slide._data.columns import Columns
    from slide._data.labels import LabelRows
    from slide._prototypes.label_svms import LabelSvms

# Least weight of a feature. Most weights are smaller, and say little: without them 28,600
# multiply-adds per row become 900 on OEWN, and 8,500 become 1,300 on Bibtex, for the same accuracy.
# A prototype keeps at most 400 weights.
_LEAST = 0.05
# Most labels in the postings of a feature, which bounds the cost of a row. The labels with the
# largest weights stay (Carmel et al., Static Index Pruning, SIGIR 2001).
_LONGEST = 512
# The same for the machines of few classes, whose network is quickly scored: EURLEX57K has P@5 .700
# with 128 and .7003 with all.
_SVMS_LONGEST = 128
_PARTS = 4  # parts per thread; Ctrl-C is checked between them, and each wastes a page or two
_PRODUCTS = 1 << 24  # most values of rows that a part sums
_LABEL_COST = 8  # cost of an empty label, in additions
_VALUES = 1 << 20  # values of X that are read at a time


@dataclass(frozen=True)
class Prototypes:
    """Prototypes of all labels, as an inverted index.

    Parameters
    ----------
    by_feature : csc_array (n_classes, n_features), float32
        A column per feature, its labels rising.
    feature_weights : float32 (n_features,)
        Factors of a row of X before its cosines are taken.
    weight : float
        Factor of a cosine in the score.
    svm_weight : float
        Factor of the margin of a label's SVM in the score. If it is not 0, `by_feature` holds the
        sum of prototypes and machines, each times its factor; else the prototypes alone.
    biases : float32 (n_classes,) or None
        Those of the machines times `svm_weight`; None without machines.
    """

    by_feature: csc_array
    feature_weights: np.ndarray
    weight: float = 1.0
    svm_weight: float = 0.0
    biases: np.ndarray | None = None

    @property
    def factor(self) -> float:
        """Factor of the product of a row and the index in the score."""
        return 1.0 if self.svm_weight else self.weight

    def arrays(self) -> NamedArrays:
        """All arrays, by name, of dtypes that do not depend on their sizes."""
        index = self.by_feature
        biases = {} if self.biases is None else {"biases": self.biases}
        return {
            **biases,
            "values": index.data,
            "labels": index.indices.astype(np.int32, copy=False),
            "indptr": index.indptr.astype(np.int64, copy=False),
            "feature_weights": self.feature_weights,
        }

    @classmethod
    def from_arrays(
        cls, arrays: NamedArrays, n_classes: int, weight: float, svm_weight: float
    ) -> Prototypes:
        """Make Prototypes from what `arrays` returned; ValueError if it is not a valid index."""
        feature_weights, biases = arrays["feature_weights"], arrays.get("biases")
        parts = _narrow(arrays["values"], arrays["labels"], arrays["indptr"])
        index = csc_array(parts, shape=(n_classes, len(feature_weights)))
        index.check_format(full_check=True)
        if not index.has_canonical_format:
            raise ValueError("the labels of every feature must rise")
        floats = [arrays["values"], feature_weights, np.zeros(0) if biases is None else biases]
        if not all(np.isfinite(values).all() for values in floats):
            raise ValueError("values, weights and biases must be finite")
        return cls(index, feature_weights, weight, svm_weight, biases)

    def of_weight(self, weight: float) -> Prototypes:
        """The same prototypes with another weight in the score."""
        return replace(self, weight=weight)

    def with_svms(self, svms: LabelSvms, svm_weight: float) -> Prototypes:
        """These prototypes, of a weight, and the machines in one index."""
        if not svm_weight:
            return self
        index = svms.by_label.tocsc()
        _shorten(index, max(_SVMS_LONGEST, min(_LONGEST, index.shape[0] // 64)))
        index.data *= np.float32(svm_weight)
        if self.weight:
            index = csc_array(index + self.by_feature * np.float32(self.weight))
        index.sum_duplicates()
        biases = np.float32(svm_weight) * svms.biases
        return replace(self, by_feature=index, svm_weight=svm_weight, biases=biases)

    def times(self, slope: float) -> Prototypes:
        """The same prototypes and machines with `slope` times their weights."""
        index = self.by_feature * np.float32(slope) if self.svm_weight else self.by_feature
        return replace(
            self,
            by_feature=csc_array(index),
            weight=slope * self.weight,
            svm_weight=slope * self.svm_weight,
            biases=None if self.biases is None else self.biases * np.float32(slope),
        )

    def padded(self, n_features: int) -> Prototypes:
        """The same prototypes over more features, n_features in all; new ones have no weight."""
        index, n_new = self.by_feature, n_features - len(self.feature_weights)
        indptr = np.pad(index.indptr, (0, n_new), mode="edge")
        shape = (index.shape[0], n_features)
        return replace(
            self,
            by_feature=csc_array((index.data, index.indices, indptr), shape=shape),
            feature_weights=np.pad(self.feature_weights, (0, n_new)),
        )

    def widened(self, columns: Columns) -> Prototypes:
        """The same prototypes over all columns of X, where the features are `columns`."""
        weights = np.zeros(columns.n_announced, np.float32)
        weights[columns.ids] = self.feature_weights
        return replace(
            self, by_feature=csc_array(self.at_columns(columns)), feature_weights=weights
        )

    def at_columns(self, columns: Columns) -> csr_array:
        """The prototypes over all columns of X, where the features are `columns`."""
        rows = self.by_feature[:, columns.inputs].tocsr()
        shape = (rows.shape[0], columns.n_announced)
        return csr_array((rows.data, columns.known[rows.indices], rows.indptr), shape=shape)

    def products(self, x: Matrix, labels: Ids) -> Floats:
        """Products of every row x[i], at length 1, and the index's labels[i], int32 (n, k).

        They are the cosines if there are no SVMs. float32 (n, k).
        """
        alone = replace(self, weight=1.0, svm_weight=0.0)
        return Postings(alone).scores(csr_array(x), np.ascontiguousarray(labels))


def make_prototypes(
    x: Matrix, labels: LabelRows, weights: Floats | None, n_threads: int
) -> Prototypes:
    """Make Prototypes of weight 1; `n_threads` does not change the result.

    Parameters
    ----------
    x : float32 (n, n_features), canonical CSR or dense
    labels : slide._data.labels.LabelRows
        Rows without labels count only for how rare features are.
    weights : float32 (n,) or None
        Sample weights.
    n_threads : int

    Memory: twice the result before long postings are cut, plus 24 bytes per thread and feature.
    """
    x, n = csr_array(x), len(labels)
    counts = document_counts(x)
    # A feature that does not occur says nothing, and must not make other features weigh less.
    feature_weights = np.where(counts > 0, np.log((n + 1) / (counts + 1)), 0).astype(np.float32)
    indptr, rows = rows_of_labels(labels.indptr, labels.indices, labels.n_classes)
    turn = _PARTS * n_threads
    bounds, rooms = _parts(np.diff(x.indptr)[rows], indptr, turn)
    means = LabelMeans(
        InputRows(x), weights, feature_weights, indptr, rows, _LEAST, bounds, rooms, n_threads
    )
    for first in range(0, len(rooms), turn):
        means.find(first, first + turn)
    by_feature = csc_array(_narrow(*means.index()), shape=(labels.n_classes, x.shape[1]))
    _shorten(by_feature, _LONGEST)
    return Prototypes(by_feature, feature_weights)


def _parts(sizes: Array, indptr: Array, turn: int) -> tuple[Array, Array]:
    """Split the labels into ranges of about equal work.

    Returns the bounds of the ranges, and how many values the means of each range have at most.

    sizes : values of the rows of every label; indptr : (n_classes + 1,) where a label's rows start;
    turn : a divisor of the number of ranges.
    """
    work = np.concatenate(([0], np.cumsum(sizes)))[indptr]
    most = np.minimum(np.diff(work), int(_LEAST**-2) + 1)
    most = np.concatenate(([0], np.cumsum(most)))
    work += _LABEL_COST * np.arange(len(indptr))
    n_parts = turn * (int(work[-1]) // (turn * _PRODUCTS) + 1)
    bounds = np.searchsorted(work, np.linspace(0, work[-1], n_parts + 1))
    return bounds, np.diff(most[bounds])


def _narrow(values: Array, indices: Array, indptr: Array) -> tuple[Array, Array, Array]:
    """The parts of a sparse array, with an int32 indptr if possible, so that indices stay int32."""
    if indptr.min() >= 0 and indptr.max() <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return values, indices, indptr


def document_counts(x: Matrix) -> Array:
    """How many rows of a CSR array have each feature."""
    counts, size = np.zeros(x.shape[1], np.int64), max(_VALUES, x.shape[1])
    for start in range(0, x.nnz, size):
        counts += np.bincount(x.indices[start : start + size], minlength=len(counts))
    return counts


def _shorten(by_feature: csc_array, longest: int) -> None:
    """Cut every feature's postings to the `longest` labels with the largest weights, in place."""
    starts = by_feature.indptr
    for feature in np.flatnonzero(np.diff(starts) > longest):
        values = by_feature.data[starts[feature] : starts[feature + 1]]
        values[np.argpartition(-np.abs(values), longest)[longest:]] = 0
    by_feature.eliminate_zeros()
