"""Mean rows of labels, cut to what matters; see `slide._prototypes`.

A label's rows are summed in an array of all features that a thread keeps, beside a list of those
that are no longer zero.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport fabsf, sqrt

from slide._input cimport InputView
from slide._model cimport InputRows
from slide._openmp cimport omp_get_thread_num
from slide._postings cimport inverse_length
from slide._retrieval cimport scratch_array
from slide._simd cimport slide_prefetch
from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t

cdef enum:
    AHEAD = 4                  # rows between a prefetch and its use

# What all threads read.
cdef struct MeansView:
    const InputView *x
    const float64_t *factors          # (n_rows,) of the rows in the sums
    const float32_t *feature_weights
    const int64_t *indptr             # (n_classes + 1,) the rows of every label
    const int32_t *rows
    int64_t n_rows             # of all labels
    float64_t least

# Where the means of a range of labels go.
cdef struct Part:
    int64_t first, last
    int32_t *features          # as many as are kept at most
    float32_t *values
    int64_t n_kept

# Private to a thread.
cdef struct Scratch:
    float32_t *sums            # (n_features,) zeros between two labels
    int32_t *features          # (2 n_features + 1,) whose sums are not zero
    float32_t *values          # (n_features + 1,) of the listed, when the sums are complete


cdef int64_t _add(const InputView *x, int32_t row, float64_t factor, Scratch *scratch,
                  int64_t n) noexcept nogil:
    """Add factor times a row of X to the sums, n features being listed; returns how many are then.

    Without a branch, which nobody could foretell. A sum that became zero is listed once more.
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
        sums[feature] = before + <float32_t>(factor * values[p])
    return n


cdef int64_t _take_out(Scratch *scratch, int64_t n) noexcept nogil:
    """Move the sums of the n listed features to `values`, each once and no zeros; their number."""
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


cdef int64_t _mean(const MeansView *view, int32_t label, Scratch *scratch,
                   float64_t *scale) noexcept nogil:
    """Sum the rows of a label, and keep of it what is at least `least` of its length.

    sum_f = w_f * sum over its rows i of factor_i x_if. OUT scratch.features and values, what is
    kept; scale, after which that has length 1. Returns their number. Cost: a multiply-add a value
    of the rows; sums are in float32 and in the order of the rows.
    """
    cdef int64_t i, j, size, n = 0, kept = 0
    cdef int32_t row
    cdef const InputView *x = view.x
    cdef int32_t *features = scratch.features
    cdef float32_t *values = scratch.values
    cdef float64_t norm2 = 0, least
    for i in range(view.indptr[label], view.indptr[label + 1]):
        if i + AHEAD < view.n_rows:
            row = view.rows[i + AHEAD]
            size = (x.indptr[row + 1] - x.indptr[row]) * sizeof(float32_t)
            slide_prefetch(x.indices + x.indptr[row], size)
            slide_prefetch(x.values + x.indptr[row], size)
        row = view.rows[i]
        if n + x.indptr[row + 1] - x.indptr[row] > 2 * x.n_features:
            # Sums became zero over and over: list the others only.
            n = _take_out(scratch, n)
            for j in range(n):
                scratch.sums[features[j]] = values[j]
        n = _add(x, row, view.factors[row], scratch, n)
    n = _take_out(scratch, n)
    for j in range(n):
        values[j] *= view.feature_weights[features[j]]
        norm2 += <float64_t>values[j] * values[j]
    least, norm2 = view.least * sqrt(norm2), 0
    for j in range(n):
        if fabsf(values[j]) >= least and values[j] != 0:
            features[kept], values[kept] = features[j], values[j]
            kept += 1
            norm2 += <float64_t>values[j] * values[j]
    scale[0] = 1 / sqrt(norm2) if kept > 0 else 0
    return kept


cdef void _means(const MeansView *view, Part *part, Scratch *scratch,
                 int32_t *counts) noexcept nogil:
    """Means of a part's labels; OUT part, counts (n_classes,): how long its labels' means are."""
    cdef int64_t j, n = 0
    cdef int32_t label
    cdef float64_t scale = 0
    for label in range(<int32_t>part.first, <int32_t>part.last):
        counts[label] = <int32_t>_mean(view, label, scratch, &scale)
        for j in range(counts[label]):
            part.features[n] = scratch.features[j]
            part.values[n] = <float32_t>(scratch.values[j] * scale)
            n += 1
    part.n_kept = n


cdef class LabelMeans:
    """Weighted means of the rows of every label, of length 1 and without what is small.

    Parameters
    ----------
    x : InputRows, sparse
    weights : float32 (n,) or None, IN
        What a row counts.
    feature_weights : float32 (n_features,), IN
        What multiplies x before its rows get length 1.
    indptr, rows : int64 (n_classes + 1,), int32, IN
        The rows of every label, rising.
    least : float
        What a value is kept for, the mean having length 1; then what is kept gets length 1.
    n_threads : int
    """
    cdef MeansView view
    cdef Scratch *scratch
    cdef readonly int n_threads
    cdef object _keep_alive

    def __init__(self, InputRows x, weights, const float32_t[::1] feature_weights,
                 const int64_t[::1] indptr, const int32_t[::1] rows, float64_t least,
                 int n_threads):
        cdef int64_t i, n = x.n_rows, n_features = x.view.n_features
        cdef const InputView *x_view = &x.view
        cdef const float32_t *feature_weights_at = &feature_weights[0]
        factors = np.empty(n)
        cdef float64_t[::1] factors_view = factors
        for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
            factors_view[i] = inverse_length(feature_weights_at, x_view, i)
        if weights is not None:
            factors *= weights
        self.n_threads = n_threads
        self._keep_alive = keep_alive = [x, factors, feature_weights, indptr, rows]
        self.view.x, self.view.factors = x_view, &factors_view[0]
        self.view.feature_weights, self.view.least = feature_weights_at, least
        self.view.indptr, self.view.n_rows = &indptr[0], rows.shape[0]
        self.view.rows = &rows[0] if rows.shape[0] else NULL
        self.scratch = <Scratch *>scratch_array(n_threads * sizeof(Scratch), np.uint8, keep_alive)
        for i in range(n_threads):
            self.scratch[i].sums = <float32_t *>scratch_array(n_features, np.float32, keep_alive)
            self.scratch[i].values = <float32_t *>scratch_array(n_features + 1, np.float32,
                                                                keep_alive)
            self.scratch[i].features = <int32_t *>scratch_array(2 * n_features + 1, np.int32,
                                                                keep_alive)

    def means(self, const int64_t[::1] bounds, const int64_t[::1] rooms, int32_t[::1] counts):
        """Means of the labels bounds[i]..bounds[i + 1] for every i, shared out over the threads.

        Parameters
        ----------
        bounds : int64 (n + 1,), IN
        rooms : int64 (n,), IN
            Values that they have at most.
        counts : int32 (n_classes,), OUT
            Values of every label's mean.

        Returns
        -------
        features, values : int32, float32
            Label after label, features in no order.
        """
        cdef int64_t i, n = rooms.shape[0]
        starts = np.concatenate(([0], np.cumsum(rooms)))
        # Most of the room stays empty, and is never given memory.
        features, values = np.empty(starts[n] + 1, np.int32), np.empty(starts[n] + 1, np.float32)
        cdef const int64_t[::1] starts_view = starts
        cdef int32_t[::1] features_view = features
        cdef float32_t[::1] values_view = values
        cdef int32_t *counts_at = &counts[0]
        cdef Part *parts
        keep_alive = []
        parts = <Part *>scratch_array(n * sizeof(Part), np.uint8, keep_alive)
        for i in range(n):
            parts[i] = Part(bounds[i], bounds[i + 1], &features_view[starts_view[i]],
                            &values_view[starts_view[i]], 0)
        for i in prange(n, nogil=True, num_threads=self.n_threads, schedule="dynamic"):
            _means(&self.view, &parts[i], &self.scratch[omp_get_thread_num()], counts_at)
        kept = [slice(starts[i], starts[i] + parts[i].n_kept) for i in range(n)]
        return tuple(np.concatenate([array[part] for part in kept]) for array in (features, values))
