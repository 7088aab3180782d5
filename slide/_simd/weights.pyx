"""Rows of weights, stored in float32 or in bfloat16, and how they are read.

Rows of bfloat16 are unpacked to float32 before arithmetic, except in training on processors
that multiply bfloat16. They are unpacked block by block, into a thread's scratch, which stays in
its first-level cache. `_engine.optimizer` writes the weights.
"""
from ml_dtypes import bfloat16

from slide._base.typedefs cimport float32_t, int64_t, uint16_t

from slide._base.memory import aligned_zeros


cdef class WeightArray:
    """A view of a C-contiguous array (n, width) of float32 or bfloat16, which it keeps alive."""

    def __init__(self, array):
        cdef const float32_t[:, ::1] single
        cdef const uint16_t[:, ::1] half
        self.n_rows, self.view.stride = array.shape
        self.view.width = self.view.stride
        self._keep_alive = array
        if array.dtype == bfloat16:
            half = array.view("uint16")
            self.view.half = <uint16_t *>&half[0, 0]
        else:
            single = array
            self.view.single = <float32_t *>&single[0, 0]

    def scratch(self, int n_threads, int64_t n_rows):
        """Allocate scratch into which `rows_of` unpacks n_rows rows: float32 (n_threads, .)."""
        n_floats = n_rows * self.view.width if self.view.half != NULL else 1
        return aligned_zeros((n_threads, n_floats))
