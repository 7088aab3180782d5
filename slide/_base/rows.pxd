from slide._base.typedefs cimport float32_t, int32_t, int64_t

# Rows of X in one micro-batch: CSR when indptr is given, else dense.
cdef struct InputView:
    const int64_t *indptr
    const int32_t *indices
    const float32_t *values    # CSR values, or the dense matrix
    int64_t n_features
    const int32_t *rows        # (n,) row of X behind each position, or NULL

cdef class InputRows:
    cdef InputView view
    cdef readonly bint is_dense
    cdef readonly int64_t n_rows
    cdef readonly object indptr
    cdef object _rows
    cdef object _keep_alive
