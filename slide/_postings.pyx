"""Scores of the prototypes from their inverted index.

A row of X visits only the labels that share a feature with it; labels are taken in blocks, beside
those of the network's scores, and each list goes on where the block before left it.
"""
import numpy as np

from libc.math cimport sqrt

from slide._layers cimport InputView
from slide._typedefs cimport float32_t, float64_t, int32_t, int64_t


cdef class Postings:
    """Pointers into a `slide._prototypes.Prototypes`, whose arrays are kept alive."""

    def __init__(self, prototypes):
        index = prototypes.by_feature
        # One element at least, so that there is an address.
        indptr = np.ascontiguousarray(index.indptr, np.int64)
        labels = np.ascontiguousarray(index.indices if index.nnz else [0], np.int32)
        values = np.ascontiguousarray(index.data if index.nnz else [0], np.float32)
        weights = np.ascontiguousarray(prototypes.feature_weights, np.float32)
        cdef const int64_t[::1] indptr_view = indptr
        cdef const int32_t[::1] labels_view = labels
        cdef const float32_t[::1] values_view = values, weights_view = weights
        self.view.indptr = &indptr_view[0]
        self.view.labels = &labels_view[0]
        self.view.values = &values_view[0]
        self.view.feature_weights = &weights_view[0]
        self.view.weight = prototypes.weight
        self._keep_alive = (indptr, labels, values, weights)


cdef void open_postings(const PostingsView *view, const InputView *x, int64_t first, int64_t n,
                        PostingsState *state) noexcept nogil:
    """Begin with rows first..first + n of the sparse x: what they weigh, the start of their lists.

    v_f = weight x_f w_f / |x * w|, w the features' weights; 0 for a row without any. IN view, x;
    OUT state, which belongs to the thread. Cost: two multiplications a value.
    """
    cdef int64_t i, p, place = 0
    cdef float64_t norm2, factor
    cdef float32_t v
    for i in range(first, first + n):
        norm2 = 0
        for p in range(x.indptr[i], x.indptr[i + 1]):
            v = x.values[p] * view.feature_weights[x.indices[p]]
            norm2 += <float64_t>v * v
        factor = view.weight / sqrt(norm2) if norm2 > 0 else 0
        for p in range(x.indptr[i], x.indptr[i + 1]):
            v = x.values[p] * view.feature_weights[x.indices[p]]
            state.values[place] = <float32_t>(v * factor)
            state.places[place] = view.indptr[x.indices[p]]
            place += 1


cdef void add_postings(const PostingsView *view, const InputView *x, int64_t first, int64_t n,
                       int64_t u, int64_t size, PostingsState *state,
                       float32_t *z) noexcept nogil:
    """z[i, l - u] += sum over f of v_if prototype_lf, for the labels l in u..u + size.

    IN view, x, the rows that `open_postings` saw; INOUT z (n, size) and state, private to the
    thread. Labels must come block after block from 0 on. Cost: a multiply-add a posting, in the
    order of the row's features, so that a row's scores do not depend on its neighbours.
    """
    cdef int64_t i, p, q, end, place = 0
    cdef int32_t last = <int32_t>(u + size)
    cdef float32_t v
    for i in range(n):
        for p in range(x.indptr[first + i], x.indptr[first + i + 1]):
            q = state.places[place]
            end = view.indptr[x.indices[p] + 1]
            v = state.values[place]
            while q < end and view.labels[q] < last:
                z[i * size + view.labels[q] - u] += v * view.values[q]
                q += 1
            state.places[place] = q
            place += 1
