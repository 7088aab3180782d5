"""Scores of the prototypes from their inverted index.

A row of X visits only the labels that share a feature with it. Labels are visited in
the same blocks as in the network's scores. In every block, the postings of a feature are read on
from where the block before stopped.
"""
import numpy as np

from libc.math cimport sqrt
from libc.string cimport memcpy, memset

from slide._base.rows cimport InputRows, InputView
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport float32_t, float64_t, int32_t, int64_t, uint32_t, uint8_t
from slide._simd.largest cimport largest

cdef enum:
    BEGUN = 1                  # the sum of a label is begun
    LISTED = 2                 # the label is listed


cdef class Postings:
    """Pointers into a `slide._prototypes.prototypes.Prototypes`, whose arrays are kept alive."""

    def __init__(self, prototypes):
        # A row of the index is a feature and lists its labels.
        cdef InputRows index = InputRows(prototypes.by_feature.T)
        weights = np.ascontiguousarray(prototypes.feature_weights, np.float32)
        if len(weights) != index.n_rows:
            raise ValueError(
                f"the {index.n_rows} features of prototypes must have as many weights; got "
                f"{len(weights)}"
            )
        cdef const float32_t[::1] weights_view = weights
        self.view.indptr = index.view.indptr
        self.view.labels = index.view.indices
        self.view.values = index.view.values
        self.view.feature_weights = &weights_view[0]
        self.view.weight = prototypes.factor
        cdef const float32_t[::1] biases_view = prototypes.biases
        self.view.biases = &biases_view[0] if prototypes.biases is not None else NULL
        self._keep_alive = (index, weights, prototypes.biases)
        self._n_classes = index.view.n_features

    def scores(self, x, const int32_t[:, ::1] labels):
        """Return what the prototypes add to the scores of labels[i] in row i, without biases.

        x : canonical CSR, float32. The result is float32 and has the shape of `labels`. Cost: a
        multiply-add per posting of the rows, in one thread.
        """
        cdef InputRows rows = InputRows(x)
        n_features = self._keep_alive[0].n_rows
        if rows.is_dense or rows.n_rows != labels.shape[0] or rows.view.n_features != n_features:
            raise ValueError(
                f"x must have {labels.shape[0]} sparse rows of {n_features} features; got shape "
                f"{x.shape}"
            )
        if labels.size and not 0 <= np.min(labels) <= np.max(labels) < self._n_classes:
            raise ValueError(f"labels must be below {self._n_classes}, the number of prototypes")
        out = np.empty((labels.shape[0], labels.shape[1]), np.float32)
        cdef float32_t[:, ::1] out_view = out
        cdef float32_t[::1] sums = np.zeros(self._n_classes, np.float32)
        cdef int64_t i, j
        cdef Watch watch
        start_watch(&watch)
        with nogil:
            for i in range(labels.shape[0]):
                if interrupted(&watch):
                    break
                _add_row(&self.view, &rows.view, i, &sums[0])
                for j in range(labels.shape[1]):
                    out_view[i, j] = sums[labels[i, j]]
                _clear_row(&self.view, &rows.view, i, &sums[0])
        end_watch(&watch)
        return out


cdef void _add_row(const PostingsView *view, const InputView *x, int64_t row,
                   float32_t *sums) noexcept nogil:
    """Add the prototypes' scores of one row to the sums; INOUT sums (n_classes,)."""
    cdef int64_t p, q
    cdef float32_t v
    cdef float64_t factor = view.weight * inverse_length(view.feature_weights, x, row)
    for p in range(x.indptr[row], x.indptr[row + 1]):
        v = _entry(view, x, p, factor)
        for q in range(view.indptr[x.indices[p]], view.indptr[x.indices[p] + 1]):
            sums[view.labels[q]] += v * view.values[q]


cdef void _clear_row(const PostingsView *view, const InputView *x, int64_t row,
                     float32_t *sums) noexcept nogil:
    """Set the sums that `_add_row` changed back to zero."""
    cdef int64_t p, q
    for p in range(x.indptr[row], x.indptr[row + 1]):
        for q in range(view.indptr[x.indices[p]], view.indptr[x.indices[p] + 1]):
            sums[view.labels[q]] = 0


cdef void open_postings(const PostingsView *view, const InputView *x, int64_t first, int64_t n,
                        PostingsCursor *cursor) noexcept nogil:
    """Set a cursor to the start of the postings of rows first..first + n of the sparse x.

    The cursor also gets the values v_f = weight x_f w_f / |x * w|, where w are the features'
    weights; v_f is 0 in a row of zeros. IN view, x; OUT cursor, which belongs to the thread. Cost:
    two multiplications per value.
    """
    cdef int64_t i, p, place = 0
    cdef float64_t factor
    for i in range(first, first + n):
        factor = view.weight * inverse_length(view.feature_weights, x, i)
        for p in range(x.indptr[i], x.indptr[i + 1]):
            cursor.values[place] = _entry(view, x, p, factor)
            cursor.places[place] = view.indptr[x.indices[p]]
            cursor.ends[place] = view.indptr[x.indices[p] + 1]
            place += 1


cdef inline float32_t _entry(const PostingsView *view, const InputView *x, int64_t p,
                             float64_t factor) noexcept nogil:
    return <float32_t>(x.values[p] * view.feature_weights[x.indices[p]] * factor)


cdef float64_t inverse_length(const float32_t *feature_weights, const InputView *x,
                              int64_t row) noexcept nogil:
    """The factor that scales a row times the features' weights to length 1; 0 for a zero row."""
    cdef int64_t p
    cdef float64_t norm2 = 0
    cdef float32_t v
    for p in range(x.indptr[row], x.indptr[row + 1]):
        v = x.values[p] * feature_weights[x.indices[p]]
        norm2 += <float64_t>v * v
    return 1 / sqrt(norm2) if norm2 > 0 else 0


cdef void sum_postings(const PostingsView *view, const InputView *x, int64_t first, int64_t n,
                       int64_t u, int64_t size, PostingsCursor *cursor,
                       float32_t *sums) noexcept nogil:
    """What the prototypes add to the scores of a block of labels, the labels l in u..u + size.

    sums[i, l - u] = bias_l + sum over f of v_if prototype_lf

    IN view, x, first and n, as in the call of `open_postings`; OUT sums (n, size); INOUT cursor,
    private to the thread. The blocks of labels must come in order, from label 0 on. Cost: a
    multiply-add per posting. Additions are in the order of the row's features, so that the sums of
    a row do not depend on other rows.
    """
    cdef int64_t i, _p, q, end, place = 0
    cdef int32_t last = <int32_t>(u + size)
    cdef float32_t v
    for i in range(n):
        if view.biases != NULL:
            memcpy(sums + i * size, view.biases + u, size * sizeof(float32_t))
        else:
            memset(sums + i * size, 0, size * sizeof(float32_t))
        for _p in range(x.indptr[first + i + 1] - x.indptr[first + i]):
            q = cursor.places[place]
            end = cursor.ends[place]
            v = cursor.values[place]
            while q < end and view.labels[q] < last:
                sums[i * size + view.labels[q] - u] += v * view.values[q]
                q += 1
            cursor.places[place] = q
            place += 1


cdef int allocate_cursors(PostingsCursor *cursors, int n_threads, InputRows x, int64_t first,
                          int64_t last, int64_t n_rows, list keep_alive) except -1:
    """Set the pointers of the cursors of all threads, for blocks of n_rows rows from `first` on."""
    cdef int64_t i
    if x.is_dense:
        raise ValueError("rows must be sparse where there are prototypes; got dense ones")
    starts = x.indptr[first:last:n_rows]
    n_values = np.diff(np.append(starts, x.indptr[last])).max(initial=0)
    for i in range(n_threads):
        cursors[i].places = <int64_t *>scratch_array(n_values, np.int64, keep_alive)
        cursors[i].ends = <int64_t *>scratch_array(n_values, np.int64, keep_alive)
        cursors[i].values = <float32_t *>scratch_array(n_values, np.float32, keep_alive)
    return 0


cdef int allocate_sums(PostingsSums *scratch, int64_t n_classes, list keep_alive) except -1:
    """Set the pointers of one thread's scratch; arrays join keep_alive."""
    scratch.sums = <float32_t *>scratch_array(n_classes, np.float32, keep_alive)
    scratch.seen = <uint8_t *>scratch_array(n_classes, np.uint8, keep_alive)
    scratch.labels = <int32_t *>scratch_array(n_classes, np.int32, keep_alive)
    scratch.values = <float32_t *>scratch_array(n_classes, np.float32, keep_alive)
    scratch.keys = <uint32_t *>scratch_array(n_classes, np.uint32, keep_alive)
    scratch.best = <int32_t *>scratch_array(n_classes, np.int32, keep_alive)
    return 0


cdef int64_t offer_postings(const PostingsView *view, const InputView *x, int64_t row,
                            int64_t n_best, PostingsSums *scratch, int32_t *ids,
                            int64_t n) noexcept nogil:
    """Add to a list the n_best labels whose prototypes are nearest to one row.

    INOUT ids (n + n_best,), with n distinct ids on entry; OUT scratch.values, what the prototypes
    add to the scores of these labels. Returns the number of ids. Cost: a multiply-add per posting,
    in the same order as in `sum_postings`.
    """
    cdef int64_t i, p, q, n_seen = 0, total = n
    cdef int32_t label
    cdef float32_t v
    cdef float64_t factor = view.weight * inverse_length(view.feature_weights, x, row)
    for p in range(x.indptr[row], x.indptr[row + 1]):
        v = _entry(view, x, p, factor)
        for q in range(view.indptr[x.indices[p]], view.indptr[x.indices[p] + 1]):
            label = view.labels[q]
            if not scratch.seen[label]:
                scratch.seen[label] = BEGUN
                scratch.labels[n_seen] = label
                n_seen += 1
                if view.biases != NULL:
                    scratch.sums[label] = view.biases[label]
            scratch.sums[label] += v * view.values[q]
    for i in range(n_seen):
        scratch.values[i] = scratch.sums[scratch.labels[i]]
    n_best = largest(scratch.values, n_seen, n_best, scratch.keys, scratch.best)
    for i in range(n):
        scratch.seen[ids[i]] |= LISTED
    for i in range(n_best):
        label = scratch.labels[scratch.best[i]]
        if not scratch.seen[label] & LISTED:
            ids[total] = label
            total += 1
    for i in range(total):
        label = ids[i]
        scratch.values[i] = scratch.sums[label]
        if view.biases != NULL and not scratch.seen[label] & BEGUN:
            scratch.values[i] = view.biases[label]
        scratch.seen[label] = 0
    for i in range(n_seen):
        label = scratch.labels[i]
        scratch.sums[label] = 0
        scratch.seen[label] = 0
    return total
