"""Mean rows of labels without small entries, as an inverted index; see `_prototypes.prototypes`.

Each thread has an array of all features, in which it sums the rows of a label, and a list of the
features whose sum is no longer zero. The entries that are kept are stored label after label until
all of them are known. Then they are copied to their places in the index, and every thread fills the
postings of some of the features.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport fabsf, sqrt

from slide._base.openmp cimport omp_get_thread_num
from slide._base.rows cimport InputRows, InputView
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t
from slide._prototypes.index cimport inverse_length
from slide._simd.dispatch cimport slide_prefetch

cdef enum:
    AHEAD = 4                  # rows between a prefetch and its use

# Inputs that all threads read.
cdef struct MeansView:
    const InputView *x
    const float32_t *factors          # (n_rows,) factor of each row in the sums
    const float32_t *feature_weights
    const int64_t *indptr             # (n_classes + 1,) the rows of every label
    const int32_t *rows
    int64_t n_rows             # length of `rows`
    float64_t least

# The means of a range of labels.
cdef struct Part:
    int64_t first, last
    int32_t *features          # label after label; there is room for as many as can be kept
    float32_t *values

# Private to a thread.
cdef struct MeansScratch:
    float32_t *sums            # (n_features,) zeros between two labels
    int32_t *features          # (2 n_features + 1,) features whose sums are not zero
    float32_t *values          # (n_features + 1,) the listed sums, once they are complete
    int64_t *counts            # (n_features,) number of means that keep each feature


cdef int64_t _add(const InputView *x, int32_t row, float32_t factor, MeansScratch *scratch,
                  int64_t n) noexcept nogil:
    """Add factor times a row of X to the sums; returns how many features are then listed.

    n features are listed on entry. The loop has no branch, because it would be unpredictable. So a
    feature whose sum became zero in between is listed again.
    """
    cdef int64_t p
    cdef const int32_t *indices = x.indices
    cdef const float32_t *values = x.values
    cdef float32_t *sums = scratch.sums
    cdef int32_t *features = scratch.features
    cdef int32_t feature
    cdef float32_t before
    for p in range(x.indptr[row], x.indptr[row + 1]):
        feature = indices[p]
        before = sums[feature]
        features[n] = feature
        n += before == 0
        sums[feature] = before + factor * values[p]
    return n


cdef int64_t _take_out(MeansScratch *scratch, int64_t n) noexcept nogil:
    """Move the non-zero sums of the n listed features to `values`; returns how many there are.

    A feature that is listed twice is moved once.
    """
    cdef int64_t j, left = 0
    cdef int32_t *features = scratch.features
    cdef int32_t feature
    cdef float32_t value
    for j in range(n):
        feature = features[j]
        value = scratch.sums[feature]
        scratch.sums[feature] = 0
        features[left] = feature
        scratch.values[left] = value
        left += value != 0
    return left


cdef int64_t _mean(const MeansView *view, int32_t label, MeansScratch *scratch,
                   float64_t *scale) noexcept nogil:
    """Sum the rows of a label, and keep the entries of at least `least` times the sum's length.

    sum_f = w_f * sum over the label's rows i of factor_i x_if. OUT scratch.features and values, the
    entries kept; scale, the factor that gives them length 1. Returns how many are kept. Cost: a
    multiply-add per value of the rows; sums are in float32 and in the order of the rows.
    """
    cdef int64_t i, j, size, n = 0, kept = 0
    cdef int32_t row
    cdef const InputView *x = view.x
    cdef int32_t *features = scratch.features
    cdef float32_t *values = scratch.values
    cdef float32_t value
    cdef float64_t norm2 = 0, least
    cdef bint is_kept
    for i in range(view.indptr[label], view.indptr[label + 1]):
        if i + 2 * AHEAD < view.n_rows:
            slide_prefetch(x.indptr + view.rows[i + 2 * AHEAD], 2 * sizeof(int64_t))
            row = view.rows[i + AHEAD]
            size = (x.indptr[row + 1] - x.indptr[row]) * sizeof(float32_t)
            slide_prefetch(x.indices + x.indptr[row], size)
            slide_prefetch(x.values + x.indptr[row], size)
        row = view.rows[i]
        if n + x.indptr[row + 1] - x.indptr[row] > 2 * x.n_features:
            # Sums became zero again and again: list each feature once, and only non-zero sums.
            n = _take_out(scratch, n)
            for j in range(n):
                scratch.sums[features[j]] = values[j]
        n = _add(x, row, view.factors[row], scratch, n)
    n = _take_out(scratch, n)
    for j in range(n):
        values[j] *= view.feature_weights[features[j]]
        norm2 += <float64_t>values[j] * values[j]
    if norm2 == 0:
        return 0
    least, norm2 = view.least * sqrt(norm2), 0
    for j in range(n):
        value = values[j]
        features[kept], values[kept] = features[j], value
        is_kept = fabsf(value) >= least
        kept += is_kept
        norm2 += is_kept * <float64_t>value * value
    scale[0] = 1 / sqrt(norm2) if kept > 0 else 0
    return kept


cdef void _means(const MeansView *view, const Part *part, MeansScratch *scratch, int32_t *lengths,
                 Watch *watch) noexcept nogil:
    """Compute the means of a part's labels.

    OUT the arrays of the part; lengths (n_classes,), the number of entries of each mean.
    """
    cdef int64_t j, n = 0
    cdef int32_t label
    cdef float64_t scale = 0
    for label in range(<int32_t>part.first, <int32_t>part.last):
        if interrupted(watch):
            return
        lengths[label] = <int32_t>_mean(view, label, scratch, &scale)
        for j in range(lengths[label]):
            part.features[n] = scratch.features[j]
            part.values[n] = <float32_t>(scratch.values[j] * scale)
            scratch.counts[scratch.features[j]] += 1
            n += 1


cdef void _write_postings(const Part *parts, int64_t n_parts, const int32_t *lengths, int32_t low,
                          int32_t high, int64_t *places, int32_t *labels, float32_t *values,
                          Watch *watch) noexcept nogil:
    """Write the postings of the features low..high, labels rising.

    INOUT places (n_features,): the next place of a feature; OUT labels, values. Cost: a comparison
    per entry kept.
    """
    cdef int64_t i, _j, p
    cdef int32_t label, feature
    for i in range(n_parts):
        if interrupted(watch):
            return
        p = 0
        for label in range(<int32_t>parts[i].first, <int32_t>parts[i].last):
            for _j in range(lengths[label]):
                feature = parts[i].features[p]
                if low <= feature < high:
                    labels[places[feature]] = label
                    values[places[feature]] = parts[i].values[p]
                    places[feature] += 1
                p += 1


cdef class LabelMeans:
    """Weighted means of the rows of every label, of length 1 and without small entries.

    Parameters
    ----------
    x : InputRows, sparse
    weights : float32 (n,) or None, IN
        Sample weights.
    feature_weights : float32 (n_features,), IN
        Factors of the features, applied before rows get length 1.
    indptr, rows : int64 (n_classes + 1,), int32, IN
        The rows of every label, rising.
    least : float
        Smallest entry that is kept in a mean of length 1. The kept entries are then scaled to
        length 1.
    bounds : int64 (n_parts + 1,), IN
        First label of each part, and n_classes.
    rooms : int64 (n_parts,), IN
        The most entries that the means of each part can have.
    n_threads : int
    """
    cdef MeansView view
    cdef MeansScratch *scratch
    cdef Part *parts
    cdef int64_t n_parts
    cdef int n_threads
    cdef int32_t[::1] lengths
    cdef object counts
    cdef object _keep_alive

    def __init__(self, InputRows x, weights, const float32_t[::1] feature_weights,
                 const int64_t[::1] indptr, const int32_t[::1] rows, float64_t least,
                 const int64_t[::1] bounds, rooms, int n_threads):
        cdef int64_t i, n_features = x.view.n_features, room = np.sum(rooms)
        check_shapes(x, weights, feature_weights, indptr, rows)
        self.n_threads, self.n_parts = n_threads, bounds.shape[0] - 1
        factors = _factors(x, weights, feature_weights, n_threads)
        starts = np.concatenate(([0], np.cumsum(rooms)))
        # Most of this room is never written, and so it takes no memory.
        features, values = np.empty(room + 1, np.int32), np.empty(room + 1, np.float32)
        cdef const float32_t[::1] factors_view = factors
        cdef const int64_t[::1] starts_view = starts
        cdef int32_t[::1] features_view = features
        cdef float32_t[::1] values_view = values
        self._keep_alive = keep_alive = [x, factors, feature_weights, indptr, rows, features,
                                         values]
        self.lengths = np.zeros(indptr.shape[0] - 1, np.int32)
        self.view.x, self.view.factors = &x.view, &factors_view[0]
        self.view.feature_weights, self.view.least = &feature_weights[0], least
        self.view.indptr, self.view.n_rows = &indptr[0], rows.shape[0]
        self.view.rows = &rows[0] if rows.shape[0] else NULL
        self.parts = <Part *>scratch_array(self.n_parts * sizeof(Part), np.uint8, keep_alive)
        for i in range(self.n_parts):
            self.parts[i] = Part(bounds[i], bounds[i + 1], &features_view[starts_view[i]],
                                 &values_view[starts_view[i]])
        self.scratch = <MeansScratch *>scratch_array(n_threads * sizeof(MeansScratch), np.uint8,
                                                     keep_alive)
        self.counts = np.zeros((n_threads, n_features), np.int64)
        cdef int64_t[:, ::1] counts = self.counts
        for i in range(n_threads):
            self.scratch[i].counts = &counts[i, 0]
            self.scratch[i].sums = <float32_t *>scratch_array(n_features, np.float32, keep_alive)
            self.scratch[i].values = <float32_t *>scratch_array(n_features + 1, np.float32,
                                                                keep_alive)
            self.scratch[i].features = <int32_t *>scratch_array(2 * n_features + 1, np.int32,
                                                                keep_alive)

    def find(self, int64_t first, int64_t last):
        """Find the means of the parts first..last, shared out over the threads."""
        cdef int64_t i
        cdef Watch watch
        start_watch(&watch)
        for i in prange(first, last, nogil=True, num_threads=self.n_threads, schedule="dynamic"):
            _means(&self.view, &self.parts[i], &self.scratch[omp_get_thread_num()],
                   &self.lengths[0], &watch)
        end_watch(&watch)

    def index(self):
        """Build the index: the means of all parts by feature. Call it after `find`.

        Returns
        -------
        values, labels, indptr : float32, int32, int64 (n_features + 1,)
            The arrays of a CSC array (n_classes, n_features), with rising labels.
        """
        cdef int64_t i, n = self.counts.sum()
        indptr = np.concatenate(([0], np.cumsum(self.counts.sum(axis=0))))
        labels, values = np.empty(n + 1, np.int32), np.empty(n + 1, np.float32)
        # Bounds of ranges of features, so that all threads write about equally much.
        bounds = np.searchsorted(indptr[1:], np.linspace(0, n, self.n_threads + 1))
        bounds[self.n_threads] = len(indptr) - 1
        cdef const int64_t[::1] bounds_view = bounds
        cdef int64_t[::1] places = indptr.copy()
        cdef int32_t[::1] labels_view = labels
        cdef float32_t[::1] values_view = values
        cdef Watch watch
        start_watch(&watch)
        for i in prange(self.n_threads, nogil=True, num_threads=self.n_threads):
            _write_postings(self.parts, self.n_parts, &self.lengths[0], <int32_t>bounds_view[i],
                            <int32_t>bounds_view[i + 1], &places[0], &labels_view[0],
                            &values_view[0], &watch)
        end_watch(&watch)
        return values[:n], labels[:n], indptr


def check_shapes(InputRows x, weights, feature_weights, indptr, rows):
    """Raise ValueError unless weights and the rows of every label fit the rows of x."""
    starts, numbers = np.asarray(indptr), np.asarray(rows)
    if x.is_dense or feature_weights.shape[0] != x.view.n_features or (
            weights is not None and len(weights) != x.n_rows):
        raise ValueError("weights must be of the rows and features of x, which must be sparse")
    if starts[0] != 0 or starts[len(starts) - 1] != len(numbers) or (
            starts[1:] < starts[:-1]).any() or (
            len(numbers) and not 0 <= numbers.min() <= numbers.max() < x.n_rows):
        raise ValueError(f"the rows of every label must lie within the {x.n_rows} rows of x")


def _factors(InputRows x, weights, const float32_t[::1] feature_weights, int n_threads):
    """Factors that scale the rows to length 1, times their sample weights: float32 (n,)."""
    cdef int64_t i
    cdef const InputView *view = &x.view
    cdef const float32_t *feature_weights_at = &feature_weights[0]
    factors = np.empty(x.n_rows)
    cdef float64_t[::1] factors_view = factors
    for i in prange(x.n_rows, nogil=True, num_threads=n_threads, schedule="static"):
        factors_view[i] = inverse_length(feature_weights_at, view, i)
    if weights is not None:
        factors *= weights
    # The factor of a very short row would be infinite: it is bounded, and the row counts less.
    return np.minimum(factors, np.finfo(np.float32).max).astype(np.float32)
