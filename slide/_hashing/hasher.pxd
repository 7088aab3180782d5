from slide._base.rows cimport InputRows, Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t
from slide._hashing.families cimport HasherView

cdef void hash_vector(const HasherView *hasher, const Vector *x, const float32_t *folded_mean, float32_t extra_0,
                      float32_t extra_1, float32_t *scratch, uint64_t *words) noexcept nogil

cdef void cut_codes(const HasherView *hasher, const uint64_t *words, uint16_t *codes,
                    int64_t stride) noexcept nogil

cdef void hash_rows(const HasherView *hasher, const float32_t *rows, int64_t ld, int64_t n,
                    const float32_t *extra_0, const float32_t *extra_1, float32_t *scratch,
                    uint64_t *words, uint16_t *codes, int64_t stride) noexcept nogil

cdef void simhash_rows_to_words(const HasherView *hasher, const float32_t *rows, int64_t ld,
                                const int32_t *row_ids, const int32_t *ids, int64_t n,
                                float32_t *scratch, uint16_t *quarters, int64_t n_words,
                                uint64_t *words) noexcept nogil

cdef void codes_in_table(const HasherView *hasher, int64_t table, const uint64_t *words,
                         int64_t n_words, int64_t n, uint16_t *codes) noexcept nogil

cdef class Hasher:
    cdef HasherView view
    cdef readonly str family
    cdef readonly dict parameters         # the random numbers; the view points into them
    cdef readonly int64_t scratch_size    # float32s that hash_vector needs
    cdef readonly int64_t rows_scratch_size   # and hash_rows
    cdef object _slot_of
    cdef _set_simhash(self)
    cdef _set_windows(self)
    cdef _set_minhash(self)
    cdef _set_copies(self, int32_t hash_bits)
    cdef InputRows rows_of(self, x)
