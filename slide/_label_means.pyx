"""Mean rows of labels, made straight into an inverted index; see `slide._prototypes`.

A label's rows are summed in an array of all features that a thread keeps, beside a list of those
that are no longer zero. All labels are gone through twice, first to count in how many means each
feature is kept, then to write them where they belong: so the only large arrays are the result's.
"""
import numpy as np

from cython.parallel cimport prange
from libc.math cimport fabsf, sqrt

from slide._layers cimport InputView
from slide._model cimport InputRows
from slide._postings cimport inverse_length
from slide._retrieval cimport scratch_array
from slide._selection cimport largest
from slide._simd cimport slide_prefetch
from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t, uint32_t

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

# Private to a thread.
cdef struct Scratch:
    float32_t *sums            # (n_features,) zeros between two labels
    int32_t *features          # (2 n_features + 1,) whose sums are not zero
    float32_t *values          # (n_features + 1,) of the listed, when the sums are complete
    int64_t *places            # (n_features,) counts, or where the next one is written


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
            # In place: a compiler may drop calls of a function that does nothing else.
            row = view.rows[i + AHEAD]
            size = x.indptr[row + 1] - x.indptr[row]
            slide_prefetch(<const float32_t *>x.indices + x.indptr[row], size)
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


cdef void _go_through(const MeansView *view, int64_t first, int64_t last, Scratch *scratch,
                      int32_t *labels, float32_t *values) noexcept nogil:
    """Means of the labels first..last: counted, or written where `labels` is given.

    INOUT scratch, a thread's own; OUT labels, values: places that are its labels' alone.
    """
    cdef int64_t j
    cdef int32_t label, feature
    cdef float64_t scale = 0
    for label in range(<int32_t>first, <int32_t>last):
        for j in range(_mean(view, label, scratch, &scale)):
            feature = scratch.features[j]
            if labels != NULL:
                labels[scratch.places[feature]] = label
                values[scratch.places[feature]] = <float32_t>(scratch.values[j] * scale)
            scratch.places[feature] += 1


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

    def go_through(self, const int64_t[::1] first, const int64_t[::1] last,
                   int64_t[:, ::1] places, int32_t[::1] labels, float32_t[::1] values):
        """Count or write the means of the labels first[t]..last[t] in thread t.

        Parameters
        ----------
        first, last : int64 (n_threads,), IN
        places : int64 (n_threads, n_features), INOUT
            How often thread t has kept a feature so far, or where it writes it next.
        labels, values : int32, float32, or None to count; OUT
            Means by feature, their labels rising in every list as a thread's labels are greater
            than those of the one before.
        """
        cdef int64_t t
        cdef int32_t *labels_at = NULL
        cdef float32_t *values_at = NULL
        if labels is not None and labels.shape[0]:
            labels_at, values_at = &labels[0], &values[0]
        for t in range(self.n_threads):
            self.scratch[t].places = &places[t, 0]
        for t in prange(self.n_threads, nogil=True, num_threads=self.n_threads,
                        schedule="static", chunksize=1):
            _go_through(&self.view, first[t], last[t], &self.scratch[t], labels_at, values_at)


def keep_largest(int64_t[::1] indptr, int32_t[::1] labels, float32_t[::1] values, int64_t longest):
    """Leave the `longest` values of the largest sizes in every list; on ties the lower labels.

    Parameters
    ----------
    indptr : int64 (n_features + 1,), INOUT
    labels, values : int32, float32, INOUT
        What is left moves to the front, to indptr[n_features] places.
    """
    cdef int64_t f, p, start, end = 0, place = 0, n
    cdef int64_t longest_list = np.diff(indptr).max(initial=0)
    cdef float32_t[::1] sizes = np.empty(longest_list + 1, np.float32)
    cdef uint32_t[::1] keys = np.empty(longest_list + 1, np.uint32)
    cdef int32_t[::1] best = np.empty(longest + 1, np.int32)
    with nogil:
        for f in range(indptr.shape[0] - 1):
            start, end = end, indptr[f + 1]
            n = end - start
            if n <= longest:
                for p in range(start, end):
                    labels[place] = labels[p]
                    values[place] = values[p]
                    place += 1
            else:
                for p in range(n):
                    sizes[p] = fabsf(values[start + p])
                for p in range(largest(&sizes[0], n, longest, &keys[0], &best[0])):
                    labels[place] = labels[start + best[p]]
                    values[place] = values[start + best[p]]
                    place += 1
            indptr[f + 1] = place
