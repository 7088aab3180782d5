from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t
from slide._simd.dispatch cimport chosen, slide_prefetch

# Rows of weights in float32 or in bfloat16, a float's upper half; one of the pointers is NULL.
cdef struct Weights:
    float32_t *single          # (rows, width)
    uint16_t *half             # (rows, width)
    int64_t width

cdef class WeightArray:
    cdef Weights view
    cdef readonly int64_t n_rows
    cdef object _keep_alive


cdef inline const float32_t *row_of(const Weights *w, int64_t row,
                                    float32_t *scratch) noexcept nogil:
    # One row as floats: in its own place, or unpacked into scratch (width,).
    if w.half == NULL:
        return w.single + row * w.width
    chosen().unpack(w.half + row * w.width, w.width, NULL, 1, w.width, scratch)
    return scratch


cdef inline const float32_t *rows_of(const Weights *w, int64_t first, int64_t n,
                                     const int32_t **ids, float32_t *scratch) noexcept nogil:
    # Rows of weights as floats: rows ids[0][0..n), or first..first + n where ids[0] is NULL. The
    # j-th of them starts at result + (ids[0][j] if ids[0] != NULL else j) * width. Where rows are
    # unpacked into scratch (n, width), ids[0] becomes NULL.
    cdef int64_t start = first * w.width if ids[0] == NULL else 0
    if w.half == NULL:
        return w.single + start
    chosen().unpack(w.half + start, w.width, ids[0], n, w.width, scratch)
    ids[0] = NULL
    return scratch


cdef inline void prefetch_row(const Weights *w, int64_t row) noexcept nogil:
    if w.half == NULL:
        slide_prefetch(w.single + row * w.width, w.width * sizeof(float32_t))
    else:
        slide_prefetch(w.half + row * w.width, w.width * sizeof(uint16_t))
