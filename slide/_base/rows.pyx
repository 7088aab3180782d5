"""Rows of X as kernels read them: pointers into a dense or a CSR array."""
import numpy as np

from slide._base.typedefs cimport float32_t, int32_t, int64_t


cdef class InputRows:
    """Rows of a C-contiguous float32 array, or of a CSR array of float32 without duplicates.

    The arrays are kept alive and only read. Indices that are not int32 are copied.

    Parameters
    ----------
    x : float32 (n, n_features), dense or CSR
    rows : int (n_rows,) or None
        Where rows is given, row i is row rows[i] of x. `indptr` stays that of x.
    """

    def __init__(self, x, rows=None):
        cdef const int32_t[::1] numbers
        cdef const float32_t[:, ::1] dense
        cdef const float32_t[::1] values
        cdef const int32_t[::1] indices
        cdef const int64_t[::1] indptr
        self.n_rows = x.shape[0]
        self.view.n_features = x.shape[1]
        self.view.rows = NULL
        if rows is not None:
            self.n_rows = len(rows)
            self._rows = np.ascontiguousarray(rows, np.int32)
            numbers = self._rows
            self.view.rows = &numbers[0] if self.n_rows else NULL
        self.is_dense = isinstance(x, np.ndarray)
        if self.is_dense:
            dense = x
            self.view.values = &dense[0, 0] if x.size else NULL
            self._keep_alive = x
        else:
            self.indptr = np.ascontiguousarray(x.indptr, dtype=np.int64)
            # At least one element, so that there are addresses: NULL would mean a dense vector.
            indices_array = np.ascontiguousarray(x.indices if x.nnz else [0], dtype=np.int32)
            values_array = np.ascontiguousarray(x.data if x.nnz else np.zeros(1, np.float32))
            indptr, indices, values = self.indptr, indices_array, values_array
            self.view.indptr, self.view.indices = &indptr[0], &indices[0]
            self.view.values = &values[0]
            self._keep_alive = (indices_array, values_array)
