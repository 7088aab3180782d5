# The hash functions of SimHash are in a struct `slide_simhash` (_simd/simd.h).
from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t
from slide._hashing.hasher cimport DenseRows, Hasher
from slide._simd.dispatch cimport slide_simhash

cdef int64_t project(const slide_simhash *functions, int64_t block, const Vector *x,
                     const float32_t *folded_mean, float32_t *scratch) noexcept nogil

cdef void simhash_rows_to_words(const slide_simhash *functions, const DenseRows *rows,
                                const int32_t *ids, float32_t *scratch, uint16_t *quarters,
                                int64_t n_words, uint64_t *words) noexcept nogil

cdef class SimHash(Hasher):
    cdef slide_simhash functions
