from slide._base.typedefs cimport blocks_of, float32_t, int32_t, int64_t, uint16_t
from slide._simd.dispatch cimport chosen, SLIDE_BLOCK, slide_prefetch

# Rows of weights in float32 or in bfloat16, a float's upper half; one of the pointers is NULL.
# A micro-batch may use some columns alone, in blocks of SLIDE_BLOCK; the last block may be shorter.
cdef struct Weights:
    float32_t *single          # (rows, stride)
    uint16_t *half             # (rows, stride)
    int64_t stride             # weights in a row
    const int32_t *starts      # first column of each block that is used, or NULL: all columns are
    int64_t width              # columns that are used

cdef class WeightArray:
    cdef Weights view
    cdef readonly int64_t n_rows
    cdef object _keep_alive


cdef inline bint copies_rows(const Weights *w) noexcept nogil:
    # Whether `row_of` and `rows_of` copy rows into scratch.
    return w.half != NULL or w.starts != NULL


cdef inline int64_t column_of(const Weights *w, int64_t j) noexcept nogil:
    # Number of the j-th column that is used.
    return j if w.starts == NULL else w.starts[j // SLIDE_BLOCK] + j % SLIDE_BLOCK


cdef inline const float32_t *row_of(const Weights *w, int64_t row,
                                    float32_t *scratch) noexcept nogil:
    # The used columns of one row as floats: in their own place, or in scratch (width,).
    cdef const int32_t *no_ids = NULL
    return rows_of(w, row, 1, &no_ids, scratch)


cdef inline const float32_t *rows_of(const Weights *w, int64_t first, int64_t n,
                                     const int32_t **ids, float32_t *scratch) noexcept nogil:
    # The used columns of rows as floats: rows ids[0][0..n), or first..first + n where ids[0] is
    # NULL. The j-th of them starts at result + (ids[0][j] if ids[0] != NULL else j) * width. Where
    # rows are copied into scratch (n, width), ids[0] becomes NULL.
    cdef int64_t start = first * w.stride if ids[0] == NULL else 0
    cdef const int32_t *rows = ids[0]
    if not copies_rows(w):
        return w.single + start
    ids[0] = NULL
    if w.half == NULL:
        chosen().take(w.single + start, w.stride, rows, n, w.starts, w.width, scratch)
    elif w.starts == NULL:
        chosen().unpack(w.half + start, w.stride, rows, n, w.width, scratch)
    else:
        chosen().take_half(w.half + start, w.stride, rows, n, w.starts, w.width, scratch)
    return scratch


cdef inline void _prefetch(const Weights *w, int64_t start, int64_t n) noexcept nogil:
    if w.half == NULL:
        slide_prefetch(w.single + start, n * sizeof(float32_t))
    else:
        slide_prefetch(w.half + start, n * sizeof(uint16_t))


cdef inline void prefetch_row(const Weights *w, int64_t row) noexcept nogil:
    cdef int64_t b
    if w.starts == NULL:
        _prefetch(w, row * w.stride, w.width)
        return
    for b in range(blocks_of(w.width, SLIDE_BLOCK)):
        _prefetch(w, row * w.stride + w.starts[b], SLIDE_BLOCK)
