from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint32_t
from slide._engine.layer cimport LayerView
from slide._engine.optimizer cimport SolverView

cdef enum:
    ROW_BLOCK = 32             # rows of weights that are read at a time

# Scratch of one thread for products of bfloat16; for its pairs see slide/_simd/pairs.h.
cdef struct HalfScratch:
    uint16_t *x                # (n, width rounded up to an even number)
    uint32_t *x_pairs          # ((n + 1) // 2, width)
    uint16_t *rows             # (ROW_BLOCK, width), for rows of which some columns are used
    uint32_t *unpacked         # (ROW_BLOCK // 2, width)
    uint32_t *delta            # (n, ROW_BLOCK // 2)
    uint32_t *delta_pairs      # ((n + 1) // 2, ROW_BLOCK)

cdef bint multiplies_halves(const LayerView *layer) noexcept nogil

cdef int allocate_halves(HalfScratch *scratch, int64_t n, int64_t width,
                         list keep_alive) except -1

cdef int64_t halves_forward(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                            const float32_t *x, int64_t n, float32_t *out, int64_t ldo,
                            HalfScratch *scratch) noexcept nogil

cdef int64_t rows_forward(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                          const float32_t *x, int64_t ldx, int64_t n, float32_t *out, int64_t ldo,
                          float32_t *rows) noexcept nogil

cdef int64_t rows_to_columns(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                             const float32_t *delta, int64_t ldd, int64_t n, int64_t low,
                             int64_t high, float32_t *x_delta) noexcept nogil

cdef int64_t rows_to_inputs(const LayerView *layer, const int32_t *ids, int64_t n_rows,
                            const float32_t *delta, int64_t ldd, int64_t n, float32_t *x_delta,
                            float32_t *rows, HalfScratch *halves) noexcept nogil

cdef int64_t rows_backward(LayerView *layer, const SolverView *solver, const int32_t *ids,
                           int64_t n_rows, const float32_t *delta, int64_t ldd,
                           const float32_t *x, int64_t n, float32_t *x_delta,
                           float32_t *gradient, float32_t *rows,
                           HalfScratch *halves) noexcept nogil
