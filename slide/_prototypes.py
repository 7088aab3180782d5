"""What the rows of a label have in common, as one more voice beside the network's.

A label's prototype is the mean of its rows in X's own features (Rocchio 1971), these weighted by
how rare they are, cut to the weights that matter and of length 1. Hidden layers are a bottleneck
through which single telling features of rare labels hardly pass; the prototypes keep them, and an
inverted index makes their cosines cost less than the network does.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.sparse import csc_array, csr_array

from slide._label_means import LabelMeans, keep_largest
from slide._model import InputRows
from slide._postings import Postings

# Weights below it say little and are most of all: on OEWN 28,600 multiply-adds a row become 900,
# on Bibtex 8,500 become 1,300, for the same accuracy. A prototype has 400 others at most.
_LEAST = 0.05
# Labels in the list of a feature; those of the largest weights stay, which bounds what a row costs
# (Carmel et al., Static Index Pruning, SIGIR 2001).
_LONGEST = 512
_PRODUCTS = 1 << 26  # values of rows that a thread sums before Ctrl-C is heard
_OF_A_LABEL = 8  # sums that take as long as what a label without rows costs
_VALUES = 1 << 20  # of X that are looked at together


@dataclass(frozen=True)
class Prototypes:
    """Prototypes of all labels, as an inverted index.

    Parameters
    ----------
    by_feature : csc_array (n_classes, n_features), float32
        A column a feature, its labels rising.
    feature_weights : float32 (n_features,)
        What multiplies a row of X before its cosines are taken.
    weight : float
        Of a cosine in the score.
    """

    by_feature: csc_array
    feature_weights: np.ndarray
    weight: float = 1.0

    def arrays(self):
        """All arrays, by name, of dtypes that do not depend on their sizes."""
        index = self.by_feature
        return {
            "values": index.data,
            "labels": index.indices.astype(np.int32, copy=False),
            "indptr": index.indptr.astype(np.int64, copy=False),
            "feature_weights": self.feature_weights,
        }

    @classmethod
    def from_arrays(cls, values, labels, indptr, feature_weights, n_classes, weight):
        """What `arrays` told, which nobody needs to trust; ValueError when it is no index."""
        index = csc_array((values, labels, indptr), shape=(n_classes, len(feature_weights)))
        index.check_format(full_check=True)
        if not index.has_canonical_format:
            raise ValueError("the labels of every feature must rise")
        if not (np.isfinite(values).all() and np.isfinite(feature_weights).all()):
            raise ValueError("values and weights must be finite")
        return cls(index, feature_weights, weight)

    def of_weight(self, weight):
        """The same, of another weight in the score."""
        return replace(self, weight=weight)

    def cosines(self, x, labels):
        """Cosines of every row x[i] with the prototypes labels[i], int32 (n, k): float32 (n, k)."""
        return Postings(self.of_weight(1.0)).scores(csr_array(x), labels)


def make_prototypes(x, labels, weights, n_threads):
    """Prototypes of weight 1, the same whatever `n_threads` is.

    Parameters
    ----------
    x : float32 (n, n_features), canonical CSR or dense
    labels : slide._labels.LabelRows
        Rows without labels only tell how rare features are.
    weights : float32 (n,) or None
        What a row counts.
    n_threads : int

    Memory is that of the result before long lists are cut, and 20 bytes a thread and feature.
    """
    x, n = csr_array(x), len(labels)
    feature_weights = np.log((n + 1) / (_document_counts(x) + 1)).astype(np.float32)
    ones = np.ones(len(labels.indices), np.int8)
    of_label = csr_array((ones, labels.indices, labels.indptr), (n, labels.n_classes)).tocsc()
    indptr, rows = of_label.indptr.astype(np.int64), of_label.indices.astype(np.int32, copy=False)
    means = LabelMeans(InputRows(x), weights, feature_weights, indptr, rows, _LEAST, n_threads)
    bounds = _shares(np.diff(x.indptr)[rows], indptr, n_threads)
    places = np.zeros((n_threads, x.shape[1]), np.int64)
    for first, last in pairwise(bounds):
        means.go_through(first, last, places, None, None)
    # Feature after feature, and of each the labels of one thread after those of another.
    counts, places = places, np.cumsum(places.T).reshape(places.T.shape).T
    starts = np.concatenate(([0], places[-1]))
    places = np.ascontiguousarray(places - counts)
    found, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    for first, last in pairwise(bounds):
        means.go_through(first, last, places, found, values)
    keep_largest(starts, found, values, _LONGEST)
    for array in (found, values):
        array.resize(starts[-1], refcheck=False)  # in place
    index = csc_array((values, found, starts), shape=(labels.n_classes, x.shape[1]))
    return Prototypes(index, feature_weights)


def _document_counts(x):
    """Rows of a CSR array that have each feature."""
    counts, size = np.zeros(x.shape[1], np.int64), max(_VALUES, x.shape[1])
    for start in range(0, x.nnz, size):
        counts += np.bincount(x.indices[start : start + size], minlength=len(counts))
    return counts


def _shares(sizes, indptr, n_threads):
    """Labels that every thread begins each of its turns with, and ends the last one: (., threads).

    A thread's labels follow on each other, and the threads' on each other's. Their work is as good
    as equal: the sizes of a label's rows, `sizes` a row of `indptr`, and a little for itself.
    """
    ends = np.concatenate(([0], np.cumsum(sizes)))[indptr] + _OF_A_LABEL * np.arange(len(indptr))
    n_turns = max(1, int(ends[-1]) // (n_threads * _PRODUCTS))
    shares = np.linspace(0, ends[-1], n_threads * n_turns + 1)
    bounds = np.searchsorted(ends, shares)
    turns = np.arange(n_turns + 1)[:, np.newaxis] + n_turns * np.arange(n_threads)
    return bounds.astype(np.int64)[turns]
