"""Scan of a copy of the weights: the finder of the policy "scan".

The copy has a row for each input. For a sparse vector only the rows of its values are read, one
after the other, as in an embedding bag. For few values this costs less than hashing. It also finds
the best neurons exactly, except that weights may have moved since they were copied.
"""
import numpy as np

from cython.parallel cimport prange
from libc.string cimport memcpy

from slide._base.rows cimport Vector
from slide._base.scratch cimport scratch_array
from slide._base.signals cimport end_watch, interrupted, start_watch, Watch
from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint32_t, uint64_t
from slide._hashing.finder cimport Finder, RetrievalScratch, RetrievalView
from slide._simd.dispatch cimport chosen, SLIDE_BLOCK, slide_half_to_float
from slide._simd.largest cimport largest
from slide._simd.weights cimport WeightArray, Weights

from slide._base.memory import aligned_zeros
from slide._hashing.finder import take_moved

cdef struct ScanView:
    const float32_t *columns   # (n_in, n_neurons) the weights of the last rebuild
    const float32_t *biases    # (n_neurons,)

cdef struct ScanScratch:
    float32_t *scores          # (n_neurons,)
    uint32_t *keys             # (n_neurons,)


cdef int64_t _scan(const RetrievalView *view, const Vector *x, uint64_t *rng,
                   RetrievalScratch *scratch, int32_t *out, int64_t *cost) noexcept nogil:
    """Find the n_candidates neurons with the largest pre-activations, by the copied weights."""
    cdef const ScanView *own = <const ScanView *>view.own
    cdef ScanScratch *work = <ScanScratch *>scratch.own
    cdef int64_t n = view.n_neurons
    memcpy(work.scores, own.biases, n * sizeof(float32_t))
    chosen().accumulate(x.values, 0, 1, own.columns, n, x.ids, x.size, work.scores, n, 1, n)
    cost[0] += n * x.size
    return largest(work.scores, n, view.n_candidates, work.keys, out)


cdef void _copy_inputs(const Weights *rows, const int32_t[::1] neurons, int64_t low, int64_t high,
                       float32_t[:, ::1] columns) noexcept nogil:
    """Copy the weights of some neurons for the inputs low..high; OUT columns (n_in, n_neurons)."""
    cdef int64_t i, j, neuron
    for i in range(neurons.shape[0]):
        neuron = neurons[i]
        for j in range(low, high):
            columns[j, neuron] = (rows.single[neuron * rows.stride + j] if rows.half == NULL
                                  else slide_half_to_float(rows.half[neuron * rows.stride + j]))


cdef class Scan(Finder):
    """Finder with a copy of a layer's weights and biases, which has a row for each input."""

    cdef ScanView own

    def __init__(self, int64_t n_neurons, int64_t n_in, dict settings, random_state,
                 directions=None):
        Finder.__init__(self, n_neurons, n_in, settings, random_state)
        self.arrays = {
            "columns": aligned_zeros((n_in, n_neurons)),
            "biases": np.zeros(n_neurons, np.float32),
            "hashed_at": np.zeros(n_neurons, np.int32),
        }
        self.view.find, self.view.by_chance, self.view.own = _scan, False, &self.own
        self.set_view()

    cdef int set_view(self) except -1:
        cdef const float32_t[:, ::1] columns = self.arrays["columns"]
        cdef const float32_t[::1] biases = self.arrays["biases"]
        self.own.columns, self.own.biases = &columns[0, 0], &biases[0]
        return 0

    def rebuild(self, weights, biases, mean, query_length, n_threads, steps=None):
        if steps is not None:
            self.arrays["hashed_at"][...] = steps
        self._copy(weights, np.arange(self.view.n_neurons, dtype=np.int32), n_threads)
        self.arrays["biases"][...] = biases
        return 0

    def follow(self, weights, biases, steps, n_threads):
        moved = take_moved(self.arrays["hashed_at"], steps)
        if len(moved):
            self._copy(weights, moved, n_threads)
            self.arrays["biases"][moved] = biases[moved]
        return 0

    def _copy(self, weights, const int32_t[::1] neurons, int n_threads):
        """Copy the weights of some neurons; threads take different inputs."""
        cdef WeightArray rows = WeightArray(weights)
        cdef float32_t[:, ::1] columns = self.arrays["columns"]
        cdef int64_t n_in = columns.shape[0], block
        cdef Watch watch
        start_watch(&watch)
        for block in prange(blocks_of(n_in, SLIDE_BLOCK), nogil=True, num_threads=n_threads,
                            schedule="static"):
            if not interrupted(&watch):
                _copy_inputs(&rows.view, neurons, block * SLIDE_BLOCK,
                             min(n_in, (block + 1) * SLIDE_BLOCK), columns)
        end_watch(&watch)

    cdef int allocate(self, RetrievalScratch *scratch, list keep_alive) except -1:
        cdef int64_t n = self.view.n_neurons
        cdef ScanScratch *work = <ScanScratch *>scratch_array(sizeof(ScanScratch), np.uint8,
                                                              keep_alive)
        work.scores = <float32_t *>scratch_array(n, np.float32, keep_alive)
        work.keys = <uint32_t *>scratch_array(n, np.uint32, keep_alive)
        scratch.own = work
        return 0
