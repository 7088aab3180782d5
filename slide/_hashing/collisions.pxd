# Hash tables as kernels look them up.
from slide._base.rows cimport Vector
from slide._base.typedefs cimport float32_t, int32_t, int64_t, uint16_t, uint64_t, uint8_t
from slide._hashing.hasher cimport Hasher, HasherView

# L flat bucket tables; only rebuilds write to them.
# Bucket c of table t is ids[t, offsets[t, c] : offsets[t, c + 1]].
cdef struct TablesView:
    int32_t n_tables
    int64_t n_buckets          # 2^K
    int64_t n_neurons
    int32_t *offsets           # (n_tables, n_buckets + 1)
    int32_t *ids               # (n_tables, n_neurons)
    const HasherView *hasher
    const float32_t *folded_mean    # mean of the queries for `hash_vector`, or NULL
    float32_t query_bias       # extra coordinate of every query

# Scratch of one thread that looks neurons up in tables.
cdef struct LookupScratch:
    float32_t *hashing         # scratch of the hasher
    uint64_t *words            # the query's bits
    uint16_t *codes            # (n_tables,) the query's codes
    int32_t *found             # (most candidates,)
    uint8_t *counts            # (n_neurons,) collisions of each neuron; zeros between two lookups

cdef int64_t hash_query(const TablesView *tables, const Vector *x,
                        LookupScratch *scratch) noexcept nogil

cdef int64_t collect(const TablesView *tables, int64_t bucket_limit, uint64_t *rng,
                     LookupScratch *scratch) noexcept nogil

cdef int64_t keep_most_frequent(LookupScratch *scratch, int64_t n, int64_t n_keep) noexcept nogil

cdef int64_t keep_above(LookupScratch *scratch, int64_t n, int32_t min_collisions) noexcept nogil

cdef int allocate_lookup(LookupScratch *scratch, Hasher hasher, n_found, uint8_t *counts,
                         list keep_alive) except -1
