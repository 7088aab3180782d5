from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t, uint8_t
from slide._hashing.hasher cimport Hasher, HasherView

# L flat bucket tables, read-only between two rebuilds.
# Bucket c of table t is ids[t, offsets[t, c] : offsets[t, c + 1]].
cdef struct TablesView:
    int32_t n_tables
    int64_t n_buckets          # 2^K
    int64_t n_neurons
    const int32_t *offsets     # (n_tables, n_buckets + 1)
    const int32_t *ids         # (n_tables, n_neurons)
    const HasherView *hasher
    const float32_t *folded_mean    # of the queries, as hash_vector takes it, or NULL
    float32_t query_bias       # extra coordinate of every query

cdef int64_t collect(const TablesView *tables, const uint16_t *codes, int64_t bucket_limit,
                     uint64_t *rng, uint8_t *counts, int32_t *candidates) noexcept nogil

cdef int64_t keep_most_frequent(int32_t *candidates, int64_t n, uint8_t *counts,
                                int64_t n_keep) noexcept nogil

cdef int64_t keep_above(int32_t *candidates, int64_t n, uint8_t *counts,
                        int32_t min_collisions) noexcept nogil

cdef void hash_query(const TablesView *tables, const Vector *x, float32_t *scratch, uint64_t *words,
                     uint16_t *codes) noexcept nogil

cdef class HashTables:
    cdef TablesView view
    cdef readonly Hasher hasher
    cdef readonly bint transform
    cdef object _folded_mean
    cdef readonly object offsets
    cdef readonly object ids
    cdef readonly object mean
    cdef _set(self, Hasher hasher, offsets_array, ids_array, mean_array, float32_t query_bias,
              bint transform)
    cdef _fold_mean(self)
    cdef dict _arrays(self)
    cdef _sort(self, const uint64_t *words, int64_t n_words, uint16_t[:, ::1] codes,
               int n_threads)
