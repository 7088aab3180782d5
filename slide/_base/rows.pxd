# Input vectors, and the rows of X that they stand in.
from slide._base.typedefs cimport float32_t, int32_t, int64_t

# One input vector. It is dense where ids is NULL, with a value for every coordinate; else it is
# sparse, with a value for each coordinate in ids. Ids are distinct, in any order.
cdef struct Vector:
    const int32_t *ids         # (size,) or NULL
    const float32_t *values    # (size,)
    int64_t size

# The rows of X of one run: CSR where indptr is given, else dense.
cdef struct InputView:
    const int64_t *indptr
    const int32_t *indices
    const float32_t *values    # CSR values, or the dense matrix
    int64_t n_features
    const int32_t *rows        # (n,) the row of X at each position of the run, or NULL: in order


cdef inline int64_t row_at(const InputView *x, int64_t position) noexcept nogil:
    # The row of X at a position of the run.
    return x.rows[position] if x.rows != NULL else position


cdef inline Vector vector_at(const InputView *x, int64_t position) noexcept nogil:
    # The row of X at a position of the run, as a vector.
    cdef Vector found
    cdef int64_t row = row_at(x, position)
    if x.indptr == NULL:
        found.ids = NULL
        found.values = x.values + row * x.n_features
        found.size = x.n_features
    else:
        found.ids = x.indices + x.indptr[row]
        found.values = x.values + x.indptr[row]
        found.size = x.indptr[row + 1] - x.indptr[row]
    return found


cdef inline Vector dense_vector(const float32_t *values, int64_t size) noexcept nogil:
    cdef Vector found
    found.ids = NULL
    found.values = values
    found.size = size
    return found


cdef class InputRows:
    cdef InputView view
    cdef readonly bint is_dense
    cdef readonly int64_t n_rows
    cdef readonly object indptr
    cdef object _rows
    cdef object _keep_alive
