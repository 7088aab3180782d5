from slide._typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t

# One set of hash functions, shared and read-only.
cdef struct HasherView:
    int64_t n_in            # width of a vector
    int64_t size            # the power of two it is padded or folded to
    int64_t n_blocks        # transforms; each gives `size` projections
    int32_t n_tables        # L
    int32_t n_bits          # K, 1..16
    int64_t ld              # floats of one block's first signs
    const float32_t *first  # (n_blocks, ld), +-1, one a coordinate
    const float32_t *signs  # (n_blocks, ROUNDS - 1, size), +-1
    const float32_t *extra  # (2, n_blocks * size), Gaussian times the transforms' scale
    int64_t fixed_cost
    int64_t cost_per_value

cdef void hash_vector(const HasherView *hasher, const int32_t *ids, const float32_t *values,
                      int64_t n_values, const float32_t *center, float32_t extra_0,
                      float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil

cdef void table_codes(const HasherView *hasher, const uint64_t *words, uint16_t *codes,
                      int64_t stride) noexcept nogil

cdef class Hasher:
    cdef HasherView view
    cdef object _arrays
    cdef readonly int64_t scratch_size
    cdef readonly int64_t n_words
    cdef _set(self, int64_t n_in, int32_t n_tables, int32_t n_bits, first, signs, extra)
