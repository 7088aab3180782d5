from slide._typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t

# One SimHash function set, shared and read-only.
cdef struct SimHashView:
    int64_t n_in            # width of a vector
    int64_t size            # the power of two it is padded to, at least 64
    int64_t n_blocks        # transforms; each gives `size` projections
    int32_t n_tables        # L
    int32_t n_bits          # K, 1..16
    const float32_t *signs  # (n_blocks, ROUNDS, size), +-1
    const float32_t *extra  # (2, n_blocks * size), Gaussian times the transforms' scale

cdef void simhash(const SimHashView *hasher, const float32_t *x, const float32_t *mean,
                  float32_t extra_0, float32_t extra_1, float32_t *scratch,
                  uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil

cdef class SimHash:
    cdef SimHashView view
    cdef object _arrays
    cdef readonly int64_t multiply_adds   # of hashing one vector
    cdef _set(self, int64_t n_in, int32_t n_tables, int32_t n_bits, signs_array, extra_array)
